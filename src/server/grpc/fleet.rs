//! The fleet: agents as they last reported. List and Get look once; Watch looks every second at what the audit chain says has
//! changed, and at what was reported meanwhile, for as long as its caller may.

use std::{
    collections::{BTreeSet, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use prost::Message;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    App,
    convert::{page_size, timestamp},
    credential,
    sessions::{Shown, cursor, find},
};
use crate::{
    domain::{
        identity::{Caller, Identity, Role, Subject},
        name::{Id, OrgName},
        policy::{Action, Target, decide},
        report::Phase,
    },
    server::{
        error::Error,
        store::{Credential, SeenTwice, SessionRow, SessionState, Tx, View},
    },
    wire::v1::{self, FleetAgent, FleetFilter, WatchFleetResponse, fleet_service_server::FleetService},
};

/// So many beats without a report, and an agent is stale.
const STALE_AFTER: i64 = 3;
/// How often a watcher's rights and the chain are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long reports are gathered before they are told.
const GATHER: Duration = Duration::from_millis(200);
/// Reports that a watcher may lag behind before it looks at everything.
const LAG: usize = 4_096;
/// Agents in one message.
const CHUNK: usize = 200;
/// Messages that wait for a watcher.
const WAITING: usize = 4;

/// Where reports are told of, in this process.
pub struct Fleet(broadcast::Sender<(OrgName, Id)>);

impl Default for Fleet {
    fn default() -> Self {
        Self(broadcast::Sender::new(LAG))
    }
}

impl Fleet {
    pub(super) fn reported(&self, identity: Identity) {
        if let Subject::Session(id) = identity.subject {
            let _ = self.0.send((identity.org, id)); // fails where nobody watches
        }
    }
}

pub struct FleetCalls(pub Arc<App>);

#[tonic::async_trait]
impl FleetService for FleetCalls {
    async fn list_fleet(
        &self,
        request: Request<v1::ListFleetRequest>,
    ) -> Result<Response<v1::ListFleetResponse>, Status> {
        let credential = credential(&request)?;
        let v1::ListFleetRequest { filter, page_size: size, page_token } = request.into_inner();
        let (wanted, size, after) = (Wanted::parse(filter)?, page_size(size), cursor(&page_token)?);
        let beat = self.0.beat;
        let listed = self.0.store.read(move |tx| {
            let look = Look::new(tx, &credential, &wanted, beat)?;
            let mut due = HashMap::new();
            look.page(&mut due, after.as_ref().map(|(at, id)| (*at, id)), size)
        });
        let (agents, next) = listed.await?;
        let agents = agents.into_iter().filter_map(|(_, live)| live.filter(|l| l.passes)).map(|l| l.agent).collect();
        Ok(Response::new(v1::ListFleetResponse {
            agents,
            next_page_token: next.map(|(at, id)| format!("{at}.{id}")).unwrap_or_default(),
        }))
    }

    async fn get_fleet_agent(
        &self,
        request: Request<v1::GetFleetAgentRequest>,
    ) -> Result<Response<v1::GetFleetAgentResponse>, Status> {
        let credential = credential(&request)?;
        let id = request.into_inner().session;
        let beat = self.0.beat;
        let found = self.0.store.read(move |tx| {
            let caller = tx.caller(&credential)?;
            let (target, session) = find(tx, caller.org(), &id)?;
            tx.view(caller.org(), &decide(&caller, Action::SessionRead, &target), "session")?;
            let session = session.ok_or_else(|| Error::not_found("session"))?;
            let (due, clone) = (tx.due_bundle(caller.org(), &session)?, tx.clone_of(caller.org(), &session.id)?);
            Ok(agent(tx, &caller, session, due, clone.as_ref(), beat))
        });
        Ok(Response::new(v1::GetFleetAgentResponse { agent: Some(found.await?) }))
    }

    type WatchFleetStream = ReceiverStream<Result<WatchFleetResponse, Status>>;

    async fn watch_fleet(
        &self,
        request: Request<v1::WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        let credential = credential(&request)?;
        let wanted = Wanted::parse(request.into_inner().filter)?;
        // What is refused is refused before a stream begins.
        let (asking, asked) = (credential.clone(), wanted.clone());
        let beat = self.0.beat;
        self.0.store.read(move |tx| Look::new(tx, &asking, &asked, beat).map(drop)).await?;
        let (send, receive) = mpsc::channel(WAITING);
        tokio::spawn(Watcher::new(self.0.clone(), credential, wanted, send).watch());
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

/// A filter that was parsed.
#[derive(Debug, Clone, Default)]
struct Wanted {
    user: String,
    environment: String,
    phase: Option<Phase>,
    stale: bool,
    outdated: bool,
    cloned: bool,
}

impl Wanted {
    fn parse(filter: Option<FleetFilter>) -> Result<Self, Error> {
        let FleetFilter { user, environment, phase, stale, outdated, cloned } = filter.unwrap_or_default();
        let phase = v1::Phase::try_from(phase).map_err(|_| Error::Invalid("there is no such phase".into()))?;
        Ok(Self { user, environment, phase: phase.to_domain(), stale, outdated, cloned })
    }

    fn lets_through(&self, agent: &FleetAgent) -> bool {
        let Some(session) = &agent.session else { return false };
        let phase = session.agent.as_ref().and_then(|a| a.phase().to_domain());
        (self.user.is_empty() || self.user == session.user)
            && (self.environment.is_empty() || self.environment == session.environment)
            && (self.phase.is_none() || self.phase == phase)
            && (!self.stale || agent.stale)
            && (!self.outdated || agent.outdated)
            && (!self.cloned || agent.cloned_at.is_some())
    }
}

/// What sessions of a user in an environment's version would get now.
type Due = HashMap<(String, String, u64), Option<Id>>;
/// A session, and its agent while it is live.
type Looked = (Id, Option<Live>);

/// Some of them, and where to go on.
type Page = (Vec<Looked>, Option<(i64, Id)>);

struct Live {
    agent: FleetAgent,
    /// Whether the filter lets it through.
    passes: bool,
    /// When it will be stale if nothing more is heard; never, if it is.
    stale_at: i64,
}

/// One transaction's look at the fleet, as one caller may see it.
struct Look<'a> {
    tx: &'a Tx<'a>,
    caller: Caller,
    view: View,
    wanted: Wanted,
    clones: HashMap<Id, SeenTwice>,
    beat: Duration,
}

impl<'a> Look<'a> {
    fn new(tx: &'a Tx<'a>, credential: &Credential, wanted: &Wanted, beat: Duration) -> Result<Self, Error> {
        let caller = tx.caller(credential)?;
        let view = tx.view(caller.org(), &decide(&caller, Action::SessionRead, &Target::Organization), "session")?;
        let clones = tx.clones(&view)?;
        Ok(Self { tx, caller, view, wanted: wanted.clone(), clones, beat })
    }

    /// Whose sessions: a member's own. `None` where they ask for somebody else's, of whom they may not know.
    fn user(&self) -> Option<&str> {
        match self.caller.user() {
            Some(own) if self.caller.role == Role::Member => {
                (self.wanted.user.is_empty() || self.wanted.user == own.as_str()).then_some(own.as_str())
            }
            _ => Some(&self.wanted.user),
        }
    }

    /// Agents of some of the live sessions, and where to go on.
    fn page(&self, due: &mut Due, after: Option<(i64, &Id)>, size: u32) -> Result<Page, Error> {
        let Some(user) = self.user() else { return Ok((Vec::new(), None)) };
        let rows = self.tx.sessions(&self.view, user, &self.wanted.environment, false, after, size)?;
        let next = rows.last().filter(|_| rows.len() == size as usize).map(|last| (last.created_at, last.id.clone()));
        let looked = rows.into_iter().map(|row| self.at(due, row)).collect::<Result<_, _>>()?;
        Ok((looked, next))
    }

    /// Agents of these sessions.
    fn these(&self, due: &mut Due, ids: impl Iterator<Item = Id>) -> Result<Vec<Looked>, Error> {
        let mut looked = Vec::new();
        for id in ids {
            match self.tx.session(self.caller.org(), &id)? {
                Some(row) if self.user().is_some_and(|user| user.is_empty() || user == row.user) => {
                    looked.push(self.at(due, row)?);
                }
                _ => looked.push((id, None)),
            }
        }
        Ok(looked)
    }

    fn at(&self, due: &mut Due, row: SessionRow) -> Result<Looked, Error> {
        let id = row.id.clone();
        if row.state(self.tx.now) != SessionState::Active {
            return Ok((id, None));
        }
        let key = (row.user.clone(), row.environment.clone(), row.environment_version);
        let expected = match due.get(&key) {
            Some(known) => known.clone(),
            None => {
                let expected = self.tx.due_bundle(self.caller.org(), &row)?;
                due.insert(key, expected.clone());
                expected
            }
        };
        let stale_at = stale_at(&row, self.beat).filter(|at| *at > self.tx.now).unwrap_or(i64::MAX);
        let agent = agent(self.tx, &self.caller, row, expected, self.clones.get(&id), self.beat);
        let passes = self.wanted.lets_through(&agent);
        Ok((id, Some(Live { agent, passes, stale_at })))
    }
}

fn agent(
    tx: &Tx<'_>,
    caller: &Caller,
    row: SessionRow,
    due: Option<Id>,
    clone: Option<&SeenTwice>,
    beat: Duration,
) -> FleetAgent {
    let installed = row.report.as_ref().and_then(|(_, report)| report.bundle.as_ref());
    let outdated = due.is_some_and(|due| installed != Some(&due));
    let stale = row.state(tx.now) == SessionState::Active && stale_at(&row, beat).is_some_and(|at| at <= tx.now);
    FleetAgent {
        stale,
        outdated,
        cloned_at: clone.map(|clone| timestamp(clone.seen_at)),
        clone: clone.map(|clone| clone.how.clone()).unwrap_or_default(),
        session: Some(Shown::of(tx, caller, row).into()),
    }
}

/// When it will be stale, in microseconds, if nothing more is heard.
fn stale_at(row: &SessionRow, beat: Duration) -> Option<i64> {
    let heard = row.report.as_ref().map(|(at, _)| *at).max(row.enrolled_at)?;
    Some(heard + STALE_AFTER * i64::try_from(beat.as_micros()).unwrap_or(i64::MAX / STALE_AFTER))
}

/// One caller of Watch.
struct Watcher {
    app: Arc<App>,
    credential: Credential,
    wanted: Wanted,
    send: mpsc::Sender<Result<WatchFleetResponse, Status>>,
    reports: broadcast::Receiver<(OrgName, Id)>,
    /// Of the audit chain.
    sequence: u64,
    due: Due,
    told: HashMap<Id, Told>,
    /// To be looked at.
    reported: BTreeSet<Id>,
    everything: bool,
    complete: bool,
}

/// What a watcher knows of an agent.
struct Told {
    /// Of what it was told last; `None` where the filter did not let the agent through.
    digest: Option<u64>,
    stale_at: i64,
}

impl Watcher {
    fn new(
        app: Arc<App>,
        credential: Credential,
        wanted: Wanted,
        send: mpsc::Sender<Result<WatchFleetResponse, Status>>,
    ) -> Self {
        let reports = app.fleet.0.subscribe();
        Self {
            app,
            credential,
            wanted,
            send,
            reports,
            sequence: 0,
            due: Due::new(),
            told: HashMap::new(),
            reported: BTreeSet::new(),
            everything: true,
            complete: false,
        }
    }

    async fn watch(mut self) {
        let mut look = interval(LOOK);
        let follower = self.app.streams.follow(self.credential.identity.clone());
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (send, mut soon) = (self.send.clone(), None);
        loop {
            tokio::select! {
                () = send.closed() => return,
                ended = follower.ended() => {
                    let _ = send.try_send(Err(ended));
                    return;
                }
                report = self.reports.recv() => {
                    match report {
                        Ok((org, id)) if org == self.credential.identity.org => { self.reported.insert(id); }
                        Ok(_) => continue,
                        Err(RecvError::Lagged(_)) => self.everything = true,
                        Err(RecvError::Closed) => return,
                    }
                    soon.get_or_insert_with(|| Instant::now() + GATHER);
                    continue;
                }
                () = sleep_until(soon.unwrap_or_else(Instant::now)), if soon.is_some() => soon = None,
                _ = look.tick() => {}
            }
            if let Err(error) = self.look().await {
                if let Some(status) = error {
                    let _ = send.send(Err(status)).await;
                }
                return;
            }
        }
    }

    /// Tells what has changed. `Err(None)` where nobody listens any more.
    async fn look(&mut self) -> Result<(), Option<Status>> {
        let (credential, wanted, beat) = (self.credential.clone(), self.wanted.clone(), self.app.beat);
        let (sequence, reported) = (self.sequence, std::mem::take(&mut self.reported));
        let mut due = std::mem::take(&mut self.due);
        let everything = std::mem::take(&mut self.everything);
        // Silence is no event.
        let now = self.app.store.clock().micros();
        let silent: Vec<Id> = self.told.iter().filter(|(_, t)| t.stale_at <= now).map(|(id, _)| id.clone()).collect();
        let looked = self.app.store.read(move |tx| {
            let look = Look::new(tx, &credential, &wanted, beat)?;
            let changed = match sequence {
                0 => Default::default(),
                _ => tx.fleet_changes(&look.view, sequence)?,
            };
            if changed.bundles {
                due.clear();
            }
            if !(everything || changed.bundles) {
                let ids = changed.sessions.into_iter().chain(reported).chain(silent).collect::<BTreeSet<_>>();
                return Ok((changed.sequence, look.these(&mut due, ids.into_iter())?, due, false));
            }
            let sequence = tx.last_sequence(look.caller.org())?;
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let (page, next) = look.page(&mut due, after.as_ref().map(|(at, id): &(i64, Id)| (*at, id)), 1_000)?;
                all.extend(page);
                match next {
                    Some(next) => after = Some(next),
                    None => return Ok((sequence, all, due, true)),
                }
            }
        });
        let (sequence, looked, due, all) = looked.await.map_err(|e| Some(e.into()))?;
        (self.sequence, self.due) = (sequence.max(self.sequence), due);
        self.tell(looked, all).await.ok_or(None)
    }

    /// `None` where nobody listens.
    async fn tell(&mut self, looked: Vec<Looked>, all: bool) -> Option<()> {
        let mut gone: Vec<String> = Vec::new();
        if all {
            let there: BTreeSet<&Id> = looked.iter().map(|(id, _)| id).collect();
            let shown = |told: &Told| told.digest.is_some();
            gone.extend(
                self.told
                    .extract_if(|id, _| !there.contains(id))
                    .filter(|(_, t)| shown(t))
                    .map(|(id, _)| id.to_string()),
            );
        }
        let mut agents = Vec::new();
        for (id, live) in looked {
            let name = id.to_string();
            let (before, agent) = match live {
                None => (self.told.remove(&id), None),
                Some(Live { agent, passes, stale_at }) => {
                    let digest = passes.then(|| digest(&agent));
                    (self.told.insert(id, Told { digest, stale_at }), digest.map(|digest| (digest, agent)))
                }
            };
            match (before.and_then(|told| told.digest), agent) {
                (Some(_), None) => gone.push(name),
                (Some(before), Some((digest, _))) if before == digest => {}
                (_, Some((_, agent))) => agents.push(agent),
                (None, None) => {}
            }
        }
        let first = !std::mem::replace(&mut self.complete, true);
        if !first && agents.is_empty() && gone.is_empty() {
            return Some(());
        }
        let mut chunks = agents.chunks(CHUNK).map(<[_]>::to_vec).collect::<Vec<_>>();
        let last = chunks.pop().unwrap_or_default();
        for agents in chunks {
            self.send.send(Ok(WatchFleetResponse { agents, gone: vec![], complete: !first })).await.ok()?;
        }
        self.send.send(Ok(WatchFleetResponse { agents: last, gone, complete: true })).await.ok()
    }
}

fn digest(agent: &FleetAgent) -> u64 {
    let mut hasher = DefaultHasher::new();
    agent.encode_to_vec().hash(&mut hasher);
    hasher.finish()
}
