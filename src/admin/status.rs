//! What the gateway says of itself.

use serde::{Deserialize, Serialize};

use super::KeyDocument;
use crate::clock::UnixTime;
use crate::mqtt::CountersSnapshot;

/// What the gateway does at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// The version of the program.
    pub version: String,
    /// Whether a daemon answers; false for an answer from the registry alone.
    pub running: bool,
    /// The daemon's process.
    pub pid: u32,
    /// When it started, if the clock was known by then.
    pub started_at: Option<UnixTime>,
    /// Seconds since then, whatever the clock did.
    #[serde(default)]
    pub uptime: u64,
    /// `iss` of its tokens.
    pub issuer: String,
    /// The link to the user's own broker, if one is configured.
    pub broker: Option<LinkStatus>,
    /// The embedded broker, if it runs.
    pub embedded_broker: Option<ListenerStatus>,
    /// What it does on average, once it ran for a while.
    #[serde(default)]
    pub rates: Option<Rates>,
    /// Where metrics and health are served.
    #[serde(default)]
    pub http: Vec<String>,
    /// How many clients are registered; filled in by the administrator.
    #[serde(default)]
    pub clients: usize,
    /// How many resource servers are registered; filled in by the administrator.
    #[serde(default)]
    pub resource_servers: usize,
    /// How many scopes are defined; filled in by the administrator.
    #[serde(default)]
    pub scopes: usize,
    /// How many roles are defined; filled in by the administrator.
    #[serde(default)]
    pub roles: usize,
    /// The signing keys; filled in by the administrator.
    #[serde(default)]
    pub keys: Vec<KeyDocument>,
}

/// The link to a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The broker, without credentials.
    pub url: String,
    /// `up`, `connecting`, `down` or `stopped`.
    pub state: String,
    /// Why it is down and what to do about it.
    #[serde(default)]
    pub reason: Option<String>,
    /// Since when it is in that state.
    #[serde(default)]
    pub since: Option<UnixTime>,
    /// What happened on it.
    pub counters: CountersSnapshot,
}

/// The listener of the embedded broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Where it listens.
    pub addresses: Vec<String>,
    /// Whether it takes connections there.
    #[serde(default)]
    pub serving: bool,
    /// Connections now, those in their TLS handshake included.
    #[serde(default)]
    pub open_connections: usize,
    /// What happened on it.
    pub counters: CountersSnapshot,
}

/// How often things happened, on all links together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Over how many seconds until now.
    pub seconds: u64,
    /// Requests a second.
    pub requests: f64,
    /// Refusals a second.
    pub refusals: f64,
    /// Tokens a second.
    pub tokens: f64,
}
