//! From an authenticated client to a grant: all that was asked for, or nothing (protocol section 4).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{PermissionClaims, Permissions, Policy, ResourceServer, Scope};
use crate::clients::AuthenticatedClient;
use crate::clock::UnixTime;
use crate::jose::{Jwk, cose};
use crate::oauth::{ClientId, ErrorCode, Reason, Refusal, ReqCnf, ScopeSet, TokenAsk};

/// What a client is to get. Only [`authorize`] makes one.
#[must_use]
#[derive(Debug)]
pub struct Grant {
    client_id: ClientId,
    resource_server: Arc<ResourceServer>,
    scope: ScopeSet,
    permissions: Permissions,
    scope_was_asked_for: bool,
    max_token_lifetime: Option<u32>,
    client_expires_at: Option<UnixTime>,
    confirmation: Option<Jwk>,
}

impl Grant {
    /// To whom.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// For use where.
    #[must_use]
    pub fn resource_server(&self) -> &ResourceServer {
        &self.resource_server
    }

    /// Which scopes.
    #[must_use]
    pub fn scope(&self) -> &ScopeSet {
        &self.scope
    }

    /// The permissions, as the resource server wants them written.
    #[must_use]
    pub fn claims(&self) -> PermissionClaims {
        self.resource_server.dialect.encode(self.resource_server.token_format, &self.client_id, &self.scope, &self.permissions)
    }

    /// The key that the token is to be bound to.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Jwk> {
        self.confirmation.as_ref()
    }

    /// The longest life in seconds, from `now` on, that resource server and client allow. No token outlives the client's own period of validity.
    #[must_use]
    pub fn max_lifetime(&self, now: UnixTime) -> u64 {
        let limits = [self.resource_server.max_token_lifetime, self.max_token_lifetime].into_iter().flatten().map(u64::from);
        let end = self.client_expires_at.map(|end| end.as_secs().saturating_sub(now.as_secs()));
        limits.chain(end).min().unwrap_or(u64::MAX)
    }

    /// The scopes, if the answer must name them because the client did not (RFC 6749 section 5.1).
    #[must_use]
    pub fn scope_to_announce(&self) -> Option<&ScopeSet> {
        (!self.scope_was_asked_for).then_some(&self.scope)
    }
}

/// Decides what the client gets.
///
/// # Errors
/// `invalid_scope` if any scope asked for is unknown or not granted at the audience, or names an attribute that the client lacks; `invalid_target` if the audience is unknown, opens nothing
/// to the client, or is not named and cannot be told; `unsupported_pop_key` if the token is to be bound to another key than the one that signed
/// the assertion.
pub fn authorize(authenticated: AuthenticatedClient<TokenAsk>, policy: &Policy) -> Result<Grant, Refusal> {
    let (client, request) = (authenticated.client(), authenticated.ask());
    let confirmation = request.req_cnf().map(|req_cnf| confirm(req_cnf, &authenticated)).transpose()?;
    let granted = policy.granted(client);
    let asked = request.scope().map(|names| names.iter().map(|name| granted.get(name).copied()).collect::<Option<Vec<_>>>());
    let asked = asked.map(|scopes| scopes.ok_or_else(not_granted)).transpose()?;
    let defaults: Vec<&Arc<Scope>> = client.default_scope.iter().filter_map(|name| granted.get(name).copied()).collect();
    let all: Vec<&Arc<Scope>> = granted.into_values().collect();
    let resource_server = match request.audience() {
        Some(audience) => policy.resource_server_for(audience),
        None => {
            let telling = asked.as_ref().unwrap_or(if defaults.is_empty() { &all } else { &defaults });
            let candidates: BTreeSet<_> = telling.iter().map(|scope| &scope.resource_server).collect();
            match candidates.len() {
                1 => candidates.first().and_then(|id| policy.resource_servers.get(*id)),
                _ => {
                    let text = "audience: is required, as the scopes do not tell exactly one";
                    return Err(Refusal::new(ErrorCode::InvalidTarget, Reason::AmbiguousAudience, text));
                }
            }
        }
    };
    let refuse_audience = || {
        let text = "audience: must be one at which the client has a scope";
        Refusal::new(ErrorCode::InvalidTarget, Reason::AudienceNotAllowed, text)
    };
    let resource_server = resource_server.ok_or_else(refuse_audience)?;
    let here = |scopes: &[&Arc<Scope>]| -> Vec<Arc<Scope>> {
        scopes.iter().filter(|scope| scope.resource_server == resource_server.id).map(|scope| Arc::clone(scope)).collect()
    };
    let scopes = match &asked {
        Some(asked) => Some(here(asked)).filter(|here| here.len() == asked.len()).ok_or_else(not_granted)?,
        None => Some(here(&defaults)).filter(|here| !here.is_empty()).unwrap_or_else(|| here(&all)),
    };
    if scopes.is_empty() {
        return Err(refuse_audience());
    }
    let permissions = Permissions::compile(scopes.iter().flat_map(|scope| &scope.permissions), client).map_err(|_| {
        let text = "scope: needs an attribute that the client does not have";
        Refusal::new(ErrorCode::InvalidScope, Reason::MissingAttribute, text)
    })?;
    Ok(Grant {
        permissions,
        client_id: client.client_id.clone(),
        resource_server: resource_server.clone(),
        scope: scopes.iter().map(|scope| scope.name.clone()).collect(),
        scope_was_asked_for: asked.is_some(),
        max_token_lifetime: client.max_token_lifetime,
        client_expires_at: client.expires_at,
        confirmation,
    })
}

/// The key that the client wants its token bound to: the very one that signed its assertion, which shows that it has the private half.
fn confirm(req_cnf: &ReqCnf, authenticated: &AuthenticatedClient<TokenAsk>) -> Result<Jwk, Refusal> {
    let unsupported = |text: &'static str| Refusal::new(ErrorCode::UnsupportedPopKey, Reason::UnsupportedPopKey, text);
    let signed_by = authenticated.key().ok_or_else(|| unsupported("req_cnf: needs an assertion signed by that key"))?;
    let unusable = || unsupported("req_cnf: must be a sound Ed25519 or P-256 public key");
    let is_it = match req_cnf {
        ReqCnf::Jwk(jwk) => {
            let key: Jwk = serde_cbor::value::from_value(jwk.clone()).map_err(|_| unusable())?;
            key.thumbprint() == signed_by.thumbprint()
        }
        ReqCnf::CoseKey(key) => cose::jwk(key).map_err(|_| unusable())?.thumbprint() == signed_by.thumbprint(),
        ReqCnf::Kid(kid) => kid == signed_by.kid(),
    };
    if is_it { Ok(signed_by.clone()) } else { Err(unsupported("req_cnf: must be the key that signed the assertion")) }
}

fn not_granted() -> Refusal {
    let text = "scope: must name only scopes that are granted to the client at the audience";
    Refusal::new(ErrorCode::InvalidScope, Reason::ScopeNotGranted, text)
}
