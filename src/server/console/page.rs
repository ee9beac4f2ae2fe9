//! The layout that all pages share, and errors in it.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tonic::Code;

use super::{
    assets::{ICON, SCRIPT, STYLE},
    parts::csrf,
    session::Visitor,
};

/// Where in the sidebar a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Secrets,
    Environments,
    Preview,
    Members,
    Sessions,
    Rollouts,
    Audit,
}

impl Section {
    fn path(self) -> &'static str {
        match self {
            Self::Secrets => "/secrets",
            Self::Environments => "/environments",
            Self::Preview => "/preview",
            Self::Members => "/members",
            Self::Sessions => "/sessions",
            Self::Rollouts => "/rollouts",
            Self::Audit => "/audit",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Secrets => "Secrets",
            Self::Environments => "Environments",
            Self::Preview => "My preview",
            Self::Members => "Members",
            Self::Sessions => "Sessions",
            Self::Rollouts => "Rollouts",
            Self::Audit => "Audit",
        }
    }

    /// Strokes in a square of 16.
    fn icon(self) -> &'static str {
        match self {
            Self::Secrets => "M6 8.5a2.5 2.5 0 1 1 0-5 2.5 2.5 0 0 1 0 5Zm1.8-.7 5.2 5.2m-2.2-2.2 1.4-1.4",
            Self::Environments => "M2.5 4.5 8 2l5.5 2.5L8 7 2.5 4.5Zm0 3.5L8 10.5 13.5 8M2.5 11.5 8 14l5.5-2.5",
            Self::Preview => {
                "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8Zm6.5 1.7a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.4Z"
            }
            Self::Members => {
                "M6 7.5a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6Zm-4.2 5.7c0-2.3 1.9-3.7 4.2-3.7s4.2 1.4 4.2 3.7M10.5 3.2a2.2 2.2 0 0 1 0 4.1m1.5 2.5c1.4.5 2.3 1.7 2.3 3.4"
            }
            Self::Sessions => "M2 3h12v8H2zM5.5 13.5h5M8 11v2.5M4.5 5.5 6 7 4.5 8.5m3 0H10",
            Self::Rollouts => "M13.5 8a5.5 5.5 0 1 1-1.6-3.9M13.5 2v2.8h-2.8",
            Self::Audit => "M3.5 2h9v12h-9zM6 5.5h4M6 8h4m-4 2.5h2.5",
        }
    }
}

const CONFIGURATION: [Section; 3] = [Section::Secrets, Section::Environments, Section::Preview];
const ACTIVITY: [Section; 2] = [Section::Sessions, Section::Rollouts];

/// A page of somebody who is signed in.
pub fn page(visitor: &Visitor, section: Section, title: &str, body: Markup) -> Response {
    whole(visitor, Some(section), title, body)
}

fn whole(visitor: &Visitor, section: Option<Section>, title: &str, body: Markup) -> Response {
    let link = |to: Section| {
        html! {
            li {
                a href=(to.path()) aria-current=[(section == Some(to)).then_some("page")] {
                    svg viewBox="0 0 16 16" aria-hidden="true" { path d=(to.icon()) {} }
                    (to.name())
                }
            }
        }
    };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{title} · {}", visitor.org)))
            body {
                a.skip href="#main" { "Skip to content" }
                div.frame {
                    aside.side {
                        a.brand href="/secrets" { (mark()) span { "Keyfob" } }
                        nav aria-label="Main" {
                            h2 { "Configuration" }
                            ul {
                                @for to in CONFIGURATION { (link(to)) }
                                @if visitor.is_admin() { (link(Section::Members)) }
                            }
                            h2 { "Activity" }
                            ul {
                                @for to in ACTIVITY { (link(to)) }
                                @if visitor.is_admin() { (link(Section::Audit)) }
                            }
                        }
                        details.account {
                            summary {
                                span.who { (visitor.name) }
                                span.where { (visitor.org) " · " (visitor.role.as_str()) }
                            }
                            div.panel {
                                form method="post" action="/signout" {
                                    (csrf(visitor))
                                    button type="submit" { "Sign out" }
                                }
                                form method="post" action="/signout-everywhere" {
                                    (csrf(visitor))
                                    button type="submit" { "Sign out everywhere" }
                                }
                            }
                        }
                    }
                    main #main tabindex="-1" {
                        @if let [news, warnings @ ..] = &visitor.said[..] {
                            div.notice.good role="status" {
                                p { (told(news)) }
                                @if !warnings.is_empty() {
                                    ul { @for warning in warnings { li { (told(warning)) } } }
                                }
                            }
                        }
                        (body)
                    }
                }
            }
        }
    };
    respond(StatusCode::OK, markup)
}

