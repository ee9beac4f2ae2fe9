//! The store: rows in SQLite, one writer that groups commits, readers beside it.
//!
//! A *job* is a closure over a [`Tx`]. Reading jobs run on a snapshot. Writing jobs queue for the one writer, which takes
//! all that wait into one transaction, a savepoint each, commits once (WAL, `synchronous=FULL`), and only then answers: what
//! was acknowledged is on disk. A job that fails is rolled back alone. A refusal by policy is rolled back too, and its fact
//! is written to the audit chain in its place. When a commit fails, the process stops: after a failed fsync nobody knows
//! what is on disk, and a restart finds out.
//!
//! The SQL is portable, and only this file knows rusqlite: [`Tx`], [`Bind`] and [`Row`] are all that the queries use, so that
//! PostgreSQL can follow with the same ones. (sqlx was the first idea. Its transactions are async and borrow their
//! connection over awaits, while grouping commits wants many jobs in one transaction on one thread; its `Any` driver has
//! neither of our types' blobs nor arrays; and it holds SQLite back at 3.51.)

mod bundles;
mod console;
mod environments;
mod fleet;
mod given;
mod identities;
#[cfg(all(test, feature = "agent"))]
pub mod in_turn;
mod leaks;
mod ledger;
mod named;
mod receipts;
pub mod rewrap;
mod rollouts;
mod secrets;
mod sessions;
mod users;

pub use bundles::{Bundle, LeftOut, PreviewItem};
pub use console::{ConsoleSession, SignedInBy};
pub use environments::{EnvironmentEdit, EnvironmentRow, EnvironmentVersionRow, VariableChange};
pub use fleet::SeenTwice;
pub use given::{Given, GivenSecret};
pub use identities::{Counter, Credential, Proof, Redeemed, Renewed};
pub use leaks::{LeakFilter, LeakRow, Place};
pub use ledger::{AuditFilter, Detail, Grant, View};
pub use receipts::{Delivered, Receipts};
pub use rollouts::{RolloutRow, TargetRow};
pub use secrets::{NewSecret, SecretEdit, SecretRow, VersionRow};
pub use sessions::{PhaseChange, SessionRow, SessionState};
pub use users::UserRow;

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, types::ToSqlOutput, types::ValueRef};
use tokio::sync::oneshot;

use super::{error::Error, keyring::Keyring, metrics::Metrics};
use crate::{
    clock::Clock,
    domain::{
        audit::Fact,
        identity::Subject,
        name::{Id, OrgName, UserName},
    },
};

/// Jobs that one commit takes at the most, so that the first of them does not wait for ever.
const GROUP: usize = 256;
const READERS: usize = 8;
/// Another process (`keyfob-server rewrap`) may hold the write lock for a moment.
const BUSY: Duration = Duration::from_secs(10);

/// What a job tells those who wait, once it is committed.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// The subject's keys count no more.
    Revoked { org: OrgName, subject: Subject },
    /// A push, of this sequence, is due to a session.
    Due { org: OrgName, session: Id, sequence: u64 },
    /// There is a new rollout, or something changed in one.
    Rollouts,
}

/// Hears of what was committed, on the writer's thread: it must not wait.
type Listener = Box<dyn Fn(Vec<Notice>) + Send>;

/// Cheap to clone; all clones share one writer.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    keyring: Arc<Keyring>,
    hands: Hands,
    metrics: Arc<Metrics>,
    readers: Arc<Mutex<Vec<Connection>>>,
    clock: Clock,
}

/// Who does the work.
#[derive(Clone)]
enum Hands {
    /// A thread of its own that writes, and those where waiting is allowed, which read.
    Threads(mpsc::Sender<Job>),
    /// Whoever asks, when it is its turn.
    #[cfg(all(test, feature = "agent"))]
    InTurn(Arc<in_turn::Desk>),
}

