//! Sessions, and the agents in them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Sure;
use crate::wire::v1;

#[derive(Debug, Subcommand)]
pub enum Session {
    /// Make a session and print its join string, once
    ///
    /// Give the join string to the VM as systemd credential `keyfob.join` or as a file, never on a command line. It works
    /// once and for ten minutes at most.
    #[command(
        after_help = "Examples:\n  keyfob session create --user alice --environment default > join\n  keyfob session create --automation -o json | jq -r .join"
    )]
    Create(SessionCreate),
    /// List sessions, newest first
    #[command(visible_alias = "ls")]
    List(SessionList),
    /// Show one session
    Show {
        /// The session's id
        id: String,
    },
    /// End a session: its VM is gone
    End {
        /// The session's id
        id: String,
    },
    /// Revoke a session: its VM is not trusted any more
    ///
    /// Its agent's stream is cut at once, and the agent wipes the session's files; what runs there keeps what it has exported.
    Revoke {
        /// The session's id
        id: String,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Debug, Subcommand)]
pub enum Fleet {
    /// List agents, those of the newest sessions first
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  keyfob fleet list --stale\n  keyfob fleet list --environment default --outdated\n  keyfob fleet list -o json | jq -r '.[] | select(.agent.phase != \"ready\") | .id'"
    )]
    List(FleetFilter),
    /// Show one agent, also of a session that has ended
    Show {
        /// Its session's id
        id: String,
    },
    /// Show agents as they change, until interrupted
    ///
    /// On a terminal, a table that is redrawn, those that need a look first; else, a line for each change (-o json: an object).
    Watch(FleetFilter),
}

/// Which agents.
#[derive(Debug, Args)]
pub struct FleetFilter {
    /// Only of this user's sessions
    #[arg(long)]
    pub user: Option<String>,
    /// Only of this environment
    #[arg(long, short, value_name = "ENV")]
    pub environment: Option<String>,
    /// Only in this phase
    #[arg(long, value_enum)]
    pub phase: Option<Phase>,
    /// Only those that have been silent for three beats
    #[arg(long)]
    pub stale: bool,
    /// Only those whose bundle is not what their session would get now
    #[arg(long)]
    pub outdated: bool,
    /// Only those whose identity was seen at two places
    #[arg(long)]
    pub cloned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Redeeming its join string
    Enrolling,
    /// Fetching its bundle
    Fetching,
    /// Files are in place and read back
    Ready,
    /// Goes on without secrets, or with what it has
    Degraded,
    /// Refused by the control plane
    Refused,
    /// Gave up
    Failed,
}

impl From<Phase> for v1::Phase {
    fn from(given: Phase) -> Self {
        match given {
            Phase::Enrolling => Self::Enrolling,
            Phase::Fetching => Self::Fetching,
            Phase::Ready => Self::Ready,
            Phase::Degraded => Self::Degraded,
            Phase::Refused => Self::Refused,
            Phase::Failed => Self::Failed,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Agent {
    /// Show how an agent is, as it says itself; never a value
    ///
    /// On its own machine: root, and members of the group that reads the files. Over the network, where its configuration lets
    /// it listen: operators and admins of its organization, with this login. Names of private secrets are told on its own
    /// machine only, and to nobody else than their owner.
    #[command(
        after_help = "Examples:\n  keyfob agent status\n  keyfob agent status --address 192.0.2.7:7444 -o json\n  keyfob agent status --watch"
    )]
    Status(AgentStatus),
}

#[derive(Debug, Args)]
pub struct AgentStatus {
    /// The agent's socket on this machine
    #[arg(long, value_name = "PATH", default_value = "/run/keyfob-agent/status", conflicts_with = "address")]
    pub socket: PathBuf,
    /// An agent's address on the network, HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Go on showing it after each change
    #[arg(long)]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct SessionCreate {
    /// Whose session; it gets this user's private secrets
    #[arg(long, required_unless_present = "automation", conflicts_with = "automation")]
    pub user: Option<String>,
    /// Nobody's session: it gets shared secrets and the environment's variables only
    #[arg(long)]
    pub automation: bool,
    /// The environment
    #[arg(long, short, value_name = "ENV", default_value = "default")]
    pub environment: String,
    /// How long the join string works
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub ttl: u32,
}

#[derive(Debug, Args)]
pub struct SessionList {
    /// Only this user's
    #[arg(long)]
    pub user: Option<String>,
    /// Only of this environment
    #[arg(long, short, value_name = "ENV")]
    pub environment: Option<String>,
    /// Also ended, revoked and expired ones
    #[arg(long, short)]
    pub all: bool,
}
