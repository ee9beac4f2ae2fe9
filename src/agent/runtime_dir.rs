//! The directory that holds a session's files: on memory that cannot be swapped, and out of the session's hands.
//!
//! ```text
//! tmpfs-noswap          tmpfs mounted with noswap (Linux 6.4)
//! ramfs                 never swapped by its nature
//! tmpfs-no-swap-active  a plain tmpfs, on a machine without swap or zram
//! tmpfs-swappable       a plain tmpfs, on a machine that swaps; only if asked for
//! ```
//!
//! Anything else is refused, and so is a directory that somebody else could write or replace: no component of the path may
//! be a symbolic link, and each must belong to root or to us and be writable by nobody else (or sticky, as `/dev/shm` is).
//! Refused too is a directory that holds anything but what Keyfob writes, for it is emptied in the end. Once open, the
//! directory is worked on by its descriptor, not by its path.

use std::{
    ffi::OsStr,
    fmt, fs,
    io::{self, Read, Seek, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{
        stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, major, minor, mkdirat},
        statfs::{FsType, TMPFS_MAGIC, fstatfs},
        sysinfo::sysinfo,
    },
    unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, unlinkat, write},
};
use zeroize::Zeroizing;

use crate::domain::env_file::Format;

/// What tells that the set it names is in place; see [`super::files`].
pub const MANIFEST: &str = "manifest.json";
/// What `exec` and `redact` know the values by; see [`super::fingerprints`].
pub const FINGERPRINTS: &str = "fingerprints";
/// The directory of the values that are delivered as files.
pub const FILES: &str = "files";
/// A join string on its way to an agent without privilege; see [`RuntimeDir::take_join`].
pub const JOIN: &str = ".join";
/// Why the secrets are not there, in words, where that is so; shown to whoever logs in.
pub const PROBLEM: &str = "problem";
/// What temporary names start with. They lie beside the fixed names alone, so no secret's name can look like one.
pub const TEMPORARY: &str = ".new-";

/// What keeps the files out of swap, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    TmpfsNoswap,
    Ramfs,
    TmpfsNoSwapActive,
    TmpfsSwappable,
}

impl Rung {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TmpfsNoswap => "tmpfs-noswap",
            Self::Ramfs => "ramfs",
            Self::TmpfsNoSwapActive => "tmpfs-no-swap-active",
            Self::TmpfsSwappable => "tmpfs-swappable",
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Who will write there, if it isn't this process.
    pub owner: Option<Uid>,
    /// The session's group, which may read.
    pub group: Option<Gid>,
    /// Mount memory of our own there, unless the directory is such a mount already. Needs privilege; without it, what is
    /// there has to do.
    pub mount: bool,
    /// Take a tmpfs that may be swapped to disk.
    pub allow_swappable: bool,
}

/// Why a directory can't hold secrets. Displays with the next step.
#[derive(Debug)]
pub enum Error {
    Io { path: PathBuf, what: &'static str, cause: io::Error },
    NotAbsolute(PathBuf),
    Exposed { path: PathBuf, why: &'static str },
    NotAlone { path: PathBuf, holds: String },
    NotMemory { path: PathBuf, mounting: Option<Errno> },
    Swappable { path: PathBuf, mounting: Option<Errno> },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, what, cause } => write!(f, "{}: {what}: {cause}", path.display()),
            Self::NotAbsolute(path) => {
                write!(f, "{}: the runtime directory needs an absolute path without `..`", path.display())
            }
            Self::Exposed { path, why } => {
                write!(f, "{} {why}; secrets are written only where the session can't write", path.display())
            }
            Self::NotAlone { path, holds } => {
                write!(f, "{} holds {holds:?}, which is not Keyfob's; give it a directory of its own", path.display())
            }
            Self::NotMemory { path, mounting } => write!(
                f,
                "{} is neither on tmpfs nor on ramfs{}; use a directory under /run, $XDG_RUNTIME_DIR or /dev/shm, or let root mount one there (--mount)",
                path.display(),
                Tried(*mounting)
            ),
            Self::Swappable { path, mounting } => write!(
                f,
                "{} is on a tmpfs that may be swapped to disk{}; let root mount one that can't (--mount), turn swap off, or accept it (--allow-swappable)",
                path.display(),
                Tried(*mounting)
            ),
        }
    }
}

