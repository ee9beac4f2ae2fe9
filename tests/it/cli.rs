//! What people and scripts see of `keyfob`: exit codes, what goes to stdout and to stderr, and that no value ever does.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use keyfob::wire::v1::Role;
use serde_json::{Value as Json, json};

use crate::world::{Cli, KEYFOB, World, wait_for};

/// Stands for every value here, so that finding it anywhere is a finding.
const CANARY: &str = "canary-3b1f-value";

/// One command: its words, its stdin, and what must come of it. Of stdout and stderr, what they must contain.
struct Line(&'static [&'static str], &'static str, i32, &'static str, &'static str);

fn play(cli: &Cli, lines: &[Line]) {
    for Line(words, stdin, code, stdout, stderr) in lines {
        let ran = cli.run_with(words, stdin.as_bytes());
        let shown = format!("keyfob {}\n-- stdout\n{}-- stderr\n{}", words.join(" "), ran.stdout(), ran.stderr());
        assert_eq!(ran.code(), *code, "{shown}");
        assert!(ran.stdout().contains(stdout), "no {stdout:?} in {shown}");
        assert!(ran.stderr().contains(stderr), "no {stderr:?} in {shown}");
        assert!(!shown.replace(&words.join(" "), "").contains(CANARY), "a value in {shown}");
        let error = |line: &str| line.starts_with("keyfob: ") && !line.starts_with("keyfob: warning: ");
        assert!(*code != 0 || !ran.stderr().lines().any(error), "an error that was none: {shown}");
    }
}

fn homeless() -> (tempfile::TempDir, Cli) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cli = Cli { home: dir.path().join("home") };
    (dir, cli)
}

#[test]
fn wrong_usage_says_how_it_is_done() {
    let (_dir, cli) = homeless();
    play(
        &cli,
        &[
            Line(&[], "", 2, "", "Usage: keyfob"),
            Line(&["--help"], "", 0, "3  the control plane can't be reached", ""),
            Line(&["--version"], "", 0, "keyfob ", ""),
            Line(&["secrets"], "", 2, "", "'secret'"),
            Line(
                &["secret", "create"],
                "",
                2,
                "",
                "keyfob: the following required arguments were not provided:\n  <NAME>",
            ),
            Line(
                &["secret", "create", "x"],
                CANARY,
                2,
                "",
                "--private: only your own sessions; --shared: every session",
            ),
            Line(&["secret", "create", "x", "--private", "--shared"], CANARY, 2, "", "cannot be used with"),
            Line(&["secret", "create", "a b", "--private"], CANARY, 2, "", "use 1 to 128 letters"),
            Line(
                &["secret", "create", "x", CANARY, "--private"],
                "",
                2,
                "",
                "values and join strings are not given on the command line",
            ),
            Line(&["secret", "create", "x", "--value", CANARY, "--private"], "", 2, "", "--value-file"),
            Line(
                &["secret", "create", "x=canary-3b1f-value", "--private"],
                "",
                2,
                "",
                "values and join strings are not given on the command line",
            ),
            Line(
                &["secret", "rotate", "x", CANARY],
                "",
                2,
                "",
                "values and join strings are not given on the command line",
            ),
            Line(&["secret", "edit", "x", CANARY], "", 2, "", "a word too many, not repeated here"),
            Line(&["secret", "rotate", "x", "--force", "--expect", "v"], "", 2, "", "cannot be used with"),
            Line(
                &["login", "kfjoin1u_canary-3b1f-value"],
                "",
                2,
                "",
                "values and join strings are not given on the command line",
            ),
            Line(&["session", "create"], "", 2, "", "--user"),
            Line(&["session", "create", "--user", "a", "--automation"], "", 2, "", "cannot be used with"),
            Line(&["session", "create", "--user", "a", "--ttl", "601"], "", 2, "", "601 is not in 1..=600"),
            Line(&["user", "invite", "a", "--role", "king"], "", 2, "", "member, admin, orchestrator, operator"),
            Line(&["-o", "json", "session", "create"], "", 2, "", "{\"error\":{\"code\":\"usage\""),
            Line(&["-o", "json", "secret", "edit", "x", CANARY], "", 2, "", "{\"error\":{\"code\":\"usage\""),
        ],
    );
}

