//! The words and rules of Keyfob, as pure functions. Nothing here does I/O, reads a clock or the environment, or waits.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod audit;
pub mod boot;
pub mod dotenv;
pub mod env_file;
pub mod environ;
pub mod forms;
pub mod identity;
pub mod join;
pub mod name;
pub mod plain;
pub mod policy;
pub mod redact;
pub mod redaction;
pub mod report;
pub mod reserved;
pub mod resolve;
pub mod rollout;
pub mod suspicion;
pub mod value;
pub mod variable;
