//! Counters of one link, for `status`.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What happened on a link since the start.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    rejected: AtomicU64,
    overloaded: AtomicU64,
    shed: AtomicU64,
    ignored: AtomicU64,
    connections: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersSnapshot {
    /// Tokens issued.
    pub accepted: u64,
    /// Requests refused, those for overload included.
    pub rejected: u64,
    /// Requests answered `temporarily_unavailable` because the queue was full.
    pub overloaded: u64,
    /// Requests dropped without an answer because not even that could be queued.
    pub shed: u64,
    /// Messages on the subscribed topics that are no requests.
    pub ignored: u64,
    /// Connections: to the broker for its link, from devices for the embedded broker.
    pub connections: u64,
}

impl Counters {
    /// A request was answered.
    pub(super) fn count_answer(&self, accepted: bool, overloaded: bool) {
        let counter = if accepted { &self.accepted } else { &self.rejected };
        counter.fetch_add(1, Ordering::Relaxed);
        if overloaded {
            self.overloaded.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A message was no request.
    pub(super) fn count_ignored(&self) {
        self.ignored.fetch_add(1, Ordering::Relaxed);
    }

    /// A request, or its answer, was dropped.
    pub fn count_shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was made.
    pub fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> CountersSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountersSnapshot {
            accepted: read(&self.accepted),
            rejected: read(&self.rejected),
            overloaded: read(&self.overloaded),
            shed: read(&self.shed),
            ignored: read(&self.ignored),
            connections: read(&self.connections),
        }
    }
}
