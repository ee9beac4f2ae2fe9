//! Whose a message is. Journald believes the kernel, and the kernel believes who has the right to name another (CAP_SYS_ADMIN,
//! CAP_SETUID, CAP_SETGID): each message is forwarded with the credentials it came with, so journald looks up the sender's process,
//! command and unit as if it had been asked itself.
//!
//! The kernel refuses a process that is gone. Then a **stand-in** is named: a process of ours that does nothing, called
//! `keyfob-gone`, in a cgroup that we made below `keyfob.slice` with the path of the sender's, if we saw that while it lived. From the
//! path journald has unit, slice, session and owner. Where we know none, the stand-in is in no unit's cgroup, and the entry
//! has the sender's user and no unit, or the one that its stream began with. There is a stand-in for each, because
//! journald remembers what it found out about a process. One more waits to be told whom to stand for: while a program is loaded,
//! others would log, and be gone before we looked. Ourselves we never name.

use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead, IoSlice, IoSliceMut, Read, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials, recvmsg, sendmsg},
};

use crate::agent::packet;

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

/// Descriptors that the kernel or systemd gave us as numbers. To own one without `unsafe` is to send it to ourselves.
#[derive(Debug)]
pub struct Adoption {
    out: OwnedFd,
    back: OwnedFd,
}

impl Adoption {
    pub fn new() -> io::Result<Self> {
        let (out, back) = packet::pair()?;
        Ok(Self { out, back })
    }

