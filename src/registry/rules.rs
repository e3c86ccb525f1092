//! What a client must keep to be in the registry, whoever writes it.

use super::error::RegistryError;
use super::not_found;
use super::records::Record as _;
use crate::clients::{Client, MAX_ATTRIBUTES, MAX_SECRETS};
use crate::oauth::ScopeSet;
use crate::policy::{Permissions, Policy, ResourceServer, Role, Scope};

/// Checks a client against the policy that will be in force with it.
pub(super) fn check_client(client: &Client, policy: &Policy) -> Result<(), RegistryError> {
    let invalid =
        |reason: String| Err(RegistryError::Invalid { kind: Client::KIND, id: client.client_id.to_string(), reason: reason.into() });
    known_scopes(&client.scope, policy)?;
    if let Some(unknown) = client.roles.iter().find(|name| !policy.roles.contains_key(*name)) {
        return Err(not_found::<Role>(unknown.as_str()));
    }
    if let Some(unknown) = client.audiences.iter().find(|id| !policy.resource_servers.contains_key(*id)) {
        return Err(not_found::<ResourceServer>(unknown.as_str()));
    }
    if client.secrets.len() > MAX_SECRETS {
        return invalid("has more secrets than it may have".into());
    }
    if client.attributes.len() > MAX_ATTRIBUTES {
        return invalid(format!("has more than {MAX_ATTRIBUTES} attributes"));
    }
    if client.max_token_lifetime == Some(0) {
        return invalid("the longest token lifetime must be at least 1 second".into());
    }
    if client.not_before.zip(client.expires_at).is_some_and(|(start, end)| start >= end) {
        return invalid("expires before it becomes valid".into());
    }
    let granted = policy.granted(client);
    if let Some(other) = client.default_scope.iter().find(|name| !granted.contains_key(*name)) {
        return invalid(format!("the default scope {other} is not granted to it"));
    }
    for scope in granted.values() {
        if let Err(missing) = Permissions::compile(&scope.permissions, client) {
            return invalid(format!("the scope {} opens a topic of each client's own, but {missing}", scope.name));
        }
    }
    Ok(())
}

/// Checks that the dialect of the resource server can say what a scope opens.
pub(super) fn check_scope(scope: &Scope, policy: &Policy) -> Result<(), RegistryError> {
    let server = policy.resource_servers.get(&scope.resource_server);
    let server = server.ok_or_else(|| not_found::<ResourceServer>(scope.resource_server.as_str()))?;
    for permission in &scope.permissions {
        server.dialect.check(permission).map_err(|reason| RegistryError::Invalid {
            kind: Scope::KIND,
            id: scope.name.to_string(),
            reason: format!("cannot open {permission}: {reason}").into(),
        })?;
    }
    Ok(())
}

/// Checks that scopes are defined.
pub(super) fn known_scopes(scopes: &ScopeSet, policy: &Policy) -> Result<(), RegistryError> {
    match scopes.iter().find(|name| !policy.scopes.contains_key(*name)) {
        Some(unknown) => Err(not_found::<Scope>(unknown.as_str())),
        None => Ok(()),
    }
}
