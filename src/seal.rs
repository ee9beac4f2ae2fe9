//! Sealing (HPKE, RFC 9180, base mode): a message for whoever holds one key, whatever carries it.
//!
//! Three uses. A *bundle* is sealed to a key that an agent made for one fetch, so that recorded traffic is worth nothing
//! later and no transport buffer ever holds a value; so are secrets that it asked for by *name*. A *value* on its way from a
//! person is sealed to the server's key.
//!
//! ```text
//! suite 1 = X-Wing (ML-KEM-768 + X25519, draft-connolly-cfrg-xwing-kem-10), HKDF-SHA256, ChaCha20-Poly1305
//! info    = "keyfob v1 bundle" | "keyfob v1 named" | "keyfob v1 value"
//! aad     = every field as length u32 big-endian + bytes:
//!           bundle: organization, session, bundle version, sequence (u64 big-endian), nonce[16]
//!           named:  organization, session, sequence (u64 big-endian), nonce[16], every name
//!           value:  organization, subject ("user/alice")
//! ```
//!
//! One key, one message: contexts are single-shot, so no nonce can repeat. The suite has our own number because the
//! draft's may still change. Messages are sealed and opened in place; nothing here copies one. What the ciphers leave of
//! a block or a key in their stack frames is overwritten before we return.

use std::fmt;

use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::AeadTag, aead::ChaCha20Poly1305, inout::InOutBuf,
    kdf::HkdfSha256, kem::XWing, single_shot_open_inout_detached, single_shot_seal_inout_detached,
};
use zeroize::Zeroizing;

pub const SUITE: u32 = 1;
pub const PUBLIC_KEY_LEN: usize = 1216;
pub const ENCAPSULATED_KEY_LEN: usize = 1120;
pub const TAG_LEN: usize = 16;
pub const NONCE_LEN: usize = 16;

/// What a message is for, and what it is bound to.
pub enum Purpose<'a> {
    Bundle { org: &'a str, session: &'a str, bundle_version: &'a str, sequence: u64, nonce: &'a [u8] },
    Named { org: &'a str, session: &'a str, sequence: u64, nonce: &'a [u8], names: &'a [String] },
    Value { org: &'a str, subject: &'a str },
}

impl Purpose<'_> {
    fn info(&self) -> &'static [u8] {
        match self {
            Self::Bundle { .. } => b"keyfob v1 bundle",
            Self::Named { .. } => b"keyfob v1 named",
            Self::Value { .. } => b"keyfob v1 value",
        }
    }

    fn aad(&self) -> Vec<u8> {
        let number = match self {
            Self::Bundle { sequence, .. } | Self::Named { sequence, .. } => sequence.to_be_bytes(),
            Self::Value { .. } => [0; 8], // has none
        };
        let mut fields: Vec<&[u8]> = match self {
            Self::Bundle { org, session, bundle_version, nonce, .. } => {
                vec![org.as_bytes(), session.as_bytes(), bundle_version.as_bytes(), &number, nonce]
            }
            Self::Named { org, session, nonce, .. } => vec![org.as_bytes(), session.as_bytes(), &number, nonce],
            Self::Value { org, subject } => vec![org.as_bytes(), subject.as_bytes()],
        };
        if let Self::Named { names, .. } = self {
            fields.extend(names.iter().map(|name| name.as_bytes()));
        }
        let mut aad = Vec::new();
        for field in fields {
            aad.extend_from_slice(&(field.len() as u32).to_be_bytes());
            aad.extend_from_slice(field);
        }
        aad
    }
}

/// The message does not open: wrong key, altered, or bound to something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotForUs;

impl fmt::Display for NotForUs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sealed message does not open: it was altered, or is meant for another key, session or user")
    }
}

impl std::error::Error for NotForUs {}

/// The given bytes are no X-Wing public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPublicKey;

impl fmt::Display for BadPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an X-Wing public key of {PUBLIC_KEY_LEN} bytes")
    }
}

impl std::error::Error for BadPublicKey {}

