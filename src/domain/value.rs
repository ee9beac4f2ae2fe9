//! A secret's value and what may be done with it.
//!
//! [`Value`] is wiped when dropped. It has no `Display`, `Clone` or `Serialize`, and its `Debug` prints no byte of it:
//! whoever wants the bytes says [`Value::expose`]. Buffers inside h2, rustls and prost are not ours to wipe; what keeps
//! values out of them is sealing, not this type.

use std::fmt;

use zeroize::Zeroizing;

use super::forms::Strength;

/// The longest value, in bytes.
pub const MAX_VALUE: usize = 64 * 1024;
/// All values of one bundle together, in bytes.
pub const MAX_BUNDLE: usize = 1024 * 1024;
/// How many variables a session gets at the most from each source, 900 in all: at a session's thousandth sshd ends it
/// ("too many env vars"), and some are sshd's own.
pub const MAX_SHARED: usize = 400;
pub const MAX_PRIVATE: usize = 300;
pub const MAX_ENVIRONMENT: usize = 200;

/// Bytes that must not be printed, owned and wiped.
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// Takes the bytes over; the caller's vector is the one that is wiped.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(..)")
    }
}

/// How a value reaches the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// As an environment variable.
    Env,
    /// As a file; the variable holds its path.
    File,
}

impl Delivery {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::File => "file",
        }
    }
}

/// Why a value can't be stored for a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    Empty,
    TooLong { len: usize },
    Nul,
    NotUtf8,
    Noncharacter,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the value is empty; to remove a secret, delete it"),
            Self::TooLong { len } => {
                write!(f, "the value has {len} bytes; {MAX_VALUE} (64 KiB) is the most")
            }
            Self::Nul => {
                f.write_str("the value holds a NUL byte, which no environment variable can; deliver it as a file")
            }
            Self::NotUtf8 => {
                f.write_str("the value is not UTF-8, and systemd would print it to the journal; deliver it as a file")
            }
            Self::Noncharacter => f.write_str(
                "the value holds a Unicode noncharacter (such as U+FFFF), for which systemd refuses all variables of a file; \
                 deliver it as a file",
            ),
        }
    }
}

impl std::error::Error for Unfit {}

/// Checks a value at the moment it is set, so that nothing is refused at boot.
pub fn check(bytes: &[u8], delivery: Delivery) -> Result<(), Unfit> {
    if bytes.is_empty() {
        return Err(Unfit::Empty);
    }
    if bytes.len() > MAX_VALUE {
        return Err(Unfit::TooLong { len: bytes.len() });
    }
    if delivery == Delivery::Env { check_text(bytes) } else { Ok(()) }
}

/// What every consumer of an environment can carry: UTF-8 without NUL, and without the code points that Unicode keeps for
/// no character (23.7), which systemd's parser takes for broken UTF-8 (`unichar_is_valid` in src/basic/utf8.c).
pub fn check_text(bytes: &[u8]) -> Result<(), Unfit> {
    if bytes.contains(&0) {
        return Err(Unfit::Nul);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Unfit::NotUtf8)?;
    let noncharacter = |c: char| matches!(c as u32, 0xfdd0..=0xfdef) || c as u32 & 0xfffe == 0xfffe;
    if text.chars().any(noncharacter) { Err(Unfit::Noncharacter) } else { Ok(()) }
}

/// Things worth telling whoever saves a value. They stop nothing.
pub fn warnings(bytes: &[u8], strength: Strength) -> Vec<&'static str> {
    let mut told = Vec::new();
    if bytes.ends_with(b"\n") && bytes.iter().filter(|b| **b == b'\n').count() == 1 {
        told.push("the value ends with a newline, which is part of it; `printf %s` writes none");
    }
    if bytes.windows(2).any(|w| w == b"\r\n") {
        told.push("the value has Windows line ends (CR LF), which are part of it");
    }
    match strength {
        Strength::NotRedactable if bytes.trim_ascii().len() < 8 => {
            told.push("the value is shorter than 8 bytes and can't be redacted from logs");
        }
        Strength::NotRedactable => {
            told.push("the value is too common to be redacted from logs: it would hide what is no secret");
        }
        Strength::Weak | Strength::Strong => {}
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::forms;

    #[test]
    fn what_a_value_may_be() {
        let long = vec![b'x'; MAX_VALUE + 1];
        for (bytes, delivery, expected) in [
            (&b"x"[..], Delivery::Env, Ok(())),
            (&long[1..], Delivery::Env, Ok(())),
            (b"line\nline\n", Delivery::Env, Ok(())),
            (b"\xff\x00", Delivery::File, Ok(())),
            (b"", Delivery::Env, Err(Unfit::Empty)),
            (b"", Delivery::File, Err(Unfit::Empty)),
            (b"a\0b", Delivery::Env, Err(Unfit::Nul)),
            (b"\xff", Delivery::Env, Err(Unfit::NotUtf8)),
            (b"\xed\xa0\x80", Delivery::Env, Err(Unfit::NotUtf8)), // half a surrogate pair
            ("a\u{ffff}".as_bytes(), Delivery::Env, Err(Unfit::Noncharacter)),
            ("\u{10fffe}".as_bytes(), Delivery::Env, Err(Unfit::Noncharacter)),
            ("\u{fdd0}".as_bytes(), Delivery::Env, Err(Unfit::Noncharacter)),
            ("\u{fdcf}\u{fdf0}\u{fffd}\u{10fffd}".as_bytes(), Delivery::Env, Ok(())),
            ("\u{ffff}".as_bytes(), Delivery::File, Ok(())),
            (&long, Delivery::Env, Err(Unfit::TooLong { len: MAX_VALUE + 1 })),
            (&long, Delivery::File, Err(Unfit::TooLong { len: MAX_VALUE + 1 })),
        ] {
            assert_eq!(check(bytes, delivery), expected);
        }
    }

    #[test]
    fn debug_prints_nothing_of_a_value() {
        assert_eq!(format!("{:?}", Value::new(b"hunter2".to_vec())), "Value(..)");
    }

    #[test]
    fn warnings_are_given_for() {
        for (bytes, count) in [
            (&b"long enough"[..], 0),
            (b"long enough\n", 1),
            (b"a\nlong\nkey\n", 0),
            (b"short", 1),
            (b"localhost", 1),
            (b"12345678", 1),
            (b"\n    x \n", 1),
            (b"long\r\nenough", 1),
        ] {
            assert_eq!(warnings(bytes, forms::strength(bytes)).len(), count, "{bytes:?}");
        }
    }
}
