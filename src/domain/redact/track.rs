//! One text as it grows: which windows were seen in it, and what became of them.
//!
//! ```text
//! look up: window seen -> young, until all windows of the pattern are there -> live, until its last byte is -> found, by the MAC
//! ```
//! Every step follows from the text alone, in the order of the text: it does not matter in which pieces it comes.

use std::{collections::VecDeque, hint::black_box};

use memchr::memrchr;
use zeroize::Zeroizing;

use super::{
    finder::{Finder, Tables, together},
    fingerprint::STRIDE,
    key::WINDOW,
};

/// A MAC costs as much as it is long. So many bytes are checked per byte of text ...
const MAC_PER_BYTE: u64 = 64;
/// ... and so many more. When they are spent, three right windows count as the whole.
const MAC_AT_FIRST: u64 = 256 * 1024;

/// A found pattern's place in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub start: u64,
    pub end: u64,
    pub label: u32,
    /// Where the pattern begins: before `start`, if a line of it had been let out.
    pub whole: u64,
}

#[derive(Default)]
pub(super) struct Track {
    held: Held,
    /// The first place whose window has not been looked up.
    next: u64,
    young: VecDeque<Young>,
    live: Vec<Live>,
    /// The smallest end, and the smallest start, of what is live.
    soonest: u64,
    oldest: u64,
    /// The windows of what could, during the last push, be a pattern: all its windows were there, or are not all here yet.
    suspects: Vec<u64>,
    /// The smallest start of one of them.
    tried: u64,
    spent: u64,
}

struct Young {
    window: u64,
    span: Span,
    pattern: u32,
}

struct Live {
    window: u64,
    span: Span,
    /// What may have been let out before all windows were seen is not masked any more: the lines before the last window's end.
    from: u64,
    pattern: u32,
    /// A shorter pattern was found by the same window: mostly another form of the same.
    explained: bool,
    /// There was no budget left for a MAC.
    unchecked: bool,
}

impl Track {
    /// Looks at what is new. `lines`: a newline has let out what stood before it.
    pub fn push(&mut self, tables: &Tables, input: &[u8], lines: bool, found: &mut Vec<Span>) {
        self.tried = if self.live.is_empty() { u64::MAX } else { self.oldest };
        self.suspects.clear();
        self.suspects.extend(self.live.iter().map(|l| l.window));
        let Self { held, next, young, .. } = self;
        let text = held.with(input);
        look_up(tables, &text, next, |window, pattern, which| {
            let p = tables.pattern(pattern);
            let Some(start) = window.checked_sub(u64::from(p.at[which])).filter(|start| *start >= text.base) else {
                return;
            };
            let span = Span { start, end: start + u64::from(p.len), label: p.label, whole: start };
            young.push_back(Young { window, span, pattern });
        });
        if !self.young.is_empty() || !self.live.is_empty() {
            self.decide(tables, input, lines, false, found);
        }
        self.suspects.extend(self.young.iter().map(|y| y.window));
        self.tried = self.young.iter().map(|y| y.span.start).fold(self.tried, u64::min);
    }

    /// Nothing more comes: decides what waits behind a window whose pattern will never be all there.
    pub fn end_of_text(&mut self, tables: &Tables, input: &[u8], lines: bool, found: &mut Vec<Span>) {
        if !self.young.is_empty() {
            self.decide(tables, input, lines, true, found);
        }
    }

    fn decide(&mut self, tables: &Tables, input: &[u8], lines: bool, is_end: bool, found: &mut Vec<Span>) {
        let Self { held, young, live, soonest, oldest, spent, suspects, tried, .. } = self;
        let text = held.with(input);
        while let Some(first) = young.front() {
            let p = tables.pattern(first.pattern);
            let Span { start, end, .. } = first.span;
            let windows_end = start + u64::from(p.windows_end());
            let all_there = windows_end <= text.end();
            if !all_there && !is_end {
                break; // the budget is spent in the order of the text
            }
            if all_there
                && together(p.at.map(|at| tables.bloom.hash.of(text.eight(start + u64::from(at))))) == p.together
            {
                let unchecked = *spent + u64::from(p.len) > MAC_AT_FIRST + MAC_PER_BYTE * first.window;
                *spent += if unchecked { 0 } else { u64::from(p.len) };
                (*soonest, *oldest) =
                    if live.is_empty() { (end, start) } else { (end.min(*soonest), start.min(*oldest)) };
                let from = if lines { text.line_before(start, windows_end - 1) } else { start };
                let Young { window, span, pattern } = *first;
                suspects.push(window);
                *tried = start.min(*tried);
                live.push(Live { window, span, from, pattern, explained: false, unchecked });
            }
            young.pop_front();
        }
        if live.is_empty() || *soonest > text.end() {
            return;
        }
        let mut windows = Vec::new();
        live.retain(|l| {
            if l.span.end > text.end() {
                return true;
            }
            let there = || tables.key.mac(text.parts(l.span.start, l.span.end)) == tables.pattern(l.pattern).mac;
            if l.unchecked || there() {
                found.push(Span { start: l.span.start.max(l.from), ..l.span });
                windows.push(l.window);
            }
            false
        });
        live.iter_mut().for_each(|l| l.explained |= windows.contains(&l.window));
        *soonest = live.iter().map(|l| l.span.end).min().unwrap_or(0);
        *oldest = live.iter().map(|l| l.span.start).min().unwrap_or(0);
    }

