//! How an agent says it is: who may ask on its socket and over the network, what they are told, and that each change is told.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use keyfob::{
    client::{self, Credentials},
    domain::name::OrgName,
    tls,
    wire::v1::{self, AgentStatus, Phase, Role, Visibility, agent_status_service_client::AgentStatusServiceClient},
};
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use time::OffsetDateTime;
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::world::{AGENT, AgentRun, Api, KEYFOB, ORG, World, enrol, enrol_session, run, wait_for};

const VALUE: &[u8] = b"a value that nobody is told of";

fn socket(agent: &AgentRun) -> PathBuf {
    agent.dir.with_file_name("run-agent").join("status")
}

async fn local(agent: &AgentRun) -> Channel {
    client::connect_local(&socket(agent)).await.expect("the agent listens")
}

async fn status(channel: &Channel) -> Result<AgentStatus, Status> {
    let asked = AgentStatusServiceClient::new(channel.clone()).get_status(v1::GetStatusRequest {}).await;
    asked.map(|answer| answer.into_inner().status.expect("a status"))
}

async fn serving(channel: &Channel) -> Result<bool, Status> {
    let asked = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    asked.map(|answer| answer.into_inner().status == 1)
}

/// Waits for the files, and for the report that comes after them.
fn ready(agent: &AgentRun) {
    wait_for("the files, and the report", || agent.printed().contains("bundle"));
    wait_for("the manifest", || agent.dir.join("manifest.json").exists() && socket(agent).exists());
}

/// An agent that also listens on a port of its own; where.
pub fn listening(join: &str, parent: &Path, more: &str) -> (AgentRun, String) {
    let config = parent.join("agent.toml");
    fs::write(&config, format!("[status]\nlisten = '127.0.0.1:0'\n{more}")).unwrap();
    let agent = AgentRun::start(join, &["--config", config.to_str().unwrap()]);
    ready(&agent);
    let address = said(&agent.printed(), "the status is served to operators and admins listening=");
    (agent, address)
}

/// The word after this one in a log.
pub fn said(log: &str, after: &str) -> String {
    let log = plain(log);
    let at = log.find(after).unwrap_or_else(|| panic!("no `{after}` in {log}")) + after.len();
    log[at..].split_whitespace().next().expect("a word").to_owned()
}

/// Without colours.
fn plain(log: &str) -> String {
    let mut pieces = log.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or(piece, |(_, rest)| rest))
}

