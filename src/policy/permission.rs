//! What a scope opens on a broker: an action on a topic filter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clients::{AttributeName, Client};
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

impl Action {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pub => "pub",
            Self::Sub => "sub",
        }
    }
}

/// A topic permission, written `pub telemetry/{client_id}/#`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPermission {
    action: Action,
    filter: Box<str>,
}

/// What a template may name in braces beside the client's attributes.
const CLIENT_ID: &str = "client_id";

/// A template names an attribute that the client lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{{{0}}} is no attribute of the client")]
pub struct MissingAttribute(Box<str>);

impl TopicPermission {
    /// What may be done.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// The topic filter (MQTT 5 section 4.7), with `{client_id}` and attributes unresolved.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// The attributes that the filter names.
    pub fn attributes(&self) -> impl Iterator<Item = AttributeName> {
        let name = |piece| match piece {
            Piece::Literal(_) => None,
            Piece::Attribute(name) => name.parse().ok(),
        };
        pieces(&self.filter).unwrap_or_default().into_iter().filter_map(name)
    }

    /// The topic filter for one client. Values are whole or partial topic levels without wildcards, so the result opens no more than the
    /// template with `+` for each level that names something.
    ///
    /// # Errors
    /// If the template names an attribute that the client lacks.
    pub fn compile(&self, client: &Client) -> Result<String, MissingAttribute> {
        let mut compiled = String::with_capacity(self.filter.len().saturating_add(64));
        for piece in pieces(&self.filter).unwrap_or_default() {
            compiled.push_str(match piece {
                Piece::Literal(text) => text,
                Piece::Attribute(CLIENT_ID) => client.client_id.as_str(),
                Piece::Attribute(name) => client.attributes.get(name).ok_or_else(|| MissingAttribute(name.into()))?.as_str(),
            });
        }
        Ok(compiled)
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
            return rule("free of braces but for {client_id} and attributes such as {site}");
        }
    }
    Ok(())
}

/// A piece of a template.
enum Piece<'a> {
    Literal(&'a str),
    Attribute(&'a str),
}

/// Cuts a template at its braces; `None` if they do not pair.
fn pieces(template: &str) -> Option<Vec<Piece<'_>>> {
    let (mut pieces, mut rest) = (Vec::new(), template);
    while let Some((before, from)) = rest.split_once('{') {
        let (name, after) = from.split_once('}')?;
        pieces.extend([Piece::Literal(before), Piece::Attribute(name)]);
        rest = after;
    }
    pieces.push(Piece::Literal(rest));
    let paired = pieces.iter().all(|piece| !matches!(piece, Piece::Literal(text) if text.contains('}')));
    paired.then_some(pieces)
}

fn names_attributes_only(level: &str) -> bool {
    let valid = |piece: &Piece<'_>| match piece {
        Piece::Literal(_) => true,
        Piece::Attribute(name) => *name == CLIENT_ID || name.parse::<AttributeName>().is_ok(),
    };
    pieces(level).is_some_and(|pieces| pieces.iter().all(valid))
}

impl fmt::Display for TopicPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action.as_str(), self.filter)
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
    use crate::clients::AttributeValue;
    use crate::clock::UnixTime;

    #[test]
    fn reads_and_shows_the_same_text() {
        for text in [
            "pub telemetry/{client_id}/#",
            "sub cmd/+/{client_id}",
            "pub a",
            "sub #",
            "sub a/{client_id}-x/b",
            "pub {site}/{hall_7}x{client_id}/+",
        ] {
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
            "pub a/{Site}",
            "pub a/{}",
            "pub a/{a/b}",
            "pub {site}#",
            "pub a/{site}+",
            "pub {{site}}",
            "pub a/{client_id",
            "pub a}b",
            "pub a\u{0}b",
        ] {
            assert!(text.parse::<TopicPermission>().is_err(), "{text:?}");
        }
    }

    fn client(attributes: &[(&str, &str)]) -> Client {
        let attributes = attributes.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Client { attributes, ..Client::new("dev-1".parse().unwrap(), UnixTime::from_secs(0)) }
    }

    fn compiled(template: &str, client: &Client) -> Result<String, MissingAttribute> {
        template.parse::<TopicPermission>().unwrap().compile(client)
    }

    #[test]
    fn templates_are_filled_in() {
        let client = client(&[("site", "berlin"), ("hall", "7")]);
        for (template, filter) in [
            ("pub a/+/#", "a/+/#"),
            ("pub telemetry/{client_id}/#", "telemetry/dev-1/#"),
            ("sub {site}/{hall}-{hall}/x{client_id}y/+", "berlin/7-7/xdev-1y/+"),
        ] {
            assert_eq!(compiled(template, &client).unwrap(), filter);
        }
    }

    #[test]
    fn deny_templates_with_a_missing_attribute() {
        let error = compiled("pub {site}/{room}", &client(&[("site", "berlin")])).unwrap_err();
        assert_eq!(error.to_string(), "{room} is no attribute of the client");
    }

    /// MQTT 5 section 4.7.1: whether whatever `narrow` matches is matched by `wide`, too.
    fn covers(wide: &str, narrow: &str) -> bool {
        let (wide, narrow): (Vec<&str>, Vec<&str>) = (wide.split('/').collect(), narrow.split('/').collect());
        let same_end = (wide.last() == Some(&"#")) == (narrow.last() == Some(&"#"));
        let level = |(wide, narrow): (&&str, &&str)| wide == narrow || (*wide == "+" && !narrow.contains(['+', '#']) && !narrow.is_empty());
        same_end && wide.len() == narrow.len() && wide.iter().zip(&narrow).all(level)
    }

    /// Whatever text gets past the types as a value: the filter it makes is covered by the template's wildcard form.
    #[test]
    fn values_never_widen_a_filter() {
        let hostile = [
            "", "+", "#", "/", "a/b", "*", "$SYS", "{site}", "a}b", ".", "%2f", "\u{0}", "\u{2028}", " ", "a+", "#a", "-", "_", "7",
            "Hall-7",
        ];
        let all: Vec<String> = (0..=0x17f_u32).filter_map(char::from_u32).map(String::from).chain(hostile.map(String::from)).collect();
        let values: Vec<AttributeValue> = all.iter().filter_map(|text| text.parse().ok()).collect();
        assert_eq!(values.len(), 68, "64 letters, digits, - and _; then -, _, 7 and Hall-7 once more");
        let templates =
            ["{site}", "{site}/#", "a/{site}/{room}/#", "+/{room}{site}/b", "x{site}y/+/{room}-{client_id}/#", "{site}{site}//{room}"];
        for template in templates {
            let permission: TopicPermission = format!("pub {template}").parse().unwrap();
            let wildcards = template.split('/').map(|level| if level.contains('{') { "+" } else { level });
            let wildcards = wildcards.collect::<Vec<_>>().join("/");
            for site in &values {
                for room in &values {
                    let mut client = client(&[]);
                    client.attributes.insert("site".parse().unwrap(), site.clone());
                    client.attributes.insert("room".parse().unwrap(), room.clone());
                    let filter = permission.compile(&client).unwrap();
                    assert!(covers(&wildcards, &filter) && check_filter(&filter).is_ok(), "{template} -> {filter}");
                }
            }
        }
        assert!(!covers("+/a", "+/a/b") && !covers("+", "#") && !covers("+/#", "a") && !covers("+", ""), "the judge can say no");
    }
}
