//! The question before what cannot be undone.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::{CliError, Exit};

/// Asks the person at the terminal.
pub(super) fn confirm(question: &str) -> Result<(), CliError> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::new(Exit::Usage, "not_confirmed", "this cannot be undone and there is no terminal to ask at")
            .with_help("add --yes if it is meant"));
    }
    let failed = |error: io::Error| CliError::new(Exit::Io, "io", "the question could not be asked").because(&error);
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::new(Exit::Usage, "not_confirmed", "nothing was changed")),
    }
}
