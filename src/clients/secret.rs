//! Client secrets: 256 bits from the operating system, kept as their SHA-256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::oauth::Secret;

/// Secrets a client can have at once: the one in use and the one it moves to.
pub const MAX_SECRETS: usize = 2;

/// 256 random bits to make a secret of.
pub type SecretEntropy = Zeroizing<[u8; 32]>;

/// The SHA-256 of a secret. A secret has full entropy, so nothing slower is needed; see docs/protocol.md.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretDigest(#[serde(with = "serde_bytes")] [u8; 32]);

impl SecretDigest {
    /// What no secret has for its digest: it stands in where there is nothing to compare with.
    pub(super) const ABSENT: Self = Self([0; 32]);

    /// The digest of a presented secret.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        #[cfg(test)]
        work::count(|done| &mut done.digests);
        Self(Sha256::digest(secret.expose()).into())
    }

    /// The bytes, for an export.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What a secret is told from the client's other one by.
    pub(super) fn prefix(&self) -> [u8; 8] {
        self.0.first_chunk().copied().unwrap_or_default()
    }
}

impl ConstantTimeEq for SecretDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        #[cfg(test)]
        work::count(|done| &mut done.comparisons);
        self.0.ct_eq(&other.0)
    }
}

/// Shown as a name only: a digest of a weak, imported secret could be searched for.
impl std::fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretDigest(redacted)")
    }
}

/// One secret of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecret {
    /// What is compared.
    pub digest: SecretDigest,
    /// When it was made.
    pub created_at: UnixTime,
    /// Refused before; `None` for no limit.
    pub not_before: Option<UnixTime>,
    /// Refused from then on (RFC 7591 `client_secret_expires_at`); `None` for no limit.
    pub expires_at: Option<UnixTime>,
}

impl ClientSecret {
    /// Makes a secret of `entropy`: the record to keep, and the text to hand over once (43 characters of base64url).
    #[must_use]
    pub fn generate(entropy: &SecretEntropy, now: UnixTime) -> (Self, Secret) {
        let secret = Secret::new(URL_SAFE_NO_PAD.encode(entropy.as_slice()).into_bytes());
        (Self { digest: SecretDigest::of(&secret), created_at: now, not_before: None, expires_at: None }, secret)
    }

    /// Whether the secret may be used at that time.
    #[must_use]
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|start| start <= now) && self.expires_at.is_none_or(|end| now < end)
    }
}

/// Counts what an authentication costs, so that a test can compare costs without a clock.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub(crate) struct Work {
        pub(crate) digests: u32,
        pub(crate) comparisons: u32,
        pub(crate) verifications: u32,
    }

    thread_local! {
        static DONE: Cell<Work> = const { Cell::new(Work { digests: 0, comparisons: 0, verifications: 0 }) };
    }

    pub(crate) fn count(which: fn(&mut Work) -> &mut u32) {
        let mut done = DONE.get();
        *which(&mut done) = which(&mut done).saturating_add(1);
        DONE.set(done);
    }

    pub(crate) fn of(action: impl FnOnce()) -> Work {
        DONE.set(Work::default());
        action();
        DONE.get()
    }
}
