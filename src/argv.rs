//! What may be said of arguments. A word in the wrong place may be a value, a key or a join string, and what a program says of
//! it may end in a log that lives longer than the mistake: such a word is not repeated.

#[cfg(any(feature = "agent", feature = "cli"))]
use std::path::Path;
#[cfg(any(feature = "agent", feature = "server"))]
use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Whether clap's message about wrong arguments can be shown as it is: what it repeats is a flag, a short number, or a
/// short word of lower-case letters where one of few was expected.
pub fn may_be_told(error: &clap::Error) -> bool {
    let stray = error.kind() == ErrorKind::UnknownArgument;
    [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue]
        .into_iter()
        .filter_map(|kind| Some((kind, error.get(kind)?)))
        .all(|(kind, given)| match given {
            ContextValue::String(word) if kind == ContextKind::InvalidArg => !stray || is_flag(word),
            ContextValue::String(word) => {
                is_word(word, 20) || (word.len() <= 6 && word.bytes().all(|b| b.is_ascii_digit()))
            }
            _ => true, // our own names
        })
}

fn is_flag(word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(name) => is_word(name, 30),
        None => {
            word.strip_prefix('-').is_some_and(|letter| letter.len() == 1 && letter.as_bytes()[0].is_ascii_alphabetic())
        }
    }
}

fn is_word(text: &str, longest: usize) -> bool {
    text.len() <= longest && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// The end of a daemon that was started with wrong arguments, or asked for its help.
#[cfg(any(feature = "agent", feature = "server"))]
pub fn misused(program: &str, error: &clap::Error) -> ExitCode {
    let _ = if may_be_told(error) {
        error.print()
    } else {
        writeln!(
            io::stderr(),
            "{program}: an argument is not understood, and not repeated here in case it is a secret; `{program} --help` tells which there are. \
             Values and join strings are not given on the command line, where every process can read them"
        )
    }; // where that is gone, there is nobody left to tell
    ExitCode::from(error.exit_code() as u8)
}

/// A file in a message. A bare word that names none may be the text that should have been in it.
#[cfg(any(feature = "agent", feature = "cli"))]
pub fn file(path: &Path) -> String {
    let text = path.to_string_lossy();
    if path.is_absolute() || text.starts_with("./") || text.starts_with("../") || path.symlink_metadata().is_ok() {
        text.into_owned()
    } else {
        "the file (its name is not repeated here in case it is a secret)".into()
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command};

    use super::*;

    #[test]
    fn what_is_repeated() {
        let program = || {
            Command::new("p")
                .arg(Arg::new("shell").long("shell").value_parser(["bash", "fish"]))
                .arg(Arg::new("ttl").long("ttl").value_parser(clap::value_parser!(u32).range(1..=600)))
                .arg(Arg::new("on").long("on").action(ArgAction::SetTrue))
                .subcommand(Command::new("secret"))
        };
        for (args, told) in [
            (&["secrets"][..], true),
            (&["--shel", "bash"], true),
            (&["-x"], true),
            (&["--shell", "zsh"], true),
            (&["--ttl", "601"], true),
            (&["secret", "word"], false), // no word was expected
            (&["hunter2"], false),
            (&["sk-aB3dEfGh"], false),
            (&["--shell", "sk-aB3dEfGh"], false),
            (&["--ttl", "1234567"], false),
            (&["--ttl=aB3dEfGh"], false),
            (&["--on=aB3dEfGh"], false),
            (&["--aB3dEfGh"], false),
            (&["-----BEGIN PRIVATE KEY-----"], false),
            (&["secret", "-----BEGIN PRIVATE KEY-----"], false),
        ] {
            let error = program().try_get_matches_from([&["p"], args].concat()).unwrap_err();
            assert_eq!(may_be_told(&error), told, "{args:?}: {error}");
        }
    }

    #[test]
    #[cfg(any(feature = "agent", feature = "cli"))]
    fn files_that_may_be_secrets() {
        for (path, told) in [
            ("/nowhere/join", true),
            ("./join", true),
            ("Cargo.toml", true),
            ("hunter2", false),
            ("aB3d/EfGh==", false),
        ] {
            assert_eq!(file(Path::new(path)) == path, told, "{path}");
        }
    }
}
