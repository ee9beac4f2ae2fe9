//! `keyfob demo`: the whole line, once, on this machine and for real. A server and an agent, each its own process; mTLS
//! between them; an embedded store; sealed values; files in memory; and at the end a shell that has the variables.
//!
//! What people are asked for is asked before anything exists, so an interruption there needs no care. From then on every
//! way out goes through the end of [`run`], and where even that is cut short, through [`super::stage`]'s sweeper.

use std::{
    cell::Cell,
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    future::Future,
    io::{self, IsTerminal, Write},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout},
    signal::unix::{Signal, SignalKind, signal},
};
use zeroize::Zeroizing;

use super::{
    args,
    failure::{Done, Failure},
    home::Home,
    import::{self, Item},
    input, login,
    output::Out,
    remote::Remote,
    secret,
    stage::Stage,
};
use crate::{
    domain::{
        join::{Audience, Join},
        name::{Id, SecretName, UserName},
        plain::plain,
        value::{self, Delivery, Value},
        variable::variable_of,
    },
    wire::v1,
};

const ORG: &str = "demo";
/// How long a part may take for what takes it milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn run(out: &Out, args: args::Demo) -> Done<ExitCode> {
    let _ = nix::sys::prctl::set_dumpable(false); // more would be inherited by the shell
    let items = gather(out, args.from.as_deref()).await?;
    let mut signals = Signals::catch()?;
    let began = Instant::now();
    let stage = Stage::set()?;
    let mut cast = Cast::default();
    let curtain = Cell::new(false);
    let result = tokio::select! {
        result = play(&stage, &mut cast, &curtain, out, items, &args.command, began) => result,
        interruption = signals.wait(&curtain) => Err(interruption),
    };
    cast.dismiss().await;
    let clean = stage.strike().await;
    if result.is_ok() && !clean {
        return Err(Failure::local("the demo left something behind"));
    }
    result
}

/// From nothing to the command's end.
async fn play(
    stage: &Stage,
    cast: &mut Cast,
    curtain: &Cell<bool>,
    out: &Out,
    items: Vec<Item>,
    command: &[OsString],
    began: Instant,
) -> Done<ExitCode> {
    let me = std::env::var("USER").ok().filter(|name| UserName::parse(name).is_ok()).unwrap_or_else(|| "you".into());
    let data = stage.disk.join("server");

    out.note(&format!("server   a new authority and an embedded store in {}", data.display()));
    let join = init(stage, cast, &data, &me).await?;
    let address = serve(stage, cast, &data).await?;

    out.note(&format!(
        "login    {me}, admin of `{ORG}`, at {address}: a key made here, a certificate for a join string"
    ));
    let login = login::enrol(&join).await?;
    let home = Home::at(stage.disk.join("home"));
    home.store(&login)?;
    let remote = Remote::with(&login).await?;

    let count = items.len();
    let reply = import::send(&remote, out, &items, v1::Visibility::Private, false, false).await?;
    import::refuse_problems(&reply)?;
    drop(items);
    out.note(&format!("secrets  {count} saved, each sealed to the server's key before it left this process"));

    let request = v1::CreateSessionRequest { user: me.clone(), environment: "default".into(), join_ttl_seconds: 0 };
    let session = remote.sessions().create_session(request).await?.into_inner();
    let id = session.session.unwrap_or_default().id;
    out.note(&format!("session  {id} of {me} in `default`: one join string, good once"));

    let run_dir = enrol_agent(stage, cast, out, session.join).await?;
    out.note(&format!("agent    joined, fetched one sealed bundle over mTLS, wrote {}", run_dir.display()));

    let environ = Zeroizing::new(
        fs::read(run_dir.join("environ")).map_err(|e| Failure::local(format!("{}: {e}", run_dir.display())))?,
    );
    let variables: Vec<(&OsStr, &OsStr)> = variables(&environ).collect();
    let names: Vec<String> = variables.iter().map(|(name, _)| format!("${}", name.display())).collect();
    out.note(&format!("ready in {:.2} s: {}", began.elapsed().as_secs_f64(), names.join(" ")));

    let shell = [std::env::var_os("SHELL").filter(|s| !s.is_empty()).unwrap_or_else(|| "/bin/sh".into())];
    let interactive = command.is_empty();
    if interactive {
        let first = variables.first().map_or_else(String::new, |(name, _)| format!("printenv {}; ", name.display()));
        let program = std::env::current_exe().map_or_else(|_| "keyfob".into(), |path| path.display().to_string());
        out.note(&format!(
            "this shell has them, and a login. Try: {first}ls -l {}; {program} secret list. `exit` ends the demo and removes everything",
            run_dir.display()
        ));
    }
    let mut started = stage.command(if interactive { &shell } else { command })?;
    started.envs(variables).env("KEYFOB_HOME", home.path());
    curtain.set(true);
    let child = started.spawn().map_err(|e| Failure::local(format!("can't start the command: {e}")))?;
    drop((started, environ));
    let status = cast.enter(child).wait().await.map_err(|e| Failure::local(format!("waiting for the command: {e}")))?;
    Ok(if interactive { ExitCode::SUCCESS } else { exit_code(status) })
}

