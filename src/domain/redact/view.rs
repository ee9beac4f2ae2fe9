//! A text as it reads: without escape sequences, on a terminal without carriage returns and the breaks of wrapped lines too.
//! What is found in it is told by its place in the raw text.
//!
//! Where few escape sequences are expected, a view sleeps, and glances at each that comes. Most are in no pattern, and that is seen
//! without reading all that is around: the windows of a pattern lie in a few bytes. Either an escape sequence stands between those,
//! which a look at as many bytes on either side of it tells. Or it does not; then the raw text has them as they are, and whoever
//! reads that has seen them, as far from the escape sequence as a pattern reaches. Where neither is so, there is nothing to
//! do. Else, and where too little has come yet to tell, it wakes. It then begins with what is held of the raw text: all that could be
//! the beginning of something with an escape sequence in it is still there.

use std::{collections::VecDeque, ops::Range};

use memchr::{memchr, memchr2};
use zeroize::Zeroizing;

use super::{
    finder::{Finder, Tables},
    track::{self, Span, Text, Track, free_by_newline, wipe},
};

const ESC: u8 = 0x1b;
/// Longer escape sequences are none, so that one that never ends does not hide what follows.
const LONGEST_CSI: usize = 64;
const LONGEST_STRING: usize = 4096;
/// So much is read at once besides what must follow an escape sequence before a view may sleep: a few of them often stand together.
const TOGETHER: usize = 128;

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
    /// Where the bytes from `first` to `end` are in the raw text: a place of this one, the same in the raw one, and on from there
    /// until the next.
    runs: VecDeque<(u64, u64)>,
    first: u64,
    end: u64,
    /// Empty, to be used again.
    seen: Zeroizing<Vec<u8>>,
    /// The same.
    passed: VecDeque<Sequence>,
}

/// Where an escape sequence begins in the raw text, and what was left out before it.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    at: u64,
    omitted: u64,
    last_omitted: u64,
}

impl Sequence {
    /// Of a pattern which has it inside, the windows begin before this place of the view, or at it.
    fn reach(self, finder: &Finder) -> u64 {
        self.at - self.omitted + finder.hold as u64
    }
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
    memchr(ESC, text).is_some()
}

