//! Group commit: changes are checked one after the other, queued, and made durable together by one thread.
//!
//! A change is checked against what will be in force once everything queued before it is durable, so two that exclude each other cannot both
//! pass. It becomes visible, and its caller is answered, only when it is on the disk. If a batch fails, so does everything queued behind it,
//! which was checked in the belief that the batch would succeed.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use super::audit::{Notes, Trail, Wish};
use super::error::RegistryError;
use super::meta::{Mark, Marker, Meta};
use super::revocations::{Revoked, Sequence};
use super::store::{Store, Write};
use super::{load, now};
use crate::audit::Event;
use crate::clients::Client;
use crate::enrolment::{Book, DeviceName, DeviceState};
use crate::oauth::{ClientId, EnrolmentId};
use crate::policy::Policy;
use crate::token::Revocations;

/// What is in force: durable, and read by every request.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// As it was when the registry was opened.
    pub(super) meta: Meta,
    /// Entries of the audit trail that were acknowledged, and are not there any more.
    pub(super) lost: u64,
    pub(super) clients: RwLock<HashMap<ClientId, Arc<Client>>>,
    pub(super) policy: RwLock<Arc<Policy>>,
    pub(super) book: RwLock<Arc<Book>>,
    pub(super) devices: RwLock<Devices>,
    pub(super) revoked: RwLock<Revoked>,
}

/// The devices that each enrolment knows.
pub(super) type Devices = HashMap<EnrolmentId, BTreeMap<DeviceName, DeviceState>>;

impl Memory {
    pub(super) fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn book(&self) -> Arc<Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn devices(&self, id: &EnrolmentId) -> BTreeMap<DeviceName, DeviceState> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned().unwrap_or_default()
    }

    pub(super) fn device(&self, id: &EnrolmentId, device: &DeviceName) -> Option<DeviceState> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner).get(id)?.get(device).cloned()
    }

    fn revoked(&self) -> RwLockWriteGuard<'_, Revoked> {
        self.revoked.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts effects into force: no request sees some of the clients as they were and some as they are. Returns the clients that were before.
    fn put_all(&self, effects: Vec<Effect>) -> Vec<Arc<Client>> {
        let mut replaced = Vec::new();
        let mut others = Vec::new();
        {
            let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
            for effect in effects {
                match effect {
                    Effect::Client(id, client) => replaced.extend(put_client(&mut clients, id, client)),
                    // Before the clients that need it can be seen.
                    Effect::Policy(_) | Effect::Book(_) => self.put(effect),
                    other => others.push(other),
                }
            }
        }
        others.into_iter().for_each(|effect| self.put(effect));
        replaced
    }

    fn put(&self, effect: Effect) {
        match effect {
            Effect::Book(book) => *self.book.write().unwrap_or_else(PoisonError::into_inner) = book,
            Effect::Device(id, device, state) => {
                put_device(&mut self.devices.write().unwrap_or_else(PoisonError::into_inner), id, device, state)
            }
            Effect::Client(id, client) => drop(put_client(&mut self.clients.write().unwrap_or_else(PoisonError::into_inner), id, client)),
            Effect::Policy(policy) => *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy,
            Effect::Revocations(id, Some(revocations)) => drop(self.revoked().clients.insert(id, revocations)),
            Effect::Revocations(id, None) => drop(self.revoked().clients.remove(&id)),
            Effect::Sequence(sequence) => self.revoked().sequence = sequence,
        }
    }
}

/// What a change does to [`Memory`].
#[derive(Debug, Clone)]
pub(super) enum Effect {
    /// The client is as given, or gone.
    Client(ClientId, Option<Arc<Client>>),
    /// The policy is as given.
    Policy(Arc<Policy>),
    /// Templates and enrolments are as given.
    Book(Arc<Book>),
    /// A device of an enrolment is as given, or no longer known.
    Device(EnrolmentId, DeviceName, Option<DeviceState>),
    /// What is void of a client's tokens is as given, or nothing.
    Revocations(ClientId, Option<Arc<Revocations>>),
    /// The sequence number of revocations is as given.
    Sequence(Arc<Sequence>),
}

