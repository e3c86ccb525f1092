//! How much is written to the disk: cards wear out by it, and a gateway that writes much does what it should not.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::reload::Reloader;
use super::source::Source;
use crate::admin::WearStatus;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(60);
/// The steps by which the last day moves on.
const STEP: u64 = 3_600;
/// So many make a day.
const STEPS: u64 = 24;

/// What was written within a day: a state machine of values.
#[derive(Debug, Default)]
struct Day {
    /// For each hour of the last day the count at its first look, the oldest first.
    hours: VecDeque<(u64, u64)>,
    /// Bytes of the last day.
    written: u64,
    is_beyond: bool,
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The budget was kept until now.
    Beyond,
    /// It is kept again.
    Within,
    /// As before.
    Same,
}

impl Day {
    /// `written` is the process's count since it started, `uptime` the seconds since then. Returns what is of the last day.
    fn see(&mut self, uptime: u64, written: u64) -> u64 {
        let hour = uptime / STEP;
        if self.hours.is_empty() {
            // What was written before the first look is of this day as well.
            self.hours.push_back((hour, 0));
        } else if self.hours.back().is_some_and(|(last, _)| *last < hour) {
            self.hours.push_back((hour, written));
        }
        while self.hours.len() > 1 && self.hours.front().is_some_and(|(first, _)| first.saturating_add(STEPS) <= hour) {
            self.hours.pop_front();
        }
        let before = self.hours.front().map_or(0, |(_, count)| *count);
        self.written = written.saturating_sub(before);
        self.written
    }

    /// Compares with the budget; 0 is none.
    fn judge(&mut self, budget: u64) -> Turn {
        let is_beyond = WearStatus { day: self.written, budget }.is_beyond();
        let was_beyond = std::mem::replace(&mut self.is_beyond, is_beyond);
        match (was_beyond, self.is_beyond) {
            (false, true) => Turn::Beyond,
            (true, false) => Turn::Within,
            _ => Turn::Same,
        }
    }
}

/// What was written within the last day, as `status` tells it.
#[derive(Debug, Default)]
pub(super) struct Wear(Mutex<Day>);

impl Wear {
    fn day(&self) -> MutexGuard<'_, Day> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the status.
    pub(super) fn status(&self, budget: u64) -> WearStatus {
        WearStatus { day: self.day().written, budget }
    }

    fn look(&self, uptime: u64, written: u64, budget: u64) -> Turn {
        let mut day = self.day();
        day.see(uptime, written);
        day.judge(budget)
    }
}

/// Looks every minute, for ever, and warns once when the budget is spent.
pub(super) async fn watch(source: Arc<Source>, reloader: Arc<Reloader>) {
    let started = Instant::now();
    loop {
        let Some(written) = source.written_bytes() else { return };
        let budget = reloader.daily_writes();
        match source.wear.look(started.elapsed().as_secs(), written, budget) {
            Turn::Beyond => warn!(
                bytes = source.wear.status(budget).day,
                budget,
                "more was written to the disk within a day than check.daily-writes allows: a card wears out by it; `credgate audit tail` tells of changes"
            ),
            Turn::Within => info!(budget, "no more is written to the disk within a day than check.daily-writes allows"),
            Turn::Same => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_moves_on_by_hours() {
        let mut day = Day::default();
        assert_eq!(day.see(0, 5), 5);
        assert_eq!(day.see(60, 7), 7);
        for hour in 1..=23 {
            assert_eq!(day.see(hour * STEP, 7 + hour), 7 + hour);
        }
        assert_eq!(day.see(24 * STEP, 31), 23, "the first hour's are of yesterday");
        assert_eq!(day.see(24 * STEP + 60, 1_031), 1_023);
        assert_eq!(day.see(48 * STEP, 1_031), 0);
        assert!(day.hours.len() <= 25);
        assert_eq!(day.see(1_000 * STEP, 1_031), 0, "after a sleep as well");
        assert_eq!(day.see(1_000 * STEP + 1, 1_040), 9);
    }

    #[test]
    fn the_budget_is_told_once_each_time() {
        let wear = Wear::default();
        let turns: Vec<Turn> = [(0, 10), (60, 101), (120, 200), (STEP * 24, 200), (STEP * 48, 200), (STEP * 48 + 60, 400)]
            .into_iter()
            .map(|(uptime, written)| wear.look(uptime, written, 100))
            .collect();
        assert_eq!(turns, [Turn::Same, Turn::Beyond, Turn::Same, Turn::Within, Turn::Same, Turn::Beyond]);
        assert_eq!(wear.status(100), WearStatus { day: 200, budget: 100 });
        assert_eq!(wear.look(STEP * 48 + 120, 10_000, 0), Turn::Within, "no budget, no warning");
    }
}
