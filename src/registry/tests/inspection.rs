//! A look at the files while the registry is open.

use super::super::records::{Tree, encode};
use super::*;

/// Writes behind the back of what is in memory.
fn smuggle(registry: &Registry, tree: Tree, key: &str, value: Option<Vec<u8>>) {
    registry.committer.write(vec![Write { tree, key: key.into(), value }]).unwrap();
}

#[test]
fn whatever_is_wrong_on_disk_is_told_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_resource_server(server("rs", "urn:rs")).unwrap();
    registry.add_scope(scope("a", "rs")).unwrap();
    registry.add_client(Client { scope: "a".parse().unwrap(), ..client("dev1") }).unwrap();
    let sound = registry.inspect().unwrap();
    assert!(sound.records >= 4 && sound.faulty == 0 && sound.faults.is_empty(), "{sound:?}");

    smuggle(&registry, Tree::Clients, "broken", Some(b"\x82\x01\xa0".to_vec()));
    smuggle(&registry, Tree::Roles, "r", Some(encode(&role("r", "nowhere")).unwrap()));
    smuggle(&registry, Tree::Scopes, "a", None);
    let found = registry.inspect().unwrap();
    assert_eq!(found.records, sound.records + 1);
    for words in [
        "clients \"broken\" cannot be read",
        "there is no scope nowhere",
        "role r on disk is not what is in force",
        "0 records of the kind scope are on disk and 1 in force",
    ] {
        assert!(found.faults.iter().any(|fault| fault.contains(words)), "{words}: {found:?}");
    }
    assert_eq!(found.faulty, found.faults.len());

    for number in 0..30 {
        smuggle(&registry, Tree::Clients, &format!("x{number}"), Some(Vec::new()));
    }
    let many = registry.inspect().unwrap();
    assert!(many.faults.len() == 20 && many.faulty >= 30, "{many:?}");
}

#[test]
fn a_look_and_changes_take_turns() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    std::thread::scope(|threads| {
        let changes = threads.spawn(|| (0..20).for_each(|number| drop(registry.add_client(client(&format!("dev{number}"))).unwrap())));
        while !changes.is_finished() {
            assert_eq!(registry.inspect().unwrap().faulty, 0, "what is on disk is in force");
        }
    });
    assert!(registry.inspect().unwrap().records >= 21);
}
