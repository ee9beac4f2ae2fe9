//! Sign-in by the OpenID provider, a real one on another site.

use std::collections::BTreeMap;

use keyfob::wire::v1::{self, Role};
use serde_json::json;

use crate::{
    driver::Browser,
    http::{Peer, form},
    site::Site,
};

/// Signs in at the provider as whoever is typed there, and agrees to what it asks.
fn by_provider(site: &Site, browser: &Browser, who: &str) {
    browser.open(&format!("{}/secrets", site.url));
    browser.press("Sign in"); // this page is for those who are
    browser.wait_for("document.querySelector('a[href=\"/signin/oidc\"]')");
    browser.click("a[href='/signin/oidc']");
    browser.wait_for("document.querySelector('[name=login]')");
    browser.fill("[name=login]", who);
    browser.fill("[name=password]", "any will do");
    browser.click("button[type=submit]");
    browser.wait_for(
        "location.hostname == '127.0.0.1' && !document.querySelector('[name=login]') && document.querySelector('form')",
    );
    browser.click("button[type=submit]");
    browser.wait_for(
        "document.readyState == 'complete' && location.hostname == 'localhost' && document.querySelector('main h1')",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_provider() {
    let site = Site::with_provider(&[]).await;
    site.world.person("alice", Role::Member).await;
    let browser = site.browser();
    by_provider(&site, &browser, "alice");
    browser.wait_for_path("/secrets");
    assert_eq!(browser.text(".account .who"), "alice");

    let cookies = browser.cookies();
    let cookie = cookies.iter().find(|c| c["name"] == "__Host-keyfob").unwrap_or_else(|| panic!("{cookies:?}"));
    assert_eq!(
        (&cookie["httpOnly"], &cookie["secure"], &cookie["sameSite"], &cookie["path"]),
        (&json!(true), &json!(true), &json!("Strict"), &json!("/"))
    );
    assert_eq!(browser.run("return document.cookie", &json!([])), "");

    browser.click(".account summary");
    browser.press("Sign out");
    browser.wait_for_path("/signin");
    browser.open(&format!("{}/secrets", site.url));
    assert!(!browser.has(".account"));
}

/// Whom the provider knows and the organization does not.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_by_the_provider() {
    let site = Site::with_provider(&[]).await;
    for who in ["mallory", "nameless", "hostile"] {
        let browser = site.browser();
        by_provider(&site, &browser, who);
        assert!(!browser.has(".account"), "{who} is in");
        assert!(browser.has("[role=alert]"), "{who} is told nothing: {}", browser.text("main"));
        assert!(browser.run("return document.title", &json!([])) != "pwned");
        assert!(!browser.has("main script"));
    }
}

/// A provider that says who is what: members come by it, and are what it says.
#[tokio::test(flavor = "multi_thread")]
async fn roles_by_the_provider() {
    let site = Site::with_provider(&["--oidc-role-claim", "role"]).await;
    let bob = site.world.person("bob", Role::Admin).await;
    for (who, role) in [("carol", "member"), ("bob", "member"), ("root", "admin")] {
        let browser = site.browser();
        by_provider(&site, &browser, who);
        browser.wait_for_path("/secrets");
        assert_eq!(browser.text(".account .who"), who);
        assert_eq!(browser.text(".account .where"), format!("acme · {role}"));
    }
    let bob = bob.users().who_am_i(v1::WhoAmIRequest {}).await.expect("bob").into_inner().user.expect("bob");
    assert_eq!(bob.role(), Role::Member);
    let browser = site.browser();
    by_provider(&site, &browser, "dave");
    assert!(!browser.has(".account") && browser.has("[role=alert]"), "{}", browser.text("body"));
}

/// Begins in the console and goes through the provider's pages without a browser, up to the answer that would sign in.
/// Gives the cookie of who began, and where the provider sends them.
fn answer_of_provider(site: &Site, who: &str) -> (String, String) {
    let start = site.nobody().get("/signin/oidc");
    let cookie = start.header("set-cookie").expect("a cookie").split(';').next().unwrap_or_default().to_owned();
    let issuer = &site.provider.as_ref().expect("a provider").issuer;
    let peer = Peer::plain(issuer.trim_start_matches("http://"));
    let mut cookies = BTreeMap::new();
    let (mut method, mut url, mut body) =
        ("GET", start.header("location").expect("to the provider").to_owned(), Vec::new());
    for _ in 0..12 {
        if let Some(path) = url.strip_prefix(&site.url) {
            return (cookie, path.to_owned());
        }
        let jar: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let headers = [("Cookie", &*jar.join("; ")), ("Content-Type", "application/x-www-form-urlencoded")];
        let answer = peer.ask(method, url.strip_prefix(&**issuer).unwrap_or(&url), &headers, &body);
        for (name, value) in answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let pair = value.split(';').next().and_then(|pair| pair.split_once('=')).unwrap_or((name, ""));
            cookies.insert(pair.0.to_owned(), pair.1.to_owned());
        }
        (method, body) = ("GET", Vec::new());
        if let Some(location) = answer.header("location") {
            url = location.to_owned();
        } else {
            let page = answer.text();
            let prompt = if page.contains("name=\"login\"") { "login" } else { "consent" };
            (method, body) = ("POST", form(&[("prompt", prompt), ("login", who), ("password", "any will do")]));
            let action = page.split_once("action=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a form");
            url = action.0.to_owned();
        }
    }
    panic!("the provider leads nowhere");
}

/// An answer of the provider signs in the browser that asked, once, and nobody else: not one that it was slipped to.
#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_provider_that_were_not_asked_for() {
    let site = Site::with_provider(&[]).await;
    site.world.person("alice", Role::Member).await;
    let enters = |cookie: &str, path: &str| {
        let headers = [("Cookie", cookie), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")];
        let answer = site.nobody().ask("GET", path, &headers, b"");
        assert!(!answer.text().contains("<script>"));
        let set: Vec<_> = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).collect();
        set.iter().any(|(_, value)| value.starts_with("__Host-keyfob=") && !value.starts_with("__Host-keyfob=;"))
    };
    let (cookie, path) = answer_of_provider(&site, "alice");
    let (another, other_path) = answer_of_provider(&site, "alice");
    let code = |path: &str| path.split(['?', '&']).find(|p| p.starts_with("code=")).expect("a code").to_owned();
    let swapped = path.replace(&code(&path), &code(&other_path));
    for (what, cookie, path) in [
        ("nothing", "", "/signin/callback"),
        ("no cookie", "", &*path),
        ("another's cookie", &*another, &*path),
        ("another's code", &*cookie, &*swapped),
        ("a code of nobody", &*cookie, &*path.replace(&code(&path), "code=x")),
        ("an error", &*cookie, "/signin/callback?error=access_denied&error_description=%3Cscript%3E"),
    ] {
        assert!(!enters(cookie, path), "{what}");
    }
    // A code that was tried in vain is spent; a fresh one does it, once.
    let (cookie, path) = answer_of_provider(&site, "alice");
    assert!(enters(&cookie, &path));
    assert!(!enters(&cookie, &path), "twice");
}
