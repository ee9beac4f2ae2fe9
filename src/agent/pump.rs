//! One stream of a command's output on its way out: read, masked, written.
//!
//! One read becomes one write, so that what a program printed at once comes out at once. What is undecided at its end is held
//! back until more comes or [`IDLE`] has passed. What is clean is written from where it was read. Whenever there is nothing to
//! do, nothing of what went through is left in the buffers.

use std::{
    convert::Infallible,
    hint::black_box,
    io::{self, IoSlice},
    ops::Range,
    os::fd::BorrowedFd,
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read, writev},
};

use super::hits::Teller;
use crate::domain::redaction::{Hits, IDLE, Mode, Output, Redactor, Stream};

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

    fn push(&mut self, input: &[u8], out: &mut Pieces) {
        match &mut self.then {
            None => self.first.push(input, out, &mut self.hits),
            Some(then) => {
                self.first.push(input, &mut self.between, &mut self.hits);
                then.push(&self.between, &mut out.own, &mut self.hits);
                empty(&mut self.between);
            }
        }
    }

    fn holds(&self) -> bool {
        self.first.holds() || self.then.as_ref().is_some_and(Stream::holds)
    }

    /// Lets go of what is held back, as `how` does it: [`Stream::idle`] or [`Stream::finish`].
    fn release(&mut self, how: fn(&mut Stream, &mut dyn Output, &mut Hits), out: &mut Pieces) {
        match &mut self.then {
            None => how(&mut self.first, &mut out.own, &mut self.hits),
            Some(then) => {
                how(&mut self.first, &mut self.between, &mut self.hits);
                then.push(&self.between, &mut out.own, &mut self.hits);
                empty(&mut self.between);
                how(then, &mut out.own, &mut self.hits);
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
        buffers.longest = buffers.longest.max(buffers.out.own.len());
        let written = write_all(self.sink, &mut buffers.out.with(&buffers.input));
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
    out: Pieces,
    /// How much it has held of its own since it was wiped.
    longest: usize,
}

impl Buffers {
    fn new(size: usize) -> Self {
        Self {
            input: vec![0; size],
            filled: 0,
            out: Pieces { own: Vec::with_capacity(size + 1024), read: Vec::new() },
            longest: 0,
        }
    }

    fn wipe(&mut self) {
        self.input[..self.filled].fill(0);
        self.out.own.resize(self.longest, 0);
        black_box((&self.input, &self.out.own)); // or the compiler sees that nobody reads these zeros
        self.out.clear();
        (self.filled, self.longest) = (0, 0);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// What is to be written: bytes that are copied or put in place of others, and between them bytes of what was read.
struct Pieces {
    own: Vec<u8>,
    /// After how many of our own bytes these follow.
    read: Vec<(usize, Range<usize>)>,
}

/// Less is copied: to write one piece more takes longer.
const WORTH_A_PIECE: usize = 4096;

impl Output for Pieces {
    fn add(&mut self, bytes: &[u8]) {
        self.own.add(bytes);
    }

    fn pass(&mut self, at: usize, bytes: &[u8]) {
        if bytes.len() < WORTH_A_PIECE {
            self.add(bytes);
        } else {
            self.read.push((self.own.len(), at..at + bytes.len()));
        }
    }
}

impl Pieces {
    /// In order, those of what was read taken from it.
    fn with<'a>(&'a self, read: &'a [u8]) -> Vec<IoSlice<'a>> {
        let mut done = 0;
        let mut slices = Vec::with_capacity(2 * self.read.len() + 1);
        for (after, range) in &self.read {
            slices.extend([&self.own[done..*after], &read[range.clone()]].map(IoSlice::new));
            done = *after;
        }
        slices.push(IoSlice::new(&self.own[done..]));
        slices
    }

    fn clear(&mut self) {
        self.own.clear();
        self.read.clear();
    }
}

/// Also of its bytes.
fn empty(used: &mut Vec<u8>) {
    used.fill(0);
    black_box(&*used);
    used.clear();
}

fn write_all(sink: BorrowedFd<'_>, mut bytes: &mut [IoSlice<'_>]) -> Result<(), End> {
    IoSlice::advance_slices(&mut bytes, 0); // past empty ones
    while !bytes.is_empty() {
        match writev(sink, bytes) {
            Ok(len) => IoSlice::advance_slices(&mut bytes, len),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::redaction::Redaction;

    fn redactor(variable: &str, value: &str) -> Arc<Redactor> {
        let mut redaction = Redaction::new([7; 32]);
        redaction.add(variable, "1", value.as_bytes());
        Arc::new(redaction.redactor())
    }

    /// Long clean stretches, which are not copied, between short ones, which are, and values; of one redactor and of two.
    #[test]
    fn pieces_are_what_was_read_without_the_values() {
        let (a, b) = (redactor("A", "aB3xZ9kQ2mN7pR5tW8yLcD4e"), redactor("B", "qW7vT2nM9sK4jH6gF1dR8zXc"));
        let mut text = String::new();
        for n in 0..400 {
            text.push_str(&format!("{n} {}\n", "clean ".repeat(n * 13 % 1500)));
            text.push_str(["aB3xZ9kQ2mN7pR5tW8yLcD4e", "qW7vT2nM9sK4jH6gF1dR8zXc\n", ""][n % 3]);
        }
        let only_a = text.replace("aB3xZ9kQ2mN7pR5tW8yLcD4e", "[keyfob:A]");
        let both = only_a.replace("qW7vT2nM9sK4jH6gF1dR8zXc", "[keyfob:B]");
        for (then, expected) in [(None, only_a), (Some(&b), both)] {
            for size in [100, 5_000, 64 * 1024, text.len()] {
                let mut filter = Filter::new(&a, then, Mode::Lines);
                let (mut buffers, mut seen, mut uncopied) = (Buffers::new(size), Vec::new(), false);
                let mut write = |buffers: &mut Buffers| {
                    buffers.out.with(&buffers.input).iter().for_each(|slice| seen.extend_from_slice(slice));
                    buffers.out.clear();
                };
                for read in text.as_bytes().chunks(size) {
                    buffers.input[..read.len()].copy_from_slice(read);
                    filter.push(&buffers.input[..read.len()], &mut buffers.out);
                    uncopied |= !buffers.out.read.is_empty();
                    write(&mut buffers);
                }
                filter.release(Stream::finish, &mut buffers.out);
                write(&mut buffers);
                assert!(seen == expected.as_bytes(), "{} bytes at once, {}", size, then.is_some());
                assert_eq!(uncopied, size > WORTH_A_PIECE && then.is_none(), "{size} bytes at once");
            }
        }
    }
}
