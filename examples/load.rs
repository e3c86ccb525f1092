//! Load generator: devices that ask for one token after another, each on its own MQTT 5 connection over TLS.
//!
//! ```text
//! load --host 127.0.0.1 --ca-file ca.crt --secrets-file secrets --devices 1,16,64,256 --seconds 10
//! ```
//!
//! What a broker alone can carry is measured by the same devices with an echo in the gateway's place, on a client that may use all request topics:
//!
//! ```text
//! load --host 127.0.0.1 --ca-file ca.crt --secrets-file echo.secret --role echo &
//! load --host 127.0.0.1 --ca-file ca.crt --secrets-file secrets --mode echo
//! ```
//!
//! A secrets file has lines `client_id secret`. One line of JSON a run goes to standard output, a table to standard error.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use credgate::config::read_private;
use credgate::device::{Credential, DeviceError, DeviceOptions, MqttVersion, Session, TokenQuery};
use credgate::mqtt::{QoS, Topics};
use credgate::oauth::{self, ClientId, Format, Response, Secret, TokenResponse, TokenType};
use credgate::tls;
use rumqttc::v5::mqttbytes::QoS as WireQoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

/// TLS handshakes at once while the devices connect.
const HANDSHAKES: usize = 16;
/// Longest wait for a connection or an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of the echo's token, so that its answer has about the 700 bytes of a real one.
const ECHO_TOKEN: usize = 640;
/// As the gateway's link has it: messages on their way at once, in either direction.
const INFLIGHT: u16 = 64;
/// Answers that may wait for the connection: more than there are devices, each of which has one request under way.
const QUEUE: usize = 4_096;

#[derive(Parser)]
#[command(about = "Loads a gateway, or an echo in its place, with token requests")]
struct Args {
    /// The broker's host, as its certificate names it.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The broker's TLS port.
    #[arg(long, default_value_t = 8_883)]
    port: u16,
    /// PEM file of the CAs that may sign the broker's certificate.
    #[arg(long)]
    ca_file: PathBuf,
    /// File of lines `client_id secret`, mode 0600: one for each device; the first for the echo.
    #[arg(long)]
    secrets_file: PathBuf,
    /// First levels of the topics.
    #[arg(long, default_value = "oauth2/v1", value_parser = Topics::new)]
    topic_prefix: Topics,
    /// Devices, or the echo that answers them until it is killed.
    #[arg(long, value_enum, default_value_t = Role::Devices)]
    role: Role,
    /// What answers; a word in the results.
    #[arg(long, value_enum, default_value_t = Mode::Token)]
    mode: Mode,
    /// How many devices, one run after another.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    devices: Vec<usize>,
    /// Quality of service of requests and answers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// Seconds that are measured in a run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Seconds before them that are not.
    #[arg(long, default_value_t = 1)]
    warm_up: u32,
    /// Milliseconds between an answer and the next request.
    #[arg(long, default_value_t = 0)]
    pause: u64,
    /// Encoding: json or cbor.
    #[arg(long, default_value = "json")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Devices,
    Echo,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Token,
    Echo,
}

