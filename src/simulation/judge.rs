//! Who watches: what sessions read, what the store says of rollouts, what the audit chain says of answers. What must never be is
//! found at the moment it is, and told with the time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use rusqlite::{Connection, OpenFlags};
use tokio::time::Instant;

use super::network::lock;
use crate::{
    domain::{name::Id, rollout::State},
    server::store::Notice,
};

pub struct Judge {
    start: Instant,
    database: PathBuf,
    numbers: HashMap<Id, usize>,
    trace: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
    seen: Mutex<Vec<Seen>>,
    /// Rollouts, by their sequence, and the value that was pushed.
    pushed: Mutex<BTreeMap<u64, u64>>,
    /// By rollout and agent.
    states: Mutex<BTreeMap<(u64, usize), State>>,
    connection: Mutex<Option<Connection>>,
}

/// What one session has read.
#[derive(Default, Clone)]
pub struct Seen {
    manifest: Option<u64>,
    /// Sequence and value, as they came.
    pub installed: Vec<(u64, u64)>,
    pub withdrawn: bool,
}

impl Judge {
    pub fn new(database: PathBuf, sessions: &[Id]) -> Self {
        Self {
            start: Instant::now(),
            database,
            numbers: sessions.iter().cloned().zip(0..).collect(),
            trace: Mutex::default(),
            wrong: Mutex::default(),
            seen: Mutex::new(vec![Seen::default(); sessions.len()]),
            pushed: Mutex::default(),
            states: Mutex::default(),
            connection: Mutex::default(),
        }
    }

    pub fn tell(&self, what: impl std::fmt::Display) {
        let line = format!("{:>10} {what}", self.start.elapsed().as_millis());
        lock(&self.trace).push(line);
    }

    pub fn wrong(&self, what: impl std::fmt::Display) {
        self.tell(format!("WRONG: {what}"));
        lock(&self.wrong).push(format!("after {} ms: {what}", self.start.elapsed().as_millis()));
    }

    pub fn verdict(&self) -> (Vec<String>, Vec<String>) {
        (lock(&self.trace).clone(), lock(&self.wrong).clone())
    }

    pub fn seen(&self, agent: usize) -> Seen {
        lock(&self.seen)[agent].clone()
    }

    pub fn newest(&self, agent: usize) -> u64 {
        lock(&self.seen)[agent].installed.last().map_or(0, |(_, value)| *value)
    }

    // === what sessions read

    /// After every step of an agent: what is in its directory?
    pub fn look(&self, agent: usize, dir: &Path) {
        // A file that is renamed into place is another than before.
        let manifest = fs::metadata(dir.join("manifest.json")).ok().map(|meta| meta.ino());
        {
            let mut seen = lock(&self.seen);
            if seen[agent].manifest == manifest {
                return;
            }
            seen[agent].manifest = manifest;
        }
        if manifest.is_none() {
            lock(&self.seen)[agent].withdrawn = true;
            if !dir.join("problem").exists() || dir.join("environ").exists() {
                self.wrong(format!("agent {agent}: withdrawn by half"));
            }
            return self.tell(format!("agent {agent}: withdrawn"));
        }
        let Some((sequence, value)) = read(dir) else {
            return self.wrong(format!("agent {agent}: its files can't be read"));
        };
        let before = lock(&self.seen)[agent].installed.last().copied();
        self.tell(format!("agent {agent}: has {value} of {sequence}"));
        if let Some((was, had)) = before
            && (sequence <= was || value < had)
        {
            self.wrong(format!("agent {agent} went back: {had} of {was}, and then {value} of {sequence}"));
        }
        if lock(&self.seen)[agent].withdrawn {
            self.wrong(format!("agent {agent}: got something after its secrets were taken back"));
        }
        lock(&self.seen)[agent].installed.push((sequence, value));
    }

    // === what the server announces

    pub fn hear(&self, notices: &[Notice]) {
        for notice in notices {
            match notice {
                Notice::Due { session, sequence, .. } => match self.numbers.get(session) {
                    Some(agent) => self.tell(format!("server: {sequence} is due to agent {agent}")),
                    None => self.wrong("a push is due to a session that there is not"),
                },
                Notice::Revoked { subject, .. } => {
                    let agent = Id::parse(subject.name()).ok().and_then(|id| self.numbers.get(&id).copied());
                    self.tell(format!("server: agent {agent:?} is revoked"));
                }
                Notice::Rollouts => {}
            }
        }
        if notices.contains(&Notice::Rollouts) {
            self.look_at_rollouts();
        }
    }