impl std::error::Error for Error {}

fn failed(path: &Path, what: &'static str) -> impl FnOnce(Errno) -> Error + use<> {
    let path = path.to_owned();
    move |cause| Error::Io { path, what, cause: cause.into() }
}

/// Says that mounting was tried, where it was.
struct Tried(Option<Errno>);

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |cause| write!(f, ", and none could be mounted ({})", cause.desc()))
    }
}

#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    fd: OwnedFd,
    rung: Rung,
    group: Option<Gid>,
    mounted: bool,
}

/// From linux/magic.h; nix does not name it.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
/// The mounts' source, by which a later run knows its own.
const SOURCE: &str = "keyfob";
/// Room for two sets of the largest bundle, 1 MiB of nothing but quotes, in all formats: 13 MiB each. Only a limit.
const SIZE: &str = "32m";

/// A join string is some hundred bytes; whatever is longer is something else, and is refused by whoever reads it.
const LONGEST_JOIN: u64 = 4097;

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const CLOSED: Mode = Mode::S_IRWXU.union(Mode::S_IRGRP).union(Mode::S_IXGRP);

impl RuntimeDir {
    /// Makes the directory if it is missing, and refuses one that is not fit.
    pub fn prepare(path: &Path, options: Options) -> Result<Self, Error> {
        let found = Found::open(path, options.owner)?;
        let made = found.made.then(|| found.parent.try_clone());
        let prepared = Self::on(path, found, options);
        if let (Err(_), Some(Ok(parent)), Some(name)) = (&prepared, made, path.file_name()) {
            let _ = unlinkat(&parent, name, UnlinkatFlags::RemoveDir);
        }
        prepared
    }

