//! The files of signing keys, one key a file, mode 0600: `{kid}.pem` (PKCS#8, RFC 8410 or 5915, which OpenSSL reads), or `{kid}.sealed`
//! (`seal.rs`) if there is a master key.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use zeroize::Zeroizing;

use super::bad_key;
use super::seal::{MasterKey, SealedKey};
use crate::clock::UnixTime;
use crate::jose::{KeyType, SigningKey};
use crate::registry::directory;
use crate::registry::error::RegistryError;

const PLAIN: &str = "pem";
const SEALED: &str = "sealed";
/// Goes before the seconds in the text above the PEM block (RFC 7468 section 2 allows text there), where they survive copying.
const CREATED_AT: &str = "created_at: ";
/// Bytes of the largest file that is read.
const MAX_SIZE: u64 = 65_536;

/// A key and what its file says of it.
pub(super) struct StoredKey {
    pub(super) key: Arc<SigningKey>,
    pub(super) created_at: UnixTime,
    pub(super) path: PathBuf,
}

/// What the file of a key says without being opened.
pub(super) struct KeyFile {
    pub(super) kid: String,
    pub(super) created_at: UnixTime,
    pub(super) path: PathBuf,
}

/// The files of keys in a directory.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) directory: &'a Path,
    /// Seals and opens; without it keys are kept as they are.
    pub(super) master: Option<&'a MasterKey>,
    /// The kind of the keys.
    pub(super) key_type: KeyType,
}

impl Files<'_> {
    /// The key of that id, if it has a file.
    pub(super) fn load(&self, kid: &str) -> Result<Option<StoredKey>, RegistryError> {
        let path = |extension| Some(self.directory.join(format!("{kid}.{extension}"))).filter(|path| path.exists());
        // If both are there, the plain one is about to be removed.
        path(SEALED).or_else(|| path(PLAIN)).map(|path| self.load_file(path)).transpose()
    }

    fn load_file(&self, path: PathBuf) -> Result<StoredKey, RegistryError> {
        if !is_sealed(&path) {
            return load_pem(self.key_type, path);
        }
        let sealed = load_sealed(&path)?;
        let shown = path.display();
        let Some(master) = self.master else {
            let reason = format!(
                "{shown} is sealed, and there is no master key to open it: give the gateway the systemd credential credgate-master-key \
                 (LoadCredentialEncrypted=) or set keys.master-key-file; for a command, start the gateway and repeat it"
            );
            return Err(RegistryError::MasterKey { reason });
        };
        let wrong = || RegistryError::MasterKey {
            reason: format!(
                "{shown} cannot be opened with the master key that was given: it was sealed under another one, or is damaged; give the one \
                 it was sealed under, or restore the file from a backup"
            ),
        };
        let key = sealed.open(self.key_type, master).ok_or_else(wrong)?;
        Ok(StoredKey { key: Arc::new(key), created_at: sealed.created_at, path })
    }

    /// Every key that has a file, the newest first.
    pub(super) fn load_all(&self) -> Result<Vec<StoredKey>, RegistryError> {
        describe_all(self.directory, self.key_type)?.into_iter().map(|file| self.load_file(file.path)).collect()
    }

    /// Makes a new key and its file.
    pub(super) fn create(&self, created_at: UnixTime) -> Result<StoredKey, RegistryError> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            getrandom::fill(bytes.as_mut_slice()).map_err(|error| bad_key(self.directory, &format!("no key can be made: {error}")))?;
            // All but one of 2^32 draws are a key of P-256.
            if let Some(key) = SigningKey::from_secret_bytes(self.key_type, &bytes) {
                return self.store(Arc::new(key), created_at);
            }
        }
    }

    /// Writes the file of a key.
    pub(super) fn store(&self, key: Arc<SigningKey>, created_at: UnixTime) -> Result<StoredKey, RegistryError> {
        let (extension, text) = match self.master {
            None => (PLAIN, pem(&key, created_at).map_err(|error| bad_key(self.directory, &format!("no key can be made: {error}")))?),
            Some(master) => {
                let text = SealedKey::seal(&key, created_at, master).and_then(|sealed| sealed.to_text());
                (SEALED, Zeroizing::new(text.ok_or_else(|| bad_key(self.directory, "no key can be sealed"))?))
            }
        };
        let name = format!("{}.{extension}", key.kid());
        directory::write_private(self.directory, &name, text.as_bytes())?;
        Ok(StoredKey { key, created_at, path: self.directory.join(name) })
    }

    /// Seals a key that is not, and removes the plain file once the sealed one is durable. True if there was a plain file.
    pub(super) fn seal(&self, stored: &mut StoredKey) -> Result<bool, RegistryError> {
        let plain = self.directory.join(format!("{}.{PLAIN}", stored.key.kid()));
        if self.master.is_none() || !plain.exists() {
            return Ok(false);
        }
        if !is_sealed(&stored.path) {
            *stored = self.store(stored.key.clone(), stored.created_at)?;
        }
        directory::remove_file(&plain)?;
        directory::sync(self.directory).map_err(RegistryError::io("write", self.directory))?;
        Ok(true)
    }
}

/// What the file of a key says, if it has one.
pub(super) fn describe(directory: &Path, key_type: KeyType, kid: &str) -> Result<Option<KeyFile>, RegistryError> {
    let path = |extension| Some(directory.join(format!("{kid}.{extension}"))).filter(|path| path.exists());
    path(SEALED).or_else(|| path(PLAIN)).map(|path| describe_file(key_type, path)).transpose()
}

