//! One seed, from the first boot to the verdict.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::LocalSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Status, transport::Channel};

use super::{
    Planted,
    agent::{Host, Wrong, way},
    given::{self, Given},
    judge::Judge,
    network::{Link, lock},
    random::Random,
    server::{ADDRESS, Server},
    weather::{Deed, Event, Weather},
};
use crate::{
    agent::machine::Machine,
    client::Way,
    server::ca::Lives,
    wire::v1::{
        self, PushOptions, audit_service_client::AuditServiceClient, create_rollout_request::Reach,
        rollout_service_client::RolloutServiceClient, secret_service_client::SecretServiceClient,
        session_service_client::SessionServiceClient,
    },
};

/// What came of a seed.
pub struct Outcome {
    pub trace: Vec<String>,
    /// What must not be.
    pub wrong: Vec<String>,
}

/// After the last fault, all that can be reached has the newest within this: a stream that is dead is noticed within 30 s, and the
/// longest wait for another try is 60 s.
const CONVERGED: Duration = Duration::from_secs(200);
/// And all rollouts are over: an hour more than the longest patience, since a clock may have been an hour ahead when one began.
const OVER: Duration = Duration::from_secs(3_600 + 300);
/// Within which a stream is cut, and its agent has taken the files away.
const CUT: Duration = Duration::from_secs(1);

pub fn play(seed: u64, planted: Option<Planted>) -> Outcome {
    let given = given::get();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let judge = LocalSet::new().block_on(&runtime.expect("a runtime"), perform(seed, planted, given));
    let (trace, wrong) = judge.verdict();
    Outcome { trace, wrong }
}

struct Stage {
    judge: Arc<Judge>,
    server: Arc<Server>,
    clock: Wrong,
    agents: Vec<Arc<Host>>,
    /// The admin's.
    way: Way,
    given: &'static Given,
    /// The last value that was given out, whether or not it was saved.
    value: AtomicU64,
    /// Sessions that an admin has ended, or has tried to.
    over: Mutex<BTreeSet<usize>>,
    /// Those of them of which nobody knows, since the server did not answer.
    unsure: Mutex<BTreeSet<usize>>,
    /// Machines that do not come back.
    lost: Mutex<BTreeSet<usize>>,
}

async fn perform(seed: u64, planted: Option<Planted>, given: &'static Given) -> Arc<Judge> {
    let mut random = Random::new(seed);
    let weather = Weather::of(&mut random, given::MOST as u64);
    let dir = tempfile::Builder::new().prefix("keyfob-seed-").tempdir_in("/dev/shm").expect("/dev/shm is there");
    given.copy_to(dir.path());
    let sessions: Vec<_> = given.sessions.iter().map(|(id, _)| id.clone()).collect();
    let judge = Arc::new(Judge::new(dir.path().join("keyfob.db"), &sessions));
    let (began, clock) = (given::began(), Wrong::default());
    let hearing = judge.clone();
    let lives = Lives { session: time::Duration::minutes(weather.life), ..Lives::default() };
    let hear = Arc::new(move |notices: &[_]| hearing.hear(notices));
    let server = Server::new(dir.path(), clock.clock(began), lives, random.fork(101), hear, planted).expect("a server");
    let host = |(number, (id, join)): (usize, &(_, String))| {
        Host::new(number, Clone::clone(id), join, dir.path(), began, &random.fork(102), &server, &judge)
    };
    let agents = given.sessions.iter().take(weather.agents).enumerate().map(host).collect();
    let way = way(
        &Link::new(random.fork(103)),
        &server,
        &Machine { clock: Wrong::default().clock(began), ..Default::default() }.clock,
    );
    let (value, over, unsure, lost) = (AtomicU64::new(1), Mutex::default(), Mutex::default(), Mutex::default());
    let stage = Arc::new(Stage { judge: judge.clone(), server, clock, agents, way, given, value, over, unsure, lost });
    stage.judge.tell(format!("{} agents, certificates of {} minutes", weather.agents, weather.life));
    stage.server.start().await.expect("it starts");
    stage.agents.iter().for_each(Host::start);

    let (deeds, mut asked) = mpsc::unbounded_channel();
    let acting = stage.clone();
    let admin = tokio::task::spawn_local(async move {
        while let Some(deed) = asked.recv().await {
            acting.act(deed).await;
        }
    });
    let start = Instant::now();
    for (at, event) in &weather.events {
        sleep_until(start + Duration::from_millis(*at)).await;
        stage.judge.tell(format!("{event:?}"));
        match event {
            Event::Deed(deed) => drop(deeds.send(*deed)),
            event => stage.happens(event, planted).await,
        }
    }
    sleep_until(start + Duration::from_millis(weather.length)).await;
    stage.clear().await;
    drop(deeds);
    let _ = admin.await;
    stage.end(&weather).await;
    judge
}

