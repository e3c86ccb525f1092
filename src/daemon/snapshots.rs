//! Snapshots of the registry: going back to one at the start if need be, and making them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tracing::{error, info, warn};

use crate::admin::SnapshotStatus;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::registry::{FellBack, Registry, RegistryError, RegistryOptions, Snapshots};

/// How long after a failure it is tried again, at most.
const RETRY: Duration = Duration::from_secs(3_600);

fn snapshots(config: &Config) -> Snapshots {
    let keep = usize::try_from(config.file.snapshots.keep).unwrap_or(usize::MAX);
    Snapshots { directory: config.snapshots_directory(), keep }
}

/// Where the configuration says that the registry is.
#[must_use]
pub fn registry_options(config: &Config) -> RegistryOptions {
    RegistryOptions { directory: config.registry_directory(), cache_capacity: config.file.registry.cache_capacity }
}

/// Opens the registry, or goes back to a snapshot if its files are damaged, which nobody should overlook.
pub(super) fn open_registry(config: &Config) -> Result<Arc<Registry>, RegistryError> {
    let (registry, fell_back) = snapshots(config).open(&registry_options(config))?;
    if let Some(FellBack { cause, snapshot, as_of, set_aside }) = fell_back {
        error!(
            code = cause.code(),
            error = %cause,
            cause = std::error::Error::source(&cause),
            snapshot = %snapshot.display(),
            as_of = %as_of,
            set_aside = %set_aside.display(),
            "THE REGISTRY WAS DAMAGED. The gateway went back to its newest snapshot; every change since then is undone: clients that were blocked \
             or removed since are served again. Check the disk, compare, and block again who must be"
        );
    } else if let Some(restored) = registry.restored() {
        warn!(at = %restored.at, as_of = %restored.as_of, "the registry took the place of another");
    }
    Ok(registry)
}

/// Makes snapshots.
pub(super) struct Keeper {
    snapshots: Snapshots,
    registry: Arc<Registry>,
    issuer: String,
    /// Seconds between two; 0 for none.
    interval: u64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    status: SnapshotStatus,
    /// Writes of the registry when the last was made.
    writes: Option<u64>,
}

impl Keeper {
    /// A keeper that knows which there are.
    pub(super) fn new(config: &Config, registry: Arc<Registry>) -> Arc<Self> {
        let (snapshots, issuer) = (snapshots(config), config.file.issuer.clone());
        let keeper = Self { snapshots, registry, issuer, interval: config.file.snapshots.interval.into(), known: Mutex::default() };
        keeper.look();
        Arc::new(keeper)
    }

    /// What `status` tells.
    pub(super) fn status(&self) -> SnapshotStatus {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).status.clone()
    }

    /// Makes one whenever it is time, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        if self.interval == 0 {
            return;
        }
        let mut wait = self.until_due();
        loop {
            tokio::time::sleep(wait).await;
            let keeper = self.clone();
            wait = match tokio::task::spawn_blocking(move || keeper.make()).await {
                Ok(true) => Duration::from_secs(self.interval),
                Ok(false) => Duration::from_secs(self.interval).min(RETRY),
                // The runtime ends.
                Err(_) => return,
            };
        }
    }

    /// How long until the newest is as old as it may be. By the clock, which may have been set: then one is due.
    fn until_due(&self) -> Duration {
        let now = UnixTime::from(SystemTime::now()).as_secs();
        let newest = self.status().newest.map(UnixTime::as_secs).filter(|newest| *newest <= now);
        let age = newest.map_or(u64::MAX, |newest| now.saturating_sub(newest));
        Duration::from_secs(self.interval.saturating_sub(age))
    }

    /// Makes one, unless nothing has been written since the last; false if that fails.
    fn make(&self) -> bool {
        let writes = self.registry.write_counts().written;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.writes == Some(writes) {
            known.status.current_at = Some(UnixTime::from(SystemTime::now()));
            return true;
        }
        drop(known);
        let outcome = self.snapshots.make(&self.registry, &self.issuer);
        let problem = match &outcome {
            Ok(snapshot) => {
                info!(path = %snapshot.path.display(), "made a snapshot of the registry");
                None
            }
            Err(failure) => {
                error!(code = failure.code(), error = %failure, cause = std::error::Error::source(failure), "no snapshot of the registry can be made");
                Some(failure.to_string())
            }
        };
        self.look();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.status.problem = problem;
        known.writes = outcome.is_ok().then_some(writes);
        outcome.is_ok()
    }

    fn look(&self) {
        let found = self.snapshots.list(&self.registry).unwrap_or_default();
        let own = || found.iter().filter(|snapshot| snapshot.is_own);
        let newest = own().next().map(|snapshot| snapshot.created_at);
        let status = SnapshotStatus {
            directory: self.snapshots.directory.clone(),
            interval: self.interval,
            kept: own().count(),
            newest,
            current_at: newest,
            problem: None,
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).status = status;
    }
}
