//! One whole set of files, or none.
//!
//! ```text
//! fingerprints                       what the values are known by in logs; never a value
//! env  env.sh  env.fish  environ     the variables, in the formats of domain::env_file
//! files/NAME                         values delivered as files; the variable then holds the path
//! manifest.json                      names and versions of what is there, never a value
//! ```
//!
//! All new files are written first, under temporary names that nobody else can open (mode 0600, `O_EXCL`), given their
//! group and final mode 0640, and read back. Only then are they renamed into place, `fingerprints` first (what can be read can be
//! redacted), `manifest.json` last, and what is not in the set any more goes after that. So a reader sees each file whole, old or new; no file is older than the manifest says;
//! and whatever fails before the first rename leaves the old set as it was.
//!
//! `NAME` is the secret's name. Two file secrets may share it, a private and a shared one with different variables: in the
//! order of the set the second is `NAME@2`, which is no name of any secret. Whoever reads the variable need not care.
//!
//! Values go from the bundle's memory through one buffer of secret memory into the files; no other copy is made. Nothing is
//! synced: these are file systems in memory, and a machine that loses power loses them by design.

use std::{
    collections::HashMap,
    fmt, io,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::stat::{Mode, fchmod},
    unistd::{UnlinkatFlags, read, unlinkat, write},
};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::runtime_dir::{self, FILES, FINGERPRINTS, MANIFEST, PROBLEM, RuntimeDir, TEMPORARY, give, names_in, wipe};
use crate::{
    domain::{
        env_file::{Entry, Format, NotText, render},
        name::{BadName, SecretName},
        value::Delivery,
        variable::Variable,
    },
    memory::{Rung, SecretBuf},
};

/// One variable of a set.
pub struct Item<'a> {
    pub variable: &'a Variable,
    pub name: &'a str,
    pub origin: &'a str,
    pub version: &'a str,
    pub delivery: Delivery,
    pub value: &'a [u8],
}

/// Everything that one bundle puts in place.
pub struct Set<'a> {
    pub bundle_version: &'a str,
    pub sequence: u64,
    pub organization: &'a str,
    pub session: &'a str,
    pub user: &'a str,
    pub environment: &'a str,
    pub environment_version: u64,
    /// What protected the values' memory on the way here.
    pub memory: Rung,
    pub installed_at: OffsetDateTime,
    pub items: &'a [Item<'a>],
    pub left_out: &'a [LeftOut],
    pub fingerprints: &'a [u8],
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub bundle_version: String,
    pub sequence: u64,
    pub organization: String,
    pub session: String,
    pub user: String,
    pub environment: String,
    pub environment_version: u64,
    pub memory: String,
    pub files: String,
    pub installed_at: String,
    pub variables: Vec<Installed>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left_out: Vec<LeftOut>,
}

/// One variable that the session could have, and why it hasn't.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeftOut {
    pub variable: String,
    pub name: String,
    pub origin: String,
    pub reason: String,
}

/// One variable as the manifest tells of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Installed {
    pub variable: String,
    pub name: String,
    pub origin: String,
    pub version: String,
    pub delivery: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
}

