//! One value through every path there is, and a search of everything that is written meanwhile: the database and its backup,
//! logs at trace level, what programs print and calls answer, the audit, homes, manifests, command lines. It is found in the
//! agent's files, and nowhere else. What people type into the wrong place goes the same way.

use std::{
    fmt::Debug,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use keyfob::{
    domain::{name::SecretName, variable::variable_of},
    wire::v1::{self, Role, Visibility, create_rollout_request::Reach},
};
use memchr::memmem;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;
use tonic::{Response, Status};

use crate::{
    cli::Terminal,
    world::{AGENT, AgentRun, Api, Cli, KEYFOB, ORG, Ran, SERVER, World, enrol_session, plain, run, wait_for},
};

// ================================================================ what is searched for

/// Random text, and every form of it that a log or a file might have.
struct Canary {
    text: String,
    forms: Vec<(String, Vec<u8>)>,
}

impl Canary {
    /// A value: two random halves, so that a part that is cut off or cut out is found, and between them what is escaped
    /// somewhere. It is no name of anything and no flag.
    fn new() -> Self {
        let (left, right) = (random_text(12), random_text(12));
        Self::of(format!("{left}\"\\ %+/{right}"), &[&left, &right])
    }

    fn of(text: String, parts: &[&str]) -> Self {
        let mut forms = Vec::new();
        for (number, part) in [&[&*text], parts].concat().into_iter().enumerate() {
            let what = if number == 0 { "whole".to_owned() } else { format!("part {number}") };
            forms.extend(forms_of(part).into_iter().map(|(form, bytes)| (format!("{what} {form}"), bytes)));
        }
        Self { text, forms }
    }

    /// The forms that stand in these bytes.
    fn found_in(&self, bytes: &[u8]) -> Vec<&str> {
        self.forms
            .iter()
            .filter(|(_, form)| memmem::find(bytes, form).is_some())
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

fn forms_of(text: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = text.as_bytes();
    let each = |format: fn(&u8) -> String| bytes.iter().map(format).collect::<Vec<_>>();
    let percent = |b: &u8| if b.is_ascii_alphanumeric() { char::from(*b).to_string() } else { format!("%{b:02X}") };
    let mut forms = vec![
        ("as it is".to_owned(), text.to_owned()),
        ("in lower case".to_owned(), text.to_lowercase()),
        ("in upper case".to_owned(), text.to_uppercase()),
        ("hex".to_owned(), each(|b| format!("{b:02x}")).concat()),
        ("HEX".to_owned(), each(|b| format!("{b:02X}")).concat()),
        ("hex with spaces".to_owned(), each(|b| format!("{b:02x}")).join(" ")),
        ("a list of bytes".to_owned(), each(|b| b.to_string()).join(", ")),
        ("a long list of bytes".to_owned(), each(|b| b.to_string()).join(",\n    ")),
        ("percent".to_owned(), each(percent).concat()),
        ("JSON".to_owned(), serde_json::to_string(text).expect("text").trim_matches('"').to_owned()),
        ("Rust".to_owned(), text.escape_debug().to_string()),
        ("Rust bytes".to_owned(), bytes.escape_ascii().to_string()),
    ];
    for (alphabet, engine) in [("base64", STANDARD_NO_PAD), ("base64url", URL_SAFE_NO_PAD)] {
        for shift in 0..3 {
            // Without the characters that depend on what stands before and after.
            let encoded = engine.encode([&b"\0\0"[..shift], bytes].concat());
            let inner = &encoded[(shift * 8).div_ceil(6)..(shift + bytes.len()) * 8 / 6];
            forms.push((format!("{alphabet}, shifted by {shift}"), inner.to_owned()));
        }
    }
    if let Some(variable) = SecretName::parse(text).ok().and_then(|name| variable_of(&name).ok()) {
        forms.push(("as a variable".to_owned(), variable.to_string()));
    }
    forms.into_iter().map(|(name, text)| (name, text.into_bytes())).collect()
}

fn random_text(len: usize) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).expect("randomness");
    // Capitals in front and small letters behind: a name of an environment or user it is never.
    bytes
        .iter()
        .map(|b| char::from(LETTERS[usize::from(*b) % 62]))
        .enumerate()
        .map(|(at, c)| if at == 0 { 'K' } else { c })
        .collect()
}

// ================================================================ where it is searched

/// Everything that was printed or answered, and by what.
#[derive(Default)]
struct Said(Vec<(String, Vec<u8>)>);

impl Said {
    fn note(&mut self, what: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((what.into(), bytes.into()));
    }

    fn ran(&mut self, what: impl Into<String>, ran: &Ran) {
        self.note(what, [&ran.0.stdout[..], &ran.0.stderr].concat());
    }

    /// An answer, as a careless log line would have it, and as a person gets it.
    fn answered<T: Debug>(&mut self, what: &str, answer: Result<Response<T>, Status>) -> Option<Status> {
        match answer {
            Ok(reply) => self.note(what, format!("{reply:?} {reply:#?}")),
            Err(status) => {
                self.note(what, format!("{status} {status:?} {status:#?}"));
                return Some(status);
            }
        }
        None
    }

    /// Whoever said one of the forms.
    fn repeated(&self, canary: &Canary) -> Vec<String> {
        let found = |(what, bytes): &(String, Vec<u8>)| {
            let forms = canary.found_in(bytes);
            (!forms.is_empty()).then(|| format!("{what}: {forms:?}"))
        };
        self.0.iter().filter_map(found).collect()
    }
}

/// The files below a directory that hold one of the forms.
fn holding(canary: &Canary, dir: &Path) -> Vec<String> {
    let found = |path: PathBuf| {
        let forms = canary.found_in(&fs::read(&path).expect("a file"));
        (!forms.is_empty()).then(|| format!("{}: {forms:?}", path.strip_prefix(dir).expect("it is below").display()))
    };
    files(dir).into_iter().filter_map(found).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn the_search_finds_every_form() {
    let canary = Canary::new();
    assert_eq!(canary.forms.len(), 3 * 18 + 2, "three texts, two of which are names");
    let dir = tempfile::tempdir().unwrap();
    for (name, form) in &canary.forms {
        let noise = random_text(1_000).into_bytes();
        fs::write(dir.path().join("log"), [&noise[..], form, &noise].concat()).unwrap();
        assert_eq!(holding(&canary, dir.path()).len(), 1, "{name}");
        let mut said = Said::default();
        said.note("a log", [&noise[..], form, &noise].concat());
        assert_eq!(said.repeated(&canary).len(), 1, "{name}");
        fs::write(dir.path().join("log"), [&noise[..], &form[1..form.len() - 1], &noise].concat()).unwrap();
    }
    // A value that is encoded with something before and after it.
    for before in ["", "a", "ab"] {
        let text = STANDARD_NO_PAD.encode(format!("{before}{}xyz", canary.text));
        assert!(canary.found_in(text.as_bytes()).iter().any(|form| form.contains("base64, ")), "{before}");
    }
}

// ================================================================ the paths of a value

#[tokio::test(flavor = "multi_thread")]
async fn one_value_through_every_path() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test mounts, and reads other processes' environment: run it as root"
    );
    let canary = Canary::new();
    let mut said = Said::default();
    let mut world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;

    by_cli(&world, &alice, &canary, &mut said);
    by_grpc(&world, &canary, &mut said).await;
    by_session(&world, &canary, &mut said).await;
    world.restart_server(); // kill -9: what was acknowledged comes back from the write-ahead log
    at_agents(&world, &canary, &mut said).await;
    let agent = AgentRun::start(&world.session("alice", "default").await.join, &[]);
    wait_for("the files of an agent that stays", || agent.dir.join("manifest.json").exists());

    for (what, pid) in [("the server", world.server_pid()), ("the agent", agent.child.id())] {
        for file in ["cmdline", "environ"] {
            said.note(format!("{what}'s {file}"), fs::read(format!("/proc/{pid}/{file}")).expect("our own child"));
        }
    }
    looked_at(&world, &alice, &mut said).await;
    let socket = agent.dir.with_file_name("run-agent").join("status");
    for output in ["table", "json"] {
        let words = ["agent", "status", "-o", output, "--socket", socket.to_str().expect("a path of ours")];
        let ran = alice.run(&words);
        assert!(ran.ok().contains("KEPT_BACK"), "what is left out is told: {}", ran.stdout());
        said.ran("agent status", &ran);
    }
    let backup = world.dir.path().join("backup");
    said.ran(
        "backup",
        &run(
            Command::new(SERVER)
                .arg("backup")
                .arg(&backup)
                .arg("--data-dir")
                .arg(world.data())
                .env("KEYFOB_LOG", "trace"),
            b"",
        ),
    );
    damaged(&world, &alice, &canary, &mut said).await;
    assert!(world.terminate_server());

    // Where it belongs, it is: every file of the agent but the manifest.
    let mut installed: Vec<String> = holding(&canary, &agent.dir)
        .into_iter()
        .map(|line| line.split(':').next().expect("a path").to_owned())
        .collect();
    installed.sort();
    assert_eq!(installed, ["env", "env.fish", "env.sh", "environ", "files/as-file", "files/binary"]);
    said.note("the agent", agent.printed());

    let written: Vec<PathBuf> = files(world.dir.path());
    for file in ["data/keyfob.db", "server.log", "backup", "home-alice/identity.json"] {
        let path = world.dir.path().join(file);
        assert!(written.contains(&path) && fs::metadata(&path).expect("a file").len() > 1_000, "{file} is searched");
    }
    assert_eq!(holding(&canary, world.dir.path()), Vec::<String>::new());
    assert_eq!(said.repeated(&canary), Vec::<String>::new());
    let log = fs::read_to_string(&world.log).expect("the server's log");
    assert!(log.contains("TRACE"), "logs are at trace level");
}

