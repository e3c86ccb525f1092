//! How often things happen: the counters of a minute ago beside those of now.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::admin::Rates;
use crate::mqtt::{CountersSnapshot, Gateway};

/// Between two looks at the counters.
const INTERVAL: Duration = Duration::from_secs(10);
/// Looks that are remembered: one minute, and the interval that is under way.
const SAMPLES: usize = 7;

/// What the counters were.
#[derive(Default)]
pub(super) struct History(Mutex<VecDeque<(Instant, CountersSnapshot)>>);

impl History {
    /// Takes notice of the counters.
    pub(super) fn note(&self, at: Instant, counters: CountersSnapshot) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((at, counters));
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    /// What happened on average since the oldest of them; `None` within the first second.
    pub(super) fn rates(&self, at: Instant, now: CountersSnapshot) -> Option<Rates> {
        let (since, then) = *self.0.lock().unwrap_or_else(PoisonError::into_inner).front()?;
        let elapsed = at.saturating_duration_since(since);
        if elapsed < Duration::from_secs(1) {
            return None;
        }
        let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / elapsed.as_secs_f64() * 1e3).round() / 1e3;
        let requests = |counters: CountersSnapshot| counters.accepted.saturating_add(counters.rejected);
        Some(Rates {
            seconds: elapsed.as_secs(),
            requests: rate(requests(now), requests(then)),
            refusals: rate(now.rejected, then.rejected),
            tokens: rate(now.tokens, then.tokens),
        })
    }
}

/// The sums of all links.
pub(super) fn sum<'a>(links: impl Iterator<Item = &'a Arc<Gateway>>) -> CountersSnapshot {
    links.map(|gateway| gateway.counters().snapshot()).fold(CountersSnapshot::default(), |sum, link| CountersSnapshot {
        accepted: sum.accepted.saturating_add(link.accepted),
        rejected: sum.rejected.saturating_add(link.rejected),
        tokens: sum.tokens.saturating_add(link.tokens),
        ..sum
    })
}

/// Looks at the counters for ever.
pub(super) async fn keep(history: Arc<History>, links: Vec<Arc<Gateway>>) {
    loop {
        history.note(Instant::now(), sum(links.iter()));
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_minute() {
        let history = History::default();
        let start = Instant::now();
        let at = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        let counters = |accepted, rejected| CountersSnapshot { accepted, rejected, tokens: accepted, ..CountersSnapshot::default() };
        assert_eq!(history.rates(start, counters(1, 1)), None);
        for minute in 0..20 {
            history.note(at(minute * 10), counters(minute * 20, minute * 10));
            assert_eq!(history.rates(at(minute * 10), counters(0, 0)).is_none(), minute == 0);
        }
        let expected = Rates { seconds: 65, requests: 3.0, refusals: 1.0, tokens: 2.0 };
        assert_eq!(history.rates(at(195), counters(20 * 13 + 130, 10 * 13 + 65)), Some(expected));
    }
}
