//! Who listens: the open streams of this process, by identity. What the store announces finds them here, and a subject that
//! is revoked loses its streams before anybody is told that it was.
//!
//! An agent's stream is a [`Line`]: two numbers and a waker, however much is pushed. Pushes that come faster than they are
//! read are one. Nothing here waits, and nothing grows with what is pushed.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::sync::watch;
use tonic::{Status, codegen::tokio_stream::Stream};

use super::store::Notice;
use crate::{
    domain::{
        identity::{Identity, Subject},
        name::{Id, OrgName},
    },
    wire::v1::{Push, WatchResponse, Watching, watch_response::Event},
};

/// Sixteen random bytes of one process of an agent.
pub type Instance = [u8; 16];

/// Instances that were followed by others, remembered for each session.
const REMEMBERED: usize = 8;

pub struct Streams {
    held: Mutex<Held>,
    /// Counts notices of rollouts.
    rollouts: watch::Sender<u64>,
}

#[derive(Default)]
struct Held {
    agents: HashMap<OrgName, HashMap<Id, Agent>>,
    /// Streams of others, by a number of their own.
    others: HashMap<u64, (Identity, Arc<Line>)>,
    next: u64,
    closed: bool,
}

/// What is known of a session's agent. Outlives its streams: a clone shows itself by what was said before.
#[derive(Default)]
struct Agent {
    line: Option<Arc<Line>>,
    instance: Instance,
    attempt: u64,
    followed: Vec<Instance>,
}

/// Two agents hold one identity.
#[derive(Debug, PartialEq, Eq)]
pub struct Cloned;

impl Streams {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), rollouts: watch::Sender::new(0) })
    }

    /// For the store.
    pub fn hear(&self, notices: Vec<Notice>) {
        let mut held = self.held();
        let mut rollouts = false;
        for notice in notices {
            match notice {
                Notice::Due { org, session, sequence } => {
                    if let Some(line) = held.agents.get(&org).and_then(|of| of.get(&session)?.line.as_ref()) {
                        line.due(sequence);
                    }
                }
                Notice::Revoked { org, subject } => held.revoke(&org, &subject),
                Notice::Rollouts => rollouts = true,
            }
        }
        drop(held);
        if rollouts {
            self.knock();
        }
    }

    /// Something may have changed for rollouts: somebody came.
    pub fn knock(&self) {
        self.rollouts.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Becomes ready when something changed in a rollout.
    pub fn rollouts(&self) -> watch::Receiver<u64> {
        self.rollouts.subscribe()
    }

    /// A session's agent opens a stream; one that it has open ends. `attempt` grows with every stream of an instance, and an
    /// instance that was followed by another does not come back: who breaks that is one of two.
    pub fn join(
        self: &Arc<Self>,
        org: &OrgName,
        session: &Id,
        instance: Instance,
        attempt: u64,
    ) -> Result<AgentStream, Cloned> {
        let line = Arc::<Line>::default();
        let mut held = self.held();
        if held.closed {
            line.end(going());
        }
        let agent = held.agents.entry(org.clone()).or_default().entry(session.clone()).or_default();
        if agent.followed.contains(&instance) || (agent.instance == instance && attempt <= agent.attempt) {
            return Err(Cloned);
        }
        if agent.instance != instance && agent.attempt != 0 {
            if agent.followed.len() == REMEMBERED {
                agent.followed.remove(0);
            }
            agent.followed.push(agent.instance);
        }
        (agent.instance, agent.attempt) = (instance, attempt);
        if let Some(before) = agent.line.replace(line.clone()) {
            before.end(Status::aborted("the session's agent has opened another stream"));
        }
        Ok(AgentStream {
            streams: self.clone(),
            org: org.clone(),
            session: session.clone(),
            line,
            greeted: false,
            told: 0,
        })
    }

    /// Sessions whose agents have a stream open.
    pub fn connected(&self, org: &OrgName) -> HashSet<Id> {
        let held = self.held();
        let of = held.agents.get(org).into_iter().flatten();
        of.filter(|(_, agent)| agent.line.is_some()).map(|(session, _)| session.clone()).collect()
    }

    /// Streams of agents that are open now.
    pub fn open(&self) -> usize {
        self.held().agents.values().flat_map(HashMap::values).filter(|agent| agent.line.is_some()).count()
    }

    /// Anybody else's stream, for as long as what is returned lives.
    pub fn follow(self: &Arc<Self>, identity: Identity) -> Follower {
        let line = Arc::<Line>::default();
        let mut held = self.held();
        if held.closed {
            line.end(going());
        }
        let number = held.next;
        held.next += 1;
        held.others.insert(number, (identity, line.clone()));
        Follower { streams: self.clone(), number, line }
    }

    /// The server goes: all streams end, and new ones end at once.
    pub fn close(&self) {
        let mut held = self.held();
        held.closed = true;
        let agents = held.agents.values().flat_map(HashMap::values).filter_map(|agent| agent.line.as_ref());
        agents.chain(held.others.values().map(|(_, line)| line)).for_each(|line| line.end(going()));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner) // nothing panics between two halves of a change
    }
}

