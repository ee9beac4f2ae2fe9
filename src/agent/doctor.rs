//! `keyfob-agent doctor`: is `$OPENAI_API_KEY` set in this workspace? Asked by going in, each way there is, and looking.
//!
//! ```text
//! doctor ── each way in ──► keyfob-agent probe SALT NAME... ──► NAME SHA-256(salt | value), for what is set there
//!    └─ the same of the files ─────────────────────────────────► set | differs | unset
//! ```
//!
//! No value passes between the two, and none is printed. What is changed for it (a cron table, a key for ssh, an ssh server
//! on a loopback port that asks the same PAM) is gone in the end.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    net::TcpListener,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::unistd::{Gid, User, geteuid};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    arguments::{self, Telling},
    files::Manifest,
    runtime_dir::MANIFEST,
};
use crate::domain::{env_file::Format, variable::Variable};

/// What a probe's lines begin with: a login may say more than was asked.
const MARK: &str = "keyfob-probe ";
const PATIENCE: Duration = Duration::from_secs(30);
/// A cron table is looked at once a minute.
const CRON: Duration = Duration::from_secs(75);

/// How a way in was found.
enum Found {
    Seen(BTreeMap<String, State>),
    NotTried(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Set,
    /// There, but not as it was installed: something on the way changed it.
    Differs,
    Unset,
}

pub struct Asked {
    pub dir: PathBuf,
    pub user: Option<String>,
    /// Also by cron, which takes up to a minute.
    pub cron: bool,
    pub json: bool,
}

/// Prints what each way in sees; gives whether all of them see everything.
pub fn run(asked: &Asked) -> Result<bool, String> {
    let told = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let path = asked.dir.join(MANIFEST);
    let text = fs::read(&path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            format!("{} is not there, so no secrets are: systemctl status keyfob-agent", path.display())
        }
        _ => format!("{}: {e}; run the doctor as root", path.display()),
    })?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| told(&path, &e))?;
    let names: Vec<String> = manifest.variables.into_iter().map(|v| v.variable).collect();
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|e| format!("no randomness: {e}"))?;
    let salt: String = salt.iter().map(|b| format!("{b:02x}")).collect();
    let installed = installed(&asked.dir, &salt)?;
    let user = user(asked)?;
    let visit = Visit { asked, user: &user, salt: &salt, names: &names };

    let mut ways = Vec::new();
    for (name, seen) in visit.ways() {
        let found = match seen {
            Ok(probed) => {
                let state = |name: &String| match probed.get(name) {
                    None => State::Unset,
                    Some(hash) if Some(hash) == installed.get(name) => State::Set,
                    Some(_) => State::Differs,
                };
                Found::Seen(names.iter().map(|name| (name.clone(), state(name))).collect())
            }
            Err(why) => Found::NotTried(why),
        };
        ways.push((name, found));
    }
    let healthy = ways.iter().all(|(_, found)| match found {
        Found::Seen(states) => states.values().all(|state| *state == State::Set),
        Found::NotTried(_) => true,
    });
    let telling = arguments::of_all(&asked.dir);
    let redaction = redaction();
    let printed = if asked.json {
        as_json(&ways, &user, healthy, &telling, &redaction)
    } else {
        let told = telling
            .as_ref()
            .map_or_else(|why| format!("arguments of processes: {why}\n"), |all| arguments::as_text(all));
        format!("{}\n{told}redaction of the journal: {redaction}\n", as_table(&ways, names.len()))
    };
    let mut out = io::stdout().lock();
    out.write_all(printed.as_bytes()).and_then(|()| out.flush()).map_err(|e| format!("standard output: {e}"))?;
    Ok(healthy)
}

fn as_table(ways: &[(String, Found)], all: usize) -> String {
    let wide = ways.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("WAY IN".len());
    let mut text = format!("{:wide$}  {:9}  NOT SET, OR CHANGED ON THE WAY\n", "WAY IN", "SET");
    for (name, found) in ways {
        let line = match found {
            Found::NotTried(why) => format!("{:9}  {why}", "not tried"),
            Found::Seen(states) => {
                let set = states.values().filter(|state| **state == State::Set).count();
                let wrong: Vec<String> = states
                    .iter()
                    .filter_map(|(variable, state)| match state {
                        State::Set => None,
                        State::Unset => Some(format!("${variable}")),
                        State::Differs => Some(format!("${variable} (differs)")),
                    })
                    .collect();
                format!("{:9}  {}", format!("{set} of {all}"), wrong.join(" "))
            }
        };
        let _ = writeln!(text, "{}", format!("{name:wide$}  {line}").trim_end());
    }
    text
}

