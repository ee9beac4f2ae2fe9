//! `keyfob demo`, the whole of it: the command's exit code, the variables it sees, and that nothing stays behind, whatever
//! ends it and whenever.

use std::{
    fs,
    process::{Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{cli::Terminal, world::KEYFOB};

/// A machine of its own, as far as a demo sees: its directories, and every process that knows of them.
struct Place {
    disk: TempDir,
    memory: TempDir,
}

impl Place {
    fn new() -> Self {
        let memory =
            tempfile::Builder::new().prefix("kf-demo-test-").tempdir_in("/dev/shm").expect("/dev/shm is there");
        Self { disk: tempfile::tempdir().expect("a temporary directory"), memory }
    }

    fn demo(&self, arguments: &[&str]) -> Command {
        let mut demo = Command::new(KEYFOB);
        demo.arg("demo").args(arguments).env("TMPDIR", self.disk.path()).env("XDG_RUNTIME_DIR", self.memory.path());
        demo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        demo
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.demo(arguments).output().expect("keyfob starts")
    }

    /// What is left of it: files, and processes by their command line or environment.
    fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for dir in [&self.disk, &self.memory] {
            left.extend(fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.path().display().to_string()));
        }
        let marks = [self.disk.path(), self.memory.path()].map(|p| p.display().to_string());
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let read = |file: &str| {
                fs::read(process.path().join(file))
                    .map(|b| String::from_utf8_lossy(&b).into_owned())
                    .unwrap_or_default()
            };
            let text = read("cmdline") + &read("environ");
            if marks.iter().any(|mark| text.contains(mark)) {
                left.push(format!("process {}: {}", process.file_name().display(), read("cmdline").replace('\0', " ")));
            }
        }
        left
    }

    fn assert_clean(&self, after: &str) {
        assert_eq!(self.leftovers(), Vec::<String>::new(), "left behind after {after}");
    }

    /// For ends that nobody can wait for: the demo itself was killed.
    fn await_clean(&self, after: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.leftovers().is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.assert_clean(after);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_command_sees_the_variables_and_gives_the_exit_code() {
    let place = Place::new();
    let file = place.disk.path().join("demo.env");
    fs::write(&file, "OPENAI_API_KEY=\"it's \\\"here\\\"\"\nDB_URL=postgres://x\n").unwrap();
    let from = file.to_str().unwrap();
    for (script, code, stdout) in [
        ("printf '%s|%s' \"$OPENAI_API_KEY\" \"$DB_URL\"", 0, "it's \"here\"|postgres://x"),
        ("exit 7", 7, ""),
        ("kill -TERM $$", 143, ""),
        // While the command runs, Ctrl-C is the command's.
        ("kill -INT $PPID; kill -QUIT $PPID; sleep 0.1; exit 5", 5, ""),
        // The directories are the user's alone, and the values are not on disk.
        ("stat -c %a \"$TMPDIR\"/keyfob-demo-* \"$XDG_RUNTIME_DIR\"/keyfob-demo-*", 0, "700\n700\n"),
        ("grep -rl postgres://x \"$TMPDIR\"/keyfob-demo-*; true", 0, ""),
        // The shell is logged in.
        ("\"$0\" secret list -o json | grep -c '\"name\"'", 0, "2\n"),
    ] {
        let ran = place.run(&["--from", from, "--", "sh", "-c", script, KEYFOB]);
        assert_eq!(
            (ran.status.code(), text(&ran.stdout)),
            (Some(code), stdout.to_owned()),
            "{script}: {}",
            text(&ran.stderr)
        );
        let told = text(&ran.stderr);
        assert!(
            ["server", "login", "secrets", "session", "agent", "ready in "].iter().all(|step| told.contains(step)),
            "{told}"
        );
        assert!(!told.contains("postgres://x"), "{told}");
        fs::remove_file(&file).unwrap();
        place.assert_clean(script);
        fs::write(&file, "OPENAI_API_KEY=\"it's \\\"here\\\"\"\nDB_URL=postgres://x\n").unwrap();
    }
    for (arguments, code, says) in [
        (&["--from", from, "--", "/nowhere/program"][..], 127, "can't run /nowhere/program"),
        (&["--from", "/nowhere/file"], 1, "/nowhere/file: No such file"),
        (&["--", "true"], 0, "the demo makes up a secret"),
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.status.code(), Some(code), "{}", text(&ran.stderr));
        assert!(text(&ran.stderr).contains(says), "{}", text(&ran.stderr));
    }
}

#[test]
fn bad_lines_are_all_told_before_anything_is_started() {
    let place = Place::new();
    let file = place.disk.path().join("demo.env");
    fs::write(&file, "GOOD=hunter22\n1A=hunter22\nEMPTY=\n").unwrap();
    let ran = place.run(&["--from", file.to_str().unwrap(), "--", "true"]);
    let told = text(&ran.stderr);
    assert!(
        ran.status.code() == Some(1)
            && told.contains("line 2: ")
            && told.contains("line 3: ")
            && !told.contains("hunter22"),
        "{told}"
    );
    fs::remove_file(&file).unwrap();
    place.assert_clean("a bad file");
}

