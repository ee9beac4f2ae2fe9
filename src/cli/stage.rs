//! What the demo needs of the system: directories that vanish, and processes that do not outlive it.
//!
//! The parts are played by this same program, re-executed: `keyfob __server ARGS` is `keyfob-server ARGS`, `keyfob __agent
//! ARGS` is `keyfob-agent ARGS`. Two more are the stage's own:
//!
//! - `__exec CMD ARGS` becomes CMD. Like the others it asks the kernel to be killed when the demo dies.
//! - `__sweep DIR...` waits until its stdin ends, which happens when the demo ends, however it ends, and removes the
//!   directories. It is the only one that removes anything, so there is one way out for all of them, kill -9 included.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::{self, Read},
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::{prctl, signal::Signal, statfs},
    unistd::{Pid, getppid},
};
use tokio::process::{Child, Command};

use super::{
    failure::{Done, Failure},
    output::tell,
};
use crate::domain::name::Id;

/// The process that a part must not outlive.
const PARENT: &str = "KEYFOB_DEMO_PID";

/// Runs the part that the arguments name, if they name one. The caller has done nothing yet but collect them.
pub fn play_part(args: &[OsString]) -> Option<ExitCode> {
    let part = args.get(1)?.to_str()?;
    let rest = || args[2..].iter().cloned();
    let named = |name: &str| std::iter::once(OsString::from(name)).chain(rest());
    match part {
        "__server" => Some(bound(Signal::SIGKILL, || crate::server::main(named("keyfob-server")))),
        "__agent" => Some(bound(Signal::SIGKILL, || crate::agent::main(named("keyfob-agent")))),
        "__exec" => Some(bound(Signal::SIGHUP, || become_command(rest()))),
        "__sweep" => Some(sweep(&args[2..])),
        _ => None,
    }
}

/// Dies when the demo dies. A demo that died before the kernel was asked shows in the parent's id.
fn bound(with: Signal, part: impl FnOnce() -> ExitCode) -> ExitCode {
    if let Some(parent) = std::env::var(PARENT).ok().and_then(|p| p.parse().ok()) {
        let asked = prctl::set_pdeathsig(with);
        if asked.is_err() || getppid() != Pid::from_raw(parent) {
            return ExitCode::FAILURE;
        }
    }
    part()
}

fn become_command(mut command: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(program) = command.next() else { return ExitCode::FAILURE };
    let error = std::process::Command::new(&program).args(command).env_remove(PARENT).exec();
    tell(&format!("keyfob: can't run {}: {error}\n", program.display()));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }) // as shells do
}

fn sweep(dirs: &[OsString]) -> ExitCode {
    let _ = io::stdin().lock().read_to_end(&mut Vec::new());
    let mut code = ExitCode::SUCCESS;
    for dir in dirs {
        if let Err(e) = remove(Path::new(dir)) {
            tell(&format!("keyfob: {} could not be removed: {e}\n", dir.display()));
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// With whatever an agent that ran as root has mounted in it. A part that is being killed may write one last file meanwhile.
fn remove(dir: &Path) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for place in
            mounts.lines().filter_map(|m| m.split(' ').nth(1)).filter(|place| Path::new(place).starts_with(dir))
        {
            let _ = nix::mount::umount2(place, nix::mount::MntFlags::MNT_DETACH);
        }
        match fs::remove_dir_all(dir) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if Instant::now() > end => return Err(e),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The demo's directories and the process that removes them.
pub struct Stage {
    /// For the server's store and the login: on disk, encrypted or short-lived.
    pub disk: PathBuf,
    /// For join strings and what the agent writes: never on a disk.
    pub memory: PathBuf,
    sweeper: Child,
}

impl Stage {
    pub fn set() -> Done<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| Failure::local(format!("the system gives no randomness: {e}")))?;
        let name = format!("keyfob-demo-{}", &Id::from_random(random).as_str()[..10]);
        let memory = memory_places()
            .into_iter()
            .map(|place| place.join(&name))
            .find(|dir| make(dir).is_ok())
            .ok_or_else(|| {
                Failure::local(
                    "no file system in memory to write to: looked for a tmpfs at $XDG_RUNTIME_DIR, /dev/shm and /run",
                )
            })?;
        let disk = std::env::temp_dir().join(&name);
        let disk_made = if disk == memory { Ok(()) } else { make(&disk) };
        let sweeper = disk_made.map_err(|e| Failure::local(format!("{}: {e}", disk.display()))).and_then(|()| {
            let mut command = this_program()?;
            command.arg("__sweep").arg(&disk).arg(&memory).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
            command.spawn().map_err(|e| Failure::local(format!("can't start a process: {e}")))
        });
        match sweeper {
            Ok(sweeper) => Ok(Self { disk, memory, sweeper }),
            Err(e) => {
                let _ = fs::remove_dir(&memory);
                let _ = fs::remove_dir(&disk);
                Err(e)
            }
        }
    }

    /// A part, ready to be started: with a log of its own and no terminal, in a process group of its own, so that a Ctrl-C
    /// at the terminal does not reach it.
    pub fn part(&self, part: &str, log: &str) -> Done<Command> {
        let log =
            File::create(self.disk.join(log)).map_err(|e| Failure::local(format!("{}: {e}", self.disk.display())))?;
        let mut command = this_program()?;
        command
            .arg(part)
            .env(PARENT, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    /// The command that the demo is about: it has the terminal, if there is one.
    pub fn command(&self, command: &[OsString]) -> Done<Command> {
        let mut exec = this_program()?;
        exec.arg("__exec").args(command).env(PARENT, std::process::id().to_string()).kill_on_drop(true);
        Ok(exec)
    }

    /// The end of what a part wrote into its log.
    pub fn log(&self, log: &str) -> String {
        let text = fs::read_to_string(self.disk.join(log)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// After all parts have ended. Gives false where something was left behind; the sweeper has said what.
    pub async fn strike(mut self) -> bool {
        drop(self.sweeper.stdin.take());
        self.sweeper.wait().await.is_ok_and(|status| status.success())
    }
}

fn this_program() -> Done<Command> {
    let program =
        std::env::current_exe().map_err(|e| Failure::local(format!("can't find this program's own file: {e}")))?;
    Ok(Command::new(program))
}

fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)
}

/// Where files stay in memory, best first.
fn memory_places() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_absolute());
    let places = runtime.into_iter().chain(["/dev/shm".into(), "/run".into()]);
    places.filter(|p| statfs::statfs(p).is_ok_and(|fs| fs.filesystem_type() == statfs::TMPFS_MAGIC)).collect()
}
