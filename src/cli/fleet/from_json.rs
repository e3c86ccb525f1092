//! Fleet files in JSON: a list for each kind of record, as `credgate ... list --output json` prints it. Read record by record, so that no tree of
//! the whole is in memory.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{Item, MAX_DEPTH, Member, Node};
use super::{Source, records};

pub(super) fn read(source: &mut Source<'_>) {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(source.text);
    let whole: &RawValue = match serde_json::from_str(text) {
        Ok(whole) => whole,
        Err(error) => return syntax(source, &error),
    };
    let Ok(Parts::Members(lists)) = parts(whole.get()) else {
        return source.fault(0, "the file must be an object with a list for each kind of record, such as {\"clients\": [..]}");
    };
    for (name, list) in lists {
        let at = offset(source, list.get());
        let Some(kind) = records::kind_of(source, &name, at) else { continue };
        let Ok(Parts::Items(items)) = parts(list.get()) else {
            source.fault(at, format!("`{name}` must be a list"));
            continue;
        };
        for item in items {
            let item = item_of(source, item.get(), 0);
            if !records::take(source, kind, item) {
                return;
            }
        }
    }
}

/// serde_json tells line and column, the latter in bytes.
fn syntax(source: &mut Source<'_>, error: &serde_json::Error) {
    let start = error.line().checked_sub(1).and_then(|line| source.lines.get(line)).copied().unwrap_or_default();
    let at = start.saturating_add(error.column().saturating_sub(1)).min(source.text.len());
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    source.fault(at, message);
}

/// Where a part of the text begins in it.
fn offset(source: &Source<'_>, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(source.text.as_ptr().addr())
}

fn item_of(source: &Source<'_>, text: &str, depth: usize) -> Item {
    let at = offset(source, text);
    let deeper = depth.saturating_add(1);
    let value = match text.as_bytes().first() {
        _ if depth > MAX_DEPTH => Node::Other("so deep"),
        Some(b'{' | b'[') => match parts(text) {
            Ok(Parts::Members(members)) => {
                let member = |(name, value): (String, &RawValue)| {
                    let item = item_of(source, value.get(), deeper);
                    Member { name, at: item.at, item }
                };
                Node::Table(members.into_iter().map(member).collect())
            }
            Ok(Parts::Items(items)) => Node::List(items.into_iter().map(|item| item_of(source, item.get(), deeper)).collect()),
            Err(_) => Node::Other("not JSON"),
        },
        Some(b'"') => serde_json::from_str(text).map_or(Node::Other("no text"), Node::Text),
        Some(b't') => Node::Flag(true),
        Some(b'f') => Node::Flag(false),
        Some(b'n') => Node::Null,
        _ => text.parse().map_or(Node::Other("a number below 0, too large, or with a fraction"), Node::Number),
    };
    Item { at, value }
}

/// What an object or an array holds, not read yet.
enum Parts<'a> {
    Members(Vec<(String, &'a RawValue)>),
    Items(Vec<&'a RawValue>),
}

fn parts(text: &str) -> serde_json::Result<Parts<'_>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_any(PartsVisitor)
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            members.push((name, map.next_value::<&'de RawValue>()?));
        }
        Ok(Parts::Members(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Raw)? {
            items.push(item);
        }
        Ok(Parts::Items(items))
    }
}

struct Raw;

impl<'de> serde::de::DeserializeSeed<'de> for Raw {
    type Value = &'de RawValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        <&RawValue>::deserialize(deserializer)
    }
}
