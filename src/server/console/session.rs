//! Who is visiting: the session cookie, and the guard that stands before every page.
//!
//! The cookie says 32 random bytes; the store has their hash ([`crate::server::store`]'s `console`). Whether the session is
//! alive and what its user's role is, is asked again by each call that a page makes, in the transaction that does the work.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    Console, form, headers,
    page::{self, Failure},
};
use crate::{
    domain::{identity::Role, join::Token, name::UserName},
    server::{
        error::Error,
        store::{Credential, Proof},
    },
};

const SESSION: &str = "__Host-keyfob";
const SAID: &str = "__Host-keyfob-said";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// What a cookie of ours says.
pub struct Cookie(Zeroizing<[u8; 32]>);

impl Cookie {
    pub fn from_request(headers: &HeaderMap, name: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        let length = URL_SAFE_NO_PAD.decode_slice(cookie(headers, name)?, &mut bytes[..]).ok()?;
        (length == bytes.len()).then_some(Self(bytes))
    }

    pub fn of(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    fn hash(&self) -> [u8; 32] {
        Token::hash(&self.0[..])
    }

    /// A text for one use that does not give the cookie away.
    pub fn derive(&self, what: &str) -> String {
        let digest = Sha256::new().chain_update("keyfob console ").chain_update(what).chain_update([0]);
        URL_SAFE_NO_PAD.encode(digest.chain_update(&self.0[..]).finalize())
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// Signs a browser in.
pub fn signed_in(response: impl IntoResponse, token: &Token) -> Response {
    let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(token.expose()));
    set_cookie(response.into_response(), &format!("{SESSION}={}; {ATTRIBUTES}; Max-Age=43200", *token))
}

/// Takes the cookie back.
pub fn signed_out(response: impl IntoResponse) -> Response {
    set_cookie(response.into_response(), &format!("{SESSION}=; {ATTRIBUTES}; Max-Age=0"))
}

pub fn set_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Something to be told on the next page: a change that was made. The first line is the news, the others are warnings.
pub fn say(response: impl IntoResponse, lines: &[String]) -> Response {
    let text = URL_SAFE_NO_PAD.encode(lines.join("\n"));
    set_cookie(response.into_response(), &format!("{SAID}={text}; {ATTRIBUTES}; Max-Age=60"))
}

/// Somebody who is signed in.
#[derive(Clone)]
pub struct Visitor {
    pub org: String,
    pub name: UserName,
    pub role: Role,
    /// For the forms of this session.
    pub csrf: String,
    /// What the page before had to say.
    pub said: Vec<String>,
    credential: Credential,
}

impl Visitor {
    /// A call by this visitor.
    pub fn ask<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(self.credential.clone());
        request
    }

    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The hash that names this session.
    pub fn session(&self) -> Option<[u8; 32]> {
        match self.credential.proof {
            Proof::Console(hash) => Some(hash),
            Proof::Key(_) => None,
        }
    }
}

impl FromRequestParts<Arc<Console>> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Console>) -> Result<Self, Failure> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Failure::signed_out)
    }
}

/// Before and after every page: where a change comes from, who is there, the headers, and errors in the layout of the rest.
pub async fn guard(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    let mut response = guarded(console, &mut request, next).await;
    headers::set(&mut response);
    response
}

async fn guarded(console: Arc<Console>, request: &mut Request, next: Next) -> Response {
    let headers = request.headers();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let host =
        request.uri().authority().map(|a| a.as_str()).or(headers.get(header::HOST).and_then(|h| h.to_str().ok()));
    if !reads && !form::is_ours(headers, host) {
        return page::failure(Failure::forbidden("this request did not come from a page of this console"), None);
    }
    let asks = |name: &str, what: &str| headers.get(name).is_some_and(|value| value == what);
    let stranger = Cookie::from_request(headers, SESSION).is_none();
    // A link from elsewhere comes without the session's cookie, which is for our own pages only: asked again from one, it is there.
    if stranger && reads && asks("sec-fetch-site", "cross-site") && asks("sec-fetch-mode", "navigate") {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
        if !target.starts_with("/signin") && is_own_path(&target) {
            return page::again(&target);
        }
    }
    let told = cookie(headers, SAID).is_some();
    let is_static = request.uri().path().starts_with("/static/");
    let visitor = if is_static { Ok(None) } else { visitor(&console, headers).await };
    let visitor = match visitor {
        Ok(visitor) => visitor,
        Err(error) => return page::failure(tonic::Status::from(error).into(), None),
    };
    if let Some(visitor) = &visitor {
        request.extensions_mut().insert(visitor.clone());
    }
    let mut response = next.run(std::mem::take(request)).await;
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        response = page::failure(failure, visitor.as_ref());
    }
    let shown = told && !is_static && !response.status().is_redirection();
    if shown { set_cookie(response, &format!("{SAID}=; {ATTRIBUTES}; Max-Age=0")) } else { response }
}

/// Two slashes, which a backslash can be too, would begin the name of another host.
fn is_own_path(target: &str) -> bool {
    target.strip_prefix('/').is_some_and(|rest| !rest.starts_with(['/', '\\']))
}

/// Who has this cookie, if anybody has.
async fn visitor(console: &Console, headers: &HeaderMap) -> Result<Option<Visitor>, Error> {
    let Some(cookie) = Cookie::from_request(headers, SESSION) else { return Ok(None) };
    let hash = cookie.hash();
    let store = &console.app.store;
    let found = store
        .read(move |tx| {
            let Some(session) = tx.console_session(&hash)? else { return Ok(None) };
            let credential = Credential { identity: session.identity, proof: Proof::Console(hash) };
            let caller = match tx.caller(&credential) {
                Err(Error::Unauthenticated(_)) => return Ok(None),
                caller => caller?,
            };
            Ok(caller.user().cloned().map(|name| (name, caller.role, credential, session.stale)))
        })
        .await?;
    let Some((name, role, credential, stale)) = found else { return Ok(None) };
    if stale {
        store.write(move |tx| tx.use_console_session(&hash)).await?;
    }
    let said = self::cookie(headers, SAID).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let said = said.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    Ok(Some(Visitor {
        org: credential.identity.org.to_string(),
        name,
        role,
        csrf: form::csrf_of(&cookie),
        said: said.lines().map(str::to_owned).collect(),
        credential,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_from_elsewhere_leads_nowhere_else() {
        for (target, own) in [
            ("/", true),
            ("/secrets?q=a//b", true),
            ("/secrets//x", true),
            ("//evil.example/", false),
            ("/\\evil.example/", false),
            ("https://evil.example/", false),
            ("", false),
        ] {
            assert_eq!(is_own_path(target), own, "{target}");
        }
    }
}
