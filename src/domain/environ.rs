//! The file `environ` read back ([`super::env_file`] writes it), by programs that hand its variables on: PAM, `exec`.
//!
//! ```text
//! file  = *(name "=" value NUL)
//! ```
//!
//! All of it or nothing: a file of which one byte is not as the agent writes it was not written by the agent, or not to
//! its end. What stands in such a file where a name belongs may be part of a value, so errors hold the number of an entry
//! and no byte of it.

use std::collections::BTreeSet;

use super::{
    reserved::{Class, class_of},
    value::{self, Delivery, MAX_BUNDLE, Unfit},
    variable::Variable,
};

/// The longest file, in bytes: the largest bundle, and half of it again for names. What is longer could not be handed to
/// a program: by default the kernel takes 2 MiB of arguments and environment together.
pub const LONGEST: usize = MAX_BUNDLE / 2 * 3;

/// Why a file is not read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    TooLong,
    /// It does not end where an entry ends.
    Cut,
    /// Counted from one.
    Entry(usize, Wrong),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    NoVariable,
    /// A name that no bundle can have, whatever an organization allows. Those that it can allow are taken: the agent has
    /// seen the permission, which this file does not hold.
    Reserved,
    Twice,
    Value(Unfit),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than {LONGEST} bytes"),
            Self::Cut => f.write_str("cut off within an entry"),
            Self::Entry(number, wrong) => {
                write!(f, "entry {number}: ")?;
                match wrong {
                    Wrong::NoVariable => f.write_str("no name of a variable"),
                    Wrong::Reserved => f.write_str("a reserved name"),
                    Wrong::Twice => f.write_str("a name that was there before"),
                    Wrong::Value(unfit) => unfit.fmt(f),
                }
            }
        }
    }
}

impl std::error::Error for Refused {}

/// The variables in the file's order. Values are slices of `file`.
pub fn parse(file: &[u8]) -> Result<Vec<(Variable, &[u8])>, Refused> {
    if file.len() > LONGEST {
        return Err(Refused::TooLong);
    }
    if file.is_empty() {
        return Ok(Vec::new());
    }
    let entries = file.strip_suffix(&[0]).ok_or(Refused::Cut)?;
    let (mut variables, mut names) = (Vec::new(), BTreeSet::new());
    for (at, entry) in entries.split(|byte| *byte == 0).enumerate() {
        let (variable, value) = parse_entry(entry).map_err(|wrong| Refused::Entry(at + 1, wrong))?;
        if !names.insert(&entry[..variable.as_str().len()]) {
            return Err(Refused::Entry(at + 1, Wrong::Twice));
        }
        variables.push((variable, value));
    }
    Ok(variables)
}

