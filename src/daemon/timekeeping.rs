//! The clock of this host, as far as it is to be trusted.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use tracing::{info, warn};

use super::Links;
use super::vitals::built_at;
use crate::admin::ClockStatus;
use crate::audit::{AuditLog as _, Event, What};
use crate::clock::{Bounds, Confidence, Issuance, Reading, Standing, Timekeeper, UnixTime, Verdict};
use crate::config::ClockSection;
use crate::registry::Registry;

/// How often the mark of the time service is looked at. Requests read the clock alone.
const LOOK: Duration = Duration::from_secs(5);

/// The clock of this host.
pub(super) struct HostClock {
    state: Mutex<State>,
}

struct State {
    section: ClockSection,
    keeper: Timekeeper,
    compared_at: Option<Duration>,
}

impl HostClock {
    /// Looks at it for the first time. `newest_record` is the newest time that it is known to have shown.
    pub(super) fn new(section: &ClockSection, newest_record: UnixTime) -> Arc<Self> {
        let bounds = Bounds { built_at: built_at(), newest_record, holdover: Duration::from_secs(section.holdover_limit.into()) };
        let compared_at = compared_at(&section.synchronised_file);
        let state = State { section: section.clone(), keeper: Timekeeper::new(bounds), compared_at };
        let clock = Arc::new(Self { state: Mutex::new(state) });
        clock.tell(clock.look(), "the clock");
        clock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by other settings from now on.
    pub(super) fn set(&self, section: &ClockSection) {
        let mut state = self.state();
        state.keeper.set_holdover(Duration::from_secs(section.holdover_limit.into()));
        state.section = section.clone();
    }

    fn issuance(&self, confidence: Confidence) -> Issuance {
        self.state().section.issuance(confidence)
    }

    fn look(&self) -> Verdict {
        let mut state = self.state();
        // Both under the lock: readings have an order.
        let since_boot = clock_gettime(ClockId::Boottime);
        let boot = Duration::new(since_boot.tv_sec.try_into().unwrap_or_default(), since_boot.tv_nsec.try_into().unwrap_or_default());
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let compared_at = state.compared_at;
        state.keeper.look(Reading { wall, boot, compared_at })
    }

    /// The time. It never goes back.
    pub(super) fn now(&self) -> UnixTime {
        self.look().now
    }

    /// A time that has come for certain: what is forgotten by it was over.
    pub(super) fn settled(&self) -> UnixTime {
        self.look().settled
    }

    /// How far it is trusted, and what becomes of requests.
    pub(super) fn standing(&self) -> Standing {
        let confidence = self.look().confidence;
        Standing { confidence, issuance: self.issuance(confidence) }
    }

    pub(super) fn status(&self) -> ClockStatus {
        let verdict = self.look();
        ClockStatus {
            now: verdict.now,
            confidence: verdict.confidence,
            issues: !matches!(self.issuance(verdict.confidence), Issuance::Refuse { .. }),
            behind: if verdict.confidence == Confidence::Unset { verdict.behind } else { 0 },
        }
    }

    fn tell(&self, verdict: Verdict, what: &str) {
        let Verdict { now, confidence, behind, .. } = verdict;
        let issuance = match self.issuance(confidence) {
            Issuance::Issue => "issued",
            Issuance::Shorten { .. } => "issued with a shortened life",
            Issuance::FromFirstSight { .. } => "issued, and live from when they are first seen",
            Issuance::Refuse { .. } => "refused",
        };
        let (confidence_word, time) = (confidence.as_str(), now.to_string());
        if confidence == Confidence::Unset {
            warn!(
                confidence = confidence_word,
                behind,
                "{what} shows a time that is certainly past: set it, or see why the time servers do not answer. Tokens are {issuance} meanwhile"
            );
        } else {
            info!(confidence = confidence_word, time, "{what} is trusted as far as this; tokens are {issuance}");
        }
    }

    /// Looks at the mark of the time service, and tells everybody when the clock is trusted more or less than before, for ever.
    pub(super) async fn watch(self: Arc<Self>, registry: Arc<Registry>, links: Arc<Links>) {
        let mut before = self.look().confidence;
        loop {
            tokio::time::sleep(LOOK).await;
            let (clock, file) = (self.clone(), self.state().section.synchronised_file.clone());
            let looked = tokio::task::spawn_blocking(move || {
                let compared_at = compared_at(&file);
                clock.state().compared_at = compared_at;
                clock.look()
            });
            // It fails only when the runtime ends.
            let Ok(verdict) = looked.await else { return };
            if verdict.confidence != before {
                self.tell(verdict, "the clock");
                registry.note(Event::of(What::ClockConfidence).outcome(verdict.confidence.as_str()).reason(before.as_str()));
                before = verdict.confidence;
                links.announce();
            }
        }
    }
}

/// When the time service of this host last compared the clock, by its mark.
fn compared_at(file: &Path) -> Option<Duration> {
    if file.as_os_str().is_empty() {
        return None;
    }
    std::fs::metadata(file).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_the_time_service_makes_the_clock_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let section = ClockSection { synchronised_file: directory.path().join("synchronized"), ..ClockSection::default() };
        let clock = HostClock::new(&section, UnixTime::default());
        assert_eq!(clock.standing(), Standing { confidence: Confidence::Floor, issuance: Issuance::Issue });
        std::fs::write(&section.synchronised_file, "").unwrap();
        let clock = HostClock::new(&section, UnixTime::default());
        assert_eq!(clock.standing().confidence, Confidence::Synced);
        assert!(clock.now() >= built_at() && clock.settled() <= clock.now());
    }

    #[test]
    fn deny_tokens_before_the_newest_record() {
        let section = ClockSection { synchronised_file: Default::default(), ..ClockSection::default() };
        let future = UnixTime::from(SystemTime::now()).saturating_add(86_400);
        let clock = HostClock::new(&section, future);
        assert_eq!(clock.standing(), Standing { confidence: Confidence::Unset, issuance: Issuance::Refuse { retry_after: 30 } });
        let status = clock.status();
        assert!(!status.issues && (86_300..=86_400).contains(&status.behind) && status.now >= future, "{status:?}");
    }
}
