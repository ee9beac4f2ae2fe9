//! Where a secret is and was: deliveries, versions, and leaks.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use maud::{Markup, html};

use super::{
    Console,
    form::Query,
    page::{Failure, Section, page},
    parts::{Tone, badge, heading, more, person, up, url, when},
    secret::by_id,
    session::Visitor,
};
use crate::wire::v1::{self, secret_service_server::SecretService};

pub fn leaked(leaks: &[v1::SecretLeak]) -> Markup {
    html! {
        section {
            h2 { "Leaks" }
            p { "Where it was found, and masked, in what sessions printed or logged." }
            table.list {
                thead {
                    tr {
                        th scope="col" { "Session" } th scope="col" { "By" } th scope="col" { "Form" } th scope="col" { "Version" }
                        th.number scope="col" { "Times" } th scope="col" { "Last" }
                    }
                }
                tbody {
                    @for leak in leaks {
                        tr {
                            th scope="row" { (session_link(&leak.session, &leak.user)) }
                            td data-label="By" { code { (leak.unit) } }
                            td data-label="Form" { span { (leak.form) } }
                            td data-label="Version" { (version(&leak.version, leak.current)) }
                            td.number data-label="Times" { span { (leak.count) } }
                            td data-label="Last" { (when(leak.last_at.as_ref())) }
                        }
                    }
                }
            }
        }
    }
}

pub fn deliveries(current: &str, deliveries: &[v1::Delivered]) -> Markup {
    html! {
        table.list {
            thead {
                tr {
                    th scope="col" { "Session" } th scope="col" { "Environment" } th scope="col" { "Version" }
                    th scope="col" { "Delivered" } th scope="col" { "In place" } th scope="col" { "State" }
                }
            }
            tbody {
                @for delivered in deliveries {
                    tr {
                        th scope="row" { (session_link(&delivered.session, &delivered.user)) }
                        td data-label="Environment" { span { (delivered.environment) } }
                        td data-label="Version" { (version(&delivered.version, delivered.version == current)) }
                        td data-label="Delivered" { (when(delivered.delivered_at.as_ref())) }
                        td data-label="In place" {
                            @if delivered.in_files { span { "yes" } }
                            @else if delivered.installed_at.is_some() { span { "was" } }
                            @else { span.none { "not acknowledged" } }
                        }
                        td data-label="State" { @if delivered.live { (badge(Tone::Good, "live")) } @else { (badge(Tone::Plain, "ended")) } }
                    }
                }
            }
        }
    }
}

/// All of them, a page at a time.
pub async fn delivered(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let request = v1::GetSecretRequest { r#ref: by_id(&id) };
    let secret = console.secrets.get_secret(visitor.ask(request)).await?.into_inner().secret.unwrap_or_default();
    let page_token = query.text("page").to_owned();
    let request = v1::ListDeliveriesRequest { r#ref: by_id(&id), page_token, ..Default::default() };
    let found = console.secrets.list_deliveries(visitor.ask(request)).await?.into_inner();
    let next = format!("/secrets/{}/deliveries?page={}", secret.id, url(&found.next_page_token));
    let title = format!("Deliveries of {}", secret.name);
    let body = html! {
        (up(&format!("/secrets/{}", secret.id), &secret.name))
        (heading(&title, "Which session was given which version, newest first.", ""))
        (deliveries(&found.version, &found.deliveries))
        (more(Some(next.as_str()).filter(|_| !found.next_page_token.is_empty())))
    };
    Ok(page(&visitor, Section::Secrets, &title, body))
}

pub fn session_link(session: &str, user: &str) -> Markup {
    html! {
        a href={ "/sessions/" (session) } { code { (short(session)) } }
        span.under { @if user.is_empty() { "automation" } @else { (user) } }
    }
}

/// The beginning of an opaque name: enough to tell two apart.
pub fn short(name: &str) -> String {
    name.chars().take(8).collect()
}

fn version(version: &str, current: bool) -> Markup {
    html! {
        span { code title=(version) { (short(version)) } @if current { " " (badge(Tone::Accent, "current")) } }
    }
}

pub fn versions(versions: &[v1::SecretVersion]) -> Markup {
    html! {
        section {
            h2 { "Versions" }
            table.list {
                thead {
                    tr { th scope="col" { "Version" } th scope="col" { "Saved" } th scope="col" { "By" } th scope="col" { "Replaced" } }
                }
                tbody {
                    @for saved in versions {
                        tr {
                            th scope="row" { (version(&saved.version, saved.replaced_at.is_none())) }
                            td data-label="Saved" { (when(saved.created_at.as_ref())) }
                            td data-label="By" { span { (person(&saved.created_by)) } }
                            td data-label="Replaced" {
                                @if saved.replaced_at.is_some() { (when(saved.replaced_at.as_ref())) } @else { span.none { "no" } }
                            }
                        }
                    }
                }
            }
        }
    }
}
