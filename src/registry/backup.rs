//! The form of a backup: all that there is at one moment, in parts of bounded length with a checksum over all.
//!
//! ```text
//! "credgate backup\n"  version (4 bytes)  part*  end
//! part: kind (1 byte)  length (4 bytes)  content
//!   1  manifest (JSON), the first part and the only one of its kind
//!   2  record: length of the tree's name (1), name, length of the key (2), key, value as in `records.rs`
//!   3  file of the state directory: length of the name (1), name, content
//! end:  255  32 (4 bytes)  SHA-256 of all before
//! ```
//!
//! Numbers are big-endian. Nothing follows the end.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::error::RegistryError;
use super::meta::{Lineage, Meta};
use super::records::{Record, Tree};
use super::{Registry, load, now};
use crate::clock::UnixTime;

/// What a backup begins with.
pub const BACKUP_MAGIC: &[u8] = b"credgate backup\n";
const VERSION: u32 = 1;
/// Bytes of a part, at most: files are the largest.
const MAX_PART: usize = 128 * 1_024;
const MANIFEST: u8 = 1;
const RECORD: u8 = 2;
const FILE: u8 = 3;
const END: u8 = 255;
const CHECKSUM: usize = 32;
/// Bytes of a file and files of a directory, at most.
const MAX_FILE: u64 = 65_536;
const MAX_FILES: usize = 64;
/// Bytes of the kind and the length of a part.
const HEAD: usize = 5;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the program that made it.
    pub version: String,
    /// `iss` of that gateway's tokens.
    pub issuer: String,
    /// The moment.
    pub created_at: UnixTime,
    /// Which registry, in hexadecimal.
    pub(super) lineage: String,
    /// The number of the last entry of the audit trail.
    pub audit_seq: u64,
}

impl Manifest {
    pub(super) fn lineage(&self) -> Lineage {
        Lineage::parse(&self.lineage).unwrap_or_default()
    }
}

/// A file of the state directory.
#[derive(Clone)]
pub struct BackupFile {
    /// Its path in the state directory: `keys/..` or `tls/..`.
    pub name: String,
    /// What is in it.
    pub content: Zeroizing<Vec<u8>>,
}

/// The name only: it may hold a key.
impl std::fmt::Debug for BackupFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BackupFile({:?})", self.name)
    }
}

/// What a backup does with private keys that lie on disk as they are, not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlainKeys {
    /// It is not made, for whoever has it would have them.
    Refuse,
    /// They are left out, and what is of no use without them.
    Omit,
    /// They are in it.
    Include,
}

/// The files of a directory, to be those of `place` in the state directory, if there are any. `is_plain` tells by a file's name that it holds a
/// private key as it is.
///
/// # Errors
/// If there is such a file and `plain` refuses it, if there is more than can be keys and certificates, or a file cannot be read.
pub fn backup_files(
    directory: &Path,
    place: &str,
    plain: PlainKeys,
    is_plain: impl Fn(&str) -> bool,
) -> Result<Vec<BackupFile>, RegistryError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(RegistryError::io("list", directory))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(RegistryError::io("list", directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let metadata = fs::metadata(&path).map_err(RegistryError::io("examine", &path))?;
        let in_place = format!("{place}/{name}");
        if !metadata.is_file() || !is_placed(&in_place) {
            continue;
        }
        let invalid = |reason: &'static str| RegistryError::Invalid { kind: "file", id: path.display().to_string(), reason: reason.into() };
        if is_plain(name) {
            match plain {
                PlainKeys::Refuse => return Err(invalid("is a private key that is not sealed, and whoever has the backup would have it")),
                PlainKeys::Omit => return Ok(Vec::new()),
                PlainKeys::Include => {}
            }
        }
        if metadata.len() > MAX_FILE || files.len() >= MAX_FILES {
            return Err(invalid("is more than belongs there: move it away"));
        }
        // Room for all of it at once: a vector that grows leaves copies of keys behind.
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_FILE).unwrap_or_default()));
        let file = fs::File::open(&path).map_err(RegistryError::io("read", &path))?;
        file.take(MAX_FILE).read_to_end(&mut content).map_err(RegistryError::io("read", &path))?;
        files.push(BackupFile { name: in_place, content });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// A record as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawRecord {
    pub(super) tree: Tree,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// A backup that is being made, in memory.
pub struct BackupWriter {
    bytes: Zeroizing<Vec<u8>>,
}

