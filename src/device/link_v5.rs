//! MQTT 5 by rumqttc.

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, PubAckReason, PublishProperties, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, EventLoop, MqttOptions};

use super::link::{Event, KEEP_ALIVE, MAX_INFLIGHT, MAX_PACKET_SIZE, Message, Publication, network_options, tls_problem, transport};
use super::{ConnectProblem, DeviceOptions};
use crate::oauth::Format;

pub(super) struct Link {
    client: AsyncClient,
    event_loop: EventLoop,
    qos: QoS,
}

impl Link {
    pub(super) async fn connect(options: &DeviceOptions, password: &str) -> Result<Self, ConnectProblem> {
        let client_id = options.client_id.as_str();
        let mut mqtt = MqttOptions::new(options.mqtt_client_id.as_deref().unwrap_or(client_id), &options.host, options.port);
        let network = network_options(options);
        mqtt.set_connection_timeout(network.connection_timeout())
            .set_network_options(network)
            .set_transport(transport(options))
            .set_credentials(options.mqtt_username.as_deref().unwrap_or(client_id), password)
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_start(true)
            .set_max_packet_size(Some(MAX_PACKET_SIZE))
            .set_receive_maximum(Some(MAX_INFLIGHT))
            .set_outgoing_inflight_upper_limit(MAX_INFLIGHT);
        let (client, mut event_loop) = AsyncClient::new(mqtt, MAX_INFLIGHT.into());
        event_loop.poll().await.map_err(problem)?;
        let qos = match options.qos {
            crate::mqtt::QoS::AtMostOnce => QoS::AtMostOnce,
            crate::mqtt::QoS::AtLeastOnce => QoS::AtLeastOnce,
        };
        Ok(Self { client, event_loop, qos })
    }

    pub(super) fn subscribe(&self, filter: &str) -> bool {
        self.client.try_subscribe(filter, self.qos).is_ok()
    }

    pub(super) fn publish(&self, publication: &Publication<'_>) -> bool {
        let properties = PublishProperties {
            payload_format_indicator: (publication.format == Format::Json).then_some(1),
            message_expiry_interval: Some(u32::try_from(publication.expiry.as_secs()).unwrap_or(u32::MAX).max(1)),
            response_topic: publication.reply.as_ref().map(|reply| reply.topic.to_owned()),
            correlation_data: publication.reply.as_ref().map(|reply| reply.correlation_data.to_vec().into()),
            content_type: Some(publication.format.content_type().to_owned()),
            ..PublishProperties::default()
        };
        self.client.try_publish_with_properties(publication.topic, self.qos, false, publication.payload.to_vec(), properties).is_ok()
    }

    pub(super) fn disconnect(&self) -> bool {
        self.client.try_disconnect().is_ok()
    }

    pub(super) async fn next(&mut self) -> Result<Event, ConnectProblem> {
        use rumqttc::v5::Event as Polled;

        Ok(match self.event_loop.poll().await.map_err(problem)? {
            Polled::Incoming(Packet::Publish(publish)) => Event::Message(Message {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload.into(),
                correlation_data: publish.properties.and_then(|properties| properties.correlation_data).map(Into::into),
            }),
            Polled::Incoming(Packet::SubAck(ack)) => Event::Subscribed(match ack.return_codes.first() {
                Some(SubscribeReasonCode::Success(_)) => Ok(()),
                Some(reason) => Err(format!("{reason:?}")),
                None => Err("no reason".into()),
            }),
            Polled::Incoming(Packet::PubAck(ack)) => Event::Acknowledged(match ack.reason {
                PubAckReason::Success => Ok(true),
                PubAckReason::NoMatchingSubscribers => Ok(false),
                reason => Err(format!("{reason:?}")),
            }),
            Polled::Outgoing(Outgoing::Disconnect) => Event::Disconnected,
            _ => Event::Other,
        })
    }
}

fn problem(error: ConnectionError) -> ConnectProblem {
    match error {
        ConnectionError::Tls(error) => tls_problem(&error),
        ConnectionError::Io(error) => ConnectProblem::Unreachable(error.to_string()),
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized) => {
            ConnectProblem::CredentialsRefused
        }
        ConnectionError::ConnectionRefused(reason) => ConnectProblem::Refused(format!("{reason:?}")),
        ConnectionError::NotConnAck(_) => ConnectProblem::Refused("it does not speak MQTT 5".into()),
        error => ConnectProblem::Lost(error.to_string()),
    }
}
