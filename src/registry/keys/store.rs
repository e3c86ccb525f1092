//! The signing keys of all kinds: Ed25519 always, P-256 from when a resource server first wants ES256. Each kind has a directory and a rotation of
//! its own.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::{Clock, Install, KeyInfo, KeyOptions, KindStore, not_found};
use crate::audit::AuditLog;
use crate::jose::{KeyRing, KeyType, Moment};
use crate::registry::backup::{BackupFile, PlainKeys};
use crate::registry::error::RegistryError;
use crate::registry::now;

/// Where the P-256 keys are, below the others.
const P256_DIRECTORY: &str = "p256";

/// The signing keys and their files. Opens them when they are first asked for. Open the registry first: its lock keeps a second process out.
pub struct KeyStore {
    ed25519: KindStore,
    p256: KindStore,
    shared: Arc<Shared>,
}

/// The rings in use, for whichever kind changes next.
#[derive(Default)]
struct Shared {
    rings: Mutex<(Option<KeyRing>, Option<KeyRing>)>,
    install: OnceLock<Install>,
}

impl Shared {
    /// Takes a ring into use beside that of the other kind.
    fn put(&self, key_type: KeyType, ring: KeyRing) -> Option<KeyRing> {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        match key_type {
            KeyType::Ed25519 => rings.0 = Some(ring),
            KeyType::P256 => rings.1 = Some(ring),
        }
        let (ed25519, p256) = rings.clone();
        let all = ed25519.map(|ring| p256.into_iter().fold(ring, KeyRing::with));
        // Within the lock, so that no older ring comes after a newer one.
        if let (Some(all), Some(install)) = (&all, self.install.get()) {
            install(all.clone());
        }
        all
    }
}

impl KeyStore {
    /// The keys of these files. Nothing is touched yet.
    #[must_use]
    pub fn new(options: KeyOptions) -> Self {
        let started = Instant::now();
        Self::with_clock(options, Arc::new(move || Moment { wall: now(), uptime: started.elapsed() }))
    }

    pub(super) fn with_clock(options: KeyOptions, clock: Clock) -> Self {
        let below = KeyOptions { directory: options.directory.join(P256_DIRECTORY), ..options.clone() };
        let (ed25519, p256) = (KindStore::new(options, KeyType::Ed25519, clock.clone()), KindStore::new(below, KeyType::P256, clock));
        Self { ed25519, p256, shared: Arc::default() }
    }

    /// Tells `audit` from now on when a key begins to be published or to sign, and when it ends. The first one stays.
    pub fn audited_by(&self, audit: &Arc<dyn AuditLog>) {
        for kind in [&self.ed25519, &self.p256] {
            let _ = kind.audit.set(audit.clone());
        }
    }

    fn kind(&self, key_type: KeyType) -> &KindStore {
        match key_type {
            KeyType::Ed25519 => &self.ed25519,
            KeyType::P256 => &self.p256,
        }
    }

    /// The kinds of which there are keys.
    fn begun(&self) -> impl Iterator<Item = &KindStore> {
        std::iter::once(&self.ed25519).chain(Some(&self.p256).filter(|kind| kind.is_begun()))
    }

    /// Loads the keys; makes the directory and a first key if there is none.
    ///
    /// # Errors
    /// If a key file is open to others, damaged, misnamed or missing, or if a file cannot be read or written.
    pub fn load_or_create(&self) -> Result<KeyRing, RegistryError> {
        let ring = self.ed25519.load_or_create()?;
        if self.p256.is_begun() {
            return Ok(ring.with(self.p256.load_or_create()?));
        }
        Ok(ring)
    }

    /// Begins to publish the keys: from now on time counts for keys that wait to sign, [`Self::tick`] is to be called, and each ring that
    /// replaces the one returned goes to `install`.
    ///
    /// # Errors
    /// As [`Self::load_or_create`].
    pub fn serve(&self, install: Install) -> Result<KeyRing, RegistryError> {
        let mut ring = self.serve_kind(KeyType::Ed25519)?;
        if self.p256.is_begun() {
            ring = self.serve_kind(KeyType::P256)?;
        }
        // Only the first to serve is told of changes; there is one daemon.
        let _ = self.shared.install.set(install);
        ring.ok_or_else(|| not_found("that signs"))
    }

