//! The fleet as the control plane knows it: found, watched, stale, outdated, cloned; and the server's metrics.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use keyfob::{
    client::{self, Counter},
    wire::v1::{self, FleetAgent, FleetFilter, Phase, Role, Visibility},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use time::OffsetDateTime;
use tonic::{Code, Status};

use crate::{
    status::{said, scrape},
    world::{AgentRun, Api, KEYFOB, World, enrol_session, plain, wait_for},
};

async fn list(by: &Api, filter: FleetFilter) -> Vec<FleetAgent> {
    let request = v1::ListFleetRequest { filter: Some(filter), ..Default::default() };
    by.fleet().list_fleet(request).await.expect("a page").into_inner().agents
}

async fn get(by: &Api, id: &str) -> FleetAgent {
    let request = v1::GetFleetAgentRequest { session: id.into() };
    by.fleet().get_fleet_agent(request).await.expect("an agent").into_inner().agent.expect("an agent")
}

fn id(made: &v1::CreateSessionResponse) -> String {
    made.session.clone().expect("a session").id
}

fn ids(agents: &[FleetAgent]) -> Vec<String> {
    let mut ids: Vec<_> = agents.iter().map(|a| a.session.as_ref().expect("a session").id.clone()).collect();
    ids.sort();
    ids
}

/// A session whose agent reported this, without files.
async fn reported(world: &World, user: &str, environment: &str, status: v1::AgentStatus) -> (String, Api) {
    let made = world.session(user, environment).await;
    let session = enrol_session(&made.join).await;
    let request = v1::ReportRequest { status: Some(status), ..Default::default() };
    session.bundle().report(request).await.expect("its own");
    (id(&made), session)
}

fn phase(phase: Phase) -> v1::AgentStatus {
    v1::AgentStatus { phase: phase.into(), ..Default::default() }
}

#[tokio::test]
async fn who_is_found_by_what_and_by_whom() {
    let world = World::with_arguments(&["--beat-seconds", "3600"]).await;
    let alice = world.person("alice", Role::Member).await;
    let bob = world.person("bob", Role::Member).await;
    let op = world.person("op", Role::Operator).await;
    let other = world.organization("other").await;
    let made = v1::CreateEnvironmentRequest { name: "staging".into(), ..Default::default() };
    world.admin().environments().create_environment(made).await.unwrap();
    // Whoever fetched has what it would get now; the last one hasn't.
    let fetched = |status: v1::AgentStatus, bundle: String| v1::AgentStatus { bundle_version: bundle, ..status };
    let (a, agent) = reported(&world, "alice", "default", phase(Phase::Fetching)).await;
    agent.fetch("acme", &a).await.unwrap();
    let bundle = get(&op, &a).await.session.unwrap().bundle_version;
    let ready = fetched(phase(Phase::Ready), bundle.clone());
    agent.bundle().report(v1::ReportRequest { status: Some(ready.clone()), ..Default::default() }).await.unwrap();
    let (b, _) = reported(
        &world,
        "bob",
        "staging",
        v1::AgentStatus {
            last_error: "the stored secret `x`".into(),
            last_error_names: true,
            ..phase(Phase::Degraded)
        },
    )
    .await;
    let (c, _) = reported(&world, "", "default", ready).await;
    world.session("alice", "default").await; // nobody has enrolled for it: no agent
    let (ended, _) = reported(&world, "alice", "default", phase(Phase::Ready)).await;
    world.admin().sessions().end_session(v1::EndSessionRequest { id: ended.clone() }).await.unwrap();

    let none = FleetFilter::default;
    for (what, by, filter, found) in [
        ("all, an operator", &op, none(), &[&a, &b, &c][..]),
        ("all, an admin", world.admin(), none(), &[&a, &b, &c]),
        ("all, a member", &alice, none(), &[&a]),
        ("all, another member", &bob, none(), &[&b]),
        ("all, another organization", &other, none(), &[]),
        ("alice's", &op, FleetFilter { user: "alice".into(), ..none() }, &[&a]),
        ("bob's, another member", &alice, FleetFilter { user: "bob".into(), ..none() }, &[]),
        ("of staging", &op, FleetFilter { environment: "staging".into(), ..none() }, &[&b]),
        ("ready", &op, FleetFilter { phase: Phase::Ready.into(), ..none() }, &[&a, &c]),
        ("degraded", &op, FleetFilter { phase: Phase::Degraded.into(), ..none() }, &[&b]),
        ("refused", &op, FleetFilter { phase: Phase::Refused.into(), ..none() }, &[]),
        ("outdated", &op, FleetFilter { outdated: true, ..none() }, &[&b]),
        ("stale", &op, FleetFilter { stale: true, ..none() }, &[]),
        ("cloned", &op, FleetFilter { cloned: true, ..none() }, &[]),
    ] {
        let mut found: Vec<_> = found.iter().map(ToString::to_string).collect();
        found.sort();
        assert_eq!(ids(&list(by, filter).await), found, "{what}");
    }
    // What may name a secret is its user's to read.
    for (who, by, told) in [("bob", &bob, true), ("an operator", &op, false), ("an admin", world.admin(), false)] {
        let report = get(by, &b).await.session.unwrap().agent.unwrap();
        assert_eq!((report.last_error.is_empty(), report.last_error_names), (!told, true), "{who}");
    }
    // A secret of bob's makes bob's agents outdated and nobody else's, a shared one everybody's.
    bob.create("mine", Visibility::Private, b"a value of bob").await;
    assert!(!get(&op, &a).await.outdated && !get(&op, &c).await.outdated);
    alice.create("ours", Visibility::Shared, b"a value of acme").await;
    assert_eq!(list(&op, FleetFilter { outdated: true, ..none() }).await.len(), 3);
    // An ended one is still shown, by its id.
    let gone = get(&op, &ended).await;
    assert!(!gone.stale && gone.session.unwrap().ended_at.is_some());

    // Pages.
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListFleetRequest { page_size: 1, page_token, ..Default::default() };
        let page = op.fleet().list_fleet(request).await.unwrap().into_inner();
        assert!(page.agents.len() <= 1);
        all.extend(page.agents);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(all.len(), 3);
}