    fn on(path: &Path, mut found: Found, options: Options) -> Result<Self, Error> {
        for name in names_in(found.fd.as_fd()).map_err(failed(path, "listing it"))? {
            if !is_ours(&name) {
                return Err(Error::NotAlone { path: path.to_owned(), holds: name });
            }
        }
        let mut ground = found.ground().map_err(failed(path, "looking at its file system"))?;
        let (mut fresh, mut mounting) = (None, None);
        if options.mount && !ground.dedicated {
            match Fresh::mount(path) {
                Err(cause) => mounting = Some(cause),
                Ok(mount) => {
                    fresh = Some(mount);
                    if ground.memory.is_some() {
                        // What an earlier run left here would stay below the mount, out of everybody's sight.
                        empty(found.fd.as_fd()).map_err(failed(path, "wiping what was there"))?;
                    }
                    found = Found::open(path, options.owner)?;
                    ground = found.ground().map_err(failed(path, "looking at its new file system"))?;
                }
            }
        }
        let rung = match ground.memory {
            Some(Memory::Fixed(rung)) => rung,
            Some(Memory::Plain) => {
                // Not /proc/swaps: a sandboxed unit may not see it, and nothing would seem to swap. zram counts too.
                let swap = sysinfo().map_err(failed(path, "asking for swap"))?.swap_total();
                plain_tmpfs(swap, options.allow_swappable)
                    .ok_or_else(|| Error::Swappable { path: path.to_owned(), mounting })?
            }
            None => return Err(Error::NotMemory { path: path.to_owned(), mounting }),
        };
        give(&found.fd, options.owner, options.group).map_err(failed(path, "giving it to the session's group"))?;
        fchmod(&found.fd, CLOSED).map_err(failed(path, "setting its mode"))?;
        let mounted = options.mount && ground.dedicated && ground.source == SOURCE;
        std::mem::forget(fresh);
        Ok(Self { path: path.to_owned(), fd: found.fd, rung, group: options.group, mounted })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn rung(&self) -> Rung {
        self.rung
    }

    pub fn group(&self) -> Option<Gid> {
        self.group
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// A directory in it, made if missing, as closed to others as this one.
    pub fn subdirectory(&self, name: &str) -> Result<OwnedFd, Error> {
        let path = self.path.join(name);
        match mkdirat(&self.fd, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(failed(&path, "making it")(e)),
        }
        let fd = openat(&self.fd, name, DIRECTORY, Mode::empty()).map_err(failed(&path, "opening it"))?;
        give(&fd, None, self.group).map_err(failed(&path, "giving it to the session's group"))?;
        fchmod(&fd, CLOSED).map_err(failed(&path, "setting its mode"))?;
        Ok(fd)
    }

    /// Moves a join string from a file that only root may read or remove to one that the agent may, and wipes the first. Gives
    /// whether there was one.
    pub fn take_join(&self, from: &Path, owner: Uid) -> Result<bool, Error> {
        let found = match openat(AT_FDCWD, from, OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(false),
            Err(e) => return Err(failed(from, "opening it")(e)),
        };
        let mut file = fs::File::from(found);
        let io = |what| move |cause| Error::Io { path: from.to_owned(), what, cause };
        let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_JOIN as usize));
        (&file).take(LONGEST_JOIN).read_to_end(&mut text).map_err(io("reading it"))?;
        match unlinkat(&self.fd, JOIN, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(e) => return Err(failed(&self.path, "removing an older join string")(e)),
        }
        let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, JOIN, new, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(failed(&self.path, "taking the join string over"))?;
        give(&fd, Some(owner), None).map_err(failed(&self.path, "giving the join string to the agent"))?;
        fs::File::from(fd).write_all(&text).map_err(io("handing it on"))?;
        file.rewind().and_then(|()| file.write_all(&vec![0; text.len()])).map_err(io("wiping it"))?;
        fs::remove_file(from).map_err(io("removing it"))?;
        Ok(true)
    }

    /// Overwrites and removes every file of ours but the fingerprints: what the files held stays redacted.
    pub fn withdraw(&self) -> Result<(), Error> {
        empty_but(self.fd(), Some(FINGERPRINTS)).map_err(failed(&self.path, "wiping it"))
    }

    /// Overwrites and removes every file of ours, and unmounts what was mounted by us.
    pub fn remove(&self) -> Result<(), Error> {
        empty(self.fd()).map_err(failed(&self.path, "wiping it"))?;
        if self.mounted {
            umount2(&self.path, MntFlags::MNT_DETACH).map_err(failed(&self.path, "unmounting it"))?;
        }
        Ok(())
    }
}

/// Unmounts what an agent mounted there, if it has emptied it: what a crashed one left stays, for the next one and for the
/// session. Gives whether there is nothing mounted any more.
pub fn unmount(path: &Path) -> Result<bool, Error> {
    let Ok(fd) = openat(AT_FDCWD, path, DIRECTORY, Mode::empty()) else { return Ok(true) };
    let above = openat(&fd, "..", DIRECTORY | OFlag::O_PATH, Mode::empty()).map_err(failed(path, "opening it"))?;
    let look = || -> nix::Result<bool> {
        let device = fstat(&fd)?.st_dev;
        Ok(device != fstat(&above)?.st_dev && described(device)?.0 == SOURCE)
    };
    if !look().map_err(failed(path, "looking at its file system"))? {
        return Ok(true);
    }
    if !names_in(fd.as_fd()).map_err(failed(path, "listing it"))?.is_empty() {
        return Ok(false);
    }
    umount2(path, MntFlags::MNT_DETACH).map_err(failed(path, "unmounting it"))?;
    Ok(true)
}

