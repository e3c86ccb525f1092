//! Requests from the wire: bounded, strict where RFC 6749 is strict, one pass over the payload.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::{ClientId, ErrorCode, Format, GrantType, Param, Reason, Refusal, RequestDigest, ScopeSet, Secret};

/// Levels of nesting below the request's own map; `req_cnf` with a COSE_Key needs two.
const MAX_DEPTH: u8 = 8;
/// Parameters in one request, known and unknown.
const MAX_PARAMS: usize = 32;
/// Bytes of `state`.
const MAX_STATE: usize = 64;
/// Bytes of `audience`.
const MAX_AUDIENCE: usize = 255;

/// The one `client_assertion_type` (RFC 7523 section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A well-formed token request (RFC 6749 section 4.4.2). Not `Clone`: it is spent by authentication.
#[must_use]
#[derive(Debug)]
pub struct TokenRequest {
    client_id: Option<ClientId>,
    credential: ClientCredential,
    scope: Option<ScopeSet>,
    audience: Option<Box<str>>,
    state: Option<Box<str>>,
}

/// How the client says that it is the client.
#[derive(Debug)]
pub enum ClientCredential {
    /// `client_secret` in the payload: `client_secret_post` of RFC 7591.
    Secret(Secret),
    /// `client_assertion` (RFC 7523 section 2.2): `private_key_jwt` of RFC 7591. Text, as it came, and what it can be bound to.
    Assertion(Secret, RequestDigest),
}

impl TokenRequest {
    /// The payload's `client_id`, if it has one.
    #[must_use]
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_ref()
    }

    /// The credential the client presents.
    #[must_use]
    pub fn credential(&self) -> &ClientCredential {
        &self.credential
    }

    /// The scopes asked for; `None` asks for the defaults.
    #[must_use]
    pub fn scope(&self) -> Option<&ScopeSet> {
        self.scope.as_ref()
    }

    /// The audience asked for.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// What to echo in the answer.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// A request that could not be decoded, with the `state` to echo where it was understood.
#[derive(Debug)]
pub struct MalformedRequest {
    /// Why.
    pub refusal: Refusal,
    /// The request's `state`, if it was read before the fault.
    pub state: Option<Box<str>>,
}

/// Decodes the payload of a token request.
///
/// Unknown parameters are ignored and repeated ones refused (RFC 6749 section 3.2). CBOR must use the integer keys; text keys are unknown parameters.
///
/// # Errors
/// `invalid_request` for anything malformed, missing or of the wrong type, `unsupported_grant_type`, `invalid_scope` for a scope that breaks its syntax,
/// `unsupported_pop_key` for a wish for proof of possession.
pub fn decode_token_request(format: Format, payload: &[u8]) -> Result<TokenRequest, Box<MalformedRequest>> {
    let mut params = Params::default();
    let read = read_params(format, payload, &mut params);
    let state = params.state();
    let build = |params: Params| -> Result<TokenRequest, Refusal> {
        read?;
        let state = state.clone()?;
        params.into_request(format, state)
    };
    build(params).map_err(|refusal| Box::new(MalformedRequest { refusal, state: state.clone().ok().flatten() }))
}

/// Decodes the payload of a nonce request, whose one parameter is `state`: that is returned.
///
/// # Errors
/// `invalid_request` for anything malformed.
pub fn decode_nonce_request(format: Format, payload: &[u8]) -> Result<Option<Box<str>>, Box<MalformedRequest>> {
    let mut params = Params::default();
    let read = read_params(format, payload, &mut params);
    let state = params.state();
    let checked = read.and_then(|()| state.clone());
    checked.map_err(|refusal| Box::new(MalformedRequest { refusal, state: state.ok().flatten() }))
}

fn invalid(reason: Reason, param: Param, rule: &str) -> Refusal {
    Refusal::invalid_request(reason, format!("{}: {rule}", param.name()))
}

/// The value of a parameter, as far as any parameter needs it.
enum Value {
    Text(Zeroizing<String>),
    Bytes(Zeroizing<Vec<u8>>),
    Integer(i64),
    Other,
}

#[derive(Default)]
struct Params(Vec<(Param, Value)>);

