//! One client of the stdout socket: a header of seven lines, then what the program prints.
//!
//! ```text
//! identifier | unit | priority | prefixes? | to syslog? | to kmsg? | to console?
//! ```
//!
//! Each client has an upstream of its own. What was read is taken out of the client's socket only when it has gone up whole;
//! until then it was peeked at. So a process that dies between two system calls loses nothing, and the next one repeats
//! at the most what was sent and not yet taken: one piece of one client. A line that has no end yet stays in the socket, for a
//! moment; then it is read, and what the engine makes of it is kept in memory until the line's end: journald ends a line where the
//! sender changes, and who wrote its first half may be gone when the second comes.
//!
//! Journald believes the header's unit of clients that are root. It will see root in any case, so it is blanked for all others.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, Shutdown, getsockopt, recv, setsockopt, shutdown, sockopt},
};

use super::{
    Tools,
    credentials::{Origin, Sender, is_forked_by_init, unit_in},
};
use crate::domain::redaction::{self, Mode};

const HEADER_LINES: usize = 7;
/// A header is a name, a unit and five numbers.
const LONGEST_HEADER: usize = 4096;
/// Small enough that the kernel takes what comes of it as one.
pub const PIECE: usize = 16 * 1024;
/// How long a line may be without its end before it is read all the same: a writer of single bytes would wait for us, once
/// its buffer holds no more of them. That is some 250 where it has the kernel's default size.
const UNFINISHED: Duration = Duration::from_millis(20);
/// With fewer bytes nobody waits, or hardly anybody.
const FEW: usize = 100;
const FEW_UNFINISHED: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(50);

/// What a client's turn came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing to do until it writes.
    Idle,
    /// Nothing to do until upstream takes more.
    Blocked,
    /// To be asked again then, if nothing happens before.
    At(Instant),
    /// There is more, but others come first.
    More,
    /// It has a new upstream, which is to be watched and kept; then [`Connection::kept`].
    Connected,
    Over,
}

#[derive(Debug)]
pub struct Connection {
    pub client: OwnedFd,
    pub upstream: Option<OwnedFd>,
    /// As it was sent up.
    header: Vec<u8>,
    /// The client's own header, while it stands in its socket.
    untaken: usize,
    hash: u64,
    /// Who connected.
    peer: Sender,
    /// Who wrote last, and where that process was then.
    writer: Sender,
    cgroup: Option<String>,
    /// Where the one who connected was: it is its child's too, which wrote a line and was gone before it was looked for.
    home: Option<String>,
    /// It was PID 1's fork that connected, so the header is systemd's own word.
    forked: bool,
    /// It has printed something.
    begun: bool,
    engine: Option<(u64, redaction::Stream)>,
    /// What has come out of the engine of a line that has no end yet.
    line: Vec<u8>,
    pending: Option<Pending>,
    unfinished: Option<Instant>,
    /// The client has closed its end.
    pub ended: bool,
}

#[derive(Debug)]
struct Pending {
    bytes: Vec<u8>,
    sent: usize,
    writer: Sender,
    /// How much of the client's socket it was.
    take: usize,
}

impl Connection {
    pub fn accepted(client: OwnedFd, tools: &mut Tools) -> nix::Result<Self> {
        setsockopt(&client, sockopt::PassCred, &true)?;
        shutdown(client.as_raw_fd(), Shutdown::Write)?;
        let peer: Sender = getsockopt(&client, sockopt::PeerCredentials)?.into();
        tools.seen.note(peer.pid);
        Ok(Self {
            client,
            upstream: None,
            header: Vec::new(),
            untaken: 0,
            hash: 0,
            peer,
            writer: peer,
            cgroup: tools.seen.of(peer.pid).map(str::to_owned),
            home: None,
            forked: is_forked_by_init(peer.pid),
            begun: false,
            engine: None,
            line: Vec::new(),
            pending: None,
            unfinished: None,
            ended: false,
        })
    }

