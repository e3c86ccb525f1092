//! The trail as the committer's thread keeps it: a ring whose beginning is known and signed.

use std::sync::PoisonError;

use serde_bytes::{ByteArray, ByteBuf};

use super::super::error::RegistryError;
use super::super::now;
use super::super::records::Tree;
use super::super::store::{Store, Write};
use super::{AuditHooks, AuditLimits, Notes};
use crate::audit::{Anchor, Entry, Event, Hash, Link, Page, Query, Sealed, StatementKind, What};
use crate::clock::UnixTime;

/// The version of an entry and of the anchor on disk.
const VERSION: u64 = 1;
/// The key of the anchor: the number of no entry.
const ANCHOR: [u8; 8] = [0; 8];
/// Entries that are dropped at once, at most: to drop them one by one would write the first page again with each.
const CHUNK: u64 = 256;
/// Entries that one page looks at, and bytes of those it holds, at most: it has to fit a frame.
const SCAN: usize = 4_096;
const PAGE_BYTES: usize = 262_144;

/// Whether the trail is to be signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Wish {
    /// Only if it is due.
    #[default]
    Nothing,
    /// If there is anything since the last checkpoint.
    IfNew,
    /// In any case: by another key than before.
    Always,
}

/// The ends of the trail.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Trail {
    anchor: Anchor,
    head: Link,
    /// Of all entries.
    bytes: u64,
    /// Entries since the last checkpoint.
    unsigned: u64,
    last_checkpoint: Option<String>,
}

/// What is to be written, and the trail once it is.
#[derive(Default)]
pub(in super::super) struct Sealing {
    pub(in super::super) writes: Vec<Write>,
    pub(in super::super) entries: Vec<Sealed>,
    next: Trail,
}

impl Trail {
    /// Reads the ends of the trail. What is damaged is told, and the trail goes on: `audit verify` says more.
    pub(in super::super) fn load(store: &Store, notes: &Notes) -> Result<Self, RegistryError> {
        let damaged = |entry| tracing::error!(entry, "the audit trail is damaged there: see `credgate audit verify`");
        let trail = Self::read(store, damaged)?;
        trail.publish(notes);
        Ok(trail)
    }

    /// The same with whatever is damaged told to `damaged`.
    pub(in super::super) fn read(store: &Store, mut damaged: impl FnMut(u64)) -> Result<Self, RegistryError> {
        let mut trail = Self::default();
        let mut first = None;
        for record in store.scan(Tree::Audit) {
            let (key, value) = record?;
            let seq = number(&key);
            if seq == 0 {
                trail.anchor = decode_anchor(&value).unwrap_or_default();
                trail.head = trail.anchor.link;
                continue;
            }
            first.get_or_insert(seq);
            trail.bytes = trail.bytes.saturating_add(size(&value));
            let sealed = decode(&value).filter(|sealed| sealed.entry.seq == seq);
            let is_next = trail.head.seq.checked_add(1) == Some(seq);
            let holds = |sealed: &Sealed| sealed.entry.clone().seal(&trail.head).hash == sealed.hash;
            if !(is_next && sealed.as_ref().is_some_and(holds)) {
                damaged(seq);
            }
            // The next entry is tied to whatever is there.
            trail.head = sealed.as_ref().map_or_else(|| Link { seq, hash: Hash::default().then(&value) }, Sealed::link);
            match sealed.map(|sealed| sealed.entry.event).filter(|event| event.is(What::Checkpoint)) {
                Some(event) => (trail.unsigned, trail.last_checkpoint) = (0, event.statement),
                None => trail.unsigned = trail.unsigned.saturating_add(1),
            }
        }
        // Without a readable anchor the ring still has a beginning.
        if let Some(first) = first.filter(|first| trail.anchor.link.seq.checked_add(1) != Some(*first)) {
            trail.anchor = Anchor { link: Link { seq: first.saturating_sub(1), hash: Hash::default() }, statement: None };
        }
        Ok(trail)
    }

