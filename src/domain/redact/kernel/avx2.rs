//! The scalar kernel turned inside out: first all hashes, then all words, then all tests. The compiler, told that it may use
//! AVX2, makes vectors of the first and the last; the words are loaded one by one, as gather instructions are no faster.

use super::{Bloom, LANES, bits, block, eight};

#[target_feature(enable = "avx2,bmi2")]
pub fn probe(bloom: Bloom, text: &[u8], hits: &mut [u64]) {
    let shift = bloom.shift();
    for (word, hits) in hits.iter_mut().enumerate() {
        let block = block(text, word);
        let hashes: [u32; LANES] = std::array::from_fn(|lane| bloom.hash.of(eight(block, lane)));
        let words = hashes.map(|hash| u32::from_le_bytes(bloom.words[(hash >> shift) as usize]));
        *hits = 0;
        for lane in 0..LANES {
            let ([first, second, third], word) = (bits(hashes[lane]), words[lane]);
            *hits |= u64::from(word >> first & word >> second & word >> third & 1) << lane;
        }
    }
}
