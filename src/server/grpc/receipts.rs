//! Receipts: which sessions got which version of a secret, and which may hold an older one.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    App,
    convert::{page_size, timestamp},
    credential, secrets,
};
use crate::{
    domain::policy::{Action, decide},
    server::{
        error::Error,
        store::{Delivered, Receipts},
    },
    wire::v1,
};

pub async fn list(
    app: &Arc<App>,
    request: Request<v1::ListDeliveriesRequest>,
) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
    let credential = credential(&request)?;
    let v1::ListDeliveriesRequest { r#ref, live, page_size: size, page_token } = request.into_inner();
    let (wanted, size) = (r#ref.unwrap_or_default(), page_size(size));
    let below = match page_token.as_str() {
        "" => None,
        token => Some(token.parse().map_err(|_| Error::Invalid("the page token is not one of ours".into()))?),
    };
    let (deliveries, receipts, version) = app
        .read_on_record(move |tx| {
            let caller = tx.caller(&credential)?;
            let (target, row) = secrets::find(tx, &caller, &wanted)?;
            let view = tx.view(caller.org(), &decide(&caller, Action::SecretRead, &target), "secret")?;
            let row = row.ok_or_else(|| Error::not_found("secret"))?;
            let deliveries = tx.secret_deliveries(&view, &row.id, live, below, size)?;
            Ok((deliveries, tx.receipts(&view, &row.id, &row.version)?, row.version))
        })
        .await?;
    let next_page_token = match deliveries.last() {
        Some(last) if deliveries.len() == size as usize => last.sequence.to_string(),
        _ => String::new(),
    };
    let deliveries = deliveries.into_iter().map(Into::into).collect();
    let receipts = Some(receipts.into());
    Ok(Response::new(v1::ListDeliveriesResponse { deliveries, next_page_token, receipts, version }))
}

impl From<Delivered> for v1::Delivered {
    fn from(d: Delivered) -> Self {
        Self {
            session: d.session,
            user: d.user,
            version: d.version,
            delivered_at: Some(timestamp(d.delivered_at)),
            live: d.live,
            installed_at: d.installed_at.map(timestamp),
            in_files: d.in_files,
            environment: d.environment,
        }
    }
}

impl From<Receipts> for v1::Receipts {
    fn from(Receipts { on_current, may_hold_older }: Receipts) -> Self {
        Self { on_current, may_hold_older, safe_to_revoke: may_hold_older == 0 }
    }
}
