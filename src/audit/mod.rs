//! The audit trail as values: what happened ([`Event`]), its place in the trail ([`Entry`]), the chain of hashes that ties each entry to all
//! before it, the signed statements that tie the chain to the gateway, and what bounds a flood of refusals.
//!
//! The hash of an entry is the SHA-256 of the hash before it and of the entry as deterministic CBOR (RFC 8949 section 4.2.1): whoever has the
//! entries as JSON can compute it again.

mod chain;
mod entry;
mod event;
mod filter;
mod refusals;
mod statement;
mod verify;

use crate::clock::UnixTime;

pub use chain::{Anchor, Hash, Link};
pub use entry::{Entry, Sealed};
pub use event::{Event, What};
pub use filter::{Filter, Page, Query};
pub use refusals::{RefusalRules, Refusals, Refused};
pub use statement::{Statement, StatementError, StatementKind};
pub use verify::{Fault, Report, Verifier};

/// Takes what happened into the trail. Never waits for the disk.
pub trait AuditLog: Send + Sync {
    /// Something happened just now.
    fn note(&self, event: Event);

    /// A device was refused. Refusals alike are counted and told together.
    fn refused(&self, refused: Refused<'_>, now: UnixTime);
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAudit;

impl AuditLog for NoAudit {
    fn note(&self, _: Event) {}

    fn refused(&self, _: Refused<'_>, _: UnixTime) {}
}
