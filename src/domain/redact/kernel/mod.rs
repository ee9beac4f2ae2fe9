//! Which windows of a text are worth a closer look: the one loop that every byte goes through.
//!
//! Only every third window is looked up, and the answer comes from a Bloom filter: of the window's hash the upper bits choose
//! a word of 32 bits, the lower ones three bits of it; only if all are set the window may be one that is looked for. 64 answers
//! are collected before any is looked at, so that the processor need not guess which way each goes.
//!
//! What bounds it is the load of a word for each window. A filter in vector registers instead of memory was left out: it needs
//! no loads, but is full at some thousand bits, that is with the forms of a few dozen secrets; below that it would be up to
//! twice as fast.
//!
//! There are three ways to do it, which give the same answers: [`scalar`] is the one to understand, `avx512` makes vectors of
//! it, `avx2` is the same for vectors of half the size. What the machine has is chosen when it is known.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use super::{
    fingerprint::STRIDE,
    key::{Hash, WINDOW},
};

/// One answer is a bit of a word.
const LANES: usize = 64;
/// So many words are made at once.
const WORDS: usize = 8;
/// The bytes from one word's first window to the next one's.
const STEP: usize = LANES * STRIDE;
/// What may be loaded from the start of one word's windows on: 16 bytes more than they take.
const LOADED: usize = STEP + 16;

/// The Bloom filter, and how windows are hashed for it.
#[derive(Clone, Copy)]
pub(super) struct Bloom<'a> {
    pub words: &'a [[u8; 4]],
    pub hash: Hash,
}

impl Bloom<'_> {
    fn shift(self) -> u32 {
        shift(self.words.len())
    }

    pub fn may_have(self, eight: [u8; 8]) -> bool {
        self.has(self.hash.of(eight))
    }

    fn has(self, hash: u32) -> bool {
        let ([first, second, third], word) = (bits(hash), self.word(hash));
        word >> first & word >> second & word >> third & 1 == 1
    }

    fn word(self, hash: u32) -> u32 {
        u32::from_le_bytes(self.words[(hash >> self.shift()) as usize])
    }
}

/// The word of so many is chosen by a hash shifted by this.
pub(super) fn shift(words: usize) -> u32 {
    32 - words.ilog2()
}

/// Which three bits of its word a hash sets.
pub(super) fn bits(hash: u32) -> [u32; 3] {
    [hash >> 10 & 31, hash >> 5 & 31, hash & 31]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kernel(Kind);

/// What is not scalar is made by [`Kernel::all`] alone, after it was asked whether the processor has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// The fastest on this machine.
    pub fn best() -> Self {
        Self::all().last().unwrap_or(Self(Kind::Scalar))
    }

    /// Those that this machine can run, the fastest last.
    pub fn all() -> impl Iterator<Item = Self> {
        let mut kinds = [Some(Kind::Scalar), None, None];
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2");
            kinds[1] = has_avx2.then_some(Kind::Avx2);
            let has_avx512 = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi");
            kinds[2] = (has_avx2 && has_avx512).then_some(Kind::Avx512);
        }
        kinds.into_iter().flatten().map(Self)
    }

    /// Tells the places in `text`, from `from` on in steps of the stride, whose window may be one that is looked for: for a
    /// block, which begins at the place told with it, those in it. Gives the first place whose window is not all there.
    pub fn scan(
        self,
        bloom: Bloom,
        text: &[u8],
        from: usize,
        mut candidates: impl FnMut(usize, &[u8], &mut [u16]),
    ) -> usize {
        let mut at = from;
        let mut places = [0; WORDS * LANES];
        while let Some(rest) = text.get(at..).filter(|rest| rest.len() >= LOADED) {
            let mut hits = [0; WORDS];
            let hits = &mut hits[..((rest.len() - LOADED) / STEP + 1).min(WORDS)];
            self.probe(bloom, rest, hits);
            let found = collect(hits, &mut places);
            if !found.is_empty() {
                candidates(at, rest, found);
            }
            at += STEP * hits.len();
        }
        while let Some(rest) = text.get(at..).filter(|rest| rest.len() >= WINDOW) {
            // The rest is looked at with nothing behind it.
            let windows = ((rest.len() - WINDOW) / STRIDE + 1).min(LANES);
            let mut padded = [0; LOADED];
            let loaded = rest.len().min(LOADED);
            padded[..loaded].copy_from_slice(&rest[..loaded]);
            let mut hits = [0];
            self.probe(bloom, &padded, &mut hits);
            hits[0] &= u64::MAX >> (LANES - windows);
            let found = collect(&hits, &mut places);
            if !found.is_empty() {
                candidates(at, &padded, found);
            }
            at += STRIDE * windows;
        }
        at
    }

    /// Answers for the first 64 windows of `text`, and so on for every word of `hits`. The last one's windows are followed by
    /// at least 16 bytes.
    fn probe(self, bloom: Bloom, text: &[u8], hits: &mut [u64]) {
        match self.0 {
            Kind::Scalar => scalar::probe(bloom, text, hits),
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            // the only place outside of memory.rs: safe code can't call what not every processor can run
            // SAFETY: these kinds exist only where the processor has what the functions are compiled for.
            kind => unsafe {
                match kind {
                    Kind::Avx512 => avx512::probe(bloom, text, hits),
                    _ => avx2::probe(bloom, text, hits),
                }
            },
        }
    }
}

/// The places of the windows that were hit.
fn collect<'a>(hits: &[u64], places: &'a mut [u16; WORDS * LANES]) -> &'a mut [u16] {
    let mut count = 0;
    for (word, at) in hits.iter().zip((0..).step_by(STEP)) {
        let mut hits = *word;
        while hits != 0 {
            places[count] = at + STRIDE as u16 * hits.trailing_zeros() as u16;
            count += 1;
            hits &= hits - 1;
        }
    }
    &mut places[..count]
}

/// What one word's windows are loaded from.
type Block = [u8; LOADED];

fn block(text: &[u8], word: usize) -> &Block {
    text[STEP * word..].first_chunk().expect("there are bytes behind a word's windows")
}

fn eight(block: &Block, lane: usize) -> [u8; 8] {
    *block[STRIDE * lane..].first_chunk().expect("there are bytes behind a word's windows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_gives_the_answers_of_the_scalar_one() {
        let mut seed = 1u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 32) as u32
        };
        for words in [64, 128, 4096, 1 << 17] {
            // three quarters of the bits are set
            let words: Vec<[u8; 4]> = (0..words).map(|_| (random() | random()).to_le_bytes()).collect();
            let bloom = Bloom { words: &words, hash: Hash::new([0; 3].map(|_| random())) };
            let text: Vec<u8> = (0..8 * STEP + LOADED + 50).map(|_| random() as u8).collect();
            for kernel in Kernel::all() {
                for len in (0..text.len()).filter(|len| *len < 700 || len.is_multiple_of(97)) {
                    for from in [0, 1, 2, 190, 191, 192, 193] {
                        let (mut found, mut expected) = (Vec::new(), Vec::new());
                        let next = kernel.scan(bloom, &text[..len], from, |at, _, places| {
                            found.extend(places.iter().map(|place| at + usize::from(*place)));
                        });
                        let mut at = from;
                        while at + WINDOW <= len {
                            let mut eight = [0; 8];
                            eight[..WINDOW].copy_from_slice(&text[at..at + WINDOW]);
                            if bloom.may_have(eight) {
                                expected.push(at);
                            }
                            at += STRIDE;
                        }
                        assert_eq!((next, found), (at, expected), "{kernel:?}, {len} bytes from {from}");
                    }
                }
            }
        }
    }
}
