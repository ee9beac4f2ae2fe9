//! The two sockets of datagrams: each is one queue from all who log to journald, in the order in which they came. A message is
//! peeked at, sent up, and then taken: a process that dies in between repeats one message and loses none.
//!
//! While journald takes nothing, nothing is taken here: the queue fills up and who logs waits, as it would for journald.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{MsgFlags, recv},
        statfs::{TMPFS_MAGIC, fstatfs},
    },
};

use super::{
    Tools,
    credentials::{Origin, Sender, unit_in},
    datagram,
    sockets::Door,
};
use crate::agent::memfd;

/// Of the memory that a large entry goes on in.
const NAME: &str = "keyfob-redact";
/// What is larger is not read, and so not passed on: a note stands in its place.
pub const LARGEST: usize = 16 * 1024 * 1024;
/// What is kept for the next message.
const USUAL: usize = 256 * 1024;
/// A queue's turn: short, because whoever comes in the meantime may be gone before it is looked at.
const TURN: usize = 8;
const AGAIN: Duration = Duration::from_millis(50);
/// A syslog message can't be sent in another way than whole.
const CUT: usize = 64 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    Idle,
    Blocked,
    At(Instant),
    More,
    /// There is a new upstream, to be watched.
    Connected,
}

#[derive(Debug)]
pub struct Datagrams {
    pub door: Door,
    pub socket: OwnedFd,
    pub upstream: Option<OwnedFd>,
}

enum Body {
    /// As it came, or as it was rewritten into `tools.out`.
    Same,
    Rewritten,
    /// A descriptor's contents, sealed.
    File(OwnedFd),
    /// Ignored by journald, so by us.
    Nothing,
}

impl Datagrams {
    pub fn new(door: Door, socket: OwnedFd) -> Self {
        Self { door, socket, upstream: None }
    }

    pub fn turn(&mut self, tools: &mut Tools, connect: &dyn Fn() -> nix::Result<OwnedFd>) -> Turn {
        if self.upstream.is_none() {
            return match connect() {
                Ok(upstream) => {
                    self.upstream = Some(upstream);
                    Turn::Connected
                }
                Err(_) => Turn::At(Instant::now() + AGAIN), // journald is being started
            };
        }
        for _ in 0..TURN {
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
            let message = match tools.receiver.receive(self.socket.as_fd(), &mut tools.buffer, flags) {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Turn::Idle,
                Err(_) => return Turn::More,
            };
            if message.length > tools.buffer.len() && message.length <= LARGEST {
                tools.buffer.resize(message.length, 0);
                continue;
            }
            let sent = self.forward(&message.descriptors, message.length, message.sender, tools);
            let used = message.length.min(tools.buffer.len());
            tools.buffer[..used].fill(0);
            tools.buffer.truncate(tools.buffer.len().min(USUAL));
            tools.out.clear();
            tools.out.shrink_to(USUAL);
            match sent {
                Err(Errno::EAGAIN) => return Turn::Blocked,
                Err(Errno::EINTR) => continue,
                Err(Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ENOTCONN | Errno::EPIPE) => {
                    self.upstream = None; // bound anew
                    return Turn::More;
                }
                Err(error) => tools.lost(error),
                Ok(()) => tools.seen.note(message.sender.pid),
            }
            let _ = recv(self.socket.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC);
        }
        Turn::More
    }

