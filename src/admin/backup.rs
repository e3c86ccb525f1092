//! Backups through the control socket: made at one moment, kept in memory, and handed out in parts that fit a frame.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::administrator::{invalid, random};
use super::{AdminError, AdminErrorCode, Administrator, Answer, Caller};
use crate::registry::{PlainKeys, backup_files};

/// Bytes of a part.
const PART: usize = 393_216;
/// How long one is kept whose parts nobody asks for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What can be asked about backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BackupCommand {
    /// Makes one, of the registry alone if nothing is said of keys.
    Begin {
        /// For what: `backup` or `export`, for log and audit trail.
        purpose: BackupPurpose,
        /// Whether signing keys and the certificates that `credgate init` made are in it, and what becomes of keys that are not sealed.
        keys: Option<PlainKeys>,
    },
    /// Asks for a part of it.
    Read {
        /// Which backup.
        id: u64,
        /// Where the part begins.
        offset: usize,
    },
}

/// What a backup is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupPurpose {
    /// To be kept.
    Backup,
    /// To be read.
    Export,
}

/// Answers to a [`BackupCommand`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupAnswer {
    /// It was made.
    Begun {
        /// Names it in [`BackupCommand::Read`].
        id: u64,
        /// Its bytes.
        size: usize,
    },
    /// A part of it.
    Part(BackupPart),
}

/// Bytes of a backup: base64 in a document, zeroised when dropped, never shown by `Debug`.
pub struct BackupPart(Zeroizing<Vec<u8>>);

impl BackupPart {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for BackupPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupPart(redacted)")
    }
}

impl Serialize for BackupPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for BackupPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        STANDARD.decode(&*text).map(|bytes| Self(Zeroizing::new(bytes))).map_err(serde::de::Error::custom)
    }
}

/// The backup that is being handed out; there is one at a time, so that memory is bounded.
#[derive(Clone, Default)]
pub(super) struct Backups {
    held: Arc<Mutex<Option<Held>>>,
    /// The certificates that `credgate init` made.
    pub(super) tls_directory: Option<PathBuf>,
}

struct Held {
    id: u64,
    bytes: Zeroizing<Vec<u8>>,
    asked: Instant,
}

impl Backups {
    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets one that nobody asks for any more.
    pub(super) fn tidy(&self) {
        let mut held = self.lock();
        if held.as_ref().is_some_and(|held| held.asked.elapsed() > PATIENCE) {
            *held = None;
        }
    }

    fn read(&self, id: u64, offset: usize) -> Result<BackupPart, AdminError> {
        let mut held = self.lock();
        let gone = || {
            AdminError::new(AdminErrorCode::NotFound, "that backup is not kept any more: its parts were not asked for in time")
                .with_advice("begin again")
        };
        let backup = held.as_mut().filter(|backup| backup.id == id).ok_or_else(gone)?;
        let rest =
            backup.bytes.get(offset..).filter(|rest| !rest.is_empty()).ok_or_else(|| invalid("there is no such part of the backup"))?;
        let part = BackupPart(Zeroizing::new(rest.get(..PART).unwrap_or(rest).to_vec()));
        backup.asked = Instant::now();
        if part.0.len() == rest.len() {
            *held = None;
        }
        Ok(part)
    }
}

impl Administrator {
    /// The same with the directory of the certificates that `credgate init` made, for backups.
    #[must_use]
    pub fn backing_up(mut self, tls_directory: PathBuf) -> Self {
        self.backups.tls_directory = Some(tls_directory);
        self
    }

    pub(super) fn backup(&self, caller: Caller, command: BackupCommand) -> Result<Answer, AdminError> {
        match command {
            BackupCommand::Begin { purpose, keys } => {
                let (operation, what) = match purpose {
                    BackupPurpose::Backup => ("backup", "registry and keys"),
                    BackupPurpose::Export => ("export", "registry"),
                };
                self.begin_audit(operation, what, caller);
                let outcome = may_have(keys, caller).and_then(|()| self.begin_backup(keys));
                let told = outcome.as_ref().err().map_or("done", AdminError::code);
                tracing::info!(operation, outcome = told, uid = caller.uid, "operator's command");
                self.end_audit(outcome)
            }
            BackupCommand::Read { id, offset } => Ok(Answer::Backup(BackupAnswer::Part(self.backups.read(id, offset)?))),
        }
    }

