//! The embedded broker: mqtt5's router and client handlers behind our own TLS listener, with our own access rules.
//!
//! mqtt5's own server is not used: it makes TLS handshakes inside its accept loop, where one silent connection delays everybody.

mod access;
mod listener;
mod requests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mqtt5::broker::resource_monitor::{ResourceLimits, ResourceMonitor};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::{DynamicStorage, MemoryBackend, QueueLimits, StorageBackend};
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::{BrokerConfig, StorageBackendType, StorageConfig};
use mqtt5::packet::publish::PublishPacket;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use super::gateway::{Announcement, Gateway, Status};
use access::Access;
use listener::{Listener, Service};
use requests::Requests;

/// Messages on their way to one connection, for each QoS; more wait in its queue.
const CHANNEL_CAPACITY: usize = 64;
/// Bytes of a queued answer, at most, with room to spare: the queue's limit in messages is the one that is met.
const QUEUED_MESSAGE_BYTES: usize = 8_192;
/// Subscriptions of one session: the answers, the announcements, and room for more.
const MAX_SUBSCRIPTIONS: usize = 16;
/// Retained messages: only the gateway has any, and a list for each resource server, however many there are; 0 is no limit.
const MAX_RETAINED: usize = 0;
/// QoS 1 and 2 publishes that a client may have unanswered.
const RECEIVE_MAXIMUM: u16 = 64;
/// Topic aliases of one connection: a device has one or two request topics.
const TOPIC_ALIASES: u16 = 8;
/// How often ended sessions are removed.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// What an operator sets.
#[derive(Clone)]
pub struct EmbeddedBrokerOptions {
    /// Addresses of the TLS listeners; `[::]` serves IPv4 too. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Certificate and key.
    pub tls: Arc<rustls::ServerConfig>,
    /// Connections at once, those in their TLS handshake included.
    pub max_connections: usize,
    /// Connections at once from one address.
    pub max_connections_per_address: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// Bytes of the largest MQTT packet.
    pub max_packet_size: usize,
    /// How long the session of a client that went away is kept.
    pub session_expiry: Duration,
    /// Messages that wait for one session, at most.
    pub max_queued_messages: usize,
}

/// A running broker. Dropping it ends it at once; [`EmbeddedBroker::stop`] says goodbye first.
pub struct EmbeddedBroker {
    gateway: Arc<Gateway>,
    router: Arc<MessageRouter>,
    local_addrs: Vec<SocketAddr>,
    announce: Arc<Notify>,
    announce_lists: Arc<Notify>,
    stopping: watch::Sender<bool>,
    tls: watch::Sender<TlsAcceptor>,
    admissions: Arc<listener::Admissions>,
    listeners: JoinSet<()>,
    accepting: Vec<AbortHandle>,
    background: JoinSet<()>,
}

impl EmbeddedBroker {
    /// Publishes the announcements, then listens. Needs a tokio runtime with time and network.
    ///
    /// # Errors
    /// If an address cannot be listened on; the error names it.
    pub async fn start(options: EmbeddedBrokerOptions, gateway: Arc<Gateway>) -> io::Result<Self> {
        let sockets = options.listen.iter().map(|address| listener::bind(*address, &options.listen)).collect::<io::Result<Vec<_>>>()?;
        let local_addrs = sockets.iter().map(tokio::net::TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;

        let storage = Arc::new(DynamicStorage::Memory(MemoryBackend::with_queue_limits(QueueLimits {
            max_messages: options.max_queued_messages,
            max_bytes: options.max_queued_messages.saturating_mul(QUEUED_MESSAGE_BYTES).max(options.max_packet_size.saturating_mul(2)),
        })));
        let router = Arc::new(MessageRouter::with_storage(storage.clone()).with_retained_limits(MAX_RETAINED, 0));
        let requests = Requests::new(gateway.clone(), router.clone(), options.max_queued_messages);
        let monitor = Arc::new(ResourceMonitor::new(no_throttle()));
        let (stopping, _) = watch::channel(false);
        let (tls, acceptor) = watch::channel(TlsAcceptor::from(options.tls.clone()));
        let admissions = listener::Admissions::new(options.max_connections, options.max_connections_per_address);
        let service = Arc::new(Service {
            config: Arc::new(broker_config(&options, requests)),
            router: router.clone(),
            access: Arc::new(Access::new(gateway.clone())),
            storage: storage.clone(),
            stats: Arc::new(BrokerStats::new()),
            monitor: monitor.clone(),
            acceptor,
            handshake_timeout: options.handshake_timeout,
            admissions: admissions.clone(),
            stopping: stopping.subscribe(),
            gateway: gateway.clone(),
        });

        publish_all(&router, gateway.announcements(options.max_packet_size)).await;
        let (announce, announce_lists) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut background = JoinSet::new();
        let demand = (announce.clone(), announce_lists.clone());
        background.spawn(announce_on_demand(demand, options.max_packet_size, gateway.clone(), router.clone()));
        background.spawn(keep_house(storage, router.clone(), monitor));
        let mut listeners = JoinSet::new();
        let accepting = sockets.into_iter().map(|socket| listeners.spawn(Listener::new(socket, service.clone()).run())).collect();
        Ok(Self { gateway, router, local_addrs, announce, announce_lists, stopping, tls, admissions, listeners, accepting, background })
    }

    /// The addresses it listens on, in the order of the options, with the ports in use.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Whether every listener takes connections.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        !self.accepting.iter().any(AbortHandle::is_finished)
    }