    fn forward(&self, descriptors: &[OwnedFd], length: usize, sender: Sender, tools: &mut Tools) -> nix::Result<()> {
        let Some(upstream) = &self.upstream else { return Err(Errno::ENOTCONN) };
        let body = match (descriptors, length) {
            (_, large) if large > tools.buffer.len() => self.refused(large, tools),
            ([], _) => self.redacted(length, sender, tools),
            ([one], 0) if self.door == Door::Native => file(one, sender, tools).unwrap_or_else(|e| {
                tools.lost(e.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
                self.refused(0, tools)
            }),
            _ => Body::Nothing,
        };
        let sealed;
        let (bytes, descriptor): (&[u8], Option<BorrowedFd<'_>>) = match &body {
            Body::Nothing => return Ok(()),
            Body::Same => (&tools.buffer[..length], None),
            Body::Rewritten => (&tools.out, None),
            Body::File(file) => (&[], Some(file.as_fd())),
        };
        let stand_ins = &mut tools.stand_ins;
        let origin = Origin { cgroup: tools.seen.of(sender.pid), unit: b"" };
        match stand_ins.send(upstream.as_fd(), bytes, descriptor, sender, origin) {
            Err(Errno::EMSGSIZE) if self.door == Door::Native => {
                sealed = memfd::sealed(NAME, bytes).map_err(|_| Errno::EIO)?;
                stand_ins.send(upstream.as_fd(), &[], Some(sealed.as_fd()), sender, origin).map(drop)
            }
            Err(Errno::EMSGSIZE) => {
                stand_ins.send(upstream.as_fd(), &bytes[..bytes.len().min(CUT)], None, sender, origin).map(drop)
            }
            sent => sent.map(drop),
        }
    }

    fn redacted(&self, length: usize, sender: Sender, tools: &mut Tools) -> Body {
        let Some(redactor) = tools.redactor.clone() else { return Body::Same };
        let message = &tools.buffer[..length];
        // Most messages hold nothing. Fields are contiguous, so what is not in the whole is in none of them; unless there are
        // a terminal's escapes, which could hide a field's beginning from one who doesn't know where it begins.
        redactor.redact(message, &mut tools.out, &mut tools.hits);
        if tools.hits.is_empty() && (self.door == Door::Syslog || !message.contains(&0x1b)) {
            return Body::Same;
        }
        if self.door == Door::Native {
            tools.hits.drain().for_each(drop);
            tools.out.clear();
            let hits = &mut tools.hits;
            datagram::native(message, &mut |value, out| redactor.redact(value, out, hits), &mut tools.out);
        }
        tools.count_of(sender);
        Body::Rewritten
    }

    /// Instead of what can't be read.
    fn refused(&self, length: usize, tools: &mut Tools) -> Body {
        tools.out.clear();
        let text = match (self.door, length) {
            (Door::Native, 0) => "MESSAGE=[keyfob: a file that could not be redacted]\n".to_owned(),
            (Door::Native, _) => format!("MESSAGE=[keyfob: {length} bytes, too many to be redacted]\n"),
            _ => format!("<13>[keyfob: {length} bytes, too many to be redacted]"),
        };
        tools.out.extend_from_slice(text.as_bytes());
        Body::Rewritten
    }
}

/// A large entry comes as a file. Only of memory: to read from anything else could take for ever.
fn file(descriptor: &OwnedFd, sender: Sender, tools: &mut Tools) -> io::Result<Body> {
    let file = File::from(descriptor.try_clone()?);
    let Some(redactor) = tools.redactor.clone() else { return Ok(Body::File(file.into())) };
    let metadata = file.metadata()?;
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let in_memory = fstatfs(&file).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC);
    if !metadata.is_file() || !in_memory || size > LARGEST {
        return Err(Errno::EFBIG.into());
    }
    let mut contents = vec![0; size];
    let read = read_all(&file, &mut contents)?;
    contents.truncate(read);
    tools.out.clear();
    let hits = &mut tools.hits;
    datagram::native(&contents, &mut |value, out| redactor.redact(value, out, hits), &mut tools.out);
    let unchanged = tools.hits.is_empty();
    tools.count_of(sender);
    if unchanged && memfd::is_sealed(&file) {
        return Ok(Body::File(file.into()));
    }
    Ok(Body::File(memfd::sealed(NAME, &tools.out)?))
}

fn read_all(file: &File, into: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < into.len() {
        match file.read_at(&mut into[read..], read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

impl Tools {
    fn count_of(&mut self, sender: Sender) {
        if !self.hits.is_empty() {
            self.seen.note(sender.pid);
            let unit = self.seen.of(sender.pid).map(|path| unit_in(path).to_owned()).unwrap_or_default();
            self.count(&unit);
        }
    }
}
