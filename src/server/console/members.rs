//! Members, for admins: who is there, invitations, roles, removal.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    response::{Redirect, Response},
};
use maud::{Markup, html};

use super::{
    Console,
    form::{Change, Fields, Query},
    page::{Failure, Section, page},
    parts::{Tone, badge, count, csrf, heading, notice, person, up, url, when},
    session::{self, Visitor},
};
use crate::{
    server::edge::Ending,
    wire::v1::{self, Role, User, user_service_server::UserService},
};

/// Each role, and what it means.
const ROLES: [(Role, &str, &str, &str); 4] = [
    (Role::Member, "member", "Member", "Their own private secrets, the shared ones, their own sessions."),
    (
        Role::Admin,
        "admin",
        "Admin",
        "Also everybody's sessions and shared secrets, environments, members and the audit log. Never anybody's private secrets.",
    ),
    (
        Role::Orchestrator,
        "orchestrator",
        "Orchestrator",
        "A machine that boots VMs: makes and ends sessions, nothing else.",
    ),
    (Role::Operator, "operator", "Operator", "Watches: sessions, rollouts and how agents are, nothing else."),
];

fn role_of(given: &str) -> Role {
    ROLES.iter().find(|(_, word, ..)| *word == given).map_or(Role::Unspecified, |(role, ..)| *role)
}

fn word(role: Role) -> &'static str {
    ROLES.iter().find(|(other, ..)| *other == role).map_or("unknown", |(_, word, ..)| word)
}

/// Members may ask who is there, but have nothing to do here.
fn for_admins(visitor: &Visitor) -> Result<(), Failure> {
    if visitor.is_admin() { Ok(()) } else { Err(Failure::forbidden("Only admins manage members. Ask one of yours.")) }
}

pub async fn list(State(console): State<Arc<Console>>, visitor: Visitor) -> Result<Response, Failure> {
    for_admins(&visitor)?;
    listed(&console, &visitor, None).await
}

async fn users(console: &Console, visitor: &Visitor) -> Result<Vec<User>, Failure> {
    Ok(console.users.list_users(visitor.ask(v1::ListUsersRequest {})).await?.into_inner().users)
}

/// The page; after an invitation that was refused, with what was typed and the reason.
async fn listed(
    console: &Console,
    visitor: &Visitor,
    refused: Option<(&Fields, &Failure)>,
) -> Result<Response, Failure> {
    let users = users(console, visitor).await?;
    let body = html! {
        (heading("Members", html! { "The people and machines of " (visitor.org) "." }, ""))
        (table(visitor, &users))
        (invitation(visitor, refused))
    };
    let mut response = page(visitor, Section::Members, "Members", body);
    if let Some((_, failure)) = refused {
        *response.status_mut() = failure.status;
    }
    Ok(response)
}

fn table(visitor: &Visitor, users: &[User]) -> Markup {
    html! {
        table.list {
            thead {
                tr {
                    th scope="col" { "Name" }
                    th scope="col" { "Role" }
                    th scope="col" { "Invited" }
                    th scope="col" { "By" }
                    th scope="col" { "Enrolled" }
                }
            }
            tbody {
                @for user in users {
                    tr {
                        th scope="row" {
                            a href={ "/members/member?name=" (url(&user.name)) } { (user.name) }
                            @if user.name == visitor.name.as_str() { span.under { "you" } }
                        }
                        td data-label="Role" { (role_badge(user.role())) }
                        td data-label="Invited" { (when(user.created_at.as_ref())) }
                        td data-label="By" { span { (person(&user.created_by)) } }
                        td data-label="Enrolled" { @if user.enrolled { span { "yes" } } @else { (badge(Tone::Warn, "not yet")) } }
                    }
                }
            }
        }
    }
}

fn role_badge(role: Role) -> Markup {
    badge(if role == Role::Admin { Tone::Accent } else { Tone::Plain }, word(role))
}

