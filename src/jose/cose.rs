//! COSE_Sign1 (RFC 9052 section 4.2) and COSE_Key (RFC 9052 section 7): what JWS and JWK are, in CBOR.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};
use serde_bytes::{ByteBuf, Bytes};
use serde_cbor::Value;

use super::{Algorithm, Jwk, KeyType, SigningKey};

/// The tag of a CWT (RFC 8392 section 6) around the tag of a COSE_Sign1.
pub const CWT: [u8; 2] = [0xd8, 61];
/// The tag of a COSE_Sign1 (RFC 9052 section 2).
const SIGN1: u8 = 0xd2;

/// Header parameters (RFC 9052 section 3.1, RFC 9596).
mod label {
    pub(super) const ALG: i64 = 1;
    pub(super) const CRIT: i64 = 2;
    pub(super) const KID: i64 = 4;
    pub(super) const TYP: i64 = 16;
}

/// Why bytes are no COSE_Sign1 or no COSE_Key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// Not the CBOR that it should be.
    #[error("not a well-formed {0}")]
    Malformed(&'static str),
    /// A header that must not be ignored or is not accepted.
    #[error("the header has {0}")]
    Header(&'static str),
    /// A key that is not supported or not sound.
    #[error("{0}")]
    Key(&'static str),
}

/// What the content is (RFC 9596): a CoAP Content-Format or a media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typ {
    /// By number, such as 61 for `application/cwt`.
    Number(i64),
    /// By name.
    Name(String),
}

impl Typ {
    /// `application/cwt` (RFC 8392 section 9.3).
    pub const CWT: Typ = Typ::Number(61);

    fn to_value(&self) -> Value {
        match self {
            Self::Number(number) => Value::Integer((*number).into()),
            Self::Name(name) => Value::Text(name.clone()),
        }
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => i64::try_from(*number).ok().map(Self::Number),
            Value::Text(name) => Some(Self::Name(name.clone())),
            _ => None,
        }
    }
}

/// Signs `payload` as a tagged COSE_Sign1 whose protected header has `alg`, `kid` (the characters of the key's id) and `typ`; with `is_cwt`
/// under the tag of a CWT as well. Deterministic CBOR (RFC 8949 section 4.2.1).
///
/// # Errors
/// If the key is not one of the algorithm.
pub fn sign1(algorithm: Algorithm, typ: &Typ, is_cwt: bool, payload: &[u8], key: &SigningKey) -> Result<Vec<u8>, CoseError> {
    if algorithm.key_type() != key.key_type() {
        return Err(CoseError::Key("the key is not one of the algorithm"));
    }
    let protected = BTreeMap::from([
        (Value::Integer(label::ALG.into()), Value::Integer(algorithm.number().into())),
        (Value::Integer(label::KID.into()), Value::Bytes(key.kid().as_bytes().to_vec())),
        (Value::Integer(label::TYP.into()), typ.to_value()),
    ]);
    let protected = to_vec(&Value::Map(protected));
    let signature = key.sign(&to_sign(&protected, payload));
    let mut message = Vec::with_capacity(payload.len().saturating_add(160));
    if is_cwt {
        message.extend(CWT);
    }
    message.push(SIGN1);
    message.extend(to_vec(&Parts { protected: &protected, payload, signature: &signature }));
    Ok(message)
}

/// Bytes that [`sign1`] adds to a payload that itself has `payload` bytes, for a key id of 43 characters and a `typ` that is a number below 256.
#[must_use]
pub fn sign1_overhead(algorithm: Algorithm, payload: usize) -> usize {
    let number = if algorithm.number() < -24 { 2 } else { 1 };
    // Tags 3, array 1; protected: head 2, map 1, three labels 3, algorithm, kid 2 + 43, typ 2; unprotected 1; signature 2 + 64.
    let head = if payload < 24 {
        1
    } else if payload < 256 {
        2
    } else {
        3
    };
    [3, 1, 2, 1, 3, number, 45, 2, 1, 66, head].into_iter().fold(0, usize::saturating_add)
}

/// Cannot fail: the writer is memory, and every key is text or an integer.
fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    serde_cbor::to_vec(value).unwrap_or_default()
}

struct Parts<'a> {
    protected: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
}

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_tuple(4)?;
        array.serialize_element(Bytes::new(self.protected))?;
        array.serialize_element(&BTreeMap::<i64, Value>::new())?;
        array.serialize_element(Bytes::new(self.payload))?;
        array.serialize_element(Bytes::new(self.signature))?;
        array.end()
    }
}

