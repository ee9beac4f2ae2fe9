//! A command on a terminal of its own: the outer process, between that and the one that somebody sits at.
//!
//! ```text
//! keys   ─► user's terminal, raw ─► outer ─► master │ CMD's terminal ─► CMD
//! screen ◄─ user's terminal ◄───── masked ◄─ master │ CMD's terminal ◄─
//! ```
//!
//! What is a terminal for us is one for CMD: standard input, output and error each on its own account. What is none stays
//! what it is: standard input is handed on as it is, outputs go through pipes.
//!
//! Keys are passed on from the start where input and output are the terminal and we are in its foreground. Else CMD starts in
//! the background of its own terminal, and as soon as it wants to read from it (`git log | exec -- less`) it is stopped
//! there, as the kernel does, we are told, and take the user's terminal then: what stands beside us in a pipeline may
//! want it too. While its keys are not ours, `^C` and `^Z` reach us as signals and are passed on.
//!
//! Stopped, CMD stops us and all of our job, so that the shell takes over; continued, we continue it. When it has ended we
//! are done: what it left in the background keeps running, and finds its terminal hung up if it writes there.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

use nix::sys::signal::Signal;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl, fstat},
    io::{Errno, read, write},
    pipe::{PipeFlags, pipe_with},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    stdio,
    termios::{OptionalActions, isatty, tcsetattr, tcsetwinsize},
};

use super::{
    exec::{Ended, Order, Outputs, Run, SINKS},
    packet,
    pty_monitor::{News, Say, Task},
    pty_terminal::{Terminal, put_back},
    pump::wait,
    signals::Signals,
    stage::{self, Stage, Started},
};
use crate::domain::redaction::IDLE;

pub fn run(run: &Run<'_>, at: BorrowedFd<'static>) -> io::Result<Ended> {
    use Signal::*;
    let signals =
        Signals::take(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH, SIGCHLD])?;
    let terminal = Terminal::open(at)?;
    let (master, slave) = open_pty(&terminal)?;

    let device = fstat(at)?.st_rdev;
    let is_it = |fd: BorrowedFd<'_>| isatty(fd) && fstat(fd).is_ok_and(|stat| stat.st_rdev == device);
    let [input, output, error] = [stdio::stdin(), stdio::stdout(), stdio::stderr()].map(is_it);
    let (outputs, pipes) = Outputs::new([!output, !error])?;
    let stdin = if input { slave.as_fd() } else { stdio::stdin() };
    let [stdout, stderr] = pipes.each_ref().map(|pipe| pipe.as_ref().map_or(slave.as_fd(), AsFd::as_fd));

    let foreground = input && output && terminal.is_ours();
    if foreground {
        terminal.take()?;
    }
    let own = stderr.try_clone_to_owned()?;
    let Started { child: _monitor, socket } =
        stage::start(Stage::Monitor, run.command, std::process::Stdio::null(), own.into(), false)?;
    let task = Task { order: Order::new(run, signals.taken(), false), foreground };
    let streams = [slave.as_fd(), stdin, stdout, stderr];
    let descriptors: Vec<_> = streams.into_iter().chain(run.lent_descriptors()).collect();
    packet::send(&socket, &task, &descriptors)?;
    drop((slave, pipes));

    let sink = if output { SINKS[0] } else { SINKS[1] };
    let (wake, waker) = pipe_with(PipeFlags::CLOEXEC)?;
    thread::scope(|scope| {
        scope.spawn(|| keys(&terminal, &master, &wake, &socket));
        let mut seat =
            Seat { terminal: &terminal, master: &master, monitor: &socket, waker, taken: false, wanted: false };
        if foreground {
            seat.listen(true);
        }
        outputs.pass_on(run, &signals, Some((master.as_fd(), sink)), || {
            let ended = seat.attend(&signals);
            drop(seat);
            ended
        })
    })
}

fn open_pty(like: &Terminal) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    let (settings, size) = like.settings()?;
    tcsetattr(&slave, OptionalActions::Now, &settings)?;
    tcsetwinsize(&slave, size)?;
    // A command that does not read must not keep us from seeing that it has ended.
    fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
    Ok((master, slave))
}

/// Who sits between the two terminals.
struct Seat<'a> {
    terminal: &'a Terminal,
    master: &'a OwnedFd,
    monitor: &'a OwnedFd,
    /// To the thread that reads the keys.
    waker: OwnedFd,
    /// Whether the keys are passed on.
    taken: bool,
    /// Whether the command has ever wanted them.
    wanted: bool,
}

