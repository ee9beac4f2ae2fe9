//! A hostile neighbour, and death at every system call: whoever is not the agent changes nothing, opens nothing that is not
//! theirs, and never meets half a set.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Write,
    sync::Mutex,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::*;

/// Sets of seven files: 10,000 writes and a few more.
const INSTALLS: u64 = 1_430;

/// A user of the session's group, and one of no group of ours, try everything there is against a directory that is
/// written all the time: links, renames, opening what is new as soon as inotify tells of it.
#[test]
fn neighbours_change_nothing_and_open_nothing_of_others() {
    if let Some(dir) = env::var_os(ALONE) {
        return neighbour(Path::new(&dir));
    }
    if !root("a neighbour of another user") {
        return;
    }
    let parent = shm();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = parent.path().join("run");
    let dir = prepare(&path, Options { group: Some(Gid::from_raw(SESSION_GROUP)), ..Options::default() }).unwrap();
    let outside = parent.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let set =
        |sequence| [env("API_KEY", &body(sequence)), file("TLS_KEY", "tls.key", &body(sequence)), file("B", "b", b"b")];
    put(&dir, 1, &set(1)).unwrap();
    let stop = parent.path().join("stop");
    let mut neighbours: Vec<_> = [SESSION_GROUP, NOBODY]
        .into_iter()
        .map(|group| {
            let test = "neighbours::neighbours_change_nothing_and_open_nothing_of_others";
            again(test, parent.path()).gid(group).uid(NOBODY).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for sequence in 2..=INSTALLS {
        put(&dir, sequence, &set(sequence)).unwrap();
    }
    fs::write(&stop, "").unwrap();
    for (neighbour, reads) in neighbours.iter_mut().zip([true, false]) {
        let mut printed = String::new();
        neighbour.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        assert!(neighbour.wait().unwrap().success(), "{printed}");
        // One line for each kind of attempt that succeeded. Reading is what the group is for; a new file is opened to it
        // once it is whole, a moment before it has its name.
        let done: BTreeSet<&str> = printed.lines().filter_map(|line| line.strip_prefix("succeeded: ")).collect();
        let allowed = BTreeSet::from(["open env", "open file", "open a whole new file"]);
        assert!(
            if reads { done.is_subset(&allowed) && done.contains("open env") } else { done.is_empty() },
            "{printed}"
        );
        assert!(printed.contains("rounds"), "{printed}");
    }
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    assert_eq!(names(&everything(parent.path())).len(), 2 + 8, "outside, stop, and the set");
}

/// Tries until it is told to stop; prints what succeeded and how often it tried.
fn neighbour(parent: &Path) {
    let run = parent.join("run");
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    let watching = [&run, &run.join("files")]
        .map(|path| inotify.add_watch(path.as_path(), AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO).is_ok());
    let (mut done, mut rounds, mut told) = (BTreeSet::new(), 0u64, 0u64);
    let mut tried = |what: &'static str, succeeded: bool| {
        if succeeded {
            done.insert(what);
        }
    };
    while !parent.join("stop").exists() {
        for event in inotify.read_events().unwrap_or_default() {
            told += 1;
            let Some(name) = event.name else { continue };
            let temporary = name.to_string_lossy().starts_with(".new-");
            for path in [run.join(&name), run.join("files").join(&name)] {
                let mut text = Vec::new();
                let read = fs::File::open(&path).is_ok_and(|mut file| file.read_to_end(&mut text).is_ok());
                // Text ends with its line or NUL; the two bodies are as long as they are.
                let whole = text.last().is_some_and(|last| [b'\n', 0, b'b'].contains(last))
                    || [600, 65_400].contains(&text.len());
                tried(
                    match (temporary, whole) {
                        (false, _) => "open env",
                        (true, true) => "open a whole new file",
                        (true, false) => "open half a file",
                    },
                    read,
                );
            }
        }
        for name in ["env", "environ", ".new-0", ".new-3", "files", "manifest.json"] {
            let (path, other) = (run.join(name), run.join("other"));
            tried("write", fs::OpenOptions::new().write(true).open(&path).is_ok());
            tried("remove", fs::remove_file(&path).is_ok());
            tried("rename away", fs::rename(&path, &other).is_ok());
            tried("rename over", fs::rename(parent.join("outside"), &path).is_ok());
            tried("symbolic link", symlink(parent.join("outside"), &path).is_ok());
            tried("hard link", fs::hard_link(&path, parent.join("stolen")).is_ok());
            tried("change the mode", fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).is_ok());
        }
        tried("replace the directory", fs::rename(&run, parent.join("away")).is_ok());
        tried("make a file", fs::write(run.join("mine"), "").is_ok());
        tried("open env", fs::File::open(run.join("environ")).is_ok());
        tried("open file", fs::File::open(run.join("files/tls.key")).is_ok());
        rounds += 1;
    }
    let mut out = std::io::stdout();
    for what in done {
        writeln!(out, "succeeded: {what}").unwrap();
    }
    writeln!(out, "{rounds} rounds, {told} events, watching {watching:?}").unwrap();
}

