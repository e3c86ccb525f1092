//! The file's sections and their defaults. `config/credgate.toml` shows them all and is tested to equal them.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::clock::ClockSection;
use super::http::HttpSection;
use crate::clients::{LimitRules, Rate, Retire};

/// The group that may use the control socket where it is known.
pub const DEFAULT_CONTROL_GROUP: &str = "credgate";

/// The configuration, as written. Times are seconds and sizes bytes unless a setting says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigFile {
    /// Issuer identifier (RFC 8414 section 2): an https URL without query and fragment; `iss` of every token.
    pub issuer: String,
    /// Directory for the registry, the signing keys and the embedded broker's certificate; created with mode 0700.
    pub state_directory: PathBuf,
    /// The control socket of the operator's commands.
    pub control_socket: PathBuf,
    /// The group whose members may use that, by name or number; empty for none. If the default is no group of this host, there is none.
    pub control_group: String,
    /// First levels of every topic; must not begin with `$` or hold wildcards.
    pub topic_prefix: String,
    /// Bytes of the largest request that is parsed.
    pub max_payload: usize,
    /// Whether files of the configuration that change are read anew by themselves.
    pub reload_on_change: bool,
    /// `[token]`
    pub token: TokenSection,
    /// `[credential]`
    pub credential: CredentialSection,
    /// `[limits]`
    pub limits: LimitsSection,
    /// `[keys]`
    pub keys: KeysSection,
    /// `[broker]`
    pub broker: BrokerSection,
    /// `[embedded-broker]`
    pub embedded_broker: EmbeddedBrokerSection,
    /// `[http]`
    pub http: HttpSection,
    /// `[registry]`
    pub registry: RegistrySection,
    /// `[snapshots]`
    pub snapshots: SnapshotsSection,
    /// `[audit]`
    pub audit: AuditSection,
    /// `[log]`
    pub log: LogSection,
    /// `[check]`
    pub check: CheckSection,
    /// `[clock]`
    pub clock: ClockSection,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            issuer: "https://credgate.local".into(),
            state_directory: "/var/lib/credgate".into(),
            control_socket: "/run/credgate/control.sock".into(),
            control_group: DEFAULT_CONTROL_GROUP.into(),
            topic_prefix: "oauth2/v1".into(),
            max_payload: 8_192,
            reload_on_change: true,
            token: TokenSection::default(),
            credential: CredentialSection::default(),
            limits: LimitsSection::default(),
            keys: KeysSection::default(),
            broker: BrokerSection::default(),
            embedded_broker: EmbeddedBrokerSection::default(),
            http: HttpSection::default(),
            registry: RegistrySection::default(),
            snapshots: SnapshotsSection::default(),
            audit: AuditSection::default(),
            log: LogSection::default(),
            check: CheckSection::default(),
            clock: ClockSection::default(),
        }
    }
}

/// `[token]`: the life of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TokenSection {
    /// Seconds a token lives if nothing shortens it.
    pub lifetime: u32,
    /// Seconds no token outlives, whatever a resource server allows.
    pub max_lifetime: u32,
    /// Used client assertions that are remembered until they expire; past it they are answered `temporarily_unavailable`.
    pub replay_capacity: usize,
}

impl Default for TokenSection {
    fn default() -> Self {
        Self { lifetime: 300, max_lifetime: 3_600, replay_capacity: 65_536 }
    }
}

/// `[credential]`: the rotation of clients' secrets and keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CredentialSection {
    /// Seconds for which the old secret or key serves beside the new one.
    pub overlap: u32,
    /// What else ends the old one.
    pub retire: Retire,
    /// Whether clients may rotate their own credentials.
    pub self_service: bool,
}

impl Default for CredentialSection {
    fn default() -> Self {
        Self { overlap: 7 * 86_400, retire: Retire::FirstUse, self_service: true }
    }
}

/// `[keys]`: the signing keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeysSection {
    /// Seconds a key signs before a new one is published; 0 for rotation by command only.
    pub rotation_interval: u32,
    /// Seconds a new key is published before it signs.
    pub propagation: u32,
    /// Seconds the clocks of resource servers may be behind: a key that signs no more is published so much longer.
    pub clock_skew: u32,
    /// File of the master key that seals the signing keys; empty for the systemd credential `credgate-master-key`, if there is one.
    pub master_key_file: PathBuf,
}

