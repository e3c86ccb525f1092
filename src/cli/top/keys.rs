//! What was typed, from the bytes that a terminal sends.

/// The most bytes that a key can have; more are no key.
const LONGEST: usize = 16;

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// A character of ASCII.
    Char(char),
    /// Escape alone.
    Escape,
    /// Ctrl-C or Ctrl-D, which a raw terminal sends like any other.
    Interrupt,
    /// Ctrl-L: the screen is to be drawn anew.
    Redraw,
    Tab,
    BackTab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

/// Finds keys in bytes as they come: a key may come in pieces.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pending: Vec<u8>,
}

/// What bytes begin with.
enum Found {
    /// A key, or none that is known, of so many bytes.
    Key(Option<Key>, usize),
    /// The beginning of a key.
    Part,
}

impl Keys {
    /// The keys that are complete with these bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend(bytes);
        let mut keys = Vec::new();
        while !self.pending.is_empty() {
            match first(&self.pending) {
                Found::Key(key, length) => {
                    keys.extend(key);
                    self.pending.drain(..length.min(self.pending.len()));
                }
                Found::Part if self.pending.len() > LONGEST => self.pending.clear(),
                Found::Part => break,
            }
        }
        keys
    }

    /// Whether a key has begun.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Nothing more came: an Escape that no other byte followed is the key Escape.
    pub(super) fn flush(&mut self) -> Option<Key> {
        let pending = std::mem::take(&mut self.pending);
        (pending == [0x1b]).then_some(Key::Escape)
    }
}

fn first(bytes: &[u8]) -> Found {
    match bytes {
        [0x03 | 0x04, ..] => Found::Key(Some(Key::Interrupt), 1),
        [0x09, ..] => Found::Key(Some(Key::Tab), 1),
        [0x0c, ..] => Found::Key(Some(Key::Redraw), 1),
        [0x1b, b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| (0x40..=0x7e).contains(byte)) else { return Found::Part };
            Found::Key(rest.get(..=end).and_then(named), end.saturating_add(3))
        }
        [0x1b, b'O', letter, ..] => Found::Key(named(&[*letter]), 3),
        [0x1b] | [0x1b, b'O'] => Found::Part,
        [0x1b, 0x1b, ..] => Found::Key(Some(Key::Escape), 1),
        // A key with Alt.
        [0x1b, _, ..] => Found::Key(None, 2),
        [byte @ 0x20..=0x7e, ..] => Found::Key(Some(Key::Char(char::from(*byte))), 1),
        _ => Found::Key(None, 1),
    }
}

/// A key by the end of its sequence, as terminals since the VT220 and xterm write it.
fn named(sequence: &[u8]) -> Option<Key> {
    Some(match sequence {
        b"A" => Key::Up,
        b"B" => Key::Down,
        b"C" => Key::Right,
        b"D" => Key::Left,
        b"H" | b"1~" | b"7~" => Key::Home,
        b"F" | b"4~" | b"8~" => Key::End,
        b"5~" => Key::PageUp,
        b"6~" => Key::PageDown,
        b"Z" => Key::BackTab,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_whole_and_in_pieces() {
        let whole = Keys::default().push(b"q\x1b[A\x1bOB\x1b[5~\t\x1b[Z\x03\x0c\x1b[H");
        let expected = [Key::Char('q'), Key::Up, Key::Down, Key::PageUp, Key::Tab, Key::BackTab, Key::Interrupt, Key::Redraw, Key::Home];
        assert_eq!(whole, expected);
        let mut keys = Keys::default();
        let pieces: Vec<Key> = b"q\x1b[A\x1bOB\x1b[5~\t\x1b[Z\x03\x0c\x1b[H".iter().flat_map(|byte| keys.push(&[*byte])).collect();
        assert_eq!(pieces, expected);
        assert!(!keys.is_pending());
    }

    #[test]
    fn escape_is_a_key_if_nothing_follows() {
        let mut keys = Keys::default();
        assert!(keys.push(b"\x1b").is_empty() && keys.is_pending());
        assert_eq!((keys.flush(), keys.flush(), keys.is_pending()), (Some(Key::Escape), None, false));
        assert_eq!(keys.push(b"\x1b\x1b[B"), [Key::Escape, Key::Down]);
        assert!(keys.push(b"\x1b[1").is_empty());
        assert_eq!((keys.flush(), keys.push(b"x")), (None, vec![Key::Char('x')]));
    }

    #[test]
    fn what_is_no_key_is_passed_over_and_never_kept() {
        let mut keys = Keys::default();
        assert_eq!(keys.push("\u{1b}[38;5u\u{1b}qü\u{0}\u{1b}[200~p".as_bytes()), [Key::Char('p')]);
        for _ in 0..1_000 {
            keys.push(b"\x1b[999999999");
            assert!(keys.pending.len() <= LONGEST);
        }
    }
}
