//! The members of a record as a file has them, and what is asked of them.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::Source;
use crate::clients::{AttributeName, AttributeValue, Attributes};
use crate::clock::UnixTime;
use crate::config::nearest;

/// Tables and lists within one another.
pub(super) const MAX_DEPTH: usize = 8;

/// A value and where it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) at: usize,
    pub(super) value: Node,
}

/// A value of any of the formats.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Nothing, which is as if the member were not there.
    Null,
    Text(String),
    Number(u64),
    Flag(bool),
    List(Vec<Item>),
    Table(Vec<Member>),
    /// What no member can be, such as a fraction.
    Other(&'static str),
}

/// A member of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    /// Where its name is.
    pub(super) at: usize,
    pub(super) item: Item,
}

impl Node {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }

    /// The same as JSON.
    pub(super) fn into_json(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::String(text),
            Self::Number(number) => Value::Number(Number::from(number)),
            Self::Flag(flag) => Value::Bool(flag),
            Self::List(items) => Value::Array(items.into_iter().map(|item| item.value.into_json()).collect()),
            Self::Table(members) => {
                Value::Object(members.into_iter().map(|member| (member.name, member.item.value.into_json())).collect::<Map<_, _>>())
            }
            Self::Other(kind) => Value::String(kind.to_owned()),
        }
    }
}

/// The members of one record. Each is asked for once; what nobody asks for is unknown.
pub(super) struct Fields<'s, 'a> {
    pub(super) source: &'s mut Source<'a>,
    pub(super) at: usize,
    members: Vec<Member>,
    known: Vec<&'static str>,
    /// Whether all was well so far.
    pub(super) is_sound: bool,
}

impl<'s, 'a> Fields<'s, 'a> {
    /// The members of the record at that place.
    pub(super) fn new(source: &'s mut Source<'a>, at: usize, members: Vec<Member>) -> Self {
        Self { source, at, members, known: Vec::new(), is_sound: true }
    }

    pub(super) fn fault(&mut self, at: usize, message: impl Into<String>) {
        self.is_sound = false;
        self.source.fault(at, message);
    }

