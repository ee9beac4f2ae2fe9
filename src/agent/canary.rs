//! The self-proof: a word that is a secret like any other is logged by every way there is, and looked for where it must not be.
//!
//! ```text
//! canary ─► native, stdout, syslog ─► redactor ─► journald ─► journalctl      each with an id, by which it is found again
//! canary ─► keyfob-agent exec -- printf ─────────► what comes out
//! ```
//!
//! Blocking: for a thread of its own. The word stands in this process's memory and in the sockets; in no argument, no
//! file and no environment.

use std::{
    io::{self, Write},
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A way that what is logged can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Native,
    Stdout,
    Syslog,
    Exec,
}

impl Way {
    const JOURNAL: [Self; 3] = [Self::Native, Self::Stdout, Self::Syslog];

    fn name(self) -> &'static str {
        match self {
            Self::Native => "the journal's native protocol",
            Self::Stdout => "a service's output",
            Self::Syslog => "syslog",
            Self::Exec => "exec",
        }
    }
}

/// What is not redacted, or could not be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub way: Way,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It came out as it was.
    Seen,
    /// It came out as something else than a mask.
    Garbled,
    /// It did not come out in time.
    Lost,
    NotTried(String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = self.way.name();
        match &self.why {
            Why::Seen => write!(f, "{way} is not redacted"),
            Why::Garbled => write!(f, "{way} does not come out as it should"),
            Why::Lost => write!(f, "{way} does not arrive"),
            Why::NotTried(why) => write!(f, "{way} could not be tried: {why}"),
        }
    }
}

impl std::error::Error for Failed {}

/// What a masked canary looks like.
const MASK: &str = "[keyfob:KEYFOB_CANARY]";
const IDENTIFIER: &str = "keyfob-canary";
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// By the journal's three sockets. The canary's fingerprints must be in use before.
pub fn journal(canary: &str) -> Result<(), Failed> {
    let mut random = [0; 8];
    let not_tried = |way, error: &dyn std::fmt::Display| Failed { way, why: Why::NotTried(error.to_string()) };
    getrandom::fill(&mut random).map_err(|e| not_tried(Way::Native, &e))?;
    let id = format!("{:016x}", u64::from_ne_bytes(random));
    for way in Way::JOURNAL {
        send(way, &id, canary).map_err(|e| not_tried(way, &e))?;
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let printed = read().map_err(|e| not_tried(Way::Native, &e))?;
        match Way::JOURNAL.map(|way| judge(&printed, way, &id, canary)).into_iter().find_map(Result::err) {
            Some(Failed { why: Why::Lost, .. }) if Instant::now() < end => thread::sleep(PAUSE),
            Some(failed) => return Err(failed),
            None => return Ok(()),
        }
    }
}

/// By `keyfob-agent exec`, whose command prints it.
pub fn exec(dir: &Path, canary: &str) -> Result<(), Failed> {
    let failed = |why| Failed { way: Way::Exec, why };
    let not_tried = |e: io::Error| failed(Why::NotTried(e.to_string()));
    let mut child = Command::new("/proc/self/exe")
        .arg("exec")
        .arg("--dir")
        .arg(dir)
        .args(["--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(not_tried)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(format!("{IDENTIFIER} {canary}\n").as_bytes()).map_err(not_tried)?;
    }
    let output = child.wait_with_output().map_err(not_tried)?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if printed.contains(canary) {
        Err(failed(Why::Seen))
    } else if printed == format!("{IDENTIFIER} {MASK}\n") {
        Ok(())
    } else if printed.is_empty() {
        Err(failed(Why::Lost))
    } else {
        Err(failed(Why::Garbled))
    }
}

fn text(way: Way, id: &str, canary: &str) -> String {
    format!("{way:?} {id} {canary}")
}

fn send(way: Way, id: &str, canary: &str) -> io::Result<()> {
    let text = text(way, id, canary);
    let datagram = |message: String, path: &str| {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.send_to(message.as_bytes(), path).map(drop)
    };
    match way {
        Way::Native => datagram(
            format!("MESSAGE={text}\nPRIORITY=7\nSYSLOG_IDENTIFIER={IDENTIFIER}\n"),
            "/run/systemd/journal/socket",
        ),
        // Debug, of the daemons.
        Way::Syslog => datagram(format!("<31>{IDENTIFIER}: {text}"), "/dev/log"),
        Way::Stdout => {
            let mut stream = UnixStream::connect("/run/systemd/journal/stdout")?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(format!("{IDENTIFIER}\n\n7\n0\n0\n0\n0\n{text}\n").as_bytes())
        }
        Way::Exec => Ok(()),
    }
}

/// Not of this boot alone: which one that is stands where the unit does not look, and ids are of no other.
fn read() -> io::Result<String> {
    let output = Command::new("journalctl")
        .args(["--quiet", "--no-pager", "--output=cat", "--all", "--lines=200"])
        .arg(format!("--identifier={IDENTIFIER}"))
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(said.lines().next().unwrap_or("journalctl fails").to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn judge(printed: &str, way: Way, id: &str, canary: &str) -> Result<(), Failed> {
    let failed = |why| Err(Failed { way, why });
    match printed.lines().find(|line| line.starts_with(&text(way, id, ""))) {
        None => failed(Why::Lost),
        Some(line) if line.contains(canary) => failed(Why::Seen),
        Some(line) if line == text(way, id, MASK) => Ok(()),
        Some(_) => failed(Why::Garbled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_it() {
        for (printed, found) in [
            ("Native 01 [keyfob:KEYFOB_CANARY]\n", Ok(())),
            ("other\nNative 01 [keyfob:KEYFOB_CANARY]\nNative 02 c4nary\n", Ok(())),
            ("Native 01 c4nary\n", Err(Why::Seen)),
            ("Native 01 c4[keyfob:KEYFOB_CANARY]\n", Err(Why::Garbled)),
            ("Syslog 01 [keyfob:KEYFOB_CANARY]\nNative 02 [keyfob:KEYFOB_CANARY]\n", Err(Why::Lost)),
            ("", Err(Why::Lost)),
        ] {
            assert_eq!(judge(printed, Way::Native, "01", "c4nary").map_err(|f| f.why), found, "{printed:?}");
        }
        let failed = Failed { way: Way::Syslog, why: Why::Seen };
        assert_eq!(failed.to_string(), "syslog is not redacted");
    }
}
