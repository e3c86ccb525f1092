//! The revocation lists of the resource servers.

use std::sync::Arc;

use super::Engine;
use crate::clock::UnixTime;
use crate::jose::JwtError;
use crate::oauth::ResourceServerId;
use crate::policy::ResourceServer;
use crate::token::{RevocationList, SignedList};

impl Engine {
    /// What is void at each resource server at this moment, in at most so many bytes each, and the resource servers that are no more.
    #[must_use]
    pub fn revocation_lists(&self, now: UnixTime, max_bytes: usize) -> (Vec<(Arc<ResourceServer>, RevocationList)>, Vec<ResourceServerId>) {
        let Some(revocations) = &self.revocations else { return Default::default() };
        let (state, policy) = (revocations.revocation_state(), self.policies.policy());
        let list = |server: &Arc<ResourceServer>| {
            let list = RevocationList::new(&self.settings.issuer, server, &state, now, max_bytes);
            (server.clone(), list)
        };
        let lists = policy.resource_servers.values().map(list).collect();
        let removed = state.removed.into_iter().filter(|id| !policy.resource_servers.contains_key(id)).collect();
        (lists, removed)
    }

    /// Signs a list by the key that signs the tokens of its resource server.
    ///
    /// # Errors
    /// If there is no such key.
    pub fn sign_list(&self, server: &ResourceServer, list: &RevocationList) -> Result<SignedList, JwtError> {
        list.sign(server, &self.keys())
    }
}
