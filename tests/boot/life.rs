//! What a machine's people meet: a race to log in, a doctor, an agent that is stopped, a boot without secrets.

use keyfob::wire::v1;

use crate::{
    enrolment::{VALUE, world},
    machine::{Boot, Kind, Machine, alone},
    tree::tree,
    world::World,
};

const PRINT: &str = "printenv OPENAI_API_KEY";

/// Root and alice knock from the first moment on, while the agent takes longer and longer: whoever comes in sees the secrets.
pub async fn no_login_comes_first(kind: Kind) {
    let Some(tree) = tree() else { return };
    alone();
    let world = world().await;
    let mut early = 0;
    for boot in 0..if kind == Kind::Vm { 1 } else { 50 } {
        let session = world.session("alice", "default").await;
        let slow = format!("[Service]\nExecStartPre=/bin/sleep {}\n", f64::from(boot % 4) * 0.4);
        let files = [("/etc/systemd/system/keyfob-agent.service.d/90-tests.conf", slow.as_str())];
        let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&session.join), files: &files });
        let user = if boot % 2 == 0 { "root" } else { "alice" };
        let (refused, printed) = knock(&machine, user);
        early += refused;
        assert_eq!(printed, VALUE, "boot {boot}: {user} came in first");
        assert_eq!(machine.sh("systemctl is-active keyfob-agent").1, "active");
    }
    assert!(kind == Kind::Vm || early > 50, "nobody was early: {early} refusals");
}

/// Until the door opens; gives how often it was closed, and what the first one in saw.
fn knock(machine: &Machine, user: &str) -> (u32, String) {
    let mut refused = 0;
    loop {
        match machine.ssh(user, PRINT) {
            (255, _) => refused += 1,
            (_, printed) => return (refused, printed),
        }
        assert!(refused < 2_000, "nobody comes in");
    }
}

pub async fn the_doctor_agrees(kind: Kind) {
    let Some(tree) = tree() else { return };
    alone();
    let world = world().await;
    let session = world.session("alice", "default").await;
    let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&session.join), ..Boot::default() });
    machine.wait_running();
    let report: serde_json::Value =
        serde_json::from_str(&machine.ok("keyfob-agent doctor --user alice -o json")).expect("JSON");
    assert_eq!((&report["healthy"], &report["user"]), (&true.into(), &"alice".into()), "{report:#}");
    let ways = report["ways"].as_array().expect("ways");
    let tried =
        ways.iter().filter(|way| way["variables"]["OPENAI_API_KEY"] == "set" && way["variables"]["TLS_KEY"] == "set");
    let not_tried: Vec<&str> =
        ways.iter().filter(|way| !way["not_tried"].is_null()).filter_map(|way| way["way"].as_str()).collect();
    assert_eq!((tried.count(), not_tried), (13, vec!["cron"]), "{report:#}");
    let (code, table) = machine.sh("keyfob-agent doctor --user alice --cron");
    assert_eq!(code, 0, "{table}");
    assert!(table.lines().any(|line| line.starts_with("cron ") && line.ends_with("2 of 2")), "{table}");

    // It sees what is missing, and what was changed on the way.
    machine.ok("sed -i '/pam_keyfob/d' /etc/pam.d/common-session-noninteractive; echo 'export OPENAI_API_KEY=other' >/etc/profile.d/zz.sh");
    let (code, table) = machine.sh("keyfob-agent doctor --user alice");
    assert_eq!(code, 1, "{table}");
    for line in [
        "sudo -u alice                         0 of 2     $OPENAI_API_KEY $TLS_KEY",
        "bash -lc                              1 of 2     $OPENAI_API_KEY (differs)",
    ] {
        assert!(table.contains(line), "{line}\n{table}");
    }
    for value in ["sk-test", "other", "/run/keyfob/files"] {
        assert!(!table.contains(value) && !report.to_string().contains(value), "{table}{report}");
    }
    assert_eq!(machine.ok("ls -d /run/keyfob-doctor* /etc/cron.d/keyfob* 2>/dev/null || true"), "");
}

