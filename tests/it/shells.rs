//! Hostile values through the real consumers of the files: seven shells, and systemd's own parser. Every byte must arrive,
//! and nothing may be executed.

pub(crate) mod values;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use keyfob::domain::{
    env_file::{Entry, Format, render},
    variable::Variable,
};

/// What one file holds at the most; together with the names it must fit into what a program can be started with, 2 MiB.
const PER_FILE: (usize, usize) = (400, 1024 * 1024);

/// A consumer: the program, how it is told to source a file and print its environment, and the package that has it.
const CONSUMERS: [(&str, Format, &[&str], &str); 8] = [
    ("bash", Format::Sh, &["--norc", "--noprofile", "-c", ". \"$0\"; exec env -0"], "bash"),
    ("dash", Format::Sh, &["-c", ". \"$0\"; exec env -0"], "dash"),
    ("zsh", Format::Sh, &["-f", "-c", ". \"$0\"; exec env -0"], "zsh"),
    ("ksh93", Format::Sh, &["-c", ". \"$0\"; exec env -0"], "ksh93u+m"),
    ("mksh", Format::Sh, &["-c", ". \"$0\"; exec env -0"], "mksh"),
    ("busybox", Format::Sh, &["sh", "-c", ". \"$0\"; exec env -0"], "busybox"),
    ("fish", Format::Fish, &["--no-config", "-c", "source $argv[1]; exec env -0"], "fish"),
    (
        "python3",
        Format::Env,
        &[concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shells/systemd_env.py")],
        "python3 and systemd",
    ),
];

#[test]
fn every_byte_arrives_and_nothing_is_executed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let values = values::hostile(42);
    assert!(values.len() >= values::COUNT);
    let mut mismatches = Vec::new();
    for (part, chunk) in files_of(&values).into_iter().chain([&values::largest_bundle()[..]]).enumerate() {
        let named: Vec<(Variable, &[u8])> = chunk
            .iter()
            .enumerate()
            .map(|(i, value)| (Variable::parse(&format!("V{i:05}")).expect("a variable"), value.as_bytes()))
            .collect();
        for format in Format::ALL {
            fs::write(dir.path().join(format.file_name()), rendered(&named, format)).expect("our own file");
        }
        let environ = fs::read(dir.path().join("environ")).expect("our own file");
        let mut consumers = vec![("environ", entries(&environ))];
        for (program, format, arguments, package) in CONSUMERS {
            consumers.push((
                program,
                entries(&consume(program, arguments, &dir.path().join(format.file_name()), package).stdout),
            ));
        }
        for (consumer, found) in consumers {
            for (variable, value) in &named {
                if found.get(variable.as_str()).map(Vec::as_slice) != Some(*value) {
                    mismatches.push(format!(
                        "{consumer}, part {part}, ${variable}: {:?}",
                        String::from_utf8_lossy(&value[..value.len().min(60)])
                    ));
                }
            }
        }
    }
    assert!(
        mismatches.is_empty(),
        "{} mismatches, among them\n{}",
        mismatches.len(),
        mismatches[..mismatches.len().min(20)].join("\n")
    );
    assert_eq!(executed(dir.path()), Vec::<String>::new(), "a value was executed");
}

/// The values in files' worth.
fn files_of(values: &[String]) -> Vec<&[String]> {
    let (count, bytes) = PER_FILE;
    let (mut files, mut from, mut held) = (Vec::new(), 0, 0);
    for (at, value) in values.iter().enumerate() {
        if at - from == count || held + value.len() > bytes {
            files.push(&values[from..at]);
            (from, held) = (at, 0);
        }
        held += value.len();
    }
    files.push(&values[from..]);
    files
}

/// What stands in the directory that no file of ours is: every value that runs leaves one there.
fn executed(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir)
        .expect("our own directory")
        .map(|entry| entry.expect("our own directory").file_name().to_string_lossy().into_owned());
    names.filter(|name| Format::ALL.iter().all(|format| format.file_name() != name)).collect()
}