#[test]
fn without_a_login_the_next_step_is_told() {
    let (dir, cli) = homeless();
    let other_audience = "kfjoin1s_AAAA";
    play(
        &cli,
        &[
            Line(&["whoami"], "", 1, "", "keyfob: not logged in; run `keyfob login`"),
            Line(
                &["-o", "json", "whoami"],
                "",
                1,
                "",
                "{\"error\":{\"code\":\"unauthenticated\",\"message\":\"not logged in",
            ),
            Line(&["logout"], "", 0, "", "not logged in; nothing to remove"),
            Line(&["login"], "hello", 1, "", "this is no join string"),
            Line(&["login", "--join-file", "-"], "kfjoin1u_AAAA", 1, "", "the join string is damaged"),
            Line(
                &["login"],
                other_audience,
                1,
                "",
                "for a session's VM (keyfob-agent), not for a person; it was not used up",
            ),
            Line(&["login", "--join-file", "/nowhere/join"], "", 1, "", "/nowhere/join: No such file"),
        ],
    );
    // A directory that others can write is no place for a key, and is not made one.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let cli = Cli { home: dir.path().to_owned() };
    play(&cli, &[Line(&["login"], "kfjoin1u_AAAA", 1, "", "others can write")]);
    assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o777);
}

#[tokio::test]
async fn a_login_is_one_private_file_and_a_join_string_works_once() {
    let world = World::new().await;
    let join = world.invite("alice", Role::Member).await;
    let alice = Cli { home: world.dir.path().join("alice") };
    let said = alice.run_with(&["login"], join.as_bytes());
    assert_eq!(said.ok(), "logged in as alice of acme\n");
    let file = alice.home.join("identity.json");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&alice.home), mode(&file)), (0o700, 0o600));

    let whoami = alice.run(&["whoami", "-o", "json"]).json();
    assert_eq!(
        (&whoami["name"], &whoami["organization"], &whoami["role"]),
        (&json!("alice"), &json!("acme"), &json!("member"))
    );

    let again = alice.run_with(&["login"], join.as_bytes());
    assert!(again.code() == 1 && again.stderr().contains("already logged in as alice of acme"), "{}", again.stderr());
    let elsewhere = Cli { home: world.dir.path().join("elsewhere") };
    let spent = elsewhere.run_with(&["-o", "json", "login"], join.as_bytes());
    let error: Json = serde_json::from_str(&spent.stderr()).expect("one JSON object on stderr");
    assert_eq!((spent.code(), &error["error"]["code"]), (1, &json!("unauthenticated")));
    assert!(!elsewhere.home.join("identity.json").exists());

    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    play(&alice, &[Line(&["whoami"], "", 1, "", "can be read by others (mode 0640)")]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    play(
        &alice,
        &[
            Line(&["whoami"], "", 0, "alice", ""),
            Line(&["logout"], "", 2, "", "removing the login of alice of acme"),
            Line(&["logout", "--yes"], "", 0, "removed the login of alice of acme", ""),
            Line(&["whoami"], "", 1, "", "not logged in"),
        ],
    );
}

#[tokio::test]
async fn a_certificate_is_renewed_in_use_and_an_expired_one_says_so() {
    let world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    let file = alice.home.join("identity.json");
    let read = || -> Json { serde_json::from_slice(&fs::read(&file).unwrap()).unwrap() };
    let written = |json: &Json| fs::write(&file, json.to_string()).unwrap();
    let first = read();

    alice.run(&["whoami"]).ok();
    assert_eq!(read(), first, "renewed too early");

    // As it looks when most of its life has passed.
    let mut aged = first.clone();
    aged["not_before"] = "2020-01-01T00:00:00Z".into();
    written(&aged);
    alice.run(&["whoami"]).ok();
    let renewed = read();
    assert_ne!(renewed["chain"], first["chain"]);
    assert_eq!(renewed["key"], first["key"]);
    assert_ne!(renewed["not_before"], aged["not_before"]);

    aged["not_after"] = "2020-01-08T00:00:00Z".into();
    written(&aged);
    play(
        &alice,
        &[Line(
            &["whoami"],
            "",
            1,
            "",
            "this login (alice of acme) has expired; ask an admin for a new join string (`keyfob user invite alice`)",
        )],
    );
    // An expired one may be replaced without saying so.
    alice.run_with(&["login"], world.invite("alice", Role::Member).await.as_bytes()).ok();
    alice.run(&["whoami"]).ok();
}

