//! The keys that others hand in as theirs: public, sound, for signatures.

use serde_json::Value;

use super::cose::{self, CoseError};
use super::{Algorithm, Jwk};

/// Bytes of a key id.
pub const MAX_KID: usize = 256;
/// The members that make a JWK private or secret (RFC 7518 section 6), whatever its kind.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why a key is not taken. Never quotes what could be a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferedKeyError {
    /// It comes with its private half.
    #[error("has the private member {0}: take it out, and hand a private key to nobody, the gateway included")]
    Private(&'static str),
    /// It is not for signatures.
    #[error("has a use other than sig")]
    Use,
    /// Its algorithm is not known.
    #[error("has an alg other than {}", Algorithm::NAMES.join(" or "))]
    Algorithm,
    /// Its algorithm is for other keys.
    #[error("has an alg for keys of another kind")]
    OtherKind,
    /// It is no key of a kind that is supported.
    #[error("cannot be used: {0}")]
    Unusable(String),
    /// It is no point of its curve, or one of small order.
    #[error("is no public key that binds anybody")]
    Unsound,
    /// Its id cannot be kept.
    #[error("has a kid that is not 1 to {MAX_KID} bytes without control characters")]
    Kid,
}

impl Jwk {
    /// Reads a public JWK that somebody offers as a key of theirs.
    ///
    /// # Errors
    /// [`OfferedKeyError`]
    pub fn offered(jwk: &Value) -> Result<Self, OfferedKeyError> {
        if let Some(member) = PRIVATE.iter().find(|member| jwk.get(**member).is_some()) {
            return Err(OfferedKeyError::Private(member));
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if jwk.get("use").is_some() && text("use") != Some("sig") {
            return Err(OfferedKeyError::Use);
        }
        if jwk.get("alg").is_some() && !text("alg").is_some_and(|alg| Algorithm::NAMES.contains(&alg)) {
            return Err(OfferedKeyError::Algorithm);
        }
        let key: Self = serde_json::from_value(jwk.clone()).map_err(|error| OfferedKeyError::Unusable(error.to_string()))?;
        if text("alg").and_then(Algorithm::from_name).is_some_and(|alg| alg.key_type() != key.key_type()) {
            return Err(OfferedKeyError::OtherKind);
        }
        checked(key)
    }

    /// The same of a COSE_Key (RFC 9052 section 7).
    ///
    /// # Errors
    /// [`OfferedKeyError`]
    pub fn offered_cose(key: &serde_cbor::Value) -> Result<Self, OfferedKeyError> {
        checked(cose::jwk(key).map_err(|error| match error {
            CoseError::Malformed(_) | CoseError::Header(_) => OfferedKeyError::Unusable(error.to_string()),
            CoseError::Key(why) => OfferedKeyError::Unusable(why.to_owned()),
        })?)
    }
}

fn checked(key: Jwk) -> Result<Jwk, OfferedKeyError> {
    if !(1..=MAX_KID).contains(&key.kid().len()) || key.kid().chars().any(char::is_control) {
        return Err(OfferedKeyError::Kid);
    }
    if key.is_sound() { Ok(key) } else { Err(OfferedKeyError::Unsound) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::KeyType;
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn with(name: &str, value: &Value) -> Result<Jwk, OfferedKeyError> {
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": X});
        jwk.as_object_mut().unwrap().insert(name.into(), value.clone());
        Jwk::offered(&jwk)
    }

    #[test]
    fn takes_public_keys_of_both_kinds() {
        assert_eq!(with("use", &json!("sig")).unwrap().kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(with("alg", &json!("Ed25519")).unwrap().key_type(), KeyType::Ed25519);
        assert_eq!(with("kid", &json!("k1")).unwrap().kid(), "k1");
        let ec = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
        let key = Jwk::offered(&ec).unwrap();
        assert_eq!(key.key_type(), KeyType::P256);
        assert_eq!(Jwk::offered_cose(&cose::cose_key(&key)).unwrap(), key);
    }

    #[test]
    fn deny_keys_that_are_not_public_or_not_for_signatures() {
        let private = with("d", &json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")).unwrap_err();
        assert_eq!(private, OfferedKeyError::Private("d"));
        assert!(!private.to_string().contains("nWGx"));
        assert_eq!(with("k", &json!("AA")), Err(OfferedKeyError::Private("k")));
        for value in [json!("enc"), json!(7)] {
            assert_eq!(with("use", &value), Err(OfferedKeyError::Use));
        }
        for value in [json!("RS256"), json!(null)] {
            assert_eq!(with("alg", &value), Err(OfferedKeyError::Algorithm));
        }
        assert_eq!(with("alg", &json!("ES256")), Err(OfferedKeyError::OtherKind));
    }

    #[test]
    fn deny_keys_that_cannot_serve() {
        for kid in ["", "a\nb", &"x".repeat(257)] {
            assert_eq!(with("kid", &json!(kid)), Err(OfferedKeyError::Kid), "{kid:?}");
        }
        // The neutral element: whatever is signed by it verifies.
        let neutral = json!("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(with("x", &neutral), Err(OfferedKeyError::Unsound));
        for jwk in [json!({}), json!([]), json!("x"), json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})] {
            assert!(matches!(Jwk::offered(&jwk), Err(OfferedKeyError::Unusable(_))), "{jwk}");
        }
        assert!(matches!(Jwk::offered_cose(&serde_cbor::Value::Null), Err(OfferedKeyError::Unusable(_))));
    }
}
