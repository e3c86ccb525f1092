//! What happened on one link: the source of `status`, `top` and the metrics. Counting takes no lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LinkKind;
use super::latency::{Latency, LatencySnapshot};
use crate::clock::UnixTime;
use crate::endpoint::Decision;
use crate::oauth::{Operation, Reason};

/// The word for a CONNECT to the embedded broker, beside the operations of requests.
pub(super) const CONNECT: &str = "connect";
/// The word for an operation that is not served.
pub(super) const UNKNOWN: &str = "unknown";

/// What happened on a link since the start.
#[derive(Debug)]
pub struct Counters {
    /// In the order of [`Operation::ALL`].
    operations: [Outcomes; Operation::ALL.len()],
    unknown: Outcomes,
    connects: Outcomes,
    /// In the order of [`Reason::ALL`].
    refusals: [AtomicU64; Reason::ALL.len()],
    latency: Latency,
    tokens: AtomicU64,
    shed: AtomicU64,
    ignored: AtomicU64,
    connections: AtomicU64,
    disconnections: AtomicU64,
    turned_away: AtomicU64,
    changed_at: AtomicU64,
    closed: AtomicU64,
}

#[derive(Debug)]
struct Outcomes {
    accepted: AtomicU64,
    rejected: AtomicU64,
}

impl Outcomes {
    const fn none() -> Self {
        Self { accepted: AtomicU64::new(0), rejected: AtomicU64::new(0) }
    }

    fn count(&self, accepted: bool) {
        increment(if accepted { &self.accepted } else { &self.rejected });
    }
}

/// The counters at one moment, in short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersSnapshot {
    /// Requests accepted.
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
    /// Tokens issued.
    #[serde(default)]
    pub tokens: u64,
    /// Connections that the user's own broker closed while they served, as when another client takes the session over.
    #[serde(default)]
    pub closed: u64,
}

/// The counters of one link at one moment, in full.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkMetrics {
    /// Which link, in the word of the log.
    pub link: String,
    /// The sums.
    pub counters: CountersSnapshot,
    /// Outcomes by operation, in the words of the log.
    pub operations: Vec<OperationCounts>,
    /// Refusals by reason: every reason there is.
    pub refusals: BTreeMap<String, u64>,
    /// How long the engine took for token requests.
    pub latency: LatencySnapshot,
    /// Connections to the broker that were lost.
    pub disconnections: u64,
    /// Connections of devices that were not let in because of a limit.
    pub turned_away: u64,
}

