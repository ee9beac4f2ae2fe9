//! Encodings that change some characters. One table; each row is what some encoder does, and where two rows make the same
//! of a text there is one pattern.

use std::ops::Range;

use super::{Emit, Form, scratch::Scratch};

/// What becomes of the characters that an encoder does not leave as they are.
pub(super) enum Escape {
    /// What a line ends with.
    Ends(&'static str),
    /// Kept beside letters and digits; the digits; the blank.
    Percent(&'static str, Case, &'static str),
    Json {
        /// ASCII characters that are written as `\u`.
        also: &'static str,
        slash: bool,
        /// Everything beyond ASCII is written as `\u`.
        ascii: bool,
        case: Case,
    },
    /// JSON in a string of JSON.
    JsonTwice,
    /// The quotation mark and the apostrophe.
    Xml(&'static str, &'static str),
    /// As Go's encoding/xml does it, line ends too.
    XmlText,
    /// The apostrophe between apostrophes.
    Apostrophe(&'static str),
    /// Between quotation marks.
    Quotes,
    /// A backslash before each of these, and before these at the start; control characters in this style.
    Backslash(&'static str, &'static str, Dollar),
    /// `$'...'`
    Dollar(Dollar),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Case {
    Lower,
    Upper,
}
use Case::{Lower, Upper};

/// Who writes `$'...'`; they differ in control characters.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Dollar {
    Bash,
    /// `${(qqqq)x}`; the exclamation mark too.
    ZshOctal,
    /// `typeset -p` and tracing.
    ZshCaret,
    Ksh,
    Mksh,
}

const fn json(also: &'static str, slash: bool, ascii: bool, case: Case) -> Escape {
    Escape::Json { also, slash, ascii, case }
}

/// For a text: on one line or several.
pub(super) const EVERYWHERE: &[(Form, Escape)] = &[
    (Form::LineEnds, Escape::Ends("\r\n")),
    (Form::LineEnds, Escape::Ends("\n")),
    (Form::LineEnds, Escape::Ends(" ")),                    // echo $KEY
    (Form::Percent, Escape::Percent("-._~", Upper, "%20")), // RFC 3986
    (Form::Percent, Escape::Percent("-._~", Lower, "%20")),
    (Form::Percent, Escape::Percent("-._~/", Upper, "%20")), // Python's quote
    (Form::Percent, Escape::Percent("-._~/", Lower, "%20")),
    (Form::Percent, Escape::Percent("-._~!*'()", Upper, "%20")), // encodeURIComponent
    (Form::Percent, Escape::Percent("-._~!*'()", Lower, "%20")),
    (Form::Percent, Escape::Percent("-._~!*'();,/?:@&=+$#", Upper, "%20")), // encodeURI
    (Form::Percent, Escape::Percent("-._~!*'();,/?:@&=+$#", Lower, "%20")),
    (Form::Percent, Escape::Percent("-._~", Upper, "+")), // Python's quote_plus, Go's QueryEscape
    (Form::Percent, Escape::Percent("-._~", Lower, "+")),
    (Form::Percent, Escape::Percent("-._*", Upper, "+")), // URLSearchParams, Java's URLEncoder
    (Form::Percent, Escape::Percent("-._*", Lower, "+")),
    (Form::Json, json("", false, false, Lower)), // JSON.stringify, jq, serde_json
    (Form::Json, json("", true, false, Lower)),
    (Form::Json, json("<>&", false, false, Lower)),     // Go
    (Form::Json, json("", false, true, Lower)),         // Python, jq -a
    (Form::Json, json("", true, true, Lower)),          // PHP
    (Form::Json, json("<>&='", false, false, Lower)),   // Gson
    (Form::Json, json("", false, true, Upper)),         // Jackson
    (Form::Json, json("\"'<>&+`", false, true, Upper)), // System.Text.Json
    (Form::JsonTwice, Escape::JsonTwice),
    (Form::Xml, Escape::Xml("\"", "'")),
    (Form::Xml, Escape::Xml("&quot;", "'")),
    (Form::Xml, Escape::Xml("&quot;", "&#39;")),
    (Form::Xml, Escape::Xml("&quot;", "&apos;")),
    (Form::Xml, Escape::Xml("&quot;", "&#x27;")), // Python, React
    (Form::Xml, Escape::Xml("&quot;", "&#039;")), // PHP
    (Form::Xml, Escape::Xml("&#34;", "&#39;")),   // Go, Jinja
    (Form::Xml, Escape::XmlText),
    (Form::Shell, Escape::Apostrophe(r"'\''")),    // bash, zsh, mksh
    (Form::Shell, Escape::Apostrophe(r#"'"'"'"#)), // dash, busybox, our own files
    (Form::Shell, Escape::Quotes),                 // declare -p
    (Form::Shell, BASH),
    (Form::Shell, ZSH),
    (Form::Shell, ZSH_SCRIPT),
    (Form::Shell, Escape::Dollar(Dollar::Bash)),
    (Form::Shell, Escape::Dollar(Dollar::ZshOctal)),
    (Form::Shell, Escape::Dollar(Dollar::ZshCaret)),
    (Form::Shell, Escape::Dollar(Dollar::Ksh)),
    (Form::Shell, Escape::Dollar(Dollar::Mksh)),
];

/// `printf %q`
const BASH: Escape = Escape::Backslash(" !\"$&'()*,;<>?[\\]^`{|}", "#~", Dollar::Bash);
/// `${(q)x}` and `printf %q`
const ZSH: Escape = Escape::Backslash(" !\"#$&'()*;<>?[\\]^`{|}", "~=", Dollar::ZshOctal);

/// The same where the exclamation mark stands for nothing.
const ZSH_SCRIPT: Escape = Escape::Backslash(" \"#$&'()*;<>?[\\]^`{|}", "~=", Dollar::ZshOctal);

/// For a line: what leaves line ends as they are, so that the lines of a text are found one by one.
pub(super) const IN_LINES: &[(Form, Escape)] = &[
    (Form::Xml, Escape::Xml("\"", "'")),
    (Form::Xml, Escape::Xml("&quot;", "'")),
    (Form::Xml, Escape::Xml("&quot;", "&#39;")),
    (Form::Xml, Escape::Xml("&quot;", "&apos;")),
    (Form::Xml, Escape::Xml("&quot;", "&#x27;")),
    (Form::Xml, Escape::Xml("&quot;", "&#039;")),
    (Form::Xml, Escape::Xml("&#34;", "&#39;")),
    (Form::Shell, Escape::Apostrophe(r"'\''")),
    (Form::Shell, Escape::Apostrophe(r#"'"'"'"#)),
    (Form::Shell, Escape::Quotes),
];

/// For a short line behind a longer one.
pub(super) const LINE_ENDS: &[(Form, Escape)] = &[
    (Form::LineEnds, Escape::Ends("\r\n")),
    (Form::LineEnds, Escape::Ends("\n")),
    (Form::LineEnds, Escape::Ends(" ")),
];

/// A character, or a byte of what is not UTF-8.
struct Unit<'a> {
    bytes: &'a [u8],
    char: Option<char>,
}

/// Makes escaped texts of one, each only once.
pub(super) struct Escaper<'a> {
    bytes: &'a [u8],
    text: Option<&'a str>,
    /// What any row might change, each ASCII character once; of the rest all.
    odd: Scratch,
    /// What became of them.
    seen: Vec<Scratch>,
}

impl<'a> Escaper<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut odd = Scratch::new();
        let mut met = [false; 128];
        for byte in bytes.iter().filter(|b| !is_plain(b)) {
            if !byte.is_ascii() || !std::mem::replace(&mut met[usize::from(*byte)], true) {
                odd.push(*byte);
            }
        }
        let mut own = Scratch::new();
        own.extend(&bytes[..1]);
        own.extend(&odd);
        Self { bytes, text: std::str::from_utf8(bytes).ok(), odd, seen: vec![own] }
    }

    pub fn each(&mut self, rows: &[(Form, Escape)], region: Range<usize>, out: &mut Scratch, emit: &mut Emit) {
        if self.odd.is_empty() {
            return;
        }
        for (form, escape) in rows {
            if self.is_new(escape) {
                let window = self.write(escape, region.clone(), out);
                if **out != *self.bytes {
                    emit(*form, out, window);
                }
            }
        }
    }

    /// Whether no earlier row made the same of every odd character.
    fn is_new(&mut self, escape: &Escape) -> bool {
        let mut made = Scratch::new();
        let odd =
            Escaper { bytes: &self.odd, text: std::str::from_utf8(&self.odd).ok(), odd: Scratch::new(), seen: vec![] };
        escape.write(&self.unit(0), true, &mut made);
        for (_, unit) in odd.units() {
            escape.write(&unit, false, &mut made);
        }
        let new = self.seen.iter().all(|seen| **seen != *made);
        if new {
            self.seen.push(made);
        }
        new
    }

    /// Fills the buffer; tells where the characters that lie in the region are, and those at its borders with them if that
    /// is too little to look for: where no region fits between characters.
    pub(super) fn write(&self, escape: &Escape, region: Range<usize>, out: &mut Scratch) -> Range<usize> {
        out.clear();
        let (mut inside, mut touched) = (None, None);
        let mut at = 0;
        while at < self.bytes.len() {
            // No row changes these; copied as many as lie on one side of the region's borders.
            let border = [region.start, region.end].into_iter().find(|b| *b > at).unwrap_or(self.bytes.len());
            let plain = self.bytes[at..border].iter().take_while(|b| at > 0 && is_plain(b)).count();
            let start = out.len();
            let len = if plain > 0 {
                out.extend(&self.bytes[at..at + plain]);
                plain
            } else {
                let unit = self.unit(at);
                escape.write(&unit, at == 0, out);
                unit.bytes.len()
            };
            for (window, belongs) in [
                (&mut inside, region.start <= at && at + len <= region.end),
                (&mut touched, region.start < at + len && at < region.end),
            ] {
                if belongs {
                    *window = Some(window.as_ref().map_or(start, |w: &Range<usize>| w.start)..out.len());
                }
            }
            at += len;
        }
        inside.filter(|window| window.len() >= 8).or(touched).unwrap_or(0..0)
    }

    fn units(&self) -> impl Iterator<Item = (usize, Unit<'_>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            (at < self.bytes.len()).then(|| {
                let unit = self.unit(at);
                at += unit.bytes.len();
                (at - unit.bytes.len(), unit)
            })
        })
    }

    fn unit(&self, at: usize) -> Unit<'_> {
        let char = match self.text {
            Some(text) => text[at..].chars().next(),
            None => Some(char::from(self.bytes[at])).filter(char::is_ascii),
        };
        Unit { bytes: &self.bytes[at..at + char.map_or(1, char::len_utf8)], char }
    }
}

