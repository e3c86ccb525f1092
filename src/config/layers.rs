//! Layers of settings: the defaults, over them a file, over that the environment. The serialised defaults are the only list of what can be
//! set and of which type it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Table, Value};

use super::error::{ConfigError, Origin, Problem};
use super::file::ConfigFile;

/// What the variables that are settings begin with.
const PREFIX: &str = "CREDGATE_";

/// Variables of the commands, with the same beginning: no settings.
const OF_THE_COMMANDS: [&str; 3] = ["CREDGATE_CONFIG", "CREDGATE_CLIENT_SECRET", "CREDGATE_CLIENT_SECRET_FILE"];

/// Likeness (Jaro-Winkler, 0 to 1) from which a name is offered for an unknown one.
const NEAR: f64 = 0.8;

/// Where each setting was made that is not a default, by its key.
pub(super) type Origins = BTreeMap<String, Origin>;

/// The settings as they pile up.
pub(super) struct Layers {
    defaults: Table,
    effective: Table,
    origins: Origins,
    problems: Vec<Problem>,
}

impl Layers {
    /// The defaults alone.
    pub(super) fn new() -> Self {
        // Cannot fail: strings, numbers and booleans only. The tests would find no setting at all.
        let defaults = Table::try_from(ConfigFile::default()).unwrap_or_default();
        Self { effective: defaults.clone(), defaults, origins: Origins::new(), problems: Vec::new() }
    }

    /// Lays the settings of a file over what there is.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table = DeTable::parse(text).map_err(|error| {
            let (line, column) = position(text, error.span().map_or(text.len(), |span| span.start));
            ConfigError::Syntax { path: path.into(), line, column, message: error.message().into() }
        })?;
        let path: Arc<Path> = path.into();
        let origin = |span: Range<usize>| Origin::File { path: path.clone(), line: position(text, span.start).0 };
        self.add_table(&[], table.get_ref(), &origin);
        Ok(())
    }

    fn add_table(&mut self, parents: &[&str], table: &DeTable<'_>, origin: &dyn Fn(Range<usize>) -> Origin) {
        for (key, value) in table {
            let path = [parents, &[key.get_ref()]].concat();
            match (lookup(&self.defaults, &path), value.get_ref()) {
                (None, _) => {
                    let message = unknown_key(&self.defaults, &path);
                    self.report(&path, origin(key.span()), message);
                }
                (Some(Value::Table(_)), DeValue::Table(section)) => self.add_table(&path, section, origin),
                // Of the value's own error none is left but a number that no setting could take.
                (Some(_), _) => match Value::deserialize(ValueDeserializer::from(value.clone())) {
                    Ok(value) => self.set(&path, value, origin(key.span())),
                    Err(error) => self.report(&path, origin(key.span()), format!("`{}`: {}", path.join("."), error.message())),
                },
            }
        }
    }

    /// Lays the settings of environment variables over what there is.
    pub(super) fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let settings: BTreeMap<String, Vec<String>> = leaves(&self.defaults).into_iter().map(|path| (variable(&path), path)).collect();
        for (name, text) in variables {
            if !name.starts_with(PREFIX) || OF_THE_COMMANDS.contains(&name.as_str()) {
                continue;
            }
            let origin = Origin::Variable(name.clone());
            let Some(path) = settings.get(&name) else {
                let message = unknown_variable(&name, settings.keys().map(String::as_str));
                self.report(&[], origin, message);
                continue;
            };
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            match lookup(&self.defaults, &path).map(|default| from_text(default, &text)) {
                Some(Ok(value)) => self.set(&path, value, origin),
                Some(Err(expected)) => self.report(&path, origin, format!("`{}` must be {expected}", path.join("."))),
                None => {}
            }
        }
    }

    /// The settings in force, where they were made and what was wrong so far. A setting that was wrong is at its default.
    pub(super) fn finish(mut self) -> (ConfigFile, Origins, Vec<Problem>) {
        let file = Value::Table(self.effective).try_into().unwrap_or_else(|error: toml::de::Error| {
            // Each setting was tried alone, so this is for settings that come to depend on one another.
            self.problems.push(Problem { origin: Origin::Default, key: String::new(), message: error.message().into() });
            ConfigFile::default()
        });
        (file, self.origins, self.problems)
    }

    fn set(&mut self, path: &[&str], value: Value, origin: Origin) {
        let key = path.join(".");
        let Some(default) = lookup(&self.defaults, path) else { return };
        if !default.same_type(&value) {
            let message = format!("`{key}` must be {}, not {}", type_name(default), type_name(&value));
            return self.report(path, origin, message);
        }
        // Everything else is a default, so what is refused is this value.
        let mut trial = self.defaults.clone();
        replace(&mut trial, path, value.clone());
        match Value::Table(trial).try_into::<ConfigFile>() {
            Ok(_) => {
                replace(&mut self.effective, path, value);
                self.origins.insert(key, origin);
            }
            Err(error) => {
                let message = format!("`{key}`: {}; the default is {default}", plain(error.message()));
                self.report(path, origin, message);
            }
        }
    }

    fn report(&mut self, path: &[&str], origin: Origin, message: String) {
        self.problems.push(Problem { origin, key: path.join("."), message });
    }
}

fn lookup<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = table.get(*first)?;
    if rest.is_empty() { Some(value) } else { lookup(value.as_table()?, rest) }
}

