//! Files that a power cut or a worn-out card left truncated, torn or with wrong bits: what was acknowledged is there, or its loss is told, and a start
//! is refused only if there is nothing to start with.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

use super::*;

/// Damaged starts; `TORN_ROUNDS` for more.
const ROUNDS: u64 = 60;

/// Numbers by chance, the same every time (xorshift64*, Vigna 2016).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// All that was acknowledged is there.
    Whole,
    /// The snapshot's, and it is told.
    FellBack,
    /// What was there at some moment, and it is told that there was more.
    LostAndTold,
    /// As before, and nobody is told.
    LostInSilence,
    /// Neither.
    Mixed,
    Refused,
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn snapshots(state: &Path) -> Snapshots {
    Snapshots { directory: state.join("snapshots"), keep: 3 }
}

/// What each moment's clients were, and the moment of the snapshot. As a kill leaves it, if that is wanted, or closed.
fn filled(state: &Path, is_killed: bool) -> (Vec<BTreeMap<String, Client>>, usize) {
    let work = tempfile::tempdir().unwrap();
    let registry = open(work.path());
    let (mut moments, mut of_snapshot) = (vec![BTreeMap::new()], 0);
    for number in 0..120 {
        let mut now = moments.last().unwrap().clone();
        let name = format!("dev-{}", number % 40);
        match number / 40 {
            0 => drop(now.insert(name.clone(), (*registry.add_client(client(&name)).unwrap()).clone())),
            1 => {
                let changed = registry.update_client(&id(&name), |client| client.client_name = format!("Pump {number}")).unwrap();
                now.insert(name, (*changed).clone());
            }
            _ if number % 3 == 0 => {
                registry.remove_client(&id(&name)).unwrap();
                now.remove(&name);
            }
            _ => continue,
        }
        moments.push(now);
        if number == 60 {
            of_snapshot = moments.len() - 1;
            snapshots(work.path()).make(&registry, "https://as.example").unwrap();
        }
    }
    if is_killed {
        copy(work.path(), &state.join("state"));
    }
    drop(registry);
    drop(super::super::restore::held(&options(work.path()).directory.join("db")).unwrap());
    if !is_killed {
        copy(work.path(), &state.join("state"));
    }
    (moments, of_snapshot)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Damages one file, mostly the log; says how.
fn damage(registry: &Path, chance: &mut Chance) -> String {
    let all = files(registry);
    let log = registry.join("db");
    let path = if chance.below(3) > 0 { log } else { all[chance.below(all.len())].clone() };
    let mut bytes = fs::read(&path).unwrap();
    // Most of a log is empty room for more.
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let at = chance.below(end);
    let how = match chance.below(4) {
        0 => {
            bytes.truncate(at);
            "cut off"
        }
        1 => {
            let start = at / 512 * 512;
            let end = (start + 512).min(bytes.len());
            bytes[start..end].fill(0);
            "a sector of zeros"
        }
        2 => {
            let start = at / 4_096 * 4_096;
            let end = (start + 4_096).min(bytes.len());
            bytes[start..end].iter_mut().for_each(|byte| *byte = chance.next().to_be_bytes()[0]);
            "a page of rubbish"
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
            "a bit"
        }
    };
    fs::write(&path, bytes).unwrap();
    format!("{} {how} at {at} of {end}", path.strip_prefix(registry).unwrap().display())
}

fn start(state: &Path, moments: &[BTreeMap<String, Client>], of_snapshot: usize) -> (Outcome, String) {
    let (registry, fell_back) = match snapshots(state).open(&options(state)) {
        Ok(opened) => opened,
        Err(error) => {
            return (
                Outcome::Refused,
                format!("{} {error}: {:?}", error.code(), std::error::Error::source(&error).map(ToString::to_string)),
            );
        }
    };
    let found: BTreeMap<String, Client> =
        registry.clients().iter().map(|client| (client.client_id.to_string(), (**client).clone())).collect();
    let moment = moments.iter().rposition(|clients| *clients == found);
    let is_told = registry.memory.lost > 0;
    let outcome = match (moment, fell_back.is_some()) {
        (Some(moment), true) if moment == of_snapshot => Outcome::FellBack,
        (Some(moment), false) if moment == moments.len() - 1 => Outcome::Whole,
        (Some(_), false) if is_told => Outcome::LostAndTold,
        (Some(_), false) => Outcome::LostInSilence,
        _ => Outcome::Mixed,
    };
    (
        outcome,
        format!("moment {moment:?} of {}, told {is_told}, {:?}", moments.len() - 1, fell_back.map(|fell_back| fell_back.cause.to_string())),
    )
}

fn torn(is_killed: bool) {
    let origin = tempfile::tempdir().unwrap();
    let (moments, of_snapshot) = filled(origin.path(), is_killed);
    let rounds = std::env::var("TORN_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let (mut counts, mut faults) = (BTreeMap::<Outcome, u32>::new(), Vec::new());
    for round in 0..rounds {
        let mut chance = Chance(round * 2 + 1);
        let _ = (0..8).map(|_| chance.next()).last();
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        copy(&origin.path().join("state"), &state);
        let how = damage(&options(&state).directory, &mut chance);
        let (outcome, told) = start(&state, &moments, of_snapshot);
        *counts.entry(outcome).or_default() += 1;
        if outcome > Outcome::LostAndTold {
            faults.push(format!("round {round}: {how}: {outcome:?}: {told}"));
        }
    }
    println!("{counts:?}");
    assert!(faults.is_empty(), "{counts:?}\n{}", faults.join("\n"));
    assert!(counts.len() == 3, "no damage came to one of three ends: {counts:?}");
}

#[test]
fn torn_files_of_a_closed_registry_lose_nothing_in_silence() {
    torn(false);
}

#[test]
fn torn_files_of_a_killed_registry_lose_nothing_in_silence() {
    torn(true);
}
