//! `credgate key`.

use clap::Subcommand;
use serde::Serialize;

use super::CliError;
use super::connect::Gateway;
use super::error::unexpected;
use super::output::Output;
use super::table::Table;
use crate::admin::{self, Answer, KeyDocument};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the signing keys
    List,
}

#[derive(Serialize)]
struct KeyList {
    keys: Vec<KeyDocument>,
}

pub(super) fn run(command: Command, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let Command::List = command;
    let keys = match gateway.execute(admin::Command::KeyList)? {
        Answer::Keys(keys) => keys,
        other => return Err(unexpected(&other)),
    };
    if keys.is_empty() {
        output.note("no keys yet: the gateway makes one when it starts, as does credgate init");
    }
    let list = KeyList { keys };
    output.print(&list, || table(&list.keys))
}

fn table(keys: &[KeyDocument]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["KEY ID", "ALGORITHM", "STATE", "CREATED", "FILE"]);
    for key in keys {
        let state = if key.active { "signs" } else { "published" };
        table.row([key.kid.clone(), key.alg.clone(), state.to_owned(), key.created_at.to_string(), key.path.display().to_string()]);
    }
    table.render()
}
