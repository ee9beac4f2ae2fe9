//! One environment: its variables and boot policy, and a form that makes the next version of both.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, State},
    response::{Redirect, Response},
};
use http::StatusCode;
use maud::{Markup, html};

use super::{
    Console,
    form::{Change, Fields},
    page::{Failure, Section, page, sentence},
    parts::{Tone, count, csrf, empty, heading, notice, person, up, when},
    session::{self, Visitor},
};
use crate::{
    domain::boot::{self, BootPolicy},
    wire::v1::{self, OnFailure, environment_service_server::EnvironmentService},
};

/// Fields for further variables.
const NEW: usize = 3;
/// A longer value is shown in part, and changed by the CLI: all of them are in one form.
const LONG: usize = 4_000;

pub async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let environment = get(&console, &visitor, &name, 0).await?;
    Ok(shown(&visitor, &environment, None))
}

pub async fn get(console: &Console, visitor: &Visitor, name: &str, version: u64) -> Result<v1::Environment, Failure> {
    let request = v1::GetEnvironmentRequest { name: name.to_owned(), version };
    let found = console.environments.get_environment(visitor.ask(request)).await?.into_inner();
    Ok(found.environment.unwrap_or_default())
}

/// What was typed and refused, against the version that it was typed over.
struct Refused<'a> {
    fields: &'a Fields,
    base: &'a v1::Environment,
    failure: &'a Failure,
}

impl Refused<'_> {
    /// What a field should hold now: what was typed, or, where nothing was, what it is now.
    fn value<'a>(&'a self, variable: &str, now: &'a str) -> &'a str {
        let typed = self.fields.text_of(&format!("set.{variable}"));
        let before = self.base.variables.iter().find(|v| v.variable == variable).map(|v| v.value.as_str());
        typed.filter(|typed| before.is_none_or(|before| lines(typed) != lines(before))).unwrap_or(now)
    }
}

fn shown(visitor: &Visitor, environment: &v1::Environment, refused: Option<&Refused<'_>>) -> Response {
    let name = &environment.name;
    let lead = match environment.description.as_str() {
        "" => "Every member can read these values, now and in the history.",
        description => description,
    };
    let history = html! { a.button href={ "/environments/" (name) "/history" } { "History" } };
    let body = html! {
        (up("/environments", "Environments"))
        (heading(name, lead, history))
        dl.facts {
            div { dt { "Version" } dd { (environment.version) } }
            div { dt { "Changed" } dd { (when(environment.updated_at.as_ref())) " by " (person(&environment.updated_by)) } }
            div { dt { "When secrets do not come" } dd { (policy_in_words(environment.boot.as_ref())) } }
        }
        section {
            h2 { "Variables" }
            p { "A session keeps the version that was the newest when it was made. What you change here reaches the sessions made from then on." }
            @if visitor.is_admin() {
                (form(visitor, environment, refused))
            } @else if environment.variables.is_empty() {
                (empty("No variables", html! { p { "An admin can set defaults here that all its sessions get. Your own values are secrets." } },
                    html! { a.button href="/secrets/new" { "+ Add Secret" } }))
            } @else {
                table.list {
                    thead { tr { th scope="col" { "Variable" } th scope="col" { "Value" } } }
                    tbody {
                        @for v in &environment.variables {
                            tr {
                                th scope="row" { code { (v.variable) } }
                                td data-label="Value" { (clipped(&v.value)) }
                            }
                        }
                    }
                }
            }
        }
    };
    let mut response = page(visitor, Section::Environments, name, body);
    if let Some(refused) = refused {
        *response.status_mut() = refused.failure.status;
    }
    response
}

fn policy_in_words(boot: Option<&v1::BootPolicy>) -> Markup {
    let said = boot.cloned().unwrap_or_default();
    let policy = BootPolicy::try_from(said).unwrap_or_default();
    let opens = policy.on_failure == Some(boot::OnFailure::Continue);
    html! {
        @if opens { "Opens without them" } @else { "Stays closed" } ", after " (count(policy.deadline().into(), "second"))
        @if policy == BootPolicy::default() { span.under { "nothing else was said" } }
    }
}

