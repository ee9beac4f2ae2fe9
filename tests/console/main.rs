//! The console in a real browser, with a real OpenID provider. Needs chromium, chromedriver, certutil and node, which `tests/run
//! install` brings, and npm once. Pictures of all pages are left in `target/console/`.

#[path = "../it/world.rs"]
#[allow(dead_code, reason = "shared with the tests that open no browser")]
mod world;

mod driver; // the browser
mod http; // requests that no browser would send
mod npm; // what comes from npm
mod provider; // who signs people in

/// The harness holds, before anything is said of the console: a page over TLS by a CA that only this browser knows, a provider
/// that shows its form, a checker of accessibility that finds what is wrong.
#[test]
fn the_harness_sees_what_is_there() {
    let provider = provider::Provider::start("https://localhost:1/signin/callback");
    let browser = driver::Browser::start("");
    browser.open(&format!("{}/.well-known/openid-configuration", provider.issuer));
    assert!(browser.text("body").contains("authorization_endpoint"));
    browser.open("data:text/html,<title>t</title><main><img src=x><button>Go</button>");
    browser.press("Go");
    browser.shot(std::path::Path::new("/tmp/wt/b-scratch/x.png"));
    println!("{:?}", browser.complaints());
}
