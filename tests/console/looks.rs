//! Every page, looked at: a picture of each, light and dark, on a laptop and a phone; what axe-core says of it; how heavy it is and
//! how soon it is painted. Pictures and figures are left in `target/console/`.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use keyfob::wire::v1::{self, Role, Visibility};
use serde_json::json;

use crate::{
    axe,
    driver::{Browser, Screen},
    site::Site,
    world::{AgentRun, Api, ORG, World, enrol_session, plain, wait_for},
};

/// Of a page with all that it loads.
pub const HEAVIEST: u64 = 100 * 1024;

/// Bytes of a page and of all that it loads, without what HTTP adds.
pub fn weight(browser: &Browser) -> u64 {
    let sum = "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
               .reduce((sum, e) => sum + e.encodedBodySize, 0)";
    browser.run(sum, &json!([])).as_u64().expect("a number")
}

fn kept() -> PathBuf {
    // CARGO_TARGET_TMPDIR is `tmp` in the target directory.
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").join("console");
    fs::create_dir_all(&dir).expect("the target directory is ours");
    dir
}

#[derive(Default)]
struct Look {
    figures: String,
    wrong: Vec<String>,
    lesser: Vec<String>,
    painted: Vec<u64>,
    heaviest: u64,
}

impl Look {
    fn at(&mut self, browser: &Browser, site: &Site, name: &str, path: &str) {
        self.answered(browser, site, name, path, 200);
    }

    fn answered(&mut self, browser: &Browser, site: &Site, name: &str, path: &str, status: u16) {
        for screen in [Screen::Desktop, Screen::Phone] {
            for dark in [false, true] {
                browser.look_at(screen);
                browser.dark(dark);
                browser.open(&format!("{}{path}", site.url));
                let shade = if dark { "dark" } else { "light" };
                self.seen(browser, screen, &format!("{name}-{screen:?}-{shade}").to_lowercase());
            }
        }
        let got = browser.run("return performance.getEntriesByType('navigation')[0].responseStatus", &json!([]));
        if got != json!(status) {
            self.wrong.push(format!("{name}: {path} answers {got}"));
        }
        self.weigh(browser, name);
        self.fits(browser, name);
        browser.look_at(Screen::Desktop);
        browser.dark(false);
    }

    /// The page that is there by now, which no address leads to.
    fn here(&mut self, browser: &Browser, name: &str) {
        for screen in [Screen::Desktop, Screen::Phone] {
            for dark in [false, true] {
                browser.look_at(screen);
                browser.dark(dark);
                let shade = if dark { "dark" } else { "light" };
                self.seen(browser, screen, &format!("{name}-{screen:?}-{shade}").to_lowercase());
            }
        }
        self.weigh(browser, name);
        self.fits(browser, name);
        browser.look_at(Screen::Desktop);
        browser.dark(false);
    }

    fn seen(&mut self, browser: &Browser, screen: Screen, name: &str) {
        browser.shot(screen, &kept().join(format!("{name}.png")));
        let (serious, lesser) = axe::violations(browser);
        self.wrong.extend(serious.into_iter().map(|v| format!("{name}: {v}")));
        self.lesser.extend(lesser.into_iter().map(|v| format!("{name}: {v}")));
    }

    /// Nobody scrolls sideways: not on a small phone or at 400 %, not on a tablet, not in half a window.
    fn fits(&mut self, browser: &Browser, name: &str) {
        for width in [320, 390, 780, 1024, 1280] {
            browser.sized(width, 800, width < 500);
            let wide = browser.run("return document.documentElement.scrollWidth - innerWidth", &json!([]));
            if wide.as_i64().is_none_or(|px| px > 0) {
                self.wrong.push(format!("{name}: {wide} px wider than a screen of {width}"));
            }
        }
    }

    fn weigh(&mut self, browser: &Browser, name: &str) {
        browser.wait_for("performance.getEntriesByName('first-contentful-paint').length");
        let figures = browser.run(
            "const page = performance.getEntriesByType('navigation')[0];
             return { page: page.encodedBodySize, answered: page.responseEnd - page.requestStart,
                      painted: performance.getEntriesByName('first-contentful-paint')[0].startTime }",
            &json!([]),
        );
        let weight = weight(browser);
        let line = format!(
            "{name:<28} {:>6.1} KiB in all, {:>5.1} of it the page; answered after {:>4.0} ms, painted after {:>4.0} ms",
            weight as f64 / 1024.0,
            figures["page"].as_f64().unwrap_or_default() / 1024.0,
            figures["answered"].as_f64().unwrap_or_default(),
            figures["painted"].as_f64().unwrap_or_default(),
        );
        self.figures.push_str(&format!("{line}\n"));
        self.painted.push(figures["painted"].as_f64().unwrap_or_default() as u64);
        self.heaviest = self.heaviest.max(weight);
        if weight > HEAVIEST {
            self.wrong.push(format!("too heavy: {line}"));
        }
    }