/// Whether no pattern's window is in what is left of the text without escape sequences.
pub(super) fn has_none(tables: &Tables, whole: &[u8]) -> bool {
    let mut left = Vec::with_capacity(whole.len());
    View::new(Without::Escapes, false).read_all(whole, 0, &mut left);
    let none = track::has_none(tables, &left);
    wipe(&mut left);
    none
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
            runs: VecDeque::new(),
            first: 0,
            end: 0,
            seen: Zeroizing::default(),
            passed: VecDeque::new(),
        }
    }

    /// Takes the raw text's new end, which `raw` has taken already; gives from where on, in the raw text, something is undecided.
    pub fn push(
        &mut self,
        finder: &Finder,
        tables: &Tables,
        text: &Text,
        raw: Option<&Track>,
        found: &mut Vec<Span>,
    ) -> u64 {
        let (mut at, end) = (text.end() - text.input.len() as u64, text.end());
        let Some(raw) = raw.filter(|_| self.lines) else {
            let limit = self.take(finder, tables, text, at..end, found);
            return limit.min(self.blank.unwrap_or(limit));
        };
        // In slices, so that one escape sequence does not keep it awake for all of the input.
        let mut limit = 0;
        while at < end {
            let mut start = at;
            if !self.awake {
                let Some(escape) = self.glance(finder, tables, text, raw.suspects(), at) else { break };
                at = escape;
                // A pattern with this escape sequence in it that began before had all its windows before, and was tried there.
                let hold = finder.hold as u64;
                let before = at.saturating_sub(hold).min(raw.tried()).max(at.saturating_sub(finder.longest));
                start = text.base.max(self.last_omitted).max(before);
                self.wake(start);
            }
            let next = end.min(at + (finder.hold + TOGETHER) as u64);
            limit = limit.max(self.take(finder, tables, text, start..next, found));
            at = next;
        }
        if self.awake { limit } else { end }
    }

    /// Passes, asleep, from here on over what is in no pattern; gives where the first escape sequence is that it has to wake for.
    fn glance(&mut self, finder: &Finder, tables: &Tables, text: &Text, suspects: &[u64], from: u64) -> Option<u64> {
        let wakes = self.pass(finder, tables, text, suspects, from);
        let first = self.passed.front().copied().filter(|_| wakes);
        self.passed.clear();
        wipe(&mut self.seen);
        self.seen.clear();
        let first = first?;
        (self.omitted, self.last_omitted, self.escape) = (first.omitted, first.last_omitted, Escape::Outside);
        Some(first.at)
    }

    /// Whether a pattern may have an escape sequence inside. The first that may be is then the first of `passed`: those are left
    /// out, on the way, that no pattern can have inside any more. `seen` has what stands around those that stand together.
    fn pass(&mut self, finder: &Finder, tables: &Tables, text: &Text, suspects: &[u64], mut from: u64) -> bool {
        let (around, end) = (finder.span.saturating_sub(1) as u64, text.end());
        let mut suspects = suspects.iter().copied().peekable();
        let mut suspect = None;
        loop {
            let escape = memchr(ESC, text.parts(from, end).1).map_or(end, |at| from + at as u64);
            while let Some(window) = suspects.next_if(|window| *window < escape) {
                let place = window.saturating_sub(self.omitted);
                suspect = Some(place);
                if self.passed.back().is_some_and(|sequence| sequence.reach(finder) >= place) {
                    return true;
                }
            }
            let place = escape - self.omitted;
            let apart = escape == end || escape - from >= 2 * around;
            if apart && !self.seen.is_empty() {
                self.see(text, from, escape.min(from + around));
                if !track::has_none(tables, &self.seen) {
                    return true;
                }
                wipe(&mut self.seen);
                self.seen.clear();
            }
            if self.seen.is_empty() {
                while self.passed.front().is_some_and(|sequence| sequence.reach(finder) < place) {
                    self.passed.pop_front();
                }
                from = escape.saturating_sub(around).max(self.last_omitted).max(text.base);
            }
            if escape == end {
                return !self.passed.is_empty();
            }
            self.see(text, from, escape);
            self.passed.push_back(Sequence { at: escape, omitted: self.omitted, last_omitted: self.last_omitted });
            if suspect.is_some_and(|suspect| place <= suspect + finder.longest) {
                return true;
            }
            from = escape;
            for byte in text.parts(escape, end).1 {
                if self.is_text(*byte) {
                    break;
                }
                self.omit(from);
                from += 1;
                if self.escape == Escape::Outside {
                    break;
                }
            }
            if self.escape != Escape::Outside {
                return true; // it is not all here
            }
        }
    }

    fn see(&mut self, text: &Text, start: u64, end: u64) {
        let (held, input) = text.parts(start, end);
        track::append(&mut self.seen, held);
        track::append(&mut self.seen, input);
    }

    fn take(&mut self, finder: &Finder, tables: &Tables, text: &Text, range: Range<u64>, found: &mut Vec<Span>) -> u64 {
        let (held, input) = text.parts(range.start, range.end);
        let mut seen = std::mem::take(&mut self.seen);
        seen.reserve(held.len() + input.len() + 1);
        self.read_all(held, range.start, &mut seen);
        self.read_all(input, range.start + held.len() as u64, &mut seen);
        let before = found.len();
        self.track.push(tables, &seen, self.lines, found);
        self.to_raw(found, before);
        let hold = self.end.saturating_sub(finder.hold as u64);
        let free = if self.lines { free_by_newline(&seen, self.end, finder.hold) } else { hold };
        let limit = self.place(self.track.undecided(self.end).min(free)).unwrap_or(range.end);
        self.first = self.track.settle(finder, self.end, &seen);
        wipe(&mut seen);
        seen.clear();
        self.seen = seen;
        while self.runs.get(1).is_some_and(|(view, _)| *view <= self.first) {
            self.runs.pop_front();
        }
        let past = |place: Option<u64>| place.is_none_or(|place| place >= self.last_omitted);
        if self.lines
            && self.escape == Escape::Outside
            && hold >= self.first
            && past(self.place(hold))
            && past(Some(limit))
        {
            self.sleep(); // what is still undecided is so in the raw text as well
        }
        limit
    }

    fn sleep(&mut self) {
        self.awake = false;
        self.runs.clear();
        self.track.restart(self.end);
    }

    /// Goes on at this place of the raw text, as if it had read all before it.
    fn wake(&mut self, raw: u64) {
        self.awake = true;
        self.first = raw - self.omitted;
        self.end = self.first;
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
        let next = self.runs.partition_point(|(view, _)| *view <= at);
        let (view, raw) = self.runs.get(next.checked_sub(1)?)?;
        (at < self.end).then(|| raw + at - view)
    }

    /// Reads what begins at `start` of the raw text.
    fn read_all(&mut self, bytes: &[u8], start: u64, seen: &mut Vec<u8>) {
        let mut at = 0;
        while at < bytes.len() {
            if self.escape == Escape::Outside {
                let rest = &bytes[at..];
                let plain = match self.without {
                    Without::Escapes => memchr(ESC, rest).unwrap_or(rest.len()),
                    Without::Returns => memchr2(ESC, b'\r', rest).unwrap_or(rest.len()),
                    Without::Breaks => 0,
                };
                if plain > 0 {
                    self.keep(&rest[..plain], start + at as u64, seen);
                    at += plain;
                }
            }
            if let Some(byte) = bytes.get(at) {
                self.read(*byte, start + at as u64, seen);
                at += 1;
            }
        }
    }

    /// Text, which stands at this place of the raw text.
    fn keep(&mut self, bytes: &[u8], place: u64, seen: &mut Vec<u8>) {
        if self.runs.back().is_none_or(|(view, raw)| raw + (self.end - view) != place) {
            self.runs.push_back((self.end, place));
        }
        self.end += bytes.len() as u64;
        seen.extend_from_slice(bytes);
    }

    fn read(&mut self, byte: u8, place: u64, seen: &mut Vec<u8>) {
        match self.is_text(byte) {
            true => self.text(byte, place, seen),
            false => self.omit(place),
        }
    }

    /// What follows the text so far; else a part of an escape sequence.
    fn is_text(&mut self, byte: u8) -> bool {
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
            _ => {
                self.escape = Escape::Outside;
                return true;
            }
        };
        false
    }

    fn omit(&mut self, place: u64) {
        self.omitted += 1;
        self.last_omitted = place + 1;
    }

    fn text(&mut self, byte: u8, place: u64, seen: &mut Vec<u8>) {
        let blank = self.blank.take().filter(|_| byte != b'\r');
        if let Some(blank) = blank {
            self.keep(b" ", blank, seen);
        }
        match (self.without, byte) {
            (Without::Returns | Without::Breaks, b'\r') | (Without::Breaks, b'\n') => self.omit(place),
            (Without::Breaks, b' ') => self.blank = Some(place),
            _ => self.keep(&[byte], place, seen),
        }
    }
}
