//! `credgate resource-server`.

use std::sync::Arc;

use clap::Subcommand;

use super::confirm::{confirm, named};
use super::connect::Gateway;
use super::error::{something, unexpected};
use super::output::Output;
use super::pages::{self, Page};
use super::table::Table;
use super::{CliError, Exit};
use crate::admin::{self, Answer, NewResourceServer, ResourceServerChanges, ResourceServerField, ResourceServerQuery};
use crate::jose::Algorithm;
use crate::oauth::ScopeToken;
use crate::policy::{Dialect, ResourceServer, ResourceServerId, TokenFormat};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a resource server
    Add(Box<Add>),
    /// Change a resource server; what is not named stays
    Edit(Box<Edit>),
    /// List the resource servers, by id
    List(List),
    /// Show one resource server
    Show {
        /// The resource server
        id: ResourceServerId,
    },
    /// Remove a resource server that no scope and no client names
    Remove {
        /// The resource server
        id: ResourceServerId,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// The resource server
    id: ResourceServerId,
    /// The aud of its tokens; those that are out keep the one before
    #[arg(long, value_name = "URI")]
    audience: Option<String>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Seconds no token for it outlives
    #[arg(long, value_name = "SECONDS")]
    max_token_lifetime: Option<u32>,
    /// Bytes of the largest token it takes: what could lead to a larger one is not registered
    #[arg(long, value_name = "BYTES")]
    max_token_bytes: Option<u32>,
    /// The form of its tokens
    #[arg(long, value_enum, value_name = "FORMAT")]
    token_format: Option<TokenFormatName>,
    /// What its tokens are signed by
    #[arg(long, value_enum, value_name = "ALG")]
    alg: Option<AlgorithmName>,
    /// The form of the permissions in its tokens
    #[arg(long, value_enum, value_name = "DIALECT")]
    dialect: Option<DialectName>,
    /// With the dialect rabbitmq: its resource_server_id, or its scope_prefix without the final dot [default: the audience that is given]
    #[arg(long, value_name = "PREFIX")]
    rabbitmq_prefix: Option<ScopeToken>,
    /// With the dialect rabbitmq: the virtual host [default: /]
    #[arg(long, value_name = "VHOST")]
    rabbitmq_vhost: Option<String>,
    /// What to empty: max-token-lifetime or max-token-bytes; may be repeated
    #[arg(long, value_name = "WHAT")]
    clear: Vec<ResourceServerField>,
}

