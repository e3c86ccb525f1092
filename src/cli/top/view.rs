//! What is seen, as values: two looks at the gateway make a view of what happened in between.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::admin::Metrics;
use crate::mqtt::{CountersSnapshot, LatencySnapshot, LinkMetrics};

/// How many looks the curve of requests can show.
const CURVE: usize = 512;
/// The shares of requests whose latency is told.
pub(super) const SHARES: [f64; 4] = [0.5, 0.9, 0.99, 1.0];

/// What the gateway told at one moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// When, by a clock that nobody sets.
    pub(super) at: Duration,
    pub(super) metrics: Metrics,
}

/// A counter, and how fast it grew.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pace {
    /// Since the gateway started.
    pub(super) total: u64,
    /// Each second since the last look; `None` at the first one.
    pub(super) rate: Option<f64>,
}

/// The outcomes of one operation on all links.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) accepted: Pace,
    pub(super) rejected: Pace,
}

/// Latencies of token requests.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantiles {
    /// Of how many.
    pub(super) count: u64,
    /// For each of [`SHARES`]; `None` if there were no requests.
    pub(super) bounds: [Option<Bound>; SHARES.len()],
}

/// What a share of requests did not exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bound {
    /// In seconds.
    pub(super) seconds: f64,
    /// It did exceed that, and nobody knows by how much.
    pub(super) is_exceeded: bool,
}

/// Everything that is shown of the gateway.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// What it told last.
    pub(super) metrics: Metrics,
    /// Seconds between the looks; `None` at the first one.
    pub(super) interval: Option<f64>,
    pub(super) requests: Pace,
    /// Refused requests and, on the embedded broker, connections.
    pub(super) refused: Pace,
    pub(super) tokens: Pace,
    /// Operations that were asked for, and the token operation in any case.
    pub(super) operations: Vec<Operation>,
    /// Reasons that occurred, the most frequent first.
    pub(super) reasons: Vec<(String, Pace)>,
    /// Between the looks.
    pub(super) latency: Quantiles,
    /// Since the gateway started.
    pub(super) latency_in_all: Quantiles,
    /// Bytes that the process caused to be written to disks; `None` if the kernel does not tell.
    pub(super) written: Option<Pace>,
    /// Of one processor, between the looks: 0 to 1 for each.
    pub(super) processor: Option<f64>,
    /// Requests a second between each two looks, the latest last.
    pub(super) curve: Vec<f64>,
}

/// Makes views of looks.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    last: Option<Sample>,
    curve: VecDeque<f64>,
}

impl Tracker {
    /// The view of one more look.
    pub(super) fn view(&mut self, sample: Sample) -> View {
        // A gateway that started again counts from zero.
        let earlier = self.last.take().filter(|earlier| {
            let (then, now) = (&earlier.metrics.status, &sample.metrics.status);
            then.pid == now.pid && then.uptime <= now.uptime
        });
        let interval = earlier.as_ref().map(|earlier| sample.at.saturating_sub(earlier.at).as_secs_f64()).filter(|seconds| *seconds > 0.0);
        let between = Between { then: earlier.as_ref().map(|earlier| &earlier.metrics), now: &sample.metrics, interval };
        let requests = between.counter(|counters| counters.accepted.saturating_add(counters.rejected));
        if let Some(rate) = requests.rate {
            self.curve.push_back(rate);
            if self.curve.len() > CURVE {
                self.curve.pop_front();
            }
        }
        let process = |of: &Metrics| of.process;
        let written =
            process(between.now).written_bytes.map(|now| between.pace(now, between.then.and_then(|then| process(then).written_bytes)));
        let cpu = |of: &Metrics| process(of).cpu_seconds;
        let processor = between.then.and_then(cpu).zip(cpu(between.now)).zip(interval);
        let reasons = between.reasons();
        let view = View {
            interval,
            requests,
            refused: reasons.iter().fold(between.pace(0, Some(0)), |sum, (_, pace)| Pace {
                total: sum.total.saturating_add(pace.total),
                rate: sum.rate.zip(pace.rate).map(|(sum, rate)| sum + rate),
            }),
            tokens: between.counter(|counters| counters.tokens),
            operations: between.operations(),
            reasons,
            latency: Quantiles::of(&latency(between.now).since(&between.then.map(latency).unwrap_or_default())),
            latency_in_all: Quantiles::of(&latency(between.now)),
            written,
            processor: processor.map(|((then, now), seconds)| (now - then).max(0.0) / seconds),
            curve: self.curve.iter().copied().collect(),
            metrics: sample.metrics.clone(),
        };
        self.last = Some(sample);
        view
    }
}

/// Two looks at one gateway.
struct Between<'a> {
    then: Option<&'a Metrics>,
    now: &'a Metrics,
    interval: Option<f64>,
}

