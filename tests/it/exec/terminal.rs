//! `exec` on a terminal: a command on one of its own can't tell the difference, and whoever sits there neither.

use std::{
    fs,
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

use nix::sys::signal::{Signal, kill};

use super::{
    Session, VALUE,
    screen::{Screen, state},
};
use crate::world::{AGENT, wait_for};

impl Session {
    /// `exec` with a terminal of its own to be on.
    fn on_screen(&self, command: &[&str]) -> Screen {
        let dir = self.run_dir();
        Screen::start(&[&[AGENT, "exec", "--dir", &dir, "--"], command].concat())
    }

    /// What is typed at a prompt for that.
    fn line(&self, command: &str) -> String {
        format!("{AGENT} exec --dir {} -- {command}", self.run_dir())
    }
}

#[test]
fn it_is_a_terminal_of_its_own_of_the_same_size() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let script = "test -t 0 && test -t 1 && test -t 2 && echo three; stty size; tty; echo \"$API_KEY\"; \
                  trap 'stty size' WINCH; echo ready; while :; do read -t 0.01 x; done";
    let mut screen = session.on_screen(&["bash", "-c", script]);
    let first = screen.wait_for("ready\r\n");
    assert!(first.starts_with("three\r\n24 80\r\n/dev/pts/"), "{first:?}");
    assert!(first.ends_with("\r\n[keyfob:API_KEY]\r\nready\r\n"), "{first:?}");
    assert!(screen.is_raw());
    screen.resize(50, 132);
    screen.wait_for("50 132\r\n");
    screen.send("\x03");
    let (status, _) = screen.finish();
    assert_eq!(status.signal(), Some(2));
    assert!(screen.is_as_it_was());
}

#[test]
fn a_command_ends_on_a_terminal_as_it_would_without_us() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    for (script, code, signal, shown) in [
        ("echo hello", Some(0), None, "hello\r\n"),
        ("exit 7", Some(7), None, ""),
        ("printf tail; kill -TERM $$", None, Some(15), "tail"),
        ("kill -KILL $$", None, Some(9), ""),
        ("printf %s \"$API_KEY\"; exit 3", Some(3), None, "[keyfob:API_KEY]"),
        ("sleep 1000 & echo over", Some(0), None, "over\r\n"), // nobody waits for it
        ("exec no-such-program 2>/dev/null", Some(127), None, ""),
    ] {
        let mut screen = session.on_screen(&["bash", "-c", script]);
        let (status, rest) = screen.finish();
        assert_eq!((status.code(), status.signal(), rest.as_str()), (code, signal, shown), "{script}");
        assert!(screen.is_as_it_was(), "{script}");
    }
    let (status, said) = session.on_screen(&["no-such-program"]).finish();
    assert_eq!(status.code(), Some(127));
    assert!(said.starts_with("keyfob-agent: no-such-program: "), "{said}");
}

#[test]
fn signals_sent_to_us_reach_the_command() {
    let session = Session::new(&[]);
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2] {
        let name = signal.as_str().trim_start_matches("SIG");
        let script = format!("trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.01; done");
        let mut screen = session.on_screen(&["bash", "-c", &script]);
        screen.wait_for("ready\r\n");
        assert!(screen.is_raw());
        kill(screen.pid(), signal).unwrap();
        screen.wait_for("got\r\n");
        assert_eq!(screen.finish().0.code(), Some(9), "{name}");
        assert!(screen.is_as_it_was(), "{name}");
    }
}

/// The keys of job control, at a real shell, as often as one likes.
#[test]
fn stopped_and_continued_by_a_shell() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let mut screen = Screen::shell();
    screen.enter(&session.line("sh -c 'echo $$ one; read x; echo \"got $x $API_KEY\"; exit 6'"));
    let pid: i32 = screen.wait_for(" one\r\n").trim().trim_end_matches(" one").parse().unwrap();
    for _ in 0..3 {
        screen.send("\x1a");
        screen.wait_for("Stopped");
        screen.wait_for("$ ");
        assert!(screen.is_as_it_was());
        screen.enter("fg");
        screen.wait_for("exit 6'\r\n"); // what bash says that it continues
        // What is typed before it goes on is lost: going on, the kernel forgets that it was to stop.
        wait_for("it goes on with the keys", || screen.is_raw() && state(pid) == Some('S'));
    }
    screen.send("typed\r");
    screen.wait_for("got typed [keyfob:API_KEY]\r\n");
    screen.wait_for("$ ");
    screen.enter("echo code=$?");
    screen.wait_for("code=6\r\n");
    screen.send("exit\r");
    assert!(screen.finish().0.success());
}

