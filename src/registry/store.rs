//! The files: sled, opened with care, and a write that is on the disk when it returns. The only module that names sled.
//!
//! What sled 0.34 does not do is done here: its `flush` leaves data in the disk's and the kernel's hands, so `fdatasync` follows; a partial
//! snapshot keeps it from opening; a full disk does too; after a failed write it answers nothing but errors, so it is opened anew.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sled::Transactional as _;
use sled::transaction::TransactionError;

use super::RegistryOptions;
use super::ballast::Ballast;
use super::directory;
use super::error::RegistryError;
use super::records::Tree;
use super::undo::{Forgotten, Undo};

/// Records in one write of the log, at most. A change of more is written in parts, all of it or none all the same.
pub(super) const PART: usize = 4_096;

/// Records in a batch that leave more behind than is given back by the way, and the reads for each of them by which it is.
const MANY: usize = 256;
const READS: usize = 2;

/// How long another holder of the lock is waited for. sled's own background threads keep it for a moment after a registry was closed.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How many numbers are looked through at once on the way back, and how many records are held of them.
const WINDOW: u64 = 128;
const WINDOW_RECORDS: usize = 128;

/// Makes a file's data durable: [`File::sync_data`], or what a test puts in its place.
pub(super) type Sync = Box<dyn FnMut(&File) -> io::Result<()> + Send>;

/// One record to keep, or to remove if there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) tree: Tree,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

/// The registry's directory, open and locked.
pub(super) struct Store {
    directory: PathBuf,
    cache_capacity: u64,
    ballast: Ballast,
    sync: Sync,
    /// `None` after a failed write until it could be opened anew.
    database: Option<Database>,
    /// What a failed write may have left behind: the values to put back before anything else is written.
    debt: Vec<Write>,
    /// Parts of a change are on disk that has not happened.
    unfinished: bool,
    /// Set when a sync failed: the kernel may have dropped the data, and says so only once.
    suspect: bool,
    /// Parts of changes that were written or taken back: a long change moves on.
    parts: Arc<AtomicU64>,
}

struct Database {
    database: sled::Db,
    /// In the order of [`Tree::ALL`].
    trees: Vec<(Tree, sled::Tree)>,
    /// Our own descriptor of the log, to sync.
    file: File,
}

impl Store {
    /// Opens the registry or makes a new one.
    pub(super) fn open(options: &RegistryOptions, sync: Sync) -> Result<Self, RegistryError> {
        let directory = options.directory.clone();
        directory::prepare(&options.directory)?;
        let mut store = Self {
            ballast: Ballast::of(&directory),
            cache_capacity: options.cache_capacity,
            sync,
            database: None,
            debt: Vec::new(),
            unfinished: false,
            suspect: false,
            parts: Arc::default(),
            directory,
        };
        store.database = Some(store.open_database()?);
        store.take_back()?;
        if let Err(error) = store.ballast.hold() {
            tracing::warn!(path = %store.directory.display(), %error, "no space can be held back; the registry takes no changes until it can");
        }
        Ok(store)
    }

    /// How many parts of changes were written or taken back, for whoever wants to know whether a long change moves on.
    pub(super) fn parts(&self) -> Arc<AtomicU64> {
        self.parts.clone()
    }

