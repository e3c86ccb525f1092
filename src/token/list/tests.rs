#![expect(clippy::arithmetic_side_effects, reason = "tests count small numbers")]

use zeroize::Zeroizing;

use super::super::revocation::RevokedToken;
use super::super::{OfflineError, OfflineVerifier};
use super::*;
use crate::jose::{Algorithm, SigningKey};

const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);
const ISSUER: &str = "https://as.example";

fn keys() -> KeyRing {
    let key = |seed| SigningKey::from_seed(&Zeroizing::new([seed; 32]));
    let p256 = SigningKey::from_p256_scalar(&Zeroizing::new([3; 32])).unwrap();
    KeyRing::new(Arc::new(key(1)), vec![Arc::new(key(2))]).with(KeyRing::new(Arc::new(p256), Vec::new()))
}

fn server(token_format: TokenFormat, alg: Algorithm) -> ResourceServer {
    ResourceServer { token_format, alg, ..ResourceServer::new("rs".parse().unwrap(), "urn:rs".into(), NOW) }
}

fn revoked(number: u64, server: &str) -> RevokedToken {
    RevokedToken {
        resource_server: server.parse().unwrap(),
        jti: URL_SAFE_NO_PAD.encode([u8::try_from(number % 251).unwrap(); 16]),
        hash: TokenHash::of(&number.to_string()),
        issued_at: NOW.saturating_add(number),
        expires_at: NOW.saturating_add(number + 300),
    }
}

fn client(id: &str, issued_before: Option<u64>, tokens: &[(u64, &str)]) -> Arc<Revocations> {
    Arc::new(Revocations {
        client_id: id.parse().unwrap(),
        issued_before: issued_before.map(|seconds| NOW.saturating_add(seconds)),
        tokens: tokens.iter().map(|(number, server)| revoked(*number, server)).collect(),
    })
}

fn state(clients: Vec<Arc<Revocations>>) -> RevocationState {
    RevocationState { sequence: 7, clients, removed: Vec::new() }
}

fn claims(client_id: &str, jti: &str, issued_after: u64) -> Claims {
    let iat = NOW.saturating_add(issued_after);
    serde_json::from_value(serde_json::json!({
        "iss": ISSUER, "sub": client_id, "client_id": client_id, "aud": "urn:rs", "iat": iat, "nbf": iat, "exp": iat.saturating_add(300),
        "jti": jti, "scope": "a",
    }))
    .unwrap()
}

fn list(state: &RevocationState, max_bytes: usize) -> RevocationList {
    RevocationList::new(ISSUER, &server(TokenFormat::Jwt, Algorithm::EdDsa), state, NOW, max_bytes)
}

#[test]
fn names_what_is_void_at_its_resource_server_alone() {
    let list = list(&state(vec![client("a", Some(5), &[(9, "rs"), (8, "other")]), client("b", None, &[(3, "rs")])]), MAX_LIST);
    let voids = |client_id, jti: &str, after| list.voids(&claims(client_id, jti, after), &TokenHash::of("another"));
    assert_eq!((list.seq, list.issued_before, list.clients.len(), list.tokens.len()), (7, None, 1, 2));
    assert!(voids("a", "x", 4) && !voids("a", "x", 5) && !voids("b", "x", 4));
    assert!(voids("b", &revoked(3, "rs").jti, 3) && !voids("a", &revoked(8, "other").jti, 8));
    assert!(list.voids(&claims("b", "x", 3), &revoked(3, "rs").hash), "by its hash alone, as RFC 9770 has it");
}

#[test]
fn is_signed_and_read_in_the_form_of_the_tokens() {
    let state = state(vec![client("a", Some(5), &[(9, "rs")])]);
    for (format, alg) in [
        (TokenFormat::Jwt, Algorithm::EdDsa),
        (TokenFormat::Jwt, Algorithm::Ed25519),
        (TokenFormat::Jwt, Algorithm::Es256),
        (TokenFormat::Cwt, Algorithm::EdDsa),
        (TokenFormat::Cwt, Algorithm::Es256),
    ] {
        let server = server(format, alg);
        let mut list = RevocationList::new(ISSUER, &server, &state, NOW, MAX_LIST);
        for bound in [None, Some(NOW)] {
            list.issued_before = bound;
            let signed = list.sign(&server, &keys()).unwrap();
            assert_eq!(signed.is_utf8, format == TokenFormat::Jwt);
            let read = |bytes: &[u8]| RevocationList::verify(bytes, ISSUER, "urn:rs", &keys().jwk_set());
            assert_eq!(read(&signed.payload).unwrap(), list, "{format:?} {alg:?}");
            let mut forged = signed.payload.clone();
            *forged.last_mut().unwrap() = if forged.last() == Some(&b'A') { b'Q' } else { b'A' };
            assert!(read(&forged).is_err(), "{format:?} {alg:?}");
        }
    }
}

