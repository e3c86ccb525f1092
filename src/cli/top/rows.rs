//! The rows of each panel, as texts that fit the width there is.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::super::status::duration;
use super::draw::Palette;
use super::model::Order;
use super::view::{Bound, Pace, Quantiles, SHARES, View};
use crate::clients::Status;

/// Between two columns.
const GAP: usize = 2;

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

/// A small table: the first column stays whole as long as it can, the last ones go first.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<(String, Align)>,
    rows: Vec<(Vec<String>, Style)>,
}

impl Rows {
    fn new(columns: &[(&str, Align)]) -> Self {
        Self { columns: columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect(), rows: Vec::new() }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>, style: Style) {
        self.rows.push((cells.into_iter().collect(), style));
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The headings, and `visible` rows from that one on, each at most `width` wide.
    pub(super) fn lines(&self, width: usize, offset: usize, visible: usize, palette: Palette) -> Vec<Line<'static>> {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(column, (name, _))| {
                let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(column)).map(|cell| characters(cell));
                cells.max().unwrap_or_default().max(characters(name))
            })
            .collect();
        let mut shown = widths.len();
        let total = |columns: usize| {
            widths.iter().take(columns).fold(columns.saturating_sub(1).saturating_mul(GAP), |sum, width| sum.saturating_add(*width))
        };
        // A column of texts is rather cut short than left out.
        while shown > 1 && total(shown) > width {
            let beginning = total(shown.saturating_sub(1)).saturating_add(GAP);
            let is_text = shown.checked_sub(1).and_then(|last| self.columns.get(last)).is_some_and(|(_, align)| *align == Align::Left);
            if is_text && beginning.saturating_add(10) <= width {
                break;
            }
            shown = shown.saturating_sub(1);
        }
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded = cells.zip(&widths).zip(&self.columns).take(shown).map(|((cell, width), (_, align))| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            padded.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
        };
        let headings = line(&mut self.columns.iter().map(|(name, _)| name.as_str()));
        let rows = self.rows.iter().skip(offset).take(visible);
        let rows = rows.map(|(cells, style)| Line::from(Span::styled(line(&mut cells.iter().map(String::as_str)), *style)));
        std::iter::once(Line::from(Span::styled(headings, palette.name()))).chain(rows).collect()
    }
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

pub(super) fn operations(view: &View) -> Rows {
    let right = Align::Right;
    let mut rows = Rows::new(&[("OPERATION", Align::Left), ("ACCEPTED", right), ("/S", right), ("REJECTED", right), ("/S", right)]);
    for operation in &view.operations {
        let [accepted, rejected] = [operation.accepted, operation.rejected].map(pace);
        rows.row([operation.name.clone()].into_iter().chain(accepted).chain(rejected), Style::new());
    }
    rows
}

pub(super) fn reasons(view: &View, palette: Palette) -> Rows {
    let mut rows = Rows::new(&[("REASON", Align::Left), ("TOTAL", Align::Right), ("/S", Align::Right)]);
    for (reason, counted) in &view.reasons {
        let style = if counted.rate.is_some_and(|rate| rate > 0.0) { palette.warning() } else { Style::new() };
        rows.row([reason.clone()].into_iter().chain(pace(*counted)), style);
    }
    if view.reasons.is_empty() {
        rows.row(["none since the start".to_owned()], Style::new());
    }
    rows
}

pub(super) fn latency(view: &View) -> Rows {
    let now = view.interval.map_or_else(|| "-".to_owned(), |seconds| format!("LAST {seconds:.1} S"));
    let mut rows = Rows::new(&[("OF THE REQUESTS", Align::Left), (&now, Align::Right), ("SINCE THE START", Align::Right)]);
    let shown: [Option<&Quantiles>; 2] = [view.interval.is_some().then_some(&view.latency), Some(&view.latency_in_all)];
    for (index, share) in SHARES.iter().enumerate() {
        let name = if *share < 1.0 { format!("{:.0} % within", share * 100.0) } else { "all within".to_owned() };
        let cell = |found: Option<&Quantiles>| found.and_then(|found| *found.bounds.get(index)?).map_or_else(|| "-".to_owned(), bound);
        rows.row([name, cell(shown[0]), cell(shown[1])], Style::new());
    }
    let count = |found: Option<&Quantiles>| found.map_or_else(|| "-".to_owned(), |found| found.count.to_string());
    rows.row(["requests".to_owned(), count(shown[0]), count(shown[1])], Style::new());
    rows
}

