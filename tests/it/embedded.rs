//! The embedded broker over TLS on loopback, with MQTT 5 and 3.1.1 clients.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what helps a test fails it by a panic"
)]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use credgate::clients::{Channel, Client, ClientSecret, ClientStore, Status};
use credgate::clock::UnixTime;
use credgate::endpoint::{Engine, Settings};
use credgate::jose::{self, KeyRing, SigningKey};
use credgate::mqtt::broker::{EmbeddedBroker, EmbeddedBrokerOptions};
use credgate::mqtt::{CountersSnapshot, Gateway, LinkKind, Topics};
use credgate::oauth::{ClientId, Format, Reason};
use credgate::policy::{Policy, PolicyStore, ResourceServer, Scope};
use credgate::token::{ACCESS_TOKEN_TYP, Claims, Lifetimes};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectReturnCode, Filter, LastWill, Login, Packet, PubAckReason, Publish, PublishProperties, Subscribe,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const ISSUER: &str = "https://credgate.example";
const AUDIENCE: &str = "https://telemetry.example";
const ROOT: &str = "oauth2/v1/client/dev1";
/// A client whose id looks like an identifier that mqtt5 assigns.
const LOOKALIKE: &str = "auto-0123456789abcdef0123456789abcdef";
/// Ends a test that hangs; nothing is measured by it.
const HANG: Duration = Duration::from_secs(120);

struct Clients(HashMap<ClientId, Arc<Client>>);

impl ClientStore for Clients {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.0.get(id).cloned()
    }
}

struct Policies(Arc<Policy>);

impl PolicyStore for Policies {
    fn policy(&self) -> Arc<Policy> {
        self.0.clone()
    }
}

struct Fixture {
    broker: EmbeddedBroker,
    gateway: Arc<Gateway>,
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    secrets: HashMap<String, String>,
}

fn gateway() -> (Arc<Gateway>, HashMap<String, String>) {
    let server = ResourceServer::new("telemetry".parse().unwrap(), AUDIENCE.into(), NOW);
    let scope = Scope::new("telemetry:write".parse().unwrap(), server.id.clone(), NOW);
    let mut policy = Policy::default();
    policy.scopes.insert(scope.name.clone(), Arc::new(scope));
    policy.resource_servers.insert(server.id.clone(), Arc::new(server));

    let (mut clients, mut secrets) = (HashMap::new(), HashMap::new());
    for (seed, id, status) in
        [(1, "dev1", Status::Active), (2, "dev2", Status::Active), (3, "gone", Status::Blocked), (4, LOOKALIKE, Status::Active)]
    {
        let (record, secret) = ClientSecret::generate(&Zeroizing::new([seed; 32]), NOW);
        let client =
            Client { scope: "telemetry:write".parse().unwrap(), status, secrets: vec![record], ..Client::new(id.parse().unwrap(), NOW) };
        secrets.insert(id.to_owned(), String::from_utf8(secret.expose().to_vec()).unwrap());
        clients.insert(client.client_id.clone(), Arc::new(client));
    }
    let settings = Settings { issuer: ISSUER.into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 8_192 };
    let keys = KeyRing::new(Arc::new(SigningKey::from_seed(&Zeroizing::new([9; 32]))), Vec::new());
    let engine = Arc::new(Engine::new(settings, Arc::new(Clients(clients)), Arc::new(Policies(Arc::new(policy))), keys));
    let topics = Topics::new("oauth2/v1").unwrap();
    (Arc::new(Gateway::new(engine, topics, Channel::Trusted, LinkKind::EmbeddedBroker, Arc::new(|| NOW))), secrets)
}

