//! Token requests to the wire. CBOR is deterministic (RFC 8949 section 4.2.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_bytes::Bytes;
use serde_cbor::Value as Structure;
use zeroize::Zeroizing;

use super::TokenQuery;
use crate::jose::{EncryptionKey, Jwk, cose};
use crate::oauth::{ASSERTION_TYPE, ClientId, Format, GrantType, Operation, Param, RequestDigest, Table};

/// What a request carries as the client's proof.
#[derive(Debug, Clone, Copy)]
pub(super) enum Proof<'a> {
    Secret(&'a str),
    /// A JWT.
    Assertion(&'a str),
    /// A COSE_Sign1, which JSON cannot carry.
    CoseAssertion(&'a [u8]),
}

/// A public key as a request has it: a JWK in JSON, a COSE_Key in CBOR.
fn public_key(format: Format, key: &Jwk) -> Structure {
    match format {
        // Cannot fail: members that are text.
        Format::Json => serde_cbor::value::to_value(key.bare()).unwrap_or(Structure::Null),
        Format::Cbor => cose::cose_key(key),
    }
}

/// The key that a token is to be bound to, as `req_cnf` has it.
fn req_cnf(format: Format, key: &Jwk) -> Structure {
    let method = match format {
        Format::Json => Structure::Text("jwk".into()),
        Format::Cbor => Structure::Integer(1),
    };
    Structure::Map([(method, public_key(format, key))].into())
}

/// The keys of a token request beside those of its assertion.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Keys<'a> {
    /// What the token is to be bound to.
    pub(super) pop: Option<&'a Jwk>,
    /// What the answer's token is to be sealed by.
    pub(super) seal: Option<EncryptionKey>,
}

/// A key for sealing as a request has it: a JWK in JSON, a COSE_Key in CBOR.
fn encryption_key(format: Format, key: EncryptionKey) -> Structure {
    match format {
        Format::Json => key.jwk(),
        Format::Cbor => key.cose_key(),
    }
}

/// The key to register: a JWK Set in JSON, a COSE_Key in CBOR.
pub(super) fn jwks(format: Format, key: &Jwk) -> Structure {
    let key = public_key(format, key);
    match format {
        Format::Json => Structure::Map([(Structure::Text("keys".into()), Structure::Array(vec![key]))].into()),
        Format::Cbor => key,
    }
}

/// What an assertion for a request of [`encode`] is bound to.
pub(super) fn digest(client_id: &ClientId, query: &TokenQuery, keys: Keys<'_>) -> RequestDigest {
    let text = |param: Param, text: String| (param, Structure::Text(text));
    let members = [
        keys.pop.map(|key| (Param::ReqCnf, req_cnf(query.format, key))),
        keys.seal.map(|key| (Param::JweKey, encryption_key(query.format, key))),
        query.audience.clone().map(|audience| text(Param::Audience, audience)),
        query.scope.as_ref().map(|scope| text(Param::Scope, scope.to_string())),
        Some(text(Param::ClientId, client_id.to_string())),
        Some((Param::GrantType, Structure::Integer(GrantType::ClientCredentials.number().into()))),
    ];
    RequestDigest::of(Operation::Token, members.into_iter().flatten().collect())
}

/// What an assertion for a request of [`encode_credential`] is bound to.
pub(super) fn credential_digest(format: Format, client_id: &ClientId, key: Option<&Jwk>) -> RequestDigest {
    let client_id = (Param::ClientId, Structure::Text(client_id.to_string()));
    let key = key.map(|key| (Param::Jwk, public_key(format, key)));
    RequestDigest::of(Operation::Credential, [client_id].into_iter().chain(key).collect())
}

/// Encodes a nonce request.
pub(super) fn encode_nonce(format: Format, state: Option<&str>) -> Zeroizing<Vec<u8>> {
    let members = Members { format, members: state.map(|state| (Param::State, Value::Text(state))).into_iter().collect() };
    to_bytes(&members)
}

/// Encodes a token request (RFC 6749 section 4.4.2, RFC 9200 section 5.8.1). The result holds the secret, so it is zeroised.
pub(super) fn encode(
    client_id: &ClientId,
    proof: Proof<'_>,
    query: &TokenQuery,
    keys: Keys<'_>,
    state: Option<&str>,
) -> Zeroizing<Vec<u8>> {
    let scope = query.scope.as_ref().map(ToString::to_string);
    to_bytes(&Members::new(client_id, proof, query, keys, scope.as_deref(), state))
}

/// Encodes a request for another credential: for the use of that key, or for a secret. The result holds the secret, so it is zeroised.
pub(super) fn encode_credential(
    format: Format,
    client_id: &ClientId,
    proof: Proof<'_>,
    key: Option<&Jwk>,
    state: Option<&str>,
) -> Zeroizing<Vec<u8>> {
    let mut members = Members { format, members: vec![(Param::ClientId, Value::Text(client_id.as_str()))] };
    members.prove(proof, state);
    members.members.extend(key.map(|key| (Param::Jwk, Value::PublicKey(key))));
    to_bytes(&members)
}

pub(super) fn to_bytes(members: &Members<'_>) -> Zeroizing<Vec<u8>> {
    // Sized for the longest request at once (JSON may escape one byte as six): a vector that grows leaves copies that are not wiped.
    let length = members.iter().fold(64, |sum: usize, (_, value)| sum.saturating_add(value.len().saturating_mul(6)).saturating_add(32));
    let mut payload = Zeroizing::new(Vec::with_capacity(length));
    // Neither serialiser can fail: every key is text or an integer, and the writer is memory.
    let written = match members.format {
        Format::Json => serde_json::to_writer(&mut *payload, members).is_ok(),
        Format::Cbor => serde_cbor::to_writer(&mut *payload, members).is_ok(),
    };
    debug_assert!(written && payload.len() <= length);
    payload
}

/// The request as a person can read it, with `<client secret>` for the secret: JSON, or the diagnostic notation of CBOR (RFC 8949 section 8).
#[must_use]
pub fn describe(client_id: &ClientId, query: &TokenQuery) -> String {
    let scope = query.scope.as_ref().map(ToString::to_string);
    let members =
        Members::new(client_id, Proof::Secret("<client secret>"), query, Keys::default(), scope.as_deref(), query.state.as_deref());
    match query.format {
        Format::Json => serde_json::to_string(&members).unwrap_or_default(),
        Format::Cbor => {
            let pairs: Vec<String> = members
                .iter()
                .map(|(param, value)| {
                    let key = param.key(Table::Token).unwrap_or_default();
                    match value {
                        Value::Opaque(text) => format!("{key}: '{text}'"),
                        Value::Text(text) => format!("{key}: {text:?}"),
                        Value::Bytes(_) | Value::ReqCnf(_) | Value::PublicKey(_) | Value::Jwks(_) | Value::EncryptionKey(_) => {
                            format!("{key}: ...")
                        }
                    }
                })
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    /// Text in JSON, a byte string in CBOR.
    Opaque(&'a str),
    /// A byte string, in JSON its base64url.
    Bytes(&'a [u8]),
    /// The value of `req_cnf`.
    ReqCnf(&'a Jwk),
    /// The value of `jwk`.
    PublicKey(&'a Jwk),
    /// The value of `jwe_key`.
    EncryptionKey(EncryptionKey),
    /// The value of `jwks`.
    Jwks(&'a Jwk),
}

impl Value<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Opaque(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            // Two coordinates and the names around them.
            Self::ReqCnf(_) | Self::PublicKey(_) | Self::Jwks(_) | Self::EncryptionKey(_) => 160,
        }
    }
}

/// The members in the order of their CBOR keys, which is the deterministic one. The grant type is the default in CBOR and left out there.
pub(super) struct Members<'a> {
    pub(super) format: Format,
    pub(super) members: Vec<(Param, Value<'a>)>,
}

impl<'a> Members<'a> {
    fn new(
        client_id: &'a ClientId,
        proof: Proof<'a>,
        query: &'a TokenQuery,
        keys: Keys<'a>,
        scope: Option<&'a str>,
        state: Option<&'a str>,
    ) -> Self {
        let text = |param, text| (param, Value::Text(text));
        let is_json = query.format == Format::Json;
        let members = [
            keys.pop.map(|key| (Param::ReqCnf, Value::ReqCnf(key))),
            is_json.then_some(text(Param::GrantType, GrantType::ClientCredentials.name())),
            query.audience.as_deref().map(|audience| text(Param::Audience, audience)),
            scope.map(|scope| text(Param::Scope, scope)),
            Some(text(Param::ClientId, client_id.as_str())),
        ];
        let mut all = Self { format: query.format, members: members.into_iter().flatten().collect() };
        all.prove(proof, state);
        // Its CBOR key comes after that of the assertion.
        all.members.extend(keys.seal.map(|key| (Param::JweKey, Value::EncryptionKey(key))));
        all
    }

    /// Adds what proves who asks, and the state.
    fn prove(&mut self, proof: Proof<'a>, state: Option<&'a str>) {
        let state = state.map(|state| (Param::State, Value::Text(state)));
        match proof {
            Proof::Secret(secret) => self.members.extend([Some((Param::ClientSecret, Value::Opaque(secret))), state].into_iter().flatten()),
            Proof::Assertion(assertion) => {
                let kind = (self.format == Format::Json).then_some((Param::ClientAssertionType, Value::Text(ASSERTION_TYPE)));
                self.members.extend(state.into_iter().chain(kind));
                self.members.push((Param::ClientAssertion, Value::Text(assertion)));
            }
            Proof::CoseAssertion(assertion) => {
                self.members.extend(state);
                self.members.push((Param::ClientAssertion, Value::Bytes(assertion)));
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (Param, Value<'a>)> {
        self.members.iter().copied()
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (param, value) in self.iter() {
            match self.format {
                Format::Json => map.serialize_key(param.name())?,
                Format::Cbor => map.serialize_key(&param.key(Table::Token))?,
            }
            match (self.format, value) {
                (_, Value::Text(text)) | (Format::Json, Value::Opaque(text)) => map.serialize_value(text)?,
                (Format::Cbor, Value::Opaque(text)) => map.serialize_value(Bytes::new(text.as_bytes()))?,
                (Format::Json, Value::Bytes(bytes)) => map.serialize_value(&URL_SAFE_NO_PAD.encode(bytes))?,
                (Format::Cbor, Value::Bytes(bytes)) => map.serialize_value(Bytes::new(bytes))?,
                (format, Value::ReqCnf(key)) => map.serialize_value(&req_cnf(format, key))?,
                (format, Value::PublicKey(key)) => map.serialize_value(&public_key(format, key))?,
                (format, Value::EncryptionKey(key)) => map.serialize_value(&encryption_key(format, key))?,
                (format, Value::Jwks(key)) => map.serialize_value(&jwks(format, key))?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{ClientCredential, CredentialAsk, TokenAsk, decode_client_request};

    fn query(format: Format) -> TokenQuery {
        TokenQuery { format, scope: Some("b a".parse().unwrap()), audience: Some("rs".into()), pop: false, sealed: false, state: None }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn json_request_is_golden() {
        let payload = encode(&"dev1".parse().unwrap(), Proof::Secret("s\"1"), &query(Format::Json), Keys::default(), Some("7"));
        let expected =
            r#"{"grant_type":"client_credentials","audience":"rs","scope":"a b","client_id":"dev1","client_secret":"s\"1","state":"7"}"#;
        assert_eq!(std::str::from_utf8(&payload).unwrap(), expected);
    }

    #[test]
    fn cbor_request_is_golden_and_deterministic() {
        let payload = encode(&"dev1".parse().unwrap(), Proof::Secret("s1"), &query(Format::Cbor), Keys::default(), Some("7"));
        // {5: "rs", 9: "a b", 24: "dev1", 25: h'7331', 28: "7"}
        assert_eq!(hex(&payload), "a5056272730963612062181864646576311819427331181c6137");
        let value: serde_cbor::Value = serde_cbor::from_slice(&payload).unwrap();
        assert_eq!(serde_cbor::to_vec(&value).unwrap(), *payload);
    }

    #[test]
    fn the_least_request_is_golden() {
        let least = |format| {
            let query = TokenQuery { format, scope: None, audience: None, pop: false, sealed: false, state: None };
            encode(&"d".parse().unwrap(), Proof::Secret("s"), &query, Keys::default(), None)
        };
        assert_eq!(hex(&least(Format::Cbor)), "a21818616418194173");
        assert_eq!(least(Format::Json).as_slice(), br#"{"grant_type":"client_credentials","client_id":"d","client_secret":"s"}"#);
    }

    #[test]
    fn the_gateway_reads_what_was_meant() {
        for format in [Format::Json, Format::Cbor] {
            let payload = encode(&"dev1".parse().unwrap(), Proof::Secret("geheim\u{e9}\n"), &query(format), Keys::default(), Some("7"));
            let request = decode_client_request::<TokenAsk>(format, &payload).unwrap();
            assert_eq!(request.client_id().unwrap().as_str(), "dev1");
            let ClientCredential::Secret(secret) = request.credential() else { panic!("no secret") };
            assert_eq!(secret.expose(), "geheim\u{e9}\n".as_bytes());
            assert_eq!(request.ask().scope(), query(format).scope.as_ref());
            assert_eq!((request.ask().audience(), request.state()), (Some("rs"), Some("7")));
        }
    }

    #[test]
    fn an_assertion_is_bound_to_what_the_gateway_reads() {
        let (key, sealing) = (Jwk::ed25519(&[7; 32]), EncryptionKey::of(&Zeroizing::new([7; 32])));
        let keys = [
            Keys::default(),
            Keys { pop: Some(&key), seal: None },
            Keys { pop: None, seal: Some(sealing) },
            Keys { pop: Some(&key), seal: Some(sealing) },
        ];
        for (format, keys) in [Format::Json, Format::Cbor].into_iter().flat_map(|format| keys.map(|keys| (format, keys))) {
            let id = "dev1".parse().unwrap();
            let payload = encode(&id, Proof::Assertion("a.b.c"), &query(format), keys, Some("7"));
            let request = decode_client_request::<TokenAsk>(format, &payload).unwrap();
            let ClientCredential::Assertion(assertion, bound) = request.credential() else { panic!("no assertion") };
            assert_eq!((assertion.expose(), *bound), (&b"a.b.c"[..], digest(&id, &query(format), keys)));
            assert_eq!(request.ask().req_cnf().is_some(), keys.pop.is_some());
            assert_eq!(request.ask().jwe_key().cloned(), keys.seal.map(|key| encryption_key(format, key)));
            if format == Format::Cbor {
                let value: serde_cbor::Value = serde_cbor::from_slice(&payload).unwrap();
                assert_eq!(serde_cbor::to_vec(&value).unwrap(), *payload, "deterministic");
            }
        }
        assert_eq!(hex(&encode_nonce(Format::Cbor, Some("7"))), "a1181c6137");
        assert_eq!(encode_nonce(Format::Json, None).as_slice(), b"{}");
    }

    #[test]
    fn requests_for_a_credential_are_golden() {
        let encoded = |format, key| encode_credential(format, &"d".parse().unwrap(), Proof::Secret("s"), key, Some("7"));
        assert_eq!(encoded(Format::Json, None).as_slice(), br#"{"client_id":"d","client_secret":"s","state":"7"}"#);
        assert_eq!(hex(&encoded(Format::Cbor, None)), "a31818616418194173181c6137");
        let key = Jwk::ed25519(&[0; 32]);
        let x = "A".repeat(43);
        let json = format!(r#"{{"client_id":"d","client_secret":"s","state":"7","jwk":{{"x":"{x}","crv":"Ed25519","kty":"OKP"}}}}"#);
        assert_eq!(std::str::from_utf8(&encoded(Format::Json, Some(&key))).unwrap(), json);
        let cbor = encoded(Format::Cbor, Some(&key));
        let value: serde_cbor::Value = serde_cbor::from_slice(&cbor).unwrap();
        assert_eq!(serde_cbor::to_vec(&value).unwrap(), *cbor, "deterministic");
        assert!(hex(&cbor).ends_with(&format!("3a00010002a301012006215820{}", "00".repeat(32))));
    }

    #[test]
    fn what_an_assertion_for_a_credential_is_bound_to_is_what_the_gateway_reads() {
        let key = Jwk::ed25519(&[0; 32]);
        for format in [Format::Json, Format::Cbor] {
            let id = "d".parse().unwrap();
            for key in [None, Some(&key)] {
                let payload = encode_credential(format, &id, Proof::Assertion("a.b.c"), key, Some("7"));
                let request = decode_client_request::<CredentialAsk>(format, &payload).unwrap();
                let ClientCredential::Assertion(_, digest) = request.credential() else { panic!("no assertion") };
                assert_eq!(*digest, credential_digest(format, &id, key));
            }
        }
    }

    #[test]
    fn the_longest_escapes_fit_without_growth() {
        let secret = "\u{1}".repeat(300);
        for format in [Format::Json, Format::Cbor] {
            // Asserted inside.
            assert!(encode(&"dev1".parse().unwrap(), Proof::Secret(&secret), &query(format), Keys::default(), Some("7")).len() > 300);
        }
    }

    #[test]
    fn shown_requests_hide_the_secret() {
        let show = |format| {
            describe(&"dev1".parse().unwrap(), &TokenQuery { pop: false, sealed: false, state: Some("7".into()), ..query(format) })
        };
        assert_eq!(show(Format::Cbor), r#"{5: "rs", 9: "a b", 24: "dev1", 25: '<client secret>', 28: "7"}"#);
        assert!(show(Format::Json).contains(r#""client_secret":"<client secret>""#));
    }

    use proptest::prelude::*;

    fn any_query() -> impl Strategy<Value = TokenQuery> {
        let scope = proptest::option::of(proptest::collection::btree_set("[!#-\\[\\]-~]{1,12}", 1..5));
        (any::<bool>(), scope, proptest::option::of("\\PC{1,40}")).prop_map(|(is_cbor, scope, audience)| TokenQuery {
            format: if is_cbor { Format::Cbor } else { Format::Json },
            scope: scope.map(|words| words.into_iter().collect::<Vec<_>>().join(" ").parse().unwrap()),
            audience,
            pop: false,
            sealed: false,
            state: None,
        })
    }

    proptest! {
        #[test]
        fn whatever_is_asked_is_what_the_gateway_reads(
            query in any_query(),
            id in "[A-Za-z0-9_-]{1,64}",
            secret in "\\PC{1,60}",
            state in proptest::option::of("[ -~]{0,64}"),
            seal in proptest::option::of(any::<[u8; 32]>()),
            by_assertion in any::<bool>(),
        ) {
            let id: ClientId = id.parse().unwrap();
            let keys = Keys { pop: None, seal: seal.map(|private| EncryptionKey::of(&Zeroizing::new(private))) };
            let proof = if by_assertion { Proof::Assertion(&secret) } else { Proof::Secret(&secret) };
            let payload = encode(&id, proof, &query, keys, state.as_deref());
            let request = decode_client_request::<TokenAsk>(query.format, &payload).map_err(|fault| fault.refusal).unwrap();
            prop_assert_eq!(request.client_id(), Some(&id));
            prop_assert_eq!((request.ask().scope(), request.ask().audience()), (query.scope.as_ref(), query.audience.as_deref()));
            prop_assert_eq!(request.state(), state.as_deref());
            prop_assert_eq!(request.ask().jwe_key().cloned(), keys.seal.map(|key| encryption_key(query.format, key)));
            match request.credential() {
                ClientCredential::Secret(read) => prop_assert_eq!((read.expose(), by_assertion), (secret.as_bytes(), false)),
                ClientCredential::Assertion(read, bound) => {
                    prop_assert_eq!((read.expose(), by_assertion), (secret.as_bytes(), true));
                    prop_assert_eq!(*bound, digest(&id, &query, keys));
                }
            }
        }
    }
}
