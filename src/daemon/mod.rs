//! The daemon: start-up, signals, logging, the system clock, and what it knows of itself.

mod audit;
mod journal;
mod keys;
mod links;
pub mod log;
mod memory;
mod rates;
mod reload;
mod revocations;
mod sealer;
mod selftest;
mod sequence;
mod snapshots;
mod source;
mod supervision;
mod timekeeping;
mod usage;
mod vitals;
mod wear;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::admin::{Administrator, ControlSocket, ReloadTrigger, Serving, group_id};
use crate::audit::AuditLog;
use crate::clients::{Assertions, Channel, Limits};
use crate::clock::UnixTime;
use crate::config::{Config, ConfigError, DEFAULT_CONTROL_GROUP, PrivateFileError};
use crate::endpoint::Engine;
#[cfg(feature = "http")]
use crate::http::{Listeners, Pages};
use crate::jose::{KeyRing, KeyType};
#[cfg(feature = "embedded-broker")]
use crate::mqtt::broker::{EmbeddedBroker, EmbeddedBrokerOptions};
use crate::mqtt::link::{Link, LinkOptions};
use crate::mqtt::{ClockSource, Gateway, LinkKind};
use crate::policy::PolicyStore as _;
use crate::registry::{KeyStore, Registry, RegistryError};
use crate::tls::{self, TlsError};

use audit::Audit;
use links::Links;
use reload::Reloader;
use selftest::SelfTest;
use sequence::{Numbers, Reserved};
use snapshots::Keeper;
use source::Source;
use supervision::{Subject, Supervisor};
use timekeeping::HostClock;

