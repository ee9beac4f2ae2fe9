//! What is logged passes through the redactor: all of it arrives, as it would have without, but for the values.

use std::{collections::BTreeMap, env, path::PathBuf};

use crate::{
    load::{ROLE, Summary},
    machine::{Boot, Kind, Machine, alone},
    tree::tree,
};

/// Whom nobody would print.
const VALUE: &str = "sk-live-51Habcdefghijklmnopqrstuvwxyz0123456789";
const WAYS: [&str; 3] = ["native", "syslog", "stdout"];
const LOAD: &str = "/usr/local/bin/load";

const JOURNALD: (&str, &str) = (
    "/etc/systemd/journald.conf.d/tests.conf",
    "[Journal]\nStorage=volatile\nRuntimeMaxUse=1G\nRateLimitIntervalSec=0\nForwardToSyslog=no\n",
);
const OFF: (&str, &str) = ("/etc/keyfob/agent.toml", "[redact]\njournal = 'off'\n");

/// A machine whose journal is not redacted yet, with this program in it.
fn machine(kind: Kind) -> Option<Machine> {
    let tree = tree()?;
    alone();
    let own = env::current_exe().expect("this program");
    let boot = Boot { join: None, files: &[JOURNALD, OFF] };
    let mut machine = Machine::boot_with(tree, kind, &boot, &[(LOAD, &own)]);
    machine.wait_running();
    Some(machine)
}

fn role(role: &str) -> String {
    format!("{ROLE}='{role}' {LOAD} --exact role --nocapture")
}

/// The redactor, from now on, with the value's fingerprints.
fn redacted(machine: &mut Machine) {
    machine.ok(
        "printf '[redact]\\njournal = \"whole-machine\"\\n' >/etc/keyfob/agent.toml; systemctl start keyfob-redact",
    );
    assert_eq!(machine.ok("systemctl is-active keyfob-redact"), "active");
    machine.ok(&format!(
        "systemd-run -q --unit=hand-over -p StandardOutput=file:/run/said -E {ROLE}='agent {VALUE}' {LOAD} --exact role --nocapture
         timeout 30 sh -c 'until grep -q \"STATE whole-machine true None\" /run/said; do sleep 0.05; done'"
    ));
}

/// Starts one service for each way, two with users of their own.
fn start(machine: &mut Machine, count: usize) {
    for (way, user) in WAYS.iter().zip(["alice", "root", "zoe"]) {
        machine.ok(&format!(
            "systemd-run -q --unit=load-{way} --uid={user} -p SyslogIdentifier=load -p LogExtraFields=EXTRA=1 \
             -E {ROLE}='send {way} {count} {VALUE}' {LOAD} --exact role --nocapture"
        ));
    }
}

fn wait(machine: &mut Machine) {
    machine.ok(
        "timeout 110 sh -c 'while systemctl is-active -q load-native load-syslog load-stdout; do sleep 0.05; done'",
    );
}

/// What arrived since the journal was emptied.
fn arrived(machine: &mut Machine) -> BTreeMap<String, Summary> {
    let printed = machine.ok(&format!("journalctl --sync; {}", role(&format!("check {VALUE}"))));
    let summary = printed.lines().find_map(|line| line.split_once("SUMMARY ").map(|(_, json)| json));
    serde_json::from_str(summary.unwrap_or_else(|| panic!("{printed}"))).expect("it is JSON")
}

fn empty(machine: &mut Machine) {
    machine.ok("journalctl --rotate -q; journalctl --vacuum-time=1us -q 2>/dev/null; sleep 0.1; journalctl --rotate -q; journalctl --vacuum-time=1us -q 2>/dev/null");
}

pub async fn all_arrives_and_no_value(kind: Kind) {
    let Some(mut machine) = machine(kind) else { return };
    let count = if kind == Kind::Vm { 2_000 } else { 33_334 };
    start(&mut machine, count);
    wait(&mut machine);
    let plain = arrived(&mut machine);
    empty(&mut machine);

    redacted(&mut machine);
    start(&mut machine, count);
    wait(&mut machine);
    let found = arrived(&mut machine);
    for way in WAYS {
        let (plain, found) = (&plain[way], &found[way]);
        let sent = count + usize::from(way == "native");
        assert_eq!((found.entries, found.different, found.in_order), (sent, sent, true), "{way}");
        assert_eq!((plain.entries, plain.with_value), (sent, sent), "{way}: the positive control");
        assert_eq!((found.with_value, found.with_mask), (0, sent), "{way}");
        assert_eq!(found.fields, plain.fields, "{way}: as without us");
    }
}

pub async fn sessions_and_services(kind: Kind) {
    let Some(_machine) = machine(kind) else { return };
    let _: PathBuf = PathBuf::new();
}
