//! How the agent is: one place that is written to as things happen, and that everybody reads who may ask.
//!
//! ```text
//! run, serve ─► Status ─┬─► listen ─► calls   unix socket: root and a group; mutual TLS: who the control plane vouches for
//!                       ├─► beat              the control plane is told, on change and now and then
//!                       └─► metrics           on loopback, where configured
//! ```
//!
//! No value is ever in it. Names of secrets are: who may not know them is told without (`sight`).

mod beat;
mod calls;
mod listen;
mod metrics;
mod sight;

pub use beat::beat;
pub use listen::{Sockets, serve};

use std::sync::Arc;

use prost_types::Timestamp;
use rustls::ServerConfig;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::watch;
use tonic::transport::Channel;

use super::{
    files::{self, Manifest},
    fingerprints::CANARY,
    machine::Machine,
    runtime_dir::RuntimeDir,
};
use crate::{
    client::{Credentials, Error},
    domain::report::{Line, Phase},
    tls,
    wire::v1::{self, AgentStatus, InstalledVariable, LeftOutVariable, Redacted},
};

/// A session has a thousand variables at the most, but anybody in it may say anything of others.
const MOST_REDACTED: usize = 1_000;

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Status(Arc<Shared>);

struct Shared {
    now: watch::Sender<AgentStatus>,
    identity: watch::Sender<Option<Identity>>,
    dir: Arc<RuntimeDir>,
    machine: Machine,
}

/// What it takes to be somebody on the network.
#[derive(Clone)]
struct Identity {
    /// For those who ask.
    server: Arc<ServerConfig>,
    /// To the control plane; connected when it is used, unless [`Status::reached`] has given one that is.
    control: Channel,
}

impl Status {
    pub fn new(dir: Arc<RuntimeDir>, machine: Machine) -> Self {
        let first = AgentStatus {
            phase: v1::Phase::Enrolling.into(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
            files_rung: dir.rung().as_str().into(),
            ..Default::default()
        };
        Self(Arc::new(Shared { now: watch::Sender::new(first), identity: watch::Sender::new(None), dir, machine }))
    }

    /// What is not a change is not told.
    fn change(&self, how: impl FnOnce(&mut AgentStatus)) {
        self.0.now.send_if_modified(|status| {
            let before = status.clone();
            how(status);
            *status != before
        });
    }

    /// Where things stand, unless the VM is open without its secrets: that is said first, and stays.
    pub fn phase(&self, phase: Phase) {
        self.change(|status| {
            if status.phase() != v1::Phase::Degraded {
                status.set_phase(phase.into());
            }
        });
    }

    /// What the control plane is about to be told, with the phase and the error in it.
    pub fn say(&self, report: &AgentStatus) {
        self.change(|status| {
            status.set_phase(report.phase());
            status.last_error.clone_from(&report.last_error);
            status.last_error_names = report.last_error_names;
        });
    }

    /// All of it is in place and read back.
    pub fn installed(&self, manifest: &Manifest) {
        let origin = |word: &str| v1::Origin::of_word(word).into();
        let at = OffsetDateTime::parse(&manifest.installed_at, &Rfc3339).ok();
        self.change(|status| {
            status.bundle_version.clone_from(&manifest.bundle_version);
            status.sequence = manifest.sequence;
            status.installed_at = at.map(timestamp);
            status.memory_rung.clone_from(&manifest.memory);
            status.files_rung.clone_from(&manifest.files);
            status.variables = manifest
                .variables
                .iter()
                .map(|v| InstalledVariable {
                    variable: v.variable.clone(),
                    version: v.version.clone(),
                    name: v.name.clone(),
                    origin: origin(&v.origin),
                })
                .collect();
            status.left_out = manifest
                .left_out
                .iter()
                .map(|v| LeftOutVariable {
                    variable: v.variable.clone(),
                    name: v.name.clone(),
                    origin: origin(&v.origin),
                    reason: v.reason.clone(),
                })
                .collect();
        });
    }

    /// The control plane took the session's secrets back; the files are wiped.
    pub fn withdrawn(&self, why: &str) {
        self.change(|status| {
            status.set_phase(v1::Phase::Refused);
            status.last_error = Line::<500>::cut(why).into();
            status.last_error_names = false;
            (status.variables, status.left_out) = Default::default();
            (status.bundle_version, status.installed_at) = Default::default();
        });
    }

    /// Who the agent is from now on; answers are given in this name.
    pub fn identity(&self, session: &str, address: &str, credentials: &Credentials) -> Result<(), Error> {
        let server = tls::agent_config(credentials.keyed(), &credentials.roots)
            .map_err(|e| Error::Local(format!("TLS: {e}")))?;
        let control = self.0.machine.way.lazy_as(address, credentials)?;
        self.0.identity.send_replace(Some(Identity { server: Arc::new(server), control }));
        self.change(|status| {
            session.clone_into(&mut status.session);
            status.certificate_expires_at = Some(timestamp(credentials.not_after));
        });
        Ok(())
    }

    /// There is a connection to the control plane: one is enough for all that is told and asked.
    pub fn reached(&self, channel: &Channel) {
        self.0.identity.send_if_modified(|identity| {
            identity.iter_mut().for_each(|identity| identity.control = channel.clone());
            false // who listens in this name goes on
        });
    }

    /// The control plane has answered.
    pub fn contact(&self) {
        self.change(|status| status.last_contact = Some(timestamp(self.0.machine.clock.now())));
    }

    /// A value was masked in what the session printed or logged.
    pub fn masked(&self, variable: &str, count: u64) {
        if variable == CANARY {
            return;
        }
        self.change(|status| {
            let known = status.redacted.iter().position(|r| r.variable == variable);
            if let Some(redacted) = known.map(|at| &mut status.redacted[at]) {
                redacted.count = redacted.count.saturating_add(count);
            } else if status.redacted.len() < MOST_REDACTED {
                status.redacted.push(Redacted { variable: variable.to_owned(), count });
            }
        });
    }

    /// Whether what is printed is redacted, as was found out by trying.
    pub fn redaction(&self, found: &str) {
        self.change(|status| found.clone_into(&mut status.redaction));
    }

    fn read(&self) -> AgentStatus {
        self.0.now.borrow().clone()
    }

    /// Whether the files are in place: read back when they were written, and still there.
    fn healthy(&self) -> bool {
        let bundle = {
            let status = self.0.now.borrow();
            if !matches!(status.phase(), v1::Phase::Ready | v1::Phase::Degraded) {
                return false;
            }
            status.bundle_version.clone()
        };
        let dir = &self.0.dir;
        match files::read_manifest(dir) {
            Ok(Some(manifest)) => {
                !bundle.is_empty()
                    && manifest.bundle_version == bundle
                    && files::is_whole(dir, &manifest).unwrap_or(false)
            }
            _ => false,
        }
    }
}

fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: at.nanosecond() as i32 }
}
