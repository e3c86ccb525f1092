//! `credgate device register`: a device that nobody registered by hand registers itself.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::client::SecretFile;
use super::device::device_error;
use super::device_key::{self, KeyAlgorithm};
use super::device_link::{WireArgs, runtime, secret_file};
use super::output::Output;
use super::table::fields;
use super::{CliError, Exit};
use crate::device::{Credential, DeviceError, DeviceOptions, RegisterAnswer, RegisterQuery, Session};
use crate::jose::{Jwk, decode_unverified};
use crate::oauth::{ClientId, SerialNumber};

/// Registers a device over MQTT and TLS.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("kept").required(true).args(["key_file", "secret_file"]),
    after_help = "With --key-file the command can be repeated: the same key gets the same client id, and costs no further use. What --secret-file would \
    keep is\nsent once: if the answer is lost, `credgate enrolment release` lets the device register once more.\n\n\
    Examples:\n  credgate device register --broker mqtts://gateway.local --ca-file ca.crt --token-file enrolment.token --serial 17 --key-file dev.pem\n  \
    credgate device register --broker mqtts://broker.local --ca-file ca.crt --token-file enrolment.token --mac --key-file dev.pem \\\n    \
    --name unit17 --mqtt-password-file broker.password"
)]
pub(super) struct RegisterArgs {
    #[command(flatten)]
    wire: WireArgs,
    /// File that holds the enrolment token and nothing else.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// The device's serial number.
    #[arg(long, value_name = "NUMBER")]
    serial: Option<SerialNumber>,
    /// Register the public half of the key in this file; the key is made, in a new file of mode 0600, if there is none.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The algorithm by which a new key signs
    #[arg(long, value_enum, value_name = "ALG", default_value_t = KeyAlgorithm::EdDsa)]
    alg: KeyAlgorithm,
    /// Ask for a secret and write it to this new file (mode 0600, no line break).
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A name for people.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    client_name: String,
    /// What runs on the device.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    software_id: String,
    /// The version of that.
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    software_version: String,
    /// Show that the device has the token without showing the token, for a broker that must not see it.
    #[arg(long, conflicts_with = "secret_file", requires = "mqtt_password_file")]
    mac: bool,
    /// Whose topics to use until the device is registered [default: 32 random characters].
    #[arg(long, value_name = "NAME")]
    name: Option<ClientId>,
    /// MQTT user name, for a broker of your own [default: the name].
    #[arg(long, value_name = "USER", requires = "mqtt_password_file")]
    mqtt_username: Option<String>,
    /// File with the MQTT password, for a broker of your own [default: the token, which the embedded broker takes].
    #[arg(long, value_name = "FILE")]
    mqtt_password_file: Option<PathBuf>,
}

/// What is printed, by the names of RFC 7591 section 3.2.1.
#[derive(Serialize)]
struct Registered<'a> {
    client_id: &'a ClientId,
    client_id_issued_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u64>,
    token_endpoint_auth_method: &'a str,
    scope: &'a str,
    /// As the enrolment token has it: for assertions, and to compare tokens with.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    file: &'a Path,
}

pub(super) fn run(args: RegisterArgs, output: &Output) -> Result<(), CliError> {
    let token = secret_file(&args.token_file, "enrolment token")?;
    let issuer = std::str::from_utf8(token.expose()).ok().and_then(|text| decode_unverified(text).ok());
    let issuer = issuer.and_then(|(_, claims)| claims.get("iss")?.as_str().map(str::to_owned));
    // Whoever sees the token as MQTT password has it.
    let password = secret_file(&args.token_file, "enrolment token")?;
    let mqtt_password = args.mqtt_password_file.as_deref().map(|file| secret_file(file, "MQTT password")).transpose()?;
    let name = args.name.clone().map_or_else(random_name, Ok)?;
    let options = args.wire.options(name, Credential::Secret(password), mqtt_password)?;
    let options = DeviceOptions { mqtt_username: args.mqtt_username.clone(), ..options };
    let key = args.key_file.as_deref().map(|path| key(path, args.alg)).transpose()?;
    let file = args.secret_file.as_deref().map(SecretFile::create).transpose()?;
    let query = RegisterQuery {
        format: args.wire.format,
        token,
        by_mac: args.mac,
        key,
        serial_number: args.serial,
        client_name: args.client_name,
        software_id: args.software_id,
        software_version: args.software_version,
    };
    let answer = runtime()?.block_on(register(&options, &query)).map_err(|error| device_error(&error))?;
    let kept = match (file, &answer.secret, args.key_file) {
        (Some(file), Some(secret), _) => file.keep(secret).map_err(|error| {
            CliError::new(Exit::Io, "secret_not_delivered", "the secret could not be written")
                .because(&error)
                .with_help("`credgate enrolment release`, on the gateway's host, lets the device register once more")
        })?,
        (None, None, Some(path)) => path,
        _ => return Err(device_error(&DeviceError::Protocol("the gateway registered the device for another method".into()))),
    };
    let document = Registered {
        client_id: &answer.client_id,
        client_id_issued_at: answer.issued_at,
        client_secret_expires_at: answer.secret_expires_at,
        token_endpoint_auth_method: &answer.token_endpoint_auth_method,
        scope: &answer.scope,
        issuer,
        file: &kept,
    };
    output.print(&document, || table(&document))
}

