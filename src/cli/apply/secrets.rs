//! Where generated secrets go: to one file, or to one for each client; never to a terminal. They are on the disk before anybody is registered by
//! them, and gone again if nobody is.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::{CliError, Exit, new_file};
use crate::clients::{ClientSecret, SecretDigest};
use crate::clock::UnixTime;
use crate::oauth::{ClientId, Secret};

/// Bytes that are written at once.
const BUFFER: usize = 65_536;

#[derive(Debug, clap::Args)]
pub(super) struct SecretsArgs {
    /// Write generated secrets to this new file (mode 0600), a client a line: JSON, or CSV if its name ends in .csv
    #[arg(long, value_name = "FILE", conflicts_with = "secrets_directory")]
    secrets_file: Option<PathBuf>,
    /// Write each generated secret to a new file ID.secret (mode 0600, no line break) in this directory, which is made if it is not there
    #[arg(long, value_name = "DIRECTORY")]
    secrets_directory: Option<PathBuf>,
}

impl SecretsArgs {
    /// Where they are, for people.
    pub(super) fn told(&self) -> String {
        self.secrets_file.as_ref().or(self.secrets_directory.as_ref()).map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Makes room for so many secrets.
    pub(super) fn create(&self, count: usize) -> Result<Kept, CliError> {
        let buffer = Zeroizing::new(Vec::with_capacity(BUFFER));
        match (&self.secrets_file, &self.secrets_directory) {
            (Some(path), _) => {
                let file = new_file::open(path).map_err(|error| cannot_create(path, &error))?;
                let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
                let mut kept = Kept { place: Place::File { file, path: path.clone(), is_csv }, buffer, is_wanted: false };
                if is_csv {
                    kept.buffer.extend_from_slice(b"client_id,client_secret\n");
                }
                Ok(kept)
            }
            (None, Some(path)) => {
                let is_new = prepare(path)?;
                Ok(Kept { place: Place::Directory { path: path.clone(), is_new, made: Vec::new() }, buffer, is_wanted: false })
            }
            (None, None) => {
                let clients =
                    if count == 1 { "a client needs a new secret".to_owned() } else { format!("{count} clients need new secrets") };
                Err(CliError::new(Exit::Usage, "no_secrets_file", format!("{clients}, and nothing says where to; nothing was changed"))
                    .with_help("name a new file with --secrets-file, or a directory with --secrets-directory"))
            }
        }
    }
}

/// Makes the directory, or checks that nobody else can look into it.
fn prepare(path: &Path) -> Result<bool, CliError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(cannot_create(path, &error)),
    }
    let found = fs::metadata(path).map_err(|error| cannot_create(path, &error))?;
    let mode = found.permissions().mode() & 0o7777;
    if !found.is_dir() || mode & 0o077 != 0 {
        let told = format!("{} is no directory that others are kept out of (mode {mode:04o})", path.display());
        return Err(CliError::new(Exit::CannotCreate, "cannot_create", told).with_help("name another, or chmod 700 it"));
    }
    Ok(false)
}

fn cannot_create(path: &Path, error: &io::Error) -> CliError {
    let spared = "no file is overwritten with secrets: name a new one, or remove the old one first";
    new_file::cannot_create(&format!("{} cannot be created; nothing was changed", path.display()), error, spared)
}

/// Secrets on their way to the disk. They are removed again unless they are wanted.
pub(super) struct Kept {
    place: Place,
    buffer: Zeroizing<Vec<u8>>,
    is_wanted: bool,
}

enum Place {
    File { file: File, path: PathBuf, is_csv: bool },
    Directory { path: PathBuf, is_new: bool, made: Vec<ClientId> },
}

impl Kept {
    /// Makes a secret and writes it down; its digest.
    pub(super) fn make(&mut self, client_id: &ClientId) -> Result<SecretDigest, CliError> {
        let mut entropy = Zeroizing::new([0; 32]);
        getrandom::fill(entropy.as_mut_slice())
            .map_err(|error| CliError::new(Exit::Software, "no_randomness", format!("the system gave no random bytes: {error}")))?;
        let (record, secret) = ClientSecret::generate(&entropy, UnixTime::from_secs(0));
        match &mut self.place {
            Place::File { is_csv, .. } => {
                let [before, between, after]: [&[u8]; 3] =
                    if *is_csv { [b"", b",", b"\n"] } else { [b"{\"client_id\":\"", b"\",\"client_secret\":\"", b"\"}\n"] };
                // Neither needs quoting: both are base64url or a word of the same letters.
                for part in [before, client_id.as_str().as_bytes(), between, secret.expose(), after] {
                    self.buffer.extend_from_slice(part);
                }
                if self.buffer.len() > BUFFER.saturating_sub(512) {
                    self.flush()?;
                }
            }
            Place::Directory { path, made, .. } => {
                let file = secret_path(path, client_id);
                let written = write_secret(&file, &secret);
                if let Err(error) = written {
                    return Err(if error.kind() == ErrorKind::AlreadyExists {
                        cannot_create(&file, &error)
                    } else {
                        unwritten(&file, &error)
                    });
                }
                made.push(client_id.clone());
            }
        }
        Ok(record.digest)
    }