pub(super) fn process(view: &View) -> Rows {
    let (process, metrics) = (view.metrics.process, &view.metrics);
    let mut rows = Rows::new(&[("WHAT", Align::Left), ("NOW", Align::Left)]);
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let replay = metrics.replay.map_or_else(
        || "off".to_owned(),
        |replay| {
            let percent = replay.entries as f64 * 100.0 / replay.capacity.max(1) as f64;
            format!("{} of {} ({percent:.0} %)", replay.entries, replay.capacity)
        },
    );
    let written = view.written.map_or_else(
        || "-".to_owned(),
        |written| {
            let rate = written.rate.map(|rate| format!(", {}/s", bytes(rate as u64))).unwrap_or_default();
            format!("{}{rate}", bytes(written.total))
        },
    );
    let status = &metrics.status;
    for (name, value) in [
        ("Memory in RAM", process.resident_bytes.map_or_else(|| "-".to_owned(), bytes)),
        ("Used assertions kept", replay),
        ("Processor", view.processor.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))),
        ("Written to disks", written),
        ("Registry writes, failed", format!("{}, {}", metrics.registry.writes, metrics.registry.failed_writes)),
        ("Threads", number(process.threads)),
        ("Open files", format!("{} of {}", number(process.open_fds), number(process.max_fds))),
        ("Clients registered", status.clients.to_string()),
        ("Scopes, roles", format!("{}, {}", status.scopes, status.roles)),
        ("Process", status.pid.to_string()),
    ] {
        rows.row([name.to_owned(), value], Style::new());
    }
    rows
}

pub(super) fn clients(view: &View, palette: Palette, order: Order) -> Rows {
    let mark = |column: Order, name: &str| if column == order { format!("{name}*") } else { name.to_owned() };
    let headings = [mark(Order::Id, "CLIENT ID"), mark(Order::LastUse, "LAST USED"), "STATUS".to_owned(), mark(Order::Name, "NAME")];
    let mut rows = Rows::new(&headings.each_ref().map(|name| (name.as_str(), Align::Left)));
    let now = view.metrics.clock.now.as_secs();
    for client in &view.metrics.recent {
        let ago = format!("{} ago", duration(now.saturating_sub(client.last_used.as_secs())));
        let style = if client.status == Status::Active { Style::new() } else { palette.bad() };
        rows.row([client.client_id.to_string(), ago, client.status.as_str().to_owned(), client.client_name.clone()], style);
    }
    if view.metrics.recent.is_empty() {
        rows.row(["none was used yet".to_owned()], Style::new());
    }
    rows
}

/// A total and a rate.
fn pace(pace: Pace) -> [String; 2] {
    [pace.total.to_string(), rate(pace.rate)]
}

/// So many a second, in three digits.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(rate) if rate < 0.1 => format!("{rate:.2}"),
        Some(rate) if rate < 100.0 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

/// A number of bytes in the largest unit that it fills.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = format!("{bytes} B");
    let mut number = bytes as f64;
    for unit in UNITS {
        number /= 1024.0;
        if number < 1.0 {
            break;
        }
        shown = format!("{number:.1} {unit}");
    }
    shown
}

fn bound(bound: Bound) -> String {
    let seconds = bound.seconds;
    let told = if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.1} s")
    };
    if bound.is_exceeded { format!("> {told}") } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [None, Some(0.0), Some(0.05), Some(0.5), Some(12.34), Some(1_234.5)].map(rate),
            ["-", "0", "0.05", "0.5", "12.3", "1234"]
        );
        assert_eq!([0, 1_023, 1_024, 1_536, 5 << 20, 3 << 40].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.0 TiB"]);
        let told = |seconds, is_exceeded| bound(Bound { seconds, is_exceeded });
        assert_eq!([told(42e-6, false), told(1.5e-3, false), told(1.0, true)], ["42 µs", "1.5 ms", "> 1.0 s"]);
    }

    #[test]
    fn columns_that_find_no_room_go_from_the_last() {
        let mut rows = Rows::new(&[("ID", Align::Left), ("TOTAL", Align::Right), ("NAME", Align::Left)]);
        rows.row(["a".into(), "7".into(), "a long name of a device".into()], Style::new());
        let palette = Palette::default();
        let text = |width| rows.lines(width, 0, 9, palette).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(60), ["ID  TOTAL  NAME", "a       7  a long name of a device"]);
        assert_eq!(text(21), ["ID  TOTAL  NAME", "a       7  a long name of a device"], "the screen cuts it");
        assert_eq!(text(20), ["ID  TOTAL", "a       7"]);
        assert_eq!(text(5), ["ID", "a"]);
        assert_eq!(rows.lines(60, 1, 9, palette).len(), 1);
    }
}
