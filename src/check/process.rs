//! The gateway as a process.

use super::{Finding, Findings, World};

/// Descriptors that are no connections: files, sockets, the runtime's own.
const OTHER_DESCRIPTORS: u64 = 64;
/// systemd's own word for an exposure that is no more than medium.
const MEDIUM_EXPOSURE: f64 = 5.0;

pub(super) fn daemon(world: &World<'_>) -> Findings {
    let status = match world.daemon() {
        Ok(Some(status)) => status,
        Ok(None) => {
            return Err(Finding::warning("no gateway runs: no tokens are issued", "`systemctl start credgate`, or `credgate serve`"));
        }
        Err(error) => {
            return Err(Finding::error(format!("the gateway cannot be asked: {error}"), "run the check as root or as the gateway's user"));
        }
    };
    let mut findings = vec![Finding::ok(format!("version {} runs as process {}", status.version, status.pid))];
    if let Some(link) = &status.broker {
        findings.push(match link.state.as_str() {
            "up" => Finding::ok(format!("the link to {} is up", link.url)),
            "connecting" => Finding::warning(format!("the link to {} is being made", link.url), "look again in a minute"),
            state => {
                let reason = link.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                Finding::error(format!("the link to {} is {state}{reason}", link.url), "see the checks broker-connection and broker-acl")
            }
        });
    }
    Ok(findings)
}

pub(super) fn configuration(world: &World<'_>) -> Findings {
    let status = world.running()?;
    let Some(told) = &status.configuration else { return Ok(vec![Finding::ok("it is the one of its start")]) };
    let mut findings = Vec::new();
    if let Some(problem) = &told.problem {
        let what = format!("the configuration read at {} is refused, and the one before is in force: {problem}", told.at);
        findings.push(Finding::error(what, "correct it, then `credgate reload`"));
    }
    if !told.restart.is_empty() {
        let what = format!("changed since the start, and not in force yet: {}", told.restart.join(", "));
        findings.push(Finding::warning(what, "restart the gateway: `systemctl restart credgate`"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("it was read anew at {}", told.at)));
    }
    Ok(findings)
}

pub(super) fn writes(world: &World<'_>) -> Findings {
    let status = world.running()?;
    let wear = status.wear.ok_or_else(|| Finding::skipped("this gateway does not tell what it writes"))?;
    let told = format!("{} kB within the last day", wear.day / 1_000);
    Ok(vec![if wear.is_beyond() {
        let advice = "`credgate audit list` tells of changes; fewer of them, registry.last-used-interval and snapshots.interval write less";
        Finding::warning(format!("{told}, and check.daily-writes allows {}: cards wear out by it", wear.budget / 1_000), advice)
    } else {
        Finding::ok(told)
    }])
}

pub(super) fn version(world: &World<'_>) -> Findings {
    let status = world.running()?;
    let own = env!("CARGO_PKG_VERSION");
    let advice = "restart the gateway: `systemctl restart credgate`";
    if status.version != own {
        let what = format!("version {} runs, and this program is version {own}", status.version);
        return Err(Finding::warning(what, advice));
    }
    // Readable by root alone, as the gateway's memory is closed even to its own user.
    let program = std::fs::read_link(world.host().path(&format!("proc/{}/exe", status.pid)));
    match program.map(|path| path.to_string_lossy().ends_with(" (deleted)")) {
        Ok(true) => Err(Finding::warning("the program was replaced since the gateway started", advice)),
        _ => Ok(vec![Finding::ok(format!("both are version {own}"))]),
    }
}

pub(super) fn hardening(world: &World<'_>) -> Findings {
    let (status, host) = (world.running()?, world.host());
    let unknown = || Finding::skipped("this host does not tell about processes");
    let user = host.process_user(status.pid).ok_or_else(unknown)?;
    let advice = "run the gateway by its systemd unit";
    let mut findings = Vec::new();
    if user == 0 {
        findings.push(Finding::warning("the gateway runs as root, and needs none of its powers", advice));
    }
    if host.process_status(status.pid, "NoNewPrivs").as_deref() == Some("0") {
        findings.push(Finding::warning("the gateway could gain privileges", "set NoNewPrivileges=yes in its systemd unit"));
    }
    let unit = host.read(&format!("proc/{}/cgroup", status.pid)).unwrap_or_default();
    let unit = unit.lines().find_map(|line| line.rsplit('/').next().filter(|name| name.ends_with(".service"))).map(str::to_owned);
    match unit {
        None => findings.push(Finding::warning("the gateway runs under no systemd unit: nobody restarts it, nothing confines it", advice)),
        Some(unit) => findings.extend(exposure(world, &unit)),
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("the gateway runs as the user with id {user} and gains no privileges")));
    }
    Ok(findings)
}

/// What systemd thinks of the unit.
fn exposure(world: &World<'_>, unit: &str) -> Option<Finding> {
    let told = world.host().ask("systemd-analyze", &["security", "--no-pager", unit])?;
    let line = told.lines().find(|line| line.contains("Overall exposure level"))?;
    let level: f64 = line.rsplit_once(": ")?.1.split_whitespace().next()?.parse().ok()?;
    let found = format!("`systemd-analyze security {unit}` gives an exposure level of {level}");
    Some(if level > MEDIUM_EXPOSURE {
        Finding::warning(found, "use the unit that comes with credgate; a drop-in may have loosened it: `systemctl cat credgate`")
    } else {
        Finding::ok(found)
    })
}

