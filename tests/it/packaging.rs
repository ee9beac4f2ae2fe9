//! The packages, as trees made by `packaging/install` from the list in Cargo.toml, which cargo-deb reads too. Whether they
//! install, upgrade and boot is for tests/boot.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use clap_complete::Shell;
use tempfile::TempDir;

use crate::world::{AGENT, KEYFOB, SERVER, pam_module};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
/// Debian's name of an architecture; any will do.
const TRIPLET: &str = "x86_64-linux-gnu";
const UNITS: &str = "usr/lib/systemd/system";

/// The units of this machine's systemd, and above them all three packages.
static TREE: LazyLock<TempDir> = LazyLock::new(|| {
    let tree = tempfile::tempdir().expect("a temporary directory");
    let units = tree.path().join("usr/lib/systemd");
    fs::create_dir_all(&units).unwrap();
    ok(Command::new("cp").arg("-a").arg("/lib/systemd/system").arg(&units));
    let programs = tempfile::tempdir().expect("a temporary directory");
    for program in [AGENT, KEYFOB, SERVER].map(Path::new) {
        symlink(program, programs.path().join(program.file_name().unwrap())).unwrap();
    }
    let modules = programs.path().join("pam").join(TRIPLET).join("security");
    fs::create_dir_all(&modules).unwrap();
    symlink(pam_module(), modules.join("pam_keyfob.so")).unwrap();
    for package in ["keyfob-agent", "keyfob", "keyfob-server"] {
        ok(Command::new(repository("packaging/install")).arg(package).arg(tree.path()).arg(programs.path()));
    }
    tree
});

fn tree(path: &str) -> PathBuf {
    TREE.path().join(path)
}

fn repository(path: &str) -> PathBuf {
    Path::new(REPOSITORY).join(path)
}

/// What it prints, of which systemd-analyze prints nothing where all is well.
fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {printed}");
    printed
}

fn systemd_analyze(verb: &str) -> Command {
    let mut command = Command::new("systemd-analyze");
    command.arg(verb).arg("--root").arg(TREE.path());
    command
}

#[test]
fn units_hold_together() {
    // What the drop-ins are for, with a program that is there: each machine has others of these.
    let extended = ["ssh", "sshd", "cron", "crond", "getty@", "serial-getty@", "user@"];
    for name in extended {
        let unit = tree(UNITS).join(format!("{name}.service"));
        let _ = fs::remove_file(&unit);
        fs::write(unit, "[Service]\nExecStart=/usr/bin/keyfob-agent\n").unwrap();
    }
    let ours = [
        "keyfob-mount.service",
        "keyfob-agent.service",
        "keyfob-ready.target",
        "keyfob-redact.service",
        "systemd-journald@keyfob.service",
        "keyfob-server.service",
    ];
    let instances = extended.map(|name| format!("{}.service", name.replace('@', "@1")));
    for unit in ours.into_iter().chain(instances.iter().map(String::as_str)) {
        assert_eq!(ok(systemd_analyze("verify").args(["--man=no", unit])), "", "{unit}");
    }
}

/// In tenths: what is left is the network, and being in the host's root directory.
#[test]
fn services_are_confined() {
    for service in ["keyfob-agent.service", "keyfob-server.service"] {
        ok(systemd_analyze("security").args(["--offline=true", "--threshold=11", "--no-pager", service]));
    }
    // These name others as senders (CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID), as root, and leave their cgroup.
    for service in ["keyfob-redact.service", "systemd-journald@keyfob.service"] {
        ok(systemd_analyze("security").args(["--offline=true", "--threshold=29", "--no-pager", service]));
    }
}

#[test]
fn documents_of_units_are_installed() {
    for unit in [
        "keyfob-mount.service",
        "keyfob-agent.service",
        "keyfob-ready.target",
        "keyfob-redact.service",
        "systemd-journald@keyfob.service",
        "keyfob-server.service",
    ] {
        let text = fs::read_to_string(tree(UNITS).join(unit)).unwrap();
        let page =
            text.lines().find_map(|line| line.strip_prefix("Documentation=man:")).unwrap_or_else(|| panic!("{unit}"));
        let (name, section) = page.trim_end_matches(')').split_once('(').unwrap();
        assert!(tree("usr/share/man").join(format!("man{section}/{name}.{section}")).exists(), "{unit}: {page}");
    }
}

