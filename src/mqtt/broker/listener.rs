//! TCP and TLS: who is let in, and that nobody waits for anybody else's handshake.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mqtt5::broker::BrokerConfig;
use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::resource_monitor::ResourceMonitor;
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::DynamicStorage;
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::tls_acceptor::TlsStreamWrapper;
use mqtt5::broker::transport::BrokerTransport;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::access::Access;
use crate::mqtt::gateway::Gateway;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1_024;
/// The pause after a failed accept: without file descriptors the next one fails too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// How often a listener complains of one kind of thing.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// TCP keepalive: a dead peer is found within four minutes, whatever keep alive its client asked for.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// What a connection needs, the same for all.
pub(super) struct Service {
    pub(super) config: Arc<BrokerConfig>,
    pub(super) router: Arc<MessageRouter>,
    pub(super) access: Arc<Access>,
    pub(super) storage: Arc<DynamicStorage>,
    pub(super) stats: Arc<BrokerStats>,
    pub(super) monitor: Arc<ResourceMonitor>,
    /// Of connections to come: its certificate may change.
    pub(super) acceptor: watch::Receiver<TlsAcceptor>,
    pub(super) handshake_timeout: Duration,
    pub(super) admissions: Arc<Admissions>,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) gateway: Arc<Gateway>,
}

/// Listens on `address`, one of `all`. `[::]` takes IPv4 too unless another address has that port, and is `0.0.0.0` on a kernel without IPv6.
pub(super) fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let shares_port = all.iter().any(|other| other.is_ipv4() && other.port() == address.port() && address.port() != 0);
    let fallback = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
    let result = match open(address, shares_port) {
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
                && address.ip().is_unspecified()
                && !shares_port =>
        {
            open(fallback, false)
        }
        result => result,
    };
    result.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

