//! The registry's files.

use super::{Finding, Findings, World};
use crate::admin::{Answer, Command, SnapshotStatus};
use crate::registry::{Inspection, Origin};

/// Seconds between making the registry and making the first key, at most: a start or `credgate init` does both.
const SAME_START: u64 = 86_400;

pub(super) fn registry(world: &World<'_>) -> Findings {
    let config = world.config()?;
    let advice = "check the disk (see disk-space and storage), then restore the state directory from a backup";
    let inspection = match world.ask(Command::RegistryInspect) {
        Ok(Answer::Inspection(inspection)) => inspection,
        Ok(other) => return Err(Finding::error(format!("the gateway gave an answer of the wrong kind: {other:?}"), "restart the gateway")),
        Err(error) => return Err(Finding::error(error, advice)),
    };
    let Inspection { created_at, records, faulty, faults } = inspection;
    let mut findings: Vec<Finding> = faults.into_iter().map(|fault| Finding::error(fault, advice)).collect();
    if let Some(more) = faulty.checked_sub(findings.len()).filter(|more| *more > 0) {
        findings.push(Finding::error(format!("{more} more records are at fault"), advice));
    }
    // A log that is damaged at its beginning reads as one that holds nothing.
    let oldest_key = world.keys().unwrap_or_default().iter().map(|key| key.created_at).min();
    if let Some(oldest) = oldest_key.filter(|oldest| oldest.saturating_add(SAME_START) < created_at) {
        let what = format!("the registry was made at {created_at}, long after the signing keys ({oldest}): was the one before lost?");
        findings.push(Finding::warning(what, "compare `credgate client list` with a backup, and restore that if clients are missing"));
    }
    let set_aside = std::fs::read_dir(config.registry_directory()).into_iter().flatten().flatten();
    if let Some(first) = set_aside.map(|entry| entry.path()).find(|path| path.file_name().is_some_and(is_set_aside)) {
        let what = format!("{} is a damaged snapshot that was set aside: the registry was read from its log", first.display());
        findings.push(Finding::warning(what, "compare `credgate client list` with a backup, then remove the file"));
    }
    if let Ok(Answer::Status(status)) = world.ask(Command::Status)
        && let Some(restored) = status.restored.filter(|restored| restored.origin == Origin::FallBack)
    {
        // Who has seen to it removes what was set aside.
        let aside = config.file.state_directory.join(&restored.set_aside);
        if aside.exists() {
            let what = format!(
                "the registry was damaged, and the gateway went back at {} to a snapshot of {}: every change in between is undone, such as the \
                 blocking of a client",
                restored.at, restored.as_of
            );
            let advice = format!("check the disk, compare, block again who must be, then remove {}", aside.display());
            findings.push(Finding::error(what, advice));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("{records} records were read from the disk; all keep the rules and are in force")));
    }
    Ok(findings)
}

/// How often a snapshot may be left out: the gateway was off for a while.
const LENIENCE: u64 = 2;

pub(super) fn snapshots(world: &World<'_>) -> Findings {
    let Some(SnapshotStatus { directory, interval, kept, newest, current_at, problem }) = world.running()?.snapshots.clone() else {
        return Err(Finding::skipped("the gateway that runs knows of no snapshots"));
    };
    if interval == 0 {
        return Err(Finding::warning(
            "no snapshots are made: a registry that is damaged is lost",
            "set snapshots.interval, or keep backups",
        ));
    }
    let advice = "see the gateway's log; is there space, and is the directory the gateway's own?";
    if let Some(problem) = problem {
        return Err(Finding::error(format!("the last snapshot could not be made: {problem}"), advice));
    }
    let (Some(newest), Some(current_at)) = (newest, current_at) else {
        return Err(Finding::warning(format!("there is no snapshot of this registry in {} yet", directory.display()), advice));
    };
    let age = world.now().as_secs().saturating_sub(current_at.as_secs());
    if age > interval.saturating_mul(LENIENCE).saturating_add(SAME_START) {
        return Err(Finding::warning(format!("the newest snapshot is of {newest}, and should have been followed by others"), advice));
    }
    Ok(vec![Finding::ok(format!("{kept} snapshots are in {}, the newest of {newest}", directory.display()))])
}

fn is_set_aside(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with("damaged-snap.")
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::host;
    use super::super::world::tests::NOW;
    use super::super::{Outcome, World};
    use super::*;
    use crate::admin::KeyDocument;
    use crate::clock::UnixTime;
    use crate::config::Config;
    use crate::jose::KeyState;

    #[test]
    fn snapshots_that_are_not_made_are_told() {
        use super::super::world::tests::running;
        let (_directory, host) = host(&[]);
        let found = |change: &dyn Fn(&mut SnapshotStatus)| {
            let mut status =
                SnapshotStatus { interval: 3_600, kept: 1, newest: Some(NOW), current_at: Some(NOW), ..SnapshotStatus::default() };
            change(&mut status);
            let outcome = snapshots(&running(&host, |daemon| daemon.snapshots = Some(status)));
            outcome.map_or_else(|finding| finding.outcome, |findings| findings[0].outcome)
        };
        let long_ago = Some(UnixTime::from_secs(NOW.as_secs() - 1_000_000));
        assert_eq!(found(&|_| ()), Outcome::Ok);
        assert_eq!(found(&|status| status.newest = long_ago), Outcome::Ok, "nothing was changed since");
        assert_eq!(found(&|status| (status.newest, status.current_at) = (long_ago, long_ago)), Outcome::Warning);
        assert_eq!(found(&|status| status.interval = 0), Outcome::Warning);
        assert_eq!(found(&|status| (status.newest, status.current_at) = (None, None)), Outcome::Warning);
        assert_eq!(found(&|status| status.problem = Some("full".into())), Outcome::Error);
    }

    #[test]
    fn a_registry_younger_than_its_keys_is_told() {
        let (_directory, host) = host(&[]);
        let found = |created_at: u64| {
            let key = KeyDocument {
                kid: "k".into(),
                alg: "EdDSA".into(),
                state: KeyState::Active,
                created_at: UnixTime::from_secs(1_000_000),
                since: UnixTime::from_secs(1_000_000),
                until: None,
                path: "k.pem".into(),
            };
            let ask = |command| match command {
                Command::KeyList => Ok(Answer::Keys(vec![key.clone()])),
                _ => {
                    Ok(Answer::Inspection(Inspection { created_at: UnixTime::from_secs(created_at), records: 1, ..Inspection::default() }))
                }
            };
            let world = World::new(Config::load(None, std::iter::empty()), None, Ok(None), &ask, host.clone(), NOW);
            registry(&world).unwrap().iter().map(|finding| finding.outcome).max()
        };
        assert_eq!(found(1_000_000), Some(Outcome::Ok));
        assert_eq!(found(9_000_000), Some(Outcome::Warning));
    }
}