impl BackupWriter {
    fn begin(manifest: &Manifest) -> Self {
        let mut bytes = BACKUP_MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        let mut writer = Self { bytes: Zeroizing::new(bytes) };
        // Texts and numbers always can be written.
        writer.part(MANIFEST, &[&serde_json::to_vec(manifest).unwrap_or_default()]);
        writer
    }

    fn record(&mut self, tree: Tree, key: &[u8], value: &[u8]) {
        let name = tree.name().as_bytes();
        let (name_length, key_length) = (u8::try_from(name.len()).unwrap_or(0), u16::try_from(key.len()).unwrap_or(0));
        self.part(RECORD, &[&[name_length], name, &key_length.to_be_bytes(), key, value]);
    }

    /// The same with these files.
    #[must_use]
    pub fn with_files(mut self, files: &[BackupFile]) -> Self {
        // Room for all of it at once: a vector that grows leaves copies of keys behind.
        let room = files.iter().map(|file| file.content.len().saturating_add(file.name.len()).saturating_add(2 * HEAD));
        let room = room.fold(HEAD.saturating_add(CHECKSUM), usize::saturating_add);
        let mut bytes = Vec::with_capacity(self.bytes.len().saturating_add(room));
        bytes.extend_from_slice(&self.bytes);
        self.bytes = Zeroizing::new(bytes);
        for file in files {
            let length = u8::try_from(file.name.len()).unwrap_or(0);
            self.part(FILE, &[&[length], file.name.as_bytes(), &file.content]);
        }
        self
    }

    /// The whole backup.
    #[must_use]
    pub fn finish(mut self) -> Zeroizing<Vec<u8>> {
        let checksum = Sha256::digest(&*self.bytes);
        self.part(END, &[&checksum]);
        self.bytes
    }

    fn part(&mut self, kind: u8, content: &[&[u8]]) {
        let length = content.iter().map(|piece| piece.len()).fold(0, usize::saturating_add);
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        content.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
    }
}

/// A backup that was read: whole, as its checksum says. Whether its records can be used is found out by [`Staging`](super::Staging).
#[derive(Debug)]
pub struct Backup {
    /// What it is of.
    pub manifest: Manifest,
    pub(super) records: Vec<RawRecord>,
    /// Keys and certificates that are in it.
    pub files: Vec<BackupFile>,
}

impl Backup {
    /// Reads a backup. `path` is for the error.
    ///
    /// # Errors
    /// [`RegistryError::BadBackup`] if it is none, is damaged or cut short, or was made by a newer program.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, RegistryError> {
        Self::read(bytes).map_err(|reason| RegistryError::BadBackup { path: path.to_owned(), reason })
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let parts = versioned(bytes)?;
        let cut = || "it is damaged or was cut short".to_owned();
        let end = bytes.len().checked_sub(HEAD.saturating_add(CHECKSUM)).ok_or_else(cut)?;
        let (content, checksum) = bytes.split_at_checked(end).ok_or_else(cut)?;
        let is_end = checksum.starts_with(&[END, 0, 0, 0, 32]) && checksum.get(HEAD..) == Some(Sha256::digest(content).as_slice());
        if !is_end {
            return Err(cut());
        }
        let mut left = parts.get(..parts.len().saturating_sub(checksum.len())).ok_or_else(cut)?;
        let (mut manifest, mut records, mut files) = (None, Vec::new(), Vec::new());
        while !left.is_empty() {
            let (kind, part, rest) = part(left).ok_or_else(cut)?;
            left = rest;
            match kind {
                MANIFEST if manifest.is_none() => {
                    manifest = Some(serde_json::from_slice(part).map_err(|error| format!("its manifest cannot be read ({error})"))?)
                }
                RECORD => records.push(record(part).ok_or_else(|| {
                    "it holds a kind of record that this program does not know: run the newer program that made it".to_owned()
                })?),
                FILE => files.push(file(part).ok_or_else(|| "it holds a file that has no place in the state directory".to_owned())?),
                kind => return Err(format!("it holds a part of the kind {kind}, which has no meaning there")),
            }
        }
        Ok(Self { manifest: manifest.ok_or_else(|| "it has no manifest".to_owned())?, records, files })
    }

    /// The manifest of a backup of which the beginning was read. Nothing says that it is undamaged.
    #[must_use]
    pub fn peek(beginning: &[u8]) -> Option<Manifest> {
        match part(versioned(beginning).ok()?)? {
            (MANIFEST, content, _) => serde_json::from_slice(content).ok(),
            _ => None,
        }
    }

    /// How many records of each kind there are, by the names of the trees.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for record in &self.records {
            let count = counts.entry(record.tree.name()).or_insert(0_usize);
            *count = count.saturating_add(1);
        }
        counts
    }
}

