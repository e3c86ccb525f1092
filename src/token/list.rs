//! The revocation list of a resource server: what is void of its tokens, signed, in the form of its tokens (protocol section 11).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_cbor::Value;

use super::revocation::{RevocationState, Revocations, RevokedToken, TokenHash};
use super::{Claims, parse_cwt};
use crate::clock::UnixTime;
use crate::jose::cose::{self, Labels, Typ};
use crate::jose::{self, CompactJws, JwkSet, JwtError, KeyRing};
use crate::oauth::ClientId;
use crate::policy::{ResourceServer, TokenFormat};

/// The `typ` of a list that is a JWT.
pub const LIST_TYP: &str = "trl+jwt";
/// The `typ` of a list that is a CWT.
pub const LIST_TYP_CWT: &str = "application/trl+cwt";
/// Bytes of a signed list, at most: with its topic it fits a packet of 64 KiB, with room to spare.
pub const MAX_LIST: usize = 49_152;
/// Bytes of header and signature, at most.
const ENVELOPE: usize = 320;
/// Lines of a list, more than fit: of a client with the shortest id there are some 5,000 in a CWT.
const MAX_ENTRIES: usize = 8_192;

/// The claims of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationList {
    /// The gateway.
    pub iss: String,
    /// The resource server.
    pub aud: String,
    /// When it was signed.
    pub iat: UnixTime,
    /// Grows with every change of any list: who has seen a greater one takes no lesser one.
    pub seq: u64,
    /// Every token issued before is void, whosever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<UnixTime>,
    /// Clients whose tokens from before a time are void.
    pub clients: Vec<ClientCutOff>,
    /// Single tokens that are void.
    pub tokens: Vec<ListedToken>,
}

/// A client whose tokens from before a time are void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCutOff {
    /// The client.
    pub client_id: ClientId,
    /// The time: a token with an `iat` before it is void.
    pub issued_before: UnixTime,
}

/// A single token that is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedToken {
    /// RFC 9770 section 3.
    pub hash: TokenHash,
    /// Its id.
    pub jti: String,
    /// Its `exp`.
    pub exp: UnixTime,
}

/// A list, ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedList {
    /// A compact JWS, or a CWT.
    pub payload: Vec<u8>,
    /// Its media type.
    pub content_type: &'static str,
    /// Whether it is text.
    pub is_utf8: bool,
}

/// Claim keys of ours beside those of RFC 8392, in the range for private use.
mod claim {
    pub(super) const ISS: i64 = 1;
    pub(super) const AUD: i64 = 3;
    pub(super) const IAT: i64 = 6;
    pub(super) const SEQ: i64 = -65_538;
    pub(super) const ISSUED_BEFORE: i64 = -65_539;
    pub(super) const CLIENTS: i64 = -65_540;
    pub(super) const TOKENS: i64 = -65_541;
}

/// One line of a list: a client, or a single token of it.
#[derive(Clone, Copy)]
struct Entry<'a> {
    /// Voiding everything from before this voids it, too.
    bound: UnixTime,
    client: &'a Revocations,
    token: Option<&'a RevokedToken>,
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn number(number: u64) -> Value {
    Value::Integer(number.into())
}

impl ClientCutOff {
    fn to_value(&self) -> Value {
        Value::Array(vec![text(self.client_id.as_str()), number(self.issued_before.as_secs())])
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Array(parts) => match parts.as_slice() {
                [Value::Text(client_id), issued_before] => {
                    Some(Self { client_id: client_id.parse().ok()?, issued_before: UnixTime::from_secs(seconds(issued_before)?) })
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl ListedToken {
    fn to_value(&self) -> Value {
        // What is no base64url is none of ours.
        let cti = URL_SAFE_NO_PAD.decode(&self.jti).unwrap_or_default();
        Value::Array(vec![Value::Bytes(self.hash.as_bytes().to_vec()), Value::Bytes(cti), number(self.exp.as_secs())])
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Array(parts) => match parts.as_slice() {
                [Value::Bytes(hash), Value::Bytes(cti), exp] => Some(Self {
                    hash: TokenHash::from_bytes(hash)?,
                    jti: URL_SAFE_NO_PAD.encode(cti),
                    exp: UnixTime::from_secs(seconds(exp)?),
                }),
                _ => None,
            },
            _ => None,
        }
    }
}

fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(seconds) => u64::try_from(*seconds).ok(),
        _ => None,
    }
}

impl RevocationList {
    /// The list of a resource server, in at most `max_bytes` once it is signed.
    ///
    /// What does not fit is told by one time before which every token is void, whosever it is: the oldest are put together so, and a list never
    /// voids less than it should.
    #[must_use]
    pub fn new(issuer: &str, server: &ResourceServer, state: &RevocationState, now: UnixTime, max_bytes: usize) -> Self {
        let mut list = Self {
            iss: issuer.to_owned(),
            aud: server.audience.clone(),
            iat: now,
            seq: state.sequence,
            issued_before: None,
            clients: Vec::new(),
            tokens: Vec::new(),
        };
        let mut entries = entries(server, state, now);
        // The latest first; among equals in an order that does not depend on the store's. However many there are, few fit.
        if entries.len() > MAX_ENTRIES {
            let (_, oldest, _) = entries.select_nth_unstable_by(MAX_ENTRIES, Entry::latest_first);
            list.issued_before = Some(oldest.bound);
            entries.truncate(MAX_ENTRIES);
        }
        entries.sort_unstable_by(Entry::latest_first);
        // The time that may come in addition has its place from the beginning.
        let fixed = Self { issued_before: Some(now), ..list.clone() }.size(server.token_format);
        let mut left = budget(max_bytes.min(MAX_LIST), server.token_format).saturating_sub(fixed);
        for entry in entries {
            let line = entry.line();
            match left.checked_sub(line.size(server.token_format)) {
                Some(rest) => left = rest,
                None => {
                    list.issued_before = list.issued_before.max(Some(entry.bound));
                    break;
                }
            }
            match line {
                Line::Client(client) => list.clients.push(client),
                Line::Token(token) => list.tokens.push(token),
            }
        }
        list
    }

