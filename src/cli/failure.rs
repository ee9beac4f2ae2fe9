//! Why a command did not do what it was asked, and the exit code that says so. The one place that maps errors to either.
//!
//! A failure holds names and the next step for the person; never a value.

use std::{fmt, io, process::ExitCode};

use tonic::{Code, Status};

use crate::{client, domain::plain::plain};

pub type Done<T = ()> = Result<T, Failure>;

#[derive(Debug)]
pub enum Failure {
    /// Something to tell.
    Told { exit: u8, code: &'static str, message: String },
    /// Whoever read our output has gone; nothing to tell, and nobody to tell it to.
    Silent,
}

const REFUSED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
/// What a shell reports for a program that died of SIGPIPE.
const BROKEN_PIPE: u8 = 128 + 13;

impl Failure {
    /// Refused or failed on this machine.
    pub fn local(message: impl Into<String>) -> Self {
        Self::Told { exit: REFUSED, code: "failed", message: message.into() }
    }

    /// Nobody answers.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::Told { exit: UNREACHABLE, code: "unreachable", message: message.into() }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::Told { exit: USAGE, code: "usage", message: message.into() }
    }

    /// Something the server said is not there, or a thing that can't be done as it stands.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Told { exit: REFUSED, code, message: message.into() }
    }

    /// Adds the next step to failures of this code.
    pub fn hint(self, on: &str, next: &str) -> Self {
        match self {
            Self::Told { exit, code, message } if code == on => {
                Self::Told { exit, code, message: format!("{message}; {next}") }
            }
            other => other,
        }
    }

    pub fn code(&self) -> &'static str {
        match self {
            Self::Told { code, .. } => code,
            Self::Silent => "broken_pipe",
        }
    }

    pub fn exit(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Told { exit, .. } => *exit,
            Self::Silent => BROKEN_PIPE,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { message, .. } => f.write_str(message),
            Self::Silent => Ok(()),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let said = plain(status.message());
        // Without a status of its own: the connection broke, or what answers is no gRPC server.
        let broken = matches!(status.code(), Code::Unknown | Code::Unavailable | Code::Cancelled | Code::Internal)
            && std::error::Error::source(&status).is_some();
        let (exit, code) = match status.code() {
            _ if broken => (UNREACHABLE, "unreachable"),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => (UNREACHABLE, "unreachable"),
            Code::InvalidArgument => (REFUSED, "invalid_argument"),
            Code::NotFound => (REFUSED, "not_found"),
            Code::AlreadyExists => (REFUSED, "already_exists"),
            Code::PermissionDenied => (REFUSED, "permission_denied"),
            Code::Unauthenticated => (REFUSED, "unauthenticated"),
            Code::FailedPrecondition => (REFUSED, "failed_precondition"),
            Code::Aborted => (REFUSED, "aborted"),
            Code::OutOfRange => (REFUSED, "out_of_range"),
            Code::ResourceExhausted => (REFUSED, "resource_exhausted"),
            Code::DataLoss => (REFUSED, "data_loss"),
            Code::Unimplemented => (REFUSED, "unimplemented"),
            Code::Ok | Code::Unknown | Code::Internal => (REFUSED, "internal"),
        };
        let message = match code {
            "unreachable" if broken => {
                format!("the connection to the control plane broke: {}; try again", deepest(&status))
            }
            "unreachable" => format!("the control plane does not answer: {said}; try again"),
            "unimplemented" => {
                format!("the control plane is older than this program and does not know this call: {said}")
            }
            _ => said,
        };
        Self::Told { exit, code, message }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        match error {
            client::Error::Status(status) => status.into(),
            client::Error::Unreachable { .. } | client::Error::Late { .. } => {
                Self::Told { exit: UNREACHABLE, code: "unreachable", message: error.to_string() }
            }
            client::Error::Untrusted { .. } => {
                Self::Told { exit: REFUSED, code: "untrusted", message: error.to_string() }
            }
            client::Error::Clock { .. } => Self::Told { exit: REFUSED, code: "clock", message: error.to_string() },
            client::Error::Local(cause) => Self::local(cause),
        }
    }
}

/// From writing to stdout; other input and output says what it was about.
pub fn writing(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::Silent
    } else {
        Failure::local(format!("writing the output: {error}"))
    }
}

fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    plain(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let address = || "keyfob.example:7443".to_owned();
        for (failure, exit, code) in [
            (Failure::from(Status::not_found("x")), 1, "not_found"),
            (Status::aborted("x").into(), 1, "aborted"),
            (Status::permission_denied("x").into(), 1, "permission_denied"),
            (Status::internal("x").into(), 1, "internal"),
            (Status::unavailable("x").into(), 3, "unreachable"),
            (Status::deadline_exceeded("x").into(), 3, "unreachable"),
            (Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionReset))).into(), 3, "unreachable"),
            (client::Error::Unreachable { address: address(), cause: "refused".into() }.into(), 3, "unreachable"),
            (client::Error::Untrusted { address: address(), cause: "other CA".into() }.into(), 1, "untrusted"),
            (client::Error::Clock { cause: "expired" }.into(), 1, "clock"),
            (Failure::usage("x"), 2, "usage"),
            (Failure::local("x"), 1, "failed"),
            (writing(io::ErrorKind::BrokenPipe.into()), 141, "broken_pipe"),
            (writing(io::ErrorKind::StorageFull.into()), 1, "failed"),
        ] {
            assert_eq!(failure.code(), code, "{failure}");
            assert_eq!(failure.exit(), ExitCode::from(exit), "{failure}");
        }
    }

    #[test]
    fn what_a_server_says_moves_no_cursor() {
        assert_eq!(Failure::from(Status::not_found("no \u{1b}[2Jsecret")).to_string(), r"no \u{1b}[2Jsecret");
    }

    #[test]
    fn a_hint_is_for_its_code() {
        let aborted = || Failure::from(Status::aborted("changed"));
        assert_eq!(aborted().hint("aborted", "look again").to_string(), "changed; look again");
        assert_eq!(aborted().hint("not_found", "look again").to_string(), "changed");
    }
}
