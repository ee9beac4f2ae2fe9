//! The agent's metrics: the status in numbers.

use tokio::net::TcpListener;

use super::Status;
use crate::{
    exposition::{self, Text},
    wire::v1,
};

pub async fn serve(listener: Option<TcpListener>, status: Status) {
    if let Some(listener) = listener {
        exposition::serve(listener, || render(&status)).await;
    }
}

fn render(status: &Status) -> Text {
    let now = status.read();
    let mut text = Text::default();
    text.one("keyfob_agent_healthy", "gauge", "1 where the files are in place.", u8::from(status.healthy()));
    text.family("keyfob_agent_phase", "gauge", "1 for the phase that the agent is in.");
    for phase in 1.. {
        let Ok(phase) = v1::Phase::try_from(phase) else { break };
        let Some(word) = phase.to_domain() else { continue };
        text.sample("keyfob_agent_phase", &[("phase", word.as_str())], u8::from(now.phase() == phase));
    }
    text.one("keyfob_agent_variables", "gauge", "Variables in place.", now.variables.len());
    text.one("keyfob_agent_bundle_sequence", "gauge", "Grows with every bundle.", now.sequence);
    for (name, help, at) in [
        ("keyfob_agent_installed_timestamp_seconds", "When the bundle was installed.", &now.installed_at),
        ("keyfob_agent_certificate_expiry_timestamp_seconds", "When the identity ends.", &now.certificate_expires_at),
        ("keyfob_agent_last_contact_timestamp_seconds", "When the control plane last answered.", &now.last_contact),
    ] {
        if let Some(at) = at {
            text.one(name, "gauge", help, at.seconds);
        }
    }
    let redacted = now.redacted.iter().map(|r| r.count).sum::<u64>();
    text.one("keyfob_agent_redacted_total", "counter", "Values masked in what the session printed.", redacted);
    text
}
