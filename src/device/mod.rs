//! The reference device client: MQTT 5 and 3.1.1, JSON and CBOR.
//!
//! ```no_run
//! # async fn example(options: credgate::device::DeviceOptions, query: credgate::device::TokenQuery) -> Result<(), credgate::device::DeviceError> {
//! let answer = credgate::device::request_token(&options, &query).await?;
//! println!("valid for {} s", answer.expires_in);
//! # Ok(())
//! # }
//! ```

mod answer;
mod credential;
mod error;
mod link;
mod link_v311;
mod link_v5;
mod register;
mod request;
mod rotation;
mod sealed;
mod session;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::mqtt::{QoS, Topics};
use crate::oauth::{ClientId, Format, Param, ScopeSet, Secret, TokenType};

pub use credential::{Credential, DeviceKey};
pub use error::{ConnectProblem, DeviceError};
pub use register::{RegisterAnswer, RegisterQuery};
pub use request::describe;
pub use rotation::{CredentialAnswer, NewCredential};
pub use session::Session;

/// The version of MQTT a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 5: answers come to a Response Topic, paired by Correlation Data.
    V5,
    /// MQTT 3.1.1: answers come to the default topics, paired by `state`.
    V311,
}

/// How a device reaches its gateway.
pub struct DeviceOptions {
    /// DNS name or IP address of the broker; an IPv6 address without brackets. The broker's certificate must bear it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Which certificates to trust, and the device's own if it has one.
    pub tls: Arc<rustls::ClientConfig>,
    /// The version of MQTT.
    pub version: MqttVersion,
    /// The gateway's topics.
    pub topics: Topics,
    /// Who the device is: MQTT User Name and OAuth `client_id`; before it is registered, a name of its own choice.
    pub client_id: ClientId,
    /// How it proves that.
    pub credential: Credential,
    /// MQTT Password, UTF-8 text; `None` for the client secret or, of a device with a key, for an assertion, which the embedded broker takes and
    /// for which there must be a clock.
    pub mqtt_password: Option<Secret>,
    /// MQTT User Name; `None` for `client_id`. The embedded broker takes no other.
    pub mqtt_username: Option<String>,
    /// MQTT Client Identifier; `None` for `client_id`. The embedded broker takes no other than `client_id` or one that begins with `{client_id}.`.
    pub mqtt_client_id: Option<String>,
    /// QoS of requests, answers and retained messages.
    pub qos: QoS,
    /// How long to wait for the connection, and then for each answer.
    pub timeout: Duration,
}

/// Without the credential and the TLS configuration.
impl fmt::Debug for DeviceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceOptions")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("version", &self.version)
            .field("topics", &self.topics)
            .field("client_id", &self.client_id)
            .field("mqtt_username", &self.mqtt_username)
            .field("mqtt_client_id", &self.mqtt_client_id)
            .field("qos", &self.qos)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What token is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenQuery {
    /// The encoding of the request and of its answer.
    pub format: Format,
    /// The scopes; `None` for the client's own.
    pub scope: Option<ScopeSet>,
    /// The audience; `None` if the scopes tell it.
    pub audience: Option<String>,
    /// Whether it is to be bound to the device's key, which signs the request's assertion.
    pub pop: bool,
    /// Whether the answer's token is to be sealed for this device alone, so that nobody who carries it can use it; needs an assertion.
    pub sealed: bool,
    /// `state`, at most 64 bytes. With MQTT 3.1.1 `None` makes a random one.
    pub state: Option<String>,
}

/// A token and what the gateway says of it (RFC 6749 section 5.1).
#[derive(Clone, PartialEq, Eq)]
pub struct TokenAnswer {
    /// The token: a JWT, or the base64url of a CWT.
    pub access_token: String,
    /// How to use it.
    pub token_type: TokenType,
    /// Seconds it lives from now.
    pub expires_in: u64,
    /// What it opens, if that is not what was asked for.
    pub scope: Option<String>,
}

/// Without the token.
impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAnswer")
            .field(Param::AccessToken.name(), &"redacted")
            .field(Param::TokenType.name(), &self.token_type)
            .field(Param::ExpiresIn.name(), &self.expires_in)
            .field(Param::Scope.name(), &self.scope)
            .finish()
    }
}

/// Connects, asks for a token and disconnects. [`Session`] does more than one thing on one connection.
///
/// # Errors
/// [`DeviceError`] says who refused or failed.
pub async fn request_token(options: &DeviceOptions, query: &TokenQuery) -> Result<TokenAnswer, DeviceError> {
    let mut session = Session::connect(options).await?;
    let answer = session.request_token(query).await;
    session.disconnect().await;
    answer
}

/// Connects, gets the retained message of `topic` and disconnects.
///
/// # Errors
/// [`DeviceError::Timeout`] if there is none, the others as in [`request_token`].
pub async fn fetch_retained(options: &DeviceOptions, topic: &str) -> Result<Vec<u8>, DeviceError> {
    let mut session = Session::connect(options).await?;
    let message = session.fetch_retained(topic).await;
    session.disconnect().await;
    message
}
