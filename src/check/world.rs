//! What the checks look at, each thing gathered once.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use super::Finding;
use super::broker::BrokerFacts;
use super::host::Host;
use crate::admin::{Answer, Command, DaemonStatus, KeyDocument};
use crate::clock::UnixTime;
use crate::config::{Config, ConfigError};

/// Asks the gateway that runs, or works on the files of one that does not; what went wrong, for people.
pub type Ask<'a> = &'a dyn Fn(Command) -> Result<Answer, String>;

/// One installation.
pub struct World<'a> {
    config: Result<Config, ConfigError>,
    config_file: Option<PathBuf>,
    daemon: Result<Option<DaemonStatus>, String>,
    ask: Ask<'a>,
    host: Host,
    now: UnixTime,
    broker: OnceCell<Result<BrokerFacts, Finding>>,
    keys: OnceCell<Result<Vec<KeyDocument>, String>>,
}

impl<'a> World<'a> {
    /// The installation of that configuration. `daemon` is what a gateway says that runs, nothing if none does, or why it could not be asked.
    #[must_use]
    pub fn new(
        config: Result<Config, ConfigError>,
        config_file: Option<PathBuf>,
        daemon: Result<Option<DaemonStatus>, String>,
        ask: Ask<'a>,
        host: Host,
        now: UnixTime,
    ) -> Self {
        Self { config, config_file, daemon, ask, host, now, broker: OnceCell::new(), keys: OnceCell::new() }
    }

    pub(super) fn loaded(&self) -> Result<&Config, &ConfigError> {
        self.config.as_ref()
    }

    /// The configuration, if it is valid.
    pub(super) fn config(&self) -> Result<&Config, Finding> {
        self.config.as_ref().map_err(|_| Finding::skipped("the configuration is not valid: see the check config"))
    }

    pub(super) fn config_file(&self) -> Option<&Path> {
        self.config_file.as_deref()
    }

    pub(super) fn daemon(&self) -> Result<Option<&DaemonStatus>, &str> {
        self.daemon.as_ref().map(Option::as_ref).map_err(String::as_str)
    }

    /// The gateway, if it runs.
    pub(super) fn running(&self) -> Result<&DaemonStatus, Finding> {
        match self.daemon() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(Finding::skipped("no gateway runs")),
            Err(_) => Err(Finding::skipped("the gateway could not be asked: see the check daemon")),
        }
    }

    pub(super) fn ask(&self, command: Command) -> Result<Answer, String> {
        (self.ask)(command)
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn now(&self) -> UnixTime {
        self.now
    }

    /// What was seen of the user's own broker.
    pub(super) fn broker(&self) -> Result<&BrokerFacts, Finding> {
        self.broker.get_or_init(|| BrokerFacts::gather(self.config()?)).as_ref().map_err(Clone::clone)
    }

    /// The signing keys.
    pub(super) fn keys(&self) -> Result<&[KeyDocument], Finding> {
        let keys = self.keys.get_or_init(|| match self.ask(Command::KeyList)? {
            Answer::Keys(keys) => Ok(keys),
            other => Err(format!("the gateway gave an answer of the wrong kind: {other:?}")),
        });
        keys.as_deref().map_err(|error| Finding::error(error.clone(), "see the check registry, and docs/operations.md on signing keys"))
    }

    /// The user whom the files should belong to: the one the gateway runs as, or else the owner of the state directory.
    pub(super) fn owner(&self) -> Option<u32> {
        use std::os::unix::fs::MetadataExt as _;
        let running = self.running().ok().and_then(|status| self.host.process_user(status.pid));
        running.or_else(|| Some(std::fs::metadata(&self.config.as_ref().ok()?.file.state_directory).ok()?.uid()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::check) const NOW: UnixTime = UnixTime::from_secs(4_000_000_000);

    /// A world with the default configuration on that host, where nothing runs and nobody answers.
    pub(in crate::check) fn world(host: &Host) -> World<'static> {
        World::new(Config::load(None, std::iter::empty()), None, Ok(None), &|_| Err("nobody answers".into()), host.clone(), NOW)
    }

    /// The same where a gateway runs as process 7.
    pub(in crate::check) fn running(host: &Host, change: impl FnOnce(&mut DaemonStatus)) -> World<'static> {
        let mut status = DaemonStatus { running: true, pid: 7, version: env!("CARGO_PKG_VERSION").into(), ..DaemonStatus::default() };
        change(&mut status);
        World { daemon: Ok(Some(status)), ..world(host) }
    }
}