    pub fn adopt(&self, number: RawFd) -> io::Result<OwnedFd> {
        let beside = [number];
        let sent = sendmsg::<UnixAddr>(
            self.out.as_raw_fd(),
            &[IoSlice::new(b".")],
            &[ControlMessage::ScmRights(&beside)],
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        let _ = nix::unistd::close(number);
        sent?;
        packet::descriptor(&self.back)?.ok_or_else(|| io::Error::other("a descriptor was not given back"))
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

/// What a message has to do with, beside who sent it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// The sender's cgroup, if it was seen.
    pub cgroup: Option<&'a str>,
    /// The unit that a stream says it is of.
    pub unit: &'a [u8],
}

/// Stands for those that are gone.
#[derive(Debug, Default)]
pub struct StandIns {
    /// The last used is the last.
    living: Vec<StandIn>,
    /// It stands for nobody yet.
    spare: Option<Child>,
}

#[derive(Debug)]
struct StandIn {
    /// Of a path, or of a name.
    of: Result<String, Vec<u8>>,
    /// Whose it is: journald asks the kernel again after a while.
    user: (u32, u32),
    process: Child,
}

/// As many at the same time.
const MOST: usize = 16;

impl StandIns {
    /// Has one ready for who goes next.
    pub fn prepare(&mut self) {
        if self.spare.is_none() {
            self.spare = start().ok();
        }
    }

    /// Sends as `sender`, or as a stand-in where that process is gone.
    pub fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
        sender: Sender,
        origin: Origin<'_>,
    ) -> nix::Result<usize> {
        match send(socket, bytes, descriptor, sender) {
            Err(Errno::ESRCH) => {}
            done => return done,
        }
        let user = (sender.uid, sender.gid);
        // Better without its unit than not at all.
        let pid = self.of(origin, user).or_else(|_| self.of(Origin { cgroup: None, ..origin }, user));
        let pid = pid.map_err(|_| Errno::ESRCH)?;
        let sent = send(socket, bytes, descriptor, Sender { pid, ..sender });
        self.prepare();
        sent
    }

    fn of(&mut self, origin: Origin<'_>, user: (u32, u32)) -> io::Result<i32> {
        let of = origin.cgroup.map(str::to_owned).ok_or(origin.unit.to_vec());
        self.living.retain_mut(|stand_in| matches!(stand_in.process.try_wait(), Ok(None)));
        let stand_in = match self.living.iter().position(|stand_in| stand_in.of == of && stand_in.user == user) {
            Some(place) => self.living.remove(place),
            None => {
                if self.living.len() == MOST {
                    self.living.remove(0);
                }
                let cgroup = origin.cgroup.unwrap_or_default();
                let spare = self.spare.take().and_then(|spare| assign(spare, cgroup, user).ok());
                let process = spare.map_or_else(|| assign(start()?, cgroup, user), Ok)?;
                StandIn { process, of, user }
            }
        };
        let pid = stand_in.process.id() as i32;
        self.living.push(stand_in);
        Ok(pid)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        end(&mut self.process);
        if let Ok(path) = &self.of {
            ROOTS.into_iter().for_each(|root| remove(root, path));
        }
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// One that waits for its [`assign`]ment. It ends when we do: it reads from us.
fn start() -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("stand-in").env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

/// From now on it stands for a user's processes in a cgroup; it has left ours.
fn assign(mut child: Child, cgroup: &str, (uid, gid): (u32, u32)) -> io::Result<Child> {
    let mut said = [0];
    let told = child.stdin.as_mut().map(|to| writeln!(to, "{uid} {gid} {cgroup}"));
    match (told, child.stdout.as_mut().map(|out| out.read_exact(&mut said))) {
        (Some(Ok(())), Some(Ok(()))) => Ok(child),
        _ => {
            end(&mut child);
            Err(io::Error::other("a stand-in for processes that are gone did not leave our cgroup"))
        }
    }
}

/// The whole life of a stand-in.
pub fn stand_in() -> ExitCode {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let _ = nix::sys::prctl::set_name(c"keyfob-gone");
    let (mut input, mut line) = (io::stdin().lock(), String::new());
    let Some((uid, gid, cgroup)) = input.read_line(&mut line).ok().and_then(|_| assignment(&line)) else {
        return ExitCode::FAILURE;
    };
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let become_it = || setgroups(&[]).and_then(|()| setresgid(gid, gid, gid)).and_then(|()| setresuid(uid, uid, uid));
    if !leave_for(cgroup) || become_it().is_err() {
        return ExitCode::FAILURE;
    }
    let mut out = io::stdout();
    if out.write_all(b".").and_then(|()| out.flush()).is_ok() {
        let _ = io::copy(&mut input, &mut io::sink());
    }
    ExitCode::SUCCESS
}

/// `UID GID CGROUP`, whose name may have blanks, or be none.
fn assignment(line: &str) -> Option<(u32, u32, &str)> {
    let (uid, rest) = line.strip_suffix('\n')?.split_once(' ')?;
    let (gid, cgroup) = rest.split_once(' ')?;
    Some((uid.parse().ok()?, gid.parse().ok()?, cgroup))
}

/// Where systemd's hierarchy may be: unified, or named beside others.
const ROOTS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
/// Ours: a slice is what journald looks past. Made by the unit, since the root of a hierarchy is read-only for us.
const SLICE: &str = "keyfob.slice";

/// Into a group with this path; for none, into the root, or where that may hold no processes (it is not the machine's own), into a
/// group whose name is none of a unit.
fn leave_for(cgroup: &str) -> bool {
    if cgroup.split('/').any(|part| part == "..") {
        return false;
    }
    for root in ROOTS.map(Path::new).into_iter().filter(|root| root.join("cgroup.procs").exists()) {
        let enter = |group: &Path| fs::create_dir_all(group).and_then(|()| fs::write(group.join("cgroup.procs"), "0"));
        let _ = match cgroup.trim_start_matches('/') {
            "" => enter(root).or_else(|_| enter(&root.join("keyfob-gone"))),
            path => enter(&root.join(SLICE).join(path)),
        };
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let reached = path_in(&own);
    match cgroup {
        "" => unit_in(reached).is_empty(),
        path => reached.strip_prefix('/').and_then(|rest| rest.strip_prefix(SLICE)).is_some_and(|rest| rest == path),
    }
}

/// What is empty of what was made for a path.
fn remove(root: &str, path: &str) {
    let slice = Path::new(root).join(SLICE);
    let group = slice.join(path.trim_start_matches('/'));
    for group in group.ancestors().take_while(|group| group.starts_with(&slice) && *group != slice) {
        if fs::remove_dir(group).is_err() {
            break;
        }
    }
}

/// The cgroups of those who log, as far as they were seen alive. A process that is gone has none any more.
#[derive(Debug, Default)]
pub struct Seen(HashMap<i32, (Instant, String)>);

const SEEN: usize = 1024;
/// As long as journald takes it for granted.
const FRESH: Duration = Duration::from_secs(5);

impl Seen {
    /// Looks, if that is not long known. To be done once a message has gone up, which can't wait.
    pub fn note(&mut self, pid: i32) {
        if self.0.get(&pid).is_none_or(|(when, _)| when.elapsed() >= FRESH) {
            self.note_anew(pid);
        }
    }

    pub fn note_anew(&mut self, pid: i32) {
        if self.0.len() >= SEEN {
            let mut ages: Vec<Instant> = self.0.values().map(|(when, _)| *when).collect();
            ages.sort();
            let middle = ages[SEEN / 2];
            self.0.retain(|_, (when, _)| *when > middle);
        }
        // What systemd has just forked is not yet where it belongs.
        if let Some(cgroup) = cgroup_of(pid).filter(|cgroup| cgroup != INIT || pid == 1) {
            self.0.insert(pid, (Instant::now(), cgroup));
        }
    }

    /// Where that one is, or was last seen.
    pub fn of(&self, pid: i32) -> Option<&str> {
        self.0.get(&pid).map(|(_, cgroup)| cgroup.as_str())
    }
}

/// Where PID 1 is, and for a moment whatever it forks: nobody else comes in there.
const INIT: &str = "/init.scope";

/// Whether it is PID 1's fork, which is about to become the unit's process.
pub fn is_forked_by_init(pid: i32) -> bool {
    cgroup_of(pid).is_some_and(|cgroup| cgroup == INIT)
}

/// The cgroup that a process belongs to, in systemd's hierarchy.
fn cgroup_of(pid: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = path_in(&text);
    (!path.is_empty() && path != "/").then(|| path.to_owned())
}

/// In the unified hierarchy, or in that of systemd's name; the root of one says nothing (a container's may stand beside it).
fn path_in(text: &str) -> &str {
    let unified = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let named = || text.lines().find_map(|line| Some(line.split_once(":name=systemd:")?.1));
    if unified == "/" { named().unwrap_or(unified) } else { unified }
}

/// The unit of a path: the system's, or its user's.
pub fn unit_in(path: &str) -> &str {
    const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    path.rsplit('/').find(|part| KINDS.iter().any(|kind| part.ends_with(kind))).unwrap_or_default()
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
            ("1:name=systemd:/system.slice/cron.service\n0::/\n", "cron.service"),
            ("9:name=systemd:/\n0::/system.slice/cron.service\n", "cron.service"),
            ("1:name=systemd:/system.slice/cron.service\n", "cron.service"),
            ("5:cpu:/a.service\n0::/system.slice/b.service\n", "b.service"),
            ("", ""),
        ] {
            assert_eq!(unit_in(path_in(text)), unit, "{text:?}");
        }
        assert_eq!((cgroup_of(0), cgroup_of(-1), cgroup_of(i32::MAX)), (None, None, None));
    }

    #[test]
    fn assignments() {
        for (line, expected) in [
            ("0 0 \n", Some((0, 0, ""))),
            ("1000 100 /system.slice/a b.service\n", Some((1000, 100, "/system.slice/a b.service"))),
            ("1000 100 /cut", None),
            ("", None),
            ("-1 0 /\n", None),
        ] {
            assert_eq!(assignment(line), expected, "{line:?}");
        }
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
