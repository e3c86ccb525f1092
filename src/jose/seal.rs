//! Tokens that only their device can read, whoever carries them: JWE (RFC 7516) and COSE_Encrypt (RFC 9052 section 5), by ECDH-ES with X25519
//! (RFC 7518 section 4.6, RFC 8037 section 3.2; RFC 9053 section 6.3.1) and A256GCM.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curve25519_dalek::montgomery::MontgomeryPoint;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_cbor::Value;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::cose::CoseError;

/// The key agreement that answers are sealed by.
pub const ALG: &str = "ECDH-ES";
/// The content encryption.
pub const ENC: &str = "A256GCM";
/// Bytes of A256GCM's nonce.
pub const NONCE: usize = 12;
/// Bytes of its tag.
pub const TAG: usize = 16;

/// The tag of a COSE_Encrypt (RFC 9052 section 2).
const ENCRYPT: [u8; 2] = [0xd8, 96];
/// Bits of a content encryption key.
const KEY_BITS: u32 = 256;

/// Numbers of RFC 9052 and RFC 9053.
mod number {
    pub(super) const ALG: i128 = 1;
    pub(super) const CONTENT_TYPE: i128 = 3;
    pub(super) const IV: i128 = 5;
    pub(super) const EPHEMERAL_KEY: i128 = -1;
    pub(super) const A256GCM: i128 = 3;
    pub(super) const ECDH_ES_HKDF_256: i128 = -25;
    pub(super) const KTY: i128 = 1;
    pub(super) const OKP: i128 = 1;
    pub(super) const CRV: i128 = -1;
    pub(super) const X25519: i128 = 4;
    pub(super) const X: i128 = -2;
    pub(super) const D: i128 = -4;
}

/// What sealing needs of the world: random bytes and A256GCM.
pub trait Sealer: Send + Sync {
    /// Fills with random bytes of the operating system; false if there are none.
    fn random(&self, bytes: &mut [u8]) -> bool;

    /// Encrypts in place and appends the tag; false if that fails.
    fn encrypt(&self, key: &[u8; 32], nonce: [u8; NONCE], aad: &[u8], content: &mut Vec<u8>) -> bool;
}

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// The characters of a JWT.
    Jwt(&'a str),
    /// A CWT.
    Cwt(&'a [u8]),
}

impl Content<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Jwt(text) => text.as_bytes(),
            Self::Cwt(bytes) => bytes,
        }
    }

    /// `cty` of a JWE: RFC 7519 section 5.2 for a JWT, and the media type without `application/` for a CWT.
    const fn cty(&self) -> &'static str {
        match self {
            Self::Jwt(_) => "JWT",
            Self::Cwt(_) => "cwt",
        }
    }

    fn content_type(&self) -> Value {
        match self {
            Self::Jwt(_) => Value::Text("application/jwt".into()),
            // RFC 8392 section 9.3.
            Self::Cwt(_) => Value::Integer(61),
        }
    }
}

/// The public X25519 key of whoever is to read (RFC 8037 section 3.2, RFC 9053 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncryptionKey([u8; 32]);

impl EncryptionKey {
    /// The public half of a private key: any 32 bytes (RFC 7748 section 6.1).
    #[must_use]
    pub fn of(private: &Zeroizing<[u8; 32]>) -> Self {
        Self(MontgomeryPoint::mul_base_clamped(**private).to_bytes())
    }

    /// Reads a JWK.
    ///
    /// # Errors
    /// If it is not an X25519 key, or comes with its private half.
    pub fn from_jwk(jwk: &Value) -> Result<Self, CoseError> {
        let Value::Map(members) = jwk else { return Err(CoseError::Malformed("JWK")) };
        let get = |name: &str| members.get(&Value::Text(name.to_owned()));
        let is = |name: &str, wanted: &str| matches!(get(name), Some(Value::Text(text)) if text == wanted);
        if get("d").is_some() {
            return Err(CoseError::Key("the key has its private half: hand that to nobody, the gateway included"));
        }
        match get("x") {
            Some(Value::Text(x)) if is("kty", "OKP") && is("crv", "X25519") => Self::from_x(URL_SAFE_NO_PAD.decode(x).ok()),
            _ => Err(CoseError::Key("only OKP keys of crv X25519 are supported")),
        }
    }