pub use audit::{audit_limits, audit_signer};
pub use keys::key_options;
pub use memory::protect_memory;
pub use sealer::RingSealer;
pub use snapshots::registry_options;
pub use vitals::{Vitals, built_at};

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The registry or the keys.
    #[error("the state directory cannot be used")]
    Registry(#[from] RegistryError),
    /// The sequence numbers of tokens with `exi`.
    #[error("no sequence numbers can be reserved in exi-sequence of the state directory")]
    Sequence(#[source] std::io::Error),
    /// A certificate or key.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The embedded broker cannot listen.
    #[error("the embedded broker cannot listen on {addresses}")]
    Listen {
        /// The addresses of the configuration.
        addresses: String,
        /// Why.
        source: std::io::Error,
    },
    /// The control socket cannot be made.
    #[error("the control socket {} cannot be made", path.display())]
    ControlSocket {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The group of the control socket is unknown.
    #[error("control-group: this host has no group {name}")]
    ControlGroup {
        /// As it is configured.
        name: String,
    },
    /// Metrics and health cannot be served where they are to be.
    #[error("http.listen cannot be used")]
    Http(#[source] std::io::Error),
    /// The broker's password cannot be read.
    #[error("broker.password-file cannot be used")]
    Password(#[from] PrivateFileError),
    /// The configuration that was read anew is wrong.
    #[error("the configuration is wrong")]
    Config(#[source] Box<ConfigError>),
    /// The operating system gives no threads or signals.
    #[error("the runtime cannot start")]
    Runtime(#[source] std::io::Error),
}

impl DaemonError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Registry(error) => error.code(),
            Self::Sequence(_) => "sequence",
            Self::Tls(error) => error.code(),
            Self::Listen { .. } => "listen",
            Self::ControlSocket { .. } => "control_socket",
            Self::ControlGroup { .. } => "control_group",
            Self::Http(_) => "http_listen",
            Self::Password(_) => "password_file",
            Self::Config(error) => error.code(),
            Self::Runtime(_) => "runtime",
        }
    }
}

/// A running gateway.
pub struct Daemon {
    links: Arc<Links>,
    administrator: Arc<Administrator>,
    stopping: watch::Sender<bool>,
    control: JoinHandle<()>,
    rotation: JoinHandle<()>,
    usage: JoinHandle<()>,
    snapshots: JoinHandle<()>,
    revocations: JoinHandle<()>,
    timekeeping: JoinHandle<()>,
    rates: JoinHandle<()>,
    watch: JoinHandle<()>,
    wear: JoinHandle<()>,
    reloader: Arc<Reloader>,
    #[cfg(feature = "http")]
    http: JoinHandle<()>,
    audit: Arc<Audit>,
    audit_tasks: JoinSet<()>,
    /// How far the audit trail was forwarded, if it is.
    forwarded: Option<watch::Receiver<u64>>,
    registry: Arc<Registry>,
    source: Arc<Source>,
    selftest: SelfTest,
}

impl Daemon {
    /// Starts the gateway: registry, keys, links, control socket, metrics. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`DaemonError`]; a broker that cannot be reached is no error: its link goes on trying.
    /// `set_level` sets the level of the log.
    pub async fn start(config: Config, vitals: Vitals, set_level: log::SetLevel) -> Result<Self, DaemonError> {
        // What is wrong with a certificate is told before anything is made.
        #[cfg(feature = "embedded-broker")]
        let broker_tls = match config.file.embedded_broker.enabled {
            true => Some(tls::server_config(&config.broker_certificate(), &config.broker_private_key())?),
            false => None,
        };
        let link_options = link_options(&config)?;
        let registry = snapshots::open_registry(&config)?;
        let key_options = key_options(&config);
        if matches!(key_options.master_key, Ok(None)) {
            warn!("signing keys are not sealed on disk: there is no master key; docs/operations.md tells how to give one");
        }
        let keys = Arc::new(KeyStore::new(key_options));
        if registry.policy().needs(KeyType::P256) {
            keys.require(KeyType::P256)?;
        }
        let ring = keys.load_or_create()?;
        info!(
            clients = registry.client_count(),
            kid = ring.active().kid(),
            state_directory = %config.file.state_directory.display(),
            "registry is open"
        );
        let clock = HostClock::new(&config.file.clock, newest_record(&registry, &keys)?);
        let (asked, dated) = (clock.clone(), clock.clone());
        registry.date_cut_offs(Box::new(move || dated.now()));
        let limits = Arc::new(Limits::new(config.file.limits.rules(), clock.now()));
        let engine = Engine::new(config.settings(), registry.clone(), registry.clone(), ring)
            .with_clock(Arc::new(move || asked.standing()))
            .with_limits(limits.clone())
            .with_sealer(Box::new(RingSealer))
            .with_assertions(assertions(&config, clock.now())?)
            .with_revocations(registry.clone())
            .with_enrolments(registry.clone());
        let engine = match config.file.clock.needs_sequence() {
            true => engine.with_sequence(Arc::new(Numbers(
                Reserved::open(&config.file.state_directory, clock.now()).map_err(DaemonError::Sequence)?,
            ))),
            false => engine,
        };
        let engine = match config.file.credential.self_service {
            true => engine.with_self_service(registry.clone(), config.rotation_rule()),
            false => engine,
        };
        let engine = Arc::new(engine);
        let audit = Arc::new(Audit::begin(&config, registry.clone(), engine.clone())?);
        keys.audited_by(&(registry.clone() as Arc<dyn AuditLog>));
        let mut audit_tasks = JoinSet::new();
        let mut forwarded = None;
        let links = Arc::new(Links::default());
        let snapshots = Keeper::new(&config, registry.clone());
        let reloader = Reloader::new(config.clone(), engine.clone(), links.clone(), clock.clone(), limits, registry.clone(), set_level);
        let mut source = Source::new(&config, engine.clone(), links.clone(), vitals, snapshots.clone(), clock.clone(), reloader.clone());

        #[cfg(feature = "embedded-broker")]
        if let Some(tls) = broker_tls {
            let gateway = gateway(&engine, &registry, &clock, &config, Channel::Trusted, LinkKind::EmbeddedBroker);
            source.embedded = Some(gateway.clone());
            let broker = start_embedded(&config, tls, gateway).await?;
            let addresses: Vec<String> = broker.local_addrs().iter().map(ToString::to_string).collect();
            info!(addresses = addresses.join(" "), "embedded broker is listening");
            links.set_embedded(broker);
        }
        if let Some(options) = link_options {
            let channel = config.link_channel();
            if channel == Channel::Untrusted {
                warn!(
                    url = config.file.broker.url,
                    "broker.trusted is false: requests with a client secret through this broker are refused"
                );
            }
            let gateway = gateway(&engine, &registry, &clock, &config, channel, LinkKind::Broker);
            source.broker = Some(gateway.clone());
            let link = Link::start(options, gateway);
            if config.file.audit.forward_topic {
                let (sender, receiver) = watch::channel(0);
                forwarded = Some(receiver);
                audit_tasks.spawn(audit.clone().forward(config.topics().audit(), link.messages(), sender));
            }
            links.set_broker(link);
        }

        let socket = control_socket(&config)?;
        #[cfg(feature = "http")]
        let listeners = Listeners::bind(&config.file.http.listen).await.map_err(DaemonError::Http)?;
        #[cfg(feature = "http")]
        {
            source.http = listeners.addresses();
        }
        let rates = tokio::spawn(rates::keep(source.history.clone(), source.gateways().cloned().collect()));
        let on_change = {
            let links = links.clone();
            Box::new(move || links.announce())
        };
        let keys_changed = Arc::new(Notify::new());
        keys.serve(install(engine.clone(), links.clone(), keys_changed.clone()))?;
        let rotation = tokio::spawn(keys::rotate(keys.clone(), keys_changed));
        let revocations = revocations::publish(registry.clone(), links.clone(), clock.clone());
        let timekeeping = tokio::spawn(clock.clone().watch(registry.clone(), links.clone()));
        let usage = tokio::spawn(usage::keep(registry.clone(), config.file.registry.last_used_interval));
        let snapshots = tokio::spawn(snapshots.keep());
        let source = Arc::new(source);
        let (told, measured) = (source.clone(), source.clone());
        let serving = {
            let (engine, dated) = (engine.clone(), clock.clone());
            let clock = Arc::new(move || Some(dated.standing()));
            Serving { settings: Arc::new(move || engine.settings_in_force()), clock, links: config.links() }
        };
        let reload = {
            let reloader = reloader.clone();
            Box::new(move || reloader.reload(ReloadTrigger::Command).map_err(|failure| reload::told(&failure)))
        };
        let administrator = Administrator::new(registry.clone(), keys, Box::new(move || told.status()), on_change)
            .measuring(Box::new(move || measured.metrics()))
            .rotating_by(config.rotation_rule())
            .explaining(serving)
            .reloading(reload)
            .backing_up(config.tls_directory());
        let administrator = Arc::new(administrator);
        let (stopping, shutdown) = watch::channel(false);
        let selftest = SelfTest::new(engine, registry.clone(), clock);
        #[cfg(feature = "http")]
        let http = {
            let tested = selftest.clone();
            let issue = Arc::new(move || tested.issue());
            let pages = Pages::new(issue, administrator.clone(), config.file.control_socket.clone(), built_at());
            tokio::spawn(listeners.serve(Arc::new(pages), shutdown.clone()))
        };
        let control = tokio::spawn(socket.serve(administrator.clone(), shutdown));
        audit.started();
        audit_tasks.spawn(audit.clone().keep());
        Ok(Self {
            links,
            administrator,
            stopping,
            control,
            rotation,
            usage,
            snapshots,
            revocations,
            timekeeping,
            rates,
            watch: tokio::spawn(reloader.clone().watch()),
            wear: tokio::spawn(wear::watch(source.clone(), reloader.clone())),
            reloader,
            #[cfg(feature = "http")]
            http,
            audit,
            audit_tasks,
            forwarded,
            registry,
            source,
            selftest,
        })
    }

    /// What the service manager is told about.
    fn subject(&self) -> Subject {
        let (source, selftest) = (self.source.clone(), self.selftest.clone());
        Subject { serving: Box::new(move || source.status().serving()), works: Arc::new(move || selftest.run()) }
    }

    /// The addresses on which the embedded broker listens; empty without it.
    #[must_use]
    pub fn embedded_broker_addrs(&self) -> Vec<std::net::SocketAddr> {
        self.links.embedded_addrs()
    }

    /// The operator's commands. They block on the disk: call them off the runtime's own threads.
    #[must_use]
    pub fn administrator(&self) -> &Arc<Administrator> {
        &self.administrator
    }

    /// Reads the configuration anew, as SIGHUP asks for. What comes of it is told in the log.
    async fn reload(&self, supervisor: &Supervisor) {
        supervisor.reloading();
        let reloader = self.reloader.clone();
        let _ = tokio::task::spawn_blocking(move || reloader.reload(ReloadTrigger::Signal)).await;
        supervisor.reloaded();
    }

    /// Says `offline`, closes the links and the control socket, and closes the registry.
    pub async fn stop(mut self) {
        // Fails only if the control task has ended already.
        let _ = self.stopping.send(true);
        self.rotation.abort();
        self.usage.abort();
        self.snapshots.abort();
        self.revocations.abort();
        self.timekeeping.abort();
        self.audit.stop(self.forwarded.take()).await;
        self.audit_tasks.shutdown().await;
        self.rates.abort();
        self.watch.abort();
        self.wear.abort();
        self.links.stop().await;
        #[cfg(feature = "http")]
        {
            // It ends at once, and its sockets' files with it.
            let _ = self.http.await;
        }
        if tokio::time::timeout(Duration::from_secs(5), self.control).await.is_err() {
            warn!("an operator's command is still running; stopping all the same");
        }
        usage::keep_once(self.registry).await;
        self.audit.end().await;
        info!("stopped");
    }
}

/// Puts changed keys into use and on every JWK Set.
fn install(engine: Arc<Engine>, links: Arc<Links>, changed: Arc<Notify>) -> Box<dyn Fn(KeyRing) + Send + Sync> {
    Box::new(move |ring| {
        engine.set_keys(ring);
        links.announce();
        changed.notify_one();
    })
}

/// What judges client assertions from now on.
fn assertions(config: &Config, now: UnixTime) -> Result<Assertions, DaemonError> {
    let mut nonce_key = Zeroizing::new([0; 32]);
    getrandom::fill(nonce_key.as_mut_slice()).map_err(|error| DaemonError::Runtime(std::io::Error::other(error.to_string())))?;
    Ok(Assertions::new(config.file.issuer.clone(), now, config.file.token.replay_capacity, nonce_key))
}

/// The newest time that a record tells, all of which the host's clock has shown before.
fn newest_record(registry: &Registry, keys: &KeyStore) -> Result<UnixTime, RegistryError> {
    let used = registry.latest_clients(1).into_iter().map(|(_, time)| time);
    let keys = keys.list()?.into_iter().map(|key| key.created_at);
    let clients = registry.clients_in_no_order().into_iter().map(|client| client.updated_at);
    Ok(used.chain(keys).chain(clients).max().unwrap_or_default())
}

fn gateway(
    engine: &Arc<Engine>,
    registry: &Arc<Registry>,
    clock: &Arc<HostClock>,
    config: &Config,
    channel: Channel,
    link: LinkKind,
) -> Arc<Gateway> {
    let clock = clock.clone();
    let clock: ClockSource = Arc::new(move || clock.now());
    Arc::new(Gateway::new(engine.clone(), config.topics().clone(), channel, link, clock).audited_by(registry.clone()))
}

/// The control socket, for the group that the configuration names. A group that nobody asked for by name must not keep the gateway from starting.
fn control_socket(config: &Config) -> Result<ControlSocket, DaemonError> {
    let (path, name) = (&config.file.control_socket, &config.file.control_group);
    let failed = |source| DaemonError::ControlSocket { path: path.clone(), source };
    let is_default = name == DEFAULT_CONTROL_GROUP;
    let group = match group_id(name) {
        None if !is_default && !name.is_empty() => return Err(DaemonError::ControlGroup { name: name.clone() }),
        group => group,
    };
    match ControlSocket::bind(path, group) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied && group.is_some() && is_default => {
            let socket = ControlSocket::bind(path, None).map_err(failed)?;
            warn!(group = name, "the control socket cannot be given to the group: only root and the gateway's own user may use it");
            Ok(socket)
        }
        bound => bound.map_err(failed),
    }
}

#[cfg(feature = "embedded-broker")]
async fn start_embedded(config: &Config, tls: Arc<rustls::ServerConfig>, gateway: Arc<Gateway>) -> Result<EmbeddedBroker, DaemonError> {
    let section = &config.file.embedded_broker;
    let options = EmbeddedBrokerOptions {
        listen: section.listen.clone(),
        tls,
        max_connections: section.max_connections,
        max_connections_per_address: section.max_connections_per_address,
        handshake_timeout: Duration::from_secs(section.handshake_timeout.into()),
        max_packet_size: section.max_packet_size,
        session_expiry: Duration::from_secs(section.session_expiry.into()),
        max_queued_messages: section.max_queued_messages,
    };
    EmbeddedBroker::start(options, gateway).await.map_err(|source| {
        let addresses: Vec<String> = section.listen.iter().map(ToString::to_string).collect();
        DaemonError::Listen { addresses: addresses.join(", "), source }
    })
}

fn link_options(config: &Config) -> Result<Option<LinkOptions>, DaemonError> {
    let Some(address) = config.broker_address() else { return Ok(None) };
    let section = &config.file.broker;
    let tls = if address.tls { Some(tls::client_config(config.link_ca_file(), config.link_identity())?) } else { None };
    Ok(Some(LinkOptions {
        host: address.host.clone(),
        port: address.port,
        tls,
        client_id: section.client_id.clone(),
        username: config.link_username().map(str::to_owned),
        password: config.read_link_password()?,
        keep_alive: section.keep_alive,
        queue: section.queue,
        reconnect_min: Duration::from_secs(section.reconnect_min.into()),
        reconnect_max: Duration::from_secs(section.reconnect_max.into()),
    }))
}

/// Runs the gateway until SIGINT or SIGTERM.
///
/// # Errors
/// [`DaemonError`] if it cannot start.
pub fn run_until_signalled(config: Config, vitals: Vitals) -> Result<(), DaemonError> {
    let set_level = log::init(&config.file.log);
    runtime()?.block_on(async {
        let mut signals = Signals::new().map_err(DaemonError::Runtime)?;
        let supervisor = Arc::new(Supervisor::of_environment());
        let daemon = Daemon::start(config, vitals, set_level).await?;
        info!(version = env!("CARGO_PKG_VERSION"), "ready");
        let supervision = tokio::spawn(supervisor.clone().keep(daemon.subject()));
        // A file that may not grow is an error to whoever writes it, and no reason to end.
        let _too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map_err(DaemonError::Runtime)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(DaemonError::Runtime)?;
        let signal = loop {
            tokio::select! {
                signal = signals.recv() => break signal,
                Some(()) = hangup.recv() => daemon.reload(&supervisor).await,
            }
        };
        info!(signal, "stopping");
        supervision.abort();
        supervisor.stopping();
        daemon.stop().await;
        Ok(())
    })
}

/// The runtime of the daemon: as many threads as the work needs on a host with few cores.
///
/// # Errors
/// [`DaemonError::Runtime`].
pub fn runtime() -> Result<tokio::runtime::Runtime, DaemonError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(4))
        .max_blocking_threads(16)
        .thread_keep_alive(Duration::from_secs(2))
        .thread_name("credgate")
        .enable_all()
        .build()
        .map_err(DaemonError::Runtime)
}

/// SIGINT and SIGTERM.
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes both signals from now on.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for either; returns its name.
    pub async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