impl Held {
    fn revoke(&mut self, org: &OrgName, subject: &Subject) {
        let over = || Status::unauthenticated("this identity has been revoked or has ended");
        match subject {
            Subject::Session(session) => {
                let agent = self.agents.get_mut(org).and_then(|of| of.remove(session));
                agent.and_then(|agent| agent.line).inspect(|line| line.end(over()));
            }
            _ => {
                let theirs = |(identity, _): &&(Identity, _)| identity.org == *org && identity.subject == *subject;
                self.others.values().filter(theirs).for_each(|(_, line)| line.end(over()));
            }
        }
    }
}

fn going() -> Status {
    Status::unavailable("the control plane is stopping; come back after a random wait")
}

/// What one stream is to say.
#[derive(Default)]
struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    /// The newest push.
    due: u64,
    end: Option<Box<Status>>,
    waker: Option<Waker>,
}

impl Line {
    fn due(&self, sequence: u64) {
        self.change(|state| state.due = state.due.max(sequence));
    }

    fn end(&self, why: Status) {
        self.change(|state| {
            state.end.get_or_insert_with(|| Box::new(why));
        });
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state();
            how(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An agent's stream, until it is dropped.
pub struct AgentStream {
    streams: Arc<Streams>,
    org: OrgName,
    session: Id,
    line: Arc<Line>,
    greeted: bool,
    told: u64,
}

impl AgentStream {
    /// Something was due before the stream was there to hear of it.
    pub fn due(&self, sequence: u64) {
        self.line.due(sequence);
    }
}

impl Stream for AgentStream {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let line = self.line.clone();
        let mut state = line.state();
        let event = if let Some(why) = &state.end {
            return Poll::Ready(Some(Err(Status::clone(why)))); // tonic asks no more after an error
        } else if !self.greeted {
            self.greeted = true;
            Event::Watching(Watching {})
        } else if state.due > self.told {
            self.told = state.due;
            Event::Push(Push { sequence: self.told })
        } else {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(Some(Ok(WatchResponse { event: Some(event) })))
    }
}

impl Drop for AgentStream {
    fn drop(&mut self) {
        let mut held = self.streams.held();
        if let Some(agent) = held.agents.get_mut(&self.org).and_then(|of| of.get_mut(&self.session)) {
            agent.line.take_if(|line| Arc::ptr_eq(line, &self.line));
        }
    }
}

/// Somebody's stream that ends when its holder is revoked or the server goes.
pub struct Follower {
    streams: Arc<Streams>,
    number: u64,
    line: Arc<Line>,
}

impl Follower {
    /// Waits for its end; gives why.
    pub async fn ended(&self) -> Status {
        poll_fn(|cx| {
            let mut state = self.line.state();
            match &state.end {
                Some(why) => Poll::Ready(Status::clone(why)),
                None => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.streams.held().others.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll::{Pending, Ready};

    use tonic::Code;

    use super::*;

    fn session(n: u8) -> Id {
        Id::from_random([n; 16])
    }

    fn org() -> OrgName {
        OrgName::parse("acme").unwrap()
    }

    fn next(stream: &mut AgentStream) -> Poll<Result<Event, Code>> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(stream).poll_next(&mut cx) {
            Ready(Some(Ok(response))) => Ready(Ok(response.event.unwrap())),
            Ready(Some(Err(status))) => Ready(Err(status.code())),
            Ready(None) => unreachable!("it ends with an error"),
            Pending => Pending,
        }
    }

    fn due(session: Id, sequence: u64) -> Notice {
        Notice::Due { org: org(), session, sequence }
    }

    #[test]
    fn pushes_that_nobody_has_read_are_one_and_none_is_told_twice() {
        let streams = Streams::new();
        let mut stream = streams.join(&org(), &session(1), [1; 16], 1).unwrap();
        streams.hear(vec![due(session(1), 5), due(session(2), 9), due(session(1), 7), due(session(1), 6)]);
        assert_eq!(next(&mut stream), Ready(Ok(Event::Watching(Watching {}))));
        assert_eq!(next(&mut stream), Ready(Ok(Event::Push(Push { sequence: 7 }))));
        assert_eq!(next(&mut stream), Pending);
        streams.hear(vec![due(session(1), 7)]);
        assert_eq!(next(&mut stream), Pending);
        streams.hear(vec![due(session(1), 8)]);
        assert_eq!(next(&mut stream), Ready(Ok(Event::Push(Push { sequence: 8 }))));
    }

    #[test]
    fn who_is_revoked_loses_its_streams_and_nobody_else() {
        let streams = Streams::new();
        let mut ended = streams.join(&org(), &session(1), [1; 16], 1).unwrap();
        let mut other = streams.join(&org(), &session(2), [2; 16], 1).unwrap();
        let elsewhere = OrgName::parse("other").unwrap();
        let mut same_id = streams.join(&elsewhere, &session(1), [3; 16], 1).unwrap();
        for stream in [&mut ended, &mut other, &mut same_id] {
            assert!(next(stream).is_ready());
        }
        streams.hear(vec![Notice::Revoked { org: org(), subject: Subject::Session(session(1)) }, due(session(1), 1)]);
        assert_eq!(next(&mut ended), Ready(Err(Code::Unauthenticated)));
        assert_eq!((next(&mut other), next(&mut same_id)), (Pending, Pending));
        assert_eq!(streams.connected(&org()), HashSet::from([session(2)]));
        streams.close();
        assert_eq!(next(&mut other), Ready(Err(Code::Unavailable)));
        let mut late = streams.join(&org(), &session(3), [4; 16], 1).unwrap();
        assert_eq!(next(&mut late), Ready(Err(Code::Unavailable)));
    }

    /// Each row: the streams that were opened, by instance and attempt, and whether the last is a clone's.
    #[test]
    fn clones() {
        for (what, opened, cloned) in [
            ("a first one", &[(1, 1)][..], false),
            ("it comes back", &[(1, 1), (1, 2)], false),
            ("having lost answers", &[(1, 1), (1, 5)], false),
            ("after a restart of the agent", &[(1, 1), (1, 2), (2, 1)], false),
            ("and another", &[(1, 1), (2, 1), (3, 1), (3, 2)], false),
            ("a snapshot's two copies", &[(1, 1), (1, 2), (1, 2)], true),
            ("one copy was faster", &[(1, 1), (1, 5), (1, 3)], true),
            ("a key that was taken elsewhere", &[(1, 1), (2, 1), (1, 2)], true),
        ] {
            let streams = Streams::new();
            let mut all: Vec<_> =
                opened.iter().map(|(i, attempt)| streams.join(&org(), &session(1), [*i; 16], *attempt)).collect();
            let last = all.pop().unwrap();
            assert_eq!(last.is_err(), cloned, "{what}");
            assert!(all.iter().all(Result::is_ok), "{what}");
        }
    }

    #[test]
    fn the_newer_stream_takes_over() {
        let streams = Streams::new();
        let mut old = streams.join(&org(), &session(1), [1; 16], 1).unwrap();
        let mut new = streams.join(&org(), &session(1), [1; 16], 2).unwrap();
        assert_eq!(next(&mut old), Ready(Err(Code::Aborted)));
        drop(old);
        assert_eq!(streams.open(), 1, "what the old one leaves behind is not the new one's");
        assert!(next(&mut new).is_ready());
        drop(new);
        assert_eq!(streams.open(), 0);
    }
}
