//! What people and pipes give: values, join strings, a yes. Secrets are read into memory that is wiped, never into a plain
//! `String`, and never from the command line.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};

use zeroize::Zeroizing;

use super::{
    args::{Sure, ValueSource},
    failure::{Done, Failure},
    output::{Out, tell},
};
use crate::{
    argv,
    domain::value::{MAX_VALUE, Value},
};

/// The answer to a value or join string among the arguments. Nothing of it is repeated.
pub const NOT_IN_ARGUMENTS: &str = "values and join strings are not given on the command line, where every process and the shell's \
    history can read them: leave it out to be asked for it, pipe it in, or use --value-file or --join-file. If that was a real secret, \
    it should be replaced";

/// Where a value came along after all.
pub fn refuse_argument(source: &ValueSource, name: &str) -> Done {
    if source.value.is_some() || name.contains('=') { Err(Failure::usage(NOT_IN_ARGUMENTS)) } else { Ok(()) }
}

/// A value, from where its flags say: a file, a pipe, or a prompt, where a new one is asked for twice.
pub async fn value(source: &ValueSource, prompt: &str, twice: bool) -> Done<Value> {
    let mut bytes = match &source.value_file {
        Some(path) => read(path, MAX_VALUE).await?,
        None if !io::stdin().is_terminal() => read(Path::new("-"), MAX_VALUE).await?,
        None => ask_hidden(prompt.to_owned(), twice).await?,
    };
    if source.trim_newline && bytes.ends_with(b"\n") {
        let end = if bytes.ends_with(b"\r\n") { 2 } else { 1 };
        let len = bytes.len() - end;
        bytes.truncate(len);
    }
    Ok(Value::new(std::mem::take(&mut *bytes)))
}

/// A join string, from where its flag says.
pub async fn join(file: Option<&Path>) -> Done<Zeroizing<Vec<u8>>> {
    const LONGEST: usize = 4096;
    match file {
        Some(path) => read(path, LONGEST).await,
        None if !io::stdin().is_terminal() => read(Path::new("-"), LONGEST).await,
        None => ask_hidden("Join string (not shown): ".into(), false).await,
    }
}

/// A whole file, or stdin for `-`, of at most `longest` bytes, read into one buffer that never grows. A pipe may take its time;
/// the connection goes on being served meanwhile.
pub async fn read(path: &Path, longest: usize) -> Done<Zeroizing<Vec<u8>>> {
    let path = path.to_owned();
    blocking(move || {
        let (shown, result) = if path == Path::new("-") {
            ("stdin".to_owned(), read_whole(&mut io::stdin().lock(), longest))
        } else {
            (argv::file(&path), File::open(&path).and_then(|mut file| read_whole(&mut file, longest)))
        };
        match result {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Failure::local(format!("{shown} is longer than {longest} bytes, which is the limit here"))),
            Err(e) => Err(Failure::local(format!("{shown}: {e}"))),
        }
    })
    .await
}

/// `None` where there is more than `longest`.
fn read_whole(from: &mut impl Read, longest: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(vec![0; longest + 1]);
    let mut len = 0;
    loop {
        match from.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(len);
    Ok((len <= longest).then_some(bytes))
}

/// Asks at the terminal, without echo.
pub async fn ask_hidden(prompt: String, twice: bool) -> Done<Zeroizing<Vec<u8>>> {
    blocking(move || {
        let ask = |prompt: &str| rpassword::prompt_password(prompt).map(|s| Zeroizing::new(s.into_bytes()));
        let no_prompt = |e: io::Error| match e.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => {
                Failure::local("nothing was entered; nothing was done")
            }
            _ => Failure::local(format!("can't ask at the terminal: {e}; pipe the text in, or name a file")),
        };
        let first = ask(&prompt).map_err(no_prompt)?;
        if twice && *first != *ask("Once more: ").map_err(no_prompt)? {
            return Err(Failure::local(
                "the two entries differ; nothing was saved. A value of several lines: use --value-file FILE",
            ));
        }
        Ok(first)
    })
    .await
}

/// Asks at the terminal for something that may be seen. Empty at the end of input.
pub async fn ask(prompt: String) -> Done<String> {
    blocking(move || {
        tell(&prompt);
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(|e| Failure::local(format!("stdin: {e}")))?;
        if !line.ends_with('\n') {
            tell("\n");
        }
        Ok(line.trim().to_owned())
    })
    .await
}

/// Goes on only after a yes: typed at the terminal, or given as `--yes`.
pub async fn confirm(sure: &Sure, out: &Out, what: &str) -> Done {
    if sure.yes {
        return Ok(());
    }
    if out.is_json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(format!("{what}: add --yes to do it, as there is nobody to ask")));
    }
    match &*ask(format!("{what}. Go on? [y/N] ")).await? {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::local("nothing was done")),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Done<T> + Send + 'static) -> Done<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::local("reading ended before its time"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time, and an interruption before each.
    struct Trickle<'a>(&'a [u8], bool);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let n = self.0.len().min(into.len()).min(1);
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn reads_up_to_the_limit_and_tells_what_is_longer() {
        for (given, read) in [
            (&b""[..], Some(&b""[..])),
            (b"1234567", Some(b"1234567")),
            (b"12345678", Some(b"12345678")),
            (b"123456789", None),
        ] {
            assert_eq!(read_whole(&mut Trickle(given, false), 8).unwrap().as_deref().map(|b| &b[..]), read);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_newline_at_the_end_goes_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        for (given, trim, kept) in [
            ("a\n", false, "a\n"),
            ("a\n", true, "a"),
            ("a\r\n", true, "a"),
            ("a\n\n", true, "a\n"),
            ("a", true, "a"),
            (" a ", true, " a "),
        ] {
            let file = dir.path().join("v");
            std::fs::write(&file, given).unwrap();
            let source = ValueSource { value_file: Some(file), trim_newline: trim, value: None };
            assert_eq!(value(&source, "", false).await.unwrap().expose(), kept.as_bytes(), "{given:?}");
        }
    }
}
