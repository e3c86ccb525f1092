//! Putting a registry, keys and certificates in the place of others, so that a power cut at any moment leaves the old or the new.
//!
//! The new is made whole in a directory of its own and tried there. Then a journal is written, which is the moment of the change: whoever opens the
//! registry next finishes what it says. Nothing is removed: what was there before is moved aside.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::backup::Backup;
use super::committer::{Batch, Effect};
use super::error::RegistryError;
use super::meta::{self, Lineage, Mark, Meta, Origin, Restored};
use super::store::{Store, Write};
use super::{Inspection, Registry, RegistryOptions, directory, load, now, write};
use crate::audit::Event;

/// What can be put in the place of what is there, each a directory of the state directory.
const PARTS: [&str; 3] = ["registry", "keys", "tls"];
/// Where the new is made.
const STAGING: &str = ".restoring";
/// What is to be done, once it is certain.
const JOURNAL: &str = "restore.json";
/// How long another holder of a lock is waited for: sled keeps its own for a moment after it was closed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Records that are written at once.
const CHUNK: usize = 512;

#[derive(Serialize, Deserialize)]
struct Journal {
    version: u64,
    /// Where in the state directory the old goes.
    set_aside: String,
}

/// What is to take the place of what a state directory holds. Goes away with this if it was not put in place.
pub struct Staging {
    state: PathBuf,
    directory: PathBuf,
    set_aside: String,
    /// Keeps others from doing the same, and from opening the registry that is to be replaced.
    _locks: Vec<File>,
}

impl Staging {
    /// Begins to make what is to be put into the state directory.
    ///
    /// # Errors
    /// [`RegistryError::Locked`] if a gateway or another command has the registry open.
    pub fn begin(state: &Path, origin: Origin) -> Result<Self, RegistryError> {
        if !exists(state) {
            directory::prepare(state)?;
        }
        finish(state)?;
        let mut locks = vec![lock(state)?];
        let log = state.join("registry").join("db");
        if log.exists() {
            locks.push(held(&log)?);
        }
        let directory = state.join(STAGING);
        remove(&directory)?;
        DirBuilder::new().mode(0o700).create(&directory).map_err(RegistryError::io("create", &directory))?;
        let kind = match origin {
            Origin::Restore => "replaced",
            Origin::FallBack => "damaged",
        };
        let stamp: String = now().to_string().chars().filter(char::is_ascii_alphanumeric).collect();
        let set_aside = free_name(state, &format!("{kind}-{stamp}"));
        Ok(Self { state: state.to_owned(), directory, set_aside, _locks: locks })
    }

    /// Where the new is made, laid out as the state directory is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where in the state directory the old will be.
    #[must_use]
    pub fn set_aside(&self) -> &str {
        &self.set_aside
    }

    /// Makes a registry of the records of a backup and tries it: it is opened and looked at as every other. `event` is for its audit trail.
    ///
    /// # Errors
    /// If a record cannot be read or breaks a rule, the audit trail is damaged, or the disk refuses.
    pub fn registry(&self, backup: &Backup, origin: Origin, event: Event) -> Result<Inspection, RegistryError> {
        let options = RegistryOptions { directory: self.directory.join("registry"), cache_capacity: 8 << 20 };
        let mut store = Store::open(&options, Box::new(File::sync_data))?;
        let writes = |records: &[super::backup::RawRecord]| -> Vec<Write> {
            records.iter().map(|record| Write { tree: record.tree, key: record.key.clone(), value: Some(record.value.clone()) }).collect()
        };
        backup.records.chunks(CHUNK).try_for_each(|records| store.commit(&writes(records)))?;
        if load::<Meta>(&store)?.is_empty() {
            return Err(bad_content(&options.directory, "the registry's own record is missing"));
        }
        drop(store);
        let registry = Registry::open(&options)?;
        let set_aside = if exists(&self.state.join("registry")) { self.set_aside.clone() } else { String::new() };
        let restored = Restored { origin, at: now(), as_of: backup.manifest.created_at, set_aside };
        registry.adopt(restored, event)?;
        let inspection = registry.inspect()?;
        drop(registry);
        drop(held(&options.directory.join("db"))?);
        match inspection.faults.first() {
            Some(fault) => Err(bad_content(&options.directory, fault)),
            None => Ok(inspection),
        }
    }

