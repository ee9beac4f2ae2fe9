//! A terminal's text as it reads: without escape sequences, without carriage returns, without the breaks of wrapped lines.
//! What is found in it is told by its place in the raw text.

use std::collections::VecDeque;

use zeroize::Zeroizing;

use super::{
    finder::{Finder, Tables},
    track::{Span, Track},
};

/// Longer escape sequences are none, so that one that never ends does not hide what follows.
const LONGEST_CSI: usize = 64;
const LONGEST_STRING: usize = 4096;

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// Escape sequences and carriage returns.
    Escapes,
    /// These, newlines, and the blank that readline writes before it goes back to wrap a line.
    Breaks,
}

pub(super) struct View {
    without: Without,
    escape: Escape,
    /// A blank which might belong to a wrap, at this place of the raw text.
    blank: Option<u64>,
    track: Track,
    /// The places in the raw text of the bytes from `first` on.
    places: VecDeque<u64>,
    first: u64,
}

/// Where in an escape sequence (ECMA-48) the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    Outside,
    /// After ESC and what may come between.
    Begun,
    Csi(usize),
    /// OSC, DCS and the like, up to BEL or ESC \.
    String(usize),
    StringEnds(usize),
}

impl View {
    pub fn new(without: Without) -> Self {
        Self {
            without,
            escape: Escape::Outside,
            blank: None,
            track: Track::default(),
            places: VecDeque::new(),
            first: 0,
        }
    }

    /// Takes what begins at `start` of the raw text; gives from where on, in the raw text, something is undecided.
    pub fn push(&mut self, finder: &Finder, tables: &Tables, start: u64, input: &[u8], found: &mut Vec<Span>) -> u64 {
        let mut seen = Zeroizing::new(Vec::with_capacity(input.len() + 1));
        for (byte, place) in input.iter().zip(start..) {
            self.read(*byte, place, &mut seen);
        }
        let before = found.len();
        self.track.push(tables, &seen, false, found);
        self.to_raw(&mut found[before..]);
        let end = self.track.end() + seen.len() as u64;
        let decided = self.track.undecided(end).min(end.saturating_sub(finder.hold as u64));
        let limit = if decided < end { self.place(decided) } else { start + input.len() as u64 };
        let keep = self.track.settle(finder, end, &seen);
        self.places.drain(..(keep - self.first) as usize);
        self.first = keep;
        limit.min(self.blank.unwrap_or(limit))
    }

    pub fn end_of_text(&mut self, tables: &Tables, found: &mut Vec<Span>) {
        let before = found.len();
        self.track.end_of_text(tables, &[], found);
        self.to_raw(&mut found[before..]);
    }

    fn to_raw(&self, found: &mut [Span]) {
        for span in found {
            (span.start, span.end) = (self.place(span.start), self.place(span.end - 1) + 1);
        }
    }

    /// Where in the raw text something starts that a window speaks for; else `end`.
    pub fn undecided_when_idle(&self, end: u64) -> u64 {
        let own = self.track.end();
        let first = self.track.undecided_when_idle(own);
        if first < own { self.place(first) } else { end }
    }

    pub fn waits_in_vain(&self) -> bool {
        self.track.waits_in_vain()
    }

    pub fn idle(&mut self) {
        self.track.idle();
    }

    fn place(&self, at: u64) -> u64 {
        self.places[(at - self.first) as usize]
    }

    fn read(&mut self, byte: u8, place: u64, seen: &mut Vec<u8>) {
        self.escape = match (self.escape, byte) {
            (Escape::String(_), b'\x07') | (Escape::StringEnds(_), b'\\') => Escape::Outside,
            (Escape::String(n), b'\x1b') => Escape::StringEnds(n),
            (Escape::String(n) | Escape::StringEnds(n), _) if n < LONGEST_STRING => Escape::String(n + 1),
            (_, b'\x1b') => Escape::Begun,
            (Escape::Begun, b'[') => Escape::Csi(0),
            (Escape::Begun, b']' | b'P' | b'X' | b'^' | b'_') => Escape::String(0),
            (Escape::Begun, b' '..=b'/') => Escape::Begun,
            (Escape::Begun, b'0'..=b'~') => Escape::Outside,
            (Escape::Csi(n), b' '..=b'?') if n < LONGEST_CSI => Escape::Csi(n + 1),
            (Escape::Csi(_), b'@'..=b'~') => Escape::Outside,
            // Not, or no longer, a part of a sequence.
            (_, byte) => {
                self.escape = Escape::Outside;
                return self.text(byte, place, seen);
            }
        };
    }

    fn text(&mut self, byte: u8, place: u64, seen: &mut Vec<u8>) {
        let blank = self.blank.take().filter(|_| byte != b'\r');
        if let Some(blank) = blank {
            seen.push(b' ');
            self.places.push_back(blank);
        }
        match (self.without, byte) {
            (_, b'\r') | (Without::Breaks, b'\n') => {}
            (Without::Breaks, b' ') => self.blank = Some(place),
            _ => {
                seen.push(byte);
                self.places.push_back(place);
            }
        }
    }
}
