//! What an assertion can be bound to: RFC 7523 signs nothing of the request around it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_cbor::Value;
use sha2::{Digest, Sha256};

use super::{GrantType, Param};

/// SHA-256 of a token request's own parameters in deterministic CBOR: the same for a JSON request and its like in CBOR (protocol section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestDigest([u8; 32]);

impl RequestDigest {
    /// The digest of a request with these parameters, each as it stands in the request; the grant type is the one that is served.
    #[must_use]
    pub fn of(audience: Option<&str>, scope: Option<&str>, client_id: Option<&str>) -> Self {
        let texts = [(Param::Audience, audience), (Param::Scope, scope), (Param::ClientId, client_id)];
        let texts = texts.into_iter().filter_map(|(param, text)| Some((param.key()?, Value::Text(text?.to_owned()))));
        let grant_type = Param::GrantType.key().map(|key| (key, Value::Integer(GrantType::ClientCredentials.number().into())));
        // All keys are positive, so their order as numbers is the deterministic one (RFC 8949 section 4.2.1).
        let members: BTreeMap<i64, Value> = texts.chain(grant_type).collect();
        // Cannot fail: keys and values are integers and text, and the writer is memory.
        Self(Sha256::digest(serde_cbor::to_vec(&members).unwrap_or_default()).into())
    }

    /// Base64url, the value of the claim `rqh`.
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_hash_of_deterministic_cbor() {
        // {5: "rs", 9: "a b", 24: "dev1", 33: 2}
        let cbor = b"\xa4\x05\x62rs\x09\x63a b\x18\x18\x64dev1\x18\x21\x02";
        assert_eq!(RequestDigest::of(Some("rs"), Some("a b"), Some("dev1")).0, <[u8; 32]>::from(Sha256::digest(cbor)));
        assert_eq!(RequestDigest::of(None, None, None).0, <[u8; 32]>::from(Sha256::digest(b"\xa1\x18\x21\x02")));
        assert_eq!(RequestDigest::of(None, None, None).to_text().len(), 43);
    }
}
