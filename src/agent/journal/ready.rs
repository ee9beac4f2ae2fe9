//! Whose turn is next, and how the kernel names them.

use std::{
    collections::{HashSet, VecDeque},
    os::fd::BorrowedFd,
};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

/// Who has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Datagrams(usize),
    Listener,
    Varlink,
    Agents,
    Agent,
    Watch,
    Signal,
    Stream(u64),
}

const FIRST_STREAM: u64 = 16;

impl Who {
    pub fn number(self) -> u64 {
        match self {
            Self::Datagrams(place) => place as u64,
            Self::Listener => 2,
            Self::Varlink => 3,
            Self::Agents => 4,
            Self::Agent => 5,
            Self::Watch => 6,
            Self::Signal => 7,
            Self::Stream(number) => FIRST_STREAM + number,
        }
    }

    pub fn of(number: u64) -> Self {
        match number {
            0 | 1 => Self::Datagrams(number as usize),
            2 => Self::Listener,
            3 => Self::Varlink,
            4 => Self::Agents,
            5 => Self::Agent,
            6 => Self::Watch,
            7 => Self::Signal,
            number => Self::Stream(number - FIRST_STREAM),
        }
    }
}

/// Whose turn is next. Nobody waits twice.
#[derive(Debug, Default)]
pub struct Ready {
    queue: VecDeque<Who>,
    within: HashSet<Who>,
}

impl Ready {
    pub fn add(&mut self, who: Who) {
        if self.within.insert(who) {
            match who {
                // Who has just come may be gone soon, and is to be seen alive.
                Who::Listener => self.queue.push_front(who),
                _ => self.queue.push_back(who),
            }
        }
    }

    pub fn next(&mut self) -> Option<Who> {
        let who = self.queue.pop_front()?;
        self.within.remove(&who);
        Some(who)
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Tells of each change, once.
pub fn watch(epoll: &Epoll, fd: BorrowedFd<'_>, who: Who) -> nix::Result<()> {
    epoll.add(fd, interest(who))
}

pub fn watch_again(epoll: &Epoll, fd: BorrowedFd<'_>, who: Who) -> nix::Result<()> {
    epoll.modify(fd, &mut interest(who))
}

fn interest(who: Who) -> EpollEvent {
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    EpollEvent::new(flags, who.number())
}
