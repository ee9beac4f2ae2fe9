//! By which byte strings a value usually shows itself in a log: policy. [`super::redact`] finds them: mechanism.
//!
//! ```text
//! value ─► texts: the value itself; strings in a JSON document; the password of a URL; a key whose line ends are escaped
//!           each text ─► raw, CR LF or LF line ends, base64 and base64url at three alignments, base64 of base64, hex,
//!                        percent-, JSON-, XML- and shell-escaped
//!           each line of a text ─► raw, XML- and shell-escaped (the other forms stand on one line, where the text's are found)
//!           the value, over 48 bytes ─► each line of its base64 folded at 64 and at 76 columns
//! ```
//!
//! Where two forms are the same bytes there is one pattern. White space around a text is no part of it. What depends on the
//! neighbours of a text is left out of the pattern: up to four bits of its first and of its last byte remain of base64.
//!
//! # Regions
//!
//! A fingerprint's windows can be guessed by whoever has the key: six letters and digits of a value cost 2^36 guesses, and
//! the same window over hex, which covers three of its bytes, 2^18. So all windows of all forms lie in the image of one
//! *region* of 8 bytes (at most 64 bits; 48 of letters and digits), which is given up: who dumps the fingerprints learns
//! it, and the value's length. The rest is confirmed by a keyed hash over the whole pattern, which answers only who guesses
//! all of it: that nothing else is learned holds as long as it is worth [`ENOUGH`] bits. The accounting, per text:
//!
//! - A text has one region. A text, line or folded line that does not contain one of those already chosen gets its own.
//!   A value over 48 bytes thereby gives up about 8 bytes of each 48 (17 to 20 %, of a key too: without folding it would be
//!   8 of the 64 characters of a line), a JSON document 8 of each of its strings.
//! - What stands alone (a value, a string, a line that is no key's) must keep [`ENOUGH`] bits outside its region, else
//!   the value is [`Strength::Weak`]. Of a key's lines the last may be given up whole; the key is weak only when more
//!   than a quarter of it is (an RSA key is rebuilt from 27 % of its bits: Heninger and Shacham, CRYPTO 2009).
//! - Bits are estimated by classes of characters, words at two bits a letter, and what is public at none: PEM armour and
//!   the start of what is in it, all of a JWT before its signature, the prefixes of tokens, a URL but for its password.
//!
//! # Not covered
//!
//! This guards against accident, not intent. Not found are values that are reversed, split up, interleaved with blanks,
//! encrypted, compressed, encoded in ways not listed (base32, hex in groups or folded, quoted-printable, base64 of base64 of
//! something that contains the value), escaped twice other than JSON in JSON, in UTF-16, or changed in case; parts of a
//! line; lines under 8 bytes by themselves (they are found behind the line before them, and in a stream that is let out line
//! by line not before the first long one). Of a line `NAME=value` or `name: value` only the value counts, and neither plain
//! addresses nor names that everybody uses ([`strength`]); of a JSON document the strings, but not those of names such as
//! `type` or `client_email`. Folded lines are found when the value was encoded alone, from its first byte on.

mod encode;
mod escape;
mod json;
mod judge;
mod parts;
mod scratch;
#[cfg(test)]
mod tests;

use std::ops::Range;

use encode::{STANDARD, URL};
use escape::Escaper;
use parts::{Kind, Plan};
use scratch::Scratch;

/// How many bits must be left outside of what a dump of the fingerprints gives away.
pub const ENOUGH: usize = 80;

/// How well a value is protected by its fingerprints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// Too short or too common to be told from other text.
    NotRedactable,
    /// Redacted, but a dump of the fingerprints would give it away, or a part of it.
    Weak,
    Strong,
}

/// What a value has become where it is found; told in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    Raw,
    Line,
    JsonLeaf,
    Password,
    Unescaped,
    LineEnds,
    Base64,
    Base64Url,
    Base64Folded,
    Base64Twice,
    Hex,
    Percent,
    Json,
    JsonTwice,
    Xml,
    Shell,
}

