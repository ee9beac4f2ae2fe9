//! Fetch: a session's bundle, assembled, put on record, sealed, in this order; the values are wiped when the seal is on.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{App, convert::detail, credential};
use crate::{
    domain::{
        identity::{Identity, Subject},
        name::Id,
        policy::{Action, Target, decide},
    },
    seal::{self, Purpose},
    server::{
        error::Error,
        store::{Bundle, Credential, SessionRow, Tx},
    },
    wire::v1::{
        BundleContents, BundleEntry, Delivery, FetchRequest, FetchResponse, Origin,
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
        let reader = credential.clone();
        let assembled = self.0.store.read(move |tx| assemble(tx, &reader)).await;
        let (session, bundle) = match assembled {
            Ok(found) => found,
            // What a reading job refuses must still go on record.
            Err(error) if error.fact().is_some() => {
                return Err(self
                    .0
                    .store
                    .write::<()>(move |_| Err(error))
                    .await
                    .err()
                    .unwrap_or(Error::Internal("a refusal got lost"))
                    .into());
            }
            Err(error) => return Err(error.into()),
        };
        let version = bundle.version.clone();
        let (mut message, items) = encode(&credential.identity, &session, bundle);

        let deliverer = credential.clone();
        let (id, bundle_id) = (session.id.clone(), version.clone());
        let sequence = self.0.store.write(move |tx| deliver(tx, &deliverer, &id, &bundle_id, &items)).await?;

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
}

fn assemble(tx: &Tx<'_>, credential: &Credential) -> Result<(SessionRow, Bundle), Error> {
    let caller = tx.caller(credential)?;
    let org = caller.org().clone();
    let session = match &caller.identity.subject {
        Subject::Session(id) => tx.session(&org, id)?,
        _ => None,
    };
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    tx.view(&org, &decide(&caller, Action::BundleDeliver, &target), "session")?;
    let session = session.ok_or_else(|| Error::not_found("session"))?;
    let bundle = tx.assemble(&org, &session)?;
    Ok((session, bundle))
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
