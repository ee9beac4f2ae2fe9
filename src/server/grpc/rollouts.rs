//! Rollouts, for people: pushing, and watching it arrive.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{sync::mpsc, time::Duration};
use tonic::{Request, Response, Status, codegen::tokio_stream::Stream};

use super::{
    App,
    convert::{detail, page_size, timestamp},
    credential, secrets,
};
use crate::{
    domain::{
        identity::{Caller, Role},
        name::{EnvironmentName, Id, OrgName, UserName},
        policy::{Action, Target, Verdict, decide},
        rollout::{Pace, Reach, State},
    },
    server::{
        error::Error,
        store::{Credential, RolloutRow, SecretRow, TargetRow, Tx, View, new_id},
    },
    wire::v1::{self, create_rollout_request::Reach as Asked, rollout_service_server::RolloutService},
};

pub struct RolloutCalls(pub Arc<App>);

/// Between two looks at a rollout that somebody watches.
const BREATH: Duration = Duration::from_millis(100);
/// Sessions in one message of a watch.
const CHANGES: u32 = 1_000;

#[tonic::async_trait]
impl RolloutService for RolloutCalls {
    async fn create_rollout(
        &self,
        request: Request<v1::CreateRolloutRequest>,
    ) -> Result<Response<v1::CreateRolloutResponse>, Status> {
        let credential = credential(&request)?;
        let v1::CreateRolloutRequest { reach, options } = request.into_inner();
        let asked = reach
            .filter(|asked| !matches!(asked, Asked::All(false)))
            .ok_or_else(|| Error::Invalid("say what to push: a secret, an environment, a session, or all".into()))?;
        let pace = pace(options)?;
        let rollout = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let row = create(tx, &caller, reach_of(tx, &caller, &asked)?, pace)?;
                Shown::of(tx, &caller, row)
            })
            .await?;
        Ok(Response::new(v1::CreateRolloutResponse { rollout: Some(rollout.into()) }))
    }

    async fn get_rollout(
        &self,
        request: Request<v1::GetRolloutRequest>,
    ) -> Result<Response<v1::GetRolloutResponse>, Status> {
        let credential = credential(&request)?;
        let id = request.into_inner().id;
        let rollout = self
            .0
            .read_on_record(move |tx| {
                let (caller, _, row) = find(tx, &credential, &id)?;
                Shown::of(tx, &caller, row)
            })
            .await?;
        Ok(Response::new(v1::GetRolloutResponse { rollout: Some(rollout.into()) }))
    }

    async fn list_rollouts(
        &self,
        request: Request<v1::ListRolloutsRequest>,
    ) -> Result<Response<v1::ListRolloutsResponse>, Status> {
        let credential = credential(&request)?;
        let v1::ListRolloutsRequest { page_size: size, page_token } = request.into_inner();
        let (size, below) = (page_size(size), below(&page_token)?);
        let rollouts = self
            .0
            .read_on_record(move |tx| {
                let caller = tx.caller(&credential)?;
                let decision = decide(&caller, Action::RolloutRead, &Target::Organization);
                let view = tx.view(caller.org(), &decision, "rollout")?;
                let own = (caller.role == Role::Member).then(|| caller.identity.subject.to_string());
                let rows = tx.rollouts(&view, own.as_deref(), below, size)?;
                rows.into_iter().map(|row| Shown::of(tx, &caller, row)).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let next_page_token = match rollouts.last() {
            Some(last) if rollouts.len() == size as usize => last.row.sequence.to_string(),
            _ => String::new(),
        };
        let rollouts = rollouts.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListRolloutsResponse { rollouts, next_page_token }))
    }

    async fn list_rollout_targets(
        &self,
        request: Request<v1::ListRolloutTargetsRequest>,
    ) -> Result<Response<v1::ListRolloutTargetsResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let state = request.state().to_domain();
        let size = page_size(request.page_size);
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(Id::parse(token).map_err(|_| Error::Invalid(NOT_OURS.into()))?),
        };
        let targets = self
            .0
            .read_on_record(move |tx| {
                let (caller, view, row) = find(tx, &credential, &request.id)?;
                let rows = tx.rollout_targets(&view, &row.id, state, after.as_ref(), size)?;
                Ok(rows.into_iter().map(|row| target(&caller, row)).collect::<Vec<_>>())
            })
            .await?;
        let next_page_token = match targets.last() {
            Some(last) if targets.len() == size as usize => last.session.clone(),
            _ => String::new(),
        };
        Ok(Response::new(v1::ListRolloutTargetsResponse { targets, next_page_token }))
    }

    type WatchRolloutStream = Received;

    async fn watch_rollout(
        &self,
        request: Request<v1::WatchRolloutRequest>,
    ) -> Result<Response<Self::WatchRolloutStream>, Status> {
        let credential = credential(&request)?;
        let id = request.into_inner().id;
        let follower = self.0.streams.follow(credential.identity.clone());
        let mut changed = self.0.streams.rollouts();
        let mut seen = 0;
        let mut news = changes(&self.0, &credential, &id, &mut seen).await?;
        let (send, receive) = mpsc::channel(1);
        let app = self.0.clone();
        tokio::spawn(async move {
            let following = async {
                loop {
                    let (over, more) = (news.rollout.ended_at.is_some() && !news.more, news.more);
                    if (over || !news.changed.is_empty()) && news.send(&send).await.is_err() {
                        return;
                    }
                    if over {
                        return;
                    }
                    if !more {
                        if changed.changed().await.is_err() {
                            return;
                        }
                        tokio::time::sleep(BREATH).await;
                        changed.mark_unchanged();
                    }
                    match changes(&app, &credential, &id, &mut seen).await {
                        Ok(next) => news = next, // of another rollout, where nothing is in it
                        Err(status) => {
                            let _ = send.send(Err(status)).await;
                            return;
                        }
                    }
                }
            };
            tokio::select! {
                () = following => {}
                why = follower.ended() => { let _ = send.send(Err(why)).await; }
                () = send.closed() => {}
            }
        });
        Ok(Response::new(Received(receive)))
    }
}

