//! The screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Paragraph, RenderDirection, Sparkline, Wrap};

use super::super::status::duration;
use super::model::{Model, Order, Panel};
use super::rows::{Rows, bytes, clients, latency, operations, process, rate, reasons};
use super::view::View;
use crate::admin::DaemonStatus;
use crate::clock::Confidence;
use crate::jose::KeyState;

/// From this size on all panels are seen at once.
const LARGE: (u16, u16) = (100, 34);
/// Lines of the curve, where there is room for them.
const CURVE_HEIGHT: u16 = 4;

/// The styles, without a colour if none is wanted: then bold, dim and reversed tell the same.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Palette {
    has_colour: bool,
}

impl Palette {
    fn coloured(self, style: Style, colour: Color) -> Style {
        if self.has_colour { style.fg(colour) } else { style }
    }

    pub(super) fn name(self) -> Style {
        Style::new().dim()
    }

    pub(super) fn heading(self) -> Style {
        self.coloured(Style::new().bold(), Color::Cyan)
    }

    pub(super) fn good(self) -> Style {
        self.coloured(Style::new(), Color::Green)
    }

    pub(super) fn warning(self) -> Style {
        self.coloured(Style::new().bold(), Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.coloured(Style::new().bold(), Color::Red)
    }

    fn alarm(self) -> Style {
        self.coloured(Style::new().bold().reversed(), Color::Red)
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let palette = Palette { has_colour: model.has_colour };
    let banner = banner(model);
    let head = model.view.as_ref().map(|view| head(view, palette)).unwrap_or_default();
    let width = usize::from(frame.area().width.max(1));
    let banner_height = banner.as_ref().map_or(0, |text| text.chars().count().div_ceil(width).saturating_add(1).min(4));
    let height = |lines: usize| Constraint::Length(u16::try_from(lines).unwrap_or(u16::MAX));
    let areas =
        Layout::vertical([Constraint::Length(1), height(banner_height), height(head.len()), Constraint::Min(0), Constraint::Length(1)]);
    let [title_area, banner_area, head_area, body, foot] = areas.areas(frame.area());
    frame.render_widget(title(model, palette), title_area);
    if let Some(text) = banner {
        frame.render_widget(Paragraph::new(text).style(palette.alarm()).wrap(Wrap { trim: true }), banner_area);
    }
    frame.render_widget(Paragraph::new(head), head_area);
    if let Some(view) = model.view.take() {
        panels(frame, body, model, &view, palette);
        model.view = Some(view);
    } else if model.failure.is_none() {
        frame.render_widget(Paragraph::new(format!("Asking the gateway on {} ...", model.socket)), body);
    }
    let keys = "q quit  Tab next  ↑↓ scroll  s sort  p pause  ? help";
    frame.render_widget(Line::styled(keys, palette.name()), foot);
    if model.has_help {
        help(frame, palette);
    }
}

fn title(model: &Model, palette: Palette) -> Line<'static> {
    let mut spans = vec![Span::styled("credgate", palette.heading())];
    if let Some(View { metrics, .. }) = &model.view {
        let status = &metrics.status;
        spans.push(format!(" {}  up {}  {}", status.version, duration(status.uptime), status.issuer).into());
    }
    if model.is_paused {
        spans.insert(1, Span::styled(" PAUSED ", palette.warning().reversed()));
    }
    Line::from(spans)
}

/// What is wrong, if the gateway does not answer.
fn banner(model: &Model) -> Option<String> {
    let failure = model.failure.as_ref()?;
    let so_long = duration(failure.last.saturating_sub(failure.since).as_secs());
    let shown = if model.view.is_some() { " What is shown is from before." } else { "" };
    Some(format!("No answer from the gateway for {so_long}: {}. Trying again every {} s.{shown}", failure.reason, model.every))
}

/// How the gateway is.
fn head(view: &View, palette: Palette) -> Vec<Line<'static>> {
    let (status, metrics) = (&view.metrics.status, &view.metrics);
    let field = |name: &'static str| Span::styled(format!("{name:<9}"), palette.name());
    let mut lines = Vec::new();
    if let Some(link) = &status.broker {
        let style = match link.state.as_str() {
            "up" => palette.good(),
            "connecting" => palette.warning(),
            _ => palette.bad(),
        };
        let since = link.since.map(|since| format!(" since {since}")).unwrap_or_default();
        lines.push(Line::from(vec![field("Broker"), Span::styled(link.state.clone(), style), format!("{since}  {}", link.url).into()]));
        if let Some(reason) = &link.reason {
            lines.push(Line::from(vec![field(""), Span::styled(reason.clone(), style)]));
        }
    }
    if let Some(listener) = &status.embedded_broker {
        let (word, style) = if listener.serving { ("listens", palette.good()) } else { ("takes no connections", palette.bad()) };
        let told = format!("  {} connected  {}", listener.open_connections, listener.addresses.join(", "));
        lines.push(Line::from(vec![field("Embedded"), Span::styled(word, style), told.into()]));
    }
    let clock = metrics.clock;
    let mut spans = vec![field("Clock"), clock.now.to_string().into()];
    if let Some(confidence) = clock.confidence {
        let style = if confidence == Confidence::Unset { palette.bad() } else { palette.good() };
        spans.push(Span::styled(format!("  {}", confidence.as_str()), style));
    }
    if clock.now < clock.built_at {
        spans.push(Span::styled(format!("  wrong: before the program was made ({})", clock.built_at), palette.bad()));
    }
    lines.push(Line::from(spans));
    lines.push(Line::from(vec![field("Keys"), keys(status).into()]));
    let process = metrics.process;
    let resident = process.resident_bytes.map_or_else(|| "-".to_owned(), bytes);
    let mut memory = format!("{resident} in RAM");
    if let Some(written) = view.written {
        memory.push_str(&format!("  {} written to disks", bytes(written.total)));
    }
    memory.push_str(&format!("  {} registry writes", metrics.registry.writes));
    let mut spans = vec![field("Memory"), memory.into()];
    if metrics.registry.failed_writes > 0 {
        spans.push(Span::styled(format!("  {} failed", metrics.registry.failed_writes), palette.bad()));
    }
    lines.push(Line::from(spans));
    lines
}

