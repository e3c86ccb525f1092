//! Time: tokens live by it.

use super::{Finding, Findings, World};
use crate::admin::{ClockStatus, DaemonStatus};
use crate::clock::{Confidence, UnixTime};
use crate::daemon::built_at;

/// How far in the future a record may lie: clocks are corrected by seconds.
const LENIENCE: u64 = 300;

pub(super) fn clock(world: &World<'_>) -> Findings {
    let (now, host) = (world.now(), world.host());
    if now < built_at() {
        let what = format!("the clock says {now}, before this program was made ({})", built_at());
        return Err(Finding::error(what, "set the clock: enable systemd-timesyncd or chrony, and give the board a battery-backed clock"));
    }
    // Only what was made by this clock: the owners of certificates have others.
    let newest = world.keys().unwrap_or_default().iter().map(|key| key.created_at).max().unwrap_or_default();
    if newest > now.saturating_add(LENIENCE) {
        let what = format!("the clock says {now}, but a signing key was made at {newest}: it has gone back");
        return Err(Finding::error(what, "set the clock; tokens issued meanwhile look expired to everybody else"));
    }
    let mut findings = vec![synchronised(world, now)];
    if let Ok(Some(DaemonStatus { clock: Some(clock), .. })) = world.daemon() {
        findings.push(trusted(clock));
    }
    let has_rtc = std::fs::read_dir(host.path("sys/class/rtc")).is_ok_and(|mut entries| entries.next().is_some());
    if !has_rtc {
        findings.push(Finding::warning(
            "the host has no hardware clock: after a power cut its time is wrong until a time server answers",
            "add a battery-backed clock, or have the gateway start after time-sync.target",
        ));
    }
    Ok(findings)
}

/// What the gateway itself makes of the clock.
fn trusted(clock: &ClockStatus) -> Finding {
    let refused = if clock.issues { "" } else { ", and refuses tokens while it is" };
    let told = format!("the gateway takes the clock for {}{refused}", clock.confidence.as_str());
    match clock.confidence {
        Confidence::Unset => Finding::error(
            format!("{told}: it is {} s behind what the gateway has known before", clock.behind),
            "set the clock; if it is right now and was ahead before, restart the gateway once it is synchronised",
        ),
        _ if !clock.issues => Finding::error(told, "see why the time servers do not answer, or change [clock] in the configuration"),
        Confidence::Floor => Finding::warning(
            told,
            "see why the time servers do not answer; for another time service than systemd-timesyncd, set clock.synchronised-file",
        ),
        Confidence::Holdover | Confidence::Synced => Finding::ok(told),
    }
}

fn synchronised(world: &World<'_>, now: UnixTime) -> Finding {
    let host = world.host();
    if host.path("run/systemd/timesync/synchronized").exists() {
        return Finding::ok(format!("the clock says {now}, synchronised by systemd-timesyncd"));
    }
    // It asks the kernel (STA_UNSYNC), whoever synchronises.
    match host.ask("timedatectl", &["show", "--property=NTPSynchronized", "--value"]).as_deref() {
        Some("yes") => Finding::ok(format!("the clock says {now}, and the kernel takes it for synchronised")),
        Some("no") => Finding::warning(
            format!("the clock says {now}, and is not synchronised"),
            "`timedatectl set-ntp true`, or see why the time servers do not answer",
        ),
        _ => Finding::skipped(format!("the clock says {now}; this host does not say whether it is synchronised")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::super::host::tests::host;
    use super::super::world::tests::{NOW, world};
    use super::*;
    use crate::config::Config;

    #[test]
    fn hosts_without_clocks_are_told() {
        let (_directory, host) = host(&[("sys/class/rtc/rtc0/name", "x"), ("run/systemd/timesync/synchronized", "")]);
        assert!(clock(&world(&host)).unwrap().iter().all(|finding| finding.outcome == Outcome::Ok));
        let (_directory, bare) = super::super::host::tests::host(&[]);
        let found: Vec<Outcome> = clock(&world(&bare)).unwrap().iter().map(|finding| finding.outcome).collect();
        assert_eq!(found, [Outcome::Skipped, Outcome::Warning]);
    }

    #[test]
    fn what_the_gateway_makes_of_it_is_told() {
        let told = |confidence, issues| trusted(&ClockStatus { now: NOW, confidence, issues, behind: 7 }).outcome;
        assert_eq!(told(Confidence::Unset, true), Outcome::Error);
        assert_eq!(told(Confidence::Floor, false), Outcome::Error);
        assert_eq!(told(Confidence::Floor, true), Outcome::Warning);
        assert_eq!([told(Confidence::Holdover, true), told(Confidence::Synced, true)], [Outcome::Ok, Outcome::Ok]);
    }

    #[test]
    fn a_clock_before_the_program_is_wrong() {
        let (_directory, host) = host(&[]);
        let early = UnixTime::from_secs(1_000);
        let world = World::new(Config::load(None, std::iter::empty()), None, Ok(None), &|_| Err(String::new()), host, early);
        let finding = clock(&world).unwrap_err();
        assert!(finding.outcome == Outcome::Error && finding.found.contains("1970") && finding.advice.unwrap().contains("battery"));
        assert!(NOW > built_at());
    }
}
