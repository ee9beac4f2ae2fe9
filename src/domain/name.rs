//! Names, parsed once at the door: inside, nobody checks them again.

use std::fmt;

use super::suspicion;

/// Why a name was refused. Displays as a sentence that says what a right one looks like, with nothing of what was given: what
/// is no name may be anything, a pasted value too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName {
    kind: &'static str,
    rule: &'static str,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is no {}: {}", self.kind, self.rule)
    }
}

impl std::error::Error for BadName {}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            pub fn parse(given: &str) -> Result<Self, BadName> {
                let ok: fn(&str) -> bool = $ok;
                if ok(given) { Ok(Self(given.to_owned())) } else { Err(BadName { kind: $kind, rule: $rule }) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn label(s: &str, extra: &[u8], max: usize) -> bool {
    let b = s.as_bytes();
    !b.is_empty()
        && b.len() <= max
        && (b[0].is_ascii_lowercase() || b[0].is_ascii_digit())
        && b.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c))
}

name!(
    /// A secret's name, as typed. Its variable is [`crate::domain::variable::variable_of`] it.
    SecretName,
    "secret name",
    "use 1 to 128 letters, digits, `.`, `_` or `-`, with at least one letter, and nothing that is a secret itself: names are shown",
    |s| (1..=128).contains(&s.len())
        && s.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        && s.bytes().any(|c| c.is_ascii_alphabetic())
        && !suspicion::is_token(s)
);

name!(
    /// The tenant.
    OrgName,
    "organization name",
    "use 1 to 64 lower-case letters, digits or `-`, starting with a letter or digit",
    |s| label(s, b"-", 64)
);

name!(
    /// A person or machine of an organization.
    UserName,
    "user name",
    "use 1 to 64 lower-case letters, digits, `.`, `_` or `-`, starting with a letter or digit",
    |s| label(s, b"._-", 64)
);

name!(
    /// An environment.
    EnvironmentName,
    "environment name",
    "use 1 to 64 lower-case letters, digits or `-`, starting with a letter or digit",
    |s| label(s, b"-", 64)
);

name!(
    /// An opaque id that the server made: 26 lower-case letters and digits, 128 random bits.
    Id,
    "id",
    "ids are 26 lower-case letters and digits, as listed",
    |s| s.len() == 26 && s.bytes().all(|c| BASE32.contains(&c))
);

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Id {
    /// Names 16 random bytes.
    pub fn from_random(random: [u8; 16]) -> Self {
        let mut bits = u128::from_be_bytes(random);
        let mut text = [0u8; 26];
        for place in text.iter_mut().rev() {
            *place = BASE32[(bits & 31) as usize];
            bits >>= 5;
        }
        Self(text.iter().map(|b| *b as char).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_names() {
        let long = "a".repeat(128);
        let too_long = "a".repeat(129);
        for (given, ok) in [
            ("openai-api-key", true),
            ("pagerduty.token", true),
            ("A", true),
            ("2fa", true), // refused later: its variable would start with a digit
            (&long, true),
            (&too_long, false),
            ("", false),
            ("123", false),
            ("-._", false),
            ("a/b", false),
            ("a b", false),
            ("kfjoin1s_Rbm42HkJxz1ZQBCQnlGSNMWE", false), // pasted into the wrong place
            ("na\u{ef}ve", false),
            ("a\nb", false),
            ("\u{430}pi-key", false), // a Cyrillic look-alike
        ] {
            assert_eq!(SecretName::parse(given).is_ok(), ok, "{given:?}");
        }
    }

    #[test]
    fn labels() {
        for (given, org, user) in [
            ("acme", true, true),
            ("a.b_c-d", false, true),
            ("Acme", false, false),
            ("-a", false, false),
            ("..", false, false),
            ("", false, false),
        ] {
            assert_eq!(OrgName::parse(given).is_ok(), org, "{given:?}");
            assert_eq!(UserName::parse(given).is_ok(), user, "{given:?}");
        }
    }

    #[test]
    fn ids_parse_back() {
        for random in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let id = Id::from_random(random);
            assert_eq!(Id::parse(id.as_str()), Ok(id));
        }
        assert_ne!(Id::from_random([0; 16]), Id::from_random([1; 16]));
    }

    #[test]
    fn a_refusal_shows_nothing_of_what_was_typed() {
        for refusal in [
            SecretName::parse("sk live").unwrap_err(),
            UserName::parse("sk live").unwrap_err(),
            Id::parse("sk live").unwrap_err(),
        ] {
            assert!(!format!("{refusal}{refusal:?}").contains("live"), "{refusal}");
        }
    }
}
