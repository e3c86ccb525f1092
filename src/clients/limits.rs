//! How much of the gateway one client, one attacker and all together may use. State is kept for registered clients alone, and for those only while it
//! says something, so no number of invented client ids takes memory. Only what a client itself did, by a proof of who it is, counts towards its limits;
//! failed proofs count towards a lockout of secrets, kept apart by where they came from.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::Criticality;
use crate::clock::UnixTime;
use crate::oauth::ClientId;

/// Entries from which on those that say nothing any more are looked for.
const SWEEP_FROM: usize = 256;
/// Counts of who had how much in a second. Two clients that meet share a part.
const SHARES: usize = 256;
/// A client has this part of what comes back in a second, when there is little, and no less than [`LEAST_PART`].
const PART: u32 = 32;
const LEAST_PART: u32 = 4;
/// Entries of lockouts, at most; the oldest goes first.
const MAX_LOCKOUTS: usize = 4_096;

/// So many at once, and then `amount` more in each `seconds`. 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// How many come back.
    pub amount: u32,
    /// In how many seconds; at least 1.
    pub seconds: u32,
    /// How many at once.
    pub burst: u32,
}

impl Rate {
    /// `amount` a second, and up to `burst` at once.
    #[must_use]
    pub const fn per_second(amount: u32, burst: u32) -> Self {
        Self { amount, seconds: 1, burst }
    }

    /// `amount` an hour, all of which may come at once.
    #[must_use]
    pub const fn per_hour(amount: u32) -> Self {
        Self { amount, seconds: 3_600, burst: amount }
    }

    const fn is_off(self) -> bool {
        self.amount == 0
    }
}

/// What an operator sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitRules {
    /// Requests of everybody.
    pub overall: Rate,
    /// Tokens of one client.
    pub client: Rate,
    /// Changes of one client that are written to the disk: rotations of its credential, revocations of its tokens.
    pub writes: Rate,
    /// Failed proofs after which secrets are not looked at for a while; 0 for never.
    pub lockout_after: u32,
    /// Seconds that a lockout lasts, at most; the first one lasts a second, and each further failure doubles it.
    pub lockout_longest: u32,
    /// TLS handshakes that begin in a second; 0 for any number.
    pub handshakes: u32,
    /// The same of one address.
    pub handshakes_of_address: u32,
}

/// Where a proof came from, as far as the gateway knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A request: the broker let its sender publish on the client's topics.
    Request,
    /// A CONNECT to the embedded broker.
    Address(IpAddr),
}

/// Seconds after which there is room again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// At least 1.
    pub wait: u32,
}

/// What is left of a rate.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    /// Up to when it was filled.
    filled: UnixTime,
}

impl Bucket {
    const fn full(rate: Rate, now: UnixTime) -> Self {
        Self { left: rate.burst, filled: now }
    }

    fn fill(&mut self, rate: Rate, now: UnixTime) {
        let seconds = u64::from(rate.seconds.max(1));
        let rounds = now.as_secs().saturating_sub(self.filled.as_secs()).checked_div(seconds).unwrap_or_default();
        if rounds > 0 {
            let more = u32::try_from(rounds).unwrap_or(u32::MAX).saturating_mul(rate.amount);
            self.left = self.left.saturating_add(more).min(rate.burst.max(1));
            self.filled = self.filled.saturating_add(rounds.saturating_mul(seconds));
        }
    }

    /// Takes one, if so many are left then.
    fn take(&mut self, rate: Rate, reserve: u32, now: UnixTime) -> Result<(), Exhausted> {
        if rate.is_off() {
            return Ok(());
        }
        self.fill(rate, now);
        match self.left.checked_sub(1).filter(|left| *left >= reserve) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let next = self.filled.as_secs().saturating_add(u64::from(rate.seconds.max(1)));
                Err(Exhausted { wait: u32::try_from(next.saturating_sub(now.as_secs())).unwrap_or(u32::MAX).max(1) })
            }
        }
    }

    /// Whether a new one would say the same.
    fn says_nothing(mut self, rate: Rate, now: UnixTime) -> bool {
        self.fill(rate, now);
        rate.is_off() || self.left >= rate.burst
    }
}