/// What follows magic and version.
fn versioned(bytes: &[u8]) -> Result<&[u8], String> {
    let rest = bytes.strip_prefix(BACKUP_MAGIC).ok_or_else(|| "it is no backup of credgate".to_owned())?;
    let (version, rest) = rest.split_first_chunk().ok_or_else(|| "it was cut short".to_owned())?;
    match u32::from_be_bytes(*version) {
        VERSION => Ok(rest),
        other => Err(format!("it has version {other}, this program knows version {VERSION}: run the program that made it")),
    }
}

/// The kind and content of the first part, and what follows.
fn part(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= MAX_PART)?;
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*kind, content, rest))
}

fn named(part: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = part.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

fn record(part: &[u8]) -> Option<RawRecord> {
    let (name, rest) = named(part)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (key, value) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some(RawRecord { tree: Tree::of(name)?, key: key.to_vec(), value: value.to_vec() })
}

fn file(part: &[u8]) -> Option<BackupFile> {
    let (name, content) = named(part)?;
    is_placed(name).then(|| BackupFile { name: name.to_owned(), content: Zeroizing::new(content.to_vec()) })
}

/// Whether a name is that of a file below `keys` or `tls`, and leads nowhere else.
fn is_placed(name: &str) -> bool {
    let plain =
        |word: &str| !word.starts_with('.') && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    let words: Option<Vec<&str>> =
        Path::new(name).components().map(|component| if let Component::Normal(word) = component { word.to_str() } else { None }).collect();
    let words = words.unwrap_or_default();
    let has_place = matches!(words.as_slice(), ["keys" | "tls", _] | ["keys", "p256", _]);
    has_place && words.iter().all(|word| plain(word)) && words.join("/") == name
}

impl Registry {
    /// Every record as it is on disk at one moment, between two changes, in the form of a backup. `issuer` is for the manifest.
    ///
    /// # Errors
    /// If the disk cannot be read, or the registry has stopped.
    pub fn backup(&self, issuer: &str) -> Result<BackupWriter, RegistryError> {
        let issuer = issuer.to_owned();
        self.committer.look(move |store, trail| {
            let lineage = load::<Meta>(store)?.into_iter().next().map(|meta| meta.lineage).unwrap_or_default();
            let version = env!("CARGO_PKG_VERSION").to_owned();
            let manifest = Manifest { version, issuer, created_at: now(), lineage: lineage.to_string(), audit_seq: trail.last() };
            let mut writer = BackupWriter::begin(&manifest);
            for tree in Tree::ALL {
                for record in store.scan(*tree) {
                    let (key, value) = record?;
                    writer.record(*tree, &key, &value);
                }
            }
            Ok(writer)
        })?
    }
}

/// The records of a kind, read.
pub(super) fn records_of<R: Record>(path: &Path, records: &[RawRecord]) -> Result<Vec<R>, RegistryError> {
    let of_kind = records.iter().filter(|record| record.tree == R::TREE);
    of_kind.map(|record| super::records::decode(path, &record.key, &record.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_a_place_or_none() {
        for name in ["keys/rotation.json", "keys/kPrK_qm-x.sealed", "keys/p256/k.pem", "tls/ca.crt"] {
            assert!(is_placed(name), "{name}");
        }
        for name in [
            "",
            "keys",
            "/keys/x",
            "keys/../x",
            "keys//x",
            "keys/./x",
            "keys/.x",
            "registry/db",
            "keys/a/b",
            "tls/p256/x",
            "keys/a b",
            "keys/x/",
        ] {
            assert!(!is_placed(name), "{name}");
        }
    }

    #[test]
    fn hostile_lengths_cost_nothing() {
        for tail in [
            &b""[..],
            &[RECORD, 255, 255, 255, 255],
            &[RECORD, 0, 0, 0, 1, 255],
            &[9, 0, 0, 0, 0],
            &[RECORD, 0, 0, 0, 4, 1, b'x', 255, 255],
        ] {
            let manifest =
                Manifest { version: "1".into(), issuer: "i".into(), created_at: UnixTime::default(), lineage: String::new(), audit_seq: 0 };
            let mut writer = BackupWriter::begin(&manifest);
            writer.bytes.extend_from_slice(tail);
            let bytes = writer.finish();
            assert_eq!(Backup::read(&bytes).is_ok(), tail.is_empty(), "{tail:?}");
            assert_eq!(Backup::peek(&bytes), Some(manifest));
        }
        assert!(Backup::read(b"").is_err() && Backup::read(BACKUP_MAGIC).is_err() && Backup::peek(b"x").is_none());
    }
}
