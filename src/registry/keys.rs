//! Signing keys on disk: a file for each (`files.rs`), and `rotation.json`, which says which one signs and which are published.
//!
//! What must be there is written before what names it, and named no more before it is removed: a process that ends at any point leaves
//! keys that the next one goes on with.

mod files;
mod seal;
mod store;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::backup::{BackupFile, PlainKeys, backup_files};
use super::directory;
use super::error::RegistryError;
use crate::audit::{AuditLog, Event, What};
use crate::clock::UnixTime;
use crate::jose::{Algorithm, Due, KeyRing, KeyState, KeyStatus, KeyType, MAX_KEYS, Moment, Rotation, RotationRules};

use files::{Files, KeyFile, StoredKey};

pub use seal::MasterKey;
pub use store::KeyStore;

/// The file of the keys' states.
const ROTATION: &str = "rotation.json";
/// The version of its form.
const VERSION: u64 = 1;
/// What a signing key is called in errors.
const KIND: &str = "signing key";

/// A signing key on the JWK Set, without its private half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its RFC 7638 thumbprint.
    pub kid: String,
    /// The algorithm it usually signs by: `EdDSA` or `ES256`.
    pub algorithm: Algorithm,
    /// What it does.
    pub state: KeyState,
    /// When it was made.
    pub created_at: UnixTime,
    /// Since when it is in that state.
    pub since: UnixTime,
    /// Until when it will be, if that is known.
    pub until: Option<UnixTime>,
    /// Its file.
    pub path: PathBuf,
}

/// Where the keys are and when they change.
#[derive(Debug, Clone)]
pub struct KeyOptions {
    /// Their directory: made, with mode 0700, if it is not there.
    pub directory: PathBuf,
    /// When they change.
    pub rules: RotationRules,
    /// Seals the files, if there is one; why it cannot be had is told when it is needed.
    pub master_key: Result<Option<MasterKey>, RegistryError>,
}

/// Tells what time it is.
pub(super) type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Takes a ring into use that replaces the one before.
pub type Install = Box<dyn Fn(KeyRing) + Send + Sync>;

/// The signing keys of one kind and their files. Opens them when they are first asked for. Open the registry first: its lock keeps a second process out.
pub(super) struct KindStore {
    options: KeyOptions,
    key_type: KeyType,
    clock: Clock,
    open: Mutex<Option<Open>>,
    install: OnceLock<Install>,
    audit: OnceLock<Arc<dyn AuditLog>>,
}

/// The keys in memory.
struct Open {
    rotation: Rotation,
    keys: BTreeMap<String, StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u64,
    rotation: Rotation,
}

impl KindStore {
    /// The keys of that kind in the directory of `options`.
    pub(super) fn new(options: KeyOptions, key_type: KeyType, clock: Clock) -> Self {
        Self { options, key_type, clock, open: Mutex::new(None), install: OnceLock::new(), audit: OnceLock::new() }
    }

    /// Whether there are such keys, or were until now.
    pub(super) fn is_begun(&self) -> bool {
        self.held().is_some() || self.options.directory.exists()
    }

    /// Loads the keys; makes the directory and a first key if there is none.
    ///
    /// # Errors
    /// If a key file is open to others, damaged, misnamed or missing, or if a file cannot be read or written.
    pub(super) fn load_or_create(&self) -> Result<KeyRing, RegistryError> {
        let mut held = self.held();
        let open = self.opened(&mut held)?;
        self.ring(open)
    }

    /// Begins to publish the keys: from now on time counts for keys that wait to sign, [`Self::tick`] is to be called, and each ring that
    /// replaces the one returned goes to `install`.
    ///
    /// # Errors
    /// As [`Self::load_or_create`].
    pub(super) fn serve(&self, install: Install) -> Result<KeyRing, RegistryError> {
        let mut held = self.held();
        let open = self.opened(&mut held)?;
        let mut rotation = open.rotation.clone();
        rotation.resume((self.clock)(), &self.options.rules);
        // A full disk keeps no gateway from serving: all that was begun anew is so in memory, too.
        if let Err(error) = self.write(&rotation) {
            warn!(code = error.code(), %error, "the states of the signing keys cannot be written; keys cannot change until they can");
        }
        open.rotation = rotation;
        // Only the first to serve is told of changes; there is one daemon.
        let _ = self.install.set(install);
        self.ring(open)
    }

