//! The reference device through a real Mosquitto: with the real gateway behind it, with none, and with one that misbehaves.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use credgate::clients::{Channel, Client, ClientSecret};
use credgate::clock::UnixTime;
use credgate::device::{
    ConnectProblem, Credential, DeviceError, DeviceOptions, MqttVersion, Session, TokenQuery, fetch_retained, request_token,
};
use credgate::endpoint::{Engine, Settings};
use credgate::jose::RotationRules;
use credgate::mqtt::link::{Link, LinkOptions, LinkState};
use credgate::mqtt::{Gateway, LinkKind, QoS, Topics};
use credgate::oauth::{ErrorCode, Format, Secret};
use credgate::policy::{ResourceServer, Scope};
use credgate::registry::{KeyOptions, KeyStore, Registry, RegistryOptions};
use credgate::token::Lifetimes;
use rumqttc::v5::mqttbytes::QoS as WireQoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::mosquitto::{GATEWAY, Mosquitto};

const DEVICE: &str = "dev1";
/// Nothing here takes near as long.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is waited for in vain.
const IN_VAIN: Duration = Duration::from_millis(300);
const VERSIONS: [MqttVersion; 2] = [MqttVersion::V5, MqttVersion::V311];

fn now() -> UnixTime {
    UnixTime::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

fn device_secret() -> Secret {
    ClientSecret::generate(&Zeroizing::new([7; 32]), now()).1
}

/// A broker that knows the device.
fn broker() -> Mosquitto {
    let broker = Mosquitto::start();
    broker.set_password(DEVICE, std::str::from_utf8(device_secret().expose()).unwrap());
    broker
}

fn options(broker: &Mosquitto, version: MqttVersion) -> DeviceOptions {
    options_at(broker.port(), broker.client_config(), version)
}

fn options_at(port: u16, tls: Arc<rustls::ClientConfig>, version: MqttVersion) -> DeviceOptions {
    DeviceOptions {
        host: "localhost".into(),
        port,
        tls,
        version,
        topics: Topics::new("oauth2/v1").unwrap(),
        client_id: DEVICE.parse().unwrap(),
        credential: Credential::Secret(device_secret()),
        mqtt_username: None,
        mqtt_password: None,
        mqtt_client_id: None,
        qos: QoS::AtLeastOnce,
        timeout: PATIENCE,
    }
}

fn query(format: Format) -> TokenQuery {
    TokenQuery { format, scope: None, audience: None, pop: false, sealed: false, state: None }
}

/// A gateway that knows the device.
fn gateway(state: &tempfile::TempDir, link: LinkKind) -> Arc<Gateway> {
    let options = RegistryOptions { directory: state.path().join("registry"), cache_capacity: 8 * 1_024 * 1_024 };
    let registry = Registry::open(&options).unwrap();
    let server = ResourceServer::new("telemetry".parse().unwrap(), "https://telemetry.example".into(), now());
    let scope = |name: &str| Scope {
        permissions: vec!["pub telemetry/{client_id}/#".parse().unwrap()],
        ..Scope::new(name.parse().unwrap(), server.id.clone(), now())
    };
    let client = Client {
        scope: "config:read telemetry:write".parse().unwrap(),
        secrets: vec![ClientSecret::generate(&Zeroizing::new([7; 32]), now()).0],
        ..Client::new(DEVICE.parse().unwrap(), now())
    };
    registry.add_resource_server(server.clone()).unwrap();
    registry.add_scope(scope("telemetry:write")).unwrap();
    registry.add_scope(scope("config:read")).unwrap();
    registry.add_client(client).unwrap();
    let settings =
        Settings { issuer: "https://as.example".into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 8_192 };
    let rules = RotationRules { interval: 0, propagation: 600, max_lifetime: 3_600, clock_skew: 60 };
    let keys = KeyStore::new(KeyOptions { directory: state.path().join("keys"), rules, master_key: Ok(None) }).load_or_create().unwrap();
    let engine = Engine::new(settings, registry.clone(), registry, keys);
    Arc::new(Gateway::new(Arc::new(engine), Topics::new("oauth2/v1").unwrap(), Channel::Trusted, link, Arc::new(now)))
}

/// The gateway, linked to the broker.
struct LinkedGateway {
    link: Link,
    _state: tempfile::TempDir,
}

impl LinkedGateway {
    async fn start(broker: &Mosquitto) -> Self {
        let state = tempfile::tempdir().unwrap();
        let options = LinkOptions { keep_alive: 30, ..crate::link::options(broker) };
        let link = Link::start(options, gateway(&state, LinkKind::Broker));
        timeout(PATIENCE, link.state().wait_for(|state| *state == LinkState::Up)).await.unwrap().unwrap();
        Self { link, _state: state }
    }
}

#[tokio::test]
async fn device_gets_a_good_token_in_every_version_format_and_qos() {
    let broker = broker();
    let gateway = LinkedGateway::start(&broker).await;
    for version in VERSIONS {
        for format in [Format::Json, Format::Cbor] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                let options = DeviceOptions { qos, mqtt_client_id: Some(format!("{DEVICE}.x")), ..options(&broker, version) };
                let mut session = Session::connect(&options).await.unwrap();
                let asked = TokenQuery {
                    scope: Some("config:read".parse().unwrap()),
                    audience: Some("telemetry".into()),
                    pop: false,
                    sealed: false,
                    state: Some("\u{e9} 1".into()),
                    ..query(format)
                };
                let answer = session.request_token(&asked).await.unwrap();
                assert_eq!((answer.expires_in, answer.scope.as_deref()), (300, None));
                let claims = session.verify_token(&answer.access_token, now()).await.unwrap();
                assert_eq!((claims.aud.as_str(), claims.scope.as_str()), ("https://telemetry.example", "config:read"));
                // Another one on the same session, with nothing asked for.
                let answer = session.request_token(&query(format)).await.unwrap();
                assert_eq!(answer.scope.as_deref(), Some("config:read telemetry:write"), "{version:?} {format:?} {qos:?}");
                assert!(session.verify_token(&answer.access_token, now().saturating_add(301)).await.is_err(), "expired by then");
                session.disconnect().await;
            }
        }
    }
    gateway.link.stop().await;
}

