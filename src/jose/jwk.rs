//! Public keys: JWK (RFC 7517, RFC 8037), their thumbprints (RFC 7638) and sets of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A public Ed25519 key as an OKP JWK (RFC 8037 section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    x: [u8; 32],
    kid: String,
}

impl Jwk {
    /// The JWK of a public key, its `kid` the thumbprint.
    #[must_use]
    pub fn ed25519(x: &[u8; 32]) -> Self {
        // RFC 7638 section 3.2: the required members, in lexicographic order, without white space.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(x));
        Self { x: *x, kid: URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)) }
    }

    /// The key id: the RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whether the 32 bytes are a public key that can be verified by: a point of the curve, and not one of small order, which would bind nobody.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(&self.x).is_ok_and(|key| !key.is_weak())
    }

    /// The key with another `kid`, as its owner names it.
    #[must_use]
    pub fn with_kid(self, kid: String) -> Self {
        Self { kid, ..self }
    }

    /// The public key's 32 bytes.
    #[must_use]
    pub fn x(&self) -> &[u8; 32] {
        &self.x
    }
}

#[derive(Serialize, Deserialize)]
struct Members {
    kty: String,
    crv: String,
    x: String,
    #[serde(rename = "use", default)]
    usage: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    kid: Option<String>,
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Members {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: URL_SAFE_NO_PAD.encode(self.x),
            usage: Some("sig".into()),
            alg: Some("EdDSA".into()),
            kid: Some(self.kid.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let members = Members::deserialize(deserializer)?;
        if members.kty != "OKP" || members.crv != "Ed25519" {
            return Err(D::Error::custom("only OKP keys of crv Ed25519 are supported"));
        }
        let bytes = URL_SAFE_NO_PAD.decode(&members.x).map_err(D::Error::custom)?;
        let x: [u8; 32] = bytes.try_into().map_err(|_| D::Error::custom("x must be 32 bytes"))?;
        let key = Self::ed25519(&x);
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
    fn deny_short_and_foreign_keys() {
        for key in [r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#, r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#, r#"{"kty":"EC"}"#] {
            assert!(serde_json::from_str::<Jwk>(key).is_err());
        }
    }
}
