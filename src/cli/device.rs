//! `credgate device`: the reference device client on the command line.

use std::io::{self, Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde_json::{Map, Value};

use super::device_key::{self, KeyAlgorithm};
use super::{CliError, Exit};
use crate::clock::UnixTime;
use crate::config::{PrivateFileError, read_private};
use crate::device::{ConnectProblem, Credential, DeviceError, DeviceKey, DeviceOptions, MqttVersion, Session, TokenAnswer, TokenQuery};

use crate::mqtt::{QoS, Topics};
use crate::oauth::{ClientId, ErrorCode, Format, Param, ScopeSet, Secret};
use crate::tls;
use crate::token::{self, Claims};

/// Where a client secret may be if it is in no file.
const SECRET_VARIABLE: &str = "CREDGATE_CLIENT_SECRET";

/// What a device does.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Ask the gateway for an access token and print it.
    Token(Box<TokenArgs>),
    /// Make a key for signed assertions; print its public half, for `credgate client add --jwk-file`.
    Keygen {
        /// New file for the private key (mode 0600, PKCS#8 PEM).
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        /// The algorithm it signs by
        #[arg(long, value_enum, value_name = "ALG", default_value_t = KeyAlgorithm::EdDsa)]
        alg: KeyAlgorithm,
    },
}

/// Asks for a token over MQTT and TLS.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The client secret comes from --secret-file or from the environment variable CREDGATE_CLIENT_SECRET, never from an argument.\n\
    With --key-file there is none: the device signs an assertion.\n\n\
    Examples:\n  credgate device token --broker mqtts://gateway.local --ca-file ca.crt --client-id dev1 --secret-file dev1.secret\n  \
    credgate device token --broker mqtts://gateway.local --ca-file ca.crt --client-id dev2 --key-file dev2.pem --issuer https://gateway.local"
)]
struct TokenArgs {
    /// The broker that carries the requests; the port is 8883 if it has none.
    #[arg(long, value_name = "mqtts://HOST[:PORT]")]
    broker: BrokerUrl,
    /// PEM file of the CAs that may sign the broker's certificate [default: the system's].
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Who the device is: OAuth client_id and MQTT user name.
    #[arg(long, value_name = "ID")]
    client_id: ClientId,
    /// File that holds the client secret and nothing else.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// File with the device's private key (Ed25519 or P-256, PKCS#8 PEM): it signs an assertion and has no client secret.
    #[arg(long, value_name = "FILE", requires = "issuer", conflicts_with = "secret_file")]
    key_file: Option<PathBuf>,
    /// The gateway's issuer identifier, for which the assertion is made.
    #[arg(long, value_name = "URL", requires = "key_file")]
    issuer: Option<String>,
    /// File with the MQTT password, beside --key-file, for a broker that takes no assertions [default: an assertion].
    #[arg(long, value_name = "FILE", requires = "key_file")]
    mqtt_password_file: Option<PathBuf>,
    /// Behave as a device without a clock: ask for a nonce first.
    #[arg(long, requires = "mqtt_password_file")]
    no_clock: bool,
    /// Scopes to ask for, separated by spaces [default: all that the client has at the audience].
    #[arg(long, value_name = "SCOPES")]
    scope: Option<ScopeSet>,
    /// Audience to ask for [default: the one that the scopes tell].
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Have the token bound to the key of --key-file (proof of possession).
    #[arg(long, requires = "key_file")]
    pop: bool,
    /// With --format cbor, sign the assertion as COSE_Sign1, as a device without JSON does.
    #[arg(long, requires = "key_file")]
    cose: bool,
    /// Encoding of the request and its answer.
    #[arg(long, default_value = "json", value_parser = PossibleValuesParser::new(["json", "cbor"]).try_map(|word| word.parse::<Format>()))]
    format: Format,
    /// Version of MQTT.
    #[arg(long, default_value = "5", value_parser = PossibleValuesParser::new(["5", "3.1.1"]).map(|word| mqtt_version(&word)))]
    mqtt_version: MqttVersion,
    /// Quality of service of the request and its answer.
    #[arg(long, default_value = "1", value_parser = PossibleValuesParser::new(["0", "1"]).map(|word| qos(&word)))]
    qos: QoS,
    /// MQTT client identifier; the embedded broker wants the client id, or that, a dot and more [default: the client id, a dot and random
    /// characters, so that a session of the same device is not taken over].
    #[arg(long, value_name = "ID")]
    mqtt_client_id: Option<String>,
    /// Seconds to wait for the connection, and then for each answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    timeout: u32,
    /// First levels of the gateway's topics.
    #[arg(long, value_name = "PREFIX", default_value = "oauth2/v1", value_parser = Topics::new)]
    topic_prefix: Topics,
    /// Print the token's header and claims instead of the token.
    #[arg(long)]
    decode: bool,
    /// Check the token by the issuer and the keys that the gateway publishes on the broker.
    #[arg(long)]
    verify: bool,
}

