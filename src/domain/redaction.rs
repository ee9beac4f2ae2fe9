//! One session's redaction: the names its values go by, the forms they show themselves in, and what became of each in a log.
//!
//! [`forms`] says what is looked for, [`redact`] finds it, and here a label becomes a name:
//!
//! ```text
//! label u32: name << 8 | form
//! "KFRD" | version 1 | names u32 | each: variable u8 + bytes, version u8 + bytes, digest 16 | the fingerprints
//! ```
//!
//! The digest is a keyed hash of the value, by which one that is added again is known. What a dump of all this gives away
//! is told in [`redact`], and which bytes of a value that are in [`forms`].

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

pub use super::forms::Strength;
use super::{
    forms::{self, Form},
    redact::{self, Finder, Fingerprints, Sink},
};

/// How long a stream may be silent before what is undecided goes out.
pub const IDLE: Duration = Duration::from_millis(30);

const MAGIC: &[u8; 5] = b"KFRD\x01";
const MOST_NAMES: usize = 1 << 16;
const LONGEST_NAME: usize = 255;

/// The fingerprints and names of one session's values. Holds no value.
#[derive(Debug)]
pub struct Redaction {
    names: Vec<Name>,
    fingerprints: Fingerprints,
}

#[derive(Clone)]
struct Name {
    variable: Arc<str>,
    version: Arc<str>,
    digest: [u8; 16],
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.variable, self.version)
    }
}

/// Why bytes are no [`Redaction`].
#[derive(Debug)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not fingerprints of this version")
    }
}

impl std::error::Error for Malformed {}

impl Redaction {
    /// `key` is random, from the caller.
    pub fn new(key: [u8; 32]) -> Self {
        Self { names: Vec::new(), fingerprints: Fingerprints::new(key) }
    }

    /// Remembers every form of a value; to add it again changes nothing.
    pub fn add(&mut self, variable: &str, version: &str, value: &[u8]) -> Strength {
        let digest = self.fingerprints.digest(value);
        let same = |n: &Name| n.digest == digest && &*n.variable == variable && &*n.version == version;
        let fits = self.names.len() < MOST_NAMES && [variable, version].iter().all(|name| name.len() <= LONGEST_NAME);
        if !fits {
            return Strength::NotRedactable;
        }
        if self.names.iter().any(same) {
            return forms::strength(value);
        }
        let name = (self.names.len() as u32) << 8;
        let strength = forms::expand(value, &mut |form, pattern, windows| {
            let taken = self.fingerprints.add(name | form as u32, pattern, windows);
            debug_assert_eq!(taken, Ok(()), "{form:?}");
        });
        if strength != Strength::NotRedactable {
            self.names.push(Name { variable: variable.into(), version: version.into(), digest });
        }
        strength
    }

    pub fn encode(&self) -> Vec<u8> {
        let fingerprints = self.fingerprints.encode();
        let mut out = Vec::with_capacity(MAGIC.len() + 4 + 128 * self.names.len() + fingerprints.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(self.names.len() as u32).to_le_bytes());
        for name in &self.names {
            for text in [&name.variable, &name.version] {
                out.push(text.len() as u8);
                out.extend_from_slice(text.as_bytes());
            }
            out.extend_from_slice(&name.digest);
        }
        out.extend_from_slice(&fingerprints);
        out
    }

    /// Reads what [`Self::encode`] wrote, from whoever may have written it: never panics, and asks for no more memory than
    /// the bytes justify.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(Malformed)?;
        let count = u32::from_le_bytes(take(&mut rest)?) as usize;
        if count > MOST_NAMES {
            return Err(Malformed);
        }
        let mut names = Vec::new();
        for _ in 0..count {
            let (variable, version) = (text(&mut rest)?, text(&mut rest)?);
            if variable.is_empty() {
                return Err(Malformed);
            }
            names.push(Name { variable, version, digest: take(&mut rest)? });
        }
        let fingerprints = Fingerprints::decode(rest).map_err(|_| Malformed)?;
        let known = |label: u32| (label >> 8) < count as u32 && usize::from(label as u8) < Form::ALL.len();
        if !fingerprints.labels().all(known) {
            return Err(Malformed);
        }
        Ok(Self { names, fingerprints })
    }

    /// Builds the tables by which values are found.
    pub fn redactor(&self) -> Redactor {
        Redactor { names: self.names.clone().into(), finder: Finder::new(&self.fingerprints) }
    }

    /// The same, with the tables and their key in memory of the caller's choice: as many zero bytes as it is asked for.
    pub fn redactor_within<M, E>(&self, memory: impl FnOnce(usize) -> Result<M, E>) -> Result<Redactor, E>
    where
        M: AsRef<[u8]> + AsMut<[u8]> + Send + Sync + 'static,
    {
        Ok(Redactor { names: self.names.clone().into(), finder: Finder::within(&self.fingerprints, memory)? })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, after) = rest.split_first_chunk().ok_or(Malformed)?;
    *rest = after;
    Ok(*taken)
}

/// A name, which goes to terminals.
fn text(rest: &mut &[u8]) -> Result<Arc<str>, Malformed> {
    let [len] = take(rest)?;
    let (text, after) = rest.split_at_checked(usize::from(len)).ok_or(Malformed)?;
    *rest = after;
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(Malformed);
    }
    str::from_utf8(text).map(Arc::from).map_err(|_| Malformed)
}

/// What finds and masks.
#[derive(Debug)]
pub struct Redactor {
    names: Arc<[Name]>,
    finder: Finder,
}

/// What a redacted text is written to, in the text's order.
pub trait Output {
    fn add(&mut self, bytes: &[u8]);
    /// Bytes of the input, from its byte `at` on: who still has that need not copy them.
    fn pass(&mut self, _at: usize, bytes: &[u8]) {
        self.add(bytes);
    }
}

