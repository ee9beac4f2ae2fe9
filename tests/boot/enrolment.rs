//! An agent with nothing but a join string, at boot.

use std::io::{self, Write};

use keyfob::{
    domain::join::{Audience, Join, Token},
    wire::v1::{self, Delivery, Role, Visibility},
};

use crate::{
    machine::{Boot, Kind, Machine, alone},
    tree::tree,
    ways_in,
    world::{World, plain},
};

/// What shells, PAM's own modules and unit files would make something else of.
pub const VALUE: &str = r#"sk-test #1 it's "quoted" $HOME \n `id`"#;

/// alice has a secret, everybody has a file.
pub async fn world() -> World {
    let world = World::new().await;
    let alice = world.person("alice", Role::Member).await;
    alice.create("openai-api-key", Visibility::Private, VALUE.as_bytes()).await;
    let file = v1::CreateSecretRequest {
        name: "tls-key".into(),
        visibility: Visibility::Shared.into(),
        delivery: Delivery::File.into(),
        value: Some(plain(b"\x00\xffbinary")),
        ..Default::default()
    };
    alice.secrets().create_secret(file).await.expect("the secret is stored");
    world
}

pub async fn variables_are_there(kind: Kind) {
    let Some(tree) = tree() else { return };
    alone();
    let world = world().await;
    let session = world.session("alice", "default").await;
    let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&session.join), files: &ways_in::FILES });
    assert_eq!(machine.wait_running(), "running", "{}", machine.sh("systemctl --failed; journalctl -b").1);

    let rung = match machine.ok("findmnt -no FSTYPE,OPTIONS /run/keyfob") {
        mount if mount.starts_with("ramfs ") => "ramfs",
        mount if mount.starts_with("tmpfs ") && mount.contains("noswap") => "tmpfs-noswap",
        mount => panic!("/run/keyfob is {mount}"),
    };
    let manifest = machine.ok("cat /run/keyfob/manifest.json");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let bundle = manifest["bundle_version"].as_str().expect("a version").to_owned();
    let memory = manifest["memory"].as_str().expect("a rung").to_owned();
    if kind == Kind::Vm {
        // Linux 6.1 has no better.
        assert_eq!((rung, memory.as_str()), ("ramfs", "mlock"));
    }
    assert_eq!(manifest["files"], rung);
    let id = session.session.expect("a session").id;
    assert_eq!(manifest["session"], id);

    let status = format!("2 variables in /run/keyfob (bundle {bundle}, memory {memory}, files {rung})");
    for (script, expected) in [
        ("systemctl show -P ActiveState keyfob-agent", "active"),
        ("systemctl show -P StatusText keyfob-agent", &status),
        (". /run/keyfob/env.sh; printf %s \"$OPENAI_API_KEY\"", VALUE),
        (
            ". /run/keyfob/env.sh; echo $TLS_KEY; od -An -tx1 $TLS_KEY",
            "/run/keyfob/files/tls-key\n 00 ff 62 69 6e 61 72 79",
        ),
        ("tr '\\0' '\\n' </run/keyfob/environ | grep -o '^[A-Z_]*'", "OPENAI_API_KEY\nTLS_KEY"),
        ("stat -c '%a %F' /run/keyfob /run/keyfob/files | uniq", "750 directory"),
        (
            "cd /run/keyfob; stat -c '%a %F' env env.sh env.fish environ fingerprints manifest.json files/* | uniq",
            "640 regular file",
        ),
        ("ls -A /run/keyfob | xargs", "env env.fish env.sh environ files fingerprints manifest.json"),
        (
            "stat -c '%n %a %U %G %F' /run/keyfob-agent/*",
            "/run/keyfob-agent/socket 660 keyfob-agent keyfob socket\n/run/keyfob-agent/status 660 keyfob-agent keyfob socket",
        ),
        // All of it belongs to whom the unit runs as.
        ("find /run/keyfob ! -user $(u=$(systemctl show -P User keyfob-agent); echo ${u:-root})", ""),
        // Nobody else looks in, and the agent has no other place.
        ("setpriv --reuid 65534 --regid 65534 --clear-groups ls /run/keyfob 2>/dev/null", ""),
        (
            "find /etc /var /root /home /tmp /run -xdev -newer /etc/machine-id -type f -exec grep -lF 'sk-test #1' {} +",
            "",
        ),
    ] {
        assert_eq!(machine.sh(script).1, expected, "{script}");
    }

    let tried = ways_in::ways_in(&mut machine);
    let _ = io::stderr().write_all(ways_in::table(kind, &tried).as_bytes());
    let blind: Vec<_> = tried.iter().filter(|(_, sees)| !sees).collect();
    assert!(blind.is_empty(), "{blind:?}");

    // The agent has seen for itself that what is logged and what exec prints is redacted, and has said so.
    let mut redaction = String::new();
    for _ in 0..600 {
        let request = v1::GetSessionRequest { id: id.clone() };
        let seen = world.admin().sessions().get_session(request).await.expect("the admin sees it").into_inner();
        redaction = seen.session.and_then(|session| session.agent).expect("a report").redaction;
        if redaction == "verified" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(redaction, "verified", "{}", machine.sh("journalctl -b -u keyfob-agent -u keyfob-redact").1);

    // Neither systemd nor the journal was told a value or the join string.
    for (script, word) in [
        ("systemctl status --no-pager -l keyfob-agent", "active (running)"),
        ("journalctl -b -o export --all", "enrolled"),
    ] {
        let text = machine.ok(script);
        assert!(text.contains(word), "{script}: {text}");
        for value in ["sk-test", "quoted", "kfjoin1s_"] {
            assert!(!text.contains(value), "{script} holds {value}");
        }
    }
    machine.shutdown();
}

