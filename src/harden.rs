//! What a process that holds secrets asks of the kernel before it does anything else: no core dumps, no tracing by others of
//! its user, files for their owner alone, and as much locked memory as it may have.

use nix::{
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        stat::{Mode, umask},
    },
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
    // Not dumpable: no core, and /proc/PID belongs to root, so other processes of this user read neither memory nor environment.
    done("PR_SET_DUMPABLE 0", prctl::set_dumpable(false));
    done("RLIMIT_CORE 0", setrlimit(Resource::RLIMIT_CORE, 0, 0));
    done("RLIMIT_MEMLOCK", getrlimit(Resource::RLIMIT_MEMLOCK).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard)));
    undone
}
