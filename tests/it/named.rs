//! Secrets that a session asks for by name: what names mean, what is refused, what goes on record.

use std::{collections::BTreeMap, process::Command};

use keyfob::{
    seal,
    wire::v1::{self, Role, Visibility},
};
use rusqlite::Connection;
use tonic::Code;

use crate::world::{AGENT, AgentRun, Api, ORG, Ran, World, enrol_session, plain, run, wait_for};

const OFF: bool = true;
const ON: bool = false;
use Visibility::{Private, Shared};

async fn create(by: &Api, name: &str, visibility: Visibility, no_auto_install: bool) -> v1::Secret {
    let request = v1::CreateSecretRequest {
        name: name.into(),
        visibility: visibility.into(),
        value: Some(plain(format!("{} of {name}", visibility.as_str_name()).as_bytes())),
        no_auto_install,
        ..Default::default()
    };
    by.secrets().create_secret(request).await.expect("a new secret").into_inner().secret.expect("a secret")
}

/// An enrolled session and its id.
async fn session(world: &World, user: &str) -> (Api, String) {
    let made = world.session(user, "default").await;
    (enrol_session(&made.join).await, made.session.expect("a session").id)
}

#[tokio::test]
async fn names_mean_what_they_mean_to_the_bundle() {
    let world = World::new().await;
    let (alice, bob) = (world.person("alice", Role::Member).await, world.person("bob", Role::Member).await);
    for (by, name, visibility, auto_install) in [
        (&alice, "mine", Private, OFF),
        (&alice, "mine-on", Private, ON),
        (&alice, "both", Private, OFF),
        (&alice, "db_url", Private, OFF), // gives the variable of the shared db-url
        (&bob, "bobs", Private, OFF),
        (world.admin(), "team", Shared, OFF),
        (world.admin(), "team-on", Shared, ON),
        (world.admin(), "both", Shared, ON),
        (world.admin(), "db-url", Shared, ON),
    ] {
        create(by, name, visibility, auto_install).await;
    }
    let set = vec![v1::EnvironmentVariable { variable: "LEVEL".into(), value: "info".into() }];
    let request = v1::UpdateEnvironmentRequest { name: "default".into(), set, ..Default::default() };
    world.admin().environments().update_environment(request).await.expect("the admin sets");

    let sessions = [session(&world, "alice").await, session(&world, "bob").await, session(&world, "").await];
    let [alices, bobs, nobodys] = &sessions;
    #[rustfmt::skip]
    let cases = [
        // (whose session, what it asks for, what it gets: variables and visibilities; or the name that names nothing)
        (alices,  &["mine"][..],                    Ok(&[("MINE", Private)][..])),
        (alices,  &["team", "mine"],                Ok(&[("MINE", Private), ("TEAM", Shared)])),
        (alices,  &["mine-on", "team-on"],          Ok(&[("MINE_ON", Private), ("TEAM_ON", Shared)])), // installed anyway
        (alices,  &["both"],                        Ok(&[("BOTH", Private)])),
        (alices,  &["db_url"],                      Ok(&[("DB_URL", Private)])),
        (alices,  &["db-url"],                      Err("db-url")),  // hidden by her private db_url
        (alices,  &["db_url", "db-url"],            Err("db-url")),
        (alices,  &["bobs"],                        Err("bobs")),    // as if there were none
        (alices,  &["never-was"],                   Err("never-was")),
        (alices,  &["mine", "never-was", "no-too"], Err("never-was")),
        (alices,  &["LEVEL"],                       Err("LEVEL")),   // the environment's, which is no secret
        (alices,  &["default"],                     Err("default")),
        (alices,  &["MINE"],                        Err("MINE")),    // a variable, not the name
        (bobs,    &["both", "db-url", "bobs"],      Ok(&[("BOBS", Private), ("BOTH", Shared), ("DB_URL", Shared)])),
        (bobs,    &["mine"],                        Err("mine")),
        (nobodys, &["team", "both"],                Ok(&[("BOTH", Shared), ("TEAM", Shared)])),
        (nobodys, &["mine"],                        Err("mine")),
    ];
    for ((api, id), names, expected) in cases {
        let before = deliveries(&world);
        let got = api.fetch_named(ORG, id, names).await;
        match expected {
            Ok(expected) => {
                let got = got.unwrap_or_else(|e| panic!("{names:?}: {e}"));
                let variables: Vec<_> = got.contents.entries.iter().map(|e| e.variable.as_str()).collect();
                assert_eq!(variables, expected.iter().map(|e| e.0).collect::<Vec<_>>(), "{names:?}");
                for (entry, (_, visibility)) in got.contents.entries.iter().zip(expected) {
                    let value = format!("{} of {}", visibility.as_str_name(), entry.name);
                    assert_eq!(entry.value, value.as_bytes(), "{names:?}");
                    assert!(names.contains(&entry.name.as_str()), "{names:?}");
                }
                assert_eq!(deliveries(&world), before + 1, "{names:?}");
            }
            Err(name) => {
                let status = got.map(|o| o.values()).expect_err(name);
                assert_eq!(status.code(), Code::NotFound, "{names:?}");
                assert_eq!(status.message(), format!("this session has no secret `{name}`"), "{names:?}");
                assert_eq!(deliveries(&world), before, "{names:?}: all or none");
            }
        }
    }
    // Another organization's session does not know them either.
    let other = world.organization("other").await;
    let made = other.sessions().create_session(v1::CreateSessionRequest::default()).await.unwrap().into_inner();
    let stranger = enrol_session(&made.join).await;
    let status = stranger.fetch_named("other", &made.session.unwrap().id, &["team"]).await.map(|o| o.values());
    assert_eq!(status.unwrap_err().message(), "this session has no secret `team`");
}

