//! The agent without systemd: where it takes its join string from, what it does when nobody answers, and `exec`.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    thread,
    time::{Duration, Instant},
};

use keyfob::wire::v1::Visibility;
use nix::sched::{CloneFlags, unshare};

use crate::world::{AGENT, AgentRun, KEYFOB, SERVER, World, wait_for};

fn agent(arguments: &[&str]) -> Output {
    Command::new(AGENT).args(arguments).output().expect("keyfob-agent runs")
}

#[test]
fn what_is_refused_says_how_it_is_done() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let files = path("run");
    for (name, text) in
        [("bad.toml", "[boot]\non_failure = 'panic'\n"), ("none.toml", &*format!("[join]\nfile = '{}'\n", path("no")))]
    {
        fs::write(path(name), text).unwrap();
    }
    let join = format!("kfjoin1s_{}", "A".repeat(100));
    fs::write(path("junk"), "hunter2hunter2").unwrap();
    fs::write(path("cut"), &join).unwrap();
    for (what, arguments, code, said) in [
        ("a join string among the arguments", &["run", "--join-file", &join][..], 2, "--join-file FILE"),
        ("as an argument of its own", &["run", &join], 2, "a new session"),
        ("an unknown key", &["--config", &path("bad.toml"), "run", "--dir", &files], 1, "bad.toml"),
        ("a configuration that isn't there", &["--config", &path("x.toml"), "run", "--dir", &files], 1, "x.toml"),
        ("no join string", &["--config", &path("none.toml"), "run", "--dir", &files], 1, "keyfob session create"),
        ("something else", &["run", "--dir", &files, "--join-file", &path("junk")], 1, "starts with `kfjoin1`"),
        ("half a join string", &["run", "--dir", &files, "--join-file", &path("cut")], 1, "damaged"),
        ("no time at all", &["run", "--deadline", "0"], 2, "1..=3600"),
        ("a group that isn't there", &["run", "--dir", &files, "--group", "no-such-group"], 1, "no-such-group"),
        ("exec before the files are there", &["exec", "--dir", &files, "--", "true"], 1, "--wait SECONDS"),
    ] {
        let ran = agent(arguments);
        let printed = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{what}: {printed}");
        assert!(printed.contains(said), "{what}: {printed}");
        assert!(!printed.contains("hunter2") && !printed.contains("AAAAAAAA"), "{what}: {printed}");
    }
}

#[tokio::test]
async fn when_nobody_answers() {
    let mut world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, b"a value of acme").await;
    let [blocked, going_on] = [world.session("", "default").await, world.session("", "default").await];
    world.kill_server();

    let mut blocked = AgentRun::start(&blocked.join, &["--deadline", "1"]);
    let started = Instant::now();
    let (code, printed) = blocked.finish();
    assert_eq!(code, 3, "{printed}");
    assert!(started.elapsed() < Duration::from_secs(15), "{printed}");
    assert!(printed.contains("can't reach the control plane"), "{printed}");
    assert_eq!(fs::read_dir(&blocked.dir).unwrap().count(), 0);

    let mut agent = AgentRun::start(&going_on.join, &["--deadline", "1", "--on-failure", "continue"]);
    wait_for("the problem is told", || agent.dir.join("problem").exists());
    let problem = fs::read_to_string(agent.dir.join("problem")).unwrap();
    assert!(problem.starts_with("Keyfob: this session has no secrets: can't reach the control plane"), "{problem}");
    assert!(!agent.dir.join("env").exists() && agent.child.try_wait().unwrap().is_none());
    world.restart_server();
    wait_for("the files come late", || agent.dir.join("manifest.json").exists());
    assert_eq!(agent.environ()["API_KEY"], b"a value of acme");
    wait_for("the problem is taken back", || !agent.dir.join("problem").exists());
}

#[tokio::test]
async fn a_stopped_agent_wipes_and_a_killed_one_leaves_its_files_whole() {
    let world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, b"a value of acme").await;
    for (signal, left) in [(nix::sys::signal::SIGTERM, false), (nix::sys::signal::SIGKILL, true)] {
        let mut agent = AgentRun::start(&world.session("", "default").await.join, &[]);
        wait_for("files", || agent.dir.join("manifest.json").exists());
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(agent.child.id() as i32), signal).unwrap();
        let ended = agent.child.wait().unwrap();
        assert_eq!((ended.success(), ended.signal().is_some()), (!left, left));
        assert_eq!(agent.dir.join("environ").exists(), left, "{signal}");
        if left {
            assert_eq!(agent.environ()["API_KEY"], b"a value of acme");
        }
    }
}

#[tokio::test]
async fn exec_gives_a_command_the_variables() {
    let world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, b"it's\n\"quoted\" = $HOME").await;
    let mut run = AgentRun::start(&world.session("", "default").await.join, &["--once"]);
    run.succeed();
    let dir = run.dir.to_str().unwrap();
    for (command, code, printed) in [
        (&["sh", "-c", "printf %s \"$API_KEY\""][..], 0, "it's\n\"quoted\" = $HOME"),
        (&["sh", "-c", "exit 7"], 7, ""),
        (&["sh", "-c", "echo \"$0 $1\"", "--dir", "--wait"], 0, "--dir --wait\n"), // the command's own flags
        (&["/nonexistent/program"], 127, ""),
        (&["/etc/passwd"], 126, ""),
    ] {
        let ran = agent(&[&["exec", "--no-redact", "--dir", dir, "--"][..], command].concat());
        assert_eq!(ran.status.code(), Some(code), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(String::from_utf8_lossy(&ran.stdout), printed, "{command:?}");
    }
}