fn replace(table: &mut Table, path: &[&str], value: Value) {
    match path {
        [last] => drop(table.insert((*last).into(), value)),
        [first, rest @ ..] => {
            if let Some(Value::Table(section)) = table.get_mut(*first) {
                replace(section, rest, value);
            }
        }
        [] => {}
    }
}

/// The paths of all settings.
pub(super) fn leaves(table: &Table) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(section) => paths.extend(leaves(section).into_iter().map(|path| [vec![key.clone()], path].concat())),
            _ => paths.push(vec![key.clone()]),
        }
    }
    paths
}

/// The settings in which two configurations differ.
pub(super) fn differences(one: &ConfigFile, other: &ConfigFile) -> Vec<String> {
    let (one, other) = (table_of(one), table_of(other));
    let differs = |path: &Vec<String>| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        lookup(&one, &path) != lookup(&other, &path)
    };
    leaves(&one).into_iter().filter(differs).map(|path| path.join(".")).collect()
}

/// One configuration with some settings of another.
pub(super) fn merged(one: &ConfigFile, other: &ConfigFile, settings: &[String]) -> ConfigFile {
    let (mut table, other) = (table_of(one), table_of(other));
    for setting in settings {
        let path: Vec<&str> = setting.split('.').collect();
        if let Some(value) = lookup(&other, &path) {
            replace(&mut table, &path, value.clone());
        }
    }
    // Cannot fail: each value came from such a configuration.
    table.try_into().unwrap_or_else(|_| one.clone())
}

fn table_of(file: &ConfigFile) -> Table {
    Table::try_from(file).unwrap_or_default()
}

/// The environment variable of a setting.
pub(super) fn variable(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("__").replace('-', "_").to_ascii_uppercase())
}

/// Reads the text of a variable as a value of the type of `default`; the fault is what it must be.
fn from_text(default: &Value, text: &str) -> Result<Value, &'static str> {
    let parse = |text: &str| Value::deserialize(ValueDeserializer::parse(text.trim()).ok()?).ok();
    match default {
        Value::String(_) => Ok(Value::String(text.into())),
        Value::Array(_) => Ok(parse(text).filter(Value::is_array).unwrap_or_else(|| {
            Value::Array(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| Value::String(item.into())).collect())
        })),
        _ => parse(text).ok_or_else(|| type_name(default)),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text in quotes",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list of texts",
        Value::Table(_) => "a section",
    }
}

/// A message of serde in words of the trade, not of Rust.
fn plain(message: &str) -> String {
    let ranges = [
        ("expected u16", "expected 0 to 65535"),
        ("expected u32", "expected 0 to 4294967295"),
        ("expected u64", "expected 0 or more"),
        ("expected usize", "expected 0 or more"),
        ("invalid socket address syntax", "each must be an IP address and a port, as 192.0.2.1:8883 or [::]:8883"),
    ];
    ranges.into_iter().fold(message.trim_end().to_owned(), |text, (from, to)| text.replace(from, to))
}

fn unknown_key(defaults: &Table, path: &[&str]) -> String {
    let key = path.join(".");
    let (name, parents) = path.split_last().map_or(("", path), |(name, parents)| (*name, parents));
    let section = if parents.is_empty() { Some(defaults) } else { lookup(defaults, parents).and_then(Value::as_table) };
    let siblings: Vec<&str> = section.into_iter().flat_map(Table::keys).map(String::as_str).collect();
    if let Some(near) = nearest(name, siblings.iter().copied()) {
        return format!("unknown key `{key}`; did you mean `{near}`?");
    }
    // A setting under the wrong section's header.
    if let Some(elsewhere) = leaves(defaults).iter().find(|leaf| leaf.last().is_some_and(|last| last == name)) {
        return format!("unknown key `{key}`; did you mean `{}`?", elsewhere.join("."));
    }
    format!("unknown key `{key}`; valid here: {}", siblings.join(", "))
}

fn unknown_variable<'a>(name: &str, settings: impl Iterator<Item = &'a str>) -> String {
    if let Some(near) = nearest(name, settings) {
        return format!("sets nothing; did you mean {near}?");
    }
    // Kubernetes gives every container the addresses of all services, under the services' names.
    let of_kubernetes = ["CREDGATE_PORT", "CREDGATE_SERVICE_"].iter().any(|start| name.starts_with(start));
    let hint =
        if of_kubernetes { "; if Kubernetes sets it for a service called credgate, set enableServiceLinks: false for the pod" } else { "" };
    format!("sets nothing; the variable of a setting is {PREFIX}SECTION__KEY, as CREDGATE_TOKEN__MAX_LIFETIME for token.max-lifetime{hint}")
}

/// The candidate that was probably meant, if one is like enough.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The common beginning of all variables says nothing of their likeness.
    let core = |text: &'a str| text.strip_prefix(PREFIX).unwrap_or(text);
    let wanted = name.strip_prefix(PREFIX).unwrap_or(name);
    candidates
        .map(|candidate| (strsim::jaro_winkler(wanted, core(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Line and column, from 1, of a byte.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let (lines, last) = before.rsplit_once('\n').map_or((0, before), |(lines, last)| (lines.split('\n').count(), last));
    (lines.saturating_add(1), last.chars().count().saturating_add(1))
}
