//! Revoked tokens: what stops a client voids its tokens, for good.

use super::*;
use crate::token::{MAX_REVOKED, RevocationStore as _, RevokedToken, TokenHash};

fn token(number: u64) -> RevokedToken {
    let issued_at = NOW.saturating_add(number);
    RevokedToken {
        resource_server: "broker".parse().unwrap(),
        jti: base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, u128::from(number).to_be_bytes()),
        hash: TokenHash::of(&number.to_string()),
        issued_at,
        expires_at: issued_at.saturating_add(300),
    }
}

fn bound(registry: &Registry, name: &str) -> Option<UnixTime> {
    registry.revocations(&id(name)).and_then(|found| found.issued_before)
}

#[test]
fn stopping_a_client_voids_its_tokens_in_the_same_write() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    for name in ["blocked", "suspended", "removed", "edited", "cut"] {
        registry.add_client(client(name)).unwrap();
    }
    let before = now();
    registry.update_client(&id("blocked"), |client| client.status = Status::Blocked).unwrap();
    registry.update_client(&id("suspended"), |client| client.status = Status::Suspended).unwrap();
    registry.update_client(&id("edited"), |client| client.client_name = "Pump 8".into()).unwrap();
    registry.remove_client(&id("removed")).unwrap();
    registry.revoke_tokens(&id("cut"), Some(NOW), before).unwrap();
    for name in ["blocked", "suspended", "removed"] {
        // A token of this very second is void, too.
        assert!(bound(&registry, name).unwrap() > before, "{name}");
        assert!(bound(&registry, name).unwrap() <= now().saturating_add(1), "{name}");
    }
    assert_eq!((bound(&registry, "edited"), bound(&registry, "cut")), (None, Some(NOW)));
    let suspended = bound(&registry, "suspended");
    registry.update_client(&id("suspended"), |client| client.status = Status::Active).unwrap();
    registry.add_client(client("removed")).unwrap();
    let state = registry.revocation_state();
    assert!(state.sequence >= before.as_secs());
    drop(registry);
    let registry = open(directory.path());
    assert_eq!(registry.revocation_state().sequence, state.sequence);
    assert_eq!(bound(&registry, "suspended"), suspended, "resuming lifts nothing");
    assert!(bound(&registry, "removed").is_some(), "nor does registering the id again");
    registry.revoke_tokens(&id("cut"), None, now()).unwrap();
    assert!(registry.revocation_state().sequence > state.sequence);
}

#[test]
fn single_tokens_are_kept_and_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_client(client("a")).unwrap();
    let mut sequence = 0;
    for number in 0..100 {
        registry.revoke(&id("a"), token(number), NOW).unwrap();
        let state = registry.revocation_state();
        assert!(state.sequence > sequence);
        sequence = state.sequence;
        assert!(state.clients[0].tokens.len() <= MAX_REVOKED);
    }
    registry.revoke(&id("a"), token(99), NOW).unwrap();
    assert_eq!(registry.revocation_state().sequence, sequence, "what is void already changes nothing");
    drop(registry);
    let registry = open(directory.path());
    let revocations = registry.revocations(&id("a")).unwrap();
    assert!((0..100).all(|number| revocations.voids(&token(number).jti, token(number).issued_at)));
    // The largest record there can be.
    let long = "x".repeat(64);
    for number in 0..100 {
        let long = RevokedToken { resource_server: long.parse().unwrap(), ..token(200 + number) };
        registry.revoke(&id("a"), long, NOW).unwrap();
    }
}

#[test]
fn what_has_expired_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    for name in ["a", "b"] {
        registry.add_client(client(name)).unwrap();
    }
    registry.revoke(&id("a"), token(0), NOW).unwrap();
    registry.revoke(&id("b"), token(1), NOW).unwrap();
    registry.forget_revocations(NOW.saturating_add(90_000)).unwrap();
    let left =
        |registry: &Registry| registry.revocation_state().clients.iter().map(|found| found.client_id.to_string()).collect::<Vec<_>>();
    assert_eq!(left(&registry), ["b"]);
    drop(registry);
    let registry = open(directory.path());
    assert_eq!(left(&registry), ["b"]);
    registry.forget_revocations(NOW.saturating_add(90_001)).unwrap();
    assert!(left(&registry).is_empty());
}

#[test]
fn a_removed_resource_server_is_remembered_until_it_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_resource_server(server("rs", "urn:rs")).unwrap();
    registry.remove_resource_server(&"rs".parse().unwrap()).unwrap();
    drop(registry);
    let registry = open(directory.path());
    assert_eq!(registry.revocation_state().removed, ["rs".parse().unwrap()]);
}

#[test]
fn deny_a_time_to_come_an_unknown_client_and_the_removal_of_a_server_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    registry.add_resource_server(server("rs", "urn:rs")).unwrap();
    let reader = Client { introspects: ["rs".parse().unwrap()].into(), ..client("a") };
    registry.add_client(reader.clone()).unwrap();
    let unknown = Client { introspects: ["other".parse().unwrap()].into(), ..client("b") };
    for (error, code, text) in [
        (registry.revoke_tokens(&id("a"), Some(NOW.saturating_add(2)), NOW).unwrap_err(), "invalid", "a time that is still to come"),
        (registry.revoke_tokens(&id("b"), None, NOW).unwrap_err(), "not_found", "there is no client b"),
        (registry.add_client(unknown).unwrap_err(), "not_found", "there is no resource server other"),
        (registry.remove_resource_server(&"rs".parse().unwrap()).unwrap_err(), "invalid", "is still used by client a"),
    ] {
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(text), "{error}");
    }
    assert!(registry.revocation_state().clients.is_empty());
    drop(registry);
    assert_eq!(open(directory.path()).client(&id("a")).as_deref(), Some(&reader));
}