/// A key pair that messages are sealed to. Only the 32-byte seed is kept, on the heap, and wiped when dropped.
pub struct RecipientKey {
    seed: Box<Zeroizing<[u8; 32]>>,
    public: Vec<u8>,
}

impl RecipientKey {
    /// Makes a fresh one. Fails only where the kernel gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = Box::new(Zeroizing::new([0; 32]));
        getrandom::fill(&mut seed[..])?;
        let public = on_clean_stack(|| XWing::sk_to_pk(&private(&seed)).to_bytes().to_vec());
        Ok(Self { seed, public })
    }

    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Opens `message` (ciphertext and tag) in place; gives the length of the plaintext at its start.
    pub fn open(&self, encapsulated_key: &[u8], message: &mut [u8], purpose: &Purpose<'_>) -> Result<usize, NotForUs> {
        let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated_key).map_err(|_| NotForUs)?;
        let (body, tag) = message.split_last_chunk_mut::<TAG_LEN>().ok_or(NotForUs)?;
        let tag = AeadTag::<ChaCha20Poly1305>::from_bytes(tag).map_err(|_| NotForUs)?;
        let len = body.len();
        let opened = on_clean_stack(|| {
            single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, XWing>(
                &OpModeR::Base,
                &private(&self.seed),
                &encapsulated,
                purpose.info(),
                InOutBuf::from(body),
                &purpose.aad(),
                &tag,
            )
        });
        opened.map(|()| len).map_err(|_| NotForUs)
    }
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientKey(..)")
    }
}

fn private(seed: &[u8; 32]) -> <XWing as Kem>::PrivateKey {
    <XWing as Kem>::PrivateKey::from_bytes(seed).expect("any 32 bytes are an X-Wing seed")
}

/// Seals `message` in place and appends the tag; gives the encapsulated key. The vector must have room for the tag, so that
/// it does not grow and leave a copy of the plaintext behind.
pub fn seal(public_key: &[u8], message: &mut Vec<u8>, purpose: &Purpose<'_>) -> Result<Vec<u8>, BadPublicKey> {
    debug_assert!(message.capacity() - message.len() >= TAG_LEN, "no room for the tag");
    let public = <XWing as Kem>::PublicKey::from_bytes(public_key).map_err(|_| BadPublicKey)?;
    let sealed = on_clean_stack(|| {
        single_shot_seal_inout_detached::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeS::Base,
            &public,
            purpose.info(),
            InOutBuf::from(&mut message[..]),
            &purpose.aad(),
        )
    });
    let (encapsulated, tag) = sealed.map_err(|_| BadPublicKey)?;
    message.extend_from_slice(&tag.to_bytes());
    Ok(encapsulated.to_bytes().to_vec())
}

