//! What a page said is what a session gets: secrets added, found, changed, switched off and deleted in the browser, and looked for
//! with the real agent each time.

use std::collections::BTreeMap;

use keyfob::wire::v1::{Role, Visibility};
use serde_json::json;

use crate::{
    driver::Browser,
    site::Site,
    world::{AgentRun, World, wait_for},
};

/// What the next session of somebody finds in its environment.
async fn boots_with(world: &World, user: &str) -> BTreeMap<String, String> {
    let join = world.session(user, "default").await.join;
    let environ = AgentRun::start(&join, &["--once"]).succeed().environ();
    environ.into_iter().map(|(name, value)| (name, String::from_utf8(value).expect("text"))).collect()
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Adds a secret as a person does who reads the labels.
fn add(browser: &Browser, name: &str, value: &str, visibility: &str) {
    browser.press("+ Add Secret");
    browser.wait_for_path("/secrets/new");
    browser.fill("#name", name);
    browser.fill("#value", value);
    browser.click(&format!("[name=visibility][value={visibility}]"));
    browser.follow("Create Secret");
    assert!(browser.has("[role=status]"), "{}", browser.text("main"));
}

fn listed(browser: &Browser) -> Vec<String> {
    browser.texts("table.list tbody th a")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_said_is_what_the_next_session_gets() {
    let site = Site::new().await;
    let (alice, bob) = (site.world.person("alice", Role::Member).await, site.world.person("bob", Role::Member).await);
    let mut browser = site.browser_of(&alice).await;
    assert!(browser.has(".empty"), "a new organization's first page leads on");

    let key = "-----BEGIN KEY-----\nthe first value of alice's\n\ttwo lines and a tab: \u{2713} 'quotes' \"too\" $HOME `x`\n-----END KEY-----\n";
    browser.open(&format!("{}/secrets", site.url));
    add(&browser, "openai-api-key", "ab", "private");
    let page = browser.url();
    // Pasted, as from a clipboard: tabs and line ends arrive as they are.
    for value in [key, "rotated by alice"] {
        browser.open(&page);
        paste(&browser, "#value", value);
        browser.follow("Save new value");
        assert!(browser.has("[role=status]"), "{}", browser.text("main"));
        assert!(!browser.html().contains("rotated by alice") && !browser.html().contains("the first value"));
        assert_eq!(boots_with(&site.world, "alice").await, variables(&[("OPENAI_API_KEY", value)]));
        assert_eq!(boots_with(&site.world, "bob").await, variables(&[]));
    }

    browser.open(&format!("{}/secrets", site.url));
    add(&browser, "pagerduty.token", "a value for all", "shared");
    browser.open(&format!("{}/secrets", site.url));
    add(&browser, "db_url", "postgres://somewhere", "private");
    browser.open(&format!("{}/secrets", site.url));
    assert_eq!(listed(&browser), ["db_url", "openai-api-key", "pagerduty.token"]);
    let of_alice = [
        ("DB_URL", "postgres://somewhere"),
        ("OPENAI_API_KEY", "rotated by alice"),
        ("PAGERDUTY_TOKEN", "a value for all"),
    ];
    assert_eq!(boots_with(&site.world, "alice").await, variables(&of_alice));
    assert_eq!(boots_with(&site.world, "bob").await, variables(&of_alice[2..]));

    // Search as one types, by name, by variable, and by visibility.
    for (typed, found) in [("pager", vec!["pagerduty.token"]), ("DB_U", vec!["db_url"]), ("nothing like it", vec![])] {
        browser.fill("[name=q]", typed);
        let expected = json!(found);
        browser.wait_for(&format!(
            "JSON.stringify([...document.querySelectorAll('table.list tbody th a')].map(a => a.innerText)) == JSON.stringify({expected})"
        ));
    }
    browser.open(&format!("{}/secrets?visibility=shared", site.url));
    assert_eq!(listed(&browser), ["pagerduty.token"]);

    // The switch.
    browser.open(&page);
    for (state, left) in [("false", &of_alice[..1]), ("true", &of_alice[..2])] {
        browser.click("button[role=switch]");
        browser.wait_for(&format!("document.querySelector('button[role=switch]').ariaChecked == '{state}'"));
        let got = boots_with(&site.world, "alice").await;
        assert_eq!(got.contains_key("OPENAI_API_KEY"), left.len() == 2, "{state}: {:?}", got.keys());
    }

    // Somebody else sees what is shared, and nothing of what is not: by list, by search, by address.
    let other = site.browser_of(&bob).await;
    assert_eq!(listed(&other), ["pagerduty.token"]);
    other.open(&format!("{}/secrets?q=openai", site.url));
    assert_eq!(listed(&other), Vec::<String>::new());
    other.open(&page);
    assert!(!other.html().contains("openai") && !other.html().contains("OPENAI"));
    let hidden = other.text("main");
    other.open(&format!("{}/secrets/{}", site.url, "a".repeat(26)));
    assert_eq!(hidden, other.text("main"), "what is another's reads as what never was");

    // Gone.
    browser.open(&page);
    browser.press("Delete openai-api-key");
    browser.wait_for("location.pathname.endsWith('/delete')");
    browser.press("Delete openai-api-key");
    browser.wait_for_path("/secrets");
    assert_eq!(listed(&browser), ["db_url", "pagerduty.token"]);
    assert_eq!(boots_with(&site.world, "alice").await, variables(&[of_alice[0], of_alice[2]]));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let values = ["the first value", "rotated by alice", "a value for all", "postgres://somewhere"];
    let log = std::fs::read_to_string(&site.world.log).expect("a log");
    assert!(log.contains("/secrets/new") || log.contains("listening"), "nothing is logged at all");
    assert_eq!(values.iter().filter(|value| log.contains(**value)).count(), 0);
    let left: Vec<_> = values.iter().flat_map(|value| browser.ends_with(value)).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new(), "the browser kept a value");
    assert!(!browser.ends_with("/secrets/new").is_empty(), "it kept nothing at all");
    assert_eq!(other.complaints().iter().filter(|c| !c.contains("404")).count(), 0);
}

/// Puts a text into a field in one piece, as the clipboard does.
fn paste(browser: &Browser, selector: &str, text: &str) {
    browser.click(selector);
    browser.devtools("Input.insertText", json!({ "text": text }));
}

/// Two tabs on one secret: the second to save is told, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_tab_does_not_overwrite_the_first() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    let id = alice.create("api-key", Visibility::Private, b"the first value").await.id;
    let page = format!("{}/secrets/{id}", site.url);
    let (one, two) = (site.browser_of(&alice).await, site.browser_of(&alice).await);
    one.open(&page);
    two.open(&page);
    one.fill("#value", "by the first tab");
    one.follow("Save new value");
    assert!(one.has("[role=status]"), "{}", one.text("main"));
    two.fill("#value", "by the second tab");
    two.follow("Save new value");
    assert!(two.has("[role=alert]"), "{}", two.text("main"));
    assert!(!two.html().contains("by the second tab"), "what was typed is not on the page that refuses it");
    assert_eq!(boots_with(&site.world, "alice").await, variables(&[("API_KEY", "by the first tab")]));
    // From the page that told it, it works.
    two.fill("#value", "after all");
    two.follow("Save new value");
    assert!(two.has("[role=status]"), "{}", two.text("main"));
    assert_eq!(boots_with(&site.world, "alice").await, variables(&[("API_KEY", "after all")]));
}

