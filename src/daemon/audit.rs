//! The audit trail of a daemon: the task that has it written, its signatures, and where else it goes.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc, watch};
use tracing::{error, warn};

use super::journal::Journal;
use crate::audit::{AuditLog as _, Event, Page, Query, RefusalRules, Statement, What};
use crate::clock::UnixTime;
use crate::config::{AuditSection, Config};
use crate::endpoint::Engine;
use crate::jose::SigningKey;
use crate::mqtt::link::Message;
use crate::registry::{AuditHooks, AuditLimits, AuditWrite, Registry, RegistryError, Signer};

/// How long nothing is looked at, at most: the clock may be set, a rotation may end, a window of refusals may close.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How far the clock may be from where it should be, in seconds, without having been set.
const DRIFT: u64 = 5;
/// How long the end of the trail may take to be forwarded when the daemon stops.
const FORWARD_PATIENCE: Duration = Duration::from_secs(2);
/// Entries that are read at once to be forwarded.
const FORWARD_PAGE: usize = 64;

/// What bounds the trail, by the configuration.
#[must_use]
pub fn audit_limits(section: &AuditSection) -> AuditLimits {
    AuditLimits {
        max_entries: section.max_entries,
        max_bytes: section.max_bytes,
        checkpoint_entries: section.checkpoint_entries,
        refusals: RefusalRules { window: section.refusal_window, per_hour: section.refusals_per_hour },
    }
}

/// Signs statements of the trail by the key that `key` gives at that moment.
#[must_use]
pub fn audit_signer(issuer: String, key: impl Fn() -> Option<Arc<SigningKey>> + Send + Sync + 'static) -> Signer {
    Box::new(move |kind, link, now| Statement::new(&issuer, link, now).sign(kind, &key()?).ok())
}

/// The trail in the care of a daemon.
pub(super) struct Audit {
    registry: Arc<Registry>,
    engine: Arc<Engine>,
    waiting: Arc<Notify>,
    written: watch::Receiver<u64>,
    /// The last entry of the run before.
    begins_after: u64,
    flush_interval: Duration,
    checkpoint_interval: Duration,
}

