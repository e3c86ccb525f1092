//! Signed JWTs (RFC 7519, RFC 7515) by the jsonwebtoken crate, with ed25519-dalek and p256 underneath.
//!
//! jsonwebtoken asks a process-wide provider for a signer at each call and hands it only the bytes of an `EncodingKey`. Deriving the key from
//! those bytes would double the cost of a token, so the key of the call in progress waits in a thread-local for the factory to take.

use std::cell::RefCell;
use std::sync::{Arc, Once};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer};
use jsonwebtoken::{DecodingKey, EncodingKey, Header};
use serde::{Serialize, de::DeserializeOwned};

use super::{Algorithm, CompactJws, JwkSet, KeyType, SigningKey};

/// Why a JWT was not signed or not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is not three base64url parts with a JSON header, nor a CWT.
    #[error("the token is neither a JWT nor a CWT")]
    Malformed,
    /// The header asks for something that must not be ignored or is not accepted.
    #[error("the token's header has {0}")]
    Header(String),
    /// No key of the set has the header's `kid`.
    #[error("no key of the JWK Set has the token's kid {0}")]
    UnknownKey(String),
    /// The signature or a registered claim does not hold.
    #[error("the token is not valid: {0}")]
    Invalid(String),
}

impl From<Error> for JwtError {
    fn from(error: Error) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Signs `claims` as a compact JWS with the header `{"typ", "alg", "kid"}`, `alg` being the key's [usual one](KeyType::algorithm).
///
/// # Errors
/// If the claims do not serialise to JSON.
pub fn sign<T: Serialize>(typ: &str, claims: &T, key: &Arc<SigningKey>) -> Result<String, JwtError> {
    install_provider();
    let mut header = Header::new(registered(key.key_type()));
    header.typ = Some(typ.to_owned());
    header.kid = Some(key.kid().to_owned());
    SIGNING.replace(Some(key.clone()));
    // Bytes of any form will do: the signer has the key of the call.
    let encoding = match key.key_type() {
        KeyType::Ed25519 => EncodingKey::from_ed_der(&[]),
        KeyType::P256 => EncodingKey::from_ec_der(&[]),
    };
    let token = jsonwebtoken::encode(&header, claims, &encoding);
    SIGNING.take();
    Ok(token?)
}

/// Signs as [`sign`] does, with this name in `alg`.
///
/// # Errors
/// If the claims do not serialise to JSON, or the key is of another kind.
pub fn sign_as<T: Serialize>(algorithm: Algorithm, typ: &str, claims: &T, key: &Arc<SigningKey>) -> Result<String, JwtError> {
    if algorithm.key_type() != key.key_type() {
        return Err(JwtError::Invalid("the key is not one of the algorithm".into()));
    }
    if algorithm == key.key_type().algorithm() {
        return sign(typ, claims, key);
    }
    // jsonwebtoken has no word for RFC 9864's names.
    #[derive(Serialize)]
    struct Named<'a> {
        typ: &'a str,
        alg: Algorithm,
        kid: &'a str,
    }
    let failed = |error: serde_json::Error| JwtError::Invalid(error.to_string());
    let header = serde_json::to_vec(&Named { typ, alg: algorithm, kid: key.kid() }).map_err(failed)?;
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims).map_err(failed)?, &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// Checks the signature of `token` by the key of `keys` that its `kid` names, its `typ`, `iss`, `aud` and `exp`, and returns its claims.
///
/// `now` in seconds since the epoch; no leeway is given. A `crit` header is refused (RFC 7515 section 4.1.11): nothing it could name is understood.
///
/// # Errors
/// [`JwtError`] says which check failed.
pub fn verify<T: DeserializeOwned>(
    token: &str,
    typ: &str,
    issuer: &str,
    audience: Option<&str>,
    keys: &JwkSet,
    now: u64,
) -> Result<T, JwtError> {
    let claims = verify_signed(token, typ, issuer, audience, keys)?;
    let invalid = |text: &str| Err(JwtError::Invalid(text.to_owned()));
    let time = |name: &str| claims.get(name).and_then(serde_json::Value::as_u64);
    if time("exp").is_none_or(|exp| exp <= now) {
        return invalid("it has expired");
    }
    if time("nbf").is_some_and(|nbf| nbf > now) {
        return invalid("it is not valid yet");
    }
    serde_json::from_value(claims).map_err(|error| JwtError::Invalid(error.to_string()))
}