/// The signing keys in short: which sign, and how many do not.
fn keys(status: &DaemonStatus) -> String {
    let active: Vec<String> = status
        .keys
        .iter()
        .filter(|key| key.state == KeyState::Active)
        .map(|key| format!("{} signs since {}", key.alg, key.since))
        .collect();
    let others =
        [KeyState::Published, KeyState::Retiring].map(|state| (state, status.keys.iter().filter(|key| key.state == state).count()));
    let others = others.into_iter().filter(|(_, count)| *count > 0).map(|(state, count)| format!("{count} {}", state.as_str()));
    let told: Vec<String> = active.into_iter().chain(others).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

fn panels(frame: &mut Frame<'_>, body: Rect, model: &mut Model, view: &View, palette: Palette) {
    if frame.area().width < LARGE.0 || frame.area().height < LARGE.1 {
        let [tabs, area] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(body);
        let tab = |panel: Panel| {
            let style = if panel == model.panel { palette.heading().reversed() } else { Style::new() };
            [Span::styled(format!(" {} ", panel.title()), style), Span::raw(" ")]
        };
        frame.render_widget(Line::from_iter(Panel::ALL.into_iter().flat_map(tab)), tabs);
        return panel(frame, area, model, view, model.panel, palette);
    }
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(body);
    let room = |panel: Panel| u16::try_from(rows(panel, view, palette, Order::LastUse).len()).unwrap_or(u16::MAX).saturating_add(3);
    let curve = CURVE_HEIGHT.saturating_add(1);
    let [requests, refusals] =
        Layout::vertical([Constraint::Max(room(Panel::Requests).saturating_add(curve)), Constraint::Min(6)]).areas(left);
    let [latency, process, clients] =
        Layout::vertical([Constraint::Length(room(Panel::Latency)), Constraint::Max(room(Panel::Process)), Constraint::Min(6)])
            .areas(right);
    for (shown, area) in [
        (Panel::Requests, requests),
        (Panel::Refusals, refusals),
        (Panel::Latency, latency),
        (Panel::Process, process),
        (Panel::Clients, clients),
    ] {
        let style = if shown == model.panel { palette.heading() } else { palette.name() };
        let block = Block::bordered().border_style(style).title(format!(" {} ", shown.title())).padding(Padding::horizontal(1));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        panel(frame, inner, model, view, shown, palette);
    }
}

fn rows(panel: Panel, view: &View, palette: Palette, order: Order) -> Rows {
    match panel {
        Panel::Requests => operations(view),
        Panel::Refusals => reasons(view, palette),
        Panel::Latency => latency(view),
        Panel::Process => process(view),
        Panel::Clients => clients(view, palette, order),
    }
}

/// One panel. That which keys go to is scrolled.
fn panel(frame: &mut Frame<'_>, mut area: Rect, model: &mut Model, view: &View, panel: Panel, palette: Palette) {
    if panel == Panel::Requests {
        area = requests(frame, area, view, palette);
    }
    let rows = rows(panel, view, palette, model.order);
    let visible = usize::from(area.height.saturating_sub(1));
    let last = rows.len().saturating_sub(visible);
    let offset = if panel == model.panel {
        (model.page, model.offset) = (visible.max(1), model.offset.min(last));
        model.offset
    } else {
        0
    };
    frame.render_widget(Paragraph::new(rows.lines(usize::from(area.width), offset, visible, palette)), area);
}

/// The rates and their curve; what is left of the area.
fn requests(frame: &mut Frame<'_>, area: Rect, view: &View, palette: Palette) -> Rect {
    let curve = if area.height >= 7 { CURVE_HEIGHT } else { area.height.saturating_sub(5).min(2) };
    let [first, curve, rest] = Layout::vertical([Constraint::Length(1), Constraint::Length(curve), Constraint::Min(0)]).areas(area);
    let told = |name: &'static str, told: String, style: Style| [Span::styled(told, style), Span::raw(name)];
    let refused = if view.refused.rate.is_some_and(|rate| rate > 0.0) { palette.warning() } else { Style::new() };
    let spans = told(" requests/s  ", rate(view.requests.rate), Style::new().bold())
        .into_iter()
        .chain(told(" refused/s  ", rate(view.refused.rate), refused))
        .chain(told(" tokens/s", rate(view.tokens.rate), Style::new()));
    frame.render_widget(Line::from_iter(spans), first);
    // A bar has whole numbers.
    let bars = view.curve.iter().rev().map(|rate| Some((rate * 1e3) as u64));
    let sparkline = Sparkline::default().data(bars).direction(RenderDirection::RightToLeft).style(palette.good());
    frame.render_widget(sparkline, curve);
    rest
}

fn help(frame: &mut Frame<'_>, palette: Palette) {
    let lines = [
        ("q, Esc, Ctrl-C", "end"),
        ("Tab, ← →, 1 to 5", "another panel"),
        ("↑ ↓, PgUp, PgDn", "scroll it; Home, End"),
        ("s", "sort clients: last use, id, name"),
        ("p", "pause, and go on"),
        ("Ctrl-L", "draw the screen anew"),
        ("?", "this help; any key closes it"),
        ("", ""),
        ("/S", "a second, since the last look"),
        ("TOTAL", "since the gateway started"),
        ("Latency", "of the engine, for token requests"),
    ];
    let lines = lines.map(|(name, told)| Line::from(vec![Span::styled(format!("{name:<18}"), palette.heading()), told.into()]));
    let [_, row, _] = Layout::vertical([
        Constraint::Fill(1),
        Constraint::Max(u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2)),
        Constraint::Fill(1),
    ])
    .areas(frame.area());
    let [_, area, _] = Layout::horizontal([Constraint::Fill(1), Constraint::Max(56), Constraint::Fill(1)]).areas(row);
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" Keys ").border_style(palette.heading()).padding(Padding::horizontal(1));
    frame.render_widget(Paragraph::new(lines.to_vec()).block(block), area);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::keys::Key;
    use super::super::view::Sample;
    use super::super::view::tests::{metrics, sample};
    use super::*;

    fn model() -> Model {
        Model::new("/run/credgate/control.sock".into(), 2.0, true)
    }

    fn busy() -> Model {
        let mut model = model();
        model.told(sample(100));
        model.told(sample(110));
        model
    }

    fn screen(model: &mut Model, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells = buffer.content().chunks(usize::from(width));
        cells.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()).collect()
    }

    fn has(screen: &[String], words: &[&str]) {
        let text = screen.join("\n");
        for word in words {
            assert!(text.contains(word), "{word:?} is not in\n{text}");
        }
    }

    #[test]
    fn a_small_screen_shows_the_head_and_one_panel() {
        let shown = screen(&mut busy(), 60, 20);
        has(
            &shown,
            &[
                "credgate 1.2.3  up 1 min 50 s  https://as.example",
                "Broker   up since 2026-11-22T21:46:24Z  mqtts://broker",
                "Embedded listens  3 connected  [::]:8883",
                "Clock    2026-11-22T21:48:14Z  floor",
                "Keys     none",
                "Memory   12.0 MiB in RAM  220.0 KiB written to disks",
                " Requests   Refusals   Latency   Process   Clients",
                "3.0 requests/s  1.0 refused/s  2.0 tokens/s",
                "OPERATION",
                "token",
                "q quit",
            ],
        );
        assert!(shown.iter().all(|line| line.chars().count() <= 60));
    }

    #[test]
    fn each_panel_can_be_seen_on_a_small_screen() {
        let mut model = busy();
        for words in [
            ["token", "220", "2.0"],
            ["wrong_secret", "110", "1.0"],
            ["90 %", "> 1.0 ms", "SINCE THE START"],
            ["Used assertions kept", "16384 of 65536 (25 %)", "25.0 %"],
            ["boiler", "1 h 6 min ago", "The pump-1"],
        ] {
            has(&screen(&mut model, 60, 20), &words);
            model.typed(Key::Tab);
        }
    }

    #[test]
    fn a_large_screen_shows_everything() {
        let shown = screen(&mut busy(), 200, 60);
        has(
            &shown,
            &[
                " Requests ",
                " Refusals ",
                " Latency ",
                " Process ",
                " Clients ",
                "wrong_secret",
                "overloaded",
                "pump-2",
                "1 min 10 s ago",
                "> 1.0 ms",
                "65536",
            ],
        );
    }

    #[test]
    fn every_size_is_drawn() {
        let mut model = busy();
        for (width, height) in [(1, 1), (5, 3), (20, 5), (40, 10), (80, 24), (100, 34), (101, 33), (300, 100)] {
            screen(&mut model, width, height);
            model.typed(Key::Char('?'));
            screen(&mut model, width, height);
            model.typed(Key::Char('?'));
        }
    }

    #[test]
    fn nothing_is_known_at_first() {
        has(&screen(&mut model(), 80, 24), &["credgate", "Asking the gateway on /run/credgate/control.sock"]);
        let mut model = model();
        model.told(Sample { at: Duration::ZERO, metrics: crate::admin::Metrics::default() });
        has(&screen(&mut model, 60, 20), &["- requests/s", "token"]);
        for panel in Panel::ALL {
            model.panel = panel;
            screen(&mut model, 60, 20);
        }
    }

    #[test]
    fn a_gateway_that_does_not_answer_is_told_of_above_what_was_known() {
        let mut model = busy();
        for at in [200, 215] {
            model.failed("no gateway listens on /run/credgate/control.sock".into(), Duration::from_secs(at));
        }
        let shown = screen(&mut model, 200, 60);
        has(&shown, &["No answer from the gateway for 15 s: no gateway listens on /run/credgate/control.sock", "from before", "token"]);
        let narrow = screen(&mut model, 60, 20).join(" ");
        assert!(narrow.contains("Trying again every 2 s."), "{narrow}");
        model.told(sample(3));
        assert!(!screen(&mut model, 200, 60).join(" ").contains("No answer"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut metrics = metrics(10);
        let link = metrics.status.broker.as_mut().unwrap();
        (link.state, link.reason) = ("down".into(), Some("the broker refuses the password".into()));
        metrics.status.embedded_broker.as_mut().unwrap().serving = false;
        metrics.clock.now = crate::clock::UnixTime::from_secs(7);
        metrics.registry.failed_writes = 3;
        metrics.recent[0].status = crate::clients::Status::Blocked;
        let mut model = model();
        model.told(Sample { at: Duration::ZERO, metrics });
        model.panel = Panel::Clients;
        has(
            &screen(&mut model, 120, 34),
            &["down", "the broker refuses the password", "takes no connections", "before the program was made", "3 failed", "blocked"],
        );
    }

    #[test]
    fn without_colours_there_are_none() {
        let colours = |has_colour| {
            let mut model = busy();
            model.has_colour = has_colour;
            model.failed("x".into(), Duration::ZERO);
            let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
            terminal.draw(|frame| draw(frame, &mut model)).unwrap();
            terminal.backend().buffer().content().iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
        };
        assert!(colours(true) > 0);
        assert_eq!(colours(false), 0);
    }

    #[test]
    fn a_panel_is_scrolled_as_far_as_it_goes() {
        let mut model = busy();
        let view = model.view.as_mut().unwrap();
        let client = view.metrics.recent[0].clone();
        view.metrics.recent = (0..100)
            .map(|number| crate::admin::RecentClient { client_id: format!("device-{number:03}").parse().unwrap(), ..client.clone() })
            .collect();
        model.panel = Panel::Clients;
        let shown = |model: &mut Model| screen(model, 60, 20).join("\n");
        assert!(shown(&mut model).contains("device-000"));
        model.typed(Key::Down);
        let text = shown(&mut model);
        assert!(!text.contains("device-000") && text.contains("device-001"), "{text}");
        model.typed(Key::End);
        let text = shown(&mut model);
        assert!(text.contains("device-099"), "{text}");
        model.typed(Key::Up);
        let text = shown(&mut model);
        assert!(!text.contains("device-099") && text.contains("device-098"), "{text}");
        model.typed(Key::PageUp);
        assert!(!shown(&mut model).contains("device-098"));
        model.typed(Key::Home);
        assert!(shown(&mut model).contains("device-000"));
    }
}
