//! Our own program again, in another role. What happens between fork and exec in a C program (a new session, a controlling
//! terminal) would be `unsafe` here; instead a process of ours does it for itself and then starts, or becomes, the next.
//!
//! A stage finds a socket in place of its standard input, and in the first packet over it what it is to do and the
//! descriptors for that: nothing is inherited that would have to be closed again.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
};

use clap::ValueEnum;
use serde::de::DeserializeOwned;

use super::packet;
use crate::harden;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Takes the environment and becomes the command.
    Command,
    /// Leads the session on the command's terminal.
    Monitor,
    /// Filters what the command's children still print when it has ended.
    Rest,
}

/// A stage that was started, and the socket to it.
pub struct Started {
    pub child: Child,
    pub socket: OwnedFd,
}

/// `own_group` makes it the leader of a process group.
pub fn start(stage: Stage, command: &[OsString], stdout: Stdio, stderr: Stdio, own_group: bool) -> io::Result<Started> {
    let (socket, theirs) = packet::pair()?;
    let name = match stage {
        Stage::Command => "command",
        Stage::Monitor => "monitor",
        Stage::Rest => "rest",
    };
    // Not a path: the program may have been replaced or removed since we were started.
    let mut again = Command::new("/proc/self/exe");
    again.arg0("keyfob-agent").args(["stage", name, "--"]).args(command);
    if own_group {
        again.process_group(0);
    }
    let child = again.stdin(Stdio::from(theirs)).stdout(stdout).stderr(stderr).spawn()?;
    Ok(Started { child, socket })
}

/// What this stage is to do.
pub fn task<T: DeserializeOwned>() -> io::Result<(T, Vec<OwnedFd>)> {
    let _ = harden::hide(); // what the kernel does not do changes nothing of the task
    let none = || io::Error::other("it is started by `keyfob-agent exec`, not by hand");
    packet::receive(io::stdin().as_fd()).map_err(|_| none())?.ok_or_else(none)
}
