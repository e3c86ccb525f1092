//! Token requests to the wire. CBOR is deterministic (RFC 8949 section 4.2.1).

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_bytes::Bytes;
use zeroize::Zeroizing;

use super::TokenQuery;
use crate::oauth::{ASSERTION_TYPE, ClientId, Format, GrantType, Param, RequestDigest, Table};

/// What a request carries as the client's proof.
#[derive(Debug, Clone, Copy)]
pub(super) enum Proof<'a> {
    Secret(&'a str),
    Assertion(&'a str),
}

/// What an assertion for a request of [`encode`] is bound to.
pub(super) fn digest(client_id: &ClientId, query: &TokenQuery) -> RequestDigest {
    let scope = query.scope.as_ref().map(ToString::to_string);
    RequestDigest::of_token_request(query.audience.as_deref(), scope.as_deref(), Some(client_id.as_str()))
}

/// Encodes a nonce request.
pub(super) fn encode_nonce(format: Format, state: Option<&str>) -> Zeroizing<Vec<u8>> {
    let members = Members { format, members: state.map(|state| (Param::State, state)).into_iter().collect() };
    to_bytes(&members)
}

/// Encodes a token request (RFC 6749 section 4.4.2, RFC 9200 section 5.8.1). The result holds the secret, so it is zeroised.
pub(super) fn encode(client_id: &ClientId, proof: Proof<'_>, query: &TokenQuery, state: Option<&str>) -> Zeroizing<Vec<u8>> {
    let scope = query.scope.as_ref().map(ToString::to_string);
    to_bytes(&Members::new(client_id, proof, query, scope.as_deref(), state))
}

fn to_bytes(members: &Members<'_>) -> Zeroizing<Vec<u8>> {
    // Sized for the longest request at once (JSON may escape one byte as six): a vector that grows leaves copies that are not wiped.
    let length = members.iter().fold(64, |sum: usize, (_, text)| sum.saturating_add(text.len().saturating_mul(6)).saturating_add(32));
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
    let members = Members::new(client_id, Proof::Secret("<client secret>"), query, scope.as_deref(), query.state.as_deref());
    match query.format {
        Format::Json => serde_json::to_string(&members).unwrap_or_default(),
        Format::Cbor => {
            let pairs: Vec<String> = members
                .iter()
                .map(|(param, text)| match param {
                    Param::ClientSecret => format!("{}: '{text}'", param.key(Table::Token).unwrap_or_default()),
                    _ => format!("{}: {text:?}", param.key(Table::Token).unwrap_or_default()),
                })
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// The members in the order of their CBOR keys, which is the deterministic one. The grant type is the default in CBOR and left out there.
struct Members<'a> {
    format: Format,
    members: Vec<(Param, &'a str)>,
}

impl<'a> Members<'a> {
    fn new(client_id: &'a ClientId, proof: Proof<'a>, query: &'a TokenQuery, scope: Option<&'a str>, state: Option<&'a str>) -> Self {
        let members = [
            (query.format == Format::Json).then_some((Param::GrantType, GrantType::ClientCredentials.name())),
            query.audience.as_deref().map(|audience| (Param::Audience, audience)),
            scope.map(|scope| (Param::Scope, scope)),
            Some((Param::ClientId, client_id.as_str())),
            match proof {
                Proof::Secret(secret) => Some((Param::ClientSecret, secret)),
                Proof::Assertion(_) => None,
            },
            state.map(|state| (Param::State, state)),
            match (proof, query.format) {
                (Proof::Assertion(_), Format::Json) => Some((Param::ClientAssertionType, ASSERTION_TYPE)),
                _ => None,
            },
            match proof {
                Proof::Assertion(assertion) => Some((Param::ClientAssertion, assertion)),
                Proof::Secret(_) => None,
            },
        ];
        Self { format: query.format, members: members.into_iter().flatten().collect() }
    }

    fn iter(&self) -> impl Iterator<Item = (Param, &'a str)> {
        self.members.iter().copied()
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.iter().count()))?;
        for (param, text) in self.iter() {
            match (self.format, param) {
                (Format::Json, _) => map.serialize_entry(param.name(), text)?,
                (Format::Cbor, Param::ClientSecret) => map.serialize_entry(&param.key(Table::Token), Bytes::new(text.as_bytes()))?,
                (Format::Cbor, _) => map.serialize_entry(&param.key(Table::Token), text)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{ClientCredential, TokenAsk, decode_client_request};

    fn query(format: Format) -> TokenQuery {
        TokenQuery { format, scope: Some("b a".parse().unwrap()), audience: Some("rs".into()), state: None }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn json_request_is_golden() {
        let payload = encode(&"dev1".parse().unwrap(), Proof::Secret("s\"1"), &query(Format::Json), Some("7"));
        let expected =
            r#"{"grant_type":"client_credentials","audience":"rs","scope":"a b","client_id":"dev1","client_secret":"s\"1","state":"7"}"#;
        assert_eq!(std::str::from_utf8(&payload).unwrap(), expected);
    }

    #[test]
    fn cbor_request_is_golden_and_deterministic() {
        let payload = encode(&"dev1".parse().unwrap(), Proof::Secret("s1"), &query(Format::Cbor), Some("7"));
        // {5: "rs", 9: "a b", 24: "dev1", 25: h'7331', 28: "7"}
        assert_eq!(hex(&payload), "a5056272730963612062181864646576311819427331181c6137");
        let value: serde_cbor::Value = serde_cbor::from_slice(&payload).unwrap();
        assert_eq!(serde_cbor::to_vec(&value).unwrap(), *payload);
    }

    #[test]
    fn the_least_request_is_golden() {
        let least = |format| {
            let query = TokenQuery { format, scope: None, audience: None, state: None };
            encode(&"d".parse().unwrap(), Proof::Secret("s"), &query, None)
        };
        assert_eq!(hex(&least(Format::Cbor)), "a21818616418194173");
        assert_eq!(least(Format::Json).as_slice(), br#"{"grant_type":"client_credentials","client_id":"d","client_secret":"s"}"#);
    }

    #[test]
    fn the_gateway_reads_what_was_meant() {
        for format in [Format::Json, Format::Cbor] {
            let payload = encode(&"dev1".parse().unwrap(), Proof::Secret("geheim\u{e9}\n"), &query(format), Some("7"));
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
        for format in [Format::Json, Format::Cbor] {
            let id = "dev1".parse().unwrap();
            let payload = encode(&id, Proof::Assertion("a.b.c"), &query(format), Some("7"));
            let request = decode_client_request::<TokenAsk>(format, &payload).unwrap();
            let ClientCredential::Assertion(assertion, bound) = request.credential() else { panic!("no assertion") };
            assert_eq!((assertion.expose(), *bound), (&b"a.b.c"[..], digest(&id, &query(format))));
            if format == Format::Cbor {
                let value: serde_cbor::Value = serde_cbor::from_slice(&payload).unwrap();
                assert_eq!(serde_cbor::to_vec(&value).unwrap(), *payload, "deterministic");
            }
        }
        assert_eq!(hex(&encode_nonce(Format::Cbor, Some("7"))), "a1181c6137");
        assert_eq!(encode_nonce(Format::Json, None).as_slice(), b"{}");
    }

    #[test]
    fn the_longest_escapes_fit_without_growth() {
        let secret = "\u{1}".repeat(300);
        for format in [Format::Json, Format::Cbor] {
            // Asserted inside.
            assert!(encode(&"dev1".parse().unwrap(), Proof::Secret(&secret), &query(format), Some("7")).len() > 300);
        }
    }

    #[test]
    fn shown_requests_hide_the_secret() {
        let show = |format| describe(&"dev1".parse().unwrap(), &TokenQuery { state: Some("7".into()), ..query(format) });
        assert_eq!(show(Format::Cbor), r#"{5: "rs", 9: "a b", 24: "dev1", 25: '<client secret>', 28: "7"}"#);
        assert!(show(Format::Json).contains(r#""client_secret":"<client secret>""#));
    }
}
