//! What the gateway says of itself.

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::mqtt::CountersSnapshot;

/// What the gateway does at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// The version of the program.
    pub version: String,
    /// Whether a daemon answers; false for an answer from the registry alone.
    pub running: bool,
    /// The daemon's process.
    pub pid: u32,
    /// When it started, if the clock was known by then.
    pub started_at: Option<UnixTime>,
    /// `iss` of its tokens.
    pub issuer: String,
    /// The link to the user's own broker, if one is configured.
    pub broker: Option<LinkStatus>,
    /// The embedded broker, if it runs.
    pub embedded_broker: Option<ListenerStatus>,
    /// How many clients are registered; filled in by the administrator.
    #[serde(default)]
    pub clients: usize,
    /// How many resource servers are registered; filled in by the administrator.
    #[serde(default)]
    pub resource_servers: usize,
    /// How many scopes are defined; filled in by the administrator.
    #[serde(default)]
    pub scopes: usize,
}

/// The link to a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The broker, without credentials.
    pub url: String,
    /// `up`, `connecting`, or `down` with a reason.
    pub state: String,
    /// What happened on it.
    pub counters: CountersSnapshot,
}

/// The listener of the embedded broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Where it listens.
    pub addresses: Vec<String>,
    /// What happened on it.
    pub counters: CountersSnapshot,
}
