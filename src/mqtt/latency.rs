//! How long requests took: a histogram of fixed bounds, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets in microseconds: from a fraction of a signature to what nobody should wait for. One more bucket has no bound.
const BOUNDS: [u64; 13] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// A histogram that is being filled.
#[derive(Debug, Default)]
pub(super) struct Latency {
    buckets: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Latency {
    /// Counts one that took so long: two additions.
    pub(super) fn count(&self, took: Duration) {
        let microseconds = took.as_micros();
        let slot = BOUNDS.iter().zip(&self.buckets).find(|(bound, _)| microseconds <= u128::from(**bound));
        slot.map_or(&self.beyond, |(_, bucket)| bucket).fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> LatencySnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LatencySnapshot {
            bounds: BOUNDS.to_vec(),
            counts: self.buckets.iter().map(read).chain([read(&self.beyond)]).collect(),
            nanoseconds: read(&self.nanoseconds),
        }
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencySnapshot {
    /// Upper bounds of the buckets in microseconds, in rising order.
    pub bounds: Vec<u64>,
    /// How many fell into each bucket and, last, beyond all of them.
    pub counts: Vec<u64>,
    /// All of them together, in nanoseconds.
    pub nanoseconds: u64,
}

impl LatencySnapshot {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What was counted after `earlier`, a snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        Self {
            bounds: self.bounds.clone(),
            counts: self.counts.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect(),
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
        }
    }

    /// Adds what another histogram of the same bounds counted.
    pub fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            *self = other.clone();
            return;
        }
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum = sum.saturating_add(*count);
        }
        self.nanoseconds = self.nanoseconds.saturating_add(other.nanoseconds);
    }

    /// The time, in seconds, that a share of them (0 to 1) did not exceed, as near as the buckets tell; `None` if there were none.
    /// Past the last bound, that bound.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * total as f64;
        let (mut below, mut lower) = (0_u64, 0_u64);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            let upto = below.saturating_add(*count);
            if *count > 0 && upto as f64 >= rank {
                let within = (rank - below as f64).max(0.0) / *count as f64;
                return Some((lower as f64 + (bound.saturating_sub(lower)) as f64 * within) / 1e6);
            }
            (below, lower) = (upto, *bound);
        }
        self.bounds.last().map(|bound| *bound as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_falls_into_the_bucket_of_its_bound() {
        let latency = Latency::default();
        for (microseconds, times) in [(0, 1), (10, 1), (11, 2), (1_000_000, 1), (1_000_001, 3)] {
            (0..times).for_each(|_| latency.count(Duration::from_micros(microseconds)));
        }
        let snapshot = latency.snapshot();
        let mut expected = vec![0; BOUNDS.len() + 1];
        (expected[0], expected[1], expected[12], expected[13]) = (2, 2, 1, 3);
        assert_eq!((snapshot.counts.clone(), snapshot.count()), (expected, 8));
        assert_eq!(snapshot.nanoseconds, (10 + 22 + 1_000_000 + 3_000_003) * 1_000);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn quantiles_are_as_near_as_the_buckets_tell() {
        let latency = Latency::default();
        assert_eq!(latency.snapshot().quantile(0.5), None);
        (0..98).for_each(|_| latency.count(Duration::from_micros(30)));
        (0..2).for_each(|_| latency.count(Duration::from_micros(2_000)));
        let snapshot = latency.snapshot();
        let within = |share, low, high| {
            let found = snapshot.quantile(share).unwrap();
            assert!((low..=high).contains(&found), "{share}: {found}");
        };
        within(0.0, 25e-6, 25e-6);
        within(0.5, 25e-6, 50e-6);
        within(0.98, 50e-6, 50e-6);
        within(0.99, 1_000e-6, 2_500e-6);
        within(1.0, 2_500e-6, 2_500e-6);
        latency.count(Duration::from_secs(9));
        assert_eq!(latency.snapshot().since(&snapshot).quantile(0.5), Some(1.0), "past all bounds");
    }

    #[test]
    fn intervals_and_links_add_up() {
        let latency = Latency::default();
        latency.count(Duration::from_micros(30));
        let earlier = latency.snapshot();
        latency.count(Duration::from_micros(40));
        let mut sum = LatencySnapshot::default();
        sum.add(&latency.snapshot().since(&earlier));
        assert_eq!((sum.count(), sum.nanoseconds), (1, 40_000));
        sum.add(&earlier);
        assert_eq!(sum, latency.snapshot());
        assert_eq!(latency.snapshot().since(&LatencySnapshot::default()), latency.snapshot());
    }
}
