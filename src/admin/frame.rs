//! Frames: four bytes of length, big-endian, and that many bytes of JSON.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::{AdminError, Answer, Command};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// Bytes of JSON in a frame, at most.
pub const MAX_FRAME: usize = 1 << 20;

/// Room for a usual document, the one with a secret included: a buffer that grew would leave copies behind.
const USUAL_FRAME: usize = 16_384;

/// A frame that cannot be moved or understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_FRAME`].
    #[error("a frame of {length} bytes is over the limit of {MAX_FRAME}")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// The peer went away within a frame.
    #[error("the connection ended within a frame")]
    Truncated,
    /// Not JSON, or not of the expected form.
    #[error("a frame is not understood")]
    Syntax(#[source] serde_json::Error),
    /// Of another version of the protocol.
    #[error("a frame is of version {theirs} of the control protocol, this program speaks version {VERSION}")]
    Version {
        /// The peer's version.
        theirs: u32,
    },
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] std::io::Error),
}

impl FrameError {
    /// For programs and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "frame_too_large",
            Self::Truncated => "frame_truncated",
            Self::Syntax(_) => "frame_syntax",
            Self::Version { .. } => "version_mismatch",
            Self::Io(_) => "io",
        }
    }
}

#[derive(Serialize)]
struct RequestOut<'a> {
    v: u32,
    command: &'a Command,
}

#[derive(Deserialize)]
struct RequestIn {
    command: Command,
}

#[derive(Serialize)]
struct ReplyOut<'a> {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a AdminError>,
}

/// Two optional members: `flatten` on an enum would copy the secret about.
#[derive(Deserialize)]
struct ReplyIn {
    answer: Option<Answer>,
    error: Option<AdminError>,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

/// The frame of a command.
pub(super) fn encode_command(command: &Command) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    encode(&RequestOut { v: VERSION, command })
}

/// The frame of what came of a command.
pub(super) fn encode_outcome(outcome: &Result<Answer, AdminError>) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    encode(&ReplyOut { v: VERSION, answer: outcome.as_ref().ok(), error: outcome.as_ref().err() })
}

/// The command of a frame's JSON.
pub(super) fn decode_command(json: &[u8]) -> Result<Command, FrameError> {
    decode::<RequestIn>(json).map(|request| request.command)
}

/// What came of a command, of a frame's JSON.
pub(super) fn decode_outcome(json: &[u8]) -> Result<Result<Answer, AdminError>, FrameError> {
    let reply: ReplyIn = decode(json)?;
    match (reply.answer, reply.error) {
        (Some(answer), None) => Ok(Ok(answer)),
        (None, Some(error)) => Ok(Err(error)),
        _ => Err(FrameError::Syntax(serde::de::Error::custom("expected one of the members answer and error"))),
    }
}

/// The version is looked at first: the rest of another version's frame may mean anything.
fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
    let VersionOnly { v } = serde_json::from_slice(json).map_err(FrameError::Syntax)?;
    if v != VERSION {
        return Err(FrameError::Version { theirs: v });
    }
    serde_json::from_slice(json).map_err(FrameError::Syntax)
}

fn encode(document: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let mut json = Zeroizing::new(Vec::with_capacity(USUAL_FRAME));
    serde_json::to_writer(&mut *json, document).map_err(FrameError::Syntax)?;
    if json.len() > MAX_FRAME {
        return Err(FrameError::TooLarge { length: json.len() });
    }
    Ok(json)
}

/// Reads one frame's JSON; `None` if the peer closed before it began one.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Zeroizing<Vec<u8>>>, FrameError> {
    let mut head = [0; 4];
    let (first, rest) = head.split_at_mut(1);
    if stream.read(first).await.map_err(FrameError::Io)? == 0 {
        return Ok(None);
    }
    stream.read_exact(rest).await.map_err(ended)?;
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(FrameError::TooLarge { length });
    }
    let mut json = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut json).await.map_err(ended)?;
    Ok(Some(json))
}

/// Writes one frame.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), json: &[u8]) -> Result<(), FrameError> {
    let length = u32::try_from(json.len()).map_err(|_| FrameError::TooLarge { length: json.len() })?;
    stream.write_all(&length.to_be_bytes()).await.map_err(FrameError::Io)?;
    stream.write_all(json).await.map_err(FrameError::Io)?;
    stream.flush().await.map_err(FrameError::Io)
}

