//! What can go wrong with the registry and the keys, told to an operator.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clients::RotationError;
use crate::enrolment::EnrolmentError;

/// What Linux says when a disk cannot read what it holds.
const EIO: i32 = 5;

/// A failure of the registry or of the signing keys.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// Another process has the registry open.
    #[error(
        "the registry {} is in use by another process: use the control socket of the gateway that runs, or stop it first",
        path.display()
    )]
    Locked {
        /// The registry's directory.
        path: PathBuf,
    },
    /// The name is taken.
    #[error("{kind} {id} exists already")]
    AlreadyExists {
        /// Of what.
        kind: &'static str,
        /// The name.
        id: String,
    },
    /// There is nothing of that name.
    #[error("there is no {kind} {id}")]
    NotFound {
        /// Of what.
        kind: &'static str,
        /// The name.
        id: String,
    },
    /// The record breaks a rule.
    #[error("{kind} {id}: {reason}")]
    Invalid {
        /// Of what.
        kind: &'static str,
        /// The name.
        id: String,
        /// The rule.
        reason: Cow<'static, str>,
    },
    /// A record is not as it was when the change was planned.
    #[error("{kind} {id} has changed meanwhile; nothing was changed")]
    ChangedMeanwhile {
        /// Of what.
        kind: &'static str,
        /// The name.
        id: String,
    },
    /// The credentials of a client are not rotated.
    #[error("client {id}: {error}")]
    NotRotated {
        /// The client.
        id: String,
        /// Why.
        error: RotationError,
    },
    /// A device may not register by an enrolment.
    #[error("enrolment {enrolment}: {error}")]
    NotEnrolled {
        /// The enrolment.
        enrolment: String,
        /// Why.
        error: EnrolmentError,
    },
    /// The operating system gave no random bytes.
    #[error("the system gave no random bytes: {reason}")]
    NoRandomness {
        /// What it said.
        reason: String,
    },
    /// A record was written by a later version of the gateway.
    #[error(
        "{}: {tree} {key:?} has version {version}, this program knows versions up to {known}: run the newer program that wrote it",
        path.display()
    )]
    NewerVersion {
        /// The registry's directory.
        path: PathBuf,
        /// The tree the record is in.
        tree: &'static str,
        /// The record's key.
        key: String,
        /// Its version.
        version: u64,
        /// The latest that is known.
        known: u64,
    },
    /// A record does not have the form of its version.
    #[error("{}: {tree} {key:?} cannot be read ({reason}): restore the directory from a backup", path.display())]
    Malformed {
        /// The registry's directory.
        path: PathBuf,
        /// The tree the record is in.
        tree: &'static str,
        /// The record's key.
        key: String,
        /// What was found instead.
        reason: String,
    },
    /// The files are damaged.
    #[error(
        "the registry {} is damaged: check the disk; `credgate serve` goes back to its newest snapshot by itself if there is one, else \
         `credgate restore` a backup",
        path.display()
    )]
    Corrupt {
        /// The registry's directory.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Arc<io::Error>,
    },
    /// There is no room left.
    #[error("no space is left for the registry {}: free at least 8 MiB there; what it held before is unchanged", path.display())]
    DiskFull {
        /// The registry's directory.
        path: PathBuf,
    },
    /// A change was not made durable and is not in force.
    #[error("the change could not be written to {}; it is not in force", path.display())]
    Write {
        /// The registry's directory.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: Arc<io::Error>,
    },
    /// No more changes are taken because what reached the disk is uncertain.
    #[error(
        "the registry {} takes no more changes since one could not be made durable: check the disk, then restart the gateway and repeat the change",
        path.display()
    )]
    Stopped {
        /// The registry's directory.
        path: PathBuf,
    },
    /// A file or directory is open to others.
    #[error("{} has mode {mode:04o}, which lets others in: chmod {needed:o} {}", path.display(), path.display())]
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode to give it.
        needed: u32,
    },
    /// A key file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The master key of sealed keys is missing, or is not one, or is another.
    #[error("{reason}")]
    MasterKey {
        /// What is wrong and what to do.
        reason: String,
    },
    /// A backup cannot be used.
    #[error("the backup {} cannot be used: {reason}", path.display())]
    BadBackup {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl RegistryError {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "locked",
            Self::AlreadyExists { .. } => "already_exists",
            Self::NotFound { .. } => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::ChangedMeanwhile { .. } => "changed_meanwhile",
            Self::NotRotated { .. } => "not_rotated",
            Self::NotEnrolled { .. } => "not_enrolled",
            Self::NoRandomness { .. } => "no_randomness",
            Self::NewerVersion { .. } => "newer_version",
            Self::Malformed { .. } => "malformed_record",
            Self::Corrupt { .. } => "corrupt",
            Self::DiskFull { .. } => "disk_full",
            Self::Write { .. } => "write_failed",
            Self::Stopped { .. } => "stopped",
            Self::Permissions { .. } => "permissions",
            Self::Key { .. } => "bad_key_file",
            Self::MasterKey { .. } => "master_key",
            Self::BadBackup { .. } => "bad_backup",
            Self::Io { .. } => "io",
        }
    }

    /// Whether it tells of damaged files, rather than of what an operator can put right.
    pub(super) fn is_damage(&self) -> bool {
        use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        match self {
            Self::Corrupt { .. } => true,
            Self::Io { action: "open the registry", source, .. } => {
                matches!(source.kind(), InvalidData | InvalidInput | Other | UnexpectedEof) || source.raw_os_error() == Some(EIO)
            }
            _ => false,
        }
    }

    /// For `map_err`: the failure of `action` on `path`.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }
}
