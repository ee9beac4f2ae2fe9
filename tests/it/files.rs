//! The session's files on real file systems: whole or not there, in the right hands, on memory that can't be swapped.
//!
//! What needs root says so where there is none. Everything is mounted in a mount namespace of its own, which goes with the
//! process that made it.

mod given;
mod neighbours;

use std::{
    env, fs,
    io::Read,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use keyfob::{
    agent::{
        files::{self, read_manifest},
        runtime_dir::{Error, Options, Rung, RuntimeDir},
    },
    harden,
};
use nix::{
    sys::statfs::{TMPFS_MAGIC, statfs},
    unistd::{Gid, geteuid},
};

use given::{
    ALONE, again, env, everything, file, fresh, in_a_namespace, mount_at, mounts_at, names, not_tested, passed,
    prepare, put, root, shm, unmount_all,
};

const NOBODY: u32 = 65534;
const SESSION_GROUP: u32 = 54321;

// ================================================================ what is in place

#[test]
fn a_set_is_these_files_and_no_other() {
    let (parent, dir) = fresh();
    put(&dir, 7, &[env("API_KEY", b"it's"), file("TLS_KEY", "tls.key", b"\0\xff")]).unwrap();

    let key = parent.path().join("run/files/tls.key");
    let key = key.to_str().unwrap();
    let expected = [
        ("env", format!("API_KEY='it'\"'\"'s'\nTLS_KEY='{key}'\n")),
        ("env.sh", format!("export API_KEY='it'\"'\"'s'\nexport TLS_KEY='{key}'\n")),
        ("env.fish", format!("set -gx API_KEY 'it\\'s'\nset -gx TLS_KEY '{key}'\n")),
        ("environ", format!("API_KEY=it's\0TLS_KEY={key}\0")),
        ("fingerprints", "fingerprints 7\n".into()),
    ];
    let mut found = everything(dir.path());
    assert_eq!(found.remove("files/tls.key").as_deref(), Some(&b"\0\xff"[..]));
    let manifest: serde_json::Value = serde_json::from_slice(&found.remove("manifest.json").unwrap()).unwrap();
    assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.into_bytes())).into());
    assert_eq!(
        manifest,
        serde_json::json!({
            "bundle_version": "v7", "sequence": 7, "organization": "acme", "session": "s1", "user": "alice",
            "environment": "default", "environment_version": 3, "memory": "mlock", "files": dir.rung().as_str(),
            "installed_at": "1970-01-01T00:00:00Z",
            "variables": [
                {"variable": "API_KEY", "name": "api-key", "origin": "private", "version": "1", "delivery": "env"},
                {"variable": "TLS_KEY", "name": "tls.key", "origin": "private", "version": "1", "delivery": "file", "path": key},
            ],
        })
    );
    let own = fs::metadata("/proc/self").unwrap().uid();
    for name in ["", "files", "env", "env.sh", "env.fish", "environ", "files/tls.key", "manifest.json"] {
        let found = fs::metadata(dir.path().join(name)).unwrap();
        let mode = if found.is_dir() { 0o750 } else { 0o640 };
        assert_eq!((found.mode() & 0o7777, found.uid()), (mode, own), "{name:?}");
    }
}