/// Enabled by the package's own script, in a tree where no systemd runs.
#[test]
fn the_agent_is_enabled_and_logins_wait() {
    let links = tree("etc/systemd/system");
    for link in [
        "multi-user.target.wants/keyfob-agent.service",
        "multi-user.target.wants/keyfob-ready.target",
        "sysinit.target.wants/keyfob-redact.service",
        "systemd-user-sessions.service.requires/keyfob-ready.target",
    ] {
        assert!(links.join(link).is_symlink(), "{link}");
    }
    assert!(!links.join("multi-user.target.wants/keyfob-server.service").exists(), "it has no data directory yet");
    for (file, names) in [("etc/passwd", &["keyfob-agent", "keyfob-server"][..]), ("etc/group", &["keyfob"])] {
        let text = fs::read_to_string(tree(file)).unwrap();
        for name in names {
            assert!(text.lines().any(|line| line.starts_with(&format!("{name}:"))), "{file}: {text}");
        }
    }
}

#[test]
fn modes() {
    for (path, mode) in [
        ("usr/bin/keyfob-agent", 0o755),
        ("usr/bin/keyfob", 0o755),
        ("usr/bin/keyfob-server", 0o755),
        ("etc/keyfob/agent.toml", 0o644),
        ("usr/lib/systemd/system/user@.service.d/50-keyfob.conf", 0o644),
        ("usr/lib/systemd/user-environment-generators/50-keyfob", 0o755),
        (&format!("usr/lib/{TRIPLET}/security/pam_keyfob.so"), 0o644),
    ] {
        assert_eq!(fs::metadata(tree(path)).unwrap().permissions().mode() & 0o7777, mode, "{path}");
    }
}

/// The page of each daemon names each of its commands and flags, and none that isn't there.
#[test]
fn pages_of_daemons_tell_all() {
    for (program, command) in [("keyfob-agent", keyfob::agent::command()), ("keyfob-server", keyfob::server::command())]
    {
        let page = fs::read_to_string(repository(&format!("packaging/man/{program}.8"))).unwrap();
        let words: Vec<_> = page.split_whitespace().collect();
        let told: BTreeSet<_> = words
            .windows(2)
            .filter(|two| two[0].ends_with("Fl"))
            .filter_map(|two| two[1].strip_prefix('-'))
            .filter(|flag| !flag.is_empty())
            .collect();
        let (mut flags, mut verbs) = (BTreeSet::from(["help".to_owned(), "version".to_owned()]), Vec::new());
        walk(&command, "", &mut flags, &mut verbs);
        assert_eq!(told, flags.iter().map(String::as_str).collect(), "{program}.8");
        for verb in verbs {
            assert!(page.contains(&verb), "{program}.8 does not tell of {verb}");
        }
    }
}

fn walk(command: &clap::Command, above: &str, flags: &mut BTreeSet<String>, verbs: &mut Vec<String>) {
    flags.extend(command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned));
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("{above} {}", verb.get_name()).trim_start().to_owned();
        walk(verb, &name, flags, verbs);
        if !verb.has_subcommands() {
            verbs.push(name);
        }
    }
}

/// With KEYFOB_WRITE_COMPLETIONS set they are written instead.
#[test]
fn completions_are_of_these_programs() {
    for (extension, shell) in [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)] {
        let of = |mut command: clap::Command, name: &str| {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, name, &mut script);
            script
        };
        for (program, script) in [
            ("keyfob", ok(Command::new(KEYFOB).args(["completions", extension])).into_bytes()),
            ("keyfob-agent", of(keyfob::agent::command(), "keyfob-agent")),
            ("keyfob-server", of(keyfob::server::command(), "keyfob-server")),
        ] {
            let file = repository(&format!("packaging/completions/{program}.{extension}"));
            if env::var_os("KEYFOB_WRITE_COMPLETIONS").is_some() {
                fs::write(&file, &script).unwrap();
            }
            let same = fs::read(&file).is_ok_and(|packaged| packaged == script);
            assert!(
                same,
                "{} is out of date: KEYFOB_WRITE_COMPLETIONS=1 cargo test --test it packaging",
                file.display()
            );
        }
    }
}

/// The installed agent reads the installed configuration.
#[test]
fn the_packaged_configuration_is_read() {
    let run = |config: &Path| {
        let output = Command::new(AGENT).arg("--config").arg(config).args(["exec", "--", "true"]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let packaged = tree("etc/keyfob/agent.toml");
    assert!(!run(&packaged).contains("agent.toml"), "{}", run(&packaged));
    let damaged = tree("etc/keyfob/damaged-agent.toml");
    fs::write(&damaged, fs::read_to_string(&packaged).unwrap().replace("#mmds", "mdms")).unwrap();
    assert!(run(&damaged).contains("agent.toml"), "{}", run(&damaged));
}

/// Each program works from where the package puts it.
#[test]
fn programs_run_stripped() {
    for program in [AGENT, KEYFOB, SERVER].map(|program| Path::new(program).file_name().unwrap()) {
        ok(Command::new(tree("usr/bin").join(program)).arg("--version"));
    }
}
