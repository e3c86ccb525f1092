//! A token checked without asking anybody: against the JWK Set and the revocation list that were published.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::list::RevocationList;
use super::revocation::TokenHash;
use super::{Claims, check_times, verify_signed};
use crate::clock::UnixTime;
use crate::jose::{JwkSet, JwtError};

/// Why a token, or a list, was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// The token itself does not hold.
    #[error(transparent)]
    Token(JwtError),
    /// The token is on the list, or from before a time on it.
    #[error("the token was revoked")]
    Revoked,
    /// The list itself does not hold.
    #[error("the revocation list cannot be used: {0}")]
    List(JwtError),
    /// The list is older than one that was seen.
    #[error("the revocation list has the sequence number {found}, and {seen} was seen before: an old list is being replayed")]
    OldList {
        /// Its sequence number.
        found: u64,
        /// The greatest that was seen.
        seen: u64,
    },
}

impl OfflineError {
    /// The stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Token(_) => "token_not_valid",
            Self::Revoked => "token_revoked",
            Self::List(_) => "list_not_valid",
            Self::OldList { .. } => "list_too_old",
        }
    }
}

/// Tokens with `exi` that a resource server keeps in mind, at most.
const MAX_SEEN: usize = 4_096;

/// What was seen of tokens that live from their first sight (RFC 9200 section 5.10.3).
#[derive(Debug, Default)]
struct FirstSight {
    /// The highest sequence number of one that has expired: all up to it have.
    expired: u64,
    /// When the others end, by their sequence numbers.
    ends: BTreeMap<u64, UnixTime>,
}

impl FirstSight {
    fn is_live(&mut self, sequence: u64, exi: u64, now: UnixTime) -> bool {
        if sequence <= self.expired {
            return false;
        }
        let end = *self.ends.entry(sequence).or_insert_with(|| now.saturating_add(exi));
        if end <= now {
            self.expire(sequence);
        }
        // Without room for all of them the oldest have had their time.
        while self.ends.len() > MAX_SEEN {
            let Some((&oldest, _)) = self.ends.first_key_value() else { break };
            self.expire(oldest);
        }
        sequence > self.expired
    }

    fn expire(&mut self, sequence: u64) {
        self.expired = self.expired.max(sequence);
        self.ends = self.ends.split_off(&self.expired.saturating_add(1));
    }
}

/// What a resource server needs to judge tokens by itself. Clones share what they have seen.
#[derive(Debug, Clone)]
pub struct OfflineVerifier {
    issuer: String,
    audience: String,
    keys: JwkSet,
    list: Option<RevocationList>,
    seen: u64,
    first_sight: Arc<Mutex<FirstSight>>,
}

impl OfflineVerifier {
    /// A verifier for the tokens of one issuer for one audience, with the JWK Set of the gateway and no list yet.
    #[must_use]
    pub fn new(issuer: String, audience: String, keys: JwkSet) -> Self {
        Self { issuer, audience, keys, list: None, seen: 0, first_sight: Arc::default() }
    }

    /// The same, having seen a list with that sequence number: a resource server keeps it over its restarts.
    #[must_use]
    pub fn having_seen(self, sequence: u64) -> Self {
        Self { seen: sequence, ..self }
    }

    /// The same, having seen a token with `exi` and that sequence number expire: a resource server keeps it over its restarts.
    #[must_use]
    pub fn having_expired(self, sequence: u64) -> Self {
        Self { first_sight: Arc::new(Mutex::new(FirstSight { expired: sequence, ..FirstSight::default() })), ..self }
    }

    /// The highest sequence number of a token with `exi` that has expired.
    #[must_use]
    pub fn expired_sequence(&self) -> u64 {
        self.first_sight.lock().unwrap_or_else(PoisonError::into_inner).expired
    }

    /// Takes a new JWK Set in place of the one before.
    pub fn set_keys(&mut self, keys: JwkSet) {
        self.keys = keys;
    }

    /// Takes a list as it was published in place of the one before, which stays if this one does not hold; its sequence number.
    ///
    /// # Errors
    /// [`OfflineError::List`] and [`OfflineError::OldList`].
    pub fn take_list(&mut self, published: &[u8]) -> Result<u64, OfflineError> {
        let list = RevocationList::verify(published, &self.issuer, &self.audience, &self.keys).map_err(OfflineError::List)?;
        if list.seq < self.seen {
            return Err(OfflineError::OldList { found: list.seq, seen: self.seen });
        }
        self.seen = list.seq;
        self.list = Some(list);
        Ok(self.seen)
    }

    /// Checks a token, a JWT or the base64url of a CWT; its claims. Without a list nothing is known to be revoked. For a token with `exi` any clock will
    /// do that goes on from one call to the next.
    ///
    /// # Errors
    /// [`OfflineError::Token`] and [`OfflineError::Revoked`].
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Claims, OfflineError> {
        let claims = verify_signed(token, &self.issuer, Some(&self.audience), &self.keys).map_err(OfflineError::Token)?;
        let claims = match (claims.exi, claims.sequence()) {
            (Some(exi), Some(sequence)) => {
                let mut first_sight = self.first_sight.lock().unwrap_or_else(PoisonError::into_inner);
                let expired = || OfflineError::Token(JwtError::Invalid("it has expired".into()));
                first_sight.is_live(sequence, exi, now).then_some(claims).ok_or_else(expired)?
            }
            _ => check_times(claims, now).map_err(OfflineError::Token)?,
        };
        let hash = TokenHash::of(token);
        match &self.list {
            Some(list) if list.voids(&claims, &hash) => Err(OfflineError::Revoked),
            _ => Ok(claims),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(7);

    fn at(seconds: u64) -> UnixTime {
        NOW.saturating_add(seconds)
    }

    #[test]
    fn a_token_lives_from_when_it_is_first_seen() {
        let mut seen = FirstSight::default();
        assert!(seen.is_live(5, 60, at(0)) && seen.is_live(5, 60, at(59)));
        assert!(seen.is_live(4, 60, at(30)), "an older one that comes late");
        assert!(!seen.is_live(5, 60, at(60)));
        // RFC 9200 section 5.10.3: with it all up to it have expired, and none comes to life again.
        assert!(!seen.is_live(4, 60, at(60)) && !seen.is_live(5, 60, at(61)) && !seen.is_live(3, 60, at(61)));
        assert!(seen.is_live(6, 60, at(1_000)), "one that was kept for long");
        assert!(!seen.is_live(6, 60, at(1_060)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut seen = FirstSight::default();
        assert!((1..=100_000).all(|sequence| seen.is_live(sequence, 60, NOW)));
        assert_eq!((seen.ends.len(), seen.expired), (MAX_SEEN, 100_000 - MAX_SEEN as u64));
        assert!(!seen.is_live(1, 60, NOW));
    }
}
