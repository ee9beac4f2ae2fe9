//! The agent's life, from its start to the files, and from there to its end.
//!
//! ```text
//! kept identity ─┐                            deadline passed, or refused:
//! join string ───┴─► enrol ─► fetch ─► files ─┬─ block:    the unit fails, what waits for it stays closed
//!                      │                      └─ continue: READY=1 without secrets, told to whoever logs in; trying on
//!                      └─ kept before and after          READY=1 ─► report ─► renewed at 70 % of life ─► SIGTERM: wiped
//! ```
//!
//! Who goes on without secrets, or fails, reports that too, if there is an identity to report with.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use rcgen::KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::OffsetDateTime;
use tokio::{signal::unix::SignalKind, sync::mpsc, time::Instant};
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::{
    config::{self, JournalMode},
    fetch::{self, Fetched},
    files::{self, Item, Manifest, Set},
    fingerprints::Redacting,
    kept::{Enrolled, Keeper, Kept},
    leaks::Leak,
    machine::Machine,
    notify, report, retry,
    runtime_dir::RuntimeDir,
    serve::{self, Identified, Place},
    source::{self, Found},
    status::{self, Sockets, Status},
};
use crate::{
    client::{self, Counter, Credentials, Error},
    domain::{
        boot::{BootPolicy, OnFailure},
        identity::{Identity, Subject},
        report::Phase,
    },
    memory::Rung,
    tls,
    wire::v1::AgentStatus,
};

/// What a run is told by flags and configuration.
pub struct Settings {
    pub join_file: Option<PathBuf>,
    pub join: config::Join,
    pub boot: BootPolicy,
    /// The weakest memory that values may lie in.
    pub floor: Rung,
    /// Exit when the files are in place.
    pub once: bool,
    /// Where others ask how this agent is.
    pub sockets: Sockets,
    /// Who redacts what is logged.
    pub journal: JournalMode,
    pub machine: Machine,
}

pub async fn run(dir: RuntimeDir, settings: Settings) -> Result<(), Error> {
    let stop = stop_signal()?;
    let leaks = mpsc::channel(1_000);
    let (redacting, handing) = Redacting::new(settings.journal, leaks.0.clone())?;
    let handing = async {
        handing.await;
        std::future::pending().await
    };
    let mut agent = Agent::new(dir, settings, redacting, leaks, Keeper::restore())?;
    let status = agent.status.clone();
    let answering = match agent.settings.once {
        true => None,
        false => Some(status::serve(&agent.settings.sockets, status).map_err(local)?),
    };
    let answering = async {
        match answering {
            Some(answering) => answering.await,
            None => std::future::pending().await,
        }
    };
    let lived = tokio::select! {
        never = answering => match never {},
        never = handing => never,
        () = stop => Ok(()),
        () = notify::watchdog() => Ok(()),
        lived = agent.live() => lived,
    };
    if agent.settings.once || lived.is_err() {
        return lived; // what is in place stays, whole
    }
    notify::stopping();
    agent.dir.remove().map_err(local)
}

pub struct Agent {
    dir: Arc<RuntimeDir>,
    status: Status,
    settings: Settings,
    keeper: Keeper,
    /// What an earlier process left.
    key: Option<Zeroizing<Vec<u8>>>,
    enrolled: Option<Enrolled>,
    /// Found, and not used yet.
    join: Option<Found>,
    started: Instant,
    /// The last fetch's, for the report that follows.
    channel: Option<Channel>,
    /// For the control plane, as soon as there is a connection.
    untold: Option<AgentStatus>,
    /// Why the VM is open without its secrets, while it is.
    problem: Option<String>,
    redacting: Redacting,
    /// Both ends.
    leaks: (mpsc::Sender<Leak>, mpsc::Receiver<Leak>),
}

/// What is in place.
pub struct Installed {
    /// In words.
    pub summary: String,
    pub report: AgentStatus,
}

