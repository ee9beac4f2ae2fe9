//! Who logs, and who looks at what arrived: this very program, started inside a machine with a role in its environment.
//!
//! ```text
//! KEYFOB_ROLE="send native 1000 VALUE"   by that way; also syslog, stdout
//! KEYFOB_ROLE="check VALUE"              prints one Summary per way, as JSON
//! KEYFOB_ROLE="agent VALUE"              hands over the fingerprints of VALUE, prints what the redactor says
//! KEYFOB_ROLE="scan PID VALUE"           how often VALUE stands in the memory of a process, and within how many bytes
//! KEYFOB_ROLE="canary"                   proves that redaction works, as the agent does
//! KEYFOB_ROLE="forge UNIT"               logs as another unit
//! ```
#![allow(clippy::print_stdout, reason = "what it is asked, it answers on its standard output")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead, BufReader, IoSlice, Write},
    os::{
        fd::AsRawFd,
        unix::{
            fs::FileExt,
            net::{UnixDatagram, UnixStream},
        },
    },
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use keyfob::{agent::journal, domain::redaction::Redaction};
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg},
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

pub const ROLE: &str = "KEYFOB_ROLE";

/// What arrived by one way.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub entries: usize,
    /// Without those that came twice.
    pub different: usize,
    /// Each sender's in the order in which it sent them.
    pub in_order: bool,
    pub with_value: usize,
    pub with_mask: usize,
    /// How often each set of all other fields came, without what differs from entry to entry.
    pub fields: BTreeMap<String, usize>,
    /// The same of those whose process was gone before the redactor read it, with what is known of such.
    pub gone: BTreeMap<String, usize>,
}

/// Does nothing where there is no role: then it is a test like the others.
pub fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    match words[..] {
        ["send", way, count, value] => send(way, count.parse().expect("a number"), value).expect("it can log"),
        ["check", value] => check(value),
        ["agent", value] => agent(value),
        ["canary"] => {
            println!("CANARY {:?}", keyfob::agent::canary::journal(CANARY).map_err(|failed| failed.to_string()))
        }
        ["scan", pid, value] => scan(pid, value.as_bytes()),
        ["forge", unit] => forge(unit).expect("anybody can log"),
        _ => panic!("no such role: {role}"),
    }
}

const CANARY: &str = "7f3a9c1e5b2d480691e06d5c4b3a2f18";

fn scan(pid: &str, value: &[u8]) {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("root reads it");
    let mut found = Vec::new();
    for mapping in std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("root reads it").lines() {
        let (range, rest) = mapping.split_once(' ').expect("RANGE RIGHTS");
        let (start, end) = range.split_once('-').expect("START-END");
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).expect("hex"));
        let mut bytes = vec![0; (end - start) as usize];
        if rest.starts_with('r') && memory.read_exact_at(&mut bytes, start).is_ok() {
            found.extend(memchr::memmem::find_iter(&bytes, value).map(|at| start + at as u64));
        }
    }
    let span = found.iter().max().unwrap_or(&0) - found.iter().min().unwrap_or(&0);
    println!("SCAN {} {span}", found.len());
}

fn forge(unit: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect(format!("{JOURNAL}stdout"))?;
    stream.write_all(format!("forged\n{unit}\n6\n0\n0\n0\n0\nI am {unit}\n").as_bytes())?;
    // It lives until its line was read.
    std::thread::sleep(std::time::Duration::from_millis(300));
    Ok(())
}

const JOURNAL: &str = "/run/systemd/journal/";
/// Made once the first entry of each has arrived.
pub const GO: &str = "/run/go";

