//! Why the control plane says no. Holds names, never values; one function makes a gRPC status of it.

use std::fmt;

use tonic::{Code, Status};

use crate::domain::{
    audit::{Fact, Outcome},
    name::{Id, OrgName},
};

#[derive(Debug)]
pub enum Error {
    /// No identity, or one that does not count any more.
    Unauthenticated(&'static str),
    /// Decided by policy: the fact is written to the audit chain, `hidden` looks like [`Error::NotFound`].
    Refused {
        org: OrgName,
        fact: Box<Fact>,
        hidden: bool,
        reason: String,
    },
    /// One identity at two places. Put on record by who noticed it.
    Cloned,
    NotFound(String),
    Invalid(String),
    Exists(String),
    /// Somebody else was faster.
    Changed(String),
    Precondition(String),
    /// A stored row is not what was stored. Audited by whoever finds it.
    Corrupt(String),
    /// A secret's row fails its integrity check. The writer puts it on record.
    Altered {
        org: OrgName,
        id: Id,
        name: String,
        flaw: Flaw,
    },
    /// Everything that is wrong with an import; none of it was stored.
    Import(Vec<crate::wire::v1::ImportProblem>),
    /// The store can't be read or written.
    Store(String),
    Internal(&'static str),
}

/// What is wrong with a stored secret. Each says what heals it: a new value is only ever stored under facts that are proven,
/// or somebody's edit of them would be sealed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// What the row says of itself is not what was stored with its key.
    Row,
    /// Genuine, but something newer is on record about this secret.
    Older,
    /// The row is genuine, the value in it is not.
    Value,
    /// The keyring does not have the key of this name.
    NoKey(String),
}

impl Flaw {
    fn problem(&self) -> String {
        match self {
            Self::Row => "the row was altered, or stands in another's place".into(),
            Self::Older => "an older row was put back".into(),
            Self::Value => "the value was altered".into(),
            Self::NoKey(key) => format!("its key `{key}` is not in the keyring"),
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Row | Self::Older => "Delete it and create it again, and look for who writes to the database",
            Self::Value => "Rotate it, and look for who writes to the database",
            Self::NoKey(_) => {
                "Put that key back into the keyring; if it is lost, delete the secret and create it again"
            }
        }
    }
}

impl Error {
    /// What callers are told of a thing that does not exist, or that they may not know of: `what` is `secret`, `session`.
    pub fn not_found(what: &str) -> Self {
        Self::NotFound(format!("no such {what}, or you may not see it"))
    }

    /// What goes on record although the job that failed with this is rolled back.
    pub fn fact(&self) -> Option<(OrgName, Fact)> {
        match self {
            Self::Refused { org, fact, .. } => Some((org.clone(), (**fact).clone())),
            Self::Altered { org, id, flaw, .. } => {
                let fact = Fact {
                    actor: "server".into(),
                    action: "secret.integrity",
                    target: format!("secret/{id}"),
                    outcome: Outcome::Refused,
                    detail: [("problem", flaw.problem())].into(),
                };
                Some((org.clone(), fact))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthenticated(why) | Self::Internal(why) => f.write_str(why),
            Self::Cloned => f.write_str(
                "this identity is in use at two places: the VM was cloned; boot it with a session of its own, and revoke this one",
            ),
            Self::Refused { reason: text, .. }
            | Self::NotFound(text)
            | Self::Invalid(text)
            | Self::Exists(text)
            | Self::Changed(text)
            | Self::Precondition(text)
            | Self::Corrupt(text)
            | Self::Store(text) => f.write_str(text),
            Self::Import(problems) => write!(f, "{} of the secrets can't be stored", problems.len()),
            Self::Altered { id, name, flaw, .. } => {
                let (problem, remedy) = (flaw.problem(), flaw.remedy());
                write!(
                    f,
                    "the stored secret `{name}` ({id}) fails its integrity check ({problem}); it was refused. {remedy}"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
        // SQLite's texts name tables and columns, never what is bound to a statement.
        match error {
            // Not of the type that the schema says: the store works, but somebody else wrote to it.
            FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..) => {
                Self::Corrupt(format!("a stored row can't be read: {error}"))
            }
            _ => Self::Store(error.to_string()),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Unauthenticated(_) => Code::Unauthenticated,
            Error::Refused { hidden: true, .. } | Error::NotFound(_) => Code::NotFound,
            Error::Refused { hidden: false, .. } | Error::Cloned => Code::PermissionDenied,
            Error::Invalid(_) | Error::Import(_) => Code::InvalidArgument,
            Error::Exists(_) => Code::AlreadyExists,
            Error::Changed(_) => Code::Aborted,
            Error::Precondition(_) => Code::FailedPrecondition,
            Error::Corrupt(_) | Error::Altered { .. } => Code::DataLoss,
            Error::Store(cause) => {
                tracing::error!(%cause, "store");
                return Self::unavailable("the control plane can't reach its store; try again");
            }
            Error::Internal(cause) => {
                tracing::error!(%cause, "internal");
                return Self::internal("internal error; the server's log has the cause");
            }
        };
        Self::new(code, error.to_string())
    }
}
