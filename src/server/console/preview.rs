//! What would my next session get? And why.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use maud::{Markup, html};

use super::{
    Console,
    form::Query,
    one_session::origin,
    page::{Failure, Section, page, sentence},
    parts::{Tone, badge, count, empty, heading, notice},
    session::Visitor,
    whereabouts::short,
};
use crate::wire::v1::{
    self, Delivery, PreviewItem, environment_service_server::EnvironmentService, secret_service_server::SecretService,
    user_service_server::UserService,
};

pub async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(query): Query,
) -> Result<Response, Failure> {
    let environment = match query.text("environment") {
        "" => "default",
        name => name,
    };
    let user = match query.text("user") {
        "" => visitor.name.as_str(),
        name => name,
    };
    let request = visitor.ask(v1::ListEnvironmentsRequest {});
    let environments = console.environments.list_environments(request).await?.into_inner().environments;
    let people: Vec<String> = if visitor.is_admin() {
        let users = console.users.list_users(visitor.ask(v1::ListUsersRequest {})).await?.into_inner().users;
        let is_person = |user: &v1::User| matches!(user.role(), v1::Role::Member | v1::Role::Admin);
        users.into_iter().filter(is_person).map(|user| user.name).collect()
    } else {
        Vec::new()
    };
    let request = v1::PreviewBundleRequest { user: user.to_owned(), environment: environment.to_owned() };
    let found = console.secrets.preview_bundle(visitor.ask(request)).await?.into_inner();
    let mine = user == visitor.name.as_str();
    let title = if mine {
        "What would my next session get?".to_owned()
    } else {
        format!("What would {user}'s next session get?")
    };
    let body = html! {
        (heading(&title, "As things stand now: names, and what goes before what. Never values.", ""))
        @if environments.len() > 1 || people.len() > 1 {
            form.filters method="get" action="/preview" data-live="found" {
                @if people.len() > 1 {
                    label for="user" { "For" }
                    select #user name="user" {
                        @for name in &people { option value=(name) selected[name == user] { (name) } }
                    }
                }
                label for="environment" { "In" }
                select #environment name="environment" {
                    @for e in &environments { option value=(e.name) selected[e.name == environment] { (e.name) } }
                }
                button.noscript type="submit" { "Show" }
            }
        }
        div #found { (preview(&found, user, environment)) }
    };
    Ok(page(&visitor, Section::Preview, "My preview", body))
}

fn preview(found: &v1::PreviewBundleResponse, user: &str, environment: &str) -> Markup {
    let (gets, left): (Vec<_>, Vec<_>) = found.items.iter().partition(|item| item.installed);
    html! {
        @if found.private_hidden {
            (notice(Tone::Plain, html! { p { "Private secrets of " (user) " are theirs to know. They may add to this, and override it." } }))
        }
        @if found.items.is_empty() {
            (empty(
                "Nothing yet",
                html! { p { "There is no secret in scope, and the environment " code { (environment) } " has no variables." } },
                html! {
                    a.button.primary href="/secrets/new" { "+ Add Secret" }
                    a.button href={ "/environments/" (environment) } { "To the environment" }
                },
            ))
        } @else {
            section {
                h2 { "It gets " (count(gets.len() as u64, "variable")) }
                p { "In " a href={ "/environments/" (environment) } { (environment) } ", version " (found.environment_version) ". A private secret goes before a shared one, and that before the environment." }
                @if gets.is_empty() { p.none { "All of it is kept out: see below." } } @else { (table(&gets)) }
            }
            @if !left.is_empty() {
                section {
                    h2 { "It does not get " (count(left.len() as u64, "variable")) }
                    p { "What is kept out hides what it overrides, too." }
                    (table(&left))
                }
            }
        }
    }
}

fn table(items: &[&PreviewItem]) -> Markup {
    html! {
        table.list {
            thead {
                tr {
                    th scope="col" { "Variable" }
                    th scope="col" { "From" }
                    th scope="col" { "Overrides" }
                    th scope="col" { "Version" }
                }
            }
            tbody {
                @for item in items {
                    tr {
                        th scope="row" {
                            code { "$" (item.variable) }
                            @if item.delivery() == Delivery::File { " " (badge(Tone::Plain, "file")) }
                            @if !item.installed { span.under { (why_not(&item.left_out_reason)) } }
                        }
                        td data-label="From" { (origin(item.origin(), &item.name, &item.secret)) }
                        td data-label="Overrides" {
                            @if item.overrides.is_empty() { span.none { "nothing" } }
                            @else { span { (item.overrides.join(", ")) } }
                        }
                        td data-label="Version" { span { code title=(item.version) { (short(&item.version)) } } }
                    }
                }
            }
        }
    }
}

fn why_not(reason: &str) -> String {
    match reason {
        "auto-install is off" => "Automatic installation is off.".into(),
        reason => sentence(reason),
    }
}
