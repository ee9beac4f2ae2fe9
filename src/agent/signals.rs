//! Signals as something to read. While they are taken they are blocked, which is what keeps them from ending a process in the
//! midst of its work; one that was to be ignored (nohup) stays ignored for what is started.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    sys::{
        signal::{SigSet, Signal, killpg, raise},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::getpgrp,
};

pub struct Signals {
    fd: SignalFd,
    /// Those that were not blocked before.
    ours: SigSet,
    /// Read already.
    ahead: RefCell<VecDeque<Caught>>,
}

/// A signal that came.
pub struct Caught {
    pub signal: Signal,
    /// From the kernel: a key on the terminal, its hangup, a child's end. The whole process group has got it.
    pub by_kernel: bool,
}

const SI_KERNEL: i32 = 0x80; // asm-generic/siginfo.h

impl Signals {
    /// Before any thread is started: each inherits what is blocked.
    pub fn take(signals: &[Signal]) -> io::Result<Self> {
        if signals.contains(&Signal::SIGCHLD) && is_ignored(Signal::SIGCHLD) {
            heed_children()?;
        }
        let (mut all, mut ours) = (SigSet::empty(), SigSet::empty());
        let before = SigSet::thread_get_mask()?;
        for signal in signals {
            all.add(*signal);
            if !before.contains(*signal) {
                ours.add(*signal);
            }
        }
        all.thread_block()?;
        let fd = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { fd, ours, ahead: RefCell::default() })
    }

    pub fn next(&self) -> Option<Caught> {
        let ahead = self.ahead.borrow_mut().pop_front();
        ahead.or_else(|| self.read())
    }

    fn read(&self) -> Option<Caught> {
        loop {
            let info = self.fd.read_signal().ok().flatten()?;
            if let Ok(signal) = Signal::try_from(info.ssi_signo as i32) {
                return Some(Caught { signal, by_kernel: info.ssi_code == SI_KERNEL });
            }
        }
    }

    /// From here on they do again what they do by default.
    pub fn release(&self) {
        let _ = self.ours.thread_unblock(); // of a valid set it can't fail
    }

    /// Stops our process group (with SIGSTOP: us) as that signal does by default. Gives whether it was stopped, and so has been
    /// continued: the kernel does not stop a group that nobody could continue.
    pub fn stop(&self, signal: Signal) -> bool {
        let mut one = SigSet::empty();
        one.add(signal);
        let _ = one.thread_unblock();
        let _ = match signal {
            Signal::SIGSTOP => raise(signal),
            _ => killpg(getpgrp(), signal),
        };
        let _ = one.thread_block();
        let came: Vec<_> = std::iter::from_fn(|| self.read()).collect();
        let continued = came.iter().any(|caught| caught.signal == Signal::SIGCONT);
        self.ahead.borrow_mut().extend(came);
        continued
    }

    /// What a process that inherits the mask has to unblock, as numbers.
    pub fn taken(&self) -> Vec<i32> {
        self.ours.iter().map(|signal| signal as i32).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")?.trim().into());
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}

/// Who started us ignores its children, and so would we, and never see how one ends. A handler changes that, also for what
/// is started; tokio's is one that takes no `unsafe`, and once set it stays.
fn heed_children() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _in_it = runtime.enter();
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child()).map(drop)
}

/// In a process that was started while signals were taken.
pub fn unblock(numbers: &[i32]) {
    let set: SigSet = numbers.iter().filter_map(|number| Signal::try_from(*number).ok()).collect();
    let _ = set.thread_unblock();
}
