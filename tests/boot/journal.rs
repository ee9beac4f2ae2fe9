//! What is logged passes through the redactor: all of it arrives, as it would have without, but for the values.

use std::{collections::BTreeMap, env};

use crate::{
    load::{OF_PROCESSES, ROLE, Summary},
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

/// The same without what is not known of a process that is gone.
fn of_units(fields: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for (fields, count) in fields {
        let known: Vec<&str> =
            fields.split(" | ").filter(|field| !OF_PROCESSES.iter().any(|name| field.starts_with(name))).collect();
        *all.entry(known.join(" | ")).or_default() += count;
    }
    all
}

/// With the same units, users and contents as without us; and all of what is known of those that were alive.
fn same_but_for_values(way: &str, plain: &Summary, found: &Summary) {
    let mut all = of_units(&found.fields);
    for (fields, count) in &found.gone {
        *all.entry(fields.clone()).or_default() += count;
    }
    assert_eq!(all, of_units(&plain.fields), "{way}: {found:?}");
    for fields in found.fields.keys() {
        assert!(plain.fields.contains_key(fields), "{way}: {fields}: {:?}", plain.fields);
    }
    let ours = |fields: &&String| fields.contains("keyfob-redact") || fields.contains("systemd-journald@");
    assert_eq!(found.fields.keys().chain(found.gone.keys()).find(ours), None, "{way}: our own");
}

/// What happens to a machine.
const CHAOS: [&str; 5] = [
    "systemctl kill --signal=KILL keyfob-redact",
    "pid=$(systemctl show -P MainPID keyfob-redact); kill -STOP $pid; sleep 5; kill -CONT $pid",
    "systemctl restart systemd-journald",
    "systemctl daemon-reexec",
    "systemctl kill --signal=HUP keyfob-redact",
];

pub async fn all_arrives_and_no_value(kind: Kind) {
    let Some(mut machine) = machine(kind) else { return };
    // A VM has no processor of its own.
    let count = if kind == Kind::Vm { 1_000 } else { 33_334 };
    start(&mut machine, count);
    wait(&mut machine);
    let plain = arrived(&mut machine);
    empty(&mut machine);

    redacted(&mut machine);
    start(&mut machine, count);
    wait(&mut machine);
    let found = arrived(&mut machine);
    let sent = |way: &str| count + usize::from(way == "native");
    for way in WAYS {
        let (plain, found, sent) = (&plain[way], &found[way], sent(way));
        assert_eq!((plain.entries, plain.with_value), (sent, sent), "{way}: the positive control");
        assert_eq!((found.entries, found.different, found.in_order), (sent, sent, true), "{way}");
        assert_eq!((found.with_value, found.with_mask), (0, sent), "{way}");
        same_but_for_values(way, plain, found);
    }
    let said = machine.ok("sleep 1.5; cat /run/said");
    for way in WAYS {
        let leaks = said.lines().filter_map(|line| line.strip_prefix(&format!("LEAK LOADED load-{way}.service ")));
        let leaks: usize = leaks.map(|count| count.parse::<usize>().expect("a number")).sum();
        assert!(leaks >= count, "{way}: {leaks} leaks told");
    }
    empty(&mut machine);

    // All that, while they log.
    start(&mut machine, count);
    for chaos in CHAOS {
        machine.ok(chaos);
    }
    wait(&mut machine);
    let found = arrived(&mut machine);
    let (kills, streams) = (2, 1);
    for way in WAYS {
        let (found, sent) = (&found[way], sent(way));
        assert_eq!((found.different, found.in_order), (sent, true), "{way}: none is lost");
        // One datagram, or a piece of lines, each time that it was killed between sending and taking.
        let most = if way == "stdout" { kills * streams * 16 * 1024 / 60 } else { kills };
        assert!(found.entries - found.different <= most, "{way}: {} came twice", found.entries - found.different);
        assert_eq!((found.with_value, found.with_mask), (0, found.entries), "{way}");
    }
    assert_eq!(machine.ok("systemctl is-active keyfob-redact"), "active");

    // Bound anew, journald's sockets are past us for a moment; then no more.
    machine.ok("systemctl restart systemd-journald-dev-log.socket systemd-journald.socket systemd-journald");
    machine.ok(&format!("timeout 10 sh -c 'until journalctl -t again | grep -q keyfob:LOADED; do logger -t again {VALUE}; sleep 0.1; done'"));
    assert_eq!(machine.ok(&role("canary")).lines().filter(|line| line.contains("CANARY Ok")).count(), 1);
    assert_eq!(
        machine.ok("ls /run/keyfob-redact/streams | wc -l"),
        machine.ok("echo $(( ($(systemctl show -P NFileDescriptorStore keyfob-redact) - 5) / 2 ))")
    );
}

pub async fn sessions_and_services(kind: Kind) {
    let Some(mut machine) = machine(kind) else { return };
    redacted(&mut machine);
    // A session: what is typed there, what its user's systemd starts.
    for command in [
        format!("logger -t by-logger {VALUE}"),
        format!("printf %s {VALUE} | systemd-cat -t by-cat"),
        format!("logger --journald <<E\nMESSAGE=own {VALUE}\nSYSLOG_IDENTIFIER=by-native\nE"),
        format!(
            "systemd-run --user -q --wait -p SyslogIdentifier=by-user sh -c 'read value; echo $value; sleep 0.3' <<<{VALUE}"
        ),
    ] {
        let (code, printed) = machine.ssh("alice", &command);
        assert_eq!(code, 0, "{command}: {printed}");
    }
}
