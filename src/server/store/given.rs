//! What a session has: the names in the bundle that it fetched last.

use std::collections::BTreeSet;

use super::{
    Error, Tx, View, bind,
    secrets::{COLUMNS, SecretRow, secret_row},
    sessions::SessionRow,
};
use crate::domain::policy::Action;

/// A secret in a session's bundle.
#[derive(Debug)]
pub struct GivenSecret {
    pub secret: SecretRow,
    /// The version that was given.
    pub version: String,
}

/// Names and versions; no value.
#[derive(Debug, Default)]
pub struct Given {
    pub secrets: Vec<GivenSecret>,
    /// Of the environment, those that no secret hid.
    pub variables: Vec<String>,
}

impl Tx<'_> {
    /// Of a content, the store keeps its secrets' ids and versions; the rest follows from the environment's version, which is the
    /// session's for good.
    pub fn given(&self, view: &View, session: &SessionRow) -> Result<Given, Error> {
        view.covers(Action::SessionRead, &format!("session/{}", session.id))?;
        let org = view.org();
        let (Some(content), Some(fetched_at)) = (&session.bundle_version, session.fetched_at) else {
            return Ok(Given::default());
        };
        let secrets = self.all(
            &format!(
                "SELECT {COLUMNS}, given FROM
                   (SELECT {COLUMNS},
                           (SELECT i.version FROM secret_versions v
                            JOIN content_items i ON i.org = v.org AND i.secret_id = v.secret_id AND i.version = v.version
                            WHERE v.org = ?1 AND v.secret_id = secrets.id AND i.content_id = ?3 LIMIT 1) AS given
                    FROM secrets WHERE org = ?1 AND (owner = '' OR owner = ?2)) AS held
                 WHERE given IS NOT NULL ORDER BY variable"
            ),
            bind![org, &session.user, content],
            |row| Ok(GivenSecret { secret: secret_row(row)?, version: row.text(15)? }),
        )?;
        // What is kept out of sessions hides a variable of its name all the same, if it was so at that time.
        let hiding = self.all(
            "SELECT variable FROM secrets WHERE org = ?1 AND (owner = '' OR owner = ?2) AND auto_install = 0 AND updated_at <= ?3",
            bind![org, &session.user, fetched_at],
            |row| row.text(0),
        )?;
        let taken: BTreeSet<&str> = secrets
            .iter()
            .map(|given| given.secret.variable.as_str())
            .chain(hiding.iter().map(String::as_str))
            .collect();
        let variables = self.environment_variables(org, &session.environment, session.environment_version)?;
        let variables = variables.into_keys().filter(|variable| !taken.contains(variable.as_str())).collect();
        Ok(Given { secrets, variables })
    }
}
