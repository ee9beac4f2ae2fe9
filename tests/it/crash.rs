//! kill -9 at random points under mixed writes. Several clients note what was acknowledged; after each kill the server is
//! started anew, and all of it must be there, what was under way must be there whole or not at all, and the tables must agree
//! with each other and with the audit chain.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use keyfob::{
    client,
    domain::join::{Audience, Join},
    wire::v1::{self, Role, SessionState, Visibility},
};
use rcgen::KeyPair;
use rusqlite::Connection;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tonic::{Code, Status};

use crate::world::{Api, ORG, World, enrol_session, plain};

const KILLS: usize = 100;
/// The server is killed when this many writes at the most have been acknowledged since its start.
const ACKNOWLEDGED: u64 = 40;

/// Which moments are tried; the same seed tries the same.
struct Random(u64);

impl Random {
    /// Below `n`. SplitMix64.
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }
}

/// From one start of the server to its end.
struct Life {
    acknowledged: AtomicUsize,
    enough: usize,
    reached: Notify,
    killed: AtomicBool,
}

/// The server is gone, and the call with it: nobody knows what became of it.
struct Cut;

impl Life {
    /// The answer, counted; or that there is none because of the kill. Any other answer is a failure.
    fn answer<T>(&self, result: Result<T, Status>) -> Result<T, Cut> {
        let result = result.map_err(client::Error::Status);
        self.answered(result).map(|told| told.unwrap_or_else(|status| panic!("refused: {status}")))
    }

    /// As above, where a refusal is an answer too.
    fn answered<T>(&self, result: Result<T, client::Error>) -> Result<Result<T, Status>, Cut> {
        let told = match result {
            Ok(told) => Ok(told),
            Err(client::Error::Status(s))
                if !matches!(s.code(), Code::Unknown | Code::Unavailable | Code::Cancelled | Code::Internal) =>
            {
                Err(s)
            }
            Err(cut) => {
                assert!(self.killed.load(Ordering::SeqCst), "the server stopped by itself: {cut}");
                return Err(Cut);
            }
        };
        if self.acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == self.enough {
            self.reached.notify_one();
        }
        Ok(told)
    }
}

/// Keeps a handful of secrets of one person, always changing one of them.
struct Keeper {
    api: Api,
    random: Random,
    owner: &'static str,
    visibility: Visibility,
    secrets: BTreeMap<String, Option<Secret>>,
    /// What was asked and not answered.
    under_way: Option<(String, Change)>,
    values: u64,
    /// A session that gets them.
    session: Api,
    session_id: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Secret {
    version: String,
    value: Vec<u8>,
    auto_install: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Create(Vec<u8>),
    Rotate(Vec<u8>),
    Install(bool),
    Delete,
}

impl Keeper {
    async fn new(world: &World, owner: &'static str, visibility: Visibility, random: Random) -> Self {
        let api = world.person(owner, Role::Member).await;
        let made = world.session(owner, "default").await;
        let session = enrol_session(&made.join).await;
        let secrets = (0..6).map(|n| (format!("{owner}-{n}"), None)).collect();
        let session_id = made.session.expect("a session").id;
        Self { api, random, owner, visibility, secrets, under_way: None, values: 0, session, session_id }
    }

    async fn work(&mut self, life: &Life) -> Result<Infallible, Cut> {
        loop {
            let name = format!("{}-{}", self.owner, self.random.below(self.secrets.len() as u64));
            let before = self.secrets[&name].clone();
            self.values += 1;
            let value = format!("value {} of {name}", self.values).into_bytes();
            let change = match (&before, self.random.below(6)) {
                (None, _) => Change::Create(value),
                (Some(_), 0) => Change::Delete,
                (Some(s), 1 | 2) => Change::Install(!s.auto_install),
                (Some(_), _) => Change::Rotate(value),
            };
            self.under_way = Some((name.clone(), change.clone()));
            let version = life.answer(self.ask(&name, &change, before.as_ref()).await)?;
            self.under_way = None;
            self.secrets.insert(name, after(before, &change, version));
        }
    }

