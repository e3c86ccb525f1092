//! Columns for people: aligned, plain, one record a line. On a terminal they fit its width; elsewhere nothing is left out.

/// Between two columns.
const GAP: &str = "  ";
/// Characters that a column that gives way keeps.
const KEPT: usize = 10;
/// The same of one that goes on below itself.
const KEPT_OF_TEXT: usize = 24;

/// A table under construction.
pub(super) struct Table<const COLUMNS: usize> {
    headings: [&'static str; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
    yielding: &'static [&'static str],
    wrapping: &'static [&'static str],
}

/// A table as it is printed.
pub(super) struct Rendered {
    pub(super) text: String,
    /// The headings of columns that found no room.
    pub(super) left_out: Vec<&'static str>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with these headings; they belong in upper case, the most important first.
    pub(super) fn new(headings: [&'static str; COLUMNS]) -> Self {
        Self { headings, rows: Vec::new(), yielding: &[], wrapping: &[] }
    }

    /// The same with columns that are cut short where a terminal is too narrow. The others are shown in full or, from the last, not at all.
    pub(super) fn yielding(mut self, headings: &'static [&'static str]) -> Self {
        self.yielding = headings;
        self
    }

    /// The same with columns whose cells go on below themselves where a terminal is too narrow.
    pub(super) fn wrapping(mut self, headings: &'static [&'static str]) -> Self {
        self.wrapping = headings;
        self
    }

    /// Adds a record. An empty cell becomes a dash; control characters are shown escaped, so that no name can command a terminal.
    pub(super) fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { printable(&cell) }));
    }

    /// Whether there is no record.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    #[cfg(test)]
    /// The whole text, one line a row, without blanks at the end.
    pub(super) fn render(&self) -> String {
        self.render_within(None).text
    }

    /// The text for a terminal of that width.
    pub(super) fn render_within(&self, width: Option<usize>) -> Rendered {
        let mut natural = self.headings.map(characters);
        for row in &self.rows {
            for (width, cell) in natural.iter_mut().zip(row) {
                *width = characters(cell).max(*width);
            }
        }
        let widths = width.map_or_else(|| natural.to_vec(), |width| self.fit(&natural, width));
        let mut text = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.zip(&widths).zip(self.headings).enumerate();
            let cells: Vec<Vec<String>> = cells
                .map(|(index, ((cell, &width), heading))| match self.wrapping.contains(&heading) {
                    // A long word, such as a path, stays whole where nothing is beside it.
                    true if index.saturating_add(1) == widths.len() => wrapped(cell, width),
                    true => wrapped(cell, width).iter().flat_map(|line| broken(line, width)).collect(),
                    false => vec![cut(cell, width)],
                })
                .collect();
            for line in 0..cells.iter().map(Vec::len).max().unwrap_or_default() {
                let parts =
                    cells.iter().zip(&widths).map(|(cell, &width)| format!("{:<width$}", cell.get(line).map_or("", String::as_str)));
                text.push_str(parts.collect::<Vec<_>>().join(GAP).trim_end());
                text.push('\n');
            }
        };
        line(&mut self.headings.iter().copied());
        for row in &self.rows {
            line(&mut row.iter().map(String::as_str));
        }
        Rendered { text, left_out: self.headings.iter().skip(widths.len()).copied().collect() }
    }

    /// The widths of as many columns as find room.
    fn fit(&self, natural: &[usize; COLUMNS], width: usize) -> Vec<usize> {
        let least = |(heading, natural): (&&str, &usize)| {
            let kept = match (self.yielding.contains(heading), self.wrapping.contains(heading)) {
                (true, _) => KEPT,
                (_, true) => KEPT_OF_TEXT,
                _ => return *natural,
            };
            (*natural).min(characters(heading).max(kept))
        };
        let least: Vec<usize> = self.headings.iter().zip(natural).map(least).collect();
        let needed = |widths: &[usize]| {
            let gaps = GAP.len().saturating_mul(widths.len().saturating_sub(1));
            widths.iter().fold(gaps, |sum, width| sum.saturating_add(*width))
        };
        let mut shown = least;
        while shown.len() > 1 && needed(&shown) > width {
            shown.pop();
        }
        // What is left over goes to the narrowest columns that want more.
        for _ in needed(&shown)..width {
            let wanting = shown.iter_mut().zip(natural).filter(|(width, natural)| **width < **natural);
            let Some((narrowest, _)) = wanting.min_by_key(|(width, _)| **width) else { break };
            *narrowest = narrowest.saturating_add(1);
        }
        shown
    }
}

