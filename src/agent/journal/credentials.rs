//! Whose a message is. Journald believes the kernel, and the kernel believes who has the right to name another (CAP_SYS_ADMIN,
//! CAP_SETUID, CAP_SETGID): each message is forwarded with the credentials it came with, so journald looks up the sender's process,
//! command and unit as if it had been asked itself.
//!
//! The kernel refuses a process that is gone. Then a **stand-in** is named: a process of ours that does nothing, in no unit's
//! cgroup, so that the entry has the sender's user and no unit, or the one that its stream began with. There is one
//! stand-in per such unit, because journald remembers what it found out about a process. Ourselves we never name.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
};

use nix::{
    errno::Errno,
    libc,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials, recvmsg, sendmsg},
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Who sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

impl From<UnixCredentials> for Sender {
    fn from(from: UnixCredentials) -> Self {
        Self { pid: from.pid(), uid: from.uid(), gid: from.gid() }
    }
}

/// What can be seen of a socket's next message.
#[derive(Debug)]
pub struct Message {
    /// Its whole length, of which the buffer may have got a part.
    pub length: usize,
    /// Process 0 for one that this machine knows no number of, and for what was written before the kernel was asked to tell.
    pub sender: Sender,
    pub descriptors: Vec<OwnedFd>,
}

/// Descriptors that the kernel or systemd gave us as numbers.
#[derive(Debug)]
pub struct Adoption(OwnedFd);

impl Adoption {
    pub fn new() -> io::Result<Self> {
        Ok(Self(pidfd_open(getpid(), PidfdFlags::empty())?))
    }

    /// To own a number without `unsafe` is to ask the kernel for a second descriptor of the same, and close the first.
    pub fn adopt(&self, number: RawFd) -> io::Result<OwnedFd> {
        let owned = pidfd_getfd(&self.0, number, PidfdGetfdFlags::empty());
        let _ = nix::unistd::close(number);
        Ok(owned?)
    }
}

const NOBODY: u32 = 65534;
/// The most that the kernel puts beside one message: 253 descriptors, credentials, a timestamp, a label.
const BESIDE: usize = 4096;

/// Receives messages with whose they are.
#[derive(Debug)]
pub struct Receiver {
    beside: Vec<u8>,
    adoption: Adoption,
}

impl Receiver {
    pub fn new() -> io::Result<Self> {
        Ok(Self { beside: vec![0; BESIDE], adoption: Adoption::new()? })
    }

    pub fn adopt(&self, number: RawFd) -> io::Result<OwnedFd> {
        self.adoption.adopt(number)
    }

    /// The next message, which stays where it is if `flags` say to peek.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8], flags: MsgFlags) -> nix::Result<Message> {
        let flags = flags | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut self.beside), flags)?;
        let (length, mut sender, mut numbers) =
            (received.bytes, Sender { pid: 0, uid: NOBODY, gid: NOBODY }, Vec::new());
        for beside in received.cmsgs().into_iter().flatten() {
            match beside {
                ControlMessageOwned::ScmCredentials(found) => sender = found.into(),
                ControlMessageOwned::ScmRights(found) => numbers.extend(found),
                _ => {}
            }
        }
        let descriptors = numbers.into_iter().filter_map(|number| self.adoption.adopt(number).ok()).collect();
        Ok(Message { length, sender, descriptors })
    }
}

/// Sends a message as another's. Never waits.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
    sender: Sender,
) -> nix::Result<usize> {
    let named = libc::ucred { pid: sender.pid, uid: sender.uid, gid: sender.gid }.into();
    let credentials = ControlMessage::ScmCredentials(&named);
    let parts = [IoSlice::new(bytes)];
    // An empty message is one.
    let parts = if bytes.is_empty() { &parts[..0] } else { &parts[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match descriptor.map(|d| [d.as_raw_fd()]) {
        None => sendmsg::<UnixAddr>(socket.as_raw_fd(), parts, &[credentials], flags, None),
        Some(numbers) => {
            let both = [credentials, ControlMessage::ScmRights(&numbers)];
            sendmsg::<UnixAddr>(socket.as_raw_fd(), parts, &both, flags, None)
        }
    }
}

/// Whether this process may name others.
pub fn may_forge() -> io::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    let (one, _other) = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC)?;
    send(one.as_fd(), b"?", None, Sender { pid: 1, uid: 1, gid: 1 })?;
    Ok(())
}

/// Stands for those that are gone.
#[derive(Debug, Default)]
pub struct StandIns {
    /// The last used is the last.
    living: Vec<(Vec<u8>, Child)>,
}

/// Units that are stood for at the same time.
const MOST: usize = 16;

