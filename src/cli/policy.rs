//! `credgate resource-server` and `credgate scope`.

use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;

use super::CliError;
use super::connect::Gateway;
use super::error::unexpected;
use super::output::Output;
use super::table::{Table, fields};
use crate::admin::{self, Answer, NewResourceServer, NewScope};
use crate::oauth::ScopeToken;
use crate::policy::{ResourceServer, ResourceServerId, Scope, TopicPermission};

#[derive(Debug, Subcommand)]
pub(super) enum ResourceServerCommand {
    /// Register a resource server
    Add {
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
    },
    /// List the resource servers
    List,
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
        ResourceServerCommand::Add { id, audience, description, max_token_lifetime } => {
            let new = NewResourceServer { id, audience, description, max_token_lifetime };
            match gateway.execute(admin::Command::ResourceServerAdd(new))? {
                Answer::ResourceServer(server) => output.print(&server, || fields(&resource_server_fields(&server))),
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

fn resource_server_fields(server: &ResourceServer) -> Vec<(&'static str, String)> {
    vec![
        ("Id", server.id.to_string()),
        ("Audience", server.audience.clone()),
        ("Max token lifetime", lifetime(server)),
        ("Description", server.description.clone()),
        ("Created", server.created_at.to_string()),
    ]
}

fn resource_server_table(servers: &[Arc<ResourceServer>]) -> String {
    if servers.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["ID", "AUDIENCE", "MAX LIFETIME", "CREATED", "DESCRIPTION"]);
    for server in servers {
        table.row([
            server.id.to_string(),
            server.audience.clone(),
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

    #[test]
    fn what_is_added_is_listed() {
        let directory = tempfile::tempdir().unwrap();
        let mut gateway = connect::tests::gateway(directory.path());
        init::tests::init(&connect::load_config(gateway.global()).unwrap());
        let printed = Printed::default();
        let (json, table) = (printed.output(Format::Json), printed.output(Format::Table));
        let add = ResourceServerCommand::Add {
            id: "rs".parse().unwrap(),
            audience: "https://rs.example".into(),
            description: "All of it".into(),
            max_token_lifetime: Some(60),
        };
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
