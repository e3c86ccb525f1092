//! Configuration, certificates and passwords that are taken over while the gateway runs: all of it or, if anything is wrong, nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tracing::{error, info, warn};

use super::links::Links;
use super::log::SetLevel;
use super::timekeeping::HostClock;
use super::{DaemonError, link_options};
use crate::admin::{ConfigurationStatus, ReloadDocument, ReloadTrigger};
use crate::audit::{AuditLog as _, Event, What};
use crate::clients::Limits;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::endpoint::Engine;
use crate::registry::Registry;
#[cfg(feature = "embedded-broker")]
use crate::tls;

/// Settings that are taken over at once, and those that `credgate check` reads by itself; a dot at the end stands for a whole section. The others wait
/// for a restart.
const TAKEN: [&str; 9] = [
    "broker.",
    "check.",
    "clock.",
    "embedded-broker.certificate-file",
    "embedded-broker.private-key-file",
    "limits.",
    "log.level",
    "reload-on-change",
    "token.lifetime",
];
/// Exceptions from them: what a request may bring through the link is fixed when the link is made.
const FIXED: &str = "broker.trusted";
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Takes over what has changed.
pub(super) struct Reloader {
    engine: Arc<Engine>,
    links: Arc<Links>,
    clock: Arc<HostClock>,
    limits: Arc<Limits>,
    registry: Arc<Registry>,
    set_level: SetLevel,
    state: Mutex<State>,
}

struct State {
    /// As it is in force.
    config: Config,
    contents: Contents,
    /// The files as they were when they were last read.
    files: Vec<Look>,
    told: Option<ConfigurationStatus>,
}

/// What the certificates, keys and passwords are, by their digests.
#[derive(PartialEq, Eq)]
struct Contents {
    link: [u8; 32],
    embedded: [u8; 32],
}

/// What is seen of a file without reading it; `None` if there is none.
type Look = Option<(i64, i64, u64, u64)>;

