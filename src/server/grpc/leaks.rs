//! Leaks, for people.

use tonic::{Request, Response, Status};

use super::{
    App,
    convert::{page_size, timestamp},
    credential,
    secrets::person,
};
use crate::{
    domain::{
        policy::{Action, Target, Verdict, decide},
        resolve::Origin,
    },
    server::{
        error::Error,
        store::{LeakFilter, LeakRow},
    },
    wire::v1,
};

pub async fn list(
    app: &App,
    request: Request<v1::ListLeaksRequest>,
) -> Result<Response<v1::ListLeaksResponse>, Status> {
    let credential = credential(&request)?;
    let v1::ListLeaksRequest { r#ref, since, page_size: size, page_token } = request.into_inner();
    let wanted = r#ref.unwrap_or_default();
    let limit = page_size(size);
    let (name, origin) = match wanted.visibility() {
        // An id names one secret, whatever else is said.
        _ if !wanted.id.is_empty() => (String::new(), None),
        v1::Visibility::Unspecified => (wanted.name, None),
        v1::Visibility::Private => (wanted.name, Some(Origin::Private)),
        v1::Visibility::Shared => (wanted.name, Some(Origin::Shared)),
    };
    let since = since.map_or(0, |at| at.seconds.saturating_mul(1_000_000).saturating_add(i64::from(at.nanos) / 1_000));
    let filter = LeakFilter { secret: wanted.id, name, origin, since, before: cursor(&page_token)?, limit };
    let leaks = app
        .store
        .read(move |tx| {
            let caller = tx.caller(&credential)?;
            let target = Target::Organization;
            let view = tx.view(caller.org(), &decide(&caller, Action::LeakRead, &target), "leak")?;
            let everybodys = decide(&caller, Action::LeakReadAll, &target).verdict() == Verdict::Allow;
            tx.leaks(&view, person(&caller)?, everybodys, &filter)
        })
        .await?;
    let next_page_token = match leaks.last() {
        Some(last) if leaks.len() == limit as usize => last.sequence.to_string(),
        _ => String::new(),
    };
    Ok(Response::new(v1::ListLeaksResponse { leaks: leaks.into_iter().map(Into::into).collect(), next_page_token }))
}

/// Where a page of leaks ended: the sequence of its last.
fn cursor(token: &str) -> Result<Option<u64>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    token.parse().map(Some).map_err(|_| Error::Invalid("the page token is not one of ours".into()))
}

impl From<LeakRow> for v1::SecretLeak {
    fn from(row: LeakRow) -> Self {
        Self {
            secret_id: row.secret,
            name: row.name,
            variable: row.variable,
            visibility: if row.shared { v1::Visibility::Shared } else { v1::Visibility::Private }.into(),
            version: row.version,
            current: row.current,
            session: row.session,
            user: row.user,
            environment: row.environment,
            unit: row.unit,
            form: row.form,
            count: row.count,
            first_at: Some(timestamp(row.first_at)),
            last_at: Some(timestamp(row.last_at)),
        }
    }
}
