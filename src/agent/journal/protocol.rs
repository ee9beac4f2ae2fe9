//! What the agent and a redactor say to each other: one JSON message per packet of a SOCK_SEQPACKET socket.
//!
//! ```text
//! agent -> redactor  {"redaction":{}}  with a sealed memfd: Redaction::encode
//! redactor -> agent  {"state":{"mode":"whole-machine","working":true,"problem":null}}   at once, and when it changes
//!                    {"ok":{}}         the fingerprints are in use
//!                    {"leaks":[{"variable":…,"version":…,"form":…,"unit":…,"count":1}]}   about once a second
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::agent::leaks::Leak;

/// Where the redactors listen for the agent: the whole machine's, and that of the services that ask for it.
pub const SOCKETS: [&str; 2] = ["/run/keyfob-redact/agent", "/run/keyfob-redact/services"];

/// How a redactor fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub mode: String,
    /// What is logged passes through it.
    pub working: bool,
    pub problem: Option<String>,
    /// The fingerprints that it uses, of those that it was given. Known to the agent's end.
    #[serde(skip)]
    pub prints: Option<Arc<Vec<u8>>>,
}

impl State {
    pub fn uses(&self, prints: &Arc<Vec<u8>>) -> bool {
        self.prints.as_ref().is_some_and(|used| Arc::ptr_eq(used, prints))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToRedactor {
    Redaction {},
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToAgent {
    Ok {},
    Leaks(Vec<Leak>),
    State(State),
    Error { message: String, code: String },
}
