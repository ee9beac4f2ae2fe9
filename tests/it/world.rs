//! A world to test in: the real `keyfob-server` as its own process with a fresh data directory, people who are logged in by
//! the real CLI or by the client library, and real agents. Everything is gone when it is dropped.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use keyfob::{
    client::{self, Credentials},
    domain::join::{Audience, Join},
    seal::{self, Purpose, RecipientKey},
    wire::v1,
};
use prost::Message;
use tempfile::TempDir;
use time::OffsetDateTime;
use tonic::{Status, transport::Channel};

pub const SERVER: &str = env!("CARGO_BIN_EXE_keyfob-server");
pub const AGENT: &str = env!("CARGO_BIN_EXE_keyfob-agent");
pub const KEYFOB: &str = env!("CARGO_BIN_EXE_keyfob");

pub const ORG: &str = "acme";
pub const ADMIN: &str = "root";

pub struct World {
    pub dir: TempDir,
    server: Option<Child>,
    pub address: String,
    /// Where the console is, if there is one: `https://HOST:PORT`.
    pub console: Option<String>,
    /// Standard error of every server that ran here.
    pub log: PathBuf,
    arguments: Vec<String>,
    admin: Api,
}

/// Somebody who speaks gRPC, with their own credentials.
pub struct Api {
    pub channel: Channel,
    pub credentials: Credentials,
}

macro_rules! services {
    ($($method:ident: $module:ident :: $client:ident),* $(,)?) => {
        impl Api {
            $(pub fn $method(&self) -> v1::$module::$client<Channel> {
                v1::$module::$client::new(self.channel.clone()).max_decoding_message_size(16 << 20)
            })*
        }
    };
}

services! {
    enrolment: enrolment_service_client::EnrolmentServiceClient,
    bundle: bundle_service_client::BundleServiceClient,
    secrets: secret_service_client::SecretServiceClient,
    environments: environment_service_client::EnvironmentServiceClient,
    sessions: session_service_client::SessionServiceClient,
    users: user_service_client::UserServiceClient,
    audit: audit_service_client::AuditServiceClient,
    fleet: fleet_service_client::FleetServiceClient,
    rollouts: rollout_service_client::RolloutServiceClient,
    console: console_service_client::ConsoleServiceClient,
}

impl World {
    /// An organization `acme` with an admin `root`, served.
    pub async fn new() -> Self {
        Self::with_arguments(&[]).await
    }

    /// As [`World::new`], with further arguments for `keyfob-server serve`.
    pub async fn with_arguments(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = dir.path().join("server.log");
        let data = dir.path().join("data");
        let join = ok(Command::new(SERVER)
            .args(["init", "--org", ORG, "--admin", ADMIN, "--data-dir"])
            .arg(&data)
            .output()
            .expect("init runs"));
        let mut arguments: Vec<_> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let (server, address, console) = serve(&data, "127.0.0.1:0", &arguments, &log);
        if let Some(at) = arguments.iter().position(|a| a == "--console-listen") {
            // The same port again after a restart.
            let (_, port) = console.as_deref().and_then(|url| url.rsplit_once(':')).expect("an address");
            arguments[at + 1] = format!("127.0.0.1:{port}");
        }
        let admin = enrol(&join).await;
        Self { dir, server: Some(server), address, console, log, arguments, admin }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn database(&self) -> PathBuf {
        self.data().join("keyfob.db")
    }

    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").id()
    }

    pub fn admin(&self) -> &Api {
        &self.admin
    }

    /// A new user (or machine) of the organization, enrolled.
    pub async fn person(&self, name: &str, role: v1::Role) -> Api {
        enrol(&self.invite(name, role).await).await
    }

    pub async fn invite(&self, name: &str, role: v1::Role) -> String {
        let request = v1::InviteUserRequest { name: name.into(), role: role.into(), ..Default::default() };
        self.admin.users().invite_user(request).await.expect("the admin invites").into_inner().join
    }

