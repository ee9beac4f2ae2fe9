//! What sessions say was printed and masked: who sees it, what is ignored and what is refused, what it does to the audit log;
//! and how well values can be redacted at all.

use std::{collections::BTreeMap, fs, path::Path};

use keyfob::wire::v1::{self, RedactionStrength, Role, Visibility};
use rusqlite::Connection;
use tonic::Code;

use crate::world::{Api, Cli, ORG, World, enrol_session, plain};

fn leak(secret: &v1::Secret, unit: &str, form: &str, count: u64) -> v1::Leak {
    v1::Leak {
        variable: secret.variable.clone(),
        version: secret.version.clone(),
        form: form.into(),
        unit: unit.into(),
        count,
    }
}

/// A session that has its bundle.
struct Vm {
    api: Api,
    id: String,
}

impl Vm {
    async fn of(world: &World, user: &str) -> Self {
        let made = world.session(user, "default").await;
        let vm = Self { api: enrol_session(&made.join).await, id: made.session.expect("a session").id };
        vm.api.fetch(ORG, &vm.id).await.expect("a bundle");
        vm
    }

    async fn leaked(&self, leaks: impl IntoIterator<Item = v1::Leak>) {
        self.api.leaked(leaks).await.expect("its own report");
    }
}

async fn listed(by: &Api, request: v1::ListLeaksRequest) -> Vec<v1::SecretLeak> {
    by.secrets().list_leaks(request).await.expect("a list").into_inner().leaks
}

async fn audit(world: &World, action: &str) -> Vec<v1::AuditEntry> {
    let request = v1::ListAuditEntriesRequest { action: action.into(), page_size: 1_000, ..Default::default() };
    world.admin().audit().list_audit_entries(request).await.expect("the admin reads").into_inner().entries
}

async fn intact(world: &World) -> bool {
    world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.expect("verified").into_inner().intact
}