/// Makes a store and an authority; gives the first admin's join string.
async fn init(stage: &Stage, cast: &mut Cast, data: &Path, admin: &str) -> Done<Join> {
    let mut init = stage.part("__server", "init.log")?;
    init.arg("init").arg("--data-dir").arg(data).args(["--org", ORG, "--admin", admin]).stdout(Stdio::piped());
    let child = cast.enter(init.spawn().map_err(|e| Failure::local(format!("can't start the server: {e}")))?);
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = tokio::io::AsyncReadExt::take(stdout, 4096);
        tokio::io::AsyncReadExt::read_to_end(&mut stdout, &mut text)
            .await
            .map_err(|e| Failure::local(format!("the server: {e}")))?;
    }
    let status = child.wait().await.map_err(|e| Failure::local(format!("waiting for the server: {e}")))?;
    let join = std::str::from_utf8(&text).ok().and_then(|text| Join::parse(text, Audience::User).ok());
    join.filter(|_| status.success()).ok_or_else(|| broken_part(stage, "the server could not be set up", "init.log"))
}

/// Starts the server; gives its address.
async fn serve(stage: &Stage, cast: &mut Cast, data: &Path) -> Done<String> {
    let mut serve = stage.part("__server", "server.log")?;
    serve.arg("serve").arg("--data-dir").arg(data).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    let child = cast.enter(serve.spawn().map_err(|e| Failure::local(format!("can't start the server: {e}")))?);
    let mut lines =
        BufReader::new(child.stdout.take().ok_or_else(|| Failure::local("the server has no stdout"))?).lines();
    let first = in_time(lines.next_line()).await.and_then(Result::ok).flatten();
    cast.server_stdout = Some(lines.into_inner());
    let address = first.as_deref().and_then(|line| line.strip_prefix("listening on ")).map(str::to_owned);
    address.ok_or_else(|| broken_part(stage, "the server did not start", "server.log"))
}

/// Lets the agent do all of its work, once; gives the directory it wrote.
async fn enrol_agent(stage: &Stage, cast: &mut Cast, out: &Out, join: String) -> Done<PathBuf> {
    let join = Zeroizing::new(join);
    let (join_file, dir) = (stage.memory.join("join"), stage.memory.join("run"));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&join_file);
    written
        .and_then(|mut file| file.write_all(join.as_bytes()))
        .map_err(|e| Failure::local(format!("{}: {e}", join_file.display())))?;
    // It looks at the directory before it spends the token, so it may be asked again.
    for more in [None, Some("--mount"), Some("--allow-swappable")] {
        if more.is_some() && !swap_is_active() || more == Some("--mount") && !nix::unistd::geteuid().is_root() {
            continue;
        }
        if more == Some("--allow-swappable") {
            out.note("         this machine swaps, and this user can't mount memory that does not: the files may reach its swap");
        }
        let mut agent = stage.part("__agent", "agent.log")?;
        agent
            .arg("run")
            .arg("--join-file")
            .arg(&join_file)
            .arg("--dir")
            .arg(&dir)
            .args(["--once", "--deadline", "15"])
            .args(more);
        let child = cast.enter(agent.spawn().map_err(|e| Failure::local(format!("can't start the agent: {e}")))?);
        match in_time(child.wait()).await {
            Some(Ok(status)) if status.success() => return Ok(dir),
            Some(_) => {}
            None => break,
        }
    }
    Err(broken_part(stage, "the agent did not get the session's secrets", "agent.log"))
}

fn broken_part(stage: &Stage, what: &str, log: &str) -> Failure {
    let told: Vec<String> = stage.log(log).lines().map(plain).collect();
    Failure::local(format!("{what}:\n{}", if told.is_empty() { "(it said nothing)".into() } else { told.join("\n") }))
}

async fn in_time<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, work).await.ok()
}

