//! What was found in logs, counted until the control plane has been told.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::fingerprints::CANARY;

/// A value that was printed: which, in what form, by whom, how often. Nothing of the text around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    pub variable: String,
    pub version: String,
    pub form: String,
    /// The systemd unit whose log it was; `exec` or `redact` with it where these found it.
    pub unit: String,
    pub count: u64,
}

/// Not more kinds than anybody would read; of what comes beyond them, nothing is kept.
const MOST: usize = 1_000;

#[derive(Debug, Default)]
pub struct Ledger(HashMap<[String; 4], u64>);

impl Ledger {
    pub fn add(&mut self, leak: Leak) {
        let Leak { variable, version, form, unit, count } = leak;
        if variable == CANARY {
            return;
        }
        let kind = [variable, version, form, unit];
        if self.0.len() < MOST || self.0.contains_key(&kind) {
            let sum = self.0.entry(kind).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Up to so many, which are not in the ledger any more: whoever can't tell them adds them again.
    pub fn take(&mut self, most: usize) -> Vec<Leak> {
        let kinds: Vec<_> = self.0.keys().take(most).cloned().collect();
        let taken = kinds.into_iter().filter_map(|kind| {
            let count = self.0.remove(&kind)?;
            let [variable, version, form, unit] = kind;
            Some(Leak { variable, version, form, unit, count })
        });
        taken.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leak(variable: &str, unit: &str, count: u64) -> Leak {
        let text = str::to_owned;
        Leak { variable: text(variable), version: text("v1"), form: text("raw"), unit: text(unit), count }
    }

    #[test]
    fn equals_are_added_up() {
        let mut ledger = Ledger::default();
        for (variable, unit, count) in
            [("A", "x.service", 1), ("A", "y.service", 2), ("A", "x.service", 3), (CANARY, "x", 9)]
        {
            ledger.add(leak(variable, unit, count));
        }
        let first = ledger.take(1);
        let mut all = [first, ledger.take(10)].concat();
        all.sort_by(|a, b| a.unit.cmp(&b.unit));
        assert_eq!(all, [leak("A", "x.service", 4), leak("A", "y.service", 2)]);
        assert!(ledger.is_empty());
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut ledger = Ledger::default();
        for n in 0..MOST + 5 {
            ledger.add(leak("A", &n.to_string(), 1));
        }
        ledger.add(leak("A", "0", 1));
        let all = ledger.take(usize::MAX);
        assert_eq!((all.len(), all.iter().map(|l| l.count).sum::<u64>()), (MOST, MOST as u64 + 1));
    }
}
