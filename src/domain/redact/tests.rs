//! The mechanism against a reference that has the patterns and looks for them everywhere.

use std::ops::Range;

use super::{kernel::Kernel, key::WINDOW, *};

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn between(&mut self, range: Range<usize>) -> usize {
        range.start + self.below(range.end - range.start)
    }

    fn text(&mut self, alphabet: &[u8], len: usize) -> Vec<u8> {
        (0..len).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}

/// What comes out, with `<1,2>` for a union of these labels.
#[derive(Default)]
struct Out(Vec<u8>);

impl Sink for Out {
    fn clean(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn masked(&mut self, labels: &[u32]) {
        let labels: Vec<String> = labels.iter().map(u32::to_string).collect();
        self.0.extend_from_slice(format!("<{}>", labels.join(",")).as_bytes());
    }
}

/// Patterns with where their windows may be; labels are their numbers.
struct Case {
    patterns: Vec<Vec<u8>>,
    fingerprints: Fingerprints,
}

impl Case {
    fn new(patterns: &[(&[u8], Range<usize>)]) -> Self {
        let mut fingerprints = Fingerprints::new([9; 32]);
        for (label, (pattern, within)) in patterns.iter().enumerate() {
            fingerprints.add(label as u32, pattern, within.clone()).unwrap();
        }
        Self { patterns: patterns.iter().map(|(p, _)| p.to_vec()).collect(), fingerprints }
    }

    fn random(r: &mut Random, alphabet: &[u8], how_many: usize, longest: usize) -> Self {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        for _ in 0..how_many {
            let len = r.between(SHORTEST..longest + 1);
            let pattern = match r.below(4) {
                // a part of another, or another with more at its end, or one that overlaps itself
                0 if !patterns.is_empty() => {
                    let other = &patterns[r.below(patterns.len())];
                    let start = r.below(other.len() - SHORTEST + 1);
                    other[start..r.between(start + SHORTEST..other.len() + 1)].to_vec()
                }
                1 if !patterns.is_empty() => {
                    let more = r.below(4);
                    [patterns[r.below(patterns.len())].clone(), r.text(alphabet, more)].concat()
                }
                2 => {
                    let period = r.between(1..6);
                    r.text(alphabet, period).into_iter().cycle().take(len).collect()
                }
                _ => r.text(alphabet, len),
            };
            patterns.push(pattern);
        }
        let ranges: Vec<_> = patterns
            .iter()
            .map(|p| {
                let start = r.below(p.len() - SHORTEST + 1);
                start..r.between(start + SHORTEST..p.len() + 1)
            })
            .collect();
        Self::new(&patterns.iter().map(Vec::as_slice).zip(ranges).collect::<Vec<_>>())
    }

    /// Text in which patterns, and parts of them, stand close together.
    fn text(&self, r: &mut Random, alphabet: &[u8], pieces: usize) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..pieces {
            let pattern = &self.patterns[r.below(self.patterns.len())];
            match r.below(4) {
                0 => text.extend_from_slice(pattern),
                1 => text.extend_from_slice(&pattern[..r.below(pattern.len())]),
                2 => text.extend_from_slice(&pattern[r.below(pattern.len())..]),
                _ => {
                    let len = r.below(8);
                    text.extend(r.text(alphabet, len));
                }
            }
        }
        text
    }

    /// All places of all patterns; where `lines`, from the line on in which the last window ends.
    fn spans(&self, text: &[u8], lines: bool) -> Vec<(usize, usize, usize)> {
        let mut spans = Vec::new();
        for (label, pattern) in self.patterns.iter().enumerate() {
            let f = &self.fingerprints.list[label];
            for start in 0..(text.len() + 1).saturating_sub(pattern.len()) {
                if text[start..].starts_with(pattern) {
                    let last = f.windows.iter().map(|w| w.at as usize).max().unwrap();
                    let before = &text[start..start + last + WINDOW - 1];
                    let newline = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
                    spans.push((start + if lines { newline } else { 0 }, start + pattern.len(), label));
                }
            }
        }
        spans
    }

    fn expected(&self, text: &[u8], lines: bool) -> Vec<u8> {
        masked(text, self.spans(text, lines))
    }

