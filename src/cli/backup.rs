//! `credgate backup`: registry and keys of one moment in one file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Serialize;

use super::connect::Gateway;
use super::error::unexpected;
use super::output::Output;
use super::progress::Progress;
use super::table::fields;
use super::{CliError, Exit, new_file};
use crate::admin::{Answer, BackupAnswer, BackupCommand, BackupPurpose, Command};
use crate::age::{Encryptor, Recipient, encrypt, recipients};
use crate::clock::UnixTime;
use crate::registry::{Backup, PlainKeys};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The new file; none is overwritten
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Encrypt it to this recipient, a public key that age-keygen made; may be repeated
    #[arg(long = "recipient", short = 'r', value_name = "AGE1..")]
    recipients: Vec<Recipient>,
    /// Encrypt it to the recipients of this file, one a line; may be repeated
    #[arg(long = "recipients-file", short = 'R', value_name = "FILE")]
    recipient_files: Vec<PathBuf>,
    /// Leave out keys that are not sealed, and certificates
    #[arg(long, conflicts_with = "plain_keys")]
    without_keys: bool,
    /// Have keys in it that are not sealed, though it is not encrypted: whoever reads it can sign tokens
    #[arg(long)]
    plain_keys: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    file: &'a Path,
    bytes: u64,
    created_at: UnixTime,
    issuer: String,
    encrypted: bool,
    recipients: usize,
}

pub(super) fn run(args: Args, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let mut keys = args.recipients;
    for path in &args.recipient_files {
        let text = fs::read_to_string(path).map_err(|error| {
            CliError::new(Exit::NoInput, "recipients_file", format!("the recipients in {} cannot be read", path.display())).because(&error)
        })?;
        keys.extend(
            recipients(&text).map_err(|error| CliError::new(Exit::Data, "recipients_file", format!("{}: {error}", path.display())))?,
        );
    }
    let plain = match (args.without_keys, args.plain_keys || !keys.is_empty()) {
        (true, _) => PlainKeys::Omit,
        (false, true) => PlainKeys::Include,
        (false, false) => PlainKeys::Refuse,
    };
    let (made, bytes) = create(&args.file, |file| write(file, &keys, plain, gateway))?;
    let manifest = made.ok_or_else(|| CliError::new(Exit::Software, "unexpected_answer", "the gateway sent a backup that is none"))?;
    let made = Made {
        file: &args.file,
        bytes,
        created_at: manifest.created_at,
        issuer: manifest.issuer,
        encrypted: !keys.is_empty(),
        recipients: keys.len(),
    };
    output.print(&made, || {
        let encrypted = if made.encrypted { format!("to {} recipients", made.recipients) } else { "no".to_owned() };
        fields(&[
            ("Backup", made.file.display().to_string()),
            ("As of", made.created_at.to_string()),
            ("Bytes", made.bytes.to_string()),
            ("Encrypted", encrypted),
        ])
    })
}

/// Where the bytes of a backup go.
enum Sink<'a> {
    Plain(&'a mut File),
    Encrypted(Box<Encryptor<&'a mut File>>),
}

fn write(
    file: &mut File,
    keys: &[Recipient],
    plain: PlainKeys,
    gateway: &mut Gateway,
) -> Result<Option<crate::registry::Manifest>, CliError> {
    let failed = |error: io::Error| CliError::new(Exit::Io, "io", "the backup cannot be written").because(&error);
    let mut sink = if keys.is_empty() { Sink::Plain(file) } else { Sink::Encrypted(Box::new(encrypt(keys, file).map_err(failed)?)) };
    let mut manifest = None;
    fetch(gateway, BackupPurpose::Backup, Some(plain), |part| {
        manifest = manifest.take().or_else(|| Backup::peek(part));
        match &mut sink {
            Sink::Plain(file) => file.write_all(part),
            Sink::Encrypted(encryptor) => encryptor.write_all(part),
        }
        .map_err(failed)
    })?;
    if let Sink::Encrypted(encryptor) = sink {
        encryptor.finish().map_err(failed)?;
    }
    Ok(manifest)
}

/// Has a backup made and takes all of its parts.
pub(super) fn fetch(
    gateway: &mut Gateway,
    purpose: BackupPurpose,
    keys: Option<PlainKeys>,
    mut take: impl FnMut(&[u8]) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let progress = Progress::new(true);
    progress.phase("making the backup", 0);
    let (id, size) = match gateway.execute(Command::Backup(BackupCommand::Begin { purpose, keys })) {
        Ok(Answer::Backup(BackupAnswer::Begun { id, size })) => (id, size),
        Ok(other) => return Err(unexpected(&other)),
        Err(error) if error.to_string().contains("not sealed") => {
            return Err(error.with_help(
                "encrypt the backup with --recipient, or leave such keys out with --without-keys; --plain-keys has them in it all the same",
            ));
        }
        Err(error) => return Err(error),
    };
    progress.phase("receiving", size);
    let mut offset = 0_usize;
    while offset < size {
        let part = match gateway.execute(Command::Backup(BackupCommand::Read { id, offset }))? {
            Answer::Backup(BackupAnswer::Part(part)) if !part.bytes().is_empty() => part,
            other => return Err(unexpected(&other)),
        };
        take(part.bytes())?;
        offset = offset.saturating_add(part.bytes().len());
        progress.set(offset);
    }
    Ok(())
}

/// Makes a new file of mode 0600, whole or not at all and on the disk; what `write` returns, and its bytes.
fn create<T>(path: &Path, write: impl FnOnce(&mut File) -> Result<T, CliError>) -> Result<(T, u64), CliError> {
    let cannot =
        |error: &io::Error, help: &str| new_file::cannot_create(&format!("the backup {} cannot be created", path.display()), error, help);
    if fs::symlink_metadata(path).is_ok() {
        return Err(cannot(&io::ErrorKind::AlreadyExists.into(), new_file::SPARED));
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let left = format!("{} is left of a backup that was broken off: remove it", temporary.display());
    let mut file = new_file::open(&temporary).map_err(|error| cannot(&error, &left))?;
    let outcome = write(&mut file).and_then(|value| {
        let failed =
            |error: io::Error| CliError::new(Exit::Io, "io", format!("the backup {} cannot be written", path.display())).because(&error);
        file.sync_all().map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        place(&temporary, path).map_err(|error| cannot(&error, new_file::SPARED))?;
        new_file::sync_directory(path).map_err(failed)?;
        Ok((value, bytes))
    });
    outcome.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Gives a file its name unless that is taken.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot do both at once.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if fs::symlink_metadata(to).is_err() => fs::rename(from, to),
        outcome => Ok(outcome?),
    }
}
