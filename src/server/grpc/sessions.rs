//! Sessions, for whoever boots VMs.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    App,
    convert::{detail, join_ttl, page_size, timestamp},
    credential,
};
use crate::{
    domain::{
        identity::{Caller, Role, Subject},
        join::Audience,
        name::{EnvironmentName, Id, OrgName, UserName},
        policy::{Action, Target, Verdict, decide},
        report::{Line, Report},
    },
    server::{
        error::Error,
        store::{Credential, Given, GivenSecret, SessionRow, SessionState, Tx, new_id},
    },
    wire::v1::{self, session_service_server::SessionService},
};

pub struct SessionCalls(pub Arc<App>);

#[tonic::async_trait]
impl SessionService for SessionCalls {
    async fn create_session(
        &self,
        request: Request<v1::CreateSessionRequest>,
    ) -> Result<Response<v1::CreateSessionResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let ttl = join_ttl(request.join_ttl_seconds)?;
        let environment = if request.environment.is_empty() { "default" } else { &request.environment };
        let environment = EnvironmentName::parse(environment).map_err(|e| Error::Invalid(e.to_string()))?;
        let user = match request.user.as_str() {
            "" => None,
            name => Some(UserName::parse(name).map_err(|e| Error::Invalid(e.to_string()))?),
        };
        let (session, boot, token) = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let id = new_id()?;
                let facts = detail([
                    ("environment", environment.to_string()),
                    ("user", user.as_ref().map_or("", UserName::as_str).to_owned()),
                ]);
                let target = Target::Session { id: id.clone(), user: user.clone() };
                let grant =
                    tx.admit(caller.org(), decide(&caller, Action::SessionCreate, &target), "session", facts)?;
                let (session, boot) = tx.create_session(&grant, id.clone(), user.as_ref(), &environment, ttl)?;
                let token = tx.create_join_token(&grant, &Subject::Session(id), session.join_expires_at)?;
                Ok((Shown::of(tx, &caller, session), boot, token))
            })
            .await?;
        let join_expires_at = Some(timestamp(session.row.join_expires_at));
        let join = self.0.join_text(Audience::Session, token, boot);
        Ok(Response::new(v1::CreateSessionResponse { session: Some(session.into()), join, join_expires_at }))
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        let credential = credential(&request)?;
        let id = request.into_inner().id;
        let (session, (variables, names_hidden)) = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, session) = find(tx, caller.org(), &id)?;
                let view = tx.view(caller.org(), &decide(&caller, Action::SessionRead, &target), "session")?;
                let session = session.ok_or_else(|| Error::not_found("session"))?;
                let given = variables(&caller, &session, tx.given(&view, &session)?);
                Ok((Shown::of(tx, &caller, session), given))
            })
            .await?;
        Ok(Response::new(v1::GetSessionResponse { session: Some(session.into()), variables, names_hidden }))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let size = page_size(request.page_size);
        let after = cursor(&request.page_token)?;
        let sessions = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let view =
                    tx.view(caller.org(), &decide(&caller, Action::SessionRead, &Target::Organization), "session")?;
                let user = match caller.user() {
                    Some(own) if caller.role == Role::Member => {
                        if !request.user.is_empty() && request.user != own.as_str() {
                            return Ok(Vec::new()); // another's sessions: as if there were none
                        }
                        own.as_str()
                    }
                    _ => &request.user,
                };
                let after = after.as_ref().map(|(at, id)| (*at, id));
                let rows = tx.sessions(&view, user, &request.environment, request.all, after, size)?;
                Ok(rows.into_iter().map(|row| Shown::of(tx, &caller, row)).collect())
            })
            .await?;
        let next_page_token = match sessions.last() {
            Some(last) if sessions.len() == size as usize => format!("{}.{}", last.row.created_at, last.row.id),
            _ => String::new(),
        };
        Ok(Response::new(v1::ListSessionsResponse {
            sessions: sessions.into_iter().map(Into::into).collect(),
            next_page_token,
        }))
    }

    async fn end_session(
        &self,
        request: Request<v1::EndSessionRequest>,
    ) -> Result<Response<v1::EndSessionResponse>, Status> {
        let credential = credential(&request)?;
        let session = self.end(credential, Action::SessionEnd, request.into_inner().id).await?;
        Ok(Response::new(v1::EndSessionResponse { session: Some(session) }))
    }

    async fn revoke_session(
        &self,
        request: Request<v1::RevokeSessionRequest>,
    ) -> Result<Response<v1::RevokeSessionResponse>, Status> {
        let credential = credential(&request)?;
        let session = self.end(credential, Action::SessionRevoke, request.into_inner().id).await?;
        Ok(Response::new(v1::RevokeSessionResponse { session: Some(session) }))
    }
}

