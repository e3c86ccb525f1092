//! The files of signing keys: `{kid}.pem` (PKCS#8 version 1, RFC 8410, which OpenSSL reads), one key a file, mode 0600.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use zeroize::Zeroizing;

use super::bad_key;
use crate::clock::UnixTime;
use crate::jose::SigningKey;
use crate::registry::directory;
use crate::registry::error::RegistryError;

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

/// The key of that id, if it has a file.
pub(super) fn load(directory: &Path, kid: &str) -> Result<Option<StoredKey>, RegistryError> {
    let path = directory.join(format!("{kid}.pem"));
    if path.exists() { load_pem(path).map(Some) } else { Ok(None) }
}

/// Every key that has a file, the newest first.
pub(super) fn load_all(directory: &Path) -> Result<Vec<StoredKey>, RegistryError> {
    let mut keys = names(directory)?.into_iter().map(load_pem).collect::<Result<Vec<_>, _>>()?;
    keys.sort_by(|a, b| (b.created_at, b.key.kid()).cmp(&(a.created_at, a.key.kid())));
    Ok(keys)
}

/// The files of keys.
pub(super) fn names(directory: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let failed = || RegistryError::io("list", directory);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Makes a new key and its file.
pub(super) fn create(directory: &Path, created_at: UnixTime) -> Result<StoredKey, RegistryError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| bad_key(directory, &format!("no key can be made: {error}")))?;
    store(directory, Arc::new(SigningKey::from_seed(&seed)), created_at)
}

/// Writes the file of a key.
pub(super) fn store(directory: &Path, key: Arc<SigningKey>, created_at: UnixTime) -> Result<StoredKey, RegistryError> {
    let name = format!("{}.pem", key.kid());
    let text = pem(&key, created_at).map_err(|error| bad_key(directory, &format!("no key can be made: {error}")))?;
    write_private(directory, &name, text.as_bytes())?;
    Ok(StoredKey { key, created_at, path: directory.join(name) })
}

/// Removes the files of a key, durably.
pub(super) fn remove(directory: &Path, kid: &str) -> Result<(), RegistryError> {
    let path = directory.join(format!("{kid}.pem"));
    remove_file(&path)?;
    directory::sync(directory).map_err(RegistryError::io("write", directory))
}

fn remove_file(path: &Path) -> Result<(), RegistryError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RegistryError::io("remove", path)(error)),
        _ => Ok(()),
    }
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

fn load_pem(path: PathBuf) -> Result<StoredKey, RegistryError> {
    let (pem, changed_at) = read_private(&path)?;
    let unreadable = |_| bad_key(&path, "is not an Ed25519 private key in PEM (PKCS#8): restore the file from a backup, or remove it");
    let pair = KeypairBytes::from_pkcs8_pem(&pem).map_err(unreadable)?;
    let key = SigningKey::from_seed(&Zeroizing::new(pair.secret_key));
    if pair.public_key.as_ref().is_some_and(|public| public.0 != *key.public().x()) {
        return Err(bad_key(&path, "holds a public key that is not that of its private key: restore the file from a backup, or remove it"));
    }
    if path.file_stem().is_none_or(|stem| stem != key.kid()) {
        return Err(bad_key(&path, &format!("holds the key {}: rename the file to {}.pem, or remove it", key.kid(), key.kid())));
    }
    let stated = pem.lines().find_map(|line| line.strip_prefix(CREATED_AT)?.split(' ').next()?.parse().ok());
    Ok(StoredKey { key: Arc::new(key), created_at: stated.map_or(changed_at, UnixTime::from_secs), path })
}

pub(super) fn pem(key: &SigningKey, created_at: UnixTime) -> Result<Zeroizing<String>, ed25519_dalek::pkcs8::Error> {
    // Without the public key it is version 1, which OpenSSL reads; it does not read version 2 everywhere.
    let pair = KeypairBytes { secret_key: *key.seed(), public_key: None };
    let pem = pair.to_pkcs8_pem(LineEnding::LF)?;
    // Room for all of it at once: a string that grows leaves copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(pem.len().saturating_add(256)));
    text.push_str(&format!("Signing key of credgate: Ed25519, secret.\n{CREATED_AT}{} ({created_at})\n", created_at.as_secs()));
    text.push_str(&pem);
    Ok(text)
}

/// Writes a file of mode 0600 whole or not at all, and durably.
pub(super) fn write_private(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), RegistryError> {
    // A leftover of an attempt that was cut off; another process is kept out by the registry's lock.
    let temporary = directory.join(".new");
    remove_file(&temporary)?;
    let path = directory.join(name);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written
        .and_then(|()| fs::rename(&temporary, &path))
        .and_then(|()| directory::sync(directory))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .map_err(RegistryError::io("write", &path))
}