    /// Whether another list voids the same, whenever it was signed.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        Self { iat: other.iat, ..self.clone() } == *other
    }

    fn size(&self, format: TokenFormat) -> usize {
        match format {
            TokenFormat::Jwt => serde_json::to_vec(self).map_or(usize::MAX, |bytes| bytes.len()),
            TokenFormat::Cwt => self.to_cbor().len().saturating_add(16),
        }
    }

    /// Signs the list as the tokens of the resource server are signed.
    ///
    /// # Errors
    /// If there is no key of that kind.
    pub fn sign(&self, server: &ResourceServer, keys: &KeyRing) -> Result<SignedList, JwtError> {
        let key = keys.active_for(server.alg.key_type()).ok_or_else(|| JwtError::Invalid("there is no key to sign with".into()))?;
        match server.token_format {
            TokenFormat::Jwt => {
                let payload = jose::sign_as(server.alg, LIST_TYP, self, key)?.into_bytes();
                Ok(SignedList { payload, content_type: "application/trl+jwt", is_utf8: true })
            }
            TokenFormat::Cwt => {
                let typ = Typ::Name(LIST_TYP_CWT.to_owned());
                let payload = cose::sign1(server.alg, &typ, true, &self.to_cbor(), key);
                let payload = payload.map_err(|error| JwtError::Invalid(error.to_string()))?;
                Ok(SignedList { payload, content_type: LIST_TYP_CWT, is_utf8: false })
            }
        }
    }

    /// Reads a list as it was published, a JWT or a CWT, and checks its signature, issuer and audience. Its age is the caller's to judge, by
    /// [`seq`](Self::seq).
    ///
    /// # Errors
    /// [`JwtError`] says which check failed.
    pub fn verify(bytes: &[u8], issuer: &str, audience: &str, keys: &JwkSet) -> Result<Self, JwtError> {
        let invalid = |text: &str| JwtError::Invalid(text.to_owned());
        let find = |kid: Option<&str>| {
            let kid = kid.ok_or_else(|| JwtError::Header("no kid".into()))?;
            keys.find(kid).ok_or_else(|| JwtError::UnknownKey(kid.to_owned()))
        };
        let list = if bytes.starts_with(&cose::CWT) {
            let parsed = parse_cwt(bytes)?;
            if parsed.typ() != Some(&Typ::Name(LIST_TYP_CWT.to_owned())) {
                return Err(JwtError::Header(format!("a typ other than {LIST_TYP_CWT}")));
            }
            if !parsed.verify(find(parsed.kid())?) {
                return Err(invalid("its signature does not verify"));
            }
            Self::from_cbor(parsed.payload()).ok_or_else(|| invalid("its claims are not those of a revocation list"))?
        } else {
            let parsed = CompactJws::parse(std::str::from_utf8(bytes).map_err(|_| JwtError::Malformed)?.trim())?;
            if !parsed.typ().is_some_and(|typ| typ.eq_ignore_ascii_case(LIST_TYP)) {
                return Err(JwtError::Header(format!("a typ other than {LIST_TYP}")));
            }
            if !parsed.verify(find(parsed.kid())?) {
                return Err(invalid("its signature does not verify"));
            }
            serde_json::from_slice(parsed.payload()).map_err(|_| invalid("its claims are not those of a revocation list"))?
        };
        if list.iss != issuer {
            return Err(invalid("it has another issuer"));
        }
        if list.aud != audience {
            return Err(invalid("it is for another audience"));
        }
        Ok(list)
    }

