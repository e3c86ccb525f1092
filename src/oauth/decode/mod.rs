//! Requests from the wire: bounded, strict where RFC 6749 is strict, one pass over the payload.

mod credential;
mod presented;
mod read;
mod register;
#[cfg(test)]
mod tests;
mod token;

use serde_cbor::Value as Structure;

use super::params::Table;
use super::{ClientId, ErrorCode, Format, Operation, Param, Reason, Refusal, RequestDigest, Secret};

pub use credential::{CredentialAsk, CredentialRequest};
pub use presented::{IntrospectAsk, PresentedToken, RevokeAsk};
use read::{Value, read_params};
pub use register::{EnrolmentProof, KeyAsk, RegisterAsk, RegisterRequest, decode_register_request};
pub use token::{ReqCnf, TokenAsk, TokenRequest};

/// Bytes of `state`.
const MAX_STATE: usize = 64;

/// The one `client_assertion_type` (RFC 7523 section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What an operation asks for, beside who asks.
pub trait Ask: Sized {
    /// The operation.
    const OPERATION: Operation;

    /// Reads it.
    ///
    /// # Errors
    /// Whatever is missing or of the wrong type or form.
    fn read(params: &Params) -> Result<Self, Refusal>;

    /// What of it an assertion can be bound to, each parameter by its canonical value: text, or bytes where CBOR has bytes.
    fn bound(params: &Params) -> Vec<(Param, Structure)>;

    /// Whether an assertion must be bound to the request: whoever carries it must not be able to ask for something else with it.
    fn must_be_bound(&self) -> bool {
        false
    }
}

/// A well-formed request of a client that says who it is. Not `Clone`: it is spent by authentication.
#[must_use]
#[derive(Debug)]
pub struct ClientRequest<A> {
    client_id: Option<ClientId>,
    credential: ClientCredential,
    state: Option<Box<str>>,
    ask: A,
}

/// How the client says that it is the client.
#[derive(Debug)]
pub enum ClientCredential {
    /// `client_secret` in the payload: `client_secret_post` of RFC 7591.
    Secret(Secret),
    /// `client_assertion` (RFC 7523 section 2.2): `private_key_jwt` of RFC 7591. A JWT, or in CBOR a COSE_Sign1, as it came, and what it can be
    /// bound to.
    Assertion(Secret, RequestDigest),
}

impl<A> ClientRequest<A> {
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

    /// What to echo in the answer.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// What it asks for.
    #[must_use]
    pub fn ask(&self) -> &A {
        &self.ask
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

/// Decodes the payload of a request of a client.
///
/// Unknown parameters are ignored and repeated ones refused (RFC 6749 section 3.2). CBOR must use the integer keys; text keys are unknown parameters.
///
/// # Errors
/// `invalid_request` for anything malformed, missing or of the wrong type, and what [`Ask::read`] refuses.
pub fn decode_client_request<A: Ask>(format: Format, payload: &[u8]) -> Result<ClientRequest<A>, Box<MalformedRequest>> {
    decode(format, Table::of(A::OPERATION), payload, |params, state| {
        let ask = A::read(params)?;
        let client_id = params.client_id()?;
        Ok(ClientRequest { client_id, credential: params.credential::<A>()?, state, ask })
    })
}

/// Decodes the payload of a nonce request, whose one parameter is `state`: that is returned.
///
/// # Errors
/// `invalid_request` for anything malformed.
pub fn decode_nonce_request(format: Format, payload: &[u8]) -> Result<Option<Box<str>>, Box<MalformedRequest>> {
    decode(format, Table::of(Operation::Nonce), payload, |_, state| Ok(state))
}

/// Reads a payload and builds a request of its parameters and its `state`, which goes into every answer if it was understood.
fn decode<T>(
    format: Format,
    table: Table,
    payload: &[u8],
    build: impl FnOnce(&Params, Option<Box<str>>) -> Result<T, Refusal>,
) -> Result<T, Box<MalformedRequest>> {
    let mut params = Params { format, table, members: Vec::new() };
    let read = read_params(format, payload, &mut params);
    let state = params.state();
    let built = read.and_then(|()| build(&params, state.clone()?));
    built.map_err(|refusal| Box::new(MalformedRequest { refusal, state: state.ok().flatten() }))
}

fn invalid(reason: Reason, param: Param, rule: &str) -> Refusal {
    Refusal::invalid_request(reason, format!("{}: {rule}", param.name()))
}

/// The known parameters of a request.
pub struct Params {
    format: Format,
    table: Table,
    members: Vec<(Param, Value)>,
}

impl Params {
    fn get(&self, param: Param) -> Option<&Value> {
        self.members.iter().find(|(known, _)| *known == param).map(|(_, value)| value)
    }

    fn text(&self, param: Param) -> Result<Option<&str>, Refusal> {
        match self.get(param) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(Reason::InvalidParameter, param, "must be a text string")),
        }
    }

