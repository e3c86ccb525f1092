//! A device of the tests: rumqttc's MQTT 5 client, driven step by step.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Filter, LastWill, Packet, Publish, PublishProperties, SubscribeReasonCode};
use rumqttc::v5::{Client, ConnectionError, Event, MqttOptions};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use serde_json::{Value, json};

use crate::site::{PATIENCE, Site};

pub struct Device {
    client: Client,
    packets: Receiver<Result<Packet, ConnectionError>>,
    client_id: String,
}

/// A request and what goes around it.
#[derive(Clone)]
pub struct Ask {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    pub response_topic: Option<String>,
    pub correlation_data: Option<Vec<u8>>,
}

impl Device {
    pub fn connect(site: &Site, client_id: &str, secret: &str) -> Self {
        Self::try_connect(site, client_id, client_id, secret, None).unwrap_or_else(|refusal| panic!("{client_id}: {refusal:?}"))
    }

    pub fn try_connect(
        site: &Site,
        mqtt_client_id: &str,
        username: &str,
        password: &str,
        will: Option<LastWill>,
    ) -> Result<Self, ConnectReturnCode> {
        let mut options = MqttOptions::new(mqtt_client_id, "localhost", site.port());
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        let tls = credgate::tls::client_config(Some(&site.ca_file()), None).unwrap();
        options
            .set_network_options(network)
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)))
            .set_keep_alive(Duration::from_secs(30))
            .set_outgoing_inflight_upper_limit(64)
            .set_max_packet_size(Some(65_536))
            .set_credentials(username, password);
        if let Some(will) = will {
            options.set_last_will(will);
        }
        let (client, mut connection) = Client::new(options, 64);
        let (sender, packets) = channel();
        std::thread::spawn(move || {
            for event in connection.iter() {
                let (packet, ended) = match event {
                    Ok(Event::Incoming(packet)) => (Ok(packet), false),
                    Ok(Event::Outgoing(_)) => continue,
                    Err(error) => (Err(error), true),
                };
                if sender.send(packet).is_err() || ended {
                    break;
                }
            }
        });
        let device = Self { client, packets, client_id: username.to_owned() };
        match device.next() {
            Ok(Packet::ConnAck(_)) => Ok(device),
            Err(ConnectionError::ConnectionRefused(code)) => Err(code),
            other => panic!("instead of CONNACK: {other:?}"),
        }
    }

    /// The next packet of the broker.
    pub fn next(&self) -> Result<Packet, ConnectionError> {
        self.packets.recv_timeout(PATIENCE).expect("a packet of the broker")
    }

    /// The next PUBLISH.
    pub fn next_publish(&self) -> Publish {
        loop {
            if let Packet::Publish(publish) = self.next().unwrap() {
                return publish;
            }
        }
    }

    pub fn subscribe(&self, filter: &str) -> SubscribeReasonCode {
        self.client.subscribe_many([Filter::new(filter, QoS::AtLeastOnce)]).unwrap();
        loop {
            if let Packet::SubAck(ack) = self.next().unwrap() {
                return ack.return_codes[0];
            }
        }
    }

    /// Sends a request; the answer is to be awaited.
    pub fn send(&self, ask: &Ask) {
        let properties = PublishProperties {
            response_topic: ask.response_topic.clone(),
            correlation_data: ask.correlation_data.clone().map(Into::into),
            ..PublishProperties::default()
        };
        self.client.publish_with_properties(ask.topic.clone(), ask.qos, ask.retain, ask.payload.clone(), properties).unwrap();
    }

    /// Subscribes to all of the device's own topics, sends a request and returns its answer.
    pub fn request(&self, ask: &Ask) -> Publish {
        let own = format!("oauth2/v1/client/{}/#", self.client_id);
        let granted = self.subscribe(&own);
        assert!(matches!(granted, SubscribeReasonCode::Success(_)), "{own}: {granted:?}");
        self.send(ask);
        loop {
            let publish = self.next_publish();
            // Its own request comes back, as it is subscribed to it.
            if publish.topic != ask.topic.as_bytes() {
                return publish;
            }
        }
    }
}

impl Ask {
    /// A request in JSON, right but for `members`.
    pub fn json(client_id: &str, secret: &str, members: &Value) -> Self {
        let mut payload = json!({"grant_type": "client_credentials", "client_secret": secret});
        payload.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        Self::raw(client_id, "json", payload.to_string().into_bytes())
    }

    /// A request in CBOR with a scope.
    pub fn cbor(client_id: &str, secret: &str, scope: &str) -> Self {
        let members =
            std::collections::BTreeMap::from([(9, serde_cbor::Value::Text(scope.into())), (25, serde_cbor::Value::Bytes(secret.into()))]);
        Self::raw(client_id, "cbor", serde_cbor::to_vec(&members).unwrap())
    }

    pub fn raw(client_id: &str, format: &str, payload: Vec<u8>) -> Self {
        Self {
            topic: format!("oauth2/v1/client/{client_id}/token/{format}"),
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            response_topic: None,
            correlation_data: None,
        }
    }
}

/// The JSON of an answer.
pub fn body(publish: &Publish) -> Value {
    serde_json::from_slice(&publish.payload).unwrap_or_else(|error| panic!("{error}: {publish:?}"))
}
