//! `keyfob-agent exec` and `redact` without a terminal: what they mask, and that a command can't tell the difference otherwise.

pub mod screen;
mod terminal;

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

use keyfob::{
    agent::local::{self, Request, With},
    domain::redaction::Redaction,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::world::{AGENT, Ran, run, wait_for};

pub const VALUE: &str = "sk-live-9f8Q7w6E5r4T3y2U1i0P";
const OTHER: &str = "glpat-Zx9Yc8Vb7Nn6Mm5Aa4Ss";

/// A session's directory, as the agent leaves it.
pub struct Session {
    dir: TempDir,
}

impl Session {
    pub fn new(values: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("keyfob-test-").tempdir_in("/dev/shm").unwrap();
        let session = Self { dir };
        fs::create_dir(session.path("run")).unwrap();
        let environ: String = values.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
        fs::write(session.path("run/environ"), environ).unwrap();
        fs::write(session.path("run/fingerprints"), redaction(values)).unwrap();
        fs::write(session.path("run/manifest.json"), "{}").unwrap();
        session
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn run_dir(&self) -> String {
        self.path("run").to_str().unwrap().to_owned()
    }

    pub fn exec(&self, flags: &[&str], command: &[&str]) -> Command {
        let mut exec = Command::new(AGENT);
        exec.args(["exec", "--dir"]).arg(self.path("run")).args(flags).arg("--").args(command);
        exec
    }

    pub fn redact(&self) -> Command {
        let mut redact = Command::new(AGENT);
        redact.args(["redact", "--dir"]).arg(self.path("run"));
        redact
    }
}

fn redaction(values: &[(&str, &str)]) -> Vec<u8> {
    let mut redaction = Redaction::new(std::array::from_fn(|i| (i * 151 + 7) as u8));
    for (name, value) in values {
        redaction.add(name, "v1", value.as_bytes());
    }
    redaction.encode()
}

fn started(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Everything up to the text.
fn read_until(from: &mut impl Read, text: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(text.as_bytes()) {
        let mut byte = [0];
        assert_eq!(from.read(&mut byte).unwrap(), 1, "no {text:?} after {:?}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

#[test]
fn a_command_ends_as_it_would_without_us() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    for (command, code, signal) in [
        (&["true"][..], Some(0), None),
        (&["sh", "-c", "exit 7"], Some(7), None),
        (&["sh", "-c", "exit 255"], Some(255), None),
        (&["sh", "-c", "kill -TERM $$"], None, Some(15)),
        (&["sh", "-c", "kill -KILL $$"], None, Some(9)),
        (&["sh", "-c", "kill -USR1 $$"], None, Some(10)),
        (&["sh", "-c", "kill -SEGV $$"], None, Some(11)),
        (&["sh", "-c", "kill -PIPE $$"], Some(141), None), // which we ignore; a shell shows both alike
        (&["bash", "-c", "kill -RTMIN $$"], Some(128 + 34), None),
        (&["/nonexistent/program"], Some(127), None),
        (&["no-such-program"], Some(127), None),
        (&["/etc/passwd"], Some(126), None),
    ] {
        let Ran(output) = run(&mut session.exec(&[], command), b"");
        assert_eq!((output.status.code(), output.status.signal()), (code, signal), "{command:?}");
    }
}

/// Descriptors, signals, limits, groups: nothing of ours is left on the command.
#[test]
fn a_command_finds_everything_as_without_us() {
    let session = Session::new(&[]);
    let script =
        "ls /proc/self/fd; grep -E '^(Sig(Blk|Ign|Cgt)|Umask|NoNewPrivs)' /proc/self/status; ulimit -a; umask; pwd";
    let plain = run(Command::new("bash").args(["-c", script]), b"").ok();
    for flags in [&[][..], &["--no-redact"]] {
        assert_eq!(run(&mut session.exec(flags, &["bash", "-c", script]), b"").ok(), plain, "{flags:?}");
    }
    // The same process group: what the terminal's keys send reaches both.
    let group =
        run(&mut session.exec(&[], &["sh", "-c", "echo $(ps -o pgid= -p $$) $(ps -o pgid= -p $PPID)"]), b"").ok();
    let mut groups = group.split_whitespace();
    assert_eq!(groups.next(), groups.next());
}

#[test]
fn two_streams_stay_two_and_both_are_masked() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let script = "echo \"out $API_KEY.\"; echo \"err $API_KEY.\" >&2; read line; echo \"$line\"";
    let ran = run(&mut session.exec(&[], &["sh", "-c", script]), b"from outside\n");
    assert_eq!(ran.ok(), "out [keyfob:API_KEY].\nfrom outside\n");
    assert_eq!(ran.stderr(), "err [keyfob:API_KEY].\n");
    let ran = run(&mut session.exec(&["--no-redact"], &["sh", "-c", script]), b"from outside\n");
    assert_eq!((ran.ok(), ran.stderr()), (format!("out {VALUE}.\nfrom outside\n"), format!("err {VALUE}.\n")));
}

/// However a value is cut over writes, it is masked, in what a command prints and in what is piped.
#[test]
fn a_value_in_pieces() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let script = "import os\nv = os.environ['API_KEY'].encode()\nfor at in range(len(v) + 1):\n\
                  \x20 os.write(1, b'<'); os.write(1, v[:at]); os.write(1, v[at:]); os.write(1, b'>\\n')\n\
                  for b in v: os.write(1, bytes([b]))\n";
    let expected = "<[keyfob:API_KEY]>\n".repeat(VALUE.len() + 1) + "[keyfob:API_KEY]";
    assert_eq!(run(&mut session.exec(&[], &["python3", "-c", script]), b"").ok(), expected);

    let mut redact = started(&mut session.redact());
    let mut stdin = redact.stdin.take().unwrap();
    for at in 0..=VALUE.len() {
        for piece in ["<", &VALUE[..at], &VALUE[at..], ">\n"] {
            stdin.write_all(piece.as_bytes()).unwrap();
        }
    }
    stdin.write_all(VALUE.as_bytes()).unwrap();
    drop(stdin);
    let output = redact.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Whatever holds no value comes out as it went in.
#[test]
fn bytes_without_a_value() {
    let session = Session::new(&[("API_KEY", VALUE), ("B", OTHER)]);
    let mut random = vec![0; 3_000_000];
    getrandom::fill(&mut random).unwrap();
    let hostile = [
        &(0..=255).collect::<Vec<u8>>()[..],
        b"\0\0\0\xff\xfe\x1b[31m\x1b]0;title\x07\r\r\n\n\x1b[\x1b\x9b%%%s\xc3(\xed\xa0\x80",
        &VALUE.as_bytes()[..20],
        &[b'\n'; 5000],
        &[b'='; 5000],
    ]
    .concat();
    for (what, bytes) in [("random", random), ("hostile", hostile.repeat(50)), ("nothing", Vec::new())] {
        let file = session.path("bytes");
        fs::write(&file, &bytes).unwrap();
        let file = file.to_str().unwrap();
        let Ran(exec) = run(&mut session.exec(&[], &["sh", "-c", "cat \"$0\" & cat \"$0\" >&2; wait", file]), b"");
        assert!(exec.stdout == bytes && exec.stderr == bytes, "exec, {what}");
        for flags in [&[][..], &["--terminal"]] {
            let Ran(redact) = run(session.redact().args(flags).stdin(File::open(file).unwrap()), b"");
            assert!(redact.status.success() && redact.stdout.is_empty(), "world::run pipes");
            let output = session.redact().args(flags).stdin(File::open(file).unwrap()).output().unwrap();
            assert!(output.stdout == bytes && output.stderr.is_empty(), "redact {flags:?}, {what}");
        }
    }
}

/// `head` has enough: the command is told as it would be without us, by its next write.
#[test]
fn who_reads_goes_away() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    for (what, mut child) in
        [("yes", started(&mut session.exec(&[], &["yes"]))), ("redact", started(session.redact().stdin(Stdio::null())))]
    {
        let mut stdin = child.stdin.take().unwrap();
        let feeding = thread::spawn(move || while stdin.write_all(&[b'y'; 4096]).is_ok() {});
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 4]).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        let expected = if what == "yes" { 141 } else { 0 };
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(expected), &b""[..]), "{what}");
        feeding.join().unwrap();
    }
}

