//! The rules that a type does not express.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::mqtt::Topics;

use super::error::{ConfigError, Origin, Problem};
use super::file::{BrokerSection, ConfigFile, EmbeddedBrokerSection};
use super::http::HttpAddress;
use super::layers::Origins;
use super::url::{self, BrokerAddress};

/// Bytes of the longest path of a unix socket: `sun_path` without its final zero.
const MAX_SOCKET_PATH: usize = 107;
/// Bytes of the largest MQTT packet there can be (MQTT 5 section 1.5.5, and its fixed header).
const MAX_MQTT_PACKET: u64 = 268_435_460;
/// Seconds no token may outlive: what is revoked must be remembered as long.
const MAX_LIFETIME: u64 = crate::token::LONGEST_LIFE as u64;
/// Seconds of the longest time between rotations: ten years.
const MAX_INTERVAL: u64 = 315_360_000;
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Collects every fault of the settings.
pub(super) struct Validator<'a> {
    file: &'a ConfigFile,
    origins: &'a Origins,
    problems: Vec<Problem>,
}

impl<'a> Validator<'a> {
    /// A validator of these settings; `problems` were found before.
    pub(super) fn new(file: &'a ConfigFile, origins: &'a Origins, problems: Vec<Problem>) -> Self {
        Self { file, origins, problems }
    }

    /// What the settings come to, if none is at fault.
    pub(super) fn finish(mut self) -> Result<(Topics, Option<BrokerAddress>), ConfigError> {
        let topics = Topics::new(&self.file.topic_prefix);
        if let Err(error) = &topics {
            self.fault("topic-prefix", format!("`topic-prefix`: {error}"));
        }
        self.general();
        self.token();
        self.keys();
        self.audit();
        let address = self.broker(&self.file.broker);
        self.embedded_broker(&self.file.embedded_broker);
        self.http();
        self.links();
        self.problems.sort();
        match topics {
            Ok(topics) if self.problems.is_empty() => Ok((topics, address)),
            _ => Err(ConfigError::Invalid { problems: self.problems }),
        }
    }

    fn general(&mut self) {
        let file = self.file;
        if let Err(must) = url::check_issuer(&file.issuer) {
            self.fault("issuer", format!("`issuer` {must}"));
        }
        if is_unset(&file.state_directory) {
            self.fault("state-directory", "`state-directory` must name a directory".into());
        }
        let socket_length = file.control_socket.as_os_str().len();
        if !(1..=MAX_SOCKET_PATH).contains(&socket_length) {
            self.fault("control-socket", format!("`control-socket` must be a path of 1 to {MAX_SOCKET_PATH} bytes, not {socket_length}"));
        }
        self.range("max-payload", file.max_payload, 256..=65_536, "bytes");
        if !LEVELS.contains(&file.log.level.as_str()) {
            self.fault("log.level", format!("`log.level` must be one of {}", LEVELS.join(", ")));
        }
        self.range("registry.cache-capacity", file.registry.cache_capacity, 1_048_576..=1_073_741_824, "bytes");
        self.range("registry.last-used-interval", file.registry.last_used_interval, 0..=MAX_LIFETIME, "seconds");
        let snapshots = &file.snapshots;
        if snapshots.interval != 0 {
            self.range("snapshots.interval", snapshots.interval, 60..=MAX_INTERVAL, "seconds, or 0 for none");
        }
        self.range("snapshots.keep", snapshots.keep, 1..=100, "snapshots");
        self.range("check.min-disk-free", file.check.min_disk_free, 0..=1 << 50, "bytes");
        self.range("check.daily-writes", file.check.daily_writes, 0..=1 << 50, "bytes");
        self.range("check.certificate-warning", file.check.certificate_warning, 0..=MAX_INTERVAL, "seconds");
        self.range("clock.holdover-limit", file.clock.holdover_limit, 0..=MAX_INTERVAL, "seconds");
        self.range("clock.short-lifetime", file.clock.short_lifetime, 1..=MAX_LIFETIME, "seconds");
        self.range("clock.retry-after", file.clock.retry_after, 1..=MAX_LIFETIME, "seconds");
        let limits = &file.limits;
        for (name, value, unit) in [
            ("limits.overall-rate", limits.overall_rate, "requests a second"),
            ("limits.overall-burst", limits.overall_burst, "requests"),
            ("limits.client-rate", limits.client_rate, "tokens a second"),
            ("limits.client-burst", limits.client_burst, "tokens"),
            ("limits.writes-per-hour", limits.writes_per_hour, "changes"),
            ("limits.lockout-after", limits.lockout_after, "failures"),
            ("limits.handshake-rate", limits.handshake_rate, "handshakes a second"),
            ("limits.handshake-rate-per-address", limits.handshake_rate_per_address, "handshakes a second"),
        ] {
            self.range(name, value, 0..=1_000_000, unit);
        }
        self.range("limits.lockout-longest", limits.lockout_longest, 1..=MAX_LIFETIME, "seconds");
        self.range("credential.overlap", file.credential.overlap, 0..=MAX_INTERVAL, "seconds");
    }

