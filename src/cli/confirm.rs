//! The question before what cannot be undone.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::table::printable;
use super::{CliError, Exit};

/// Asks the person at the terminal whether to do `what`, such as "remove role pump", and tells what comes of it.
pub(super) fn confirm(what: &str, consequence: &str) -> Result<(), CliError> {
    ask(what, consequence)?;
    judge(&answer().map_err(failed)?)
}

/// The same for a command that takes Ctrl-C itself: `interrupted` is asked now and then.
pub(super) fn confirm_unless(what: &str, consequence: &str, mut interrupted: impl FnMut() -> Result<(), CliError>) -> Result<(), CliError> {
    ask(what, consequence)?;
    let (answered, answers) = sync_channel(1);
    // It ends with the process: nothing can end a wait for a terminal.
    std::thread::spawn(move || {
        // Nobody waits for it after an interrupt.
        let _ = answered.send(answer());
    });
    loop {
        match answers.recv_timeout(Duration::from_millis(50)) {
            Ok(answer) => return judge(&answer.map_err(failed)?),
            Err(RecvTimeoutError::Timeout) => interrupted()?,
            Err(RecvTimeoutError::Disconnected) => return judge(""),
        }
    }
}

fn failed(error: io::Error) -> CliError {
    CliError::new(Exit::Io, "io", "the question could not be asked").because(&error)
}

fn ask(what: &str, consequence: &str) -> Result<(), CliError> {
    // A device may have chosen its name.
    let (what, consequence) = (printable(what), printable(consequence));
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let told = format!("not confirmed, and there is no terminal to ask at: would {what}: {consequence}");
        return Err(CliError::new(Exit::Usage, "not_confirmed", told).with_help("add --yes if it is meant"));
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "About to {what}: {consequence}.\nIs that meant? [y/N] ").and_then(|()| stderr.flush()).map_err(failed)
}

fn answer() -> io::Result<String> {
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        // The end of the input leaves the cursor behind the question.
        let _ = writeln!(io::stderr());
    }
    Ok(answer)
}

fn judge(answer: &str) -> Result<(), CliError> {
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::new(Exit::Usage, "not_confirmed", "nothing was changed")),
    }
}

/// A number of things: `1 secret`, `2 secrets`.
pub(super) fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A name with what people call it, if anything.
pub(super) fn named(name: &str, description: &str) -> String {
    if description.is_empty() { name.to_owned() } else { format!("{name} ({description})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_counted_and_named() {
        assert_eq!((count(1, "key"), count(0, "key"), count(2, "key")), ("1 key".into(), "0 keys".into(), "2 keys".into()));
        assert_eq!((named("dev1", "Pump"), named("dev1", "")), ("dev1 (Pump)".into(), "dev1".into()));
    }
}
