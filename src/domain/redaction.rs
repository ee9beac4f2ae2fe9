//! One session's redaction: the names its values go by, the forms they show themselves in, and what became of each in a log.

use std::{sync::Arc, time::Duration};

pub use super::forms::Strength;

/// How long a stream may be silent before what is undecided goes out.
pub const IDLE: Duration = Duration::from_millis(30);

/// The fingerprints and names of one session's values. Holds no value.
#[derive(Debug)]
pub struct Redaction {}

/// Why bytes are no [`Redaction`].
#[derive(Debug)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not fingerprints of this version")
    }
}

impl std::error::Error for Malformed {}

impl Redaction {
    pub fn new(_key: [u8; 32]) -> Self {
        Self {}
    }

    pub fn add(&mut self, _variable: &str, _version: &str, _value: &[u8]) -> Strength {
        Strength::NotRedactable
    }

    pub fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    pub fn decode(_bytes: &[u8]) -> Result<Self, Malformed> {
        Ok(Self {})
    }

    pub fn redactor(&self) -> Redactor {
        Redactor {}
    }
}

/// What finds and masks.
#[derive(Debug)]
pub struct Redactor {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A pipe: a newline lets everything before it out.
    Lines,
    /// A terminal: line ends, wrapping and colours may stand inside a value.
    Terminal,
}

impl Redactor {
    pub fn stream(self: &Arc<Self>, mode: Mode) -> Stream {
        Stream { _redactor: self.clone(), _mode: mode }
    }

    /// One whole message.
    pub fn redact(&self, whole: &[u8], out: &mut Vec<u8>, _hits: &mut Hits) {
        out.extend_from_slice(whole);
    }
}

/// One stream of bytes, in whatever pieces it comes.
#[derive(Debug)]
pub struct Stream {
    _redactor: Arc<Redactor>,
    _mode: Mode,
}

impl Stream {
    /// Appends what may leave.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>, _hits: &mut Hits) {
        out.extend_from_slice(input);
    }

    /// Whether something is held back; [`Self::idle`] lets it go.
    pub fn holds(&self) -> bool {
        false
    }

    pub fn idle(&mut self, _out: &mut Vec<u8>, _hits: &mut Hits) {}

    pub fn finish(&mut self, _out: &mut Vec<u8>, _hits: &mut Hits) {}
}

/// What was masked, counted.
#[derive(Debug, Default)]
pub struct Hits {}

#[derive(Debug, PartialEq, Eq)]
pub struct Hit {
    pub variable: String,
    pub version: String,
    pub form: &'static str,
    pub count: u64,
}

impl Hits {
    pub fn is_empty(&self) -> bool {
        true
    }

    pub fn drain(&mut self) -> impl Iterator<Item = Hit> {
        std::iter::empty()
    }
}
