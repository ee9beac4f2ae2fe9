//! Secrets: metadata in the clear, values under the vault. Every operation that changes one takes a grant for it, and
//! stores with the row the sequence of the entry that the grant stands for.

use std::collections::HashSet;

use super::{Bind, Error, Grant, Row, Tx, View, bind, new_id};
use crate::{
    domain::{
        audit::{Fact, Outcome},
        forms::Strength,
        name::{Id, OrgName, SecretName, UserName},
        policy::{Action, Target},
        reserved,
        resolve::Origin,
        value::{Delivery, MAX_BUNDLE, MAX_PRIVATE, MAX_SHARED},
        variable::Variable,
    },
    server::{
        error::Flaw,
        vault::{self, DataKey},
    },
};

/// A secret without its value.
#[derive(Debug, Clone)]
pub struct SecretRow {
    pub id: Id,
    pub name: String,
    pub variable: String,
    pub variable_overridden: bool,
    /// Empty for a shared one.
    pub owner: String,
    pub auto_install: bool,
    pub delivery: Delivery,
    pub description: String,
    pub created_by: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: String,
    pub rotated_at: i64,
    pub size: u64,
    pub sequence: u64,
    /// Whether all of it could be read; a row that could not can be seen and deleted, no more.
    pub legible: bool,
}

impl SecretRow {
    pub fn is_shared(&self) -> bool {
        self.owner.is_empty()
    }

    pub fn origin(&self) -> Origin {
        if self.is_shared() { Origin::Shared } else { Origin::Private }
    }

    pub fn target(&self) -> Target {
        let owner = UserName::parse(&self.owner).ok();
        Target::Secret { id: self.id.clone(), owner, created_by: self.created_by.clone() }
    }

    pub(super) fn bound<'a>(&'a self, org: &'a OrgName) -> vault::Row<'a> {
        vault::Row {
            org: org.as_str(),
            id: self.id.as_str(),
            version: &self.version,
            owner: &self.owner,
            name: &self.name,
            variable: &self.variable,
            auto_install: self.auto_install,
            delivery: self.delivery.as_str(),
            sequence: self.sequence,
        }
    }

    fn installed_bytes(&self) -> i64 {
        if self.auto_install { self.size as i64 } else { 0 }
    }
}

/// The columns of a [`SecretRow`], in the order in which [`secret_row`] reads them.
pub(super) const COLUMNS: &str = "id, name, variable, variable_overridden, owner, auto_install, delivery, description, created_by, \
                                  created_at, updated_at, version, rotated_at, size, sequence";

pub(super) fn secret_row(row: &Row<'_>) -> Result<SecretRow, Error> {
    let (delivery, legible) = match row.text(6)?.as_str() {
        "env" => (Delivery::Env, true),
        "file" => (Delivery::File, true),
        _ => (Delivery::File, false),
    };
    Ok(SecretRow {
        id: Id::parse(&row.text(0)?).map_err(|_| Error::Corrupt("a secret's id is none".into()))?,
        name: row.text(1)?,
        variable: row.text(2)?,
        variable_overridden: row.bool(3)?,
        owner: row.text(4)?,
        auto_install: row.bool(5)?,
        delivery,
        description: row.text(7)?,
        created_by: row.text(8)?,
        created_at: row.int(9)?,
        updated_at: row.int(10)?,
        version: row.text(11)?,
        rotated_at: row.int(12)?,
        size: row.uint(13)?,
        sequence: row.uint(14)?,
        legible,
    })
}

/// One version of a secret, past or present.
#[derive(Debug, Clone)]
pub struct VersionRow {
    pub version: String,
    pub created_by: String,
    pub created_at: i64,
    pub replaced_at: Option<i64>,
    /// `None` where nobody judged it.
    pub strength: Option<Strength>,
}

fn strength_word(strength: Strength) -> &'static str {
    match strength {
        Strength::NotRedactable => "none",
        Strength::Weak => "weak",
        Strength::Strong => "strong",
    }
}

