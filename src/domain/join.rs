//! The one string a VM or a person needs to join: where the control plane is, how to know it, and a token.
//!
//! ```text
//! kfjoin1s_ BASE64URL( token[32] | SHA-256 of the CA's certificate[32] | policy | address | first 4 bytes of SHA-256 of all before )
//!        └─ s: for a session's agent, u: for a person's `keyfob login`
//! policy = deadline u16 big-endian, on-failure u8 (domain::boot); for a session only, a person's has none
//! ```
//!
//! It has no character that a shell, a systemd credential or an SMBIOS string treats specially. The token is the secret in
//! it: it works once, for ten minutes at most, and is bound to the first key that redeems it.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::boot::BootPolicy;

/// Who may redeem it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    Session,
    User,
}

impl Audience {
    fn prefix(self) -> &'static str {
        match self {
            Self::Session => "kfjoin1s_",
            Self::User => "kfjoin1u_",
        }
    }
}

/// 32 random bytes; only their hash is ever stored. Boxed: a value that moves leaves copies behind on the stack.
pub struct Token(Box<Zeroizing<[u8; 32]>>);

impl Token {
    /// Takes 32 bytes over by copying them into place.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut token = Box::new(Zeroizing::new([0; 32]));
        token.copy_from_slice(bytes);
        Self(token)
    }

    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn hash(token: &[u8]) -> [u8; 32] {
        Sha256::new_with_prefix(b"keyfob join token v1\0").chain_update(token).finalize().into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[derive(Debug)]
pub struct Join {
    pub audience: Audience,
    /// `HOST:PORT`; or `dir:PATH`, the data directory of a server on this machine that tells there where it listens.
    pub address: String,
    /// SHA-256 of the DER of the certificate authority.
    pub ca_fingerprint: [u8; 32],
    pub token: Token,
    /// Of the session's environment; what a person does has none.
    pub boot: BootPolicy,
}

/// Why a text is no join string. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadJoin {
    NotOne,
    Damaged,
    For(Audience),
}

impl fmt::Display for BadJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOne => "this is no join string: one starts with `kfjoin1`",
            Self::Damaged => {
                "the join string is damaged, perhaps cut off on its way; copy it whole or ask for a new one"
            }
            Self::For(Audience::Session) => {
                "this join string is for a session's VM (keyfob-agent), not for a person; it was not used up"
            }
            Self::For(Audience::User) => {
                "this join string is for a person (keyfob login), not for a VM; it was not used up"
            }
        })
    }
}

impl std::error::Error for BadJoin {}

impl Join {
    /// Blanks and line ends around it do not matter. The audience is checked before anything is sent, so that a string in
    /// the wrong hands is not burnt.
    pub fn parse(text: &str, audience: Audience) -> Result<Self, BadJoin> {
        let text = text.trim();
        let (for_whom, body) = [Audience::Session, Audience::User]
            .into_iter()
            .find_map(|a| text.strip_prefix(a.prefix()).map(|body| (a, body)))
            .ok_or(BadJoin::NotOne)?;
        if for_whom != audience {
            return Err(BadJoin::For(for_whom));
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(body).map_err(|_| BadJoin::Damaged)?);
        let (rest, check) = bytes.split_last_chunk::<4>().ok_or(BadJoin::Damaged)?;
        if Sha256::digest(rest)[..4] != check[..] {
            return Err(BadJoin::Damaged);
        }
        let (token, rest) = rest.split_first_chunk::<32>().ok_or(BadJoin::Damaged)?;
        let (ca_fingerprint, rest) = rest.split_first_chunk::<32>().ok_or(BadJoin::Damaged)?;
        let (boot, address) = match audience {
            Audience::User => (BootPolicy::default(), rest),
            Audience::Session => {
                let (policy, address) = rest.split_first_chunk::<3>().ok_or(BadJoin::Damaged)?;
                (BootPolicy::from_bytes(*policy).ok_or(BadJoin::Damaged)?, address)
            }
        };
        Ok(Self {
            audience,
            address: std::str::from_utf8(address).map_err(|_| BadJoin::Damaged)?.to_owned(),
            ca_fingerprint: *ca_fingerprint,
            token: Token::from_bytes(token),
            boot,
        })
    }

    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(32 + 32 + 3 + self.address.len() + 4));
        bytes.extend_from_slice(self.token.expose());
        bytes.extend_from_slice(&self.ca_fingerprint);
        if self.audience == Audience::Session {
            bytes.extend_from_slice(&self.boot.to_bytes());
        }
        bytes.extend_from_slice(self.address.as_bytes());
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..4]);
        let prefix = self.audience.prefix();
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + bytes.len().div_ceil(3) * 4));
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::boot::OnFailure;

    fn join(audience: Audience) -> Join {
        Join {
            audience,
            address: "keyfob.example.org:7443".into(),
            ca_fingerprint: [7; 32],
            token: Token::from_bytes(&[9; 32]),
            boot: match audience {
                Audience::Session => BootPolicy { deadline: Some(30), on_failure: Some(OnFailure::Continue) },
                Audience::User => BootPolicy::default(),
            },
        }
    }

    #[test]
    fn parses_back() {
        for audience in [Audience::Session, Audience::User] {
            let parsed = Join::parse(&format!(" {}\n", *join(audience).to_text()), audience).unwrap();
            assert_eq!(parsed.address, "keyfob.example.org:7443");
            assert_eq!((parsed.ca_fingerprint, *parsed.token.expose()), ([7; 32], [9; 32]));
            assert_eq!(parsed.boot, join(audience).boot);
        }
    }

    #[test]
    fn refusals() {
        let good = join(Audience::Session).to_text();
        let flipped = format!("{}A{}", &good[..20], &good[21..]);
        for (text, expected) in [
            ("", BadJoin::NotOne),
            ("hunter2", BadJoin::NotOne),
            ("kfjoin1s_", BadJoin::Damaged),
            ("kfjoin1s_!!!!", BadJoin::Damaged),
            (&good[..good.len() - 1], BadJoin::Damaged),
            (&flipped, BadJoin::Damaged),
            (&join(Audience::User).to_text(), BadJoin::For(Audience::User)),
        ] {
            assert_eq!(Join::parse(text, Audience::Session).err(), Some(expected), "{text}");
        }
    }

    #[test]
    fn debug_prints_no_token() {
        assert!(format!("{:?}", join(Audience::User)).contains("Token(..)"));
    }
}