/// What the files of keys say, the newest first.
pub(super) fn describe_all(directory: &Path, key_type: KeyType) -> Result<Vec<KeyFile>, RegistryError> {
    let mut files = names(directory)?.into_iter().map(|path| describe_file(key_type, path)).collect::<Result<Vec<_>, _>>()?;
    // Of the two files of one key the sealed one stays.
    files.sort_by(|a, b| (b.created_at, &b.kid, is_sealed(&b.path)).cmp(&(a.created_at, &a.kid, is_sealed(&a.path))));
    files.dedup_by(|later, earlier| later.kid == earlier.kid);
    Ok(files)
}

fn describe_file(key_type: KeyType, path: PathBuf) -> Result<KeyFile, RegistryError> {
    if is_sealed(&path) {
        let SealedKey { kid, created_at, .. } = load_sealed(&path)?;
        return Ok(KeyFile { kid, created_at, path });
    }
    let StoredKey { key, created_at, path } = load_pem(key_type, path)?;
    Ok(KeyFile { kid: key.kid().to_owned(), created_at, path })
}

/// The files of keys.
pub(super) fn names(directory: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let failed = || RegistryError::io("list", directory);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.extension().is_some_and(|extension| extension == PLAIN || extension == SEALED) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether a file holds a key as it is.
pub(super) fn is_plain(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == PLAIN)
}

fn is_sealed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == SEALED)
}

/// Removes the files of a key, durably.
pub(super) fn remove(directory: &Path, kid: &str) -> Result<(), RegistryError> {
    for extension in [PLAIN, SEALED] {
        directory::remove_file(&directory.join(format!("{kid}.{extension}")))?;
    }
    directory::sync(directory).map_err(RegistryError::io("write", directory))
}

/// The content of a file that only its owner may read, and when it was changed.
fn read_private(path: &Path) -> Result<(Zeroizing<String>, UnixTime), RegistryError> {
    let failed = || RegistryError::io("read", path);
    let file = File::open(path).map_err(failed())?;
    let metadata = file.metadata().map_err(failed())?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RegistryError::Permissions { path: path.to_owned(), mode, needed: 0o600 });
    }
    // Room for all of it at once: a string that grows leaves copies of the key behind.
    let size = usize::try_from(metadata.len().min(MAX_SIZE)).unwrap_or(0).saturating_add(1);
    let mut text = Zeroizing::new(String::with_capacity(size));
    (&file).take(MAX_SIZE).read_to_string(&mut text).map_err(failed())?;
    Ok((text, UnixTime::from_secs(u64::try_from(metadata.mtime()).unwrap_or(0))))
}

fn load_sealed(path: &Path) -> Result<SealedKey, RegistryError> {
    let (text, _) = read_private(path)?;
    let sealed = SealedKey::parse(path, &text)?;
    if path.file_stem().is_none_or(|stem| stem != sealed.kid.as_str()) {
        return Err(bad_key(path, &format!("holds another key ({:?}): rename the file back", sealed.kid)));
    }
    Ok(sealed)
}

fn load_pem(key_type: KeyType, path: PathBuf) -> Result<StoredKey, RegistryError> {
    let (pem, changed_at) = read_private(&path)?;
    let unreadable = || {
        let kind = key_type.crv();
        bad_key(&path, &format!("is not an {kind} private key in PEM (PKCS#8): restore the file from a backup, or remove it"))
    };
    let key = match key_type {
        KeyType::Ed25519 => {
            let pair = KeypairBytes::from_pkcs8_pem(&pem).map_err(|_| unreadable())?;
            let key = SigningKey::from_seed(&Zeroizing::new(pair.secret_key));
            if pair.public_key.as_ref().is_some_and(|public| public.0 != *key.public().x()) {
                let reason = "holds a public key that is not that of its private key: restore the file from a backup, or remove it";
                return Err(bad_key(&path, reason));
            }
            key
        }
        KeyType::P256 => {
            let key = p256::SecretKey::from_pkcs8_pem(&pem).map_err(|_| unreadable())?;
            SigningKey::from_p256_scalar(&Zeroizing::new(key.to_bytes().into())).ok_or_else(unreadable)?
        }
    };
    if path.file_stem().is_none_or(|stem| stem != key.kid()) {
        return Err(bad_key(&path, &format!("holds the key {}: rename the file to {}.pem, or remove it", key.kid(), key.kid())));
    }
    let stated = pem.lines().find_map(|line| line.strip_prefix(CREATED_AT)?.split(' ').next()?.parse().ok());
    Ok(StoredKey { key: Arc::new(key), created_at: stated.map_or(changed_at, UnixTime::from_secs), path })
}

pub(super) fn pem(key: &SigningKey, created_at: UnixTime) -> Result<Zeroizing<String>, String> {
    let bytes = key.secret_bytes();
    let pem = match key.key_type() {
        // Without the public key it is version 1, which OpenSSL reads; it does not read version 2 everywhere.
        KeyType::Ed25519 => KeypairBytes { secret_key: *bytes, public_key: None }.to_pkcs8_pem(LineEnding::LF),
        KeyType::P256 => p256::SecretKey::from_slice(bytes.as_slice()).map_err(|error| error.to_string())?.to_pkcs8_pem(LineEnding::LF),
    };
    let pem = pem.map_err(|error| error.to_string())?;
    // Room for all of it at once: a string that grows leaves copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(pem.len().saturating_add(256)));
    text.push_str(&format!(
        "Signing key of credgate: {}, secret.\n{CREATED_AT}{} ({created_at})\n",
        key.key_type().crv(),
        created_at.as_secs()
    ));
    text.push_str(&pem);
    Ok(text)
}
