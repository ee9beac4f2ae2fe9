//! The agent: a join string becomes an identity, the identity a bundle, the bundle files that the session's shell reads.
//!
//! ```text
//! source: join string ─► run: enrol ─► fetch ─► secret memory ─► files ─► READY=1, report
//!   credential, file, MMDS   │ kept: the identity, in systemd's hands
//!                            └ serve: renewed at 70 % of life, leaks told, secrets lent; SIGTERM: the files are wiped
//!                                    └ watch: pushes, revocation
//! status: how it is, told to who may ask, and to the control plane in beats
//! exec, redact, doctor: what others make of the files
//! journal: what is logged, without the values
//! ```
//!
//! What it never does: take a join string from its command line, write a value anywhere but into its runtime directory, or
//! install part of a bundle.

mod arguments;
pub mod canary;
pub(crate) mod config;
mod doctor;
mod exec;
mod fetch;
pub mod files;
pub(crate) mod fingerprints;
mod hits;
pub mod journal;
pub(crate) mod kept;
pub(crate) mod leaks;
pub mod local;
pub(crate) mod machine;
mod memfd;
mod mmds;
mod notify;
mod packet;
mod program;
mod proof;
mod pty;
mod pty_monitor;
mod pty_terminal;
mod pump;
mod redact;
mod report;
mod retry;
pub(crate) mod run;
pub mod runtime_dir;
pub(crate) mod serve;
mod signals;
mod source;
mod stage;
pub(crate) mod status;
mod watch;

pub use program::{command, main};
