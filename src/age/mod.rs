//! Files encrypted to a recipient's key, in the format of age (<https://age-encryption.org/v1>): X25519 recipients, ChaCha20-Poly1305 in chunks.
//!
//! Only what a backup needs: no passphrases, no SSH keys, no armour. What is written here the tool `age` reads, and the other way round. A leaf that
//! names nothing of ours.

mod header;
mod key;
mod stream;

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

pub use key::{Identity, KeyError, Recipient, identities, recipients};
pub use stream::{Decrypted, Encryptor};

/// What an encrypted file begins with.
pub const MAGIC: &[u8] = b"age-encryption.org/v1\n";

/// Bytes of the key that a file is encrypted by.
const FILE_KEY: usize = 16;

/// The key that a file is encrypted by.
type FileKey = Zeroizing<[u8; FILE_KEY]>;

/// Why a file cannot be decrypted.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// The file cannot be read.
    #[error("the encrypted file cannot be read")]
    Io(#[from] io::Error),
    /// It does not have the form of an encrypted file.
    #[error("the file is not encrypted by age, or is damaged at its beginning")]
    Malformed,
    /// It is for others.
    #[error("the file is encrypted to another recipient: none of the identities opens it")]
    NoMatch,
    /// What stands before the content was changed.
    #[error("the header of the encrypted file was changed")]
    Changed,
}

/// Begins an encrypted file in `writer`. What is written to the [`Encryptor`] is its content; [`Encryptor::finish`] ends it.
///
/// # Errors
/// If the system gives no random bytes, a recipient is no key that anybody could have, or `writer` fails.
pub fn encrypt<W: Write>(recipients: &[Recipient], mut writer: W) -> io::Result<Encryptor<W>> {
    let mut file_key = FileKey::default();
    random(file_key.as_mut_slice())?;
    header::write(&mut writer, recipients, &file_key)?;
    Encryptor::begin(writer, &file_key)
}

/// Opens an encrypted file. Nothing that is read from the [`Decrypted`] was changed, but it may have been cut short until the end is reached.
///
/// # Errors
/// [`AgeError`].
pub fn decrypt<R: Read>(identities: &[Identity], mut reader: R) -> Result<Decrypted<R>, AgeError> {
    let file_key = header::read(&mut reader, identities)?;
    Ok(Decrypted::begin(reader, &file_key)?)
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(format!("the system gave no random bytes: {error}")))
}

/// HKDF-SHA-256 (RFC 5869) for 32 bytes.
fn hkdf(secret: &[u8], salt: &[u8], info: &str) -> Zeroizing<[u8; 32]> {
    use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut key = Zeroizing::new([0; 32]);
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret);
    // It fails only for another length.
    let _ = extracted.expand(&[info.as_bytes()], Length).and_then(|expanded| expanded.fill(key.as_mut_slice()));
    key
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn identity(byte: u8) -> Identity {
        Identity::from_bytes([byte; 32])
    }

    fn encrypted(recipients: &[Recipient], content: &[u8]) -> Vec<u8> {
        let mut encryptor = encrypt(recipients, Vec::new()).unwrap();
        content.chunks(1_000).for_each(|part| encryptor.write_all(part).unwrap());
        encryptor.finish().unwrap()
    }

    fn decrypted(identities: &[Identity], file: &[u8]) -> Result<Vec<u8>, AgeError> {
        let mut content = Vec::new();
        decrypt(identities, file)?.read_to_end(&mut content)?;
        Ok(content)
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn what_is_encrypted_is_decrypted() {
        let (one, two) = (identity(1), identity(2));
        for length in [0, 1, 65_535, 65_536, 65_537, 200_000] {
            let file = encrypted(&[one.recipient(), two.recipient()], &content(length));
            assert!(file.starts_with(MAGIC));
            for identities in [vec![identity(1)], vec![identity(3), identity(2)]] {
                assert_eq!(decrypted(&identities, &file).unwrap(), content(length), "{length}");
            }
            assert!(matches!(decrypted(&[identity(3)], &file), Err(AgeError::NoMatch)));
            assert!(matches!(decrypted(&[], &file), Err(AgeError::NoMatch)));
        }
    }

    #[test]
    fn deny_any_change() {
        let file = encrypted(&[identity(1).recipient()], &content(70_000));
        let open = |file: &[u8]| decrypted(&[identity(1)], file);
        let header = file.windows(4).position(|window| window == b"\n---").unwrap() + 48;
        for at in (0..header + 40).chain((header + 40..file.len()).step_by(997)).chain(file.len() - 20..file.len()) {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(open(&changed).is_err(), "byte {at} of {}", file.len());
        }
        for end in (0..header + 40).chain((header + 40..file.len()).step_by(997)).chain([header + 48 + 65_552, file.len() - 1]) {
            assert!(open(&file[..end]).is_err(), "cut to {end}");
        }
        assert!(open(&[file.as_slice(), b"x"].concat()).is_err(), "more at the end");
    }

    #[test]
    fn a_hostile_header_costs_little() {
        let long = [MAGIC, b"-> X25519 ".as_slice(), &[b'A'; 1 << 20]].concat();
        assert!(matches!(decrypted(&[identity(1)], &long), Err(AgeError::Malformed)));
        let many = [MAGIC, b"-> other x\nAAAA\n".repeat(100_000).as_slice()].concat();
        assert!(matches!(decrypted(&[identity(1)], &many), Err(AgeError::Malformed)));
        for text in ["", "age-encryption.org/v2\n", "age-encryption.org/v1\n---", "age-encryption.org/v1\n-> X25519 AAAA\n\n--- AAAA\n"] {
            assert!(decrypted(&[identity(1)], text.as_bytes()).is_err(), "{text}");
        }
    }

    /// Runs a tool of Debian's package `age`.
    fn tool(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feed = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}");
        output.stdout
    }

    #[test]
    fn the_tool_age_and_we_read_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let key_file = directory.path().join("key.txt");
        tool("age-keygen", &["-o", key_file.to_str().unwrap()], b"");
        let text = std::fs::read_to_string(&key_file).unwrap();
        let ours = identities(&text).unwrap();
        let recipient = String::from_utf8(tool("age-keygen", &["-y", key_file.to_str().unwrap()], b"")).unwrap();
        assert_eq!(ours[0].recipient().to_string(), recipient.trim());
        for length in [0, 1, 65_536, 150_000] {
            let file = encrypted(&recipients(&recipient).unwrap(), &content(length));
            assert_eq!(tool("age", &["-d", "-i", key_file.to_str().unwrap()], &file), content(length));
            let theirs = tool("age", &["-r", recipient.trim()], &content(length));
            assert_eq!(decrypted(&ours, &theirs).unwrap(), content(length));
        }
    }
}