    /// The keys on the JWK Set, the one that signs first. Changes nothing on disk.
    ///
    /// # Errors
    /// As [`Self::load_or_create`]; a directory that is not there holds no keys.
    pub(super) fn list(&self) -> Result<Vec<KeyInfo>, RegistryError> {
        let held = self.held();
        match &*held {
            Some(open) => Ok(self.infos(open)),
            None if !self.options.directory.exists() => Ok(Vec::new()),
            None => self.describe(),
        }
    }

    /// What the files tell without being opened.
    fn describe(&self) -> Result<Vec<KeyInfo>, RegistryError> {
        let KeyOptions { directory, rules, .. } = &self.options;
        let path = directory.join(ROTATION);
        let Some(rotation) = read_rotation(&path)? else {
            let files = files::describe_all(directory, self.key_type)?;
            let mut kids = files.iter().map(|file| file.kid.clone());
            let Some(active) = kids.next() else { return Ok(Vec::new()) };
            let rotation = Rotation::adopt(active, kids, (self.clock)(), rules);
            let mut files: BTreeMap<_, _> = files.into_iter().map(|file| (file.kid.clone(), file)).collect();
            return Ok(rotation
                .keys(rules)
                .into_iter()
                .filter_map(|status| files.remove(&status.kid).map(|file| info(self.key_type, status, file)))
                .collect());
        };
        let told = |status: KeyStatus| {
            let file = files::describe(directory, self.key_type, &status.kid)?.ok_or_else(|| lacks(&path, &status.kid))?;
            Ok(info(self.key_type, status, file))
        };
        rotation.keys(rules).into_iter().map(told).collect()
    }

    /// The files of the keys and of their states, between two changes, to be those of `place`.
    pub(super) fn backup(&self, place: &str, plain: PlainKeys) -> Result<Vec<BackupFile>, RegistryError> {
        let _held = self.held();
        backup_files(&self.options.directory, place, plain, files::is_plain)
    }

    /// Publishes a new key, which signs after [`RotationRules::propagation`]. Blocks until it is durable, as do all changes.
    ///
    /// # Errors
    /// If a key waits already, if there are too many, or if a file cannot be written; then nothing has changed.
    pub(super) fn rotate(&self) -> Result<KeyInfo, RegistryError> {
        let mut held = self.held();
        let open = self.opened(&mut held)?;
        if let Some(next) = open.rotation.next() {
            let reason = "is published and will sign by itself: a rotation is under way";
            return Err(RegistryError::Invalid { kind: KIND, id: next.to_owned(), reason: reason.into() });
        }
        if self.infos(open).len() >= MAX_KEYS {
            let reason = "cannot be replaced yet: too many keys are published until their tokens have expired";
            return Err(RegistryError::Invalid { kind: KIND, id: open.rotation.active().to_owned(), reason: reason.into() });
        }
        self.publish(open)?;
        self.infos(open).into_iter().find(|key| key.state == KeyState::Published).ok_or_else(|| not_found("that was just made"))
    }

    /// Takes a key off the JWK Set at once: every token it signed is void. If it signs, the key that waits takes its place, else a new one.
    /// Returns what it was and the key that signs now.
    ///
    /// # Errors
    /// If there is no such key, or a file cannot be written; then nothing has changed.
    pub(super) fn revoke(&self, kid: &str) -> Result<(KeyInfo, KeyInfo), RegistryError> {
        let mut held = self.held();
        let open = self.opened(&mut held)?;
        let revoked = self.infos(open).into_iter().find(|key| key.kid == kid).ok_or_else(|| not_found(kid))?;
        let at = (self.clock)();
        let needs_fresh = revoked.state == KeyState::Active && open.rotation.next().is_none();
        let fresh = if needs_fresh { Some(self.files()?.create(at.wall)?) } else { None };
        let mut rotation = open.rotation.clone();
        if !rotation.remove(kid, fresh.as_ref().map(|fresh| fresh.key.kid().to_owned()), at, &self.options.rules) {
            return Err(not_found(kid));
        }
        self.commit(open, rotation, fresh)?;
        warn!(kid, "signing key was revoked; its tokens are void");
        self.note(What::SigningKeyRevoked, kid);
        if revoked.state == KeyState::Active {
            self.note(What::SigningKeyActivated, open.rotation.active());
        }
        let active = self.infos(open).into_iter().next().ok_or_else(|| not_found("that signs"))?;
        Ok((revoked, active))
    }

