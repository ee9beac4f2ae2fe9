//! Who is in the organization, and what was done.

use clap::{Args, Subcommand, ValueEnum};

use super::Sure;
use crate::domain::identity;

#[derive(Debug, Subcommand)]
pub enum User {
    /// Add somebody and print their join string, once
    ///
    /// For somebody who is there already, prints a new join string: a new laptop, an expired certificate.
    #[command(
        after_help = "Examples:\n  keyfob user invite alice\n  keyfob user invite ci --role orchestrator -o json | jq -r .join"
    )]
    Invite {
        /// 1 to 64 lower-case letters, digits, `.`, `_` or `-`
        name: String,
        /// What they may do (default: member; for somebody who is there already, the role they have)
        #[arg(long, value_enum)]
        role: Option<Role>,
        /// How long the join string works
        #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=600))]
        ttl: u32,
    },
    /// List everyone
    #[command(visible_alias = "ls")]
    List,
    /// Make a member an admin, or an admin a member
    Role {
        /// Who
        name: String,
        /// The new role
        #[arg(value_enum)]
        role: Role,
    },
    /// Remove somebody: certificates stop working, sessions are revoked, private secrets are destroyed
    #[command(visible_alias = "rm")]
    Remove {
        /// Who
        name: String,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// A person: own private secrets, shared secrets, own sessions
    Member,
    /// A person who also manages users, environments, sessions and everyone's shared secrets, and reads the audit log
    Admin,
    /// A machine that boots VMs: makes and ends sessions
    Orchestrator,
    /// A person or machine that watches sessions and agents
    Operator,
}

impl From<Role> for identity::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Admin => Self::Admin,
            Role::Orchestrator => Self::Orchestrator,
            Role::Operator => Self::Operator,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// List entries, newest first
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  keyfob audit list --actor user/alice\n  keyfob audit list --action secret. --limit 20\n  keyfob audit list --all --oldest-first -o json"
    )]
    List(AuditList),
    /// Recompute the whole chain; fails and names the first entry that does not fit
    ///
    /// Prints the hash of the last entry. Note it elsewhere to notice that an old copy of the database was put back.
    Verify,
}

#[derive(Debug, Args)]
pub struct AuditList {
    /// Only of this actor: `user/NAME`, `session/ID`, `orchestrator/NAME`, `server`
    #[arg(long, value_name = "ACTOR")]
    pub actor: Option<String>,
    /// Only actions that start so: `secret.`, `bundle.deliver`
    #[arg(long, value_name = "PREFIX")]
    pub action: Option<String>,
    /// Only of this target: `secret/ID`, `environment/NAME`, `session/ID`, `user/NAME`
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, conflicts_with = "all")]
    pub limit: u32,
    /// Every entry
    #[arg(long)]
    pub all: bool,
    /// Oldest first
    #[arg(long)]
    pub oldest_first: bool,
}
