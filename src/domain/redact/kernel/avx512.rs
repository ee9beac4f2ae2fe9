//! Sixteen windows at a time. They are 48 bytes apart from the next sixteen:
//!
//! ```text
//! text      a b c d e f g h i j k ...          one load of 64 bytes
//! low       abcd defg ghij ...                 VPERMB: the first four bytes of each window
//! high      cdef fghi ijkl ...                 VPERMB: its last four
//! hash      sum = low * k0 + high * k1         as Hash::of does it
//!           (sum ^ sum >> 15) * k2
//! word      bloom[hash >> shift]               one by one: a gather instruction takes longer
//! hit       word >> first & word >> second & word >> third & 1, by rotations, which take a number modulo 32
//! ```
//!
//! What is stored in small pieces can only be loaded as one vector when it has reached the cache. So the 64 words that are
//! fetched are tested while the next ones are being fetched.

use std::arch::x86_64::*;

use bytemuck::cast;

use super::{Bloom, LANES, STRIDE, block};

const VECTORS: usize = LANES / 16;

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
pub fn probe(bloom: Bloom, text: &[u8], hits: &mut [u64]) {
    let [k0, k1, k2] = bloom.hash.multipliers().map(|k| _mm512_set1_epi32(k.cast_signed()));
    let [low, high] = [0, 2].map(|from| cast(bytes_of_windows(from)));
    let shift = _mm_cvtsi32_si128(bloom.shift().cast_signed());
    let one = _mm512_set1_epi32(1);
    let test = |(hashes, words): ([__m512i; VECTORS], [[u32; 16]; VECTORS])| {
        let mut hits = 0;
        for (i, (hash, words)) in hashes.into_iter().zip(words).enumerate() {
            let bit = |which| _mm512_rorv_epi32(cast(words), which);
            let [first, second, third] = [bit(_mm512_srli_epi32(hash, 10)), bit(_mm512_srli_epi32(hash, 5)), bit(hash)];
            let mask = _mm512_test_epi32_mask(_mm512_and_si512(_mm512_and_si512(first, second), third), one);
            hits |= u64::from(mask) << (16 * i);
        }
        hits
    };
    let none = ([_mm512_setzero_si512(); VECTORS], [[0; 16]; VECTORS]);
    let mut before = none;
    for word in 0..hits.len() {
        let (block, (mut hashes, mut words)) = (block(text, word), none);
        for (i, (hash, words)) in hashes.iter_mut().zip(&mut words).enumerate() {
            let text: [u8; 64] = *block[16 * STRIDE * i..].first_chunk().expect("there are bytes behind the windows");
            let [low, high] = [low, high].map(|which| _mm512_permutexvar_epi8(which, cast(text)));
            let sum = _mm512_add_epi32(_mm512_mullo_epi32(low, k0), _mm512_mullo_epi32(high, k1));
            *hash = _mm512_mullo_epi32(_mm512_xor_si512(sum, _mm512_srli_epi32(sum, 15)), k2);
            *words = cast(_mm512_srl_epi32(*hash, shift));
        }
        for words in &mut words {
            for word in words {
                *word = u32::from_le_bytes(bloom.words[*word as usize]);
            }
        }
        if word > 0 {
            hits[word - 1] = test(before);
        }
        before = (hashes, words);
    }
    if let Some(last) = hits.last_mut() {
        *last = test(before);
    }
}

/// Four bytes of each of sixteen windows, from the window's byte `from` on.
fn bytes_of_windows(from: usize) -> [u8; 64] {
    std::array::from_fn(|i| (STRIDE * (i / 4) + from + i % 4) as u8)
}
