//! A value taken apart: its texts, their lines, and the region of each part.

use std::ops::{Deref, Range};

use zeroize::Zeroizing;

use super::{
    ENOUGH, Form, Strength, json,
    judge::{self, SHORTEST, Worth},
};

/// A value's texts, the inner ones first.
pub(super) struct Plan<'a> {
    pub texts: Vec<Text<'a>>,
    regions: Regions,
}

pub(super) struct Text<'a> {
    pub form: Form,
    pub bytes: Bytes<'a>,
    pub parts: Vec<Part>,
    worth: Worth,
    /// A key between armour lines.
    armoured: bool,
}

/// What is made patterns of.
pub(super) struct Part {
    pub range: Range<usize>,
    pub kind: Kind,
    /// Where in the text its region starts.
    pub region: usize,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Whole,
    Line,
    /// A line and short ones next to it.
    Lines,
    /// What makes one line of folded base64; the last one may be two.
    Folded {
        columns: usize,
    },
}

pub(super) enum Bytes<'a> {
    Given(&'a [u8]),
    Made(Zeroizing<Vec<u8>>),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Given(bytes) => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

impl<'a> Plan<'a> {
    /// Nothing for what can't be redacted.
    pub fn of(value: &'a [u8]) -> Option<Self> {
        let mut plan = Self { texts: Vec::new(), regions: Regions::default() };
        plan.take(Bytes::Given(value.trim_ascii()), Form::Raw, 0);
        let whole = plan.texts.last_mut().filter(|text| text.form == Form::Raw)?;
        whole.fold();
        plan.choose();
        Some(plan)
    }

    /// Takes a text and, before it, those inside of it.
    fn take(&mut self, bytes: Bytes<'a>, form: Form, depth: usize) {
        /// JSON in a string of JSON, and a URL or a key in it.
        const DEEPEST: usize = 4;
        if judge::too_common(&bytes) || self.texts.iter().any(|text| *text.bytes == *bytes) {
            return;
        }
        let mut public = Vec::new();
        let mut lines = Vec::new();
        let armoured = bytes.windows(11).any(|w| w == b"-----BEGIN ");
        if let Some(leaves) = json::leaves(&bytes) {
            let mut known = 0;
            for leaf in leaves {
                if depth < DEEPEST {
                    self.take(Bytes::Made(leaf.text), Form::JsonLeaf, depth + 1);
                }
                public.push(known..leaf.source.start);
                known = leaf.source.end;
            }
            if known > 0 {
                public.push(known..bytes.len());
            }
        } else if bytes.contains(&b'\n') {
            (lines, public) = taken_by_line(&bytes, armoured);
        } else if armoured && bytes.windows(2).any(|w| w == b"\\n") {
            self.take(Bytes::Made(line_ends(&bytes)), Form::Unescaped, depth + 1);
        } else {
            public = judge::public(&bytes).into();
            if let Some(password) = judge::password(&bytes) {
                self.take(Bytes::Made(percent_decoded(&bytes[password])), Form::Password, depth + 1);
            }
        }
        let worth = judge::worth(&bytes, &public);
        let mut parts = vec![Part { range: 0..bytes.len(), kind: Kind::Whole, region: 0 }];
        parts.append(&mut lines);
        self.texts.push(Text { form, bytes, parts, worth, armoured });
    }

    /// Gives every part a region: one of those already chosen that lies in it, or else a new one.
    fn choose(&mut self) {
        /// Neither public nor over a line's end.
        const PASSABLE: i32 = -7;
        let Self { texts, regions } = self;
        regions.room_for(texts.iter().map(|text| text.parts.len()).sum());
        for text in texts {
            let bits = judge::bits(&text.worth);
            let mut phase = None;
            for part in &mut text.parts {
                let score = |at: &usize| judge::score(&text.bytes, &text.worth, part.range.start, *at, None);
                let known = regions.within(&text.bytes, &part.range).max_by_key(score);
                // Regions 48 bytes apart lie one in each folded line, and one in each line of a key.
                let next = phase.map(|phase| part.range.start + (48 + phase - part.range.start % 48) % 48);
                let next = next.filter(|at: &usize| *at + 8 <= part.range.end && score(at) >= PASSABLE);
                part.region = known.or(next).unwrap_or_else(|| {
                    let bits = Some(bits).filter(|_| part.kind == Kind::Whole);
                    judge::best_region(&text.bytes, &text.worth, part.range.clone(), bits)
                });
                phase = phase.or(Some(part.region % 48));
                regions.add(&text.bytes[part.region..][..8]);
            }
        }
    }

    /// What is left when all regions are known: see the page of [`super`].
    pub fn strength(&self) -> Strength {
        let weak = |text: &Text| {
            let mut left = text.worth.clone();
            for at in self.regions.within(&text.bytes, &(0..text.bytes.len())) {
                left[at..at + 8].fill(0);
            }
            // A part that can be guessed is lost as well.
            let weak: Vec<&Part> = text
                .parts
                .iter()
                .filter(|p| p.kind != Kind::Lines && judge::bits(&left[p.range.clone()]) < ENOUGH)
                .collect();
            let alone = |part: &&Part| part.kind == Kind::Whole || part.kind == Kind::Line && !text.armoured;
            if weak.iter().any(alone) {
                return true;
            }
            weak.iter().for_each(|part| left[part.range.clone()].fill(0));
            let lost = left.iter().filter(|left| **left == 0).count();
            let public = text.worth.iter().filter(|worth| **worth == 0).count();
            judge::bits(&left) < ENOUGH || text.armoured && 4 * (lost - public) > text.bytes.len() - public
        };
        if self.texts.iter().any(weak) { Strength::Weak } else { Strength::Strong }
    }
}

impl Text<'_> {
    /// What base64(1), which folds at 76 columns, and openssl and PEM, which do at 64, put on one line.
    fn fold(&mut self) {
        for (columns, each) in [(64, 48), (76, 57)] {
            let len = self.bytes.len();
            if len <= each {
                continue;
            }
            // What is too short by itself is found behind the line before it.
            let tail = len % each;
            let joined = (1..SHORTEST).contains(&tail);
            let lines = len.div_ceil(each);
            for line in 0..lines {
                let mut range = line * each..len.min((line + 1) * each);
                if joined && line == lines - 1 {
                    range.start -= each;
                }
                self.parts.push(Part { range, kind: Kind::Folded { columns }, region: 0 });
            }
        }
    }
}