#[tokio::test]
async fn deny_reaches_the_device_with_its_code() {
    let broker = broker();
    let gateway = LinkedGateway::start(&broker).await;
    for version in VERSIONS {
        for format in [Format::Json, Format::Cbor] {
            let options = options(&broker, version);
            let mut session = Session::connect(&options).await.unwrap();
            let too_much = TokenQuery { scope: Some("admin".parse().unwrap()), ..query(format) };
            let error = session.request_token(&too_much).await.unwrap_err();
            assert!(matches!(error, DeviceError::Rejected { error: ErrorCode::InvalidScope, description: Some(_), .. }), "{error:?}");
            // With a state too long to be echoed.
            let error = session
                .request_token(&TokenQuery { pop: false, sealed: false, state: Some("x".repeat(65)), ..query(format) })
                .await
                .unwrap_err();
            assert!(matches!(error, DeviceError::Rejected { error: ErrorCode::InvalidRequest, .. }), "{error:?}");
            session.request_token(&query(format)).await.expect("the session is as good as before");
            session.disconnect().await;
        }
    }
    gateway.link.stop().await;
}

#[tokio::test]
async fn device_says_what_keeps_it_from_the_broker() {
    let broker = broker();
    let other = Mosquitto::start();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    for version in VERSIONS {
        let problem = async |options: DeviceOptions| match request_token(&options, &query(Format::Json)).await {
            Err(DeviceError::Connect { problem, .. }) => problem,
            other => panic!("{other:?}"),
        };
        let wrong_secret = DeviceOptions { credential: Credential::Secret(Secret::new(b"wrong".to_vec())), ..options(&broker, version) };
        assert_eq!(problem(wrong_secret).await, ConnectProblem::CredentialsRefused);
        let wrong_ca = DeviceOptions { tls: other.client_config(), ..options(&broker, version) };
        assert!(matches!(problem(wrong_ca).await, ConnectProblem::Certificate(_)));
        let no_name = DeviceOptions { host: "no.such.host.invalid".into(), ..options(&broker, version) };
        assert!(matches!(problem(no_name).await, ConnectProblem::Unreachable(_)));
        let nobody = DeviceOptions { port: closed, ..options(&broker, version) };
        assert!(matches!(problem(nobody).await, ConnectProblem::Unreachable(_)));
        let silent = DeviceOptions {
            host: "127.0.0.1".into(),
            port: mute.local_addr().unwrap().port(),
            timeout: IN_VAIN,
            ..options(&broker, version)
        };
        assert_eq!(problem(silent).await, ConnectProblem::Timeout(IN_VAIN));
    }
}

