//! Space held back so that the registry can be opened on a full disk: sled writes a snapshot whenever it opens.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const CHUNK: usize = 64 * 1_024;
const SIZE: u64 = 4 << 20;

/// A file of 4 MiB that is worth nothing.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    held: bool,
}

impl Ballast {
    /// The ballast of that directory, which may hold it or not.
    pub(super) fn of(directory: &Path) -> Self {
        Self { path: directory.join("ballast"), held: false }
    }

    /// Takes the space if it is not held, or as much of it as there is.
    ///
    /// # Errors
    /// Of the file system, `StorageFull` above all.
    pub(super) fn hold(&mut self) -> io::Result<()> {
        if !self.held {
            self.fill()?;
            self.held = true;
        }
        Ok(())
    }

    fn fill(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        let found = file.metadata()?;
        let mut length = found.len();
        // A sparse file, as some copying makes, holds no space.
        if found.blocks().saturating_mul(512) < length || length > SIZE {
            file.set_len(0)?;
            length = 0;
        }
        let chunk = vec![0; CHUNK];
        while length < SIZE {
            let room = usize::try_from(SIZE.saturating_sub(length)).unwrap_or(CHUNK).min(CHUNK);
            let written = file.write(chunk.get(..room).unwrap_or(&chunk))?;
            length = length.saturating_add(u64::try_from(written).unwrap_or(0));
            if length == SIZE {
                // Some file systems find out only now that there is no room.
                file.sync_all()?;
            }
        }
        Ok(())
    }

    /// Gives the space back; `false` if there was none to give.
    pub(super) fn release(&mut self) -> bool {
        self.held = false;
        fs::remove_file(&self.path).is_ok()
    }
}
