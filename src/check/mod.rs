//! The doctor: named checks of one installation, each with what it found and what to do about it. They look, and change nothing.

mod broker;
mod clock;
mod configuration;
mod disk;
mod embedded;
mod host;
mod keys;
mod permissions;
mod process;
mod registry;
mod world;

use serde::Serialize;

pub use host::Host;
pub use world::{Ask, World};

/// What a check came to, the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Could not be looked at, or is of no concern here.
    Skipped,
    /// Serves, but somebody should see to it.
    Warning,
    /// Does not serve, or lets others in.
    Error,
}

impl Outcome {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn ok(found: impl Into<String>) -> Self {
        Self { outcome: Outcome::Ok, found: found.into(), advice: None }
    }

    fn skipped(found: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, ..Self::ok(found) }
    }

    fn warning(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warning, advice: Some(advice.into()), ..Self::ok(found) }
    }

    fn error(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { outcome: Outcome::Error, ..Self::warning(found, advice) }
    }
}

/// What a check found, or why there was nothing to look at.
type Findings = Result<Vec<Finding>, Finding>;

/// A named check.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Check {
    /// Its stable name.
    pub id: &'static str,
    /// What it looks at.
    pub title: &'static str,
    #[serde(skip)]
    run: fn(&World<'_>) -> Findings,
}

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Which.
    pub id: &'static str,
    /// What it looks at.
    pub title: &'static str,
    /// The worst of what it found.
    pub result: Outcome,
    /// All that it found.
    pub findings: Vec<Finding>,
}

impl Check {
    /// Runs it.
    #[must_use]
    pub fn run(&self, world: &World<'_>) -> Checked {
        let findings = (self.run)(world).unwrap_or_else(|alone| vec![alone]);
        let result = findings.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::Ok);
        Checked { id: self.id, title: self.title, result, findings }
    }

    const fn new(id: &'static str, title: &'static str, run: fn(&World<'_>) -> Findings) -> Self {
        Self { id, title, run }
    }
}

/// Every check, in the order in which they run: what others rest on comes first.
pub const CHECKS: &[Check] = &[
    Check::new("config", "the configuration is valid", configuration::config),
    Check::new("config-file", "nobody else can change the configuration", permissions::config_file),
    Check::new("state-directory", "the state directory is private and of one owner", permissions::state_directory),
    Check::new("secret-files", "files with secrets are readable by the gateway alone", permissions::secret_files),
    Check::new("control-socket", "the control socket is closed to strangers", permissions::control_socket),
    Check::new("daemon", "the gateway runs and serves", process::daemon),
    Check::new("configuration-in-force", "the gateway goes by its configuration", process::configuration),
    Check::new("version", "the running gateway is this program", process::version),
    Check::new("registry", "every record can be read and keeps the rules", registry::registry),
    Check::new("snapshots", "there is a snapshot to go back to", registry::snapshots),
    Check::new("signing-keys", "signing keys are rotated in time", keys::signing_keys),
    Check::new("master-key", "signing keys are sealed on disk", keys::master_key),
    Check::new("broker-connection", "the broker lets the gateway in", broker::connection),
    Check::new("broker-certificate", "the broker's certificate is valid for long enough", broker::certificate),
    Check::new("broker-acl", "the broker lets the gateway do what it must", broker::acl),
    Check::new("broker-strangers", "the broker lets strangers do nothing", broker::strangers),
    Check::new("broker-session", "nobody else uses the gateway's MQTT client id", broker::session),
    Check::new("embedded-certificate", "the embedded broker's certificate is valid for long enough", embedded::certificate),
    Check::new("listeners", "the gateway listens where devices can reach it", embedded::listeners),
    Check::new("clock", "the clock is right and will be after a restart", clock::clock),
    Check::new("disk-space", "there is space to write", disk::space),
    Check::new("storage", "the storage keeps what is written", disk::storage),
    Check::new("writes", "the gateway writes little", process::writes),
    Check::new("hardening", "the gateway runs with few privileges", process::hardening),
    Check::new("core-dumps", "secrets get into no core dump", process::core_dumps),
    Check::new("open-files", "there are descriptors for every connection", process::open_files),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_each_is_used_once() {
        for (index, check) in CHECKS.iter().enumerate() {
            assert!(check.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", check.id);
            assert!(CHECKS.iter().skip(index.saturating_add(1)).all(|other| other.id != check.id), "{}", check.id);
        }
    }

    #[test]
    fn the_worst_counts() {
        let order = [Outcome::Ok, Outcome::Skipped, Outcome::Warning, Outcome::Error];
        assert!(order.is_sorted());
        let check = Check::new("x", "x", |_| Ok(vec![Finding::error("a", "b"), Finding::ok("c")]));
        let checked = check.run(&world::tests::world(&Host::default()));
        assert_eq!((checked.result, checked.findings.len()), (Outcome::Error, 2));
        let skipped = Check::new("x", "x", |_| Err(Finding::skipped("no")));
        assert_eq!(skipped.run(&world::tests::world(&Host::default())).result, Outcome::Skipped);
    }
}
