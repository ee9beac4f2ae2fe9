//! The PAM module under Debian's own libpam, su, sudo and sshd, and the shell snippets in the shells they are for. Each test
//! has a machine of its own: a mount namespace with the package's files installed and enabled by pam-auth-update.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use keyfob::domain::{
    env_file::Format,
    environ::{LONGEST, parse},
    variable::Variable,
};

use crate::{
    shells::{entries, rendered, values},
    world::{pam_module, wait_for},
};

/// What no log and no terminal may show.
const CANARY: &str = "canary-7f3a";
const END: &[u8] = b"nothing more was logged";
const MARK: &str = "KEYFOB_SET_BY";

// ================================================================ the machine

struct Machine {
    holder: Child,
    log: Arc<Mutex<Vec<u8>>>,
    scratch: tempfile::TempDir,
}

impl Machine {
    /// None where this machine can't make another one.
    fn new() -> Option<Self> {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private"]);
            command
        };
        if !nix::unistd::geteuid().is_root() || !unshare().arg("true").status().is_ok_and(|status| status.success()) {
            let _ = writeln!(io::stderr(), "not tested: the PAM module, which needs root and a mount namespace");
            return None;
        }
        let scratch = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(scratch.path().join("log")).unwrap();
        fs::set_permissions(scratch.path().join("log"), PermissionsExt::from_mode(0o666)).unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        thread::spawn(move || {
            let mut line = vec![0; 1 << 16];
            while let Ok(len) = socket.recv(&mut line) {
                let mut lines = lines.lock().unwrap();
                lines.extend_from_slice(&line[..len]);
                lines.push(b'\n');
            }
        });
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut holder = unshare()
            .arg(repository.join("tests/pam/machine.sh"))
            .args([scratch.path(), pam_module(), &repository.join("packaging")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        for line in BufReader::new(holder.stdout.take().unwrap()).lines() {
            said = line.unwrap();
            if said == "ready" {
                break;
            }
        }
        let machine = Self { holder, log, scratch };
        assert_eq!(said, "ready", "the machine did not come up");
        Some(machine)
    }

    /// A path of the machine, from outside.
    fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.holder.id()))
    }

    /// Runs a program in it as root, with nothing in its environment but a PATH. What hangs is killed, and has failed.
    fn run(&self, words: &[&str]) -> Output {
        let ran = Command::new("timeout")
            .args(["--kill-after=1", "20", "nsenter", "--mount", "--target", &self.holder.id().to_string()])
            .args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
            .args(words)
            .stdin(Stdio::null())
            .output();
        ran.unwrap()
    }

    fn must(&self, words: &[&str]) -> Vec<u8> {
        let ran = self.run(words);
        assert!(ran.status.success(), "{words:?}: {} {}", ran.status, String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    }

    /// The environment that a way in gives.
    fn environment(&self, words: &[&str]) -> BTreeMap<String, Vec<u8>> {
        entries(&self.must(words))
    }

    /// A file as the agent writes it.
    fn write(&self, name: &str, bytes: &[u8]) {
        let inside = format!("/run/keyfob/{name}");
        let path = self.path(&inside);
        let _ = fs::remove_file(&path);
        fs::write(path, bytes).unwrap();
        self.must(&["chown", "keyfob-agent:keyfob", &inside]);
        self.must(&["chmod", "640", &inside]);
    }

    fn write_all(&self, named: &[(Variable, &[u8])]) {
        for format in Format::ALL {
            self.write(format.file_name(), &rendered(named, format));
        }
    }

    /// What is on the module's line in both of Debian's session files.
    fn options(&self, options: &str) {
        let edit = format!("s,pam_keyfob.so.*,pam_keyfob.so {options},");
        self.must(&["sed", "-i", &edit, "/etc/pam.d/common-session", "/etc/pam.d/common-session-noninteractive"]);
    }

    /// What our module has logged since the last call; everything else goes too.
    fn logged(&self) -> String {
        // What was sent before this has been read when this has.
        UnixDatagram::unbound().unwrap().send_to(END, self.scratch.path().join("log")).unwrap();
        wait_for("the log", || memchr::memmem::find(&self.log.lock().unwrap(), END).is_some());
        let all = String::from_utf8_lossy(&std::mem::take(&mut *self.log.lock().unwrap())).into_owned();
        assert!(!all.contains(CANARY), "a value was logged: {all}");
        all.lines().filter(|line| line.contains("pam_keyfob")).map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn variable(name: &str) -> Variable {
    Variable::parse(name).unwrap()
}

/// As many hostile values as a session can have, short ones and some of the longest.
fn hostile() -> Vec<(Variable, Vec<u8>)> {
    let all = values::hostile(7);
    let short = all.iter().filter(|value| value.len() < 4096).take(1500);
    let long = all.iter().filter(|value| value.len() >= 4096).take(10);
    short.chain(long).enumerate().map(|(i, v)| (variable(&format!("V{i:05}")), v.clone().into_bytes())).collect()
}

fn borrowed(values: &[(Variable, Vec<u8>)]) -> Vec<(Variable, &[u8])> {
    values.iter().map(|(name, value)| (name.clone(), value.as_slice())).collect()
}

fn missing(found: &BTreeMap<String, Vec<u8>>, expected: &[(Variable, Vec<u8>)]) -> Vec<String> {
    let differ = expected.iter().filter(|(name, value)| found.get(name.as_str()) != Some(value));
    differ.map(|(name, value)| format!("{name} {:?}", String::from_utf8_lossy(&value[..value.len().min(40)]))).collect()
}

// ================================================================ the module

const SSH: [&str; 11] = [
    "ssh",
    "-F",
    "none",
    "-i",
    "/etc/keyfob-test/key",
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "ProxyCommand=/usr/sbin/sshd -i -f /etc/keyfob-test/sshd",
];

#[test]
fn every_byte_arrives_by_every_way_in() {
    let Some(machine) = Machine::new() else { return };
    let values = hostile();
    assert!(values.len() > 1500);
    let ssh = |user| [&SSH[..], &[user, "env -0"]].concat();
    // The last two write what they see into a file.
    let seen = "/home/alice/seen";
    let login = "echo 'env -0 >~/seen; exit' | script --quiet --return --command 'login -f alice' /dev/null >/dev/null";
    let cron = "rm -f /run/cron*; timeout 2 cron -f";
    let ways: [(&str, Vec<&str>); 10] = [
        ("su", vec!["su", "alice", "-c", "env -0"]),
        ("su -", vec!["su", "-", "alice", "-c", "env -0"]),
        ("su - root", vec!["su", "-", "-c", "env -0"]),
        ("su, by dash", vec!["su", "-s", "/bin/dash", "mallory", "-c", "env -0"]),
        ("sudo", alice(&["sudo", "env", "-0"])),
        ("sudo -i", vec!["sudo", "-i", "-u", "alice", "env", "-0"]),
        ("ssh", ssh("alice@machine")),
        ("ssh root", ssh("root@machine")),
        ("login", vec!["sh", "-ec", login]),
        ("cron", vec!["sh", "-c", cron]),
    ];
    fs::write(machine.path("/etc/cron.d/test"), format!("@reboot alice env -0 >{seen}\n")).unwrap();
    // In halves: sshd takes no more at a time.
    for half in values.chunks(values.len().div_ceil(2)) {
        machine.write_all(&borrowed(half));
        for (way, words) in &ways {
            let _ = fs::remove_file(machine.path(seen));
            let ran = machine.run(words);
            let found = entries(&fs::read(machine.path(seen)).unwrap_or(ran.stdout));
            let gone = missing(&found, half);
            assert!(gone.is_empty(), "{way}: {} differ, among them {}", gone.len(), gone[0]);
            // By PAM, and no snippet has set them once more.
            assert_eq!(found.get(MARK).map(Vec::as_slice), Some(&b"pam"[..]), "{way}");
            assert!(found["PATH"].starts_with(b"/"), "{way}");
        }
    }
    assert_eq!(machine.logged(), "");
}

#[test]
fn nothing_that_is_wrong_with_the_file_keeps_anybody_out() {
    let Some(machine) = Machine::new() else { return };
    let good = format!("GOOD={CANARY}\0");
    let whole = good.as_bytes();
    let with = |end: &[u8]| [whole, end].concat();
    // As an administrator might have it, who takes a failure of the module for a reason to keep people out.
    let strict = "s,optional.*pam_keyfob,required pam_keyfob,";
    machine.must(&["sed", "-i", strict, "/etc/pam.d/common-session", "/etc/pam.d/common-session-noninteractive"]);
    // What is wrong, what is logged of it, the file, and what is done to it.
    for (case, reason, bytes, changed) in [
        ("missing", "", vec![], "rm environ"),
        ("no directory", "", vec![], "rm -r /run/keyfob"),
        ("empty", "", vec![], ""),
        ("of a user", "owned by user", with(b""), "chown alice environ"),
        ("writable by all", "mode 0642", with(b""), "chmod 642 environ"),
        ("writable by its group", "mode 0660", with(b""), "chmod 660 environ"),
        ("a link", "symbolic link", with(b""), "mv environ other; ln -s other environ"),
        ("a directory", "not a regular file", vec![], "rm environ; mkdir environ"),
        ("a pipe that nobody writes", "not a regular file", vec![], "rm environ; mkfifo environ"),
        ("a device", "not a regular file", vec![], "rm environ; mknod environ c 1 5"),
        ("too long", "longer than", vec![b'A'; LONGEST + 1], ""),
        ("cut", "cut off", with(CANARY.as_bytes()), ""),
        ("no assignment", "entry 2: no name", with(format!("{CANARY}\0").as_bytes()), ""),
        ("a bad name", "entry 2: no name", with(format!("1{CANARY}=x\0").as_bytes()), ""),
        ("a reserved name", "entry 2: a reserved name", with(b"PATH=/tmp\0"), ""),
        ("twice", "entry 2: a name that was there", with(whole), ""),
        ("not UTF-8", "entry 2: the value is not UTF-8", with(b"B=\xff\0"), ""),
        ("a noncharacter", "entry 2: the value holds a Unicode noncharacter", with("B=\u{ffff}\0".as_bytes()), ""),
    ] {
        machine.must(&["sh", "-c", "rm -rf /run/keyfob; install -d -o keyfob-agent -g keyfob -m 750 /run/keyfob"]);
        machine.write("environ", &bytes);
        machine.must(&["sh", "-ec", &format!("cd /run/keyfob; {changed}")]);
        for words in
            [&["su", "alice", "-c", "echo in; env -0"][..], &["sudo", "-u", "alice", "sh", "-c", "echo in; env -0"]]
        {
            let ran = machine.run(words);
            let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            assert!(ran.status.success() && out.starts_with("in\n"), "{case}: kept out: {out}{err}");
            assert_eq!(err, "", "{case}");
            assert!(!out.contains(CANARY) && !out.contains(MARK) && out.contains("PATH=/usr"), "{case}: {out}");
            let logged = machine.logged();
            match reason {
                "" => assert_eq!(logged, "", "{case}"),
                reason => assert!(logged.contains(reason) && logged.contains("no variable set"), "{case}: {logged}"),
            }
        }
    }
    // And with nothing wrong, they are there: the cases above had something to hide.
    machine.write("environ", whole);
    assert_eq!(machine.environment(&["su", "alice", "-c", "env -0"])["GOOD"], CANARY.as_bytes());
}

/// sshd ends a session of a thousand variables.
#[test]
fn more_variables_than_sshd_takes_are_not_set() {
    let Some(machine) = Machine::new() else { return };
    for (count, given) in [(900, true), (901, false), (1500, false)] {
        let file: String = (0..count).map(|i| format!("V{i}={CANARY}\0")).collect();
        machine.write("environ", file.as_bytes());
        let found = machine.environment(&[&SSH[..], &["alice@machine", "env -0"]].concat());
        assert_eq!((found.contains_key("V899"), found.contains_key("HOME")), (given, true), "{count}");
        assert_eq!(machine.logged().contains("more than sshd"), !given, "{count}");
    }
}

/// More than the kernel lets a program be started with would lock people out.
#[test]
fn what_no_shell_could_be_started_with_is_not_set() {
    let Some(machine) = Machine::new() else { return };
    let large: String = (0..8).map(|i| format!("V{i}={}\0", CANARY.repeat(5000))).collect();
    machine.write("environ", large.as_bytes());
    for (stack, given) in [("8192", true), ("1024", false), ("unlimited", true)] {
        let script = format!("ulimit -s {stack}; exec su alice -c 'env -0'");
        let found = machine.environment(&["bash", "-c", &script]);
        assert_eq!((found.contains_key("V7"), found.contains_key("HOME")), (given, true), "{stack}");
        assert_eq!(machine.logged().contains("longer than"), !given, "{stack}");
    }
}

#[test]
fn options() {
    let Some(machine) = Machine::new() else { return };
    machine.write("environ", format!("TOKEN={CANARY}\0OTHER={CANARY}\0").as_bytes());
    machine.write("elsewhere", format!("ELSEWHERE={CANARY}\0").as_bytes());
    let all = ["alice", "mallory", "root"];
    for (options, given, variable, logged) in [
        ("", &all[..], "TOKEN", ""),
        ("debug", &all, "TOKEN", "2 variables set: TOKEN OTHER"),
        ("file=/run/keyfob/elsewhere", &all, "ELSEWHERE", ""),
        ("group=keyfob", &["alice", "root"], "TOKEN", ""),
        ("group=keyfob debug", &["alice", "root"], "TOKEN", ""),
        ("group=nosuchgroup", &["root"], "TOKEN", ""),
        ("group=alice", &["alice", "root"], "TOKEN", ""), // a primary group
        ("file=/run/keyfob/nothing debug", &[], "TOKEN", "is not there"),
        // What is not understood may have been meant to restrict.
        ("gruop=keyfob", &[], "TOKEN", "\"gruop=keyfob\" is not understood"),
        ("file=relative", &[], "TOKEN", "is not understood"),
        ("group=", &[], "TOKEN", "is not understood"),
    ] {
        machine.options(options);
        for user in all {
            let found = machine.environment(&["su", user, "-s", "/bin/sh", "-c", "env -0"]);
            assert_eq!(found.contains_key(variable), given.contains(&user), "{options}: {user}");
            let log = machine.logged();
            match logged {
                "" if options.contains("debug") => (),
                "" => assert_eq!(log, "", "{options}"),
                logged => assert!(log.contains(logged), "{options}: {log}"),
            }
        }
    }
}

#[test]
fn ours_win_over_what_the_machine_gives_and_what_sessions_need_is_left_alone() {
    let Some(machine) = Machine::new() else { return };
    fs::write(machine.path("/etc/environment"), "TOKEN=of the machine\nKEPT=of the machine\nEDITOR=vi\n").unwrap();
    machine.write("environ", b"TOKEN=ours\0EDITOR=allowed by the organization\0");
    let found = machine.environment(&["su", "-", "alice", "-c", "env -0"]);
    for (name, value) in [
        ("TOKEN", "ours"),
        ("EDITOR", "allowed by the organization"),
        ("KEPT", "of the machine"),
        ("HOME", "/home/alice"),
        ("USER", "alice"),
        ("SHELL", "/bin/bash"),
    ] {
        assert_eq!(found.get(name).map(|v| String::from_utf8_lossy(v)).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn pam_auth_update_enables_and_removes_it() {
    let Some(machine) = Machine::new() else { return };
    let lines = || {
        ["common-session", "common-session-noninteractive", "common-auth", "common-account"].map(|name| {
            let text = fs::read_to_string(machine.path(&format!("/etc/pam.d/{name}"))).unwrap();
            text.lines()
                .filter(|line| line.contains("keyfob"))
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
                .join("\n")
        })
    };
    let line = "session optional pam_keyfob.so";
    assert_eq!(lines(), [line, line, "", ""]);
    machine.must(&["env", "DEBIAN_FRONTEND=noninteractive", "pam-auth-update", "--package", "--remove", "keyfob"]);
    assert_eq!(lines(), [""; 4]);
    // Removed, but a session's file still names it: libpam logs that and lets people in, for the line is optional.
    machine.must(&["sh", "-c", "echo 'session optional pam_keyfob_gone.so' >>/etc/pam.d/common-session"]);
    machine.must(&["su", "alice", "-c", "true"]);
}

// ================================================================ the snippets, without PAM

/// Login shells that read /etc/profile, and those that have a file of their own: the mark they leave, and how each runs a
/// command.
const SHELLS: [(&str, &[&str]); 7] = [
    ("profile", &["bash", "-lc"]),
    ("profile", &["dash", "-l", "-c"]),
    ("profile", &["ksh93", "-l", "-c"]),
    ("profile", &["mksh", "-l", "-c"]),
    ("profile", &["busybox", "sh", "-l", "-c"]),
    ("zshenv", &["zsh", "-c"]),
    ("fish", &["fish", "-c"]),
];

/// As a user who came without PAM.
fn bare<'a>(user: &'a str, home: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let who = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "env", home];
    [&who[..], more].concat()
}

fn alice<'a>(more: &[&'a str]) -> Vec<&'a str> {
    bare("alice", "HOME=/home/alice", more)
}

