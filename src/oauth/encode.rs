//! Answers to the wire. CBOR is deterministic (RFC 8949 section 4.2.1).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_cbor::Value as Structure;

use super::params::Table;
use super::{ClientId, Format, Param, Refusal, ScopeSet, Secret, ServerNonce, TokenType};

/// An answer of the token endpoint.
#[derive(Debug, Clone)]
pub enum Response<'a> {
    /// RFC 6749 section 5.1.
    Token(TokenResponse<'a>),
    /// RFC 7662 section 2.2: what a live token says, or that there is none.
    Introspection(Option<Introspection<'a>>),
    /// RFC 7009 section 2.2: it is done, and there is nothing to say of it.
    Done,
    /// A nonce, by the name of RFC 9200 section 5.3.1 and with its lifetime.
    Nonce(&'a ServerNonce),
    /// A client's new credential, by the names of RFC 7591 section 3.2.1.
    Credential(CredentialResponse<'a>),
    /// RFC 7591 section 3.2.1.
    Registered(RegisterResponse<'a>),
    /// RFC 6749 section 5.2.
    Error(&'a Refusal),
}

/// The members of the answer to a client that gets another credential.
#[derive(Debug, Clone, Copy)]
pub enum CredentialResponse<'a> {
    /// A secret, shown this once.
    Secret {
        /// Whose it is.
        client_id: &'a ClientId,
        /// The secret.
        client_secret: &'a Secret,
        /// When it ends, in seconds since the epoch; 0 for never.
        client_secret_expires_at: u64,
        /// When the one before ends at the latest, once the new one was used.
        previous_expires_at: u64,
    },
    /// A key that was taken.
    Key {
        /// Whose it is.
        client_id: &'a ClientId,
        /// What it is called in assertions.
        kid: &'a str,
        /// When the one before ends at the latest, once the new one was used.
        previous_expires_at: u64,
    },
}

/// The members of the answer to a registration (RFC 7591 section 3.2.1).
#[derive(Debug, Clone, Copy)]
pub struct RegisterResponse<'a> {
    /// Who the device is from now on.
    pub client_id: &'a ClientId,
    /// Since when, in seconds since the epoch.
    pub issued_at: u64,
    /// Its secret, which does not expire, if it has one.
    pub secret: Option<&'a Secret>,
    /// How it authenticates.
    pub token_endpoint_auth_method: &'static str,
    /// What it is granted.
    pub scope: &'a ScopeSet,
}

/// A token in its own serialisation.
#[derive(Debug, Clone, Copy)]
pub enum TokenText<'a> {
    /// A JWT: text in JSON, a byte string of its characters in CBOR.
    Characters(&'a str),
    /// A CWT: base64url in JSON, a byte string in CBOR.
    Bytes(&'a [u8]),
}

/// The members of a successful answer (RFC 6749 section 5.1).
#[derive(Debug, Clone, Copy)]
pub struct TokenResponse<'a> {
    /// The token, in its own serialisation.
    pub access_token: TokenText<'a>,
    /// Always sent: in ACE the default would be PoP.
    pub token_type: TokenType,
    /// Seconds from now; always sent.
    pub expires_in: u64,
    /// Sent when it differs from what was asked for.
    pub scope: Option<&'a ScopeSet>,
}

/// The members that tell of a live token (RFC 7662 section 2.2).
#[derive(Debug, Clone)]
pub struct Introspection<'a> {
    /// Its scope as text, or in CBOR the bytes of permissions.
    pub scope: Result<&'a str, Vec<u8>>,
    /// To whom it was issued.
    pub client_id: &'a str,
    /// Whether its holder must show possession of a key.
    pub token_type: TokenType,
    /// When it expires, in seconds since the epoch, as are the two that follow; `None` for one that lives from its first sight.
    pub exp: Option<u64>,
    /// When it was issued.
    pub iat: u64,
    /// Before when it is not to be accepted.
    pub nbf: Option<u64>,
    /// Its subject.
    pub sub: &'a str,
    /// Its audience.
    pub aud: &'a str,
    /// Its issuer.
    pub iss: &'a str,
    /// The bytes of its id.
    pub jti: Vec<u8>,
    /// The key that it is bound to, by the members that the format has for it.
    pub cnf: Option<Structure>,
}

/// Encodes an answer, with the request's `state` if it had one; `table` has the keys for CBOR.
#[must_use]
pub fn encode(format: Format, table: Table, response: Response<'_>, state: Option<&str>) -> Vec<u8> {
    let mut members = Vec::with_capacity(5);
    let has_secret = matches!(response, Response::Credential(_));
    match response {
        Response::Token(token) => {
            let access_token = match token.access_token {
                TokenText::Characters(text) => Member::Opaque(text),
                TokenText::Bytes(bytes) => Member::Bytes(bytes.into()),
            };
            members.push((Param::AccessToken, access_token));
            members.push((Param::TokenType, Member::Code(token.token_type.name(), token.token_type.number())));
            members.push((Param::ExpiresIn, Member::Seconds(token.expires_in)));
            members.extend(token.scope.map(|scope| (Param::Scope, Member::Text(scope.to_string()))));
        }
        Response::Introspection(None) => members.push((Param::Active, Member::Flag(false))),
        Response::Introspection(Some(token)) => push_introspection(&mut members, token),
        Response::Done => {}
        Response::Nonce(nonce) => push_nonce(&mut members, nonce),
        Response::Credential(credential) => push_credential(&mut members, &credential),
        Response::Registered(registered) => {
            members.push((Param::ClientId, Member::Text(registered.client_id.to_string())));
            members.push((Param::ClientIdIssuedAt, Member::Seconds(registered.issued_at)));
            // The gateway's secrets are text.
            if let Some(secret) = registered.secret.and_then(|secret| std::str::from_utf8(secret.expose()).ok()) {
                members.push((Param::ClientSecret, Member::Opaque(secret)));
                members.push((Param::ClientSecretExpiresAt, Member::Seconds(0)));
            }
            members.push((Param::TokenEndpointAuthMethod, Member::Text(registered.token_endpoint_auth_method.to_owned())));
            members.push((Param::Scope, Member::Text(registered.scope.to_string())));
        }
        Response::Error(refusal) => {
            members.push((Param::Error, Member::Code(refusal.code().name(), refusal.code().number())));
            if !refusal.description().is_empty() {
                members.push((Param::ErrorDescription, Member::Text(refusal.description().to_owned())));
            }
            members.extend(refusal.retry_after().map(|seconds| (Param::RetryAfter, Member::Seconds(seconds.into()))));
            if let Some(nonce) = refusal.nonce() {
                push_nonce(&mut members, nonce);
            }
        }
    }
    members.extend(state.map(|state| (Param::State, Member::Text(state.to_owned()))));
    if format == Format::Cbor {
        members.sort_by_key(|(param, _)| param.key(table).map(|key| (key < 0, key.unsigned_abs())));
    }
    // An answer with a secret does not grow, which would leave a copy behind.
    let mut payload = Vec::with_capacity(if has_secret { 1_024 } else { 128 });
    let members = Members { format, table, members };
    // Neither serialiser can fail: every key is text or an integer, and the writer is memory.
    let written = match format {
        Format::Json => serde_json::to_writer(&mut payload, &members).is_ok(),
        Format::Cbor => serde_cbor::to_writer(&mut payload, &members).is_ok(),
    };
    debug_assert!(written);
    payload
}

fn push_nonce<'a>(members: &mut Vec<(Param, Member<'a>)>, nonce: &'a ServerNonce) {
    members.push((Param::Cnonce, Member::Bytes(nonce.value.as_slice().into())));
    members.push((Param::ExpiresIn, Member::Seconds(nonce.expires_in)));
}

