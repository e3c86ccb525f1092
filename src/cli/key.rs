//! `credgate key`.

use clap::Subcommand;
use serde::Serialize;

use super::confirm::confirm;
use super::connect::Gateway;
use super::device_key::KeyAlgorithm;
use super::error::unexpected;
use super::output::Output;
use super::table::Table;
use super::{CliError, Exit};
use crate::admin::{self, Answer, KeyDocument};
use crate::jose::{Jwk, JwkSet, KeyState};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the signing keys
    List,
    /// Show one signing key, and its public half as a JWK
    Show {
        /// The key, as `credgate key list` shows it
        #[arg(value_name = "KEY_ID", allow_hyphen_values = true)]
        kid: String,
    },
    /// Print the JWK Set that tokens are verified by, as it is published on {prefix}/as/jwks
    Jwks,
    /// Publish a new signing key, which takes over by itself after keys.propagation; nothing fails meanwhile
    Rotate {
        /// The algorithm of the key
        #[arg(long, value_enum, value_name = "ALG", default_value_t = KeyAlgorithm::EdDsa)]
        alg: KeyAlgorithm,
    },
    /// In an emergency: take a signing key away at once; all tokens it signed are void
    Revoke {
        /// The key, as `credgate key list` shows it
        #[arg(value_name = "KEY_ID", allow_hyphen_values = true)]
        kid: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct KeyList {
    keys: Vec<KeyDocument>,
}

/// What `key show` prints.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    key: KeyDocument,
    /// `None` if the gateway that does not run cannot open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<Jwk>,
}

#[derive(Serialize)]
struct Revocation {
    revoked: KeyDocument,
    active: KeyDocument,
}

pub(super) fn run(command: Command, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    match command {
        Command::List => list(gateway, output),
        Command::Show { kid } => {
            let key = find(&kid, gateway)?;
            let jwk = jwks(gateway)?.keys.into_iter().find(|jwk| jwk.kid() == kid);
            let shown = Shown { key, jwk };
            output.show(&shown, || key_fields(&shown))
        }
        Command::Jwks => {
            let jwks = jwks(gateway)?;
            output.print(&jwks, || String::from_utf8_lossy(&jwks.to_json()).into_owned() + "\n")
        }
        Command::Rotate { alg } => match gateway.execute(admin::Command::KeyRotate { key_type: alg.key_type() })? {
            Answer::KeyPublished(key) => output.print(&key, || published(&key)),
            other => Err(unexpected(&other)),
        },
        Command::Revoke { kid, yes } => {
            if !yes {
                let key = find(&kid, gateway)?;
                let signed = match key.state {
                    KeyState::Published => "it has not signed yet",
                    KeyState::Active => "it SIGNS NOW: ALL TOKENS IT SIGNED BECOME VOID at once, and devices must ask for new ones",
                    KeyState::Retiring => "ALL TOKENS IT SIGNED BECOME VOID at once, and devices must ask for new ones",
                };
                confirm(&format!("revoke the signing key {kid} ({}, {} since {})", key.alg, key.state.as_str(), key.since), signed)?;
            }
            match gateway.execute(admin::Command::KeyRevoke { kid })? {
                Answer::KeyRevoked { revoked, active } => {
                    let revocation = Revocation { revoked: *revoked, active: *active };
                    output.print(&revocation, || told(&revocation))
                }
                other => Err(unexpected(&other)),
            }
        }
    }
}

fn keys(gateway: &mut Gateway) -> Result<Vec<KeyDocument>, CliError> {
    match gateway.execute(admin::Command::KeyList)? {
        Answer::Keys(keys) => Ok(keys),
        other => Err(unexpected(&other)),
    }
}

fn find(kid: &str, gateway: &mut Gateway) -> Result<KeyDocument, CliError> {
    let missing = || CliError::new(Exit::Data, "not_found", format!("there is no signing key {kid}")).with_help("see `credgate key list`");
    keys(gateway)?.into_iter().find(|key| key.kid == kid).ok_or_else(missing)
}

fn jwks(gateway: &mut Gateway) -> Result<JwkSet, CliError> {
    match gateway.execute(admin::Command::KeySet)? {
        Answer::KeySet { keys } => Ok(JwkSet { keys }),
        other => Err(unexpected(&other)),
    }
}

