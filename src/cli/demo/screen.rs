//! What the demo prints: numbered steps for people, or one JSON object.

use std::io::{self, IsTerminal as _, Write as _};

use crate::cli::{CliError, Exit};

/// Columns of the names of fields.
const NAME_WIDTH: usize = 16;

/// Standard output.
pub(super) struct Screen {
    json: bool,
    bold: bool,
    steps: u32,
}

impl Screen {
    /// Bold type and colour only on a terminal, unless <https://no-color.org> asks for none.
    pub(super) fn new(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, bold: io::stdout().is_terminal() && !plain, steps: 0 }
    }

    /// A line of its own.
    pub(super) fn title(&self, text: &str) -> Result<(), CliError> {
        self.line(&format!("\n{}", self.styled("1", text)))
    }

    /// The next numbered step.
    pub(super) fn step(&mut self, text: &str) -> Result<(), CliError> {
        self.steps = self.steps.saturating_add(1);
        self.line(&format!("\n{}", self.styled("1", &format!("{}. {text}", self.steps))))
    }

    /// A named value below a step; a value of several lines stays in its column.
    pub(super) fn field(&self, name: &str, value: &str) -> Result<(), CliError> {
        let indent = " ".repeat(NAME_WIDTH.saturating_add(3));
        self.line(&format!("   {name:NAME_WIDTH$}{}", value.replace('\n', &format!("\n{indent}"))))
    }

    /// A remark below a step.
    pub(super) fn note(&self, text: &str) -> Result<(), CliError> {
        self.line(&format!("   {text}"))
    }

    /// A check that passed.
    pub(super) fn success(&self, text: &str) -> Result<(), CliError> {
        self.line(&format!("   {}", self.styled("1;32", text)))
    }

    /// A line to copy: nothing before it and nothing after it.
    pub(super) fn verbatim(&self, text: &str) -> Result<(), CliError> {
        self.line(&format!("\n{text}"))
    }

    /// The object that is printed instead of all the rest.
    pub(super) fn result(&self, object: &serde_json::Value) -> Result<(), CliError> {
        if self.json { print(&object.to_string()) } else { Ok(()) }
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.bold { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn line(&self, text: &str) -> Result<(), CliError> {
        if self.json { Ok(()) } else { print(text) }
    }
}

fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|error| CliError::new(Exit::Io, "demo", "standard output cannot be written").because(&error))
}

/// `text` as one word for sh.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:,@%+=".contains(&byte));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sh_reads_the_same_word() {
        for text in ["", "/tmp/a-b.c", "a b", "it's", "$(x)", "a\"b\\c", "`x`", "*"] {
            let output = std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(text))).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
            let nested = format!("printf %s \"$(printf %s {})\"", quoted(text));
            let output = std::process::Command::new("sh").arg("-c").arg(nested).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