fn put_client(clients: &mut HashMap<ClientId, Arc<Client>>, id: ClientId, client: Option<Arc<Client>>) -> Option<Arc<Client>> {
    match client {
        Some(client) => clients.insert(id, client),
        None => clients.remove(&id),
    }
}

fn put_device(devices: &mut Devices, id: EnrolmentId, device: DeviceName, state: Option<DeviceState>) {
    match state {
        Some(state) => drop(devices.entry(id).or_default().insert(device, state)),
        None => {
            if let Some(known) = devices.get_mut(&id) {
                known.remove(&device);
                if known.is_empty() {
                    devices.remove(&id);
                }
            }
        }
    }
}

/// What one change comes to: all of it is durable and then in force, or none.
#[derive(Debug, Default)]
pub(super) struct Batch {
    writes: Vec<Write>,
    effects: Vec<Effect>,
    events: Vec<Event>,
    wish: Wish,
}

impl Batch {
    /// One record and what it does to memory.
    pub(super) fn of(write: Write, effect: Effect) -> Self {
        Self { writes: vec![write], effects: vec![effect], ..Self::default() }
    }

    /// The same with these entries of the audit trail.
    pub(super) fn audited(mut self, events: impl IntoIterator<Item = Event>) -> Self {
        self.events.extend(events);
        self
    }

    /// One more of these entries.
    pub(super) fn note(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The same with this entry before the others.
    pub(super) fn led_by(mut self, event: Option<Event>) -> Self {
        self.events.splice(..0, event);
        self
    }

    /// The same with a checkpoint of the audit trail.
    pub(super) fn signed(self, wish: Wish) -> Self {
        Self { wish, ..self }
    }

    /// One more record, of which [`Self::then`] says what it does to memory.
    pub(super) fn put(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// What records do to memory together.
    pub(super) fn then(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// One more record, and what it does to memory.
    pub(super) fn add(&mut self, write: Write, effect: Effect) {
        self.put(write);
        self.then(effect);
    }
}

type Outcome = Result<(), RegistryError>;

struct Change {
    batch: Batch,
    answer: SyncSender<Outcome>,
}

/// Looks at the files and the audit trail, between two changes, so that nothing is half written.
type Look = Box<dyn FnOnce(&Store, &Trail) + Send>;

#[derive(Default)]
struct Queue {
    changes: Vec<Change>,
    looks: Vec<Look>,
    /// Where what is queued or being written differs from memory.
    clients: HashMap<ClientId, Option<Arc<Client>>>,
    policy: Option<Arc<Policy>>,
    book: Option<Arc<Book>>,
    devices: HashMap<(EnrolmentId, DeviceName), Option<DeviceState>>,
    revocations: HashMap<ClientId, Option<Arc<Revocations>>>,
    sequence: Option<Arc<Sequence>>,
    /// No more changes are taken: the registry is closing, or its thread died.
    closed: bool,
}

struct Shared {
    memory: Arc<Memory>,
    notes: Notes,
    queue: Mutex<Queue>,
    wake: Condvar,
    written: AtomicU64,
    failed: AtomicU64,
    /// Moves on with each part of a long change.
    parts: Arc<AtomicU64>,
}

/// Writes of the registry since it was opened. One write makes all changes durable that waited for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Those that are on disk.
    pub written: u64,
    /// Those that failed.
    pub failed: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What will be in force once everything queued is durable.
pub(super) struct Staged<'a> {
    memory: &'a Memory,
    queue: &'a Queue,
}

impl Staged<'_> {
    pub(super) fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.queue.clients.get(id).cloned().unwrap_or_else(|| self.memory.client(id))
    }

    /// Whether all clients keep a condition, looked at in no order.
    pub(super) fn all_clients(&self, mut keeps: impl FnMut(&Arc<Client>) -> bool) -> bool {
        let clients = self.memory.clients.read().unwrap_or_else(PoisonError::into_inner);
        let queued = self.queue.clients.values().flatten();
        clients.values().filter(|client| !self.queue.clients.contains_key(&client.client_id)).chain(queued).all(&mut keeps)
    }

