//! The configuration: built-in defaults, then a TOML file, then environment variables, read once into a `Config` that is valid.

mod clock;
mod error;
mod file;
mod http;
mod layers;
mod private_file;
mod url;
mod validate;

use std::path::{Path, PathBuf};

use crate::clients::{Channel, RotationRule};
use crate::endpoint::Settings;
use crate::mqtt::{LinkKind, Topics};
use crate::oauth::Secret;
use crate::token::Lifetimes;

use layers::Layers;
use validate::Validator;

pub use clock::{ClockRule, ClockSection};
pub use error::{ConfigError, Origin, Problem};
pub use file::{
    AuditSection, BrokerSection, CheckSection, ConfigFile, DEFAULT_CONTROL_GROUP, EmbeddedBrokerSection, KeysSection, LimitsSection,
    LogFormat, LogSection, RegistrySection, SnapshotsSection, TokenSection,
};
pub use http::{HttpAddress, HttpSection};
pub use layers::nearest;
pub use private_file::{PrivateFileError, read_private};
pub use url::BrokerAddress;

/// A configuration that holds together. Whether the files it names exist is not known yet.
#[derive(Debug, Clone)]
pub struct Config {
    /// Every setting as it is in force.
    pub file: ConfigFile,
    topics: Topics,
    broker_address: Option<BrokerAddress>,
    /// Where systemd puts the credentials of a service.
    credentials_directory: Option<PathBuf>,
    /// The file that it was read from.
    source: Option<PathBuf>,
}

/// Where the configuration is if nobody says otherwise.
const DEFAULT_FILE: &str = "/etc/credgate/credgate.toml";

/// The file to read: `given`, else that of a package if there is one.
#[must_use]
pub fn config_file(given: Option<&Path>) -> Option<PathBuf> {
    let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| std::fs::symlink_metadata(path).is_ok());
    given.map(Path::to_path_buf).or_else(default)
}

impl Config {
    /// Reads the configuration of this process: [`config_file`], and its environment.
    ///
    /// # Errors
    /// As of [`Config::load`].
    pub fn of_process(given: Option<&Path>) -> Result<Self, ConfigError> {
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::load(config_file(given).as_deref(), environment)
    }

