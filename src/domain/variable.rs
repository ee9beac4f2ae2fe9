//! The exported name: the upper-snake-case of a secret's name.
//!
//! Our own function, frozen by `tests/vectors/variables.txt`: a later change would rename people's variables. The rules:
//!
//! 1. A name that is already a variable without lower-case letters stays byte for byte (`NPM_CONFIG__AUTH`, `_TOKEN`).
//! 2. Every character outside `[A-Za-z0-9_]` becomes `_`.
//! 3. A `_` goes in where a lower-case letter or digit meets an upper-case letter (`openaiApiKey`), and before the last
//!    capital of a run that a lower-case letter follows (`APIKey`). Letters followed by digits are not split.
//! 4. Everything is put into upper case.
//! 5. A result that starts with a digit is refused: a shell would run the line as a command and print the value.

use std::fmt;

use super::{name::SecretName, suspicion};

/// The longest variable, in bytes: a name of 128 bytes with a boundary at every other letter.
const LONGEST: usize = 256;

/// A name that every shell takes for a variable: `[A-Za-z_][A-Za-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Variable(String);

/// Why something is no variable. Displays as a sentence with the next step, and with nothing of what was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadVariable {
    Empty,
    TooLong,
    StartsWithDigit,
    BadCharacter,
    /// A token that somebody pasted.
    Secret,
}

impl fmt::Display for BadVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a variable needs at least one letter"),
            Self::TooLong => write!(f, "a variable has {LONGEST} bytes at the most"),
            Self::StartsWithDigit => f.write_str(
                "the variable would start with a digit, and a shell would print its value; put a letter first or choose a variable by hand",
            ),
            Self::Secret => f.write_str("this looks like a secret itself, not like the name of a variable, which is shown"),
            Self::BadCharacter => f.write_str("a variable is made of letters, digits and `_` only"),
        }
    }
}

impl std::error::Error for BadVariable {}

impl Variable {
    pub fn parse(given: &str) -> Result<Self, BadVariable> {
        let first = given.bytes().next().ok_or(BadVariable::Empty)?;
        if given.len() > LONGEST {
            return Err(BadVariable::TooLong);
        }
        if !given.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(BadVariable::BadCharacter);
        }
        if first.is_ascii_digit() {
            return Err(BadVariable::StartsWithDigit);
        }
        if suspicion::is_token(given) {
            return Err(BadVariable::Secret);
        }
        Ok(Self(given.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The variable that a secret's name gives.
pub fn variable_of(name: &SecretName) -> Result<Variable, BadVariable> {
    let name = name.as_str().as_bytes();
    let stays = name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_');
    let mut variable = String::with_capacity(name.len() + 8);
    for (at, byte) in name.iter().enumerate() {
        if !stays && at > 0 && byte.is_ascii_uppercase() {
            let before = name[at - 1];
            let after_lower = before.is_ascii_lowercase() || before.is_ascii_digit();
            let ends_run = before.is_ascii_uppercase() && name.get(at + 1).is_some_and(u8::is_ascii_lowercase);
            if after_lower || ends_run {
                variable.push('_');
            }
        }
        variable.push(if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() as char } else { '_' });
    }
    Variable::parse(&variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name TAB variable`, or `name TAB ! digit` for a refusal.
    #[test]
    fn published_vectors() {
        let mut count = 0;
        for line in
            include_str!("../../tests/vectors/variables.txt").lines().filter(|l| !l.is_empty() && !l.starts_with('#'))
        {
            let (name, expected) = line.split_once('\t').expect("name TAB variable");
            let found = variable_of(&SecretName::parse(name).expect("a name"));
            match expected {
                "! digit" => assert!(matches!(found, Err(BadVariable::StartsWithDigit)), "{name}"),
                expected => assert_eq!(found.as_ref().map(Variable::as_str), Ok(expected), "{name}"),
            }
            count += 1;
        }
        assert!(count >= 80, "{count} vectors");
    }

    #[test]
    fn what_a_variable_is() {
        let long = "A".repeat(LONGEST + 1);
        for (given, expected) in [
            ("A", None),
            ("_", None),
            ("a_B9", None),
            ("", Some(BadVariable::Empty)),
            ("9A", Some(BadVariable::StartsWithDigit)),
            ("A-B", Some(BadVariable::BadCharacter)),
            ("A B", Some(BadVariable::BadCharacter)),
            ("A\n", Some(BadVariable::BadCharacter)),
            ("\u{c4}", Some(BadVariable::BadCharacter)),
            ("kfjoin1s_Rbm42HkJxz1ZQBCQnlGSNMWE", Some(BadVariable::Secret)),
            (&long, Some(BadVariable::TooLong)),
        ] {
            assert_eq!(Variable::parse(given).err(), expected, "{given:?}");
        }
    }
}
