//! The memory of used assertions: bounded, in RAM, and never forgetful while an assertion could be used again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::clock::UnixTime;
use crate::oauth::ClientId;

/// Locks, so that links seldom wait for one another.
const SHARDS: usize = 16;

/// What is remembered: the first half of a SHA-256.
type Mark = [u8; 16];

/// What is used once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Once<'a> {
    /// A `jti` of a client.
    Jti(&'a str),
    /// A nonce given to a client.
    Nonce(&'a str),
}

impl Once<'_> {
    fn mark(self, client_id: &ClientId) -> Mark {
        let (kind, value) = match self {
            Self::Jti(value) => (b'j', value),
            Self::Nonce(value) => (b'n', value),
        };
        // A client id holds no zero, so no two of these are alike.
        let digest = Sha256::new().chain_update(client_id.as_str()).chain_update([0, kind]).chain_update(value).finalize();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

/// What came of an attempt to use something once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It is used now, and remembered.
    First,
    /// It was used before.
    Again,
    /// There is no room to remember it.
    NoRoom {
        /// Seconds until there is some.
        retry_after: u32,
    },
}

/// How full the memory of used assertions is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Assertions and nonces that are remembered.
    pub entries: usize,
    /// How many can be.
    pub capacity: usize,
}

/// Used assertions until they expire. An entry takes 24 bytes, with the table around it 29 to 57.
pub(super) struct ReplayMemory {
    shards: [Mutex<Shard>; SHARDS],
    shard_capacity: usize,
}

#[derive(Default)]
struct Shard {
    /// When each can be forgotten.
    marks: HashMap<Mark, UnixTime>,
    /// None can be forgotten before.
    earliest: UnixTime,
}

impl ReplayMemory {
    /// A memory of `capacity` entries in all; as they spread by chance, one part of it may be full a little earlier.
    pub(super) fn new(capacity: usize) -> Self {
        Self { shards: Default::default(), shard_capacity: capacity.div_ceil(SHARDS) }
    }

    /// Uses it, and remembers that until `until`. From then on it must be of no use to anybody.
    pub(super) fn try_use(&self, client_id: &ClientId, once: Once<'_>, until: UnixTime, now: UnixTime) -> Use {
        let mark = once.mark(client_id);
        let [first, ..] = mark;
        let Some(shard) = self.shards.get(usize::from(first) % SHARDS) else { return Use::Again };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.marks.get(&mark).is_some_and(|end| *end > now) {
            return Use::Again;
        }
        if shard.marks.len() >= self.shard_capacity {
            shard.forget_expired(now);
            if shard.marks.len() >= self.shard_capacity {
                let wait = shard.earliest.as_secs().saturating_sub(now.as_secs());
                return Use::NoRoom { retry_after: u32::try_from(wait).unwrap_or(u32::MAX).max(1) };
            }
        }
        shard.earliest = if shard.marks.is_empty() { until } else { shard.earliest.min(until) };
        shard.marks.insert(mark, until);
        Use::First
    }

    /// How full it is, once all that has expired is forgotten.
    pub(super) fn occupancy(&self, now: UnixTime) -> Occupancy {
        let count = |shard: &Mutex<Shard>| {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.forget_expired(now);
            shard.marks.len()
        };
        let entries = self.shards.iter().map(count).fold(0, usize::saturating_add);
        Occupancy { entries, capacity: self.shard_capacity.saturating_mul(SHARDS) }
    }
}

impl Shard {
    /// Looks through all entries, but only when there is one to forget.
    fn forget_expired(&mut self, now: UnixTime) {
        if self.earliest <= now {
            self.marks.retain(|_, end| *end > now);
            self.earliest = self.marks.values().min().copied().unwrap_or(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000);

    fn id(text: &str) -> ClientId {
        text.parse().unwrap()
    }

    #[test]
    fn everything_is_used_once_by_each_client() {
        let memory = ReplayMemory::new(1_024);
        let until = NOW.saturating_add(60);
        for (client, once) in [
            ("dev1", Once::Jti("a")),
            ("dev2", Once::Jti("a")),
            ("dev1", Once::Jti("b")),
            ("dev1", Once::Nonce("a")),
            ("dev", Once::Jti("1a")),
        ] {
            let at = |seconds| memory.try_use(&id(client), once, NOW.saturating_add(seconds).max(until), NOW.saturating_add(seconds));
            assert_eq!((at(0), at(0), at(59)), (Use::First, Use::Again, Use::Again), "{client} {once:?}");
            let later = until.saturating_add(60);
            assert_eq!(memory.try_use(&id(client), once, later, until), Use::First, "{client} {once:?} is forgotten");
        }
    }

    #[test]
    fn deny_when_full_and_forget_nothing() {
        let memory = ReplayMemory::new(64);
        let end = |number: u64| NOW.saturating_add(60).saturating_add(number % 7);
        let mut kept = Vec::new();
        for number in 0..4_096_u64 {
            match memory.try_use(&id("dev1"), Once::Jti(&number.to_string()), end(number), NOW) {
                Use::First => kept.push(number),
                Use::NoRoom { retry_after } => assert!((60..=66).contains(&retry_after), "{retry_after}"),
                Use::Again => panic!("{number} is new"),
            }
        }
        assert_eq!(kept.len(), 64, "every part is full");
        assert_eq!(memory.occupancy(NOW), Occupancy { entries: 64, capacity: 64 });
        for number in &kept {
            assert_eq!(memory.try_use(&id("dev1"), Once::Jti(&number.to_string()), end(*number), NOW), Use::Again);
        }
        let later = NOW.saturating_add(61);
        let room = (10_000..14_096_u64)
            .filter(|number| memory.try_use(&id("dev1"), Once::Jti(&number.to_string()), later.saturating_add(60), later) == Use::First)
            .count();
        let expired = kept.iter().filter(|number| end(**number) <= later).count();
        assert_eq!(room, expired, "as many as have expired");
        assert_eq!(memory.occupancy(later).entries, 64);
        assert_eq!(memory.occupancy(later.saturating_add(60)), Occupancy { entries: 0, capacity: 64 });
    }
}
