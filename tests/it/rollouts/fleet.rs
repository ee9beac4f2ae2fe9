//! Real agents, in their own processes, under pushes: in bad weather, and where something is taken back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use keyfob::wire::v1::{self, PushOptions, Role, RolloutState, Visibility};

use super::{fstore::Store, link::Link};
use crate::world::{AGENT, AgentRun, World, run, wait_for};

/// The fleet of one test; KEYFOB_FLEET and KEYFOB_ROTATIONS make it larger.
fn size(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

struct Member {
    dir: PathBuf,
    join: PathBuf,
    printed: PathBuf,
    store: Store,
    child: Child,
}

impl Member {
    fn start(dir: &Path, join: &str) -> Self {
        fs::create_dir(dir).unwrap();
        let (files, file, printed) = (dir.join("run"), dir.join("join"), dir.join("printed"));
        fs::write(&file, join).unwrap();
        let store = Store::new(&dir.join("notify"));
        let child = Self::spawn(&store, &files, &file, &printed);
        Self { dir: files, join: file, printed, store, child }
    }

    fn spawn(store: &Store, files: &Path, join: &Path, printed: &Path) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(printed).unwrap();
        let mut command = Command::new(AGENT);
        command
            .args(["run", "--allow-swappable", "--deadline", "600", "--join-file"])
            .arg(join)
            .arg("--dir")
            .arg(files);
        store.start(&mut command, log)
    }

    fn kill_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(&self.store, &self.dir, &self.join, &self.printed);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number that is the secret's value, as the session reads it now.
fn reads(dir: &Path) -> Option<u64> {
    let environ = fs::read(dir.join("environ")).ok()?;
    let entry = environ.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(b"COUNTER="))?;
    std::str::from_utf8(entry).ok()?.parse().ok()
}

