//! The directory a demo lives in.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::cli::{CliError, Exit};

/// A directory of mode 0700. If the demo made up its name, it is removed when dropped.
pub(super) struct Place {
    directory: PathBuf,
    temporary: bool,
}

impl Place {
    /// Makes `directory`, or takes it if it is empty: never one in use. `None` makes a temporary one.
    pub(super) fn open(directory: Option<&Path>) -> Result<Self, CliError> {
        let fault = |path: &Path, error: io::Error| {
            CliError::new(Exit::CannotCreate, "demo", format!("{}: cannot be used as the state directory", path.display())).because(&error)
        };
        let Some(wish) = directory else {
            let random = getrandom::u64()
                .map_err(|error| CliError::new(Exit::CannotCreate, "demo", "the operating system gives no random bytes").because(&error))?;
            let directory = std::env::temp_dir().join(format!("credgate-demo-{random:016x}"));
            // Not recursive: it must not be there yet, as anybody may make directories beside it.
            DirBuilder::new().mode(0o700).create(&directory).map_err(|error| fault(&directory, error))?;
            return Ok(Self { directory, temporary: true });
        };
        let directory = std::path::absolute(wish).map_err(|error| fault(wish, error))?;
        DirBuilder::new().mode(0o700).recursive(true).create(&directory).map_err(|error| fault(&directory, error))?;
        if std::fs::read_dir(&directory).map_err(|error| fault(&directory, error))?.next().is_some() {
            return Err(CliError::new(
                Exit::CannotCreate,
                "demo",
                format!("{}: is not empty, and the demo touches no other state", directory.display()),
            )
            .with_help("name a directory that is new or empty, or leave --state-directory out"));
        }
        Ok(Self { directory, temporary: false })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What becomes of it.
    pub(super) fn fate(&self) -> &'static str {
        if self.temporary { "removed at the end" } else { "kept" }
    }

    /// Writes a new file of mode 0600.
    pub(super) fn write_private(&self, name: &str, content: &[u8]) -> Result<PathBuf, CliError> {
        let path = self.path(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content))
            .map_err(|error| CliError::new(Exit::CannotCreate, "demo", format!("{}: cannot be written", path.display())).because(&error))?;
        Ok(path)
    }

    /// Removes the directory if it is a temporary one.
    pub(super) fn close(mut self) -> Result<(), CliError> {
        if !std::mem::take(&mut self.temporary) {
            return Ok(());
        }
        std::fs::remove_dir_all(&self.directory).map_err(|error| {
            CliError::new(Exit::CannotCreate, "demo", format!("{}: cannot be removed", self.directory.display())).because(&error)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            // The demo has failed already and says why.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_temporary_place_is_private_and_goes() {
        let place = Place::open(None).unwrap();
        let directory = place.directory().to_owned();
        assert_eq!(mode(&directory), 0o700);
        let file = place.write_private("x.secret", b"s").unwrap();
        assert_eq!(mode(&file), 0o600);
        assert!(place.write_private("x.secret", b"s").is_err(), "never replaces a file");
        place.close().unwrap();
        assert!(!directory.exists());

        let place = Place::open(None).unwrap();
        let directory = place.directory().to_owned();
        drop(place);
        assert!(!directory.exists(), "also after a failure");
    }

    #[test]
    fn a_named_place_stays_and_must_be_empty() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        let place = Place::open(Some(&directory)).unwrap();
        assert_eq!(mode(&directory), 0o700);
        place.write_private("x", b"").unwrap();
        place.close().unwrap();
        assert!(directory.join("x").exists());
        assert!(Place::open(Some(&directory)).is_err());
        assert!(directory.join("x").exists());
    }
}