impl Params {
    fn get(&self, param: Param) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == param).map(|(_, value)| value)
    }

    fn text(&self, param: Param) -> Result<Option<&str>, Refusal> {
        match self.get(param) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(Reason::InvalidParameter, param, "must be a text string")),
        }
    }

    fn state(&self) -> Result<Option<Box<str>>, Refusal> {
        match self.text(Param::State)? {
            Some(state) if state.len() > MAX_STATE => Err(invalid(Reason::InvalidParameter, Param::State, "must be at most 64 bytes")),
            state => Ok(state.map(Box::from)),
        }
    }

    fn grant_type(&self, format: Format) -> Result<(), Refusal> {
        let grant_type = match (format, self.get(Param::GrantType)) {
            // RFC 9200 section 5.8.1: client credentials is the default.
            (Format::Cbor, None) => Some(GrantType::ClientCredentials),
            (Format::Json, None) => return Err(invalid(Reason::MissingParameter, Param::GrantType, "is required")),
            (Format::Json, Some(Value::Text(name))) => GrantType::from_name(name),
            (Format::Cbor, Some(Value::Integer(number))) => GrantType::from_number(*number),
            (Format::Json, Some(_)) => return Err(invalid(Reason::InvalidParameter, Param::GrantType, "must be a text string")),
            (Format::Cbor, Some(_)) => return Err(invalid(Reason::InvalidParameter, Param::GrantType, "must be an integer")),
        };
        if grant_type == Some(GrantType::ClientCredentials) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::UnsupportedGrantType, Reason::UnsupportedGrantType, "the grant type served is client_credentials"))
    }

    fn client_secret(&self, format: Format) -> Result<Option<Secret>, Refusal> {
        let bytes: &[u8] = match (format, self.get(Param::ClientSecret)) {
            (_, None) => return Ok(None),
            (Format::Json, Some(Value::Text(text))) => text.as_bytes(),
            (Format::Cbor, Some(Value::Bytes(bytes))) => bytes,
            (Format::Json, Some(_)) => return Err(invalid(Reason::InvalidParameter, Param::ClientSecret, "must be a text string")),
            (Format::Cbor, Some(_)) => return Err(invalid(Reason::InvalidParameter, Param::ClientSecret, "must be a byte string")),
        };
        Ok(Some(Secret::new(bytes.to_vec())))
    }

    fn credential(&self, format: Format) -> Result<ClientCredential, Refusal> {
        let secret = self.client_secret(format)?;
        let assertion = self.get(Param::ClientAssertion).or(self.get(Param::ClientAssertionType)).is_some();
        match secret {
            Some(_) if assertion => {
                Err(Refusal::invalid_request(Reason::SeveralAuthMethods, "client_secret and client_assertion exclude each other"))
            }
            Some(secret) => Ok(ClientCredential::Secret(secret)),
            None if assertion => self.assertion(format),
            None => Err(Refusal::invalid_request(Reason::MissingParameter, "client_secret or client_assertion is required")),
        }
    }

    fn assertion(&self, format: Format) -> Result<ClientCredential, Refusal> {
        match (format, self.text(Param::ClientAssertionType)?) {
            (_, Some(ASSERTION_TYPE)) | (Format::Cbor, None) => {}
            (Format::Json, None) => return Err(invalid(Reason::MissingParameter, Param::ClientAssertionType, "is required")),
            // RFC 7521 section 4.2.1; the same for every client, so the text may help.
            (_, Some(_)) => {
                let text = "the client_assertion_type is not supported";
                return Err(Refusal::new(ErrorCode::InvalidClient, Reason::UnsupportedAuthMethod, text));
            }
        }
        let assertion =
            self.text(Param::ClientAssertion)?.ok_or_else(|| invalid(Reason::MissingParameter, Param::ClientAssertion, "is required"))?;
        let text = |param| self.text(param).ok().flatten();
        let digest = RequestDigest::of(text(Param::Audience), text(Param::Scope), text(Param::ClientId));
        Ok(ClientCredential::Assertion(Secret::new(assertion.as_bytes().to_vec()), digest))
    }

    fn scope(&self) -> Result<Option<ScopeSet>, Refusal> {
        let Some(text) = self.text(Param::Scope)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Refusal::new(ErrorCode::InvalidScope, Reason::InvalidParameter, "scope: must be scope-tokens separated by single spaces")
        })
    }

    fn into_request(self, format: Format, state: Option<Box<str>>) -> Result<TokenRequest, Refusal> {
        self.grant_type(format)?;
        let client_id = self
            .text(Param::ClientId)?
            .map(str::parse)
            .transpose()
            .map_err(|_| invalid(Reason::InvalidParameter, Param::ClientId, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"))?;
        let credential = self.credential(format)?;
        let audience = match self.text(Param::Audience)? {
            Some(audience) if audience.is_empty() || audience.len() > MAX_AUDIENCE => {
                return Err(invalid(Reason::InvalidParameter, Param::Audience, "must be 1 to 255 bytes"));
            }
            audience => audience.map(Box::from),
        };
        if self.get(Param::ReqCnf).is_some() {
            let text = "proof-of-possession tokens are not issued here";
            return Err(Refusal::new(ErrorCode::UnsupportedPopKey, Reason::UnsupportedPopKey, text));
        }
        Ok(TokenRequest { client_id, credential, scope: self.scope()?, audience, state })
    }
}

fn read_params(format: Format, payload: &[u8], params: &mut Params) -> Result<(), Refusal> {
    let fault = Cell::new(None);
    let seed = ParamsSeed { format, params, fault: &fault };
    let done = match format {
        Format::Json => {
            let mut json = serde_json::Deserializer::from_slice(payload);
            seed.deserialize(&mut json).and_then(|()| json.end()).is_ok()
        }
        Format::Cbor => {
            let mut cbor = serde_cbor::Deserializer::from_slice(payload);
            seed.deserialize(&mut cbor).and_then(|()| cbor.end()).is_ok()
        }
    };
    match (done, fault.take()) {
        (true, None) => Ok(()),
        (_, Some(refusal)) => Err(refusal),
        (false, None) => Err(Refusal::invalid_request(
            Reason::Malformed,
            match format {
                Format::Json => "the payload is not one well-formed JSON object",
                Format::Cbor => "the payload is not one well-formed CBOR map",
            },
        )),
    }
}

/// Reads the request's map; the first fault that is not a syntax error goes to `fault`.
struct ParamsSeed<'a> {
    format: Format,
    params: &'a mut Params,
    fault: &'a Cell<Option<Refusal>>,
}

