//! The control plane: `edge` (connections) -> `grpc` (decode, decide, act, encode) -> `store` (rows), with `vault`,
//! `keyring` and `ca` beside it.

pub mod ca;
pub mod edge;
pub mod error;
pub mod grpc;
mod histogram;
pub mod keyring;
pub mod metrics;
mod program;
mod serve;
pub mod store;
pub mod vault;

pub use program::{command, main};
