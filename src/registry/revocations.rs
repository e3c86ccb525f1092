//! Revoked tokens. What is void of one client's tokens is one record, which outlives the client; the sequence number of all is another.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::committer::{Batch, Effect, Staged};
use super::error::RegistryError;
use super::records::{Record, Tree};
use super::store::Write;
use super::{Registry, not_found, now, write};
use crate::audit::{AuditLog as _, Event, Refused, What};
use crate::clients::Client;
use crate::clock::UnixTime;
use crate::oauth::{ClientId, ResourceServerId};
use crate::token::{NotKept, RevocationState, RevocationStore, Revocations, RevokedToken, TokenHash};

/// Resource servers that were removed and are remembered, so that their lists are taken away from a broker that was not there then.
const MAX_REMOVED: usize = 64;
/// How far the sequence number goes ahead when a registry takes the place of another: as many revocations as nobody makes more than a clock counts.
const LEAP: u64 = 86_400;
/// Records that are forgotten in one write.
const BATCH: usize = 512;

/// What is the same for all revocations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) number: u64,
    pub(super) removed: Vec<ResourceServerId>,
}

impl Sequence {
    /// The next one. No less than the time: it must not come again if the registry is restored from a backup.
    fn next(&self, now: UnixTime) -> Self {
        Self { number: self.number.saturating_add(1).max(now.as_secs()), removed: self.removed.clone() }
    }

    /// The next one of a registry that takes the place of another at that time. The other's may have been ahead of the clock, as it is after many
    /// revocations at once.
    pub(super) fn leap(&self, time: UnixTime) -> Self {
        Self { number: self.next(time).number.saturating_add(LEAP), removed: self.removed.clone() }
    }
}

/// The only record of its tree.
pub(super) const SEQUENCE_NAME: &str = "revocations";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SequenceV1 {
    number: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    removed: Vec<ResourceServerId>,
}

impl Record for Sequence {
    const TREE: Tree = Tree::Sequence;
    const KIND: &'static str = "sequence number";
    type Stored = SequenceV1;

    fn name(&self) -> &str {
        SEQUENCE_NAME
    }

    fn to_stored(&self) -> SequenceV1 {
        SequenceV1 { number: self.number, removed: self.removed.clone() }
    }

