//! Changes of resource servers, scopes and roles that exist. Whatever names one must hold with it as it becomes, or without it.

use std::sync::Arc;

use super::committer::{Batch, Effect, Staged};
use super::enrolments::{check_template, templates_that};
use super::error::RegistryError;
use super::records::Record;
use super::store::Write;
use super::{ClientRule, Registry, not_found, revocations, rules, write};
use crate::clients::Client;
use crate::enrolment::Template;
use crate::oauth::{RoleName, ScopeToken};
use crate::policy::{Policy, ResourceServer, ResourceServerId, Role, Scope};

/// Users of a definition that are named in an error; more are counted.
const NAMED: usize = 3;

impl Registry {
    /// Changes a resource server; its id stays.
    ///
    /// # Errors
    /// If there is none of that id, the audience is taken, its new dialect cannot say what a scope of its opens, or a client would break a
    /// rule, or the disk refuses; then nothing has changed.
    pub fn update_resource_server(
        &self,
        id: &ResourceServerId,
        change: impl FnOnce(&mut ResourceServer),
    ) -> Result<Arc<ResourceServer>, RegistryError> {
        self.committer.change(|staged| {
            let mut policy = Policy::clone(&staged.policy());
            let before = policy.resource_servers.get(id).ok_or_else(|| not_found::<ResourceServer>(id.as_str()))?;
            let mut server = ResourceServer::clone(before);
            change(&mut server);
            keeps_name(&server, id.as_str())?;
            let others = policy.resource_servers.values().filter(|other| other.id != *id);
            if others.into_iter().any(|other| other.audience == server.audience || other.id.as_str() == server.audience) {
                return Err(RegistryError::AlreadyExists { kind: "audience", id: server.audience.clone() });
            }
            rules::check_resource_server(&server)?;
            let server = Arc::new(server);
            policy.resource_servers.insert(id.clone(), server.clone());
            for scope in policy.scopes.values().filter(|scope| scope.resource_server == *id) {
                rules::check_permissions(scope, &policy)?;
            }
            check_clients(self.rule.get(), staged, &policy, &*server)?;
            Ok((Batch::of(write(&*server)?, Effect::Policy(Arc::new(policy))), server))
        })
    }

    /// Changes a scope; its name stays.
    ///
    /// # Errors
    /// If there is none of that name, its resource server is unknown or its dialect cannot say what the scope opens, or a client would break a
    /// rule, such as by lacking an attribute, or the disk refuses; then nothing has changed.
    pub fn update_scope(&self, name: &ScopeToken, change: impl FnOnce(&mut Scope)) -> Result<Arc<Scope>, RegistryError> {
        self.committer.change(|staged| {
            let mut policy = Policy::clone(&staged.policy());
            let mut scope = Scope::clone(policy.scopes.get(name).ok_or_else(|| not_found::<Scope>(name.as_str()))?);
            change(&mut scope);
            keeps_name(&scope, name.as_str())?;
            let scope = Arc::new(scope);
            policy.scopes.insert(name.clone(), scope.clone());
            rules::check_scope(self.rule.get(), &scope, &policy)?;
            check_clients(self.rule.get(), staged, &policy, &*scope)?;
            Ok((Batch::of(write(&*scope)?, Effect::Policy(Arc::new(policy))), scope))
        })
    }

    /// Changes a role; its name stays.
    ///
    /// # Errors
    /// If there is none of that name, a scope is unknown, or a client would break a rule, such as by losing a default scope, or the disk
    /// refuses; then nothing has changed.
    pub fn update_role(&self, name: &RoleName, change: impl FnOnce(&mut Role)) -> Result<Arc<Role>, RegistryError> {
        self.committer.change(|staged| {
            let mut policy = Policy::clone(&staged.policy());
            let mut role = Role::clone(policy.roles.get(name).ok_or_else(|| not_found::<Role>(name.as_str()))?);
            change(&mut role);
            keeps_name(&role, name.as_str())?;
            let role = Arc::new(role);
            policy.roles.insert(name.clone(), role.clone());
            rules::check_role(self.rule.get(), &role, &policy)?;
            check_clients(self.rule.get(), staged, &policy, &*role)?;
            Ok((Batch::of(write(&*role)?, Effect::Policy(Arc::new(policy))), role))
        })
    }

    /// Removes a resource server and returns it as it was.
    ///
    /// # Errors
    /// If there is none of that id, a scope or a client still names it, or the disk refuses; then nothing has changed.
    pub fn remove_resource_server(&self, id: &ResourceServerId) -> Result<Arc<ResourceServer>, RegistryError> {
        self.committer.change(|staged| {
            let mut policy = Policy::clone(&staged.policy());
            let server = policy.resource_servers.remove(id).ok_or_else(|| not_found::<ResourceServer>(id.as_str()))?;
            let scopes = policy.scopes.values().filter(|scope| scope.resource_server == *id).map(|scope| scope.name.to_string());
            let clients = staged.clients();
            let clients = clients
                .iter()
                .filter(|client| client.audiences.contains(id) || client.introspects.contains(id))
                .map(|client| client.client_id.to_string());
            let templates = templates_that(staged, |template| template.audiences.contains(id));
            unused(&*server, &[("scope", scopes.collect()), ("enrolment template", templates), ("client", clients.collect())])?;
            let mut batch = Batch::of(erase(&*server), Effect::Policy(Arc::new(policy)));
            revocations::forget_server(&mut batch, staged, id)?;
            Ok((batch, server))
        })
    }

