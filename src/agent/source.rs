//! Where the join string comes from: the file that was named, else the systemd credential `keyfob.join` (QEMU and
//! cloud-hypervisor pass it by SMBIOS type 11), else the configured file (as it is, or as `keyfob-agent mount` has brought
//! it into the runtime directory), else, where configured, Firecracker's metadata service.
//!
//! Never from a command line, ours or the kernel's: every process of the VM can read both.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{config, mmds, runtime_dir::JOIN};
use crate::{
    argv,
    client::Error,
    domain::join::{Audience, Join},
};

/// The name of the systemd credential that holds the join string.
const CREDENTIAL: &str = "keyfob.join";
/// What every join string starts with.
const MARK: &str = "kfjoin1";
/// A join string is some hundred bytes; whatever is longer is something else.
const LONGEST: u64 = 4096;

/// A join string, and the file to remove once it is used.
pub struct Found {
    pub join: Join,
    pub file: Option<PathBuf>,
}

/// Why a join string among the arguments is refused. Holds nothing of it.
pub const IN_ARGUMENTS: &str = "a join string stands on the command line, where every process can read it, and is not used. Make a new \
                                session, and hand its join string in as the systemd credential keyfob.join or with --join-file FILE";

pub fn is_join_string(argument: &std::ffi::OsStr) -> bool {
    argument.to_string_lossy().contains(MARK)
}

/// Looks in all places once. A metadata service that does not answer is worth another try; everything else is final.
pub async fn find(named: Option<&Path>, dir: &Path, config: &config::Join) -> Result<Found, Error> {
    if fs::read_to_string("/proc/cmdline").is_ok_and(|line| line.contains(MARK)) {
        return Err(Error::Local(
            "a join string stands on the kernel's command line, where every process can read it (/proc/cmdline), and is not used. Make a \
             new session, and hand its join string in by SMBIOS (QEMU: -smbios type=11,path=FILE), as a file or by MMDS"
                .into(),
        ));
    }
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(CREDENTIAL));
    if let Some(file) = named {
        return Ok(Found { join: read(file)?, file: Some(file.to_owned()) });
    }
    if let Some(credential) = credential.filter(|path| path.exists()) {
        return Ok(Found { join: read(&credential)?, file: None });
    }
    for file in [dir.join(JOIN), config.file.clone()] {
        if file.exists() {
            return Ok(Found { join: read(&file)?, file: Some(file) });
        }
    }
    if config.mmds {
        let text = mmds::get(mmds::ADDRESS, "keyfob/join", LONGEST).await?;
        return Ok(Found { join: parse("the metadata service's keyfob/join", &text)?, file: None });
    }
    Err(Error::Local(format!(
        "no join string: give the unit a credential `{CREDENTIAL}`, write it to {}, or say --join-file FILE; `keyfob session create` prints one",
        config.file.display()
    )))
}

fn read(path: &Path) -> Result<Join, Error> {
    let shown = argv::file(path);
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize + 1));
    fs::File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
        .map_err(|e| Error::Local(format!("{shown}: {e}")))?;
    if text.len() as u64 > LONGEST {
        return Err(Error::Local(format!("{shown} is too long for a join string")));
    }
    parse(&shown, &text)
}

fn parse(from: &str, text: &str) -> Result<Join, Error> {
    Join::parse(text, Audience::Session).map_err(|e| Error::Local(format!("{from}: {e}")))
}
