//! In and out. A link is opened with GET, which shows whom it signs in and uses nothing up, so that a mail scanner or a prefetching
//! browser does no harm; the button on that page uses it up. Who it is stands on the page: nobody stores secrets in somebody
//! else's account without having been told.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use maud::{Markup, html};
use zeroize::Zeroizing;

use super::{
    Console,
    form::{Change, Form, Query},
    page::{self, Failure},
    parts::{Tone, notice},
    session::{self, Visitor},
};
use crate::{
    domain::{
        join::Token,
        policy::{Action, Target, decide},
    },
    server::{edge::Peer, error::Error},
};

pub async fn page(
    State(console): State<Arc<Console>>,
    Query(query): Query,
    visitor: Option<Extension<Visitor>>,
) -> Response {
    let link = query.text("link");
    if link.is_empty() {
        return match visitor {
            Some(_) => Redirect::to("/secrets").into_response(),
            None => page::bare("Sign in", ways(&console, None)),
        };
    }
    let found = match hash_of(link) {
        Some(hash) => console.app.store.read(move |tx| tx.console_link(&hash)).await.ok(),
        None => None,
    };
    let Some(identity) = found else {
        return page::bare(
            "Sign in",
            ways(&console, Some("This link does not work any more: links work once, and for one minute.")),
        );
    };
    page::bare(
        "Sign in",
        html! {
            p.lead { "You are about to sign in as" }
            p.who { strong { (identity.subject.name()) } " of " (identity.org) }
            form method="post" action="/signin" {
                input type="hidden" name="link" value=(link);
                button.primary.wide type="submit" autofocus { "Sign in" }
            }
            p.hint { "If that is not you, close this page: whoever sent you here may want you to work in their account." }
        },
    )
}

/// The ways in, and what was wrong with the one that was tried.
pub fn ways(console: &Console, problem: Option<&str>) -> Markup {
    html! {
        @if let Some(problem) = problem { (notice(Tone::Bad, html! { p { (problem) } })) }
        @if let Some(oidc) = &console.oidc {
            p { a.button.primary.wide href="/signin/oidc" { "Sign in with " (oidc.name()) } }
            p.lead { "Or make yourself a sign-in link:" }
        } @else {
            p.lead { "Make yourself a sign-in link:" }
        }
        pre.command { code { "keyfob console" } }
        p.hint {
            "It opens this console in your browser, signed in as whoever is logged in on that command line. Not logged in there? "
            "An admin invites you with " code { "keyfob user invite NAME" } ", and " code { "keyfob login" } " takes what that prints."
        }
    }
}

pub async fn by_link(
    State(console): State<Arc<Console>>,
    Extension(peer): Extension<Peer>,
    Form(fields): Form,
) -> Response {
    let address = peer.address.ip();
    if !console.failures.allows(address) {
        return Failure::too_many().into_response();
    }
    let opened = match hash_of(fields.text("link")) {
        Some(hash) => console.app.store.write(move |tx| tx.redeem_console_link(&hash)).await,
        None => Err(Error::Unauthenticated("this is no link of ours")),
    };
    match opened {
        Ok(token) => session::signed_in(Redirect::to("/secrets"), &token),
        Err(Error::Unauthenticated(why)) => {
            console.failures.failed(address);
            page::bare_with(http::StatusCode::UNAUTHORIZED, "Sign in", ways(&console, Some(&page::sentence(why))))
        }
        Err(error) => Failure::from(tonic::Status::from(error)).into_response(),
    }
}

fn hash_of(link: &str) -> Option<[u8; 32]> {
    let mut token = Zeroizing::new([0; 32]);
    let length = URL_SAFE_NO_PAD.decode_slice(link, &mut token[..]).ok()?;
    (length == token.len()).then(|| Token::hash(&token[..]))
}

pub async fn out(State(console): State<Arc<Console>>, change: Change) -> Result<Response, Failure> {
    end(&console, &change.visitor, false).await
}

pub async fn out_everywhere(State(console): State<Arc<Console>>, change: Change) -> Result<Response, Failure> {
    end(&console, &change.visitor, true).await
}

async fn end(console: &Console, visitor: &Visitor, everywhere: bool) -> Result<Response, Failure> {
    let (credential, name) = (visitor.credential().clone(), visitor.name.clone());
    let session = visitor.session().filter(|_| !everywhere);
    let ended = console
        .app
        .store
        .write(move |tx| {
            let caller = tx.caller(&credential)?;
            let decision = decide(&caller, Action::ConsoleSignOut, &Target::User { name: name.clone() });
            let reach = if everywhere { "everywhere" } else { "here" };
            let grant = tx.admit(caller.org(), decision, "user", [("reach", reach.to_owned())].into())?;
            tx.sign_out(&grant, &name, session.as_ref())
        })
        .await;
    ended.map_err(tonic::Status::from)?;
    Ok(session::signed_out(Redirect::to("/signin")))
}
