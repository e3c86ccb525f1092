//! The other end of the control socket: one command, one answer.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::frame::{self, FrameError};
use super::{AdminError, Answer, Command};

/// A daemon that does not even take the command is stuck.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer may wait for a slow disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A command that got no answer, or a refusal.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No daemon listens there.
    #[error("no gateway listens on {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system does not let this user reach the socket.
    #[error("no permission to use the control socket {}", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The exchange failed on the way: whether the command was executed is not known.
    #[error("no answer from the gateway on {}", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: FrameError,
    },
    /// The daemon does not answer in time: whether the command was executed is not known.
    #[error("no answer from the gateway on {} within {} seconds", path.display(), limit.as_secs())]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// The time that was given.
        limit: Duration,
    },
    /// This process could not begin.
    #[error("the call could not be prepared")]
    Local(#[source] std::io::Error),
    /// The daemon refused the command.
    #[error(transparent)]
    Refused(#[from] AdminError),
}

impl CallError {
    /// For programs and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotRunning { .. } => "not_running",
            Self::NotPermitted { .. } => "not_permitted",
            Self::NoAnswer { source, .. } => source.code(),
            Self::TimedOut { .. } => "timed_out",
            Self::Local(_) => "io",
            Self::Refused(error) => error.code(),
        }
    }
}

/// Has the daemon behind `socket` execute a command. Blocks; not for use within a tokio task.
///
/// # Errors
/// If no daemon listens, if it cannot be reached or does not answer, and if it refuses.
pub fn call(socket: &Path, command: &Command) -> Result<Answer, CallError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CallError::Local)?;
    runtime.block_on(exchange(socket, command))
}

/// The same within a tokio task.
///
/// # Errors
/// As [`call`].
pub async fn exchange(socket: &Path, command: &Command) -> Result<Answer, CallError> {
    let path = || socket.to_path_buf();
    let no_answer = |source| no_answer(socket, source);
    let json = frame::encode_command(command).map_err(no_answer)?;
    let send = async {
        let mut stream = connect(socket).await?;
        let sent = frame::write(&mut stream, &json).await;
        Ok::<_, CallError>((stream, sent))
    };
    let (mut stream, sent) =
        timeout(SEND_TIMEOUT, send).await.unwrap_or_else(|_| Err(CallError::TimedOut { path: path(), limit: SEND_TIMEOUT }))?;
    // A daemon may refuse a peer before it has read everything: its words count for more than the broken pipe.
    let received = timeout(ANSWER_TIMEOUT, frame::read(&mut stream)).await;
    let received = received.map_err(|_| CallError::TimedOut { path: path(), limit: ANSWER_TIMEOUT })?;
    match (received, sent) {
        (Ok(Some(json)), _) => frame::decode_outcome(&json).map_err(no_answer)?.map_err(CallError::Refused),
        (_, Err(error)) => Err(no_answer(error)),
        (Ok(None), Ok(())) => Err(no_answer(FrameError::Truncated)),
        (Err(error), Ok(())) => Err(no_answer(error)),
    }
}

pub(super) async fn connect(socket: &Path) -> Result<UnixStream, CallError> {
    let path = || socket.to_path_buf();
    UnixStream::connect(socket).await.map_err(|source| match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => CallError::NotRunning { path: path(), source },
        ErrorKind::PermissionDenied => CallError::NotPermitted { path: path(), source },
        _ => no_answer(socket, FrameError::Io(source)),
    })
}

pub(super) fn no_answer(socket: &Path, source: FrameError) -> CallError {
    CallError::NoAnswer { path: socket.to_path_buf(), source }
}
