//! Commands that list records, page by page.

use std::time::SystemTime;

use serde::Serialize;

use super::queries::{Placed, in_order};
use super::{
    AdminError, AdminErrorCode, Administrator, Answer, ClientCursor, ClientQuery, MAX_FRAME, ResourceServerQuery, RoleQuery, ScopeQuery,
};
use crate::clients::ClientStore as _;
use crate::clock::UnixTime;
use crate::policy::PolicyStore as _;
use crate::registry::RegistryError;

/// Bytes of a page of a list, one record more or less.
const PAGE: usize = MAX_FRAME / 2;

impl Administrator {
    pub(super) fn list_clients(&self, query: ClientQuery) -> Result<Answer, AdminError> {
        let (policy, now) = (self.registry.policy(), UnixTime::from(SystemTime::now()));
        let ClientQuery { filter, sort, after, limit } = query;
        if let Some((kind, id)) = filter.unknown(&policy) {
            return Err(RegistryError::NotFound { kind, id }.into());
        }
        let key = |client: &_| sort.key(client, || self.registry.last_use(&client.client_id), now);
        let after = match after {
            Some(ClientCursor { client_id, key: None }) if sort.by != super::ClientSortField::Id => {
                let client = self.registry.client(&client_id);
                let client = client.ok_or_else(|| RegistryError::NotFound { kind: "client", id: client_id.to_string() })?;
                Some((key(&client), client_id))
            }
            Some(ClientCursor { client_id, key }) => Some((key.unwrap_or(super::SortKey::Id), client_id)),
            None => None,
        };
        let placed = self.registry.clients_in_no_order().into_iter().map(|client| Placed { key: key(&client), client });
        let following = placed.filter(|placed| after.as_ref().is_none_or(|(key, id)| placed.is_after(key, id, sort.descending)));
        let matching = in_order(following.collect(), sort.descending)
            .filter(|client| filter.matches(client, self.registry.last_use(&client.client_id), &policy, now));
        let (mut last, mut more) = (None, false);
        let documents = matching.map(|client| (self.document(&client), client));
        let mut page = Page::new(limit);
        for (document, client) in documents {
            more = !page.add(document)?;
            if more {
                break;
            }
            last = Some(client);
        }
        let next = last.filter(|_| more).map(|client| ClientCursor { key: Some(key(&client)), client_id: client.client_id.clone() });
        let clients = page.records;
        Ok(Answer::Clients { clients, next })
    }

    pub(super) fn list_resource_servers(&self, query: &ResourceServerQuery) -> Result<Answer, AdminError> {
        let policy = self.registry.policy();
        let matching = policy.resource_servers.values().filter(|server| query.matches(server));
        let (resource_servers, more) = page(matching.cloned(), query.limit)?;
        Ok(Answer::ResourceServers { resource_servers, more })
    }

    pub(super) fn list_scopes(&self, query: &ScopeQuery) -> Result<Answer, AdminError> {
        let policy = self.registry.policy();
        if let Some(unknown) = query.resource_server.as_ref().filter(|id| !policy.resource_servers.contains_key(*id)) {
            return Err(RegistryError::NotFound { kind: "resource server", id: unknown.to_string() }.into());
        }
        let matching = policy.scopes.values().filter(|scope| query.matches(scope));
        let (scopes, more) = page(matching.cloned(), query.limit)?;
        Ok(Answer::Scopes { scopes, more })
    }

    pub(super) fn list_roles(&self, query: &RoleQuery) -> Result<Answer, AdminError> {
        let policy = self.registry.policy();
        if let Some(unknown) = query.scope.as_ref().filter(|name| !policy.scopes.contains_key(*name)) {
            return Err(RegistryError::NotFound { kind: "scope", id: unknown.to_string() }.into());
        }
        let matching = policy.roles.values().filter(|role| query.matches(role));
        let (roles, more) = page(matching.cloned(), query.limit)?;
        Ok(Answer::Roles { roles, more })
    }
}

/// Records that fit a frame.
struct Page<T> {
    records: Vec<T>,
    limit: usize,
    size: usize,
}

impl<T: Serialize> Page<T> {
    fn new(limit: Option<u32>) -> Self {
        Self { records: Vec::new(), limit: limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX), size: 0 }
    }

    /// Takes one more record; false if the page is full.
    fn add(&mut self, record: T) -> Result<bool, AdminError> {
        let json = serde_json::to_vec(&record).map_err(|error| AdminError::new(AdminErrorCode::Internal, error.to_string()))?;
        self.size = self.size.saturating_add(json.len()).saturating_add(1);
        if self.records.len() >= self.limit || (self.size > PAGE && !self.records.is_empty()) {
            return Ok(false);
        }
        self.records.push(record);
        Ok(true)
    }
}

/// As many records as fit a page, and whether there are more.
pub(super) fn page<T: Serialize>(records: impl Iterator<Item = T>, limit: Option<u32>) -> Result<(Vec<T>, bool), AdminError> {
    let mut page = Page::new(limit);
    for record in records {
        if !page.add(record)? {
            return Ok((page.records, true));
        }
    }
    Ok((page.records, false))
}