/// Nobody waits for what a command leaves in the background, and what that prints later is masked all the same.
#[test]
fn a_child_in_the_background_holds_the_output() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let fifo = session.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = "(read go < \"$0\"; echo \"late $API_KEY\"; echo \"late $API_KEY\" >&2) & echo early; exit 5";
    let mut child = started(&mut session.exec(&[], &["sh", "-c", script, fifo.to_str().unwrap()]));
    let mut stdout = child.stdout.take().unwrap();
    assert_eq!(read_until(&mut stdout, "\n"), "early\n");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    fs::write(&fifo, "go\n").unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    stdout.read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("late [keyfob:API_KEY]\n", "late [keyfob:API_KEY]\n"));
}

#[test]
fn signals_are_passed_on() {
    let session = Session::new(&[]);
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2] {
        let name = signal.as_str().trim_start_matches("SIG");
        let script = format!("trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.01; done");
        let mut child = started(&mut session.exec(&[], &["bash", "-c", &script]));
        let mut stdout = child.stdout.take().unwrap();
        read_until(&mut stdout, "ready\n");
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(read_until(&mut stdout, "\n"), "got\n", "{name}");
        assert_eq!(child.wait().unwrap().code(), Some(9), "{name}");
    }
}

/// nohup: what was to be ignored is ignored by the command too, and does not end us.
#[test]
fn what_was_ignored_stays_ignored() {
    let session = Session::new(&[]);
    let script = "trap '' HUP; exec \"$0\" exec --dir \"$1\" -- sh -c 'echo ready; read line; echo alive'";
    let mut child = started(Command::new("sh").args(["-c", script, AGENT, &session.run_dir()]));
    let mut stdout = child.stdout.take().unwrap();
    read_until(&mut stdout, "ready\n");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(read_until(&mut stdout, "\n"), "alive\n");
    assert!(child.wait().unwrap().success());
}