    /// Every client, sorted by id.
    pub(super) fn clients(&self) -> Vec<Arc<Client>> {
        let mut clients = self.memory.clients.read().unwrap_or_else(PoisonError::into_inner).clone();
        overlay(&mut clients, &self.queue.clients);
        let mut clients: Vec<_> = clients.into_values().collect();
        clients.sort_unstable_by(|a, b| a.client_id.cmp(&b.client_id));
        clients
    }

    /// What will be void of a client's tokens.
    pub(super) fn revocations(&self, id: &ClientId) -> Option<Arc<Revocations>> {
        let in_force = || self.memory.revoked.read().unwrap_or_else(PoisonError::into_inner).clients.get(id).cloned();
        self.queue.revocations.get(id).cloned().unwrap_or_else(in_force)
    }

    /// The same of every client.
    pub(super) fn all_revocations(&self) -> Vec<Arc<Revocations>> {
        let mut all = self.memory.revoked.read().unwrap_or_else(PoisonError::into_inner).clients.clone();
        overlay(&mut all, &self.queue.revocations);
        all.into_values().collect()
    }

    /// The sequence number of revocations.
    pub(super) fn sequence(&self) -> Arc<Sequence> {
        let in_force = || self.memory.revoked.read().unwrap_or_else(PoisonError::into_inner).sequence.clone();
        self.queue.sequence.clone().unwrap_or_else(in_force)
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        self.queue.policy.clone().unwrap_or_else(|| self.memory.policy())
    }

    pub(super) fn book(&self) -> Arc<Book> {
        self.queue.book.clone().unwrap_or_else(|| self.memory.book())
    }

    pub(super) fn device(&self, id: &EnrolmentId, device: &DeviceName) -> Option<DeviceState> {
        let queued = self.queue.devices.get(&(id.clone(), device.clone()));
        queued.cloned().unwrap_or_else(|| self.memory.device(id, device))
    }

    pub(super) fn devices(&self, id: &EnrolmentId) -> BTreeMap<DeviceName, DeviceState> {
        let mut devices = self.memory.devices(id);
        for ((_, device), state) in self.queue.devices.iter().filter(|((queued, _), _)| queued == id) {
            match state {
                Some(state) => drop(devices.insert(device.clone(), state.clone())),
                None => drop(devices.remove(device)),
            }
        }
        devices
    }
}

/// Puts what is queued over what is in force.
fn overlay<T: Clone>(all: &mut HashMap<ClientId, T>, queued: &HashMap<ClientId, Option<T>>) {
    for (id, value) in queued {
        match value {
            Some(value) => drop(all.insert(id.clone(), value.clone())),
            None => drop(all.remove(id)),
        }
    }
}

/// The thread that writes, and the way to it.
pub(super) struct Committer {
    shared: Arc<Shared>,
    path: std::path::PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(super) fn start(store: Store, memory: Arc<Memory>, trail: Trail, notes: Notes) -> io::Result<Self> {
        let path = store.directory().to_owned();
        let ((written, failed), parts) = (Default::default(), store.parts());
        let shared = Arc::new(Shared { memory, notes, queue: Mutex::default(), wake: Condvar::new(), written, failed, parts });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("registry".to_owned()).spawn(move || run(store, trail, &theirs))?;
        Ok(Self { shared, path, thread: Some(thread) })
    }