fn tls() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let names = ["127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = CertificateDer::from(cert.der().to_vec());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

async fn start(change: impl FnOnce(&mut EmbeddedBrokerOptions)) -> Fixture {
    let (server, client) = tls();
    let mut options = EmbeddedBrokerOptions {
        listen: vec![([127, 0, 0, 1], 0).into()],
        tls: server,
        max_connections: 500,
        max_connections_per_address: 500,
        handshake_timeout: Duration::from_secs(3_600),
        max_packet_size: 65_536,
        session_expiry: Duration::from_secs(3_600),
        max_queued_messages: 64,
    };
    change(&mut options);
    let (gateway, secrets) = gateway();
    let broker = EmbeddedBroker::start(options, gateway.clone()).await.unwrap();
    let address = broker.local_addrs()[0];
    Fixture { broker, gateway, address, tls: client, secrets }
}

impl Fixture {
    fn counters(&self) -> CountersSnapshot {
        self.gateway.counters().snapshot()
    }

    /// How often something was refused for that reason.
    fn refused(&self, reason: Reason) -> u64 {
        self.gateway.counters().metrics(LinkKind::EmbeddedBroker).refusals[reason.name()]
    }

    fn transport(&self) -> Transport {
        Transport::tls_with_config(TlsConfiguration::Rustls(self.tls.clone()))
    }

    fn options(&self, client_id: &str, mqtt_client_id: &str) -> MqttOptions {
        let mut options = MqttOptions::new(mqtt_client_id, self.address.ip().to_string(), self.address.port());
        options.set_credentials(client_id, self.secrets[client_id].clone()).set_transport(self.transport());
        options.set_max_packet_size(Some(65_536)).set_network_options(nodelay());
        options
    }

    async fn device(&self, client_id: &str) -> Device {
        Device::connect(self.options(client_id, client_id)).await
    }

    async fn refusal(&self, change: impl FnOnce(&mut MqttOptions)) -> ConnectReturnCode {
        let mut options = self.options("dev1", "dev1");
        change(&mut options);
        match Device::try_connect(options).await {
            Err(ConnectionError::ConnectionRefused(code)) => code,
            other => panic!("{:?}", other.map(|(_, connack)| connack)),
        }
    }

    fn request(&self, client_id: &str, format: Format) -> Vec<u8> {
        let secret = &self.secrets[client_id];
        match format {
            Format::Json => format!(r#"{{"grant_type":"client_credentials","client_secret":"{secret}","state":"s1"}}"#).into_bytes(),
            Format::Cbor => serde_cbor::to_vec(&BTreeMap::from([
                (25, serde_cbor::Value::Bytes(secret.clone().into_bytes())),
                (28, serde_cbor::Value::Text("s1".into())),
            ]))
            .unwrap(),
        }
    }

    /// Checks an answer by the published keys.
    fn check(&self, client_id: &str, format: Format, payload: &[u8]) {
        let (token, state) = match format {
            Format::Json => {
                let answer: serde_json::Value = serde_json::from_slice(payload).unwrap();
                assert_eq!(answer["token_type"], "Bearer", "{answer}");
                (answer["access_token"].as_str().unwrap().to_owned(), answer["state"].as_str().unwrap().to_owned())
            }
            Format::Cbor => {
                let answer: BTreeMap<i64, serde_cbor::Value> = serde_cbor::from_slice(payload).unwrap();
                match (&answer[&1], &answer[&28]) {
                    (serde_cbor::Value::Bytes(token), serde_cbor::Value::Text(state)) => {
                        (String::from_utf8(token.clone()).unwrap(), state.clone())
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        assert_eq!(state, "s1");
        let keys = self.gateway.engine().keys().jwk_set();
        let claims: Claims = jose::verify(&token, ACCESS_TOKEN_TYP, ISSUER, Some(AUDIENCE), &keys, NOW.as_secs()).unwrap();
        assert_eq!(claims.client_id, client_id);
    }

    /// A token by the shortest way.
    async fn assert_serves(&self, client_id: &str, mqtt_client_id: &str) {
        let mut device = Device::connect(self.options(client_id, mqtt_client_id)).await;
        let request = format!("oauth2/v1/client/{client_id}/token/json");
        assert_eq!(device.subscribe(&format!("{request}/accepted")).await, SubscribeReasonCode::Success(QoS::AtLeastOnce));
        assert_eq!(device.publish(&request, self.request(client_id, Format::Json)).await, PubAckReason::Success);
        self.check(client_id, Format::Json, &device.message().await.payload);
    }
}

fn nodelay() -> NetworkOptions {
    let mut options = NetworkOptions::new();
    options.set_tcp_nodelay(true);
    options
}

async fn unhung<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.expect("the test hangs")
}

/// An MQTT 5 client.
struct Device {
    client: AsyncClient,
    events: EventLoop,
    inbox: VecDeque<Publish>,
}

impl Device {
    async fn try_connect(options: MqttOptions) -> Result<(Self, ConnAck), ConnectionError> {
        let (client, mut events) = AsyncClient::new(options, 2_000);
        match unhung(events.poll()).await? {
            Event::Incoming(Packet::ConnAck(connack)) => Ok((Self { client, events, inbox: VecDeque::new() }, connack)),
            other => panic!("{other:?}"),
        }
    }

    async fn connect(options: MqttOptions) -> Self {
        Self::try_connect(options).await.unwrap().0
    }

    async fn poll(&mut self) -> Result<Event, ConnectionError> {
        let event = unhung(self.events.poll()).await?;
        if let Event::Incoming(Packet::Publish(publish)) = &event {
            self.inbox.push_back(publish.clone());
        }
        Ok(event)
    }

    async fn subscribe(&mut self, filter: &str) -> SubscribeReasonCode {
        self.subscribe_as(Filter::new(filter, QoS::AtLeastOnce)).await
    }

    async fn subscribe_as(&mut self, filter: Filter) -> SubscribeReasonCode {
        self.client.subscribe_many([filter]).await.unwrap();
        loop {
            if let Event::Incoming(Packet::SubAck(suback)) = self.poll().await.unwrap() {
                return suback.return_codes[0];
            }
        }
    }

    async fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>) -> PubAckReason {
        self.publish_as(topic, false, payload).await
    }

    async fn publish_as(&mut self, topic: &str, retain: bool, payload: impl Into<Vec<u8>>) -> PubAckReason {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload.into()).await.unwrap();
        loop {
            if let Event::Incoming(Packet::PubAck(puback)) = self.poll().await.unwrap() {
                return puback.reason;
            }
        }
    }

    async fn message(&mut self) -> Publish {
        loop {
            if let Some(publish) = self.inbox.pop_front() {
                return publish;
            }
            self.poll().await.unwrap();
        }
    }

    /// Shows that nothing was delivered: a message to itself is the next to arrive.
    async fn assert_nothing_before(&mut self, own_topic: &str) {
        assert_eq!(self.publish(own_topic, "marker").await, PubAckReason::Success);
        let message = self.message().await;
        assert_eq!((&*message.topic, &*message.payload), (own_topic.as_bytes(), &b"marker"[..]));
    }
}

#[tokio::test]
async fn tokens_in_both_formats_at_every_qos() {
    let fixture = start(|_| ()).await;
    let mut device = fixture.device("dev1").await;
    assert_eq!(device.subscribe(&format!("{ROOT}/#")).await, SubscribeReasonCode::Success(QoS::AtLeastOnce));
    for format in [Format::Json, Format::Cbor] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for own_topic in [false, true] {
                let topic = format!("{ROOT}/token/{}", format.as_str());
                let properties = PublishProperties {
                    response_topic: own_topic.then(|| format!("{ROOT}/inbox")),
                    correlation_data: own_topic.then(|| vec![0, 255, 7].into()),
                    ..PublishProperties::default()
                };
                let request = fixture.request("dev1", format);
                device.client.publish_with_properties(&topic, qos, false, request, properties.clone()).await.unwrap();
                let answer = device.message().await;
                let expected = if own_topic { format!("{ROOT}/inbox") } else { format!("{topic}/accepted") };
                assert_eq!(answer.topic, expected);
                assert_eq!(answer.qos, if qos == QoS::AtMostOnce { qos } else { QoS::AtLeastOnce });
                assert!(!answer.retain);
                let told = answer.properties.unwrap();
                assert_eq!(told.content_type.as_deref(), Some(format.content_type()));
                assert_eq!(told.payload_format_indicator, (format == Format::Json).then_some(1));
                assert_eq!(told.correlation_data, properties.correlation_data);
                assert!(told.message_expiry_interval.is_some_and(|seconds| (1..=60).contains(&seconds)), "{told:?}");
                fixture.check("dev1", format, &answer.payload);
            }
        }
    }
    assert_eq!((fixture.counters().accepted, fixture.counters().rejected, fixture.counters().connections), (12, 0, 1));
}

#[tokio::test]
async fn mqtt_3_1_1_clients_are_served() {
    use rumqttc::{AsyncClient, ConnectReturnCode, Event, MqttOptions, Packet, QoS, SubscribeReasonCode};

    let fixture = start(|_| ()).await;
    let connect = |client_id: &str, secret: &str| {
        let mut options = MqttOptions::new("dev1", fixture.address.ip().to_string(), fixture.address.port());
        options.set_credentials(client_id, secret).set_transport(fixture.transport());
        let (client, mut events) = AsyncClient::new(options, 100);
        events.set_network_options(nodelay());
        (client, events)
    };
    let (_client, mut events) = connect("dev1", "wrong");
    match unhung(events.poll()).await {
        Err(rumqttc::ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword)) => {}
        other => panic!("{other:?}"),
    }
    let (client, mut events) = connect("dev1", &fixture.secrets["dev1"]);
    client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
    client.subscribe(format!("{ROOT}/#"), QoS::AtLeastOnce).await.unwrap();
    client.publish(format!("{ROOT}/token/json"), QoS::AtLeastOnce, false, fixture.request("dev1", Format::Json)).await.unwrap();
    let mut codes = Vec::new();
    let answer = loop {
        match unhung(events.poll()).await.unwrap() {
            Event::Incoming(Packet::SubAck(suback)) => codes.extend(suback.return_codes),
            Event::Incoming(Packet::Publish(publish)) => break publish,
            _ => {}
        }
    };
    assert_eq!(codes, [SubscribeReasonCode::Failure, SubscribeReasonCode::Success(QoS::AtLeastOnce)]);
    assert_eq!(answer.topic, format!("{ROOT}/token/json/accepted"));
    fixture.check("dev1", Format::Json, &answer.payload);
}

