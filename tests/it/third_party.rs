//! A gRPC client that is not ours: Python's grpcio (`tests/third_party/client.py`), which knows nothing but what `keyfob login`
//! left and what the server's reflection tells.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use keyfob::wire::v1::{Role, Visibility};

use crate::{
    status::listening,
    world::{AgentRun, Cli, Ran, World, run},
};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/third_party");

#[tokio::test]
async fn python_creates_lists_rotates_and_deletes_a_secret() {
    let python = python();
    let world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;

    let version = client(&python, &alice, "rotate", b"the first value\nthe second value\n");
    let join = world.session("alice", "default").await.join;
    let mut agent = AgentRun::start(&join, &["--once"]);
    agent.succeed();
    assert_eq!(agent.environ()["THIRD_PARTY"], b"the second value");
    assert_eq!(agent.manifest()["variables"][0]["version"], version.trim());

    client(&python, &alice, "delete", b"");
    let join = world.session("alice", "default").await.join;
    assert!(AgentRun::start(&join, &["--once"]).succeed().environ().is_empty());
}

/// An agent's status and health over mutual TLS.
#[tokio::test]
async fn python_asks_an_agent() {
    let python = python();
    let world = World::new().await;
    let op = world.cli("op", Role::Operator).await;
    world.admin().create("api-key", Visibility::Shared, b"a value of acme").await;
    let made = world.session("", "default").await;
    let (_agent, address) = listening(&made.join, world.dir.path(), "");
    let session = made.session.expect("a session").id;
    assert_eq!(client_about(&python, &op, &["status", &address, &session], b"").trim(), "PHASE_READY");
}

fn client(python: &Path, cli: &Cli, verb: &str, stdin: &[u8]) -> String {
    client_about(python, cli, &[verb], stdin)
}

fn client_about(python: &Path, cli: &Cli, words: &[&str], stdin: &[u8]) -> String {
    let mut command = Command::new(python);
    command.arg("-I").arg(Path::new(HERE).join("client.py")).args(words).env("KEYFOB_HOME", &cli.home);
    // On failure gRPC's own words: which handshake, which call.
    run(command.env("GRPC_VERBOSITY", "error"), stdin).ok()
}

/// A Python that has what `requirements.txt` says; made once, by whoever comes first, and anew when that changes.
fn python() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(make_python).clone()
}

fn make_python() -> PathBuf {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("third-party");
    let (wanted, installed) = (Path::new(HERE).join("requirements.txt"), venv.join("requirements.txt"));
    let python = venv.join("bin/python");
    if fs::read(&wanted).expect("a file of ours") != fs::read(&installed).unwrap_or_default() {
        let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).output();
        Ran(made.expect("python3 runs; tests/run installs it")).ok();
        let pip = Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"])
            .arg(&wanted)
            .output();
        Ran(pip.expect("pip runs")).ok();
        fs::copy(&wanted, &installed).expect("last, so that what broke off is made anew");
    }
    python
}
