//! Recipients and identities: X25519 keys in Bech32 (BIP 173), a public `age1..` and a private `AGE-SECRET-KEY-1..`.

use std::fmt;
use std::str::FromStr;

use curve25519_dalek::montgomery::MontgomeryPoint;
use zeroize::Zeroizing;

const PUBLIC: &str = "age";
const PRIVATE: &str = "age-secret-key-";
const CHARACTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// Characters of a checksum.
const CHECKSUM: usize = 6;
/// Keys of one file, at most.
const MAX_KEYS: usize = 64;

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the public half of an X25519 key.
    #[error("a recipient is a word that begins with age1, as age-keygen prints it; other kinds of recipients are not known here")]
    Recipient,
    /// Not the private half of one.
    #[error(
        "an identity is a word that begins with AGE-SECRET-KEY-1, as age-keygen writes it; other kinds of identities are not known here"
    )]
    Identity,
    /// The same in a file.
    #[error("line {line}: {error}")]
    Line {
        /// Which.
        line: usize,
        /// What is wrong there.
        error: Box<KeyError>,
    },
    /// A file without a key, or with too many.
    #[error("the file must hold 1 to {MAX_KEYS} keys, one a line")]
    Count,
}

/// Whoever has the private half of this key can decrypt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl Recipient {
    pub(super) fn point(&self) -> MontgomeryPoint {
        MontgomeryPoint(self.0)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        // In capitals it is the same word, but nobody writes it so.
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        is_lower.then(|| decode(PUBLIC, text)).flatten().map(|bytes| Self(*bytes)).ok_or(KeyError::Recipient)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(PUBLIC, &self.0))
    }
}

/// A private key. Zeroised when dropped, never shown by `Debug`.
pub struct Identity(Zeroizing<[u8; 32]>);

impl Identity {
    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whom it decrypts for.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(MontgomeryPoint::mul_base_clamped(*self.0).to_bytes())
    }

    /// What both sides of an exchange of keys come to; `None` if the other side is no key.
    pub(super) fn shared(&self, share: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        agree(&self.0, MontgomeryPoint(*share))
    }
}