impl<'de> DeserializeSeed<'de> for ParamsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ParamsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let refuse = |refusal| {
            self.fault.set(Some(refusal));
            A::Error::custom("refused")
        };
        let mut unknown: Vec<Key> = Vec::new();
        while let Some(key) = map.next_key::<Key>()? {
            let value = map.next_value_seed(ValueSeed { depth: MAX_DEPTH, fault: self.fault })?;
            match key.param(self.format) {
                Some(param) if self.params.get(param).is_some() => {
                    return Err(refuse(invalid(Reason::RepeatedParameter, param, "stands twice")));
                }
                Some(param) => self.params.0.push((param, value)),
                None if unknown.contains(&key) => {
                    return Err(refuse(Refusal::invalid_request(Reason::RepeatedParameter, "a parameter stands twice")));
                }
                None => unknown.push(key),
            }
            if self.params.0.len().saturating_add(unknown.len()) > MAX_PARAMS {
                return Err(refuse(Refusal::invalid_request(Reason::TooComplex, "the request has more than 32 parameters")));
            }
        }
        Ok(())
    }
}

#[derive(PartialEq)]
enum Key {
    Name(String),
    Number(i64),
}

impl Key {
    fn param(&self, format: Format) -> Option<Param> {
        match (format, self) {
            (Format::Json, Self::Name(name)) => Param::from_name(name),
            (Format::Cbor, Self::Number(key)) => Param::from_key(*key),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a parameter name or key")
            }

            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(Key::Name(name.to_owned()))
            }

            fn visit_i64<E>(self, key: i64) -> Result<Key, E> {
                Ok(Key::Number(key))
            }

            fn visit_u64<E: serde::de::Error>(self, key: u64) -> Result<Key, E> {
                i64::try_from(key).map(Key::Number).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(KeyVisitor)
    }
}

/// Reads any value to its end, no deeper than `depth`, and keeps it if it is a scalar.
struct ValueSeed<'a> {
    depth: u8,
    fault: &'a Cell<Option<Refusal>>,
}

