//! Refusals under flood: alike ones are counted and told together, in bounded memory and at a bounded rate.
//!
//! A refusal is told soon after the first of its kind, and from then on once a window. Client ids that nobody registered have places of their
//! own, so that made-up ones push nothing else out; past the places, refusals are counted by reason alone. What may be told in an hour is
//! bounded too, and what cannot be told yet goes on being counted.

use std::collections::HashMap;

use super::{Event, What};
use crate::clock::UnixTime;
use crate::oauth::ClientId;

/// Kinds of refusals of registered clients that are counted one by one.
const KNOWN_PLACES: usize = 1_024;
/// Those of client ids that nobody registered.
const UNKNOWN_PLACES: usize = 32;
/// Of what may be told in an hour, the share of client ids that nobody registered is one in so many.
const UNKNOWN_SHARE: u32 = 6;
/// What may be told at once is what may be told in an hour, divided by this.
const BURST: u32 = 6;
const HOUR: u64 = 3_600;

/// A refused request or connection, in words of ours.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// What was refused.
    pub what: What,
    /// Who was named, if that is a client id.
    pub client_id: Option<&'a ClientId>,
    /// Who tried to administer the gateway.
    pub uid: Option<u32>,
    /// Whether there is such a client.
    pub known: bool,
    /// The reason code.
    pub reason: &'static str,
    /// The link, if it came through one.
    pub link: Option<&'static str>,
}

/// What bounds the telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalRules {
    /// Seconds in which refusals of one kind are told once.
    pub window: u32,
    /// How many entries they may fill in an hour.
    pub per_hour: u32,
}

impl Default for RefusalRules {
    fn default() -> Self {
        Self { window: 600, per_hour: 360 }
    }
}

/// Counts refusals until they are told.
#[derive(Debug)]
pub struct Refusals {
    rules: RefusalRules,
    kinds: HashMap<Kind, Count>,
    /// How many kinds name a client, by whether it is registered.
    known: usize,
    unknown: usize,
    known_budget: Budget,
    unknown_budget: Budget,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    what: What,
    /// `None` for many.
    client_id: Option<ClientId>,
    uid: Option<u32>,
    known: bool,
    reason: &'static str,
    link: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    /// Since it was last told.
    count: u64,
    first: UnixTime,
    last: UnixTime,
    /// When it was last told.
    told: Option<UnixTime>,
}

/// So many in an hour, some of them at once.
#[derive(Debug, Clone, Copy)]
struct Budget {
    per_hour: u32,
    /// In seconds of waiting, each entry costing an hour divided by `per_hour`.
    saved: u64,
    since: UnixTime,
}

impl Budget {
    fn new(per_hour: u32) -> Self {
        let mut budget = Self { per_hour: per_hour.max(1), saved: 0, since: UnixTime::default() };
        budget.saved = budget.most();
        budget
    }

    /// In units of which a second brings `per_hour`, and an entry costs an hour.
    fn most(self) -> u64 {
        u64::from(self.per_hour.div_ceil(BURST)).saturating_mul(HOUR)
    }

    fn earn(&mut self, now: UnixTime) {
        // A clock that goes back earns nothing.
        let seconds = now.as_secs().saturating_sub(self.since.as_secs());
        self.saved = self.saved.saturating_add(seconds.saturating_mul(self.per_hour.into())).min(self.most());
        self.since = now;
    }

    fn spend(&mut self) -> bool {
        let left = self.saved.checked_sub(HOUR);
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }
}

impl Refusals {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(rules: RefusalRules) -> Self {
        let unknown = rules.per_hour.div_ceil(UNKNOWN_SHARE);
        Self {
            rules,
            kinds: HashMap::new(),
            known: 0,
            unknown: 0,
            known_budget: Budget::new(rules.per_hour.saturating_sub(unknown)),
            unknown_budget: Budget::new(unknown),
        }
    }

    /// The same counts under other rules.
    pub fn set_rules(&mut self, rules: RefusalRules) {
        let kinds = std::mem::take(&mut self.kinds);
        *self = Self { kinds, known: self.known, unknown: self.unknown, ..Self::new(rules) };
    }