/// Runs in the writer's transaction and leaves behind what to do once it is known whether that was committed.
type Job = Box<dyn FnOnce(&Tx<'_>) -> Answer + Send>;

struct Answer {
    keep: Keep,
    reply: Box<dyn FnOnce(Result<(), Error>) + Send>,
}

enum Keep {
    Yes,
    /// Roll back what the job did, but put this on record.
    Only(Option<Box<(OrgName, Fact)>>),
}

impl Store {
    /// Opens the database, brings its schema up to date, and starts the writer.
    pub fn open(path: &Path, keyring: Arc<Keyring>, listener: Listener) -> Result<Self, Error> {
        let connection = connect(path)?;
        migrate(&connection)?;
        let (writer, jobs) = mpsc::channel();
        let metrics = Arc::<Metrics>::default();
        let clock = Clock::default();
        let bench =
            Bench { connection, keyring: keyring.clone(), metrics: metrics.clone(), clock: clock.clone(), listener };
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_loop(&bench, &jobs))
            .map_err(|e| Error::Store(format!("starting the writer: {e}")))?;
        let hands = Hands::Threads(writer);
        Ok(Self { path: path.to_owned(), keyring, hands, metrics, readers: Arc::default(), clock })
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Runs a job in the writer's next transaction; returns once that is committed.
    pub async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = oneshot::channel();
        let job: Job = Box::new(move |tx| {
            let result =
                catch_unwind(AssertUnwindSafe(|| job(tx))).unwrap_or(Err(Error::Internal("a store job panicked")));
            let keep = match &result {
                Ok(_) => Keep::Yes,
                Err(error) => Keep::Only(error.fact().map(Box::new)),
            };
            let reply = move |committed: Result<(), Error>| {
                // A caller that hung up misses its answer; what was committed stays.
                let _ = send.send(committed.and(result));
            };
            Answer { keep, reply: Box::new(reply) }
        });
        match &self.hands {
            Hands::Threads(writer) => {
                writer.send(job).map_err(|_| Error::Store("the writer has stopped".into()))?;
            }
            #[cfg(all(test, feature = "agent"))]
            Hands::InTurn(desk) => desk.write(job).await,
        }
        receive.await.map_err(|_| Error::Store("the writer has stopped".into()))?
    }

    /// Runs a job on a snapshot, on a thread where waiting is allowed.
    pub async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        #[cfg(all(test, feature = "agent"))]
        if let Hands::InTurn(desk) = &self.hands {
            desk.turn().await;
            return self.read_here(job);
        }
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.read_here(job))
            .await
            .map_err(|_| Error::Internal("a store job panicked"))?
    }

    fn read_here<T>(&self, job: impl FnOnce(&Tx<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let pooled = self.readers.lock().unwrap_or_else(|e| e.into_inner()).pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.path)?;
                connection.pragma_update(None, "query_only", true)?;
                connection
            }
        };
        connection.prepare_cached("BEGIN")?.execute([])?;
        let result = job(&Tx::new(&connection, &self.keyring, &self.clock));
        connection.prepare_cached("COMMIT")?.execute([])?;
        let mut pool = self.readers.lock().unwrap_or_else(|e| e.into_inner());
        if pool.len() < READERS {
            pool.push(connection);
        }
        result
    }

    /// Writes a consistent copy of the database to a new file, for its owner alone.
    pub fn backup(&self, file: &Path) -> Result<(), Error> {
        let path = file.to_str().ok_or_else(|| Error::Invalid("the backup's path is not UTF-8".into()))?;
        if file.exists() {
            return Err(Error::Exists(format!("{path} exists; a backup overwrites nothing")));
        }
        connect(&self.path)?.execute("VACUUM INTO ?1", [path])?;
        Ok(())
    }

    /// For commands that run without a server: one job, one transaction, on this thread.
    pub fn write_here<T>(
        path: &Path,
        keyring: &Keyring,
        job: impl FnOnce(&Tx<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let connection = connect(path)?;
        migrate(&connection)?;
        connection.execute_batch("BEGIN IMMEDIATE; SAVEPOINT job")?;
        let tx = Tx::new(&connection, keyring, &Clock::default());
        let result = job(&tx);
        if let Err(error) = &result {
            connection.execute_batch("ROLLBACK TO job")?;
            if let Some((org, fact)) = error.fact() {
                tx.record(&org, fact)?;
            }
        }
        connection.execute_batch("RELEASE job; COMMIT")?;
        result
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(256);
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", true)?; // replaced ciphertexts do not linger in free pages
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", 1 << 28)?; // another's commit empties a reader's cache; mapped pages are not read again
    // Plans do not look at bound values, so a statement is not prepared anew each time it is bound.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if mode != "wal" || synchronous != 2 {
        return Err(Error::Store(format!("{} can't be opened with WAL and synchronous=FULL", path.display())));
    }
    Ok(connection)
}

