//! Public keys: JWK (RFC 7517, RFC 8037), their thumbprints (RFC 7638) and sets of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::KeyType;

/// A public key for signatures: Ed25519 as an OKP JWK (RFC 8037 section 2), or P-256 as an EC JWK (RFC 7518 section 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    x: [u8; 32],
    /// Of a P-256 key.
    y: Option<[u8; 32]>,
    kid: String,
}

impl Jwk {
    /// The JWK of an Ed25519 public key, its `kid` the thumbprint.
    #[must_use]
    pub fn ed25519(x: &[u8; 32]) -> Self {
        Self::with_thumbprint(*x, None)
    }

    /// The JWK of a P-256 public key by its affine coordinates, big-endian; its `kid` is the thumbprint.
    #[must_use]
    pub fn p256(x: &[u8; 32], y: &[u8; 32]) -> Self {
        Self::with_thumbprint(*x, Some(*y))
    }

    fn with_thumbprint(x: [u8; 32], y: Option<[u8; 32]>) -> Self {
        let mut key = Self { x, y, kid: String::new() };
        key.kid = key.thumbprint();
        key
    }

    /// The RFC 7638 thumbprint, whatever the `kid` is.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let (crv, kty, x) = (self.key_type().crv(), self.key_type().kty(), URL_SAFE_NO_PAD.encode(self.x));
        // RFC 7638 section 3.2: the required members, in lexicographic order, without white space.
        let canonical = match self.y.map(|y| URL_SAFE_NO_PAD.encode(y)) {
            None => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}"}}"#),
            Some(y) => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
    }

    /// The key id: the RFC 7638 thumbprint, unless its owner names it otherwise.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The kind of key.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        if self.y.is_some() { KeyType::P256 } else { KeyType::Ed25519 }
    }

    /// Whether it is a public key that can be verified by: a point of its curve, and not one of small order, which would bind nobody.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match self.y {
            None => ed25519_dalek::VerifyingKey::from_bytes(&self.x).is_ok_and(|key| !key.is_weak()),
            Some(y) => p256_key(&self.x, &y).is_some(),
        }
    }

    /// The key with another `kid`, as its owner names it.
    #[must_use]
    pub fn with_kid(self, kid: String) -> Self {
        Self { kid, ..self }
    }

    /// The 32 bytes of an Ed25519 public key, or the x coordinate of a P-256 one.
    #[must_use]
    pub fn x(&self) -> &[u8; 32] {
        &self.x
    }

    /// The y coordinate of a P-256 key.
    #[must_use]
    pub fn y(&self) -> Option<&[u8; 32]> {
        self.y.as_ref()
    }

    /// The key by the members alone that make it up (RFC 7638 section 3.2), for where each byte counts.
    #[must_use]
    pub fn bare(&self) -> impl Serialize {
        let key_type = self.key_type();
        Bare { kty: key_type.kty(), crv: key_type.crv(), x: URL_SAFE_NO_PAD.encode(self.x), y: self.y.map(|y| URL_SAFE_NO_PAD.encode(y)) }
    }

    /// Whether `signature` is that of `message` by this key: strict Ed25519 (RFC 8032), or ECDSA as r and s (RFC 7518 section 3.4), 64 bytes each.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.y {
            None => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                let key = ed25519_dalek::VerifyingKey::from_bytes(&self.x);
                key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()))
            }
            Some(y) => {
                let signature = p256::ecdsa::Signature::from_slice(signature);
                p256_key(&self.x, &y).is_some_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
            }
        }
    }
}

fn p256_key(x: &[u8; 32], y: &[u8; 32]) -> Option<p256::ecdsa::VerifyingKey> {
    let mut sec1 = [4; 65];
    let (_, coordinates) = sec1.split_first_mut()?;
    let (first, second) = coordinates.split_at_mut(32);
    first.copy_from_slice(x);
    second.copy_from_slice(y);
    p256::ecdsa::VerifyingKey::from_sec1_bytes(&sec1).ok()
}