/// A value as a page can hold it.
pub fn clipped(value: &str) -> Markup {
    let end = value.char_indices().nth(300).map(|(at, _)| at);
    html! {
        @match end {
            Some(end) => { pre.value { (value[..end]) "\u{2026}" } span.under { (value.len()) " bytes" } }
            None if value.is_empty() => span.none { "empty" },
            None => pre.value { (value) },
        }
    }
}

fn form(visitor: &Visitor, environment: &v1::Environment, refused: Option<&Refused<'_>>) -> Markup {
    let name = &environment.name;
    let typed = |field: &str| refused.map_or("", |r| r.fields.text(field)).to_owned();
    html! {
        @if let Some(Refused { failure, base, .. }) = refused {
            (notice(Tone::Bad, html! {
                p { (failure.words()) }
                @if failure.status == StatusCode::CONFLICT {
                    p {
                        "What you changed is still in the form, what they changed is beside it: "
                        a href={ "/environments/" (name) "/history?from=" (base.version) "&to=" (environment.version) } { "see what they changed" }
                        ", then save again."
                    }
                } @else { p { "Nothing was saved. What you typed is still there." } }
            }))
        }
        form.variables method="post" action={ "/environments/" (name) "/variables" } autocomplete="off" {
            (csrf(visitor))
            input type="hidden" name="version" value=(environment.version);
            table.list {
                thead { tr { th scope="col" { "Variable" } th scope="col" { "Value" } th scope="col" { "Remove" } } }
                tbody {
                    @for v in &environment.variables { (row(v, refused)) }
                    @for at in 1..=NEW {
                        tr {
                            th scope="row" {
                                input name={ "new." (at) } value=(typed(&format!("new.{at}"))) maxlength="256" placeholder=[(at == 1).then_some("NODE_ENV")]
                                    aria-label={ "New variable " (at) } autocapitalize="none" spellcheck="false";
                            }
                            td data-label="Value" {
                                input name={ "value." (at) } value=(typed(&format!("value.{at}"))) placeholder=[(at == 1).then_some("development")]
                                    aria-label={ "Value of new variable " (at) } autocapitalize="none" spellcheck="false";
                            }
                            td data-label="" {}
                        }
                    }
                }
            }
            p.hint { "Save, and there are " (NEW) " empty lines again. API keys, tokens, passwords: " a href="/secrets/new" { "add a secret" } " instead." }
            (boot_fields(environment, refused))
            div.actions { button.primary type="submit" { "Save as version " (environment.version + 1) } }
        }
    }
}

fn row(v: &v1::EnvironmentVariable, refused: Option<&Refused<'_>>) -> Markup {
    let field = format!("set.{}", v.variable);
    let value = refused.map_or(v.value.as_str(), |refused| refused.value(&v.variable, &v.value));
    let removed = refused.is_some_and(|refused| refused.fields.is_on(&format!("remove.{}", v.variable)));
    html! {
        tr {
            th scope="row" { code { (v.variable) } }
            td data-label="Value" {
                @if v.value.len() > LONG {
                    (clipped(&v.value))
                    span.under { "Too long for this form: " code { "keyfob env set" } " changes it." }
                } @else if value.contains('\n') {
                    textarea name=(field) rows="3" aria-label={ "Value of " (v.variable) } spellcheck="false" { "\n" (value) }
                } @else {
                    input name=(field) value=(value) aria-label={ "Value of " (v.variable) } autocapitalize="none" spellcheck="false";
                }
            }
            td data-label="Remove" {
                input type="checkbox" name={ "remove." (v.variable) } value="on" checked[removed] aria-label={ "Remove " (v.variable) };
            }
        }
    }
}

fn boot_fields(environment: &v1::Environment, refused: Option<&Refused<'_>>) -> Markup {
    let (seconds, then) = match refused {
        Some(refused) => (refused.fields.text("deadline").to_owned(), refused.fields.text("on_failure").to_owned()),
        None => spell(environment.boot.as_ref()),
    };
    html! {
        fieldset.card {
            legend.hidden { "When secrets do not come" }
            h3 { "When secrets do not come" }
            p.hint { "What a VM does whose agent can't reach this server, or is refused. The VM's own configuration comes first." }
            div.inline {
                div.field {
                    label for="deadline" { "Gives up after, in seconds" }
                    input #deadline type="number" name="deadline" min="1" max=(BootPolicy::MAX_DEADLINE) value=(seconds)
                        placeholder=(BootPolicy::DEFAULT_DEADLINE);
                }
                div.field {
                    label for="on_failure" { "Then" }
                    select #on_failure name="on_failure" {
                        @for (word, label) in [("", "Not said: stays closed"), ("block", "Stays closed"), ("continue", "Opens without secrets")] {
                            option value=(word) selected[word == then] { (label) }
                        }
                    }
                }
            }
        }
    }
}

