//! The other end of a connection that carries the exchanges of one change of many records.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::call::{connect, no_answer};
use super::frame;
use super::{Answer, CallError, Command};

/// Parts are taken at once; what takes long is the plan and its end, for which a slow disk writes all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1_800);
/// A daemon that does not even take a part is stuck.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to the daemon that is kept for several exchanges. Its end is the end of what was begun on it.
pub struct Conversation {
    runtime: tokio::runtime::Runtime,
    stream: UnixStream,
    path: PathBuf,
}

impl Conversation {
    /// Connects to the daemon behind `socket`. Not for use within a tokio task, as all of this.
    ///
    /// # Errors
    /// If no daemon listens or it cannot be reached.
    pub fn open(socket: &Path) -> Result<Self, CallError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CallError::Local)?;
        let stream = runtime.block_on(connect(socket))?;
        Ok(Self { runtime, stream, path: socket.to_path_buf() })
    }

    /// Has the daemon execute a command. Blocks until the answer, or until `given_up` says so, which is asked now and then: then there is none.
    ///
    /// # Errors
    /// If the daemon does not answer, or refuses.
    pub fn ask(&mut self, command: &Command, mut given_up: impl FnMut() -> bool) -> Result<Option<Answer>, CallError> {
        const INTERVAL: Duration = Duration::from_millis(50);
        let (path, stream) = (&self.path, &mut self.stream);
        let json = frame::encode_command(command).map_err(|source| no_answer(path, source))?;
        self.runtime.block_on(async {
            let timed_out = |limit| CallError::TimedOut { path: path.clone(), limit };
            let sent = timeout(SEND_TIMEOUT, frame::write(stream, &json)).await.map_err(|_| timed_out(SEND_TIMEOUT))?;
            let mut answer = std::pin::pin!(timeout(ANSWER_TIMEOUT, frame::read(stream)));
            let received = loop {
                match timeout(INTERVAL, &mut answer).await {
                    Ok(received) => break received.map_err(|_| timed_out(ANSWER_TIMEOUT))?,
                    Err(_) if given_up() => return Ok(None),
                    Err(_) => {}
                }
            };
            // As with a single command, words count for more than a broken pipe.
            match (received, sent) {
                (Ok(Some(json)), _) => {
                    let outcome = frame::decode_outcome(&json).map_err(|source| no_answer(path, source))?;
                    Ok(Some(outcome?))
                }
                (_, Err(source)) | (Err(source), Ok(())) => Err(no_answer(path, source)),
                (Ok(None), Ok(())) => Err(no_answer(path, frame::FrameError::Truncated)),
            }
        })
    }
}
