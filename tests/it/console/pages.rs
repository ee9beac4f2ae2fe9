//! Environments, sessions, members, the record: who may what from their pages, and what is said to whom.

use keyfob::wire::v1::{
    self, EnvironmentVariable, Origin, Role, SessionState, UpdateEnvironmentRequest, UpdateSecretRequest, Visibility,
};

use super::{Browser, world};
use crate::world::{Api, ORG, World, enrol, enrol_session, plain};

const VALUE: &[u8] = b"a value that is long enough";

async fn set(world: &World, variables: &[(&str, &str)]) {
    let set = variables
        .iter()
        .map(|(variable, value)| EnvironmentVariable { variable: (*variable).into(), value: (*value).into() });
    let request = UpdateEnvironmentRequest { name: "default".into(), set: set.collect(), ..Default::default() };
    world.admin().environments().update_environment(request).await.expect("set");
}

async fn environment(world: &World) -> (u64, Vec<(String, String)>) {
    let request = v1::GetEnvironmentRequest { name: "default".into(), version: 0 };
    let reply = world.admin().environments().get_environment(request).await.expect("an environment");
    let environment = reply.into_inner().environment.expect("an environment");
    (environment.version, environment.variables.into_iter().map(|v| (v.variable, v.value)).collect())
}

async fn state(world: &World, id: &str) -> SessionState {
    let request = v1::GetSessionRequest { id: id.into() };
    let reply = world.admin().sessions().get_session(request).await.expect("a session").into_inner();
    reply.session.expect("a session").state()
}

#[tokio::test]
async fn what_is_for_admins_alone() {
    let world = world().await;
    let alice = world.person("alice", Role::Member).await;
    let mut member = Browser::of(&world, &alice).await;
    let mut admin = Browser::of(&world, world.admin()).await;
    for (page, to, fields) in [
        ("/members", "", ""),
        ("/members/member?name=alice", "", ""),
        ("/audit", "", ""),
        ("/audit/export", "", ""),
        ("", "/audit/verify", ""),
        ("", "/members/invite", "name=mallory&role=admin"),
        ("", "/members/role", "name=alice&role=admin"),
        ("", "/members/remove", "name=root"),
        ("", "/environments", "name=mine"),
        ("", "/environments/default/variables", "version=1&new.1=A&value.1=1"),
        ("", "/environments/default/restore", "version=1"),
    ] {
        if to.is_empty() {
            assert_eq!((member.get(page).await.status, admin.get(page).await.status), (403, 200), "{page}");
        } else {
            assert_eq!(member.submit("/secrets", to, fields).await.status, 403, "{to}");
        }
    }
    let users = world.admin().users().list_users(v1::ListUsersRequest {}).await.expect("users").into_inner().users;
    let users: Vec<_> = users.iter().map(|user| (user.name.as_str(), user.role())).collect();
    assert_eq!(users, [("alice", Role::Member), ("root", Role::Admin)]);
    assert_eq!(environment(&world).await, (1, vec![]));
    let page = member.get("/secrets").await;
    assert!(!page.body.contains("href=\"/members\"") && !page.body.contains("href=\"/audit\""));
}

#[tokio::test]
async fn sessions_end_from_their_page_by_who_may_see_it() {
    let world = world().await;
    let alice = world.person("alice", Role::Member).await;
    let bob = world.person("bob", Role::Member).await;
    let mut theirs = Browser::of(&world, &alice).await;
    let mut others = Browser::of(&world, &bob).await;
    for (verb, expected) in [("end", SessionState::Ended), ("revoke", SessionState::Revoked)] {
        let made = world.session("alice", "default").await;
        let id = made.session.expect("a session").id;
        let agent = enrol_session(&made.join).await;
        let page = format!("/sessions/{id}");
        assert_eq!(others.get(&page).await.status, 404);
        assert!(!others.get("/sessions").await.body.contains(&id));
        assert_eq!(others.submit("/secrets", &format!("{page}/{verb}"), "").await.status, 404);
        assert_eq!(others.submit("/secrets", &format!("{page}/push"), "").await.status, 404);
        assert_eq!(state(&world, &id).await, SessionState::Active);
        assert!(agent.fetch(ORG, &id).await.is_ok());
        assert_eq!(theirs.submit(&page, &format!("{page}/{verb}"), "").await.status, 303);
        assert_eq!(state(&world, &id).await, expected);
        assert!(agent.fetch(ORG, &id).await.is_err(), "it still gets something");
    }
}

