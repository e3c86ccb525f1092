//! Answers from the wire: unknown members are ignored (RFC 6749 section 5.1), everything else is strict.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::{CredentialAnswer, DeviceError, NewCredential, RegisterAnswer, TokenAnswer};
use crate::oauth::{ErrorCode, Format, Param, Secret, Table, TokenType};

/// An answer that was understood: a token, a nonce, a credential, a registration or a refusal, and the `state` that says whose it is.
#[derive(Debug)]
pub(super) struct Answer {
    /// A token, none if it is something else that was asked for, or [`DeviceError::Rejected`].
    pub(super) outcome: Result<Option<TokenAnswer>, DeviceError>,
    /// Another credential of the client.
    pub(super) credential: Option<CredentialAnswer>,
    /// What the device is registered as.
    pub(super) registered: Option<RegisterAnswer>,
    /// A nonce for the next assertion, as its claim has it.
    pub(super) nonce: Option<String>,
    /// The request's `state`.
    pub(super) state: Option<String>,
}

/// Decodes an answer of the token endpoint. The error is what is wrong with it, without its content.
pub(super) fn decode(format: Format, payload: &[u8]) -> Result<Answer, String> {
    let members = Members::read(format, payload)?;
    let has = |param: Param| members.get(param).is_some();
    let mut answer =
        Answer { outcome: Ok(None), credential: None, registered: None, nonce: members.nonce()?, state: members.text(Param::State)? };
    match members.get(Param::Error) {
        Some(error) => answer.outcome = Err(members.rejection(error)?),
        None if has(Param::AccessToken) => answer.outcome = Ok(Some(members.token()?)),
        None if has(Param::Cnonce) => {}
        None if has(Param::ClientIdIssuedAt) => answer.registered = Some(members.registered()?),
        None if has(Param::ClientSecret) || has(Param::Kid) => answer.credential = Some(members.credential()?),
        None => answer.outcome = Ok(Some(members.token()?)),
    }
    Ok(answer)
}

struct Members {
    format: Format,
    members: Vec<(Param, Value)>,
}

/// A value as far as any member needs it.
enum Value {
    Text(String),
    Bytes(Vec<u8>),
    Integer(i128),
    Other,
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Number(number) => number.as_i128().map_or(Self::Other, Self::Integer),
            _ => Self::Other,
        }
    }
}

impl From<serde_cbor::Value> for Value {
    fn from(value: serde_cbor::Value) -> Self {
        match value {
            serde_cbor::Value::Text(text) => Self::Text(text),
            serde_cbor::Value::Bytes(bytes) => Self::Bytes(bytes),
            serde_cbor::Value::Integer(number) => Self::Integer(number),
            _ => Self::Other,
        }
    }
}

