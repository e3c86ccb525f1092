//! Time as the core sees it: a value handed in by the shell, never read here.

mod confidence;

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use confidence::{Bounds, Confidence, Issuance, Reading, Standing, TOLERANCE, Timekeeper, Verdict};

/// Seconds since 1970-01-01T00:00:00Z without leap seconds: a NumericDate (RFC 7519 section 2) of whole seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The time `seconds` after the epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// The time `seconds` later; the end of time rather than an overflow.
    #[must_use]
    pub const fn saturating_add(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// The epoch for a time before it.
impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

/// RFC 3339 in UTC, e.g. `2026-11-22T21:46:24Z`.
impl fmt::Display for UnixTime {
    #[expect(clippy::arithmetic_side_effects, reason = "every operand is below 2^63 / 86400 days and all divisors are constants")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days to civil date: counted in 400-year eras that begin on 1 March, so that the leap day is the last of its year.
        let (days, second) = ((self.0 / 86_400).min(1 << 40), self.0 % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
    }
}

/// Reads what is shown, RFC 3339 in UTC with whole seconds, or the seconds since the epoch.
impl FromStr for UnixTime {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self).map_err(|_| InvalidTime);
        }
        let digits = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<u64>().ok()).ok_or(InvalidTime);
        let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
        let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
        let time = Self(days_since_epoch(year, month, day).ok_or(InvalidTime)?);
        let time = [(hour, 3_600), (minute, 60), (second, 1)]
            .iter()
            .fold(time, |time, (count, unit)| time.saturating_add(count.saturating_mul(*unit)));
        // Whatever is no date, no time, or written otherwise is shown differently.
        if time.to_string() == text { Ok(time) } else { Err(InvalidTime) }
    }
}

/// Seconds from the epoch to the beginning of a day; `None` for what is no date or lies before the epoch.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    // The inverse of what `Display` does, in years that begin on 1 March.
    let (year, month) = if month > 2 { (year, month.checked_sub(3)?) } else { (year.checked_sub(1)?, month.checked_add(9)?) };
    let day_of_year = month.checked_mul(153)?.checked_add(2)?.checked_div(5)?.checked_add(day)?.checked_sub(1)?;
    let leap_days = (year / 4).checked_sub(year / 100)?.checked_add(year / 400)?;
    let days = year.checked_mul(365)?.checked_add(leap_days)?.checked_add(day_of_year)?.checked_sub(719_468)?;
    days.checked_mul(86_400)
}

/// Text that is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time must be seconds since 1970, or in UTC like 2026-11-22T21:46:24Z")]
pub struct InvalidTime;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_383_984, "2026-11-22T21:46:24Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(UnixTime::from_secs(seconds).to_string(), text);
            assert_eq!(text.parse(), Ok(UnixTime::from_secs(seconds)));
        }
    }

    #[test]
    fn every_day_is_read_as_it_is_shown() {
        for day in 0..60_000 {
            let time = UnixTime::from_secs(day * 86_400 + day);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert_eq!("17".parse(), Ok(UnixTime::from_secs(17)));
    }

    #[test]
    fn deny_what_is_no_time() {
        for text in [
            "",
            "-1",
            "+5",
            "99999999999999999999999",
            "2026-11-22",
            "2026-11-22T21:46:24",
            "2026-11-22T21:46:24+01:00",
            "2026-11-22 21:46:24Z",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-22T21:46:24Zé",
            "é026-11-22T21:46:24Z",
        ] {
            assert_eq!(text.parse::<UnixTime>(), Err(InvalidTime), "{text}");
        }
    }

    #[test]
    fn never_overflows() {
        let end = UnixTime::from_secs(u64::MAX);
        assert_eq!(end.saturating_add(1), end);
        assert!(!end.to_string().is_empty());
    }
}