/// The lines of a text that has several, and what everybody knows of it.
fn taken_by_line(bytes: &[u8], armoured: bool) -> (Vec<Part>, Vec<Range<usize>>) {
    let (mut parts, mut public) = (Vec::new(), Vec::new());
    let mut start = 0;
    // Where the lines start that short ones are joined to, and whether one of them is long enough.
    let mut group: Option<(usize, bool)> = None;
    let mut after_armour = false;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let text = trimmed(bytes, start..start + line.len());
        start += line.len();
        if known_to_all(&bytes[text.clone()]) {
            after_armour = bytes[text.clone()].starts_with(b"-----BEGIN");
            public.push(text);
            group = None;
            continue;
        }
        let own = if armoured { text.clone() } else { value_side(bytes, text.clone()) };
        if std::mem::take(&mut after_armour) {
            // What a key's encoding starts with: its kind, its length, the algorithm.
            public.push(own.start..own.end.min(own.start + 40));
        } else {
            public.push(text.start..own.start);
        }
        let of_own = &bytes[own.clone()];
        let long = !judge::too_common(of_own) && !judge::plain_url(of_own);
        if long {
            parts.push(Part { range: own, kind: Kind::Line, region: 0 });
        }
        match group {
            Some((from, true)) if !long => {
                parts.retain(|part: &Part| part.kind != Kind::Lines || part.range.start != from);
                parts.push(Part { range: from..text.end, kind: Kind::Lines, region: 0 });
            }
            Some((from, false)) if long => {
                parts.push(Part { range: from..text.end, kind: Kind::Lines, region: 0 });
                group = Some((text.start, true));
            }
            Some((_, false)) => {}
            _ => group = Some((text.start, long)),
        }
    }
    (parts, public)
}

