//! No copy of a value in the memory of agent or server: every readable mapping of the real processes is searched, as root's
//! debugger would, for windows of every value and for the join token.

mod pushed;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use keyfob::{
    domain::redaction::Redaction,
    memory::{Rung, SecretBuf},
    seal::RecipientKey,
    wire::v1::{self, Role, Visibility},
};

use crate::{
    console::Browser,
    exec::{Session, screen::Screen},
    world::{AgentRun, World, enrol_session},
};

/// What is searched for, by what it is.
type Needles = Vec<(String, Vec<u8>)>;

/// Three windows of 16 bytes of each value: a part of one counts.
fn windows(name: &str, value: &[u8]) -> Needles {
    [0, value.len() / 2, value.len() - 16].map(|at| (format!("{name}@{at}"), value[at..at + 16].to_vec())).into()
}

/// The same of what redaction makes of it on the way: base64 at three alignments, and hex.
fn encoded(name: &str, value: &[u8]) -> Needles {
    let hex = |upper: bool| value.iter().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect();
    let forms = [0, 1, 2].map(|skip| STANDARD_NO_PAD.encode(&value[skip..]));
    let forms = forms.into_iter().chain([hex(false), hex(true)]);
    forms.zip(0..).flat_map(|(form, i)| windows(&format!("{name} encoded {i}"), form.as_bytes())).collect()
}

/// How often each needle stands in the memory of a process.
fn scan(pid: u32, needles: &Needles) -> BTreeMap<String, usize> {
    let mut hits = BTreeMap::new();
    read_memory(pid, |mapping, _, bytes| {
        for (name, needle) in needles {
            let found = find_all(bytes, needle);
            if found > 0 {
                *hits.entry(format!("{name} in {}", mapping.rsplit(' ').next().unwrap_or_default())).or_default() +=
                    found;
            }
        }
    });
    hits
}

/// Where they stand, from the lowest.
fn places(pid: u32, needles: &Needles) -> Vec<u64> {
    let mut places = Vec::new();
    read_memory(pid, |_, start, bytes| {
        for (_, needle) in needles {
            places.extend(memchr::memmem::find_iter(bytes, needle).map(|at| start + at as u64));
        }
    });
    places.sort_unstable();
    places
}

/// Each mapping, where it starts and what is in it. Those that can't be read (memfd_secret) hold what they hide.
fn read_memory(pid: u32, mut look: impl FnMut(&str, u64, &[u8])) {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("tests of memory run as root");
    for mapping in fs::read_to_string(format!("/proc/{pid}/maps")).expect("our own child").lines() {
        let mut fields = mapping.split_whitespace();
        let (range, rights) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let (start, end) = range
            .split_once('-')
            .map(|(a, b)| (u64::from_str_radix(a, 16).unwrap(), u64::from_str_radix(b, 16).unwrap()))
            .unwrap();
        let mut bytes = vec![0; (end - start) as usize];
        if rights.starts_with('r') && memory.read_exact_at(&mut bytes, start).is_ok() {
            look(mapping, start, &bytes);
        }
    }
}

fn find_all(haystack: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(haystack, needle).count()
}

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// Printable, so that it can be a variable; with what is quoted in the files.
fn text(len: usize) -> Vec<u8> {
    let mut bytes = random(len);
    for byte in &mut bytes {
        *byte = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'\n"[usize::from(*byte) % 64];
    }
    bytes
}