    fn end(self, title: &str) {
        fs::write(kept().join(format!("{title}.txt")), format!("{}\n{}\n", self.figures, self.lesser.join("\n")))
            .expect("the target directory is ours");
        let (first, last) = (self.painted.iter().min(), self.painted.iter().max());
        let line = format!(
            "{title}: {} pages, at most {:.1} KiB in all, painted after {} to {} ms\n",
            self.painted.len(),
            self.heaviest as f64 / 1024.0,
            first.unwrap_or(&0),
            last.unwrap_or(&0),
        );
        io::stdout().write_all(line.as_bytes()).expect("standard output"); // told, and not asserted
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

fn look() -> Look {
    Look::default()
}

/// What a new organization sees, and whoever is not in.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_new_organization() {
    let site = Site::with_provider(&[]).await;
    let mut look = look();
    let browser = site.browser();
    look.at(&browser, &site, "signin", "/signin");
    look.at(&browser, &site, "signin-spent", "/signin?link=spent");
    let link = site.link(site.world.admin()).await;
    look.at(&browser, &site, "signin-link", link.strip_prefix(&site.url).expect("a link to this console"));
    look.answered(&browser, &site, "signed-out", "/secrets", 401);
    site.sign_in(&browser, site.world.admin()).await;
    for page in ["secrets", "environments", "sessions", "rollouts", "audit", "members", "preview"] {
        look.at(&browser, &site, &format!("empty-{page}"), &format!("/{page}"));
    }
    look.answered(&browser, &site, "not-found", "/nothing/here", 404);
    look.end("new");
}

/// An organization at work.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_an_organization_at_work() {
    let site = Site::new().await;
    let at_work = furnish(&site.world).await;
    let browser = site.browser_of(&at_work.alice).await;
    let mut look = look();
    let secret = |id: &str| format!("/secrets/{id}");
    look.at(&browser, &site, "secrets", "/secrets");
    browser.open(&format!("{}/secrets", site.url));
    browser.shot_of(1200, 640, &kept().join("readme.png"));
    look.at(&browser, &site, "secrets-found", "/secrets?q=key&visibility=shared");
    look.at(&browser, &site, "secrets-none", "/secrets?q=nothing-like-it");
    look.at(&browser, &site, "secret-new", "/secrets/new");
    look.at(&browser, &site, "secret", &secret(&at_work.secret));
    look.at(&browser, &site, "secret-leaked", &secret(&at_work.leaked));
    look.at(&browser, &site, "secret-long", &secret(&at_work.long));
    look.at(&browser, &site, "secret-delete", &format!("/secrets/{}/delete", at_work.secret));
    look.at(&browser, &site, "environments", "/environments");
    look.at(&browser, &site, "environment", "/environments/default");
    look.at(&browser, &site, "environment-history", "/environments/default/history?from=1&to=3");
    look.at(&browser, &site, "sessions", "/sessions");
    look.at(&browser, &site, "session", &format!("/sessions/{}", at_work.session));
    look.at(&browser, &site, "rollouts", "/rollouts");
    look.at(&browser, &site, "rollout", &format!("/rollouts/{}", at_work.rollout));
    look.at(&browser, &site, "preview", "/preview");
    look.answered(&browser, &site, "forbidden", "/members", 403);
    refused(&mut look, &browser, &site, &at_work.secret);
    let browser = site.browser_of(site.world.admin()).await;
    look.at(&browser, &site, "audit", "/audit");
    look.at(&browser, &site, "audit-filtered", "/audit?action=secret.create");
    look.at(&browser, &site, "members", "/members");
    look.at(&browser, &site, "member", "/members/member?name=alice");
    look.at(&browser, &site, "environment-edit", "/environments/default");
    look.at(&browser, &site, "sessions-all", "/sessions?all=on");
    look.at(&browser, &site, "preview-of-alice", "/preview?user=alice");
    browser.open(&format!("{}/members", site.url));
    browser.fill("#name", "dora");
    browser.follow("Invite");
    look.here(&browser, "member-invited");
    browser.open(&format!("{}/audit", site.url));
    browser.follow("Verify");
    look.here(&browser, "audit-verified");
    look.end("at-work");
}

/// What is seen when something can't be as one wanted it, and what is said after it could.
fn refused(look: &mut Look, browser: &Browser, site: &Site, secret: &str) {
    browser.open(&format!("{}/secrets/new", site.url));
    browser.fill("#name", "db-url");
    browser.fill("#value", "a");
    browser.click("[name=visibility][value=shared]");
    browser.wait_for("document.getElementById('checked').innerText.includes('db_url')");
    browser.follow("Create Secret");
    look.here(browser, "secret-new-refused");
    browser.open(&format!("{}/secrets/{secret}", site.url));
    browser.run("document.querySelector('[name=version]').value = 'a'.repeat(26)", &json!([]));
    browser.fill("#value", "a");
    browser.follow("Save new value");
    look.here(browser, "secret-conflict");
    browser.fill("#value", "a");
    browser.follow("Save new value");
    look.here(browser, "secret-saved");
    browser.click(".account summary");
    look.here(browser, "account");
}

