//! `keyfob-agent exec -- CMD`: a command with the session's variables in its environment, for harnesses that start programs
//! directly, past every login and shell; and what it prints without the values.
//!
//! ```text
//! --no-redact:  the command takes this process's place; nothing of ours stays
//!
//! pipes:        outer ──────────────────────────────► stage command ─► CMD
//!               filters, holds fingerprints only      holds the environment until it becomes CMD
//!
//! a terminal:   outer ──► stage monitor ────────────► stage command ─► CMD      (see pty)
//!                         leads the session on CMD's own terminal
//! ```
//!
//! No process that filters ever holds a value: `environ` is read by the stage that becomes the command.
//!
//! Standard output and standard error stay two streams, unless both are the terminal. What CMD left in the background when it
//! ends is not waited for; what that still prints into a pipe is filtered by a process that stays behind for it, as long as
//! it would have held the pipe open without us.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Pid, WaitOptions, WaitStatus, waitpid},
    stdio,
    termios::isatty,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    hits::Teller,
    local::{self, Lent},
    pty,
    pty_terminal::put_back,
    pump::{End, Filter, Pump, wait},
    redact,
    runtime_dir::MANIFEST,
    signals::{self, Signals},
    stage::{self, Stage, Started},
};
use crate::{
    domain::{
        env_file::Format,
        environ,
        redaction::{Mode, Redactor},
    },
    harden,
};

const LOOK: Duration = Duration::from_millis(50);
/// As much as a pipe holds.
const BUFFER: usize = 64 * 1024;
/// Those that somebody sends to us and means for the command.
const PASSED: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// What was typed.
pub struct Asked {
    pub dir: PathBuf,
    /// For how long the files may take to appear.
    pub wait: Duration,
    /// Secrets that are not installed by themselves.
    pub with: Vec<String>,
    pub redact: bool,
    pub command: Vec<OsString>,
}

/// Why there is no command: what to say, and the exit code, as env(1) has them.
#[derive(Debug)]
pub struct Failure(pub String, pub u8);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

impl Ended {
    /// Gives nothing for one that was only stopped.
    pub fn of(status: WaitStatus) -> Option<Self> {
        status.exit_status().map(Self::Exited).or(status.terminating_signal().map(Self::Killed))
    }
}

/// Runs the command; gives what to exit with. Without redaction it returns only if it fails.
pub fn exec(asked: &Asked) -> Result<u8, Failure> {
    let Asked { dir, command, .. } = asked;
    wait_for_secrets(dir, asked.wait)?;
    let socket = local::path(dir);
    let with = match asked.with.as_slice() {
        [] => None,
        names => Some(local::with(&socket, names).map_err(|said| Failure(said, 1))?),
    };
    if !asked.redact {
        return Err(become_command(dir, with.map(|with| with.lent), command));
    }
    let _ = harden::hide(); // the second line: there is nothing in here but fingerprints and what is being printed
    let closed = |said| Failure(format!("{said}; --no-redact runs the command without its output being redacted"), 1);
    let own = redact::fingerprints(dir).map_err(closed)?;
    let (lent, files) = match with {
        Some(with) => (Some(with.lent), vec![with.redaction.into(), own]),
        None => (None, vec![own]),
    };
    let redaction = Redactors::read(files).map_err(closed)?;
    let teller = Teller::new("exec", socket);
    let failed = |e: io::Error| Failure(format!("starting the command: {e}"), 1);
    let run = Run { dir, lent, command, redaction: &redaction, teller: &teller };
    let terminal = [stdio::stdout(), stdio::stderr()].into_iter().find(|fd| isatty(fd));
    let ended = match terminal {
        Some(terminal) => pty::run(&run, terminal),
        None => pipes(&run),
    };
    let ended = ended.map_err(failed)?;
    teller.finish();
    Ok(end_as(ended))
}

/// All that the two ways have in common.
pub struct Run<'a> {
    pub dir: &'a Path,
    /// Further secrets, for the stage that becomes the command.
    pub lent: Option<Lent>,
    pub command: &'a [OsString],
    pub redaction: &'a Redactors,
    pub teller: &'a Teller,
}

