//! Reads a dotenv file, as `keyfob secret import` takes it: all of it, or everything that is wrong with it.
//!
//! ```text
//! file   = { blank | "#" comment | [ "export " ] name "=" value }          LF or CR LF, a byte order mark is skipped
//! value  = unquoted              trimmed; ends before " #"
//!        | "'" literal "'"       to the next quote, over lines
//!        | '"' escaped '"'       \n \r \t \" \\ \$ \`, over lines
//! ```
//!
//! Nothing is expanded: `$NAME` and `${NAME}` outside single quotes are refused with the advice to quote them, because half
//! of the tools that read such files would put something else there. Messages name lines, never text of the file.

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::value::Value;

/// One assignment.
#[derive(Debug)]
pub struct Item {
    pub name: String,
    pub value: Value,
    /// From 1.
    pub line: u32,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub line: u32,
    pub reason: &'static str,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

const EXPANSION: &str =
    "holds `$`, and nothing is expanded here: put the value into single quotes to mean it literally";

pub fn parse(file: &[u8]) -> Result<Vec<Item>, Vec<Problem>> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let Ok(text) = std::str::from_utf8(file) else {
        let line = 1 + file.utf8_chunks().next().map_or(0, |c| c.valid().matches('\n').count()) as u32;
        return Err(vec![Problem { line, reason: "is not UTF-8; import binary values one by one, as files" }]);
    };
    let mut reader = Reader { rest: text, line: 1 };
    let (mut items, mut problems) = (Vec::new(), Vec::new());
    let mut seen: HashMap<String, u32> = HashMap::new();
    while !reader.rest.is_empty() {
        let line = reader.line;
        match reader.assignment() {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if seen.insert(name.clone(), line).is_some() {
                    problems.push(Problem { line, reason: "sets a name that stands further up already" });
                }
                items.push(Item { name, value, line });
            }
            Err(reason) => {
                problems.push(Problem { line, reason });
                reader.take_line();
            }
        }
    }
    if problems.is_empty() { Ok(items) } else { Err(problems) }
}

struct Reader<'a> {
    rest: &'a str,
    line: u32,
}

impl<'a> Reader<'a> {
    /// The rest of this line, without its end.
    fn take_line(&mut self) -> &'a str {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// `None` for a line that assigns nothing. After an error the reader stands where the error was found.
    fn assignment(&mut self) -> Result<Option<(String, Value)>, &'static str> {
        let line = self.rest.split('\n').next().unwrap_or_default();
        let start = line.trim_start();
        if start.trim_end().is_empty() || start.starts_with('#') {
            self.take_line();
            return Ok(None);
        }
        let start = start.strip_prefix("export ").map_or(start, str::trim_start);
        let (name, _) = start.split_once('=').ok_or("is no NAME=VALUE")?;
        let name = name.trim_end().to_owned();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err("is no NAME=VALUE");
        }
        // Names hold no `=`, so the first one on the line is ours.
        let at = line.find('=').ok_or("is no NAME=VALUE")?;
        self.rest = self.rest[at + 1..].trim_start_matches([' ', '\t']);
        let value = match self.rest.as_bytes().first() {
            Some(b'\'') => self.single_quoted()?,
            Some(b'"') => self.double_quoted()?,
            _ => {
                let text = self.rest.split('\n').next().unwrap_or_default();
                let end = text.find(" #").or_else(|| text.find("\t#")).unwrap_or(text.len());
                let text = if text.starts_with('#') { "" } else { text[..end].trim() };
                if text.contains('$') {
                    return Err(EXPANSION);
                }
                self.take_line();
                return Ok(Some((name, Value::new(text.as_bytes().to_vec()))));
            }
        };
        let tail = self.rest.split('\n').next().unwrap_or_default().trim();
        if !tail.is_empty() && !tail.starts_with('#') {
            return Err("has text after the closing quote");
        }
        self.take_line();
        Ok(Some((name, value)))
    }

    fn single_quoted(&mut self) -> Result<Value, &'static str> {
        let end = self.rest[1..].find('\'').ok_or("opens a single quote that nothing closes")? + 1;
        let text = &self.rest[1..end];
        let value = Value::new(unix_lines(text));
        self.advance(end + 1);
        Ok(value)
    }

    fn double_quoted(&mut self) -> Result<Value, &'static str> {
        let mut value = Zeroizing::new(Vec::with_capacity(self.rest.len()));
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        loop {
            match bytes.get(at) {
                None => return Err("opens a double quote that nothing closes"),
                Some(b'"') => break,
                Some(b'$') => return Err(EXPANSION),
                Some(b'\\') => {
                    let escaped = match bytes.get(at + 1) {
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        Some(b't') => b'\t',
                        Some(byte @ (b'"' | b'\\' | b'$' | b'`')) => *byte,
                        _ => {
                            return Err(
                                "has a backslash before a character that needs none; write \\\\ for a backslash",
                            );
                        }
                    };
                    value.push(escaped);
                    at += 2;
                }
                Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => at += 1,
                Some(byte) => {
                    value.push(*byte);
                    at += 1;
                }
            }
        }
        self.advance(at + 1);
        Ok(Value::new(value.to_vec()))
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.rest[..bytes].matches('\n').count() as u32;
        self.rest = &self.rest[bytes..];
    }
}

