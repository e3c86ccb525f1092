//! What a client must keep to be in the registry, whoever writes it.

use super::error::RegistryError;
use super::records::Record;
use super::{ClientRule, not_found};
use crate::clients::{AttributeValue, Client, MAX_ATTRIBUTES, MAX_SECRETS, criticality_fault};
use crate::clock::UnixTime;
use crate::oauth::{ScopeSet, ScopeToken};
use crate::policy::{Permissions, Policy, ResourceServer, Role, Scope, TopicPermission};

/// Checks a client against the policy that will be in force with it.
pub(super) fn check_client(client: &Client, policy: &Policy) -> Result<(), RegistryError> {
    let invalid =
        |reason: String| Err(RegistryError::Invalid { kind: Client::KIND, id: client.client_id.to_string(), reason: reason.into() });
    known_scopes(&client.scope, policy)?;
    if let Some(unknown) = client.roles.iter().find(|name| !policy.roles.contains_key(*name)) {
        return Err(not_found::<Role>(unknown.as_str()));
    }
    if let Some(unknown) = client.audiences.iter().chain(&client.introspects).find(|id| !policy.resource_servers.contains_key(*id)) {
        return Err(not_found::<ResourceServer>(unknown.as_str()));
    }
    if client.secrets.len() > MAX_SECRETS {
        return invalid("has more secrets than it may have".into());
    }
    if client.attributes.len() > MAX_ATTRIBUTES {
        return invalid(format!("has more than {MAX_ATTRIBUTES} attributes"));
    }
    if let Some(fault) = criticality_fault(&client.attributes) {
        return invalid(fault);
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

/// Checks that whoever is to read the tokens of a resource server can.
pub(super) fn check_resource_server(server: &ResourceServer) -> Result<(), RegistryError> {
    let dialect = server.dialect.as_str();
    let reason = if !server.dialect.fits(server.token_format) {
        format!("the dialect {dialect} is for JWTs: a CWT has oauth or aif")
    } else if !server.dialect.takes(server.alg) {
        format!("the dialect {dialect} is for a verifier that does not know {}: use ES256", server.alg.name())
    } else {
        return Ok(());
    };
    Err(RegistryError::Invalid { kind: ResourceServer::KIND, id: server.id.to_string(), reason: reason.into() })
}

/// Checks that the dialect of the resource server can say what a scope opens.
pub(super) fn check_permissions(scope: &Scope, policy: &Policy) -> Result<(), RegistryError> {
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

/// Checks that a scope says what it can, and that it opens nothing too large for a token.
pub(super) fn check_scope(rule: Option<&ClientRule>, scope: &Scope, policy: &Policy) -> Result<(), RegistryError> {
    check_permissions(scope, policy)?;
    check_rule(rule, scope, &smallest_client(&[&scope.name], policy)?, policy)
}

/// Checks that the scopes of a role are defined, and together open nothing too large for a token.
pub(super) fn check_role(rule: Option<&ClientRule>, role: &Role, policy: &Policy) -> Result<(), RegistryError> {
    known_scopes(&role.scope, policy)?;
    check_rule(rule, role, &smallest_client(&role.scope.iter().collect::<Vec<_>>(), policy)?, policy)
}

/// Checks what `subject` is, or would give to `client`, against the rule that is not the registry's own.
pub(super) fn check_rule<R: Record>(rule: Option<&ClientRule>, subject: &R, client: &Client, policy: &Policy) -> Result<(), RegistryError> {
    let told = |reason: String| RegistryError::Invalid { kind: R::KIND, id: subject.name().to_owned(), reason: reason.into() };
    rule.map_or(Ok(()), |rule| rule(client, policy)).map_err(told)
}

/// Whether two clients may have the same.
pub(super) fn same_grants(one: &Client, other: &Client) -> bool {
    let grants = |client: &Client| (client.scope.clone(), client.roles.clone(), client.audiences.clone(), client.attributes.clone());
    grants(one) == grants(other)
}

/// A client with these scopes, for whom topics are as short as for no other.
pub(super) fn smallest_client(scopes: &[&ScopeToken], policy: &Policy) -> Result<Client, RegistryError> {
    let shortest = |_| RegistryError::Invalid { kind: Client::KIND, id: "x".to_owned(), reason: "is no client id".into() };
    let mut client = Client::new("x".parse().map_err(shortest)?, UnixTime::from_secs(0));
    client.scope = scopes.iter().map(|name| (*name).clone()).collect();
    let value: AttributeValue = "x".parse().map_err(shortest)?;
    let permissions = scopes.iter().filter_map(|name| policy.scopes.get(*name)).flat_map(|scope| &scope.permissions);
    client.attributes = permissions.flat_map(TopicPermission::attributes).map(|name| (name, value.clone())).collect();
    Ok(client)
}

/// Checks that scopes are defined.
pub(super) fn known_scopes(scopes: &ScopeSet, policy: &Policy) -> Result<(), RegistryError> {
    match scopes.iter().find(|name| !policy.scopes.contains_key(*name)) {
        Some(unknown) => Err(not_found::<Scope>(unknown.as_str())),
        None => Ok(()),
    }
}