fn push_credential<'a>(members: &mut Vec<(Param, Member<'a>)>, credential: &CredentialResponse<'a>) {
    let (client_id, previous_expires_at) = match *credential {
        CredentialResponse::Secret { client_id, client_secret, client_secret_expires_at, previous_expires_at } => {
            // Every secret that the gateway makes is text.
            let text = std::str::from_utf8(client_secret.expose()).unwrap_or_default();
            members.push((Param::ClientSecret, Member::Opaque(text)));
            members.push((Param::ClientSecretExpiresAt, Member::Seconds(client_secret_expires_at)));
            (client_id, previous_expires_at)
        }
        CredentialResponse::Key { client_id, kid, previous_expires_at } => {
            members.push((Param::Kid, Member::Opaque(kid)));
            (client_id, previous_expires_at)
        }
    };
    members.insert(0, (Param::ClientId, Member::Text(client_id.as_str().to_owned())));
    members.push((Param::PreviousExpiresAt, Member::Seconds(previous_expires_at)));
}

fn push_introspection<'a>(members: &mut Vec<(Param, Member<'a>)>, token: Introspection<'a>) {
    let text = |text: &str| Member::Text(text.to_owned());
    members.push((Param::Active, Member::Flag(true)));
    members.push((Param::Scope, token.scope.map_or_else(|bytes| Member::Bytes(bytes.into()), text)));
    members.push((Param::ClientId, text(token.client_id)));
    members.push((Param::TokenType, Member::Code(token.token_type.name(), token.token_type.number())));
    members.extend(token.exp.map(|exp| (Param::Exp, Member::Seconds(exp))));
    members.push((Param::Iat, Member::Seconds(token.iat)));
    members.extend(token.nbf.map(|nbf| (Param::Nbf, Member::Seconds(nbf))));
    members.push((Param::Sub, text(token.sub)));
    members.push((Param::Aud, text(token.aud)));
    members.push((Param::Iss, text(token.iss)));
    members.push((Param::Jti, Member::Bytes(token.jti.into())));
    members.extend(token.cnf.map(|cnf| (Param::Cnf, Member::Structure(cnf))));
}