/// The steps from one schema version to the next. A step that has been released is never edited.
const MIGRATIONS: [&str; 5] = [
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
];

fn migrate(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch("BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)")?;
    let step = || -> Result<(), Error> {
        let done: i64 =
            connection.query_row("SELECT COALESCE(MAX(version), 0) FROM migrations", [], |row| row.get(0))?;
        let done = usize::try_from(done).unwrap_or(usize::MAX);
        if done > MIGRATIONS.len() {
            return Err(Error::Store(
                "the database is from a newer keyfob-server; use that version or a newer one".into(),
            ));
        }
        for (index, step) in MIGRATIONS.iter().enumerate().skip(done) {
            connection.execute_batch(step)?;
            connection.execute("INSERT INTO migrations (version) VALUES (?1)", [index as i64 + 1])?;
        }
        Ok(())
    };
    let result = step();
    connection.execute_batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    result
}

/// What the writer works with.
struct Bench {
    connection: Connection,
    keyring: Arc<Keyring>,
    metrics: Arc<Metrics>,
    clock: Clock,
    listener: Listener,
}

fn write_loop(bench: &Bench, jobs: &mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        write_group(bench, std::iter::once(first).chain(jobs.try_iter()).take(GROUP).collect());
    }
}

fn write_group(bench: &Bench, group: Vec<Job>) {
    if let Err(error) = bench.connection.execute_batch("BEGIN IMMEDIATE") {
        // Nothing has been done yet: the callers are told, by their dropped jobs, and may try again.
        tracing::error!(%error, "the store can't begin a transaction");
        return;
    }
    if let Err(error) = commit_group(bench, group) {
        tracing::error!(%error, "the store can't commit; stopping, so that nothing is acknowledged that may be lost");
        std::process::exit(74);
    }
}

fn commit_group(bench: &Bench, group: Vec<Job>) -> Result<(), Error> {
    let Bench { connection, keyring, metrics, clock, listener } = bench;
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(drop);
    let (mut replies, mut notices) = (Vec::new(), Vec::new());
    metrics.group.observe(group.len() as f64);
    for job in group {
        run("SAVEPOINT job")?;
        let tx = Tx::new(connection, keyring, clock);
        let Answer { keep, reply } = job(&tx);
        let mut kept = Ok(());
        if matches!(keep, Keep::Yes) {
            notices.append(&mut tx.notices.borrow_mut());
        }
        if let Keep::Only(fact) = keep {
            run("ROLLBACK TO job")?;
            if let Some((org, fact)) = fact.map(|f| *f) {
                kept = tx.record(&org, fact).map(drop);
            }
        }
        if kept.is_err() {
            // A chain that can't be continued stops its own organization, not the others: the caller is told that instead.
            run("ROLLBACK TO job")?;
        }
        run("RELEASE job")?;
        replies.push((reply, kept));
    }
    let began = Instant::now();
    run("COMMIT")?;
    metrics.commit.observe(began.elapsed().as_secs_f64());
    if !notices.is_empty() {
        listener(notices);
    }
    for (reply, kept) in replies {
        reply(kept);
    }
    Ok(())
}

/// One transaction. The rest of this module gives it its words: `tx.secret(...)`, `tx.create_session(&grant, ...)`.
pub struct Tx<'a> {
    connection: &'a Connection,
    keyring: &'a Keyring,
    notices: RefCell<Vec<Notice>>,
    /// When it began; the one time that everything in it happened at.
    pub now: i64,
}

