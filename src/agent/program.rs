//! The program `keyfob-agent`: what is typed becomes one call.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use nix::unistd::{Gid, Group, Uid, User};

use super::{
    config::Config,
    doctor, exec, journal,
    machine::Machine,
    notify, pty_monitor, redact, run, runtime_dir,
    runtime_dir::{Options, RuntimeDir},
    source,
    stage::Stage,
    status::Sockets,
};
use crate::{
    argv,
    client::Error,
    domain::{
        boot::{BootPolicy, OnFailure},
        redaction::Mode,
    },
    harden, logs,
    memory::Rung,
    panics,
};

const DEFAULT_DIR: &str = "/run/keyfob";

#[derive(Parser)]
#[command(
    name = "keyfob-agent",
    version,
    about = "Fetches a session's secrets at boot and keeps them where they belong",
    max_term_width = 100
)]
struct Program {
    /// Read this configuration [default: /etc/keyfob/agent.toml, if it is there]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Enrol, fetch the session's bundle, write its files; then stay, renew the identity, and wipe the files when stopped
    ///
    /// The join string comes from --join-file, else the systemd credential keyfob.join, else join.file of the configuration,
    /// else (join.mmds = true) Firecracker's metadata service; never from a command line.
    Run(Run),
    /// Run a command with the session's variables in its environment, and redact what it prints
    ///
    /// For harnesses that start programs directly, past every login and shell. Values in what it prints become
    /// [keyfob:VARIABLE]; standard output and standard error stay two streams. Where the output is a terminal, the command gets
    /// one of its own, with size, signals and job control. Ends as the command does; 127 when it is not found, 126 when it can't
    /// be run, 1 when there are no secrets or no fingerprints to redact with.
    ///
    /// It guards against accident, not intent: what a command transforms, splits up or writes elsewhere passes.
    Exec(Exec),
    /// Pass standard input on to standard output, without the session's values
    ///
    /// Each becomes [keyfob:VARIABLE], in whatever form it is printed. It needs no value for that: the fingerprints in the
    /// runtime directory suffice.
    Redact(Redact),
    #[command(hide = true)]
    Stage {
        stage: Stage,
        #[arg(trailing_var_arg = true)]
        command: Vec<OsString>,
    },
    /// Go in each way there is, and tell which of the session's variables are set there
    ///
    /// Logins by su, sudo and ssh, shells, services, a command by exec, and with --cron a job: for each, how many variables
    /// are set as they were installed, and which are not. Never a value. Ends with 1 where something is missing. As root.
    Doctor(Doctor),
    /// Pass on to journald what is logged, without the session's values; by its units, as root
    ///
    /// For keyfob-redact.service, which serves the whole machine, and with --services for systemd-journald@keyfob.service, which
    /// serves the units with LogNamespace=keyfob. redact.journal of the configuration says which of them is wanted.
    Journal {
        /// By the sockets of the journal namespace, which systemd hands over
        #[arg(long)]
        services: bool,
    },
    #[command(hide = true)]
    StandIn,
    #[command(hide = true)]
    Probe { salt: String, names: Vec<String> },
    /// Mount memory that can't be swapped on the runtime directory, for an agent without privilege; needs root
    ///
    /// Brings the configured join file along, which such an agent could neither read nor remove.
    Mount(Mount),
    /// Unmount the runtime directory if the agent has emptied it; needs root
    Unmount {
        /// The runtime directory [default: files.dir of the configuration, else /run/keyfob]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Run {
    /// A file that holds the join string; removed once it is used
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
    /// The session's group, which may read the files [default: files.group of the configuration, else the agent's own]
    #[arg(long)]
    group: Option<String>,
    /// Accept a directory whose memory may be swapped to disk
    #[arg(long)]
    allow_swappable: bool,
    /// The weakest memory that values may lie in while they are written
    #[arg(long, value_enum, default_value_t = Memory::Mlock)]
    memory: Memory,
    /// Give up after this many seconds without the files in place [default: the configuration's, the environment's, 90]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=i64::from(BootPolicy::MAX_DEADLINE)))]
    deadline: Option<u16>,
    /// What to do then [default: the configuration's, the environment's, block]
    #[arg(long, value_enum)]
    on_failure: Option<Failed>,
}

#[derive(Args)]
struct Exec {
    /// The runtime directory [default: files.dir of the configuration, else /run/keyfob]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Wait for the secrets, this many seconds at the most
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u32,
    /// Also give it this secret, whose auto-install is off; may be repeated. Each is an audited delivery
    #[arg(long, value_name = "NAME")]
    with: Vec<String>,
    /// Leave what it prints as it is, and this process to the command
    #[arg(long)]
    no_redact: bool,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Args)]