    /// Writes the keys and certificates of a backup.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn files(&self, backup: &Backup) -> Result<(), RegistryError> {
        for file in &backup.files {
            let path = self.directory.join(&file.name);
            let Some((directory, name)) = path.parent().zip(path.file_name().and_then(|name| name.to_str())) else { continue };
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(RegistryError::io("create", directory))?;
            directory::write_private(directory, name, &file.content)?;
        }
        Ok(())
    }

    /// Which of what was made has something in its place already.
    #[must_use]
    pub fn occupied(&self) -> Vec<&'static str> {
        PARTS.into_iter().filter(|part| exists(&self.directory.join(part)) && exists(&self.state.join(part))).collect()
    }

    /// Puts all of it in place, and what was there aside. From some moment on during this call, a power cut or a kill leaves the new.
    ///
    /// # Errors
    /// If the disk refuses. If it did after that moment, the next start goes on.
    pub fn put_in_place(self) -> Result<(), RegistryError> {
        sync_all(&self.directory).map_err(RegistryError::io("write", &self.directory))?;
        let journal = Journal { version: 1, set_aside: self.set_aside.clone() };
        let text = serde_json::to_vec(&journal).map_err(|error| RegistryError::io("write", &self.state)(error.into()))?;
        directory::write_private(&self.state, JOURNAL, &text)?;
        roll_forward(&self.state, &journal, &mut || Ok(()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // With a journal it is no longer ours.
        if !exists(&self.state.join(JOURNAL))
            && let Err(error) = remove(&self.directory)
        {
            tracing::warn!(path = %self.directory.display(), %error, "what was to be restored cannot be removed");
        }
    }
}

impl Registry {
    /// Makes this registry one of its own, which took the place of another.
    fn adopt(&self, restored: Restored, event: Event) -> Result<(), RegistryError> {
        let (lineage, created_at) = (Lineage::random()?, self.memory.meta.created_at);
        // No list of revocations may seem older than one that a resource server has seen: the one before may have been ahead of the clock.
        let time = restored.at.max(restored.as_of);
        let event = Event { last: Some(restored.as_of), ..event };
        let event = if restored.set_aside.is_empty() { event } else { event.subject(&restored.set_aside) };
        self.committer.write(vec![write(&Meta { created_at, lineage, restored: Some(restored) })?])?;
        self.committer.change(|staged| {
            let sequence = staged.sequence().leap(time);
            Ok((Batch::of(write(&sequence)?, Effect::Sequence(sequence.into())).audited([event]), ()))
        })?;
        meta::mark(self.committer.directory(), Mark { lineage, audit_seq: 0 })
    }
}

fn bad_content(path: &Path, reason: &str) -> RegistryError {
    RegistryError::BadBackup { path: path.to_owned(), reason: format!("its records cannot be used: {reason}") }
}

/// Finishes what a restore had begun that was cut off. To be called before anything in a state directory is opened.
///
/// # Errors
/// [`RegistryError::Locked`] if it is still under way; others if the disk refuses.
pub fn finish(state: &Path) -> Result<(), RegistryError> {
    let path = state.join(JOURNAL);
    if !exists(&path) {
        return Ok(());
    }
    let _lock = lock(state)?;
    let text = match fs::read(&path) {
        Ok(text) => text,
        // Whoever had the lock has finished it.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(RegistryError::io("read", &path)(error)),
    };
    let journal: Journal = serde_json::from_slice(&text).map_err(|error| RegistryError::io("read", &path)(error.into()))?;
    if journal.version != 1 || Path::new(&journal.set_aside).components().count() != 1 {
        return Err(RegistryError::io("read", &path)(io::Error::other("a newer program wrote it: run that")));
    }
    roll_forward(state, &journal, &mut || Ok(()))?;
    tracing::warn!(state_directory = %state.display(), set_aside = journal.set_aside, "finished a restore that had been cut off");
    Ok(())
}

/// Does what is left to be done. `step` is called before each thing that changes the disk.
fn roll_forward(state: &Path, journal: &Journal, step: &mut dyn FnMut() -> io::Result<()>) -> Result<(), RegistryError> {
    let (staging, aside) = (state.join(STAGING), state.join(&journal.set_aside));
    let moved = |from: &Path, to: &Path, step: &mut dyn FnMut() -> io::Result<()>| {
        let parents = || [from, to].into_iter().try_for_each(directory::sync_parent);
        step().and_then(|()| fs::rename(from, to)).and_then(|()| parents()).map_err(RegistryError::io("rename", from))
    };
    for part in PARTS {
        let (new, place) = (staging.join(part), state.join(part));
        if !exists(&new) {
            continue;
        }
        if exists(&place) {
            if !exists(&aside) {
                let made = step().and_then(|()| DirBuilder::new().mode(0o700).create(&aside)).and_then(|()| directory::sync(state));
                made.map_err(RegistryError::io("create", &aside))?;
            }
            moved(&place, &aside.join(free_name(&aside, part)), step)?;
        }
        moved(&new, &place, step)?;
    }
    let path = state.join(JOURNAL);
    step().map_err(RegistryError::io("remove", &path))?;
    directory::remove_file(&path)?;
    directory::sync(state).map_err(RegistryError::io("write", state))?;
    remove(&staging)
}

/// That name, with a number if there is something of that name.
fn free_name(directory: &Path, name: &str) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !exists(&directory.join(name))).unwrap_or_default()
}

