//! Rollouts: what was pushed into running sessions, and how far each has come.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use maud::{Markup, html};
use tokio::time::sleep;
use tokio_stream::StreamExt;

use super::{
    Console,
    form::Query,
    live::{self, Gone},
    page::{Failure, Section, page, sentence},
    parts::{Tone, badge, count, empty, heading, more, person, up, url, when},
    session::Visitor,
    sessions::BREATH,
    whereabouts::{session_link, short},
};
use crate::wire::v1::{self, Rollout, RolloutReach, RolloutState, rollout_service_server::RolloutService};

/// Sessions on a page of one rollout, and in a piece of it that is sent again and again.
const SESSIONS: u32 = 100;

pub async fn list(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(query): Query,
) -> Result<Response, Failure> {
    let request = v1::ListRolloutsRequest { page_token: query.text("page").to_owned(), page_size: 0 };
    let found = console.rollouts.list_rollouts(visitor.ask(request)).await?.into_inner();
    let next = (!found.next_page_token.is_empty()).then(|| format!("/rollouts?page={}", url(&found.next_page_token)));
    let lead = if visitor.is_admin() {
        "What was pushed into running sessions, and how far it has come."
    } else {
        "What you pushed into running sessions, and how far it has come."
    };
    let body = html! {
        (heading("Rollouts", lead, ""))
        @if found.rollouts.is_empty() && query.text("page").is_empty() {
            (empty(
                "Nothing was pushed yet",
                html! {
                    p { "A new value reaches sessions at their next boot. To change those that run, push: when a new value is saved, or later from the secret's page." }
                    p { "New shells get it; processes that run keep the old one." }
                },
                html! { a.button href="/secrets" { "To the secrets" } },
            ))
        } @else {
            (table(&found.rollouts))
        }
        (more(next.as_deref()))
    };
    Ok(page(&visitor, Section::Rollouts, "Rollouts", body))
}

fn table(rollouts: &[Rollout]) -> Markup {
    html! {
        table.list {
            thead {
                tr {
                    th scope="col" { "Pushed" }
                    th scope="col" { "State" }
                    th scope="col" { "Sessions" }
                    th scope="col" { "Begun" }
                    th scope="col" { "By" }
                }
            }
            tbody {
                @for rollout in rollouts {
                    tr {
                        th scope="row" { a href={ "/rollouts/" (rollout.id) } { (what(rollout)) } }
                        td data-label="State" { (verdict(rollout)) }
                        td data-label="Sessions" { span { (words(rollout)) } }
                        td data-label="Begun" { (when(rollout.created_at.as_ref())) }
                        td data-label="By" { span { (person(&rollout.created_by)) } }
                    }
                }
            }
        }
    }
}

/// What is pushed, in words.
fn what(rollout: &Rollout) -> String {
    match rollout.reach() {
        RolloutReach::Secret if rollout.name.is_empty() => "A secret".into(),
        RolloutReach::Secret => rollout.name.clone(),
        RolloutReach::Environment => format!("Everything, to {}", rollout.target),
        RolloutReach::Session => format!("Everything, to session {}", short(&rollout.target)),
        RolloutReach::All => "Everything, to every session".into(),
        RolloutReach::Unspecified => "Something".into(),
    }
}

fn number(rollout: &Rollout, states: &[RolloutState]) -> u32 {
    rollout.counts.iter().filter(|c| states.contains(&c.state())).map(|c| c.sessions).sum()
}

fn total(rollout: &Rollout) -> u32 {
    rollout.counts.iter().map(|c| c.sessions).sum()
}

const OPEN: [RolloutState; 2] = [RolloutState::Waiting, RolloutState::Told];
const LEFT_BEHIND: [RolloutState; 2] = [RolloutState::Failed, RolloutState::Unreachable];

fn verdict(rollout: &Rollout) -> Markup {
    match (rollout.ended_at.is_some(), number(rollout, &LEFT_BEHIND)) {
        (false, _) => badge(Tone::Accent, "going on"),
        (true, 0) => badge(Tone::Good, "done"),
        (true, left) => badge(Tone::Warn, html! { (left) " without it" }),
    }
}

/// `12 of 14 installed`
fn words(rollout: &Rollout) -> String {
    match total(rollout) {
        0 => "none had to change".into(),
        total => format!("{} of {total} installed", number(rollout, &[RolloutState::Installed])),
    }
}

fn state(state: RolloutState) -> (Tone, &'static str) {
    match state {
        RolloutState::Unspecified => (Tone::Plain, "not known"),
        RolloutState::Waiting => (Tone::Plain, "waiting"),
        RolloutState::Told => (Tone::Accent, "told"),
        RolloutState::Installed => (Tone::Good, "installed"),
        RolloutState::Failed => (Tone::Bad, "failed"),
        RolloutState::Unreachable => (Tone::Warn, "unreachable"),
        RolloutState::Ended => (Tone::Plain, "ended"),
    }
}

