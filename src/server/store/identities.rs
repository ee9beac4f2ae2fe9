//! Join tokens and credentials: how a key comes to hold an identity, and how it loses it.

use getrandom::fill;
use zeroize::Zeroizing;

use super::{Bind, Error, Grant, Notice, Tx, bind};
use crate::domain::{
    audit::{Fact, Outcome},
    identity::{Caller, Identity, Role, Subject},
    join::Token,
    name::OrgName,
};

/// Whom a caller claims to be, and by what.
#[derive(Debug, Clone)]
pub struct Credential {
    pub identity: Identity,
    pub proof: Proof,
}

#[derive(Debug, Clone)]
pub enum Proof {
    /// A certificate that passed the handshake: the hash of its public key.
    Key([u8; 32]),
    /// A session of the console: the hash of what its cookie says.
    Console([u8; 32]),
}

/// What redeeming a token gave.
#[derive(Debug)]
pub struct Redeemed {
    pub identity: Identity,
    /// Whether this was a repeat by the same key.
    pub repeated: bool,
}

/// What a holder says of its renewals.
#[derive(Debug, Default)]
pub struct Counter {
    pub renewals: Option<u64>,
    /// Random; the same for as long as one renewal is not answered.
    pub attempt: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// So often by now.
    Done(u64),
    /// Refused, and on record.
    Cloned,
}

/// The longest a join token lives.
pub const MAX_JOIN_TTL: i64 = 600 * 1_000_000;
/// For how long a used-up token's row is kept.
const KEPT: i64 = 24 * 3_600 * 1_000_000;

const REVOKED: &str = "this identity has been revoked or has ended; ask for a new join string";