    /// Does what is due; returns how long nothing more is, `None` for ever. To be called after that time and at least every half minute.
    ///
    /// # Errors
    /// If a file cannot be written; what is due remains so.
    pub(super) fn tick(&self) -> Result<Option<Duration>, RegistryError> {
        let mut held = self.held();
        let open = self.opened(&mut held)?;
        let rules = &self.options.rules;
        loop {
            let at = (self.clock)();
            open.rotation.observe(at);
            let Some(due) = open.rotation.due(at, rules) else { return Ok(open.rotation.wait(at, rules)) };
            let mut rotation = open.rotation.clone();
            match due {
                Due::Publish => self.publish(open)?,
                Due::Activate => {
                    let stops = rotation.active().to_owned();
                    if rotation.activate(at, rules) {
                        self.commit(open, rotation, None)?;
                        info!(kid = open.rotation.active(), stops, "signing key signs from now on");
                        self.note(What::SigningKeyActivated, open.rotation.active());
                    }
                }
                Due::Remove(kid) => {
                    if rotation.remove(&kid, None, at, rules) {
                        self.commit(open, rotation, None)?;
                        info!(kid, "signing key was removed: its last token has expired");
                        self.note(What::SigningKeyRemoved, &kid);
                    }
                }
            }
        }
    }

    fn publish(&self, open: &mut Open) -> Result<(), RegistryError> {
        let at = (self.clock)();
        let key = self.files()?.create(at.wall)?;
        let kid = key.key.kid().to_owned();
        let mut rotation = open.rotation.clone();
        if !rotation.publish(kid.clone(), at) {
            return Err(RegistryError::Invalid { kind: KIND, id: kid, reason: "cannot be published beside those that are".into() });
        }
        self.commit(open, rotation, Some(key))?;
        info!(kid, "signing key is published and will sign");
        self.note(What::SigningKeyPublished, &kid);
        Ok(())
    }

    fn note(&self, what: What, kid: &str) {
        if let Some(audit) = self.audit.get() {
            audit.note(Event::of(what).subject(kid));
        }
    }

    /// Puts new states into force: on disk first, then in use, and only then are files removed that nothing names any more.
    fn commit(&self, open: &mut Open, rotation: Rotation, fresh: Option<StoredKey>) -> Result<(), RegistryError> {
        self.write(&rotation)?;
        open.rotation = rotation;
        open.keys.extend(fresh.map(|fresh| (fresh.key.kid().to_owned(), fresh)));
        if let Some(install) = self.install.get() {
            install(self.ring(open)?);
            open.rotation.settle((self.clock)());
        }
        clear(open, &self.options.directory);
        Ok(())
    }

    fn write(&self, rotation: &Rotation) -> Result<(), RegistryError> {
        let document = Document { version: VERSION, rotation: rotation.clone() };
        let mut text = serde_json::to_string_pretty(&document)
            .map_err(|error| bad_key(&self.options.directory.join(ROTATION), &format!("cannot be written: {error}")))?;
        text.push('\n');
        directory::write_private(&self.options.directory, ROTATION, text.as_bytes())
    }

