//! Access tokens: RFC 9068 JWTs, or CWTs with the same claims, minted from a grant.

mod cwt;
mod list;
mod offline;
mod revocation;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize, Serializer};

use crate::clients::Client;
use crate::clock::UnixTime;
use crate::jose::cose::{self, Sign1, Typ};
use crate::jose::{self, Jwk, JwkSet, JwtError, KeyRing};
use crate::oauth::{
    Check, ClientId, Reason, Record, RecordKind, Refusal, ScopeSet, Step, TokenResponse, TokenText, TokenType, Unwitnessed, Witness,
};
use crate::policy::{AclRule, Entitlement, Grant, Limit, PermissionClaims, Policy, ResourceServer, TokenFormat};

pub use list::{ClientCutOff, ListedToken, MAX_LIST, RevocationList, SignedList};
pub use offline::{OfflineError, OfflineVerifier};
pub use revocation::{LONGEST_LIFE, MAX_REVOKED, NotKept, RevocationState, RevocationStore, Revocations, RevokedToken, TokenHash};

/// The `typ` of an access token (RFC 9068 section 2.1).
pub const ACCESS_TOKEN_TYP: &str = "at+jwt";

/// Random bytes for one `jti`.
pub type TokenEntropy = [u8; 16];

/// The claims of an access token (RFC 9068 section 2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The gateway.
    pub iss: String,
    /// The client, as there is no other subject in this grant (RFC 9068 section 2.2).
    pub sub: String,
    /// The client (RFC 8693 section 4.3).
    pub client_id: String,
    /// The resource server.
    pub aud: String,
    /// When it was issued.
    pub iat: UnixTime,
    /// Not to be accepted before; 0, and left out, if it counts from its first sight.
    #[serde(default, skip_serializing_if = "is_left_out")]
    pub nbf: UnixTime,
    /// Not to be accepted from then on; likewise.
    #[serde(default, skip_serializing_if = "is_left_out")]
    pub exp: UnixTime,
    /// Seconds for which it is to be accepted from when its resource server first sees it (RFC 9200 section 5.10.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exi: Option<u64>,
    /// Unique, base64url: 128 random bits; with `exi` the resource server's id and a sequence number.
    pub jti: String,
    /// The scopes, separated by spaces, or the permissions in the resource server's dialect.
    pub scope: String,
    /// The key that its holder has to show possession of (RFC 7800).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// The permissions, for EMQX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<AclRule>>,
    /// Topic filters to publish to, for mosquitto-jwt-auth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publ: Option<Vec<String>>,
    /// Topic filters to subscribe to, for mosquitto-jwt-auth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subs: Option<Vec<String>>,
}

fn is_left_out(time: &UnixTime) -> bool {
    *time == UnixTime::default()
}

impl Claims {
    /// The sequence number among the tokens with `exi`; `None` for any other token.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.exi?;
        let bytes = URL_SAFE_NO_PAD.decode(&self.jti).ok()?;
        bytes.last_chunk().map(|number| u64::from_be_bytes(*number))
    }

    /// Until when the gateway keeps in mind that it was issued: a token with `exi` may be first seen at any time.
    #[must_use]
    pub fn remembered_until(&self) -> UnixTime {
        if self.exi.is_some() { self.iat.saturating_add(LONGEST_LIFE.into()) } else { self.exp }
    }
}

/// Where the sequence numbers of tokens with `exi` come from (RFC 9200 section 5.10.3): none comes twice, whatever happens to the gateway.
pub trait SequenceSource: Send + Sync {
    /// The next one; `None` if none can be had now.
    fn next(&self) -> Option<u64>;
}

/// The claim `cnf`: a public key (RFC 7800 section 3.2, RFC 8747 section 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The key, in a token by the members that make it up alone.
    #[serde(serialize_with = "bare")]
    pub jwk: Jwk,
}

fn bare<S: Serializer>(jwk: &Jwk, serializer: S) -> Result<S::Ok, S::Error> {
    jwk.bare().serialize(serializer)
}

/// What decides the life of a token beside its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Seconds a token lives if nothing shortens it.
    pub default: u32,
    /// Seconds no token outlives.
    pub maximum: u32,
}

/// A signed token and what the answer says of it.
#[must_use]
#[derive(Debug)]
pub struct AccessToken {
    token: Serialized,
    lifetime: u64,
    scope: ScopeSet,
    scope_is_announced: bool,
    claims: Claims,
}

/// A token in its own serialisation.
#[derive(Debug)]
enum Serialized {
    Jwt(String),
    Cwt(Vec<u8>),
}

