//! `credgate config`.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::connect::{config_file, load_config};
use super::output::Output;
use super::{CliError, Exit, Global};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read the configuration and say whether it is valid
    Check,
    /// Print the configuration in effect, defaults included
    Show,
}

#[derive(Serialize)]
struct Checked {
    valid: bool,
    file: Option<PathBuf>,
}

pub(super) fn run(command: Command, global: &Global, output: &Output) -> Result<(), CliError> {
    let config = load_config(global)?;
    match command {
        Command::Check => {
            let checked = Checked { valid: true, file: config_file(global) };
            output.print(&checked, || match &checked.file {
                Some(file) => format!("{}: valid\n", file.display()),
                None => "no configuration file; the defaults are valid\n".to_owned(),
            })
        }
        Command::Show => {
            let text = config.to_toml();
            // Through the text: what it redacts must not come out here.
            let document: toml::Table =
                text.parse().map_err(|error: toml::de::Error| CliError::caused(Exit::Software, "config_to_toml", &error))?;
            output.print(&document, || text)
        }
    }
}
