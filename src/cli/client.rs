//! `credgate client`.

mod list;
mod several;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use clap::builder::BoolishValueParser;
use serde::Serialize;

use super::connect::Gateway;
use super::grants::{self, Grants};
use super::jwk_file;
use super::output::Output;
use super::rotate::Rotate;
use super::table::fields;
use super::times::Past;
use super::{CliError, Exit, new_file};
use crate::admin::{self, Answer, ClientChanges, ClientDocument, ClientField, IssuedSecret, NewClient};
use crate::clients::{Initiator, Retire, Status};
use crate::clock::UnixTime;
use crate::oauth::{ClientId, ScopeSet, Secret};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a client, by its public keys or with a secret that is printed this once
    Add(Box<Add>),
    /// Change what a client may have; what is not named stays, a list that is named is replaced
    Edit(Box<Edit>),
    /// List the clients, all or some
    List(Box<list::List>),
    /// Show one client
    Show {
        /// The client
        #[arg(value_name = "CLIENT_ID")]
        client_id: ClientId,
    },
    /// Remove clients for good
    Remove {
        /// The client, or several
        #[arg(value_name = "CLIENT_ID", required = true)]
        client_ids: Vec<ClientId>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Give a client a new secret or key beside the old one, which ends
    Rotate(Box<Rotate>),
    /// Make all tokens void that clients got before a time
    RevokeTokens {
        /// The client, or several
        #[arg(value_name = "CLIENT_ID", required = true)]
        client_ids: Vec<ClientId>,
        /// The time, such as 2026-11-22T21:46:24Z, or how long ago, such as 10m [default: now]
        #[arg(long, value_name = "TIME")]
        before: Option<Past>,
    },
    /// Refuse clients from now on, and all their tokens
    Block {
        /// The client, or several
        #[arg(value_name = "CLIENT_ID", required = true)]
        client_ids: Vec<ClientId>,
    },
    /// Refuse clients for a while, and all their tokens for good
    Suspend {
        /// The client, or several
        #[arg(value_name = "CLIENT_ID", required = true)]
        client_ids: Vec<ClientId>,
    },
    /// Serve suspended or blocked clients again
    Resume {
        /// The client, or several
        #[arg(value_name = "CLIENT_ID", required = true)]
        client_ids: Vec<ClientId>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Its id: 1 to 64 characters of A-Z a-z 0-9 _ - [default: 16 random characters]
    #[arg(value_name = "CLIENT_ID")]
    client_id: Option<ClientId>,
    /// A name for people
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Scope to grant; repeat it, or separate scopes with spaces
    #[arg(long)]
    scope: Vec<ScopeSet>,
    /// What runs on the device
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    software_id: String,
    /// The version of that
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    software_version: String,
    #[command(flatten)]
    grants: Grants,
    /// Write the secret to this new file (mode 0600, no line break) instead of printing it
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Its public keys, a JWK or a JWK Set of at most four: it then authenticates by signed assertion and has no secret
    #[arg(long, value_name = "FILE", conflicts_with = "secret_file")]
    jwk_file: Option<PathBuf>,
    /// Accept its assertions only if each is bound to its request (claim rqh)
    #[arg(long, requires = "jwk_file")]
    require_request_binding: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// The client
    #[arg(value_name = "CLIENT_ID")]
    client_id: ClientId,
    /// A name for people
    #[arg(long)]
    name: Option<String>,
    /// Scope to grant, in place of those before; may be repeated
    #[arg(long)]
    scope: Vec<ScopeSet>,
    /// What runs on the device
    #[arg(long, value_name = "ID")]
    software_id: Option<String>,
    /// The version of that
    #[arg(long, value_name = "VERSION")]
    software_version: Option<String>,
    #[command(flatten)]
    grants: Grants,
    /// Accept its assertions only if each is bound to its request (claim rqh), or no longer only then
    #[arg(long, value_name = "YES|NO", value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    require_request_binding: Option<bool>,
    /// What to empty: scope, role, default-scope, audience, introspect, attribute, max-token-lifetime, not-before or expires-at; may be repeated
    #[arg(long, value_name = "WHAT")]
    clear: Vec<ClientField>,
}

/// What `client add` prints: RFC 7591 section 3.2.1.
#[derive(Serialize)]
struct Registered<'a> {
    #[serde(flatten)]
    client: &'a ClientDocument,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a IssuedSecret>,
    /// 0: it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u64>,
}

