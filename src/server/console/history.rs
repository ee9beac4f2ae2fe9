//! An environment's history: who changed what, the difference of any two versions, and going back.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, State},
    response::{Redirect, Response},
};
use maud::{Markup, html};

use super::{
    Console, environment,
    form::{Change, Query},
    page::{Failure, Section, page},
    parts::{Tone, badge, csrf, heading, more, person, up, when},
    session::{self, Visitor},
};
use crate::{
    domain::boot::BootPolicy,
    wire::v1::{self, environment_service_server::EnvironmentService},
};

/// Versions on a page.
const SHOWN: usize = 30;

pub async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let request = v1::ListEnvironmentVersionsRequest { name: name.clone() };
    let versions = console.environments.list_environment_versions(visitor.ask(request)).await?.into_inner().versions;
    let newest = versions.first().map_or(0, |version| version.version);
    let chosen = |field| match query.text(field) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Failure::invalid("A version is a number.")),
    };
    let before = chosen("before")?;
    let compared = match (chosen("from")?, chosen("to")?) {
        (None, None) => None,
        (from, to) => {
            let from = environment::get(&console, &visitor, &name, from.unwrap_or(newest)).await?;
            Some((from, environment::get(&console, &visitor, &name, to.unwrap_or(newest)).await?))
        }
    };
    let title = format!("History of {name}");
    let body = html! {
        (up(&format!("/environments/{name}"), &name))
        (heading(&title, "Every version is kept. Going back makes a new one that equals the old.", ""))
        @if versions.len() > 1 { (chooser(&name, newest, compared.as_ref())) }
        @if let Some((from, to)) = &compared {
            (difference(&visitor, from, to, newest))
        } @else {
            @let older = versions.iter().skip_while(|v| before.is_some_and(|before| v.version >= before)).take(SHOWN + 1);
            @let older: Vec<_> = older.collect();
            (all(&visitor, &name, &older[..older.len().min(SHOWN)], newest))
            (more(older.get(SHOWN).map(|_| format!("/environments/{name}/history?before={}", older[SHOWN - 1].version)).as_deref()))
        }
    };
    Ok(page(&visitor, Section::Environments, &title, body))
}

fn chooser(name: &str, newest: u64, compared: Option<&(v1::Environment, v1::Environment)>) -> Markup {
    let (from, to) = compared.map_or((newest - 1, newest), |(from, to)| (from.version, to.version));
    let select = |field: &str, label: &str, chosen: u64| {
        html! {
            label for=(field) { (label) }
            input.version type="number" id=(field) name=(field) min="1" max=(newest) value=(chosen) required;
        }
    };
    html! {
        form.filters method="get" action={ "/environments/" (name) "/history" } {
            (select("from", "From version", from))
            (select("to", "to", to))
            button type="submit" { "Compare" }
            @if compared.is_some() { a.button.quiet href={ "/environments/" (name) "/history" } { "All changes" } }
        }
    }
}

fn all(visitor: &Visitor, name: &str, versions: &[&v1::EnvironmentVersion], newest: u64) -> Markup {
    html! {
        ol.history reversed {
            @for v in versions {
                li.card {
                    header {
                        h2 { "Version " (v.version) }
                        @if v.version == newest { (badge(Tone::Accent, "newest")) }
                        @if v.restored_from > 0 { (badge(Tone::Plain, html! { "equals version " (v.restored_from) })) }
                        span.none { (person(&v.created_by)) ", " (when(v.created_at.as_ref())) }
                        @if v.version != newest {
                            a.button.small href={ "/environments/" (name) "/history?from=" (newest) "&to=" (v.version) } {
                                @if visitor.is_admin() { "Go back to it\u{2026}" } @else { "Compare with now" }
                            }
                        }
                    }
                    @if v.changes.is_empty() && v.boot.is_none() {
                        p.none { @if v.version == 1 { "Made, without variables." } @else { "The same as before." } }
                    } @else {
                        (changes(v.changes.iter().map(|c| (c.variable.clone(), c.before.clone(), c.after.clone()))
                            .chain(v.boot.iter().flat_map(|boot| boot_changes(boot.before.as_ref(), boot.after.as_ref())))))
                    }
                }
            }
        }
    }
}

