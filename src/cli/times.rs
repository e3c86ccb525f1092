//! Times and lengths of time on the command line.

use std::str::FromStr;
use std::time::SystemTime;

use crate::clock::UnixTime;

/// A length of time: seconds, or a number with `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) u32);

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|last: char| last.is_ascii_lowercase());
        let unit = match text.get(digits.len()..) {
            Some("" | "s") => 1,
            Some("m") => 60,
            Some("h") => 3_600,
            Some("d") => 86_400,
            _ => return Err("must be seconds, or a number followed by s, m, h or d, such as 7d"),
        };
        let number = digits.parse::<u32>().map_err(|_| "must be seconds, or a number followed by s, m, h or d, such as 7d")?;
        number.checked_mul(unit).map(Self).ok_or("must be less than 136 years")
    }
}

/// A time in the past: in UTC, or so long ago, such as `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    At(UnixTime),
    Ago(u32),
}

impl FromStr for Past {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let told = "must be a time in UTC such as 2026-11-22T21:46:24Z, or how long ago such as 30d";
        let ago = || text.parse().map(|Seconds(seconds)| Self::Ago(seconds));
        // A bare number could be either.
        text.parse().map(Self::At).or_else(|_| ago()).map_err(|_| told)
    }
}

impl Past {
    /// The time it means now.
    pub(super) fn time(self) -> UnixTime {
        match self {
            Self::At(time) => time,
            Self::Ago(seconds) => UnixTime::from_secs(UnixTime::from(SystemTime::now()).as_secs().saturating_sub(seconds.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_units() {
        for (text, seconds) in [("0", 0), ("90", 90), ("90s", 90), ("2m", 120), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
        for text in ["", "d", "-1", "1.5h", "7 d", "1w", "1D", "1dd", "4294967296", "50000d"] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_in_the_past_is_a_date_or_so_long_ago() {
        assert_eq!("1970-01-01T00:01:00Z".parse(), Ok(Past::At(UnixTime::from_secs(60))));
        assert_eq!("60".parse(), Ok(Past::At(UnixTime::from_secs(60))));
        assert_eq!("2h".parse(), Ok(Past::Ago(7_200)));
        assert!("yesterday".parse::<Past>().is_err());
        let now = UnixTime::from(SystemTime::now());
        assert!(Past::Ago(3_600).time() < now && Past::Ago(u32::MAX).time() < now);
    }
}
