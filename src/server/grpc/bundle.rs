//! What a session's agent calls. Fetch: the bundle, assembled, put on record, sealed, in this order; the values are wiped when
//! the seal is on. Report: how the agent is.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{App, convert::detail, credential, watch};
use crate::{
    domain::{
        identity::{Caller, Identity, Subject},
        name::{Id, OrgName},
        policy::{Action, Target, decide},
        report::{Line, Report},
    },
    seal::{self, Purpose},
    server::{
        error::Error,
        store::{Bundle, Credential, SessionRow, Tx},
        streams::AgentStream,
    },
    wire::v1::{
        AcknowledgeRequest, AcknowledgeResponse, AgentStatus, BundleContents, BundleEntry, Delivery, FetchNamedRequest,
        FetchNamedResponse, FetchRequest, FetchResponse, Origin, ReportRequest, ReportResponse, WatchRequest,
        bundle_service_server::BundleService,
    },
};

pub struct BundleCalls(pub Arc<App>);

#[tonic::async_trait]
impl BundleService for BundleCalls {
    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<FetchResponse>, Status> {
        let credential = credential(&request)?;
        let FetchRequest { public_key, nonce } = request.into_inner();
        if nonce.len() != seal::NONCE_LEN {
            return Err(Error::Invalid(format!("the nonce must have {} bytes", seal::NONCE_LEN)).into());
        }
        if public_key.len() != seal::PUBLIC_KEY_LEN {
            return Err(Error::Invalid(seal::BadPublicKey.to_string()).into());
        }
        let (session, version, mut message, sequence) = self.record(&credential).await?;
        let purpose = Purpose::Bundle {
            org: credential.identity.org.as_str(),
            session: session.id.as_str(),
            bundle_version: version.as_str(),
            sequence,
            nonce: &nonce,
        };
        let encapsulated_key =
            seal::seal(&public_key, &mut message, &purpose).map_err(|e| Error::Invalid(e.to_string()))?;
        Ok(Response::new(FetchResponse {
            suite: seal::SUITE,
            encapsulated_key,
            ciphertext: Bytes::from(std::mem::take(&mut *message)), // ciphertext by now
            bundle_version: version.to_string(),
            sequence,
        }))
    }

    async fn fetch_named(&self, _: Request<FetchNamedRequest>) -> Result<Response<FetchNamedResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    type WatchStream = AgentStream;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        watch::watch(&self.0, request).await.map(Response::new)
    }

    async fn acknowledge(&self, request: Request<AcknowledgeRequest>) -> Result<Response<AcknowledgeResponse>, Status> {
        let credential = credential(&request)?;
        let AcknowledgeRequest { sequence, error, error_names } = request.into_inner();
        let error = Line::parse(&error).map_err(|e| Error::Invalid(format!("error is {e}")))?;
        let job = move |tx: &Tx<'_>| match sequence {
            0 => watch::failed(tx, &credential, &error, error_names),
            _ => watch::acknowledge(tx, &credential, sequence),
        };
        self.0.store.write(job).await?;
        Ok(Response::new(AcknowledgeResponse {}))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let credential = credential(&request)?;
        let status = request.into_inner().status.unwrap_or_default();
        self.0.store.write(move |tx| keep(tx, &credential, status)).await?;
        Ok(Response::new(ReportResponse {}))
    }
}

/// Tries at a bundle while others push; the last one keeps them from it.
const TRIES: usize = 4;

impl BundleCalls {
    /// Assembles the caller's bundle and puts its delivery on record. One that a push has overtaken meanwhile is assembled anew:
    /// a delivery takes in every push before it.
    async fn record(&self, credential: &Credential) -> Result<(SessionRow, Id, Zeroizing<Vec<u8>>, u64), Error> {
        for _ in 1..TRIES {
            let reader = credential.clone();
            let (session, bundle, as_of) = self.0.read_on_record(move |tx| assemble(tx, &reader)).await?;
            let version = bundle.version.clone();
            let (message, items) = encode(&credential.identity, &session, bundle);
            let (deliverer, id, bundle_id) = (credential.clone(), session.id.clone(), version.clone());
            let delivered = self.0.store.write(move |tx| {
                if tx.pushed_since(&deliverer.identity.org, as_of)? {
                    return Ok(None);
                }
                deliver(tx, &deliverer, &id, &bundle_id, &items).map(Some)
            });
            if let Some(sequence) = delivered.await? {
                return Ok((session, version, message, sequence));
            }
        }
        let credential = credential.clone();
        self.0
            .store
            .write(move |tx| {
                let (session, bundle, _) = assemble(tx, &credential)?;
                let version = bundle.version.clone();
                let (message, items) = encode(&credential.identity, &session, bundle);
                let sequence = deliver(tx, &credential, &session.id, &version, &items)?;
                Ok((session, version, message, sequence))
            })
            .await
    }
}

