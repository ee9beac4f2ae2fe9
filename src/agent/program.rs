//! The program `keyfob-agent`.

use std::{
    ffi::OsString,
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use nix::unistd::{Gid, Group};
use sd_notify::NotifyState;
use time::OffsetDateTime;
use tokio::{signal::unix::SignalKind, time::Instant};
use zeroize::Zeroizing;

use super::{
    fetch::{self, Fetched},
    files::{self, Item, Set},
    retry,
    runtime_dir::{Options, RuntimeDir},
};
use crate::{
    argv,
    client::{self, Credentials, Error},
    domain::{
        identity::{Identity, Subject},
        join::{Audience, Join},
    },
    harden, logs,
    memory::Rung,
    panics, tls,
};

/// The name of the systemd credential that holds the join string.
const CREDENTIAL: &str = "keyfob.join";
const DEFAULT_DIR: &str = "/run/keyfob";
/// A join string is some hundred bytes; whatever is longer is something else.
const LONGEST_JOIN: u64 = 4096;

#[derive(Parser)]
#[command(name = "keyfob-agent", version, about = "Fetches a session's secrets at boot and keeps them where they belong", max_term_width = 100)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Enrol, fetch the session's bundle, write its files; then stay, renew the identity, and wipe the files when stopped
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// A file that holds the join string; removed once it is used [default: the systemd credential keyfob.join]
    #[arg(long, value_name = "FILE")]
    join_file: Option<PathBuf>,
    /// Where the files go; a directory of its own on tmpfs or ramfs [default: /run/keyfob, mounted if it isn't]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Mount memory that can't be swapped on the directory first; needs root
    #[arg(long)]
    mount: bool,
    /// Exit when the files are in place, and leave them there
    #[arg(long)]
    once: bool,
    /// The session's group, which may read the files [default: the agent's own]
    #[arg(long)]
    group: Option<String>,
    /// Accept a directory whose memory may be swapped to disk
    #[arg(long)]
    allow_swappable: bool,
    /// The weakest memory that values may lie in while they are written
    #[arg(long, value_enum, default_value_t = Memory::Mlock)]
    memory: Memory,
    /// Give up after this many seconds without the files in place
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    deadline: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Memory {
    /// Only memory that the kernel itself can't read (memfd_secret)
    MemfdSecret,
    /// At least locked against swapping
    Mlock,
    /// Whatever there is
    None,
}

impl Memory {
    fn floor(self) -> Rung {
        match self {
            Self::MemfdSecret => Rung::MemfdSecret,
            Self::Mlock => Rung::Mlock,
            Self::None => Rung::None,
        }
    }
}

/// The whole program. Exit codes: 0 done, 1 refused or failed, 2 usage, 3 the control plane could not be reached in time.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    panics::start("keyfob-agent");
    let Command::Run(run) = match Program::try_parse_from(args) {
        Ok(program) => program.command,
        Err(error) => return argv::misused("keyfob-agent", &error),
    };
    logs::start();
    for undone in harden::harden() {
        tracing::debug!(%undone, "hardening");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Failure::Other(format!("starting: {error}"))),
    };
    match runtime.block_on(self::run(run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

enum Failure {
    ControlPlane(Error),
    Other(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::ControlPlane(error)
    }
}

fn failed(failure: &Failure) -> ExitCode {
    let (message, code) = match failure {
        Failure::ControlPlane(error @ Error::Unreachable { .. }) => (error.to_string(), 3),
        Failure::ControlPlane(error) => (error.to_string(), 1),
        Failure::Other(message) => (message.clone(), 1),
    };
    let _ = sd_notify::notify(&[NotifyState::Status(&format!("failed: {message}"))]);
    let _ = writeln!(io::stderr(), "keyfob-agent: {message}");
    ExitCode::from(code)
}

async fn run(run: Run) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(run.deadline);
    let (join, join_file) = read_join(run.join_file.as_deref()).map_err(Failure::Other)?;
    let group = run.group.as_deref().map(group_id).transpose().map_err(Failure::Other)?;
    let options = Options { group, mount: run.mount || run.dir.is_none(), allow_swappable: run.allow_swappable };
    let dir = absolute(run.dir.as_deref().unwrap_or(Path::new(DEFAULT_DIR)))?;
    let dir = RuntimeDir::prepare(&dir, options).map_err(|e| Failure::Other(e.to_string()))?;

    status("enrolling");
    let key = client::new_key()?;
    let mut credentials = retry::until(deadline, "enrolling", async || client::enrol(&join, &key, OffsetDateTime::now_utc()).await).await?;
    let address = client::locate(&join.address)?;
    drop((join, key));
    if let Some(file) = join_file {
        // The token is spent; the file only invites confusion.
        if let Err(error) = fs::remove_file(&file) {
            tracing::warn!(file = %file.display(), %error, "the used join file could not be removed");
        }
    }
    let own = identity(&credentials)?;
    tracing::info!(session = own.subject.name(), org = %own.org, "enrolled");

    status("fetching");
    let floor = run.memory.floor();
    let fetched = retry::until(deadline, "fetching the bundle", async || {
        let channel = client::connect_as(&address, &credentials).await?;
        fetch::fetch(channel, &own, floor).await
    })
    .await?;
    let summary = install(&dir, &fetched, floor)?;
    drop(fetched); // the last that pointed into secret memory: wiped here
    tracing::info!("{summary}");
    status(&summary);
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    if run.once {
        return Ok(());
    }

    let stop = stop_signal()?;
    tokio::pin!(stop);
    loop {
        let wait = (credentials.renew_at() - OffsetDateTime::now_utc()).try_into().unwrap_or(Duration::ZERO);
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(wait) => {}
        }
        let end = Instant::now() + (credentials.not_after - OffsetDateTime::now_utc()).try_into().unwrap_or(Duration::ZERO);
        let renewed = tokio::select! {
            () = &mut stop => break,
            renewed = retry::until(end, "renewing the identity", async || {
                let channel = client::connect_as(&address, &credentials).await?;
                client::renew(channel, &credentials, OffsetDateTime::now_utc()).await
            }) => renewed,
        };
        match renewed {
            Ok(fresh) => credentials = fresh,
            Err(error) => {
                // The session keeps what it has; whether it may have more is the control plane's to say.
                tracing::error!(%error, "the identity could not be renewed and ends; the files stay as they are");
                status(&format!("degraded: {error}; {summary}"));
                (&mut stop).await;
                break;
            }
        }
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    dir.remove().map_err(|e| Failure::Other(e.to_string()))?;
    Ok(())
}

fn install(dir: &RuntimeDir, fetched: &Fetched, floor: Rung) -> Result<String, Failure> {
    let items: Vec<Item<'_>> = fetched
        .entries
        .iter()
        .map(|e| Item { variable: &e.variable, name: &e.name, origin: e.origin, version: &e.version, delivery: e.delivery, value: &e.value })
        .collect();
    let set = Set {
        bundle_version: &fetched.bundle_version,
        sequence: fetched.sequence,
        organization: &fetched.organization,
        session: &fetched.session,
        user: &fetched.user,
        environment: &fetched.environment,
        environment_version: fetched.environment_version,
        memory: fetched.rung,
        installed_at: OffsetDateTime::now_utc(),
        items: &items,
    };
    files::install(dir, &set, floor).map_err(|e| Failure::Other(e.to_string()))?;
    Ok(format!(
        "{} variables in {} (bundle {}, memory {}, files {})",
        items.len(),
        dir.path().display(),
        fetched.bundle_version,
        fetched.rung.as_str(),
        dir.rung().as_str()
    ))
}

fn identity(credentials: &Credentials) -> Result<Identity, Error> {
    let identity = credentials.chain.first().and_then(tls::identity_of);
    identity.filter(|i| matches!(i.subject, Subject::Session(_))).ok_or_else(|| Error::Local("the control plane gave no session's certificate".into()))
}

/// The join string, and the file to remove once it is used. Never from the command line: every process can read that.
fn read_join(file: Option<&Path>) -> Result<(Join, Option<PathBuf>), String> {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(CREDENTIAL)).filter(|p| p.exists());
    let (path, removable) = match (file, credential) {
        (Some(file), _) => (file.to_owned(), Some(file.to_owned())),
        (None, Some(credential)) => (credential, None),
        (None, None) => {
            return Err(format!("no join string: give the unit a credential `{CREDENTIAL}`, or say --join-file FILE; `keyfob session create` prints one"));
        }
    };
    let shown = argv::file(&path);
    let mut text = Zeroizing::new(String::with_capacity(LONGEST_JOIN as usize + 1));
    fs::File::open(&path).and_then(|f| f.take(LONGEST_JOIN + 1).read_to_string(&mut text)).map_err(|e| format!("{shown}: {e}"))?;
    if text.len() as u64 > LONGEST_JOIN {
        return Err(format!("{shown} is too long for a join string"));
    }
    let join = Join::parse(&text, Audience::Session).map_err(|e| format!("{shown}: {e}"))?;
    Ok((join, removable))
}

fn absolute(dir: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(dir).map_err(|e| Failure::Other(format!("{}: {e}", dir.display())))
}

fn group_id(name: &str) -> Result<Gid, String> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        _ => Err(format!("there is no group `{name}`")),
    }
}

fn status(text: &str) {
    let _ = sd_notify::notify(&[NotifyState::Status(text)]);
}

fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let on = |kind| tokio::signal::unix::signal(kind).map_err(|e| Failure::Other(format!("signals: {e}")));
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