    /// Reads a COSE_Key.
    ///
    /// # Errors
    /// As [`Self::from_jwk`].
    pub fn from_cose_key(key: &Value) -> Result<Self, CoseError> {
        let Value::Map(members) = key else { return Err(CoseError::Malformed("COSE_Key")) };
        let get = |label: i128| members.get(&Value::Integer(label));
        let is = |label: i128, wanted: i128| matches!(get(label), Some(Value::Integer(number)) if *number == wanted);
        if get(number::D).is_some() {
            return Err(CoseError::Key("the key has its private half: hand that to nobody, the gateway included"));
        }
        match get(number::X) {
            Some(Value::Bytes(x)) if is(number::KTY, number::OKP) && is(number::CRV, number::X25519) => Self::from_x(Some(x.clone())),
            _ => Err(CoseError::Key("only OKP keys of crv X25519 are supported")),
        }
    }

    fn from_x(x: Option<Vec<u8>>) -> Result<Self, CoseError> {
        x.and_then(|x| x.try_into().ok()).map(Self).ok_or(CoseError::Key("x must be 32 bytes"))
    }

    /// The key as a JWK.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        let members = [("kty", text("OKP")), ("crv", text("X25519")), ("x", Value::Text(URL_SAFE_NO_PAD.encode(self.0)))];
        Value::Map(members.into_iter().map(|(name, value)| (text(name), value)).collect())
    }

    /// The key as a COSE_Key.
    #[must_use]
    pub fn cose_key(&self) -> Value {
        map([
            (number::KTY, Value::Integer(number::OKP)),
            (number::CRV, Value::Integer(number::X25519)),
            (number::X, Value::Bytes(self.0.to_vec())),
        ])
    }

    /// What both sides come to (RFC 7748 section 6.1); `None` if this is a point of small order, with which everybody comes to it.
    #[must_use]
    pub fn agree(&self, private: &Zeroizing<[u8; 32]>) -> Option<Zeroizing<[u8; 32]>> {
        let shared = Zeroizing::new(MontgomeryPoint(self.0).mul_clamped(**private).to_bytes());
        let is_zero = shared.iter().fold(0, |all, byte| all | byte) == 0;
        (!is_zero).then_some(shared)
    }
}

fn map<const N: usize>(members: [(i128, Value); N]) -> Value {
    Value::Map(members.into_iter().map(|(label, value)| (Value::Integer(label), value)).collect::<BTreeMap<_, _>>())
}

/// Cannot fail: the writer is memory, and every key is text or an integer.
fn to_vec(value: &Value) -> Vec<u8> {
    serde_cbor::to_vec(value).unwrap_or_default()
}

/// The key of a JWE by direct key agreement (RFC 7518 section 4.6.2), without apu and apv: one round of the Concat KDF makes 256 bits.
#[must_use]
pub fn concat_kdf(shared: &Zeroizing<[u8; 32]>) -> Zeroizing<[u8; 32]> {
    let mut hash = Sha256::new();
    hash.update(1_u32.to_be_bytes());
    hash.update(shared.as_slice());
    hash.update(u32::try_from(ENC.len()).unwrap_or_default().to_be_bytes());
    hash.update(ENC);
    // The lengths of apu and apv.
    hash.update([0; 8]);
    hash.update(KEY_BITS.to_be_bytes());
    Zeroizing::new(hash.finalize().into())
}

/// The key of a COSE_Encrypt by ECDH-ES + HKDF-256 (RFC 9053 sections 5.2 and 6.3.1) for A256GCM; `protected` is the recipient's header.
#[must_use]
pub fn cose_kdf(shared: &Zeroizing<[u8; 32]>, protected: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let nobody = || Value::Array(vec![Value::Null, Value::Null, Value::Null]);
    let public = Value::Array(vec![Value::Integer(KEY_BITS.into()), Value::Bytes(protected.to_vec())]);
    let context = to_vec(&Value::Array(vec![Value::Integer(number::A256GCM), nobody(), nobody(), public]));
    // RFC 5869 with no salt; 256 bits are the first block.
    let secret = hmac(&[0; 32], &[shared.as_slice()])?;
    hmac(&secret, &[&context, &[1]])
}