#[tokio::test]
async fn everybody_sees_the_leaks_that_are_theirs_to_see() {
    let world = World::new().await;
    let (alice, bob) = (world.person("alice", Role::Member).await, world.person("bob", Role::Member).await);
    let other = world.organization("other").await;
    let team = alice.create("team", Visibility::Shared, b"the value of team").await;
    let a = alice.create("a", Visibility::Private, b"the value of a").await;
    let b = bob.create("b", Visibility::Private, b"the value of b").await;
    let r = world.admin().create("r", Visibility::Private, b"the value of r").await;
    let (alices, bobs, roots, nobodys) = (
        Vm::of(&world, "alice").await,
        Vm::of(&world, "bob").await,
        Vm::of(&world, "root").await,
        Vm::of(&world, "").await,
    );
    alices.leaked([leak(&team, "web.service", "raw", 2), leak(&a, "web.service", "base64", 1)]).await;
    bobs.leaked([leak(&team, "exec", "raw", 1), leak(&b, "exec", "raw", 5)]).await;
    nobodys.leaked([leak(&team, "", "hex", 1)]).await;
    roots.leaked([leak(&r, "cron.service", "raw", 1)]).await;
    alices.leaked([leak(&team, "web.service", "raw", 3)]).await;

    let all = v1::ListLeaksRequest::default;
    let of = |name: &str, visibility: Visibility| v1::ListLeaksRequest {
        r#ref: Some(v1::SecretRef { name: name.into(), visibility: visibility.into(), ..Default::default() }),
        ..all()
    };
    let id = |secret: &v1::Secret| v1::ListLeaksRequest {
        r#ref: Some(v1::SecretRef { id: secret.id.clone(), ..Default::default() }),
        ..all()
    };
    use Visibility::{Private, Shared, Unspecified};
    #[rustfmt::skip]
    let cases = [
        // (who, what is asked for, what is seen, newest first: secret, unit, form, count)
        (&alice,        all(),               "a web.service base64 1, team web.service raw 5"),
        (&bob,          all(),               "b exec raw 5, team exec raw 1"),
        (world.admin(), all(),               "r cron.service raw 1, team  hex 1, team exec raw 1, team web.service raw 5"),
        (&other,        all(),               ""),
        (&alice,        of("", Private),     "a web.service base64 1"),
        (&alice,        of("", Shared),      "team web.service raw 5"),
        (&alice,        of("team", Unspecified), "team web.service raw 5"),
        (&alice,        of("team", Private), ""),
        (&alice,        of("b", Unspecified), ""),
        (&alice,        id(&b),              ""), // as if it did not exist
        (&alice,        id(&team),           "team web.service raw 5"),
        (world.admin(), id(&b),              ""), // nobody but the owner
        (world.admin(), of("a", Unspecified), ""),
        (world.admin(), of("", Private),     "r cron.service raw 1"),
        (&other,        id(&team),           ""),
    ];
    for (by, request, expected) in cases {
        let shown: Vec<_> = listed(by, request.clone())
            .await
            .iter()
            .map(|l| format!("{} {} {} {}", l.name, l.unit, l.form, l.count))
            .collect();
        assert_eq!(shown.join(", "), expected, "{request:?}");
    }
    let found = listed(&alice, id(&team)).await;
    let l = &found[0];
    assert_eq!((&l.secret_id, &l.version, l.current, &*l.variable), (&team.id, &team.version, true, "TEAM"));
    assert_eq!((&l.session, &*l.user, &*l.environment), (&alices.id, "alice", "default"));
    assert_eq!(l.visibility(), Shared);
    let at = |t: &Option<prost_types::Timestamp>| t.map(|t| (t.seconds, t.nanos));
    assert!(at(&l.first_at) < at(&l.last_at), "{l:?}");

    // What is on record names shared secrets, and private ones by their ids alone.
    let entries = audit(&world, "secret.leaked").await;
    let shown: Vec<_> = entries
        .iter()
        .map(|e| {
            let detail: BTreeMap<_, _> = e.detail.iter().collect();
            assert_eq!((e.actor.clone(), e.outcome.as_str()), (e.target.clone(), "done"));
            detail.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(shown.len(), 6, "a repetition is not on record: {shown:?}");
    assert_eq!(
        shown[0],
        format!("count=2 form=raw name=team secret={} unit=web.service version={}", team.id, team.version)
    );
    assert_eq!(shown[1], format!("count=1 form=base64 secret={} unit=web.service version={}", a.id, a.version));
    assert!(intact(&world).await);
    alices.api.fetch(ORG, &alices.id).await.expect("secrets are whole after their leaks");
}

#[tokio::test]
async fn pages_and_since() {
    let world = World::new().await;
    let team = world.admin().create("team", Visibility::Shared, b"the value of team").await;
    let vm = Vm::of(&world, "").await;
    for unit in ["a", "b", "c", "d", "e"] {
        vm.leaked([leak(&team, unit, "raw", 1)]).await;
    }
    let database = Connection::open(world.database()).expect("the server's own file");
    database.execute_batch("UPDATE leaks SET last_at = 1000000 * (unicode(unit) - 96)").unwrap(); // a: 1 s, e: 5 s
    for (seconds, nanos, expected) in [
        (0, 0, "e d c b a"),
        (3, 0, "e d c"),
        (3, 1_000, "e d"),
        (5, 1_000, ""),
        (i64::MAX, 0, ""),
        (i64::MIN, 0, "e d c b a"),
    ] {
        for page_size in [1, 2, 5, 0] {
            let (mut seen, mut page_token) = (Vec::new(), String::new());
            loop {
                let since = Some(prost_types::Timestamp { seconds, nanos });
                let request = v1::ListLeaksRequest { since, page_size, page_token, ..Default::default() };
                let page = world.admin().secrets().list_leaks(request).await.expect("a page").into_inner();
                seen.extend(page.leaks.into_iter().map(|l| l.unit));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            assert_eq!(seen.join(" "), expected, "since {seconds}.{nanos}, by {page_size}");
        }
    }
    for page_token in ["x", "-1", "1.5"] {
        let request = v1::ListLeaksRequest { page_token: page_token.into(), ..Default::default() };
        let status = world.admin().secrets().list_leaks(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{page_token}");
    }
}

#[tokio::test]
async fn what_is_no_leak_of_the_session_is_ignored() {
    let world = World::new().await;
    let (alice, bob) = (world.person("alice", Role::Member).await, world.person("bob", Role::Member).await);
    let before = alice.create("before", Visibility::Private, b"the value of before").await;
    let vm = Vm::of(&world, "alice").await;
    let b = bob.create("b", Visibility::Private, b"the value of b").await;
    Vm::of(&world, "bob").await;
    let later = alice.create("later", Visibility::Private, b"the value of later").await;
    let kept_back = v1::CreateSecretRequest {
        name: "kept-back".into(),
        visibility: Visibility::Private.into(),
        value: Some(plain(b"the value of kept-back")),
        no_auto_install: true,
        ..Default::default()
    };
    let kept_back = alice.secrets().create_secret(kept_back).await.unwrap().into_inner().secret.unwrap();
    let canary = v1::Leak { variable: "KEYFOB_CANARY".into(), ..leak(&before, "u", "raw", 1) };
    let unknown = v1::Leak { version: "a".repeat(26), ..leak(&before, "u", "raw", 1) };
    let report = [
        leak(&b, "u", "raw", 1),
        leak(&later, "u", "raw", 1),
        leak(&kept_back, "u", "raw", 1),
        unknown,
        canary,
        v1::Leak { version: "1".into(), ..leak(&before, "u", "raw", 1) }, // an environment's variable
    ];
    vm.leaked(report.clone()).await;
    for by in [&alice, &bob, world.admin()] {
        assert_eq!(listed(by, Default::default()).await, []);
    }
    assert!(audit(&world, "secret.leaked").await.is_empty());

    // The rest of the report counts; and what was delivered by name was delivered.
    vm.api.fetch_named(ORG, &vm.id, &["kept-back"]).await.expect("by name");
    vm.leaked(report.into_iter().chain([leak(&before, "u", "raw", 1)])).await;
    let seen: Vec<_> = listed(&alice, Default::default()).await.into_iter().map(|l| l.name).collect();
    assert_eq!(seen, ["before", "kept-back"]);
    // Whatever the variable is called now, the version tells whose it is.
    let r#ref = Some(v1::SecretRef { id: before.id.clone(), ..Default::default() });
    let request = v1::UpdateSecretRequest { r#ref, variable: Some("NEW_NAME".into()), ..Default::default() };
    alice.secrets().update_secret(request).await.expect("the owner's own change");
    vm.leaked([leak(&before, "u", "raw", 1)]).await;
    let seen = listed(&alice, Default::default()).await;
    assert_eq!(seen.iter().map(|l| (&*l.variable, l.count)).collect::<Vec<_>>(), [("NEW_NAME", 2), ("KEPT_BACK", 1)]);
}

#[tokio::test]
async fn what_no_report_of_leaks_may_hold_is_refused_whole() {
    let world = World::new().await;
    let team = world.admin().create("team", Visibility::Shared, b"the value of team").await;
    let vm = Vm::of(&world, "").await;
    let good = || leak(&team, "u", "raw", 1);
    for (what, bad, said) in [
        ("no variable", v1::Leak { variable: "no variable".into(), ..good() }, "a leak's variable"),
        ("no version", v1::Leak { version: String::new(), ..good() }, "a leak's version"),
        ("a long version", v1::Leak { version: "x".repeat(65), ..good() }, "a leak's version"),
        ("no form", v1::Leak { form: String::new(), ..good() }, "a leak's form"),
        ("a long form", v1::Leak { form: "x".repeat(33), ..good() }, "a leak's form"),
        ("a long unit", v1::Leak { unit: "x".repeat(256), ..good() }, "a leak's unit"),
        ("a unit with an escape", v1::Leak { unit: "\u{1b}[2Jxxx".into(), ..good() }, "a leak's unit"),
        ("a count of nothing", v1::Leak { count: 0, ..good() }, "a leak's count"),
    ] {
        let status = vm.api.leaked([good(), bad]).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert!(status.message().contains(said) && !status.message().contains("xxx"), "{what}: {status}");
    }
    let many = |count: usize| (0..count).map(|n| leak(&team, &format!("u{n}"), "raw", 1)).collect::<Vec<_>>();
    let status = vm.api.leaked(many(201)).await.unwrap_err();
    assert!(status.message().contains("201 leaks; 200 is the most"), "{status}");
    let status = vm.api.leaked([]).await.unwrap_err();
    assert!(status.message().contains("no phase"), "neither status nor leaks: {status}");
    assert_eq!(listed(world.admin(), Default::default()).await, []);
    vm.leaked(many(200)).await;
    assert_eq!(listed(world.admin(), v1::ListLeaksRequest { page_size: 1_000, ..Default::default() }).await.len(), 200);
}

/// Leaks alone leave what is known of the agent as it is, and come with it as well.
#[tokio::test]
async fn leaks_with_and_without_a_status() {
    let world = World::new().await;
    let team = world.admin().create("team", Visibility::Shared, b"the value of team").await;
    let vm = Vm::of(&world, "").await;
    let agent = || async {
        let request = v1::GetSessionRequest { id: vm.id.clone() };
        let session = world.admin().sessions().get_session(request).await.unwrap().into_inner().session.unwrap();
        (session.agent, session.reported_at)
    };
    vm.leaked([leak(&team, "u", "raw", 1)]).await;
    assert_eq!(agent().await, (None, None));
    let status = v1::AgentStatus { phase: v1::Phase::Ready.into(), redaction: "verified".into(), ..Default::default() };
    for (leaks, count) in [(vec![], 1), (vec![leak(&team, "u", "raw", 2)], 3)] {
        let request = v1::ReportRequest { status: Some(status.clone()), leaks };
        vm.api.bundle().report(request).await.expect("its own");
        assert_eq!(listed(world.admin(), Default::default()).await[0].count, count);
    }
    let before = agent().await;
    assert_eq!(before.0.as_ref().map(|a| a.redaction.as_str()), Some("verified"));
    vm.leaked([leak(&team, "u", "raw", 1)]).await;
    assert_eq!(agent().await, before);
    // A status that can't be kept takes its leaks with it.
    let request = v1::ReportRequest {
        status: Some(v1::AgentStatus { redaction: "x".repeat(201), ..status }),
        leaks: vec![leak(&team, "u", "raw", 1)],
    };
    let status = vm.api.bundle().report(request).await.unwrap_err();
    assert!(status.message().contains("redaction is not up to 200 bytes"), "{status}");
    assert_eq!(listed(world.admin(), Default::default()).await[0].count, 4);
    assert_eq!(audit(&world, "session.report").await.len(), 1);
}

/// A session says what it likes, as often as it likes, of as many units as it likes.
#[tokio::test]
async fn a_session_cannot_fill_the_audit_log() {
    let world = World::new().await;
    let team = world.admin().create("team", Visibility::Shared, b"the value of team").await;
    let vm = Vm::of(&world, "").await;
    for (count, on_record) in [(1, 1), (1, 1), (7, 1), (1, 2), (89, 2), (1, 3), (u64::MAX, 4), (u64::MAX, 4)] {
        vm.leaked([leak(&team, "u", "raw", count)]).await;
        assert_eq!(audit(&world, "secret.leaked").await.len(), on_record, "{count} more");
    }
    assert_eq!(listed(world.admin(), Default::default()).await[0].count, i64::MAX as u64);
    for round in 0..7 {
        let leaks = (0..200).map(|n| leak(&team, &format!("u{round}-{n}"), "raw", 1));
        vm.leaked(leaks).await;
    }
    let database = Connection::open(world.database()).expect("the server's own file");
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
    assert_eq!(count("SELECT COUNT(*) FROM leaks"), 1_001);
    assert_eq!(count("SELECT count FROM leaks WHERE unit = '(other)' AND form = '(other)'"), 1_401 - 1_000);
    assert_eq!(count("SELECT COUNT(*) FROM audit WHERE action = 'secret.leaked'"), 4 + 999 + 3);

    // The phase it says it is in, likewise: 20 changes an hour are on record, further ones are kept.
    let report = async |phase: v1::Phase| {
        let status = v1::AgentStatus { phase: phase.into(), ..Default::default() };
        vm.api.bundle().report(v1::ReportRequest { status: Some(status), leaks: vec![] }).await.expect("its own");
        let request = v1::GetSessionRequest { id: vm.id.clone() };
        let session = world.admin().sessions().get_session(request).await.unwrap().into_inner().session.unwrap();
        assert_eq!(session.agent.expect("a report").phase(), phase);
    };
    for _ in 0..15 {
        report(v1::Phase::Degraded).await;
        report(v1::Phase::Ready).await;
    }
    let entries = audit(&world, "session.report").await;
    assert_eq!(entries.len(), 20);
    let further = |e: &v1::AuditEntry| e.detail.get("further").cloned();
    assert_eq!(further(&entries[19]).as_deref(), Some("not recorded within the hour"));
    assert!(entries[..19].iter().all(|e| further(e).is_none()));
    // An hour later.
    database.execute_batch("UPDATE sessions SET phases_since = phases_since - 3600000000").unwrap();
    report(v1::Phase::Degraded).await;
    assert_eq!(audit(&world, "session.report").await.len(), 21);
    assert!(intact(&world).await);
}

/// What people see, from the first leak to the rotation that answers it.
#[tokio::test]
async fn from_a_leak_to_a_rotation() {
    let world = World::new().await;
    let (root, alice) = (world.cli("second", Role::Admin).await, world.cli("alice", Role::Member).await);
    let bob = world.cli("bob", Role::Member).await;
    root.run_with(&["secret", "create", "db-url", "--shared"], b"postgres://u:secret@db").ok();
    alice.run_with(&["secret", "create", "token", "--private"], b"a token of alice").ok();
    let secret = |cli: &Cli, name: &str| {
        let json = cli.run(&["secret", "show", name, "-o", "json"]).json();
        let text = |key: &str| json[key].as_str().expect("text").to_owned();
        v1::Secret { id: text("id"), variable: text("variable"), version: text("version"), ..Default::default() }
    };
    let (db_url, token) = (secret(&root, "db-url"), secret(&alice, "token"));
    let none = root.run(&["leaks"]);
    assert_eq!((none.ok(), none.stderr().trim()), (String::new(), "nothing was found in what sessions printed"));

    let (alices, bobs) = (Vm::of(&world, "alice").await, Vm::of(&world, "bob").await);
    alices.leaked([leak(&db_url, "web.service", "base64", 2), leak(&token, "exec", "raw", 1)]).await;
    bobs.leaked([leak(&db_url, "cron.service", "raw", 10)]).await;

    let rows = |cli: &Cli, words: &[&str]| {
        let shown = cli.run(&[&["leaks"], words].concat()).ok();
        shown.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    for (cli, words, seen) in [
        (&root, &[][..], &["cron.service raw 10", "web.service base64 2"][..]),
        (&root, &["--secret", "db-url"], &["cron.service raw 10", "web.service base64 2"]),
        (&root, &["--secret", "token"], &[]),
        (&root, &["--private"], &[]),
        (&root, &["--since", "1h"], &["cron.service raw 10", "web.service base64 2"]),
        (&root, &["--since", "0m"], &[]),
        (&alice, &[], &["exec raw 1", "web.service base64 2"]),
        (&alice, &["--shared"], &["web.service base64 2"]),
        (&bob, &[], &["cron.service raw 10"]),
    ] {
        let rows = rows(cli, words);
        assert_eq!(rows.len(), seen.len(), "{words:?}: {rows:?}");
        for (row, seen) in rows.iter().zip(seen) {
            assert!(row.contains(seen) && row.contains("(current)") && row.contains(" default "), "{words:?}: {row}");
        }
    }
    let told = root.run(&["leaks"]).stderr();
    assert!(told.contains("db-url: get new ones") && told.contains("keyfob secret rotate NAME"), "{told}");
    let json = root.run(&["leaks", "-o", "json"]).json();
    let first = &json[0];
    assert_eq!((&first["name"], &first["count"], &first["current"]), (&"db-url".into(), &10.into(), &true.into()));
    assert_eq!((&first["session"], &first["user"]), (&bobs.id.clone().into(), &"bob".into()));

    let show = root.run(&["secret", "show", "db-url"]).ok();
    assert!(show.contains(&alices.id) && show.contains("web.service"), "{show}");
    assert!(show.contains("printed and masked 12 time(s), in 2 session(s); the current value too"), "{show}");
    assert!(show.contains("keyfob secret rotate db-url --shared"), "{show}");
    let show = bob.run(&["secret", "show", "db-url"]).ok();
    assert!(show.contains("10 time(s), in 1 session(s)") && !show.contains("web.service"), "{show}");

    root.run_with(&["secret", "rotate", "db-url"], b"postgres://u:another@db").ok();
    let show = root.run(&["secret", "show", "db-url"]).ok();
    assert!(show.contains("in 2 session(s); older versions only, which have been replaced since"), "{show}");
    let json = root.run(&["secret", "show", "db-url", "-o", "json"]).json();
    assert_eq!(json["leaks"][0]["current"], false);
    let after = root.run(&["leaks"]);
    assert!(!after.ok().contains("(current)") && after.stderr().is_empty(), "{}{}", after.stdout(), after.stderr());
    // The old version is still in that VM, and still news.
    alices.leaked([leak(&db_url, "web.service", "base64", 1)]).await;
    assert_eq!(root.run(&["leaks", "-o", "json"]).json()[1]["count"], 3);

    // With the secret, its leaks are gone from lists; the record keeps them.
    root.run(&["secret", "delete", "db-url", "--yes"]).ok();
    assert_eq!(root.run(&["leaks", "-o", "json"]).json(), serde_json::json!([]));
    alices.leaked([leak(&db_url, "ssh.service", "raw", 1)]).await;
    assert_eq!(audit(&world, "secret.leaked").await.len(), 4);

    for (words, said) in [
        (&["leaks", "--since", "yesterday"][..], "how long ago"),
        (&["leaks", "--secret", "no name"], "letters"),
        (&["leaks", "--private", "--shared"], "cannot be used with"),
        (&["leaks", "db-url"], "a word too many"),
    ] {
        let ran = root.run(words);
        assert_eq!(ran.code(), 2, "{words:?}: {}", ran.stderr());
        assert!(ran.stderr().contains(said) && !ran.stderr().contains("yesterday"), "{words:?}: {}", ran.stderr());
    }
}

#[tokio::test]
async fn a_session_whose_redaction_failed_is_seen() {
    let world = World::new().await;
    let root = world.cli("second", Role::Admin).await;
    for (said, word, warned) in [
        ("", "-", false),
        ("verified", "verified", false),
        ("failed: the canary came back from the journal", "FAILED", true),
    ] {
        let vm = Vm::of(&world, "").await;
        let status = v1::AgentStatus { phase: v1::Phase::Ready.into(), redaction: said.into(), ..Default::default() };
        vm.api.bundle().report(v1::ReportRequest { status: Some(status), leaks: vec![] }).await.expect("its own");
        let list = root.run(&["session", "list"]);
        let row = list.ok().lines().find(|line| line.contains(&vm.id)).expect("a row").to_owned();
        assert_eq!(row.split_whitespace().nth(5), Some(word), "{row}");
        assert_eq!(list.stderr().contains("not redacted as it should be"), warned, "{}", list.stderr());
        let show = root.run(&["session", "show", &vm.id]);
        assert!(show.ok().contains(said), "{}", show.stdout());
        assert_eq!(show.stderr().contains("not redacted as it should be"), warned, "{}", show.stderr());
        let json = root.run(&["session", "show", &vm.id, "-o", "json"]).json();
        assert_eq!(json["agent"]["redaction"].as_str().unwrap_or_default(), said);
    }
}

/// Judged when a value is saved, by whatever way it comes; kept over everything that leaves the value alone.
#[tokio::test]
async fn what_can_not_be_redacted_is_said_so() {
    use RedactionStrength::{NotRedactable, Strong, Unspecified};
    let world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    let api = world.person("bob", Role::Member).await;
    let strength = |secret: &v1::Secret| secret.strength();
    assert_eq!(strength(&api.create("short", Visibility::Private, b"1234").await), NotRedactable);
    let long = api.create("long", Visibility::Private, b"Zk3-93hf-Qm29-vbe8-00aK").await;
    assert_eq!(strength(&long), Strong);
    let sealed = alice.run_with(&["secret", "create", "short", "--private"], b"true");
    assert!(sealed.ok().contains("created") && sealed.stderr().contains("can't be redacted"), "{}", sealed.stderr());
    alice.run_with(&["secret", "import", "-", "--private"], b"ONE=1\nTOKEN=Zk3-93hf-Qm29-vbe8-00aK\n").ok();
    let notes = |name: &str| {
        let list = alice.run(&["secret", "list"]).ok();
        let row = list.lines().find(|line| line.starts_with(&format!("{name} "))).expect("a row").to_owned();
        let show = alice.run(&["secret", "show", name]).ok();
        assert_eq!(row.contains("not redactable"), show.contains("not redactable: too short"), "{row}\n{show}");
        row.contains("not redactable")
    };
    assert!(notes("short") && notes("ONE") && !notes("TOKEN"));
    assert_eq!(alice.run(&["secret", "show", "short", "-o", "json"]).json()["strength"], "not_redactable");

    alice.run(&["secret", "edit", "short", "--description", "a switch", "--no-auto-install"]).ok();
    world.server_command(&["keyring", "add"]);
    world.server_command(&["rewrap"]);
    assert!(notes("short") && !notes("TOKEN"));
    alice.run_with(&["secret", "rotate", "short"], b"Zk3-93hf-Qm29-vbe8-00aK").ok();
    assert!(!notes("short"));
    let show = alice.run(&["secret", "show", "short", "-o", "json"]).json();
    assert_eq!(
        (&show["versions"][0]["strength"], &show["versions"][1]["strength"]),
        (&"strong".into(), &"not_redactable".into())
    );

    // Nobody judged what is older than the judgement: nothing is said of it.
    let database = Connection::open(world.database()).expect("the server's own file");
    database.execute_batch("UPDATE secret_versions SET strength = ''").unwrap();
    let r#ref = Some(v1::SecretRef { id: long.id.clone(), ..Default::default() });
    let found = api.secrets().get_secret(v1::GetSecretRequest { r#ref }).await.unwrap().into_inner();
    assert_eq!((found.secret.unwrap().strength(), found.versions[0].strength()), (Unspecified, Unspecified));
    assert!(!notes("ONE"));
}

/// A store of the first version, as 0.1 left it, is brought up to date with all that is in it.
#[tokio::test]
async fn an_older_store_is_brought_up_to_date() {
    let mut world = World::new().await;
    let mut alice = world.person("alice", Role::Member).await;
    let a = alice.create("a", Visibility::Private, b"the value of a").await;
    let mut vm = Vm::of(&world, "alice").await;
    let status = v1::AgentStatus { phase: v1::Phase::Ready.into(), ..Default::default() };
    vm.api.bundle().report(v1::ReportRequest { status: Some(status), leaks: vec![] }).await.expect("its own");
    assert!(world.terminate_server());
    as_the_first_version(&world.database());

    world.restart_server();
    vm.api.reconnect(&world.address).await;
    assert_eq!(vm.api.fetch(ORG, &vm.id).await.expect("a bundle").values().len(), 1);
    vm.leaked([leak(&a, "u", "raw", 1)]).await;
    alice.reconnect(&world.address).await;
    assert_eq!(listed(&alice, Default::default()).await.len(), 1);
    let r#ref = Some(v1::SecretRef { id: a.id, ..Default::default() });
    let found = alice.secrets().get_secret(v1::GetSecretRequest { r#ref }).await.unwrap().into_inner();
    assert_eq!(found.secret.unwrap().strength(), RedactionStrength::Unspecified);
    let session = v1::GetSessionRequest { id: vm.id };
    let session = alice.sessions().get_session(session).await.unwrap().into_inner().session.unwrap();
    assert_eq!(session.agent.expect("its report").phase(), v1::Phase::Ready);
}

/// Puts what a database holds into one of the first schema.
fn as_the_first_version(path: &Path) {
    let old = path.with_extension("old");
    let first = Connection::open(&old).expect("a new file");
    first.execute_batch(include_str!("../../src/server/store/schema.sql")).expect("the first schema");
    first
        .execute_batch("CREATE TABLE migrations (version BIGINT PRIMARY KEY); INSERT INTO migrations VALUES (1)")
        .expect("as the server notes it");
    first.execute("ATTACH ?1 AS newer", [path.to_str().expect("UTF-8")]).expect("nobody has it open");
    let texts = |sql: &str| {
        let mut statement = first.prepare(sql).expect("a query");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<Vec<String>, _>>().expect("texts")
    };
    for table in texts("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name <> 'migrations'") {
        let columns = texts(&format!("SELECT name FROM pragma_table_info('{table}', 'main')")).join(", ");
        first
            .execute_batch(&format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}"))
            .expect("columns that are still there");
    }
    drop(first);
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(path.with_extension(format!("db{suffix}")));
    }
    fs::rename(&old, path).expect("our own directory");
}
