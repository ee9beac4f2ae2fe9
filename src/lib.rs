//! Keyfob gives every short-lived VM the secrets its session is entitled to, at boot, and sees to it that they are
//! found nowhere else. This page is the architecture.
//!
//! ```text
//!  member ── keyfob secret create ──► keyfob-server ◄── keyfob session create ── orchestrator
//!            (value sealed to the      │ stores it encrypted,        │ join string
//!             server's key)            │ every change audited        ▼
//!                                      │                     keyfob-agent, in the VM, at boot
//!                                      ├─ Enrol(token, CSR) ─► certificate (once, for one key)
//!                                      └─ Fetch(fresh key) ──► bundle, sealed to that key
//!                                                                    │ opened in secret memory
//!                                                                    ▼
//!                                          /run/keyfob: env, env.sh, env.fish, environ, files/, manifest.json
//! ```
//!
//! Data and imports each go one way:
//!
//! ```text
//! bytes -> wire (generated) -> domain (decides, renders) -> adapter (acts)
//! bin -> {server, agent, cli} -> {wire, tls, seal, memory} -> domain -> nothing of ours
//! ```
//!
//! # The rooms
//!
//! - [`domain`]: the words and rules. Names and variables, what a session gets ([`domain::resolve`]), who may do what
//!   ([`domain::policy`]), the audit chain ([`domain::audit`]), the files' formats ([`domain::env_file`]). No I/O, no
//!   clock, no environment, no async: time and randomness are arguments. `--no-default-features` builds it alone.
//! - `wire`: the generated messages of `proto/keyfob/v1`, and hand-written `Debug` for those that carry values.
//! - `seal`: HPKE. Bundles are sealed to a key that lives for one fetch; values from people to the server's key.
//! - `tls`: TLS 1.3 for both ends. Peers are known by the SPIFFE name in their certificate, not by host name.
//! - `memory`: memory that is neither swapped nor dumped. The only `unsafe` of the package.
//! - `agent`: join string -> identity -> bundle -> files. [`cli`]: one function per verb. Both are clients.
//! - `pam`: the PAM module, a library of its own: `environ` -> the session that opens. Uses the domain and nothing else.
//! - `server`: `edge` (connections) -> `grpc` (decode, decide, act, encode) -> `store` (rows; one writer that groups
//!   commits) with `vault` (envelope encryption), `keyring`, `ca` beside it. What is committed `streams` hears, which tells agents and
//!   people that wait, and ends the streams of whoever was revoked; `rollouts` drives pushes. `console` has pages for browsers, which make the same
//!   calls.
//!
//! # What holds by construction
//!
//! - A [`domain::policy::Decision`] becomes a `Grant` only in `server::store`, by writing its audit row in the
//!   transaction at hand, and the operations that change or deliver take a `Grant`. Skipping either does not compile.
//! - A value lives in a type that can't be printed, cloned or serialized ([`domain::value::Value`], `memory::SecretBuf`);
//!   a generated message that carries one has no derived `Debug`.
//! - The organization of a call comes from its certificate; no request has a field for it.
//! - Nothing but ciphertext enters transport buffers (rustls, h2 and prost wipe none of theirs): bundles are sealed
//!   before they are encoded, and opened straight into secret memory. A wiping allocator is the second line; and the only one for a value
//!   that somebody pastes into the console, whose connection ends with it.
//! - Errors hold names, never values; one function per program maps them to status or exit code. What does not parse as a
//!   name is none and is not repeated (`argv`), and a panic tells no text that was put together at run time (`panics`).

pub mod domain;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(any(feature = "agent", feature = "cli", feature = "server"))]
mod argv;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(any(feature = "agent", feature = "server"))]
mod exposition;
#[cfg(feature = "memory")]
pub mod harden;
#[cfg(any(feature = "agent", feature = "server"))]
pub mod logs;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "pam")]
pub mod pam;
#[cfg(any(feature = "agent", feature = "cli", feature = "server"))]
mod panics;
#[cfg(feature = "seal")]
pub mod seal;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "wire")]
pub mod wire;