/// The unit of the tests that wait for its failure: as shipped, but for its patience.
fn patience(seconds: u32) -> [(&'static str, String); 1] {
    let unit = format!("[Service]\nRestart=no\nExecStart=\nExecStart=/usr/bin/keyfob-agent run --deadline {seconds}\n");
    [("/etc/systemd/system/keyfob-agent.service.d/90-tests.conf", unit)]
}

/// What a machine shows after its agent has failed: why, and no file.
fn failed(machine: &mut Machine) -> String {
    assert_eq!(machine.wait_running(), "degraded");
    for (script, expected) in [
        ("systemctl show -P ActiveState keyfob-agent", "failed"),
        ("systemctl --failed --plain --no-legend | cut -d' ' -f1", "keyfob-agent.service"),
        ("find /run/keyfob ! -type d 2>/dev/null", ""),
    ] {
        assert_eq!(machine.sh(script).1, expected, "{script}");
    }
    let (_, status) = machine.sh("systemctl status --no-pager -l keyfob-agent");
    let journal = machine.ok("journalctl -b -o export --all");
    assert!(journal.contains("keyfob-agent") && !journal.contains("kfjoin1s_") && !status.contains("kfjoin1s_"));
    status
}

pub async fn a_bad_join_string_fails_the_unit(kind: Kind) {
    let Some(tree) = tree() else { return };
    alone();
    let world = world().await;
    let session = world.session("alice", "default").await;
    world.agent_once(&session.join).succeed();
    let mut unknown = Join::parse(&session.join, Audience::Session).expect("a session's join string");
    unknown.token = Token::from_bytes(&[9; 32]);
    let (used, unknown) = (session.join, unknown.to_text());
    let cases = [
        ("used", Some(used.as_str()), "ask for a new one"),
        ("unknown", Some(&unknown), "ask for a new one"),
        ("none", None, "`keyfob session create` prints one"),
    ];
    // A VM takes its time, and nothing of the rest is the machine's doing.
    let cases = if kind == Kind::Vm { &cases[..1] } else { &cases[..] };
    for &(name, join, next_step) in cases {
        let mut machine = Machine::boot(tree, kind, &Boot { join, ..Boot::default() });
        let status = failed(&mut machine);
        assert!(status.contains(next_step), "{name}: {status}");
    }
}

pub async fn an_absent_server_fails_the_unit_in_time(kind: Kind) {
    let Some(tree) = tree() else { return };
    alone();
    let mut world = world().await;
    let session = world.session("alice", "default").await;
    world.kill_server();
    let files = patience(4);
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&session.join), files: &files });
    let status = failed(&mut machine);
    assert!(status.contains("can't reach the control plane at"), "{status}");
    let retries: u32 =
        machine.ok("journalctl -b -u keyfob-agent | grep -c 'enrolling' || true").parse().expect("a number");
    assert!((2..30).contains(&retries), "{retries} retries");
    let took = machine.ok(
        "t() { systemctl show -P ExecMain$1TimestampMonotonic keyfob-agent; }; echo $((($(t Exit) - $(t Start)) / 1000))",
    );
    let took: u32 = took.parse().expect("milliseconds");
    assert!(took < 6000, "{took} ms");
}

pub async fn a_late_server_is_waited_for(kind: Kind) {
    let Some(tree) = tree() else { return };
    alone();
    let mut world = world().await;
    let session = world.session("alice", "default").await;
    world.kill_server();
    let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&session.join), ..Boot::default() });
    machine.ok("until journalctl -b -u keyfob-agent | grep -q enrolling; do sleep 0.1; done; systemctl is-active keyfob-agent | grep activating");
    assert_eq!(machine.sh("find /run/keyfob ! -type d").1, "");
    world.restart_server();
    assert_eq!(machine.wait_running(), "running");
    assert_eq!(machine.ok(". /run/keyfob/env.sh; printf %s \"$OPENAI_API_KEY\""), VALUE);
}

pub async fn a_killed_agent_leaves_the_files(kind: Kind) {
    let Some(tree) = tree() else { return };
    alone();
    let world = world().await;
    let session = world.session("alice", "default").await;
    let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&session.join), ..Boot::default() });
    machine.wait_running();
    let files =
        "cd /run/keyfob; stat -c '%n %i %a %U %G %Y' env* files/* manifest.json; sha256sum env* files/* manifest.json";
    let before = machine.ok(files);
    machine.ok("kill -9 $(systemctl show -P MainPID keyfob-agent); while systemctl -q is-active keyfob-agent; do sleep 0.05; done");
    assert_eq!(machine.ok(files), before);
    // It comes back as who it was, and asks for nothing.
    machine.ok("until systemctl -q is-active keyfob-agent; do sleep 0.1; done");
    let status = machine.ok("systemctl show -P StatusText keyfob-agent");
    assert!(status.ends_with("as an earlier process left them"), "{status}");
    assert_eq!(machine.ok(files), before);
    for (script, expected) in [
        ("systemctl show -P NRestarts keyfob-agent", "1"),
        ("journalctl -b -u keyfob-agent | grep -c 'enrolled'", "1"),
        ("journalctl -b -u keyfob-agent | grep -c 'identity was kept'", "1"),
        ("systemctl is-active keyfob-ready.target systemd-user-sessions.service | uniq", "active"),
        (". /run/keyfob/env.sh; printf %s \"$OPENAI_API_KEY\"", VALUE),
    ] {
        assert_eq!(machine.sh(script).1, expected, "{script}");
    }
    machine.shutdown();
}
