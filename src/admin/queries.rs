//! What is asked of a list: which records, in which order, and where to go on.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clients::{AttributeName, AttributeValue, AuthMethod, Client, Status};
use crate::clock::UnixTime;
use crate::oauth::{ClientId, InvalidWord, ResourceServerId, RoleName, ScopeToken};
use crate::policy::{Policy, ResourceServer, Role, Scope, TokenFormat};

/// Which clients, in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientQuery {
    /// Which.
    pub filter: ClientFilter,
    /// In which order.
    pub sort: ClientSort,
    /// Where the page begins.
    pub after: Option<ClientCursor>,
    /// Clients in the page, at most; a page that is full of bytes ends sooner.
    pub limit: Option<u32>,
}

/// Which clients: those that meet every condition that is given. Of several values of one condition, one is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientFilter {
    /// What they have among their attributes.
    pub attributes: BTreeMap<AttributeName, BTreeSet<AttributeValue>>,
    /// Whether they are served.
    pub status: Vec<Status>,
    /// Which roles they have.
    pub roles: BTreeSet<RoleName>,
    /// Which scopes they hold, directly or by a role.
    pub scopes: BTreeSet<ScopeToken>,
    /// At which resource servers they hold a scope and may have tokens for it.
    pub audiences: BTreeSet<ResourceServerId>,
    /// How they authenticate.
    pub auth_methods: Vec<AuthMethod>,
    /// They were last used before, or never.
    pub last_used_before: Option<UnixTime>,
    /// They were used at that time or later.
    pub last_used_after: Option<UnixTime>,
    /// They were never used.
    pub never_used: bool,
    /// They, a secret or a key of theirs end within so many seconds from now.
    pub expiring_within: Option<u32>,
}

impl ClientFilter {
    /// Whether it lets every client through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A name in it that the policy does not know: its kind and itself.
    pub(super) fn unknown(&self, policy: &Policy) -> Option<(&'static str, String)> {
        let role = self.roles.iter().find(|name| !policy.roles.contains_key(*name)).map(|name| ("role", name.to_string()));
        let scope = self.scopes.iter().find(|name| !policy.scopes.contains_key(*name)).map(|name| ("scope", name.to_string()));
        let server = self.audiences.iter().find(|id| !policy.resource_servers.contains_key(*id));
        role.or(scope).or_else(|| server.map(|id| ("resource server", id.to_string())))
    }

    /// Whether a client meets it that was last used then.
    pub(super) fn matches(&self, client: &Client, last_used: Option<UnixTime>, policy: &Policy, now: UnixTime) -> bool {
        let any = |empty: bool, found: &dyn Fn() -> bool| empty || found();
        let holds =
            |wanted: &dyn Fn(&ScopeToken, &Scope) -> bool| policy.granted(client).into_iter().any(|(name, scope)| wanted(name, scope));
        let ends = |within: u32| client.next_expiry(now).is_some_and(|end| end <= now.saturating_add(within.into()));
        any(self.status.is_empty(), &|| self.status.contains(&client.status))
            && any(self.auth_methods.is_empty(), &|| self.auth_methods.contains(&client.token_endpoint_auth_method))
            && self.attributes.iter().all(|(name, values)| client.attributes.get(name).is_some_and(|value| values.contains(value)))
            && any(self.roles.is_empty(), &|| self.roles.iter().any(|name| client.roles.contains(name)))
            && self.last_used_before.is_none_or(|limit| last_used.is_none_or(|used| used < limit))
            && self.last_used_after.is_none_or(|limit| last_used.is_some_and(|used| used >= limit))
            && !(self.never_used && last_used.is_some())
            && self.expiring_within.is_none_or(ends)
            && any(self.scopes.is_empty(), &|| holds(&|name, _| self.scopes.contains(name)))
            && any(self.audiences.is_empty(), &|| holds(&|_, scope| self.audiences.contains(&scope.resource_server)))
    }
}

/// An order of clients: by one of their members, and by id where that is the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientSort {
    /// By what.
    pub by: ClientSortField,
    /// The last one first.
    pub descending: bool,
}