    /// What another process of ours has left, with what it knew of it.
    pub fn restored(client: OwnedFd, upstream: OwnedFd, known: &[u8], tools: &mut Tools) -> Option<Self> {
        let mut connection = Self::accepted(client, tools).ok()?;
        let (untaken, known) = known.split_first_chunk::<8>()?;
        let (hash, header) = known.split_first_chunk::<8>()?;
        let untaken = usize::try_from(u64::from_be_bytes(*untaken)).ok().filter(|n| *n <= LONGEST_HEADER)?;
        connection.hash = u64::from_be_bytes(*hash);
        connection.header = header.to_vec();
        connection.upstream = Some(upstream);
        // Sent up, but was it taken? The same bytes again are the header.
        let peeked = recv(
            connection.client.as_raw_fd(),
            &mut tools.buffer[..untaken],
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        );
        if peeked == Ok(untaken) && hash_of(&tools.buffer[..untaken]) == connection.hash {
            connection.take(untaken, tools);
        }
        Some(connection)
    }

    /// Its header has gone up.
    pub fn is_underway(&self) -> bool {
        self.untaken == 0
    }

    /// For [`Self::restored`].
    pub fn known(&self) -> Vec<u8> {
        [&(self.untaken as u64).to_be_bytes()[..], &self.hash.to_be_bytes(), &self.header].concat()
    }

    /// The new upstream is kept: now what was sent there may go.
    pub fn kept(&mut self, tools: &mut Tools) {
        let sent = std::mem::take(&mut self.untaken);
        self.take(sent, tools);
    }

    /// Moves a piece on.
    pub fn turn(&mut self, tools: &mut Tools, connect: &dyn Fn() -> nix::Result<OwnedFd>) -> Turn {
        if self.pending.is_some() {
            match self.flush(tools, connect) {
                Turn::More => {}
                other => return other,
            }
        }
        let peeked = tools.receiver.receive(self.client.as_fd(), &mut tools.buffer[..PIECE], MsgFlags::MSG_PEEK);
        let (length, sender) = match peeked {
            Ok(message) if message.sender.pid == 0 => (message.length, self.writer),
            Ok(message) => (message.length, message.sender),
            Err(Errno::EAGAIN) => return Turn::Idle,
            Err(Errno::EINTR) => return Turn::More,
            Err(_) => (0, self.writer), // it went without a word
        };
        let turn = if self.upstream.is_none() {
            self.begin(length, tools, connect)
        } else if length == 0 {
            self.finish(tools, connect)
        } else {
            self.forward(length, sender, tools, connect)
        };
        tools.buffer[..length].fill(0);
        turn
    }

    /// The header, once it is whole.
    fn begin(&mut self, length: usize, tools: &mut Tools, connect: &dyn Fn() -> nix::Result<OwnedFd>) -> Turn {
        let seen = &tools.buffer[..length];
        let Some(end) = end_of_header(seen) else {
            return if length == 0 || length > LONGEST_HEADER || self.ended { Turn::Over } else { Turn::Idle };
        };
        if end > LONGEST_HEADER {
            return Turn::Over;
        }
        (self.untaken, self.hash) = (end, hash_of(&seen[..end]));
        let header = seen[..end].to_vec();
        let mut masked = Vec::with_capacity(end);
        tools.mask(&header, &mut masked);
        let unit = std::str::from_utf8(unit_line(&header)).unwrap_or_default();
        if self.forked && unit_in(unit) == unit && !unit.is_empty() {
            self.home = Some(format!("/system.slice/{unit}")); // until we know better
        }
        self.counted(tools);
        // Masks have no line ends, so the lines are as many as before.
        self.header = without_unit_unless_root(&masked, self.peer.uid);
        self.connect(tools, connect)
    }

    fn connect(&mut self, tools: &mut Tools, connect: &dyn Fn() -> nix::Result<OwnedFd>) -> Turn {
        let upstream = match connect() {
            Ok(upstream) => upstream,
            Err(_) => return Turn::At(Instant::now() + AGAIN), // journald is being started
        };
        let _ = shutdown(upstream.as_raw_fd(), Shutdown::Read);
        match tools.stand_ins.send(upstream.as_fd(), &self.header, None, self.peer, self.origin()) {
            Ok(sent) if sent == self.header.len() => {
                self.upstream = Some(upstream);
                Turn::Connected
            }
            _ => Turn::At(Instant::now() + AGAIN),
        }
    }