/// Changes owner and group where they differ: a process without privilege may not even ask.
pub fn give(fd: &OwnedFd, owner: Option<Uid>, group: Option<Gid>) -> nix::Result<()> {
    let stat = fstat(fd)?;
    let owner = owner.filter(|owner| owner.as_raw() != stat.st_uid);
    let group = group.filter(|group| group.as_raw() != stat.st_gid);
    if owner.is_some() || group.is_some() { fchown(fd, owner, group) } else { Ok(()) }
}

/// The names in a directory, without `.` and `..`.
pub fn names_in(fd: BorrowedFd<'_>) -> nix::Result<Vec<String>> {
    let dir = openat(fd, ".", DIRECTORY, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(dir)?.iter() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Takes a file away and overwrites it then: on tmpfs and ramfs the same pages are written again, so nothing stays behind.
pub fn wipe(fd: BorrowedFd<'_>, name: &str) -> nix::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = openat(fd, name, flags, Mode::empty());
    unlinkat(fd, name, UnlinkatFlags::NoRemoveDir)?;
    let Ok(file) = file else { return Ok(()) }; // a link or a socket; it held nothing
    let stat = fstat(&file)?;
    let mut left = if is(&stat, SFlag::S_IFREG) { stat.st_size as usize } else { 0 };
    let zeros = [0u8; 4096];
    while left > 0 {
        left -= write(&file, &zeros[..left.min(zeros.len())])?;
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    name == MANIFEST
        || name == FINGERPRINTS
        || name == FILES
        || name == JOIN
        || name == PROBLEM
        || name.starts_with(TEMPORARY)
        || Format::ALL.iter().any(|format| format.file_name() == name)
}

/// Wipes what is ours; the manifest goes first, so that it never names what is no longer there.
fn empty(fd: BorrowedFd<'_>) -> nix::Result<()> {
    empty_but(fd, None)
}

fn empty_but(fd: BorrowedFd<'_>, spared: Option<&str>) -> nix::Result<()> {
    let mut names = names_in(fd)?;
    names.sort_by_key(|name| name != MANIFEST);
    for name in names.iter().filter(|name| is_ours(name) && Some(name.as_str()) != spared) {
        if name == FILES {
            let files = openat(fd, FILES, DIRECTORY, Mode::empty())?;
            for name in names_in(files.as_fd())? {
                wipe(files.as_fd(), &name)?;
            }
            unlinkat(fd, FILES, UnlinkatFlags::RemoveDir)?;
        } else {
            wipe(fd, name)?;
        }
    }
    Ok(())
}

/// A directory that nobody but root and us can have put there.
struct Found {
    parent: OwnedFd,
    fd: OwnedFd,
    made: bool,
}

impl Found {
    /// Walks the path from the root without following links, makes its last component if that is missing, and refuses what
    /// somebody else could change.
    fn open(path: &Path, owner: Option<Uid>) -> Result<Self, Error> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::RootDir => {}
                Component::Normal(name) if path.is_absolute() => names.push(name),
                _ => return Err(Error::NotAbsolute(path.to_owned())),
            }
        }
        let Some(last) = names.pop() else { return Err(Error::NotAbsolute(path.to_owned())) };
        let mut at = PathBuf::from("/");
        let mut parent =
            openat(AT_FDCWD, "/", DIRECTORY | OFlag::O_PATH, Mode::empty()).map_err(failed(&at, "opening it"))?;
        for name in names {
            at.push(name);
            parent = step(&parent, name, &at, None)?;
        }
        let made = match mkdirat(&parent, last, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(e) => return Err(failed(path, "making it")(e)),
        };
        let fd = step(&parent, last, path, Some(owner))?;
        Ok(Self { parent, fd, made })
    }

    fn ground(&self) -> nix::Result<Ground> {
        let (device, above) = (fstat(&self.fd)?.st_dev, fstat(&self.parent)?.st_dev);
        let (source, noswap) = described(device)?;
        let memory = match fstatfs(&self.fd)?.filesystem_type() {
            RAMFS_MAGIC => Some(Memory::Fixed(Rung::Ramfs)),
            TMPFS_MAGIC if noswap => Some(Memory::Fixed(Rung::TmpfsNoswap)),
            TMPFS_MAGIC => Some(Memory::Plain),
            _ => None,
        };
        let dedicated = device != above && matches!(memory, Some(Memory::Fixed(_)));
        Ok(Ground { memory, dedicated, source })
    }
}