/// What has changed in a rollout.
struct News {
    rollout: v1::Rollout,
    changed: Vec<v1::RolloutTarget>,
    /// There is more already.
    more: bool,
}

impl News {
    /// In messages of a size that clients take.
    async fn send(self, to: &mpsc::Sender<Result<v1::WatchRolloutResponse, Status>>) -> Result<(), ()> {
        let Self { rollout, mut changed, .. } = self;
        loop {
            let rest = changed.split_off(changed.len().min(CHANGES as usize));
            let message = v1::WatchRolloutResponse { rollout: Some(rollout.clone()), changed };
            to.send(Ok(message)).await.map_err(drop)?;
            if rest.is_empty() {
                return Ok(());
            }
            changed = rest;
        }
    }
}

/// What has changed since `seen`. Who asks is looked up anew each time.
async fn changes(app: &Arc<App>, credential: &Credential, id: &str, seen: &mut u64) -> Result<News, Status> {
    let (credential, id, after) = (credential.clone(), id.to_owned(), *seen);
    let (rollout, changed, revision) = app
        .read_on_record(move |tx| {
            let (caller, view, row) = find(tx, &credential, &id)?;
            let rows = tx.rollout_changes(&view, &row.id, after, CHANGES)?;
            let revision = rows.last().map_or(after, |(revision, _)| *revision);
            let changed: Vec<_> = rows.into_iter().map(|(_, row)| target(&caller, row)).collect();
            Ok((Shown::of(tx, &caller, row)?, changed, revision))
        })
        .await?;
    *seen = revision;
    let more = revision < rollout.row.revision && !changed.is_empty();
    Ok(News { rollout: rollout.into(), changed, more })
}

/// The stream of a watch.
pub struct Received(mpsc::Receiver<Result<v1::WatchRolloutResponse, Status>>);

