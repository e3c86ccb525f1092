//! The credentials of a client: its keys, and what is told of a credential without showing it.

use serde::{Deserialize, Serialize};

use super::ClientSecret;
use crate::clock::UnixTime;
use crate::jose::Jwk;

/// One public key of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKey {
    /// What assertions are verified by.
    pub jwk: Jwk,
    /// When it was registered.
    pub created_at: UnixTime,
    /// Refused before; `None` for no limit.
    pub not_before: Option<UnixTime>,
    /// Refused from then on; `None` for no limit.
    pub expires_at: Option<UnixTime>,
}

impl ClientKey {
    /// A key without limits.
    #[must_use]
    pub fn new(jwk: Jwk, now: UnixTime) -> Self {
        Self { jwk, created_at: now, not_before: None, expires_at: None }
    }

    /// Whether the key may be used at that time.
    #[must_use]
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|start| start <= now) && self.expires_at.is_none_or(|end| now < end)
    }
}

/// One credential of a client.
#[derive(Debug, Clone, Copy)]
pub enum CredentialRef<'a> {
    /// A secret.
    Secret(&'a ClientSecret),
    /// A key.
    Key(&'a ClientKey),
}

impl CredentialRef<'_> {
    /// Its name among the credentials of its client.
    #[must_use]
    pub fn id(self) -> CredentialId {
        // Of a random secret's digest, or of a public key's thumbprint: nothing to attack with, and no two of one client alike.
        CredentialId(match self {
            Self::Secret(secret) => secret.digest.prefix(),
            Self::Key(key) => key.jwk.thumbprint().as_bytes().first_chunk().copied().unwrap_or_default(),
        })
    }
}

/// The name of a credential among those of its client. Says nothing of the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CredentialId(#[serde(with = "serde_bytes")] [u8; 8]);

/// In hexadecimal.
impl std::fmt::Display for CredentialId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