    /// Whether the list voids a token with these claims and this hash.
    #[must_use]
    pub fn voids(&self, claims: &Claims, hash: &TokenHash) -> bool {
        let before = |bound: UnixTime| claims.iat < bound;
        self.issued_before.is_some_and(before)
            || self.clients.iter().any(|client| client.client_id.as_str() == claims.client_id && before(client.issued_before))
            || self.tokens.iter().any(|token| token.jti == claims.jti || token.hash == *hash)
    }

    fn to_cbor(&self) -> Vec<u8> {
        let mut members = vec![
            (claim::ISS, text(&self.iss)),
            (claim::AUD, text(&self.aud)),
            (claim::IAT, number(self.iat.as_secs())),
            (claim::SEQ, number(self.seq)),
            (claim::CLIENTS, Value::Array(self.clients.iter().map(ClientCutOff::to_value).collect())),
            (claim::TOKENS, Value::Array(self.tokens.iter().map(ListedToken::to_value).collect())),
        ];
        members.extend(self.issued_before.map(|bound| (claim::ISSUED_BEFORE, number(bound.as_secs()))));
        let members: BTreeMap<Value, Value> = members.into_iter().map(|(key, value)| (Value::Integer(key.into()), value)).collect();
        // Cannot fail: the keys are integers, and the writer is memory.
        serde_cbor::to_vec(&Value::Map(members)).unwrap_or_default()
    }

    fn from_cbor(payload: &[u8]) -> Option<Self> {
        let claims: Labels = serde_cbor::from_slice(payload).ok()?;
        let string = |key: i64| match claims.get(key) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let array = |key: i64| match claims.get(key) {
            Some(Value::Array(values)) => Some(values),
            _ => None,
        };
        let issued_before = match claims.get(claim::ISSUED_BEFORE) {
            None => None,
            Some(bound) => Some(UnixTime::from_secs(seconds(bound)?)),
        };
        Some(Self {
            iss: string(claim::ISS)?,
            aud: string(claim::AUD)?,
            iat: UnixTime::from_secs(claims.get(claim::IAT).and_then(seconds)?),
            seq: claims.get(claim::SEQ).and_then(seconds)?,
            issued_before,
            clients: array(claim::CLIENTS)?.iter().map(ClientCutOff::from_value).collect::<Option<_>>()?,
            tokens: array(claim::TOKENS)?.iter().map(ListedToken::from_value).collect::<Option<_>>()?,
        })
    }
}

/// What a list says of an entry.
enum Line {
    Client(ClientCutOff),
    Token(ListedToken),
}

impl Line {
    fn size(&self, format: TokenFormat) -> usize {
        match (format, self) {
            (TokenFormat::Jwt, Self::Client(client)) => {
                serde_json::to_vec(client).map_or(usize::MAX, |bytes| bytes.len().saturating_add(1))
            }
            (TokenFormat::Jwt, Self::Token(token)) => serde_json::to_vec(token).map_or(usize::MAX, |bytes| bytes.len().saturating_add(1)),
            (TokenFormat::Cwt, Self::Client(client)) => serde_cbor::to_vec(&client.to_value()).map_or(usize::MAX, |bytes| bytes.len()),
            (TokenFormat::Cwt, Self::Token(token)) => serde_cbor::to_vec(&token.to_value()).map_or(usize::MAX, |bytes| bytes.len()),
        }
    }
}

impl Entry<'_> {
    fn latest_first(&self, other: &Self) -> Ordering {
        other.bound.cmp(&self.bound).then_with(|| self.name().cmp(&other.name()))
    }

    /// Whose it is, and which.
    fn name(&self) -> (&str, Option<&str>) {
        (self.client.client_id.as_str(), self.token.map(|token| token.jti.as_str()))
    }

    fn line(&self) -> Line {
        match self.token {
            None => Line::Client(ClientCutOff { client_id: self.client.client_id.clone(), issued_before: self.bound }),
            Some(token) => Line::Token(ListedToken { hash: token.hash, jti: token.jti.clone(), exp: token.expires_at }),
        }
    }
}

/// What is void at a resource server.
fn entries<'a>(server: &ResourceServer, state: &'a RevocationState, now: UnixTime) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for client in state.clients.iter().map(Arc::as_ref) {
        entries.extend(client.bound(now).map(|bound| Entry { bound, client, token: None }));
        let tokens = client.tokens_at(&server.id, now);
        entries.extend(tokens.map(|token| Entry { bound: token.issued_at.saturating_add(1), client, token: Some(token) }));
    }
    entries
}

/// Bytes of claims that fit a signed list of `max_bytes`.
fn budget(max_bytes: usize, format: TokenFormat) -> usize {
    let inside = max_bytes.saturating_sub(ENVELOPE);
    match format {
        // base64url makes four characters of three bytes.
        TokenFormat::Jwt => (inside / 4).saturating_mul(3),
        TokenFormat::Cwt => inside,
    }
}

#[cfg(test)]
mod tests;