/// The examples' units reload one service and restart another when a push has replaced the files, all of them; also while a
/// reload goes on.
pub async fn a_service_hears_of_a_rotation(kind: Kind) {
    let Some(tree) = tree() else { return };
    alone();
    let world = world().await;
    let session = world.session("alice", "default").await;
    const PATH: &str = include_str!("../../packaging/examples/reload-on-rotation.path");
    const SERVICE: &str = include_str!("../../packaging/examples/reload-on-rotation.service");
    const RELOADED: &str = "[Service]\nEnvironmentFile=/run/keyfob/env\nExecStart=/bin/sleep infinity\n\
                            ExecReload=/bin/sh -c 'printenv NEW_KEY >>/run/reloaded; sleep 2'\n";
    const RESTARTED: &str = "[Service]\nEnvironmentFile=/run/keyfob/env\n\
                             ExecStart=/bin/sh -c 'printenv NEW_KEY >>/run/restarted; exec sleep infinity'\n";
    const NOW: &str = "[Unit]\nWants=keyfob-reload.path\n";
    let files = [
        ("/etc/systemd/system/keyfob-reload.path", PATH),
        ("/etc/systemd/system/keyfob-reload.service", SERVICE),
        ("/etc/systemd/system/nginx.service", RELOADED),
        ("/etc/systemd/system/worker.service", RESTARTED),
        ("/etc/systemd/system/keyfob-ready.target.d/90-tests.conf", NOW),
    ];
    let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&session.join), files: &files });
    machine.wait_running();
    // systemd leaves out one unit of a cycle, by chance the agent.
    let verified = machine.sh("systemd-analyze verify default.target").1;
    assert!(!verified.contains("cycle"), "{verified}");
    machine.ok("systemctl start nginx worker");
    let heard = |machine: &mut Machine, of: &str| machine.ok(&format!("[ ! -e /run/{of} ] || uniq /run/{of}"));
    assert_eq!((heard(&mut machine, "reloaded"), heard(&mut machine, "restarted")), <_>::default(), "too early");
    let secret = world.admin().create("new-key", v1::Visibility::Shared, b"first").await;
    // The third comes while the second's reload goes on.
    for (value, until) in [
        ("first", "grep -qsx first /run/reloaded && grep -qsx first /run/restarted"),
        ("second", "grep -qsx second /run/reloaded"),
        ("third", "grep -qsx third /run/reloaded && grep -qsx third /run/restarted"),
    ] {
        if value != "first" {
            let rotate = v1::RotateSecretRequest {
                r#ref: Some(v1::SecretRef { id: secret.id.clone(), ..Default::default() }),
                value: Some(crate::world::plain(value.as_bytes())),
                ..Default::default()
            };
            world.admin().secrets().rotate_secret(rotate).await.expect("it is rotated");
        }
        let reach = v1::create_rollout_request::Reach::All(true);
        let push = v1::CreateRolloutRequest { reach: Some(reach), options: None };
        world.admin().rollouts().create_rollout(push).await.expect("it is pushed");
        // The agent's stream may have to be opened again, on a slow machine twice.
        let (code, _) = machine.sh(&format!("timeout 100 sh -c 'until {until}; do sleep 0.1; done'"));
        let journal = "journalctl -b -u 'keyfob-*' -u nginx -u worker; systemctl status --no-pager keyfob-agent";
        assert_eq!(code, 0, "{value}: {}", machine.sh(journal).1);
    }
    assert_eq!(heard(&mut machine, "reloaded"), "first\nsecond\nthird", "in this order");
    // Both restarts for the second and the third may find the third.
    let restarted = heard(&mut machine, "restarted");
    assert!(["first\nsecond\nthird", "first\nthird"].contains(&&*restarted), "{restarted}");
}

