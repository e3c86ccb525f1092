//! Access tokens: RFC 9068 JWTs minted from a grant.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clients::Client;
use crate::clock::UnixTime;
use crate::jose::{self, JwkSet, JwtError, KeyRing};
use crate::oauth::{ClientId, Refusal, ScopeSet, TokenResponse, TokenType};
use crate::policy::{AclRule, Grant, PermissionClaims, Policy, ResourceServer};

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
    /// Not to be accepted before.
    pub nbf: UnixTime,
    /// Not to be accepted from then on.
    pub exp: UnixTime,
    /// Unique: 128 random bits, base64url.
    pub jti: String,
    /// The scopes, separated by spaces, or the permissions in the resource server's dialect.
    pub scope: String,
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
    token: String,
    lifetime: u64,
    scope: ScopeSet,
    scope_is_announced: bool,
    claims: Claims,
}

impl AccessToken {
    /// The members of the answer.
    #[must_use]
    pub fn response(&self) -> TokenResponse<'_> {
        TokenResponse {
            access_token: &self.token,
            token_type: TokenType::Bearer,
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
) -> Result<AccessToken, Refusal> {
    let server = grant.resource_server();
    let lifetime = u64::from(lifetimes.default.min(lifetimes.maximum)).min(grant.max_lifetime(now));
    let claims = claims(issuer, grant.client_id(), server, grant.claims(), now, lifetime, entropy);
    let key = keys.active_for(server.alg.key_type()).ok_or_else(|| Refusal::internal("there is no key to sign with"))?;
    let token =
        jose::sign_as(server.alg, ACCESS_TOKEN_TYP, &claims, key).map_err(|_| Refusal::internal("the token could not be signed"))?;
    let scope_is_announced = grant.scope_to_announce().is_some();
    Ok(AccessToken { token, lifetime, scope: grant.scope().clone(), scope_is_announced, claims })
}

fn claims(
    issuer: &str,
    client_id: &ClientId,
    server: &ResourceServer,
    permissions: PermissionClaims,
    now: UnixTime,
    lifetime: u64,
    entropy: TokenEntropy,
) -> Claims {
    Claims {
        iss: issuer.to_owned(),
        sub: client_id.as_str().to_owned(),
        client_id: client_id.as_str().to_owned(),
        aud: server.audience.clone(),
        iat: now,
        nbf: now,
        exp: now.saturating_add(lifetime),
        jti: URL_SAFE_NO_PAD.encode(entropy),
        scope: permissions.scope,
        acl: permissions.acl,
        publ: permissions.publ,
        subs: permissions.subs,
    }
}

/// Bytes of the largest token that a client can get at a resource server, with all scopes it has there; `None` if it can have none.
#[must_use]
pub fn largest_size(issuer: &str, client: &Client, server: &ResourceServer, policy: &Policy) -> Option<usize> {
    // A header and a signature are of one length; so are all times from 2001 to 2286.
    let header = r#"{"typ":"at+jwt","alg":"","kid":""}"#.len().saturating_add(server.alg.name().len()).saturating_add(43);
    const SIGNATURE: usize = 64;
    const NOW: UnixTime = UnixTime::from_secs(9_000_000_000);
    let claims = claims(issuer, &client.client_id, server, policy.largest_claims(client, server)?, NOW, 0, [0; 16]);
    let payload = serde_json::to_vec(&claims).ok()?.len();
    let encoded = |bytes| base64::encoded_len(bytes, false).unwrap_or(usize::MAX);
    Some([header, payload, SIGNATURE].map(encoded).into_iter().fold(2, usize::saturating_add))
}

/// Checks an access token offline against a JWK Set (RFC 9068 section 4). `audience: None` accepts any.
///
/// # Errors
/// [`JwtError`] says which check failed.
pub fn verify(token: &str, issuer: &str, audience: Option<&str>, keys: &JwkSet, now: UnixTime) -> Result<Claims, JwtError> {
    jose::verify(token, ACCESS_TOKEN_TYP, issuer, audience, keys, now.as_secs())
}