impl FromStr for Identity {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let is_upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        is_upper.then(|| decode(PRIVATE, &lower)).flatten().map(Self).ok_or(KeyError::Identity)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

/// X25519 (RFC 7748 section 6.1), whose result must not be zero: then the other side is a point of small order.
pub(super) fn agree(private: &[u8; 32], public: MontgomeryPoint) -> Option<Zeroizing<[u8; 32]>> {
    let shared = Zeroizing::new(public.mul_clamped(*private).to_bytes());
    let is_zero = shared.iter().fold(0, |all, byte| all | byte) == 0;
    (!is_zero).then_some(shared)
}

/// The recipients of a file: one a line, with `#` before comments.
///
/// # Errors
/// [`KeyError`], with the line.
pub fn recipients(text: &str) -> Result<Vec<Recipient>, KeyError> {
    lines(text)
}

/// The identities of a file, likewise.
///
/// # Errors
/// [`KeyError`], with the line, of which nothing is shown.
pub fn identities(text: &str) -> Result<Vec<Identity>, KeyError> {
    lines(text)
}

fn lines<K: FromStr<Err = KeyError>>(text: &str) -> Result<Vec<K>, KeyError> {
    let mut keys = Vec::new();
    for (line, text) in (1_usize..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        keys.push(text.parse().map_err(|error| KeyError::Line { line, error: Box::new(error) })?);
        if keys.len() > MAX_KEYS {
            return Err(KeyError::Count);
        }
    }
    if keys.is_empty() { Err(KeyError::Count) } else { Ok(keys) }
}

/// The 32 bytes of a word with that beginning.
fn decode(prefix: &str, text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let data = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let value = |byte: u8| CHARACTERS.iter().position(|character| *character == byte).and_then(|at| u8::try_from(at).ok());
    let values = Zeroizing::new(data.bytes().map(value).collect::<Option<Vec<u8>>>()?);
    if values.len() != 52_usize.checked_add(CHECKSUM)? || polymod(expanded(prefix).chain(values.iter().copied())) != 1 {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    let mut places = bytes.iter_mut();
    let (mut held, mut bits) = (0_u32, 0_u32);
    for value in values.iter().take(52) {
        held = ((held << 5) | u32::from(*value)) & 0xfff;
        bits = bits.checked_add(5)?;
        if bits >= 8 {
            bits = bits.checked_sub(8)?;
            *places.next()? = u8::try_from((held >> bits) & 0xff).ok()?;
        }
    }
    // 260 bits hold 256; the others must be zero.
    (held & 0xf == 0).then_some(bytes)
}

fn encode(prefix: &str, bytes: &[u8; 32]) -> String {
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| (byte << (at % 8)) & 0x80 != 0);
    let value =
        |group: usize| (0..5_usize).fold(0_u8, |value, at| (value << 1) | u8::from(bit(group.saturating_mul(5).saturating_add(at))));
    let values: Vec<u8> = (0..52).map(value).collect();
    let sum = polymod(expanded(prefix).chain(values.iter().copied()).chain([0; CHECKSUM])) ^ 1;
    let checksum = (0..CHECKSUM).rev().map(|at| u8::try_from((sum >> at.saturating_mul(5)) & 31).unwrap_or(0));
    let text = values.iter().copied().chain(checksum);
    let character = |value: u8| CHARACTERS.get(usize::from(value)).map_or('q', |byte| char::from(*byte));
    format!("{prefix}1{}", text.map(character).collect::<String>())
}

fn expanded(prefix: &str) -> impl Iterator<Item = u8> {
    prefix.bytes().map(|byte| byte >> 5).chain([0]).chain(prefix.bytes().map(|byte| byte & 31))
}

/// The checksum of BIP 173.
fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |sum: u32, value| {
        let top = sum >> 25;
        let next = ((sum & 0x01ff_ffff) << 5) ^ u32::from(value);
        (0_u32..).zip(GENERATOR).filter(|(bit, _)| (top >> bit) & 1 == 1).fold(next, |sum, (_, term)| sum ^ term)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_keys_are_the_same() {
        for byte in [0_u8, 1, 0x5a, 0xff] {
            let recipient = Recipient([byte; 32]);
            let word = recipient.to_string();
            assert_eq!((word.len(), word.parse()), (62, Ok(recipient)));
            let private = encode(PRIVATE, &[byte; 32]).to_ascii_uppercase();
            assert_eq!(private.parse::<Identity>().unwrap().0.as_slice(), [byte; 32]);
        }
    }

    #[test]
    fn deny_words_with_a_mistake() {
        let word = Recipient([7; 32]).to_string();
        for at in 0..word.len() {
            let mut changed = word.clone().into_bytes();
            changed[at] = if changed[at] == b'q' { b'p' } else { b'q' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(changed.parse::<Recipient>(), Err(KeyError::Recipient), "{changed}");
        }
        for text in ["", "age1", "age", &word[1..], &word.to_uppercase(), &format!("{word}q"), "ssh-ed25519 AAAA"] {
            assert_eq!(text.parse::<Recipient>(), Err(KeyError::Recipient), "{text}");
        }
        // A word of the other kind.
        assert_eq!(word.parse::<Identity>().map(|_| ()), Err(KeyError::Identity));
    }

    #[test]
    fn a_file_names_the_line_that_is_wrong() {
        let word = Recipient([7; 32]).to_string();
        assert_eq!(recipients(&format!("# created\n\n{word}\n")).unwrap(), [Recipient([7; 32])]);
        let wrong = recipients(&format!("{word}\nnonsense\n")).unwrap_err();
        assert!(wrong.to_string().starts_with("line 2: a recipient is a word"), "{wrong}");
        assert_eq!(recipients("# nothing\n"), Err(KeyError::Count));
        let secret = identities("AGE-SECRET-KEY-1NONSENSE").unwrap_err().to_string();
        assert!(!secret.contains("NONSENSE"), "{secret}");
        assert_eq!(format!("{:?}", Identity::from_bytes([1; 32])), "Identity(redacted)");
    }

    #[test]
    fn deny_a_point_of_small_order() {
        assert!(agree(&[1; 32], MontgomeryPoint([0; 32])).is_none());
    }
}
