//! SIGKILL at any moment: what was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::enrolments::enrol;
use super::*;
use crate::audit::{Event, What};

const DIRECTORY: &str = "CREDGATE_TEST_KILL_DIRECTORY";
const ROUND: &str = "CREDGATE_TEST_KILL_ROUND";
const THREADS: usize = 4;

/// What is done with each client, in this order; the rest of what is done depends on its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Added,
    Blocked,
    Removed,
}

fn steps(number: usize) -> &'static [Step] {
    match number % 4 {
        0 => &[Step::Added, Step::Blocked],
        1 => &[Step::Added, Step::Blocked, Step::Removed],
        _ => &[Step::Added],
    }
}

/// The process that is killed. It writes for ever and says what was acknowledged.
#[test]
#[ignore = "run by acknowledged_changes_survive_sigkill in a process of its own"]
fn child_writes_until_killed() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let round = std::env::var(ROUND).unwrap();
    // Not println, which the harness could capture; each line is one write.
    let say = |text: String| std::io::stdout().lock().write_all(format!("\n={text}\n").as_bytes()).unwrap();
    say("opening".into());
    let registry = open(&directory);
    std::thread::scope(|threads| {
        let (enrolling, this_round, tell) = (&registry, &round, &say);
        threads.spawn(move || {
            for number in 0_usize.. {
                let serial = format!("r{this_round}-{number}");
                enrol::register(enrolling, &serial);
                tell(format!("Enrolled {serial}"));
            }
        });
        for thread in 0..THREADS {
            let (registry, round, say) = (&registry, &round, &say);
            threads.spawn(move || {
                for number in 0_usize.. {
                    let name = format!("r{round}-t{thread}-{number}");
                    for step in steps(number) {
                        let registry = registry.acting();
                        registry.intend(Event::of(What::OperatorCommand).subject(&format!("{step:?} {name}")));
                        match step {
                            Step::Added => drop(registry.add_client(client(&name)).unwrap()),
                            Step::Blocked => drop(registry.update_client(&id(&name), |client| client.status = Status::Blocked).unwrap()),
                            Step::Removed => drop(registry.remove_client(&id(&name)).unwrap()),
                        }
                        say(format!("{step:?} {name}"));
                    }
                }
            });
        }
    });
}

#[test]
fn acknowledged_changes_survive_sigkill() {
    const ROUNDS: usize = 15;
    let directory = tempfile::tempdir().unwrap();
    drop(enrol::with_enrolment(directory.path(), |enrolment| enrolment.uses = u32::MAX, |_| ()));
    let mut acknowledged: BTreeMap<String, Step> = BTreeMap::new();
    let mut enrolled = Vec::new();
    for round in 0..ROUNDS {
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        // Every fifth is killed while it opens.
        let lines = if round % 5 == 4 { 1 } else { 2 + usize::from(u16::from_le_bytes(random) % 300) };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "registry::tests::kill::child_writes_until_killed", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix('=').map(str::to_owned));
        let mut before: Vec<String> = said.by_ref().take(lines).collect();
        assert_eq!(before.len(), lines, "the child ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts too.
        before.extend(said);
        for line in before.iter().skip(1) {
            let (step, name) = line.split_once(' ').unwrap();
            if step == "Enrolled" {
                enrolled.push(name.to_owned());
                continue;
            }
            let step = [Step::Added, Step::Blocked, Step::Removed].into_iter().find(|known| format!("{known:?}") == step).unwrap();
            acknowledged.insert(name.to_owned(), step);
        }
        let registry = open(directory.path());
        check(&registry, &acknowledged);
        check_enrolled(&registry, &enrolled);
        check_audit(&registry, &acknowledged);
    }
    assert!(acknowledged.len() > ROUNDS && enrolled.len() > ROUNDS);
    println!("{ROUNDS} rounds, {} clients and {} registrations acknowledged", acknowledged.len(), enrolled.len());
}

/// A registration is there whole, or not at all: client, device and use.
fn check_enrolled(registry: &Registry, acknowledged: &[String]) {
    let e1 = "e1".parse().unwrap();
    let devices = registry.enrolled_devices(&e1);
    for serial in acknowledged {
        let device = devices.get(&format!("serial:{serial}").parse().unwrap());
        assert!(matches!(device, Some(DeviceState::Enrolled { client_id, .. }) if registry.client(client_id).is_some()), "{serial}");
    }
    let clients = registry.clients().iter().filter(|client| client.enrolled_by.is_some()).count();
    let used = registry.enrolments().enrolments[&e1].used;
    assert_eq!((used as usize, clients), (devices.len(), devices.len()), "uses, clients and devices");
}

/// Each acknowledged step has its entry, and the trail is whole.
fn check_audit(registry: &Registry, acknowledged: &BTreeMap<String, Step>) {
    let entries: BTreeSet<String> = super::trail::all(registry).0.into_iter().filter_map(|sealed| sealed.entry.event.subject).collect();
    for (name, last) in acknowledged {
        for step in [Step::Added, Step::Blocked, Step::Removed].iter().filter(|step| *step <= last) {
            let number: usize = name.rsplit('-').next().unwrap().parse().unwrap();
            let was_taken = steps(number).contains(step);
            assert!(!was_taken || entries.contains(&format!("{step:?} {name}")), "{step:?} {name} was acknowledged and has no entry");
        }
    }
    super::trail::verify(registry, None, Vec::new()).unwrap();
}

fn check(registry: &Registry, acknowledged: &BTreeMap<String, Step>) {
    for (name, step) in acknowledged {
        let number = name.rsplit('-').next().unwrap().parse().unwrap();
        let found = match registry.client(&id(name)) {
            Some(client) if client.status == Status::Blocked => Step::Blocked,
            Some(_) => Step::Added,
            None => Step::Removed,
        };
        // The step after the last acknowledged one may have been under way.
        let next = steps(number).iter().find(|next| *next > step);
        assert!(found == *step || Some(&found) == next, "{name}: acknowledged {step:?}, found {found:?}");
    }
    // And nothing came up that nobody wrote: at most the one client each thread of each round was adding.
    let by_hand = |client: &&Arc<Client>| client.enrolled_by.is_none();
    let clients = registry.clients();
    let unknown = clients.iter().filter(by_hand).filter(|client| !acknowledged.contains_key(client.client_id.as_str())).count();
    assert!(unknown <= THREADS * 15, "{unknown} clients nobody was told of");
}
