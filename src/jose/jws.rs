//! A compact JWS (RFC 7515) from outside: taken apart first, then verified by a key that the caller chooses.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::{Algorithm, Jwk, JwtError};

/// A compact JWS whose header is understood. Nothing is verified until [`CompactJws::verify`] says so.
#[derive(Debug)]
pub struct CompactJws<'a> {
    header: Header,
    algorithm: Algorithm,
    message: &'a str,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// A member counts even if it is null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> CompactJws<'a> {
    /// Takes a JWS apart.
    ///
    /// # Errors
    /// If it is not three base64url parts with a JSON header, if it has a `crit` member (RFC 7515 section 4.1.11: nothing it could name is understood),
    /// or an algorithm that no key has.
    pub fn parse(text: &'a str) -> Result<Self, JwtError> {
        let (message, signature) = text.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(JwtError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| JwtError::Malformed)?;
        if header.crit {
            return Err(JwtError::Header("a crit member".into()));
        }
        let algorithm = Algorithm::from_name(&header.alg).ok_or_else(|| JwtError::Header("an alg that is not accepted".into()))?;
        // A third dot would stand in the payload, where base64url has none.
        Ok(Self { header, algorithm, message, signature: decode(signature)?, payload: decode(payload)? })
    }

    /// The header's `typ`.
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    /// The header's `kid`: a hint, as everything in a header.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The payload, as it is.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The header's `alg`. A key of another kind verifies nothing, whatever it says.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the signature is that of `key`, by the key's own algorithm.
    #[must_use]
    pub fn verify(&self, key: &Jwk) -> bool {
        self.algorithm.key_type() == key.key_type() && key.verify(self.message.as_bytes(), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::SigningKey;
    use super::*;

    fn jws(header: &str) -> String {
        format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header))
    }

    #[test]
    fn verifies_the_vector_of_rfc_8037() {
        let key: Jwk = serde_json::from_str(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#).unwrap();
        let text = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
                    hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let parsed = CompactJws::parse(text).unwrap();
        assert_eq!(parsed.payload(), b"Example of Ed25519 signing");
        assert!(parsed.verify(&key));
        assert!(!parsed.verify(&Jwk::ed25519(&[1; 32])));
        assert!(!CompactJws::parse(&text.replace("RXhh", "RXhi")).unwrap().verify(&key));
        assert!(!CompactJws::parse(&text.replace("hgyY", "igyY")).unwrap().verify(&key));
        assert!(
            !CompactJws::parse(text.rsplit_once('.').map(|(message, _)| format!("{message}.AA")).unwrap().as_str()).unwrap().verify(&key)
        );
    }

    #[test]
    fn deny_a_key_of_another_kind() {
        let ed25519 = SigningKey::from_seed(&Zeroizing::new([1; 32]));
        let p256 = SigningKey::from_p256_scalar(&Zeroizing::new([1; 32])).unwrap();
        for (alg, signer, other) in [("EdDSA", &ed25519, &p256), ("Ed25519", &ed25519, &p256), ("ES256", &p256, &ed25519)] {
            let message = format!("{}.e30", URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}"}}"#)));
            let jws = |key: &SigningKey| format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())));
            let verdicts = |text: &str| [signer, other].map(|key| CompactJws::parse(text).unwrap().verify(key.public()));
            assert_eq!(verdicts(&jws(signer)), [true, false], "{alg}");
            // Signed by the other kind of key, whose own algorithm the header does not say.
            assert_eq!(verdicts(&jws(other)), [false, false], "{alg}");
        }
    }

    #[test]
    fn deny_a_mac_by_the_public_key() {
        use hmac::{Hmac, KeyInit as _, Mac as _};

        // RFC 8725 section 2.1: whoever lets the header choose would take what everybody knows for a shared secret.
        let p256 = SigningKey::from_p256_scalar(&Zeroizing::new([1; 32])).unwrap();
        for key in [SigningKey::from_seed(&Zeroizing::new([1; 32])).public(), p256.public()] {
            let known = [key.x().to_vec(), serde_json::to_vec(key).unwrap()];
            for alg in ["HS256", "EdDSA", "ES256"] {
                let message = format!("{}.e30", URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}"}}"#)));
                for secret in &known {
                    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
                    mac.update(message.as_bytes());
                    let tag = mac.finalize().into_bytes();
                    for signature in [tag.to_vec(), [tag, tag].concat()] {
                        let text = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
                        assert!(!CompactJws::parse(&text).is_ok_and(|jws| jws.verify(key)), "{alg}");
                    }
                }
            }
        }
    }

    #[test]
    fn deny_what_is_no_jws() {
        assert!(CompactJws::parse(&jws(r#"{"alg":"EdDSA","typ":"JWT","kid":"k"}"#)).is_ok());
        for text in ["", ".", "..", "a.b", "a.b.c.d", "!.!.!"] {
            assert!(CompactJws::parse(text).is_err(), "{text}");
        }
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"ES384"}"#,
            r#"{"alg":"eddsa"}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#,
            r#"{"alg":"EdDSA","crit":null}"#,
            r#"{"alg":"EdDSA","alg":"EdDSA"}"#,
            r#"{"alg":"EdDSA","kid":7}"#,
            "[]",
        ] {
            assert!(CompactJws::parse(&jws(header)).is_err(), "{header}");
        }
    }
}
