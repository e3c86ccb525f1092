//! What can be measured of a running gateway, in one document: for `credgate top`, the metrics over HTTP, and whoever asks the control socket.

use serde::{Deserialize, Serialize};

use super::{AdminError, Administrator, Answer, DaemonStatus, KeyDocument};
use crate::clients::{ClientStore as _, Status};
use crate::clock::{Confidence, UnixTime};
use crate::mqtt::LinkMetrics;
use crate::oauth::ClientId;
use crate::policy::PolicyStore as _;

/// The most clients that one document tells the last use of.
const MAX_RECENT: usize = 100;

/// All measurements of one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// What `status` tells.
    pub status: DaemonStatus,
    /// What happened on each link.
    pub links: Vec<LinkMetrics>,
    /// Writes of the registry since the start.
    pub registry: RegistryMetrics,
    /// The memory of used assertions, if assertions are accepted.
    pub replay: Option<ReplayMetrics>,
    /// The process.
    pub process: ProcessMetrics,
    /// The clock.
    pub clock: ClockMetrics,
    /// The clients that authenticated last, the latest first; as many as were asked for.
    #[serde(default)]
    pub recent: Vec<RecentClient>,
}

/// Writes of the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryMetrics {
    /// Those that are on disk. One makes all changes durable that waited for it.
    pub writes: u64,
    /// Those that failed.
    pub failed_writes: u64,
}

/// The memory of used assertions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayMetrics {
    /// Assertions that are remembered.
    pub entries: usize,
    /// How many can be.
    pub capacity: usize,
}

/// The process, as the kernel counts. What the kernel does not tell is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessMetrics {
    /// Bytes of its memory that are in RAM.
    pub resident_bytes: Option<u64>,
    /// Its threads.
    pub threads: Option<u64>,
    /// Its open file descriptors.
    pub open_fds: Option<u64>,
    /// How many it may have open.
    pub max_fds: Option<u64>,
    /// Bytes it caused to be written to disks.
    pub written_bytes: Option<u64>,
    /// Seconds of processor time it took.
    pub cpu_seconds: Option<f64>,
}

/// The clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockMetrics {
    /// The time it shows.
    pub now: UnixTime,
    /// When the program was made: a right clock shows no time before.
    pub built_at: UnixTime,
    /// How far it is trusted; nothing from a gateway that does not tell.
    #[serde(default)]
    pub confidence: Option<Confidence>,
}

/// A client and when it last authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentClient {
    /// The client.
    pub client_id: ClientId,
    /// When.
    pub last_used: UnixTime,
    /// A name for people; may be empty.
    #[serde(default)]
    pub client_name: String,
    /// Whether it is served.
    pub status: Status,
}

impl Administrator {
    pub(super) fn status(&self) -> Result<DaemonStatus, AdminError> {
        let policy = self.registry.policy();
        Ok(DaemonStatus {
            restored: self.registry.restored().cloned(),
            clients: self.registry.client_count(),
            resource_servers: policy.resource_servers.len(),
            scopes: policy.scopes.len(),
            roles: policy.roles.len(),
            keys: self.keys.list()?.into_iter().map(KeyDocument::from).collect(),
            ..(self.status)()
        })
    }

    pub(super) fn metrics(&self, recent: usize) -> Result<Answer, AdminError> {
        let writes = self.registry.write_counts();
        let latest = self.registry.latest_clients(recent.min(MAX_RECENT));
        let recent_client = |(client_id, last_used)| {
            let client = self.registry.client(&client_id)?;
            Some(RecentClient { client_id, last_used, client_name: client.client_name.clone(), status: client.status })
        };
        Ok(Answer::Metrics(Box::new(Metrics {
            status: self.status()?,
            registry: RegistryMetrics { writes: writes.written, failed_writes: writes.failed },
            recent: latest.into_iter().filter_map(recent_client).collect(),
            ..(self.measure)()
        })))
    }
}
