//! The session's fingerprints: made of values before any of them can be read, handed to who redacts the journal, and kept
//! beside the files. What was replaced, or lent to one command, stays redacted until the session ends.
//!
//! ```text
//! those in place + what a bundle or a loan brings ─► hand-over ─► (files with the values) ─► those in place
//! ```
//!
//! Beside the secrets stands one random word of the agent's own, the canary: it is logged to see that it does not come out.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};
use tokio::{
    sync::{Mutex, MutexGuard, mpsc, watch},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{
    config::JournalMode,
    fetch::Entry,
    files,
    journal::{self, State},
    leaks::Leak,
    runtime_dir::{FINGERPRINTS, RuntimeDir},
};
use crate::{client::Error, domain::redaction::Redaction};

/// No secret's variable: a leak of it is none.
pub const CANARY: &str = "KEYFOB_CANARY";
/// How long a redactor that is there is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The agent's dealings with fingerprints.
pub struct Redacting {
    pub journal: JournalMode,
    pub canary: Zeroizing<String>,
    given: watch::Sender<Option<Arc<Vec<u8>>>>,
    redactor: watch::Receiver<State>,
    turn: Mutex<()>,
}

/// Fingerprints that who redacts has, and that are not in place yet. Nobody else's are made in between.
pub struct Prepared<'a> {
    /// [`Redaction::encode`].
    pub encoded: Arc<Vec<u8>>,
    _turn: MutexGuard<'a, ()>,
}

impl Redacting {
    /// And what hands over, for as long as it is polled; leaks that the redactors tell of go to `leaks`.
    pub fn new(journal: JournalMode, leaks: mpsc::Sender<Leak>) -> Result<(Self, impl Future<Output = ()>), Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(local)?;
        let canary = Zeroizing::new(format!("{:032x}", u128::from_ne_bytes(random)));
        let (given, prints) = watch::channel(None);
        let (state, redactor) = watch::channel(State::default());
        let handing = async move {
            if journal != JournalMode::Off {
                journal::hand_over(prints, leaks, state).await;
            }
        };
        Ok((Self { journal, canary, given, redactor, turn: Mutex::new(()) }, handing))
    }

    /// The fingerprints in place, if they are this session's, with those of `entries` and the canary. To be called before
    /// anything that they stand for can be read, and so be logged.
    pub async fn prepare(&self, dir: &RuntimeDir, session: &str, entries: &[Entry]) -> Result<Prepared<'_>, Error> {
        let turn = self.turn.lock().await;
        let ours = files::read_manifest(dir).map_err(local)?.is_some_and(|manifest| manifest.session == session);
        let earlier = if ours { in_place(dir).map_err(local)? } else { None };
        let mut redaction = match earlier {
            Some(redaction) => redaction,
            None => empty()?,
        };
        for entry in entries.iter().filter(|entry| entry.is_secret()) {
            redaction.add(entry.variable.as_str(), &entry.version, &entry.value);
        }
        redaction.add(CANARY, "", self.canary.as_bytes());
        let encoded = Arc::new(redaction.encode());
        self.given.send_replace(Some(encoded.clone()));
        if self.journal != JournalMode::Off && Path::new(journal::SOCKETS[0]).exists() {
            let mut redactor = self.redactor.clone();
            if timeout(PATIENCE, redactor.wait_for(|state| state.uses(&encoded))).await.is_err() {
                tracing::warn!("the journal's redactor has not taken the fingerprints yet; going on");
            }
        }
        Ok(Prepared { encoded, _turn: turn })
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