    /// The directory, for errors.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every record of a tree. A damaged page shows here, not later.
    pub(super) fn scan(&self, tree: Tree) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), RegistryError>> {
        let records = self.database.as_ref().and_then(|database| database.tree(tree)).map(sled::Tree::iter);
        records.into_iter().flatten().map(|record| record.map_err(|error| self.open_error(error)))
    }

    /// The records of a tree with keys within `bounds`.
    pub(super) fn range(
        &self,
        tree: Tree,
        bounds: impl RangeBounds<[u8; 8]>,
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), RegistryError>> {
        let records = self.database.as_ref().and_then(|database| database.tree(tree)).map(|tree| tree.range(bounds));
        records.into_iter().flatten().map(|record| record.map_err(|error| self.open_error(error)))
    }

    /// The records of a tree whose keys are numbers, from the number `to` down to `from`.
    ///
    /// Windows are read forwards: sled's own way back brings a constant of one mebibyte into the program.
    pub(super) fn descending(
        &self,
        tree: Tree,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), RegistryError>> {
        let (mut end, mut width, mut window) = (Some(to), WINDOW, VecDeque::new());
        std::iter::from_fn(move || {
            while window.is_empty() {
                let last = end.filter(|last| *last >= from)?;
                let first = last.saturating_sub(width.saturating_sub(1)).max(from);
                for record in self.range(tree, first.to_be_bytes()..=last.to_be_bytes()) {
                    if window.len() >= WINDOW_RECORDS {
                        window.pop_front();
                    }
                    window.push_back(record);
                }
                // A gap, however wide, takes few steps.
                width = if window.is_empty() { width.saturating_mul(2) } else { WINDOW };
                let lowest = window.front().and_then(|record| record.as_ref().ok()).and_then(|(key, _)| key.as_ref().try_into().ok());
                end = lowest.map_or(first, u64::from_be_bytes).checked_sub(1);
            }
            window.pop_back()
        })
    }

    /// Makes the writes durable, all or none.
    ///
    /// # Errors
    /// Then none of them is in force. What a failed attempt may have left on disk is put back at once, or before the next write.
    pub(super) fn commit(&mut self, writes: &[Write]) -> Result<(), RegistryError> {
        self.settle()?;
        if writes.len() > PART {
            return self.commit_in_parts(writes);
        }
        let Some(database) = &self.database else { return Err(self.stopped()) };
        let previous = database.previous(writes).map_err(|error| self.write_error(error))?;
        if let Err(error) = database.apply(writes) {
            let error = self.write_error(error);
            self.database = None;
            self.debt = previous;
            if let Err(error) = self.settle() {
                tracing::error!(code = error.code(), %error, "a failed write could not be undone yet");
            }
            return Err(error);
        }
        if let Err(source) = (self.sync)(&database.file) {
            // Whatever the log says now may not be what the disk holds, so nothing more is promised; undoing is the best that is left.
            self.suspect = true;
            let undone = database.apply(&previous).is_ok() && (self.sync)(&database.file).is_ok();
            tracing::error!(path = %self.directory.display(), error = %source, undone, "a change could not be made durable; no more are taken");
            return Err(RegistryError::Write { path: self.directory.clone(), source: Arc::new(source) });
        }
        Ok(())
    }

    fn commit_in_parts(&mut self, writes: &[Write]) -> Result<(), RegistryError> {
        let Some(database) = &self.database else { return Err(self.stopped()) };
        let undo = Undo::of(&self.directory);
        undo.keep(writes.chunks(PART).map(|part| database.previous(part).map_err(io::Error::from)))
            .map_err(|error| self.io_error(error))?;
        self.unfinished = true;
        for part in writes.chunks(PART) {
            let Some(database) = &self.database else { return Err(self.stopped()) };
            if let Err(error) = database.apply(part) {
                let error = self.write_error(error);
                // It answers nothing but errors from now on.
                self.database = None;
                return Err(self.give_up(error));
            }
            if let Err(source) = (self.sync)(&database.file) {
                return Err(self.suspect(source));
            }
            self.parts.fetch_add(1, Ordering::Relaxed);
        }
        match undo.forget() {
            Ok(()) => {
                self.unfinished = false;
                Ok(())
            }
            Err(Forgotten::NotYet(error)) => {
                let error = self.io_error(error);
                Err(self.give_up(error))
            }
            Err(Forgotten::Perhaps(source)) => Err(self.suspect(source)),
        }
    }

    /// Takes back what there is of a change in parts, now if that is possible.
    fn give_up(&mut self, error: RegistryError) -> RegistryError {
        if let Err(error) = self.settle() {
            tracing::error!(code = error.code(), %error, "a failed write could not be undone yet");
        }
        error
    }

    /// What reached the disk is uncertain: the next start takes it back, or finds it whole.
    fn suspect(&mut self, source: io::Error) -> RegistryError {
        self.suspect = true;
        tracing::error!(path = %self.directory.display(), error = %source, "a change could not be made durable; no more are taken");
        RegistryError::Write { path: self.directory.clone(), source: Arc::new(source) }
    }

    /// Takes back the parts of a change that has not happened, if there are any.
    fn take_back(&mut self) -> Result<(), RegistryError> {
        let Some(database) = &self.database else { return Err(self.stopped()) };
        let (undo, sync, parts) = (Undo::of(&self.directory), &mut self.sync, &self.parts);
        let outcome = undo.take_back(|part| {
            database.apply(&part)?;
            parts.fetch_add(1, Ordering::Relaxed);
            sync(&database.file)
        });
        match outcome {
            Ok(was_there) => {
                self.unfinished = false;
                if was_there {
                    tracing::warn!(path = %self.directory.display(), "took back a change that was interrupted; nothing of it is in force");
                }
                Ok(())
            }
            Err(error) => {
                self.database = None;
                match error.kind() {
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                        Err(RegistryError::Corrupt { path: undo.path(), source: Arc::new(error) })
                    }
                    _ => Err(self.io_error(error)),
                }
            }
        }
    }

    /// Makes the store fit to be written: open, with nothing left to undo, and with space held back.
    fn settle(&mut self) -> Result<(), RegistryError> {
        if self.suspect {
            return Err(self.stopped());
        }
        let database = match self.database.take() {
            Some(database) => database,
            None => self.open_database()?,
        };
        let database = self.database.insert(database);
        if !self.debt.is_empty() {
            let undone = database.apply(&self.debt).map_err(io::Error::from).and_then(|()| (self.sync)(&database.file));
            if let Err(source) = undone {
                self.database = None;
                return Err(RegistryError::Write { path: self.directory.clone(), source: Arc::new(source) });
            }
            self.debt.clear();
        }
        if self.unfinished {
            self.take_back()?;
        }
        self.ballast.hold().map_err(|source| self.io_error(source))
    }

    fn open_database(&mut self) -> Result<Database, RegistryError> {
        // No flusher: it would sync twice a second for ever, and every write here is flushed and synced by itself.
        let config = sled::Config::new().path(&self.directory).cache_capacity(self.cache_capacity).flush_every_ms(None);
        // The repairs come after an attempt, which shows that no other process has the directory open.
        let mut repairs = [remove_partial_snapshots as fn(&Path) -> Result<(), RegistryError>, set_snapshots_aside].into_iter();
        let patience = Instant::now().checked_add(LOCK_PATIENCE);
        loop {
            let error = match config.open().and_then(|database| Database::new(database, &self.directory)) {
                Ok(mut database) => {
                    database.settle(&self.directory).map_err(|error| self.open_error(error))?;
                    return Ok(database);
                }
                Err(error) => error,
            };
            match (&error, repairs.as_slice()) {
                (sled::Error::Corruption { .. }, [_, ..]) => repairs.next().map_or(Ok(()), |repair| repair(&self.directory))?,
                (sled::Error::Io(cause), _) if cause.kind() == io::ErrorKind::StorageFull && self.ballast.release() => {
                    tracing::warn!(path = %self.directory.display(), "the disk is full: the space held back was given to the registry");
                }
                (sled::Error::Io(cause), _) if is_locked(cause) && patience.is_some_and(|end| Instant::now() < end) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => return Err(self.open_error(error)),
            }
        }
    }

    fn stopped(&self) -> RegistryError {
        RegistryError::Stopped { path: self.directory.clone() }
    }

    fn write_error(&self, error: sled::Error) -> RegistryError {
        self.io_error(error.into())
    }

    fn io_error(&self, error: io::Error) -> RegistryError {
        let path = self.directory.clone();
        match error.kind() {
            io::ErrorKind::StorageFull => RegistryError::DiskFull { path },
            _ => RegistryError::Write { path, source: Arc::new(error) },
        }
    }

    fn open_error(&self, error: sled::Error) -> RegistryError {
        let path = self.directory.clone();
        match error {
            sled::Error::Io(source) if is_locked(&source) => RegistryError::Locked { path },
            sled::Error::Io(source) if source.kind() == io::ErrorKind::StorageFull => RegistryError::DiskFull { path },
            sled::Error::Io(source) => RegistryError::Io { action: "open the registry", path, source: Arc::new(source) },
            other => RegistryError::Corrupt { path, source: Arc::new(other.into()) },
        }
    }
}

