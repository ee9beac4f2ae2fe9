//! Environments: named sets of non-sensitive variables with a boot policy, every version of them kept.

use std::collections::BTreeMap;

use super::{Error, Grant, Row, Tx, View, bind};
use crate::domain::{
    boot::{BootPolicy, OnFailure},
    name::{EnvironmentName, OrgName},
    policy::Action,
    value::{self, MAX_ENVIRONMENT, MAX_VALUE},
    variable::Variable,
};

pub type Variables = BTreeMap<String, String>;

/// An environment at one version.
#[derive(Debug, Clone)]
pub struct EnvironmentRow {
    pub name: String,
    pub description: String,
    pub version: u64,
    pub variables: Variables,
    pub boot: BootPolicy,
    pub created_at: i64,
    pub updated_at: i64,
    pub updated_by: String,
}

#[derive(Debug, Clone)]
pub struct EnvironmentVersionRow {
    pub version: u64,
    pub created_by: String,
    pub created_at: i64,
    pub restored_from: u64,
    pub changes: Vec<VariableChange>,
    /// Before and after, if they differ.
    pub boot: Option<(BootPolicy, BootPolicy)>,
}

/// What one update changes.
#[derive(Debug, Default)]
pub struct EnvironmentEdit {
    pub set: Vec<(Variable, String)>,
    pub unset: Vec<Variable>,
    /// The whole policy anew.
    pub boot: Option<BootPolicy>,
}

/// Against the version before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableChange {
    pub variable: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// All names and values of one version together, in bytes.
const MAX_TOTAL: usize = 256 * 1024;

const SELECT: &str =
    "SELECT e.name, e.description, v.version, v.variables, e.created_at, v.created_at, v.created_by, v.deadline, v.on_failure
                      FROM environments e JOIN environment_versions v ON v.org = e.org AND v.name = e.name WHERE e.org = ?1";

fn environment_row(row: &Row<'_>) -> Result<EnvironmentRow, Error> {
    Ok(EnvironmentRow {
        name: row.text(0)?,
        description: row.text(1)?,
        version: row.uint(2)?,
        variables: variables(&row.text(3)?)?,
        boot: boot(row.uint(7)?, &row.text(8)?)?,
        created_at: row.int(4)?,
        updated_at: row.int(5)?,
        updated_by: row.text(6)?,
    })
}

fn variables(json: &str) -> Result<Variables, Error> {
    serde_json::from_str(json).map_err(|_| Error::Corrupt("an environment's variables can't be read".into()))
}

fn boot(deadline: u64, on_failure: &str) -> Result<BootPolicy, Error> {
    let corrupt = || Error::Corrupt("an environment's boot policy can't be read".into());
    let on_failure = match on_failure {
        "" => None,
        word => Some(OnFailure::parse(word).ok_or_else(corrupt)?),
    };
    BootPolicy::new(deadline, on_failure).map_err(|_| corrupt())
}