impl Default for KeysSection {
    fn default() -> Self {
        Self { rotation_interval: 90 * 86_400, propagation: 600, clock_skew: 60, master_key_file: PathBuf::new() }
    }
}

/// `[broker]`: the link to a broker of the user's own. Off while `url` is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BrokerSection {
    /// `mqtts://host[:8883]`; `mqtt://` only to a loopback address. Empty for no link.
    pub url: String,
    /// Whether the broker may carry client secrets.
    pub trusted: bool,
    /// PEM file of the CAs that may sign the broker's certificate; empty for the system's.
    pub ca_file: PathBuf,
    /// PEM file of the gateway's client certificate chain; empty for none.
    pub certificate_file: PathBuf,
    /// PEM file of the client certificate's private key.
    pub private_key_file: PathBuf,
    /// MQTT user name; empty for none.
    pub username: String,
    /// File of the MQTT password, without a final line break; empty for none.
    pub password_file: PathBuf,
    /// MQTT client identifier.
    pub client_id: String,
    /// Seconds between pings on an idle link; at least 5.
    pub keep_alive: u16,
    /// Requests that may wait for the engine; past it they are answered `temporarily_unavailable`.
    pub queue: usize,
    /// Seconds of the first wait before a reconnection; doubled each time, with jitter.
    pub reconnect_min: u32,
    /// Seconds of the longest wait before a reconnection.
    pub reconnect_max: u32,
}

impl Default for BrokerSection {
    fn default() -> Self {
        Self {
            url: String::new(),
            trusted: false,
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            private_key_file: PathBuf::new(),
            username: String::new(),
            password_file: PathBuf::new(),
            client_id: "credgate".into(),
            keep_alive: 15,
            queue: 256,
            reconnect_min: 1,
            reconnect_max: 60,
        }
    }
}

/// `[embedded-broker]`: the broker inside the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct EmbeddedBrokerSection {
    /// Whether it runs.
    pub enabled: bool,
    /// Addresses of the TLS listener.
    pub listen: Vec<SocketAddr>,
    /// PEM file of the certificate chain; empty for `tls/broker.crt` in the state directory, as `credgate init` makes it.
    pub certificate_file: PathBuf,
    /// PEM file of the private key; empty for `tls/broker.key` in the state directory.
    pub private_key_file: PathBuf,
    /// Connections at once, those in their TLS handshake included.
    pub max_connections: usize,
    /// Connections at once from one address.
    pub max_connections_per_address: usize,
    /// Seconds a TLS handshake may take.
    pub handshake_timeout: u32,
    /// Bytes of the largest MQTT packet.
    pub max_packet_size: usize,
    /// Seconds the broker keeps the session of a client that went away.
    pub session_expiry: u32,
    /// Messages that wait for one client, at most.
    pub max_queued_messages: usize,
}

impl Default for EmbeddedBrokerSection {
    fn default() -> Self {
        Self {
            enabled: cfg!(feature = "embedded-broker"),
            listen: vec![SocketAddr::from(([0; 16], 8_883))],
            certificate_file: PathBuf::new(),
            private_key_file: PathBuf::new(),
            max_connections: 2_000,
            max_connections_per_address: 1_000,
            handshake_timeout: 5,
            max_packet_size: 65_536,
            session_expiry: 3_600,
            max_queued_messages: 64,
        }
    }
}

/// `[registry]`: the embedded database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistrySection {
    /// Bytes of the page cache.
    pub cache_capacity: u64,
    /// Seconds between two writes of when credentials were last used; 0 for one at the end alone.
    pub last_used_interval: u32,
}

impl Default for RegistrySection {
    fn default() -> Self {
        Self { cache_capacity: 8 * 1_024 * 1_024, last_used_interval: 3_600 }
    }
}

