//! One stream of a command's output on its way out: read, masked, written.
//!
//! One read becomes one write, so that what a program printed at once comes out at once. What is undecided at its end is held
//! back until more comes or [`IDLE`] has passed. Whenever there is nothing to do, nothing of what went through is left in
//! the buffers.

use std::{convert::Infallible, hint::black_box, io, os::fd::BorrowedFd, sync::Arc, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read, write},
};

use super::hits::Teller;
use crate::domain::redaction::{Hits, IDLE, Mode, Redactor, Stream};

/// A stream through one redactor, or through two: the first decides, and the second can only mask more.
pub struct Filter {
    first: Stream,
    then: Option<Stream>,
    between: Vec<u8>,
    hits: Hits,
}

impl Filter {
    pub fn new(first: &Arc<Redactor>, then: Option<&Arc<Redactor>>, mode: Mode) -> Self {
        let then = then.map(|redactor| redactor.stream(mode));
        Self { first: first.stream(mode), then, between: Vec::new(), hits: Hits::default() }
    }

    fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        match &mut self.then {
            None => self.first.push(input, out, &mut self.hits),
            Some(then) => {
                self.first.push(input, &mut self.between, &mut self.hits);
                then.push(&self.between, out, &mut self.hits);
                empty(&mut self.between);
            }
        }
    }

    fn holds(&self) -> bool {
        self.first.holds() || self.then.as_ref().is_some_and(Stream::holds)
    }

    /// Lets go of what is held back, as `how` does it: [`Stream::idle`] or [`Stream::finish`].
    fn release(&mut self, how: fn(&mut Stream, &mut Vec<u8>, &mut Hits), out: &mut Vec<u8>) {
        match &mut self.then {
            None => how(&mut self.first, out, &mut self.hits),
            Some(then) => {
                how(&mut self.first, &mut self.between, &mut self.hits);
                then.push(&self.between, out, &mut self.hits);
                empty(&mut self.between);
                how(then, out, &mut self.hits);
            }
        }
    }
}

/// How a stream ended.
#[derive(Debug)]
pub enum End {
    /// Nobody can write to it any more.
    Eof,
    /// Nothing was left to read when it was told to end.
    Told,
    /// Whoever read the output is gone.
    SinkGone,
    Failed(io::Error),
}

impl From<Errno> for End {
    fn from(error: Errno) -> Self {
        Self::Failed(error.into())
    }
}

/// Where a stream goes, and with what.
pub struct Pump<'a> {
    pub source: BorrowedFd<'a>,
    pub sink: BorrowedFd<'a>,
    /// When the other end of this is closed, and nothing is left to read, it ends.
    pub until: Option<BorrowedFd<'a>>,
    pub filter: Filter,
    pub teller: &'a Teller,
}

impl Pump<'_> {
    /// `size` is the most that is read at once.
    pub fn run(mut self, size: usize) -> End {
        let mut buffers = Buffers::new(size);
        self.pass(&mut buffers).map_or_else(|end| end, |never| match never {})
    }

    fn pass(&mut self, buffers: &mut Buffers) -> Result<Infallible, End> {
        let mut told = false;
        loop {
            let (ready, _) = wait(self.source, None, Some(Duration::ZERO))?;
            if ready {
                self.read(buffers)?;
                continue;
            }
            buffers.wipe();
            if told {
                self.filter.release(Stream::finish, &mut buffers.out);
                self.write(buffers)?;
                return Err(End::Told);
            }
            self.teller.tell();
            let held = self.filter.holds();
            let patience = if held { Some(IDLE) } else { self.teller.due() };
            let (ready, ended) = wait(self.source, self.until, patience)?;
            told = ended; // and it may have been written to before that
            if !ready && !ended && held {
                self.filter.release(Stream::idle, &mut buffers.out);
                self.write(buffers)?;
            }
        }
    }

    fn read(&mut self, buffers: &mut Buffers) -> Result<(), End> {
        match read(self.source, &mut buffers.input[..]) {
            // A terminal's end is told as an error.
            Ok(0) | Err(Errno::IO) => {
                self.filter.release(Stream::finish, &mut buffers.out);
                self.write(buffers)?;
                Err(End::Eof)
            }
            Ok(len) => {
                buffers.filled = buffers.filled.max(len);
                self.filter.push(&buffers.input[..len], &mut buffers.out);
                self.write(buffers)
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, buffers: &mut Buffers) -> Result<(), End> {
        buffers.longest = buffers.longest.max(buffers.out.len());
        let written = write_all(self.sink, &buffers.out);
        buffers.out.clear();
        if !self.filter.hits.is_empty() {
            self.teller.add(&mut self.filter.hits);
        }
        written
    }
}

struct Buffers {
    input: Vec<u8>,
    /// How much of it has been used since it was wiped.
    filled: usize,
    out: Vec<u8>,
    longest: usize,
}

impl Buffers {
    fn new(size: usize) -> Self {
        Self { input: vec![0; size], filled: 0, out: Vec::with_capacity(size + 1024), longest: 0 }
    }

    fn wipe(&mut self) {
        self.input[..self.filled].fill(0);
        self.out.resize(self.longest, 0);
        black_box((&self.input, &self.out)); // or the compiler sees that nobody reads these zeros
        self.out.clear();
        (self.filled, self.longest) = (0, 0);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// Also of its bytes.
fn empty(used: &mut Vec<u8>) {
    used.fill(0);
    black_box(&*used);
    used.clear();
}

pub fn write_all(sink: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), End> {
    while !bytes.is_empty() {
        match write(sink, bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::INTR) => {}
            // Somebody who shares it has set it so.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(sink, PollFlags::OUT)], None);
            }
            Err(Errno::PIPE | Errno::IO) => return Err(End::SinkGone),
            Err(error) => return Err(End::Failed(error.into())),
        }
    }
    Ok(())
}

/// Which of the two has something to say. Without a patience it waits for ever.
pub fn wait(
    first: BorrowedFd<'_>,
    second: Option<BorrowedFd<'_>>,
    patience: Option<Duration>,
) -> Result<(bool, bool), Errno> {
    let patience = patience.map(|d| Timespec { tv_sec: d.as_secs() as i64, tv_nsec: d.subsec_nanos().into() });
    let of = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let mut polled = [of(first), of(second.unwrap_or(first))];
    loop {
        match poll(&mut polled, patience.as_ref()) {
            Ok(_) => return Ok((!polled[0].revents().is_empty(), second.is_some() && !polled[1].revents().is_empty())),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