    /// From now on new connections are shown another certificate. Those that there are stay.
    pub fn show(&self, tls: Arc<rustls::ServerConfig>) {
        self.tls.send_replace(TlsAcceptor::from(tls));
    }

    /// Connections now, those in their TLS handshake included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.admissions.taken()
    }

    /// Publishes the announcements again, soon: after a change of keys. May be called from any thread.
    pub fn announce(&self) {
        self.announce.notify_one();
    }

    /// Publishes the revocation lists that have changed, likewise.
    pub fn announce_lists(&self) {
        self.announce_lists.notify_one();
    }

    /// Tells subscribers that the gateway goes offline, then ends every connection. Takes seconds at most, whatever clients do.
    pub async fn stop(mut self) {
        self.background.shutdown().await;
        publish_all(&self.router, vec![self.gateway.status(Status::Offline)]).await;
        self.stopping.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
    }
}

/// mqtt5's own limits: none. Its message rate and bandwidth limits answer `quota exceeded` to honest bursts, and its connection limits are
/// for its own accept loop; the listener's limits stand in their place.
fn no_throttle() -> ResourceLimits {
    ResourceLimits {
        max_connections: usize::MAX,
        max_connections_per_ip: usize::MAX,
        max_message_rate_per_client: 0,
        max_bandwidth_per_client: 0,
        max_connection_rate: u32::MAX,
        rate_limit_window: Duration::from_secs(1),
    }
}

fn broker_config(options: &EmbeddedBrokerOptions, requests: Requests) -> BrokerConfig {
    BrokerConfig {
        bind_addresses: Vec::new(),
        max_clients: options.max_connections,
        session_expiry_interval: options.session_expiry,
        max_packet_size: options.max_packet_size,
        topic_alias_maximum: TOPIC_ALIASES,
        shared_subscription_available: false,
        max_subscriptions_per_client: MAX_SUBSCRIPTIONS,
        max_retained_messages: MAX_RETAINED,
        client_channel_capacity: CHANNEL_CAPACITY,
        // A battery device pings as seldom as it likes; TCP keepalive finds the dead ones.
        server_keep_alive: None,
        server_receive_maximum: Some(RECEIVE_MAXIMUM),
        storage_config: StorageConfig { backend: StorageBackendType::Memory, ..StorageConfig::default() },
        sys_topics_enabled: false,
        event_handler: Some(Arc::new(requests)),
        ..BrokerConfig::default()
    }
}

/// Routes without ever waiting: past the deadline a slow subscriber's message goes to its bounded queue.
async fn publish(router: &MessageRouter, packet: &PublishPacket) {
    // No publisher is named: a device that subscribed with No Local still gets its answers, which it did not publish.
    router.route_message_with_deadline(packet, None, Instant::now()).await;
}

async fn publish_all(router: &MessageRouter, announcements: Vec<Announcement>) {
    for announcement in announcements {
        let packet = PublishPacket::new(announcement.topic, announcement.payload, mqtt5::QoS::AtLeastOnce)
            .with_retain(true)
            .with_content_type(announcement.content_type.to_owned());
        let packet = if announcement.is_utf8 { packet.with_payload_format_indicator(true) } else { packet };
        publish(router, &packet).await;
    }
}

/// One task for both demands: a list must not be published after a later one.
async fn announce_on_demand(demand: (Arc<Notify>, Arc<Notify>), max_packet: usize, gateway: Arc<Gateway>, router: Arc<MessageRouter>) {
    let (all, lists) = demand;
    loop {
        let announcements = tokio::select! {
            () = all.notified() => gateway.changed_announcements(max_packet),
            () = lists.notified() => gateway.changed_lists(max_packet),
        };
        publish_all(&router, announcements).await;
    }
}

/// What mqtt5's own server does in the background.
async fn keep_house(storage: Arc<DynamicStorage>, router: Arc<MessageRouter>, monitor: Arc<ResourceMonitor>) {
    let mut interval = tokio::time::interval(HOUSEKEEPING);
    loop {
        interval.tick().await;
        if let Err(error) = storage.cleanup_expired().await {
            warn!(%error, "expired sessions could not be removed");
        }
        router.sweep_sessions().await;
        monitor.cleanup_expired_windows().await;
    }
}
