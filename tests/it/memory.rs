//! No copy of a value in the memory of agent or server: every readable mapping of the real processes is searched, as root's
//! debugger would, for windows of every value and for the join token.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use keyfob::{
    seal::RecipientKey,
    wire::v1::{self, Role, Visibility},
};

use crate::world::{AgentRun, World, enrol_session};

/// What is searched for, by what it is.
type Needles = Vec<(String, Vec<u8>)>;

/// Three windows of 16 bytes of each value: a part of one counts.
fn windows(name: &str, value: &[u8]) -> Needles {
    [0, value.len() / 2, value.len() - 16].map(|at| (format!("{name}@{at}"), value[at..at + 16].to_vec())).into()
}

/// How often each needle stands in the memory of a process. Mappings that can't be read (memfd_secret) hold what they hide.
fn scan(pid: u32, needles: &Needles) -> BTreeMap<String, usize> {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("tests of memory run as root");
    let mut hits = BTreeMap::new();
    for mapping in fs::read_to_string(format!("/proc/{pid}/maps")).expect("our own child").lines() {
        let mut fields = mapping.split_whitespace();
        let (range, rights) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let (start, end) = range
            .split_once('-')
            .map(|(a, b)| (u64::from_str_radix(a, 16).unwrap(), u64::from_str_radix(b, 16).unwrap()))
            .unwrap();
        let mut bytes = vec![0; (end - start) as usize];
        if !rights.starts_with('r') || memory.read_exact_at(&mut bytes, start).is_err() {
            continue;
        }
        for (name, needle) in needles {
            let found = find_all(&bytes, needle);
            if found > 0 {
                *hits.entry(format!("{name} in {}", mapping.rsplit(' ').next().unwrap_or_default())).or_default() +=
                    found;
            }
        }
    }
    hits
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