impl Stage {
    async fn happens(&self, event: &Event, planted: Option<Planted>) {
        match *event {
            Event::Block(agent, side, blocked) => self.agents[agent].link.block(side, blocked),
            Event::Slow(agent, slow) => self.agents[agent].link.slow(slow),
            Event::Cut(agent) => self.agents[agent].link.cut(),
            Event::KillAgent(agent, machine) => {
                self.agents[agent].kill(machine);
                if planted == Some(Planted::OlderFiles) {
                    self.agents[agent].put_aside();
                }
                lock(&self.lost).insert(agent);
            }
            Event::StartAgent(agent) => {
                if planted == Some(Planted::OlderFiles) {
                    self.agents[agent].put_back();
                }
                lock(&self.lost).remove(&agent);
                self.agents[agent].start();
            }
            Event::KillServer => self.kill_server(),
            Event::StartServer => self.start_server().await,
            Event::SendAway => self.server.send_away(),
            Event::Clock(None, by) => self.clock.by(by),
            Event::Clock(Some(agent), by) => self.agents[agent].clock.by(by),
            Event::Deed(_) => {}
        }
    }

    fn kill_server(&self) {
        self.judge.forget_connection();
        self.server.kill();
        self.agents.iter().for_each(|agent| agent.link.lose(super::network::Side::Server, true));
    }

    async fn start_server(&self) {
        if !self.server.is_up() {
            self.server.start().await.expect("it starts");
        }
    }

    /// All faults are over.
    async fn clear(&self) {
        self.judge.tell("all is well from here on");
        for agent in &self.agents {
            for side in [super::network::Side::Agent, super::network::Side::Server] {
                agent.link.block(side, false);
            }
            agent.link.slow(None);
            agent.clock.by(0);
        }
        self.clock.by(0);
        self.start_server().await;
    }

    // === what the admin does

    async fn act(&self, deed: Deed) {
        let done = match deed {
            Deed::Rotate(pace) => self.rotate(pace).await,
            Deed::Push(at_once, patience) => self.push(at_once, patience).await,
            Deed::Revoke(agent) | Deed::End(agent) => self.revoke(agent, matches!(deed, Deed::End(_))).await,
        };
        match done {
            Ok(()) => self.judge.tell(format!("{deed:?}: done")),
            Err(error) => self.judge.tell(format!("{deed:?}: {:?}", error.code())),
        }
    }

    async fn admin(&self) -> Result<Channel, Status> {
        let connecting = timeout(Duration::from_secs(15), self.way.connect_as(ADDRESS, &self.given.admin)).await;
        connecting.ok().and_then(Result::ok).ok_or_else(|| Status::unavailable("no way to the server"))
    }

