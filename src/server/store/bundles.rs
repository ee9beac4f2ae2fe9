//! What a session gets: candidates out of the rows, resolution by `domain::resolve`, values out of the vault; and the record
//! of what was delivered.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    Error, Grant, Row, Tx, View, bind,
    secrets::{COLUMNS, SecretRow, altered, secret_row},
    sessions::SessionRow,
};
use crate::{
    domain::{
        name::{Id, OrgName, UserName},
        policy::Action,
        resolve::{self, Candidate, Origin, Resolved, resolve},
        value::Delivery,
        variable::Variable,
    },
    server::error::Flaw,
};

/// All that one session gets, opened.
pub struct Bundle {
    /// Opaque name of this content: 128 bits of a hash over names and versions. No value goes into it.
    pub version: Id,
    pub entries: Vec<Entry>,
    /// What the session is entitled to and does not get by itself, in the order of the variables.
    pub left_out: Vec<LeftOut>,
}

pub struct LeftOut {
    pub variable: Variable,
    pub origin: Origin,
    pub name: String,
    pub reason: String,
}

/// Shared secrets that are not installed and told of all the same, at the most.
const MAX_TOLD: usize = 50;

pub struct Entry {
    pub variable: Variable,
    pub origin: Origin,
    pub name: String,
    pub version: String,
    pub delivery: Delivery,
    pub value: Zeroizing<Vec<u8>>,
    /// Absent for environment variables.
    pub secret: Option<Id>,
    /// A code-running variable that the organization allows.
    pub reserved_allowed: bool,
}

/// One line of a preview.
#[derive(Debug)]
pub struct PreviewItem {
    pub variable: String,
    pub origin: Origin,
    pub name: String,
    pub version: String,
    pub overrides: Vec<String>,
    pub left_out: Option<String>,
    pub delivery: Delivery,
    /// Absent for environment variables.
    pub secret: Option<Id>,
}

/// Where a candidate's value is.
pub(super) enum Source {
    Secret(Box<SecretRow>, Sealed),
    Plain(String),
    /// Only its name is wanted, and which secret it is.
    NotLoaded(Option<Id>),
}

/// What a session would get, without the values.
pub(super) struct Outline {
    pub bundle: Id,
    /// Secrets and their versions.
    pub items: Vec<(Id, String)>,
}

pub(super) struct Sealed {
    kek_id: String,
    wrapped_key: Vec<u8>,
    ciphertext: Vec<u8>,
}

/// [`COLUMNS`] and what [`sealed_candidate`] reads after them.
pub(super) fn sealed_columns() -> String {
    format!("{COLUMNS}, kek_id, wrapped_key, ciphertext")
}

pub(super) fn sealed_candidate(org: &OrgName, row: &Row<'_>) -> Result<Candidate<Source>, Error> {
    let sealed = Sealed { kek_id: row.text(15)?, wrapped_key: row.blob(16)?, ciphertext: row.blob(17)? };
    candidate(org, secret_row(row)?, |secret| Source::Secret(secret, sealed))
}