pub async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let request = v1::GetRolloutRequest { id: id.clone() };
    let rollout = console.rollouts.get_rollout(visitor.ask(request)).await?.into_inner().rollout.unwrap_or_default();
    let after = query.text("page");
    let title = what(&rollout);
    let lead = html! { "Pushed " (when(rollout.created_at.as_ref())) " by " (person(&rollout.created_by)) "." };
    let actions = html! {
        @match rollout.reach() {
            RolloutReach::Secret if !rollout.name.is_empty() => a.button href={ "/secrets/" (rollout.target) } { "To the secret" },
            RolloutReach::Session => a.button href={ "/sessions/" (rollout.target) } { "To the session" },
            RolloutReach::Environment => a.button href={ "/environments/" (rollout.target) } { "To the environment" },
            _ => {},
        }
    };
    let live = after.is_empty() && rollout.ended_at.is_none();
    let events = live.then(|| format!("/rollouts/{}/events", rollout.id));
    let body = html! {
        (up("/rollouts", "Rollouts"))
        (heading(&title, lead, actions))
        p.hidden #news role="status" {}
        div #progress data-events=[events] data-news="news" { (so_far(&console, &visitor, &rollout, after).await?) }
        @if live { p.noscript.none { a href={ "/rollouts/" (rollout.id) } { "Look again" } " to see how far it has come." } }
    };
    Ok(page(&visitor, Section::Rollouts, &title, body))
}

/// How far it has come, and which sessions are how far.
async fn so_far(console: &Console, visitor: &Visitor, rollout: &Rollout, after: &str) -> Result<Markup, Failure> {
    let request = v1::ListRolloutTargetsRequest {
        id: rollout.id.clone(),
        page_size: SESSIONS,
        page_token: after.to_owned(),
        ..Default::default()
    };
    let found = console.rollouts.list_rollout_targets(visitor.ask(request)).await?.into_inner();
    let next = (!found.next_page_token.is_empty())
        .then(|| format!("/rollouts/{}?page={}", rollout.id, url(&found.next_page_token)));
    Ok(html! {
        (progress(rollout))
        @if !found.targets.is_empty() { (targets(visitor, &found.targets)) }
        (more(next.as_deref()))
    })
}

/// How far it has come.
pub fn progress(rollout: &Rollout) -> Markup {
    let (total, open, left) = (total(rollout), number(rollout, &OPEN), number(rollout, &LEFT_BEHIND));
    html! {
        div.card {
            @if total == 0 {
                p { strong { "No running session had to change." } " Those that boot from now on get it anyway." }
            } @else {
                p data-news-text="" {
                    strong { (words(rollout)) }
                    @if open > 0 { ", " (open) " to come" }
                    @if left > 0 { ", " (left) " without it" }
                    @if rollout.ended_at.is_some() { ". Ended " (when(rollout.ended_at.as_ref())) "." } @else { "." }
                }
                progress aria-label="Sessions that have answered" max=(total) value=(total - open) {}
                div.counts {
                    @for c in &rollout.counts {
                        @let (tone, word) = state(c.state());
                        (badge(tone, html! { (c.sessions) " " (word) }))
                    }
                }
                @if left > 0 {
                    p.hint {
                        (count(left.into(), "session")) " did not get there: not connected for " (rollout.patience_seconds)
                        " seconds, or not able to install it. Each is told again when it comes back; one whose VM is gone can be ended."
                    }
                }
            }
        }
    }
}

fn targets(visitor: &Visitor, targets: &[v1::RolloutTarget]) -> Markup {
    html! {
        section {
            h2 { "Sessions" }
            table.list {
                thead {
                    tr { th scope="col" { "Session" } th scope="col" { "Environment" } th scope="col" { "State" } th scope="col" { "Since" } }
                }
                tbody {
                    @for target in targets {
                        @let (tone, word) = state(target.state());
                        tr {
                            th scope="row" {
                                @if visitor.is_admin() || target.user == visitor.name.as_str() { (session_link(&target.session, &target.user)) }
                                @else { code { (short(&target.session)) } span.under { (target.user) } } // not theirs to look at
                            }
                            td data-label="Environment" { span { (target.environment) } }
                            td data-label="State" {
                                span {
                                    (badge(tone, word))
                                    @if target.reason_hidden { span.under { "The reason may name a private secret: its user sees it." } }
                                    @else if !target.reason.is_empty() { span.under { (sentence(&target.reason)) } }
                                }
                            }
                            td data-label="Since" { (when(target.changed_at.as_ref())) }
                        }
                    }
                }
            }
        }
    }
}

/// How far it has come, whenever it has come further, until it has ended.
pub async fn events(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let request = visitor.ask(v1::WatchRolloutRequest { id });
    let mut changes = console.rollouts.watch_rollout(request).await?.into_inner();
    let (at, by) = (console.clone(), visitor.clone());
    Ok(live::events(console, visitor, |feed| async move {
        while let Some(change) = changes.next().await {
            let Ok(v1::WatchRolloutResponse { rollout: Some(rollout), .. }) = change else { return Err(Gone) };
            let Ok(piece) = so_far(&at, &by, &rollout, "").await else { return Err(Gone) };
            feed.show(piece).await?;
            if rollout.ended_at.is_some() {
                feed.end().await;
                return Ok(());
            }
            sleep(BREATH / 4).await;
        }
        Ok(())
    }))
}
