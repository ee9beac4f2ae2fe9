//! Which windows are seldom seen in logs: an estimate from the kinds of neighbouring bytes.

use super::{fingerprint::STRIDE, key::WINDOW};

/// Offsets in a region: for each residue modulo three the rarest window, and which of these is the rarest.
pub(super) struct Choice {
    pub windows: [usize; STRIDE],
    pub rarest: usize,
}

/// `region` has at least three windows. The first of equals is taken.
pub(super) fn choose(region: &[u8]) -> Choice {
    let mut best = [(u32::MAX, 0); STRIDE];
    for (at, window) in region.windows(WINDOW).enumerate() {
        let of = &mut best[at % STRIDE];
        *of = (*of).min((commonness(window), at));
    }
    let rarest = (0..STRIDE).min_by_key(|i| best[*i]).unwrap_or(0);
    Choice { windows: best.map(|(_, at)| at), rarest }
}

#[derive(Clone, Copy)]
enum Kind {
    Lower,
    Digit,
    Upper,
    Blank,
    Mark,
    Other,
}

/// How often the second kind follows the first in logs: roughly twice their logarithm. Words and numbers are common, and
/// so is what stands between them; a change of case or between letters and digits is what tokens are made of.
const FOLLOWS: [[u32; 6]; 6] = [
    // lower digit upper blank mark other
    [10, 5, 3, 8, 7, 1], // lower
    [6, 9, 3, 6, 8, 1],  // digit
    [4, 4, 6, 4, 4, 1],  // upper
    [8, 6, 6, 6, 6, 1],  // blank
    [7, 7, 4, 6, 6, 1],  // mark
    [1, 1, 1, 1, 1, 3],  // other
];

fn commonness(window: &[u8]) -> u32 {
    let pairs = window.iter().zip(&window[1..]);
    pairs.map(|(a, b)| FOLLOWS[kind(*a) as usize][kind(*b) as usize] + if a == b { 4 } else { 0 }).sum()
}

fn kind(byte: u8) -> Kind {
    match byte {
        b'a'..=b'z' => Kind::Lower,
        b'0'..=b'9' => Kind::Digit,
        b'A'..=b'Z' => Kind::Upper,
        b' ' | b'\t' | b'\n' | b'\r' => Kind::Blank,
        b'!'..=b'~' => Kind::Mark,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_token_is_preferred_to_words() {
        for (region, rarest) in [
            ("connectionxK9vQ2", "xK9vQ2"),
            ("xK9vQ2connection", "xK9vQ2"),
            ("2026-11-24T7gQp", "T7gQp"),
            ("========aB3x", "aB3x"),
        ] {
            let choice = choose(region.as_bytes());
            let at = choice.windows[choice.rarest];
            assert!(
                region[at..at + WINDOW].contains(rarest) || rarest.contains(&region[at..at + WINDOW]),
                "{region}: {at}"
            );
            let mut residues = choice.windows.map(|w| w % STRIDE);
            residues.sort_unstable();
            assert_eq!(residues, [0, 1, 2]);
        }
    }
}
