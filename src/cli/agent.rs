//! `keyfob agent status`: asks an agent itself, on this machine or over the network.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    args::AgentStatus as Args,
    failure::{Done, Failure},
    home::Home,
    live::Live,
    output::Out,
    views,
};
use crate::{
    client,
    wire::v1::{self, AgentStatus, agent_status_service_client::AgentStatusServiceClient},
};

/// How long an agent may take: it asks the control plane who is calling.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn status(out: &Out, args: Args) -> Done {
    let channel = connect(&args).await?;
    let mut agent = AgentStatusServiceClient::new(channel.clone());
    if !args.watch {
        let asked = tokio::time::timeout(PATIENCE, agent.get_status(v1::GetStatusRequest {})).await;
        let status = asked.map_err(|_| silent(&args))?.map_err(refused)?.into_inner().status.unwrap_or_default();
        let healthy = healthy(channel).await?;
        return match out.is_json() {
            true => out.json(&views::with(json(&status), [("healthy", healthy.into())])),
            false => out.fields(&fields(&status, healthy)),
        };
    }
    let mut live = Live::new(out);
    let mut changes = agent.watch_status(v1::WatchStatusRequest {}).await.map_err(refused)?.into_inner();
    while let Some(change) = changes.message().await.map_err(refused)? {
        let status = change.status.unwrap_or_default();
        let healthy = healthy(channel.clone()).await?;
        match out.is_json() {
            true => out.json_line(&views::with(json(&status), [("healthy", healthy.into())]))?,
            false => live.show(&out.to_fields(&fields(&status, healthy)))?,
        }
    }
    Err(Failure::unreachable("the agent has ended"))
}

async fn connect(args: &Args) -> Done<Channel> {
    let Some(address) = &args.address else { return Ok(client::connect_local(&args.socket).await?) };
    let login = Home::from_env()?.load()?;
    let login = login.ok_or_else(|| Failure::refused("unauthenticated", "not logged in; run `keyfob login`"))?;
    let connected = client::connect_agent(address, &login.identity.org, &login.credentials).await;
    connected.map_err(|error| match error {
        client::Error::Unreachable { cause, .. } => {
            Failure::unreachable(format!("can't reach an agent at {address}: {cause}"))
        }
        client::Error::Untrusted { cause, .. } => {
            let text = format!("what answers at {address} is no agent of {}: {cause}", login.identity.org);
            Failure::refused("untrusted", text)
        }
        other => other.into(),
    })
}

fn silent(args: &Args) -> Failure {
    let socket = args.socket.display().to_string();
    Failure::unreachable(format!("the agent at {} does not answer", args.address.as_ref().unwrap_or(&socket)))
}

/// In the agent's own words: it is not the control plane that says so.
fn refused(status: tonic::Status) -> Failure {
    match status.code() {
        Code::Unavailable if std::error::Error::source(&status).is_none() => Failure::unreachable(status.message()),
        _ => status.into(),
    }
}

async fn healthy(channel: Channel) -> Done<bool> {
    let asked = HealthClient::new(channel).check(HealthCheckRequest::default()).await.map_err(refused)?;
    Ok(asked.into_inner().status() == ServingStatus::Serving)
}

pub fn json(s: &AgentStatus) -> Json {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "phase": views::phase(s.phase()),
        "session": some(&s.session),
        "bundle_version": some(&s.bundle_version),
        "sequence": (s.sequence != 0).then_some(s.sequence),
        "installed_at": views::time(&s.installed_at),
        "certificate_expires_at": views::time(&s.certificate_expires_at),
        "last_contact": views::time(&s.last_contact),
        "memory": some(&s.memory_rung),
        "files": some(&s.files_rung),
        "redaction": some(&s.redaction),
        "last_error": some(&s.last_error),
        "variables": s.variables.iter().map(|v| json!({
            "variable": some(&v.variable), "name": some(&v.name), "origin": v.origin().word(), "version": v.version,
        })).collect::<Vec<_>>(),
        "left_out": s.left_out.iter().map(|v| json!({
            "variable": some(&v.variable), "name": some(&v.name), "origin": v.origin().word(), "reason": some(&v.reason),
        })).collect::<Vec<_>>(),
        "redacted": s.redacted.iter().map(|r| json!({
            "variable": some(&r.variable), "count": r.count,
        })).collect::<Vec<_>>(),
        "names_hidden": s.names_hidden,
        "version": some(&s.agent_version),
    })
}

fn fields(s: &AgentStatus, healthy: bool) -> Vec<(&'static str, String)> {
    let health = if healthy { "files in place and read back" } else { "files are not in place" };
    let named = |name: &str| if name.is_empty() { "(hidden)".to_owned() } else { name.to_owned() };
    let age =
        |at: &Option<prost_types::Timestamp>| views::age(at).map(|age| format!(" ({age} ago)")).unwrap_or_default();
    let at = |at: &Option<prost_types::Timestamp>| match views::short_time(at) {
        text if text.is_empty() => text,
        text => format!("{text}{}", age(at)),
    };
    let mut fields = vec![
        ("phase", views::phase(s.phase()).to_owned()),
        ("health", health.into()),
        ("session", s.session.clone()),
        ("bundle", s.bundle_version.clone()),
        ("installed", at(&s.installed_at)),
        ("identity ends", views::short_time(&s.certificate_expires_at)),
        ("last contact", at(&s.last_contact)),
        ("memory", s.memory_rung.clone()),
        ("files", s.files_rung.clone()),
        ("redaction", s.redaction.clone()),
        (
            "last error",
            if s.last_error.is_empty() && s.last_error_names {
                "(may name a secret)".into()
            } else {
                s.last_error.clone()
            },
        ),
        ("agent", s.agent_version.clone()),
    ];
    fields.extend(
        s.variables.iter().map(|v| {
            ("variable", format!("{}  {} {}", named(&v.variable), v.origin().word(), views::short(&v.version)))
        }),
    );
    fields.extend(s.left_out.iter().map(|v| {
        let reason = if v.reason.is_empty() { "(hidden)" } else { &v.reason };
        ("left out", format!("{}  {}: {reason}", named(&v.variable), v.origin().word()))
    }));
    fields.extend(s.redacted.iter().map(|r| ("redacted", format!("{}  {} times", named(&r.variable), r.count))));
    if s.names_hidden {
        fields.push(("names", "those you may not know are hidden".into()));
    }
    fields
}
