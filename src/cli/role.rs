//! `credgate role`.

use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;

use super::confirm::confirm;
use super::connect::Gateway;
use super::error::unexpected;
use super::output::Output;
use super::policy::something;
use super::table::{Table, fields};
use super::{CliError, grants};
use crate::admin::{self, Answer, NewRole, RoleChanges};
use crate::oauth::{RoleName, ScopeSet};
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
    /// List the roles
    List,
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

#[derive(Serialize)]
struct RoleList {
    roles: Vec<Arc<Role>>,
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
                confirm(&format!("Remove role {name} for good?"))?;
            }
            match gateway.execute(admin::Command::RoleRemove { name })? {
                Answer::Role(role) => output.print(&role, || format!("role {} was removed\n", role.name)),
                other => Err(unexpected(&other)),
            }
        }
        Command::List => {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                match gateway.execute(admin::Command::RoleList { after })? {
                    Answer::Roles { roles, more } => {
                        after = roles.last().map(|role| role.name.clone());
                        all.extend(roles);
                        if !more || after.is_none() {
                            break;
                        }
                    }
                    other => return Err(unexpected(&other)),
                }
            }
            if all.is_empty() {
                output.note("no roles yet: credgate role add");
            }
            let list = RoleList { roles: all };
            output.print(&list, || role_table(&list.roles))
        }
    }
}

fn show(answer: Answer, output: &Output) -> Result<(), CliError> {
    match answer {
        Answer::Role(role) => output.print(&role, || fields(&role_fields(&role))),
        other => Err(unexpected(&other)),
    }
}

fn role_fields(role: &Role) -> Vec<(&'static str, String)> {
    vec![
        ("Name", role.name.to_string()),
        ("Scope", role.scope.to_string()),
        ("Description", role.description.clone()),
        ("Created", role.created_at.to_string()),
    ]
}

fn role_table(roles: &[Arc<Role>]) -> String {
    if roles.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["NAME", "SCOPE", "DESCRIPTION"]);
    for role in roles {
        table.row([role.name.to_string(), role.scope.to_string(), role.description.clone()]);
    }
    table.render()
}
