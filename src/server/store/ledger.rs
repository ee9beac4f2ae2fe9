//! The audit chain in the store, and the only place where a decision becomes a [`Grant`].
//!
//! [`Tx::admit`] writes the entry into the transaction that makes the change; either both are committed or neither. The end
//! of each chain stands in `audit_heads` under a MAC, so that cutting the chain short, or making it anew, shows.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;

use super::{Error, Row, Tx, bind};
use crate::domain::{
    audit::{self, Broken, Entry, Fact, Hash, Outcome},
    name::OrgName,
    policy::{Action, Decision, Verdict},
};

/// Leave to do one thing to one target, on record as entry `sequence`. Made by [`Tx::admit`] alone.
#[derive(Debug)]
pub struct Grant {
    org: OrgName,
    actor: String,
    action: Action,
    target: String,
    sequence: u64,
}

impl Grant {
    pub fn org(&self) -> &OrgName {
        &self.org
    }

    pub fn actor(&self) -> &str {
        &self.actor
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Every operation asks whether the leave it was handed is for what it is about to do.
    pub fn covers(&self, action: Action, target: &str) -> Result<(), Error> {
        if self.action == action && self.target == target {
            Ok(())
        } else {
            Err(Error::Internal("a grant was used for something else"))
        }
    }
}

/// Leave to look at metadata, or to say again what is on record already. Nothing is written for it: no value is behind it, and
/// nothing changes.
#[derive(Debug)]
pub struct View {
    org: OrgName,
    action: Action,
    target: String,
}

impl View {
    pub fn org(&self) -> &OrgName {
        &self.org
    }

    pub fn covers(&self, action: Action, target: &str) -> Result<(), Error> {
        if self.action == action && self.target == target {
            Ok(())
        } else {
            Err(Error::Internal("a view was used for something else"))
        }
    }
}

/// Which entries a listing wants; empty texts want all.
#[derive(Debug, Default, Clone)]
pub struct AuditFilter {
    pub actor: String,
    pub action_prefix: String,
    pub target: String,
    pub descending: bool,
    /// Where the page before ended.
    pub after: Option<u64>,
    pub limit: u32,
}

pub type Detail = BTreeMap<&'static str, String>;

impl Tx<'_> {
    /// Puts an allowed decision on record and gives the leave to carry it out. A refused one goes on record too, as soon as
    /// the job ends with the error that this returns; absent and forbidden things are written alike and take the same time.
    pub fn admit(&self, org: &OrgName, decision: Decision, what: &str, detail: Detail) -> Result<Grant, Error> {
        let fact = |outcome, detail| Fact {
            actor: decision.actor().to_owned(),
            action: decision.action().as_str(),
            target: decision.target().to_owned(),
            outcome,
            detail,
        };
        let reason = match decision.verdict() {
            Verdict::Allow => {
                let sequence = self.record(org, fact(Outcome::Done, detail))?;
                let (actor, target) = (decision.actor().to_owned(), decision.target().to_owned());
                return Ok(Grant { org: org.clone(), actor, action: decision.action(), target, sequence });
            }
            Verdict::Hide => None,
            Verdict::Forbid(reason) => Some(reason),
        };
        let detail = Detail::from([("reason", reason.unwrap_or("absent, or not the caller's to know of").to_owned())]);
        let fact = Box::new(fact(Outcome::Refused, detail));
        Err(match reason {
            None => Error::Refused { org: org.clone(), fact, hidden: true, reason: Error::not_found(what).to_string() },
            Some(reason) => Error::Refused { org: org.clone(), fact, hidden: false, reason: reason.to_owned() },
        })
    }

    /// As [`Tx::admit`], for a look at metadata.
    pub fn view(&self, org: &OrgName, decision: &Decision, what: &str) -> Result<View, Error> {
        let refused = |hidden, reason| {
            let (actor, target) = (decision.actor().to_owned(), decision.target().to_owned());
            let fact = Fact {
                actor,
                action: decision.action().as_str(),
                target,
                outcome: Outcome::Refused,
                detail: Detail::new(),
            };
            Error::Refused { org: org.clone(), fact: Box::new(fact), hidden, reason }
        };
        match decision.verdict() {
            Verdict::Allow => {
                Ok(View { org: org.clone(), action: decision.action(), target: decision.target().to_owned() })
            }
            Verdict::Hide => Err(refused(true, Error::not_found(what).to_string())),
            Verdict::Forbid(reason) => Err(refused(false, reason.to_owned())),
        }
    }

    /// Appends a fact to the organization's chain; gives its sequence.
    pub fn record(&self, org: &OrgName, fact: Fact) -> Result<u64, Error> {
        let (last, hash) = match self.head(org)? {
            Some((sequence, hash)) => (sequence, hash),
            None => (0, audit::genesis(org)),
        };
        let entry = audit::chain(org, &hash, last + 1, self.now, fact);
        let detail =
            serde_json::to_string(&entry.detail).map_err(|_| Error::Internal("an audit detail is not text"))?;
        self.execute(
            "INSERT INTO audit (org, sequence, at, actor, action, target, outcome, detail, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            bind![org, entry.sequence, entry.at, &entry.actor, &entry.action, &entry.target, &entry.outcome, &detail, &entry.hash],
        )?;
        self.set_head(org, entry.sequence, &entry.hash)?;
        Ok(entry.sequence)
    }

    /// The newest entry's sequence: what this transaction sees takes in everything up to it.
    pub fn newest_entry(&self, org: &OrgName) -> Result<u64, Error> {
        Ok(self.head(org)?.map_or(0, |(sequence, _)| sequence))
    }

