//! The console: pages for browsers, on a listener of its own. Server-rendered; a few lines of script make them live, and every
//! page does without.
//!
//! ```text
//! edge ─► guard (Origin, who is it?, headers, errors as pages) ─► a page ─► the very handlers that gRPC calls ─► store
//! ```
//!
//! A page translates: what was asked for becomes one or more calls of `grpc::*Calls` with the visitor's credential in the request,
//! and what those answer becomes markup. Authorization, audit and store are those calls' own; no page talks to the store. The
//! exceptions are the sessions of the console itself (`session`, `signin`), which no call is about.
//!
//! | route | page | who |
//! |---|---|---|
//! | `GET /` | to `/secrets` | anybody |
//! | `GET /signin`, `POST /signin` | sign in; with `?link=TOKEN`, by link | anybody |
//! | `GET /signin/oidc`, `GET /signin/callback` | sign in by OpenID Connect | anybody |
//! | `POST /signout`, `POST /signout-everywhere` | | members |
//! | `GET /secrets`, `GET, POST /secrets/new`, `POST /secrets/check` | the list, a new one | members |
//! | `GET /secrets/{id}`, `/secrets/{id}/deliveries` | one secret | whoever may see it |
//! | `POST /secrets/{id}/value`, `/auto-install`, `/push`, `GET, POST /secrets/{id}/delete` | | whoever may change it |
//! | `GET, POST /environments`, `GET /environments/{name}`, `/history`, `POST .../variables`, `/restore` | environments | members; admins change them |
//! | `GET /sessions`, `/sessions/events` | the list, live | members see their own; admins all |
//! | `GET /sessions/{id}`, `/events`, `POST .../end`, `/revoke`, `/push` | one session | its user; admins |
//! | `GET /rollouts`, `/rollouts/{id}`, `/rollouts/{id}/events` | what was pushed, live | members see their own; admins all |
//! | `GET /audit`, `POST /audit/verify`, `GET /audit/export` | the record | admins |
//! | `GET /members`, `GET /members/member?name=`, `POST /members/invite`, `/role`, `/remove` | who is there | admins |
//! | `GET /preview` | what the next session would get | members, for themselves; admins for others, without private secrets |
//! | `GET /static/NAME` | style, script, icon | anybody |
//!
//! What changes something is a `POST` whose handler takes a [`Change`](form::Change), which exists only if the request came from a
//! page of ours and bears the session's CSRF token. Nothing here is told to caches; nothing holds a value but the form that
//! brought it, which is wiped.

mod assets;
mod audit;
mod environment;
mod environments;
mod form;
mod headers;
mod history;
mod listen;
mod live;
mod members;
mod oidc;
mod one_session;
mod page;
mod parts;
mod preview;
mod provider;
mod rollouts;
mod secret;
mod secrets;
mod session;
mod sessions;
mod signin;
mod throttle;
mod whereabouts;

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    response::Redirect,
    routing::{get, post},
};
pub use listen::{Certificate, Listen, serve};
pub use oidc::{Oidc, OidcArgs};

use super::grpc::{App, AuditCalls, EnvironmentCalls, FleetCalls, RolloutCalls, SecretCalls, SessionCalls, UserCalls};

/// What every page has at hand.
pub struct Console {
    app: Arc<App>,
    secrets: SecretCalls,
    environments: EnvironmentCalls,
    sessions: SessionCalls,
    fleet: FleetCalls,
    rollouts: RolloutCalls,
    audit: AuditCalls,
    users: UserCalls,
    oidc: Option<Oidc>,
    /// Sign-ins that failed.
    failures: throttle::Throttle,
}

impl Console {
    fn new(app: Arc<App>, oidc: Option<Oidc>) -> Arc<Self> {
        Arc::new(Self {
            secrets: SecretCalls(app.clone()),
            environments: EnvironmentCalls(app.clone()),
            sessions: SessionCalls(app.clone()),
            fleet: FleetCalls(app.clone()),
            rollouts: RolloutCalls(app.clone()),
            audit: AuditCalls(app.clone()),
            users: UserCalls(app.clone()),
            failures: throttle::Throttle::default(),
            oidc,
            app,
        })
    }
}

fn routes(console: Arc<Console>) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::to("/secrets") }))
        .route("/signin", get(signin::page).post(signin::by_link))
        .route("/signin/oidc", get(oidc::start))
        .route("/signin/callback", get(oidc::callback))
        .route("/signout", post(signin::out))
        .route("/signout-everywhere", post(signin::out_everywhere))
        .route("/secrets", get(secrets::list))
        .route("/secrets/new", get(secrets::new).post(secrets::create))
        .route("/secrets/check", post(secrets::check))
        .route("/secrets/{id}", get(secret::show))
        .route("/secrets/{id}/deliveries", get(whereabouts::delivered))
        .route("/secrets/{id}/value", post(secret::save))
        .route("/secrets/{id}/auto-install", post(secret::auto_install))
        .route("/secrets/{id}/push", post(secret::push))
        .route("/secrets/{id}/delete", get(secret::ask_delete).post(secret::delete))
        .route("/environments", get(environments::list).post(environments::create))
        .route("/environments/{name}", get(environment::show))
        .route("/environments/{name}/variables", post(environment::save))
        .route("/environments/{name}/history", get(history::show))
        .route("/environments/{name}/restore", post(history::restore))
        .route("/sessions", get(sessions::list))
        .route("/sessions/events", get(sessions::events))
        .route("/sessions/{id}", get(one_session::show))
        .route("/sessions/{id}/events", get(one_session::events))
        .route("/sessions/{id}/end", post(one_session::end))
        .route("/sessions/{id}/revoke", post(one_session::revoke))
        .route("/sessions/{id}/push", post(one_session::push))
        .route("/rollouts", get(rollouts::list))
        .route("/rollouts/{id}", get(rollouts::show))
        .route("/rollouts/{id}/events", get(rollouts::events))
        .route("/audit", get(audit::list))
        .route("/audit/verify", post(audit::verify))
        .route("/audit/export", get(audit::export))
        .route("/members", get(members::list))
        .route("/members/member", get(members::show))
        .route("/members/invite", post(members::invite))
        .route("/members/role", post(members::role))
        .route("/members/remove", post(members::remove))
        .route("/preview", get(preview::show))
        .route("/static/{name}", get(assets::get))
        .fallback(|| async { page::Failure::not_found() })
        .layer(from_fn_with_state(console.clone(), session::guard))
        .with_state(console)
}
