//! Moves everything that hangs on an older key of the ring to the newest: data keys, authorities' keys, chain heads. Values
//! are not touched, nor even decrypted.

use super::{
    Error, Tx, bind,
    secrets::{COLUMNS, secret_row},
};
use crate::{domain::name::OrgName, server::ca};

/// Rows that one transaction moves, so that a running server gets its turn.
pub const STEP: usize = 500;

impl Tx<'_> {
    /// Moves up to [`STEP`] secrets; gives how many, and 0 when none is left.
    pub fn rewrap_secrets(&self) -> Result<usize, Error> {
        let newest = self.keyring().newest(|key| key.id.clone());
        let sql = format!("SELECT {COLUMNS}, kek_id, wrapped_key, org FROM secrets WHERE kek_id <> ?1 LIMIT ?2");
        let rows = self.all(&sql, bind![&newest, STEP], |row| {
            Ok((secret_row(row)?, row.text(15)?, row.blob(16)?, row.text(17)?))
        })?;
        for (secret, kek_id, wrapped, org) in &rows {
            let org = OrgName::parse(org).map_err(|e| Error::Corrupt(e.to_string()))?;
            let key = self.data_key(&org, secret, kek_id, wrapped, i64::MAX as u64)?;
            let (kek_id, wrapped) = key.wrap(self.keyring(), &secret.bound(&org))?;
            self.execute(
                "UPDATE secrets SET kek_id = ?3, wrapped_key = ?4 WHERE org = ?1 AND id = ?2",
                bind![&org, &secret.id, &kek_id, &wrapped],
            )?;
        }
        Ok(rows.len())
    }

    /// Moves the authorities' keys and the heads of all chains.
    pub fn rewrap_rest(&self) -> Result<(), Error> {
        ca::rewrap(self)?;
        for org in self.all("SELECT org FROM audit_heads", bind![], |row| row.text(0))? {
            self.renew_head(&OrgName::parse(&org).map_err(|e| Error::Corrupt(e.to_string()))?)?;
        }
        Ok(())
    }

    /// How many secrets hang on each key.
    pub fn keys_in_use(&self) -> Result<Vec<(String, u64)>, Error> {
        self.all("SELECT kek_id, COUNT(*) FROM secrets GROUP BY kek_id ORDER BY kek_id", bind![], |row| {
            Ok((row.text(0)?, row.uint(1)?))
        })
    }
}
