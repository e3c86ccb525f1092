//! The use of credentials and their rotation.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use zeroize::Zeroizing;

use super::committer::{Batch, Effect};
use super::error::RegistryError;
use super::{Registry, not_found, put_client, write};
use crate::clients::{
    Client, ClientKey, ClientSecret, ClientStore, CredentialId, CredentialRef, CredentialStore, CredentialWish, NewCredential, Rotated,
    RotationError, RotationFailure, RotationRule,
};
use crate::clock::UnixTime;
use crate::oauth::ClientId;

/// Last uses in one write.
const BATCH: usize = 512;

/// First uses of new credentials: in force from the very next request on, and on disk soon after.
#[derive(Default)]
pub(super) struct Confirmations(RwLock<HashMap<ClientId, Confirmation>>);

struct Confirmation {
    credential: CredentialId,
    at: UnixTime,
}

impl Confirmations {
    /// The client as it is since the first use of its new credential, whether that is on disk or not.
    pub(super) fn apply(&self, client: Arc<Client>) -> Arc<Client> {
        if client.rotation.as_ref().is_none_or(|rotation| rotation.used_at.is_some()) {
            return client;
        }
        let confirmations = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match confirmations.get(&client.client_id) {
            Some(found) if client.awaits_use_of(found.credential) => {
                let mut confirmed = Client::clone(&client);
                confirmed.confirm(found.at);
                Arc::new(confirmed)
            }
            _ => client,
        }
    }
}

impl ClientStore for Registry {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.memory.client(id).map(|client| self.confirmations.apply(client))
    }

    fn used(&self, client: &Client, credential: CredentialRef<'_>, now: UnixTime) {
        let (id, credential) = (&client.client_id, credential.id());
        self.usage.note(id, credential, now);
        if !client.awaits_use_of(credential) {
            return;
        }
        let confirmation = Confirmation { credential, at: now };
        self.confirmations.0.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), confirmation);
        self.keep_first_use(id, credential, now);
    }
}

impl Registry {
    /// Queues the first use of a new credential for the disk. If that fails or does not come to pass, the rule still stands in the record.
    fn keep_first_use(&self, id: &ClientId, credential: CredentialId, now: UnixTime) {
        let queued = self.committer.queue(|staged| {
            let before = staged.client(id).filter(|client| client.awaits_use_of(credential))?;
            let mut client = Client::clone(&before);
            client.confirm(now);
            let client = Arc::new(client);
            Some(write(&*client).map(|write| Batch::of(write, Effect::Client(id.clone(), Some(client)))))
        });
        match queued {
            Ok(()) => tracing::info!(client_id = id.as_str(), "the new credential is in use"),
            Err(error) => tracing::warn!(client_id = id.as_str(), code = error.code(), %error, "the first use of a credential is not kept"),
        }
    }

    /// When a credential of a client was last used, if that is known.
    #[must_use]
    pub fn last_used(&self, client_id: &ClientId, credential: CredentialRef<'_>) -> Option<UnixTime> {
        self.usage.last(client_id, credential.id())
    }

    /// When a client was last used by any credential, if that is known.
    #[must_use]
    pub fn last_use(&self, client_id: &ClientId) -> Option<UnixTime> {
        self.usage.latest(client_id)
    }

    /// The `most` clients that authenticated last, the latest first.
    #[must_use]
    pub fn latest_clients(&self, most: usize) -> Vec<(ClientId, UnixTime)> {
        self.usage.most_recent(most, |client_id| self.memory.client(client_id).is_some())
    }