#[derive(Serialize)]
struct Bare {
    kty: &'static str,
    crv: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Members {
    kty: String,
    crv: String,
    x: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(rename = "use", default)]
    usage: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    kid: Option<String>,
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key_type = self.key_type();
        Members {
            kty: key_type.kty().into(),
            crv: key_type.crv().into(),
            x: URL_SAFE_NO_PAD.encode(self.x),
            y: self.y.map(|y| URL_SAFE_NO_PAD.encode(y)),
            usage: Some("sig".into()),
            alg: Some(key_type.algorithm().name().into()),
            kid: Some(self.kid.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let members = Members::deserialize(deserializer)?;
        let key_type = KeyType::ALL.into_iter().find(|known| known.kty() == members.kty && known.crv() == members.crv);
        let key_type = key_type.ok_or_else(|| D::Error::custom("only OKP keys of crv Ed25519 and EC keys of crv P-256 are supported"))?;
        let coordinate = |name: &str, text: &str| -> Result<[u8; 32], D::Error> {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)?;
            bytes.try_into().map_err(|_| D::Error::custom(format!("{name} must be 32 bytes")))
        };
        let x = coordinate("x", &members.x)?;
        let key = match (key_type, members.y.as_deref()) {
            (KeyType::Ed25519, _) => Self::ed25519(&x),
            (KeyType::P256, None) => return Err(D::Error::missing_field("y")),
            (KeyType::P256, Some(y)) => {
                // RFC 7518 section 6.2.1: a point that is none would be worse than no key.
                Some(Self::p256(&x, &coordinate("y", y)?)).filter(Self::is_sound).ok_or_else(|| D::Error::custom("not a point of P-256"))?
            }
        };
        Ok(match members.kid {
            Some(kid) => Self { kid, ..key },
            None => key,
        })
    }
}

/// A JWK Set (RFC 7517 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<Jwk>,
}

impl JwkSet {
    /// Reads a JWK Set, leaving out keys of kinds that are not understood (RFC 7517 section 5).
    ///
    /// # Errors
    /// If the text is not a JSON object with an array `keys`.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(json)?;
        Ok(Self { keys: set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect() })
    }

    /// The set as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The key of that id.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7517 appendix A.1.
    const RFC_7517: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}"#;

    #[test]
    fn thumbprint_is_that_of_rfc_8037() {
        let set = JwkSet::from_json(
            br#"{"keys":[{"kty":"RSA","n":"x"},{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        )
        .unwrap();
        assert_eq!(set.keys.len(), 1);
        assert_eq!(set.keys[0].kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn an_ec_key_is_read_and_written() {
        let key: Jwk = serde_json::from_str(RFC_7517).unwrap();
        assert_eq!((key.kid(), key.key_type()), ("1", KeyType::P256));
        let json = serde_json::to_value(&key).unwrap();
        assert_eq!((&json["kty"], &json["crv"], &json["alg"]), (&"EC".into(), &"P-256".into(), &"ES256".into()));
        assert_eq!(json["y"], "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
        assert_eq!(serde_json::from_value::<Jwk>(json).unwrap(), key);
        // The thumbprint of the same key as other implementations give it: SHA-256 of the members crv, kty, x, y.
        let canonical = r#"{"crv":"P-256","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
        assert_eq!(key.thumbprint(), URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)));
    }

    #[test]
    fn verifies_the_vector_of_rfc_7515() {
        // RFC 7515 appendix A.3.
        let key: Jwk = serde_json::from_str(
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        )
        .unwrap();
        let message = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature =
            URL_SAFE_NO_PAD.decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q").unwrap();
        assert!(key.verify(message.as_bytes(), &signature));
        assert!(!key.verify(b"other", &signature));
        assert!(!key.verify(message.as_bytes(), &[0; 64]));
        assert!(!key.verify(message.as_bytes(), &signature[..63]));
    }

    #[test]
    fn deny_short_and_foreign_keys() {
        let off_curve = RFC_7517.replace("4Etl", "5Etl");
        let no_y = RFC_7517.replace("\"y\"", "\"z\"");
        for key in [
            r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#,
            r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#,
            r#"{"kty":"EC"}"#,
            r#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#,
            r#"{"kty":"EC","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            &off_curve,
            &no_y,
        ] {
            assert!(serde_json::from_str::<Jwk>(key).is_err(), "{key}");
        }
    }
}
