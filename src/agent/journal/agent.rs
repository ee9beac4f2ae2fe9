//! The redactor's end of what it says to the agent. Root and the agent's user are heard, nobody else.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
};

use nix::{
    sys::socket::{getsockopt, sockopt},
    unistd::User,
};
use rustix::net::{SocketFlags, accept_with};

use super::protocol::{ToAgent, ToRedactor};
use crate::{
    agent::{leaks::Leak, memfd, packet},
    domain::redaction::Redaction,
};

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
    pub fn accept(&mut self) -> Option<&OwnedFd> {
        let connection = accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).ok()?;
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
    pub fn receive(&self, at: usize) -> Option<Option<Prints>> {
        let connection = &self.connected[at];
        let given = match packet::receive(connection) {
            Ok(Some((ToRedactor::Redaction {}, descriptors))) => read(descriptors),
            Ok(None) => return Some(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return None;
            }
            Err(error) => Err(error),
        };
        match given {
            Ok(prints) => Some(Some(prints)),
            Err(error) => {
                let refused = ToAgent::Error { message: error.to_string(), code: "invalid".into() };
                packet::send(connection, &refused, &[]).is_err().then_some(None)
            }
        }
    }

    /// To all of them; who does not listen is let go of.
    pub fn say(&mut self, message: &ToAgent) {
        self.connected.retain(|connection| packet::send(connection, message, &[]).is_ok());
    }

    /// Tells whether somebody took them.
    pub fn leaks(&mut self, leaks: Vec<Leak>) -> bool {
        self.say(&ToAgent::Leaks(leaks));
        !self.connected.is_empty()
    }
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
    if !memfd::is_sealed(&sealed) {
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