#[test]
fn the_next_set_replaces_all_of_the_last() {
    let (_parent, dir) = fresh();
    let long = "n".repeat(128);
    // Two secrets may share a name, a private and a shared one; the name with `@` is no secret's.
    put(
        &dir,
        1,
        &[file("A", "same", b"first"), file("B", "same", b"second"), file("C", &long, b"3"), file("D", &long, b"4")],
    )
    .unwrap();
    let found = everything(dir.path());
    let environ = String::from_utf8(found["environ"].clone()).unwrap();
    for (variable, name, value) in [
        ("A", "same", &b"first"[..]),
        ("B", "same@2", b"second"),
        ("C", &long, b"3"),
        ("D", &format!("{long}@2"), b"4"),
    ] {
        assert_eq!(found[&format!("files/{name}")], value);
        assert!(environ.contains(&format!("{variable}={}/files/{name}\0", dir.path().display())), "{environ:?}");
    }

    put(&dir, 2, &[env("A", b"now a variable"), file("B", "other", b"")]).unwrap();
    let found = everything(dir.path());
    assert_eq!(names(&found), ["env", "env.fish", "env.sh", "environ", "files/other", "fingerprints", "manifest.json"]);
    assert_eq!(read_manifest(&dir).unwrap().unwrap().bundle_version, "v2");

    put(&dir, 2, &[]).unwrap(); // the same again, and nothing in it
    let found = everything(dir.path());
    assert_eq!(names(&found), ["env", "env.fish", "env.sh", "environ", "fingerprints", "manifest.json"]);
    assert!(found["env"].is_empty());
}

#[test]
fn a_set_that_is_refused_changes_nothing() {
    let (_parent, dir) = fresh();
    put(&dir, 5, &[env("A", b"old"), file("B", "b", b"old")]).unwrap();
    let before = everything(dir.path());
    for (sequence, given, expected) in [
        (6, vec![file("B", "b", b"new"), env("C", b"a\0b")], "$C: the value holds a NUL"),
        (6, vec![file("B", "b", b"new"), env("C", b"\xff")], "$C: the value is not UTF-8"),
        (6, vec![file("B", "../b", b"new")], "no file can be made"),
        (6, vec![file("B", "..", b"new")], "no file can be made"),
        (6, vec![file("B", "/etc/b", b"new")], "no file can be made"),
        (6, vec![file("B", "", b"new")], "no file can be made"),
        (4, vec![env("A", b"older")], "bundle 4 is older than 5"),
    ] {
        let refused = put(&dir, sequence, &given).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(everything(dir.path()), before, "{expected}");
    }
    fs::write(dir.path().join("manifest.json"), "{}").unwrap();
    let refused = put(&dir, 6, &[]).unwrap_err().to_string();
    assert!(refused.contains("manifest.json can't be read") && refused.contains("Remove it"), "{refused}");
}

#[test]
fn what_is_left_of_a_killed_run_goes_and_no_link_is_followed() {
    let (parent, dir) = fresh();
    let outside = parent.path().join("outside");
    fs::write(&outside, "stays").unwrap();
    for name in [".new-0", ".new-99", ".new-"] {
        fs::write(dir.path().join(name), "half a val").unwrap();
    }
    for name in [".new-1", "env"] {
        symlink(&outside, dir.path().join(name)).unwrap();
    }
    put(&dir, 1, &[env("A", b"1")]).unwrap();
    assert_eq!(
        names(&everything(dir.path())),
        ["env", "env.fish", "env.sh", "environ", "fingerprints", "manifest.json"]
    );
    assert!(fs::symlink_metadata(dir.path().join("env")).unwrap().is_file());
    assert_eq!(fs::read(&outside).unwrap(), b"stays");
}

#[test]
fn removal_wipes() {
    let (_parent, dir) = fresh();
    put(&dir, 1, &[env("A", b"hunter2"), file("B", "b", &[b'x'; 10_000])]).unwrap();
    let path = dir.path().to_owned();
    let mut held: Vec<fs::File> =
        ["env", "env.sh", "env.fish", "environ", "files/b"].map(|name| fs::File::open(path.join(name)).unwrap()).into();
    dir.remove().unwrap();
    assert!(everything(&path).is_empty() && !path.join("files").exists());
    for file in &mut held {
        let mut left = Vec::new();
        file.read_to_end(&mut left).unwrap();
        assert!(!left.is_empty() && left.iter().all(|byte| *byte == 0));
    }
}

// ================================================================ at every moment

/// What `install` number `sequence` puts into `env` and into a file: long or short, and known by its first digits.
fn body(sequence: u64) -> Vec<u8> {
    format!("{sequence:06}").repeat(if sequence.is_multiple_of(2) { 100 } else { 10_900 }).into_bytes()
}

