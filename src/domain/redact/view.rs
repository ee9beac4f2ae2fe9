//! A text as it reads: without escape sequences, on a terminal without carriage returns and the breaks of wrapped lines too.
//! What is found in it is told by its place in the raw text.
//!
//! Where few escape sequences are expected, a view sleeps until one comes. It then begins with what is held of the raw text: all
//! that could be the beginning of something with an escape sequence in it is still there.

use std::collections::VecDeque;

use zeroize::Zeroizing;

use super::{
    finder::{Finder, Tables},
    track::{Span, Text, Track, free_by_newline},
};

const ESC: u8 = 0x1b;
/// Longer escape sequences are none, so that one that never ends does not hide what follows.
const LONGEST_CSI: usize = 64;
const LONGEST_STRING: usize = 4096;

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// Escape sequences.
    Escapes,
    /// These, and carriage returns.
    Returns,
    /// These, newlines, and the blank that readline writes before it goes back to wrap a line.
    Breaks,
}

pub(super) struct View {
    without: Without,
    /// What it reads is a text of lines, and it sleeps between escape sequences.
    lines: bool,
    awake: bool,
    /// How many bytes of the raw text were left out.
    omitted: u64,
    /// Where in the raw text the last of them is, one past it.
    last_omitted: u64,
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

pub(super) fn has_escapes(text: &[u8]) -> bool {
    text.contains(&ESC)
}

impl View {
    pub fn new(without: Without, lines: bool) -> Self {
        Self {
            without,
            lines,
            awake: !lines,
            omitted: 0,
            last_omitted: 0,
            escape: Escape::Outside,
            blank: None,
            track: Track::default(),
            places: VecDeque::new(),
            first: 0,
        }
    }

    /// Takes the raw text's new end; gives from where on, in the raw text, something is undecided.
    pub fn push(&mut self, finder: &Finder, tables: &Tables, text: &Text, found: &mut Vec<Span>) -> u64 {
        let mut start = text.end() - text.input.len() as u64;
        if !self.awake {
            if !has_escapes(text.input) {
                return text.end();
            }
            start = text.base.max(self.last_omitted);
            self.wake(start);
        }
        let (held, input) = text.parts(start, text.end());
        let mut seen = Zeroizing::new(Vec::with_capacity(held.len() + input.len() + 1));
        for (byte, place) in held.iter().chain(input).zip(start..) {
            self.read(*byte, place, &mut seen);
        }
        let before = found.len();
        self.track.push(tables, &seen, self.lines, found);
        self.to_raw(found, before);
        let end = self.track.end() + seen.len() as u64;
        let hold = end.saturating_sub(finder.hold as u64);
        let free = if self.lines { free_by_newline(&seen, end, finder.hold) } else { hold };
        let limit = self.place(self.track.undecided(end).min(free)).unwrap_or(text.end());
        let keep = self.track.settle(finder, end, &seen);
        self.places.drain(..(keep - self.first) as usize);
        self.first = keep;
        let past = |place: Option<u64>| place.is_none_or(|place| place >= self.last_omitted);
        if self.lines
            && self.escape == Escape::Outside
            && hold >= self.first
            && past(self.place(hold))
            && past(Some(limit))
        {
            self.sleep(end); // what is still undecided is so in the raw text as well
        }
        limit.min(self.blank.unwrap_or(limit))
    }

    fn sleep(&mut self, end: u64) {
        self.awake = false;
        self.places.clear();
        self.track.restart(end);
    }

    /// Goes on at this place of the raw text, as if it had read all before it.
    fn wake(&mut self, raw: u64) {
        self.awake = true;
        self.first = raw - self.omitted;
        self.track.restart(self.first);
    }

    pub fn end_of_text(&mut self, tables: &Tables, found: &mut Vec<Span>) {
        if !self.awake {
            return;
        }
        let before = found.len();
        self.track.end_of_text(tables, &[], self.lines, found);
        self.to_raw(found, before);
    }

    /// Where things are in the raw text. What has nothing omitted within is found there, and dropped here.
    fn to_raw(&self, found: &mut Vec<Span>, before: usize) {
        let place = |at| self.place(at).expect("what is found is held");
        let spans: Vec<Span> = found.drain(before..).collect();
        found.extend(spans.into_iter().filter_map(|span| {
            let (whole, end) = (place(span.whole), place(span.end - 1) + 1);
            let has_omitted = end - whole > span.end - span.whole;
            has_omitted.then(|| Span { start: place(span.start), end, whole, ..span })
        }));
    }

    /// Where in the raw text something starts that a window speaks for; else `end`.
    pub fn undecided_when_idle(&self, end: u64) -> u64 {
        if !self.awake {
            return end;
        }
        let own = self.track.end();
        self.place(self.track.undecided_when_idle(own)).unwrap_or(end)
    }

    pub fn waits_in_vain(&self) -> bool {
        self.awake && self.track.waits_in_vain()
    }

    pub fn idle(&mut self) {
        self.track.idle();
    }

    /// In the raw text; none where the text ends.
    fn place(&self, at: u64) -> Option<u64> {
        self.places.get((at - self.first) as usize).copied()
    }

    fn read(&mut self, byte: u8, place: u64, seen: &mut Vec<u8>) {
        self.escape = match (self.escape, byte) {
            (Escape::String(_), b'\x07') | (Escape::StringEnds(_), b'\\') => Escape::Outside,
            (Escape::String(n), ESC) => Escape::StringEnds(n),
            (Escape::String(n) | Escape::StringEnds(n), _) if n < LONGEST_STRING => Escape::String(n + 1),
            (_, ESC) => Escape::Begun,
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
        self.omit(place);
    }

    fn omit(&mut self, place: u64) {
        self.omitted += 1;
        self.last_omitted = place + 1;
    }

    fn text(&mut self, byte: u8, place: u64, seen: &mut Vec<u8>) {
        let blank = self.blank.take().filter(|_| byte != b'\r');
        if let Some(blank) = blank {
            seen.push(b' ');
            self.places.push_back(blank);
        }
        match (self.without, byte) {
            (Without::Returns | Without::Breaks, b'\r') | (Without::Breaks, b'\n') => self.omit(place),
            (Without::Breaks, b' ') => self.blank = Some(place),
            _ => {
                seen.push(byte);
                self.places.push_back(place);
            }
        }
    }
}