    fn serve_kind(&self, key_type: KeyType) -> Result<Option<KeyRing>, RegistryError> {
        let shared = self.shared.clone();
        let install = Box::new(move |ring| drop(shared.put(key_type, ring)));
        let ring = self.kind(key_type).serve(install)?;
        Ok(self.shared.put(key_type, ring))
    }

    /// Makes sure that there is a key of that kind to sign with. The first one signs at once: nobody knows another.
    ///
    /// # Errors
    /// As [`Self::load_or_create`].
    pub fn require(&self, key_type: KeyType) -> Result<(), RegistryError> {
        let kind = self.kind(key_type);
        if kind.is_begun() {
            return Ok(());
        }
        kind.load_or_create()?;
        if self.shared.install.get().is_some() {
            self.serve_kind(key_type)?;
        }
        Ok(())
    }

    /// The keys on the JWK Set; of each kind the one that signs first. Changes nothing on disk.
    ///
    /// # Errors
    /// As [`Self::load_or_create`]; a directory that is not there holds no keys.
    pub fn list(&self) -> Result<Vec<KeyInfo>, RegistryError> {
        let mut keys = Vec::new();
        for kind in self.begun() {
            keys.extend(kind.list()?);
        }
        Ok(keys)
    }

    /// The files of all keys and of their states, each kind's between two changes.
    ///
    /// # Errors
    /// If a key is not sealed and `plain` refuses that, or a file cannot be read.
    pub fn backup(&self, plain: PlainKeys) -> Result<Vec<BackupFile>, RegistryError> {
        let mut files = self.ed25519.backup("keys", plain)?;
        files.extend(self.p256.backup("keys/p256", plain)?);
        Ok(files)
    }

    /// Publishes a new key of that kind, which signs after [`RotationRules::propagation`](crate::jose::RotationRules::propagation), or at once if it
    /// is the first. Blocks until it is durable, as do all changes.
    ///
    /// # Errors
    /// If a key waits already, if there are too many, or if a file cannot be written; then nothing has changed.
    pub fn rotate(&self, key_type: KeyType) -> Result<KeyInfo, RegistryError> {
        let kind = self.kind(key_type);
        if kind.is_begun() {
            return kind.rotate();
        }
        self.require(key_type)?;
        kind.list()?.into_iter().next().ok_or_else(|| not_found("that was just made"))
    }

    /// Takes a key off the JWK Set at once: every token it signed is void. If it signs, the key that waits takes its place, else a new one.
    /// Returns what it was and the key of its kind that signs now.
    ///
    /// # Errors
    /// If there is no such key, or a file cannot be written; then nothing has changed.
    pub fn revoke(&self, kid: &str) -> Result<(KeyInfo, KeyInfo), RegistryError> {
        for kind in self.begun() {
            if kind.list()?.iter().any(|key| key.kid == kid) {
                return kind.revoke(kid);
            }
        }
        Err(not_found(kid))
    }

    /// Does what is due; returns how long nothing more is, `None` for ever. To be called after that time and at least every half minute.
    ///
    /// # Errors
    /// If a file cannot be written; what is due remains so.
    pub fn tick(&self) -> Result<Option<Duration>, RegistryError> {
        let mut wait = None;
        for kind in self.begun() {
            wait = [wait, kind.tick()?].into_iter().flatten().min();
        }
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::jose::{Algorithm, KeyState, RotationRules};
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Bench {
        directory: tempfile::TempDir,
        second: Arc<AtomicU64>,
    }

    impl Bench {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap(), second: Arc::new(AtomicU64::new(10_000)) }
        }

