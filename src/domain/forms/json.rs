//! The strings and long numbers of a JSON document that may be secrets.

use std::ops::Range;

use zeroize::Zeroizing;

use super::judge;

pub(super) struct Leaf {
    /// Without escapes.
    pub text: Zeroizing<Vec<u8>>,
    /// Where it stands in the document, without quotation marks.
    pub source: Range<usize>,
}

/// The fewest digits of a number that is looked for; times in nanoseconds have 19.
const LONG_NUMBER: usize = 20;

/// Names whose strings are no secrets, in service accounts and connection settings; to mask these would mask half a log.
const KNOWN: &[&str] = &[
    "type",
    "project_id",
    "client_email",
    "client_id",
    "universe_domain",
    "region",
    "host",
    "hostname",
    "username",
    "user",
    "database",
    "dbname",
    "engine",
    "email",
    "kty",
    "alg",
    "use",
    "kid",
];

/// Nothing when the text is no JSON: an array, an object or a string whose tokens are all well formed.
pub(super) fn leaves(text: &[u8]) -> Option<Vec<Leaf>> {
    if !matches!((text.first()?, text.last()?), (b'{', b'}') | (b'[', b']') | (b'"', b'"')) {
        return None;
    }
    let (mut leaves, mut at, mut name) = (Vec::new(), 0, 0..0);
    while at < text.len() {
        match text[at] {
            b'"' => {
                let source = at + 1..string_end(text, at + 1)?;
                at = source.end + 1;
                let after = text[at..].trim_ascii_start();
                if after.first() == Some(&b':') {
                    name = source;
                    continue;
                }
                let known = KNOWN.iter().any(|known| text[name.clone()].eq_ignore_ascii_case(known.as_bytes()));
                let leaf = Leaf { text: unescaped(&text[source.clone()])?, source };
                if !known && !judge::too_common(&leaf.text) && !judge::plain_url(&leaf.text) {
                    leaves.push(leaf);
                }
            }
            b'0'..=b'9' | b'-' | b't' | b'f' | b'n' => {
                let end =
                    at + text[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
                let token = &text[at..end];
                if !(token[0] == b'-' || token[0].is_ascii_digit() || matches!(token, b"true" | b"false" | b"null")) {
                    return None;
                }
                if token.len() >= LONG_NUMBER && token.iter().all(u8::is_ascii_digit) {
                    leaves.push(Leaf { text: Zeroizing::new(token.to_vec()), source: at..end });
                }
                at = end;
            }
            b'{' | b'}' | b'[' | b']' | b':' | b',' | b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            _ => return None,
        }
    }
    Some(leaves)
}

/// Where the string ends that starts here.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

/// Never longer than what it is made of.
fn unescaped(source: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(source.len()));
    let mut rest = source;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let (kind, after) = rest.split_first()?;
        rest = after;
        out.push(match kind {
            b'"' | b'\\' | b'/' => *kind,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let (mut half, mut after) = (unit(rest)?, &rest[4..]);
                if let Some(low) = after.strip_prefix(b"\\u").and_then(unit).filter(|_| half & 0xfc00 == 0xd800) {
                    (half, after) = (0x10000 + ((half & 0x3ff) << 10 | low & 0x3ff), &after[6..]);
                }
                rest = after;
                let c = char::from_u32(half).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        });
    }
    Some(out)
}

fn unit(digits: &[u8]) -> Option<u32> {
    digits.get(..4)?.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_of() {
        for (document, expected) in [
            (
                r#"{"a": "secret-one", "b": ["secret-two", 1, -2.5e+3, true, null]}"#,
                Some(&["secret-one", "secret-two"][..]),
            ),
            (r#""only a string""#, Some(&["only a string"])),
            (r#"{"password": "with \"quotes\" \u00e9 \ud83d\ude00 \/ \n"}"#, Some(&["with \"quotes\" é 😀 / \n"])),
            (
                r#"{"secret-name": "short", "type": "service-account", "auth_uri": "https://example.net/o/oauth2"}"#,
                Some(&[]),
            ),
            (
                r#"{"hook": "https://example.net/T0/B0/a1b2c3d4e5f6a7b8"}"#,
                Some(&["https://example.net/T0/B0/a1b2c3d4e5f6a7b8"]),
            ),
            (r#"{"id": 123456789012345678901234, "at": 1764000000000000000}"#, Some(&["123456789012345678901234"])),
            (r#"["half a pair \ud83d alone"]"#, Some(&["half a pair \u{fffd} alone"])),
            ("{ printf \"%s\" secret; }", None),
            (r#"{"unterminated: 1}"#, None),
            (r#"{"a": "bad \x escape"}"#, None),
            (r#"{"a": "cut \u12"}"#, None),
            ("{\"a\": \"line\nend\"}", None),
            ("plain text", None),
            ("", None),
        ] {
            let found = leaves(document.as_bytes()).map(|leaves| {
                leaves.iter().map(|leaf| String::from_utf8(leaf.text.to_vec()).unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(
                found.as_deref().map(|f| f.iter().map(String::as_str).collect()),
                expected.map(<[_]>::to_vec),
                "{document}"
            );
        }
    }
}
