//! The agent's life once its files are in place.
//!
//! ```text
//! the control plane ◄─ renewed at 70 % of life ── identity ──► every call below
//!                   ── Watch ──► watch: pushes, revocation
//!                   ◄─ FetchNamed ── with ◄──┬── local: the session's own processes
//!                   ◄─ Report ── ledger ◄────┴── leaks, also from who redacts the journal
//! ```
//!
//! Each of these waits for itself alone: a control plane that does not answer holds up neither the session nor its logs.

use std::{convert::Infallible, sync::Arc, time::Duration};

use nix::unistd::Gid;
use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tonic::Code;

use super::{
    fetch::{self, Named},
    files,
    fingerprints::Redacting,
    kept::{Enrolled, Keeper},
    leaks::{Leak, Ledger},
    local::{self, Lent, Refused, Request, With},
    machine::Machine,
    memfd, notify, proof, report, retry,
    runtime_dir::RuntimeDir,
    status::{self, Status},
    watch as pushes,
};
use crate::{
    client::{self, Counter, Credentials, Error},
    domain::{boot::BootPolicy, identity::Identity, name::SecretName, report::Phase, value::Delivery},
    memory::Rung,
};

/// How long leaks are gathered before they are told, and how long after that failed.
const GATHER: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(30);
/// How long a renewal is tried for at the least, and the longest pause after an identity has ended by this machine's clock.
const LEAST: Duration = Duration::from_secs(30);
const REST: Duration = Duration::from_secs(120);
/// In one report.
const MOST: usize = 200;

/// What it takes to speak as this session.
pub struct Identified {
    pub own: Identity,
    pub address: String,
    pub boot: BootPolicy,
    /// The newest.
    pub credentials: watch::Sender<Arc<Credentials>>,
    pub machine: Machine,
    /// As it was kept last.
    counter: Counter,
}

impl Identified {
    pub fn new(enrolled: Enrolled, own: Identity, machine: Machine) -> Self {
        let Enrolled { credentials, address, boot, counter } = enrolled;
        Self { own, address, boot, credentials: watch::Sender::new(Arc::new(credentials)), machine, counter }
    }

    pub async fn connect(&self) -> Result<tonic::transport::Channel, Error> {
        let credentials = self.credentials.borrow().clone();
        self.machine.way.connect_as(&self.address, &credentials).await
    }
}

/// Where the files are, and what may be known of them.
pub struct Place<'a> {
    pub dir: &'a RuntimeDir,
    pub group: Option<Gid>,
    pub floor: Rung,
    pub redacting: &'a Redacting,
    pub status: &'a Status,
}

/// Never ends by itself. `leaks` is both ends: whoever redacts has the one, this keeps the other.
pub async fn serve(
    identified: &Identified,
    keeper: &mut Keeper,
    place: &Place<'_>,
    (found, leaks): &mut (mpsc::Sender<Leak>, mpsc::Receiver<Leak>),
    summary: &str,
) -> Infallible {
    let (asked, requests) = mpsc::channel(32);
    let served = async {
        match local::serve(&local::path(place.dir.path()), place.group, asked) {
            Ok(serving) => serving.await,
            Err(error) => tracing::warn!(%error, "the session's processes can't be served: no exec --with, no counts"),
        }
        std::future::pending().await
    };
    tokio::select! {
        never = served => never,
        never = speak(identified, keeper, place, summary) => never,
        never = answer(identified, place, requests, found) => never,
        never = proof::tell(place) => never,
        never = tell(identified, leaks, place.status) => never,
    }
}

/// What is between the agent and the control plane, whatever happens in the session.
pub async fn speak(identified: &Identified, keeper: &mut Keeper, place: &Place<'_>, summary: &str) -> Infallible {
    tokio::select! {
        biased;
        never = renew(identified, keeper, summary, place.status) => never,
        never = status::beat(place.status) => never,
        never = pushes::watch(identified, place) => never,
    }
}

/// Renews for as long as the control plane does.
async fn renew(identified: &Identified, keeper: &mut Keeper, summary: &str, status: &Status) -> Infallible {
    let Machine { clock, chance, way } = &identified.machine;
    let mut counter = identified.counter.clone();
    let left = |time: OffsetDateTime| (time - clock.now()).try_into().unwrap_or(Duration::ZERO);
    let mut degraded = false;
    loop {
        let credentials = identified.credentials.borrow().clone();
        // Not at one go: the calendar may be set right meanwhile.
        let look =
            Duration::try_from((credentials.not_after - credentials.not_before) / 10).unwrap_or(LEAST).max(LEAST);
        while let wait = left(credentials.renew_at())
            && !wait.is_zero()
        {
            tokio::time::sleep(wait.min(look)).await;
        }
        let end = Instant::now() + left(credentials.not_after).max(LEAST);
        if counter.attempt.is_empty() {
            let mut random = vec![0; 16];
            if getrandom::fill(&mut random).is_ok() {
                counter.attempt = random;
            }
        }
        // First of all: a process that dies after asking is no clone of the one that asks again.
        keeper.keep(&credentials.key, Some((&credentials, &identified.address, identified.boot, &counter)));
        let renewed = retry::until(chance, Some(end), "renewing the identity", async || {
            let channel = way.connect_as(&identified.address, &credentials).await?;
            client::renew_counted(channel, &credentials, clock.now(), &counter).await
        });
        match renewed.await {
            Ok((fresh, renewals)) => {
                counter = Counter { renewals: Some(renewals), attempt: Vec::new() };
                keeper.keep(&fresh.key, Some((&fresh, &identified.address, identified.boot, &counter)));
                if let Err(error) = status.identity(identified.own.subject.name(), &identified.address, &fresh) {
                    tracing::warn!(%error, "the status is answered in the identity of before");
                }
                status.contact();
                if std::mem::take(&mut degraded) {
                    notify::status(summary);
                    status.say(&report::ready("", "", ""));
                }
                identified.credentials.send_replace(Arc::new(fresh));
            }
            // `watch` is told the same, and does what there is to do.
            Err(Error::Status(status)) if status.code() == Code::Unauthenticated => {
                return std::future::pending().await;
            }
            Err(error) => {
                // The session keeps what it has; whether it may have more is the control plane's to say.
                tracing::error!(%error, "the identity could not be renewed and ends; the files stay as they are");
                notify::status(&format!("degraded: {error}; {summary}"));
                status.say(&report::without(Phase::Degraded, &error));
                if !error.is_transient() {
                    return std::future::pending().await;
                }
                // By this machine's clock, which may be the one that is wrong.
                degraded = true;
                tokio::time::sleep(chance.below(REST)).await;
            }
        }
    }
}