fn strength_of(word: &str) -> Option<Strength> {
    [Strength::NotRedactable, Strength::Weak, Strength::Strong].into_iter().find(|s| strength_word(*s) == word)
}

pub struct NewSecret<'a> {
    pub id: Id,
    pub name: SecretName,
    pub variable: Variable,
    pub variable_overridden: bool,
    pub owner: Option<UserName>,
    pub auto_install: bool,
    pub delivery: Delivery,
    pub description: String,
    pub value: &'a [u8],
    pub strength: Strength,
}

#[derive(Debug, Default)]
pub struct SecretEdit {
    pub description: Option<String>,
    pub auto_install: Option<bool>,
    /// The new variable, and whether it was chosen by hand.
    pub variable: Option<(Variable, bool)>,
}

impl Tx<'_> {
    pub fn secret(&self, org: &OrgName, id: &Id) -> Result<Option<SecretRow>, Error> {
        self.one(&format!("SELECT {COLUMNS} FROM secrets WHERE org = ?1 AND id = ?2"), bind![org, id], secret_row)
    }

    /// By name, among the shared ones or a user's private ones.
    pub fn secret_by_name(&self, org: &OrgName, owner: &str, name: &str) -> Result<Option<SecretRow>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM secrets WHERE org = ?1 AND owner = ?2 AND name = ?3");
        self.one(&sql, bind![org, owner, name], secret_row)
    }

    pub fn secret_by_variable(&self, org: &OrgName, owner: &str, variable: &str) -> Result<Option<SecretRow>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM secrets WHERE org = ?1 AND owner = ?2 AND variable = ?3");
        self.one(&sql, bind![org, owner, variable], secret_row)
    }

    /// A page of the shared secrets and a user's own, by name, private before shared. `after` is the name and owner that the
    /// page before ended with; `origin` narrows to one visibility.
    pub fn secrets(
        &self,
        view: &View,
        user: &UserName,
        query: &str,
        origin: Option<Origin>,
        after: Option<(&str, &str)>,
        limit: u32,
    ) -> Result<Vec<SecretRow>, Error> {
        view.covers(Action::SecretRead, "organization")?;
        let pattern =
            format!("%{}%", query.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        let (private, shared) = (origin != Some(Origin::Shared), origin != Some(Origin::Private));
        let (after_name, after_owner) = after.unwrap_or_default();
        let sql = format!(
            "SELECT {COLUMNS} FROM secrets
             WHERE org = ?1 AND ((?3 = 1 AND owner = ?2) OR (?4 = 1 AND owner = ''))
               AND (?5 = '%%' OR lower(name) LIKE ?5 ESCAPE '\\' OR lower(variable) LIKE ?5 ESCAPE '\\' OR lower(description) LIKE ?5 ESCAPE '\\')
               AND (?6 = 0 OR name > ?7 OR (name = ?7 AND owner < ?8))
             ORDER BY name, owner DESC LIMIT ?9"
        );
        let binds = bind![
            view.org(),
            user,
            private,
            shared,
            &pattern,
            after.is_some(),
            after_name,
            after_owner,
            i64::from(limit)
        ];
        self.all(&sql, binds, secret_row)
    }

    pub fn create_secret(&self, grant: &Grant, new: NewSecret<'_>) -> Result<SecretRow, Error> {
        grant.covers(Action::SecretCreate, &format!("secret/{}", new.id))?;
        let org = grant.org();
        let owner = new.owner.as_ref().map_or("", UserName::as_str);
        self.free(org, owner, new.name.as_str(), &new.variable, None)?;
        let row = SecretRow {
            id: new.id,
            name: new.name.to_string(),
            variable: new.variable.to_string(),
            variable_overridden: new.variable_overridden,
            owner: owner.to_owned(),
            auto_install: new.auto_install,
            delivery: new.delivery,
            description: new.description,
            created_by: grant.actor().to_owned(),
            created_at: self.now,
            updated_at: self.now,
            version: new_id()?.to_string(),
            rotated_at: self.now,
            size: new.value.len() as u64,
            sequence: grant.sequence(),
            legible: true,
        };
        let key = DataKey::generate()?;
        let ciphertext = key.seal_value(org.as_str(), row.id.as_str(), &row.version, &row.owner, new.value)?;
        let (kek_id, wrapped) = key.wrap(self.keyring(), &row.bound(org))?;
        self.execute(
            "INSERT INTO secrets (org, id, name, variable, variable_overridden, owner, auto_install, delivery, description, created_by,
                                  created_at, updated_at, version, rotated_at, size, sequence, kek_id, wrapped_key, ciphertext)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?11, ?13, ?14, ?15, ?16, ?17)",
            bind![
                org, &row.id, &row.name, &row.variable, row.variable_overridden, &row.owner, row.auto_install, row.delivery.as_str(),
                &row.description, &row.created_by, row.created_at, &row.version, row.size, row.sequence, &kek_id, &wrapped, &ciphertext,
            ],
        )?;
        self.add_version(grant, &row, new.strength)?;
        self.use_bytes(org, &row.owner, row.installed_bytes())?;
        Ok(row)
    }

    /// Stores a new value under the facts of the old row, once those are proven. `expected` is the version that the caller
    /// believes current.
    pub fn rotate_secret(
        &self,
        grant: &Grant,
        old: &SecretRow,
        expected: Option<&str>,
        value: &[u8],
        strength: Strength,
    ) -> Result<SecretRow, Error> {
        grant.covers(Action::SecretRotate, &format!("secret/{}", old.id))?;
        let org = grant.org();
        check_version(old, expected)?;
        self.stored_key(org, old, grant.sequence())?;
        let row = SecretRow {
            version: new_id()?.to_string(),
            size: value.len() as u64,
            updated_at: self.now,
            rotated_at: self.now,
            sequence: grant.sequence(),
            ..old.clone()
        };
        let key = DataKey::generate()?;
        let ciphertext = key.seal_value(org.as_str(), row.id.as_str(), &row.version, &row.owner, value)?;
        let (kek_id, wrapped) = key.wrap(self.keyring(), &row.bound(org))?;
        self.execute(
            "UPDATE secrets SET version = ?3, rotated_at = ?4, updated_at = ?4, size = ?5, sequence = ?6, kek_id = ?7, wrapped_key = ?8,
                                ciphertext = ?9 WHERE org = ?1 AND id = ?2",
            bind![org, &row.id, &row.version, self.now, row.size, row.sequence, &kek_id, &wrapped, &ciphertext],
        )?;
        self.retire_version(org, old)?;
        self.add_version(grant, &row, strength)?;
        self.use_bytes(org, &row.owner, row.installed_bytes() - old.installed_bytes())?;
        Ok(row)
    }

    /// Changes metadata; the data key is wrapped anew, the value is not touched.
    pub fn update_secret(&self, grant: &Grant, old: &SecretRow, edit: SecretEdit) -> Result<SecretRow, Error> {
        grant.covers(Action::SecretUpdate, &format!("secret/{}", old.id))?;
        let org = grant.org();
        let mut row = SecretRow { updated_at: self.now, sequence: grant.sequence(), ..old.clone() };
        if let Some((variable, by_hand)) = edit.variable {
            self.free(org, &row.owner, &row.name, &variable, Some(&row.id))?;
            (row.variable, row.variable_overridden) = (variable.to_string(), by_hand);
        }
        row.auto_install = edit.auto_install.unwrap_or(row.auto_install);
        row.description = edit.description.unwrap_or(row.description);
        let key = self.stored_key(org, old, grant.sequence())?;
        let (kek_id, wrapped) = key.wrap(self.keyring(), &row.bound(org))?;
        self.execute(
            "UPDATE secrets SET variable = ?3, variable_overridden = ?4, auto_install = ?5, description = ?6, updated_at = ?7, sequence = ?8,
                                kek_id = ?9, wrapped_key = ?10 WHERE org = ?1 AND id = ?2",
            bind![
                org, &row.id, &row.variable, row.variable_overridden, row.auto_install, &row.description, self.now, row.sequence, &kek_id, &wrapped,
            ],
        )?;
        self.use_bytes(org, &row.owner, row.installed_bytes() - old.installed_bytes())?;
        Ok(row)
    }

    /// Destroys the ciphertext; versions and deliveries stay on record. Gives the number of live sessions that got it.
    pub fn delete_secret(&self, grant: &Grant, old: &SecretRow, expected: Option<&str>) -> Result<u32, Error> {
        grant.covers(Action::SecretDelete, &format!("secret/{}", old.id))?;
        check_version(old, expected)?;
        self.destroy(grant.org(), old)?;
        let holding = self.one(
            "SELECT COUNT(DISTINCT d.session_id) FROM content_items i
             JOIN deliveries d ON d.org = i.org AND d.content_id = i.content_id
             JOIN sessions s ON s.org = d.org AND s.id = d.session_id
             WHERE i.org = ?1 AND i.secret_id = ?2 AND s.ended_at IS NULL",
            bind![grant.org(), &old.id],
            |row| row.int(0),
        )?;
        Ok(holding.unwrap_or(0) as u32)
    }

    /// All of a user's, when the user is removed.
    pub fn destroy_private_secrets(&self, grant: &Grant, user: &UserName) -> Result<u32, Error> {
        grant.covers(Action::UserRemove, &format!("user/{user}"))?;
        let sql = format!("SELECT {COLUMNS} FROM secrets WHERE org = ?1 AND owner = ?2");
        let rows = self.all(&sql, bind![grant.org(), user], secret_row)?;
        for row in &rows {
            self.destroy(grant.org(), row)?;
            // On record for each: a row put back for somebody new of that name is older than this.
            let detail = [("visibility", row.origin().as_str().to_owned())].into();
            let (actor, target) = (grant.actor().to_owned(), format!("secret/{}", row.id));
            self.record(
                grant.org(),
                Fact { actor, action: Action::SecretDelete.as_str(), target, outcome: Outcome::Done, detail },
            )?;
        }
        Ok(rows.len() as u32)
    }

    fn destroy(&self, org: &OrgName, row: &SecretRow) -> Result<(), Error> {
        self.execute("DELETE FROM secrets WHERE org = ?1 AND id = ?2", bind![org, &row.id])?;
        self.retire_version(org, row)?;
        self.use_bytes(org, &row.owner, -row.installed_bytes())
    }

    /// Newest first.
    pub fn secret_versions(&self, view: &View, id: &Id) -> Result<Vec<VersionRow>, Error> {
        view.covers(Action::SecretRead, &format!("secret/{id}"))?;
        self.all(
            "SELECT version, created_by, created_at, replaced_at, strength FROM secret_versions WHERE org = ?1 AND secret_id = ?2 ORDER BY sequence DESC",
            bind![view.org(), id],
            |row| {
                Ok(VersionRow {
                    version: row.text(0)?,
                    created_by: row.text(1)?,
                    created_at: row.int(2)?,
                    replaced_at: row.opt_int(3)?,
                    strength: strength_of(&row.text(4)?),
                })
            },
        )
    }

    /// How well a secret's current value can be redacted; `None` where nobody judged it.
    pub fn strength(&self, org: &OrgName, row: &SecretRow) -> Result<Option<Strength>, Error> {
        let word = self.one(
            "SELECT strength FROM secret_versions WHERE org = ?1 AND secret_id = ?2 AND version = ?3",
            bind![org, &row.id, &row.version],
            |row| row.text(0),
        )?;
        Ok(word.and_then(|word| strength_of(&word)))
    }

    /// The code-running variables that the organization allows.
    pub fn allowed_variables(&self, org: &OrgName) -> Result<HashSet<String>, Error> {
        Ok(self
            .all("SELECT variable FROM allowed_variables WHERE org = ?1", bind![org], |row| row.text(0))?
            .into_iter()
            .collect())
    }

    /// Allows a code-running variable, or takes that back. Audited as the server's own act: only its operator can do it.
    pub fn allow_variable(&self, org: &OrgName, variable: &Variable, allow: bool) -> Result<(), Error> {
        match reserved::class_of(variable) {
            None => return Err(Error::Invalid(format!("${variable} is not reserved; anybody may use it"))),
            Some(r) if r.class == reserved::Class::BreaksShell => {
                return Err(Error::Invalid(format!("${variable} can't be allowed: {r}")));
            }
            Some(_) => {}
        }
        if self.one("SELECT 1 FROM organizations WHERE org = ?1", bind![org], |_| Ok(()))?.is_none() {
            return Err(Error::NotFound(format!("there is no organization `{org}`")));
        }
        let (action, sql) = if allow {
            (
                "variable.allow",
                "INSERT INTO allowed_variables (org, variable, allowed_by, allowed_at) VALUES (?1, ?2, 'server', ?3) ON CONFLICT DO NOTHING",
            )
        } else {
            ("variable.disallow", "DELETE FROM allowed_variables WHERE org = ?1 AND variable = ?2 AND allowed_at <= ?3")
        };
        self.execute(sql, bind![org, variable.as_str(), self.now])?;
        let target = format!("variable/{variable}");
        let fact = Fact { actor: "server".into(), action, target, outcome: Outcome::Done, detail: Default::default() };
        self.record(org, fact).map(drop)
    }

    /// Refuses a variable that is reserved, and that the organization has not allowed.
    pub fn usable(&self, org: &OrgName, variable: &Variable) -> Result<(), Error> {
        match reserved::class_of(variable) {
            None => Ok(()),
            Some(r)
                if r.class == reserved::Class::RunsCode && self.allowed_variables(org)?.contains(variable.as_str()) =>
            {
                Ok(())
            }
            Some(r) => Err(Error::Invalid(format!("${variable} is reserved: {r}"))),
        }
    }

    /// Refuses a name or variable that is taken in its visibility, and says by whom.
    pub fn free(
        &self,
        org: &OrgName,
        owner: &str,
        name: &str,
        variable: &Variable,
        but: Option<&Id>,
    ) -> Result<(), Error> {
        self.usable(org, variable)?;
        let scope = if owner.is_empty() { "shared" } else { "private" };
        if but.is_none() && self.secret_by_name(org, owner, name)?.is_some() {
            return Err(Error::Exists(format!(
                "a {scope} secret `{name}` exists already; `keyfob secret rotate {name} --{scope}` gives it a new value"
            )));
        }
        match self.secret_by_variable(org, owner, variable.as_str())? {
            Some(other) if Some(&other.id) != but => Err(Error::Exists(format!(
                "the {scope} secret `{}` gives ${variable} already; choose another name or another variable, or rotate that one",
                other.name
            ))),
            _ => Ok(()),
        }
    }

    fn add_version(&self, grant: &Grant, row: &SecretRow, strength: Strength) -> Result<(), Error> {
        self.execute(
            "INSERT INTO secret_versions (org, secret_id, version, sequence, created_by, created_at, strength) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            bind![grant.org(), &row.id, &row.version, grant.sequence(), grant.actor(), self.now, strength_word(strength)],
        )?;
        Ok(())
    }

    fn retire_version(&self, org: &OrgName, row: &SecretRow) -> Result<(), Error> {
        self.execute(
            "UPDATE secret_versions SET replaced_at = ?4 WHERE org = ?1 AND secret_id = ?2 AND version = ?3",
            bind![org, &row.id, &row.version, self.now],
        )?;
        Ok(())
    }

    /// Counts installed bytes, and refuses what would make somebody's bundle too large for its boot.
    fn use_bytes(&self, org: &OrgName, owner: &str, more: i64) -> Result<(), Error> {
        self.execute(
            "INSERT INTO usage (org, owner, bytes) VALUES (?1, ?2, ?3) ON CONFLICT (org, owner) DO UPDATE SET bytes = usage.bytes + excluded.bytes",
            bind![org, owner, more],
        )?;
        if more <= 0 {
            return Ok(());
        }
        let (most, whose) = if owner.is_empty() { (MAX_SHARED, "shared") } else { (MAX_PRIVATE, "private") };
        let count = "SELECT COUNT(*) FROM secrets WHERE org = ?1 AND owner = ?2 AND auto_install = 1";
        let count = self.one(count, bind![org, owner], |row| row.int(0))?.unwrap_or(0);
        if count > most as i64 {
            return Err(Error::Invalid(format!(
                "there are {most} {whose} secrets that are installed already, and more variables than that no session can be \
                 given: turn auto-install off for some"
            )));
        }
        self.check_bundle_size(org, owner)
    }

    /// Whether the largest bundle that involves this owner's secrets ('' = everybody's) still fits.
    pub(super) fn check_bundle_size(&self, org: &OrgName, owner: &str) -> Result<(), Error> {
        let bytes = |sql: &str, binds: &[Bind<'_>]| {
            self.one(sql, binds, |row| row.opt_int(0)).map(|found| found.flatten().unwrap_or(0))
        };
        let shared = bytes("SELECT bytes FROM usage WHERE org = ?1 AND owner = ''", bind![org])?;
        let private = if owner.is_empty() {
            bytes("SELECT MAX(bytes) FROM usage WHERE org = ?1 AND owner <> ''", bind![org])?
        } else {
            bytes("SELECT bytes FROM usage WHERE org = ?1 AND owner = ?2", bind![org, owner])?
        };
        let environment = bytes(
            "SELECT MAX(length(v.variables)) FROM environments e
             JOIN environment_versions v ON v.org = e.org AND v.name = e.name AND v.version = e.version WHERE e.org = ?1",
            bind![org],
        )?;
        let total = shared + private + environment;
        if total <= MAX_BUNDLE as i64 {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "a session's bundle would grow to {total} bytes ({shared} shared, {private} private, {environment} environment variables); \
             {MAX_BUNDLE} (1 MiB) is the most: turn auto-install off for some, or shorten them"
        )))
    }

    /// As [`Tx::data_key`], for a row whose key has not been read yet.
    fn stored_key(&self, org: &OrgName, row: &SecretRow, before: u64) -> Result<DataKey, Error> {
        let sql = "SELECT kek_id, wrapped_key FROM secrets WHERE org = ?1 AND id = ?2";
        let found = self.one(sql, bind![org, &row.id], |row| Ok((row.text(0)?, row.blob(1)?)))?;
        let (kek_id, wrapped) = found.ok_or_else(|| Error::not_found("secret"))?;
        self.data_key(org, row, &kek_id, &wrapped, before)
    }

    /// Opens a row's data key, and with that proves what the row says of itself: that it was stored so, here, and that the
    /// newest entry about it (below `before`, the change at hand) is the one that made it.
    pub(super) fn data_key(
        &self,
        org: &OrgName,
        row: &SecretRow,
        kek_id: &str,
        wrapped: &[u8],
        before: u64,
    ) -> Result<DataKey, Error> {
        if !row.legible {
            return Err(altered(org, row, Flaw::Row));
        }
        let key = DataKey::unwrap(self.keyring(), kek_id, &row.bound(org), wrapped)
            .map_err(|_| altered(org, row, Flaw::NoKey(kek_id.to_owned())))?
            .map_err(|_| altered(org, row, Flaw::Row))?;
        match self.last_change(org, &format!("secret/{}", row.id), before)? {
            Some(newest) if newest == row.sequence => Ok(key),
            _ => Err(altered(org, row, Flaw::Older)),
        }
    }
}

/// The error that refuses a row and puts that on record.
pub(super) fn altered(org: &OrgName, row: &SecretRow, flaw: Flaw) -> Error {
    Error::Altered { org: org.clone(), id: row.id.clone(), name: row.name.clone(), flaw }
}

fn check_version(row: &SecretRow, expected: Option<&str>) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != row.version => Err(Error::Changed(format!(
            "`{}` was changed meanwhile: its version is {} now; look at it again (`keyfob secret show`) before you replace it",
            row.name, row.version
        ))),
        _ => Ok(()),
    }
}