/// A file with Windows line ends means line ends.
fn unix_lines(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let kept = bytes.iter().enumerate().filter(|(at, b)| !(**b == b'\r' && bytes.get(at + 1) == Some(&b'\n')));
    kept.map(|(_, b)| *b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(file: &str) -> Vec<(String, String, u32)> {
        let items = parse(file.as_bytes()).unwrap_or_else(|p| panic!("{file:?}: {p:?}"));
        items.into_iter().map(|i| (i.name, String::from_utf8(i.value.expose().to_vec()).unwrap(), i.line)).collect()
    }

    #[test]
    fn values() {
        for (file, value) in [
            ("A=b", "b"),
            ("A=b\n", "b"),
            ("A=b\r\n", "b"),
            ("\u{feff}A=b", "b"),
            ("export A=b", "b"),
            ("  A = b  ", "b"),
            ("A=", ""),
            ("A=# nothing", ""),
            ("A=b # comment", "b"),
            ("A=b#c", "b#c"),
            ("A=b=c==", "b=c=="),
            ("A='b # c'", "b # c"),
            ("A='$b ${c}'", "$b ${c}"),
            ("A='b' # comment", "b"),
            ("A='two\nlines'", "two\nlines"),
            ("A='two\r\nlines'\r\n", "two\nlines"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("A=\"b\\nc\\\"d\\\\e\\$f\\`\"", "b\nc\"d\\e$f`"),
            ("A=''", ""),
            ("A=it's", "it's"),
            ("A=\u{2028}\u{e9}", "\u{e9}"),
        ] {
            assert_eq!(ok(file)[0].1, value, "{file:?}");
        }
    }

    #[test]
    fn lines_are_counted() {
        let items = ok("# head\n\nA='1\n2'\nB=\"3\n4\"\n\nC=5\n");
        assert_eq!(items.iter().map(|(n, _, l)| (n.as_str(), *l)).collect::<Vec<_>>(), [("A", 3), ("B", 5), ("C", 8)]);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let file = "A=1\nno assignment\nB=$HOME\nC=\"${X}\"\nA=2\nD='1'x\n=3\nE=\"\\q\"\nF=ok\nG='open\nnever closed\n";
        let problems = parse(file.as_bytes()).unwrap_err();
        assert_eq!(problems.iter().map(|p| p.line).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8, 10, 11]);
    }

    #[test]
    fn messages_hold_no_text_of_the_file() {
        for file in ["hunter2", "A=$hunter2", "A=\"hunter2", "A='hunter2", "A='x'hunter2"] {
            assert!(!format!("{:?}", parse(file.as_bytes()).unwrap_err()).contains("hunter2"), "{file}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named_by_line() {
        assert_eq!(parse(b"A=1\nB=\xff\n").unwrap_err()[0].line, 2);
    }
}