impl Escape {
    fn write(&self, unit: &Unit, first: bool, out: &mut Scratch) {
        let within = |set: &str| unit.char.is_some_and(|c| set.contains(c));
        match (self, unit.bytes) {
            (Self::Ends(_), b"\r") => {}
            (Self::Ends(end), b"\n") => out.extend(end.as_bytes()),
            (Self::Percent(.., blank), b" ") => out.extend(blank.as_bytes()),
            (Self::Percent(keep, case, _), bytes) => {
                for byte in bytes {
                    if byte.is_ascii_alphanumeric() || within(keep) {
                        out.push(*byte);
                    } else {
                        out.push(b'%');
                        hex(u32::from(*byte), 2, *case, out);
                    }
                }
            }
            (Self::Json { also, slash, ascii, case }, bytes) => {
                json_char(unit, bytes, also, *slash, *ascii, *case, out)
            }
            (Self::JsonTwice, bytes) => {
                let start = out.len();
                json_char(unit, bytes, "", false, false, Lower, out);
                let mut once = [0; 12];
                let len = out.len() - start;
                once[..len].copy_from_slice(&out[start..]);
                out.truncate(start);
                for byte in &once[..len] {
                    if b"\\\"".contains(byte) {
                        out.push(b'\\');
                    }
                    out.push(*byte);
                }
            }
            (Self::Xml(..) | Self::XmlText, b"&") => out.extend(b"&amp;"),
            (Self::Xml(..) | Self::XmlText, b"<") => out.extend(b"&lt;"),
            (Self::Xml(..) | Self::XmlText, b">") => out.extend(b"&gt;"),
            (Self::Xml(quote, _), b"\"") => out.extend(quote.as_bytes()),
            (Self::Xml(_, apostrophe), b"'") => out.extend(apostrophe.as_bytes()),
            (Self::XmlText, b"\"") => out.extend(b"&#34;"),
            (Self::XmlText, b"'") => out.extend(b"&#39;"),
            (Self::XmlText, b"\n") => out.extend(b"&#xA;"),
            (Self::XmlText, b"\r") => out.extend(b"&#xD;"),
            (Self::XmlText, b"\t") => out.extend(b"&#x9;"),
            (Self::Apostrophe(apostrophe), b"'") => out.extend(apostrophe.as_bytes()),
            (Self::Quotes, bytes) => {
                if within("\"$`\\") {
                    out.push(b'\\');
                }
                out.extend(bytes);
            }
            (Self::Backslash(.., style), [0..0x20 | 0x7f]) => {
                out.extend(b"$'");
                dollar(unit, *style, out);
                out.extend(b"'");
            }
            (Self::Backslash(always, at_start, _), bytes) => {
                if within(always) || first && within(at_start) {
                    out.push(b'\\');
                }
                out.extend(bytes);
            }
            (Self::Dollar(style), _) => dollar(unit, *style, out),
            (_, bytes) => out.extend(bytes),
        }
    }
}