#[tokio::test]
async fn deny_connect_without_the_right_credentials() {
    let fixture = start(|_| ()).await;
    let secret = fixture.secrets["dev1"].clone();
    for (username, password) in [
        ("dev1", "wrong".to_owned()),
        ("dev1", String::new()),
        ("unknown", secret.clone()),
        ("dev2", secret.clone()),
        (" ", secret.clone()),
        ("dev1/../dev1", secret.clone()),
        ("gone", fixture.secrets["gone"].clone()),
    ] {
        let code = fixture.refusal(|options| _ = options.set_credentials(username, password)).await;
        assert_eq!(code, ConnectReturnCode::BadUserNamePassword, "{username}");
    }
    let mut anonymous = MqttOptions::new("dev1", fixture.address.ip().to_string(), fixture.address.port());
    anonymous.set_transport(fixture.transport());
    match Device::try_connect(anonymous).await.map(|(_, connack)| connack) {
        Err(ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(fixture.counters().connections, 0);
    // rumqttc leaves an empty password out.
    assert_eq!(fixture.refused(Reason::NoCredentials), 2);
}

#[tokio::test]
async fn deny_foreign_mqtt_client_identifiers() {
    let fixture = start(|_| ()).await;
    let mut owner = fixture.device("dev2").await;
    for foreign in ["dev2", "dev11", "dev2.dev1", "dev", LOOKALIKE] {
        let code = fixture.refusal(|options| _ = options.set_client_id(foreign.into())).await;
        assert_eq!(code, ConnectReturnCode::ClientIdentifierNotValid, "{foreign}");
    }
    assert_eq!(fixture.refused(Reason::ForeignMqttClientId), 5);
    // The session that was to be taken over lives.
    assert_eq!(owner.subscribe("oauth2/v1/client/dev2/#").await, SubscribeReasonCode::Success(QoS::AtLeastOnce));
    owner.assert_nothing_before("oauth2/v1/client/dev2/x").await;

    fixture.assert_serves("dev1", "dev1").await;
    fixture.assert_serves("dev1", "dev1.second").await;
    let (_device, connack) = Device::try_connect(fixture.options("dev1", "")).await.unwrap();
    let assigned = connack.properties.unwrap().assigned_client_identifier.unwrap();
    assert!(assigned.starts_with("auto-") && assigned.len() == LOOKALIKE.len(), "{assigned}");
}

#[tokio::test]
async fn deny_foreign_and_retained_wills() {
    let fixture = start(|_| ()).await;
    let will = |topic: &str, retain| LastWill::new(topic, "x", QoS::AtLeastOnce, retain, None);
    for topic in ["oauth2/v1/client/dev2/x", "oauth2/v1/as/status", "x"] {
        let code = fixture.refusal(|options| _ = options.set_last_will(will(topic, false))).await;
        assert_eq!(code, ConnectReturnCode::NotAuthorized, "{topic}");
    }
    let code = fixture.refusal(|options| _ = options.set_last_will(will(&format!("{ROOT}/x"), true))).await;
    assert_eq!(code, ConnectReturnCode::RetainNotSupported);
    assert_eq!((fixture.refused(Reason::ForeignWillTopic), fixture.refused(Reason::RetainedWill)), (3, 1));

    let mut options = fixture.options("dev1", "dev1.dying");
    options.set_last_will(will(&format!("{ROOT}/will"), false));
    let mut witness = fixture.device("dev1").await;
    witness.subscribe(&format!("{ROOT}/#")).await;
    drop(Device::connect(options).await);
    assert_eq!(witness.message().await.topic, format!("{ROOT}/will"));
}

#[tokio::test]
async fn deny_foreign_subscriptions() {
    let fixture = start(|_| ()).await;
    let mut device = fixture.device("dev1").await;
    for filter in [
        "#",
        "+/#",
        "oauth2/v1/#",
        "oauth2/v1/client/+/token/json/accepted",
        "oauth2/v1/client/dev2/#",
        "oauth2/v1/client/dev11/#",
        "$share/g/oauth2/v1/client/dev1/#",
        "$SYS/#",
    ] {
        assert_eq!(device.subscribe(filter).await, SubscribeReasonCode::NotAuthorized, "{filter}");
    }
    assert_eq!(device.subscribe("oauth2/v1/as/+").await, SubscribeReasonCode::Success(QoS::AtLeastOnce));
}

#[tokio::test]
async fn deny_foreign_publishes() {
    let fixture = start(|_| ()).await;
    let mut witness = fixture.device("dev2").await;
    witness.subscribe("oauth2/v1/client/dev2/#").await;
    witness.subscribe("oauth2/v1/as/status").await;
    assert_eq!(witness.message().await.topic, "oauth2/v1/as/status");
    let mut device = fixture.device("dev1").await;
    for topic in ["oauth2/v1/client/dev2/x", "oauth2/v1/client/dev2/token/json", "oauth2/v1/as/status", "x", "$SYS/x"] {
        assert_eq!(device.publish(topic, fixture.request("dev2", Format::Json)).await, PubAckReason::NotAuthorized, "{topic}");
        assert_eq!(device.publish_as(topic, true, "x").await, PubAckReason::NotAuthorized, "{topic}");
        device.client.publish(topic, QoS::AtMostOnce, false, "x").await.unwrap();
    }
    // The QoS 0 messages have been handled too once a later message is acknowledged.
    assert_eq!(device.publish(&format!("{ROOT}/x"), "x").await, PubAckReason::Success);
    witness.assert_nothing_before("oauth2/v1/client/dev2/x").await;
    assert_eq!((fixture.counters().accepted, fixture.counters().rejected), (0, 0));
}

#[tokio::test]
async fn deny_foreign_response_topics() {
    let fixture = start(|_| ()).await;
    let mut witness = fixture.device("dev2").await;
    witness.subscribe("oauth2/v1/client/dev2/#").await;
    let mut device = fixture.device("dev1").await;
    device.subscribe(&format!("{ROOT}/#")).await;
    let properties = PublishProperties { response_topic: Some("oauth2/v1/client/dev2/inbox".into()), ..PublishProperties::default() };
    let request = fixture.request("dev1", Format::Json);
    device.client.publish_with_properties(format!("{ROOT}/token/json"), QoS::AtLeastOnce, false, request, properties).await.unwrap();
    assert_eq!(device.message().await.topic, format!("{ROOT}/token/json/rejected"));
    witness.assert_nothing_before("oauth2/v1/client/dev2/x").await;
}

#[tokio::test]
async fn devices_retain_nothing() {
    let fixture = start(|_| ()).await;
    let mut device = fixture.device("dev1").await;
    let rejected = format!("{ROOT}/token/json/rejected");
    device.subscribe(&rejected).await;
    assert_eq!(device.publish_as(&format!("{ROOT}/token/json"), true, fixture.request("dev1", Format::Json)).await, PubAckReason::Success);
    let answer = device.message().await;
    assert_eq!(answer.topic, rejected);
    assert!(std::str::from_utf8(&answer.payload).unwrap().contains("invalid_request"));
    assert_eq!(device.publish_as(&format!("{ROOT}/x"), true, "x").await, PubAckReason::Success);

    let mut later = Device::connect(fixture.options("dev1", "dev1.later")).await;
    later.subscribe(&format!("{ROOT}/#")).await;
    later.assert_nothing_before(&format!("{ROOT}/y")).await;
}

#[tokio::test]
async fn announcements_are_retained_and_repeated() {
    let fixture = start(|_| ()).await;
    let mut device = fixture.device("dev1").await;
    device.subscribe("oauth2/v1/as/#").await;
    for retain in [true, false] {
        let mut found = BTreeMap::new();
        for _ in 0..3 {
            let message = device.message().await;
            assert_eq!(message.retain, retain);
            assert_eq!(message.properties.as_ref().unwrap().payload_format_indicator, Some(1));
            found.insert(String::from_utf8(message.topic.to_vec()).unwrap(), message.payload.to_vec());
        }
        let expected: BTreeMap<_, _> =
            fixture.gateway.announcements(65_536).into_iter().map(|message| (message.topic, message.payload)).collect();
        assert_eq!(found, expected);
        fixture.broker.announce();
    }
}

#[tokio::test]
async fn answers_wait_for_a_client_that_went_away() {
    let fixture = start(|_| ()).await;
    let mut options = fixture.options("dev1", "dev1.listener");
    options.set_clean_start(false).set_session_expiry_interval(Some(600));
    let mut listener = Device::connect(options.clone()).await;
    // No Local: the answer is not the client's own message.
    let filter = Filter { nolocal: true, ..Filter::new(format!("{ROOT}/#"), QoS::AtLeastOnce) };
    assert_eq!(listener.subscribe_as(filter).await, SubscribeReasonCode::Success(QoS::AtLeastOnce));
    assert_eq!(listener.publish(&format!("{ROOT}/token/json"), fixture.request("dev1", Format::Json)).await, PubAckReason::Success);
    fixture.check("dev1", Format::Json, &listener.message().await.payload);
    drop(listener);

    let mut asker = fixture.device("dev1").await;
    assert_eq!(asker.publish(&format!("{ROOT}/token/cbor"), fixture.request("dev1", Format::Cbor)).await, PubAckReason::Success);
    let (mut listener, connack) = Device::try_connect(options).await.unwrap();
    assert!(connack.session_present);
    let answer = loop {
        let answer = listener.message().await;
        // The first answer comes again if its PUBACK was lost with the connection.
        if answer.topic.ends_with(b"cbor/accepted") {
            break answer;
        }
    };
    fixture.check("dev1", Format::Cbor, &answer.payload);
}

#[tokio::test]
async fn deny_delay_by_silent_connections() {
    let fixture = start(|_| ()).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(fixture.address).await.unwrap());
    }
    fixture.assert_serves("dev1", "dev1").await;
    for stream in &silent {
        assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn deny_endless_handshakes() {
    let fixture = start(|options| options.handshake_timeout = Duration::from_millis(50)).await;
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    assert_eq!(unhung(stream.read(&mut [0])).await.unwrap(), 0);
}

/// A TLS connection, if the broker lets one more in.
async fn connect_tls(fixture: &Fixture) -> Option<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(fixture.address).await.unwrap();
    let name = ServerName::from(fixture.address.ip());
    unhung(TlsConnector::from(fixture.tls.clone()).connect(name, stream)).await.ok()
}

#[tokio::test]
async fn connections_are_limited() {
    let limits: [fn(&mut EmbeddedBrokerOptions); 2] =
        [|options| options.max_connections_per_address = 2, |options| options.max_connections = 2];
    for limit in limits {
        let fixture = start(limit).await;
        let first = connect_tls(&fixture).await.unwrap();
        let _second = TcpStream::connect(fixture.address).await.unwrap();
        assert!(connect_tls(&fixture).await.is_none());
        // A place is given back once the broker has seen the connection end.
        drop(first);
        unhung(async { while connect_tls(&fixture).await.is_none() {} }).await;
    }
}

#[tokio::test]
async fn a_dual_stack_listener_serves_ipv4() {
    let mut fixture = start(|options| options.listen = vec![([0; 16], 0).into()]).await;
    let address = fixture.address;
    fixture.address = SocketAddr::from(([127, 0, 0, 1], address.port()));
    fixture.assert_serves("dev1", "dev1").await;
    // Without IPv6 in the kernel the listener is an IPv4 one.
    if address.is_ipv6() {
        fixture.address = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], address.port()));
        assert!(connect_tls(&fixture).await.is_some());
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_gets_what_fits_and_the_rest_is_counted() {
    const REQUESTS: u64 = 1_000;
    let fixture = start(|_| ()).await;
    let mut options = fixture.options("dev1", "dev1");
    options.set_manual_acks(true);
    let mut device = Device::connect(options).await;
    device.subscribe(&format!("{ROOT}/#")).await;
    for _ in 0..REQUESTS {
        let request = fixture.request("dev1", Format::Json);
        device.client.publish(format!("{ROOT}/token/json"), QoS::AtLeastOnce, false, request).await.unwrap();
    }
    let mut acknowledged = 0;
    while acknowledged < REQUESTS {
        if let Event::Incoming(Packet::PubAck(puback)) = device.poll().await.unwrap() {
            assert_eq!(puback.reason, PubAckReason::Success);
            acknowledged = acknowledged.saturating_add(1);
        }
    }
    let counters = fixture.counters();
    assert_eq!(counters.accepted.saturating_add(counters.shed), REQUESTS, "{counters:?}");
    assert!(counters.shed > 0, "{counters:?}");
    // All that were signed arrive, once the client reads, and others are served meanwhile.
    fixture.assert_serves("dev2", "dev2").await;
    for _ in 0..counters.accepted {
        let answer = device.message().await;
        fixture.check("dev1", Format::Json, &answer.payload);
        device.client.ack(&answer).await.unwrap();
    }
    device.assert_nothing_before(&format!("{ROOT}/x")).await;
}

