//! The agent's socket for the session's own processes: `exec` and `redact` tell what they masked, and `exec --with` asks for
//! secrets that are not installed by themselves.
//!
//! ```text
//! one packet = one JSON object, at most 64 KiB; SOCK_SEQPACKET
//!   {"leaks":[{"variable","version","form","unit","count"}]}   -> {"ok":{}}
//!   {"with":["NAME",...]}                                      -> {"ok":{"variables":[...],"files":[...]}} and descriptors:
//!                                                                 fingerprints; environ text; each of the files
//!                                                              -> {"error":{"message","code"}}
//! ```
//!
//! Whoever may connect is in the session's group, which can read the installed secrets anyway. Nothing they say is believed
//! beyond its form: counts may be wrong, names that are no names are dropped.
//!
//! The fingerprints for `with` are to be **those of the session and of the new secrets in one**: only then is a text in which
//! a value of the one overlaps one of the other masked as a whole.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::unistd::{Gid, chown};
use rustix::net::{SocketFlags, bind, connect, listen, sockopt};
use serde::{Deserialize, Serialize};
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{leaks::Leak, packet};
use crate::domain::{name::SecretName, variable::Variable};

/// How long one who has connected may say nothing, and how long an answer may take to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may take to be made: the control plane is asked for it.
const ANSWER: Duration = Duration::from_secs(60);
/// Connections at one time.
const MOST: usize = 32;
/// In one packet.
const MOST_LEAKS: usize = 1_000;
const MOST_NAMES: usize = 64;

/// Where the socket of the agent is whose runtime directory is `dir`: beside it, as `/run/keyfob-agent/socket` is beside
/// `/run/keyfob`, which the session can read but for which no socket is meant.
pub fn path(dir: &Path) -> PathBuf {
    let mut beside = dir.as_os_str().to_owned();
    beside.push("-agent");
    PathBuf::from(beside).join("socket")
}

/// What is asked of the agent.
#[derive(Debug)]
pub enum Request {
    /// Counts, which are added up.
    Leaks(Vec<Leak>),
    /// Secrets by their names.
    With { names: Vec<SecretName>, peer: Peer, reply: oneshot::Sender<Result<With, Refused>> },
}

/// Who asks, as the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    pub pid: i32,
}

/// What one command gets.
#[derive(Debug)]
pub struct With {
    pub variables: Vec<String>,
    pub lent: Lent,
    /// A [`crate::domain::redaction::Redaction`] of the session's values and these.
    pub redaction: OwnedFd,
}

/// Values for one command, in files that have no names.
#[derive(Debug)]
pub struct Lent {
    /// In the format of [`crate::domain::environ`].
    pub environ: OwnedFd,
    /// What is delivered as a file, by variable.
    pub files: Vec<(String, OwnedFd)>,
}

impl Lent {
    /// The files' variables.
    pub fn names(&self) -> Vec<String> {
        self.files.iter().map(|(variable, _)| variable.clone()).collect()
    }

    /// In the order of [`Self::of`].
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.environ].into_iter().chain(self.files.iter().map(|(_, file)| file)).map(AsFd::as_fd)
    }

    /// Of as many descriptors as belong to it.
    pub fn of(names: Vec<String>, mut descriptors: impl Iterator<Item = OwnedFd>) -> Option<Self> {
        let environ = descriptors.next()?;
        let files = names.into_iter().map(|name| Some((name, descriptors.next()?))).collect::<Option<_>>()?;
        descriptors.next().is_none().then_some(Self { environ, files })
    }
}

/// Why there is nothing. Names the secret and the next step; holds no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub message: String,
    pub code: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    Leaks(Vec<Leak>),
    With(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        variables: Vec<String>,
        /// Those of them whose values come as files.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<String>,
    },
    Error(Refused),
}

/// Binds the socket (what an earlier process left there is replaced) and gives what serves it, until it is dropped.
/// Requests go to `sender`. In a runtime of tokio's.
pub fn serve(
    path: &Path,
    group: Option<Gid>,
    sender: mpsc::Sender<Request>,
) -> io::Result<impl Future<Output = ()> + use<>> {
    let (socket, address) = packet::socket(path, SocketFlags::NONBLOCK)?;
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    bind(&socket, &address)?;
    // Nobody comes in before it listens, so none by the mode that the umask has left it.
    open_to(path, group)?;
    listen(&socket, MOST as i32)?;
    // A listener's type; that each connection keeps packets apart is known to `packet` alone.
    Ok(accept(UnixListener::from_std(socket.into())?, sender))
}