/// A parent that ignores SIGCHLD must not keep us from seeing the command's end.
#[test]
fn a_parent_that_ignores_its_children() {
    let session = Session::new(&[]);
    let script = "trap '' CHLD; exec \"$0\" exec --dir \"$1\" -- sh -c 'exit 7'";
    let ran = run(Command::new("bash").args(["-c", script, AGENT, &session.run_dir()]), b"");
    assert_eq!(ran.code(), 7, "{}", ran.stderr());
}

#[test]
fn killed_we_take_the_command_with_us() {
    let session = Session::new(&[]);
    let mut child = started(&mut session.exec(&[], &["sh", "-c", "echo $$; exec sleep 1000"]));
    let pid: i32 = read_until(child.stdout.as_mut().unwrap(), "\n").trim().parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the command's end", || screen::state(pid).is_none_or(|state| state == 'Z'));
}

/// Closed, unless somebody says otherwise.
#[test]
fn without_fingerprints_nothing_is_run() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    for damage in ["missing", "foreign"] {
        match damage {
            "missing" => fs::remove_file(session.path("run/fingerprints")).unwrap(),
            _ => fs::write(session.path("run/fingerprints"), "not ours").unwrap(),
        }
        let ran = run(&mut session.exec(&[], &["echo", "it ran"]), b"");
        assert_eq!((ran.code(), ran.stdout().as_str()), (1, ""), "{damage}");
        assert!(ran.stderr().contains("--no-redact"), "{damage}: {}", ran.stderr());
        let ran = run(&mut session.redact(), VALUE.as_bytes());
        assert_eq!((ran.code(), ran.stdout().as_str()), (1, ""), "{damage}");
        assert!(ran.stderr().contains("keyfob-agent"), "{damage}: {}", ran.stderr());
        assert_eq!(run(&mut session.exec(&["--no-redact"], &["echo", "it ran"]), b"").ok(), "it ran\n");
    }
}

