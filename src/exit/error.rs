//! Errors at the edge: what happened, why, what to do next, and the exit code.

use std::error::Error;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use super::Exit;
use crate::admin::{AdminError, CallError, Caller, advise_stranger};
use crate::config::ConfigError;
use crate::daemon::DaemonError;
use crate::registry::RegistryError;
use crate::tls::TlsError;

/// A command that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct CliError {
    exit: Exit,
    code: &'static str,
    what: String,
    causes: Vec<String>,
    help: Option<String>,
}

impl CliError {
    /// An error with the exit code to end with, a word for programs and what happened.
    #[must_use]
    pub fn new(exit: Exit, code: &'static str, what: impl Into<String>) -> Self {
        Self { exit, code, what: what.into(), causes: Vec::new(), help: None }
    }

    /// An error of another module with its causes. A cause that has an exit code of its own, such as a missing permission, wins over `exit`.
    #[must_use]
    pub fn caused(exit: Exit, code: &'static str, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, code, error.to_string()).because_of(error.source()).with_exit_of(error)
    }

    /// The same error because of `error`.
    #[must_use]
    pub fn because(self, error: &(dyn Error + 'static)) -> Self {
        self.because_of(Some(error)).with_exit_of(error)
    }

    /// The same error with advice.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same error with several causes, such as all that is wrong with a file.
    #[must_use]
    pub fn with_causes(mut self, causes: impl IntoIterator<Item = String>) -> Self {
        self.causes.extend(causes);
        self
    }

    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// For programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// Why it happened, the nearest cause first.
    #[must_use]
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// What to do next.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// All of it, for people.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = format!("credgate: error: {self}\n");
        for cause in &self.causes {
            text.push_str(&format!("  caused by: {cause}\n"));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("help: {help}\n"));
        }
        text
    }

    /// Adds a chain of causes; one that the error before it already tells is left out.
    fn because_of(mut self, mut cause: Option<&(dyn Error + 'static)>) -> Self {
        while let Some(error) = cause {
            let text = error.to_string();
            if !self.causes.last().unwrap_or(&self.what).contains(&text) {
                self.causes.push(text);
            }
            cause = error.source();
        }
        self
    }

    fn with_exit_of(mut self, error: &(dyn Error + 'static)) -> Self {
        self.exit = exit_of(error).unwrap_or(self.exit);
        self
    }
}

/// The exit code that belongs to an error and its causes: what the system said counts most, then which module said it.
fn exit_of(error: &(dyn Error + 'static)) -> Option<Exit> {
    let (mut cause, mut module) = (Some(error), None);
    while let Some(error) = cause {
        let shared = || error.downcast_ref::<Arc<io::Error>>().map(|error| &**error);
        if let Some(exit) = error.downcast_ref::<io::Error>().or_else(shared).and_then(|error| exit_of_kind(error.kind())) {
            return Some(exit);
        }
        module = module.or(match error.downcast_ref::<RegistryError>() {
            Some(RegistryError::Locked { .. }) => Some(Exit::Temporary),
            // Another attempt would change nothing, and the systemd unit makes none after this code.
            Some(RegistryError::NewerVersion { .. }) => Some(Exit::Config),
            Some(_) => Some(Exit::Io),
            None if error.is::<ConfigError>() || error.is::<TlsError>() => Some(Exit::Config),
            None => None,
        });
        cause = error.source();
    }
    module
}

fn exit_of_kind(kind: io::ErrorKind) -> Option<Exit> {
    match kind {
        io::ErrorKind::PermissionDenied => Some(Exit::Permission),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => Some(Exit::Unavailable),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => Some(Exit::Io),
        _ => None,
    }
}

impl From<AdminError> for CliError {
    fn from(error: AdminError) -> Self {
        Self { help: error.advice.clone(), ..Self::new(error.code.into(), error.code(), error.message) }
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        let told = Self::new((&error).into(), error.code(), error.to_string()).because_of(error.source());
        match error {
            CallError::NotPermitted { path, .. } => {
                told.with_help(advise_stranger(Caller::this_process().user_name().as_deref(), group_that_may_use(&path)))
            }
            CallError::NoAnswer { .. } | CallError::TimedOut { .. } => {
                told.with_help("see the gateway's log (journalctl -u credgate); whether the command was executed is not known")
            }
            CallError::Refused(error) => error.into(),
            CallError::NotRunning { .. } | CallError::Local(_) => told,
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let exit = match &error {
            ConfigError::Read { error, .. } if error.kind() == io::ErrorKind::NotFound => Exit::NoInput,
            ConfigError::Read { error, .. } => exit_of_kind(error.kind()).unwrap_or(Exit::Config),
            _ => Exit::Config,
        };
        Self { exit, ..Self::caused(exit, error.code(), &error) }
    }
}

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        let exit = exit_of(&error).filter(|exit| *exit != Exit::Io);
        let told = Self::from(AdminError::from(error));
        Self { exit: exit.unwrap_or(told.exit), ..told }
    }
}

impl From<TlsError> for CliError {
    fn from(error: TlsError) -> Self {
        Self::caused(Exit::Config, error.code(), &error)
    }
}

impl From<DaemonError> for CliError {
    fn from(error: DaemonError) -> Self {
        let told = Self::caused(Exit::Software, error.code(), &error);
        match error {
            DaemonError::Registry(error) => error.into(),
            DaemonError::Tls(error @ TlsError::Read { .. }) => Self::from(error).with_help(
                "make a CA and a certificate for the embedded broker with `credgate init`, or correct certificate-file and private-key-file",
            ),
            DaemonError::Tls(error) => error.into(),
            DaemonError::Listen { .. } => told.with_help("set embedded-broker.listen to addresses of this host that are free"),
            DaemonError::ControlSocket { .. } => told.with_help(
                "set control-socket to a path in a directory that the gateway's user may write to, and control-group to a group that it is a member of",
            ),
            DaemonError::ControlGroup { .. } => Self { exit: Exit::Config, ..told }
                .with_help("make it with `groupadd --system`, name another, or leave control-group empty"),
            DaemonError::Http(_) => told.with_help("set http.listen to addresses of this host that are free, or leave it empty"),
            DaemonError::Sequence(_) => told.with_help(
                "free space or correct the file's owner; if it holds no number any more, remove it: the numbers then begin with the time, beyond all before",
            ),
            DaemonError::Password(_) | DaemonError::Runtime(_) | DaemonError::Config(_) => told,
        }
    }
}

/// The group to which a control socket is open that this user may not use, or the directory that it is in.
fn group_that_may_use(socket: &Path) -> Option<u32> {
    let open_to_group = |path: &Path, bit| std::fs::metadata(path).ok().map(|found| (found.mode() & bit != 0).then(|| found.gid()));
    open_to_group(socket, 0o020).or_else(|| open_to_group(socket.parent()?, 0o010)).flatten()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_are_told_once_and_choose_the_exit_code() {
        let error = CliError::caused(Exit::Software, "x", &Outer(io::Error::new(io::ErrorKind::PermissionDenied, "inner")));
        assert_eq!((error.exit(), error.to_string().as_str(), error.causes()), (Exit::Permission, "outer", &["inner".to_owned()][..]));
        let error = CliError::new(Exit::Io, "x", "f: inner").because(&io::Error::other("inner"));
        assert!(error.causes().is_empty());
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the daemon")]
    struct Daemon<E: Error + 'static>(#[source] E);

    #[test]
    fn a_cause_chooses_the_exit_code_of_whatever_wraps_it() {
        let path = || PathBuf::from("/x");
        let exit = |error: &(dyn Error + 'static)| CliError::caused(Exit::Software, "x", error).exit();
        assert_eq!(exit(&Daemon(RegistryError::Locked { path: path() })), Exit::Temporary);
        assert_eq!(exit(&Daemon(ConfigError::Invalid { problems: Vec::new() })), Exit::Config);
        let newer = RegistryError::NewerVersion { path: path(), tree: "clients", key: "dev1".into(), version: 2, known: 1 };
        assert_eq!(exit(&Daemon(newer)), Exit::Config, "the unit makes no other attempt");
        assert_eq!(exit(&Daemon(Arc::new(io::Error::from(io::ErrorKind::AddrInUse)))), Exit::Unavailable);
        assert_eq!(exit(&Daemon(io::Error::from(io::ErrorKind::InvalidData))), Exit::Software);
    }

    #[test]
    fn errors_have_the_exit_code_of_their_kind() {
        let path = PathBuf::from("/x");
        let io = |kind| io::Error::from(kind);
        let not_running = CallError::NotRunning { path: path.clone(), source: io(io::ErrorKind::NotFound) };
        let denied = CallError::NotPermitted { path: path.clone(), source: io(io::ErrorKind::PermissionDenied) };
        assert_eq!(CliError::from(not_running).exit(), Exit::Unavailable);
        assert_eq!(CliError::from(denied).exit(), Exit::Permission);
        assert_eq!(CliError::from(RegistryError::Locked { path: path.clone() }).exit(), Exit::Temporary);
        assert_eq!(CliError::from(RegistryError::NotFound { kind: "client", id: "a".into() }).exit(), Exit::Data);
        let missing = ConfigError::Read { path, error: io(io::ErrorKind::NotFound) };
        assert_eq!(CliError::from(missing).exit(), Exit::NoInput);
    }
}