pub(super) fn run(command: Command, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(*args, gateway, output),
        Command::Edit(args) => edit(*args, gateway, output),
        Command::List(args) => list::run(*args, gateway, output),
        Command::Show { client_id } => show(gateway.execute(admin::Command::ClientShow { client_id })?, output),
        Command::Remove { client_ids, yes } => several::remove(client_ids, yes, gateway, output),
        Command::Rotate(args) => super::rotate::run(*args, gateway, output),
        Command::RevokeTokens { client_ids, before } => several::revoke_tokens(client_ids, before.map(Past::time), gateway, output),
        Command::Block { client_ids } => several::set_status(client_ids, Status::Blocked, gateway, output),
        Command::Suspend { client_ids } => several::set_status(client_ids, Status::Suspended, gateway, output),
        Command::Resume { client_ids } => several::set_status(client_ids, Status::Active, gateway, output),
    }
}

fn edit(args: Edit, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let changes = ClientChanges {
        clear: args.clear.into_iter().collect(),
        client_name: args.name,
        scope: grants::scopes(&args.scope),
        software_id: args.software_id,
        software_version: args.software_version,
        require_request_binding: args.require_request_binding,
        ..args.grants.changes()?
    };
    if changes.is_empty() {
        let told = CliError::new(Exit::Usage, "usage", "nothing to change was named");
        return Err(told.with_help("see `credgate client edit --help`"));
    }
    show(gateway.execute(admin::Command::ClientEdit { client_id: args.client_id, changes })?, output)
}

fn show(answer: Answer, output: &Output) -> Result<(), CliError> {
    match answer {
        Answer::Client(client) => output.show(&client, || client_fields(&client)),
        other => Err(super::error::unexpected(&other)),
    }
}

/// Words separated by spaces.
pub(super) fn words(words: impl IntoIterator<Item = impl ToString>) -> String {
    words.into_iter().map(|word| word.to_string()).collect::<Vec<_>>().join(" ")
}

