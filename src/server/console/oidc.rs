//! Sign-in by OpenID Connect: code flow with PKCE, for the users of one organization.
//!
//! ```text
//! GET /signin/oidc      a cookie of 32 random bytes; to the provider, with state, nonce and PKCE challenge made of it
//! GET /signin/callback  the same three made of the cookie again: state compared, code exchanged with the verifier,
//!                       the ID token checked (signature, issuer, audience, time, nonce); then who that is to us
//! ```
//!
//! Nothing is kept between the two but the cookie, in the browser that began: what another brings back does not fit. Who is
//! signed in is what one claim says, letter for letter. Where another claim gives the role, the provider decides who is a member:
//! users are made and changed by it, on record; otherwise they are those that an admin invited.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use http::{HeaderMap, StatusCode};
use maud::html;
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, TokenResponse,
    core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata},
};
use serde_json::Value;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::{
    Console,
    form::Query,
    page,
    provider::Fetcher,
    session::{self, Cookie},
    signin,
};
use crate::{
    domain::{
        identity::Role,
        name::{OrgName, UserName},
    },
    server::{
        edge::Peer,
        error::Error,
        store::{SignedInBy, Store},
    },
};

const COOKIE: &str = "__Host-keyfob-oidc";
/// Lax: it has to come along when the provider sends the browser back.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";
/// The provider's keys change; what is known of it is asked for again when it is older than this.
const FRESH: Duration = Duration::from_secs(600);
const CREDENTIAL: &str = "keyfob.oidc-secret";

#[derive(Args)]
pub struct OidcArgs {
    /// Sign in by OpenID Connect at this provider: its issuer, an https URL
    #[arg(long, value_name = "URL", requires_all = ["console_listen", "oidc_client_id", "oidc_user_claim"])]
    oidc_issuer: Option<String>,
    /// This server's client id there; the redirection URI to register is https://CONSOLE-ADDRESS/signin/callback
    #[arg(long, value_name = "ID", requires = "oidc_issuer")]
    oidc_client_id: Option<String>,
    /// A file with the client secret [default: the systemd credential keyfob.oidc-secret, if there is one, else none]
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    oidc_client_secret: Option<PathBuf>,
    /// The claim that is the user's name here; one that people can't choose for themselves
    #[arg(long, value_name = "CLAIM", requires = "oidc_issuer")]
    oidc_user_claim: Option<String>,
    /// The claim that says the role: `admin` or `member`, or a list with one of them. Users are then made and changed by it at
    /// sign-in [default: users are those who were invited]
    #[arg(long, value_name = "CLAIM", requires = "oidc_issuer")]
    oidc_role_claim: Option<String>,
    /// The organization of the provider's users [default: the only one]
    #[arg(long, value_name = "ORG", requires = "oidc_issuer")]
    oidc_org: Option<String>,
    /// What to ask the provider for, besides `openid`
    #[arg(long = "oidc-scope", value_name = "SCOPE", default_values = ["profile", "email"])]
    oidc_scopes: Vec<String>,
    /// Authorities (PEM) of the provider's certificate [default: this machine's]
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    oidc_ca: Option<PathBuf>,
}

/// A provider, and what its users are to us.
pub struct Oidc {
    issuer: IssuerUrl,
    client: ClientId,
    secret: Option<ClientSecret>,
    redirect: RedirectUrl,
    scopes: Vec<String>,
    org: OrgName,
    user_claim: String,
    role_claim: Option<String>,
    fetcher: Fetcher,
    known: Mutex<Option<(Instant, CoreProviderMetadata)>>,
}

/// Why nobody was signed in: what the person is told, and what the log is told besides.
struct No {
    told: String,
    logged: String,
}

impl No {
    fn new(told: &str, logged: impl ToString) -> Self {
        Self { told: told.into(), logged: logged.to_string() }
    }
}

impl Oidc {
    /// Of what was typed; `None` where no provider is wanted. `console` is `https://HOST:PORT`.
    pub async fn open(args: OidcArgs, console: &str, store: &Store) -> Result<Option<Self>, String> {
        let (Some(issuer), Some(client), Some(user_claim)) =
            (args.oidc_issuer, args.oidc_client_id, args.oidc_user_claim)
        else {
            return Ok(None);
        };
        let issuer = IssuerUrl::new(issuer).map_err(|e| format!("--oidc-issuer: {e}"))?;
        let fetcher = Fetcher::new(args.oidc_ca.as_deref())?;
        fetcher.may_ask(issuer.as_str()).map_err(|e| format!("--oidc-issuer: {e}"))?;
        let asked =
            args.oidc_org.map(|org| OrgName::parse(&org).map_err(|e| format!("--oidc-org: {e}"))).transpose()?;
        let org = store.read(move |tx| tx.organization_or_only(asked.as_ref())).await;
        let org = org.map_err(|e| format!("--oidc-org: {e}"))?;
        let redirect = RedirectUrl::new(format!("{console}/signin/callback"));
        Ok(Some(Self {
            issuer,
            client: ClientId::new(client),
            secret: secret(args.oidc_client_secret)?.map(ClientSecret::new),
            redirect: redirect.map_err(|e| format!("--console-address: {e}"))?,
            scopes: args.oidc_scopes,
            org,
            user_claim,
            role_claim: args.oidc_role_claim,
            fetcher,
            known: Mutex::default(),
        }))
    }

