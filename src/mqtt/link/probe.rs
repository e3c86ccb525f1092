//! A short conversation with a broker, to see what it lets somebody do. Serves nothing.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use tokio::time::timeout;

use super::connect::host_and_port;
use super::failure::Failure;
use crate::oauth::Secret;

/// Longest wait for one answer of the broker.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a message that the broker may keep to itself.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of the largest packet that is looked at.
const MAX_PACKET: u32 = 128 * 1_024;

/// Who knocks, and where.
pub struct ProbeOptions {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How to verify the broker and what to show it; `None` for MQTT without TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// MQTT client identifier. Not that of the gateway, whose session would end.
    pub client_id: String,
    /// MQTT user name and password, if any.
    pub credentials: Option<(String, Secret)>,
}

/// A probe's end.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The broker is there, and does not let it in.
    #[error("{0}")]
    Refused(String),
    /// The broker is not there, or does not answer.
    #[error("{0}")]
    Failed(String),
}

impl From<Failure> for ProbeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { .. } => Self::Refused(failure.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// A connection to look at a broker through.
pub struct Probe {
    client: AsyncClient,
    eventloop: EventLoop,
    address: String,
    /// Topics of messages that came before somebody waited for them.
    received: Vec<String>,
}

impl Probe {
    /// Connects.
    ///
    /// # Errors
    /// Whatever a link would be told.
    pub async fn connect(options: ProbeOptions) -> Result<Self, ProbeError> {
        let address = host_and_port(&options.host, options.port);
        let mut mqtt = MqttOptions::new(options.client_id, options.host, options.port);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        mqtt.set_network_options(network)
            .set_connection_timeout(ANSWER_TIMEOUT.as_secs())
            .set_clean_start(true)
            .set_max_packet_size(Some(MAX_PACKET));
        if let Some(tls) = options.tls {
            mqtt.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        }
        if let Some((username, password)) = &options.credentials {
            mqtt.set_credentials(username, std::str::from_utf8(password.expose()).map_err(|_| Failure::Password)?);
        }
        let (client, eventloop) = AsyncClient::new(mqtt, 8);
        let mut probe = Self { client, eventloop, address, received: Vec::new() };
        probe.until("CONNECT", false, |packet| matches!(packet, Packet::ConnAck(_)).then_some(())).await?;
        Ok(probe)
    }

    /// Asks for a subscription; what the broker has against it, if it has.
    ///
    /// # Errors
    /// If the connection ends.
    pub async fn subscribe(&mut self, filter: &str) -> Result<Result<(), String>, ProbeError> {
        self.client.try_subscribe(filter, QoS::AtLeastOnce).map_err(|_| Failure::Internal)?;
        self.until("SUBSCRIBE", true, |packet| match packet {
            Packet::SubAck(ack) => Some(match ack.return_codes.first() {
                Some(SubscribeReasonCode::Success(_)) => Ok(()),
                code => Err(code.map_or_else(|| "no answer".to_owned(), |code| format!("{code:?}"))),
            }),
            _ => None,
        })
        .await
    }

    /// Publishes an empty message; what the broker has against it, if it has. With `retain` it removes what is retained on the topic.
    ///
    /// # Errors
    /// If the connection ends.
    pub async fn publish(&mut self, topic: &str, retain: bool) -> Result<Result<(), String>, ProbeError> {
        self.client.try_publish(topic, QoS::AtLeastOnce, retain, Vec::new()).map_err(|_| Failure::Internal)?;
        self.until("PUBLISH", true, |packet| match packet {
            Packet::PubAck(ack) => Some(match ack.reason {
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
                reason => Err(format!("{reason:?}")),
            }),
            _ => None,
        })
        .await
    }

    /// Whether a message on that topic comes. Of other messages nothing is kept but the topic.
    ///
    /// # Errors
    /// If the connection ends.
    pub async fn receives(&mut self, topic: &str) -> Result<bool, ProbeError> {
        if self.received.iter().any(|received| received == topic) {
            return Ok(true);
        }
        let arrival = self.until("nothing", true, |packet| match packet {
            Packet::Publish(publish) if publish.topic == topic.as_bytes() => Some(()),
            _ => None,
        });
        match timeout(DELIVERY_TIMEOUT, arrival).await {
            Ok(arrived) => arrived.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Says goodbye, if there is anybody left.
    pub async fn disconnect(mut self) {
        if self.client.try_disconnect().is_ok() {
            let goodbye = async { while self.eventloop.poll().await.is_ok() {} };
            let _ = timeout(Duration::from_secs(1), goodbye).await;
        }
    }

    async fn until<T>(
        &mut self,
        packet: &'static str,
        connected: bool,
        mut wanted: impl FnMut(&Packet) -> Option<T>,
    ) -> Result<T, ProbeError> {
        let answer = async {
            loop {
                match self.eventloop.poll().await {
                    Ok(Event::Incoming(incoming)) => {
                        if let Some(found) = wanted(&incoming) {
                            return Ok(found);
                        }
                        if let Packet::Publish(publish) = &incoming
                            && self.received.len() < 64
                        {
                            self.received.push(String::from_utf8_lossy(&publish.topic).into_owned());
                        }
                    }
                    Ok(Event::Outgoing(_)) => {}
                    Err(error) => return Err(Failure::of_connection(&error, &self.address, connected).into()),
                }
            }
        };
        let unanswered = || Failure::Unanswered { packet, seconds: ANSWER_TIMEOUT.as_secs() };
        timeout(ANSWER_TIMEOUT.saturating_mul(2), answer).await.unwrap_or_else(|_| Err(unanswered().into()))
    }
}
