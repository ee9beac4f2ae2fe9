//! The control plane: `edge` (connections) -> `grpc` (decode, decide, act, encode) -> `store` (rows), with `vault`,
//! `keyring` and `ca` beside it; `console` (pages) stands where `edge` meets `grpc`. What the store commits `streams` hears, who tells those that listen; `rollouts` drives pushes.

pub mod ca;
mod console;
pub mod edge;
pub mod error;
pub mod grpc;
mod histogram;
pub mod keyring;
pub mod metrics;
mod program;
pub(crate) mod rollouts;
mod serve;
pub mod store;
pub mod streams;
pub mod vault;

pub use program::{command, main};
