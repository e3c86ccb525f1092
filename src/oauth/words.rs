//! Validated words: parsed once, valid for ever.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A word that breaks its syntax.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidWord {
    what: &'static str,
    rule: &'static str,
}

impl InvalidWord {
    /// `what` broke `rule`; reads as "{what} must be {rule}".
    #[must_use]
    pub const fn new(what: &'static str, rule: &'static str) -> Self {
        Self { what, rule }
    }
}

/// A validated word: text that keeps `$valid`. The module that uses it imports `Borrow`, `fmt`, `FromStr`, `InvalidWord` and serde's derives.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidWord;

            fn from_str(text: &str) -> Result<Self, InvalidWord> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidWord::new($what, $rule)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidWord;

            fn try_from(text: String) -> Result<Self, InvalidWord> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> String {
                word.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

pub(crate) use word;

word! {
    /// A client identifier (RFC 6749 section 2.2), narrowed to what one level of an MQTT topic and every broker can carry.
    ClientId, "a client id", "1 to 64 characters of A-Z a-z 0-9 _ -",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

word! {
    /// One scope-token (RFC 6749 section 3.3), at most 128 characters.
    ScopeToken, "a scope", "1 to 128 printable ASCII characters without space, double quote and backslash",
    |text| (1..=128).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

word! {
    /// The identifier of a resource server.
    ResourceServerId, "a resource server id", "1 to 64 characters of A-Z a-z 0-9 _ -",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

word! {
    /// The name of a role: a named set of scopes.
    RoleName, "a role", "1 to 64 characters of A-Z a-z 0-9 _ - . :",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':'))
}

word! {
    /// The identifier of an enrolment: what lets a number of devices register themselves.
    EnrolmentId, "an enrolment id", "1 to 64 characters of A-Z a-z 0-9 _ -",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

word! {
    /// The serial number of a device, which may become a part of its client id.
    SerialNumber, "a serial number", "1 to 64 characters of A-Z a-z 0-9 _ -",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A set of scope-tokens: the value of a `scope` parameter, where order and repetition mean nothing (RFC 6749 section 3.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeSet(BTreeSet<ScopeToken>);

impl ScopeSet {
    /// The scopes, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &ScopeToken> {
        self.0.iter()
    }

    /// Whether `scope` is one of them.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<ScopeToken> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = ScopeToken>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl FromStr for ScopeSet {
    type Err = InvalidWord;

    /// Reads scope-tokens separated by single spaces; refuses an empty value.
    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        text.split(' ').map(str::parse).collect()
    }
}

/// The scopes separated by single spaces.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{scope}")?;
        }
        Ok(())
    }
}

/// A client secret: zeroised when dropped, never shown by `Debug`.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The secret of these bytes; JSON carries them as text, CBOR as a byte string.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for comparison and for the one file or terminal that shows them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The encoding of a request and of its answer: the last level of the request topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 8259.
    Json,
    /// RFC 8949.
    Cbor,
}

impl Format {
    /// The topic level.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Cbor => "cbor",
        }
    }

    /// The media type of a response (RFC 9200 section 8.16 for CBOR).
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/ace+json",
            Self::Cbor => "application/ace+cbor",
        }
    }
}

impl FromStr for Format {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        match text {
            "json" => Ok(Self::Json),
            "cbor" => Ok(Self::Cbor),
            _ => Err(InvalidWord::new("a format", "json or cbor")),
        }
    }
}

/// What a request asks for: the last level but one of the request topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The token endpoint (RFC 6749 section 3.2).
    Token,
    /// A nonce for the assertion of a device without a clock.
    Nonce,
    /// Another secret or key for the client, in place of the one that it authenticates by.
    Credential,
    /// Token introspection (RFC 7662).
    Introspect,
    /// Token revocation (RFC 7009).
    Revoke,
    /// The registration of a device by itself (RFC 7591 section 3).
    Register,
}

impl Operation {
    /// Every operation that is served.
    pub const ALL: &'static [Operation] =
        &[Operation::Token, Operation::Nonce, Operation::Credential, Operation::Introspect, Operation::Revoke, Operation::Register];

    /// The topic level.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Nonce => "nonce",
            Self::Credential => "credential",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::Register => "register",
        }
    }

    /// Whether it changes the registry, and so may wait for the disk.
    #[must_use]
    pub const fn writes(self) -> bool {
        match self {
            Self::Token | Self::Nonce | Self::Introspect => false,
            Self::Credential | Self::Revoke | Self::Register => true,
        }
    }
}

impl FromStr for Operation {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        Self::ALL
            .iter()
            .copied()
            .find(|operation| operation.as_str() == text)
            .ok_or(InvalidWord::new("an operation", "token, nonce, credential, introspect, revoke or register"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_fit_one_topic_level() {
        for valid in ["a", "dev-1", "A_b-9", &"x".repeat(64)] {
            assert!(valid.parse::<ClientId>().is_ok(), "{valid}");
        }
        for invalid in ["", "a.b", "a/b", "+", "#", "$SYS", "a b", "é", &"x".repeat(65)] {
            assert!(invalid.parse::<ClientId>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn scopes_follow_rfc_6749() {
        let scopes: ScopeSet = "b a b".parse().unwrap();
        assert_eq!(scopes.to_string(), "a b");
        for invalid in ["", " ", "a  b", " a", "a ", "a\"b", "a\\b", "a\nb", "ä"] {
            assert!(invalid.parse::<ScopeSet>().is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", Secret::new(b"hunter2".to_vec())).contains("hunter2"));
    }
}