impl AccessToken {
    /// The members of the answer.
    #[must_use]
    pub fn response(&self) -> TokenResponse<'_> {
        TokenResponse {
            access_token: match &self.token {
                Serialized::Jwt(token) => TokenText::Characters(token),
                Serialized::Cwt(token) => TokenText::Bytes(token),
            },
            token_type: if self.claims.cnf.is_some() { TokenType::Pop } else { TokenType::Bearer },
            expires_in: self.lifetime,
            scope: self.scope_is_announced.then_some(&self.scope),
        }
    }

    /// The scopes that were granted.
    #[must_use]
    pub fn scope(&self) -> &ScopeSet {
        &self.scope
    }

    /// What was signed; the token itself is for the client alone.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

/// Signs a token for `grant` by the active key of the kind that its resource server wants: one signature and little else.
///
/// # Errors
/// `server_error` if there is no such key, or signing fails.
pub fn mint(
    grant: Grant,
    issuer: &str,
    lifetimes: Lifetimes,
    keys: &KeyRing,
    now: UnixTime,
    entropy: TokenEntropy,
    sequence: Option<u64>,
) -> Result<AccessToken, Refusal> {
    let entitlement = grant.entitlement();
    let server = entitlement.resource_server();
    let draft = draft(entitlement, grant.confirmation().cloned(), issuer, lifetimes, now, entropy, sequence, &mut Unwitnessed);
    let key = require_key(server, keys.active_for(server.alg.key_type()), |key| key.kid(), &mut Unwitnessed)?;
    let failed = || Refusal::internal("the token could not be signed");
    let token = match server.token_format {
        TokenFormat::Jwt => Serialized::Jwt(jose::sign_as(server.alg, ACCESS_TOKEN_TYP, &draft.claims, key).map_err(|_| failed())?),
        TokenFormat::Cwt => {
            let payload = cwt::encode(&draft.claims, draft.aif.as_deref());
            Serialized::Cwt(cose::sign1(server.alg, &Typ::CWT, true, &payload, key).map_err(|_| failed())?)
        }
    };
    let scope_is_announced = entitlement.scope_to_announce().is_some();
    let Draft { claims, lifetime, .. } = draft;
    Ok(AccessToken { token, lifetime, scope: entitlement.scope().clone(), scope_is_announced, claims })
}

/// What a token would say, not signed: of no use to anybody but who wants to know.
#[derive(Debug)]
pub struct Draft {
    /// Its claims.
    pub claims: Claims,
    /// Seconds it lives.
    pub lifetime: u64,
    /// What the claim `scope` holds in a CWT in place of text.
    aif: Option<Vec<u8>>,
}

/// Writes the claims of a token for `entitlement`, bound to the key `cnf` if there is one, and with `exi` if there is a `sequence` number.
#[allow(clippy::too_many_arguments, reason = "each is a claim or two")]
pub fn draft<W: Witness>(
    entitlement: &Entitlement,
    cnf: Option<Jwk>,
    issuer: &str,
    lifetimes: Lifetimes,
    now: UnixTime,
    entropy: TokenEntropy,
    sequence: Option<u64>,
    witness: &mut W,
) -> Draft {
    let settings = [("token.lifetime", lifetimes.default), ("token.max-lifetime", lifetimes.maximum)];
    let of_settings = settings.map(|(setting, seconds)| (Bound::Setting(setting), u64::from(seconds)));
    let of_records = entitlement.limits(now).map(|(limit, seconds)| (Bound::Record(limit), seconds));
    let shortest = of_settings.into_iter().chain(of_records).min_by_key(|(_, seconds)| *seconds);
    let (bound, lifetime) = shortest.unwrap_or((Bound::Setting("token.lifetime"), 0));
    witness.note(|| {
        let record = match bound {
            Bound::Setting(setting) => Record::setting(setting),
            Bound::Record(limit) => entitlement.record_of(limit),
        };
        Step::passed(Check::Lifetime, vec![record], format!("{lifetime} s, the shortest of all limits"))
    });
    let permissions = entitlement.claims();
    let aif = permissions.aif.clone();
    let claims = claims(issuer, entitlement.client_id(), entitlement.resource_server(), permissions, cnf, now, lifetime, entropy, sequence);
    Draft { claims, lifetime, aif }
}

