//! What a booting VM does when its secrets do not come: how long it waits, and whether it opens without them.
//!
//! An environment has a policy, and the join string carries it into the VM: it is needed when the control plane can't be
//! asked. Whoever builds the VM may decide otherwise (/etc/keyfob/agent.toml).

use std::fmt;

/// What is not said here is decided by whoever comes next: the VM's own configuration first, then the environment, then
/// [`BootPolicy::DEFAULT_DEADLINE`] and [`OnFailure::Block`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootPolicy {
    /// Seconds from the agent's start to its giving up, 1 to [`BootPolicy::MAX_DEADLINE`].
    pub deadline: Option<u16>,
    pub on_failure: Option<OnFailure>,
}

/// When the deadline has passed, or the control plane refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The agent fails, and what waits for it stays closed.
    Block,
    /// The VM opens without secrets, visibly so, and the agent goes on trying.
    Continue,
}

impl OnFailure {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Continue => "continue",
        }
    }

    pub fn parse(given: &str) -> Option<Self> {
        [Self::Block, Self::Continue].into_iter().find(|o| o.as_str() == given)
    }
}

/// Why a policy can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPolicy {
    Deadline(u64),
    OnFailure,
}

impl fmt::Display for BadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline(seconds) => {
                write!(f, "boot.deadline is {seconds} seconds, not 1 to {}", BootPolicy::MAX_DEADLINE)
            }
            Self::OnFailure => f.write_str("boot.on_failure is neither `block` nor `continue`"),
        }
    }
}

impl std::error::Error for BadPolicy {}

impl BootPolicy {
    pub const DEFAULT_DEADLINE: u16 = 90;
    pub const MAX_DEADLINE: u16 = 3_600;

    /// From a number of seconds, where 0 leaves it unsaid.
    pub fn new(seconds: u64, on_failure: Option<OnFailure>) -> Result<Self, BadPolicy> {
        match u16::try_from(seconds) {
            Ok(0) => Ok(Self { deadline: None, on_failure }),
            Ok(deadline @ 1..=Self::MAX_DEADLINE) => Ok(Self { deadline: Some(deadline), on_failure }),
            _ => Err(BadPolicy::Deadline(seconds)),
        }
    }

    /// This one, and what it leaves open from another.
    pub fn or(self, weaker: Self) -> Self {
        Self { deadline: self.deadline.or(weaker.deadline), on_failure: self.on_failure.or(weaker.on_failure) }
    }

    pub fn deadline(self) -> u16 {
        self.deadline.unwrap_or(Self::DEFAULT_DEADLINE)
    }

    pub fn on_failure(self) -> OnFailure {
        self.on_failure.unwrap_or(OnFailure::Block)
    }

    /// Three bytes in a join string: the deadline, big-endian, 0 for unsaid; 0, 1 for block, 2 for continue.
    pub fn to_bytes(self) -> [u8; 3] {
        let [high, low] = self.deadline.unwrap_or(0).to_be_bytes();
        let on_failure = match self.on_failure {
            None => 0,
            Some(OnFailure::Block) => 1,
            Some(OnFailure::Continue) => 2,
        };
        [high, low, on_failure]
    }

    pub fn from_bytes([high, low, on_failure]: [u8; 3]) -> Option<Self> {
        let on_failure = match on_failure {
            0 => None,
            1 => Some(OnFailure::Block),
            2 => Some(OnFailure::Continue),
            _ => return None,
        };
        Self::new(u16::from_be_bytes([high, low]).into(), on_failure).ok()
    }
}

/// What is said: `deadline=30 on_failure=continue`.
impl fmt::Display for BootPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deadline = self.deadline.map(|seconds| format!("deadline={seconds}"));
        let on_failure = self.on_failure.map(|what| format!("on_failure={}", what.as_str()));
        f.write_str(&[deadline, on_failure].into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn policy(deadline: Option<u16>, on_failure: Option<OnFailure>) -> BootPolicy {
        BootPolicy { deadline, on_failure }
    }

    #[test]
    fn who_decides() {
        use OnFailure::{Block, Continue};
        let unsaid = BootPolicy::default();
        for (vm, environment, deadline, on_failure) in [
            (unsaid, unsaid, 90, Block),
            (unsaid, policy(Some(10), Some(Continue)), 10, Continue),
            (policy(Some(20), None), policy(Some(10), Some(Continue)), 20, Continue),
            (policy(None, Some(Block)), policy(Some(10), Some(Continue)), 10, Block),
        ] {
            let decided = vm.or(environment);
            assert_eq!((decided.deadline(), decided.on_failure()), (deadline, on_failure));
        }
    }

    #[test]
    fn seconds() {
        for (seconds, expected) in [
            (0, Ok(None)),
            (1, Ok(Some(1))),
            (3_600, Ok(Some(3_600))),
            (3_601, Err(BadPolicy::Deadline(3_601))),
            (65_537, Err(BadPolicy::Deadline(65_537))),
        ] {
            assert_eq!(BootPolicy::new(seconds, None).map(|p| p.deadline), expected);
        }
    }

    #[test]
    fn words() {
        for (policy, words) in [
            (policy(None, None), ""),
            (policy(Some(30), None), "deadline=30"),
            (policy(None, Some(OnFailure::Block)), "on_failure=block"),
            (policy(Some(30), Some(OnFailure::Continue)), "deadline=30 on_failure=continue"),
        ] {
            assert_eq!(policy.to_string(), words);
        }
    }

    #[test]
    fn bytes_there_and_back() {
        for policy in [
            policy(None, None),
            policy(Some(1), Some(OnFailure::Block)),
            policy(Some(3_600), Some(OnFailure::Continue)),
        ] {
            assert_eq!(BootPolicy::from_bytes(policy.to_bytes()), Some(policy));
        }
        for bytes in [[0, 0, 3], [0x0e, 0x11, 0], [0xff, 0xff, 1]] {
            assert_eq!(BootPolicy::from_bytes(bytes), None, "{bytes:?}");
        }
    }
}
