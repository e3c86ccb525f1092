//! A token checked without asking anybody: against the JWK Set and the revocation list that were published.

use super::list::RevocationList;
use super::revocation::TokenHash;
use super::{Claims, verify};
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

/// What a resource server needs to judge tokens by itself.
#[derive(Debug, Clone)]
pub struct OfflineVerifier {
    issuer: String,
    audience: String,
    keys: JwkSet,
    list: Option<RevocationList>,
    seen: u64,
}

impl OfflineVerifier {
    /// A verifier for the tokens of one issuer for one audience, with the JWK Set of the gateway and no list yet.
    #[must_use]
    pub fn new(issuer: String, audience: String, keys: JwkSet) -> Self {
        Self { issuer, audience, keys, list: None, seen: 0 }
    }

    /// The same, having seen a list with that sequence number: a resource server keeps it over its restarts.
    #[must_use]
    pub fn having_seen(self, sequence: u64) -> Self {
        Self { seen: sequence, ..self }
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

    /// Checks a token, a JWT or the base64url of a CWT; its claims. Without a list nothing is known to be revoked.
    ///
    /// # Errors
    /// [`OfflineError::Token`] and [`OfflineError::Revoked`].
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Claims, OfflineError> {
        let claims = verify(token, &self.issuer, Some(&self.audience), &self.keys, now).map_err(OfflineError::Token)?;
        let hash = TokenHash::of(token);
        match &self.list {
            Some(list) if list.voids(&claims, &hash) => Err(OfflineError::Revoked),
            _ => Ok(claims),
        }
    }
}
