//! An environment's boot policy on its way into a VM, and what agents say of themselves on the way back.

use std::{
    fs,
    time::{Duration, Instant},
};

use keyfob::{
    domain::{
        boot::{BootPolicy, OnFailure},
        join::{Audience, Join},
    },
    wire::v1::{self, Visibility},
};
use tonic::Code;

use crate::world::{AgentRun, Api, World, enrol_session, wait_for};

const fn policy(deadline: Option<u16>, on_failure: Option<OnFailure>) -> BootPolicy {
    BootPolicy { deadline, on_failure }
}

const UNSAID: BootPolicy = policy(None, None);
const SHORT: BootPolicy = policy(Some(1), Some(OnFailure::Continue));

/// What `default` says from now on; gives its version.
async fn say(world: &World, boot: BootPolicy) -> u64 {
    let request =
        v1::UpdateEnvironmentRequest { name: "default".into(), boot: Some(boot.into()), ..Default::default() };
    let reply = world.admin().environments().update_environment(request).await.expect("the admin says it").into_inner();
    let environment = reply.environment.expect("an environment");
    assert_eq!(environment.boot, Some(boot.into()));
    environment.version
}

fn carried(join: &str) -> BootPolicy {
    Join::parse(join, Audience::Session).expect("a session's join string").boot
}

#[tokio::test]
async fn a_policy_is_versioned_restored_and_travels_in_join_strings() {
    let world = World::new().await;
    assert_eq!(carried(&world.session("", "default").await.join), UNSAID);
    assert_eq!(say(&world, SHORT).await, 2);
    assert_eq!(say(&world, SHORT).await, 2, "nothing new");
    assert_eq!(carried(&world.session("", "default").await.join), SHORT);
    // A change of variables leaves it alone.
    let set = vec![v1::EnvironmentVariable { variable: "A".into(), value: "1".into() }];
    let request = v1::UpdateEnvironmentRequest { name: "default".into(), set, ..Default::default() };
    world.admin().environments().update_environment(request).await.expect("the admin sets");
    assert_eq!(carried(&world.session("", "default").await.join), SHORT);
    assert_eq!(say(&world, policy(Some(3_600), None)).await, 4);
    let request = v1::RestoreEnvironmentRequest { name: "default".into(), version: 2 };
    let restored = world.admin().environments().restore_environment(request).await.expect("the admin restores");
    let restored = restored.into_inner().environment.expect("an environment");
    assert_eq!((restored.version, restored.variables.len(), restored.boot), (5, 0, Some(SHORT.into())));
    assert_eq!(carried(&world.session("", "default").await.join), SHORT);

    let request = v1::ListEnvironmentVersionsRequest { name: "default".into() };
    let history = world.admin().environments().list_environment_versions(request).await.expect("a history");
    let changes: Vec<_> = history.into_inner().versions.into_iter().map(|v| (v.version, v.boot)).collect();
    let change = |before: BootPolicy, after: BootPolicy| {
        Some(v1::BootPolicyChange { before: Some(before.into()), after: Some(after.into()) })
    };
    assert_eq!(
        changes,
        [
            (5, change(policy(Some(3_600), None), SHORT)),
            (4, change(SHORT, policy(Some(3_600), None))),
            (3, None),
            (2, change(UNSAID, SHORT)),
            (1, None),
        ]
    );
}

#[tokio::test]
async fn a_policy_that_cannot_be_is_refused() {
    let world = World::new().await;
    for (deadline_seconds, on_failure, said) in [
        (3_601, 0, "boot.deadline is 3601 seconds, not 1 to 3600"),
        (65_537, 1, "boot.deadline is 65537 seconds"),
        (u32::MAX, 0, "boot.deadline is"),
        (30, 3, "boot.on_failure is neither `block` nor `continue`"),
        (30, -1, "boot.on_failure is neither"),
    ] {
        let boot = Some(v1::BootPolicy { deadline_seconds, on_failure });
        let request = v1::UpdateEnvironmentRequest { name: "default".into(), boot, ..Default::default() };
        let status = world.admin().environments().update_environment(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(said), "{status:?}");
    }
    assert_eq!(carried(&world.session("", "default").await.join), UNSAID);
}

