//! A change of more records than one write takes: what they held before goes to a file of its own first, then they are written in parts. As long as
//! the file is there the change has not happened, and whoever opens the registry takes back what is there of it. Its removal is the change.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_bytes::{ByteBuf, Bytes};
use sha2::{Digest, Sha256};

use super::directory;
use super::records::Tree;
use super::store::Write;

/// What the file begins with; the number is the version of its format.
const MAGIC: &[u8; 16] = b"credgate undo 1\n";
/// Bytes of one part, at most: far more than a part can have, so a length beyond it is damage.
const MAX_PART: usize = 64 << 20;

/// The file, which may be there or not.
pub(super) struct Undo {
    directory: PathBuf,
}

impl Undo {
    /// That of the registry in this directory.
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The file.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join("undo")
    }

    /// The file while it is written. It means nothing yet.
    fn unfinished(&self) -> PathBuf {
        self.directory.join("undo.new")
    }

    /// Keeps what the records of a change hold before it, part by part, to the disk.
    ///
    /// # Errors
    /// Of the file system, or of a part; then there is no file.
    pub(super) fn keep(&self, parts: impl Iterator<Item = io::Result<Vec<Write>>>) -> io::Result<()> {
        let kept =
            self.write(parts).and_then(|()| fs::rename(self.unfinished(), self.path())).and_then(|()| directory::sync(&self.directory));
        if kept.is_err() {
            // What is left of it is worth nothing, and the space is needed.
            let _ = fs::remove_file(self.unfinished());
            let _ = fs::remove_file(self.path());
        }
        kept
    }

    fn write(&self, parts: impl Iterator<Item = io::Result<Vec<Write>>>) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.unfinished())?;
        let (mut file, mut digest) = (BufWriter::new(file), Sha256::new());
        let mut put = |bytes: &[u8]| {
            digest.update(bytes);
            file.write_all(bytes)
        };
        put(MAGIC)?;
        for part in parts {
            let part = part?;
            let records: Vec<(&str, &Bytes, Option<&Bytes>)> =
                part.iter().map(|write| (write.tree.name(), Bytes::new(&write.key), write.value.as_deref().map(Bytes::new))).collect();
            let bytes = serde_cbor::to_vec(&records).map_err(io::Error::other)?;
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            put(&length.to_be_bytes())?;
            put(&bytes)?;
        }
        put(&0_u32.to_be_bytes())?;
        file.write_all(&digest.finalize())?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    /// Makes the change durable that was kept and written, by forgetting what was before.
    ///
    /// # Errors
    /// [`Forgotten::NotYet`] if the file is still there, [`Forgotten::Perhaps`] if it may come back.
    pub(super) fn forget(&self) -> Result<(), Forgotten> {
        fs::remove_file(self.path()).map_err(Forgotten::NotYet)?;
        directory::sync(&self.directory).map_err(Forgotten::Perhaps)
    }

    /// Hands what is to be taken back to `restore`, part by part, and removes the file; `false` if there is nothing to take back.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged, or of `restore`. Then it is still there.
    pub(super) fn take_back(&self, mut restore: impl FnMut(Vec<Write>) -> io::Result<()>) -> io::Result<bool> {
        match fs::remove_file(self.unfinished()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // All of it is checked before any of it is believed.
        read(&file, |_| Ok(()))?;
        read(&File::open(self.path())?, &mut restore)?;
        fs::remove_file(self.path())?;
        directory::sync(&self.directory)?;
        Ok(true)
    }
}

/// Why a change is not durable although all of it was written.
#[derive(Debug)]
pub(super) enum Forgotten {
    /// The file is there, so the change has not happened.
    NotYet(io::Error),
    /// The file is gone, but may be there again after a power cut.
    Perhaps(io::Error),
}