impl Reloader {
    pub(super) fn new(
        config: Config,
        engine: Arc<Engine>,
        links: Arc<Links>,
        clock: Arc<HostClock>,
        limits: Arc<Limits>,
        registry: Arc<Registry>,
        set_level: SetLevel,
    ) -> Arc<Self> {
        let state = State { contents: Contents::of(&config), files: look(&config), config, told: None };
        Arc::new(Self { engine, links, clock, limits, registry, set_level, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The URL of the user's own broker.
    pub(super) fn broker_url(&self) -> String {
        self.state().config.file.broker.url.clone()
    }

    /// `check.daily-writes`, in bytes.
    pub(super) fn daily_writes(&self) -> u64 {
        self.state().config.file.check.daily_writes
    }

    /// What came of the last time; `None` if the configuration is that of the start.
    pub(super) fn status(&self) -> Option<ConfigurationStatus> {
        self.state().told.clone()
    }

    /// Reads everything anew and takes over what can be. Reads files: not for the runtime's own threads.
    ///
    /// # Errors
    /// What is wrong; then nothing has changed.
    pub(super) fn reload(&self, trigger: ReloadTrigger) -> Result<ReloadDocument, DaemonError> {
        let mut state = self.state();
        let files = look(&state.config);
        let outcome = self.take_over(&mut state);
        state.files = files;
        let at = UnixTime::from(SystemTime::now());
        let event = Event::of(What::ConfigurationReloaded).reason(trigger.as_str());
        match &outcome {
            Ok(document) => {
                let ReloadDocument { taken, restart, certificate, link } = document;
                info!(
                    trigger = trigger.as_str(),
                    taken = taken.join(" "),
                    new_certificate = certificate,
                    reconnects = link,
                    "the configuration was read anew"
                );
                if !restart.is_empty() {
                    warn!(settings = restart.join(" "), "these settings have changed and need a restart of the gateway");
                }
                state.told = Some(ConfigurationStatus { at, trigger, problem: None, restart: restart.clone() });
                self.registry.note(event.outcome("done"));
            }
            Err(failure) => {
                let problem = told(failure);
                error!(
                    trigger = trigger.as_str(),
                    code = failure.code(),
                    error = problem,
                    "the new configuration is refused; the old one stays in force"
                );
                let restart = state.told.take().map(|told| told.restart).unwrap_or_default();
                state.told = Some(ConfigurationStatus { at, trigger, problem: Some(problem), restart });
                self.registry.note(event.outcome("refused"));
            }
        }
        outcome
    }

    fn take_over(&self, state: &mut State) -> Result<ReloadDocument, DaemonError> {
        let found = state.config.reread().map_err(|error| DaemonError::Config(Box::new(error)))?;
        let has_link = |config: &Config| config.broker_address().is_some();
        let is_taken = |setting: &String| {
            let named = TAKEN.iter().any(|taken| setting == taken || (taken.ends_with('.') && setting.starts_with(taken)));
            let fits = match setting.as_str() {
                FIXED => false,
                "token.lifetime" => found.file.token.lifetime <= state.config.file.token.max_lifetime,
                // Numbers for tokens that live from their first sight are reserved at the start.
                setting if setting.starts_with("clock.") => state.config.file.clock.needs_sequence() || !found.file.clock.needs_sequence(),
                // A link comes and goes with the process.
                setting if setting.starts_with("broker.") => has_link(&found) == has_link(&state.config),
                _ => true,
            };
            named && fits
        };
        let (taken, restart): (Vec<String>, Vec<String>) = state.config.differences(&found).into_iter().partition(is_taken);
        let next = state.config.with(&found, &taken);
        // All that can fail comes before anything is taken over.
        let options = link_options(&next)?;
        #[cfg(feature = "embedded-broker")]
        let tls = match next.file.embedded_broker.enabled {
            true => Some(tls::server_config(&next.broker_certificate(), &next.broker_private_key())?),
            false => None,
        };
        let contents = Contents::of(&next);
        let certificate = contents.embedded != state.contents.embedded;
        let link =
            options.is_some() && (contents.link != state.contents.link || taken.iter().any(|setting| setting.starts_with("broker.")));
        #[cfg(feature = "embedded-broker")]
        if let Some(tls) = tls.filter(|_| certificate) {
            self.links.show(tls);
        }
        if let Some(options) = options.filter(|_| link) {
            self.links.reconnect(options);
        }
        self.engine.set_lifetime(next.file.token.lifetime);
        self.clock.set(&next.file.clock);
        self.limits.set(next.file.limits.rules());
        (self.set_level)(&next.file.log.level);
        (state.config, state.contents) = (next, contents);
        Ok(ReloadDocument { taken, restart, certificate, link })
    }

    /// Takes over what has changed in the files, for ever, if the configuration wants it. A file that changes at this moment is left alone until it
    /// does so no more.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut before = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let watching = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let state = watching.state();
                let files = look(&state.config);
                let is_new = state.config.file.reload_on_change && files != state.files;
                drop(state);
                let has_settled = before.as_ref() == Some(&files);
                if is_new && has_settled {
                    // It is told there.
                    let _ = watching.reload(ReloadTrigger::File);
                }
                files
            });
            // It fails only when the runtime ends.
            let Ok(files) = looked.await else { return };
            before = Some(files);
        }
    }
}

/// An error with its causes, in a line.
pub(super) fn told(failure: &DaemonError) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The files of the link, and of the embedded broker.
fn files(config: &Config) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (certificate, key) = config.link_identity().unzip();
    let link = [config.link_ca_file(), certificate, key, config.link_password_file()];
    let embedded =
        if config.file.embedded_broker.enabled { vec![config.broker_certificate(), config.broker_private_key()] } else { Vec::new() };
    (link.into_iter().flatten().map(Path::to_path_buf).collect(), embedded)
}

impl Contents {
    fn of(config: &Config) -> Self {
        let digest = |files: Vec<PathBuf>| {
            let mut digest = Sha256::new();
            for file in files {
                let content = zeroize::Zeroizing::new(std::fs::read(file).unwrap_or_default());
                digest.update(Sha256::digest(&*content));
            }
            digest.finalize().into()
        };
        let (link, embedded) = files(config);
        Self { link: digest(link), embedded: digest(embedded) }
    }
}

fn look(config: &Config) -> Vec<Look> {
    let (link, embedded) = files(config);
    let seen = |path: PathBuf| std::fs::metadata(path).ok().map(|found| (found.mtime(), found.mtime_nsec(), found.size(), found.ino()));
    config.source().into_iter().chain(link).chain(embedded).map(seen).collect()
}
