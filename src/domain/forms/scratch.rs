//! A buffer for what is made of values on the way.

use std::ops::Deref;

use zeroize::Zeroizing;

/// Bytes that are wiped when they are dropped, and where they were when they move to a larger place.
#[derive(Default)]
pub(super) struct Scratch(Zeroizing<Vec<u8>>);

impl Scratch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Room for so many bytes, instead of what was there.
    pub fn fill(&mut self, len: usize) -> &mut [u8] {
        self.clear();
        self.reserve(len);
        self.0.resize(len, 0);
        &mut self.0
    }

    pub fn push(&mut self, byte: u8) {
        self.reserve(1);
        self.0.push(byte);
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// What is behind stays until it is overwritten or wiped.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// `Vec` would move without wiping.
    pub fn reserve(&mut self, more: usize) {
        let needed = self.0.len() + more;
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity()).max(64)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