    /// Reads the configuration file, if one is named, and then the `CREDGATE_` variables of `environment`, which win over it:
    /// `CREDGATE_TOKEN__LIFETIME=600` sets `token.lifetime` (two underscores between levels, one for a hyphen).
    /// Of the others only `CREDENTIALS_DIRECTORY` is looked at, which systemd sets.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, or if anything at all is unknown, of the wrong type or out of range: every such fault with
    /// its line or variable.
    pub fn load(path: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.into(), error });
        let text = path.map(read).transpose()?;
        Self::parse(path.zip(text.as_deref()), environment)
    }

    /// The same, of a file that was read.
    pub(crate) fn parse(file: Option<(&Path, &str)>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let source = file.map(|(path, _)| path.to_path_buf());
        let mut layers = Layers::new();
        if let Some((path, text)) = file {
            layers.add_file(path, text)?;
        }
        let mut credentials_directory = None;
        layers.add_environment(environment.inspect(|(name, value)| {
            if name == "CREDENTIALS_DIRECTORY" && !value.is_empty() {
                credentials_directory = Some(PathBuf::from(value));
            }
        }));
        let (file, origins, problems) = layers.finish();
        let (topics, broker_address) = Validator::new(&file, &origins, problems).finish()?;
        Ok(Self { file, topics, broker_address, credentials_directory, source })
    }

    /// The file that it was read from, if it was one.
    #[must_use]
    pub fn source(&self) -> Option<PathBuf> {
        self.source.clone()
    }

    /// Reads the configuration of this process anew, from where this one came from.
    ///
    /// # Errors
    /// As of [`Config::load`].
    pub fn reread(&self) -> Result<Self, ConfigError> {
        Self::of_process(self.source.as_deref())
    }

    /// The settings in which another configuration differs, such as `token.lifetime`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        layers::differences(&self.file, &other.file)
    }

    /// This configuration, with these settings of another one.
    #[must_use]
    pub fn with(&self, other: &Self, settings: &[String]) -> Self {
        let takes_url = settings.iter().any(|setting| setting == "broker.url");
        Self {
            file: layers::merged(&self.file, &other.file, settings),
            broker_address: if takes_url { other.broker_address.clone() } else { self.broker_address.clone() },
            ..self.clone()
        }
    }

    /// The configuration in force as TOML, which `load` reads back to the same. It holds no secrets: they are in files of their own.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Cannot fail: every setting came from TOML or is a default, which the tests serialise.
        toml::to_string(&self.file).unwrap_or_else(|error| format!("# the configuration cannot be shown: {error}\n"))
    }

    /// Directory of the registry.
    #[must_use]
    pub fn registry_directory(&self) -> PathBuf {
        self.file.state_directory.join("registry")
    }

    /// Directory of the registry's snapshots.
    #[must_use]
    pub fn snapshots_directory(&self) -> PathBuf {
        set(&self.file.snapshots.directory).map_or_else(|| self.file.state_directory.join("snapshots"), Path::to_path_buf)
    }

    /// Directory of the signing keys.
    #[must_use]
    pub fn keys_directory(&self) -> PathBuf {
        self.file.state_directory.join("keys")
    }

    /// Directory of the certificates that `credgate init` makes.
    #[must_use]
    pub fn tls_directory(&self) -> PathBuf {
        self.file.state_directory.join("tls")
    }

    /// PEM file of the embedded broker's certificate chain.
    #[must_use]
    pub fn broker_certificate(&self) -> PathBuf {
        set(&self.file.embedded_broker.certificate_file).map_or_else(|| self.tls_directory().join("broker.crt"), Path::to_path_buf)
    }

    /// PEM file of the embedded broker's private key.
    #[must_use]
    pub fn broker_private_key(&self) -> PathBuf {
        set(&self.file.embedded_broker.private_key_file).map_or_else(|| self.tls_directory().join("broker.key"), Path::to_path_buf)
    }

    /// The topics.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// How clients' credentials are rotated.
    #[must_use]
    pub fn rotation_rule(&self) -> RotationRule {
        RotationRule { overlap: self.file.credential.overlap, retire: self.file.credential.retire }
    }

    /// What the engine needs to know.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let lifetimes = Lifetimes { default: self.file.token.lifetime, maximum: self.file.token.max_lifetime };
        Settings { issuer: self.file.issuer.clone(), lifetimes, max_payload: self.file.max_payload }
    }

    /// The links to configured brokers, and what each may carry.
    #[must_use]
    pub fn links(&self) -> Vec<(LinkKind, Channel)> {
        let own = self.broker_address.as_ref().map(|_| (LinkKind::Broker, self.link_channel()));
        let embedded = self.file.embedded_broker.enabled.then_some((LinkKind::EmbeddedBroker, Channel::Trusted));
        embedded.into_iter().chain(own).collect()
    }

    /// What the user's own broker may carry.
    #[must_use]
    pub fn link_channel(&self) -> Channel {
        if self.file.broker.trusted { Channel::Trusted } else { Channel::Untrusted }
    }

    /// Where the user's own broker is; `None` if there is no link to one.
    #[must_use]
    pub fn broker_address(&self) -> Option<&BrokerAddress> {
        self.broker_address.as_ref()
    }

    /// PEM file of the CAs that may sign the certificate of the user's own broker; `None` for the system's.
    #[must_use]
    pub fn link_ca_file(&self) -> Option<&Path> {
        set(&self.file.broker.ca_file)
    }

    /// PEM files of the client certificate chain and private key for the link to the user's own broker.
    #[must_use]
    pub fn link_identity(&self) -> Option<(&Path, &Path)> {
        set(&self.file.broker.certificate_file).zip(set(&self.file.broker.private_key_file))
    }

    /// File of the MQTT password for the link to the user's own broker.
    #[must_use]
    pub fn link_password_file(&self) -> Option<&Path> {
        set(&self.file.broker.password_file)
    }

    /// MQTT user name for the link to the user's own broker.
    #[must_use]
    pub fn link_username(&self) -> Option<&str> {
        Some(self.file.broker.username.as_str()).filter(|name| !name.is_empty())
    }

    /// Reads the MQTT password for the link to the user's own broker, without one final line break; `None` if none is set.
    ///
    /// # Errors
    /// If the file cannot be read, or people other than its owner and group can read it.
    pub fn read_link_password(&self) -> Result<Option<Secret>, PrivateFileError> {
        let Some(path) = self.link_password_file() else {
            return Ok(None);
        };
        let content = read_private(path)?;
        let line = content.strip_suffix(b"\n").map_or(content.as_slice(), |line| line.strip_suffix(b"\r").unwrap_or(line));
        Ok(Some(Secret::new(line.to_vec())))
    }

    /// Reads the master key of the signing keys, from `keys.master-key-file` or else from the systemd credential `credgate-master-key`, and
    /// tells where it was; `None` if there is neither.
    ///
    /// # Errors
    /// As [`Self::read_link_password`].
    pub fn read_master_key(&self) -> Result<Option<(PathBuf, Secret)>, PrivateFileError> {
        if let Some(path) = set(&self.file.keys.master_key_file) {
            return read_private(path).map(|mut content| Some((path.to_path_buf(), Secret::new(std::mem::take(&mut *content)))));
        }
        let Some(path) = self.credentials_directory.as_ref().map(|directory| directory.join(MASTER_KEY_CREDENTIAL)) else {
            return Ok(None);
        };
        match read_private(&path) {
            Err(PrivateFileError::Read { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            outcome => outcome.map(|mut content| Some((path, Secret::new(std::mem::take(&mut *content))))),
        }
    }
}

/// The systemd credential of the master key.
const MASTER_KEY_CREDENTIAL: &str = "credgate-master-key";

/// An empty path is a path that is not set.
fn set(path: &Path) -> Option<&Path> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests;