    /// No pattern whose windows were all seen before the end of the last push, and that was not decided before it, starts before.
    pub fn tried(&self) -> u64 {
        self.tried
    }

    /// In their order: windows of all that, in the last push, could have been a pattern.
    pub fn suspects(&self) -> &[u64] {
        &self.suspects
    }

    /// Where the text ends.
    pub fn end(&self) -> u64 {
        self.held.base + self.held.bytes.len() as u64
    }

    /// Where the first pattern starts that a window speaks for and that is not all there; else `end`.
    pub fn undecided(&self, end: u64) -> u64 {
        let young = self.young.iter().map(|y| y.span.start).min().unwrap_or(end);
        let live = if self.live.is_empty() { end } else { self.oldest };
        end.min(young).min(live)
    }

    /// As [`Self::undecided`], once what is explained by what was found is given up.
    pub fn undecided_when_idle(&self, end: u64) -> u64 {
        let young = self.young.iter().map(|y| y.span.start);
        young.chain(self.live.iter().filter(|l| !l.explained).map(|l| l.span.start)).fold(end, u64::min)
    }

    /// Whether [`Self::idle`] would give something up.
    pub fn waits_in_vain(&self) -> bool {
        self.live.iter().any(|l| l.explained)
    }

    /// Nothing has come for a while: what was found is taken for all that there was. Else whatever follows a value would wait
    /// for a longer form of it, which that is not.
    pub fn idle(&mut self) {
        self.live.retain(|l| !l.explained);
        self.soonest = self.live.iter().map(|l| l.span.end).min().unwrap_or(0);
        self.oldest = self.live.iter().map(|l| l.span.start).min().unwrap_or(0);
    }

    /// Forgets all, and goes on at this place: what has been spent stays spent.
    pub fn restart(&mut self, at: u64) {
        self.held.restart(at);
        self.next = at.next_multiple_of(STRIDE as u64);
        self.young.clear();
        self.live.clear();
        self.suspects.clear();
        (self.soonest, self.oldest, self.tried) = (0, 0, 0);
    }

    pub fn with<'a>(&'a self, input: &'a [u8]) -> Text<'a> {
        self.held.with(input)
    }

    /// Takes the input over, and forgets what neither `released` nor a later window can ask for; gives where what is held
    /// begins.
    pub fn settle(&mut self, finder: &Finder, released: u64, input: &[u8]) -> u64 {
        let end = self.end() + input.len() as u64;
        let keep = self.undecided(end).min(end.saturating_sub(finder.hold as u64)).min(released).max(self.held.base);
        // The last windows are not looked up yet, and their bytes are needed for it.
        let keep = keep.min(self.next.max(self.held.base));
        self.held.advance(keep, input);
        self.held.base
    }
}

/// Where what the last newline lets out ends, in a text whose end has come now; without a newline, what nothing undecided can reach
/// back to. A newline farther back lets nothing out that is not free already.
pub(super) fn free_by_newline(input: &[u8], end: u64, hold: usize) -> u64 {
    let tail = &input[input.len().saturating_sub(hold)..];
    let newline = memrchr(b'\n', tail);
    newline.map_or(end.saturating_sub(hold as u64), |at| end - (tail.len() - at - 1) as u64)
}

/// Whether no pattern's window is in the text.
pub(super) fn has_none(tables: &Tables, whole: &[u8]) -> bool {
    let mut none = true;
    look_up(tables, &Text::whole(whole), &mut 0, |_, _, _| none = false);
    none
}

