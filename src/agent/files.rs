//! One whole set of files, or none.
//!
//! ```text
//! env  env.sh  env.fish  environ     the variables, in the formats of domain::env_file
//! files/NAME                         values delivered as files; the variable then holds the path
//! manifest.json                      names and versions of what is there, never a value
//! ```
//!
//! All new files are written first, under temporary names that nobody else can open (mode 0600, `O_EXCL`), given their
//! final mode 0640 and group, and read back. Only then are they renamed into place, `manifest.json` last: a reader sees each
//! file whole, old or new, and a manifest tells that the whole set is there. Files that are not in the set any more go
//! after that. Whatever fails before the first rename leaves the old set as it was.
//!
//! Values go from the bundle's memory through one buffer of secret memory into the files; no other copy is made. Nothing is
//! synced: these are file systems in memory, and a machine that loses power loses them by design.

use std::{fmt, io, os::fd::OwnedFd};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::stat::{Mode, fchmod, fstat},
    unistd::{UnlinkatFlags, fchown, read, unlinkat, write},
};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::runtime_dir::{self, RuntimeDir, names_in};
use crate::{
    domain::{
        env_file::{Entry, Format, NotText, render},
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
    Io { file: String, what: &'static str, cause: io::Error },
    Dir(runtime_dir::Error),
    NotText(NotText),
    ReadBack { file: String },
    Older { installed: u64, offered: u64 },
    Manifest(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { file, what, cause } => write!(f, "{file}: {what}: {cause}; the files that were there before are untouched"),
            Self::Dir(error) => error.fmt(f),
            Self::NotText(error) => error.fmt(f),
            Self::ReadBack { file } => write!(f, "{file} does not read back as it was written; nothing was installed"),
            Self::Older { installed, offered } => {
                write!(f, "bundle {offered} is older than {installed}, which is installed; an agent never goes back")
            }
            Self::Manifest(cause) => write!(f, "manifest.json: {cause}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<runtime_dir::Error> for Error {
    fn from(error: runtime_dir::Error) -> Self {
        Self::Dir(error)
    }
}

const MANIFEST: &str = "manifest.json";
const FILES: &str = "files";
/// What temporary names start with. They all lie beside the files of fixed names, so no secret's name can look like one.
const TEMPORARY: &str = ".new-";
const BUFFER: usize = 64 * 1024;

/// Writes a set and puts it in place. `floor` is the weakest memory that the buffer may lie in.
pub fn install(dir: &RuntimeDir, set: &Set<'_>, floor: Rung) -> Result<(), Error> {
    if let Some(installed) = read_manifest(dir)?
        && installed.session == set.session
        && installed.sequence > set.sequence
    {
        return Err(Error::Older { installed: installed.sequence, offered: set.sequence });
    }
    let mut writer = Writer { dir, buffer: SecretBuf::new(BUFFER, floor).map_err(io_error("secret memory", "getting it"))?, filled: 0, staged: Vec::new() };
    writer.remove_temporaries()?;
    let staged = stage(&mut writer, set);
    if staged.is_err() {
        let _ = writer.remove_temporaries();
    }
    staged?;
    writer.commit(set)
}

/// What is installed now, if anything is.
pub fn read_manifest(dir: &RuntimeDir) -> Result<Option<Manifest>, Error> {
    let fd = match openat(dir.fd(), MANIFEST, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => return Ok(None),
        Err(e) => return Err(io_error(MANIFEST, "opening it")(e)),
    };
    serde_json::from_reader(io::BufReader::new(std::fs::File::from(fd))).map(Some).map_err(|e| Error::Manifest(format!("can't be read: {e}")))
}

/// Writes every file of the set under its temporary name.
fn stage(writer: &mut Writer<'_>, set: &Set<'_>) -> Result<(), Error> {
    let mut manifest = Manifest {
        bundle_version: set.bundle_version.to_owned(),
        sequence: set.sequence,
        organization: set.organization.to_owned(),
        session: set.session.to_owned(),
        user: set.user.to_owned(),
        environment: set.environment.to_owned(),
        environment_version: set.environment_version,
        memory: set.memory.as_str().to_owned(),
        files: writer.dir.rung().as_str().to_owned(),
        installed_at: set.installed_at.format(&Rfc3339).unwrap_or_default(),
        variables: Vec::new(),
    };
    let root = writer.dir.path().join(FILES);
    for item in set.items {
        let path = match item.delivery {
            Delivery::Env => None,
            Delivery::File => {
                let path = root.join(item.name);
                Some(path.to_str().ok_or_else(|| Error::Manifest("the runtime directory's path is not UTF-8".into()))?.to_owned())
            }
        };
        if path.is_some() {
            let staged = writer.staged.len();
            writer.write(Place { directory: Some(FILES), name: item.name.to_owned(), staged }, |sink| sink(item.value))?;
        }
        manifest.variables.push(Installed {
            variable: item.variable.to_string(),
            name: item.name.to_owned(),
            origin: item.origin.to_owned(),
            version: item.version.to_owned(),
            delivery: item.delivery.as_str().to_owned(),
            path,
        });
    }
    let entries = |manifest: &Manifest| -> Result<(), NotText> {
        // Checked before anything is written, so that rendering can't fail on a value.
        for (item, installed) in set.items.iter().zip(&manifest.variables) {
            Entry::new(item.variable, installed.path.as_ref().map_or(item.value, |p| p.as_bytes()))?;
        }
        Ok(())
    };
    entries(&manifest).map_err(Error::NotText)?;
    for format in Format::ALL {
        let staged = writer.staged.len();
        writer.write(Place { directory: None, name: format.file_name().to_owned(), staged }, |sink| {
            let entries = set.items.iter().zip(&manifest.variables);
            let entries = entries.filter_map(|(item, installed)| Entry::new(item.variable, installed.path.as_ref().map_or(item.value, |p| p.as_bytes())).ok());
            render(entries, format, sink)
        })?;
    }
    let json = serde_json::to_vec_pretty(&manifest).map_err(|e| Error::Manifest(e.to_string()))?;
    let staged = writer.staged.len();
    writer.write(Place { directory: None, name: MANIFEST.to_owned(), staged }, |sink| {
        sink(&json)?;
        sink(b"\n")
    })
}

/// Where a file will be, and its number among the temporaries.
struct Place {
    directory: Option<&'static str>,
    name: String,
    staged: usize,
}

impl Place {
    fn temporary(&self) -> String {
        format!("{TEMPORARY}{}", self.staged)
    }

    fn shown(&self) -> String {
        match self.directory {
            Some(directory) => format!("{directory}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

struct Writer<'a> {
    dir: &'a RuntimeDir,
    buffer: SecretBuf,
    filled: usize,
    staged: Vec<Place>,
}

impl Writer<'_> {
    /// Streams one file out, then streams the same again against what the file reads back as.
    fn write(&mut self, place: Place, content: impl Fn(&mut dyn FnMut(&[u8]) -> nix::Result<()>) -> nix::Result<()>) -> Result<(), Error> {
        let temporary = place.temporary();
        let fail = |what| io_error(&place.shown(), what);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(self.dir.fd(), temporary.as_str(), flags, Mode::from_bits_truncate(0o600)).map_err(fail("making it"))?;
        content(&mut |slice| self.put(&fd, slice)).and_then(|()| self.flush(&fd)).map_err(fail("writing it"))?;
        // The group first: a change of owner may take mode bits away.
        fchown(&fd, None, self.dir.group()).map_err(fail("giving it to the session's group"))?;
        fchmod(&fd, Mode::from_bits_truncate(0o640)).map_err(fail("setting its mode"))?;
        drop(fd);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(self.dir.fd(), temporary.as_str(), flags, Mode::empty()).map_err(fail("reading it back"))?;
        let same = content(&mut |slice| self.compare(&fd, slice)).and_then(|()| at_end(&fd));
        let mode = fstat(&fd).map(|s| s.st_mode & 0o7777).map_err(fail("reading it back"))?;
        self.buffer.fill(0);
        match same {
            Ok(()) if mode == 0o640 => {}
            Ok(()) | Err(Errno::EILSEQ) => return Err(Error::ReadBack { file: place.shown() }),
            Err(e) => return Err(fail("reading it back")(e)),
        }
        self.staged.push(place);
        Ok(())
    }

    fn put(&mut self, fd: &OwnedFd, mut slice: &[u8]) -> nix::Result<()> {
        while !slice.is_empty() {
            if self.filled == BUFFER {
                self.flush(fd)?;
            }
            let (now, later) = slice.split_at(slice.len().min(BUFFER - self.filled));
            self.buffer[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            slice = later;
        }
        Ok(())
    }

    fn flush(&mut self, fd: &OwnedFd) -> nix::Result<()> {
        let mut rest = &self.buffer[..self.filled];
        while !rest.is_empty() {
            let written = write(fd, rest)?;
            rest = &rest[written..];
        }
        self.filled = 0;
        Ok(())
    }

    fn compare(&mut self, fd: &OwnedFd, mut slice: &[u8]) -> nix::Result<()> {
        while !slice.is_empty() {
            let want = slice.len().min(BUFFER);
            let got = read(fd, &mut self.buffer[..want])?;
            if got == 0 || self.buffer[..got] != slice[..got] {
                return Err(Errno::EILSEQ);
            }
            slice = &slice[got..];
        }
        Ok(())
    }

    /// Puts everything staged in place, the manifest last, and removes what is not in the set.
    fn commit(mut self, set: &Set<'_>) -> Result<(), Error> {
        let files = self.dir.subdirectory(FILES)?;
        for place in std::mem::take(&mut self.staged) {
            let to = match place.directory {
                Some(_) => renameat(self.dir.fd(), place.temporary().as_str(), &files, place.name.as_str()),
                None => renameat(self.dir.fd(), place.temporary().as_str(), self.dir.fd(), place.name.as_str()),
            };
            to.map_err(io_error(&place.shown(), "putting it in place"))?;
        }
        let kept = |name: &String| set.items.iter().any(|item| item.delivery == Delivery::File && item.name == name);
        for name in names_in(std::os::fd::AsFd::as_fd(&files)).map_err(io_error(FILES, "listing it"))?.iter().filter(|name| !kept(name)) {
            unlinkat(&files, name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(io_error(name, "removing it"))?;
        }
        Ok(())
    }

    /// What a run that was killed left behind.
    fn remove_temporaries(&mut self) -> Result<(), Error> {
        self.staged.clear();
        self.filled = 0;
        self.buffer.fill(0);
        for name in names_in(self.dir.fd()).map_err(io_error("the directory", "listing it"))? {
            if name.starts_with(TEMPORARY) {
                unlinkat(self.dir.fd(), name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(io_error(&name, "removing it"))?;
            }
        }
        Ok(())
    }
}

fn at_end(fd: &OwnedFd) -> nix::Result<()> {
    match read(fd, &mut [0])? {
        0 => Ok(()),
        _ => Err(Errno::EILSEQ),
    }
}

fn io_error<E: Into<io::Error>>(file: &str, what: &'static str) -> impl FnOnce(E) -> Error + use<E> {
    let file = file.to_owned();
    move |cause| Error::Io { file, what, cause: cause.into() }
}
