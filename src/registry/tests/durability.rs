//! What a caller is told and when.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::*;

/// A sync that waits for its outcome, told by the test, and says when it began and what the log then held.
struct Gate {
    begun: Receiver<Vec<u8>>,
    outcome: Sender<io::Result<()>>,
}

fn open_with_gate(directory: &Path) -> (Arc<Registry>, Gate) {
    drop(open(directory));
    let log: PathBuf = options(directory).directory.join("db");
    let (begin, begun) = channel();
    let (outcome, outcomes) = channel::<io::Result<()>>();
    let sync = move |file: &File| {
        let _ = begin.send(std::fs::read(&log)?);
        outcomes.recv().unwrap_or(Ok(())).and_then(|()| file.sync_data())
    };
    (Registry::open_with(&options(directory), Box::new(sync)).unwrap(), Gate { begun, outcome })
}

fn holds(log: &[u8], text: &str) -> bool {
    log.windows(text.len()).any(|window| window == text.as_bytes())
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "never came true");
        std::thread::yield_now();
    }
}

#[test]
fn is_flushed_then_synced_then_visible_then_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (registry, gate) = open_with_gate(directory.path());
    let acknowledged = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            registry.add_client(client("the-client")).unwrap();
            acknowledged.store(true, Ordering::SeqCst);
        });
        let log = gate.begun.recv().unwrap();
        assert!(holds(&log, "the-client"), "the log is synced before it was flushed");
        assert_eq!((registry.client_count(), registry.client(&id("the-client"))), (0, None), "visible before it is durable");
        assert!(!acknowledged.load(Ordering::SeqCst), "acknowledged before it is durable");
        gate.outcome.send(Ok(())).unwrap();
    });
    assert!(acknowledged.load(Ordering::SeqCst));
    assert_eq!(ids(&registry), ["the-client"]);
    assert!(gate.begun.try_recv().is_err(), "synced more than once for one change");
}

#[test]
fn changes_that_wait_share_one_sync() {
    let directory = tempfile::tempdir().unwrap();
    let (registry, gate) = open_with_gate(directory.path());
    std::thread::scope(|threads| {
        let add = |id: String| {
            let registry = &registry;
            threads.spawn(move || registry.add_client(client(&id)).unwrap());
        };
        add("first".into());
        gate.begun.recv().unwrap();
        (0..10).for_each(|index| add(format!("waiting-{index}")));
        wait_until(|| registry.committer.queued() == 10);
        gate.outcome.send(Ok(())).unwrap();
        let log = gate.begun.recv().unwrap();
        assert!((0..10).all(|index| holds(&log, &format!("waiting-{index}"))));
        gate.outcome.send(Ok(())).unwrap();
    });
    assert_eq!(registry.client_count(), 11);
    assert!(gate.begun.try_recv().is_err(), "more than one sync for what waited");
    drop((gate, registry));
    assert_eq!(open(directory.path()).client_count(), 11);
}

#[test]
fn deny_changes_after_a_failed_sync() {
    let directory = tempfile::tempdir().unwrap();
    let (registry, gate) = open_with_gate(directory.path());
    gate.outcome.send(Ok(())).unwrap();
    gate.outcome.send(Ok(())).unwrap();
    registry.add_client(client("kept")).unwrap();
    registry.add_resource_server(server("broker", "aud")).unwrap();
    drop((gate.begun.recv(), gate.begun.recv()));
    std::thread::scope(|threads| {
        let scope_outcome = threads.spawn(|| registry.add_scope(scope("s", "broker")));
        gate.begun.recv().unwrap();
        // It builds on the scope that is being written, so it must fail with it.
        let granted = Client { scope: "s".parse().unwrap(), ..client("granted") };
        let client_outcome = threads.spawn(|| registry.add_client(granted));
        wait_until(|| registry.committer.queued() == 1);
        gate.outcome.send(Err(io::Error::other("the disk is gone"))).unwrap();
        gate.outcome.send(Ok(())).unwrap();
        let error = scope_outcome.join().unwrap().unwrap_err();
        assert_eq!(error.code(), "write_failed");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the disk is gone");
        assert_eq!(client_outcome.join().unwrap().unwrap_err().code(), "write_failed");
    });
    // Reads go on; changes do not.
    assert_eq!((ids(&registry), registry.policy().scopes.len()), (vec!["kept".to_owned()], 0));
    let error = registry.remove_client(&id("kept")).unwrap_err();
    assert_eq!(error.code(), "stopped");
    assert!(error.to_string().contains("restart the gateway"), "{error}");
    drop((gate, registry));
    let registry = open(directory.path());
    assert_eq!((ids(&registry), registry.policy().scopes.len()), (vec!["kept".to_owned()], 0), "the failed change was not undone");
    registry.add_client(client("after")).unwrap();
}

#[test]
fn deny_a_clients_own_rotation_that_the_disk_does_not_take() {
    use crate::clients::{CredentialRef, CredentialStore as _, CredentialWish, RotationFailure, RotationRule};
    let directory = tempfile::tempdir().unwrap();
    let (registry, gate) = open_with_gate(directory.path());
    gate.outcome.send(Ok(())).unwrap();
    registry.add_client(client("a")).unwrap();
    let before = registry.client(&id("a")).unwrap();
    let by = CredentialRef::Secret(&before.secrets[0]).id();
    gate.outcome.send(Err(io::Error::other("the disk is full"))).unwrap();
    gate.outcome.send(Ok(())).unwrap();
    let failure = registry.rotate(&id("a"), by, CredentialWish::Secret, RotationRule::default(), NOW).map(|_| ());
    assert_eq!(failure, Err(RotationFailure::NotKept));
    assert_eq!(registry.client(&id("a")), Some(before.clone()), "the secret that nobody got does not count");
    drop((gate, registry));
    assert_eq!(open(directory.path()).client(&id("a")), Some(before));
}

#[test]
fn concurrent_changes_are_all_durable_and_grouped() {
    const THREADS: usize = 16;
    const CLIENTS: usize = 40;
    let directory = tempfile::tempdir().unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let count = syncs.clone();
    let sync = move |file: &File| {
        count.fetch_add(1, Ordering::SeqCst);
        file.sync_data()
    };
    let registry = Registry::open_with(&options(directory.path()), Box::new(sync)).unwrap();
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let registry = &registry;
            threads
                .spawn(move || (0..CLIENTS).for_each(|index| drop(registry.add_client(client(&format!("c-{thread}-{index}"))).unwrap())));
        }
    });
    assert!(syncs.load(Ordering::SeqCst) <= THREADS * CLIENTS, "a change took more than one sync");
    let before = ids(&registry);
    drop(registry);
    let after = ids(&open(directory.path()));
    assert_eq!((after.len(), &after), (THREADS * CLIENTS, &before));
}

#[test]
fn a_panic_in_the_writing_thread_leaves_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let fuse = armed.clone();
    let sync = move |file: &File| {
        assert!(!fuse.load(Ordering::SeqCst), "armed");
        file.sync_data()
    };
    let registry = Registry::open_with(&options(directory.path()), Box::new(sync)).unwrap();
    registry.add_client(client("kept")).unwrap();
    armed.store(true, Ordering::SeqCst);
    assert_eq!(registry.add_client(client("lost")).unwrap_err().code(), "stopped");
    assert_eq!(registry.add_client(client("refused")).unwrap_err().code(), "stopped");
    assert_eq!(ids(&registry), ["kept"]);
}