struct Redact {
    /// The runtime directory [default: files.dir of the configuration, else /run/keyfob]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The input is what a terminal shows: values may be wrapped, or have colours in them
    #[arg(long)]
    terminal: bool,
}

#[derive(Args)]
struct Doctor {
    /// The runtime directory [default: files.dir of the configuration, else /run/keyfob]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Whose ways in to try [default: the first of the session's group, else the first person of the machine]
    #[arg(long)]
    user: Option<String>,
    /// Also try a cron job, which takes up to a minute
    #[arg(long)]
    cron: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Args)]
struct Mount {
    /// The runtime directory [default: files.dir of the configuration, else /run/keyfob]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The agent's user, who will write there
    #[arg(long, default_value = "keyfob-agent")]
    user: String,
    /// The session's group, which may read [default: files.group of the configuration, else keyfob]
    #[arg(long)]
    group: Option<String>,
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

#[derive(Clone, Copy, ValueEnum)]
enum Failed {
    /// Fail: what waits for the agent stays closed
    Block,
    /// Say READY without secrets, visibly, and go on trying
    Continue,
}

/// The whole program. Exit codes: 0 done, 1 refused or failed, 2 usage, 3 the control plane could not be reached in time.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    panics::start("keyfob-agent");
    let args: Vec<OsString> = args.collect();
    // Not those of a command that is to be run.
    if args.iter().take_while(|argument| *argument != "--").any(|argument| source::is_join_string(argument)) {
        return fail(source::IN_ARGUMENTS, 2);
    }
    let program = match Program::try_parse_from(args) {
        Ok(program) => program,
        Err(error) => return argv::misused("keyfob-agent", &error),
    };
    if let Command::Stage { stage, command } = &program.command {
        return self::stage(*stage, command);
    }
    let config = match Config::load(program.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(&error, 1),
    };
    let dir = |given: Option<PathBuf>| given.or(config.files.dir.clone()).unwrap_or_else(|| DEFAULT_DIR.into());
    let done = match program.command {
        Command::Run(run) => self::run(run, config),
        Command::Exec(Exec { dir: given, wait, with, no_redact, command }) => {
            let wait = Duration::from_secs(wait.into());
            let asked = exec::Asked { dir: dir(given), wait, with, redact: !no_redact, command };
            return match exec::exec(&asked) {
                Ok(code) => ExitCode::from(code),
                Err(exec::Failure(message, code)) => fail(&message, code),
            };
        }
        Command::Redact(Redact { dir: given, terminal }) => {
            let mode = if terminal { Mode::Terminal } else { Mode::Lines };
            redact::redact(&dir(given), mode).map_err(Error::Local)
        }
        Command::Stage { stage, command } => return self::stage(stage, &command),
        Command::Doctor(Doctor { dir: given, user, cron, output }) => {
            let asked = doctor::Asked { dir: dir(given), user, cron, json: output == Output::Json };
            match doctor::run(&asked) {
                Ok(healthy) => return ExitCode::from(u8::from(!healthy)),
                Err(error) => Err(Error::Local(error)),
            }
        }
        Command::StandIn => return journal::stand_in(),
        Command::Journal { services } => return journal::main(services, config.redact.journal, &dir(None)),
        Command::Probe { salt, names } => {
            doctor::probe(&salt, &names).map_err(|e| Error::Local(format!("standard output: {e}")))
        }
        Command::Mount(Mount { dir: given, user, group }) => {
            let group = group.or(config.files.group.clone()).unwrap_or_else(|| "keyfob".into());
            mount(&dir(given), &user, &group, &config.join.file)
        }
        Command::Unmount { dir: given } => unmount(&dir(given)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            notify::status(&format!("failed: {error}"));
            fail(&error.to_string(), if error.is_unreachable() { 3 } else { 1 })
        }
    }
}

