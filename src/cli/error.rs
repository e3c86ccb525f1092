//! Errors that several commands tell.

use super::{CliError, Exit};

/// The gateway answered something else than what was asked.
pub(super) fn unexpected(answer: &crate::admin::Answer) -> CliError {
    CliError::new(Exit::Software, "unexpected_answer", format!("the gateway gave an answer of the wrong kind: {answer:?}"))
        .with_help("use the credgate program that the gateway itself was started from; restart the gateway after an upgrade")
}

/// Refuses an edit without a change.
pub(super) fn something(is_nothing: bool, command: &str) -> Result<(), CliError> {
    if !is_nothing {
        return Ok(());
    }
    Err(CliError::new(Exit::Usage, "usage", "nothing to change was named").with_help(format!("see `credgate {command} --help`")))
}
