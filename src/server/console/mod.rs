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
//! | `GET /static/NAME` | style, script, icon | anybody |
//!
//! What changes something is a `POST` whose handler takes a [`Change`](form::Change), which exists only if the request came from a
//! page of ours and bears the session's CSRF token. Nothing here is told to caches; nothing holds a value but the form that
//! brought it, which is wiped.

mod assets;
mod form;
mod headers;
mod listen;
mod live;
mod oidc;
mod page;
mod parts;
mod provider;
mod secret;
mod secrets;
mod session;
mod signin;
mod throttle;

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
        .route("/secrets/{id}/deliveries", get(secret::delivered))
        .route("/secrets/{id}/value", post(secret::save))
        .route("/secrets/{id}/auto-install", post(secret::auto_install))
        .route("/secrets/{id}/push", post(secret::push))
        .route("/secrets/{id}/delete", get(secret::ask_delete).post(secret::delete))
        .route("/static/{name}", get(assets::get))
        .fallback(|| async { page::Failure::not_found() })
        .layer(from_fn_with_state(console.clone(), session::guard))
        .with_state(console)
}
