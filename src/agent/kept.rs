//! The identity that outlives a crash: key and certificate in a sealed memfd, which systemd holds in the unit's
//! file-descriptor store and hands to the next process. They are at no path. Where nothing holds descriptors for us, a crash
//! costs the identity, and nothing else changes.
//!
//! ```text
//! memfd = "keyfob identity 2\n" | key | address | policy[3] | not before | not after | count | certificates | count | roots
//!         | renewals u64 | attempt
//!         every field as length u32 big-endian + bytes; times are Unix seconds, i64 big-endian, counts u32
//! ```
//!
//! The key is kept before it is first used, without the rest: a join token is bound to the key that redeems it, so an agent
//! that died between redeeming and keeping the answer can ask again. A new state is stored before the old one is removed;
//! of two, the one that ends later counts.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
};

use rustls::pki_types::CertificateDer;
use sd_notify::NotifyState;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::memfd;
use crate::{
    client::{Counter, Credentials},
    domain::boot::BootPolicy,
};

const MAGIC: &[u8] = b"keyfob identity 2\n";
/// By turns, so that storing and removing never concern the same name.
const NAMES: [&str; 2] = ["keyfob-identity-a", "keyfob-identity-b"];
/// A key, two certificates and some roots are a few KiB.
const LONGEST: u64 = 256 * 1024;

/// What one process leaves to the next.
#[derive(Debug)]
pub struct Kept {
    /// PKCS #8, DER.
    pub key: Zeroizing<Vec<u8>>,
    /// Not before the join token is redeemed.
    pub enrolled: Option<Enrolled>,
}

#[derive(Debug)]
pub struct Enrolled {
    pub credentials: Credentials,
    pub address: String,
    pub boot: BootPolicy,
    /// Kept before each renewal: two processes of one VM are no clones.
    pub counter: Counter,
}

/// Stores states, under one name after the other.
#[derive(Debug, Default)]
pub struct Keeper {
    next: usize,
    /// In systemd's stead.
    #[cfg(all(test, feature = "server"))]
    shelf: Option<Shelf>,
}

/// What a process leaves to the next, where that is simulated.
#[cfg(all(test, feature = "server"))]
pub type Shelf = std::sync::Arc<std::sync::Mutex<Option<Zeroizing<Vec<u8>>>>>;

impl Keeper {
    /// What systemd handed to this process, if it was handed anything that can be read.
    pub fn restore() -> (Self, Option<Kept>) {
        let mut found: Option<(usize, Kept)> = None;
        for (fd, name) in sd_notify::listen_fds_with_names().into_iter().flatten() {
            let Some(place) = NAMES.iter().position(|n| *n == name) else { continue };
            // Opened anew rather than taken over: a descriptor given as a number is not ours to own without `unsafe`.
            match File::open(format!("/proc/self/fd/{fd}")).and_then(|file| read(&file)) {
                Ok(kept) if found.as_ref().is_none_or(|(_, best)| ends(&kept) >= ends(best)) => {
                    found = Some((place, kept));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, name, "a kept identity can't be read"),
            }
        }
        match found {
            Some((place, kept)) => (Self::at(1 - place), Some(kept)),
            None => (Self::default(), None),
        }
    }

    fn at(next: usize) -> Self {
        Self {
            next,
            #[cfg(all(test, feature = "server"))]
            shelf: None,
        }
    }

    #[cfg(all(test, feature = "server"))]
    pub fn of(shelf: Shelf) -> (Self, Option<Kept>) {
        let kept = shelf.lock().expect("nobody panics with it").as_ref().and_then(|bytes| decode(bytes));
        (Self { next: 0, shelf: Some(shelf) }, kept)
    }

    /// Gives systemd a new state to hold, and lets go of the one before.
    pub fn keep(&mut self, key: &[u8], enrolled: Option<(&Credentials, &str, BootPolicy, &Counter)>) {
        #[cfg(all(test, feature = "server"))]
        if let Some(shelf) = &self.shelf {
            *shelf.lock().expect("nobody panics with it") = Some(encode(key, enrolled));
            return;
        }
        let stored = memfd::sealed("keyfob-identity", &encode(key, enrolled)).and_then(|fd| {
            let name = NAMES[self.next];
            sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(name)], &[fd.as_fd()])
        });
        match stored {
            Ok(()) => {
                self.next = 1 - self.next;
                let old = NAMES[self.next];
                let _ = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(old)]);
            }
            Err(error) => tracing::warn!(%error, "the identity can't be kept; a crash would cost it"),
        }
    }
}

