//! `credgate export`: every record as a line of JSON.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::backup::fetch;
use super::connect::Gateway;
use super::output::Output;
use super::{CliError, Exit, new_file};
use crate::admin::BackupPurpose;
use crate::registry::Backup;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A new file, of mode 0600 [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Leave out the digests of secrets and of enrolment tokens: whoever has the latter can register devices
    #[arg(long)]
    without_credentials: bool,
    /// Print digests on a terminal, too
    #[arg(long, conflicts_with_all = ["without_credentials", "file"])]
    show_credentials: bool,
}

pub(super) fn run(args: Args, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let credentials = !args.without_credentials;
    if credentials && args.file.is_none() && !args.show_credentials && io::stdout().is_terminal() {
        let what = "the export holds the digests of enrolment tokens, by which whoever reads them can register devices";
        return Err(CliError::new(Exit::Usage, "shows_credentials", what)
            .with_help("name a file, leave them out with --without-credentials, or have them printed with --show-credentials"));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    fetch(gateway, BackupPurpose::Export, None, |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })?;
    let lines = Backup::parse(Path::new("from the gateway"), &bytes)?.export(credentials)?;
    drop(bytes);
    let mut text = Zeroizing::new(Vec::new());
    for line in &lines {
        serde_json::to_writer(&mut *text, line).map_err(|error| CliError::caused(Exit::Software, "export", &error))?;
        text.push(b'\n');
    }
    match &args.file {
        None => output.stream(|results: &mut dyn Write| results.write_all(&text)),
        Some(path) => {
            new_file::write("the export", path, &text, "no file is overwritten: name a new one, or remove the old one first")?;
            output.note(&format!("{} records are in {}", lines.len().saturating_sub(1), path.display()));
            Ok(())
        }
    }
}
