//! One session: how it is, what it was given, its end.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use tokio::time::sleep;
use tokio_stream::StreamExt;

use super::{
    Console,
    form::Change,
    live::{self, Gone},
    page::{Failure, Section, page},
    parts::{Tone, badge, csrf, heading, notice, person, up, when},
    session::{self, Visitor},
    sessions::{BREATH, state},
    whereabouts::short,
};
use crate::wire::v1::{
    self, Origin, SessionState, create_rollout_request::Reach, fleet_service_server::FleetService,
    rollout_service_server::RolloutService, session_service_server::SessionService,
};

pub async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let request = v1::GetSessionRequest { id: id.clone() };
    let found = console.sessions.get_session(visitor.ask(request)).await?.into_inner();
    let session = found.session.clone().unwrap_or_default();
    let live = is_live(&session);
    let title = format!("Session {}", short(&session.id));
    let whose = match session.user.as_str() {
        "" => html! { "A VM of nobody in particular: it gets what is shared, and nothing private." },
        user if user == visitor.name.as_str() => html! { "A VM of yours." },
        user => html! { "A VM of " (user) "." },
    };
    let events = live.then(|| format!("/sessions/{}/events", session.id));
    let body = html! {
        (up("/sessions", "Sessions"))
        (heading(&title, whose, ""))
        div data-events=[events] { (now(&console, &visitor, &session.id).await?) }
        (given(&session, &found))
        @if live { (endings(&visitor, &session)) }
    };
    Ok(page(&visitor, Section::Sessions, &title, body))
}

fn is_live(session: &v1::Session) -> bool {
    matches!(session.state(), SessionState::Active | SessionState::Pending)
}

/// How it is at this moment.
async fn now(console: &Console, visitor: &Visitor, id: &str) -> Result<Markup, Failure> {
    let request = v1::GetFleetAgentRequest { session: id.to_owned() };
    let agent = console.fleet.get_fleet_agent(visitor.ask(request)).await?.into_inner().agent.unwrap_or_default();
    let session = agent.session.clone().unwrap_or_default();
    let status = session.agent.clone().unwrap_or_default();
    Ok(html! {
        (warnings(&agent, &session, &status))
        dl.facts {
            div { dt { "State" } dd { (state(&session)) } }
            div {
                dt { "Environment" }
                dd { a href={ "/environments/" (session.environment) } { (session.environment) } ", version " (session.environment_version) }
            }
            div { dt { "Made" } dd { (when(session.created_at.as_ref())) " by " (person(&session.created_by)) } }
            div { dt { "Enrolled" } dd { (when(session.enrolled_at.as_ref())) } }
            div { dt { "Fetched its bundle" } dd { (when(session.fetched_at.as_ref())) } }
            div { dt { "Last heard of" } dd { (when(session.reported_at.as_ref())) } }
            @if session.ended_at.is_some() { div { dt { "Ended" } dd { (when(session.ended_at.as_ref())) } } }
            @for (label, said) in [("Values in memory", &status.memory_rung), ("Files", &status.files_rung), ("Agent", &status.agent_version)] {
                @if !said.is_empty() { div { dt { (label) } dd { (said) } } }
            }
            @if !status.redaction.is_empty() { div { dt { "Redaction" } dd { (status.redaction) } } }
        }
    })
}

fn warnings(agent: &v1::FleetAgent, session: &v1::Session, status: &v1::AgentStatus) -> Markup {
    let hidden = status.last_error.is_empty() && status.last_error_names;
    let over = !is_live(session);
    html! {
        @if agent.cloned_at.is_some() {
            (notice(Tone::Bad, html! {
                p { strong { "Its identity was seen at two places " } (when(agent.cloned_at.as_ref())) ": " (agent.clone) "." }
                p { "Unless you know why, revoke it, and rotate what it was given." }
            }))
        }
        @if status.redaction.starts_with("failed") {
            (notice(Tone::Bad, html! { p { strong { "What this session prints is not redacted as it should be." } " See what its agent says below." } }))
        }
        @if agent.stale {
            (notice(Tone::Warn, html! { p { strong { "Its agent is silent." } " If its VM is gone, end it: nothing can be revoked with confidence while it may live." } }))
        }
        @if agent.outdated && !over && session.fetched_at.is_some() {
            (notice(Tone::Warn, html! { p { strong { "Its bundle is not what it would get now." } " Push to it, or let it be until its next boot." } }))
        }
        @if hidden {
            (notice(Tone::Warn, html! { p { strong { "Its agent reported an error" } ", which may name a private secret: its user sees it." } }))
        } @else if !status.last_error.is_empty() {
            (notice(Tone::Warn, html! { p { strong { "Its agent says: " } (status.last_error) } }))
        }
    }
}

