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
mod handover;
mod protocol;
mod sockets;
mod store;
mod stream;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

pub use handover::hand_over;
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        socket::SockType,
    },
};
pub use protocol::{SOCKETS, State};
use rustix::net::{SocketFlags, accept_with};
use sd_notify::NotifyState;

pub use self::credentials::stand_in;
use self::{
    agent::Agents,
    credentials::{Receiver, Seen, StandIns},
    datagrams::Datagrams,
    protocol::ToAgent,
    sockets::{Door, Exchange},
    store::{Restored, Store},
    stream::Connection,
};
pub use super::leaks::Leak;
use super::{config::JournalMode, leaks::Ledger, memfd, packet, redact, runtime_dir::FINGERPRINTS};
use crate::{
    domain::redaction::{Hits, Redaction, Redactor},
    harden,
};

const JOURNAL: &str = "/run/systemd/journal";
const RUNTIME: &str = "/run/keyfob-redact";
/// As many as journald serves.
const STREAMS: usize = 4096;
/// In one packet to the agent.
const LEAKS_AT_ONCE: usize = 64;
const TICK: Duration = Duration::from_secs(1);
/// A process that dies so often before it has lived for a tick will not do better.
const DEATHS: usize = 10;

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

/// Who has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Datagrams(usize),
    Listener,
    Varlink,
    Agents,
    Agent,
    Watch,
    Signal,
    Stream(u64),
}

const FIRST_STREAM: u64 = 16;

impl Who {
    fn number(self) -> u64 {
        match self {
            Self::Datagrams(place) => place as u64,
            Self::Listener => 2,
            Self::Varlink => 3,
            Self::Agents => 4,
            Self::Agent => 5,
            Self::Watch => 6,
            Self::Signal => 7,
            Self::Stream(number) => FIRST_STREAM + number,
        }
    }

    fn of(number: u64) -> Self {
        match number {
            0 | 1 => Self::Datagrams(number as usize),
            2 => Self::Listener,
            3 => Self::Varlink,
            4 => Self::Agents,
            5 => Self::Agent,
            6 => Self::Watch,
            7 => Self::Signal,
            number => Self::Stream(number - FIRST_STREAM),
        }
    }
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Stopped: what was taken is given back.
    Stop,
    /// To be started anew, as after an upgrade: nothing is given back.
    Restart,
}

struct Forwarder {
    tools: Tools,
    epoll: Epoll,
    store: Store,
    datagrams: Vec<Datagrams>,
    listener: OwnedFd,
    varlink: Option<OwnedFd>,
    streams: HashMap<u64, Connection>,
    next: u64,
    agents: Agents,
    exchange: Option<Exchange>,
    journal: PathBuf,
    signals: SignalFd,
    mode: JournalMode,
    told: State,
    ready: Ready,
    /// Who is asked again then.
    later: BTreeMap<(Instant, u64), Who>,
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

impl Forwarder {
    fn new(mode: JournalMode, journal: &Path, runtime: &Path, dir: &Path, starts: usize) -> io::Result<Self> {
        if starts > DEATHS {
            return Err(io::Error::other(format!("it died {DEATHS} times, one after the other")));
        }
        credentials::may_forge()
            .map_err(|e| io::Error::other(format!("messages can't be forwarded as another's: {e}")))?;
        fs::create_dir_all(runtime)?;
        let services = mode == JournalMode::Services;
        let (store, Restored { mut bound, streams, prints }) =
            Store::new(&runtime.join(if services { "services-streams" } else { "streams" }))?;
        let mut tools = Tools::new()?;
        let exchange = if services { None } else { Some(Exchange::new(journal)?) };

        let mut find = |name: &str| bound.iter().position(|(of, _)| of == name).map(|place| bound.swap_remove(place).1);
        let mut door = |door: Door| match &exchange {
            // Given by systemd's socket unit.
            None => {
                find(door.name()).ok_or_else(|| io::Error::other(format!("systemd did not hand over {}", door.name())))
            }
            Some(exchange) => {
                let path = exchange.own(door);
                let name = format!("{}.own", door.name());
                if let Some(kept) = find(&name).filter(|_| path.exists()) {
                    return Ok(kept);
                }
                let made = door.open(&path)?;
                store.keep(door.name(), &made);
                Ok(made)
            }
        };
        let datagrams =
            vec![Datagrams::new(Door::Native, door(Door::Native)?), Datagrams::new(Door::Syslog, door(Door::Syslog)?)];
        let listener = door(Door::Stdout)?;
        let varlink = find("io.systemd.journal");
        let name = if services { "services" } else { "agent" };
        let path = runtime.join(name);
        let agents = match find(name).filter(|_| path.exists()) {
            Some(kept) => kept,
            None => {
                // Who may is asked when they come.
                let made = sockets::open(SockType::SeqPacket, &path, 0o666)?;
                store.keep(name, &made);
                made
            }
        };

        let from_file =
            || fs::read(dir.join(FINGERPRINTS)).ok().and_then(|bytes| memfd::sealed(handover::NAME, &bytes).ok());
        if let Some(sealed) = prints.or_else(from_file) {
            match agent::prints(sealed).and_then(|prints| tools.use_prints(&prints.redaction)) {
                Ok(()) => {}
                Err(error) => say(&format!("kept fingerprints can't be used: {error}")),
            }
        }

        let mut signals = SigSet::empty();
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().for_each(|signal| signals.add(signal));
        signals.thread_block()?;
        let mut forwarder = Self {
            tools,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            store,
            datagrams,
            listener,
            varlink,
            streams: HashMap::new(),
            next: 1,
            agents: Agents { listener: agents, connected: Vec::new() },
            exchange,
            journal: journal.into(),
            signals: SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            mode,
            told: State::default(),
            ready: Ready::default(),
            later: BTreeMap::new(),
        };
        for (number, client, upstream) in streams {
            forwarder.next = forwarder.next.max(number + 1);
            forwarder.restore(number, client, upstream);
        }
        forwarder.watch_all()?;
        forwarder.tools.stand_ins.prepare();
        for door in Door::ALL {
            forwarder.take(door)?;
        }
        Ok(forwarder)
    }

