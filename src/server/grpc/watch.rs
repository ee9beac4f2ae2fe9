//! The streams that agents hold, and what they answer. A stream is there before it is asked what is due: what is pushed between
//! the two is told twice at the most, and never lost.

use std::sync::Arc;

use tonic::{Request, Status};

use super::{App, bundle::own_session, convert::detail, credential};
use crate::{
    domain::{
        name::{Id, OrgName},
        policy::{Action, Decision, Target, decide},
        report::Line,
    },
    server::{
        error::Error,
        store::{Credential, SessionRow, Tx},
        streams::{AgentStream, Instance},
    },
    wire::v1,
};

pub async fn watch(app: &Arc<App>, request: Request<v1::WatchRequest>) -> Result<AgentStream, Status> {
    let credential = credential(&request)?;
    let v1::WatchRequest { sequence, instance, attempt } = request.into_inner();
    let instance: Instance =
        instance.try_into().map_err(|_| Error::Invalid("the instance must have 16 bytes".into()))?;
    let caller = credential.clone();
    let (org, session) = app.read_on_record(move |tx| watching(tx, &caller)).await?;
    let Ok(stream) = app.streams.join(&org, &session, instance, attempt) else {
        app.store.write(move |tx| cloned(tx, &credential)).await?;
        return Err(Status::failed_precondition(CLONED));
    };
    let caller = credential.clone();
    let pending = app.store.read(move |tx| {
        let (org, session) = watching(tx, &caller)?;
        Ok(Pending {
            unsaid: sequence != 0 && tx.delivery(&org, &session, sequence)? == Some(None),
            due: tx.due(&org, &session, sequence)?.is_some(),
            waiting: tx.waits(&org, &session)?,
        })
    });
    let Pending { unsaid, due, waiting } = pending.await?;
    if unsaid || due {
        let due = app.store.write(move |tx| {
            if unsaid {
                acknowledge(tx, &credential, sequence)?;
            }
            let (org, session) = watching(tx, &credential)?;
            tx.told_on_arrival(&org, &session)?;
            tx.due(&org, &session, sequence)
        });
        if let Some(sequence) = due.await? {
            stream.due(sequence);
        }
    }
    if waiting {
        app.streams.knock(); // its turn may be now
    }
    Ok(stream)
}

/// What there is to do for a session that comes.
struct Pending {
    /// What it has installed is not on record yet.
    unsaid: bool,
    /// It is to be told of a push.
    due: bool,
    /// A rollout waits for its turn with it.
    waiting: bool,
}

const CLONED: &str =
    "another agent holds this session's identity, as that of a VM that was cloned; revoke the session if none should";

/// The caller's session, once policy has let it wait.
fn watching(tx: &Tx<'_>, credential: &Credential) -> Result<(OrgName, Id), Error> {
    let caller = tx.caller(credential)?;
    let session = own_session(tx, caller.org(), &caller)?;
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    let view = tx.view(caller.org(), &decide(&caller, Action::BundleWatch, &target), "session")?;
    Ok((view.org().clone(), session.ok_or_else(|| Error::not_found("session"))?.id))
}

fn cloned(tx: &Tx<'_>, credential: &Credential) -> Result<(), Error> {
    let (org, session) = watching(tx, credential)?;
    tx.note_clone(&org, &session, "two agents hold its identity")
}

/// The caller's session, and policy's word on its answer.
fn answering(tx: &Tx<'_>, credential: &Credential) -> Result<(OrgName, Id, Decision), Error> {
    let caller = tx.caller(credential)?;
    let session = own_session(tx, caller.org(), &caller)?;
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    let decision = decide(&caller, Action::BundleAcknowledge, &target);
    tx.view(caller.org(), &decision, "session")?;
    Ok((caller.org().clone(), session.ok_or_else(|| Error::not_found("session"))?.id, decision))
}

/// One that is on record already changes nothing.
pub fn acknowledge(tx: &Tx<'_>, credential: &Credential, sequence: u64) -> Result<(), Error> {
    let (org, session, decision) = answering(tx, credential)?;
    match tx.delivery(&org, &session, sequence)? {
        None => Err(Error::Invalid("the sequence is of no delivery to this session".into())),
        Some(Some(_)) => Ok(()),
        Some(None) => {
            let grant = tx.admit(&org, decision, "session", detail([("delivery", sequence.to_string())]))?;
            tx.acknowledge(&grant, &session, sequence)
        }
    }
}

/// Said again, or where nobody asked, it changes nothing.
pub fn failed(tx: &Tx<'_>, credential: &Credential, error: &Line<500>, names: bool) -> Result<(), Error> {
    let (org, session, decision) = answering(tx, credential)?;
    if !tx.is_told(&org, &session)? {
        return Ok(());
    }
    let grant = tx.admit(&org, decision, "session", detail([("failed", "yes".to_owned())]))?;
    tx.fail_targets(&grant, &session, error, names)
}