/// A variable, or what the boot policy says of something; before and after.
type Line = (String, Option<String>, Option<String>);

fn changes(changes: impl Iterator<Item = Line>) -> Markup {
    html! {
        div.diff {
            @for (variable, before, after) in changes {
                @for (value, added) in [(before, false), (after, true)] {
                    @if let Some(value) = value {
                        @if added {
                            ins { span.hidden { "After: " } span aria-hidden="true" { "+ " } (variable) "=" (shortened(&value)) }
                        } @else {
                            del { span.hidden { "Before: " } span aria-hidden="true" { "\u{2212} " } (variable) "=" (shortened(&value)) }
                        }
                    }
                }
            }
        }
    }
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(300) {
        Some((end, _)) => format!("{}\u{2026} ({} bytes)", &value[..end], value.len()),
        None => value.to_owned(),
    }
}

fn boot_changes(before: Option<&v1::BootPolicy>, after: Option<&v1::BootPolicy>) -> impl Iterator<Item = Line> {
    let words = |policy: Option<&v1::BootPolicy>| {
        let policy = BootPolicy::try_from(policy.cloned().unwrap_or_default()).unwrap_or_default();
        [policy.deadline.map(|seconds| seconds.to_string()), policy.on_failure.map(|then| then.as_str().to_owned())]
    };
    let names = ["boot.deadline", "boot.on_failure"].map(str::to_owned);
    let pairs = words(before).into_iter().zip(words(after));
    names.into_iter().zip(pairs).map(|(name, (before, after))| (name, before, after)).filter(|(_, b, a)| b != a)
}

fn difference(visitor: &Visitor, from: &v1::Environment, to: &v1::Environment, newest: u64) -> Markup {
    let mut lines: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
    from.variables.iter().for_each(|v| lines.entry(&v.variable).or_default().0 = Some(&v.value));
    to.variables.iter().for_each(|v| lines.entry(&v.variable).or_default().1 = Some(&v.value));
    let changed: Vec<Line> = lines
        .into_iter()
        .filter(|(_, (before, after))| before != after)
        .map(|(v, (before, after))| (v.to_owned(), before.map(str::to_owned), after.map(str::to_owned)))
        .chain(boot_changes(from.boot.as_ref(), to.boot.as_ref()))
        .collect();
    let back = to.version != newest && from.version == newest;
    html! {
        section {
            h2 { "From version " (from.version) " to version " (to.version) }
            @if changed.is_empty() {
                p.none { "They are the same." }
            } @else {
                div.card { (changes(changed.into_iter())) }
            }
        }
        @if back && visitor.is_admin() {
            section {
                h2 { "Go back" }
                p {
                    "Makes version " (newest + 1) ", which equals version " (to.version) ": for sessions made from then on. Those that run keep what they have."
                }
                form method="post" action={ "/environments/" (to.name) "/restore" } {
                    (csrf(visitor))
                    input type="hidden" name="version" value=(to.version);
                    div.actions {
                        button.primary type="submit" { "Restore version " (to.version) }
                        a.button.quiet href={ "/environments/" (to.name) } { "Leave it" }
                    }
                }
            }
        }
    }
}

pub async fn restore(
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let version = change.fields.text("version").parse().ok();
    let version = version.ok_or_else(|| Failure::invalid("Say which version; the history has them."))?;
    let request = v1::RestoreEnvironmentRequest { name: name.clone(), version };
    let restored = console.environments.restore_environment(change.visitor.ask(request)).await?.into_inner();
    let now = restored.environment.unwrap_or_default().version;
    let news = format!("{name} is at version {now}, which equals version {version}; sessions made from now on get it.");
    Ok(session::say(Redirect::to(&format!("/environments/{name}")), &[news]))
}