#[tokio::test]
async fn an_agent_obeys_its_environment_and_flags_come_before_it() {
    let mut world = World::new().await;
    say(&world, SHORT).await;
    let [alone, flagged] = [world.session("", "default").await.join, world.session("", "default").await.join];
    say(&world, policy(Some(1), Some(OnFailure::Block))).await;
    let blocked = world.session("", "default").await.join;
    world.kill_server();

    let started = Instant::now();
    let mut agent = AgentRun::start(&alone, &[]);
    wait_for("the problem is told", || agent.dir.join("problem").exists());
    assert!(started.elapsed() < Duration::from_secs(15), "it waited longer than its environment says");
    assert!(agent.child.try_wait().unwrap().is_none(), "it goes on trying");
    for (join, flags) in [(flagged, &["--on-failure", "block"][..]), (blocked, &[])] {
        let mut agent = AgentRun::start(&join, flags);
        let (code, printed) = agent.finish();
        assert_eq!(code, 3, "{flags:?}: {printed}");
        assert_eq!(fs::read_dir(&agent.dir).unwrap().count(), 0);
    }
}

/// What somebody sees of a session.
async fn seen(by: &Api, id: &str) -> v1::Session {
    let request = v1::GetSessionRequest { id: id.into() };
    by.sessions().get_session(request).await.expect("they may see it").into_inner().session.expect("a session")
}

/// The phases on record for a session, oldest first.
async fn recorded(world: &World, id: &str) -> Vec<String> {
    let request = v1::ListAuditEntriesRequest {
        action: "session.report".into(),
        target: format!("session/{id}"),
        ..Default::default()
    };
    let entries =
        world.admin().audit().list_audit_entries(request).await.expect("the admin reads").into_inner().entries;
    assert!(entries.iter().all(|e| e.outcome == "done" && e.actor == e.target), "{entries:?}");
    entries.into_iter().map(|e| e.detail["phase"].clone()).collect()
}

fn id(made: &v1::CreateSessionResponse) -> String {
    made.session.as_ref().expect("a session").id.clone()
}

#[tokio::test]
async fn an_agent_reports_what_it_has_installed() {
    let world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, b"a value of acme").await;
    let root = world.cli("second", v1::Role::Admin).await;
    let made = world.session("", "default").await;
    let id = id(&made);
    assert_eq!(root.run(&["session", "show", &id, "-o", "json"]).json()["agent"], serde_json::Value::Null);
    assert!(root.run(&["session", "list"]).ok().contains("pending  -  "));

    let mut agent = AgentRun::start(&made.join, &["--once"]);
    agent.succeed();
    let (manifest, shown) = (agent.manifest(), root.run(&["session", "show", &id, "-o", "json"]).json());
    let reported = &shown["agent"];
    for (field, expected) in [
        ("phase", "ready".into()),
        ("bundle_version", manifest["bundle_version"].clone()),
        ("memory", manifest["memory"].clone()),
        ("files", manifest["files"].clone()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("last_error", serde_json::Value::Null),
        ("last_error_hidden", false.into()),
    ] {
        assert_eq!(reported[field], expected, "{field}");
    }
    assert!(reported["reported_at"].as_str() >= shown["fetched_at"].as_str(), "{shown}");
    let table = root.run(&["session", "show", &id]).ok();
    assert!(table.contains("phase        ready\n") && table.contains("\nagent        "), "{table}");
    assert!(root.run(&["session", "list"]).ok().contains("active  ready  "));
    assert_eq!(recorded(&world, &id).await, ["ready"]);

    // What it was given: to whom may know of it. The second is no member's to see.
    let alice = world.cli("alice", v1::Role::Member).await;
    let given = world.session("alice", "default").await;
    alice.run_with(&["secret", "create", "own-key", "--private"], b"of alice").ok();
    AgentRun::start(&given.join, &["--once"]).succeed();
    root.run_with(&["secret", "rotate", "api-key", "--shared"], b"another value").ok();
    let (id, secret) = (self::id(&given), root.run(&["secret", "show", "api-key", "--shared", "-o", "json"]).json());
    let shown = root.run(&["session", "show", &id, "-o", "json"]).json();
    assert_eq!(
        (shown["variables"].as_array().map(Vec::len), &shown["names_hidden"]),
        (Some(1), &true.into()),
        "{shown}"
    );
    let variable = &shown["variables"][0];
    for (field, expected) in [("variable", "API_KEY"), ("origin", "shared"), ("name", "api-key")] {
        assert_eq!(variable[field], expected, "{shown}");
    }
    assert!(variable["outdated"] == true && variable["version"] != secret["version"], "{shown}");
    let table = root.run(&["session", "show", &id]);
    assert!(
        table.ok().contains("API_KEY   shared api-key  ") && table.stderr().contains("further secrets"),
        "{}",
        table.ok()
    );
}