/// What the agent is asked at its socket.
fn served(session: &Session) -> tokio::sync::mpsc::Receiver<Request> {
    let socket = local::path(&session.path("run"));
    fs::create_dir(socket.parent().unwrap()).unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    tokio::spawn(local::serve(&socket, None, sender).unwrap());
    receiver
}

#[tokio::test(flavor = "multi_thread")]
async fn leaks_are_told() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let mut asked = served(&session);
    let script = "echo $API_KEY; echo $API_KEY; echo $API_KEY >&2";
    for (expected, unit, mut command) in
        [(3, "exec", session.exec(&[], &["sh", "-c", script])), (1, "redact", session.redact())]
    {
        let ran = tokio::task::spawn_blocking(move || run(&mut command, VALUE.as_bytes())).await.unwrap();
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
        let mut count = 0;
        while count < expected {
            let Some(Request::Leaks(leaks)) = asked.recv().await else { panic!("not leaks") };
            for leak in leaks {
                assert_eq!((leak.variable.as_str(), leak.version.as_str()), ("API_KEY", "v1"));
                assert!(leak.unit == unit || leak.unit.starts_with(&format!("{unit}/")), "{leak:?}");
                count += leak.count;
            }
        }
        assert_eq!(count, expected, "{unit}");
    }
}

fn file(content: &[u8]) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.into()
}

/// Values that overlap are masked as one: nothing of either is left.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_secret_that_is_not_installed() {
    let session = Arc::new(Session::new(&[("API_KEY", VALUE)]));
    let mut asked = served(&session);
    let overlapping = format!("{}-and-further-on-9Xy", &VALUE[10..]);
    let deploy = overlapping.clone();
    tokio::spawn(async move {
        while let Some(request) = asked.recv().await {
            let Request::With { names, reply, .. } = request else { continue };
            let answer = match names[0].as_str() {
                "deploy-key" => Ok(With {
                    variables: vec!["DEPLOY_KEY".into()],
                    lent: local::Lent { environ: file(format!("DEPLOY_KEY={deploy}\0").as_bytes()), files: vec![] },
                    redaction: file(&redaction(&[("API_KEY", VALUE), ("DEPLOY_KEY", &deploy)])),
                }),
                name => Err(local::Refused {
                    message: format!("you have no secret `{name}`: keyfob secret list"),
                    code: "none".into(),
                }),
            };
            reply.send(answer).unwrap();
        }
    });
    let exec = async |flags: &'static [&str], script: &str| {
        let (session, script) = (session.clone(), script.to_owned());
        tokio::task::spawn_blocking(move || run(&mut session.exec(flags, &["bash", "-c", &script]), b"")).await.unwrap()
    };
    let with = &["--with", "deploy-key"];
    let script = format!("echo $DEPLOY_KEY; echo $API_KEY; echo {}$DEPLOY_KEY; ls /proc/self/fd", &VALUE[..10]);
    let descriptors = run(Command::new("bash").args(["-c", "ls /proc/self/fd"]), b"").ok();
    assert_eq!(
        exec(with, &script).await.ok(),
        format!("[keyfob:DEPLOY_KEY]\n[keyfob:API_KEY]\n[keyfob:API_KEY,DEPLOY_KEY]\n{descriptors}")
    );
    let plain = exec(&["--with", "deploy-key", "--no-redact"], "echo $DEPLOY_KEY; ls /proc/self/fd").await;
    assert_eq!(plain.ok(), format!("{overlapping}\n{descriptors}"));
    let refused = exec(&["--with", "no-such"], "echo it ran").await;
    assert_eq!((refused.code(), refused.stdout().as_str()), (1, ""));
    assert!(refused.stderr().contains("you have no secret `no-such`: keyfob secret list"), "{}", refused.stderr());
}

#[test]
fn with_and_nobody_to_ask() {
    let session = Session::new(&[]);
    let ran = run(&mut session.exec(&["--with", "deploy-key"], &["echo", "it ran"]), b"");
    assert_eq!((ran.code(), ran.stdout().as_str()), (1, ""));
    assert!(ran.stderr().contains("systemctl status keyfob-agent"), "{}", ran.stderr());
}