#[tokio::test]
async fn the_life_of_a_secret() {
    let world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    play(
        &alice,
        &[
            Line(&["secret", "list"], "", 0, "", "no secrets yet; save one"),
            Line(
                &["secret", "create", "openai-api-key", "--private"],
                CANARY,
                0,
                "created private openai-api-key: $OPENAI_API_KEY",
                "openai-api-key will be $OPENAI_API_KEY in sessions",
            ),
            Line(
                &["secret", "create", "openai_api_key", "--private"],
                CANARY,
                1,
                "",
                "`openai-api-key` gives $OPENAI_API_KEY already",
            ),
            Line(
                &["secret", "create", "openai-api-key", "--private"],
                CANARY,
                1,
                "",
                "exists already; `keyfob secret rotate openai-api-key --private`",
            ),
            Line(
                &["secret", "create", "openai-api-key", "--shared", "--description", "the \u{1b}[2Jteam's"],
                CANARY,
                0,
                "created shared",
                "overridden by your private secret",
            ),
            Line(&["secret", "create", "2fa", "--private"], CANARY, 2, "", "would start with a digit"),
            Line(&["secret", "create", "path", "--shared"], CANARY, 1, "", "reserved"),
            Line(&["secret", "create", "empty", "--private"], "", 1, "", "the value is empty"),
            Line(&["secret", "create", "binary", "--private"], "a\0b", 1, "", "--file"),
            Line(
                &["secret", "create", "binary", "--private", "--file"],
                "canary\0value",
                0,
                "created",
                "its path in $BINARY",
            ),
            Line(
                &["secret", "create", "newline", "--private"],
                "canary-3b1f-value\n",
                0,
                "created",
                "to leave a newline at the end out: --trim-newline",
            ),
            Line(
                &["secret", "list", "--private"],
                "",
                0,
                "NAME            VARIABLE        VISIBILITY  AUTO  VERSION",
                "",
            ),
            Line(&["secret", "list"], "", 0, "overrides shared", ""),
            Line(&["secret", "list"], "", 0, "overridden by your private secret", ""),
            Line(&["secret", "list", "TEAM'S"], "", 0, "openai-api-key", ""),
            Line(&["secret", "list", "nothing-like-it"], "", 0, "", "no secret has this"),
            Line(&["secret", "show", "openai-api-key"], "", 1, "", "--private or --shared"),
            Line(&["secret", "show", "openai-api-key", "--shared"], "", 0, r"the \u{1b}[2Jteam's", ""),
            Line(&["secret", "show", "nothing"], "", 1, "", "`keyfob secret list` shows what there is"),
            Line(
                &["secret", "rotate", "newline"],
                CANARY,
                0,
                "rotated private newline: $NEWLINE, version ",
                "at their next boot",
            ),
            Line(&["secret", "edit", "newline"], "", 2, "", "nothing to change"),
            Line(&["secret", "edit", "newline", "--variable", "OTHER", "--no-auto-install"], "", 0, "$OTHER", ""),
            Line(&["secret", "show", "newline"], "", 0, "OTHER (chosen by hand)", ""),
            Line(&["secret", "edit", "newline", "--derive-variable", "--auto-install"], "", 0, "$NEWLINE", ""),
            Line(&["preview"], "", 0, "private openai-api-key", "a session of alice in default"),
            Line(&["preview", "--as", "root"], "", 1, "", "members preview their own sessions"),
            Line(&["secret", "delete", "newline"], "", 2, "", "add --yes"),
            Line(&["secret", "delete", "newline", "--expect", "old", "--yes"], "", 1, "", "was changed meanwhile"),
            Line(&["secret", "delete", "newline", "--yes"], "", 0, "deleted newline", ""),
            Line(&["secret", "delete", "newline", "--yes"], "", 1, "", "no such secret"),
        ],
    );
    let preview = alice.run(&["preview", "-o", "json"]).json();
    let item = preview["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|i| i["variable"] == "OPENAI_API_KEY")
        .expect("it is in scope");
    assert_eq!((&item["origin"], &item["installed"]), (&json!("private"), &json!(true)));
    assert!(item["overrides"][0].as_str().unwrap().contains("shared"), "{item}");
}

#[tokio::test]
async fn what_scripts_rely_on() {
    let world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    let root = world.cli("second", Role::Admin).await;
    let file = world.dir.path().join("value");
    fs::write(&file, CANARY).unwrap();
    let made = alice
        .run(&[
            "secret",
            "create",
            "db-url",
            "--shared",
            "--no-auto-install",
            "--value-file",
            file.to_str().unwrap(),
            "-o",
            "json",
        ])
        .json();
    let listed = alice.run(&["secret", "list", "db", "-o", "json"]).json();
    let secret = &listed[0];
    for (field, expected) in [
        ("name", json!("db-url")),
        ("variable", json!("DB_URL")),
        ("visibility", json!("shared")),
        ("auto_install", json!(false)),
        ("version", made["version"].clone()),
        ("delivery", json!("env")),
        ("created_by", json!("user/alice")),
        ("owner", Json::Null),
    ] {
        assert_eq!(secret[field], expected, "{field}");
    }
    for field in ["created_at", "updated_at", "rotated_at"] {
        let text = secret[field].as_str().unwrap();
        assert!(text.ends_with('Z') && text.contains('T'), "{field} is RFC 3339: {text}");
    }
    assert_eq!(listed.as_array().unwrap().len(), 1);

    let session = root.run(&["session", "create", "--user", "alice", "--environment", "default", "-o", "json"]).json();
    assert!(session["id"].is_string() && session["join"].as_str().unwrap().starts_with("kfjoin1s_"), "{session}");
    let invited = root.run(&["user", "invite", "bob", "-o", "json"]).json();
    assert!(invited["join"].as_str().unwrap().starts_with("kfjoin1u_"), "{invited}");

    // In a table's place, the join string stands alone.
    for words in [&["session", "create", "--automation"][..], &["user", "invite", "carol"]] {
        let ran = root.run(words);
        let stdout = ran.ok();
        assert!(stdout.starts_with("kfjoin1") && stdout.ends_with('\n') && stdout.lines().count() == 1, "{stdout}");
        assert!(ran.stderr().contains("works once"), "{}", ran.stderr());
    }
}

#[tokio::test]
async fn two_editors_do_not_overwrite_each_other() {
    let world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    let create = alice.run_with(&["secret", "create", "key", "--private", "-o", "json"], CANARY.as_bytes()).json();
    let old = create["version"].as_str().unwrap();
    // One editor has looked at the secret and now thinks about the value; the other saves meanwhile.
    let mut slow = spawn(&alice, &["secret", "rotate", "key"]);
    let (mut stdin, mut stderr) = (slow.stdin.take().unwrap(), slow.stderr.take().unwrap());
    let mut told = String::new();
    read_until(&mut stderr, &mut told, "at their next boot");
    let fast = alice.run_with(&["secret", "rotate", "key", "-o", "json"], CANARY.as_bytes()).json();
    stdin.write_all(CANARY.as_bytes()).unwrap();
    drop(stdin);
    stderr.read_to_string(&mut told).unwrap();
    assert_eq!(slow.wait().unwrap().code(), Some(1), "{told}");
    assert!(told.contains("`key` was changed meanwhile") && told.contains("keyfob secret show"), "{told}");
    assert_ne!(fast["version"], create["version"]);

    for (words, code) in [
        (&["secret", "rotate", "key", "--expect", old][..], 1),
        (&["secret", "rotate", "key", "--expect", fast["version"].as_str().unwrap()], 0),
        (&["secret", "rotate", "key", "--force"], 0),
    ] {
        assert_eq!(alice.run_with(words, CANARY.as_bytes()).code(), code, "{words:?}");
    }
    let shown = alice.run(&["secret", "show", "key", "-o", "json"]).json();
    let versions: Vec<_> = shown["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (v["version"].clone(), v["replaced_at"].is_null()))
        .collect();
    assert_eq!(versions.len(), 4);
    assert_eq!(versions.iter().filter(|(_, current)| *current).count(), 1);
    assert_eq!(versions[0], (shown["version"].clone(), true));
}

/// The sealing key of a server lives as long as its process; a value typed meanwhile is sealed to the new one's.
#[tokio::test]
async fn a_server_restarted_while_somebody_types_is_no_matter() {
    let mut world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    alice.run_with(&["secret", "create", "key", "--private"], CANARY.as_bytes()).ok();
    let mut editor = spawn(&alice, &["secret", "rotate", "key"]);
    let (mut stdin, mut stderr) = (editor.stdin.take().unwrap(), editor.stderr.take().unwrap());
    let mut told = String::new();
    read_until(&mut stderr, &mut told, "at their next boot");
    world.restart_server();
    stdin.write_all(CANARY.as_bytes()).unwrap();
    drop(stdin);
    stderr.read_to_string(&mut told).unwrap();
    assert_eq!(editor.wait().unwrap().code(), Some(0), "{told}");
}

#[tokio::test]
async fn an_import_is_all_or_nothing() {
    let world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    let count = || alice.run(&["secret", "list", "-o", "json"]).json().as_array().unwrap().len();
    let bad = "GOOD=canary-3b1f-value\n123=canary-3b1f-value\nEMPTY=\n";
    let ran = alice.run_with(&["secret", "import", "-", "--private"], bad.as_bytes());
    assert_eq!(ran.code(), 1);
    assert!(
        ran.stderr().contains("line 2: ") && ran.stderr().contains("line 3: ") && !ran.stderr().contains(CANARY),
        "{}",
        ran.stderr()
    );
    assert_eq!(count(), 0);
    play(
        &alice,
        &[
            Line(&["secret", "import", "-"], "A=canary-3b1f-value\n", 2, "", "--private: only your own sessions"),
            Line(&["secret", "import", "-", "--private"], "# nothing\n", 1, "", "holds no variables"),
            // What only the server knows: all of it, too.
            Line(
                &["secret", "import", "-", "--private"],
                "PATH=canary-3b1f-value\nA=canary-3b1f-value\nLD_PRELOAD=canary-3b1f-value\n",
                1,
                "",
                "line 3: LD_PRELOAD: ",
            ),
            Line(
                &["secret", "import", "-", "--private"],
                "A_KEY=canary-3b1f-value\nB_KEY=\"canary-3b1f-value\"\n",
                0,
                "B_KEY",
                "2 saved",
            ),
            Line(
                &["secret", "import", "-", "--private"],
                "A_KEY=canary-3b1f-value\nC_KEY=canary-3b1f-value\n",
                1,
                "",
                "line 1: A_KEY: ",
            ),
        ],
    );
    assert_eq!(count(), 2);
    let version = || alice.run(&["secret", "list", "A_KEY", "-o", "json"]).json()[0]["version"].clone();
    let before = version();
    alice
        .run_with(
            &["secret", "import", "-", "--private", "--rotate-existing"],
            b"A_KEY=canary-3b1f-value\nC_KEY=canary-3b1f-value\n",
        )
        .ok();
    assert_ne!(version(), before);
    assert_eq!(count(), 3);
}

#[tokio::test]
async fn environments_sessions_users_and_audit() {
    let world = World::new().await;
    let root = world.cli("second", Role::Admin).await;
    let alice = world.cli("alice", Role::Member).await;
    play(
        &root,
        &[
            Line(&["env", "list"], "", 0, "default", ""),
            Line(&["env", "set", "default", "A"], "", 2, "", "argument 1 has no `=`"),
            Line(
                &["env", "set", "default", "NODE_ENV=development", "LOG=a=b"],
                "",
                0,
                "set: default is at version 2",
                "",
            ),
            Line(&["env", "show", "default"], "", 0, "NODE_ENV  development", ""),
            Line(
                &["env", "set", "default", "TOKEN=ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"],
                "",
                0,
                "version 3",
                "Use a secret: keyfob secret create TOKEN",
            ),
            Line(&["env", "set", "default", "LOG=x", "--expect", "2"], "", 1, "", "keyfob env history default"),
            Line(&["env", "unset", "default", "TOKEN", "LOG"], "", 0, "version 4", ""),
            Line(&["env", "history", "default"], "", 0, "  - LOG=a=b", ""),
            Line(&["env", "history", "default"], "", 0, "  + NODE_ENV=development", ""),
            Line(&["env", "restore", "default", "2"], "", 0, "version 5", ""),
            Line(&["env", "history", "default"], "", 0, "version 5  ", ""),
            Line(&["env", "show", "default", "--version", "4"], "", 0, "NODE_ENV", ""),
            Line(&["env", "show", "nothing"], "", 1, "", "`keyfob env list` shows what there is"),
            Line(
                &["env", "create", "staging", "--description", "like production"],
                "",
                0,
                "created: staging is at version 1",
                "",
            ),
            Line(&["env", "list"], "", 0, "like production", ""),
            Line(&["env", "boot", "staging"], "", 0, "boot.deadline    90 s (default)", ""),
            Line(&["env", "boot", "staging", "--deadline", "3601"], "", 2, "", "3601 is not in 1..=3600"),
            Line(&["env", "boot", "staging", "--deadline", "0"], "", 2, "", "0 is not in 1..=3600"),
            Line(&["env", "boot", "staging", "--on-failure", "panic"], "", 2, "", "block, continue"),
            Line(&["env", "boot", "nothing"], "", 1, "", "`keyfob env list` shows what there is"),
            Line(&["env", "boot", "staging", "--deadline", "30"], "", 0, "set: staging is at version 2", ""),
            Line(&["env", "boot", "staging", "--on-failure", "continue"], "", 0, "version 3", ""),
            Line(&["env", "boot", "staging"], "", 0, "boot.deadline    30 s\nboot.on_failure  continue\n", ""),
            Line(&["env", "show", "staging"], "", 0, "boot.on_failure  continue", ""),
            Line(&["env", "boot", "staging", "--unset", "--deadline", "60"], "", 0, "version 4", ""),
            Line(
                &["env", "history", "staging"],
                "",
                0,
                "  - boot.deadline=30\n  + boot.deadline=60\n  - boot.on_failure=continue\n",
                "",
            ),
            Line(&["env", "restore", "staging", "1"], "", 0, "version 5", ""),
            Line(&["env", "show", "staging"], "", 0, "boot.on_failure  block (default)", ""),
            Line(&["env", "restore", "staging", "3"], "", 0, "version 6", ""),
            Line(&["audit", "list", "--action", "environment.", "-n", "6", "-o", "json"], "", 0, "deadline=60", ""),
            Line(&["session", "create", "--user", "nobody"], "", 1, "", "keyfob: "),
            Line(
                &["session", "create", "--user", "alice", "-e", "staging"],
                "",
                0,
                "kfjoin1s_",
                "pinned to staging version 6",
            ),
            Line(&["session", "list"], "", 0, "staging@6", ""),
            Line(&["session", "list", "--user", "second"], "", 0, "", "no live sessions"),
            Line(&["session", "show", "no-id"], "", 2, "", "26 lower-case letters"),
            Line(&["session", "show", "aaaaaaaaaaaaaaaaaaaaaaaaaa"], "", 1, "", "`keyfob session list --all`"),
            Line(&["user", "invite", "bob"], "", 0, "kfjoin1u_", "bob (member)"),
            Line(&["user", "invite", "second"], "", 0, "kfjoin1u_", "second (admin)"),
            Line(&["user", "role", "bob", "admin"], "", 0, "bob is admin now", ""),
            Line(&["user", "list"], "", 0, "not yet", ""),
            Line(&["user", "remove", "bob"], "", 2, "", "add --yes"),
            Line(&["user", "remove", "bob", "--yes"], "", 0, "removed bob", ""),
            Line(&["user", "remove", "bob", "--yes"], "", 1, "", "`keyfob user list` shows who is there"),
            Line(&["audit", "list", "--action", "user.", "-n", "3"], "", 0, "user.remove", ""),
            Line(&["audit", "verify"], "", 0, "the chain is whole; head ", ""),
        ],
    );
    play(
        &alice,
        &[
            Line(&["audit", "list"], "", 1, "", "only admins read the audit log"),
            Line(&["user", "invite", "eve"], "", 1, "", "only admins manage users"),
            Line(&["env", "set", "default", "A=1"], "", 1, "", "only admins change them"),
            Line(&["env", "boot", "default"], "", 0, "boot.on_failure  block (default)", ""),
            Line(&["env", "boot", "default", "--deadline", "5"], "", 1, "", "only admins change them"),
        ],
    );
    let environment = alice.run(&["env", "show", "staging", "-o", "json"]).json();
    assert_eq!(environment["boot"], json!({"deadline_seconds": 30, "on_failure": "continue"}));
    let history = alice.run(&["env", "history", "staging", "-o", "json"]).json();
    let unsaid = json!({"deadline_seconds": null, "on_failure": null});
    assert_eq!(history[0]["boot"], json!({"before": unsaid, "after": environment["boot"]}));
    assert_eq!(history[5]["boot"], Json::Null);
    let sessions = root.run(&["session", "list", "-o", "json"]).json();
    let id = sessions[0]["id"].as_str().unwrap();
    assert_eq!(root.run(&["session", "end", id]).ok(), format!("ended session {id}\n"));
    let all = root.run(&["session", "list", "--all", "-o", "json"]).json();
    assert_eq!((&all[0]["id"], &all[0]["state"]), (&json!(id), &json!("ended")));
    let entries = root.run(&["audit", "list", "--all", "--oldest-first", "-o", "json"]).json();
    let sequences: Vec<u64> = entries.as_array().unwrap().iter().map(|e| e["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_broken_audit_chain_fails_the_verification() {
    let mut world = World::new().await;
    let root = world.cli("second", Role::Admin).await;
    world.kill_server();
    let database = rusqlite::Connection::open(world.database()).expect("the store");
    let changed =
        database.execute("UPDATE audit SET actor = 'user/nobody' WHERE sequence = 2", []).expect("an entry to alter");
    assert_eq!(changed, 1);
    drop(database);
    world.restart_server();
    play(&root, &[Line(&["audit", "verify"], "", 1, "", "the audit chain is broken: entry 2 ")]);
    let ran = root.run(&["-o", "json", "audit", "verify"]);
    let found: Json = serde_json::from_str(&ran.stdout()).expect("JSON on stdout");
    assert_eq!((ran.code(), &found["intact"], &found["first_broken"]), (1, &json!(false), &json!(2)));
}

#[tokio::test]
async fn a_server_that_is_gone_is_exit_code_3() {
    let mut world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    let join = world.invite("bob", Role::Member).await;
    world.kill_server();
    play(
        &alice,
        &[
            Line(&["whoami"], "", 3, "", "can't reach the control plane at "),
            Line(&["-o", "json", "secret", "list"], "", 3, "", "{\"error\":{\"code\":\"unreachable\""),
        ],
    );
    let bob = Cli { home: world.dir.path().join("bob") };
    assert_eq!(bob.run_with(&["login"], join.as_bytes()).code(), 3);
    world.restart_server();
    play(&alice, &[Line(&["whoami"], "", 0, "alice", "")]);
    bob.run_with(&["login"], join.as_bytes()).ok(); // the join string was not burnt
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let (_dir, cli) = homeless();
    let mut child = spawn(&cli, &["completions", "bash"]);
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*stderr), (Some(141), ""));
}

#[test]
fn completions_and_pages_are_of_this_program() {
    let (dir, cli) = homeless();
    for (shell, contains) in
        [("bash", "complete -F _keyfob"), ("zsh", "#compdef keyfob"), ("fish", "complete -c keyfob")]
    {
        let script = cli.run(&["completions", shell]).ok();
        assert!(script.contains(contains) && !script.contains("stray"), "{shell}");
    }
    let pages = dir.path().join("man");
    cli.run(&["man", pages.to_str().unwrap()]).ok();
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/man");
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .filter(|n| n.to_string_lossy().starts_with("keyfob"))
            .collect();
        names.sort();
        names.retain(|n| !n.to_string_lossy().ends_with(".8")); // the daemons' own
        names
    };
    assert_eq!(names(&packaged), names(&pages));
    for name in names(&pages) {
        let same = fs::read(packaged.join(&name)).unwrap() == fs::read(pages.join(&name)).unwrap();
        assert!(same, "packaging/man/{} is out of date: cargo run -- man packaging/man", name.display());
    }
}

/// The prompt of a real terminal: asked twice, nothing echoed.
#[tokio::test]
async fn a_typed_value_is_not_echoed() {
    let world = World::new().await;
    let alice = world.cli("alice", Role::Member).await;
    for (entries, code, says) in
        [([CANARY, "another-value"], 1, "the two entries differ"), ([CANARY, CANARY], 0, "created private typed")]
    {
        let mut terminal =
            Terminal::run(&format!("{KEYFOB} secret create typed --private"), |c| c.env("KEYFOB_HOME", &alice.home));
        terminal.answer_hidden("(not shown): ", entries[0]);
        terminal.answer_hidden("Once more: ", entries[1]);
        let (ended, screen) = terminal.finish();
        assert_eq!(ended, code, "{screen}");
        assert!(screen.contains(says), "{screen}");
        assert!(!screen.contains(CANARY) && !screen.contains("another-value"), "{screen}");
    }
}

/// A program at a terminal of its own, which util-linux's `script` makes for it.
pub struct Terminal {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    name: String,
    screen: String,
    seen: usize,
}

impl Terminal {
    pub fn run(command: &str, set_up: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        // Whatever never comes ends the wait.
        let mut script = Command::new("timeout");
        script.args(["--foreground", "60", "script", "-qec", &format!("tty; exec {command}"), "/dev/null"]);
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = set_up(&mut script).spawn().expect("script (util-linux) runs");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut terminal = Self { child, stdin, stdout, name: String::new(), screen: String::new(), seen: 0 };
        terminal.wait_for("\n");
        terminal.name = terminal.screen.trim().to_owned();
        terminal
    }

    /// Until the program has printed this, after what was waited for before.
    pub fn wait_for(&mut self, text: &str) {
        let mut byte = [0];
        while !self.screen[self.seen..].contains(text) {
            assert_eq!(
                self.stdout.read(&mut byte).expect("a pipe"),
                1,
                "no {text:?} before the program's end: {}",
                self.screen
            );
            self.screen.push(char::from(byte[0])); // what is looked for is ASCII
        }
        self.seen = self.screen.len();
    }

    pub fn type_in(&mut self, keys: &str) {
        self.stdin.write_all(keys.as_bytes()).expect("the terminal is open");
    }

    /// Answers a question that must not echo.
    pub fn answer_hidden(&mut self, question: &str, answer: &str) {
        self.wait_for(question);
        wait_for("echo to be off", || {
            let settings = Command::new("stty").args(["-F", &self.name, "-a"]).output().expect("stty runs");
            String::from_utf8_lossy(&settings.stdout).contains("-echo ")
        });
        self.type_in(&format!("{answer}\r"));
    }

    /// Its exit code and all that was on the screen.
    pub fn finish(mut self) -> (i32, String) {
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).expect("a pipe");
        self.screen.push_str(&String::from_utf8_lossy(&rest));
        (self.child.wait().expect("our own child").code().unwrap_or(-1), self.screen)
    }
}

fn spawn(cli: &Cli, words: &[&str]) -> Child {
    let mut command = Command::new(KEYFOB);
    command
        .args(words)
        .env("KEYFOB_HOME", &cli.home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("keyfob starts")
}

fn read_until(from: &mut impl Read, into: &mut String, end: &str) {
    let mut byte = [0];
    while !into.contains(end) {
        assert_eq!(from.read(&mut byte).unwrap(), 1, "the program ended: {into}");
        into.push(char::from(byte[0]));
    }
}