/// Lines that stand in many files, so that they are not looked for by themselves.
fn known_to_all(line: &[u8]) -> bool {
    // An OpenSSH key's first line: no cipher, no KDF, one key.
    const OPENSSH: &[u8] = b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAA";
    line.starts_with(b"-----BEGIN ")
        || line.starts_with(b"-----END ")
        || line.starts_with(OPENSSH)
        || !line.iter().any(|b| b.is_ascii_alphanumeric() || !b.is_ascii())
}

/// Of a line `NAME=value` or `name: value` what stands behind the name, without quotation marks.
fn value_side(bytes: &[u8], line: Range<usize>) -> Range<usize> {
    let text = &bytes[line.clone()];
    let start = text.iter().take_while(|b| b.is_ascii_whitespace() || b"-".contains(b)).count();
    let name = text[start..].strip_prefix(b"export ").map_or(start, |_| start + 7);
    let Some(len) = text[name..].iter().position(|b| !(b.is_ascii_alphanumeric() || b"_-.".contains(b))) else {
        return line;
    };
    let separator = text[name + len];
    let rest = trimmed(bytes, line.start + name + len + 1..line.end);
    if len == 0 || !b"=:".contains(&separator) || rest.is_empty() || b"=/".contains(&bytes[rest.start]) {
        return line;
    }
    let quoted = rest.len() >= 2 && b"'\"".contains(&bytes[rest.start]) && bytes[rest.start] == bytes[rest.end - 1];
    if quoted { rest.start + 1..rest.end - 1 } else { rest }
}

fn trimmed(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let text = &bytes[range.clone()];
    let start = range.start + (text.len() - text.trim_ascii_start().len());
    start..start + text.trim_ascii().len()
}

/// The text with its `\n` turned into line ends, as programs do that take a key from a variable.
fn line_ends(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let end = rest.strip_prefix(b"\\n").or_else(|| rest.strip_prefix(b"\\r\\n"));
        out.push(if end.is_some() { b'\n' } else { *first });
        rest = end.unwrap_or(after);
    }
    let len = out.trim_ascii_end().len();
    out.truncate(len);
    out
}

fn percent_decoded(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let digit = |i: usize| after.get(i).and_then(|b| char::from(*b).to_digit(16));
        let decoded = digit(0).zip(digit(1)).filter(|_| *first == b'%').map(|(high, low)| (16 * high + low) as u8);
        out.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    out
}

/// The regions of a value: not where they are but what stands in them, because a text stands in another one.
#[derive(Default)]
struct Regions {
    /// Sorted.
    known: Zeroizing<Vec<[u8; 8]>>,
    first: Vec<bool>,
}

impl Regions {
    /// So that none is left behind where the list was.
    fn room_for(&mut self, regions: usize) {
        self.known.reserve_exact(regions);
        self.first = vec![false; 256];
    }

    fn add(&mut self, region: &[u8]) {
        let Ok(region) = region.try_into() else { return };
        if let Err(place) = self.known.binary_search(&region) {
            debug_assert!(self.known.len() < self.known.capacity());
            self.first[usize::from(region[0])] = true;
            self.known.insert(place, region);
        }
    }

    /// Where regions lie in a part of a text.
    fn within(&self, text: &[u8], part: &Range<usize>) -> impl Iterator<Item = usize> {
        let windows = text[part.clone()].windows(8).zip(part.start..);
        windows.filter(|(window, _)| self.is_region(window)).map(|(_, at)| at)
    }

    fn is_region(&self, window: &[u8]) -> bool {
        self.first.get(usize::from(window[0])) == Some(&true)
            && self.known.binary_search_by(|known| known[..].cmp(window)).is_ok()
    }
}