    /// The same for a text of which some bytes belong to escape sequences.
    fn expected_through(&self, text: &[(u8, bool)], lines: bool) -> Vec<u8> {
        let (read, places): (Vec<u8>, Vec<usize>) =
            text.iter().enumerate().filter(|(_, (_, escape))| !escape).map(|(at, (byte, _))| (*byte, at)).unzip();
        let raw: Vec<u8> = text.iter().map(|(byte, _)| *byte).collect();
        let mut spans = self.spans(&raw, lines);
        for (start, end, label) in self.spans(&read, lines) {
            let whole = end - self.patterns[label].len();
            if places[end - 1] - places[whole] >= end - whole {
                spans.push((places[start], places[end - 1] + 1, label));
            }
        }
        masked(&raw, spans)
    }
}

fn masked(text: &[u8], mut spans: Vec<(usize, usize, usize)>) -> Vec<u8> {
    spans.sort_unstable();
    let (mut out, mut at, mut i) = (Out::default(), 0, 0);
    while i < spans.len() {
        let (start, mut end, label) = spans[i];
        let mut labels = vec![label as u32];
        i += 1;
        while i < spans.len() && spans[i].0 < end {
            end = end.max(spans[i].1);
            labels.push(spans[i].2 as u32);
            i += 1;
        }
        labels.sort_unstable();
        labels.dedup();
        out.clean(&text[at..start]);
        out.masked(&labels);
        at = end;
    }
    out.clean(&text[at..]);
    out.0
}

fn streamed<'a>(finder: &Finder, mode: Mode, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut stream, mut out) = (Stream::new(mode), Out::default());
    chunks.into_iter().for_each(|chunk| stream.push(finder, chunk, &mut out));
    stream.finish(finder, &mut out);
    out.0
}

