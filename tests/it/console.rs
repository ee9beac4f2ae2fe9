//! The console, as a browser's side of the wire sees it: headers, cookie, sign-in by link, CSRF, the ends of sessions. What only a
//! real browser can tell is in tests/console.

mod pages;

use std::sync::Arc;

use keyfob::wire::v1::{self, Role, Visibility};
use rusqlite::Connection;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::world::{Api, World, enrol_session};

/// Speaks HTTP/1.1 and keeps cookies; checks the server's certificate as browsers do, by name.
pub struct Browser {
    config: Arc<ClientConfig>,
    origin: String,
    cookies: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    /// What stands between two texts on the page.
    fn between(&self, before: &str, after: &str) -> &str {
        let start = self.body.split_once(before).unwrap_or_else(|| panic!("no {before} in {}", self.body)).1;
        start.split_once(after).expect("an end").0
    }

    pub fn csrf(&self) -> &str {
        self.between("name=\"csrf\" value=\"", "\"")
    }
}

impl Browser {
    fn new(world: &World) -> Self {
        let mut roots = RootCertStore::empty();
        world.admin().credentials.roots.iter().for_each(|root| roots.add(root.clone()).expect("our authority"));
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let origin = world.console.clone().expect("a console");
        Self { config: Arc::new(config), origin, cookies: Vec::new() }
    }

    async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = [&[("Connection", "close")], headers].concat();
        self.converse(method, path, &headers, body).await
    }

    /// A form of a page of ours, over a connection that could go on: how the server ends it is up to it.
    pub async fn post_and_stay(&mut self, path: &str, body: &str) -> Answer {
        let sent = self.converse("POST", path, &[("Sec-Fetch-Site", "same-origin"), ("Origin", "null")], body);
        tokio::time::timeout(std::time::Duration::from_secs(10), sent).await.expect("the server ends the connection")
    }

    async fn converse(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let host = self.origin.trim_start_matches("https://").to_owned();
        let tcp = TcpStream::connect(&host).await.expect("the console listens");
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let mut tls = TlsConnector::from(self.config.clone()).connect(name, tcp).await.expect("a certificate for it");
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request.push_str(&format!("Cookie: {}\r\n", cookies.join("; ")));
        }
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        if method == "POST" {
            request.push_str(&format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        tls.write_all(format!("{request}\r\n{body}").as_bytes()).await.expect("a request");
        let mut bytes = Vec::new();
        let _ = tls.read_to_end(&mut bytes).await; // some servers forget to say goodbye; the answer is there
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        for (_, cookie) in headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (pair, attributes) = cookie.split_once("; ").expect("attributes");
            let (name, value) = pair.split_once('=').expect("a cookie");
            self.cookies.retain(|(other, _)| other != name);
            if !attributes.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        Answer { status, headers, body: body.to_owned() }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[("Sec-Fetch-Site", "none")], "").await
    }

    /// As a form on a page of ours.
    async fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("Sec-Fetch-Site", "same-origin"), ("Origin", "null")], body).await
    }

    async fn sign_in(&mut self, who: &Api) -> Answer {
        let link = link(who).await;
        self.post("/signin", &format!("link={}", token(&link))).await
    }

    /// A member's own browser, signed in.
    pub async fn of(world: &World, who: &Api) -> Self {
        let mut browser = Self::new(world);
        assert_eq!(browser.sign_in(who).await.status, 303);
        browser
    }

    async fn is_in(&mut self) -> bool {
        let answer = self.get("/secrets").await;
        assert!(matches!(answer.status, 200 | 401), "{answer:?}");
        answer.status == 200
    }

    /// Fills in a form that this page has.
    async fn submit(&mut self, page: &str, to: &str, fields: &str) -> Answer {
        let csrf = self.get(page).await.csrf().to_owned();
        self.post(to, &format!("csrf={csrf}&{fields}")).await
    }
}

async fn world() -> World {
    World::with_arguments(&["--console-listen", "127.0.0.1:0"]).await
}

async fn link(who: &Api) -> String {
    who.console().create_link(v1::CreateLinkRequest {}).await.expect("a link").into_inner().url
}

fn token(link: &str) -> &str {
    link.split_once("link=").expect("a token").1
}

/// As if so many seconds had passed.
fn pass(world: &World, table: &str, column: &str, seconds: i64) {
    let sql = format!("UPDATE {table} SET {column} = {column} - {}", seconds * 1_000_000);
    let changed = Connection::open(world.database()).and_then(|db| db.execute(&sql, [])).expect("our own database");
    assert!(changed > 0, "nothing in {table}");
}