/// One record: a line for each field, values aligned. An empty value becomes a dash.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    fields_within(fields, None)
}

/// The same for a terminal of that width: a value that is too long goes on below itself.
pub(super) fn fields_within(fields: &[(&str, String)], width: Option<usize>) -> String {
    let name_width = fields.iter().map(|(name, _)| characters(name)).max().unwrap_or_default().saturating_add(1);
    let indent = name_width.saturating_add(GAP.len());
    // Where there is no room for words, the terminal may break lines as it likes.
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent)).max(16);
    let line = |(name, value): &(&str, String)| {
        let value = if value.is_empty() { "-".to_owned() } else { printable(value) };
        let value = wrapped(&value, room).join(&format!("\n{:indent$}", ""));
        format!("{:<name_width$}{GAP}{value}\n", format!("{name}:"))
    };
    fields.iter().map(line).collect()
}

/// Lines of at most so many characters, broken at blanks; a longer word has a line of its own.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if characters(line).saturating_add(1).saturating_add(characters(word)) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The text in pieces of at most so many characters.
fn broken(text: &str, width: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return vec![String::new()];
    }
    characters.chunks(width.max(1)).map(|piece| piece.iter().collect()).collect()
}

/// The text, or its beginning and an ellipsis.
fn cut(text: &str, width: usize) -> String {
    if characters(text) <= width {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", beginning.trim_end())
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

/// The text with control characters escaped.
pub(super) fn printable(text: &str) -> String {
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
    fn a_table_fits_its_terminal() {
        let mut table = Table::new(["ID", "NAME", "CREATED", "SCOPE"]).yielding(&["NAME", "SCOPE"]);
        table.row(["dev1".into(), "The boiler of the cellar".into(), "2026-11-22T21:46:24Z".into(), "a b".into()]);
        let within = |width| {
            let Rendered { text, left_out } = table.render_within(Some(width));
            let longest = text.lines().map(characters).max().unwrap();
            assert!(longest <= width.max(4), "{width}: {text}");
            (text, left_out)
        };
        assert_eq!(within(80).0, table.render());
        let (text, left_out) = within(50);
        assert!(text.contains("dev1  The boiler of…   2026-11-22T21:46:24Z  a b") && left_out.is_empty(), "{text}");
        let (text, left_out) = within(38);
        assert!(text.contains("dev1  The boile…  2026-11-22T21:46:24Z") && left_out == ["SCOPE"], "{text}");
        assert_eq!(within(20), ("ID    NAME\ndev1  The boiler of…\n".to_owned(), vec!["CREATED", "SCOPE"]));
        assert_eq!(within(1), ("ID\ndev1\n".to_owned(), vec!["NAME", "CREATED", "SCOPE"]), "the first column stays whole");
    }

    #[test]
    fn text_goes_on_below_itself() {
        let mut table = Table::new(["CHECK", "FOUND", "BY"]).wrapping(&["FOUND", "BY"]);
        table.row([
            "clock".into(),
            "the clock is a year behind what it should be".into(),
            "a-word-that-is-longer-than-its-column x".into(),
        ]);
        assert_eq!(table.render().lines().count(), 2, "in full where there is room");
        let within = |width| table.render_within(Some(width));
        assert_eq!(
            within(59).text,
            "CHECK  FOUND                      BY\nclock  the clock is a year        a-word-that-is-longer-than-its-column\n       behind what it should be   x\n"
        );
        let Rendered { text, left_out } = within(40);
        assert!(text.lines().all(|line| characters(line) <= 40) && left_out == ["BY"], "{text}");
        let mut table = Table::new(["FOUND", "BY"]).wrapping(&["FOUND"]);
        table.row(["0123456789012345678901234567890123".into(), "x".into()]);
        assert_eq!(table.render_within(Some(28)).text, "FOUND                     BY\n012345678901234567890123  x\n4567890123\n");
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
        let long = [("Scope", "telemetry:write config:read".to_owned()), ("Id", "a-word-that-is-longer-than-a-line".to_owned())];
        let text = fields_within(&long, Some(28));
        assert_eq!(text, "Scope:  telemetry:write\n        config:read\nId:     a-word-that-is-longer-than-a-line\n");
    }
}
