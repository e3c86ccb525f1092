//! `credgate status`.

use std::path::Path;

use serde::Serialize;

use super::connect::control_socket;
use super::error::unexpected;
use super::output::Output;
use super::{CliError, Exit, Global};
use crate::admin::{Answer, CallError, ClockStatus, Command, DaemonStatus, Rates, ReloadTrigger, call};
use crate::clock::Confidence;
use crate::mqtt::CountersSnapshot;
use crate::registry::Origin;

/// What is printed if nobody answers.
#[derive(Serialize)]
struct NotRunning<'a> {
    running: bool,
    control_socket: &'a Path,
}

pub(super) fn run(global: &Global, output: &Output) -> Result<Exit, CliError> {
    let socket = control_socket(global)?;
    match call(&socket, &Command::Status) {
        Ok(Answer::Status(status)) => {
            output.show(&status, || shown(&status))?;
            Ok(Exit::Ok)
        }
        Ok(other) => Err(unexpected(&other)),
        Err(CallError::NotRunning { .. }) => {
            let document = NotRunning { running: false, control_socket: &socket };
            output.print(&document, || format!("credgate is not running (nobody listens on {})\n", socket.display()))?;
            Ok(Exit::NotRunning)
        }
        Err(error) => Err(error.into()),
    }
}

fn shown(status: &DaemonStatus) -> Vec<(&'static str, String)> {
    let since = status.started_at.map(|start| format!(" since {start}")).unwrap_or_default();
    let up = duration(status.uptime);
    let DaemonStatus { clients, resource_servers, scopes, roles, .. } = status;
    let mut shown = vec![
        ("State", format!("running{since} ({up}), version {}, process {}", status.version, status.pid)),
        ("Issuer", status.issuer.clone()),
        ("Registry", format!("{clients} clients, {resource_servers} resource servers, {scopes} scopes, {roles} roles")),
    ];
    if let Some(restored) = &status.restored {
        let aside = if restored.set_aside.is_empty() { String::new() } else { format!("; the one before is in {}", restored.set_aside) };
        let told = match restored.origin {
            Origin::Restore => format!("restored at {} from a backup of {}{aside}", restored.at, restored.as_of),
            Origin::FallBack => format!("WAS DAMAGED: went back at {} to a snapshot of {}{aside}", restored.at, restored.as_of),
        };
        shown.push(("  Origin", told));
    }
    if let Some(snapshots) = &status.snapshots {
        let newest = snapshots.newest.map(|newest| format!(", the newest of {newest}")).unwrap_or_default();
        let problem = snapshots.problem.as_ref().map(|problem| format!("; NOT MADE: {problem}")).unwrap_or_default();
        let told = if snapshots.interval == 0 { "off".to_owned() } else { format!("{} kept{newest}{problem}", snapshots.kept) };
        shown.push(("  Snapshots", told));
    }
    if let Some(wear) = &status.wear {
        let beyond = if wear.is_beyond() { ", MORE than check.daily-writes allows" } else { "" };
        shown.push(("  Written", format!("{} kB within a day{beyond}", wear.day / 1_000)));
    }
    if let Some(clock) = &status.clock {
        shown.push(("Clock", trust(clock)));
    }
    if let Some(rates) = &status.rates {
        let Rates { seconds, requests, refusals, tokens } = rates;
        shown.push((
            "Rates",
            format!("{requests:.1} requests, {refusals:.1} refusals, {tokens:.1} tokens a second in the last {seconds} s"),
        ));
    }
    match &status.broker {
        Some(link) => {
            let since = link.since.map(|since| format!(" since {since}")).unwrap_or_default();
            shown.push(("Broker", format!("{}, {}{since}", link.url, link.state)));
            if let Some(reason) = &link.reason {
                shown.push(("  Reason", reason.clone()));
            }
            shown.push(("  Requests", counters(&link.counters)));
        }
        None => shown.push(("Broker", "none configured".to_owned())),
    }
    match &status.embedded_broker {
        Some(listener) => {
            let does = if listener.serving { "listens" } else { "is to listen, and takes no connections," };
            shown.push((
                "Embedded broker",
                format!("{does} on {}, {} connected now", listener.addresses.join(", "), listener.open_connections),
            ));
            shown.push(("  Requests", counters(&listener.counters)));
        }
        None => shown.push(("Embedded broker", "off".to_owned())),
    }
    for key in &status.keys {
        let until = key.until.map(|until| format!(" until {until}")).unwrap_or_default();
        shown.push(("Signing key", format!("{} {} since {}{until}, {}", key.alg, key.state.as_str(), key.since, key.kid)));
    }
    if status.lockouts > 0 {
        shown.push(("Lockouts", format!("{}: too many failed proofs; see `credgate audit list --type refusal`", status.lockouts)));
    }
    if let Some(configuration) = &status.configuration {
        let how = match configuration.trigger {
            ReloadTrigger::Command => "by command",
            ReloadTrigger::Signal => "by SIGHUP",
            ReloadTrigger::File => "as a file had changed",
        };
        let told = match &configuration.problem {
            None => format!("read anew at {} {how}", configuration.at),
            Some(problem) => format!("REFUSED at {} {how}, the old one stays in force: {problem}", configuration.at),
        };
        shown.push(("Configuration", told));
        if !configuration.restart.is_empty() {
            shown.push(("  Needs restart", configuration.restart.join(", ")));
        }
    }
    let http = if status.http.is_empty() { "off".to_owned() } else { status.http.join(", ") };
    shown.push(("Metrics", http));
    shown
}