/// Always something: HMAC takes keys of any length.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(Zeroizing::new(mac.finalize().into_bytes().into()))
}

/// One side's fresh key, what both come to, and a nonce.
struct Exchange {
    ephemeral: EncryptionKey,
    shared: Zeroizing<[u8; 32]>,
    nonce: [u8; NONCE],
}

impl Exchange {
    fn with(key: &EncryptionKey, sealer: &dyn Sealer) -> Option<Self> {
        let (mut private, mut nonce) = (Zeroizing::new([0; 32]), [0; NONCE]);
        let is_random = sealer.random(private.as_mut_slice()) && sealer.random(&mut nonce);
        let shared = key.agree(&private).filter(|_| is_random)?;
        Some(Self { ephemeral: EncryptionKey::of(&private), shared, nonce })
    }
}

/// Seals as a JWE in the compact serialisation; `None` if the key binds nobody, or the system gives no random bytes.
#[must_use]
pub fn jwe(content: Content<'_>, key: &EncryptionKey, sealer: &dyn Sealer) -> Option<String> {
    let Exchange { ephemeral, shared, nonce } = Exchange::with(key, sealer)?;
    let (cty, x) = (content.cty(), URL_SAFE_NO_PAD.encode(ephemeral.0));
    let header = format!(r#"{{"alg":"{ALG}","enc":"{ENC}","cty":"{cty}","epk":{{"kty":"OKP","crv":"X25519","x":"{x}"}}}}"#);
    let header = URL_SAFE_NO_PAD.encode(header);
    let mut sealed = content.bytes().to_vec();
    if !sealer.encrypt(&concat_kdf(&shared), nonce, header.as_bytes(), &mut sealed) {
        return None;
    }
    let (ciphertext, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG)?)?;
    let [nonce, ciphertext, tag] = [&nonce, ciphertext, tag].map(|part| URL_SAFE_NO_PAD.encode(part));
    // Direct agreement has no encrypted key.
    Some(format!("{header}..{nonce}.{ciphertext}.{tag}"))
}

/// Seals as a tagged COSE_Encrypt with one recipient, in deterministic CBOR (RFC 8949 section 4.2.1); `None` as in [`jwe`].
#[must_use]
pub fn cose_encrypt(content: Content<'_>, key: &EncryptionKey, sealer: &dyn Sealer) -> Option<Vec<u8>> {
    let Exchange { ephemeral, shared, nonce } = Exchange::with(key, sealer)?;
    let protected = to_vec(&map([(number::ALG, Value::Integer(number::A256GCM)), (number::CONTENT_TYPE, content.content_type())]));
    let of_recipient = to_vec(&map([(number::ALG, Value::Integer(number::ECDH_ES_HKDF_256))]));
    let mut sealed = content.bytes().to_vec();
    if !sealer.encrypt(&*cose_kdf(&shared, &of_recipient)?, nonce, &enc_structure(&protected), &mut sealed) {
        return None;
    }
    let recipient = vec![Value::Bytes(of_recipient), map([(number::EPHEMERAL_KEY, ephemeral.cose_key())]), Value::Bytes(Vec::new())];
    let message = Value::Array(vec![
        Value::Bytes(protected),
        map([(number::IV, Value::Bytes(nonce.to_vec()))]),
        Value::Bytes(sealed),
        Value::Array(vec![Value::Array(recipient)]),
    ]);
    Some([ENCRYPT.as_slice(), &to_vec(&message)].concat())
}

/// What the tag of a COSE_Encrypt covers beside the content (RFC 9052 section 5.3).
#[must_use]
pub fn enc_structure(protected: &[u8]) -> Vec<u8> {
    to_vec(&Value::Array(vec![Value::Text("Encrypt".into()), Value::Bytes(protected.to_vec()), Value::Bytes(Vec::new())]))
}

/// What a sealed answer is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The sender's fresh key.
    pub ephemeral: EncryptionKey,
    /// A256GCM's nonce.
    pub nonce: [u8; NONCE],
    /// What the tag covers beside the content.
    pub aad: Vec<u8>,
    /// The content, encrypted, and the tag.
    pub content: Vec<u8>,
    /// The recipient's protected header of a COSE_Encrypt.
    recipient: Option<Vec<u8>>,
}

