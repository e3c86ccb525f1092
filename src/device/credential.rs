//! How a device proves who it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_cbor::Value;
use zeroize::Zeroizing;

use super::DeviceError;
use super::request::Proof;
use crate::clock::UnixTime;
use crate::jose::cose::{self, Typ};
use crate::jose::{self, SigningKey};
use crate::oauth::{ClientId, Format, RequestDigest, Secret};

/// Seconds that an assertion serves.
const LIFETIME: u64 = 60;

/// What a device proves with that it is the client.
pub enum Credential {
    /// The client secret, UTF-8 text: OAuth `client_secret`, and MQTT Password unless there is another.
    Secret(Secret),
    /// A key of its own, for signed assertions.
    Key(DeviceKey),
}

/// A device's own key and what goes with it.
pub struct DeviceKey {
    /// The private key, whose public half is registered at the gateway.
    pub key: Arc<SigningKey>,
    /// The gateway's issuer identifier: the audience of assertions.
    pub issuer: String,
    /// The time; `None` for a device without a clock, which asks for a nonce before each request.
    pub clock: Option<fn() -> UnixTime>,
    /// Whether assertions in CBOR are COSE_Sign1 over CWT claims, as of a device that has no JSON.
    pub cose: bool,
}

/// The claims of an assertion (RFC 7523 section 3).
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<UnixTime>,
    exp: UnixTime,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rqh: Option<String>,
}

/// The bytes of an assertion: text, or a COSE_Sign1.
pub(super) struct Assertion(Zeroizing<Vec<u8>>);

impl Assertion {
    pub(super) fn proof(&self) -> Proof<'_> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Proof::Assertion(text),
            Err(_) => Proof::CoseAssertion(&self.0),
        }
    }
}

impl DeviceKey {
    /// The assertion for one request in that format.
    pub(super) fn sign(
        &self,
        format: Format,
        client_id: &ClientId,
        nonce: Option<&str>,
        request: &RequestDigest,
    ) -> Result<Assertion, DeviceError> {
        let bytes = match self.cose && format == Format::Cbor {
            true => self.cose_assertion(client_id, nonce, Some(request))?,
            false => self.assertion(client_id, nonce, Some(request))?.into_bytes(),
        };
        Ok(Assertion(Zeroizing::new(bytes)))
    }

    /// An assertion for one request, or for CONNECT, to which it is not bound.
    pub(super) fn assertion(
        &self,
        client_id: &ClientId,
        nonce: Option<&str>,
        request: Option<&RequestDigest>,
    ) -> Result<String, DeviceError> {
        let now = self.clock.map(|clock| clock());
        let claims = Claims {
            iss: client_id.as_str(),
            sub: client_id.as_str(),
            aud: &self.issuer,
            iat: now,
            // Required (RFC 7523 section 3), and not judged beside a nonce.
            exp: now.unwrap_or_default().saturating_add(LIFETIME),
            jti: super::session::random()?,
            nonce,
            rqh: request.map(RequestDigest::to_text),
        };
        jose::sign("JWT", &claims, &self.key).map_err(|error| DeviceError::Protocol(format!("the assertion cannot be signed: {error}")))
    }

    /// The same as a COSE_Sign1 over the claims by their CWT keys.
    fn cose_assertion(&self, client_id: &ClientId, nonce: Option<&str>, request: Option<&RequestDigest>) -> Result<Vec<u8>, DeviceError> {
        let unusable = |what: &str| DeviceError::Protocol(format!("the assertion cannot be made: {what}"));
        let now = self.clock.map(|clock| clock());
        let text = |text: &str| Value::Text(text.to_owned());
        let time = |time: UnixTime| Value::Integer(time.as_secs().into());
        let nonce = nonce.map(|nonce| URL_SAFE_NO_PAD.decode(nonce)).transpose().map_err(|_| unusable("the nonce is not base64url"))?;
        let members = [
            Some((1, text(client_id.as_str()))),
            Some((2, text(client_id.as_str()))),
            Some((3, text(&self.issuer))),
            Some((4, time(now.unwrap_or_default().saturating_add(LIFETIME)))),
            now.map(|now| (6, time(now))),
            Some((7, Value::Bytes(super::session::random()?.into_bytes()))),
            nonce.map(|nonce| (39, Value::Bytes(nonce))),
            request.map(|digest| (-65_537, Value::Bytes(digest.as_bytes().to_vec()))),
        ];
        let claims: BTreeMap<Value, Value> =
            members.into_iter().flatten().map(|(key, value): (i128, _)| (Value::Integer(key), value)).collect();
        let payload = serde_cbor::to_vec(&claims).map_err(|error| unusable(&error.to_string()))?;
        cose::sign1(self.key.key_type().algorithm(), &Typ::CWT, false, &payload, &self.key).map_err(|error| unusable(&error.to_string()))
    }
}
