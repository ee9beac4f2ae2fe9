//! `/etc/keyfob/agent.toml`: what whoever builds the VM image decides. Flags come before it, and it before what the session's
//! environment says.
//!
//! ```text
//! [join]
//! file = "/run/keyfob-join"   # where a join string is looked for after the systemd credential; removed once it is used
//! mmds = false                # Firecracker: also ask its metadata service, key keyfob/join
//! [boot]
//! deadline_seconds = 90       # 1 to 3600
//! on_failure = "block"        # or "continue"
//! [files]
//! dir = "/run/keyfob"
//! group = "keyfob"            # the session's group, which may read the files
//! [redact]
//! journal = "whole-machine"   # or "services", those with LogNamespace=keyfob; or "off"
//! [status]
//! group = "keyfob"            # who may ask on the unix socket, besides root
//! listen = "192.0.2.7:7444"   # mutual TLS, for operators and admins; without it, nobody
//! metrics = "127.0.0.1:9464"  # Prometheus; without it, nobody
//! ```

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    domain::boot::{BootPolicy, OnFailure},
    exposition::loopback,
};

pub const PATH: &str = "/etc/keyfob/agent.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub join: Join,
    boot: Boot,
    pub files: Files,
    pub redact: Redact,
    pub status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Join {
    pub file: PathBuf,
    pub mmds: bool,
}

impl Default for Join {
    fn default() -> Self {
        Self { file: "/run/keyfob-join".into(), mmds: false }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Boot {
    deadline_seconds: Option<u16>,
    on_failure: Option<OnFailure>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    pub dir: Option<PathBuf>,
    pub group: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redact {
    pub journal: JournalMode,
}

/// Whose log lines are redacted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalMode {
    #[default]
    WholeMachine,
    /// Of units with `LogNamespace=keyfob`.
    Services,
    Off,
}

impl JournalMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WholeMachine => "whole-machine",
            Self::Services => "services",
            Self::Off => "off",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Status {
    /// The files' where it is not said.
    pub group: Option<String>,
    pub listen: Option<SocketAddr>,
    metrics: Option<String>,
}

impl Status {
    pub fn metrics(&self) -> Result<Option<SocketAddr>, String> {
        self.metrics.as_deref().map(loopback).transpose().map_err(|e| format!("status.metrics: {e}"))
    }
}

impl Config {
    /// The file at `path`, which must be there; without one, [`PATH`] if it is there, else the defaults.
    pub fn load(path: Option<&Path>) -> Result<Self, String> {
        let (path, must) = path.map_or((Path::new(PATH), false), |path| (path, true));
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|e| format!("{}: {e}", path.display())),
            Err(e) if e.kind() == io::ErrorKind::NotFound && !must => Ok(Self::default()),
            Err(e) => Err(format!("{}: {e}", path.display())),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = basic_toml::from_str(text).map_err(|e| e.to_string())?;
        config.status.metrics()?;
        match config.boot.deadline_seconds {
            Some(seconds) if !(1..=BootPolicy::MAX_DEADLINE).contains(&seconds) => {
                Err(format!("boot.deadline_seconds is {seconds}, not 1 to {}", BootPolicy::MAX_DEADLINE))
            }
            _ => Ok(config),
        }
    }

    pub fn boot(&self) -> BootPolicy {
        BootPolicy { deadline: self.boot.deadline_seconds, on_failure: self.boot.on_failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        let all = "[join]\nfile = '/x'\nmmds = true\n[boot]\ndeadline_seconds = 5\non_failure = 'continue'\n[files]\ngroup = 'dev'\n";
        let config = Config::parse(all).unwrap();
        assert_eq!((config.join.file.as_path(), config.join.mmds), (Path::new("/x"), true));
        assert_eq!(config.boot(), BootPolicy { deadline: Some(5), on_failure: Some(OnFailure::Continue) });
        assert_eq!(config.files.group.as_deref(), Some("dev"));
        let none = Config::parse("# [boot]\n").unwrap();
        assert_eq!((none.join.file.as_path(), none.boot()), (Path::new("/run/keyfob-join"), BootPolicy::default()));
    }

    /// As it is, the file of the package says nothing; with all that it has commented out, the same.
    #[test]
    fn the_packaged_file_tells_the_defaults() {
        let packaged = include_str!("../../packaging/keyfob-agent/agent.toml");
        let nothing = format!("{:?}", Config::default());
        assert_eq!(format!("{:?}", Config::parse(packaged).unwrap()), nothing);

        let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.contains(" = ");
        let keys = packaged.lines().filter(|line| is_key(line)).count();
        let uncommented: Vec<_> = packaged.lines().map(|line| if is_key(line) { &line[1..] } else { line }).collect();
        let all = Config::parse(&uncommented.join("\n")).unwrap();
        let Config {
            join: Join { file, mmds },
            boot: Boot { deadline_seconds, on_failure },
            files: Files { dir, group },
            redact: Redact { journal },
            status: Status { group: askers, listen, metrics },
        } = &all;
        assert_eq!((file, *mmds), (&Join::default().file, Join::default().mmds));
        let policy = BootPolicy::default();
        assert_eq!((*deadline_seconds, *on_failure), (Some(policy.deadline()), Some(policy.on_failure())));
        assert_eq!((dir.as_deref(), group.as_deref()), (Some(Path::new("/run/keyfob")), Some("keyfob")));
        assert_eq!(*journal, JournalMode::default());
        assert_eq!(askers.as_deref(), Some("keyfob"));
        // Without these two keys nothing is listened on; what stands there are examples.
        assert!(listen.is_some() && metrics.is_some());
        assert_eq!(keys, 10, "a key that the file doesn't tell of, or tells of twice");
    }

    #[test]
    fn what_is_refused_is_named() {
        for (text, named) in [
            ("[boot]\ndeadline = 5\n", "deadline"),
            ("[boot]\ndeadline_seconds = 0\n", "1 to 3600"),
            ("[boot]\ndeadline_seconds = 3601\n", "1 to 3600"),
            ("[boot]\non_failure = 'panic'\n", "panic"),
            ("[redact]\njournal = 'some'\n", "some"),
            ("[status]\nlisten = '7444'\n", "listen"),
            ("[status]\nmetrics = '0.0.0.0:9464'\n", "loopback"),
            ("[bot]\n", "bot"),
            ("boot", "line 1"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(named), "{text:?}: {error}");
        }
        assert!(
            Config::load(Some(Path::new("/nonexistent/agent.toml"))).unwrap_err().contains("/nonexistent/agent.toml")
        );
        assert!(Config::load(None).is_ok());
    }
}