#[tokio::test]
async fn device_says_what_the_broker_does_not_allow() {
    // Mosquitto lets everybody subscribe, and only with MQTT 5 tells of a publication that it drops.
    let broker = broker();
    let foreign = DeviceOptions { topics: Topics::new("x/y").unwrap(), ..options(&broker, MqttVersion::V5) };
    let error = request_token(&foreign, &query(Format::Json)).await.unwrap_err();
    assert!(matches!(error, DeviceError::PublicationRefused { .. }), "{error:?}");
}

#[cfg(feature = "embedded-broker")]
#[tokio::test]
async fn device_says_what_the_embedded_broker_does_not_allow() {
    use credgate::mqtt::broker::{EmbeddedBroker, EmbeddedBrokerOptions};
    use credgate::tls;

    let state = tempfile::tempdir().unwrap();
    let pki = tls::create_pki(&state.path().join("tls"), &["localhost".to_owned()], now()).unwrap();
    let embedded = EmbeddedBrokerOptions {
        listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
        tls: tls::server_config(&pki.certificate, &pki.private_key).unwrap(),
        max_connections: 8,
        max_connections_per_address: 8,
        handshake_timeout: PATIENCE,
        max_packet_size: 65_536,
        session_expiry: PATIENCE,
        max_queued_messages: 64,
    };
    let broker = EmbeddedBroker::start(embedded, gateway(&state, LinkKind::EmbeddedBroker)).await.unwrap();
    for version in VERSIONS {
        let own = || {
            let tls = tls::client_config(Some(&pki.ca_certificate), None).unwrap();
            options_at(broker.local_addrs()[0].port(), tls, version)
        };
        request_token(&own(), &query(Format::Json)).await.unwrap();
        let foreign = DeviceOptions { topics: Topics::new("x/y").unwrap(), ..own() };
        let error = request_token(&foreign, &query(Format::Json)).await.unwrap_err();
        assert!(matches!(error, DeviceError::SubscriptionRefused { .. }), "{error:?}");
        let error = fetch_retained(&own(), "x/y/as/jwks").await.unwrap_err();
        assert!(matches!(error, DeviceError::SubscriptionRefused { .. }), "{error:?}");
        let foreign = DeviceOptions { mqtt_client_id: Some("dev2".into()), ..own() };
        let error = request_token(&foreign, &query(Format::Json)).await.unwrap_err();
        assert!(matches!(error, DeviceError::Connect { problem: ConnectProblem::Refused(_), .. }), "{error:?}");
    }
    broker.stop().await;
}

