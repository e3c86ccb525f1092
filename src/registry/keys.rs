//! Signing keys: `{kid}.pem` (PKCS#8 version 1, RFC 8410, which OpenSSL reads), one a file, and `active`, which names the one that signs.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use serde::Serialize;
use zeroize::Zeroizing;

use super::error::RegistryError;
use super::{directory, now};
use crate::clock::UnixTime;
use crate::jose::{KeyRing, SigningKey};

/// The file that names the active key.
const ACTIVE: &str = "active";

/// Goes before the seconds in the text above the PEM block (RFC 7468 section 2 allows text there), where they survive copying.
const CREATED_AT: &str = "created_at: ";

/// A signing key, without its private half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    /// Its RFC 7638 thumbprint.
    pub kid: String,
    /// Its JWS algorithm: `EdDSA`.
    pub algorithm: &'static str,
    /// When it was made.
    pub created_at: UnixTime,
    /// Whether it signs; the others are only published.
    pub active: bool,
    /// Its file.
    pub path: PathBuf,
}

/// Loads the signing keys; makes the directory and a first key if there is none. Open the registry first: its lock keeps a second process out.
///
/// # Errors
/// If a key file is open to others, damaged or misnamed, if `active` names no key, or if a file cannot be read or written.
pub fn load_or_create_keys(keys_directory: &Path) -> Result<KeyRing, RegistryError> {
    directory::prepare(keys_directory)?;
    let mut keys = load(keys_directory)?;
    if keys.is_empty() {
        create(keys_directory)?;
        keys = load(keys_directory)?;
    }
    let active = keys.iter().position(|key| key.info.active).map(|index| keys.swap_remove(index));
    let active = active.ok_or_else(|| bad_key(keys_directory, "holds no active key"))?;
    keys.sort_by(|a, b| a.info.kid.cmp(&b.info.kid));
    Ok(KeyRing::new(active.key, keys.into_iter().map(|key| key.key).collect()))
}

/// The signing keys, the newest first. Changes nothing.
///
/// # Errors
/// As [`load_or_create_keys`]; a directory that is not there holds no keys.
pub fn list_keys(keys_directory: &Path) -> Result<Vec<KeyInfo>, RegistryError> {
    if !keys_directory.exists() {
        return Ok(Vec::new());
    }
    Ok(load(keys_directory)?.into_iter().map(|key| key.info).collect())
}

struct LoadedKey {
    key: Arc<SigningKey>,
    info: KeyInfo,
}

/// The newest first.
fn load(directory: &Path) -> Result<Vec<LoadedKey>, RegistryError> {
    let failed = || RegistryError::io("list", directory);
    let mut keys = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            keys.push(load_key(path)?);
        }
    }
    keys.sort_by(|a, b| (b.info.created_at, &b.info.kid).cmp(&(a.info.created_at, &a.info.kid)));
    let active = directory.join(ACTIVE);
    let position =
        match fs::read_to_string(&active) {
            Ok(text) => {
                let kid = text.trim();
                let position = keys.iter().position(|key| key.info.kid == kid);
                Some(position.ok_or_else(|| {
                    bad_key(&active, &format!("names the key {kid:?}, which is not there: restore its file or name another"))
                })?)
            }
            // A first start may have been cut off before the file was written; among several the newest is meant.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(0),
            Err(error) => return Err(RegistryError::io("read", &active)(error)),
        };
    if let Some(key) = position.and_then(|position| keys.get_mut(position)) {
        key.info.active = true;
    }
    Ok(keys)
}

fn load_key(path: PathBuf) -> Result<LoadedKey, RegistryError> {
    let failed = || RegistryError::io("read", &path);
    let file = File::open(&path).map_err(failed())?;
    let metadata = file.metadata().map_err(failed())?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RegistryError::Permissions { path, mode, needed: 0o600 });
    }
    let mut pem = Zeroizing::new(String::with_capacity(4_096));
    (&file).take(4_096).read_to_string(&mut pem).map_err(failed())?;
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
    let created_at = UnixTime::from_secs(stated.unwrap_or_else(|| u64::try_from(metadata.mtime()).unwrap_or(0)));
    let info = KeyInfo { kid: key.kid().to_owned(), algorithm: "EdDSA", created_at, active: false, path };
    Ok(LoadedKey { key: Arc::new(key), info })
}

/// Makes a key and lets it sign.
fn create(directory: &Path) -> Result<(), RegistryError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| bad_key(directory, &format!("no key can be made: {error}")))?;
    let key = SigningKey::from_seed(&seed);
    let text = key_file(&key, now()).map_err(|error| bad_key(directory, &format!("no key can be made: {error}")))?;
    write_private(directory, &format!("{}.pem", key.kid()), text.as_bytes())?;
    write_private(directory, ACTIVE, format!("{}\n", key.kid()).as_bytes())
}

fn key_file(key: &SigningKey, created_at: UnixTime) -> Result<Zeroizing<String>, ed25519_dalek::pkcs8::Error> {
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
fn write_private(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), RegistryError> {
    // A leftover of an attempt that was cut off; another process is kept out by the registry's lock.
    let temporary = directory.join(".new");
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(RegistryError::io("remove", &temporary)(error));
    }
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

fn bad_key(path: &Path, reason: &str) -> RegistryError {
    RegistryError::Key { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
