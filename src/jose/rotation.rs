//! The life of signing keys: which one signs and which are published, from when to when. Time is an argument; no file is touched here.
//!
//! A new key is published before it signs, so that whoever verifies tokens knows it by then. A key that stopped signing stays published until
//! the last of its tokens has expired. The wall clock may jump, so two clocks decide: what ends a key's publication must be past on the wall
//! clock and, as far as one process saw it, on a clock that never jumps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;

/// Keys on the JWK Set at most: it stays small enough for a small device, however often an operator rotates.
pub const MAX_KEYS: usize = 8;

/// When keys change. All in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationRules {
    /// How long a key signs before a successor is published; 0 for no rotation by itself.
    pub interval: u64,
    /// How long a key is published before it signs.
    pub propagation: u64,
    /// What no token outlives.
    pub max_lifetime: u64,
    /// How far the clocks of those who verify may be behind.
    pub clock_skew: u64,
}

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, which may jump. Tokens are dated by it.
    pub wall: UnixTime,
    /// Time since some moment of this process, which never jumps.
    pub uptime: Duration,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// The published key is to sign.
    Activate,
    /// The last token of that key has expired.
    Remove(String),
    /// A new key is to be published.
    Publish,
}

/// The state of a key on the JWK Set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Waits to sign.
    Published,
    /// Signs.
    Active,
    /// Signed, and is published until its last token has expired.
    Retiring,
}

impl KeyState {
    /// The word for operators.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }
}

/// Where a key is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its id.
    pub kid: String,
    /// Its state.
    pub state: KeyState,
    /// Since when.
    pub since: UnixTime,
    /// Until when, if that is known.
    pub until: Option<UnixTime>,
}

/// The keys of a JWK Set and their states: one signs, at most one waits to. Serialises to what must survive the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    active: Active,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Next>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retiring: Vec<Retiring>,
    /// Removed from the set; their files are to be removed, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Active {
    kid: String,
    since: UnixTime,
    /// The latest that the wall clock showed while the key signed.
    latest: UnixTime,
    /// The longest life a token of this key may have had.
    lifetime: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    kid: String,
    since: UnixTime,
    /// Since when this process publishes it; `None` if it does not.
    #[serde(skip)]
    entered: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retiring {
    kid: String,
    since: UnixTime,
    until: UnixTime,
    /// Until when on this process's clock, if it stopped signing in this process.
    #[serde(skip)]
    until_uptime: Duration,
    /// How long it is published from when it stopped, if that has yet to take effect.
    #[serde(skip)]
    unsettled: Option<u64>,
}

impl Rotation {
    /// A first key, which signs at once: nobody knows another.
    #[must_use]
    pub fn begin(kid: String, at: Moment, rules: &RotationRules) -> Self {
        Self { active: Active::begin(kid, at, rules), next: None, retiring: Vec::new(), gone: Vec::new() }
    }

    /// Takes over keys of which only the order is known. The others may have signed until just now.
    #[must_use]
    pub fn adopt(active: String, others: impl IntoIterator<Item = String>, at: Moment, rules: &RotationRules) -> Self {
        let mut rotation = Self::begin(active, at, rules);
        rotation.retiring = others.into_iter().map(|kid| Active::begin(kid, at, rules).retire(at, rules)).collect();
        rotation
    }

    /// A process begins to publish the keys. Nobody may have seen a key that waited while none ran, so its time begins anew.
    pub fn resume(&mut self, at: Moment, rules: &RotationRules) {
        self.active.lifetime = self.active.lifetime.max(rules.max_lifetime);
        self.observe(at);
        if let Some(next) = &mut self.next {
            (next.since, next.entered) = (at.wall, Some(at.uptime));
        }
    }

    /// Takes notice of the time. To be called every few seconds: tokens are dated by a clock that may be set back afterwards.
    pub fn observe(&mut self, at: Moment) {
        self.active.latest = self.active.latest.max(at.wall);
    }

