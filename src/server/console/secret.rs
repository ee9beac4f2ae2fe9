//! One secret: what it is, where it is, a new value, its end.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use http::StatusCode;
use maud::{Markup, html};

use super::{
    Console,
    form::Change,
    page::{Failure, Section, page, sentence},
    parts::{Tone, badge, count, csrf, heading, more, notice, person, up, when},
    secrets::{may_change, precedence, switch, value, visibility_badge},
    session::{self, Visitor},
    whereabouts::{deliveries, leaked, session_link, versions},
};
use crate::wire::v1::{
    self, create_rollout_request::Reach, rollout_service_server::RolloutService, secret_service_server::SecretService,
};

/// Deliveries on a secret's own page.
const NEWEST: usize = 20;

pub async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    shown(&console, &visitor, id, None).await
}

pub fn by_id(id: impl Into<String>) -> Option<v1::SecretRef> {
    Some(v1::SecretRef { id: id.into(), ..Default::default() })
}

/// The page; after a new value that was refused, with the reason.
async fn shown(
    console: &Console,
    visitor: &Visitor,
    id: String,
    problem: Option<&Failure>,
) -> Result<Response, Failure> {
    let request = v1::GetSecretRequest { r#ref: by_id(&id) };
    let found = console.secrets.get_secret(visitor.ask(request)).await?.into_inner();
    let request = v1::ListLeaksRequest { r#ref: by_id(&id), ..Default::default() };
    let leaks = console.secrets.list_leaks(visitor.ask(request)).await?.into_inner().leaks;
    let secret = found.secret.unwrap_or_default();
    let receipts = found.receipts.unwrap_or_default();
    let mine = may_change(visitor, &secret);
    let body = html! {
        (up("/secrets", "Secrets"))
        (heading(&secret.name, html! { "Exported as " code { "$" (secret.variable) } (precedence(&secret)) }, ""))
        @if !secret.description.is_empty() { p.description { (secret.description) } }
        @if leaks.iter().any(|leak| leak.current) {
            (notice(Tone::Warn, html! {
                p { strong { "This value was printed in a session." } " It was masked there, but may stand unmasked elsewhere." }
                p { "Get a new one from whoever issued it, and save it below." }
            }))
        }
        (facts(visitor, &secret, &receipts))
        @if mine { (new_value(visitor, &secret, problem)) }
        (running(visitor, &secret, &receipts, found.versions.len(), mine))
        @if !leaks.is_empty() { (leaked(&leaks)) }
        section {
            h2 { "Deliveries" }
            @if found.deliveries.is_empty() {
                p.none { "No session has been given it yet. The next one in scope gets it at boot." }
            } @else {
                (deliveries(&secret.version, &found.deliveries[..found.deliveries.len().min(NEWEST)]))
                @if found.deliveries.len() > NEWEST {
                    (more(Some(&format!("/secrets/{}/deliveries", secret.id))))
                }
            }
        }
        (versions(&found.versions))
        @if mine {
            section {
                h2 { "Delete" }
                p { "Later boots come without it. Running sessions keep what they have." }
                a.button.danger href={ "/secrets/" (secret.id) "/delete" } { "Delete " (secret.name) }
            }
        }
    };
    let mut response = page(visitor, Section::Secrets, &secret.name, body);
    if let Some(problem) = problem {
        *response.status_mut() = problem.status;
    }
    Ok(response)
}

fn facts(visitor: &Visitor, secret: &v1::Secret, receipts: &v1::Receipts) -> Markup {
    let strength = match secret.strength() {
        v1::RedactionStrength::Strong => "yes",
        v1::RedactionStrength::Weak => "weakly",
        v1::RedactionStrength::NotRedactable => "no: too short, or too common",
        v1::RedactionStrength::Unspecified => "not known",
    };
    html! {
        dl.facts {
            div { dt { "Visibility" } dd { (visibility_badge(secret.visibility())) } }
            div { dt { "Automatically install in VMs" } dd { (switch(visitor, secret, "")) } }
            div {
                dt { "Delivered as" }
                dd { @if secret.delivery() == v1::Delivery::File { "a file" } @else { "an environment variable" } }
            }
            div { dt { "Current version" } dd { "saved " (when(secret.rotated_at.as_ref())) } }
            div { dt { "In live sessions" } dd { (count(receipts.on_current.into(), "session")) } }
            div { dt { "Masked in logs" } dd { (strength) } }
            div { dt { "Created" } dd { (when(secret.created_at.as_ref())) " by " (person(&secret.created_by)) } }
        }
    }
}

fn new_value(visitor: &Visitor, secret: &v1::Secret, problem: Option<&Failure>) -> Markup {
    html! {
        section #value-section {
            h2 { "New value" }
            p { "Rotating is saving a new value. Sessions get it at their next boot, running ones when it is pushed." }
            @if let Some(problem) = problem {
                (notice(Tone::Bad, html! {
                    @if problem.status == StatusCode::CONFLICT {
                        p { "Somebody saved another value since you opened this page. What you see now is theirs; paste yours again if it is still wanted." }
                    } @else {
                        p { (problem.words()) }
                        p { "Nothing was saved, and the value was not kept: paste it again." }
                    }
                }))
            }
            form.stack method="post" action={ "/secrets/" (secret.id) "/value" } autocomplete="off" {
                (csrf(visitor))
                input type="hidden" name="version" value=(secret.version);
                div.field {
                    label for="value" { "Value" }
                    textarea #value name="value" required rows="3" autocomplete="off" autocapitalize="none" spellcheck="false" wrap="off"
                        data-1p-ignore data-lpignore="true" {}
                    p.hint { "Pasted once and never shown again. Line ends are stored as LF." }
                }
                div.field.choices {
                    label {
                        input type="checkbox" name="push" value="on";
                        span { strong { "Push to running sessions" } " Their files are replaced; processes that run keep the old value." }
                    }
                }
                div.actions { button.primary type="submit" { "Save new value" } }
            }
        }
    }
}

fn running(visitor: &Visitor, secret: &v1::Secret, receipts: &v1::Receipts, versions: usize, mine: bool) -> Markup {
    html! {
        section {
            h2 { "Running sessions" }
            div.card {
                @if versions < 2 {
                    p { "This is its first value: there is no older one to revoke." }
                } @else if receipts.safe_to_revoke {
                    p { (badge(Tone::Good, "Safe to revoke")) " No live session may hold an older value: the old key can be revoked where it was issued." }
                } @else {
                    p { (badge(Tone::Warn, "Not safe to revoke yet")) " "
                        (count(receipts.may_hold_older.into(), "live session")) " may hold an older value. What was started with it keeps it until the session ends." }
                }
                p.none { (count(receipts.on_current.into(), "live session")) " with the current version in place." }
                @if mine {
                    form method="post" action={ "/secrets/" (secret.id) "/push" } {
                        (csrf(visitor))
                        button type="submit" { "Push the current value now" }
                    }
                }
            }
        }
    }
}

pub async fn save(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let Change { visitor, mut fields } = change;
    let request = v1::RotateSecretRequest {
        r#ref: by_id(&id),
        value: Some(value(&mut fields)),
        expected_version: fields.text("version").to_owned(),
        push: fields.is_on("push").then(v1::PushOptions::default),
    };
    if request.expected_version.is_empty() {
        return Err(Failure::invalid("the form does not say which version it replaces; open the page again"));
    }
    let saved = match console.secrets.rotate_secret(visitor.ask(request)).await.map_err(Failure::from) {
        Ok(saved) => saved.into_inner(),
        Err(failure) if failure.is_mendable() => return shown(&console, &visitor, id, Some(&failure)).await,
        Err(failure) => return Err(failure),
    };
    let name = saved.secret.unwrap_or_default().name;
    let mut said = vec![match saved.rollout.is_empty() {
        true => format!("Saved. Sessions get the new value of {name} at their next boot."),
        false => format!("Saved, and on its way to running sessions: the new value of {name}."),
    }];
    said.extend(saved.warnings.iter().map(|warning| sentence(warning)));
    let to = if saved.rollout.is_empty() { format!("/secrets/{id}") } else { format!("/rollouts/{}", saved.rollout) };
    Ok(session::say(Redirect::to(&to), &said))
}

pub async fn auto_install(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let Change { visitor, fields } = change;
    let request = v1::UpdateSecretRequest {
        r#ref: Some(v1::SecretRef { id, ..Default::default() }),
        auto_install: Some(fields.is_on("auto_install")),
        ..Default::default()
    };
    let updated = console.secrets.update_secret(visitor.ask(request)).await?.into_inner().secret.unwrap_or_default();
    let news = if updated.auto_install {
        format!("{} is installed in sessions from their next boot.", updated.name)
    } else {
        format!("{} is not installed any more, from sessions' next boot on. It stays in storage.", updated.name)
    };
    let back = if fields.text("back") == "list" { "/secrets".to_owned() } else { format!("/secrets/{}", updated.id) };
    Ok(session::say(Redirect::to(&back), &[news]))
}

pub async fn push(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let reach = by_id(id).map(Reach::Secret);
    let request = v1::CreateRolloutRequest { reach, options: None };
    let made = console.rollouts.create_rollout(change.visitor.ask(request)).await?.into_inner();
    Ok(Redirect::to(&format!("/rollouts/{}", made.rollout.unwrap_or_default().id)).into_response())
}

/// What deleting means, before it is done.
pub async fn ask_delete(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let request = v1::GetSecretRequest { r#ref: by_id(&id) };
    let secret = console.secrets.get_secret(visitor.ask(request)).await?.into_inner().secret.unwrap_or_default();
    let request = v1::ListDeliveriesRequest { r#ref: by_id(&id), live: true, ..Default::default() };
    let holders = console.secrets.list_deliveries(visitor.ask(request)).await?.into_inner().deliveries;
    if !may_change(&visitor, &secret) {
        return Err(Failure::forbidden("A shared secret is changed by whoever created it, or by an admin."));
    }
    let scope = match secret.visibility() {
        v1::Visibility::Shared => "every session of the organization",
        _ => "your sessions",
    };
    let title = format!("Delete {}", secret.name);
    let body = html! {
        (up(&format!("/secrets/{}", secret.id), &secret.name))
        (heading(&title, "It can't be undone: the stored value is destroyed.", ""))
        form.stack method="post" action={ "/secrets/" (secret.id) "/delete" } {
            (csrf(&visitor))
            input type="hidden" name="version" value=(secret.version);
            div.card {
                p { strong { "Later boots" } " of " (scope) " come without " code { "$" (secret.variable) } "." }
                @if holders.is_empty() {
                    p { strong { "Running sessions: " } "none has it." }
                } @else {
                    p { strong { (count(holders.len() as u64, "running session")) } " got it, and "  (if holders.len() == 1 { "keeps" } else { "keep" }) " it until the end:" }
                    ul.plain { @for holder in &holders { li { (session_link(&holder.session, &holder.user)) } } }
                }
                p { "The key itself goes on working where it was issued until you revoke it there." }
            }
            @if !holders.is_empty() {
                div.field.choices {
                    label {
                        input type="checkbox" name="push" value="on";
                        span { strong { "Take it out of running sessions' files, too" } " New shells come without it; processes that run keep it." }
                    }
                }
            }
            div.actions {
                button.danger type="submit" { (title) }
                a.button.quiet href={ "/secrets/" (secret.id) } { "Keep it" }
            }
        }
    };
    Ok(page(&visitor, Section::Secrets, &title, body))
}

pub async fn delete(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let Change { visitor, fields } = change;
    let request = v1::DeleteSecretRequest {
        r#ref: by_id(&id),
        expected_version: fields.text("version").to_owned(),
        push: fields.is_on("push").then(v1::PushOptions::default),
    };
    let deleted = console.secrets.delete_secret(visitor.ask(request)).await?.into_inner();
    let mut said = vec!["Deleted. Later boots come without it.".to_owned()];
    if deleted.live_sessions > 0 {
        said.push(format!("{} may keep it until they end.", count(deleted.live_sessions.into(), "running session")));
    }
    let to = if deleted.rollout.is_empty() { "/secrets".into() } else { format!("/rollouts/{}", deleted.rollout) };
    Ok(session::say(Redirect::to(&to), &said))
}
