//! Pushes into running sessions, followed to their end: whom they concern, what agents answer, what a restart, a cut or a
//! revocation does to them. Fleets of real agents are in `rollouts/fleet.rs`.

mod fleet;
mod fstore;
mod link;

use std::{
    collections::BTreeSet,
    io::Write,
    time::{Duration, Instant},
};

use keyfob::wire::v1::{
    self, PushOptions, Role, RolloutState, Visibility, create_rollout_request::Reach, watch_response::Event,
};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use crate::world::{Api, ORG, World, enrol_session, plain};

/// Far more than anything here takes; what is waited for comes, or the test has found something.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session's agent, played by the test.
struct Agent {
    api: Api,
    id: String,
    sequence: u64,
    attempt: u64,
    instance: [u8; 16],
}

impl Agent {
    async fn boot(world: &World, user: &str) -> Self {
        let made = world.session(user, "default").await;
        let id = made.session.expect("a session").id;
        let mut instance = [0; 16];
        instance.copy_from_slice(&id.as_bytes()[..16]);
        let mut agent = Self { api: enrol_session(&made.join).await, id, sequence: 0, attempt: 0, instance };
        agent.install().await;
        agent
    }

    /// Fetches and acknowledges; gives the values.
    async fn install(&mut self) -> std::collections::BTreeMap<String, Vec<u8>> {
        let opened = self.api.fetch(ORG, &self.id).await.expect("a bundle");
        self.sequence = opened.sequence;
        self.acknowledge().await.expect("it is taken");
        opened.values()
    }

    async fn acknowledge(&self) -> Result<(), Status> {
        let request = v1::AcknowledgeRequest { sequence: self.sequence, ..Default::default() };
        self.api.bundle().acknowledge(request).await.map(drop)
    }

    async fn fail(&self, error: &str, error_names: bool) {
        let request = v1::AcknowledgeRequest { sequence: 0, error: error.into(), error_names };
        self.api.bundle().acknowledge(request).await.expect("it is taken");
    }

    async fn watch(&mut self) -> Stream {
        self.try_watch().await.expect("a stream")
    }

    async fn try_watch(&mut self) -> Result<Stream, Status> {
        self.attempt += 1;
        let request =
            v1::WatchRequest { sequence: self.sequence, instance: self.instance.to_vec(), attempt: self.attempt };
        let mut stream = Stream(self.api.bundle().watch(request).await?.into_inner());
        assert_eq!(stream.next().await?, Event::Watching(v1::Watching {}));
        Ok(stream)
    }
}

struct Stream(Streaming<v1::WatchResponse>);

impl Stream {
    async fn next(&mut self) -> Result<Event, Status> {
        let message = timeout(PATIENCE, self.0.message()).await.expect("something comes")?;
        Ok(message.expect("streams end with an error").event.expect("an event"))
    }

    async fn push(&mut self) -> u64 {
        match self.next().await.expect("no end") {
            Event::Push(push) => push.sequence,
            other => panic!("{other:?}"),
        }
    }

    /// Why it ends.
    async fn end(&mut self) -> Code {
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(status) => return status.code(),
            }
        }
    }
}

fn named(name: &str, visibility: Visibility) -> Option<v1::SecretRef> {
    Some(v1::SecretRef { name: name.into(), visibility: visibility.into(), ..Default::default() })
}

impl Api {
    async fn rotate(&self, name: &str, visibility: Visibility, value: &[u8], push: Option<PushOptions>) -> String {
        let request = v1::RotateSecretRequest {
            r#ref: named(name, visibility),
            value: Some(plain(value)),
            expected_version: String::new(),
            push,
        };
        self.secrets().rotate_secret(request).await.expect("it is rotated").into_inner().rollout
    }

    async fn push(&self, reach: Reach, options: PushOptions) -> v1::Rollout {
        let request = v1::CreateRolloutRequest { reach: Some(reach), options: Some(options) };
        let made = self.rollouts().create_rollout(request).await.expect("it is pushed").into_inner();
        made.rollout.expect("a rollout")
    }

