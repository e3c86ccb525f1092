//! Fleet files: how clients and what they may have are to be, in TOML, JSON or CSV. All that is wrong is told at once, each with its place.

mod csv;
mod fields;
mod from_json;
mod from_toml;
mod records;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CliError, Exit};
use crate::admin::{ApplyRecord, MAX_APPLIED};
use crate::registry::Kind;

/// Bytes of a file that is read.
const MAX_FILE: u64 = 128 << 20;
/// Faults that are kept; more are counted.
const MAX_FAULTS: usize = 1_000;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    file: Arc<str>,
    line: u32,
    column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Option<Place>,
    pub(super) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// What all files say together.
#[derive(Default)]
pub(super) struct Fleet {
    /// How each record is to be, in the order of the files.
    pub(super) records: Vec<ApplyRecord>,
    /// The kinds that the files speak of, be it to say that there are none.
    pub(super) kinds: BTreeSet<Kind>,
    /// What is wrong, the first of it.
    pub(super) faults: Vec<Fault>,
    /// How much is.
    pub(super) faulty: usize,
    files: Vec<Arc<str>>,
    /// Where each record is, by kind and name.
    places: HashMap<(Kind, Box<str>), (u32, u32, u32)>,
}

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FleetFormat {
    /// Tables of records
    Toml,
    /// The same members in JSON
    Json,
    /// Clients, one a line
    Csv,
}

impl FleetFormat {
    /// That of a file by its name.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

impl Fleet {
    /// Reads one more file; `-` is standard input. `tick` is told how many records there are, now and then, and may end it.
    ///
    /// # Errors
    /// If the file cannot be read. What is wrong in it is no error but a fault.
    pub(super) fn read(
        &mut self,
        path: &Path,
        format: Option<FleetFormat>,
        tick: &mut dyn FnMut(usize) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let is_stdin = path == Path::new("-");
        let Some(format) = format.or_else(|| FleetFormat::of(path)) else {
            let told = format!("the form of {} is not known by its name", path.display());
            return Err(CliError::new(Exit::Usage, "usage", told).with_help("say it with --format toml, json or csv"));
        };
        let text = text_of(path, is_stdin)?;
        let file: Arc<str> = if is_stdin { "-".into() } else { path.display().to_string().into() };
        let directory = if is_stdin { PathBuf::new() } else { path.parent().map(Path::to_path_buf).unwrap_or_default() };
        let index = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(file.clone());
        let mut source = Source { fleet: self, file, index, directory, lines: line_starts(&text), text: &text, tick, ended: None };
        match format {
            FleetFormat::Toml => from_toml::read(&mut source),
            FleetFormat::Json => from_json::read(&mut source),
            FleetFormat::Csv => csv::read(&mut source),
        }
        source.ended.map_or(Ok(()), Err)
    }

    /// Where a record is.
    pub(super) fn place(&self, kind: Kind, name: &str) -> Option<Place> {
        let (file, line, column) = *self.places.get(&(kind, name.into()))?;
        Some(Place { file: self.files.get(usize::try_from(file).ok()?)?.clone(), line, column })
    }

    fn tell(&mut self, fault: Fault) {
        self.faulty = self.faulty.saturating_add(1);
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }
}

fn text_of(path: &Path, is_stdin: bool) -> Result<String, CliError> {
    let unreadable =
        |error: std::io::Error| CliError::new(Exit::NoInput, "fleet_file", format!("{} cannot be read", path.display())).because(&error);
    let mut bytes = Vec::new();
    let limit = MAX_FILE.saturating_add(1);
    if is_stdin {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        std::fs::File::open(path).map_err(unreadable)?.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if u64::try_from(bytes.len()).map_or(true, |length| length > MAX_FILE) {
        let told = format!("{} has more than {} MiB", path.display(), MAX_FILE >> 20);
        return Err(CliError::new(Exit::Data, "fleet_file", told).with_help("divide it, and name all parts with -f"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        CliError::new(Exit::Data, "fleet_file", format!("{}:{line}: the file is not UTF-8", path.display()))
    })
}

/// The byte at which each line begins.
fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at.saturating_add(1))).collect()
}

/// A file while it is read.
struct Source<'a> {
    fleet: &'a mut Fleet,
    file: Arc<str>,
    index: u32,
    /// What the names of other files in it are relative to.
    directory: PathBuf,
    lines: Vec<usize>,
    text: &'a str,
    tick: &'a mut dyn FnMut(usize) -> Result<(), CliError>,
    /// Why the rest is not read.
    ended: Option<CliError>,
}

impl Source<'_> {
    /// The place of a byte.
    fn place(&self, at: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or_default();
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count()).saturating_add(1);
        let bounded = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Place { file: self.file.clone(), line: bounded(line), column: bounded(column) }
    }

    fn fault(&mut self, at: usize, message: impl Into<String>) {
        let fault = Fault { place: Some(self.place(at)), message: message.into() };
        self.fleet.tell(fault);
    }

    /// Takes a record; `false` if no more are read.
    fn keep(&mut self, kind: Kind, name: &str, at: usize, record: Option<ApplyRecord>) -> bool {
        let place = self.place(at);
        match self.fleet.places.entry((kind, name.into())) {
            Entry::Vacant(vacant) => drop(vacant.insert((self.index, place.line, place.column))),
            Entry::Occupied(_) => {
                let first = self.fleet.place(kind, name).map(|first| format!(": first at {first}")).unwrap_or_default();
                self.fault(at, format!("{} {name} is there twice{first}", kind.as_str()));
            }
        }
        self.fleet.records.extend(record);
        let count = self.fleet.places.len();
        if count > MAX_APPLIED {
            self.fault(at, format!("there are more than {MAX_APPLIED} records: divide them, and apply the parts one by one"));
            return false;
        }
        if let Err(error) = (self.tick)(count) {
            self.ended = Some(error);
        }
        self.ended.is_none()
    }
}

#[cfg(test)]
mod tests;