/// Everything that the CLI takes values from, accepted and refused.
fn by_cli(world: &World, alice: &Cli, canary: &Canary, said: &mut Said) {
    let text = canary.text.as_bytes();
    let inputs = tempfile::tempdir().expect("a temporary directory"); // not searched: it holds what is typed and piped in
    let file = |name: &str, bytes: &[u8]| {
        let path = inputs.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let mut terminal =
        Terminal::run(&format!("{KEYFOB} secret create typed --private"), |c| c.env("KEYFOB_HOME", &alice.home));
    terminal.answer_hidden("(not shown): ", &canary.text);
    terminal.answer_hidden("Once more: ", &canary.text);
    let (code, screen) = terminal.finish();
    assert_eq!(code, 0, "{screen}");
    said.note("a prompt", screen);

    let padded = |length: usize| [text, &b"x".repeat(length - text.len())].concat();
    let between = |byte: u8| [text, &[byte], text].concat();
    let value_file = file("value", text);
    let good = file(
        "good.env",
        format!(
            "FROM_DOTENV='{}'\nQUOTED=\"{}\"\n",
            canary.text,
            canary.text.replace('\\', "\\\\").replace('"', "\\\"")
        )
        .as_bytes(),
    );
    let bad = file("bad.env", format!("GOOD='{0}'\n{0}\n1='{0}'\nOPEN='{0}\n", canary.text).as_bytes());
    let taken = file("taken.env", format!("TYPED='{0}'\nPATH='{0}'\n", canary.text).as_bytes());
    for (words, stdin, code) in [
        (&["secret", "create", "piped", "--private"][..], text, 0),
        (&["secret", "create", "piped-too", "--shared", "-o", "json"], text, 0),
        (&["secret", "create", "from-file", "--private", "--value-file", &value_file], b"", 0),
        (&["secret", "create", "as-file", "--private", "--file"], text, 0),
        (&["secret", "create", "binary", "--private", "--file"], &between(0), 0),
        (&["secret", "create", "longest", "--private", "--no-auto-install"], &padded(65_536), 0),
        (&["secret", "create", "kept-back", "--shared", "--no-auto-install"], text, 0),
        (&["secret", "create", "newline", "--private"], &between(b'\n'), 0),
        (&["secret", "import", &good, "--private"], b"", 0),
        (&["secret", "import", &good, "--private", "--rotate-existing"], b"", 0),
        (&["secret", "rotate", "piped"], text, 0),
        (&["secret", "rotate", "piped", "--force", "-o", "json"], text, 0),
        // refused
        (&["secret", "create", "too-long", "--private"], &padded(65_537), 1),
        (&["secret", "create", "nul", "--private"], &between(0), 1),
        (&["secret", "create", "not-utf8", "--private"], &between(0xff), 1),
        (&["secret", "create", "path", "--shared"], text, 1),
        (&["secret", "create", "uid", "--private", "-o", "json"], text, 1),
        (&["secret", "create", "typed", "--private"], text, 1),
        (&["secret", "create", "TYPED", "--private", "-o", "json"], text, 1),
        (&["secret", "create", "2fa", "--private"], text, 2),
        (&["secret", "create", "nobody-said-whose"], text, 2),
        (&["secret", "rotate", "piped", "--expect", "stale"], text, 1),
        (&["secret", "rotate", "piped", "--expect", "stale", "-o", "json"], text, 1),
        (&["secret", "rotate", "not-there"], text, 1),
        (&["secret", "import", &bad, "--private"], b"", 1),
        (&["secret", "import", &bad, "--private", "-o", "json"], b"", 1),
        (&["secret", "import", &taken, "--private"], b"", 1),
        (&["secret", "import", "-", "--private"], text, 1),
        (&["login", "--replace"], text, 1),
        (&["login", "--replace", "--join-file", &value_file, "-o", "json"], b"", 1),
    ] {
        let ran = alice.run_with(words, stdin);
        assert_eq!(ran.code(), code, "{words:?}: {}{}", ran.stdout(), ran.stderr());
        said.ran(words.join(" "), &ran);
    }
    let stranger = Cli { home: world.dir.path().join("home-of-nobody") };
    said.ran("create without a login", &stranger.run_with(&["secret", "create", "x", "--private"], text));
}

/// What a client may send that is not ours: plain values, and values in every field that is not for them.
async fn by_grpc(world: &World, canary: &Canary, said: &mut Said) {
    let carol = world.person("carol", Role::Member).await;
    let admin = world.admin();
    let text = || canary.text.clone();
    let ours = |value: &[u8]| v1::CreateSecretRequest {
        name: "by-grpc".into(),
        visibility: Visibility::Private.into(),
        value: Some(plain(value)),
        ..Default::default()
    };
    let value = canary.text.as_bytes();
    let broken = |byte: u8| [value, &[byte]].concat();
    let sealed = v1::SealedValue { key_id: text(), encapsulated_key: value.into(), ciphertext: value.into() };
    let key = carol.secrets().get_sealing_key(v1::GetSealingKeyRequest {}).await.expect("a key").into_inner();
    let opened_by_nobody =
        v1::SealedValue { key_id: key.key_id, encapsulated_key: vec![7; 1_120], ciphertext: value.into() };
    let kind = |sealed| Some(v1::SecretValue { kind: Some(v1::secret_value::Kind::Sealed(sealed)) });
    said.note("a request", format!("{:?} {:#?}", ours(value), kind(sealed.clone())));
    for (what, request, refused) in [
        ("plain", ours(value), false),
        ("duplicate", ours(value), true),
        ("too long", ours(&value.repeat(3_000)), true),
        ("NUL", ours(&broken(0)), true),
        ("not UTF-8", ours(&broken(0xff)), true),
        ("reserved", v1::CreateSecretRequest { name: "ld_preload".into(), ..ours(value) }, true),
        ("for nobody", v1::CreateSecretRequest { visibility: 0, ..ours(value) }, true),
        ("unknown visibility", v1::CreateSecretRequest { visibility: 99, ..ours(value) }, true),
        ("as the name", v1::CreateSecretRequest { name: text(), ..ours(value) }, true),
        ("as the variable", v1::CreateSecretRequest { variable: text(), ..ours(value) }, true),
        ("as a long description", v1::CreateSecretRequest { description: text().repeat(100), ..ours(value) }, true),
        ("sealed to another key", v1::CreateSecretRequest { value: kind(sealed), ..ours(value) }, true),
        ("badly sealed", v1::CreateSecretRequest { value: kind(opened_by_nobody), ..ours(value) }, true),
    ] {
        let status = said.answered(what, carol.secrets().create_secret(request).await);
        assert_eq!(status.is_some(), refused, "{what}: {status:?}");
    }
    let item = |name: &str, value: &[u8]| v1::ImportItem { name: name.into(), value: Some(plain(value)), line: 7 };
    let items = vec![
        item("good", value),
        item(&canary.text, value),
        item("nul", &broken(0)),
        item("path", value),
        item("by-grpc", value),
    ];
    let import = v1::ImportSecretsRequest { visibility: Visibility::Private.into(), items, ..Default::default() };
    said.note(
        "a request",
        format!("{:?}", v1::ImportSecretsRequest { items: vec![item("good", value)], ..Default::default() }),
    );
    said.answered("import", carol.secrets().import_secrets(import).await);

    misplaced_by_grpc(&carol, canary, said).await;
    misplaced_by_grpc(admin, canary, said).await;
}

/// In every field of every call that takes text; members are refused on the record for some of it.
async fn misplaced_by_grpc(by: &Api, canary: &Canary, said: &mut Said) {
    let text = || canary.text.clone();
    let mine = || Some(v1::SecretRef { name: "by-grpc".into(), ..Default::default() });
    let named = || Some(v1::SecretRef { name: text(), ..Default::default() });
    let by_id = || Some(v1::SecretRef { id: text(), ..Default::default() });
    macro_rules! send {
        ($($service:ident . $call:ident ( $request:ident { $($fields:tt)* } );)*) => {
            $(
                #[allow(clippy::needless_update)]
                let request = v1::$request { $($fields)*, ..Default::default() };
                said.answered(stringify!($call), by.$service().$call(request).await);
            )*
        };
    }
    send! {
        secrets.get_secret(GetSecretRequest { r#ref: named() });
        secrets.get_secret(GetSecretRequest { r#ref: by_id() });
        secrets.list_secrets(ListSecretsRequest { query: text() });
        secrets.list_secrets(ListSecretsRequest { page_token: text() });
        secrets.list_secrets(ListSecretsRequest { page_token: URL_SAFE_NO_PAD.encode(text()) });
        secrets.update_secret(UpdateSecretRequest { r#ref: named(), auto_install: Some(true) });
        secrets.update_secret(UpdateSecretRequest { r#ref: mine(), variable: Some(text()) });
        secrets.rotate_secret(RotateSecretRequest { r#ref: mine(), value: Some(plain(b"x")), expected_version: text() });
        secrets.rotate_secret(RotateSecretRequest { r#ref: named(), value: Some(plain(canary.text.as_bytes())) });
        secrets.delete_secret(DeleteSecretRequest { r#ref: mine(), expected_version: text() });
        secrets.delete_secret(DeleteSecretRequest { r#ref: by_id() });
        secrets.list_deliveries(ListDeliveriesRequest { r#ref: named() });
        secrets.list_deliveries(ListDeliveriesRequest { r#ref: mine(), page_token: text() });
        rollouts.create_rollout(CreateRolloutRequest { reach: named().map(Reach::Secret) });
        rollouts.create_rollout(CreateRolloutRequest { reach: Some(Reach::Environment(text())) });
        rollouts.create_rollout(CreateRolloutRequest { reach: Some(Reach::Session(text())) });
        rollouts.get_rollout(GetRolloutRequest { id: text() });
        rollouts.list_rollouts(ListRolloutsRequest { page_token: text() });
        rollouts.list_rollout_targets(ListRolloutTargetsRequest { id: text() });
        rollouts.watch_rollout(WatchRolloutRequest { id: text() });
        bundle.watch(WatchRequest { instance: text().into_bytes() });
        bundle.acknowledge(AcknowledgeRequest { error: text() });
        secrets.list_leaks(ListLeaksRequest { r#ref: named() });
        secrets.list_leaks(ListLeaksRequest { r#ref: by_id(), page_token: text() });
        secrets.preview_bundle(PreviewBundleRequest { user: text() });
        secrets.preview_bundle(PreviewBundleRequest { environment: text() });
        environments.create_environment(CreateEnvironmentRequest { name: text() });
        environments.get_environment(GetEnvironmentRequest { name: text() });
        environments.update_environment(UpdateEnvironmentRequest { name: text(), unset: vec!["A".into()] });
        environments.update_environment(UpdateEnvironmentRequest { name: "default".into(), unset: vec![text()] });
        environments.update_environment(UpdateEnvironmentRequest { name: "default".into(), set: vec![v1::EnvironmentVariable { variable: text(), value: text() }] });
        environments.update_environment(UpdateEnvironmentRequest { name: "default".into(), set: vec![v1::EnvironmentVariable { variable: "PATH".into(), value: text() }] });
        environments.update_environment(UpdateEnvironmentRequest { name: "default".into(), set: vec![v1::EnvironmentVariable { variable: "A".into(), value: text() + "\0" }] });
        environments.list_environment_versions(ListEnvironmentVersionsRequest { name: text() });
        environments.restore_environment(RestoreEnvironmentRequest { name: text(), version: 1 });
        sessions.create_session(CreateSessionRequest { user: text() });
        sessions.create_session(CreateSessionRequest { environment: text() });
        sessions.get_session(GetSessionRequest { id: text() });
        sessions.list_sessions(ListSessionsRequest { user: text(), environment: text() });
        sessions.list_sessions(ListSessionsRequest { page_token: text() });
        sessions.end_session(EndSessionRequest { id: text() });
        sessions.revoke_session(RevokeSessionRequest { id: text() });
        users.invite_user(InviteUserRequest { name: text() });
        users.update_user(UpdateUserRequest { name: text(), role: Role::Admin.into() });
        users.remove_user(RemoveUserRequest { name: text() });
        audit.list_audit_entries(ListAuditEntriesRequest { actor: text(), action: text(), target: text() });
        audit.list_audit_entries(ListAuditEntriesRequest { page_token: text() });
        enrolment.enrol(EnrolRequest { token: canary.text.clone().into_bytes(), csr_der: canary.text.clone().into_bytes() });
        enrolment.renew(RenewRequest { csr_der: canary.text.clone().into_bytes() });
        bundle.report(ReportRequest { status: Some(v1::AgentStatus { last_error: text() + "\0", phase: 3, ..Default::default() }) });
        bundle.fetch_named(FetchNamedRequest { names: vec![text()], public_key: canary.text.clone().into_bytes(), nonce: vec![0; 16] });
        bundle.fetch(FetchRequest { public_key: canary.text.clone().into_bytes(), nonce: vec![0; 16] });
    }
}

/// A session that asks for it by name, says that it was printed, and puts it into fields that are not for it.
async fn by_session(world: &World, canary: &Canary, said: &mut Said) {
    let made = world.session("alice", "default").await;
    let (session, id) = (enrol_session(&made.join).await, made.session.expect("a session").id);
    session.fetch(ORG, &id).await.expect("a bundle");
    let named = session.fetch_named(ORG, &id, &["kept-back", "typed"]).await.expect("both");
    for value in named.values().values() {
        assert_eq!(value, canary.text.as_bytes());
    }
    said.note("what was named", format!("{:?} {:#?}", named.contents, named.contents));
    let text = || canary.text.clone();
    let request = |names: &[&str]| v1::FetchNamedRequest {
        names: names.iter().map(|n| (*n).to_owned()).collect(),
        public_key: keyfob::seal::RecipientKey::generate().expect("randomness").public().to_vec(),
        nonce: vec![0; 16],
    };
    for request in [
        request(&["typed"]),
        request(&[&canary.text]),
        request(&["typed", &canary.text]),
        v1::FetchNamedRequest { nonce: text().into_bytes(), ..request(&["typed"]) },
    ] {
        said.answered("fetch named", session.bundle().fetch_named(request).await);
    }
    let entry = &named.contents.entries[0];
    let good = || v1::Leak {
        variable: entry.variable.clone(),
        version: entry.version.clone(),
        form: "raw".into(),
        unit: "web.service".into(),
        count: 1,
    };
    for (what, leak, refused) in [
        ("good", good(), false),
        ("as the version", v1::Leak { version: text(), ..good() }, false), // of nothing, so ignored
        ("as the variable", v1::Leak { variable: text(), ..good() }, true),
        ("as the form", v1::Leak { form: text() + "\n", ..good() }, true),
        ("as the unit", v1::Leak { unit: text() + "\n", ..good() }, true),
    ] {
        let request = v1::ReportRequest { leaks: vec![leak], ..Default::default() };
        let status = said.answered(what, session.bundle().report(request).await);
        assert_eq!(status.is_some(), refused, "{what}: {status:?}");
    }
    let status = |redaction: String| v1::AgentStatus { phase: 3, redaction, ..Default::default() };
    let request = v1::ReportRequest { status: Some(status(text() + "\0")), ..Default::default() };
    assert!(said.answered("as the redaction", session.bundle().report(request).await).is_some());
}

/// Agents that get the value and come to grief with it.
async fn at_agents(world: &World, canary: &Canary, said: &mut Said) {
    let mut once = AgentRun::start(&world.session("alice", "default").await.join, &["--once"]);
    let (code, printed) = once.finish();
    assert_eq!(code, 0, "{printed}");
    assert_eq!(once.environ()["TYPED"], canary.text.as_bytes());
    let manifest = once.manifest();
    said.note("once", printed);
    said.note("the manifest", manifest.to_string());

    let place = Place::new();
    // A directory that others can write.
    let open = place.dir("open");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("our own directory");
    agent(&place, &world.session("alice", "default").await.join, &open, 1, "writable by others", said);

    // A newer set of the same session is in place.
    let made = world.session("alice", "default").await;
    let newer = place.dir("newer");
    let mut manifest = manifest;
    manifest["session"] = made.session.expect("a session").id.into();
    manifest["sequence"] = 1_000_000.into();
    fs::write(newer.join("manifest.json"), manifest.to_string()).expect("our own directory");
    agent(&place, &made.join, &newer, 1, "is older than 1000000", said);

    // No room for all of it.
    let small = place.dir("small");
    mount(Some("tmpfs"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=16k,mode=700")).expect("root mounts");
    agent(&place, &world.session("alice", "default").await.join, &small, 1, "No space left", said);
    assert_eq!(holding(canary, &small), Vec::<String>::new());

    // Something of somebody else's is there.
    let taken = place.dir("taken");
    fs::write(taken.join("notes"), "").expect("our own directory");
    agent(&place, &world.session("alice", "default").await.join, &taken, 1, "which is not Keyfob's", said);
}

/// Rows that are not what was stored: the server refuses what fails its check, the agent what no file can hold.
async fn damaged(world: &World, alice: &Cli, canary: &Canary, said: &mut Said) {
    let place = Place::new();
    let database = rusqlite::Connection::open(world.database()).expect("the store");
    database.busy_timeout(Duration::from_secs(5)).expect("a setting");
    let change = |sql: &str| assert_eq!(database.execute(sql, []).expect("our own statement"), 1, "{sql}");

    let variables: String = database
        .query_row("SELECT variables FROM environment_versions WHERE name = 'default'", [], |row| row.get(0))
        .expect("a row");
    change(r#"UPDATE environment_versions SET variables = '{"BROKEN":"a\u0000b"}' WHERE name = 'default'"#);
    agent(&place, &world.session("alice", "default").await.join, &place.dir("unfit"), 1, "$BROKEN", said);
    change(&format!("UPDATE environment_versions SET variables = '{variables}' WHERE name = 'default'"));

    for (what, sql) in [
        ("moved", "UPDATE secrets SET variable = 'ELSEWHERE' WHERE name = 'typed'"),
        ("cut short", "UPDATE secrets SET ciphertext = substr(ciphertext, 1, 20) WHERE name = 'typed'"),
    ] {
        change(sql);
        agent(
            &place,
            &world.session("alice", "default").await.join,
            &place.dir(what),
            1,
            "fails its integrity check",
            said,
        );
    }
    for words in [&["secret", "show", "typed"][..], &["preview"]] {
        said.ran(words.join(" "), &alice.run(words));
    }
    said.ran("rotate what was damaged", &alice.run_with(&["secret", "rotate", "typed"], canary.text.as_bytes()));
}

/// Everything that shows what there is.
async fn looked_at(world: &World, alice: &Cli, said: &mut Said) {
    let admin = world.cli("second", Role::Admin).await;
    for words in [
        &["secret", "list"][..],
        &["secret", "show", "piped"],
        &["secret", "show", "as-file"],
        &["secret", "show", "kept-back"],
        &["leaks"],
        &["preview"],
        &["env", "show", "default"],
        &["env", "history", "default"],
        &["session", "list", "--all"],
        &["fleet", "list"],
        &["user", "list"],
        &["whoami"],
    ] {
        for output in ["table", "json"] {
            let ran = alice.run(&[words, &["-o", output]].concat());
            assert_eq!(ran.code(), 0, "{words:?}: {}", ran.stderr());
            said.ran(words.join(" "), &ran);
        }
    }
    said.ran("audit list", &admin.run(&["audit", "list", "--all"]));
    let audit = admin.run(&["audit", "list", "--all", "-o", "json"]);
    let outcomes =
        |of: &str| audit.json().as_array().expect("a list").iter().filter(|entry| entry["outcome"] == of).count();
    assert!(outcomes("done") > 20 && outcomes("refused") > 5, "the audit has all of it");
    said.ran("audit list", &audit);
    said.ran("audit verify", &admin.run(&["audit", "verify"]));
    let entries = world
        .admin()
        .audit()
        .list_audit_entries(v1::ListAuditEntriesRequest { page_size: 1_000, ..Default::default() })
        .await;
    said.answered("audit entries", entries);
    for words in [&["secret", "delete", "kept-back", "--yes"][..], &["secret", "edit", "piped", "--no-auto-install"]] {
        said.ran(words.join(" "), &alice.run(words));
    }
}

// ================================================================ what is typed into the wrong place

/// Every argument there is, with the value in it. `?` is the value; no such command may do anything but refuse, or find nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_into_the_wrong_place_is_not_repeated() {
    const WORDS: &str = "
        ?; --?; -?
        secret ?; secret list ?; secret list --?; secret create x ? --private; secret create x --private --value ?
        secret create x --private --value=?; secret create x --private --password=?; secret create x=? --private
        secret create ? --private; secret create ? x --private; secret create x --private --variable ?
        secret create x --private=?; secret create x --private --value-file ?; secret show ?; secret rotate ?
        secret rotate x ?; secret rotate x --expect ?; secret edit ? --no-auto-install; secret edit x --variable ?
        secret delete ? --yes; secret delete x --expect ? --yes; secret import ? --private
        secret import x ? --private
        preview ?; preview --as ?; preview -e ?; leaks ?; leaks --secret ?; leaks --since ?; leaks --since=?
        env ?; env create ?; env show ?; env show default --version ?; env set ? A=1; env set default ?
        env set default ?=1; env set default A=1 --expect ?; env unset default ?; env unset ? A; env history ?
        env restore default ?; env restore ? 1
        session ?; session show ?; session end ?; session revoke ? --yes; session list ?; session list --user ?
        session list -e ?; session create --user ?; session create --automation -e ?
        session create --automation --ttl ?
        user ?; user invite ?; user invite x --role ?; user invite x --ttl ?; user role ? admin; user role second ?
        user remove ? --yes
        audit ?; audit list ?; audit list --actor ?; audit list --action ?; audit list --target ?; audit list -n ?
        audit verify ?
        login ?; login --join-file ?; login --join-file=? --replace
        logout ?; whoami ?; completions ?; demo ?; demo --from ?; -o ? whoami; whoami -o?
    ";
    const AGENT_WORDS: &str =
        "?; run ?; run --join-file ?; run --join ?; run --join=?; run --deadline ?; run --memory ?; run --once=?";
    const SERVER_WORDS: &str = "
        ?; serve ?; init ?; org create ?; serve --data-dir x --session-certificate-minutes ?; rewrap ?
        org create ? --admin x --data-dir x; init --org ? --admin x --data-dir x
        init --org x --admin ? --data-dir x
    ";
    let world = World::new().await;
    let homes = [
        world.cli("alice", Role::Member).await,
        world.cli("second", Role::Admin).await,
        Cli { home: world.dir.path().join("home-of-nobody") },
    ];
    for home in &homes[..2] {
        home.run_with(&["secret", "create", "x", "--private"], b"a value").ok();
    }
    let session = world.session("alice", "default").await.join;
    let person = world.invite("bob", Role::Member).await;
    let part = |join: &str| join[12..40].to_owned(); // of the token
    let mut said = Said::default();
    let typed = [
        Canary::new(),
        Canary::of(session.clone(), &[&part(&session)]),
        Canary::of(person.clone(), &[&part(&person)]),
        Canary::of(format!("-----BEGIN PRIVATE KEY-----\n{}", random_text(64)), &[]),
    ];
    for canary in &typed {
        let with =
            |words: &str| words.split_whitespace().map(|word| word.replace('?', &canary.text)).collect::<Vec<_>>();
        for words in commands(WORDS) {
            let words = with(words);
            // Members and nobody in JSON: what is refused by policy goes on record.
            for (home, output) in homes.iter().zip(["json", "table", "json"]) {
                let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["-o", output]).collect();
                said.ran(arguments.join(" "), &home.run_with(&arguments, b"a value"));
            }
        }
        let daemons = commands(AGENT_WORDS).map(|words| (AGENT, words));
        for (program, words) in daemons.chain(commands(SERVER_WORDS).map(|words| (SERVER, words))) {
            let words = with(words);
            let mut command = Command::new(program);
            command.args(&words).env("KEYFOB_LOG", "trace").current_dir(world.dir.path());
            let ran = run(&mut command, b"");
            assert_ne!(ran.code(), 0, "{words:?}");
            said.ran(words.join(" "), &ran);
        }
    }
    said.ran("audit", &homes[1].run(&["audit", "list", "--all", "-o", "json"]));
    for canary in &typed {
        assert_eq!(said.repeated(canary), Vec::<String>::new());
        assert_eq!(holding(canary, world.dir.path()), Vec::<String>::new());
    }
    // They were not burnt by it either.
    homes[2].run_with(&["login"], person.as_bytes()).ok();
    AgentRun::start(&session, &["--once"]).succeed();
}

fn commands(words: &str) -> impl Iterator<Item = &str> {
    words.split([';', '\n']).filter(|words| words.contains('?'))
}

/// An environment's values are in the clear by design; the warning that one should be a secret does not repeat it.
#[tokio::test]
async fn a_warning_does_not_repeat_what_it_warns_of() {
    let world = World::new().await;
    let admin = world.cli("second", Role::Admin).await;
    let token = random_text(36);
    let canary = Canary::of(format!("ghp_{token}"), &[&token]);
    let mut said = Said::default();
    for output in ["table", "json"] {
        // In JSON the environment's values are the answer.
        let ran = admin.run(&[
            "env",
            "set",
            "default",
            &format!("TOKEN_{}={}", output.to_uppercase(), canary.text),
            "-o",
            output,
        ]);
        let warned = if output == "table" { ran.stderr() } else { ran.json()["warnings"].to_string() };
        assert!(warned.contains("Use a secret"), "{warned}");
        said.note(output, warned);
        said.note(output, ran.stderr());
    }
    said.ran("audit", &admin.run(&["audit", "list", "--all", "-o", "json"]));
    said.note("the log", fs::read(&world.log).expect("the server's log"));
    assert_eq!(said.repeated(&canary), Vec::<String>::new());
    assert!(!holding(&canary, &world.data()).is_empty(), "it is there by design, and the search finds it");
}

// ================================================================ what it leans on

/// Memory for agents that are run to fail.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::Builder::new().prefix("keyfob-test-").tempdir_in("/dev/shm").expect("/dev/shm is there"))
    }

    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.0.path().join(name);
        fs::create_dir(&dir).expect("a new directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("our own directory");
        dir
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = umount2(&self.0.path().join("small"), MntFlags::MNT_DETACH); // where something was mounted
    }
}

/// Runs an agent that must end with this code and say this.
fn agent(place: &Place, join: &str, dir: &Path, code: i32, says: &str, said: &mut Said) {
    let file = place.0.path().join("join");
    fs::write(&file, join).expect("a file");
    let mut command = Command::new(AGENT);
    command
        .args(["run", "--once", "--allow-swappable", "--join-file"])
        .arg(&file)
        .arg("--dir")
        .arg(dir)
        .env("KEYFOB_LOG", "trace");
    let ran = run(&mut command, b"");
    assert!(ran.code() == code && ran.stderr().contains(says), "{}: {}{}", dir.display(), ran.stdout(), ran.stderr());
    said.ran(format!("an agent in {}", dir.display()), &ran);
}