fn mqtt_version(word: &str) -> MqttVersion {
    if word == "5" { MqttVersion::V5 } else { MqttVersion::V311 }
}

fn qos(word: &str) -> QoS {
    if word == "0" { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

/// The address of a broker that speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BrokerUrl {
    host: String,
    port: u16,
}

impl FromStr for BrokerUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let authority = url.strip_prefix("mqtts://").ok_or("must begin with mqtts://: a client secret never goes out without TLS")?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port),
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("has no port number from 1 to 65535 after its host")?,
            None if port.is_empty() => 8_883,
            None => return Err("has something other than a port after its host"),
        };
        ServerName::try_from(host).map_err(|_| "must have a DNS name or an IP address (an IPv6 address in brackets) as its host")?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Runs the command. `json` asks for the whole answer as a JSON object instead of the token alone.
///
/// # Errors
/// [`CliError`] with the exit code of sysexits.h: 77 for refused credentials, 65 for other refusals, 75 if the gateway is too busy, 69 if it or the broker
/// cannot be reached, 66 for a missing file.
pub fn run(args: Args, json: bool) -> Result<(), CliError> {
    let args = match args.command {
        Command::Token(args) => args,
        Command::Keygen { key_file, alg } => return keygen(&key_file, alg),
    };
    let credential = credential(&args)?;
    let mqtt_client_id = args.mqtt_client_id.clone().map_or_else(|| random_mqtt_client_id(&args.client_id), Ok)?;
    let options = DeviceOptions {
        host: args.broker.host.clone(),
        port: args.broker.port,
        tls: tls_config(args.ca_file.as_deref())?,
        version: args.mqtt_version,
        topics: args.topic_prefix.clone(),
        client_id: args.client_id.clone(),
        credential,
        mqtt_client_id: Some(mqtt_client_id),
        qos: args.qos,
        timeout: Duration::from_secs(args.timeout.into()),
    };
    let query = TokenQuery { format: args.format, scope: args.scope.clone(), audience: args.audience.clone(), pop: args.pop, state: None };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Software, "device", "the asynchronous runtime cannot be started").because(&error))?;
    let (answer, verified) = runtime.block_on(request(&options, &query, args.verify)).map_err(|error| device_error(&error))?;
    if let Some(claims) = verified {
        let text = format!("verified: signed by {}, for {}, valid until {}", claims.iss, claims.aud, claims.exp);
        // Only a comment on what goes to stdout.
        let _ = writeln!(stderr(), "{text}");
    }
    let text = if args.decode { decoded(&answer.access_token, json)? } else { shown(&answer, json) };
    writeln!(stdout(), "{text}")
        .map_err(|error| CliError::new(Exit::Io, "device", "the token cannot be written to standard output").because(&error))
}

fn keygen(key_file: &Path, alg: KeyAlgorithm) -> Result<(), CliError> {
    let public = device_key::generate(key_file, alg.key_type())?;
    let text = serde_json::to_string(&public).map_err(io::Error::from);
    text.and_then(|text| writeln!(stdout(), "{text}")).map_err(|error| {
        CliError::new(Exit::Io, "device", format!("the public key cannot be written; the private key is in {}", key_file.display()))
            .because(&error)
    })
}

fn credential(args: &TokenArgs) -> Result<Credential, CliError> {
    let (Some(key_file), Some(issuer)) = (&args.key_file, &args.issuer) else {
        return secret(args.secret_file.as_deref()).map(Credential::Secret);
    };
    Ok(Credential::Key(DeviceKey {
        key: device_key::read(key_file)?,
        cose: args.cose,
        issuer: issuer.clone(),
        clock: (!args.no_clock).then_some((|| UnixTime::from(SystemTime::now())) as fn() -> UnixTime),
        mqtt_password: args.mqtt_password_file.as_deref().map(|file| secret(Some(file))).transpose()?,
    }))
}

/// `{client_id}.` and 32 random bits.
fn random_mqtt_client_id(client_id: &ClientId) -> Result<String, CliError> {
    let random = getrandom::u32()
        .map_err(|error| CliError::new(Exit::Software, "device", "the operating system gives no random bytes").because(&error))?;
    Ok(format!("{client_id}.{random:08x}"))
}

