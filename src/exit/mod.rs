//! What the process ends with: exit codes, all of them, after sysexits.h, and the errors that lead to them.

mod error;

pub use error::CliError;

use std::process::ExitCode;

use crate::admin::{AdminErrorCode, CallError};

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// `check`: there are warnings.
    Warnings = 1,
    /// `check`: there are errors.
    Errors = 2,
    /// `status`: the gateway does not run (as `systemctl status` says it).
    NotRunning = 3,
    /// `explain`: the request would be refused.
    Refused = 4,
    /// `apply --dry-run --exit-code`: something would be different.
    Changes = 5,
    /// The command line is wrong.
    Usage = 64,
    /// What was given is refused: an unknown or taken name, a bad value.
    Data = 65,
    /// A file that was named is not there.
    NoInput = 66,
    /// The gateway or a broker cannot be reached.
    Unavailable = 69,
    /// An error in the program.
    Software = 70,
    /// A file cannot be created.
    CannotCreate = 73,
    /// Reading or writing failed.
    Io = 74,
    /// It may work later.
    Temporary = 75,
    /// No permission.
    Permission = 77,
    /// The configuration is wrong.
    Config = 78,
    /// Ended by Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// Every one, by its number.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Warnings,
        Self::Errors,
        Self::NotRunning,
        Self::Refused,
        Self::Changes,
        Self::Usage,
        Self::Data,
        Self::NoInput,
        Self::Unavailable,
        Self::Software,
        Self::CannotCreate,
        Self::Io,
        Self::Temporary,
        Self::Permission,
        Self::Config,
        Self::Interrupted,
    ];

    /// What it means, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Warnings => "check: there are warnings",
            Self::Errors => "check: there are errors",
            Self::NotRunning => "status: the gateway does not run",
            Self::Refused => "explain: the request would be refused",
            Self::Changes => "apply --exit-code: there are changes",
            Self::Usage => "the command line is wrong",
            Self::Data => "a name or value is refused",
            Self::NoInput => "a file is not there",
            Self::Unavailable => "the gateway or broker does not answer",
            Self::Software => "error in the program",
            Self::CannotCreate => "a file cannot be created",
            Self::Io => "reading or writing failed",
            Self::Temporary => "failed for now, try again",
            Self::Permission => "no permission",
            Self::Config => "the configuration is wrong",
            Self::Interrupted => "ended by Ctrl-C",
        }
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<AdminErrorCode> for Exit {
    fn from(code: AdminErrorCode) -> Self {
        match code {
            AdminErrorCode::InvalidArgument | AdminErrorCode::AlreadyExists | AdminErrorCode::NotFound => Self::Data,
            AdminErrorCode::NotPermitted => Self::Permission,
            AdminErrorCode::RegistryLocked | AdminErrorCode::Busy | AdminErrorCode::Conflict => Self::Temporary,
            AdminErrorCode::Registry => Self::Io,
            AdminErrorCode::Configuration => Self::Config,
            AdminErrorCode::VersionMismatch | AdminErrorCode::InvalidRequest | AdminErrorCode::Internal => Self::Software,
        }
    }
}

impl From<&CallError> for Exit {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::NotRunning { .. } | CallError::NoAnswer { .. } => Self::Unavailable,
            CallError::NotPermitted { .. } => Self::Permission,
            CallError::TimedOut { .. } => Self::Temporary,
            CallError::Local(_) => Self::Software,
            CallError::Refused(error) => error.code.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_sysexits() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 4, 5, 64, 65, 66, 69, 70, 73, 74, 75, 77, 78, 130]);
    }
}
