//! Registries that a power cut, a later version or a full disk left behind.

use std::fs;

use super::*;

fn filled(directory: &Path) {
    let registry = open(directory);
    (0..50).for_each(|index| drop(registry.add_client(client(&format!("c-{index}"))).unwrap()));
    drop(registry);
    // A snapshot of these records is written on opening.
    drop(open(directory));
}

/// As sled opens it by itself, once the threads of whoever had it open before are done.
fn open_plainly(directory: &Path) -> sled::Result<sled::Db> {
    let start = std::time::Instant::now();
    loop {
        match sled::open(options(directory).directory) {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") && start.elapsed().as_secs() < 60 => {
                std::thread::yield_now();
            }
            outcome => return outcome,
        }
    }
}

fn snapshots(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(options(directory).directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snap.")).collect()
}

#[test]
fn a_partial_snapshot_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    for bytes in [&b""[..], b"partial", &[0x5a; 4_096]] {
        let partial = options(directory.path()).directory.join("snap.FFFFFFFFFFFFFFFF.generating");
        fs::write(&partial, bytes).unwrap();
        assert!(matches!(open_plainly(directory.path()), Err(sled::Error::Corruption { .. })), "sled takes it by itself");
        assert_eq!(open(directory.path()).client_count(), 50);
        assert!(!partial.exists());
    }
}

#[test]
fn a_damaged_snapshot_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let damages: [fn(Vec<u8>) -> Vec<u8>; 3] = [
        |_| Vec::new(),
        |mut bytes| {
            bytes.truncate(bytes.len() / 2);
            bytes
        },
        |mut bytes| {
            bytes[0] ^= 1;
            bytes
        },
    ];
    for damage in damages {
        let found = snapshots(directory.path());
        assert_eq!(found.len(), 1, "{found:?}");
        fs::write(&found[0], damage(fs::read(&found[0]).unwrap())).unwrap();
        assert!(matches!(open_plainly(directory.path()), Err(sled::Error::Corruption { .. })), "sled takes it by itself");
        let registry = open(directory.path());
        assert_eq!(registry.client_count(), 50);
        assert_eq!(*registry.client(&id("c-49")).unwrap(), client("c-49"));
        registry.add_client(client("after")).unwrap();
        registry.remove_client(&id("after")).unwrap();
    }
    let kept = fs::read_dir(options(directory.path()).directory).unwrap();
    assert!(kept.map(|entry| entry.unwrap().file_name()).any(|name| name.to_str().unwrap().starts_with("damaged-snap.")));
}

#[test]
fn deny_a_record_of_a_later_version() {
    let path = |directory: &Path| options(directory).directory;
    for (tree, key, known) in [("clients", "c-9", 1), ("scopes", "s", 1), ("resource_servers", "broker", 1), ("meta", "registry", 2)] {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()));
        let database = open_plainly(directory.path()).unwrap();
        let record = serde_cbor::to_vec(&(7_u64, "of a form nobody knows yet")).unwrap();
        database.open_tree(tree).unwrap().insert(key, record.clone()).unwrap();
        drop(database);
        let error = Registry::open(&options(directory.path())).unwrap_err();
        let expected = format!(
            "{}: {tree} {key:?} has version 7, this program knows versions up to {known}: run the newer program that wrote it",
            path(directory.path()).display()
        );
        assert_eq!((error.code(), error.to_string()), ("newer_version", expected));
        let database = open_plainly(directory.path()).unwrap();
        assert_eq!(database.open_tree(tree).unwrap().get(key).unwrap().unwrap(), record, "what was refused was changed");
    }
}

#[test]
fn space_is_held_back_for_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let ballast = options(directory.path()).directory.join("ballast");
    drop(open(directory.path()));
    assert_eq!(fs::metadata(&ballast).unwrap().len(), 4 << 20);
    fs::remove_file(&ballast).unwrap();
    // As long, but holding no space.
    File::create(&ballast).unwrap().set_len(4 << 20).unwrap();
    drop(open(directory.path()));
    assert!(std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&ballast).unwrap()) * 512 >= 4 << 20);
}

/// Run by hand: `mount -t tmpfs -o size=16m none /mnt/small`, and `CREDGATE_TEST_SMALL_DISK=/mnt/small cargo test --lib full_disk -- --ignored`.
#[test]
#[ignore = "needs CREDGATE_TEST_SMALL_DISK, an empty file system of 16 to 64 MiB"]
fn a_full_disk_loses_nothing() {
    let root = PathBuf::from(std::env::var_os("CREDGATE_TEST_SMALL_DISK").unwrap());
    let directory = tempfile::tempdir_in(&root).unwrap();
    let occupied = root.join("occupied");
    fs::write(&occupied, vec![1; 5 << 20]).unwrap();
    let registry = open(directory.path());
    let large = |id: &str| Client { client_name: "x".repeat(5_000), ..client(id) };
    let mut acknowledged = Vec::new();
    let error = loop {
        let id = format!("c-{:05}", acknowledged.len());
        match registry.add_client(large(&id)) {
            Ok(_) => acknowledged.push(id),
            Err(error) => break error,
        }
    };
    println!("{} clients, then: {error}", acknowledged.len());
    assert!(acknowledged.len() > 10);
    assert_eq!(error.code(), "disk_full");
    assert_eq!(ids(&registry), acknowledged);
    drop(registry);

    // It opens on a disk that is full to the last byte, again and again; changes fail or hold, as the space in the log has it.
    let filler = root.join("filler");
    for round in 0..10 {
        for size in [65_536, 1] {
            let mut file = File::options().create(true).append(true).open(&filler).unwrap();
            while std::io::Write::write_all(&mut file, &vec![1; size]).is_ok() {}
        }
        let registry = open(directory.path());
        assert_eq!(ids(&registry), acknowledged);
        for attempt in 0..5 {
            let id = format!("d-{round}-{attempt}");
            match registry.add_client(large(&id)) {
                Ok(_) => acknowledged.push(id),
                Err(error) => assert_eq!(error.code(), "disk_full"),
            }
            assert_eq!(ids(&registry), acknowledged);
        }
    }
    println!("{} clients on a full disk", acknowledged.len());

    // With space it takes changes again, without a restart.
    let registry = open(directory.path());
    fs::remove_file(occupied).unwrap();
    registry.add_client(client("late")).unwrap();
    acknowledged.push("late".into());
    assert_eq!(ids(&registry), acknowledged);
    drop(registry);
    assert_eq!(ids(&open(directory.path())), acknowledged);
    fs::remove_file(filler).unwrap();
}
