//! How clients are called that register themselves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::oauth::{ClientId, InvalidWord, SerialNumber};

/// The characters of a client id.
const LONGEST: usize = 64;
/// The characters that stand for `{random}`, 5 bits each.
const RANDOM: usize = 16;

const SERIAL: &str = "serial";
const RANDOM_NAME: &str = "random";

/// A client id with `{serial}` or `{random}`, or both, in it: `pump-{serial}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientIdPattern(Box<str>);

/// Why a pattern gives no client id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The device gave no serial number.
    #[error("the client id needs a serial number")]
    NoSerial,
    /// The serial number is too long.
    #[error("the client id would have more than 64 characters")]
    TooLong,
}

enum Piece<'a> {
    Literal(&'a str),
    Serial,
    Random,
}

/// `None` for braces that do not pair or name something else.
fn pieces(pattern: &str) -> Option<Vec<Piece<'_>>> {
    let (mut pieces, mut rest) = (Vec::new(), pattern);
    while let Some((before, from)) = rest.split_once('{') {
        let (name, after) = from.split_once('}')?;
        pieces.push(Piece::Literal(before));
        pieces.push(match name {
            SERIAL => Piece::Serial,
            RANDOM_NAME => Piece::Random,
            _ => return None,
        });
        rest = after;
    }
    pieces.push(Piece::Literal(rest));
    Some(pieces)
}

impl ClientIdPattern {
    fn pieces(&self) -> Vec<Piece<'_>> {
        pieces(&self.0).unwrap_or_default()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it needs a serial number.
    #[must_use]
    pub fn needs_serial(&self) -> bool {
        self.pieces().iter().any(|piece| matches!(piece, Piece::Serial))
    }

    /// The client id of a device. `random` must be fresh random bytes.
    ///
    /// # Errors
    /// If there is no serial number where one is needed, or it is too long.
    pub fn fill(&self, serial: Option<&SerialNumber>, random: &[u8; RANDOM]) -> Result<ClientId, PatternError> {
        let mut text = String::with_capacity(LONGEST);
        for piece in self.pieces() {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Serial => text.push_str(serial.ok_or(PatternError::NoSerial)?.as_str()),
                Piece::Random => text.push_str(&random_word(random)),
            }
        }
        // What else makes up a client id was judged with the pattern.
        text.parse().map_err(|_| PatternError::TooLong)
    }

    /// A client id as long as any that it gives.
    #[must_use]
    pub fn longest(&self) -> Option<ClientId> {
        let serials = self.pieces().iter().filter(|piece| matches!(piece, Piece::Serial)).count();
        if serials == 0 {
            return self.fill(None, &[0; RANDOM]).ok();
        }
        "x".repeat(LONGEST).parse().ok()
    }
}

/// 16 characters of Crockford's base32: 80 random bits that survive being read aloud, typed and used as a file name.
#[must_use]
pub fn random_word(random: &[u8; RANDOM]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31))).map(|&letter| char::from(letter)).collect()
}

impl FromStr for ClientIdPattern {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let rule = |rule| Err(InvalidWord::new("a client id pattern", rule));
        let Some(pieces) = pieces(text) else { return rule("free of braces but for {serial} and {random}") };
        let (mut literal, mut random, mut serials) = (0_usize, 0_usize, 0_usize);
        for piece in &pieces {
            match piece {
                Piece::Literal(text) if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) => {
                    return rule("of characters A-Z a-z 0-9 _ - but for {serial} and {random}");
                }
                Piece::Literal(text) => literal = literal.saturating_add(text.len()),
                Piece::Serial => serials = serials.saturating_add(1),
                Piece::Random => random = random.saturating_add(RANDOM),
            }
        }
        if serials > 1 || random > RANDOM || (serials == 0 && random == 0) {
            return rule("one that has {serial} or {random}, or each of them once, so that no two devices get the same");
        }
        if literal.saturating_add(random).saturating_add(serials) > LONGEST {
            return rule("short enough for client ids of at most 64 characters; {random} becomes 16");
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for ClientIdPattern {
    type Error = InvalidWord;

    fn try_from(text: String) -> Result<Self, InvalidWord> {
        text.parse()
    }
}

impl From<ClientIdPattern> for String {
    fn from(pattern: ClientIdPattern) -> Self {
        pattern.0.into()
    }
}

impl fmt::Display for ClientIdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_gives_client_ids() {
        let serial: SerialNumber = "A-17".parse().unwrap();
        for (pattern, expected) in [
            ("pump-{serial}", "pump-A-17"),
            ("{serial}", "A-17"),
            ("{random}", "0000000000000000"),
            ("p_{serial}-{random}x", "p_A-17-0000000000000000x"),
        ] {
            let pattern: ClientIdPattern = pattern.parse().unwrap();
            assert_eq!(pattern.fill(Some(&serial), &[0; 16]).unwrap().as_str(), expected);
            assert_eq!(pattern.needs_serial(), pattern.as_str().contains("serial"));
            assert_eq!(pattern.fill(None, &[0; 16]).is_err(), pattern.needs_serial());
            assert!(pattern.longest().is_some_and(|id| id.as_str().len() >= expected.len()));
        }
        assert_eq!(random_word(&[31, 32, 1, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]), "z01z00000000000a");
    }

    #[test]
    fn deny_serial_numbers_that_make_it_too_long() {
        let pattern: ClientIdPattern = "pump-{serial}".parse().unwrap();
        let serial = |length: usize| "x".repeat(length).parse().unwrap();
        assert!(pattern.fill(Some(&serial(59)), &[0; 16]).is_ok());
        assert_eq!(pattern.fill(Some(&serial(60)), &[0; 16]), Err(PatternError::TooLong));
    }

    #[test]
    fn deny_patterns_that_give_no_client_ids_or_one() {
        for text in [
            "",
            "pump",
            "{}",
            "{serial",
            "serial}",
            "pump-{site}",
            "a.{serial}",
            "{serial}{serial}",
            "{random}{random}",
            "{{serial}}",
            "+{serial}",
        ] {
            assert!(text.parse::<ClientIdPattern>().is_err(), "{text}");
        }
        assert!(format!("{}{{random}}", "x".repeat(49)).parse::<ClientIdPattern>().is_err());
        assert!(format!("{}{{random}}", "x".repeat(48)).parse::<ClientIdPattern>().is_ok());
    }
}