#[derive(Debug)]
pub enum Error {
    /// Before anything was put in place.
    Io {
        file: String,
        what: &'static str,
        cause: io::Error,
    },
    /// While the new files were put in place.
    Unfinished {
        file: String,
        what: &'static str,
        cause: io::Error,
    },
    Dir(runtime_dir::Error),
    NotText(NotText),
    Name(BadName),
    ReadBack {
        file: String,
    },
    Older {
        installed: u64,
        offered: u64,
    },
    Manifest(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { file, what, cause } => {
                write!(f, "{file}: {what}: {cause}; the files that were there before are untouched")
            }
            Self::Unfinished { file, what, cause } => {
                write!(f, "{file}: {what}: {cause}; some files are new and some old, so run the agent again")
            }
            Self::Dir(error) => error.fmt(f),
            Self::NotText(error) => error.fmt(f),
            Self::Name(error) => write!(f, "no file can be made: {error}"),
            Self::ReadBack { file } => write!(f, "{file} does not read back as it was written; nothing was installed"),
            Self::Older { installed, offered } => {
                write!(f, "bundle {offered} is older than {installed}, which is installed; an agent never goes back")
            }
            Self::Manifest(cause) => write!(f, "manifest.json {cause}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<runtime_dir::Error> for Error {
    fn from(error: runtime_dir::Error) -> Self {
        Self::Dir(error)
    }
}

/// Writes a set and puts it in place. `floor` is the weakest memory that the buffer may lie in.
pub fn install(dir: &RuntimeDir, set: &Set<'_>, floor: Rung) -> Result<(), Error> {
    if let Some(installed) = read_manifest(dir)?
        && installed.session == set.session
        && installed.sequence > set.sequence
    {
        return Err(Error::Older { installed: installed.sequence, offered: set.sequence });
    }
    remove_temporaries(dir)?; // of a run that was killed
    let manifest = manifest(dir, set)?;
    let done = stage(dir, set, &manifest, floor).and_then(|staged| commit(dir, &staged));
    if done.is_err() {
        let _ = remove_temporaries(dir);
    }
    done
}

/// What is installed now, if anything is.
pub fn read_manifest(dir: &RuntimeDir) -> Result<Option<Manifest>, Error> {
    match openat(dir.fd(), MANIFEST, READ, Mode::empty()) {
        Ok(fd) => serde_json::from_reader(io::BufReader::new(std::fs::File::from(fd))).map(Some).map_err(|e| {
            Error::Manifest(format!(
                "can't be read ({e}); nothing was installed. Remove it to have all files made anew"
            ))
        }),
        Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(before(MANIFEST, "opening it")(e)),
    }
}

/// Whether all that the manifest names is there and nothing is left half done: then a restarted agent need not fetch again.
pub fn is_whole(dir: &RuntimeDir, manifest: &Manifest) -> Result<bool, Error> {
    let names = names_in(dir.fd()).map_err(before("the directory", "listing it"))?;
    let there = |name: &str| names.iter().any(|n| n == name);
    let mut files = match there(FILES) {
        true => names_in(dir.subdirectory(FILES)?.as_fd()).map_err(before(FILES, "listing it"))?,
        false => Vec::new(),
    };
    let paths = manifest.variables.iter().filter_map(|variable| variable.path.as_deref()?.rsplit('/').next());
    let mut named: Vec<&str> = paths.collect();
    files.sort();
    named.sort();
    Ok(Format::ALL.iter().all(|format| there(format.file_name()))
        && there(FINGERPRINTS)
        && !names.iter().any(|name| name.starts_with(TEMPORARY))
        && files == named)
}

/// Tells whoever logs in why there are no secrets; `None` takes it back.
pub fn tell_problem(dir: &RuntimeDir, problem: Option<&str>, floor: Rung) -> Result<(), Error> {
    let Some(problem) = problem else {
        return match unlinkat(dir.fd(), PROBLEM, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(before(PROBLEM, "removing it")(e)),
        };
    };
    replace(dir, PROBLEM, floor, &|sink| {
        sink(b"Keyfob: ")?;
        sink(problem.as_bytes())?;
        sink(b"\n")
    })
}

/// Replaces the fingerprints alone.
pub fn tell_fingerprints(dir: &RuntimeDir, fingerprints: &[u8], floor: Rung) -> Result<(), Error> {
    replace(dir, FINGERPRINTS, floor, &|sink| sink(fingerprints))
}

/// Variables for one command, in the form of [`Format::Environ`], in a file that has no name any more.
pub fn lend(dir: &RuntimeDir, variables: &[(&Variable, &[u8])], floor: Rung) -> Result<OwnedFd, Error> {
    let entries: Result<Vec<_>, _> = variables.iter().map(|(variable, value)| Entry::new(variable, value)).collect();
    let entries = entries.map_err(Error::NotText)?;
    nameless(dir, floor, &|sink| render(entries.iter().copied(), Format::Environ, sink))
}

/// One value for one command, in such a file.
pub fn lend_file(dir: &RuntimeDir, value: &[u8], floor: Rung) -> Result<OwnedFd, Error> {
    nameless(dir, floor, &|sink| sink(value))
}

fn nameless(dir: &RuntimeDir, floor: Rung, content: &Content<'_>) -> Result<OwnedFd, Error> {
    const LENT: &str = "what is lent";
    remove_temporaries(dir)?;
    let mut buffer = Buffer::new(floor).map_err(before("the buffer", "getting memory for it"))?;
    let place = Place { directory: None, name: LENT.to_owned() };
    write_one(dir, &mut buffer, &place, &temporary(0), content)?;
    let fd = openat(dir.fd(), temporary(0).as_str(), READ, Mode::empty()).map_err(before(LENT, "opening it"))?;
    unlinkat(dir.fd(), temporary(0).as_str(), UnlinkatFlags::NoRemoveDir).map_err(before(LENT, "removing its name"))?;
    Ok(fd)
}

fn replace(dir: &RuntimeDir, name: &str, floor: Rung, content: &Content<'_>) -> Result<(), Error> {
    remove_temporaries(dir)?;
    let mut buffer = Buffer::new(floor).map_err(before("the buffer", "getting memory for it"))?;
    let place = Place { directory: None, name: name.to_owned() };
    write_one(dir, &mut buffer, &place, &temporary(0), content)?;
    renameat(dir.fd(), temporary(0).as_str(), dir.fd(), name).map_err(unfinished(name, "putting it in place"))
}

/// What the set will say of itself, and where each file will be.
fn manifest(dir: &RuntimeDir, set: &Set<'_>) -> Result<Manifest, Error> {
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let mut variables = Vec::with_capacity(set.items.len());
    for item in set.items {
        let path = match item.delivery {
            Delivery::Env => None,
            Delivery::File => {
                SecretName::parse(item.name).map_err(Error::Name)?; // no `/`, and neither `.` nor `..`
                let count = taken.entry(item.name).and_modify(|n| *n += 1).or_insert(1);
                let name = if *count == 1 { item.name.to_owned() } else { format!("{}@{count}", item.name) };
                let path = dir.path().join(FILES).join(name).into_os_string().into_string();
                Some(path.map_err(|_| Error::Manifest("can't name the directory, whose path is not UTF-8".into()))?)
            }
        };
        variables.push(Installed {
            variable: item.variable.to_string(),
            name: item.name.to_owned(),
            origin: item.origin.to_owned(),
            version: item.version.to_owned(),
            delivery: item.delivery.as_str().to_owned(),
            path,
        });
    }
    Ok(Manifest {
        bundle_version: set.bundle_version.to_owned(),
        sequence: set.sequence,
        organization: set.organization.to_owned(),
        session: set.session.to_owned(),
        user: set.user.to_owned(),
        environment: set.environment.to_owned(),
        environment_version: set.environment_version,
        memory: set.memory.as_str().to_owned(),
        files: dir.rung().as_str().to_owned(),
        installed_at: set.installed_at.format(&Rfc3339).map_err(|e| Error::Manifest(format!("can't be dated: {e}")))?,
        variables,
        left_out: set.left_out.to_vec(),
    })
}

/// Writes every file of the set under its temporary name.
fn stage(dir: &RuntimeDir, set: &Set<'_>, manifest: &Manifest, floor: Rung) -> Result<Vec<Place>, Error> {
    let items = || set.items.iter().zip(&manifest.variables);
    // Made first, so that nothing is written if a value can't be.
    let entries: Vec<Entry<'_>> = items()
        .map(|(item, said)| Entry::new(item.variable, said.path.as_ref().map_or(item.value, |path| path.as_bytes())))
        .collect::<Result<_, _>>()
        .map_err(Error::NotText)?;
    let json = serde_json::to_vec_pretty(manifest).map_err(|e| Error::Manifest(format!("can't be written: {e}")))?;

    let mut buffer = Buffer::new(floor).map_err(|cause| before("the buffer", "getting memory for it")(cause))?;
    let mut staged = Vec::new();
    let mut add = |place: Place, content: &Content<'_>| -> Result<(), Error> {
        write_one(dir, &mut buffer, &place, &temporary(staged.len()), content)?;
        staged.push(place);
        Ok(())
    };
    add(Place { directory: None, name: FINGERPRINTS.to_owned() }, &|sink| sink(set.fingerprints))?;
    for (item, said) in items() {
        if let Some(name) = said.path.as_deref().and_then(|path| path.rsplit('/').next()) {
            add(Place { directory: Some(FILES), name: name.to_owned() }, &|sink| sink(item.value))?;
        }
    }
    for format in Format::ALL {
        let place = Place { directory: None, name: format.file_name().to_owned() };
        add(place, &|sink| render(entries.iter().copied(), format, sink))?;
    }
    add(Place { directory: None, name: MANIFEST.to_owned() }, &|sink| {
        sink(&json)?;
        sink(b"\n")
    })?;
    Ok(staged)
}

/// Where a file will be.
struct Place {
    directory: Option<&'static str>,
    name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.directory {
            Some(directory) => write!(f, "{directory}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

fn temporary(number: usize) -> String {
    format!("{TEMPORARY}{number}")
}

/// Gives a file's content to a sink, slice by slice, the same each time.
type Content<'a> = dyn Fn(&mut Sink<'_>) -> Result<(), Stop> + 'a;
type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Stop> + 'a;

/// What ends the streaming of a content.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Io(Errno),
    /// The file holds something else.
    Differs,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Io(errno)
    }
}

/// Streams one file out, then streams the same again against what the file reads back as.
fn write_one(
    dir: &RuntimeDir,
    buffer: &mut Buffer,
    place: &Place,
    temporary: &str,
    content: &Content<'_>,
) -> Result<(), Error> {
    let fail = |what| before(&place.to_string(), what);
    let stop = |what| {
        move |stop| match stop {
            Stop::Io(errno) => before(&place.to_string(), what)(errno),
            Stop::Differs => Error::ReadBack { file: place.to_string() },
        }
    };
    let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(dir.fd(), temporary, new, Mode::S_IRUSR | Mode::S_IWUSR).map_err(fail("making it"))?;
    buffer.write(&fd, content).map_err(stop("writing it"))?;
    // The group first: until then the mode would open it to another.
    give(&fd, None, dir.group()).map_err(fail("giving it to the session's group"))?;
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP).map_err(fail("setting its mode"))?;
    let fd = openat(dir.fd(), temporary, READ, Mode::empty()).map_err(fail("reading it back"))?;
    buffer.compare(&fd, content).map_err(stop("reading it back"))
}