/// Whose agent it is, is the caller's certificate's to say; then what it says is looked at.
fn keep(tx: &Tx<'_>, credential: &Credential, status: AgentStatus) -> Result<(), Error> {
    let caller = tx.caller(credential)?;
    let org = caller.org().clone();
    let session = own_session(tx, &org, &caller)?;
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    let decision = decide(&caller, Action::SessionReport, &target);
    let view = tx.view(&org, &decision, "session")?;
    let session = session.ok_or_else(|| Error::not_found("session"))?;
    let report = parse(status, &session.id)?;
    if session.phase() == Some(report.phase) {
        return tx.repeat_report(&view, &session, &report);
    }
    let grant = tx.admit(&org, decision, "session", detail([("phase", report.phase.as_str().to_owned())]))?;
    tx.change_phase(&grant, &session.id, &report)
}

fn parse(status: AgentStatus, own: &Id) -> Result<Report, Error> {
    fn line<const MAX: usize>(what: &str, text: &str) -> Result<Line<MAX>, Error> {
        Line::parse(text).map_err(|e| Error::Invalid(format!("{what} is {e}")))
    }
    if !(status.session.is_empty() || status.session == own.as_str()) {
        return Err(Error::Invalid("the report is on another session than the caller's own".into()));
    }
    let bundle = match status.bundle_version.as_str() {
        "" => None,
        version => Some(Id::parse(version).map_err(|e| Error::Invalid(format!("bundle_version: {e}")))?),
    };
    Ok(Report {
        phase: status
            .phase()
            .to_domain()
            .ok_or_else(|| Error::Invalid("the report says no phase that is known".into()))?,
        bundle,
        memory_rung: line("memory_rung", &status.memory_rung)?,
        files_rung: line("files_rung", &status.files_rung)?,
        last_error: line("last_error", &status.last_error)?,
        last_error_names: status.last_error_names,
        agent_version: line("agent_version", &status.agent_version)?,
    })
}

/// `None` for callers that are no session.
pub fn own_session(tx: &Tx<'_>, org: &OrgName, caller: &Caller) -> Result<Option<SessionRow>, Error> {
    match &caller.identity.subject {
        Subject::Session(id) => tx.session(org, id),
        _ => Ok(None),
    }
}

/// With the newest audit entry that it takes in.
fn assemble(tx: &Tx<'_>, credential: &Credential) -> Result<(SessionRow, Bundle, u64), Error> {
    let caller = tx.caller(credential)?;
    let org = caller.org().clone();
    let session = own_session(tx, &org, &caller)?;
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    tx.view(&org, &decide(&caller, Action::BundleDeliver, &target), "session")?;
    let session = session.ok_or_else(|| Error::not_found("session"))?;
    let bundle = tx.assemble(&org, &session)?;
    Ok((session, bundle, tx.newest_entry(&org)?))
}

/// Asks again, in the transaction that puts the delivery on record: a session that was revoked meanwhile gets nothing.
fn deliver(tx: &Tx<'_>, credential: &Credential, id: &Id, bundle: &Id, items: &[(Id, String)]) -> Result<u64, Error> {
    let caller = tx.caller(credential)?;
    let org = caller.org().clone();
    let session = tx.session(&org, id)?.ok_or_else(|| Error::not_found("session"))?;
    let decision = decide(&caller, Action::BundleDeliver, &session.target());
    let grant = tx.admit(
        &org,
        decision,
        "session",
        detail([("bundle", bundle.to_string()), ("secrets", items.len().to_string())]),
    )?;
    tx.deliver(&grant, id, bundle, items)?;
    Ok(grant.sequence())
}

/// The inner message in a buffer that is wiped, has room for the seal's tag, and never grows; and the secrets in it.
fn encode(identity: &Identity, session: &SessionRow, bundle: Bundle) -> (Zeroizing<Vec<u8>>, Vec<(Id, String)>) {
    let mut items = Vec::new();
    let mut contents = BundleContents {
        entries: Vec::new(),
        organization: identity.org.to_string(),
        session: session.id.to_string(),
        user: session.user.clone(),
        environment: session.environment.clone(),
        environment_version: session.environment_version,
    };
    for entry in bundle.entries {
        if let Some(id) = entry.secret {
            items.push((id, entry.version.clone()));
        }
        contents.entries.push(BundleEntry {
            variable: entry.variable.to_string(),
            delivery: Delivery::from(entry.delivery).into(),
            value: Bytes::from_owner(entry.value), // still wiped when dropped
            origin: Origin::from(entry.origin).into(),
            name: entry.name,
            version: entry.version,
            reserved_allowed: entry.reserved_allowed,
        });
    }
    let mut message = Zeroizing::new(Vec::with_capacity(contents.encoded_len() + seal::TAG_LEN));
    contents.encode(&mut *message).expect("a vector with room for the message takes it");
    (message, items)
}
