//! The environment as files: what is written, byte for byte.
//!
//! ```text
//! env       NAME='value'\n                       systemd's EnvironmentFile=; also `. env` without exporting
//! env.sh    export NAME='value'\n                sourced by bash, dash, zsh, ksh, mksh, busybox sh
//! env.fish  set -gx NAME 'value'\n               sourced by fish
//! environ   NAME=value\0                         for programs: PAM, exec; no quoting at all
//! ```
//!
//! One variable after the other, in the order given; no comments, no blank lines. In `env` and `env.sh` a value stands in
//! single quotes, where nothing is expanded, and a quote in it is written `'"'"'`: that one form is read alike by POSIX
//! shells and by systemd, which misreads the usual `'\''`. Line ends in a value stay line ends. In `env.fish` a backslash
//! and a quote are escaped with a backslash, all that fish knows within single quotes.
//!
//! Rendering streams slices of the given values to a sink. It never builds a copy of one.

use super::{
    value::{self, Unfit},
    variable::Variable,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Env,
    Sh,
    Fish,
    Environ,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Env, Self::Sh, Self::Fish, Self::Environ];

    pub fn file_name(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Sh => "env.sh",
            Self::Fish => "env.fish",
            Self::Environ => "environ",
        }
    }
}

/// A variable and a value that every format can carry. Made by [`Entry::new`] alone.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    variable: &'a Variable,
    value: &'a [u8],
}

/// The value can't be an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotText {
    pub variable: String,
    pub why: Unfit,
}

impl std::fmt::Display for NotText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "${}: {}", self.variable, self.why)
    }
}

impl std::error::Error for NotText {}

impl<'a> Entry<'a> {
    pub fn new(variable: &'a Variable, value: &'a [u8]) -> Result<Self, NotText> {
        value::check_text(value).map_err(|why| NotText { variable: variable.to_string(), why })?;
        Ok(Self { variable, value })
    }
}

/// Writes all entries in one format; the first error of the sink ends it.
pub fn render<'a, E>(
    entries: impl IntoIterator<Item = Entry<'a>>,
    format: Format,
    sink: &mut (impl FnMut(&[u8]) -> Result<(), E> + ?Sized),
) -> Result<(), E> {
    for Entry { variable, value } in entries {
        let name = variable.as_str().as_bytes();
        match format {
            Format::Env | Format::Sh => {
                if format == Format::Sh {
                    sink(b"export ")?;
                }
                sink(name)?;
                sink(b"='")?;
                escape(value, |b| (b == b'\'').then_some(&b"'\"'\"'"[..]), sink)?;
                sink(b"'\n")?;
            }
            Format::Fish => {
                sink(b"set -gx ")?;
                sink(name)?;
                sink(b" '")?;
                let escaped = |b| match b {
                    b'\\' => Some(&b"\\\\"[..]),
                    b'\'' => Some(&b"\\'"[..]),
                    _ => None,
                };
                escape(value, escaped, sink)?;
                sink(b"'\n")?;
            }
            Format::Environ => {
                sink(name)?;
                sink(b"=")?;
                sink(value)?;
                sink(b"\0")?;
            }
        }
    }
    Ok(())
}

/// Hands on the runs between bytes that are replaced, and the replacements.
fn escape<E>(
    value: &[u8],
    replacement: impl Fn(u8) -> Option<&'static [u8]>,
    sink: &mut (impl FnMut(&[u8]) -> Result<(), E> + ?Sized),
) -> Result<(), E> {
    let mut from = 0;
    for (at, byte) in value.iter().enumerate() {
        if let Some(instead) = replacement(*byte) {
            sink(&value[from..at])?;
            sink(instead)?;
            from = at + 1;
        }
    }
    sink(&value[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(value: &str, format: Format) -> String {
        let variable = Variable::parse("K").unwrap();
        let mut out = Vec::new();
        let entry = Entry::new(&variable, value.as_bytes()).unwrap();
        render([entry, entry], format, &mut |slice| {
            out.extend_from_slice(slice);
            Ok::<_, ()>(())
        })
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        let half = text.len() / 2;
        assert_eq!(text[..half], text[half..]);
        text[..half].to_owned()
    }

    /// What the shells and systemd make of it is tested with the shells and systemd (tests/it/shells.rs).
    #[test]
    fn bytes() {
        for (value, env, fish) in [
            ("", "K=''\n", "set -gx K ''\n"),
            ("plain", "K='plain'\n", "set -gx K 'plain'\n"),
            ("it's", "K='it'\"'\"'s'\n", "set -gx K 'it\\'s'\n"),
            ("''", "K=''\"'\"''\"'\"''\n", "set -gx K '\\'\\''\n"),
            ("a\\", "K='a\\'\n", "set -gx K 'a\\\\'\n"),
            ("$(x) `y` \"z\"", "K='$(x) `y` \"z\"'\n", "set -gx K '$(x) `y` \"z\"'\n"),
            ("two\nlines\n", "K='two\nlines\n'\n", "set -gx K 'two\nlines\n'\n"),
        ] {
            assert_eq!(rendered(value, Format::Env), env);
            assert_eq!(rendered(value, Format::Sh), format!("export {env}"));
            assert_eq!(rendered(value, Format::Fish), fish);
            assert_eq!(rendered(value, Format::Environ), format!("K={value}\0"));
        }
    }

    #[test]
    fn what_no_variable_can_carry_is_refused() {
        let variable = Variable::parse("K").unwrap();
        for (value, why) in
            [(&b"a\0b"[..], Unfit::Nul), (b"\xff", Unfit::NotUtf8), ("\u{ffff}".as_bytes(), Unfit::Noncharacter)]
        {
            assert_eq!(Entry::new(&variable, value).err(), Some(NotText { variable: "K".into(), why }));
        }
    }
}