fn table(document: &Registered<'_>) -> String {
    fields(&[
        ("Client id", document.client_id.to_string()),
        ("Authentication", document.token_endpoint_auth_method.to_owned()),
        (if document.client_secret_expires_at.is_some() { "Secret file" } else { "Key file" }, document.file.display().to_string()),
        ("Scope", document.scope.to_owned()),
        ("Issuer", document.issuer.clone().unwrap_or_default()),
    ])
}

async fn register(options: &DeviceOptions, query: &RegisterQuery) -> Result<RegisterAnswer, DeviceError> {
    let mut session = Session::connect(options).await?;
    let answer = session.register(query).await;
    session.disconnect().await;
    answer
}

/// The public half of the key in a file that is made if there is none: it is on the disk before the gateway hears of it.
fn key(path: &Path, alg: KeyAlgorithm) -> Result<Jwk, CliError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => device_key::generate(path, alg.key_type()),
        _ => device_key::read(path).map(|key| key.public().clone()),
    }
}

/// Nobody else can guess the topics that the answer comes to.
fn random_name() -> Result<ClientId, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::new(Exit::Software, "device", format!("no name can be made: {error}"));
    let mut random = [[0; 16]; 2];
    for bytes in &mut random {
        getrandom::fill(bytes).map_err(|error| failed(&error))?;
    }
    let name: String = random.iter().map(crate::enrolment::random_word).collect();
    name.parse().map_err(|error: crate::oauth::InvalidWord| failed(&error))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: RegisterArgs,
    }

    #[test]
    fn arguments_are_understood() {
        for (line, valid) in [
            ("--broker mqtts://gw --token-file t --key-file k", true),
            ("--broker mqtts://gw --token-file t --secret-file s --serial 17 --name n --client-name Pump", true),
            ("--broker mqtts://gw --token-file t --key-file k --mac --mqtt-password-file p --mqtt-username u --format cbor", true),
            ("--broker mqtts://gw --token-file t", false),
            ("--broker mqtts://gw --key-file k", false),
            ("--broker mqtts://gw --token-file t --key-file k --secret-file s", false),
            ("--broker mqtts://gw --token-file t --key-file k --mac", false),
            ("--broker mqtts://gw --token-file t --secret-file s --mac --mqtt-password-file p", false),
            ("--broker mqtts://gw --token-file t --key-file k --mqtt-username u", false),
            ("--broker mqtts://gw --token-file t --key-file k --serial a/b", false),
            ("--broker mqtts://gw --token-file t --key-file k --token x", false),
        ] {
            assert_eq!(Line::try_parse_from(["register"].into_iter().chain(line.split_whitespace())).is_ok(), valid, "{line}");
        }
    }

    #[test]
    fn names_are_long_and_random() {
        let (one, other) = (random_name().unwrap(), random_name().unwrap());
        assert_eq!(one.as_str().len(), 32);
        assert_ne!(one, other);
    }

    #[test]
    fn a_key_is_made_once_and_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let made = key(&path, KeyAlgorithm::Es256).unwrap();
        assert_eq!(key(&path, KeyAlgorithm::EdDsa).unwrap(), made);
    }
}