/// The sequence that a body is of, if it is whole.
fn whole(body: &[u8], prefix: &str, suffix: &str) -> u64 {
    let text = std::str::from_utf8(body).unwrap().strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
    let text = text.unwrap_or_else(|| panic!("{} bytes are no whole file", body.len()));
    let sequence = text[..6].parse().unwrap();
    assert_eq!(text.as_bytes(), self::body(sequence), "{} bytes are no whole file of {sequence}", body.len());
    sequence
}

fn put_body(dir: &RuntimeDir, sequence: u64) {
    put(dir, sequence, &[env("A", &body(sequence)), file("B", "b", &body(sequence))]).unwrap();
}

/// Reads everything as a consumer would: manifest first, the rest after. Gives the manifest's sequence.
fn look(path: &Path) -> u64 {
    let read = |name: &str| {
        let mut file = fs::File::open(path.join(name)).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o640, "{name}");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    let manifest: files::Manifest = serde_json::from_slice(&read("manifest.json")).unwrap();
    for (name, prefix, suffix) in [
        ("env", "A='", &*format!("'\nB='{}/files/b'\n", path.display())),
        ("files/b", "", ""),
        ("environ", "A=", &*format!("\0B={}/files/b\0", path.display())),
    ] {
        let sequence = whole(&read(name), prefix, suffix);
        assert!(sequence >= manifest.sequence, "{name} of {sequence} under a manifest of {}", manifest.sequence);
    }
    manifest.sequence
}

#[test]
fn readers_see_whole_files_through_a_thousand_rewrites() {
    let (_parent, dir) = fresh();
    put_body(&dir, 0);
    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                seen.push(look(dir.path()));
            }
            seen.dedup();
            seen
        });
        for sequence in 1..=1000 {
            put_body(&dir, sequence);
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(seen.is_sorted() && seen.len() > 100, "only {} versions were seen", seen.len());
    assert_eq!(look(dir.path()), 1000);
}

#[test]
fn killed_at_any_moment() {
    if let Some(path) = env::var_os(ALONE) {
        let dir = prepare(Path::new(&path), Options::default()).unwrap();
        let from = read_manifest(&dir).unwrap().map_or(0, |manifest| manifest.sequence);
        for sequence in from.. {
            put_body(&dir, sequence);
        }
    }
    let parent = shm();
    let path = parent.path().join("run");
    let mut interrupted = 0;
    for round in 0..40_u32 {
        let before = if path.join("manifest.json").exists() { look(&path) } else { 0 };
        let mut child = again("killed_at_any_moment", &path).stdout(Stdio::null()).spawn().unwrap();
        while !path.join("manifest.json").exists() || look(&path) <= before {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        }
        let mut random = [0; 2];
        fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
        (0..u16::from_le_bytes(random)).for_each(|_| std::hint::spin_loop());
        child.kill().unwrap();
        child.wait().unwrap();
        look(&path);
        interrupted += u32::from(
            fs::read_dir(&path).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().starts_with(".new-")),
        );
        assert!(round < 39 || interrupted > 0, "no kill came in between");
    }
    let dir = prepare(&path, Options::default()).unwrap();
    put_body(&dir, 999_999);
    assert_eq!(look(&path), 999_999);
    assert_eq!(
        names(&everything(&path)),
        ["env", "env.fish", "env.sh", "environ", "files/b", "fingerprints", "manifest.json"]
    );
}

// ================================================================ in the right hands

