//! Every third window, one after the other: eight bytes are loaded, multiplied, and asked for in a Bloom filter.

use crate::domain::redact::{finder::Tables, fingerprint::STRIDE};

pub fn scan(tables: &Tables, text: &[u8], from: usize, mut candidate: impl FnMut(usize)) -> usize {
    let mut at = from;
    while let Some(eight) = text.get(at..).and_then(|t| t.first_chunk()) {
        if tables.may_have(tables.key.window(*eight)) {
            candidate(at);
        }
        at += STRIDE;
    }
    at
}