/// How the journal's redactor fares, in its own words.
fn redaction() -> String {
    let asked = Command::new("systemctl")
        .args(["show", "--property=ActiveState,StatusText", "--value", "keyfob-redact.service"])
        .stdin(Stdio::null())
        .output();
    let said =
        asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().replace('\n', ", ")).unwrap_or_default();
    if said.is_empty() { "not known".into() } else { said }
}

fn as_json(
    ways: &[(String, Found)],
    user: &User,
    healthy: bool,
    telling: &Result<Vec<Telling>, String>,
    redaction: &str,
) -> String {
    let ways: Vec<_> = ways
        .iter()
        .map(|(name, found)| match found {
            Found::Seen(states) => serde_json::json!({"way": name, "variables": states}),
            Found::NotTried(why) => serde_json::json!({"way": name, "not_tried": why}),
        })
        .collect();
    format!(
        "{:#}\n",
        serde_json::json!({
            "user": user.name, "healthy": healthy, "ways": ways, "in_arguments": telling.as_ref().ok(), "redaction": redaction,
        })
    )
}

/// The hashes of what is in the files, as a process is to see it.
fn installed(dir: &Path, salt: &str) -> Result<BTreeMap<String, String>, String> {
    let path = dir.join(Format::Environ.file_name());
    let bytes =
        Zeroizing::new(fs::read(&path).map_err(|e| format!("{}: {e}; run the doctor as root", path.display()))?);
    let entries = bytes.split(|b| *b == 0).filter_map(|entry| {
        let at = entry.iter().position(|b| *b == b'=')?;
        Some((String::from_utf8_lossy(&entry[..at]).into_owned(), hash(salt, &entry[at + 1..])))
    });
    Ok(entries.collect())
}

fn hash(salt: &str, value: &[u8]) -> String {
    let hash = Sha256::new_with_prefix(salt).chain_update([0]).chain_update(value).finalize();
    hash[..16].iter().map(|b| format!("{b:02x}")).collect()
}

/// The other end, run inside a way in: a line for each variable that is set there.
pub fn probe(salt: &str, names: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for name in names {
        if let Some(value) = std::env::var_os(name) {
            writeln!(out, "{MARK}{name} {}", hash(salt, value.as_bytes()))?;
        }
    }
    writeln!(out, "{MARK}end")?;
    out.flush()
}

/// Whose way in is tried: the one named, else the first of the session's group, else the first person of the machine.
fn user(asked: &Asked) -> Result<User, String> {
    if let Some(name) = &asked.user {
        return User::from_name(name).ok().flatten().ok_or_else(|| format!("there is no user `{name}`"));
    }
    let group = {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(&asked.dir).map(|meta| Gid::from_raw(meta.gid())).ok()
    };
    let members =
        group.and_then(|gid| nix::unistd::Group::from_gid(gid).ok().flatten()).map_or(Vec::new(), |group| group.mem);
    let people = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let first_person = people.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?.parse::<u32>().ok()?);
        (1000..60000).contains(&id).then(|| name.to_owned())
    });
    let name = members.into_iter().next().or(first_person).unwrap_or_else(|| "root".into());
    User::from_name(&name).ok().flatten().ok_or_else(|| format!("there is no user `{name}`; say --user"))
}

struct Visit<'a> {
    asked: &'a Asked,
    user: &'a User,
    salt: &'a str,
    names: &'a [String],
}

type Probed = Result<BTreeMap<String, String>, String>;