/// What every encoder leaves as it is, unless it comes first.
fn is_plain(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_')
}

fn json_char(unit: &Unit, bytes: &[u8], also: &str, slash: bool, ascii: bool, case: Case, out: &mut Scratch) {
    let Some(c) = unit.char else { return out.extend(bytes) };
    let short = match c {
        _ if also.contains(c) => None,
        '"' => Some(b'"'),
        '\\' => Some(b'\\'),
        '/' if slash => Some(b'/'),
        '\n' => Some(b'n'),
        '\r' => Some(b'r'),
        '\t' => Some(b't'),
        '\u{8}' => Some(b'b'),
        '\u{c}' => Some(b'f'),
        _ => None,
    };
    if let Some(short) = short {
        out.extend(&[b'\\', short]);
    } else if c < ' '
        || also.contains(c)
        || ascii && c >= '\u{7f}'
        || !also.is_empty() && matches!(c, '\u{2028}' | '\u{2029}')
    {
        for half in c.encode_utf16(&mut [0; 2]) {
            out.extend(b"\\u");
            hex(u32::from(*half), 4, case, out);
        }
    } else {
        out.extend(bytes);
    }
}

/// Inside of `$'...'`.
fn dollar(unit: &Unit, style: Dollar, out: &mut Scratch) {
    let short = match unit.bytes {
        b"'" if style == Dollar::Mksh => return out.extend(b"\\047"),
        b"'" => Some(b'\''),
        b"\\" => Some(b'\\'),
        b"!" if style == Dollar::ZshOctal => Some(b'!'),
        b"\n" => Some(b'n'),
        b"\t" => Some(b't'),
        _ if style == Dollar::ZshCaret => None,
        b"\r" => Some(b'r'),
        b"\x07" => Some(b'a'),
        b"\x08" => Some(b'b'),
        b"\x0b" => Some(b'v'),
        b"\x0c" => Some(b'f'),
        b"\x1b" if style != Dollar::ZshOctal => Some(b'E'),
        _ => None,
    };
    match (short, unit.bytes, unit.char) {
        (Some(short), ..) => out.extend(&[b'\\', short]),
        (None, [byte @ (0..0x20 | 0x7f)], _) | (None, [byte], None) => match style {
            Dollar::ZshCaret => out.extend(&[b'\\', b'C', b'-', byte ^ 0x40]),
            Dollar::Ksh => {
                out.extend(b"\\x");
                hex(u32::from(*byte), 2, Lower, out);
            }
            _ => out.extend(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]),
        },
        (None, bytes, _) => out.extend(bytes),
    }
}

fn hex(number: u32, digits: u32, case: Case, out: &mut Scratch) {
    for digit in (0..digits).rev() {
        let digit = char::from_digit(number >> (4 * digit) & 15, 16).unwrap_or_default() as u8;
        out.push(if case == Upper { digit.to_ascii_uppercase() } else { digit });
    }
}
