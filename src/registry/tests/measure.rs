//! Numbers to look at: `cargo test --lib registry::tests::measure -- --ignored --nocapture --test-threads=1`.

use std::time::Instant;

use super::*;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn fill(directory: &Path, clients: usize) {
    let registry = open(directory);
    let start = Instant::now();
    std::thread::scope(|threads| {
        for thread in 0..32 {
            let registry = &registry;
            threads.spawn(move || {
                (thread..clients).step_by(32).for_each(|index| drop(registry.add_client(client(&format!("device-{index:06}"))).unwrap()))
            });
        }
    });
    println!("{clients} clients written in {:?}", start.elapsed());
}

fn load(clients: usize) {
    let directory = tempfile::tempdir().unwrap();
    // In a process of its own, so that what was used for writing does not count.
    if let Some(filled) = std::env::var_os("CREDGATE_TEST_FILLED") {
        let before = resident_kib();
        let start = Instant::now();
        let registry = open(Path::new(&filled));
        println!("{} clients: open {:?}, RSS {before} KiB before, {} KiB after", registry.client_count(), start.elapsed(), resident_kib());
        return;
    }
    fill(directory.path(), clients);
    let log = std::fs::metadata(options(directory.path()).directory.join("db")).unwrap().len();
    println!("log: {} KiB", log / 1_024);
    let name = format!("registry::tests::measure::memory_of_{clients}_clients");
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--ignored", "--nocapture", "--test-threads=1"])
        .env("CREDGATE_TEST_FILLED", directory.path())
        .status();
    assert!(child.unwrap().success());
}

#[test]
#[ignore = "a measurement"]
fn memory_of_0_clients() {
    load(0);
}

#[test]
#[ignore = "a measurement"]
fn memory_of_1000_clients() {
    load(1_000);
}

#[test]
#[ignore = "a measurement"]
fn memory_of_10000_clients() {
    load(10_000);
}

#[test]
#[ignore = "a measurement"]
fn memory_of_a_change_of_100000_clients() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    println!("begin: {} KiB", resident_kib());
    for (round, count) in [("added", 100_000), ("renamed", 100_000), ("removed", 1_000)] {
        let start = Instant::now();
        super::draft::name_all(&registry, count, round).unwrap();
        println!("{round}: {:?}, {} KiB", start.elapsed(), resident_kib());
    }
}
