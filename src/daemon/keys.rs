//! The signing keys of a daemon: when they change, and the task that changes them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::error;

use crate::config::Config;
use crate::jose::RotationRules;
use crate::registry::{KeyOptions, KeyStore, MasterKey, RegistryError};

/// How long the clock is not looked at, at most: it may be set at any time.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Where the configuration says that the keys are, when they change, and what seals them.
#[must_use]
pub fn key_options(config: &Config) -> KeyOptions {
    let keys = &config.file.keys;
    let rules = RotationRules {
        interval: keys.rotation_interval.into(),
        propagation: keys.propagation.into(),
        max_lifetime: config.file.token.max_lifetime.into(),
        clock_skew: keys.clock_skew.into(),
    };
    let master_key = config
        .read_master_key()
        .map_err(|error| RegistryError::MasterKey { reason: format!("the master key cannot be used: {error}") })
        .and_then(|found| found.map(|(path, content)| MasterKey::parse(&path, content.expose())).transpose());
    KeyOptions { directory: config.keys_directory(), rules, master_key }
}

/// Does what is due with the keys, for ever. `changed` wakes it after a change by command.
pub(super) async fn rotate(keys: Arc<KeyStore>, changed: Arc<Notify>) {
    loop {
        let ticking = keys.clone();
        let wait = match tokio::task::spawn_blocking(move || ticking.tick()).await {
            Ok(Ok(wait)) => wait.map_or(LONGEST_SLEEP, |wait| wait.min(LONGEST_SLEEP)),
            Ok(Err(failure)) => {
                error!(code = failure.code(), error = %failure, cause = std::error::Error::source(&failure), "signing keys cannot be changed; trying again");
                LONGEST_SLEEP
            }
            Err(_) => return,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = changed.notified() => {}
        }
    }
}
