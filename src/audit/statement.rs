//! What the gateway signs of its trail, as compact JWSs with types of their own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::chain::{Hash, Link};
use crate::clock::UnixTime;
use crate::jose::{self, CompactJws, JwkSet, JwtError, SigningKey};

/// What a statement says of its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// The trail goes up to there, at least.
    Checkpoint,
    /// The trail begins after there: the gateway has dropped what came before.
    Anchor,
}

impl StatementKind {
    /// The `typ` of the JWS.
    #[must_use]
    pub const fn typ(self) -> &'static str {
        match self {
            Self::Checkpoint => "audit-checkpoint+jwt",
            Self::Anchor => "audit-anchor+jwt",
        }
    }
}

/// The claims of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The gateway's issuer identifier.
    pub iss: String,
    /// When it was signed.
    pub iat: UnixTime,
    /// The number of the entry.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// Why a statement is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// It is no JWS of that type.
    #[error("it is no statement of an audit trail")]
    Malformed,
    /// It is signed by a key that is not on the set.
    #[error("it is signed by the key {0}, which is not on the JWK Set")]
    UnknownKey(String),
    /// The key did not sign it.
    #[error("its signature does not verify")]
    WrongSignature,
}

impl Statement {
    /// The statement on `link`, to be signed.
    #[must_use]
    pub fn new(issuer: &str, link: &Link, now: UnixTime) -> Self {
        Self { iss: issuer.to_owned(), iat: now, seq: link.seq, hash: link.hash }
    }

    /// What it is about.
    #[must_use]
    pub fn link(&self) -> Link {
        Link { seq: self.seq, hash: self.hash }
    }

    /// The statement as a compact JWS.
    ///
    /// # Errors
    /// Never for claims such as these.
    pub fn sign(&self, kind: StatementKind, key: &Arc<SigningKey>) -> Result<String, JwtError> {
        jose::sign(kind.typ(), self, key)
    }

    /// What the JWS says, whoever signed it.
    ///
    /// # Errors
    /// [`StatementError::Malformed`].
    pub fn read(kind: StatementKind, jws: &str) -> Result<Self, StatementError> {
        Self::parse(kind, jws).map(|(statement, _)| statement)
    }

    /// What the JWS says, signed by a key of the set.
    ///
    /// # Errors
    /// [`StatementError`] says which check failed.
    pub fn verify(kind: StatementKind, jws: &str, keys: &JwkSet) -> Result<Self, StatementError> {
        let (statement, parsed) = Self::parse(kind, jws)?;
        let kid = parsed.kid().ok_or(StatementError::Malformed)?;
        let key = keys.find(kid).ok_or_else(|| StatementError::UnknownKey(kid.to_owned()))?;
        if parsed.verify(key) { Ok(statement) } else { Err(StatementError::WrongSignature) }
    }

    fn parse(kind: StatementKind, jws: &str) -> Result<(Self, CompactJws<'_>), StatementError> {
        let parsed = CompactJws::parse(jws).map_err(|_| StatementError::Malformed)?;
        if parsed.typ() != Some(kind.typ()) {
            return Err(StatementError::Malformed);
        }
        let statement = serde_json::from_slice(parsed.payload()).map_err(|_| StatementError::Malformed)?;
        Ok((statement, parsed))
    }
}
