//! Who may ask the agent, and which names they are told.
//!
//! On the unix socket the kernel has decided, by the socket's mode and group, when they connected: root, and a group that can
//! read the files and their manifest anyway. Over the network it is the holder of a certificate of our authority, and an agent
//! knows neither roles nor revocations. So it asks the control plane, at every call, and again and again while a stream is
//! open. Where that does not answer, its last word on the same certificate holds for a while: an outage is when people look at
//! agents. Who has never been vouched for, or was refused, waits until it answers.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tonic::{Code, Status as Refusal};

use super::{Identity, Status};
use crate::{
    tls,
    wire::v1::{AgentStatus, Origin, Redacted, VouchRequest, bundle_service_client::BundleServiceClient},
};

/// How long the control plane may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long its word holds when it does not answer.
const HOLDS: Duration = Duration::from_secs(600);
/// Certificates whose holders are remembered.
const MOST: usize = 64;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub enum Peer {
    /// In this VM, and let through by the kernel.
    Local,
    /// Of a verified chain.
    Holder(CertificateDer<'static>),
}

/// What somebody who may ask is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    shared_names: bool,
    private_names: bool,
}

/// Who was vouched for, and when.
#[derive(Default)]
pub struct Vouched(Mutex<HashMap<[u8; 32], (Instant, Sight)>>);

impl Vouched {
    pub async fn sight(&self, status: &Status, peer: &Peer) -> Result<Sight, Refusal> {
        let certificate = match peer {
            Peer::Local => return Ok(Sight { shared_names: true, private_names: true }),
            Peer::Holder(certificate) => certificate,
        };
        let identity = status.0.identity.borrow().clone();
        let Some(Identity { control, .. }) = identity else {
            return Err(Refusal::unavailable("this agent has no identity yet"));
        };
        let print = tls::fingerprint(certificate);
        let request = VouchRequest { certificate_der: certificate.to_vec() };
        let asked = timeout(PATIENCE, BundleServiceClient::new(control).vouch(request)).await;
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let refusal = match asked {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                if answer.status {
                    let sight = Sight { shared_names: answer.shared_names, private_names: answer.private_names };
                    known.retain(|_, (at, _)| at.elapsed() < HOLDS);
                    if known.len() < MOST {
                        known.insert(print, (Instant::now(), sight));
                    }
                    return Ok(sight);
                }
                known.remove(&print);
                return Err(Refusal::permission_denied(answer.reason));
            }
            Ok(Err(refusal)) if !is_silence(&refusal) => {
                known.remove(&print);
                // This agent's own session has ended, or is not known any more.
                let why = format!("the control plane vouches for nobody to this agent: {}", refusal.message());
                return Err(Refusal::permission_denied(why));
            }
            Ok(Err(refusal)) => refusal.message().to_owned(),
            Err(_) => "no answer in time".into(),
        };
        match known.get(&print).filter(|(at, _)| at.elapsed() < HOLDS) {
            Some((_, sight)) => Ok(*sight),
            None => Err(Refusal::unavailable(format!(
                "the control plane can't be asked who you are ({refusal}); try again"
            ))),
        }
    }
}

fn is_silence(refusal: &Refusal) -> bool {
    matches!(
        refusal.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Cancelled
            | Code::ResourceExhausted
            | Code::Internal
    )
}

impl Sight {
    fn knows(self, origin: Origin) -> bool {
        match origin {
            Origin::Private | Origin::Unspecified => self.private_names,
            Origin::Shared | Origin::Environment => self.shared_names,
        }
    }

    /// The status without the names that are not to be known.
    pub fn of(self, mut status: AgentStatus) -> AgentStatus {
        let mut hidden = 0;
        let variables = &status.variables;
        let known = |variable: &str| {
            // A value's variable may have been uninstalled since; then nobody can tell whose it was.
            let origin = variables.iter().find(|v| v.variable == variable).map_or(Origin::Unspecified, |v| v.origin());
            self.knows(origin)
        };
        let (mut redacted, unnamed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut status.redacted).into_iter().partition(|r| known(&r.variable));
        if !unnamed.is_empty() {
            redacted.push(Redacted { variable: String::new(), count: unnamed.iter().map(|r| r.count).sum() });
            hidden += 1;
        }
        status.redacted = redacted;
        for variable in status.variables.iter_mut().filter(|v| !self.knows(v.origin())) {
            (variable.variable, variable.name) = Default::default();
            hidden += 1;
        }
        for variable in status.left_out.iter_mut().filter(|v| !self.knows(v.origin())) {
            (variable.variable, variable.name, variable.reason) = Default::default();
            hidden += 1;
        }
        if status.last_error_names && !self.private_names {
            status.last_error = String::new();
            hidden += 1;
        }
        status.names_hidden = hidden > 0;
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::{InstalledVariable, LeftOutVariable};

    fn status() -> AgentStatus {
        let installed = |variable: &str, origin: Origin| InstalledVariable {
            variable: variable.into(),
            version: format!("version-of-{}", origin.word()),
            name: variable.to_lowercase(),
            origin: origin.into(),
        };
        AgentStatus {
            variables: vec![
                installed("MINE", Origin::Private),
                installed("OURS", Origin::Shared),
                installed("PUBLIC", Origin::Environment),
            ],
            left_out: vec![LeftOutVariable {
                variable: "OPTED_OUT".into(),
                name: "opted-out".into(),
                origin: Origin::Private.into(),
                reason: "auto-install is off".into(),
            }],
            redacted: [("MINE", 2), ("OURS", 3), ("GONE", 4)]
                .map(|(variable, count)| Redacted { variable: variable.into(), count })
                .into(),
            last_error: "the stored secret `mine`".into(),
            last_error_names: true,
            ..Default::default()
        }
    }

    #[test]
    fn names_by_who_asks() {
        let names = ["MINE", "OURS", "PUBLIC", "OPTED_OUT", "GONE"];
        for (who, shared_names, private_names, told) in [
            ("root, the session", true, true, &names[..]),
            ("an admin", true, false, &["OURS", "PUBLIC"]),
            ("an operator", false, false, &[]),
        ] {
            let seen = Sight { shared_names, private_names }.of(status());
            let text = format!("{seen:?}");
            for name in names {
                let (upper, lower) = (text.contains(name), text.contains(&name.to_lowercase().replace('_', "-")));
                assert_eq!(upper || lower, told.contains(&name), "{who}, {name}: {text}");
            }
            assert_eq!(seen.names_hidden, told.len() < names.len(), "{who}");
            assert_eq!(seen.redacted.iter().map(|r| r.count).sum::<u64>(), 9, "{who}: no count is lost");
            assert!(seen.variables.iter().all(|v| v.version.starts_with("version-of-")), "{who}");
        }
    }
}
