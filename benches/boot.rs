//! What the agent costs the boot of a real VM, against a unit that runs curl once: `cargo bench --bench boot`, as root.
//!
//! ```text
//! keyfob-agent.service  from its start to READY=1: enrolment, fetch, files written and read back
//! rival.service         in its place, from its start to its end: one mTLS GET of as many bytes from nginx
//! ```
//!
//! Debian 12 under QEMU without KVM, so everything takes several times as long as on a processor: the ratio is what counts.
//! Boots in pairs, one after the other. `KEYFOB_AGENT` names an agent built as it is shipped (`cargo build --profile agent
//! --no-default-features -F agent`).

use std::{
    fs,
    io::{self, Write},
};

#[allow(dead_code, reason = "shared with the other benchmark")]
mod nginx;

#[path = "../tests/boot/machine.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod machine;
#[path = "../tests/boot/tree.rs"]
mod tree;
#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod world;

use keyfob::wire::v1::Visibility;
use machine::{Boot, Kind, Machine, alone};
use nginx::{Anything, Nginx};
use world::World;

const PAIRS: usize = 5;
const SECRETS: usize = 50;
/// A sealed bundle of that many.
const BYTES: usize = 6 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Anything> {
    let tree = tree::tree().ok_or("VMs are booted by root")?;
    alone();
    let world = World::new().await;
    for n in 0..SECRETS {
        world.admin().create(&format!("secret-{n}"), Visibility::Shared, &[b'v'; 64]).await;
    }
    let dir = tempfile::tempdir_in("/dev/shm")?;
    let nginx = Nginx::start(dir.path(), BYTES)?;
    let read = |name: &str| fs::read_to_string(nginx.dir.join(name));
    let (ca, certificate, key) = (read("ca.pem")?, read("client.pem")?, read("client.key")?);
    let port = nginx.port;
    let rival = format!(
        "[Unit]\nWants=network-online.target\nAfter=network-online.target\nBefore=systemd-user-sessions.service ssh.service cron.service\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/curl -sS --fail --tlsv1.3 --resolve localhost:{port}:10.0.2.2 \
         --cacert /etc/rival/ca.pem --cert /etc/rival/client.pem --key /etc/rival/client.key -o /run/rival https://localhost:{port}/file\n"
    );
    const WANTED: &str = "[Unit]\nWants=rival.service\n";
    let files = [
        ("/etc/rival/ca.pem", ca.as_str()),
        ("/etc/rival/client.pem", &certificate),
        ("/etc/rival/client.key", &key),
        ("/etc/systemd/system/rival.service", &rival),
        ("/etc/systemd/system/multi-user.target.d/rival.conf", WANTED),
        // Empty files: masked.
        ("/etc/systemd/system/keyfob-agent.service", ""),
        ("/etc/systemd/system/keyfob-ready.target", ""),
    ];
    // All of them now: while a VM boots, nobody here answers the server's pings.
    let mut joins = Vec::new();
    for _ in 0..PAIRS {
        joins.push(world.session("", "default").await.join);
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (pair, join) in (1..).zip(joins) {
        let agent =
            measured(&mut Machine::boot(tree, Kind::Vm, &Boot { join: Some(&join), files: &[] }), "keyfob-agent")?;
        let curl = measured(&mut Machine::boot(tree, Kind::Vm, &Boot { join: None, files: &files }), "rival")?;
        say(&format!(
            "pair {pair}: agent {:.2} s of {:.1} s to running, curl {:.2} s of {:.1} s",
            agent.0, agent.1, curl.0, curl.1
        ));
        ours.push(agent.0);
        theirs.push(curl.0);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    say(&format!("unit in the VM: agent {ours:.2} s, curl {theirs:.2} s: {:.2} x curl", ours / theirs));
    Ok(())
}

/// Seconds from a unit's start to its being active, and from the kernel's start to a machine in which nothing is left to start.
fn measured(machine: &mut Machine, unit: &str) -> Result<(f64, f64), Anything> {
    machine.wait_running();
    let script = format!(
        "t() {{ systemctl show -P $1TimestampMonotonic $2; }}; echo $(t InactiveExit {unit}) $(t ActiveEnter {unit}) $(t Finish)"
    );
    let printed = machine.ok(&script);
    let times: Vec<f64> = printed.split(' ').map(|t| t.parse::<f64>().map(|t| t / 1e6)).collect::<Result<_, _>>()?;
    match times[..] {
        [start, active, finish] if active > start => Ok((active - start, finish)),
        _ => Err(format!(
            "{unit} did not start: {printed}; {}",
            machine.ok("journalctl -b -u rival -u keyfob-agent | tail -5")
        )
        .into()),
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
