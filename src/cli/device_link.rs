//! How a device on the command line reaches its broker and proves who it is.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use rustls::pki_types::ServerName;

use super::{CliError, Exit, device_key};
use crate::clock::UnixTime;
use crate::config::{PrivateFileError, read_private};
use crate::device::{Credential, DeviceKey, DeviceOptions, MqttVersion};
use crate::jose::SigningKey;
use crate::mqtt::{QoS, Topics};
use crate::oauth::{ClientId, Format, Secret};
use crate::tls;

/// Where a client secret may be if it is in no file.
const SECRET_VARIABLE: &str = "CREDGATE_CLIENT_SECRET";

/// The broker and how to speak to it.
#[derive(Debug, clap::Args)]
pub(super) struct WireArgs {
    /// The broker that carries the requests; the port is 8883 if it has none.
    #[arg(long, value_name = "mqtts://HOST[:PORT]")]
    pub(super) broker: BrokerUrl,
    /// PEM file of the CAs that may sign the broker's certificate [default: the system's].
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Encoding of the request and its answer.
    #[arg(long, default_value = "json", value_parser = PossibleValuesParser::new(["json", "cbor"]).try_map(|word| word.parse::<Format>()))]
    pub(super) format: Format,
    /// Version of MQTT.
    #[arg(long, default_value = "5", value_parser = PossibleValuesParser::new(["5", "3.1.1"]).map(|word| mqtt_version(&word)))]
    pub(super) mqtt_version: MqttVersion,
    /// Quality of service of the request and its answer.
    #[arg(long, default_value = "1", value_parser = PossibleValuesParser::new(["0", "1"]).map(|word| qos(&word)))]
    pub(super) qos: QoS,
    /// Seconds to wait for the connection, and then for each answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(super) timeout: u32,
    /// First levels of the gateway's topics.
    #[arg(long, value_name = "PREFIX", default_value = "oauth2/v1", value_parser = Topics::new)]
    pub(super) topic_prefix: Topics,
}

impl WireArgs {
    /// What the library needs to know of a device whose MQTT client identifier is its id.
    pub(super) fn options(
        &self,
        client_id: ClientId,
        credential: Credential,
        mqtt_password: Option<Secret>,
    ) -> Result<DeviceOptions, CliError> {
        Ok(DeviceOptions {
            host: self.broker.host.clone(),
            port: self.broker.port,
            tls: tls_config(self.ca_file.as_deref())?,
            version: self.mqtt_version,
            topics: self.topic_prefix.clone(),
            client_id,
            credential,
            mqtt_username: None,
            mqtt_password,
            mqtt_client_id: None,
            qos: self.qos,
            timeout: Duration::from_secs(self.timeout.into()),
        })
    }
}

/// The connection of a client and its credential.
#[derive(Debug, clap::Args)]
pub(super) struct LinkArgs {
    #[command(flatten)]
    pub(super) wire: WireArgs,
    /// Who the device is: OAuth client_id and MQTT user name.
    #[arg(long, value_name = "ID")]
    pub(super) client_id: ClientId,
    /// File that holds the client secret and nothing else.
    #[arg(long, value_name = "FILE")]
    pub(super) secret_file: Option<PathBuf>,
    /// File with the device's private key (Ed25519 or P-256, PKCS#8 PEM): it signs an assertion and has no client secret.
    #[arg(long, value_name = "FILE", requires = "issuer", conflicts_with = "secret_file")]
    pub(super) key_file: Option<PathBuf>,
    /// The gateway's issuer identifier, for which the assertion is made.
    #[arg(long, value_name = "URL", requires = "key_file")]
    pub(super) issuer: Option<String>,
    /// File with the MQTT password, for a broker that has its own [default: the client secret, or an assertion].
    #[arg(long, value_name = "FILE")]
    pub(super) mqtt_password_file: Option<PathBuf>,
    /// Behave as a device without a clock: ask for a nonce first.
    #[arg(long, requires_all = ["key_file", "mqtt_password_file"])]
    pub(super) no_clock: bool,
    /// With --format cbor, sign the assertion as COSE_Sign1, as a device without JSON does.
    #[arg(long, requires = "key_file")]
    pub(super) cose: bool,
    /// MQTT client identifier; the embedded broker wants the client id, or that, a dot and more [default: the client id, a dot and random
    /// characters, so that a session of the same device is not taken over].
    #[arg(long, value_name = "ID")]
    pub(super) mqtt_client_id: Option<String>,
}

impl LinkArgs {
    /// The credential that the command line names.
    pub(super) fn credential(&self) -> Result<Credential, CliError> {
        match &self.key_file {
            Some(key_file) => Ok(self.by_key(device_key::read(key_file)?)),
            None => secret(self.secret_file.as_deref()).map(Credential::Secret),
        }
    }