#[tokio::test]
async fn it_tells_what_is_installed_and_never_a_value() {
    let world = World::new().await;
    let alice = world.person("alice", Role::Member).await;
    alice.create("api-key", Visibility::Private, VALUE).await;
    alice.create("db-url", Visibility::Shared, VALUE).await;
    let kept = v1::CreateSecretRequest {
        name: "kept-back".into(),
        visibility: Visibility::Shared.into(),
        value: Some(crate::world::plain(VALUE)),
        no_auto_install: true,
        ..Default::default()
    };
    alice.secrets().create_secret(kept).await.unwrap();
    let made = world.session("alice", "default").await;
    let before = OffsetDateTime::now_utc().unix_timestamp();
    let agent = AgentRun::start(&made.join, &[]);
    ready(&agent);
    let channel = local(&agent).await;
    let mut changes = AgentStatusServiceClient::new(channel.clone())
        .watch_status(v1::WatchStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let found = loop {
        let found = changes.message().await.unwrap().expect("it goes on").status.unwrap();
        if found.phase() == Phase::Ready && found.last_contact.is_some() {
            break found;
        }
    };
    let manifest = agent.manifest();
    assert_eq!(found.session, made.session.unwrap().id);
    assert_eq!(manifest["bundle_version"], found.bundle_version.as_str());
    assert_eq!(manifest["sequence"], found.sequence);
    assert_eq!(
        (&*found.memory_rung, &*found.files_rung),
        (manifest["memory"].as_str().unwrap(), manifest["files"].as_str().unwrap())
    );
    let installed: Vec<_> = found.variables.iter().map(|v| (&*v.variable, &*v.name, v.origin().word())).collect();
    assert_eq!(installed, [("API_KEY", "api-key", "private"), ("DB_URL", "db-url", "shared")]);
    assert_eq!(manifest["variables"][0]["version"], found.variables[0].version.as_str());
    let left: Vec<_> = found.left_out.iter().map(|v| (&*v.variable, &*v.name, &*v.reason)).collect();
    assert_eq!(left, [("KEPT_BACK", "kept-back", "auto-install is off")]);
    let now = OffsetDateTime::now_utc().unix_timestamp();
    for at in [&found.installed_at, &found.last_contact] {
        assert!((before..=now).contains(&at.as_ref().unwrap().seconds), "{found:?}");
    }
    let ends = found.certificate_expires_at.as_ref().unwrap().seconds;
    assert!((before + 3_500..now + 3_700).contains(&ends), "an hour: {ends}");
    assert_eq!(found.last_error, "");

    // The same in words; and nowhere a value.
    let shown = |arguments: &[&str]| {
        let socket = socket(&agent);
        let all = [&["agent", "status", "--socket", socket.to_str().unwrap()], arguments].concat();
        run(Command::new(KEYFOB).args(all).env("KEYFOB_HOME", "/nonexistent"), b"")
    };
    let (table, json) = (shown(&[]).ok(), shown(&["-o", "json"]).json());
    for word in ["ready", "API_KEY", "KEPT_BACK", "auto-install is off", "files in place and read back"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert_eq!((&json["phase"], &json["healthy"]), (&"ready".into(), &true.into()));
    let everything = format!("{table}{json}{found:?}{}", agent.printed());
    assert!(!everything.contains(std::str::from_utf8(VALUE).unwrap()), "a value was told");
}

#[tokio::test]
async fn healthy_is_files_in_place() {
    let world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, VALUE).await;
    let agent = AgentRun::start(&world.session("", "default").await.join, &[]);
    ready(&agent);
    let channel = local(&agent).await;
    let mut watched =
        HealthClient::new(channel.clone()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    for (file, what) in [("env", "a file is gone"), ("manifest.json", "the manifest is gone")] {
        while watched.message().await.unwrap().unwrap().status != 1 {}
        assert!(serving(&channel).await.unwrap(), "before {what}");
        let (path, aside) = (agent.dir.join(file), agent.dir.with_file_name("aside"));
        fs::rename(&path, &aside).unwrap();
        assert!(!serving(&channel).await.unwrap(), "{what}");
        assert_eq!(watched.message().await.unwrap().unwrap().status, 2, "{what}");
        fs::rename(&aside, &path).unwrap();
    }
    while watched.message().await.unwrap().unwrap().status != 1 {}
    let unknown = HealthCheckRequest { service: "keyfob.v1.SecretService".into() };
    assert_eq!(HealthClient::new(channel).check(unknown).await.unwrap_err().code(), Code::NotFound);
}

/// An agent that has nothing yet says so, and is not healthy.
#[tokio::test]
async fn without_secrets_it_says_why() {
    let mut world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, VALUE).await;
    let join = world.session("", "default").await.join;
    world.kill_server();
    let agent = AgentRun::start(&join, &["--deadline", "1", "--on-failure", "continue"]);
    wait_for("the problem", || agent.dir.join("problem").exists());
    let channel = local(&agent).await;
    let found = status(&channel).await.unwrap();
    assert_eq!((found.phase(), &*found.bundle_version, serving(&channel).await.unwrap()), (Phase::Degraded, "", false));
    assert!(found.last_error.starts_with("can't reach the control plane"), "{}", found.last_error);
    world.restart_server();
    let mut changes = AgentStatusServiceClient::new(channel.clone())
        .watch_status(v1::WatchStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    while changes.message().await.unwrap().unwrap().status.unwrap().phase() != Phase::Ready {}
    assert!(serving(&channel).await.unwrap());
}

#[tokio::test]
async fn each_change_is_told() {
    let world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, VALUE).await;
    let agent = AgentRun::start(&world.session("", "default").await.join, &[]);
    ready(&agent);
    let channel = local(&agent).await;
    let mut changes =
        AgentStatusServiceClient::new(channel).watch_status(v1::WatchStatusRequest {}).await.unwrap().into_inner();
    // Where commands tell what they masked; it is there a moment after the files.
    wait_for("the other socket", || agent.dir.with_file_name("run-agent").join("socket").exists());
    let mut masked = 0;
    for round in 1..=5 {
        let mut redact = Command::new(AGENT)
            .args(["redact", "--dir"])
            .arg(&agent.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        redact.stdin.take().unwrap().write_all(VALUE).unwrap();
        assert!(redact.wait().unwrap().success());
        let told = async {
            loop {
                let status = changes.message().await.unwrap().expect("it goes on").status.unwrap();
                match status.redacted.iter().find(|r| r.variable == "API_KEY" && r.count > masked) {
                    Some(found) => break found.count,
                    None => continue,
                }
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(30), told).await;
        masked = told.unwrap_or_else(|_| panic!("round {round} was not told: {}", agent.printed()));
    }
}

/// Who may connect is the kernel's to say, by the socket's mode and group.
#[tokio::test]
async fn who_may_ask_on_the_socket() {
    if !nix::unistd::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "not tested: who may ask on the socket; being others takes root");
        return;
    }
    let world = World::new().await;
    world.admin().create("api-key", Visibility::Shared, VALUE).await;
    for (group, configured) in [("4711", None), ("4711", Some("4712"))] {
        let config = world.dir.path().join("agent.toml");
        fs::write(&config, configured.map_or_else(String::new, |g| format!("[status]\ngroup = '{g}'\n"))).unwrap();
        let arguments = ["--config", config.to_str().unwrap(), "--group", group];
        let agent = AgentRun::start(&world.session("", "default").await.join, &arguments);
        ready(&agent);
        for open in [agent.dir.parent().unwrap().to_owned(), agent.dir.with_file_name("run-agent")] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let may = configured.unwrap_or(group);
        let meta = fs::metadata(socket(&agent)).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.gid().to_string()), (0o660, may.to_owned()));
        // A copy that others can run, wherever this was built.
        let program = agent.dir.with_file_name("keyfob");
        // By another process: what this one writes, a child of another test may hold open, and then it can't be run.
        assert!(Command::new("install").args(["-m", "755", KEYFOB]).arg(&program).status().unwrap().success());
        for (who, uid, gid, groups, allowed) in [
            ("root", "0", "0", "0", true),
            ("of the group by its process", "4000", may, "4000", true),
            ("of the group among others", "4000", "4000", may, true),
            ("of another group", "4000", "4000", "4713", false),
            (
                "of the group that does not count here",
                "4000",
                "4000",
                if may == "4711" { "4712" } else { "4711" },
                false,
            ),
            ("nobody", "65534", "65534", "65534", false),
        ] {
            let mut ask = Command::new("setpriv");
            ask.args(["--reuid", uid, "--regid", gid, "--groups", groups]).arg(&program);
            ask.args(["agent", "status", "-o", "json", "--socket"]).arg(socket(&agent));
            let asked = run(&mut ask, b"");
            assert_eq!(asked.code(), if allowed { 0 } else { 1 }, "{who}: {}", asked.stderr());
            assert!(allowed || asked.stderr().contains("Permission denied"), "{who}: {}", asked.stderr());
        }
    }
}