impl Agent {
    /// `keeper`: and what it kept.
    pub fn new(
        dir: RuntimeDir,
        settings: Settings,
        redacting: Redacting,
        leaks: (mpsc::Sender<Leak>, mpsc::Receiver<Leak>),
        (keeper, kept): (Keeper, Option<Kept>),
    ) -> Result<Self, Error> {
        let dir = Arc::new(dir);
        let status = Status::new(dir.clone(), settings.machine.clone());
        let (key, enrolled) = kept.map_or((None, None), |Kept { key, enrolled }| (Some(key), enrolled));
        if let Some(Enrolled { credentials, address, .. }) = &enrolled {
            status.identity(identity(credentials)?.subject.name(), address, credentials)?;
            tracing::info!(not_after = %credentials.not_after, "an earlier process's identity was kept");
        }
        Ok(Self {
            dir,
            status,
            settings,
            keeper,
            key,
            enrolled,
            join: None,
            started: Instant::now(),
            channel: None,
            untold: None,
            problem: None,
            redacting,
            leaks,
        })
    }

    async fn live(&mut self) -> Result<(), Error> {
        let Some((identified, summary)) = self.begin().await? else { return Ok(()) };
        let (keeper, leaks) = (&mut self.keeper, &mut self.leaks);
        let place = place(&self.dir, &self.settings, &self.redacting, &self.status);
        match serve::serve(&identified, keeper, &place, leaks, &summary).await {}
    }

    /// As it goes on after [`Agent::begin`], with nothing but the control plane.
    #[cfg(all(test, feature = "server"))]
    pub async fn speak(&mut self, identified: &Identified, summary: &str) -> std::convert::Infallible {
        let place = place(&self.dir, &self.settings, &self.redacting, &self.status);
        serve::speak(identified, &mut self.keeper, &place, summary).await
    }

    /// Until the files are in place and the control plane was told. Gives what it takes to go on, unless this was to be all.
    pub async fn begin(&mut self) -> Result<Option<(Identified, String)>, Error> {
        let Installed { summary, report } = match self.boot().await {
            Ok(installed) => installed,
            Err(error) if self.policy().on_failure() == OnFailure::Continue && !self.settings.once => {
                self.without(error).await?
            }
            Err(error) => {
                let report = report::without(report::end(&error), &error);
                self.status.say(&report);
                if !error.is_unreachable() {
                    self.report(report).await;
                }
                return Err(error);
            }
        };
        tracing::info!("{summary}");
        files::tell_problem(&self.dir, None, self.settings.floor).map_err(local)?;
        notify::ready(&summary);
        self.status.say(&report);
        self.report(report).await;
        let Some(enrolled) = self.enrolled.take().filter(|_| !self.settings.once) else { return Ok(None) };
        let own = identity(&enrolled.credentials)?;
        Ok(Some((Identified::new(enrolled, own, self.settings.machine.clone()), summary)))
    }

    fn policy(&self) -> BootPolicy {
        let environment = match (&self.enrolled, &self.join) {
            (Some(enrolled), _) => enrolled.boot,
            (None, Some(found)) => found.join.boot,
            (None, None) => BootPolicy::default(),
        };
        self.settings.boot.or(environment)
    }

    /// Tells the control plane, if there is an identity to tell it with. Whether that succeeds changes nothing.
    async fn report(&mut self, status: AgentStatus) {
        if let Err(error) = self.tell(status).await {
            tracing::warn!(%error, "the control plane was not told");
        }
    }

    async fn tell(&mut self, status: AgentStatus) -> Result<(), Error> {
        let Some(Enrolled { credentials, address, .. }) = &self.enrolled else { return Ok(()) };
        let kept = self.channel.take();
        let channel = async {
            match kept {
                Some(channel) => Ok(channel),
                None => self.settings.machine.way.connect_as(address, credentials).await,
            }
        };
        report::send(channel, Some(status), &[]).await?;
        self.status.contact();
        Ok(())
    }

    /// From nothing to the files, within the deadline. Gives what there is to say of it.
    async fn boot(&mut self) -> Result<Installed, Error> {
        if self.enrolled.is_none() {
            // First of all: it tells how long to try.
            notify::status("looking for the join string");
            let deadline = self.deadline();
            let (file, dir, config) = (self.settings.join_file.as_deref(), self.dir.path(), &self.settings.join);
            let look = async || source::find(file, dir, config).await;
            self.join = Some(
                retry::until(&self.settings.machine.chance, Some(deadline), "looking for the join string", look)
                    .await?,
            );
        }
        let deadline = self.deadline();
        self.install_until(Some(deadline)).await
    }

    fn deadline(&self) -> Instant {
        let deadline = self.started + Duration::from_secs(self.policy().deadline().into());
        notify::patience(deadline.saturating_duration_since(Instant::now()));
        deadline
    }

