//! The record: filter, verify, export. For admins; who else asks is refused by the calls.

use std::{collections::BTreeMap, io, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use maud::{Markup, html};
use prost_types::Timestamp;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    Console,
    form::{Change, Fields, Query},
    page::{Failure, Section, page, sentence},
    parts::{Tone, badge, csrf, heading, more, notice, up, url},
    session::Visitor,
    whereabouts::short,
};
use crate::{
    domain::name::Id,
    wire::v1::{self, audit_service_server::AuditService},
};

/// Entries on a page.
const SHOWN: u32 = 50;
/// Entries that an export asks for at a time.
const CHUNK: u32 = 1_000;
/// What actions begin with.
const KINDS: [&str; 9] =
    ["secret.", "bundle.", "session.", "environment.", "rollout.", "user.", "console.", "identity.", "variable."];

fn asked(query: &Fields) -> v1::ListAuditEntriesRequest {
    let text = |name| query.text(name).trim().to_owned();
    v1::ListAuditEntriesRequest {
        actor: text("actor"),
        action: text("action"),
        target: text("target"),
        descending: true,
        page_size: SHOWN,
        page_token: text("page"),
    }
}

fn filters(request: &v1::ListAuditEntriesRequest) -> String {
    format!("actor={}&action={}&target={}", url(&request.actor), url(&request.action), url(&request.target))
}

pub async fn list(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(query): Query,
) -> Result<Response, Failure> {
    let request = asked(&query);
    let found = console.audit.list_audit_entries(visitor.ask(request.clone())).await?.into_inner();
    let next = (!found.next_page_token.is_empty())
        .then(|| format!("/audit?{}&page={}", filters(&request), url(&found.next_page_token)));
    let actions = html! {
        a.button href={ "/audit/export?" (filters(&request)) } { "Export" }
        form method="post" action="/audit/verify" {
            (csrf(&visitor))
            button type="submit" { "Verify" }
        }
    };
    let field = |name: &str, label: &str, value: &str, hint: &str| {
        html! {
            label.grow {
                span.hidden { (label) }
                input type="search" name=(name) value=(value) placeholder=(hint) list=[(name == "action").then_some("kinds")]
                    autocapitalize="none" autocomplete="off" spellcheck="false";
            }
        }
    };
    let body = html! {
        (heading("Audit", "Every change, delivery and refusal, newest first. Each entry is bound to the one before it.", actions))
        form.filters method="get" action="/audit" role="search" data-live="found" {
            (field("actor", "Who, exactly", &request.actor, "Who: user/alice"))
            (field("action", "What, or how it begins", &request.action, "What: secret."))
            (field("target", "To what, exactly", &request.target, "To what: environment/default"))
            datalist #kinds { @for kind in KINDS { option value=(kind) {} } }
            button.noscript type="submit" { "Show" }
        }
        div #found {
            @if found.entries.is_empty() {
                p.none { "Nothing like that is on record. " a href="/audit" { "Show all" } }
            } @else {
                (table(&found.entries))
            }
            (more(next.as_deref()))
        }
    };
    Ok(page(&visitor, Section::Audit, "Audit", body))
}

fn table(entries: &[v1::AuditEntry]) -> Markup {
    html! {
        table.list.audit {
            thead {
                tr {
                    th scope="col" { "#" }
                    th scope="col" { "When, UTC" }
                    th scope="col" { "Who" }
                    th scope="col" { "What" }
                    th scope="col" { "To what" }
                    th scope="col" { "Detail" }
                }
            }
            tbody {
                @for entry in entries {
                    tr {
                        th scope="row" { (entry.sequence) }
                        td data-label="When" { (moment(entry.at.as_ref())) }
                        td data-label="Who" { (narrow("actor", &entry.actor)) }
                        td data-label="What" {
                            span {
                                code { (entry.action) }
                                @if entry.outcome != "done" { " " (badge(Tone::Bad, &entry.outcome)) }
                            }
                        }
                        td data-label="To what" { (narrow("target", &entry.target)) }
                        td data-label="Detail" { (detail(entry)) }
                    }
                }
            }
        }
    }
}

/// A link to what else there is of it.
fn narrow(field: &str, text: &str) -> Markup {
    html! { a href={ "/audit?" (field) "=" (url(text)) } title=(text) { code { (brief(text)) } } }
}

