//! Columns for people: aligned, plain, one record a line.

/// Between two columns.
const GAP: &str = "  ";

/// A table under construction.
pub(super) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with these headings; they belong in upper case.
    pub(super) fn new(headings: [&str; COLUMNS]) -> Self {
        Self { rows: vec![headings.map(str::to_owned)] }
    }

    /// Adds a record. An empty cell becomes a dash; control characters are shown escaped, so that no name can command a terminal.
    pub(super) fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { printable(&cell) }));
    }

    /// The text, one line a row, without blanks at the end.
    pub(super) fn render(&self) -> String {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            text.push_str(cells.collect::<Vec<_>>().join(GAP).trim_end());
            text.push('\n');
        }
        text
    }
}

/// One record: a line for each field, values aligned. An empty value becomes a dash.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default().saturating_add(1);
    let line = |(name, value): &(&str, String)| {
        let value = if value.is_empty() { "-".to_owned() } else { printable(value) };
        format!("{:<width$}{GAP}{value}\n", format!("{name}:"))
    };
    fields.iter().map(line).collect()
}

/// The text with control characters escaped.
fn printable(text: &str) -> String {
    let escape = |character: char| if character.is_control() { character.escape_default().to_string() } else { character.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let mut table = Table::new(["ID", "NAME", "SCOPE"]);
        table.row(["a".into(), "Ölpumpe".into(), "x y".into()]);
        table.row(["long-id".into(), String::new(), String::new()]);
        assert_eq!(table.render(), "ID       NAME     SCOPE\na        Ölpumpe  x y\nlong-id  -        -\n");
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        let mut table = Table::new(["NAME"]);
        table.row(["\u{1b}[2J\nx\u{9b}".into()]);
        assert_eq!(table.render(), "NAME\n\\u{1b}[2J\\nx\\u{9b}\n");
        assert_eq!(fields(&[("A", "\r".into())]), "A:  \\r\n");
    }

    #[test]
    fn fields_are_aligned() {
        assert_eq!(fields(&[("Id", "1".into()), ("Name", String::new())]), "Id:    1\nName:  -\n");
    }
}
