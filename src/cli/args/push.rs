//! How a change reaches running sessions.

use clap::{Args, Subcommand};

use super::Visibility;

/// Whether a change reaches running sessions, and how.
#[derive(Debug, Args)]
pub struct PushFlags {
    /// Push the change into running sessions too
    #[arg(long)]
    pub push: bool,
    #[command(flatten)]
    pub pace: Pace,
}

#[derive(Debug, Args)]
pub struct Pace {
    /// Sessions that are told and have not answered, at the most (default: all at once)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_in_flight: Option<u32>,
    /// Give a session up as unreachable when it has been silent for so long (default: 120)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=3_600))]
    pub patience: Option<u16>,
    /// Wait until every session is through; fail if one does not have it
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
#[group(id = "reach", required = true, multiple = false, args = ["secret", "environment", "session", "all"])]
pub struct Push {
    /// One secret, to the sessions in which it makes a difference
    #[arg(long, value_name = "NAME")]
    pub secret: Option<String>,
    /// Everything, to the sessions of one environment
    #[arg(long, short, value_name = "ENV")]
    pub environment: Option<String>,
    /// Everything, to one session
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Everything, to every session
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub visibility: Visibility,
    #[command(flatten)]
    pub pace: Pace,
}

#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// List rollouts, newest first
    #[command(visible_alias = "ls")]
    List,
    /// Show one rollout: its sessions and how far they are
    Show {
        /// The rollout's id
        id: String,
        /// Wait until every session is through; fail if one does not have it
        #[arg(long)]
        wait: bool,
    },
}
