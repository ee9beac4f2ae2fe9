//! The PAM module `pam_keyfob.so`: puts the variables of `/run/keyfob/environ` into every session that PAM opens (login,
//! sshd, su, sudo, cron, systemd's user managers).
//!
//! ```text
//! session optional pam_keyfob.so [file=PATH] [group=NAME] [debug]
//!   file=PATH    instead of /run/keyfob/environ
//!   group=NAME   only members of the group, and root, get the variables; without it everybody does
//!   debug        also logs what was set, by name, and that there is no file
//! ```
//!
//! - Nothing it meets keeps anybody out: whatever is wrong, it logs why, sets nothing, and answers PAM_IGNORE. Nor does
//!   what it sets: more than sshd takes, or than a program can be started with here, is not set.
//! - All variables or none. They win over what the session has of the same name, as in the agent's other files; names that
//!   shells and sessions keep for themselves are never touched ([`environ`]).
//! - Only a regular file of root or the agent's user, which nobody else can write, is read, and not through a link.
//! - It acts when a session opens and at no other time. Programs that only set credentials (`sudo -v`, screen locks) start
//!   nothing that needs variables.
//! - The log (syslog, authpriv) has names and numbers, never a value.

use std::{
    ffi::{CStr, CString, OsStr},
    fmt,
    fs::OpenOptions,
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::OFlag,
    sys::resource::{Resource, getrlimit},
    unistd::{Group, User, getgrouplist},
};
use nonstick::{BaseFlags, EnvironMapMut, ErrorCode, ModuleClient, PamModule, items::Items};
use zeroize::Zeroizing;

use crate::domain::environ::{self, LONGEST};

const FILE: &str = "/run/keyfob/environ";
/// Whose files are taken, besides root's.
const AGENT: &str = "keyfob-agent";
/// The most variables that are set: at a session's thousandth sshd ends ("child_set_env: too many env vars"), and some are
/// its own.
const MOST: usize = 900;
/// Tells the shell snippets of this package, and `doctor`, that the session has the variables already, and from whom.
const MARK: (&str, &str) = ("KEYFOB_SET_BY", "pam");

#[cfg(panic = "abort")]
compile_error!("a panic would end sshd: the module is built with panic = \"unwind\"");

// Copies that libpam's wrapper makes of values are wiped when they are freed. Programs have this line for themselves.
#[cfg(not(any(feature = "agent", feature = "cli", feature = "server")))]
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

struct Keyfob;

nonstick::pam_export!(Keyfob);

impl<T: ModuleClient> PamModule<T> for Keyfob {
    fn open_session(handle: &mut T, arguments: Vec<&CStr>, _: BaseFlags) -> nonstick::Result<()> {
        // This library's own hook, not the program's: what a panic says is nobody's business on sshd's stderr.
        panic::set_hook(Box::new(|_| {}));
        match panic::catch_unwind(AssertUnwindSafe(|| open(handle, &arguments))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Nothing)) => Err(ErrorCode::Ignore),
            Err(_) => {
                let _ = panic::catch_unwind(AssertUnwindSafe(|| nonstick::error!(handle, "internal error")));
                Err(ErrorCode::Ignore)
            }
        }
    }
}

/// Nothing was set; why has been logged.
struct Nothing;

