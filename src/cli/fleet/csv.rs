//! Fleet files in CSV (RFC 4180): clients, one a line. The first line names the columns. An empty cell is a member that is not there.

use super::fields::{Item, Member, Node, unknown};
use super::{Source, records};
use crate::registry::Kind;

/// The columns, beside those of attributes.
const COLUMNS: [&str; 18] = [
    "client_id",
    "client_name",
    "token_endpoint_auth_method",
    "jwks",
    "jwk_file",
    "status",
    "scope",
    "roles",
    "default_scope",
    "audiences",
    "introspects",
    "attributes",
    "max_token_lifetime",
    "not_before",
    "expires_at",
    "require_request_binding",
    "software_id",
    "software_version",
];
/// Columns, at most.
const MAX_COLUMNS: usize = 64;

/// A cell and where it begins.
type Cell = (usize, String);

pub(super) fn read(source: &mut Source<'_>) {
    let begin = if source.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut rows = Rows { text: source.text, at: begin, separator: separator(source.text) };
    let Some(header) = rows.next() else {
        return source.fault(0, "the file is empty: its first line must name the columns, client_id among them");
    };
    source.fleet.kinds.insert(Kind::Client);
    let columns = match header {
        Ok(cells) => cells,
        Err((at, message)) => return source.fault(at, message),
    };
    let faulty = source.fleet.faulty;
    for (index, (at, name)) in columns.iter().enumerate() {
        if !COLUMNS.contains(&name.as_str()) && !name.starts_with("attribute.") {
            source.fault(*at, unknown("column", name, &COLUMNS));
        }
        if columns.iter().take(index).any(|(_, other)| other == name) {
            source.fault(*at, format!("the column {name} is there twice"));
        }
    }
    if columns.len() > MAX_COLUMNS {
        source.fault(begin, format!("there are more than {MAX_COLUMNS} columns"));
    }
    if source.fleet.faulty > faulty {
        // Every line would be at fault.
        return;
    }
    for row in rows {
        let cells = match row {
            Ok(cells) => cells,
            Err((at, message)) => {
                source.fault(at, message);
                continue;
            }
        };
        let at = cells.first().map_or(0, |(at, _)| *at);
        if cells.len() != columns.len() {
            source.fault(at, format!("the line has {} cells, the first line names {} columns", cells.len(), columns.len()));
            continue;
        }
        let filled = columns.iter().zip(cells).filter(|(_, (_, text))| !text.is_empty());
        let members = filled.map(|((_, name), (at, text))| Member { name: name.clone(), at, item: Item { at, value: Node::Text(text) } });
        if !records::take_members(source, Kind::Client, at, members.collect()) {
            return;
        }
    }
}

/// Some spreadsheets write semicolons.
fn separator(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    if header.contains(';') && !header.contains(',') { b';' } else { b',' }
}

/// The lines that are not empty.
struct Rows<'a> {
    text: &'a str,
    at: usize,
    separator: u8,
}

impl Rows<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn end_of_line(&self, from: usize) -> usize {
        self.text.get(from..).and_then(|rest| rest.find('\n')).map_or(self.text.len(), |length| from.saturating_add(length))
    }

    /// A cell without quotes: up to the separator or the end of the line.
    fn plain(&self, from: usize) -> (String, usize) {
        let rest = self.text.get(from..).unwrap_or_default();
        let length = rest.bytes().position(|byte| byte == self.separator || byte == b'\n').unwrap_or(rest.len());
        (rest.get(..length).unwrap_or_default().trim().to_owned(), from.saturating_add(length))
    }

    /// A cell in quotes, from the first of them on.
    fn quoted(&self, from: usize) -> Result<(String, usize), (usize, String)> {
        let mut text = String::new();
        let mut at = from.saturating_add(1);
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            let Some(length) = rest.find('"') else { return Err((from, "the quote is never closed".to_owned())) };
            text.push_str(rest.get(..length).unwrap_or_default());
            at = at.saturating_add(length).saturating_add(1);
            if self.byte(at) != Some(b'"') {
                break;
            }
            text.push('"');
            at = at.saturating_add(1);
        }
        let after = at;
        while matches!(self.byte(at), Some(b' ' | b'\t' | b'\r')) {
            at = at.saturating_add(1);
        }
        match self.byte(at) {
            None | Some(b'\n') => Ok((text, at)),
            Some(byte) if byte == self.separator => Ok((text, at)),
            Some(_) => Err((after, "after the closing quote there is more; a quote within quotes must be doubled".to_owned())),
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Vec<Cell>, (usize, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        // Empty lines.
        while self.at < self.text.len() {
            let end = self.end_of_line(self.at);
            if self.text.get(self.at..end).is_some_and(|line| !line.trim().is_empty()) {
                break;
            }
            self.at = end.saturating_add(1);
        }
        if self.at >= self.text.len() {
            return None;
        }
        let mut cells = Vec::new();
        loop {
            while matches!(self.byte(self.at), Some(b' ' | b'\t')) {
                self.at = self.at.saturating_add(1);
            }
            let begin = self.at;
            let (text, end) = if self.byte(begin) == Some(b'"') {
                match self.quoted(begin) {
                    Ok(cell) => cell,
                    Err(fault) => {
                        self.at = self.end_of_line(fault.0).saturating_add(1);
                        return Some(Err(fault));
                    }
                }
            } else {
                self.plain(begin)
            };
            if cells.len() <= MAX_COLUMNS {
                cells.push((begin, text));
            }
            self.at = end.saturating_add(1);
            if self.byte(end) != Some(self.separator) {
                return Some(Ok(cells));
            }
        }
    }
}