/// What can be typed, for completions.
pub fn command() -> clap::Command {
    Program::command()
}

fn stage(stage: Stage, command: &[OsString]) -> ExitCode {
    let done = match stage {
        Stage::Command => {
            let exec::Failure(message, code) = exec::stage_command(command);
            return fail(&message, code);
        }
        Stage::Monitor => pty_monitor::stage_monitor(command),
        Stage::Rest => exec::stage_rest(),
    };
    done.map_or_else(|message| fail(&message, 1), |()| ExitCode::SUCCESS)
}

fn fail(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "keyfob-agent: {message}");
    ExitCode::from(code)
}

fn run(given: Run, config: Config) -> Result<(), Error> {
    logs::start();
    for undone in harden::harden() {
        tracing::debug!(%undone, "hardening");
    }
    let flags = BootPolicy {
        deadline: given.deadline,
        on_failure: given.on_failure.map(|failed| match failed {
            Failed::Block => OnFailure::Block,
            Failed::Continue => OnFailure::Continue,
        }),
    };
    let chosen = given.dir.or(config.files.dir.clone());
    let group = given.group.or(config.files.group.clone());
    let options = Options {
        owner: None,
        group: group.as_deref().map(group_id).transpose()?,
        mount: given.mount || chosen.is_none(),
        allow_swappable: given.allow_swappable,
    };
    let askers = config.status.group.as_deref().map(group_id).transpose()?;
    let dir = chosen.unwrap_or_else(|| DEFAULT_DIR.into());
    let dir = std::path::absolute(&dir).map_err(|e| Error::Local(format!("{}: {e}", dir.display())))?;
    let dir = RuntimeDir::prepare(&dir, options).map_err(|e| Error::Local(e.to_string()))?;
    let settings = run::Settings {
        join_file: given.join_file,
        boot: flags.or(config.boot()),
        join: config.join,
        floor: given.memory.floor(),
        once: given.once,
        journal: config.redact.journal,
        machine: Machine::default(),
        sockets: Sockets {
            unix: Sockets::path(dir.path()),
            group: askers.or(dir.group()),
            tcp: config.status.listen,
            metrics: config.status.metrics().map_err(Error::Local)?,
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Error::Local(format!("starting: {e}")))?.block_on(run::run(dir, settings))
}

fn mount(dir: &Path, user: &str, group: &str, join_file: &Path) -> Result<(), Error> {
    let owner = user_id(user)?;
    let options = Options { owner: Some(owner), group: Some(group_id(group)?), mount: true, allow_swappable: false };
    let local = |e: runtime_dir::Error| Error::Local(e.to_string());
    RuntimeDir::prepare(dir, options).map_err(local)?.take_join(join_file, owner).map(drop).map_err(local)
}

fn unmount(dir: &Path) -> Result<(), Error> {
    match runtime_dir::unmount(dir) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let _ = writeln!(
                io::stderr(),
                "{} holds files and stays mounted; an agent that is stopped wipes them",
                dir.display()
            );
            Ok(())
        }
        Err(error) => Err(Error::Local(error.to_string())),
    }
}

fn user_id(name: &str) -> Result<Uid, Error> {
    match (name.parse(), User::from_name(name)) {
        (Ok(number), _) => Ok(Uid::from_raw(number)),
        (_, Ok(Some(user))) => Ok(user.uid),
        _ => Err(Error::Local(format!("there is no user `{name}`"))),
    }
}

fn group_id(name: &str) -> Result<Gid, Error> {
    match (name.parse(), Group::from_name(name)) {
        (Ok(number), _) => Ok(Gid::from_raw(number)),
        (_, Ok(Some(group))) => Ok(group.gid),
        _ => Err(Error::Local(format!("there is no group `{name}`"))),
    }
}
