//! The record, for admins.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    App,
    convert::{page_size, timestamp},
    credential,
};
use crate::{
    domain::{
        audit::Entry,
        policy::{Action, Target, decide},
    },
    server::{error::Error, store::AuditFilter},
    wire::v1::{self, audit_service_server::AuditService},
};

pub struct AuditCalls(pub Arc<App>);

#[tonic::async_trait]
impl AuditService for AuditCalls {
    async fn list_audit_entries(
        &self,
        request: Request<v1::ListAuditEntriesRequest>,
    ) -> Result<Response<v1::ListAuditEntriesResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| Error::Invalid("the page token is not one of ours".into()))?),
        };
        let limit = page_size(request.page_size);
        let filter = AuditFilter {
            actor: request.actor,
            action_prefix: request.action,
            target: request.target,
            descending: request.descending,
            after,
            limit,
        };
        let entries = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let view =
                    tx.view(caller.org(), &decide(&caller, Action::AuditRead, &Target::Organization), "audit log")?;
                tx.audit_entries(&view, &filter)
            })
            .await?;
        let next_page_token = match entries.last() {
            Some(last) if entries.len() == limit as usize => last.sequence.to_string(),
            _ => String::new(),
        };
        Ok(Response::new(v1::ListAuditEntriesResponse {
            entries: entries.into_iter().map(Into::into).collect(),
            next_page_token,
        }))
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<v1::VerifyAuditResponse>, Status> {
        let credential = credential(&request)?;
        let verified = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let view =
                    tx.view(caller.org(), &decide(&caller, Action::AuditRead, &Target::Organization), "audit log")?;
                tx.audit_verify(&view)
            })
            .await?;
        Ok(Response::new(match verified {
            Ok((entries, head)) => {
                v1::VerifyAuditResponse { intact: true, entries, head: head.to_vec(), ..Default::default() }
            }
            Err(broken) => v1::VerifyAuditResponse {
                entries: broken.sequence.saturating_sub(1),
                first_broken: broken.sequence,
                problem: format!("entry {} {}", broken.sequence, broken.problem),
                ..Default::default()
            },
        }))
    }
}

impl From<Entry> for v1::AuditEntry {
    fn from(entry: Entry) -> Self {
        Self {
            sequence: entry.sequence,
            at: Some(timestamp(entry.at)),
            actor: entry.actor,
            action: entry.action,
            target: entry.target,
            outcome: entry.outcome,
            detail: entry.detail.into_iter().collect(),
            hash: entry.hash.to_vec(),
        }
    }
}