/// Answers the session's own processes.
async fn answer(
    identified: &Identified,
    place: &Place<'_>,
    mut requests: mpsc::Receiver<Request>,
    found: &mpsc::Sender<Leak>,
) -> Infallible {
    loop {
        match requests.recv().await {
            Some(Request::Leaks(leaks)) => {
                for leak in leaks {
                    // Full only while the control plane can't be told: then a count is lost rather than the session held up.
                    let _ = found.try_send(leak);
                }
            }
            Some(Request::With { names, peer, reply }) => {
                let lent = lend(identified, place, &names).await;
                let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                match &lent {
                    Ok(_) => {
                        tracing::info!(secrets = names.join(" "), uid = peer.uid, pid = peer.pid, "lent to a command")
                    }
                    Err(refused) => {
                        tracing::info!(
                            secrets = names.join(" "),
                            uid = peer.uid,
                            pid = peer.pid,
                            why = refused.message,
                            "not lent"
                        );
                    }
                }
                let _ = reply.send(lent);
            }
            None => return std::future::pending().await,
        }
    }
}

/// Secrets for one command: what it gets, and what its output is filtered by.
async fn lend(identified: &Identified, place: &Place<'_>, names: &[SecretName]) -> Result<With, Refused> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let channel = identified.connect().await.map_err(refused)?;
    let Named { entries, .. } =
        fetch::fetch_named(channel, &identified.own, &names, place.floor).await.map_err(refused)?;
    // What the command logs is redacted by others too, and after it has ended.
    let prepared =
        place.redacting.prepare(place.dir, identified.own.subject.name(), &entries).await.map_err(refused)?;
    let here = |e: &dyn std::fmt::Display| refused(Error::Local(e.to_string()));
    files::tell_fingerprints(place.dir, &prepared.encoded, place.floor).map_err(|e| here(&e))?;
    let (files, variables): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.delivery == Delivery::File);
    let pairs: Vec<_> = variables.iter().map(|entry| (&entry.variable, &entry.value[..])).collect();
    let environ = files::lend(place.dir, &pairs, place.floor).map_err(|e| here(&e))?;
    let lend_file = |entry: &fetch::Entry| {
        let file = files::lend_file(place.dir, &entry.value, place.floor).map_err(|e| here(&e))?;
        Ok((entry.variable.to_string(), file))
    };
    let lent = Lent { environ, files: files.into_iter().map(lend_file).collect::<Result<_, Refused>>()? };
    let redaction = memfd::sealed("keyfob-fingerprints", &prepared.encoded).map_err(|e| here(&e))?;
    Ok(With { variables: entries.iter().map(|entry| entry.variable.to_string()).collect(), lent, redaction })
}

fn refused(error: Error) -> Refused {
    let code = match &error {
        Error::Status(status) if status.code() == Code::NotFound => "not_found",
        Error::Status(_) => "refused",
        _ if error.is_unreachable() => "unavailable",
        _ => "failed",
    };
    Refused { message: error.to_string(), code: code.into() }
}

/// Tells the control plane what leaked, some time after it is found.
async fn tell(identified: &Identified, leaks: &mut mpsc::Receiver<Leak>, status: &Status) -> Infallible {
    let mut ledger = Ledger::default();
    let count = |ledger: &mut Ledger, leak: Leak| {
        status.masked(&leak.variable, leak.count);
        ledger.add(leak);
    };
    let mut wait = GATHER;
    loop {
        if ledger.is_empty() {
            wait = GATHER;
            match leaks.recv().await {
                Some(leak) => count(&mut ledger, leak),
                None => return std::future::pending().await,
            }
        }
        let due = Instant::now() + wait;
        loop {
            tokio::select! {
                () = sleep_until(due) => break,
                Some(leak) = leaks.recv() => count(&mut ledger, leak),
            }
        }
        while !ledger.is_empty() {
            let taken = ledger.take(MOST);
            if let Err(error) = report::send(identified.connect(), None, &taken).await {
                tracing::warn!(%error, "the control plane was not told of leaks; it will be");
                taken.into_iter().for_each(|leak| ledger.add(leak));
                wait = AGAIN;
                break;
            }
        }
    }
}
