//! How a device proves who it is.

use std::sync::Arc;

use serde::Serialize;

use super::DeviceError;
use crate::clock::UnixTime;
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
}
