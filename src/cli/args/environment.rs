//! Environments.

use clap::{Args, Subcommand, ValueEnum};

use super::Sure;
use crate::domain::boot::{self, BootPolicy};

#[derive(Debug, Subcommand)]
pub enum Env {
    /// Make an environment
    Create {
        /// 1 to 64 lower-case letters, digits or `-`
        name: String,
        /// A note for people
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        description: String,
    },
    /// List environments
    #[command(visible_alias = "ls")]
    List,
    /// Show an environment's variables
    Show {
        /// The environment
        name: String,
        /// An older version
        #[arg(long, value_name = "N")]
        version: Option<u64>,
    },
    /// Set variables; makes one new version
    ///
    /// The values stay in the environment's history and everyone can read them: whatever must not be seen is a secret
    /// (`keyfob secret create`).
    #[command(after_help = "Examples:\n  keyfob env set default NODE_ENV=development LOG_LEVEL=info")]
    Set {
        /// The environment
        name: String,
        /// What to set
        #[arg(required = true, value_name = "VARIABLE=VALUE")]
        variables: Vec<String>,
        /// Go on only if this is still the newest version
        #[arg(long, value_name = "N")]
        expect: Option<u64>,
        #[command(flatten)]
        sure: Sure,
    },
    /// Unset variables; makes one new version
    Unset {
        /// The environment
        name: String,
        /// What to unset
        #[arg(required = true, value_name = "VARIABLE")]
        variables: Vec<String>,
        /// Go on only if this is still the newest version
        #[arg(long, value_name = "N")]
        expect: Option<u64>,
    },
    /// Show or change what a session's VM does when its secrets do not come; a change makes one new version
    ///
    /// A session's join string carries the policy into its VM, whose own configuration (/etc/keyfob/agent.toml) comes
    /// before it.
    #[command(
        after_help = "Examples:\n  keyfob env boot default\n  keyfob env boot default --deadline 30 --on-failure continue\n  keyfob env boot default --unset"
    )]
    Boot(EnvBoot),
    /// Show who changed what, and when
    History {
        /// The environment
        name: String,
    },
    /// Make a new version that equals an older one
    Restore {
        /// The environment
        name: String,
        /// The version to go back to
        version: u64,
    },
}

#[derive(Debug, Args)]
pub struct EnvBoot {
    /// The environment
    pub name: String,
    /// How long the VM waits for its secrets, from the agent's start: 1 to 3600 (unsaid: 90)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=i64::from(BootPolicy::MAX_DEADLINE)))]
    pub deadline: Option<u16>,
    /// What it does then, or when the control plane refuses (unsaid: block)
    #[arg(long, value_enum)]
    pub on_failure: Option<OnFailure>,
    /// Leave unsaid what no other flag says
    #[arg(long)]
    pub unset: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// Stay closed: the agent fails, and what waits for it does not start
    Block,
    /// Open without secrets, visibly so; the agent goes on trying
    Continue,
}

impl From<OnFailure> for boot::OnFailure {
    fn from(given: OnFailure) -> Self {
        match given {
            OnFailure::Block => Self::Block,
            OnFailure::Continue => Self::Continue,
        }
    }
}