#[tokio::test]
async fn a_report_that_fails_changes_nothing() {
    let world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, b"a value of acme").await;
    let database = rusqlite::Connection::open(world.database()).expect("the store");
    database
        .execute_batch("CREATE TRIGGER no BEFORE UPDATE OF phase ON sessions BEGIN SELECT RAISE(ABORT, 'no'); END")
        .expect("our own statement");
    let made = world.session("", "default").await;
    let mut agent = AgentRun::start(&made.join, &["--once"]);
    agent.succeed();
    assert_eq!(agent.environ()["API_KEY"], b"a value of acme");
    assert!(agent.printed().contains("the control plane was not told"), "{}", agent.printed());
    assert_eq!(seen(world.admin(), &id(&made)).await.agent, None);
}

#[tokio::test]
async fn an_agent_that_is_late_reports_that_too() {
    let mut world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, b"a value of acme").await;
    say(&world, SHORT).await;
    let made = world.session("", "default").await;
    world.kill_server();
    let agent = AgentRun::start(&made.join, &[]);
    wait_for("the problem is told", || agent.dir.join("problem").exists());
    world.restart_server();
    // The admin's connection broke with the server; the first call finds that out.
    world.admin().users().who_am_i(v1::WhoAmIRequest {}).await.expect_err("an old connection");
    wait_for("the files come late", || agent.dir.join("manifest.json").exists());
    let session = reported(&world, &id(&made), v1::Phase::Ready).await;
    assert_eq!(session.agent.expect("a report").last_error, "");
    assert_eq!(recorded(&world, &id(&made)).await, ["degraded", "ready"]);
}