enum Member<'a> {
    Text(String),
    /// Text in JSON, a byte string in CBOR.
    Opaque(&'a str),
    /// Base64url in JSON, a byte string in CBOR.
    Bytes(Cow<'a, [u8]>),
    /// As it stands.
    Structure(Structure),
    Flag(bool),
    /// A word in JSON, a number in CBOR.
    Code(&'static str, i64),
    Seconds(u64),
}

struct Members<'a> {
    format: Format,
    table: Table,
    members: Vec<(Param, Member<'a>)>,
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (param, member) in &self.members {
            match self.format {
                Format::Json => map.serialize_key(param.name())?,
                Format::Cbor => map.serialize_key(&param.key(self.table))?,
            }
            match (self.format, member) {
                (_, Member::Text(text)) => map.serialize_value(text)?,
                (Format::Json, Member::Opaque(text)) => map.serialize_value(text)?,
                (Format::Cbor, Member::Opaque(text)) => map.serialize_value(serde_bytes::Bytes::new(text.as_bytes()))?,
                (Format::Json, Member::Bytes(bytes)) => map.serialize_value(&URL_SAFE_NO_PAD.encode(bytes))?,
                (Format::Cbor, Member::Bytes(bytes)) => map.serialize_value(serde_bytes::Bytes::new(bytes))?,
                (Format::Json, Member::Code(name, _)) => map.serialize_value(name)?,
                (Format::Cbor, Member::Code(_, number)) => map.serialize_value(number)?,
                (_, Member::Structure(structure)) => map.serialize_value(structure)?,
                (_, Member::Flag(flag)) => map.serialize_value(flag)?,
                (_, Member::Seconds(seconds)) => map.serialize_value(seconds)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ErrorCode, Reason};
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn an_error_alone_is_three_bytes_and_a_map() {
        let refusal = Refusal::new(ErrorCode::InvalidClient, Reason::WrongSecret, "");
        assert_eq!(hex(&encode(Format::Cbor, Table::Token, Response::Error(&refusal), None)), "a1181e02");
    }

    #[test]
    fn a_token_in_cbor_has_its_keys_in_order_and_its_type_marked() {
        let scope: ScopeSet = "a".parse().unwrap();
        let token = TokenResponse {
            access_token: TokenText::Characters("abc"),
            token_type: TokenType::Bearer,
            expires_in: 300,
            scope: Some(&scope),
        };
        assert_eq!(
            hex(&encode(Format::Cbor, Table::Token, Response::Token(token), Some("7"))),
            "a501436162630219012c0961611 81c6137182201".replace(' ', "")
        );
    }

    #[test]
    fn private_keys_come_last_in_cbor() {
        let bytes = encode(Format::Cbor, Table::Token, Response::Error(&Refusal::overloaded(5)), Some("7"));
        assert!(hex(&bytes).ends_with("3a0001000105"));
        let value: serde_cbor::Value = serde_cbor::from_slice(&bytes).unwrap();
        assert_eq!(serde_cbor::to_vec(&value).unwrap(), bytes, "deterministic");
    }

    #[test]
    fn a_nonce_is_text_in_json_and_bytes_in_cbor() {
        let nonce = ServerNonce { value: [0xff; 24], expires_in: 45 };
        let bytes = encode(Format::Cbor, Table::Token, Response::Nonce(&nonce), None);
        assert_eq!(hex(&bytes), format!("a202182d18275818{}", "ff".repeat(24)));
        let json = r#"{"cnonce":"________________________________","expires_in":45}"#;
        assert_eq!(encode(Format::Json, Table::Token, Response::Nonce(&nonce), None), json.as_bytes());
        let refusal = Refusal::use_nonce(Reason::StaleNonce, nonce);
        let value: serde_cbor::Value =
            serde_cbor::from_slice(&encode(Format::Cbor, Table::Token, Response::Error(&refusal), None)).unwrap();
        let serde_cbor::Value::Map(members) = value else { panic!("no map") };
        assert_eq!(members[&serde_cbor::Value::Integer(30)], serde_cbor::Value::Integer(-65_541));
        assert_eq!(members[&serde_cbor::Value::Integer(39)], serde_cbor::Value::Bytes(vec![0xff; 24]));
    }

    #[test]
    fn json_uses_the_names() {
        let refusal = Refusal::invalid_client(Reason::UnknownClient);
        assert_eq!(
            encode(Format::Json, Table::Token, Response::Error(&refusal), Some("7")),
            br#"{"error":"invalid_client","error_description":"client authentication failed","state":"7"}"#
        );
    }
}