impl Form {
    /// In the order of their numbers in files.
    pub const ALL: [Self; 16] = [
        Self::Raw,
        Self::Line,
        Self::JsonLeaf,
        Self::Password,
        Self::Unescaped,
        Self::LineEnds,
        Self::Base64,
        Self::Base64Url,
        Self::Base64Folded,
        Self::Base64Twice,
        Self::Hex,
        Self::Percent,
        Self::Json,
        Self::JsonTwice,
        Self::Xml,
        Self::Shell,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Line => "line",
            Self::JsonLeaf => "json-leaf",
            Self::Password => "password",
            Self::Unescaped => "unescaped",
            Self::LineEnds => "line-ends",
            Self::Base64 => "base64",
            Self::Base64Url => "base64url",
            Self::Base64Folded => "base64-folded",
            Self::Base64Twice => "base64-twice",
            Self::Hex => "hex",
            Self::Percent => "percent",
            Self::Json => "json",
            Self::JsonTwice => "json-twice",
            Self::Xml => "xml",
            Self::Shell => "shell",
        }
    }
}

/// Whether a value can be redacted, and how well its fingerprints protect it.
pub fn strength(value: &[u8]) -> Strength {
    Plan::of(value).map_or(Strength::NotRedactable, |plan| plan.strength())
}

/// Takes a pattern: its form, its bytes, and where in them the windows may lie.
pub type Emit<'a> = dyn FnMut(Form, &[u8], Range<usize>) + 'a;

/// Hands over every pattern of a value, and where in it the windows may lie: always 8 bytes or more, and never outside the
/// image of a region.
pub fn expand(value: &[u8], emit: &mut Emit) -> Strength {
    let Some(plan) = Plan::of(value) else { return Strength::NotRedactable };
    let mut out = Scratch::new();
    for text in &plan.texts {
        for part in &text.parts {
            let bytes = &text.bytes[part.range.clone()];
            let region = part.region - part.range.start..part.region - part.range.start + 8;
            match part.kind {
                Kind::Whole => whole(text.form, bytes, region, &mut out, emit),
                Kind::Line => {
                    emit(Form::Line, bytes, region.clone());
                    Escaper::new(bytes).each(escape::IN_LINES, region, &mut out, emit);
                }
                Kind::Lines => {
                    emit(Form::Line, bytes, region.clone());
                    Escaper::new(bytes).each(escape::LINE_ENDS, region, &mut out, emit);
                }
                Kind::Folded { columns } => folded(bytes, columns, region, &mut out, emit),
            }
        }
    }
    plan.strength()
}

/// All forms of a text.
fn whole(form: Form, bytes: &[u8], region: Range<usize>, out: &mut Scratch, emit: &mut Emit) {
    emit(form, bytes, region.clone());
    for before in 0..3 {
        let window = encode::base64(bytes, before, STANDARD, region.clone(), out);
        emit(Form::Base64, out, window.clone());
        if out.iter().any(|b| b"+/".contains(b)) {
            encode::base64(bytes, before, URL, region.clone(), out);
            emit(Form::Base64Url, out, window);
        }
    }
    let mut inner = Scratch::new();
    let window = encode::base64(bytes, 0, STANDARD, region.clone(), &mut inner);
    let window = encode::base64(&inner, 0, STANDARD, window, out);
    emit(Form::Base64Twice, out, window);
    let window = encode::hex(bytes, b"0123456789abcdef", region.clone(), out);
    emit(Form::Hex, out, window.clone());
    if out.iter().any(u8::is_ascii_lowercase) {
        encode::hex(bytes, b"0123456789ABCDEF", region.clone(), out);
        emit(Form::Hex, out, window);
    }
    Escaper::new(bytes).each(escape::EVERYWHERE, region, out, emit);
}

/// One line of folded base64; or its last full line with a shorter one behind it, which alone would be too short.
fn folded(bytes: &[u8], columns: usize, region: Range<usize>, out: &mut Scratch, emit: &mut Emit) {
    let window = encode::base64(bytes, 0, STANDARD, region, out);
    if out.len() <= columns {
        return emit(Form::Base64Folded, out, window);
    }
    for end in [&b"\n"[..], b"\r\n"] {
        let mut two = Scratch::new();
        two.extend(&out[..columns]);
        two.extend(end);
        two.extend(&out[columns..]);
        emit(Form::Base64Folded, &two, window.clone());
    }
}