/// What can be bound to a statement. Nothing else goes to a database.
#[derive(Clone, Copy)]
pub enum Bind<'a> {
    Int(i64),
    Text(&'a str),
    Blob(&'a [u8]),
    Null,
}

macro_rules! bind_from {
    ($($type:ty => |$it:ident| $bind:expr;)*) => {
        $(impl<'a> From<$type> for Bind<'a> {
            fn from($it: $type) -> Self { $bind }
        })*
    };
}

bind_from! {
    i64 => |it| Bind::Int(it);
    u64 => |it| Bind::Int(it as i64);
    usize => |it| Bind::Int(it as i64);
    bool => |it| Bind::Int(it.into());
    &'a str => |it| Bind::Text(it);
    &'a String => |it| Bind::Text(it);
    &'a [u8] => |it| Bind::Blob(it);
    &'a Vec<u8> => |it| Bind::Blob(it);
    &'a [u8; 32] => |it| Bind::Blob(it);
    Option<i64> => |it| it.map_or(Bind::Null, Bind::Int);
    &'a OrgName => |it| Bind::Text(it.as_str());
    &'a UserName => |it| Bind::Text(it.as_str());
    &'a Id => |it| Bind::Text(it.as_str());
}

impl rusqlite::ToSql for Bind<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(i) => ValueRef::Integer(*i),
            Self::Text(t) => ValueRef::Text(t.as_bytes()),
            Self::Blob(b) => ValueRef::Blob(b),
            Self::Null => ValueRef::Null,
        }))
    }
}

/// Binds values in their order: `bind![org, id, true]`.
macro_rules! bind {
    ($($value:expr),* $(,)?) => { &[$($crate::server::store::Bind::from($value)),*] };
}
pub(crate) use bind;

/// One row of an answer, read by position.
pub struct Row<'a>(&'a rusqlite::Row<'a>);

impl Row<'_> {
    pub fn int(&self, at: usize) -> Result<i64, Error> {
        Ok(self.0.get(at)?)
    }

    pub fn uint(&self, at: usize) -> Result<u64, Error> {
        Ok(self.int(at)? as u64)
    }

    pub fn bool(&self, at: usize) -> Result<bool, Error> {
        Ok(self.int(at)? != 0)
    }

    pub fn opt_int(&self, at: usize) -> Result<Option<i64>, Error> {
        Ok(self.0.get(at)?)
    }

    pub fn text(&self, at: usize) -> Result<String, Error> {
        Ok(self.0.get(at)?)
    }

    pub fn opt_text(&self, at: usize) -> Result<Option<String>, Error> {
        Ok(self.0.get(at)?)
    }

    pub fn blob(&self, at: usize) -> Result<Vec<u8>, Error> {
        Ok(self.0.get(at)?)
    }

    pub fn opt_blob(&self, at: usize) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.get(at)?)
    }

    pub fn hash(&self, at: usize) -> Result<[u8; 32], Error> {
        self.blob(at)?.try_into().map_err(|_| Error::Corrupt("a stored hash does not have 32 bytes".into()))
    }

    pub fn opt_hash(&self, at: usize) -> Result<Option<[u8; 32]>, Error> {
        match self.0.get::<_, Option<Vec<u8>>>(at)? {
            None => Ok(None),
            Some(blob) => {
                blob.try_into().map(Some).map_err(|_| Error::Corrupt("a stored hash does not have 32 bytes".into()))
            }
        }
    }
}

impl<'a> Tx<'a> {
    fn new(connection: &'a Connection, keyring: &'a Keyring, clock: &Clock) -> Self {
        Self { connection, keyring, notices: RefCell::default(), now: clock.micros() }
    }

    pub fn keyring(&self) -> &Keyring {
        self.keyring
    }

    /// Tells those who wait, once this is committed.
    pub(super) fn announce(&self, notice: Notice) {
        self.notices.borrow_mut().push(notice);
    }

    /// Runs a statement; gives the number of rows it touched.
    pub fn execute(&self, sql: &str, binds: &[Bind<'_>]) -> Result<usize, Error> {
        Ok(self.connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(binds))?)
    }

    /// The first row of an answer, if there is one.
    pub fn one<T>(
        &self,
        sql: &str,
        binds: &[Bind<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(binds))?;
        rows.next()?.map(|row| read(&Row(row))).transpose()
    }

    /// All rows of an answer.
    pub fn all<T>(
        &self,
        sql: &str,
        binds: &[Bind<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(binds))?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(&Row(row))?);
        }
        Ok(all)
    }

    pub fn setting(&self, key: &str) -> Result<Option<String>, Error> {
        self.one("SELECT value FROM settings WHERE key = ?1", bind![key], |row| row.text(0))
    }

    pub fn set_setting(&self, key: &str, value: &str) -> Result<(), Error> {
        self.execute(
            "INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            bind![key, value],
        )?;
        Ok(())
    }
}

/// A fresh opaque id.
pub fn new_id() -> Result<Id, Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| Error::Internal("the kernel gives no randomness"))?;
    Ok(Id::from_random(random))
}
