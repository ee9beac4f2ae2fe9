//! Who is signed in to the console, and the links that sign in.

use zeroize::Zeroizing;

use super::{Detail, Error, Grant, Row, Tx, bind};
use crate::domain::{
    audit::{Fact, Outcome},
    identity::{Identity, Role, Subject},
    join::Token,
    name::{OrgName, UserName},
    policy::Action,
};

const SECOND: i64 = 1_000_000;
/// For how long a link works.
const LINK_TTL: i64 = 60 * SECOND;
/// A session's longest life, and its longest without a request.
const LIFE: i64 = 12 * 3_600 * SECOND;
const IDLE: i64 = 3_600 * SECOND;
/// How exactly its last request is known: one write a minute is enough.
const GRAIN: i64 = 60 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedInBy {
    Link,
    Oidc,
}

impl SignedInBy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Oidc => "oidc",
        }
    }
}

#[derive(Debug)]
pub struct ConsoleSession {
    pub identity: Identity,
    /// Its last request was long enough ago to be written down again.
    pub stale: bool,
}

/// The actor of what an OpenID provider decided.
const PROVIDER: &str = "oidc";

const NO: Error = Error::Unauthenticated(
    "this link does not work: links work once, and for one minute; make a new one with `keyfob console`",
);

impl Tx<'_> {
    /// Makes a link; gives its token and when it stops working.
    pub fn create_console_link(&self, grant: &Grant, user: &UserName) -> Result<(Token, i64), Error> {
        grant.covers(Action::ConsoleLink, &format!("user/{user}"))?;
        self.execute("DELETE FROM console_links WHERE expires_at < ?1", bind![self.now])?;
        let (token, expires_at) = (fresh()?, self.now + LINK_TTL);
        self.execute(
            "INSERT INTO console_links (token_hash, org, user_name, expires_at) VALUES (?1, ?2, ?3, ?4)",
            bind![&Token::hash(token.expose()), grant.org(), user, expires_at],
        )?;
        Ok((token, expires_at))
    }

    /// Whom a link would sign in. It stays unused.
    pub fn console_link(&self, hash: &[u8; 32]) -> Result<Identity, Error> {
        let sql = "SELECT org, user_name FROM console_links WHERE token_hash = ?1 AND expires_at > ?2";
        self.one(sql, bind![hash, self.now], identity)?.ok_or(NO)
    }

    /// Uses a link up and opens a session. Of many who try, one finds it there.
    pub fn redeem_console_link(&self, hash: &[u8; 32]) -> Result<Token, Error> {
        let Identity { org, subject } = self.console_link(hash)?;
        if self.execute("DELETE FROM console_links WHERE token_hash = ?1", bind![hash])? != 1 {
            return Err(NO);
        }
        let name = UserName::parse(subject.name()).map_err(|e| Error::Corrupt(e.to_string()))?;
        self.open_console_session(&org, &name, SignedInBy::Link)
    }

    /// Opens a session for somebody who has shown who they are; gives what the cookie is to say.
    pub fn open_console_session(&self, org: &OrgName, name: &UserName, by: SignedInBy) -> Result<Token, Error> {
        let user = self.user(org, name)?.filter(|user| matches!(user.role, Role::Member | Role::Admin));
        user.ok_or(Error::Unauthenticated("there is no such member here; an admin can invite you"))?;
        self.execute(
            "DELETE FROM console_sessions WHERE created_at < ?1 OR used_at < ?2",
            bind![self.now - LIFE, self.now - IDLE - GRAIN],
        )?;
        let token = fresh()?;
        self.execute(
            "INSERT INTO console_sessions (token_hash, org, user_name, signed_by, created_at, used_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
            bind![&Token::hash(token.expose()), org, name, by.as_str(), self.now],
        )?;
        let actor = Subject::User(name.clone()).to_string();
        let (target, detail) = (actor.clone(), [("by", by.as_str().to_owned())].into());
        self.record(org, Fact { actor, action: "console.sign_in", target, outcome: Outcome::Done, detail })?;
        Ok(token)
    }

    /// Somebody of whom an OpenID provider says that they are a member, and in which role: made if new, changed if that is news.
    pub fn user_by_provider(&self, org: &OrgName, name: &UserName, role: Role) -> Result<(), Error> {
        let target = format!("user/{name}");
        let detail: Detail = [("role", role.as_str().to_owned()), ("by", "oidc".into())].into();
        match self.user(org, name)? {
            None => {
                self.insert_user(org, name, role, PROVIDER)?;
                self.record_own(org, "user.invite", target, detail)
            }
            Some(user) if user.role == role => Ok(()),
            Some(user) => {
                self.change_role(org, &user, role)?;
                self.record_own(org, "user.update", target, detail)
            }
        }
    }

    /// This organization, or the only one.
    pub fn organization_or_only(&self, asked: Option<&OrgName>) -> Result<OrgName, Error> {
        let all = self.all("SELECT org FROM organizations ORDER BY org", bind![], |row| row.text(0))?;
        let found = match asked {
            Some(asked) => all.iter().find(|org| *org == asked.as_str()),
            None => all.first().filter(|_| all.len() == 1),
        };
        let found = found
            .ok_or_else(|| Error::NotFound("say which organization; there is more than one, or not this".into()))?;
        OrgName::parse(found).map_err(|e| Error::Corrupt(e.to_string()))
    }

    /// The session of this cookie, if it is alive.
    pub fn console_session(&self, hash: &[u8; 32]) -> Result<Option<ConsoleSession>, Error> {
        let sql = "SELECT org, user_name, used_at FROM console_sessions WHERE token_hash = ?1 AND created_at > ?2 AND used_at > ?3";
        self.one(sql, bind![hash, self.now - LIFE, self.now - IDLE], |row| {
            Ok(ConsoleSession { identity: identity(row)?, stale: row.int(2)? < self.now - GRAIN })
        })
    }

    /// It was used now.
    pub fn use_console_session(&self, hash: &[u8; 32]) -> Result<(), Error> {
        self.execute("UPDATE console_sessions SET used_at = ?2 WHERE token_hash = ?1", bind![hash, self.now]).map(drop)
    }

    /// Ends one session, or all of the user's.
    pub fn sign_out(&self, grant: &Grant, user: &UserName, one: Option<&[u8; 32]>) -> Result<(), Error> {
        grant.covers(Action::ConsoleSignOut, &format!("user/{user}"))?;
        match one {
            None => self.end_console_sessions(grant.org(), user),
            Some(hash) => self
                .execute(
                    "DELETE FROM console_sessions WHERE token_hash = ?1 AND org = ?2 AND user_name = ?3",
                    bind![hash, grant.org(), user],
                )
                .map(drop),
        }
    }

    /// And their links.
    pub(super) fn end_console_sessions(&self, org: &OrgName, user: &UserName) -> Result<(), Error> {
        self.execute("DELETE FROM console_sessions WHERE org = ?1 AND user_name = ?2", bind![org, user])?;
        self.execute("DELETE FROM console_links WHERE org = ?1 AND user_name = ?2", bind![org, user]).map(drop)
    }
}

fn identity(row: &Row<'_>) -> Result<Identity, Error> {
    let org = OrgName::parse(&row.text(0)?).map_err(|e| Error::Corrupt(e.to_string()))?;
    let user = UserName::parse(&row.text(1)?).map_err(|e| Error::Corrupt(e.to_string()))?;
    Ok(Identity { org, subject: Subject::User(user) })
}

fn fresh() -> Result<Token, Error> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(&mut random[..]).map_err(|_| Error::Internal("the kernel gives no randomness"))?;
    Ok(Token::from_bytes(&random))
}
