//! The audit trail on disk: a tree of its own in the order of the entries' numbers, written by the committer's thread together with what the
//! entries tell of.

mod notes;
mod trail;

use std::sync::{Arc, PoisonError};

use super::committer::Batch;
use super::error::RegistryError;
use super::{Registry, now};
use crate::audit::{AuditLog, Event, Link, Page, Query, RefusalRules, Refused, Sealed, StatementKind};
use crate::clock::UnixTime;

pub(super) use notes::Notes;
pub(super) use trail::{Trail, Wish};
#[cfg(test)]
pub(super) use trail::{decode, decode_anchor, encode, encode_anchor};

/// What bounds the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditLimits {
    /// Entries; past it the oldest are dropped.
    pub max_entries: u64,
    /// Bytes of all entries; likewise.
    pub max_bytes: u64,
    /// Entries after which the trail is signed.
    pub checkpoint_entries: u64,
    /// What bounds a flood of refusals.
    pub refusals: RefusalRules,
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self { max_entries: 16_384, max_bytes: 4_194_304, checkpoint_entries: 256, refusals: RefusalRules::default() }
    }
}

/// Signs a statement on a place in the trail; `None` if there is no key to sign with.
pub type Signer = Box<dyn Fn(StatementKind, &Link, UnixTime) -> Option<String> + Send + Sync>;

/// Takes entries that are on disk.
pub type Written = Box<dyn Fn(&[Sealed]) + Send + Sync>;

/// What the process that has the registry open does for the trail.
pub struct AuditHooks {
    /// Signs. Without a signature nothing is dropped from the trail until it has twice its size.
    pub sign: Signer,
    /// Something waits to be written by [`Registry::write_audit`].
    pub waiting: Box<dyn Fn() + Send + Sync>,
    /// These entries are on disk. Called by the committer's thread, which must not wait.
    pub written: Written,
}

impl Default for AuditHooks {
    fn default() -> Self {
        Self { sign: Box::new(|_, _, _| None), waiting: Box::new(|| ()), written: Box::new(|_| ()) }
    }
}

/// What is written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditWrite {
    /// What is due.
    Due,
    /// What is due, and a checkpoint if there is anything since the last.
    Checkpoint,
    /// All, at the end, and a checkpoint.
    End,
}

impl Registry {
    /// Keeps the trail by these limits and hooks from now on. The first ones stay.
    pub fn keep_audit(&self, limits: AuditLimits, hooks: AuditHooks) {
        self.notes().refusals().set_rules(limits.refusals);
        // Whoever comes second finds the same: there is one daemon to a registry.
        let _ = self.notes().rules.set((limits, hooks));
    }

    /// Writes what was noted, and the refusals that are to be told now. Blocks until it is durable; nothing is written if there is nothing.
    ///
    /// # Errors
    /// If the disk refuses; then it is tried again the next time.
    pub fn write_audit(&self, what: AuditWrite) -> Result<(), RegistryError> {
        let refusals = match what {
            AuditWrite::End => self.notes().refusals().take_all(now()),
            _ => self.notes().refusals().take_due(now()),
        };
        let now = now();
        for event in refusals {
            self.notes().push(now, event);
        }
        if what == AuditWrite::Due && self.notes().is_empty() {
            return Ok(());
        }
        let wish = if what == AuditWrite::Due { Wish::Nothing } else { Wish::IfNew };
        self.committer.commit(Batch::default().signed(wish))
    }

    /// Writes all that was noted and signs the trail: the checkpoint, a compact JWS.
    ///
    /// # Errors
    /// If the disk refuses, or there is no key to sign with.
    pub fn audit_checkpoint(&self) -> Result<String, RegistryError> {
        self.committer.commit(Batch::default().signed(Wish::Always))?;
        let found = self.notes().last_checkpoint.lock().unwrap_or_else(PoisonError::into_inner).clone();
        found.ok_or_else(|| RegistryError::MasterKey {
            reason: "there is no signing key to sign the trail with: start the gateway".to_owned(),
        })
    }

    /// A page of the trail, as it is on disk.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn audit_page(&self, query: Query) -> Result<Page, RegistryError> {
        self.committer.read(query)
    }

    /// The same registry, for somebody whose next change is kept with an entry of its own, by [`Self::intend`].
    #[must_use]
    pub fn acting(&self) -> Arc<Self> {
        Arc::new(Self {
            memory: self.memory.clone(),
            committer: self.committer.acting(),
            confirmations: self.confirmations.clone(),
            usage: self.usage.clone(),
            rule: self.rule.clone(),
            revoked: self.revoked.clone(),
            clock: self.clock.clone(),
        })
    }

    /// The next change by this [acting](Self::acting) registry carries the entry: both are durable, or neither.
    pub fn intend(&self, event: Event) {
        self.committer.intend(event);
    }

    /// The entry that no change has carried.
    #[must_use]
    pub fn unrecorded(&self) -> Option<Event> {
        self.committer.unrecorded()
    }

    /// Writes an entry, and blocks until it is durable.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn record(&self, event: Event) -> Result<(), RegistryError> {
        self.committer.commit(Batch::default().audited([event]))
    }

    fn notes(&self) -> &Notes {
        self.committer.notes()
    }
}

impl AuditLog for Registry {
    fn note(&self, event: Event) {
        self.notes().push(now(), event);
        self.notes().wake();
    }

    fn refused(&self, refused: Refused<'_>, now: UnixTime) {
        if self.notes().refusals().count(refused, now) {
            self.notes().wake();
        }
    }
}