    /// Another organization on the same server, and its admin.
    pub async fn organization(&self, org: &str) -> Api {
        let join = self.server_command(&["org", "create", org, "--admin", "other-root"]);
        enrol(&join).await
    }

    /// Runs `keyfob-server VERB... --data-dir ...`; gives its standard output.
    pub fn server_command(&self, arguments: &[&str]) -> String {
        ok(Command::new(SERVER)
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data())
            .output()
            .expect("keyfob-server runs"))
    }

    pub async fn session(&self, user: &str, environment: &str) -> v1::CreateSessionResponse {
        let request =
            v1::CreateSessionRequest { user: user.into(), environment: environment.into(), join_ttl_seconds: 0 };
        self.admin.sessions().create_session(request).await.expect("the admin makes a session").into_inner()
    }

    /// kill -9, as a power cut would be seen by the process.
    pub fn kill_server(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        server.kill().expect("our own child");
        server.wait().expect("our own child");
    }

    /// Serves the same data on the same address again, with the same arguments.
    pub fn restart_server(&mut self) {
        if self.server.is_some() {
            self.kill_server();
        }
        let address = self.address.clone();
        self.server = Some(serve(&self.data(), &address, &self.arguments, &self.log).0);
    }

    /// As [`World::restart_server`], with the admin connected again.
    pub async fn restart(&mut self) {
        self.restart_server();
        self.admin.reconnect(&self.address).await;
    }

    /// Waits for the server's own end; gives whether it ended well.
    pub fn terminate_server(&mut self) -> bool {
        let mut server = self.server.take().expect("the server runs");
        let pid = nix::unistd::Pid::from_raw(server.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("our own child");
        server.wait().expect("our own child").success()
    }

    /// A person at a terminal: the real CLI with a home of its own, logged in.
    pub async fn cli(&self, name: &str, role: v1::Role) -> Cli {
        let join = self.invite(name, role).await;
        let cli = Cli { home: self.dir.path().join(format!("home-{name}")) };
        cli.run_with(&["login", "--join-file", "-"], join.as_bytes()).ok();
        cli
    }

    /// Runs the real agent once with nothing but a join string; gives its directory, on a file system that is memory.
    pub fn agent_once(&self, join: &str) -> AgentRun {
        AgentRun::start(join, &["--once"])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn serve(data: &Path, listen: &str, arguments: &[String], log: &Path) -> (Child, String, Option<String>) {
    let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
    let mut server = Command::new(SERVER)
        .args(["serve", "--listen", listen, "--data-dir"])
        .arg(data)
        .args(arguments)
        .env("KEYFOB_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("keyfob-server starts");
    let mut printed = BufReader::new(server.stdout.take().expect("piped"));
    let mut after = |words: &str| {
        let mut line = String::new();
        printed.read_line(&mut line).expect("keyfob-server prints a line");
        line.trim().strip_prefix(words).unwrap_or_else(|| panic!("{line:?} does not say where")).to_owned()
    };
    let address = after("listening on ");
    let console = arguments.iter().any(|a| a == "--console-listen").then(|| after("console on "));
    (server, address, console)
}

/// Redeems a person's join string with the client library.
pub async fn enrol(join: &str) -> Api {
    let join = Join::parse(join, Audience::User).expect("a person's join string");
    let key = client::new_key().expect("a key");
    let credentials = client::enrol(&join, &key, OffsetDateTime::now_utc()).await.expect("enrolment");
    let channel = client::connect_as(&join.address, &credentials).await.expect("a connection");
    Api { channel, credentials }
}

/// Redeems a session's join string as an agent would, without its files.
pub async fn enrol_session(join: &str) -> Api {
    let join = Join::parse(join, Audience::Session).expect("a session's join string");
    let key = client::new_key().expect("a key");
    let credentials = client::enrol(&join, &key, OffsetDateTime::now_utc()).await.expect("enrolment");
    let channel = client::connect_as(&join.address, &credentials).await.expect("a connection");
    Api { channel, credentials }
}

impl Api {
    /// Stores an environment-delivered secret, as a client that is not ours would: unsealed, inside TLS.
    pub async fn create(&self, name: &str, visibility: v1::Visibility, value: &[u8]) -> v1::Secret {
        let request = v1::CreateSecretRequest {
            name: name.into(),
            visibility: visibility.into(),
            value: Some(plain(value)),
            ..Default::default()
        };
        self.secrets()
            .create_secret(request)
            .await
            .expect("the secret is stored")
            .into_inner()
            .secret
            .expect("a secret")
    }
}

/// A bundle, opened.
pub struct Opened {
    pub sequence: u64,
    pub contents: v1::BundleContents,
}

impl Opened {
    /// Values by variable.
    pub fn values(&self) -> BTreeMap<String, Vec<u8>> {
        self.contents.entries.iter().map(|e| (e.variable.clone(), e.value.to_vec())).collect()
    }
}

impl Api {
    /// A new connection with the same credentials, after the server was down.
    pub async fn reconnect(&mut self, address: &str) {
        self.channel = client::connect_as(address, &self.credentials).await.expect("a connection");
    }

    /// Fetches and opens the bundle of the session that this is.
    pub async fn fetch(&self, org: &str, session: &str) -> Result<Opened, Status> {
        let key = RecipientKey::generate().expect("randomness");
        let nonce = vec![7; seal::NONCE_LEN];
        let request = v1::FetchRequest { public_key: key.public().to_vec(), nonce: nonce.clone() };
        let reply = self.bundle().fetch(request).await?.into_inner();
        let v1::FetchResponse { encapsulated_key, ciphertext, bundle_version, sequence, .. } = reply;
        let mut message = ciphertext.to_vec();
        let purpose = Purpose::Bundle { org, session, bundle_version: &bundle_version, sequence, nonce: &nonce };
        let len = key.open(&encapsulated_key, &mut message, &purpose).expect("sealed to this key, for this session");
        Ok(Opened { sequence, contents: v1::BundleContents::decode(&message[..len]).expect("a bundle") })
    }
}

impl Api {
    /// Fetches and opens secrets by name, as the agent does for one command.
    pub async fn fetch_named(&self, org: &str, session: &str, names: &[&str]) -> Result<Opened, Status> {
        let key = RecipientKey::generate().expect("randomness");
        let (nonce, names) = (vec![7; seal::NONCE_LEN], names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        let request =
            v1::FetchNamedRequest { names: names.clone(), public_key: key.public().to_vec(), nonce: nonce.clone() };
        let reply = self.bundle().fetch_named(request).await?.into_inner();
        let v1::FetchNamedResponse { encapsulated_key, ciphertext, sequence, .. } = reply;
        let mut message = ciphertext.to_vec();
        let purpose = Purpose::Named { org, session, sequence, nonce: &nonce, names: &names };
        let len = key.open(&encapsulated_key, &mut message, &purpose).expect("sealed to this key, for these names");
        Ok(Opened { sequence, contents: v1::BundleContents::decode(&message[..len]).expect("a bundle") })
    }

    /// Reports leaks and nothing else.
    pub async fn leaked(&self, leaks: impl IntoIterator<Item = v1::Leak>) -> Result<(), Status> {
        let leaks = leaks.into_iter().collect();
        self.bundle().report(v1::ReportRequest { status: None, leaks }).await.map(drop)
    }
}

pub fn plain(value: &[u8]) -> v1::SecretValue {
    v1::SecretValue { kind: Some(v1::secret_value::Kind::Plain(value.to_vec())) }
}

/// A home directory of the CLI.
pub struct Cli {
    pub home: PathBuf,
}

impl Cli {
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, b"")
    }

    pub fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Ran {
        run(Command::new(KEYFOB).args(arguments).env("KEYFOB_HOME", &self.home).env("NO_COLOR", "1"), stdin)
    }
}

/// Waits for what is about to happen.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "waited 30 s in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a program to its end with this on its standard input.
pub fn run(command: &mut Command, stdin: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // A program that does not read its input may close it.
    let _ = child.stdin.take().expect("piped").write_all(stdin);
    Ran(child.wait_with_output().expect("our own child"))
}

/// What a program did.
pub struct Ran(pub Output);

impl Ran {
    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap_or(-1)
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// Its standard output, if it ended well.
    pub fn ok(&self) -> String {
        assert_eq!(self.code(), 0, "{}{}", self.stdout(), self.stderr());
        self.stdout()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).expect("JSON on standard output")
    }
}

fn ok(output: Output) -> String {
    Ran(output).ok()
}

/// A real agent in its own process, and the directory it writes to.
pub struct AgentRun {
    pub dir: PathBuf,
    pub child: Child,
    parent: TempDir,
}

impl AgentRun {
    pub fn start(join: &str, arguments: &[&str]) -> Self {
        Self::start_with(join, arguments, [])
    }

    pub fn start_with<'a>(
        join: &str,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
    ) -> Self {
        let parent = tempfile::Builder::new().prefix("keyfob-test-").tempdir_in("/dev/shm").expect("/dev/shm is there");
        let (dir, file) = (parent.path().join("run"), parent.path().join("join"));
        fs::create_dir(parent.path().join("run-agent")).expect("where its sockets are"); // as the unit's RuntimeDirectory=
        fs::write(&file, join).expect("a join file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our own file");
        // A file, not a pipe: nobody reads along, and a full pipe would hold the agent up.
        let printed = fs::File::create(parent.path().join("printed")).expect("a file");
        let child = Command::new(AGENT)
            .args(["run", "--allow-swappable", "--join-file"])
            .arg(&file)
            .arg("--dir")
            .arg(&dir)
            .args(arguments)
            .envs(environment)
            .env("KEYFOB_LOG", "trace")
            .stdout(printed.try_clone().expect("our own file"))
            .stderr(printed)
            .spawn()
            .expect("keyfob-agent starts");
        Self { dir, child, parent }
    }

    /// Waits for its end; gives exit code and everything it printed.
    pub fn finish(&mut self) -> (i32, String) {
        let code = self.child.wait().expect("our own child").code().unwrap_or(-1);
        (code, self.printed())
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.parent.path().join("printed")).expect("a file")).into_owned()
    }

    pub fn succeed(&mut self) -> &mut Self {
        let (code, printed) = self.finish();
        assert_eq!(code, 0, "{printed}");
        self
    }

    /// The variables as PAM and `exec` get them.
    pub fn environ(&self) -> BTreeMap<String, Vec<u8>> {
        let bytes = fs::read(self.dir.join("environ")).expect("an environ file");
        let entries = bytes.split(|b| *b == 0).filter(|e| !e.is_empty());
        entries
            .map(|entry| {
                let at = entry.iter().position(|b| *b == b'=').expect("NAME=VALUE");
                (String::from_utf8_lossy(&entry[..at]).into_owned(), entry[at + 1..].to_vec())
            })
            .collect()
    }

    pub fn manifest(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.dir.join("manifest.json")).expect("a manifest")).expect("JSON")
    }
}

impl Drop for AgentRun {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // An agent that was root may have mounted its directory.
        let _ = nix::mount::umount2(&self.dir, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// The PAM module, built once, as it is shipped but for optimization. KEYFOB_PAM_MODULE names one that is there already.
pub fn pam_module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| {
        if let Some(given) = env::var_os("KEYFOB_PAM_MODULE") {
            return given.into();
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pam");
        let built = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["rustc", "--locked", "--quiet", "--lib", "--no-default-features", "--features", "pam"])
            .args(["--crate-type", "cdylib", "--target-dir"])
            .arg(&target)
            .status()
            .unwrap();
        assert!(built.success(), "the module was not built; it needs the package libpam0g-dev");
        target.join("debug/libkeyfob.so")
    })
}