async fn request(options: &DeviceOptions, query: &TokenQuery, verify: bool) -> Result<(TokenAnswer, Option<Claims>), DeviceError> {
    let mut session = Session::connect(options).await?;
    let result = async {
        let answer = session.request_token(query).await?;
        let claims = if verify { Some(session.verify_token(&answer.access_token, UnixTime::from(SystemTime::now())).await?) } else { None };
        Ok((answer, claims))
    }
    .await;
    session.disconnect().await;
    result
}

fn shown(answer: &TokenAnswer, json: bool) -> String {
    if !json {
        return answer.access_token.clone();
    }
    let mut members = Map::new();
    members.insert(Param::AccessToken.name().into(), answer.access_token.as_str().into());
    members.insert(Param::TokenType.name().into(), answer.token_type.name().into());
    members.insert(Param::ExpiresIn.name().into(), answer.expires_in.into());
    members.extend(answer.scope.as_deref().map(|scope| (Param::Scope.name().into(), scope.into())));
    Value::Object(members).to_string()
}

/// A token taken apart, in the order of its parts.
#[derive(Serialize)]
struct Parts {
    header: Value,
    claims: Value,
}

fn decoded(token: &str, compact: bool) -> Result<String, CliError> {
    let (header, claims) = token::decode_unverified(token).map_err(|error| device_error(&DeviceError::NotVerified(error)))?;
    let parts = Parts { header, claims };
    let text = if compact { serde_json::to_string(&parts) } else { serde_json::to_string_pretty(&parts) };
    text.map_err(|error| CliError::new(Exit::Unavailable, "device", "the token cannot be shown as JSON").because(&error))
}

/// The client secret: the file's content without its last line break, or the environment variable.
fn secret(file: Option<&Path>) -> Result<Secret, CliError> {
    let Some(path) = file else {
        return match std::env::var(SECRET_VARIABLE) {
            Ok(secret) if !secret.is_empty() => Ok(Secret::new(secret.into_bytes())),
            Ok(_) | Err(std::env::VarError::NotPresent) => Err(CliError::new(Exit::Usage, "device", "no client secret")
                .with_help(format!("name a file with --secret-file, or set {SECRET_VARIABLE}"))),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(CliError::new(Exit::Data, "device", format!("{SECRET_VARIABLE} is not UTF-8 text")))
            }
        };
    };
    let content = read_private(path).map_err(|error| match error {
        PrivateFileError::Read { .. } => CliError::new(Exit::NoInput, "device", format!("client secret {error}")),
        _ => CliError::new(Exit::Config, "device", format!("client secret {error}")),
    })?;
    let secret = content.strip_suffix(b"\n").map_or(content.as_slice(), |line| line.strip_suffix(b"\r").unwrap_or(line));
    if secret.is_empty() {
        return Err(CliError::new(Exit::Data, "device", format!("client secret {}: the file is empty", path.display())));
    }
    Ok(Secret::new(secret.to_vec()))
}

fn tls_config(ca_file: Option<&Path>) -> Result<std::sync::Arc<rustls::ClientConfig>, CliError> {
    tls::client_config(ca_file, None).map_err(|error| {
        let code = if matches!(error, tls::TlsError::Read { .. }) { Exit::NoInput } else { Exit::Config };
        CliError::new(code, error.code(), error.to_string())
    })
}