impl Sealed {
    /// Reads a JWE of the form that [`jwe`] makes.
    #[must_use]
    pub fn from_jwe(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut part = || parts.next();
        let (header, encrypted_key, nonce, ciphertext, tag) = (part()?, part()?, part()?, part()?, part()?);
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let members: Value = serde_json::from_slice(&decoded(header)?).ok()?;
        let Value::Map(members) = &members else { return None };
        let get = |name: &str| members.get(&Value::Text(name.to_owned()));
        let is = |name: &str, wanted: &str| matches!(get(name), Some(Value::Text(text)) if text == wanted);
        let is_ours = parts.next().is_none() && encrypted_key.is_empty() && is("alg", ALG) && is("enc", ENC);
        // What is said to be critical, or enters the key, is not understood here.
        if !is_ours || ["crit", "apu", "apv", "zip"].into_iter().any(|name| get(name).is_some()) {
            return None;
        }
        let content = [decoded(ciphertext)?, decoded(tag).filter(|tag| tag.len() == TAG)?].concat();
        Some(Self {
            ephemeral: EncryptionKey::from_jwk(get("epk")?).ok()?,
            nonce: decoded(nonce)?.try_into().ok()?,
            aad: header.as_bytes().to_vec(),
            content,
            recipient: None,
        })
    }

    /// Reads a COSE_Encrypt of the form that [`cose_encrypt`] makes.
    #[must_use]
    pub fn from_cose(bytes: &[u8]) -> Option<Self> {
        let Ok(Value::Array(parts)) = serde_cbor::from_slice(bytes.strip_prefix(&ENCRYPT)?) else { return None };
        let [Value::Bytes(protected), Value::Map(unprotected), Value::Bytes(content), Value::Array(recipients)] = parts.as_slice() else {
            return None;
        };
        let [Value::Array(recipient)] = recipients.as_slice() else { return None };
        let [Value::Bytes(of_recipient), Value::Map(keys), Value::Bytes(_)] = recipient.as_slice() else { return None };
        let alg = |header: &[u8]| match serde_cbor::from_slice(header) {
            Ok(Value::Map(members)) => match members.get(&Value::Integer(number::ALG)) {
                Some(Value::Integer(alg)) => Some(*alg),
                _ => None,
            },
            _ => None,
        };
        let Some(Value::Bytes(nonce)) = unprotected.get(&Value::Integer(number::IV)) else { return None };
        if alg(protected) != Some(number::A256GCM) || alg(of_recipient) != Some(number::ECDH_ES_HKDF_256) {
            return None;
        }
        Some(Self {
            ephemeral: EncryptionKey::from_cose_key(keys.get(&Value::Integer(number::EPHEMERAL_KEY))?).ok()?,
            nonce: nonce.as_slice().try_into().ok()?,
            aad: enc_structure(protected),
            content: content.clone(),
            recipient: Some(of_recipient.clone()),
        })
    }

