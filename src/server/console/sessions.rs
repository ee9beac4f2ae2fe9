//! Sessions: the list, with the phases of their agents as they change.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use tokio::time::sleep;
use tokio_stream::StreamExt;

use super::{
    Console,
    form::{Fields, Query},
    live::{self, Gone},
    page::{Failure, Section, page},
    parts::{Tone, badge, empty, heading, more, url, when},
    session::Visitor,
    whereabouts::session_link,
};
use crate::wire::v1::{
    self, Phase, SessionState, environment_service_server::EnvironmentService, fleet_service_server::FleetService,
    session_service_server::SessionService,
};

/// Between two pictures of what changes all the time.
pub const BREATH: Duration = Duration::from_secs(1);

/// What the filters say.
#[derive(Clone)]
struct Wanted {
    user: String,
    environment: String,
    all: bool,
    page: String,
}

impl Wanted {
    fn parse(query: &Fields) -> Self {
        let text = |name| query.text(name).to_owned();
        Self { user: text("user"), environment: text("environment"), all: query.is_on("all"), page: text("page") }
    }

    fn is_filtered(&self) -> bool {
        !self.user.is_empty() || !self.environment.is_empty()
    }

    fn query(&self) -> String {
        let all = if self.all { "&all=on" } else { "" };
        format!("user={}&environment={}{all}", url(&self.user), url(&self.environment))
    }
}

pub async fn list(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(query): Query,
) -> Result<Response, Failure> {
    let wanted = Wanted::parse(&query);
    let request = visitor.ask(v1::ListEnvironmentsRequest {});
    let environments = console.environments.list_environments(request).await?.into_inner().environments;
    let found = found(&console, &visitor, &wanted).await?;
    let lead = if visitor.is_admin() {
        "One for each VM that was booted. What a session was given when it booted is what it has until something is pushed to it."
    } else {
        "Yours, one for each VM that was booted for you. What a session was given when it booted is what it has until something is pushed to it."
    };
    // Further pages show what was; the first one follows.
    let events = wanted.page.is_empty().then(|| format!("/sessions/events?{}", wanted.query()));
    let body = html! {
        (heading("Sessions", lead, ""))
        form.filters method="get" action="/sessions" role="search" data-live="found" {
            @if visitor.is_admin() {
                label.grow {
                    span.hidden { "User" }
                    input type="search" name="user" value=(wanted.user) placeholder="All users" autocapitalize="none" autocomplete="off" spellcheck="false";
                }
            }
            label.hidden for="environment" { "Environment" }
            select #environment name="environment" {
                option value="" { "All environments" }
                @for e in &environments { option value=(e.name) selected[e.name == wanted.environment] { (e.name) } }
            }
            label.box { input type="checkbox" name="all" value="on" checked[wanted.all]; " Ended ones, too" }
            button.noscript type="submit" { "Show" }
        }
        div #found data-events=[events] { (found) }
    };
    Ok(page(&visitor, Section::Sessions, "Sessions", body))
}

/// The table, as the filters want it.
async fn found(console: &Console, visitor: &Visitor, wanted: &Wanted) -> Result<Markup, Failure> {
    let request = v1::ListSessionsRequest {
        user: wanted.user.clone(),
        environment: wanted.environment.clone(),
        all: wanted.all,
        page_token: wanted.page.clone(),
        page_size: 0,
    };
    let found = console.sessions.list_sessions(visitor.ask(request)).await?.into_inner();
    // The same page of the fleet, whose pages are those of live sessions.
    let request = v1::ListFleetRequest {
        filter: Some(v1::FleetFilter {
            user: wanted.user.clone(),
            environment: wanted.environment.clone(),
            ..Default::default()
        }),
        page_size: if wanted.all { 1_000 } else { 0 },
        page_token: wanted.page.clone(),
    };
    let fleet = console.fleet.list_fleet(visitor.ask(request)).await?.into_inner();
    let agents: HashMap<&str, &v1::FleetAgent> =
        fleet.agents.iter().filter_map(|agent| Some((agent.session.as_ref()?.id.as_str(), agent))).collect();
    let next = (!found.next_page_token.is_empty())
        .then(|| format!("/sessions?{}&page={}", wanted.query(), url(&found.next_page_token)));
    Ok(html! {
        @if !found.sessions.is_empty() {
            (table(&found.sessions, &agents))
        } @else if wanted.is_filtered() || !wanted.page.is_empty() {
            p.none { "Nothing found. " a href="/sessions" { "Show all that live" } }
        } @else {
            (none(visitor, wanted.all))
        }
        (more(next.as_deref()))
    })
}