/// Only root reads other processes' memory; in CI that is no excuse.
fn as_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(root || std::env::var_os("CI").is_none(), "this test reads other processes' memory: run it as root");
    if !root {
        let _ = writeln!(std::io::stderr(), "not tested: other processes' memory, which only root reads");
    }
    root
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_and_server_keep_no_copy() {
    if !as_root() {
        return;
    }
    let mut world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    let values: Vec<(String, Vec<u8>)> = (0..20)
        .map(|i| (format!("short-{i}"), text(64)))
        .chain((0..10).map(|i| (format!("long-{i}"), text(2_048))))
        .chain([("longest".to_owned(), text(65_536)), ("binary".to_owned(), random(4_096))])
        .collect();
    for (name, value) in &values {
        let mut arguments = vec!["secret", "create", name, "--private", "--value-file", "-"];
        arguments.extend((name == "binary").then_some("--file"));
        alice.run_with(&arguments, value).ok();
    }
    let mut needles: Needles = values.iter().flat_map(|(name, value)| windows(name, value)).collect();
    let server = world.server_pid();
    assert_eq!(scan(server, &needles), BTreeMap::new(), "server, after creates by CLI");

    // Whoever asked for the join string is told it over a connection whose buffers are wiped when it closes.
    let ci = world.person("ci", Role::Orchestrator).await;
    let request = v1::CreateSessionRequest { user: "alice".into(), ..Default::default() };
    let made = ci.sessions().create_session(request).await.expect("a session").into_inner();
    drop(ci);
    let raw = URL_SAFE_NO_PAD.decode(made.join.trim_start_matches("kfjoin1s_")).unwrap();
    needles.extend(windows("token", &raw[..32]));
    needles.extend(windows("join string", &made.join.as_bytes()[..48]));
    let agent = AgentRun::start(&made.join, &[]);
    drop(made);
    wait_for(|| agent.dir.join("manifest.json").exists());
    assert_eq!(agent.environ()["SHORT_0"], values[0].1);
    assert_eq!(scan(agent.child.id(), &needles), BTreeMap::new(), "agent, files in place");
    let made_of_them: Needles = values.iter().flat_map(|(name, value)| encoded(name, value)).collect();
    assert_eq!(scan(agent.child.id(), &made_of_them), BTreeMap::new(), "agent, forms of values");
    wait_for(|| scan(server, &needles).is_empty()); // after a fetch, and when that connection has been closed
    for file in ["environ", "cmdline"] {
        let bytes = fs::read(format!("/proc/{}/{file}", agent.child.id())).unwrap();
        assert!(needles.iter().all(|(_, needle)| find_all(&bytes, needle) == 0), "{file}");
    }

    // A thousand more, over one connection that stays open.
    let session = enrol_session(&world.session("alice", "default").await.join).await;
    for _ in 0..1_000 {
        let key = RecipientKey::generate().unwrap();
        let request = v1::FetchRequest { public_key: key.public().to_vec(), nonce: vec![0; 16] };
        session.bundle().fetch(request).await.expect("a fetch");
    }
    assert_eq!(scan(server, &needles), BTreeMap::new(), "server, after 1,000 fetches");

    // By name, found or not.
    let names: Vec<String> = values.iter().map(|(name, _)| name.clone()).collect();
    let unknown = [&names[..31], &["never-was".to_owned()]].concat();
    for names in std::iter::repeat_n([&names, &unknown], 20).flatten() {
        let key = RecipientKey::generate().unwrap();
        let (public_key, nonce) = (key.public().to_vec(), vec![0; 16]);
        let request = v1::FetchNamedRequest { names: names.clone(), public_key, nonce };
        assert_eq!(session.bundle().fetch_named(request).await.is_ok(), !names.contains(&"never-was".to_owned()));
    }
    assert_eq!(scan(server, &needles), BTreeMap::new(), "server, after fetches by name");

    // An error: a row that was tampered with is opened in part before it is refused.
    let tampered = rusqlite::Connection::open(world.database()).unwrap();
    tampered.busy_timeout(Duration::from_secs(5)).unwrap();
    tampered.execute("UPDATE secrets SET variable = 'ELSEWHERE' WHERE name = 'short-19'", []).unwrap();
    let key = RecipientKey::generate().unwrap();
    let request = v1::FetchRequest { public_key: key.public().to_vec(), nonce: vec![0; 16] };
    assert_eq!(session.bundle().fetch(request).await.unwrap_err().code(), tonic::Code::DataLoss);
    assert_eq!(scan(server, &needles), BTreeMap::new(), "server, after an error");

    // And the agent when its server is gone.
    world.kill_server();
    assert_eq!(scan(agent.child.id(), &needles), BTreeMap::new(), "agent, server gone");
}

/// A plain field travels in the clear inside TLS; once that connection is closed, its buffers are freed, and so wiped.
#[tokio::test(flavor = "multi_thread")]
async fn values_sent_plain_are_gone_with_their_connection() {
    if !as_root() {
        return;
    }
    let world = World::new().await;
    let value = text(4_096);
    let alice = world.person("alice", Role::Member).await;
    alice.create("plain", Visibility::Private, &value).await;
    drop(alice);
    let needles = windows("plain", &value);
    wait_for(|| scan(world.server_pid(), &needles).is_empty());
}