fn key_fields(Shown { key, jwk }: &Shown) -> Vec<(&'static str, String)> {
    vec![
        ("Key id", key.kid.clone()),
        ("Algorithm", key.alg.clone()),
        ("State", format!("{} since {}", key.state.as_str(), key.since)),
        ("Until", key.until.map(|until| until.to_string()).unwrap_or_default()),
        ("Created", key.created_at.to_string()),
        ("File", key.path.display().to_string()),
        ("JWK", jwk.as_ref().and_then(|jwk| serde_json::to_string(jwk).ok()).unwrap_or_default()),
    ]
}

fn list(gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let keys = keys(gateway)?;
    if keys.is_empty() {
        output.note("no keys yet: the gateway makes one when it starts, as does credgate init");
    }
    let list = KeyList { keys };
    output.list(&list, || table(&list.keys))
}

fn published(key: &KeyDocument) -> String {
    match key.until {
        Some(until) => format!("signing key {} is published and will sign from {until}\n", key.kid),
        None => format!("signing key {} will be published when the gateway starts, and sign some time later (keys.propagation)\n", key.kid),
    }
}

fn told(Revocation { revoked, active }: &Revocation) -> String {
    let mut text = match revoked.state {
        KeyState::Published => format!("signing key {} is REVOKED; it had not signed yet\n", revoked.kid),
        KeyState::Active | KeyState::Retiring => {
            format!("signing key {} is REVOKED: every token it signed is void; devices must ask for new ones\n", revoked.kid)
        }
    };
    if revoked.state == KeyState::Active {
        text.push_str(&format!("signing key {} signs from now on\n", active.kid));
    }
    text.push_str(
        "A resource server goes on accepting the key until it has fetched the JWK Set again: make those fetch it that do not subscribe.\n",
    );
    text
}

fn table(keys: &[KeyDocument]) -> Table<7> {
    let mut table = Table::new(["KEY ID", "ALGORITHM", "STATE", "CREATED", "SINCE", "UNTIL", "FILE"]);
    for key in keys {
        table.row([
            key.kid.clone(),
            key.alg.clone(),
            key.state.as_str().to_owned(),
            key.created_at.to_string(),
            key.since.to_string(),
            key.until.map(|until| until.to_string()).unwrap_or_default(),
            key.path.display().to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::Printed;
    use super::super::{Format, connect, init};
    use super::*;

    #[test]
    fn keys_of_a_gateway_that_does_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let config = || connect::tests::gateway(directory.path());
        init::tests::init(&connect::load_config(config().global()).unwrap());
        let printed = Printed::default();
        // A gateway of its own each time, so that all that is known comes from the files.
        let json = |command| {
            run(command, &mut config(), &printed.output(Format::Json)).unwrap();
            printed.json()
        };
        let first = json(Command::List)["keys"][0]["kid"].as_str().unwrap().to_owned();
        let next = json(Command::Rotate { alg: KeyAlgorithm::EdDsa });
        assert_eq!((&next["state"], &next["until"]), (&"published".into(), &serde_json::Value::Null), "nobody publishes it yet");
        let listed = json(Command::List);
        assert_eq!((&listed["keys"][0]["kid"], &listed["keys"][1]["kid"]), (&first.clone().into(), &next["kid"]));
        let revoked = json(Command::Revoke { kid: first.clone(), yes: true });
        assert_eq!((&revoked["revoked"]["kid"], &revoked["active"]["kid"]), (&first.clone().into(), &next["kid"]));
        assert_eq!(json(Command::List)["keys"].as_array().unwrap().len(), 1);
        let gone = run(Command::Revoke { kid: first, yes: true }, &mut config(), &printed.output(Format::Json)).unwrap_err();
        assert_eq!(gone.exit(), Exit::Data);
    }

    #[test]
    fn people_are_told_what_a_revocation_means() {
        let key = |kid: &str, state: &str| -> KeyDocument {
            let value =
                serde_json::json!({"kid": kid, "alg": "EdDSA", "state": state, "created_at": 1, "since": 2, "until": null, "path": "/k"});
            serde_json::from_value(value).unwrap()
        };
        let text = |state| told(&Revocation { revoked: key("old", state), active: key("new", "active") });
        assert!(text("active").contains("every token it signed is void") && text("active").contains("new signs from now on"));
        assert!(!text("retiring").contains("from now on") && !text("published").contains("void"));
        assert_eq!(
            table(&[key("k", "retiring")]).render(),
            "KEY ID  ALGORITHM  STATE     CREATED               SINCE                 UNTIL  FILE\n\
             k       EdDSA      retiring  1970-01-01T00:00:01Z  1970-01-01T00:00:02Z  -      /k\n"
        );
    }
}