impl Visit<'_> {
    fn ways(&self) -> Vec<(String, Probed)> {
        let name = self.user.name.as_str();
        let probe = self.probe();
        let line = probe.join(" ");
        let mut ways = Vec::new();
        let mut way = |shown: String, words: &[&str]| {
            let seen = self.go(words, PATIENCE);
            ways.push((shown, seen));
        };
        way(format!("su - {name} -c"), &["su", "-", name, "-c", &line]);
        way(format!("su {name} -c"), &["su", name, "-c", &line]);
        way(format!("sudo -u {name}"), &[&["sudo", "-n", "-u", name, "--"], &words(&probe)[..]].concat());
        way(format!("sudo -i -u {name}"), &[&["sudo", "-n", "-i", "-u", name, "--"], &words(&probe)[..]].concat());
        // As a program starts them that passes nothing on: what their start files say is all they have.
        for shell in ["bash -lc", "dash -lc", "zsh -c", "fish -c"] {
            let (program, flag) = shell.split_once(' ').unwrap_or((shell, "-c"));
            let bare = [
                "setpriv",
                "--reuid",
                name,
                "--init-groups",
                "--regid",
                name,
                "env",
                "-i",
                "PATH=/usr/bin:/bin",
                "HOME=/",
            ];
            way(shell.to_owned(), &[&bare[..], &[program, flag, &line]].concat());
        }
        let unit = format!("EnvironmentFile={}", self.asked.dir.join(Format::Env.file_name()).display());
        let run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect"];
        way("system service with EnvironmentFile=".into(), &[&run[..], &["-p", &unit], &words(&probe)[..]].concat());
        let machine = format!("--machine={name}@.host");
        way("user unit".into(), &[&run[..], &["--user", &machine], &words(&probe)[..]].concat());
        let dir = self.asked.dir.to_string_lossy();
        way(
            "keyfob-agent exec".into(),
            &[&[probe[0].as_str(), "exec", "--dir", &dir, "--"], &words(&probe)[..]].concat(),
        );
        for who in [name, "root"] {
            ways.push((format!("ssh {who}@... CMD"), self.by_ssh(who, &line)));
        }
        ways.push((
            "cron".into(),
            if self.asked.cron { self.by_cron(&line) } else { Err("--cron tries it, and takes a minute".into()) },
        ));
        ways
    }

    fn probe(&self) -> Vec<String> {
        let own = std::env::current_exe().unwrap_or_else(|_| "/usr/bin/keyfob-agent".into());
        let names = self.names.iter().filter(|name| Variable::parse(name).is_ok()).cloned();
        [own.to_string_lossy().into_owned(), "probe".into(), self.salt.into()].into_iter().chain(names).collect()
    }

    fn go(&self, words: &[&str], patience: Duration) -> Probed {
        if !geteuid().is_root() {
            return Err("only root can go in as somebody else".into());
        }
        let (program, arguments) = words.split_first().ok_or("no command")?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        let printed = output(&mut command, patience).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => format!("{program} is not installed"),
            _ => format!("{program}: {e}"),
        })?;
        read(&printed).ok_or_else(|| format!("{program} did not run the probe: {}", why(program, &printed)))
    }

    /// Through an ssh server of our own, which asks PAM as the real one does, with keys that are gone afterwards.
    fn by_ssh(&self, who: &str, line: &str) -> Probed {
        if !geteuid().is_root() {
            return Err("only root can go in as somebody else".into());
        }
        let server = Path::new("/usr/sbin/sshd");
        if !server.exists() {
            return Err("sshd is not installed".into());
        }
        let dir = Scratch::new().map_err(|e| e.to_string())?;
        let path = |name: &str| dir.0.join(name).to_string_lossy().into_owned();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key)).status();
            made.map_err(|e| format!("ssh-keygen: {e}"))?;
        }
        // sshd reads the public key as the user who comes in.
        fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o711)).map_err(|e| e.to_string())?;
        fs::set_permissions(path("user.pub"), fs::Permissions::from_mode(0o644)).map_err(|e| e.to_string())?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())?.port();
        fs::create_dir_all("/run/sshd").map_err(|e| e.to_string())?; // sshd's own, where it runs by socket
        let mut sshd = Command::new(server);
        sshd.args(["-D", "-e", "-f", "/dev/null", "-p", &port.to_string(), "-h", &path("host")]);
        let keys = format!("AuthorizedKeysFile={}", path("user.pub"));
        for option in
            ["ListenAddress=127.0.0.1", "UsePAM=yes", "PermitRootLogin=yes", "StrictModes=no", "PidFile=none", &keys]
        {
            sshd.args(["-o", option]);
        }
        let child = sshd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let _sshd = Ended(child.map_err(|e| format!("sshd: {e}"))?);
        let end = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end {
                return Err("sshd did not start".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let (port, key, to) = (port.to_string(), path("user"), format!("{who}@127.0.0.1"));
        let options = [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "IdentitiesOnly=yes",
        ];
        let mut words = vec!["ssh", "-F", "/dev/null", "-p", &port, "-i", &key];
        words.extend(options.iter().flat_map(|option| ["-o", option]));
        words.extend([to.as_str(), line]);
        self.go(&words, PATIENCE)
    }

    fn by_cron(&self, line: &str) -> Probed {
        let dir = Scratch::new().map_err(|e| e.to_string())?;
        let printed = dir.0.join("printed");
        // The user's process writes it, into a directory that only root lists.
        fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o711)).map_err(|e| e.to_string())?;
        fs::write(&printed, "").map_err(|e| e.to_string())?;
        nix::unistd::chown(&printed, Some(self.user.uid), None).map_err(|e| e.to_string())?;
        let table = Removed(PathBuf::from(format!("/etc/cron.d/keyfob-doctor-{}", &self.salt[..8])));
        let job = format!("* * * * * {} {line} > {}\n", self.user.name, printed.display());
        fs::write(&table.0, job).map_err(|e| format!("{}: {e}", table.0.display()))?;
        let end = Instant::now() + CRON;
        loop {
            if let Some(seen) = fs::read_to_string(&printed).ok().and_then(|text| read(&text)) {
                return Ok(seen);
            }
            if Instant::now() > end {
                return Err("cron did not run the probe within a minute".into());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn words(probe: &[String]) -> Vec<&str> {
    probe.iter().map(String::as_str).collect()
}

/// What a probe found, if it came to its end.
fn read(printed: &str) -> Option<BTreeMap<String, String>> {
    let mut lines = printed.lines().filter_map(|line| line.trim_end_matches('\r').strip_prefix(MARK));
    let mut found = BTreeMap::new();
    lines.find_map(|line| match line.split_once(' ') {
        Some((name, hash)) => {
            found.insert(name.to_owned(), hash.to_owned());
            None
        }
        None => Some(()),
    })?;
    Some(found)
}

/// Why a program did not let the probe run, in its own words. What else was said may be a start file's, and hold a value.
fn why<'a>(program: &str, printed: &'a str) -> &'a str {
    let own = |line: &&str| line.starts_with(&format!("{program}: ")) || line.contains("@127.0.0.1: ");
    printed.lines().rev().find(own).unwrap_or("it did not say why")
}