/// What is pasted into the console travels likewise; the server ends that connection, however long the browser would have kept it.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_pasted_are_gone_when_they_are_saved() {
    if !as_root() {
        return;
    }
    let world = World::with_arguments(&["--console-listen", "127.0.0.1:0"]).await;
    let alice = world.person("alice", Role::Member).await;
    let mut browser = Browser::of(&world, &alice).await;
    let csrf = browser.get("/secrets/new").await.csrf().to_owned();
    let value = random(2_048).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let form = format!("csrf={csrf}&name=pasted&visibility=private&value={value}");
    assert_eq!(browser.post_and_stay("/secrets/new", &form).await.status, 303);
    let needles = windows("pasted", value.as_bytes());
    wait_for(|| scan(world.server_pid(), &needles).is_empty());
    let refused = format!("csrf={csrf}&name=pasted&visibility=private&value={value}");
    assert_eq!(browser.post_and_stay("/secrets/new", &refused).await.status, 409);
    wait_for(|| scan(world.server_pid(), &needles).is_empty());
}

/// What filters a log holds fingerprints, and of what goes through it only what is in its buffers at that moment.
#[test]
fn what_filters_keeps_no_copy() {
    if !as_root() {
        return;
    }
    let values: Vec<(String, String)> = [64, 64, 300, 2_048, 8_000]
        .iter()
        .enumerate()
        .map(|(i, len)| (format!("VALUE_{i}"), String::from_utf8(text(*len)).unwrap()))
        .collect();
    let pairs: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let session = Session::new(&pairs);
    let needles: Needles = values.iter().flat_map(|(name, value)| windows(name, value.as_bytes())).collect();
    // Once more for each line that it is told; at last without an end.
    let print = "for i in 0 1 2 3 4; do n=VALUE_$i; printf 'a %s z\\n' \"${!n}\"; done";
    // A stream's last bytes are needed for what comes next, and a value's until none of its longer forms can end any more:
    // what ends it holds no value.
    let script = format!(
        "while read line; do {print}; printf '%020000d\\nprinted\\n' 0; done; while :; do {print}; printf '%040000d\\n' 0; done"
    );
    let command = ["bash", "-c", &script];

    let mut exec = session.exec(&[], &command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(exec.stdout.take().unwrap());
    let mut stdin = exec.stdin.take().unwrap();
    for _ in 0..20 {
        stdin.write_all(b"again\n").unwrap();
        let mut line = String::new();
        while line != "printed\n" {
            line.clear();
            stdout.read_line(&mut line).unwrap();
        }
    }
    let outer = exec.id();
    wait_for(|| scan(outer, &needles).is_empty()); // as soon as it waits for more
    // What it knows values by lies where nobody reads it: the key of the MACs is in no memory that can be read.
    let prints = fs::read(Path::new(&session.run_dir()).join("fingerprints")).unwrap();
    let key = memchr::memmem::find(&prints, b"KFPR\x01").expect("fingerprints") + 5;
    let key = [("key".to_owned(), prints[key + 16..key + 32].to_vec())].into();
    let hidden = SecretBuf::new(1, Rung::None).unwrap().rung() == Rung::MemfdSecret;
    let found = scan(outer, &key);
    assert!(!hidden || found.is_empty(), "{found:?}");
    assert!(scan(children(outer)[0], &needles).len() >= needles.len(), "the command, which has them");
    drop(stdin);
    // Nobody reads: it stands in the midst of a write.
    blocked(outer);
    within_a_buffer(outer, &needles);
    exec.kill().unwrap();
    exec.wait().unwrap();

    let lines: String = values.iter().map(|(_, value)| format!("a {value} z\n")).collect();
    let mut redact = session.redact().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = redact.stdin.take().unwrap();
    let mut stdout = BufReader::new(redact.stdout.take().unwrap());
    for _ in 0..20 {
        stdin.write_all(format!("{lines}{:01000}\nprinted\n", 0).as_bytes()).unwrap();
        let mut line = String::new();
        while line != "printed\n" {
            line.clear();
            stdout.read_line(&mut line).unwrap();
        }
    }
    wait_for(|| scan(redact.id(), &needles).is_empty());
    let feeding =
        std::thread::spawn(move || while stdin.write_all(format!("{lines}{:040000}\n", 0).as_bytes()).is_ok() {});
    blocked(redact.id());
    within_a_buffer(redact.id(), &needles);
    redact.kill().unwrap();
    redact.wait().unwrap();
    feeding.join().unwrap();

    let dir = session.run_dir();
    let words = [crate::world::AGENT, "exec", "--dir", &dir, "--"];
    let mut screen = Screen::start(&[&words[..], &command].concat());
    for _ in 0..20 {
        screen.send("again\r");
        screen.wait_for("printed\r\n");
    }
    let outer = screen.child.id();
    let [monitor] = children(outer)[..] else { panic!("one child") };
    wait_for(|| scan(outer, &needles).is_empty());
    assert_eq!(scan(monitor, &needles), BTreeMap::new(), "the monitor");
    assert!(scan(children(monitor)[0], &needles).len() >= needles.len(), "the command, which has them");
}

fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("our own child");
    all.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Until one of its threads waits for a pipe to be read.
fn blocked(pid: u32) {
    wait_for(|| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("our own child");
        threads.flatten().any(|thread| {
            // The call's number comes first, then its arguments.
            fs::read_to_string(thread.path().join("syscall")).is_ok_and(|call| call.starts_with(WRITE))
        })
    });
}

