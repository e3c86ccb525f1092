//! `credgate client rotate`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde::Serialize;

use super::client::{SecretFile, client_fields};
use super::connect::Gateway;
use super::jwk_file;
use super::output::Output;
use super::table::fields;
use super::times::Seconds;
use super::{CliError, Exit};
use crate::admin::{self, Answer, ClientDocument, IssuedSecret};
use crate::clients::Retire;
use crate::oauth::ClientId;

#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    /// The client
    #[arg(value_name = "CLIENT_ID")]
    client_id: ClientId,
    /// How long the old secret or key serves beside the new one, such as 7d, 12h or 0 [default: credential.overlap]
    #[arg(long, value_name = "TIME")]
    overlap: Option<Seconds>,
    /// What else ends the old one: the first use of the new one, or nothing [default: credential.retire]
    #[arg(long, value_name = "WHEN", value_parser = PossibleValuesParser::new(["first-use", "end"]).map(|word| retire(&word)))]
    retire: Option<Retire>,
    /// The new public key, of a client that has keys: a JWK
    #[arg(long, value_name = "FILE", conflicts_with = "secret_file")]
    jwk_file: Option<PathBuf>,
    /// Write the new secret to this new file (mode 0600, no line break) instead of printing it
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Take back the new secret or key of the rotation under way, unless it was used
    #[arg(long, conflicts_with_all = ["overlap", "retire", "jwk_file", "secret_file", "finish"])]
    cancel: bool,
    /// End the old secret or key of the rotation under way now
    #[arg(long, conflicts_with_all = ["overlap", "retire", "jwk_file", "secret_file"])]
    finish: bool,
}

fn retire(word: &str) -> Retire {
    if word == Retire::End.as_str() { Retire::End } else { Retire::FirstUse }
}

/// What `client rotate` prints, by the names of RFC 7591 section 3.2.1.
#[derive(Serialize)]
struct Rotated<'a> {
    #[serde(flatten)]
    client: &'a ClientDocument,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a IssuedSecret>,
    /// 0: it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u64>,
}

pub(super) fn run(args: Rotate, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let client_id = args.client_id;
    if args.cancel || args.finish {
        let command =
            if args.cancel { admin::Command::ClientRotateCancel { client_id } } else { admin::Command::ClientRotateFinish { client_id } };
        return match gateway.execute(command)? {
            Answer::Client(client) => output.show(&client, || client_fields(&client)),
            other => Err(super::error::unexpected(&other)),
        };
    }
    let jwk = match args.jwk_file.as_deref().map(jwk_file::read).transpose()?.as_deref() {
        None => None,
        Some([jwk]) => Some(jwk.clone()),
        Some(_) => return Err(CliError::new(Exit::Data, "jwk_file", "a rotation has one new key, and the file has several")),
    };
    let file = args.secret_file.as_deref().map(SecretFile::create).transpose()?;
    let overlap = args.overlap.map(|Seconds(seconds)| seconds);
    let (client, secret) =
        match gateway.execute(admin::Command::ClientRotate { client_id: client_id.clone(), jwk, overlap, retire: args.retire })? {
            Answer::ClientRotated { client, client_secret } => (client, client_secret),
            other => return Err(super::error::unexpected(&other)),
        };
    let Some(secret) = secret else {
        let document = Rotated { client: &client, client_secret: None, client_secret_expires_at: None };
        return output.show(&document, || client_fields(&client));
    };
    if let Some(file) = file {
        let path = file.keep(secret.secret()).map_err(|error| take_back(&client_id, &error, gateway))?;
        let document = Rotated { client: &client, client_secret: None, client_secret_expires_at: Some(0) };
        return output.show(&document, || {
            let mut shown = client_fields(&client);
            shown.insert(1, ("Secret file", path.display().to_string()));
            shown
        });
    }
    let document = Rotated { client: &client, client_secret: Some(&secret), client_secret_expires_at: Some(0) };
    let delivered = output.deliver(&document, || {
        let mut shown = client_fields(&client);
        shown.insert(1, ("New client secret", String::from_utf8_lossy(secret.secret().expose()).into_owned()));
        fields(&shown)
    });
    delivered.map_err(|error| take_back(&client_id, &error, gateway))?;
    output.note("The secret is shown this once; the gateway keeps only its digest.");
    Ok(())
}