/// A push started on a secret's page reaches a running session, and the page follows without being asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_moves_on_the_page() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    let id = alice.create("api-key", Visibility::Private, b"the first value").await.id;
    let session = site.world.session("alice", "default").await;
    let agent = AgentRun::start(&session.join, &[]);
    wait_for("the agent's files", || agent.dir.join("environ").exists());
    // One that never answers, so that the rollout is under way for as long as we look.
    let silent = crate::world::enrol_session(&site.world.session("alice", "default").await.join).await;

    let browser = site.browser_of(&alice).await;
    browser.open(&format!("{}/secrets/{id}", site.url));
    browser.fill("#value", "the second value");
    browser.follow("Save new value");
    assert!(browser.has("[role=status]"), "{}", browser.text("main"));
    assert_eq!(agent.environ()["API_KEY"], b"the first value", "an edit alone changes no running session");
    drop(silent);
    browser.press("Push the current value now");
    browser.wait_for("location.pathname.startsWith('/rollouts/')");
    browser.run("window.stayed = true", &json!([]));
    wait_for("the agent has it", || agent.environ()["API_KEY"] == b"the second value");
    browser.wait_for("document.body.innerText.includes('1 of 1')");
    assert_eq!(browser.run("return window.stayed", &json!([])), json!(true), "the page was not loaded again");
}