impl Audit {
    /// Takes the trail into care.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn begin(config: &Config, registry: Arc<Registry>, engine: Arc<Engine>) -> Result<Self, RegistryError> {
        let section = &config.file.audit;
        let waiting = Arc::new(Notify::new());
        let (head, written) = watch::channel(0);
        let wake = waiting.clone();
        let journal = section.forward_journald.then(Journal::open);
        // The engine holds the registry, which holds this.
        let signing = Arc::downgrade(&engine);
        let hooks = AuditHooks {
            sign: audit_signer(config.file.issuer.clone(), move || signing.upgrade().map(|engine| engine.keys().active().clone())),
            waiting: Box::new(move || wake.notify_one()),
            written: Box::new(move |entries| {
                if let Some(journal) = &journal {
                    entries.iter().for_each(|sealed| journal.send(sealed));
                }
                head.send_replace(entries.last().map_or(0, |sealed| sealed.entry.seq));
            }),
        };
        registry.keep_audit(audit_limits(section), hooks);
        // What came before was another run's to forward.
        let begins_after = registry.audit_page(Query { newest_first: true, limit: 1, ..Query::default() })?.head;
        Ok(Self {
            registry,
            engine,
            waiting,
            written,
            begins_after,
            flush_interval: Duration::from_secs(section.flush_interval.into()),
            checkpoint_interval: Duration::from_secs(section.checkpoint_interval.into()),
        })
    }

    /// Tells that the daemon serves from now on.
    pub(super) fn started(&self) {
        let kid = self.engine.keys().active().kid().to_owned();
        self.registry.note(Event::of(What::DaemonStarted).version(env!("CARGO_PKG_VERSION")).subject(&kid));
    }

    /// Has what happens written, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut clock = Watch::new();
        let mut signed: Option<(Instant, String)> = None;
        loop {
            // The start is written at once, with a checkpoint: what was there before is signed from then on.
            if signed.is_some() {
                tokio::select! {
                    () = self.waiting.notified() => tokio::time::sleep(self.flush_interval).await,
                    () = tokio::time::sleep(LONGEST_SLEEP) => {}
                }
            }
            if let Some(event) = clock.look() {
                self.registry.note(event);
            }
            let kid = self.engine.keys().active().kid().to_owned();
            let holds = signed.as_ref().is_some_and(|(at, by)| at.elapsed() < self.checkpoint_interval && *by == kid);
            let what = if holds { AuditWrite::Due } else { AuditWrite::Checkpoint };
            let registry = self.registry.clone();
            let outcome = tokio::task::spawn_blocking(move || {
                registry.settle_rotations(UnixTime::from(SystemTime::now()));
                registry.write_audit(what)
            });
            match outcome.await {
                Ok(Ok(())) if holds => {}
                Ok(Ok(())) => signed = Some((Instant::now(), kid)),
                Ok(Err(failure)) => {
                    error!(code = failure.code(), error = %failure, "the audit trail cannot be written; trying again");
                    signed.get_or_insert((Instant::now(), kid));
                }
                // The runtime ends.
                Err(_) => return,
            }
        }
    }

    /// Publishes what is written from now on, at least once each, for as long as `messages` are taken.
    pub(super) async fn forward(self: Arc<Self>, topic: String, messages: mpsc::Sender<Message>, forwarded: watch::Sender<u64>) {
        let mut written = self.written.clone();
        let mut after = self.begins_after;
        loop {
            let Some(page) = self.page(Query { after, limit: FORWARD_PAGE, ..Query::default() }).await else { return };
            for sealed in &page.entries {
                let payload = serde_json::to_vec(sealed).unwrap_or_default();
                if messages.send(Message { topic: topic.clone(), payload }).await.is_err() {
                    return;
                }
            }
            after = page.entries.last().map_or(after, |sealed| sealed.entry.seq);
            forwarded.send_replace(after);
            if page.more_from.is_none() && written.changed().await.is_err() {
                return;
            }
        }
    }

    async fn page(&self, query: Query) -> Option<Page> {
        let registry = self.registry.clone();
        match tokio::task::spawn_blocking(move || registry.audit_page(query)).await {
            Ok(Ok(page)) => Some(page),
            Ok(Err(failure)) => {
                warn!(code = failure.code(), error = %failure, "the audit trail cannot be read: it is not forwarded any more");
                None
            }
            Err(_) => None,
        }
    }

    /// Writes all that is left.
    pub(super) async fn end(&self) {
        let registry = self.registry.clone();
        // It fails only when the runtime ends.
        if let Ok(Err(failure)) = tokio::task::spawn_blocking(move || registry.write_audit(AuditWrite::End)).await {
            error!(code = failure.code(), error = %failure, "the end of the audit trail cannot be written");
        }
    }

    /// Tells of the end of the daemon while there is still somebody to forward it to.
    pub(super) async fn stop(&self, forwarded: Option<watch::Receiver<u64>>) {
        self.registry.note(Event::of(What::DaemonStopped).version(env!("CARGO_PKG_VERSION")));
        self.end().await;
        if let Some(mut forwarded) = forwarded {
            let head = *self.written.borrow();
            let _ = tokio::time::timeout(FORWARD_PATIENCE, forwarded.wait_for(|seq| *seq >= head)).await;
        }
    }
}

/// Notices when the clock is set: it is not where it was and the time since.
struct Watch {
    wall: UnixTime,
    at: Instant,
}

impl Watch {
    fn new() -> Self {
        Self { wall: UnixTime::from(SystemTime::now()), at: Instant::now() }
    }

    fn look(&mut self) -> Option<Event> {
        self.compare(UnixTime::from(SystemTime::now()), Instant::now())
    }

    fn compare(&mut self, wall: UnixTime, at: Instant) -> Option<Event> {
        let expected = self.wall.saturating_add(at.saturating_duration_since(self.at).as_secs());
        *self = Self { wall, at };
        let is_set = wall.as_secs().abs_diff(expected.as_secs()) > DRIFT;
        is_set.then(|| Event { first: Some(expected), last: Some(wall), ..Event::of(What::ClockStepped) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_once() {
        let start = Instant::now();
        let later = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        let at = UnixTime::from_secs;
        let mut watch = Watch { wall: at(1_000), at: start };
        assert_eq!(watch.compare(at(1_060), later(60)), None);
        assert_eq!(watch.compare(at(1_123), later(120)), None, "drift");
        let event = watch.compare(at(5_000), later(180)).unwrap();
        assert_eq!((event.first, event.last), (Some(at(1_183)), Some(at(5_000))));
        assert_eq!(watch.compare(at(5_060), later(240)), None);
        assert!(watch.compare(at(1_000), later(300)).is_some(), "back");
    }
}