#[test]
fn directories_that_are_refused() {
    let parent = shm();
    let base = parent.path();
    let make = |name: &str, mode: u32| {
        fs::create_dir(base.join(name)).unwrap();
        fs::set_permissions(base.join(name), fs::Permissions::from_mode(mode)).unwrap();
        base.join(name)
    };
    let good = make("good", 0o755);
    let open = make("open", 0o777);
    let group = make("group", 0o770);
    let sticky = make("sticky", 0o1777);
    let alien = make("alien", 0o700);
    let busy = make("busy", 0o700);
    fs::write(busy.join("notes.txt"), "").unwrap();
    symlink(&good, base.join("link")).unwrap();
    symlink("loop", base.join("loop")).unwrap();
    fs::write(base.join("file"), "").unwrap();
    let mut rows = vec![
        (base.join("link"), "link is a symbolic link"),
        (base.join("link/run"), "link is a symbolic link"),
        (base.join("loop"), "loop is a symbolic link"),
        (base.join("file"), "file is no directory"),
        (base.join("file/run"), "file is no directory"),
        (open.clone(), "open is writable by others"),
        (open.join("run"), "open is writable by others"),
        (group.clone(), "group is writable by others"),
        (group.join("run"), "group is writable by others"),
        (sticky.clone(), "sticky is writable by others"),
        (busy.clone(), "holds \"notes.txt\", which is not Keyfob's"),
        (base.join("absent/run"), "absent: opening it: No such file"),
        (base.join("good/../good"), "without `..`"),
        (PathBuf::from("relative"), "absolute path"),
        (PathBuf::from("/"), "absolute path"),
    ];
    if root("a directory of another user") {
        chown(&alien, Some(NOBODY), None).unwrap();
        rows.push((alien.clone(), "alien belongs to another user"));
        rows.push((alien.join("run"), "alien belongs to another user"));
    }
    let disk = tempfile::tempdir_in("/var/tmp").unwrap();
    if statfs(disk.path()).unwrap().filesystem_type() == TMPFS_MAGIC {
        not_tested("a directory on disk, for lack of one");
    } else {
        rows.push((disk.path().join("run"), "is neither on tmpfs nor on ramfs; use a directory under /run"));
    }
    for (path, expected) in rows {
        let before = fs::symlink_metadata(&path).map(|stat| stat.mode()).ok();
        let refused = prepare(&path, Options { mount: false, ..Options::default() }).unwrap_err().to_string();
        assert!(refused.contains(expected), "{}: {refused}", path.display());
        assert_eq!(fs::symlink_metadata(&path).map(|stat| stat.mode()).ok(), before, "{} was touched", path.display());
    }
    assert!(busy.join("notes.txt").exists());
    for path in [good.clone(), good.join("run"), sticky.join("run")] {
        prepare(&path, Options::default()).unwrap().remove().unwrap();
    }
}