/// A policy as the form has it.
fn spell(boot: Option<&v1::BootPolicy>) -> (String, String) {
    let Some(boot) = boot else { return Default::default() };
    let seconds = if boot.deadline_seconds == 0 { String::new() } else { boot.deadline_seconds.to_string() };
    let then = match boot.on_failure() {
        OnFailure::Unspecified => "",
        OnFailure::Block => "block",
        OnFailure::Continue => "continue",
    };
    (seconds, then.to_owned())
}

/// Browsers send every line end of a text as CR LF.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

pub async fn save(
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let Change { visitor, fields } = change;
    let version = fields.text("version").parse().ok().filter(|version| *version > 0);
    let version = version
        .ok_or_else(|| Failure::invalid("The form does not say which version it changes; open the page again."))?;
    let base = get(&console, &visitor, &name, version).await?;
    let updated = match asked(&fields, &base) {
        Ok(request) => console.environments.update_environment(visitor.ask(request)).await.map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    let updated = match updated {
        Ok(updated) => updated.into_inner(),
        Err(failure) if failure.is_mendable() => {
            let newest = get(&console, &visitor, &name, 0).await?;
            let refused = Refused { fields: &fields, base: &base, failure: &failure };
            return Ok(shown(&visitor, &newest, Some(&refused)));
        }
        Err(failure) => return Err(failure),
    };
    let now = updated.environment.unwrap_or_default().version;
    let mut said = vec![match now == version {
        true => format!("Nothing was different: {name} stays at version {version}."),
        false => format!("Saved. {name} is at version {now}; sessions made from now on get it."),
    }];
    said.extend(updated.warnings.iter().map(|warning| sentence(warning)));
    Ok(session::say(Redirect::to(&format!("/environments/{name}")), &said))
}

/// What a form changes in the version that it was filled in for.
fn asked(fields: &Fields, base: &v1::Environment) -> Result<v1::UpdateEnvironmentRequest, Failure> {
    let mut set = BTreeMap::new();
    let mut unset = Vec::new();
    for v in &base.variables {
        if fields.is_on(&format!("remove.{}", v.variable)) {
            unset.push(v.variable.clone());
        } else if let Some(typed) = fields.text_of(&format!("set.{}", v.variable)).map(lines)
            && typed != lines(&v.value)
        {
            set.insert(v.variable.clone(), typed);
        }
    }
    for at in 1..=NEW {
        let (variable, value) = (fields.text(&format!("new.{at}")).trim(), fields.text(&format!("value.{at}")));
        match variable {
            "" if value.is_empty() => continue,
            "" => return Err(Failure::invalid("One of the new values has no variable: say its name beside it.")),
            _ if base.variables.iter().any(|v| v.variable == variable) => {
                return Err(Failure::invalid(format!("{variable} is there already: change it in its own line.")));
            }
            _ if set.insert(variable.to_owned(), lines(value)).is_some() => {
                return Err(Failure::invalid(format!("{variable} is there twice.")));
            }
            _ => {}
        }
    }
    let boot = (fields.text("deadline").to_owned(), fields.text("on_failure").to_owned());
    Ok(v1::UpdateEnvironmentRequest {
        name: base.name.clone(),
        set: set.into_iter().map(|(variable, value)| v1::EnvironmentVariable { variable, value }).collect(),
        unset,
        expected_version: base.version,
        boot: if boot == spell(base.boot.as_ref()) { None } else { Some(policy(&boot.0, &boot.1)?) },
    })
}

fn policy(seconds: &str, then: &str) -> Result<v1::BootPolicy, Failure> {
    let deadline_seconds = match seconds.trim() {
        "" => 0,
        seconds => seconds.parse().map_err(|_| Failure::invalid("The seconds are no number."))?,
    };
    let on_failure = match then {
        "block" => OnFailure::Block,
        "continue" => OnFailure::Continue,
        _ => OnFailure::Unspecified,
    };
    Ok(v1::BootPolicy { deadline_seconds, on_failure: on_failure.into() })
}
