//! A change of many records at once: drafted record by record, looked at as a whole, and then done as a whole or not at all.

mod check;
mod commit;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::Registry;
use super::records::Record;
use crate::clients::{Client, SecretDigest};
use crate::clock::UnixTime;
use crate::enrolment::{Book, Template};
use crate::oauth::ClientId;
use crate::policy::{Policy, PolicyStore as _, ResourceServer, Role, Scope};

/// The kinds of records that a draft can hold, in the order in which one names another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Resource servers.
    ResourceServer,
    /// Scopes.
    Scope,
    /// Roles.
    Role,
    /// Enrolment templates.
    Template,
    /// Clients.
    Client,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::ResourceServer, Self::Scope, Self::Role, Self::Template, Self::Client];

    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResourceServer => ResourceServer::KIND,
            Self::Scope => Scope::KIND,
            Self::Role => Role::KIND,
            Self::Template => Template::KIND,
            Self::Client => Client::KIND,
        }
    }
}

/// A rule that a draft would break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftFault {
    /// By which kind of record.
    pub kind: Kind,
    /// By which record.
    pub name: String,
    /// Which rule.
    pub message: String,
}

/// One record of a draft, as it is and as it is to be.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// What it is; `None` if there is none yet.
    pub before: Option<RecordRef<'a>>,
    /// What it is to be; `None` if it is to go.
    pub after: Option<RecordRef<'a>>,
}

