//! What the tests of the files lean on: sets to install, directories in memory, and this program again as somebody else or
//! in a mount namespace of its own.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    path::Path,
    process::Command,
};

use keyfob::{
    agent::{
        files::{self, Item, Set, install},
        runtime_dir::{Error, Options, RuntimeDir},
    },
    domain::{value::Delivery, variable::Variable},
    memory,
};
use nix::{
    mount::{MsFlags, mount},
    unistd::geteuid,
};
use tempfile::TempDir;
use time::OffsetDateTime;

/// Set for a process that a test made of itself; holds the directory to work in.
pub const ALONE: &str = "KEYFOB_TEST_ALONE";

pub struct Given {
    pub variable: Variable,
    pub name: String,
    pub delivery: Delivery,
    pub value: Vec<u8>,
}

pub fn env(variable: &str, value: &[u8]) -> Given {
    let name = variable.to_lowercase().replace('_', "-");
    Given { variable: Variable::parse(variable).unwrap(), name, delivery: Delivery::Env, value: value.into() }
}

pub fn file(variable: &str, name: &str, value: &[u8]) -> Given {
    Given { name: name.into(), delivery: Delivery::File, ..env(variable, value) }
}

pub fn put(dir: &RuntimeDir, sequence: u64, given: &[Given]) -> Result<(), files::Error> {
    let items: Vec<Item<'_>> = given
        .iter()
        .map(|Given { variable, name, delivery, value }| Item {
            variable,
            name,
            origin: "private",
            version: "1",
            delivery: *delivery,
            value,
        })
        .collect();
    let fingerprints = format!("fingerprints {sequence}\n");
    let set = Set {
        bundle_version: &format!("v{sequence}"),
        sequence,
        organization: "acme",
        session: "s1",
        user: "alice",
        environment: "default",
        environment_version: 3,
        memory: memory::Rung::Mlock,
        installed_at: OffsetDateTime::UNIX_EPOCH,
        items: &items,
        left_out: &[],
        fingerprints: fingerprints.as_bytes(),
    };
    install(dir, &set, memory::Rung::None)
}

/// Takes a machine that swaps as well; what that means is another test's.
pub fn prepare(path: &Path, options: Options) -> Result<RuntimeDir, Error> {
    RuntimeDir::prepare(path, Options { allow_swappable: true, ..options })
}

pub fn shm() -> TempDir {
    tempfile::Builder::new().prefix("keyfob-test-").tempdir_in("/dev/shm").unwrap()
}

pub fn fresh() -> (TempDir, RuntimeDir) {
    let parent = shm();
    let dir = prepare(&parent.path().join("run"), Options::default()).unwrap();
    (parent, dir)
}

/// Every file below a directory, by its path in it.
pub fn everything(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found
                .extend(everything(&entry.path()).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

pub fn names(found: &BTreeMap<String, Vec<u8>>) -> Vec<&str> {
    found.keys().map(String::as_str).collect()
}

/// Says on standard error what this machine can't show.
pub fn not_tested(what: &str) {
    let _ = writeln!(io::stderr(), "not tested: {what}");
}

pub fn root(what: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        not_tested(&format!("{what}, which needs root"));
    }
    root
}

/// This program again, for one test alone, to work in a directory. By a path that a plain user can reach too.
pub fn again(test: &str, dir: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", &format!("files::{test}"), "--nocapture"]).env(ALONE, dir);
    command
}

pub fn passed(command: &mut Command) {
    let ran = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("1 passed"), "{out}{err}");
    let _ = io::stderr().write_all(err.as_bytes()); // what it could not test
}

pub fn in_a_namespace(test: &str, dir: &Path) {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    if !geteuid().is_root() || !unshare().arg("true").status().is_ok_and(|status| status.success()) {
        return not_tested(&format!("{test}, which needs root and a mount namespace"));
    }
    passed(
        unshare()
            .arg(env::current_exe().unwrap())
            .args(["--exact", &format!("files::{test}"), "--nocapture"])
            .env(ALONE, dir),
    );
    assert!(mounts_at(dir).is_empty() && mounts_at(&dir.join("run")).is_empty(), "a mount got out of its namespace");
}

pub fn mount_at(path: &Path, source: &str, kind: &str, options: &str) -> nix::Result<()> {
    mount(Some(source), path, Some(kind), MsFlags::empty(), Some(options))
}

pub fn unmount_all(path: &Path) {
    while nix::mount::umount(path).is_ok() {}
}

/// What proc_pid_mountinfo(5) says of the mounts at a path, the covered ones first.
pub fn mounts_at(path: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts
        .lines()
        .filter(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == path))
        .map(str::to_owned)
        .collect()
}
