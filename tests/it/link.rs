//! The link to a broker of the user's own: against a real Mosquitto, and against a broker of a few bytes where Mosquitto behaves too well.

use std::sync::Arc;
use std::time::Duration;

use credgate::clients::{Channel, Client, ClientSecret, ClientStore};
use credgate::clock::UnixTime;
use credgate::endpoint::{Engine, Settings};
use credgate::jose::{JwkSet, KeyRing, SigningKey};
use credgate::mqtt::link::{Link, LinkOptions, LinkState};
use credgate::mqtt::{Gateway, LinkKind, Topics};
use credgate::oauth::{ClientId, Secret};
use credgate::policy::{Policy, PolicyStore, ResourceServer, Scope};
use credgate::token::{self, Lifetimes};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::mosquitto::{GATEWAY, Mosquitto};
use crate::stub_broker::{self, GOOD, Manners, PINGREQ, PUBLISH, StubBroker};

const ISSUER: &str = "https://as.example";
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
/// Nothing here takes near as long.
const PATIENCE: Duration = Duration::from_secs(60);
const DEVICE: &str = "dev1";
const DEVICE_PASSWORD: &str = "device-password";
const REQUEST_TOPIC: &str = "oauth2/v1/client/dev1/token/json";

struct Clients(Arc<Client>);

impl ClientStore for Clients {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        (*id == self.0.client_id).then(|| Arc::clone(&self.0))
    }
}

struct Policies(Arc<Policy>);

impl PolicyStore for Policies {
    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0)
    }
}