impl<'a> Run<'a> {
    pub fn lent_descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.lent.iter().flat_map(Lent::descriptors)
    }

    fn pump(&self, source: BorrowedFd<'a>, sink: BorrowedFd<'a>, until: BorrowedFd<'a>, mode: Mode) -> Pump<'a> {
        Pump { source, sink, until: Some(until), filter: self.redaction.filter(mode), teller: self.teller }
    }
}

/// One redactor, or two, and the files they were read from.
pub struct Redactors {
    redactors: Vec<Arc<Redactor>>,
    files: Vec<File>,
}

impl Redactors {
    /// Of one file or two; where there are two, the first is to know all that the second does.
    pub fn read(mut files: Vec<File>) -> Result<Self, String> {
        let redactors = files.iter_mut().map(redact::redactor).collect::<Result<_, _>>()?;
        Ok(Self { redactors, files })
    }

    pub fn filter(&self, mode: Mode) -> Filter {
        Filter::new(&self.redactors[0], self.redactors.get(1), mode)
    }
}

fn wait_for_secrets(dir: &Path, wait: Duration) -> Result<(), Failure> {
    let end = Instant::now() + wait;
    let manifest = dir.join(MANIFEST);
    while !manifest.exists() {
        if Instant::now() >= end {
            let shown = manifest.display();
            return Err(Failure(
                format!(
                    "{shown} is not there, so no secrets are: systemctl status keyfob-agent; --wait SECONDS waits for it"
                ),
                1,
            ));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Returns only if it fails.
fn become_command(dir: &Path, lent: Option<Lent>, command: &[OsString]) -> Failure {
    let file = dir.join(Format::Environ.file_name());
    let bytes = match fs::read(&file) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) => {
            return Failure(format!("{}: {e}; its readers are root and the session's group", file.display()), 1);
        }
    };
    let asked = "the secrets asked for by --with";
    let (environ, lent_files) = lent.map_or_else(Default::default, |lent| (Some(lent.environ), lent.files));
    let more = match environ.map_or_else(|| Ok(Zeroizing::default()), |fd| read_environ(fd.into())) {
        Ok(more) => more,
        Err(e) => return Failure(format!("{asked}: {e}"), 1),
    };
    let Some((program, arguments)) = command.split_first() else { return Failure("no command".into(), 2) };
    let mut started = Command::new(program);
    started.args(arguments);
    for (text, what) in [(&bytes, &*file.to_string_lossy()), (&more, asked)] {
        match environ::parse(text) {
            Ok(variables) => {
                started.envs(variables.iter().map(|(name, value)| (name.as_str(), OsStr::from_bytes(value))));
            }
            Err(e) => return Failure(format!("{what}: {e}"), 1),
        }
    }
    for (variable, file) in &lent_files {
        match inherited(file) {
            Ok(path) => started.env(variable, path),
            Err(e) => return Failure(format!("{asked}: {variable}: {e}"), 1),
        };
    }
    let error = started.exec();
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    Failure(format!("{}: {error}", program.display()), code)
}

/// Has the command inherit a file that has no name; gives a path by which the command, and what it starts, can open it as
/// long as the command lives. By its number and not as `/proc/self`: many programs close what the programs they start would inherit.
fn inherited(file: &OwnedFd) -> io::Result<String> {
    rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?;
    Ok(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

fn read_environ(mut file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    // Never to grow, which would leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(environ::LONGEST + 64));
    file.rewind()?;
    file.take(environ::LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What [`Stage::Command`] is to do. With it come its standard input and, if there are any, the further secrets.
#[derive(Serialize, Deserialize)]
pub struct Order {
    dir: PathBuf,
    /// Signals that it inherits blocked.
    pub unblock: Vec<i32>,
    /// Whether it ends where its parent is killed.
    die_with_parent: bool,
    /// If further secrets come with it, the variables of those that are files.
    lent: Option<Vec<String>>,
}

impl Order {
    pub fn new(run: &Run<'_>, unblock: Vec<i32>, die_with_parent: bool) -> Self {
        Self { dir: run.dir.into(), unblock, die_with_parent, lent: run.lent.as_ref().map(Lent::names) }
    }
}

/// [`Stage::Command`]. Returns only if it fails.
pub fn stage_command(command: &[OsString]) -> Failure {
    let failed = |e: io::Error| Failure(format!("starting the command: {e}"), 1);
    let (order, descriptors): (Order, _) = match stage::task() {
        Ok(task) => task,
        Err(e) => return failed(e),
    };
    if order.die_with_parent {
        // Kept over exec. A parent that was gone before has closed its end of the socket.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        if !matches!(wait(stdio::stdin(), None, Some(Duration::ZERO)), Ok((false, _))) {
            return failed(io::Error::other("who asked for it is gone"));
        }
    }
    let mut descriptors = descriptors.into_iter();
    if let Some(stdin) = descriptors.next()
        && let Err(e) = stdio::dup2_stdin(&stdin)
    {
        return failed(e.into());
    }
    signals::unblock(&order.unblock);
    let lent = match order.lent.map(|names| Lent::of(names, descriptors).ok_or(io::ErrorKind::InvalidData)).transpose()
    {
        Ok(lent) => lent,
        Err(e) => return failed(e.into()),
    };
    become_command(&order.dir, lent, command)
}

/// Standard output and standard error, neither of which is a terminal. The command stays in our process group, so what the
/// terminal's keys send, if there is one, reaches it without us.
fn pipes(run: &Run<'_>) -> io::Result<Ended> {
    let taken = [&PASSED[..], &[Signal::SIGCHLD]].concat();
    let signals = Signals::take(&taken)?;
    let (outputs, theirs) = Outputs::new([true, true])?;
    let [stdout, stderr] = theirs.map(|fd| fd.expect("a pipe for each"));
    let Started { child, socket } = stage::start(Stage::Command, run.command, stdout.into(), stderr.into(), false)?;
    let child = Pid::from_child(&child);
    let order = Order::new(run, signals.taken(), true);
    let descriptors: Vec<_> = [stdio::stdin()].into_iter().chain(run.lent_descriptors()).collect();
    super::packet::send(&socket, &order, &descriptors)?;
    outputs.pass_on(run, &signals, None, || {
        loop {
            let _ = wait(signals.as_fd(), None, None)?;
            while let Some(caught) = signals.next() {
                if caught.signal == Signal::SIGCHLD {
                    let status = waitpid(Some(child), WaitOptions::NOHANG)?;
                    if let Some(ended) = status.and_then(|(_, status)| Ended::of(status)) {
                        return Ok(ended);
                    }
                } else if !caught.by_kernel {
                    let _ =
                        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.as_raw_nonzero().get()), caught.signal);
                }
            }
        }
    })
}

/// The pipes that the command writes to, by the number of the stream less one.
pub struct Outputs {
    sources: [Option<OwnedFd>; 2],
}

pub const SINKS: [BorrowedFd<'static>; 2] = [stdio::stdout(), stdio::stderr()];

impl Outputs {
    /// A pipe for each that is `wanted`, and its end for the command.
    pub fn new(wanted: [bool; 2]) -> io::Result<(Self, [Option<OwnedFd>; 2])> {
        let (mut sources, mut theirs) = ([None, None], [None, None]);
        for at in [0, 1].into_iter().filter(|at| wanted[*at]) {
            let (source, sink) = pipe_with(PipeFlags::CLOEXEC)?;
            (sources[at], theirs[at]) = (Some(source), Some(sink));
        }
        Ok((Self { sources }, theirs))
    }

    /// Filters all streams while `watch` waits for the command's end, then what is left in them. `terminal` is one more
    /// stream, and where it goes.
    pub fn pass_on(
        self,
        run: &Run<'_>,
        signals: &Signals,
        terminal: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>,
        watch: impl FnOnce() -> io::Result<Ended>,
    ) -> io::Result<Ended> {
        let (until, end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (done, working) = pipe_with(PipeFlags::CLOEXEC)?;
        let working = Arc::new(working);
        let (ended, left) = thread::scope(|scope| {
            let until = until.as_fd();
            let pumps = self.sources.into_iter().zip(SINKS).map(|(source, sink)| {
                let (source, working) = (source?, working.clone());
                Some(scope.spawn(move || {
                    let _until_here = working;
                    // Closed here, whatever the other does: who still writes is to learn that nobody reads.
                    match run.pump(source.as_fd(), sink, until, Mode::Lines).run(BUFFER) {
                        End::Told => Some(source),
                        End::Failed(error) => {
                            let _ = writeln!(io::stderr(), "keyfob-agent: passing output on: {error}");
                            None
                        }
                        End::Eof | End::SinkGone => None,
                    }
                }))
            });
            let pumps: Vec<_> = pumps.collect();
            let terminal = terminal.map(|(source, sink)| {
                let working = working.clone();
                scope.spawn(move || {
                    let _until_here = working;
                    run.pump(source, sink, until, Mode::Terminal).run(BUFFER)
                })
            });
            drop(working);
            let ended = watch();
            drop(end);
            print_the_rest(done.as_fd(), signals);
            let mut left = pumps.into_iter().map(|pump| pump?.join().ok().flatten());
            let left = [left.next().flatten(), left.next().flatten()];
            if let Some(terminal) = terminal {
                let _ = terminal.join();
            }
            (ended, left)
        });
        if left.iter().any(Option::is_some) {
            let _ = leave_behind(run, left); // or they find their pipe closed
        }
        ended
    }
}

/// Waits until all that was printed is passed on. Nobody is there any more for whom a signal could be meant but us.
fn print_the_rest(done: BorrowedFd<'_>, signals: &Signals) {
    while let Ok((false, _)) = wait(done, Some(signals.as_fd()), None) {
        while let Some(caught) = signals.next() {
            if PASSED.contains(&caught.signal) {
                put_back();
                signals.release();
                let _ = nix::sys::signal::raise(caught.signal);
            }
        }
    }
    put_back();
    signals.release();
}

/// Starts [`Stage::Rest`] for streams that something in the background still holds.
fn leave_behind(run: &Run<'_>, left: [Option<OwnedFd>; 2]) -> io::Result<()> {
    let rest = stage::start(Stage::Rest, &[], duplicate(0)?, duplicate(1)?, false)?;
    let streams = Rest { dir: run.dir.into(), streams: [left[0].is_some(), left[1].is_some()] };
    let files = run.redaction.files.iter().map(AsFd::as_fd);
    let descriptors: Vec<_> = left.iter().flatten().map(AsFd::as_fd).chain(files).collect();
    super::packet::send(&rest.socket, &streams, &descriptors)
}

fn duplicate(at: usize) -> io::Result<std::process::Stdio> {
    Ok(SINKS[at].try_clone_to_owned()?.into())
}

/// What [`Stage::Rest`] is to do. With it come the streams, then what [`Redactors`] are read from.
#[derive(Serialize, Deserialize)]
struct Rest {
    dir: PathBuf,
    streams: [bool; 2],
}

/// [`Stage::Rest`]: until nobody writes any more.
pub fn stage_rest() -> Result<(), String> {
    let failed = |e: io::Error| format!("what is still printed: {e}");
    let (Rest { dir, streams }, descriptors): (Rest, _) = stage::task().map_err(failed)?;
    // It holds nothing but the streams.
    let _ = std::env::set_current_dir("/");
    stdio::dup2_stdin(File::open("/dev/null").map_err(failed)?).map_err(|e| failed(e.into()))?;
    let mut descriptors = descriptors.into_iter();
    let sources = streams.map(|there| if there { descriptors.next() } else { None });
    let redaction = Redactors::read(descriptors.map(File::from).collect())?;
    let teller = Teller::new("exec", local::path(&dir));
    thread::scope(|scope| {
        for (source, sink) in sources.into_iter().zip(SINKS) {
            let (redaction, teller) = (&redaction, &teller);
            let Some(source) = source else { continue };
            scope.spawn(move || {
                let filter = redaction.filter(Mode::Lines);
                Pump { source: source.as_fd(), sink, until: None, filter, teller }.run(BUFFER);
            });
        }
    });
    teller.finish();
    Ok(())
}

/// Ends as the command did. Where that was by a signal: by the same one, so that who waits for us sees it.
fn end_as(ended: Ended) -> u8 {
    match ended {
        Ended::Exited(code) => code as u8,
        Ended::Killed(number) => {
            if let Ok(signal) = Signal::try_from(number) {
                // Twice: of those that tell of a stack overflow, Rust takes the first to be one.
                let _ = nix::sys::signal::raise(signal).and_then(|()| nix::sys::signal::raise(signal));
            }
            // One that we ignore, or that has no name.
            128 + number as u8
        }
    }
}
