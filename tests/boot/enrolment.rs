//! An agent with nothing but a join string, at boot.

use keyfob::wire::v1::{self, Delivery, Role, Visibility};

use crate::{
    machine::{Boot, Kind, Machine, alone},
    tree::tree,
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
    let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&session.join), ..Boot::default() });
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
    assert_eq!(manifest["session"], session.session.expect("a session").id);

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
            "cd /run/keyfob; stat -c '%a %F' env env.sh env.fish environ manifest.json files/* | uniq",
            "640 regular file",
        ),
        ("ls -A /run/keyfob | xargs", "env env.fish env.sh environ files manifest.json"),
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