    /// Makes one change durable. `prepare` checks it and says what to write, what that does to memory, and what to return.
    pub(super) fn change<T>(&self, prepare: impl FnOnce(&Staged<'_>) -> Result<(Batch, T), RegistryError>) -> Result<T, RegistryError> {
        let (value, outcome) = {
            let mut queue = self.shared.lock();
            let (batch, value) = prepare(&Staged { memory: &self.shared.memory, queue: &queue })?;
            (value, self.submit(&mut queue, batch))
        };
        self.wait(&outcome)?;
        Ok(value)
    }

    /// Writes what no reader of memory sees.
    pub(super) fn write(&self, writes: Vec<Write>) -> Result<(), RegistryError> {
        self.commit(Batch { writes, ..Batch::default() })
    }

    /// Makes durable what needs no check.
    pub(super) fn commit(&self, batch: Batch) -> Result<(), RegistryError> {
        let outcome = self.submit(&mut self.shared.lock(), batch);
        self.wait(&outcome)
    }

    /// Looks at the files while nothing is written: what is in memory is then what is on the disk.
    pub(super) fn look<T: Send + 'static>(&self, look: impl FnOnce(&Store, &Trail) -> T + Send + 'static) -> Result<T, RegistryError> {
        self.request(look).recv().map_err(|_| RegistryError::Stopped { path: self.path.clone() })
    }

    fn request<T: Send + 'static>(&self, look: impl FnOnce(&Store, &Trail) -> T + Send + 'static) -> Receiver<T> {
        let (answer, seen) = sync_channel(1);
        let mut queue = self.shared.lock();
        // As with a change, a closed queue drops the sender.
        if !queue.closed {
            queue.looks.push(Box::new(move |store, trail| {
                // A caller that no longer waits has seen enough.
                let _ = answer.send(look(store, trail));
            }));
        }
        drop(queue);
        self.shared.wake.notify_one();
        seen
    }

    /// The registry's directory.
    pub(super) fn directory(&self) -> &std::path::Path {
        &self.path
    }

    /// Waits until the thread has a moment, or has written another part of a long change: it is alive.
    pub(super) fn moves(&self) -> Result<(), RegistryError> {
        const INTERVAL: Duration = Duration::from_millis(100);
        let before = self.shared.parts.load(Ordering::Relaxed);
        let seen = self.request(|_, _| ());
        loop {
            match seen.recv_timeout(INTERVAL) {
                Ok(()) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if self.shared.parts.load(Ordering::Relaxed) != before => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(RegistryError::Stopped { path: self.path.clone() }),
            }
        }
    }

    /// What waits to be written to the audit trail.
    pub(super) fn notes(&self) -> &Notes {
        &self.shared.notes
    }

    /// Like [`Self::change`], without waiting for the disk; `None` for nothing to do.
    pub(super) fn queue(&self, prepare: impl FnOnce(&Staged<'_>) -> Option<Result<Batch, RegistryError>>) -> Result<(), RegistryError> {
        let mut queue = self.shared.lock();
        let Some(prepared) = prepare(&Staged { memory: &self.shared.memory, queue: &queue }) else { return Ok(()) };
        // Whoever waits for nothing is told nothing.
        drop(self.submit(&mut queue, prepared?));
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }

    fn wait<T>(&self, outcome: &Receiver<Result<T, RegistryError>>) -> Result<T, RegistryError> {
        self.shared.wake.notify_one();
        outcome.recv().unwrap_or_else(|_| Err(RegistryError::Stopped { path: self.path.clone() }))
    }

    /// What was written so far.
    pub(super) fn counts(&self) -> WriteCounts {
        WriteCounts { written: self.shared.written.load(Ordering::Relaxed), failed: self.shared.failed.load(Ordering::Relaxed) }
    }

    /// How many changes wait for the thread.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.shared.lock().changes.len()
    }

    fn submit(&self, queue: &mut Queue, batch: Batch) -> Receiver<Outcome> {
        let (answer, outcome) = sync_channel(1);
        // On a closed queue the answer's sender is dropped here, which reads as the end of the registry.
        if !queue.closed {
            for effect in batch.effects.iter().cloned() {
                match effect {
                    Effect::Client(id, client) => drop(queue.clients.insert(id, client)),
                    Effect::Policy(policy) => queue.policy = Some(policy),
                    Effect::Book(book) => queue.book = Some(book),
                    Effect::Device(id, device, state) => drop(queue.devices.insert((id, device), state)),
                    Effect::Revocations(id, revocations) => drop(queue.revocations.insert(id, revocations)),
                    Effect::Sequence(sequence) => queue.sequence = Some(sequence),
                }
            }
            queue.changes.push(Change { batch, answer });
        }
        outcome
    }
}