    fn look_at_rollouts(&self) {
        let found = self.ask("SELECT sequence, session_id, state FROM rollout_targets ORDER BY 1, 2", |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        });
        let mut wrong = Vec::new();
        {
            let mut states = lock(&self.states);
            for (rollout, session, state) in found {
                let agent = Id::parse(&session).ok().and_then(|id| self.numbers.get(&id).copied());
                let (Some(agent), Some(now)) = (agent, State::parse(&state)) else { continue };
                let before = states.insert((rollout, agent), now);
                if before == Some(now) {
                    continue;
                }
                self.tell(format!("rollout {rollout}: agent {agent} is {state}"));
                if let Some(before) = before
                    && !may_become(before, now)
                {
                    wrong.push(format!("rollout {rollout}: agent {agent} was {}, and is {state}", before.as_str()));
                }
            }
        }
        wrong.into_iter().for_each(|what| self.wrong(what));
    }

    /// Another database stands in the place of the one before.
    pub fn forget_connection(&self) {
        *lock(&self.connection) = None;
    }

    fn ask<T>(&self, sql: &str, read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let mut connection = lock(&self.connection);
        let connection = connection.get_or_insert_with(|| {
            Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the database opens")
        });
        let mut statement = connection.prepare_cached(sql).expect("it is prepared");
        statement.query_map([], read).expect("an answer").collect::<Result<_, _>>().expect("rows")
    }

    // === at the end

    pub fn open_rollouts(&self) -> i64 {
        let open = "SELECT (SELECT COUNT(*) FROM rollouts WHERE ended_at IS NULL) +
                           (SELECT COUNT(*) FROM rollout_targets WHERE state IN ('waiting', 'told'))";
        self.ask(open, |row| row.get(0))[0]
    }

    /// What was installed and is not acknowledged yet.
    pub fn unanswered(&self, over: &BTreeSet<usize>) -> Vec<(usize, u64)> {
        let answered = self.answered();
        let installed = self.installed().into_iter();
        installed.filter(|of| !over.contains(&of.0) && !answered.contains_key(of)).collect()
    }

    fn installed(&self) -> BTreeSet<(usize, u64)> {
        let of = |agent| self.seen(agent).installed.into_iter().map(move |(sequence, _)| (agent, sequence));
        (0..self.numbers.len()).flat_map(of).collect()
    }

    /// How often what was.
    fn answered(&self) -> BTreeMap<(usize, u64), usize> {
        let sql = "SELECT target, CAST(json_extract(detail, '$.delivery') AS INTEGER) FROM audit
                   WHERE action = 'bundle.acknowledge' AND outcome = 'done' AND json_extract(detail, '$.delivery') IS NOT NULL";
        let mut answered: BTreeMap<(usize, u64), usize> = BTreeMap::new();
        for (target, delivery) in self.ask(sql, |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)? as u64))) {
            let id = target.strip_prefix("session/").and_then(|id| Id::parse(id).ok());
            let Some(agent) = id.and_then(|id| self.numbers.get(&id).copied()) else { continue };
            *answered.entry((agent, delivery)).or_default() += 1;
        }
        answered
    }

    /// What was installed is acknowledged, once, and nothing else is; `over` are those that may have missed it.
    pub fn answers(&self, over: &BTreeSet<usize>) {
        let installed = self.installed();
        for (of, times) in &self.answered() {
            let (agent, delivery) = of;
            match installed.contains(of) {
                true if *times == 1 => {}
                true => self.wrong(format!("agent {agent}: {delivery} was acknowledged {times} times")),
                false => self.wrong(format!("agent {agent}: {delivery} was acknowledged and never installed")),
            }
        }
        for (agent, sequence) in self.unanswered(over) {
            self.wrong(format!("agent {agent}: {sequence} was installed and never acknowledged"));
        }
    }

    /// A rollout of a value has begun.
    pub fn pushed(&self, rollout: &str, value: u64) {
        let found =
            self.ask("SELECT sequence, id FROM rollouts", |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
        let of = found.into_iter().find(|(_, id)| id == rollout);
        lock(&self.pushed).extend(of.map(|(sequence, _)| (sequence as u64, value)));
    }

    /// What was delivered takes in every push before it.
    pub fn deliveries(&self) {
        let pushed = lock(&self.pushed).clone();
        for agent in 0..self.numbers.len() {
            for (sequence, value) in self.seen(agent).installed {
                if let Some((push, pushed)) = pushed.range(..sequence).find(|(_, pushed)| **pushed > value) {
                    self.wrong(format!("agent {agent}: {sequence} has {value}, though {pushed} was pushed by {push}"));
                }
            }
        }
    }

    /// Nothing is delivered to a session, nor taken from it, after its end.
    pub fn ends(&self) {
        let sql = "SELECT e.target, e.sequence, MAX(d.sequence) FROM audit e JOIN audit d ON d.target = e.target
                   WHERE e.action IN ('session.revoke', 'session.end') AND e.outcome = 'done' AND d.outcome = 'done'
                     AND d.action IN ('bundle.deliver', 'bundle.deliver_named', 'bundle.acknowledge')
                   GROUP BY e.target, e.sequence HAVING MAX(d.sequence) > e.sequence";
        for (target, end, after) in
            self.ask(sql, |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        {
            self.wrong(format!("{target} ended at {end} and was served at {after}"));
        }
    }
}

fn may_become(before: State, now: State) -> bool {
    use State::{Ended, Failed, Installed, Told, Unreachable, Waiting};
    match before {
        Waiting => matches!(now, Told | Installed | Unreachable | Ended),
        Told => matches!(now, Installed | Failed | Unreachable | Ended),
        Failed | Unreachable => now == Installed,
        Installed | Ended => false,
    }
}

/// The sequence and the value that a session reads.
fn read(dir: &Path) -> Option<(u64, u64)> {
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("manifest.json")).ok()?).ok()?;
    let environ = fs::read(dir.join("environ")).ok()?;
    let value = environ.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(b"COUNTER="))?;
    Some((manifest["sequence"].as_u64()?, std::str::from_utf8(value).ok()?.parse().ok()?))
}
