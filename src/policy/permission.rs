//! What a scope opens on a broker: an action on a topic filter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::oauth::InvalidWord;

/// What may be done with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// PUBLISH (`pub` of RFC 9431 section 2.3).
    Pub,
    /// SUBSCRIBE (`sub` of RFC 9431 section 2.3).
    Sub,
}

/// A topic permission, written `pub telemetry/{client_id}/#`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPermission {
    action: Action,
    filter: Box<str>,
}

/// What a template may name in braces.
const ATTRIBUTES: &[&str] = &["client_id"];

impl TopicPermission {
    /// What may be done.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// The topic filter (MQTT 5 section 4.7), with `{client_id}` unresolved.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.filter
    }
}

impl FromStr for TopicPermission {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let (action, filter) = match text.split_once(' ') {
            Some(("pub", filter)) => (Action::Pub, filter),
            Some(("sub", filter)) => (Action::Sub, filter),
            _ => return Err(InvalidWord::new("a topic permission", "pub or sub, a space and a topic filter: pub telemetry/{client_id}/#")),
        };
        check_filter(filter)?;
        Ok(Self { action, filter: filter.into() })
    }
}

fn check_filter(filter: &str) -> Result<(), InvalidWord> {
    let rule = |rule| Err(InvalidWord::new("a topic filter", rule));
    if filter.is_empty() || filter.len() > 1_024 || filter.chars().any(char::is_control) {
        return rule("1 to 1024 bytes without control characters");
    }
    if filter.starts_with('$') {
        return rule("outside the topics that begin with $, which belong to the broker");
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return rule("free of # but for its last level, which it then fills");
        }
        if level.contains('+') && level != "+" {
            return rule("free of + but for whole levels");
        }
        if !names_attributes_only(level) {
            return rule("free of braces but for {client_id}");
        }
    }
    Ok(())
}

fn names_attributes_only(level: &str) -> bool {
    let mut rest = level;
    while let Some((before, from)) = rest.split_once('{') {
        let Some((name, after)) = from.split_once('}') else { return false };
        if before.contains('}') || !ATTRIBUTES.contains(&name) {
            return false;
        }
        rest = after;
    }
    !rest.contains('}')
}

impl fmt::Display for TopicPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Pub => "pub",
            Action::Sub => "sub",
        };
        write!(f, "{action} {}", self.filter)
    }
}

impl TryFrom<String> for TopicPermission {
    type Error = InvalidWord;

    fn try_from(text: String) -> Result<Self, InvalidWord> {
        text.parse()
    }
}

impl From<TopicPermission> for String {
    fn from(permission: TopicPermission) -> String {
        permission.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows_the_same_text() {
        for text in ["pub telemetry/{client_id}/#", "sub cmd/+/{client_id}", "pub a", "sub #", "sub a/{client_id}-x/b"] {
            assert_eq!(text.parse::<TopicPermission>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn deny_bad_filters() {
        for text in [
            "",
            "pub",
            "pub ",
            "publish a",
            "pub a/#/b",
            "pub a#",
            "pub a/b+",
            "pub $SYS/x",
            "pub a/{site}",
            "pub a/{client_id",
            "pub a}b",
            "pub a\u{0}b",
        ] {
            assert!(text.parse::<TopicPermission>().is_err(), "{text:?}");
        }
    }
}