    async fn ask(&self, name: &str, change: &Change, before: Option<&Secret>) -> Result<String, Status> {
        let mut secrets = self.api.secrets();
        let visibility = self.visibility.into();
        let reference = Some(v1::SecretRef { name: name.into(), visibility, ..Default::default() });
        let version = |secret: Option<v1::Secret>| secret.expect("a secret").version;
        let expected_version = before.map(|s| s.version.clone()).unwrap_or_default();
        Ok(match change {
            Change::Create(value) => {
                let request = v1::CreateSecretRequest {
                    name: name.into(),
                    visibility,
                    value: Some(plain(value)),
                    ..Default::default()
                };
                version(secrets.create_secret(request).await?.into_inner().secret)
            }
            Change::Rotate(value) => {
                let request = v1::RotateSecretRequest {
                    r#ref: reference,
                    value: Some(plain(value)),
                    expected_version,
                    push: None,
                };
                version(secrets.rotate_secret(request).await?.into_inner().secret)
            }
            Change::Install(on) => {
                let request =
                    v1::UpdateSecretRequest { r#ref: reference, auto_install: Some(*on), ..Default::default() };
                version(secrets.update_secret(request).await?.into_inner().secret)
            }
            Change::Delete => {
                secrets
                    .delete_secret(v1::DeleteSecretRequest { r#ref: reference, expected_version, push: None })
                    .await?;
                String::new()
            }
        })
    }

    /// What is there must be what was acknowledged, or that with the one change that was under way.
    async fn settle(&mut self, address: &str) -> Result<(), String> {
        self.api.reconnect(address).await;
        self.session.reconnect(address).await;
        let request =
            v1::ListSecretsRequest { visibility: self.visibility.into(), page_size: 1_000, ..Default::default() };
        let listed = self
            .api
            .secrets()
            .list_secrets(request)
            .await
            .map_err(|e| format!("{}: list: {e}", self.owner))?
            .into_inner()
            .secrets;
        let listed: BTreeMap<String, v1::Secret> = listed.into_iter().map(|s| (s.name.clone(), s)).collect();
        let bundle =
            self.session.fetch(ORG, &self.session_id).await.map_err(|e| format!("{}: fetch: {e}", self.owner))?;
        let mut delivered: BTreeMap<_, _> = bundle.contents.entries.into_iter().map(|e| (e.name.clone(), e)).collect();
        let under_way = self.under_way.take();
        for (name, known) in &mut self.secrets {
            let there = listed.get(name);
            let entry = delivered.remove(name);
            let change = under_way.as_ref().filter(|(n, _)| n == name).map(|(_, change)| change);
            let version = there.map(|s| s.version.clone()).unwrap_or_default();
            let possible = [Some(known.clone()), change.map(|change| after(known.clone(), change, version))];
            let found = possible.into_iter().flatten().find(|state| match (state, there, &entry) {
                (None, None, None) => true,
                (Some(s), Some(row), entry) => {
                    let installed = entry.as_ref().map(|e| (e.version.as_str(), &e.value[..]));
                    row.version == s.version
                        && row.auto_install == s.auto_install
                        && installed == s.auto_install.then_some((&s.version, &s.value))
                }
                _ => false,
            });
            *known = found.ok_or_else(|| {
                let told = there.map(|row| (&row.version, row.auto_install));
                format!("`{name}` was acknowledged as {known:?}, under way was {change:?}; there is {told:?}, delivered {entry:?}")
            })?;
        }
        Ok(())
    }
}

/// A change's outcome; `version` is the one that the server gave.
fn after(before: Option<Secret>, change: &Change, version: String) -> Option<Secret> {
    match (change, before) {
        (Change::Create(value), _) => Some(Secret { version, value: value.clone(), auto_install: true }),
        (Change::Rotate(value), Some(before)) => Some(Secret { version, value: value.clone(), ..before }),
        (Change::Install(on), Some(before)) => Some(Secret { auto_install: *on, ..before }),
        _ => None,
    }
}

/// Counts in a variable of an environment, and invites a user for each number.
struct Root {
    api: Api,
    /// Version and number.
    environment: (u64, u64),
    invited: BTreeSet<String>,
}

impl Root {
    async fn work(&mut self, life: &Life) -> Result<Infallible, Cut> {
        loop {
            let number = self.environment.1 + 1;
            let set = vec![v1::EnvironmentVariable { variable: "COUNT".into(), value: number.to_string() }];
            let request = v1::UpdateEnvironmentRequest {
                name: "default".into(),
                set,
                expected_version: self.environment.0,
                ..Default::default()
            };
            let told = life.answer(self.api.environments().update_environment(request).await)?.into_inner();
            self.environment = (told.environment.expect("an environment").version, number);
            let name = format!("user-{}", self.invited.len());
            let request = v1::InviteUserRequest { name: name.clone(), role: Role::Member.into(), ..Default::default() };
            life.answer(self.api.users().invite_user(request).await)?;
            self.invited.insert(name);
        }
    }

    async fn settle(&mut self, address: &str) -> Result<(), String> {
        self.api.reconnect(address).await;
        let request = v1::GetEnvironmentRequest { name: "default".into(), version: 0 };
        let there = self
            .api
            .environments()
            .get_environment(request)
            .await
            .map_err(|e| format!("environment: {e}"))?
            .into_inner();
        let there = there.environment.expect("an environment");
        let number = there.variables.first().map_or(0, |v| v.value.parse().expect("a number"));
        let (version, known) = self.environment;
        if ![(version, known), (version + 1, known + 1)].contains(&(there.version, number)) {
            return Err(format!(
                "the environment was acknowledged as {:?}; there is {:?}",
                self.environment,
                (there.version, number)
            ));
        }
        self.environment = (there.version, number);
        let users = self
            .api
            .users()
            .list_users(v1::ListUsersRequest {})
            .await
            .map_err(|e| format!("users: {e}"))?
            .into_inner()
            .users;
        let users: BTreeSet<String> = users.into_iter().map(|u| u.name).filter(|n| n.starts_with("user-")).collect();
        if !self.invited.is_subset(&users) || users.len() > self.invited.len() + 1 {
            return Err(format!("users were acknowledged as {:?}; there are {users:?}", self.invited));
        }
        self.invited = users;
        Ok(())
    }
}

/// Boots sessions: makes one, redeems its token with two keys at once, fetches, and ends some.
struct Booter {
    api: Api,
    random: Random,
    address: String,
    boots: Vec<Boot>,
}

struct Boot {
    id: String,
    join: String,
    keys: [KeyPair; 2],
    /// Whether each key was let in, where that was answered.
    won: [Option<bool>; 2],
    /// The sequences of what was delivered.
    delivered: Vec<u64>,
    /// None: it was asked, and not answered.
    ended: Option<bool>,
    settled: bool,
}

impl Boot {
    async fn redeem(&self, key: usize) -> Result<client::Credentials, client::Error> {
        let join = Join::parse(&self.join, Audience::Session).expect("a join string");
        client::enrol(&join, &self.keys[key], OffsetDateTime::now_utc()).await
    }
}

impl Booter {
    async fn work(&mut self, life: &Life) -> Result<Infallible, Cut> {
        loop {
            let request = v1::CreateSessionRequest { user: "alice".into(), ..Default::default() };
            let made = life.answer(self.api.sessions().create_session(request).await)?.into_inner();
            let keys = [client::new_key().unwrap(), client::new_key().unwrap()];
            let id = made.session.expect("a session").id;
            self.boots.push(Boot {
                id,
                join: made.join,
                keys,
                won: [None; 2],
                delivered: Vec::new(),
                ended: Some(false),
                settled: false,
            });
            let boot = self.boots.last_mut().expect("just pushed");

            let (one, two) = tokio::join!(boot.redeem(0), boot.redeem(1));
            let told = [life.answered(one), life.answered(two)];
            let mut winner = None;
            let mut cut = false;
            for (key, told) in told.into_iter().enumerate() {
                match told {
                    Err(Cut) => cut = true,
                    Ok(Err(status)) => {
                        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
                        boot.won[key] = Some(false);
                    }
                    Ok(Ok(credentials)) => {
                        boot.won[key] = Some(true);
                        winner = Some(credentials);
                    }
                }
            }
            if cut {
                return Err(Cut);
            }
            let credentials = winner.unwrap_or_else(|| panic!("no key was let in"));
            let channel =
                life.answered(client::connect_as(&self.address, &credentials).await)?.expect("no call was made");
            let session = Api { channel, credentials };
            boot.delivered.push(life.answer(session.fetch(ORG, &boot.id).await)?.sequence);
            if self.random.below(2) == 0 {
                boot.ended = None;
                life.answer(self.api.sessions().end_session(v1::EndSessionRequest { id: boot.id.clone() }).await)?;
                boot.ended = Some(true);
            }
        }
    }

    async fn settle(&mut self, address: &str) -> Result<(), String> {
        self.api.reconnect(address).await;
        for boot in self.boots.iter_mut().filter(|b| !b.settled) {
            let request = v1::GetSessionRequest { id: boot.id.clone() };
            let there = self
                .api
                .sessions()
                .get_session(request)
                .await
                .map_err(|e| format!("session {}: {e}", boot.id))?
                .into_inner();
            let there = there.session.expect("a session");
            let ended = there.state() == SessionState::Ended;
            if boot.ended.is_some_and(|known| known != ended) {
                return Err(format!(
                    "session {} was acknowledged as ended: {:?}; it is {:?}",
                    boot.id,
                    boot.ended,
                    there.state()
                ));
            }
            boot.ended = Some(ended);
            if boot.won.contains(&Some(true)) && there.enrolled_at.is_none() {
                return Err(format!("session {} was let in, and is not on record as enrolled", boot.id));
            }
            // The token again, with both keys: whoever was let in may repeat, the other never; nobody once it has ended.
            let mut again = [false; 2];
            for (key, again) in again.iter_mut().enumerate() {
                *again = match boot.redeem(key).await {
                    Ok(_) => true,
                    Err(client::Error::Status(s)) if s.code() == Code::Unauthenticated => false,
                    Err(e) => return Err(format!("session {}: enrol: {e}", boot.id)),
                };
            }
            let fits = if ended {
                again == [false; 2]
            } else {
                again[0] != again[1] && boot.won.iter().zip(again).all(|(known, now)| known.is_none_or(|k| k == now))
            };
            if !fits {
                return Err(format!(
                    "session {}: the keys were let in {:?}, and after the restart {again:?}",
                    boot.id, boot.won
                ));
            }
            boot.settled = true;
        }
        Ok(())
    }
}

enum Client {
    Keeper(Box<Keeper>),
    Root(Box<Root>),
    Booter(Box<Booter>),
}

impl Client {
    async fn all(world: &World, random: &mut Random) -> Vec<Self> {
        let keeper = |owner, visibility, random| async move {
            Self::Keeper(Box::new(Keeper::new(world, owner, visibility, random).await))
        };
        let booter = |name, random| async move {
            let (api, address) = (world.person(name, Role::Orchestrator).await, world.address.clone());
            Self::Booter(Box::new(Booter { api, random, address, boots: Vec::new() }))
        };
        let api = world.person("boss", Role::Admin).await;
        vec![
            keeper("alice", Visibility::Private, random.fork()).await,
            keeper("bob", Visibility::Private, random.fork()).await,
            keeper("carol", Visibility::Shared, random.fork()).await,
            booter("ci", random.fork()).await,
            booter("ci2", random.fork()).await,
            Self::Root(Box::new(Root { api, environment: (1, 0), invited: BTreeSet::new() })),
        ]
    }

    async fn work(&mut self, life: &Life) {
        let Err(Cut) = match self {
            Self::Keeper(keeper) => keeper.work(life).await,
            Self::Root(root) => root.work(life).await,
            Self::Booter(booter) => booter.work(life).await,
        };
    }

    async fn settle(&mut self, address: &str) -> Result<(), String> {
        match self {
            Self::Keeper(keeper) => keeper.settle(address).await,
            Self::Root(root) => root.settle(address).await,
            Self::Booter(booter) => booter.settle(address).await,
        }
    }
}

/// Each finds rows that contradict others; there must be none.
#[rustfmt::skip]
const CONTRADICTIONS: [(&str, &str); 19] = [
    ("gap in the chain",               "SELECT 1 FROM audit GROUP BY org HAVING MIN(sequence) <> 1 OR MAX(sequence) <> COUNT(*)"),
    ("head that is not the end",       "SELECT 1 FROM audit_heads h WHERE sequence <> (SELECT MAX(sequence) FROM audit a WHERE a.org = h.org)"),
    ("delivery without entry",         "SELECT 1 FROM deliveries d WHERE NOT EXISTS (SELECT 1 FROM audit a WHERE a.org = d.org AND a.sequence = d.sequence AND a.action = 'bundle.deliver' AND a.outcome = 'done' AND a.target = 'session/' || d.session_id)"),
    ("entry without delivery",         "SELECT 1 FROM audit a WHERE action = 'bundle.deliver' AND outcome = 'done' AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.org = a.org AND d.sequence = a.sequence)"),
    ("delivery of unknown content",    "SELECT 1 FROM deliveries d WHERE NOT EXISTS (SELECT 1 FROM contents c WHERE c.org = d.org AND c.id = d.content_id)"),
    ("version without entry",          "SELECT 1 FROM secret_versions v WHERE NOT EXISTS (SELECT 1 FROM audit a WHERE a.org = v.org AND a.sequence = v.sequence AND a.action IN ('secret.create', 'secret.rotate') AND a.outcome = 'done' AND a.target = 'secret/' || v.secret_id)"),
    ("entry without version",          "SELECT 1 FROM audit a WHERE action IN ('secret.create', 'secret.rotate') AND outcome = 'done' AND NOT EXISTS (SELECT 1 FROM secret_versions v WHERE v.org = a.org AND v.sequence = a.sequence)"),
    ("row that is not the newest",     "SELECT 1 FROM secrets s WHERE sequence <> (SELECT MAX(sequence) FROM audit a WHERE a.org = s.org AND a.target = 'secret/' || s.id AND a.outcome = 'done')"),
    ("row without its version",        "SELECT 1 FROM secrets s WHERE NOT EXISTS (SELECT 1 FROM secret_versions v WHERE v.org = s.org AND v.secret_id = s.id AND v.version = s.version AND v.replaced_at IS NULL)"),
    ("current version without row",    "SELECT 1 FROM secret_versions v WHERE replaced_at IS NULL AND NOT EXISTS (SELECT 1 FROM secrets s WHERE s.org = v.org AND s.id = v.secret_id AND s.version = v.version)"),
    ("gone without entry",             "SELECT 1 FROM secret_versions v WHERE NOT EXISTS (SELECT 1 FROM secrets s WHERE s.org = v.org AND s.id = v.secret_id) AND NOT EXISTS (SELECT 1 FROM audit a WHERE a.org = v.org AND a.target = 'secret/' || v.secret_id AND a.action = 'secret.delete' AND a.outcome = 'done')"),
    ("usage that is not the sum",      "SELECT 1 FROM usage u WHERE bytes <> (SELECT COALESCE(SUM(size), 0) FROM secrets s WHERE s.org = u.org AND s.owner = u.owner AND s.auto_install = 1)"),
    ("sessions not as on record",      "SELECT 1 WHERE (SELECT COUNT(*) FROM sessions) <> (SELECT COUNT(DISTINCT target) FROM audit WHERE action = 'session.create' AND outcome = 'done')"),
    ("end of a session not on record", "SELECT 1 FROM sessions s WHERE (ended_at IS NOT NULL) <> EXISTS (SELECT 1 FROM audit a WHERE a.org = s.org AND a.target = 'session/' || s.id AND a.action = 'session.end' AND a.outcome = 'done')"),
    ("enrolment not on record",        "SELECT 1 FROM sessions s WHERE (enrolled_at IS NOT NULL) <> (SELECT COUNT(*) FROM audit a WHERE a.org = s.org AND a.target = 'session/' || s.id AND a.action = 'identity.enrol')"),
    ("enrolled, and not by one key",   "SELECT 1 FROM sessions s WHERE (enrolled_at IS NOT NULL) <> (SELECT COUNT(*) FROM credentials c WHERE c.org = s.org AND c.subject_kind = 'session' AND c.subject_name = s.id)"),
    ("redeemed, and not by that key",  "SELECT 1 FROM join_tokens t WHERE redeemed_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM credentials c WHERE c.key_hash = t.redeemed_key AND c.org = t.org AND c.subject_kind = t.subject_kind AND c.subject_name = t.subject_name)"),
    ("user not on record",             "SELECT 1 FROM users u WHERE NOT EXISTS (SELECT 1 FROM audit a WHERE a.org = u.org AND a.target = 'user/' || u.name AND a.action = 'user.invite' AND a.outcome = 'done')"),
    ("environment not as on record",   "SELECT 1 FROM environments e WHERE version <> (SELECT COUNT(*) FROM environment_versions v WHERE v.org = e.org AND v.name = e.name) OR version <> (SELECT COUNT(*) FROM audit a WHERE a.org = e.org AND a.target = 'environment/' || e.name AND a.outcome = 'done')"),
];

fn open(world: &World) -> Connection {
    let database = Connection::open(world.database()).expect("the server's own file");
    database.busy_timeout(Duration::from_secs(5)).expect("a timeout");
    database
}

/// The tables by themselves: what SQLite thinks of the file, and what contradicts itself.
fn contradictions(database: &Connection) -> Vec<&'static str> {
    let found =
        |sql: &str| database.prepare(sql).and_then(|mut s| s.exists([])).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let whole: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict");
    let damaged = (whole != "ok").then_some("damaged file");
    damaged.into_iter().chain(CONTRADICTIONS.iter().filter(|(_, sql)| found(sql)).map(|(what, _)| *what)).collect()
}

/// Everything that must hold after a restart.
async fn check(world: &World, clients: &mut [Client]) -> Result<(), String> {
    for client in clients.iter_mut() {
        client.settle(&world.address).await?;
    }
    let verified =
        world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.map_err(|e| e.to_string())?.into_inner();
    if !verified.intact {
        return Err(verified.problem);
    }
    let database = open(world);
    let found = contradictions(&database);
    if !found.is_empty() {
        return Err(found.join(", "));
    }
    // Deliveries that were answered are on record under the sequence of the answer.
    for client in clients {
        let Client::Booter(booter) = client else { continue };
        for (boot, sequence) in booter.boots.iter().flat_map(|b| b.delivered.iter().map(move |s| (b, *s))) {
            let sql = "SELECT session_id FROM deliveries WHERE org = ?1 AND sequence = ?2";
            let there: Result<String, _> = database.query_row(sql, (ORG, sequence as i64), |row| row.get(0));
            if there.as_ref() != Ok(&boot.id) {
                return Err(format!("delivery {sequence} to {} was answered; there is {there:?}", boot.id));
            }
        }
    }
    Ok(())
}

/// Lets the clients work until the server is killed, at a random moment.
async fn live_and_die(world: &mut World, clients: Vec<Client>, random: &mut Random) -> (Vec<Client>, usize) {
    let enough = 1 + random.below(ACKNOWLEDGED) as usize;
    // Half of the kills come with an answer, when its commit must be durable already; the others anywhere.
    let later = if random.below(2) == 0 { 0 } else { random.below(5_000) };
    let life = Arc::new(Life {
        acknowledged: AtomicUsize::new(0),
        enough,
        reached: Notify::new(),
        killed: AtomicBool::new(false),
    });
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let life = life.clone();
            tokio::spawn(async move {
                client.work(&life).await;
                client
            })
        })
        .collect();
    let reached = tokio::time::timeout(Duration::from_secs(60), life.reached.notified()).await;
    if reached.is_ok() {
        std::thread::sleep(Duration::from_micros(later)); // the moment of the kill, not a wait for anything
    }
    life.killed.store(true, Ordering::SeqCst);
    world.kill_server();
    let mut clients = Vec::new();
    for task in tasks {
        clients.push(task.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())));
    }
    reached.expect("the clients get their answers");
    (clients, life.acknowledged.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the runner shows it where the test fails")]
async fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    let seed = std::env::var("KEYFOB_TEST_SEED").map_or_else(
        |_| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        },
        |seed| seed.parse().expect("KEYFOB_TEST_SEED is a number"),
    );
    println!("KEYFOB_TEST_SEED={seed}");
    let mut random = Random(seed);
    let mut world = World::new().await;
    let mut clients = Client::all(&world, &mut random).await;
    let mut acknowledged = 0;
    for kill in 1..=KILLS {
        let answers;
        (clients, answers) = live_and_die(&mut world, clients, &mut random).await;
        acknowledged += answers;
        world.restart().await;
        check(&world, &mut clients).await.unwrap_or_else(|e| panic!("KEYFOB_TEST_SEED={seed}, after kill {kill}: {e}"));
    }
    println!("{KILLS} kills, {acknowledged} answers");
    assert!(acknowledged >= KILLS, "every life answered");
}

