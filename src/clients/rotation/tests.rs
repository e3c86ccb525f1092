//! What a rotation does to the credentials of a client, step by step.

use zeroize::Zeroizing;

use super::super::MAX_SECRETS;
use super::*;
use crate::jose::SigningKey;

const NOW: UnixTime = UnixTime::from_secs(1_000);
const RULE: RotationRule = RotationRule { overlap: 100, retire: Retire::FirstUse };
const TO_THE_END: RotationRule = RotationRule { retire: Retire::End, ..RULE };

fn at(seconds: u64) -> UnixTime {
    NOW.saturating_add(seconds)
}

fn secret(number: u8) -> NewCredential {
    NewCredential::Secret(ClientSecret::generate(&Zeroizing::new([number; 32]), NOW).0)
}

fn key(number: u8) -> NewCredential {
    NewCredential::Key(ClientKey::new(SigningKey::from_seed(&Zeroizing::new([number; 32])).public().clone(), NOW))
}

fn id(credential: &NewCredential) -> CredentialId {
    match credential {
        NewCredential::Secret(secret) => CredentialRef::Secret(secret).id(),
        NewCredential::Key(key) => CredentialRef::Key(key).id(),
    }
}

fn client(credentials: &[NewCredential]) -> Client {
    let mut client = Client::new("dev1".parse().unwrap(), NOW);
    for credential in credentials {
        match credential.clone() {
            NewCredential::Secret(secret) => client.secrets.push(secret),
            NewCredential::Key(key) => {
                client.token_endpoint_auth_method = AuthMethod::PrivateKeyJwt;
                client.jwks.push(key);
            }
        }
    }
    client
}

/// Which of the credentials serve.
fn live(client: &Client, credentials: &[NewCredential], now: UnixTime) -> Vec<bool> {
    let serves = |wanted| client.credentials().any(|known| known.id() == wanted && client.is_live(known, now));
    credentials.iter().map(|credential| serves(id(credential))).collect()
}

#[test]
fn an_operators_rotation_ends_the_old_one_in_any_case() {
    for all in [[secret(1), secret(2)], [key(1), key(2)]] {
        let mut rotating = client(&all[..1]);
        rotating.rotate(None, all[1].clone(), RULE, NOW).unwrap();
        assert_eq!(live(&rotating, &all, at(99)), [true, true]);
        assert_eq!(live(&rotating, &all, at(100)), [false, true]);
        assert!(rotating.awaits_use_of(id(&all[1])) && !rotating.awaits_use_of(id(&all[0])));
        let mut used = rotating.clone();
        used.confirm(at(1));
        assert_eq!(live(&used, &all, at(1)), [false, true]);
        assert_eq!((used.rotation.as_ref(), used.credentials().count()), (None, 1));
        rotating.settle(at(100));
        assert_eq!((rotating.rotation.as_ref(), rotating.credentials().count()), (None, 1));
    }
}

#[test]
fn to_the_end_of_the_overlap_both_serve() {
    let all = [secret(1), secret(2)];
    let mut client = client(&all[..1]);
    client.rotate(None, all[1].clone(), TO_THE_END, NOW).unwrap();
    client.confirm(at(1));
    assert_eq!((live(&client, &all, at(99)), live(&client, &all, at(100))), (vec![true, true], vec![false, true]));
    assert!(!client.awaits_use_of(id(&all[1])), "once");
}

#[test]
fn without_an_overlap_the_old_one_ends_at_once() {
    let all = [key(1), key(2)];
    let mut client = client(&all[..1]);
    client.rotate(None, all[1].clone(), RotationRule { overlap: 0, ..RULE }, NOW).unwrap();
    assert_eq!((live(&client, &all, NOW), client.rotation), (vec![false, true], None));
}

#[test]
fn a_clients_own_rotation_ends_nothing_before_the_new_one_was_used() {
    for rule in [RULE, TO_THE_END] {
        let all = [secret(1), secret(2)];
        let mut client = client(&all[..1]);
        client.rotate(Some(id(&all[0])), all[1].clone(), rule, NOW).unwrap();
        client.settle(at(1_000));
        assert_eq!(live(&client, &all, at(1_000)), [true, true]);
        client.confirm(at(1_000));
        assert_eq!(live(&client, &all, at(1_000)), [false, true]);
    }
}

