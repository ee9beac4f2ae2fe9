//! Who is at the other end: the SPIFFE name in a certificate, and what the store says of it.
//!
//! ```text
//! spiffe://TRUST_DOMAIN/server
//! spiffe://TRUST_DOMAIN/org/ORG/session/ID
//! spiffe://TRUST_DOMAIN/org/ORG/user/NAME
//! spiffe://TRUST_DOMAIN/org/ORG/operator/NAME
//! spiffe://TRUST_DOMAIN/org/ORG/orchestrator/NAME
//! ```

use std::fmt;

use super::name::{Id, OrgName, UserName};

/// A certificate's holder: one organization, one subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub org: OrgName,
    pub subject: Subject,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    Session(Id),
    User(UserName),
    Operator(UserName),
    Orchestrator(UserName),
}

impl Subject {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::User(_) => "user",
            Self::Operator(_) => "operator",
            Self::Orchestrator(_) => "orchestrator",
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Session(id) => id.as_str(),
            Self::User(name) | Self::Operator(name) | Self::Orchestrator(name) => name.as_str(),
        }
    }

    /// The two halves of its path, as [`Subject`] prints them.
    pub fn parse(kind: &str, name: &str) -> Option<Self> {
        Some(match kind {
            "session" => Self::Session(Id::parse(name).ok()?),
            "user" => Self::User(UserName::parse(name).ok()?),
            "operator" => Self::Operator(UserName::parse(name).ok()?),
            "orchestrator" => Self::Orchestrator(UserName::parse(name).ok()?),
            _ => return None,
        })
    }
}

/// `user/alice`, `session/ID`: the actor of audit entries.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.name())
    }
}

impl Identity {
    pub fn to_uri(&self, trust_domain: &str) -> String {
        format!("spiffe://{trust_domain}/org/{}/{}", self.org, self.subject)
    }

    /// `None` for any name that is not exactly of the form above.
    pub fn from_uri(uri: &str) -> Option<Self> {
        let (trust_domain, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
        let [root, org, kind, name] = path.split('/').collect::<Vec<_>>().try_into().ok()?;
        (!trust_domain.is_empty() && root == "org").then_some(())?;
        Some(Self { org: OrgName::parse(org).ok()?, subject: Subject::parse(kind, name)? })
    }
}

pub fn server_uri(trust_domain: &str) -> String {
    format!("spiffe://{trust_domain}/server")
}

pub fn is_server_uri(uri: &str) -> bool {
    uri.strip_prefix("spiffe://")
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(domain, path)| !domain.is_empty() && path == "server")
}

/// What somebody may do; of people it is looked up at every call, of machines it is what their certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Member,
    Admin,
    Orchestrator,
    Operator,
    Session,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Orchestrator => "orchestrator",
            Self::Operator => "operator",
            Self::Session => "session",
        }
    }

    /// The roles that can be given to somebody by name.
    pub fn parse(given: &str) -> Option<Self> {
        [Self::Member, Self::Admin, Self::Orchestrator, Self::Operator].into_iter().find(|r| r.as_str() == given)
    }

    /// The subject that somebody of this role has in their certificate.
    pub fn subject(self, name: UserName) -> Subject {
        match self {
            Self::Orchestrator => Subject::Orchestrator(name),
            Self::Operator => Subject::Operator(name),
            Self::Member | Self::Admin | Self::Session => Subject::User(name),
        }
    }
}

/// An identity whose role has been looked up and whose credential is alive.
#[derive(Debug, Clone)]
pub struct Caller {
    pub identity: Identity,
    pub role: Role,
}

impl Caller {
    pub fn org(&self) -> &OrgName {
        &self.identity.org
    }

    /// The person behind the call, if it is one.
    pub fn user(&self) -> Option<&UserName> {
        match &self.identity.subject {
            Subject::User(name) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        let id = "a".repeat(26);
        let session = format!("spiffe://example.org/org/acme/session/{id}");
        for (uri, subject) in [
            ("spiffe://example.org/org/acme/user/alice", Some("user/alice")),
            ("spiffe://example.org/org/acme/operator/o", Some("operator/o")),
            ("spiffe://example.org/org/acme/orchestrator/ci", Some("orchestrator/ci")),
            (&session, Some(&*format!("session/{id}"))),
            ("spiffe://example.org/server", None),
            ("spiffe:///org/acme/user/alice", None),
            ("spiffe://example.org/org/acme/user/alice/", None),
            ("spiffe://example.org/org/acme/user/", None),
            ("spiffe://example.org/org/acme/root/alice", None),
            ("spiffe://example.org/org//user/alice", None),
            ("spiffe://example.org/org/acme/user/../x", None),
            ("spiffe://example.org/org/acme/session/short", None),
            ("https://example.org/org/acme/user/alice", None),
            ("", None),
        ] {
            let found = Identity::from_uri(uri);
            assert_eq!(found.as_ref().map(|i| i.subject.to_string()).as_deref(), subject, "{uri}");
            if let Some(identity) = found {
                assert_eq!(identity.to_uri("example.org"), uri);
            }
        }
        assert!(is_server_uri(&server_uri("example.org")));
        assert!(!is_server_uri("spiffe://example.org/org/acme/user/server"));
        assert!(!is_server_uri("spiffe:///server"));
    }
}
