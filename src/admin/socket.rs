//! The daemon's end of the control socket.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::frame::{self, FrameError};
use super::{AdminError, AdminErrorCode, Administrator, Answer, ApplySession, Audience, Caller, SocketFile, VERSION, advise_stranger};

/// Connections at once; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 16;
/// A peer has this long to send its command, and to take the answer.
const PEER_TIMEOUT: Duration = Duration::from_secs(5);
/// A change of many records waits so long for its next part: somebody may be looking at what would be different.
const SESSION_PATIENCE: Duration = Duration::from_secs(900);
/// Commands under way have this long to end at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// The wait after a failed accept, which usually means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listening control socket. Its file goes away with it.
pub struct ControlSocket {
    listener: UnixListener,
    file: SocketFile,
    group: Option<u32>,
}

impl ControlSocket {
    /// Listens at `path`: for root, the daemon's own user, and members of that group.
    ///
    /// # Errors
    /// As [`SocketFile::bind`]. Every message names the path.
    pub fn bind(path: &Path, group: Option<u32>) -> io::Result<Self> {
        let (listener, file) = SocketFile::bind(path, group.map_or(Audience::Owner, Audience::Group))
            .map_err(|error| io::Error::new(error.kind(), format!("control socket {}: {error}", path.display())))?;
        Ok(Self { listener, file, group })
    }

