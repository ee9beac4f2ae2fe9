//! The doors of the journal, and how they become ours: `/run/systemd/journal/{socket,stdout,dev-log}` are names of sockets, and two
//! names can exchange what they stand for, at once. Journald keeps its sockets, which get names below `keyfob/` there; who
//! logs comes to ours. When journald's sockets are bound anew (systemd removes the names and makes them again), we see it
//! and exchange again: our sockets have a second name each, so that they outlive the loss of the first.
//!
//! ```text
//!                        /run/systemd/journal/socket   /run/systemd/journal/keyfob/socket   keyfob/socket.own
//! before                 journald's                    (none)                               ours
//! linked                 journald's                    ours                                 ours
//! exchanged              ours                          journald's                           ours
//! ```

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        socket::{
            AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockname, listen, setsockopt,
            socket, sockopt,
        },
    },
};

/// A way to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    Native,
    Syslog,
    Stdout,
}

impl Door {
    pub const ALL: [Self; 3] = [Self::Native, Self::Syslog, Self::Stdout];

    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "socket",
            Self::Syslog => "dev-log",
            Self::Stdout => "stdout",
        }
    }

    fn kind(self) -> SockType {
        match self {
            Self::Stdout => SockType::Stream,
            Self::Native | Self::Syslog => SockType::Datagram,
        }
    }

    /// A socket of ours where anybody may log. What was at the path before is gone.
    pub fn open(self, path: &Path) -> io::Result<OwnedFd> {
        let made = open(self.kind(), path, 0o666)?;
        setsockopt(&made, sockopt::PassCred, &true)?;
        Ok(made)
    }

    /// The other side: to journald.
    pub fn connect(self, path: &Path) -> nix::Result<OwnedFd> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let made = socket(AddressFamily::Unix, self.kind(), flags, None)?;
        // As much as the system allows: a sender may have asked for it too.
        let _ = setsockopt(&made, sockopt::SndBuf, &(8 * 1024 * 1024));
        connect(made.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(made)
    }
}

/// A listening socket at a path.
pub fn open(kind: SockType, path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let _ = fs::remove_file(path);
    let made = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    bind(made.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if kind != SockType::Datagram {
        listen(&made, Backlog::MAXCONN)?;
    }
    Ok(made)
}

/// The last part of the path that a socket is bound to.
pub fn bound_name(socket: &OwnedFd) -> Option<String> {
    let address: UnixAddr = getsockname(socket.as_raw_fd()).ok()?;
    Some(address.path()?.file_name()?.to_str()?.to_owned())
}

/// The exchanged names.
#[derive(Debug)]
pub struct Exchange {
    journal: PathBuf,
    ours: PathBuf,
    pub watch: Inotify,
}

impl Exchange {
    pub fn new(journal: &Path) -> io::Result<Self> {
        let ours = journal.join("keyfob");
        match fs::create_dir(&ours) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => fs::set_permissions(&ours, fs::Permissions::from_mode(0o700))?,
        }
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let of_interest = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVE | AddWatchFlags::IN_DELETE;
        watch.add_watch(journal, of_interest)?;
        Ok(Self { journal: journal.into(), ours, watch })
    }

    /// Where a socket of ours is bound, for good.
    pub fn own(&self, door: Door) -> PathBuf {
        self.ours.join(format!("{}.own", door.name()))
    }

    /// Where journald's is while the names are exchanged.
    pub fn upstream(&self, door: Door) -> PathBuf {
        self.ours.join(door.name())
    }

    fn public(&self, door: Door) -> PathBuf {
        self.journal.join(door.name())
    }

    fn is_ours(&self, door: Door, path: &Path) -> bool {
        let inode = |path: &Path| fs::symlink_metadata(path).map(|m| (m.dev(), m.ino())).ok();
        let own = inode(&self.own(door));
        own.is_some() && inode(path) == own
    }

    pub fn is_taken(&self, door: Door) -> bool {
        self.is_ours(door, &self.public(door))
    }

    /// Sees to it that who logs comes to us; tells whether anything had to be done for that.
    pub fn take(&self, door: Door) -> io::Result<bool> {
        let (public, upstream) = (self.public(door), self.upstream(door));
        if self.is_ours(door, &public) {
            return Ok(false);
        }
        fs::symlink_metadata(&public)?; // journald's is about to be made
        match fs::remove_file(&upstream) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => fs::hard_link(self.own(door), &upstream)?,
        }
        exchange(&upstream, &public)?;
        Ok(true)
    }

    /// Gives journald's sockets their names back.
    pub fn give_back(&self, door: Door) -> io::Result<()> {
        let (public, upstream) = (self.public(door), self.upstream(door));
        if self.is_ours(door, &public) && !self.is_ours(door, &upstream) && upstream.exists() {
            exchange(&upstream, &public)?;
        }
        if self.is_ours(door, &upstream) {
            fs::remove_file(&upstream)?;
        }
        Ok(())
    }

    /// Whether the names changed since this was asked.
    pub fn changed(&self) -> bool {
        let mut any = false;
        while let Ok(events) = self.watch.read_events() {
            any |= !events.is_empty();
        }
        any
    }
}

fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).map_err(|e| match e {
        Errno::EXDEV => io::Error::other("the names of the journal's sockets are in different mounts"),
        e => e.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn arrives(at: &UnixDatagram, text: &[u8]) {
        let mut buffer = [0; 64];
        at.set_nonblocking(true).unwrap();
        let got = at.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..got], text);
        assert!(at.recv(&mut buffer).is_err(), "nothing else");
    }

    #[test]
    fn names_are_taken_kept_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let public = dir.path().join("socket");
        let exchange = Exchange::new(dir.path()).unwrap();
        let ours = UnixDatagram::from(Door::Native.open(&exchange.own(Door::Native)).unwrap());
        let log = |text: &[u8]| UnixDatagram::unbound().unwrap().send_to(text, &public).unwrap();

        assert!(exchange.take(Door::Native).is_err(), "nothing to take");
        exchange.give_back(Door::Native).unwrap();
        let theirs = UnixDatagram::bind(&public).unwrap();
        assert!(exchange.changed() && !exchange.changed());
        assert!(exchange.take(Door::Native).unwrap());
        assert!(!exchange.take(Door::Native).unwrap(), "once is enough");
        assert!(exchange.changed());
        log(b"one");
        arrives(&ours, b"one");
        UnixDatagram::unbound().unwrap().send_to(b"on", exchange.upstream(Door::Native)).unwrap();
        arrives(&theirs, b"on");
        let mode = fs::metadata(&public).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o666, "anybody may log");

        // As systemd does it when the socket unit is started again.
        let old_client = UnixDatagram::unbound().unwrap();
        old_client.connect(&public).unwrap();
        fs::remove_file(&public).unwrap();
        let theirs = UnixDatagram::bind(&public).unwrap();
        log(b"past us");
        arrives(&theirs, b"past us");
        assert!(exchange.take(Door::Native).unwrap());
        log(b"two");
        arrives(&ours, b"two");
        old_client.send(b"three").unwrap();
        arrives(&ours, b"three");
        assert!(!exchange.take(Door::Native).unwrap());

        // A process that died between its two steps leaves what the next one understands.
        for _ in 0..2 {
            exchange.give_back(Door::Native).unwrap();
            log(b"four");
            arrives(&theirs, b"four");
        }
        fs::hard_link(exchange.own(Door::Native), exchange.upstream(Door::Native)).unwrap();
        exchange.give_back(Door::Native).unwrap();
        assert!(exchange.take(Door::Native).unwrap());
        log(b"five");
        arrives(&ours, b"five");
    }
}
