//! Snapshots, and what the gateway does with them when its files are damaged.

use std::fs;

use super::super::restore::held;
use super::*;
use crate::audit::What;

fn snapshots(directory: &Path) -> Snapshots {
    Snapshots { directory: directory.join("snapshots"), keep: 3 }
}

fn log(directory: &Path) -> PathBuf {
    options(directory).directory.join("db")
}

/// A registry with `before`, a snapshot of that, and `after` since.
fn filled(directory: &Path) {
    let registry = open(directory);
    super::backup::fill(&registry);
    registry.add_client(client("before")).unwrap();
    snapshots(directory).make(&registry, "https://as.example").unwrap();
    registry.add_client(client("after")).unwrap();
    drop(registry);
    closed(directory);
}

fn closed(directory: &Path) {
    drop(held(&log(directory)).unwrap());
}

fn start(directory: &Path) -> Result<(Arc<Registry>, Option<FellBack>), RegistryError> {
    snapshots(directory).open(&options(directory))
}

#[test]
fn the_newest_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    let snapshots = snapshots(directory.path());
    let made: Vec<PathBuf> = (0..5).map(|_| snapshots.make(&registry, "i").unwrap().path).collect();
    let kept: Vec<PathBuf> = snapshots.list(&registry).unwrap().into_iter().map(|snapshot| snapshot.path).collect();
    assert_eq!(kept, made.iter().rev().take(3).cloned().collect::<Vec<_>>());
    assert!(snapshots.list(&registry).unwrap().iter().all(|snapshot| snapshot.is_own));
    // What is left of one that was cut off goes; what is none is left alone.
    fs::write(snapshots.directory.join(".new"), "half").unwrap();
    fs::write(snapshots.directory.join("notes.txt"), "mine").unwrap();
    snapshots.make(&registry, "i").unwrap();
    assert!(!snapshots.directory.join(".new").exists() && snapshots.directory.join("notes.txt").exists());
}

#[test]
fn a_sound_registry_is_opened_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let (registry, fell_back) = start(directory.path()).unwrap();
    assert!(fell_back.is_none() && registry.client(&id("after")).is_some());
}

#[test]
fn a_damaged_log_falls_back_to_the_newest_snapshot_that_is_sound() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("its beginning", |log| log[..64].fill(0x5a)),
        ("all of it", |log| log.fill(0x5a)),
        ("cut off", |log| log.truncate(100)),
        ("zeros", |log| log.fill(0)),
    ];
    for (name, damage) in damages {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        // A newer one that is damaged itself is passed over.
        fs::write(directory.path().join("snapshots/registry-00000009.backup"), "rubbish").unwrap();
        let mut bytes = fs::read(log(directory.path())).unwrap();
        damage(&mut bytes);
        fs::write(log(directory.path()), &bytes).unwrap();
        remove_sled_snapshots(directory.path());
        let (registry, fell_back) = start(directory.path()).unwrap();
        let fell_back = fell_back.unwrap_or_else(|| panic!("{name}: it was taken for sound, with {} clients", registry.client_count()));
        assert_eq!(fell_back.cause.code(), "corrupt", "{name}");
        assert!(registry.client(&id("before")).is_some() && registry.client(&id("after")).is_none(), "{name}");
        assert!(fell_back.set_aside.join("registry/db").exists(), "{name}");
        assert_eq!(registry.restored().unwrap().origin, Origin::FallBack);
        let (trail, _) = super::trail::all(&registry);
        assert!(trail.last().is_some_and(|sealed| sealed.entry.event.is(What::RegistryFellBack)));
        // The next start goes on with it.
        registry.add_client(client("later")).unwrap();
        drop(registry);
        let (registry, fell_back) = start(directory.path()).unwrap();
        assert!(fell_back.is_none() && registry.client(&id("later")).is_some(), "{name}");
    }
}

fn remove_sled_snapshots(directory: &Path) {
    for entry in fs::read_dir(options(directory).directory).unwrap().map(Result::unwrap) {
        if entry.file_name().to_str().unwrap().starts_with("snap.") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[test]
fn commands_do_not_go_back_and_without_a_snapshot_nothing_is_moved() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let mut bytes = fs::read(log(directory.path())).unwrap();
    bytes[..64].fill(0x5a);
    fs::write(log(directory.path()), &bytes).unwrap();
    remove_sled_snapshots(directory.path());
    let error = Registry::open(&options(directory.path())).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "corrupt");
    assert!(error.to_string().contains("credgate restore"), "{error}");
    closed(directory.path());
    fs::remove_dir_all(directory.path().join("snapshots")).unwrap();
    let error = start(directory.path()).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "corrupt");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing but the registry");
}