/// What bounds the life of a token.
#[derive(Clone, Copy)]
enum Bound {
    Setting(&'static str),
    Record(Limit),
}

/// The key that is to sign a token for a resource server, if there is one.
///
/// # Errors
/// `server_error` if there is none.
pub fn require_key<'k, K: ?Sized, W: Witness>(
    server: &ResourceServer,
    active: Option<&'k K>,
    kid: impl Fn(&K) -> &str,
    witness: &mut W,
) -> Result<&'k K, Refusal> {
    let wanted = || Record::new(RecordKind::ResourceServer, server.id.to_string()).member("alg");
    let Some(key) = active else {
        let finding = || format!("there is no key to sign {} with", server.alg.name());
        witness.note(|| Step::refused(Check::SigningKey, Reason::Internal, vec![wanted()], finding()));
        return Err(Refusal::internal("there is no key to sign with"));
    };
    witness.note(|| {
        let records = vec![Record::new(RecordKind::SigningKey, kid(key)), wanted()];
        Step::passed(Check::SigningKey, records, format!("signs {}", server.alg.name()))
    });
    Ok(key)
}

#[allow(clippy::too_many_arguments, reason = "each is a claim or two")]
fn claims(
    issuer: &str,
    client_id: &ClientId,
    server: &ResourceServer,
    permissions: PermissionClaims,
    cnf: Option<Jwk>,
    now: UnixTime,
    lifetime: u64,
    entropy: TokenEntropy,
    sequence: Option<u64>,
) -> Claims {
    let counted = |number: u64| URL_SAFE_NO_PAD.encode([server.id.as_str().as_bytes(), &number.to_be_bytes()].concat());
    Claims {
        iss: issuer.to_owned(),
        sub: client_id.as_str().to_owned(),
        client_id: client_id.as_str().to_owned(),
        aud: server.audience.clone(),
        iat: now,
        nbf: if sequence.is_some() { UnixTime::default() } else { now },
        exp: if sequence.is_some() { UnixTime::default() } else { now.saturating_add(lifetime) },
        exi: sequence.map(|_| lifetime),
        jti: sequence.map_or_else(|| URL_SAFE_NO_PAD.encode(entropy), counted),
        scope: permissions.scope,
        cnf: cnf.map(|jwk| Confirmation { jwk }),
        acl: permissions.acl,
        publ: permissions.publ,
        subs: permissions.subs,
    }
}

/// Bytes of the largest token that a client can get at a resource server, with all scopes it has there and, if it has keys, bound to one; `None`
/// if it can have none. Of a CWT its own bytes count, not those of their base64url in JSON.
#[must_use]
pub fn largest_size(issuer: &str, client: &Client, server: &ResourceServer, policy: &Policy) -> Option<usize> {
    // All times from 2001 to 2286 have one length in JSON, and to 2106 in CBOR.
    const NOW: UnixTime = UnixTime::from_secs(4_294_967_295);
    let permissions = policy.largest_claims(client, server)?;
    let aif = permissions.aif.clone();
    let cnf = client.jwks.iter().map(|key| &key.jwk).max_by_key(|key| key.y().is_some()).cloned();
    let by_its_end = claims(issuer, &client.client_id, server, permissions.clone(), cnf.clone(), NOW, 0, [0; 16], None);
    // Its life has as many digits as a life can have.
    let by_first_sight = claims(issuer, &client.client_id, server, permissions, cnf, NOW, LONGEST_LIFE.into(), [0; 16], Some(u64::MAX));
    let size = |claims: &Claims| size_of_token(claims, aif.as_deref(), server);
    size(&by_its_end).max(size(&by_first_sight))
}

fn size_of_token(claims: &Claims, aif: Option<&[u8]>, server: &ResourceServer) -> Option<usize> {
    // A signature is of one length.
    const SIGNATURE: usize = 64;
    match server.token_format {
        TokenFormat::Jwt => {
            let header = r#"{"typ":"at+jwt","alg":"","kid":""}"#.len().saturating_add(server.alg.name().len()).saturating_add(43);
            let payload = serde_json::to_vec(claims).ok()?.len();
            let encoded = |bytes| base64::encoded_len(bytes, false).unwrap_or(usize::MAX);
            Some([header, payload, SIGNATURE].map(encoded).into_iter().fold(2, usize::saturating_add))
        }
        TokenFormat::Cwt => {
            let payload = cwt::encode(claims, aif).len();
            Some(payload.saturating_add(cose::sign1_overhead(server.alg, payload)))
        }
    }
}

/// Checks an access token offline against a JWK Set (RFC 9068 section 4): a JWT, or the base64url of a CWT. `audience: None` accepts any.
///
/// # Errors
/// [`JwtError`] says which check failed.
pub fn verify(token: &str, issuer: &str, audience: Option<&str>, keys: &JwkSet, now: UnixTime) -> Result<Claims, JwtError> {
    check_times(verify_signed(token, issuer, audience, keys)?, now)
}

