//! What the gateway says of itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigurationStatus, KeyDocument};
use crate::clock::{Confidence, UnixTime};
use crate::mqtt::CountersSnapshot;
use crate::registry::Restored;

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
    /// The clock, as the gateway goes by it.
    #[serde(default)]
    pub clock: Option<ClockStatus>,
    /// The registry's snapshots.
    #[serde(default)]
    pub snapshots: Option<SnapshotStatus>,
    /// What is written to the disk.
    #[serde(default)]
    pub wear: Option<WearStatus>,
    /// Pairs of a client and a source whose secrets are not looked at now, as too many proofs failed.
    #[serde(default)]
    pub lockouts: usize,
    /// The configuration, once it was read anew.
    #[serde(default)]
    pub configuration: Option<ConfigurationStatus>,
    /// How the registry took the place of another, if it did; filled in by the administrator.
    #[serde(default)]
    pub restored: Option<Restored>,
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

impl DaemonStatus {
    /// By which links devices are served, for people. One is enough; what is wrong with the other is told as well.
    ///
    /// # Errors
    /// Why they are not served.
    pub fn serving(&self) -> Result<String, String> {
        let embedded = self.embedded_broker.as_ref().map(|listener| match listener.serving {
            true => Ok(format!("the embedded broker on {}", listener.addresses.join(", "))),
            false => Err("the embedded broker takes no connections".to_owned()),
        });
        let broker = self.broker.as_ref().map(|link| match (link.state.as_str(), &link.reason) {
            ("up", _) => Ok(format!("the link to {}", link.url)),
            (state, Some(reason)) => Err(format!("the link to {} is {state}: {reason}", link.url)),
            (state, None) => Err(format!("the link to {} is {state}", link.url)),
        });
        let links: Vec<Result<String, String>> = embedded.into_iter().chain(broker).collect();
        let faults = links.iter().filter_map(|link| link.as_ref().err().map(String::as_str)).collect::<Vec<_>>().join("; ");
        let ways = links.iter().filter_map(|link| link.as_ref().ok().map(String::as_str)).collect::<Vec<_>>().join(" and ");
        match (ways.is_empty(), faults.is_empty()) {
            (false, true) => Ok(ways),
            (false, false) => Ok(format!("{ways}; {faults}")),
            (true, false) => Err(faults),
            (true, true) => Err("there is no link to any broker".into()),
        }
    }
}

/// The clock, as the gateway goes by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// The time that tokens are dated by: it never goes back.
    pub now: UnixTime,
    /// How far the host's clock is trusted.
    pub confidence: Confidence,
    /// Whether tokens are issued meanwhile.
    pub issues: bool,
    /// Seconds by which the host's clock is behind `now`, if it is not to be trusted for that.
    #[serde(default)]
    pub behind: u64,
}

/// What the gateway writes to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WearStatus {
    /// Bytes within the last day, or since the start if that is less.
    pub day: u64,
    /// Bytes from which on it warns (`check.daily-writes`); 0 for never.
    pub budget: u64,
}

impl WearStatus {
    /// Whether it is more than it should be.
    #[must_use]
    pub const fn is_beyond(&self) -> bool {
        self.budget > 0 && self.day > self.budget
    }
}

/// The snapshots of the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStatus {
    /// Where they are.
    pub directory: PathBuf,
    /// Seconds between two; 0 if none are made.
    pub interval: u64,
    /// How many there are of this registry.
    pub kept: usize,
    /// When the newest was made.
    pub newest: Option<UnixTime>,
    /// When the newest was last known to hold all but what was changed a moment ago.
    pub current_at: Option<UnixTime>,
    /// Why the last attempt failed, if it did.
    pub problem: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn link(state: &str, reason: Option<&str>) -> Option<LinkStatus> {
        Some(LinkStatus { url: "mqtts://b".into(), state: state.into(), reason: reason.map(str::to_owned), ..LinkStatus::default() })
    }

    fn listener(serving: bool) -> Option<ListenerStatus> {
        Some(ListenerStatus { serving, addresses: vec!["[::]:8883".into()], ..ListenerStatus::default() })
    }

    #[test]
    fn one_link_that_serves_is_enough() {
        let of = |broker, embedded_broker| DaemonStatus { broker, embedded_broker, ..DaemonStatus::default() }.serving().unwrap();
        assert_eq!(of(link("up", None), None), "the link to mqtts://b");
        assert_eq!(of(None, listener(true)), "the embedded broker on [::]:8883");
        assert_eq!(of(link("up", None), listener(true)), "the embedded broker on [::]:8883 and the link to mqtts://b");
        assert_eq!(
            of(link("down", Some("refused")), listener(true)),
            "the embedded broker on [::]:8883; the link to mqtts://b is down: refused"
        );
        assert_eq!(of(link("up", None), listener(false)), "the link to mqtts://b; the embedded broker takes no connections");
    }

    #[test]
    fn deny_without_a_link_that_serves() {
        let of = |broker, embedded_broker| DaemonStatus { broker, embedded_broker, ..DaemonStatus::default() }.serving().unwrap_err();
        assert_eq!(of(None, None), "there is no link to any broker");
        assert_eq!(of(link("connecting", None), None), "the link to mqtts://b is connecting");
        assert_eq!(
            of(link("down", Some("refused")), listener(false)),
            "the embedded broker takes no connections; the link to mqtts://b is down: refused"
        );
    }
}
