//! Secrets: the list, and a new one.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{Redirect, Response},
};
use maud::{Markup, html};

use super::{
    Console,
    form::{Change, Fields, Query},
    page::{Failure, Section, page, piece, sentence, told},
    parts::{Tone, badge, csrf, empty, heading, more, notice, up, url, when},
    session::{self, Visitor},
};
use crate::wire::v1::{self, secret_service_server::SecretService};

/// So many stay below 100 KiB, whatever they are called.
const PAGE: u32 = 40;
/// Of a description, in the list.
const GIST: usize = 160;

pub async fn list(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(query): Query,
) -> Result<Response, Failure> {
    let (wanted, visibility) = (query.text("q"), query.text("visibility"));
    let request = v1::ListSecretsRequest {
        query: wanted.to_owned(),
        visibility: visibility_of(visibility).into(),
        page_token: query.text("page").to_owned(),
        page_size: PAGE,
        with_use: true,
    };
    let found = console.secrets.list_secrets(visitor.ask(request)).await?.into_inner();
    let next = (!found.next_page_token.is_empty()).then(|| {
        format!("/secrets?q={}&visibility={}&page={}", url(wanted), url(visibility), url(&found.next_page_token))
    });
    let filtered = !wanted.is_empty() || !visibility.is_empty();
    let body = html! {
        (heading(
            "Secrets",
            "Exported into your sessions at boot. Values are written once and never shown again.",
            html! { a.button.primary href="/secrets/new" { "+ Add Secret" } },
        ))
        @if found.secrets.is_empty() && !filtered {
            (first())
        } @else {
            form.filters method="get" action="/secrets" role="search" data-live="found" {
                label.grow {
                    span.hidden { "Search by name, variable or description" }
                    input type="search" name="q" value=(wanted) placeholder="Search" autocomplete="off";
                }
                fieldset.segments {
                    legend.hidden { "Visibility" }
                    @for (value, label) in [("", "All"), ("private", "Private"), ("shared", "Shared")] {
                        label { input type="radio" name="visibility" value=(value) checked[value == visibility]; span { (label) } }
                    }
                }
                button.noscript type="submit" { "Search" }
            }
            div #found aria-live="polite" {
                @if found.secrets.is_empty() {
                    p.none { "Nothing found. " a href="/secrets" { "Show all" } }
                } @else {
                    (table(&visitor, &found.secrets))
                }
                (more(next.as_deref()))
            }
        }
    };
    Ok(page(&visitor, Section::Secrets, "Secrets", body))
}

fn table(visitor: &Visitor, secrets: &[v1::Secret]) -> Markup {
    html! {
        table.list {
            thead {
                tr {
                    th scope="col" { "Name" }
                    th scope="col" { "Exported as" }
                    th scope="col" { "Visibility" }
                    th scope="col" { "Auto-install" }
                    th scope="col" { "Current version" }
                    th.number scope="col" { "Live" span.hidden { " sessions" } }
                }
            }
            tbody {
                @for secret in secrets {
                    tr {
                        th scope="row" {
                            a href={ "/secrets/" (secret.id) } { (secret.name) }
                            @if !secret.description.is_empty() { span.under { (gist(&secret.description)) } }
                        }
                        td data-label="Exported as" {
                            code { "$" (secret.variable) }
                            (precedence(secret))
                        }
                        td data-label="Visibility" { (visibility_badge(secret.visibility())) }
                        td data-label="Auto-install" { (switch(visitor, secret, "list")) }
                        td data-label="Current version" {
                            (when(secret.rotated_at.as_ref()))
                            span.under {
                                @if secret.last_delivered_at.is_some() { "delivered " (when(secret.last_delivered_at.as_ref())) } @else { "not delivered yet" }
                            }
                        }
                        td.number data-label="Live sessions" { span { (secret.live_sessions) } }
                    }
                }
            }
        }
    }
}

fn gist(description: &str) -> String {
    match description.char_indices().nth(GIST) {
        Some((end, _)) => format!("{}\u{2026}", description[..end].trim_end()),
        None => description.to_owned(),
    }
}

pub fn visibility_badge(visibility: v1::Visibility) -> Markup {
    match visibility {
        v1::Visibility::Shared => badge(Tone::Accent, "Shared"),
        _ => badge(Tone::Plain, "Private"),
    }
}

