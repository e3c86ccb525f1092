//! The configuration file: TOML, kebab-case, every setting with a default, nothing unknown accepted.

mod file;

pub use file::{BrokerSection, ConfigFile, EmbeddedBrokerSection, LogFormat, LogSection, RegistrySection, TokenSection};