/// A secret that reached nobody is of no use.
fn take_back(client_id: &ClientId, error: &std::io::Error, gateway: &mut Gateway) -> CliError {
    let cancelled = gateway.execute(admin::Command::ClientRotateCancel { client_id: client_id.clone() }).is_ok();
    let told = CliError::new(Exit::Io, "secret_not_delivered", format!("the new secret of client {client_id} could not be written"));
    let told = told.because(error);
    match cancelled {
        true => told.with_help("the rotation was cancelled and the old secret serves; repeat the command"),
        false => told.with_help(format!("see `credgate client show {client_id}`, then repeat the command")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::output::tests::{Failing, Printed};
    use super::super::{Format, connect, init};
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Rotate,
    }

    fn rotate(gateway: &mut Gateway, line: &[&str], output: &Output) -> Result<(), CliError> {
        run(Line::try_parse_from(std::iter::once(&"rotate").chain(line)).unwrap().args, gateway, output)
    }

    fn gateway() -> (tempfile::TempDir, Gateway) {
        let directory = tempfile::tempdir().unwrap();
        let mut gateway = connect::tests::gateway(directory.path());
        init::tests::init(&connect::load_config(gateway.global()).unwrap());
        let new = admin::NewClient { client_id: Some("dev1".parse().unwrap()), ..admin::NewClient::default() };
        assert!(gateway.execute(admin::Command::ClientAdd(new)).is_ok());
        (directory, gateway)
    }

    #[test]
    fn a_secret_is_rotated_cancelled_and_finished() {
        let (directory, mut gateway) = gateway();
        let printed = Printed::default();
        let mut json = |line: &[&str]| rotate(&mut gateway, line, &printed.output(Format::Json)).map(|()| printed.json());
        let rotated = json(&["dev1"]).unwrap();
        assert_eq!((rotated["client_secret"].as_str().unwrap().len(), &rotated["client_secret_expires_at"]), (43, &0.into()));
        assert_eq!((&rotated["rotation"]["retire"], &rotated["rotation"]["started_by"]), (&"first-use".into(), &"operator".into()));
        let rotation = &rotated["rotation"];
        assert_eq!(rotation["ends_at"].as_u64().unwrap(), rotation["started_at"].as_u64().unwrap().saturating_add(604_800));
        let refused = json(&["dev1"]).unwrap_err();
        assert!(refused.help().unwrap().contains("client rotate dev1 --cancel"), "{refused:?}");
        let cancelled = json(&["dev1", "--cancel"]).unwrap();
        assert!(cancelled.get("rotation").is_none() && cancelled["secrets"].as_array().unwrap().len() == 1, "{cancelled}");
        let file = directory.path().join("new");
        let rotated = json(&["dev1", "--overlap", "1h", "--retire", "end", "--secret-file", file.to_str().unwrap()]).unwrap();
        assert!(rotated.get("client_secret").is_none() && file.exists());
        assert_eq!(rotated["rotation"]["retire"], "end");
        assert_eq!(json(&["dev1", "--finish"]).unwrap()["secrets"].as_array().unwrap().len(), 1);
        let at_once = json(&["dev1", "--overlap", "0"]).unwrap();
        assert!(at_once.get("rotation").is_none() && at_once["secrets"].as_array().unwrap().len() == 1, "{at_once}");
    }

    #[test]
    fn a_secret_that_reaches_nobody_is_taken_back() {
        let (_directory, mut gateway) = gateway();
        let output = Output::to(Format::Table, Box::new(Failing(std::io::ErrorKind::BrokenPipe)));
        let error = rotate(&mut gateway, &["dev1"], &output).unwrap_err();
        assert_eq!((error.exit(), error.code()), (Exit::Io, "secret_not_delivered"));
        let answer = gateway.execute(admin::Command::ClientShow { client_id: "dev1".parse().unwrap() }).unwrap();
        assert!(matches!(answer, Answer::Client(client) if client.rotation.is_none() && client.secrets.len() == 1));
    }

    #[test]
    fn deny_a_key_for_a_client_with_a_secret() {
        let (directory, mut gateway) = gateway();
        let file = directory.path().join("key.json");
        std::fs::write(&file, r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#).unwrap();
        let output = Printed::default().output(Format::Json);
        let error = rotate(&mut gateway, &["dev1", "--jwk-file", file.to_str().unwrap()], &output).unwrap_err();
        assert_eq!((error.exit(), error.help().map(|help| help.contains("--jwk-file"))), (Exit::Data, Some(true)));
        for line in [&["dev1", "--cancel", "--finish"][..], &["dev1", "--cancel", "--overlap", "1"], &["dev1", "--retire", "never"]] {
            assert!(Line::try_parse_from(std::iter::once(&"rotate").chain(line)).is_err(), "{line:?}");
        }
    }
}