/// A gateway that knows one client, and the payload with which that client asks for a token.
fn gateway() -> (Arc<Gateway>, String) {
    let (record, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
    let client = Client { scope: "telemetry:write".parse().unwrap(), secrets: vec![record], ..Client::new(DEVICE.parse().unwrap(), NOW) };
    let server = ResourceServer::new("telemetry".parse().unwrap(), "https://telemetry.example".into(), NOW);
    let scope = Scope {
        permissions: vec!["pub telemetry/{client_id}/#".parse().unwrap()],
        ..Scope::new("telemetry:write".parse().unwrap(), server.id.clone(), NOW)
    };
    let policy = Policy {
        resource_servers: [(server.id.clone(), Arc::new(server))].into(),
        scopes: [(scope.name.clone(), Arc::new(scope))].into(),
        ..Policy::default()
    };
    let settings = Settings { issuer: ISSUER.into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 8_192 };
    let keys = KeyRing::new(Arc::new(SigningKey::from_seed(&Zeroizing::new([1; 32]))), Vec::new());
    let engine = Engine::new(settings, Arc::new(Clients(Arc::new(client))), Arc::new(Policies(Arc::new(policy))), keys);
    let topics = Topics::new("oauth2/v1").unwrap();
    let gateway = Gateway::new(Arc::new(engine), topics, Channel::Trusted, LinkKind::Broker, Arc::new(|| NOW));
    let secret = std::str::from_utf8(secret.expose()).unwrap();
    (Arc::new(gateway), format!(r#"{{"grant_type":"client_credentials","client_id":"{DEVICE}","client_secret":"{secret}"}}"#))
}

/// A link to that broker that comes back at once.
pub fn options(broker: &Mosquitto) -> LinkOptions {
    LinkOptions {
        host: "localhost".into(),
        port: broker.port(),
        tls: Some(broker.client_config()),
        client_id: "credgate".into(),
        username: Some(GATEWAY.0.into()),
        password: Some(Secret::new(GATEWAY.1.into())),
        keep_alive: 5,
        queue: 256,
        reconnect_min: Duration::from_millis(20),
        reconnect_max: Duration::from_millis(200),
    }
}

/// Waits for a state.
async fn reach(link: &Link, wanted: impl Fn(&LinkState) -> bool) -> LinkState {
    let mut state = link.state();
    let reached = timeout(PATIENCE, state.wait_for(|state| wanted(state))).await.map(|state| state.unwrap().clone());
    reached.unwrap_or_else(|_| panic!("the link stays {:?}", link.state().borrow()))
}

async fn up(link: &Link) {
    reach(link, |state| *state == LinkState::Up).await;
}

/// Waits until the link is down with a reason that holds `part`.
async fn down(link: &Link, part: &str) {
    reach(link, |state| matches!(state, LinkState::Down { reason } if reason.contains(part))).await;
}

/// Waits for what no channel tells.
async fn eventually(condition: impl Fn() -> bool) {
    let turns = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, turns).await.expect("it comes true");
}

/// A device: an MQTT client of its own, whose event loop runs aside.
struct Device {
    client: AsyncClient,
    incoming: mpsc::UnboundedReceiver<Packet>,
    _polling: JoinSet<()>,
}

impl Device {
    /// Connects and subscribes to `filters`.
    async fn connect(broker: &Mosquitto, client_id: &str, user: &str, password: &str, filters: &[&str]) -> Self {
        let mut options = MqttOptions::new(client_id, "localhost", broker.port());
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options
            .set_network_options(network)
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(broker.client_config())))
            .set_credentials(user, password)
            .set_outgoing_inflight_upper_limit(64)
            .set_max_packet_size(Some(65_536));
        let (client, mut eventloop) = AsyncClient::new(options, 64);
        let (sender, incoming) = mpsc::unbounded_channel();
        let mut polling = JoinSet::new();
        polling.spawn(async move {
            while let Ok(event) = eventloop.poll().await {
                if let Event::Incoming(packet) = event {
                    let _ = sender.send(packet);
                }
            }
        });
        let mut device = Self { client, incoming, _polling: polling };
        for filter in filters {
            device.client.subscribe(*filter, QoS::AtLeastOnce).await.unwrap();
            while !matches!(device.packet().await, Packet::SubAck(ack) if matches!(ack.return_codes[..], [SubscribeReasonCode::Success(_)]))
            {
            }
        }
        device
    }

    async fn dev1(broker: &Mosquitto) -> Self {
        broker.set_password(DEVICE, DEVICE_PASSWORD);
        Self::connect(broker, DEVICE, DEVICE, DEVICE_PASSWORD, &["oauth2/v1/client/dev1/token/json/+", "oauth2/v1/client/dev1/answers/#"])
            .await
    }

    /// One that reads what the gateway retains.
    async fn reader(broker: &Mosquitto) -> Self {
        broker.set_password("reader", "reader-password");
        Self::connect(broker, "reader", "reader", "reader-password", &["oauth2/v1/as/#"]).await
    }

    async fn packet(&mut self) -> Packet {
        timeout(PATIENCE, self.incoming.recv()).await.expect("a packet in time").expect("the device is connected")
    }

    async fn message(&mut self) -> Publish {
        loop {
            if let Packet::Publish(publish) = self.packet().await {
                return publish;
            }
        }
    }

    /// The next message on that topic.
    async fn message_on(&mut self, topic: &str) -> Publish {
        loop {
            let message = self.message().await;
            if message.topic == topic.as_bytes() {
                return message;
            }
        }
    }

    async fn ask(&mut self, qos: QoS, payload: &str, properties: PublishProperties) {
        self.client.publish_with_properties(REQUEST_TOPIC, qos, false, payload.to_owned(), properties).await.unwrap();
    }

    /// Asks for a token and takes the answer to that very request.
    async fn obtain(&mut self, payload: &str) -> serde_json::Value {
        let mark = b"a normal request".as_slice();
        let properties = PublishProperties { correlation_data: Some(mark.into()), ..PublishProperties::default() };
        self.ask(QoS::AtLeastOnce, payload, properties).await;
        loop {
            let message = self.message().await;
            if message.properties.as_ref().and_then(|all| all.correlation_data.as_deref()) == Some(mark) {
                return serde_json::from_slice(&message.payload).unwrap();
            }
        }
    }
}

