//! `credgate audit export`: a line that says where the trail begins and ends, and a line for each entry.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::connect::Gateway;
use super::super::output::Output;
use super::super::{CliError, Exit, new_file};
use super::walk::Walk;
use crate::audit::Anchor;

/// The version of the form.
pub(super) const VERSION: u64 = 1;

/// The first line of an export.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// [`VERSION`].
    pub(super) credgate_audit: u64,
    /// Where the trail begins.
    pub(super) anchor: Anchor,
    /// The number of the last entry.
    pub(super) last: u64,
}

pub(super) fn run(file: Option<&Path>, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let walk = Walk::begin(gateway)?;
    let head = Head { credgate_audit: VERSION, anchor: walk.anchor.clone(), last: walk.last };
    let Some(path) = file else {
        return match write(walk, &head, gateway, &mut io::stdout().lock()) {
            // Whoever reads has seen enough.
            Err(Failed::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome.map_err(|failed| failed.into_error("standard output")),
        };
    };
    let file = new_file::create("the file", path, new_file::SPARED)?;
    let mut writer = BufWriter::new(file);
    let written = write(walk, &head, gateway, &mut writer).and_then(|()| Ok(writer.get_ref().sync_all()?));
    if let Err(failed) = written {
        // Half an export is none.
        let _ = std::fs::remove_file(path);
        return Err(failed.into_error(&path.display().to_string()));
    }
    output.note(&format!("entries {} to {} are in {}", head.anchor.link.seq.saturating_add(1), head.last, path.display()));
    Ok(())
}

enum Failed {
    Io(io::Error),
    Other(CliError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failed {
    fn into_error(self, place: &str) -> CliError {
        match self {
            Self::Io(error) => CliError::new(Exit::Io, "io", format!("the trail cannot be written to {place}")).because(&error),
            Self::Other(error) => error,
        }
    }
}

fn write(walk: Walk, head: &Head, gateway: &mut Gateway, writer: &mut dyn Write) -> Result<(), Failed> {
    line(writer, head)?;
    let mut failed = None;
    let walked = walk.each(gateway, |sealed| {
        let sealed = sealed.map_err(|seq| {
            let what = format!("entry {seq} is damaged on disk and cannot be exported");
            CliError::new(Exit::Data, "audit_fault", what).with_help("see `credgate audit verify`; `credgate audit list` shows the others")
        })?;
        line(writer, sealed).map_err(|error| {
            failed = Some(error);
            CliError::new(Exit::Io, "io", "the trail cannot be written")
        })
    });
    if let Some(error) = failed {
        return Err(Failed::Io(error));
    }
    walked.map_err(Failed::Other)?;
    Ok(writer.flush()?)
}

fn line(writer: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(document)?;
    text.push(b'\n');
    writer.write_all(&text)
}