/// Checks all that [`verify`] does but the times, and returns the claims as they are.
///
/// # Errors
/// [`JwtError`] says which check failed.
pub fn verify_signed(token: &str, typ: &str, issuer: &str, audience: Option<&str>, keys: &JwkSet) -> Result<serde_json::Value, JwtError> {
    let jws = CompactJws::parse(token)?;
    if !jws.typ().is_some_and(|found| found.eq_ignore_ascii_case(typ)) {
        return Err(JwtError::Header(format!("a typ other than {typ}")));
    }
    let kid = jws.kid().ok_or_else(|| JwtError::Header("no kid".into()))?;
    let key = keys.find(kid).ok_or_else(|| JwtError::UnknownKey(kid.to_owned()))?;
    let invalid = |text: &str| Err(JwtError::Invalid(text.to_owned()));
    if !jws.verify(key) {
        return invalid("its signature does not verify");
    }
    let claims: serde_json::Value = serde_json::from_slice(jws.payload()).map_err(|_| JwtError::Malformed)?;
    match claims.get("iss") {
        None => return invalid("it lacks the claim iss"),
        Some(found) if found != issuer => return invalid("it has another issuer"),
        Some(_) => {}
    }
    match (claims.get("aud"), audience) {
        (None, _) => return invalid("it lacks the claim aud"),
        (Some(found), Some(audience)) if !names(found, audience) => return invalid("it is for another audience"),
        (Some(_), _) => {}
    }
    Ok(claims)
}

/// Whether the claim `aud`, one string or an array of them (RFC 7519 section 4.1.3), names the audience.
fn names(aud: &serde_json::Value, audience: &str) -> bool {
    match aud {
        serde_json::Value::Array(all) => all.iter().any(|one| one == audience),
        one => one == audience,
    }
}

/// The header and the claims of a JWT, as they are: nothing is checked. For showing to people only.
///
/// # Errors
/// [`JwtError::Malformed`].
pub fn decode_unverified(token: &str) -> Result<(serde_json::Value, serde_json::Value), JwtError> {
    Ok((part(token, 0)?, part(token, 1)?))
}

fn part(token: &str, index: usize) -> Result<serde_json::Value, JwtError> {
    if token.split('.').count() != 3 {
        return Err(JwtError::Malformed);
    }
    let part = token.split('.').nth(index).ok_or(JwtError::Malformed)?;
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| JwtError::Malformed)
}

thread_local! {
    /// The key of the [`sign`] call in progress on this thread.
    static SIGNING: RefCell<Option<Arc<SigningKey>>> = const { RefCell::new(None) };
}

fn install_provider() {
    static PROVIDER: CryptoProvider =
        CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };
    static INSTALL: Once = Once::new();
    // A second installation can only be this same provider: nothing else in the process uses jsonwebtoken.
    INSTALL.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

/// jsonwebtoken's word for the usual algorithm of such keys.
fn registered(key_type: KeyType) -> jsonwebtoken::Algorithm {
    match key_type {
        KeyType::Ed25519 => jsonwebtoken::Algorithm::EdDSA,
        KeyType::P256 => jsonwebtoken::Algorithm::ES256,
    }
}

fn signer(algorithm: &jsonwebtoken::Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    match SIGNING.take() {
        Some(key) if registered(key.key_type()) == *algorithm => Ok(Box::new(KeySigner(key))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

/// Signatures are verified by [`CompactJws`], which knows RFC 9864's names, too.
fn verifier(_: &jsonwebtoken::Algorithm, _: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

struct KeySigner(Arc<SigningKey>);

impl Signer<Vec<u8>> for KeySigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).to_vec())
    }
}

impl JwtSigner for KeySigner {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        registered(self.0.key_type())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use zeroize::Zeroizing;

    use super::*;

    fn rfc_8037_key() -> Arc<SigningKey> {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        Arc::new(SigningKey::from_seed(&Zeroizing::new(seed.try_into().unwrap())))
    }