    /// The authenticated end of the chain. One that is forged is an error: nothing is appended to it.
    fn head(&self, org: &OrgName) -> Result<Option<(u64, Hash)>, Error> {
        let found =
            self.one("SELECT sequence, hash, kek_id, mac FROM audit_heads WHERE org = ?1", bind![org], |row| {
                Ok((row.uint(0)?, row.hash(1)?, row.text(2)?, row.blob(3)?))
            })?;
        let Some((sequence, hash, kek_id, mac)) = found else {
            let begun = self.one("SELECT 1 FROM audit WHERE org = ?1 LIMIT 1", bind![org], |_| Ok(()))?;
            return match begun {
                None => Ok(None),
                Some(()) => Err(Error::Corrupt("the head of the audit chain is gone; `keyfob audit verify`".into())),
            };
        };
        let genuine = self
            .keyring()
            .get(&kek_id, |key| hmac::verify(&key.mac(), &head_bytes(org, sequence, &hash), &mac).is_ok())?;
        if genuine {
            Ok(Some((sequence, hash)))
        } else {
            Err(Error::Corrupt("the head of the audit chain is forged; `keyfob audit verify`".into()))
        }
    }

    /// Writes the chain's end under the newest key.
    pub(super) fn set_head(&self, org: &OrgName, sequence: u64, hash: &Hash) -> Result<(), Error> {
        let (kek_id, mac) =
            self.keyring().newest(|key| (key.id.clone(), hmac::sign(&key.mac(), &head_bytes(org, sequence, hash))));
        self.execute(
            "INSERT INTO audit_heads (org, sequence, hash, kek_id, mac) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (org) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash, kek_id = excluded.kek_id, mac = excluded.mac",
            bind![org, sequence, hash, &kek_id, mac.as_ref()],
        )?;
        Ok(())
    }

    /// Moves the chain's end to the newest key of the ring.
    pub(super) fn renew_head(&self, org: &OrgName) -> Result<(), Error> {
        match self.head(org)? {
            Some((sequence, hash)) => self.set_head(org, sequence, &hash),
            None => Ok(()),
        }
    }

    pub fn audit_entries(&self, view: &View, filter: &AuditFilter) -> Result<Vec<Entry>, Error> {
        view.covers(Action::AuditRead, "organization")?;
        let (comparison, order, start) =
            if filter.descending { ("<", "DESC", i64::MAX as u64) } else { (">", "ASC", 0) };
        let sql = format!(
            "SELECT sequence, at, actor, action, target, outcome, detail, hash FROM audit
             WHERE org = ?1 AND sequence {comparison} ?2 AND (?3 = '' OR actor = ?3) AND (?4 = '' OR target = ?4)
               AND (?5 = '' OR substr(action, 1, length(?5)) = ?5)
             ORDER BY sequence {order} LIMIT ?6"
        );
        let binds = bind![
            view.org(),
            filter.after.unwrap_or(start),
            &filter.actor,
            &filter.target,
            &filter.action_prefix,
            i64::from(filter.limit)
        ];
        self.all(&sql, binds, entry)
    }

    /// Walks the whole chain; names the first entry that does not fit, or gives their number and the last hash.
    pub fn audit_verify(&self, view: &View) -> Result<Result<(u64, Hash), Broken>, Error> {
        view.covers(Action::AuditRead, "organization")?;
        let mut verifier = audit::Verifier::new(view.org());
        let mut from = i64::MIN; // entries before the first are none of ours
        loop {
            let page = self.all(
                "SELECT sequence, at, actor, action, target, outcome, detail, hash FROM audit WHERE org = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT 1000",
                bind![view.org(), from],
                |row| Ok((row.int(0)?, entry(row))),
            )?;
            let (Some((first, _)), Some((last, _))) = (page.first(), page.last()) else { break };
            if *first < 1 {
                return Ok(Err(Broken { sequence: 1, problem: "has entries before it that are none" }));
            }
            from = last.saturating_add(1);
            for (_, entry) in page {
                let checked = match entry {
                    Ok(entry) => verifier.check(&entry),
                    Err(Error::Corrupt(_)) => Err(verifier.unreadable()),
                    Err(e) => return Err(e),
                };
                if let Err(broken) = checked {
                    return Ok(Err(broken));
                }
            }
        }
        let head = match self.head(view.org()) {
            Ok(head) => head,
            Err(Error::Corrupt(_)) => None,
            Err(e) => return Err(e),
        };
        Ok(verifier.finish(head))
    }

    /// The newest entry below `before` that changed this target.
    pub fn last_change(&self, org: &OrgName, target: &str, before: u64) -> Result<Option<u64>, Error> {
        let sql =
            "SELECT MAX(sequence) FROM audit WHERE org = ?1 AND target = ?2 AND outcome = 'done' AND sequence < ?3";
        Ok(self.one(sql, bind![org, target, before], |row| row.opt_int(0))?.flatten().map(|s| s as u64))
    }
}

fn entry(row: &Row<'_>) -> Result<Entry, Error> {
    Ok(Entry {
        sequence: row.uint(0)?,
        at: row.int(1)?,
        actor: row.text(2)?,
        action: row.text(3)?,
        target: row.text(4)?,
        outcome: row.text(5)?,
        detail: serde_json::from_str(&row.text(6)?)
            .map_err(|_| Error::Corrupt("an audit entry's detail is not JSON".into()))?,
        hash: row.hash(7)?,
    })
}

fn head_bytes(org: &OrgName, sequence: u64, hash: &Hash) -> Vec<u8> {
    [&(org.as_str().len() as u32).to_be_bytes()[..], org.as_str().as_bytes(), &sequence.to_be_bytes(), hash].concat()
}