#[test]
fn deny_what_is_no_list_for_this_reader() {
    let server = server(TokenFormat::Jwt, Algorithm::EdDsa);
    let published = RevocationList::new(ISSUER, &server, &state(Vec::new()), NOW, MAX_LIST).sign(&server, &keys()).unwrap().payload;
    let set = keys().jwk_set();
    assert!(RevocationList::verify(&published, ISSUER, "urn:rs", &set).is_ok());
    assert!(RevocationList::verify(&published, "https://other.example", "urn:rs", &set).is_err());
    assert!(RevocationList::verify(&published, ISSUER, "urn:other", &set).is_err());
    let other = SigningKey::from_seed(&Zeroizing::new([9; 32])).public().clone();
    assert!(RevocationList::verify(&published, ISSUER, "urn:rs", &JwkSet { keys: vec![other] }).is_err());
    // A token is no list, and a list no token.
    let key = keys().active().clone();
    let token = jose::sign("at+jwt", &claims("a", "x", 0), &key).unwrap();
    assert!(RevocationList::verify(token.as_bytes(), ISSUER, "urn:rs", &set).is_err());
    assert!(super::super::verify(std::str::from_utf8(&published).unwrap(), ISSUER, None, &set, NOW).is_err());
    for text in ["", "a.b.c", "\u{fffd}"] {
        assert!(RevocationList::verify(text.as_bytes(), ISSUER, "urn:rs", &set).is_err());
    }
    assert!(RevocationList::verify(&[0xd8, 61, 0xd2, 0x80], ISSUER, "urn:rs", &set).is_err());
}

#[test]
fn a_full_list_voids_more_and_never_less() {
    for format in [TokenFormat::Jwt, TokenFormat::Cwt] {
        let server = server(format, Algorithm::EdDsa);
        let clients: Vec<_> = (0..400_u64).map(|number| client(&format!("dev{number}"), Some(number), &[(number, "rs")])).collect();
        let mut last = 0;
        for max_bytes in [700, 2_000, 8_192, MAX_LIST] {
            let list = RevocationList::new(ISSUER, &server, &state(clients.clone()), NOW, max_bytes);
            let signed = list.sign(&server, &keys()).unwrap();
            assert!(signed.payload.len() <= max_bytes, "{} of {max_bytes}", signed.payload.len());
            for number in 0..400_u64 {
                let revoked = revoked(number, "rs");
                let id = format!("dev{number}");
                assert!(list.voids(&claims(&id, &revoked.jti, number), &revoked.hash), "{format:?} {max_bytes} {number}");
                assert!(number == 0 || list.voids(&claims(&id, "x", number - 1), &TokenHash::of("x")));
            }
            let named = list.clients.len() + list.tokens.len();
            assert!(named > last, "more room names more: {named}");
            last = named;
            assert!(list.issued_before.is_none_or(|bound| bound <= NOW.saturating_add(400)), "nothing later than the latest");
        }
        let first = RevocationList::new(ISSUER, &server, &state(clients.clone()), NOW, 8_192);
        let again = RevocationList::new(ISSUER, &server, &state(clients.into_iter().rev().collect()), NOW.saturating_add(1), 8_192);
        assert!(first.says_the_same_as(&again), "whatever order the store has");
    }
}

#[test]
fn a_whole_fleet_that_was_blocked_is_told_by_a_time() {
    let clients: Vec<_> = (0..20_000_u64).map(|number| client(&format!("dev{number}"), Some(number % 1_000), &[])).collect();
    let list = list(&state(clients.clone()), MAX_LIST);
    let bound = list.issued_before.unwrap();
    assert!(!list.clients.is_empty());
    for revoked in clients {
        let before = revoked.issued_before.unwrap();
        let is_named = list.clients.iter().any(|client| client.client_id == revoked.client_id && client.issued_before == before);
        assert!(is_named || bound >= before, "{}", revoked.client_id);
    }
}

#[test]
fn a_token_is_judged_offline() {
    let server = server(TokenFormat::Jwt, Algorithm::EdDsa);
    let sign = |sequence, clients| {
        let state = RevocationState { sequence, clients, removed: Vec::new() };
        RevocationList::new(ISSUER, &server, &state, NOW, MAX_LIST).sign(&server, &keys()).unwrap().payload
    };
    let token = jose::sign("at+jwt", &claims("a", "x", 0), &keys().active().clone()).unwrap();
    let mut verifier = OfflineVerifier::new(ISSUER.into(), "urn:rs".into(), keys().jwk_set());
    assert!(verifier.verify(&token, NOW).is_ok(), "nothing is known to be revoked");
    assert_eq!(verifier.take_list(&sign(7, Vec::new())), Ok(7));
    assert_eq!(verifier.verify(&token, NOW).unwrap().client_id, "a");
    assert_eq!(verifier.take_list(&sign(9, vec![client("a", Some(1), &[])])), Ok(9));
    assert_eq!(verifier.verify(&token, NOW).unwrap_err().code(), "token_revoked");
    // deny: the list from before is replayed
    assert_eq!(verifier.take_list(&sign(7, Vec::new())), Err(OfflineError::OldList { found: 7, seen: 9 }));
    assert_eq!(verifier.verify(&token, NOW), Err(OfflineError::Revoked), "the later list stays");
    assert_eq!(verifier.take_list(b"x").unwrap_err().code(), "list_not_valid");
    assert_eq!(verifier.verify(&token, NOW.saturating_add(300)).unwrap_err().code(), "token_not_valid");
    let mut restarted = OfflineVerifier::new(ISSUER.into(), "urn:rs".into(), keys().jwk_set()).having_seen(9);
    assert_eq!(restarted.take_list(&sign(8, Vec::new())).unwrap_err().code(), "list_too_old");
    assert_eq!(restarted.take_list(&sign(9, Vec::new())), Ok(9), "the same again");
    restarted.set_keys(JwkSet { keys: Vec::new() });
    assert_eq!(restarted.verify(&token, NOW).unwrap_err().code(), "token_not_valid");
}