    /// Puts events at the end, signs the trail if that is due or wished for, and drops the oldest entries if there are too many.
    pub(in super::super) fn seal(
        &self,
        store: &Store,
        events: Vec<(UnixTime, Event)>,
        wish: Wish,
        notes: &Notes,
    ) -> Result<Sealing, RegistryError> {
        let mut sealing = Sealing { next: self.clone(), ..Sealing::default() };
        let defaults = Default::default();
        let (limits, hooks) = notes.rules.get().unwrap_or(&defaults);
        for (time, event) in events {
            sealing.append(time, event);
            if sealing.next.unsigned >= limits.checkpoint_entries {
                sealing.sign(hooks);
            }
        }
        if wish == Wish::Always || (wish == Wish::IfNew && sealing.next.unsigned > 0) {
            sealing.sign(hooks);
        }
        sealing.make_room(store, limits, hooks)?;
        Ok(sealing)
    }

    /// What was sealed is on disk.
    pub(in super::super) fn keep(&mut self, sealing: Sealing, notes: &Notes) {
        let Sealing { entries, next, .. } = sealing;
        *self = next;
        self.publish(notes);
        if let Some((_, hooks)) = notes.rules.get().filter(|_| !entries.is_empty()) {
            (hooks.written)(&entries);
        }
    }

    fn publish(&self, notes: &Notes) {
        notes.last_checkpoint.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.last_checkpoint);
    }

    /// The number of the last entry.
    pub(in super::super) fn last(&self) -> u64 {
        self.head.seq
    }

    /// How many entries there are.
    pub(in super::super) fn count(&self) -> u64 {
        self.head.seq.saturating_sub(self.anchor.link.seq)
    }

    /// A page of what is on disk.
    pub(in super::super) fn page(&self, store: &Store, query: &Query) -> Result<Page, RegistryError> {
        let mut page = Page { anchor: self.anchor.clone(), head: self.head.seq, ..Page::default() };
        let from = query.after.max(self.anchor.link.seq).saturating_add(1);
        let to = query.before.map_or(u64::MAX, |before| before.saturating_sub(1)).min(self.head.seq);
        if from > to {
            return Ok(page);
        }
        let mut records: Box<dyn Iterator<Item = _>> = match query.newest_first {
            true => Box::new(store.descending(Tree::Audit, from, to)),
            false => Box::new(store.range(Tree::Audit, key(from)..=key(to))),
        };
        let (mut scanned, mut bytes) = (0_usize, 0_usize);
        for record in records.by_ref() {
            let (key, value) = record?;
            let seq = number(&key);
            scanned = scanned.saturating_add(1);
            match decode(&value) {
                None => page.unreadable.push(seq),
                Some(sealed) if query.filter.takes(&sealed.entry) => {
                    bytes = bytes.saturating_add(value.len());
                    page.entries.push(sealed);
                }
                Some(_) => {}
            }
            if scanned >= SCAN || bytes >= PAGE_BYTES || (query.limit > 0 && page.entries.len() >= query.limit) {
                page.more_from = Some(seq);
                break;
            }
        }
        if page.more_from.is_some() && records.next().is_none() {
            page.more_from = None;
        }
        Ok(page)
    }
}

impl Sealing {
    fn append(&mut self, time: UnixTime, event: Event) {
        let entry = Entry { seq: self.next.head.seq.saturating_add(1), time, event };
        let sealed = entry.seal(&self.next.head);
        let value = encode(&sealed);
        self.next.head = sealed.link();
        self.next.bytes = self.next.bytes.saturating_add(size(&value));
        self.next.unsigned = self.next.unsigned.saturating_add(1);
        self.writes.push(Write { tree: Tree::Audit, key: key(sealed.entry.seq).into(), value: Some(value) });
        self.entries.push(sealed);
    }

    /// A checkpoint of all so far, and the anchor by the same key: it may be another than when it was last signed.
    fn sign(&mut self, hooks: &AuditHooks) {
        let now = now();
        let Some(statement) = (hooks.sign)(StatementKind::Checkpoint, &self.next.head, now) else { return };
        self.append(now, Event::of(What::Checkpoint).statement(statement.clone()));
        self.next.last_checkpoint = Some(statement);
        self.next.unsigned = 0;
        if self.next.anchor.link.seq > 0
            && let Some(statement) = (hooks.sign)(StatementKind::Anchor, &self.next.anchor.link, now)
        {
            self.next.anchor.statement = Some(statement);
            self.write_anchor();
        }
    }

