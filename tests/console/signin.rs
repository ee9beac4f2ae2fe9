//! Ways in and out: the link, and what ends a session.

use keyfob::wire::v1::{self, Role};

use crate::site::Site;

/// Once, by whoever presses the button, and not by what only looks.
#[tokio::test(flavor = "multi_thread")]
async fn by_link() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    let link = site.link(&alice).await;
    let (_, path) = link.split_once(&site.url).map(|(_, path)| ((), path)).expect("a link to this console");
    for _ in 0..3 {
        let looked = site.nobody().get(path);
        assert_eq!((looked.status, looked.header("set-cookie")), (200, None));
        assert_eq!(looked.header("referrer-policy"), Some("no-referrer"));
    }
    let browser = site.browser();
    browser.open(&link);
    assert!(browser.text("main").contains("alice"));
    browser.press("Sign in");
    browser.wait_for_path("/secrets");
    assert_eq!(browser.text(".account .who"), "alice");

    let second = site.browser();
    second.open(&link);
    assert!(second.has("[role=alert]"), "{}", second.text("main"));
    assert!(!second.has("form button"), "it offers nothing");

    // The command that people type gives the same.
    let cli = site.world.cli("bob", Role::Member).await;
    let printed = cli.run(&["console", "--no-browser"]).ok();
    let link = printed.split_whitespace().find(|word| word.starts_with(&site.url)).expect("a link");
    second.open(link);
    second.press("Sign in");
    second.wait_for_path("/secrets");
    assert_eq!(second.text(".account .who"), "bob");
}

/// What ends a session: oneself, oneself elsewhere, an admin. A restart does not.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_it() {
    let mut site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    let (here, there) = (site.visitor(&alice).await, site.visitor(&alice).await);
    site.world.restart().await;
    assert_eq!((here.get("/secrets").status, there.get("/secrets").status), (200, 200), "it outlives the server");

    assert_eq!(here.post("/signout", &[]).status, 303);
    assert_eq!((here.get("/secrets").status, there.get("/secrets").status), (401, 200));
    let third = site.visitor(&site.world.person("bob", Role::Member).await).await;
    let mut alice = alice;
    alice.reconnect(&site.world.address).await;
    let here = site.visitor(&alice).await;
    assert_eq!(here.post("/signout-everywhere", &[]).status, 303);
    assert_eq!((here.get("/secrets").status, there.get("/secrets").status), (401, 401));

    assert_eq!(third.get("/secrets").status, 200);
    site.world.admin().users().remove_user(v1::RemoveUserRequest { name: "bob".into() }).await.expect("removed");
    assert_eq!(third.get("/secrets").status, 401, "whoever is removed is out at once");
}

/// Trying costs time.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down() {
    let site = Site::new().await;
    let token = "A".repeat(43);
    let answers: Vec<_> = (0..40).map(|_| site.nobody().post("/signin", &[("link", &token)]).status).collect();
    assert!(answers[..10].iter().all(|status| *status == 401), "{answers:?}");
    assert_eq!(answers.last(), Some(&429), "{answers:?}");
}