    /// Writes what was used since the last time, and first uses that could not be written. Blocks until it is durable.
    ///
    /// # Errors
    /// If the disk refuses; then it is tried again the next time.
    pub fn keep_usage(&self) -> Result<(), RegistryError> {
        let pending: Vec<(ClientId, CredentialId, UnixTime)> = {
            let mut confirmations = self.confirmations.0.write().unwrap_or_else(PoisonError::into_inner);
            confirmations.retain(|id, found| self.memory.client(id).is_some_and(|client| client.awaits_use_of(found.credential)));
            confirmations.iter().map(|(id, found)| (id.clone(), found.credential, found.at)).collect()
        };
        for (id, credential, at) in pending {
            self.keep_first_use(&id, credential, at);
        }
        loop {
            let changed = self.usage.take_changed(BATCH, |id| self.memory.client(id).is_some())?;
            if changed.is_empty() {
                return Ok(());
            }
            let (ids, writes): (Vec<_>, Vec<_>) = changed.into_iter().unzip();
            if let Err(error) = self.committer.write(writes) {
                self.usage.put_back(ids.into_iter());
                return Err(error);
            }
        }
    }

    /// Gives a client a new credential beside the old one: for an operator, or for the client itself that authenticated `by` one of its own.
    ///
    /// # Errors
    /// [`RegistryError::NotRotated`] with the reason, or if there is no such client or the disk refuses; then nothing has changed.
    pub fn rotate_credential(
        &self,
        id: &ClientId,
        by: Option<CredentialId>,
        wish: CredentialWish,
        rule: RotationRule,
        now: UnixTime,
    ) -> Result<Rotated, RegistryError> {
        let (new, secret) = match wish {
            CredentialWish::Key(jwk) => (NewCredential::Key(ClientKey::new(jwk, now)), None),
            CredentialWish::Secret => {
                let mut entropy = Zeroizing::new([0; 32]);
                getrandom::fill(entropy.as_mut_slice()).map_err(|error| RegistryError::NoRandomness { reason: error.to_string() })?;
                let (record, secret) = ClientSecret::generate(&entropy, now);
                (NewCredential::Secret(record), Some(secret))
            }
        };
        let client = self.change_credentials(id, |client| {
            client.rotate(by, new, rule, now)?;
            if by.is_none() {
                client.updated_at = now;
            }
            Ok(())
        })?;
        Ok(Rotated { client, secret })
    }

    /// Takes back the new credential of a rotation, unless it was used.
    ///
    /// # Errors
    /// As [`Self::rotate_credential`].
    pub fn cancel_rotation(&self, id: &ClientId, now: UnixTime) -> Result<Arc<Client>, RegistryError> {
        self.change_credentials(id, |client| {
            client.updated_at = now;
            client.cancel_rotation(now)
        })
    }

    /// Ends the old credentials of a rotation.
    ///
    /// # Errors
    /// As [`Self::rotate_credential`].
    pub fn finish_rotation(&self, id: &ClientId, now: UnixTime) -> Result<Arc<Client>, RegistryError> {
        self.change_credentials(id, |client| {
            client.updated_at = now;
            client.finish_rotation(now)
        })
    }

    fn change_credentials(
        &self,
        id: &ClientId,
        change: impl FnOnce(&mut Client) -> Result<(), RotationError>,
    ) -> Result<Arc<Client>, RegistryError> {
        self.committer.change(|staged| {
            let before = staged.client(id).ok_or_else(|| not_found::<Client>(id.as_str()))?;
            let mut client = Client::clone(&self.confirmations.apply(before));
            change(&mut client).map_err(|error| RegistryError::NotRotated { id: id.to_string(), error })?;
            put_client(Arc::new(client), &staged.policy())
        })
    }
}

impl CredentialStore for Registry {
    fn rotate(
        &self,
        id: &ClientId,
        by: CredentialId,
        wish: CredentialWish,
        rule: RotationRule,
        now: UnixTime,
    ) -> Result<Rotated, RotationFailure> {
        self.rotate_credential(id, Some(by), wish, rule, now).map_err(|error| match error {
            RegistryError::NotRotated { error, .. } => RotationFailure::Refused(error),
            error => {
                tracing::error!(client_id = id.as_str(), code = error.code(), %error, "a new credential could not be kept");
                RotationFailure::NotKept
            }
        })
    }
}
