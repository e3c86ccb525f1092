//! The enrolment token: a signed JWT that is recognised by its digest (docs/decisions/0009).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::jose::{self, JwtError, SigningKey};
use crate::oauth::{EnrolmentId, Secret};

/// The `typ` of an enrolment token.
pub const ENROLMENT_TOKEN_TYP: &str = "enrolment+jwt";

/// 256 random bits that make a token a secret, whoever knows the signing key.
pub type TokenSecret = Zeroizing<[u8; 32]>;

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    jti: &'a str,
    iat: UnixTime,
    exp: UnixTime,
    nonce: &'a str,
}

/// Makes the token of an enrolment, to be handed over once.
///
/// # Errors
/// If it cannot be signed.
pub fn issue(
    issuer: &str,
    id: &EnrolmentId,
    secret: &TokenSecret,
    now: UnixTime,
    expires_at: UnixTime,
    key: &Arc<SigningKey>,
) -> Result<Secret, JwtError> {
    let nonce = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret.as_slice()));
    let claims = Claims { iss: issuer, aud: issuer, jti: id.as_str(), iat: now, exp: expires_at, nonce: &nonce };
    jose::sign(ENROLMENT_TOKEN_TYP, &claims, key).map(|token| Secret::new(token.into_bytes()))
}

/// The SHA-256 of an enrolment token's text: what is kept of it, and the key of the proofs that are made by it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenDigest(#[serde(with = "serde_bytes")] [u8; 32]);

impl TokenDigest {
    /// The digest of a token.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl ConstantTimeEq for TokenDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// Shown as a name only: it proves an enrolment.
impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::JwkSet;

    #[test]
    fn anybody_can_check_who_made_a_token() {
        let key = Arc::new(SigningKey::from_seed(&Zeroizing::new([1; 32])));
        let (now, end) = (UnixTime::from_secs(1_000), UnixTime::from_secs(2_000));
        let token = |secret| issue("https://as.example", &"e1".parse().unwrap(), &Zeroizing::new(secret), now, end, &key).unwrap();
        let text = String::from_utf8(token([7; 32]).expose().to_vec()).unwrap();
        let keys = JwkSet { keys: vec![key.public().clone()] };
        let verify = |now| {
            jose::verify::<serde_json::Value>(&text, ENROLMENT_TOKEN_TYP, "https://as.example", Some("https://as.example"), &keys, now)
        };
        assert_eq!(verify(1_999).unwrap()["jti"], "e1");
        assert!(verify(2_000).is_err());
        assert_ne!(TokenDigest::of(text.as_bytes()), TokenDigest::of(token([8; 32]).expose()));
        assert!(!format!("{:?}", TokenDigest::of(b"x")).contains("2d71"));
    }
}
