//! `keyfob-agent exec -- CMD`: a command with the session's variables in its environment, for harnesses that start programs
//! directly, past every login and shell. The command takes this process's place; nothing of ours stays.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use super::runtime_dir::MANIFEST;
use crate::domain::{env_file::Format, environ};

const LOOK: Duration = Duration::from_millis(50);

/// Why there is no command: what to say, and the exit code, as env(1) has them.
pub struct Failure(pub String, pub u8);

/// Returns only if it fails. `wait` is for how long the files may take to appear.
pub fn exec(dir: &Path, wait: Duration, command: &[OsString]) -> Failure {
    let end = Instant::now() + wait;
    let manifest = dir.join(MANIFEST);
    while !manifest.exists() {
        if Instant::now() >= end {
            let shown = manifest.display();
            return Failure(
                format!(
                    "{shown} is not there, so no secrets are: systemctl status keyfob-agent; --wait SECONDS waits for it"
                ),
                1,
            );
        }
        std::thread::sleep(LOOK);
    }
    let file = dir.join(Format::Environ.file_name());
    let bytes = match fs::read(&file) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) => {
            return Failure(format!("{}: {e}; its readers are root and the session's group", file.display()), 1);
        }
    };
    let Some((program, arguments)) = command.split_first() else { return Failure("no command".into(), 2) };
    let variables = match environ::parse(&bytes) {
        Ok(variables) => variables,
        Err(e) => return Failure(format!("{}: {e}", file.display()), 1),
    };
    let variables = variables.iter().map(|(variable, value)| (variable.as_str(), OsStr::from_bytes(value)));
    let error = Command::new(program).args(arguments).envs(variables).exec();
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    Failure(format!("{}: {error}", program.display()), code)
}
