//! What is logged passes through the redactor: all of it arrives, as it would have without, but for the values.

use std::{collections::BTreeMap, env};

use crate::{
    load::{GO, OF_PROCESSES, ROLE, Summary},
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
const OFF: (&str, &str) =
    ("/etc/keyfob/agent.toml", "[redact]\njournal = 'off'\n[boot]\non_failure = 'continue'\ndeadline_seconds = 1\n");

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

/// Starts one service for each way, two with users of their own. They go on once the first of each was heard of.
fn start(machine: &mut Machine, count: usize) {
    machine.ok(&format!("rm -f {GO}"));
    for (way, user) in WAYS.iter().zip(["alice", "root", "zoe"]) {
        machine.ok(&format!(
            "systemd-run -q --unit=load-{way} --uid={user} -p SyslogIdentifier=load -p LogExtraFields=EXTRA=1 \
             -E {ROLE}='send {way} {count} {VALUE}' {LOAD} --exact role --nocapture"
        ));
    }
    for way in WAYS {
        machine.ok(&format!(
            "timeout 60 sh -c 'until journalctl -q -t load -o cat | grep -q \"^{way} n=0 \"; do sleep 0.1; done'"
        ));
    }
    machine.ok(&format!("touch {GO}"));
}

/// Until none of them runs. A systemd that is being started anew answers nothing, which is no answer.
fn wait(machine: &mut Machine) {
    machine
        .ok("timeout 110 sh -c 'until states=$(systemctl show -P ActiveState load-native load-syslog load-stdout) && \
         ! echo \"$states\" | grep -qxE \"active|activating|deactivating|reloading\"; do sleep 0.05; done'");
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
    "systemctl kill --signal=STOP keyfob-redact; sleep 5; systemctl kill --signal=CONT keyfob-redact",
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
        assert_eq!(
            (found.entries, found.different, found.in_order),
            (sent, sent, true),
            "{way}: {}",
            machine.ok("cat /run/said; journalctl -q --no-pager -t keyfob-redact")
        );
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

    // All that, while they log: their streams are in systemd's hands, which takes a moment that is no part of the promise.
    let kept = machine.ok("ls /run/keyfob-redact/streams | wc -l");
    start(&mut machine, count);
    machine.ok(&format!(
        "timeout 20 sh -c 'until [ $(ls /run/keyfob-redact/streams | wc -l) -ge $(({kept} + 3)) ]; do sleep 0.02; done'"
    ));
    for chaos in CHAOS {
        machine.ok(chaos);
    }
    wait(&mut machine);
    let found = arrived(&mut machine);
    let (kills, streams) = (2, 1);
    for way in WAYS {
        let (found, sent) = (found.get(way).unwrap_or_else(|| panic!("{way}: {found:?}")), sent(way));
        assert_eq!((found.different, found.in_order), (sent, true), "{way}: none is lost");
        // One datagram, or a piece of lines, each time that it was killed between sending and taking.
        let most = if way == "stdout" { kills * streams * 16 * 1024 / 60 } else { kills };
        assert!(found.entries - found.different <= most, "{way}: {} came twice", found.entries - found.different);
        assert_eq!((found.with_value, found.with_mask), (0, found.entries), "{way}");
    }
    assert_eq!(machine.ok("systemctl is-active keyfob-redact"), "active");

    // Bound anew, journald's sockets are past us for a moment; then no more.
    // Sometimes a socket is refused because its service was started by the other in between.
    machine.ok("timeout 20 sh -c 'until systemctl restart systemd-journald.socket; do sleep 0.2; done'");
    machine.ok(&format!("timeout 10 sh -c 'until journalctl -t again | grep -q keyfob:LOADED; do logger -t again {VALUE}; sleep 0.1; done'"));
    let said = machine.ok(&role("canary"));
    assert!(said.contains("CANARY Ok"), "{said}");
    assert_eq!(
        machine.ok("ls /run/keyfob-redact/streams | wc -l"),
        machine.ok("echo $(( ($(systemctl show -P NFileDescriptorStore keyfob-redact) - 5) / 2 ))")
    );
}

/// How often each value of a field came with an identifier, once so many entries have come on a machine that may be slow.
fn field(machine: &mut Machine, (identifier, count): (&str, usize), field: &str) -> BTreeMap<String, usize> {
    let come = format!("[ $(journalctl -q -t {identifier} -o cat --output-fields=_PID | wc -l) -ge {count} ]");
    let _ = machine.sh(&format!("timeout 60 sh -c 'until {come}; do sleep 0.1; done'"));
    let printed = machine.ok(&format!("journalctl --sync; journalctl -q --no-pager --all -o json -t {identifier}"));
    let mut found = BTreeMap::new();
    for line in printed.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        *found.entry(entry[field].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    found
}

fn once(text: &str) -> BTreeMap<String, usize> {
    BTreeMap::from([(text.to_owned(), 1)])
}

#[expect(clippy::print_stdout, reason = "how many keep their unit differs from run to run")]
pub async fn sessions_and_services(kind: Kind) {
    let Some(mut machine) = machine(kind) else { return };
    // In a file: what stands in an argument is in the journal too, by journald's own hand.
    machine.ok(&format!("echo 'value {VALUE}' >/run/value; chmod 644 /run/value"));
    redacted(&mut machine);

    // A session: what is typed there, what its user's systemd starts.
    for (identifier, command) in [
        ("by-logger", "logger -t by-logger -f /run/value; sleep 0.3"),
        ("by-cat", "systemd-cat -t by-cat sh -c 'read line </run/value; echo \"$line\"; sleep 0.3'"),
        (
            "by-native",
            "printf 'MESSAGE=value %s\\nSYSLOG_IDENTIFIER=by-native\\n' $(cut -d' ' -f2 /run/value) | logger --journald",
        ),
        (
            "by-user",
            "systemd-run --user -q --wait -p SyslogIdentifier=by-user sh -c 'read line </run/value; echo \"$line\"; sleep 0.3'",
        ),
    ] {
        let (code, printed) = machine.ssh("alice", command);
        assert_eq!(code, 0, "{command}: {printed}");
        assert_eq!(field(&mut machine, (identifier, 1), "MESSAGE"), once("value [keyfob:LOADED]"), "{identifier}");
        assert_eq!(
            field(&mut machine, (identifier, 1), "_UID"),
            once(&machine_uid(&mut machine, "alice")),
            "{identifier}"
        );
    }
    let unit = field(&mut machine, ("by-cat", 1), "_SYSTEMD_UNIT").into_keys().next().unwrap_or_default();
    assert!(unit.starts_with("session-") && unit.ends_with(".scope"), "{unit}");
    let unit = field(&mut machine, ("by-user", 1), "_SYSTEMD_USER_UNIT").into_keys().next().unwrap_or_default();
    assert!(unit.starts_with("run-"), "{unit}");

    // A service that asked for it, whoever else is redacted.
    machine.ok(
        "systemd-run -q --wait --unit=in-namespace --uid=zoe -p LogNamespace=keyfob -p SyslogIdentifier=in-namespace \
         sh -c 'cat /run/value; logger -t in-namespace -f /run/value; sleep 0.5'",
    );
    // logger is gone before the redactor has even started.
    let mut units = field(&mut machine, ("in-namespace", 2), "_SYSTEMD_UNIT");
    assert!(units.remove("in-namespace.service").is_some_and(|right| right >= 1), "{units:?}");
    units.remove("");
    assert_eq!(units, BTreeMap::new(), "no unit but its own");
    assert_eq!(
        field(&mut machine, ("in-namespace", 2), "MESSAGE"),
        BTreeMap::from([("value [keyfob:LOADED]".to_owned(), 2)])
    );
    for asked in ["", "--flush", "--sync"] {
        let (code, printed) = machine.sh(&format!("timeout 20 journalctl -q --namespace=keyfob {asked}"));
        assert!(code != 124 && !printed.contains("value"), "{asked}: {code} {printed}");
    }

    // Who isn't root says no unit of another's.
    machine.ok(&format!(
        "systemd-run -q --wait --unit=forger --uid=alice -E {ROLE}='forge ssh.service' {LOAD} --exact role --nocapture"
    ));
    assert_eq!(field(&mut machine, ("forged", 1), "_SYSTEMD_UNIT"), once("forger.service"));

    // Of those that are gone at once, none is lost, and none is ours.
    machine.ok(
        "systemd-run -q --wait --unit=dying sh -c 'for n in $(seq 100); do logger -t dying-syslog $n; \
         echo MESSAGE=$n | sed \"1iSYSLOG_IDENTIFIER=dying-native\" | logger --journald; systemd-cat -t dying-stdout echo $n; done'",
    );
    for way in ["syslog", "native", "stdout"] {
        let units = field(&mut machine, (&format!("dying-{way}"), 100), "_SYSTEMD_UNIT");
        let right = units.get("dying.service").copied().unwrap_or_default();
        let none = units.get("").copied().unwrap_or_default();
        assert_eq!(right + none, 100, "{way}: {units:?}");
        println!("{kind:?}: of 100 that were gone at once, by {way}: {right} with their unit");
    }

    // A line is one entry, though its halves were read one by one, and who wrote it was gone before the second was.
    machine.ok(
        "rm -f /run/first /run/second; mkfifo /run/second
         systemd-cat -t by-halves sh -c 'printf %0300d 0; echo >/run/first; read go </run/second; echo \" and half\"' & writer=$!
         until [ -s /run/first ]; do sleep 0.05; done; sleep 1
         systemctl kill --signal=STOP keyfob-redact
         echo go >/run/second; wait $writer; systemctl kill --signal=CONT keyfob-redact",
    );
    assert_eq!(field(&mut machine, ("by-halves", 1), "MESSAGE"), once(&format!("{:0300} and half", 0)));

    // While values go through, what is in its memory is the message at hand; then, nothing.
    start(&mut machine, if kind == Kind::Vm { 500 } else { 5_000 });
    let scan = |process: &str| role(&format!("scan {process} {VALUE}"));
    let pid = machine.ok("systemctl show -P MainPID keyfob-redact");
    for _ in 0..10 {
        let said = machine.ok(&format!("kill -STOP {pid}; {}; kill -CONT {pid}", scan(&pid)));
        // A piece of lines has 200 of them, and is read, masked and sent.
        assert!(found(&said).0 < 1_000, "{said}");
    }
    wait(&mut machine);
    machine.ok("journalctl --sync; sleep 0.2");
    let said = machine.ok(&scan(&pid));
    assert_eq!(found(&said).0, 0, "{said}");
    let holder = machine.ok("systemctl show -P MainPID hand-over");
    assert_ne!(found(&machine.ok(&scan(&holder))).0, 0, "the positive control");

    machine.ok("journalctl --sync; ! journalctl -q --all --no-pager -o export | grep -a -F -e \"$(cut -d' ' -f2 /run/value)\" | grep -a -v ^_CMDLINE=");

    // Ended for good, it gives the sockets back, and what is logged arrives without it.
    machine.ok("systemctl mask -q --runtime keyfob-redact; systemctl kill --signal=TERM keyfob-redact; sleep 0.5; logger -t after hello; sleep 0.3");
    assert_eq!(field(&mut machine, ("after", 1), "MESSAGE"), once("hello"));
    assert_eq!(machine.ok("ls /run/systemd/journal/keyfob"), "dev-log.own\nsocket.own\nstdout.own");
}

fn machine_uid(machine: &mut Machine, user: &str) -> String {
    machine.ok(&format!("id -u {user}"))
}

/// How often, and within how many bytes.
fn found(said: &str) -> (usize, usize) {
    let line = said.lines().find_map(|line| line.split_once("SCAN ").map(|(_, rest)| rest));
    let mut numbers = line.unwrap_or_else(|| panic!("{said}")).split(' ').map(|n| n.parse().expect("a number"));
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}
