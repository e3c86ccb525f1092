//! The file of a unix socket: made with care, and gone with the daemon.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Who may connect to a unix socket besides root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The daemon's own user: mode 0600.
    Owner,
    /// Members of the daemon's own group, too: mode 0660.
    OwnGroup,
    /// Members of the group with this id, too: mode 0660.
    Group(u32),
}

/// A unix socket's file; removed when dropped, unless another daemon has put its own there.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`, without blocking, for that audience and never for anybody else. Makes the last directory of it if need be (0750, of the
    /// same group) and replaces the socket of a daemon that is gone.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`] if a daemon listens there, [`ErrorKind::AlreadyExists`] if the path is no socket, and what the system reports:
    /// [`ErrorKind::PermissionDenied`] if this process may not give the file to the group.
    pub fn bind(path: &Path, audience: Audience) -> io::Result<(UnixListener, Self)> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.exists()) {
            std::fs::DirBuilder::new().mode(0o750).create(directory)?;
            audience.take(directory)?;
        }
        remove_stale(path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        let metadata = std::fs::symlink_metadata(path)?;
        let file = Self { path: path.to_path_buf(), identity: (metadata.dev(), metadata.ino()) };
        audience.take(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(audience.mode()))?;
        // Only now can anybody connect.
        listen(&socket, BACKLOG)?;
        let listener = UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok((listener, file))
    }

    /// Whether the file is as it was made for members of that group: then the system lets nobody connect but them, its owner and root.
    #[must_use]
    pub fn is_closed_to_all_but(&self, group: u32) -> bool {
        std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity && found.gid() == group && found.mode() & 0o007 == 0)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Audience {
    const fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::OwnGroup | Self::Group(_) => 0o660,
        }
    }

    /// Gives a file to the group, if it is of another. A hardened unit may not even ask for what is so already.
    fn take(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Group(group) if std::fs::symlink_metadata(path)?.gid() != group => chown(path, None, Some(group)),
            Self::Group(_) | Self::Owner | Self::OwnGroup => Ok(()),
        }
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