/// Waits for a phase.
async fn reported(world: &World, id: &str, phase: v1::Phase) -> v1::Session {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let session = seen(world.admin(), id).await;
        if session.agent.as_ref().is_some_and(|agent| agent.phase() == phase) {
            return session;
        }
        assert!(Instant::now() < end, "waited 30 s in vain for {phase:?}: {session:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Why it failed, and to whom that is told: an error may name a private secret.
#[tokio::test]
async fn an_agent_that_fails_for_good_says_why() {
    let world = World::new().await;
    let alice = world.person("alice", v1::Role::Member).await;
    let op = world.person("op", v1::Role::Operator).await;
    alice.create("mine", Visibility::Private, b"a value of alice").await;
    let database = rusqlite::Connection::open(world.database()).expect("the store");
    database.busy_timeout(Duration::from_secs(5)).expect("a setting");
    let change = |sql: &str| assert_eq!(database.execute(sql, []).expect("our own statement"), 1, "{sql}");

    // What the control plane refuses to deliver; then what the agent refuses to install.
    change("UPDATE secrets SET ciphertext = substr(ciphertext, 1, 20)");
    let refused = world.session("alice", "default").await;
    assert_eq!(AgentRun::start(&refused.join, &[]).finish().0, 1);
    change("DELETE FROM secrets");
    change(r#"UPDATE environment_versions SET variables = '{"BROKEN":"a\u0000b"}'"#);
    let failed = world.session("alice", "default").await;
    assert_eq!(AgentRun::start(&failed.join, &[]).finish().0, 1);
    let degraded = world.session("alice", "default").await;
    let mut agent = AgentRun::start(&degraded.join, &["--on-failure", "continue"]);

    for (made, phase, named) in [
        (refused, v1::Phase::Refused, "`mine`"),
        (failed, v1::Phase::Failed, "$BROKEN"),
        (degraded, v1::Phase::Degraded, "$BROKEN"),
    ] {
        reported(&world, &id(&made), phase).await;
        for (by, may) in [(&alice, true), (world.admin(), false), (&op, false)] {
            let said = seen(by, &id(&made)).await.agent.expect("a report");
            assert_eq!((said.phase(), said.bundle_version.as_str()), (phase, ""));
            assert!(said.last_error_names && said.last_error.contains(named) == may, "{said:?}");
            assert_eq!(said.last_error.is_empty(), !may);
        }
    }
    assert!(agent.child.try_wait().unwrap().is_none(), "it stays, for somebody to look at");
    let root = world.cli("second", v1::Role::Admin).await;
    let shown = root.run(&["session", "list", "-o", "json"]).json();
    assert_eq!(shown[0]["agent"]["last_error_hidden"], true);
}

#[tokio::test]
async fn a_repeated_report_is_kept_and_not_recorded() {
    let world = World::new().await;
    let made = world.session("", "default").await;
    let session = enrol_session(&made.join).await;
    let mut before = None;
    for (phase, error, on_record) in [
        (v1::Phase::Fetching, "", 1),
        (v1::Phase::Fetching, "no answer", 1),
        (v1::Phase::Ready, "", 2),
        (v1::Phase::Ready, "the clock is off", 2),
        (v1::Phase::Degraded, "", 3),
    ] {
        let status = v1::AgentStatus { phase: phase.into(), last_error: error.into(), ..Default::default() };
        session
            .bundle()
            .report(v1::ReportRequest { status: Some(status), ..Default::default() })
            .await
            .expect("its own");
        let shown = seen(world.admin(), &id(&made)).await;
        let agent = shown.agent.expect("a report");
        assert_eq!((agent.phase(), agent.last_error.as_str()), (phase, error));
        let at = shown.reported_at.map(|t| (t.seconds, t.nanos));
        assert!(at > before, "{at:?}");
        before = at;
        assert_eq!(recorded(&world, &id(&made)).await.len(), on_record);
    }
    let verified = world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.expect("the admin verifies");
    assert!(verified.into_inner().intact);
}

#[tokio::test]
async fn what_no_report_may_hold_is_refused() {
    let world = World::new().await;
    let (made, other) = (world.session("", "default").await, world.session("", "default").await);
    let session = enrol_session(&made.join).await;
    let good = || v1::AgentStatus {
        phase: v1::Phase::Ready.into(),
        session: id(&made),
        memory_rung: "m".repeat(32),
        files_rung: "f".repeat(32),
        last_error: "é".repeat(250),
        agent_version: "v".repeat(32),
        ..Default::default()
    };
    for (what, status, said) in [
        ("nothing", v1::AgentStatus::default(), "no phase"),
        ("a phase nobody knows", v1::AgentStatus { phase: 99, ..good() }, "no phase"),
        ("another session", v1::AgentStatus { session: id(&other), ..good() }, "another session"),
        ("no session's id", v1::AgentStatus { session: "x".into(), ..good() }, "another session"),
        ("no bundle's version", v1::AgentStatus { bundle_version: "x".into(), ..good() }, "bundle_version"),
        (
            "a long error",
            v1::AgentStatus { last_error: "x".repeat(501), ..good() },
            "last_error is not up to 500 bytes",
        ),
        ("a line end", v1::AgentStatus { last_error: "a\nb".into(), ..good() }, "last_error"),
        ("an escape", v1::AgentStatus { last_error: "\u{1b}[2J".into(), ..good() }, "last_error"),
        ("backwards", v1::AgentStatus { last_error: "\u{202e}x".into(), ..good() }, "last_error"),
        ("a long rung", v1::AgentStatus { memory_rung: "x".repeat(33), ..good() }, "memory_rung is not up to 32 bytes"),
        ("a rung of NULs", v1::AgentStatus { files_rung: "\0".into(), ..good() }, "files_rung"),
        ("a long version", v1::AgentStatus { agent_version: "x".repeat(33), ..good() }, "agent_version"),
    ] {
        let status = session
            .bundle()
            .report(v1::ReportRequest { status: Some(status), ..Default::default() })
            .await
            .expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}");
        assert!(status.message().contains(said), "{what}: {status:?}");
        assert!(!status.message().contains("xxx") && !status.message().contains(&id(&other)), "{what}: {status:?}");
    }
    session.bundle().report(v1::ReportRequest::default()).await.expect_err("a report without a status");
    for made in [&made, &other] {
        assert_eq!(seen(world.admin(), &id(made)).await.agent, None);
    }
    session
        .bundle()
        .report(v1::ReportRequest { status: Some(good()), ..Default::default() })
        .await
        .expect("as much as there is room for");
    assert_eq!(seen(world.admin(), &id(&made)).await.agent, Some(good()));

    // Who has ended says nothing more.
    world.admin().sessions().end_session(v1::EndSessionRequest { id: id(&made) }).await.expect("the admin ends it");
    let status = v1::AgentStatus { phase: v1::Phase::Degraded.into(), ..Default::default() };
    let refused =
        session.bundle().report(v1::ReportRequest { status: Some(status), ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(seen(world.admin(), &id(&made)).await.agent, Some(good()));
}