    /// Removes a scope and returns it as it was.
    ///
    /// # Errors
    /// If there is none of that name, a role or a client still names it, or the disk refuses; then nothing has changed.
    pub fn remove_scope(&self, name: &ScopeToken) -> Result<Arc<Scope>, RegistryError> {
        self.committer.change(|staged| {
            let mut policy = Policy::clone(&staged.policy());
            let scope = policy.scopes.remove(name).ok_or_else(|| not_found::<Scope>(name.as_str()))?;
            let roles = policy.roles.values().filter(|role| role.scope.contains(name.as_str())).map(|role| role.name.to_string());
            let clients = staged.clients();
            let names = |client: &&Arc<Client>| client.scope.contains(name.as_str()) || client.default_scope.contains(name.as_str());
            let clients = clients.iter().filter(names).map(|client| client.client_id.to_string());
            let in_template =
                |template: &Template| template.scope.contains(name.as_str()) || template.default_scope.contains(name.as_str());
            let templates = templates_that(staged, in_template);
            unused(&*scope, &[("role", roles.collect()), ("enrolment template", templates), ("client", clients.collect())])?;
            Ok((Batch::of(erase(&*scope), Effect::Policy(Arc::new(policy))), scope))
        })
    }

    /// Removes a role and returns it as it was.
    ///
    /// # Errors
    /// If there is none of that name, a client still has it, or the disk refuses; then nothing has changed.
    pub fn remove_role(&self, name: &RoleName) -> Result<Arc<Role>, RegistryError> {
        self.committer.change(|staged| {
            let mut policy = Policy::clone(&staged.policy());
            let role = policy.roles.remove(name).ok_or_else(|| not_found::<Role>(name.as_str()))?;
            let clients = staged.clients();
            let clients = clients.iter().filter(|client| client.roles.contains(name)).map(|client| client.client_id.to_string());
            let templates = templates_that(staged, |template| template.roles.contains(name));
            unused(&*role, &[("enrolment template", templates), ("client", clients.collect())])?;
            Ok((Batch::of(erase(&*role), Effect::Policy(Arc::new(policy))), role))
        })
    }
}

pub(super) fn erase<R: Record>(record: &R) -> Write {
    Write { tree: R::TREE, key: record.name().into(), value: None }
}

fn invalid<R: Record>(record: &R, reason: String) -> RegistryError {
    RegistryError::Invalid { kind: R::KIND, id: record.name().to_owned(), reason: reason.into() }
}

pub(super) fn keeps_name<R: Record>(changed: &R, name: &str) -> Result<(), RegistryError> {
    let error = || RegistryError::Invalid { kind: R::KIND, id: name.to_owned(), reason: "the name of a record never changes".into() };
    (changed.name() == name).then_some(()).ok_or_else(error)
}

/// Refuses a change by which a client or an enrolment template that keeps the rules would break one.
fn check_clients<R: Record>(rule: Option<&ClientRule>, staged: &Staged<'_>, policy: &Policy, subject: &R) -> Result<(), RegistryError> {
    let check = |client: &Client, policy: &Policy| {
        rules::check_client(client, policy).and_then(|()| rules::check_rule(rule, client, client, policy))
    };
    let before = staged.policy();
    let broken = |client: &Arc<Client>| check(client, policy).err().filter(|_| check(client, &before).is_ok());
    let book = staged.book();
    let broken_template = book
        .templates
        .values()
        .find_map(|template| check_template(rule, template, policy).err().filter(|_| check_template(rule, template, &before).is_ok()));
    match broken_template.or_else(|| staged.clients().iter().find_map(broken)) {
        None => Ok(()),
        Some(broken) => Err(invalid(subject, format!("cannot become so: {broken}"))),
    }
}

/// Refuses to remove what is still named.
pub(super) fn unused<R: Record>(record: &R, users: &[(&str, Vec<String>)]) -> Result<(), RegistryError> {
    let told: Vec<String> = users.iter().filter(|(_, names)| !names.is_empty()).map(|(kind, names)| told(kind, names)).collect();
    if told.is_empty() { Ok(()) } else { Err(invalid(record, format!("is still used by {}", told.join(" and ")))) }
}

fn told(kind: &str, names: &[String]) -> String {
    let (shown, more) = names.split_at_checked(NAMED).unwrap_or((names, &[]));
    let plural = if names.len() == 1 { "" } else { "s" };
    let rest = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{kind}{plural} {}{rest}", shown.join(", "))
}