fn invitation(visitor: &Visitor, refused: Option<(&Fields, &Failure)>) -> Markup {
    let text = |name| refused.map_or("", |(fields, _)| fields.text(name));
    let chosen = if text("role").is_empty() { "member" } else { text("role") };
    html! {
        section {
            h2 { "Invite" }
            p { "They get a join string, which works once, within ten minutes." }
            @if let Some((_, failure)) = refused { (notice(Tone::Bad, html! { p { (failure.words()) } })) }
            form.stack method="post" action="/members/invite" autocomplete="off" {
                (csrf(visitor))
                div.field {
                    label for="name" { "Name" }
                    input #name name="name" value=(text("name")) required maxlength="64" placeholder="alice" autocapitalize="none" spellcheck="false"
                        aria-describedby="name-hint";
                    p.hint #name-hint { "Small letters, digits, " code { "." } " " code { "_" } " " code { "-" } "; it stays as it is." }
                }
                fieldset.field.choices {
                    legend { "Role" }
                    @for (_, word, label, meaning) in ROLES {
                        label {
                            input type="radio" name="role" value=(word) checked[word == chosen];
                            span { strong { (label) } " " (meaning) }
                        }
                    }
                }
                div.actions { button.primary type="submit" { "Invite" } }
            }
        }
    }
}

pub async fn invite(
    State(console): State<Arc<Console>>,
    ending: Option<Extension<Ending>>,
    change: Change,
) -> Result<Response, Failure> {
    if let Some(Extension(ending)) = ending {
        ending.end(); // the join string goes out in the clear, inside TLS: its buffers are wiped with the connection
    }
    let Change { visitor, fields } = change;
    let request = v1::InviteUserRequest {
        name: fields.text("name").trim().to_owned(),
        role: role_of(fields.text("role")).into(),
        join_ttl_seconds: 0,
    };
    let invited = match console.users.invite_user(visitor.ask(request)).await.map_err(Failure::from) {
        Ok(invited) => invited.into_inner(),
        Err(failure) if failure.is_mendable() => return listed(&console, &visitor, Some((&fields, &failure))).await,
        Err(failure) => return Err(failure),
    };
    let user = invited.user.unwrap_or_default();
    let machine = matches!(user.role(), Role::Orchestrator | Role::Operator);
    let title = format!("{} is invited", user.name);
    let body = html! {
        (up("/members", "Members"))
        (heading(&title, "This is shown once. It works once, within ten minutes; after that, make another.", ""))
        section.card {
            h2 #join { "Join string" }
            pre.command tabindex="0" aria-labelledby="join" { (invited.join) }
            ol.steps {
                li { "Give it to " @if machine { "whoever sets up " (user.name) } @else { (user.name) } " by a way that others don't read: whoever comes first is " (user.name) "." }
                li { @if machine { "There, " } @else { "They install " code { "keyfob" } ", " } "run " code { "keyfob login" } " and paste it." }
                @if !machine { li { code { "keyfob console" } " then opens this console for them." } }
            }
        }
        p.more { a.button href="/members" { "Done" } }
    };
    Ok(page(&visitor, Section::Members, &title, body))
}

pub async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(query): Query,
) -> Result<Response, Failure> {
    for_admins(&visitor)?;
    shown(&console, &visitor, query.text("name"), None).await
}

/// One member; after a change that was refused, with the reason.
async fn shown(
    console: &Console,
    visitor: &Visitor,
    name: &str,
    refused: Option<&Failure>,
) -> Result<Response, Failure> {
    let user = users(console, visitor).await?.into_iter().find(|user| user.name == name);
    let user = user.ok_or_else(Failure::not_found)?;
    let body = html! {
        (up("/members", "Members"))
        (heading(&user.name, html! { (role_badge(user.role())) " invited " (when(user.created_at.as_ref())) " by " (person(&user.created_by)) },
            html! { a.button href={ "/audit?actor=user/" (url(&user.name)) } { "What they did" } a.button href={ "/sessions?user=" (url(&user.name)) } { "Sessions" } }))
        @if let Some(failure) = refused { (notice(Tone::Bad, html! { p { (failure.words()) } p { "Nothing was changed." } })) }
        (role_form(visitor, &user))
        section {
            h2 { "Another device" }
            p { "A new join string, for a new laptop or a lost one. What is enrolled already goes on working; to end that, remove " (user.name) "." }
            form method="post" action="/members/invite" {
                (csrf(visitor))
                input type="hidden" name="name" value=(user.name);
                input type="hidden" name="role" value=(word(user.role()));
                button type="submit" { "New join string" }
            }
        }
        (removal(visitor, &user))
    };
    let mut response = page(visitor, Section::Members, &user.name, body);
    if let Some(failure) = refused {
        *response.status_mut() = failure.status;
    }
    Ok(response)
}

