//! Environments: the list, and a new one.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{Redirect, Response},
};
use maud::{Markup, html};

use super::{
    Console,
    form::{Change, Fields},
    page::{Failure, Section, page},
    parts::{Tone, csrf, heading, notice, person, when},
    session::{self, Visitor},
};
use crate::wire::v1::{self, environment_service_server::EnvironmentService};

pub async fn list(State(console): State<Arc<Console>>, visitor: Visitor) -> Result<Response, Failure> {
    listed(&console, &visitor, None).await
}

/// The page; after a new environment that was refused, with what was typed and the reason.
async fn listed(
    console: &Console,
    visitor: &Visitor,
    refused: Option<(&Fields, &Failure)>,
) -> Result<Response, Failure> {
    let request = visitor.ask(v1::ListEnvironmentsRequest {});
    let environments = console.environments.list_environments(request).await?.into_inner().environments;
    let lead = "VM templates with variables that are no secrets: defaults and paths that everyone may see. Whatever nobody should \
                see is a secret.";
    let body = html! {
        (heading("Environments", lead, ""))
        (table(&environments))
        @if visitor.is_admin() {
            (new_form(visitor, refused))
        } @else {
            p.none { "Everybody's sessions use them, so only admins change them." }
        }
    };
    let mut response = page(visitor, Section::Environments, "Environments", body);
    if let Some((_, failure)) = refused {
        *response.status_mut() = failure.status;
    }
    Ok(response)
}

fn table(environments: &[v1::Environment]) -> Markup {
    html! {
        table.list {
            thead {
                tr {
                    th scope="col" { "Name" }
                    th.number scope="col" { "Variables" }
                    th.number scope="col" { "Version" }
                    th scope="col" { "Changed" }
                    th scope="col" { "By" }
                }
            }
            tbody {
                @for environment in environments {
                    tr {
                        th scope="row" {
                            a href={ "/environments/" (environment.name) } { (environment.name) }
                            @if !environment.description.is_empty() { span.under { (environment.description) } }
                        }
                        td.number data-label="Variables" { span { (environment.variables.len()) } }
                        td.number data-label="Version" { span { (environment.version) } }
                        td data-label="Changed" { (when(environment.updated_at.as_ref())) }
                        td data-label="By" { span { (person(&environment.updated_by)) } }
                    }
                }
            }
        }
    }
}

fn new_form(visitor: &Visitor, refused: Option<(&Fields, &Failure)>) -> Markup {
    let text = |name| refused.map_or("", |(fields, _)| fields.text(name));
    html! {
        section {
            h2 { "New environment" }
            p { "For another kind of VM: its own variables, its own history. Sessions say which one they are of when they are made." }
            @if let Some((_, failure)) = refused { (notice(Tone::Bad, html! { p { (failure.words()) } })) }
            form.stack method="post" action="/environments" autocomplete="off" {
                (csrf(visitor))
                div.field {
                    label for="name" { "Name" }
                    input #name name="name" value=(text("name")) required maxlength="64" placeholder="staging" pattern="[a-z0-9\\-]+"
                        autocapitalize="none" spellcheck="false" aria-describedby="name-hint";
                    p.hint #name-hint { "Small letters, digits and " code { "-" } "." }
                }
                div.field {
                    label for="description" { "Description " span.optional { "optional" } }
                    input #description name="description" value=(text("description")) maxlength="1000";
                }
                div.actions { button.primary type="submit" { "Create environment" } }
            }
        }
    }
}

pub async fn create(State(console): State<Arc<Console>>, change: Change) -> Result<Response, Failure> {
    let Change { visitor, fields } = change;
    let request = v1::CreateEnvironmentRequest {
        name: fields.text("name").to_owned(),
        description: fields.text("description").to_owned(),
    };
    let made = match console.environments.create_environment(visitor.ask(request)).await.map_err(Failure::from) {
        Ok(made) => made.into_inner().environment.unwrap_or_default(),
        Err(failure) if failure.is_mendable() => return listed(&console, &visitor, Some((&fields, &failure))).await,
        Err(failure) => return Err(failure),
    };
    let news = format!("{} is there, without variables yet. Sessions can be made in it from now on.", made.name);
    Ok(session::say(Redirect::to(&format!("/environments/{}", made.name)), &[news]))
}
