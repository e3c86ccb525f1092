//! `credgate scope`.

use std::sync::Arc;

use clap::Subcommand;

use super::CliError;
use super::confirm::{confirm, count, named};
use super::connect::Gateway;
use super::error::{something, unexpected};
use super::output::Output;
use super::pages::{self, Page};
use super::table::Table;
use crate::admin::{self, Answer, NewScope, ScopeChanges, ScopeQuery};
use crate::oauth::ScopeToken;
use crate::policy::{ResourceServerId, Scope, TopicPermission};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
    /// List the scopes, by name
    List(List),
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

#[derive(Debug, Default, clap::Args)]
pub(super) struct List {
    /// Only those of this resource server
    #[arg(long, value_name = "ID")]
    resource_server: Option<ResourceServerId>,
    /// Only those whose name comes after this one
    #[arg(long, value_name = "NAME")]
    after: Option<ScopeToken>,
    /// At most so many [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

pub(super) fn run(command: Command, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Add { name, resource_server, permissions, description } => {
            let new = NewScope { name, resource_server, permissions, description };
            show(gateway.execute(admin::Command::ScopeAdd(new))?, output)
        }
        Command::Show { name } => show(gateway.execute(admin::Command::ScopeShow { name })?, output),
        Command::Edit { name, resource_server, permissions, clear_permissions, description } => {
            let permissions = (clear_permissions || !permissions.is_empty()).then_some(permissions);
            let changes = ScopeChanges { resource_server, permissions, description };
            something(changes == ScopeChanges::default(), "scope edit")?;
            show(gateway.execute(admin::Command::ScopeEdit { name, changes })?, output)
        }
        Command::Remove { name, yes } => {
            if !yes {
                match gateway.execute(admin::Command::ScopeShow { name: name.clone() })? {
                    Answer::Scope(scope) => confirm(
                        &format!("remove scope {} of resource server {}", named(name.as_str(), &scope.description), scope.resource_server),
                        &format!(
                            "it opens {}; it goes only if no role, client or enrolment template names it, and tokens with it hold until they expire",
                            count(scope.permissions.len(), "topic filter")
                        ),
                    )?,
                    other => return Err(unexpected(&other)),
                }
            }
            match gateway.execute(admin::Command::ScopeRemove { name })? {
                Answer::Scope(scope) => {
                    output.print(&scope, || format!("scope {} was removed; tokens with it are valid until they expire\n", scope.name))
                }
                other => Err(unexpected(&other)),
            }
        }
        Command::List(list) => list_all(list, gateway, output),
    }
}

fn list_all(List { resource_server, after, limit }: List, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let empty = if resource_server.is_none() && after.is_none() { "no scopes yet: credgate scope add" } else { "no scope is like that" };
    let table = Table::new(["NAME", "RESOURCE SERVER", "PERMISSIONS", "DESCRIPTION"]).yielding(&["PERMISSIONS", "DESCRIPTION"]);
    let list = pages::List { member: "scopes", limit, empty, table, row };
    list.print(output, after, |after, limit| {
        let query = ScopeQuery { resource_server: resource_server.clone(), after, limit };
        match gateway.execute(admin::Command::ScopeList(query))? {
            Answer::Scopes { scopes, more } => {
                Ok(Page { next: scopes.last().filter(|_| more).map(|scope| scope.name.clone()), records: scopes })
            }
            other => Err(unexpected(&other)),
        }
    })
}

fn show(answer: Answer, output: &Output) -> Result<(), CliError> {
    match answer {
        Answer::Scope(scope) => output.show(&scope, || fields(&scope)),
        other => Err(unexpected(&other)),
    }
}

fn permissions(scope: &Scope) -> String {
    scope.permissions.iter().map(TopicPermission::to_string).collect::<Vec<_>>().join(", ")
}

fn fields(scope: &Scope) -> Vec<(&'static str, String)> {
    vec![
        ("Name", scope.name.to_string()),
        ("Resource server", scope.resource_server.to_string()),
        ("Permissions", permissions(scope)),
        ("Description", scope.description.clone()),
        ("Created", scope.created_at.to_string()),
        ("Updated", scope.updated_at.to_string()),
    ]
}

fn row(scope: &Arc<Scope>) -> [String; 4] {
    [scope.name.to_string(), scope.resource_server.to_string(), permissions(scope), scope.description.clone()]
}
