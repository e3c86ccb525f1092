//! How a device proves who it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_cbor::Value;

use super::DeviceError;
use crate::clock::UnixTime;
use crate::jose::cose::{self, Typ};
use crate::jose::{self, SigningKey};
use crate::oauth::{ClientId, RequestDigest, Secret};

/// Seconds that an assertion serves.
const LIFETIME: u64 = 60;

/// What a device proves with that it is the client.
pub enum Credential {
    /// The client secret, UTF-8 text: MQTT Password and OAuth `client_secret`.
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
    /// MQTT Password, UTF-8 text; `None` for an assertion, which the embedded broker takes and for which there must be a clock.
    pub mqtt_password: Option<Secret>,
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

impl DeviceKey {
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
    pub(super) fn cose_assertion(
        &self,
        client_id: &ClientId,
        nonce: Option<&str>,
        request: Option<&RequestDigest>,
    ) -> Result<Vec<u8>, DeviceError> {
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
