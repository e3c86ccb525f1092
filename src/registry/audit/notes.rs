//! What waits to be written to the trail.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::{AuditHooks, AuditLimits};
use crate::audit::{Event, RefusalRules, Refusals, What};
use crate::clock::UnixTime;

/// Events that wait, at most: more than happens in the time of a slow write.
const MAX_NOTES: usize = 1_024;

/// What waits to be written, and by what rules it will be.
pub(in super::super) struct Notes {
    waiting: Mutex<Waiting>,
    refusals: Mutex<Refusals>,
    pub(super) rules: OnceLock<(AuditLimits, AuditHooks)>,
    pub(super) last_checkpoint: Mutex<Option<String>>,
}

#[derive(Default)]
struct Waiting {
    events: Vec<(UnixTime, Event)>,
    /// How many there was no room for.
    lost: u64,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            refusals: Mutex::new(Refusals::new(RefusalRules::default())),
            rules: OnceLock::new(),
            last_checkpoint: Mutex::default(),
        }
    }
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        if let Some((_, hooks)) = self.rules.get() {
            (hooks.waiting)();
        }
    }

    pub(in super::super) fn push(&self, time: UnixTime, event: Event) {
        let mut waiting = self.lock();
        if waiting.events.len() < MAX_NOTES {
            waiting.events.push((time, event));
        } else {
            waiting.lost = waiting.lost.saturating_add(1);
        }
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.lock().events.is_empty()
    }

    /// Counts what refusals are left, at the end.
    pub(in super::super) fn end(&self, now: UnixTime) {
        for event in self.refusals().take_all(now) {
            self.push(now, event);
        }
    }

    /// All that waits, to be written.
    pub(in super::super) fn take(&self) -> Vec<(UnixTime, Event)> {
        let mut waiting = self.lock();
        let lost = std::mem::take(&mut waiting.lost);
        let mut events = std::mem::take(&mut waiting.events);
        if let Some((time, _)) = events.last().filter(|_| lost > 0).cloned() {
            events.push((time, Event::of(What::EventsLost).counted(lost, time, time)));
        }
        events
    }

    /// What could not be written waits again, before all else.
    pub(in super::super) fn put_back(&self, mut events: Vec<(UnixTime, Event)>) {
        let mut waiting = self.lock();
        let room = MAX_NOTES.saturating_sub(events.len());
        let over = waiting.events.len().saturating_sub(room);
        waiting.lost = waiting.lost.saturating_add(u64::try_from(over).unwrap_or(u64::MAX));
        waiting.events.truncate(room);
        events.append(&mut waiting.events);
        waiting.events = events;
    }
}