impl Output for Vec<u8> {
    fn add(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A pipe: a newline lets everything before it out.
    Lines,
    /// A terminal: line ends, wrapping and colours may stand inside a value.
    Terminal,
}

impl Redactor {
    pub fn stream(self: &Arc<Self>, mode: Mode) -> Stream {
        let mode = match mode {
            Mode::Lines => redact::Mode::Lines,
            Mode::Terminal => redact::Mode::Terminal,
        };
        Stream { redactor: self.clone(), stream: redact::Stream::new(mode) }
    }

    /// One whole message.
    pub fn redact(&self, whole: &[u8], out: &mut dyn Output, hits: &mut Hits) {
        redact::find_all(&self.finder, whole, &mut Masking { names: &self.names, out, hits });
    }
}

/// One stream of bytes, in whatever pieces it comes.
pub struct Stream {
    redactor: Arc<Redactor>,
    stream: redact::Stream,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("holds", &self.holds()).finish_non_exhaustive()
    }
}

impl Stream {
    /// Appends what may leave.
    pub fn push(&mut self, input: &[u8], out: &mut dyn Output, hits: &mut Hits) {
        let Redactor { names, finder } = &*self.redactor;
        self.stream.push(finder, input, &mut Masking { names, out, hits });
    }

    /// Whether something is held back; [`Self::idle`] lets it go.
    pub fn holds(&self) -> bool {
        self.stream.holds()
    }

    pub fn idle(&mut self, out: &mut dyn Output, hits: &mut Hits) {
        let Redactor { names, finder } = &*self.redactor;
        self.stream.idle(finder, &mut Masking { names, out, hits });
    }

    pub fn finish(&mut self, out: &mut dyn Output, hits: &mut Hits) {
        let Redactor { names, finder } = &*self.redactor;
        self.stream.finish(finder, &mut Masking { names, out, hits });
    }
}

/// Writes names where values stood, and counts them.
struct Masking<'a> {
    names: &'a [Name],
    out: &'a mut dyn Output,
    hits: &'a mut Hits,
}

impl Sink for Masking<'_> {
    fn clean(&mut self, bytes: &[u8]) {
        self.out.add(bytes);
    }

    fn passed(&mut self, at: usize, bytes: &[u8]) {
        self.out.pass(at, bytes);
    }

    fn masked(&mut self, labels: &[u32]) {
        // Of several forms of one value the first is what the others are parts of.
        let mut last = None;
        let mut told: Vec<&str> = Vec::with_capacity(1);
        for label in labels {
            let Some(name) =
                self.names.get((label >> 8) as usize).filter(|_| last.replace(label >> 8) != Some(label >> 8))
            else {
                continue;
            };
            if !told.contains(&&*name.variable) {
                told.push(&name.variable);
            }
            if let Some(form) = Form::ALL.get(usize::from(*label as u8)) {
                *self.hits.0.entry((name.variable.clone(), name.version.clone(), *form)).or_default() += 1;
            }
        }
        self.out.add(b"[keyfob:");
        self.out.add(told.join(",").as_bytes());
        self.out.add(b"]");
    }
}

/// What was masked, counted.
#[derive(Debug, Default)]
pub struct Hits(BTreeMap<(Arc<str>, Arc<str>, Form), u64>);

#[derive(Debug, PartialEq, Eq)]
pub struct Hit {
    pub variable: String,
    pub version: String,
    pub form: &'static str,
    pub count: u64,
}

impl Hits {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn drain(&mut self) -> impl Iterator<Item = Hit> {
        std::mem::take(&mut self.0).into_iter().map(|((variable, version, form), count)| Hit {
            variable: variable.as_ref().into(),
            version: version.as_ref().into(),
            form: form.as_str(),
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction() -> Redaction {
        let mut redaction = Redaction::new(std::array::from_fn(|i| i as u8));
        redaction.add("TOKEN", "v1", b"aB3xZ9kQ2mN7pR5tW8yLcD4e");
        redaction.add("SAME", "", b"aB3xZ9kQ2mN7pR5tW8yLcD4e");
        redaction
    }

    #[test]
    fn written_and_read_back() {
        let bytes = redaction().encode();
        let read = Redaction::decode(&bytes).unwrap();
        assert_eq!(read.encode(), bytes);
        let (mut out, mut hits) = (Vec::new(), Hits::default());
        read.redactor().redact(b"<aB3xZ9kQ2mN7pR5tW8yLcD4e>", &mut out, &mut hits);
        assert_eq!(out, b"<[keyfob:TOKEN,SAME]>");
        let hits: Vec<_> = hits.drain().map(|hit| (hit.variable, hit.version, hit.form, hit.count)).collect();
        assert_eq!(hits, [("SAME".into(), "".into(), "raw", 1), ("TOKEN".into(), "v1".into(), "raw", 1)]);
        assert!(!format!("{read:?}").contains("aB3x"));
    }

    #[test]
    fn what_somebody_else_wrote_is_refused_or_does_no_harm() {
        let bytes = redaction().encode();
        for len in 0..bytes.len() {
            assert!(Redaction::decode(&bytes[..len]).is_err(), "cut to {len}");
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                let Ok(read) = Redaction::decode(&changed) else { continue };
                let (mut out, mut hits) = (Vec::new(), Hits::default());
                read.redactor().redact(b"<aB3xZ9kQ2mN7pR5tW8yLcD4e>", &mut out, &mut hits);
                assert!(out.iter().all(|b| b.is_ascii_graphic()), "{at}");
            }
        }
        let mut many = bytes[..5].to_vec();
        many.extend([0xff; 4]);
        assert!(Redaction::decode(&many).is_err());
    }
}