    /// What the client has printed: whole lines, or what can't wait.
    fn forward(
        &mut self,
        length: usize,
        writer: Sender,
        tools: &mut Tools,
        connect: &dyn Fn() -> nix::Result<OwnedFd>,
    ) -> Turn {
        if writer.pid != self.writer.pid && self.holds() {
            // Journald ends a line where another process goes on with it.
            return self.flush_engine(tools, connect);
        }
        let seen = &tools.buffer[..length];
        let whole = seen.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let take = if whole > 0 {
            whole
        } else {
            let behind = || rustix::io::ioctl_fionread(&self.client).is_ok_and(|all| all > length as u64);
            let since = *self.unfinished.get_or_insert_with(Instant::now);
            let patience = if length < FEW { FEW_UNFINISHED } else { UNFINISHED };
            if length < PIECE && !self.ended && since.elapsed() < patience && !behind() {
                return Turn::At(since + patience);
            }
            length
        };
        self.unfinished = None;
        if !self.begun || writer.pid != self.writer.pid {
            tools.seen.note_anew(writer.pid);
            self.cgroup = tools.seen.of(writer.pid).map(str::to_owned);
            if writer.pid != self.peer.pid {
                tools.seen.note(self.peer.pid);
            }
            self.home = tools.seen.of(self.peer.pid).map(str::to_owned).or(self.home.take());
            self.begun = true;
        }
        self.writer = writer;
        let mut bytes = self.line_so_far(&mut tools.out);
        match tools.redactor.clone() {
            None => bytes.extend_from_slice(&seen[..take]),
            Some(redactor) => {
                let generation = tools.generation;
                if self.engine.as_ref().is_none_or(|(of, stream)| *of != generation && !stream.holds()) {
                    self.engine = Some((generation, Arc::clone(&redactor).stream(Mode::Lines)));
                }
                if let Some((_, stream)) = &mut self.engine {
                    stream.push(&seen[..take], &mut bytes, &mut tools.hits);
                }
            }
        }
        self.counted(tools);
        if whole == 0 && !self.ended && bytes.len() < PIECE {
            self.line = bytes;
            self.take(take, tools);
            return Turn::More;
        }
        self.pending = Some(Pending { bytes, sent: 0, writer, take });
        self.flush(tools, connect)
    }

