//! Rotations and last uses: at once in memory, soon on disk.

use super::*;
use crate::clients::{CredentialRef, CredentialWish, Retire, RotationError, RotationRule, authenticate_session};
use crate::oauth::Secret;

const RULE: RotationRule = RotationRule { overlap: 60, retire: Retire::FirstUse };

fn old_secret() -> Secret {
    ClientSecret::generate(&Zeroizing::new([7; 32]), NOW).1
}

fn serves(registry: &Registry, secret: &Secret, now: UnixTime) -> bool {
    authenticate_session(&id("a"), secret, registry, now).is_ok()
}

fn rotate(registry: &Registry, rule: RotationRule) -> Secret {
    registry.rotate_credential(&id("a"), None, CredentialWish::Secret, rule, NOW).unwrap().secret.unwrap()
}

#[test]
fn the_first_use_ends_the_old_secret_at_once_and_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let new = {
        let registry = open(directory.path());
        registry.add_client(client("a")).unwrap();
        let new = rotate(&registry, RULE);
        assert!(serves(&registry, &old_secret(), NOW), "both serve");
        drop(registry);
        // The rule stands in the record.
        let registry = open(directory.path());
        assert!(serves(&registry, &old_secret(), NOW) && serves(&registry, &new, NOW));
        assert!(!serves(&registry, &old_secret(), NOW), "from the very next request on");
        assert!(serves(&registry, &new, NOW));
        new
    };
    let registry = open(directory.path());
    assert!(!serves(&registry, &old_secret(), NOW) && serves(&registry, &new, NOW));
    let client = registry.client(&id("a")).unwrap();
    assert_eq!((client.secrets.len(), &client.rotation), (1, &None));
}

#[test]
fn the_first_use_is_in_force_before_it_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (gate, ordered) = std::sync::mpsc::channel::<()>();
    let options = options(directory.path());
    let mut syncs = 0;
    let sync = move |file: &File| {
        syncs += 1;
        // Opening, the client and the rotation go through; then the disk hangs.
        if syncs > 3 {
            let _ = ordered.recv();
        }
        file.sync_data()
    };
    let registry = Registry::open_with(&options, Box::new(sync)).unwrap();
    registry.add_client(client("a")).unwrap();
    let new = rotate(&registry, RULE);
    assert!(serves(&registry, &new, NOW));
    assert!(!serves(&registry, &old_secret(), NOW));
    assert_eq!(registry.clients()[0].secrets.len(), 1);
    assert_eq!(registry.memory.client(&id("a")).unwrap().secrets.len(), 2, "not durable yet");
    drop(gate);
}

#[test]
fn a_change_in_between_does_not_bring_the_old_secret_back() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_client(client("a")).unwrap();
    let new = rotate(&registry, RULE);
    assert!(serves(&registry, &new, NOW));
    registry.update_client(&id("a"), |client| client.client_name = "other".into()).unwrap();
    assert!(!serves(&registry, &old_secret(), NOW) && serves(&registry, &new, NOW));
}

#[test]
fn last_uses_are_written_when_asked_and_with_their_client_only() {
    let directory = tempfile::tempdir().unwrap();
    let credential = client("a").secrets[0].clone();
    let last = |registry: &Registry, name: &str| registry.last_used(&id(name), CredentialRef::Secret(&credential));
    let later = NOW.saturating_add(5);
    {
        let registry = open(directory.path());
        for name in ["a", "b"] {
            registry.add_client(client(name)).unwrap();
            assert!(authenticate_session(&id(name), &old_secret(), &*registry, NOW).is_ok());
        }
        assert_eq!(last(&registry, "a"), Some(NOW));
        registry.keep_usage().unwrap();
        assert!(serves(&registry, &old_secret(), later));
        assert_eq!(last(&registry, "a"), Some(later));
    }
    {
        let registry = open(directory.path());
        assert_eq!((last(&registry, "a"), last(&registry, "b")), (Some(NOW), Some(NOW)), "as of the last write");
        assert!(serves(&registry, &old_secret(), later));
        registry.remove_client(&id("b")).unwrap();
        registry.keep_usage().unwrap();
    }
    let registry = open(directory.path());
    assert_eq!((last(&registry, "a"), last(&registry, "b")), (Some(later), None));
}

#[test]
fn many_last_uses_are_written_in_few_batches() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    let secret = client("a").secrets[0].clone();
    for number in 0..3 {
        registry.add_client(client(&format!("c{number}"))).unwrap();
    }
    // Clients that are gone are removed from the disk's tree, and nothing is left over.
    for number in 0..2_000 {
        let gone = client(&format!("c{number}"));
        crate::clients::ClientStore::used(&*registry, &gone, CredentialRef::Secret(&secret), NOW);
    }
    registry.keep_usage().unwrap();
    let known = (0..2_000).filter(|number| registry.last_used(&id(&format!("c{number}")), CredentialRef::Secret(&secret)).is_some());
    assert_eq!(known.count(), 3);
}

#[test]
fn deny_what_the_record_does_not_allow() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_client(client("a")).unwrap();
    rotate(&registry, RULE);
    let again = registry.rotate_credential(&id("a"), None, CredentialWish::Secret, RULE, NOW).unwrap_err();
    assert!(matches!(&again, RegistryError::NotRotated { error: RotationError::UnderWay { .. }, .. }), "{again:?}");
    assert_eq!(again.code(), "not_rotated");
    registry.cancel_rotation(&id("a"), NOW).unwrap();
    assert!(matches!(registry.finish_rotation(&id("a"), NOW), Err(RegistryError::NotRotated { error: RotationError::NotUnderWay, .. })));
    assert!(matches!(registry.cancel_rotation(&id("b"), NOW), Err(RegistryError::NotFound { .. })));
}