/// At a terminal: asked for secrets, a shell, Ctrl-C for what runs in it, and everything is still there afterwards.
#[test]
fn a_person_gets_a_shell() {
    let place = Place::new();
    let mut terminal = Terminal::run(&format!("{KEYFOB} demo"), |c| {
        c.envs([("TMPDIR", place.disk.path()), ("XDG_RUNTIME_DIR", place.memory.path())])
            .envs([("SHELL", "/bin/sh"), ("PS1", "\nsh> ")])
    });
    terminal.wait_for("Name (such as openai-api-key): ");
    terminal.type_in("openai-api-key\n");
    terminal.answer_hidden("Value of $OPENAI_API_KEY: ", "sk-typed-0123");
    for (name, says) in
        [("openai_api_key", "$OPENAI_API_KEY is taken already"), ("1", "use 1 to 128 letters"), ("", "ready in ")]
    {
        terminal.wait_for("Name (such as openai-api-key): ");
        terminal.type_in(&format!("{name}\n"));
        terminal.wait_for(says);
    }
    terminal.wait_for("`exit` ends the demo");
    for (keys, says) in [
        ("printf '<%s>\\n' \"$OPENAI_API_KEY\"\n", "<sk-typed-0123>"),
        ("sh -c 'echo sleeping$((1+1)); exec sleep 600'\n", "sleeping2"),
        ("\u{3}echo awake$((1+1))\n", "awake2"),
    ] {
        terminal.type_in(keys);
        terminal.wait_for(says);
    }
    terminal.type_in(&format!("{KEYFOB} secret list -o json | grep -c '\"name\"' | sed s/^/count=/; false; exit\n"));
    let (code, screen) = terminal.finish();
    assert!(screen.contains("count=1"), "the shell is not logged in: {screen}");
    assert_eq!(code, 0, "{screen}");
    place.assert_clean("a shell");
}

/// Ctrl-C reaches everything in the terminal's foreground; server and agent are not there.
#[test]
fn a_typed_interrupt_is_the_command_s() {
    let place = Place::new();
    let dir = place.disk.path().display();
    // One process announces itself and sleeps: the signal finds it, however early it comes.
    let script = "trap 'echo trapped' INT\nsh -c 'echo go; exec sleep 600'\n\"$1\" secret list -o json | grep -c '\"name\"'\nexit 9\n";
    for (file, text) in [("script", script), ("env", "DEMO_API_KEY=0123456789\n")] {
        fs::write(place.disk.path().join(file), text).unwrap();
    }
    let mut terminal = Terminal::run(&format!("{KEYFOB} demo --from {dir}/env -- sh {dir}/script {KEYFOB}"), |c| {
        c.envs([("TMPDIR", place.disk.path()), ("XDG_RUNTIME_DIR", place.memory.path())])
    });
    terminal.wait_for("go\r\n");
    terminal.type_in("\u{3}");
    let (code, screen) = terminal.finish();
    assert_eq!(code, 9, "{screen}");
    assert!(screen.contains("trapped\r\n1\r\n"), "the server did not outlive the Ctrl-C: {screen}");
    for file in ["script", "env"] {
        fs::remove_file(place.disk.path().join(file)).unwrap();
    }
    place.assert_clean("an interrupt");
}

#[test]
fn a_signal_to_the_demo_ends_all_of_it() {
    for (signal, ends) in [("TERM", Some(143)), ("HUP", Some(129)), ("KILL", None)] {
        let place = Place::new();
        let script = format!("kill -{signal} $PPID; exec sleep 600");
        // Without pipes: a process that is left must not keep this waiting for their end.
        let status =
            place.demo(&["--", "sh", "-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), ends, "{signal}");
        // A demo that could still act has waited for everything; after kill -9 the kernel and the sweeper do it.
        if ends.is_some() { place.assert_clean(signal) } else { place.await_clean(signal) }
    }
}

#[test]
fn an_interruption_at_any_moment_leaves_nothing() {
    let whole = {
        let place = Place::new();
        let began = Instant::now();
        assert_eq!(place.run(&["--", "true"]).status.code(), Some(0));
        began.elapsed()
    };
    for signal in
        [nix::sys::signal::Signal::SIGINT, nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGKILL]
    {
        for step in 0..12 {
            let place = Place::new();
            let mut demo = place.demo(&["--", "true"]).spawn().expect("keyfob starts");
            std::thread::sleep(whole * step / 11);
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(demo.id() as i32), signal);
            let status: ExitStatus = demo.wait().expect("our own child");
            let after = format!("{signal} at {step}/11 ({status})");
            if signal == nix::sys::signal::Signal::SIGKILL {
                place.await_clean(&after)
            } else {
                place.assert_clean(&after)
            }
        }
    }
}
