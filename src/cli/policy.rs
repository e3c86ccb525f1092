//! `credgate resource-server` and `credgate scope`.

use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;

use super::confirm::confirm;
use super::connect::Gateway;
use super::error::unexpected;
use super::output::Output;
use super::table::{Table, fields};
use super::{CliError, Exit};
use crate::admin::{self, Answer, NewResourceServer, NewScope, ResourceServerChanges, ResourceServerField, ScopeChanges};
use crate::jose::Algorithm;
use crate::oauth::ScopeToken;
use crate::policy::{Dialect, ResourceServer, ResourceServerId, Scope, TokenFormat, TopicPermission};

#[derive(Debug, Subcommand)]
pub(super) enum ResourceServerCommand {
    /// Register a resource server
    Add(AddResourceServer),
    /// Change a resource server; what is not named stays
    Edit(EditResourceServer),
    /// List the resource servers
    List,
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
pub(super) struct EditResourceServer {
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

impl EditResourceServer {
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
pub(super) struct AddResourceServer {
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

impl AddResourceServer {
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

#[derive(Debug, Subcommand)]
pub(super) enum ScopeCommand {
    /// Define a scope
    Add {
        /// Its name
        name: ScopeToken,
        /// The resource server whose resources it opens
        #[arg(long, value_name = "ID")]
        resource_server: ResourceServerId,
        /// Topics it opens, such as 'pub telemetry/{client_id}/#'; may be repeated
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<TopicPermission>,
        /// For people
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        description: String,
    },
    /// Change a scope; what is not named stays
    Edit {
        /// The scope
        name: ScopeToken,
        /// The resource server whose resources it opens
        #[arg(long, value_name = "ID")]
        resource_server: Option<ResourceServerId>,
        /// Topics it opens, in place of those before; may be repeated
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<TopicPermission>,
        /// Let it open no topic
        #[arg(long, conflicts_with = "permissions")]
        clear_permissions: bool,
        /// For people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// List the scopes
    List,
    /// Show one scope
    Show {
        /// The scope
        name: ScopeToken,
    },
    /// Remove a scope that no role and no client names
    Remove {
        /// The scope
        name: ScopeToken,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct ResourceServerList {
    resource_servers: Vec<Arc<ResourceServer>>,
}

#[derive(Serialize)]
struct ScopeList {
    scopes: Vec<Arc<Scope>>,
}

pub(super) fn run_resource_server(command: ResourceServerCommand, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    match command {
        ResourceServerCommand::Add(args) => {
            show_resource_server(gateway.execute(admin::Command::ResourceServerAdd(args.into_new()?))?, output)
        }
        ResourceServerCommand::Show { id } => show_resource_server(gateway.execute(admin::Command::ResourceServerShow { id })?, output),
        ResourceServerCommand::Edit(args) => {
            let (id, changes) = (args.id.clone(), args.into_changes()?);
            show_resource_server(gateway.execute(admin::Command::ResourceServerEdit { id, changes })?, output)
        }
        ResourceServerCommand::Remove { id, yes } => {
            if !yes {
                confirm(&format!("Remove resource server {id} for good?"))?;
            }
            match gateway.execute(admin::Command::ResourceServerRemove { id })? {
                Answer::ResourceServer(server) => output
                    .print(&server, || format!("resource server {} was removed; tokens for it are valid until they expire\n", server.id)),
                other => Err(unexpected(&other)),
            }
        }
        ResourceServerCommand::List => {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                match gateway.execute(admin::Command::ResourceServerList { after })? {
                    Answer::ResourceServers { resource_servers, more } => {
                        after = resource_servers.last().map(|server| server.id.clone());
                        all.extend(resource_servers);
                        if !more || after.is_none() {
                            break;
                        }
                    }
                    other => return Err(unexpected(&other)),
                }
            }
            if all.is_empty() {
                output.note("no resource servers yet: credgate resource-server add");
            }
            let list = ResourceServerList { resource_servers: all };
            output.print(&list, || resource_server_table(&list.resource_servers))
        }
    }
}

pub(super) fn run_scope(command: ScopeCommand, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    match command {
        ScopeCommand::Add { name, resource_server, permissions, description } => {
            let new = NewScope { name, resource_server, permissions, description };
            show_scope(gateway.execute(admin::Command::ScopeAdd(new))?, output)
        }
        ScopeCommand::Show { name } => show_scope(gateway.execute(admin::Command::ScopeShow { name })?, output),
        ScopeCommand::Edit { name, resource_server, permissions, clear_permissions, description } => {
            let permissions = (clear_permissions || !permissions.is_empty()).then_some(permissions);
            let changes = ScopeChanges { resource_server, permissions, description };
            something(changes == ScopeChanges::default(), "scope edit")?;
            show_scope(gateway.execute(admin::Command::ScopeEdit { name, changes })?, output)
        }
        ScopeCommand::Remove { name, yes } => {
            if !yes {
                confirm(&format!("Remove scope {name} for good?"))?;
            }
            match gateway.execute(admin::Command::ScopeRemove { name })? {
                Answer::Scope(scope) => {
                    output.print(&scope, || format!("scope {} was removed; tokens with it are valid until they expire\n", scope.name))
                }
                other => Err(unexpected(&other)),
            }
        }
        ScopeCommand::List => {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                match gateway.execute(admin::Command::ScopeList { after })? {
                    Answer::Scopes { scopes, more } => {
                        after = scopes.last().map(|scope| scope.name.clone());
                        all.extend(scopes);
                        if !more || after.is_none() {
                            break;
                        }
                    }
                    other => return Err(unexpected(&other)),
                }
            }
            if all.is_empty() {
                output.note("no scopes yet: credgate scope add");
            }
            let list = ScopeList { scopes: all };
            output.print(&list, || scope_table(&list.scopes))
        }
    }
}

/// Refuses an edit without a change.
pub(super) fn something(is_nothing: bool, command: &str) -> Result<(), CliError> {
    if !is_nothing {
        return Ok(());
    }
    Err(CliError::new(Exit::Usage, "usage", "nothing to change was named").with_help(format!("see `credgate {command} --help`")))
}

fn show_resource_server(answer: Answer, output: &Output) -> Result<(), CliError> {
    match answer {
        Answer::ResourceServer(server) => output.print(&server, || fields(&resource_server_fields(&server))),
        other => Err(unexpected(&other)),
    }
}

fn show_scope(answer: Answer, output: &Output) -> Result<(), CliError> {
    match answer {
        Answer::Scope(scope) => output.print(&scope, || fields(&scope_fields(&scope))),
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

fn resource_server_fields(server: &ResourceServer) -> Vec<(&'static str, String)> {
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
    ]
}

fn resource_server_table(servers: &[Arc<ResourceServer>]) -> String {
    if servers.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["ID", "AUDIENCE", "DIALECT", "MAX LIFETIME", "CREATED", "DESCRIPTION"]);
    for server in servers {
        table.row([
            server.id.to_string(),
            server.audience.clone(),
            server.dialect.as_str().to_owned(),
            lifetime(server),
            server.created_at.to_string(),
            server.description.clone(),
        ]);
    }
    table.render()
}

fn permissions(scope: &Scope) -> String {
    scope.permissions.iter().map(TopicPermission::to_string).collect::<Vec<_>>().join(", ")
}

fn scope_fields(scope: &Scope) -> Vec<(&'static str, String)> {
    vec![
        ("Name", scope.name.to_string()),
        ("Resource server", scope.resource_server.to_string()),
        ("Permissions", permissions(scope)),
        ("Description", scope.description.clone()),
        ("Created", scope.created_at.to_string()),
    ]
}

fn scope_table(scopes: &[Arc<Scope>]) -> String {
    if scopes.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["NAME", "RESOURCE SERVER", "PERMISSIONS", "DESCRIPTION"]);
    for scope in scopes {
        table.row([scope.name.to_string(), scope.resource_server.to_string(), permissions(scope), scope.description.clone()]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::Printed;
    use super::super::{Format, connect, init};
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: ResourceServerCommand,
    }

    fn command(line: &[&str]) -> ResourceServerCommand {
        use clap::Parser as _;
        Line::try_parse_from(std::iter::once(&"resource-server").chain(line)).unwrap().command
    }

    #[test]
    fn a_dialect_is_named_with_what_it_needs() {
        let new = |line: &[&str]| match command(&[&["add", "rs", "--audience", "urn:rs"], line].concat()) {
            ResourceServerCommand::Add(args) => args.into_new().map(|new| new.dialect).map_err(|error| error.exit()),
            _ => unreachable!(),
        };
        let rabbitmq = |prefix: &str, vhost: &str| Dialect::Rabbitmq { prefix: prefix.parse().unwrap(), vhost: vhost.into() };
        assert_eq!(new(&[]), Ok(Dialect::Oauth));
        assert_eq!(new(&["--dialect", "aif", "--token-format", "jwt"]), Ok(Dialect::Aif));
        assert_eq!(new(&["--dialect", "rabbitmq"]), Ok(rabbitmq("urn:rs", "/")));
        assert_eq!(new(&["--dialect", "rabbitmq", "--rabbitmq-prefix", "mq", "--rabbitmq-vhost", "v"]), Ok(rabbitmq("mq", "v")));
        assert_eq!(new(&["--dialect", "emqx", "--rabbitmq-vhost", "v"]), Err(Exit::Usage));
        let alg = |line: &[&str]| match command(&[&["add", "rs", "--audience", "urn:rs"], line].concat()) {
            ResourceServerCommand::Add(args) => args.into_new().unwrap().alg,
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
        run_resource_server(add, &mut gateway, &json).unwrap();
        assert_eq!(printed.json()["audience"], "https://rs.example");
        let add = ScopeCommand::Add {
            name: "rs:write".parse().unwrap(),
            resource_server: "rs".parse().unwrap(),
            permissions: vec!["pub t/{client_id}/#".parse().unwrap(), "sub c/{client_id}".parse().unwrap()],
            description: String::new(),
        };
        run_scope(add, &mut gateway, &json).unwrap();
        assert_eq!(printed.json()["permissions"], serde_json::json!(["pub t/{client_id}/#", "sub c/{client_id}"]));
        run_resource_server(ResourceServerCommand::List, &mut gateway, &json).unwrap();
        assert_eq!(printed.json()["resource_servers"][0]["max_token_lifetime"], 60);
        let aif = ["add", "broker", "--audience", "mqtts://broker", "--dialect", "aif"];
        run_resource_server(command(&aif), &mut gateway, &json).unwrap();
        let added = printed.json();
        assert_eq!((&added["dialect"], &added["token_format"]), (&"aif".into(), &"jwt".into()));
        run_scope(ScopeCommand::List, &mut gateway, &json).unwrap();
        assert_eq!(printed.json()["scopes"][0]["name"], "rs:write");
        run_scope(ScopeCommand::List, &mut gateway, &table).unwrap();
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
        let mut server = |line: &[&str]| run_resource_server(command(line), &mut gateway, &output).map(|()| printed.json());
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
        let add = ScopeCommand::Add { name: name.clone(), resource_server, permissions, description: String::new() };
        let edit = |clear_permissions, description: Option<&str>| ScopeCommand::Edit {
            name: name.clone(),
            resource_server: None,
            permissions: Vec::new(),
            clear_permissions,
            description: description.map(str::to_owned),
        };
        let mut scope = |command| run_scope(command, &mut gateway, &output).map(|()| printed.json());
        scope(add).unwrap();
        let edited = scope(edit(true, Some("x"))).unwrap();
        assert_eq!((&edited["permissions"], &edited["description"]), (&serde_json::json!([]), &"x".into()));
        assert_eq!(scope(edit(false, None)).unwrap_err().exit(), Exit::Usage);
        assert_eq!(scope(ScopeCommand::Show { name: name.clone() }).unwrap()["description"], "x");
        let removed = run_resource_server(command(&["remove", "rs", "--yes"]), &mut gateway, &output);
        assert_eq!(removed.unwrap_err().exit(), Exit::Data, "a scope names it");
        let mut scope = |command| run_scope(command, &mut gateway, &output).map(|()| printed.json());
        scope(ScopeCommand::Remove { name: name.clone(), yes: true }).unwrap();
        let mut server = |line: &[&str]| run_resource_server(command(line), &mut gateway, &output).map(|()| printed.json());
        assert_eq!(server(&["remove", "rs", "--yes"]).unwrap()["audience"], "urn:new");
        assert_eq!(server(&["show", "rs"]).unwrap_err().exit(), Exit::Data);
    }
}
