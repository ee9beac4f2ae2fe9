//! What a session gets: one pure function over the candidates.
//!
//! By name first: of all candidates for a variable, private beats shared, shared beats the environment. Only then is the
//! winner asked whether it is to be installed. So a private secret with auto-install off hides the shared one of its
//! variable too; that is how a user opts out.

use std::collections::BTreeMap;

use super::{reserved, value::Delivery, variable::Variable};

/// Where a variable comes from, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Environment,
    Shared,
    Private,
}

impl Origin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Shared => "shared",
            Self::Private => "private",
        }
    }
}

/// One claim to a variable. `T` is whatever the caller needs to find the value again.
#[derive(Debug, Clone)]
pub struct Candidate<T> {
    pub variable: Variable,
    pub origin: Origin,
    /// The secret's name; the environment's for an environment variable.
    pub name: String,
    pub version: String,
    pub auto_install: bool,
    pub delivery: Delivery,
    pub what: T,
}

/// A variable after all candidates have been heard.
#[derive(Debug)]
pub struct Resolved<T> {
    pub winner: Candidate<T>,
    /// The candidates that the winner hides, strongest first.
    pub overrides: Vec<(Origin, String)>,
    /// Why the session does not get it, where it doesn't.
    pub left_out: Option<LeftOut>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    AutoInstallOff,
    Reserved(&'static str),
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AutoInstallOff => f.write_str("auto-install is off"),
            Self::Reserved(reason) => write!(f, "reserved variable: {reason}"),
        }
    }
}

/// Decides for every variable, in the order of their names. `allowed` says which code-running variables the organization
/// has allowed explicitly; names that break shells are never installed.
pub fn resolve<T>(
    candidates: impl IntoIterator<Item = Candidate<T>>,
    allowed: impl Fn(&Variable) -> bool,
) -> Vec<Resolved<T>> {
    let mut by_variable: BTreeMap<Variable, Vec<Candidate<T>>> = BTreeMap::new();
    for candidate in candidates {
        by_variable.entry(candidate.variable.clone()).or_default().push(candidate);
    }
    by_variable
        .into_values()
        .map(|mut claims| {
            claims.sort_by_key(|c| c.origin);
            let winner = claims.pop().expect("an entry is made by its first claim");
            let overrides = claims.into_iter().rev().map(|c| (c.origin, c.name)).collect();
            let left_out = match reserved::class_of(&winner.variable) {
                Some(r) if !(r.class == reserved::Class::RunsCode && allowed(&winner.variable)) => {
                    Some(LeftOut::Reserved(r.reason))
                }
                _ if !winner.auto_install => Some(LeftOut::AutoInstallOff),
                _ => None,
            };
            Resolved { winner, overrides, left_out }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Origin::{Environment as E, Private as P, Shared as S};

    fn claim(origin: Origin, name: &str, auto_install: bool) -> Candidate<()> {
        let variable = Variable::parse(name).unwrap();
        Candidate {
            variable,
            origin,
            name: name.to_lowercase(),
            version: "v".into(),
            auto_install,
            delivery: Delivery::Env,
            what: (),
        }
    }

    #[test]
    fn precedence() {
        const ON: bool = true;
        const OFF: bool = false;
        // claims -> who wins, whom it hides, whether the session gets it
        for (claims, winner, hides, installed) in [
            (&[(E, ON)][..], E, &[][..], true),
            (&[(S, ON)], S, &[], true),
            (&[(P, ON)], P, &[], true),
            (&[(E, ON), (S, ON)], S, &[E], true),
            (&[(S, ON), (P, ON)], P, &[S], true),
            (&[(P, ON), (S, ON), (E, ON)], P, &[S, E], true),
            (&[(E, ON), (P, ON)], P, &[E], true),
            (&[(S, OFF)], S, &[], false),
            (&[(S, ON), (P, OFF)], P, &[S], false), // the user's way to opt out
            (&[(E, ON), (S, OFF)], S, &[E], false),
            (&[(S, OFF), (P, ON)], P, &[S], true),
        ] {
            let resolved = resolve(claims.iter().map(|(o, auto)| claim(*o, "DB_URL", *auto)), |_| false);
            assert_eq!(resolved.len(), 1);
            assert_eq!(resolved[0].winner.origin, winner, "{claims:?}");
            assert_eq!(resolved[0].overrides.iter().map(|o| o.0).collect::<Vec<_>>(), hides, "{claims:?}");
            assert_eq!(resolved[0].left_out.is_none(), installed, "{claims:?}");
        }
    }

    #[test]
    fn variables_come_in_order_and_do_not_mix() {
        let resolved = resolve([claim(S, "B", true), claim(E, "A", true), claim(P, "C", false)], |_| false);
        assert_eq!(resolved.iter().map(|r| r.winner.variable.as_str()).collect::<Vec<_>>(), ["A", "B", "C"]);
        assert!(resolved.iter().all(|r| r.overrides.is_empty()));
    }

    #[test]
    fn reserved_variables_are_left_out_unless_allowed() {
        for (name, allowed, installed) in [
            ("LD_PRELOAD", false, false),
            ("LD_PRELOAD", true, true),
            ("UID", true, false),
            ("OPENAI_API_KEY", false, true),
        ] {
            let resolved = resolve([claim(S, name, true)], |_| allowed);
            assert_eq!(resolved[0].left_out.is_none(), installed, "{name} allowed={allowed}");
        }
    }
}