#[test]
fn every_byte_arrives_by_the_snippets() {
    let Some(machine) = Machine::new() else { return };
    let values = hostile();
    machine.write_all(&borrowed(&values));
    for (mark, shell) in SHELLS {
        let found = machine.environment(&alice(&[shell, &["exec env -0"]].concat()));
        let gone = missing(&found, &values);
        assert!(gone.is_empty(), "{shell:?}: {} differ, among them {}", gone.len(), gone[0]);
        assert_eq!(found.get(MARK).map(|v| String::from_utf8_lossy(v)).as_deref(), Some(mark), "{shell:?}");
    }
    // The generator's output, read by systemd's own parser.
    let printed = machine.scratch.path().join("printed");
    fs::write(&printed, machine.must(&alice(&["/etc/50-keyfob"]))).unwrap();
    let parser = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shells/systemd_env.py");
    let parsed = Command::new("python3").arg(parser).arg(&printed).output().unwrap();
    let found = entries(&parsed.stdout);
    assert_eq!(missing(&found, &values), Vec::<String>::new());
    assert_eq!(found[MARK], b"generator");
}

#[test]
fn the_snippets_are_silent_and_in_nobodys_way() {
    let Some(machine) = Machine::new() else { return };
    let values = [(variable("TOKEN"), CANARY.as_bytes())];
    let home = "HOME=/home/mallory";
    let silent = |case: &str, words: &[&str], given: bool| {
        let ran = machine.run(words);
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success() && out.starts_with("reached\n"), "{case}: {words:?}: {out}{err}");
        assert_eq!(err, "", "{case}: {words:?}");
        assert_eq!(out.contains(CANARY), given, "{case}: {words:?}");
        assert_eq!(out.contains(MARK), given, "{case}: {words:?}");
    };
    let each = |case: &str, given: bool, user: &dyn Fn(&[&'static str]) -> Vec<&'static str>| {
        for (_, shell) in SHELLS {
            silent(case, &user(&[shell, &["echo reached; exec env -0"]].concat()), given);
        }
        // Sourced by a script that stops at whatever is wrong.
        let strict = ". /etc/profile.d/keyfob.sh; echo reached; exec env -0";
        for (_, shell) in &SHELLS[..5] {
            let shell = &shell[..shell.len() - 1].iter().copied().filter(|word| *word != "-l").collect::<Vec<_>>();
            silent(case, &user(&[shell, &["-euc", strict][..]].concat()), given);
        }
        silent(case, &user(&["zsh", "-f", "-euc", ". /etc/keyfob/zshenv; echo reached; exec env -0"]), given);
    };
    let as_alice = |more: &[&'static str]| alice(more);
    let as_mallory = |more: &[&'static str]| bare("mallory", home, more);

    each("no file", false, &as_alice);
    assert_eq!(machine.must(&alice(&["/etc/50-keyfob"])), b"");
    machine.write_all(&values);
    each("there", true, &as_alice);
    each("not for her", false, &as_mallory);
    assert_eq!(machine.must(&bare("mallory", home, &["/etc/50-keyfob"])), b"");
    // What is there when it is looked for and can't be opened when it is sourced: as a file that goes at that moment.
    let _sockets = ["env.sh", "env.fish"].map(|name| {
        let path = machine.path(&format!("/run/keyfob/{name}"));
        fs::remove_file(&path).unwrap();
        let socket = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        socket
    });
    each("gone at the last moment", false, &as_alice);
    machine.must(&["rm", "-r", "/run/keyfob"]);
    each("no directory", false, &as_alice);
}

#[test]
fn a_session_that_has_them_keeps_them_and_tracing_shows_none() {
    let Some(machine) = Machine::new() else { return };
    machine.write_all(&[(variable("TOKEN"), CANARY.as_bytes())]);
    for (_, shell) in SHELLS {
        let kept =
            machine.environment(&alice(&[&["KEYFOB_SET_BY=pam", "TOKEN=mine"][..], shell, &["exec env -0"]].concat()));
        assert_eq!((&kept["TOKEN"][..], &kept[MARK][..]), (&b"mine"[..], &b"pam"[..]), "{shell:?}");
    }
    assert!(!machine.must(&alice(&["KEYFOB_SET_BY=pam", "/etc/50-keyfob"])).starts_with(MARK.as_bytes()));
    for shell in
        [&["bash", "-lxc"][..], &["dash", "-l", "-x", "-c"], &["ksh93", "-l", "-x", "-c"], &["zsh", "-x", "-c"]]
    {
        let ran = machine.run(&alice(&[shell, &["env | wc -c"]].concat()));
        let traced = String::from_utf8_lossy(&ran.stderr);
        assert!(traced.contains("keyfob") && !traced.contains(CANARY), "{shell:?}: {traced}");
    }
}

/// The file that these tests write is the one that the agent does.
#[test]
fn the_hostile_file_is_one_that_is_read() {
    let values = hostile();
    let file = rendered(&borrowed(&values), Format::Environ);
    assert_eq!(parse(&file).unwrap(), borrowed(&values));
}