/// The Sig_structure (RFC 9052 section 4.4), without external data.
fn to_sign(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    to_vec(&("Signature1", Bytes::new(protected), Bytes::new(&[]), Bytes::new(payload)))
}

/// A COSE_Sign1 whose header is understood. Nothing is verified until [`Sign1::verify`] says so.
#[derive(Debug)]
pub struct Sign1 {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<Typ>,
    is_cwt: bool,
    protected: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl Sign1 {
    /// Whether bytes begin as a COSE_Sign1 does, with its tags or without, which no text does that is base64url.
    #[must_use]
    pub fn is_begun_by(bytes: &[u8]) -> bool {
        bytes.starts_with(&CWT) || matches!(bytes.first(), Some(&SIGN1 | 0x84 | 0x9f))
    }

    /// Takes a COSE_Sign1 apart: untagged, tagged, or tagged as a CWT.
    ///
    /// # Errors
    /// If it is no COSE_Sign1 with its payload inside, if a header parameter stands twice, if it has `crit` (RFC 9052 section 3.1: nothing it could
    /// name is understood) or an algorithm that no key has. `alg` and `typ` count only in the protected header.
    pub fn parse(bytes: &[u8]) -> Result<Self, CoseError> {
        let malformed = || CoseError::Malformed("COSE_Sign1");
        let (is_cwt, rest) = bytes.strip_prefix(&CWT).map_or((false, bytes), |rest| (true, rest));
        let rest = match rest.strip_prefix(&[SIGN1]) {
            Some(rest) => rest,
            // Under the tag of a CWT there must be another (RFC 8392 section 6).
            None if is_cwt => return Err(malformed()),
            None => rest,
        };
        // serde_cbor passes over any other tag.
        if !matches!(rest.first(), Some(&(0x84 | 0x9f))) {
            return Err(malformed());
        }
        let (protected, unprotected, payload, signature): (ByteBuf, Labels, ByteBuf, ByteBuf) =
            serde_cbor::from_slice(rest).map_err(|_| malformed())?;
        let labels = match protected.as_slice() {
            [] => Labels::default(),
            bytes => serde_cbor::from_slice(bytes).map_err(|_| malformed())?,
        };
        if labels.0.keys().any(|label| unprotected.0.contains_key(label)) {
            return Err(CoseError::Header("a parameter twice"));
        }
        let get = |number: i64| labels.0.get(&Value::Integer(number.into()));
        let crit = Value::Integer(label::CRIT.into());
        if labels.0.contains_key(&crit) || unprotected.0.contains_key(&crit) {
            return Err(CoseError::Header("crit"));
        }
        let algorithm = match get(label::ALG) {
            Some(Value::Integer(number)) => i64::try_from(*number).ok().and_then(Algorithm::from_number),
            _ => None,
        };
        let typ = match get(label::TYP) {
            None => None,
            Some(value) => Some(Typ::from_value(value).ok_or(CoseError::Header("a typ of the wrong type"))?),
        };
        let kid = match get(label::KID).or_else(|| unprotected.0.get(&Value::Integer(label::KID.into()))) {
            None => None,
            Some(Value::Bytes(bytes)) => Some(String::from_utf8(bytes.clone()).map_err(|_| CoseError::Header("a kid that is no text"))?),
            Some(_) => return Err(CoseError::Header("a kid of the wrong type")),
        };
        Ok(Self {
            algorithm: algorithm.ok_or(CoseError::Header("no alg that is accepted"))?,
            kid,
            typ,
            is_cwt,
            protected: protected.into_vec(),
            payload: payload.into_vec(),
            signature: signature.into_vec(),
        })
    }

    /// The protected `alg`. A key of another kind verifies nothing, whatever it says.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `kid`, protected or not: a hint. Its bytes are the characters of a JWK's.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The protected `typ`.
    #[must_use]
    pub fn typ(&self) -> Option<&Typ> {
        self.typ.as_ref()
    }

    /// Whether it is tagged as a CWT.
    #[must_use]
    pub fn is_cwt(&self) -> bool {
        self.is_cwt
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether the signature is that of `key`, by the key's own algorithm.
    #[must_use]
    pub fn verify(&self, key: &Jwk) -> bool {
        // RFC 9052 section 4.4: an empty map is signed as an empty string.
        let protected: &[u8] = if self.protected == [0xa0] { &[] } else { &self.protected };
        self.algorithm.key_type() == key.key_type() && key.verify(&to_sign(protected, &self.payload), &self.signature)
    }
}

/// A map of header parameters or claims, in which nothing stands twice.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Labels(pub BTreeMap<Value, Value>);

impl Labels {
    /// The value of that integer label.
    #[must_use]
    pub fn get(&self, label: i64) -> Option<&Value> {
        self.0.get(&Value::Integer(label.into()))
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelsVisitor;

        impl<'de> Visitor<'de> for LabelsVisitor {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = BTreeMap::new();
                while let Some((label, value)) = map.next_entry::<Value, Value>()? {
                    if labels.insert(label, value).is_some() {
                        return Err(A::Error::custom("a label stands twice"));
                    }
                }
                Ok(Labels(labels))
            }
        }

        deserializer.deserialize_map(LabelsVisitor)
    }
}

/// COSE_Key parameters (RFC 9052 section 7.1, RFC 9053 section 7).
mod key {
    pub(super) const KTY: i64 = 1;
    pub(super) const KID: i64 = 2;
    pub(super) const ALG: i64 = 3;
    pub(super) const CRV: i64 = -1;
    pub(super) const X: i64 = -2;
    pub(super) const Y: i64 = -3;
    pub(super) const D: i64 = -4;
}

/// The `kty` and `crv` of a kind of key: OKP and Ed25519, EC2 and P-256.
const fn kind(key_type: KeyType) -> (i64, i64) {
    match key_type {
        KeyType::Ed25519 => (1, 6),
        KeyType::P256 => (2, 1),
    }
}

/// The COSE_Key of a public key, without its id.
#[must_use]
pub fn cose_key(jwk: &Jwk) -> Value {
    let (kty, crv) = kind(jwk.key_type());
    let mut members = BTreeMap::from([
        (Value::Integer(key::KTY.into()), Value::Integer(kty.into())),
        (Value::Integer(key::CRV.into()), Value::Integer(crv.into())),
        (Value::Integer(key::X.into()), Value::Bytes(jwk.x().to_vec())),
    ]);
    members.extend(jwk.y().map(|y| (Value::Integer(key::Y.into()), Value::Bytes(y.to_vec()))));
    Value::Map(members)
}

/// The public key of a COSE_Key.
///
/// # Errors
/// If it is not an Ed25519 or P-256 key that is sound, or holds a private key.
pub fn jwk(cose_key: &Value) -> Result<Jwk, CoseError> {
    let Value::Map(members) = cose_key else { return Err(CoseError::Malformed("COSE_Key")) };
    let get = |label: i64| members.get(&Value::Integer(label.into()));
    let integer = |label: i64| match get(label) {
        Some(Value::Integer(number)) => i64::try_from(*number).ok(),
        _ => None,
    };
    let coordinate = |label: i64| -> Result<[u8; 32], CoseError> {
        match get(label) {
            Some(Value::Bytes(bytes)) => bytes.as_slice().try_into().map_err(|_| CoseError::Key("a coordinate must be 32 bytes")),
            // RFC 9053 section 7.1.1: y may be a sign bit, which would need the point decompressed.
            Some(Value::Bool(_)) => Err(CoseError::Key("a compressed point is not supported")),
            _ => Err(CoseError::Key("a coordinate is missing")),
        }
    };
    if get(key::D).is_some() {
        return Err(CoseError::Key("the key has its private half: hand that to nobody, the gateway included"));
    }
    let found = (integer(key::KTY), integer(key::CRV));
    let key_type = KeyType::ALL.into_iter().find(|known| (Some(kind(*known).0), Some(kind(*known).1)) == found);
    let key_type = key_type.ok_or(CoseError::Key("only OKP keys of crv Ed25519 and EC2 keys of crv P-256 are supported"))?;
    if get(key::ALG).is_some() && integer(key::ALG).and_then(Algorithm::from_number).is_none_or(|alg| alg.key_type() != key_type) {
        return Err(CoseError::Key("the key has an alg for keys of another kind"));
    }
    let x = coordinate(key::X)?;
    let public = match key_type {
        KeyType::Ed25519 => Jwk::ed25519(&x),
        KeyType::P256 => Jwk::p256(&x, &coordinate(key::Y)?),
    };
    let public = match get(key::KID) {
        None => public,
        Some(Value::Bytes(kid)) => {
            public.with_kid(String::from_utf8(kid.clone()).map_err(|_| CoseError::Key("the kid of the key is no text"))?)
        }
        Some(_) => return Err(CoseError::Key("the kid of the key must be a byte string")),
    };
    if public.is_sound() { Ok(public) } else { Err(CoseError::Key("the key is not a sound point of its curve")) }
}

#[cfg(test)]
mod tests;
