//! The terminal that somebody sits at: raw while its keys go to the command's own, and never left so.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic,
    path::Path,
    sync::{Mutex, Once, PoisonError},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    process::getpgrp,
    termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr},
};

/// What the terminal is to be put back to. Of the whole process: a panic has to find it, and there is one terminal.
static BORROWED: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

pub struct Terminal {
    /// Opened anew, so that what is set on it is not set for others.
    fd: OwnedFd,
    /// Whether there is job control on it for us.
    controlling: bool,
}

impl Terminal {
    pub fn open(at: BorrowedFd<'_>) -> io::Result<Self> {
        let controlling = tcgetpgrp(at).is_ok();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let number = std::os::fd::AsRawFd::as_raw_fd(&at);
        let own = match controlling {
            true => open("/dev/tty", flags, Mode::empty()),
            false => open(Path::new("/proc/self/fd").join(number.to_string()), flags, Mode::empty()),
        };
        // Somebody else's (su), which we may use and not open.
        let fd = own.map_or_else(|_| at.try_clone_to_owned(), Ok)?;
        Ok(Self { fd, controlling })
    }

    pub fn settings(&self) -> io::Result<(Termios, Winsize)> {
        Ok((tcgetattr(&self.fd)?, tcgetwinsize(&self.fd)?))
    }

    pub fn size(&self) -> Option<Winsize> {
        tcgetwinsize(&self.fd).ok()
    }

    /// Whether its keys are for us. Where there is no job control nobody else would get them.
    pub fn is_ours(&self) -> bool {
        !self.controlling || tcgetpgrp(&self.fd) == Ok(getpgrp())
    }

    /// Raw: each key is for the command's own terminal to make something of. As it is now is how it will be put back.
    pub fn take(&self) -> io::Result<()> {
        put_back();
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let told = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                put_back();
                told(panic);
            }));
        });
        let before = tcgetattr(&self.fd)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BORROWED.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.fd.try_clone()?, before));
        Ok(tcsetattr(&self.fd, OptionalActions::Now, &raw)?)
    }

    /// It belongs to somebody else now, who has set it as they want it.
    pub fn lost(&self) {
        BORROWED.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        put_back();
    }
}

/// As it was before it was taken.
pub fn put_back() {
    let mut borrowed = BORROWED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((fd, before)) = borrowed.take() {
        while tcsetattr(&fd, OptionalActions::Now, &before) == Err(Errno::INTR) {}
    }
}