    /// Serves commands until `shutdown` becomes true or its sender is gone.
    pub async fn serve(self, administrator: Arc<Administrator>, mut shutdown: watch::Receiver<bool>) {
        let Self { listener, file, group } = self;
        let listener = match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, path = %file.path().display(), "the control socket cannot be served");
                return;
            }
        };
        let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (mut connections, shutdown_of_connections) = (JoinSet::new(), shutdown.clone());
        let accept = async {
            loop {
                while connections.try_join_next().is_some() {}
                let Ok(permit) = limit.clone().acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (administrator, ending) = (administrator.clone(), shutdown_of_connections.clone());
                        let peer = stream.peer_cred().map(|peer| {
                            let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
                            let has_group = group.is_some_and(|group| peer.gid() == group || file.is_closed_to_all_but(group));
                            Peer { caller: Caller { uid: peer.uid(), pid }, has_group }
                        });
                        connections.spawn(async move {
                            serve_connection(stream, peer, group, administrator, PEER_TIMEOUT, ending).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection to the control socket could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accept => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
        drop(listener);
        drop(file);
        let _ = timeout(SHUTDOWN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
struct Peer {
    caller: Caller,
    /// Whether it has the group whose members may administer the gateway. Its effective group is told with its user; the groups beside that are
    /// told by nobody without a race, but the system lets nobody without the group connect as long as the file is as it was made.
    has_group: bool,
}

/// Serves the one exchange of a connection, or those of a change of many records.
async fn serve_connection(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: io::Result<Peer>,
    group: Option<u32>,
    administrator: Arc<Administrator>,
    patience: Duration,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut session = None;
    loop {
        let outcome = match &peer {
            Ok(peer) if is_permitted(*peer, Caller::this_process()) => {
                let received = if session.is_none() {
                    timeout(patience, frame::read(&mut stream)).await
                } else {
                    // Nothing is lost by the end of one that waits.
                    tokio::select! {
                        received = timeout(SESSION_PATIENCE, frame::read(&mut stream)) => received,
                        _ = shutdown.wait_for(|stop| *stop) => return,
                    }
                };
                match received {
                    Ok(Ok(None)) => return,
                    Ok(Ok(Some(json))) => {
                        let (outcome, kept) = execute(&json, peer.caller, administrator.clone(), session).await;
                        session = kept;
                        outcome
                    }
                    Ok(Err(error)) => Err(not_understood(&error)),
                    Err(_) => Err(AdminError::new(AdminErrorCode::InvalidRequest, "the command did not arrive in time")),
                }
            }
            Ok(Peer { caller, .. }) => {
                tracing::warn!(uid = caller.uid, outcome = AdminErrorCode::NotPermitted.as_str(), "operator's command");
                administrator.not_permitted(*caller);
                Err(not_permitted(*caller, group))
            }
            Err(error) => Err(AdminError::new(AdminErrorCode::NotPermitted, format!("the user of the connection cannot be told: {error}"))),
        };
        let json = frame::encode_outcome(&outcome).or_else(|error| {
            frame::encode_outcome(&Err(AdminError::new(AdminErrorCode::Internal, format!("the answer cannot be sent: {error}"))))
        });
        // A peer that left has its command executed all the same; there is nobody to tell.
        let Ok(json) = json else { return };
        let is_told = matches!(timeout(patience, frame::write(&mut stream, &json)).await, Ok(Ok(())));
        if outcome.is_err() || session.is_none() || !is_told {
            return;
        }
    }
}

/// Executes a command, and gives back the change of many records that it began or is a part of.
async fn execute(
    json: &[u8],
    caller: Caller,
    administrator: Arc<Administrator>,
    mut session: Option<ApplySession>,
) -> (Result<Answer, AdminError>, Option<ApplySession>) {
    let command = match frame::decode_command(json) {
        Ok(command) => command,
        Err(error) => return (Err(not_understood(&error)), None),
    };
    let size = json.len();
    let executed = tokio::task::spawn_blocking(move || {
        let outcome = administrator.execute_within(&mut session, caller, command, size);
        (outcome, session)
    });
    executed
        .await
        .unwrap_or_else(|_| (Err(AdminError::new(AdminErrorCode::Internal, "the command failed in an unforeseen way; see the log")), None))
}

/// Root, the daemon's own user and members of the group administer it.
fn is_permitted(peer: Peer, own: Caller) -> bool {
    peer.caller.uid == 0 || peer.caller.uid == own.uid || peer.has_group
}

fn not_permitted(caller: Caller, group: Option<u32>) -> AdminError {
    let name = caller.user_name();
    let told = name.as_ref().map_or_else(|| format!("the user with id {}", caller.uid), |name| format!("the user {name}"));
    AdminError::new(AdminErrorCode::NotPermitted, format!("{told} may not administer this gateway"))
        .with_advice(advise_stranger(name.as_deref(), group))
}

fn not_understood(error: &FrameError) -> AdminError {
    match error {
        FrameError::Version { theirs } => AdminError::new(
            AdminErrorCode::VersionMismatch,
            format!("this gateway speaks version {VERSION} of the control protocol, the command is of version {theirs}"),
        )
        .with_advice("use the credgate program that the gateway itself was started from; restart the gateway after an upgrade"),
        FrameError::Syntax(cause) => AdminError::new(AdminErrorCode::InvalidRequest, format!("the command is not understood: {cause}"))
            .with_advice("use the credgate program that the gateway itself was started from; restart the gateway after an upgrade"),
        other => AdminError::new(AdminErrorCode::InvalidRequest, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use tokio::io::AsyncWriteExt as _;

    use super::super::administrator::tests::{Bench, bench};
    use super::super::{CallError, Command, NewClient, call};
    use super::*;

    fn peer(uid: u32) -> Peer {
        Peer { caller: Caller::of_user(uid), has_group: false }
    }

    fn own_group() -> u32 {
        rustix::process::getegid().as_raw()
    }

    struct Running {
        bench: Bench,
        path: PathBuf,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    fn start() -> Running {
        let bench = bench();
        let path = bench.directory.path().join("run/control.sock");
        let (stop, shutdown) = watch::channel(false);
        let task = tokio::spawn(ControlSocket::bind(&path, Some(own_group())).unwrap().serve(bench.administrator.clone(), shutdown));
        Running { bench, path, stop, task }
    }

    async fn ask(path: &Path, command: Command) -> Result<Answer, CallError> {
        let path = path.to_path_buf();
        tokio::task::spawn_blocking(move || call(&path, &command)).await.unwrap()
    }

    /// Sends raw bytes and gives what comes back.
    async fn send(path: &Path, bytes: &[u8]) -> Result<Answer, AdminError> {
        let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let json = frame::read(&mut stream).await.unwrap().unwrap();
        frame::decode_outcome(&json).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn commands_cross_the_socket_at_the_same_time() {
        let running = start();
        assert_eq!(std::fs::metadata(&running.path).unwrap().permissions().mode() & 0o777, 0o660);
        let mut calls = JoinSet::new();
        for number in 0..40 {
            let path = running.path.clone();
            let client_id = Some(format!("dev{number}").parse().unwrap());
            calls.spawn(async move { ask(&path, Command::ClientAdd(NewClient { client_id, ..NewClient::default() })).await });
        }
        while let Some(answer) = calls.join_next().await {
            let answer = answer.unwrap().unwrap();
            assert!(matches!(answer, Answer::ClientAdded { client_secret: Some(ref secret), .. } if secret.secret().expose().len() == 43));
        }
        let Answer::Clients { clients, next: None } = ask(&running.path, Command::ClientList(Default::default())).await.unwrap() else {
            panic!("not a whole list")
        };
        assert_eq!(clients.len(), 40);
        let refused = ask(&running.path, Command::ClientShow { client_id: "nobody".parse().unwrap() }).await.unwrap_err();
        assert!(matches!(refused, CallError::Refused(AdminError { code: AdminErrorCode::NotFound, .. })), "{refused}");
    }

    #[tokio::test]
    async fn a_frame_that_is_not_understood_is_told_so() {
        let running = start();
        let over = u32::MAX.to_be_bytes();
        for (bytes, code) in [
            (&b"\0\0\0\x13{\"v\":2,\"command\":1}"[..], AdminErrorCode::VersionMismatch),
            (b"\0\0\0\x07garbage", AdminErrorCode::InvalidRequest),
            (b"\0\0\0\x07gar", AdminErrorCode::InvalidRequest),
            (b"\0", AdminErrorCode::InvalidRequest),
            (&over, AdminErrorCode::InvalidRequest),
        ] {
            assert_eq!(send(&running.path, bytes).await.unwrap_err().code, code, "{bytes:?}");
        }
        assert!(ask(&running.path, Command::Status).await.is_ok());
    }

    #[tokio::test]
    async fn a_silent_peer_is_sent_away() {
        let bench = bench();
        let (mut silent, served) = tokio::io::duplex(64 * 1_024);
        let own = Ok(peer(Caller::this_process().uid));
        tokio::spawn(serve_connection(served, own, None, bench.administrator, Duration::from_millis(20), watch::channel(false).1));
        silent.write_all(b"\0\0").await.unwrap();
        let json = frame::read(&mut silent).await.unwrap().unwrap();
        let refused = frame::decode_outcome(&json).unwrap().unwrap_err();
        assert_eq!(refused.message, "the command did not arrive in time");
    }

    #[tokio::test]
    async fn deny_another_user() {
        let bench = bench();
        let stranger = peer(Caller::this_process().uid.wrapping_add(12_345));
        let (mut peer, served) = tokio::io::duplex(64 * 1_024);
        let command = frame::encode_command(&Command::ClientAdd(NewClient::default())).unwrap();
        frame::write(&mut peer, &command).await.unwrap();
        serve_connection(served, Ok(stranger), None, bench.administrator.clone(), PEER_TIMEOUT, watch::channel(false).1).await;
        let json = frame::read(&mut peer).await.unwrap().unwrap();
        assert_eq!(frame::decode_outcome(&json).unwrap().unwrap_err().code, AdminErrorCode::NotPermitted);
        let Answer::Status(status) = bench.administrator.execute(Command::Status).unwrap() else { panic!("not a status") };
        assert_eq!(status.clients, 0);
    }

    #[test]
    fn root_the_own_user_and_members_of_the_group_are_permitted() {
        let (root, own, other) = (peer(0), peer(990), peer(1_000));
        let permitted = |peer| is_permitted(peer, own.caller);
        assert!(permitted(root) && permitted(own) && !permitted(other) && permitted(Peer { has_group: true, ..other }));
        assert!(!is_permitted(own, root.caller));
    }

    #[tokio::test]
    async fn the_file_vouches_for_the_group_while_it_is_as_it_was_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let (_listener, file) = SocketFile::bind(&path, Audience::Group(own_group())).unwrap();
        assert!(file.is_closed_to_all_but(own_group()) && !file.is_closed_to_all_but(own_group() + 1));
        mode(0o666);
        assert!(!file.is_closed_to_all_but(own_group()));
        mode(0o660);
        std::fs::rename(&path, directory.path().join("away")).unwrap();
        let (_other, _file) = SocketFile::bind(&path, Audience::Group(own_group())).unwrap();
        assert!(!file.is_closed_to_all_but(own_group()), "another file");
        let alone = directory.path().join("alone.sock");
        let (_listener, _file) = SocketFile::bind(&alone, Audience::Owner).unwrap();
        assert_eq!(std::fs::metadata(&alone).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_refused() {
        let running = start();
        let refused = ControlSocket::bind(&running.path, None).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        assert!(refused.to_string().contains("another credgate is running") && refused.to_string().contains("control.sock"));

        let stale = running.bench.directory.path().join("stale.sock");
        drop(UnixListener::bind(&stale).unwrap());
        assert!(matches!(ask(&stale, Command::Status).await, Err(CallError::NotRunning { .. })));
        let (_stop, shutdown) = watch::channel(false);
        tokio::spawn(ControlSocket::bind(&stale, None).unwrap().serve(running.bench.administrator.clone(), shutdown));
        assert!(ask(&stale, Command::Status).await.is_ok());

        let file = running.bench.directory.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert_eq!(ControlSocket::bind(&file, None).map(|_| ()).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn the_socket_goes_away_at_shutdown() {
        let running = start();
        assert!(ask(&running.path, Command::Status).await.is_ok());
        running.stop.send(true).unwrap();
        running.task.await.unwrap();
        assert!(!running.path.exists());
        assert!(matches!(ask(&running.path, Command::Status).await, Err(CallError::NotRunning { .. })));
    }

    #[tokio::test]
    async fn the_file_of_a_successor_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let first = ControlSocket::bind(&path, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = ControlSocket::bind(&path, None).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
