//! Who may be connected at once: places in all, per address, and for those without a certificate. A place is a value; what
//! ends its holder, whatever that is, gives it back.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Limits, Stats};

pub struct Slots {
    all: Cap,
    anonymous: Cap,
    held: Mutex<Held>,
    stats: Arc<Stats>,
}

/// Places in all and for one origin.
struct Cap {
    all: usize,
    origin: usize,
}

#[derive(Default)]
struct Held {
    all: usize,
    anonymous: usize,
    /// No entry for an origin that holds nothing: the map is as large as the connections are many.
    origins: HashMap<IpAddr, Origin>,
}

#[derive(Default)]
struct Origin {
    all: usize,
    anonymous: usize,
}

/// Which of the caps is reached.
#[derive(Debug, PartialEq, Eq)]
pub enum Full {
    All,
    Address,
}

impl Slots {
    pub fn new(limits: &Limits, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self {
            all: Cap { all: limits.max_connections, origin: limits.max_per_address },
            anonymous: Cap { all: limits.max_anonymous, origin: limits.max_anonymous_per_address },
            held: Mutex::default(),
            stats,
        })
    }

    pub fn take(self: &Arc<Self>, address: IpAddr) -> Result<Slot, Full> {
        let origin = origin_of(address);
        let mut held = self.held();
        self.all.check(held.all, held.origins.get(&origin).map_or(0, |o| o.all))?;
        held.all += 1;
        held.origins.entry(origin).or_default().all += 1;
        Ok(Slot { slots: self.clone(), origin, anonymous: false, number: self.stats.accepted.next(1) })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner) // nothing panics between two halves of a change
    }
}

impl Cap {
    fn check(&self, all: usize, origin: usize) -> Result<(), Full> {
        if all >= self.all {
            Err(Full::All)
        } else if origin >= self.origin {
            Err(Full::Address)
        } else {
            Ok(())
        }
    }
}

/// One connection's place, until it is dropped.
pub struct Slot {
    slots: Arc<Slots>,
    origin: IpAddr,
    anonymous: bool,
    /// How many got a place before this one.
    pub number: u64,
}

impl Slot {
    /// Takes one of the places for those without a certificate, as well.
    pub fn take_anonymous(&mut self) -> Result<(), Full> {
        let mut held = self.slots.held();
        let Held { anonymous, origins, .. } = &mut *held;
        let origin = origins.entry(self.origin).or_default();
        self.slots.anonymous.check(*anonymous, origin.anonymous)?;
        *anonymous += 1;
        origin.anonymous += 1;
        self.anonymous = true;
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut held = self.slots.held();
        let anonymous = usize::from(self.anonymous);
        held.all -= 1;
        held.anonymous -= anonymous;
        if let Some(origin) = held.origins.get_mut(&self.origin) {
            origin.all -= 1;
            origin.anonymous -= anonymous;
            if origin.all == 0 {
                held.origins.remove(&self.origin);
            }
        }
        self.slots.stats.closed.add(1);
    }
}

/// What counts as one address: IPv4 whole, also when mapped into IPv6, and IPv6 by its /64, in which one host can take any
/// address it likes.
fn origin_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for (address, origin) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
            ("::1", "::"),
        ] {
            assert_eq!(origin_of(address.parse().unwrap()), origin.parse::<IpAddr>().unwrap(), "{address}");
        }
    }

    #[test]
    fn places_are_counted_in_all_per_origin_and_for_the_anonymous_and_come_back() {
        let limits = Limits {
            max_connections: 4,
            max_per_address: 3,
            max_anonymous: 2,
            max_anonymous_per_address: 1,
            ..Limits::default()
        };
        let stats = Arc::new(Stats::default());
        let slots = Slots::new(&limits, stats.clone());
        let [a, b, c] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|text| text.parse::<IpAddr>().unwrap());

        let mut from_a: Vec<Slot> = (0..3).map(|_| slots.take(a).ok().unwrap()).collect();
        assert_eq!(slots.take(a).err(), Some(Full::Address));
        let mut from_b = slots.take(b).ok().unwrap();
        assert_eq!(slots.take(b).err(), Some(Full::All));

        from_a[0].take_anonymous().unwrap();
        assert_eq!(from_a[1].take_anonymous(), Err(Full::Address));
        from_b.take_anonymous().unwrap();
        drop(from_a.pop());
        let mut from_c = slots.take(c).ok().unwrap();
        assert_eq!(from_c.take_anonymous(), Err(Full::All));

        drop(from_a.remove(0));
        from_a[0].take_anonymous().unwrap(); // its origin still holds this one
        drop(from_b);
        from_c.take_anonymous().unwrap();
        drop(from_a);
        drop(from_c);
        let held = slots.held();
        assert_eq!((held.all, held.anonymous, held.origins.len()), (0, 0, 0));
        assert_eq!((stats.accepted.get(), stats.closed.get()), (5, 5));
    }
}
