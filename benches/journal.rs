//! What the redactor costs those who log: entries per second that have arrived in the journal, without it and with it, in one
//! container, in turns: `cargo bench --bench journal`, as root. `KEYFOB_AGENT` names an agent built as it is shipped.

use std::{
    env,
    io::{self, Write},
    time::Instant,
};

#[path = "../tests/boot/load.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod load;
#[path = "../tests/boot/machine.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod machine;
#[path = "../tests/boot/tree.rs"]
mod tree;
#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod world;

use machine::{Boot, Kind, Machine, alone};

const ENTRIES: usize = 30_000;
const ROUNDS: usize = 3;
const VALUE: &str = "sk-live-51Habcdefghijklmnopqrstuvwxyz0123456789";
/// What most lines hold: nothing.
const NO_VALUE: &str = "an-ordinary-word-of-the-same-length-as-the-value";

fn main() {
    if env::var_os(load::ROLE).is_some() {
        return load::play();
    }
    let Some(tree) = tree::tree() else { return };
    alone();
    let files = [
        (
            "/etc/systemd/journald.conf.d/bench.conf",
            "[Journal]\nStorage=volatile\nRuntimeMaxUse=1G\nRateLimitIntervalSec=0\nForwardToSyslog=no\n",
        ),
        ("/etc/keyfob/agent.toml", "[redact]\njournal = 'off'\n"),
    ];
    let own = env::current_exe().expect("this program");
    let mut machine =
        Machine::boot_with(tree, Kind::Nspawn, &Boot { join: None, files: &files }, &[("/usr/local/bin/load", &own)]);
    machine.wait_running();
    let mut rates = Vec::new();
    for redacted in [false, true] {
        if redacted {
            machine.ok(&format!(
                "printf '[redact]\\njournal = \"whole-machine\"\\n' >/etc/keyfob/agent.toml; systemctl start keyfob-redact
                 systemd-run -q -p StandardOutput=file:/run/said -E {}='agent {VALUE}' /usr/local/bin/load
                 until grep -q 'STATE whole-machine true None' /run/said; do sleep 0.05; done",
                load::ROLE
            ));
        }
        for way in ["native", "syslog", "stdout"] {
            for word in [NO_VALUE, VALUE] {
                let mut best = 0.0_f64;
                for _ in 0..ROUNDS {
                    let start = Instant::now();
                    machine.ok(&format!(
                        "systemd-run -q --wait -E {}='send {way} {ENTRIES} {word}' /usr/local/bin/load
                         until [ \"$(journalctl -q -n 1 -t mark -o cat)\" = {start:?} ]; do logger -t mark {start:?}; journalctl --sync; done",
                        load::ROLE,
                        start = start.elapsed().as_nanos().to_string() + way + word,
                    ));
                    best = best.max(ENTRIES as f64 / start.elapsed().as_secs_f64());
                }
                rates.push((way, word == VALUE, redacted, best));
            }
        }
    }
    let mut text = String::from("entries per second that arrived, best of rounds\n");
    for (way, value, _, plain) in rates.iter().filter(|(_, _, redacted, _)| !redacted) {
        let (.., ours) = rates.iter().find(|(w, v, redacted, _)| w == way && v == value && *redacted).expect("both");
        let with = if *value { "each with a value" } else { "without values" };
        text += &format!("{way:7} {with:18} plain {plain:8.0}  redacted {ours:8.0}  {:.2}\n", ours / plain);
    }
    let _ = io::stdout().write_all(text.as_bytes());
}
