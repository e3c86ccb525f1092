//! How far the host's clock is to be trusted, and a time made of it that never goes back: a state machine of values.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::UnixTime;

/// How far the clock may be behind a time that is certainly past, or behind the engine, before it is taken for wrong. Clocks are corrected by
/// seconds, and another host's record may be a little ahead.
pub const TOLERANCE: Duration = Duration::from_secs(300);
/// How far the clock may be from where it should be without having been set.
const STEP: Duration = Duration::from_secs(5);
/// How long a comparison with a time server counts as one of now. Time services ask every 34 minutes at the latest, and a few answers may be lost.
const FRESH: Duration = Duration::from_secs(7_200);

/// How far the clock is to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// It shows a time that is certainly past.
    Unset,
    /// It shows a time that is possible, and nobody vouches for it.
    Floor,
    /// It was compared with a time server since the host started, some time ago.
    Holdover,
    /// It is compared with a time server.
    Synced,
}

impl Confidence {
    /// Every state, the least trust first.
    pub const ALL: &'static [Self] = &[Self::Unset, Self::Floor, Self::Holdover, Self::Synced];

    /// The word for log, commands and the status topic.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Floor => "floor",
            Self::Holdover => "holdover",
            Self::Synced => "synced",
        }
    }
}

/// What becomes of a request for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuance {
    /// The token is issued.
    Issue,
    /// It lives no longer than this.
    Shorten {
        /// Seconds.
        lifetime: u32,
    },
    /// The token lives from when its resource server first sees it (RFC 9200 section 5.10.3), no longer than this.
    FromFirstSight {
        /// Seconds.
        lifetime: u32,
    },
    /// There is none for now.
    Refuse {
        /// Seconds after which to ask again.
        retry_after: u32,
    },
}

/// The clock's state, and what becomes of requests in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How far it is trusted.
    pub confidence: Confidence,
    /// What becomes of a request for a token.
    pub issuance: Issuance,
}

/// What the host says of the time, all at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The clock: since 1970.
    pub wall: Duration,
    /// Since the host started, sleep included, whatever the clock did.
    pub boot: Duration,
    /// When the clock was last compared with a time server, by itself: since 1970.
    pub compared_at: Option<Duration>,
}

/// What is certain before the clock is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// When the program was made: no clock that shows a time before is right.
    pub built_at: UnixTime,
    /// The newest time in a record. It was written by this host's clock, which may have been wrong then: a time server knows better.
    pub newest_record: UnixTime,
    /// How long the clock is trusted after the last comparison with a time server.
    pub holdover: Duration,
}

/// What is made of a [`Reading`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The time for the engine: never before one that it was told.
    pub now: UnixTime,
    /// A time that has certainly come, unless the host started with a clock that was ahead: no step of the clock that nobody vouched for is in it.
    pub settled: UnixTime,
    /// How far the clock is trusted.
    pub confidence: Confidence,
    /// Seconds by which the clock is behind `now`.
    pub behind: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Timekeeper {
    bounds: Bounds,
    last: Option<Kept>,
}

/// What is kept from one reading to the next.
#[derive(Debug, Clone, Copy)]
struct Kept {
    reading: Reading,
    /// The engine's time, since 1970.
    time: Duration,
    settled: Duration,
    /// When the clock was last compared, since the host started.
    compared: Option<Duration>,
}

impl Timekeeper {
    /// Before the first reading.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, last: None }
    }

    /// From now on a clock is trusted for so long after it was last compared.
    pub fn set_holdover(&mut self, holdover: Duration) {
        self.bounds.holdover = holdover;
    }

    /// Takes a reading.
    pub fn look(&mut self, reading: Reading) -> Verdict {
        let mut kept = self.last.map_or_else(|| self.begin(reading), |last| advance(&last, reading));
        let confidence = self.confidence(&kept);
        // A clock that somebody vouches for has settled what time it is.
        if confidence >= Confidence::Holdover {
            kept.settled = kept.time;
        }
        self.last = Some(kept);
        Verdict {
            now: UnixTime::from_secs(kept.time.as_secs()),
            settled: UnixTime::from_secs(kept.settled.as_secs()),
            confidence,
            behind: kept.time.saturating_sub(reading.wall).as_secs(),
        }
    }

    fn begin(&self, reading: Reading) -> Kept {
        let ago = reading.compared_at.and_then(|at| reading.wall.checked_sub(at));
        let compared = ago.and_then(|ago| reading.boot.checked_sub(ago));
        let is_fresh = compared.is_some() && ago <= Some(FRESH);
        let records = if is_fresh { UnixTime::default() } else { self.bounds.newest_record };
        let floor = Duration::from_secs(self.bounds.built_at.max(records).as_secs());
        let time = reading.wall.max(floor);
        Kept { reading, time, settled: time, compared }
    }

    fn confidence(&self, kept: &Kept) -> Confidence {
        let Kept { reading, time, compared, .. } = kept;
        if time.saturating_sub(reading.wall) > TOLERANCE {
            return Confidence::Unset;
        }
        match compared.map(|at| reading.boot.saturating_sub(at)) {
            Some(ago) if ago <= FRESH => Confidence::Synced,
            Some(ago) if ago <= self.bounds.holdover => Confidence::Holdover,
            _ => Confidence::Floor,
        }
    }
}