impl Edit {
    fn into_changes(self) -> Result<ResourceServerChanges, CliError> {
        let rabbitmq = RabbitmqNames { prefix: self.rabbitmq_prefix, vhost: self.rabbitmq_vhost };
        let changes = ResourceServerChanges {
            clear: self.clear.into_iter().collect(),
            dialect: match self.dialect {
                Some(name) => Some(name.into_dialect(rabbitmq, self.audience.as_deref().unwrap_or_default())?),
                None => rabbitmq.unused().map(|()| None)?,
            },
            audience: self.audience,
            description: self.description,
            max_token_lifetime: self.max_token_lifetime,
            max_token_bytes: self.max_token_bytes,
            token_format: self.token_format.map(TokenFormatName::into_format),
            alg: self.alg.map(AlgorithmName::into_algorithm),
        };
        something(changes == ResourceServerChanges::default(), "resource-server edit")?;
        Ok(changes)
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Its id: 1 to 64 characters of A-Z a-z 0-9 _ -
    id: ResourceServerId,
    /// The aud of its tokens, usually a URI
    #[arg(long, value_name = "URI")]
    audience: String,
    /// For people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// Seconds no token for it outlives [default: the gateway's limit]
    #[arg(long, value_name = "SECONDS")]
    max_token_lifetime: Option<u32>,
    /// Bytes of the largest token it takes: what could lead to a larger one is not registered [default: no limit]
    #[arg(long, value_name = "BYTES")]
    max_token_bytes: Option<u32>,
    /// The form of its tokens
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = TokenFormatName::Jwt)]
    token_format: TokenFormatName,
    /// What its tokens are signed by [default: EdDSA, and ES256 with the dialect mosquitto-jwt]
    #[arg(long, value_enum, value_name = "ALG")]
    alg: Option<AlgorithmName>,
    /// The form of the permissions in its tokens
    #[arg(long, value_enum, value_name = "DIALECT", default_value_t = DialectName::Oauth)]
    dialect: DialectName,
    /// With the dialect rabbitmq: its resource_server_id, or its scope_prefix without the final dot [default: the audience]
    #[arg(long, value_name = "PREFIX")]
    rabbitmq_prefix: Option<ScopeToken>,
    /// With the dialect rabbitmq: the virtual host [default: /]
    #[arg(long, value_name = "VHOST")]
    rabbitmq_vhost: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum TokenFormatName {
    /// JWT (RFC 9068)
    Jwt,
    /// CWT (RFC 8392), for small devices
    Cwt,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum DialectName {
    /// Names of scopes, for any OAuth resource server
    Oauth,
    /// AIF-MQTT, for brokers after RFC 9431
    Aif,
    /// An access control list, for EMQX
    Emqx,
    /// Topic filters, for the plugin mosquitto-jwt-auth of Mosquitto
    MosquittoJwt,
    /// Permissions of RabbitMQ
    Rabbitmq,
}

/// What the dialect rabbitmq needs beside its name.
#[derive(Debug)]
struct RabbitmqNames {
    prefix: Option<ScopeToken>,
    vhost: Option<String>,
}

impl RabbitmqNames {
    fn unused(&self) -> Result<(), CliError> {
        if self.prefix.is_none() && self.vhost.is_none() {
            return Ok(());
        }
        Err(CliError::new(Exit::Usage, "usage", "--rabbitmq-prefix and --rabbitmq-vhost belong to --dialect rabbitmq"))
    }
}

impl DialectName {
    /// As it is written everywhere.
    fn word(self) -> &'static str {
        match self {
            Self::Oauth => "oauth",
            Self::Aif => "aif",
            Self::Emqx => "emqx",
            Self::MosquittoJwt => "mosquitto-jwt",
            Self::Rabbitmq => "rabbitmq",
        }
    }

    fn into_dialect(self, rabbitmq: RabbitmqNames, audience: &str) -> Result<Dialect, CliError> {
        if !matches!(self, Self::Rabbitmq) {
            rabbitmq.unused()?;
        }
        Ok(match self {
            Self::Rabbitmq => {
                let no_prefix = || {
                    let text = "the audience cannot be a prefix of RabbitMQ's: name one with --rabbitmq-prefix";
                    CliError::new(Exit::Usage, "usage", text)
                };
                let prefix = rabbitmq.prefix.or_else(|| audience.parse().ok()).ok_or_else(no_prefix)?;
                Dialect::Rabbitmq { prefix, vhost: rabbitmq.vhost.unwrap_or_else(|| "/".into()) }
            }
            Self::Oauth => Dialect::Oauth,
            Self::Aif => Dialect::Aif,
            Self::Emqx => Dialect::Emqx,
            Self::MosquittoJwt => Dialect::MosquittoJwt,
        })
    }
}

