//! One window after the other. First all hashes, so that the words are loaded without waiting; and of the three bits of each
//! the first: it is seldom set, so the others are looked at one by one.

use super::{Bloom, LANES, bits, block, eight};

pub fn probe(bloom: Bloom, text: &[u8], hits: &mut [u64]) {
    for (word, hits) in hits.iter_mut().enumerate() {
        let block = block(text, word);
        let mut hashes = [0; LANES];
        for (lane, hash) in hashes.iter_mut().enumerate() {
            *hash = bloom.hash.of(eight(block, lane));
        }
        let mut maybe = 0u64;
        for hash in hashes.iter().rev() {
            maybe = maybe << 1 | u64::from(bloom.word(*hash) >> bits(*hash)[0] & 1);
        }
        *hits = 0;
        while maybe != 0 {
            let lane = maybe.trailing_zeros();
            *hits |= u64::from(bloom.has(hashes[lane as usize])) << lane;
            maybe &= maybe - 1;
        }
    }
}