fn given(session: &v1::Session, found: &v1::GetSessionResponse) -> Markup {
    let installed = session.agent.as_ref().map_or("", |status| &status.bundle_version);
    html! {
        section {
            h2 { "Variables" }
            @if session.fetched_at.is_none() {
                p.none {
                    @match session.state() {
                        SessionState::Pending => {
                            "It was not given anything yet: its VM has not booted. " a href={ "/preview?environment=" (session.environment) } { "What would be in it?" }
                        }
                        SessionState::Active => "It has not fetched its bundle yet.",
                        _ => "It was not given anything.",
                    }
                }
            } @else {
                p {
                    "What it was given " (when(session.fetched_at.as_ref())) ": names, never values."
                    @if !installed.is_empty() && installed == session.bundle_version { " Its agent has it in place." }
                    @else if is_live(session) { " Its agent has not said yet that it is in place." }
                }
                @if found.variables.is_empty() && !found.names_hidden {
                    p.none { "Nothing: there was nothing for it. " a href="/secrets/new" { "Add a secret" } }
                } @else {
                    table.list {
                        thead { tr { th scope="col" { "Variable" } th scope="col" { "From" } th scope="col" { "Version" } } }
                        tbody {
                            @for v in &found.variables {
                                tr {
                                    th scope="row" { code { "$" (v.variable) } }
                                    td data-label="From" { (origin(v.origin(), &v.name, &v.secret)) }
                                    td data-label="Version" {
                                        span {
                                            @if v.secret.is_empty() { (v.version) } @else { code title=(v.version) { (short(&v.version)) } }
                                            @if v.outdated { " " (badge(Tone::Warn, "there is a newer one")) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    @if found.names_hidden { p.none { "And private secrets of " (session.user) ", whose names are theirs to know." } }
                }
            }
        }
    }
}

/// Where a variable comes from, as a link to it.
pub fn origin(origin: Origin, name: &str, secret: &str) -> Markup {
    html! {
        span {
            @match origin {
                Origin::Environment => { a href={ "/environments/" (name) } { (name) } " " (badge(Tone::Plain, "Environment")) }
                _ => {
                    @if secret.is_empty() { (name) } @else { a href={ "/secrets/" (secret) } { (name) } }
                    " "
                    @if origin == Origin::Shared { (badge(Tone::Accent, "Shared")) } @else { (badge(Tone::Plain, "Private")) }
                }
            }
        }
    }
}

fn endings(visitor: &Visitor, session: &v1::Session) -> Markup {
    let path = format!("/sessions/{}", session.id);
    html! {
        @if session.state() == SessionState::Active {
            section {
                h2 { "Push" }
                p { "Puts the current secrets into its files. New shells get them; processes that run keep what they have." }
                form method="post" action={ (path) "/push" } {
                    (csrf(visitor))
                    button type="submit" { "Push to this session" }
                }
            }
        }
        section {
            h2 { "End" }
            div.choice-of-two {
                form.card method="post" action={ (path) "/end" } {
                    (csrf(visitor))
                    h3 { "Its VM is gone" }
                    p { "Nothing more is given to it, and its certificate stops working. Then it does not count any more when you ask whether an old key can be revoked." }
                    button type="submit" { "End session" }
                }
                form.card method="post" action={ (path) "/revoke" } {
                    (csrf(visitor))
                    h3 { "Its VM is not trusted any more" }
                    p { "Cut off within a second, for good, and on record as revoked. It can't unlearn what it was given: rotate those secrets." }
                    button.danger type="submit" { "Revoke session" }
                }
            }
        }
    }
}

/// The facts anew, when its agent says something new.
pub async fn events(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let request = v1::GetSessionRequest { id: id.clone() };
    let session = console.sessions.get_session(visitor.ask(request)).await?.into_inner().session.unwrap_or_default();
    let filter = v1::FleetFilter { user: session.user, environment: session.environment, ..Default::default() };
    let request = visitor.ask(v1::WatchFleetRequest { filter: Some(filter) });
    let mut changes = console.fleet.watch_fleet(request).await?.into_inner();
    let (at, by) = (console.clone(), visitor.clone());
    Ok(live::events(console, visitor, |feed| async move {
        while let Some(Ok(change)) = changes.next().await {
            let gone = change.gone.contains(&id);
            let told = change.agents.iter().any(|agent| agent.session.as_ref().is_some_and(|s| s.id == id));
            if !gone && !told {
                continue;
            }
            let Ok(facts) = now(&at, &by, &id).await else { return Err(Gone) };
            feed.show(facts).await?;
            if gone {
                feed.end().await;
                return Ok(());
            }
            sleep(BREATH).await;
        }
        Ok(())
    }))
}

pub async fn end(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let request = v1::EndSessionRequest { id: id.clone() };
    console.sessions.end_session(change.visitor.ask(request)).await?;
    Ok(session::say(Redirect::to(&format!("/sessions/{id}")), &["Ended. Nothing more is given to it.".to_owned()]))
}

pub async fn revoke(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let request = v1::RevokeSessionRequest { id: id.clone() };
    console.sessions.revoke_session(change.visitor.ask(request)).await?;
    let said = ["Revoked. It is cut off.", "It can't unlearn what it was given: rotate the secrets in the list below."];
    Ok(session::say(Redirect::to(&format!("/sessions/{id}")), &said.map(str::to_owned)))
}

pub async fn push(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let request = v1::CreateRolloutRequest { reach: Some(Reach::Session(id)), options: None };
    let made = console.rollouts.create_rollout(change.visitor.ask(request)).await?.into_inner();
    Ok(Redirect::to(&format!("/rollouts/{}", made.rollout.unwrap_or_default().id)).into_response())
}
