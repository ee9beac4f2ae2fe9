//! Rollouts: a change pushed into running sessions, and how far each of them is.
//!
//! ```text
//! waiting ──► told ──► installed
//!    │          ├────► failed         told again when the session comes back: then installed, late
//!    ├──────────┴────► unreachable    likewise
//!    └───────────────► ended          the session is over
//! ```
//!
//! A push stands in the organization's audit chain, and so does every delivery: a delivery takes in the pushes before it. So
//! one number tells what an acknowledged bundle answers, however many pushes there were.

use super::name::{Id, UserName};

/// What is pushed to whom, with the facts that policy asks for.
#[derive(Debug, Clone)]
pub enum Reach {
    /// One secret, to the sessions in which it makes a difference.
    Secret {
        id: Id,
        owner: Option<UserName>,
        created_by: String,
    },
    /// Everything, to the sessions of one environment.
    Environment(String),
    Session {
        id: Id,
        user: Option<UserName>,
    },
    All,
}

impl Reach {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "secret",
            Self::Environment(_) => "environment",
            Self::Session { .. } => "session",
            Self::All => "all",
        }
    }

    /// The id or name of what is pushed; empty for everything.
    pub fn target(&self) -> &str {
        match self {
            Self::Secret { id, .. } | Self::Session { id, .. } => id.as_str(),
            Self::Environment(name) => name,
            Self::All => "",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Waiting,
    Told,
    Installed,
    Failed,
    Unreachable,
    Ended,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Told, Self::Installed, Self::Failed, Self::Unreachable, Self::Ended];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Told => "told",
            Self::Installed => "installed",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Ended => "ended",
        }
    }

    pub fn parse(given: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == given)
    }

    /// A rollout goes on for as long as one of its sessions is in such a state.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Told)
    }
}

/// How a rollout goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Sessions that are told and have not answered; 0 for all at once.
    pub max_in_flight: u32,
    /// Seconds of silence after which a session counts as unreachable.
    pub patience: u32,
}

impl Pace {
    pub const DEFAULT_PATIENCE: u32 = 120;
    pub const MAX_PATIENCE: u32 = 3_600;

    /// 0 means the default; `None` for more than there is.
    pub fn new(max_in_flight: u32, patience: u32) -> Option<Self> {
        let patience = if patience == 0 { Self::DEFAULT_PATIENCE } else { patience };
        (patience <= Self::MAX_PATIENCE).then_some(Self { max_in_flight, patience })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_parse_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse(""), None);
    }

    #[test]
    fn patience() {
        for (given, found) in [(0, Some(120)), (1, Some(1)), (3_600, Some(3_600)), (3_601, None)] {
            assert_eq!(Pace::new(0, given).map(|p| p.patience), found, "{given}");
        }
    }
}