fn read(file: &File, mut each: impl FnMut(Vec<Write>) -> io::Result<()>) -> io::Result<()> {
    let damaged = || io::Error::new(ErrorKind::InvalidData, "the record of an unfinished change is damaged");
    let (mut file, mut digest) = (BufReader::new(file), Sha256::new());
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(damaged());
    }
    digest.update(magic);
    loop {
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        digest.update(length);
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length == 0 {
            break;
        }
        if length > MAX_PART {
            return Err(damaged());
        }
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        digest.update(&bytes);
        let records: Vec<(String, ByteBuf, Option<ByteBuf>)> = serde_cbor::from_slice(&bytes).map_err(|_| damaged())?;
        let write = |(tree, key, value): (String, ByteBuf, Option<ByteBuf>)| {
            Some(Write { tree: Tree::of(&tree)?, key: key.into_vec(), value: value.map(ByteBuf::into_vec) })
        };
        each(records.into_iter().map(write).collect::<Option<_>>().ok_or_else(damaged)?)?;
    }
    let mut expected = Vec::new();
    file.take(64).read_to_end(&mut expected)?;
    if expected == digest.finalize().as_slice() { Ok(()) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<Vec<Write>> {
        let write = |key: &str, value: Option<&str>| Write { tree: Tree::Clients, key: key.into(), value: value.map(Into::into) };
        vec![vec![write("a", Some("1")), write("b", None)], vec![Write { tree: Tree::Scopes, ..write("c", Some("")) }]]
    }

    fn kept() -> (tempfile::TempDir, Undo) {
        let directory = tempfile::tempdir().unwrap();
        let undo = Undo::of(directory.path());
        undo.keep(parts().into_iter().map(Ok)).unwrap();
        (directory, undo)
    }

    fn taken_back(undo: &Undo) -> io::Result<Vec<Vec<Write>>> {
        let mut found = Vec::new();
        undo.take_back(|part| {
            found.push(part);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn what_is_kept_is_taken_back_once() {
        let (_directory, undo) = kept();
        assert_eq!(taken_back(&undo).unwrap(), parts());
        assert_eq!(taken_back(&undo).unwrap(), Vec::<Vec<Write>>::new());
    }

    #[test]
    fn what_is_forgotten_is_not_taken_back() {
        let (directory, undo) = kept();
        undo.forget().unwrap();
        assert!(matches!(undo.forget(), Err(Forgotten::NotYet(_))));
        assert!(taken_back(&undo).unwrap().is_empty());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_could_not_be_kept_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let undo = Undo::of(directory.path());
        let parts = parts().into_iter().map(Ok).chain([Err(io::Error::from(ErrorKind::StorageFull))]);
        assert_eq!(undo.keep(parts).unwrap_err().kind(), ErrorKind::StorageFull);
        fs::write(undo.unfinished(), MAGIC).unwrap();
        assert!(taken_back(&undo).unwrap().is_empty(), "half a file means nothing");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_failed_return_is_tried_again() {
        let (_directory, undo) = kept();
        assert!(undo.take_back(|_| Err(io::Error::other("no"))).is_err());
        assert_eq!(taken_back(&undo).unwrap(), parts());
    }

    #[test]
    fn deny_a_damaged_file() {
        let (_directory, undo) = kept();
        let whole = fs::read(undo.path()).unwrap();
        for index in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[index] ^= 0x40;
            fs::write(undo.path(), &damaged).unwrap();
            let mut restored = 0;
            assert!(
                undo.take_back(|_| {
                    restored += 1;
                    Ok(())
                })
                .is_err(),
                "byte {index}"
            );
            assert_eq!(restored, 0, "byte {index} was believed");
        }
        for length in 0..whole.len() {
            fs::write(undo.path(), &whole[..length]).unwrap();
            assert!(taken_back(&undo).is_err(), "{length} bytes");
        }
        fs::write(undo.path(), [&whole[..], b"x"].concat()).unwrap();
        assert!(taken_back(&undo).is_err(), "one byte more");
    }
}
