//! The registry's own record, and the mark beside its files that says that there is one.
//!
//! A log that is damaged at its very beginning reads as one that holds nothing. So a file that no log touches tells which registry lies there: with it,
//! an empty log is a lost one.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::directory;
use super::error::RegistryError;
use super::records::{Record, Tree, stored};
use crate::clock::UnixTime;

/// The only record of its tree.
pub(super) const META_NAME: &str = "registry";
/// The file beside the log.
const MARK: &str = "lineage";

/// Which registry: a random number, new with each registry that is made and with each that takes the place of another, so that two with the same
/// one are the same at different times. All zeros for one from before there were such numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lineage([u8; 16]);

impl Lineage {
    pub(super) fn random() -> Result<Self, RegistryError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| RegistryError::NoRandomness { reason: error.to_string() })?;
        Ok(Self(bytes))
    }

    pub(super) fn is_known(self) -> bool {
        self != Self::default()
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        (text.len() == 32 && text.is_ascii()).then_some(())?;
        u128::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// How a registry took the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// By an operator's `credgate restore`.
    Restore,
    /// By the gateway itself, as the one before was damaged.
    FallBack,
}

/// That a registry took the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// How.
    pub origin: Origin,
    /// When.
    pub at: UnixTime,
    /// Of when its content is: what was changed between the two is not in it.
    pub as_of: UnixTime,
    /// Where in the state directory the one before was moved to; empty if there was none.
    pub set_aside: String,
}

/// The registry itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) created_at: UnixTime,
    pub(super) lineage: Lineage,
    pub(super) restored: Option<Restored>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetaV1 {
    created_at: UnixTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetaV2 {
    created_at: UnixTime,
    lineage: ByteArray<16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored: Option<Restored>,
}

impl Record for Meta {
    const TREE: Tree = Tree::Meta;
    const KIND: &'static str = "registry";
    const VERSION: u64 = 2;
    type Stored = MetaV2;

    fn name(&self) -> &str {
        META_NAME
    }

    fn to_stored(&self) -> MetaV2 {
        MetaV2 { created_at: self.created_at, lineage: ByteArray::new(self.lineage.0), restored: self.restored.clone() }
    }

    fn from_stored(name: &str, stored: MetaV2) -> Option<Self> {
        let MetaV2 { created_at, lineage, restored } = stored;
        (name == META_NAME).then_some(Self { created_at, lineage: Lineage(lineage.into_array()), restored })
    }

    /// Version 1 had no lineage.
    fn migrate(version: u64, value: &[u8]) -> Option<Result<MetaV2, serde_cbor::Error>> {
        let of_version_1 = |MetaV1 { created_at }| MetaV2 { created_at, lineage: ByteArray::new(Lineage::default().0), restored: None };
        (version == 1).then(|| stored(value).map(of_version_1))
    }
}

/// What the mark tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which registry lies there; one that is not known if the mark cannot be read.
    pub(super) lineage: Lineage,
    /// The last entry of its audit trail that was acknowledged: a log that ends before has lost its end.
    pub(super) audit_seq: u64,
}

#[derive(Serialize, Deserialize)]
struct MarkFile {
    lineage: String,
    #[serde(default)]
    audit_seq: u64,
}

/// The mark in a registry's directory; `None` if there is none.
pub(super) fn marked(registry: &Path) -> Result<Option<Mark>, RegistryError> {
    let path = registry.join(MARK);
    match fs::read(&path) {
        Ok(text) => {
            let read = |MarkFile { lineage, audit_seq }| Some(Mark { lineage: Lineage::parse(&lineage)?, audit_seq });
            Ok(Some(serde_json::from_slice(&text).ok().and_then(read).unwrap_or_default()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RegistryError::io("read", &path)(error)),
    }
}

/// Makes or replaces the mark, durably.
pub(super) fn mark(registry: &Path, mark: Mark) -> Result<(), RegistryError> {
    directory::write_private(registry, MARK, mark.text().as_bytes())
}

impl Mark {
    /// Always as long, so that it can be written over in one piece.
    fn text(self) -> String {
        let Self { lineage, audit_seq } = self;
        format!("{{\"lineage\":\"{lineage}\",\"audit_seq\":{audit_seq:>20}}}\n")
    }
}

/// Keeps the mark up with a registry that is open. The kernel writes it to the disk within half a minute; what a power cut takes of it is a warning
/// less, and a kill takes nothing.
#[derive(Debug, Default)]
pub(super) struct Marker {
    file: Option<File>,
    noted: Option<Mark>,
}

impl Marker {
    /// Notes how far the log goes; at the end so that it is on the disk.
    pub(super) fn note(&mut self, registry: &Path, mark: Mark, is_end: bool) -> Result<(), RegistryError> {
        let path = registry.join(MARK);
        let file = match &self.file {
            Some(file) => file,
            None => {
                if marked(registry)?.is_none() {
                    self::mark(registry, mark)?;
                }
                let opened = OpenOptions::new().write(true).open(&path).map_err(RegistryError::io("open", &path))?;
                self.file.insert(opened)
            }
        };
        let written = match self.noted == Some(mark) {
            true => Ok(()),
            false => file.write_all_at(mark.text().as_bytes(), 0),
        };
        written.and_then(|()| if is_end { file.sync_data() } else { Ok(()) }).map_err(RegistryError::io("write", &path))?;
        self.noted = Some(mark);
        Ok(())
    }
}