    fn flush(&mut self) -> Result<(), CliError> {
        if let Place::File { file, path, .. } = &mut self.place {
            file.write_all(&self.buffer).map_err(|error| unwritten(path, &error))?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Has all of them on the disk.
    pub(super) fn sync(&mut self) -> Result<(), CliError> {
        self.flush()?;
        match &self.place {
            Place::File { file, path, .. } => {
                file.sync_all().and_then(|()| new_file::sync_directory(path)).map_err(|error| unwritten(path, &error))
            }
            // One by one would take a moment for each.
            Place::Directory { path, .. } => File::open(path)
                .and_then(|directory| Ok(rustix::fs::syncfs(directory)?))
                .and_then(|()| new_file::sync_directory(path))
                .map_err(|error| unwritten(path, &error)),
        }
    }

    /// Somebody is registered by them.
    pub(super) fn keep(mut self) {
        self.is_wanted = true;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.is_wanted {
            return;
        }
        match &self.place {
            Place::File { path, .. } => drop(fs::remove_file(path)),
            Place::Directory { path, is_new, made } => {
                made.iter().for_each(|client_id| drop(fs::remove_file(secret_path(path, client_id))));
                if *is_new {
                    let _ = fs::remove_dir(path);
                }
            }
        }
    }
}

fn secret_path(directory: &Path, client_id: &ClientId) -> PathBuf {
    directory.join(format!("{client_id}.secret"))
}

fn write_secret(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut file = new_file::open(path)?;
    file.write_all(secret.expose()).inspect_err(|_| drop(fs::remove_file(path)))
}

fn unwritten(path: &Path, error: &io::Error) -> CliError {
    CliError::new(Exit::Io, "io", format!("{} cannot be written; nothing was changed", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(file: Option<PathBuf>, directory: Option<PathBuf>) -> SecretsArgs {
        SecretsArgs { secrets_file: file, secrets_directory: directory }
    }

    fn id(text: &str) -> ClientId {
        text.parse().unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn one_file_has_a_line_for_each_client() {
        let directory = tempfile::tempdir().unwrap();
        for (name, begin) in [("s.jsonl", "{\"client_id\":\"a\",\"client_secret\":\""), ("s.csv", "client_id,client_secret\na,")] {
            let path = directory.path().join(name);
            let mut kept = args(Some(path.clone()), None).create(2).unwrap();
            let digests = [kept.make(&id("a")).unwrap(), kept.make(&id("b")).unwrap()];
            kept.sync().unwrap();
            kept.keep();
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with(begin) && text.ends_with('\n'), "{text}");
            assert_eq!(mode(&path), 0o600);
            let secret = text.split(begin).nth(1).unwrap().get(..43).unwrap();
            assert_eq!(SecretDigest::of(&Secret::new(secret.as_bytes().to_vec())), digests[0]);
            assert_eq!(args(Some(path), None).create(1).map(drop).unwrap_err().exit(), Exit::CannotCreate);
        }
    }

    #[test]
    fn a_directory_has_a_file_for_each_client() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets");
        let mut kept = args(None, Some(path.clone())).create(1).unwrap();
        let digest = kept.make(&id("a")).unwrap();
        kept.sync().unwrap();
        kept.keep();
        let secret = fs::read(path.join("a.secret")).unwrap();
        assert_eq!((SecretDigest::of(&Secret::new(secret)), mode(&path), mode(&path.join("a.secret"))), (digest, 0o700, 0o600));
        let mut again = args(None, Some(path.clone())).create(2).unwrap();
        again.make(&id("b")).unwrap();
        assert_eq!(again.make(&id("a")).unwrap_err().exit(), Exit::CannotCreate);
        drop(again);
        assert!(path.join("a.secret").exists() && !path.join("b.secret").exists(), "its own files only are taken away");
    }

    #[test]
    fn nothing_is_left_of_secrets_that_nobody_wants() {
        let directory = tempfile::tempdir().unwrap();
        let (file, folder) = (directory.path().join("s"), directory.path().join("d"));
        for args in [args(Some(file), None), args(None, Some(folder))] {
            let mut kept = args.create(1).unwrap();
            kept.make(&id("a")).unwrap();
            kept.sync().unwrap();
            drop(kept);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn deny_a_directory_that_others_can_enter_and_no_place_at_all() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(args(None, Some(directory.path().into())).create(1).map(drop).unwrap_err().exit(), Exit::CannotCreate);
        let error = args(None, None).create(3).map(drop).unwrap_err();
        assert_eq!((error.exit(), error.code()), (Exit::Usage, "no_secrets_file"));
    }
}