impl ValueSeed<'_> {
    fn below<E: serde::de::Error>(&self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, fault: self.fault }),
            None => {
                self.fault.set(Some(Refusal::invalid_request(Reason::TooComplex, "the request nests too deep")));
                Err(E::custom("refused"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(Zeroizing::new(bytes.to_vec())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Other, Value::Integer))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element_seed(self.below()?)?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_key_seed(self.below()?)?.is_some() {
            map.next_value_seed(self.below()?)?;
        }
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<TokenRequest, Box<MalformedRequest>> {
        decode_token_request(Format::Json, text.as_bytes())
    }

    fn cbor(hex: &str) -> Result<TokenRequest, Box<MalformedRequest>> {
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at.checked_add(2).unwrap()], 16).unwrap()).collect();
        decode_token_request(Format::Cbor, &bytes)
    }

    fn reason(result: Result<TokenRequest, Box<MalformedRequest>>) -> (ErrorCode, Reason) {
        let refusal = result.map(|_| ()).unwrap_err().refusal;
        (refusal.code(), refusal.reason())
    }

    #[test]
    fn reads_json() {
        let request = json(r#"{"grant_type":"client_credentials","client_id":"dev1","client_secret":"s","scope":"b a","audience":"rs","state":"7","x":[1]}"#)
            .unwrap();
        assert_eq!(request.client_id().unwrap().as_str(), "dev1");
        assert!(matches!(request.credential(), ClientCredential::Secret(secret) if secret.expose() == b"s"));
        assert_eq!(request.scope().unwrap().to_string(), "a b");
        assert_eq!(request.audience(), Some("rs"));
        assert_eq!(request.state(), Some("7"));
    }

    #[test]
    fn reads_cbor_with_and_without_a_grant_type() {
        // {24: "dev1", 25: h'73', 9: "a"} and the same with 33: 2, in an indefinite-length map
        let request = cbor("a3181864646576311819417309 6161".replace(' ', "").as_str()).unwrap();
        assert_eq!(request.client_id().unwrap().as_str(), "dev1");
        assert_eq!(request.scope().unwrap().to_string(), "a");
        assert!(cbor("bf18186464657631181941731821 02ff".replace(' ', "").as_str()).is_ok());
    }

    #[test]
    fn deny_malformed() {
        for text in ["", "{", "[]", "null", "1", r#"{"grant_type":"client_credentials""#, r#"{"a":1}{"#, r#"{"a":1} x"#, "\u{feff}{}"] {
            assert_eq!(reason(json(text)), (ErrorCode::InvalidRequest, Reason::Malformed), "{text}");
        }
        for hex in ["", "a1", "80", "f6", "a11818", "bf1818", "a0 00", "ff", "a1 1818 7f", "5b3fffffffffffffff", "bb3fffffffffffffff"] {
            assert_eq!(reason(cbor(&hex.replace(' ', ""))), (ErrorCode::InvalidRequest, Reason::Malformed), "{hex}");
        }
    }

    #[test]
    fn deny_repeated() {
        for text in [r#"{"scope":"a","scope":"a"}"#, r#"{"x":1,"x":2}"#, r#"{"scope":"a","sc\u006fpe":"b"}"#] {
            assert_eq!(reason(json(text)), (ErrorCode::InvalidRequest, Reason::RepeatedParameter), "{text}");
        }
        for hex in ["a2096161096161", "a2186400186401", "a20961611809 6161"] {
            assert_eq!(reason(cbor(&hex.replace(' ', ""))), (ErrorCode::InvalidRequest, Reason::RepeatedParameter), "{hex}");
        }
    }

    #[test]
    fn deny_too_deep_and_too_many() {
        let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(4000), "]".repeat(4000));
        assert_eq!(reason(json(&deep)), (ErrorCode::InvalidRequest, Reason::TooComplex));
        let deep = format!("a10a{}", "81".repeat(4000));
        assert_eq!(reason(cbor(&deep)), (ErrorCode::InvalidRequest, Reason::TooComplex));
        let many: Vec<String> = (0..40).map(|n| format!(r#""p{n}":0"#)).collect();
        assert_eq!(reason(json(&format!("{{{}}}", many.join(",")))), (ErrorCode::InvalidRequest, Reason::TooComplex));
    }

    #[test]
    fn deny_wrong_types() {
        let with = |param: &str| format!(r#"{{"grant_type":"client_credentials","client_secret":"s",{param}}}"#);
        for param in
            [r#""client_id":1"#, r#""client_id":"a/b""#, r#""scope":["a"]"#, r#""audience":null"#, r#""audience":"""#, r#""state":7"#]
        {
            assert_eq!(reason(json(&with(param))), (ErrorCode::InvalidRequest, Reason::InvalidParameter), "{param}");
        }
        assert_eq!(reason(json(&with(r#""scope":"a  b""#))), (ErrorCode::InvalidScope, Reason::InvalidParameter));
        // client_secret as text, client_id as bytes, grant_type as text
        for hex in ["a118196173", "a2 1819 4173 1818 4161", "a2 1819 4173 1821 6132"] {
            assert_eq!(reason(cbor(&hex.replace(' ', ""))), (ErrorCode::InvalidRequest, Reason::InvalidParameter), "{hex}");
        }
    }

    #[test]
    fn deny_missing_and_unsupported() {
        assert_eq!(reason(json(r#"{"client_secret":"s"}"#)), (ErrorCode::InvalidRequest, Reason::MissingParameter));
        assert_eq!(reason(json(r#"{"grant_type":"client_credentials"}"#)), (ErrorCode::InvalidRequest, Reason::MissingParameter));
        assert_eq!(reason(cbor("a0")), (ErrorCode::InvalidRequest, Reason::MissingParameter));
        for grant in ["password", "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"] {
            let text = format!(r#"{{"grant_type":"{grant}","client_secret":"s"}}"#);
            assert_eq!(reason(json(&text)), (ErrorCode::UnsupportedGrantType, Reason::UnsupportedGrantType));
        }
        assert_eq!(
            reason(cbor("a2181941731821 00".replace(' ', "").as_str())),
            (ErrorCode::UnsupportedGrantType, Reason::UnsupportedGrantType)
        );
        let text = r#"{"grant_type":"client_credentials","client_secret":"s","client_assertion":"x"}"#;
        assert_eq!(reason(json(text)), (ErrorCode::InvalidRequest, Reason::SeveralAuthMethods));
        let text = r#"{"grant_type":"client_credentials","client_secret":"s","req_cnf":{"jwk":{}}}"#;
        assert_eq!(reason(json(text)), (ErrorCode::UnsupportedPopKey, Reason::UnsupportedPopKey));
    }

    #[test]
    fn reads_assertions() {
        let text = format!(
            r#"{{"grant_type":"client_credentials","scope":"b  a","client_assertion":"a.b.c","client_assertion_type":"{ASSERTION_TYPE}"}}"#
        );
        let request = json(&text.replace("b  a", "b a")).unwrap();
        let ClientCredential::Assertion(assertion, digest) = request.credential() else { panic!("no assertion") };
        assert_eq!(assertion.expose(), b"a.b.c");
        // {9: "b a", -65537: "a.b.c"}; the scope as it stands
        let request = cbor("a20963622061 3a00010000 65612e622e63".replace(' ', "").as_str()).unwrap();
        let ClientCredential::Assertion(same, same_digest) = request.credential() else { panic!("no assertion") };
        assert_eq!((same.expose(), same_digest), (assertion.expose(), digest));
    }

    #[test]
    fn deny_half_an_assertion() {
        let with = |members: &str| json(&format!(r#"{{"grant_type":"client_credentials",{members}}}"#));
        let missing = (ErrorCode::InvalidRequest, Reason::MissingParameter);
        assert_eq!(reason(with(r#""client_assertion":"a.b.c""#)), missing);
        assert_eq!(reason(with(&format!(r#""client_assertion_type":"{ASSERTION_TYPE}""#))), missing);
        let saml = r#""client_assertion":"a","client_assertion_type":"urn:ietf:params:oauth:client-assertion-type:saml2-bearer""#;
        assert_eq!(reason(with(saml)), (ErrorCode::InvalidClient, Reason::UnsupportedAuthMethod));
        let bytes = (ErrorCode::InvalidRequest, Reason::InvalidParameter);
        assert_eq!(reason(cbor("a13a0001000041ff")), bytes, "a COSE_Sign1 is not served");
    }

    #[test]
    fn nonce_requests_are_strict_too() {
        let json = |text: &str| decode_nonce_request(Format::Json, text.as_bytes());
        assert_eq!(json("{}").unwrap(), None);
        assert_eq!(json(r#"{"state":"7","client_id":1}"#).unwrap().as_deref(), Some("7"));
        assert_eq!(decode_nonce_request(Format::Cbor, b"\xa1\x18\x1c\x617").unwrap().as_deref(), Some("7"));
        for text in ["", "[]", r#"{"state":7}"#, r#"{"state":"7","state":"7"}"#] {
            assert_eq!(json(text).unwrap_err().refusal.code(), ErrorCode::InvalidRequest, "{text}");
        }
    }

    #[test]
    fn state_is_echoed_with_errors_that_come_after_it() {
        assert_eq!(json(r#"{"state":"7"}"#).unwrap_err().state.as_deref(), Some("7"));
        assert_eq!(json(r#"{"state":"7","state":"8"}"#).unwrap_err().state.as_deref(), Some("7"));
        assert!(json(&format!(r#"{{"state":"{}"}}"#, "x".repeat(65))).unwrap_err().state.is_none());
    }
}
