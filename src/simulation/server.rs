//! The control plane's machine: one process after the other over the same database.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::{sync::Notify, task::JoinHandle, time::sleep};
use tonic::service::Routes;

use super::{
    Planted,
    network::{End, lock},
    random::Random,
};
use crate::{
    clock::Clock,
    domain::name::{Id, OrgName},
    seal::RecipientKey,
    server::{
        ca::{Authority, Lives},
        edge::{self, Limits, Peer, Stats},
        grpc::{self, App},
        keyring::Keyring,
        rollouts,
        store::{Notice, Store, new_id},
        streams::Streams,
    },
};

/// Where agents believe it to be.
pub const ADDRESS: &str = "server.simulated:7443";
/// How often agents report.
const BEAT: Duration = Duration::from_secs(120);

/// Hears what every process of the server announces, after it is committed.
pub type Hear = Arc<dyn Fn(&[Notice]) + Send + Sync>;

pub struct Server {
    dir: PathBuf,
    keyring: Arc<Keyring>,
    clock: Clock,
    lives: Lives,
    random: Random,
    hear: Hear,
    planted: Option<Planted>,
    started: Mutex<u64>,
    process: Mutex<Option<Process>>,
}

struct Process {
    alive: Arc<AtomicBool>,
    store: Store,
    streams: Arc<Streams>,
    routes: Routes,
    limits: Limits,
    stats: Arc<Stats>,
    driver: JoinHandle<()>,
    connections: Vec<Arc<Notify>>,
    /// From when to when its certificate is good.
    own: Range<OffsetDateTime>,
}

impl Server {
    pub fn new(
        dir: &Path,
        clock: Clock,
        lives: Lives,
        random: Random,
        hear: Hear,
        planted: Option<Planted>,
    ) -> Result<Arc<Self>, String> {
        let keyring = Arc::new(Keyring::load(&dir.join("keyring"))?);
        let (started, process) = Default::default();
        Ok(Arc::new(Self { dir: dir.to_owned(), keyring, clock, lives, random, hear, planted, started, process }))
    }

    pub fn database(&self) -> PathBuf {
        self.dir.join("keyfob.db")
    }

    pub fn is_up(&self) -> bool {
        lock(&self.process).is_some()
    }

