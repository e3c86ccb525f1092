//! `credgate config`.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::connect::{config_file, load_config};
use super::output::Output;
use super::{CliError, Exit, Global};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read the configuration and say whether it is valid, and what in it is worth a second thought
    Check,
    /// Print the configuration in effect, defaults included
    Show {
        /// One setting, such as token.lifetime, or a section [default: all]
        #[arg(value_name = "SETTING")]
        setting: Option<String>,
    },
}

#[derive(Serialize)]
struct Checked {
    valid: bool,
    file: Option<PathBuf>,
    warnings: Vec<Warning>,
}

/// What is valid and yet worth a second thought.
#[derive(Serialize)]
struct Warning {
    code: &'static str,
    message: String,
}

fn warnings(config: &Config) -> Vec<Warning> {
    match config.read_master_key() {
        Ok(Some(_)) => Vec::new(),
        Ok(None) => {
            let message = "signing keys are not sealed on disk: keys.master-key-file is not set, and systemd hands this command no credential \
                           credgate-master-key, as it may hand one to the service; docs/operations.md tells how to give a master key";
            vec![Warning { code: "keys_not_sealed", message: message.to_owned() }]
        }
        Err(error) => {
            vec![Warning { code: error.code(), message: format!("the gateway will not start: the master key cannot be used: {error}") }]
        }
    }
}

fn find<'a>(document: &'a toml::Table, setting: &str) -> Option<&'a toml::Value> {
    let mut parts = setting.split('.');
    let first = document.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// There is no such setting, but there may be one that is nearly so called.
fn unknown(document: &toml::Table, setting: &str) -> CliError {
    let names = document.iter().flat_map(|(name, value)| match value {
        toml::Value::Table(section) => section.keys().map(|key| format!("{name}.{key}")).collect(),
        _ => vec![name.clone()],
    });
    let nearest = names.max_by(|one, other| strsim::jaro_winkler(one, setting).total_cmp(&strsim::jaro_winkler(other, setting)));
    let told = CliError::new(Exit::Data, "not_found", format!("there is no setting {setting}"));
    told.with_help(format!("is {} meant? `credgate config show` has them all", nearest.unwrap_or_default()))
}

pub(super) fn run(command: Command, global: &Global, output: &Output) -> Result<(), CliError> {
    let config = load_config(global)?;
    match command {
        Command::Check => {
            let checked = Checked { valid: true, file: config_file(global), warnings: warnings(&config) };
            for warning in &checked.warnings {
                output.note(&format!("warning: {}", warning.message));
            }
            output.print(&checked, || match &checked.file {
                Some(file) => format!("{}: valid\n", file.display()),
                None => "no configuration file; the defaults are valid\n".to_owned(),
            })
        }
        Command::Show { setting } => {
            let text = config.to_toml();
            // Through the text: what it redacts must not come out here.
            let document: toml::Table =
                text.parse().map_err(|error: toml::de::Error| CliError::caused(Exit::Software, "config_to_toml", &error))?;
            match setting {
                None => output.print(&document, || text),
                Some(setting) => {
                    let value = find(&document, &setting).ok_or_else(|| unknown(&document, &setting))?;
                    output.print(value, || match value {
                        toml::Value::String(text) => format!("{text}\n"),
                        toml::Value::Table(section) => section.to_string(),
                        value => format!("{value}\n"),
                    })
                }
            }
        }
    }
}
