//! What is said in CONNECT, and how rumqttc is set up.

use std::time::Duration;

use rumqttc::v5::MqttOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, LastWillProperties};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};

use super::LinkOptions;
use super::failure::Failure;
use crate::mqtt::{Gateway, Status};

/// Receive Maximum: requests of QoS 1 that the broker may have under way to us.
const RECEIVE_MAXIMUM: u16 = 64;
/// Seconds from the first SYN to CONNACK.
const CONNECTION_TIMEOUT: u64 = 10;
/// rumqttc panics below it.
const MIN_KEEP_ALIVE: u16 = 5;
/// Bytes of a packet beside the payload: topic, Response Topic, Correlation Data.
const PACKET_HEADROOM: usize = 16 * 1_024;
/// Publishes of ours that may wait for their PUBACK; rumqttc sizes its tables by it.
const INFLIGHT: u16 = 64;

/// Time between pings that the gateway asks for.
pub(super) fn keep_alive(options: &LinkOptions) -> Duration {
    Duration::from_secs(options.keep_alive.max(MIN_KEEP_ALIVE).into())
}

/// Host and port, for people.
pub(super) fn address(options: &LinkOptions) -> String {
    host_and_port(&options.host, options.port)
}

/// The same of these.
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The options of one connection. They show the password in `Debug`: never log them.
pub(super) fn mqtt_options(options: &LinkOptions, gateway: &Gateway) -> Result<MqttOptions, Failure> {
    let mut mqtt = MqttOptions::new(options.client_id.as_str(), options.host.as_str(), options.port);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    let max_packet_size = gateway.engine().settings().max_payload.saturating_add(PACKET_HEADROOM);
    let offline = gateway.status(Status::Offline);
    let properties = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: Some(1),
        message_expiry_interval: None,
        content_type: Some(offline.content_type.to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    mqtt.set_network_options(network)
        .set_connection_timeout(CONNECTION_TIMEOUT)
        .set_keep_alive(keep_alive(options))
        .set_clean_start(true)
        .set_manual_acks(true)
        .set_outgoing_inflight_upper_limit(INFLIGHT)
        .set_receive_maximum(Some(RECEIVE_MAXIMUM))
        .set_max_packet_size(Some(u32::try_from(max_packet_size).unwrap_or(u32::MAX)))
        .set_last_will(LastWill::new(offline.topic, offline.payload, QoS::AtLeastOnce, true, Some(properties)));
    if let Some(tls) = &options.tls {
        mqtt.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
    }
    let password = match &options.password {
        Some(password) => std::str::from_utf8(password.expose()).map_err(|_| Failure::Password)?,
        None => "",
    };
    let username = options.username.as_deref().unwrap_or_default();
    if !(username.is_empty() && password.is_empty()) {
        mqtt.set_credentials(username, password);
    }
    Ok(mqtt)
}