pub(super) fn client_fields(client: &ClientDocument) -> Vec<(&'static str, String)> {
    let secrets = client.secrets.iter().map(|secret| dates(secret.created_at, secret.not_before, secret.expires_at, secret.last_used));
    let keys = client.keys.iter().map(|key| {
        let dates = dates(key.created_at, key.not_before, key.expires_at, key.last_used);
        format!("{} ({dates})", key.kid)
    });
    let rotation = client.rotation.as_ref().map(|rotation| {
        let until = match (rotation.started_by, rotation.used_at) {
            (Initiator::Operator, _) | (Initiator::Client, Some(_)) => format!("the old one ends {}", rotation.ends_at),
            (Initiator::Client, None) => "the old one serves until the new one is used".to_owned(),
        };
        let sooner = if rotation.retire == Retire::FirstUse && rotation.started_by == Initiator::Operator {
            ", or when the new one is used"
        } else {
            ""
        };
        format!("begun {} by the {}, {until}{sooner}", rotation.started_at, rotation.started_by.as_str())
    });
    vec![
        ("Client id", client.client_id.clone()),
        ("Name", client.client_name.clone()),
        ("Status", client.status.as_str().to_owned()),
        ("Scope", client.scope.clone()),
        ("Roles", words(&client.roles)),
        ("Default scope", client.default_scope.clone()),
        ("Audiences", words(&client.audiences)),
        ("Introspects", words(&client.introspects)),
        ("Attributes", words(client.attributes.iter().map(|(name, value)| format!("{name}={value}")))),
        ("Max token lifetime", client.max_token_lifetime.map(|seconds| format!("{seconds} s")).unwrap_or_default()),
        ("Valid from", client.not_before.map(|time| time.to_string()).unwrap_or_default()),
        ("Valid until", client.expires_at.map(|time| time.to_string()).unwrap_or_default()),
        ("Authentication", client.token_endpoint_auth_method.as_str().to_owned()),
        ("Secrets", secrets.collect::<Vec<_>>().join("; ")),
        ("Keys", keys.collect::<Vec<_>>().join("; ")),
        ("Last used", client.last_used.map(|time| time.to_string()).unwrap_or_default()),
        ("Rotation", rotation.unwrap_or_default()),
        ("Request binding", if client.require_request_binding { "required".to_owned() } else { String::new() }),
        ("Tokens revoked", client.tokens_revoked_before.map(|time| format!("all from before {time}")).unwrap_or_default()),
        ("Software", [client.software_id.as_str(), client.software_version.as_str()].join(" ").trim().to_owned()),
        ("Enrolment", client.enrolment.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("Serial number", client.serial_number.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("Created", client.client_id_issued_at.to_string()),
        ("Updated", client.updated_at.to_string()),
    ]
}

/// The dates of a credential.
fn dates(created_at: UnixTime, not_before: Option<UnixTime>, expires_at: Option<UnixTime>, last_used: Option<UnixTime>) -> String {
    let start = not_before.map(|start| format!(", valid from {start}")).unwrap_or_default();
    let end = expires_at.map_or_else(|| ", does not expire".to_owned(), |end| format!(", expires {end}"));
    let used = last_used.map_or_else(|| ", not used yet".to_owned(), |time| format!(", last used {time}"));
    format!("made {created_at}{start}{end}{used}")
}

fn add(args: Add, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let policy = args.grants.changes()?;
    let jwks = args.jwk_file.as_deref().map(jwk_file::read).transpose()?.unwrap_or_default();
    let file = args.secret_file.as_deref().map(SecretFile::create).transpose()?;
    let new = NewClient {
        client_id: args.client_id,
        client_name: args.name,
        jwks,
        require_request_binding: args.require_request_binding,
        scope: args.scope.iter().flat_map(ScopeSet::iter).cloned().collect(),
        software_id: args.software_id,
        software_version: args.software_version,
        policy,
    };
    let (client, secret) = match gateway.execute(admin::Command::ClientAdd(new))? {
        Answer::ClientAdded { client, client_secret } => (client, client_secret),
        other => return Err(super::error::unexpected(&other)),
    };
    let Some(secret) = secret else {
        let document = Registered { client: &client, client_secret: None, client_secret_expires_at: None };
        return output.show(&document, || client_fields(&client));
    };
    if let Some(file) = file {
        let path = file.keep(secret.secret()).map_err(|error| take_back(&client, &error, gateway))?;
        let document = Registered { client: &client, client_secret: None, client_secret_expires_at: Some(0) };
        return output.show(&document, || {
            let mut shown = client_fields(&client);
            shown.insert(1, ("Secret file", path.display().to_string()));
            shown
        });
    }
    let document = Registered { client: &client, client_secret: Some(&secret), client_secret_expires_at: Some(0) };
    let delivered = output.deliver(&document, || {
        let mut shown = client_fields(&client);
        shown.insert(1, ("Client secret", String::from_utf8_lossy(secret.secret().expose()).into_owned()));
        fields(&shown)
    });
    delivered.map_err(|error| take_back(&client, &error, gateway))?;
    output.note("The secret is shown this once; the gateway keeps only its digest.");
    Ok(())
}

/// A client whose secret reached nobody is of no use.
fn take_back(client: &ClientDocument, error: &io::Error, gateway: &mut Gateway) -> CliError {
    let id = &client.client_id;
    let removed = id.parse().is_ok_and(|client_id| gateway.execute(admin::Command::ClientRemove { client_id }).is_ok());
    let told = CliError::new(Exit::Io, "secret_not_delivered", format!("the secret of client {id} could not be written")).because(error);
    match removed {
        true => told.with_help("the client was removed again; repeat the command"),
        false => told.with_help(format!("the client is registered all the same: credgate client remove {id}, then repeat the command")),
    }
}

/// A new file for a secret. Removed again unless the secret reached it.
pub(super) struct SecretFile {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl SecretFile {
    pub(super) fn create(path: &Path) -> Result<Self, CliError> {
        let spared = "no file is overwritten with a secret: name a new one, or remove the old one first";
        let file = new_file::create("the secret file", path, spared)?;
        Ok(Self { file, path: path.to_path_buf(), kept: false })
    }

    /// Writes the secret, to the disk.
    pub(super) fn keep(mut self, secret: &Secret) -> io::Result<PathBuf> {
        self.file.write_all(secret.expose())?;
        self.file.sync_all()?;
        self.kept = true;
        Ok(self.path.clone())
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser as _;

    use super::super::output::tests::{Failing, Printed};
    use super::super::{Format, connect, init};
    use super::*;

    /// A directory with a registry, and the way to it.
    fn gateway() -> (tempfile::TempDir, Gateway) {
        let directory = tempfile::tempdir().unwrap();
        let gateway = connect::tests::gateway(directory.path());
        init::tests::init(&connect::load_config(gateway.global()).unwrap());
        (directory, gateway)
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn command(line: &[&str]) -> Command {
        Line::try_parse_from(std::iter::once(&"client").chain(line)).unwrap().command
    }

    #[test]
    fn a_client_lives_from_add_to_remove() {
        let (directory, mut gateway) = gateway();
        let printed = Printed::default();
        let mut json = |line: &[&str]| {
            run(command(line), &mut gateway, &printed.output(Format::Json)).unwrap();
            printed.json()
        };
        let file = directory.path().join("secret");
        let added = json(&["add", "dev1", "--name", "Pump"]);
        assert_eq!((&added["client_id"], added["client_secret"].as_str().unwrap().len()), (&"dev1".into(), 43));
        let filed = json(&["add", "--secret-file", file.to_str().unwrap()]);
        assert_eq!((filed.get("client_secret"), std::fs::read(&file).unwrap().len()), (None, 43));
        assert_eq!(json(&["list"])["clients"].as_array().unwrap().len(), 2);
        for (verb, status) in [("suspend", "suspended"), ("resume", "active"), ("block", "blocked")] {
            assert_eq!(json(&[verb, "dev1"])["status"], status);
            assert_eq!(json(&["show", "dev1"])["status"], status);
        }
        assert_eq!(json(&["remove", "dev1", "--yes"])["client_id"], "dev1");
        assert_eq!(json(&["list"])["clients"][0]["client_id"], filed["client_id"]);
        let gone = run(command(&["show", "dev1"]), &mut gateway, &printed.output(Format::Json)).unwrap_err();
        assert_eq!(gone.exit(), Exit::Data);
    }

    #[test]
    fn what_a_client_may_have_is_added_edited_and_shown() {
        let (_directory, mut gateway) = gateway();
        let printed = Printed::default();
        let mut json = |line: &[&str]| {
            run(command(line), &mut gateway, &printed.output(Format::Json)).unwrap();
            printed.json()
        };
        let added = json(&["add", "dev1", "--attribute", "site=berlin", "--attribute", "hall=7", "--max-token-lifetime", "60"]);
        assert_eq!((&added["attributes"]["hall"], &added["max_token_lifetime"]), (&"7".into(), &60.into()));
        let edited = json(&["edit", "dev1", "--expires-at", "1970-01-01T01:00:00Z", "--clear", "attribute"]);
        assert_eq!((&edited["expires_at"], &edited["max_token_lifetime"]), (&3_600.into(), &60.into()));
        assert_eq!(edited["attributes"], serde_json::json!({}));
        run(command(&["show", "dev1"]), &mut gateway, &printed.output(Format::Table)).unwrap();
        let shown = printed.take();
        assert!(shown.contains("1970-01-01T01:00:00Z") && shown.contains("60 s"), "{shown}");
    }

    #[test]
    fn deny_an_edit_of_nothing_and_an_attribute_twice() {
        let (_directory, mut gateway) = gateway();
        let output = Printed::default().output(Format::Json);
        run(command(&["add", "dev1"]), &mut gateway, &output).unwrap();
        for line in [&["edit", "dev1"][..], &["edit", "dev1", "--attribute", "a=1", "--attribute", "a=2"]] {
            assert_eq!(run(command(line), &mut gateway, &output).unwrap_err().exit(), Exit::Usage, "{line:?}");
        }
        let unknown = ["edit", "dev1", "--role", "nope"];
        assert_eq!(run(command(&unknown), &mut gateway, &output).unwrap_err().exit(), Exit::Data);
    }

    #[test]
    fn a_client_with_a_key_has_no_secret() {
        let (directory, mut gateway) = gateway();
        let printed = Printed::default();
        let file = directory.path().join("jwk.json");
        let file = file.to_str().unwrap();
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        std::fs::write(file, format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)).unwrap();
        let mut json = |line: &[&str]| run(command(line), &mut gateway, &printed.output(Format::Json)).map(|()| printed.json());
        let added = json(&["add", "dev1", "--jwk-file", file, "--require-request-binding"]).unwrap();
        assert!(added.get("client_secret").is_none() && added.get("client_secret_expires_at").is_none(), "{added}");
        let shown = json(&["show", "dev1"]).unwrap();
        assert_eq!(shown["token_endpoint_auth_method"], "private_key_jwt");
        assert_eq!(shown["kids"][0], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!((&shown["secrets"], &shown["require_request_binding"]), (&serde_json::json!([]), &true.into()));
        // deny: two keys of one kid, five keys, a key of small order
        let key = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
        let five: Vec<String> = (0..5).map(|kid| key.replace("{\"", &format!("{{\"kid\":\"{kid}\",\""))).collect();
        let weak = key.replace(x, "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        for keys in [format!(r#"{{"keys":[{key},{key}]}}"#), format!(r#"{{"keys":[{}]}}"#, five.join(",")), weak] {
            std::fs::write(file, &keys).unwrap();
            assert_eq!(json(&["add", "dev2", "--jwk-file", file]).unwrap_err().exit(), Exit::Data, "{keys}");
        }
        assert!(json(&["show", "dev2"]).is_err());
    }

    #[test]
    fn people_see_the_secret_once() {
        let (_directory, mut gateway) = gateway();
        let printed = Printed::default();
        run(command(&["add", "dev1", "--name", "Pump"]), &mut gateway, &printed.output(Format::Table)).unwrap();
        assert!(printed.take().contains("\nClient secret:   "));
        run(command(&["show", "dev1"]), &mut gateway, &printed.output(Format::Table)).unwrap();
        let shown = printed.take();
        assert!(shown.contains("Pump") && !shown.contains("Client secret"), "{shown}");
    }

    #[test]
    fn a_client_whose_secret_reaches_nobody_is_not_kept() {
        let (directory, mut gateway) = gateway();
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull] {
            let output = Output::to(Format::Table, Box::new(Failing(kind)));
            let error = run(command(&["add", "dev1"]), &mut gateway, &output).unwrap_err();
            assert_eq!((error.exit(), error.code()), (Exit::Io, "secret_not_delivered"));
        }
        let printed = Printed::default();
        let file = directory.path().join("secret");
        let refused = ["add", "dev1", "--scope", "unknown", "--secret-file", file.to_str().unwrap()];
        assert_eq!(run(command(&refused), &mut gateway, &printed.output(Format::Json)).unwrap_err().exit(), Exit::Data);
        assert!(!file.exists());
        std::fs::write(&file, "old").unwrap();
        let refused = ["add", "dev1", "--secret-file", file.to_str().unwrap()];
        assert_eq!(run(command(&refused), &mut gateway, &printed.output(Format::Json)).unwrap_err().exit(), Exit::CannotCreate);
        run(command(&["list"]), &mut gateway, &printed.output(Format::Json)).unwrap();
        assert_eq!(printed.json()["clients"].as_array().unwrap().len(), 0);
    }

    pub(super) fn client() -> ClientDocument {
        serde_json::from_value(serde_json::json!({
            "client_id": "dev1", "client_name": "Pump", "token_endpoint_auth_method": "client_secret_post", "scope": "a b",
            "roles": ["pump"], "default_scope": "a", "audiences": ["rs"], "attributes": {"site": "berlin"}, "max_token_lifetime": 60,
            "not_before": null, "expires_at": 4_000, "last_used": 3_000, "next_expiry": 4_000, "status": "active", "client_id_issued_at": 1_000, "updated_at": 2_000, "software_id": "fw", "software_version": "1.2",
            "secrets": [{ "created_at": 1_000, "not_before": null, "expires_at": null }],
        }))
        .unwrap()
    }

    fn secret() -> IssuedSecret {
        Secret::new(b"hunter2".to_vec()).into()
    }

    #[test]
    fn a_registered_client_has_the_names_of_rfc_7591() {
        let (client, secret) = (client(), secret());
        let shown =
            serde_json::to_value(Registered { client: &client, client_secret: Some(&secret), client_secret_expires_at: Some(0) }).unwrap();
        assert_eq!((&shown["client_id"], &shown["client_secret"]), (&"dev1".into(), &"hunter2".into()));
        assert_eq!((&shown["client_secret_expires_at"], &shown["client_id_issued_at"]), (&0.into(), &1_000.into()));
        assert_eq!((&shown["scope"], &shown["token_endpoint_auth_method"]), (&"a b".into(), &"client_secret_post".into()));
        let shown = serde_json::to_value(Registered { client: &client, client_secret: None, client_secret_expires_at: Some(0) }).unwrap();
        assert!(shown.get("client_secret").is_none());
    }

    #[test]
    fn a_secret_file_is_private_and_new() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let kept = SecretFile::create(&path).unwrap().keep(secret().secret()).unwrap();
        assert_eq!(std::fs::read(&kept).unwrap(), b"hunter2");
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = SecretFile::create(&path).map(|_| ()).unwrap_err();
        assert_eq!(refused.exit(), Exit::CannotCreate);
        assert_eq!(std::fs::read(&path).unwrap(), b"hunter2");
    }

    #[test]
    fn a_secret_file_that_was_not_needed_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        drop(SecretFile::create(&path).unwrap());
        assert!(!path.exists());
    }
}
