//! The file of a unix socket: made with care, and gone with the daemon.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A unix socket's file; removed when dropped, unless another daemon has put its own there.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`, with mode 0660, without blocking. Makes the last directory of it if need be (0750) and replaces the socket of a daemon
    /// that is gone.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`] if a daemon listens there, [`ErrorKind::AlreadyExists`] if the path is no socket, and what the system reports.
    pub fn bind(path: &Path) -> io::Result<(UnixListener, Self)> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.exists()) {
            std::fs::DirBuilder::new().mode(0o750).create(directory)?;
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        listener.set_nonblocking(true)?;
        let metadata = std::fs::symlink_metadata(path)?;
        Ok((listener, Self { path: path.to_path_buf(), identity: (metadata.dev(), metadata.ino()) }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket of a daemon that is gone; refuses to touch anything else.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "something that is not a socket is there"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another credgate is running")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}
