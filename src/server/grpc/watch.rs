//! The streams that agents hold, and what they answer. A stream is there before it is asked what is due: what is pushed between
//! the two is told twice at the most, and never lost.

use std::sync::Arc;

use tonic::{Request, Status};

use super::{App, bundle::own_session, convert::detail, credential};
use crate::{
    domain::{
        audit::{Fact, Outcome},
        identity::Caller,
        policy::{Action, Target, decide},
        report::Line,
    },
    server::{
        error::Error,
        store::{Credential, SessionRow, Tx, View},
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
    let session = app.read_on_record(move |tx| Ok(watching(tx, &caller)?.2.id)).await?;
    let org = credential.identity.org.clone();
    let Ok(stream) = app.streams.join(&org, &session, instance, attempt) else {
        app.store.write(move |tx| cloned(tx, &credential)).await?;
        return Err(Status::failed_precondition(CLONED));
    };
    let due = app.store.read({
        let credential = credential.clone();
        move |tx| {
            let (org, _, session) =
                watching(tx, &credential).map(|(view, caller, row)| (view.org().clone(), caller, row))?;
            let unsaid = sequence != 0 && tx.delivery(&org, &session.id, sequence)? == Some(None);
            let due = tx.due(&org, &session.id, sequence)?;
            Ok((session.id, unsaid, due))
        }
    });
    let (id, unsaid, due) = due.await?;
    if unsaid || due.is_some() {
        let due = app.store.write(move |tx| {
            if unsaid {
                acknowledge(tx, &credential, sequence)?;
            }
            let (view, ..) = watching(tx, &credential)?;
            tx.told_on_arrival(view.org(), &id)?;
            tx.due(view.org(), &id, sequence)
        });
        if let Some(sequence) = due.await? {
            stream.due(sequence);
        }
    }
    app.streams.knock(); // it may be waited for
    Ok(stream)
}

const CLONED: &str =
    "another agent holds this session's identity, as that of a VM that was cloned; revoke the session if none should";

/// Leave to wait, from the caller's certificate.
fn watching(tx: &Tx<'_>, credential: &Credential) -> Result<(View, Caller, SessionRow), Error> {
    let caller = tx.caller(credential)?;
    let session = own_session(tx, caller.org(), &caller)?;
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    let view = tx.view(caller.org(), &decide(&caller, Action::BundleWatch, &target), "session")?;
    Ok((view, caller, session.ok_or_else(|| Error::not_found("session"))?))
}

fn cloned(tx: &Tx<'_>, credential: &Credential) -> Result<(), Error> {
    let (view, caller, session) = watching(tx, credential)?;
    let fact = Fact {
        actor: caller.identity.subject.to_string(),
        action: "session.clone",
        target: session.target().label(),
        outcome: Outcome::Refused,
        detail: detail([("reason", "two agents hold its identity".to_owned())]),
    };
    tx.record(view.org(), fact).map(drop)
}

/// One that is on record already changes nothing.
pub fn acknowledge(tx: &Tx<'_>, credential: &Credential, sequence: u64) -> Result<(), Error> {
    let caller = tx.caller(credential)?;
    let session = own_session(tx, caller.org(), &caller)?;
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    let decision = decide(&caller, Action::BundleAcknowledge, &target);
    tx.view(caller.org(), &decision, "session")?;
    let session = session.ok_or_else(|| Error::not_found("session"))?;
    match tx.delivery(caller.org(), &session.id, sequence)? {
        None => Err(Error::Invalid("the sequence is of no delivery to this session".into())),
        Some(Some(_)) => Ok(()),
        Some(None) => {
            let facts = detail([("delivery", sequence.to_string())]);
            let grant = tx.admit(caller.org(), decision, "session", facts)?;
            tx.acknowledge(&grant, &session.id, sequence)
        }
    }
}

pub fn failed(tx: &Tx<'_>, credential: &Credential, error: &Line<500>, names: bool) -> Result<(), Error> {
    let caller = tx.caller(credential)?;
    let session = own_session(tx, caller.org(), &caller)?;
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    let decision = decide(&caller, Action::BundleAcknowledge, &target);
    tx.view(caller.org(), &decision, "session")?;
    let session = session.ok_or_else(|| Error::not_found("session"))?;
    if !tx.is_told(caller.org(), &session.id)? {
        return Ok(()); // said before, or nobody asked
    }
    let grant = tx.admit(caller.org(), decision, "session", detail([("failed", "yes".to_owned())]))?;
    tx.fail_targets(&grant, &session.id, error, names)
}
