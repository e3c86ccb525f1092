//! When credentials were last used, kept in memory and written now and then: a request never waits for it, and a power cut may lose some.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::RegistryError;
use super::records::{Record, Tree, encode};
use super::store::Write;
use crate::clients::{CredentialId, MAX_KEYS, MAX_SECRETS};
use crate::clock::UnixTime;
use crate::oauth::ClientId;

/// Credentials of one client that are remembered: all it has, and as many that it had.
const MAX_CREDENTIALS: usize = 2 * (MAX_KEYS + MAX_SECRETS);

/// When the credentials of one client were last used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastUsed {
    pub(super) client_id: ClientId,
    pub(super) times: Vec<(CredentialId, UnixTime)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastUsedV1 {
    used: Vec<(CredentialId, UnixTime)>,
}

impl Record for LastUsed {
    const TREE: Tree = Tree::LastUsed;
    const KIND: &'static str = "last use";
    type Stored = LastUsedV1;

    fn name(&self) -> &str {
        self.client_id.as_str()
    }

    fn to_stored(&self) -> LastUsedV1 {
        LastUsedV1 { used: self.times.clone() }
    }

    fn from_stored(name: &str, stored: LastUsedV1) -> Option<Self> {
        Some(Self { client_id: name.parse().ok()?, times: stored.used })
    }
}

/// The last uses of all credentials. As many entries as there are clients that have authenticated.
pub(super) struct Usage(Mutex<HashMap<ClientId, Entry>>);

struct Entry {
    times: Vec<(CredentialId, UnixTime)>,
    /// Not as it lies on disk.
    changed: bool,
}

impl Usage {
    pub(super) fn new(stored: Vec<LastUsed>) -> Self {
        let entries = stored.into_iter().map(|last| (last.client_id, Entry { times: last.times, changed: false }));
        Self(Mutex::new(entries.collect()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, client_id: &ClientId, credential: CredentialId, now: UnixTime) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(client_id) {
            entry.note(credential, now);
        } else {
            entries.insert(client_id.clone(), Entry { times: vec![(credential, now)], changed: true });
        }
    }

    pub(super) fn last(&self, client_id: &ClientId, credential: CredentialId) -> Option<UnixTime> {
        self.lock().get(client_id)?.times.iter().find(|(known, _)| *known == credential).map(|(_, time)| *time)
    }

    /// The last use of any credential that the client has or had.
    pub(super) fn latest(&self, client_id: &ClientId) -> Option<UnixTime> {
        self.lock().get(client_id)?.times.iter().map(|(_, time)| *time).max()
    }

    /// The `most` clients that were used last, the latest first. Looks at all of them.
    pub(super) fn most_recent(&self, most: usize, exists: impl Fn(&ClientId) -> bool) -> Vec<(ClientId, UnixTime)> {
        let mut latest = BinaryHeap::with_capacity(most.saturating_add(1));
        let entries = self.lock();
        for (client_id, entry) in entries.iter() {
            let Some(time) = entry.times.iter().map(|(_, time)| *time).max() else { continue };
            let found = Reverse((time, Reverse(client_id)));
            if latest.len() < most || latest.peek().is_some_and(|least| found < *least) {
                if exists(client_id) {
                    latest.push(found);
                }
                if latest.len() > most {
                    latest.pop();
                }
            }
        }
        latest.into_sorted_vec().into_iter().map(|Reverse((time, Reverse(client_id)))| (client_id.clone(), time)).collect()
    }

    /// What is to be written: at most `most` entries that have changed, and the removal of those whose client is gone. They count as written.
    pub(super) fn take_changed(&self, most: usize, exists: impl Fn(&ClientId) -> bool) -> Result<Vec<(ClientId, Write)>, RegistryError> {
        let mut entries = self.lock();
        let mut writes = Vec::new();
        let mut gone = Vec::new();
        for (client_id, entry) in entries.iter_mut() {
            let exists = exists(client_id);
            if writes.len() >= most {
                break;
            }
            if exists && !entry.changed {
                continue;
            }
            let value = match exists {
                true => Some(encode(&LastUsed { client_id: client_id.clone(), times: entry.times.clone() })?),
                false => None,
            };
            entry.changed = false;
            if !exists {
                gone.push(client_id.clone());
            }
            writes.push((client_id.clone(), Write { tree: Tree::LastUsed, key: client_id.as_str().into(), value }));
        }
        for client_id in gone {
            entries.remove(&client_id);
        }
        Ok(writes)
    }

    /// What could not be written is to be written again.
    pub(super) fn put_back(&self, client_ids: impl Iterator<Item = ClientId>) {
        let mut entries = self.lock();
        for client_id in client_ids {
            entries.entry(client_id).or_insert(Entry { times: Vec::new(), changed: true }).changed = true;
        }
    }
}

impl Entry {
    fn note(&mut self, credential: CredentialId, now: UnixTime) {
        match self.times.iter_mut().find(|(known, _)| *known == credential) {
            Some((_, time)) if *time >= now => return,
            Some((_, time)) => *time = now,
            None => {
                if self.times.len() >= MAX_CREDENTIALS {
                    // What was used longest ago is of a credential that is no more.
                    self.times.sort_unstable_by_key(|(_, time)| Reverse(*time));
                    self.times.truncate(MAX_CREDENTIALS.saturating_sub(1));
                }
                self.times.push((credential, now));
            }
        }
        self.changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{ClientSecret, CredentialRef};

    #[test]
    fn the_latest_come_first_and_no_more_than_asked_for() {
        let usage = Usage::new(Vec::new());
        let (record, _) = ClientSecret::generate(&zeroize::Zeroizing::new([7; 32]), UnixTime::from_secs(0));
        let credential = CredentialRef::Secret(&record).id();
        for (client_id, time) in [("a", 5), ("b", 9), ("c", 1), ("d", 9), ("gone", 99), ("a", 7)] {
            usage.note(&client_id.parse().unwrap(), credential, UnixTime::from_secs(time));
        }
        let latest = |most| {
            usage
                .most_recent(most, |client_id| client_id.as_str() != "gone")
                .into_iter()
                .map(|(id, time)| (id.to_string(), time.as_secs()))
                .collect::<Vec<_>>()
        };
        let expected = [("b", 9), ("d", 9), ("a", 7), ("c", 1)].map(|(id, time)| (id.to_owned(), time));
        assert_eq!((latest(0), latest(3), latest(9)), (Vec::new(), expected[..3].to_vec(), expected.to_vec()));
    }
}
