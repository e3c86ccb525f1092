//! Where output goes: results to stdout, everything else to stderr.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write as _};

use serde::Serialize;
use zeroize::Zeroizing;

use super::{CliError, Exit};

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The printer of results.
pub(super) struct Output {
    format: Format,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints a result, as `document` or as the text for people. A reader that has seen enough (`| head`) is no error.
    pub(super) fn print(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), CliError> {
        match self.deliver(document, text) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome.map_err(|error| CliError::new(Exit::Io, "io", "the result cannot be written to stdout").because(&error)),
        }
    }

    /// Prints a result that must arrive, such as a secret that nothing can show again.
    pub(super) fn deliver(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        let bytes = match self.format {
            Format::Table => Zeroizing::new(text().into_bytes()),
            Format::Json => json(document)?,
        };
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()
    }

    /// Tells people something beside the result.
    pub(super) fn note(&self, text: &str) {
        if self.format == Format::Table {
            // Nobody is left to be told if stderr is gone.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }
}

fn json(document: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(16_384));
    serde_json::to_writer_pretty(&mut *bytes, document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The format that a command line asks for that could not be parsed as a whole.
pub(super) fn asked_for(arguments: &[OsString]) -> Format {
    let pairs = arguments.windows(2).any(|pair| matches!(pair, [option, value] if option == "--output" && value == "json"));
    if pairs || arguments.iter().any(|argument| argument == "--output=json") { Format::Json } else { Format::Table }
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: String,
    causes: &'a [String],
    help: Option<&'a str>,
    exit_code: u8,
}

/// Prints an error to stderr.
pub(super) fn print_error(format: Format, error: &CliError) {
    let text = match format {
        Format::Table => error_text(error),
        Format::Json => error_json(error),
    };
    // Nobody is left to be told if stderr is gone.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn error_text(error: &CliError) -> String {
    let mut text = format!("credgate: error: {error}\n");
    for cause in error.causes() {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    if let Some(help) = error.help() {
        text.push_str(&format!("help: {help}\n"));
    }
    text
}

fn error_json(error: &CliError) -> String {
    let (code, causes, help) = (error.code(), error.causes(), error.help());
    let document = ErrorDocument { error: ErrorBody { code, message: error.to_string(), causes, help, exit_code: error.exit().code() } };
    serde_json::to_string(&document).map_or_else(|_| error_text(error), |json| format!("{json}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> CliError {
        CliError::new(Exit::Data, "not_found", "there is no client x").because(&io::Error::other("why")).with_help("look")
    }

    #[test]
    fn errors_tell_what_why_and_what_next() {
        assert_eq!(error_text(&error()), "credgate: error: there is no client x\n  caused by: why\nhelp: look\n");
        let json: serde_json::Value = serde_json::from_str(&error_json(&error())).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "error": {
                "code": "not_found", "message": "there is no client x", "causes": ["why"], "help": "look", "exit_code": 65,
            }})
        );
    }

    #[test]
    fn json_is_recognised_on_a_wrong_command_line() {
        let format = |line: &str| asked_for(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(format("credgate nonsense --output json"), Format::Json);
        assert_eq!(format("credgate --output=json nonsense"), Format::Json);
        assert_eq!(format("credgate nonsense json --output"), Format::Table);
    }
}