fn open(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Counts connections, those of all listeners together.
pub(super) struct Admissions {
    total: Arc<Semaphore>,
    max: usize,
    max_per_address: usize,
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A place for one connection, given back when dropped.
struct Admission {
    _place: OwnedSemaphorePermit,
    address: IpAddr,
    admissions: Arc<Admissions>,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    Total,
    Address,
}

impl Admissions {
    pub(super) fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        let max = max.min(Semaphore::MAX_PERMITS);
        Arc::new(Self { total: Arc::new(Semaphore::new(max)), max, max_per_address, per_address: Mutex::new(HashMap::new()) })
    }

    /// Connections now, those in their TLS handshake included.
    pub(super) fn taken(&self) -> usize {
        self.max.saturating_sub(self.total.available_permits())
    }

    fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admission, Full> {
        let place = self.total.clone().try_acquire_owned().map_err(|_| Full::Total)?;
        let mut counts = self.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&address).copied().unwrap_or_default();
        if count >= self.max_per_address {
            return Err(Full::Address);
        }
        counts.insert(address, count.saturating_add(1));
        Ok(Admission { _place: place, address, admissions: self.clone() })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.admissions.per_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// One accept loop and its connections, which end with it.
pub(super) struct Listener {
    socket: TcpListener,
    service: Arc<Service>,
    connections: JoinSet<()>,
    last_complaint: Option<Instant>,
}

impl Listener {
    pub(super) fn new(socket: TcpListener, service: Arc<Service>) -> Self {
        Self { socket, service, connections: JoinSet::new(), last_complaint: None }
    }

    pub(super) async fn run(mut self) {
        let mut stopping = self.service.stopping.clone();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => break,
                Some(ended) = self.connections.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "a connection's task failed");
                    }
                }
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.accept(stream, peer),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        self.complain(|| warn!(%error, "connections cannot be accepted: is the limit of open files too low?"));
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        let Self { socket, mut connections, .. } = self;
        drop(socket);
        let goodbye = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            connections.shutdown().await;
        }
    }

    /// Never waits.
    fn accept(&mut self, stream: TcpStream, peer: SocketAddr) {
        // An IPv4 client of a dual-stack socket is counted and logged as what it is.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        match self.service.admissions.admit(peer.ip()) {
            Ok(admission) => {
                self.connections.spawn(serve(stream, peer, admission, self.service.clone()));
            }
            Err(limit) => {
                self.service.gateway.counters().count_turned_away();
                let limit = match limit {
                    Full::Total => "max-connections",
                    Full::Address => "max-connections-per-address",
                };
                debug!(address = %peer, limit, "connection refused");
                self.complain(|| warn!(address = %peer, limit, "connections are refused: a limit of [embedded-broker] is reached"));
            }
        }
    }

    /// So that a flood of connections is no flood of lines.
    fn complain(&mut self, complaint: impl FnOnce()) {
        if self.last_complaint.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL) {
            self.last_complaint = Some(Instant::now());
            complaint();
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the broker is gone altogether.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Waits until a handshake with that address may begin: who says nothing takes no turn.
async fn turn(stream: &TcpStream, address: IpAddr, gateway: &Gateway) -> io::Result<()> {
    stream.readable().await?;
    while !gateway.engine().admits_handshake(address, gateway.now()) {
        // Not all at the same moment of the next second.
        let chance = u64::from(RandomState::new().hash_one(address).to_le_bytes().first().copied().unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(chance.saturating_add(50))).await;
    }
    Ok(())
}

async fn serve(stream: TcpStream, peer: SocketAddr, _admission: Admission, service: Arc<Service>) {
    let mut stopping = service.stopping.clone();
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let prepared = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = prepared {
        debug!(address = %peer, %error, "connection lost before its TLS handshake");
        return;
    }
    let acceptor = service.acceptor.borrow().clone();
    let handshake = tokio::time::timeout(service.handshake_timeout, async {
        turn(&stream, peer.ip(), &service.gateway).await?;
        acceptor.accept(stream).await
    });
    let stream = tokio::select! {
        () = stopped(&mut stopping) => return,
        handshake = handshake => match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(address = %peer, %error, "TLS handshake failed"),
            Err(_) => {
                service.gateway.counters().count_turned_away();
                return debug!(address = %peer, "TLS handshake took too long, or its turn did not come");
            }
        },
    };
    let (shutdown, shutdown_receiver) = broadcast::channel(1);
    let handler = ClientHandler::new(
        BrokerTransport::tls(TlsStreamWrapper::new(stream)),
        peer,
        service.config.clone(),
        service.router.clone(),
        service.access.clone(),
        Some(service.storage.clone()),
        service.stats.clone(),
        service.monitor.clone(),
        shutdown_receiver,
    );
    // On the heap: it is larger than the rest of the task by far, and most tasks of a flood never get here.
    let mut session = Box::pin(handler.run());
    let ended = tokio::select! {
        biased;
        ended = &mut session => ended,
        // Polled after the session, which has by then written what was routed to it before the stop: the offline status.
        () = stopped(&mut stopping) => {
            let _ = shutdown.send(());
            session.await
        }
    };
    if let Err(error) = ended {
        debug!(address = %peer, %error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let admissions = Admissions::new(3, 2);
        let (first, second): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let place = admissions.admit(first).ok().unwrap();
        let _other = admissions.admit(first).ok().unwrap();
        assert_eq!(admissions.admit(first).err(), Some(Full::Address));
        let _third = admissions.admit(second).ok().unwrap();
        assert_eq!((admissions.admit(second).err(), admissions.taken()), (Some(Full::Total), 3));
        drop(place);
        drop(admissions.admit(first).ok().unwrap());
        assert!(admissions.admit(second).is_ok());
        assert_eq!(admissions.per_address.lock().unwrap().get(&second), Some(&1));
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let taken = bind(address, &[address]).unwrap().local_addr().unwrap();
        let kept = bind(taken, &[taken]).unwrap();
        let error = bind(taken, &[taken]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        drop(kept);
    }
}
