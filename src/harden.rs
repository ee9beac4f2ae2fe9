//! What a process that holds secrets asks of the kernel before it does anything else: no core dumps, no tracing by others of
//! its user, files for their owner alone, and as much locked memory as it may have.

use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
    stat::{Mode, umask},
};

/// Gives what could not be done, in words; nothing of it is worth stopping for.
pub fn harden() -> Vec<String> {
    let mut undone = Vec::new();
    let mut done = |what: &str, result: nix::Result<()>| {
        if let Err(error) = result {
            undone.push(format!("{what}: {error}"));
        }
    };
    umask(Mode::from_bits_truncate(0o077));
    done("PR_SET_DUMPABLE 0", hide());
    done("RLIMIT_CORE 0", setrlimit(Resource::RLIMIT_CORE, 0, 0));
    done(
        "RLIMIT_MEMLOCK",
        getrlimit(Resource::RLIMIT_MEMLOCK).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard)),
    );
    undone
}

/// Not dumpable: no core, and /proc/PID belongs to root, so other processes of this user read neither memory nor
/// environment. What is started does not inherit it, unlike all the rest.
pub fn hide() -> nix::Result<()> {
    prctl::set_dumpable(false)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::PermissionsExt, process::CommandExt},
        process::Command,
    };

    use nix::unistd::geteuid;

    use super::*;

    const ALONE: &str = "KEYFOB_TEST_HARDENED";

    /// In processes of its own, because nothing of it can be taken back.
    #[test]
    fn a_hardened_process() {
        if std::env::var_os(ALONE).is_some() {
            return hardened();
        }
        let nobody = geteuid().is_root().then_some(65534);
        for user in [Some(None), nobody.map(Some)].into_iter().flatten() {
            let mut again = Command::new("/proc/self/exe"); // a plain user may not reach the path
            again.args(["--exact", "harden::tests::a_hardened_process", "--nocapture"]).env(ALONE, "1");
            if let Some(user) = user {
                again.uid(user).gid(user);
            }
            let ran = again.output().unwrap();
            assert!(ran.status.success(), "as {user:?}: {}", String::from_utf8_lossy(&ran.stderr));
            assert!(String::from_utf8_lossy(&ran.stdout).contains("1 passed"));
        }
    }

    fn hardened() {
        assert!(prctl::get_dumpable().unwrap());
        assert_eq!(harden(), Vec::<String>::new());
        assert!(!prctl::get_dumpable().unwrap());
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
        let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap();
        assert_eq!(soft, hard);
        let file = tempfile::tempdir().unwrap();
        let file = file.path().join("new");
        fs::write(&file, "").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