    fn watch_all(&mut self) -> io::Result<()> {
        for (place, datagrams) in self.datagrams.iter().enumerate() {
            watch(&self.epoll, datagrams.socket.as_fd(), Who::Datagrams(place))?;
            self.ready.add(Who::Datagrams(place));
        }
        let signal = self.signals.as_fd();
        let exchange = self.exchange.as_ref().map(|exchange| exchange.watch.as_fd());
        for (fd, who) in [
            (Some(self.listener.as_fd()), Who::Listener),
            (self.varlink.as_ref().map(AsFd::as_fd), Who::Varlink),
            (Some(self.agents.listener.as_fd()), Who::Agents),
            (exchange, Who::Watch),
            (Some(signal), Who::Signal),
        ] {
            if let Some(fd) = fd {
                watch(&self.epoll, fd, who)?;
                self.ready.add(who);
            }
        }
        Ok(())
    }

    fn restore(&mut self, number: u64, client: OwnedFd, upstream: Option<OwnedFd>) {
        let connection = match upstream {
            Some(upstream) => Connection::restored(client, upstream, &self.store.known(number), &mut self.tools),
            None => Connection::accepted(client, &mut self.tools).ok(),
        };
        match connection {
            Some(connection) => {
                let who = Who::Stream(number);
                let watched = [Some(&connection.client), connection.upstream.as_ref()]
                    .into_iter()
                    .flatten()
                    .try_for_each(|fd| watch(&self.epoll, fd.as_fd(), who));
                if watched.is_ok() {
                    self.streams.insert(number, connection);
                    self.ready.add(who);
                }
            }
            None => self.store.forget_stream(number),
        }
    }

