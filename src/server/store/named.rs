//! Secrets that a session asks for by name: those that its bundle leaves out because they are not installed by themselves,
//! by the same resolution.

use super::{
    Bundle, Error, Grant, Row, SessionRow, Tx, bind,
    bundles::{Source, content_id, sealed_candidate, sealed_columns},
};
use crate::domain::{
    name::{Id, OrgName, SecretName},
    policy::Action,
    resolve::{Candidate, LeftOut, Resolved, resolve},
    value::MAX_BUNDLE,
};

impl Tx<'_> {
    /// Opens a session's secrets of these names; all or none.
    pub fn assemble_named(&self, org: &OrgName, session: &SessionRow, names: &[SecretName]) -> Result<Bundle, Error> {
        let allowed = self.allowed_variables(org)?;
        let columns = sealed_columns();
        // What there is of the name, and what hides the shared one of it.
        let sql = format!(
            "SELECT {columns} FROM secrets WHERE org = ?1 AND owner = '' AND name = ?3
             UNION ALL
             SELECT {columns} FROM secrets WHERE org = ?1 AND owner = ?2 AND owner <> ''
               AND (name = ?3 OR variable IN (SELECT variable FROM secrets WHERE org = ?1 AND owner = '' AND name = ?3))"
        );
        let mut entries = Vec::new();
        let mut bytes = 0;
        for name in names {
            let read = |row: &Row<'_>| sealed_candidate(org, row);
            let candidates = self.all(&sql, bind![org, &session.user, name.as_str()], read)?;
            let mut found: Option<(Candidate<Source>, _)> = None;
            for Resolved { winner, left_out, .. } in resolve(candidates, |v| allowed.contains(v.as_str())) {
                self.prove(org, &winner)?; // it may hide what was asked for
                let stronger = found.as_ref().is_none_or(|(other, _)| winner.origin > other.origin);
                if winner.name == name.as_str() && stronger {
                    found = Some((winner, left_out));
                }
            }
            let Some((winner, left_out)) = found else {
                return Err(Error::NotFound(format!("this session has no secret `{name}`")));
            };
            if let Some(LeftOut::Reserved(reason)) = left_out {
                return Err(Error::Precondition(format!(
                    "`{name}` gives ${}, which is reserved: {reason}",
                    winner.variable
                )));
            }
            let reserved_allowed = allowed.contains(winner.variable.as_str());
            let entry = self.entry(org, winner, reserved_allowed)?;
            bytes += entry.value.len();
            entries.push(entry);
        }
        if bytes > MAX_BUNDLE {
            return Err(Error::Invalid(format!(
                "these secrets have {bytes} bytes together; {MAX_BUNDLE} (1 MiB) is the most, so ask for fewer at once"
            )));
        }
        entries.sort_by(|a, b| a.variable.cmp(&b.variable));
        Ok(Bundle { version: content_id(&entries), entries, left_out: Vec::new() })
    }

    /// Puts their delivery on record. The session's bundle stays the one that it is.
    pub fn deliver_named(
        &self,
        grant: &Grant,
        session: &Id,
        content: &Id,
        items: &[(Id, String)],
    ) -> Result<(), Error> {
        grant.covers(Action::BundleDeliverNamed, &format!("session/{session}"))?;
        self.record_delivery(grant, session, content, items)
    }
}
