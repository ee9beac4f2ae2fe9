//! Rollouts: which sessions a push concerns, what each was told and answered. `domain::rollout` draws the states.
//!
//! One number settles what an answer answers: a delivery takes in every push whose audit entry is before its own. For that,
//! nothing is delivered that was read before a push and recorded after it ([`Tx::pushed_since`]).

use std::collections::{HashMap, HashSet};

use super::{Error, Grant, Notice, Row, Tx, View, bind, bundles::Outline};
use crate::domain::{
    name::{Id, OrgName},
    policy::{Action, Target},
    report::Line,
    rollout::{Pace, Reach, State},
};

#[derive(Debug, Clone)]
pub struct RolloutRow {
    pub id: Id,
    pub sequence: u64,
    pub reach: String,
    /// An id or a name; empty for everything.
    pub target: String,
    pub pace: Pace,
    pub created_by: String,
    pub created_at: i64,
    pub ended_at: Option<i64>,
    pub revision: u64,
}

#[derive(Debug, Clone)]
pub struct TargetRow {
    pub session: Id,
    pub user: String,
    pub environment: String,
    pub state: State,
    pub reason: String,
    pub reason_names: bool,
    pub changed_at: i64,
}

impl RolloutRow {
    /// For a look at it: whose it is decides, not what it pushes.
    pub fn seen(&self) -> Target {
        Target::Rollout { id: self.id.clone(), reach: Reach::All, created_by: self.created_by.clone() }
    }
}

const COLUMNS: &str =
    "id, sequence, reach, target, max_in_flight, patience, created_by, created_at, ended_at, revision";
const TARGET_COLUMNS: &str =
    "t.session_id, s.user_name, s.environment, t.state, t.reason, t.reason_names, t.changed_at";

fn rollout_row(row: &Row<'_>) -> Result<RolloutRow, Error> {
    Ok(RolloutRow {
        id: id(row, 0)?,
        sequence: row.uint(1)?,
        reach: row.text(2)?,
        target: row.text(3)?,
        pace: Pace { max_in_flight: row.int(4)? as u32, patience: row.int(5)? as u32 },
        created_by: row.text(6)?,
        created_at: row.int(7)?,
        ended_at: row.opt_int(8)?,
        revision: row.uint(9)?,
    })
}

fn target_row(row: &Row<'_>) -> Result<TargetRow, Error> {
    Ok(TargetRow {
        session: id(row, 0)?,
        user: row.text(1)?,
        environment: row.text(2)?,
        state: state(row, 3)?,
        reason: row.text(4)?,
        reason_names: row.bool(5)?,
        changed_at: row.int(6)?,
    })
}

fn id(row: &Row<'_>, at: usize) -> Result<Id, Error> {
    Id::parse(&row.text(at)?).map_err(|_| Error::Corrupt("an id in a rollout is none".into()))
}

fn state(row: &Row<'_>, at: usize) -> Result<State, Error> {
    State::parse(&row.text(at)?).ok_or_else(|| Error::Corrupt("a rollout's state is none".into()))
}

/// A session that has fetched, with the content that it has.
struct Holding {
    session: Id,
    user: String,
    environment: String,
    version: u64,
    content: String,
}

