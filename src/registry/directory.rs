//! Private directories, made so that they are still there after a power cut.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::error::RegistryError;

/// Makes the directory with mode 0700, or checks the one that is there.
///
/// # Errors
/// [`RegistryError::Permissions`] if others may enter it.
pub(super) fn prepare(directory: &Path) -> Result<(), RegistryError> {
    if !directory.exists() {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        created.and_then(|()| sync_parent(directory)).map_err(RegistryError::io("create", directory))?;
    }
    let mode = fs::metadata(directory).map_err(RegistryError::io("examine", directory))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RegistryError::Permissions { path: directory.to_owned(), mode, needed: 0o700 });
    }
    Ok(())
}

/// Makes the names in the directory durable.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes the name of a file or directory durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(parent.unwrap_or(Path::new(".")))
}

/// Removes a file that may be gone already.
pub(super) fn remove_file(path: &Path) -> Result<(), RegistryError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RegistryError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Writes a file of mode 0600 whole or not at all, and durably. For one writer at a time in a directory.
///
/// # Errors
/// [`RegistryError::Io`] with the path; the file is as it was before.
pub fn write_private(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), RegistryError> {
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
        .and_then(|()| sync(directory))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .map_err(RegistryError::io("write", &path))
}