impl StandIns {
    /// Sends as `sender`, or as the stand-in for `unit` where that process is gone.
    pub fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
        sender: Sender,
        unit: &[u8],
    ) -> nix::Result<usize> {
        match send(socket, bytes, descriptor, sender) {
            Err(Errno::ESRCH) => {}
            done => return done,
        }
        let pid = self.of(unit).map_err(|_| Errno::ESRCH)?;
        send(socket, bytes, descriptor, Sender { pid, ..sender })
    }

    fn of(&mut self, unit: &[u8]) -> io::Result<i32> {
        self.living.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
        let stand_in = match self.living.iter().position(|(of, _)| of == unit) {
            Some(place) => self.living.remove(place),
            None => {
                if self.living.len() == MOST {
                    end(self.living.remove(0).1);
                }
                (unit.to_vec(), start()?)
            }
        };
        let pid = stand_in.1.id() as i32;
        self.living.push(stand_in);
        Ok(pid)
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        self.living.drain(..).for_each(|(_, child)| end(child));
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A stand-in that has left our cgroup. It ends when we do: it reads from us.
fn start() -> io::Result<Child> {
    let mut child = Command::new("/proc/self/exe")
        .args(["journal", "--stand-in"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = [0];
    match child.stdout.as_mut().map(|out| out.read_exact(&mut said)) {
        Some(Ok(())) => Ok(child),
        _ => {
            end(child);
            Err(io::Error::other("the stand-in for processes that are gone did not leave our cgroup"))
        }
    }
}

/// The whole life of a stand-in.
pub fn stand_in() -> ExitCode {
    let _ = nix::sys::prctl::set_name(c"keyfob-gone");
    if !leave_cgroups() {
        return ExitCode::FAILURE;
    }
    let mut out = io::stdout();
    if out.write_all(b".").and_then(|()| out.flush()).is_ok() {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
    }
    ExitCode::SUCCESS
}

/// Into the root of each hierarchy, or where that may hold no processes (it is not the machine's own), into a group of ours
/// there, whose name is none of a unit.
fn leave_cgroups() -> bool {
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
        let enter = |group: &Path| fs::write(group.join("cgroup.procs"), "0");
        if enter(Path::new(root)).is_err_and(|e| e.kind() != io::ErrorKind::NotFound) {
            let own = Path::new(root).join("keyfob-gone");
            let _ = fs::create_dir(&own);
            let _ = enter(&own);
        }
    }
    fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| unit_in(&text).is_empty())
}

/// The unit that a process belongs to, of the system's or its user's systemd; empty if it is in none, or gone.
pub fn unit_of(pid: i32) -> String {
    match Pid::from_raw(pid) {
        Some(pid) => fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_pid()))
            .map(|text| unit_in(&text).to_owned())
            .unwrap_or_default(),
        None => String::new(),
    }
}

/// In systemd's own hierarchy: of the unified one (`0::`) or of the one by its name.
fn unit_in(text: &str) -> &str {
    let of = |prefix: &str| {
        let path = text.lines().find_map(|line| line.strip_prefix(prefix).map(|rest| rest.trim_start_matches(':')))?;
        path.rsplit('/')
            .find(|part| [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|kind| part.ends_with(kind)))
    };
    let named = text.lines().find(|line| line.contains(":name=systemd:"));
    named
        .and_then(|line| of(&line[..line.find("name=systemd:").unwrap_or(0) + "name=systemd:".len()]))
        .or_else(|| of("0::"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use nix::sys::socket::{setsockopt, sockopt::PassCred};

    use super::*;

    #[test]
    fn units_of_processes() {
        for (text, unit) in [
            ("0::/system.slice/ssh.service\n", "ssh.service"),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/own.service\n", "own.service"),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
            ("0::/\n", ""),
            ("0::/keyfob-gone\n", ""),
            ("1:name=systemd:/system.slice/cron.service\n0::/x/other.service\n", "cron.service"),
            ("5:cpu:/a.service\n0::/system.slice/b.service\n", "b.service"),
            ("", ""),
        ] {
            assert_eq!(unit_in(text), unit, "{text:?}");
        }
        assert_eq!((unit_of(0), unit_of(-1), unit_of(i32::MAX)), Default::default());
    }

    #[test]
    fn a_message_keeps_its_sender_and_its_descriptors() {
        let (here, there) = UnixDatagram::pair().unwrap();
        setsockopt(&there, PassCred, &true).unwrap();
        let own = Sender {
            pid: std::process::id() as i32,
            uid: nix::unistd::getuid().into(),
            gid: nix::unistd::getgid().into(),
        };
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        send(here.as_fd(), b"", Some(file.as_fd()), own).unwrap();
        send(here.as_fd(), b"second", None, own).unwrap();
        let (mut receiver, mut buffer) = (Receiver::new().unwrap(), [0; 4]);
        let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
        for _ in 0..3 {
            let peeked =
                receiver.receive(there.as_fd(), &mut buffer, MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC).unwrap();
            assert_eq!((peeked.length, peeked.sender, peeked.descriptors.len()), (0, own, 1));
        }
        receiver.receive(there.as_fd(), &mut buffer, MsgFlags::empty()).unwrap();
        let second = receiver.receive(there.as_fd(), &mut buffer, MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC).unwrap();
        assert_eq!((second.length, &buffer), (6, b"seco"));
        assert_eq!(std::fs::read_dir("/proc/self/fd").unwrap().count(), before, "descriptors are let go of");
    }
}