/// Looks up all windows that end within the text.
fn look_up(tables: &Tables, text: &Text, next: &mut u64, mut hit: impl FnMut(u64, u32, usize)) {
    let middle = text.base + text.held.len() as u64;
    // Those which begin in what is held ...
    while *next < middle && *next + WINDOW as u64 <= text.end() {
        if tables.bloom.may_have(text.eight(*next)) {
            tables.with_window(text.eight(*next), |pattern, which| hit(*next, pattern, which));
        }
        *next += STRIDE as u64;
    }
    // ... and those in the input.
    if let Some(from) = next.checked_sub(middle) {
        let scanned = tables.kernel.scan(tables.bloom, text.input, from as usize, |at, block, places| {
            for (place, eight) in tables.likely(block, places) {
                tables.with_window(eight, |pattern, which| hit(middle + (at + place) as u64, pattern, which));
            }
        });
        *next = middle + scanned as u64;
    }
}

/// What is held, and what has come, as one.
pub(super) struct Text<'a> {
    pub base: u64,
    held: &'a [u8],
    pub input: &'a [u8],
}

impl<'a> Text<'a> {
    pub fn whole(input: &'a [u8]) -> Self {
        Self { base: 0, held: &[], input }
    }

    pub fn end(&self) -> u64 {
        self.base + (self.held.len() + self.input.len()) as u64
    }

    pub fn parts(&self, start: u64, end: u64) -> (&'a [u8], &'a [u8]) {
        let (start, end) = ((start - self.base) as usize, (end - self.base) as usize);
        let middle = self.held.len();
        (
            &self.held[start.min(middle)..end.min(middle)],
            &self.input[start.max(middle) - middle..end.max(middle) - middle],
        )
    }

    /// How many bytes of the input are before `at`.
    pub fn in_input(&self, at: u64) -> usize {
        (at - self.base) as usize - self.held.len()
    }

    /// The window at `at` and up to two bytes after it.
    fn eight(&self, at: u64) -> [u8; 8] {
        let input = at.checked_sub(self.base + self.held.len() as u64).and_then(|at| self.input.get(at as usize..));
        if let Some(eight) = input.and_then(|input| input.first_chunk()) {
            return *eight;
        }
        let mut eight = [0; 8];
        let (a, b) = self.parts(at, self.end().min(at + 8));
        eight[..a.len()].copy_from_slice(a);
        eight[a.len()..a.len() + b.len()].copy_from_slice(b);
        eight
    }

    /// `start`, or where the last line begins that begins between there and `end`.
    fn line_before(&self, start: u64, end: u64) -> u64 {
        let (a, b) = self.parts(start, end);
        let newline = |part: &[u8]| memrchr(b'\n', part).map(|at| at as u64 + 1);
        newline(b).map(|at| a.len() as u64 + at).or_else(|| newline(a)).map_or(start, |at| start + at)
    }
}

/// The end of a text. Wiped where it is given up.
#[derive(Default)]
struct Held {
    bytes: Zeroizing<Vec<u8>>,
    base: u64,
}

/// At once, which is quicker than byte by byte.
pub(super) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}

impl Held {
    fn restart(&mut self, at: u64) {
        wipe(&mut self.bytes);
        self.bytes.clear();
        self.base = at;
    }

    fn with<'a>(&'a self, input: &'a [u8]) -> Text<'a> {
        Text { base: self.base, held: &self.bytes, input }
    }

    /// Drops what is before `keep`, which may lie within the input, and appends the input's rest.
    fn advance(&mut self, keep: u64, input: &[u8]) {
        let len = self.bytes.len();
        let dead = (keep - self.base) as usize;
        if dead >= len {
            self.restart(keep);
            self.append(&input[dead - len..]);
            return;
        }
        // Moved only when it frees at least as much as is moved, so that single bytes are cheap.
        if dead > 0 && dead >= len / 2 {
            self.bytes.copy_within(dead.., 0);
            wipe(&mut self.bytes[len - dead..]);
            self.bytes.truncate(len - dead);
            self.base = keep;
        }
        self.append(input);
    }

    fn append(&mut self, input: &[u8]) {
        append(&mut self.bytes, input);
    }
}

/// Where it has to grow, what was there is wiped.
pub(super) fn append(bytes: &mut Zeroizing<Vec<u8>>, input: &[u8]) {
    if bytes.capacity() - bytes.len() < input.len() {
        let needed = bytes.len() + input.len();
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * bytes.capacity()).max(256)));
        larger.extend_from_slice(bytes);
        *bytes = larger; // the old one is wiped
    }
    bytes.extend_from_slice(input);
}
