//! New files for what must reach the disk whole, such as a secret that is shown once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{CliError, Exit};

/// Why no file is overwritten, of one that holds no secret.
pub(super) const SPARED: &str = "no file is overwritten: name a new one, or remove the old one first";

/// Makes a new file of mode 0600. `what` it is reads as "the key file"; `spared` says why no file is overwritten.
pub(super) fn create(what: &str, path: &Path, spared: &str) -> Result<File, CliError> {
    open(path).map_err(|error| cannot_create(&format!("{what} {} cannot be created", path.display()), &error, spared))
}

/// Opens a new file of mode 0600.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// That a file cannot be made, which `told` says; `spared` is for one that there is already.
pub(super) fn cannot_create(told: &str, error: &io::Error, spared: &str) -> CliError {
    let told = CliError::new(Exit::CannotCreate, "cannot_create", told).because(error);
    if error.kind() == io::ErrorKind::AlreadyExists { told.with_help(spared) } else { told }
}

/// Writes a new file of mode 0600, to the disk. `what` it is reads as "the key file"; `spared` says why no file is overwritten.
pub(super) fn write(what: &str, path: &Path, content: &[u8], spared: &str) -> Result<(), CliError> {
    let mut file = create(what, path, spared)?;
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

/// Makes the name of a file durable.
pub(super) fn sync_directory(of: &Path) -> io::Result<()> {
    let parent = of.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all())
}