impl Database {
    fn new(database: sled::Db, directory: &Path) -> sled::Result<Self> {
        let trees = Tree::ALL.iter().map(|&tree| Ok((tree, database.open_tree(tree.name())?))).collect::<sled::Result<_>>()?;
        let file = File::open(directory.join("db"))?;
        Ok(Self { database, trees, file })
    }

    /// Makes durable what opening wrote: the log, the names of the files and the name of the directory.
    fn settle(&mut self, directory: &Path) -> sled::Result<()> {
        self.database.flush()?;
        self.file.sync_all()?;
        File::open(directory.join("conf"))?.sync_all()?;
        directory::sync(directory)?;
        Ok(directory::sync_parent(directory)?)
    }

    fn tree(&self, tree: Tree) -> Option<&sled::Tree> {
        self.trees.iter().find(|(kind, _)| *kind == tree).map(|(_, tree)| tree)
    }

    /// What the keys of `writes` hold now.
    fn previous(&self, writes: &[Write]) -> sled::Result<Vec<Write>> {
        let held = |write: &Write| self.tree(write.tree).map_or(Ok(None), |tree| tree.get(&write.key));
        let previous = |write: &Write| Ok(Write { value: held(write)?.map(|value| value.to_vec()), ..write.clone() });
        writes.iter().map(previous).collect()
    }