    /// What is to be done now, one thing after the other.
    #[must_use]
    pub fn due(&self, at: Moment, rules: &RotationRules) -> Option<Due> {
        self.deadlines(at, rules).find_map(|(wait, due)| wait.is_zero().then_some(due))
    }

    /// How long nothing is to be done, if the wall clock does not jump; `None` for ever.
    #[must_use]
    pub fn wait(&self, at: Moment, rules: &RotationRules) -> Option<Duration> {
        self.deadlines(at, rules).map(|(wait, _)| wait).min()
    }

    fn deadlines(&self, at: Moment, rules: &RotationRules) -> impl Iterator<Item = (Duration, Due)> {
        let activate = self.next.as_ref().and_then(|next| next.entered).map(|entered| {
            let signs = entered.saturating_add(Duration::from_secs(rules.propagation));
            (signs.saturating_sub(at.uptime), Due::Activate)
        });
        let remove = self
            .retiring
            .iter()
            .map(move |key| (until(at.wall, key.until).max(key.until_uptime.saturating_sub(at.uptime)), Due::Remove(key.kid.clone())));
        let free = self.next.is_none() && self.count() < MAX_KEYS;
        let publish =
            (free && rules.interval > 0).then(|| (until(at.wall, self.active.since.saturating_add(rules.interval)), Due::Publish));
        activate.into_iter().chain(remove).chain(publish)
    }

    /// A new key waits to sign. False, and nothing is changed, if one waits already or there are [`MAX_KEYS`].
    #[must_use]
    pub fn publish(&mut self, kid: String, at: Moment) -> bool {
        if self.next.is_some() || self.count() >= MAX_KEYS {
            return false;
        }
        self.next = Some(Next { kid, since: at.wall, entered: None });
        true
    }

    /// The published key signs from now on, and the one before it no longer. False if none is published.
    #[must_use]
    pub fn activate(&mut self, at: Moment, rules: &RotationRules) -> bool {
        let Some(next) = self.next.take() else { return false };
        let stopped = std::mem::replace(&mut self.active, Active::begin(next.kid, at, rules));
        self.retiring.push(stopped.retire(at, rules));
        true
    }

    /// A change has taken effect only now: a new key is published, or another has stopped signing.
    pub fn settle(&mut self, at: Moment) {
        if let Some(next) = &mut self.next
            && next.entered.is_none()
        {
            next.entered = Some(at.uptime);
        }
        for key in &mut self.retiring {
            if let Some(stays) = key.unsettled.take() {
                key.until = key.until.max(at.wall.saturating_add(stays));
                key.until_uptime = at.uptime.saturating_add(Duration::from_secs(stays));
            }
        }
    }

    /// Takes a key off the set, whatever its state. If it signs, the published key takes its place, else `fresh`. False, and nothing is
    /// changed, if the key is not on the set or there is nothing in its place.
    #[must_use]
    pub fn remove(&mut self, kid: &str, fresh: Option<String>, at: Moment, rules: &RotationRules) -> bool {
        if self.active.kid == kid {
            let Some(successor) = self.next.take().map(|next| next.kid).or(fresh) else { return false };
            self.active = Active::begin(successor, at, rules);
        } else if self.next.as_ref().is_some_and(|next| next.kid == kid) {
            self.next = None;
        } else if let Some(index) = self.retiring.iter().position(|key| key.kid == kid) {
            self.retiring.remove(index);
        } else {
            return false;
        }
        self.gone.push(kid.to_owned());
        true
    }

    /// The key that signs.
    #[must_use]
    pub fn active(&self) -> &str {
        &self.active.kid
    }

