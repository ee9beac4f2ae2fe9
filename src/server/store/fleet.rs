//! The fleet: what the live sessions' agents said last, and which identities were seen at two places.

use std::collections::{BTreeSet, HashMap};

use super::{Error, SessionRow, Tx, View, bind};
use crate::domain::{
    audit::{Fact, Outcome},
    identity::Subject,
    name::{Id, OrgName},
    policy::Action,
};

/// One that a clone repeats within this time is not put on record again.
const QUIET: i64 = 60 * 1_000_000;

/// When an identity was last seen at two places, and how that was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenTwice {
    pub seen_at: i64,
    pub how: String,
}

/// What of the fleet may look different since an entry of the audit chain.
#[derive(Debug, Default)]
pub struct Changed {
    /// The chain's end.
    pub sequence: u64,
    pub sessions: BTreeSet<Id>,
    /// Secrets, environments or what is allowed: then any bundle may have another content by now.
    pub bundles: bool,
}

impl Tx<'_> {
    /// Puts on record that a session's identity is in use at two places, which its caller refuses. `how` says by what that was
    /// noticed. Not for a job that fails: what that did is rolled back.
    pub fn note_clone(&self, org: &OrgName, session: &Id, how: &'static str) -> Result<(), Error> {
        let before =
            self.one("SELECT seen_at FROM clones WHERE org = ?1 AND session_id = ?2", bind![org, session], |row| {
                row.int(0)
            })?;
        self.execute(
            "INSERT INTO clones (org, session_id, seen_at, how) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (org, session_id) DO UPDATE SET seen_at = excluded.seen_at, how = excluded.how",
            bind![org, session, self.now, how],
        )?;
        if before.is_none_or(|before| before < self.now - QUIET) {
            let subject = Subject::Session(session.clone()).to_string();
            self.record(
                org,
                Fact {
                    actor: subject.clone(),
                    action: "session.clone",
                    target: subject,
                    outcome: Outcome::Refused,
                    detail: [("how", how.to_owned())].into(),
                },
            )?;
        }
        Ok(())
    }

    pub fn clones(&self, view: &View) -> Result<HashMap<Id, SeenTwice>, Error> {
        view.covers(Action::SessionRead, "organization")?;
        let rows =
            self.all("SELECT session_id, seen_at, how FROM clones WHERE org = ?1", bind![view.org()], |row| {
                Ok((row.text(0)?, SeenTwice { seen_at: row.int(1)?, how: row.text(2)? }))
            })?;
        Ok(rows.into_iter().filter_map(|(id, clone)| Some((Id::parse(&id).ok()?, clone))).collect())
    }

    pub fn clone_of(&self, org: &OrgName, session: &Id) -> Result<Option<SeenTwice>, Error> {
        self.one("SELECT seen_at, how FROM clones WHERE org = ?1 AND session_id = ?2", bind![org, session], |row| {
            Ok(SeenTwice { seen_at: row.int(0)?, how: row.text(1)? })
        })
    }

    /// What the session would get now; `None` where that can't be told, because its environment is gone.
    pub fn due_bundle(&self, org: &OrgName, session: &SessionRow) -> Result<Option<Id>, Error> {
        match self.outline(org, &session.user, &session.environment, session.environment_version) {
            Ok(outline) => Ok(Some(outline.bundle)),
            Err(Error::NotFound(_) | Error::Corrupt(_) | Error::Altered { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What the chain says has changed since its entry `after`.
    pub fn fleet_changes(&self, view: &View, after: u64) -> Result<Changed, Error> {
        view.covers(Action::SessionRead, "organization")?;
        let entries = self.all(
            "SELECT sequence, action, target FROM audit WHERE org = ?1 AND sequence > ?2 ORDER BY sequence",
            bind![view.org(), after],
            |row| Ok((row.uint(0)?, row.text(1)?, row.text(2)?)),
        )?;
        let mut changed = Changed { sequence: after, ..Changed::default() };
        for (sequence, action, target) in entries {
            changed.sequence = sequence;
            match target.split_once('/') {
                Some(("session", id)) => changed.sessions.extend(Id::parse(id).ok()),
                _ => changed.bundles |= !action.starts_with("identity.") && !action.starts_with("audit."),
            }
        }
        Ok(changed)
    }

    /// Rollouts that are not over, of all organizations.
    pub fn count_open_rollouts(&self) -> Result<u64, Error> {
        let open = self.one("SELECT COUNT(*) FROM rollouts WHERE ended_at IS NULL", bind![], |row| row.uint(0))?;
        Ok(open.unwrap_or_default())
    }

    /// The end of an organization's chain, without looking at whether it is genuine.
    pub fn last_sequence(&self, org: &OrgName) -> Result<u64, Error> {
        let last = self.one("SELECT MAX(sequence) FROM audit WHERE org = ?1", bind![org], |row| row.opt_int(0))?;
        Ok(last.flatten().map_or(0, |sequence| sequence as u64))
    }
}