fn advance(last: &Kept, reading: Reading) -> Kept {
    let elapsed = reading.boot.saturating_sub(last.reading.boot);
    let is_set = reading.wall.abs_diff(last.reading.wall.saturating_add(elapsed)) > STEP;
    let is_compared = reading.compared_at.is_some() && reading.compared_at != last.reading.compared_at;
    let compared = match (is_compared, is_set) {
        (true, _) => Some(reading.boot),
        // Whoever set it, what was known of it is of no use any more.
        (false, true) => None,
        (false, false) => last.compared,
    };
    let time = match last.time.checked_sub(reading.wall) {
        None => reading.wall,
        // At half the pace, so that the clock catches up and no time comes twice.
        Some(behind) if behind <= TOLERANCE => last.time.saturating_add(elapsed.checked_div(2).unwrap_or_default()).max(reading.wall),
        Some(_) => last.time.saturating_add(elapsed),
    };
    Kept { reading, time, settled: last.settled.saturating_add(elapsed).min(time), compared }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests count small numbers")]

    use proptest::prelude::*;

    use super::*;

    const BUILT: u64 = 1_795_000_000;
    const RECORD: u64 = BUILT + 86_400;
    const DAY: u64 = 86_400;
    const YEAR: u64 = 365 * DAY;

    /// A host on virtual time.
    struct Host {
        keeper: Timekeeper,
        wall: u64,
        boot: u64,
        compared_at: Option<u64>,
    }

    impl Host {
        fn starting_at(wall: u64) -> Self {
            let (built_at, newest_record) = (UnixTime::from_secs(BUILT), UnixTime::from_secs(RECORD));
            let bounds = Bounds { built_at, newest_record, holdover: Duration::from_secs(7 * DAY) };
            Self { keeper: Timekeeper::new(bounds), wall, boot: 20, compared_at: None }
        }

        fn look(&mut self) -> Verdict {
            let seconds = Duration::from_secs;
            self.keeper.look(Reading { wall: seconds(self.wall), boot: seconds(self.boot), compared_at: self.compared_at.map(seconds) })
        }

        fn passes(&mut self, seconds: u64) -> Verdict {
            (self.wall, self.boot) = (self.wall + seconds, self.boot + seconds);
            self.look()
        }

        fn is_set(&mut self, wall: u64) -> Verdict {
            self.wall = wall;
            self.look()
        }

        /// As a time service does it: first the clock, then the mark.
        fn is_synchronised(&mut self, wall: u64) -> Verdict {
            self.is_set(wall);
            self.compared_at = Some(wall);
            self.look()
        }
    }

    fn told(verdict: Verdict) -> (u64, Confidence) {
        (verdict.now.as_secs(), verdict.confidence)
    }

    #[test]
    fn a_board_without_a_clock_starts_in_1970_and_is_set_by_a_time_server() {
        let mut host = Host::starting_at(30);
        assert_eq!(told(host.look()), (RECORD, Confidence::Unset), "no time before the newest record");
        assert_eq!(told(host.passes(60)), (RECORD + 60, Confidence::Unset), "time passes all the same");
        assert_eq!(told(host.is_synchronised(RECORD + YEAR)), (RECORD + YEAR, Confidence::Synced));
    }

    #[test]
    fn a_clock_that_nobody_vouches_for_is_possible_and_no_more() {
        let mut host = Host::starting_at(RECORD + 7);
        assert_eq!(told(host.look()), (RECORD + 7, Confidence::Floor));
        assert_eq!(told(host.passes(30 * DAY)), (RECORD + 7 + 30 * DAY, Confidence::Floor));
    }

    #[test]
    fn trust_in_a_clock_that_is_compared_no_more_ends() {
        let mut host = Host::starting_at(RECORD + 7);
        assert_eq!(host.is_synchronised(RECORD + 7).confidence, Confidence::Synced);
        assert_eq!(host.passes(7_200).confidence, Confidence::Synced);
        assert_eq!(host.passes(1).confidence, Confidence::Holdover);
        assert_eq!(host.passes(7 * DAY - 7_201).confidence, Confidence::Holdover);
        assert_eq!(host.passes(1).confidence, Confidence::Floor);
        assert_eq!(host.is_synchronised(host.wall).confidence, Confidence::Synced);
    }

    #[test]
    fn a_comparison_before_the_start_of_the_gateway_counts_and_one_before_the_host_s_does_not() {
        let mut host = Host::starting_at(RECORD + DAY);
        (host.boot, host.compared_at) = (10_000, Some(RECORD + DAY - 8_000));
        assert_eq!(host.look().confidence, Confidence::Holdover);
        let mut host = Host::starting_at(RECORD + DAY);
        host.compared_at = Some(RECORD + DAY - 8_000);
        assert_eq!(host.look().confidence, Confidence::Floor);
        host.compared_at = Some(RECORD + YEAR);
        assert_eq!(Host { keeper: Host::starting_at(0).keeper, ..host }.look().confidence, Confidence::Floor, "a time to come");
    }

    #[test]
    fn a_time_server_knows_better_than_records_of_a_clock_that_was_ahead() {
        let mut host = Host::starting_at(RECORD - 3_600);
        assert_eq!(host.look().confidence, Confidence::Unset);
        let mut host = Host::starting_at(RECORD - 3_600);
        host.compared_at = Some(host.wall);
        assert_eq!(told(host.look()), (RECORD - 3_600, Confidence::Synced));
        let mut host = Host::starting_at(BUILT - 3_600);
        host.compared_at = Some(host.wall);
        assert_eq!(told(host.look()), (BUILT, Confidence::Unset), "but the program is older than that");
    }

    #[test]
    fn a_step_of_minutes_back_is_made_up_for_at_half_the_pace() {
        let mut host = Host::starting_at(RECORD + 1_000);
        host.is_synchronised(RECORD + 1_000);
        assert_eq!(told(host.is_set(RECORD + 800)), (RECORD + 1_000, Confidence::Floor), "nobody vouches for the new time");
        assert_eq!(host.is_synchronised(RECORD + 800).confidence, Confidence::Synced);
        assert_eq!(told(host.passes(200)), (RECORD + 1_100, Confidence::Synced));
        assert_eq!(told(host.passes(200)), (RECORD + 1_200, Confidence::Synced));
        assert_eq!(told(host.passes(200)), (RECORD + 1_400, Confidence::Synced), "the clock has caught up");
    }

    #[test]
    fn a_step_of_years_back_is_not_followed() {
        let mut host = Host::starting_at(RECORD + YEAR);
        host.is_synchronised(RECORD + YEAR);
        let back = host.is_synchronised(RECORD);
        assert_eq!((told(back), back.behind), ((RECORD + YEAR, Confidence::Unset), YEAR));
        assert_eq!(told(host.passes(DAY)), (RECORD + YEAR + DAY, Confidence::Unset), "time passes all the same");
        assert_eq!(told(host.is_synchronised(RECORD + YEAR + DAY + 5)), (RECORD + YEAR + DAY + 5, Confidence::Synced));
    }

    #[test]
    fn a_step_forward_is_followed_and_settles_nothing_until_somebody_vouches_for_it() {
        let start = RECORD + 1_000;
        let mut host = Host::starting_at(start);
        host.look();
        let jumped = host.is_set(start + 10 * YEAR);
        assert_eq!((told(jumped), jumped.settled.as_secs()), ((start + 10 * YEAR, Confidence::Floor), start));
        assert_eq!(host.passes(DAY).settled.as_secs(), start + DAY);
        let vouched = host.is_synchronised(host.wall);
        assert_eq!((vouched.confidence, vouched.settled), (Confidence::Synced, vouched.now));
    }

    #[test]
    fn sleep_of_the_host_is_no_step() {
        let mut host = Host::starting_at(RECORD + 1_000);
        host.is_synchronised(RECORD + 1_000);
        // Both clocks go on while the host sleeps.
        let awake = host.passes(5 * DAY);
        assert_eq!(told(awake), (RECORD + 1_000 + 5 * DAY, Confidence::Holdover));
    }

    proptest! {
        #[test]
        fn time_never_goes_back_whatever_the_clock_does(
            start in 0..2 * RECORD,
            steps in proptest::collection::vec((0_u64..2 * YEAR, -20 * (YEAR as i64)..20 * (YEAR as i64), any::<bool>(), 0_u64..3), 1..60),
        ) {
            let mut host = Host::starting_at(start);
            let mut before = host.look();
            prop_assert!(before.now.as_secs() >= BUILT);
            for (elapsed, step, is_compared, scale) in steps {
                // Years, hours, or seconds.
                let (elapsed, step) = match scale { 0 => (elapsed, step), 1 => (elapsed % 7_200, step % 7_200), _ => (elapsed % 9, step % 9) };
                host.boot += elapsed;
                host.wall = (host.wall + elapsed).saturating_add_signed(step);
                if is_compared {
                    host.compared_at = Some(host.wall);
                }
                let after = host.look();
                prop_assert!(after.now >= before.now && after.settled >= before.settled && after.settled <= after.now);
                // What is trusted is right to within the tolerance.
                prop_assert!(after.confidence == Confidence::Unset || after.now.as_secs().abs_diff(host.wall) <= TOLERANCE.as_secs());
                before = after;
            }
        }
    }
}
