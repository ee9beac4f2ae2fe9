//! From the store's words to the wire's.

use std::collections::BTreeMap;

use prost_types::Timestamp;

use crate::server::error::Error;

/// Microseconds since 1970 as the wire has them.
pub fn timestamp(micros: i64) -> Timestamp {
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos: (micros.rem_euclid(1_000_000) * 1_000) as i32 }
}

/// How many a page holds: 0 means 100, 1,000 is the most.
pub fn page_size(asked: u32) -> u32 {
    if asked == 0 { 100 } else { asked.min(1_000) }
}

/// What a join token's life is, in microseconds: 0 means ten minutes, which is also the most.
pub fn join_ttl(seconds: u32) -> Result<i64, Error> {
    match seconds {
        0 => Ok(600_000_000),
        1..=600 => Ok(i64::from(seconds) * 1_000_000),
        _ => Err(Error::Invalid("a join string lives for 600 seconds at the most".into())),
    }
}

/// Names and versions for an audit entry.
pub fn detail<const N: usize>(pairs: [(&'static str, String); N]) -> BTreeMap<&'static str, String> {
    BTreeMap::from(pairs)
}
