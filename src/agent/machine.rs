//! What the agent takes from the machine that it runs on and does not decide: the calendar, chance for its waits, the way to the
//! control plane. Keys, nonces and whatever else must not be guessed come from the kernel all the same.

use std::{fmt, sync::Arc, time::Duration};

use crate::{client::Way, clock::Clock};

/// The real one, unless parts of another are given.
#[derive(Clone, Default)]
pub struct Machine {
    pub clock: Clock,
    pub chance: Chance,
    pub way: Way,
}

/// Spreads waits, so that a thousand VMs do not return in one second.
#[derive(Clone)]
pub struct Chance(Arc<dyn Fn() -> Option<u32> + Send + Sync>);

impl Chance {
    /// From what gives random numbers, where it can.
    pub fn new(random: impl Fn() -> Option<u32> + Send + Sync + 'static) -> Self {
        Self(Arc::new(random))
    }

    /// Anywhere between nothing and the ceiling; the ceiling where there is no randomness.
    pub fn below(&self, ceiling: Duration) -> Duration {
        self.0().map_or(ceiling, |random| ceiling.mul_f64(f64::from(random) / f64::from(u32::MAX)))
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self::new(|| getrandom::u32().ok())
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance")
    }
}
