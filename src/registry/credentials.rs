//! The use of credentials and their rotation.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use zeroize::Zeroizing;

use super::committer::{Batch, Effect};
use super::error::RegistryError;
use super::{Registry, not_found, put_client, write};
use crate::audit::{Event, What};
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

/// What became of the credentials of a client, for the audit trail: told by what is different, so that no way of changing them is forgotten.
pub(super) fn events(before: Option<&Client>, after: &Client) -> Vec<Event> {
    let event = |what| Event::of(what).client(&after.client_id);
    let known = |client: Option<&Client>, id| client.is_some_and(|client| client.credentials().any(|known| known.id() == id));
    let rotation = |client: &Client| client.rotation.as_ref().map(|rotation| rotation.started_at).zip(client.successor());
    let mut events = Vec::new();
    if let (None, Some(by)) = (before, &after.enrolled_by) {
        events.push(event(What::Enrolled).subject(by.enrolment.as_str()));
    }
    for made in after.credentials().filter(|made| !known(before, made.id())) {
        let what = if matches!(made, CredentialRef::Secret(_)) { What::SecretMade } else { What::KeyAdded };
        events.push(event(what).credential(name(made)));
    }
    let used = |client: &Client| client.rotation.as_ref().is_some_and(|rotation| rotation.used_at.is_some());
    if let Some(before) = before {
        if used(after) && !used(before) {
            events.push(used_event(after));
        }
        let unused = before.successor().filter(|_| !used(before));
        let is_new = |credential: &CredentialRef<'_>| Some(credential.id()) == unused;
        let gone = |credential: &CredentialRef<'_>| !known(Some(after), credential.id());
        for ended in before.credentials().filter(gone) {
            let what = if is_new(&ended) { What::RotationCancelled } else { What::CredentialRetired };
            events.push(event(what).credential(name(ended)));
        }
    }
    if let Some(begun) = after.rotation.as_ref().filter(|_| before.and_then(rotation) != rotation(after)) {
        let new = after.credentials().last().map(name).unwrap_or_default();
        events.push(event(What::RotationBegun).credential(new).reason(begun.started_by.as_str()).until(begun.ends_at));
    }
    events
}

/// The first use of the newest credential.
fn used_event(client: &Client) -> Event {
    let new = client.credentials().last().map(name).unwrap_or_default();
    Event::of(What::RotationUsed).client(&client.client_id).credential(new)
}

/// What a credential is called where nothing of it may be told: a key's thumbprint, or the first bytes of a secret's digest.
fn name(credential: CredentialRef<'_>) -> String {
    match credential {
        CredentialRef::Key(key) => key.jwk.thumbprint(),
        CredentialRef::Secret(_) => credential.id().to_string(),
    }
}

fn keep(before: &Client, client: Client) -> Result<Batch, RegistryError> {
    let (events, id, client) = (events(Some(before), &client), client.client_id.clone(), Arc::new(client));
    Ok(Batch::of(write(&*client)?, Effect::Client(id, Some(client))).audited(events))
}

impl Registry {
    /// Queues the first use of a new credential for the disk. If that fails or does not come to pass, the rule still stands in the record.
    fn keep_first_use(&self, id: &ClientId, credential: CredentialId, now: UnixTime) {
        let queued = self.committer.queue(|staged| {
            let before = staged.client(id).filter(|client| client.awaits_use_of(credential))?;
            let mut client = Client::clone(&before);
            client.confirm(now);
            // With the old credential the rotation ends, and what is left does not tell why.
            let used = client.rotation.is_none().then(|| used_event(&client));
            Some(keep(&before, client).map(|batch| batch.led_by(used)))
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

    /// Drops old credentials whose time is over by now, so that the audit trail has it. Does not wait for the disk: they serve no more anyway.
    pub fn settle_rotations(&self, now: UnixTime) {
        let lapsed: Vec<ClientId> = {
            let clients = self.memory.clients.read().unwrap_or_else(PoisonError::into_inner);
            clients.values().filter(|client| client.is_rotation_over(now)).map(|client| client.client_id.clone()).collect()
        };
        for id in lapsed {
            let queued = self.committer.queue(|staged| {
                let before = staged.client(&id).filter(|client| client.is_rotation_over(now))?;
                let mut client = Client::clone(&before);
                client.settle(now);
                Some(keep(&before, client))
            });
            if let Err(error) = queued {
                tracing::warn!(client_id = id.as_str(), code = error.code(), %error, "the end of a credential is not kept");
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
            put_client(Arc::new(client), staged)
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
