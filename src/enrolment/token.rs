//! The enrolment token: a signed JWT that is recognised by its digest (docs/decisions/0009).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
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

/// Bytes of a token that is looked at; the issuer is the only part of it that an operator chooses.
const MAX_TOKEN: usize = 4_096;

/// A part of what may be a JWT.
fn part<T: DeserializeOwned>(text: &[u8], index: usize) -> Option<T> {
    let parts: Vec<&[u8]> = if text.len() > MAX_TOKEN { Vec::new() } else { text.split(|byte| *byte == b'.').collect() };
    match parts.as_slice() {
        parts @ [_, _, _] => serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.get(index)?).ok()?).ok(),
        _ => None,
    }
}

/// Whether something has the header of an enrolment token.
pub(super) fn is_meant(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Header {
        typ: String,
    }
    part::<Header>(text, 0).is_some_and(|header| header.typ == ENROLMENT_TOKEN_TYP)
}

/// Which enrolment a token says that it is of.
#[must_use]
pub fn id_of(text: &[u8]) -> Option<EnrolmentId> {
    #[derive(Deserialize)]
    struct Named {
        jti: EnrolmentId,
    }
    part::<Named>(text, 1).map(|claims| claims.jti)
}

/// The SHA-256 of an enrolment token's text: what is kept of it, and the key of the proofs that are made by it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenDigest(#[serde(with = "serde_bytes")] [u8; 32]);

impl TokenDigest {
    /// What no token has for its digest: it stands in where there is nothing to compare with.
    pub(super) const ABSENT: Self = Self([0; 32]);

    /// The bytes, the key of proofs.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

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
        assert_eq!(id_of(text.as_bytes()).unwrap().as_str(), "e1");
        assert!(is_meant(text.as_bytes()) && !is_meant(jose::sign("JWT", &serde_json::json!({}), &key).unwrap().as_bytes()));
        for no_token in ["", ".", "..", "a.b.c", &format!("{text}.x"), &"x".repeat(5_000)] {
            assert!(!is_meant(no_token.as_bytes()) && id_of(no_token.as_bytes()).is_none(), "{no_token}");
        }
        assert_ne!(TokenDigest::of(text.as_bytes()), TokenDigest::of(token([8; 32]).expose()));
        assert!(!format!("{:?}", TokenDigest::of(b"x")).contains("2d71"));
    }
}