/// By `read`, as dash loses signals while it starts a program.
#[test]
fn interrupted_at_a_shell() {
    let session = Session::new(&[]);
    let mut screen = Screen::shell();
    screen.enter(&session.line("sh -c 'echo one; read x'"));
    screen.wait_for("one\r\n");
    screen.send("\x03");
    screen.wait_for("$ ");
    screen.enter("echo code=$?");
    screen.wait_for("code=130\r\n");
    assert!(screen.is_as_it_was());
}

/// In the background it prints, and is stopped when it wants the keys.
#[test]
fn started_and_sent_into_the_background() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let mut screen = Screen::shell();
    screen.enter(&session.line("sh -c 'echo \"one $API_KEY\"; read x; echo \"got $x\"' &"));
    screen.wait_for("one [keyfob:API_KEY]");
    // A shell tells of its jobs before its prompt.
    loop {
        screen.send("\r");
        if screen.wait_for("$ ").contains("Stopped") {
            break;
        }
    }
    assert!(screen.is_as_it_was());
    screen.enter("fg");
    wait_for("the keys are ours", || screen.is_raw());
    screen.send("typed\r");
    screen.wait_for("got typed\r\n");
    screen.wait_for("$ ");

    screen.enter(&session.line("sh -c 'echo two; sleep 1000'"));
    screen.wait_for("two\r\n");
    screen.send("\x1a");
    screen.wait_for("Stopped");
    screen.wait_for("$ ");
    screen.enter("bg");
    screen.wait_for("$ ");
    screen.enter("kill %1; wait %1; echo code=$?");
    screen.wait_for("code=143\r\n");
    assert!(screen.is_as_it_was());
}

/// A shell with jobs of its own, inside.
#[test]
fn a_shell_in_it_has_its_own_jobs() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let mut screen = session.on_screen(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
    screen.wait_for("$ ");
    screen.enter("sh -c 'echo o''ne; read x; echo \"got $x $API_KEY\"'");
    screen.wait_for("one\r\n");
    screen.send("\x1a");
    screen.wait_for("Stopped");
    screen.wait_for("$ ");
    screen.enter("fg");
    screen.send("typed\r");
    screen.wait_for("got typed [keyfob:API_KEY]\r\n");
    screen.wait_for("$ ");
    screen.send("exit 4\r");
    assert_eq!(screen.finish().0.code(), Some(4));
}

#[test]
fn prompts_and_passwords() {
    let session = Session::new(&[]);
    let script = "read -p 'Name? ' name; read -s -p 'Password? ' word; echo; echo \"<$name> <${#word}>\"";
    let mut screen = session.on_screen(&["bash", "-c", script]);
    screen.wait_for("Name? "); // without a newline after it
    screen.send("alice\r");
    assert_eq!(screen.wait_for("Password? "), "alice\r\nPassword? ");
    screen.send("hunter2\r");
    let (status, rest) = screen.finish();
    assert!(status.success());
    assert_eq!(rest, "\r\n<alice> <7>\r\n");
}

/// Colours inside a value, and a value that the terminal's line ends go through.
#[test]
fn values_as_a_terminal_shows_them() {
    let lines = "first-line-of-it-9f8Q7w6E5r4T\nsecond-line-3y2U1i0P5z7X";
    let session = Session::new(&[("API_KEY", VALUE), ("CERT", lines)]);
    let script =
        "printf 'a\\033[31m%s\\033[32m%s\\033[0mz\\n' \"${API_KEY:0:9}\" \"${API_KEY:9}\"; printf '%s\\n' \"$CERT\"";
    let (_, shown) = session.on_screen(&["bash", "-c", script]).finish();
    assert!(shown.contains("[keyfob:API_KEY]") && shown.contains("[keyfob:CERT]"), "{shown:?}");
    for part in [&VALUE[..9], &VALUE[9..], "first-line", "second-line"] {
        assert!(!shown.contains(part), "{shown:?}");
    }
}

