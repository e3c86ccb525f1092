//! Whether a draft keeps every rule, looked at as a whole: what it removes may be named by nothing that stays.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use super::super::enrolments::check_template;
use super::super::error::RegistryError;
use super::super::records::Record;
use super::super::{ClientRule, records, rules};
use super::{Draft, DraftFault, Kind};
use crate::clients::Client;
use crate::oauth::ClientId;
use crate::policy::Policy;

impl Draft {
    /// Tells every rule that the draft would break. Takes its time: nothing waits for it meanwhile.
    pub fn check(&self, mut tell: impl FnMut(DraftFault)) {
        self.check_definitions(&mut tell);
        let rule = self.registry.rule.get();
        let mut seen: HashSet<&ClientId> = HashSet::with_capacity(self.steps.len());
        for step in &self.steps {
            let Some(id) = step.id() else { continue };
            let mut told = |message: String| tell(DraftFault { kind: Kind::Client, name: id.to_string(), message });
            if !seen.insert(id) {
                told("is named twice".to_owned());
            }
            if let Some(client) = step.after.as_ref().filter(|_| step.is_change()) {
                let checked = keeps(rule, client, &self.next_policy).and_then(|()| records::encode(&**client).map(drop));
                if let Err(error) = checked {
                    told(reason(error));
                }
            }
        }
        if self.changes_policy() {
            let changed = self.changed_clients();
            let clients = self.registry.memory.clients.read().unwrap_or_else(PoisonError::into_inner).clone();
            for client in clients.values().filter(|client| !changed.contains(&client.client_id)) {
                if let Some(error) = self.breaks(client) {
                    tell(DraftFault { kind: Kind::Client, name: client.client_id.to_string(), message: reason(error) });
                }
            }
        }
    }

    /// Whether definitions become others.
    pub(super) fn changes_policy(&self) -> bool {
        let (old, new) = (&*self.policy, &self.next_policy);
        !(same(&old.resource_servers, &new.resource_servers) && same(&old.scopes, &new.scopes) && same(&old.roles, &new.roles))
    }

    /// Whether templates become others.
    pub(super) fn changes_templates(&self) -> bool {
        !same(&self.book.templates, &self.next_templates)
    }

    /// The clients that change, or go.
    pub(super) fn changed_clients(&self) -> HashSet<&ClientId> {
        self.steps.iter().filter(|step| step.is_change()).filter_map(super::Step::id).collect()
    }

    /// The rule that a client keeps now and would not then.
    pub(super) fn breaks(&self, client: &Client) -> Option<RegistryError> {
        let rule = self.registry.rule.get();
        keeps(rule, client, &self.next_policy).err().filter(|_| keeps(rule, client, &self.policy).is_ok())
    }

    fn check_definitions(&self, tell: &mut impl FnMut(DraftFault)) {
        let (rule, old, new) = (self.registry.rule.get(), &*self.policy, &self.next_policy);
        let mut told = |kind, name: &str, error| tell(DraftFault { kind, name: name.to_owned(), message: reason(error) });
        // A request may name a resource server by its audience or by its id: neither may mean two.
        let mut names: HashMap<&str, &str> = HashMap::new();
        for server in new.resource_servers.values() {
            let kind = Kind::ResourceServer;
            for name in [server.id.as_str(), server.audience.as_str()] {
                if let Some(other) = names.insert(name, server.id.as_str()).filter(|other| *other != server.id.as_str()) {
                    let reason = format!("its id or audience {name} is that of {other}, too");
                    told(kind, server.id.as_str(), RegistryError::Invalid { kind: "", id: String::new(), reason: reason.into() });
                }
            }
            if let Err(error) = rules::check_resource_server(server).and_then(|()| records::encode(&**server).map(drop)) {
                told(kind, server.id.as_str(), error);
            }
        }
        for scope in new.scopes.values() {
            if let Some(error) = broken(old.scopes.get(&scope.name), scope, (old, new), |policy| rules::check_scope(rule, scope, policy)) {
                told(Kind::Scope, scope.name.as_str(), error);
            }
        }
        for role in new.roles.values() {
            if let Some(error) = broken(old.roles.get(&role.name), role, (old, new), |policy| rules::check_role(rule, role, policy)) {
                told(Kind::Role, role.name.as_str(), error);
            }
        }
        for template in self.next_templates.values() {
            let before = self.book.templates.get(&template.name);
            if let Some(error) = broken(before, template, (old, new), |policy| check_template(rule, template, policy)) {
                told(Kind::Template, template.name.as_str(), error);
            }
        }
        for enrolment in self.book.enrolments.values().filter(|enrolment| !self.next_templates.contains_key(&enrolment.template)) {
            let reason = format!("is still used by enrolment {}", enrolment.id);
            let error = RegistryError::Invalid { kind: "", id: String::new(), reason: reason.into() };
            told(Kind::Template, enrolment.template.as_str(), error);
        }
    }
}

/// What a definition breaks with the new policy. One that stays as it is may break what it broke before.
fn broken<R: Record>(
    before: Option<&Arc<R>>,
    after: &Arc<R>,
    (old, new): (&Policy, &Policy),
    check: impl Fn(&Policy) -> Result<(), RegistryError>,
) -> Option<RegistryError> {
    let checked = check(new).and_then(|()| records::encode(&**after).map(drop));
    let is_old = before.is_some_and(|before| Arc::ptr_eq(before, after));
    checked.err().filter(|_| !is_old || check(old).is_ok())
}

/// Checks a client against a policy, as each change of it does.
fn keeps(rule: Option<&ClientRule>, client: &Client, policy: &Policy) -> Result<(), RegistryError> {
    rules::check_client(client, policy).and_then(|()| rules::check_rule(rule, client, client, policy))
}

fn same<K: Ord, R>(old: &BTreeMap<K, Arc<R>>, new: &BTreeMap<K, Arc<R>>) -> bool {
    old.len() == new.len() && old.iter().all(|(name, before)| new.get(name).is_some_and(|after| Arc::ptr_eq(before, after)))
}

/// What is wrong, without the name of the record, which is told beside it.
fn reason(error: RegistryError) -> String {
    match error {
        RegistryError::Invalid { reason, .. } => reason.into_owned(),
        other => other.to_string(),
    }
}