    fn token(&mut self) {
        let token = &self.file.token;
        self.range("token.lifetime", token.lifetime, 1..=MAX_LIFETIME, "seconds");
        self.range("token.max-lifetime", token.max_lifetime, 1..=MAX_LIFETIME, "seconds");
        self.range("token.replay-capacity", u64::try_from(token.replay_capacity).unwrap_or(u64::MAX), 1_024..=16_777_216, "assertions");
        if self.sound(&["token.lifetime", "token.max-lifetime"]) && token.lifetime > token.max_lifetime {
            let (lifetime, most) = (token.lifetime, token.max_lifetime);
            let message =
                format!("`token.lifetime` is {lifetime} s but `token.max-lifetime` is {most} s; lower the first or raise the second");
            self.fault_between("token.lifetime", "token.max-lifetime", message);
        }
    }

    fn keys(&mut self) {
        let keys = &self.file.keys;
        self.range("keys.rotation-interval", keys.rotation_interval, 0..=MAX_INTERVAL, "seconds");
        self.range("keys.propagation", keys.propagation, 1..=604_800, "seconds");
        self.range("keys.clock-skew", keys.clock_skew, 1..=3_600, "seconds");
        let (interval, propagation) = (keys.rotation_interval, keys.propagation);
        if self.sound(&["keys.rotation-interval", "keys.propagation"]) && interval != 0 && interval <= propagation {
            let message = format!(
                "`keys.rotation-interval` is {interval} s but `keys.propagation`, for which a new key waits, is {propagation} s; raise the \
                 first, or set it to 0 to rotate by command only"
            );
            self.fault_between("keys.rotation-interval", "keys.propagation", message);
        }
    }

    fn audit(&mut self) {
        let audit = &self.file.audit;
        self.range("audit.max-entries", audit.max_entries, 1_024..=1_048_576, "entries");
        self.range("audit.max-bytes", audit.max_bytes, 262_144..=268_435_456, "bytes");
        self.range("audit.flush-interval", audit.flush_interval, 1..=3_600, "seconds");
        self.range("audit.checkpoint-entries", audit.checkpoint_entries, 8..=65_536, "entries");
        self.range("audit.checkpoint-interval", audit.checkpoint_interval, 60..=604_800, "seconds");
        self.range("audit.refusal-window", audit.refusal_window, 1..=MAX_LIFETIME, "seconds");
        self.range("audit.refusals-per-hour", audit.refusals_per_hour, 12..=36_000, "entries");
        if audit.forward_topic && self.file.broker.url.is_empty() && self.sound(&["broker.url"]) {
            let message = "`audit.forward-topic` needs `broker.url`: no client of the embedded broker may read the audit trail";
            self.fault_between("audit.forward-topic", "broker.url", message.into());
        }
    }

    fn broker(&mut self, broker: &BrokerSection) -> Option<BrokerAddress> {
        let address = match broker.url.as_str() {
            "" => None,
            url => match BrokerAddress::parse(url) {
                Ok(address) => Some(address),
                Err(must) => {
                    self.fault("broker.url", format!("`broker.url` {must}"));
                    None
                }
            },
        };
        for (key, path) in [("broker.ca-file", &broker.ca_file), ("broker.certificate-file", &broker.certificate_file)] {
            if address.as_ref().is_some_and(|address| !address.tls) && !is_unset(path) {
                self.fault(key, format!("`{key}` is of no use without TLS; write mqtts:// in `broker.url`, or remove it"));
            }
        }
        self.pair(
            ("broker.certificate-file", &broker.certificate_file),
            ("broker.private-key-file", &broker.private_key_file),
            "remove it for none",
        );
        if broker.username.is_empty() && !is_unset(&broker.password_file) {
            self.fault("broker.password-file", "`broker.password-file` needs `broker.username` to go with it".into());
        }
        for (key, text, least) in [("broker.username", &broker.username, 0), ("broker.client-id", &broker.client_id, 1)] {
            if !(least..=256).contains(&text.len()) || text.chars().any(char::is_control) {
                self.fault(key, format!("`{key}` must have {least} to 256 bytes and no control characters"));
            }
        }
        self.range("broker.keep-alive", broker.keep_alive, 5..=u64::from(u16::MAX), "seconds");
        self.range("broker.queue", u64::try_from(broker.queue).unwrap_or(u64::MAX), 1..=65_536, "requests");
        self.range("broker.reconnect-min", broker.reconnect_min, 1..=86_400, "seconds");
        self.range("broker.reconnect-max", broker.reconnect_max, 1..=86_400, "seconds");
        if self.sound(&["broker.reconnect-min", "broker.reconnect-max"]) && broker.reconnect_min > broker.reconnect_max {
            let (least, most) = (broker.reconnect_min, broker.reconnect_max);
            let message =
                format!("`broker.reconnect-min` is {least} s but `broker.reconnect-max` is {most} s; lower the first or raise the second");
            self.fault_between("broker.reconnect-min", "broker.reconnect-max", message);
        }
        address
    }