/// A map as it stands, repeated keys included, which the maps of both crates would hide.
struct Pairs<V>(Vec<(V, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
            type Value = Pairs<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of members")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
                let mut pairs = Vec::with_capacity(5);
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

impl Members {
    fn read(format: Format, payload: &[u8]) -> Result<Self, String> {
        // The crates' own errors could quote the answer.
        let pairs: Vec<(Value, Value)> = match format {
            Format::Json => {
                let pairs: Pairs<serde_json::Value> = serde_json::from_slice(payload).map_err(|_| "not one well-formed JSON object")?;
                pairs.0.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
            }
            Format::Cbor => {
                let pairs: Pairs<serde_cbor::Value> = serde_cbor::from_slice(payload).map_err(|_| "not one well-formed CBOR map")?;
                pairs.0.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
            }
        };
        let mut members = Self { format, members: Vec::with_capacity(pairs.len()) };
        for (key, value) in pairs {
            let param = match (format, key) {
                (Format::Json, Value::Text(name)) => Param::from_name(&name),
                (Format::Cbor, Value::Integer(key)) => i64::try_from(key).ok().and_then(|key| Param::from_key(Table::Token, key)),
                _ => None,
            };
            match param {
                Some(param) if members.get(param).is_some() => return Err(format!("{} stands twice", param.name())),
                Some(param) => members.members.push((param, value)),
                None => {}
            }
        }
        Ok(members)
    }

    fn get(&self, param: Param) -> Option<&Value> {
        self.members.iter().find(|(known, _)| *known == param).map(|(_, value)| value)
    }

    fn text(&self, param: Param) -> Result<Option<String>, String> {
        match self.get(param) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{}: not a text string", param.name())),
        }
    }

    fn seconds(&self, param: Param) -> Result<Option<u64>, String> {
        match self.get(param) {
            None => Ok(None),
            Some(Value::Integer(number)) => {
                u64::try_from(*number).map(Some).map_err(|_| format!("{}: not a number of seconds", param.name()))
            }
            Some(_) => Err(format!("{}: not a number of seconds", param.name())),
        }
    }

    /// Text in JSON, in CBOR the bytes of one.
    fn opaque(&self, param: Param) -> Result<Option<String>, String> {
        match (self.format, self.get(param)) {
            (_, None) => Ok(None),
            (Format::Json, Some(Value::Text(text))) => Ok(Some(text.clone())),
            (Format::Cbor, Some(Value::Bytes(bytes))) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err(format!("{}: not text", param.name())),
            },
            (_, Some(_)) => Err(format!("{}: of the wrong type", param.name())),
        }
    }

    fn credential(&self) -> Result<CredentialAnswer, String> {
        let required = |param: Param| self.seconds(param)?.ok_or_else(|| format!("{}: missing", param.name()));
        let credential = match (self.opaque(Param::ClientSecret)?, self.opaque(Param::Kid)?) {
            (Some(secret), None) if !secret.is_empty() => {
                NewCredential::Secret { secret: Secret::new(secret.into_bytes()), expires_at: required(Param::ClientSecretExpiresAt)? }
            }
            (None, Some(kid)) if !kid.is_empty() => NewCredential::Key { kid },
            _ => return Err(format!("not one of {} and {}", Param::ClientSecret.name(), Param::Kid.name())),
        };
        Ok(CredentialAnswer { credential, previous_expires_at: required(Param::PreviousExpiresAt)? })
    }

    fn nonce(&self) -> Result<Option<String>, String> {
        match (self.format, self.get(Param::Cnonce)) {
            (_, None) => Ok(None),
            (Format::Json, Some(Value::Text(nonce))) => Ok(Some(nonce.clone())),
            (Format::Cbor, Some(Value::Bytes(nonce))) => Ok(Some(URL_SAFE_NO_PAD.encode(nonce))),
            (_, Some(_)) => Err(format!("{}: of the wrong type", Param::Cnonce.name())),
        }
    }

    fn rejection(&self, error: &Value) -> Result<DeviceError, String> {
        let code = match (self.format, error) {
            (Format::Json, Value::Text(name)) => ErrorCode::from_name(name),
            (Format::Cbor, Value::Integer(number)) => i64::try_from(*number).ok().and_then(ErrorCode::from_number),
            _ => None,
        };
        let error = code.ok_or_else(|| format!("{}: not a known error code", Param::Error.name()))?;
        if self.get(Param::AccessToken).is_some() {
            return Err(format!("both {} and {}", Param::Error.name(), Param::AccessToken.name()));
        }
        let (description, retry_after) = (self.text(Param::ErrorDescription)?, self.seconds(Param::RetryAfter)?);
        Ok(DeviceError::Rejected { error, description, retry_after })
    }

    /// RFC 7591 section 3.2.1.
    fn registered(&self) -> Result<RegisterAnswer, String> {
        let missing = |param: Param| format!("{}: missing", param.name());
        let client_id = self.text(Param::ClientId)?.ok_or_else(|| missing(Param::ClientId))?;
        let secret = match (self.format, self.get(Param::ClientSecret)) {
            (_, None) => None,
            (Format::Json, Some(Value::Text(secret))) => Some(Secret::new(secret.clone().into_bytes())),
            (Format::Cbor, Some(Value::Bytes(secret))) => Some(Secret::new(secret.clone())),
            (_, Some(_)) => return Err(format!("{}: of the wrong type", Param::ClientSecret.name())),
        };
        Ok(RegisterAnswer {
            client_id: client_id.parse().map_err(|_| format!("{}: not a client id", Param::ClientId.name()))?,
            issued_at: self.seconds(Param::ClientIdIssuedAt)?.ok_or_else(|| missing(Param::ClientIdIssuedAt))?,
            secret,
            secret_expires_at: self.seconds(Param::ClientSecretExpiresAt)?,
            token_endpoint_auth_method: self
                .text(Param::TokenEndpointAuthMethod)?
                .ok_or_else(|| missing(Param::TokenEndpointAuthMethod))?,
            scope: self.text(Param::Scope)?.unwrap_or_default(),
        })
    }

    fn token(&self) -> Result<TokenAnswer, String> {
        let access_token = match (self.format, self.get(Param::AccessToken)) {
            (Format::Json, Some(Value::Text(token))) => token.clone(),
            // A CWT begins with a byte that no text does.
            (Format::Cbor, Some(Value::Bytes(token))) => String::from_utf8(token.clone()).unwrap_or_else(|_| URL_SAFE_NO_PAD.encode(token)),
            (_, None) => return Err(format!("neither {} nor {}", Param::AccessToken.name(), Param::Error.name())),
            (_, Some(_)) => return Err(format!("{}: of the wrong type", Param::AccessToken.name())),
        };
        if access_token.is_empty() || !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{}: not a token", Param::AccessToken.name()));
        }
        let token_type = match (self.format, self.get(Param::TokenType)) {
            // RFC 6749 section 7.1: the value is case insensitive.
            (Format::Json, Some(Value::Text(name))) => TokenType::ALL.iter().copied().find(|known| known.name().eq_ignore_ascii_case(name)),
            (Format::Cbor, Some(Value::Integer(number))) => i64::try_from(*number).ok().and_then(TokenType::from_number),
            _ => None,
        }
        .ok_or_else(|| format!("{}: missing or unknown", Param::TokenType.name()))?;
        let expires_in = self.seconds(Param::ExpiresIn)?.ok_or_else(|| format!("{}: missing", Param::ExpiresIn.name()))?;
        Ok(TokenAnswer { access_token, token_type, expires_in, scope: self.text(Param::Scope)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{
        CredentialResponse, Reason, Refusal, RegisterResponse, Response, ScopeSet, ServerNonce, TokenResponse, TokenText, encode,
    };

    fn json(text: &str) -> Result<Answer, String> {
        decode(Format::Json, text.as_bytes())
    }

    fn cbor(hex: &str) -> Result<Answer, String> {
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at.checked_add(2).unwrap()], 16).unwrap()).collect();
        decode(Format::Cbor, &bytes)
    }

    #[test]
    fn reads_golden_tokens() {
        let expected = TokenAnswer { access_token: "abc".into(), token_type: TokenType::Bearer, expires_in: 300, scope: Some("a".into()) };
        for answer in [
            json(r#"{"access_token":"abc","token_type":"bearer","expires_in":300,"scope":"a","state":"7","x":[{"y":null}]}"#),
            cbor("a501436162630219012c096161181c6137182201"),
            // with an unknown key 100 and an indefinite length
            cbor("bf186482a10102f501436162630219012c096161181c6137182201ff"),
        ] {
            let answer = answer.unwrap();
            assert_eq!(answer.outcome, Ok(Some(expected.clone())));
            assert_eq!(answer.state.as_deref(), Some("7"));
        }
    }

    #[test]
    fn reads_golden_rejections() {
        let expected = DeviceError::Rejected { error: ErrorCode::InvalidClient, description: None, retry_after: None };
        assert_eq!(cbor("a1181e02").unwrap().outcome, Err(expected.clone()));
        assert_eq!(json(r#"{"error":"invalid_client"}"#).unwrap().outcome, Err(expected));
        let overloaded = cbor("a2181e3a00010000 3a0001000105".replace(' ', "").as_str()).unwrap().outcome;
        assert_eq!(
            overloaded,
            Err(DeviceError::Rejected { error: ErrorCode::TemporarilyUnavailable, description: None, retry_after: Some(5) })
        );
    }

    #[test]
    fn reads_whatever_the_gateway_writes() {
        let scope: ScopeSet = "a b".parse().unwrap();
        let token = TokenResponse {
            access_token: TokenText::Characters("a.b.c"),
            token_type: TokenType::Bearer,
            expires_in: 0,
            scope: Some(&scope),
        };
        for format in [Format::Json, Format::Cbor] {
            let answer = decode(format, &encode(format, Table::Token, Response::Token(token), Some("\u{e9}"))).unwrap();
            assert_eq!(answer.outcome.unwrap().unwrap().scope.as_deref(), Some("a b"));
            assert_eq!(answer.state.as_deref(), Some("\u{e9}"));
            for code in ErrorCode::ALL {
                let refusal = Refusal::new(*code, Reason::Malformed, "text");
                let answer = decode(format, &encode(format, Table::Token, Response::Error(&refusal), None)).unwrap();
                assert_eq!(
                    answer.outcome,
                    Err(DeviceError::Rejected { error: *code, description: Some("text".into()), retry_after: None })
                );
            }
        }
    }

    #[test]
    fn reads_nonces_in_both_answers_that_have_one() {
        let nonce = ServerNonce { value: [0xff; 24], expires_in: 45 };
        let refusal = Refusal::use_nonce(Reason::StaleNonce, nonce);
        for format in [Format::Json, Format::Cbor] {
            let given = decode(format, &encode(format, Table::Token, Response::Nonce(&nonce), Some("7"))).unwrap();
            assert_eq!((given.outcome, given.nonce, given.state), (Ok(None), Some("_".repeat(32)), Some("7".into())));
            let told = decode(format, &encode(format, Table::Token, Response::Error(&refusal), None)).unwrap();
            assert_eq!(told.nonce, Some("_".repeat(32)));
            assert!(matches!(told.outcome, Err(DeviceError::Rejected { error: ErrorCode::UseNonce, .. })));
        }
        assert!(json(r#"{"cnonce":7,"expires_in":45}"#).is_err());
    }

    #[test]
    fn reads_credentials_of_both_kinds() {
        let (client_id, client_secret) = ("d".parse().unwrap(), Secret::new(b"s".to_vec()));
        let secret = CredentialResponse::Secret {
            client_id: &client_id,
            client_secret: &client_secret,
            client_secret_expires_at: 0,
            previous_expires_at: 9,
        };
        let key = CredentialResponse::Key { client_id: &client_id, kid: "k", previous_expires_at: 9 };
        for format in [Format::Json, Format::Cbor] {
            let read = |response| decode(format, &encode(format, Table::Token, Response::Credential(response), None)).unwrap().credential;
            let Some(CredentialAnswer { credential: NewCredential::Secret { secret, expires_at: 0 }, previous_expires_at: 9 }) =
                read(secret)
            else {
                panic!("{format:?}")
            };
            assert_eq!(secret.expose(), b"s");
            let kid = read(key).map(|answer| answer.credential);
            assert!(matches!(kid, Some(NewCredential::Key { kid }) if kid == "k"));
        }
        for text in [
            r#"{"client_secret":"s","client_secret_expires_at":0}"#,
            r#"{"client_secret":"s","previous_expires_at":9}"#,
            r#"{"client_secret":"","client_secret_expires_at":0,"previous_expires_at":9}"#,
            r#"{"client_secret":"s","kid":"k","client_secret_expires_at":0,"previous_expires_at":9}"#,
            r#"{"kid":7,"previous_expires_at":9}"#,
        ] {
            assert!(json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_registrations() {
        let (client_id, scope) = ("dev1".parse().unwrap(), "a b".parse().unwrap());
        let secret = Secret::new(b"s1".to_vec());
        for (format, secret) in [(Format::Json, Some(&secret)), (Format::Cbor, Some(&secret)), (Format::Json, None), (Format::Cbor, None)] {
            let token_endpoint_auth_method = "client_secret_post";
            let response = RegisterResponse { client_id: &client_id, issued_at: 7, secret, token_endpoint_auth_method, scope: &scope };
            let answer = decode(format, &encode(format, Table::Token, Response::Registered(response), Some("1"))).unwrap();
            assert_eq!((answer.outcome, answer.state.as_deref()), (Ok(None), Some("1")));
            let registered = answer.registered.unwrap();
            assert_eq!((registered.client_id.as_str(), registered.issued_at, registered.scope.as_str()), ("dev1", 7, "a b"));
            assert_eq!(registered.secret.as_ref().map(Secret::expose), secret.map(Secret::expose));
            assert_eq!(registered.secret_expires_at, secret.map(|_| 0));
            assert!(!format!("{registered:?}").contains("s1"));
        }
        for text in [
            r#"{"client_id_issued_at":7,"token_endpoint_auth_method":"private_key_jwt"}"#,
            r#"{"client_id":"a/b","client_id_issued_at":7,"token_endpoint_auth_method":"private_key_jwt"}"#,
            r#"{"client_id":"a","client_id_issued_at":"7","token_endpoint_auth_method":"private_key_jwt"}"#,
            r#"{"client_id":"a","client_id_issued_at":7}"#,
            r#"{"client_id":"a","client_id_issued_at":7,"client_secret":7,"token_endpoint_auth_method":"client_secret_post"}"#,
        ] {
            assert!(json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn deny_what_is_no_answer() {
        for text in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"access_token":"abc","token_type":"Bearer"}"#,
            r#"{"access_token":"abc","expires_in":300}"#,
            r#"{"access_token":"abc","token_type":"mac","expires_in":300}"#,
            r#"{"access_token":"","token_type":"Bearer","expires_in":300}"#,
            r#"{"access_token":"a b","token_type":"Bearer","expires_in":300}"#,
            r#"{"access_token":1,"token_type":"Bearer","expires_in":300}"#,
            r#"{"access_token":"abc","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"abc","token_type":"Bearer","expires_in":1.5}"#,
            r#"{"access_token":"abc","token_type":"Bearer","expires_in":"300"}"#,
            r#"{"access_token":"abc","token_type":"Bearer","expires_in":300,"scope":["a"]}"#,
            r#"{"access_token":"abc","token_type":"Bearer","expires_in":300,"state":7}"#,
            r#"{"access_token":"abc","access_token":"abc","token_type":"Bearer","expires_in":300}"#,
            r#"{"access_token":"abc","token_type":"Bearer","expires_in":300,"error":"invalid_scope"}"#,
            r#"{"access_token":"abc","token_type":"Bearer","expires_in":300} x"#,
            r#"{"error":"out_of_coffee"}"#,
            r#"{"error":2}"#,
            r#"{"error":"invalid_client","retry_after":"soon"}"#,
        ] {
            assert!(json(text).is_err(), "{text}");
        }
        // the token as text, a byte after the end, text keys, the error as text, cut short
        for hex in ["a301636162630219012c182201", "a1181e0200", "a1656572726f7202", "a1181e6e696e76616c69645f636c69656e74", "a1181e"] {
            assert!(cbor(hex).is_err(), "{hex}");
        }
    }

    #[test]
    fn a_fault_does_not_repeat_the_token() {
        let fault = json(r#"{"access_token":"se cret","token_type":"Bearer","expires_in":300}"#).unwrap_err();
        assert!(!fault.contains("se cret"), "{fault}");
        let answer = json(r#"{"access_token":"secret","token_type":"Bearer","expires_in":300}"#).unwrap();
        assert!(!format!("{answer:?}").contains("secret"));
    }
}