/// The system calls of the write path, each of them the last that an agent makes.
const CALLS: [&str; 9] =
    ["openat", "mkdirat", "write", "fchmod", "fchown", "read", "renameat", "unlinkat", "getdents64"];

/// Killed at every system call, by strace: what is there is the old set or the new one, file by file whole and with its
/// final mode, no file older than the manifest says, and the next run puts all of it right.
#[test]
fn killed_at_every_system_call() {
    if let Some(parent) = env::var_os(ALONE) {
        let dir = prepare(&Path::new(&parent).join("run"), Options::default()).unwrap();
        return put(&dir, 2, &set_of(2)).unwrap();
    }
    if !Command::new("strace").arg("-V").output().is_ok_and(|ran| ran.status.success()) {
        assert!(env::var_os("CI").is_none(), "install strace");
        return not_tested("death at every system call, which needs strace");
    }
    let mut killed = 0;
    for call in CALLS {
        for nth in 1.. {
            let parent = shm();
            let dir = prepare(&parent.path().join("run"), Options::default()).unwrap();
            put(&dir, 1, &set_of(1)).unwrap();
            let mut strace = Command::new("strace");
            strace
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={nth}")])
                .arg(env::current_exe().unwrap())
                .args(["--exact", "files::neighbours::killed_at_every_system_call", "--nocapture", "--test-threads=1"])
                .env(ALONE, parent.path());
            let ran = strace.output().unwrap();
            let survived = ran.status.success();
            let found = everywhere_alike(dir.path());
            let (sequence, at) = (read_manifest(&dir).unwrap().unwrap().sequence, format!("{call} {nth}"));
            for (name, bytes) in &found {
                if name.starts_with(".new-") {
                    continue;
                }
                let mode = fs::metadata(dir.path().join(name)).unwrap().mode() & 0o7777;
                assert_eq!(mode, 0o640, "{at}: {name}");
                if name != "manifest.json" {
                    let which = [1, 2].into_iter().find(|n| expected(*n).get(name) == Some(bytes));
                    // What is in no newer set is removed last.
                    let current =
                        which.is_some_and(|which| which >= sequence || !expected(sequence).contains_key(name));
                    assert!(current, "{at}: {name} is of set {which:?}, the manifest's {sequence}");
                }
            }
            // What can be read can be redacted: nothing of the new set is there before its fingerprints are.
            let of_the_new = |name: &str| found.get(name).is_some_and(|bytes| expected(2).get(name) == Some(bytes));
            let shown: Vec<_> =
                ["env", "env.sh", "environ", "files/tls.key"].into_iter().filter(|name| of_the_new(name)).collect();
            assert!(shown.is_empty() || of_the_new("fingerprints"), "{at}: {shown:?} before the fingerprints");
            for name in expected(sequence).keys() {
                assert!(found.contains_key(name), "{at}: {name} is missing");
            }
            put(&dir, 3, &set_of(3)).unwrap();
            let mut after = everywhere_alike(dir.path());
            after.remove("manifest.json");
            assert_eq!(after, expected(3), "{at}: the next run");
            if survived {
                break; // there is no such call any more
            }
            killed += 1;
        }
    }
    assert!(killed > 60, "killed {killed} times only");
}

fn set_of(sequence: u64) -> Vec<given::Given> {
    let of = |size: usize| format!("{sequence}-").repeat(size).into_bytes();
    let mut set = vec![env("API_KEY", &of(40_000 / 2)), file("TLS_KEY", "tls.key", &of(50)), env("C", b"same")];
    set.push(file("D", &format!("only-in-{sequence}"), &of(10))); // one goes, one comes
    set
}

/// What is in a directory, by path.
type Found = BTreeMap<String, Vec<u8>>;

/// As [`everything`]; the variables of files hold the path of the directory, which is another each time.
fn everywhere_alike(dir: &Path) -> Found {
    let own = dir.to_str().unwrap();
    let alike = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => text.replace(own, "DIR").into_bytes(),
        Err(binary) => binary.into_bytes(),
    };
    everything(dir).into_iter().map(|(name, bytes)| (name, alike(bytes))).collect()
}

/// The files of a set but the manifest, as they are written where nothing happens.
fn expected(sequence: u64) -> Found {
    static MADE: Mutex<Option<HashMap<u64, Found>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap();
    let all = made.get_or_insert_default();
    all.entry(sequence)
        .or_insert_with(|| {
            let (_parent, dir) = fresh();
            put(&dir, sequence, &set_of(sequence)).unwrap();
            let mut found = everywhere_alike(dir.path());
            found.remove("manifest.json");
            found
        })
        .clone()
}