    /// Exchanges the names of a door, if they are not.
    fn take(&mut self, door: Door) -> io::Result<()> {
        let Some(exchange) = &self.exchange else { return Ok(()) };
        match exchange.take(door) {
            Ok(false) => Ok(()),
            Ok(true) => {
                // What is upstream now is new. Streams keep theirs, which are connected.
                if let Some(place) = self.datagrams.iter().position(|datagrams| datagrams.door == door) {
                    self.datagrams[place].upstream = None;
                    self.ready.add(Who::Datagrams(place));
                }
                Ok(())
            }
            // It is about to be bound; then we hear of it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn run(&mut self, deaths: &Path) -> End {
        let mut events = [EpollEvent::empty(); 256];
        let mut tick = Instant::now() + TICK;
        self.tell();
        loop {
            let next = self.later.first_key_value().map_or(tick, |((at, _), _)| (*at).min(tick));
            let wait =
                if self.ready.is_empty() { next.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            // Rounded up, or the last millisecond would be spent asking.
            let wait = EpollTimeout::try_from(wait.as_micros().div_ceil(1000) as i32).unwrap_or(EpollTimeout::ZERO);
            let found = self.epoll.wait(&mut events, wait).unwrap_or(0);
            for event in &events[..found] {
                let who = Who::of(event.data());
                if let Who::Stream(number) = who
                    && let Some(connection) = self.streams.get_mut(&number)
                {
                    connection.ended |= event.events().contains(EpollFlags::EPOLLHUP);
                }
                self.ready.add(who);
            }
            let now = Instant::now();
            while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
                let who = first.remove();
                self.ready.add(who);
            }
            if now >= tick {
                tick = now + TICK;
                let _ = fs::remove_file(deaths);
                self.tick();
            }
            // Each once: nobody's turn comes twice before all others had theirs.
            for _ in 0..self.ready.queue.len() {
                let Some(who) = self.ready.next() else { break };
                if let Some(end) = self.turn(who) {
                    return end;
                }
            }
        }
    }

    fn turn(&mut self, who: Who) -> Option<End> {
        match who {
            Who::Datagrams(place) => self.datagrams_turn(place),
            Who::Stream(number) => self.stream_turn(number),
            Who::Listener => self.accept(),
            Who::Varlink => {
                // journalctl's questions about the namespace's journal: there is none. Who is not answered would wait.
                if let Some(varlink) = &self.varlink {
                    while accept_with(varlink, SocketFlags::CLOEXEC).is_ok() {}
                }
            }
            Who::Agents => {
                while let Some(connection) = self.agents.accept() {
                    let _ = watch(&self.epoll, connection.as_fd(), Who::Agent);
                    let _ = packet::send(connection, &ToAgent::State(self.told.clone()), &[]);
                }
                self.ready.add(Who::Agent);
            }
            Who::Agent => self.hear(),
            Who::Watch => {
                if self.exchange.as_ref().is_some_and(Exchange::changed) {
                    self.take_all();
                }
            }
            Who::Signal => {
                if let Ok(Some(signal)) = self.signals.read_signal() {
                    return Some(if signal.ssi_signo == Signal::SIGHUP as u32 { End::Restart } else { End::Stop });
                }
            }
        }
        None
    }

    fn datagrams_turn(&mut self, place: usize) {
        let datagrams = &mut self.datagrams[place];
        let path = upstream(self.exchange.as_ref(), &self.journal, datagrams.door);
        let door = datagrams.door;
        match datagrams.turn(&mut self.tools, &|| door.connect(&path)) {
            datagrams::Turn::Idle => {}
            datagrams::Turn::More => self.ready.add(Who::Datagrams(place)),
            datagrams::Turn::At(at) => self.at(at, Who::Datagrams(place)),
            // Asked for anew, so that what became free in between is heard of.
            datagrams::Turn::Blocked => {
                if let Some(upstream) = &datagrams.upstream {
                    let _ = watch_again(&self.epoll, upstream.as_fd(), Who::Datagrams(place));
                }
            }
            datagrams::Turn::Connected => {
                if let Some(upstream) = &datagrams.upstream {
                    let _ = watch(&self.epoll, upstream.as_fd(), Who::Datagrams(place));
                }
                self.ready.add(Who::Datagrams(place));
            }
        }
    }

    fn stream_turn(&mut self, number: u64) {
        let Some(connection) = self.streams.get_mut(&number) else { return };
        let path = upstream(self.exchange.as_ref(), &self.journal, Door::Stdout);
        match connection.turn(&mut self.tools, &|| Door::Stdout.connect(&path)) {
            stream::Turn::Idle => {}
            stream::Turn::More => self.ready.add(Who::Stream(number)),
            stream::Turn::At(at) => self.at(at, Who::Stream(number)),
            stream::Turn::Blocked => {
                if let Some(upstream) = &connection.upstream {
                    let _ = watch_again(&self.epoll, upstream.as_fd(), Who::Stream(number));
                }
            }
            stream::Turn::Connected => {
                if let Some(upstream) = &connection.upstream {
                    let _ = watch(&self.epoll, upstream.as_fd(), Who::Stream(number));
                    if connection.is_underway() {
                        self.store.forget_stream(number); // of an upstream before
                    }
                    if let Err(error) =
                        self.store.keep_stream(number, &connection.client, upstream, &connection.known())
                    {
                        say(&format!("a stream is not kept: {error}"));
                    }
                }
                connection.kept(&mut self.tools);
                self.ready.add(Who::Stream(number));
            }
            stream::Turn::Over => {
                self.streams.remove(&number);
                self.store.forget_stream(number);
            }
        }
    }

    fn accept(&mut self) {
        for _ in 0..64 {
            let client = match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(client) => client,
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => continue,
                Err(_) => return self.at(Instant::now() + TICK, Who::Listener), // no descriptors left
            };
            if self.streams.len() >= STREAMS {
                continue; // as journald would
            }
            let number = self.next;
            self.next += 1;
            self.store.keep_client(number, &client);
            let connection = Connection::accepted(client, &mut self.tools)
                .ok()
                .filter(|connection| watch(&self.epoll, connection.client.as_fd(), Who::Stream(number)).is_ok());
            match connection {
                Some(connection) => {
                    self.streams.insert(number, connection);
                    self.ready.add(Who::Stream(number));
                }
                None => self.store.forget_stream(number),
            }
        }
        self.ready.add(Who::Listener);
    }