    /// A key of the device as its credential.
    pub(super) fn by_key(&self, key: Arc<SigningKey>) -> Credential {
        Credential::Key(DeviceKey {
            key,
            cose: self.cose,
            // Where there is a key file there is an issuer.
            issuer: self.issuer.clone().unwrap_or_default(),
            clock: (!self.no_clock).then_some((|| UnixTime::from(SystemTime::now())) as fn() -> UnixTime),
        })
    }

    /// What the library needs to know.
    pub(super) fn options(&self, credential: Credential) -> Result<DeviceOptions, CliError> {
        let mqtt_client_id = self.mqtt_client_id.clone().map_or_else(|| random_mqtt_client_id(&self.client_id), Ok)?;
        let mqtt_password = self.mqtt_password_file.as_deref().map(|file| secret(Some(file))).transpose()?;
        let options = self.wire.options(self.client_id.clone(), credential, mqtt_password)?;
        Ok(DeviceOptions { mqtt_client_id: Some(mqtt_client_id), ..options })
    }
}

/// The runtime of one command.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Software, "device", "the asynchronous runtime cannot be started").because(&error))
}

fn mqtt_version(word: &str) -> MqttVersion {
    if word == "5" { MqttVersion::V5 } else { MqttVersion::V311 }
}

fn qos(word: &str) -> QoS {
    if word == "0" { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

/// The address of a broker that speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BrokerUrl {
    pub(super) host: String,
    pub(super) port: u16,
}

impl FromStr for BrokerUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let authority = url.strip_prefix("mqtts://").ok_or("must begin with mqtts://: a client secret never goes out without TLS")?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port),
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("has no port number from 1 to 65535 after its host")?,
            None if port.is_empty() => 8_883,
            None => return Err("has something other than a port after its host"),
        };
        ServerName::try_from(host).map_err(|_| "must have a DNS name or an IP address (an IPv6 address in brackets) as its host")?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// `{client_id}.` and 32 random bits.
fn random_mqtt_client_id(client_id: &ClientId) -> Result<String, CliError> {
    let random = getrandom::u32()
        .map_err(|error| CliError::new(Exit::Software, "device", "the operating system gives no random bytes").because(&error))?;
    Ok(format!("{client_id}.{random:08x}"))
}

/// The client secret: the file's content without its last line break, or the environment variable.
pub(super) fn secret(file: Option<&Path>) -> Result<Secret, CliError> {
    let Some(path) = file else {
        return match std::env::var(SECRET_VARIABLE) {
            Ok(secret) if !secret.is_empty() => Ok(Secret::new(secret.into_bytes())),
            Ok(_) | Err(std::env::VarError::NotPresent) => Err(CliError::new(Exit::Usage, "device", "no client secret")
                .with_help(format!("name a file with --secret-file, or set {SECRET_VARIABLE}"))),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(CliError::new(Exit::Data, "device", format!("{SECRET_VARIABLE} is not UTF-8 text")))
            }
        };
    };
    secret_file(path, "client secret")
}

/// What a private file holds, without its last line break; `what` is for errors.
pub(super) fn secret_file(path: &Path, what: &str) -> Result<Secret, CliError> {
    let content = read_private(path).map_err(|error| match error {
        PrivateFileError::Read { .. } => CliError::new(Exit::NoInput, "device", format!("{what} {error}")),
        _ => CliError::new(Exit::Config, "device", format!("{what} {error}")),
    })?;
    let secret = content.strip_suffix(b"\n").map_or(content.as_slice(), |line| line.strip_suffix(b"\r").unwrap_or(line));
    if secret.is_empty() {
        return Err(CliError::new(Exit::Data, "device", format!("{what} {}: the file is empty", path.display())));
    }
    Ok(Secret::new(secret.to_vec()))
}

fn tls_config(ca_file: Option<&Path>) -> Result<std::sync::Arc<rustls::ClientConfig>, CliError> {
    tls::client_config(ca_file, None).map_err(|error| {
        let code = if matches!(error, tls::TlsError::Read { .. }) { Exit::NoInput } else { Exit::Config };
        CliError::new(code, error.code(), error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_file_loses_its_last_line_break_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        for (content, expected) in [("s1", "s1"), ("s1\n", "s1"), ("s1\r\n", "s1"), (" s1\n\n", " s1\n")] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(secret(Some(&path)).unwrap().expose(), expected.as_bytes());
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(secret(Some(&path)).is_err());
        std::fs::write(&path, "s1").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(secret(Some(&path)).is_err());
    }
}