    /// Text in JSON, a byte string in CBOR.
    fn opaque(&self, param: Param) -> Result<Option<&[u8]>, Refusal> {
        match (self.format, self.get(param)) {
            (_, None) => Ok(None),
            (Format::Json, Some(Value::Text(text))) => Ok(Some(text.as_bytes())),
            (Format::Cbor, Some(Value::Bytes(bytes))) => Ok(Some(bytes)),
            (Format::Json, Some(_)) => Err(invalid(Reason::InvalidParameter, param, "must be a text string")),
            (Format::Cbor, Some(_)) => Err(invalid(Reason::InvalidParameter, param, "must be a byte string")),
        }
    }

    fn state(&self) -> Result<Option<Box<str>>, Refusal> {
        match self.text(Param::State)? {
            Some(state) if state.len() > MAX_STATE => Err(invalid(Reason::InvalidParameter, Param::State, "must be at most 64 bytes")),
            state => Ok(state.map(Box::from)),
        }
    }

    fn client_id(&self) -> Result<Option<ClientId>, Refusal> {
        let parsed = self.text(Param::ClientId)?.map(str::parse).transpose();
        parsed.map_err(|_| invalid(Reason::InvalidParameter, Param::ClientId, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"))
    }

    fn credential<A: Ask>(&self) -> Result<ClientCredential, Refusal> {
        let secret = self.opaque(Param::ClientSecret)?;
        let assertion = self.get(Param::ClientAssertion).or(self.get(Param::ClientAssertionType)).is_some();
        match secret {
            Some(_) if assertion => {
                Err(Refusal::invalid_request(Reason::SeveralAuthMethods, "client_secret and client_assertion exclude each other"))
            }
            Some(secret) => Ok(ClientCredential::Secret(Secret::new(secret.to_vec()))),
            None if assertion => self.assertion::<A>(),
            None => Err(Refusal::invalid_request(Reason::MissingParameter, "client_secret or client_assertion is required")),
        }
    }

    fn assertion<A: Ask>(&self) -> Result<ClientCredential, Refusal> {
        match (self.format, self.text(Param::ClientAssertionType)?) {
            (_, Some(ASSERTION_TYPE)) | (Format::Cbor, None) => {}
            (Format::Json, None) => return Err(invalid(Reason::MissingParameter, Param::ClientAssertionType, "is required")),
            // RFC 7521 section 4.2.1; the same for every client, so the text may help.
            (_, Some(_)) => {
                let text = "the client_assertion_type is not supported";
                return Err(Refusal::new(ErrorCode::InvalidClient, Reason::UnsupportedAuthMethod, text));
            }
        }
        let assertion = match (self.format, self.get(Param::ClientAssertion)) {
            // A COSE_Sign1.
            (Format::Cbor, Some(Value::Bytes(bytes))) => Some(bytes.as_slice()),
            _ => self.text(Param::ClientAssertion)?.map(str::as_bytes),
        };
        let assertion = assertion.ok_or_else(|| invalid(Reason::MissingParameter, Param::ClientAssertion, "is required"))?;
        let mut bound = A::bound(self);
        bound.extend(self.bound_text(Param::ClientId));
        let digest = RequestDigest::of(A::OPERATION, bound.into_iter().collect());
        Ok(ClientCredential::Assertion(Secret::new(assertion.to_vec()), digest))
    }

    /// The value of a parameter with members: in JSON with text keys, in CBOR as it stands.
    fn structure(&self, param: Param) -> Result<Option<&Structure>, Refusal> {
        match self.get(param) {
            None => Ok(None),
            Some(Value::Structure(structure @ Structure::Map(_))) => Ok(Some(structure)),
            Some(_) => Err(invalid(Reason::InvalidParameter, param, "must be an object or map")),
        }
    }

    /// A parameter with members as it stands, for [`Ask::bound`].
    fn bound_structure(&self, param: Param) -> Option<(Param, Structure)> {
        self.structure(param).ok().flatten().map(|structure| (param, structure.clone()))
    }

    /// A text parameter as it stands, for [`Ask::bound`].
    fn bound_text(&self, param: Param) -> Option<(Param, Structure)> {
        self.text(param).ok().flatten().map(|text| (param, Structure::Text(text.to_owned())))
    }
}