impl SessionCalls {
    async fn end(&self, credential: Credential, how: Action, id: String) -> Result<v1::Session, Error> {
        let ended = self.0.store.write(move |tx| {
            let caller = tx.caller(&credential)?;
            let (target, session) = find(tx, caller.org(), &id)?;
            let grant = tx.admit(caller.org(), decide(&caller, how, &target), "session", detail([]))?;
            let session = tx.end_session(&grant, &session.ok_or_else(|| Error::not_found("session"))?)?;
            Ok(Shown::of(tx, &caller, session))
        });
        ended.await.map(Into::into)
    }
}

/// An id that is none names nothing.
pub(super) fn find(tx: &Tx<'_>, org: &OrgName, id: &str) -> Result<(Target, Option<SessionRow>), Error> {
    let session = match Id::parse(id) {
        Ok(id) => tx.session(org, &id)?,
        Err(_) => None,
    };
    let target = session.as_ref().map_or(Target::Absent { label: "session/unknown".into() }, SessionRow::target);
    Ok((target, session))
}

/// What a session has, as one caller may know it; and whether there is more.
fn variables(caller: &Caller, session: &SessionRow, given: Given) -> (Vec<v1::SessionVariable>, bool) {
    let may = |action, target: &Target| decide(caller, action, target).verdict() == Verdict::Allow;
    let all = may(Action::SessionReadNames, &session.target());
    let environment = all || may(Action::EnvironmentRead, &Target::Environment { name: session.environment.clone() });
    let of_environment = given.variables.into_iter().map(|variable| v1::SessionVariable {
        variable,
        origin: v1::Origin::Environment.into(),
        name: session.environment.clone(),
        version: session.environment_version.to_string(),
        ..Default::default()
    });
    let mut hidden = !environment && of_environment.len() > 0;
    let mut variables: Vec<_> = of_environment.filter(|_| environment).collect();
    for GivenSecret { secret, version } in given.secrets {
        if !all && !may(Action::SecretRead, &secret.target()) {
            hidden = true;
            continue;
        }
        variables.push(v1::SessionVariable {
            origin: v1::Origin::from(secret.origin()).into(),
            outdated: version != secret.version,
            variable: secret.variable,
            name: secret.name,
            version,
            secret: secret.id.to_string(),
        });
    }
    variables.sort_by(|a, b| a.variable.cmp(&b.variable));
    (variables, hidden)
}

/// Where a page of sessions ended: `created_at.id`.
pub(super) fn cursor(token: &str) -> Result<Option<(i64, Id)>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let parsed = token.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, Id::parse(id).ok()?)));
    parsed.map(Some).ok_or_else(|| Error::Invalid("the page token is not one of ours".into()))
}

/// A session as one caller sees it, and its state at the time of the transaction.
pub(super) struct Shown {
    pub row: SessionRow,
    pub state: SessionState,
}

impl Shown {
    pub fn of(tx: &Tx<'_>, caller: &Caller, mut row: SessionRow) -> Self {
        let state = row.state(tx.now);
        let names = decide(caller, Action::SessionReadNames, &row.target()).verdict() == Verdict::Allow;
        if let Some((_, report)) = row.report.as_mut().filter(|(_, report)| report.last_error_names && !names) {
            report.last_error = Line::default();
        }
        Self { row, state }
    }
}

impl From<Shown> for v1::Session {
    fn from(Shown { row, state }: Shown) -> Self {
        let state = match state {
            SessionState::Pending => v1::SessionState::Pending,
            SessionState::Active => v1::SessionState::Active,
            SessionState::Ended => v1::SessionState::Ended,
            SessionState::Revoked => v1::SessionState::Revoked,
            SessionState::Expired => v1::SessionState::Expired,
        };
        Self {
            id: row.id.to_string(),
            user: row.user,
            environment: row.environment,
            environment_version: row.environment_version,
            state: state.into(),
            created_by: row.created_by,
            created_at: Some(timestamp(row.created_at)),
            enrolled_at: row.enrolled_at.map(timestamp),
            fetched_at: row.fetched_at.map(timestamp),
            bundle_version: row.bundle_version.unwrap_or_default(),
            ended_at: row.ended_at.map(timestamp),
            reported_at: row.report.as_ref().map(|(at, _)| timestamp(*at)),
            agent: row.report.map(|(_, report)| status(&row.id, report)),
        }
    }
}

/// As the agent said it; what the store does not keep is left out.
fn status(session: &Id, report: Report) -> v1::AgentStatus {
    v1::AgentStatus {
        phase: v1::Phase::from(report.phase).into(),
        session: session.to_string(),
        bundle_version: report.bundle.map(|id| id.to_string()).unwrap_or_default(),
        memory_rung: report.memory_rung.into(),
        files_rung: report.files_rung.into(),
        redaction: report.redaction.into(),
        last_error: report.last_error.into(),
        last_error_names: report.last_error_names,
        agent_version: report.agent_version.into(),
        ..Default::default()
    }
}
