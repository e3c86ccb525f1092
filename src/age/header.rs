//! What stands before the content: for each recipient the file's key, sealed, and a MAC over all.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use curve25519_dalek::montgomery::MontgomeryPoint;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use super::key::agree;
use super::{AgeError, FILE_KEY, FileKey, Identity, MAGIC, Recipient, hkdf, random};

/// The kind of a stanza that is known here.
const X25519: &str = "X25519";
const INFO: &str = "age-encryption.org/v1/X25519";
/// Bytes of a header, at most.
const MAX_HEADER: usize = 65_536;
/// Characters of a full line of a stanza's body.
const COLUMNS: usize = 64;

pub(super) fn write(writer: &mut impl Write, recipients: &[Recipient], file_key: &FileKey) -> io::Result<()> {
    let mut header = MAGIC.to_vec();
    for recipient in recipients {
        let mut private = Zeroizing::new([0; 32]);
        random(private.as_mut_slice())?;
        let share = MontgomeryPoint::mul_base_clamped(*private).to_bytes();
        let shared = agree(&private, recipient.point())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{recipient} is a key that nobody can have")))?;
        let mut body = Zeroizing::new(Vec::with_capacity(32));
        body.extend_from_slice(file_key.as_slice());
        let sealed = wrapping_key(&shared, &share, recipient)
            .and_then(|key| key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut *body).ok());
        sealed.ok_or_else(|| io::Error::other("the key of the file cannot be sealed"))?;
        header.extend_from_slice(format!("-> {X25519} {}\n{}\n", STANDARD_NO_PAD.encode(share), STANDARD_NO_PAD.encode(&*body)).as_bytes());
    }
    header.extend_from_slice(b"---");
    let mac = hmac::sign(&mac_key(file_key), &header);
    writer.write_all(&header)?;
    writer.write_all(format!(" {}\n", STANDARD_NO_PAD.encode(mac)).as_bytes())
}

/// Reads the header and finds the file's key.
pub(super) fn read(reader: &mut impl Read, identities: &[Identity]) -> Result<FileKey, AgeError> {
    let mut lines = Lines { reader, read: Vec::new() };
    if lines.next()? != MAGIC.strip_suffix(b"\n").unwrap_or(MAGIC) {
        return Err(AgeError::Malformed);
    }
    let mut found = None;
    loop {
        let line = lines.next()?;
        let line = String::from_utf8(line).map_err(|_| AgeError::Malformed)?;
        if let Some(mac) = line.strip_prefix("--- ") {
            let mac = STANDARD_NO_PAD.decode(mac).map_err(|_| AgeError::Malformed)?;
            let file_key: FileKey = found.ok_or(AgeError::NoMatch)?;
            let end = lines.read.len().saturating_sub(line.len().saturating_add(1)).saturating_add(3);
            let signed = lines.read.get(..end).ok_or(AgeError::Malformed)?;
            return hmac::verify(&mac_key(&file_key), signed, &mac).map(|()| file_key).map_err(|_| AgeError::Changed);
        }
        let stanza = line.strip_prefix("-> ").ok_or(AgeError::Malformed)?.to_owned();
        let body = body(&mut lines)?;
        let mut words = stanza.split(' ');
        if words.next() != Some(X25519) {
            continue;
        }
        let share = words.next().and_then(|word| STANDARD_NO_PAD.decode(word).ok()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let (Some(share), None, 32) = (share, words.next(), body.len()) else { return Err(AgeError::Malformed) };
        found = found.or_else(|| identities.iter().find_map(|identity| open(identity, &share, &body)));
    }
}

/// The lines of a stanza's body, of which the last is not full.
fn body(lines: &mut Lines<'_, impl Read>) -> Result<Vec<u8>, AgeError> {
    let mut body = Vec::new();
    loop {
        let line = lines.next()?;
        body.extend(STANDARD_NO_PAD.decode(&line).map_err(|_| AgeError::Malformed)?);
        match line.len() {
            ..COLUMNS => return Ok(body),
            COLUMNS => {}
            _ => return Err(AgeError::Malformed),
        }
    }
}

fn open(identity: &Identity, share: &[u8; 32], body: &[u8]) -> Option<FileKey> {
    let shared = identity.shared(share)?;
    let mut body = Zeroizing::new(body.to_vec());
    let key = wrapping_key(&shared, share, &identity.recipient())?;
    let opened = key.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body).ok()?;
    let mut file_key = FileKey::default();
    (opened.len() == FILE_KEY).then(|| {
        file_key.copy_from_slice(opened);
        file_key
    })
}

/// ring does not wipe its copy, so it is made for one operation only.
fn wrapping_key(shared: &[u8; 32], share: &[u8; 32], recipient: &Recipient) -> Option<LessSafeKey> {
    let key = hkdf(shared, &[share.as_slice(), recipient.as_bytes()].concat(), INFO);
    UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).map(LessSafeKey::new).ok()
}

fn mac_key(file_key: &FileKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, hkdf(file_key.as_slice(), &[], "header").as_slice())
}

/// The lines of a header, byte by byte so that nothing of the content is taken.
struct Lines<'a, R> {
    reader: &'a mut R,
    read: Vec<u8>,
}

impl<R: Read> Lines<'_, R> {
    fn next(&mut self) -> Result<Vec<u8>, AgeError> {
        let start = self.read.len();
        loop {
            let mut byte = [0];
            self.reader.read_exact(&mut byte).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => AgeError::Malformed,
                _ => AgeError::Io(error),
            })?;
            self.read.extend_from_slice(&byte);
            if self.read.len() > MAX_HEADER {
                return Err(AgeError::Malformed);
            }
            if byte == *b"\n" {
                let end = self.read.len().saturating_sub(1);
                return Ok(self.read.get(start..end).unwrap_or_default().to_vec());
            }
        }
    }
}
