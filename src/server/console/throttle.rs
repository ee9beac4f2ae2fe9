//! How often sign-in may fail. A link's token has 256 bits, so nobody guesses one; this bounds what trying costs us.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Failures of one address within the window; one more is not looked at.
const MOST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered at once; when there are more, the oldest windows are over or nobody is let in.
const ADDRESSES: usize = 10_000;

#[derive(Default)]
pub struct Throttle(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Throttle {
    pub fn allows(&self, address: IpAddr) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES {
            all.retain(|_, (since, _)| since.elapsed() < WINDOW);
        }
        match all.get(&address) {
            Some((since, failed)) => since.elapsed() >= WINDOW || *failed < MOST,
            None => all.len() < ADDRESSES,
        }
    }

    pub fn failed(&self, address: IpAddr) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, failed) = all.entry(address).or_insert((Instant::now(), 0));
        if since.elapsed() >= WINDOW {
            (*since, *failed) = (Instant::now(), 0);
        }
        *failed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_failed_too_often_waits_and_others_do_not() {
        let throttle = Throttle::default();
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        for _ in 0..MOST {
            assert!(throttle.allows(a));
            throttle.failed(a);
        }
        assert!(!throttle.allows(a));
        assert!(throttle.allows(b));
    }
}
