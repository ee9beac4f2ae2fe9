//! The OpenID provider (`npm/provider.mjs`), in a process of its own.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::npm;

pub const CLIENT: &str = "keyfob";
pub const CLIENT_SECRET: &str = "the secret of the client keyfob";

pub struct Provider {
    pub issuer: String,
    node: Child,
    /// It ends when this does.
    _alive: ChildStdin,
    _printed: BufReader<ChildStdout>,
}

impl Provider {
    pub fn start(redirect: &str) -> Self {
        let dir = npm::installed();
        let mut node = Command::new("node")
            .arg("provider.mjs")
            .arg(redirect)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs; tests/run installs it");
        let mut issuer = String::new();
        let mut printed = BufReader::new(node.stdout.take().expect("piped"));
        printed.read_line(&mut issuer).expect("its first line");
        let alive = node.stdin.take().expect("piped");
        Self { issuer: issuer.trim().to_owned(), node, _alive: alive, _printed: printed }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}
