//! Leaks: values that sessions' redactors found and masked, counted per version, session, unit and form.
//!
//! Rows are no proof, just as deliveries are none: nothing authenticates them. What the audit chain says of a leak
//! (`secret.leaked`) is.

use super::{Error, Grant, Row, Tx, View, bind};
use crate::domain::{
    name::{Id, UserName},
    policy::Action,
    report::{Leak, OTHER},
    resolve::Origin,
};

/// How many leaks are told apart for one session. It names units itself: those of further ones are one.
const MAX_PLACES: i64 = 1_000;

/// Where one version of a secret was found; what is counted together.
#[derive(Debug, Clone)]
pub struct Place {
    pub secret: Id,
    pub version: String,
    pub unit: String,
    pub form: String,
    /// How often so far.
    pub count: u64,
}

/// A leak as it is listed.
#[derive(Debug, Clone)]
pub struct LeakRow {
    pub secret: String,
    pub name: String,
    pub variable: String,
    pub shared: bool,
    pub version: String,
    pub current: bool,
    pub session: String,
    pub user: String,
    pub environment: String,
    pub unit: String,
    pub form: String,
    pub count: u64,
    pub first_at: i64,
    pub last_at: i64,
    /// Names it; the newest is the highest.
    pub sequence: u64,
}

/// Which leaks a listing wants; empty texts want all.
#[derive(Debug, Default, Clone)]
pub struct LeakFilter {
    pub secret: String,
    pub name: String,
    pub origin: Option<Origin>,
    /// Found then or later.
    pub since: i64,
    /// Where the page before ended.
    pub before: Option<u64>,
    pub limit: u32,
}

impl Tx<'_> {
    /// Where a leak of a session is counted; `None` where nothing of that version was delivered to it.
    pub fn leak_place(&self, view: &View, session: &Id, leak: &Leak) -> Result<Option<Place>, Error> {
        view.covers(Action::SessionReport, &format!("session/{session}"))?;
        let org = view.org();
        let secret = self.one(
            // In this order: a version is one secret's, a session has few deliveries.
            "SELECT v.secret_id FROM secret_versions v CROSS JOIN deliveries d CROSS JOIN content_items i
             WHERE v.org = ?1 AND v.version = ?2 AND d.org = ?1 AND d.session_id = ?3
               AND i.org = ?1 AND i.secret_id = v.secret_id AND i.version = ?2 AND i.content_id = d.content_id LIMIT 1",
            bind![org, leak.version.as_str(), session],
            |row| row.text(0),
        )?;
        let Some(secret) = secret else { return Ok(None) };
        let secret = Id::parse(&secret).map_err(|_| Error::Corrupt("a secret's id is none".into()))?;
        let count = |unit: &str, form: &str| {
            self.one(
                "SELECT count FROM leaks WHERE org = ?1 AND session_id = ?2 AND secret_id = ?3 AND version = ?4 AND unit = ?5 AND form = ?6",
                bind![org, session, &secret, leak.version.as_str(), unit, form],
                |row| row.uint(0),
            )
        };
        let (mut unit, mut form) = (leak.unit.as_str(), leak.form);
        let mut so_far = count(unit, form)?;
        if so_far.is_none() {
            let places = "SELECT COUNT(*) FROM leaks WHERE org = ?1 AND session_id = ?2";
            if self.one(places, bind![org, session], |row| row.int(0))?.unwrap_or(0) >= MAX_PLACES {
                (unit, form) = (OTHER, OTHER);
                so_far = count(unit, form)?;
            }
        }
        Ok(Some(Place {
            secret: secret.clone(),
            version: leak.version.as_str().to_owned(),
            unit: unit.to_owned(),
            form: form.to_owned(),
            count: so_far.unwrap_or(0),
        }))
    }

    /// Counts a leak that is on record: a new one, or one that has become many more.
    pub fn record_leak(&self, grant: &Grant, session: &Id, place: &Place, count: u64) -> Result<(), Error> {
        grant.covers(Action::SecretLeak, &format!("session/{session}"))?;
        let Place { secret, version, unit, form, .. } = place;
        self.execute(
            "INSERT INTO leaks (org, session_id, secret_id, version, unit, form, sequence, count, first_at, last_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
             ON CONFLICT (org, session_id, secret_id, version, unit, form) DO UPDATE SET count = excluded.count, last_at = excluded.last_at",
            bind![grant.org(), session, secret, version, unit, form, grant.sequence(), count, self.now],
        )?;
        Ok(())
    }

    /// Counts one that is on record already.
    pub fn repeat_leak(&self, view: &View, session: &Id, place: &Place, count: u64) -> Result<(), Error> {
        view.covers(Action::SessionReport, &format!("session/{session}"))?;
        let Place { secret, version, unit, form, .. } = place;
        let counted = self.execute(
            "UPDATE leaks SET count = ?7, last_at = ?8
             WHERE org = ?1 AND session_id = ?2 AND secret_id = ?3 AND version = ?4 AND unit = ?5 AND form = ?6",
            bind![view.org(), session, secret, version, unit, form, count, self.now],
        )?;
        if counted == 1 { Ok(()) } else { Err(Error::Internal("a leak was counted without a record")) }
    }

    /// A page of leaks, newest first: of a user's own private secrets, and of shared ones in the user's own sessions or, with
    /// leave for that, in everybody's.
    pub fn leaks(
        &self,
        view: &View,
        user: &UserName,
        everybodys: bool,
        filter: &LeakFilter,
    ) -> Result<Vec<LeakRow>, Error> {
        view.covers(Action::LeakRead, "organization")?;
        let (private, shared) = (filter.origin != Some(Origin::Shared), filter.origin != Some(Origin::Private));
        let binds = bind![
            view.org(),
            user,
            private,
            shared,
            everybodys,
            &filter.secret,
            &filter.name,
            filter.since,
            filter.before.map_or(i64::MAX, |s| s as i64),
            i64::from(filter.limit)
        ];
        let one = if filter.secret.is_empty() { "?6 = ''" } else { "l.secret_id = ?6" }; // told apart, so that it has its index
        let sql = format!(
            "SELECT l.secret_id, k.name, k.variable, k.owner, l.version, k.version, l.session_id, s.user_name, s.environment, l.unit,
                    l.form, l.count, l.first_at, l.last_at, l.sequence
             FROM leaks l
             JOIN secrets k ON k.org = l.org AND k.id = l.secret_id
             JOIN sessions s ON s.org = l.org AND s.id = l.session_id
             WHERE l.org = ?1 AND l.sequence < ?9 AND l.last_at >= ?8
               AND ((?3 = 1 AND k.owner = ?2) OR (?4 = 1 AND k.owner = '' AND (?5 = 1 OR s.user_name = ?2)))
               AND {one} AND (?7 = '' OR k.name = ?7)
             ORDER BY l.sequence DESC LIMIT ?10"
        );
        self.all(&sql, binds, leak_row)
    }
}

fn leak_row(row: &Row<'_>) -> Result<LeakRow, Error> {
    let version = row.text(4)?;
    Ok(LeakRow {
        secret: row.text(0)?,
        name: row.text(1)?,
        variable: row.text(2)?,
        shared: row.text(3)?.is_empty(),
        current: version == row.text(5)?,
        version,
        session: row.text(6)?,
        user: row.text(7)?,
        environment: row.text(8)?,
        unit: row.text(9)?,
        form: row.text(10)?,
        count: row.uint(11)?,
        first_at: row.int(12)?,
        last_at: row.int(13)?,
        sequence: row.uint(14)?,
    })
}
