//! Commands on one resource server, scope or role.

use std::time::SystemTime;

use super::administrator::{MAX_TEXT, check_count, check_resource_server, check_text, invalid};
use super::{AdminError, Administrator, Answer, Caller, Command, ResourceServerChanges, RoleChanges, ScopeChanges};
use crate::clock::UnixTime;
use crate::oauth::{ResourceServerId, RoleName, ScopeSet, ScopeToken};
use crate::policy::PolicyStore as _;
use crate::registry::RegistryError;

impl Administrator {
    /// Executes the commands that show one.
    pub(super) fn show_definition(&self, command: Command) -> Result<Answer, AdminError> {
        let policy = self.registry.policy();
        let not_found = |kind, id: String| RegistryError::NotFound { kind, id };
        Ok(match command {
            Command::ResourceServerShow { id } => {
                let server = policy.resource_servers.get(&id).cloned();
                Answer::ResourceServer(server.ok_or_else(|| not_found("resource server", id.to_string()))?)
            }
            Command::ScopeShow { name } => {
                let scope = policy.scopes.get(&name).cloned();
                Answer::Scope(scope.ok_or_else(|| not_found("scope", name.to_string()))?)
            }
            Command::RoleShow { name } => {
                let role = policy.roles.get(&name).cloned();
                Answer::Role(role.ok_or_else(|| not_found("role", name.to_string()))?)
            }
            _ => return Err(invalid("no command on one definition")),
        })
    }

    /// Executes the commands that change or remove one.
    pub(super) fn change_definition(&self, caller: Caller, command: Command) -> Result<Answer, AdminError> {
        let registry = &self.registry;
        match command {
            Command::ResourceServerEdit { id, changes } => {
                self.change("resource-server edit", id.as_str(), caller, || self.edit_resource_server(&id, changes))
            }
            Command::ScopeEdit { name, changes } => self.change("scope edit", name.as_str(), caller, || self.edit_scope(&name, changes)),
            Command::RoleEdit { name, changes } => self.change("role edit", name.as_str(), caller, || self.edit_role(&name, changes)),
            Command::ResourceServerRemove { id } => self.change("resource-server remove", id.as_str(), caller, || {
                Ok(Answer::ResourceServer(registry.remove_resource_server(&id)?))
            }),
            Command::ScopeRemove { name } => {
                self.change("scope remove", name.as_str(), caller, || Ok(Answer::Scope(registry.remove_scope(&name)?)))
            }
            Command::RoleRemove { name } => {
                self.change("role remove", name.as_str(), caller, || Ok(Answer::Role(registry.remove_role(&name)?)))
            }
            _ => Err(invalid("no command that changes a definition")),
        }
    }

    fn edit_resource_server(&self, id: &ResourceServerId, changes: ResourceServerChanges) -> Result<Answer, AdminError> {
        something(changes == ResourceServerChanges::default())?;
        check_text("the description", changes.description.as_deref().unwrap_or_default(), MAX_TEXT)?;
        check_resource_server(changes.audience.as_deref(), changes.dialect.as_ref(), changes.max_token_lifetime)?;
        if let Some(alg) = changes.alg {
            self.keys.require(alg.key_type())?;
        }
        let now = UnixTime::from(SystemTime::now());
        Ok(Answer::ResourceServer(self.registry.update_resource_server(id, |server| {
            changes.apply(server);
            server.updated_at = now;
        })?))
    }

    fn edit_scope(&self, name: &ScopeToken, changes: ScopeChanges) -> Result<Answer, AdminError> {
        something(changes == ScopeChanges::default())?;
        check_text("the description", changes.description.as_deref().unwrap_or_default(), MAX_TEXT)?;
        check_count("permissions", changes.permissions.as_ref().map_or(0, Vec::len))?;
        let now = UnixTime::from(SystemTime::now());
        Ok(Answer::Scope(self.registry.update_scope(name, |scope| {
            changes.apply(scope);
            scope.updated_at = now;
        })?))
    }

    fn edit_role(&self, name: &RoleName, changes: RoleChanges) -> Result<Answer, AdminError> {
        something(changes == RoleChanges::default())?;
        check_text("the description", changes.description.as_deref().unwrap_or_default(), MAX_TEXT)?;
        check_count("scopes", changes.scope.as_ref().map_or(0, ScopeSet::len))?;
        if changes.scope.as_ref().is_some_and(ScopeSet::is_empty) {
            return Err(invalid("a role must grant at least one scope"));
        }
        let now = UnixTime::from(SystemTime::now());
        Ok(Answer::Role(self.registry.update_role(name, |role| {
            changes.apply(role);
            role.updated_at = now;
        })?))
    }
}

pub(super) fn something(is_nothing: bool) -> Result<(), AdminError> {
    if is_nothing { Err(invalid("nothing to change was named")) } else { Ok(()) }
}
