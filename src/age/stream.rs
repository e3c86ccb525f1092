//! The content in chunks of 64 KiB, each sealed with its number and whether it is the last.

use std::io::{self, Read, Write};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{FileKey, hkdf, random};

const CHUNK: usize = 65_536;
const TAG: usize = 16;
const SALT: usize = 16;

fn content_key(file_key: &FileKey, salt: &[u8; SALT]) -> io::Result<LessSafeKey> {
    let key = hkdf(file_key.as_slice(), salt, "payload");
    UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).map(LessSafeKey::new).map_err(|_| io::Error::other("no key for the content"))
}

/// The nonce of a chunk: eleven bytes of its number, and 1 for the last.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    if let Some(place) = bytes.get_mut(3..11) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    if let Some(last) = bytes.last_mut() {
        *last = u8::from(is_last);
    }
    Nonce::assume_unique_for_key(bytes)
}

/// Encrypts what is written to it.
pub struct Encryptor<W> {
    writer: W,
    key: LessSafeKey,
    number: u64,
    chunk: Zeroizing<Vec<u8>>,
}

impl<W: Write> Encryptor<W> {
    pub(super) fn begin(mut writer: W, file_key: &FileKey) -> io::Result<Self> {
        let mut salt = [0; SALT];
        random(&mut salt)?;
        writer.write_all(&salt)?;
        let chunk = Zeroizing::new(Vec::with_capacity(CHUNK.saturating_add(TAG)));
        Ok(Self { key: content_key(file_key, &salt)?, writer, number: 0, chunk })
    }

    /// Ends the file, which cannot be read otherwise.
    ///
    /// # Errors
    /// Of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        let sealed = self.key.seal_in_place_append_tag(nonce(self.number, is_last), Aad::empty(), &mut *self.chunk);
        sealed.map_err(|_| io::Error::other("a chunk cannot be sealed"))?;
        self.writer.write_all(&self.chunk)?;
        self.chunk.clear();
        self.number = self.number.checked_add(1).ok_or_else(|| io::Error::other("too much to encrypt"))?;
        Ok(())
    }
}

impl<W: Write> Write for Encryptor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not before there is more: the last chunk may be full.
        if self.chunk.len() == CHUNK && !bytes.is_empty() {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK.saturating_sub(self.chunk.len()));
        self.chunk.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Decrypts what is read from it.
pub struct Decrypted<R> {
    reader: R,
    key: LessSafeKey,
    number: u64,
    /// The sealed bytes that follow, one chunk and a byte more if there is another.
    sealed: Vec<u8>,
    opened: Zeroizing<Vec<u8>>,
    taken: usize,
    is_over: bool,
}

impl<R: Read> Decrypted<R> {
    pub(super) fn begin(mut reader: R, file_key: &FileKey) -> io::Result<Self> {
        let mut salt = [0; SALT];
        reader.read_exact(&mut salt)?;
        let opened = Zeroizing::new(Vec::with_capacity(CHUNK.saturating_add(TAG)));
        Ok(Self { key: content_key(file_key, &salt)?, reader, number: 0, sealed: Vec::new(), opened, taken: 0, is_over: false })
    }

    fn open(&mut self) -> io::Result<()> {
        let full = CHUNK.saturating_add(TAG);
        let wanted = full.saturating_add(1).saturating_sub(self.sealed.len());
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        self.reader.by_ref().take(wanted).read_to_end(&mut self.sealed)?;
        let is_last = self.sealed.len() <= full;
        let rest = if is_last { Vec::new() } else { self.sealed.split_off(full) };
        self.opened.clear();
        self.opened.extend_from_slice(&self.sealed);
        self.sealed = rest;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the encrypted content was changed or cut short");
        let length = self.key.open_in_place(nonce(self.number, is_last), Aad::empty(), &mut self.opened).map_err(|_| damaged())?.len();
        // Only an empty file has an empty chunk.
        if length == 0 && self.number > 0 {
            return Err(damaged());
        }
        self.opened.truncate(length);
        (self.taken, self.is_over) = (0, is_last);
        self.number = self.number.checked_add(1).ok_or_else(damaged)?;
        Ok(())
    }
}

impl<R: Read> Read for Decrypted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.opened.len() {
            if self.is_over {
                return Ok(0);
            }
            self.open()?;
        }
        let left = self.opened.get(self.taken..).unwrap_or_default();
        let count = left.len().min(bytes.len());
        if let (Some(place), Some(part)) = (bytes.get_mut(..count), left.get(..count)) {
            place.copy_from_slice(part);
        }
        self.taken = self.taken.saturating_add(count);
        Ok(count)
    }
}
