//! MQTT 3.1.1 by rumqttc.

use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, MqttOptions, Outgoing, Packet, QoS, SubscribeReasonCode};

use super::link::{Event, KEEP_ALIVE, MAX_INFLIGHT, MAX_PACKET_SIZE, Message, Publication, network_options, tls_problem, transport};
use super::{ConnectProblem, DeviceOptions};

pub(super) struct Link {
    client: AsyncClient,
    event_loop: EventLoop,
    qos: QoS,
}

impl Link {
    pub(super) async fn connect(options: &DeviceOptions, password: &str) -> Result<Self, ConnectProblem> {
        let client_id = options.client_id.as_str();
        let max_packet_size = usize::try_from(MAX_PACKET_SIZE).unwrap_or(usize::MAX);
        let mut mqtt = MqttOptions::new(options.mqtt_client_id.as_deref().unwrap_or(client_id), &options.host, options.port);
        mqtt.set_transport(transport(options))
            .set_credentials(options.mqtt_username.as_deref().unwrap_or(client_id), password)
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_session(true)
            .set_max_packet_size(max_packet_size, max_packet_size)
            .set_inflight(MAX_INFLIGHT);
        let (client, mut event_loop) = AsyncClient::new(mqtt, MAX_INFLIGHT.into());
        event_loop.set_network_options(network_options(options));
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
        self.client.try_publish(publication.topic, self.qos, false, publication.payload).is_ok()
    }

    pub(super) fn disconnect(&self) -> bool {
        self.client.try_disconnect().is_ok()
    }

    pub(super) async fn next(&mut self) -> Result<Event, ConnectProblem> {
        use rumqttc::Event as Polled;

        Ok(match self.event_loop.poll().await.map_err(problem)? {
            Polled::Incoming(Packet::Publish(publish)) => {
                Event::Message(Message { topic: publish.topic, payload: publish.payload.into(), correlation_data: None })
            }
            Polled::Incoming(Packet::SubAck(ack)) => Event::Subscribed(match ack.return_codes.first() {
                Some(SubscribeReasonCode::Success(_)) => Ok(()),
                Some(SubscribeReasonCode::Failure) | None => Err("failure".into()),
            }),
            Polled::Incoming(Packet::PubAck(_)) => Event::Acknowledged(Ok(true)),
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
        ConnectionError::NotConnAck(_) => ConnectProblem::Refused("it does not speak MQTT 3.1.1".into()),
        error => ConnectProblem::Lost(error.to_string()),
    }
}
