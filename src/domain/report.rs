//! How a session's agent says it is, and what it says was masked in the session's logs. The control plane parses it at the
//! door: whoever holds a session's key may say anything.

use std::fmt;

use super::{
    forms::Form,
    name::Id,
    plain::{is_plain, plain},
    variable::Variable,
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
    /// What became of the canary in the session's logs.
    pub redaction: Line<200>,
    pub last_error: Line<500>,
    /// The last error may name a secret or its variable.
    pub last_error_names: bool,
    pub agent_version: Line<32>,
}

/// How many leaks one report may have.
pub const MAX_LEAKS: usize = 200;

/// A value of a session that was found, and masked, in what one unit wrote; and how often since the last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    pub variable: Variable,
    /// Whose leak it is: versions are unique, and a secret may have had another variable when it was delivered.
    pub version: Line<64>,
    /// A [`Form`]'s word; [`OTHER`] for those of agents that are newer than us.
    pub form: &'static str,
    /// Empty where it is not known: a process may be gone by the time its line is read.
    pub unit: Line<255>,
    pub count: u64,
}

/// What of a leak can't be kept. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLeak(&'static str);

impl fmt::Display for BadLeak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a leak's {}", self.0)
    }
}

impl std::error::Error for BadLeak {}

impl Leak {
    pub fn parse(variable: &str, version: &str, form: &str, unit: &str, count: u64) -> Result<Self, BadLeak> {
        fn line<const MAX: usize>(given: &str, bad: &'static str) -> Result<Line<MAX>, BadLeak> {
            Line::parse(given).ok().filter(|line| !line.as_str().is_empty()).ok_or(BadLeak(bad))
        }
        Ok(Self {
            variable: Variable::parse(variable).map_err(|_| BadLeak("variable is none"))?,
            version: line(version, "version is not 1 to 64 bytes of plain text")?,
            form: line::<32>(form, "form is not 1 to 32 bytes of plain text").map(|form| known(&form))?,
            unit: Line::parse(unit).map_err(|_| BadLeak("unit is not up to 255 bytes of plain text"))?,
            count: Some(count).filter(|count| *count > 0).ok_or(BadLeak("count is 0"))?,
        })
    }

    /// What the agent itself put into the logs, to see whether it is masked there.
    pub fn is_canary(&self) -> bool {
        self.variable.as_str() == CANARY
    }
}

/// Stands for all that is not told apart.
pub const OTHER: &str = "(other)";

fn known(form: &Line<32>) -> &'static str {
    Form::ALL.into_iter().map(Form::as_str).find(|word| *word == form.as_str()).unwrap_or(OTHER)
}

/// No secret can have it: our own variables are reserved.
pub const CANARY: &str = "KEYFOB_CANARY";

/// Whether a count that has grown is worth an entry in the audit log: the first time, and with every decimal digit more. A
/// session may repeat itself as often as it likes.
pub fn is_news(before: u64, after: u64) -> bool {
    before == 0 || after.ilog10() > before.ilog10()
}

/// How many phase changes of a session are put on record within an hour; further ones are kept, not recorded.
pub const MAX_PHASES: u64 = 20;
pub const PHASE_HOUR: i64 = 3_600 * 1_000_000;

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
    fn leaks() {
        let long = |n| "x".repeat(n);
        for (variable, version, form, unit, count, bad) in [
            ("DB_URL", "v1", "raw", "nginx.service", 1, None),
            ("DB_URL", &*long(64), &*long(32), &*long(255), u64::MAX, None),
            ("db url", "v1", "raw", "u", 1, Some("variable")),
            ("", "v1", "raw", "u", 1, Some("variable")),
            ("DB_URL", "", "raw", "u", 1, Some("version")),
            ("DB_URL", &*long(65), "raw", "u", 1, Some("version")),
            ("DB_URL", "v1", "", "u", 1, Some("form")),
            ("DB_URL", "v1", &*long(33), "u", 1, Some("form")),
            ("DB_URL", "v1", "raw", "", 1, None),
            ("DB_URL", "v1", "raw", &*long(256), 1, Some("unit")),
            ("DB_URL", "v1", "raw", "a\nb", 1, Some("unit")),
            ("DB_URL", "v1", "raw", "\u{1b}[2J", 1, Some("unit")),
            ("DB_URL", "v1", "raw", "u", 0, Some("count")),
        ] {
            let found = Leak::parse(variable, version, form, unit, count).map_err(|e| e.to_string());
            match bad {
                None => assert!(found.is_ok(), "{found:?}"),
                Some(what) => assert!(found.as_ref().is_err_and(|e| e.contains(what)), "{what}: {found:?}"),
            }
        }
        let form = |given| Leak::parse("DB_URL", "v1", given, "u", 1).unwrap().form;
        assert_eq!((form("base64"), form("rot13"), form("Base64")), ("base64", OTHER, OTHER));
        assert!(Leak::parse("KEYFOB_CANARY", "v", "raw", "u", 1).unwrap().is_canary());
        assert!(crate::domain::reserved::class_of(&Variable::parse(CANARY).unwrap()).is_some());
    }

    #[test]
    fn news() {
        for (before, after, news) in [
            (0, 1, true),
            (0, 1_000, true),
            (1, 2, false),
            (1, 9, false),
            (9, 10, true),
            (10, 99, false),
            (99, 1_000, true),
            (u64::MAX - 1, u64::MAX, false),
        ] {
            assert_eq!(is_news(before, after), news, "{before} -> {after}");
        }
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