/// As people can read it: of an id, its beginning. The export has all of it.
fn brief(text: &str) -> String {
    let (kind, name) = text.split_once('/').map_or(("", text), |(kind, name)| (kind, name));
    match Id::parse(name) {
        Ok(_) if kind.is_empty() => short(name),
        Ok(_) => format!("{kind}/{}", short(name)),
        Err(_) => text.to_owned(),
    }
}

fn detail(entry: &v1::AuditEntry) -> Markup {
    let sorted: BTreeMap<_, _> = entry.detail.iter().filter(|(_, value)| !value.is_empty()).collect();
    html! { span { @for (key, value) in sorted { span.under title=(value) { (key) ": " (brief(value)) } } } }
}

fn exact(at: Option<&Timestamp>) -> Option<OffsetDateTime> {
    let at = at?;
    OffsetDateTime::from_unix_timestamp(at.seconds).ok()?.replace_nanosecond(u32::try_from(at.nanos).ok()?).ok()
}

/// To the second.
fn moment(at: Option<&Timestamp>) -> Markup {
    let text = exact(at).and_then(|at| at.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()).unwrap_or_default();
    html! { time datetime=(text) { (text.replace('T', " ").trim_end_matches('Z')) } }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub async fn verify(State(console): State<Arc<Console>>, change: Change) -> Result<Response, Failure> {
    let Change { visitor, .. } = change;
    let found = console.audit.verify_audit(visitor.ask(v1::VerifyAuditRequest {})).await?.into_inner();
    let body = html! {
        (up("/audit", "Audit"))
        (heading("Verification", "The whole chain, computed anew from the first entry to the signed head.", ""))
        @if found.intact {
            (notice(Tone::Good, html! { p { strong { "The chain is whole." } " " (found.entries) " entries, none changed, missing or cut off." } }))
            section {
                h2 { "Its head" }
                p { "Note it somewhere else. A database that was put back to an earlier state has a whole chain, too, but not one with this head in it." }
                pre.command tabindex="0" { (hex(&found.head)) }
            }
        } @else {
            (notice(Tone::Bad, html! {
                p { strong { "The chain is broken." } " " (sentence(&found.problem)) }
                p { "The " (found.entries) " entries before it are as they were written." }
            }))
            section {
                h2 { "What now" }
                ol.steps {
                    li { "Keep a copy of the database as it is." }
                    li { "Compare it with a backup, from entry " (found.first_broken) " on." }
                    li { "Until you know who changed it, take everything that it holds for known, and rotate." }
                }
            }
        }
    };
    Ok(page(&visitor, Section::Audit, "Verification", body))
}

/// What the filters let through, oldest first: one JSON object a line, as `keyfob audit list -o json` has them.
pub async fn export(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(query): Query,
) -> Result<Response, Failure> {
    let mut request = asked(&query);
    (request.descending, request.page_size) = (false, CHUNK);
    request.page_token.clear();
    // What is refused is refused before the file begins.
    let mut found = console.audit.list_audit_entries(visitor.ask(request.clone())).await?.into_inner();
    let name = format!("attachment; filename=\"keyfob-audit-{}.jsonl\"", visitor.org);
    let (send, receive) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let lines: String = found.entries.iter().map(line).collect();
            if send.send(Ok(Bytes::from(lines))).await.is_err() || found.next_page_token.is_empty() {
                return;
            }
            request.page_token = found.next_page_token;
            found = match console.audit.list_audit_entries(visitor.ask(request.clone())).await {
                Ok(next) => next.into_inner(),
                Err(status) => {
                    let _ = send.send(Err(io::Error::other(status))).await; // breaks it off: half a file must not look whole
                    return;
                }
            };
        }
    });
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(ReceiverStream::new(receive))).into_response())
}

fn line(entry: &v1::AuditEntry) -> String {
    let json = json!({
        "sequence": entry.sequence,
        "at": exact(entry.at.as_ref()).and_then(|at| at.format(&Rfc3339).ok()),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "outcome": entry.outcome,
        "detail": entry.detail.iter().collect::<BTreeMap<_, _>>(),
        "hash": hex(&entry.hash),
    });
    format!("{json}\n")
}
