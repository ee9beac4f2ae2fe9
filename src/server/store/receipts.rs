//! Where the versions of a secret are: to whom they were delivered, who acknowledged them, and who may hold an older one.

use super::{Error, Grant, Tx, View, bind};
use crate::domain::{
    name::{Id, OrgName},
    policy::Action,
};

/// One session that a version of a secret reached.
#[derive(Debug, Clone)]
pub struct Delivered {
    pub session: String,
    pub user: String,
    pub environment: String,
    pub version: String,
    /// The first time.
    pub delivered_at: i64,
    /// When its agent first acknowledged it.
    pub installed_at: Option<i64>,
    /// In the bundle that its agent last acknowledged.
    pub in_files: bool,
    pub live: bool,
    /// The last delivery's.
    pub sequence: u64,
}

/// Counts of live sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipts {
    pub on_current: u32,
    /// Given another version: what was started with it keeps it.
    pub may_hold_older: u32,
}

impl Tx<'_> {
    /// One for each session and version, the newest first. `below` is where the page before ended.
    pub fn secret_deliveries(
        &self,
        view: &View,
        secret: &Id,
        live: bool,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Delivered>, Error> {
        view.covers(Action::SecretRead, &format!("secret/{secret}"))?;
        self.deliveries(view.org(), secret, live, below, limit)
    }

    /// Live sessions that a secret was delivered to which is about to go.
    pub fn secret_holders(&self, grant: &Grant, secret: &Id, limit: u32) -> Result<Vec<Delivered>, Error> {
        grant.covers(Action::SecretDelete, &format!("secret/{secret}"))?;
        self.deliveries(grant.org(), secret, true, None, limit)
    }

    fn deliveries(
        &self,
        org: &OrgName,
        secret: &Id,
        live: bool,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Delivered>, Error> {
        self.all(
            "SELECT d.session_id, s.user_name, s.environment, i.version, MIN(d.delivered_at), MIN(d.installed_at), s.ended_at,
                    MAX(d.sequence) AS last,
                    EXISTS (SELECT 1 FROM deliveries f JOIN content_items c ON c.org = f.org AND c.content_id = f.content_id
                            WHERE f.org = s.org AND f.sequence = s.installed_sequence AND c.secret_id = ?2 AND c.version = i.version)
             FROM content_items i
             JOIN deliveries d ON d.org = i.org AND d.content_id = i.content_id
             JOIN sessions s ON s.org = d.org AND s.id = d.session_id
             WHERE i.org = ?1 AND i.secret_id = ?2 AND (?3 = 0 OR s.ended_at IS NULL)
             GROUP BY d.session_id, s.user_name, s.environment, s.ended_at, s.org, s.installed_sequence, i.version
             HAVING MAX(d.sequence) < ?4
             ORDER BY last DESC LIMIT ?5",
            bind![org, secret, live, below.map_or(i64::MAX, |s| s as i64), i64::from(limit)],
            |row| {
                Ok(Delivered {
                    session: row.text(0)?,
                    user: row.text(1)?,
                    environment: row.text(2)?,
                    version: row.text(3)?,
                    delivered_at: row.int(4)?,
                    installed_at: row.opt_int(5)?,
                    live: row.opt_int(6)?.is_none(),
                    sequence: row.uint(7)?,
                    in_files: row.bool(8)?,
                })
            },
        )
    }

    /// When a session was last given a secret, and how many live ones have it in their newest bundle.
    pub fn secret_use(&self, view: &View, secret: &Id) -> Result<(Option<i64>, u32), Error> {
        view.covers(Action::SecretRead, "organization")?;
        let found = self.one(
            "SELECT (SELECT delivered_at FROM deliveries WHERE org = ?1 AND sequence =
                      (SELECT MAX((SELECT MAX(d.sequence) FROM deliveries d WHERE d.org = i.org AND d.content_id = i.content_id))
                       FROM content_items i WHERE i.org = ?1 AND i.secret_id = ?2)),
                    (SELECT COUNT(*) FROM content_items i
                     JOIN sessions s ON s.org = i.org AND s.content_id = i.content_id AND s.ended_at IS NULL
                     WHERE i.org = ?1 AND i.secret_id = ?2)",
            bind![view.org(), secret],
            |row| Ok((row.opt_int(0)?, row.int(1)? as u32)),
        )?;
        Ok(found.unwrap_or_default())
    }

    /// Who is on this version, and who may hold another.
    pub fn receipts(&self, view: &View, secret: &Id, version: &str) -> Result<Receipts, Error> {
        view.covers(Action::SecretRead, &format!("secret/{secret}"))?;
        let count = |sql: &str| {
            let counted = self.one(sql, bind![view.org(), secret, version], |row| row.int(0));
            counted.map(|n| n.unwrap_or(0) as u32)
        };
        Ok(Receipts {
            on_current: count(
                "SELECT COUNT(*) FROM content_items i
                 JOIN deliveries d ON d.org = i.org AND d.content_id = i.content_id
                 JOIN sessions s ON s.org = d.org AND s.id = d.session_id AND s.installed_sequence = d.sequence
                 WHERE i.org = ?1 AND i.secret_id = ?2 AND i.version = ?3 AND s.ended_at IS NULL",
            )?,
            may_hold_older: count(
                "SELECT COUNT(DISTINCT s.id) FROM content_items i
                 JOIN deliveries d ON d.org = i.org AND d.content_id = i.content_id
                 JOIN sessions s ON s.org = d.org AND s.id = d.session_id
                 WHERE i.org = ?1 AND i.secret_id = ?2 AND i.version <> ?3 AND s.ended_at IS NULL",
            )?,
        })
    }
}
