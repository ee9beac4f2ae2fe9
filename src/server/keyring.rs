//! The keys that everything at rest hangs on, by name. They live in a file of mode 0600 or a systemd credential, apart from
//! the database:
//!
//! ```text
//! # comment
//! NAME BASE64(32 bytes)      one line a key; the last one wraps what is new, all of them open what is there
//! ```
//!
//! From each key two are derived: one wraps data keys (AES-256-GCM), one authenticates the ends of audit chains
//! (HMAC-SHA256). A key that is asked for and missing makes the file be read again, so a rotation needs no restart.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use aws_lc_rs::{aead, hmac};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::error::Error;
use crate::memory::{Rung, SecretBuf};

/// The name of the systemd credential that holds the keyring.
pub const CREDENTIAL: &str = "keyfob.keyring";

const HEADER: &str = "# Keyfob keyring, newest last. Whoever has this file and the database reads every secret;\n\
                      # whoever loses it can read none. Keep it apart from the database's backups.\n";

pub struct Keyring {
    path: PathBuf,
    keys: RwLock<Arc<Vec<Key>>>,
}

/// One key-encryption key.
pub struct Key {
    pub id: String,
    bytes: SecretBuf,
}

impl Keyring {
    /// From `$CREDENTIALS_DIRECTORY` if systemd hands one in, else from `path`.
    pub fn load(path: &Path) -> Result<Self, String> {
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|dir| PathBuf::from(dir).join(CREDENTIAL))
            .filter(|p| p.exists());
        let path = credential.unwrap_or_else(|| path.to_owned());
        let keys = RwLock::new(Arc::new(read(&path)?));
        Ok(Self { path, keys })
    }

    /// Makes the file with one fresh key, or adds one to it. Gives the new key's name.
    pub fn add_key(path: &Path, name: &str) -> Result<String, String> {
        let shown = path.display();
        let mut random = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut random[..]).map_err(|e| format!("no randomness: {e}"))?;
        let old = match fs::read(path) {
            Ok(old) => {
                read(path)?; // refuses a file that is not ours before it is written anew
                Zeroizing::new(old)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Zeroizing::new(HEADER.as_bytes().to_vec()),
            Err(e) => return Err(format!("{shown}: {e}")),
        };
        let line = Zeroizing::new(format!("{name} {}\n", *Zeroizing::new(STANDARD.encode(&random[..]))));
        let temporary = path.with_extension("new");
        let write = || -> io::Result<()> {
            use io::Write;
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&old)?;
            file.write_all(line.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
        };
        write().map_err(|e| format!("{shown}: {e}"))?;
        Ok(name.to_owned())
    }

    /// All keys as they are now, newest last.
    pub fn keys(&self) -> Arc<Vec<Key>> {
        self.keys.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Uses the newest key.
    pub fn newest<T>(&self, with: impl FnOnce(&Key) -> T) -> T {
        with(self.keys().last().expect("a keyring without keys does not load"))
    }

    /// Uses the key of this name.
    pub fn get<T>(&self, id: &str, with: impl FnOnce(&Key) -> T) -> Result<T, Error> {
        let find = |keys: &[Key]| keys.iter().position(|k| k.id == id);
        let mut keys = self.keys();
        if find(&keys).is_none()
            && let Ok(fresh) = read(&self.path)
        {
            keys = Arc::new(fresh);
            *self.keys.write().unwrap_or_else(|e| e.into_inner()) = keys.clone();
        }
        match find(&keys) {
            Some(at) => Ok(with(&keys[at])),
            None => Err(Error::Precondition(format!(
                "the keyring has no key `{id}`; put it back into {}",
                self.path.display()
            ))),
        }
    }
}

impl Key {
    pub fn aead(&self) -> aead::LessSafeKey {
        let derived = self.derive(b"keyfob v1 wrap");
        aead::LessSafeKey::new(
            aead::UnboundKey::new(&aead::AES_256_GCM, derived.as_ref())
                .expect("a SHA-256 tag is as long as an AES-256 key"),
        )
    }

    pub fn mac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.derive(b"keyfob v1 audit head").as_ref())
    }

    fn derive(&self, label: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.bytes), label)
    }
}

fn read(path: &Path) -> Result<Vec<Key>, String> {
    let shown = path.display();
    let meta = fs::metadata(path).map_err(|e| format!("keyring {shown}: {e}; `keyfob-server init` makes one"))?;
    if meta.mode() & 0o077 != 0 {
        return Err(format!("keyring {shown}: mode {:o} lets others read it; chmod 600 {shown}", meta.mode() & 0o777));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|e| format!("keyring {shown}: {e}"))?);
    let mut keys: Vec<Key> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#')) {
        let bad = |what: &str| format!("keyring {shown}, line {}: {what}", number + 1);
        let (id, encoded) = line.trim().split_once(' ').ok_or_else(|| bad("not `NAME BASE64`"))?;
        let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| bad("the key is not base64"))?);
        if decoded.len() != 32 {
            return Err(bad("the key does not have 32 bytes"));
        }
        if keys.iter().any(|k| k.id == id) {
            return Err(bad("this name stands twice"));
        }
        let mut bytes = SecretBuf::new(32, Rung::None).map_err(|e| format!("memory for keys: {e}"))?;
        bytes.copy_from_slice(&decoded);
        keys.push(Key { id: id.to_owned(), bytes });
    }
    if keys.is_empty() {
        return Err(format!("keyring {shown} holds no key"));
    }
    Ok(keys)
}