    /// A store as a process of the server has it: what it is asked for it does a moment later, or never, if it is not alive then.
    pub fn store(&self, number: u64, alive: Arc<AtomicBool>, streams: Arc<Streams>) -> Result<Store, String> {
        let (hear, random) = (self.hear.clone(), Arc::new(Mutex::new(self.random.fork(number))));
        let turn = move || {
            let milliseconds = {
                let mut random = lock(&random);
                if random.one_in(20) { random.within(20, 400) } else { random.within(1, 3) }
            };
            let alive = alive.clone();
            let turn: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                sleep(Duration::from_millis(milliseconds)).await;
                if !alive.load(Relaxed) {
                    std::future::pending::<()>().await;
                }
            });
            turn
        };
        let deaf = self.planted == Some(Planted::DeafAfterRestart) && number > 1;
        let listener = move |mut notices: Vec<Notice>| {
            hear(&notices);
            if deaf {
                notices.retain(|notice| !matches!(notice, Notice::Due { .. }));
            }
            streams.hear(notices);
        };
        Store::in_turn(&self.database(), self.keyring.clone(), Box::new(listener), self.clock.clone(), Box::new(turn))
            .map_err(|e| e.to_string())
    }

    /// As `server::serve` does it.
    pub async fn start(&self) -> Result<(), String> {
        let number = {
            let mut started = lock(&self.started);
            *started += 1;
            *started
        };
        let (alive, streams) = (Arc::new(AtomicBool::new(true)), Streams::new());
        let store = self.store(number, alive.clone(), streams.clone())?;
        let driver = tokio::spawn(rollouts::drive(store.clone(), streams.clone()));
        let lives = self.lives;
        let authority = store
            .read(move |tx| Authority::load(tx, tx.setting("trust_domain")?.unwrap_or_default(), lives))
            .await
            .map_err(|e| e.to_string())?;
        let (keyed, _) = authority.issue_server(&[], self.clock.now()).map_err(|e| e.to_string())?;
        let own = dates(&keyed.chain[0]);
        let app = App {
            store: store.clone(),
            streams: streams.clone(),
            authority: Arc::new(authority),
            address: ADDRESS.into(),
            sealing_key: RecipientKey::generate().map_err(|e| e.to_string())?,
            sealing_key_id: new_id().map_err(|e| e.to_string())?,
            beat: BEAT,
            fleet: grpc::Fleet::default(),
            console: None,
        };
        let routes = grpc::routes(Arc::new(app)).await.map_err(|e| e.to_string())?;
        let (stats, limits) = (store.metrics().edge.clone(), Limits::default());
        let connections = Vec::new();
        *lock(&self.process) = Some(Process { alive, store, streams, routes, limits, stats, driver, connections, own });
        Ok(())
    }

    /// The process is gone from one moment to the other: what was not committed never will be.
    pub fn kill(&self) {
        if let Some(process) = lock(&self.process).take() {
            process.alive.store(false, Relaxed);
            process.driver.abort();
        }
        if self.planted == Some(Planted::ForgetsOnCrash) {
            self.put_back();
        }
    }

    /// What [`Planted::ForgetsOnCrash`] goes back to.
    pub fn put_aside(&self) {
        if self.planted == Some(Planted::ForgetsOnCrash)
            && let Some(process) = &*lock(&self.process)
        {
            let aside = self.dir.join("aside.db");
            let _ = fs::remove_file(&aside);
            process.store.backup(&aside).expect("a backup");
        }
    }

    fn put_back(&self) {
        let aside = self.dir.join("aside.db");
        if aside.exists() {
            for gone in ["keyfob.db", "keyfob.db-wal", "keyfob.db-shm"] {
                let _ = fs::remove_file(self.dir.join(gone));
            }
            fs::copy(&aside, self.database()).expect("a copy");
        }
    }

    /// Every connection is asked to come back, as one is that has become old.
    pub fn send_away(&self) {
        if let Some(process) = &*lock(&self.process) {
            process.connections.iter().for_each(|connection| connection.notify_one());
        }
    }

    /// Whose agents it has streams of, if it is up.
    pub fn connected(&self, org: &OrgName, session: &Id) -> bool {
        lock(&self.process).as_ref().is_some_and(|process| process.streams.connected(org).contains(session))
    }

    /// What a handshake looks at, on both sides.
    pub fn admits(
        &self,
        certificate: Option<&CertificateDer<'_>>,
        theirs: OffsetDateTime,
    ) -> Result<(), rustls::Error> {
        use rustls::{AlertDescription, CertificateError, Error};
        let process = lock(&self.process);
        let Some(process) = process.as_ref() else { return Ok(()) };
        match &process.own {
            own if theirs < own.start => return Err(Error::InvalidCertificate(CertificateError::NotValidYet)),
            own if theirs > own.end => return Err(Error::InvalidCertificate(CertificateError::Expired)),
            _ => {}
        }
        let (now, theirs) = (self.clock.now(), certificate.map(|certificate| dates(certificate)));
        match theirs {
            Some(dates) if !dates.contains(&now) => Err(Error::AlertReceived(AlertDescription::CertificateExpired)),
            _ => Ok(()),
        }
    }

    /// Serves a connection, as the edge does once a handshake is done. `false`: nobody is there.
    pub fn accept(&self, end: End, certificate: Option<CertificateDer<'static>>) -> bool {
        let mut process = lock(&self.process);
        let Some(process) = process.as_mut() else { return false };
        let away = Arc::new(Notify::new());
        process.connections.push(away.clone());
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), certificate: certificate.map(Arc::new) };
        let (service, stats) = (TowerToHyperService::new(process.routes.clone()), process.stats.clone());
        let (http2, limit) = (process.limits.http2(), process.limits.request_timeout);
        tokio::spawn(async move {
            let handler = service_fn(move |request: hyper::Request<Incoming>| {
                edge::answer(service.clone(), request, peer.clone(), limit, stats.clone())
            });
            let mut connection = std::pin::pin!(http2.serve_connection(TokioIo::new(end), handler));
            tokio::select! {
                biased;
                _ = connection.as_mut() => return,
                () = away.notified() => connection.as_mut().graceful_shutdown(),
            }
            let _ = tokio::time::timeout(Duration::from_secs(10), connection).await; // `Limits::drain`
        });
        true
    }
}

fn dates(certificate: &CertificateDer<'_>) -> Range<OffsetDateTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).expect("a certificate of ours");
    let validity = parsed.validity();
    validity.not_before.to_datetime()..validity.not_after.to_datetime()
}