/// Puts everything staged in place, in its order, and removes what is not in the set.
fn commit(dir: &RuntimeDir, staged: &[Place]) -> Result<(), Error> {
    let files = dir.subdirectory(FILES)?;
    for (number, place) in staged.iter().enumerate() {
        let into = if place.directory.is_some() { files.as_fd() } else { dir.fd() };
        renameat(dir.fd(), temporary(number).as_str(), into, place.name.as_str())
            .map_err(unfinished(&place.to_string(), "putting it in place"))?;
    }
    let kept = |name: &str| staged.iter().any(|place| place.directory.is_some() && place.name == name);
    for name in names_in(files.as_fd()).map_err(unfinished(FILES, "listing it"))?.iter().filter(|name| !kept(name)) {
        // Not overwritten: somebody may be reading it, as with those that were just replaced.
        unlinkat(&files, name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(unfinished(name, "removing it"))?;
    }
    Ok(())
}

fn remove_temporaries(dir: &RuntimeDir) -> Result<(), Error> {
    for name in names_in(dir.fd()).map_err(before("the directory", "listing it"))? {
        if name.starts_with(TEMPORARY) {
            wipe(dir.fd(), &name).map_err(before(&name, "removing it"))?;
        }
    }
    Ok(())
}

fn before<E: Into<io::Error>>(file: &str, what: &'static str) -> impl FnOnce(E) -> Error + use<E> {
    let file = file.to_owned();
    move |cause| Error::Io { file, what, cause: cause.into() }
}

fn unfinished(file: &str, what: &'static str) -> impl FnOnce(Errno) -> Error + use<> {
    let file = file.to_owned();
    move |cause| Error::Unfinished { file, what, cause: cause.into() }
}

const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Secret memory between values and files, for both directions.
struct Buffer {
    memory: SecretBuf,
    filled: usize,
    taken: usize,
}

impl Buffer {
    fn new(floor: Rung) -> io::Result<Self> {
        Ok(Self { memory: SecretBuf::new(64 * 1024, floor)?, filled: 0, taken: 0 })
    }

    fn write(&mut self, fd: &OwnedFd, content: &Content<'_>) -> Result<(), Stop> {
        self.filled = 0;
        content(&mut |mut slice| {
            while !slice.is_empty() {
                if self.filled == self.memory.len() {
                    self.flush(fd)?;
                }
                let (now, later) = slice.split_at(slice.len().min(self.memory.len() - self.filled));
                self.memory[self.filled..self.filled + now.len()].copy_from_slice(now);
                self.filled += now.len();
                slice = later;
            }
            Ok(())
        })?;
        Ok(self.flush(fd)?)
    }

    fn flush(&mut self, fd: &OwnedFd) -> nix::Result<()> {
        let mut rest = &self.memory[..self.filled];
        while !rest.is_empty() {
            let written = write(fd, rest)?;
            rest = &rest[written..];
        }
        self.filled = 0;
        Ok(())
    }

    fn compare(&mut self, fd: &OwnedFd, content: &Content<'_>) -> Result<(), Stop> {
        (self.filled, self.taken) = (0, 0);
        content(&mut |mut slice| {
            while !slice.is_empty() {
                if self.taken == self.filled && !self.fill(fd)? {
                    return Err(Stop::Differs);
                }
                let (now, later) = slice.split_at(slice.len().min(self.filled - self.taken));
                if self.memory[self.taken..self.taken + now.len()] != *now {
                    return Err(Stop::Differs);
                }
                self.taken += now.len();
                slice = later;
            }
            Ok(())
        })?;
        if self.taken < self.filled || self.fill(fd)? { Err(Stop::Differs) } else { Ok(()) }
    }

    /// Whether there was more to read.
    fn fill(&mut self, fd: &OwnedFd) -> nix::Result<bool> {
        self.taken = 0;
        self.filled = read(fd, &mut self.memory)?;
        Ok(self.filled > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileExt};

    use super::*;

    /// Writes a content in slices of every size, spoils the file, and looks whether the comparison sees it.
    #[test]
    fn what_is_read_back_must_be_what_was_written() {
        const LEN: usize = 200_000; // three buffers and a bit
        let bytes: Vec<u8> = (0..LEN).map(|n| (n % 251) as u8).collect();
        type Spoil = fn(&fs::File) -> io::Result<()>;
        let rows: [(&str, Spoil, Result<(), Stop>); 6] = [
            ("nothing", |_| Ok(()), Ok(())),
            ("first byte", |f| f.write_all_at(b"x", 0), Err(Stop::Differs)),
            ("a byte at a buffer's edge", |f| f.write_all_at(b"\xff", 65536), Err(Stop::Differs)),
            ("last byte", |f| f.write_all_at(b"\xff", LEN as u64 - 1), Err(Stop::Differs)),
            ("a byte less", |f| f.set_len(LEN as u64 - 1), Err(Stop::Differs)),
            ("a byte more", |f| f.set_len(LEN as u64 + 1), Err(Stop::Differs)),
        ];
        for slice in [7, 65536, LEN] {
            let content = |sink: &mut Sink<'_>| bytes.chunks(slice).try_for_each(sink);
            for (what, spoil, expected) in &rows {
                let file = tempfile::NamedTempFile::new().unwrap();
                let mut buffer = Buffer::new(Rung::None).unwrap();
                buffer.write(&file.reopen().unwrap().into(), &content).unwrap();
                assert_eq!(fs::read(file.path()).unwrap(), bytes);
                spoil(file.as_file()).unwrap();
                assert_eq!(buffer.compare(&file.reopen().unwrap().into(), &content), *expected, "{what}, {slice}");
            }
        }
    }
}
