//! What an assertion can be bound to: RFC 7523 signs nothing of the request around it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_cbor::Value;
use sha2::{Digest, Sha256};

use super::params::Table;
use super::{GrantType, Operation, Param};

/// SHA-256 of a request's own parameters in deterministic CBOR: the same for a JSON request and its like in CBOR (protocol section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestDigest([u8; 32]);

impl RequestDigest {
    /// The digest of a request for that operation with these parameters, each by its canonical value: text, or bytes where CBOR has bytes.
    ///
    /// Of a token request, the map of its parameters; of any other, the array of the operation and the map, so that an assertion made for one
    /// operation serves for no other.
    #[must_use]
    pub fn of(operation: Operation, members: BTreeMap<Param, Value>) -> Self {
        let table = Table::of(operation);
        let members = members.into_iter().filter_map(|(param, value)| Some((Value::Integer(param.key(table)?.into()), value)));
        // The order of serde_cbor's keys is the deterministic one (RFC 8949 section 4.2.1).
        let map = Value::Map(members.collect());
        let bound = match operation {
            Operation::Token => map,
            _ => Value::Array(vec![Value::Text(operation.as_str().to_owned()), map]),
        };
        // Cannot fail: the keys are integers, and the writer is memory.
        Self(Sha256::digest(serde_cbor::to_vec(&bound).unwrap_or_default()).into())
    }

    /// The digest of a token request with these parameters, each as it stands in the request; the grant type is the one that is served.
    #[must_use]
    pub fn of_token_request(audience: Option<&str>, scope: Option<&str>, client_id: Option<&str>) -> Self {
        let texts = [(Param::Audience, audience), (Param::Scope, scope), (Param::ClientId, client_id)];
        let texts = texts.into_iter().filter_map(|(param, text)| Some((param, Value::Text(text?.to_owned()))));
        let grant_type = (Param::GrantType, Value::Integer(GrantType::ClientCredentials.number().into()));
        Self::of(Operation::Token, texts.chain([grant_type]).collect())
    }

    /// The bytes, the value of the same claim in a CWT.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
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

    fn hash(cbor: &[u8]) -> [u8; 32] {
        Sha256::digest(cbor).into()
    }

    #[test]
    fn is_the_hash_of_deterministic_cbor() {
        // {5: "rs", 9: "a b", 24: "dev1", 33: 2}
        let cbor = b"\xa4\x05\x62rs\x09\x63a b\x18\x18\x64dev1\x18\x21\x02";
        assert_eq!(RequestDigest::of_token_request(Some("rs"), Some("a b"), Some("dev1")).0, hash(cbor));
        assert_eq!(RequestDigest::of_token_request(None, None, None).0, hash(b"\xa1\x18\x21\x02"));
        assert_eq!(RequestDigest::of_token_request(None, None, None).to_text().len(), 43);
    }

    #[test]
    fn another_operation_has_another_digest() {
        let members = || BTreeMap::from([(Param::RetryAfter, Value::Integer(1)), (Param::ClientId, Value::Text("dev1".into()))]);
        // ["nonce", {24: "dev1", -65538: 1}]
        let cbor = b"\x82\x65nonce\xa2\x18\x18\x64dev1\x3a\x00\x01\x00\x01\x01";
        assert_eq!(RequestDigest::of(Operation::Nonce, members()).0, hash(cbor));
        assert_eq!(RequestDigest::of(Operation::Token, members()).0, hash(&cbor[7..]));
    }
}
