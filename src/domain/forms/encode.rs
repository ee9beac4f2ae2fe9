//! Encodings that change every byte. Each fills a buffer and tells where in it the image of the region lies: only
//! characters that are decided by bytes of the region.

use std::ops::Range;

use super::scratch::Scratch;

pub(super) const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
pub(super) const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How bytes look inside of something encoded in which `before` bytes (modulo 3) stand in front of them: the characters
/// that they alone decide. So neither a neighbour (a newline behind, say) nor padding makes a difference.
pub(super) fn base64(
    bytes: &[u8],
    before: usize,
    alphabet: &[u8; 64],
    region: Range<usize>,
    out: &mut Scratch,
) -> Range<usize> {
    let first = (8 * before).div_ceil(6);
    let end = 8 * (before + bytes.len()) / 6;
    for (to, character) in out.fill(end - first).iter_mut().zip(first..) {
        let bit = 6 * character - 8 * before;
        let pair = u16::from(bytes[bit / 8]) << 8 | bytes.get(bit / 8 + 1).map_or(0, |b| u16::from(*b));
        *to = alphabet[usize::from(pair >> (10 - bit % 8)) & 63];
    }
    (8 * (before + region.start)).div_ceil(6) - first..8 * (before + region.end) / 6 - first
}

pub(super) fn hex(bytes: &[u8], digits: &[u8; 16], region: Range<usize>, out: &mut Scratch) -> Range<usize> {
    for (to, byte) in out.fill(2 * bytes.len()).chunks_exact_mut(2).zip(bytes) {
        to.copy_from_slice(&[digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
    }
    2 * region.start..2 * region.end
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD as REFERENCE};

    use super::*;

    #[test]
    fn base64_holds_what_no_neighbour_changes() {
        let bytes: Vec<u8> = (0..=255).map(|i: u8| i.wrapping_mul(151)).collect();
        let mut out = Scratch::new();
        for len in 8..40 {
            for before in 0..3 {
                for (lead, tail) in [(0x00, &b""[..]), (0x00, b"\n"), (0xff, b"\xff\xff\xff")] {
                    let whole: Vec<u8> = std::iter::repeat_n(lead, before)
                        .chain(bytes[..len].iter().copied())
                        .chain(tail.to_vec())
                        .collect();
                    let reference = REFERENCE.encode(whole);
                    for region in [0..8, len - 8..len] {
                        let window = base64(&bytes[..len], before, STANDARD, region.clone(), &mut out);
                        let at = reference.find(std::str::from_utf8(&out).unwrap()).expect("what is common to all");
                        assert!(out.len() + 2 >= 4 * len / 3 && window.len() == 10, "{len} {before}");
                        // And a byte outside of the region changes nothing in the window.
                        let mut other = bytes[..len].to_vec();
                        other.iter_mut().enumerate().filter(|(i, _)| !region.contains(i)).for_each(|(_, b)| *b ^= 0xff);
                        let seen = out[window.clone()].to_vec();
                        assert_eq!(base64(&other, before, STANDARD, region, &mut out), window);
                        assert_eq!((seen.as_slice(), at), (&out[window], (8 * before).div_ceil(6)));
                    }
                }
            }
        }
    }
}
