//! Which windows are seldom seen in logs: an estimate from the kinds of neighbouring bytes.

use super::{fingerprint::STRIDE, key::WINDOW};

/// Of a region's windows the rarest for each residue of the offset modulo three; of equals the first. There are at least three.
pub(super) fn rarest(region: &[u8]) -> [usize; STRIDE] {
    let mut best = [(u32::MAX, 0); STRIDE];
    for (at, window) in region.windows(WINDOW).enumerate() {
        let of = &mut best[at % STRIDE];
        *of = (*of).min((commonness(window), at));
    }
    best.map(|(_, at)| at)
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
        for (region, token) in [
            ("connectionxK9vQ2pQ", 10..18),
            ("xK9vQ2pQ connection", 0..8),
            ("2026-11-24 xK9vQ2pQ", 11..19),
            ("========xK9vQ2pQ", 8..16),
            ("xK9vQ2pQ", 0..8),
        ] {
            let windows = rarest(region.as_bytes());
            assert!(windows.iter().all(|at| token.contains(at) && at + WINDOW <= token.end), "{region}: {windows:?}");
            assert_eq!(windows.map(|at| at % STRIDE), [0, 1, 2]);
        }
    }
}