/// Who had how much in this second: by the hash of the name under a key of this process, so that no number of names takes memory.
struct Shares {
    second: UnixTime,
    all: u32,
    had: [u32; SHARES],
    hasher: RandomState,
}

impl Shares {
    fn new(now: UnixTime) -> Self {
        Self { second: now, all: 0, had: [0; SHARES], hasher: RandomState::new() }
    }

    fn slot(&self, name: impl Hash) -> usize {
        // Only chance counts here: on a small host the upper half of the hash is cut off.
        (self.hasher.hash_one(name) as usize).checked_rem(SHARES).unwrap_or_default()
    }

    /// How much the name, and whoever shares its part, had in this second.
    fn had(&mut self, name: impl Hash, now: UnixTime) -> u32 {
        if now != self.second {
            (self.second, self.all, self.had) = (now, 0, [0; SHARES]);
        }
        self.had.get(self.slot(name)).copied().unwrap_or_default()
    }

    /// One more for the name.
    fn count(&mut self, name: impl Hash) {
        self.all = self.all.saturating_add(1);
        let slot = self.slot(name);
        if let Some(had) = self.had.get_mut(slot) {
            *had = had.saturating_add(1);
        }
    }
}

/// What is left for all, and which client had how much of it.
struct Overall {
    bucket: Bucket,
    shares: Shares,
}