/// Stopped, it wipes and unmounts; started again with a fresh join string, all is there again.
pub async fn a_stopped_agent_leaves_nothing(kind: Kind) {
    let Some(tree) = tree() else { return };
    alone();
    let world = world().await;
    let session = world.session("alice", "default").await;
    let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&session.join), ..Boot::default() });
    machine.wait_running();
    // systemd stops what nobody needs any more after it has answered.
    machine.ok("systemctl stop keyfob-agent; while systemctl is-active -q keyfob-mount; do sleep 0.05; done");
    for (script, expected) in [
        ("findmnt /run/keyfob", ""),
        ("find /run/keyfob ! -type d 2>/dev/null", ""),
        ("systemctl show -P NFileDescriptorStore keyfob-agent", "0"),
        ("systemctl show -P Result keyfob-agent", "success"),
    ] {
        assert_eq!(machine.sh(script).1, expected, "{script}");
    }
    // The credential's token is spent: it says so, and what to do.
    assert_ne!(machine.sh("systemctl start keyfob-agent").0, 0);
    assert!(machine.sh("systemctl status --no-pager -l keyfob-agent").1.contains("ask for a new one"));
    let fresh = world.session("alice", "default").await.join;
    machine.ok(&format!(
        "mkdir -p /etc/systemd/system/keyfob-agent.service.d; printf '[Service]\\nLoadCredential=\\n' >/etc/systemd/system/keyfob-agent.service.d/9.conf
         systemctl daemon-reload; systemctl reset-failed keyfob-agent
         install -m 600 /dev/null /run/keyfob-join; echo {fresh} >/run/keyfob-join
         systemctl start keyfob-agent"
    ));
    assert_eq!(machine.ok(". /run/keyfob/env.sh; printf %s \"$OPENAI_API_KEY\""), VALUE);
    assert_eq!(machine.ok("findmnt -no SOURCE /run/keyfob"), "keyfob");
    assert_eq!(
        machine.ok("ls -A /run/keyfob-join /run/keyfob/.join 2>/dev/null || true"),
        "",
        "the join string is gone"
    );
}

async fn policy(world: &World, on_failure: v1::OnFailure) {
    let request = v1::UpdateEnvironmentRequest {
        name: "default".into(),
        boot: Some(v1::BootPolicy { deadline_seconds: 2, on_failure: on_failure.into() }),
        ..Default::default()
    };
    world.admin().environments().update_environment(request).await.expect("the admin sets a policy");
}

/// The control plane does not answer, and the environment says what then: closed to all but root, or open and said so.
pub async fn without_secrets(kind: Kind) {
    let Some(tree) = tree() else { return };
    alone();
    let mut world = world().await;
    policy(&world, v1::OnFailure::Block).await;
    let blocked = world.session("alice", "default").await.join;
    policy(&world, v1::OnFailure::Continue).await;
    let open = world.session("alice", "default").await.join;
    world.kill_server();

    let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&blocked), ..Boot::default() });
    machine.wait_running();
    assert_eq!(machine.ssh("alice", "true").0, 255, "closed");
    assert_eq!(machine.ssh("root", "true").0, 0, "root mends it");
    assert_eq!(machine.sh("systemctl is-active keyfob-ready.target systemd-user-sessions").1, "inactive\ninactive");
    let status = machine.sh("systemctl status --no-pager -l keyfob-agent").1;
    assert!(status.contains("Status: \"failed: can't reach the control plane at"), "{status}");
    drop(machine);

    let mut machine = Machine::boot(tree, kind, &Boot { join: Some(&open), ..Boot::default() });
    machine.wait_running();
    assert_eq!(machine.ssh("alice", PRINT), (1, String::new()), "open, without");
    let status = machine.sh("systemctl status --no-pager -l keyfob-agent").1;
    assert!(
        status.contains("active (running)") && status.contains("Status: \"degraded: this session has no secrets"),
        "{status}"
    );
    let greeting = machine.ok("echo exit | script -qec 'login -f alice' /dev/null");
    assert!(greeting.contains("Keyfob: this session has no secrets: can't reach the control plane"), "{greeting}");
    // And then it does answer.
    world.restart_server();
    machine.ok("until systemctl show -P StatusText keyfob-agent | grep -q ^late:; do sleep 0.1; done");
    assert_eq!(machine.ssh("alice", PRINT), (0, VALUE.to_owned()));
    let greeting = machine.ok("echo exit | script -qec 'login -f alice' /dev/null");
    assert!(!greeting.contains("Keyfob:"), "{greeting}");
}
