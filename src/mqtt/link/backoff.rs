//! Waits between connections.

use std::time::Duration;

/// A wait below this would be a busy loop.
const FLOOR: Duration = Duration::from_millis(10);

/// Waits that double from one failure to the next, each cut by a random part of its second half.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        let min = min.max(FLOOR);
        Self { min, max: max.max(min), next: min }
    }

    /// Begins anew after a connection that held. One that lasted no longer than the waits did not: so it goes when two clients with one
    /// client identifier throw each other out.
    pub(super) fn observe(&mut self, uptime: Duration) {
        if uptime > self.max.saturating_mul(2) {
            self.next = self.min;
        }
    }

    /// The next wait.
    pub(super) fn next_wait(&mut self) -> Duration {
        let mut random = [u8::MAX];
        // Without random bytes the wait is merely not spread.
        let _ = getrandom::fill(&mut random);
        let half = self.next.div_f64(2.0);
        let wait = half.saturating_add(half.mul_f64(f64::from(u8::from_ne_bytes(random)) / 255.0));
        self.next = self.next.saturating_mul(2).min(self.max);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_to_the_maximum() {
        let mut backoff = Backoff::new(SECOND, SECOND.saturating_mul(60));
        for full in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let (wait, full) = (backoff.next_wait(), SECOND.saturating_mul(full));
            assert!(wait <= full && wait >= full.div_f64(2.0), "{wait:?} for {full:?}");
        }
    }

    #[test]
    fn only_a_connection_that_held_resets() {
        let mut backoff = Backoff::new(SECOND, SECOND.saturating_mul(8));
        for _ in 0..4 {
            let _ = backoff.next_wait();
        }
        backoff.observe(SECOND.saturating_mul(8));
        assert!(backoff.next_wait() >= SECOND.saturating_mul(4));
        backoff.observe(SECOND.saturating_mul(17));
        assert!(backoff.next_wait() <= SECOND);
    }

    #[test]
    fn odd_settings_do_no_harm() {
        let mut backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        assert!(backoff.next_wait() >= FLOOR.div_f64(2.0));
        let mut backoff = Backoff::new(Duration::MAX, SECOND);
        assert!(backoff.next_wait() >= SECOND);
        assert!(backoff.next_wait() >= SECOND);
    }
}
