//! `credgate demo`: the whole way of a token on one host, shown step by step.

mod place;
mod screen;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use self::place::Place;
use self::screen::{Screen, quoted};
use super::device::device_error;
use super::{CliError, Exit};
use crate::admin::{Administrator, Answer, Command, NewClient, NewResourceServer, NewScope};
use crate::clock::UnixTime;
use crate::config::{Config, ConfigFile, LogFormat, LogSection};
use crate::daemon::{Daemon, Vitals};
use crate::device::{self, Credential, DeviceOptions, MqttVersion, Session, TokenQuery};
use crate::jose;
use crate::mqtt::{QoS, Topics};
use crate::oauth::{ClientId, Format, Operation, Secret};
use crate::tls;

const CLIENT: &str = "demo-device";
const RESOURCE_SERVER: &str = "telemetry";
const AUDIENCE: &str = "https://telemetry.example";
const SCOPES: [(&str, &str); 2] = [("telemetry:write", "pub telemetry/{client_id}/#"), ("config:read", "sub config/{client_id}/#")];
/// How long the demo's device waits for anything: it is all on this host.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Shows a gateway with its embedded broker, a device that gets tokens, and the check of those tokens. Needs no configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End after the check instead of serving until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Directory for the demo's state, new or empty; it is kept [default: a temporary one, removed at the end].
    #[arg(long, value_name = "DIR")]
    state_directory: Option<PathBuf>,
    /// Address of the embedded broker [default: 127.0.0.1:8883, or a free port if that is taken].
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
}

/// Runs the demo. With `json` nothing is printed but one JSON object with the results of the check and how to repeat it by hand.
///
/// # Errors
/// If any step fails: [`CliError`] says which, and why.
pub fn run(args: Args, json: bool) -> Result<(), CliError> {
    // What clients do wrong is shown by what they print.
    let _ = crate::daemon::log::init(&LogSection { level: "error".into(), format: LogFormat::Auto });
    let place = Place::open(args.state_directory.as_deref())?;
    let mut screen = Screen::new(json);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Software, "demo", "the asynchronous runtime cannot be started").because(&error))?;
    let done = runtime.block_on(demonstrate(&args, &place, &mut screen));
    // The daemon is down by now, so its files can go.
    drop(runtime);
    done.and_then(|()| place.close())
}

async fn demonstrate(args: &Args, place: &Place, screen: &mut Screen) -> Result<(), CliError> {
    let mut ending = Ending::listen()?;
    screen.title("credgate demo: a gateway with its embedded broker, a device, and tokens that are checked offline")?;

    let (listen, moved) = listen_address(args.listen);
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if !names.contains(&reachable(listen).ip().to_string()) {
        names.push(reachable(listen).ip().to_string());
    }
    let pki = tls::create_pki(&place.path("tls"), &names, UnixTime::from(SystemTime::now()))
        .map_err(|error| CliError::new(Exit::Software, "demo", error.to_string()))?;
    screen.step(&format!("State directory {}, {}", place.directory().display(), place.fate()))?;
    screen.field("CA", &pki.ca_certificate.display().to_string())?;
    screen.field("certificate", &format!("{}, for {}", pki.certificate.display(), names.join(", ")))?;

    let config = configuration(place, listen)?;
    let (topics, issuer) = (config.topics().clone(), config.file.issuer.clone());
    let daemon = Daemon::start(config, Vitals::open(), Box::new(|_| ())).await.map_err(|error| {
        CliError::new(Exit::Unavailable, "demo", format!("the gateway cannot start: {error}"))
            .with_help("choose another address with --listen")
    })?;
    let shown = async {
        let address = daemon.embedded_broker_addrs().first().copied().map_or(listen, reachable);
        screen.step(&format!("Gateway serving on mqtts://{address}"))?;
        if moved {
            screen.note("127.0.0.1:8883 is taken by another program, so a free port was chosen")?;
        }
        screen.field("issuer", &issuer)?;
        let stage = Stage::set(place, &topics, address, &pki.ca_certificate, daemon.administrator().clone(), screen).await?;
        let checks = [
            stage.check(MqttVersion::V5, Format::Json, "telemetry:write", screen).await?,
            stage.check(MqttVersion::V311, Format::Cbor, "config:read", screen).await?,
        ];
        stage.invite(&checks, args.once, screen)
    };
    let result = tokio::select! {
        result = shown => result,
        () = ending.wait() => {
            daemon.stop().await;
            return Ok(());
        }
    };
    if result.is_ok() && !args.once {
        ending.wait().await;
    }
    daemon.stop().await;
    result
}

/// Where to listen, and whether that is another port than the usual one because it is taken.
fn listen_address(wish: Option<SocketAddr>) -> (SocketAddr, bool) {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 8_883));
    match wish {
        Some(address) => (address, false),
        None => match TcpListener::bind(usual) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), true),
            // Whatever else is wrong, the daemon says it better.
            _ => (usual, false),
        },
    }
}

