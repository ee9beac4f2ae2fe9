//! What the control plane is told of this agent. Telling changes nothing here: it comes after READY=1 or before the end, takes a
//! moment at the most, and where it fails the caller logs that and goes on.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, transport::Channel};

use super::leaks::Leak;
use crate::{
    client::Error,
    domain::report::{Line, Phase},
    wire::v1::{self, AgentStatus, ReportRequest, bundle_service_client::BundleServiceClient},
};

/// Connection included.
const PATIENCE: Duration = Duration::from_secs(5);

/// An agent that has nothing in place, and why.
pub fn without(phase: Phase, error: &Error) -> AgentStatus {
    AgentStatus {
        phase: v1::Phase::from(phase).into(),
        last_error: Line::<500>::cut(&error.to_string()).into(),
        last_error_names: may_name(error),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        ..Default::default()
    }
}

/// An agent whose files are in place.
pub fn ready(bundle_version: &str, memory: &str, files: &str) -> AgentStatus {
    AgentStatus {
        phase: v1::Phase::Ready.into(),
        bundle_version: bundle_version.into(),
        memory_rung: memory.into(),
        files_rung: files.into(),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        ..Default::default()
    }
}

/// Where an error leaves an agent that does not go on.
pub fn end(error: &Error) -> Phase {
    match error {
        Error::Status(_) if !error.is_transient() => Phase::Refused,
        _ => Phase::Failed,
    }
}

/// A status, leaks, or both.
pub async fn send(
    channel: impl Future<Output = Result<Channel, Error>>,
    status: Option<AgentStatus>,
    leaks: &[Leak],
) -> Result<(), Error> {
    let told = async {
        let leaks = leaks.iter().map(|leak| v1::Leak {
            variable: leak.variable.clone(),
            version: leak.version.clone(),
            form: leak.form.clone(),
            unit: leak.unit.clone(),
            count: leak.count,
        });
        let request = ReportRequest { status, leaks: leaks.collect() };
        BundleServiceClient::new(channel.await?).report(request).await?;
        Ok(())
    };
    timeout(PATIENCE, told).await.unwrap_or(Err(Error::Late { doing: "reporting" }))
}

/// Whether an error may name a secret or its variable. What connecting runs into and what the control plane says to everybody
/// names none.
pub fn may_name(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Late { .. } | Error::Untrusted { .. } | Error::Clock { .. } => false,
        Error::Status(status) => {
            !(error.is_transient() || matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied))
        }
        Error::Local(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn phases_and_names() {
        let address = || "keyfob.example:7443".to_owned();
        for (error, phase, names) in [
            (Error::Unreachable { address: address(), cause: "refused".into() }, Phase::Failed, false),
            (Error::Untrusted { address: address(), cause: "other CA".into() }, Phase::Failed, false),
            (Status::unavailable("x").into(), Phase::Failed, false),
            (Status::permission_denied("x").into(), Phase::Refused, false),
            (Status::data_loss("the stored secret `x`").into(), Phase::Refused, true),
            (Error::Local("$X".into()), Phase::Failed, true),
        ] {
            assert_eq!((end(&error), without(end(&error), &error).last_error_names), (phase, names), "{error}");
        }
    }

    #[test]
    fn what_is_sent_is_fit_to_be_kept() {
        let status = without(Phase::Failed, &Error::Local("a\n".repeat(1_000)));
        assert!(Line::<500>::parse(&status.last_error).is_ok(), "{}", status.last_error);
    }
}
