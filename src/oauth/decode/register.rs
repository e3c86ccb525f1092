//! The parameters of a registration (RFC 7591 section 2, protocol section 3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_cbor::Value as Structure;

use super::super::params::Table;
use super::super::{EnrolmentId, ErrorCode, Format, Operation, Param, Reason, Refusal, RequestDigest, Secret, SerialNumber};
use super::read::Value;
use super::{MalformedRequest, Params, decode, invalid};

/// Bytes of a name or of software words.
const MAX_TEXT: usize = 256;

/// A well-formed registration. Not `Clone`: it is spent by being judged.
#[must_use]
#[derive(Debug)]
pub struct RegisterRequest {
    proof: EnrolmentProof,
    state: Option<Box<str>>,
    ask: RegisterAsk,
}

/// How a device shows that an operator lets it register.
#[derive(Debug)]
pub enum EnrolmentProof {
    /// The enrolment token itself (RFC 7591 section 1.2: initial access token).
    Token(Secret),
    /// A MAC by the token's digest over the request, for a broker that must not see the token.
    Mac {
        /// The enrolment.
        enrolment: EnrolmentId,
        /// HMAC-SHA-256.
        mac: [u8; 32],
        /// What it is to be of.
        request: RequestDigest,
    },
}

/// What a device wants to be registered with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegisterAsk {
    /// Its public key; none for a secret.
    pub key: Option<KeyAsk>,
    /// Its serial number.
    pub serial_number: Option<SerialNumber>,
    /// RFC 7591 `client_name`; may be empty.
    pub client_name: String,
    /// RFC 7591 `software_id`; may be empty.
    pub software_id: String,
    /// RFC 7591 `software_version`; may be empty.
    pub software_version: String,
    /// RFC 7591 `token_endpoint_auth_method`, if the device says how it means to authenticate.
    pub token_endpoint_auth_method: Option<String>,
}

/// A public key in the form of the request's encoding.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyAsk {
    /// A JWK, as it stands.
    Jwk(Structure),
    /// A COSE_Key, as it stands.
    CoseKey(Structure),
}

impl RegisterRequest {
    /// How the device shows that it may register.
    #[must_use]
    pub fn proof(&self) -> &EnrolmentProof {
        &self.proof
    }

    /// What to echo in the answer.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// What it wants to be registered with.
    #[must_use]
    pub fn ask(&self) -> &RegisterAsk {
        &self.ask
    }
}

/// Decodes the payload of a registration.
///
/// # Errors
/// `invalid_request` for anything malformed, missing or of the wrong type, `invalid_client_metadata` for what no client can have.
pub fn decode_register_request(format: Format, payload: &[u8]) -> Result<RegisterRequest, Box<MalformedRequest>> {
    decode(format, Table::of(Operation::Register), payload, |params, state| {
        let ask = read(params)?;
        Ok(RegisterRequest { proof: proof(params)?, state, ask })
    })
}

