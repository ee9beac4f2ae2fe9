//! Envelope encryption of values at rest: what makes a database, or a backup of it, worthless without the keyring.
//!
//! ```text
//! ciphertext  = nonce[12] | AES-256-GCM(data key,   value)    | tag[16]    aad: org, secret, version, owner
//! wrapped key = nonce[12] | AES-256-GCM(keyring key, data key) | tag[16]   aad: the same, and name, variable, auto-install,
//!                                                                               delivery, sequence of the audit entry
//! ```
//!
//! Every version has a data key of its own, from the kernel. The associated data ties a row to its place: one copied over
//! another, or edited, does not open. The owner is empty for a shared secret, so visibility is bound with it. The sequence
//! names the audit entry that made the row what it is; the store compares it with the newest entry about the secret, so an
//! older row put back does not pass either. Changing metadata wraps the key anew and never touches the value.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{error::Error, keyring::Keyring};

const TAG_LEN: usize = 16;

/// The facts of a row that its encryption binds.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    pub org: &'a str,
    pub id: &'a str,
    pub version: &'a str,
    pub owner: &'a str,
    pub name: &'a str,
    pub variable: &'a str,
    pub auto_install: bool,
    pub delivery: &'a str,
    pub sequence: u64,
}

/// A data key, wiped when dropped.
pub struct DataKey(Zeroizing<[u8; 32]>);

/// The row was altered, or stands in another's place.
#[derive(Debug)]
pub struct Altered;

impl DataKey {
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(random()?))
    }

    fn aead(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0[..]).expect("32 bytes are an AES-256 key"))
    }

    pub fn seal_value(&self, org: &str, id: &str, version: &str, owner: &str, value: &[u8]) -> Result<Vec<u8>, Error> {
        seal(
            &self.aead(),
            &aad(&[b"value", org.as_bytes(), id.as_bytes(), version.as_bytes(), owner.as_bytes()]),
            value,
        )
    }

    /// Opens a value into a vector of exactly its size.
    pub fn open_value(&self, row: &Row<'_>, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Altered> {
        open(
            &self.aead(),
            &aad(&[b"value", row.org.as_bytes(), row.id.as_bytes(), row.version.as_bytes(), row.owner.as_bytes()]),
            ciphertext,
        )
    }

    /// Wraps this key for its row with the newest key of the ring; gives that key's name.
    pub fn wrap(&self, keyring: &Keyring, row: &Row<'_>) -> Result<(String, Vec<u8>), Error> {
        keyring.newest(|kek| Ok((kek.id.clone(), seal(&kek.aead(), &row_aad(row), &self.0[..])?)))
    }

    pub fn unwrap(
        keyring: &Keyring,
        kek_id: &str,
        row: &Row<'_>,
        wrapped: &[u8],
    ) -> Result<Result<Self, Altered>, Error> {
        keyring.get(kek_id, |kek| {
            let key = open(&kek.aead(), &row_aad(row), wrapped)?;
            let mut bytes = Zeroizing::new([0; 32]);
            if key.len() != bytes.len() {
                return Err(Altered);
            }
            bytes.copy_from_slice(&key);
            Ok(Self(bytes))
        })
    }
}

/// Seals something of the server's own (an authority's private key) under the newest key; `label` says what it is.
pub fn seal_own(keyring: &Keyring, label: &str, plain: &[u8]) -> Result<(String, Vec<u8>), Error> {
    keyring.newest(|kek| Ok((kek.id.clone(), seal(&kek.aead(), &aad(&[b"own", label.as_bytes()]), plain)?)))
}

pub fn open_own(
    keyring: &Keyring,
    kek_id: &str,
    label: &str,
    sealed: &[u8],
) -> Result<Result<Zeroizing<Vec<u8>>, Altered>, Error> {
    keyring.get(kek_id, |kek| open(&kek.aead(), &aad(&[b"own", label.as_bytes()]), sealed))
}

fn row_aad(row: &Row<'_>) -> Vec<u8> {
    aad(&[
        b"row",
        row.org.as_bytes(),
        row.id.as_bytes(),
        row.version.as_bytes(),
        row.owner.as_bytes(),
        row.name.as_bytes(),
        row.variable.as_bytes(),
        &[row.auto_install as u8],
        row.delivery.as_bytes(),
        &row.sequence.to_be_bytes(),
    ])
}

/// Every field with its length before it, so that no two lists of fields give the same bytes.
fn aad(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = b"keyfob v1".to_vec();
    for field in fields {
        out.extend_from_slice(&(field.len() as u32).to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}

fn seal(key: &LessSafeKey, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
    let nonce = random::<NONCE_LEN>()?;
    let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_LEN);
    out.extend_from_slice(&nonce[..]);
    out.extend_from_slice(plain);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut out[NONCE_LEN..])
        .map_err(|_| Error::Internal("AES-256-GCM refused to seal"))?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

fn open(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Altered> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Altered)?;
    let (body, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(Altered)?;
    let mut plain = Zeroizing::new(vec![0; body.len()]);
    key.open_separate_gather(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), body, tag, &mut plain)
        .map_err(|_| Altered)?;
    Ok(plain)
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut bytes[..]).map_err(|_| Error::Internal("the kernel gives no randomness"))?;
    Ok(bytes)
}
