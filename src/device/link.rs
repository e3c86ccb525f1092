//! One MQTT connection, whichever version: what both crates' event loops come to for a device.

use std::io;
use std::time::Duration;

use rumqttc::{NetworkOptions, TlsConfiguration, TlsError, Transport};

use super::{ConnectProblem, DeviceOptions, MqttVersion, link_v5, link_v311};
use crate::oauth::Format;

/// Bytes of the largest packet a device takes: metadata with many scopes is the largest there is.
pub(super) const MAX_PACKET_SIZE: u32 = 64 * 1_024;
/// Publications a device has on their way at most; rumqttc reserves room for all of them.
pub(super) const MAX_INFLIGHT: u16 = 16;
/// Seconds between pings: a session is seldom that old.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Something that happened on the connection.
#[derive(Debug)]
pub(super) enum Event {
    /// The broker decided on a subscription; the error is its reason.
    Subscribed(Result<(), String>),
    /// The broker took a publication and says whether there was a subscriber; the error is its reason for refusing.
    Acknowledged(Result<bool, String>),
    /// A message came.
    Message(Message),
    /// The last packet of a session was sent.
    Disconnected,
    /// Nothing of interest.
    Other,
}

/// A message from the broker.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) correlation_data: Option<Vec<u8>>,
}

/// A request to publish. The last two need MQTT 5.
pub(super) struct Publication<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) format: Format,
    pub(super) expiry: Duration,
    pub(super) reply: Option<Reply<'a>>,
}

/// Where an MQTT 5 answer goes and how it is paired with its request.
pub(super) struct Reply<'a> {
    pub(super) topic: &'a str,
    pub(super) correlation_data: &'a [u8],
}

/// A connection. After an error it is of no more use: polling it again would make another one.
pub(super) enum Link {
    V5(Box<link_v5::Link>),
    V311(Box<link_v311::Link>),
}

impl Link {
    /// Connects; waits as long as it takes.
    pub(super) async fn connect(options: &DeviceOptions, password: &str) -> Result<Self, ConnectProblem> {
        Ok(match options.version {
            MqttVersion::V5 => Self::V5(Box::new(link_v5::Link::connect(options, password).await?)),
            MqttVersion::V311 => Self::V311(Box::new(link_v311::Link::connect(options, password).await?)),
        })
    }

    /// Queues a subscription; false if it cannot be sent.
    pub(super) fn subscribe(&self, filter: &str) -> bool {
        match self {
            Self::V5(link) => link.subscribe(filter),
            Self::V311(link) => link.subscribe(filter),
        }
    }

    /// Queues a publication; false if it cannot be sent.
    pub(super) fn publish(&self, publication: &Publication<'_>) -> bool {
        match self {
            Self::V5(link) => link.publish(publication),
            Self::V311(link) => link.publish(publication),
        }
    }

    /// Queues the last packet; false if it cannot be sent.
    pub(super) fn disconnect(&self) -> bool {
        match self {
            Self::V5(link) => link.disconnect(),
            Self::V311(link) => link.disconnect(),
        }
    }

    /// Sends what is queued and waits for the next event.
    pub(super) async fn next(&mut self) -> Result<Event, ConnectProblem> {
        match self {
            Self::V5(link) => link.next().await,
            Self::V311(link) => link.next().await,
        }
    }
}

/// TLS as the options say.
pub(super) fn transport(options: &DeviceOptions) -> Transport {
    Transport::tls_with_config(TlsConfiguration::Rustls(options.tls.clone()))
}

/// Without `TCP_NODELAY` a QoS 1 exchange takes a delayed acknowledgement longer, about 40 ms. The timeout that counts is the session's.
pub(super) fn network_options(options: &DeviceOptions) -> NetworkOptions {
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(options.timeout.as_secs().saturating_add(2));
    network
}

/// Sorts a failed TLS handshake.
pub(super) fn tls_problem(error: &TlsError) -> ConnectProblem {
    let cause = match error {
        TlsError::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(cause) => cause,
            None if error.kind() == io::ErrorKind::UnexpectedEof => return ConnectProblem::Tls("the connection was closed".into()),
            None => return ConnectProblem::Tls(error.to_string()),
        },
        TlsError::TLS(cause) => cause,
        error => return ConnectProblem::Tls(error.to_string()),
    };
    match cause {
        rustls::Error::InvalidCertificate(_) => ConnectProblem::Certificate(cause.to_string()),
        _ => ConnectProblem::Tls(cause.to_string()),
    }
}