    fn keys(key: &SigningKey) -> JwkSet {
        JwkSet { keys: vec![key.public().clone()] }
    }

    fn claims() -> Value {
        json!({"iss": "https://as", "aud": "rs", "exp": 200, "nbf": 100})
    }

    fn verdict(token: &str, now: u64) -> Result<Value, JwtError> {
        verify(token, "at+jwt", "https://as", Some("rs"), &keys(&rfc_8037_key()), now)
    }

    #[test]
    fn signs_the_vector_of_rfc_8037() {
        let signature = rfc_8037_key().sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc");
        let expected = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(URL_SAFE_NO_PAD.encode(signature), expected);
    }

    #[test]
    fn verifies_what_it_signed() {
        let token = sign("at+jwt", &claims(), &rfc_8037_key()).unwrap();
        assert_eq!(verdict(&token, 150), Ok(claims()));
        let (header, _) = decode_unverified(&token).unwrap();
        assert_eq!(header, json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}));
    }

    #[test]
    fn every_algorithm_signs_by_its_name() {
        let p256 = Arc::new(SigningKey::from_p256_scalar(&Zeroizing::new([5; 32])).unwrap());
        for (algorithm, key) in [(Algorithm::EdDsa, rfc_8037_key()), (Algorithm::Ed25519, rfc_8037_key()), (Algorithm::Es256, p256.clone())]
        {
            let token = sign_as(algorithm, "at+jwt", &claims(), &key).unwrap();
            assert_eq!(decode_unverified(&token).unwrap().0, json!({"typ": "at+jwt", "alg": algorithm.name(), "kid": key.kid()}));
            assert_eq!(verify::<Value>(&token, "at+jwt", "https://as", Some("rs"), &keys(&key), 150), Ok(claims()), "{algorithm:?}");
        }
        assert!(sign_as(Algorithm::Es256, "at+jwt", &claims(), &rfc_8037_key()).is_err());
        assert!(sign_as(Algorithm::EdDsa, "at+jwt", &claims(), &p256).is_err());
    }

    #[test]
    fn deny_times_signatures_and_claims() {
        let key = rfc_8037_key();
        let token = sign("at+jwt", &claims(), &key).unwrap();
        assert!(verdict(&token, 200).is_err());
        assert!(verdict(&token, 99).is_err());
        let mut forged = token.clone();
        let last = forged.pop().unwrap();
        forged.push(if last == 'A' { 'Q' } else { 'A' });
        assert!(verdict(&forged, 150).is_err());
        for (member, value) in [("iss", json!("https://other")), ("aud", json!("other")), ("iss", Value::Null), ("exp", json!("200"))] {
            let mut claims = claims();
            claims[member] = value;
            assert!(verdict(&sign("at+jwt", &claims, &key).unwrap(), 150).is_err(), "{member}");
        }
        assert!(verdict(&sign("JWT", &claims(), &key).unwrap(), 150).is_err());
        let other = Arc::new(SigningKey::from_seed(&Zeroizing::new([1; 32])));
        assert!(matches!(verdict(&sign("at+jwt", &claims(), &other).unwrap(), 150), Err(JwtError::UnknownKey(_))));
    }

    #[test]
    fn deny_hostile_headers() {
        let key = rfc_8037_key();
        let forge = |header: Value| {
            let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", encode(&header), encode(&claims()));
            let signature = key.sign(message.as_bytes());
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        assert!(verdict(&forge(json!({"typ": "at+jwt", "alg": "EdDSA", "kid": key.kid()})), 150).is_ok());
        for header in [
            json!({"typ": "at+jwt", "alg": "none", "kid": key.kid()}),
            json!({"typ": "at+jwt", "alg": "HS256", "kid": key.kid()}),
            json!({"typ": "at+jwt", "alg": "EdDSA"}),
            json!({"typ": "at+jwt", "alg": "EdDSA", "kid": key.kid(), "crit": ["x"], "x": 1}),
            json!({"alg": "EdDSA", "kid": key.kid()}),
        ] {
            assert!(verdict(&forge(header.clone()), 150).is_err(), "{header}");
        }
        for token in ["", ".", "..", "a.b", "a.b.c.d", "!.!.!"] {
            assert!(verdict(token, 150).is_err(), "{token}");
        }
    }
}