/// The test above can fail: the usual quoting is misread by systemd, and double quotes execute.
#[test]
fn other_quotings_are_caught() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("env");
    fs::write(&file, "V0='it'\\''s'\n").expect("our own file");
    let (program, _, arguments, package) = CONSUMERS[7];
    assert_ne!(
        entries(&consume(program, arguments, &file, package).stdout).get("V0"),
        Some(&b"it's".to_vec()),
        "systemd"
    );

    // Why Unicode's noncharacters are refused when they are set: one of them costs a service all variables of the file.
    for (value, kept) in [("\u{fffd}", true), ("\u{ffff}", false), ("\u{1fffe}", false), ("\u{fdd0}", false)] {
        fs::write(&file, format!("V0='other'\nV1='{value}'\n")).expect("our own file");
        assert_eq!(entries(&consume(program, arguments, &file, package).stdout).contains_key("V0"), kept, "{value:?}");
    }

    fs::write(&file, "export V0=\"$(touch ran1)\"\n").expect("our own file");
    let (program, _, arguments, package) = CONSUMERS[0];
    consume(program, arguments, &file, package);
    assert_eq!(executed(dir.path()), ["ran1"], "bash");
}

/// Every variable that a shell refuses to assign, in a sourced file, is reserved: one of them would end the sourcing.
#[test]
fn what_a_shell_keeps_read_only_is_reserved() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("env.sh");
    let mut open = Vec::new();
    for (program, format, arguments, package) in &CONSUMERS[..7] {
        let list = match *program {
            "fish" => "set --names",
            "zsh" => "print -l ${(k)parameters}",
            _ => "set",
        };
        let mut asking: Vec<&str> = arguments.to_vec();
        *asking.last_mut().expect("arguments") = list;
        let listed = String::from_utf8_lossy(&consume(program, &asking, &file, package).stdout).into_owned();
        let names = listed
            .lines()
            .map(|line| line.split('=').next().unwrap_or_default())
            .filter_map(|name| Variable::parse(name).ok());
        for variable in names {
            let marker = Variable::parse("KEYFOB_MARKER").expect("a variable");
            let (value, marked) = (b"x".to_vec(), b"there");
            fs::write(&file, rendered(&[(variable.clone(), &value[..]), (marker, &marked[..])], *format))
                .expect("our own file");
            let found = entries(&consume(program, arguments, &file, package).stdout);
            let taken = found.get(variable.as_str()) == Some(&value) && found.contains_key("KEYFOB_MARKER");
            if !taken && keyfob::domain::reserved::class_of(&variable).is_none() {
                open.push(format!("{program} keeps {variable}"));
            }
        }
    }
    assert!(open.is_empty(), "{}", open.join("\n"));
}

pub(crate) fn rendered(named: &[(Variable, &[u8])], format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    let entries = named.iter().map(|(variable, value)| Entry::new(variable, value).expect("text"));
    render(entries, format, &mut |slice| {
        out.extend_from_slice(slice);
        Ok::<_, ()>(())
    })
    .expect("a vector takes all");
    out
}

fn consume(program: &str, arguments: &[&str], file: &Path, package: &str) -> Output {
    let mut command = Command::new(program);
    // Where the file lies: whatever a value runs shows there.
    command.current_dir(file.parent().expect("a file in a directory"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .args(arguments)
        .arg(file);
    command.output().unwrap_or_else(|e| panic!("{program}: {e}; install the package {package}"))
}

pub(crate) fn entries(environment: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let entries = environment.split(|b| *b == 0).filter_map(|entry| {
        let at = entry.iter().position(|b| *b == b'=')?;
        Some((String::from_utf8_lossy(&entry[..at]).into_owned(), entry[at + 1..].to_vec()))
    });
    entries.collect()
}
