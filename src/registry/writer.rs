//! The way to the committer: for the registry at large, or for somebody whose next change carries an audit entry of its own.

use std::sync::{Arc, Mutex, PoisonError};

use super::audit::{Notes, Trail};
use super::committer::{Batch, Committer, Staged, WriteCounts};
use super::error::RegistryError;
use super::store::{Store, Write};
use crate::audit::{Event, Page, Query};

/// A way to the committer. The last one to go closes it.
pub(super) struct Writer {
    committer: Arc<Committer>,
    /// The entry of the next change.
    intended: Mutex<Option<Event>>,
}

impl Writer {
    pub(super) fn new(committer: Committer) -> Self {
        Self { committer: Arc::new(committer), intended: Mutex::default() }
    }

    pub(super) fn acting(&self) -> Self {
        Self { committer: self.committer.clone(), intended: Mutex::default() }
    }

    pub(super) fn intend(&self, event: Event) {
        *self.intended.lock().unwrap_or_else(PoisonError::into_inner) = Some(event);
    }

    pub(super) fn unrecorded(&self) -> Option<Event> {
        self.intended.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Makes one change durable, and the entry that was intended with it.
    pub(super) fn change<T>(&self, prepare: impl FnOnce(&Staged<'_>) -> Result<(Batch, T), RegistryError>) -> Result<T, RegistryError> {
        let event = self.intended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let value = self.committer.change(|staged| prepare(staged).map(|(batch, value)| (batch.led_by(event), value)))?;
        // On disk now; a change that failed leaves it for another.
        self.unrecorded();
        Ok(value)
    }

    pub(super) fn write(&self, writes: Vec<Write>) -> Result<(), RegistryError> {
        self.committer.write(writes)
    }

    pub(super) fn commit(&self, batch: Batch) -> Result<(), RegistryError> {
        self.committer.commit(batch)
    }

    pub(super) fn queue(&self, prepare: impl FnOnce(&Staged<'_>) -> Option<Result<Batch, RegistryError>>) -> Result<(), RegistryError> {
        self.committer.queue(prepare)
    }

    pub(super) fn look<T: Send + 'static>(&self, look: impl FnOnce(&Store, &Trail) -> T + Send + 'static) -> Result<T, RegistryError> {
        self.committer.look(look)
    }

    pub(super) fn moves(&self) -> Result<(), RegistryError> {
        self.committer.moves()
    }

    /// A page of the audit trail.
    pub(super) fn read(&self, query: Query) -> Result<Page, RegistryError> {
        self.look(move |store, trail| trail.page(store, &query))?
    }

    /// The registry's directory.
    pub(super) fn directory(&self) -> &std::path::Path {
        self.committer.directory()
    }

    /// What was written so far.
    pub(super) fn counts(&self) -> WriteCounts {
        self.committer.counts()
    }

    pub(super) fn notes(&self) -> &Notes {
        self.committer.notes()
    }

    /// How many changes wait for the thread.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.committer.queued()
    }
}