/// What a session was given, by who asks: variable, secret's or environment's name, whether there is a newer value.
async fn given(by: &Api, id: &str) -> (Vec<(String, String, bool)>, bool) {
    let request = v1::GetSessionRequest { id: id.into() };
    let reply = by.sessions().get_session(request).await.expect("a session").into_inner();
    let given = reply.variables.into_iter().map(|v| {
        assert_eq!(v.secret.is_empty(), v.origin() == Origin::Environment);
        (v.variable, v.name, v.outdated)
    });
    (given.collect(), reply.names_hidden)
}

#[tokio::test]
async fn the_names_that_a_session_was_given_are_told_to_those_who_may_know_them() {
    let world = world().await;
    let alice = world.person("alice", Role::Member).await;
    let ci = world.person("ci", Role::Orchestrator).await;
    let watch = world.person("watch", Role::Operator).await;
    set(&world, &[("DB_URL", "sqlite"), ("EDITOR_MODE", "vi"), ("KEPT_OUT", "1"), ("LATER", "1")]).await;
    let shared = world.admin().create("db-url", Visibility::Shared, VALUE).await;
    alice.create("alices-own", Visibility::Private, VALUE).await;
    let kept_out = alice.create("kept-out", Visibility::Private, VALUE).await;
    let request = UpdateSecretRequest {
        r#ref: Some(v1::SecretRef { id: kept_out.id, ..Default::default() }),
        auto_install: Some(false),
        ..Default::default()
    };
    alice.secrets().update_secret(request).await.expect("off");
    let made = world.session("alice", "default").await;
    let id = made.session.expect("a session").id;
    let nothing = (vec![], false);
    assert_eq!(given(&alice, &id).await, nothing, "before it has fetched");
    let agent = enrol_session(&made.join).await;
    let opened = agent.fetch(ORG, &id).await.expect("a bundle");
    // Neither is in the session, and what hides a variable only now hid nothing then.
    alice.create("newer", Visibility::Private, VALUE).await;
    let request = v1::CreateSecretRequest {
        name: "later".into(),
        visibility: Visibility::Private.into(),
        value: Some(plain(VALUE)),
        no_auto_install: true,
        ..Default::default()
    };
    alice.secrets().create_secret(request).await.expect("stored");

    let all = |outdated| {
        [
            ("ALICES_OWN", "alices-own", false),
            ("DB_URL", "db-url", outdated),
            ("EDITOR_MODE", "default", false),
            ("LATER", "default", false),
        ]
        .map(|(variable, name, outdated)| (variable.to_owned(), name.to_owned(), outdated))
        .to_vec()
    };
    let told: Vec<_> = given(&alice, &id).await.0.into_iter().map(|(variable, ..)| variable).collect();
    assert_eq!(told, opened.values().into_keys().collect::<Vec<_>>(), "not what is in the bundle");
    let request = v1::RotateSecretRequest {
        r#ref: Some(v1::SecretRef { id: shared.id, ..Default::default() }),
        value: Some(plain(b"another value that is long")),
        ..Default::default()
    };
    world.admin().secrets().rotate_secret(request).await.expect("rotated");
    for (who, by, expected) in [
        ("its user", &alice, (all(true), false)),
        ("the session", &agent, (all(true), false)),
        ("an admin", world.admin(), (all(true)[1..].to_vec(), true)),
        ("an orchestrator", &ci, (all(true)[2..].to_vec(), true)),
        ("an operator", &watch, (vec![], true)),
    ] {
        assert_eq!(given(by, &id).await, expected, "{who}");
    }
    let mut admin = Browser::of(&world, world.admin()).await;
    let page = admin.get(&format!("/sessions/{id}")).await;
    assert!(
        page.body.contains("EDITOR_MODE") && page.body.contains("db-url") && page.body.contains("there is a newer one")
    );
    assert!(!page.body.to_lowercase().replace('-', "_").contains("alices_own"), "{}", page.body);
}