impl Overall {
    /// One for that client. Once half is gone nobody has more than a part of what comes back in a second, or one could take it all.
    fn take(&mut self, client_id: &ClientId, criticality: Criticality, rate: Rate, now: UnixTime) -> Result<(), Exhausted> {
        self.bucket.fill(rate, now);
        let had = self.shares.had(client_id.as_str(), now);
        let is_scarce = self.bucket.left < rate.burst / 2;
        if is_scarce && had >= (rate.amount / PART).max(LEAST_PART) {
            return Err(Exhausted { wait: 1 });
        }
        self.bucket.take(rate, criticality.reserve(rate.burst), now)?;
        self.shares.count(client_id.as_str());
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
struct Used {
    tokens: Bucket,
    writes: Bucket,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// When the last one was.
    last: UnixTime,
    /// Secrets are not looked at before.
    until: UnixTime,
}

/// The limits in force and what they have seen.
pub struct Limits {
    handshakes: Mutex<Shares>,
    rules: RwLock<LimitRules>,
    overall: Mutex<Overall>,
    clients: Mutex<HashMap<ClientId, Used>>,
    failures: Mutex<HashMap<(ClientId, Source), Failures>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Limits {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(rules: LimitRules, now: UnixTime) -> Self {
        let overall = Mutex::new(Overall { bucket: Bucket::full(rules.overall, now), shares: Shares::new(now) });
        let handshakes = Mutex::new(Shares::new(now));
        Self { handshakes, rules: RwLock::new(rules), overall, clients: Mutex::default(), failures: Mutex::default() }
    }

    /// Other rules from now on.
    pub fn set(&self, rules: LimitRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    fn rules(&self) -> LimitRules {
        *self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more request of that client, which is as critical as that, as far as its topic says.
    ///
    /// # Errors
    /// If all together have used up theirs, but for what is kept for those who are more critical; or if there is little left and the client has had
    /// its part of that.
    pub fn request(&self, client_id: &ClientId, criticality: Criticality, now: UnixTime) -> Result<(), Exhausted> {
        let rate = self.rules().overall;
        if rate.is_off() { Ok(()) } else { locked(&self.overall).take(client_id, criticality, rate, now) }
    }

    /// Whether one more TLS handshake may begin in this second.
    #[must_use]
    pub fn handshake(&self, address: IpAddr, now: UnixTime) -> bool {
        let LimitRules { handshakes: most, handshakes_of_address: most_of_address, .. } = self.rules();
        let mut handshakes = locked(&self.handshakes);
        let of_address = handshakes.had(address, now);
        let is_beyond = |most: u32, count: u32| most > 0 && count >= most;
        if is_beyond(most, handshakes.all) || is_beyond(most_of_address, of_address) {
            return false;
        }
        handshakes.count(address);
        true
    }

    /// Whether requests have a limit.
    #[must_use]
    pub fn has_overall(&self) -> bool {
        !self.rules().overall.is_off()
    }

    /// One more token for a client that has proved who it is.
    ///
    /// # Errors
    /// If it has used up its own.
    pub fn token(&self, client_id: &ClientId, now: UnixTime) -> Result<(), Exhausted> {
        let rate = self.rules().client;
        if rate.is_off() { Ok(()) } else { self.used(client_id, now, |used| used.tokens.take(rate, 0, now)) }
    }

    /// One more change that a client which has proved who it is wants written to the disk.
    ///
    /// # Errors
    /// If it has used up its own.
    pub fn write(&self, client_id: &ClientId, now: UnixTime) -> Result<(), Exhausted> {
        let rate = self.rules().writes;
        if rate.is_off() { Ok(()) } else { self.used(client_id, now, |used| used.writes.take(rate, 0, now)) }
    }

    fn used<T>(&self, client_id: &ClientId, now: UnixTime, take: impl FnOnce(&mut Used) -> T) -> T {
        let rules = self.rules();
        let mut clients = locked(&self.clients);
        if let Some(used) = clients.get_mut(client_id) {
            return take(used);
        }
        // At the ends of doublings alone, so that a fleet that all asks at once is not walked through for each.
        if clients.len() >= SWEEP_FROM && clients.len() == clients.capacity() {
            clients.retain(|_, used| !(used.tokens.says_nothing(rules.client, now) && used.writes.says_nothing(rules.writes, now)));
            if clients.len().saturating_mul(4) < clients.capacity() {
                let room = SWEEP_FROM.max(clients.len().saturating_mul(2));
                clients.shrink_to(room);
            }
        }
        let new = Used { tokens: Bucket::full(rules.client, now), writes: Bucket::full(rules.writes, now) };
        take(clients.entry(client_id.clone()).or_insert(new))
    }

    /// Whether secrets for that client from there are not looked at now.
    #[must_use]
    pub fn is_locked_out(&self, client_id: &ClientId, source: Source, now: UnixTime) -> bool {
        let failures = locked(&self.failures);
        !failures.is_empty() && failures.get(&(client_id.clone(), source)).is_some_and(|failures| now < failures.until)
    }

    /// A proof for a registered client failed. What was not looked at is no failure.
    pub fn failed(&self, client_id: &ClientId, source: Source, now: UnixTime) {
        let LimitRules { lockout_after, lockout_longest, .. } = self.rules();
        if lockout_after == 0 {
            return;
        }
        let mut all = locked(&self.failures);
        if all.len() >= MAX_LOCKOUTS && !all.contains_key(&(client_id.clone(), source)) {
            all.retain(|_, failures| !is_forgiven(failures, lockout_longest, now));
            let oldest = all.iter().min_by_key(|(_, failures)| failures.last).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest.filter(|_| all.len() >= MAX_LOCKOUTS) {
                all.remove(&oldest);
            }
        }
        let new = Failures { count: 0, last: now, until: now };
        let failures = all.entry((client_id.clone(), source)).or_insert(new);
        if is_forgiven(failures, lockout_longest, now) {
            *failures = new;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if let Some(beyond) = failures.count.checked_sub(lockout_after) {
            let seconds = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX).min(lockout_longest);
            failures.until = now.saturating_add(u64::from(seconds));
        }
    }

    /// A client has proved who it is, from there.
    pub fn succeeded(&self, client_id: &ClientId, source: Source) {
        let mut failures = locked(&self.failures);
        if !failures.is_empty() {
            failures.remove(&(client_id.clone(), source));
        }
    }

    /// Pairs of client and source whose secrets are not looked at now.
    #[must_use]
    pub fn lockouts(&self, now: UnixTime) -> usize {
        locked(&self.failures).values().filter(|failures| now < failures.until).count()
    }

    /// Clients and pairs of which something is remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        locked(&self.clients).len().saturating_add(locked(&self.failures).len())
    }
}

/// Whether failures are so long ago that they count no more.
fn is_forgiven(failures: &Failures, lockout_longest: u32, now: UnixTime) -> bool {
    now >= failures.until && now.as_secs().saturating_sub(failures.last.as_secs()) > u64::from(lockout_longest).max(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(1_000_000).saturating_add(seconds)
    }

    fn id(number: usize) -> ClientId {
        format!("dev{number}").parse().unwrap()
    }

    const RULES: LimitRules = LimitRules {
        overall: Rate::per_second(3, 6),
        client: Rate::per_second(2, 4),
        writes: Rate::per_hour(2),
        lockout_after: 3,
        lockout_longest: 60,
        handshakes: 10,
        handshakes_of_address: 4,
    };

    /// How many are taken until there are no more, and how long to wait then.
    fn taken(mut take: impl FnMut() -> Result<(), Exhausted>) -> (usize, u32) {
        let outcomes = std::iter::repeat_with(&mut take).take(1_000).enumerate();
        let mut beyond = outcomes.filter_map(|(count, outcome)| outcome.err().map(|Exhausted { wait }| (count, wait)));
        beyond.next().expect("there is no limit")
    }

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let limits = Limits::new(RULES, at(0));
        assert_eq!(taken(|| limits.token(&id(1), at(0))), (4, 1));
        assert_eq!(taken(|| limits.token(&id(1), at(1))), (2, 1));
        assert_eq!(taken(|| limits.token(&id(1), at(100))), (4, 1), "no more than a burst is saved up");
        assert_eq!(taken(|| limits.token(&id(2), at(1))), (4, 1), "another client's");
        assert_eq!(taken(|| limits.write(&id(1), at(100))), (2, 3_500), "from when it was first seen");
        assert_eq!(taken(|| limits.write(&id(1), at(3_599))).0, 0);
        assert_eq!(taken(|| limits.write(&id(1), at(3_600))).0, 2);
        let mut others = 100..;
        let mut request = |now| limits.request(&id(others.next().unwrap()), Criticality::Critical, now);
        assert_eq!(taken(|| request(at(0))), (6, 1));
        assert_eq!(taken(|| request(at(2))), (6, 1));
    }

    #[test]
    fn what_is_left_is_for_the_more_critical() {
        // So much comes back that nobody's part of it matters.
        let rules = LimitRules { overall: Rate::per_second(8_000, 80), ..RULES };
        let limits = Limits::new(rules, at(0));
        let mut names = 0..;
        let mut request = |criticality| limits.request(&id(names.next().unwrap()), criticality, at(0));
        assert_eq!(Criticality::ALL.map(|criticality| taken(|| request(criticality)).0), [40, 20, 10, 10]);
        // The one who needs it most comes when nobody else does any more.
        let all = Limits::new(rules, at(0));
        let mut names = 0..;
        assert_eq!(taken(|| all.request(&id(names.next().unwrap()), Criticality::Critical, at(0))).0, 80);
    }

    #[test]
    fn no_client_takes_all_that_is_left() {
        let rules = LimitRules { overall: Rate::per_second(320, 640), ..RULES };
        let limits = Limits::new(rules, at(0));
        let flood = |now| taken(|| limits.request(&id(1), Criticality::Normal, now)).0;
        // As long as there is plenty it may have it.
        assert_eq!(flood(at(0)), 321);
        let served = |now| (2..42).filter(|number| limits.request(&id(*number), Criticality::Normal, now).is_ok()).count();
        for second in 1..20 {
            flood(at(second));
            // A few may share the flood's part by chance.
            assert!(served(at(second)) >= 34, "second {second}");
        }
    }

    #[test]
    fn handshakes_begin_at_a_rate() {
        let limits = Limits::new(RULES, at(0));
        let begun = |last: u8, now| (0..100).filter(|_| limits.handshake([192, 0, 2, last].into(), now)).count();
        assert_eq!([1, 1].map(|address| begun(address, at(0))), [4, 0]);
        assert_eq!((2..100).map(|address| begun(address, at(0))).sum::<usize>(), 6);
        assert_eq!(begun(1, at(1)), 4);
        let unlimited = Limits::new(LimitRules::default(), at(0));
        assert!((0..1_000).all(|_| unlimited.handshake([192, 0, 2, 1].into(), at(0))));
    }

    #[test]
    fn without_a_limit_there_is_none_and_rules_may_change() {
        let limits = Limits::new(LimitRules::default(), at(0));
        for _ in 0..1_000 {
            limits
                .token(&id(1), at(0))
                .and_then(|()| limits.write(&id(1), at(0)))
                .and_then(|()| limits.request(&id(1), Criticality::Low, at(0)))
                .unwrap();
            limits.failed(&id(1), Source::Request, at(0));
        }
        assert!(!limits.is_locked_out(&id(1), Source::Request, at(0)));
        assert_eq!(limits.remembered(), 0);
        limits.set(RULES);
        assert_eq!(taken(|| limits.token(&id(1), at(0))).0, 4);
    }

    #[test]
    fn failures_lock_secrets_out_for_longer_and_longer() {
        let limits = Limits::new(RULES, at(0));
        let source = Source::Address([192, 0, 2, 1].into());
        let mut now = 0;
        let mut lasted = Vec::new();
        for _ in 0..10 {
            limits.failed(&id(1), source, at(now));
            let begun = now;
            while limits.is_locked_out(&id(1), source, at(now)) {
                now += 1;
            }
            lasted.push(now - begun);
        }
        assert_eq!(lasted, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(!limits.is_locked_out(&id(1), Source::Request, at(0)), "another source");
        assert!(!limits.is_locked_out(&id(2), source, at(0)), "another client");
        limits.failed(&id(1), source, at(now));
        assert_eq!(limits.lockouts(at(now)), 1);
        limits.succeeded(&id(1), source);
        assert!(!limits.is_locked_out(&id(1), source, at(now)));
        // What is long ago counts no more.
        (0..2).for_each(|_| limits.failed(&id(3), source, at(now)));
        limits.failed(&id(3), source, at(now + 1_000));
        assert_eq!(limits.lockouts(at(now + 1_000)), 0);
    }

    #[test]
    fn memory_is_bounded_whoever_fails_from_wherever() {
        let limits = Limits::new(RULES, at(0));
        for number in 0..20_000_u32 {
            let address = std::net::Ipv4Addr::from(number);
            limits.failed(&id(1), Source::Address(address.into()), at(u64::from(number / 200)));
        }
        assert_eq!(limits.remembered(), MAX_LOCKOUTS);
    }

    #[test]
    fn clients_are_forgotten_once_there_is_nothing_to_remember() {
        let limits = Limits::new(LimitRules { writes: Rate::default(), ..RULES }, at(0));
        for number in 0..100_000 {
            // Each of a large fleet, a few in each second.
            limits.token(&id(number), at(u64::try_from(number).unwrap() / 100)).unwrap();
        }
        assert!(limits.remembered() < 1_000, "{}", limits.remembered());
    }
}