fn role_form(visitor: &Visitor, user: &User) -> Markup {
    html! {
        section {
            h2 { "Role" }
            @if matches!(user.role(), Role::Member | Role::Admin) {
                @if user.name == visitor.name.as_str() { p { "This is you. You can't take it back yourself once you are no admin." } }
                form.stack method="post" action="/members/role" {
                    (csrf(visitor))
                    input type="hidden" name="name" value=(user.name);
                    fieldset.choices {
                        legend.hidden { "Role" }
                        @for (role, word, label, meaning) in &ROLES[..2] {
                            label {
                                input type="radio" name="role" value=(word) checked[*role == user.role()];
                                span { strong { (label) } " " (meaning) }
                            }
                        }
                    }
                    div.actions { button type="submit" { "Save role" } }
                }
            } @else {
                p.none { "A machine's role is for good: remove it, and invite it anew." }
            }
        }
    }
}

fn removal(visitor: &Visitor, user: &User) -> Markup {
    html! {
        section {
            h2 { "Remove" }
            div.card {
                p { "It can't be undone, and happens at once:" }
                ul.steps {
                    li { strong { "Signed out" } " everywhere: certificates, console, invitations." }
                    li { strong { "Their sessions are revoked." } " Those VMs are cut off." }
                    li { strong { "Their private secrets are destroyed." } " Shared ones that they made stay." }
                }
                p { "What was in their VMs may still be known to them: rotate what is shared." }
                form method="post" action="/members/remove" {
                    (csrf(visitor))
                    input type="hidden" name="name" value=(user.name);
                    button.danger type="submit" { "Remove " (user.name) }
                }
            }
        }
    }
}

pub async fn role(State(console): State<Arc<Console>>, change: Change) -> Result<Response, Failure> {
    let Change { visitor, fields } = change;
    let name = fields.text("name");
    let request = v1::UpdateUserRequest { name: name.to_owned(), role: role_of(fields.text("role")).into() };
    let user = match console.users.update_user(visitor.ask(request)).await.map_err(Failure::from) {
        Ok(updated) => updated.into_inner().user.unwrap_or_default(),
        Err(failure) if failure.is_mendable() => return shown(&console, &visitor, name, Some(&failure)).await,
        Err(failure) => return Err(failure),
    };
    let news =
        format!("{} is {} from now on.", user.name, if user.role() == Role::Admin { "an admin" } else { "a member" });
    let still = user.name != visitor.name.as_str() || user.role() == Role::Admin;
    Ok(session::say(Redirect::to(if still { "/members" } else { "/secrets" }), &[news]))
}

pub async fn remove(State(console): State<Arc<Console>>, change: Change) -> Result<Response, Failure> {
    let Change { visitor, fields } = change;
    let name = fields.text("name");
    let request = v1::RemoveUserRequest { name: name.to_owned() };
    let gone = match console.users.remove_user(visitor.ask(request)).await.map_err(Failure::from) {
        Ok(removed) => removed.into_inner(),
        Err(failure) if failure.is_mendable() => return shown(&console, &visitor, name, Some(&failure)).await,
        Err(failure) => return Err(failure),
    };
    let news = format!(
        "{name} is removed: {} destroyed, {} revoked.",
        count(gone.secrets_destroyed.into(), "private secret"),
        count(gone.sessions_revoked.into(), "session"),
    );
    Ok(session::say(Redirect::to("/members"), &[news]))
}
