//! The session's fingerprints: made of a bundle before any of it can be read, kept beside it, and added to when there is a
//! newer one, so that what was replaced stays redacted until the session ends.
//!
//! Beside the secrets stands one random word of the agent's own, the canary: it is logged to see that it does not come out.

use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};
use zeroize::Zeroizing;

use super::{
    fetch::Entry,
    files,
    runtime_dir::{FINGERPRINTS, RuntimeDir},
};
use crate::{client::Error, domain::redaction::Redaction};

/// No secret's variable: a leak of it is none.
pub const CANARY: &str = "KEYFOB_CANARY";

pub struct Fingerprints {
    /// As they are handed over and kept: [`Redaction::encode`].
    pub encoded: Arc<Vec<u8>>,
    pub canary: Zeroizing<String>,
}

impl Fingerprints {
    /// Those in place, if they are this session's, with those of a bundle and a canary: the one of before, or a fresh one.
    pub fn load(
        dir: &RuntimeDir,
        session: &str,
        bundle: &[Entry],
        canary: Option<Zeroizing<String>>,
    ) -> Result<Self, Error> {
        let ours = files::read_manifest(dir).map_err(local)?.is_some_and(|manifest| manifest.session == session);
        let earlier = if ours { in_place(dir).map_err(local)? } else { None };
        let mut redaction = match earlier {
            Some(redaction) => redaction,
            None => empty()?,
        };
        for entry in bundle.iter().filter(|entry| entry.is_secret()) {
            redaction.add(entry.variable.as_str(), &entry.version, &entry.value);
        }
        let canary = match canary {
            Some(canary) => canary,
            None => {
                let mut random = [0; 16];
                getrandom::fill(&mut random).map_err(local)?;
                Zeroizing::new(format!("{:032x}", u128::from_ne_bytes(random)))
            }
        };
        redaction.add(CANARY, "", canary.as_bytes());
        Ok(Self { encoded: Arc::new(redaction.encode()), canary })
    }
}

/// Those of another version of the agent are of no use to this one.
fn in_place(dir: &RuntimeDir) -> io::Result<Option<Redaction>> {
    match openat(dir.fd(), FINGERPRINTS, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(fd) => {
            let mut bytes = Vec::new();
            File::from(fd).read_to_end(&mut bytes)?;
            Ok(Redaction::decode(&bytes).ok())
        }
        Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn empty() -> Result<Redaction, Error> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut key[..]).map_err(local)?;
    Ok(Redaction::new(*key))
}

fn local(error: impl std::fmt::Display) -> Error {
    Error::Local(format!("the fingerprints: {error}"))
}
