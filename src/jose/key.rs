//! Signing keys and the ring of those in use.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

use super::{Jwk, JwkSet, KeyType};

/// A private key for signatures, named by its thumbprint (RFC 7638). Zeroised when dropped, never shown by `Debug`.
pub struct SigningKey {
    inner: Inner,
    public: Jwk,
}

// Neither is large, and each key is behind an Arc.
enum Inner {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl SigningKey {
    /// The Ed25519 key of that seed, the 32 bytes that RFC 8032 calls the private key.
    #[must_use]
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        let inner = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = Jwk::ed25519(inner.verifying_key().as_bytes());
        Self { inner: Inner::Ed25519(inner), public }
    }

    /// The P-256 key of that secret scalar, big-endian; `None` if it is 0 or not below the order of the curve.
    #[must_use]
    pub fn from_p256_scalar(scalar: &Zeroizing<[u8; 32]>) -> Option<Self> {
        let inner = p256::ecdsa::SigningKey::from_slice(scalar.as_slice()).ok()?;
        let point = inner.verifying_key().to_sec1_point(false);
        let coordinate = |bytes: Option<&_>| -> Option<[u8; 32]> { AsRef::<[u8]>::as_ref(bytes?).try_into().ok() };
        let public = Jwk::p256(&coordinate(point.x())?, &coordinate(point.y())?);
        Some(Self { inner: Inner::P256(inner), public })
    }

    /// The key of that kind and those 32 secret bytes; `None` if they are no key of that kind, which random bytes hardly ever are.
    #[must_use]
    pub fn from_secret_bytes(key_type: KeyType, bytes: &Zeroizing<[u8; 32]>) -> Option<Self> {
        match key_type {
            KeyType::Ed25519 => Some(Self::from_seed(bytes)),
            KeyType::P256 => Self::from_p256_scalar(bytes),
        }
    }

    /// The seed or the scalar, for the key file alone.
    #[must_use]
    pub fn secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(match &self.inner {
            Inner::Ed25519(key) => key.to_bytes(),
            Inner::P256(key) => key.to_bytes().into(),
        })
    }

    /// The kind of key.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.public.key_type()
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

    /// The signature of `message`: RFC 8032 section 5.1.6, or deterministic ECDSA (RFC 6979) as r and s (RFC 7518 section 3.4).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        match &self.inner {
            Inner::Ed25519(key) => key.sign(message).to_bytes(),
            Inner::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().into()
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid())
    }
}

/// The keys in use: of each kind one signs, all are published.
#[derive(Debug, Clone)]
pub struct KeyRing {
    active: Arc<SigningKey>,
    /// Active keys of other kinds, one of each.
    more: Vec<Arc<SigningKey>>,
    others: Vec<Arc<SigningKey>>,
}

impl KeyRing {
    /// A ring in which `active` signs.
    #[must_use]
    pub fn new(active: Arc<SigningKey>, others: Vec<Arc<SigningKey>>) -> Self {
        Self { active, more: Vec::new(), others }
    }

    /// The same with the keys of another ring, whose active key signs where its kind is wanted.
    #[must_use]
    pub fn with(mut self, ring: KeyRing) -> Self {
        self.more.push(ring.active);
        self.more.extend(ring.more);
        self.others.extend(ring.others);
        self
    }

    /// The key that signs where no kind is wanted.
    #[must_use]
    pub fn active(&self) -> &Arc<SigningKey> {
        &self.active
    }

    /// The key of that kind that signs, if there is one.
    #[must_use]
    pub fn active_for(&self, key_type: KeyType) -> Option<&Arc<SigningKey>> {
        std::iter::once(&self.active).chain(&self.more).find(|key| key.key_type() == key_type)
    }

    /// The JWK Set to publish, the active keys first.
    #[must_use]
    pub fn jwk_set(&self) -> JwkSet {
        JwkSet { keys: std::iter::once(&self.active).chain(&self.more).chain(&self.others).map(|key| key.public().clone()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_the_vector_of_rfc_6979() {
        // RFC 6979 appendix A.2.5, SHA-256, message "sample".
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at.checked_add(2).unwrap()], 16).unwrap()).collect()
        };
        let scalar = hex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721");
        let key = SigningKey::from_p256_scalar(&Zeroizing::new(scalar.clone().try_into().unwrap())).unwrap();
        assert_eq!(key.public().x().as_slice(), hex("60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"));
        assert_eq!(key.public().y().unwrap().as_slice(), hex("7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"));
        let r = hex("EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716");
        let s = hex("F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8");
        assert_eq!(key.sign(b"sample").as_slice(), [r, s].concat());
        assert!(key.public().verify(b"sample", &key.sign(b"sample")));
        assert_eq!(key.secret_bytes().as_slice(), scalar);
        assert!(!format!("{key:?}").contains("c9af"));
    }

    #[test]
    fn a_ring_has_an_active_key_of_each_kind() {
        let ed25519 = |seed| Arc::new(SigningKey::from_seed(&Zeroizing::new([seed; 32])));
        let p256 = |seed| Arc::new(SigningKey::from_p256_scalar(&Zeroizing::new([seed; 32])).unwrap());
        let kid = |key: Option<&Arc<SigningKey>>| key.map(|key| key.kid().to_owned());
        let ring = KeyRing::new(ed25519(1), vec![ed25519(2)]);
        assert_eq!((ring.active().kid(), ring.active_for(KeyType::P256).is_none()), (ed25519(1).kid(), true));
        let ring = ring.with(KeyRing::new(p256(1), vec![p256(2)]));
        assert_eq!(kid(ring.active_for(KeyType::Ed25519)), kid(Some(&ed25519(1))));
        assert_eq!(kid(ring.active_for(KeyType::P256)), kid(Some(&p256(1))));
        let published: Vec<_> = ring.jwk_set().keys.iter().map(|key| key.kid().to_owned()).collect();
        assert_eq!(published, [ed25519(1), p256(1), ed25519(2), p256(2)].map(|key| key.kid().to_owned()));
    }

    #[test]
    fn deny_scalars_that_are_no_key() {
        for bytes in [[0; 32], [0xff; 32]] {
            assert!(SigningKey::from_p256_scalar(&Zeroizing::new(bytes)).is_none());
        }
    }
}