    fn write_anchor(&mut self) {
        self.writes.retain(|write| write.key != ANCHOR);
        self.writes.push(Write { tree: Tree::Audit, key: ANCHOR.into(), value: Some(encode_anchor(&self.next.anchor)) });
    }

    fn make_room(&mut self, store: &Store, limits: &AuditLimits, hooks: &AuditHooks) -> Result<(), RegistryError> {
        let over = |trail: &Trail, factor: u64| {
            trail.count() > limits.max_entries.saturating_mul(factor) || trail.bytes > limits.max_bytes.saturating_mul(factor)
        };
        if !over(&self.next, 1) {
            return Ok(());
        }
        let chunk = CHUNK.min(limits.max_entries / 16);
        let (entries, bytes) = (limits.max_entries.saturating_sub(chunk), limits.max_bytes.saturating_sub(limits.max_bytes / 64));
        let mut shorter = self.next.clone();
        let mut removals = Vec::new();
        // What is only being written now stays for the next time.
        let first_new = self.entries.first().map_or(u64::MAX, |sealed| sealed.entry.seq);
        for record in store.range(Tree::Audit, key(self.next.anchor.link.seq.saturating_add(1))..key(first_new)) {
            if shorter.count() <= entries && shorter.bytes <= bytes {
                break;
            }
            let (found, value) = record?;
            let seq = number(&found);
            let link = decode(&value).as_ref().map_or_else(|| Link { seq, hash: Hash::default().then(&value) }, Sealed::link);
            shorter.anchor = Anchor { link, statement: None };
            shorter.bytes = shorter.bytes.saturating_sub(size(&value));
            removals.push(Write { tree: Tree::Audit, key: found.to_vec(), value: None });
        }
        if removals.is_empty() {
            return Ok(());
        }
        shorter.anchor.statement = (hooks.sign)(StatementKind::Anchor, &shorter.anchor.link, now());
        // Nobody could tell an unsigned beginning from a thief's work.
        if shorter.anchor.statement.is_none() && !over(&self.next, 2) {
            return Ok(());
        }
        self.next = shorter;
        self.writes.append(&mut removals);
        self.write_anchor();
        Ok(())
    }
}

fn key(seq: u64) -> [u8; 8] {
    seq.to_be_bytes()
}

fn number(key: &[u8]) -> u64 {
    key.try_into().map_or(0, u64::from_be_bytes)
}

fn size(value: &[u8]) -> u64 {
    u64::try_from(value.len()).unwrap_or(u64::MAX)
}

/// `[version, hash, entry]`, the entry being the very bytes that the hash is of.
pub(in super::super) fn encode(sealed: &Sealed) -> Vec<u8> {
    let record = (VERSION, ByteArray::new(sealed.hash.0), ByteBuf::from(sealed.entry.to_cbor()));
    // A number and two byte strings always can be written.
    serde_cbor::to_vec(&record).unwrap_or_default()
}

pub(in super::super) fn decode(value: &[u8]) -> Option<Sealed> {
    let (version, hash, entry): (u64, ByteArray<32>, ByteBuf) = serde_cbor::from_slice(value).ok()?;
    let entry = Entry::from_cbor(&entry).filter(|_| version == VERSION)?;
    Some(Sealed { entry, hash: Hash(hash.into_array()) })
}

/// `[version, number, hash, statement]`.
pub(in super::super) fn encode_anchor(anchor: &Anchor) -> Vec<u8> {
    let record = (VERSION, anchor.link.seq, ByteArray::new(anchor.link.hash.0), &anchor.statement);
    serde_cbor::to_vec(&record).unwrap_or_default()
}

pub(in super::super) fn decode_anchor(value: &[u8]) -> Option<Anchor> {
    let (version, seq, hash, statement): (u64, u64, ByteArray<32>, Option<String>) = serde_cbor::from_slice(value).ok()?;
    let link = Link { seq, hash: Hash(hash.into_array()) };
    (version == VERSION).then_some(Anchor { link, statement })
}
