//! What a session's agent calls. Fetch and FetchNamed: values assembled, put on record, sealed, in this order, and wiped when
//! the seal is on. What it reports is in [`super::report`].

#[cfg(all(test, feature = "agent"))]
mod overtaken;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rustls::pki_types::CertificateDer;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{App, convert::detail, credential, report, shown, watch};
use crate::{
    domain::{
        identity::{Caller, Identity, Subject},
        name::{Id, OrgName, SecretName},
        policy::{Action, Target, Verdict, decide},
        report::Line,
        resolve,
    },
    seal::{self, Purpose},
    server::{
        error::Error,
        store::{Bundle, Credential, Detail, Grant, LeftOut, SessionRow, Tx},
        streams::AgentStream,
    },
    wire::v1::{
        AcknowledgeRequest, AcknowledgeResponse, BundleContents, BundleEntry, Delivery, FetchNamedRequest,
        FetchNamedResponse, FetchRequest, FetchResponse, LeftOutVariable, Origin, ReportRequest, ReportResponse,
        VouchRequest, VouchResponse, WatchRequest, bundle_service_server::BundleService,
    },
};

/// How many secrets one call may name.
const MAX_NAMED: usize = 32;

pub struct BundleCalls(pub Arc<App>);

#[tonic::async_trait]
impl BundleService for BundleCalls {
    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<FetchResponse>, Status> {
        let credential = credential(&request)?;
        let FetchRequest { public_key, nonce } = request.into_inner();
        fits(&public_key, &nonce)?;
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

    async fn fetch_named(&self, request: Request<FetchNamedRequest>) -> Result<Response<FetchNamedResponse>, Status> {
        let credential = credential(&request)?;
        let FetchNamedRequest { names: asked, public_key, nonce } = request.into_inner();
        fits(&public_key, &nonce)?;
        let names = parse_names(&asked)?;
        let reader = credential.clone();
        let assembled = self.0.read_on_record(move |tx| {
            let (org, session) = reading(tx, &reader, Action::BundleDeliverNamed)?;
            let bundle = tx.assemble_named(&org, &session, &names)?;
            Ok((session, bundle))
        });
        let (session, bundle) = assembled.await?;
        let content = bundle.version.clone();
        let facts = named_facts(&bundle);
        let (mut message, items) = encode(&credential.identity, &session, bundle);

        let (deliverer, id) = (credential.clone(), session.id.clone());
        let sequence = self.0.store.write(move |tx| {
            let grant = delivering(tx, &deliverer, &id, Action::BundleDeliverNamed, facts)?;
            tx.deliver_named(&grant, &id, &content, &items)?;
            Ok(grant.sequence())
        });
        let sequence = sequence.await?;

        let purpose = Purpose::Named {
            org: credential.identity.org.as_str(),
            session: session.id.as_str(),
            sequence,
            nonce: &nonce,
            names: &asked,
        };
        let encapsulated_key =
            seal::seal(&public_key, &mut message, &purpose).map_err(|e| Error::Invalid(e.to_string()))?;
        Ok(Response::new(FetchNamedResponse {
            suite: seal::SUITE,
            encapsulated_key,
            ciphertext: Bytes::from(std::mem::take(&mut *message)), // ciphertext by now
            sequence,
        }))
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
        let request = request.into_inner();
        let of = credential.identity.clone();
        self.0.store.write(move |tx| report::keep(tx, &credential, request)).await?;
        self.0.fleet.reported(of);
        Ok(Response::new(ReportResponse { next_report_seconds: self.0.beat.as_secs().try_into().unwrap_or(u32::MAX) }))
    }

    async fn vouch(&self, request: Request<VouchRequest>) -> Result<Response<VouchResponse>, Status> {
        let credential = credential(&request)?;
        let shown = shown(&CertificateDer::from(request.into_inner().certificate_der))
            .map_err(|e| Error::Invalid(e.to_string()))?;
        Ok(Response::new(self.0.store.read(move |tx| vouch(tx, &credential, &shown)).await?))
    }
}

/// Whose certificate it is, and what such a caller may know of the session.
fn vouch(tx: &Tx<'_>, credential: &Credential, shown: &Credential) -> Result<VouchResponse, Error> {
    let caller = tx.caller(credential)?;
    let org = caller.org().clone();
    let session = own_session(tx, &org, &caller)?;
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    tx.view(&org, &decide(&caller, Action::SessionReport, &target), "session")?;
    let refused = |reason: &str| Ok(VouchResponse { reason: reason.to_owned(), ..Default::default() });
    if shown.identity.org != org {
        return refused("this agent is of another organization");
    }
    let holder = match tx.caller(shown) {
        Ok(holder) => holder,
        Err(Error::Unauthenticated(why)) => return refused(why),
        Err(e) => return Err(e),
    };
    if let Verdict::Forbid(why) = decide(&holder, Action::SessionStatus, &target).verdict() {
        return refused(why);
    }
    let may = |action, target| decide(&holder, action, target).verdict() == Verdict::Allow;
    Ok(VouchResponse {
        status: may(Action::SessionStatus, &target),
        shared_names: may(Action::SecretRead, &Target::Organization),
        private_names: may(Action::SessionReadNames, &target),
        reason: String::new(),
    })
}

/// Tries at a bundle while others push; the last one keeps them from it.
const TRIES: usize = 4;

/// A bundle whose delivery is on record: whose, its version, its message and its sequence.
type Recorded = (SessionRow, Id, Zeroizing<Vec<u8>>, u64);

impl BundleCalls {
    /// Assembles the caller's bundle and puts its delivery on record. One that a push has overtaken meanwhile is assembled anew:
    /// a delivery takes in every push before it.
    async fn record(&self, credential: &Credential) -> Result<Recorded, Error> {
        for _ in 1..TRIES {
            let reader = credential.clone();
            let assembled = self.0.read_on_record(move |tx| assemble(tx, &reader));
            let (session, bundle, as_of) = assembled.await?;
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
        let last = self.0.store.write(move |tx| {
            let (session, bundle, _) = assemble(tx, &credential)?;
            let version = bundle.version.clone();
            let (message, items) = encode(&credential.identity, &session, bundle);
            let sequence = deliver(tx, &credential, &session.id, &version, &items)?;
            Ok((session, version, message, sequence))
        });
        last.await
    }
}

/// With the newest audit entry that it takes in.
fn assemble(tx: &Tx<'_>, credential: &Credential) -> Result<(SessionRow, Bundle, u64), Error> {
    let (org, session) = reading(tx, credential, Action::BundleDeliver)?;
    let bundle = tx.assemble(&org, &session)?;
    Ok((session, bundle, tx.newest_entry(&org)?))
}

fn deliver(tx: &Tx<'_>, credential: &Credential, id: &Id, bundle: &Id, items: &[(Id, String)]) -> Result<u64, Error> {
    let facts = detail([("bundle", bundle.to_string()), ("secrets", items.len().to_string())]);
    let grant = delivering(tx, credential, id, Action::BundleDeliver, facts)?;
    tx.deliver(&grant, id, bundle, items)?;
    Ok(grant.sequence())
}

/// A key and nonce of the right sizes.
fn fits(public_key: &[u8], nonce: &[u8]) -> Result<(), Error> {
    if nonce.len() != seal::NONCE_LEN {
        return Err(Error::Invalid(format!("the nonce must have {} bytes", seal::NONCE_LEN)));
    }
    if public_key.len() != seal::PUBLIC_KEY_LEN {
        return Err(Error::Invalid(seal::BadPublicKey.to_string()));
    }
    Ok(())
}

fn parse_names(asked: &[String]) -> Result<Vec<SecretName>, Error> {
    if asked.is_empty() || asked.len() > MAX_NAMED {
        return Err(Error::Invalid(format!("{} names; ask for 1 to {MAX_NAMED} secrets at once", asked.len())));
    }
    let mut names = Vec::new();
    for name in asked {
        let name = SecretName::parse(name).map_err(|e| Error::Invalid(e.to_string()))?;
        if names.contains(&name) {
            return Err(Error::Invalid(format!("`{name}` is asked for twice")));
        }
        names.push(name);
    }
    Ok(names)
}

/// Each secret's id and version; the names of shared ones, while a private one's is its owner's business.
fn named_facts(bundle: &Bundle) -> Detail {
    let (mut secrets, mut shared) = (Vec::new(), Vec::new());
    for entry in &bundle.entries {
        secrets.extend(entry.secret.as_ref().map(|id| format!("{id}@{}", entry.version)));
        if entry.origin == resolve::Origin::Shared {
            shared.push(entry.name.as_str());
        }
    }
    let mut facts = detail([("secrets", secrets.join(" "))]);
    if !shared.is_empty() {
        facts.insert("shared", shared.join(" "));
    }
    facts
}

/// `None` for callers that are no session.
pub(super) fn own_session(tx: &Tx<'_>, org: &OrgName, caller: &Caller) -> Result<Option<SessionRow>, Error> {
    match &caller.identity.subject {
        Subject::Session(id) => tx.session(org, id),
        _ => Ok(None),
    }
}

/// The caller's session, once policy has allowed to look for what it is to get.
fn reading(tx: &Tx<'_>, credential: &Credential, action: Action) -> Result<(OrgName, SessionRow), Error> {
    let caller = tx.caller(credential)?;
    let org = caller.org().clone();
    let session = own_session(tx, &org, &caller)?;
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    tx.view(&org, &decide(&caller, action, &target), "session")?;
    Ok((org, session.ok_or_else(|| Error::not_found("session"))?))
}

/// Asks again, in the transaction that puts the delivery on record: a session that was revoked meanwhile gets nothing.
fn delivering(tx: &Tx<'_>, credential: &Credential, id: &Id, action: Action, facts: Detail) -> Result<Grant, Error> {
    let caller = tx.caller(credential)?;
    let org = caller.org().clone();
    let session = tx.session(&org, id)?.ok_or_else(|| Error::not_found("session"))?;
    tx.admit(&org, decide(&caller, action, &session.target()), "session", facts)
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
        left_out: bundle.left_out.into_iter().map(left_out).collect(),
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

fn left_out(LeftOut { variable, origin, name, reason }: LeftOut) -> LeftOutVariable {
    LeftOutVariable { variable: variable.to_string(), name, origin: Origin::from(origin).into(), reason }
}
