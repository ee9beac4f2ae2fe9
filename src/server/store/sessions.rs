//! Sessions: one VM boot each, pinned to a version of its environment.

use super::{Error, Grant, Row, Tx, View, bind};
use crate::domain::{
    boot::BootPolicy,
    identity::{Role, Subject},
    name::{EnvironmentName, Id, OrgName, UserName},
    policy::{Action, Target},
};

#[derive(Debug, Clone)]
pub struct SessionRow {
    pub id: Id,
    /// Empty for automation.
    pub user: String,
    pub environment: String,
    pub environment_version: u64,
    pub created_by: String,
    pub created_at: i64,
    pub join_expires_at: i64,
    pub enrolled_at: Option<i64>,
    pub fetched_at: Option<i64>,
    pub bundle_version: Option<String>,
    pub ended_at: Option<i64>,
    pub revoked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    Pending,
    Active,
    Ended,
    Revoked,
    Expired,
}

impl SessionRow {
    pub fn target(&self) -> Target {
        Target::Session { id: self.id.clone(), user: UserName::parse(&self.user).ok() }
    }

    pub fn state(&self, now: i64) -> SessionState {
        match (self.ended_at, self.enrolled_at) {
            (Some(_), _) if self.revoked => SessionState::Revoked,
            (Some(_), _) => SessionState::Ended,
            (None, Some(_)) => SessionState::Active,
            (None, None) if now < self.join_expires_at => SessionState::Pending,
            (None, None) => SessionState::Expired,
        }
    }
}

const COLUMNS: &str = "id, user_name, environment, environment_version, created_by, created_at, join_expires_at, enrolled_at, fetched_at, content_id, \
                       ended_at, revoked";

fn session_row(row: &Row<'_>) -> Result<SessionRow, Error> {
    Ok(SessionRow {
        id: Id::parse(&row.text(0)?).map_err(|_| Error::Corrupt("a session's id is none".into()))?,
        user: row.text(1)?,
        environment: row.text(2)?,
        environment_version: row.uint(3)?,
        created_by: row.text(4)?,
        created_at: row.int(5)?,
        join_expires_at: row.int(6)?,
        enrolled_at: row.opt_int(7)?,
        fetched_at: row.opt_int(8)?,
        bundle_version: row.opt_text(9)?,
        ended_at: row.opt_int(10)?,
        revoked: row.bool(11)?,
    })
}

impl Tx<'_> {
    pub fn session(&self, org: &OrgName, id: &Id) -> Result<Option<SessionRow>, Error> {
        self.one(&format!("SELECT {COLUMNS} FROM sessions WHERE org = ?1 AND id = ?2"), bind![org, id], session_row)
    }

    /// Newest first. `user` and `environment` narrow where they are not empty; `after` is where the page before ended.
    pub fn sessions(
        &self,
        view: &View,
        user: &str,
        environment: &str,
        all: bool,
        after: Option<(i64, &Id)>,
        limit: u32,
    ) -> Result<Vec<SessionRow>, Error> {
        view.covers(Action::SessionRead, "organization")?;
        let (at, id) = after.map_or((i64::MAX, ""), |(at, id)| (at, id.as_str()));
        let sql = format!(
            "SELECT {COLUMNS} FROM sessions WHERE org = ?1 AND (?2 = '' OR user_name = ?2) AND (?3 = '' OR environment = ?3)
               AND (?4 = 1 OR (ended_at IS NULL AND (enrolled_at IS NOT NULL OR join_expires_at > ?5)))
               AND (created_at < ?6 OR (created_at = ?6 AND id < ?7))
             ORDER BY created_at DESC, id DESC LIMIT ?8"
        );
        self.all(&sql, bind![view.org(), user, environment, all, self.now, at, id, i64::from(limit)], session_row)
    }

    /// Makes a session for a person (none: automation) in the newest version of an environment; gives it, and that
    /// version's boot policy.
    pub fn create_session(
        &self,
        grant: &Grant,
        id: Id,
        user: Option<&UserName>,
        environment: &EnvironmentName,
        join_ttl: i64,
    ) -> Result<(SessionRow, BootPolicy), Error> {
        grant.covers(Action::SessionCreate, &format!("session/{id}"))?;
        let org = grant.org();
        if let Some(name) = user {
            match self.user(org, name)?.map(|u| u.role) {
                Some(Role::Member | Role::Admin) => {}
                _ => {
                    return Err(Error::NotFound(format!(
                        "there is no person `{name}` in the organization; `keyfob user list` shows who is there"
                    )));
                }
            }
        }
        let (version, boot) = match self.environment(org, environment)? {
            Some(found) => (found.version, found.boot),
            None => {
                return Err(Error::NotFound(format!(
                    "there is no environment `{environment}`; `keyfob env list` shows them"
                )));
            }
        };
        self.execute(
            "INSERT INTO sessions (org, id, user_name, environment, environment_version, created_by, created_at, join_expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            bind![org, &id, user.map_or("", UserName::as_str), environment.as_str(), version, grant.actor(), self.now, self.now + join_ttl],
        )?;
        let session = self.session(org, &id)?.ok_or(Error::Internal("a session that was just made"))?;
        Ok((session, boot))
    }

    /// Ends or, by the grant's action, revokes a session. One that has ended stays as it is.
    pub fn end_session(&self, grant: &Grant, session: &SessionRow) -> Result<SessionRow, Error> {
        let target = format!("session/{}", session.id);
        let revoke = grant.covers(Action::SessionRevoke, &target).is_ok();
        if !revoke {
            grant.covers(Action::SessionEnd, &target)?;
        }
        self.close_session(grant.org(), &session.id, revoke)?;
        self.revoke_credentials(grant, &Subject::Session(session.id.clone()))?;
        self.session(grant.org(), &session.id)?.ok_or(Error::Internal("a session that was just ended"))
    }

    pub(super) fn close_session(&self, org: &OrgName, id: &Id, revoke: bool) -> Result<(), Error> {
        self.execute(
            "UPDATE sessions SET ended_at = ?3, revoked = ?4 WHERE org = ?1 AND id = ?2 AND ended_at IS NULL",
            bind![org, id, self.now, revoke],
        )?;
        Ok(())
    }

    pub(super) fn live_sessions_of(&self, org: &OrgName, user: &UserName) -> Result<Vec<Id>, Error> {
        let ids = self.all(
            "SELECT id FROM sessions WHERE org = ?1 AND user_name = ?2 AND ended_at IS NULL",
            bind![org, user],
            |row| row.text(0),
        )?;
        ids.iter().map(|id| Id::parse(id).map_err(|_| Error::Corrupt("a session's id is none".into()))).collect()
    }
}