pub fn precedence(secret: &v1::Secret) -> Markup {
    html! {
        @match secret.precedence() {
            v1::Precedence::OverridesShared => span.under { "overrides the shared one" },
            v1::Precedence::OverriddenByPrivate => span.under { "overridden by your private one" },
            v1::Precedence::Unspecified => {},
        }
    }
}

/// The auto-install switch; words for those who may not turn it.
pub fn switch(visitor: &Visitor, secret: &v1::Secret, back: &str) -> Markup {
    let state = if secret.auto_install { "On" } else { "Off" };
    html! {
        @if may_change(visitor, secret) {
            form.switch method="post" action={ "/secrets/" (secret.id) "/auto-install" } {
                (csrf(visitor))
                @if !back.is_empty() { input type="hidden" name="back" value=(back); }
                @if !secret.auto_install { input type="hidden" name="auto_install" value="on"; }
                button type="submit" role="switch" aria-checked=(secret.auto_install)
                    aria-label={ "Automatically install " (secret.name) " in VMs" } { span { (state) } }
            }
        } @else { (state) }
    }
}

/// What the policy will say; it says it itself when something is tried.
pub fn may_change(visitor: &Visitor, secret: &v1::Secret) -> bool {
    secret.visibility() == v1::Visibility::Private
        || visitor.is_admin()
        || secret.created_by == format!("user/{}", visitor.name)
}

/// A new organization's first page: the first secret, and the first session.
fn first() -> Markup {
    empty(
        "No secrets yet",
        html! {
            p { "API keys, tokens, certificates, database URLs: whatever would be a bad idea to type into a chat. "
                "Save one here, and it is in your next session's shell." }
            ol.steps {
                li { strong { "Add a secret." } " " code { "openai-api-key" } " becomes " code { "$OPENAI_API_KEY" } "." }
                li { strong { "Start a session." } " Whoever boots your VMs runs " code { "keyfob session create --user NAME" } "; what that prints goes into the VM." }
                li { strong { "Use it." } " Ask there whether " code { "$OPENAI_API_KEY" } " is set." }
            }
        },
        html! { a.button.primary href="/secrets/new" { "+ Add Secret" } a.button href="/preview" { "What would my next session get?" } },
    )
}

fn visibility_of(given: &str) -> v1::Visibility {
    match given {
        "private" => v1::Visibility::Private,
        "shared" => v1::Visibility::Shared,
        _ => v1::Visibility::Unspecified,
    }
}

pub async fn new(visitor: Visitor) -> Response {
    page(&visitor, Section::Secrets, "Add a secret", new_form(&visitor, None, None))
}

/// The form for a new secret; with what was typed before, but for the value, where something was wrong with it.
fn new_form(visitor: &Visitor, given: Option<&Fields>, problem: Option<&Failure>) -> Markup {
    let text = |name| given.map_or("", |fields| fields.text(name));
    let chosen = |name, value, default: bool| given.map_or(default, |fields| fields.text(name) == value);
    html! {
        (up("/secrets", "Secrets"))
        (heading("Add a secret", "It is available to sessions from their next boot.", ""))
        @if let Some(problem) = problem {
            (notice(Tone::Bad, html! { p { (problem.words()) } p { "Nothing was saved, and the value was not kept: paste it again." } }))
        }
        form.stack method="post" action="/secrets/new" autocomplete="off" data-check="/secrets/check" data-check-into="checked" {
            (csrf(visitor))
            div.field {
                label for="name" { "Name" }
                input #name name="name" value=(text("name")) required maxlength="128" placeholder="openai-api-key" autocomplete="off"
                    autocapitalize="none" spellcheck="false" aria-describedby="name-hint checked" autofocus;
                p.hint #name-hint { "Letters, digits, " code { "." } " " code { "_" } " " code { "-" } ". The variable is its upper-snake-case: "
                    code { "openai-api-key" } " is exported as " code { "$OPENAI_API_KEY" } "." }
                div #checked aria-live="polite" {}
            }
            div.field {
                label for="value" { "Value" }
                textarea #value name="value" required rows="4" autocomplete="off" autocapitalize="none" spellcheck="false" wrap="off"
                    data-1p-ignore data-lpignore="true" aria-describedby="value-hint" {}
                p.hint #value-hint { "Pasted once and never shown again; up to 64 KiB, as many lines as you like. Line ends are stored as LF. "
                    "Bytes that are no text go through " code { "keyfob secret create --value-file" } "." }
            }
            fieldset.field.choices {
                legend { "Visibility" }
                label {
                    input type="radio" name="visibility" value="private" checked[chosen("visibility", "private", true)];
                    span { strong { "Private" } " Only your sessions can read it." }
                }
                label {
                    input type="radio" name="visibility" value="shared" checked[chosen("visibility", "shared", false)];
                    span { strong { "Shared" } " Every session of " (visitor.org) " gets it, and every member sees that it exists." }
                }
            }
            div.field.choices {
                label {
                    input type="checkbox" name="auto_install" value="on" checked[given.is_none_or(|fields| fields.is_on("auto_install"))];
                    span { strong { "Automatically install in VMs" } " Off keeps it in storage, to be asked for by name." }
                }
            }
            fieldset.field.choices {
                legend { "Delivery" }
                label {
                    input type="radio" name="delivery" value="env" checked[chosen("delivery", "env", true)];
                    span { strong { "Environment variable" } " The variable holds the value." }
                }
                label {
                    input type="radio" name="delivery" value="file" checked[chosen("delivery", "file", false)];
                    span { strong { "File" } " The variable holds the path of a file in memory: for certificates and keys." }
                }
            }
            div.field {
                label for="description" { "Description " span.optional { "optional" } }
                input #description name="description" value=(text("description")) maxlength="1000" autocomplete="off";
            }
            div.actions {
                button.primary type="submit" { "Create Secret" }
                a.button.quiet href="/secrets" { "Cancel" }
            }
        }
    }
}

