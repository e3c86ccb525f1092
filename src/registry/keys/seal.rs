//! Keys sealed at rest. A sealed key is a JSON object, `{kid}.sealed`:
//!
//! ```json
//! {"version":1,"algorithm":"ChaCha20-Poly1305","kid":"..","created_at":1795383984,"nonce":"..","ciphertext":".."}
//! ```
//!
//! The ciphertext (base64url, as is the nonce of 96 random bits) is the 32-byte seed and the tag of 16 bytes (RFC 8439). What stands beside it
//! is authenticated: the associated data is `credgate-sealed-key/{version}/{kid}/{created_at}`.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::bad_key;
use crate::clock::UnixTime;
use crate::jose::{KeyType, SigningKey};
use crate::registry::error::RegistryError;

const VERSION: u64 = 1;
const ALGORITHM: &str = "ChaCha20-Poly1305";

/// The 256-bit key under which signing keys are sealed. Zeroised when dropped, never shown by `Debug`.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Reads a master key: 32 bytes as they are, or as text in hexadecimal or base64url, which may end in a line break. `path` is for the
    /// error.
    ///
    /// # Errors
    /// [`RegistryError::MasterKey`] if it is none of these.
    pub fn parse(path: &Path, content: &[u8]) -> Result<Self, RegistryError> {
        let mut key = Zeroizing::new([0; 32]);
        let text = content.trim_ascii();
        let read = match (content.len(), text.len()) {
            (32, _) => {
                key.copy_from_slice(content);
                true
            }
            (_, 64) => read_hex(text, &mut key),
            _ => {
                let unpadded = text.strip_suffix(b"=").unwrap_or(text);
                unpadded.len() == 43 && URL_SAFE_NO_PAD.decode_slice(unpadded, &mut *key).is_ok_and(|length| length == 32)
            }
        };
        if read {
            return Ok(Self(key));
        }
        let path = path.display();
        let reason = format!(
            "{path}: a master key is 32 random bytes, as they are or as text in hexadecimal (64 digits) or base64url (43 characters); \
             if nothing is sealed yet, make one: head -c 32 /dev/urandom > {path}"
        );
        Err(RegistryError::MasterKey { reason })
    }

    /// ring does not wipe this copy, so it is made for one operation only.
    fn cipher(&self) -> Result<LessSafeKey, ring::error::Unspecified> {
        UnboundKey::new(&CHACHA20_POLY1305, self.0.as_slice()).map(LessSafeKey::new)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

fn read_hex(text: &[u8], key: &mut [u8; 32]) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.chunks_exact(2).zip(key).all(|(pair, byte)| {
        let [high, low] = pair else { return false };
        let Some((high, low)) = digit(*high).zip(digit(*low)) else { return false };
        *byte = (high << 4) | low;
        true
    })
}

/// A sealed key, as its file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealedKey {
    version: u64,
    algorithm: String,
    pub(super) kid: String,
    pub(super) created_at: UnixTime,
    nonce: String,
    ciphertext: String,
}

impl SealedKey {
    /// Seals a key under a new nonce.
    pub(super) fn seal(key: &SigningKey, created_at: UnixTime, master: &MasterKey) -> Option<Self> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        // Room for the tag, too: a vector that grows leaves a copy of the key behind.
        let mut sealed = Zeroizing::new(Vec::with_capacity(48));
        sealed.extend_from_slice(key.secret_bytes().as_slice());
        let aad = Aad::from(associated_data(VERSION, key.kid(), created_at));
        master.cipher().ok()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *sealed).ok()?;
        Some(Self {
            version: VERSION,
            algorithm: ALGORITHM.to_owned(),
            kid: key.kid().to_owned(),
            created_at,
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            ciphertext: URL_SAFE_NO_PAD.encode(&*sealed),
        })
    }

    /// Reads a file's content. `path` is for the error.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, RegistryError> {
        let damaged = |_| bad_key(path, "is not a sealed key of credgate: restore the file from a backup");
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let Versioned { version } = serde_json::from_str(text).map_err(damaged)?;
        if version != VERSION {
            let reason = format!("has version {version}, this program knows version {VERSION}: run the program that wrote it");
            return Err(bad_key(path, &reason));
        }
        serde_json::from_str(text).map_err(damaged)
    }

    /// The key inside, or nothing if it was sealed under another master key or changed since.
    pub(super) fn open(&self, key_type: KeyType, master: &MasterKey) -> Option<SigningKey> {
        if self.algorithm != ALGORITHM {
            return None;
        }
        let nonce: [u8; NONCE_LEN] = URL_SAFE_NO_PAD.decode(&self.nonce).ok()?.try_into().ok()?;
        let mut sealed = Zeroizing::new(URL_SAFE_NO_PAD.decode(&self.ciphertext).ok()?);
        let aad = Aad::from(associated_data(self.version, &self.kid, self.created_at));
        let opened = master.cipher().ok()?.open_in_place(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        let mut seed = Zeroizing::new([0; 32]);
        if opened.len() != seed.len() {
            return None;
        }
        seed.copy_from_slice(opened);
        SigningKey::from_secret_bytes(key_type, &seed).filter(|key| key.kid() == self.kid)
    }

    /// The file's content: nothing in it is secret.
    pub(super) fn to_text(&self) -> Option<String> {
        serde_json::to_string(self).ok().map(|text| format!("{text}\n"))
    }
}

