//! Access tokens as CWTs (RFC 8392): the claims of `Claims` by their integer keys.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_cbor::Value;

use super::{Claims, Confirmation};
use crate::clock::UnixTime;
use crate::jose::cose::{self, Labels};

/// Claim keys (RFC 8392 section 4, RFC 8747 section 3, RFC 9200 section 5.8.1).
mod claim {
    pub(super) const ISS: i64 = 1;
    pub(super) const SUB: i64 = 2;
    pub(super) const AUD: i64 = 3;
    pub(super) const EXP: i64 = 4;
    pub(super) const NBF: i64 = 5;
    pub(super) const IAT: i64 = 6;
    pub(super) const CTI: i64 = 7;
    pub(super) const CNF: i64 = 8;
    pub(super) const SCOPE: i64 = 9;
    pub(super) const EXI: i64 = 40;
}

/// The confirmation method COSE_Key (RFC 8747 section 3.1).
const COSE_KEY: i64 = 1;

/// The claims set. `aif` is what `scope` holds in place of text. There is no `client_id`: CWT has no key for it, and it is the subject.
pub(super) fn encode(claims: &Claims, aif: Option<&[u8]>) -> Vec<u8> {
    let text = |text: &str| Value::Text(text.to_owned());
    let time = |time: UnixTime| Value::Integer(time.as_secs().into());
    let scope = aif.map_or_else(|| text(&claims.scope), |aif| Value::Bytes(aif.to_vec()));
    // What is no base64url is none of ours.
    let cti = URL_SAFE_NO_PAD.decode(&claims.jti).unwrap_or_default();
    let mut members = vec![
        (claim::ISS, text(&claims.iss)),
        (claim::SUB, text(&claims.sub)),
        (claim::AUD, text(&claims.aud)),
        (claim::IAT, time(claims.iat)),
        (claim::CTI, Value::Bytes(cti)),
        (claim::SCOPE, scope),
    ];
    match claims.exi {
        Some(exi) => members.push((claim::EXI, Value::Integer(exi.into()))),
        None => members.extend([(claim::EXP, time(claims.exp)), (claim::NBF, time(claims.nbf))]),
    }
    members.extend(claims.cnf.as_ref().map(|cnf| {
        let method = (Value::Integer(COSE_KEY.into()), cose::cose_key(&cnf.jwk));
        (claim::CNF, Value::Map(BTreeMap::from([method])))
    }));
    // Cannot fail: the keys are integers, and the writer is memory.
    serde_cbor::to_vec(&members.into_iter().collect::<BTreeMap<_, _>>()).unwrap_or_default()
}

/// Reads a claims set; what is wrong with it if that fails. A `scope` in bytes becomes their base64url.
pub(super) fn decode(payload: &[u8]) -> Result<Claims, &'static str> {
    let claims: Labels = serde_cbor::from_slice(payload).map_err(|_| "its claims are no CBOR map, or one stands twice")?;
    let text = |key: i64, missing: &'static str| match claims.get(key) {
        Some(Value::Text(text)) => Ok(text.clone()),
        _ => Err(missing),
    };
    let time = |key: i64, missing: &'static str| match claims.get(key) {
        Some(Value::Integer(seconds)) => u64::try_from(*seconds).map(UnixTime::from_secs).map_err(|_| missing),
        _ => Err(missing),
    };
    let Some(Value::Bytes(cti)) = claims.get(claim::CTI) else { return Err("it lacks the claim cti") };
    let scope = match claims.get(claim::SCOPE) {
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Bytes(bytes)) => URL_SAFE_NO_PAD.encode(bytes),
        _ => return Err("it lacks the claim scope"),
    };
    let cnf = match claims.get(claim::CNF) {
        None => None,
        Some(Value::Map(methods)) => {
            let key = methods.get(&Value::Integer(COSE_KEY.into())).ok_or("its claim cnf has no COSE_Key")?;
            Some(Confirmation { jwk: cose::jwk(key).map_err(|_| "its claim cnf has a key that cannot be used")? })
        }
        Some(_) => return Err("its claim cnf is no map"),
    };
    let sub = text(claim::SUB, "it lacks the claim sub")?;
    let exi = match claims.get(claim::EXI) {
        None => None,
        Some(Value::Integer(seconds)) => Some(u64::try_from(*seconds).map_err(|_| "its claim exi is no number of seconds")?),
        Some(_) => return Err("its claim exi is no number of seconds"),
    };
    // What counts from its first sight has no end of its own.
    let end = |key: i64, missing: &'static str| if exi.is_some() { Ok(UnixTime::default()) } else { time(key, missing) };
    Ok(Claims {
        iss: text(claim::ISS, "it lacks the claim iss")?,
        client_id: sub.clone(),
        sub,
        aud: text(claim::AUD, "it lacks the claim aud")?,
        iat: time(claim::IAT, "it lacks the claim iat")?,
        nbf: end(claim::NBF, "it lacks the claim nbf")?,
        exp: end(claim::EXP, "it lacks the claim exp")?,
        exi,
        jti: URL_SAFE_NO_PAD.encode(cti),
        scope,
        cnf,
        acl: None,
        publ: None,
        subs: None,
    })
}