impl Tx<'_> {
    /// Resolves and opens a session's bundle. One row that fails its integrity check refuses the whole.
    pub fn assemble(&self, org: &OrgName, session: &SessionRow) -> Result<Bundle, Error> {
        let variables = self.environment_variables(org, &session.environment, session.environment_version)?;
        let version = session.environment_version.to_string();
        let mut candidates: Vec<Candidate<Source>> = Vec::new();
        let columns = format!("SELECT {} FROM secrets WHERE org = ?1", sealed_columns());
        let read = |row: &Row<'_>| sealed_candidate(org, row);
        candidates.extend(self.all(&format!("{columns} AND owner = '' AND auto_install = 1"), bind![org], read)?);
        if !session.user.is_empty() {
            candidates.extend(self.all(&format!("{columns} AND owner = ?2"), bind![org, &session.user], read)?);
        }
        for (variable, value) in variables {
            // A shared secret that is not installed still hides the environment's variable of its name.
            let hiding = format!("{columns} AND owner = '' AND variable = ?2 AND auto_install = 0");
            candidates.extend(self.one(&hiding, bind![org, &variable], read)?);
            candidates.push(environment_candidate(variable, &session.environment, &version, Source::Plain(value))?);
        }
        let allowed = self.allowed_variables(org)?;
        let (mut entries, mut left) = (Vec::new(), Vec::new());
        for Resolved { winner, left_out, .. } in resolve(candidates, |v| allowed.contains(v.as_str())) {
            if let Some(why) = left_out {
                self.prove(org, &winner)?; // it hides what is weaker
                let Candidate { variable, origin, name, .. } = winner;
                left.push(LeftOut { variable, origin, name, reason: why.to_string() });
                continue;
            }
            let reserved_allowed = allowed.contains(winner.variable.as_str());
            entries.push(self.entry(org, winner, reserved_allowed)?);
        }
        self.add_lendable(org, &entries, &mut left)?;
        Ok(Bundle { version: content_id(&entries), entries, left_out: left })
    }

    /// The names of shared secrets that hide nothing and are not installed. Not all, where there are many: they are told for people
    /// to read. (`+` keeps them in the order of the index that has the variables, so that no more rows are looked at than are told.)
    fn add_lendable(&self, org: &OrgName, entries: &[Entry], left: &mut Vec<LeftOut>) -> Result<(), Error> {
        let lendable = self.all(
            "SELECT variable, name FROM secrets WHERE org = ?1 AND owner = '' AND +auto_install = 0 ORDER BY variable LIMIT ?2",
            bind![org, MAX_TOLD],
            |row| Ok((row.text(0)?, row.text(1)?)),
        )?;
        for (variable, name) in lendable {
            let variable = stored_variable(&variable)?;
            let taken =
                entries.iter().map(|e| &e.variable).chain(left.iter().map(|l| &l.variable)).any(|v| *v == variable);
            if !taken {
                let reason = resolve::LeftOut::AutoInstallOff.to_string();
                left.push(LeftOut { variable, origin: Origin::Shared, name, reason });
            }
        }
        left.sort_by(|a, b| a.variable.cmp(&b.variable));
        Ok(())
    }

    /// Refuses a candidate whose row is not genuine.
    pub(super) fn prove(&self, org: &OrgName, winner: &Candidate<Source>) -> Result<(), Error> {
        match &winner.what {
            Source::Secret(row, sealed) => {
                self.data_key(org, row, &sealed.kek_id, &sealed.wrapped_key, i64::MAX as u64).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// A candidate that the session gets, opened.
    pub(super) fn entry(
        &self,
        org: &OrgName,
        winner: Candidate<Source>,
        reserved_allowed: bool,
    ) -> Result<Entry, Error> {
        let Candidate { variable, origin, name, version, delivery, what, .. } = winner;
        let (value, secret) = match what {
            Source::Secret(row, sealed) => (self.open(org, &row, &sealed)?, Some(row.id)),
            Source::Plain(text) => (Zeroizing::new(text.into_bytes()), None),
            Source::NotLoaded(_) => return Err(Error::Internal("a candidate without its value")),
        };
        Ok(Entry { variable, origin, name, version, delivery, value, secret, reserved_allowed })
    }

    fn open(&self, org: &OrgName, row: &SecretRow, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Error> {
        let key = self.data_key(org, row, &sealed.kek_id, &sealed.wrapped_key, i64::MAX as u64)?;
        key.open_value(&row.bound(org), &sealed.ciphertext).map_err(|_| altered(org, row, Flaw::Value))
    }

    /// Whether something was pushed since: then a bundle of that time is no answer any more.
    pub fn pushed_since(&self, org: &OrgName, entry: u64) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM rollouts WHERE org = ?1 AND sequence > ?2 LIMIT 1";
        Ok(self.one(sql, bind![org, entry], |_| Ok(()))?.is_some())
    }

    /// Puts the delivery of a bundle on record, under the sequence of its audit entry.
    pub fn deliver(&self, grant: &Grant, session: &Id, bundle: &Id, items: &[(Id, String)]) -> Result<(), Error> {
        grant.covers(Action::BundleDeliver, &format!("session/{session}"))?;
        self.record_delivery(grant, session, bundle, items)?;
        self.execute(
            "UPDATE sessions SET fetched_at = ?3, content_id = ?4 WHERE org = ?1 AND id = ?2",
            bind![grant.org(), session, self.now, bundle],
        )?;
        Ok(())
    }

    pub(super) fn record_delivery(
        &self,
        grant: &Grant,
        session: &Id,
        content: &Id,
        items: &[(Id, String)],
    ) -> Result<(), Error> {
        let org = grant.org();
        let new = self
            .execute("INSERT INTO contents (org, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING", bind![org, content])?
            == 1;
        if new {
            for (secret, version) in items {
                self.execute(
                    "INSERT INTO content_items (org, content_id, secret_id, version) VALUES (?1, ?2, ?3, ?4)",
                    bind![org, content, secret, version],
                )?;
            }
        }
        self.execute(
            "INSERT INTO deliveries (org, sequence, session_id, content_id, delivered_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            bind![org, grant.sequence(), session, content, self.now],
        )?;
        Ok(())
    }

    /// What a session of this owner ('' for automation) in this environment would get now.
    pub(super) fn outline(
        &self,
        org: &OrgName,
        owner: &str,
        environment: &str,
        version: u64,
    ) -> Result<Outline, Error> {
        let resolved = self.resolved(org, owner, environment, version)?;
        let installed: Vec<_> = resolved.into_iter().filter(|r| r.left_out.is_none()).map(|r| r.winner).collect();
        let secret = |c: &Candidate<Source>| match &c.what {
            Source::NotLoaded(secret) => secret.clone(),
            _ => None,
        };
        let items = installed.iter().filter_map(|c| Some((secret(c)?, c.version.clone()))).collect();
        let named = installed.iter().map(|c| Named {
            variable: &c.variable,
            origin: c.origin,
            name: &c.name,
            version: &c.version,
            delivery: c.delivery,
            secret: match &c.what {
                Source::NotLoaded(secret) => secret.as_ref(),
                _ => None,
            },
        });
        Ok(Outline { bundle: name_content(named), items })
    }

    /// All candidates of a session, without their values, resolved.
    fn resolved(
        &self,
        org: &OrgName,
        owner: &str,
        environment: &str,
        version: u64,
    ) -> Result<Vec<Resolved<Source>>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM secrets WHERE org = ?1 AND (owner = '' OR owner = ?2)");
        let mut candidates = self.all(&sql, bind![org, owner], |row| {
            candidate(org, secret_row(row)?, |row| Source::NotLoaded(Some(row.id)))
        })?;
        for (variable, _) in self.environment_variables(org, environment, version)? {
            candidates.push(environment_candidate(
                variable,
                environment,
                &version.to_string(),
                Source::NotLoaded(None),
            )?);
        }
        let allowed = self.allowed_variables(org)?;
        Ok(resolve(candidates, |v| allowed.contains(v.as_str())))
    }

    /// What a session of this user (none: only what everybody gets) in this environment would get, and why.
    pub fn preview(
        &self,
        view: &View,
        private_of: Option<&UserName>,
        environment: &str,
        version: u64,
    ) -> Result<Vec<PreviewItem>, Error> {
        let org = view.org();
        let owner = private_of.map_or("", UserName::as_str);
        let preview = |Resolved { winner, overrides, left_out }: Resolved<Source>| PreviewItem {
            variable: winner.variable.to_string(),
            origin: winner.origin,
            name: winner.name,
            version: winner.version,
            overrides: overrides
                .into_iter()
                .map(|(origin, name)| match origin {
                    Origin::Environment => format!("environment variable of {name}"),
                    other => format!("{} {name}", other.as_str()),
                })
                .collect(),
            left_out: left_out.map(|why| why.to_string()),
            delivery: winner.delivery,
            secret: match winner.what {
                Source::NotLoaded(secret) => secret,
                _ => None,
            },
        };
        Ok(self.resolved(org, owner, environment, version)?.into_iter().map(preview).collect())
    }

    pub(super) fn environment_variables(
        &self,
        org: &OrgName,
        name: &str,
        version: u64,
    ) -> Result<BTreeMap<String, String>, Error> {
        let found = self.one(
            "SELECT variables FROM environment_versions WHERE org = ?1 AND name = ?2 AND version = ?3",
            bind![org, name, version],
            |row| row.text(0),
        )?;
        let json = found.ok_or_else(|| Error::not_found("environment"))?;
        serde_json::from_str(&json).map_err(|_| {
            Error::Corrupt(format!("the variables of environment `{name}` version {version} can't be read"))
        })
    }
}

fn candidate(
    org: &OrgName,
    secret: SecretRow,
    what: impl FnOnce(Box<SecretRow>) -> Source,
) -> Result<Candidate<Source>, Error> {
    Ok(Candidate {
        variable: stored_variable(&secret.variable).map_err(|_| altered(org, &secret, Flaw::Row))?,
        origin: secret.origin(),
        name: secret.name.clone(),
        version: secret.version.clone(),
        auto_install: secret.auto_install,
        delivery: secret.delivery,
        what: what(Box::new(secret)),
    })
}

fn environment_candidate(
    variable: String,
    environment: &str,
    version: &str,
    what: Source,
) -> Result<Candidate<Source>, Error> {
    Ok(Candidate {
        variable: stored_variable(&variable)?,
        origin: Origin::Environment,
        name: environment.to_owned(),
        version: version.to_owned(),
        auto_install: true,
        delivery: Delivery::Env,
        what,
    })
}

fn stored_variable(text: &str) -> Result<Variable, Error> {
    Variable::parse(text).map_err(|_| Error::Corrupt("a stored variable is none".into()))
}

/// One entry of a content, without its value.
struct Named<'a> {
    variable: &'a Variable,
    origin: Origin,
    name: &'a str,
    version: &'a str,
    delivery: Delivery,
    secret: Option<&'a Id>,
}

pub(super) fn content_id(entries: &[Entry]) -> Id {
    name_content(entries.iter().map(|e| Named {
        variable: &e.variable,
        origin: e.origin,
        name: &e.name,
        version: &e.version,
        delivery: e.delivery,
        secret: e.secret.as_ref(),
    }))
}

fn name_content<'a>(entries: impl Iterator<Item = Named<'a>>) -> Id {
    let mut sha = Sha256::new_with_prefix(b"keyfob bundle v1\0");
    for entry in entries {
        let secret = entry.secret.map_or("", Id::as_str);
        for field in
            [entry.variable.as_str(), entry.origin.as_str(), entry.name, entry.version, entry.delivery.as_str(), secret]
        {
            sha.update((field.len() as u32).to_be_bytes());
            sha.update(field);
        }
    }
    let hash: [u8; 32] = sha.finalize().into();
    Id::from_random(*hash.first_chunk().expect("32 bytes hold 16"))
}
