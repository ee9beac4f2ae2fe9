//! The loop: asks the kernel who has something to do, and gives each of them a turn, and no second one before all others had theirs.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
    socket::SockType,
};
use rustix::net::{SocketFlags, accept_with};
use sd_notify::NotifyState;

use super::{
    State, Tools, agent,
    agent::Agents,
    credentials,
    datagrams::{self, Datagrams},
    handover,
    protocol::ToAgent,
    ready::{Ready, Who, watch, watch_again},
    say,
    sockets::{self, Door, Exchange},
    store::{Restored, Store},
    stream::{self, Connection},
};
use crate::agent::{config::JournalMode, memfd, packet, runtime_dir::FINGERPRINTS};

/// As many as journald serves.
const STREAMS: usize = 4096;
/// In one packet to the agent.
const LEAKS_AT_ONCE: usize = 64;
const TICK: Duration = Duration::from_secs(1);
/// A process that dies so often before it has lived for a tick will not do better.
const DEATHS: usize = 10;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Stopped: what was taken is given back.
    Stop,
    /// To be started anew, as after an upgrade: nothing is given back.
    Restart,
}

pub struct Forwarder {
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

impl Forwarder {
    pub fn new(mode: JournalMode, journal: &Path, runtime: &Path, dir: &Path, starts: usize) -> io::Result<Self> {
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

    pub fn run(&mut self, deaths: &Path) -> End {
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
            for _ in 0..self.ready.len() {
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

    pub fn last_words(&mut self) {
        let path = upstream(self.exchange.as_ref(), &self.journal, Door::Stdout);
        for connection in self.streams.values_mut() {
            connection.last_words(&mut self.tools, &|| Door::Stdout.connect(&path));
        }
    }

    /// Names are given back; what is in our sockets still goes on.
    pub fn give_back(&mut self) {
        let Some(exchange) = self.exchange.take() else { return };
        for door in Door::ALL {
            if let Err(error) = exchange.give_back(door) {
                say(&format!("{} could not be given back: {error}", door.name()));
            }
        }
        self.ready = Ready::default();
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

fn upstream(exchange: Option<&Exchange>, journal: &Path, door: Door) -> PathBuf {
    exchange.map_or_else(|| journal.join(door.name()), |exchange| exchange.upstream(door))
}
