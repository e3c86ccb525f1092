//! Ed25519 signing keys and the ring of those in use.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

use super::{Jwk, JwkSet};

/// A private Ed25519 key (RFC 8032), named by its thumbprint (RFC 7638). Zeroised when dropped, never shown by `Debug`.
pub struct SigningKey {
    inner: ed25519_dalek::SigningKey,
    public: Jwk,
}

impl SigningKey {
    /// The key of that seed, the 32 bytes that RFC 8032 calls the private key.
    #[must_use]
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        let inner = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = Jwk::ed25519(inner.verifying_key().as_bytes());
        Self { inner, public }
    }

    /// The seed, for the key file alone.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.inner.to_bytes())
    }

    /// The key's id: its RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.public.kid()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    /// The signature of `message` (RFC 8032 section 5.1.6).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.inner.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid())
    }
}

/// The keys in use: one signs, all are published.
#[derive(Debug, Clone)]
pub struct KeyRing {
    active: Arc<SigningKey>,
    others: Vec<Arc<SigningKey>>,
}

impl KeyRing {
    /// A ring in which `active` signs.
    #[must_use]
    pub fn new(active: Arc<SigningKey>, others: Vec<Arc<SigningKey>>) -> Self {
        Self { active, others }
    }

    /// The key that signs.
    #[must_use]
    pub fn active(&self) -> &Arc<SigningKey> {
        &self.active
    }

    /// The JWK Set to publish, the active key first.
    #[must_use]
    pub fn jwk_set(&self) -> JwkSet {
        JwkSet { keys: std::iter::once(&self.active).chain(&self.others).map(|key| key.public().clone()).collect() }
    }
}
