//! Where output goes: results to stdout, everything else to stderr.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use serde::Serialize;
use zeroize::Zeroizing;

use super::table::{Rendered, Table, fields_within, wrapped};
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
    /// Of the terminal that results go to, if they go to one.
    width: Option<usize>,
    results: RefCell<Box<dyn Write>>,
}

impl Output {
    /// Prints to stdout.
    pub(super) fn new(format: Format) -> Self {
        Self { width: width_of(io::stdout()), ..Self::to(format, Box::new(io::stdout())) }
    }

    /// Prints to `results`.
    pub(super) fn to(format: Format, results: Box<dyn Write>) -> Self {
        Self { format, width: None, results: RefCell::new(results) }
    }

    /// What is printed.
    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Prints one record, as `document` or field by field.
    pub(super) fn show(&self, document: &impl Serialize, fields: impl FnOnce() -> Vec<(&'static str, String)>) -> Result<(), CliError> {
        self.print(document, || fields_within(&fields(), self.width))
    }

    /// Prints a table for people.
    pub(super) fn print_table<const COLUMNS: usize>(&self, table: &Table<COLUMNS>) -> Result<(), CliError> {
        let Rendered { text, left_out } = table.render_within(self.width);
        self.stream(|results| results.write_all(text.as_bytes()))?;
        self.note_left_out(&left_out);
        Ok(())
    }

    fn note_left_out(&self, headings: &[&str]) {
        if !headings.is_empty() {
            self.note(&format!("Not shown, for want of room: {}. A wider terminal or --output json shows them.", headings.join(", ")));
        }
    }

    /// Prints a list that came as a whole, as `document` or as a table.
    pub(super) fn list<const COLUMNS: usize>(
        &self,
        document: &impl Serialize,
        table: impl FnOnce() -> Table<COLUMNS>,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Json => self.print(document, String::new),
            Format::Table => {
                let table = table();
                if table.is_empty() { Ok(()) } else { self.print_table(&table) }
            }
        }
    }

    /// Prints a result of several parts, as `document` or as what `write` composes for people.
    pub(super) fn compose(&self, document: &impl Serialize, write: impl FnOnce(&mut Text)) -> Result<(), CliError> {
        let mut text = Text { width: self.width, text: String::new(), left_out: Vec::new() };
        if self.format == Format::Table {
            write(&mut text);
        }
        let Text { text, left_out, .. } = text;
        self.print(document, || text)?;
        self.note_left_out(&left_out);
        Ok(())
    }

    /// Prints what `write` writes.
    pub(super) fn stream(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
        let mut results = self.results.borrow_mut();
        printed(write(&mut **results).and_then(|()| results.flush()))
    }

    /// Prints a result, as `document` or as the text for people. A reader that has seen enough (`| head`) is no error.
    pub(super) fn print(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), CliError> {
        printed(self.deliver(document, text))
    }

    /// Prints a result that must arrive, such as a secret that nothing can show again.
    pub(super) fn deliver(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        let bytes = match self.format {
            Format::Table => Zeroizing::new(text().into_bytes()),
            Format::Json => json(document)?,
        };
        let mut results = self.results.borrow_mut();
        results.write_all(&bytes)?;
        results.flush()
    }

    /// Prints one of many results at once: a document on one line, or a line for people.
    pub(super) fn line(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
        let bytes = match self.format {
            Format::Table => text().into_bytes(),
            Format::Json => {
                let mut bytes = serde_json::to_vec(document)?;
                bytes.push(b'\n');
                bytes
            }
        };
        let mut results = self.results.borrow_mut();
        results.write_all(&bytes)?;
        results.flush()
    }

    /// Tells people something beside the result.
    pub(super) fn note(&self, text: &str) {
        if self.format == Format::Table {
            // Nobody is left to be told if stderr is gone.
            let _ = writeln!(io::stderr().lock(), "{}", wrapped(text, width_of(io::stderr()).unwrap_or(usize::MAX)).join("\n"));
        }
    }
}

/// The width of the terminal that a stream goes to, if it goes to one.
fn width_of(stream: impl AsFd) -> Option<usize> {
    rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// Text for people, of several parts, that fits the terminal.
pub(super) struct Text {
    width: Option<usize>,
    text: String,
    left_out: Vec<&'static str>,
}

impl Text {
    /// Adds a line.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(&wrapped(line, self.width.unwrap_or(usize::MAX)).join("\n"));
        self.text.push('\n');
    }

    /// Adds a record.
    pub(super) fn fields(&mut self, fields: &[(&'static str, String)]) {
        self.text.push_str(&fields_within(fields, self.width));
    }

    /// Adds a table.
    pub(super) fn table<const COLUMNS: usize>(&mut self, table: &Table<COLUMNS>) {
        let Rendered { text, left_out } = table.render_within(self.width);
        self.text.push_str(&text);
        self.left_out.extend(left_out);
    }
}

/// A reader that has seen enough is no error.
fn printed(outcome: io::Result<()>) -> Result<(), CliError> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(|error| CliError::new(Exit::Io, "io", "the result cannot be written to stdout").because(&error)),
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
        Format::Table => error.report(),
        Format::Json => error_json(error),
    };
    // Nobody is left to be told if stderr is gone.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn error_json(error: &CliError) -> String {
    let (code, causes, help) = (error.code(), error.causes(), error.help());
    let document = ErrorDocument { error: ErrorBody { code, message: error.to_string(), causes, help, exit_code: error.exit().code() } };
    serde_json::to_string(&document).map_or_else(|_| error.report(), |json| format!("{json}\n"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::rc::Rc;

    use super::*;

    /// Keeps what is printed.
    #[derive(Clone, Default)]
    pub(in crate::cli) struct Printed(Rc<RefCell<Vec<u8>>>);

    impl Printed {
        pub(in crate::cli) fn output(&self, format: Format) -> Output {
            Output::to(format, Box::new(self.clone()))
        }

        pub(in crate::cli) fn take(&self) -> String {
            String::from_utf8(self.0.take()).unwrap()
        }

        pub(in crate::cli) fn json(&self) -> serde_json::Value {
            serde_json::from_str(&self.take()).unwrap()
        }
    }

    impl Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Takes nothing.
    pub(in crate::cli) struct Failing(pub(in crate::cli) ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error_and_a_full_disk_is() {
        let print = |kind| Output::to(Format::Json, Box::new(Failing(kind))).print(&1, String::new);
        assert!(print(ErrorKind::BrokenPipe).is_ok());
        assert_eq!(print(ErrorKind::StorageFull).unwrap_err().exit(), Exit::Io);
    }

    fn error() -> CliError {
        CliError::new(Exit::Data, "not_found", "there is no client x").because(&io::Error::other("why")).with_help("look")
    }

    #[test]
    fn errors_tell_what_why_and_what_next() {
        assert_eq!(error().report(), "credgate: error: there is no client x\n  caused by: why\nhelp: look\n");
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