#[test]
fn a_registry_that_lost_its_end_falls_back_to_a_snapshot_that_knows_of_it() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    closed(directory.path());
    let early: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(options(directory.path()).directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name != "lineage"))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    filled(directory.path());
    // As if the disk had never taken what came later.
    remove_sled_snapshots(directory.path());
    for (path, content) in early {
        fs::write(path, content).unwrap();
    }
    let without = tempfile::tempdir().unwrap();
    copy(&options(directory.path()).directory, &options(without.path()).directory);
    let (registry, fell_back) = start(directory.path()).unwrap();
    assert!(fell_back.unwrap().cause.source_text().contains("its audit trail ends with entry"));
    assert!(registry.client(&id("before")).is_some());
    // Where no snapshot knows more, it is told.
    let (registry, fell_back) = start(without.path()).unwrap();
    assert!(fell_back.is_none() && registry.client_count() == 0, "sled finds nothing wrong");
    let inspection = registry.inspect().unwrap();
    assert!(inspection.faults.iter().any(|fault| fault.contains("its end was lost")), "{inspection:?}");
    registry.write_audit(AuditWrite::Due).unwrap();
    assert!(super::trail::all(&registry).0.iter().any(|sealed| sealed.entry.event.is(What::RegistryLostEnd)));
    drop(registry);
    let (registry, _) = start(without.path()).unwrap();
    assert_eq!(registry.inspect().unwrap().faulty, 0, "once");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn snapshots_of_another_registry_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    // The operator wanted a new one.
    fs::rename(options(directory.path()).directory, directory.path().join("away")).unwrap();
    let (registry, fell_back) = start(directory.path()).unwrap();
    assert!(fell_back.is_none() && registry.client_count() == 0);
    assert!(snapshots(directory.path()).list(&registry).unwrap().iter().all(|snapshot| !snapshot.is_own));
    drop(registry);
    closed(directory.path());
    fs::write(log(directory.path()), vec![0x5a; 1_000]).unwrap();
    remove_sled_snapshots(directory.path());
    assert_eq!(start(directory.path()).map(|_| ()).unwrap_err().code(), "corrupt");
}

trait SourceText {
    fn source_text(&self) -> String;
}

impl SourceText for RegistryError {
    fn source_text(&self) -> String {
        std::error::Error::source(self).map(ToString::to_string).unwrap_or_default()
    }
}

/// Wherever the log is damaged, the gateway starts, and has all or what the snapshot has.
#[test]
fn no_damaged_byte_keeps_the_gateway_from_starting() {
    let original = tempfile::tempdir().unwrap();
    filled(original.path());
    let files: Vec<(PathBuf, Vec<u8>)> = ["registry", "snapshots"]
        .iter()
        .flat_map(|part| fs::read_dir(original.path().join(part)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name != "ballast"))
        .map(|path| (path.strip_prefix(original.path()).unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    let used =
        files.iter().find(|(name, _)| name.ends_with("db")).map(|(_, log)| log.iter().rposition(|byte| *byte != 0).unwrap()).unwrap();
    let mut outcomes = std::collections::BTreeMap::<&str, usize>::new();
    for at in (0..used).step_by(std::env::var("CREDGATE_TEST_STEP").map_or(397, |step| step.parse().unwrap())) {
        let directory = tempfile::tempdir().unwrap();
        for part in ["registry", "snapshots"] {
            fs::create_dir(directory.path().join(part)).unwrap();
            fs::set_permissions(directory.path().join(part), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }
        for (name, content) in files.iter().filter(|(name, _)| !name.file_name().unwrap().to_str().unwrap().starts_with("snap.")) {
            let mut content = content.clone();
            if name.ends_with("db") {
                content[at] ^= 0xff;
            }
            fs::write(directory.path().join(name), content).unwrap();
        }
        let (registry, fell_back) = start(directory.path()).unwrap_or_else(|error| panic!("byte {at}: {error}: {}", error.source_text()));
        let (before, after) = (registry.client(&id("before")).is_some(), registry.client(&id("after")).is_some());
        let outcome = match (fell_back.is_some(), before, after) {
            (true, true, false) => "fell back",
            (false, true, true) => "unharmed",
            (false, true, false) if registry.inspect().unwrap().faulty == 1 => "lost its end, and says so",
            other => panic!("byte {at}: {other:?}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}");
}