impl Drop for Committer {
    /// Writes what is queued, closes the files and gives up the lock.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(path = %self.path.display(), "the registry's thread had panicked");
        }
    }
}

/// Closes the queue however the thread ends, so that nobody waits for a dead one.
struct CloseAtEnd<'a>(&'a Shared);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.closed = true;
        queue.changes.clear();
        queue.looks.clear();
    }
}

fn run(mut store: Store, mut trail: Trail, shared: &Shared) {
    let _end = CloseAtEnd(shared);
    let mut marker = Marker::default();
    loop {
        let (changes, looks) = {
            let waiting = |queue: &mut Queue| queue.changes.is_empty() && queue.looks.is_empty() && !queue.closed;
            let mut queue = shared.wake.wait_while(shared.lock(), waiting).unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut queue.changes), std::mem::take(&mut queue.looks))
        };
        let is_end = changes.is_empty() && looks.is_empty();
        if is_end {
            shared.notes.end(now());
        }
        if !changes.is_empty() || (is_end && !shared.notes.is_empty()) {
            let answers = commit(&mut store, &mut trail, shared, changes);
            mark(&mut marker, &store, &trail, false);
            for (answer, outcome) in answers {
                // A caller that no longer waits is no concern of the others.
                let _ = answer.send(outcome);
            }
        }
        looks.into_iter().for_each(|look| look(&store, &trail));
        if is_end {
            mark(&mut marker, &store, &trail, true);
            return;
        }
    }
}

/// Notes beside the log how far it goes, for whoever opens it next.
fn mark(marker: &mut Marker, store: &Store, trail: &Trail, is_end: bool) {
    // What is on disk, which may have become another registry since it was opened.
    let lineage = load::<Meta>(store).ok().and_then(|found| found.first().map(|meta| meta.lineage));
    let Some(mark) = lineage.map(|lineage| Mark { lineage, audit_seq: trail.last() }) else { return };
    if let Err(error) = marker.note(store.directory(), mark, is_end) {
        tracing::warn!(code = error.code(), %error, "it cannot be noted how far the registry goes");
    }
}

/// Makes changes durable, and with them whatever waits for the audit trail, and puts them into force. Returns who waits for which answer.
fn commit(store: &mut Store, trail: &mut Trail, shared: &Shared, changes: Vec<Change>) -> Vec<(SyncSender<Outcome>, Outcome)> {
    let mut writes = Vec::with_capacity(changes.len());
    let mut effects = Vec::with_capacity(changes.len());
    let mut answers = Vec::with_capacity(changes.len());
    let noted = shared.notes.take();
    let mut events = noted.clone();
    let (now, mut wish) = (now(), Wish::Nothing);
    for Change { batch, answer } in changes {
        writes.extend(batch.writes);
        effects.extend(batch.effects);
        events.extend(batch.events.into_iter().map(|event| (now, event)));
        wish = wish.max(batch.wish);
        answers.push(answer);
    }
    let outcome = trail.seal(store, events, wish, &shared.notes).and_then(|mut sealing| {
        writes.append(&mut sealing.writes);
        if !writes.is_empty() {
            store.commit(&writes)?;
        }
        trail.keep(sealing, &shared.notes);
        Ok(())
    });
    if !writes.is_empty() {
        (if outcome.is_ok() { &shared.written } else { &shared.failed }).fetch_add(1, Ordering::Relaxed);
    }
    let mut replaced = Vec::new();
    let mut queue = shared.lock();
    if outcome.is_ok() {
        replaced = shared.memory.put_all(effects);
    } else {
        shared.notes.put_back(noted);
        answers.extend(queue.changes.drain(..).map(|change| change.answer));
    }
    if queue.changes.is_empty() {
        queue.clients = HashMap::new();
        queue.policy = None;
        queue.book = None;
        queue.devices = HashMap::new();
        queue.revocations = HashMap::new();
        queue.sequence = None;
    }
    drop(queue);
    // What was before is given up when nobody waits for it.
    drop(replaced);
    answers.into_iter().map(|answer| (answer, outcome.clone())).collect()
}