    fn line_so_far(&mut self, spare: &mut Vec<u8>) -> Vec<u8> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() { std::mem::take(spare) } else { line }
    }

    fn origin(&self) -> Origin<'_> {
        Origin { cgroup: self.cgroup.as_deref().or(self.home.as_deref()), unit: unit_line(&self.header) }
    }

    fn holds(&self) -> bool {
        !self.line.is_empty() || self.engine.as_ref().is_some_and(|(_, stream)| stream.holds())
    }

    /// What is undecided goes up as it is decided now.
    fn flush_engine(&mut self, tools: &mut Tools, connect: &dyn Fn() -> nix::Result<OwnedFd>) -> Turn {
        let mut bytes = self.line_so_far(&mut tools.out);
        if let Some((_, mut stream)) = self.engine.take() {
            stream.finish(&mut bytes, &mut tools.hits);
        }
        self.counted(tools);
        self.pending = Some(Pending { bytes, sent: 0, writer: self.writer, take: 0 });
        self.flush(tools, connect)
    }

    /// This process ends in an orderly way: what has come of a line goes up, but for what may be the beginning of a value.
    pub fn last_words(&mut self, tools: &mut Tools, connect: &dyn Fn() -> nix::Result<OwnedFd>) {
        if self.pending.is_none() && self.holds() {
            let mut bytes = self.line_so_far(&mut tools.out);
            if let Some((_, stream)) = &mut self.engine {
                stream.idle(&mut bytes, &mut tools.hits);
            }
            self.counted(tools);
            self.pending = Some(Pending { bytes, sent: 0, writer: self.writer, take: 0 });
        }
        self.flush(tools, connect);
    }

    fn finish(&mut self, tools: &mut Tools, connect: &dyn Fn() -> nix::Result<OwnedFd>) -> Turn {
        if !self.holds() {
            return Turn::Over;
        }
        self.flush_engine(tools, connect)
    }

    /// Sends what is pending; once it has gone, takes it out of the client's socket.
    fn flush(&mut self, tools: &mut Tools, connect: &dyn Fn() -> nix::Result<OwnedFd>) -> Turn {
        let origin = Origin { cgroup: self.cgroup.as_deref().or(self.home.as_deref()), unit: unit_line(&self.header) };
        let (Some(pending), Some(upstream)) = (&mut self.pending, &self.upstream) else { return Turn::More };
        while pending.sent < pending.bytes.len() {
            let rest = &pending.bytes[pending.sent..];
            let rest = &rest[..rest.len().min(2 * PIECE)];
            match tools.stand_ins.send(upstream.as_fd(), rest, None, pending.writer, origin) {
                Ok(sent) => pending.sent += sent,
                Err(Errno::EAGAIN) => return Turn::Blocked,
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => return self.connect(tools, connect), // journald let go of it
                Err(error) => {
                    tools.lost(error);
                    pending.sent = pending.bytes.len();
                }
            }
        }
        let Some(Pending { mut bytes, take, .. }) = self.pending.take() else { return Turn::More };
        bytes.clear();
        tools.out = bytes;
        self.take(take, tools);
        Turn::More
    }

    fn take(&self, mut bytes: usize, tools: &mut Tools) {
        while bytes > 0 {
            let most = bytes.min(tools.buffer.len());
            match recv(self.client.as_raw_fd(), &mut tools.buffer[..most], MsgFlags::MSG_DONTWAIT) {
                Ok(0) => break,
                Ok(taken) => {
                    tools.buffer[..taken].fill(0);
                    bytes -= taken;
                }
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
    }

    fn counted(&self, tools: &mut Tools) {
        if !tools.hits.is_empty() {
            let unit = match self.origin().cgroup.map(unit_in) {
                None | Some("") => String::from_utf8_lossy(unit_line(&self.header)).into_owned(),
                Some(unit) => unit.to_owned(),
            };
            tools.count(&unit);
        }
    }
}

fn hash_of(header: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    header.hash(&mut hasher);
    hasher.finish()
}

fn end_of_header(seen: &[u8]) -> Option<usize> {
    seen.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(HEADER_LINES - 1).map(|(at, _)| at + 1)
}

fn unit_line(header: &[u8]) -> &[u8] {
    header.split(|b| *b == b'\n').nth(1).unwrap_or_default()
}

fn without_unit_unless_root(header: &[u8], uid: u32) -> Vec<u8> {
    if uid == 0 {
        return header.to_vec();
    }
    let mut lines = header.splitn(3, |b| *b == b'\n');
    let (identifier, _unit, rest) = (lines.next().unwrap_or_default(), lines.next(), lines.next().unwrap_or_default());
    [identifier, b"\n\n", rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_says_its_unit() {
        let header = b"me\nssh.service\n6\n1\n0\n0\n0\n";
        for (uid, expected) in [(0, &header[..]), (1000, b"me\n\n6\n1\n0\n0\n0\n"), (65534, b"me\n\n6\n1\n0\n0\n0\n")] {
            assert_eq!(without_unit_unless_root(header, uid), expected, "{uid}");
        }
        assert_eq!(without_unit_unless_root(b"\n\n\n\n\n\n\n", 1), b"\n\n\n\n\n\n\n");
        assert_eq!(unit_line(header), b"ssh.service");
        for (seen, end) in [(&b""[..], None), (b"a\nb\n6\n0\n0\n0\n", None), (b"a\n\n6\n0\n0\n0\n0\nline", Some(13))] {
            assert_eq!(end_of_header(seen), end);
        }
    }
}