/// What clients can be sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientSortField {
    /// Their id.
    #[default]
    Id,
    /// Their name for people.
    Name,
    /// Whether they are served: active, suspended, blocked.
    Status,
    /// When they were registered.
    Created,
    /// The last change by an operator.
    Updated,
    /// When they were last used; those that never were come first.
    LastUsed,
    /// When they, a secret or a key of theirs end; those that do not come first.
    Expires,
}

/// Reads what a command line says, such as `last-used:desc`.
impl FromStr for ClientSort {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let (by, descending) = match text.split_once(':') {
            Some((by, "desc")) => (by, true),
            Some((by, "asc")) => (by, false),
            Some(_) => ("", false),
            None => (text, false),
        };
        let by = match by {
            "id" => ClientSortField::Id,
            "name" => ClientSortField::Name,
            "status" => ClientSortField::Status,
            "created" => ClientSortField::Created,
            "updated" => ClientSortField::Updated,
            "last-used" => ClientSortField::LastUsed,
            "expires" => ClientSortField::Expires,
            _ => {
                let rule = "one of id, name, status, created, updated, last-used, expires, with :desc for the last one first";
                return Err(InvalidWord::new("an order", rule));
            }
        };
        Ok(Self { by, descending })
    }
}

/// What a client has in an order. Keys of one order are of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortKey {
    /// Nothing but its id.
    Id,
    /// A rank or a text.
    Text(String),
    /// A time; nothing comes before any.
    Time(Option<UnixTime>),
}

impl ClientSort {
    pub(super) fn key(self, client: &Client, last_used: impl FnOnce() -> Option<UnixTime>, now: UnixTime) -> SortKey {
        match self.by {
            ClientSortField::Id => SortKey::Id,
            ClientSortField::Name => SortKey::Text(client.client_name.clone()),
            ClientSortField::Status => SortKey::Text(match client.status {
                Status::Active => "0".to_owned(),
                Status::Suspended => "1".to_owned(),
                Status::Blocked => "2".to_owned(),
            }),
            ClientSortField::Created => SortKey::Time(Some(client.created_at)),
            ClientSortField::Updated => SortKey::Time(Some(client.updated_at)),
            ClientSortField::LastUsed => SortKey::Time(last_used()),
            ClientSortField::Expires => SortKey::Time(client.next_expiry(now)),
        }
    }
}

/// A place in an order of clients: behind that client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCursor {
    /// Which.
    pub client_id: ClientId,
    /// What it had in the order, should it change or go away; `None` for what it has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SortKey>,
}

/// What is typed to go on there.
impl fmt::Display for ClientCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client_id.fmt(f)
    }
}

/// A client at its place.
pub(super) struct Placed {
    pub(super) key: SortKey,
    pub(super) client: Arc<Client>,
}

impl Placed {
    fn place(&self) -> (&SortKey, &ClientId) {
        (&self.key, &self.client.client_id)
    }

    /// Whether it comes after a place, in that direction.
    pub(super) fn is_after(&self, key: &SortKey, client_id: &ClientId, descending: bool) -> bool {
        let beyond = if descending { Ordering::Less } else { Ordering::Greater };
        self.place().cmp(&(key, client_id)) == beyond
    }
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Placed {}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

/// Clients in order, each sorted when it is asked for: a page needs few of many.
pub(super) fn in_order(clients: Vec<Placed>, descending: bool) -> Box<dyn Iterator<Item = Arc<Client>>> {
    if descending {
        let mut heap = BinaryHeap::from(clients);
        return Box::new(std::iter::from_fn(move || heap.pop().map(|placed| placed.client)));
    }
    let mut heap: BinaryHeap<_> = clients.into_iter().map(Reverse).collect::<Vec<_>>().into();
    Box::new(std::iter::from_fn(move || heap.pop().map(|Reverse(placed)| placed.client)))
}

/// Which resource servers, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceServerQuery {
    /// The form of their tokens.
    pub token_format: Option<TokenFormat>,
    /// The form of the permissions in them, by its name.
    pub dialect: Option<String>,
    /// Where the page begins.
    pub after: Option<ResourceServerId>,
    /// Records in the page, at most.
    pub limit: Option<u32>,
}