fn ends(kept: &Kept) -> Option<OffsetDateTime> {
    kept.enrolled.as_ref().map(|e| e.credentials.not_after)
}

fn read(file: &File) -> io::Result<Kept> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    file.take(LONGEST).read_to_end(&mut bytes)?;
    decode(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it was not written by this version"))
}

fn encode(key: &[u8], enrolled: Option<(&Credentials, &str, BootPolicy, &Counter)>) -> Zeroizing<Vec<u8>> {
    // Large enough never to grow, which would leave a copy of the key behind.
    let mut out = Zeroizing::new(Vec::with_capacity(LONGEST as usize));
    let mut field = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    field(MAGIC);
    field(key);
    if let Some((credentials, address, boot, counter)) = enrolled {
        field(address.as_bytes());
        field(&boot.to_bytes());
        for time in [credentials.not_before, credentials.not_after] {
            field(&time.unix_timestamp().to_be_bytes());
        }
        for list in [&credentials.chain, &credentials.roots] {
            field(&(list.len() as u32).to_be_bytes());
            list.iter().for_each(|certificate| field(certificate));
        }
        field(&counter.renewals.unwrap_or(0).to_be_bytes());
        field(&counter.attempt);
    }
    out
}

fn decode(bytes: &[u8]) -> Option<Kept> {
    let mut fields = Fields(bytes);
    if fields.next()? != MAGIC {
        return None;
    }
    let key = Zeroizing::new(fields.next()?.to_vec());
    let Some(address) = fields.next() else { return Some(Kept { key, enrolled: None }) };
    let address = std::str::from_utf8(address).ok()?.to_owned();
    let boot = BootPolicy::from_bytes(fields.next()?.try_into().ok()?)?;
    let (not_before, not_after) = (fields.time()?, fields.time()?);
    let (chain, roots) = (fields.list()?, fields.list()?);
    let renewals = Some(u64::from_be_bytes(fields.next()?.try_into().ok()?));
    let counter = Counter { renewals, attempt: fields.next()?.to_vec() };
    let credentials = Credentials { key: key.clone(), chain, roots, not_before, not_after };
    Some(Kept { key, enrolled: Some(Enrolled { credentials, address, boot, counter }) })
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(field)
    }

    fn time(&mut self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(i64::from_be_bytes(self.next()?.try_into().ok()?)).ok()
    }

    fn list(&mut self) -> Option<Vec<CertificateDer<'static>>> {
        let count = u32::from_be_bytes(self.next()?.try_into().ok()?);
        (0..count).map(|_| self.next().map(|der| der.to_vec().into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::boot::OnFailure;

    fn credentials() -> Credentials {
        let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        Credentials {
            key: Zeroizing::new(b"a key".to_vec()),
            chain: vec![b"leaf".to_vec().into(), b"authority".to_vec().into()],
            roots: vec![b"authority".to_vec().into()],
            not_before: time(100),
            not_after: time(3_700),
        }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let boot = BootPolicy { deadline: Some(30), on_failure: Some(OnFailure::Continue) };
        let counted = Counter { renewals: Some(7), attempt: vec![1; 16] };
        let fd = memfd::sealed("test", &encode(b"a key", Some((&credentials(), "host:7443", boot, &counted)))).unwrap();
        let again = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd))).unwrap();
        let kept = read(&again).unwrap();
        assert_eq!(&kept.key[..], b"a key");
        let Enrolled { credentials: found, address, boot: policy, counter } = kept.enrolled.unwrap();
        let given = credentials();
        assert_eq!((&found.key, &found.chain, &found.roots), (&given.key, &given.chain, &given.roots));
        assert_eq!((found.not_before, found.not_after), (given.not_before, given.not_after));
        assert_eq!((address.as_str(), policy, counter), ("host:7443", boot, counted));

        let only_key = decode(&encode(b"a key", None)).unwrap();
        assert!(only_key.enrolled.is_none() && &only_key.key[..] == b"a key");
    }

    #[test]
    fn what_is_cut_short_or_foreign_is_refused() {
        let whole = encode(b"a key", Some((&credentials(), "host:7443", BootPolicy::default(), &Counter::default())));
        let only_key = encode(b"a key", None).len();
        for end in (0..whole.len()).filter(|end| *end != only_key) {
            // In the middle of the address's length, what is there is a key without the rest.
            let kept = decode(&whole[..end]);
            assert!(kept.is_none_or(|k| k.enrolled.is_none()), "{end}");
        }
        assert!(decode(b"\0\0\0\x05other").is_none());
    }
}