fn main() -> Result<(), Failure> {
    let args = Arc::new(Args::parse());
    let credentials = credentials(&args.secrets_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if args.role == Role::Echo {
        return runtime.block_on(echo(&args, &credentials));
    }
    eprintln!("{:>8} {:>4} {:>12} {:>10} {:>10} {:>10} {:>8}", "devices", "qos", "requests/s", "p50 µs", "p99 µs", "max µs", "errors");
    for devices in args.devices.iter().copied() {
        if credentials.len() < devices {
            let known = credentials.len();
            return Err(format!("{}: has {known} lines, too few for {devices} devices", args.secrets_file.display()).into());
        }
        let outcome = runtime.block_on(load(&args, credentials.iter().take(devices)))?;
        outcome.report(&args, devices);
    }
    Ok(())
}

fn credentials(path: &std::path::Path) -> Result<Vec<(ClientId, String)>, Failure> {
    let content = read_private(path)?;
    let mut credentials = Vec::new();
    for (number, line) in std::str::from_utf8(&content)?.lines().enumerate() {
        let fault = || format!("{}:{}: must be `client_id secret`", path.display(), number.saturating_add(1));
        let (client_id, secret) = line.split_once(' ').ok_or_else(fault)?;
        credentials.push((client_id.parse().map_err(|_| fault())?, secret.trim().to_owned()));
    }
    Ok(credentials)
}

/// What a run came to.
#[derive(Default)]
struct Outcome {
    /// Latencies of the requests answered in time, in microseconds.
    latencies: Vec<u32>,
    /// How many requests failed, by code.
    errors: BTreeMap<&'static str, u64>,
}

impl Outcome {
    fn report(mut self, args: &Args, devices: usize) {
        self.latencies.sort_unstable();
        let per_second = u32::try_from(self.latencies.len()).map_or(f64::INFINITY, f64::from) / f64::from(args.seconds);
        let (p50, p99, max) = (self.quantile(50), self.quantile(99), self.quantile(100));
        let errors: u64 = self.errors.values().sum();
        eprintln!("{devices:>8} {:>4} {per_second:>12.0} {p50:>10} {p99:>10} {max:>10} {errors:>8}", args.qos);
        let line = serde_json::json!({
            "mode": if args.mode == Mode::Token { "token" } else { "echo" },
            "devices": devices,
            "qos": args.qos,
            "format": args.format.as_str(),
            "seconds": args.seconds,
            "requests": self.latencies.len(),
            "requests_per_second": per_second,
            "p50_us": p50,
            "p99_us": p99,
            "max_us": max,
            "errors": self.errors,
        });
        println!("{line}");
    }

    /// The least latency that `percent` of the requests do not exceed (nearest rank); 0 if there was none.
    fn quantile(&self, percent: usize) -> u32 {
        let rank = self.latencies.len().saturating_mul(percent).div_ceil(100);
        self.latencies.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

async fn load<'a>(args: &Arc<Args>, credentials: impl ExactSizeIterator<Item = &'a (ClientId, String)>) -> Result<Outcome, Failure> {
    let tls = tls::client_config(Some(&args.ca_file), None)?;
    let (ready, handshakes) = (Arc::new(Barrier::new(credentials.len())), Arc::new(Semaphore::new(HANDSHAKES)));
    let mut devices = JoinSet::new();
    for (client_id, secret) in credentials {
        let options = DeviceOptions {
            host: args.host.clone(),
            port: args.port,
            tls: tls.clone(),
            version: MqttVersion::V5,
            topics: args.topic_prefix.clone(),
            client_id: client_id.clone(),
            credential: Credential::Secret(Secret::new(secret.clone().into_bytes())),
            mqtt_username: None,
            mqtt_password: None,
            mqtt_client_id: None,
            qos: if args.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce },
            timeout: TIMEOUT,
        };
        devices.spawn(device(args.clone(), options, ready.clone(), handshakes.clone()));
    }
    let mut total = Outcome::default();
    // A device that fails to connect never comes to the barrier: the first error ends the run, and with it the others.
    while let Some(outcome) = devices.join_next().await {
        let mut outcome = outcome??;
        total.latencies.append(&mut outcome.latencies);
        for (code, count) in outcome.errors {
            let sum = total.errors.entry(code).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    Ok(total)
}

async fn device(args: Arc<Args>, options: DeviceOptions, ready: Arc<Barrier>, handshakes: Arc<Semaphore>) -> Result<Outcome, Failure> {
    let query = TokenQuery { format: args.format, scope: None, audience: None, pop: false, sealed: false, state: None };
    let mut session = {
        let _permit = handshakes.acquire().await?;
        let mut session = Session::connect(&options).await?;
        // Subscribes, too. Whoever is sent away has done that.
        match session.request_token(&query).await {
            Ok(_) | Err(DeviceError::Rejected { .. }) => session,
            Err(error) => return Err(error.into()),
        }
    };
    ready.wait().await;
    let warm_up = Duration::from_secs(args.warm_up.into());
    let end = warm_up.saturating_add(Duration::from_secs(args.seconds.into()));
    let (started, mut outcome) = (Instant::now(), Outcome::default());
    loop {
        let asked = started.elapsed();
        if asked >= end {
            break;
        }
        let result = session.request_token(&query).await;
        let answered = started.elapsed();
        let counts = answered >= warm_up && answered < end;
        match result {
            Ok(_) if counts => outcome.latencies.push(u32::try_from(answered.saturating_sub(asked).as_micros()).unwrap_or(u32::MAX)),
            Ok(_) => {}
            Err(error) => {
                let count = outcome.errors.entry(error.code()).or_default();
                *count = count.saturating_add(1);
                // Whatever else it was, a new connection is in a known state; if there is none to be had, the device is out.
                if !matches!(error, DeviceError::Rejected { .. }) {
                    session = Session::connect(&options).await?;
                }
            }
        }
        if args.pause > 0 {
            tokio::time::sleep(Duration::from_millis(args.pause)).await;
        }
    }
    session.disconnect().await;
    Ok(outcome)
}

/// Answers every request at once with the same token, in the task that polls: nothing can be faster with this client library.
async fn echo(args: &Args, credentials: &[(ClientId, String)]) -> Result<(), Failure> {
    let (client_id, secret) = credentials.first().ok_or("the secrets file is empty")?;
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    let mut mqtt = MqttOptions::new(client_id.as_str(), &args.host, args.port);
    mqtt.set_network_options(network)
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls::client_config(Some(&args.ca_file), None)?)))
        .set_credentials(client_id.as_str(), secret)
        .set_clean_start(true)
        .set_max_packet_size(Some(64 * 1_024))
        .set_receive_maximum(Some(INFLIGHT))
        .set_outgoing_inflight_upper_limit(INFLIGHT);
    let (client, mut event_loop): (AsyncClient, EventLoop) = AsyncClient::new(mqtt, QUEUE);
    let token = "x".repeat(ECHO_TOKEN);
    let answer = |format| {
        let response = TokenResponse {
            access_token: credgate::oauth::TokenText::Characters(&token),
            token_type: TokenType::Bearer,
            expires_in: 300,
            scope: None,
        };
        oauth::encode(format, oauth::Table::Token, Response::Token(response), None)
    };
    let (json, cbor) = (answer(Format::Json), answer(Format::Cbor));
    let mut dropped = 0_u64;
    client.try_subscribe(args.topic_prefix.request_filter(), WireQoS::AtLeastOnce)?;
    loop {
        match event_loop.poll().await? {
            Event::Incoming(Packet::SubAck(ack)) => eprintln!("echo: subscribed, {:?}", ack.return_codes),
            Event::Incoming(Packet::Publish(request)) => {
                let payload = if request.topic.ends_with(b"/cbor") { &cbor } else { &json };
                if !reply(&client, request, payload) {
                    dropped = dropped.saturating_add(1);
                    eprintln!("echo: {dropped} requests dropped");
                }
            }
            _ => {}
        }
    }
}

/// False if the answer had to be dropped.
fn reply(client: &AsyncClient, request: Publish, payload: &[u8]) -> bool {
    let Some(PublishProperties { response_topic: Some(topic), correlation_data, .. }) = request.properties else { return false };
    let properties = PublishProperties {
        correlation_data,
        content_type: Some("application/ace+json".into()),
        message_expiry_interval: Some(60),
        payload_format_indicator: (!request.topic.ends_with(b"/cbor")).then_some(1),
        ..PublishProperties::default()
    };
    client.try_publish_with_properties(topic, request.qos, false, payload.to_vec(), properties).is_ok()
}
