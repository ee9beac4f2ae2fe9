//! Fingerprints as tables, in one flat piece of memory which the caller may supply.
//!
//! ```text
//! key | bloom: words u64 | buckets: first entry u32, one more than there are | entries: window hash 40 bits, pattern 22,
//! which of its windows 2 | patterns: mac 16, len u32, label u32, offsets of the windows 3 x u32, all windows together u32
//! ```

use std::{fmt, ops::Range};

use zeroize::Zeroizing;

use super::{
    fingerprint::{Fingerprint, Fingerprints, STRIDE},
    kernel::Kernel,
    key::{KEY, Key, WINDOW},
};

type Memory = Box<dyn AsRef<[u8]> + Send + Sync>;

/// What finds patterns: read only, to be shared.
pub struct Finder {
    memory: Memory,
    plan: Plan,
    kernel: Kernel,
    /// How many bytes at the end of a text can be part of a pattern of which no window has been seen: the farthest end of
    /// a window, less one.
    pub(super) hold: usize,
}

/// Where things are in the memory.
#[derive(Clone, Default)]
struct Plan {
    bloom: Range<usize>,
    buckets: Range<usize>,
    entries: Range<usize>,
    patterns: Range<usize>,
    bucket_bits: u32,
    total: usize,
}

const PATTERN: usize = 40;

impl Plan {
    fn of(patterns: usize, windows: usize) -> Self {
        // One word, on average, for one or two windows; more of them would not fit into the cache next to the processor.
        let words = (windows / 2).next_power_of_two().max(64);
        let bucket_bits = (windows.next_power_of_two().ilog2()).max(6);
        let mut total = KEY;
        let mut part = |bytes: usize| {
            let start = total;
            total = (start + bytes).next_multiple_of(64);
            start..start + bytes
        };
        Self {
            bloom: part(8 * words),
            buckets: part(4 * ((1 << bucket_bits) + 1)),
            entries: part(8 * windows),
            patterns: part(PATTERN * patterns),
            bucket_bits,
            total,
        }
    }
}

impl Finder {
    /// In ordinary memory, which is wiped when it is given up.
    pub fn new(fingerprints: &Fingerprints) -> Self {
        Self::with(fingerprints, Kernel::best(fingerprints.len()))
    }

    pub(super) fn with(fingerprints: &Fingerprints, kernel: Kernel) -> Self {
        let mut memory = Zeroizing::new(vec![0; Self::plan(fingerprints, kernel).total]);
        let (plan, hold) = Self::fill(fingerprints, kernel, &mut memory);
        Self { memory: Box::new(memory), plan, kernel, hold }
    }

    /// How many bytes [`Self::within`] wants.
    pub fn size(fingerprints: &Fingerprints) -> usize {
        Self::plan(fingerprints, Kernel::best(fingerprints.len())).total
    }

    /// In memory of the caller's choice, of exactly [`Self::size`] zero bytes; else nothing.
    pub fn within<M>(fingerprints: &Fingerprints, mut memory: M) -> Option<Self>
    where
        M: AsRef<[u8]> + AsMut<[u8]> + Send + Sync + 'static,
    {
        let kernel = Kernel::best(fingerprints.len());
        if memory.as_ref().len() != Self::size(fingerprints) {
            return None;
        }
        let (plan, hold) = Self::fill(fingerprints, kernel, memory.as_mut());
        Some(Self { memory: Box::new(memory), plan, kernel, hold })
    }

    fn plan(fingerprints: &Fingerprints, kernel: Kernel) -> Plan {
        Plan::of(fingerprints.len(), fingerprints.len() * if kernel.stride() == 1 { 1 } else { STRIDE })
    }

    fn fill(fingerprints: &Fingerprints, kernel: Kernel, memory: &mut [u8]) -> (Plan, usize) {
        let plan = Self::plan(fingerprints, kernel);
        let mut entries: Vec<u64> = Vec::with_capacity(plan.entries.len() / 8);
        let mut hold = 0;
        for (pattern, f) in fingerprints.list.iter().enumerate() {
            let looked_up: &[u8] = if kernel.stride() == 1 { &[f.rarest] } else { &[0, 1, 2] };
            for which in looked_up {
                let window = f.windows[usize::from(*which)];
                entries.push(window.hash << 24 | (pattern as u64) << 2 | u64::from(*which));
            }
            hold = hold.max(f.windows_end() as usize - 1);
            let record = &mut memory[plan.patterns.clone()][PATTERN * pattern..][..PATTERN];
            record[..16].copy_from_slice(&f.mac);
            let numbers = [f.len, f.label, f.windows[0].at, f.windows[1].at, f.windows[2].at, together(f)];
            numbers.iter().zip(record[16..].chunks_mut(4)).for_each(|(n, to)| to.copy_from_slice(&n.to_le_bytes()));
        }
        entries.sort_unstable();
        let mut first = 0;
        for (bucket, to) in memory[plan.buckets.clone()].chunks_mut(4).enumerate() {
            while entries.get(first).is_some_and(|e| (e >> (64 - plan.bucket_bits)) < bucket as u64) {
                first += 1;
            }
            to.copy_from_slice(&(first as u32).to_le_bytes());
        }
        let (words, shift) = (&mut memory[plan.bloom.clone()], bloom_shift(plan.bloom.len() / 8));
        for (entry, _) in entries.iter().zip(0..) {
            let word = &mut words[8 * (entry >> shift) as usize..][..8];
            word.iter_mut().zip(bloom_bits(*entry).to_le_bytes()).for_each(|(byte, bits)| *byte |= bits);
        }
        for (to, entry) in memory[plan.entries.clone()].chunks_mut(8).zip(&entries) {
            to.copy_from_slice(&entry.to_le_bytes());
        }
        memory[..KEY].copy_from_slice(fingerprints.key.bytes());
        (plan, hold)
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.plan.total
    }

