//! `credgate role`.

use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;

use super::CliError;
use super::connect::Gateway;
use super::error::unexpected;
use super::output::Output;
use super::table::{Table, fields};
use crate::admin::{self, Answer, NewRole};
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
    /// List the roles
    List,
}

#[derive(Serialize)]
struct RoleList {
    roles: Vec<Arc<Role>>,
}

pub(super) fn run(command: Command, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Add { name, scope, description } => {
            let new = NewRole { name, scope: scope.iter().flat_map(ScopeSet::iter).cloned().collect(), description };
            match gateway.execute(admin::Command::RoleAdd(new))? {
                Answer::Role(role) => output.print(&role, || fields(&role_fields(&role))),
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
