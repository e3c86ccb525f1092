//! New files for what must reach the disk whole, such as a secret that is shown once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{CliError, Exit};

/// Writes a new file of mode 0600, to the disk. `what` it is reads as "the key file"; `spared` says why no file is overwritten.
pub(super) fn write(what: &str, path: &Path, content: &[u8], spared: &'static str) -> Result<(), CliError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let told = CliError::new(Exit::CannotCreate, "cannot_create", format!("{what} {} cannot be created", path.display()));
        let exists = error.kind() == io::ErrorKind::AlreadyExists;
        let told = told.because(&error);
        if exists { told.with_help(spared) } else { told }
    })?;
    let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| sync_directory(path));
    written.map_err(|error| {
        // Half of it is of no use.
        let _ = std::fs::remove_file(path);
        CliError::new(Exit::Io, "io", format!("{what} {} cannot be written", path.display())).because(&error)
    })
}

/// Puts a file in the place of another, on the disk too.
pub(super) fn replace(path: &Path, by: &Path) -> io::Result<()> {
    std::fs::rename(by, path)?;
    sync_directory(path)
}

fn sync_directory(of: &Path) -> io::Result<()> {
    let parent = of.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all())
}