/// Everybody who can have a certificate, and some who made theirs.
#[tokio::test]
async fn who_may_ask_over_the_network() {
    let mut world = World::new().await;
    let dir = world.dir.path().to_owned();
    let (issuer, made) = (authority(), dir.join("ca.pem"));
    let key = dir.join("ca-key.pem");
    fs::write(&made, issuer.pem()).unwrap();
    fs::write(&key, issuer.key().serialize_pem()).unwrap();
    // Trusted by everybody, so that certificates can be made here that are past their time.
    world.server_command(&["ca", "add", "--ca-cert", made.to_str().unwrap(), "--ca-key", key.to_str().unwrap()]);
    world.restart().await;

    let alice = world.person("alice", Role::Member).await;
    let bob = world.person("bob", Role::Member).await;
    let root2 = world.person("root2", Role::Admin).await;
    let demoted = world.person("demoted", Role::Admin).await;
    let op = world.person("op", Role::Operator).await;
    let removed = world.person("removed", Role::Operator).await;
    let ci = world.person("ci", Role::Orchestrator).await;
    let other = world.organization("other").await;
    let invite = v1::InviteUserRequest { name: "op".into(), role: Role::Operator.into(), ..Default::default() };
    let other_op = enrol(&other.users().invite_user(invite).await.unwrap().into_inner().join).await;
    alice.create("mine", Visibility::Private, VALUE).await;
    alice.create("ours", Visibility::Shared, VALUE).await;

    let session = enrol_session(&world.session("alice", "default").await.join).await;
    let (agent, address) = listening(&world.session("alice", "default").await.join, &dir, "");
    // After it was asked once, so that nothing of before counts.
    for who in [&demoted, &removed] {
        ask(&address, &who.credentials).await.unwrap().unwrap();
    }
    let users = world.admin().users();
    users
        .clone()
        .update_user(v1::UpdateUserRequest { name: "demoted".into(), role: Role::Member.into() })
        .await
        .unwrap();
    users.clone().remove_user(v1::RemoveUserRequest { name: "removed".into() }).await.unwrap();

    let now = OffsetDateTime::now_utc();
    let hour = time::Duration::HOUR;
    let forged = |from, to| forge(&issuer, "spiffe://keyfob/org/acme/operator/op", from, to, &alice.credentials);
    let in_time = Api { credentials: forged(now - hour, now + hour), channel: alice.channel.clone() };
    let expired = Api { credentials: forged(now - hour * 2, now - hour), channel: alice.channel.clone() };
    let stranger = {
        let elsewhere = authority();
        let made =
            forge(&elsewhere, "spiffe://keyfob/org/acme/operator/op", now - hour, now + hour, &alice.credentials);
        Api { credentials: made, channel: alice.channel.clone() }
    };

    // a: told; f: refused, by word; x: no handshake. Then the names that are told.
    for (who, by, expected, names) in [
        ("an operator", &op, 'a', &[][..]),
        ("an admin", &root2, 'a', &["OURS"]),
        ("the first admin", world.admin(), 'a', &["OURS"]),
        ("the session's user, a member", &alice, 'f', &[]),
        ("another member", &bob, 'f', &[]),
        ("an orchestrator", &ci, 'f', &[]),
        ("another session of the user", &session, 'f', &[]),
        ("another organization's admin", &other, 'f', &[]),
        ("another organization's operator", &other_op, 'f', &[]),
        ("an admin who is a member now", &demoted, 'f', &[]),
        ("an operator who was removed", &removed, 'f', &[]),
        ("an operator's name with a key not on record", &in_time, 'f', &[]),
        ("a certificate that has expired", &expired, 'x', &[]),
        ("a certificate of a stranger's authority", &stranger, 'x', &[]),
    ] {
        match ask(&address, &by.credentials).await {
            None => assert_eq!('x', expected, "{who}: no handshake"),
            Some(Ok(status)) => {
                assert_eq!('a', expected, "{who}: {status:?}");
                let told: Vec<_> = status.variables.iter().map(|v| &*v.variable).filter(|v| !v.is_empty()).collect();
                assert_eq!(told, names, "{who}");
                assert_eq!((status.variables.len(), status.names_hidden), (2, true), "{who}: {status:?}");
                assert!(status.variables.iter().all(|v| !v.version.is_empty()), "{who}");
                assert!(!format!("{status:?}").contains(std::str::from_utf8(VALUE).unwrap()), "{who}");
            }
            Some(Err(refused)) => {
                assert_eq!(('f', refused.code()), (expected, Code::PermissionDenied), "{who}: {refused:?}");
                assert!(!format!("{refused:?}").contains("OURS"), "{who}: {refused:?}");
            }
        }
    }
    assert!(nobody(&address, &alice.credentials).await, "a handshake without a certificate");

    // An admin who is the session's user knows their own names.
    world
        .admin()
        .users()
        .update_user(v1::UpdateUserRequest { name: "alice".into(), role: Role::Admin.into() })
        .await
        .unwrap();
    let own = ask(&address, &alice.credentials).await.unwrap().unwrap();
    assert_eq!(own.variables.iter().map(|v| &*v.variable).collect::<Vec<_>>(), ["MINE", "OURS"]);

    // The CLI, over the network.
    let cli = world.cli("console", Role::Operator).await;
    let shown = cli.run(&["agent", "status", "--address", &address, "-o", "json"]).json();
    assert_eq!(
        (&shown["phase"], &shown["healthy"], &shown["names_hidden"]),
        (&"ready".into(), &true.into(), &true.into())
    );
    let member = world.cli("carol", Role::Member).await.run(&["agent", "status", "--address", &address]);
    assert!(member.code() == 1 && member.stderr().contains("operators and admins"), "{}", member.stderr());
    let wrong = cli.run(&["agent", "status", "--address", &world.address]);
    assert!(wrong.code() == 1 && wrong.stderr().contains("is no agent of acme"), "{}", wrong.stderr());

    // A stream that is open ends with the right to it, also when nothing changes.
    let channel = client::connect_agent(&address, &OrgName::parse(ORG).unwrap(), &op.credentials).await.unwrap();
    let mut watched =
        AgentStatusServiceClient::new(channel).watch_status(v1::WatchStatusRequest {}).await.unwrap().into_inner();
    watched.message().await.unwrap().expect("the status as it is");
    world.admin().users().remove_user(v1::RemoveUserRequest { name: "op".into() }).await.unwrap();
    let ended = loop {
        if let Err(refused) = watched.message().await {
            break refused;
        }
    };
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended:?}");

    // With the control plane down, who was vouched for is still told, and nobody else is let in.
    world.kill_server();
    assert!(ask(&address, &root2.credentials).await.unwrap().is_ok());
    for (who, by) in [("a member, refused before", &bob), ("the operator, removed", &op)] {
        assert_eq!(ask(&address, &by.credentials).await.unwrap().unwrap_err().code(), Code::Unavailable, "{who}");
    }
    drop(agent);
}