#[tokio::test]
async fn who_edits_an_old_version_keeps_what_was_typed_and_overwrites_nothing() {
    let world = world().await;
    set(&world, &[("A", "1"), ("B", "1"), ("C", "line 1\nline 2")]).await;
    let mut browser = Browser::of(&world, world.admin()).await;
    let page = browser.get("/environments/default").await;
    let csrf = page.csrf().to_owned();
    assert_eq!(page.between("name=\"version\" value=\"", "\""), "2");
    set(&world, &[("B", "2")]).await;
    let form = |version: u64| {
        format!("csrf={csrf}&version={version}&set.A=mine&set.B=1&set.C=line+1%0D%0Aline+2&new.1=D&value.1=typed")
    };
    let refused = browser.post("/environments/default/variables", &form(2)).await;
    assert_eq!(refused.status, 409);
    let again = |name: &str| refused.between(&format!("name=\"{name}\" value=\""), "\"").to_owned();
    assert_eq!(["version", "set.A", "set.B", "new.1", "value.1"].map(again), ["3", "mine", "2", "D", "typed"]);
    let found = |variables: &[(&str, &str)]| -> Vec<(String, String)> {
        variables.iter().map(|(variable, value)| ((*variable).into(), (*value).into())).collect()
    };
    assert_eq!(environment(&world).await, (3, found(&[("A", "1"), ("B", "2"), ("C", "line 1\nline 2")])));

    let as_it_is_there = form(3).replace("set.B=1", "set.B=2");
    assert_eq!(browser.post("/environments/default/variables", &as_it_is_there).await.status, 303);
    assert_eq!(
        environment(&world).await,
        (4, found(&[("A", "mine"), ("B", "2"), ("C", "line 1\nline 2"), ("D", "typed")]))
    );
    let nothing_new = format!("csrf={csrf}&version=4&set.A=mine&set.C=line+1%0D%0Aline+2");
    assert_eq!(browser.post("/environments/default/variables", &nothing_new).await.status, 303);
    assert_eq!(environment(&world).await.0, 4, "a version without a change");

    for (fields, said) in [
        ("new.1=A&value.1=2", "A is there already"),
        ("new.1=X&new.2=X", "X is there twice"),
        ("value.1=2", "has no variable"),
        ("new.1=PATH&value.1=/tmp", "PATH"),
        ("deadline=soon", "no number"),
    ] {
        let refused = browser.post("/environments/default/variables", &format!("csrf={csrf}&version=4&{fields}")).await;
        assert!(
            refused.status == 422 && refused.between("role=\"alert\"", "</div>").contains(said),
            "{fields}: {refused:?}"
        );
    }
    let history = browser.get("/environments/default/history?from=4&to=2").await;
    assert!(history.body.contains("Restore version 2") && history.body.contains("D=typed"));
    let restored = browser.post("/environments/default/restore", &format!("csrf={csrf}&version=2")).await;
    assert_eq!(restored.status, 303);
    assert_eq!(environment(&world).await, (5, found(&[("A", "1"), ("B", "1"), ("C", "line 1\nline 2")])));
}

#[tokio::test]
async fn a_join_string_is_shown_once_and_works() {
    let world = world().await;
    let mut browser = Browser::of(&world, world.admin()).await;
    let page = browser.submit("/members", "/members/invite", "name=alice&role=member").await;
    assert_eq!(page.status, 200);
    let join = page.between("aria-labelledby=\"join\">", "<").to_owned();
    for path in ["/members", "/members/member?name=alice", "/audit", "/audit/export"] {
        assert!(!browser.get(path).await.body.contains(&join), "{path} shows it again");
    }
    let alice = enrol(&join).await;
    assert_eq!(Browser::of(&world, &alice).await.get("/secrets").await.status, 200);
    let last = browser.submit("/members", "/members/remove", "name=root").await;
    assert!(last.status == 422 && last.body.contains("Nothing was changed"), "{last:?}");
}

#[tokio::test]
async fn an_export_is_the_whole_record() {
    let world = world().await;
    for at in 0..1_100 {
        set(&world, &[("A", &at.to_string())]).await; // more than one page of the call's
    }
    let mut browser = Browser::of(&world, world.admin()).await;
    let verified = browser.submit("/audit", "/audit/verify", "").await;
    let head = verified.between("tabindex=\"0\">", "<").to_owned();
    let file = browser.get("/audit/export?action=environment.u").await;
    assert!(file.header("content-disposition").starts_with("attachment; "));
    let lines = file.body.lines().filter(|line| line.starts_with('{')); // between the sizes of chunks
    let found: Vec<serde_json::Value> = lines.map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(found.len(), 1_100);
    assert!(found.iter().all(|entry| entry["action"] == "environment.update" && entry["outcome"] == "done"));
    let all = browser.get("/audit/export").await;
    let last = all.body.lines().rfind(|line| line.starts_with('{')).expect("a last one");
    let last: serde_json::Value = serde_json::from_str(last).expect("an object");
    // Pages stay small, and lead to the first version.
    let (mut path, mut versions) = ("/environments/default/history".to_owned(), 0);
    loop {
        let page = browser.get(&path).await;
        assert!(page.body.len() < 64 << 10, "{path} has {} bytes", page.body.len());
        versions += page.body.matches("<h2>Version ").count();
        if !page.body.contains("history?before=") {
            break;
        }
        path = format!("/environments/default/history?before={}", page.between("history?before=", "\""));
    }
    assert_eq!(versions, 1_101);
    assert!(browser.get("/audit").await.body.len() < 64 << 10);
    assert_eq!(last["hash"], head.as_str(), "the head that was verified is its end");
}
