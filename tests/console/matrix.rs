//! Every route x every kind of visitor x own, shared, deleted, absent: the twin of the calls' matrix (`tests/it/matrix.rs`).
//!
//! The routes are read from the console's source: a new one without a row fails. Each cell has a target of its own.

use std::collections::BTreeSet;

use keyfob::wire::v1::{self, Role, Visibility};

use crate::{
    http::{Answer, form},
    site::{Site, Visitor},
    world::{Api, World},
};

/// In the order of the letters of a row.
const VISITORS: [&str; 7] = [
    "nobody",
    "alice, the owner",
    "bob, a member",
    "root, the admin",
    "another organization's admin",
    "alice, signed out",
    "gone, a removed user",
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum On {
    Nothing,
    Alices,
    AlicesShared,
    Deleted,
    Absent,
    Session,
    Rollout,
    Environment,
    Member,
}

type Row = (&'static str, &'static str, On, &'static str, &'static [(&'static str, &'static str)]);

/// `a` answered, `f` forbidden, `.` as if it did not exist, `u` who are you?
const ROWS: &[Row] = {
    use On::{Absent, Alices, AlicesShared, Deleted, Environment, Member, Nothing, Rollout, Session};
    &[
        ("GET", "/", Nothing, "aaaaaaa", &[]),
        ("GET", "/signin", Nothing, "aaaaaaa", &[]),
        ("POST", "/signin", Nothing, "uuuuuuu", &[("link", "no link")]),
        // There is no provider here; with one, tests/console/oidc.rs.
        ("GET", "/signin/oidc", Nothing, ".......", &[]),
        ("GET", "/signin/callback", Nothing, ".......", &[]),
        ("GET", "/static/{name}", Absent, ".......", &[]),
        ("POST", "/signout", Nothing, "uaaaauu", &[]),
        ("POST", "/signout-everywhere", Nothing, "uaaaauu", &[]),
        ("GET", "/secrets", Nothing, "uaaaauu", &[]),
        ("GET", "/secrets/new", Nothing, "uaaaauu", &[]),
        ("POST", "/secrets/new", Nothing, "uaaaauu", &[("name", "UNIQUE"), ("value", "v"), ("visibility", "private")]),
        ("POST", "/secrets/check", Nothing, "uaaaauu", &[("name", "UNIQUE"), ("visibility", "private")]),
        ("GET", "/secrets/{id}", Alices, "ua...uu", &[]),
        ("GET", "/secrets/{id}", AlicesShared, "uaaa.uu", &[]),
        ("GET", "/secrets/{id}", Deleted, "u....uu", &[]),
        ("GET", "/secrets/{id}", Absent, "u....uu", &[]),
        ("POST", "/secrets/{id}/value", Alices, "ua...uu", &[("value", "new")]),
        ("POST", "/secrets/{id}/value", AlicesShared, "uafa.uu", &[("value", "new")]),
        ("POST", "/secrets/{id}/value", Deleted, "u....uu", &[("value", "new")]),
        ("POST", "/secrets/{id}/value", Absent, "u....uu", &[("value", "new")]),
        ("POST", "/secrets/{id}/auto-install", Alices, "ua...uu", &[]),
        ("POST", "/secrets/{id}/auto-install", AlicesShared, "uafa.uu", &[]),
        ("POST", "/secrets/{id}/auto-install", Absent, "u....uu", &[]),
        ("GET", "/secrets/{id}/delete", Alices, "ua...uu", &[]),
        ("GET", "/secrets/{id}/delete", AlicesShared, "uafa.uu", &[]),
        ("POST", "/secrets/{id}/delete", Alices, "ua...uu", &[]),
        ("POST", "/secrets/{id}/delete", AlicesShared, "uafa.uu", &[]),
        ("POST", "/secrets/{id}/delete", Absent, "u....uu", &[]),
        ("POST", "/secrets/{id}/push", Alices, "ua...uu", &[]),
        ("POST", "/secrets/{id}/push", AlicesShared, "uafa.uu", &[]),
        ("POST", "/secrets/{id}/push", Absent, "u....uu", &[]),
        ("GET", "/secrets/{id}/deliveries", Alices, "ua...uu", &[]),
        ("GET", "/secrets/{id}/deliveries", AlicesShared, "uaaa.uu", &[]),
        ("GET", "/secrets/{id}/deliveries", Absent, "u....uu", &[]),
        ("GET", "/environments", Nothing, "uaaaauu", &[]),
        ("POST", "/environments", Nothing, "uffaauu", &[("name", "UNIQUE")]),
        ("GET", "/environments/{name}", Environment, "uaaa.uu", &[]),
        ("GET", "/environments/{name}", Absent, "u....uu", &[]),
        ("GET", "/environments/{name}/history", Environment, "uaaa.uu", &[]),
        ("GET", "/environments/{name}/history", Absent, "u....uu", &[]),
        ("POST", "/environments/{name}/variables", Environment, "uffa.uu", &[("new.0", "A"), ("value.0", "1")]),
        ("POST", "/environments/{name}/variables", Absent, "u....uu", &[("new.0", "A"), ("value.0", "1")]),
        ("POST", "/environments/{name}/restore", Environment, "uffa.uu", &[]),
        ("POST", "/environments/{name}/restore", Absent, "u....uu", &[]),
        ("GET", "/sessions", Nothing, "uaaaauu", &[]),
        ("GET", "/sessions/events", Nothing, "uaaaauu", &[]),
        ("GET", "/sessions/{id}", Session, "ua.a.uu", &[]),
        ("GET", "/sessions/{id}", Absent, "u....uu", &[]),
        ("GET", "/sessions/{id}/events", Session, "ua.a.uu", &[]),
        ("GET", "/sessions/{id}/events", Absent, "u....uu", &[]),
        ("POST", "/sessions/{id}/end", Session, "ua.a.uu", &[]),
        ("POST", "/sessions/{id}/end", Absent, "u....uu", &[]),
        ("POST", "/sessions/{id}/revoke", Session, "ua.a.uu", &[]),
        ("POST", "/sessions/{id}/revoke", Absent, "u....uu", &[]),
        ("POST", "/sessions/{id}/push", Session, "ua.a.uu", &[]),
        ("POST", "/sessions/{id}/push", Absent, "u....uu", &[]),
        ("GET", "/rollouts", Nothing, "uaaaauu", &[]),
        ("GET", "/rollouts/{id}", Rollout, "ua.a.uu", &[]),
        ("GET", "/rollouts/{id}", Absent, "u....uu", &[]),
        ("GET", "/rollouts/{id}/events", Rollout, "ua.a.uu", &[]),
        ("GET", "/rollouts/{id}/events", Absent, "u....uu", &[]),
        ("GET", "/audit", Nothing, "uffaauu", &[]),
        ("POST", "/audit/verify", Nothing, "uffaauu", &[]),
        ("GET", "/audit/export", Nothing, "uffaauu", &[]),
        ("GET", "/members", Nothing, "uffaauu", &[]),
        ("GET", "/members/member?name={name}", Member, "uffa.uu", &[]),
        ("POST", "/members/invite", Nothing, "uffaauu", &[("name", "UNIQUE"), ("role", "member")]),
        ("POST", "/members/role", Member, "uffa.uu", &[("name", "TARGET"), ("role", "member")]),
        ("POST", "/members/role", Absent, "u....uu", &[("name", "TARGET"), ("role", "member")]),
        ("POST", "/members/remove", Member, "uffa.uu", &[("name", "TARGET")]),
        ("POST", "/members/remove", Absent, "u....uu", &[("name", "TARGET")]),
        ("GET", "/preview", Nothing, "uaaaauu", &[]),
        ("GET", "/preview?user=alice", Nothing, "uafa.uu", &[]),
    ]
};

/// Ways to make somebody's browser send what they did not want.
const FORGED: [&str; 6] = [
    "without the token",
    "with the token of another session",
    "from another origin",
    "from no origin",
    "as a cross-site request",
    "as a request of a sibling site",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_by_every_kind_of_visitor() {
    let site = Site::new().await;
    let world = &site.world;
    let (alice, bob) = (world.person("alice", Role::Member).await, world.person("bob", Role::Member).await);
    let gone = world.person("gone", Role::Member).await;
    let other = world.organization("other").await;
    let gone = site.visitor(&gone).await;
    world.admin().users().remove_user(v1::RemoveUserRequest { name: "gone".into() }).await.expect("the admin removes");
    let out = site.visitor(&alice).await;
    out.post("/signout", &[]);
    let people: [Option<&Api>; 7] = [None, Some(&alice), Some(&bob), Some(world.admin()), Some(&other), None, None];
    let mut standing = [site.nobody(), site.nobody(), site.nobody(), site.nobody(), site.nobody(), out, gone];
    for (visitor, person) in standing.iter_mut().zip(people) {
        if let Some(person) = person {
            *visitor = site.visitor(person).await;
        }
    }

    let mut wrong = Vec::new();
    for (method, route, on, letters, fields) in ROWS {
        assert_eq!(letters.len(), VISITORS.len(), "{method} {route}: a letter a visitor");
        for (n, letter) in letters.chars().enumerate() {
            let (path, fields) = cell(world, &alice, route, *on, fields).await;
            // What signs out needs a session of its own.
            let visitor = match people[n] {
                Some(person) if route.starts_with("/signout") => site.visitor(person).await,
                _ => standing[n].clone(),
            };
            let answer = send(&visitor, method, &path, &fields);
            wrong.extend(lacks(&answer).map(|what| format!("{method} {route}, {}: {what}", answer.status)));
            let found = match answer.status {
                200 | 303 => 'a',
                401 => 'u',
                403 => 'f',
                404 => '.',
                _ => 'x',
            };
            if found != letter {
                wrong.push(format!("{method} {route} on {on:?} by {}: {}, not {letter}", VISITORS[n], answer.status));
            }
            // signed out everywhere: come back
            if route.starts_with("/signout") && people[n].is_some() {
                standing[n] = site.visitor(people[n].expect("somebody")).await;
            }
        }
        if *method == "POST" && *route != "/signin" {
            for (n, way) in FORGED.iter().enumerate() {
                let (path, fields) = cell(world, &alice, route, *on, fields).await;
                let answer = forged(&standing[1], &standing[2].csrf, n, &path, &fields);
                if answer.status != 403 {
                    wrong.push(format!("{method} {route} on {on:?} {way}: {}", answer.status));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_route_has_a_row() {
    let source = include_str!("../../src/server/console/mod.rs");
    let mut routes = BTreeSet::new();
    for route in source.split(".route(").skip(1) {
        let path = route.split('"').nth(1).expect("a path");
        let handlers = route.split(".route(").next().and_then(|r| r.split(".fallback").next()).unwrap_or(route);
        for method in ["get", "post"] {
            if handlers.contains(&format!("{method}(")) {
                routes.insert((method.to_uppercase(), path.to_owned()));
            }
        }
    }
    assert!(routes.len() > 10, "{routes:?}");
    let rows: BTreeSet<_> = ROWS
        .iter()
        .map(|(method, route, ..)| ((*method).to_owned(), route.split('?').next().unwrap_or_default().to_owned()))
        .collect();
    let missing: Vec<_> = routes.difference(&rows).collect();
    assert!(missing.is_empty(), "no row: {missing:?}");
    let gone: Vec<_> = rows.difference(&routes).collect();
    assert!(gone.is_empty(), "no route: {gone:?}");
}

/// What every answer says to browsers, and this one does not.
fn lacks(answer: &Answer) -> impl Iterator<Item = String> {
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                  form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    [
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ]
    .into_iter()
    .filter(|(name, expected)| answer.header(name) != Some(expected))
    .map(|(name, _)| format!("{name} is {:?}", answer.header(name)))
    .collect::<Vec<_>>()
    .into_iter()
}

fn send(visitor: &Visitor, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    if method == "GET" { visitor.get(path) } else { visitor.post(path, fields) }
}

fn forged(alice: &Visitor, bobs_token: &str, way: usize, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut fields = fields.to_vec();
    match way {
        0 => {}
        1 => fields.push(("csrf", bobs_token)),
        _ => fields.push(("csrf", &alice.csrf)),
    }
    let origin: (&str, &str) = match way {
        2 => ("Origin", "https://evil.example"),
        3 => ("Accept", "text/html"),
        4 => ("Sec-Fetch-Site", "cross-site"),
        5 => ("Sec-Fetch-Site", "same-site"),
        _ => ("Origin", &alice.origin),
    };
    let headers = [origin, ("Cookie", &*alice.cookie), ("Content-Type", "application/x-www-form-urlencoded")];
    alice.ask("POST", path, &headers, &form(&fields))
}

/// A target of alice's for one cell, in the route's path and fields.
async fn cell<'a>(
    world: &World,
    alice: &Api,
    route: &str,
    on: On,
    fields: &[(&'a str, &'a str)],
) -> (String, Vec<(&'a str, &'a str)>) {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let unique = format!("x{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let secret = async |visibility| alice.create(&unique, visibility, b"a value of alice").await;
    let (mut target, mut version) = (unique.clone(), String::new());
    match on {
        On::Nothing => {}
        On::Alices => {
            let made = secret(Visibility::Private).await;
            (target, version) = (made.id, made.version);
        }
        On::AlicesShared => {
            let made = secret(Visibility::Shared).await;
            (target, version) = (made.id, made.version);
        }
        On::Deleted => {
            let made = secret(Visibility::Private).await;
            let reference = Some(v1::SecretRef { id: made.id.clone(), ..Default::default() });
            let request = v1::DeleteSecretRequest { r#ref: reference, ..Default::default() };
            alice.secrets().delete_secret(request).await.expect("alice deletes");
            (target, version) = (made.id, made.version);
        }
        On::Absent => (target, version) = ("a".repeat(26), "1".into()),
        On::Session => target = world.session("alice", "default").await.session.expect("a session").id,
        On::Rollout => {
            let made = secret(Visibility::Private).await;
            let reach = v1::create_rollout_request::Reach::Secret(v1::SecretRef { id: made.id, ..Default::default() });
            let request = v1::CreateRolloutRequest { reach: Some(reach), options: None };
            target = alice
                .rollouts()
                .create_rollout(request)
                .await
                .expect("alice pushes")
                .into_inner()
                .rollout
                .expect("one")
                .id;
        }
        On::Environment => {
            version = "1".into();
            let request = v1::CreateEnvironmentRequest { name: unique.clone(), ..Default::default() };
            world.admin().environments().create_environment(request).await.expect("the admin makes an environment");
        }
        On::Member => drop(world.invite(&unique, Role::Member).await),
    }
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let mut all: Vec<_> = fields
        .iter()
        .map(|(name, value)| match *value {
            "UNIQUE" => (*name, leak(unique.clone())),
            "TARGET" => (*name, leak(target.clone())),
            value => (*name, value),
        })
        .collect();
    all.push(("version", leak(version)));
    (route.replace("{id}", &target).replace("{name}", &target), all)
}
