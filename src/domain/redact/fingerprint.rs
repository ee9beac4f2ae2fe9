//! What is remembered of a pattern, and how it is written down.
//!
//! ```text
//! "KFPR" | version 1 | key 32 | count u32 | count x 42 bytes:
//!   label u32 | len u32 | the windows' offsets: u32, and two more as u8: distance to the first + 128 | 3 x hash u32 | mac 16
//! ```
//! Little endian.

use std::{fmt, ops::Range};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    key::{Owned, WINDOW},
    rarity,
};

/// Only every third window of a text is looked up: of a pattern, wherever it stands, exactly one of three is hit.
pub const STRIDE: usize = 3;
/// The fewest bytes that can be looked for: three windows, one after the other.
pub const SHORTEST: usize = WINDOW + STRIDE - 1;
/// The most bytes that can be looked for: a text must be held back while it might still become a pattern.
pub const LONGEST: usize = 1 << 20;
/// The last window lies at most this far from the first one.
const FARTHEST: usize = 127;
/// The most patterns.
pub(super) const MOST: usize = 1 << 22;

const MAGIC: &[u8; 5] = b"KFPR\x01";
const HEADER: usize = MAGIC.len() + 32 + 4;
const RECORD: usize = 42;

/// One pattern.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Fingerprint {
    pub(super) label: u32,
    pub(super) len: u32,
    /// Three windows, at offsets which are all different modulo three.
    pub(super) windows: [Window; STRIDE],
    pub(super) mac: [u8; 16],
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Zeroize)]
pub(super) struct Window {
    /// Bytes of the pattern before it.
    pub(super) at: u32,
    pub(super) hash: u32,
}

impl Fingerprint {
    /// One past the last byte that a window covers.
    pub(super) fn windows_end(&self) -> u32 {
        self.windows.iter().map(|w| w.at).max().unwrap_or(0) + WINDOW as u32
    }
}

/// The key and the patterns that are remembered under it. No pattern can be read out of it; what it gives away all the
/// same is told in the module's page.
#[derive(Clone)]
pub struct Fingerprints {
    pub(super) key: Owned,
    pub(super) list: Vec<Fingerprint>,
}

/// Why a pattern is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The range holds fewer than [`SHORTEST`] bytes of the pattern.
    TooShort,
    /// Longer than [`LONGEST`].
    TooLong,
    /// More patterns than can be numbered.
    TooMany,
}

/// Why bytes are no [`Fingerprints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Fingerprints {
    pub fn new(key: [u8; 32]) -> Self {
        Self { key: Owned::new(key), list: Vec::new() }
    }

    /// Remembers `pattern` under `label`. What is looked for first, and what can be guessed from a dump, are windows within
    /// `within`: at least [`SHORTEST`] bytes of the pattern, better on one line. Of what is allowed, the rarest is taken.
    pub fn add(&mut self, label: u32, pattern: &[u8], within: Range<usize>) -> Result<(), Unfit> {
        if pattern.len() > LONGEST {
            return Err(Unfit::TooLong);
        }
        if self.list.len() == MOST {
            return Err(Unfit::TooMany);
        }
        let region = pattern.get(within.clone()).filter(|r| r.len() >= SHORTEST).ok_or(Unfit::TooShort)?;
        let at = rarity::rarest(&region[..region.len().min(FARTHEST + WINDOW)]).map(|at| within.start + at);
        self.list.push(Fingerprint {
            label,
            len: pattern.len() as u32,
            windows: at.map(|at| Window { at: at as u32, hash: self.hash(&pattern[at..at + WINDOW]) }),
            mac: self.key.mac((pattern, &[])),
        });
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// A keyed digest, for the caller to know again what it has seen.
    pub fn digest(&self, bytes: &[u8]) -> [u8; 16] {
        self.key.mac((bytes, &[]))
    }

    pub fn labels(&self) -> impl Iterator<Item = u32> {
        self.list.iter().map(|f| f.label)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn hash(&self, window: &[u8]) -> u32 {
        let mut eight = [0; 8];
        eight[..WINDOW].copy_from_slice(window);
        let hash = self.key.hash().of(eight);
        eight.zeroize();
        hash
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + RECORD * self.list.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(self.key.bytes());
        out.extend_from_slice(&(self.list.len() as u32).to_le_bytes());
        for f in &self.list {
            let first = f.windows[0].at;
            out.extend_from_slice(&f.label.to_le_bytes());
            out.extend_from_slice(&f.len.to_le_bytes());
            out.extend_from_slice(&first.to_le_bytes());
            out.extend(f.windows[1..].iter().map(|w| (w.at + 128 - first) as u8));
            f.windows.iter().for_each(|w| out.extend_from_slice(&w.hash.to_le_bytes()));
            out.extend_from_slice(&f.mac);
        }
        out
    }

    /// Reads what [`Self::encode`] wrote, and nothing else; memory is asked for only as far as the bytes justify it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Reader(bytes);
        if rest.take::<5>()? != *MAGIC {
            return Err(Malformed);
        }
        let key = Owned::new(rest.take()?);
        let count = u32::from_le_bytes(rest.take()?) as usize;
        if count > MOST || rest.0.len() != count * RECORD {
            return Err(Malformed);
        }
        let list = (0..count).map(|_| rest.fingerprint()).collect::<Result<_, _>>()?;
        Ok(Self { key, list })
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn fingerprint(&mut self) -> Result<Fingerprint, Malformed> {
        let label = u32::from_le_bytes(self.take()?);
        let len = u32::from_le_bytes(self.take()?);
        let first = u32::from_le_bytes(self.take()?);
        let [second, third] = self.take()?;
        let mut windows = [Window { at: first, hash: 0 }; STRIDE];
        for (window, distance) in windows[1..].iter_mut().zip([second, third]) {
            window.at = (u64::from(first) + u64::from(distance)).checked_sub(128).ok_or(Malformed)? as u32;
        }
        for window in &mut windows {
            window.hash = u32::from_le_bytes(self.take()?);
        }
        let fits = |w: &Window| u64::from(w.at) + WINDOW as u64 <= u64::from(len);
        let residues = windows.iter().fold(0, |set, w| set | 1 << (w.at as usize % STRIDE));
        if len as usize > LONGEST || residues != 0b111 || !windows.iter().all(fits) {
            return Err(Malformed);
        }
        Ok(Fingerprint { label, len, windows, mac: self.take()? })
    }
}

impl fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprints").field("patterns", &self.list.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than 8 bytes",
            Self::TooLong => "longer than 1 MiB",
            Self::TooMany => "more than four million patterns",
        })
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not fingerprints of this version")
    }
}

impl std::error::Error for Unfit {}
impl std::error::Error for Malformed {}