impl Tx<'_> {
    /// Looks a caller up: is its key, or its session, on record for that identity, is the identity alive, what is its role? Asked inside the
    /// transaction that does the work, so a revocation counts from the moment it is committed.
    pub fn caller(&self, credential: &Credential) -> Result<Caller, Error> {
        let Identity { org, subject } = &credential.identity;
        match &credential.proof {
            Proof::Key(hash) => {
                let on_record = self.one(
                    "SELECT 1 FROM credentials WHERE key_hash = ?1 AND org = ?2 AND subject_kind = ?3 AND subject_name = ?4 AND revoked_at IS NULL",
                    bind![hash, org, subject.kind(), subject.name()],
                    |_| Ok(()),
                )?;
                on_record.ok_or(Error::Unauthenticated(REVOKED))?;
            }
            Proof::Console(hash) => {
                let session = self.console_session(hash)?.filter(|s| s.identity == credential.identity);
                session.ok_or(Error::Unauthenticated("you are signed out; sign in again"))?;
            }
        }
        let role = match subject {
            Subject::Session(id) => self.one(
                "SELECT 1 FROM sessions WHERE org = ?1 AND id = ?2 AND ended_at IS NULL",
                bind![org, id],
                |_| Ok(Role::Session),
            )?,
            Subject::User(name) | Subject::Operator(name) | Subject::Orchestrator(name) => self
                .one("SELECT role FROM users WHERE org = ?1 AND name = ?2", bind![org, name], |row| row.text(0))?
                .and_then(|role| Role::parse(&role))
                // A machine's certificate is no good for a person of that name, nor the other way round.
                .filter(|role| role.subject(name.clone()) == *subject),
        };
        let role = role.ok_or(Error::Unauthenticated(REVOKED))?;
        Ok(Caller { identity: credential.identity.clone(), role })
    }

    /// Makes a token for a subject; only its hash is kept.
    pub fn create_join_token(&self, grant: &Grant, subject: &Subject, expires_at: i64) -> Result<Token, Error> {
        self.insert_join_token(grant.org(), subject, expires_at)
    }

    pub(super) fn insert_join_token(&self, org: &OrgName, subject: &Subject, expires_at: i64) -> Result<Token, Error> {
        let mut random = Zeroizing::new([0; 32]);
        fill(&mut random[..]).map_err(|_| Error::Internal("the kernel gives no randomness"))?;
        let token = Token::from_bytes(&random);
        let expires_at = expires_at.min(self.now + MAX_JOIN_TTL);
        self.execute("DELETE FROM join_tokens WHERE expires_at < ?1", bind![self.now - KEPT])?;
        self.execute(
            "INSERT INTO join_tokens (token_hash, org, subject_kind, subject_name, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            bind![&Token::hash(token.expose()), org, subject.kind(), subject.name(), expires_at],
        )?;
        Ok(token)
    }

    /// Redeems a token for a key. The one statement that decides is a conditional update: of many redeemers with different
    /// keys, on however many servers, exactly one finds it unused. The same key may repeat until the token expires.
    pub fn redeem(&self, token_hash: &[u8; 32], key_hash: &[u8; 32]) -> Result<Redeemed, Error> {
        const NO: Error = Error::Unauthenticated(
            "the join string is not valid: unknown, expired (ten minutes), or used by another key; ask for a new one",
        );
        let first = self.execute(
            "UPDATE join_tokens SET redeemed_key = ?2, redeemed_at = ?3 WHERE token_hash = ?1 AND redeemed_key IS NULL AND expires_at > ?3",
            bind![token_hash, key_hash, self.now],
        )? == 1;
        let row = self.one(
            "SELECT org, subject_kind, subject_name FROM join_tokens WHERE token_hash = ?1 AND redeemed_key = ?2 AND expires_at > ?3",
            bind![token_hash, key_hash, self.now],
            |row| Ok((row.text(0)?, row.text(1)?, row.text(2)?)),
        )?;
        let (org, kind, name) = row.ok_or(NO)?;
        let org = OrgName::parse(&org).map_err(|e| Error::Corrupt(e.to_string()))?;
        let subject = Subject::parse(&kind, &name)
            .ok_or_else(|| Error::Corrupt("a join token's subject is no identity".into()))?;
        if first {
            // A key holds one identity, ever.
            let taken = self.one("SELECT 1 FROM credentials WHERE key_hash = ?1", bind![key_hash], |_| Ok(()))?;
            if taken.is_some() {
                return Err(NO);
            }
            self.execute(
                "INSERT INTO credentials (key_hash, org, subject_kind, subject_name, created_at, renewed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
                bind![key_hash, &org, subject.kind(), subject.name(), self.now],
            )?;
        }
        let identity = Identity { org, subject };
        // Ended, revoked or removed between invitation and redemption; revoked between first redemption and repeat.
        self.caller(&Credential { identity: identity.clone(), proof: Proof::Key(*key_hash) }).map_err(|_| NO)?;
        match &identity.subject {
            Subject::Session(id) => self.execute(
                "UPDATE sessions SET enrolled_at = COALESCE(enrolled_at, ?3) WHERE org = ?1 AND id = ?2",
                bind![&identity.org, id, self.now],
            )?,
            subject => self.execute(
                "UPDATE users SET enrolled_at = COALESCE(enrolled_at, ?3) WHERE org = ?1 AND name = ?2",
                bind![&identity.org, subject.name(), self.now],
            )?,
        };
        if first {
            self.record(&identity.org, fact(&identity.subject, "identity.enrol"))?;
        }
        Ok(Redeemed { identity, repeated: !first })
    }

    /// Counts a renewal of a credential that [`Tx::caller`] has let through. A session's own count must not lie behind: two who
    /// hold one identity, a VM and its clone, count apart.
    pub fn renew(&self, credential: &Credential, said: &Counter) -> Result<Renewed, Error> {
        self.caller(credential)?;
        let Identity { org, subject } = &credential.identity;
        let Proof::Key(key_hash) = &credential.proof else { return Err(Error::Unauthenticated(REVOKED)) };
        let (counted, attempt) = self
            .one("SELECT renewals, attempt FROM credentials WHERE key_hash = ?1", bind![key_hash], |row| {
                Ok((row.uint(0)?, row.opt_blob(1)?))
            })?
            .ok_or(Error::Unauthenticated(REVOKED))?;
        let repeats = !said.attempt.is_empty() && attempt.as_ref() == Some(&said.attempt);
        let count = match (subject, said.renewals) {
            (Subject::Session(_), None) if attempt.is_none() => counted,
            (Subject::Session(id), renewals) => match renewals.unwrap_or(0) {
                // Done already, but the answer got lost.
                behind if repeats && behind + 1 == counted => behind,
                behind if behind < counted => {
                    self.note_clone(org, id, "its renewals were counted backwards")?;
                    return Ok(Renewed::Cloned);
                }
                ahead => ahead, // of a store that was put back
            },
            _ => counted,
        };
        let attempt: Bind<'_> = if said.attempt.is_empty() { Bind::Null } else { (&said.attempt).into() };
        self.execute(
            "UPDATE credentials SET renewals = ?2, renewed_at = ?3, attempt = COALESCE(?4, attempt) WHERE key_hash = ?1",
            &[key_hash.into(), (count + 1).into(), self.now.into(), attempt],
        )?;
        self.record(org, fact(subject, "identity.renew"))?;
        Ok(Renewed::Done(count + 1))
    }

    /// Takes a subject's keys and unused tokens away.
    pub fn revoke_credentials(&self, grant: &Grant, subject: &Subject) -> Result<(), Error> {
        self.execute(
            "UPDATE credentials SET revoked_at = ?4 WHERE org = ?1 AND subject_kind = ?2 AND subject_name = ?3 AND revoked_at IS NULL",
            bind![grant.org(), subject.kind(), subject.name(), self.now],
        )?;
        self.execute(
            "DELETE FROM join_tokens WHERE org = ?1 AND subject_kind = ?2 AND subject_name = ?3",
            bind![grant.org(), subject.kind(), subject.name()],
        )?;
        if let Subject::User(name) = subject {
            self.end_console_sessions(grant.org(), name)?;
        }
        self.announce(Notice::Revoked { org: grant.org().clone(), subject: subject.clone() });
        Ok(())
    }
}

fn fact(subject: &Subject, action: &'static str) -> Fact {
    Fact {
        actor: subject.to_string(),
        action,
        target: subject.to_string(),
        outcome: Outcome::Done,
        detail: Default::default(),
    }
}