    fn embedded_broker(&mut self, broker: &EmbeddedBrokerSection) {
        if broker.enabled && !cfg!(feature = "embedded-broker") {
            let message = "`embedded-broker.enabled`: this build has no embedded broker; set it to false and `broker.url` to your own \
                           broker, or install a build with the feature embedded-broker";
            self.fault("embedded-broker.enabled", message.into());
        }
        if broker.enabled && broker.listen.is_empty() {
            let message = "`embedded-broker.listen` must have at least one address, as [::]:8883; to run without the embedded broker, set \
                           `embedded-broker.enabled` to false";
            self.fault("embedded-broker.listen", message.into());
        }
        self.pair(
            ("embedded-broker.certificate-file", &broker.certificate_file),
            ("embedded-broker.private-key-file", &broker.private_key_file),
            "remove it for the certificate that `credgate init` makes",
        );
        self.range("embedded-broker.max-connections", broker.max_connections, 1..=1_000_000, "connections");
        self.range("embedded-broker.max-connections-per-address", broker.max_connections_per_address, 1..=1_000_000, "connections");
        self.range("embedded-broker.handshake-timeout", broker.handshake_timeout, 1..=300, "seconds");
        self.range("embedded-broker.max-packet-size", broker.max_packet_size, 512..=MAX_MQTT_PACKET, "bytes");
        self.range("embedded-broker.max-queued-messages", broker.max_queued_messages, 1..=65_536, "messages");
        let (payload, packet) = (self.file.max_payload, broker.max_packet_size);
        if self.sound(&["max-payload", "embedded-broker.max-packet-size"]) && payload >= packet {
            let message = format!(
                "`max-payload` is {payload} bytes but `embedded-broker.max-packet-size` is {packet}, which has to hold the topic too; \
                 lower the first or raise the second"
            );
            self.fault_between("max-payload", "embedded-broker.max-packet-size", message);
        }
    }

    fn http(&mut self) {
        let http = &self.file.http;
        if !http.listen.is_empty() && !cfg!(feature = "http") {
            self.fault(
                "http.listen",
                "`http.listen`: this build serves no metrics; leave it empty, or install a build with the feature http".into(),
            );
        }
        for address in &http.listen {
            if address.is_remote() && !http.allow_remote {
                let message = format!(
                    "`http.listen`: other hosts could reach {address}, and neither TLS nor a password stands before it; use a loopback address                      or a unix socket, or set `http.allow-remote` to true if the network in between is trusted"
                );
                self.fault("http.listen", message);
            }
            if let HttpAddress::Unix(path) = address
                && path.as_os_str().len() > MAX_SOCKET_PATH
            {
                self.fault("http.listen", format!("`http.listen`: the path of a unix socket must have at most {MAX_SOCKET_PATH} bytes"));
            }
        }
    }

    /// Without a link there is nothing to serve.
    fn links(&mut self) {
        let configured = self.file.embedded_broker.enabled || !self.file.broker.url.is_empty();
        if !configured && self.sound(&["embedded-broker.enabled", "broker.url"]) {
            let message =
                "no broker: devices cannot reach the gateway; set `embedded-broker.enabled` to true or `broker.url` to your broker";
            self.fault_between("embedded-broker.enabled", "broker.url", message.into());
        }
    }

    fn range<N: TryInto<u64> + Display + Copy>(&mut self, key: &str, value: N, range: RangeInclusive<u64>, unit: &str) {
        if !value.try_into().is_ok_and(|value| range.contains(&value)) {
            self.fault(key, format!("`{key}` must be from {} to {} {unit}, not {value}", range.start(), range.end()));
        }
    }

    fn pair(&mut self, a: (&str, &Path), b: (&str, &Path), otherwise: &str) {
        for ((given, path), (missing, other)) in [(a, b), (b, a)] {
            if !is_unset(path) && is_unset(other) {
                self.fault(given, format!("`{given}` needs `{missing}` to go with it; {otherwise}"));
            }
        }
    }

    /// Whether none of the settings has a fault of its own, which would make others look wrong.
    fn sound(&self, keys: &[&str]) -> bool {
        !self.problems.iter().any(|problem| keys.contains(&problem.key.as_str()))
    }

    /// A fault between two settings, told where one of them was made.
    fn fault_between(&mut self, first: &str, second: &str, message: String) {
        let made = if self.origins.contains_key(first) { first } else { second };
        self.fault(made, message);
    }

    fn fault(&mut self, key: &str, message: String) {
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        self.problems.push(Problem { origin, key: key.into(), message });
    }
}

fn is_unset(path: &Path) -> bool {
    path.as_os_str().is_empty()
}
