//! The agent's end: gives the fingerprints to the redactors of the journal, and hears what they found.

use std::{
    collections::VecDeque,
    io,
    os::fd::AsFd,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::net::SocketFlags;
use tokio::{
    io::Interest,
    net::UnixStream,
    sync::{mpsc, watch},
    time::timeout,
};

use super::protocol::{SOCKETS, State, ToAgent, ToRedactor};
use crate::agent::{leaks::Leak, memfd, packet};

/// While no redactor answers, at first and at last: it is being started, or there is none.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Of the memory with the fingerprints.
pub(super) const NAME: &str = "keyfob-fingerprints";

/// What is to be given: [`crate::domain::redaction::Redaction::encode`].
type Prints = Option<Arc<Vec<u8>>>;

/// For ever: connects to each redactor there is, gives it the fingerprints, again whenever they change or it was started anew, and
/// passes on what it says. `state` is that of the whole machine's redactor.
///
/// Until a redactor has the fingerprints it passes on what is logged as it is: there is nothing to redact with, and no secrets
/// in the VM either, provided that the files are written **after** this: set the fingerprints, wait until
/// [`State::uses`] them (or as long as the boot can wait, where there may be no redactor), then write the files.
pub async fn hand_over(set: watch::Receiver<Prints>, leaks: mpsc::Sender<Leak>, state: watch::Sender<State>) {
    let [machine, services] = SOCKETS.map(Path::new);
    tokio::join!(
        give(machine, set.clone(), leaks.clone(), state),
        // Started when the first of its services is; it reads the fingerprints from their file, if the agent is late.
        give(services, set, leaks, watch::Sender::default()),
    );
}

async fn give(path: &Path, mut set: watch::Receiver<Prints>, leaks: mpsc::Sender<Leak>, state: watch::Sender<State>) {
    let mut again = AGAIN.0;
    loop {
        let started = Instant::now();
        if let Err(error) = give_once(path, &mut set, &leaks, &state).await {
            tracing::debug!(%error, path = %path.display(), "no redactor");
            state.send_if_modified(|state| std::mem::take(state) != State::default());
        }
        if leaks.is_closed() || set.has_changed().is_err() {
            return; // nobody wants to know any more
        }
        // One that was there comes back soon.
        again = if started.elapsed() > AGAIN.0 { AGAIN.0 } else { AGAIN.1.min(2 * again) };
        // What is new is not kept waiting.
        set.mark_unchanged();
        let _ = timeout(again, set.changed()).await;
    }
}

async fn give_once(
    path: &Path,
    set: &mut watch::Receiver<Prints>,
    leaks: &mpsc::Sender<Leak>,
    state: &watch::Sender<State>,
) -> io::Result<()> {
    let (made, address) = packet::socket(path, SocketFlags::NONBLOCK)?;
    rustix::net::connect(&made, &address)?;
    // Tokio has no type for sockets of packets; what is used of this one is the waiting.
    let redactor = UnixStream::from_std(made.into())?;
    set.mark_changed();
    let mut given = VecDeque::new();
    loop {
        tokio::select! {
            changed = set.changed() => {
                changed.map_err(|_| io::Error::other("the agent ends"))?;
                let prints = set.borrow_and_update().clone();
                if let Some(prints) = prints {
                    let sealed = memfd::sealed(NAME, &prints)?;
                    redactor.async_io(Interest::WRITABLE, || {
                        packet::send(&redactor, &ToRedactor::Redaction {}, &[sealed.as_fd()])
                    }).await?;
                    given.push_back(prints);
                }
            }
            said = redactor.async_io(Interest::READABLE, || packet::receive(&redactor)) => {
                let Some((said, _)) = said? else { return Err(io::Error::other("it has ended")) };
                match said {
                    ToAgent::Ok {} => {
                        let prints = given.pop_front();
                        state.send_modify(|state| state.prints = prints);
                    }
                    ToAgent::State(now) => state.send_modify(|state| {
                        let prints = state.prints.take();
                        *state = State { prints, ..now };
                    }),
                    ToAgent::Leaks(found) => {
                        for leak in found {
                            let _ = leaks.send(leak).await;
                        }
                    }
                    ToAgent::Error { message, .. } => {
                        given.pop_front();
                        tracing::warn!(message, "the journal's redactor refuses the fingerprints");
                    }
                }
            }
        }
    }
}