    /// Counts one. Whether it is the first of its kind that is to be told.
    pub fn count(&mut self, refused: Refused<'_>, now: UnixTime) -> bool {
        let Refused { what, client_id, uid, known, reason, link } = refused;
        let mut kind = Kind { what, client_id: client_id.cloned(), uid, known, reason, link };
        if kind.names_one() && !self.kinds.contains_key(&kind) {
            let (places, taken) = if known { (KNOWN_PLACES, &mut self.known) } else { (UNKNOWN_PLACES, &mut self.unknown) };
            if *taken < places {
                *taken = taken.saturating_add(1);
            } else {
                kind = kind.of_many();
            }
        }
        let count = self.kinds.entry(kind).or_insert(Count { count: 0, first: now, last: now, told: None });
        if count.count == 0 {
            count.first = now;
        }
        count.last = now;
        count.count = count.count.saturating_add(1);
        count.count == 1 && count.told.is_none()
    }

    /// What is to be told now, those that have waited longest first.
    pub fn take_due(&mut self, now: UnixTime) -> Vec<Event> {
        self.known_budget.earn(now);
        self.unknown_budget.earn(now);
        let window = u64::from(self.rules.window);
        // A clock that went back makes due what would wait for ages.
        let due = |count: &Count| count.told.is_none_or(|told| told > now || now >= told.saturating_add(window));
        let mut waiting: Vec<(UnixTime, Kind)> =
            self.kinds.iter().filter(|(_, count)| count.count > 0 && due(count)).map(|(kind, count)| (count.first, kind.clone())).collect();
        waiting
            .sort_by(|(a, one), (b, other)| (a, one.reason, &one.client_id, one.uid).cmp(&(b, other.reason, &other.client_id, other.uid)));
        let mut events = Vec::new();
        for (_, kind) in waiting {
            let budget = if kind.known { &mut self.known_budget } else { &mut self.unknown_budget };
            if !budget.spend() {
                continue;
            }
            if let Some(count) = self.kinds.get_mut(&kind) {
                events.push(kind.event(count));
                *count = Count { count: 0, told: Some(now), ..*count };
            }
        }
        self.forget(|count| count.count == 0 && due(count));
        events
    }

    /// All that was counted, at the end: what there is no budget for is told by reason alone.
    pub fn take_all(&mut self, now: UnixTime) -> Vec<Event> {
        for count in self.kinds.values_mut() {
            count.told = None;
        }
        let mut events = self.take_due(now);
        let mut rest: HashMap<Kind, Count> = HashMap::new();
        for (kind, count) in self.kinds.drain().filter(|(_, count)| count.count > 0) {
            let all = rest.entry(kind.of_many()).or_insert(Count { count: 0, ..count });
            all.count = all.count.saturating_add(count.count);
            all.first = all.first.min(count.first);
            all.last = all.last.max(count.last);
        }
        (self.known, self.unknown) = (0, 0);
        let mut rest: Vec<_> = rest.into_iter().collect();
        rest.sort_by_key(|(kind, count)| (count.first, kind.reason, kind.link, kind.what.event(), kind.known));
        events.extend(rest.iter().map(|(kind, count)| kind.event(count)));
        events
    }

    fn forget(&mut self, over: impl Fn(&Count) -> bool) {
        let (mut known, mut unknown) = (0_usize, 0_usize);
        self.kinds.retain(|kind, count| {
            let keep = !over(count);
            if keep && kind.names_one() {
                let places = if kind.known { &mut known } else { &mut unknown };
                *places = places.saturating_add(1);
            }
            keep
        });
        (self.known, self.unknown) = (known, unknown);
    }
}

impl Kind {
    fn names_one(&self) -> bool {
        self.client_id.is_some() || self.uid.is_some()
    }

    fn of_many(self) -> Self {
        Self { client_id: None, uid: None, ..self }
    }

