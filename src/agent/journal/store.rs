//! What outlives this process: every socket, by systemd's file-descriptor store. A client's stream is kept together with its way
//! to journald, under one short name (systemd hands all names over in one environment variable, which the kernel lets
//! be 128 KiB long); what else is to be known of it lies in a file of that name.
//!
//! ```text
//! socket, dev-log, stdout   where clients come to        s1f (two of them)  a client's stream and its upstream
//! agent                     where the agent comes to     prints-a, -b       the fingerprints, sealed; the newer replaces the older
//! ```

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use sd_notify::NotifyState;

use super::{credentials::Adoption, sockets};

const PRINTS: [&str; 2] = ["prints-a", "prints-b"];

/// What systemd handed over, sorted.
#[derive(Debug, Default)]
pub struct Restored {
    /// Sockets that are bound to a path, by its last part: what clients or the agent come to.
    pub bound: Vec<(String, OwnedFd)>,
    /// A client and, if it had one yet, its upstream, by their number.
    pub streams: Vec<(u64, OwnedFd, Option<OwnedFd>)>,
    pub prints: Option<OwnedFd>,
}

#[derive(Debug)]
pub struct Store {
    /// Of files that say more about streams.
    dir: PathBuf,
    /// Which of the two names the next fingerprints get.
    next: usize,
}

impl Store {
    pub fn new(dir: &Path) -> io::Result<(Self, Restored)> {
        fs::create_dir_all(dir)?;
        let mut store = Self { dir: dir.into(), next: 0 };
        let mut restored = Restored::default();
        let adoption = Adoption::new()?;
        let mut single: Vec<(u64, OwnedFd)> = Vec::new();
        for (number, name) in sd_notify::listen_fds_with_names().into_iter().flatten() {
            let fd = adoption.adopt(number)?;
            if let Some(place) = PRINTS.iter().position(|print| *print == name) {
                store.next = 1 - place;
                restored.prints = Some(fd);
            } else if let Some(number) = name.strip_prefix('s').and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
                // The client's is bound to the path that it came to.
                let (client, other) = match single.iter().position(|(of, _)| *of == number) {
                    None => {
                        single.push((number, fd));
                        continue;
                    }
                    Some(place) => {
                        let (_, other) = single.swap_remove(place);
                        if sockets::bound_name(&fd).is_some() { (fd, other) } else { (other, fd) }
                    }
                };
                restored.streams.push((number, client, Some(other)));
            } else if let Some(name) = sockets::bound_name(&fd) {
                rustix::io::ioctl_fionbio(&fd, true)?; // systemd hands its own over as such that wait
                restored.bound.push((name, fd));
            }
        }
        for (number, fd) in single {
            if sockets::bound_name(&fd).is_some() {
                restored.streams.push((number, fd, None));
            } else {
                store.forget_stream(number);
            }
        }
        Ok((store, restored))
    }

    /// A socket that clients come to.
    pub fn keep(&self, name: &str, fd: &impl AsFd) {
        tell(&[NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")], &[fd.as_fd()]);
    }

    pub fn keep_prints(&mut self, fd: &impl AsFd) {
        self.keep(PRINTS[self.next], fd);
        self.next = 1 - self.next;
        tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(PRINTS[self.next])], &[]);
    }

    /// Who has just come, and has said nothing yet.
    pub fn keep_client(&self, number: u64, client: &OwnedFd) {
        self.keep(&stream_name(number), client);
    }

    /// Also of a client that is kept: systemd keeps no socket twice. Without FDPOLL=0 systemd would let go of a stream whose client has gone, with what is still to be read.
    pub fn keep_stream(&self, number: u64, client: &OwnedFd, upstream: &OwnedFd, known: &[u8]) -> io::Result<()> {
        fs::write(self.file(number), known)?;
        let name = stream_name(number);
        let state = [NotifyState::FdStore, NotifyState::FdName(&name), NotifyState::Custom("FDPOLL=0")];
        tell(&state, &[client.as_fd(), upstream.as_fd()]);
        Ok(())
    }

    pub fn forget_stream(&self, number: u64) {
        tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(&stream_name(number))], &[]);
        let _ = fs::remove_file(self.file(number));
    }

    pub fn known(&self, number: u64) -> Vec<u8> {
        fs::read(self.file(number)).unwrap_or_default()
    }

    fn file(&self, number: u64) -> PathBuf {
        self.dir.join(stream_name(number))
    }
}

fn stream_name(number: u64) -> String {
    format!("s{number:x}")
}

fn tell(state: &[NotifyState<'_>], fds: &[std::os::fd::BorrowedFd<'_>]) {
    let told = if fds.is_empty() { sd_notify::notify(state) } else { sd_notify::notify_with_fds(state, fds) };
    if let Err(error) = told {
        super::say(&format!("systemd could not be told: {error}"));
    }
}