pub(super) fn core_dumps(world: &World<'_>) -> Findings {
    let status = world.running()?;
    let limit = world.host().process_limit(status.pid, "Max core file size");
    match limit {
        None => Err(Finding::skipped("this host does not tell about limits of processes")),
        Some(0) => Ok(vec![Finding::ok("the gateway dumps no core")]),
        Some(_) => Err(Finding::error(
            "the gateway may dump its memory, and secrets with it",
            "set LimitCORE=0 in its systemd unit and restart it",
        )),
    }
}

pub(super) fn open_files(world: &World<'_>) -> Findings {
    let (config, status) = (world.config()?, world.running()?);
    let limit = world.host().process_limit(status.pid, "Max open files");
    let limit = limit.ok_or_else(|| Finding::skipped("this host does not tell about limits of processes"))?;
    let connections = match config.file.embedded_broker.enabled {
        true => u64::try_from(config.file.embedded_broker.max_connections).unwrap_or(u64::MAX),
        false => 0,
    };
    let needed = connections.saturating_add(OTHER_DESCRIPTORS);
    if limit < needed {
        let what =
            format!("the gateway may open {limit} files, and {connections} connections need {needed}: devices are turned away before");
        let advice = format!("set LimitNOFILE={needed} in its systemd unit, or lower embedded-broker.max-connections");
        return Err(Finding::warning(what, advice));
    }
    Ok(vec![Finding::ok(format!("{limit} files may be open, and {needed} are needed at most"))])
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::super::host::tests::host;
    use super::super::world::tests::running;
    use super::*;
    use crate::admin::{ConfigurationStatus, ReloadTrigger, WearStatus};
    use crate::clock::UnixTime;

    #[test]
    fn core_dumps_are_told() {
        for (limit, expected) in [("0", Outcome::Ok), ("unlimited", Outcome::Error), ("4096", Outcome::Error)] {
            let (_directory, host) = host(&[("proc/7/limits", &format!("Max core file size        {limit}    unlimited   bytes\n"))]);
            let found = core_dumps(&running(&host, |_| ())).map_or_else(|finding| finding.outcome, |findings| findings[0].outcome);
            assert_eq!(found, expected, "{limit}");
        }
    }

    #[test]
    fn a_hardened_unit_has_nothing_to_tell() {
        let status = "Uid:\t990\t990\t990\t990\nNoNewPrivs:\t1\n";
        let (_directory, host) = host(&[("proc/7/status", status), ("proc/7/cgroup", "0::/system.slice/credgate.service\n")]);
        let found = hardening(&running(&host, |_| ())).unwrap();
        assert!(found.len() == 1 && found[0].outcome == Outcome::Ok && found[0].found.contains("990"), "{found:?}");
    }

    #[test]
    fn a_configuration_that_is_not_in_force_is_told() {
        let (_directory, host) = host(&[]);
        let outcomes = |problem: Option<&str>, restart: &[&str]| {
            let told = ConfigurationStatus {
                at: UnixTime::from_secs(1_800_000_000),
                trigger: ReloadTrigger::Signal,
                problem: problem.map(str::to_owned),
                restart: restart.iter().map(|&setting| setting.to_owned()).collect(),
            };
            let found = configuration(&running(&host, |status| status.configuration = Some(told))).unwrap();
            found.into_iter().map(|finding| (finding.outcome, finding.found)).collect::<Vec<_>>()
        };
        assert_eq!(configuration(&running(&host, |_| ())).unwrap()[0].outcome, Outcome::Ok);
        assert_eq!(outcomes(None, &[])[0].0, Outcome::Ok);
        let found = outcomes(Some("line 3"), &["issuer"]);
        assert!(
            matches!(found.as_slice(), [(Outcome::Error, first), (Outcome::Warning, second)]
            if first.contains("line 3") && second.contains("issuer")),
            "{found:?}"
        );
    }

    #[test]
    fn what_wears_out_a_card_is_told() {
        let (_directory, host) = host(&[]);
        for (day, budget, expected) in [(5_000, 5_000, Outcome::Ok), (5_001, 5_000, Outcome::Warning), (5_001, 0, Outcome::Ok)] {
            let found = writes(&running(&host, |status| status.wear = Some(WearStatus { day, budget }))).unwrap();
            assert!(found[0].outcome == expected && found[0].found.starts_with("5 kB"), "{found:?}");
        }
        assert_eq!(writes(&running(&host, |_| ())).unwrap_err().outcome, Outcome::Skipped);
    }

    #[test]
    fn another_version_is_told() {
        let (_directory, host) = host(&[]);
        let finding = version(&running(&host, |status| status.version = "0.0.1".into())).unwrap_err();
        assert!(finding.outcome == Outcome::Warning && finding.found.contains("0.0.1"), "{finding:?}");
    }
}
