//! The other pages, each taken at its word: environments reach sessions, sessions end, members come and go, the record is whole.

use keyfob::wire::v1::{self, Role, Visibility};
use serde_json::json;

use crate::{
    site::Site,
    world::{AgentRun, Cli, wait_for},
};

/// Variables set, compared and put back; the next session has what the page said.
#[tokio::test(flavor = "multi_thread")]
async fn environments() {
    let site = Site::new().await;
    let browser = site.browser_of(site.world.admin()).await;
    let boots_with = async || {
        let join = site.world.session("", "default").await.join;
        AgentRun::start(&join, &["--once"]).succeed().environ()
    };
    for (version, variable, value) in [(2, "NODE_ENV", "development"), (3, "LOG_LEVEL", "debug 'quoted' <b>")] {
        browser.open(&format!("{}/environments/default", site.url));
        browser.fill("[name='new.1']", variable);
        browser.fill("[name='value.1']", value);
        browser.follow(&format!("Save as version {version}"));
        assert!(browser.has("[role=status]"), "{}", browser.text("main"));
    }
    browser.fill("[name='set.NODE_ENV']", "production");
    browser.click("[name='remove.LOG_LEVEL']");
    browser.follow("Save as version 4");
    assert!(browser.has("[role=status]"), "{}", browser.text("main"));
    assert_eq!(boots_with().await.get("NODE_ENV").map(Vec::as_slice), Some(&b"production"[..]));

    browser.open(&format!("{}/environments/default/history?from=3&to=4", site.url));
    let difference = browser.text("main");
    for part in ["development", "production", "LOG_LEVEL", "<b>"] {
        assert!(difference.contains(part), "{part} is not in {difference}");
    }
    browser.open(&format!("{}/environments/default/history?from=4&to=3", site.url));
    browser.follow("Restore version 3");
    assert!(browser.has("[role=status]"), "{}", browser.text("main"));
    let environ = boots_with().await;
    assert_eq!(environ.get("NODE_ENV").map(Vec::as_slice), Some(&b"development"[..]));
    assert_eq!(environ.get("LOG_LEVEL").map(Vec::as_slice), Some(&b"debug 'quoted' <b>"[..]));

    // Members look, and change nothing.
    let member = site.browser_of(&site.world.person("alice", Role::Member).await).await;
    member.open(&format!("{}/environments/default", site.url));
    assert!(member.text("main").contains("NODE_ENV"));
    assert!(!member.has("form.variables"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// A session appears, gets ready and ends on a page that nobody loads again.
#[tokio::test(flavor = "multi_thread")]
async fn sessions() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    alice.create("api-key", Visibility::Private, b"a value of alice").await;
    let browser = site.browser_of(&alice).await;
    site.world.session("alice", "default").await;
    browser.open(&format!("{}/sessions", site.url));
    browser.run("window.stayed = true", &json!([]));
    let made = site.world.session("alice", "default").await;
    let agent = AgentRun::start(&made.join, &[]);
    wait_for("the agent's files", || agent.dir.join("environ").exists());
    browser.wait_for("[...document.querySelectorAll('tbody tr')].some(row => row.innerText.includes('ready'))");
    assert_eq!(browser.run("return window.stayed", &json!([])), json!(true), "the page was not loaded again");

    let id = made.session.expect("a session").id;
    browser.open(&format!("{}/sessions/{id}", site.url));
    assert!(browser.text("main").contains("$API_KEY"), "{}", browser.text("main"));
    assert!(!browser.html().contains("a value of alice"));
    browser.follow("End session");
    assert!(browser.has("[role=status]"), "{}", browser.text("main"));
    let get = v1::GetSessionRequest { id };
    let session = alice.sessions().get_session(get).await.expect("it is hers").into_inner().session.expect("a session");
    assert_eq!(session.state(), v1::SessionState::Ended);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Invited on a page, logged in with what it shows once; promoted, and removed.
#[tokio::test(flavor = "multi_thread")]
async fn members() {
    let site = Site::new().await;
    let browser = site.browser_of(site.world.admin()).await;
    browser.open(&format!("{}/members", site.url));
    browser.fill("#name", "carol");
    browser.press("Invite");
    browser.wait_for("document.querySelector('pre.command')");
    let join = browser.text("pre.command");
    let carol = Cli { home: site.world.dir.path().join("home-of-carol") };
    carol.run_with(&["login", "--join-file", "-"], join.as_bytes()).ok();
    browser.back();
    browser.open(&format!("{}/members", site.url));
    assert!(!browser.html().contains(&join), "it is shown once");

    let printed = carol.run(&["console", "--no-browser"]).ok();
    let link = printed.split_whitespace().find(|word| word.starts_with(&site.url)).expect("a link").to_owned();
    let hers = site.browser();
    hers.open(&link);
    hers.press("Sign in");
    hers.wait_for_path("/secrets");
    hers.open(&format!("{}/members", site.url));
    assert!(!hers.text("main").contains("root"), "members are for admins");

    browser.open(&format!("{}/members/member?name=carol", site.url));
    browser.click("[name=role][value=admin]");
    browser.follow("Save role");
    assert!(browser.has("[role=status]"), "{}", browser.text("main"));
    hers.open(&format!("{}/members", site.url));
    assert!(hers.text("main").contains("carol"));

    browser.open(&format!("{}/members/member?name=carol", site.url));
    browser.follow("Remove carol");
    assert!(browser.has("[role=status]"), "{}", browser.text("main"));
    hers.open(&format!("{}/secrets", site.url));
    assert!(!hers.has(".account"), "out at once");
}

/// Found by filters, whole by verification, and as a file.
#[tokio::test(flavor = "multi_thread")]
async fn the_record() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    alice.create("api-key", Visibility::Shared, b"a value of alice").await;
    let browser = site.browser_of(site.world.admin()).await;
    browser.open(&format!("{}/audit", site.url));
    let all = browser.texts("tbody tr").len();
    browser.fill("[name=action]", "secret.create");
    browser.wait_for(&format!(
        "document.querySelectorAll('tbody tr').length > 0 && document.querySelectorAll('tbody tr').length < {all}"
    ));
    let found = browser.texts("tbody tr");
    assert!(found.iter().all(|row| row.contains("secret.create")), "{found:?}");
    assert!(browser.text("tbody tr").contains("alice"));
    browser.press("Verify");
    browser.wait_for("document.body.innerText.includes('The chain is whole')");

    let export = site.visitor(site.world.admin()).await.get("/audit/export?action=secret.create");
    assert!(export.header("content-disposition").is_some_and(|d| d.starts_with("attachment")));
    let lines: Vec<serde_json::Value> =
        export.text().lines().map(|line| serde_json::from_str(line).expect("JSON a line")).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["action"], "secret.create");
}

/// What the next session would get is what it gets.
#[tokio::test(flavor = "multi_thread")]
async fn preview() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    site.world.admin().create("api-key", Visibility::Shared, b"a value for all").await;
    alice.create("api-key", Visibility::Private, b"a value of alice").await;
    alice.create("db-url", Visibility::Private, b"another value of alice").await;
    let off = v1::UpdateSecretRequest {
        r#ref: Some(v1::SecretRef { name: "db-url".into(), ..Default::default() }),
        auto_install: Some(false),
        ..Default::default()
    };
    alice.secrets().update_secret(off).await.expect("hers");
    let browser = site.browser_of(&alice).await;
    browser.open(&format!("{}/preview", site.url));
    let page = browser.text("main");
    assert!(page.contains("$API_KEY"), "{page}");
    let join = site.world.session("alice", "default").await.join;
    let environ = AgentRun::start(&join, &["--once"]).succeed().environ();
    assert_eq!(environ.keys().collect::<Vec<_>>(), ["API_KEY"]);
    let rows = browser.texts("tbody tr");
    let installed: Vec<_> = rows.iter().filter(|row| row.contains("API_KEY") || row.contains("DB_URL")).collect();
    assert!(installed.iter().any(|row| row.contains("API_KEY") && row.contains("Private")), "{rows:?}");
    assert!(
        rows.iter().any(|row| row.contains("DB_URL")) || page.contains("db-url"),
        "what is left out is said: {page}"
    );
}
