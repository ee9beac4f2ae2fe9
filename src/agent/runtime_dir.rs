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
//! Once open, the directory is worked on by its descriptor, not by its path.

use std::{
    fmt, fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{
        stat::{FchmodatFlags, FileStat, Mode, fchmodat, fstat, mkdirat},
        statfs::{FsType, TMPFS_MAGIC, fstatfs},
    },
    unistd::{Gid, Uid, UnlinkatFlags, fchownat, geteuid, unlinkat},
};

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
    /// The session's group, which may read.
    pub group: Option<Gid>,
    /// Mount memory of our own there, if what is there can be swapped or is no memory. Needs privilege.
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
    NotMemory(PathBuf),
    Swappable(PathBuf),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, what, cause } => write!(f, "{}: {what}: {cause}", path.display()),
            Self::NotAbsolute(path) => write!(f, "{}: the runtime directory needs an absolute path without `..`", path.display()),
            Self::Exposed { path, why } => write!(f, "{}: {why}; secrets are written only where the session can't write", path.display()),
            Self::NotMemory(path) => write!(
                f,
                "{} is neither on tmpfs nor on ramfs; use a directory under /run, $XDG_RUNTIME_DIR or /dev/shm, or let root mount one there (--mount)",
                path.display()
            ),
            Self::Swappable(path) => write!(
                f,
                "{} is on a tmpfs that may be swapped to disk; let root mount one that can't (--mount), turn swap off, or accept it (--allow-swappable)",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {}

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

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

impl RuntimeDir {
    /// Makes the directory if it is missing, and refuses one that is not fit.
    pub fn prepare(path: &Path, options: Options) -> Result<Self, Error> {
        let mut fd = open_safely(path, options.group)?;
        let mut rung = rung_of(path, fd.as_fd(), options.allow_swappable);
        let mut mounted = false;
        if options.mount && !matches!(rung, Ok(Rung::TmpfsNoswap | Rung::Ramfs)) && mount_memory(path, options.group).is_ok() {
            mounted = true;
            fd = open_safely(path, options.group)?;
            rung = rung_of(path, fd.as_fd(), options.allow_swappable);
        }
        let mode = Mode::from_bits_truncate(0o750);
        let fail = |what| move |e: Errno| Error::Io { path: path.to_owned(), what, cause: e.into() };
        if options.group.is_some() || mounted {
            fchownat(&fd, ".", None, options.group, AtFlags::empty()).map_err(fail("giving it to the session's group"))?;
            fchmodat(&fd, ".", mode, FchmodatFlags::FollowSymlink).map_err(fail("setting its mode"))?;
        }
        Ok(Self { path: path.to_owned(), fd, rung: rung?, group: options.group, mounted })
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
        let fail = |what| move |e: Errno| Error::Io { path: path.clone(), what, cause: e.into() };
        match mkdirat(&self.fd, name, Mode::from_bits_truncate(0o700)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(fail("making it")(e)),
        }
        let fd = openat(&self.fd, name, DIRECTORY | OFlag::O_RDONLY, Mode::empty()).map_err(fail.clone()("opening it"))?;
        fchownat(&fd, ".", None, self.group, AtFlags::empty()).map_err(fail.clone()("giving it to the session's group"))?;
        fchmodat(&fd, ".", Mode::from_bits_truncate(0o750), FchmodatFlags::FollowSymlink).map_err(fail("setting its mode"))?;
        Ok(fd)
    }

    /// Overwrites and removes every file of ours, and unmounts what was mounted by us.
    pub fn remove(self) -> Result<(), Error> {
        wipe(self.fd.as_fd()).map_err(|e| Error::Io { path: self.path.clone(), what: "wiping it", cause: e.into() })?;
        drop(self.fd);
        if self.mounted {
            umount2(&self.path, MntFlags::MNT_DETACH).map_err(|e| Error::Io { path: self.path.clone(), what: "unmounting it", cause: e.into() })?;
        }
        Ok(())
    }
}

/// The names in a directory, without `.` and `..`.
pub fn names_in(fd: BorrowedFd<'_>) -> nix::Result<Vec<String>> {
    let dir = openat(fd, ".", DIRECTORY | OFlag::O_RDONLY, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(dir)?.iter() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn wipe(fd: BorrowedFd<'_>) -> nix::Result<()> {
    for name in names_in(fd)? {
        match openat(fd, name.as_str(), DIRECTORY | OFlag::O_RDONLY, Mode::empty()) {
            Ok(sub) => {
                wipe(sub.as_fd())?;
                unlinkat(fd, name.as_str(), UnlinkatFlags::RemoveDir)?;
            }
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                if let Ok(file) = openat(fd, name.as_str(), OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
                    overwrite(&file)?;
                }
                unlinkat(fd, name.as_str(), UnlinkatFlags::NoRemoveDir)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// On tmpfs and ramfs the same pages are written again, so this leaves nothing behind.
fn overwrite(file: &OwnedFd) -> nix::Result<()> {
    let mut left = fstat(file)?.st_size as usize;
    let zeros = [0u8; 4096];
    while left > 0 {
        left -= nix::unistd::write(file, &zeros[..left.min(zeros.len())])?;
    }
    Ok(())
}

/// Walks the path from the root without following links, and refuses what somebody else could change.
fn open_safely(path: &Path, group: Option<Gid>) -> Result<OwnedFd, Error> {
    let io_error = |path: &Path, what, e: Errno| Error::Io { path: path.to_owned(), what, cause: e.into() };
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir => {}
            Component::Normal(name) if path.is_absolute() => names.push(name),
            _ => return Err(Error::NotAbsolute(path.to_owned())),
        }
    }
    if names.is_empty() {
        return Err(Error::NotAbsolute(path.to_owned()));
    }
    let mut at = PathBuf::from("/");
    let mut fd = openat(nix::fcntl::AT_FDCWD, "/", DIRECTORY | OFlag::O_RDONLY, Mode::empty()).map_err(|e| io_error(&at, "opening it", e))?;
    let last = names.len() - 1;
    for (index, name) in names.into_iter().enumerate() {
        at.push(name);
        if index == last {
            match mkdirat(&fd, name, Mode::from_bits_truncate(0o750)) {
                Ok(()) => {
                    // The umask may have taken the group's bits.
                    let made = openat(&fd, name, DIRECTORY | OFlag::O_RDONLY, Mode::empty()).map_err(|e| io_error(&at, "opening it", e))?;
                    let done = fchownat(&made, ".", None, group, AtFlags::empty())
                        .and_then(|()| fchmodat(&made, ".", Mode::from_bits_truncate(0o750), FchmodatFlags::FollowSymlink));
                    done.map_err(|e| io_error(&at, "setting its group and mode", e))?;
                }
                Err(Errno::EEXIST) => {}
                Err(e) => return Err(io_error(&at, "making it", e)),
            }
        }
        let search = if index == last { OFlag::O_RDONLY } else { OFlag::O_PATH };
        fd = match openat(&fd, name, DIRECTORY | search, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ELOOP | Errno::ENOTDIR) => return Err(Error::Exposed { path: at, why: "is a symbolic link or no directory" }),
            Err(e) => return Err(io_error(&at, "opening it", e)),
        };
        let stat = fstat(&fd).map_err(|e| io_error(&at, "looking at it", e))?;
        if let Some(why) = exposed(&stat, index == last) {
            return Err(Error::Exposed { path: at, why });
        }
    }
    Ok(fd)
}

fn exposed(stat: &FileStat, last: bool) -> Option<&'static str> {
    let owner = Uid::from_raw(stat.st_uid);
    let (sticky, others) = (stat.st_mode & 0o1000 != 0, stat.st_mode & 0o022 != 0);
    if !owner.is_root() && owner != geteuid() {
        Some("belongs to another user")
    } else if others && (last || !sticky) {
        Some("is writable by others")
    } else {
        None
    }
}

fn rung_of(path: &Path, fd: BorrowedFd<'_>, allow_swappable: bool) -> Result<Rung, Error> {
    let fail = |cause: io::Error| Error::Io { path: path.to_owned(), what: "looking at its file system", cause };
    let kind = fstatfs(fd).map_err(|e| fail(e.into()))?.filesystem_type();
    if kind == RAMFS_MAGIC {
        return Ok(Rung::Ramfs);
    }
    if kind != TMPFS_MAGIC {
        return Err(Error::NotMemory(path.to_owned()));
    }
    if mounted_noswap(fd).map_err(fail)? {
        return Ok(Rung::TmpfsNoswap);
    }
    // One line is the heading; zram shows here too.
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default().lines().count() > 1;
    match (swaps, allow_swappable) {
        (false, _) => Ok(Rung::TmpfsNoSwapActive),
        (true, true) => Ok(Rung::TmpfsSwappable),
        (true, false) => Err(Error::Swappable(path.to_owned())),
    }
}

/// Finds the mount of an open file by its id (proc_pid_fdinfo(5)) and looks at its options (proc_pid_mountinfo(5)).
fn mounted_noswap(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default().trim().to_owned();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let ours = mounts.lines().find(|line| line.split(' ').next() == Some(&id));
    Ok(ours.and_then(|line| line.rsplit(' ').next()).is_some_and(|options| options.split(',').any(|o| o == "noswap")))
}

fn mount_memory(path: &Path, group: Option<Gid>) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let gid = group.map_or(String::new(), |g| format!(",gid={g}"));
    let tmpfs = format!("noswap,size=16m,nr_inodes=4k,mode=0750{gid}");
    mount(Some("keyfob"), path, Some("tmpfs"), flags, Some(tmpfs.as_str()))
        .or_else(|_| mount(Some("keyfob"), path, Some("ramfs"), flags, Some("mode=0750")))
}