fn associated_data(version: u64, kid: &str, created_at: UnixTime) -> String {
    format!("credgate-sealed-key/{version}/{kid}/{}", created_at.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(byte: u8) -> MasterKey {
        MasterKey::parse(Path::new("/m"), &[byte; 32]).unwrap()
    }

    #[test]
    fn a_master_key_has_three_forms() {
        let raw: Vec<u8> = (0_u8..32).map(|byte| byte.wrapping_mul(37).wrapping_add(200)).collect();
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = URL_SAFE_NO_PAD.encode(&raw);
        let forms = [raw.clone(), hex.clone().into(), format!("{}\n", hex.to_uppercase()).into(), base64.clone().into()];
        for form in forms.into_iter().chain([format!("{base64}=\n").into()]) {
            assert_eq!(MasterKey::parse(Path::new("/m"), &form).unwrap().0.as_slice(), raw);
        }
        // Bytes that look like white space or text are bytes all the same.
        assert_eq!(master(b' ').0.as_slice(), [b' '; 32]);
    }

    #[test]
    fn deny_master_keys_of_another_form() {
        let hex = "0".repeat(63);
        for text in
            ["", "secret", &hex, &format!("{hex}g"), &"a".repeat(42), &"a".repeat(44), &format!("{}+", "a".repeat(42)), &"a".repeat(33)]
        {
            let error = MasterKey::parse(Path::new("/run/m"), text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "master_key");
            let told = error.to_string();
            assert!(told.contains("/run/m: a master key is 32 random bytes"), "{told}");
            assert!(text.len() < 30 || !format!("{told} {error:?}").contains(text), "{told}");
        }
        assert_eq!(format!("{:?}", master(7)), "MasterKey(redacted)");
    }

    #[test]
    fn a_sealed_key_opens_under_its_own_master_key_alone() {
        let key = SigningKey::from_seed(&Zeroizing::new([9; 32]));
        let created_at = UnixTime::from_secs(1_795_383_984);
        let sealed = SealedKey::seal(&key, created_at, &master(1)).unwrap();
        let text = sealed.to_text().unwrap();
        assert!(!text.contains(&URL_SAFE_NO_PAD.encode([9; 32])));
        let read = SealedKey::parse(Path::new("/k"), &text).unwrap();
        assert_eq!(read.open(KeyType::Ed25519, &master(1)).unwrap().secret_bytes(), key.secret_bytes());
        assert!(read.open(KeyType::Ed25519, &master(2)).is_none());
        assert_ne!(SealedKey::seal(&key, created_at, &master(1)).unwrap().nonce, sealed.nonce);
    }

    #[test]
    fn deny_sealed_keys_that_were_changed() {
        let key = SigningKey::from_seed(&Zeroizing::new([9; 32]));
        let text = SealedKey::seal(&key, UnixTime::from_secs(1_000), &master(1)).unwrap().to_text().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let other = SigningKey::from_seed(&Zeroizing::new([8; 32])).kid().to_owned();
        let long = URL_SAFE_NO_PAD.encode([1; 64]);
        for (member, changed) in [
            ("algorithm", "AES-256-GCM".into()),
            ("kid", other.into()),
            ("created_at", 1_001.into()),
            ("nonce", URL_SAFE_NO_PAD.encode([0; 12]).into()),
            ("nonce", "".into()),
            ("ciphertext", "".into()),
            ("ciphertext", "!".into()),
            ("ciphertext", long.into()),
        ] {
            let mut value = value.clone();
            let object = value.as_object_mut().unwrap();
            object.insert(member.to_owned(), changed);
            let sealed = SealedKey::parse(Path::new("/k"), &value.to_string()).unwrap();
            assert!(sealed.open(KeyType::Ed25519, &master(1)).is_none(), "{value}");
        }
        for text in ["", "{}", &text[1..], &text.replace("\"nonce\"", "\"n\""), &text.replace("\"version\":1", "\"version\":2")] {
            assert!(SealedKey::parse(Path::new("/k"), text).is_err(), "{text}");
        }
    }
}
