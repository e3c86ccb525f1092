//! From an authenticated client to a grant: all that was asked for, or nothing (protocol section 4).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Policy, ResourceServer, Scope};
use crate::clients::AuthenticatedClient;
use crate::oauth::{ClientId, ErrorCode, Reason, Refusal, ScopeSet};

/// What a client is to get. Only [`authorize`] makes one.
#[must_use]
#[derive(Debug)]
pub struct Grant {
    client_id: ClientId,
    resource_server: Arc<ResourceServer>,
    scope: ScopeSet,
    scope_was_asked_for: bool,
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

    /// The scopes, if the answer must name them because the client did not (RFC 6749 section 5.1).
    #[must_use]
    pub fn scope_to_announce(&self) -> Option<&ScopeSet> {
        (!self.scope_was_asked_for).then_some(&self.scope)
    }
}

/// Decides what the client gets.
///
/// # Errors
/// `invalid_scope` if any scope asked for is unknown or not granted at the audience; `invalid_target` if the audience is unknown, opens nothing
/// to the client, or is not named and cannot be told.
pub fn authorize(authenticated: AuthenticatedClient, policy: &Policy) -> Result<Grant, Refusal> {
    let (client, request) = (authenticated.client(), authenticated.request());
    let granted: Vec<&Arc<Scope>> = client.scope.iter().filter_map(|name| policy.scopes.get(name)).collect();
    let wanted: Vec<&Arc<Scope>> = match request.scope() {
        None => granted,
        Some(names) => {
            let wanted: Vec<_> = granted.into_iter().filter(|scope| names.contains(scope.name.as_str())).collect();
            if wanted.len() != names.len() {
                return Err(not_granted());
            }
            wanted
        }
    };
    let resource_server = match request.audience() {
        Some(audience) => policy.resource_server_for(audience),
        None => {
            let candidates: BTreeSet<_> = wanted.iter().map(|scope| &scope.resource_server).collect();
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
    let scope: ScopeSet =
        wanted.iter().filter(|scope| scope.resource_server == resource_server.id).map(|scope| scope.name.clone()).collect();
    if request.scope().is_some_and(|names| names.len() != scope.len()) {
        return Err(not_granted());
    }
    if scope.is_empty() {
        return Err(refuse_audience());
    }
    Ok(Grant {
        client_id: client.client_id.clone(),
        resource_server: resource_server.clone(),
        scope,
        scope_was_asked_for: request.scope().is_some(),
    })
}

fn not_granted() -> Refusal {
    let text = "scope: must name only scopes that are granted to the client at the audience";
    Refusal::new(ErrorCode::InvalidScope, Reason::ScopeNotGranted, text)
}
