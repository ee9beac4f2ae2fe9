//! The console in a real browser, with a real OpenID provider. Needs chromium, chromedriver, certutil and node, which `tests/run
//! install` brings, and npm once. Pictures of all pages are left in `target/console/`.

#[path = "../it/world.rs"]
#[allow(dead_code, reason = "shared with the tests that open no browser")]
mod world;

mod axe; // is it usable by everybody
mod desk; // environments, sessions, members, the record, the preview
mod driver; // the browser
mod hostile; // strings that want to be markup
mod http; // requests that no browser would send
mod journey; // from a page to a shell
mod looks; // pictures, weights, accessibility of every page
mod matrix; // every route by every kind of visitor
mod npm; // what comes from npm
mod oidc; // signing in by a provider
mod provider; // who signs people in
mod signin; // by link; the ends of sessions
mod site; // a world with a console
mod usable; // by keyboard, without JavaScript, while one types

use serde_json::json;

/// The harness holds, before anything is said of the console.
#[test]
fn the_harness_sees_what_is_there() {
    let provider = provider::Provider::start("https://localhost:1/signin/callback");
    let browser = driver::Browser::start("");
    browser.open(&format!("{}/.well-known/openid-configuration", provider.issuer));
    assert!(browser.text("body").contains("authorization_endpoint"));
    browser.open(
        "data:text/html,<html lang=en><title>t</title><main><h1>t</h1><img src='http://example.com/x'><input id=a>\
         <button id=b style='background:white;color:silver'>Go</button></main><script>nothing()</script>",
    );
    let (serious, _) = axe::violations(&browser);
    for rule in ["image-alt", "label", "color-contrast"] {
        assert!(serious.iter().any(|v| v.contains(rule)), "{rule} is not among {serious:?}");
    }
    let complaints = browser.complaints().join("\n");
    assert!(
        complaints.contains("nothing is not defined") && complaints.contains("ERR_NAME_NOT_RESOLVED"),
        "{complaints}"
    );
    browser.javascript(false);
    browser.open("data:text/html,<p>no</p><script>document.querySelector('p').textContent = 'yes'</script>");
    assert_eq!(browser.text("p"), "no");
    browser.javascript(true);
    browser.open("data:text/html,<style>p{color:red}@media(prefers-color-scheme:dark){p{color:blue}}</style><p>t</p>");
    let color = || browser.run("return getComputedStyle(document.querySelector('p')).color", &json!([]));
    assert_eq!(color(), "rgb(255, 0, 0)");
    browser.dark(true);
    assert_eq!(color(), "rgb(0, 0, 255)");
}
