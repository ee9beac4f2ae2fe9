//! How a session's agent says it is. The control plane parses it at the door: whoever holds a session's key may say anything.

use std::fmt;

use super::{
    name::Id,
    plain::{is_plain, plain},
};

/// Where an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Enrolling,
    Fetching,
    Ready,
    /// Goes on without secrets, or with the last bundle.
    Degraded,
    /// The control plane said no; what waits for the secrets stays closed.
    Refused,
    /// Gave up for another reason; what waits for the secrets stays closed.
    Failed,
}

impl Phase {
    const ALL: [Self; 6] = [Self::Enrolling, Self::Fetching, Self::Ready, Self::Degraded, Self::Refused, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enrolling => "enrolling",
            Self::Fetching => "fetching",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    pub fn parse(given: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == given)
    }
}

/// One report; what an agent leaves out is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub phase: Phase,
    /// The bundle installed.
    pub bundle: Option<Id>,
    pub memory_rung: Line<32>,
    pub files_rung: Line<32>,
    pub last_error: Line<500>,
    /// The last error may name a secret or its variable.
    pub last_error_names: bool,
    pub agent_version: Line<32>,
}

/// Up to so many bytes that a terminal prints as they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line<const MAX: usize>(String);

/// Why a text is no [`Line`]. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLine(usize);

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not up to {} bytes without line ends and control characters", self.0)
    }
}

impl std::error::Error for BadLine {}

impl<const MAX: usize> Line<MAX> {
    pub fn parse(given: &str) -> Result<Self, BadLine> {
        if given.len() <= MAX && is_plain(given) { Ok(Self(given.to_owned())) } else { Err(BadLine(MAX)) }
    }

    /// What there is room for, escaped where a terminal would obey it.
    pub fn cut(given: &str) -> Self {
        const MORE: &str = "...";
        let mut text = plain(given);
        if text.len() > MAX {
            let mut end = MAX - MORE.len();
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(MORE);
        }
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> From<Line<MAX>> for String {
    fn from(line: Line<MAX>) -> Self {
        line.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_parse_back() {
        for phase in Phase::ALL {
            assert_eq!(Phase::parse(phase.as_str()), Some(phase));
        }
        assert_eq!(Phase::parse(""), None);
    }

    #[test]
    fn lines() {
        for (given, parsed, cut) in [
            ("", true, ""),
            ("mlock", true, "mlock"),
            ("12345678", true, "12345678"),
            ("123456789", false, "12345..."),
            ("1234é6789", false, "1234..."), // not within a character
            ("ééééé", false, "éé..."),
            ("a\nb", false, r"a\nb"),
            ("\u{1b}[2J", false, r"\u{1b..."),
            ("\u{202e}", false, r"\u{202e}"),
        ] {
            assert_eq!(Line::<8>::parse(given).is_ok(), parsed, "{given:?}");
            let line = Line::<8>::cut(given);
            assert_eq!(line.as_str(), cut, "{given:?}");
            assert!(Line::<8>::parse(line.as_str()).is_ok(), "{given:?}");
        }
    }
}