    /// The VM opens without its secrets, visibly, and gets them later if that can be.
    async fn without(&mut self, mut error: Error) -> Result<Installed, Error> {
        tracing::error!(%error, "going on without secrets, as boot.on_failure says");
        self.tell_problem(&error)?;
        notify::ready(&self.phase("waiting"));
        self.status.say(&report::without(Phase::Degraded, &error));
        if error.is_transient() {
            self.untold = Some(report::without(Phase::Degraded, &error));
            if self.enrolled.is_none() && self.join.is_none() {
                let (file, dir, config) = (self.settings.join_file.as_deref(), self.dir.path(), &self.settings.join);
                let (chance, look) = (&self.settings.machine.chance, async || source::find(file, dir, config).await);
                self.join = Some(retry::until(chance, None, "looking for the join string", look).await?);
            }
            match self.install_until(None).await {
                Ok(Installed { summary, report }) => {
                    return Ok(Installed { summary: format!("late: {summary}"), report });
                }
                Err(later) => error = later,
            }
            self.tell_problem(&error)?;
            notify::status(&self.phase("given up"));
        }
        // Nothing changes from here on until somebody restarts the unit.
        let status = report::without(Phase::Degraded, &error);
        self.status.say(&status);
        let chance = self.settings.machine.chance.clone();
        let told = retry::until(&chance, None, "reporting", async || self.tell(status.clone()).await).await;
        if let Err(error) = told {
            tracing::warn!(%error, "the control plane was not told");
        }
        std::future::pending().await
    }

    /// To whoever logs in.
    fn tell_problem(&mut self, error: &Error) -> Result<(), Error> {
        let problem = self.problem.insert(format!("this session has no secrets: {error}"));
        files::tell_problem(&self.dir, Some(problem), self.settings.floor).map_err(local)
    }

    /// What to say of a phase: while the VM is open without its secrets, that first.
    fn phase(&self, phase: &str) -> String {
        self.problem.as_ref().map_or_else(|| phase.to_owned(), |problem| format!("degraded: {problem}; {phase}"))
    }

    async fn install_until(&mut self, deadline: Option<Instant>) -> Result<Installed, Error> {
        self.enrol(deadline).await?;
        let Some(Enrolled { credentials, address, .. }) = &self.enrolled else {
            return Err(Error::Local("enrolled without an identity".into()));
        };
        let own = identity(credentials)?;
        if let Some(manifest) = self.in_place(&own)? {
            let prepared = self.redacting.prepare(&self.dir, own.subject.name(), &[]).await?;
            files::tell_fingerprints(&self.dir, &prepared.encoded, self.settings.floor).map_err(local)?;
            let files = self.dir.rung().as_str();
            let summary = format!(
                "{} variables in {} (bundle {}, memory {}, files {files}), as an earlier process left them",
                manifest.variables.len(),
                self.dir.path().display(),
                manifest.bundle_version,
                manifest.memory,
            );
            let report = report::ready(&manifest.bundle_version, &manifest.memory, files);
            self.status.installed(&manifest);
            return Ok(Installed { summary, report });
        }
        notify::status(&self.phase("fetching"));
        self.status.phase(Phase::Fetching);
        let floor = self.settings.floor;
        let Machine { chance, way, .. } = &self.settings.machine;
        let fetched = retry::until(chance, deadline, "fetching the bundle", async || {
            let channel = way.connect_as(address, credentials).await?;
            if let Some(status) = self.untold.take()
                && let Err(error) = report::send(std::future::ready(Ok(channel.clone())), Some(status), &[]).await
            {
                tracing::warn!(%error, "the control plane was not told");
            }
            self.channel = Some(channel.clone());
            fetch::fetch(channel, &own, floor).await
        })
        .await?;
        let prepared = self.redacting.prepare(&self.dir, own.subject.name(), &fetched.entries).await?;
        let installed = install(&self.dir, &fetched, &prepared.encoded, floor, self.settings.machine.clock.now())?;
        self.status.contact();
        if let Some(manifest) = files::read_manifest(&self.dir).map_err(local)? {
            self.status.installed(&manifest);
        }
        Ok(installed)
    }

