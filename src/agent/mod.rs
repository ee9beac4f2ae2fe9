//! The agent: a join string becomes an identity, the identity a bundle, the bundle files that the session's shell reads.
//!
//! ```text
//! source: join string ─► run: enrol ─► fetch ─► secret memory ─► files ─► READY=1, report
//!   credential, file, MMDS   │ kept: the identity, in systemd's hands
//!                            └ renewed at 70 % of life, until SIGTERM; then the files are wiped
//! exec, doctor: what others make of the files
//! journal: what is logged, without the values
//! ```
//!
//! What it never does: take a join string from its command line, write a value anywhere but into its runtime directory, or
//! install part of a bundle.

mod config;
mod doctor;
mod exec;
mod fetch;
pub mod files;
pub mod journal;
mod kept;
mod mmds;
mod notify;
mod program;
mod report;
mod retry;
mod run;
pub mod runtime_dir;
mod source;

pub use program::{command, main};
