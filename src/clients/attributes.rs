//! Registered attributes of a client: what topic permissions name in braces.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::oauth::{InvalidWord, word};

/// Attributes a client can have.
pub const MAX_ATTRIBUTES: usize = 16;

/// The attributes of a client.
pub type Attributes = BTreeMap<AttributeName, AttributeValue>;

word! {
    /// The name of an attribute. `client_id` is none: it always means the client's id.
    AttributeName, "an attribute's name", "1 to 32 characters of a-z 0-9 _ that begin with a letter, and not client_id",
    |text| text != "client_id"
        && (1..=32).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

word! {
    /// The value of an attribute: part of one topic level, whatever the broker. It can be no wildcard, end no level and leave none empty, so it can
    /// never widen a topic filter. The dot is left out because RabbitMQ takes it for the end of a level.
    AttributeValue, "an attribute's value", "1 to 64 characters of A-Z a-z 0-9 _ -",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_lower_case() {
        for valid in ["site", "a", "a_1", &"x".repeat(32)] {
            assert!(valid.parse::<AttributeName>().is_ok(), "{valid}");
        }
        for invalid in ["", "Site", "1a", "_a", "a-b", "a b", "client_id", "\u{e9}", &"x".repeat(33)] {
            assert!(invalid.parse::<AttributeName>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn deny_values_that_could_widen_a_filter() {
        for valid in ["berlin", "Hall_7-b", "0", &"x".repeat(64)] {
            assert!(valid.parse::<AttributeValue>().is_ok(), "{valid}");
        }
        for invalid in ["", "+", "#", "*", "a/b", "/", "$SYS", "a.b", "a b", "{client_id}", "%2A", "a\0", "\u{e9}", &"x".repeat(65)] {
            assert!(invalid.parse::<AttributeValue>().is_err(), "{invalid:?}");
        }
    }
}