/// Looks at all sessions all the time: what they read never goes back.
struct Looker {
    newest: Arc<Mutex<Vec<u64>>>,
    back: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl Looker {
    fn at(dirs: Vec<PathBuf>) -> Self {
        let newest = Arc::new(Mutex::new(vec![0; dirs.len()]));
        let (back, over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (seen, wrong, ended) = (newest.clone(), back.clone(), over.clone());
        thread::spawn(move || {
            while !ended.load(Relaxed) {
                for (number, dir) in dirs.iter().enumerate() {
                    let Some(now) = reads(dir) else { continue };
                    let before = std::mem::replace(&mut seen.lock().unwrap()[number], now);
                    if now < before {
                        wrong.lock().unwrap().push(format!("{}: {before} and then {now}", dir.display()));
                    }
                }
                thread::sleep(Duration::from_millis(20)); // not all of a processor
            }
        });
        Self { newest, back, over }
    }

    /// How many have this or something newer.
    fn have(&self, value: u64) -> usize {
        self.newest.lock().unwrap().iter().filter(|now| **now >= value).count()
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

/// The same on every run: splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// KiB that a process holds for itself.
fn anonymous(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Rotations are pushed while links are cut, agents are killed in whatever they are doing, and the server is killed: all get to
/// the newest, none ever goes back, and no delivery is acknowledged twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_in_bad_weather_gets_to_the_newest() {
    let (agents, rotations) = (size("KEYFOB_FLEET", 24), size("KEYFOB_ROTATIONS", 40));
    let link = Link::new();
    let mut world = World::with_arguments(&["--address", &format!("127.0.0.1:{}", link.port)]).await;
    link.leads_to(&world.address);
    world.admin().create("counter", Visibility::Shared, b"0").await;
    let parent = tempfile::Builder::new().prefix("keyfob-test-").tempdir_in("/dev/shm").expect("/dev/shm is there");
    let mut fleet = Vec::new();
    for number in 0..agents {
        let join = world.session("", "default").await.join;
        fleet.push(Member::start(&parent.path().join(number.to_string()), &join));
    }
    wait_for_all("they boot", agents, || fleet.iter().filter(|m| reads(&m.dir).is_some()).count());
    let looker = Looker::at(fleet.iter().map(|m| m.dir.clone()).collect());

    let started = anonymous(world.server_pid());
    let mut most = started;
    let mut random = Random(5);
    let mut rollouts = Vec::new();
    let (mut cuts, mut kills) = (0, 0);
    for value in 1..=rotations as u64 {
        let text = value.to_string();
        let rotate = async || {
            let push = Some(PushOptions::default());
            world.admin().rotate("counter", Visibility::Shared, text.as_bytes(), push).await
        };
        rollouts.push(rotate().await);
        match random.below(8) {
            0 => {
                link.cut(1 + random.below(3));
                cuts += 1;
            }
            1 | 2 => {
                for _ in 0..1 + random.below(3) {
                    let member = random.below(fleet.len());
                    fleet[member].kill_and_start_again();
                    kills += 1;
                }
            }
            // Some have it, others are still at it.
            3 | 4 => {
                let half = Instant::now() + Duration::from_secs(3);
                while looker.have(value) < agents / 2 && Instant::now() < half {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            _ => {}
        }
        most = most.max(anonymous(world.server_pid()));
        if value as usize == rotations / 2 {
            link.cut(1);
            world.restart().await;
        }
    }
    let newest = rotations as u64;
    wait_for_all("all have the newest", agents, || looker.have(newest));
    assert_eq!(*looker.back.lock().unwrap(), [""; 0], "none goes back");

    for rollout in &rollouts {
        let ended = world.admin().over(rollout).await;
        assert!(ended.iter().all(|(state, _)| *state == RolloutState::Installed), "{rollout}: {ended:?}");
    }
    assert_eq!(world.admin().over(&rollouts[rollouts.len() - 1]).await, [(RolloutState::Installed, agents as u32)]);

    let (deliveries, answered) = (audited(&world, "bundle.deliver").await, audited(&world, "bundle.acknowledge").await);
    let of: BTreeSet<_> = answered.iter().map(|e| (&e.target, &e.detail["delivery"])).collect();
    assert_eq!(of.len(), answered.len(), "no delivery is acknowledged twice");
    let mut last: BTreeMap<&String, u64> = BTreeMap::new();
    for entry in &answered {
        let delivery = entry.detail["delivery"].parse().unwrap();
        let before = last.insert(&entry.target, delivery).unwrap_or(0);
        assert!(before < delivery, "{}: {before}, {delivery}", entry.target);
    }
    let (end, kib) = (anonymous(world.server_pid()), |n: u64| n / 1024);
    let _ = writeln!(
        std::io::stderr(),
        "{agents} agents, {rotations} pushes, {cuts} cuts, {kills} kills, 1 server killed: {} deliveries, {} acknowledged, {} \
         connections; server {} MiB at first, {} at most, {} at the end",
        deliveries.len(),
        answered.len(),
        link.carried(),
        kib(started),
        kib(most),
        kib(end)
    );
    assert!(
        most < started + 64 * 1024 && end < started + 64 * 1024,
        "the server's memory: {started}, {most}, {end} KiB"
    );
}

async fn audited(world: &World, action: &str) -> Vec<v1::AuditEntry> {
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            v1::ListAuditEntriesRequest { action: action.into(), page_size: 1_000, page_token, ..Default::default() };
        let page = world.admin().audit().list_audit_entries(request).await.expect("the admin reads").into_inner();
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return entries;
        }
    }
}

/// With patience for a machine that has much else to do.
fn wait_for_all(what: &str, all: usize, count: impl Fn() -> usize) {
    let end = Instant::now() + Duration::from_secs(240);
    while count() < all {
        assert!(Instant::now() < end, "waited in vain: {what}: {} of {all}", count());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Pushes that come at once are few fetches: of ten, at the least half are saved.
#[tokio::test]
async fn pushes_that_come_together_are_fetched_together() {
    let world = World::new().await;
    let root = world.admin();
    root.create("counter", Visibility::Shared, b"0").await;
    let made = world.session("", "default").await;
    let agent = AgentRun::start(&made.join, &[]);
    wait_for("it boots", || reads(&agent.dir) == Some(0));
    let mut rollouts = Vec::new();
    for value in 1..=10 {
        let text = value.to_string();
        rollouts.push(root.rotate("counter", Visibility::Shared, text.as_bytes(), Some(PushOptions::default())).await);
    }
    wait_for("it has the last", || reads(&agent.dir) == Some(10));
    for rollout in &rollouts {
        assert_eq!(root.over(rollout).await, [(RolloutState::Installed, 1)]);
    }
    let fetches = audited(&world, "bundle.deliver").await.len() - 1;
    let _ = writeln!(std::io::stderr(), "ten pushes: {fetches} fetches");
    assert!(fetches <= 5, "{fetches} fetches");
}

/// What is revoked leaves the files at once and stays redacted; a session that is revoked keeps nothing.
#[tokio::test]
async fn what_is_revoked_is_taken_out_of_the_files_and_stays_redacted() {
    const KEY: &[u8] = b"sk-live-9f3a7c21d8e4b605";
    const CERTIFICATE: &[u8] = b"-----BEGIN KEY-----\n\xff\x00 not text 71c09d\n";
    let world = World::new().await;
    let cli = world.cli("alice", Role::Member).await;
    for (arguments, value) in [
        (&["secret", "create", "api-key", "--private"][..], KEY),
        (&["secret", "create", "tls-key", "--private", "--file"], CERTIFICATE),
    ] {
        cli.run_with(arguments, value).ok();
    }
    let made = world.session("alice", "default").await;
    let id = made.session.expect("a session").id;
    let agent = AgentRun::start(&made.join, &[]);
    wait_for("it boots", || agent.dir.join("manifest.json").exists());
    let redacted = || {
        let mut redact = Command::new(AGENT);
        redact.arg("redact").arg("--dir").arg(&agent.dir);
        run(&mut redact, &[b"key ", KEY, b" end\n"].concat()).ok()
    };
    assert_eq!(redacted(), "key [keyfob:API_KEY] end\n");

    let deleted = cli.run(&["secret", "delete", "api-key", "--revoke", "--wait", "--yes"]).ok();
    assert!(deleted.contains(&id) && deleted.contains("1 installed"), "{deleted}");
    assert_eq!(agent.environ().keys().collect::<Vec<_>>(), ["TLS_KEY"]);
    assert_eq!(redacted(), "key [keyfob:API_KEY] end\n");
    assert!(agent.dir.join("files/tls-key").exists());

    let revoked = cli.run(&["session", "revoke", &id, "--yes"]).ok();
    assert!(revoked.contains(&id), "{revoked}");
    wait_for("the files are wiped", || agent.dir.join("problem").exists());
    let mut left: Vec<_> =
        fs::read_dir(&agent.dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["fingerprints", "problem"]);
    let problem = fs::read_to_string(agent.dir.join("problem")).unwrap();
    assert!(problem.contains("took this session's secrets back"), "{problem}");
    assert_eq!(redacted(), "key [keyfob:API_KEY] end\n");
}

/// Whoever was cut off while the session was revoked finds out on coming back; until then the control plane is only down.
#[tokio::test]
async fn a_session_that_was_away_when_it_was_revoked_keeps_nothing() {
    let link = Link::new();
    let world = World::with_arguments(&["--address", &format!("127.0.0.1:{}", link.port)]).await;
    link.leads_to(&world.address);
    world.admin().create("counter", Visibility::Shared, b"1").await;
    let made = world.session("", "default").await;
    let id = made.session.expect("a session").id;
    let agent = AgentRun::start(&made.join, &[]);
    wait_for("it boots", || reads(&agent.dir) == Some(1));
    link.leads_to("127.0.0.1:1"); // nobody listens there
    link.cut(1);
    wait_for("it is cut off", || agent.printed().contains("not connected to the control plane"));
    world.admin().sessions().revoke_session(v1::RevokeSessionRequest { id }).await.expect("it is revoked");
    assert_eq!(reads(&agent.dir), Some(1), "nobody told it");
    link.leads_to(&world.address);
    wait_for_all("it is told", 1, || usize::from(agent.dir.join("problem").exists()));
    assert!(!agent.dir.join("environ").exists() && !agent.dir.join("manifest.json").exists());
}

/// A push that a session can't install is told, and leaves what is there as it is; the next one may go through.
#[tokio::test]
async fn what_cannot_be_installed_is_told_and_what_is_there_stays() {
    let world = World::new().await;
    let root = world.admin();
    root.create("counter", Visibility::Shared, b"1").await;
    let made = world.session("", "default").await;
    let agent = AgentRun::start(&made.join, &[]);
    wait_for("it boots", || reads(&agent.dir) == Some(1));
    let whole = fs::read_to_string(agent.dir.join("manifest.json")).unwrap();
    fs::write(agent.dir.join("manifest.json"), "{").unwrap();
    let failed = root.rotate("counter", Visibility::Shared, b"2", Some(PushOptions::default())).await;
    assert_eq!(root.over(&failed).await, [(RolloutState::Failed, 1)]);
    let reason = root.targets(&failed).await.remove(0);
    assert!(reason.reason.contains("manifest.json") && !reason.reason_hidden, "{reason:?}");
    assert_eq!(reads(&agent.dir), Some(1));
    fs::write(agent.dir.join("manifest.json"), whole).unwrap();
    let rollout = root.rotate("counter", Visibility::Shared, b"3", Some(PushOptions::default())).await;
    assert_eq!(root.over(&rollout).await, [(RolloutState::Installed, 1)]);
    assert_eq!(reads(&agent.dir), Some(3));
    assert_eq!(root.over(&failed).await, [(RolloutState::Installed, 1)], "late");
}

/// The CLI's own words, and its lines for scripts.
#[tokio::test]
async fn pushed_by_hand() {
    let world = World::new().await;
    let (alice, root) = (world.cli("alice", Role::Member).await, world.cli("boss", Role::Admin).await);
    alice.run_with(&["secret", "create", "counter", "--private"], b"1").ok();
    let made = world.session("alice", "default").await;
    let id = made.session.expect("a session").id;
    let agent = AgentRun::start(&made.join, &[]);
    wait_for("it boots", || reads(&agent.dir) == Some(1));

    for (what, arguments, code, said) in [
        ("nothing to push", &["push", "--secret", "counter"][..], 0, "no running session's secrets would change"),
        ("not hers to push", &["push", "--all"], 1, "only admins push to every session"),
        ("of what is not there", &["push", "--secret", "nothing"], 1, "no such secret"),
        ("without saying what", &["push"], 2, "--secret <NAME>"),
        ("two at once", &["push", "--all", "--session", &id], 2, "cannot be used with"),
        ("to wait for nothing", &["secret", "edit", "counter", "--description", "x", "--wait"], 2, "--push"),
        ("an unknown rollout", &["rollout", "show", "aaaaaaaaaaaaaaaaaaaaaaaaaa"], 1, "keyfob rollout list"),
    ] {
        let ran = alice.run(arguments);
        let printed = ran.stdout() + &ran.stderr();
        assert!(ran.code() == code && printed.contains(said), "{what}: {} {printed}", ran.code());
    }

    let rotated = alice.run_with(&["secret", "rotate", "counter", "--push", "--wait"], b"2");
    assert!(rotated.ok().contains("1 installed"), "{}", rotated.stdout());
    assert_eq!(reads(&agent.dir), Some(2));
    alice.run_with(&["secret", "rotate", "counter"], b"3").ok();
    assert_eq!(reads(&agent.dir), Some(2), "nothing is pushed unasked");
    let lines = alice.run(&["push", "--session", &id, "--wait", "-o", "json"]).ok();
    let lines: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let states: Vec<_> = lines.iter().filter_map(|l| Some((l["session"].as_str()?, l["state"].as_str()?))).collect();
    assert_eq!(states.last(), Some(&(id.as_str(), "installed")), "{lines:?}");
    let rollout = lines.last().expect("lines")["rollout"].clone();
    assert_eq!(rollout["sessions"], serde_json::json!({"installed": 1}));
    assert_eq!(reads(&agent.dir), Some(3));

    let listed = alice.run(&["rollout", "list", "-o", "json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed}");
    let shown = alice.run(&["rollout", "show", rollout["id"].as_str().expect("an id")]).ok();
    assert!(shown.contains(&id) && shown.contains("installed"), "{shown}");
    let others = root.run(&["rollout", "list"]).ok();
    assert!(
        others.contains("a secret") && !others.contains("counter"),
        "a private secret's name is its owner's: {others}"
    );
    let deliveries = alice.run(&["secret", "deliveries", "counter"]).ok();
    assert!(deliveries.contains("may hold it in memory"), "{deliveries}");
    let receipts = alice.run(&["secret", "show", "counter", "-o", "json"]).json()["receipts"].clone();
    assert_eq!(receipts, serde_json::json!({"on_current": 1, "may_hold_older": 1, "safe_to_revoke": false}));
}