#[tokio::test]
async fn device_does_not_wait_for_ever() {
    let broker = broker();
    for version in VERSIONS {
        let options = DeviceOptions { timeout: IN_VAIN, ..options(&broker, version) };
        let mut session = Session::connect(&options).await.unwrap();
        let error = session.request_token(&query(Format::Json)).await.unwrap_err();
        let DeviceError::Timeout { unheard, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*unheard, version == MqttVersion::V5, "only MQTT 5 tells that nobody is subscribed");
        let error = session.fetch_retained("oauth2/v1/as/jwks").await.unwrap_err();
        assert!(matches!(error, DeviceError::Timeout { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn device_notices_a_lost_broker_and_stays_away() {
    for version in VERSIONS {
        let mut broker = broker();
        let options = options(&broker, version);
        let mut session = Session::connect(&options).await.unwrap();
        broker.stop();
        for _ in 0..2 {
            let error = session.request_token(&query(Format::Json)).await.unwrap_err();
            assert!(matches!(&error, DeviceError::Connect { problem: ConnectProblem::Lost(_), .. }), "{error:?}");
        }
        session.disconnect().await;
    }
}

#[tokio::test]
async fn retained_documents_are_fetched() {
    let broker = broker();
    let gateway = LinkedGateway::start(&broker).await;
    for version in VERSIONS {
        let options = options(&broker, version);
        let metadata: serde_json::Value =
            serde_json::from_slice(&fetch_retained(&options, "oauth2/v1/as/metadata").await.unwrap()).unwrap();
        assert_eq!(metadata["issuer"], "https://as.example");
    }
    gateway.link.stop().await;
}

/// Publishes these answers to the first request, each as (topic, is the correlation data the request's?, payload).
async fn answer_with(broker: &Mosquitto, answers: impl Fn(&Publish) -> Vec<(String, bool, String)> + Send + 'static) -> JoinSet<()> {
    let mut mqtt = MqttOptions::new("fake", "localhost", broker.port());
    mqtt.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(broker.client_config())))
        .set_credentials(GATEWAY.0, GATEWAY.1)
        .set_outgoing_inflight_upper_limit(64);
    let (client, mut event_loop) = AsyncClient::new(mqtt, 64);
    client.try_subscribe("oauth2/v1/client/+/+/+", WireQoS::AtLeastOnce).unwrap();
    let (ready, subscribed) = oneshot::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut ready = Some(ready);
        while let Ok(event) = event_loop.poll().await {
            match event {
                Event::Incoming(Packet::SubAck(_)) => ready.take().unwrap().send(()).unwrap(),
                Event::Incoming(Packet::Publish(request)) => {
                    for (topic, is_correlated, payload) in answers(&request) {
                        let asked = request.properties.as_ref().and_then(|properties| properties.correlation_data.clone());
                        let correlation_data = if is_correlated { asked } else { Some(b"other".to_vec().into()) };
                        let properties = PublishProperties { correlation_data, ..PublishProperties::default() };
                        client.try_publish_with_properties(topic, WireQoS::AtLeastOnce, false, payload, properties).unwrap();
                    }
                }
                _ => {}
            }
        }
    });
    timeout(PATIENCE, subscribed).await.unwrap().unwrap();
    tasks
}

fn token(text: &str, state: &str) -> String {
    format!(r#"{{"access_token":"{text}","token_type":"Bearer","expires_in":1,"state":"{state}"}}"#)
}

const ACCEPTED: &str = "oauth2/v1/client/dev1/token/json/accepted";
const REJECTED: &str = "oauth2/v1/client/dev1/token/json/rejected";

#[tokio::test]
async fn answers_to_others_are_not_taken() {
    let broker = broker();
    let _fake =
        answer_with(&broker, |request| match request.properties.as_ref().and_then(|properties| properties.response_topic.clone()) {
            Some(topic) => vec![(topic.clone(), false, token("wrong", "mine")), (topic, true, token("right", "mine"))],
            None => vec![
                (ACCEPTED.into(), true, token("wrong", "yours")),
                (ACCEPTED.into(), true, r#"{"access_token":"wrong","token_type":"Bearer","expires_in":1}"#.into()),
                (REJECTED.into(), true, r#"{"error":"server_error","state":"yours"}"#.into()),
                (ACCEPTED.into(), true, token("right", "mine")),
            ],
        })
        .await;
    for version in VERSIONS {
        let answer = request_token(
            &options(&broker, version),
            &TokenQuery { pop: false, sealed: false, state: Some("mine".into()), ..query(Format::Json) },
        )
        .await
        .unwrap();
        assert_eq!(answer.access_token, "right");
    }
}

#[tokio::test]
async fn deny_answers_that_contradict_themselves() {
    let broker = broker();
    let _fake = answer_with(&broker, |request| {
        let response_topic = request.properties.as_ref().and_then(|properties| properties.response_topic.clone());
        vec![(response_topic.unwrap_or_else(|| REJECTED.into()), true, token("x", "yours"))]
    })
    .await;
    let asked = |state: &str| TokenQuery { pop: false, sealed: false, state: Some(state.into()), ..query(Format::Json) };
    let error = request_token(&options(&broker, MqttVersion::V5), &asked("mine")).await.unwrap_err();
    assert!(matches!(error, DeviceError::Protocol(_)), "another state: {error:?}");
    let error = request_token(&options(&broker, MqttVersion::V311), &asked("yours")).await.unwrap_err();
    assert!(matches!(error, DeviceError::Protocol(_)), "a token on the topic of refusals: {error:?}");
    let _fake = answer_with(&broker, |_| vec![(ACCEPTED.into(), true, "{".into())]).await;
    let error = request_token(&options(&broker, MqttVersion::V311), &asked("mine")).await.unwrap_err();
    assert!(matches!(error, DeviceError::Protocol(_)), "no JSON: {error:?}");
}