    fn held(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened<'a>(&self, held: &'a mut Option<Open>) -> Result<&'a mut Open, RegistryError> {
        let open = match held.take() {
            Some(open) => open,
            None => self.open()?,
        };
        Ok(held.insert(open))
    }

    fn files(&self) -> Result<Files<'_>, RegistryError> {
        let master = self.options.master_key.as_ref().map_err(Clone::clone)?.as_ref();
        Ok(Files { directory: &self.options.directory, master, key_type: self.key_type })
    }

    /// Loads the keys, makes a first one if there is none, and finishes what another process began.
    fn open(&self) -> Result<Open, RegistryError> {
        let KeyOptions { directory, rules, .. } = &self.options;
        directory::prepare(directory)?;
        let files = self.files()?;
        let mut open = match self.read(files)? {
            Some(open) => open,
            None => {
                let at = (self.clock)();
                let key = files.create(at.wall)?;
                let kid = key.key.kid().to_owned();
                self.note(What::SigningKeyActivated, &kid);
                Open { rotation: Rotation::begin(kid.clone(), at, rules), keys: [(kid, key)].into() }
            }
        };
        if !directory.join(ROTATION).exists() {
            self.write(&open.rotation)?;
        }
        clear(&mut open, directory);
        for stored in open.keys.values_mut() {
            if files.seal(stored)? {
                info!(kid = stored.key.kid(), "signing key is sealed from now on");
            }
        }
        for path in files::names(directory)? {
            if !open.keys.values().any(|key| key.path == path) {
                warn!(path = %path.display(), "a signing key that is not in use, as of an attempt that was cut off: remove the file");
            }
        }
        Ok(open)
    }

    /// The keys as they are on disk; `None` if there are none.
    fn read(&self, files: Files<'_>) -> Result<Option<Open>, RegistryError> {
        let KeyOptions { directory, rules, .. } = &self.options;
        let path = directory.join(ROTATION);
        let Some(rotation) = read_rotation(&path)? else {
            // A first start that was cut off, or a file that was removed: the newest is meant, and the others may have signed.
            let keys = files.load_all()?;
            let mut kids = keys.iter().map(|key| key.key.kid().to_owned());
            let Some(active) = kids.next() else { return Ok(None) };
            let rotation = Rotation::adopt(active, kids, (self.clock)(), rules);
            return Ok(Some(Open { rotation, keys: keys.into_iter().map(|key| (key.key.kid().to_owned(), key)).collect() }));
        };
        let mut keys = BTreeMap::new();
        for status in rotation.keys(rules) {
            let key = files.load(&status.kid)?.ok_or_else(|| lacks(&path, &status.kid))?;
            keys.insert(status.kid, key);
        }
        Ok(Some(Open { rotation, keys }))
    }

    /// The ring of the keys on the set.
    fn ring(&self, open: &Open) -> Result<KeyRing, RegistryError> {
        let kids = open.rotation.keys(&self.options.rules).into_iter().map(|status| status.kid);
        let mut keys = kids.filter_map(|kid| open.keys.get(&kid).map(|stored| stored.key.clone()));
        let active = keys.next().ok_or_else(|| bad_key(&self.options.directory, "holds no active key"))?;
        Ok(KeyRing::new(active, keys.collect()))
    }

    fn infos(&self, open: &Open) -> Vec<KeyInfo> {
        let told = |status: KeyStatus| {
            let StoredKey { created_at, path, .. } = open.keys.get(&status.kid)?;
            let file = KeyFile { kid: status.kid.clone(), created_at: *created_at, path: path.clone() };
            Some(info(self.key_type, status, file))
        };
        open.rotation.keys(&self.options.rules).into_iter().filter_map(told).collect()
    }
}

fn info(key_type: KeyType, status: KeyStatus, file: KeyFile) -> KeyInfo {
    let (KeyStatus { kid, state, since, until }, KeyFile { created_at, path, .. }) = (status, file);
    KeyInfo { kid, algorithm: key_type.algorithm(), state, created_at, since, until, path }
}

fn lacks(path: &Path, kid: &str) -> RegistryError {
    bad_key(path, &format!("names the key {kid:?}, which is not there: restore its file"))
}

fn read_rotation(path: &Path) -> Result<Option<Rotation>, RegistryError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RegistryError::io("read", path)(error)),
    };
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    if let Ok(Versioned { version }) = serde_json::from_slice(&text)
        && version != VERSION
    {
        let reason = format!("has version {version}, this program knows version {VERSION}: run the program that wrote it");
        return Err(bad_key(path, &reason));
    }
    let damaged = |error| {
        let advice =
            "restore it from a backup, or remove it: then the newest key signs, and the others are published while their tokens live";
        bad_key(path, &format!("cannot be read ({error}): {advice}"))
    };
    serde_json::from_slice(&text).map(|document: Document| Some(document.rotation)).map_err(damaged)
}

/// Removes the files of keys that are no longer on the set. What fails is tried again after the next change or start.
fn clear(open: &mut Open, directory: &Path) {
    let mut cleared = true;
    for kid in open.rotation.gone() {
        open.keys.remove(kid);
        if let Err(error) = files::remove(directory, kid) {
            warn!(kid, %error, "the file of a signing key that is no longer in use cannot be removed");
            cleared = false;
        }
    }
    if cleared {
        open.rotation.forget_gone();
    }
}

pub(super) fn not_found(kid: &str) -> RegistryError {
    RegistryError::NotFound { kind: KIND, id: kid.to_owned() }
}

fn bad_key(path: &Path, reason: &str) -> RegistryError {
    RegistryError::Key { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