fn status_of(message: &Publish) -> String {
    let document: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    document["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_token_requests_through_mosquitto() {
    let broker = Mosquitto::start();
    let (gateway, payload) = gateway();
    let link = Link::start(options(&broker), Arc::clone(&gateway));
    up(&link).await;
    let mut reader = Device::reader(&broker).await;
    let keys = JwkSet::from_json(&reader.message_on("oauth2/v1/as/jwks").await.payload).unwrap();
    let mut device = Device::dev1(&broker).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        for response_topic in [None, Some("oauth2/v1/client/dev1/answers/7".to_owned())] {
            let properties = PublishProperties {
                correlation_data: Some(b"\x00\xffcorrelation".as_slice().into()),
                response_topic: response_topic.clone(),
                ..PublishProperties::default()
            };
            device.ask(qos, &payload, properties).await;
            let answer = device.message().await;
            let topic = response_topic.unwrap_or_else(|| format!("{REQUEST_TOPIC}/accepted"));
            assert_eq!(answer.topic, topic.as_bytes());
            assert_eq!((answer.qos, answer.retain), (qos, false));
            let properties = answer.properties.unwrap();
            assert_eq!(properties.correlation_data.as_deref(), Some(b"\x00\xffcorrelation".as_slice()));
            assert_eq!(properties.content_type.as_deref(), Some("application/ace+json"));
            assert_eq!(properties.payload_format_indicator, Some(1));
            assert!(properties.message_expiry_interval.is_some_and(|seconds| (1..=60).contains(&seconds)));
            assert_eq!(properties.topic_alias, None);
            let response: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
            let claims = token::verify(response["access_token"].as_str().unwrap(), ISSUER, None, &keys, NOW).unwrap();
            assert_eq!(claims.client_id, DEVICE);
        }
    }
    // The answers to `answers/7` match the gateway's own subscription; they do not come back to it.
    assert_eq!((gateway.counters().snapshot().accepted, gateway.counters().snapshot().ignored), (4, 0));
    // A request that is refused is answered too.
    device.ask(QoS::AtLeastOnce, "{", PublishProperties::default()).await;
    assert_eq!(device.message().await.topic, format!("{REQUEST_TOPIC}/rejected").as_bytes());
    // Requests are acknowledged: more than the Receive Maximum go through.
    for _ in 0..200 {
        assert!(device.obtain(&payload).await["access_token"].is_string());
    }
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deny_retained_requests() {
    let broker = Mosquitto::start();
    let (gateway, payload) = gateway();
    let mut device = Device::dev1(&broker).await;
    device.client.publish(REQUEST_TOPIC, QoS::AtLeastOnce, true, payload.clone()).await.unwrap();
    while !matches!(device.packet().await, Packet::PubAck(_)) {}
    let link = Link::start(options(&broker), Arc::clone(&gateway));
    up(&link).await;
    // What was in store is not delivered, what is published now is refused.
    assert!(device.obtain(&payload).await["access_token"].is_string());
    assert_eq!(gateway.counters().snapshot().rejected, 0);
    device.client.publish(REQUEST_TOPIC, QoS::AtLeastOnce, true, payload).await.unwrap();
    let answer = device.message_on(&format!("{REQUEST_TOPIC}/rejected")).await;
    assert!(String::from_utf8_lossy(&answer.payload).contains("RETAIN"));
    assert_eq!(gateway.counters().snapshot().accepted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announces_itself_and_says_goodbye() {
    let broker = Mosquitto::start();
    let (gateway, _) = gateway();
    let link = Link::start(options(&broker), Arc::clone(&gateway));
    up(&link).await;
    let mut reader = Device::reader(&broker).await;
    let announcements = gateway.announcements(65_536);
    for announcement in &announcements {
        let message = reader.message_on(&announcement.topic).await;
        assert!(message.retain, "{}", announcement.topic);
        assert_eq!(message.payload, announcement.payload);
        assert_eq!(message.properties.unwrap().content_type.as_deref(), Some(announcement.content_type));
    }
    link.announce();
    for announcement in &announcements {
        let message = reader.message_on(&announcement.topic).await;
        assert_eq!((message.retain, message.payload.as_ref()), (false, announcement.payload.as_slice()));
    }
    link.stop().await;
    assert_eq!(status_of(&reader.message_on("oauth2/v1/as/status").await), "offline");
    broker.wait_for_log("Received DISCONNECT from credgate");
    let mut late = Device::connect(&broker, "late", GATEWAY.0, GATEWAY.1, &["oauth2/v1/as/status"]).await;
    let retained = late.message().await;
    assert_eq!((status_of(&retained).as_str(), retained.retain), ("offline", true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_will_says_offline_after_a_crash() {
    let broker = Mosquitto::start();
    let (gateway, _) = gateway();
    let link = Link::start(options(&broker), gateway);
    up(&link).await;
    let mut reader = Device::reader(&broker).await;
    assert_eq!(status_of(&reader.message_on("oauth2/v1/as/status").await), "online");
    drop(link);
    let will = reader.message_on("oauth2/v1/as/status").await;
    assert_eq!(status_of(&will), "offline");
    assert!(!broker.log().contains("Received DISCONNECT from credgate"));
    let mut late = Device::connect(&broker, "late", GATEWAY.0, GATEWAY.1, &["oauth2/v1/as/status"]).await;
    let retained = late.message().await;
    assert_eq!((status_of(&retained).as_str(), retained.retain), ("offline", true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comes_back_after_the_broker_does() {
    let mut broker = Mosquitto::start();
    let (gateway, payload) = gateway();
    let link = Link::start(options(&broker), Arc::clone(&gateway));
    up(&link).await;
    broker.stop();
    down(&link, "nothing listens there").await;
    broker.restart();
    up(&link).await;
    // Mosquitto forgot everything: it has the retained messages from the second connection.
    let mut reader = Device::reader(&broker).await;
    assert_eq!(status_of(&reader.message_on("oauth2/v1/as/status").await), "online");
    let mut device = Device::dev1(&broker).await;
    assert!(device.obtain(&payload).await["access_token"].is_string());
    assert_eq!(gateway.counters().snapshot().connections, 2);
    link.stop().await;
}

type Change<'a> = dyn Fn(&mut LinkOptions) + 'a;

fn client_config_without_roots() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_why_it_is_down() {
    let broker = Mosquitto::start();
    let other = Mosquitto::start();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_port = plain.local_addr().unwrap().port();
    let mut servers = JoinSet::new();
    servers.spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        }
    });
    // An address that is not in the broker's certificate.
    let forwarder = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let (forwarder_port, broker_port) = (forwarder.local_addr().unwrap().port(), broker.port());
    servers.spawn(async move {
        while let Ok((mut stream, _)) = forwarder.accept().await {
            let mut onward = TcpStream::connect(("127.0.0.1", broker_port)).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
        }
    });
    let strange = Arc::new(client_config_without_roots());
    let cases: [(&str, &Change); 8] = [
        ("signed by no CA that is trusted here: set broker.ca-file", &|options| options.tls = Some(strange.clone())),
        ("with another key: set broker.ca-file", &|options| options.tls = Some(other.client_config())),
        ("is for another name", &|options| (options.host, options.port) = ("127.0.0.2".into(), forwarder_port)),
        ("does not speak TLS", &|options| options.port = plain_port),
        ("or without TLS", &|options| options.tls = None),
        ("not authorized: wrong broker.username or password", &|options| options.password = Some(Secret::new(b"wrong".to_vec()))),
        ("no address", &|options| options.host = "no-such-host.invalid".into()),
        ("no UTF-8", &|options| options.password = Some(Secret::new(vec![0xff]))),
    ];
    for (reason, change) in cases {
        let mut options = options(&broker);
        change(&mut options);
        let link = Link::start(options, gateway().0);
        down(&link, reason).await;
        link.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_of_a_client_with_its_identifier() {
    let broker = Mosquitto::start();
    let mut options = options(&broker);
    // So long that the state stays to be seen.
    (options.reconnect_min, options.reconnect_max) = (PATIENCE * 2, PATIENCE * 2);
    let link = Link::start(options, gateway().0);
    up(&link).await;
    let _other = Device::connect(&broker, "credgate", GATEWAY.0, GATEWAY.1, &["oauth2/v1/as/#"]).await;
    // Mosquitto 2.0 just closes the connection.
    down(&link, "does another client use the same broker.client-id?").await;
    link.stop().await;
}

/// 5,000 requests at once, a queue for 4.
async fn flood(qos: QoS) {
    const REQUESTS: u64 = 5_000;
    // With a limit Mosquitto drops what no count of ours can know of; without one it minds no Receive Maximum.
    let broker = Mosquitto::start_with("max_queued_messages 0");
    let (gateway, payload) = gateway();
    let mut options = options(&broker);
    options.queue = 4;
    let link = Link::start(options, Arc::clone(&gateway));
    up(&link).await;
    let mut device = Device::dev1(&broker).await;
    let (client, flood) = (device.client.clone(), payload.clone());
    let mut publisher = JoinSet::new();
    publisher.spawn(async move {
        for _ in 0..REQUESTS {
            client.publish(REQUEST_TOPIC, qos, false, flood.clone()).await.unwrap();
        }
    });
    let (mut accepted, mut rejected) = (0, 0);
    let everything = async {
        while accepted + rejected + gateway.counters().snapshot().shed < REQUESTS {
            // The last of them may be shed: nothing comes for those.
            match timeout(Duration::from_millis(100), device.incoming.recv()).await {
                Ok(Some(Packet::Publish(publish))) if publish.topic.ends_with(b"/accepted") => accepted += 1,
                Ok(Some(Packet::Publish(_))) => rejected += 1,
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => panic!("the device lost its connection"),
            }
        }
    };
    let done = timeout(PATIENCE, everything).await;
    let counters = gateway.counters().snapshot();
    println!("{accepted} accepted, {rejected} rejected; {counters:?}");
    assert!(done.is_ok(), "{accepted} accepted, {rejected} rejected; {counters:?}");
    assert_eq!(accepted + rejected + counters.shed, REQUESTS);
    assert_eq!((counters.accepted, counters.overloaded), (accepted, rejected));
    assert!(rejected > 0, "the queue was never full");
    assert!(accepted > 4, "nobody was served under load");
    assert!(device.obtain(&payload).await["access_token"].is_string());
    assert_eq!((gateway.counters().snapshot().connections, link.state().borrow().clone()), (1, LinkState::Up));
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_at_qos_0_is_answered_or_counted() {
    flood(QoS::AtMostOnce).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_at_qos_1_is_answered_or_counted() {
    flood(QoS::AtLeastOnce).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_below_the_packet_size_of_the_broker() {
    let broker = Mosquitto::start_with("max_packet_size 450");
    let (gateway, payload) = gateway();
    let link = Link::start(options(&broker), Arc::clone(&gateway));
    up(&link).await;
    let mut device = Device::dev1(&broker).await;
    // A token is too large, a refusal is not.
    device.ask(QoS::AtLeastOnce, &payload, PublishProperties::default()).await;
    device.ask(QoS::AtLeastOnce, "{", PublishProperties::default()).await;
    assert!(device.message().await.topic.ends_with(b"/rejected"));
    let counters = gateway.counters().snapshot();
    assert_eq!((counters.shed, counters.accepted, counters.rejected, counters.connections), (1, 1, 1, 1));
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_without_leave_to_announce() {
    let broker = Mosquitto::start();
    broker.set_acl("user credgate\ntopic readwrite oauth2/v1/client/#\npattern readwrite oauth2/v1/client/%u/#\n");
    let (gateway, payload) = gateway();
    let link = Link::start(options(&broker), Arc::clone(&gateway));
    up(&link).await;
    let mut device = Device::dev1(&broker).await;
    assert!(device.obtain(&payload).await["access_token"].is_string());
    // Without leave to answer, it is counted that nobody is answered.
    broker.set_acl("user credgate\ntopic read oauth2/v1/client/#\npattern readwrite oauth2/v1/client/%u/#\n");
    device.ask(QoS::AtLeastOnce, &payload, PublishProperties::default()).await;
    eventually(|| gateway.counters().snapshot().shed == 1).await;
    link.stop().await;
}

fn stub_options(broker: &StubBroker) -> LinkOptions {
    LinkOptions {
        host: "127.0.0.1".into(),
        port: broker.port(),
        tls: None,
        client_id: "credgate".into(),
        username: None,
        password: None,
        keep_alive: 5,
        queue: 256,
        // Long enough for the state to be seen.
        reconnect_min: PATIENCE * 2,
        reconnect_max: PATIENCE * 2,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_what_a_refused_subscription_needs() {
    let broker = StubBroker::start("127.0.0.1", Manners { suback: 0x87, ..GOOD }).await;
    let link = Link::start(stub_options(&broker), gateway().0);
    down(&link, "(not authorized): let the gateway's user read it (Mosquitto ACL file: `topic read oauth2/v1/client/+/+/+`)").await;
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_what_the_broker_told() {
    let broker = StubBroker::start("127.0.0.1", GOOD).await;
    let link = Link::start(stub_options(&broker), gateway().0);
    up(&link).await;
    broker.send(stub_broker::packet(0xe0, &[0x8e, 6, 0x1f, 0, 3, b'a', b'\n', b'b']));
    down(&link, "another client connected with the same client identifier: give each gateway a broker.client-id of its own (a b)").await;
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_too_large_is_not_met_again() {
    let broker = StubBroker::start("127.0.0.1", GOOD).await;
    let mut options = stub_options(&broker);
    options.reconnect_min = Duration::from_millis(20);
    let (gateway, _) = gateway();
    let link = Link::start(options, Arc::clone(&gateway));
    up(&link).await;
    broker.send(stub_broker::publish(REQUEST_TOPIC, Some(1), &[b'x'; 100_000]));
    eventually(|| gateway.counters().snapshot().connections == 2).await;
    up(&link).await;
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_keep_alive_is_not_flooded_with_pings() {
    let mut broker = StubBroker::start("127.0.0.1", Manners { connack: &[0x13, 0, 0], ..GOOD }).await;
    let (gateway, payload) = gateway();
    let link = Link::start(stub_options(&broker), Arc::clone(&gateway));
    up(&link).await;
    let (mut pings, mut answers) = (0, 0);
    for _ in 0..200 {
        broker.send(stub_broker::publish(REQUEST_TOPIC, None, payload.as_bytes()));
        loop {
            let packet = broker.packet().await;
            pings += u32::from(packet.kind == PINGREQ);
            if packet.kind == PUBLISH && packet.flags == 0 {
                answers += 1;
                break;
            }
        }
    }
    assert_eq!(answers, 200);
    // One at once, and one each five seconds.
    assert!(pings < 20, "{pings} pings");
    assert_eq!(gateway.counters().snapshot().connections, 1);
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connects_to_a_bare_ipv6_address() {
    let broker = StubBroker::start("::1", GOOD).await;
    let mut options = stub_options(&broker);
    options.host = "::1".into();
    let link = Link::start(options, gateway().0);
    up(&link).await;
    link.stop().await;
}

/// Takes the twelve seconds of the watchdog: a keep alive of one second, twice, and ten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gives_up_a_broker_that_hangs() {
    let second = &[0x13, 0, 1];
    let deaf = StubBroker::start("127.0.0.1", Manners { connack: second, ..GOOD }).await;
    let lazy = StubBroker::start("127.0.0.1", Manners { connack: second, pubacks: 3, ..GOOD }).await;
    let (deaf_link, lazy_link) = (Link::start(stub_options(&deaf), gateway().0), Link::start(stub_options(&lazy), gateway().0));
    up(&deaf_link).await;
    up(&lazy_link).await;
    deaf.stop_reading();
    lazy.send(stub_broker::publish(REQUEST_TOPIC, Some(1), b"{"));
    // On a machine so slow that a ping goes unanswered for a second, that ends the connection first.
    let gives_up = async |link: &Link, words: &str| {
        reach(link, |state| matches!(state, LinkState::Down { reason } if reason.contains(words) || reason.contains("answering pings")))
            .await
    };
    tokio::join!(
        gives_up(&deaf_link, "for 12 s the broker neither read nor wrote"),
        gives_up(&lazy_link, "for 12 s the broker acknowledged no message")
    );
    tokio::join!(deaf_link.stop(), lazy_link.stop());
}