/// `[snapshots]`: copies of the registry on the same host, for when its files are damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SnapshotsSection {
    /// Seconds between two; 0 for none.
    pub interval: u32,
    /// How many are kept.
    pub keep: u32,
    /// Where; empty for `snapshots` in the state directory.
    pub directory: PathBuf,
}

impl Default for SnapshotsSection {
    fn default() -> Self {
        Self { interval: 86_400, keep: 3, directory: PathBuf::new() }
    }
}

/// `[audit]`: the trail of what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuditSection {
    /// Entries that are kept; past it the oldest are dropped.
    pub max_entries: u64,
    /// Bytes of the entries that are kept; likewise.
    pub max_bytes: u64,
    /// Seconds for which entries are gathered before they are written; those of operators' changes never wait.
    pub flush_interval: u32,
    /// Entries after which the trail is signed.
    pub checkpoint_entries: u64,
    /// Seconds after which it is signed if anything has happened.
    pub checkpoint_interval: u32,
    /// Seconds in which refusals of one client for one reason are told once.
    pub refusal_window: u32,
    /// Entries that refusals may fill in an hour.
    pub refusals_per_hour: u32,
    /// Whether entries go to systemd's journal as well.
    pub forward_journald: bool,
    /// Whether entries are published on `{topic-prefix}/audit` through the broker of `[broker]` as well.
    pub forward_topic: bool,
}

impl Default for AuditSection {
    fn default() -> Self {
        Self {
            max_entries: 16_384,
            max_bytes: 4_194_304,
            flush_interval: 5,
            checkpoint_entries: 256,
            checkpoint_interval: 3_600,
            refusal_window: 600,
            refusals_per_hour: 360,
            forward_journald: false,
            forward_topic: false,
        }
    }
}

/// `[log]`: where decisions are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LogSection {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

/// `[check]`: from when on `credgate check` warns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CheckSection {
    /// Bytes that should be free where the state directory lies.
    pub min_disk_free: u64,
    /// Bytes that the gateway should write to disks within a day at most; 0 for any number.
    pub daily_writes: u64,
    /// Seconds that certificates should still be valid for.
    pub certificate_warning: u32,
}

impl Default for CheckSection {
    fn default() -> Self {
        Self { min_disk_free: 64 * 1_024 * 1_024, daily_writes: 100_000_000, certificate_warning: 30 * 86_400 }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
    /// Straight to systemd-journald, with structured fields.
    Journald,
}

/// `[limits]`: how much one client, one attacker and all together may use. 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitsSection {
    /// Requests a second that are served, whoever's they are.
    pub overall_rate: u32,
    /// How many of them may come at once.
    pub overall_burst: u32,
    /// Tokens a second for one client.
    pub client_rate: u32,
    /// How many of them it may ask for at once.
    pub client_burst: u32,
    /// Changes an hour of one client that are written to the disk: rotations of its credential and revocations of its tokens.
    pub writes_per_hour: u32,
    /// Failed proofs for a client from one source after which its secrets are not looked at for a while.
    pub lockout_after: u32,
    /// Seconds for which they are not, at most: the first time is a second, and each further failure doubles it.
    pub lockout_longest: u32,
    /// TLS handshakes a second at the embedded broker.
    pub handshake_rate: u32,
    /// The same from one address.
    pub handshake_rate_per_address: u32,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            overall_rate: 2_000,
            overall_burst: 4_000,
            client_rate: 20,
            client_burst: 200,
            writes_per_hour: 60,
            lockout_after: 10,
            lockout_longest: 60,
            handshake_rate: 200,
            handshake_rate_per_address: 100,
        }
    }
}

impl LimitsSection {
    /// As the engine has them.
    #[must_use]
    pub const fn rules(&self) -> LimitRules {
        LimitRules {
            overall: Rate::per_second(self.overall_rate, self.overall_burst),
            client: Rate::per_second(self.client_rate, self.client_burst),
            writes: Rate::per_hour(self.writes_per_hour),
            lockout_after: self.lockout_after,
            lockout_longest: self.lockout_longest,
            handshakes: self.handshake_rate,
            handshakes_of_address: self.handshake_rate_per_address,
        }
    }
}