    async fn rotate(&self, pace: Option<(u32, u32)>) -> Result<(), Status> {
        let channel = self.admin().await?;
        self.server.put_aside();
        let value = self.value.fetch_add(1, Relaxed) + 1;
        let request = v1::RotateSecretRequest {
            r#ref: Some(v1::SecretRef {
                name: "counter".into(),
                visibility: v1::Visibility::Shared.into(),
                ..Default::default()
            }),
            value: Some(given::plain(value)),
            expected_version: String::new(),
            push: pace.map(options),
        };
        let rollout = SecretServiceClient::new(channel).rotate_secret(request).await?.into_inner().rollout;
        self.judge.pushed(&rollout, value);
        self.judge.tell(format!("admin: {value} is saved"));
        Ok(())
    }

    async fn push(&self, at_once: u32, patience: u32) -> Result<(), Status> {
        let channel = self.admin().await?;
        let options = Some(options((at_once, patience)));
        let request = v1::CreateRolloutRequest { reach: Some(Reach::All(true)), options };
        RolloutServiceClient::new(channel).create_rollout(request).await.map(drop)
    }

    async fn revoke(&self, agent: usize, end: bool) -> Result<(), Status> {
        let channel = self.admin().await?;
        let host = &self.agents[agent];
        let heard = host.is_up() && host.link.is_good() && host.is_heard(&self.server, &given::org());
        lock(&self.over).insert(agent);
        lock(&self.unsure).insert(agent);
        let (id, mut sessions) = (host.session.to_string(), SessionServiceClient::new(channel));
        if end {
            sessions.end_session(v1::EndSessionRequest { id }).await?;
        } else {
            sessions.revoke_session(v1::RevokeSessionRequest { id }).await?;
        }
        lock(&self.unsure).remove(&agent);
        if host.is_heard(&self.server, &given::org()) {
            self.judge.wrong(format!("agent {agent}: revoked, and still listened to"));
        }
        // Its link may go bad, its process may go, and neither is the server's fault.
        let until = Instant::now() + CUT;
        let mut good = heard;
        while Instant::now() < until {
            sleep(Duration::from_millis(50)).await;
            good &= host.is_up() && host.link.is_good();
        }
        if good && !self.judge.seen(agent).withdrawn {
            self.judge.wrong(format!("agent {agent}: revoked a second ago, and its files are there"));
        }
        Ok(())
    }

    // === the end

    async fn end(&self, weather: &Weather) {
        let (over, lost) = (lock(&self.over).clone(), lock(&self.lost).clone());
        loop {
            match self.rotate(Some((0, 30))).await {
                Ok(()) => break,
                Err(error) => self.judge.tell(format!("the last rotation: {:?}", error.code())),
            }
            sleep(Duration::from_secs(1)).await;
        }
        // Who was not answered asks again.
        let unsure = lock(&self.unsure).clone();
        for agent in unsure.difference(&lost).copied() {
            for _ in 0..60 {
                let Err(error) = self.revoke(agent, false).await else { break };
                self.judge.tell(format!("revoking {agent} again: {:?}", error.code()));
                sleep(Duration::from_secs(1)).await;
            }
        }
        let newest = self.value.load(Relaxed);
        let live: Vec<usize> = (0..weather.agents).filter(|a| !over.contains(a) && !lost.contains(a)).collect();
        let end = Instant::now() + CONVERGED;
        let left =
            |agents: &[usize]| agents.iter().copied().filter(|a| self.judge.newest(*a) != newest).collect::<Vec<_>>();
        let kept = || {
            let kept = |agent: &usize| {
                let seen = self.judge.seen(*agent);
                !seen.withdrawn && !seen.installed.is_empty()
            };
            over.iter().copied().filter(|a| !lost.contains(a)).filter(kept).collect::<Vec<_>>()
        };
        let gone = over.union(&lost).copied().collect();
        let done = || left(&live).is_empty() && kept().is_empty() && self.judge.unanswered(&gone).is_empty();
        while !done() && Instant::now() < end {
            sleep(Duration::from_millis(500)).await;
        }
        for agent in left(&live) {
            self.judge.wrong(format!("agent {agent} has {}, and {newest} is the newest", self.judge.newest(agent)));
        }
        for agent in kept() {
            self.judge.wrong(format!("agent {agent}: over, and its files are there"));
        }
        if self.judge.open_rollouts() > 0 {
            // With sessions that do not come back: a server that is started anew gives them up, though nobody asks it to.
            self.kill_server();
            sleep(Duration::from_secs(1)).await;
            self.start_server().await;
        }
        let end = Instant::now() + OVER;
        while self.judge.open_rollouts() > 0 && Instant::now() < end {
            sleep(Duration::from_secs(5)).await;
        }
        if self.judge.open_rollouts() > 0 {
            self.judge.wrong("a rollout does not end");
        }
        sleep(Duration::from_secs(2)).await; // the last answers are on their way
        self.judge.answers(&gone);
        self.judge.ends();
        self.judge.deliveries();
        match self.admin().await {
            Ok(channel) => {
                let verified = AuditServiceClient::new(channel).verify_audit(v1::VerifyAuditRequest::default()).await;
                let verified = verified.map(tonic::Response::into_inner);
                if !verified.as_ref().is_ok_and(|found| found.intact) {
                    self.judge.wrong(format!("the audit chain: {verified:?}"));
                }
            }
            Err(error) => self.judge.wrong(format!("the server is not there: {error}")),
        }
    }
}

fn options((max_in_flight, patience_seconds): (u32, u32)) -> PushOptions {
    PushOptions { max_in_flight, patience_seconds }
}
