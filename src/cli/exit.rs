//! Exit codes, all of them, after sysexits.h.

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
}

/// The end of `--help`.
pub(super) const HELP: &str = "\
Exit codes:
   0  done                                   69  the gateway or broker does not answer
   1  check: there are warnings              70  error in the program
   2  check: there are errors                73  a file cannot be created
   3  status: the gateway does not run       74  reading or writing failed
   4  explain: the request would be refused  75  failed for now, try again
  64  the command line is wrong              77  no permission
  65  a name or value is refused             78  the configuration is wrong
  66  a file is not there

Commands on clients, resource servers, scopes, enrolments and keys go to the running gateway through its control socket; if none runs they work
on its registry directly.";

impl Exit {
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
            AdminErrorCode::RegistryLocked => Self::Temporary,
            AdminErrorCode::Registry => Self::Io,
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

    const ALL: [Exit; 15] = [
        Exit::Ok,
        Exit::Warnings,
        Exit::Errors,
        Exit::NotRunning,
        Exit::Refused,
        Exit::Usage,
        Exit::Data,
        Exit::NoInput,
        Exit::Unavailable,
        Exit::Software,
        Exit::CannotCreate,
        Exit::Io,
        Exit::Temporary,
        Exit::Permission,
        Exit::Config,
    ];

    #[test]
    fn codes_are_those_of_sysexits() {
        assert_eq!(ALL.map(Exit::code), [0, 1, 2, 3, 4, 64, 65, 66, 69, 70, 73, 74, 75, 77, 78]);
    }

    #[test]
    fn help_tells_every_code() {
        for exit in ALL {
            assert!(HELP.split_whitespace().any(|word| word == exit.code().to_string()), "{exit:?}");
        }
    }
}
