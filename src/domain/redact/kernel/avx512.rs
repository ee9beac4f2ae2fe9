//! Sixteen windows at a time. They are 48 bytes apart from the next sixteen:
//!
//! ```text
//! text      a b c d e f g h i j k ...          one load of 64 bytes
//! low       abcd defg ghij ...                 VPERMB: the first four bytes of each window
//! high      cdef fghi ijkl ...                 VPERMB: its last four
//! hash      sum = low * k0 + high * k1         as Hash::of does it
//!           (sum ^ sum >> 15) * k2
//! word      bloom[hash >> shift]               one by one: a gather instruction takes longer
//! hit       word >> first & word >> second & word >> third & 1
//! ```

use std::arch::x86_64::*;

use bytemuck::cast;

use super::{Bloom, LANES, STRIDE, block};

const VECTORS: usize = LANES / 16;

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
pub fn probe(bloom: Bloom, text: &[u8], hits: &mut [u64]) {
    let [k0, k1, k2] = bloom.hash.multipliers().map(|k| _mm512_set1_epi32(k.cast_signed()));
    let (low, high) = (cast(bytes_of_windows(0)), cast(bytes_of_windows(2)));
    let shift = _mm_cvtsi32_si128(bloom.shift().cast_signed());
    let (one, thirty_one) = (_mm512_set1_epi32(1), _mm512_set1_epi32(31));
    for (word, hits) in hits.iter_mut().enumerate() {
        let block = block(text, word);
        let mut hashes = [_mm512_setzero_si512(); VECTORS];
        let mut places = [[0u32; 16]; VECTORS];
        for (i, (hash, places)) in hashes.iter_mut().zip(&mut places).enumerate() {
            let text: [u8; 64] = *block[16 * STRIDE * i..].first_chunk().expect("there are bytes behind the windows");
            let [low, high] = [low, high].map(|which| _mm512_permutexvar_epi8(which, cast(text)));
            let sum = _mm512_add_epi32(_mm512_mullo_epi32(low, k0), _mm512_mullo_epi32(high, k1));
            *hash = _mm512_mullo_epi32(_mm512_xor_si512(sum, _mm512_srli_epi32(sum, 15)), k2);
            *places = cast(_mm512_srl_epi32(*hash, shift));
        }
        let words = places.map(|places| places.map(|at| u32::from_le_bytes(bloom.words[at as usize])));
        *hits = 0;
        for (i, (hash, words)) in hashes.into_iter().zip(words).enumerate() {
            let bit = |which| _mm512_srlv_epi32(cast(words), _mm512_and_si512(which, thirty_one));
            let [first, second, third] = [bit(_mm512_srli_epi32(hash, 10)), bit(_mm512_srli_epi32(hash, 5)), bit(hash)];
            let mask = _mm512_test_epi32_mask(_mm512_and_si512(_mm512_and_si512(first, second), third), one);
            *hits |= u64::from(mask) << (16 * i);
        }
    }
}

/// Four bytes of each of sixteen windows, from the window's byte `from` on.
fn bytes_of_windows(from: usize) -> [u8; 64] {
    std::array::from_fn(|i| (STRIDE * (i / 4) + from + i % 4) as u8)
}
