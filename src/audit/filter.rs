//! Which entries are wanted.

use serde::{Deserialize, Serialize};

use super::{Anchor, Entry, Sealed};
use crate::clock::UnixTime;
use crate::oauth::ClientId;

/// Which entries are wanted: those of which all holds that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Noted then or later.
    pub since: Option<UnixTime>,
    /// Noted before.
    pub until: Option<UnixTime>,
    /// The type, or the type and what happened: `credential` or `credential.retired`.
    pub kind: Option<String>,
    /// The client it is about.
    pub client_id: Option<ClientId>,
    /// The reason code.
    pub reason: Option<String>,
}

impl Filter {
    /// Whether the entry is wanted.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        let event = &entry.event;
        self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
            && self.kind.as_ref().is_none_or(|wanted| match wanted.split_once('.') {
                None => event.kind == wanted.as_str(),
                Some((kind, name)) => event.kind == kind && event.event == name,
            })
            && self.client_id.as_ref().is_none_or(|wanted| event.client_id.as_ref() == Some(wanted))
            && self.reason.as_ref().is_none_or(|wanted| event.reason.as_deref() == Some(wanted.as_str()))
    }
}

/// A page of the trail that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// Which entries are wanted.
    pub filter: Filter,
    /// Only those after this number.
    pub after: u64,
    /// Only those before this number.
    pub before: Option<u64>,
    /// The newest first.
    pub newest_first: bool,
    /// How many, at most; 0 for as many as fit.
    pub limit: usize,
}

/// A page of the trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The entries, in the order that was asked for.
    pub entries: Vec<Sealed>,
    /// The number of the last entry that was looked at, from which the next page goes on; `None` if that is all.
    pub more_from: Option<u64>,
    /// Numbers of entries that are on disk but cannot be read.
    pub unreadable: Vec<u64>,
    /// Where the trail begins.
    pub anchor: Anchor,
    /// The number of its last entry, or that of the anchor if there is none.
    pub head: u64,
}

#[cfg(test)]
mod tests {
    use super::super::{Event, What};
    use super::*;

    #[test]
    fn takes_what_has_all_that_is_wanted() {
        let event = Event::of(What::RequestRefused).client(&"dev1".parse().unwrap()).reason("wrong_secret");
        let entry = Entry { seq: 1, time: UnixTime::from_secs(10), event };
        let kind = |kind: &str| Filter { kind: Some(kind.into()), ..Filter::default() };
        let time =
            |since, until| Filter { since: Some(UnixTime::from_secs(since)), until: Some(UnixTime::from_secs(until)), ..Filter::default() };
        let client = |id: &str| Filter { client_id: id.parse().ok(), ..Filter::default() };
        let reason = |reason: &str| Filter { reason: Some(reason.into()), ..Filter::default() };
        for wanted in [Filter::default(), kind("refusal"), kind("refusal.request"), time(10, 11), client("dev1"), reason("wrong_secret")] {
            assert!(wanted.takes(&entry), "{wanted:?}");
        }
        for other in
            [kind("operator"), kind("refusal.connection"), kind(""), time(11, 20), time(0, 10), client("dev2"), reason("malformed")]
        {
            assert!(!other.takes(&entry), "{other:?}");
        }
        assert!(!Filter { reason: Some("malformed".into()), ..client("dev1") }.takes(&entry));
    }
}
