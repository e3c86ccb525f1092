//! `credgate resource-server` and `credgate scope`.

use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;

use super::connect::Gateway;
use super::error::unexpected;
use super::output::Output;
use super::table::{Table, fields};
use super::{CliError, Exit};
use crate::admin::{self, Answer, NewResourceServer, NewScope};
use crate::oauth::ScopeToken;
use crate::policy::{Dialect, ResourceServer, ResourceServerId, Scope, TokenFormat, TopicPermission};

#[derive(Debug, Subcommand)]
pub(super) enum ResourceServerCommand {
    /// Register a resource server
    Add(AddResourceServer),
    /// List the resource servers
    List,
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
    Jwt,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum DialectName {
    /// Names of scopes, for any OAuth resource server
    Oauth,
    /// AIF-MQTT, for brokers after RFC 9431
    Aif,
    /// An access control list, for EMQX
    Emqx,
    /// Permissions of RabbitMQ
    Rabbitmq,
}

impl AddResourceServer {
    fn into_new(self) -> Result<NewResourceServer, CliError> {
        let dialect = match self.dialect {
            DialectName::Rabbitmq => Dialect::Rabbitmq {
                prefix: match self.rabbitmq_prefix {
                    Some(prefix) => prefix,
                    None => self.audience.parse().map_err(|_| {
                        CliError::new(
                            Exit::Usage,
                            "usage",
                            "the audience cannot be a prefix of RabbitMQ's: name one with --rabbitmq-prefix",
                        )
                    })?,
                },
                vhost: self.rabbitmq_vhost.unwrap_or_else(|| "/".into()),
            },
            _ if self.rabbitmq_prefix.is_some() || self.rabbitmq_vhost.is_some() => {
                let text = "--rabbitmq-prefix and --rabbitmq-vhost belong to --dialect rabbitmq";
                return Err(CliError::new(Exit::Usage, "usage", text));
            }
            DialectName::Oauth => Dialect::Oauth,
            DialectName::Aif => Dialect::Aif,
            DialectName::Emqx => Dialect::Emqx,
        };
        let token_format = match self.token_format {
            TokenFormatName::Jwt => TokenFormat::Jwt,
        };
        let (description, max_token_lifetime, max_token_bytes) = (self.description, self.max_token_lifetime, self.max_token_bytes);
        Ok(NewResourceServer {
            description,
            max_token_lifetime,
            max_token_bytes,
            token_format,
            dialect,
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
    /// List the scopes
    List,
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
        ResourceServerCommand::Add(args) => match gateway.execute(admin::Command::ResourceServerAdd(args.into_new()?))? {
            Answer::ResourceServer(server) => output.print(&server, || fields(&resource_server_fields(&server))),
            other => Err(unexpected(&other)),
        },
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
            match gateway.execute(admin::Command::ScopeAdd(new))? {
                Answer::Scope(scope) => output.print(&scope, || fields(&scope_fields(&scope))),
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
        Line::try_parse_from(["resource-server", "add"].iter().chain(line)).unwrap().command
    }

    #[test]
    fn a_dialect_is_named_with_what_it_needs() {
        let new = |line: &[&str]| match command(&[&["rs", "--audience", "urn:rs"], line].concat()) {
            ResourceServerCommand::Add(args) => args.into_new().map(|new| new.dialect).map_err(|error| error.exit()),
            ResourceServerCommand::List => unreachable!(),
        };
        let rabbitmq = |prefix: &str, vhost: &str| Dialect::Rabbitmq { prefix: prefix.parse().unwrap(), vhost: vhost.into() };
        assert_eq!(new(&[]), Ok(Dialect::Oauth));
        assert_eq!(new(&["--dialect", "aif", "--token-format", "jwt"]), Ok(Dialect::Aif));
        assert_eq!(new(&["--dialect", "rabbitmq"]), Ok(rabbitmq("urn:rs", "/")));
        assert_eq!(new(&["--dialect", "rabbitmq", "--rabbitmq-prefix", "mq", "--rabbitmq-vhost", "v"]), Ok(rabbitmq("mq", "v")));
        assert_eq!(new(&["--dialect", "emqx", "--rabbitmq-vhost", "v"]), Err(Exit::Usage));
    }

    #[test]
    fn what_is_added_is_listed() {
        let directory = tempfile::tempdir().unwrap();
        let mut gateway = connect::tests::gateway(directory.path());
        init::tests::init(&connect::load_config(gateway.global()).unwrap());
        let printed = Printed::default();
        let (json, table) = (printed.output(Format::Json), printed.output(Format::Table));
        let add = command(&[
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
        let aif = ["broker", "--audience", "mqtts://broker", "--dialect", "aif"];
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
}