/// What a failed exchange is to a script and to a person.
pub(super) fn device_error(error: &DeviceError) -> CliError {
    let (code, help): (Exit, Option<String>) = match error {
        DeviceError::Connect { problem, .. } => match problem {
            ConnectProblem::CredentialsRefused => {
                (Exit::Permission, Some("compare with `credgate client show`: id, status and secret".into()))
            }
            ConnectProblem::Certificate(_) => {
                (Exit::Unavailable, Some("name the CA with --ca-file and the broker as its certificate does".into()))
            }
            ConnectProblem::Unreachable(_) | ConnectProblem::Timeout(_) => {
                (Exit::Unavailable, Some("check the host, the port, and that the broker is running".into()))
            }
            ConnectProblem::Tls(_) => (Exit::Unavailable, Some("check that the port is the broker's TLS port".into())),
            ConnectProblem::Refused(_) | ConnectProblem::Lost(_) => (
                Exit::Unavailable,
                Some("the broker's log says why; another connection with the same MQTT client identifier is one reason".into()),
            ),
        },
        DeviceError::SubscriptionRefused { .. } | DeviceError::PublicationRefused { .. } => (
            Exit::Permission,
            Some("the broker's access list must let each client use its own topics below {prefix}/client/{client_id}/".into()),
        ),
        DeviceError::Rejected { error: ErrorCode::InvalidClient, .. } => {
            (Exit::Permission, Some("the gateway's log names the reason; it is not told to clients".into()))
        }
        DeviceError::Rejected { error: ErrorCode::TemporarilyUnavailable, retry_after, .. } => {
            (Exit::Temporary, retry_after.map(|seconds| format!("try again in {seconds} s")))
        }
        DeviceError::Rejected { .. } => (Exit::Data, Some("the gateway's log names the reason".into())),
        DeviceError::Timeout { .. } => {
            (Exit::Unavailable, Some("check that the gateway is running, by `credgate status` on its host".into()))
        }
        DeviceError::NotVerified(_) => (Exit::Unavailable, Some("compare the clocks of this host and of the gateway".into())),
        DeviceError::Protocol(_) => (Exit::Unavailable, None),
    };
    let failure = CliError::new(code, error.code(), error.to_string());
    match help {
        Some(help) => failure.with_help(help),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser as _;
    use serde_json::json;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Box<TokenArgs>, clap::Error> {
        match Cli::try_parse_from(["device", "token"].into_iter().chain(line.split_whitespace()))?.args.command {
            Command::Token(args) => Ok(args),
            Command::Keygen { .. } => panic!("{line}: not what was typed"),
        }
    }

    #[test]
    fn arguments_have_their_defaults() {
        let args = parse("--broker mqtts://gw --client-id dev1").unwrap();
        assert_eq!(args.broker, BrokerUrl { host: "gw".into(), port: 8_883 });
        assert_eq!((args.format, args.mqtt_version, args.qos, args.timeout), (Format::Json, MqttVersion::V5, QoS::AtLeastOnce, 10));
        assert_eq!(args.topic_prefix, Topics::new("oauth2/v1").unwrap());
        assert!(!args.decode && !args.verify && args.scope.is_none() && args.audience.is_none());
    }

    #[test]
    fn arguments_are_understood() {
        let args = parse(
            "--broker mqtts://[::1]:1 --client-id dev1 --scope a --format cbor --mqtt-version 3.1.1 --qos 0 --timeout 3 --topic-prefix x",
        )
        .unwrap();
        assert_eq!(args.broker, BrokerUrl { host: "::1".into(), port: 1 });
        assert_eq!((args.format, args.mqtt_version, args.qos, args.timeout), (Format::Cbor, MqttVersion::V311, QoS::AtMostOnce, 3));
    }

    #[test]
    fn deny_bad_arguments() {
        for line in [
            "",
            "--broker mqtt://gw --client-id dev1",
            "--broker gw --client-id dev1",
            "--broker mqtts:// --client-id dev1",
            "--broker mqtts://gw:0 --client-id dev1",
            "--broker mqtts://gw:65536 --client-id dev1",
            "--broker mqtts://gw:1:2 --client-id dev1",
            "--broker mqtts://::1 --client-id dev1",
            "--broker mqtts://[::1]x --client-id dev1",
            "--broker mqtts://a@gw --client-id dev1",
            "--broker mqtts://gw/x --client-id dev1",
            "--broker mqtts://gw --client-id dev.1",
            "--broker mqtts://gw --client-id dev1 --qos 2",
            "--broker mqtts://gw --client-id dev1 --format xml",
            "--broker mqtts://gw --client-id dev1 --mqtt-version 3.1",
            "--broker mqtts://gw --client-id dev1 --timeout 0",
            "--broker mqtts://gw --client-id dev1 --topic-prefix $SYS",
            "--broker mqtts://gw --client-id dev1 --secret s",
            "--broker mqtts://gw --client-id dev1 --key-file k",
            "--broker mqtts://gw --client-id dev1 --issuer https://as",
            "--broker mqtts://gw --client-id dev1 --key-file k --issuer https://as --secret-file s",
            "--broker mqtts://gw --client-id dev1 --key-file k --issuer https://as --no-clock",
            "--broker mqtts://gw --client-id dev1 --mqtt-password-file p",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_secret_file_loses_its_last_line_break_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        for (content, expected) in [("s1", "s1"), ("s1\n", "s1"), ("s1\r\n", "s1"), (" s1\n\n", " s1\n")] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(secret(Some(&path)).unwrap().expose(), expected.as_bytes());
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(secret(Some(&path)).is_err());
        std::fs::write(&path, "s1").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(secret(Some(&path)).is_err());
    }

    #[test]
    fn the_whole_answer_is_an_object() {
        let answer = TokenAnswer {
            access_token: "a.b.c".into(),
            token_type: crate::oauth::TokenType::Bearer,
            expires_in: 300,
            scope: Some("a b".into()),
        };
        assert_eq!(shown(&answer, false), "a.b.c");
        let object: Value = serde_json::from_str(&shown(&answer, true)).unwrap();
        assert_eq!(object, json!({"access_token": "a.b.c", "token_type": "Bearer", "expires_in": 300, "scope": "a b"}));
    }
}
