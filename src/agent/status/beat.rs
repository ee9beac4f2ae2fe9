//! The control plane is told when something changes, and otherwise as often as it wants to hear.

use std::{convert::Infallible, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};
use tonic::Code;

use super::{Identity, Status};
use crate::{
    agent::machine::Chance,
    client::Error,
    wire::v1::{AgentStatus, ReportRequest, bundle_service_client::BundleServiceClient},
};

/// Where the control plane does not say how often.
const BEAT: Duration = Duration::from_secs(30);
/// Changes within this time are told together.
const GATHER: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

/// For as long as the control plane lets this agent report.
pub async fn beat(status: &Status) -> Infallible {
    let mut changes = status.0.now.subscribe();
    let mut told = kept(&changes.borrow_and_update()); // by whoever called this
    let mut beat = BEAT;
    loop {
        let due = Instant::now() + early(beat, &status.0.machine.chance);
        let fresh = loop {
            tokio::select! {
                biased;
                () = sleep_until(due) => break kept(&changes.borrow_and_update()),
                changed = changes.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    if kept(&changes.borrow()) != told {
                        tokio::time::sleep(GATHER).await;
                        break kept(&changes.borrow_and_update());
                    }
                }
            }
        };
        match send(status, fresh.clone()).await {
            Ok(next) => {
                (told, beat) = (fresh, next);
                status.contact();
            }
            // Ended, revoked or removed; what the files hold is not changed by that.
            Err(Error::Status(refusal)) if matches!(refusal.code(), Code::Unauthenticated | Code::PermissionDenied) => {
                tracing::warn!(%refusal, "the control plane takes no more reports");
                return std::future::pending().await;
            }
            Err(error) => tracing::debug!(%error, "the control plane was not told; the next beat tells it"),
        }
    }
}

async fn send(status: &Status, report: AgentStatus) -> Result<Duration, Error> {
    let identity = status.0.identity.borrow().clone();
    let Some(Identity { control, .. }) = identity else { return Err(Error::Local("no identity yet".into())) };
    let request = ReportRequest { status: Some(report), ..Default::default() };
    let told = timeout(PATIENCE, BundleServiceClient::new(control).report(request)).await;
    let reply = told.map_err(|_| Error::Late { doing: "reporting" })??.into_inner();
    Ok(match reply.next_report_seconds {
        0 => BEAT,
        seconds => Duration::from_secs(seconds.into()),
    })
}

/// What the control plane keeps of a status.
fn kept(status: &AgentStatus) -> AgentStatus {
    AgentStatus {
        phase: status.phase,
        bundle_version: status.bundle_version.clone(),
        memory_rung: status.memory_rung.clone(),
        files_rung: status.files_rung.clone(),
        redaction: status.redaction.clone(),
        last_error: status.last_error.clone(),
        last_error_names: status.last_error_names,
        agent_version: status.agent_version.clone(),
        ..Default::default()
    }
}

/// Up to a quarter earlier, so that those who booted together do not report together, and nobody is late.
fn early(beat: Duration, chance: &Chance) -> Duration {
    beat - chance.below(beat / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_late_and_spread_over_a_quarter() {
        let waits: Vec<_> = (0..200).map(|_| early(BEAT, &Chance::default())).collect();
        assert!(waits.iter().all(|wait| (BEAT * 3 / 4..=BEAT).contains(wait)), "{waits:?}");
        assert!(waits.iter().max().unwrap().abs_diff(*waits.iter().min().unwrap()) > BEAT / 8);
    }
}
