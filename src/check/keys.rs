//! The signing keys.

use super::{Finding, Findings, World};
use crate::jose::KeyState;

const DAY: u64 = 86_400;
/// How long past its time a rotation may be: the gateway may have been off for a night.
const LENIENCE: u64 = DAY;
/// Without a schedule, a key that signs for longer is forgotten rather than kept.
const FORGOTTEN: u64 = 400 * DAY;

pub(super) fn signing_keys(world: &World<'_>) -> Findings {
    let rules = &world.config()?.file.keys;
    let keys = world.keys()?;
    let now = world.now().as_secs();
    if keys.is_empty() {
        return Err(Finding::warning("there are no signing keys yet", "make them with `credgate init`, or start the gateway"));
    }
    let (interval, propagation) = (u64::from(rules.rotation_interval), u64::from(rules.propagation));
    let mut findings = Vec::new();
    for key in keys {
        let age = now.saturating_sub(key.since.as_secs());
        let days = age.checked_div(DAY).unwrap_or_default();
        let told = format!("{} key {}", key.alg, key.kid);
        findings.push(match key.state {
            KeyState::Active if interval > 0 && age > interval.saturating_add(propagation).saturating_add(LENIENCE) => Finding::warning(
                format!("{told} signs since {} ({days} days), and should have been replaced after {} days", key.since, interval / DAY),
                "start the gateway, which rotates by itself; if it runs, see its log, then `credgate key rotate`",
            ),
            KeyState::Active if interval == 0 && age > FORGOTTEN => Finding::warning(
                format!("{told} signs since {} ({days} days), and keys.rotation-interval is 0", key.since),
                "`credgate key rotate`, or set keys.rotation-interval",
            ),
            KeyState::Published if age > propagation.saturating_mul(2).saturating_add(LENIENCE) => Finding::warning(
                format!("{told} waits to sign since {}, far longer than keys.propagation", key.since),
                "a key waits only while the gateway runs: start it; if it runs, see its log",
            ),
            state => Finding::ok(format!("{told} is {} since {}", word(state), key.since)),
        });
    }
    Ok(findings)
}

const fn word(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::Published => "published",
        KeyState::Retiring => "retiring",
    }
}

pub(super) fn master_key(world: &World<'_>) -> Findings {
    let config = world.config()?;
    if let Err(error) = config.read_master_key() {
        return Err(Finding::error(error.to_string(), "correct keys.master-key-file, or the systemd credential credgate-master-key"));
    }
    let keys = world.keys()?;
    let plain: Vec<_> = keys.iter().filter(|key| key.path.extension().is_none_or(|extension| extension != "sealed")).collect();
    match (keys.is_empty(), plain.first()) {
        (true, _) => Err(Finding::skipped("there are no signing keys yet")),
        (false, None) => Ok(vec![Finding::ok("every signing key is sealed")]),
        (false, Some(first)) => Err(Finding::warning(
            format!(
                "{} of {} signing keys are plain files, such as {}: a stolen disk or backup can sign",
                plain.len(),
                keys.len(),
                first.path.display()
            ),
            "give the gateway a master key: docs/operations.md, Keys sealed on disk",
        )),
    }
}