/// The address at which a program on this host reaches a listener.
fn reachable(mut listener: SocketAddr) -> SocketAddr {
    match listener {
        SocketAddr::V4(address) if address.ip().is_unspecified() => listener.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(address) if address.ip().is_unspecified() => listener.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listener
}

/// The defaults but for where things are. The file stays beside the state for a look at it.
fn configuration(place: &Place, listen: SocketAddr) -> Result<Config, CliError> {
    let mut file =
        ConfigFile { state_directory: place.directory().into(), control_socket: place.path("control.sock"), ..ConfigFile::default() };
    file.embedded_broker.listen = vec![listen];
    let text = toml::to_string(&file)
        .map_err(|error| CliError::new(Exit::Software, "demo", "the configuration cannot be written as TOML").because(&error))?;
    let path = place.write_private("credgate.toml", text.as_bytes())?;
    Config::load(Some(&path), std::iter::empty()).map_err(|error| CliError::new(Exit::Software, "demo", error.to_string()))
}

/// The signals that end the demo.
struct Ending {
    signals: [Signal; 3],
}

impl Ending {
    fn listen() -> Result<Self, CliError> {
        let listen =
            |kind| signal(kind).map_err(|error| CliError::new(Exit::Software, "demo", "signals cannot be waited for").because(&error));
        Ok(Self { signals: [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?] })
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// A registered device and the way to its broker.
struct Stage<'a> {
    topics: &'a Topics,
    address: SocketAddr,
    ca_file: &'a Path,
    tls: Arc<rustls::ClientConfig>,
    client_id: ClientId,
    secret_file: PathBuf,
    secret: Zeroizing<Vec<u8>>,
}

impl<'a> Stage<'a> {
    /// Registers a resource server, its scopes and a client, as an operator would.
    async fn set(
        place: &Place,
        topics: &'a Topics,
        address: SocketAddr,
        ca_file: &'a Path,
        administrator: Arc<Administrator>,
        screen: &mut Screen,
    ) -> Result<Self, CliError> {
        let client_id: ClientId = word(CLIENT)?;
        let new_client = NewClient {
            client_id: Some(client_id.clone()),
            client_name: "Device of the demo".into(),
            scope: SCOPES.iter().map(|(name, _)| word(name)).collect::<Result<_, _>>()?,
            ..NewClient::default()
        };
        let mut commands = vec![Command::ResourceServerAdd(NewResourceServer {
            description: "Where devices send measurements".into(),
            ..NewResourceServer::new(word(RESOURCE_SERVER)?, AUDIENCE.into())
        })];
        for (name, permission) in SCOPES {
            commands.push(Command::ScopeAdd(NewScope {
                name: word(name)?,
                resource_server: word(RESOURCE_SERVER)?,
                permissions: vec![word(permission)?],
                description: String::new(),
            }));
        }
        commands.push(Command::ClientAdd(new_client));
        let answers = tokio::task::spawn_blocking(move || {
            commands.into_iter().map(|command| administrator.execute(command)).collect::<Result<Vec<_>, _>>()
        })
        .await
        .map_err(|error| CliError::new(Exit::Software, "demo", "registering failed").because(&error))?
        .map_err(|error| CliError::new(Exit::Software, "demo", format!("registering failed: {error}")))?;
        let secret = match answers.last() {
            Some(Answer::ClientAdded { client_secret: Some(secret), .. }) => secret.secret(),
            _ => return Err(CliError::new(Exit::Software, "demo", "registering failed: the gateway gave no client secret")),
        };
        let secret_file = place.write_private(&format!("{CLIENT}.secret"), secret.expose())?;

        screen.step("Registered, as `credgate resource-server add`, `scope add` and `client add` do")?;
        screen.field("resource server", &format!("{RESOURCE_SERVER}, audience {AUDIENCE}"))?;
        for (name, permission) in SCOPES {
            screen.field("scope", &format!("{name}, opens {permission}"))?;
        }
        screen.field("client", &format!("{client_id}; its secret is in {} (mode 0600)", secret_file.display()))?;
        let tls = tls::client_config(Some(ca_file), None).map_err(|error| CliError::new(Exit::Software, "demo", error.to_string()))?;
        let secret = Zeroizing::new(secret.expose().to_vec());
        Ok(Self { topics, address, ca_file, tls, client_id, secret_file, secret })
    }

    /// A device gets a token and checks it as a resource server would.
    async fn check(&self, version: MqttVersion, format: Format, scope: &str, screen: &mut Screen) -> Result<Value, CliError> {
        let query = TokenQuery {
            format,
            scope: Some(word(scope)?),
            audience: None,
            pop: false,
            sealed: false,
            state: Some(format!("demo-{}", format.as_str())),
        };
        let options = DeviceOptions {
            host: self.address.ip().to_string(),
            port: self.address.port(),
            tls: self.tls.clone(),
            version,
            topics: self.topics.clone(),
            client_id: self.client_id.clone(),
            credential: Credential::Secret(Secret::new(self.secret.to_vec())),
            mqtt_username: None,
            mqtt_password: None,
            mqtt_client_id: None,
            qos: QoS::AtLeastOnce,
            timeout: TIMEOUT,
        };
        let (version_name, answer_topic) = match version {
            MqttVersion::V5 => ("MQTT 5", "the Response Topic, with the Correlation Data"),
            MqttVersion::V311 => ("MQTT 3.1.1", "the topic .../accepted, with the state"),
        };
        let topic = self.topics.request(&self.client_id, Operation::Token.as_str(), format);
        screen.step(&format!("{version_name} and {}: {} asks for {scope}", format.as_str().to_uppercase(), self.client_id))?;
        screen.field("topic", &topic)?;
        screen.field("request", &device::describe(&self.client_id, &query))?;

        let mut session = Session::connect(&options).await.map_err(|error| device_error(&error))?;
        let checked = async {
            let answer = session.request_token(&query).await?;
            let claims = session.verify_token(&answer.access_token, UnixTime::from(SystemTime::now())).await?;
            Ok((answer, claims))
        }
        .await;
        session.disconnect().await;
        let (answer, claims) = checked.map_err(|error| device_error(&error))?;
        let beginning: String = answer.access_token.chars().take(16).collect();
        let (header, body) =
            jose::decode_unverified(&answer.access_token).map_err(|error| CliError::new(Exit::Software, "demo", error.to_string()))?;
        if claims.aud != AUDIENCE || claims.scope != scope {
            return Err(CliError::new(Exit::Software, "demo", format!("the token is for {} with the scope {}", claims.aud, claims.scope)));
        }

        screen.field("answer", &format!("on {answer_topic}"))?;
        screen.field(
            "",
            &format!("access_token {beginning}..., token_type {}, expires_in {} s", answer.token_type.name(), answer.expires_in),
        )?;
        screen.field("token header", &format!("{header:#}"))?;
        screen.field("token claims", &format!("{body:#}"))?;
        screen.success(&format!("verified against the published JWK Set ({})", self.topics.jwks()))?;
        Ok(
            json!({"mqtt_version": version_name, "format": format.as_str(), "topic": topic, "header": header, "claims": body, "verified": true}),
        )
    }

    /// How to do the same by hand.
    fn invite(&self, checks: &[Value], once: bool, screen: &mut Screen) -> Result<(), CliError> {
        let command = self.mosquitto_rr();
        let device = self.device_token();
        screen.result(&json!({
            "broker": format!("mqtts://{}", self.address),
            "ca_file": self.ca_file,
            "client_id": self.client_id,
            "secret_file": self.secret_file,
            "checks": checks,
            "try": {"mosquitto_rr": command, "credgate": device},
        }))?;
        if once {
            return screen.title("All checks passed.");
        }
        screen.title("All checks passed. Now by hand, in another terminal; with the package mosquitto-clients:")?;
        screen.verbatim(&command)?;
        screen.title("or with the reference device client:")?;
        screen.verbatim(&device)?;
        screen
            .note("The secret is the demo's own and good for nothing else. Other users of a host can read the arguments of a process,")?;
        screen.note("so a real device reads its secret from a file, as the second command does.")?;
        screen.title("Ctrl-C ends the demo.")
    }

    /// The request as one line for sh. The secret comes from its file when the line is run, and is base64url, so it needs no escapes.
    fn mosquitto_rr(&self) -> String {
        let (id, secret) = (&self.client_id, format!("$(cat {})", quoted(&self.secret_file.display().to_string())));
        let topic = self.topics.request(id, Operation::Token.as_str(), Format::Json);
        let query = TokenQuery {
            format: Format::Json,
            scope: Some([SCOPES[0].0].iter().filter_map(|name| name.parse().ok()).collect()),
            audience: None,
            pop: false,
            sealed: false,
            state: None,
        };
        let payload = device::describe(id, &query).replace('"', "\\\"").replace("<client secret>", &secret);
        format!(
            "mosquitto_rr -h {host} -p {port} --cafile {ca} -V 5 -i {id} -u {id} -P \"{secret}\" -q 1 -t {topic} -e {root}reply/by-hand/token -m \"{payload}\"",
            host = self.address.ip(),
            port = self.address.port(),
            ca = quoted(&self.ca_file.display().to_string()),
            topic = quoted(&topic),
            root = self.topics.client_root(id),
        )
    }

    fn device_token(&self) -> String {
        format!(
            "credgate device token --broker mqtts://{} --ca-file {} --client-id {} --secret-file {} --decode --verify",
            self.address,
            quoted(&self.ca_file.display().to_string()),
            self.client_id,
            quoted(&self.secret_file.display().to_string()),
        )
    }
}

/// A word of the demo's own.
fn word<T: std::str::FromStr<Err = crate::oauth::InvalidWord>>(text: &str) -> Result<T, CliError> {
    text.parse().map_err(|error: crate::oauth::InvalidWord| CliError::new(Exit::Software, "demo", error.to_string()))
}