/// A page of somebody who is not.
pub fn bare(title: &str, body: Markup) -> Response {
    bare_with(StatusCode::OK, title, body)
}

pub fn bare_with(status: StatusCode, title: &str, body: Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.bare {
                main #main {
                    div.card {
                        p.brand { (mark()) span { "Keyfob" } }
                        h1 { (title) }
                        (body)
                    }
                }
            }
        }
    };
    respond(status, markup)
}

/// A page that asks for another at once, as a page of ours: what a redirection is not, which keeps the initiator of before.
pub fn again(target: &str) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content={ "0; url=" (target) };
                title { "Keyfob" }
            }
            body { p { a href=(target) { "Continue" } } }
        }
    };
    respond(StatusCode::OK, markup)
}

/// A piece of a page, for script that asked for it.
pub fn piece(markup: Markup) -> Response {
    respond(StatusCode::OK, markup)
}

fn respond(status: StatusCode, markup: Markup) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], markup.into_string()).into_response()
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · Keyfob" }
            link rel="stylesheet" href=(STYLE.path);
            link rel="icon" type="image/svg+xml" href=(ICON.path);
            script src=(SCRIPT.path) defer {}
        }
    }
}

fn mark() -> Markup {
    PreEscaped(
        r#"<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8"/><g><circle cx="12" cy="12" r="4.6"/><path d="M15.4 15.4 24 24m-3.4-3.4 2.4-2.4"/></g></svg>"#
            .to_owned(),
    )
}

/// What went wrong, in words for people. The guard makes a page of it.
#[derive(Debug, Clone)]
pub struct Failure {
    pub status: StatusCode,
    title: &'static str,
    pub text: String,
}

impl Failure {
    fn new(status: StatusCode, title: &'static str, text: impl Into<String>) -> Self {
        Self { status, title, text: text.into() }
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", "There is no such page, or you may not see it.")
    }

    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "That does not work", text)
    }

    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Not allowed", text)
    }

    pub fn signed_out() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Signed out", "You are not signed in, or not any more.")
    }

    pub fn too_many() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many attempts", "Wait a minute, then try again.")
    }

    /// Its text.
    pub fn words(&self) -> Markup {
        told(&self.text)
    }

    /// Whether the form that led here can be mended.
    pub fn is_mendable(&self) -> bool {
        matches!(self.status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT)
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        let text = sentence(status.message());
        match status.code() {
            Code::NotFound => Self::new(StatusCode::NOT_FOUND, "Not found", text),
            Code::PermissionDenied => Self::forbidden(text),
            Code::Unauthenticated => Self::signed_out(),
            Code::InvalidArgument | Code::FailedPrecondition => Self::invalid(text),
            Code::AlreadyExists => Self::new(StatusCode::CONFLICT, "That is there already", text),
            Code::Aborted => Self::new(StatusCode::CONFLICT, "Somebody was faster", text),
            Code::Unavailable => Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not now", text),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "That went wrong", text),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What our texts put between backticks is code.
pub fn told(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Our errors begin in lower case and end without a full stop.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with(['.', '!', '?', ')']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// A failure as a page; whoever is not signed in is shown the way in.
pub fn failure(failure: Failure, visitor: Option<&Visitor>) -> Response {
    let Failure { status, title, text } = failure;
    let way_out = |href: &str, label: &str| html! { p { a.button href=(href) { (label) } } };
    let mut response = match visitor {
        Some(visitor) => {
            let body = html! {
                div.failure {
                    h1 { (title) }
                    p role="alert" { (told(&text)) }
                    (way_out("/secrets", "To the secrets"))
                }
            };
            whole(visitor, None, title, body)
        }
        None => bare(title, html! { p.lead role="alert" { (told(&text)) } (way_out("/signin", "Sign in")) }),
    };
    *response.status_mut() = status;
    response
}
