//! What the daemon knows of itself: for `status` and the metrics.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::links::Links;
use super::rates::{self, History};
use super::reload::Reloader;
use super::snapshots::Keeper;
use super::timekeeping::HostClock;
use super::vitals::{Vitals, built_at};
use super::wear::Wear;
use crate::admin::{ClockMetrics, DaemonStatus, LinkStatus, ListenerStatus, Metrics, ReplayMetrics};
use crate::clock::UnixTime;
use crate::config::Config;
use crate::endpoint::Engine;
use crate::mqtt::Gateway;
use crate::mqtt::link::LinkState;

/// Where `status` and the metrics come from.
pub(super) struct Source {
    started_at: UnixTime,
    started: Instant,
    issuer: String,
    engine: Arc<Engine>,
    links: Arc<Links>,
    vitals: Vitals,
    pub(super) broker: Option<Arc<Gateway>>,
    pub(super) embedded: Option<Arc<Gateway>>,
    /// Where metrics and health are served.
    pub(super) http: Vec<String>,
    pub(super) history: Arc<History>,
    /// What is written within a day.
    pub(super) wear: Wear,
    pub(super) snapshots: Arc<Keeper>,
    clock: Arc<HostClock>,
    reloader: Arc<Reloader>,
}

impl Source {
    pub(super) fn new(
        config: &Config,
        engine: Arc<Engine>,
        links: Arc<Links>,
        vitals: Vitals,
        snapshots: Arc<Keeper>,
        clock: Arc<HostClock>,
        reloader: Arc<Reloader>,
    ) -> Self {
        Self {
            started_at: UnixTime::from(SystemTime::now()),
            started: Instant::now(),
            issuer: config.file.issuer.clone(),
            engine,
            links,
            vitals,
            broker: None,
            embedded: None,
            http: Vec::new(),
            history: Arc::default(),
            wear: Wear::default(),
            snapshots,
            clock,
            reloader,
        }
    }

    /// What is configured, in the order in which it is shown.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &Arc<Gateway>> {
        self.embedded.iter().chain(&self.broker)
    }

    pub(super) fn status(&self) -> DaemonStatus {
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running: true,
            pid: std::process::id(),
            started_at: Some(self.started_at),
            uptime: self.started.elapsed().as_secs(),
            issuer: self.issuer.clone(),
            broker: self.broker.as_ref().map(|gateway| self.broker(gateway)),
            embedded_broker: self.embedded.as_ref().map(|gateway| self.listener(gateway)),
            rates: self.history.rates(Instant::now(), rates::sum(self.gateways())),
            http: self.http.clone(),
            clock: Some(self.clock.status()),
            snapshots: Some(self.snapshots.status()),
            configuration: self.reloader.status(),
            wear: Some(self.wear.status(self.reloader.daily_writes())),
            lockouts: self.engine.lockouts(self.clock.now()),
            ..DaemonStatus::default()
        }
    }

    /// Bytes that this process has caused to be written to disks, if the kernel tells.
    pub(super) fn written_bytes(&self) -> Option<u64> {
        self.vitals.written_bytes()
    }

    fn broker(&self, gateway: &Gateway) -> LinkStatus {
        let (state, reason) = match self.links.broker_state() {
            None => ("stopped", None),
            Some(LinkState::Connecting) => ("connecting", None),
            Some(LinkState::Up) => ("up", None),
            Some(LinkState::Down { reason }) => ("down", Some(reason)),
        };
        LinkStatus {
            url: self.reloader.broker_url(),
            state: state.to_owned(),
            reason,
            since: gateway.counters().changed_at(),
            counters: gateway.counters().snapshot(),
        }
    }

    fn listener(&self, gateway: &Gateway) -> ListenerStatus {
        let (serving, open_connections) = self.links.embedded_state();
        ListenerStatus {
            addresses: self.links.embedded_addrs().iter().map(ToString::to_string).collect(),
            serving,
            open_connections,
            counters: gateway.counters().snapshot(),
        }
    }

    /// All but what the administrator knows.
    pub(super) fn metrics(&self) -> Metrics {
        let now = UnixTime::from(SystemTime::now());
        let replay = self.engine.replay_occupancy(self.clock.now());
        Metrics {
            links: self.gateways().map(|gateway| gateway.metrics()).collect(),
            replay: replay.map(|occupancy| ReplayMetrics { entries: occupancy.entries, capacity: occupancy.capacity }),
            process: self.vitals.read(),
            clock: ClockMetrics { now, built_at: built_at(), confidence: Some(self.clock.status().confidence) },
            ..Metrics::default()
        }
    }
}
