//! What comes from npm, at the versions that `npm/package-lock.json` pins: installed once, into the target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::world::Ran;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/console/npm");

/// A directory with `node_modules` and our own scripts in it.
pub fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm");
        let done = dir.join("done");
        let lock = fs::read(Path::new(HERE).join("package-lock.json")).expect("a file of ours");
        let fresh = fs::read(&done).is_ok_and(|before| before == lock);
        fs::create_dir_all(&dir).expect("our own directory");
        for entry in fs::read_dir(HERE).expect("our own directory") {
            let from = entry.expect("a file of ours").path();
            fs::copy(&from, dir.join(from.file_name().expect("a file"))).expect("our own directory");
        }
        if !fresh {
            let npm = Command::new("npm")
                .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
                .current_dir(&dir)
                .output();
            Ran(npm.expect("npm runs; tests/run installs it")).ok();
            fs::write(&done, lock).expect("last, so that what broke off is made anew");
        }
        dir
    })
}