    /// As the sign-in page calls it.
    pub fn name(&self) -> &str {
        self.issuer.url().host_str().unwrap_or("the provider")
    }

    /// The provider's metadata and keys, no older than `FRESH`; or asked for anew.
    async fn metadata(&self, anew: bool) -> Result<CoreProviderMetadata, No> {
        let mut known = self.known.lock().await;
        if let Some((_, metadata)) = known.as_ref().filter(|(at, _)| !anew && at.elapsed() < FRESH) {
            return Ok(metadata.clone());
        }
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.fetcher).await;
        let metadata = found.map_err(|e| No::new("The provider can't be reached; try again in a while.", e))?;
        *known = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }

    /// Where to send a browser that has this cookie.
    async fn start(&self, cookie: &Cookie) -> Result<String, No> {
        let client = CoreClient::from_provider_metadata(self.metadata(false).await?, self.client.clone(), None)
            .set_redirect_uri(self.redirect.clone());
        let (state, nonce) = (cookie.derive("oidc state"), cookie.derive("oidc nonce"));
        let mut request = client.authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            move || CsrfToken::new(state),
            move || Nonce::new(nonce),
        );
        for scope in &self.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier(cookie));
        Ok(request.set_pkce_challenge(challenge).url().0.to_string())
    }

    /// Who came back with a code: all claims about them that were proven.
    async fn finish(&self, cookie: &Cookie, code: &str) -> Result<Claims, No> {
        const REFUSED: &str = "The provider's answer could not be verified; sign in again.";
        let client = |metadata| {
            CoreClient::from_provider_metadata(metadata, self.client.clone(), self.secret.clone())
                .set_redirect_uri(self.redirect.clone())
        };
        let metadata = self.metadata(false).await?;
        let userinfo = metadata.userinfo_endpoint().map(|url| url.to_string());
        let mut known = client(metadata);
        let exchange = known.exchange_code(AuthorizationCode::new(code.to_owned()));
        let exchange = exchange.map_err(|e| No::new(REFUSED, e))?.set_pkce_verifier(verifier(cookie));
        let answer = exchange.request_async(&self.fetcher).await.map_err(|e| No::new(REFUSED, e))?;
        let token = answer.id_token().ok_or_else(|| No::new(REFUSED, "there is no ID token"))?;
        let nonce = Nonce::new(cookie.derive("oidc nonce"));
        let mut checked = token.claims(&known.id_token_verifier(), &nonce).map(|claims| claims.subject().to_string());
        if checked.is_err() {
            known = client(self.metadata(true).await?); // it may sign with a newer key than we know
            checked = token.claims(&known.id_token_verifier(), &nonce).map(|claims| claims.subject().to_string());
        }
        let subject = checked.map_err(|e| No::new(REFUSED, e))?;
        // Proven just now; read once more as what it is, since any claim may be the one that counts.
        let payload = token.to_string().split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let payload = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(Value::Null);
        let mut claims = Claims { token: payload, userinfo: Value::Null };
        let wanted = [Some(&self.user_claim), self.role_claim.as_ref()];
        if let Some(url) = userinfo.filter(|_| wanted.into_iter().flatten().any(|claim| claims.get(claim).is_none())) {
            let more = self.fetcher.userinfo(&url, answer.access_token().secret()).await;
            let more = more.map_err(|e| No::new(REFUSED, e))?;
            if more.get("sub").and_then(Value::as_str) == Some(&subject) {
                claims.userinfo = more;
            }
        }
        Ok(claims)
    }

    fn user(&self, claims: &Claims) -> Result<UserName, No> {
        let claim = claims.get(&self.user_claim).and_then(Value::as_str);
        let claim = claim.ok_or_else(|| {
            No::new(
                "The provider does not say who you are here.",
                format!("no claim `{}`, or no text", self.user_claim),
            )
        })?;
        UserName::parse(claim).map_err(|e| {
            let told = "The provider's name for you is none that a user can have here: those are lower-case letters, digits, \".\", \"_\" and \"-\".";
            No::new(told, format!("claim `{}`: {e}", self.user_claim))
        })
    }

    /// `None` where the provider does not decide it.
    fn role(&self, claims: &Claims) -> Result<Option<Role>, No> {
        let Some(name) = &self.role_claim else { return Ok(None) };
        let said = |role: Role| match claims.get(name) {
            Some(Value::String(one)) => one == role.as_str(),
            Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(role.as_str())),
            _ => false,
        };
        let role = [Role::Admin, Role::Member].into_iter().find(|role| said(*role));
        let no = || No::new("The provider gives you no role here; whoever runs it can.", format!("claim `{name}`"));
        role.map(Some).ok_or_else(no)
    }
}