#[tokio::test]
async fn every_answer_has_the_headers() {
    let world = world().await;
    let mut nobody = Browser::new(&world);
    let mut root = Browser::of(&world, world.admin()).await;
    let style = root.get("/secrets").await.between("stylesheet\" href=\"", "\"").to_owned();
    for (path, status, signed_in) in [
        ("/", 303, false),
        ("/signin", 200, false),
        ("/secrets", 401, false),
        ("/nothing", 404, false),
        (&*style, 200, false),
        ("/secrets", 200, true),
        ("/secrets/new", 200, true),
        ("/nothing", 404, true),
    ] {
        let answer = if signed_in { &mut root } else { &mut nobody }.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.split("; ").any(|given| given == part), "{path}: {part} in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        let kept = if path == style { "public, max-age=31536000, immutable" } else { "no-store" };
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", kept),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        for inline in ["style=\"", "<style", "onclick", "<script>"] {
            assert!(!answer.body.contains(inline), "{path} has {inline}");
        }
    }
}

#[tokio::test]
async fn the_cookie_is_for_this_host_for_no_script_and_for_no_other_site() {
    let world = world().await;
    let mut browser = Browser::new(&world);
    let answer = browser.sign_in(world.admin()).await;
    let (name, attributes) = answer.header("set-cookie").split_once('=').expect("a cookie");
    assert_eq!(name, "__Host-keyfob");
    let attributes: Vec<&str> = attributes.split("; ").skip(1).collect();
    assert_eq!(attributes, ["Path=/", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=43200"]);
    let stored = std::fs::read(world.database()).expect("the database");
    let cookie = browser.cookies[0].1.clone();
    assert!(!stored.windows(cookie.len()).any(|w| w == cookie.as_bytes()), "the cookie is stored");
}

#[tokio::test]
async fn a_link_works_once_for_a_minute_and_looking_at_it_uses_nothing_up() {
    let world = world().await;
    let mut browser = Browser::new(&world);
    let made = world.admin().console().create_link(v1::CreateLinkRequest {}).await.expect("a link").into_inner();
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    assert!((now + 55..=now + 61).contains(&made.expires_at.expect("an end").seconds));
    let path = made.url.strip_prefix(&browser.origin).expect("a link to the console").to_owned();
    for _ in 0..2 {
        let page = browser.get(&path).await;
        assert!(page.status == 200 && page.body.contains("root") && browser.cookies.is_empty(), "{page:?}");
    }
    let body = format!("link={}", token(&made.url));
    assert_eq!(browser.post("/signin", &body).await.status, 303);
    assert!(browser.is_in().await);
    let mut second = Browser::new(&world);
    assert_eq!(second.post("/signin", &body).await.status, 401);
    assert!(!second.is_in().await);
    assert!(second.get(&path).await.body.contains("does not work any more"));

    let late = link(world.admin()).await;
    pass(&world, "console_links", "expires_at", 60);
    assert_eq!(second.post("/signin", &format!("link={}", token(&late))).await.status, 401);
    assert!(!second.is_in().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_use_a_link_one_is_signed_in() {
    let world = world().await;
    let link = link(world.admin()).await;
    let body = format!("link={}", token(&link));
    let tries = (0..16).map(|_| {
        let (mut browser, body) = (Browser::new(&world), body.clone());
        tokio::spawn(async move { browser.post("/signin", &body).await.status })
    });
    let mut statuses = Vec::new();
    for tried in tries.collect::<Vec<_>>() {
        statuses.push(tried.await.expect("an answer"));
    }
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn sign_ins_that_fail_are_slowed_down() {
    let world = world().await;
    let mut browser = Browser::new(&world);
    let mut statuses = Vec::new();
    for _ in 0..22 {
        statuses.push(browser.post("/signin", &format!("link={}", "A".repeat(43))).await.status);
    }
    assert_eq!((statuses[0], statuses[19], statuses[20], statuses[21]), (401, 401, 429, 429), "{statuses:?}");
}

#[tokio::test]
async fn a_session_ends_after_an_hour_unused_and_twelve_in_all() {
    let world = world().await;
    let mut browser = Browser::of(&world, world.admin()).await;
    pass(&world, "console_sessions", "used_at", 3_500);
    assert!(browser.is_in().await);
    pass(&world, "console_sessions", "used_at", 3_500); // since the request before, which counted
    assert!(browser.is_in().await);
    pass(&world, "console_sessions", "used_at", 3_601);
    assert!(!browser.is_in().await);

    let mut browser = Browser::of(&world, world.admin()).await;
    pass(&world, "console_sessions", "created_at", 12 * 3_600 - 60);
    assert!(browser.is_in().await);
    pass(&world, "console_sessions", "created_at", 61);
    assert!(!browser.is_in().await);
}

#[tokio::test]
async fn signing_out_removal_and_restart() {
    let mut world = world().await;
    let alice = world.person("alice", Role::Member).await;
    let mut here = Browser::of(&world, &alice).await;
    let mut there = Browser::of(&world, &alice).await;
    let mut third = Browser::of(&world, &alice).await;
    let mut root = Browser::of(&world, world.admin()).await;

    let cookie = here.cookies.clone();
    assert_eq!(here.submit("/secrets", "/signout", "").await.status, 303);
    assert!(here.cookies.is_empty());
    here.cookies = cookie; // who kept it has nothing
    assert!(!here.is_in().await && there.is_in().await);

    world.restart().await;
    assert!(there.is_in().await, "a restart signs nobody out");
    assert_eq!(there.submit("/secrets", "/signout-everywhere", "").await.status, 303);
    assert!(!third.is_in().await && root.is_in().await);

    let mut again = Browser::new(&world);
    let mut alice = alice;
    alice.reconnect(&world.address).await;
    again.sign_in(&alice).await;
    assert!(again.is_in().await);
    let unused = link(&alice).await;
    world.admin().users().remove_user(v1::RemoveUserRequest { name: "alice".into() }).await.expect("removed");
    assert!(!again.is_in().await);
    world.person("alice", Role::Member).await; // somebody else of that name
    assert!(!again.is_in().await, "what is gone does not come back with a name");
    assert_eq!(again.post("/signin", &format!("link={}", token(&unused))).await.status, 401);
}

#[tokio::test]
async fn a_change_comes_from_a_page_of_ours_or_not_at_all() {
    let world = world().await;
    let alice = world.person("alice", Role::Member).await;
    let mut browser = Browser::of(&world, &alice).await;
    let mut other = Browser::of(&world, &alice).await;
    let origin = browser.origin.clone();
    let csrf = browser.get("/secrets/new").await.csrf().to_owned();
    let others = other.get("/secrets/new").await.csrf().to_owned();
    assert_ne!(csrf, others, "each session has its own");
    let form =
        |name: &str, csrf: &str| format!("csrf={csrf}&name={name}&value=a-value-that-is-long&visibility=private");
    for (what, headers, token, expected) in [
        ("ours", vec![("Sec-Fetch-Site", "same-origin"), ("Origin", "null")], &csrf, 303),
        ("of an older browser", vec![("Origin", &*origin)], &csrf, 303),
        ("without a token", vec![("Sec-Fetch-Site", "same-origin")], &String::new(), 403),
        ("with another session's token", vec![("Sec-Fetch-Site", "same-origin")], &others, 403),
        ("of another site", vec![("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")], &csrf, 403),
        ("of a neighbour", vec![("Sec-Fetch-Site", "same-site"), ("Origin", "https://127.0.0.1:1")], &csrf, 403),
        ("of another origin", vec![("Origin", "https://evil.example")], &csrf, 403),
        ("from nowhere", vec![], &csrf, 403),
    ] {
        let name = format!("s-{}", what.replace([' ', '\''], "-"));
        let answer = browser.send("POST", "/secrets/new", &headers, &form(&name, token)).await;
        assert_eq!(answer.status, expected, "{what}: {answer:?}");
        let request = v1::ListSecretsRequest { query: name, ..Default::default() };
        let listed = alice.secrets().list_secrets(request).await.expect("a list").into_inner();
        assert_eq!(listed.secrets.len(), usize::from(expected == 303), "{what}");
    }
    // A link on another site is asked again from a page of ours, and leads to no third one.
    let link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")];
    for (path, again) in [("/secrets?q=a", true), ("//evil.example/", false), ("/\\evil.example/", false)] {
        let answer = Browser::new(&world).send("GET", path, &link, "").await;
        assert_eq!(answer.body.contains("http-equiv=\"refresh\""), again, "{path}: {answer:?}");
    }
    let answer = Browser::new(&world).post("/secrets/new", &form("nobodys", &csrf)).await;
    assert_eq!(answer.status, 401, "without a session");
}

#[tokio::test]
async fn what_is_pasted_is_what_a_session_gets_and_is_seen_nowhere() {
    let world = world().await;
    let alice = world.person("alice", Role::Member).await;
    let mut browser = Browser::of(&world, &alice).await;
    let value = "first line & more\nsecond=line %41 \u{e4}\n";
    let typed = "first+line+%26+more%0D%0Asecond%3Dline+%2541+%C3%A4%0D%0A";
    let fields =
        format!("name=db-url&value={typed}&visibility=private&auto_install=on&delivery=env&description=a+note");
    let created = browser.submit("/secrets/new", "/secrets/new", &fields).await;
    assert_eq!(created.status, 303, "{created:?}");
    let shown = browser.get(created.header("location")).await;
    assert!(shown.body.contains("$DB_URL") && shown.body.contains("a note"), "{}", shown.body);
    let twice = browser.submit("/secrets/new", "/secrets/new", &fields).await;
    assert_eq!(twice.status, 409);
    assert!(twice.body.contains("exists already"), "{}", twice.body);

    let made = world.session("alice", "default").await;
    let session = enrol_session(&made.join).await;
    let bundle = session.fetch("acme", &made.session.expect("a session").id).await.expect("a bundle");
    assert_eq!(bundle.values().get("DB_URL").map(Vec::as_slice), Some(value.as_bytes()));

    let log = std::fs::read_to_string(&world.log).expect("the log");
    for page in [&created.body, &shown.body, &twice.body, &log] {
        assert!(!page.contains("second=line") && !page.contains("second%3Dline"), "{page}");
    }
}

#[tokio::test]
async fn a_second_tab_is_told() {
    let world = world().await;
    let alice = world.person("alice", Role::Member).await;
    let secret = alice.create("db-url", Visibility::Private, b"the first value").await;
    let mut browser = Browser::of(&world, &alice).await;
    let page = browser.get(&format!("/secrets/{}", secret.id)).await;
    let seen = page.between("name=\"version\" value=\"", "\"").to_owned();
    assert_eq!(seen, secret.version);
    let to = format!("/secrets/{}/value", secret.id);
    let form = |csrf: &str, version: &str, value: &str| format!("csrf={csrf}&version={version}&value={value}");
    let first = browser.post(&to, &form(page.csrf(), &seen, "the-second-value")).await;
    assert_eq!(first.status, 303, "{first:?}");
    let second = browser.post(&to, &form(page.csrf(), &seen, "the-third-value")).await;
    assert_eq!(second.status, 409);
    assert!(second.body.contains("Somebody saved another value") && !second.body.contains("the-third-value"));
    let newest = second.between("name=\"version\" value=\"", "\"").to_owned();
    assert_ne!(newest, seen);
    assert_eq!(browser.post(&to, &form(page.csrf(), &newest, "the-third-value")).await.status, 303);
}

#[tokio::test]
async fn privates_of_others_are_not_there() {
    let world = world().await;
    let alice = world.person("alice", Role::Member).await;
    let bob = world.person("bob", Role::Member).await;
    let secret = alice.create("alices-own", Visibility::Private, b"a value of alice").await;
    for who in [&bob, world.admin()] {
        let mut browser = Browser::of(&world, who).await;
        assert!(!browser.get("/secrets").await.body.contains("alices-own"));
        let (absent, own) = (format!("/secrets/{}", "a".repeat(26)), format!("/secrets/{}", secret.id));
        let (absent, hidden) = (browser.get(&absent).await, browser.get(&own).await);
        assert_eq!((absent.status, &absent.body), (hidden.status, &hidden.body));
        assert_eq!(hidden.status, 404);
        let deleted =
            browser.submit("/secrets", &format!("{own}/delete"), &format!("version={}", secret.version)).await;
        assert_eq!(deleted.status, 404);
    }
    assert!(Browser::of(&world, &alice).await.get("/secrets").await.body.contains("alices-own"));
}

#[tokio::test]
async fn what_people_write_is_text() {
    let world = world().await;
    let alice = world.person("alice", Role::Member).await;
    let hostile = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&amp;";
    let request = v1::CreateSecretRequest {
        name: "hostile".into(),
        visibility: Visibility::Shared.into(),
        value: Some(crate::world::plain(b"some value that is long")),
        description: hostile.into(),
        ..Default::default()
    };
    let secret = alice.secrets().create_secret(request).await.expect("stored").into_inner().secret.expect("a secret");
    let mut browser = Browser::of(&world, &alice).await;
    let search = "/secrets?q=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    for path in ["/secrets", &format!("/secrets/{}", secret.id), search] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("&lt;script&gt;alert(1)"), "{path}: {}", page.body);
        assert!(!page.body.contains("<script>alert") && !page.body.contains("<img"), "{path}: {}", page.body);
    }
}