    /// The key that waits to sign.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        self.next.as_ref().map(|next| next.kid.as_str())
    }

    /// Keys that were taken off the set and whose files may still be there.
    #[must_use]
    pub fn gone(&self) -> &[String] {
        &self.gone
    }

    /// The files of [`Self::gone`] are no longer there.
    pub fn forget_gone(&mut self) {
        self.gone.clear();
    }

    /// The keys of the set: the one that signs, the one that is to, those that did.
    #[must_use]
    pub fn keys(&self, rules: &RotationRules) -> Vec<KeyStatus> {
        let Active { kid, since, .. } = &self.active;
        let signs_at = |next: &Next| next.entered.map(|_| next.since.saturating_add(rules.propagation));
        let rotates_at = (rules.interval > 0).then(|| since.saturating_add(rules.interval).saturating_add(rules.propagation));
        let until = self.next.as_ref().map_or(rotates_at, signs_at);
        let mut keys = vec![KeyStatus { kid: kid.clone(), state: KeyState::Active, since: *since, until }];
        keys.extend(self.next.iter().map(|key| KeyStatus {
            kid: key.kid.clone(),
            state: KeyState::Published,
            since: key.since,
            until: signs_at(key),
        }));
        keys.extend(self.retiring.iter().rev().map(|key| KeyStatus {
            kid: key.kid.clone(),
            state: KeyState::Retiring,
            since: key.since,
            until: Some(key.until),
        }));
        keys
    }

    fn count(&self) -> usize {
        self.retiring.len().saturating_add(1).saturating_add(usize::from(self.next.is_some()))
    }
}

impl Active {
    fn begin(kid: String, at: Moment, rules: &RotationRules) -> Self {
        Self { kid, since: at.wall, latest: at.wall, lifetime: rules.max_lifetime }
    }

    fn retire(self, at: Moment, rules: &RotationRules) -> Retiring {
        let stays = self.lifetime.max(rules.max_lifetime).saturating_add(rules.clock_skew);
        Retiring {
            kid: self.kid,
            since: at.wall,
            until: self.latest.max(at.wall).saturating_add(stays),
            until_uptime: at.uptime.saturating_add(Duration::from_secs(stays)),
            unsettled: Some(stays),
        }
    }
}