impl Tx<'_> {
    /// At its newest version.
    pub fn environment(&self, org: &OrgName, name: &EnvironmentName) -> Result<Option<EnvironmentRow>, Error> {
        self.one(
            &format!("{SELECT} AND e.name = ?2 AND v.version = e.version"),
            bind![org, name.as_str()],
            environment_row,
        )
    }

    pub fn environment_at(
        &self,
        org: &OrgName,
        name: &EnvironmentName,
        version: u64,
    ) -> Result<Option<EnvironmentRow>, Error> {
        self.one(
            &format!("{SELECT} AND e.name = ?2 AND v.version = ?3"),
            bind![org, name.as_str(), version],
            environment_row,
        )
    }

    pub fn environments(&self, view: &View) -> Result<Vec<EnvironmentRow>, Error> {
        view.covers(Action::EnvironmentRead, "organization")?;
        self.all(&format!("{SELECT} AND v.version = e.version ORDER BY e.name"), bind![view.org()], environment_row)
    }

    pub fn create_environment(
        &self,
        grant: &Grant,
        name: &EnvironmentName,
        description: &str,
    ) -> Result<EnvironmentRow, Error> {
        grant.covers(Action::EnvironmentCreate, &format!("environment/{name}"))?;
        if self.environment(grant.org(), name)?.is_some() {
            return Err(Error::Exists(format!(
                "there is an environment `{name}` already; `keyfob env set {name} NAME=VALUE` changes it"
            )));
        }
        self.insert_environment(grant.org(), name.as_str(), description, grant.actor())?;
        self.environment(grant.org(), name)?.ok_or(Error::Internal("an environment that was just made"))
    }

    pub(super) fn insert_environment(
        &self,
        org: &OrgName,
        name: &str,
        description: &str,
        by: &str,
    ) -> Result<(), Error> {
        self.execute(
            "INSERT INTO environments (org, name, description, version, created_at) VALUES (?1, ?2, ?3, 1, ?4)",
            bind![org, name, description, self.now],
        )?;
        self.insert_version(org, name, 1, (&Variables::new(), BootPolicy::default()), by, 0)
    }

    /// Makes a new version with some variables set, some unset, and perhaps another boot policy. One that would change
    /// nothing makes none.
    pub fn update_environment(
        &self,
        grant: &Grant,
        newest: &EnvironmentRow,
        edit: &EnvironmentEdit,
        expected: Option<u64>,
    ) -> Result<EnvironmentRow, Error> {
        if let Some(expected) = expected.filter(|e| *e != newest.version) {
            return Err(Error::Changed(format!(
                "`{}` was changed meanwhile: it is at version {} now, not {expected}; look at it again (`keyfob env show {}`)",
                newest.name, newest.version, newest.name
            )));
        }
        let mut variables = newest.variables.clone();
        for name in &edit.unset {
            if variables.remove(name.as_str()).is_none() {
                return Err(Error::Invalid(format!("`{name}` is not set in `{}`", newest.name)));
            }
        }
        for (variable, value) in &edit.set {
            self.usable(grant.org(), variable)?;
            if value.len() > MAX_VALUE || value::check_text(value.as_bytes()).is_err() {
                return Err(Error::Invalid(format!(
                    "the value of {variable} is longer than 64 KiB, or holds a NUL byte or a Unicode noncharacter, which \
                     no service could be given"
                )));
            }
            variables.insert(variable.to_string(), value.clone());
        }
        if variables.len() > MAX_ENVIRONMENT {
            return Err(Error::Invalid(format!("an environment has {MAX_ENVIRONMENT} variables at the most")));
        }
        self.new_version(grant, newest, variables, edit.boot.unwrap_or(newest.boot), 0)
    }

    /// Makes a new version that equals an older one.
    pub fn restore_environment(
        &self,
        grant: &Grant,
        newest: &EnvironmentRow,
        old: &EnvironmentRow,
    ) -> Result<EnvironmentRow, Error> {
        self.new_version(grant, newest, old.variables.clone(), old.boot, old.version)
    }

    fn new_version(
        &self,
        grant: &Grant,
        newest: &EnvironmentRow,
        variables: Variables,
        boot: BootPolicy,
        restored_from: u64,
    ) -> Result<EnvironmentRow, Error> {
        grant.covers(Action::EnvironmentUpdate, &format!("environment/{}", newest.name))?;
        if variables == newest.variables && boot == newest.boot {
            return Ok(newest.clone());
        }
        let total: usize = variables.iter().map(|(k, v)| k.len() + v.len()).sum();
        if total > MAX_TOTAL {
            return Err(Error::Invalid(format!(
                "the environment's variables would have {total} bytes; {MAX_TOTAL} (256 KiB) is the most"
            )));
        }
        let (org, version) = (grant.org(), newest.version + 1);
        self.insert_version(org, &newest.name, version, (&variables, boot), grant.actor(), restored_from)?;
        self.execute(
            "UPDATE environments SET version = ?3 WHERE org = ?1 AND name = ?2",
            bind![org, &newest.name, version],
        )?;
        self.check_bundle_size(org, "")?;
        Ok(EnvironmentRow {
            version,
            variables,
            boot,
            updated_at: self.now,
            updated_by: grant.actor().to_owned(),
            ..newest.clone()
        })
    }

    fn insert_version(
        &self,
        org: &OrgName,
        name: &str,
        version: u64,
        (variables, boot): (&Variables, BootPolicy),
        by: &str,
        restored_from: u64,
    ) -> Result<(), Error> {
        let json = serde_json::to_string(variables).map_err(|_| Error::Internal("variables that are no JSON"))?;
        self.execute(
            "INSERT INTO environment_versions (org, name, version, variables, deadline, on_failure, created_by, created_at, restored_from)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            bind![
                org,
                name,
                version,
                &json,
                i64::from(boot.deadline.unwrap_or(0)),
                boot.on_failure.map_or("", OnFailure::as_str),
                by,
                self.now,
                restored_from
            ],
        )?;
        Ok(())
    }

    /// Every version with its changes, newest first.
    pub fn environment_history(
        &self,
        view: &View,
        name: &EnvironmentName,
    ) -> Result<Vec<EnvironmentVersionRow>, Error> {
        view.covers(Action::EnvironmentRead, &format!("environment/{name}"))?;
        let rows = self.all(
            "SELECT version, created_by, created_at, restored_from, variables, deadline, on_failure FROM environment_versions
             WHERE org = ?1 AND name = ?2 ORDER BY version",
            bind![view.org(), name.as_str()],
            |row| {
                let what = (variables(&row.text(4)?)?, boot(row.uint(5)?, &row.text(6)?)?);
                Ok((row.uint(0)?, row.text(1)?, row.int(2)?, row.uint(3)?, what))
            },
        )?;
        let mut before = (Variables::new(), BootPolicy::default());
        let mut history = Vec::new();
        for (version, created_by, created_at, restored_from, after) in rows {
            history.push(EnvironmentVersionRow {
                version,
                created_by,
                created_at,
                restored_from,
                changes: changes(&before.0, &after.0),
                boot: (before.1 != after.1).then_some((before.1, after.1)),
            });
            before = after;
        }
        history.reverse();
        Ok(history)
    }
}

fn changes(before: &Variables, after: &Variables) -> Vec<VariableChange> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let change = |name: &String| VariableChange {
        variable: name.clone(),
        before: before.get(name).cloned(),
        after: after.get(name).cloned(),
    };
    names.into_iter().map(change).filter(|c| c.before != c.after).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_between_versions() {
        let of =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Variables>();
        let shown = |before: &[(&str, &str)], after: &[(&str, &str)]| {
            let changes = changes(&of(before), &of(after));
            changes
                .iter()
                .map(|c| {
                    format!(
                        "{} {}>{}",
                        c.variable,
                        c.before.as_deref().unwrap_or("-"),
                        c.after.as_deref().unwrap_or("-")
                    )
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(&[], &[("A", "1")]), ["A ->1"]);
        assert_eq!(shown(&[("A", "1"), ("B", "2")], &[("B", "3"), ("C", "4")]), ["A 1>-", "B 2>3", "C ->4"]);
        assert!(shown(&[("A", "1")], &[("A", "1")]).is_empty());
    }
}
