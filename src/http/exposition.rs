//! Samples in the text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

use crate::admin::{DaemonStatus, Metrics};
use crate::clock::Confidence;
use crate::mqtt::{LatencySnapshot, LinkMetrics};

/// What every name begins with.
const PREFIX: &str = "credgate_";

/// The samples of a kind under one name.
struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Family<'_> {
    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.sample_of("", labels, value);
    }

    /// A sample of one part of a histogram.
    fn sample_of(&mut self, part: &str, labels: &[(&str, &str)], value: impl Display) {
        // Writing to a text cannot fail.
        let _ = write!(self.text, "{PREFIX}{}{part}", self.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            let (open, value) = (if index == 0 { '{' } else { ',' }, escaped(value));
            let _ = write!(self.text, "{open}{name}=\"{value}\"");
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A text under construction.
struct Exposition(String);

impl Exposition {
    fn family(&mut self, kind: &str, name: &str, help: &str, samples: impl FnOnce(&mut Family<'_>)) {
        let _ = writeln!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}");
        samples(&mut Family { text: &mut self.0, name });
    }

    fn counter(&mut self, name: &str, help: &str, samples: impl FnOnce(&mut Family<'_>)) {
        self.family("counter", name, help, samples);
    }

    fn gauge(&mut self, name: &str, help: &str, samples: impl FnOnce(&mut Family<'_>)) {
        self.family("gauge", name, help, samples);
    }

    /// One number without labels, left out if it is not known.
    fn number(&mut self, kind: &str, name: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.family(kind, name, help, |family| family.sample(&[], value));
        }
    }
}

/// All metrics. `ready` is whether a token can be issued now.
pub(super) fn text(metrics: &Metrics, ready: bool) -> String {
    let mut all = Exposition(String::with_capacity(16_384));
    general(&mut all, metrics, ready);
    links(&mut all, &metrics.status, &metrics.links);
    records(&mut all, metrics);
    process(&mut all, metrics);
    all.0
}

fn general(all: &mut Exposition, metrics: &Metrics, ready: bool) {
    let (status, clock) = (&metrics.status, &metrics.clock);
    all.gauge("build_info", "1, with the version of the program.", |family| family.sample(&[("version", &status.version)], 1));
    all.gauge("ready", "Whether a token can be issued now, as /readyz says.", |family| family.sample(&[], u8::from(ready)));
    let started_at = status.started_at.map(|time| time.as_secs());
    all.number("gauge", "start_time_seconds", "When the gateway started, in seconds since 1970, by the clock of that time.", started_at);
    all.number("gauge", "uptime_seconds", "Seconds since the gateway started, whatever the clock did.", Some(status.uptime));
    all.number("gauge", "clock_time_seconds", "The time that the clock shows, in seconds since 1970.", Some(clock.now.as_secs()));
    all.gauge("clock_confidence", "How far the clock is trusted: 1 in the state that it is in.", |family| {
        for state in Confidence::ALL.iter().filter(|_| clock.confidence.is_some()) {
            family.sample(&[("state", state.as_str())], u8::from(clock.confidence == Some(*state)));
        }
    });
    let help = "Pairs of a client and a source whose secrets are not looked at now, as too many proofs failed.";
    all.number("gauge", "lockouts", help, Some(status.lockouts));
    let configuration = status.configuration.as_ref();
    let help = "0 if the configuration was refused when it was last read anew, and an older one is in force.";
    let is_taken = configuration.is_none_or(|configuration| configuration.problem.is_none());
    all.number("gauge", "configuration_reload_success", help, Some(u8::from(is_taken)));
    let help = "When the configuration was last read anew, in seconds since 1970.";
    all.number("gauge", "configuration_reload_time_seconds", help, configuration.map(|configuration| configuration.at.as_secs()));
    let help = "Settings that have changed and wait for a restart.";
    all.number("gauge", "configuration_settings_waiting", help, Some(configuration.map_or(0, |configuration| configuration.restart.len())));
    let help = "When the program was made, in seconds since 1970: a right clock shows no time before.";
    all.number("gauge", "build_time_seconds", help, Some(clock.built_at.as_secs()));
}

fn links(all: &mut Exposition, status: &DaemonStatus, links: &[LinkMetrics]) {
    let each = |family: &mut Family<'_>, value: fn(&LinkMetrics) -> u64| {
        links.iter().for_each(|link| family.sample(&[("link", &link.link)], value(link)));
    };
    all.gauge("link_up", "Whether requests are served on the link.", |family| {
        if let Some(listener) = &status.embedded_broker {
            family.sample(&[("link", "embedded-broker")], u8::from(listener.serving));
        }
        if let Some(link) = &status.broker {
            family.sample(&[("link", "broker")], u8::from(link.state == "up"));
        }
    });
    let help = "Connections: to the broker on its link, of devices on the embedded broker.";
    all.counter("link_connections_total", help, |family| each(family, |link| link.counters.connections));
    all.counter("link_disconnections_total", "Connections to the broker that were lost.", |family| {
        each(family, |link| link.disconnections)
    });
    if let Some(listener) = &status.embedded_broker {
        let help = "Connections of devices to the embedded broker now, those in their TLS handshake included.";
        all.number("gauge", "embedded_broker_connections", help, Some(listener.open_connections));
        let turned_away = links.iter().find(|link| link.link == "embedded-broker").map(|link| link.turned_away);
        let help = "Connections of devices that were not let in because of a limit of [embedded-broker].";
        all.number("counter", "embedded_broker_turned_away_total", help, turned_away);
    }
    all.counter("requests_total", "Requests answered, by operation and outcome.", |family| {
        for link in links {
            for row in &link.operations {
                for (outcome, count) in [("accepted", row.accepted), ("rejected", row.rejected)] {
                    family.sample(&[("link", &link.link), ("operation", &row.operation), ("outcome", outcome)], count);
                }
            }
        }
    });
    all.counter("refusals_total", "Requests refused, by the reason code of the log.", |family| {
        for link in links {
            link.refusals.iter().for_each(|(reason, count)| family.sample(&[("link", &link.link), ("reason", reason)], count));
        }
    });
    all.counter("tokens_issued_total", "Tokens issued.", |family| each(family, |link| link.counters.tokens));
    let help = "Requests dropped without an answer because too many waited.";
    all.counter("requests_shed_total", help, |family| each(family, |link| link.counters.shed));
    all.counter("messages_ignored_total", "Messages on the request topics that are no requests.", |family| {
        each(family, |link| link.counters.ignored);
    });
    let help = "How long the engine took for a token request, in seconds: without the broker and the network.";
    all.family("histogram", "token_request_duration_seconds", help, |family| {
        links.iter().for_each(|link| histogram(family, &link.link, &link.latency));
    });
}

fn histogram(family: &mut Family<'_>, link: &str, latency: &LatencySnapshot) {
    let mut upto = 0_u64;
    for (bound, count) in latency.bounds.iter().zip(&latency.counts) {
        upto = upto.saturating_add(*count);
        family.sample_of("_bucket", &[("link", link), ("le", &seconds(*bound as f64 / 1e6))], upto);
    }
    family.sample_of("_bucket", &[("link", link), ("le", "+Inf")], latency.count());
    family.sample_of("_sum", &[("link", link)], latency.nanoseconds as f64 / 1e9);
    family.sample_of("_count", &[("link", link)], latency.count());
}

fn seconds(seconds: f64) -> String {
    seconds.to_string()
}

fn records(all: &mut Exposition, metrics: &Metrics) {
    let status = &metrics.status;
    all.number("gauge", "clients", "Clients that are registered.", Some(status.clients));
    all.number("gauge", "resource_servers", "Resource servers that are registered.", Some(status.resource_servers));
    all.number("gauge", "scopes", "Scopes that are defined.", Some(status.scopes));
    all.number("gauge", "roles", "Roles that are defined.", Some(status.roles));
    let help = "Writes of the registry to the disk. One makes all changes durable that waited for it.";
    all.number("counter", "registry_writes_total", help, Some(metrics.registry.writes));
    all.number("counter", "registry_write_failures_total", "Writes of the registry that failed.", Some(metrics.registry.failed_writes));
    let replay = metrics.replay;
    all.number("gauge", "replay_memory_entries", "Used assertions that are remembered.", replay.map(|replay| replay.entries));
    all.number("gauge", "replay_memory_capacity", "Used assertions that can be remembered.", replay.map(|replay| replay.capacity));
    let now = metrics.clock.now.as_secs();
    all.gauge("signing_key_age_seconds", "Seconds since the signing key was made.", |family| {
        for key in &status.keys {
            let age = now.saturating_sub(key.created_at.as_secs());
            family.sample(&[("kid", &key.kid), ("alg", &key.alg), ("state", key.state.as_str())], age);
        }
    });
    all.gauge("signing_key_state_seconds", "Seconds since the signing key is in its state.", |family| {
        for key in &status.keys {
            let age = now.saturating_sub(key.since.as_secs());
            family.sample(&[("kid", &key.kid), ("alg", &key.alg), ("state", key.state.as_str())], age);
        }
    });
}

fn process(all: &mut Exposition, metrics: &Metrics) {
    let process = &metrics.process;
    all.number("gauge", "process_resident_memory_bytes", "Memory of the process that is in RAM.", process.resident_bytes);
    all.number("gauge", "process_threads", "Threads of the process.", process.threads);
    all.number("gauge", "process_open_fds", "Open file descriptors.", process.open_fds);
    all.number("gauge", "process_max_fds", "File descriptors that may be open.", process.max_fds);
    all.number("counter", "process_cpu_seconds_total", "Processor time, user and system.", process.cpu_seconds);
    all.number("counter", "process_written_bytes_total", "Bytes that the process caused to be written to disks.", process.written_bytes);
}
