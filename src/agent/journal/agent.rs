//! The redactor's end of what it says to the agent. Root and the agent's user are heard, nobody else.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::socket::{MsgFlags, SockFlag, accept4, getsockopt, send, sockopt},
    unistd::User,
};

use super::{
    Tools,
    protocol::{LONGEST, Leak, State, ToAgent, ToRedactor},
};
use crate::domain::redaction::Redaction;

/// Whose process it has to be, beside root's.
const AGENT: &str = "keyfob-agent";
/// A session of 5,000 secrets has some megabytes of fingerprints.
const LARGEST: u64 = 64 * 1024 * 1024;
const CONNECTIONS: usize = 4;

/// Those who come to the socket.
#[derive(Debug)]
pub struct Agents {
    pub listener: OwnedFd,
    pub connected: Vec<OwnedFd>,
}

/// Fingerprints that can be used, and the memory that they came in.
pub struct Prints {
    pub redaction: Redaction,
    pub sealed: OwnedFd,
}

impl Agents {
    /// The next one, if it may.
    pub fn accept(&mut self, tools: &Tools) -> Option<&OwnedFd> {
        let number = accept4(self.listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK).ok()?;
        let connection = tools.receiver.adopt(number).ok()?;
        let uid = getsockopt(&connection, sockopt::PeerCredentials).ok()?.uid();
        let agent = || User::from_name(AGENT).ok().flatten().is_some_and(|user| user.uid.as_raw() == uid);
        if uid != 0 && !agent() {
            return None;
        }
        if self.connected.len() == CONNECTIONS {
            self.connected.remove(0);
        }
        self.connected.push(connection);
        self.connected.last()
    }

    /// One packet of connection `at`. `None`: there is none. `Some(None)`: the connection has ended, or said what it may not.
    pub fn receive(&self, at: usize, tools: &mut Tools) -> Option<Option<Prints>> {
        let connection = &self.connected[at];
        let mut buffer = [0; 1024];
        let message = match tools.receiver.receive(connection.as_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return None,
            Err(_) => return Some(None),
        };
        if message.length == 0 {
            return Some(None);
        }
        let given = match serde_json::from_slice(&buffer[..message.length]) {
            Ok(ToRedactor::Redaction {}) => read(message.descriptors),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        match given {
            Ok(prints) => Some(Some(prints)),
            Err(error) => {
                let _ = say(connection, &ToAgent::Error { message: error.to_string(), code: "invalid".into() });
                None
            }
        }
    }

    /// To all of them; who does not listen is let go of.
    pub fn say(&mut self, message: &ToAgent) {
        self.connected.retain(|connection| say(connection, message).is_ok());
    }

    pub fn state(&mut self, state: &State) {
        self.say(&ToAgent::State(state.clone()));
    }

    /// Tells whether somebody took them.
    pub fn leaks(&mut self, leaks: &[Leak]) -> bool {
        self.say(&ToAgent::Leaks(leaks.to_vec()));
        !self.connected.is_empty()
    }
}

pub fn say(connection: &impl AsRawFd, message: &ToAgent) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    if text.len() > LONGEST {
        return Err(io::Error::other("a message of more than a packet"));
    }
    send(connection.as_raw_fd(), &text, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

fn read(mut descriptors: Vec<OwnedFd>) -> io::Result<Prints> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (Some(sealed), true) = (descriptors.pop(), descriptors.is_empty()) else {
        return Err(invalid("one descriptor is expected"));
    };
    prints(sealed)
}

/// Nobody may be able to change them afterwards.
pub fn prints(sealed: OwnedFd) -> io::Result<Prints> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    if !SealFlag::from_bits_truncate(fcntl(&sealed, FcntlArg::F_GET_SEALS)?).contains(seals) {
        return Err(invalid("the fingerprints are not sealed".into()));
    }
    let file = File::from(sealed);
    let size = file.metadata()?.len();
    if size > LARGEST {
        return Err(invalid(format!("{size} bytes are no fingerprints")));
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, 0)?;
    let redaction = Redaction::decode(&bytes).map_err(|e| invalid(e.to_string()))?;
    Ok(Prints { redaction, sealed: file.into() })
}
