//! The keyed functions under which a pattern is remembered: a short hash of a window, and the MAC of the whole.

use std::{hash::Hasher, ops::Deref};

use siphasher::sip128::{Hasher128, SipHasher24};
use zeroize::Zeroizing;

/// Bytes of a window, the smallest thing that is looked for.
pub const WINDOW: usize = 6;

/// How windows are hashed: the first four bytes and the last four, which share two, each times an odd number; mixed, because
/// letters differ in few of their bits.
#[derive(Clone, Copy)]
pub struct Hash([u32; 3]);

impl Hash {
    pub fn new(multipliers: [u32; 3]) -> Self {
        Self(multipliers.map(|m| m | 1))
    }

    pub fn multipliers(self) -> [u32; 3] {
        self.0
    }

    /// The window that `eight` begins with. The two bytes after it are only there to be loaded with it.
    #[inline]
    pub fn of(self, eight: [u8; 8]) -> u32 {
        let (eight, [low, high, mixed]) = (u64::from_le_bytes(eight), self.0);
        let sum = (eight as u32).wrapping_mul(low).wrapping_add(((eight >> 16) as u32).wrapping_mul(high));
        (sum ^ sum >> 15).wrapping_mul(mixed)
    }
}

/// 32 random bytes, wherever they are kept: `Owned`, or borrowed from a finder's memory. The first 12 make the window's hash,
/// the last 16 are the MAC's key.
#[derive(Clone, Copy)]
pub struct Key<B>(B);

pub type Owned = Key<Zeroizing<[u8; 32]>>;

impl Owned {
    pub fn new(random: [u8; 32]) -> Self {
        Self(Zeroizing::new(random))
    }
}

impl<B: Deref<Target = [u8; 32]>> Key<B> {
    pub fn over(bytes: B) -> Self {
        Self(bytes)
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn hash(&self) -> Hash {
        let words = self.0.as_chunks().0;
        Hash::new([0, 1, 2].map(|n| u32::from_le_bytes(words[n])))
    }

    /// SipHash-2-4-128 of what comes in two pieces.
    pub fn mac(&self, pattern: (&[u8], &[u8])) -> [u8; 16] {
        let mut hasher = SipHasher24::new_with_key(self.0[16..].first_chunk().expect("16 of 32"));
        hasher.write(pattern.0);
        hasher.write(pattern.1);
        hasher.finish128().as_bytes()
    }
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
        let hash = Owned::new([7; 32]).hash();
        assert_eq!(hash.of(*b"abcdefgh"), hash.of(*b"abcdefxy"));
        for at in 0..WINDOW {
            let mut other = *b"abcdefgh";
            other[at] ^= 1;
            assert_ne!(hash.of(*b"abcdefgh"), hash.of(other), "byte {at}");
        }
    }
}