/// Programs that paint: nothing of theirs is changed on the way, in either direction.
#[test]
fn programs_that_take_the_whole_screen() {
    let session = Session::new(&[]);
    let text: String = (1..=200).map(|n| format!("line {n} of it\n")).collect();
    fs::write(session.path("text"), &text).unwrap();
    let file = session.path("text").to_str().unwrap().to_owned();
    let mut screen = session.on_screen(&["less", &file]);
    screen.wait_for("line 23 of it");
    screen.send("G");
    screen.wait_for("line 200 of it");
    screen.send("q");
    assert!(screen.finish().0.success() && screen.is_as_it_was());

    let mut screen = session.on_screen(&["vim", "-u", "NONE", "-N", &file]);
    screen.wait_for("line 20 of it");
    screen.send("ggA and more\x1b:wq\r");
    assert!(screen.finish().0.success() && screen.is_as_it_was());
    assert!(fs::read_to_string(&file).unwrap().starts_with("line 1 of it and more\nline 2"));
}

#[test]
fn raw_bytes_both_ways() {
    let session = Session::new(&[]);
    let out: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = session.path("bytes");
    fs::write(&file, &out).unwrap();
    let script = "stty raw -echo; printf '<'; head -c 1000000 | md5sum; cat \"$0\"; printf '>>'";
    let mut screen = session.on_screen(&["sh", "-c", script, file.to_str().unwrap()]);
    screen.wait_for("<");
    let typed = "all sorts of \x03\x1a\x04\x1c\x11\x13\r\n\x7f keys ".repeat(40_000);
    screen.send(&typed[..1_000_000]);
    screen.wait_for("-\n");
    let sum = Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut sum.stdin.as_ref().unwrap(), &typed.as_bytes()[..1_000_000]).unwrap();
    let sum = sum.wait_with_output().unwrap();
    let shown = screen.shown.len();
    let (status, _) = screen.finish();
    assert!(status.success());
    let all = &screen.shown;
    assert!(memchr::memmem::find(all, &sum.stdout).is_some(), "what was typed; {shown} shown");
    let end = all.len() - 2;
    assert!(all[end..] == *b">>" && all[end - out.len()..end] == out, "what was printed");
}

/// Each of the three is a terminal for the command if it is one for us, and two streams stay two.
#[test]
fn some_are_terminals_and_some_are_not() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let file = session.path("file");
    for (redirected, terminals, out_shown, err_shown) in [
        ("", "012", true, true),
        ("</dev/null", "12", true, true),
        ("2>FILE", "01", true, false),
        (">FILE", "02", false, true),
        ("</dev/null >FILE", "2", false, true),
        (">FILE 2>&1", "0", false, false),
    ] {
        let script = "for n in 0 1 2; do test -t $n && t=$t$n; done; echo out $API_KEY $t.; echo err $API_KEY $t. >&2";
        let line = session.line(&format!("sh -c '{script}' {redirected}; echo ended=$?"));
        let _ = fs::remove_file(&file);
        let mut screen = Screen::start(&["sh", "-c", &line.replace("FILE", file.to_str().unwrap())]);
        let (_, shown) = screen.finish();
        let written = fs::read_to_string(&file).unwrap_or_default();
        for (stream, is_shown) in [("out", out_shown), ("err", err_shown)] {
            let line = format!("{stream} [keyfob:API_KEY] {terminals}.");
            let found = (shown.contains(&line), written.contains(&line));
            assert_eq!(found, (is_shown, !is_shown), "{redirected}: {stream}: {shown:?} {written:?}");
        }
        assert!(shown.contains("ended=0") && !written.contains('\r'), "{redirected}: {shown:?}");
        assert!(screen.is_as_it_was(), "{redirected}");
    }
}