/// Runs `crypto` in a frame of its own, then overwrites the stack that it used: ciphers keep blocks and keys in locals, and
/// not all of them wipe those. Found by scanning an agent's memory.
fn on_clean_stack<T>(crypto: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn deeper<T>(crypto: impl FnOnce() -> T) -> T {
        crypto()
    }
    #[inline(never)]
    fn overwrite() {
        // ML-KEM's polynomials take about a third of it. Written by its initialization, which `black_box` keeps (of a constant
        // it would keep one in read-only data); wiping it byte by byte took a tenth of the server's time for a fetch.
        let frame = [std::hint::black_box(0u8); 96 * 1024];
        std::hint::black_box(&frame);
    }
    let done = deeper(crypto);
    overwrite();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &RecipientKey, purpose: &Purpose<'_>) -> (Vec<u8>, Vec<u8>) {
        let mut message = Vec::with_capacity(64);
        message.extend_from_slice(b"hunter2 hunter2");
        let encapsulated = seal(key.public(), &mut message, purpose).unwrap();
        assert!(!message.windows(7).any(|w| w == b"hunter2"));
        (encapsulated, message)
    }

    fn bundle<'a>(org: &'a str, session: &'a str, version: &'a str, sequence: u64, nonce: &'a [u8]) -> Purpose<'a> {
        Purpose::Bundle { org, session, bundle_version: version, sequence, nonce }
    }

    #[test]
    fn opens_only_as_what_it_was_sealed_as() {
        let key = RecipientKey::generate().unwrap();
        let nonce = [1; 16];
        let (encapsulated, message) = sealed(&key, &bundle("acme", "s1", "v1", 7, &nonce));
        assert_eq!((encapsulated.len(), key.public().len()), (ENCAPSULATED_KEY_LEN, PUBLIC_KEY_LEN));
        for (what, purpose, opens) in [
            ("itself", bundle("acme", "s1", "v1", 7, &nonce), true),
            ("another organization's", bundle("acm", "es1", "v1", 7, &nonce), false),
            ("another session's", bundle("acme", "s2", "v1", 7, &nonce), false),
            ("another version", bundle("acme", "s1", "v2", 7, &nonce), false),
            ("an older delivery", bundle("acme", "s1", "v1", 6, &nonce), false),
            ("another request's", bundle("acme", "s1", "v1", 7, &[2; 16]), false),
            ("a value", Purpose::Value { org: "acme", subject: "s1" }, false),
            ("named ones", named("acme", "s1", 7, &nonce, &["v1".into()]), false),
        ] {
            let mut copy = message.clone();
            let opened = key.open(&encapsulated, &mut copy, &purpose);
            assert_eq!(opened.is_ok(), opens, "{what}");
            if let Ok(len) = opened {
                assert_eq!(&copy[..len], b"hunter2 hunter2");
            }
        }
    }

    fn named<'a>(org: &'a str, session: &'a str, sequence: u64, nonce: &'a [u8], names: &'a [String]) -> Purpose<'a> {
        Purpose::Named { org, session, sequence, nonce, names }
    }

    #[test]
    fn what_is_named_opens_as_that_alone() {
        let key = RecipientKey::generate().unwrap();
        let nonce = [1; 16];
        let names = |given: &[&str]| given.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let asked = names(&["a", "bc"]);
        let (encapsulated, message) = sealed(&key, &named("acme", "s1", 7, &nonce, &asked));
        for (what, purpose, opens) in [
            ("itself", named("acme", "s1", 7, &nonce, &asked), true),
            ("another organization's", named("acm", "es1", 7, &nonce, &asked), false),
            ("another session's", named("acme", "s2", 7, &nonce, &asked), false),
            ("another delivery", named("acme", "s1", 8, &nonce, &asked), false),
            ("another request's", named("acme", "s1", 7, &[2; 16], &asked), false),
            ("other names", named("acme", "s1", 7, &nonce, &names(&["ab", "c"])), false),
            ("fewer names", named("acme", "s1", 7, &nonce, &names(&["a"])), false),
            ("another order", named("acme", "s1", 7, &nonce, &names(&["bc", "a"])), false),
            ("a bundle", bundle("acme", "s1", "a", 7, &nonce), false),
        ] {
            assert_eq!(key.open(&encapsulated, &mut message.clone(), &purpose).is_ok(), opens, "{what}");
        }
    }

    #[test]
    fn refuses_what_was_altered_or_is_for_another_key() {
        let key = RecipientKey::generate().unwrap();
        let purpose = Purpose::Value { org: "acme", subject: "user/alice" };
        let (encapsulated, message) = sealed(&key, &purpose);
        let other = RecipientKey::generate().unwrap();
        assert_eq!(other.open(&encapsulated, &mut message.clone(), &purpose), Err(NotForUs));
        for at in [0, message.len() / 2, message.len() - 1] {
            let mut altered = message.clone();
            altered[at] ^= 1;
            assert_eq!(key.open(&encapsulated, &mut altered, &purpose), Err(NotForUs), "byte {at}");
        }
        let mut altered = encapsulated.clone();
        altered[500] ^= 1;
        assert_eq!(key.open(&altered, &mut message.clone(), &purpose), Err(NotForUs));
        assert_eq!(key.open(&encapsulated[1..], &mut message.clone(), &purpose), Err(NotForUs));
        assert_eq!(key.open(&encapsulated, &mut [0; 15], &purpose), Err(NotForUs));
        assert_eq!(seal(&[0; 10], &mut Vec::with_capacity(16), &purpose), Err(BadPublicKey));
    }
}