#[tokio::test]
async fn watching_tells_each_change_until_it_may_not() {
    let world = World::with_arguments(&["--beat-seconds", "1"]).await;
    let op = world.person("op", Role::Operator).await;
    let alice = world.person("alice", Role::Member).await;
    let (first, agent) = reported(&world, "alice", "default", phase(Phase::Ready)).await;
    let watch = |by: &Api, filter| {
        let request = v1::WatchFleetRequest { filter: Some(filter) };
        let mut fleet = by.fleet();
        async move { fleet.watch_fleet(request).await.expect("a stream").into_inner() }
    };
    let mut all = watch(&op, FleetFilter::default()).await;
    let mut stale = watch(&op, FleetFilter { stale: true, ..Default::default() }).await;
    let mut own = watch(&alice, FleetFilter::default()).await;
    let told = |message: Result<Option<v1::WatchFleetResponse>, Status>| message.expect("no error").expect("no end");
    let start = told(all.message().await);
    assert_eq!((ids(&start.agents), start.complete), (vec![first.clone()], true));
    let none = told(stale.message().await);
    assert_eq!((none.agents.len(), none.complete), (0, true));
    assert_eq!(ids(&told(own.message().await).agents).concat(), first);

    let until = async |stream: &mut tonic::Streaming<v1::WatchFleetResponse>, wanted: &dyn Fn(&FleetAgent) -> bool| loop {
        let change = tokio::time::timeout(Duration::from_secs(30), stream.message()).await.expect("it is told");
        let change = change.expect("no error").expect("no end");
        if let Some(found) = change.agents.into_iter().find(|a| wanted(a)) {
            return found;
        }
    };
    let of = |agent: &FleetAgent| agent.session.as_ref().and_then(|s| s.agent.clone()).unwrap_or_default();
    // A phase, an error in the same phase, a new session, silence, and its end.
    for (to, error) in [(Phase::Degraded, "one"), (Phase::Degraded, "two"), (Phase::Ready, "")] {
        let status = v1::AgentStatus { last_error: error.into(), ..phase(to) };
        agent.bundle().report(v1::ReportRequest { status: Some(status), ..Default::default() }).await.unwrap();
        until(&mut all, &|a| of(a).phase() == to && of(a).last_error == error).await;
        until(&mut own, &|a| of(a).phase() == to && of(a).last_error == error).await;
    }
    let (second, _) = reported(&world, "", "default", phase(Phase::Ready)).await;
    until(&mut all, &|a| a.session.as_ref().is_some_and(|s| s.id == second)).await;
    until(&mut stale, &|a| a.stale && a.session.as_ref().is_some_and(|s| s.id == first)).await;
    until(&mut all, &|a| a.stale && a.session.as_ref().is_some_and(|s| s.id == first)).await;
    agent.fetch("acme", &first).await.unwrap();
    let bundle_version = get(&op, &first).await.session.unwrap().bundle_version;
    let status = v1::AgentStatus { bundle_version, ..phase(Phase::Ready) };
    agent.bundle().report(v1::ReportRequest { status: Some(status), ..Default::default() }).await.unwrap();
    until(&mut all, &|a| !a.outdated).await;
    world.admin().create("new", Visibility::Shared, b"a value of acme").await;
    until(&mut all, &|a| a.outdated).await;
    world.admin().sessions().end_session(v1::EndSessionRequest { id: first.clone() }).await.unwrap();
    while !told(all.message().await).gone.contains(&first) {}

    // Alice's stream never told of what is not hers; it ends with her.
    world.admin().users().remove_user(v1::RemoveUserRequest { name: "alice".into() }).await.unwrap();
    let ended = loop {
        match own.message().await {
            Ok(Some(change)) => assert!(!ids(&change.agents).contains(&second), "not hers"),
            Ok(None) => panic!("it ends with a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
}

/// Real agents: they report on change, and beat; one that is stopped falls silent.
#[tokio::test]
async fn a_silent_agent_is_stale_and_comes_back() {
    let world = World::with_arguments(&["--beat-seconds", "1"]).await;
    world.admin().create("api-key", Visibility::Shared, b"a value of acme").await;
    let op = world.person("op", Role::Operator).await;
    let made = world.session("", "default").await;
    let agent = AgentRun::start(&made.join, &[]);
    wait_for("files", || agent.dir.join("manifest.json").exists());
    let until = async |what: &str, wanted: &dyn Fn(&FleetAgent) -> bool| {
        for _ in 0..3_000 {
            let found = get(&op, &id(&made)).await;
            if wanted(&found) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain: {what}");
    };
    let at = |a: &FleetAgent| a.session.as_ref().and_then(|s| s.reported_at).map(|t| (t.seconds, t.nanos));
    let first = until("ready", &|a| {
        a.session.as_ref().is_some_and(|s| s.agent.as_ref().is_some_and(|r| r.phase() == Phase::Ready))
    })
    .await;
    assert!(!first.stale && !first.outdated);
    // The first beat tells the agent how often it is wanted; each after that comes within a second.
    let second = until("a beat", &|a| at(a) > at(&first)).await;
    until("another", &|a| at(a) > at(&second)).await;
    let pid = Pid::from_raw(agent.child.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    until("it is stale", &|a| a.stale).await;
    kill(pid, Signal::SIGCONT).unwrap();
    until("it is heard again", &|a| !a.stale).await;
}

#[tokio::test]
async fn a_clone_is_refused_reported_and_on_record() {
    let world = World::new().await;
    let op = world.person("op", Role::Operator).await;
    let made = world.session("", "default").await;
    let session = enrol_session(&made.join).await;
    let renew = async |renewals: Option<u64>, attempt: u8| {
        let counter = Counter { renewals, attempt: if attempt == 0 { vec![] } else { vec![attempt; 16] } };
        let (channel, now) = (session.channel.clone(), OffsetDateTime::now_utc());
        match client::renew_counted(channel, &session.credentials, now, &counter).await {
            Ok((_, renewals)) => Ok(renewals),
            Err(client::Error::Status(status)) => Err(status),
            Err(other) => panic!("{other}"),
        }
    };
    for (what, renewals, attempt, expected) in [
        ("without a counter", None, 0, Ok(1)),
        ("counted", Some(1), 1, Ok(2)),
        ("the answer got lost", Some(1), 1, Ok(2)),
        ("and again", Some(1), 1, Ok(2)),
        ("the next", Some(2), 2, Ok(3)),
        ("a clone, of before", Some(2), 3, Err(Code::PermissionDenied)),
        ("a clone, of long before", Some(0), 4, Err(Code::PermissionDenied)),
        ("a clone that does not count any more", None, 0, Err(Code::PermissionDenied)),
        ("the one that was first goes on", Some(3), 5, Ok(4)),
    ] {
        let got = renew(renewals, attempt).await;
        assert_eq!(got.as_ref().copied().map_err(Status::code), expected, "{what}: {got:?}");
    }
    let agent = get(&op, &id(&made)).await;
    assert!(agent.cloned_at.is_some() && agent.clone.contains("counted backwards"), "{agent:?}");
    assert_eq!(list(&op, FleetFilter { cloned: true, ..Default::default() }).await.len(), 1);
    let filter = v1::ListAuditEntriesRequest { action: "session.clone".into(), ..Default::default() };
    let entries = world.admin().audit().list_audit_entries(filter).await.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 1, "once a minute: {entries:?}");
    assert_eq!((&*entries[0].target, &*entries[0].outcome), (&*format!("session/{}", id(&made)), "refused"));
    world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.unwrap();
}

#[tokio::test]
async fn the_console_in_words_and_lines() {
    let world = World::with_arguments(&["--beat-seconds", "1"]).await;
    let alice = world.person("alice", Role::Member).await;
    alice.create("my-own-name", Visibility::Private, b"a value of alice").await;
    let cli = world.cli("op", Role::Operator).await;
    assert!(cli.run(&["fleet", "list"]).stderr().contains("no agents"));
    let made = world.session("alice", "default").await;
    let agent = AgentRun::start(&made.join, &[]);
    wait_for("ready", || {
        cli.run(&["fleet", "list", "--phase", "ready", "-o", "json"]).json().as_array().unwrap().len() == 1
    });

    let table = cli.run(&["fleet", "list", "--user", "alice"]).ok();
    for word in ["SESSION", "HEARD", &id(&made), "alice", "default@1", "ready"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let shown = cli.run(&["fleet", "show", &id(&made)]).ok();
    assert!(shown.contains("phase") && !shown.contains("outdated"), "{shown}");
    assert_eq!(cli.run(&["fleet", "list", "--stale", "-o", "json"]).json(), serde_json::json!([]));
    assert_eq!(cli.run(&["fleet", "show", &"a".repeat(26)]).code(), 1);

    let (mut watching, lines) = lines(&cli.home, &["fleet", "watch", "-o", "json"]);
    let next = |wanted: &dyn Fn(&serde_json::Value) -> bool| loop {
        let line = lines.recv_timeout(Duration::from_secs(30)).expect("a line");
        let json = serde_json::from_str(&line).expect("an object");
        if wanted(&json) {
            return json;
        }
    };
    let first = next(&|_| true);
    assert_eq!(
        (&first["event"], &first["id"], &first["outdated"]),
        (&"agent".into(), &id(&made).into(), &false.into())
    );
    alice.create("another-name", Visibility::Private, b"a value of alice").await;
    next(&|j| j["outdated"] == true);
    drop(agent);
    next(&|j| j["stale"] == true);
    world.admin().sessions().end_session(v1::EndSessionRequest { id: id(&made) }).await.unwrap();
    assert_eq!(next(&|j| j["event"] == "gone")["session"], id(&made));
    watching.kill().unwrap();
    watching.wait().unwrap();
    let everything = format!("{table}{shown}{first}");
    assert!(!everything.contains("my-own-name") && !everything.contains("a value of"), "{everything}");
}

/// A program that goes on, line by line.
fn lines(home: &std::path::Path, arguments: &[&str]) -> (Child, mpsc::Receiver<String>) {
    let mut child = Command::new(KEYFOB)
        .args(arguments)
        .env("KEYFOB_HOME", home)
        .stdout(Stdio::piped())
        .spawn()
        .expect("keyfob starts");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    (child, receive)
}

/// On a terminal, what is watched is redrawn in its place.
#[tokio::test]
async fn a_table_that_is_redrawn() {
    let world = World::new().await;
    let cli = world.cli("op", Role::Operator).await;
    let (session, _) = reported(&world, "", "default", phase(Phase::Ready)).await;
    let typescript = world.dir.path().join("typescript");
    let mut watching = Command::new("script")
        .args(["-qfc", &format!("stty rows 6 cols 80; exec {KEYFOB} fleet watch")])
        .arg(&typescript)
        .env("KEYFOB_HOME", &cli.home)
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("script runs");
    let drawn = || String::from_utf8_lossy(&std::fs::read(&typescript).unwrap_or_default()).into_owned();
    wait_for("the table", || drawn().contains(&session));
    assert!(drawn().contains("1 agents, 1 ready, 0 stale"), "{}", drawn());
    for _ in 0..5 {
        reported(&world, "", "default", phase(Phase::Degraded)).await;
    }
    // What needs a look comes first, and no more than there is room for.
    wait_for("all of them", || drawn().contains("6 agents, 1 ready") && drawn().contains("... and 4 more"));
    assert!(drawn().contains("\u{1b}[3A"), "redrawn in its place: {}", drawn());
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[tokio::test]
async fn metrics_of_the_server() {
    let refused = Command::new(crate::world::SERVER)
        .args(["serve", "--data-dir", "/nonexistent", "--metrics-listen", "0.0.0.0:9464"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no loopback address"));

    let world = World::with_arguments(&["--metrics-listen", "127.0.0.1:0"]).await;
    let address = said(&std::fs::read_to_string(&world.log).unwrap(), "listening metrics=");
    let alice = world.person("alice", Role::Member).await;
    alice.create("a-name-of-alice", Visibility::Private, b"a value of alice").await;
    let made = world.session("alice", "default").await;
    AgentRun::start(&made.join, &["--once"]).succeed();
    alice.secrets().get_secret(v1::GetSecretRequest::default()).await.unwrap_err();
    let create = v1::CreateSecretRequest { name: "x".into(), value: Some(plain(b"y")), ..Default::default() };
    alice.sessions().revoke_session(v1::RevokeSessionRequest { id: "none".into() }).await.unwrap_err();
    alice.secrets().create_secret(create).await.unwrap_err();
    let mut watched = alice.fleet().watch_fleet(v1::WatchFleetRequest::default()).await.unwrap().into_inner();
    watched.message().await.unwrap();
    let text = scrape(&address, "/metrics");
    let value = |sample: &str| {
        let line = text.lines().find(|l| l.rsplit_once(' ').is_some_and(|(name, _)| name == sample));
        line.map(|l| l.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
    };
    for (sample, least) in [
        (r#"keyfob_requests_total{rpc="SecretService/CreateSecret",code="OK"}"#, 1.0),
        (r#"keyfob_requests_total{rpc="SecretService/CreateSecret",code="INVALID_ARGUMENT"}"#, 1.0),
        (r#"keyfob_requests_total{rpc="SessionService/RevokeSession",code="NOT_FOUND"}"#, 1.0),
        (r#"keyfob_requests_total{rpc="BundleService/Fetch",code="OK"}"#, 1.0),
        (r#"keyfob_request_seconds_count{rpc="BundleService/Fetch"}"#, 1.0),
        (r#"keyfob_request_seconds_bucket{rpc="BundleService/Fetch",le="+Inf"}"#, 1.0),
        (r#"keyfob_streams_open{rpc="FleetService/WatchFleet"}"#, 1.0),
        ("keyfob_handshake_seconds_count", 3.0),
        ("keyfob_store_commit_seconds_count", 5.0),
        ("keyfob_store_group_size_count", 5.0),
        ("keyfob_rollouts_open", 0.0),
        ("keyfob_connections_open", 2.0),
        ("keyfob_connections_total", 3.0),
    ] {
        assert!(value(sample).is_some_and(|v| v >= least), "{sample} at least {least}: {text}");
    }
    drop(watched);
    let over = |text: &str| {
        text.contains(r#"keyfob_streams_open{rpc="FleetService/WatchFleet"} 0"#)
            && text.contains(r#"keyfob_requests_total{rpc="FleetService/WatchFleet",code="CANCELLED"} 1"#)
    };
    let mut looks = 0;
    while !over(&scrape(&address, "/metrics")) {
        looks += 1;
        assert!(looks < 3_000, "the stream is over, and still counted");
        tokio::time::sleep(Duration::from_millis(10)).await; // this thread's connection tells the server
    }
    // Names of people, organizations, secrets and sessions are in no label.
    let session = id(&made);
    for name in ["alice", "acme", "a-name", "A_NAME", "root", "default\"", &session] {
        assert!(!text.contains(name), "{name}: {text}");
    }
}
