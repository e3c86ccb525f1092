//! Fleet files in TOML: an array of tables for each kind of record.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::{Item, MAX_DEPTH, Member, Node};
use super::{Source, records};

pub(super) fn read(source: &mut Source<'_>) {
    let document = match DeTable::parse(source.text) {
        Ok(document) => document.into_inner(),
        Err(error) => {
            let at = error.span().map_or(source.text.len(), |span| span.start);
            return source.fault(at, error.message());
        }
    };
    for (name, value) in document {
        let Some(kind) = records::kind_of(source, name.get_ref(), name.span().start) else { continue };
        let at = value.span().start;
        let DeValue::Array(items) = value.into_inner() else {
            let list = name.get_ref();
            source.fault(at, format!("`{list}` must be a list: begin each record with [[{list}]]"));
            continue;
        };
        for item in items {
            let item = item_of(item, 0);
            if !records::take(source, kind, item) {
                return;
            }
        }
    }
}

fn item_of(value: Spanned<DeValue<'_>>, depth: usize) -> Item {
    let at = value.span().start;
    let deeper = depth.saturating_add(1);
    let value = match value.into_inner() {
        _ if depth > MAX_DEPTH => Node::Other("so deep"),
        DeValue::String(text) => Node::Text(text.into_owned()),
        DeValue::Integer(number) => {
            u64::from_str_radix(number.as_str(), number.radix()).map_or(Node::Other("a number below 0 or too large"), Node::Number)
        }
        DeValue::Float(_) => Node::Other("a number with a fraction"),
        DeValue::Boolean(flag) => Node::Flag(flag),
        DeValue::Datetime(time) => Node::Text(time.to_string()),
        DeValue::Array(items) => Node::List(items.into_iter().map(|item| item_of(item, deeper)).collect()),
        DeValue::Table(table) => {
            let member = |(name, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
                let at = name.span().start;
                Member { at, name: name.into_inner().into_owned(), item: item_of(value, deeper) }
            };
            Node::Table(table.into_iter().map(member).collect())
        }
    };
    Item { at, value }
}
