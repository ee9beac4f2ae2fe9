//! Finds byte patterns in a stream without keeping them. Knows bytes and small numbers, not secrets.
//!
//! A pattern is remembered as a [`Fingerprint`]: keyed hashes of three six-byte windows within eight (or some more) of its
//! bytes, which the caller allows; its length; where the windows are; and a keyed MAC of the whole (SipHash-2-4-128). A text
//! is searched for windows; where one is hit, the other two are compared, and then the MAC decides.
//!
//! ```text
//! Fingerprints::add(label, pattern, within) -> Finder::new -> Stream::push(text) -> Sink: clean bytes | masked(labels)
//! ```
//!
//! What holds:
//! - Everything that a match covers is masked: the *union* of all matches. Matches which overlap are masked as one, those
//!   which only touch as two.
//! - How a text is cut makes no difference to what comes out ([`Stream`]).
//! - Bytes are held back only while a window which has not been seen could still cover them, or while a window stands for a
//!   pattern that is not all there: not for the longest pattern's sake.
//! - MACs have a budget per stream; when it is spent, the windows alone decide, and too much is masked, not too little.
//! - The text that is held, and the tables, are wiped when they are given up.
//!
//! # What a dump gives away
//!
//! Who has the key and the tables has of each pattern, besides its length: 3 x 32 bits about three windows of six bytes, by a
//! hash that is linear. That is as good as the at least 8 bytes themselves: what windows may cover (`within`) *is lost*.
//! About the rest they tell nothing but, by the MAC, whether a guess of all of it is right. The MAC is a PRF, so there is no
//! way but to guess. What stays is the entropy of the pattern outside `within`, less what other patterns tell of the same
//! value: the caller sees to it that their windows lie in the same bytes of it.
//!
//! No I/O, no clock.

mod finder;
mod fingerprint;
mod kernel;
mod key;
mod rarity;
mod stream;
mod track;
mod view;

pub use finder::Finder;
pub use fingerprint::{Fingerprint, Fingerprints, LONGEST, Malformed, SHORTEST, Unfit};
pub use stream::{Mode, Sink, Stream, find_all};

#[cfg(test)]
mod tests;