    /// Whatever happens meanwhile, the log has all of the writes or none.
    fn apply(&self, writes: &[Write]) -> sled::Result<()> {
        let (mut trees, mut batches) = (Vec::new(), Vec::new());
        for (kind, tree) in &self.trees {
            let mut batch = sled::Batch::default();
            let mut count = 0_usize;
            for write in writes.iter().filter(|write| write.tree == *kind) {
                count = count.saturating_add(1);
                match &write.value {
                    Some(value) => batch.insert(write.key.as_slice(), value.as_slice()),
                    None => batch.remove(write.key.as_slice()),
                }
            }
            if count > 0 {
                trees.push(tree.clone());
                batches.push(batch);
            }
        }
        match (trees.as_slice(), batches.as_slice()) {
            ([], _) => {}
            ([tree], _) => batches.into_iter().try_for_each(|batch| tree.apply_batch(batch))?,
            // One batch of the log, where each tree alone would be one.
            (trees, batches) => {
                let applied =
                    trees.transaction(|views| views.iter().zip(batches).try_for_each(|(view, batch)| Ok(view.apply_batch(batch)?)));
                applied.map_err(|error: TransactionError<sled::Error>| match error {
                    TransactionError::Abort(error) | TransactionError::Storage(error) => error,
                })?;
            }
        }
        // Never flush_async: it deadlocks in this version.
        self.database.flush()?;
        self.give_back(writes.len())
    }

    /// Has sled give back the memory of pages that were replaced. It does a little of that every so many reads, which is far less than what a batch
    /// leaves behind.
    fn give_back(&self, writes: usize) -> sled::Result<()> {
        match self.trees.first() {
            Some((_, tree)) if writes >= MANY => (0..writes.saturating_mul(READS)).try_for_each(|_| tree.get(b"").map(drop)),
            _ => Ok(()),
        }
    }
}

/// sled gives this failure no kind of its own.
fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// A snapshot that a power cut left half written is read as if it were whole.
fn remove_partial_snapshots(directory: &Path) -> Result<(), RegistryError> {
    for (path, name) in snapshots(directory)? {
        if name.ends_with(".generating") {
            fs::remove_file(&path).map_err(RegistryError::io("remove", &path))?;
            tracing::warn!(path = %path.display(), "removed a partial snapshot");
        }
    }
    Ok(())
}

/// Without a snapshot the log is replayed from its beginning. Kept under another name, for whoever looks into the damage.
fn set_snapshots_aside(directory: &Path) -> Result<(), RegistryError> {
    for (path, name) in snapshots(directory)? {
        let aside = directory.join(format!("damaged-{name}"));
        fs::rename(&path, &aside).map_err(RegistryError::io("rename", &path))?;
        tracing::warn!(path = %aside.display(), "set a damaged snapshot aside; the registry is read from its log");
    }
    Ok(())
}

fn snapshots(directory: &Path) -> Result<Vec<(PathBuf, String)>, RegistryError> {
    let failed = || RegistryError::io("list", directory);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") {
            found.push((entry.path(), name));
        }
    }
    Ok(found)
}