fn random_chunks<'a>(r: &mut Random, text: &'a [u8], longest: usize) -> Vec<&'a [u8]> {
    let (mut chunks, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(r.between(0..longest + 1).min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

const ALPHABETS: [&[u8]; 5] = [b"ab", b"ab\n", b"abc\n", b"a", b"abcdefghijklmnopqrstuvwxyz0123456789\n"];

#[test]
fn all_that_the_reference_finds_is_masked_however_the_text_is_cut() {
    for kernel in Kernel::all() {
        let mut r = Random(1);
        for round in 0..60 {
            let alphabet = ALPHABETS[round % ALPHABETS.len()];
            let (how_many, longest) = (r.between(1..12), r.between(SHORTEST..60));
            let case = Case::random(&mut r, alphabet, how_many, longest);
            let pieces = r.between(1..25);
            let text = case.text(&mut r, alphabet, pieces);
            let finder = Finder::with(&case.fingerprints, kernel);
            let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();

            let mut whole = Out::default();
            find_all(&finder, &text, &mut whole);
            assert_eq!(shown(&whole.0), shown(&case.expected(&text, false)), "{kernel:?}, round {round}");

            let lines = case.expected(&text, true);
            let same = |what: &str, out: Vec<u8>| {
                assert_eq!(shown(&out), shown(&lines), "{kernel:?}, round {round}, {what} of {:?}", shown(&text));
            };
            same("one write", streamed(&finder, Mode::Lines, [&*text]));
            same("byte by byte", streamed(&finder, Mode::Lines, text.chunks(1)));
            same("chunks", streamed(&finder, Mode::Lines, random_chunks(&mut r, &text, 20)));
            for at in 0..text.len() {
                let (a, b) = text.split_at(at);
                same(&format!("split at {at}"), streamed(&finder, Mode::Lines, [a, b]));
            }
        }
    }
}

/// A value whose longer form begins in the same way, and then a prompt that waits for an answer.
#[test]
fn idling_lets_out_what_follows_a_value() {
    let case = Case::new(&[(b"region-of-it'rest", 0..12), (b"region-of-it'\"'\"'rest", 0..12)]);
    let finder = Finder::new(&case.fingerprints);
    for mode in [Mode::Lines, Mode::Terminal] {
        for (text, expected) in [
            ("x region-of-it'rest", "x <0>"),
            ("x region-of-it'rest\nName? ", "x <0>\nName? "),
            ("x region-of-it'\"'\"'rest\nName? ", "x <1>\nName? "),
        ] {
            let (mut stream, mut out) = (Stream::new(mode), Out::default());
            stream.push(&finder, text.as_bytes(), &mut out);
            while stream.holds() {
                stream.idle(&finder, &mut out);
            }
            assert_eq!(String::from_utf8_lossy(&out.0), expected, "{mode:?}");
        }
    }
}

/// One value after another, each overlapping the next: what they cover comes out in pieces, and nothing is held for ever.
#[test]
fn values_that_overlap_without_end_are_not_held_without_end() {
    let case = Case::new(&[(b"abcabcabcabc", 0..12), (b"other secret", 0..12)]);
    let finder = Finder::new(&case.fingerprints);
    let text = [b"x".repeat(3), b"abc".repeat(100_000), b" other secret".to_vec()].concat();
    for mode in [Mode::Lines, Mode::Terminal] {
        for chunk in [30_000, text.len()] {
            let (mut stream, mut out) = (Stream::new(mode), Out::default());
            let mut most = 0;
            for part in text.chunks(chunk) {
                stream.push(&finder, part, &mut out);
                most = most.max(stream.raw.end().saturating_sub(stream.pending.released));
            }
            stream.finish(&finder, &mut out);
            assert_eq!(String::from_utf8_lossy(&out.0), "xxx<0><0> <1>", "{mode:?}, {chunk}");
            assert!(most <= 256 * 1024 + chunk as u64, "{mode:?}: {most} bytes were held");
        }
    }
}

/// What is pushed, and where it idles (`None`).
fn steps(case: &Case, mode: Mode, steps: &[Option<&str>]) -> (String, bool) {
    let finder = Finder::new(&case.fingerprints);
    let (mut stream, mut out) = (Stream::new(mode), Out::default());
    for step in steps {
        match step {
            Some(text) => stream.push(&finder, text.as_bytes(), &mut out),
            None => stream.idle(&finder, &mut out),
        }
    }
    (String::from_utf8(out.0).unwrap(), stream.holds())
}

#[test]
fn what_is_undecided_is_held_until_a_newline_or_until_it_idles() {
    use Mode::{Lines, Terminal};
    let case = Case::new(&[(b"begin-REGION12-end", 6..14)]);
    for (mode, pushed, out, holds) in [
        // hold-back is the farthest end of a window less one byte, 13 here, not the longest pattern
        (Lines, &[Some("0123456789abcdef")][..], "012", true),
        (Lines, &[Some("no newline"), None], "no newline", false),
        (Lines, &[Some("a line\n")], "a line\n", false),
        (Terminal, &[Some("a line\n")], "", true),
        (Terminal, &[Some("a line\n"), None], "a line\n", false),
        // a window speaks for it
        (Lines, &[Some("x begin-REGION12")], "x ", false),
        (Lines, &[Some("x begin-REGION12"), None], "x ", false),
        (Lines, &[Some("x begin-REGION12"), None, Some("-end\n")], "x <0>\n", false),
        (Lines, &[Some("x begin-REGION12"), None, Some("-enough\n")], "x begin-REGION12-enough\n", false),
        // let out before a window was seen: the rest is masked
        (Lines, &[Some("x begin-"), None, Some("REGION12-end\n")], "x begin-<0>\n", false),
        (Terminal, &[Some("x begin-"), None, Some("REGION12-end\n"), None], "x begin-<0>\n", false),
    ] {
        assert_eq!(steps(&case, mode, pushed), (out.into(), holds), "{mode:?}, {pushed:?}");
    }
}

#[test]
fn a_pattern_of_several_lines_is_masked_from_its_windows_line_on() {
    let case = Case::new(&[(b"first line\nsecond REGION12\nthird", 18..26)]);
    let text = "a\nfirst line\nsecond REGION12\nthird\n";
    for chunks in [text.len(), 1, 7] {
        let finder = Finder::new(&case.fingerprints);
        let out = streamed(&finder, Mode::Lines, text.as_bytes().chunks(chunks));
        assert_eq!(String::from_utf8_lossy(&out), "a\nfirst line\n<0>\n", "{chunks}");
        let out = streamed(&finder, Mode::Terminal, text.as_bytes().chunks(chunks));
        assert_eq!(String::from_utf8_lossy(&out), "a\n<0>\n", "{chunks}");
    }
}

#[test]
fn a_terminal_shows_patterns_in_pieces() {
    let case = Case::new(&[(b"begin-REGION12-end", 6..14), (b"one-line\ntwo-line", 0..8), (b" !REGION3", 1..9)]);
    let finder = Finder::new(&case.fingerprints);
    for (text, expected) in [
        ("a begin-REGION12-end z", "a <0> z"),
        ("a begin-\x1b[31mREGION\x1b[0m12-end z", "a <0> z"),
        ("a begin-REG\x1b]0;title\x07ION12-\x1b]8;;http://x\x1b\\end z", "a <0> z"),
        ("a begin-REG\r\nION12-end z", "a <0> z"),
        ("a begin-REG \rION12-end z", "a <0> z"),
        ("a begin-REG\nION12-e\x1b[1;2Hnd z", "a <0> z"),
        ("a one-line\r\ntwo-line z", "a <1> z"),
        ("a one-line\ntwo-\x1b(Bline z", "a <1> z"),
        ("\x1b[1ma begin-REGION12-en\x1b[0m", "\x1b[1ma begin-REGION12-en\x1b[0m"),
        // a blank that might have belonged to a wrap, with much that does not count after it
        (" \x1b[38;5;120;48;5;17m!REG\r\nION3 z", "<2> z"),
        // what never ends hides nothing
        ("\x1b]0;begin-REGION12-end", "\x1b]0;<0>"),
        ("\x1b[\x01begin-\x1b[mREGION12-end", "\x1b[\x01<0>"),
        ("trailing blank \r\n and a lone \x1b", "trailing blank \r\n and a lone \x1b"),
    ] {
        let shown = |out: Vec<u8>| String::from_utf8(out).unwrap();
        for at in 0..text.len() {
            let (a, b) = text.as_bytes().split_at(at);
            assert_eq!(shown(streamed(&finder, Mode::Terminal, [a, b])), expected, "{text:?} split at {at}");
        }
        assert_eq!(shown(streamed(&finder, Mode::Terminal, text.as_bytes().chunks(1))), expected, "{text:?}, bytes");
    }
}

#[test]
fn colours_hide_nothing_in_lines() {
    let case = Case::new(&[(b"begin-REGION12-end", 6..14), (b"first line\nsecond REGION12\nthird", 18..26)]);
    let finder = Finder::new(&case.fingerprints);
    for (text, in_lines, as_one) in [
        ("a begin-\x1b[31mREGION\x1b[0m12-end z\n", "a <0> z\n", "a <0> z\n"),
        ("\x1b[1mb\x1b[0megin-REGION12-end\x1b[0m", "\x1b[1m<0>\x1b[0m", "\x1b[1m<0>\x1b[0m"),
        ("begin-REGION12-en\x1b]8;;http://x\x1b\\d begin-REGION12-\x1b[Kend", "<0> <0>", "<0> <0>"),
        ("\x1b[2K\n\n\n begin-REGION12-end \x1b[m\n", "\x1b[2K\n\n\n <0> \x1b[m\n", "\x1b[2K\n\n\n <0> \x1b[m\n"),
        ("fir\x1b[1mst line\nsecond REGION12\nth\x1b[mird", "fir\x1b[1mst line\n<1>", "<1>"),
        // what a terminal does, lines do not
        ("a begin-REG\nION12-end \x1b[m", "a begin-REG\nION12-end \x1b[m", "a begin-REG\nION12-end \x1b[m"),
    ] {
        let shown = |out: Vec<u8>| String::from_utf8(out).unwrap();
        for at in 0..text.len() {
            let (a, b) = text.as_bytes().split_at(at);
            assert_eq!(shown(streamed(&finder, Mode::Lines, [a, b])), in_lines, "{text:?} split at {at}");
        }
        assert_eq!(shown(streamed(&finder, Mode::Lines, text.as_bytes().chunks(1))), in_lines, "{text:?}, bytes");
        let mut out = Out::default();
        find_all(&finder, text.as_bytes(), &mut out);
        assert_eq!(shown(out.0), as_one, "{text:?} as one message");
    }
}

#[test]
fn a_colour_anywhere_in_a_long_value_is_looked_through() {
    let value = "what-comes-before-REGION12-and-more-than-is-ever-held-behind-it";
    let case = Case::new(&[(value.as_bytes(), 18..26), (b"REGION99-and-no-more-than-thirty", 0..8)]);
    let finder = Finder::new(&case.fingerprints);
    let padding = ".".repeat(200);
    for at in 1..value.len() {
        let (a, b) = value.split_at(at);
        let text = format!("\x1b[1m{padding}{a}\x1b[31m{b}{padding}\x1b[m{padding}\n");
        let expected = format!("\x1b[1m{padding}<0>{padding}\x1b[m{padding}\n");
        for pieces in [text.len(), 1, 97, 230] {
            let out = streamed(&finder, Mode::Lines, text.as_bytes().chunks(pieces));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "at {at}, in pieces of {pieces}");
        }
    }
}

#[test]
fn through_colours_all_that_the_reference_finds_is_masked_however_the_text_is_cut() {
    let mut r = Random(6);
    for round in 0..120 {
        let alphabet: &[u8] = [&b"ab\n"[..], b"abcdefgh\n"][round % 2];
        let case = Case::random(&mut r, alphabet, 5, 30);
        let finder = Finder::new(&case.fingerprints);
        let mut text = Vec::new();
        let is_long = round % 8 == 7;
        // Some parts of it are coloured, and a view sleeps in the others.
        for part in 0..8 {
            if is_long {
                let len = r.below(4000);
                text.extend(r.text(b"....\n", len).into_iter().map(|byte| (byte, false)));
            }
            for byte in case.text(&mut r, alphabet, 3) {
                if part % 2 == 1 && r.below([6, 60][round / 2 % 2]) == 0 {
                    let sequences: [&[u8]; 4] = [b"\x1b[31m", b"\x1b[m", b"\x1b]0;-\x07", b"\x1b(B"];
                    text.extend(sequences[r.below(sequences.len())].iter().map(|byte| (*byte, true)));
                }
                text.push((byte, false));
            }
        }
        let raw: Vec<u8> = text.iter().map(|(byte, _)| *byte).collect();
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let mut whole = Out::default();
        find_all(&finder, &raw, &mut whole);
        assert_eq!(shown(&whole.0), shown(&case.expected_through(&text, false)), "round {round}");

        let expected = shown(&case.expected_through(&text, true));
        let same = |what: &str, out: Vec<u8>| assert_eq!(shown(&out), expected, "round {round}, {what}");
        same("one write", streamed(&finder, Mode::Lines, [&*raw]));
        same("byte by byte", streamed(&finder, Mode::Lines, raw.chunks(1)));
        same("chunks", streamed(&finder, Mode::Lines, random_chunks(&mut r, &raw, 20)));
        same("large chunks", streamed(&finder, Mode::Lines, random_chunks(&mut r, &raw, 3000)));
        for at in (0..raw.len()).filter(|at| !is_long || at.is_multiple_of(101)) {
            let (a, b) = raw.split_at(at);
            same(&format!("split at {at}"), streamed(&finder, Mode::Lines, [a, b]));
        }
    }
}

#[test]
fn a_string_that_never_ends_hides_no_more_than_its_share() {
    let finder = Finder::new(&Case::new(&[(b"begin-REGION12-end", 6..14)]).fingerprints);
    let text = [&b"\x1b]0;"[..], &[b'.'; 5000], b"begin-\x1b[1mREGION12-end"].concat();
    assert!(streamed(&finder, Mode::Terminal, text.chunks(100)).ends_with(b".<0>"));
}

#[test]
fn on_a_terminal_too_it_does_not_matter_how_the_text_is_cut() {
    let mut r = Random(3);
    for round in 0..60 {
        let case = Case::random(&mut r, b"ab\n", 5, 30);
        let finder = Finder::new(&case.fingerprints);
        let mut text = Vec::new();
        for byte in case.text(&mut r, b"ab\n", 12) {
            let between: [&[u8]; 12] =
                [b"\r\n", b" \r", b"\x1b[31m", b"\x1b", b" ", b"\x1b]0;a\x07", b"", b"", b"", b"", b"", b""];
            text.extend_from_slice(between[r.below(between.len())]);
            text.push(byte);
        }
        let whole = streamed(&finder, Mode::Terminal, [&*text]);
        assert_eq!(streamed(&finder, Mode::Terminal, text.chunks(1)), whole, "round {round}, bytes");
        for at in 0..text.len() {
            let (a, b) = text.split_at(at);
            assert_eq!(streamed(&finder, Mode::Terminal, [a, b]), whole, "round {round}, split at {at}");
        }
    }
}

#[test]
fn when_the_macs_are_spent_the_windows_decide() {
    let mut r = Random(4);
    let long = [b"REGION12".to_vec(), r.text(b"abcdef", 64 * 1024)].concat();
    let case = Case::new(&[(&long, 0..8)]);
    let finder = Finder::new(&case.fingerprints);
    let filler = vec![b'.'; long.len()];
    let few = [b"REGION12".repeat(3), filler.clone()].concat();
    assert_eq!(streamed(&finder, Mode::Lines, [&*few]), few);
    let many = [b"REGION12".repeat(40), filler].concat();
    let masked = streamed(&finder, Mode::Lines, [&*many]);
    assert!(masked.windows(3).any(|w| w == b"<0>") && masked.len() < many.len() / 2, "{}", masked.len());
    for longest in [1000, 20_000] {
        let chunks = random_chunks(&mut r, &many, longest);
        assert!(streamed(&finder, Mode::Lines, chunks) == masked, "{longest}");
    }
}

#[test]
fn what_others_wrote_is_read_with_care() {
    let mut r = Random(5);
    let case = Case::random(&mut r, b"abc", 6, 40);
    let text = case.text(&mut r, b"abc", 30);
    let encoded = case.fingerprints.encode();
    let read = Fingerprints::decode(&encoded).unwrap();
    assert_eq!(read.encode(), encoded);
    for len in 0..encoded.len() {
        assert_eq!(Fingerprints::decode(&encoded[..len]).err(), Some(Malformed), "{len} bytes");
    }
    assert!(Fingerprints::decode(&[&encoded[..], b"x"].concat()).is_err());
    // a length that the windows don't fit into, an offset beyond it, windows that are no three residues
    for (at, bytes) in [(45, &[7, 0, 0, 0][..]), (49, &[255; 4]), (53, &[encoded[53] + 1]), (54, &[128])] {
        let mut changed = encoded.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(Fingerprints::decode(&changed).err(), Some(Malformed), "{bytes:?} at {at}");
    }
    for _ in 0..3_000 {
        let mut changed = encoded.clone();
        for _ in 0..r.between(1..4) {
            let at = r.below(changed.len());
            changed[at] = [r.next() as u8, 0, 0xff, changed[at] ^ 1][r.below(4)];
        }
        if let Ok(fingerprints) = Fingerprints::decode(&changed) {
            streamed(&Finder::new(&fingerprints), Mode::Terminal, text.chunks(17));
        }
    }
}

#[test]
fn too_short_and_too_long_is_not_taken() {
    let mut fingerprints = Fingerprints::new([9; 32]);
    let long = vec![b'x'; LONGEST + 1];
    for (pattern, within, expected) in [
        (&b"1234567"[..], 0..7, Err(Unfit::TooShort)),
        (b"12345678", 0..8, Ok(())),
        (b"123456789", 2..9, Err(Unfit::TooShort)),
        (b"12345678", 0..9, Err(Unfit::TooShort)),
        (&long, 0..8, Err(Unfit::TooLong)),
        (&long[1..], 0..8, Ok(())),
    ] {
        assert_eq!(fingerprints.add(0, pattern, within.clone()), expected, "{} within {within:?}", pattern.len());
    }
}