fn trust(clock: &ClockStatus) -> String {
    let trusted = match clock.confidence {
        Confidence::Unset => format!("unset: NOT TO BE TRUSTED, it is behind by {}", duration(clock.behind)),
        Confidence::Floor => "floor: possible, and nobody vouches for it".to_owned(),
        Confidence::Holdover => "holdover: compared with a time server, but not of late".to_owned(),
        Confidence::Synced => "synced".to_owned(),
    };
    if clock.issues { trusted } else { format!("{trusted}; TOKENS ARE REFUSED") }
}

/// A length of time in its two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let units = [("d", 86_400, u64::MAX), ("h", 3_600, 24), ("min", 60, 60), ("s", 1, 60)];
    let parts =
        units.map(|(unit, length, most)| (unit, seconds.checked_div(length).and_then(|count| count.checked_rem(most)).unwrap_or_default()));
    let shown: Vec<String> =
        parts.iter().skip_while(|(_, count)| *count == 0).take(2).map(|(unit, count)| format!("{count} {unit}")).collect();
    if shown.is_empty() { "0 s".to_owned() } else { shown.join(" ") }
}

fn counters(counters: &CountersSnapshot) -> String {
    let CountersSnapshot { accepted, rejected, overloaded, shed, ignored, connections, tokens, closed: _ } = counters;
    format!(
        "{accepted} accepted ({tokens} tokens), {rejected} rejected ({overloaded} for overload), {shed} shed, {ignored} ignored; {connections} \
         connections"
    )
}

#[cfg(test)]
mod tests {
    use super::super::table::fields;
    use super::*;
    use crate::admin::{LinkStatus, ListenerStatus};
    use crate::clock::UnixTime;

    #[test]
    fn people_are_told_the_state_of_every_link() {
        let mut status = DaemonStatus { version: "1.2.3".into(), pid: 42, uptime: 3_700, ..DaemonStatus::default() };
        let bare = fields(&shown(&status));
        assert!(
            bare.contains("process 42") && bare.contains("(1 h 1 min)") && bare.contains("none configured") && bare.contains("off\n"),
            "{bare}"
        );
        assert!(!bare.contains("Rates"), "{bare}");
        let counters = CountersSnapshot { accepted: 7, tokens: 6, ..CountersSnapshot::default() };
        let (url, state) = ("mqtts://b".into(), "down".into());
        status.broker = Some(LinkStatus { url, state, reason: Some("refused".into()), since: Some(UnixTime::from_secs(0)), counters });
        let addresses = vec!["[::]:8883".into(), "x".into()];
        status.embedded_broker = Some(ListenerStatus { addresses, serving: true, open_connections: 3, counters });
        status.rates = Some(Rates { seconds: 60, requests: 2.25, refusals: 0.0, tokens: 2.0 });
        status.http = vec!["127.0.0.1:9464".into()];
        let now = UnixTime::from_secs(0);
        status.clock = Some(ClockStatus { now, confidence: Confidence::Unset, issues: false, behind: 7_200 });
        let full = fields(&shown(&status));
        for words in [
            "mqtts://b, down since 1970-01-01T00:00:00Z\n",
            "Reason:         refused\n",
            "listens on [::]:8883, x, 3 connected now",
            "2.2 requests, 0.0 refusals, 2.0 tokens a second in the last 60 s",
            "Metrics:          127.0.0.1:9464",
            "unset: NOT TO BE TRUSTED, it is behind by 2 h 0 min; TOKENS ARE REFUSED",
        ] {
            assert!(full.contains(words), "{words}: {full}");
        }
        assert_eq!(full.matches("7 accepted (6 tokens)").count(), 2, "{full}");
    }

    #[test]
    fn lengths_of_time_are_told_in_two_units() {
        let told = [0, 59, 60, 3_599, 3_600, 90_061, 400 * 86_400].map(duration);
        assert_eq!(told, ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "1 d 1 h", "400 d 0 h"]);
    }
}