/// `NAME=VALUE` and a NUL, again and again.
fn variables(environ: &[u8]) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    environ.split(|b| *b == 0).filter_map(|entry| {
        let at = entry.iter().position(|b| *b == b'=')?;
        Some((OsStr::from_bytes(&entry[..at]), OsStr::from_bytes(&entry[at + 1..])))
    })
}

/// As shells report it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Whether there is anything to swap to.
fn swap_is_active() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
}

// === what the demo starts with

/// Secrets from a file, from a person, or, where there is neither, a made-up one.
async fn gather(out: &Out, from: Option<&Path>) -> Done<Vec<Item>> {
    if let Some(file) = from {
        return import::read(file).await;
    }
    if !io::stdin().is_terminal() {
        out.note("no terminal to ask at and no --from FILE: the demo makes up a secret");
        return Ok(vec![made_up()?]);
    }
    out.note("Which secrets shall the session get? Values are not shown. An empty name goes on.");
    let mut items: Vec<Item> = Vec::new();
    loop {
        let name = input::ask("Name (such as openai-api-key): ".into()).await?;
        if name.is_empty() {
            break;
        }
        match asked(&name, &items).await {
            Ok(item) => items.push(item),
            Err(problem) => out.note(&format!("  {problem}")),
        }
    }
    if items.is_empty() {
        out.note("none: the demo makes up a secret");
        items.push(made_up()?);
    }
    Ok(items)
}

async fn asked(name: &str, so_far: &[Item]) -> Done<Item> {
    let name = secret::parse_name(name)?;
    let variable = variable_of(&name).map_err(|e| Failure::usage(e.to_string()))?;
    let taken =
        |item: &Item| SecretName::parse(&item.name).ok().and_then(|n| variable_of(&n).ok()).as_ref() == Some(&variable);
    if so_far.iter().any(taken) {
        return Err(Failure::usage(format!("${variable} is taken already")));
    }
    let value = Value::new(std::mem::take(&mut *input::ask_hidden(format!("Value of ${variable}: "), false).await?));
    value::check(value.expose(), Delivery::Env).map_err(|e| Failure::usage(e.to_string()))?;
    Ok(Item { name: name.to_string(), value, line: 0 })
}

fn made_up() -> Done<Item> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| Failure::local(format!("the system gives no randomness: {e}")))?;
    let value = Value::new(Id::from_random(random).as_str().into());
    Ok(Item { name: "demo-api-key".into(), value, line: 0 })
}

// === the processes and signals of a demo

/// Everything started, in order.
#[derive(Default)]
struct Cast {
    children: Vec<Child>,
    /// Held open, so that the server may write to it.
    server_stdout: Option<BufReader<ChildStdout>>,
}

impl Cast {
    fn enter(&mut self, child: Child) -> &mut Child {
        self.children.push(child);
        self.children.last_mut().expect("one was pushed on the line before")
    }

    /// Ends what still runs, last come first, and waits for it.
    async fn dismiss(mut self) {
        while let Some(mut child) = self.children.pop() {
            let _ = child.kill().await; // one that has ended already is as good
        }
    }
}

/// The signals that end a demo.
struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn catch() -> Done<Self> {
        let catch = |kind| signal(kind).map_err(|e| Failure::local(format!("can't catch signals: {e}")));
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            quit: catch(SignalKind::quit())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    /// Until one comes that is for us. While the command has the terminal, what is typed there is the command's.
    async fn wait(&mut self, curtain: &Cell<bool>) -> Failure {
        loop {
            let (kind, typed) = tokio::select! {
                _ = self.interrupt.recv() => (SignalKind::interrupt(), true),
                _ = self.quit.recv() => (SignalKind::quit(), true),
                _ = self.terminate.recv() => (SignalKind::terminate(), false),
                _ = self.hang_up.recv() => (SignalKind::hangup(), false),
            };
            if !(typed && curtain.get()) {
                let exit = u8::try_from(128 + kind.as_raw_value()).unwrap_or(1);
                return Failure::Told {
                    exit,
                    code: "interrupted",
                    message: "interrupted; everything of the demo was removed".into(),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environ_file_is_read_as_it_is_meant() {
        for (text, expected) in [
            (&b""[..], &[][..]),
            (b"A=1\0", &[("A", "1")]),
            (b"A=1\0B=x=y\nz\0C=\0", &[("A", "1"), ("B", "x=y\nz"), ("C", "")]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(n, v)| (OsStr::new(*n), OsStr::new(*v))).collect();
            assert_eq!(variables(text).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn exit_codes_are_the_command_s() {
        for (raw, code) in [(0, 0), (7 << 8, 7), (255 << 8, 255), (9, 137), (15, 143)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), ExitCode::from(code));
        }
    }
}