impl ResourceServerQuery {
    pub(super) fn matches(&self, server: &ResourceServer) -> bool {
        self.after.as_ref().is_none_or(|after| server.id > *after)
            && self.token_format.is_none_or(|format| server.token_format == format)
            && self.dialect.as_ref().is_none_or(|name| server.dialect.as_str() == name)
    }
}

/// Which scopes, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeQuery {
    /// Whose resources they open.
    pub resource_server: Option<ResourceServerId>,
    /// Where the page begins.
    pub after: Option<ScopeToken>,
    /// Records in the page, at most.
    pub limit: Option<u32>,
}

impl ScopeQuery {
    pub(super) fn matches(&self, scope: &Scope) -> bool {
        self.after.as_ref().is_none_or(|after| scope.name > *after)
            && self.resource_server.as_ref().is_none_or(|server| scope.resource_server == *server)
    }
}

/// Which roles, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleQuery {
    /// Which scope they grant.
    pub scope: Option<ScopeToken>,
    /// Where the page begins.
    pub after: Option<RoleName>,
    /// Records in the page, at most.
    pub limit: Option<u32>,
}

impl RoleQuery {
    pub(super) fn matches(&self, role: &Role) -> bool {
        self.after.as_ref().is_none_or(|after| role.name > *after)
            && self.scope.as_ref().is_none_or(|scope| role.scope.contains(scope.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{ClientSecret, SecretDigest};
    use crate::oauth::Secret;

    const NOW: UnixTime = UnixTime::from_secs(10_000);

    fn at(seconds: u64) -> Option<UnixTime> {
        Some(UnixTime::from_secs(seconds))
    }

    fn secret(expires_at: Option<UnixTime>) -> ClientSecret {
        ClientSecret {
            expires_at,
            ..ClientSecret { digest: SecretDigest::of(&Secret::new(vec![1])), created_at: NOW, not_before: None, expires_at: None }
        }
    }

    fn client() -> Client {
        Client {
            scope: "a".parse().unwrap(),
            roles: ["pump".parse().unwrap()].into(),
            attributes: [("site".parse().unwrap(), "berlin".parse().unwrap()), ("hall".parse().unwrap(), "7".parse().unwrap())].into(),
            secrets: vec![secret(None)],
            ..Client::new("dev1".parse().unwrap(), NOW)
        }
    }

    fn policy() -> Policy {
        let (one, two): (ResourceServerId, ResourceServerId) = ("one".parse().unwrap(), "two".parse().unwrap());
        let scope = |name: &str, server: &ResourceServerId| Arc::new(Scope::new(name.parse().unwrap(), server.clone(), NOW));
        let scopes = [scope("a", &one), scope("b", &two), scope("c", &two)];
        let role = Role {
            name: "pump".parse().unwrap(),
            description: String::new(),
            scope: "b".parse().unwrap(),
            created_at: NOW,
            updated_at: NOW,
        };
        Policy {
            resource_servers: [one, two].map(|id| (id.clone(), Arc::new(ResourceServer::new(id.clone(), id.to_string(), NOW)))).into(),
            scopes: scopes.map(|scope| (scope.name.clone(), scope)).into(),
            roles: [(role.name.clone(), Arc::new(role))].into(),
        }
    }

    fn attribute(name: &str, values: &[&str]) -> ClientFilter {
        let values = values.iter().map(|value| value.parse().unwrap()).collect();
        ClientFilter { attributes: [(name.parse().unwrap(), values)].into(), ..ClientFilter::default() }
    }

    #[test]
    fn a_client_meets_each_condition_by_one_of_its_values() {
        let none = ClientFilter::default;
        let attributes = attribute("hall", &["7"]).attributes.into_iter().chain(attribute("site", &["paris"]).attributes).collect();
        for (filter, expected) in [
            (none(), true),
            (attribute("site", &["berlin"]), true),
            (attribute("site", &["paris", "berlin"]), true),
            (attribute("site", &["paris"]), false),
            (attribute("floor", &["1"]), false),
            (ClientFilter { attributes, ..none() }, false),
            (ClientFilter { status: vec![Status::Active, Status::Blocked], ..none() }, true),
            (ClientFilter { status: vec![Status::Blocked], ..none() }, false),
            (ClientFilter { roles: ["pump".parse().unwrap(), "x".parse().unwrap()].into(), ..none() }, true),
            (ClientFilter { roles: ["x".parse().unwrap()].into(), ..none() }, false),
            (ClientFilter { scopes: ["b".parse().unwrap()].into(), ..none() }, true),
            (ClientFilter { scopes: ["c".parse().unwrap()].into(), ..none() }, false),
            (ClientFilter { audiences: ["two".parse().unwrap()].into(), ..none() }, true),
            (ClientFilter { audiences: ["three".parse().unwrap()].into(), ..none() }, false),
            (ClientFilter { auth_methods: vec![AuthMethod::ClientSecretPost], ..none() }, true),
            (ClientFilter { auth_methods: vec![AuthMethod::PrivateKeyJwt], ..none() }, false),
            (ClientFilter { last_used_before: at(501), ..none() }, true),
            (ClientFilter { last_used_before: at(500), ..none() }, false),
            (ClientFilter { last_used_after: at(500), ..none() }, true),
            (ClientFilter { last_used_after: at(501), ..none() }, false),
            (ClientFilter { never_used: true, ..none() }, false),
            (ClientFilter { expiring_within: Some(u32::MAX), ..none() }, false),
        ] {
            assert_eq!(filter.matches(&client(), at(500), &policy(), NOW), expected, "{filter:?}");
        }
        let unused = |filter: ClientFilter| filter.matches(&client(), None, &policy(), NOW);
        assert!(unused(ClientFilter { never_used: true, ..none() }) && unused(ClientFilter { last_used_before: at(1), ..none() }));
        assert!(!unused(ClientFilter { last_used_after: at(0), ..none() }));
        let elsewhere = Client { audiences: ["one".parse().unwrap()].into(), ..client() };
        let at_two = ClientFilter { audiences: ["two".parse().unwrap()].into(), ..none() };
        assert!(!at_two.matches(&elsewhere, None, &policy(), NOW), "it may have no token there");
    }

    #[test]
    fn a_client_expires_with_the_first_of_what_it_has() {
        for (own, secrets, expected) in [
            (None, vec![None], None),
            (at(10_500), vec![None], at(10_500)),
            (at(10_500), vec![at(10_100)], at(10_100)),
            (None, vec![at(9_000), None], None),
            (None, vec![at(9_000), at(12_000)], at(12_000)),
            (None, vec![at(8_000), at(9_000)], at(9_000)),
            (at(7_000), vec![at(12_000)], at(7_000)),
        ] {
            let client = Client { expires_at: own, secrets: secrets.iter().map(|end| secret(*end)).collect(), ..client() };
            assert_eq!(client.next_expiry(NOW), expected, "{own:?} {secrets:?}");
            let within =
                |seconds| ClientFilter { expiring_within: Some(seconds), ..ClientFilter::default() }.matches(&client, None, &policy(), NOW);
            assert_eq!(within(1_000), expected.is_some_and(|end| end <= NOW.saturating_add(1_000)));
        }
    }

    #[test]
    fn deny_orders_that_are_none() {
        let sort = |by, descending| ClientSort { by, descending };
        assert_eq!("last-used:desc".parse(), Ok(sort(ClientSortField::LastUsed, true)));
        assert_eq!("name:asc".parse(), Ok(sort(ClientSortField::Name, false)));
        for text in ["", "id:", "id:down", "secret", "desc"] {
            assert!(text.parse::<ClientSort>().is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_names_are_found() {
        let filter = ClientFilter { roles: ["pumps".parse().unwrap()].into(), ..ClientFilter::default() };
        assert_eq!(filter.unknown(&policy()), Some(("role", "pumps".to_owned())));
        assert_eq!(ClientFilter { scopes: ["a".parse().unwrap()].into(), ..ClientFilter::default() }.unknown(&policy()), None);
    }
}