/// Whether there is something of that name, be it a dangling link.
fn exists(path: &Path) -> bool {
    !fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn remove(directory: &Path) -> Result<(), RegistryError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(RegistryError::io("remove", directory)(error)),
        _ => Ok(()),
    }
}

/// Keeps every other restore out of a state directory.
fn lock(state: &Path) -> Result<File, RegistryError> {
    try_lock(state).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => RegistryError::Locked { path: state.to_owned() },
        _ => RegistryError::io("lock", state)(error),
    })
}

fn try_lock(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Holds the lock by which sled keeps a second process out.
pub(super) fn held(log: &Path) -> Result<File, RegistryError> {
    let end = Instant::now().checked_add(PATIENCE);
    loop {
        match try_lock(log) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && end.is_some_and(|end| Instant::now() < end) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(RegistryError::Locked { path: log.parent().unwrap_or(log).to_owned() });
            }
            outcome => return outcome.map_err(RegistryError::io("lock", log)),
        }
    }
}

/// Makes a directory and all in it durable.
fn sync_all(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    directory::sync(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out() -> tempfile::TempDir {
        let state = tempfile::tempdir().unwrap();
        for (part, content) in [("registry", "old"), ("keys", "old"), ("other", "kept")] {
            fs::create_dir(state.path().join(part)).unwrap();
            fs::write(state.path().join(part).join("file"), content).unwrap();
        }
        for part in PARTS {
            fs::create_dir_all(state.path().join(STAGING).join(part)).unwrap();
            fs::write(state.path().join(STAGING).join(part).join("file"), "new").unwrap();
        }
        state
    }

    fn content(state: &Path, part: &str) -> Option<String> {
        fs::read_to_string(state.join(part).join("file")).ok()
    }

    #[test]
    fn a_cut_at_any_step_leaves_what_the_next_start_finishes() {
        let journal = || Journal { version: 1, set_aside: "replaced-x".into() };
        for cut in 0..20 {
            let state = laid_out();
            directory::write_private(state.path(), JOURNAL, &serde_json::to_vec(&journal()).unwrap()).unwrap();
            let mut left = cut;
            let mut step = || {
                left -= 1;
                if left < 0 { Err(io::Error::other("cut")) } else { Ok(()) }
            };
            let whole = roll_forward(state.path(), &journal(), &mut step).is_ok();
            assert_eq!(whole, !state.path().join(JOURNAL).exists());
            // Cut a second time, one step further on.
            if !whole {
                let mut once = true;
                let mut step = || if std::mem::take(&mut once) { Ok(()) } else { Err(io::Error::other("cut")) };
                let _ = roll_forward(state.path(), &journal(), &mut step);
            }
            finish(state.path()).unwrap();
            for part in PARTS {
                assert_eq!(content(state.path(), part).as_deref(), Some("new"), "cut at {cut}");
            }
            let aside = state.path().join("replaced-x");
            assert_eq!(["registry", "keys"].map(|part| content(&aside, part).unwrap()), ["old", "old"], "cut at {cut}");
            assert_eq!(content(state.path(), "other").unwrap(), "kept");
            assert!(!state.path().join(STAGING).exists() && !state.path().join(JOURNAL).exists());
            if whole {
                assert!(cut > 5, "there are more steps than that");
                return;
            }
        }
        panic!("it never came to an end");
    }

    #[test]
    fn without_a_journal_nothing_is_done() {
        let state = laid_out();
        finish(state.path()).unwrap();
        assert_eq!(content(state.path(), "registry").as_deref(), Some("old"));
        let held = lock(state.path()).unwrap();
        assert!(matches!(Staging::begin(state.path(), Origin::Restore).map(|_| ()), Err(RegistryError::Locked { .. })));
        drop(held);
        let staging = Staging::begin(state.path(), Origin::Restore).unwrap();
        assert!(fs::read_dir(staging.directory()).unwrap().next().is_none(), "what was left of another is gone");
        drop(staging);
        assert!(!state.path().join(STAGING).exists());
    }

    #[test]
    fn deny_a_journal_that_leads_elsewhere() {
        let state = laid_out();
        for text in ["", "{}", r#"{"version":2,"set_aside":"x"}"#, r#"{"version":1,"set_aside":"../x"}"#] {
            fs::write(state.path().join(JOURNAL), text).unwrap();
            assert!(finish(state.path()).is_err(), "{text}");
            assert_eq!(content(state.path(), "registry").as_deref(), Some("old"));
        }
    }
}
