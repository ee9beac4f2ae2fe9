//! One window after the other.

use super::{Bloom, LANES, bits, block, eight};

pub fn probe(bloom: Bloom, text: &[u8], hits: &mut [u64]) {
    let shift = bloom.shift();
    for (word, hits) in hits.iter_mut().enumerate() {
        let block = block(text, word);
        *hits = 0;
        for lane in (0..LANES).rev() {
            let hash = bloom.hash.of(eight(block, lane));
            let [first, second, third] = bits(hash);
            let bloomed = u32::from_le_bytes(bloom.words[(hash >> shift) as usize]);
            *hits = *hits << 1 | u64::from(bloomed >> first & bloomed >> second & bloomed >> third & 1);
        }
    }
}