/// How long it is from `now` to `then`; nothing if it is past.
fn until(now: UnixTime, then: UnixTime) -> Duration {
    Duration::from_secs(then.as_secs().saturating_sub(now.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: RotationRules = RotationRules { interval: 1_000, propagation: 60, max_lifetime: 300, clock_skew: 30 };

    fn at(wall: u64, uptime: u64) -> Moment {
        Moment { wall: UnixTime::from_secs(wall), uptime: Duration::from_secs(uptime) }
    }

    fn states(rotation: &Rotation) -> Vec<(String, KeyState)> {
        rotation.keys(&RULES).into_iter().map(|key| (key.kid, key.state)).collect()
    }

    /// What the shell does at a moment; `names` gives new keys their names.
    fn tick(rotation: &mut Rotation, now: Moment, rules: &RotationRules, names: &mut impl Iterator<Item = String>) {
        rotation.observe(now);
        while let Some(due) = rotation.due(now, rules) {
            match due {
                Due::Activate => assert!(rotation.activate(now, rules)),
                Due::Publish => assert!(rotation.publish(names.next().unwrap(), now)),
                Due::Remove(kid) => assert!(rotation.remove(&kid, None, now, rules)),
            }
            rotation.settle(now);
        }
    }

    fn names() -> impl Iterator<Item = String> {
        (1_u32..).map(|number| format!("k{number}"))
    }

    #[test]
    fn a_key_is_published_signs_retires_and_goes() {
        let mut rotation = Rotation::begin("k0".into(), at(10_000, 0), &RULES);
        rotation.resume(at(10_000, 0), &RULES);
        assert_eq!(rotation.wait(at(10_000, 0), &RULES), Some(Duration::from_secs(1_000)));
        let names = &mut names();
        let mut step = |wall: u64| {
            tick(&mut rotation, at(wall, wall.saturating_sub(10_000)), &RULES, names);
            let until = rotation.keys(&RULES).iter().map(|key| key.until.unwrap().as_secs()).collect::<Vec<_>>();
            (states(&rotation), until)
        };
        let key = |kid: &str, state| (kid.to_owned(), state);
        use KeyState::{Active, Published, Retiring};
        assert_eq!(step(10_999), (vec![key("k0", Active)], vec![11_060]));
        assert_eq!(step(11_000), (vec![key("k0", Active), key("k1", Published)], vec![11_060, 11_060]));
        assert_eq!(step(11_059).0.len(), 2);
        assert_eq!(step(11_060), (vec![key("k1", Active), key("k0", Retiring)], vec![12_120, 11_390]));
        assert_eq!(step(11_389).0.len(), 2);
        assert_eq!(step(11_390), (vec![key("k1", Active)], vec![12_120]));
        assert_eq!(rotation.gone(), ["k0"]);
        rotation.forget_gone();
        assert!(rotation.gone().is_empty());
    }

    /// Two years of a clock that is set forth and back, minute by minute, with tokens of every key.
    #[test]
    fn no_clock_step_takes_a_key_from_a_valid_token() {
        let rules = RotationRules { interval: 3_000, propagation: 600, max_lifetime: 3_600, clock_skew: 60 };
        let (mut rotation, names) = (Rotation::begin("k0".into(), at(1_000_000, 0), &rules), &mut names());
        rotation.resume(at(1_000_000, 0), &rules);
        let mut wall = 1_000_000_u64;
        // For each key: when it was first published, and the latest end of its tokens on either clock.
        let mut published = std::collections::BTreeMap::from([("k0".to_owned(), 0_u64)]);
        let mut tokens = std::collections::BTreeMap::<String, (u64, u64)>::new();
        let (mut random, mut removed, mut signed_by) = (1_u64, 0_u32, "k0".to_owned());
        for uptime in (0..63_072_000_u64).step_by(60).take(200_000) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            wall = match random >> 56 {
                0 => wall.saturating_sub((random >> 32) % 20_000),
                1 => wall.saturating_add((random >> 32) % 20_000),
                _ => wall.saturating_add(60),
            };
            let before = states(&rotation);
            tick(&mut rotation, at(wall, uptime), &rules, names);
            let after = states(&rotation);
            assert_eq!(after.iter().filter(|(_, state)| *state == KeyState::Active).count(), 1);
            for (kid, _) in after.iter().filter(|key| !before.iter().any(|(kid, _)| *kid == key.0)) {
                published.insert(kid.clone(), uptime);
            }
            for (kid, _) in before.iter().filter(|key| !after.iter().any(|(kid, _)| *kid == key.0)) {
                let (by_wall, by_uptime) = tokens.remove(kid).unwrap_or_default();
                assert!(by_wall <= wall && by_uptime <= uptime, "{kid} went at {wall}/{uptime}, needed to {by_wall}/{by_uptime}");
                removed = removed.saturating_add(1);
            }
            let kid = rotation.active().to_owned();
            if kid != signed_by {
                assert!(uptime.saturating_sub(published[&kid]) >= rules.propagation || kid == "k0", "{kid} signs too early");
                signed_by.clone_from(&kid);
            }
            let ends = tokens.entry(kid).or_default();
            *ends = (ends.0.max(wall.saturating_add(3_600)), ends.1.max(uptime.saturating_add(3_600)));
        }
        assert!(removed > 1_000, "{removed}");
    }

    #[test]
    fn a_key_that_waited_without_a_process_waits_anew() {
        let mut rotation = Rotation::begin("k0".into(), at(1_000, 0), &RULES);
        assert!(rotation.publish("k1".into(), at(1_000, 0)));
        assert_eq!(rotation.due(at(900_000, 1_000_000), &RotationRules { interval: 0, ..RULES }), None, "nobody saw it");
        let text = serde_json::to_string(&rotation).unwrap();
        let mut rotation: Rotation = serde_json::from_str(&text).unwrap();
        rotation.resume(at(5_000, 7), &RULES);
        assert_eq!(rotation.due(at(5_059, 66), &RULES), None);
        assert_eq!(rotation.due(at(5_060, 67), &RULES), Some(Due::Activate));
    }

    #[test]
    fn a_lifetime_that_was_lowered_still_counts() {
        let mut rotation = Rotation::begin("k0".into(), at(1_000, 0), &RotationRules { max_lifetime: 3_600, ..RULES });
        assert!(rotation.publish("k1".into(), at(1_000, 0)));
        rotation.resume(at(1_000, 0), &RULES);
        assert!(rotation.activate(at(2_000, 1_000), &RULES));
        assert_eq!(rotation.keys(&RULES)[1].until, Some(UnixTime::from_secs(5_630)));
    }

    #[test]
    fn a_change_that_took_its_time_counts_from_its_end() {
        let mut rotation = Rotation::begin("k0".into(), at(1_000, 0), &RULES);
        assert!(rotation.publish("k1".into(), at(1_000, 0)));
        rotation.settle(at(1_000, 5));
        assert_eq!(rotation.due(at(1_064, 64), &RULES), None);
        assert_eq!(rotation.due(at(1_065, 65), &RULES), Some(Due::Activate));
        assert!(rotation.activate(at(1_065, 65), &RULES));
        rotation.settle(at(1_100, 100));
        assert_eq!(rotation.keys(&RULES)[1].until, Some(UnixTime::from_secs(1_430)));
        let by_itself_never = RotationRules { interval: 0, ..RULES };
        assert_eq!(rotation.wait(at(9_000, 100), &by_itself_never), Some(Duration::from_secs(330)));
        rotation.settle(at(1_200, 200));
        assert_eq!(rotation.keys(&RULES)[1].until, Some(UnixTime::from_secs(1_430)), "it took effect once");
    }

    #[test]
    fn revocation_puts_another_key_in_place() {
        let mut rotation = Rotation::begin("k0".into(), at(1_000, 0), &RULES);
        assert!(!rotation.remove("k9", Some("k1".into()), at(1_000, 0), &RULES), "not on the set");
        assert!(!rotation.remove("k0", None, at(1_000, 0), &RULES), "nothing in its place");
        assert!(rotation.remove("k0", Some("k1".into()), at(1_000, 0), &RULES));
        assert_eq!((rotation.active(), rotation.gone()), ("k1", &["k0".to_owned()][..]));
        assert!(rotation.publish("k2".into(), at(1_000, 0)));
        assert!(rotation.remove("k1", Some("k3".into()), at(1_000, 0), &RULES));
        assert_eq!((rotation.active(), rotation.next()), ("k2", None), "the published key comes before a fresh one");
        assert!(rotation.publish("k4".into(), at(1_000, 0)) && rotation.remove("k4", None, at(1_000, 0), &RULES));
        assert_eq!(states(&rotation), [("k2".to_owned(), KeyState::Active)]);
    }

    #[test]
    fn deny_a_second_key_in_waiting_and_too_many_keys() {
        let mut rotation = Rotation::begin("k0".into(), at(1_000, 0), &RULES);
        for kid in names().take(MAX_KEYS.saturating_sub(1)) {
            assert!(rotation.publish(kid, at(1_000, 0)));
            assert!(!rotation.publish("x".into(), at(1_000, 0)));
            assert!(rotation.activate(at(1_000, 0), &RULES));
        }
        assert!(!rotation.activate(at(1_000, 0), &RULES));
        assert_eq!(states(&rotation).len(), MAX_KEYS);
        assert!(!rotation.publish("x".into(), at(1_000, 0)));
        let due = rotation.due(at(1_001_000, 0), &RULES);
        assert_ne!(due, Some(Due::Publish), "by itself, neither");
    }
}