#[tokio::test]
async fn stop_says_goodbye_and_closes_everything() {
    let fixture = start(|_| ()).await;
    // Not through rumqttc's event loop, which forgets what it received together with the end of the connection.
    let mut stream = connect_tls(&fixture).await.unwrap();
    let login = Login { username: "dev1".into(), password: fixture.secrets["dev1"].clone() };
    let connect = Connect { keep_alive: 60, client_id: "dev1".into(), clean_start: true, properties: None };
    let mut buffer = BytesMut::new();
    Packet::Connect(connect, None, Some(login)).write(&mut buffer, None).unwrap();
    let filter = Filter::new("oauth2/v1/as/status", QoS::AtLeastOnce);
    Packet::Subscribe(Subscribe { pkid: 1, filters: vec![filter], properties: None }).write(&mut buffer, None).unwrap();
    stream.write_all(&buffer).await.unwrap();
    let mut silent_tls = connect_tls(&fixture).await.unwrap();
    let mut silent_tcp = TcpStream::connect(fixture.address).await.unwrap();
    // Served after the others were accepted.
    fixture.assert_serves("dev2", "dev2").await;

    unhung(fixture.broker.stop()).await;
    // No task is left that could hold it.
    assert_eq!(Arc::strong_count(&fixture.gateway), 1);
    let mut received = BytesMut::new();
    // The broker ends TLS without a word, which rustls reports after the last data.
    while unhung(stream.read_buf(&mut received)).await.is_ok_and(|length| length > 0) {}
    // DISCONNECT, Server shutting down, in the short form that rumqttc cannot read.
    let goodbye = received.split_off(received.len().saturating_sub(3));
    assert_eq!(goodbye[..], [0xe0, 1, 0x8b]);
    let mut states = Vec::new();
    while !received.is_empty() {
        if let Packet::Publish(publish) = Packet::read(&mut received, None).unwrap() {
            states.push((publish.retain, std::str::from_utf8(&publish.payload).unwrap().contains("offline")));
        }
    }
    assert_eq!(states, [(true, false), (false, true)]);
    assert!(unhung(silent_tls.read(&mut [0])).await.map_or(true, |length| length == 0));
    assert!(unhung(silent_tcp.read(&mut [0])).await.map_or(true, |length| length == 0));
    assert_eq!(TcpStream::connect(fixture.address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
