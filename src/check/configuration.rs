//! The configuration itself.

use super::{Finding, Findings, World};
use crate::config::ConfigError;

pub(super) fn config(world: &World<'_>) -> Findings {
    let advice = "correct it; config/credgate.toml shows every setting, and `credgate config check` reads it again";
    match world.loaded() {
        Ok(_) => Ok(vec![Finding::ok(match world.config_file() {
            Some(file) => format!("{} is valid", file.display()),
            None => "there is no configuration file; the defaults are in force".to_owned(),
        })]),
        Err(ConfigError::Invalid { problems }) => Ok(problems.iter().map(|problem| Finding::error(problem.to_string(), advice)).collect()),
        Err(error) => Err(Finding::error(error.to_string(), advice)),
    }
}