impl Stream for Received {
    type Item = Result<v1::WatchRolloutResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

const NOT_OURS: &str = "the page token is not one of ours";

fn below(token: &str) -> Result<Option<u64>, Error> {
    match token {
        "" => Ok(None),
        token => token.parse().map(Some).map_err(|_| Error::Invalid(NOT_OURS.into())),
    }
}

pub fn pace(options: Option<v1::PushOptions>) -> Result<Pace, Error> {
    let v1::PushOptions { max_in_flight, patience_seconds } = options.unwrap_or_default();
    Pace::new(max_in_flight, patience_seconds)
        .ok_or_else(|| Error::Invalid(format!("{} seconds of patience are the most", Pace::MAX_PATIENCE)))
}

/// Starts a rollout, in the transaction at hand.
pub fn create(tx: &Tx<'_>, caller: &Caller, reach: Option<Reach>, pace: Pace) -> Result<RolloutRow, Error> {
    let id = new_id()?;
    let target = match &reach {
        Some(reach) => {
            Target::Rollout { id: id.clone(), reach: reach.clone(), created_by: caller.identity.subject.to_string() }
        }
        None => Target::Absent { label: "rollout/unknown".into() },
    };
    let facts = reach.as_ref().map(|r| detail([("reach", r.kind().to_owned()), ("target", r.target().to_owned())]));
    let decision = decide(caller, Action::RolloutCreate, &target);
    let what = "secret, environment or session";
    let grant = tx.admit(caller.org(), decision, what, facts.unwrap_or_default())?;
    let reach = reach.ok_or_else(|| Error::not_found(what))?;
    tx.create_rollout(&grant, &id, &reach, pace)
}

pub fn of_secret(row: &SecretRow) -> Reach {
    let owner = UserName::parse(&row.owner).ok();
    Reach::Secret { id: row.id.clone(), owner, created_by: row.created_by.clone() }
}

/// `None` for what is not there.
fn reach_of(tx: &Tx<'_>, caller: &Caller, asked: &Asked) -> Result<Option<Reach>, Error> {
    let org: &OrgName = caller.org();
    Ok(match asked {
        Asked::Secret(wanted) => secrets::find(tx, caller, wanted)?.1.as_ref().map(of_secret),
        Asked::Environment(name) => match EnvironmentName::parse(name) {
            Ok(name) => tx.environment(org, &name)?.map(|_| Reach::Environment(name.to_string())),
            Err(_) => None,
        },
        Asked::Session(id) => match Id::parse(id) {
            Ok(id) => tx
                .session(org, &id)?
                .map(|row| Reach::Session { id: row.id.clone(), user: UserName::parse(&row.user).ok() }),
            Err(_) => None,
        },
        Asked::All(_) => Some(Reach::All),
    })
}

fn find(tx: &Tx<'_>, credential: &Credential, id: &str) -> Result<(Caller, View, RolloutRow), Error> {
    let caller = tx.caller(credential)?;
    let row = match Id::parse(id) {
        Ok(id) => tx.rollout(caller.org(), &id)?,
        Err(_) => None,
    };
    let target = row.as_ref().map_or(Target::Absent { label: "rollout/unknown".into() }, RolloutRow::seen);
    let view = tx.view(caller.org(), &decide(&caller, Action::RolloutRead, &target), "rollout")?;
    Ok((caller, view, row.ok_or_else(|| Error::not_found("rollout"))?))
}

/// A rollout as one caller sees it.
pub struct Shown {
    row: RolloutRow,
    name: String,
    counts: Vec<(State, u32)>,
}

impl Shown {
    pub fn of(tx: &Tx<'_>, caller: &Caller, row: RolloutRow) -> Result<Self, Error> {
        let counts = tx.rollout_counts(caller.org(), &row.id)?;
        let secret = match Id::parse(&row.target) {
            Ok(id) if row.reach == "secret" => tx.secret(caller.org(), &id)?,
            _ => None,
        };
        let may_know = |s: &SecretRow| decide(caller, Action::SecretRead, &s.target()).verdict() == Verdict::Allow;
        let name = secret.filter(may_know).map(|s| s.name).unwrap_or_default();
        Ok(Self { row, name, counts })
    }
}

impl From<Shown> for v1::Rollout {
    fn from(Shown { row, name, counts }: Shown) -> Self {
        let reach = match row.reach.as_str() {
            "secret" => v1::RolloutReach::Secret,
            "environment" => v1::RolloutReach::Environment,
            "session" => v1::RolloutReach::Session,
            _ => v1::RolloutReach::All,
        };
        let count = |(state, sessions)| v1::RolloutCount { state: v1::RolloutState::from(state).into(), sessions };
        Self {
            id: row.id.to_string(),
            reach: reach.into(),
            target: row.target,
            name,
            created_by: row.created_by,
            created_at: Some(timestamp(row.created_at)),
            ended_at: row.ended_at.map(timestamp),
            max_in_flight: row.pace.max_in_flight,
            patience_seconds: row.pace.patience,
            counts: counts.into_iter().map(count).collect(),
        }
    }
}

fn target(caller: &Caller, row: TargetRow) -> v1::RolloutTarget {
    let session = Target::Session { id: row.session.clone(), user: UserName::parse(&row.user).ok() };
    let may_know = decide(caller, Action::SessionReadNames, &session).verdict() == Verdict::Allow;
    let reason_hidden = row.reason_names && !may_know;
    v1::RolloutTarget {
        session: row.session.to_string(),
        user: row.user,
        environment: row.environment,
        state: v1::RolloutState::from(row.state).into(),
        reason: if reason_hidden { String::new() } else { row.reason },
        reason_hidden,
        changed_at: Some(timestamp(row.changed_at)),
    }
}
