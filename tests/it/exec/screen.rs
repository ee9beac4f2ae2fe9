//! A terminal that a test sits at, and a program on it.

use std::{
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{read, write},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Screen {
    master: Option<OwnedFd>,
    pub child: Child,
    /// Everything it has shown.
    pub shown: Vec<u8>,
    /// What has been waited for.
    seen: usize,
    before: Termios,
}

impl Screen {
    /// `words` on a terminal of 24 by 80 that controls its session.
    pub fn start(words: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        tcsetwinsize(&master, size(24, 80)).unwrap();
        let before = tcgetattr(&master).unwrap();
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(words).env("TERM", "xterm").env("PS1", "$ ");
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = command.spawn().expect("setsid runs");
        Self { master: Some(master), child, shown: Vec::new(), seen: 0, before }
    }

    /// A shell with job control.
    pub fn shell() -> Self {
        let mut screen = Self::start(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
        screen.wait_for("$ ");
        screen
    }

    fn master(&self) -> &OwnedFd {
        self.master.as_ref().expect("a window that is open")
    }

    /// A command at the prompt.
    pub fn enter(&mut self, line: &str) {
        self.send(&format!("{line}\n"));
        // Its echo; what comes after it is the command's.
        self.wait_for(&line[line.len().saturating_sub(20)..]);
    }

    /// Keys.
    pub fn send(&mut self, keys: &str) {
        let mut keys = keys.as_bytes();
        while !keys.is_empty() {
            // What is shown has to be taken meanwhile, or both wait for each other.
            let master = self.master();
            let mut ready = [PollFd::new(master, PollFlags::OUT | PollFlags::IN)];
            poll(&mut ready, None).unwrap();
            if ready[0].revents().contains(PollFlags::IN) {
                self.look(Duration::ZERO);
            } else {
                let len = write(self.master(), &keys[..keys.len().min(512)]).unwrap();
                keys = &keys[len..];
            }
        }
    }

    /// Takes what is shown now; false where there is nothing more to come.
    fn look(&mut self, patience: Duration) -> bool {
        let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
        let mut bytes = [0; 65536];
        let mut ready = [PollFd::new(self.master(), PollFlags::IN)];
        if poll(&mut ready, Some(&patience)).unwrap() == 0 {
            return true;
        }
        match read(self.master(), &mut bytes) {
            Ok(len) => self.shown.extend_from_slice(&bytes[..len]),
            Err(_) => return false,
        }
        true
    }

    /// Until this is shown, after what was waited for before; gives what came up to its end.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let mut open = true;
        loop {
            if let Some(at) = memchr::memmem::find(&self.shown[self.seen..], text.as_bytes()) {
                let from = self.seen;
                self.seen += at + text.len();
                return String::from_utf8_lossy(&self.shown[from..self.seen]).into_owned();
            }
            let rest = String::from_utf8_lossy(&self.shown[self.seen..]);
            assert!(open && Instant::now() < end, "waited in vain for {text:?}; shown: {rest:?}");
            open = self.look(Duration::from_millis(100));
        }
    }

    /// To its end; gives all that is shown after what was waited for.
    #[track_caller]
    pub fn finish(&mut self) -> (ExitStatus, String) {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it did not end; shown: {:?}", String::from_utf8_lossy(&self.shown));
            self.look(Duration::from_millis(10));
        };
        let mut before = usize::MAX;
        while before != self.shown.len() {
            before = self.shown.len();
            self.look(Duration::ZERO);
        }
        (status, String::from_utf8_lossy(&self.shown[self.seen..]).into_owned())
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(self.master(), size(rows, columns)).unwrap();
    }

    /// Whether keys are taken one by one and not shown.
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(self.master()).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Whether the terminal is set as it was at first.
    pub fn is_as_it_was(&self) -> bool {
        let now = tcgetattr(self.master()).unwrap();
        let modes = |t: &Termios| (t.input_modes, t.output_modes, t.control_modes, t.local_modes);
        modes(&now) == modes(&self.before)
    }

    /// Closes the window.
    pub fn hang_up(&mut self) {
        self.master = None;
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.master = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// The state letter of a process, as proc(5) has it; none where it is gone.
pub fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}
