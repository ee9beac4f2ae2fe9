//! What machines boot: the image, with the agent of this build installed. Made once for all tests of a run; a lock on it lasts
//! as long as the process, so that two runs do not meet.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::geteuid,
};

use crate::world::{AGENT, pam_module};

pub struct Tree {
    /// The image below, what was installed above, as overlayfs wants them named.
    pub layers: String,
    pub kernel: PathBuf,
    /// The private ssh key that opens every user's account.
    pub key: PathBuf,
    _lock: Flock<fs::File>,
}

const TOOLS: [&str; 7] = ["mmdebstrap", "systemd-nspawn", "qemu-system-x86_64", "mke2fs", "ssh", "unshare", "setpriv"];

/// Nothing where machines can't be booted: then a test is skipped, and says so. In CI it fails.
pub fn tree() -> Option<&'static Tree> {
    static TREE: OnceLock<Result<Tree, String>> = OnceLock::new();
    match TREE.get_or_init(|| possible().map(|()| make())) {
        Ok(tree) => Some(tree),
        Err(reason) if env::var_os("CI").is_some() => panic!("no machine can be booted: {reason}"),
        Err(reason) => {
            let _ = writeln!(io::stderr(), "skipped: {reason}");
            None
        }
    }
}

fn possible() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("booting machines needs root".into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let there = |tool: &&str| env::split_paths(&path).any(|dir| dir.join(tool).exists());
    match TOOLS.iter().find(|tool| !there(tool)) {
        Some(tool) => Err(format!("there is no {tool}; tests/run installs it")),
        None => Ok(()),
    }
}

/// Into a layer of its own: copying the tree takes longer than booting it.
const INSTALL: &str = r#"
dir=$1 image=$2
mkdir -p "$dir/installed" "$dir/work" "$dir/root"
mount -t overlay -o "lowerdir=$image/root,upperdir=$dir/installed,workdir=$dir/work" none "$dir/root"
exec tests/boot/install "$dir/root" "$3" "$4" "$5"
"#;

fn make() -> Tree {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("vm");
    fs::create_dir_all(&dir).expect("a directory below target");
    let lock = fs::File::create(dir.join("run.lock")).expect("a lock file");
    let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| e).expect("the lock");
    let image = PathBuf::from(run(Command::new("tests/boot/image").arg(&dir)).trim());
    let (installed, key) = (dir.join("installed"), dir.join("key"));
    run(Command::new("rm").arg("-rf").args([&installed, &dir.join("work"), &key]));
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    run(Command::new("unshare").args(["--mount", "sh", "-euc", INSTALL, "install"]).args([
        &dir,
        &image,
        &env::var_os("KEYFOB_AGENT").map_or_else(|| PathBuf::from(AGENT), PathBuf::from),
        pam_module(),
        &key.with_extension("pub"),
    ]));
    let layers = format!("{}:{}", installed.display(), image.join("root").display());
    Tree { layers, kernel: image.join("vmlinuz"), key, _lock: lock }
}

/// Runs a program that has to succeed; gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
