//! By everybody: with a keyboard alone, without JavaScript, and with what the page tells while one types.

use keyfob::wire::v1::{Role, Visibility};
use serde_json::{Value, json};

use crate::{driver::Browser, site::Site};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// Where the focus is, as somebody who listens hears it.
fn focus(browser: &Browser) -> String {
    let script = "const e = document.activeElement;
                  return e.id || e.getAttribute('aria-label') || e.innerText.trim() || e.name || e.tagName";
    browser.run(script, &json!([])).as_str().unwrap_or_default().to_owned()
}

/// Presses Tab until the focus is there; each stop on the way must be one that is seen.
fn tab_to(browser: &Browser, name: &str) {
    for _ in 0..40 {
        browser.keys(TAB);
        let seen = "const e = document.activeElement;
                    if (e == document.body) return true;
                    const style = getComputedStyle(e), box = e.getBoundingClientRect();
                    const outline = e.matches('.segments input') ? getComputedStyle(e.nextElementSibling) : style;
                    return box.width > 0 && outline.outlineStyle != 'none'";
        assert_eq!(browser.run(seen, &json!([])), Value::Bool(true), "the focus on {} is not seen", focus(browser));
        if focus(browser) == name {
            return;
        }
    }
    panic!("Tab does not lead to {name}; it is on {}", focus(browser));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_keyboard_alone() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    let browser = site.browser_of(&alice).await;
    browser.keys(TAB);
    assert_eq!(focus(&browser), "Skip to content");
    browser.keys(ENTER);
    assert_eq!(browser.run("return document.activeElement.tagName", &json!([])), "MAIN");
    tab_to(&browser, "+ Add Secret");
    browser.keys(ENTER);
    browser.wait_for_path("/secrets/new");
    assert_eq!(focus(&browser), "name", "the first field has the focus");
    browser.keys("my-key");
    tab_to(&browser, "value");
    browser.keys("typed by hand");
    tab_to(&browser, "Create Secret");
    browser.keys(ENTER);
    browser.wait_for("document.querySelector('[role=status]')");
    assert_eq!(
        alice
            .secrets()
            .list_secrets(keyfob::wire::v1::ListSecretsRequest::default())
            .await
            .expect("a list")
            .into_inner()
            .secrets
            .len(),
        1
    );
    tab_to(&browser, "Automatically install my-key in VMs");
    browser.keys(" ");
    browser.wait_for("document.querySelector('button[role=switch]')?.ariaChecked == 'false'");
}

/// Every field and button has a name.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_heard() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    let browser = site.browser_of(&alice).await;
    browser.open(&format!("{}/secrets/new", site.url));
    for (field, label) in [("#name", "Name"), ("#value", "Value"), ("#description", "Description optional")] {
        assert_eq!(browser.label(field), label);
    }
    let attributes = browser.run(
        "const e = document.getElementById('value');
         return ['autocomplete', 'spellcheck', 'autocapitalize'].map(name => e.getAttribute(name))",
        &json!([]),
    );
    assert_eq!(attributes, json!(["off", "false", "none"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_javascript() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    let browser = site.browser();
    browser.javascript(false);
    site.sign_in(&browser, &alice).await;
    browser.press("+ Add Secret");
    browser.wait_for_path("/secrets/new");
    browser.fill("#name", "api-key");
    browser.fill("#value", "a value");
    browser.follow("Create Secret");
    assert!(browser.has("[role=status]"), "{}", browser.text("main"));
    browser.fill("#value", "another value");
    browser.follow("Save new value");
    assert!(browser.has("[role=status]"), "{}", browser.text("main"));
    browser.click("button[role=switch]");
    browser.wait_for("document.querySelector('button[role=switch]')?.ariaChecked == 'false'");
    browser.open(&format!("{}/secrets", site.url));
    browser.fill("[name=q]", "nothing");
    browser.press("Search");
    browser.wait_for("location.search.includes('q=nothing')");
    assert_eq!(browser.texts("table.list tbody th a"), Vec::<String>::new());
    browser.fill("[name=q]", "API");
    browser.click("[name=visibility][value=private]");
    browser.press("Search");
    browser.wait_for("location.search.includes('q=API')");
    assert_eq!(browser.texts("table.list tbody th a"), ["api-key"]);
    browser.press("api-key");
    browser.press("Delete api-key");
    browser.wait_for("location.pathname.endsWith('/delete')");
    browser.press("Delete api-key");
    browser.wait_for_path("/secrets");
    browser.click(".account summary");
    browser.press("Sign out");
    browser.wait_for_path("/signin");
}

/// The variable, a collision, a reserved name, what is overridden: said before anything is saved.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_name_would_be() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    site.world.admin().create("team.token", Visibility::Shared, b"a value for all").await;
    alice.create("db-url", Visibility::Private, b"a value of alice").await;
    let browser = site.browser_of(&alice).await;
    browser.open(&format!("{}/secrets/new", site.url));
    browser.run("const f = fetch; window.sent = []; window.fetch = (url, o) => { sent.push(url + ' ' + o.body); return f(url, o) }", &json!([]));
    browser.type_into("#value", "must-not-travel-while-one-types");
    for (typed, told) in [
        ("openaiApiKey", "$OPENAI_API_KEY"),
        ("db_url", "db-url"),
        ("path", "PATH"),
        ("team_token", "overrides"),
        ("9lives", "digit"),
        ("a b", "letters"),
    ] {
        browser.fill("#name", typed);
        let told = json!(told);
        browser.wait_for(&format!("document.getElementById('checked').innerText.includes({told})"));
    }
    let sent = browser.run("return sent", &json!([]));
    let sent: Vec<String> = serde_json::from_value(sent).expect("texts");
    assert!(
        !sent.is_empty() && sent.iter().all(|s| s.starts_with("/secrets/check ") && !s.contains("travel")),
        "{sent:?}"
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
