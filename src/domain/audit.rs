//! The audit chain: what an entry is, how entries hang together, and how to find the first that does not fit.
//!
//! Every organization has one chain. An entry's hash covers the entry before it:
//!
//! ```text
//! hash = SHA-256( "keyfob audit v1" 00 | previous hash[32] | org | sequence u64 | at i64 | actor | action | target | outcome
//!                 | count u32 | key value ... )        integers big-endian, texts as length u32 + bytes, keys in order
//! the first entry's previous hash = SHA-256("keyfob audit v1 genesis" 00 | org)
//! ```
//!
//! `at` is microseconds since 1970, UTC. Whoever has the entries can check the chain; that the chain was not cut short or
//! made anew shows in its head, which the store authenticates with a key. Entries hold names, versions and ids, never
//! values: there is no field for one. A private secret's name is not in them either, only its id.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::name::OrgName;

pub type Hash = [u8; 32];

/// What is known before an entry has its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// `user/alice`, `session/ID`, `server`.
    pub actor: String,
    /// `secret.create`, `bundle.deliver`, ...
    pub action: &'static str,
    /// `secret/ID`, `session/ID`, ...
    pub target: String,
    pub outcome: Outcome,
    pub detail: BTreeMap<&'static str, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Refused,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// One entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub sequence: u64,
    pub at: i64,
    pub actor: String,
    pub action: String,
    pub target: String,
    pub outcome: String,
    pub detail: BTreeMap<String, String>,
    pub hash: Hash,
}

/// The hash that stands before an organization's first entry.
pub fn genesis(org: &OrgName) -> Hash {
    Sha256::new_with_prefix(b"keyfob audit v1 genesis\0").chain_update(org.as_str()).finalize().into()
}

/// The entry that follows `previous` in the chain.
pub fn chain(org: &OrgName, previous: &Hash, sequence: u64, at: i64, fact: Fact) -> Entry {
    let mut entry = Entry {
        sequence,
        at,
        actor: fact.actor,
        action: fact.action.to_owned(),
        target: fact.target,
        outcome: fact.outcome.as_str().to_owned(),
        detail: fact.detail.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        hash: [0; 32],
    };
    entry.hash = hash(org, previous, &entry);
    entry
}

fn hash(org: &OrgName, previous: &Hash, entry: &Entry) -> Hash {
    let mut sha = Sha256::new_with_prefix(b"keyfob audit v1\0");
    let text = |sha: &mut Sha256, s: &str| {
        sha.update((s.len() as u32).to_be_bytes());
        sha.update(s);
    };
    sha.update(previous);
    text(&mut sha, org.as_str());
    sha.update(entry.sequence.to_be_bytes());
    sha.update(entry.at.to_be_bytes());
    for s in [&entry.actor, &entry.action, &entry.target, &entry.outcome] {
        text(&mut sha, s);
    }
    sha.update((entry.detail.len() as u32).to_be_bytes());
    for (key, value) in &entry.detail {
        text(&mut sha, key);
        text(&mut sha, value);
    }
    sha.finalize().into()
}

/// Walks a chain entry by entry, in order.
pub struct Verifier<'a> {
    org: &'a OrgName,
    next: u64,
    last: Hash,
}

/// The first thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub sequence: u64,
    pub problem: &'static str,
}

impl<'a> Verifier<'a> {
    pub fn new(org: &'a OrgName) -> Self {
        Self { org, next: 1, last: genesis(org) }
    }

    pub fn check(&mut self, entry: &Entry) -> Result<(), Broken> {
        if entry.sequence != self.next {
            return Err(Broken { sequence: self.next, problem: "is missing" });
        }
        if hash(self.org, &self.last, entry) != entry.hash {
            return Err(Broken {
                sequence: entry.sequence,
                problem: "was changed, or an entry before it was replaced",
            });
        }
        self.next += 1;
        self.last = entry.hash;
        Ok(())
    }

    /// What to say of the next entry where it can't be read.
    pub fn unreadable(&self) -> Broken {
        Broken { sequence: self.next, problem: "can't be read" }
    }

    /// Compares the end of the chain with its authenticated head; gives the number of entries and the last hash.
    pub fn finish(self, head: Option<(u64, Hash)>) -> Result<(u64, Hash), Broken> {
        let read = self.next - 1;
        match head {
            None => {
                Err(Broken { sequence: read, problem: "is the last, but the chain's signed head is gone or forged" })
            }
            Some((sequence, _)) if sequence > read => {
                Err(Broken { sequence: read + 1, problem: "is missing: the chain was cut short" })
            }
            Some((sequence, _)) if sequence < read => {
                Err(Broken { sequence: sequence + 1, problem: "was added after the chain's signed head" })
            }
            Some((_, hash)) if hash != self.last => {
                Err(Broken { sequence: read, problem: "is not the entry that the signed head names" })
            }
            Some(_) => Ok((read, self.last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org() -> OrgName {
        OrgName::parse("acme").unwrap()
    }

    fn entries(n: u64) -> Vec<Entry> {
        let mut last = genesis(&org());
        (1..=n)
            .map(|sequence| {
                let fact = Fact {
                    actor: "user/alice".into(),
                    action: "secret.create",
                    target: format!("secret/{sequence}"),
                    outcome: Outcome::Done,
                    detail: BTreeMap::from([("version", "v1".to_owned())]),
                };
                let entry = chain(&org(), &last, sequence, 1_700_000_000_000_000, fact);
                last = entry.hash;
                entry
            })
            .collect()
    }

    fn verify(entries: &[Entry], head: Option<(u64, Hash)>) -> Result<u64, u64> {
        let org = org();
        let mut verifier = Verifier::new(&org);
        for entry in entries {
            verifier.check(entry).map_err(|b| b.sequence)?;
        }
        verifier.finish(head).map(|(n, _)| n).map_err(|b| b.sequence)
    }

    #[test]
    fn finds_the_first_broken_entry() {
        type Tamper = fn(&mut Vec<Entry>);
        let cases: [(&str, Tamper, Result<u64, u64>); 9] = [
            ("nothing", |_| {}, Ok(5)),
            ("an edited actor", |e| e[2].actor = "user/bob".into(), Err(3)),
            ("an edited time", |e| e[0].at += 1, Err(1)),
            ("an edited detail", |e| *e[4].detail.get_mut("version").unwrap() = "v2".into(), Err(5)),
            (
                "a moved boundary",
                |e| {
                    e[1].actor = "user/alices".into();
                    e[1].action = "ecret.create".into()
                },
                Err(2),
            ),
            (
                "a gap",
                |e| {
                    e.remove(1);
                },
                Err(2),
            ),
            ("two swapped", |e| e.swap(2, 3), Err(3)),
            ("a truncation", |e| e.truncate(3), Err(4)),
            ("all gone", |e| e.clear(), Err(1)),
        ];
        for (what, tamper, expected) in cases {
            let mut chain = entries(5);
            let head = Some((5, chain[4].hash));
            tamper(&mut chain);
            assert_eq!(verify(&chain, head), expected, "{what}");
        }
    }

    #[test]
    fn the_head_must_be_there_and_fit() {
        let chain = entries(3);
        assert_eq!(verify(&chain, None), Err(3));
        assert_eq!(verify(&chain, Some((2, chain[1].hash))), Err(3), "appended behind the head");
        assert_eq!(verify(&chain, Some((3, [0; 32]))), Err(3));
    }

    #[test]
    fn a_chain_belongs_to_its_organization() {
        let other = OrgName::parse("acme2").unwrap();
        assert!(Verifier::new(&other).check(&entries(1)[0]).is_err());
    }
}