/// What a directory is on.
struct Ground {
    memory: Option<Memory>,
    /// Memory that can't be swapped, mounted right here.
    dedicated: bool,
    source: String,
}

enum Memory {
    /// Never swapped.
    Fixed(Rung),
    /// A tmpfs, swapped where the machine swaps.
    Plain,
}

/// A file system's source, and whether it has the option `noswap`, from proc_pid_mountinfo(5). By device number: the option
/// belongs to the file system, wherever it is mounted. One that isn't told of there has neither.
fn described(device: libc::dev_t) -> nix::Result<(String, bool)> {
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let device = format!("{}:{}", major(device), minor(device));
    let line = mounts.lines().rfind(|line| line.split(' ').nth(2) == Some(&device)).unwrap_or_default();
    let mut about = line.split_once(" - ").map_or("", |(_, about)| about).split(' ').skip(1);
    let (source, options) = (about.next().unwrap_or_default(), about.next().unwrap_or_default());
    Ok((source.to_owned(), options.split(',').any(|option| option == "noswap")))
}

/// One component down. `last` is there for the directory itself, with whoever may own it besides root and us.
fn step(parent: &OwnedFd, name: &OsStr, at: &Path, last: Option<Option<Uid>>) -> Result<OwnedFd, Error> {
    let exposed = |why| Error::Exposed { path: at.to_owned(), why };
    let access = if last.is_some() { OFlag::O_RDONLY } else { OFlag::O_PATH };
    let fd = match openat(parent, name, DIRECTORY | access, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::ELOOP | Errno::ENOTDIR) => {
            let stat = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed(at, "looking at it"))?;
            let link = is(&stat, SFlag::S_IFLNK);
            return Err(exposed(if link { "is a symbolic link (name what it leads to)" } else { "is no directory" }));
        }
        Err(e) => return Err(failed(at, "opening it")(e)),
    };
    let stat = fstat(&fd).map_err(failed(at, "looking at it"))?;
    let owner = Uid::from_raw(stat.st_uid);
    let trusted = owner.is_root() || owner == geteuid() || last == Some(Some(owner));
    let (sticky, others) = (stat.st_mode & 0o1000 != 0, stat.st_mode & 0o022 != 0);
    if !trusted {
        return Err(exposed("belongs to another user"));
    }
    if others && (last.is_some() || !sticky) {
        return Err(exposed("is writable by others"));
    }
    Ok(fd)
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

fn plain_tmpfs(swap: u64, allow_swappable: bool) -> Option<Rung> {
    match (swap, allow_swappable) {
        (0, _) => Some(Rung::TmpfsNoSwapActive),
        (_, true) => Some(Rung::TmpfsSwappable),
        (_, false) => None,
    }
}

/// A mount of ours that goes again when it is dropped.
struct Fresh<'a>(&'a Path);

impl<'a> Fresh<'a> {
    fn mount(path: &'a Path) -> nix::Result<Self> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let tmpfs = format!("noswap,size={SIZE},mode=0700");
        mount(Some(SOURCE), path, Some("tmpfs"), flags, Some(tmpfs.as_str()))
            .or_else(|_| mount(Some(SOURCE), path, Some("ramfs"), flags, Some("mode=0700")))?;
        Ok(Self(path))
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_tmpfs_counts_by_the_machines_swap() {
        for (swap, allowed, expected) in [
            (0, false, Some(Rung::TmpfsNoSwapActive)),
            (0, true, Some(Rung::TmpfsNoSwapActive)),
            (4096, true, Some(Rung::TmpfsSwappable)),
            (4096, false, None),
        ] {
            assert_eq!(plain_tmpfs(swap, allowed), expected, "{swap} {allowed}");
        }
    }
}