fn parse_entry(entry: &[u8]) -> Result<(Variable, &[u8]), Wrong> {
    let equals = entry.iter().position(|byte| *byte == b'=').ok_or(Wrong::NoVariable)?;
    let name = std::str::from_utf8(&entry[..equals]).map_err(|_| Wrong::NoVariable)?;
    let variable = Variable::parse(name).map_err(|_| Wrong::NoVariable)?;
    if class_of(&variable).is_some_and(|reserved| reserved.class == Class::BreaksShell) {
        return Err(Wrong::Reserved);
    }
    let value = &entry[equals + 1..];
    // An environment's own variable may be empty.
    if !value.is_empty() {
        value::check(value, Delivery::Env).map_err(Wrong::Value)?;
    }
    Ok((variable, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        env_file::{Entry, Format, render},
        value::MAX_VALUE,
    };

    /// The names and values, as text.
    fn parsed(file: &[u8]) -> Result<Vec<(String, String)>, Refused> {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        Ok(parse(file)?.into_iter().map(|(variable, value)| (variable.to_string(), text(value))).collect())
    }

    #[test]
    fn files_that_are_read() {
        let longest = "x".repeat(MAX_VALUE);
        let long_entry = format!("A={longest}\0");
        for (file, expected) in [
            ("", &[][..]),
            ("A=1\0", &[("A", "1")]),
            ("B=2\0A=1\0", &[("B", "2"), ("A", "1")]),
            ("A=B=C\0", &[("A", "B=C")]),
            ("A=\0B=2\0", &[("A", ""), ("B", "2")]),
            ("A==\0", &[("A", "=")]),
            ("A=two\nlines\nB=no\0", &[("A", "two\nlines\nB=no")]),
            ("A=# no comment\0", &[("A", "# no comment")]),
            ("A= 'x' \"$y\" \\\0", &[("A", " 'x' \"$y\" \\")]),
            ("a=lower\0A=upper\0", &[("a", "lower"), ("A", "upper")]),
            ("NODE_OPTIONS=allowed by the organization\0", &[("NODE_OPTIONS", "allowed by the organization")]),
            (&long_entry, &[("A", &longest)]),
        ] {
            let expected = expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!(parsed(file.as_bytes()), Ok(expected), "{:?}", &file[..file.len().min(40)]);
        }
    }

    #[test]
    fn files_that_are_refused() {
        use Wrong::{NoVariable, Reserved, Twice, Value};
        let entry = |number, wrong| Refused::Entry(number, wrong);
        let too_long_value = format!("A={}\0", "x".repeat(MAX_VALUE + 1));
        let too_long_name = format!("{}=1\0", "A".repeat(257));
        for (file, expected) in [
            (&b"A=1"[..], Refused::Cut),
            (b"A=1\0B=2", Refused::Cut),
            (b"A", Refused::Cut),
            (b"\0", entry(1, NoVariable)),
            (b"A=1\0\0", entry(2, NoVariable)),
            (b"\0A=1\0", entry(1, NoVariable)),
            (b"A\0", entry(1, NoVariable)),
            (b"A=1\0no name\0", entry(2, NoVariable)),
            (b"=1\0", entry(1, NoVariable)),
            (b"1A=1\0", entry(1, NoVariable)),
            (b"A-B=1\0", entry(1, NoVariable)),
            (b" A=1\0", entry(1, NoVariable)),
            (b"\nA=1\0", entry(1, NoVariable)),
            (b"export A=1\0", entry(1, NoVariable)),
            (b"\xff=1\0", entry(1, NoVariable)),
            (too_long_name.as_bytes(), entry(1, NoVariable)),
            (b"A=1\0PATH=/tmp\0", entry(2, Reserved)),
            (b"IFS=x\0", entry(1, Reserved)),
            (b"KEYFOB_SET_BY=pam\0", entry(1, Reserved)),
            (b"A=1\0B=2\0A=1\0", entry(3, Twice)),
            (b"A=1\0B=\xff\0", entry(2, Value(Unfit::NotUtf8))),
            ("A=\u{ffff}\0".as_bytes(), entry(1, Value(Unfit::Noncharacter))),
            (too_long_value.as_bytes(), entry(1, Value(Unfit::TooLong { len: MAX_VALUE + 1 }))),
            (&vec![0; LONGEST + 1], Refused::TooLong),
            (&vec![b'A'; LONGEST], Refused::Cut),
        ] {
            assert_eq!(parsed(file), Err(expected), "{:?}", String::from_utf8_lossy(&file[..file.len().min(40)]));
        }
    }

    #[test]
    fn errors_hold_nothing_of_the_file() {
        for file in ["hunter2=hunter2", "hunter2\0", "1hunter2=x\0", "hunter2=1\0hunter2=2\0", "hunter2=\u{ffff}\0"] {
            let refused = parse(file.as_bytes()).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused}");
        }
    }

    /// What the agent writes is read back, and no shorter part of it is taken for the whole unless it ends with an entry.
    #[test]
    fn what_is_written_is_read_back_and_what_is_cut_is_not() {
        let variables = ["A", "B_2", "_C"].map(|name| Variable::parse(name).unwrap());
        let values = ["plain", "a=b\nB_2=taken", "\u{1f511} ' \" # \\ \u{1}"];
        let mut file = Vec::new();
        let entries = variables.iter().zip(values).map(|(name, value)| Entry::new(name, value.as_bytes()).unwrap());
        render(entries, Format::Environ, &mut |slice| {
            file.extend_from_slice(slice);
            Ok::<_, ()>(())
        })
        .unwrap();
        let found = parse(&file).unwrap();
        assert!(found.iter().zip(variables.iter().zip(values)).all(|(f, (n, v))| f.0 == *n && f.1 == v.as_bytes()));
        assert_eq!(found.len(), 3);
        for end in 1..file.len() {
            assert_eq!(parse(&file[..end]).is_ok(), file[end - 1] == 0, "{end}");
        }
    }
}
