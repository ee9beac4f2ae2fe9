//! `keyfob-agent journal`: what is logged passes through here, and goes on to journald without the session's values.
//!
//! ```text
//! whole machine   who logs ─► /run/systemd/journal/{socket,dev-log,stdout} = ours ─► journald's, under other names
//! services        unit with LogNamespace=keyfob ─► /run/systemd/journal.keyfob/…  ─► the machine's journal
//! ```
//!
//! One thread, which waits for nobody: a socket whose upstream takes nothing is left alone until it does, and the kernel's buffers
//! hold back who writes to it. It holds fingerprints, never values, but for the message at hand, which is wiped.
//!
//! - `forwarder`: the loop that gives everybody their turns. `ready`: whose turn is next.
//! - `datagrams`, `datagram`: the two sockets of datagrams, and what stands in one.
//! - `stream`: one client of the stdout socket.
//! - `credentials`: whose a message is, and stays.
//! - `sockets`: how the doors become ours. `store`: what outlives this process.
//! - `agent`, `handover`, `protocol`: where the fingerprints come from, and the leaks go; both ends.
//!
//! # What is repeated, and what can be lost
//!
//! A message is taken from its socket after journald has it. Killed in between, this process has its successor send again: at
//! most one datagram of each socket, and of each stream one piece (at most 16 KiB of lines). There is no telling: the kernel can
//! do one of both at a time. Lost is what had been read of lines that had no end yet (`stream` says when they are), and a client
//! that was accepted and not yet in systemd's hands, which is the next thing done with it.

mod agent;
mod credentials;
mod datagram;
mod datagrams;
mod forwarder;
mod handover;
mod protocol;
mod ready;
mod sockets;
mod store;
mod stream;

use std::{fs, io, os::unix::net::UnixDatagram, path::Path, process::ExitCode, sync::Arc};

pub use handover::hand_over;
use nix::errno::Errno;
pub use protocol::{SOCKETS, State};
use sd_notify::NotifyState;

pub use self::credentials::stand_in;
use self::{
    credentials::{Receiver, Seen, StandIns},
    forwarder::{End, Forwarder},
    sockets::{Door, Exchange},
};
pub use super::leaks::Leak;
use super::{config::JournalMode, leaks::Ledger, redact};
use crate::{
    domain::redaction::{Hits, Redaction, Redactor},
    harden,
};

const JOURNAL: &str = "/run/systemd/journal";
const RUNTIME: &str = "/run/keyfob-redact";

/// Exit codes, which the units know: not wanted here; and given up.
const OFF: u8 = 3;
const GIVEN_UP: u8 = 4;

/// What every client's turn needs.
pub struct Tools {
    receiver: Receiver,
    stand_ins: StandIns,
    seen: Seen,
    redactor: Option<Arc<Redactor>>,
    /// Of the redactor.
    generation: u64,
    buffer: Vec<u8>,
    out: Vec<u8>,
    hits: Hits,
    leaks: Ledger,
    problem: Option<String>,
}

impl Tools {
    fn new() -> io::Result<Self> {
        Ok(Self {
            receiver: Receiver::new()?,
            stand_ins: StandIns::default(),
            seen: Seen::default(),
            redactor: None,
            generation: 0,
            buffer: vec![0; 64 * 1024],
            out: Vec::new(),
            hits: Hits::default(),
            leaks: Ledger::default(),
            problem: None,
        })
    }

    fn use_prints(&mut self, redaction: &Redaction) -> io::Result<()> {
        self.redactor = Some(redact::tables(redaction)?);
        self.generation += 1;
        Ok(())
    }

    /// One whole text.
    fn mask(&mut self, text: &[u8], out: &mut Vec<u8>) {
        match self.redactor.clone() {
            None => out.extend_from_slice(text),
            Some(redactor) => redactor.redact(text, out, &mut self.hits),
        }
    }

    /// What was masked just now was logged by this unit.
    fn count(&mut self, unit: &str) {
        for hit in self.hits.drain() {
            let (form, unit) = (hit.form.to_owned(), unit.to_owned());
            self.leaks.add(Leak { variable: hit.variable, version: hit.version, form, unit, count: hit.count });
        }
    }

    /// A message could not be passed on.
    fn lost(&mut self, error: Errno) {
        if self.problem.is_none() {
            say(&format!("a message could not be passed on: {error}"));
        }
        self.problem = Some(format!("a message could not be passed on: {error}"));
    }
}

/// The whole program. `services`: those that ask for it, by sockets that systemd hands over; else the whole machine.
pub fn main(services: bool, configured: JournalMode, dir: &Path) -> ExitCode {
    let mode = if services { JournalMode::Services } else { JournalMode::WholeMachine };
    // A service that asks for the namespace is served in any case, or it could not log.
    if !services && configured != mode {
        let _ =
            sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("not wanted: redact.journal in agent.toml")]);
        return ExitCode::from(OFF);
    }
    harden::harden();
    let deaths = Path::new(RUNTIME).join(if services { "services-starts" } else { "starts" });
    match Forwarder::new(mode, Path::new(JOURNAL), Path::new(RUNTIME), dir, count(&deaths)) {
        Ok(mut forwarder) => {
            let _ = sd_notify::notify(&[NotifyState::Ready]);
            let end = forwarder.run(&deaths);
            if end == End::Stop {
                forwarder.give_back();
            }
            forwarder.last_words();
            let _ = fs::remove_file(&deaths);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("the journal is not redacted: {error}"));
            let _ = sd_notify::notify(&[NotifyState::Status(&format!("failed: {error}"))]);
            give_back(Path::new(JOURNAL));
            ExitCode::from(GIVEN_UP)
        }
    }
}

/// How often it was started since it lived for a tick; this time included.
fn count(file: &Path) -> usize {
    let before = fs::read(file).unwrap_or_default().len();
    let _ = fs::create_dir_all(RUNTIME);
    let _ = fs::write(file, vec![b'.'; before + 1]);
    before + 1
}

/// A line of our own: past ourselves, and only if that does not wait.
fn say(text: &str) {
    let message = format!("MESSAGE={}\nPRIORITY=4\nSYSLOG_IDENTIFIER=keyfob-redact\n", text.replace('\n', " "));
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let _ = socket.set_nonblocking(true);
    let paths = [Path::new(JOURNAL).join("keyfob/socket"), Path::new(JOURNAL).join("socket")];
    let _ = paths.iter().find(|path| socket.send_to(message.as_bytes(), path).is_ok());
}

/// Where nothing of ours runs.
fn give_back(journal: &Path) {
    if let Ok(exchange) = Exchange::new(journal) {
        Door::ALL.iter().for_each(|door| drop(exchange.give_back(*door)));
    }
}
