//! `credgate role`.

use std::sync::Arc;

use clap::Subcommand;

use super::confirm::{confirm, count, named};
use super::connect::Gateway;
use super::error::{something, unexpected};
use super::output::Output;
use super::pages::{self, Page};
use super::table::Table;
use super::{CliError, grants};
use crate::admin::{self, Answer, NewRole, RoleChanges, RoleQuery};
use crate::oauth::{RoleName, ScopeSet, ScopeToken};
use crate::policy::Role;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Define a role
    Add {
        /// Its name
        name: RoleName,
        /// Scope it grants; repeat it, or separate scopes with spaces
        #[arg(long, required = true)]
        scope: Vec<ScopeSet>,
        /// For people
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        description: String,
    },
    /// Change a role; what is not named stays
    Edit {
        /// The role
        name: RoleName,
        /// Scope it grants, in place of those before; may be repeated
        #[arg(long)]
        scope: Vec<ScopeSet>,
        /// For people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// List the roles, by name
    List(List),
    /// Show one role
    Show {
        /// The role
        name: RoleName,
    },
    /// Remove a role that no client has
    Remove {
        /// The role
        name: RoleName,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Default, clap::Args)]
pub(super) struct List {
    /// Only those that grant this scope
    #[arg(long)]
    scope: Option<ScopeToken>,
    /// Only those whose name comes after this one
    #[arg(long, value_name = "NAME")]
    after: Option<RoleName>,
    /// At most so many [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

pub(super) fn run(command: Command, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Add { name, scope, description } => {
            let new = NewRole { name, scope: scope.iter().flat_map(ScopeSet::iter).cloned().collect(), description };
            show(gateway.execute(admin::Command::RoleAdd(new))?, output)
        }
        Command::Show { name } => show(gateway.execute(admin::Command::RoleShow { name })?, output),
        Command::Edit { name, scope, description } => {
            let changes = RoleChanges { scope: grants::scopes(&scope), description };
            something(changes == RoleChanges::default(), "role edit")?;
            show(gateway.execute(admin::Command::RoleEdit { name, changes })?, output)
        }
        Command::Remove { name, yes } => {
            if !yes {
                match gateway.execute(admin::Command::RoleShow { name: name.clone() })? {
                    Answer::Role(role) => confirm(
                        &format!("remove role {}", named(name.as_str(), &role.description)),
                        &format!(
                            "it grants {}; it goes only if no client and no enrolment template has it",
                            count(role.scope.len(), "scope")
                        ),
                    )?,
                    other => return Err(unexpected(&other)),
                }
            }
            match gateway.execute(admin::Command::RoleRemove { name })? {
                Answer::Role(role) => output.print(&role, || format!("role {} was removed\n", role.name)),
                other => Err(unexpected(&other)),
            }
        }
        Command::List(list) => list_all(list, gateway, output),
    }
}

fn list_all(List { scope, after, limit }: List, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let empty = if scope.is_none() && after.is_none() { "no roles yet: credgate role add" } else { "no role is like that" };
    let table = Table::new(["NAME", "SCOPE", "DESCRIPTION"]).yielding(&["SCOPE", "DESCRIPTION"]);
    let list = pages::List { member: "roles", limit, empty, table, row };
    list.print(output, after, |after, limit| {
        match gateway.execute(admin::Command::RoleList(RoleQuery { scope: scope.clone(), after, limit }))? {
            Answer::Roles { roles, more } => Ok(Page { next: roles.last().filter(|_| more).map(|role| role.name.clone()), records: roles }),
            other => Err(unexpected(&other)),
        }
    })
}

fn show(answer: Answer, output: &Output) -> Result<(), CliError> {
    match answer {
        Answer::Role(role) => output.show(&role, || fields(&role)),
        other => Err(unexpected(&other)),
    }
}

fn fields(role: &Role) -> Vec<(&'static str, String)> {
    vec![
        ("Name", role.name.to_string()),
        ("Scope", role.scope.to_string()),
        ("Description", role.description.clone()),
        ("Created", role.created_at.to_string()),
        ("Updated", role.updated_at.to_string()),
    ]
}

fn row(role: &Arc<Role>) -> [String; 3] {
    [role.name.to_string(), role.scope.to_string(), role.description.clone()]
}