/// Checks all that [`verify`] does but the times.
///
/// # Errors
/// [`JwtError`] says which check failed.
pub fn verify_signed(token: &str, issuer: &str, audience: Option<&str>, keys: &JwkSet) -> Result<Claims, JwtError> {
    if token.contains('.') {
        let claims = jose::verify_signed(token, ACCESS_TOKEN_TYP, issuer, audience, keys)?;
        return serde_json::from_value(claims).map_err(|error| JwtError::Invalid(error.to_string()));
    }
    verify_signed_cwt(&cwt_bytes(token)?, issuer, audience, keys)
}

fn check_times(claims: Claims, now: UnixTime) -> Result<Claims, JwtError> {
    let invalid = |text: &str| Err(JwtError::Invalid(text.to_owned()));
    if claims.exi.is_some() {
        return invalid("it lives from when it is first seen (exi), which takes a verifier that remembers");
    }
    if claims.exp <= now {
        return invalid("it has expired");
    }
    if claims.nbf > now {
        return invalid("it is not valid yet");
    }
    Ok(claims)
}

/// Checks a CWT as [`verify`] does.
///
/// # Errors
/// [`JwtError`] says which check failed.
pub fn verify_cwt(token: &[u8], issuer: &str, audience: Option<&str>, keys: &JwkSet, now: UnixTime) -> Result<Claims, JwtError> {
    check_times(verify_signed_cwt(token, issuer, audience, keys)?, now)
}

fn verify_signed_cwt(token: &[u8], issuer: &str, audience: Option<&str>, keys: &JwkSet) -> Result<Claims, JwtError> {
    let parsed = parse_cwt(token)?;
    if parsed.typ() != Some(&Typ::CWT) {
        return Err(JwtError::Header("a typ other than application/cwt".into()));
    }
    let kid = parsed.kid().ok_or_else(|| JwtError::Header("no kid".into()))?;
    let key = keys.find(kid).ok_or_else(|| JwtError::UnknownKey(kid.to_owned()))?;
    let invalid = |text: &str| JwtError::Invalid(text.to_owned());
    if !parsed.verify(key) {
        return Err(invalid("its signature does not verify"));
    }
    let claims = cwt::decode(parsed.payload()).map_err(invalid)?;
    if claims.iss != issuer {
        return Err(invalid("it has another issuer"));
    }
    if audience.is_some_and(|audience| claims.aud != audience) {
        return Err(invalid("it is for another audience"));
    }
    Ok(claims)
}

/// A token as JSON carries it, of the characters of a JWT or the bytes of a CWT; `None` if it is neither.
#[must_use]
pub fn in_json(token: &[u8]) -> Option<Cow<'_, str>> {
    if token.starts_with(&cose::CWT) {
        return Some(URL_SAFE_NO_PAD.encode(token).into());
    }
    std::str::from_utf8(token).ok().filter(|text| text.contains('.')).map(Cow::Borrowed)
}

fn cwt_bytes(token: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(token).map_err(|_| JwtError::Malformed)
}

fn parse_cwt(token: &[u8]) -> Result<Sign1, JwtError> {
    let parsed = Sign1::parse(token).map_err(|error| match error {
        cose::CoseError::Header(what) => JwtError::Header(what.into()),
        _ => JwtError::Malformed,
    })?;
    if parsed.is_cwt() { Ok(parsed) } else { Err(JwtError::Malformed) }
}

/// The header and the claims of a token, a JWT or the base64url of a CWT, by their JSON names: nothing is checked. For showing to people only.
///
/// # Errors
/// [`JwtError::Malformed`], and for a CWT [`JwtError::Invalid`] if a claim is missing.
pub fn decode_unverified(token: &str) -> Result<(serde_json::Value, serde_json::Value), JwtError> {
    if token.contains('.') {
        return jose::decode_unverified(token);
    }
    let parsed = parse_cwt(&cwt_bytes(token)?)?;
    let claims = cwt::decode(parsed.payload()).map_err(|text| JwtError::Invalid(text.to_owned()))?;
    let header = serde_json::json!({"typ": "application/cwt", "alg": parsed.algorithm().name(), "kid": parsed.kid()});
    Ok((header, serde_json::to_value(claims).map_err(|_| JwtError::Malformed)?))
}

/// The claims of a token, as [`decode_unverified`] gives them: nothing is checked.
///
/// # Errors
/// If it is no token, or lacks a claim.
pub fn claims_unverified(token: &str) -> Result<Claims, JwtError> {
    let (_, claims) = decode_unverified(token)?;
    serde_json::from_value(claims).map_err(|error| JwtError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests;
