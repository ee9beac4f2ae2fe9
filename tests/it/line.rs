//! The main job: a member saves a secret, an orchestrator makes a session, an agent with nothing but a join string installs
//! it, and a shell sees the variable.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use keyfob::{
    domain::value::{MAX_ENVIRONMENT, MAX_PRIVATE, MAX_SHARED},
    wire::v1::{self, Role, Visibility},
};

use crate::world::{AgentRun, World, plain};

#[tokio::test]
async fn a_secret_saved_here_is_a_variable_there() {
    let world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    let ci = world.cli("ci", Role::Orchestrator).await;
    alice
        .run_with(&["secret", "create", "openai-api-key", "--private", "--value-file", "-"], b"sk-test-0123456789")
        .ok();
    alice
        .run_with(
            &["secret", "create", "pagerduty.token", "--shared", "--value-file", "-"],
            b"it's \"quoted\"\nand $(touch /x) `lines`",
        )
        .ok();
    alice.run_with(&["secret", "create", "tls-key", "--shared", "--file", "--value-file", "-"], b"\x00\xffbinary").ok();
    alice
        .run_with(
            &["secret", "create", "kept-back", "--shared", "--no-auto-install", "--value-file", "-"],
            b"not for everybody",
        )
        .ok();

    let made = ci.run(&["session", "create", "--user", "alice", "--environment", "default", "-o", "json"]).json();
    let join = made["join"].as_str().expect("a join string");
    let mut agent = world.agent_once(join);
    agent.succeed();

    let environ = agent.environ();
    assert_eq!(environ["OPENAI_API_KEY"], b"sk-test-0123456789");
    assert_eq!(environ["PAGERDUTY_TOKEN"], b"it's \"quoted\"\nand $(touch /x) `lines`");
    assert!(!environ.contains_key("KEPT_BACK"));
    assert_eq!(fs::read(String::from_utf8(environ["TLS_KEY"].clone()).unwrap()).unwrap(), b"\x00\xffbinary");
    for file in ["env", "env.sh", "env.fish", "environ", "manifest.json", "files/tls-key"] {
        let mode = fs::metadata(agent.dir.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o640, "{file}");
    }
    let manifest = fs::read_to_string(agent.dir.join("manifest.json")).unwrap();
    assert!(manifest.contains("OPENAI_API_KEY") && !manifest.contains("sk-test"), "{manifest}");
    assert_eq!(agent.manifest()["session"], made["id"]);

    let shell = Command::new("sh")
        .args(["-c", ". \"$0\"/env.sh; printf %s \"$OPENAI_API_KEY\""])
        .arg(&agent.dir)
        .output()
        .unwrap();
    assert_eq!(shell.stdout, b"sk-test-0123456789");

    // The string is spent, for this key and every other.
    let mut again = world.agent_once(join);
    let (code, printed) = again.finish();
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("ask for a new one"), "{printed}");
    assert!(!again.dir.join("env").exists());
}

#[tokio::test]
async fn who_gets_what() {
    let world = World::new().await;
    let alice = world.person("alice", Role::Member).await;
    let bob = world.person("bob", Role::Member).await;
    alice.create("db-url", Visibility::Shared, b"shared-value").await;
    alice.create("db_url", Visibility::Private, b"alices-value").await;
    bob.create("token", Visibility::Private, b"bobs-token").await;
    let set = v1::UpdateEnvironmentRequest {
        name: "default".into(),
        set: [("NODE_ENV", "development"), ("TOKEN", "from-environment"), ("DB_URL", "from-environment")]
            .map(|(variable, value)| v1::EnvironmentVariable { variable: variable.into(), value: value.into() })
            .into(),
        ..Default::default()
    };
    world.admin().environments().update_environment(set).await.expect("the admin sets variables");
    for (user, expected) in [
        ("alice", &[("DB_URL", "alices-value"), ("NODE_ENV", "development"), ("TOKEN", "from-environment")][..]),
        ("bob", &[("DB_URL", "shared-value"), ("NODE_ENV", "development"), ("TOKEN", "bobs-token")]),
        ("", &[("DB_URL", "shared-value"), ("NODE_ENV", "development"), ("TOKEN", "from-environment")]),
    ] {
        let session = world.session(user, "default").await;
        let mut agent = AgentRun::start(&session.join, &["--once"]);
        agent.succeed();
        let found: Vec<(String, String)> =
            agent.environ().into_iter().map(|(k, v)| (k, String::from_utf8(v).unwrap())).collect();
        let expected: Vec<(String, String)> = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(found, expected, "a session of {user:?}");
    }
}

#[tokio::test]
async fn no_more_variables_than_a_session_can_be_given() {
    let world = World::new().await;
    let alice = world.person("alice", Role::Member).await;
    let import = |visibility: Visibility, from: usize, count: usize, no_auto_install: bool| {
        let item = |n: usize| v1::ImportItem { name: format!("secret-{n}"), value: Some(plain(b"value")), line: 1 };
        let items = (from..from + count).map(item).collect();
        let mut secrets = alice.secrets();
        async move {
            let request = v1::ImportSecretsRequest {
                visibility: visibility.into(),
                items,
                no_auto_install,
                ..Default::default()
            };
            let reply = secrets.import_secrets(request).await.expect("an answer").into_inner();
            reply.problems.first().map(|problem| problem.reason.clone())
        }
    };
    for (visibility, most) in [(Visibility::Shared, MAX_SHARED), (Visibility::Private, MAX_PRIVATE)] {
        assert_eq!(import(visibility, 0, most, false).await, None);
        assert_eq!(import(visibility, most, 1, true).await, None, "one that is not installed");
        let refused = import(visibility, most + 1, 1, false).await.expect("one too many");
        assert!(refused.contains("turn auto-install off for some"), "{refused}");
    }
    let variable = |n| v1::EnvironmentVariable { variable: format!("V{n}"), value: String::new() };
    let set = |count| v1::UpdateEnvironmentRequest {
        name: "default".into(),
        set: (0..count).map(variable).collect(),
        ..Default::default()
    };
    world.admin().environments().update_environment(set(MAX_ENVIRONMENT)).await.expect("as many as there may be");
    let refused = world.admin().environments().update_environment(set(MAX_ENVIRONMENT + 1)).await.unwrap_err();
    assert!(refused.message().contains("200 variables"), "{refused}");
    let mut agent = world.agent_once(&world.session("alice", "default").await.join);
    // Of one name, private and shared are one variable, and a private one that is not installed hides the shared one.
    assert_eq!(agent.succeed().environ().len(), MAX_SHARED - 1 + MAX_ENVIRONMENT);
}
