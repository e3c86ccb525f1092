//! Answers whose token only the client can read, whoever carries them (protocol section 4).

use super::Engine;
use crate::clients::AuthenticatedClient;
use crate::jose::EncryptionKey;
use crate::jose::seal::{Content, cose_encrypt, jwe};
use crate::oauth::{Format, Reason, Refusal, TokenAsk, TokenText};

/// A sealed token in its own serialisation.
pub(super) enum SealedToken {
    Jwe(String),
    Cose(Vec<u8>),
}

impl SealedToken {
    pub(super) fn text(&self) -> TokenText<'_> {
        match self {
            Self::Jwe(text) => TokenText::Characters(text),
            Self::Cose(bytes) => TokenText::Bytes(bytes),
        }
    }
}

impl Engine {
    /// The key by which the client wants its token sealed.
    pub(super) fn sealing_key(&self, client: &AuthenticatedClient<TokenAsk>, format: Format) -> Result<Option<EncryptionKey>, Refusal> {
        let Some(key) = client.ask().jwe_key() else { return Ok(None) };
        let refused = |text: &'static str| Refusal::invalid_request(Reason::InvalidParameter, text);
        if self.sealer.is_none() {
            return Err(refused("jwe_key: answers are not sealed here"));
        }
        // Without an assertion that covers it, whoever carries the request could put a key of their own there.
        if client.key().is_none() {
            return Err(refused("jwe_key: needs a client assertion that is bound to the request by rqh"));
        }
        let read = match format {
            Format::Json => EncryptionKey::from_jwk(key),
            Format::Cbor => EncryptionKey::from_cose_key(key),
        };
        read.map(Some).map_err(|_| refused("jwe_key: must be a public X25519 key"))
    }

    pub(super) fn seal(&self, token: TokenText<'_>, key: &EncryptionKey, format: Format) -> Result<SealedToken, Refusal> {
        let content = match token {
            TokenText::Characters(text) => Content::Jwt(text),
            TokenText::Bytes(bytes) => Content::Cwt(bytes),
        };
        let sealed = self.sealer.as_deref().and_then(|sealer| match format {
            Format::Json => jwe(content, key, sealer).map(SealedToken::Jwe),
            Format::Cbor => cose_encrypt(content, key, sealer).map(SealedToken::Cose),
        });
        sealed.ok_or_else(|| Refusal::invalid_request(Reason::InvalidParameter, "jwe_key: is no key that a token can be sealed by"))
    }

    /// Whether answers are sealed for who wants it.
    pub(super) fn seals(&self) -> bool {
        // Only an assertion can be bound to the key.
        self.sealer.is_some() && self.assertions.is_some()
    }
}
