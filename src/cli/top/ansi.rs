//! Frames as the bytes that draw them on a terminal: the few control sequences of ECMA-48 that every terminal knows.

use std::convert::Infallible;

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier};

/// To another screen, without a cursor; what was on this one is kept.
pub(super) const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
/// Back.
pub(super) const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

const CLEAR: &[u8] = b"\x1b[0m\x1b[2J";

/// Gathers the bytes of a frame. It touches no terminal: who owns one writes them when it can.
#[derive(Debug)]
pub(super) struct Ansi {
    bytes: Vec<u8>,
    size: Size,
}

impl Ansi {
    /// For a terminal of that size.
    pub(super) const fn new(size: Size) -> Self {
        Self { bytes: Vec::new(), size }
    }

    /// The terminal has another size.
    pub(super) const fn resize(&mut self, size: Size) {
        self.size = size;
    }

    /// The bytes that were gathered since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn go_to(&mut self, x: u16, y: u16) {
        self.bytes.extend(format!("\x1b[{};{}H", y.saturating_add(1), x.saturating_add(1)).as_bytes());
    }
}

impl Backend for Ansi {
    type Error = Infallible;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> Result<(), Infallible> {
        let (mut next, mut style) = (None, None);
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.go_to(x, y);
            }
            let wanted = (cell.fg, cell.bg, cell.modifier);
            if style != Some(wanted) {
                self.bytes.extend(select(wanted).as_bytes());
                style = Some(wanted);
            }
            let symbol = cell.symbol();
            // No text commands the terminal.
            self.bytes.extend(symbol.chars().filter(|character| !character.is_control()).collect::<String>().as_bytes());
            // How wide other characters are, terminals do not agree on.
            next = (symbol.len() == 1).then(|| (x.saturating_add(1), y));
        }
        if style.is_some() {
            self.bytes.extend(b"\x1b[0m");
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> Result<(), Infallible> {
        self.bytes.extend(b"\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> Result<(), Infallible> {
        self.bytes.extend(b"\x1b[?25h");
        Ok(())
    }

    /// Nobody needs it: the cursor is hidden.
    fn get_cursor_position(&mut self) -> Result<Position, Infallible> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> Result<(), Infallible> {
        let Position { x, y } = position.into();
        self.go_to(x, y);
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Infallible> {
        self.clear_region(ClearType::All)
    }

    /// Only ever the whole screen, as the view takes it all.
    fn clear_region(&mut self, _: ClearType) -> Result<(), Infallible> {
        self.bytes.extend(CLEAR);
        Ok(())
    }

    fn size(&self) -> Result<Size, Infallible> {
        Ok(self.size)
    }

    fn window_size(&mut self) -> Result<WindowSize, Infallible> {
        Ok(WindowSize { columns_rows: self.size, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The sequence that selects a style, whatever was selected before.
fn select((foreground, background, modifier): (Color, Color, Modifier)) -> String {
    let mut codes = String::from("\x1b[0");
    for (flag, code) in [(Modifier::BOLD, 1), (Modifier::DIM, 2), (Modifier::ITALIC, 3), (Modifier::UNDERLINED, 4), (Modifier::REVERSED, 7)]
    {
        if modifier.contains(flag) {
            codes.push_str(&format!(";{code}"));
        }
    }
    for (color, base) in [(foreground, 30), (background, 40)] {
        if let Some(number) = number(color) {
            codes.push_str(&format!(";{}", number.saturating_add(base)));
        }
    }
    codes.push('m');
    codes
}

/// The eight colours that a terminal's own theme defines; no others are used.
const fn number(color: Color) -> Option<u8> {
    match color {
        Color::Black => Some(0),
        Color::Red => Some(1),
        Color::Green => Some(2),
        Color::Yellow => Some(3),
        Color::Blue => Some(4),
        Color::Magenta => Some(5),
        Color::Cyan => Some(6),
        Color::Gray => Some(7),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::style::{Style, Stylize as _};
    use ratatui::text::Line;

    use super::*;

    fn frame(terminal: &mut Terminal<Ansi>, line: Line<'_>) -> String {
        terminal.draw(|frame| frame.render_widget(line, frame.area())).unwrap();
        String::from_utf8(terminal.backend_mut().take()).unwrap()
    }

    #[test]
    fn only_what_changed_is_drawn() {
        let mut terminal = Terminal::new(Ansi::new(Size::new(10, 2))).unwrap();
        terminal.backend_mut().take();
        assert!(frame(&mut terminal, Line::from("abc")).contains("\x1b[1;1H\x1b[0mabc\x1b[0m"));
        assert!(frame(&mut terminal, Line::from("abd")).contains("\x1b[1;3H\x1b[0md\x1b[0m"));
        assert!(!frame(&mut terminal, Line::from("abd")).contains('d'));
    }

    #[test]
    fn styles_are_selected_and_text_commands_nothing() {
        let mut terminal = Terminal::new(Ansi::new(Size::new(10, 1))).unwrap();
        terminal.backend_mut().take();
        let styled = frame(&mut terminal, Line::from(vec!["a".red().bold(), "b".into(), "\u{1b}[2J\r".into()]));
        assert!(styled.contains("\x1b[0;1;31ma\x1b[0mb") && !styled.contains("\x1b[2J"), "{styled:?}");
        let reversed = frame(&mut terminal, Line::styled("x", Style::new().reversed().dim()));
        assert!(reversed.contains("\x1b[0;2;7mx"), "{reversed:?}");
    }

    #[test]
    fn another_size_draws_everything_anew() {
        let mut terminal = Terminal::new(Ansi::new(Size::new(10, 2))).unwrap();
        frame(&mut terminal, Line::from("abc"));
        terminal.backend_mut().resize(Size::new(8, 2));
        let anew = frame(&mut terminal, Line::from("abc"));
        assert!(anew.contains("\x1b[2J") && anew.contains("abc"), "{anew:?}");
    }
}
