//! Fingerprints as tables, in one flat piece of memory which the caller may supply.
//!
//! ```text
//! key | bloom: words u32 | buckets: first entry 24 bits, marks 8; one more than there are | entries, sorted: hash of a window
//! 32 bits, pattern 30, which of its windows 2 | patterns: mac 16, len u32, label u32, windows' offsets 3 x u32, their hashes
//! as one u32
//! ```

use std::{convert::Infallible, fmt, ops::Range};

use zeroize::Zeroizing;

use super::{
    fingerprint::{Fingerprints, MOST, STRIDE},
    kernel::{self, Bloom, Kernel},
    key::{Key, WINDOW},
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
    /// How many bytes all windows of a pattern lie in, at most.
    pub(super) span: usize,
    /// The longest pattern, in bytes.
    pub(super) longest: u64,
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
/// The part of a bucket that says which entry is its first. In the other eight bits one is set for each of its entries.
const FIRST: u32 = (1 << 24) - 1;
const _: () = assert!(STRIDE * MOST <= FIRST as usize);

/// An entry's bit in its bucket. A window that the Bloom filter takes for another has mostly another one.
fn mark(hash: u32) -> u32 {
    1 << (24 + ((hash ^ hash >> 5 ^ hash >> 10) & 7))
}

impl Plan {
    fn of(patterns: usize, entries: &[u64]) -> Self {
        // Forms of one value often have a window in common.
        let windows = 1 + entries.windows(2).filter(|two| two[0] >> 32 != two[1] >> 32).count();
        // One or two words a window, but one or a half where more would not fit into the cache next to the processor.
        let words = windows.next_power_of_two();
        let words = if words > 1 << 17 { words / 2 } else { words }.max(2048);
        let bucket_bits = windows.next_power_of_two().ilog2().max(6);
        let mut total = 32;
        let mut part = |bytes: usize| {
            let start = total;
            total = (start + bytes).next_multiple_of(64);
            start..start + bytes
        };
        Self {
            bloom: part(4 * words),
            buckets: part(4 * ((1 << bucket_bits) + 1)),
            entries: part(8 * entries.len()),
            patterns: part(PATTERN * patterns),
            bucket_bits,
            total,
        }
    }

    fn fill(&self, fingerprints: &Fingerprints, entries: &[u64], memory: &mut [u8]) {
        memory[..32].copy_from_slice(fingerprints.key.bytes());
        let words = memory[self.bloom.clone()].as_chunks_mut().0;
        let shift = kernel::shift(words.len());
        for hash in entries.iter().map(|entry| (entry >> 32) as u32) {
            let word = &mut words[(hash >> shift) as usize];
            let bits = kernel::bits(hash).iter().fold(0, |bits, bit| bits | 1 << bit);
            *word = (u32::from_le_bytes(*word) | bits).to_le_bytes();
        }
        let mut first = 0;
        for (bucket, to) in memory[self.buckets.clone()].chunks_mut(4).enumerate() {
            let its = entries[first..].iter().take_while(|e| (*e >> (64 - self.bucket_bits)) <= bucket as u64);
            let (count, marks) = its.fold((0, 0), |(count, marks), e| (count + 1, marks | mark((e >> 32) as u32)));
            to.copy_from_slice(&(first as u32 | marks).to_le_bytes());
            first += count;
        }
        for (to, entry) in memory[self.entries.clone()].chunks_mut(8).zip(entries) {
            to.copy_from_slice(&entry.to_le_bytes());
        }
        for (record, f) in memory[self.patterns.clone()].chunks_mut(PATTERN).zip(&fingerprints.list) {
            record[..16].copy_from_slice(&f.mac);
            let [a, b, c] = f.windows.map(|w| w.at);
            let numbers = [f.len, f.label, a, b, c, together(f.windows.map(|w| w.hash))];
            numbers.iter().zip(record[16..].chunks_mut(4)).for_each(|(n, to)| to.copy_from_slice(&n.to_le_bytes()));
        }
    }
}

/// All windows, sorted by their hash: that, the pattern's number and which of its windows it is.
fn entries(fingerprints: &Fingerprints) -> Zeroizing<Vec<u64>> {
    let mut entries = Zeroizing::new(Vec::with_capacity(STRIDE * fingerprints.len()));
    for (pattern, f) in fingerprints.list.iter().enumerate() {
        let numbered = f.windows.iter().enumerate();
        entries.extend(numbered.map(|(which, w)| u64::from(w.hash) << 32 | (pattern << 2 | which) as u64));
    }
    entries.sort_unstable();
    entries
}

fn hold(fingerprints: &Fingerprints) -> usize {
    fingerprints.list.iter().map(|f| f.windows_end() as usize - 1).max().unwrap_or(0)
}

fn span(fingerprints: &Fingerprints) -> usize {
    let spans = fingerprints.list.iter().map(|f| f.windows_end() - f.windows.iter().map(|w| w.at).min().unwrap_or(0));
    spans.max().unwrap_or(0) as usize
}

fn longest(fingerprints: &Fingerprints) -> u64 {
    fingerprints.list.iter().map(|f| f.len.into()).max().unwrap_or(0)
}

impl Finder {
    /// In ordinary memory, which is wiped when it is given up.
    pub fn new(fingerprints: &Fingerprints) -> Self {
        Self::with(fingerprints, Kernel::best())
    }

    /// With the kernel of this name, if this machine can run it: to compare them.
    pub fn with_kernel(fingerprints: &Fingerprints, name: &str) -> Option<Self> {
        Kernel::named(name).map(|kernel| Self::with(fingerprints, kernel))
    }

    pub(super) fn with(fingerprints: &Fingerprints, kernel: Kernel) -> Self {
        let Ok(made) = Self::made(fingerprints, kernel, |size| Ok::<_, Infallible>(Zeroizing::new(vec![0; size])));
        made
    }

    /// In memory of the caller's choice: as many zero bytes as it is asked for.
    pub fn within<M, E>(fingerprints: &Fingerprints, memory: impl FnOnce(usize) -> Result<M, E>) -> Result<Self, E>
    where
        M: AsRef<[u8]> + AsMut<[u8]> + Send + Sync + 'static,
    {
        Self::made(fingerprints, Kernel::best(), memory)
    }

    fn made<M, E>(
        fingerprints: &Fingerprints,
        kernel: Kernel,
        memory: impl FnOnce(usize) -> Result<M, E>,
    ) -> Result<Self, E>
    where
        M: AsRef<[u8]> + AsMut<[u8]> + Send + Sync + 'static,
    {
        let entries = entries(fingerprints);
        let plan = Plan::of(fingerprints.len(), &entries);
        let mut memory = memory(plan.total)?;
        plan.fill(fingerprints, &entries, memory.as_mut());
        let (hold, span, longest) = (hold(fingerprints), span(fingerprints), longest(fingerprints));
        Ok(Self { memory: Box::new(memory), plan, kernel, hold, span, longest })
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.plan.total
    }

    pub(super) fn tables(&self) -> Tables<'_> {
        let memory = (*self.memory).as_ref();
        let key = Key::over(memory.first_chunk().expect("the memory begins with the key"));
        Tables {
            bloom: Bloom { words: memory[self.plan.bloom.clone()].as_chunks().0, hash: key.hash() },
            key,
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
    pub key: Key<&'a [u8; 32]>,
    pub bloom: Bloom<'a>,
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
    /// Of the places of a text that the Bloom filter lets through, what is left after a look at the buckets, with the windows.
    pub fn likely<'p>(
        &self,
        text: &'p [u8],
        places: &'p mut [u16],
    ) -> impl Iterator<Item = (usize, [u8; 8])> + use<'p> {
        let eight = |place| *text[usize::from(place)..].first_chunk().expect("there are bytes behind a window");
        let mut count = 0;
        // Without a branch, so that the buckets are fetched from memory together and not one after the other.
        for i in 0..places.len() {
            let place = places[i];
            let hash = self.bloom.hash.of(eight(place));
            let bucket = u32::from_le_bytes(self.buckets[self.bucket(hash)]);
            places[count] = place;
            count += usize::from(bucket & mark(hash) != 0);
        }
        places[..count].iter().map(move |place| (usize::from(*place), eight(*place)))
    }

    fn bucket(&self, hash: u32) -> usize {
        (hash >> (32 - self.bucket_bits)) as usize
    }

    /// The patterns, and which of their windows, that have this window.
    pub fn with_window(&self, eight: [u8; 8], mut found: impl FnMut(u32, usize)) {
        let hash = self.bloom.hash.of(eight);
        let bucket = self.bucket(hash);
        let [first, end] = [bucket, bucket + 1].map(|b| (u32::from_le_bytes(self.buckets[b]) & FIRST) as usize);
        for entry in self.entries[first..end].iter().map(|e| u64::from_le_bytes(*e)) {
            if (entry >> 32) as u32 == hash {
                found(entry as u32 >> 2, entry as usize & 3);
            }
        }
    }

    pub fn pattern(&self, pattern: u32) -> Pattern {
        let record = &self.patterns[pattern as usize];
        let (mac, numbers) = record.split_first_chunk().expect("a record begins with its MAC");
        let n = |i: usize| u32::from_le_bytes(numbers.as_chunks().0[i]);
        Pattern { mac: *mac, len: n(0), label: n(1), at: [n(2), n(3), n(4)], together: n(5) }
    }
}

/// One number for the hashes of a pattern's three windows: of which one was seen, it is compared before the MAC is made.
pub(super) fn together(hashes: [u32; STRIDE]) -> u32 {
    hashes.iter().fold(0, |sum: u32, hash| sum.wrapping_mul(0x9e37_79b1).rotate_left(15) ^ hash)
}