    fn from_stored(name: &str, stored: SequenceV1) -> Option<Self> {
        (name == SEQUENCE_NAME).then_some(Self { number: stored.number, removed: stored.removed })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevocationsV1 {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_before: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<RevokedTokenV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedTokenV1 {
    rs: ResourceServerId,
    jti: ByteBuf,
    hash: ByteBuf,
    iat: UnixTime,
    exp: UnixTime,
}

impl Record for Revocations {
    const TREE: Tree = Tree::Revocations;
    const KIND: &'static str = "revocation";
    type Stored = RevocationsV1;

    fn name(&self) -> &str {
        self.client_id.as_str()
    }

    fn to_stored(&self) -> RevocationsV1 {
        let token = |token: &RevokedToken| RevokedTokenV1 {
            rs: token.resource_server.clone(),
            // Ours are always base64url.
            jti: ByteBuf::from(URL_SAFE_NO_PAD.decode(&token.jti).unwrap_or_default()),
            hash: ByteBuf::from(token.hash.as_bytes().to_vec()),
            iat: token.issued_at,
            exp: token.expires_at,
        };
        RevocationsV1 { issued_before: self.issued_before, tokens: self.tokens.iter().map(token).collect() }
    }

    fn from_stored(name: &str, stored: RevocationsV1) -> Option<Self> {
        let token = |token: RevokedTokenV1| {
            Some(RevokedToken {
                resource_server: token.rs,
                jti: URL_SAFE_NO_PAD.encode(&token.jti),
                hash: TokenHash::from_bytes(&token.hash)?,
                issued_at: token.iat,
                expires_at: token.exp,
            })
        };
        let tokens = stored.tokens.into_iter().map(token).collect::<Option<_>>()?;
        Some(Self { client_id: name.parse().ok()?, issued_before: stored.issued_before, tokens })
    }
}

/// All that is void, in force.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    pub(super) sequence: Arc<Sequence>,
    pub(super) clients: HashMap<ClientId, Arc<Revocations>>,
}

/// The end of the second of `now`: a token is dated by whole seconds, and one from earlier in this second is void, too.
fn end_of(now: UnixTime) -> UnixTime {
    now.saturating_add(1)
}

/// Adds to a change that more of a client's tokens is void.
pub(super) fn revoke(
    batch: &mut Batch,
    staged: &Staged<'_>,
    client_id: &ClientId,
    now: UnixTime,
    change: impl FnOnce(&mut Revocations),
) -> Result<Arc<Revocations>, RegistryError> {
    let mut revocations = staged.revocations(client_id).map_or_else(|| Revocations::none(client_id.clone()), |before| (*before).clone());
    let before = revocations.issued_before;
    change(&mut revocations);
    if let Some(bound) = revocations.issued_before.filter(|bound| Some(*bound) != before) {
        batch.note(Event::of(What::TokensRevoked).client(client_id).until(bound));
    }
    let revocations = Arc::new(revocations);
    advance(batch, staged, now, |_| ())?;
    batch.add(write(&*revocations)?, Effect::Revocations(client_id.clone(), Some(revocations.clone())));
    Ok(revocations)
}

/// Adds the next sequence number to a change.
fn advance(batch: &mut Batch, staged: &Staged<'_>, now: UnixTime, change: impl FnOnce(&mut Sequence)) -> Result<(), RegistryError> {
    let mut sequence = staged.sequence().next(now);
    change(&mut sequence);
    batch.add(write(&sequence)?, Effect::Sequence(Arc::new(sequence)));
    Ok(())
}

/// Adds to the removal of a resource server that its list is to be taken away.
pub(super) fn forget_server(batch: &mut Batch, staged: &Staged<'_>, id: &ResourceServerId) -> Result<(), RegistryError> {
    stop_many(batch, staged, &[], std::slice::from_ref(id), now())
}

/// Adds to a change that the tokens of many clients are void from now on, and that the lists of resource servers are to be taken away.
pub(super) fn stop_many(
    batch: &mut Batch,
    staged: &Staged<'_>,
    stopped: &[ClientId],
    removed: &[ResourceServerId],
    now: UnixTime,
) -> Result<(), RegistryError> {
    let bound = end_of(now);
    if stopped.is_empty() && removed.is_empty() {
        return Ok(());
    }
    for id in stopped {
        let before = staged.revocations(id);
        let mut revocations = before.map_or_else(|| Revocations::none(id.clone()), |before| (*before).clone());
        revocations.cut_off(bound);
        let revocations = Arc::new(revocations);
        batch.add(write(&*revocations)?, Effect::Revocations(id.clone(), Some(revocations)));
    }
    advance(batch, staged, now, |sequence| {
        sequence.removed.retain(|known| !removed.contains(known));
        sequence.removed.extend_from_slice(removed);
        let surplus = sequence.removed.len().saturating_sub(MAX_REMOVED);
        sequence.removed.drain(..surplus);
    })
}

impl Registry {
    /// Voids every token that a client got before a time, or up to this moment.
    ///
    /// # Errors
    /// If there is no such client, the time is still to come, or the disk refuses; then nothing has changed.
    pub fn revoke_tokens(&self, id: &ClientId, before: Option<UnixTime>, now: UnixTime) -> Result<Arc<Revocations>, RegistryError> {
        let bound = before.unwrap_or_else(|| end_of(now));
        if bound > end_of(now) {
            let reason =
                format!("its tokens from before {bound}, a time that is still to come, cannot be revoked: it would get none until then");
            return Err(RegistryError::Invalid { kind: Client::KIND, id: id.to_string(), reason: reason.into() });
        }
        self.committer.change(|staged| {
            staged.client(id).ok_or_else(|| not_found::<Client>(id.as_str()))?;
            let mut batch = Batch::default();
            let revocations = revoke(&mut batch, staged, id, now, |revocations| revocations.cut_off(bound))?;
            Ok((batch, revocations))
        })
    }

    /// Voids a single token of a client, who may be gone.
    ///
    /// # Errors
    /// If the disk refuses; then nothing has changed.
    pub fn revoke_token(&self, id: &ClientId, token: RevokedToken, now: UnixTime) -> Result<Arc<Revocations>, RegistryError> {
        self.committer.change(|staged| {
            let mut batch = Batch::default();
            if let Some(before) = staged.revocations(id).filter(|before| before.voids(&token.jti, token.issued_at)) {
                return Ok((batch, before));
            }
            let revocations = revoke(&mut batch, staged, id, now, |revocations| revocations.revoke(token, now))?;
            Ok((batch, revocations))
        })
    }

    /// Adds to a change that stops a client that its tokens are void from now on.
    pub(super) fn stop(batch: &mut Batch, staged: &Staged<'_>, id: &ClientId, now: UnixTime) -> Result<(), RegistryError> {
        revoke(batch, staged, id, now, |revocations| revocations.cut_off(end_of(now))).map(drop)
    }

    /// After a change that stops a client: tokens may have been issued while it was on its way to the disk.
    pub(super) fn cover(&self, id: &ClientId) -> Result<(), RegistryError> {
        let now = self.now();
        if self.revocations(id).is_some_and(|revocations| revocations.issued_before >= Some(end_of(now))) {
            return Ok(());
        }
        self.committer.change(|staged| {
            let mut batch = Batch::default();
            Self::stop(&mut batch, staged, id, now)?;
            Ok((batch, ()))
        })
    }

    /// The same for many clients, of whom those count that have authenticated since.
    pub(super) fn cover_many(&self, stopped: &[ClientId]) -> Result<(), RegistryError> {
        let is_open = |id: &&ClientId| {
            let bound = self.revocations(id).and_then(|revocations| revocations.issued_before);
            self.last_use(id).is_some_and(|used| bound.is_none_or(|bound| end_of(used) > bound))
        };
        let open: Vec<ClientId> = stopped.iter().filter(is_open).cloned().collect();
        if open.is_empty() {
            return Ok(());
        }
        self.committer.change(|staged| {
            let mut batch = Batch::default();
            stop_many(&mut batch, staged, &open, &[], self.now())?;
            Ok((batch, ()))
        })
    }

    /// Dates what is revoked by that clock from now on, which must be the one that tokens are dated by: of two clocks one may be behind, and a
    /// token from a moment ago would outlive its client. The first one set stays.
    pub fn date_cut_offs(&self, clock: Box<dyn Fn() -> UnixTime + Send + Sync>) {
        // Whoever comes second finds the same: there is one daemon to a registry.
        let _ = self.clock.set(clock);
    }

    /// The time that tokens are dated by, as far as this process knows.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.clock.get().map_or_else(now, |clock| clock())
    }

    /// Tells `changed` of each token that a client revokes, once that is on the disk. The first one set stays.
    pub fn on_revocation(&self, changed: Box<dyn Fn() + Send + Sync>) {
        // Whoever comes second finds the same: there is one daemon to a registry.
        let _ = self.revoked.set(changed);
    }

    /// Forgets revocations of tokens that no clock takes any more. Blocks until that is on the disk.
    ///
    /// # Errors
    /// If the disk refuses; then they are kept.
    pub fn forget_revocations(&self, now: UnixTime) -> Result<(), RegistryError> {
        loop {
            let more = self.committer.change(|staged| {
                let (mut batch, mut count) = (Batch::default(), 0_usize);
                for before in staged.all_revocations().into_iter() {
                    let mut settled = Revocations::clone(&before);
                    settled.settle(now);
                    if settled == *before || count >= BATCH {
                        continue;
                    }
                    count = count.saturating_add(1);
                    let id = before.client_id.clone();
                    if settled.is_empty() {
                        let erase = Write { tree: Revocations::TREE, key: id.as_str().into(), value: None };
                        batch.add(erase, Effect::Revocations(id, None));
                    } else {
                        batch.add(write(&settled)?, Effect::Revocations(id, Some(Arc::new(settled))));
                    }
                }
                Ok((batch, count >= BATCH))
            })?;
            if !more {
                return Ok(());
            }
        }
    }
}

impl RevocationStore for Registry {
    fn revocations(&self, client_id: &ClientId) -> Option<Arc<Revocations>> {
        self.memory.revoked.read().unwrap_or_else(PoisonError::into_inner).clients.get(client_id).cloned()
    }

    fn revocation_state(&self) -> RevocationState {
        let revoked = self.memory.revoked.read().unwrap_or_else(PoisonError::into_inner);
        let clients = revoked.clients.values().cloned().collect();
        RevocationState { sequence: revoked.sequence.number, clients, removed: revoked.sequence.removed.clone() }
    }

    fn revoke(&self, client_id: &ClientId, token: RevokedToken, now: UnixTime) -> Result<(), NotKept> {
        match self.revoke_token(client_id, token, now) {
            Ok(_) => {
                // As often as it likes, so they are counted together.
                let (what, client_id) = (What::TokenRevoked, Some(client_id));
                self.refused(Refused { what, client_id, uid: None, known: true, reason: "by_client", link: None }, now);
                if let Some(changed) = self.revoked.get() {
                    changed();
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(client_id = client_id.as_str(), code = error.code(), %error, "a revocation could not be kept");
                Err(NotKept)
            }
        }
    }
}
