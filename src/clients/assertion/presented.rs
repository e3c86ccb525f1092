//! An assertion as it comes: a JWT (RFC 7523 section 3), or a COSE_Sign1 over the same claims by their CWT keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_cbor::Value;

use crate::clock::UnixTime;
use crate::jose::cose::{Labels, Sign1, Typ};
use crate::jose::{Algorithm, CompactJws, Jwk};

/// The `typ` values of a JWT that are accepted, beside none.
const TYPES: [&str; 2] = ["JWT", "client-authentication+jwt"];
/// The `typ` of a COSE_Sign1 by name; by number it is [`Typ::CWT`].
const CWT_TYPE: &str = "application/cwt";

/// Claim keys (RFC 8392 section 4; `cnonce` of RFC 9200 section 5.8.1) and ours, for private use.
mod claim {
    pub(super) const ISS: i64 = 1;
    pub(super) const SUB: i64 = 2;
    pub(super) const AUD: i64 = 3;
    pub(super) const EXP: i64 = 4;
    pub(super) const NBF: i64 = 5;
    pub(super) const IAT: i64 = 6;
    pub(super) const CTI: i64 = 7;
    pub(super) const CNONCE: i64 = 39;
    pub(super) const RQH: i64 = -65_537;
}

/// A signed assertion, not verified yet.
pub(super) enum Presented<'a> {
    Jws(CompactJws<'a>),
    Cose(Sign1),
}

/// The claims that count; others are ignored. Bytes of a CWT are here in base64url, as a JWT has them.
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) aud: String,
    pub(super) exp: UnixTime,
    pub(super) nbf: Option<UnixTime>,
    pub(super) iat: Option<UnixTime>,
    pub(super) jti: String,
    pub(super) nonce: Option<String>,
    pub(super) rqh: Option<String>,
}

impl<'a> Presented<'a> {
    /// Takes an assertion apart; nothing if it is none, or its header or a claim has a form that is not accepted.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<(Self, Claims)> {
        if Sign1::is_begun_by(bytes) {
            let signed = Sign1::parse(bytes).ok()?;
            let is_accepted = match signed.typ() {
                None => true,
                Some(Typ::Name(name)) => name.eq_ignore_ascii_case(CWT_TYPE),
                Some(number) => *number == Typ::CWT,
            };
            let claims = is_accepted.then(|| cwt_claims(signed.payload())).flatten()?;
            return Some((Self::Cose(signed), claims));
        }
        let jws = CompactJws::parse(std::str::from_utf8(bytes).ok()?).ok()?;
        if jws.typ().is_some_and(|typ| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ))) {
            return None;
        }
        let JwtClaims { iss, sub, aud: Audience::One(aud) | Audience::Array([aud]), exp, nbf, iat, jti, nonce, rqh } =
            serde_json::from_slice(jws.payload()).ok()?;
        let claims = Claims { iss, sub, aud, exp: exp.0, nbf: nbf.map(|date| date.0), iat: iat.map(|date| date.0), jti, nonce, rqh };
        Some((Self::Jws(jws), claims))
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Jws(jws) => jws.algorithm(),
            Self::Cose(signed) => signed.algorithm(),
        }
    }

    pub(super) fn kid(&self) -> Option<&str> {
        match self {
            Self::Jws(jws) => jws.kid(),
            Self::Cose(signed) => signed.kid(),
        }
    }

    pub(super) fn verify(&self, key: &Jwk) -> bool {
        match self {
            Self::Jws(jws) => jws.verify(key),
            Self::Cose(signed) => signed.verify(key),
        }
    }
}

#[derive(Deserialize)]
struct JwtClaims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: NumericDate,
    #[serde(default)]
    nbf: Option<NumericDate>,
    #[serde(default)]
    iat: Option<NumericDate>,
    jti: String,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    rqh: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Array([String; 1]),
}

/// RFC 7519 section 2: a fraction is allowed, and of no use here.
#[derive(Deserialize, Clone, Copy)]
#[serde(try_from = "serde_json::Number")]
struct NumericDate(UnixTime);

impl TryFrom<serde_json::Number> for NumericDate {
    type Error = &'static str;

    fn try_from(number: serde_json::Number) -> Result<Self, &'static str> {
        let seconds = number.as_u64().or_else(|| number.as_f64().and_then(whole)).ok_or("no time since the epoch")?;
        Ok(Self(UnixTime::from_secs(seconds)))
    }
}

/// From a float `as` saturates; what is no number or negative is sorted out before.
fn whole(seconds: f64) -> Option<u64> {
    (seconds >= 0.0).then_some(seconds as u64)
}

fn cwt_claims(payload: &[u8]) -> Option<Claims> {
    let claims: Labels = serde_cbor::from_slice(payload).ok()?;
    let text = |value: &Value| match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    let bytes = |value: &Value| match value {
        Value::Bytes(bytes) => Some(URL_SAFE_NO_PAD.encode(bytes)),
        _ => None,
    };
    let time = |value: &Value| match value {
        Value::Integer(seconds) => u64::try_from(*seconds).ok().map(UnixTime::from_secs),
        Value::Float(seconds) => whole(*seconds).map(UnixTime::from_secs),
        _ => None,
    };
    let aud = match claims.get(claim::AUD)? {
        Value::Array(one) => match one.as_slice() {
            [aud] => text(aud)?,
            _ => return None,
        },
        aud => text(aud)?,
    };
    // What is there must be of its type.
    fn optional<T>(value: Option<&Value>, read: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
        value.map_or(Some(None), |value| read(value).map(Some))
    }
    Some(Claims {
        iss: text(claims.get(claim::ISS)?)?,
        sub: text(claims.get(claim::SUB)?)?,
        aud,
        exp: time(claims.get(claim::EXP)?)?,
        nbf: optional(claims.get(claim::NBF), time)?,
        iat: optional(claims.get(claim::IAT), time)?,
        jti: bytes(claims.get(claim::CTI)?)?,
        nonce: optional(claims.get(claim::CNONCE), bytes)?,
        rqh: optional(claims.get(claim::RQH), bytes)?,
    })
}