        fn store(&self) -> KeyStore {
            let rules = RotationRules { interval: 0, propagation: 60, max_lifetime: 300, clock_skew: 30 };
            let second = self.second.clone();
            let clock = move || {
                let now = second.load(Ordering::SeqCst);
                Moment { wall: UnixTime::from_secs(now), uptime: Duration::from_secs(now) }
            };
            let options = KeyOptions { directory: self.directory.path().join("keys"), rules, master_key: Ok(None) };
            KeyStore::with_clock(options, Arc::new(clock))
        }

        /// A daemon, and the ring in its use.
        fn daemon(&self) -> (KeyStore, Arc<Mutex<KeyRing>>) {
            let store = self.store();
            let used = Arc::new(Mutex::new(store.load_or_create().unwrap()));
            let installed = used.clone();
            *used.lock().unwrap() = store.serve(Box::new(move |ring| *installed.lock().unwrap() = ring)).unwrap();
            (store, used)
        }
    }

    fn states(store: &KeyStore) -> Vec<(Algorithm, KeyState)> {
        store.list().unwrap().into_iter().map(|key| (key.algorithm, key.state)).collect()
    }

    fn active(ring: &Mutex<KeyRing>, key_type: KeyType) -> Option<String> {
        ring.lock().unwrap().active_for(key_type).map(|key| key.kid().to_owned())
    }

    #[test]
    fn a_second_kind_is_begun_when_it_is_wanted() {
        let bench = Bench::new();
        let (store, ring) = bench.daemon();
        assert_eq!((states(&store), active(&ring, KeyType::P256)), (vec![(Algorithm::EdDsa, KeyState::Active)], None));
        store.require(KeyType::P256).unwrap();
        let (ed25519, p256) = (active(&ring, KeyType::Ed25519), active(&ring, KeyType::P256));
        assert!(p256.is_some());
        store.require(KeyType::P256).unwrap();
        assert_eq!(active(&ring, KeyType::P256), p256, "once");
        assert_eq!(ring.lock().unwrap().jwk_set().keys.len(), 2);
        // Another process finds both.
        let (store, ring) = bench.daemon();
        assert_eq!((active(&ring, KeyType::Ed25519), active(&ring, KeyType::P256)), (ed25519, p256));
        assert_eq!(states(&store), [(Algorithm::EdDsa, KeyState::Active), (Algorithm::Es256, KeyState::Active)]);
    }

    #[test]
    fn each_kind_rotates_by_itself() {
        let bench = Bench::new();
        let (store, ring) = bench.daemon();
        let first = store.rotate(KeyType::P256).unwrap();
        assert_eq!((first.algorithm, first.state), (Algorithm::Es256, KeyState::Active), "nobody knows another");
        let (ed25519, before) = (active(&ring, KeyType::Ed25519), active(&ring, KeyType::P256));
        assert_eq!(before.as_deref(), Some(first.kid.as_str()));
        let next = store.rotate(KeyType::P256).unwrap();
        assert_eq!((next.state, active(&ring, KeyType::P256)), (KeyState::Published, before.clone()));
        assert!(ring.lock().unwrap().jwk_set().find(&next.kid).is_some(), "published before it signs");
        assert_eq!(store.tick().unwrap(), Some(Duration::from_secs(60)));
        bench.second.fetch_add(60, Ordering::SeqCst);
        store.tick().unwrap();
        assert_eq!((active(&ring, KeyType::P256), active(&ring, KeyType::Ed25519)), (Some(next.kid.clone()), ed25519.clone()));
        assert_eq!(ring.lock().unwrap().jwk_set().keys.len(), 3, "the one before it is still published");
        let (revoked, now) = store.revoke(&next.kid).unwrap();
        assert_eq!((revoked.kid, now.algorithm), (next.kid, Algorithm::Es256));
        assert_eq!((active(&ring, KeyType::P256), active(&ring, KeyType::Ed25519)), (Some(now.kid), ed25519));
        assert!(store.revoke("nope").is_err());
    }
}
