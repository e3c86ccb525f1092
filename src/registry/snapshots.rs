//! Snapshots of the registry on the same host, and what a gateway does with them when the registry's own files are damaged.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backup::{Backup, Manifest};
use super::error::RegistryError;
use super::meta::{self, Lineage, Origin};
use super::restore::{self, Staging};
use super::{Registry, RegistryOptions, directory};
use crate::audit::{Event, What};
use crate::clock::UnixTime;

const PREFIX: &str = "registry-";
const SUFFIX: &str = ".backup";
/// A snapshot that is being written.
const TEMPORARY: &str = ".new";
/// Bytes that hold the manifest of any snapshot.
const BEGINNING: u64 = 16_384;

/// The snapshots in a directory, numbered so that their order depends on no clock.
#[derive(Debug, Clone)]
pub struct Snapshots {
    /// Where they are: made, with mode 0700, if it is not there.
    pub directory: PathBuf,
    /// How many are kept.
    pub keep: usize,
}

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its file.
    pub path: PathBuf,
    /// When it was made, as it says itself.
    pub created_at: UnixTime,
    /// Whether it is of the very registry that is open: not of one before a restore.
    pub is_own: bool,
}

/// That a gateway went back to a snapshot.
#[derive(Debug)]
pub struct FellBack {
    /// What was wrong.
    pub cause: RegistryError,
    /// What it went back to.
    pub snapshot: PathBuf,
    /// Of when that is.
    pub as_of: UnixTime,
    /// Where the damaged files are now.
    pub set_aside: PathBuf,
}

impl Snapshots {
    /// Makes a snapshot, durable when this returns, and removes the oldest past [`Self::keep`].
    ///
    /// # Errors
    /// If the disk refuses; then those there were are kept.
    pub fn make(&self, registry: &Registry, issuer: &str) -> Result<Snapshot, RegistryError> {
        directory::prepare(&self.directory)?;
        let bytes = registry.backup(issuer)?.finish();
        let number = self.files()?.first().map_or(1, |(number, _)| number.saturating_add(1));
        let name = format!("{PREFIX}{number:08}{SUFFIX}");
        directory::write_private(&self.directory, &name, &bytes)?;
        for (_, path) in self.files()?.into_iter().skip(self.keep.max(1)) {
            directory::remove_file(&path)?;
        }
        let created_at = Backup::peek(&bytes).map(|manifest| manifest.created_at).unwrap_or_default();
        Ok(Snapshot { path: self.directory.join(name), created_at, is_own: true })
    }

    /// All that are there, the newest first. What is damaged at its beginning is left out.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self, registry: &Registry) -> Result<Vec<Snapshot>, RegistryError> {
        let own = registry.memory.meta.lineage;
        let told = |(_, path): (u64, PathBuf)| {
            let manifest = peek(&path)?;
            Some(Snapshot { is_own: manifest.lineage() == own, created_at: manifest.created_at, path })
        };
        Ok(self.files()?.into_iter().filter_map(told).collect())
    }

    /// The files by number, the highest first.
    fn files(&self) -> Result<Vec<(u64, PathBuf)>, RegistryError> {
        let failed = || RegistryError::io("list", &self.directory);
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed())?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed())?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(number) = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)?.parse().ok()) {
                files.push((number, path));
            } else if name == TEMPORARY {
                // Of an attempt that was cut off.
                directory::remove_file(&path)?;
            }
        }
        files.sort_unstable_by(|a, b| b.cmp(a));
        Ok(files)
    }

    /// Opens the registry. If its files are damaged, or hold less than a snapshot of it does, they are set aside and the newest snapshot that can be
    /// used takes their place. For the gateway alone: a command must not go back in time.
    ///
    /// # Errors
    /// As [`Registry::open`], if there is no snapshot to go back to; then nothing was moved.
    pub fn open(&self, options: &RegistryOptions) -> Result<(Arc<Registry>, Option<FellBack>), RegistryError> {
        // sled may stop at what it does not expect.
        let opened = catch_unwind(AssertUnwindSafe(|| Registry::open(options)));
        let opened = opened.unwrap_or_else(|_| Err(damaged(options, "the database stopped in an unforeseen way")));
        let cause = match opened {
            Ok(registry) => match self.lost(&registry)? {
                None => {
                    registry.tell_of_loss();
                    return Ok((registry, None));
                }
                Some(reason) => damaged(options, &reason),
            },
            Err(error) if error.is_damage() => error,
            Err(error) => return Err(error),
        };
        let Some((snapshot, as_of, set_aside)) = self.fall_back(options)? else { return Err(cause) };
        let registry = Registry::open(options)?;
        Ok((registry, Some(FellBack { cause, snapshot, as_of, set_aside })))
    }

    /// Whether a snapshot of this very registry knows of more than it holds: the audit trail only ever grows.
    fn lost(&self, registry: &Registry) -> Result<Option<String>, RegistryError> {
        let own = registry.memory.meta.lineage;
        let last = registry.committer.look(|_, trail| trail.last())?;
        for (_, path) in self.files()? {
            let is_ahead = peek(&path).is_some_and(|manifest| manifest.lineage() == own && manifest.audit_seq > last);
            // What is damaged itself is no witness.
            if is_ahead && let Ok(backup) = read(&path) {
                let known = backup.manifest.audit_seq;
                return Ok(Some(format!("its audit trail ends with entry {last}, and {} knows of {known}", path.display())));
            }
        }
        Ok(None)
    }

    fn fall_back(&self, options: &RegistryOptions) -> Result<Option<(PathBuf, UnixTime, PathBuf)>, RegistryError> {
        let Some(state) = options.directory.parent() else { return Ok(None) };
        // A mark that cannot be read was damaged with the rest.
        let own = meta::marked(&options.directory).ok().flatten().map(|mark| mark.lineage).filter(|lineage| lineage.is_known());
        let is_own = |lineage: Lineage| own.is_none_or(|own| own == lineage);
        for (_, path) in self.files()? {
            let tried = read(&path).and_then(|backup| {
                if !is_own(backup.manifest.lineage()) {
                    return Err(RegistryError::BadBackup { path: path.clone(), reason: "it is of another registry".to_owned() });
                }
                let staging = Staging::begin(state, Origin::FallBack)?;
                let set_aside = state.join(staging.set_aside());
                staging.registry(&backup, Origin::FallBack, Event::of(What::RegistryFellBack))?;
                staging.put_in_place()?;
                Ok((path.clone(), backup.manifest.created_at, set_aside))
            });
            match tried {
                Ok(done) => return Ok(Some(done)),
                Err(error) => tracing::error!(path = %path.display(), code = error.code(), %error, "this snapshot cannot be used"),
            }
            // If it was put in place all the same, it counts.
            restore::finish(state)?;
        }
        Ok(None)
    }
}

fn damaged(options: &RegistryOptions, reason: &str) -> RegistryError {
    RegistryError::Corrupt { path: options.directory.clone(), source: Arc::new(io::Error::other(reason.to_owned())) }
}

fn read(path: &Path) -> Result<Backup, RegistryError> {
    Backup::parse(path, &fs::read(path).map_err(RegistryError::io("read", path))?)
}

fn peek(path: &Path) -> Option<Manifest> {
    let mut beginning = Vec::new();
    File::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning)).ok()?;
    Backup::peek(&beginning)
}
