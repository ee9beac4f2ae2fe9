//! As much of systemd as an agent needs to outlive a kill: a notification socket, and descriptors that are held for it.

use std::{
    collections::HashMap,
    fs::File,
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

#[derive(Clone)]
pub struct Store {
    socket: PathBuf,
    held: Arc<Mutex<HashMap<String, OwnedFd>>>,
}

impl Store {
    pub fn new(socket: &Path) -> Self {
        let listening = UnixDatagram::bind(socket).expect("a socket");
        let held = Arc::<Mutex<HashMap<String, OwnedFd>>>::default();
        let store = Self { socket: socket.to_owned(), held: held.clone() };
        thread::spawn(move || {
            loop {
                let (mut bytes, mut space) = ([0; 8192], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))]);
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let (flags, mut slices) = (RecvFlags::CMSG_CLOEXEC, [IoSliceMut::new(&mut bytes)]);
                let Ok(received) = recvmsg(&listening, &mut slices, &mut control, flags) else { return };
                let fds: Vec<OwnedFd> = control
                    .drain()
                    .flat_map(|message| match message {
                        RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
                        _ => Vec::new(),
                    })
                    .collect();
                let text = String::from_utf8_lossy(&bytes[..received.bytes]).into_owned();
                let has = |line: &str| text.lines().any(|l| l == line);
                let name = text.lines().find_map(|l| l.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
                let mut held = held.lock().unwrap();
                if has("FDSTOREREMOVE=1") {
                    held.remove(&name);
                } else if has("FDSTORE=1") {
                    held.extend(fds.into_iter().next().map(|fd| (name, fd)));
                }
            }
        });
        store
    }

    /// Starts a program with what is held for it.
    pub fn start(&self, command: &mut Command, printed: File) -> Child {
        let held = self.held.lock().unwrap();
        let names: Vec<_> = held.keys().cloned().collect();
        let mut script = String::new();
        for (number, name) in names.iter().enumerate() {
            let fd = held[name].as_raw_fd();
            script.push_str(&format!("exec {}</proc/{}/fd/{fd}; ", number + 3, std::process::id()));
        }
        script.push_str("LISTEN_PID=$$ exec \"$@\"");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg("sh").arg(command.get_program()).args(command.get_args());
        shell.env("NOTIFY_SOCKET", &self.socket).env("KEYFOB_LOG", "info");
        if !names.is_empty() {
            shell.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        }
        shell.stdout(printed.try_clone().expect("our own file")).stderr(printed).spawn().expect("it starts")
    }
}