impl Between<'_> {
    fn pace(&self, now: u64, then: Option<u64>) -> Pace {
        let rate = then.zip(self.interval).map(|(then, seconds)| now.saturating_sub(then) as f64 / seconds);
        Pace { total: now, rate }
    }

    /// A counter, summed over all links.
    fn sum(&self, of: impl Fn(&LinkMetrics) -> u64) -> Pace {
        let sum = |metrics: &Metrics| metrics.links.iter().fold(0_u64, |sum, link| sum.saturating_add(of(link)));
        self.pace(sum(self.now), self.then.map(sum))
    }

    fn counter(&self, of: impl Fn(&CountersSnapshot) -> u64) -> Pace {
        self.sum(|link| of(&link.counters))
    }

    fn operations(&self) -> Vec<Operation> {
        let mut names: Vec<&str> = Vec::new();
        for row in self.now.links.iter().flat_map(|link| &link.operations) {
            if !names.contains(&row.operation.as_str()) {
                names.push(&row.operation);
            }
        }
        let count = |link: &LinkMetrics, name: &str| {
            link.operations.iter().find(|row| row.operation == name).map(|row| (row.accepted, row.rejected)).unwrap_or_default()
        };
        let rows = names.into_iter().map(|name| Operation {
            name: name.to_owned(),
            accepted: self.sum(|link| count(link, name).0),
            rejected: self.sum(|link| count(link, name).1),
        });
        rows.filter(|row| row.name == "token" || row.accepted.total > 0 || row.rejected.total > 0).collect()
    }

    fn reasons(&self) -> Vec<(String, Pace)> {
        let names: BTreeSet<&String> = self.now.links.iter().flat_map(|link| link.refusals.keys()).collect();
        let pace = |name: &String| self.sum(|link| link.refusals.get(name).copied().unwrap_or_default());
        let mut found: Vec<(String, Pace)> =
            names.into_iter().map(|name| (name.clone(), pace(name))).filter(|(_, pace)| pace.total > 0).collect();
        // What happens now comes before what happened once.
        let order = |pace: &Pace| (Reverse(pace.rate.is_some_and(|rate| rate > 0.0)), Reverse(pace.total));
        found.sort_by_key(|(_, pace)| order(pace));
        found
    }
}

/// Of all links.
fn latency(metrics: &Metrics) -> LatencySnapshot {
    metrics.links.iter().fold(LatencySnapshot::default(), |mut sum, link| {
        sum.add(&link.latency);
        sum
    })
}