pub async fn create(State(console): State<Arc<Console>>, change: Change) -> Result<Response, Failure> {
    let Change { visitor, mut fields } = change;
    let request = v1::CreateSecretRequest {
        name: fields.text("name").to_owned(),
        visibility: visibility_of(fields.text("visibility")).into(),
        value: Some(value(&mut fields)),
        no_auto_install: !fields.is_on("auto_install"),
        delivery: match fields.text("delivery") {
            "file" => v1::Delivery::File,
            _ => v1::Delivery::Env,
        }
        .into(),
        description: fields.text("description").to_owned(),
        variable: String::new(),
    };
    let created = match console.secrets.create_secret(visitor.ask(request)).await {
        Ok(created) => created.into_inner(),
        Err(status) => {
            let failure = Failure::from(status);
            if !failure.is_mendable() {
                return Err(failure);
            }
            let mut response =
                page(&visitor, Section::Secrets, "Add a secret", new_form(&visitor, Some(&fields), Some(&failure)));
            *response.status_mut() = failure.status;
            return Ok(response);
        }
    };
    let secret = created.secret.unwrap_or_default();
    let mut said = vec![format!("Saved. {} is ${} in sessions from their next boot.", secret.name, secret.variable)];
    said.extend(created.warnings.iter().map(|warning| sentence(warning)));
    Ok(session::say(Redirect::to(&format!("/secrets/{}", secret.id)), &said))
}

/// While a name is typed: what it would be. A piece of a page.
pub async fn check(State(console): State<Arc<Console>>, change: Change) -> Result<Response, Failure> {
    let Change { visitor, fields } = change;
    if fields.text("name").is_empty() {
        return Ok(piece(html! {}));
    }
    let request = v1::CheckNameRequest {
        name: fields.text("name").to_owned(),
        visibility: visibility_of(fields.text("visibility")).into(),
        variable: String::new(),
    };
    let checked = console.secrets.check_name(visitor.ask(request)).await?.into_inner();
    Ok(piece(html! {
        @if checked.problem.is_empty() {
            p.hint { "Exported as " code { "$" (checked.variable) } "." }
            @if !checked.overrides.is_empty() { p.hint { "It overrides " (checked.overrides.join(", ")) "." } }
            @if checked.overridden_by_private { p.hint { "In your own sessions, your private secret of that variable goes on overriding it." } }
        } @else {
            p.hint.problem { (told(&sentence(&checked.problem))) }
        }
    }))
}

/// The value of a form, on its way to the call that takes it over and wipes it.
pub fn value(fields: &mut Fields) -> v1::SecretValue {
    let bytes = std::mem::take(&mut *fields.take_value());
    v1::SecretValue { kind: Some(v1::secret_value::Kind::Plain(bytes)) }
}