    fn event(&self, count: &Count) -> Event {
        let event = Event::of(self.what).reason(self.reason).counted(count.count, count.first, count.last);
        Event { client_id: self.client_id.clone(), uid: self.uid, link: self.link.map(Into::into), ..event }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests count small numbers")]

    use super::*;

    const NOW: u64 = 1_795_383_984;

    fn at(second: u64) -> UnixTime {
        UnixTime::from_secs(NOW.saturating_add(second))
    }

    fn refuse(refusals: &mut Refusals, id: &str, known: bool, second: u64) -> bool {
        let client_id = id.parse().unwrap();
        let refused = Refused {
            what: What::RequestRefused,
            client_id: Some(&client_id),
            uid: None,
            known,
            reason: "wrong_secret",
            link: Some("broker"),
        };
        refusals.count(refused, at(second))
    }

    fn told(events: &[Event]) -> Vec<(Option<&str>, u64)> {
        events.iter().map(|event| (event.client_id.as_ref().map(ClientId::as_str), event.count.unwrap())).collect()
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_once_a_window() {
        let mut refusals = Refusals::new(RefusalRules { window: 60, per_hour: 3_600 });
        assert!(refuse(&mut refusals, "a", true, 0));
        assert!(!refuse(&mut refusals, "a", true, 2));
        let first = refusals.take_due(at(5));
        assert_eq!(told(&first), [(Some("a"), 2)]);
        assert_eq!((first[0].first, first[0].last), (Some(at(0)), Some(at(2))));
        for second in 10..30 {
            assert!(!refuse(&mut refusals, "a", true, second), "it is told by then that there are more");
        }
        assert!(refusals.take_due(at(64)).is_empty());
        let second = refusals.take_due(at(65));
        assert_eq!((told(&second), second[0].first, second[0].last), (vec![(Some("a"), 20)], Some(at(10)), Some(at(29))));
        // After a window without any it is news again.
        assert!(refusals.take_due(at(125)).is_empty());
        assert!(refuse(&mut refusals, "a", true, 130));
        assert!(refusals.kinds.len() == 1 && refusals.known == 1);
    }

    #[test]
    fn made_up_ids_take_bounded_room_and_push_nobody_out() {
        let mut refusals = Refusals::new(RefusalRules { window: 600, per_hour: 360 });
        for number in 0..100_000_u64 {
            refuse(&mut refusals, &format!("made-up-{number}"), false, number / 1_000);
            if number % 1_000 == 0 {
                refuse(&mut refusals, &format!("honest-{}", number / 1_000), true, number / 1_000);
            }
        }
        assert!(refusals.kinds.len() <= UNKNOWN_PLACES + 1 + 100, "{}", refusals.kinds.len());
        let mut events = Vec::new();
        for minute in 2..62 {
            events.extend(refusals.take_due(at(minute * 60)));
        }
        let honest = events.iter().filter(|event| event.client_id.as_ref().is_some_and(|id| id.as_str().starts_with("honest"))).count();
        assert_eq!(honest, 100, "each honest client is told of");
        let made_up: Vec<_> =
            events.iter().filter(|event| !event.client_id.as_ref().is_some_and(|id| id.as_str().starts_with("honest"))).collect();
        assert!(made_up.len() <= 60 + 10, "{}", made_up.len());
        assert_eq!(made_up.iter().map(|event| event.count.unwrap()).sum::<u64>(), 100_000, "none is lost");
        assert!(made_up.iter().any(|event| event.client_id.is_none() && event.count.unwrap() > 99_000));
    }

    #[test]
    fn what_is_told_in_an_hour_is_bounded_whoever_is_refused() {
        let mut refusals = Refusals::new(RefusalRules { window: 1, per_hour: 60 });
        let mut events = Vec::new();
        for second in 0..3_600 {
            for number in 0..20 {
                refuse(&mut refusals, &format!("dev-{number}"), true, second);
            }
            events.extend(refusals.take_due(at(second)));
        }
        assert!((50..=60).contains(&events.len()), "{}", events.len());
        let left: u64 = refusals.take_all(at(3_600)).iter().map(|event| event.count.unwrap()).sum();
        let told: u64 = events.iter().map(|event| event.count.unwrap()).sum();
        assert_eq!(told + left, 3_600 * 20);
    }

    #[test]
    fn the_end_tells_all_in_few_entries() {
        let mut refusals = Refusals::new(RefusalRules { window: 600, per_hour: 12 });
        for number in 0..2_000 {
            refuse(&mut refusals, &format!("dev-{number}"), true, 0);
        }
        let events = refusals.take_all(at(1));
        assert!(events.len() <= 3, "{}", events.len());
        assert_eq!(events.iter().map(|event| event.count.unwrap()).sum::<u64>(), 2_000);
        assert!(refusals.take_all(at(2)).is_empty() && refusals.kinds.is_empty());
    }

    #[test]
    fn a_clock_that_goes_back_holds_nothing_up() {
        let mut refusals = Refusals::new(RefusalRules::default());
        refuse(&mut refusals, "a", true, 1_000_000);
        assert_eq!(refusals.take_due(at(1_000_000)).len(), 1);
        refuse(&mut refusals, "a", true, 0);
        assert_eq!(refusals.take_due(at(1)).len(), 1);
    }
}