#[test]
fn a_lost_answer_costs_nothing() {
    let all = [secret(1), secret(2), secret(3), secret(4)];
    let mut client = client(&all[..1]);
    for (second, next) in (0..).zip(&all[1..]) {
        client.rotate(Some(id(&all[0])), next.clone(), RULE, at(second)).unwrap();
        assert!(client.secrets.len() <= MAX_SECRETS);
    }
    assert_eq!(live(&client, &all, at(3)), [true, false, false, true]);
    // Asked by the new one, which is a use of it.
    client.rotate(Some(id(&all[3])), all[1].clone(), RULE, at(4)).unwrap();
    assert_eq!(live(&client, &all, at(4)), [false, true, false, true]);
}

#[test]
fn the_same_key_again_is_the_same_rotation() {
    let all = [key(1), key(2)];
    let mut client = client(&all[..1]);
    client.rotate(Some(id(&all[0])), all[1].clone(), RULE, NOW).unwrap();
    client.rotate(Some(id(&all[0])), all[1].clone(), RULE, at(1)).unwrap();
    assert_eq!((client.jwks.len(), live(&client, &all, at(1))), (2, vec![true, true]));
}

#[test]
fn of_several_keys_a_client_replaces_the_one_it_signed_with() {
    let all = [key(1), key(2), key(3)];
    let mut client = client(&all[..2]);
    client.rotate(Some(id(&all[0])), all[2].clone(), RULE, NOW).unwrap();
    client.confirm(at(1));
    assert_eq!(live(&client, &all, at(1)), [false, true, true]);
}

#[test]
fn a_rotation_is_cancelled_or_finished() {
    let all = [secret(1), secret(2)];
    let mut rotating = client(&all[..1]);
    rotating.rotate(None, all[1].clone(), RULE, NOW).unwrap();
    let mut finished = rotating.clone();
    finished.finish_rotation(at(1)).unwrap();
    assert_eq!(live(&finished, &all, at(1)), [false, true]);
    rotating.cancel_rotation(at(1)).unwrap();
    assert_eq!(live(&rotating, &all, at(1)), [true, false]);
    assert_eq!(rotating.cancel_rotation(at(1)), Err(RotationError::NotUnderWay));
    assert_eq!(rotating.finish_rotation(at(1)), Err(RotationError::NotUnderWay));
}

#[test]
fn deny_a_second_rotation() {
    let all = [secret(1), secret(2)];
    let mut client = client(&all[..1]);
    client.rotate(None, all[1].clone(), RULE, NOW).unwrap();
    let before = client.clone();
    let under_way = RotationError::UnderWay { started_at: NOW, started_by: Initiator::Operator, ends_at: at(100) };
    // Whoever stole the old one may not replace what the operator gave out.
    assert_eq!(client.rotate(Some(id(&all[0])), secret(3), RULE, at(1)), Err(under_way.clone()));
    assert_eq!(client.rotate(None, secret(3), RULE, at(1)), Err(under_way));
    assert_eq!(client, before);
    client.rotate(None, secret(3), RULE, at(100)).unwrap();
}

#[test]
fn deny_the_old_credential_once_the_new_one_is_used() {
    let all = [secret(1), secret(2)];
    let mut client = client(&all[..1]);
    client.rotate(Some(id(&all[0])), all[1].clone(), TO_THE_END, NOW).unwrap();
    client.confirm(at(1));
    assert_eq!(client.rotate(Some(id(&all[0])), secret(3), TO_THE_END, at(2)), Err(RotationError::Replaced));
    assert!(matches!(client.rotate(Some(id(&all[1])), secret(3), TO_THE_END, at(2)), Err(RotationError::UnderWay { .. })));
    assert_eq!(client.cancel_rotation(at(2)), Err(RotationError::InUse(at(1))));
}

#[test]
fn deny_keys_that_do_not_fit() {
    let mut few = client(&[key(1)]);
    let NewCredential::Key(known) = key(1) else { panic!("no key") };
    let kid = known.jwk.kid().to_owned();
    assert_eq!(few.rotate(None, key(1), RULE, NOW), Err(RotationError::KnownKey(kid)));
    assert_eq!(few.rotate(None, secret(1), RULE, NOW), Err(RotationError::OtherMethod(AuthMethod::PrivateKeyJwt)));
    assert_eq!(client(&[secret(1)]).rotate(None, key(1), RULE, NOW), Err(RotationError::OtherMethod(AuthMethod::ClientSecretPost)));
    let mut many = client(&[key(1), key(2), key(3), key(4)]);
    assert_eq!(many.rotate(None, key(5), RULE, NOW), Err(RotationError::TooManyKeys));
    many.rotate(None, key(5), RotationRule { overlap: 0, ..RULE }, NOW).unwrap();
    assert_eq!(many.jwks.len(), 1);
}