    fn begin_backup(&self, keys: Option<PlainKeys>) -> Result<Answer, AdminError> {
        let busy = || {
            AdminError::new(AdminErrorCode::Busy, "another backup is being made at this moment")
                .with_advice("try again when it is done; one that was broken off is forgotten after a minute")
        };
        if self.backups.lock().is_some() {
            return Err(busy());
        }
        let mut writer = self.registry.backup(&self.issuer())?;
        if let Some(plain) = keys {
            let mut files = self.keys.backup(plain)?;
            if let Some(directory) = &self.backups.tls_directory {
                files.extend(backup_files(directory, "tls", plain, |name| name.ends_with(".key"))?);
            }
            writer = writer.with_files(&files);
        }
        let bytes = writer.finish();
        let mut id = [0; 4];
        random(&mut id)?;
        let (id, size) = (u64::from(u32::from_be_bytes(id)), bytes.len());
        let mut held = self.backups.lock();
        if held.is_some() {
            return Err(busy());
        }
        *held = Some(Held { id, bytes, asked: Instant::now() });
        Ok(Answer::Backup(BackupAnswer::Begun { id, size }))
    }
}

/// A member of the group administers the gateway for as long as it is one; whoever has a signing key has it for good.
fn may_have(keys: Option<PlainKeys>, caller: Caller) -> Result<(), AdminError> {
    if keys != Some(PlainKeys::Include) || caller.uid == 0 || caller.uid == Caller::this_process().uid {
        return Ok(());
    }
    Err(AdminError::new(AdminErrorCode::NotPermitted, "only root and the gateway's own user get keys that are not sealed")
        .with_advice("run the command with sudo, or leave such keys out with --without-keys"))
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::super::administrator::tests::bench;
    use super::*;

    fn begin(keys: Option<PlainKeys>) -> Command {
        Command::Backup(BackupCommand::Begin { purpose: BackupPurpose::Backup, keys })
    }

    #[test]
    fn deny_plain_keys_to_members_of_the_group() {
        let bench = bench();
        let member = Caller::of_user(Caller::this_process().uid.wrapping_add(12_345));
        let refused = bench.administrator.execute_for(member, begin(Some(PlainKeys::Include))).unwrap_err();
        assert_eq!(refused.code, AdminErrorCode::NotPermitted);
        assert!(bench.administrator.execute_for(member, begin(Some(PlainKeys::Omit))).is_ok());
    }

    #[test]
    fn one_is_made_at_a_time_and_forgotten_when_all_of_it_was_read() {
        let bench = bench();
        let Ok(Answer::Backup(BackupAnswer::Begun { id, size })) = bench.administrator.execute(begin(None)) else { panic!("not begun") };
        assert_eq!(bench.administrator.execute(begin(None)).unwrap_err().code, AdminErrorCode::Busy);
        let read = |id, offset| bench.administrator.execute(Command::Backup(BackupCommand::Read { id, offset }));
        assert_eq!(read(id.wrapping_add(1), 0).unwrap_err().code, AdminErrorCode::NotFound);
        assert_eq!(read(id, size).unwrap_err().code, AdminErrorCode::InvalidArgument);
        assert_eq!(read(id, usize::MAX).unwrap_err().code, AdminErrorCode::InvalidArgument);
        let Ok(Answer::Backup(BackupAnswer::Part(part))) = read(id, 0) else { panic!("no part") };
        assert_eq!(part.bytes().len(), size);
        assert_eq!(format!("{part:?}"), "BackupPart(redacted)");
        assert_eq!(read(id, 0).unwrap_err().code, AdminErrorCode::NotFound, "it is forgotten");
        assert!(bench.administrator.execute(begin(None)).is_ok());
    }
}
