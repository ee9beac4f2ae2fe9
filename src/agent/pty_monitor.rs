//! The leader of the session on the command's own terminal. The command is its child, so its being stopped and its end are
//! told to it, and job control there is its work; what the user's terminal has to do with that is decided by the outer
//! process, at the other end of the socket.
//!
//! ```text
//! outer ── Signal, Resume, Background ──► monitor
//! outer ◄── Stopped, Ended ────────────── monitor
//! ```

use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill, killpg},
    },
    unistd,
};
use rustix::{
    process::{Pid, WaitOptions, getpgrp, ioctl_tiocsctty, setsid, waitpid},
    stdio,
    termios::tcsetpgrp,
};
use serde::{Deserialize, Serialize};

use super::{
    exec::{Ended, Order},
    packet,
    pump::wait,
    signals::Signals,
    stage::{self, Stage, Started},
};

/// What the monitor is to do. With it come the terminal, the command's three streams and, if there are any, the further
/// secrets.
#[derive(Serialize, Deserialize)]
pub struct Task {
    pub order: Order,
    pub foreground: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Say {
    /// For the command, or for its whole process group.
    Signal { number: i32, group: bool },
    /// Goes on, with the terminal's keys or without.
    Resume { foreground: bool },
    /// Has the terminal's keys no more.
    Background,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum News {
    Stopped(i32),
    Ended(Ended),
}

/// [`Stage::Monitor`].
pub fn stage_monitor(command: &[OsString]) -> Result<(), String> {
    monitor(command).map_err(|e| format!("starting the command on a terminal of its own: {e}"))
}

fn monitor(command: &[OsString]) -> io::Result<()> {
    let (Task { mut order, foreground }, descriptors): (Task, _) = stage::task()?;
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or(io::ErrorKind::InvalidData);
    let (terminal, stdin, stdout, stderr) = (next()?, next()?, next()?, next()?);
    let lent: Vec<_> = descriptors.collect();
    let _ = prctl::set_name(c"keyfob-agent"); // instead of "exe", by which it was started
    setsid()?;
    ioctl_tiocsctty(&terminal)?;
    use Signal::*;
    // The terminal's, which are for the command, and SIGTTOU: who is not in the foreground sets who is.
    let signals = Signals::take(&[
        SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGCHLD,
    ])?;
    order.unblock.extend(signals.taken());
    let Started { child, socket } =
        stage::start(Stage::Command, command, Stdio::from(stdout), Stdio::from(stderr), true)?;
    let command = Command { pid: Pid::from_child(&child), terminal };
    if foreground {
        command.foreground();
    }
    // Only now does it become the command, so that finds everything in its place.
    let streams: Vec<_> = [stdin.as_fd()].into_iter().chain(lent.iter().map(AsFd::as_fd)).collect();
    packet::send(&socket, &order, &streams)?;
    drop((stdin, lent));
    command.look_after(&signals)
}

struct Command {
    pid: Pid,
    terminal: OwnedFd,
}

impl Command {
    fn look_after(&self, signals: &Signals) -> io::Result<()> {
        let outer = stdio::stdin();
        loop {
            let (signalled, said) = wait(signals.as_fd(), Some(outer), None)?;
            if signalled && self.news(signals, outer)? {
                return Ok(());
            }
            if said {
                match packet::receive::<Say>(outer) {
                    Ok(Some((say, _))) => self.obey(&say),
                    _ => {
                        self.hang_up();
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether there is nothing left to look after.
    fn news(&self, signals: &Signals, outer: impl AsFd) -> io::Result<bool> {
        let mut hung_up = false;
        while let Some(caught) = signals.next() {
            hung_up |= caught.signal == Signal::SIGHUP && caught.by_kernel;
        }
        while let Some((_, status)) = waitpid(Some(self.pid), WaitOptions::NOHANG | WaitOptions::UNTRACED)? {
            if let Some(number) = status.stopping_signal() {
                let _ = packet::send(&outer, &News::Stopped(number), &[]);
            } else if let Some(ended) = Ended::of(status) {
                // Or what it left in the background would be hung up with us.
                let _ = tcsetpgrp(&self.terminal, getpgrp());
                let _ = packet::send(&outer, &News::Ended(ended), &[]);
                return Ok(true);
            }
        }
        if hung_up {
            self.hang_up();
        }
        Ok(hung_up)
    }

    fn obey(&self, say: &Say) {
        let pid = unistd::Pid::from_raw(self.pid.as_raw_nonzero().get());
        let _ = match *say {
            Say::Signal { number, group } => match Signal::try_from(number) {
                Ok(signal) if group => killpg(pid, signal),
                Ok(signal) => kill(pid, signal),
                Err(error) => Err(error),
            },
            Say::Resume { foreground } => {
                match foreground {
                    true => self.foreground(),
                    false => self.background(),
                }
                killpg(pid, Signal::SIGCONT)
            }
            Say::Background => {
                self.background();
                Ok(())
            }
        }; // which has ended, and then that is the news
    }

    fn foreground(&self) {
        let _ = tcsetpgrp(&self.terminal, self.pid);
    }

    fn background(&self) {
        let _ = tcsetpgrp(&self.terminal, getpgrp());
    }

    /// The outer process was killed: as if the window had been closed.
    fn hang_up(&self) {
        for signal in [Signal::SIGHUP, Signal::SIGCONT] {
            let _ = killpg(unistd::Pid::from_raw(self.pid.as_raw_nonzero().get()), signal);
        }
    }
}