struct Claims {
    token: Value,
    userinfo: Value,
}

impl Claims {
    /// What the signed token says counts before what it leaves out.
    fn get(&self, name: &str) -> Option<&Value> {
        self.token.get(name).or_else(|| self.userinfo.get(name))
    }
}

fn verifier(cookie: &Cookie) -> PkceCodeVerifier {
    PkceCodeVerifier::new(cookie.derive("oidc verifier"))
}

/// Out of a file that was named, or of systemd's credentials.
fn secret(file: Option<PathBuf>) -> Result<Option<String>, String> {
    let credential = || Some(PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL));
    let Some(path) = file.or_else(|| credential().filter(|path| path.exists())) else { return Ok(None) };
    let text = std::fs::read_to_string(&path).map_err(|e| format!("--oidc-client-secret {}: {e}", path.display()))?;
    Ok(Some(Zeroizing::new(text).trim_end().to_owned()))
}

pub async fn start(State(console): State<Arc<Console>>) -> Response {
    let Some(oidc) = &console.oidc else { return page::Failure::not_found().into_response() };
    let mut random = Zeroizing::new([0; 32]);
    if getrandom::fill(&mut random[..]).is_err() {
        return page::Failure::from(tonic::Status::internal("the kernel gives no randomness")).into_response();
    }
    let (cookie, text) = (Cookie::of(&random), Zeroizing::new(URL_SAFE_NO_PAD.encode(&random[..])));
    match oidc.start(&cookie).await {
        Ok(url) => session::set_cookie(
            Redirect::to(&url).into_response(),
            &format!("{COOKIE}={}; {ATTRIBUTES}; Max-Age=600", *text),
        ),
        Err(no) => refused(&console, no),
    }
}

pub async fn callback(
    State(console): State<Arc<Console>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Query(query): Query,
) -> Response {
    let Some(oidc) = &console.oidc else { return page::Failure::not_found().into_response() };
    let address = peer.address.ip();
    if !console.failures.allows(address) {
        return page::Failure::too_many().into_response();
    }
    let done = sign_in(&console, oidc, Cookie::from_request(&headers, COOKIE), &query).await;
    let response = match done {
        // Not a redirection: the browser came from elsewhere, and would not bring the cookie that it is given here.
        Ok(token) => session::signed_in(page::again("/secrets"), &token),
        Err(no) => {
            console.failures.failed(address);
            refused(&console, no)
        }
    };
    session::set_cookie(response, &format!("{COOKIE}=; {ATTRIBUTES}; Max-Age=0"))
}

async fn sign_in(
    console: &Console,
    oidc: &Oidc,
    cookie: Option<Cookie>,
    query: &super::form::Fields,
) -> Result<crate::domain::join::Token, No> {
    const STALE: &str = "This sign-in was begun in another browser, or too long ago; begin again.";
    let cookie = cookie.ok_or_else(|| No::new(STALE, "no cookie"))?;
    let state = cookie.derive("oidc state");
    verify_slices_are_equal(state.as_bytes(), query.text("state").as_bytes())
        .map_err(|_| No::new(STALE, "another state"))?;
    let issuer = query.text("iss"); // RFC 9207; not every provider says it
    if !issuer.is_empty() && issuer != oidc.issuer.as_str() {
        return Err(No::new("Another provider answered than was asked.", "another issuer"));
    }
    if !query.text("error").is_empty() {
        return Err(No::new("The provider did not sign you in.", "it answered with an error"));
    }
    let claims = oidc.finish(&cookie, query.text("code")).await?;
    let (org, user, role) = (oidc.org.clone(), oidc.user(&claims)?, oidc.role(&claims)?);
    let opened = console.app.store.write(move |tx| {
        if let Some(role) = role {
            tx.user_by_provider(&org, &user, role)?;
        }
        tx.open_console_session(&org, &user, SignedInBy::Oidc)
    });
    opened.await.map_err(|error| match error {
        Error::Unauthenticated(_) | Error::Precondition(_) | Error::Invalid(_) => {
            No { told: page::sentence(&error.to_string()), logged: error.to_string() }
        }
        error => No::new("That went wrong on our side; the server's log has the cause.", error),
    })
}

fn refused(console: &Console, no: No) -> Response {
    tracing::warn!(why = %no.logged, "sign-in by OpenID Connect");
    page::bare_with(StatusCode::UNAUTHORIZED, "Sign in", html! { (signin::ways(console, Some(&no.told))) })
}