/// What is piped into a pager is its input, and its keys come from the terminal nevertheless.
#[test]
fn a_pager_at_the_end_of_a_pipe() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let mut screen = Screen::shell();
    screen.enter(&format!("seq 1000 | sed \"s/$/ {VALUE}/\" | {}", session.line("less")));
    screen.wait_for("23 [keyfob:API_KEY]");
    screen.send("G");
    screen.wait_for("1000 [keyfob:API_KEY]");
    screen.send("q");
    screen.wait_for("$ ");
    screen.enter("echo code=$?");
    screen.wait_for("code=0\r\n");
    assert!(screen.is_as_it_was());
}

/// What stands before it in a pipeline has the keys, and `^C` and `^Z` are for all of them.
#[test]
fn in_the_midst_of_a_pipeline() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let mut screen = Screen::shell();
    screen.enter(&format!("cat | {}", session.line("sed \"s/x/$API_KEY/\"")));
    screen.send("y\r");
    screen.wait_for("y\r\n"); // its echo
    screen.wait_for("y\r"); // and what came of it, with a `\r` too many from each of the two terminals
    screen.send("\x1a");
    screen.wait_for("Stopped");
    screen.wait_for("$ ");
    screen.enter("fg");
    screen.wait_for("s/x");
    screen.send("z\r");
    screen.wait_for("z\r\n");
    screen.wait_for("z\r");
    screen.send("\x03");
    screen.wait_for("$ ");
    assert!(screen.is_as_it_was());
}

#[test]
fn the_window_is_closed() {
    let session = Session::new(&[]);
    let said = session.path("said");
    let script = "trap 'echo hung up > \"$0\"; exit' HUP; echo $$ ready; while :; do sleep 0.01; done";
    let mut screen = session.on_screen(&["bash", "-c", script, said.to_str().unwrap()]);
    screen.wait_for("ready\r\n");
    screen.hang_up();
    wait_for("it is told", || fs::read_to_string(&said).is_ok_and(|said| said == "hung up\n"));
    screen.child.wait().unwrap();
}

/// Killed, we can restore nothing, but the command is hung up, as if its window had been closed.
#[test]
fn killed_on_a_terminal() {
    let session = Session::new(&[]);
    let mut screen = session.on_screen(&["sh", "-c", "echo pid $$ ready; exec sleep 1000"]);
    let shown = screen.wait_for("ready\r\n");
    let pid: i32 = shown.split(' ').nth(1).unwrap().parse().unwrap();
    kill(screen.pid(), Signal::SIGKILL).unwrap();
    screen.child.wait().unwrap();
    wait_for("the command's end", || state(pid).is_none_or(|state| state == 'Z'));
}

/// A terminal that controls no session of ours (a service's): no job control, and all the rest.
#[test]
fn a_terminal_without_job_control() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let dir = session.run_dir();
    let words = ["setsid", "--wait", AGENT, "exec", "--dir", &dir, "--", "bash", "-c"];
    let script = "read -p 'Name? ' name; echo \"$name $API_KEY\"; exit 3";
    let mut screen = Screen::start(&[&words[..], &[script]].concat());
    screen.wait_for("Name? ");
    screen.send("alice\r");
    screen.wait_for("alice [keyfob:API_KEY]\r\n");
    assert_eq!(screen.finish().0.code(), Some(3));
}

/// A terminal's output in a file, piped afterwards.
#[test]
fn redact_reads_what_a_terminal_showed() {
    let session = Session::new(&[("API_KEY", VALUE)]);
    let shown = format!("a\x1b[31m{}\x1b[0m{}z\r\n", &VALUE[..9], &VALUE[9..]);
    fs::write(session.path("typescript"), shown).unwrap();
    let mut redact = Command::new(AGENT);
    redact.args(["redact", "--terminal", "--dir"]).arg(session.path("run"));
    redact.stdin(fs::File::open(session.path("typescript")).unwrap()).stdout(Stdio::piped());
    let mut child = redact.spawn().unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(child.wait().unwrap().success() && out.contains("[keyfob:API_KEY]"), "{out:?}");
}