/// A record of any kind.
#[derive(Debug, Clone, Copy)]
pub enum RecordRef<'a> {
    /// A resource server.
    ResourceServer(&'a ResourceServer),
    /// A scope.
    Scope(&'a Scope),
    /// A role.
    Role(&'a Role),
    /// An enrolment template.
    Template(&'a Template),
    /// A client.
    Client(&'a Client),
}

/// A client as it is and as it is to be; the same if nothing changes.
struct Step {
    before: Option<Arc<Client>>,
    after: Option<Arc<Client>>,
}

impl Step {
    fn id(&self) -> Option<&ClientId> {
        self.before.as_ref().or(self.after.as_ref()).map(|client| &client.client_id)
    }

    fn is_change(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => !Arc::ptr_eq(before, after),
            (None, None) => false,
            _ => true,
        }
    }
}

/// A change of many records, not done yet. Holds what differs; what stays as it is costs a pointer.
pub struct Draft {
    registry: Arc<Registry>,
    now: UnixTime,
    policy: Arc<Policy>,
    next_policy: Policy,
    book: Arc<Book>,
    next_templates: BTreeMap<crate::enrolment::TemplateName, Arc<Template>>,
    /// The definitions that were drafted.
    named: BTreeSet<(Kind, String)>,
    steps: Vec<Step>,
    /// The steps are in the order of the clients' ids.
    sorted: bool,
    /// Whoever is no client of the draft is to be none.
    prunes_clients: bool,
    spared: usize,
}

/// What has a date of its making and of its last change.
trait Dated {
    fn dates(&mut self) -> (&mut UnixTime, &mut UnixTime);
}

macro_rules! dated {
    ($($record:ty),+) => {
        $(impl Dated for $record {
            fn dates(&mut self) -> (&mut UnixTime, &mut UnixTime) {
                (&mut self.created_at, &mut self.updated_at)
            }
        })+
    };
}

dated!(ResourceServer, Scope, Role, Template, Client);

impl Registry {
    /// Begins a draft of changes at that time. Nothing waits for it.
    #[must_use]
    pub fn draft(self: &Arc<Self>, now: UnixTime) -> Draft {
        let (policy, book) = (self.policy(), self.memory.book());
        Draft {
            registry: self.clone(),
            now,
            next_policy: Policy::clone(&policy),
            policy,
            next_templates: book.templates.clone(),
            book,
            named: BTreeSet::new(),
            steps: Vec::new(),
            sorted: true,
            prunes_clients: false,
            spared: 0,
        }
    }
}

/// Puts a definition in its place; one that is the same but for its dates stays.
fn put<K: Ord, R: Dated + Clone + PartialEq>(all: &mut BTreeMap<K, Arc<R>>, key: K, mut record: R, now: UnixTime) {
    if let Some(before) = all.get(&key) {
        let mut dated = R::clone(before);
        let (created_at, updated_at) = dated.dates();
        let (new_created_at, new_updated_at) = record.dates();
        (*new_created_at, *new_updated_at) = (*created_at, *updated_at);
        if record == **before {
            return;
        }
        *record.dates().1 = now;
    }
    all.insert(key, Arc::new(record));
}

impl Draft {
    /// The resource server is to be so; its dates are the registry's own, as with all records.
    pub fn resource_server(&mut self, server: ResourceServer) {
        self.named.insert((Kind::ResourceServer, server.id.to_string()));
        put(&mut self.next_policy.resource_servers, server.id.clone(), server, self.now);
    }

    /// The scope is to be so.
    pub fn scope(&mut self, scope: Scope) {
        self.named.insert((Kind::Scope, scope.name.to_string()));
        put(&mut self.next_policy.scopes, scope.name.clone(), scope, self.now);
    }

    /// The role is to be so.
    pub fn role(&mut self, role: Role) {
        self.named.insert((Kind::Role, role.name.to_string()));
        put(&mut self.next_policy.roles, role.name.clone(), role, self.now);
    }

    /// The enrolment template is to be so.
    pub fn template(&mut self, template: Template) {
        self.named.insert((Kind::Template, template.name.to_string()));
        put(&mut self.next_templates, template.name.clone(), template, self.now);
    }

    /// The client is to be as `change` makes it of what it is, or of a new one. Tells whether it has no credential then: it needs a secret.
    pub fn client(&mut self, id: ClientId, change: impl FnOnce(&mut Client)) -> bool {
        let before = self.registry.memory.client(&id);
        let mut client = before.as_ref().map_or_else(|| Client::new(id, self.now), |before| Client::clone(before));
        change(&mut client);
        self.sorted = false;
        if before.as_deref() == Some(&client) {
            self.steps.push(Step { after: before.clone(), before });
            return false;
        }
        client.updated_at = self.now;
        let needs_secret = client.credentials().next().is_none();
        self.steps.push(Step { before, after: Some(Arc::new(client)) });
        needs_secret
    }

    /// Gives a client its first secret; `false` if the draft has no such client.
    pub fn secret(&mut self, id: &ClientId, digest: SecretDigest) -> bool {
        self.sort();
        let Ok(index) = self.steps.binary_search_by(|step| step.id().cmp(&Some(id))) else { return false };
        let Some(after) = self.steps.get_mut(index).filter(|step| step.is_change()).and_then(|step| step.after.as_mut()) else {
            return false;
        };
        let client = Arc::make_mut(after);
        let created_at = self.now;
        client.secrets.push(crate::clients::ClientSecret { digest, created_at, not_before: None, expires_at: None });
        true
    }

    /// What the draft does not name of a kind is to go. Clients that registered themselves by an enrolment are spared.
    pub fn prune(&mut self, kind: Kind) {
        let named = |name: &str| self.named.contains(&(kind, name.to_owned()));
        match kind {
            Kind::ResourceServer => self.next_policy.resource_servers.retain(|id, _| named(id.as_str())),
            Kind::Scope => self.next_policy.scopes.retain(|name, _| named(name.as_str())),
            Kind::Role => self.next_policy.roles.retain(|name, _| named(name.as_str())),
            Kind::Template => self.next_templates.retain(|name, _| named(name.as_str())),
            Kind::Client => self.prune_clients(),
        }
    }

    fn prune_clients(&mut self) {
        let gone: Vec<Step> = {
            let named: HashSet<&ClientId> = self.steps.iter().filter_map(Step::id).collect();
            let clients = self.registry.memory.clients.read().unwrap_or_else(PoisonError::into_inner);
            let others = clients.values().filter(|client| !named.contains(&client.client_id));
            let (enrolled, others): (Vec<_>, Vec<_>) = others.partition(|client| client.enrolled_by.is_some());
            self.spared = enrolled.len();
            others.into_iter().map(|client| Step { before: Some(client.clone()), after: None }).collect()
        };
        self.steps.extend(gone);
        (self.sorted, self.prunes_clients) = (false, true);
    }

    fn sort(&mut self) {
        if !self.sorted {
            self.steps.sort_by(|a, b| a.id().cmp(&b.id()));
            self.sorted = true;
        }
    }

    /// Clients that are not named and stay all the same, because they registered themselves.
    #[must_use]
    pub fn spared(&self) -> usize {
        self.spared
    }

    /// Every record that was drafted or is to go, by kind and by name; those that stay as they are among them.
    pub fn changes(&mut self) -> impl Iterator<Item = Change<'_>> {
        self.sort();
        let (old, new) = (&self.policy, &self.next_policy);
        let named = &self.named;
        let servers = pairs(Kind::ResourceServer, named, &old.resource_servers, &new.resource_servers, RecordRef::ResourceServer);
        let scopes = pairs(Kind::Scope, named, &old.scopes, &new.scopes, RecordRef::Scope);
        let roles = pairs(Kind::Role, named, &old.roles, &new.roles, RecordRef::Role);
        let templates = pairs(Kind::Template, named, &self.book.templates, &self.next_templates, RecordRef::Template);
        let clients = self.steps.iter().filter_map(|step| {
            let (before, after) = (step.before.as_deref().map(RecordRef::Client), step.after.as_deref().map(RecordRef::Client));
            Some(Change { kind: Kind::Client, name: step.id()?.as_str(), before, after })
        });
        servers.into_iter().chain(scopes).chain(roles).chain(templates).chain(clients)
    }
}

impl Change<'_> {
    /// Whether the record stays as it is.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        fn same<T>(one: &T, other: &T) -> bool {
            std::ptr::eq(one, other)
        }
        match (self.before, self.after) {
            (Some(RecordRef::ResourceServer(before)), Some(RecordRef::ResourceServer(after))) => same(before, after),
            (Some(RecordRef::Scope(before)), Some(RecordRef::Scope(after))) => same(before, after),
            (Some(RecordRef::Role(before)), Some(RecordRef::Role(after))) => same(before, after),
            (Some(RecordRef::Template(before)), Some(RecordRef::Template(after))) => same(before, after),
            (Some(RecordRef::Client(before)), Some(RecordRef::Client(after))) => same(before, after),
            _ => false,
        }
    }
}

/// The definitions of a kind that were drafted or differ.
fn pairs<'a, K: Ord + AsRef<str>, R>(
    kind: Kind,
    named: &BTreeSet<(Kind, String)>,
    old: &'a BTreeMap<K, Arc<R>>,
    new: &'a BTreeMap<K, Arc<R>>,
    of: fn(&'a R) -> RecordRef<'a>,
) -> Vec<Change<'a>> {
    let names: BTreeSet<&K> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .map(|name| {
            let (before, after) = (old.get(name).map(|record| of(record)), new.get(name).map(|record| of(record)));
            Change { kind, name: name.as_ref(), before, after }
        })
        .filter(|change| !change.is_nothing() || named.contains(&(kind, change.name.to_owned())))
        .collect()
}