impl Tx<'_> {
    /// Starts a rollout over the sessions in its reach whose bundle would change.
    pub fn create_rollout(&self, grant: &Grant, id: &Id, reach: &Reach, pace: Pace) -> Result<RolloutRow, Error> {
        grant.covers(Action::RolloutCreate, &format!("rollout/{id}"))?;
        let org = grant.org();
        let concerned = self.concerned(org, reach)?;
        self.execute(
            "INSERT INTO rollouts (org, id, sequence, reach, target, max_in_flight, patience, created_by, created_at, ended_at, revision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1)",
            bind![
                org, id, grant.sequence(), reach.kind(), reach.target(), i64::from(pace.max_in_flight), i64::from(pace.patience),
                grant.actor(), self.now, concerned.is_empty().then_some(self.now),
            ],
        )?;
        for session in &concerned {
            self.execute(
                "INSERT INTO rollout_targets (org, rollout_id, session_id, sequence, state, reason, reason_names, changed_at, revision)
                 VALUES (?1, ?2, ?3, ?4, 'waiting', '', 0, ?5, 1)",
                bind![org, id, session, grant.sequence(), self.now],
            )?;
        }
        self.announce(Notice::Rollouts);
        self.rollout(org, id)?.ok_or(Error::Internal("a rollout that was just made"))
    }

    /// Sessions whose acknowledged content (the delivered one, where none was acknowledged) is not what they would get now.
    fn concerned(&self, org: &OrgName, reach: &Reach) -> Result<Vec<Id>, Error> {
        let (mut owner, mut environment, mut session) = (None, "", "");
        match reach {
            Reach::Secret { owner: of, .. } => owner = of.as_ref().map(|user| user.as_str()),
            Reach::Environment(name) => environment = name,
            Reach::Session { id, .. } => session = id.as_str(),
            Reach::All => {}
        }
        let holding = self.all(
            "SELECT s.id, s.user_name, s.environment, s.environment_version, COALESCE(d.content_id, s.content_id) FROM sessions s
             LEFT JOIN deliveries d ON d.org = s.org AND d.sequence = s.installed_sequence
             WHERE s.org = ?1 AND s.ended_at IS NULL AND s.content_id IS NOT NULL AND (?2 = '' OR s.user_name = ?2)
               AND (?3 = '' OR s.environment = ?3) AND (?4 = '' OR s.id = ?4)
             ORDER BY s.created_at, s.id",
            bind![org, owner.unwrap_or(""), environment, session],
            |row| {
                Ok(Holding {
                    session: id(row, 0)?,
                    user: row.text(1)?,
                    environment: row.text(2)?,
                    version: row.uint(3)?,
                    content: row.text(4)?,
                })
            },
        )?;
        // Sessions of one user in one version of one environment get the same, and few contents are about.
        let mut outlines: HashMap<(String, String, u64), Outline> = HashMap::new();
        let mut answers: HashMap<(Id, String), bool> = HashMap::new();
        let mut concerned = Vec::new();
        for Holding { session, user, environment, version, content } in holding {
            let group = (user, environment, version);
            if !outlines.contains_key(&group) {
                outlines.insert(group.clone(), self.outline(org, &group.0, &group.1, group.2)?);
            }
            let outline = &outlines[&group];
            let question = (outline.bundle.clone(), content);
            let answer = match answers.get(&question) {
                Some(answer) => *answer,
                None => {
                    let changed = question.1 != outline.bundle.as_str();
                    let answer = changed && self.touches(org, reach, outline, &question.1)?;
                    answers.insert(question, answer);
                    answer
                }
            };
            if answer {
                concerned.push(session);
            }
        }
        Ok(concerned)
    }

    /// Whether what is pushed has to do with the difference: for a secret, whether it or another of its variable comes, goes or
    /// changes. Where the secrets are the same, it is a variable that differs, and nobody else can have caused that.
    fn touches(&self, org: &OrgName, reach: &Reach, outline: &Outline, content: &str) -> Result<bool, Error> {
        let Reach::Secret { id: pushed, .. } = reach else { return Ok(true) };
        let has = self.all(
            "SELECT secret_id, version FROM content_items WHERE org = ?1 AND content_id = ?2",
            bind![org, content],
            |row| Ok((id(row, 0)?, row.text(1)?)),
        )?;
        let (has, gets): (HashSet<_>, HashSet<_>) = (has.iter().collect(), outline.items.iter().collect());
        let mut differs: HashSet<&Id> = has.symmetric_difference(&gets).map(|(secret, _)| secret).collect();
        if differs.is_empty() || differs.remove(pushed) {
            return Ok(true);
        }
        let variable = |secret: &Id| self.secret(org, secret).map(|row| row.map(|row| row.variable));
        let Some(own) = variable(pushed)? else { return Ok(false) };
        for secret in differs {
            if variable(secret)?.as_ref() == Some(&own) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub fn rollout(&self, org: &OrgName, id: &Id) -> Result<Option<RolloutRow>, Error> {
        self.one(&format!("SELECT {COLUMNS} FROM rollouts WHERE org = ?1 AND id = ?2"), bind![org, id], rollout_row)
    }

    /// Newest first; those of one creator, or of all.
    pub fn rollouts(
        &self,
        view: &View,
        created_by: Option<&str>,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<RolloutRow>, Error> {
        view.covers(Action::RolloutRead, "organization")?;
        let sql = format!(
            "SELECT {COLUMNS} FROM rollouts WHERE org = ?1 AND (?2 = '' OR created_by = ?2) AND sequence < ?3 ORDER BY sequence DESC LIMIT ?4"
        );
        let below = below.map_or(i64::MAX, |s| s as i64);
        self.all(&sql, bind![view.org(), created_by.unwrap_or(""), below, i64::from(limit)], rollout_row)
    }

    /// How many sessions are in which state; states without any are left out.
    pub fn rollout_counts(&self, org: &OrgName, rollout: &Id) -> Result<Vec<(State, u32)>, Error> {
        let sql = "SELECT state, COUNT(*) FROM rollout_targets WHERE org = ?1 AND rollout_id = ?2 GROUP BY state";
        let counted = self.all(sql, bind![org, rollout], |row| Ok((state(row, 0)?, row.int(1)? as u32)))?;
        let found = |state| counted.iter().find(|(s, _)| *s == state).copied();
        Ok(State::ALL.into_iter().filter_map(found).collect())
    }

    /// By session; `after` is where the page before ended.
    pub fn rollout_targets(
        &self,
        view: &View,
        rollout: &Id,
        state: Option<State>,
        after: Option<&Id>,
        limit: u32,
    ) -> Result<Vec<TargetRow>, Error> {
        view.covers(Action::RolloutRead, &format!("rollout/{rollout}"))?;
        let sql = format!(
            "SELECT {TARGET_COLUMNS} FROM rollout_targets t JOIN sessions s ON s.org = t.org AND s.id = t.session_id
             WHERE t.org = ?1 AND t.rollout_id = ?2 AND (?3 = '' OR t.state = ?3) AND t.session_id > ?4 ORDER BY t.session_id LIMIT ?5"
        );
        let binds =
            bind![view.org(), rollout, state.map_or("", State::as_str), after.map_or("", Id::as_str), i64::from(limit)];
        self.all(&sql, binds, target_row)
    }

    /// What has changed after a revision, in order, with the revision of each.
    pub fn rollout_changes(
        &self,
        view: &View,
        rollout: &Id,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, TargetRow)>, Error> {
        view.covers(Action::RolloutRead, &format!("rollout/{rollout}"))?;
        // Those of one revision are given whole: the next call asks for what is after it.
        let sql = format!(
            "SELECT {TARGET_COLUMNS}, t.revision FROM rollout_targets t JOIN sessions s ON s.org = t.org AND s.id = t.session_id
             WHERE t.org = ?1 AND t.rollout_id = ?2 AND t.revision > ?3 AND t.revision <= COALESCE(
               (SELECT l.revision FROM rollout_targets l WHERE l.org = ?1 AND l.rollout_id = ?2 AND l.revision > ?3
                ORDER BY l.revision LIMIT 1 OFFSET ?4), ?5)
             ORDER BY t.revision, t.session_id"
        );
        let binds = bind![view.org(), rollout, after, i64::from(limit), i64::MAX];
        self.all(&sql, binds, |row| Ok((row.uint(7)?, target_row(row)?)))
    }

    // === what sessions are told and answer

    /// The newest push that a session is to be told of, after the bundle that it has.
    pub fn due(&self, org: &OrgName, session: &Id, installed: u64) -> Result<Option<u64>, Error> {
        let found = self.one(
            "SELECT MAX(t.sequence) FROM rollout_targets t JOIN rollouts r ON r.org = t.org AND r.id = t.rollout_id
             WHERE t.org = ?1 AND t.session_id = ?2 AND t.state IN ('waiting', 'told', 'failed', 'unreachable')
               AND (t.state <> 'waiting' OR r.max_in_flight = 0) AND t.sequence > ?3",
            bind![org, session, installed],
            |row| row.opt_int(0),
        )?;
        Ok(found.flatten().map(|s| s as u64))
    }

    /// When a delivery to this session was acknowledged, if it was; the outer `None`: there was no such delivery.
    pub fn delivery(&self, org: &OrgName, session: &Id, sequence: u64) -> Result<Option<Option<i64>>, Error> {
        let sql = "SELECT installed_at FROM deliveries WHERE org = ?1 AND sequence = ?2 AND session_id = ?3";
        self.one(sql, bind![org, sequence, session], |row| row.opt_int(0))
    }

    /// Puts on record that a session has installed what was delivered to it.
    pub fn acknowledge(&self, grant: &Grant, session: &Id, sequence: u64) -> Result<(), Error> {
        grant.covers(Action::BundleAcknowledge, &format!("session/{session}"))?;
        let org = grant.org();
        self.execute(
            "UPDATE deliveries SET installed_at = ?4 WHERE org = ?1 AND sequence = ?2 AND session_id = ?3 AND installed_at IS NULL",
            bind![org, sequence, session, self.now],
        )?;
        self.execute(
            "UPDATE sessions SET installed_sequence = ?3 WHERE org = ?1 AND id = ?2 AND COALESCE(installed_sequence, 0) < ?3",
            bind![org, session, sequence],
        )?;
        let answered = "state IN ('waiting', 'told', 'failed', 'unreachable') AND sequence < ?3";
        self.change(org, session, answered, sequence, State::Installed, None)
    }

    /// Whether a rollout waits for its turn with a session.
    pub fn waits(&self, org: &OrgName, session: &Id) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM rollout_targets WHERE org = ?1 AND session_id = ?2 AND state = 'waiting' LIMIT 1";
        Ok(self.one(sql, bind![org, session], |_| Ok(()))?.is_some())
    }

    /// Whether something that a session was told is unanswered.
    pub fn is_told(&self, org: &OrgName, session: &Id) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM rollout_targets WHERE org = ?1 AND session_id = ?2 AND state = 'told' LIMIT 1";
        Ok(self.one(sql, bind![org, session], |_| Ok(()))?.is_some())
    }

    /// Puts on record that a session could not install what it was told of.
    pub fn fail_targets(
        &self,
        grant: &Grant,
        session: &Id,
        reason: &Line<500>,
        reason_names: bool,
    ) -> Result<(), Error> {
        grant.covers(Action::BundleAcknowledge, &format!("session/{session}"))?;
        self.change(grant.org(), session, "state = 'told' AND ?3 = 0", 0, State::Failed, Some((reason, reason_names)))
    }

    /// A session that is over answers nothing more.
    pub(super) fn end_targets(&self, org: &OrgName, session: &Id) -> Result<(), Error> {
        self.change(org, session, "state IN ('waiting', 'told') AND ?3 = 0", 0, State::Ended, None)
    }

    /// Moves those of a session's targets to another state that `which` selects, and ends the rollouts that were about them.
    fn change(
        &self,
        org: &OrgName,
        session: &Id,
        which: &str,
        sequence: u64,
        to: State,
        reason: Option<(&Line<500>, bool)>,
    ) -> Result<(), Error> {
        let sql = format!("SELECT rollout_id FROM rollout_targets WHERE org = ?1 AND session_id = ?2 AND {which}");
        let rollouts = self.all(&sql, bind![org, session, sequence], |row| id(row, 0))?;
        let (reason, names) = reason.map_or(("", false), |(reason, names)| (reason.as_str(), names));
        for rollout in &rollouts {
            self.revise(org, rollout)?;
            self.execute(
                "UPDATE rollout_targets SET state = ?4, reason = ?5, reason_names = ?6, changed_at = ?7,
                   revision = (SELECT revision FROM rollouts WHERE org = ?1 AND id = ?2)
                 WHERE org = ?1 AND rollout_id = ?2 AND session_id = ?3",
                bind![org, rollout, session, to.as_str(), reason, names, self.now],
            )?;
            self.end_rollout(org, rollout)?;
        }
        if !rollouts.is_empty() {
            self.announce(Notice::Rollouts);
        }
        Ok(())
    }

    fn revise(&self, org: &OrgName, rollout: &Id) -> Result<(), Error> {
        self.execute("UPDATE rollouts SET revision = revision + 1 WHERE org = ?1 AND id = ?2", bind![org, rollout])?;
        Ok(())
    }

    fn end_rollout(&self, org: &OrgName, rollout: &Id) -> Result<(), Error> {
        self.execute(
            "UPDATE rollouts SET ended_at = ?3 WHERE org = ?1 AND id = ?2 AND ended_at IS NULL AND NOT EXISTS
               (SELECT 1 FROM rollout_targets WHERE org = ?1 AND rollout_id = ?2 AND state IN ('waiting', 'told'))",
            bind![org, rollout, self.now],
        )?;
        Ok(())
    }

    // === what the server itself does about them: `server::rollouts`

    /// Those that have not ended, of all organizations.
    pub fn open_rollouts(&self) -> Result<Vec<(OrgName, RolloutRow)>, Error> {
        let sql = format!("SELECT {COLUMNS}, org FROM rollouts WHERE ended_at IS NULL ORDER BY sequence");
        self.all(&sql, &[], |row| {
            let org = OrgName::parse(&row.text(10)?).map_err(|e| Error::Corrupt(e.to_string()))?;
            Ok((org, rollout_row(row)?))
        })
    }

    /// A rollout's sessions in a state, with the time since when, the longest first.
    pub fn sessions_in(&self, org: &OrgName, rollout: &Id, state: State) -> Result<Vec<(Id, i64)>, Error> {
        let sql = "SELECT session_id, changed_at FROM rollout_targets WHERE org = ?1 AND rollout_id = ?2 AND state = ?3 ORDER BY changed_at";
        self.all(sql, bind![org, rollout, state.as_str()], |row| Ok((id(row, 0)?, row.int(1)?)))
    }

    /// Tells sessions that wait of a rollout.
    pub fn tell(&self, org: &OrgName, rollout: &RolloutRow, sessions: &[Id]) -> Result<(), Error> {
        self.shift(org, rollout, sessions, State::Waiting, State::Told)?;
        for session in sessions {
            self.announce(Notice::Due { org: org.clone(), session: session.clone(), sequence: rollout.sequence });
        }
        Ok(())
    }

    /// The patience with these is over.
    pub fn give_up(&self, org: &OrgName, rollout: &RolloutRow, sessions: &[Id], from: State) -> Result<(), Error> {
        self.shift(org, rollout, sessions, from, State::Unreachable)?;
        self.end_rollout(org, &rollout.id)
    }

    /// What waits in rollouts that tell all at once has been told, now that the session is connected.
    pub fn told_on_arrival(&self, org: &OrgName, session: &Id) -> Result<(), Error> {
        let waiting = "state = 'waiting' AND ?3 = 0
            AND (SELECT r.max_in_flight FROM rollouts r WHERE r.org = rollout_targets.org AND r.id = rollout_targets.rollout_id) = 0";
        self.change(org, session, waiting, 0, State::Told, None)
    }

    fn shift(&self, org: &OrgName, rollout: &RolloutRow, sessions: &[Id], from: State, to: State) -> Result<(), Error> {
        self.revise(org, &rollout.id)?;
        for session in sessions {
            self.execute(
                "UPDATE rollout_targets SET state = ?4, changed_at = ?5,
                   revision = (SELECT revision FROM rollouts WHERE org = ?1 AND id = ?2)
                 WHERE org = ?1 AND rollout_id = ?2 AND session_id = ?3 AND state = ?6",
                bind![org, &rollout.id, session, to.as_str(), self.now, from.as_str()],
            )?;
        }
        self.announce(Notice::Rollouts);
        Ok(())
    }
}
