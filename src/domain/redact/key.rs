//! The keyed functions under which a pattern is remembered: two short hashes of a window, and the MAC of the whole.

use std::{hash::Hasher, ops::Deref};

use siphasher::sip128::{Hasher128, SipHasher24};
use zeroize::Zeroizing;

/// Bytes of a window, the smallest thing that is looked for.
pub const WINDOW: usize = 6;

/// 32 random bytes, and 104 which are derived from them, wherever they are kept: `Owned`, or borrowed from a finder's memory.
///
/// ```text
/// random 32 (the latter half is the MAC's key) | multiplier u64 | matrices 12 x u64
/// ```
#[derive(Clone, Copy)]
pub struct Key<B>(B);

pub const KEY: usize = 32 + 8 + 96;
pub type Owned = Key<Zeroizing<[u8; KEY]>>;

impl Owned {
    pub fn new(random: [u8; 32]) -> Self {
        let mut bytes = Zeroizing::new([0; KEY]);
        let (given, derived) = bytes.split_first_chunk_mut::<32>().expect("it begins with 32");
        *given = random;
        let from = SipHasher24::new_with_key(random.first_chunk().expect("32 bytes begin with 16"));
        for (word, n) in derived.chunks_mut(8).zip(0u8..) {
            word.copy_from_slice(&from.hash(&[n]).as_u64().0.to_le_bytes());
        }
        // Odd, so that no bit of a window is lost; shifted, so that the two bytes which are loaded beyond a window are.
        derived[0] |= 1;
        derived.copy_within(0..6, 2);
        derived[..2].fill(0);
        Self(bytes)
    }
}

impl<B: Deref<Target = [u8; KEY]>> Key<B> {
    /// What [`Self::bytes`] gave.
    pub fn over(bytes: B) -> Self {
        Self(bytes)
    }

    pub fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    pub fn random(&self) -> &[u8; 32] {
        self.0.first_chunk().expect("it begins with 32")
    }

    fn word(&self, n: usize) -> u64 {
        u64::from_le_bytes(self.0[32..].as_chunks().0[n])
    }

    pub fn multiplier(&self) -> u64 {
        self.word(0)
    }

    /// For each of the three bytes of [`Self::register`] the 8x8 bit matrices by which four bytes of a window enter it.
    pub fn matrices(&self) -> [[u64; 4]; 3] {
        std::array::from_fn(|hash| std::array::from_fn(|byte| self.word(1 + 4 * hash + byte)))
    }

    /// The window at the start of `eight`, hashed; the low 24 bits are of no use.
    pub fn window(&self, eight: [u8; 8]) -> u64 {
        u64::from_le_bytes(eight).wrapping_mul(self.multiplier())
    }

    /// The window once more, as 24 bits that vector registers can compute for 64 windows at a time (`kernel::registers`):
    /// linear over GF(2), and of the four bytes at [`REGISTER_BYTES`] alone.
    pub fn register(&self, window: &[u8]) -> [u8; 3] {
        self.matrices()
            .map(|matrices| matrices.iter().zip(REGISTER_BYTES).fold(0, |sum, (m, at)| sum ^ times(*m, window[at])))
    }

    /// SipHash-2-4-128 of what comes in two pieces.
    pub fn mac(&self, pattern: (&[u8], &[u8])) -> [u8; 16] {
        let mut hasher = SipHasher24::new_with_key(self.0[16..].first_chunk().expect("16 to 32 are given"));
        hasher.write(pattern.0);
        hasher.write(pattern.1);
        hasher.finish128().as_bytes()
    }
}

/// Which bytes of a window its register hash looks at.
pub const REGISTER_BYTES: [usize; 4] = [0, 2, 3, 5];

/// A byte times an 8x8 bit matrix, as the instruction GF2P8AFFINEQB does it: bit i of the result is the parity of the
/// byte under row 7 - i.
fn times(matrix: u64, byte: u8) -> u8 {
    let rows = matrix.to_le_bytes();
    (0..8).fold(0, |sum, i| sum | ((rows[7 - i] & byte).count_ones() as u8 & 1) << i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_siphash_2_4_128() {
        // The vectors of the reference implementation: key 00..0f, messages of 0, 1, 2 and 15 counting bytes.
        let key = Owned::new(std::array::from_fn(|i| (i as u8).wrapping_sub(16)));
        let message: Vec<u8> = (0..15).collect();
        for (len, expected) in [
            (0, "a3817f04ba25a8e66df67214c7550293"),
            (1, "da87c1d86b99af44347659119b22fc45"),
            (2, "8177228da4a45dc7fca38bdef60affe4"),
            (15, "5493e99933b0a8117e08ec0f97cfc3d9"),
        ] {
            for split in 0..=len {
                let mac = key.mac(message[..len].split_at(split));
                assert_eq!(mac.map(|b| format!("{b:02x}")).concat(), expected, "{len} split at {split}");
            }
        }
    }

    #[test]
    fn a_window_is_six_bytes_of_the_eight() {
        let key = Owned::new([7; 32]);
        let hash = |text: &[u8; 8]| key.window(*text);
        assert_eq!(hash(b"abcdefgh"), hash(b"abcdefxy"));
        for at in 0..WINDOW {
            let mut other = *b"abcdefgh";
            other[at] ^= 1;
            assert_ne!(hash(b"abcdefgh") >> 24, hash(&other) >> 24, "byte {at}");
            assert_eq!(key.register(b"abcdef") != key.register(&other), REGISTER_BYTES.contains(&at), "byte {at}");
        }
    }
}