/// Lets root and a group connect to a socket of ours, and nobody else.
pub fn open_to(path: &Path, group: Option<Gid>) -> io::Result<()> {
    let has = fs::metadata(path)?.gid();
    if let Some(group) = group.filter(|group| group.as_raw() != has) {
        chown(path, None, Some(group))?; // not without need: the unit may not
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
}

async fn accept(socket: UnixListener, sender: mpsc::Sender<Request>) {
    let slots = Arc::new(Semaphore::new(MOST));
    let mut served = tokio::task::JoinSet::new();
    loop {
        while served.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match socket.accept().await {
            Ok((connection, _)) => {
                let sender = sender.clone();
                served.spawn(async move {
                    if let Err(error) = converse(connection, sender).await {
                        tracing::debug!(%error, "a process of the session");
                    }
                    drop(slot);
                });
            }
            // One that went away again, or no descriptors left, which passes.
            Err(error) => {
                tracing::debug!(%error, "accepting a process of the session");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn converse(connection: UnixStream, sender: mpsc::Sender<Request>) -> io::Result<()> {
    let cred = sockopt::socket_peercred(&connection)?;
    let peer = Peer { uid: cred.uid.as_raw(), pid: cred.pid.as_raw_nonzero().get() };
    loop {
        let read = connection.async_io(Interest::READABLE, || packet::receive::<Asked>(&connection));
        let (answer, with) = match timeout(PATIENCE, read).await?? {
            None => return Ok(()),
            Some((Asked::Leaks(leaks), _)) => {
                let leaks = leaks.into_iter().take(MOST_LEAKS).filter(is_plausible).collect();
                let _ = sender.send(Request::Leaks(leaks)).await; // whose end is the agent's
                (Answer::Ok { variables: Vec::new(), files: Vec::new() }, None)
            }
            Some((Asked::With(names), _)) => match ask(names, peer, &sender).await {
                Ok(With { variables, lent, redaction }) => {
                    (Answer::Ok { variables, files: lent.names() }, Some((redaction, lent)))
                }
                Err(refused) => (Answer::Error(refused), None),
            },
        };
        let descriptors =
            with.iter().flat_map(|(redaction, lent)| [redaction.as_fd()].into_iter().chain(lent.descriptors()));
        let descriptors: Vec<_> = descriptors.collect();
        let write = connection.async_io(Interest::WRITABLE, || packet::send(&connection, &answer, &descriptors));
        timeout(PATIENCE, write).await??;
    }
}

async fn ask(names: Vec<String>, peer: Peer, sender: &mpsc::Sender<Request>) -> Result<With, Refused> {
    let refused = |code: &str, message: &str| Refused { code: code.into(), message: message.into() };
    if names.is_empty() || names.len() > MOST_NAMES {
        return Err(refused("invalid", "from 1 to 64 secrets can be asked for at once"));
    }
    let names: Result<Vec<_>, _> = names.iter().map(|name| SecretName::parse(name)).collect();
    let names = names.map_err(|_| refused("invalid", "what was asked for is no name of a secret"))?;
    let (reply, answer) = oneshot::channel();
    let gone = || refused("unavailable", "the agent is stopping");
    sender.send(Request::With { names, peer, reply }).await.map_err(|_| gone())?;
    match timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(|_| gone())?,
        Err(_) => Err(refused("unavailable", "the control plane took too long to answer; try again")),
    }
}

/// Whether it has the form of a leak: what is passed on ends in reports and lists.
fn is_plausible(leak: &Leak) -> bool {
    let is_word =
        |text: &str, longest| text.len() <= longest && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    Variable::parse(&leak.variable).is_ok()
        && is_word(&leak.version, 64)
        && is_word(&leak.form, 32)
        && is_word(&leak.unit, 256)
        && leak.count > 0
}

/// Tells leaks, without waiting for anything. An error is that it was not told.
pub fn tell(socket: &Path, leaks: &[Leak]) -> io::Result<()> {
    let (socket, address) = packet::socket(socket, SocketFlags::NONBLOCK)?;
    connect(&socket, &address)?;
    packet::send(&socket, &Asked::Leaks(leaks.to_vec()), &[])
}

/// Asks for secrets, and waits for the answer.
pub fn with(socket: &Path, names: &[String]) -> Result<With, String> {
    let failed =
        |e: io::Error| format!("{}: {e}; is the agent running? systemctl status keyfob-agent", socket.display());
    let (connection, address) = packet::socket(socket, SocketFlags::empty()).map_err(failed)?;
    let patience = Some(ANSWER + PATIENCE);
    sockopt::set_socket_timeout(&connection, sockopt::Timeout::Recv, patience).map_err(|e| failed(e.into()))?;
    connect(&connection, &address).map_err(|e| failed(e.into()))?;
    packet::send(&connection, &Asked::With(names.to_vec()), &[]).map_err(failed)?;
    let gone = || failed(io::Error::other("it did not answer"));
    match packet::receive::<Answer>(&connection).map_err(failed)?.ok_or_else(gone)? {
        (Answer::Ok { variables, files }, descriptors) => {
            let mut descriptors = descriptors.into_iter();
            let redaction = descriptors.next();
            let (redaction, lent) = redaction
                .zip(Lent::of(files, descriptors))
                .ok_or_else(|| failed(io::Error::other("its answer has not the descriptors that belong to it")))?;
            Ok(With { variables, lent, redaction })
        }
        (Answer::Error(refused), _) => Err(refused.message),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Seek, Write},
    };

    use super::*;

    fn leak(variable: &str, unit: &str) -> Leak {
        let text = str::to_owned;
        Leak { variable: text(variable), version: text("v1"), form: text("raw"), unit: text(unit), count: 2 }
    }

    /// A socket in a directory, served; what is asked there.
    fn served(dir: &Path) -> (PathBuf, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(8);
        let path = dir.join("socket");
        tokio::spawn(serve(&path, Some(nix::unistd::getgid()), sender).unwrap());
        (path, receiver)
    }

    fn file(content: &[u8]) -> OwnedFd {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.into()
    }

    fn content(fd: OwnedFd) -> String {
        let (mut file, mut text) = (File::from(fd), String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn where_it_is() {
        assert_eq!(path(Path::new("/run/keyfob")), Path::new("/run/keyfob-agent/socket"));
    }

    #[tokio::test]
    async fn leaks_are_told_to_an_agent_that_answers_later_or_never() {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut asked) = served(dir.path());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let told = [leak("A", "exec"), leak("no name", "exec"), leak("B", "exec/x\ny"), leak("C", "redact")];
        tell(&path, &told).unwrap();
        let Some(Request::Leaks(leaks)) = asked.recv().await else { panic!("not leaks") };
        assert_eq!(leaks, [leak("A", "exec"), leak("C", "redact")]);
        assert!(tell(&dir.path().join("nobody"), &told).is_err());
    }

    #[tokio::test]
    async fn secrets_for_one_command() {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut asked) = served(dir.path());
        let answering = tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(Request::With { names, peer, reply }) = asked.recv().await {
                seen.push((names.iter().map(ToString::to_string).collect::<Vec<_>>(), peer));
                let answer = match names[0].as_str() {
                    "deploy-key" => Ok(With {
                        variables: vec!["DEPLOY_KEY".into(), "CERT".into()],
                        lent: Lent {
                            environ: file(b"DEPLOY_KEY=x\0"),
                            files: vec![("CERT".into(), file(b"a certificate"))],
                        },
                        redaction: file(b"fingerprints"),
                    }),
                    name => Err(Refused { message: format!("there is no secret {name}"), code: "none".into() }),
                };
                reply.send(answer).unwrap();
            }
            seen
        });
        let ask = async |names: &[&str]| {
            let (path, names): (_, Vec<String>) = (path.clone(), names.iter().map(ToString::to_string).collect());
            tokio::task::spawn_blocking(move || with(&path, &names)).await.unwrap()
        };
        let got = ask(&["deploy-key"]).await.unwrap();
        assert_eq!(
            (got.variables.as_slice(), got.lent.names()),
            (&["DEPLOY_KEY".into(), "CERT".into()][..], vec!["CERT".into()])
        );
        let Lent { environ, files } = got.lent;
        let files: Vec<_> = files.into_iter().map(|(_, file)| content(file)).collect();
        assert_eq!((content(environ), content(got.redaction)), ("DEPLOY_KEY=x\0".into(), "fingerprints".into()));
        assert_eq!(files, ["a certificate"]);
        for (names, said) in [
            (&["other"][..], "there is no secret other"),
            (&["hunter2 hunter2"], "what was asked for is no name of a secret"),
            (&[], "from 1 to 64 secrets can be asked for at once"),
        ] {
            assert_eq!(ask(names).await.unwrap_err(), said);
        }
        let nobody = with(&dir.path().join("nobody"), &["deploy-key".into()]).unwrap_err();
        assert!(nobody.contains("systemctl status keyfob-agent"), "{nobody}");
        fs::remove_file(&path).unwrap();
        answering.abort();
    }

    /// None of these keeps others from being served.
    #[tokio::test]
    async fn those_who_say_nonsense_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut asked) = served(dir.path());
        let connected = || {
            let (socket, address) = packet::socket(&path, SocketFlags::empty()).unwrap();
            connect(&socket, &address).unwrap();
            socket
        };
        let _silent = connected();
        for nonsense in ["{}", "[]", "{\"leaks\":1}", "hunter2"] {
            rustix::net::send(connected(), nonsense.as_bytes(), rustix::net::SendFlags::NOSIGNAL).unwrap();
        }
        let long = vec![b'['; packet::LONGEST + 1];
        rustix::net::send(connected(), &long, rustix::net::SendFlags::NOSIGNAL).unwrap();
        tell(&path, &[leak("A", "exec")]).unwrap();
        assert!(matches!(asked.recv().await, Some(Request::Leaks(leaks)) if leaks.len() == 1));
    }
}