struct AtWork {
    alice: Api,
    secret: String,
    leaked: String,
    long: String,
    session: String,
    rollout: String,
    _agents: Vec<AgentRun>,
}

async fn furnish(world: &World) -> AtWork {
    let alice = world.person("alice", Role::Member).await;
    let bob = world.person("bob", Role::Member).await;
    world.person("ci", Role::Orchestrator).await;
    world.invite("charlotte-the-newcomer", Role::Member).await;
    let add =
        async |by: &Api, name: &str, visibility: Visibility, description: &str, off: bool, delivery: v1::Delivery| {
            let request = v1::CreateSecretRequest {
                name: name.into(),
                visibility: visibility.into(),
                value: Some(plain(format!("a long enough value of {name}").as_bytes())),
                description: description.into(),
                no_auto_install: off,
                delivery: delivery.into(),
                ..Default::default()
            };
            by.secrets().create_secret(request).await.expect("it is stored").into_inner().secret.expect("a secret")
        };
    use Visibility::{Private, Shared};
    let (env, file) = (v1::Delivery::Env, v1::Delivery::File);
    add(world.admin(), "openai-api-key", Shared, "Team account, billed to platform", false, env).await;
    let secret = add(&alice, "openai-api-key", Private, "My own key, for experiments", false, env).await;
    add(world.admin(), "pagerduty.token", Shared, "", false, env).await;
    let leaked = add(
        &alice,
        "db_url",
        Shared,
        "Read replica. Ask the platform team before you change it: twelve services use it.",
        false,
        env,
    )
    .await;
    add(&alice, "deploy-key", Private, "", true, file).await;
    add(&bob, "tls-client-cert", Shared, "For the staging gateway", false, file).await;
    add(&alice, "npm_token", Private, "", false, env).await;
    let long = add(&alice, &"very.long-".repeat(12), Private, &"no end of words ".repeat(60), false, env).await;

    for (n, set) in [("1", "development"), ("2", "production"), ("3", "production")] {
        let variable =
            |variable: &str, value: &str| v1::EnvironmentVariable { variable: variable.into(), value: value.into() };
        let request = v1::UpdateEnvironmentRequest {
            name: "default".into(),
            set: vec![variable("NODE_ENV", set), variable("LOG_LEVEL", "info"), variable("RELEASE", n)],
            ..Default::default()
        };
        world.admin().environments().update_environment(request).await.expect("the admin sets");
    }
    let request = v1::CreateEnvironmentRequest { name: "gpu-large".into(), description: "For training runs".into() };
    world.admin().environments().create_environment(request).await.expect("the admin makes one");

    let mut agents = Vec::new();
    let made = world.session("alice", "default").await;
    let session = made.session.expect("a session").id;
    let agent = AgentRun::start(&made.join, &[]);
    wait_for("the agent's files", || agent.dir.join("environ").exists());
    agents.push(agent);
    let made = world.session("alice", "default").await;
    let printed = enrol_session(&made.join).await;
    printed.fetch(ORG, &made.session.expect("a session").id).await.expect("a bundle");
    for (unit, form, count) in [("web.service", "raw", 3), ("exec", "base64", 1)] {
        let leak = v1::Leak {
            variable: leaked.variable.clone(),
            version: leaked.version.clone(),
            form: form.into(),
            unit: unit.into(),
            count,
        };
        printed.leaked([leak]).await.expect("its own report");
    }
    world.session("bob", "default").await;
    let ended = world.session("alice", "gpu-large").await.session.expect("a session").id;
    world.admin().sessions().end_session(v1::EndSessionRequest { id: ended }).await.expect("it ends");
    let revoked = world.session("alice", "default").await.session.expect("a session").id;
    world.admin().sessions().revoke_session(v1::RevokeSessionRequest { id: revoked }).await.expect("it is revoked");

    // One session takes the new value, the other is silent: a rollout under way.
    let request = v1::RotateSecretRequest {
        r#ref: Some(v1::SecretRef { id: leaked.id.clone(), ..Default::default() }),
        value: Some(plain(b"another long enough value")),
        push: Some(v1::PushOptions { max_in_flight: 10, patience_seconds: 3_600 }),
        ..Default::default()
    };
    let rollout = alice.secrets().rotate_secret(request).await.expect("rotated").into_inner().rollout;
    AtWork { alice, secret: secret.id, leaked: leaked.id, long: long.id, session, rollout, _agents: agents }
}