fn send(way: &str, count: usize, value: &str) -> io::Result<()> {
    let pid = std::process::id();
    let socket = UnixDatagram::unbound()?;
    let mut out = File::from(io::stdout().try_clone_to_owned()?);
    if way == "native" {
        large(&socket, pid, value)?;
    }
    for n in 0..count {
        let message = format!("{way} n={n} pid={pid} key={value};");
        match way {
            "native" => {
                let mut entry = format!("PRIORITY={}\nSYSLOG_IDENTIFIER=load\nOWN={value}\n", n % 8).into_bytes();
                let text = if n % 10 == 0 { format!("{message}\nsecond {value}\nthird") } else { message };
                field(&mut entry, "MESSAGE", text.as_bytes());
                field(&mut entry, "BLOB", &[b"\0\xff\n", value.as_bytes(), b"\x01"].concat());
                socket.send_to(&entry, format!("{JOURNAL}socket"))?;
            }
            "syslog" => {
                let text = format!("<{}>Nov 24 13:28:32 load[{pid}]: {message}", 8 + n % 8);
                socket.send_to(text.as_bytes(), "/dev/log")?;
            }
            _ => {
                let text = format!("<{}>{message}\n", n % 8);
                // One in ten in two writes, cut within the value.
                let cut = if n % 10 == 0 { text.len() - value.len() / 2 } else { text.len() };
                out.write_all(&text.as_bytes()[..cut])?;
                out.write_all(&text.as_bytes()[cut..])?;
            }
        }
        // Seen alive, even by a slow machine. What is gone at once is another case's.
        while n == 0 && !Path::new(GO).exists() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    Ok(())
}

trait Owned {
    fn try_clone_to_owned(&self) -> io::Result<std::os::fd::OwnedFd>;
}

impl Owned for io::Stdout {
    fn try_clone_to_owned(&self) -> io::Result<std::os::fd::OwnedFd> {
        std::os::fd::AsFd::as_fd(self).try_clone_to_owned()
    }
}

fn field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

/// An entry of 700 kB, as libsystemd sends what is too large for a datagram: in a sealed memfd.
fn large(socket: &UnixDatagram, pid: u32, value: &str) -> io::Result<()> {
    let mut entry = b"PRIORITY=5\nSYSLOG_IDENTIFIER=load\n".to_vec();
    field(&mut entry, "MESSAGE", format!("native n=large pid={pid} key={value};").as_bytes());
    field(&mut entry, "BLOB", &[vec![b'x'; 700_000], value.as_bytes().to_vec()].concat());
    let mut file = File::from(memfd_create("large", MFdFlags::MFD_ALLOW_SEALING)?);
    file.write_all(&entry)?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    let beside = [file.as_raw_fd()];
    let to = UnixAddr::new(format!("{JOURNAL}socket").as_str())?;
    let none: [IoSlice<'_>; 0] = [];
    sendmsg(socket.as_raw_fd(), &none, &[ControlMessage::ScmRights(&beside)], MsgFlags::empty(), Some(&to))?;
    Ok(())
}

/// What differs between two entries of one sender, or two runs.
const PASSING: [&str; 14] = [
    "__CURSOR",
    "__REALTIME_TIMESTAMP",
    "__MONOTONIC_TIMESTAMP",
    "_BOOT_ID",
    "_SOURCE_REALTIME_TIMESTAMP",
    "_STREAM_ID",
    "_SYSTEMD_INVOCATION_ID",
    "_MACHINE_ID",
    "_PID",
    "SYSLOG_PID",
    "SYSLOG_RAW",
    "MESSAGE",
    "PRIORITY",
    "_AUDIT_SESSION",
];

/// What is not known of one that is gone; the cgroup is one that was made for it.
pub const OF_PROCESSES: [&str; 7] =
    ["_COMM=", "_EXE=", "_CMDLINE=", "_CAP_EFFECTIVE=", "_SYSTEMD_CGROUP=", "own pid:", "own syslog pid:"];

/// Of one sender: how many and how, what was wrong, how often each of what may differ.
type Found = (Summary, BTreeSet<String>, BTreeMap<String, usize>);

fn check(value: &str) {
    let mut journalctl = Command::new("journalctl")
        .args(["--quiet", "--output=json", "--all", "--no-pager"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("journalctl runs");
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for line in BufReader::new(journalctl.stdout.take().expect("piped")).split(b'\n') {
        let entry: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&line.expect("a line")).expect("JSON");
        let entry: BTreeMap<String, String> = entry.into_iter().map(|(name, value)| (name, text(&value))).collect();
        let message = entry.get("MESSAGE").cloned().unwrap_or_default();
        let Some((way, rest)) = message.split_once(" n=") else { continue };
        if !["native", "syslog", "stdout"].contains(&way) {
            continue;
        }
        let (n, rest) = rest.split_once(" pid=").expect("what was sent");
        let (pid, rest) = rest.split_once(" key=").expect("what was sent");
        let (summary, seen, last) = found
            .entry(way.to_owned())
            .or_insert_with(|| (Summary { in_order: true, ..Default::default() }, BTreeSet::new(), BTreeMap::new()));
        summary.entries += 1;
        if seen.insert(format!("{n} {pid}")) {
            summary.different += 1;
            let number = n.parse().unwrap_or_default();
            summary.in_order &= last.insert(pid.to_owned(), number).is_none_or(|before| before < number || number == 0);
        }
        summary.with_value += usize::from(entry.values().any(|v| v.contains(value)));
        summary.with_mask += usize::from(rest.contains("[keyfob:"));
        let shown =
            |text: &str| text.replace(value, "@").replace("[keyfob:LOADED]", "@").chars().take(80).collect::<String>();
        let mut fields: Vec<String> = entry
            .iter()
            .filter(|(name, _)| !PASSING.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={}", shown(value)))
            .collect();
        let priority: usize = entry["PRIORITY"].parse().expect("a number");
        if n != "large" {
            assert_eq!(priority, n.parse::<usize>().expect("a number") % 8, "{entry:?}");
        }
        fields.push(format!("key={}", shown(rest)));
        fields.push(format!("own pid: {}", entry.get("_PID").is_some_and(|p| p == pid)));
        fields.push(format!("own syslog pid: {}", entry.get("SYSLOG_PID").is_some_and(|p| p == pid)));
        let of = if entry.get("_COMM").is_some_and(|name| name == "keyfob-gone") {
            fields.retain(|field| !OF_PROCESSES.iter().any(|name| field.starts_with(name)));
            &mut summary.gone
        } else {
            &mut summary.fields
        };
        *of.entry(fields.join(" | ")).or_default() += 1;
    }
    let found: BTreeMap<String, Summary> = found.into_iter().map(|(way, (summary, ..))| (way, summary)).collect();
    journalctl.wait().expect("it was started");
    println!("SUMMARY {}", serde_json::to_string(&found).expect("it is JSON"));
}

/// Text; bytes that are none come as numbers, and several fields of one name as a list.
fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) if items.iter().all(serde_json::Value::is_u64) => {
            let bytes: Vec<u8> = items.iter().filter_map(serde_json::Value::as_u64).map(|n| n as u8).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        other => other.to_string(),
    }
}

fn agent(value: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut redaction = Redaction::new([7; 32]);
        redaction.add("LOADED", "1", value.as_bytes());
        redaction.add("KEYFOB_CANARY", "", CANARY.as_bytes());
        let prints = Arc::new(redaction.encode());
        // The agent's file, for who is started later.
        std::fs::create_dir_all("/run/keyfob").expect("root may");
        std::fs::write("/run/keyfob/fingerprints", &*prints).expect("root may");
        let (_set, receiver) = watch::channel(Some(prints.clone()));
        let (leaks, mut found) = mpsc::channel(16);
        let (state, mut states) = watch::channel(journal::State::default());
        let say = |what: String| {
            let mut out = io::stdout().lock();
            writeln!(out, "{what}").and_then(|()| out.flush()).expect("it is read");
        };
        tokio::select! {
            () = journal::hand_over(receiver, leaks, state) => {}
            () = async {
                loop {
                    tokio::select! {
                        Ok(()) = states.changed() => {
                            let state = states.borrow_and_update().clone();
                            say(format!("STATE {} {} {:?}", state.mode, state.working && state.uses(&prints), state.problem));
                        }
                        Some(leak) = found.recv() => say(format!("LEAK {} {} {}", leak.variable, leak.unit, leak.count)),
                    }
                }
            } => {}
        }
    });
}