    fn hear(&mut self) {
        let mut at = 0;
        while at < self.agents.connected.len() {
            match self.agents.receive(at) {
                None => at += 1,
                Some(None) => drop(self.agents.connected.remove(at)),
                Some(Some(prints)) => {
                    let used = self.tools.use_prints(&prints.redaction);
                    self.store.keep_prints(&prints.sealed);
                    let answer = match used {
                        Ok(()) => ToAgent::Ok {},
                        Err(error) => ToAgent::Error { message: error.to_string(), code: "memory".into() },
                    };
                    let _ = packet::send(&self.agents.connected[at], &answer, &[]);
                }
            }
        }
    }

    fn at(&mut self, at: Instant, who: Who) {
        self.later.insert((at, who.number()), who);
    }

    fn take_all(&mut self) {
        for door in Door::ALL {
            if let Err(error) = self.take(door) {
                self.tools.problem = Some(format!("{} is not ours: {error}", door.name()));
            }
        }
    }

    fn tick(&mut self) {
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        self.take_all();
        self.tell();
        while !self.tools.leaks.is_empty() && !self.agents.connected.is_empty() {
            let leaks = self.tools.leaks.take(LEAKS_AT_ONCE);
            if !self.agents.leaks(leaks.clone()) {
                leaks.into_iter().for_each(|leak| self.tools.leaks.add(leak)); // for the next who comes
            }
        }
    }

    /// Tells the agent, and who asks systemctl, what is new.
    fn tell(&mut self) {
        let working =
            self.exchange.as_ref().is_none_or(|exchange| Door::ALL.iter().all(|door| exchange.is_taken(*door)));
        let now = State {
            mode: self.mode.as_str().into(),
            working: working && self.tools.problem.is_none(),
            problem: self.tools.problem.clone(),
            prints: None,
        };
        if now != self.told {
            let redacting = if self.tools.redactor.is_some() { "" } else { ", no fingerprints yet" };
            let text = now.problem.clone().unwrap_or_else(|| format!("{}{redacting}", now.mode));
            let _ = sd_notify::notify(&[NotifyState::Status(&text)]);
            self.agents.say(&ToAgent::State(now.clone()));
            self.told = now;
        }
    }

    fn last_words(&mut self) {
        let path = upstream(self.exchange.as_ref(), &self.journal, Door::Stdout);
        for connection in self.streams.values_mut() {
            connection.last_words(&mut self.tools, &|| Door::Stdout.connect(&path));
        }
    }

    /// Names are given back; what is in our sockets still goes on.
    fn give_back(&mut self) {
        let Some(exchange) = self.exchange.take() else { return };
        for door in Door::ALL {
            if let Err(error) = exchange.give_back(door) {
                say(&format!("{} could not be given back: {error}", door.name()));
            }
        }
        self.ready.queue.clear();
        self.ready.within.clear();
        let all: Vec<_> =
            self.streams.keys().map(|number| Who::Stream(*number)).chain([0, 1].map(Who::Datagrams)).collect();
        let end = Instant::now() + LAST_WORDS;
        all.into_iter().for_each(|who| self.ready.add(who));
        while let Some(who) = self.ready.next().filter(|_| Instant::now() < end) {
            self.turn(who);
        }
    }
}

/// How long what is in our sockets may take to go on when we end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Whose turn is next. Nobody waits twice.
#[derive(Debug, Default)]
struct Ready {
    queue: VecDeque<Who>,
    within: HashSet<Who>,
}

impl Ready {
    fn add(&mut self, who: Who) {
        if self.within.insert(who) {
            match who {
                // Who has just come may be gone soon, and is to be seen alive.
                Who::Listener => self.queue.push_front(who),
                _ => self.queue.push_back(who),
            }
        }
    }

    fn next(&mut self) -> Option<Who> {
        let who = self.queue.pop_front()?;
        self.within.remove(&who);
        Some(who)
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

fn upstream(exchange: Option<&Exchange>, journal: &Path, door: Door) -> PathBuf {
    exchange.map_or_else(|| journal.join(door.name()), |exchange| exchange.upstream(door))
}

/// Tells of each change, once.
fn watch(epoll: &Epoll, fd: BorrowedFd<'_>, who: Who) -> nix::Result<()> {
    epoll.add(fd, interest(who))
}

fn watch_again(epoll: &Epoll, fd: BorrowedFd<'_>, who: Who) -> nix::Result<()> {
    epoll.modify(fd, &mut interest(who))
}

fn interest(who: Who) -> EpollEvent {
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    EpollEvent::new(flags, who.number())
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