fn read(params: &Params) -> Result<RegisterAsk, Refusal> {
    let serial_number = params.text(Param::SerialNumber)?.map(str::parse).transpose();
    let text = |param| match params.text(param)? {
        Some(text) if text.len() > MAX_TEXT || text.chars().any(char::is_control) => {
            Err(unusable(Reason::InvalidParameter, param, "must be at most 256 bytes without control characters"))
        }
        text => Ok(text.unwrap_or_default().to_owned()),
    };
    Ok(RegisterAsk {
        key: key(params)?,
        serial_number: serial_number
            .map_err(|_| unusable(Reason::InvalidParameter, Param::SerialNumber, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"))?,
        client_name: text(Param::ClientName)?,
        software_id: text(Param::SoftwareId)?,
        software_version: text(Param::SoftwareVersion)?,
        token_endpoint_auth_method: params.text(Param::TokenEndpointAuthMethod)?.map(str::to_owned),
    })
}

fn key(params: &Params) -> Result<Option<KeyAsk>, Refusal> {
    let Some(structure) = params.structure(Param::Jwks)? else { return Ok(None) };
    if params.format == Format::Cbor {
        return Ok(Some(KeyAsk::CoseKey(structure.clone())));
    }
    let keys = match structure {
        Structure::Map(members) => members.get(&Structure::Text("keys".to_owned())),
        _ => None,
    };
    match keys {
        Some(Structure::Array(keys)) => match keys.as_slice() {
            [key @ Structure::Map(_)] => Ok(Some(KeyAsk::Jwk(key.clone()))),
            _ => Err(unusable(Reason::UnusableKey, Param::Jwks, "must have exactly one key")),
        },
        _ => Err(unusable(Reason::UnusableKey, Param::Jwks, "must be a JWK Set")),
    }
}

fn proof(params: &Params) -> Result<EnrolmentProof, Refusal> {
    let id = params.text(Param::EnrolmentId)?.map(str::parse).transpose();
    let id = id.map_err(|_| invalid(Reason::InvalidParameter, Param::EnrolmentId, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"))?;
    match (params.opaque(Param::InitialAccessToken)?, id, mac(params)?) {
        (Some(token), None, None) => Ok(EnrolmentProof::Token(Secret::new(token.to_vec()))),
        (None, Some(enrolment), Some(mac)) => Ok(EnrolmentProof::Mac { enrolment, mac, request: digest(params) }),
        (None, ..) => {
            let text = "initial_access_token is required, or enrolment_id and enrolment_mac";
            Err(Refusal::invalid_request(Reason::MissingParameter, text))
        }
        (Some(_), ..) => {
            let text = "initial_access_token and enrolment_mac exclude each other";
            Err(Refusal::invalid_request(Reason::SeveralAuthMethods, text))
        }
    }
}

fn mac(params: &Params) -> Result<Option<[u8; 32]>, Refusal> {
    let bytes = match (params.format, params.get(Param::EnrolmentMac)) {
        (_, None) => return Ok(None),
        (Format::Json, Some(Value::Text(text))) => URL_SAFE_NO_PAD.decode(text.as_bytes()).ok(),
        (Format::Cbor, Some(Value::Bytes(bytes))) => Some(bytes.to_vec()),
        _ => None,
    };
    match bytes.and_then(|bytes| bytes.try_into().ok()) {
        Some(mac) => Ok(Some(mac)),
        None => Err(invalid(Reason::InvalidParameter, Param::EnrolmentMac, "must be 32 bytes, in JSON their base64url")),
    }
}

/// What a MAC is to be of: all that the device says of itself.
fn digest(params: &Params) -> RequestDigest {
    let texts = [
        Param::EnrolmentId,
        Param::SerialNumber,
        Param::ClientName,
        Param::SoftwareId,
        Param::SoftwareVersion,
        Param::TokenEndpointAuthMethod,
    ];
    let texts = texts.into_iter().filter_map(|param| params.bound_text(param));
    RequestDigest::of(Operation::Register, texts.chain(params.bound_structure(Param::Jwks)).collect())
}

/// RFC 7591 section 3.2.2.
fn unusable(reason: Reason, param: Param, rule: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidClientMetadata, reason, format!("{}: {rule}", param.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> (ErrorCode, Reason) {
        let refusal = decode_register_request(Format::Json, text.as_bytes()).unwrap_err().refusal;
        (refusal.code(), refusal.reason())
    }

    #[test]
    fn json_and_cbor_say_the_same() {
        let json = r#"{"initial_access_token":"a.b.c","serial_number":"17","client_name":"Pump","state":"1"}"#;
        // {28: "1", -65553: 'a.b.c', -65557: "17", -65558: "Pump"}
        let cbor = b"\xa4\x18\x1c\x611\x3a\x00\x01\x00\x10\x45a.b.c\x3a\x00\x01\x00\x14\x6217\x3a\x00\x01\x00\x15\x64Pump";
        for (format, payload) in [(Format::Json, json.as_bytes()), (Format::Cbor, cbor.as_slice())] {
            let request = decode_register_request(format, payload).unwrap();
            assert!(matches!(request.proof(), EnrolmentProof::Token(token) if token.expose() == b"a.b.c"));
            let ask = RegisterAsk { serial_number: "17".parse().ok(), client_name: "Pump".into(), ..RegisterAsk::default() };
            assert_eq!((request.ask(), request.state()), (&ask, Some("1")));
        }
    }

    #[test]
    fn deny_what_is_no_registration() {
        for (text, expected) in [
            ("{}", (ErrorCode::InvalidRequest, Reason::MissingParameter)),
            (r#"{"enrolment_id":"e"}"#, (ErrorCode::InvalidRequest, Reason::MissingParameter)),
            (r#"{"initial_access_token":7}"#, (ErrorCode::InvalidRequest, Reason::InvalidParameter)),
            (r#"{"initial_access_token":"a","enrolment_id":"e"}"#, (ErrorCode::InvalidRequest, Reason::SeveralAuthMethods)),
            (r#"{"enrolment_id":"a/b","enrolment_mac":"AA"}"#, (ErrorCode::InvalidRequest, Reason::InvalidParameter)),
            (r#"{"enrolment_id":"e","enrolment_mac":"AA"}"#, (ErrorCode::InvalidRequest, Reason::InvalidParameter)),
            (r#"{"initial_access_token":"a","serial_number":"a/b"}"#, (ErrorCode::InvalidClientMetadata, Reason::InvalidParameter)),
            (r#"{"initial_access_token":"a","client_name":"\u0000"}"#, (ErrorCode::InvalidClientMetadata, Reason::InvalidParameter)),
            (r#"{"initial_access_token":"a","jwks":[]}"#, (ErrorCode::InvalidRequest, Reason::InvalidParameter)),
            (r#"{"initial_access_token":"a","jwks":{}}"#, (ErrorCode::InvalidClientMetadata, Reason::UnusableKey)),
            (r#"{"initial_access_token":"a","jwks":{"keys":[]}}"#, (ErrorCode::InvalidClientMetadata, Reason::UnusableKey)),
            (r#"{"initial_access_token":"a","jwks":{"keys":[{},{}]}}"#, (ErrorCode::InvalidClientMetadata, Reason::UnusableKey)),
        ] {
            assert_eq!(refusal(text), expected, "{text}");
        }
        let long = format!(r#"{{"initial_access_token":"a","software_id":"{}"}}"#, "x".repeat(257));
        assert_eq!(refusal(&long), (ErrorCode::InvalidClientMetadata, Reason::InvalidParameter));
    }
}
