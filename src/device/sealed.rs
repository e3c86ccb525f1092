//! Answers whose token only this device can read, whoever carries them (protocol section 4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::DeviceError;
use crate::jose::EncryptionKey;
use crate::jose::seal::Sealed;
use crate::oauth::Format;

/// The key of one request. Zeroised when dropped.
pub(super) struct AnswerKey(Zeroizing<[u8; 32]>);

impl AnswerKey {
    pub(super) fn random() -> Result<Self, DeviceError> {
        let mut private = Zeroizing::new([0; 32]);
        getrandom::fill(private.as_mut_slice())
            .map_err(|error| DeviceError::Protocol(format!("the operating system gives no random bytes: {error}")))?;
        Ok(Self(private))
    }

    pub(super) fn public(&self) -> EncryptionKey {
        EncryptionKey::of(&self.0)
    }

    /// The token of an answer: a JWT, or the base64url of a CWT.
    ///
    /// # Errors
    /// [`DeviceError::Protocol`] if the answer is not sealed by this key, or was changed.
    pub(super) fn open(&self, format: Format, answered: &str) -> Result<String, DeviceError> {
        let sealed = match format {
            Format::Json => Sealed::from_jwe(answered),
            // In CBOR it came as bytes.
            Format::Cbor => URL_SAFE_NO_PAD.decode(answered).ok().and_then(|bytes| Sealed::from_cose(&bytes)),
        };
        let not_ours = || {
            DeviceError::Protocol("the gateway's answer is not sealed by the key of the request: who carried it may have changed it".into())
        };
        let sealed = sealed.ok_or_else(not_ours)?;
        let key = sealed.key(&self.0).ok_or_else(not_ours)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map(LessSafeKey::new).map_err(|_| not_ours())?;
        let mut content = Zeroizing::new(sealed.content);
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let token = key.open_in_place(nonce, Aad::from(&sealed.aad), content.as_mut_slice()).map_err(|_| not_ours())?;
        // A JWT is characters that a CWT does not begin with.
        match std::str::from_utf8(token) {
            Ok(text) if text.starts_with("eyJ") => Ok(text.to_owned()),
            _ => Ok(URL_SAFE_NO_PAD.encode(token)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Sealer;
    use crate::jose::seal::{Content, NONCE, cose_encrypt, jwe};

    struct RingSealer;

    impl Sealer for RingSealer {
        fn random(&self, bytes: &mut [u8]) -> bool {
            getrandom::fill(bytes).is_ok()
        }

        fn encrypt(&self, key: &[u8; 32], nonce: [u8; NONCE], aad: &[u8], content: &mut Vec<u8>) -> bool {
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
            key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), content).is_ok()
        }
    }

    #[test]
    fn a_token_comes_out_as_it_went_in() {
        let key = AnswerKey::random().unwrap();
        let json = |content| jwe(content, &key.public(), &RingSealer).unwrap();
        let cbor = |content| URL_SAFE_NO_PAD.encode(cose_encrypt(content, &key.public(), &RingSealer).unwrap());
        for (format, jwt, cwt) in [
            (Format::Json, json(Content::Jwt("eyJh.b.c")), json(Content::Cwt(b"\xd8\x3d\xd2\x84"))),
            (Format::Cbor, cbor(Content::Jwt("eyJh.b.c")), cbor(Content::Cwt(b"\xd8\x3d\xd2\x84"))),
        ] {
            assert_eq!(key.open(format, &jwt).unwrap(), "eyJh.b.c");
            assert_eq!(key.open(format, &cwt).unwrap(), URL_SAFE_NO_PAD.encode(b"\xd8\x3d\xd2\x84"));
        }
    }

    #[test]
    fn deny_answers_that_were_changed_on_their_way() {
        let (key, other) = (AnswerKey::random().unwrap(), AnswerKey::random().unwrap());
        let text = jwe(Content::Jwt("eyJh.b.c"), &key.public(), &RingSealer).unwrap();
        let bytes = cose_encrypt(Content::Jwt("eyJh.b.c"), &key.public(), &RingSealer).unwrap();
        for (format, answer) in [(Format::Json, text.clone()), (Format::Cbor, URL_SAFE_NO_PAD.encode(&bytes))] {
            assert!(other.open(format, &answer).is_err(), "by another key");
            assert!(key.open(format, "eyJhbGciOiJFZERTQSJ9.e30.AA").is_err(), "not sealed");
        }
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The unused bits at the end of base64url are refused as well.
            assert!(key.open(Format::Json, &changed).is_err(), "{at}: {changed}");
        }
        // What the tag does not cover (heads and the empty key) changes nothing, or the answer does not open.
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let opened = key.open(Format::Cbor, &URL_SAFE_NO_PAD.encode(&changed));
            assert!(opened.is_err() || opened.is_ok_and(|token| token == "eyJh.b.c"), "{at}");
        }
    }

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_is_sealed_is_opened(jwt in "eyJ[A-Za-z0-9_.-]{0,600}", cwt in proptest::collection::vec(any::<u8>(), 1..600), private in any::<[u8; 32]>()) {
            let key = AnswerKey(Zeroizing::new(private));
            let cwt = [&[0xd8, 0x3d], cwt.as_slice()].concat();
            for (content, expected) in [(Content::Jwt(&jwt), jwt.clone()), (Content::Cwt(&cwt), URL_SAFE_NO_PAD.encode(&cwt))] {
                let text = jwe(content, &key.public(), &RingSealer).unwrap();
                prop_assert_eq!(key.open(Format::Json, &text).unwrap(), expected.clone());
                let bytes = cose_encrypt(content, &key.public(), &RingSealer).unwrap();
                prop_assert_eq!(key.open(Format::Cbor, &URL_SAFE_NO_PAD.encode(bytes)).unwrap(), expected);
            }
        }

        #[test]
        fn nothing_makes_the_opener_stumble(text in "([A-Za-z0-9_-]{0,30}\\.){0,6}", bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let key = AnswerKey(Zeroizing::new([7; 32]));
            prop_assert!(key.open(Format::Json, &text).is_err());
            prop_assert!(key.open(Format::Cbor, &URL_SAFE_NO_PAD.encode([&[0xd8, 96], bytes.as_slice()].concat())).is_err());
        }
    }
}