/// All four calls give the same answer; `None` where there is no handshake.
async fn ask(address: &str, by: &Credentials) -> Option<Result<AgentStatus, Status>> {
    let channel = match client::connect_agent(address, &OrgName::parse(ORG).unwrap(), by).await {
        Ok(channel) => channel,
        Err(_) => return None,
    };
    let got = status(&channel).await;
    // With TLS 1.3, a client learns that its certificate was refused when it reads.
    if got.as_ref().is_err_and(|e| std::error::Error::source(e).is_some()) {
        return None;
    }
    let mut agent = AgentStatusServiceClient::new(channel.clone());
    let watched = agent.watch_status(v1::WatchStatusRequest {}).await.map(drop);
    let checked = serving(&channel).await.map(drop);
    let health = HealthClient::new(channel).watch(HealthCheckRequest::default()).await.map(drop);
    for (call, other) in [("watch", watched), ("check", checked), ("health's watch", health)] {
        assert_eq!(other.as_ref().err().map(Status::code), got.as_ref().err().map(Status::code), "{call}: {other:?}");
    }
    Some(got)
}

/// Whether somebody without a certificate gets nowhere.
async fn nobody(address: &str, like: &Credentials) -> bool {
    let config = tls::client_config_to(
        tls::Trust::Roots(like.roots.clone()),
        None,
        tls::Answers::AgentOf(OrgName::parse(ORG).unwrap()),
    );
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config.unwrap()));
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let Ok(mut tls) = connector.connect("localhost".try_into().unwrap(), tcp).await else { return true };
    let mut byte = [0];
    tokio::time::timeout(Duration::from_secs(20), tokio::io::AsyncReadExt::read(&mut tls, &mut byte))
        .await
        .is_ok_and(|read| read.is_err())
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "an authority of the test's");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn forge(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    uri: &str,
    from: OffsetDateTime,
    to: OffsetDateTime,
    like: &Credentials,
) -> Credentials {
    let key = client::new_key().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (from, to);
    let leaf = params.signed_by(&key, issuer).unwrap();
    Credentials {
        key: key.serialize_der().into(),
        chain: vec![leaf.der().clone()],
        roots: like.roots.clone(),
        not_before: from,
        not_after: to,
    }
}