#[test]
fn the_sessions_group_reads_and_can_do_nothing_else() {
    if !root("the session's group") {
        return;
    }
    let parent = shm();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = parent.path().join("run");
    let dir = prepare(&path, Options { group: Some(Gid::from_raw(SESSION_GROUP)), ..Options::default() }).unwrap();
    put(&dir, 1, &[env("A", b"1"), file("B", "b", b"2")]).unwrap();
    for name in ["", "env", "env.sh", "env.fish", "environ", "fingerprints", "manifest.json", "files", "files/b"] {
        assert_eq!(fs::metadata(path.join(name)).unwrap().gid(), SESSION_GROUP, "{name}");
    }
    let before = everything(&path);
    for (group, script, works) in [
        (SESSION_GROUP, "cat env env.sh env.fish environ manifest.json files/b", true),
        (SESSION_GROUP, ". ./env.sh && test \"$A\" = 1 && test \"$(cat \"$B\")\" = 2", true),
        (SESSION_GROUP, "echo >new", false),
        (SESSION_GROUP, "echo >files/new", false),
        (SESSION_GROUP, "echo >>env", false),
        (SESSION_GROUP, "rm -f env", false),
        (SESSION_GROUP, "mv env env2", false),
        (SESSION_GROUP, "mv files files2", false),
        (SESSION_GROUP, "chmod 666 env", false),
        (SESSION_GROUP, "ln -s /etc/passwd .new-0", false),
        (NOBODY, "ls", false),
        (NOBODY, "cat env", false),
        (NOBODY, "cat files/b", false),
    ] {
        // The directory is entered by the shell, as the session would.
        let script = format!("cd \"$0\" && {{ {script}; }}");
        let ran = Command::new("sh").arg("-c").arg(&script).arg(&path).uid(NOBODY).gid(group).output().unwrap();
        assert_eq!(ran.status.success(), works, "{group}: {script}: {}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(everything(&path), before, "{group}: {script}");
    }
}

/// A plain user whose process is hardened: `/proc/self` is root's then.
#[test]
fn a_plain_user_needs_no_privilege() {
    if let Some(path) = env::var_os(ALONE) {
        assert!(!geteuid().is_root());
        assert_eq!(harden::harden(), Vec::<String>::new());
        let path = Path::new(&path);
        let dir = prepare(path, Options { mount: true, ..Options::default() }).unwrap();
        assert!(
            matches!(dir.rung(), Rung::TmpfsNoSwapActive | Rung::TmpfsSwappable | Rung::TmpfsNoswap),
            "{:?}",
            dir.rung()
        );
        put(&dir, 1, &[env("A", b"1"), file("B", "b", b"2")]).unwrap();
        assert_eq!(everything(path)["files/b"], b"2");
        dir.remove().unwrap();
        assert!(everything(path).is_empty());
        for (refused, why) in
            [("/run/keyfob-test-of-a-plain-user", "Permission denied"), ("/dev/shm", "writable by others")]
        {
            let error =
                prepare(Path::new(refused), Options { mount: true, ..Options::default() }).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        return;
    }
    let parent = shm();
    let mut plain = again("a_plain_user_needs_no_privilege", &parent.path().join("run"));
    if geteuid().is_root() {
        chown(parent.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        plain.uid(NOBODY).gid(NOBODY);
    }
    passed(&mut plain);
}

// ================================================================ on memory that can't be swapped

/// Every rung that this kernel has, and what is mounted or unmounted on the way.
#[test]
fn the_ladder() {
    let Some(base) = env::var_os(ALONE) else {
        let parent = shm();
        return in_a_namespace("the_ladder", parent.path());
    };
    let base = Path::new(&base);
    let disk = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = base.join("run");
    let noswap = {
        fs::create_dir(&path).unwrap();
        let works = mount_at(&path, "probe", "tmpfs", "noswap").is_ok();
        unmount_all(&path);
        works
    };
    if !noswap {
        not_tested("tmpfs with noswap, which needs Linux 6.4");
    }
    let best = if noswap { Rung::TmpfsNoswap } else { Rung::Ramfs };
    let plain = match nix::sys::sysinfo::sysinfo().unwrap().swap_total() {
        0 => Rung::TmpfsNoSwapActive,
        _ => Rung::TmpfsSwappable,
    };
    // where, what is mounted there before (source, type, options), whether to mount -> rung, mounts there, mounts after
    for (path, before, mounting, rung, during, after) in [
        (&path, None, false, plain, 0, 0),
        (&path, None, true, best, 1, 0),
        (&path, Some(("tmpfs", "tmpfs", "mode=0700")), false, plain, 1, 1),
        (&path, Some(("tmpfs", "tmpfs", "mode=0700")), true, best, 2, 1),
        (&path, Some(("other", "tmpfs", "noswap,mode=0700")), false, Rung::TmpfsNoswap, 1, 1),
        (&path, Some(("other", "tmpfs", "noswap,mode=0700")), true, Rung::TmpfsNoswap, 1, 1),
        (&path, Some(("keyfob", "tmpfs", "noswap,mode=0700")), true, Rung::TmpfsNoswap, 1, 0), // of a run that was killed
        (&path, Some(("keyfob", "tmpfs", "noswap,mode=0700")), false, Rung::TmpfsNoswap, 1, 1),
        (&path, Some(("other", "ramfs", "mode=0700")), false, Rung::Ramfs, 1, 1),
        (&path, Some(("other", "ramfs", "mode=0700")), true, Rung::Ramfs, 1, 1),
        (&path, Some(("keyfob", "ramfs", "mode=0700")), true, Rung::Ramfs, 1, 0),
        (&disk.path().join("run"), None, true, best, 1, 0),
    ] {
        if !noswap && before.is_some_and(|(_, _, options)| options.contains("noswap")) {
            continue;
        }
        let row = format!("{} {before:?} {mounting}", path.display());
        fs::create_dir_all(path).unwrap();
        if let Some((source, kind, options)) = before {
            mount_at(path, source, kind, options).unwrap();
        }
        let group = Gid::from_raw(SESSION_GROUP);
        let dir = prepare(path, Options { group: Some(group), mount: mounting, ..Options::default() }).unwrap();
        assert_eq!(dir.rung(), rung, "{row}");
        put(&dir, 1, &[env("A", b"1")]).unwrap();
        assert_eq!(read_manifest(&dir).unwrap().unwrap().files, rung.as_str(), "{row}");
        let stat = fs::metadata(path).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.gid()), (0o750, SESSION_GROUP), "{row}");
        let mounts = mounts_at(path);
        assert_eq!(mounts.len(), during, "{row}: {mounts:?}");
        if during > 0 && mounts.last().unwrap().contains(" keyfob rw") && before.is_none() {
            for option in ["nosuid", "nodev", "noexec"] {
                assert!(mounts[0].contains(option), "{mounts:?}");
            }
            assert!(rung == Rung::Ramfs || mounts[0].contains("size=32768k"), "{mounts:?}");
        }
        dir.remove().unwrap();
        assert_eq!(mounts_at(path).len(), after, "{row}");
        assert!(everything(path).is_empty(), "{row}");
        drop(dir); // which holds what is mounted
        unmount_all(path);
    }

    // A subdirectory of memory that can't be swapped is as good, but for what mounting it adds.
    if noswap {
        fs::create_dir_all(&path).unwrap();
        mount_at(&path, "other", "tmpfs", "noswap,mode=0755").unwrap();
        assert_eq!(prepare(&path.join("sub"), Options::default()).unwrap().rung(), Rung::TmpfsNoswap);
        unmount_all(&path);
    }

    // What an earlier run left is not hidden below a mount.
    let dir = prepare(&path, Options::default()).unwrap();
    put(&dir, 1, &[env("A", b"1"), file("B", "b", b"2")]).unwrap();
    let dir = prepare(&path, Options { mount: true, ..Options::default() }).unwrap();
    assert!(everything(&path).is_empty());
    dir.remove().unwrap();
    assert!(mounts_at(&path).is_empty() && everything(&path).is_empty());

    // Refused with somebody else's files in it, before anything is mounted over them.
    fs::write(path.join("notes.txt"), "").unwrap();
    let refused = prepare(&path, Options { mount: true, ..Options::default() });
    assert!(matches!(refused, Err(Error::NotAlone { .. })), "{refused:?}");
    assert!(mounts_at(&path).is_empty() && path.join("notes.txt").exists());
}

#[test]
fn a_set_for_which_there_is_no_room_changes_nothing() {
    let Some(path) = env::var_os(ALONE) else {
        let parent = shm();
        return in_a_namespace("a_set_for_which_there_is_no_room_changes_nothing", parent.path());
    };
    let path = Path::new(&path);
    mount_at(path, "small", "tmpfs", "size=256k,mode=0700").unwrap();
    let dir = prepare(path, Options::default()).unwrap();
    put(&dir, 1, &[env("A", b"old"), file("B", "b", b"old")]).unwrap();
    let before = everything(path);
    let big = vec![b'x'; 60_000];
    let refused = put(&dir, 2, &[env("A", &big), file("B", "b", b"new")]).unwrap_err().to_string();
    assert!(refused.contains("No space left") && refused.contains("untouched"), "{refused}");
    assert_eq!(everything(path), before);
    put(&dir, 3, &[env("A", b"new")]).unwrap(); // and there is room again
}