/// Firecracker's metadata service, on its own address in a network of its own: a token first, then the join string.
#[test]
fn a_join_string_by_mmds() {
    if !nix::unistd::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "not tested: MMDS; a network namespace takes root");
        return;
    }
    // This thread, and what it starts, is in a network of its own; the rest of the tests are not.
    thread::spawn(in_a_network_of_its_own).join().unwrap();
}

fn in_a_network_of_its_own() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    for words in [&["link", "set", "lo", "up"][..], &["addr", "add", "169.254.169.254/32", "dev", "lo"]] {
        ok(Command::new("ip").args(words));
    }
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let (data, home) = (dir.path().join("data"), dir.path().join("home"));
    let admin = ok(Command::new(SERVER).args(["init", "--org", "acme", "--admin", "root", "--data-dir"]).arg(&data));
    let _server = Served(
        Command::new(SERVER).args(["serve", "--listen", "127.0.0.1:7443", "--data-dir"]).arg(&data).spawn().unwrap(),
    );
    wait_for("the server", || data.join("listening").exists());
    let keyfob = |words: &[&str], stdin: &str| {
        let file = dir.path().join("stdin");
        fs::write(&file, stdin).unwrap();
        ok(Command::new(KEYFOB).args(words).env("KEYFOB_HOME", &home).stdin(fs::File::open(&file).unwrap()))
    };
    keyfob(&["login", "--join-file", "-"], &admin);
    keyfob(&["secret", "create", "api-key", "--shared", "--value-file", "-"], "a value of acme");
    let made: serde_json::Value =
        serde_json::from_str(&keyfob(&["session", "create", "--user", "root", "-o", "json"], "")).unwrap();
    let join = made["join"].as_str().unwrap().to_owned();

    let listener = TcpListener::bind("169.254.169.254:80").unwrap();
    let service = thread::spawn(move || metadata_service(&listener, &join));
    let (config, files) = (dir.path().join("agent.toml"), dir.path().join("run"));
    fs::write(&config, format!("[join]\nfile = '{}'\nmmds = true\n", dir.path().join("no").display())).unwrap();
    ok(Command::new(AGENT)
        .arg("--config")
        .arg(&config)
        .args(["run", "--once", "--allow-swappable", "--dir"])
        .arg(&files)
        .env_remove("CREDENTIALS_DIRECTORY"));
    assert_eq!(fs::read(files.join("environ")).unwrap(), b"API_KEY=a value of acme\0");
    assert_eq!(service.join().unwrap(), ["PUT /latest/api/token", "GET / 401", "GET /keyfob/join"]);
}

/// Version 2 of the protocol: nothing is told to those who bring no token of an earlier PUT. Gives what it was asked.
fn metadata_service(listener: &TcpListener, join: &str) -> Vec<String> {
    // Somebody in the VM asks in the old way meanwhile.
    let old = thread::spawn(|| {
        let mut tcp = std::net::TcpStream::connect("169.254.169.254:80").unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut reply = String::new();
        tcp.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 401"), "{reply}");
    });
    let mut asked = Vec::new();
    while asked.len() < 3 {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut request = vec![0; 2048];
        let read = tcp.read(&mut request).unwrap();
        let request = String::from_utf8(request[..read].to_vec()).unwrap();
        let has = |header: &str| request.to_lowercase().contains(&format!("\r\n{header}"));
        let line = request.split(" HTTP").next().unwrap().to_owned();
        let (status, body) = match line.as_str() {
            "PUT /latest/api/token" if has("x-metadata-token-ttl-seconds: ") => ("200", "s3ss10n=="),
            "GET /keyfob/join" if has("x-metadata-token: s3ss10n==\r\n") => ("200", join),
            _ => ("401", ""),
        };
        let reply =
            format!("HTTP/1.1 {status} \r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n{body}", body.len());
        tcp.write_all(reply.as_bytes()).unwrap();
        asked.push(if status == "401" { format!("{line} 401") } else { line });
    }
    old.join().unwrap();
    asked.sort_by_key(|line| (!line.starts_with("PUT"), line.len() > 9));
    asked
}

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ok(command: &mut Command) -> String {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// What an agent without privilege needs done for it: the mount is there for it, stays while it holds files, and goes then.
#[test]
fn mount_and_unmount() {
    if !nix::unistd::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "not tested: mounting takes root");
        return;
    }
    let parent = tempfile::tempdir_in("/dev/shm").unwrap();
    let dir: PathBuf = parent.path().join("keyfob");
    let (path, mounted) = (dir.to_str().unwrap(), |dir: &Path| {
        fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&format!(" {} ", dir.display()))
    });
    for round in 0..2 {
        let ran = agent(&["mount", "--dir", path, "--user", "65534", "--group", "65534"]);
        assert!(ran.status.success(), "round {round}: {}", String::from_utf8_lossy(&ran.stderr));
        let meta = fs::metadata(&dir).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (65534, 65534, 0o750));
        assert!(mounted(&dir));
    }
    for (file, stays) in [(Some("environ"), true), (None, false)] {
        let path_of = dir.join("environ");
        match file {
            Some(_) => fs::write(&path_of, "A=1\0").unwrap(),
            None => fs::remove_file(&path_of).unwrap(),
        }
        let ran = agent(&["unmount", "--dir", path]);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(mounted(&dir), stays);
    }
    assert!(agent(&["unmount", "--dir", path]).status.success(), "again, when nothing is mounted");
}