fn ended(error: std::io::Error) -> FrameError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => FrameError::Truncated,
        _ => FrameError::Io(error),
    }
}

/// Reads hostile bytes as a frame, a command and an outcome, and asserts that a command is written and read as the same.
pub(crate) fn reread(bytes: &[u8]) {
    use std::task::{Context, Poll, Waker};
    let mut stream = bytes;
    // All there is can be read at once.
    let Poll::Ready(frame) = std::pin::pin!(read(&mut stream)).poll(&mut Context::from_waker(Waker::noop())) else { return };
    let Ok(Some(json)) = frame else { return };
    if let Ok(command) = decode_command(&json) {
        // What was longer than a frame when written anew had escapes that are not needed.
        let again = encode_command(&command).map(|json| decode_command(&json));
        assert!(again.is_ok_and(|again| again.is_ok_and(|again| again == command)));
    }
    let _ = decode_outcome(&json);
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_bytes(bytes: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, FrameError> {
        read(&mut &*bytes).await
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut wire = Vec::new();
        write(&mut wire, &encode_command(&Command::Status).unwrap()).await.unwrap();
        assert_eq!(wire, b"\0\0\0\x1a{\"v\":1,\"command\":\"status\"}"[..].to_vec());
        let json = read_bytes(&wire).await.unwrap().unwrap();
        assert_eq!(decode_command(&json).unwrap(), Command::Status);
    }

    #[tokio::test]
    async fn deny_a_frame_that_ends_early() {
        let whole = b"\0\0\0\x04null";
        for end in 1..whole.len() {
            assert!(matches!(read_bytes(&whole[..end]).await, Err(FrameError::Truncated)), "{end}");
        }
        assert!(read_bytes(b"").await.unwrap().is_none());
        assert_eq!(**read_bytes(whole).await.unwrap().unwrap(), *b"null");
    }

    #[tokio::test]
    async fn deny_an_oversized_frame_before_it_is_read() {
        let over = u32::try_from(MAX_FRAME).unwrap().saturating_add(1).to_be_bytes();
        assert!(matches!(read_bytes(&over).await, Err(FrameError::TooLarge { length }) if length > MAX_FRAME));
        assert!(matches!(read_bytes(b"GET / HTTP/1.1").await, Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn deny_an_oversized_answer() {
        let error = AdminError::new(crate::admin::AdminErrorCode::Internal, "x".repeat(MAX_FRAME));
        assert!(matches!(encode_outcome(&Err(error)), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn deny_another_version_whatever_else_it_says() {
        let frame = br#"{"v":2,"command":{"anything":[]},"extra":true}"#;
        assert!(matches!(decode_command(frame), Err(FrameError::Version { theirs: 2 })));
        assert!(matches!(decode_outcome(br#"{"v":9}"#), Err(FrameError::Version { theirs: 9 })));
    }

    #[test]
    fn deny_garbage() {
        for json in
            [&b""[..], b"\xff\xfe", b"[]", b"{}", br#"{"v":"1"}"#, br#"{"v":1}"#, br#"{"v":1,"command":{}}"#, br#"{"v":1,"command":7}"#]
        {
            assert!(matches!(decode_command(json), Err(FrameError::Syntax(_))), "{}", String::from_utf8_lossy(json));
        }
        for json in [&b"{}"[..], br#"{"v":1}"#, br#"{"v":1,"answer":{"keys":[]},"error":{"code":"registry","message":"","advice":null}}"#] {
            assert!(matches!(decode_outcome(json), Err(FrameError::Syntax(_))), "{}", String::from_utf8_lossy(json));
        }
    }

    #[test]
    fn an_outcome_survives_the_way() {
        let error = AdminError::new(crate::admin::AdminErrorCode::NotFound, "no").with_advice("look");
        let json = encode_outcome(&Err(error.clone())).unwrap();
        assert_eq!(decode_outcome(&json).unwrap().unwrap_err(), error);
        let json = encode_outcome(&Ok(Answer::Keys(Vec::new()))).unwrap();
        assert!(matches!(decode_outcome(&json).unwrap(), Ok(Answer::Keys(keys)) if keys.is_empty()));
    }
}