    /// The sessions of a rollout, with their states.
    async fn targets(&self, rollout: &str) -> Vec<v1::RolloutTarget> {
        let request = v1::ListRolloutTargetsRequest { id: rollout.into(), page_size: 1_000, ..Default::default() };
        self.rollouts().list_rollout_targets(request).await.expect("its sessions").into_inner().targets
    }

    /// Waits until a rollout is over; gives how many ended how.
    async fn over(&self, rollout: &str) -> Vec<(RolloutState, u32)> {
        let request = v1::WatchRolloutRequest { id: rollout.into() };
        let mut stream = self.rollouts().watch_rollout(request).await.expect("a stream").into_inner();
        let mut last = v1::Rollout::default();
        while let Some(told) = timeout(PATIENCE, stream.message()).await.expect("it ends").expect("no error") {
            last = told.rollout.expect("a rollout");
        }
        assert!(last.ended_at.is_some(), "{last:?}");
        last.counts.iter().map(|c| (c.state(), c.sessions)).collect()
    }

    async fn receipts(&self, name: &str, visibility: Visibility) -> (v1::Receipts, Vec<v1::Delivered>) {
        let request = v1::ListDeliveriesRequest { r#ref: named(name, visibility), ..Default::default() };
        let listed = self.secrets().list_deliveries(request).await.expect("its deliveries").into_inner();
        (listed.receipts.expect("receipts"), listed.deliveries)
    }
}

/// Only sessions whose bundle would change are concerned, and those all. Each row: a change, what is pushed after it, and for
/// whose sessions there is something new: `a`lice's, `b`ob's, `m`achine's, for nobody's.
#[tokio::test]
async fn whom_a_push_concerns() {
    use Visibility::{Private, Shared};
    let world = World::new().await;
    let root = world.admin();
    let alice = world.person("alice", Role::Member).await;
    let bob = world.person("bob", Role::Member).await;
    root.create("api-key", Shared, b"everybody's key").await;
    root.create("db-url", Shared, b"everybody's database").await;
    alice.create("mine", Private, b"alice's own").await;
    bob.create("api-key", Private, b"bob's own key").await;
    let mut agents = [("a", "alice"), ("b", "bob"), ("m", "")].map(|(letter, user)| (letter, user, None));
    for (_, user, agent) in &mut agents {
        *agent = Some(Agent::boot(&world, user).await);
    }

    enum Do {
        Nothing,
        Rotate(&'static str, Visibility),
        AutoInstall(&'static str, Visibility, bool),
        Delete(&'static str, Visibility),
        Create(&'static str, Visibility),
    }
    enum Push {
        Secret(&'static str, Visibility),
        Environment,
        Bobs,
        All,
        WithTheChange,
    }
    use Do::{AutoInstall, Create, Delete, Nothing, Rotate};
    for (what, change, push, concerned) in [
        ("nothing has changed", Nothing, Push::All, ""),
        ("a shared one, but for whom overrides it", Rotate("api-key", Shared), Push::Secret("api-key", Shared), "am"),
        ("a private one", Rotate("mine", Private), Push::WithTheChange, "a"),
        ("another's change is not pushed with it", Rotate("db-url", Shared), Push::Secret("api-key", Shared), ""),
        ("until it is", Nothing, Push::Bobs, "b"),
        ("for the others too", Nothing, Push::Environment, "am"),
        ("auto-install off hides the shared one", AutoInstall("api-key", Private, false), Push::WithTheChange, "b"),
        ("and on again", AutoInstall("api-key", Private, true), Push::WithTheChange, "b"),
        ("a deleted private one uncovers the shared one", Delete("api-key", Private), Push::WithTheChange, "b"),
        ("a deleted shared one", Delete("db-url", Shared), Push::WithTheChange, "abm"),
        ("a new one", Create("new-key", Shared), Push::Secret("new-key", Shared), "abm"),
        ("one that is not installed", AutoInstall("new-key", Shared, false), Push::WithTheChange, "abm"),
        ("a value of it", Rotate("new-key", Shared), Push::WithTheChange, ""),
    ] {
        let by = |name: &str, visibility| match (name, visibility) {
            ("mine", _) => &alice,
            (_, Private) => &bob,
            _ => root,
        };
        let with = matches!(push, Push::WithTheChange).then(PushOptions::default);
        let mut rollout = String::new();
        match change {
            Nothing => {}
            Rotate(name, visibility) => {
                rollout = by(name, visibility).rotate(name, visibility, what.as_bytes(), with).await;
            }
            AutoInstall(name, visibility, on) => {
                let request = v1::UpdateSecretRequest {
                    r#ref: named(name, visibility),
                    auto_install: Some(on),
                    push: with,
                    ..Default::default()
                };
                rollout = by(name, visibility).secrets().update_secret(request).await.expect(what).into_inner().rollout;
            }
            Delete(name, visibility) => {
                let request =
                    v1::DeleteSecretRequest { r#ref: named(name, visibility), push: with, ..Default::default() };
                rollout = by(name, visibility).secrets().delete_secret(request).await.expect(what).into_inner().rollout;
            }
            Create(name, visibility) => drop(by(name, visibility).create(name, visibility, what.as_bytes()).await),
        }
        let reach = match push {
            Push::WithTheChange => None,
            Push::Secret(name, visibility) => named(name, visibility).map(Reach::Secret),
            Push::Environment => Some(Reach::Environment("default".into())),
            Push::Bobs => Some(Reach::Session(agents[1].2.as_ref().expect("booted").id.clone())),
            Push::All => Some(Reach::All(true)),
        };
        if let Some(reach) = reach {
            rollout = root.push(reach, PushOptions::default()).await.id;
        }
        let told: BTreeSet<_> = by_id(&root.targets(&rollout).await).into_iter().collect();
        let found: String = agents
            .iter()
            .filter(|(_, _, agent)| told.contains(&agent.as_ref().expect("booted").id))
            .map(|(letter, ..)| *letter)
            .collect();
        assert_eq!(found, concerned, "{what}");
        for (letter, _, agent) in &mut agents {
            if concerned.contains(*letter) {
                agent.as_mut().expect("booted").install().await;
            }
        }
        let ended = root.over(&rollout).await;
        let expected: Vec<_> =
            (!concerned.is_empty()).then_some((RolloutState::Installed, concerned.len() as u32)).into_iter().collect();
        assert_eq!(ended, expected, "{what}");
    }
}

fn by_id(targets: &[v1::RolloutTarget]) -> Vec<String> {
    targets.iter().map(|t| t.session.clone()).collect()
}

/// How a session gets to its end, and what happens when it comes back after that.
#[tokio::test]
async fn every_session_ends_in_a_state_and_may_still_come_back() {
    let world = World::new().await;
    let root = world.admin();
    let alice = world.person("alice", Role::Member).await;
    root.create("api-key", Visibility::Shared, b"old").await;
    let mut agents = Vec::new();
    for user in ["alice", "alice", "alice", "", ""] {
        agents.push(Agent::boot(&world, user).await);
    }
    let [good, failing, ending, silent, absent] = &mut agents[..] else { unreachable!() };
    let mut streams = Vec::new();
    for agent in [&mut *good, &mut *failing, &mut *ending, &mut *silent] {
        streams.push(agent.watch().await);
    }
    let options = PushOptions { patience_seconds: 2, ..Default::default() };
    let rollout = root.rotate("api-key", Visibility::Shared, b"new", Some(options)).await;
    for stream in &mut streams {
        stream.push().await;
    }
    good.install().await;
    failing.fail("no room for $API_KEY", true).await;
    let end = v1::EndSessionRequest { id: ending.id.clone() };
    root.sessions().end_session(end).await.expect("it ends");
    assert_eq!(streams[2].end().await, Code::Unauthenticated);
    use RolloutState::{Ended, Failed, Installed, Unreachable};
    assert_eq!(root.over(&rollout).await, [(Installed, 1), (Failed, 1), (Unreachable, 2), (Ended, 1)]);

    let reason = async |by: &Api| {
        let targets = by.targets(&rollout).await;
        let failed = targets.into_iter().find(|t| t.session == failing.id).expect("it is there");
        (failed.reason, failed.reason_hidden)
    };
    assert_eq!(reason(root).await, (String::new(), true), "it names a secret of somebody else's session");
    let own = alice.rollouts().get_rollout(v1::GetRolloutRequest { id: rollout.clone() }).await;
    assert_eq!(own.err().map(|e| e.code()), Some(Code::NotFound), "another's rollout");

    // Late: what was given up is told to whoever comes back, and what they answer counts.
    for agent in [absent, failing, silent] {
        let mut stream = agent.watch().await;
        let pushed = stream.push().await;
        assert!(pushed > agent.sequence);
        assert_eq!(agent.install().await["API_KEY"], b"new");
        assert!(pushed < agent.sequence, "a delivery takes in every push before it");
    }
    assert_eq!(root.over(&rollout).await, [(Installed, 4), (Ended, 1)]);
}

/// As many as may be told at once are, and a server that is killed goes on with it.
#[tokio::test]
async fn in_flight_and_over_a_restart() {
    let mut world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, b"old").await;
    let mut agents = Vec::new();
    for _ in 0..5 {
        agents.push(Agent::boot(&world, "").await);
    }
    let mut streams = Vec::new();
    for agent in &mut agents {
        streams.push(agent.watch().await);
    }
    let options = PushOptions { max_in_flight: 2, ..Default::default() };
    let rollout = world.admin().rotate("api-key", Visibility::Shared, b"new", Some(options)).await;
    let in_flight = async |world: &World| {
        let targets = world.admin().targets(&rollout).await;
        targets.iter().filter(|t| t.state() == RolloutState::Told).count()
    };
    let told = |world: &World| {
        let (admin, id) = (world.admin().rollouts(), rollout.clone());
        async move {
            let mut admin = admin;
            loop {
                let request = v1::ListRolloutTargetsRequest {
                    id: id.clone(),
                    state: RolloutState::Told.into(),
                    ..Default::default()
                };
                let told = admin.list_rollout_targets(request).await.expect("its sessions").into_inner().targets;
                if let Some(first) = told.first() {
                    return first.session.clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    let first = timeout(PATIENCE, told(&world)).await.expect("somebody is told");
    assert!(in_flight(&world).await <= 2);
    agents.iter_mut().find(|a| a.id == first).expect("one of them").install().await;

    world.kill_server();
    for stream in &mut streams {
        assert_ne!(stream.end().await, Code::Unauthenticated);
    }
    world.restart().await;
    let address = world.address.clone();
    let mut streams = Vec::new();
    for agent in &mut agents {
        agent.api.reconnect(&address).await;
        streams.push(agent.watch().await);
    }
    for _ in 0..4 {
        let next = timeout(PATIENCE, told(&world)).await.expect("it goes on");
        assert!(in_flight(&world).await <= 2);
        agents.iter_mut().find(|a| a.id == next).expect("one of them").install().await;
    }
    assert_eq!(world.admin().over(&rollout).await, [(RolloutState::Installed, 5)]);
}

/// A server that is started anew gives up who stays away, though nothing happens that would remind it of the rollout.
#[tokio::test]
async fn given_up_after_a_restart() {
    let mut world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, b"old").await;
    Agent::boot(&world, "").await;
    let options = PushOptions { patience_seconds: 2, ..Default::default() };
    let rollout = world.admin().rotate("api-key", Visibility::Shared, b"new", Some(options)).await;
    world.restart().await;
    assert_eq!(world.admin().over(&rollout).await, [(RolloutState::Unreachable, 1)]);
}

/// Who has which version, who may hold an older one, and when the old key is safe to revoke.
#[tokio::test]
async fn receipts() {
    let world = World::new().await;
    let root = world.admin();
    let first = root.create("api-key", Visibility::Shared, b"old").await.version;
    let mut old = Agent::boot(&world, "").await;
    let check = async |what: &str, on_current, may_hold_older, rows: &[(&str, bool, bool)]| {
        let (receipts, deliveries) = root.receipts("api-key", Visibility::Shared).await;
        let expected = v1::Receipts { on_current, may_hold_older, safe_to_revoke: may_hold_older == 0 };
        assert_eq!(receipts, expected, "{what}");
        let name = |version: &str| if *version == first { "first" } else { "second" };
        let found: Vec<_> =
            deliveries.iter().map(|d| (name(&d.version), d.installed_at.is_some(), d.in_files)).collect();
        assert_eq!(found, rows, "{what}");
    };
    check("at first", 1, 0, &[("first", true, true)]).await;
    root.rotate("api-key", Visibility::Shared, b"new", Some(PushOptions::default())).await;
    check("pushed, not answered", 0, 1, &[("first", true, true)]).await;
    old.install().await;
    check("installed: what was started before keeps it", 1, 1, &[("second", true, true), ("first", true, false)]).await;
    let fresh = Agent::boot(&world, "").await;
    check("a later boot", 2, 1, &[("second", true, true), ("second", true, true), ("first", true, false)]).await;
    let end = v1::EndSessionRequest { id: old.id.clone() };
    root.sessions().end_session(end).await.expect("it ends");
    check("who had it is gone", 1, 0, &[("second", true, true), ("second", true, true), ("first", true, false)]).await;

    let delete = v1::DeleteSecretRequest {
        r#ref: named("api-key", Visibility::Shared),
        push: Some(PushOptions::default()),
        ..Default::default()
    };
    let deleted = root.secrets().delete_secret(delete).await.expect("it goes").into_inner();
    assert_eq!((deleted.live_sessions, deleted.holders.len()), (1, 1));
    assert_eq!(deleted.holders[0].session, fresh.id);
    assert_eq!(by_id(&root.targets(&deleted.rollout).await), [fresh.id]);
}

/// An acknowledgement is on record once, whoever repeats it, and nobody acknowledges for another.
#[tokio::test]
async fn acknowledged_once() {
    let world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, b"value").await;
    let mut agent = Agent::boot(&world, "").await;
    let mut other = Agent::boot(&world, "").await;
    for _ in 0..3 {
        agent.acknowledge().await.expect("it is taken");
        agent.watch().await;
    }
    let own = other.sequence;
    for sequence in [agent.sequence, 1, u64::MAX] {
        other.sequence = sequence;
        assert_eq!(other.acknowledge().await.unwrap_err().code(), Code::InvalidArgument, "{sequence}");
    }
    other.sequence = own;
    let mut answered = 0;
    for agent in [&agent, &other] {
        let request = v1::ListAuditEntriesRequest {
            action: "bundle.acknowledge".into(),
            target: format!("session/{}", agent.id),
            ..Default::default()
        };
        answered += world.admin().audit().list_audit_entries(request).await.unwrap().into_inner().entries.len();
    }
    assert_eq!(answered, 2);
    let verified = world.admin().audit().verify_audit(v1::VerifyAuditRequest {}).await.unwrap().into_inner();
    assert!(verified.intact, "{verified:?}");
}

/// Two agents that hold one identity: the second is refused, and that is on record.
#[tokio::test]
async fn a_clone_is_refused_and_on_record() {
    let world = World::new().await;
    let mut agent = Agent::boot(&world, "").await;
    let mut stream = agent.watch().await;
    agent.attempt -= 1; // as the copy of it, resumed from the same snapshot, would say
    assert_eq!(agent.try_watch().await.err().map(|e| e.code()), Some(Code::FailedPrecondition));
    let request = v1::ListAuditEntriesRequest { action: "session.clone".into(), ..Default::default() };
    let entries = world.admin().audit().list_audit_entries(request).await.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 1, "{entries:?}");
    let rollout = world.admin().create("api-key", Visibility::Shared, b"value").await;
    world
        .admin()
        .push(Reach::Secret(v1::SecretRef { id: rollout.id, ..Default::default() }), PushOptions::default())
        .await;
    stream.push().await; // the first one goes on
}

/// Streams of sessions and of people end with what lets them be: measured, and asserted with far more time than it takes.
#[tokio::test(flavor = "multi_thread")]
async fn revocation_cuts_open_streams() {
    const SESSIONS: usize = 200;
    let world = World::new().await;
    let mut agents = Vec::new();
    for _ in 0..SESSIONS {
        agents.push(Agent::boot(&world, "").await);
    }
    let (mut cuts, mut ids) = (Vec::new(), Vec::new());
    for mut agent in agents {
        let mut stream = agent.watch().await;
        ids.push(agent.id.clone());
        cuts.push(tokio::spawn(async move {
            let code = stream.end().await;
            drop(agent); // not before: its connection is the stream's
            (code, Instant::now())
        }));
    }
    let mut waits = Vec::new();
    for (number, (id, cut)) in ids.into_iter().zip(cuts).enumerate() {
        let revoked = Instant::now();
        match number % 2 {
            0 => drop(world.admin().sessions().revoke_session(v1::RevokeSessionRequest { id }).await.expect("revoked")),
            _ => drop(world.admin().sessions().end_session(v1::EndSessionRequest { id }).await.expect("ended")),
        }
        let (code, at) = timeout(PATIENCE, cut).await.expect("it is cut").expect("no panic");
        assert_eq!(code, Code::Unauthenticated);
        waits.push(at.saturating_duration_since(revoked));
    }
    waits.sort();
    let (median, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    let _ = writeln!(
        std::io::stderr(),
        "{SESSIONS} streams cut: median {median:?}, p99 {p99:?}, longest {:?}",
        waits[waits.len() - 1]
    );

    // A person who is removed stops seeing, too.
    let alice = world.person("alice", Role::Member).await;
    alice.create("mine", Visibility::Private, b"old").await;
    let mut agent = Agent::boot(&world, "alice").await;
    let rollout = alice.rotate("mine", Visibility::Private, b"new", Some(PushOptions::default())).await;
    let mut stream = agent.watch().await;
    let request = v1::WatchRolloutRequest { id: rollout };
    let mut watched = alice.rollouts().watch_rollout(request).await.expect("a stream").into_inner();
    watched.message().await.expect("no error").expect("a first message");
    world.admin().users().remove_user(v1::RemoveUserRequest { name: "alice".into() }).await.expect("she is removed");
    assert_eq!(stream.end().await, Code::Unauthenticated);
    let end = timeout(PATIENCE, async {
        loop {
            if let Err(status) = watched.message().await {
                return status.code();
            }
        }
    });
    assert_eq!(end.await.expect("it is cut"), Code::Unauthenticated);
}

/// A server that is told to stop does not wait for streams that nothing will end.
#[tokio::test]
async fn a_server_that_stops_sends_its_streams_away() {
    let mut world = World::new().await;
    let mut agent = Agent::boot(&world, "").await;
    let mut stream = agent.watch().await;
    let ended = tokio::spawn(async move { stream.end().await });
    let well = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        (world.terminate_server(), started.elapsed())
    });
    let (well, took) = well.await.unwrap();
    assert!(well && took < Duration::from_secs(9), "{took:?}: less than the time to drain");
    assert_eq!(ended.await.unwrap(), Code::Unavailable);
}
