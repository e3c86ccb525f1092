//! `[clock]`: how far the host's clock is trusted, and what that means for tokens.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clock::{Confidence, Issuance};

/// `[clock]`: what becomes of requests for tokens while the clock is in doubt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClockSection {
    /// While it shows a time that is certainly past.
    pub unset: ClockRule,
    /// While it shows a possible time and nobody vouches for it.
    pub floor: ClockRule,
    /// While it was compared with a time server since the host started, but not of late.
    pub holdover: ClockRule,
    /// Seconds for which it is trusted after the last comparison.
    pub holdover_limit: u32,
    /// Seconds a token lives, at most, where its life is to be shortened.
    pub short_lifetime: u32,
    /// Seconds after which a device that was refused may ask again.
    pub retry_after: u32,
    /// The file that the host's time service touches at each comparison; empty for none.
    pub synchronised_file: PathBuf,
}

impl Default for ClockSection {
    fn default() -> Self {
        Self {
            unset: ClockRule::Refuse,
            floor: ClockRule::Issue,
            holdover: ClockRule::Issue,
            holdover_limit: 7 * 86_400,
            short_lifetime: 60,
            retry_after: 30,
            synchronised_file: "/run/systemd/timesync/synchronized".into(),
        }
    }
}

/// What becomes of a request for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockRule {
    /// A token as ever.
    Issue,
    /// A token that lives no longer than `clock.short-lifetime`.
    Shorten,
    /// A token that lives for `clock.short-lifetime` at most from when its resource server first sees it (RFC 9200 section 5.10.3).
    Exi,
    /// `temporarily_unavailable`, with `clock.retry-after`.
    Refuse,
}

impl ClockSection {
    /// Whether there is a state in which tokens live from when they are first seen.
    #[must_use]
    pub fn needs_sequence(&self) -> bool {
        [self.unset, self.floor, self.holdover].contains(&ClockRule::Exi)
    }

    /// What becomes of a request in that state.
    #[must_use]
    pub fn issuance(&self, confidence: Confidence) -> Issuance {
        let rule = match confidence {
            Confidence::Unset => self.unset,
            Confidence::Floor => self.floor,
            Confidence::Holdover => self.holdover,
            Confidence::Synced => ClockRule::Issue,
        };
        match rule {
            ClockRule::Issue => Issuance::Issue,
            ClockRule::Shorten => Issuance::Shorten { lifetime: self.short_lifetime },
            ClockRule::Exi => Issuance::FromFirstSight { lifetime: self.short_lifetime },
            ClockRule::Refuse => Issuance::Refuse { retry_after: self.retry_after },
        }
    }
}
