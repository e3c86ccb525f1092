//! Files that hold a secret and are named by a setting.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Bytes of the largest file that is read.
const MAX_SIZE: u64 = 1 << 20;

/// Mode bits that give a secret away: write for the group, read or write for everyone. A group may read, as systemd and containers
/// hand secrets over that way.
const EXPOSED: u32 = 0o026;

/// A file with a secret that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It cannot be read.
    #[error("{}: cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others than its owner and group can read it, or others than its owner can change it.
    #[error("{}: mode {mode:04o} lets others read or change a secret; run chmod 0600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is too large to be what it should be.
    #[error("{}: larger than {MAX_SIZE} bytes, so hardly the file that was meant", path.display())]
    Oversized {
        /// The file.
        path: PathBuf,
    },
}

impl PrivateFileError {
    /// A word for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "private_file_unreadable",
            Self::Exposed { .. } => "private_file_exposed",
            Self::Oversized { .. } => "private_file_oversized",
        }
    }
}

/// The content of a file with a secret.
///
/// # Errors
/// If it cannot be read, is larger than 1 MiB, or people other than its owner and group can get at it.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let unreadable = |error| PrivateFileError::Read { path: path.into(), error };
    let file = File::open(path).map_err(unreadable)?;
    // Of the open file, so that it cannot be exchanged between the check and the use.
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & EXPOSED != 0 {
        return Err(PrivateFileError::Exposed { path: path.into(), mode });
    }
    if metadata.len() > MAX_SIZE {
        return Err(PrivateFileError::Oversized { path: path.into() });
    }
    // Sized at once: a vector that grows leaves copies behind that are not wiped.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1)));
    file.take(MAX_SIZE).read_to_end(&mut content).map_err(unreadable)?;
    Ok(content)
}