impl Quantiles {
    fn of(latency: &LatencySnapshot) -> Self {
        let count = latency.count();
        let beyond = if latency.counts.len() > latency.bounds.len() { latency.counts.last().copied().unwrap_or_default() } else { 0 };
        let within = count.saturating_sub(beyond) as f64;
        let bound =
            |share: f64| latency.quantile(share).map(|seconds| Bound { seconds, is_exceeded: beyond > 0 && share * count as f64 > within });
        Self { count, bounds: SHARES.map(bound) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::admin::{
        ClockMetrics, DaemonStatus, LinkStatus, ListenerStatus, ProcessMetrics, RecentClient, RegistryMetrics, ReplayMetrics,
    };
    use crate::clients::Status;
    use crate::clock::UnixTime;
    use crate::mqtt::OperationCounts;

    /// A gateway on both links after so many seconds: on each a token a second, and a wrong secret every second second.
    pub(in crate::cli::top) fn metrics(uptime: u64) -> Metrics {
        let refused = uptime / 2;
        let counters = CountersSnapshot { accepted: uptime, rejected: refused, tokens: uptime, ..CountersSnapshot::default() };
        let row = |operation: &str, accepted, rejected| OperationCounts { operation: operation.into(), accepted, rejected };
        let link = |name: &str| LinkMetrics {
            link: name.into(),
            counters,
            operations: vec![row("token", uptime, refused), row("nonce", 0, 0), row("unknown", 0, 0)],
            refusals: [("blocked_client", 0), ("overloaded", 7), ("wrong_secret", refused)]
                .map(|(name, count)| (name.to_owned(), count))
                .into(),
            latency: LatencySnapshot { bounds: vec![10, 100, 1_000], counts: vec![0, uptime, 0, refused], nanoseconds: 1 },
            ..LinkMetrics::default()
        };
        let broker = LinkStatus {
            url: "mqtts://broker.example".into(),
            state: "up".into(),
            since: Some(UnixTime::from_secs(1_795_383_984)),
            ..LinkStatus::default()
        };
        let embedded =
            ListenerStatus { addresses: vec!["[::]:8883".into()], serving: true, open_connections: 3, ..ListenerStatus::default() };
        let now = UnixTime::from_secs(1_795_383_984).saturating_add(uptime);
        let recent = ["pump-1", "pump-2", "boiler"].iter().zip([1, 70, 4_000]).map(|(id, ago)| RecentClient {
            client_id: id.parse().unwrap(),
            last_used: UnixTime::from_secs(now.as_secs().saturating_sub(ago)),
            client_name: format!("The {id}"),
            status: Status::Active,
        });
        Metrics {
            status: DaemonStatus {
                version: "1.2.3".into(),
                running: true,
                pid: 42,
                uptime,
                issuer: "https://as.example".into(),
                broker: Some(broker),
                embedded_broker: Some(embedded),
                clients: 1_234,
                ..DaemonStatus::default()
            },
            links: vec![link("embedded-broker"), link("broker")],
            registry: RegistryMetrics { writes: 9, failed_writes: 0 },
            replay: Some(ReplayMetrics { entries: 16_384, capacity: 65_536 }),
            process: ProcessMetrics {
                resident_bytes: Some(12 << 20),
                threads: Some(12),
                open_fds: Some(40),
                max_fds: Some(1_024),
                written_bytes: Some(uptime.saturating_mul(2_048)),
                cpu_seconds: Some(uptime as f64 / 4.0),
            },
            clock: ClockMetrics { now, built_at: UnixTime::from_secs(1_795_000_000), confidence: Some(crate::clock::Confidence::Floor) },
            recent: recent.collect(),
        }
    }

    pub(in crate::cli::top) fn sample(uptime: u64) -> Sample {
        Sample { at: Duration::from_secs(uptime), metrics: metrics(uptime) }
    }

    #[test]
    fn one_look_has_totals_and_no_rates() {
        let view = Tracker::default().view(sample(100));
        assert_eq!((view.requests, view.interval), (Pace { total: 300, rate: None }, None));
        assert_eq!((view.tokens.total, view.refused.total), (200, 114));
        assert_eq!((view.processor, view.curve), (None, Vec::new()));
        assert_eq!((view.latency.count, view.latency_in_all.count), (300, 300), "all that there is");
    }

    #[test]
    fn two_looks_make_rates_of_what_happened_in_between() {
        let mut tracker = Tracker::default();
        tracker.view(sample(100));
        let view = tracker.view(sample(110));
        assert_eq!(view.requests, Pace { total: 330, rate: Some(3.0) });
        assert_eq!(view.refused, Pace { total: 124, rate: Some(1.0) });
        let [token] = view.operations.as_slice() else { panic!("{:?}", view.operations) };
        assert_eq!((token.accepted.rate, token.rejected.rate), (Some(2.0), Some(1.0)));
        let reasons: Vec<_> = view.reasons.iter().map(|(name, pace)| (name.as_str(), pace.total, pace.rate)).collect();
        assert_eq!(reasons, [("wrong_secret", 110, Some(1.0)), ("overloaded", 14, Some(0.0))]);
        assert_eq!(view.written, Some(Pace { total: 2_048 * 110, rate: Some(2_048.0) }));
        assert_eq!((view.processor, view.curve), (Some(0.25), vec![3.0]));
        assert_eq!((view.latency.count, view.latency_in_all.count), (30, 330));
    }

    #[test]
    fn what_happens_now_comes_before_what_happened_often() {
        let mut tracker = Tracker::default();
        let mut then = sample(4);
        tracker.view(then.clone());
        then.at = Duration::from_secs(6);
        then.metrics.links[0].refusals.insert("blocked_client".into(), 1);
        let order: Vec<String> = tracker.view(then).reasons.into_iter().map(|(name, _)| name).collect();
        assert_eq!(order, ["blocked_client", "overloaded", "wrong_secret"]);
    }

    #[test]
    fn a_gateway_that_started_again_is_seen_anew() {
        let mut tracker = Tracker::default();
        tracker.view(sample(100));
        tracker.view(sample(110));
        let view = tracker.view(Sample { at: Duration::from_secs(120), ..sample(5) });
        assert_eq!((view.requests.rate, view.interval), (None, None));
        assert_eq!(view.curve, [3.0], "what was, was");
    }

    #[test]
    fn latencies_past_the_last_bound_are_told_as_such() {
        let view = Tracker::default().view(sample(100));
        let [half, most, _, all] = view.latency_in_all.bounds.map(Option::unwrap);
        assert!(!half.is_exceeded && half.seconds < 100e-6, "{half:?}");
        assert!(most.is_exceeded && all.is_exceeded && all.seconds == 1e-3, "{most:?} {all:?}");
        let none = Tracker::default().view(Sample { at: Duration::ZERO, metrics: Metrics::default() });
        assert_eq!((none.latency.count, none.latency.bounds), (0, [None; 4]));
    }

    #[test]
    fn the_curve_is_bounded() {
        let mut tracker = Tracker::default();
        let last = (0..2_000).map(|second| tracker.view(sample(second))).last().unwrap();
        assert_eq!(last.curve.len(), CURVE);
    }
}
