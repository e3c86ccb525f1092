//! `credgate device`: the reference device client on the command line.

use std::io::{self, Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use super::device_key::{self, KeyAlgorithm};
use super::device_link::{LinkArgs, runtime};
use super::device_register::{self, RegisterArgs};
use super::device_rotate::{self, RotateArgs};
use super::output::Output;
use super::{CliError, Exit};
use crate::clock::UnixTime;
use crate::device::{ConnectProblem, DeviceError, DeviceOptions, Session, TokenAnswer, TokenQuery};
use crate::oauth::{ErrorCode, Param, ScopeSet};
use crate::token::{self, Claims};

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
    /// Take a new secret or key in place of the one in a file.
    Rotate(Box<RotateArgs>),
    /// Register the device by an enrolment token, with a key of its own or for a secret; print its client id.
    Register(Box<RegisterArgs>),
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
    #[command(flatten)]
    link: LinkArgs,
    /// Scopes to ask for, separated by spaces [default: all that the client has at the audience].
    #[arg(long, value_name = "SCOPES")]
    scope: Option<ScopeSet>,
    /// Audience to ask for [default: the one that the scopes tell].
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Have the token bound to the key of --key-file (proof of possession).
    #[arg(long, requires = "key_file")]
    pop: bool,
    /// Have the token sealed for this command alone, so that a broker that reads everything holds nothing usable.
    #[arg(long, requires = "key_file")]
    sealed: bool,
    /// Print the token's header and claims instead of the token.
    #[arg(long)]
    decode: bool,
    /// Check the token by the issuer and the keys that the gateway publishes on the broker.
    #[arg(long)]
    verify: bool,
}

/// Runs the command. `json` asks for the whole answer as a JSON object instead of the token alone.
///
/// # Errors
/// [`CliError`] with the exit code of sysexits.h: 77 for refused credentials, 65 for other refusals, 75 if the gateway is too busy, 69 if it or the broker
/// cannot be reached, 66 for a missing file.
pub(super) fn run(args: Args, json: bool, output: &Output) -> Result<(), CliError> {
    let args = match args.command {
        Command::Token(args) => args,
        Command::Rotate(args) => return device_rotate::run(&args, output),
        Command::Register(args) => return device_register::run(*args, output),
        Command::Keygen { key_file, alg } => return keygen(&key_file, alg),
    };
    let options = args.link.options(args.link.credential()?)?;
    let query = TokenQuery {
        format: args.link.wire.format,
        scope: args.scope.clone(),
        audience: args.audience.clone(),
        pop: args.pop,
        sealed: args.sealed,
        state: None,
    };
    let (answer, verified) = runtime()?.block_on(request(&options, &query, args.verify)).map_err(|error| device_error(&error))?;
    if let Some(claims) = verified {
        let text = format!("verified: signed by {}, for {}, valid until {}", claims.iss, claims.aud, claims.remembered_until());
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
        DeviceError::Rejected { error: ErrorCode::InvalidToken, .. } => {
            (Exit::Permission, Some("the gateway's log names the reason; see `credgate enrolment show` on its host".into()))
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
    use clap::Parser as _;
    use serde_json::json;

    use super::super::device_link::BrokerUrl;
    use super::*;
    use crate::device::MqttVersion;
    use crate::mqtt::{QoS, Topics};
    use crate::oauth::Format;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Box<TokenArgs>, clap::Error> {
        match Cli::try_parse_from(["device", "token"].into_iter().chain(line.split_whitespace()))?.args.command {
            Command::Token(args) => Ok(args),
            Command::Keygen { .. } | Command::Rotate(_) | Command::Register(_) => panic!("{line}: not what was typed"),
        }
    }

    #[test]
    fn arguments_have_their_defaults() {
        let args = parse("--broker mqtts://gw --client-id dev1").unwrap();
        assert_eq!(args.link.wire.broker, BrokerUrl { host: "gw".into(), port: 8_883 });
        assert_eq!(
            (args.link.wire.format, args.link.wire.mqtt_version, args.link.wire.qos, args.link.wire.timeout),
            (Format::Json, MqttVersion::V5, QoS::AtLeastOnce, 10)
        );
        assert_eq!(args.link.wire.topic_prefix, Topics::new("oauth2/v1").unwrap());
        assert!(!args.decode && !args.verify && args.scope.is_none() && args.audience.is_none());
    }

    #[test]
    fn arguments_are_understood() {
        let args = parse(
            "--broker mqtts://[::1]:1 --client-id dev1 --scope a --format cbor --mqtt-version 3.1.1 --qos 0 --timeout 3 --topic-prefix x",
        )
        .unwrap();
        assert_eq!(args.link.wire.broker, BrokerUrl { host: "::1".into(), port: 1 });
        assert_eq!(
            (args.link.wire.format, args.link.wire.mqtt_version, args.link.wire.qos, args.link.wire.timeout),
            (Format::Cbor, MqttVersion::V311, QoS::AtMostOnce, 3)
        );
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
            "--broker mqtts://gw --client-id dev1 --mqtt-password-file p --no-clock",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
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