fn open(handle: &mut impl ModuleClient, arguments: &[&CStr]) -> Result<(), Nothing> {
    let options = Options::parse(arguments).map_err(|why| nothing(handle, &why))?;
    let user = handle.items().user().ok().flatten();
    if let Some(group) = &options.group
        && !user.is_some_and(|user| is_member(&user, group))
    {
        if options.debug {
            nonstick::debug!(handle, "not in group {group:?}: no variable set");
        }
        return Err(Nothing);
    }
    let file = match read(&options.file) {
        Ok(file) => file,
        Err(Unreadable::Io(e)) if e.kind() == io::ErrorKind::NotFound => {
            if options.debug {
                nonstick::debug!(handle, "{:?} is not there: no variable set", options.file);
            }
            return Err(Nothing);
        }
        Err(why) => return Err(nothing(handle, &format_args!("{:?}: {why}", options.file))),
    };
    let variables = environ::parse(&file).map_err(|why| nothing(handle, &format_args!("{:?}: {why}", options.file)))?;
    match variables.len() {
        0 => return Err(Nothing),
        1..=MOST => (),
        count => {
            return Err(nothing(
                handle,
                &format_args!("{count} variables, more than sshd can take with its own ({MOST})"),
            ));
        }
    }
    {
        let mut environment = handle.environ_mut();
        for (variable, value) in &variables {
            environment.insert(variable.as_str(), OsStr::from_bytes(value));
        }
        environment.insert(MARK.0, MARK.1);
    }
    if options.debug {
        let names: Vec<&str> = variables.iter().map(|(variable, _)| variable.as_str()).collect();
        nonstick::debug!(handle, "{} variables set: {}", names.len(), names.join(" "));
    }
    Ok(())
}

fn nothing(handle: &impl ModuleClient, why: &dyn fmt::Display) -> Nothing {
    nonstick::warn!(handle, "{why}; no variable set");
    Nothing
}

struct Options {
    file: PathBuf,
    group: Option<String>,
    debug: bool,
}

impl Options {
    /// What is not understood may have been meant to restrict: then nobody gets anything.
    fn parse(arguments: &[&CStr]) -> Result<Self, String> {
        let mut options = Self { file: FILE.into(), group: None, debug: false };
        for argument in arguments {
            let given = argument.to_str().map_err(|_| "an option is not UTF-8".to_owned())?;
            match given.split_once('=') {
                Some(("file", path)) if path.starts_with('/') => options.file = path.into(),
                Some(("group", name)) if !name.is_empty() => options.group = Some(name.to_owned()),
                None if given == "debug" => options.debug = true,
                _ => return Err(format!("option {given:?} is not understood")),
            }
        }
        Ok(options)
    }
}

/// Root is, of every group.
fn is_member(user: &OsStr, group: &str) -> bool {
    let Some(user) = user.to_str().and_then(|name| User::from_name(name).ok().flatten()) else { return false };
    if user.uid.is_root() {
        return true;
    }
    let Some(group) = Group::from_name(group).ok().flatten() else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group.gid))
}

enum Unreadable {
    Io(io::Error),
    NoFile,
    Owner(u32),
    Writable(u32),
    TooLong(u64),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => e.fmt(f),
            Self::NoFile => f.write_str("not a regular file"),
            Self::Owner(uid) => write!(f, "owned by user {uid}, not by root or {AGENT}"),
            Self::Writable(mode) => write!(f, "others can write it (mode {mode:04o})"),
            Self::TooLong(room) => write!(f, "longer than {room} bytes, all that a program can be started with here"),
        }
    }
}

impl From<io::Error> for Unreadable {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    // Non-blocking, for a pipe at this place would hold up the login.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(Unreadable::NoFile);
    }
    if found.uid() != 0 && User::from_name(AGENT).ok().flatten().is_none_or(|agent| agent.uid.as_raw() != found.uid()) {
        return Err(Unreadable::Owner(found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return Err(Unreadable::Writable(found.mode() & 0o7777));
    }
    let room = room();
    if found.len() > room {
        return Err(Unreadable::TooLong(room));
    }
    // One byte more, so that the buffer never grows; a file of the agent does not either, once it is in place.
    let mut bytes = Zeroizing::new(Vec::with_capacity(found.len() as usize + 1));
    file.take(found.len()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How much of a program's arguments and environment is left to us: three quarters of what the kernel takes, which is a
/// quarter of the stack's limit (execve(2)). More, and the user's shell could not be started.
fn room() -> u64 {
    let stack = getrlimit(Resource::RLIMIT_STACK).map_or(0, |(soft, _)| soft);
    (stack / 16 * 3).min(LONGEST as u64)
}