/// The outcomes of one operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationCounts {
    /// Its word.
    pub operation: String,
    /// How many were accepted.
    pub accepted: u64,
    /// How many were refused.
    pub rejected: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            operations: [const { Outcomes::none() }; Operation::ALL.len()],
            unknown: Outcomes::none(),
            connects: Outcomes::none(),
            refusals: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            latency: Latency::default(),
            tokens: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            disconnections: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            changed_at: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// A request was answered, for which the engine took so long.
    pub(super) fn count_answer(&self, operation: Option<Operation>, decision: &Decision, took: Duration) {
        self.outcomes(operation).count(decision.is_accepted());
        match decision {
            Decision::Issued { .. } => increment(&self.tokens),
            Decision::Refused(refusal) => self.count_refusal(refusal.reason()),
            _ => {}
        }
        if operation == Some(Operation::Token) {
            self.latency.count(took);
        }
    }

    /// A device asked to connect to the embedded broker.
    pub fn count_connect(&self, outcome: Result<(), Reason>) {
        self.connects.count(outcome.is_ok());
        match outcome {
            Ok(()) => self.count_connection(),
            Err(reason) => self.count_refusal(reason),
        }
    }

    /// A message was no request.
    pub(super) fn count_ignored(&self) {
        increment(&self.ignored);
    }

    /// A request, or its answer, was dropped.
    pub fn count_shed(&self) {
        increment(&self.shed);
    }

    /// A connection was made.
    pub fn count_connection(&self) {
        increment(&self.connections);
    }

    /// The broker closed a connection that served.
    pub(super) fn count_closed(&self) {
        increment(&self.closed);
    }

    /// The connection to the broker was lost.
    pub fn count_disconnection(&self) {
        increment(&self.disconnections);
    }

    /// A device's connection was not let in because of a limit.
    pub fn count_turned_away(&self) {
        increment(&self.turned_away);
    }

    /// The state of the link is another one since that time.
    pub fn note_change(&self, now: UnixTime) {
        self.changed_at.store(now.as_secs(), Ordering::Relaxed);
    }

    /// Since when the state of the link is what it is, if that was noted.
    #[must_use]
    pub fn changed_at(&self) -> Option<UnixTime> {
        Some(read(&self.changed_at)).filter(|seconds| *seconds > 0).map(UnixTime::from_secs)
    }

    /// The counters now, in short.
    #[must_use]
    pub fn snapshot(&self) -> CountersSnapshot {
        let requests = || self.operations.iter().chain([&self.unknown]);
        let sum = |of: fn(&Outcomes) -> &AtomicU64| requests().fold(0_u64, |sum, outcomes| sum.saturating_add(read(of(outcomes))));
        CountersSnapshot {
            accepted: sum(|outcomes| &outcomes.accepted),
            rejected: sum(|outcomes| &outcomes.rejected),
            overloaded: self.refusal(Reason::Overloaded).map(read).unwrap_or_default(),
            shed: read(&self.shed),
            ignored: read(&self.ignored),
            connections: read(&self.connections),
            tokens: read(&self.tokens),
            closed: read(&self.closed),
        }
    }

    /// The counters of a link of that kind now, in full.
    #[must_use]
    pub fn metrics(&self, link: LinkKind) -> LinkMetrics {
        let row = |operation: &str, outcomes: &Outcomes| OperationCounts {
            operation: operation.to_owned(),
            accepted: read(&outcomes.accepted),
            rejected: read(&outcomes.rejected),
        };
        let served = Operation::ALL.iter().zip(&self.operations).map(|(operation, outcomes)| row(operation.as_str(), outcomes));
        // Nobody connects to the gateway through a broker of the user's own.
        let connects = (link == LinkKind::EmbeddedBroker).then(|| row(CONNECT, &self.connects));
        LinkMetrics {
            link: link.as_str().to_owned(),
            counters: self.snapshot(),
            operations: served.chain([row(UNKNOWN, &self.unknown)]).chain(connects).collect(),
            refusals: Reason::ALL.iter().zip(&self.refusals).map(|(reason, count)| (reason.name().to_owned(), read(count))).collect(),
            latency: self.latency.snapshot(),
            disconnections: read(&self.disconnections),
            turned_away: read(&self.turned_away),
        }
    }

    fn outcomes(&self, operation: Option<Operation>) -> &Outcomes {
        operation.and_then(|operation| self.operations.get(operation as usize)).unwrap_or(&self.unknown)
    }

    fn refusal(&self, reason: Reason) -> Option<&AtomicU64> {
        self.refusals.get(reason as usize)
    }

    fn count_refusal(&self, reason: Reason) {
        if let Some(counter) = self.refusal(reason) {
            increment(counter);
        }
    }
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::Refusal;

    #[test]
    fn lists_are_in_the_order_of_their_numbers() {
        assert!(Operation::ALL.iter().enumerate().all(|(index, operation)| *operation as usize == index));
        assert!(Reason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
    }

    #[test]
    fn each_outcome_is_counted_once_under_its_names() {
        let counters = Counters::default();
        let took = Duration::from_micros(20);
        let issued = Decision::Issued { jti: "j".into(), audience: "a".into(), scope: "s".into(), lifetime: 1 };
        counters.count_answer(Some(Operation::Token), &issued, took);
        counters.count_answer(Some(Operation::Token), &Decision::Repeated { accepted: true }, took);
        counters.count_answer(Some(Operation::Token), &Decision::Refused(Refusal::invalid_client(Reason::WrongSecret)), took);
        counters.count_answer(Some(Operation::Nonce), &Decision::NonceGiven, took);
        counters.count_answer(None, &Decision::Refused(Refusal::overloaded(5)), took);
        counters.count_connect(Ok(()));
        counters.count_connect(Err(Reason::WrongSecret));
        let expected =
            CountersSnapshot { accepted: 3, rejected: 2, overloaded: 1, connections: 1, tokens: 1, ..CountersSnapshot::default() };
        assert_eq!(counters.snapshot(), expected);
        let metrics = counters.metrics(LinkKind::EmbeddedBroker);
        let of = |name: &str| metrics.operations.iter().find(|row| row.operation == name).map(|row| (row.accepted, row.rejected));
        assert_eq!((of("token"), of("nonce"), of("unknown"), of("connect")), (Some((2, 1)), Some((1, 0)), Some((0, 1)), Some((1, 1))));
        let refused: Vec<_> =
            metrics.refusals.iter().filter(|(_, count)| **count > 0).map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(refused, [("overloaded", 1), ("wrong_secret", 2)]);
        assert_eq!(metrics.refusals.len(), Reason::ALL.len());
        assert_eq!(metrics.latency.count(), 3, "of token requests alone");
        assert!(counters.metrics(LinkKind::Broker).operations.iter().all(|row| row.operation != CONNECT));
    }
}