/// Both outputs of a command, which is ended when it takes too long.
fn output(command: &mut Command, patience: Duration) -> io::Result<String> {
    let scratch = Scratch::new()?;
    let path = scratch.0.join("printed");
    let file = fs::File::create(&path)?;
    let mut child = Ended(command.stdout(file.try_clone()?).stderr(file).spawn()?);
    let end = Instant::now() + patience;
    while child.0.try_wait()?.is_none() {
        if Instant::now() > end {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(String::from_utf8_lossy(&fs::read(&path)?).into_owned())
}

/// A directory of root's that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = PathBuf::from(format!("/run/keyfob-doctor-{:016x}", u64::from_le_bytes(random)));
        fs::create_dir(&path)?;
        let scratch = Self(path);
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o700))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_probe_said() {
        for (printed, names) in [
            ("keyfob-probe A 11\nkeyfob-probe end\n", Some(&["A"][..])),
            ("Last login: today\r\nkeyfob-probe A 11\r\nkeyfob-probe B 22\r\nkeyfob-probe end\r\n", Some(&["A", "B"])),
            ("keyfob-probe end\n", Some(&[])),
            ("keyfob-probe A 11\n", None), // cut short
            ("su: permission denied\n", None),
            ("", None),
        ] {
            let found = read(printed).map(|found| found.into_keys().collect::<Vec<_>>());
            assert_eq!(found, names.map(|n| n.iter().map(|n| n.to_string()).collect()), "{printed:?}");
        }
        for (program, printed, told) in [
            ("su", "su: Permission denied\nkeyfob-probe A 11\n\n", "su: Permission denied"),
            ("ssh", "dev@127.0.0.1: Permission denied (publickey).\n", "dev@127.0.0.1: Permission denied (publickey)."),
            ("su", "hello, hunter2\n", "it did not say why"),
            ("su", "", "it did not say why"),
        ] {
            assert_eq!(why(program, printed), told);
        }
    }

    #[test]
    fn a_table_of_ways() {
        let states = |pairs: &[(&str, State)]| Found::Seen(pairs.iter().map(|(n, s)| (n.to_string(), *s)).collect());
        let ways = [
            ("su - dev -c".to_owned(), states(&[("A", State::Set), ("B", State::Set)])),
            ("user unit".to_owned(), states(&[("A", State::Unset), ("B", State::Differs)])),
            ("zsh -c".to_owned(), Found::NotTried("zsh is not installed".into())),
        ];
        let expected = "WAY IN       SET        NOT SET, OR CHANGED ON THE WAY\n\
                        su - dev -c  2 of 2\n\
                        user unit    0 of 2     $A $B (differs)\n\
                        zsh -c       not tried  zsh is not installed\n";
        assert_eq!(as_table(&ways, 2), expected);
    }
}
