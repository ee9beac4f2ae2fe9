//! What stands in one datagram, masked field by field.
//!
//! ```text
//! native:  KEY=value\n                          text: no newline in it
//!          KEY\n | length u64 little-endian | value \n      binary: anything in it
//!          \n                                   the next entry begins
//!          .… or #… \n                          ignored by journald
//! syslog:  <13>Nov 24 13:28:32 tag[pid]: text   one value as a whole
//! ```
//!
//! A value is masked as it was written, before anything is escaped, and its length is written anew. What is no entry (cut
//! short, a length that lies) is masked as a whole and passed on: what journald makes of it is for journald.

/// Appends what may be seen of a value.
pub type Mask<'a> = dyn FnMut(&[u8], &mut Vec<u8>) + 'a;

/// Stands in place of a field's name that holds a secret: a mask's text would make the field invalid, and lose it.
const NAMELESS: &[u8] = b"KEYFOB_REDACTED";

/// One message of the native protocol: entries of fields.
pub fn native(message: &[u8], mask: &mut Mask<'_>, out: &mut Vec<u8>) {
    let mut rest = message;
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        if line.is_empty() {
            out.push(b'\n');
            rest = after;
        } else if matches!(line[0], b'.' | b'#') {
            mask(line, out);
            out.push(b'\n');
            rest = after;
        } else if let Some(equals) = line.iter().position(|b| *b == b'=') {
            name(&line[..equals], mask, out);
            out.push(b'=');
            mask(&line[equals + 1..], out);
            out.push(b'\n');
            rest = after;
        } else if let Some((value, after)) = binary(after) {
            name(line, mask, out);
            out.push(b'\n');
            let length = out.len();
            out.extend_from_slice(&[0; 8]);
            mask(value, out);
            let masked = (out.len() - length - 8) as u64;
            out[length..length + 8].copy_from_slice(&masked.to_le_bytes());
            out.push(b'\n');
            rest = after;
        } else {
            break;
        }
    }
    if !rest.is_empty() {
        mask(rest, out);
    }
}

/// The value of a binary field, behind its name's line, and what comes after it.
fn binary(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((value, rest.strip_prefix(b"\n")?))
}

fn name(name: &[u8], mask: &mut Mask<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    mask(name, out);
    if out[start..] != *name {
        out.truncate(start);
        out.extend_from_slice(NAMELESS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"hunter2-hunter2";

    /// Masks as the engine does, but a single value.
    fn mask(value: &[u8], out: &mut Vec<u8>) {
        let mut rest = value;
        while let Some(at) = rest.windows(SECRET.len()).position(|w| w == SECRET) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(b"[keyfob:PW]");
            rest = &rest[at + SECRET.len()..];
        }
        out.extend_from_slice(rest);
    }

    fn rewritten(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        native(message, &mut mask, &mut out);
        out
    }

    fn field(name: &str, value: &[u8]) -> Vec<u8> {
        [name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn every_field_is_masked() {
        let cases: Vec<(Vec<u8>, Vec<u8>)> = vec![
            (b"MESSAGE=pw is hunter2-hunter2!\n".into(), b"MESSAGE=pw is [keyfob:PW]!\n".into()),
            (b"A=1\nOWN_FIELD=hunter2-hunter2\n".into(), b"A=1\nOWN_FIELD=[keyfob:PW]\n".into()),
            (b"A=x=hunter2-hunter2=y\n".into(), b"A=x=[keyfob:PW]=y\n".into()),
            (field("MESSAGE", b"one\nhunter2-hunter2\nthree"), field("MESSAGE", b"one\n[keyfob:PW]\nthree")),
            (field("B", b"\0\xffhunter2-hunter2\0"), field("B", b"\0\xff[keyfob:PW]\0")),
            // Two entries; the second's is masked too.
            (b"MESSAGE=a\n\nMESSAGE=hunter2-hunter2\n".into(), b"MESSAGE=a\n\nMESSAGE=[keyfob:PW]\n".into()),
            // A value never reaches over a field's end.
            (b"A=hunter2-\nB=hunter2\n".into(), b"A=hunter2-\nB=hunter2\n".into()),
            (b"#hunter2-hunter2\n.A\nB=1\n".into(), b"#[keyfob:PW]\n.A\nB=1\n".into()),
            // As a name: the field stays, its name does not.
            (b"hunter2-hunter2=v\n".into(), b"KEYFOB_REDACTED=v\n".into()),
            (
                [&field("hunter2-hunter2", b"v")[..], b"B=1\n"].concat(),
                [&field("KEYFOB_REDACTED", b"v")[..], b"B=1\n"].concat(),
            ),
            // No entry at all.
            (b"hunter2-hunter2".into(), b"[keyfob:PW]".into()),
            (b"A=1\nhunter2-hunter2".into(), b"A=1\n[keyfob:PW]".into()),
            (b"A\n\x0f\0\0\0\0\0\0\0hunter2-hunter2".into(), b"A\n\x0f\0\0\0\0\0\0\0[keyfob:PW]".into()),
            (
                b"A\n\xff\xff\xff\xff\xff\xff\xff\xffhunter2-hunter2\n".into(),
                b"A\n\xff\xff\xff\xff\xff\xff\xff\xff[keyfob:PW]\n".into(),
            ),
            (b"A\n\x01\0\0\0\0\0\0\0hunter2-hunter2\n".into(), b"A\n\x01\0\0\0\0\0\0\0[keyfob:PW]\n".into()),
            (b"".into(), b"".into()),
        ];
        for (message, expected) in cases {
            let shown = String::from_utf8_lossy(&message).into_owned();
            assert_eq!(String::from_utf8_lossy(&rewritten(&message)), String::from_utf8_lossy(&expected), "{shown:?}");
        }
    }

    /// Pieces of entries in any order, whole and damaged: nothing panics, what holds no secret passes as it is, and what
    /// does leaves without it.
    #[test]
    fn whatever_comes() {
        let pieces: [&[u8]; 16] = [
            b"\n",
            b"=",
            b"A",
            b"MESSAGE=",
            b"PRIORITY=6\n",
            b"\0\0\0\0\0\0\0\0",
            b"\x03\0\0\0\0\0\0\0",
            b"\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"#",
            b".",
            b"abc",
            SECRET,
            b"\x0f\0\0\0\0\0\0\0",
            b"\r\n",
            b"[keyfob:",
        ];
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        for round in 0..200_000 {
            let mut message = Vec::new();
            for _ in 0..next(14) {
                message.extend_from_slice(pieces[next(pieces.len())]);
            }
            if !message.is_empty() && next(3) == 0 {
                message.truncate(next(message.len()));
            }
            let holds = message.windows(SECRET.len()).any(|w| w == SECRET);
            let out = rewritten(&message);
            // A secret that a field's end or length cuts in two is none.
            if !holds {
                assert_eq!(out, message, "{round}");
            }
            let split = rewritten(&out);
            assert_eq!(split, out, "masked twice is masked once: {:?}", String::from_utf8_lossy(&message));
        }
    }
}
