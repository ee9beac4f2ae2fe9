//! What real programs write of a value: each row is a program that is given it as `$V`, and what is left of its output.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::{redactor, whole};

const TOKEN: &str = "aB3xZ9kQ2mN7pR5tW8yLcD4e";
const ODD: &str = "p%w'd \"x\"/$Y&<z>#+~é!";
const TEXT: &str = "first line's \"9kQ2\" \\ x\nsecond\tline$Z \x07\x1b[0m $(x)\nthird line 3xZ9kQ!";
const LONG: &str = "aB3xZ9kQ2mN7pR5tW8yLcD4e/aB3xZ9kQ2mN7pR5tW8yLcD4f+aB3xZ9kQ2mN7pR5tW8yLcD4g~aB3xZ9kQ2mN7pR5t";

/// `~` is what is masked, as a whole or line by line, and what may be left of base64 at an edge.
const WRITTEN: &[(&str, &str, &str, &str)] = &[
    // program, its arguments (the last one a script), the value, what is left
    ("bash", "-c", r#"printf %s "$V""#, "~"),
    ("bash", "-c", r#"printf '%q\n' "$V""#, "*~*\n"),
    ("bash", "-c", r#"echo "${V@Q}""#, "*~*\n"),
    ("bash", "-c", "declare -p V", "declare -x V=*~*\n"),
    ("bash", "-c", "export -p | grep -A9 'x V='", "declare -x V=*~*\n"),
    ("bash", "-xc", r#": "$V""#, "+ : *~*\n"),
    ("bash", "-c", "set | grep -A9 ^V=", "V=*~*\n"),
    ("bash", "-c", r#"echo "$V" | base64 -w0"#, "~"),
    ("bash", "-c", r#"echo "$V" | base64"#, "~\n"),
    ("bash", "-c", r#"printf %s "$V" | base64"#, "~\n"),
    ("bash", "-c", r#"printf %s "$V" | openssl base64"#, "~\n"),
    ("bash", "-c", r#"echo "user:$V" | base64 -w0"#, "dXNlcj~"),
    ("bash", "-c", r#"echo "$V" | base64 -w0 | base64 -w0"#, "~"),
    ("bash", "-c", r#"printf %s "$V" | basenc --base64url -w0"#, "~"),
    ("bash", "-c", r#"printf %s "$V" | xxd -p -c 256"#, "~\n"),
    ("bash", "-c", r#"printf %s "$V" | xxd -p -u -c 256"#, "~\n"),
    ("dash", "-c", "set | grep -A9 ^V=", "V='~'\n"),
    ("dash", "-c", "export -p | grep -A9 ' V='", "export V='~'\n"),
    ("dash", "-xc", r#": "$V""#, "+ : ~\n"),
    ("zsh", "-fc", r#"print -r -- "${(q)V}""#, "~\n"),
    ("zsh", "-fc", r#"print -r -- "${(qq)V}""#, "'~'\n"),
    ("zsh", "-fc", r#"print -r -- "${(qqq)V}""#, "\"~\"\n"),
    ("zsh", "-fc", r#"print -r -- "${(qqqq)V}""#, "$'~'\n"),
    ("zsh", "-fc", "typeset -p V", "export V=*~*\n"),
    ("ksh", "-c", r#"printf '%q\n' "$V""#, "*~*\n"),
    ("mksh", "-c", r#"set -x; : "$V""#, "+ : *~*\n"),
    ("busybox", "sh -xc", r#": "$V""#, "+ : *~*\n"),
    ("jq", "-nr", "env.V | tojson", "\"~\"\n"),
    ("jq", "-n", "{a: env.V}", "{\n  \"a\": \"~\"\n}\n"),
    ("jq", "-na", "env.V", "\"~\"\n"),
    ("jq", "-nr", "env.V | tojson | tojson", "\"\\\"~\\\"\"\n"),
    ("jq", "-nr", "env.V | @uri", "~\n"),
    ("jq", "-nr", "env.V | @html", "~\n"),
    ("jq", "-nr", "env.V | @sh", "'~'\n"),
    ("jq", "-nr", "env.V | @base64", "~\n"),
    ("python3", "-c", "import os, json; print(json.dumps(os.environ['V']))", "\"~\"\n"),
    ("python3", "-c", "import os, json; print(json.dumps(os.environ['V'], ensure_ascii=False))", "\"~\"\n"),
    ("python3", "-c", "import os, html; print(html.escape(os.environ['V']))", "~\n"),
    ("python3", "-c", "import os; from xml.sax.saxutils import escape; print(escape(os.environ['V']))", "~\n"),
    ("python3", "-c", "import os; from urllib.parse import quote; print(quote(os.environ['V']))", "~\n"),
    ("python3", "-c", "import os; from urllib.parse import quote_plus; print(quote_plus(os.environ['V']))", "~\n"),
    (
        "python3",
        "-c",
        "import os; from urllib.parse import urlencode; print(urlencode({'k': os.environ['V']}))",
        "k=~\n",
    ),
    ("python3", "-c", "import os, shlex; print(shlex.quote(os.environ['V']))", "*~*\n"),
    ("python3", "-c", "import os; print(os.environ['V'].encode().hex())", "~\n"),
    ("python3", "-c", "import os, base64; print(base64.encodebytes(os.environ['V'].encode()).decode())", "~\n\n"),
    ("python3", "-c", "import os, base64; print(base64.urlsafe_b64encode(os.environ['V'].encode()).decode())", "~\n"),
    ("node", "-e", "console.log(JSON.stringify(process.env.V))", "\"~\"\n"),
    ("node", "-e", "console.log(encodeURIComponent(process.env.V))", "~\n"),
    ("node", "-e", "console.log(encodeURI(process.env.V))", "~\n"),
    ("node", "-e", "console.log(String(new URLSearchParams({k: process.env.V})))", "k=~\n"),
    ("node", "-e", "console.log(Buffer.from(process.env.V).toString('base64url'))", "~\n"),
];

#[test]
fn what_real_programs_write() {
    let mut wrong = Vec::new();
    for value in [TOKEN, ODD, TEXT, LONG] {
        let redactor = redactor([("V", value)]);
        for (program, arguments, script, left) in WRITTEN {
            let Some(written) = run(program, arguments, script, value) else { continue };
            let (out, hits) = whole(&redactor, &written);
            if !fits(&out, left) || hits.is_empty() {
                wrong.push(format!("{program} {arguments} {script}\n  of {value:?}: {out:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} leaks or more was masked:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether this is what is left: `*` are quotation marks or none, `~` is one mask or several, of each line its own, and what
/// may be left of base64.
fn fits(out: &str, left: &str) -> bool {
    let masked = out.split("[keyfob:V]").collect::<Vec<_>>();
    let (first, last) = (masked[0], masked[masked.len() - 1]);
    let (before, after) = left.split_once('~').expect("a mask");
    let (before, after) = (before.trim_end_matches('*'), after.trim_start_matches('*'));
    let quotes = |text: &str| text.chars().all(|c| "$'\"".contains(c));
    let edge = |text: &str| text.len() <= 3 + 8 && text.trim_end_matches('=').len() <= 8;
    masked.len() > 1
        && masked[1..masked.len() - 1].iter().all(|between| between.trim().len() <= 3)
        && first.strip_prefix(before).is_some_and(|rest| quotes(rest) || rest.len() <= 2)
        && last.strip_suffix(after).is_some_and(|rest| quotes(rest) || edge(rest))
}

/// What a program writes, to both outputs; nothing where it is not installed, for which there is no excuse in CI.
fn run(program: &str, arguments: &str, script: &str, value: &str) -> Option<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(arguments.split(' ')).arg(script).env("V", value).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    match command.output() {
        Ok(output) => {
            let both = [output.stdout, output.stderr].concat();
            // What a shell says of the system's settings and of the program before it is not about the value.
            let other = |line: &[u8]| {
                [&b"+/etc/"[..], b"_=", b"declare -x _=", b"export _="].iter().any(|start| line.starts_with(start))
            };
            Some(both.split_inclusive(|b| *b == b'\n').filter(|line| !other(line)).flatten().copied().collect())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            let _ = writeln!(std::io::stderr(), "not tested: {program}, which is not installed");
            None
        }
        Err(e) => panic!("{program}: {e}"),
    }
}
