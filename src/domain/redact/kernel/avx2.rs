//! Eight windows at a time, as `avx512` does sixteen. Here bytes are moved within 16 only: two loads, of four windows each.

use std::arch::x86_64::*;

use bytemuck::cast;

use super::{Bloom, LANES, STRIDE, block};

const VECTORS: usize = LANES / 8;

#[target_feature(enable = "avx2,bmi2")]
pub fn probe(bloom: Bloom, text: &[u8], hits: &mut [u64]) {
    let [k0, k1, k2] = bloom.hash.multipliers().map(|k| _mm256_set1_epi32(k.cast_signed()));
    let [low, high] = [0, 2].map(|from| cast(bytes_of_windows(from)));
    let shift = _mm_cvtsi32_si128(bloom.shift().cast_signed());
    let thirty_one = _mm256_set1_epi32(31);
    let test = |(hashes, words): ([__m256i; VECTORS], [[u32; 8]; VECTORS])| {
        let mut hits = 0;
        for (i, (hash, words)) in hashes.into_iter().zip(words).enumerate() {
            let bit = |which| _mm256_srlv_epi32(cast(words), _mm256_and_si256(which, thirty_one));
            let [first, second, third] = [bit(_mm256_srli_epi32(hash, 10)), bit(_mm256_srli_epi32(hash, 5)), bit(hash)];
            let all = _mm256_and_si256(_mm256_and_si256(first, second), third);
            let signs = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_slli_epi32(all, 31)));
            hits |= u64::from(signs.cast_unsigned()) << (8 * i);
        }
        hits
    };
    let none = ([cast([0u32; 8]); VECTORS], [[0; 8]; VECTORS]);
    let mut before = none;
    for word in 0..hits.len() {
        let (block, (mut hashes, mut words)) = (block(text, word), none);
        for (i, (hash, words)) in hashes.iter_mut().zip(&mut words).enumerate() {
            let four = |at| cast(*block[at..].first_chunk::<16>().expect("there are bytes behind the windows"));
            let text = _mm256_set_m128i(four(STRIDE * (8 * i + 4)), four(STRIDE * 8 * i));
            let [low, high] = [low, high].map(|which| _mm256_shuffle_epi8(text, which));
            let sum = _mm256_add_epi32(_mm256_mullo_epi32(low, k0), _mm256_mullo_epi32(high, k1));
            *hash = _mm256_mullo_epi32(_mm256_xor_si256(sum, _mm256_srli_epi32(sum, 15)), k2);
            *words = cast(_mm256_srl_epi32(*hash, shift));
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

/// Four bytes of each of two times four windows, from the window's byte `from` on.
fn bytes_of_windows(from: usize) -> [u8; 32] {
    std::array::from_fn(|i| (STRIDE * (i % 16 / 4) + from + i % 4) as u8)
}