fn none(visitor: &Visitor, all: bool) -> Markup {
    let title = if all { "No sessions yet" } else { "No live sessions" };
    empty(
        title,
        html! {
            p {
                "Whoever boots VMs, an orchestrator or an admin, makes a session for each: "
                code { "keyfob session create --user " (visitor.name) }
                ". What that prints goes into the VM, whose agent then fetches what the session gets."
            }
        },
        html! {
            a.button href="/preview" { "What would my next session get?" }
            @if !all { a.button.quiet href="/sessions?all=on" { "Show those that have ended" } }
        },
    )
}

fn table(sessions: &[v1::Session], agents: &HashMap<&str, &v1::FleetAgent>) -> Markup {
    html! {
        table.list {
            thead {
                tr {
                    th scope="col" { "Session" }
                    th scope="col" { "State" }
                    th scope="col" { "Environment" }
                    th scope="col" { "Made" }
                    th scope="col" { "Last heard of" }
                }
            }
            tbody {
                @for session in sessions {
                    tr {
                        th scope="row" { (session_link(&session.id, &session.user)) }
                        td data-label="State" { span.badges { (state(session)) (trouble(agents.get(&*session.id).copied())) } }
                        td data-label="Environment" {
                            span { a href={ "/environments/" (session.environment) } { (session.environment) } " " span.none { "version " (session.environment_version) } }
                        }
                        td data-label="Made" { (when(session.created_at.as_ref())) }
                        td data-label="Last heard of" { (when(session.reported_at.as_ref())) }
                    }
                }
            }
        }
    }
}

/// Where a session stands, and its agent while it is live.
pub fn state(session: &v1::Session) -> Markup {
    match session.state() {
        SessionState::Pending => badge(Tone::Plain, "waits for its VM"),
        SessionState::Ended => badge(Tone::Plain, "ended"),
        SessionState::Revoked => badge(Tone::Bad, "revoked"),
        SessionState::Expired => badge(Tone::Plain, "never booted"),
        SessionState::Unspecified => badge(Tone::Plain, "not known"),
        SessionState::Active => match session.agent.as_ref().map_or(Phase::Enrolling, v1::AgentStatus::phase) {
            Phase::Unspecified | Phase::Enrolling => badge(Tone::Accent, "enrolling"),
            Phase::Fetching => badge(Tone::Accent, "fetching"),
            Phase::Ready => badge(Tone::Good, "ready"),
            Phase::Degraded => badge(Tone::Warn, "degraded"),
            Phase::Refused => badge(Tone::Bad, "refused"),
            Phase::Failed => badge(Tone::Bad, "failed"),
        },
    }
}

/// What is wrong with an agent, in a word each.
fn trouble(agent: Option<&v1::FleetAgent>) -> Markup {
    let redaction = agent.and_then(|a| a.session.as_ref()?.agent.as_ref()).map_or("", |status| &status.redaction);
    html! {
        @if let Some(agent) = agent {
            @if agent.stale { " " (badge(Tone::Warn, "silent")) }
            @if agent.outdated { " " (badge(Tone::Warn, "outdated")) }
            @if agent.cloned_at.is_some() { " " (badge(Tone::Bad, "seen twice")) }
            @if redaction.starts_with("failed") { " " (badge(Tone::Bad, "not redacted")) }
        }
    }
}

/// The table anew, when an agent says something new.
pub async fn events(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(query): Query,
) -> Result<Response, Failure> {
    let wanted = Wanted { page: String::new(), ..Wanted::parse(&query) };
    let filter =
        v1::FleetFilter { user: wanted.user.clone(), environment: wanted.environment.clone(), ..Default::default() };
    let request = visitor.ask(v1::WatchFleetRequest { filter: Some(filter) });
    let mut changes = console.fleet.watch_fleet(request).await?.into_inner();
    let (at, by) = (console.clone(), visitor.clone());
    Ok(live::events(console, visitor, |feed| async move {
        while let Some(Ok(change)) = changes.next().await {
            if !change.complete {
                continue;
            }
            let Ok(table) = found(&at, &by, &wanted).await else { return Err(Gone) };
            feed.show(table).await?;
            sleep(BREATH).await;
        }
        Ok(())
    }))
}