impl Seat<'_> {
    /// Until the command has ended.
    fn attend(&mut self, signals: &Signals) -> io::Result<Ended> {
        loop {
            while let Some(caught) = signals.next() {
                match caught.signal {
                    Signal::SIGWINCH => self.follow_size(),
                    Signal::SIGCONT => self.resume(),
                    Signal::SIGCHLD => {} // the monitor's end is told by its socket
                    signal => self.say(&Say::Signal { number: signal as i32, group: caught.by_kernel }),
                }
            }
            let (told, _) = wait(self.monitor.as_fd(), Some(signals.as_fd()), None)?;
            if told {
                match packet::receive::<News>(self.monitor) {
                    Ok(Some((News::Stopped(number), _))) => self.stopped(number, signals),
                    Ok(Some((News::Ended(ended), _))) => return Ok(ended),
                    Ok(None) => return Ok(Ended::Exited(1)), // which has said why
                    Err(e) => return Err(e),
                }
            }
        }
    }

    fn stopped(&mut self, number: i32, signals: &Signals) {
        let signal = Signal::try_from(number).unwrap_or(Signal::SIGSTOP);
        if matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU) {
            self.wanted = true;
            if self.terminal.is_ours() {
                return self.resume();
            }
        }
        // What it has printed last, and what of it is held back, comes out before all of us stand still.
        thread::sleep(IDLE * 2);
        self.give_back();
        if !signals.stop(signal) {
            // Nobody could continue us, so the kernel has not stopped us. The keys are not to be had then: who waits for them
            // waits, and does not ask again and again.
            self.resume();
            self.say(&Say::Resume { foreground: true });
        }
    }

    /// Continued, or wanted in the foreground: goes on where it is now: in the foreground of the user's terminal, or not.
    fn resume(&mut self) {
        let ours = self.terminal.is_ours();
        if ours && (self.wanted || self.taken) {
            if self.terminal.take().is_ok() {
                self.listen(true);
            }
        } else if !ours && self.taken {
            self.terminal.lost();
            self.listen(false);
        }
        self.follow_size();
        self.say(&Say::Resume { foreground: self.taken });
    }

    fn give_back(&mut self) {
        if self.taken {
            self.wanted = true;
            self.listen(false);
            put_back();
        }
    }

    fn listen(&mut self, listen: bool) {
        self.taken = listen;
        let _ = write(&self.waker, &[u8::from(listen)]);
    }

    fn follow_size(&self) {
        if let Some(size) = self.terminal.size() {
            let _ = tcsetwinsize(self.master, size);
        }
    }

    fn say(&self, what: &Say) {
        let _ = packet::send(self.monitor, what, &[]); // which is gone, and that is told next
    }
}

/// Passes keys on while it is told to, until `wake` is closed.
fn keys(terminal: &Terminal, master: &OwnedFd, wake: &OwnedFd, monitor: &OwnedFd) {
    let (mut listening, mut typed) = (false, zeroize::Zeroizing::new([0; 4096]));
    loop {
        let first = if listening { terminal.as_fd() } else { wake.as_fd() };
        let Ok((typing, woken)) = wait(first, Some(wake.as_fd()), None) else { return };
        if woken {
            let mut last = [0];
            match read(wake, &mut last) {
                Ok(1) => listening = last[0] == 1,
                _ => return,
            }
            continue;
        }
        if !typing {
            continue;
        }
        match read(terminal, &mut typed[..]) {
            Ok(0) => {
                // The window is gone. Where the terminal is ours we are told by a signal too.
                let _ = packet::send(monitor, &Say::Signal { number: Signal::SIGHUP as i32, group: true }, &[]);
                listening = false;
            }
            Ok(len) => {
                if !type_on(master, &typed[..len], wake) {
                    return;
                }
                typed[..len].fill(0);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => listening = false, // not ours at the moment
        }
    }
}

/// Whether all of it was taken before `wake` was closed.
fn type_on(master: &OwnedFd, mut bytes: &[u8], wake: &OwnedFd) -> bool {
    while !bytes.is_empty() {
        match write(master, bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let room = PollFd::from_borrowed_fd(master.as_fd(), PollFlags::OUT);
                let closed = PollFd::from_borrowed_fd(wake.as_fd(), PollFlags::empty());
                let mut polled = [room, closed];
                if poll(&mut polled, None).is_err() || !polled[1].revents().is_empty() {
                    return false;
                }
            }
            Err(_) => return true, // nobody has it open any more
        }
    }
    true
}