    pub(super) fn tables(&self) -> Tables<'_> {
        let memory = (*self.memory).as_ref();
        Tables {
            key: Key::over(memory.first_chunk().expect("the memory begins with the key")),
            bloom: memory[self.plan.bloom.clone()].as_chunks().0,
            buckets: memory[self.plan.buckets.clone()].as_chunks().0,
            entries: memory[self.plan.entries.clone()].as_chunks().0,
            patterns: memory[self.plan.patterns.clone()].as_chunks().0,
            bucket_bits: self.plan.bucket_bits,
            kernel: self.kernel,
        }
    }
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finder").field("memory", &self.plan.total).finish_non_exhaustive()
    }
}

/// The tables, for the time of one call.
pub(super) struct Tables<'a> {
    pub key: Key<&'a [u8; KEY]>,
    pub bloom: &'a [[u8; 8]],
    buckets: &'a [[u8; 4]],
    entries: &'a [[u8; 8]],
    patterns: &'a [[u8; PATTERN]],
    bucket_bits: u32,
    pub kernel: Kernel,
}

/// What one pattern's record says.
pub(super) struct Pattern {
    pub mac: [u8; 16],
    pub len: u32,
    pub label: u32,
    pub at: [u32; STRIDE],
    pub together: u32,
}

impl Pattern {
    pub fn windows_end(&self) -> u32 {
        self.at.iter().max().map_or(0, |at| at + WINDOW as u32)
    }
}

impl Tables<'_> {
    /// The patterns, and which of their windows, that have this window.
    pub fn with_window(&self, hash: u64, mut found: impl FnMut(u32, usize)) {
        let bucket = (hash >> (64 - self.bucket_bits)) as usize;
        let [first, end] = [bucket, bucket + 1].map(|b| u32::from_le_bytes(self.buckets[b]) as usize);
        for entry in self.entries[first..end].iter().map(|e| u64::from_le_bytes(*e)) {
            if (entry ^ hash) >> 24 == 0 {
                found(entry as u32 >> 2 & 0x3f_ffff, entry as usize & 3);
            }
        }
    }

    /// Whether a window may be one that is looked for.
    pub fn may_have(&self, hash: u64) -> bool {
        let bits = bloom_bits(hash);
        u64::from_le_bytes(self.bloom[(hash >> bloom_shift(self.bloom.len())) as usize]) & bits == bits
    }

    pub fn pattern(&self, pattern: u32) -> Pattern {
        let record = &self.patterns[pattern as usize];
        let (mac, numbers) = record.split_first_chunk().expect("a record begins with its MAC");
        let n = |i: usize| u32::from_le_bytes(numbers.as_chunks().0[i]);
        Pattern { mac: *mac, len: n(0), label: n(1), at: [n(2), n(3), n(4)], together: n(5) }
    }
}

/// A word of the Bloom filter is chosen by the upper bits of a window's hash ...
pub(super) fn bloom_shift(words: usize) -> u32 {
    64 - words.ilog2()
}

/// ... and has the two bits set that its next ones say.
pub(super) fn bloom_bits(hash: u64) -> u64 {
    1 << (hash >> 40 & 63) | 1 << (hash >> 34 & 63)
}

fn together(f: &Fingerprint) -> u32 {
    all_windows(f.windows.map(|w| w.hash))
}

/// One number for the hashes of a pattern's three windows: seen one, it is checked before the MAC is made.
pub(super) fn all_windows(hashes: [u64; STRIDE]) -> u32 {
    let [a, b, c] = hashes;
    let sum = a.wrapping_mul(3).wrapping_add(b).wrapping_mul(3).wrapping_add(c);
    (sum ^ sum >> 32) as u32
}