/// The checks see what they are for: each row is something that a lost or half-made write would leave behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checks_notice() {
    let mut random = Random(1);
    let mut world = World::new().await;
    let mut clients = Client::all(&world, &mut random).await;
    // Until there is something of everything.
    let rich = |database: &Connection| {
        let sql = "SELECT (SELECT COUNT(*) FROM deliveries) > 3 AND (SELECT COUNT(*) FROM sessions WHERE ended_at IS NOT NULL) > 0
                   AND (SELECT COUNT(*) FROM environment_versions) > 1 AND (SELECT COUNT(*) FROM users WHERE name LIKE 'user-%') > 0
                   AND (SELECT COUNT(*) FROM secrets WHERE auto_install = 1 AND name LIKE 'alice-%') > 0
                   AND EXISTS (SELECT 1 FROM audit WHERE action = 'secret.delete') AND EXISTS (SELECT 1 FROM secrets WHERE auto_install = 1 AND owner = 'bob')";
        database.query_row(sql, [], |row| row.get::<_, bool>(0)).unwrap()
    };
    for life in 0.. {
        assert!(life < 50, "no life was rich enough");
        (clients, _) = live_and_die(&mut world, clients, &mut random).await;
        world.restart().await;
        check(&world, &mut clients).await.expect("nothing is wrong yet");
        if rich(&open(&world)) {
            break;
        }
    }

    let newest = |action: &str| format!("(SELECT MAX(sequence) FROM audit WHERE org = 'acme' AND action = '{action}')");
    #[rustfmt::skip]
    let contradicting: [(&str, String); 14] = [
        ("gap in the chain",               "DELETE FROM audit WHERE org = 'acme' AND sequence = 5".into()),
        ("head that is not the end",       "UPDATE audit_heads SET sequence = sequence - 1".into()),
        ("delivery without entry",         format!("UPDATE audit SET target = 'x' WHERE sequence = {}", newest("bundle.deliver"))),
        ("entry without delivery",         format!("DELETE FROM deliveries WHERE sequence = {}", newest("bundle.deliver"))),
        ("version without entry",          format!("UPDATE audit SET action = 'x' WHERE sequence = {}", newest("secret.create"))),
        ("entry without version",          format!("DELETE FROM secret_versions WHERE sequence = {}", newest("secret.create"))),
        ("row that is not the newest",     "UPDATE secrets SET sequence = sequence - 1".into()),
        ("current version without row",    "DELETE FROM secrets".into()),
        ("gone without entry",             format!("UPDATE audit SET action = 'x' WHERE sequence = {}", newest("secret.delete"))),
        ("usage that is not the sum",      "UPDATE usage SET bytes = bytes + 1".into()),
        ("sessions not as on record",      "DELETE FROM sessions WHERE id = (SELECT MIN(id) FROM sessions)".into()),
        ("end of a session not on record", "UPDATE sessions SET ended_at = NULL".into()),
        ("enrolled, and not by one key",   "UPDATE credentials SET subject_name = (SELECT MIN(id) FROM sessions) WHERE subject_kind = 'session'".into()),
        ("environment not as on record",   "UPDATE environments SET version = version - 1 WHERE name = 'default'".into()),
    ];
    let database = open(&world);
    for (what, sql) in &contradicting {
        database.execute_batch(&format!("BEGIN IMMEDIATE; {sql}")).unwrap_or_else(|e| panic!("{what}: {e}"));
        let found = contradictions(&database);
        database.execute_batch("ROLLBACK").unwrap();
        assert!(found.contains(what), "{what}: {found:?}");
    }

    // Acknowledged, and gone: each seen by the client that it was acknowledged to.
    #[rustfmt::skip]
    let lost = [
        ("a secret",                "DELETE FROM secrets WHERE owner = 'alice'",                                   "was acknowledged as Some"),
        ("an environment's step",   "UPDATE environments SET version = version - 1 WHERE name = 'default'",        "the environment was acknowledged"),
        ("users",                   "DELETE FROM users WHERE name LIKE 'user-%'",                                  "users were acknowledged"),
    ];
    for (what, sql, said) in lost {
        database
            .execute_batch(&format!("DROP TABLE IF EXISTS saved; CREATE TABLE saved AS SELECT * FROM {}", table(sql)))
            .unwrap();
        database.execute_batch(sql).unwrap();
        let error = check(&world, &mut clients).await.expect_err(what);
        assert!(error.contains(said), "{what}: {error}");
        database.execute_batch(&format!("DELETE FROM {0}; INSERT INTO {0} SELECT * FROM saved", table(sql))).unwrap();
    }
    let Some(Client::Booter(booter)) =
        clients.iter_mut().find(|c| matches!(c, Client::Booter(b) if b.boots.iter().any(|b| b.ended == Some(true))))
    else {
        panic!("somebody ended a session");
    };
    let boot = booter.boots.iter_mut().find(|b| b.ended == Some(true)).expect("one that has ended");
    boot.settled = false;
    database.execute("UPDATE sessions SET ended_at = NULL WHERE id = ?1", [&boot.id]).unwrap();
    let error = booter.settle(&world.address).await.expect_err("a session's end");
    assert!(error.contains("was acknowledged as ended"), "{error}");
}

fn table(sql: &str) -> &str {
    sql.trim_start_matches("DELETE FROM ").trim_start_matches("UPDATE ").split(' ').next().unwrap_or_default()
}