#[cfg(target_arch = "x86_64")]
const WRITE: &str = "20 "; // writev
#[cfg(not(target_arch = "x86_64"))]
const WRITE: &str = "66 ";

/// All copies are within the length of one buffer.
fn within_a_buffer(pid: u32, needles: &Needles) {
    let places = places(pid, needles);
    let (first, last) = (places.first().expect("what is being written"), places.last().expect("as above"));
    assert!(last - first <= 256 * 1024, "{} copies from {first:x} to {last:x}", places.len());
}

/// How a child of this very test is told what to do: it is no program of ours, so its allocator wipes nothing.
const HOLDER: &str = "KEYFOB_TEST_HOLDER";

/// Fingerprints are made of values that are given up then. What was made on the way is wiped where it was, without help.
#[test]
fn fingerprints_leave_no_copy_of_what_they_were_made_of() {
    if let Some(hold) = std::env::var_os(HOLDER) {
        return holder(hold == "values");
    }
    if !as_root() {
        return;
    }
    let values: Vec<u8> = (0..HELD).flat_map(|_| text(HELD_LEN)).collect();
    let named = || values.chunks(HELD_LEN).enumerate().map(|(i, value)| (format!("value-{i}"), value));
    let needles: Needles =
        named().flat_map(|(name, value)| windows(&name, value).into_iter().chain(encoded(&name, value))).collect();
    for (hold, found) in [("fingerprints", false), ("values", true)] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::fingerprints_leave_no_copy_of_what_they_were_made_of", "--nocapture"])
            .env(HOLDER, hold)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(&values).unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains("holding"))), "{hold}");
        let hits = scan(child.id(), &needles);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(!hits.is_empty(), found, "{hold}: {hits:?}");
    }
}

const HELD: usize = 40;
const HELD_LEN: usize = 1_000;

/// Reads values, makes fingerprints of them, and holds these, and the values where it is told to.
fn holder(values_too: bool) {
    let mut stdin = File::open("/dev/stdin").unwrap(); // std's keeps a buffer
    let mut values = zeroize::Zeroizing::new(vec![0; HELD * HELD_LEN]);
    stdin.read_exact(&mut values).unwrap();
    let mut redaction = Redaction::new([7; 32]);
    for (i, value) in values.chunks(HELD_LEN).enumerate() {
        redaction.add(&format!("V{i}"), "v1", value);
    }
    let redactor = redaction.redactor();
    let values = Some(values).filter(|_| values_too);
    std::io::stdout().write_all(b"holding\n").unwrap();
    let _ = stdin.read(&mut [0]);
    drop((redactor, values));
}

/// The search finds what is there: a process that holds the same values.
#[test]
fn the_scan_finds_what_is_there() {
    let value = text(4_096).into_iter().filter(|b| b.is_ascii_alphanumeric()).collect::<Vec<u8>>();
    let needles = windows("held", &value);
    let mut holder = std::process::Command::new("sleep")
        .arg("60")
        .env("HELD", std::str::from_utf8(&value).unwrap())
        .spawn()
        .unwrap();
    wait_for(|| fs::read(format!("/proc/{}/cmdline", holder.id())).is_ok_and(|c| c.starts_with(b"sleep")));
    let hits = scan(holder.id(), &needles);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(hits.len(), 3, "{hits:?}");
}

fn wait_for(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "waited 20 s in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}