    /// The key that the content is encrypted by, for the holder of the private key.
    #[must_use]
    pub fn key(&self, private: &Zeroizing<[u8; 32]>) -> Option<Zeroizing<[u8; 32]>> {
        let shared = self.ephemeral.agree(private)?;
        match &self.recipient {
            None => Some(concat_kdf(&shared)),
            Some(protected) => cose_kdf(&shared, protected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No secrets and no randomness, for its own sake: what is sealed is opened by the same keys. Other implementations open it in tests/it/sealed.rs.
    struct Plain;

    impl Sealer for Plain {
        fn random(&self, bytes: &mut [u8]) -> bool {
            bytes.fill(9);
            true
        }

        fn encrypt(&self, key: &[u8; 32], nonce: [u8; NONCE], _aad: &[u8], content: &mut Vec<u8>) -> bool {
            content.extend(key.iter().chain(&nonce).take(TAG));
            true
        }
    }

    #[test]
    fn both_sides_come_to_the_same_key() {
        let private = Zeroizing::new([7; 32]);
        let to = EncryptionKey::of(&private);
        let tag = |sealed: &Sealed| sealed.content[sealed.content.len() - TAG..].to_vec();
        let text = jwe(Content::Jwt("a.b.c"), &to, &Plain).unwrap();
        let sealed = Sealed::from_jwe(&text).unwrap();
        assert_eq!(tag(&sealed), sealed.key(&private).unwrap()[..TAG]);
        assert!(sealed.content.starts_with(b"a.b.c") && text.starts_with(std::str::from_utf8(&sealed.aad).unwrap()));
        let bytes = cose_encrypt(Content::Cwt(b"cwt"), &to, &Plain).unwrap();
        let sealed = Sealed::from_cose(&bytes).unwrap();
        assert_eq!(tag(&sealed), sealed.key(&private).unwrap()[..TAG]);
        let value: Value = serde_cbor::from_slice(&bytes[2..]).unwrap();
        assert_eq!(serde_cbor::to_vec(&value).unwrap(), bytes[2..], "deterministic");
        assert_eq!(sealed.key(&Zeroizing::new([8; 32])).map(|key| tag(&sealed) == key[..TAG]), Some(false));
    }

    #[test]
    fn nothing_is_sealed_without_randomness_or_for_nobody() {
        struct Poor;
        impl Sealer for Poor {
            fn random(&self, _: &mut [u8]) -> bool {
                false
            }
            fn encrypt(&self, _: &[u8; 32], _: [u8; NONCE], _: &[u8], _: &mut Vec<u8>) -> bool {
                true
            }
        }
        let to = EncryptionKey::of(&Zeroizing::new([7; 32]));
        assert_eq!((jwe(Content::Jwt("a"), &to, &Poor), cose_encrypt(Content::Jwt("a"), &to, &Poor)), (None, None));
        assert_eq!(jwe(Content::Jwt("a"), &EncryptionKey([0; 32]), &Plain), None);
    }

    #[test]
    fn deny_what_is_sealed_otherwise() {
        let to = EncryptionKey::of(&Zeroizing::new([7; 32]));
        let text = jwe(Content::Jwt("a.b.c"), &to, &Plain).unwrap();
        let (header, rest) = text.split_once('.').unwrap();
        let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        for (from, into) in [
            ("ECDH-ES", "ECDH-ES+A256KW"),
            ("A256GCM", "A128GCM"),
            ("\"cty\"", "\"apu\""),
            ("\"cty\":\"JWT\"", "\"crit\":[\"exp\"]"),
            ("X25519", "X448"),
        ] {
            let changed = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.replace(from, into)));
            assert_eq!(Sealed::from_jwe(&changed), None, "{from}");
        }
        for wrong in ["", "....", &text[..text.len() - 30], &format!("{text}.x"), &text.replacen("..", ".AA.", 1)] {
            assert_eq!(Sealed::from_jwe(wrong), None, "{wrong}");
        }
        let bytes = cose_encrypt(Content::Cwt(b"cwt"), &to, &Plain).unwrap();
        for at in 0..bytes.len() {
            // No panic, whatever it is.
            drop(Sealed::from_cose(&bytes[..at]));
        }
        assert_eq!(Sealed::from_cose(b"\xd8\x60\x84"), None);
    }

    #[test]
    fn deny_points_of_small_order_and_foreign_keys() {
        let private = Zeroizing::new([7; 32]);
        assert_eq!(EncryptionKey([0; 32]).agree(&private), None);
        let own = EncryptionKey::of(&private);
        assert_eq!(EncryptionKey::from_jwk(&own.jwk()), Ok(own));
        assert_eq!(EncryptionKey::from_cose_key(&own.cose_key()), Ok(own));
        let jwk = |text: &str| EncryptionKey::from_jwk(&serde_json::from_str(text).unwrap());
        assert_eq!(own.agree(&private).map(|_| ()), Some(()));
        let x = "A".repeat(43);
        for wrong in [
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#),
            format!(r#"{{"kty":"EC","crv":"X25519","x":"{x}"}}"#),
            format!(r#"{{"kty":"OKP","crv":"X25519","x":"{x}","d":"{x}"}}"#),
            r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#.to_owned(),
            r#"{"kty":"OKP","crv":"X25519"}"#.to_owned(),
            "[]".to_owned(),
        ] {
            assert!(jwk(&wrong).is_err(), "{wrong}");
        }
    }
}