impl TokenFormatName {
    fn into_format(self) -> TokenFormat {
        match self {
            Self::Jwt => TokenFormat::Jwt,
            Self::Cwt => TokenFormat::Cwt,
        }
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum AlgorithmName {
    /// Ed25519, by the name that most verifiers know
    #[value(name = "EdDSA")]
    EdDsa,
    /// Ed25519, by the name of RFC 9864
    #[value(name = "Ed25519")]
    Ed25519,
    /// ECDSA on P-256, for verifiers that know no Ed25519
    #[value(name = "ES256")]
    Es256,
}

impl AlgorithmName {
    fn into_algorithm(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDsa,
            Self::Ed25519 => Algorithm::Ed25519,
            Self::Es256 => Algorithm::Es256,
        }
    }
}

impl Add {
    fn into_new(self) -> Result<NewResourceServer, CliError> {
        let rabbitmq = RabbitmqNames { prefix: self.rabbitmq_prefix, vhost: self.rabbitmq_vhost };
        Ok(NewResourceServer {
            description: self.description,
            max_token_lifetime: self.max_token_lifetime,
            max_token_bytes: self.max_token_bytes,
            token_format: self.token_format.into_format(),
            alg: match (self.alg, self.dialect) {
                (Some(alg), _) => alg.into_algorithm(),
                (None, DialectName::MosquittoJwt) => Algorithm::Es256,
                (None, _) => Algorithm::EdDsa,
            },
            dialect: self.dialect.into_dialect(rabbitmq, &self.audience)?,
            ..NewResourceServer::new(self.id, self.audience)
        })
    }
}

#[derive(Debug, Default, clap::Args)]
pub(super) struct List {
    /// Only those with tokens of this form
    #[arg(long, value_enum, value_name = "FORMAT")]
    token_format: Option<TokenFormatName>,
    /// Only those of this dialect
    #[arg(long, value_enum, value_name = "DIALECT")]
    dialect: Option<DialectName>,
    /// Only those whose id comes after this one
    #[arg(long, value_name = "ID")]
    after: Option<ResourceServerId>,
    /// At most so many [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

pub(super) fn run(command: Command, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Add(args) => show(gateway.execute(admin::Command::ResourceServerAdd(args.into_new()?))?, output),
        Command::Show { id } => show(gateway.execute(admin::Command::ResourceServerShow { id })?, output),
        Command::Edit(args) => {
            let (id, changes) = (args.id.clone(), args.into_changes()?);
            show(gateway.execute(admin::Command::ResourceServerEdit { id, changes })?, output)
        }
        Command::Remove { id, yes } => {
            if !yes {
                match gateway.execute(admin::Command::ResourceServerShow { id: id.clone() })? {
                    Answer::ResourceServer(server) => confirm(
                        &format!("remove resource server {}", named(id.as_str(), &server.description)),
                        &format!(
                            "its audience is {}; it goes only if no scope, client or enrolment template names it, and its revocation list ends",
                            server.audience
                        ),
                    )?,
                    other => return Err(unexpected(&other)),
                }
            }
            match gateway.execute(admin::Command::ResourceServerRemove { id })? {
                Answer::ResourceServer(server) => output
                    .print(&server, || format!("resource server {} was removed; tokens for it are valid until they expire\n", server.id)),
                other => Err(unexpected(&other)),
            }
        }
        Command::List(list) => list_all(list, gateway, output),
    }
}

fn list_all(list: List, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let List { token_format, dialect, after, limit } = list;
    let (token_format, dialect) = (token_format.map(TokenFormatName::into_format), dialect.map(|name| name.word().to_owned()));
    let filtered = token_format.is_some() || dialect.is_some() || after.is_some();
    let empty = if filtered { "no resource server is like that" } else { "no resource servers yet: credgate resource-server add" };
    let table = Table::new(["ID", "AUDIENCE", "DIALECT", "MAX LIFETIME", "CREATED", "DESCRIPTION"]).yielding(&["AUDIENCE", "DESCRIPTION"]);
    let list = pages::List { member: "resource_servers", limit, empty, table, row };
    list.print(output, after, |after, limit| {
        let query = ResourceServerQuery { token_format, dialect: dialect.clone(), after, limit };
        match gateway.execute(admin::Command::ResourceServerList(query))? {
            Answer::ResourceServers { resource_servers: records, more } => {
                Ok(Page { next: records.last().filter(|_| more).map(|server| server.id.clone()), records })
            }
            other => Err(unexpected(&other)),
        }
    })
}

fn show(answer: Answer, output: &Output) -> Result<(), CliError> {
    match answer {
        Answer::ResourceServer(server) => output.show(&server, || fields(&server)),
        other => Err(unexpected(&other)),
    }
}

fn lifetime(server: &ResourceServer) -> String {
    server.max_token_lifetime.map(|seconds| format!("{seconds} s")).unwrap_or_default()
}

fn dialect(server: &ResourceServer) -> String {
    match &server.dialect {
        Dialect::Rabbitmq { prefix, vhost } => format!("rabbitmq, prefix {prefix}, virtual host {vhost}"),
        dialect => dialect.as_str().to_owned(),
    }
}

fn fields(server: &ResourceServer) -> Vec<(&'static str, String)> {
    vec![
        ("Id", server.id.to_string()),
        ("Audience", server.audience.clone()),
        ("Token format", server.token_format.as_str().to_owned()),
        ("Signed by", server.alg.name().to_owned()),
        ("Dialect", dialect(server)),
        ("Max token lifetime", lifetime(server)),
        ("Max token size", server.max_token_bytes.map(|bytes| format!("{bytes} bytes")).unwrap_or_default()),
        ("Description", server.description.clone()),
        ("Created", server.created_at.to_string()),
        ("Updated", server.updated_at.to_string()),
    ]
}

fn row(server: &Arc<ResourceServer>) -> [String; 6] {
    [
        server.id.to_string(),
        server.audience.clone(),
        server.dialect.as_str().to_owned(),
        lifetime(server),
        server.created_at.to_string(),
        server.description.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::Printed;
    use super::super::{Format, connect, init, scope};
    use super::*;
    use crate::oauth::ScopeToken;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn command(line: &[&str]) -> Command {
        use clap::Parser as _;
        Line::try_parse_from(std::iter::once(&"resource-server").chain(line)).unwrap().command
    }

    #[test]
    fn a_dialect_is_named_with_what_it_needs() {
        let new = |line: &[&str]| match command(&[&["add", "rs", "--audience", "urn:rs"], line].concat()) {
            Command::Add(args) => args.into_new().map(|new| new.dialect).map_err(|error| error.exit()),
            _ => unreachable!(),
        };
        let rabbitmq = |prefix: &str, vhost: &str| Dialect::Rabbitmq { prefix: prefix.parse().unwrap(), vhost: vhost.into() };
        assert_eq!(new(&[]), Ok(Dialect::Oauth));
        assert_eq!(new(&["--dialect", "aif", "--token-format", "jwt"]), Ok(Dialect::Aif));
        assert_eq!(new(&["--dialect", "rabbitmq"]), Ok(rabbitmq("urn:rs", "/")));
        assert_eq!(new(&["--dialect", "rabbitmq", "--rabbitmq-prefix", "mq", "--rabbitmq-vhost", "v"]), Ok(rabbitmq("mq", "v")));
        assert_eq!(new(&["--dialect", "emqx", "--rabbitmq-vhost", "v"]), Err(Exit::Usage));
        let alg = |line: &[&str]| match command(&[&["add", "rs", "--audience", "urn:rs"], line].concat()) {
            Command::Add(args) => args.into_new().unwrap().alg,
            _ => unreachable!(),
        };
        assert_eq!((alg(&[]), alg(&["--alg", "Ed25519"])), (Algorithm::EdDsa, Algorithm::Ed25519));
        assert_eq!(alg(&["--dialect", "mosquitto-jwt"]), Algorithm::Es256);
    }

    #[test]
    fn what_is_added_is_listed() {
        let directory = tempfile::tempdir().unwrap();
        let mut gateway = connect::tests::gateway(directory.path());
        init::tests::init(&connect::load_config(gateway.global()).unwrap());
        let printed = Printed::default();
        let (json, table) = (printed.output(Format::Json), printed.output(Format::Table));
        let add = command(&[
            "add",
            "rs",
            "--audience",
            "https://rs.example",
            "--description",
            "All of it",
            "--max-token-lifetime",
            "60",
            "--max-token-bytes",
            "900",
        ]);
        run(add, &mut gateway, &json).unwrap();
        assert_eq!(printed.json()["audience"], "https://rs.example");
        let add = scope::Command::Add {
            name: "rs:write".parse().unwrap(),
            resource_server: "rs".parse().unwrap(),
            permissions: vec!["pub t/{client_id}/#".parse().unwrap(), "sub c/{client_id}".parse().unwrap()],
            description: String::new(),
        };
        scope::run(add, &mut gateway, &json).unwrap();
        assert_eq!(printed.json()["permissions"], serde_json::json!(["pub t/{client_id}/#", "sub c/{client_id}"]));
        run(Command::List(List::default()), &mut gateway, &json).unwrap();
        assert_eq!(printed.json()["resource_servers"][0]["max_token_lifetime"], 60);
        let aif = ["add", "broker", "--audience", "mqtts://broker", "--dialect", "aif"];
        run(command(&aif), &mut gateway, &json).unwrap();
        let added = printed.json();
        assert_eq!((&added["dialect"], &added["token_format"]), (&"aif".into(), &"jwt".into()));
        scope::run(scope::Command::List(scope::List::default()), &mut gateway, &json).unwrap();
        assert_eq!(printed.json()["scopes"][0]["name"], "rs:write");
        scope::run(scope::Command::List(scope::List::default()), &mut gateway, &table).unwrap();
        let shown = printed.take();
        assert!(
            shown.starts_with("NAME      RESOURCE SERVER  PERMISSIONS") && shown.contains("pub t/{client_id}/#, sub c/{client_id}"),
            "{shown}"
        );
    }

    #[test]
    fn definitions_are_edited_shown_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let mut gateway = connect::tests::gateway(directory.path());
        init::tests::init(&connect::load_config(gateway.global()).unwrap());
        let printed = Printed::default();
        let output = printed.output(Format::Json);
        let mut server = |line: &[&str]| run(command(line), &mut gateway, &output).map(|()| printed.json());
        server(&["add", "rs", "--audience", "urn:rs", "--max-token-bytes", "900"]).unwrap();
        let edited = server(&["edit", "rs", "--audience", "urn:new", "--dialect", "rabbitmq", "--clear", "max-token-bytes"]).unwrap();
        assert_eq!((&edited["audience"], &edited["max_token_bytes"]), (&"urn:new".into(), &serde_json::Value::Null));
        assert_eq!(edited["dialect"]["rabbitmq"]["prefix"], "urn:new");
        for (line, exit) in [
            (&["edit", "rs"][..], Exit::Usage),
            (&["edit", "rs", "--rabbitmq-vhost", "v"], Exit::Usage),
            (&["edit", "rs", "--dialect", "rabbitmq"], Exit::Usage),
            (&["edit", "nope", "--description", "x"], Exit::Data),
            (&["show", "nope"], Exit::Data),
        ] {
            assert_eq!(server(line).unwrap_err().exit(), exit, "{line:?}");
        }
        assert_eq!(server(&["edit", "rs", "--dialect", "oauth"]).unwrap()["dialect"], "oauth");
        let (name, resource_server): (ScopeToken, ResourceServerId) = ("s".parse().unwrap(), "rs".parse().unwrap());
        let permissions = vec!["pub a".parse().unwrap()];
        let add = scope::Command::Add { name: name.clone(), resource_server, permissions, description: String::new() };
        let edit = |clear_permissions, description: Option<&str>| scope::Command::Edit {
            name: name.clone(),
            resource_server: None,
            permissions: Vec::new(),
            clear_permissions,
            description: description.map(str::to_owned),
        };
        let mut scope = |command| scope::run(command, &mut gateway, &output).map(|()| printed.json());
        scope(add).unwrap();
        let edited = scope(edit(true, Some("x"))).unwrap();
        assert_eq!((&edited["permissions"], &edited["description"]), (&serde_json::json!([]), &"x".into()));
        assert_eq!(scope(edit(false, None)).unwrap_err().exit(), Exit::Usage);
        assert_eq!(scope(scope::Command::Show { name: name.clone() }).unwrap()["description"], "x");
        let removed = run(command(&["remove", "rs", "--yes"]), &mut gateway, &output);
        assert_eq!(removed.unwrap_err().exit(), Exit::Data, "a scope names it");
        let mut scope = |command| scope::run(command, &mut gateway, &output).map(|()| printed.json());
        scope(scope::Command::Remove { name: name.clone(), yes: true }).unwrap();
        let mut server = |line: &[&str]| run(command(line), &mut gateway, &output).map(|()| printed.json());
        assert_eq!(server(&["remove", "rs", "--yes"]).unwrap()["audience"], "urn:new");
        assert_eq!(server(&["show", "rs"]).unwrap_err().exit(), Exit::Data);
    }
}
