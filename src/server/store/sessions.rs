//! Sessions: one VM boot each, pinned to a version of its environment; and what their agents report.

use super::{Error, Grant, Row, Tx, View, bind};
use crate::domain::{
    boot::BootPolicy,
    identity::{Role, Subject},
    name::{EnvironmentName, Id, OrgName, UserName},
    policy::{Action, Target},
    report::{Line, MAX_PHASES, PHASE_HOUR, Phase, Report},
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
    /// The last one, and when it came.
    pub report: Option<(i64, Report)>,
    /// When the hour began in which its phase changes are counted, and how many of it are on record.
    phases: (i64, u64),
}

/// What a report does to a session's phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseChange {
    None,
    /// Goes on record; the last of its hour.
    Recorded {
        last: bool,
    },
    /// One of too many within an hour.
    TooMany,
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

    /// As its agent reported it last.
    pub fn phase(&self) -> Option<Phase> {
        self.report.as_ref().map(|(_, report)| report.phase)
    }

    /// What a report of this phase does.
    pub fn phase_change(&self, phase: Phase, now: i64) -> PhaseChange {
        match self.phases(now) {
            _ if self.phase() == Some(phase) => PhaseChange::None,
            (_, MAX_PHASES..) => PhaseChange::TooMany,
            (_, count) => PhaseChange::Recorded { last: count + 1 == MAX_PHASES },
        }
    }

    fn phases(&self, now: i64) -> (i64, u64) {
        let (since, count) = self.phases;
        if (since..since.saturating_add(PHASE_HOUR)).contains(&now) { (since, count) } else { (now, 0) }
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
                       ended_at, revoked, reported_at, phase, installed, memory_rung, files_rung, last_error, last_error_names, agent_version, \
                       redaction, phases_since, phases";

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
        report: match row.opt_int(12)? {
            Some(at) => Some((at, report(row)?)),
            None => None,
        },
        phases: (row.int(21)?, row.uint(22)?),
    })
}

fn report(row: &Row<'_>) -> Result<Report, Error> {
    fn line<const MAX: usize>(row: &Row<'_>, at: usize) -> Result<Line<MAX>, Error> {
        Line::parse(&row.text(at)?).map_err(|_| corrupt())
    }
    fn corrupt() -> Error {
        Error::Corrupt("a session's report can't be read".into())
    }
    let bundle = row.text(14)?;
    Ok(Report {
        phase: Phase::parse(&row.text(13)?).ok_or_else(corrupt)?,
        bundle: (!bundle.is_empty()).then(|| Id::parse(&bundle)).transpose().map_err(|_| corrupt())?,
        memory_rung: line(row, 15)?,
        files_rung: line(row, 16)?,
        redaction: match row.opt_text(20)? {
            Some(text) => Line::parse(&text).map_err(|_| corrupt())?,
            None => Line::default(),
        },
        last_error: line(row, 17)?,
        last_error_names: row.bool(18)?,
        agent_version: line(row, 19)?,
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

    /// Keeps a report that changes the session's phase, which is on record.
    pub fn change_phase(&self, grant: &Grant, session: &SessionRow, report: &Report) -> Result<(), Error> {
        grant.covers(Action::SessionReport, &format!("session/{}", session.id))?;
        let (since, count) = session.phases(self.now);
        self.execute(
            "UPDATE sessions SET phases_since = ?3, phases = ?4 WHERE org = ?1 AND id = ?2",
            bind![grant.org(), &session.id, since, count + 1],
        )?;
        self.keep_report(grant.org(), &session.id, report)
    }

    /// Keeps a report of the phase that the session is in already: agents repeat theirs twice a minute, and the audit chain
    /// would hold little else. Or one of too many changes, by which a session could fill it.
    pub fn repeat_report(&self, view: &View, session: &SessionRow, report: &Report) -> Result<(), Error> {
        view.covers(Action::SessionReport, &format!("session/{}", session.id))?;
        if let PhaseChange::Recorded { .. } = session.phase_change(report.phase, self.now) {
            return Err(Error::Internal("a phase was changed without a record"));
        }
        self.keep_report(view.org(), &session.id, report)
    }

    fn keep_report(&self, org: &OrgName, session: &Id, report: &Report) -> Result<(), Error> {
        self.execute(
            "UPDATE sessions SET reported_at = ?3, phase = ?4, installed = ?5, memory_rung = ?6, files_rung = ?7, last_error = ?8,
               last_error_names = ?9, agent_version = ?10, redaction = ?11
             WHERE org = ?1 AND id = ?2",
            bind![
                org,
                session,
                self.now,
                report.phase.as_str(),
                report.bundle.as_ref().map_or("", Id::as_str),
                report.memory_rung.as_str(),
                report.files_rung.as_str(),
                report.last_error.as_str(),
                report.last_error_names,
                report.agent_version.as_str(),
                report.redaction.as_str()
            ],
        )?;
        Ok(())
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
        self.end_targets(org, id)
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