/// What is configured and can't be had is no agent that runs without it.
#[tokio::test]
async fn what_it_can_not_listen_on_ends_it() {
    let world = World::new().await;
    let config = world.dir.path().join("agent.toml");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["listen", "metrics"] {
        fs::write(&config, format!("[status]\n{key} = '{address}'\n")).unwrap();
        let join = world.session("", "default").await.join;
        let (code, printed) = AgentRun::start(&join, &["--config", config.to_str().unwrap()]).finish();
        assert!(code == 1 && printed.contains(&format!("status.{key} {address}")), "{printed}");
    }
}

#[tokio::test]
async fn metrics_of_an_agent() {
    let world = World::new().await;
    let alice = world.person("alice", Role::Member).await;
    alice.create("my-own-name", Visibility::Private, VALUE).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = world.dir.path().join("agent.toml");
    fs::write(&config, format!("[status]\nmetrics = '{free}'\n")).unwrap();
    let agent = AgentRun::start(&world.session("alice", "default").await.join, &["--config", config.to_str().unwrap()]);
    ready(&agent);
    wait_for("it is ready", || scrape(&free.to_string(), "/metrics").contains("keyfob_agent_phase{phase=\"ready\"} 1"));
    let text = scrape(&free.to_string(), "/metrics");
    for line in ["keyfob_agent_healthy 1", "keyfob_agent_variables 1", "keyfob_agent_redacted_total 0"] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert!(!text.to_lowercase().replace('_', "-").contains("my-own-name"), "{text}");
    assert!(scrape(&free.to_string(), "/").starts_with("HTTP/1.1 404"));
}

/// The whole answer.
pub fn scrape(address: &str, path: &str) -> String {
    let mut tcp = std::net::TcpStream::connect(address).expect("metrics are handed out");
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut tcp, &mut text).unwrap();
    text
}