    /// Redeems the join string, unless there is an identity.
    async fn enrol(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        if self.enrolled.is_some() {
            return Ok(());
        }
        let Some(Found { join, file }) = &self.join else { return Err(Error::Local("no join string".into())) };
        notify::status(&self.phase("enrolling"));
        self.status.phase(Phase::Enrolling);
        let key = match &self.key {
            Some(kept) => KeyPair::try_from(&PrivatePkcs8KeyDer::from(&kept[..]))
                .map_err(|e| Error::Local(format!("the kept key: {e}")))?,
            None => client::new_key()?,
        };
        let der = Zeroizing::new(key.serialize_der());
        self.keeper.keep(&der, None);
        self.key = Some(der);
        let Machine { clock, chance, way } = &self.settings.machine;
        let enrol = async || client::enrol_by(way, join, &key, clock.now()).await;
        let credentials = retry::until(chance, deadline, "enrolling", enrol).await?;
        let address = client::locate(&join.address)?;
        let counter = Counter { renewals: Some(0), attempt: Vec::new() };
        self.keeper.keep(&credentials.key, Some((&credentials, &address, join.boot, &counter)));
        let own = identity(&credentials)?;
        self.status.identity(own.subject.name(), &address, &credentials)?;
        self.status.contact();
        tracing::info!(session = own.subject.name(), org = %own.org, "enrolled");
        if let Some(file) = file {
            // The token is spent; the file only invites confusion.
            if let Err(error) = fs::remove_file(file) {
                tracing::warn!(file = %file.display(), %error, "the used join file could not be removed");
            }
        }
        self.enrolled = Some(Enrolled { credentials, address, boot: join.boot, counter });
        (self.join, self.key) = (None, None);
        Ok(())
    }

    /// The set that an earlier process of this session left, if all of it is there.
    fn in_place(&self, own: &Identity) -> Result<Option<Manifest>, Error> {
        let manifest = files::read_manifest(&self.dir).map_err(local)?;
        let ours = manifest.filter(|m| m.session == own.subject.name() && m.organization == own.org.as_str());
        match ours {
            Some(manifest) if files::is_whole(&self.dir, &manifest).map_err(local)? => Ok(Some(manifest)),
            _ => Ok(None),
        }
    }
}

/// Puts a bundle in place, whole.
pub fn install(
    dir: &RuntimeDir,
    fetched: &Fetched,
    fingerprints: &[u8],
    floor: Rung,
    at: OffsetDateTime,
) -> Result<Installed, Error> {
    let items: Vec<Item<'_>> = fetched
        .entries
        .iter()
        .map(|e| Item {
            variable: &e.variable,
            name: &e.name,
            origin: e.origin,
            version: &e.version,
            delivery: e.delivery,
            value: &e.value,
        })
        .collect();
    let set = Set {
        bundle_version: &fetched.bundle_version,
        sequence: fetched.sequence,
        organization: &fetched.organization,
        session: &fetched.session,
        user: &fetched.user,
        environment: &fetched.environment,
        environment_version: fetched.environment_version,
        memory: fetched.rung,
        installed_at: at,
        items: &items,
        left_out: &fetched.left_out,
        fingerprints,
    };
    files::install(dir, &set, floor).map_err(local)?;
    let (memory, files) = (fetched.rung.as_str(), dir.rung().as_str());
    let summary = format!(
        "{} variables in {} (bundle {}, memory {memory}, files {files})",
        items.len(),
        dir.path().display(),
        fetched.bundle_version,
    );
    Ok(Installed { summary, report: report::ready(&fetched.bundle_version, memory, files) })
}

fn place<'a>(dir: &'a RuntimeDir, settings: &Settings, redacting: &'a Redacting, status: &'a Status) -> Place<'a> {
    Place { dir, group: dir.group(), floor: settings.floor, redacting, status }
}

fn identity(credentials: &Credentials) -> Result<Identity, Error> {
    let identity = credentials.chain.first().and_then(tls::identity_of);
    identity
        .filter(|i| matches!(i.subject, Subject::Session(_)))
        .ok_or_else(|| Error::Local("the control plane gave no session's certificate".into()))
}

fn local(error: impl std::fmt::Display) -> Error {
    Error::Local(error.to_string())
}

fn stop_signal() -> Result<impl Future<Output = ()>, Error> {
    let on = |kind| tokio::signal::unix::signal(kind).map_err(|e| Error::Local(format!("signals: {e}")));
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
