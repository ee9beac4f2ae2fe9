//! An agent's machine: one process after the other, over the same runtime directory and the same identity.

use std::{
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use super::{
    judge::Judge,
    network::{Link, Side, lock},
    random::Random,
    server::Server,
};
use crate::{
    agent::{
        config::{self, JournalMode},
        fingerprints::Redacting,
        kept::{Keeper, Shelf},
        machine::{Chance, Machine},
        run::{Agent, Settings},
        runtime_dir::{Options, RuntimeDir},
        status::Sockets,
    },
    client::{Bytes, Error, Way},
    clock::Clock,
    domain::{
        boot::BootPolicy,
        name::{Id, OrgName},
    },
    memory::Rung,
};

/// A calendar clock of a simulated machine, which can be wrong.
#[derive(Clone, Default)]
pub struct Wrong(Arc<AtomicI64>);

impl Wrong {
    pub fn by(&self, seconds: i64) {
        self.0.store(seconds, Relaxed);
    }

    pub fn clock(&self, began: OffsetDateTime) -> Clock {
        let (wrong, start) = (self.0.clone(), tokio::time::Instant::now());
        Clock::new(move || began + start.elapsed() + time::Duration::seconds(wrong.load(Relaxed)))
    }
}

pub struct Host {
    pub number: usize,
    pub session: Id,
    pub link: Arc<Link>,
    pub clock: Wrong,
    machine: Machine,
    dir: PathBuf,
    join: PathBuf,
    shelf: Shelf,
    judge: Arc<Judge>,
    process: Mutex<Option<JoinHandle<()>>>,
}

impl Host {
    #[allow(clippy::too_many_arguments, reason = "one place makes them")]
    pub fn new(
        number: usize,
        session: Id,
        join: &str,
        dir: &Path,
        began: OffsetDateTime,
        random: &Random,
        server: &Arc<Server>,
        judge: &Arc<Judge>,
    ) -> Arc<Self> {
        let own = random.fork(number as u64);
        let (link, clock) = (Link::new(own.fork(1)), Wrong::default());
        let chance = Mutex::new(own.fork(2));
        let machine = Machine {
            clock: clock.clock(began),
            chance: Chance::new(move || Some(lock(&chance).next() as u32)),
            way: way(&link, server, &clock.clock(began)),
        };
        let file = dir.join(format!("join-{number}"));
        fs::write(&file, join).expect("a join file");
        let (shelf, process) = Default::default();
        let (dir, judge) = (dir.join(format!("agent-{number}")), judge.clone());
        Arc::new(Self { number, session, link, clock, machine, dir, join: file, shelf, judge, process })
    }

    pub fn is_up(&self) -> bool {
        lock(&self.process).is_some()
    }

    pub fn start(self: &Arc<Self>) {
        let mut process = lock(&self.process);
        if process.is_none() {
            self.judge.tell(format!("agent {}: starts", self.number));
            *process = Some(tokio::task::spawn_local(self.clone().live()));
        }
    }

    /// The process is gone, or with it the machine that would tell.
    pub fn kill(&self, machine: bool) {
        if let Some(process) = lock(&self.process).take() {
            self.judge.tell(format!(
                "agent {}: killed{}",
                self.number,
                if machine { ", with its machine" } else { "" }
            ));
            process.abort();
            self.link.lose(Side::Agent, !machine);
        }
    }

    /// What [`super::Planted::OlderFiles`] puts back: the files as they were at the first kill.
    pub fn put_aside(&self) {
        let aside = self.dir.with_extension("aside");
        if !aside.exists() && self.dir.join("manifest.json").exists() {
            copy(&self.dir, &aside);
        }
    }

    pub fn put_back(&self) {
        let aside = self.dir.with_extension("aside");
        if aside.exists() {
            let _ = fs::remove_dir_all(&self.dir);
            copy(&aside, &self.dir);
        }
    }

    /// As systemd would, it starts what failed again.
    async fn live(self: Arc<Self>) {
        loop {
            let mut process = pin!(self.process());
            let lived = std::future::poll_fn(|cx| {
                let polled = process.as_mut().poll(cx);
                self.judge.look(self.number, &self.dir);
                polled
            });
            let Err(error) = lived.await;
            self.judge.tell(format!("agent {}: failed: {error}", self.number));
            sleep(Duration::from_secs(2)).await;
        }
    }

    async fn process(&self) -> Result<Infallible, Error> {
        let local = |e: &dyn std::fmt::Display| Error::Local(e.to_string());
        let options = Options { allow_swappable: true, ..Options::default() };
        let dir = RuntimeDir::prepare(&self.dir, options).map_err(|e| local(&e))?;
        let leaks = mpsc::channel(10);
        let (redacting, _) = Redacting::new(JournalMode::Off, leaks.0.clone())?;
        let settings = Settings {
            join_file: Some(self.join.clone()),
            join: config::Join::default(),
            boot: BootPolicy { deadline: Some(600), on_failure: None },
            floor: Rung::None,
            once: false,
            sockets: Sockets { unix: PathBuf::new(), group: None, tcp: None, metrics: None },
            journal: JournalMode::Off,
            machine: self.machine.clone(),
        };
        let mut agent = Agent::new(dir, settings, redacting, leaks, Keeper::of(self.shelf.clone()))?;
        let (identified, summary) = agent.begin().await?.ok_or_else(|| local(&"it ended"))?;
        Ok(agent.speak(&identified, &summary).await)
    }

    /// Whether the server has its stream.
    pub fn is_heard(&self, server: &Server, org: &OrgName) -> bool {
        server.connected(org, &self.session)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

/// Over a link to the server, with what a handshake would look at.
pub fn way(link: &Arc<Link>, server: &Arc<Server>, clock: &Clock) -> Way {
    let (link, server, clock) = (link.clone(), server.clone(), clock.clone());
    Way::new(Arc::new(move |certificate| {
        let (link, server, clock) = (link.clone(), server.clone(), clock.clone());
        Box::pin(async move {
            link.greet().await;
            if !server.is_up() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            link.greet().await; // the handshake
            server.admits(certificate.as_ref(), clock.now()).map_err(io::Error::other)?;
            let (own, theirs) = link.connect();
            match server.accept(theirs, certificate) {
                true => Ok(Box::new(own) as Box<dyn Bytes>),
                false => Err(io::ErrorKind::ConnectionReset.into()),
            }
        })
    }))
}