    /// A member that is not null.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Item> {
        self.known.push(name);
        let index = self.members.iter().position(|member| member.name == name)?;
        let member = self.members.swap_remove(index);
        if let Some(again) = self.members.iter().find(|member| member.name == name).map(|member| member.at) {
            self.fault(again, format!("`{name}` is there twice"));
        }
        Some(member.item).filter(|item| item.value != Node::Null)
    }

    /// Members that only the gateway sets, as its own documents have them.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        self.members.retain(|member| !names.contains(&member.name.as_str()));
    }

    fn wrong(&mut self, name: &str, item: &Item, wanted: &str) {
        self.fault(item.at, format!("`{name}` must be {wanted}, not {}", item.value.kind()));
    }

    /// A text; empty if it is not there.
    pub(super) fn text(&mut self, name: &'static str) -> String {
        match self.take(name) {
            Some(Item { value: Node::Text(text), .. }) => text,
            Some(other) => {
                self.wrong(name, &other, "a text");
                String::new()
            }
            None => String::new(),
        }
    }

    /// A word that has to be there.
    pub(super) fn required<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Option<T> {
        match self.take(name) {
            Some(item) => self.parsed(name, item),
            None => {
                self.fault(self.at, format!("`{name}` is missing"));
                None
            }
        }
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, name: &'static str, item: Item) -> Option<T> {
        match &item.value {
            Node::Text(text) => text.parse().map_err(|error| self.fault(item.at, format!("`{name}`: {error}"))).ok(),
            _ => {
                self.wrong(name, &item, "a text");
                None
            }
        }
    }

    /// Words in a list, or in a text separated by spaces.
    pub(super) fn words<T: FromStr<Err: Display>, C: FromIterator<T>>(&mut self, name: &'static str) -> C {
        match self.take(name) {
            Some(Item { at, value: Node::Text(text) }) => {
                let words: Vec<T> = text
                    .split_ascii_whitespace()
                    .filter_map(|word| word.parse().map_err(|error| self.fault(at, format!("`{name}`: {error}"))).ok())
                    .collect();
                words.into_iter().collect()
            }
            Some(item) => self.list(name, item),
            None => C::from_iter([]),
        }
    }

    /// Texts in a list.
    pub(super) fn texts<T: FromStr<Err: Display>, C: FromIterator<T>>(&mut self, name: &'static str) -> C {
        match self.take(name) {
            Some(item) => self.list(name, item),
            None => C::from_iter([]),
        }
    }

    fn list<T: FromStr<Err: Display>, C: FromIterator<T>>(&mut self, name: &'static str, item: Item) -> C {
        let Node::List(items) = item.value else {
            self.wrong(name, &item, "a list of texts");
            return C::from_iter([]);
        };
        let texts: Vec<T> = items.into_iter().filter_map(|item| self.parsed(name, item)).collect();
        texts.into_iter().collect()
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &'static str) -> Option<u32> {
        let item = self.take(name)?;
        let number = match &item.value {
            Node::Number(number) => u32::try_from(*number).ok(),
            Node::Text(text) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.fault(item.at, format!("`{name}` must be a whole number of 0 to {}", u32::MAX));
        }
        number
    }

    /// True or false; false if it is not there.
    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        let Some(item) = self.take(name) else { return false };
        match &item.value {
            Node::Flag(flag) => *flag,
            Node::Text(text) if text == "true" => true,
            Node::Text(text) if text == "false" => false,
            _ => {
                self.wrong(name, &item, "true or false");
                false
            }
        }
    }

    /// A time.
    pub(super) fn time(&mut self, name: &'static str) -> Option<UnixTime> {
        let item = self.take(name)?;
        match item.value {
            Node::Number(seconds) => Some(UnixTime::from_secs(seconds)),
            _ => self.parsed(name, item),
        }
    }

    /// What has a fixed form in JSON, such as one of several words.
    pub(super) fn form<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        let Item { at, value } = self.take(name)?;
        serde_json::from_value(value.into_json())
            .map_err(|error| self.fault(at, format!("`{name}`: {}", error.to_string().replace("unknown variant", "unknown value"))))
            .ok()
    }

    /// A table of attributes, or `NAME=VALUE` separated by spaces, or members `attribute.NAME`.
    pub(super) fn attributes(&mut self) -> Attributes {
        let mut attributes = Attributes::new();
        let mut found: Vec<(String, usize, Item)> = Vec::new();
        match self.take("attributes") {
            Some(Item { value: Node::Table(members), .. }) => {
                found.extend(members.into_iter().map(|member| (member.name, member.at, member.item)));
            }
            Some(Item { at, value: Node::Text(text) }) => {
                for pair in text.split_ascii_whitespace() {
                    match pair.split_once('=') {
                        Some((name, value)) => found.push((name.to_owned(), at, Item { at, value: Node::Text(value.to_owned()) })),
                        None => self.fault(at, "`attributes`: an attribute must be a name, = and a value: site=berlin"),
                    }
                }
            }
            Some(other) => self.wrong("attributes", &other, "a table"),
            None => {}
        }
        let (columns, rest) = std::mem::take(&mut self.members).into_iter().partition(|member| member.name.starts_with("attribute."));
        self.members = rest;
        let columns: Vec<Member> = columns;
        found.extend(columns.into_iter().map(|member| {
            let name = member.name.strip_prefix("attribute.").unwrap_or(&member.name).to_owned();
            (name, member.at, member.item)
        }));
        for (name, at, item) in found {
            let text = match item.value {
                Node::Text(text) => text,
                Node::Null => continue,
                Node::Number(number) => number.to_string(),
                _ => {
                    self.wrong("attributes", &item, "a table of texts");
                    continue;
                }
            };
            match (name.parse::<AttributeName>(), text.parse::<AttributeValue>()) {
                (Ok(name), Ok(value)) => {
                    if attributes.insert(name.clone(), value).is_some() {
                        self.fault(at, format!("the attribute {name} is there twice"));
                    }
                }
                (Err(error), _) => self.fault(at, format!("`attributes`: {error}")),
                (_, Err(error)) => self.fault(item.at, format!("`attributes`: {error}")),
            }
        }
        attributes
    }

    /// Tells of members that nobody asked for.
    pub(super) fn finish(mut self) -> bool {
        for member in std::mem::take(&mut self.members) {
            let message = unknown("key", &member.name, &self.known);
            self.fault(member.at, message);
        }
        self.is_sound
    }
}

/// That there is no such thing, and what may have been meant.
pub(super) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    // A name can be anything; a terminal is shown its beginning.
    let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown {what} `{shown}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{shown}`; valid here: {}", known.join(", ")),
    }
}
