//! Metrics and health by HTTP/1.1, for whoever watches the gateway. It answers GET and HEAD, one request a connection, and takes no content.
//!
//! No library but httparse for the syntax: hyper and what it needs would be many times this module, for requests that all look alike.

mod exposition;
mod head;
mod health;
mod pages;
mod response;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::admin::{self, SocketFile};
use crate::config::HttpAddress;
use head::{Fault, Head};
use response::Response;

pub use health::Issue;
pub use pages::Pages;

/// Connections at once on all addresses together; more wait in the kernel's queues.
const MAX_CONNECTIONS: usize = 16;
/// A peer has this long to send its request, and again to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a peer sent that nobody reads is thrown away for so long, so that the kernel does not throw the answer away instead.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes that are thrown away at most.
const MAX_LINGER: usize = 65_536;
/// The pause after a failed accept: without file descriptors the next one fails too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listening sockets.
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Vec<(UnixListener, SocketFile)>,
}

/// Whom a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Programs of this host by TCP. A browser may be one of them, sent here by a page from elsewhere.
    ThisHost,
    /// Whoever reaches it: another host, or whom the mode of a unix socket lets in.
    Everybody,
}

impl Listeners {
    /// Listens on all of them; port 0 takes a free one. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// If one cannot be listened on; the error names it.
    pub async fn bind(addresses: &[HttpAddress]) -> io::Result<Self> {
        let mut listeners = Self { tcp: Vec::new(), unix: Vec::new() };
        for address in addresses {
            let bound = match address {
                HttpAddress::Tcp(address) => TcpListener::bind(address).await.map(|listener| listeners.tcp.push(listener)),
                HttpAddress::Unix(path) => bind_unix(path).map(|bound| listeners.unix.push(bound)),
            };
            bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        }
        Ok(listeners)
    }

    /// Where they listen, with the ports in use.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let tcp = self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).map(|address| HttpAddress::Tcp(address).to_string());
        tcp.chain(self.unix.iter().map(|(_, file)| HttpAddress::Unix(file.path().into()).to_string())).collect()
    }

    /// Serves `pages` until `shutdown` becomes true or its sender is gone.
    pub async fn serve(self, pages: Arc<Pages>, mut shutdown: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        // Dropping the set ends every listener and connection.
        let mut tasks = JoinSet::new();
        let mut files = Vec::new();
        for listener in self.tcp {
            let is_local = listener.local_addr().is_ok_and(|address: SocketAddr| !HttpAddress::Tcp(address).is_remote());
            let audience = if is_local { Audience::ThisHost } else { Audience::Everybody };
            tasks.spawn(accept(listener, places.clone(), pages.clone(), audience));
        }
        for (listener, file) in self.unix {
            files.push(file);
            tasks.spawn(accept(listener, places.clone(), pages.clone(), Audience::Everybody));
        }
        // An error says that the daemon is gone altogether.
        let _ = shutdown.wait_for(|stop| *stop).await;
    }
}

fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let (listener, file) = SocketFile::bind(path, admin::Audience::OwnGroup)?;
    Ok((UnixListener::from_std(listener)?, file))
}

/// A listening socket of either kind.
trait Listen {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Takes connections for ever, each when there is a place for it.
async fn accept(listener: impl Listen, places: Arc<Semaphore>, pages: Arc<Pages>, audience: Audience) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.next().await {
            Ok(stream) => {
                connections.spawn(serve(stream, pages.clone(), audience, PATIENCE, Some(place)));
            }
            Err(error) => {
                warn!(%error, "a connection to the HTTP listener could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves the one request of a connection.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    pages: Arc<Pages>,
    audience: Audience,
    patience: Duration,
    _place: Option<OwnedSemaphorePermit>,
) {
    let head = timeout(patience, head::read(&mut stream)).await.unwrap_or(Err(Fault::Slow));
    let (response, with_content) = match head {
        Ok(None) => return,
        Ok(Some(head)) if audience == Audience::ThisHost && !head.names_this_host() => (Response::misdirected(), true),
        Ok(Some(head)) => (answer(&head, &pages).await, !head.is_head()),
        Err(fault) => (Response::from(fault), true),
    };
    debug!(status = response.code(), "HTTP request answered");
    let bytes = response.to_bytes(with_content);
    let sent = timeout(patience, async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    });
    if matches!(sent.await, Ok(Ok(()))) {
        let _ = timeout(LINGER, discard(&mut stream)).await;
    }
}

async fn answer(head: &Head, pages: &Pages) -> Response {
    if !head.is_get() && !head.is_head() {
        return Response::method_not_allowed();
    }
    pages.get(head.path()).await
}

async fn discard(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = [0; 1_024];
    let mut thrown_away = 0_usize;
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        thrown_away = thrown_away.saturating_add(length);
        if thrown_away >= MAX_LINGER {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