fn deliveries(world: &World) -> i64 {
    let database = Connection::open(world.database()).expect("the server's own file");
    database.query_row("SELECT COUNT(*) FROM deliveries", [], |row| row.get(0)).expect("a count")
}

#[tokio::test]
async fn what_can_not_be_asked_for() {
    let world = World::new().await;
    let (api, id) = session(&world, "").await;
    let names = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
    let big = vec![b'x'; 64 * 1024];
    for name in names(17) {
        let request = v1::CreateSecretRequest {
            name,
            visibility: Shared.into(),
            value: Some(plain(&big)),
            no_auto_install: true,
            ..Default::default()
        };
        world.admin().secrets().create_secret(request).await.expect("kept in store");
    }
    let key = seal::RecipientKey::generate().expect("randomness");
    let good = || v1::FetchNamedRequest {
        names: names(1),
        public_key: key.public().to_vec(),
        nonce: vec![0; seal::NONCE_LEN],
    };
    for (what, request, said) in [
        ("nothing", v1::FetchNamedRequest { names: vec![], ..good() }, "0 names; ask for 1 to 32"),
        ("too many", v1::FetchNamedRequest { names: names(33), ..good() }, "33 names; ask for 1 to 32"),
        (
            "one twice",
            v1::FetchNamedRequest { names: [names(2), names(1)].concat(), ..good() },
            "`n0` is asked for twice",
        ),
        ("no name", v1::FetchNamedRequest { names: vec!["pass word".into()], ..good() }, "letters"),
        ("an empty name", v1::FetchNamedRequest { names: vec![String::new()], ..good() }, "letters"),
        ("a short key", v1::FetchNamedRequest { public_key: vec![1], ..good() }, "1216 bytes"),
        ("a short nonce", v1::FetchNamedRequest { nonce: vec![1], ..good() }, "16 bytes"),
        ("too large", v1::FetchNamedRequest { names: names(17), ..good() }, "1 MiB"),
    ] {
        let status = api.bundle().fetch_named(request).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert!(status.message().contains(said), "{what}: {status}");
        assert!(!status.message().contains("pass word"), "{what}: {status}");
    }
    assert_eq!(deliveries(&world), 0);
    let names = names(16);
    let got = api.fetch_named(ORG, &id, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(got.expect("1 MiB is not too large").values().len(), 16);
}

#[tokio::test]
async fn it_goes_on_record_and_the_bundle_stays_what_it_is() {
    let world = World::new().await;
    let alice = world.person("alice", Role::Member).await;
    let team = create(world.admin(), "team", Shared, OFF).await;
    let mine = create(&alice, "mine", Private, OFF).await;
    let (api, id) = session(&world, "alice").await;
    api.fetch(ORG, &id).await.expect("a bundle without them");
    let get = || async {
        world
            .admin()
            .sessions()
            .get_session(v1::GetSessionRequest { id: id.clone() })
            .await
            .unwrap()
            .into_inner()
            .session
    };
    let before = get().await;
    let sequence = api.fetch_named(ORG, &id, &["team", "mine"]).await.expect("both").sequence;
    assert_eq!(get().await, before, "what it fetched as a bundle is what counts as that");

    let entries = audit(&world, "bundle.deliver_named").await;
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(
        (entry.sequence, &*entry.actor, &*entry.target),
        (sequence, &*format!("session/{id}"), &*format!("session/{id}"))
    );
    let both = format!("{}@{} {}@{}", mine.id, mine.version, team.id, team.version);
    let expected = BTreeMap::from([("secrets", both.as_str()), ("shared", "team")]);
    let detail: BTreeMap<_, _> = entry.detail.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(detail, expected, "a private one's name is not in it");

    for (by, secret) in [(world.admin(), &team), (&alice, &mine)] {
        let r#ref = Some(v1::SecretRef { id: secret.id.clone(), ..Default::default() });
        let found = by.secrets().get_secret(v1::GetSecretRequest { r#ref }).await.unwrap().into_inner();
        let delivered: Vec<_> = found.deliveries.iter().map(|d| (&d.session, &d.version)).collect();
        assert_eq!(delivered, [(&id, &secret.version)]);
    }
    let verified = world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.unwrap().into_inner();
    assert!(verified.intact);
}

async fn audit(world: &World, action: &str) -> Vec<v1::AuditEntry> {
    let request = v1::ListAuditEntriesRequest { action: action.into(), page_size: 1_000, ..Default::default() };
    world.admin().audit().list_audit_entries(request).await.expect("the admin reads").into_inner().entries
}

#[tokio::test]
async fn a_session_that_has_ended_gets_nothing() {
    let world = World::new().await;
    create(world.admin(), "team", Shared, OFF).await;
    for revoke in [false, true] {
        let (api, id) = session(&world, "").await;
        api.fetch_named(ORG, &id, &["team"]).await.expect("it is alive");
        let mut sessions = world.admin().sessions();
        if revoke {
            sessions.revoke_session(v1::RevokeSessionRequest { id: id.clone() }).await.map(drop).unwrap();
        } else {
            sessions.end_session(v1::EndSessionRequest { id: id.clone() }).await.map(drop).unwrap();
        }
        let status = api.fetch_named(ORG, &id, &["team"]).await.map(|o| o.values()).unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }
    assert_eq!(audit(&world, "bundle.deliver_named").await.len(), 2);
}

#[tokio::test]
async fn a_variable_that_is_not_allowed_any_more_is_refused() {
    let world = World::new().await;
    world.server_command(&["org", "allow", ORG, "LD_PRELOAD"]);
    create(world.admin(), "ld_preload", Shared, OFF).await;
    let (api, id) = session(&world, "").await;
    let got = api.fetch_named(ORG, &id, &["ld_preload"]).await.expect("the organization allows it");
    assert!(got.contents.entries[0].reserved_allowed);
    world.server_command(&["org", "allow", ORG, "LD_PRELOAD", "--remove"]);
    let status = api.fetch_named(ORG, &id, &["ld_preload"]).await.map(|o| o.values()).unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("$LD_PRELOAD, which is reserved"), "{status}");
}

/// Somebody writes to the database behind the server's back: what was asked for, and what hides it, must be genuine.
#[tokio::test]
async fn a_row_that_is_not_what_was_stored_is_refused() {
    let world = World::new().await;
    let alice = world.person("alice", Role::Member).await;
    create(world.admin(), "team", Shared, OFF).await;
    create(world.admin(), "hidden", Shared, ON).await;
    create(&alice, "mine", Private, OFF).await;
    create(&alice, "HIDDEN", Private, OFF).await;
    let (api, id) = session(&world, "alice").await;
    let database = Connection::open(world.database()).expect("the server's own file");
    database.busy_timeout(std::time::Duration::from_secs(5)).expect("a timeout");
    database.execute_batch("CREATE TABLE old AS SELECT * FROM secrets").unwrap();
    for (sql, name) in [
        ("UPDATE secrets SET ciphertext = zeroblob(length(ciphertext)) WHERE name = 'team'", "team"),
        ("UPDATE secrets SET auto_install = 1 WHERE name = 'team'", "team"),
        ("UPDATE secrets SET name = 'team-2' WHERE name = 'team'", "team-2"),
        ("UPDATE secrets SET owner = '' WHERE name = 'mine'", "mine"),
        ("UPDATE secrets SET owner = 'alice' WHERE name = 'team'", "team"),
        (
            "UPDATE secrets SET (ciphertext, wrapped_key, version, sequence) = (SELECT ciphertext, wrapped_key, version, sequence FROM secrets WHERE name = 'mine') WHERE name = 'team'",
            "team",
        ),
        ("UPDATE secrets SET delivery = 'pigeon' WHERE name = 'team'", "team"),
        // What hides the shared one is not what it was.
        ("UPDATE secrets SET auto_install = 1 WHERE name = 'HIDDEN'", "hidden"),
        ("UPDATE secrets SET variable = 'TEAM' WHERE name = 'mine'", "team"),
    ] {
        database.execute_batch(sql).unwrap();
        let status = api.fetch_named(ORG, &id, &[name]).await.map(|o| o.values()).expect_err(sql);
        assert_eq!(status.code(), Code::DataLoss, "{sql}: {status}");
        database.execute_batch("DELETE FROM secrets; INSERT INTO secrets SELECT * FROM old").unwrap();
        assert_eq!(api.fetch_named(ORG, &id, &["team", "mine"]).await.expect(sql).values().len(), 2, "{sql}");
    }
    let refused = audit(&world, "secret.integrity").await;
    assert_eq!(refused.len(), 9, "{refused:?}");
}

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----\0\xff\n";

/// All of it together: a real agent, a command that asks, and what becomes of what it prints.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_what_it_asks_for_and_prints_none_of_it() {
    let world = World::new().await;
    let alice = world.person("alice", Role::Member).await;
    create(&alice, "deploy-key", Private, OFF).await;
    let request = v1::CreateSecretRequest {
        name: "certificate".into(),
        visibility: Private.into(),
        value: Some(plain(CERTIFICATE)),
        delivery: v1::Delivery::File.into(),
        no_auto_install: true,
        ..Default::default()
    };
    alice.secrets().create_secret(request).await.expect("a file");
    let set = vec![v1::EnvironmentVariable { variable: "STAGE".into(), value: "a-stage-that-is-no-secret".into() }];
    let request = v1::UpdateEnvironmentRequest { name: "default".into(), set, ..Default::default() };
    world.admin().environments().update_environment(request).await.expect("the admin sets");
    let made = world.session("alice", "default").await;
    let agent = AgentRun::start(&made.join, &[]);
    let id = made.session.expect("a session").id;
    wait_for("the agent's socket", || agent.dir.with_file_name("run-agent").join("socket").exists());

    let agents = |words: &[&str], stdin: &str| -> Ran {
        let mut command = Command::new(AGENT);
        run(command.arg(words[0]).arg("--dir").arg(&agent.dir).args(&words[1..]), stdin.as_bytes())
    };
    let value = "VISIBILITY_PRIVATE of deploy-key";
    // Before it was lent, nobody here has ever heard of it.
    assert_eq!(agents(&["redact"], value).ok(), value);
    let script = "printf '%s %s\n' \"$DEPLOY_KEY\" \"$STAGE\"; printf %s \"$DEPLOY_KEY\" | base64 -w0; exit 7";
    let ran = agents(&["exec", "--with", "deploy-key", "--", "sh", "-c", script], "");
    assert_eq!(ran.code(), 7, "{}", ran.stderr());
    let printed = ran.stdout();
    let (first, second) = printed.split_once('\n').expect("two lines");
    assert_eq!(first, "[keyfob:DEPLOY_KEY] a-stage-that-is-no-secret");
    assert!(second.starts_with("[keyfob:DEPLOY_KEY]") && second.len() < 24, "{second}");
    // From then on all who redact know it, also what logs it later.
    assert_eq!(agents(&["redact"], value).ok(), "[keyfob:DEPLOY_KEY]");
    let without = agents(&["exec", "--", "sh", "-c", "printf %s \"${DEPLOY_KEY-unset}\""], "");
    assert_eq!(without.ok(), "unset");

    // A file is one for the command and for what it starts, which has closed all that it inherited; then it is gone.
    let both = ["--with", "certificate", "--with", "deploy-key", "--"];
    let starts = "import os, subprocess as s; s.run(['cat', os.environ['CERTIFICATE']]); print(end='', flush=True)";
    let python = [&["exec", "--no-redact"], &both[..], &["python3", "-c", starts]].concat();
    let ran = agents(&python, "");
    assert_eq!(ran.0.stdout, CERTIFICATE, "{}", ran.stderr());
    let script = "cat \"$CERTIFICATE\" \"$CERTIFICATE\"; printf ' %s' \"$DEPLOY_KEY\"";
    let shell = [&["exec"], &both[..], &["sh", "-c", script]].concat();
    assert_eq!(agents(&shell, "").ok(), "[keyfob:CERTIFICATE]\n[keyfob:CERTIFICATE]\n [keyfob:DEPLOY_KEY]");
    // On a terminal it comes by one process more.
    let dir = agent.dir.to_str().expect("a path in UTF-8");
    let typed =
        format!("{AGENT} exec --dir {dir} {} sh -c 'wc -c <\"$CERTIFICATE\"; echo \"$DEPLOY_KEY\"'", both.join(" "));
    let shown = run(Command::new("script").args(["-qec", &typed, "/dev/null"]), b"").ok();
    let expected = format!("{}\r\n[keyfob:DEPLOY_KEY]\r\n", CERTIFICATE.len());
    assert!(shown.ends_with(&expected), "{shown:?}"); // what script makes of its own input's end is before it
    let names = || std::fs::read_dir(&agent.dir).expect("the directory").flatten().map(|e| e.file_name());
    assert!(
        !names().any(|name| name.to_string_lossy().starts_with(".new-")),
        "nothing is left: {:?}",
        names().collect::<Vec<_>>()
    );

    // What was masked is told to the control plane, and so is whether that works.
    let leaks =
        async || alice.secrets().list_leaks(v1::ListLeaksRequest::default()).await.expect("a list").into_inner().leaks;
    let mut found = leaks().await;
    while found.iter().map(|leak| leak.count).sum::<u64>() < 7 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        found = leaks().await;
    }
    let program = |unit: &str| unit.split('/').next().unwrap_or_default().to_owned();
    let mut found: Vec<_> =
        found.iter().map(|l| (program(&l.unit), l.name.as_str(), l.form.as_str(), l.count, l.session == id)).collect();
    found.sort_unstable();
    let expected = [
        ("exec", "certificate", "raw", 2),
        ("exec", "deploy-key", "base64", 1),
        ("exec", "deploy-key", "raw", 3),
        ("redact", "deploy-key", "raw", 1),
    ];
    assert_eq!(found, expected.map(|(unit, name, form, count)| (unit.to_owned(), name, form, count, true)));
    let root = world.cli("second", Role::Admin).await;
    let redaction = || root.run(&["session", "show", &id, "-o", "json"]).json()["agent"]["redaction"].clone();
    wait_for("the canary", || redaction().as_str().is_some_and(|said| said.starts_with("verified")));
}
