//! Who gets a sealed answer, and who gets none.

use super::*;
use crate::jose::seal::{NONCE, Sealed};
use crate::jose::{EncryptionKey, Sealer};
use crate::oauth::{GrantType, Operation, Param, RequestDigest};

/// A sealer that shows the key in place of a tag; tests/it/sealed.rs has the real one, opened by others.
struct Glass;

impl Sealer for Glass {
    fn random(&self, bytes: &mut [u8]) -> bool {
        bytes.fill(4);
        true
    }

    fn encrypt(&self, key: &[u8; 32], _: [u8; NONCE], _: &[u8], content: &mut Vec<u8>) -> bool {
        content.extend(key.iter().take(16));
        true
    }
}

fn private() -> Zeroizing<[u8; 32]> {
    Zeroizing::new([6; 32])
}

fn key() -> EncryptionKey {
    EncryptionKey::of(&private())
}

fn request(jwe_key: &Value, bound: Option<serde_cbor::Value>) -> Vec<u8> {
    let grant_type = serde_cbor::Value::Integer(GrantType::ClientCredentials.number().into());
    let members = |key| RequestDigest::of(Operation::Token, [(Param::JweKey, key), (Param::GrantType, grant_type)].into());
    let claims = bound.map_or(json!({}), |key| json!({"rqh": members(key).to_text()}));
    request_by_assertion(&claims, &json!({"jwe_key": jwe_key}))
}

fn outcome(engine: Engine, payload: &[u8]) -> (Value, String) {
    let reply = send(&engine, "signer", payload, |_| ());
    let reason = match &reply.decision {
        Decision::Refused(refusal) => refusal.reason().name().to_owned(),
        _ => "issued".to_owned(),
    };
    (serde_json::from_slice(&reply.payload).unwrap(), reason)
}

fn sealing() -> Engine {
    engine_with_assertions().with_sealer(Box::new(Glass))
}

fn jwk() -> Value {
    serde_json::to_value(key().jwk()).unwrap()
}

#[test]
fn the_token_is_for_the_holder_of_the_key() {
    let (answer, reason) = outcome(sealing(), &request(&jwk(), Some(key().jwk())));
    assert_eq!(reason, "issued", "{answer}");
    let sealed = Sealed::from_jwe(answer["access_token"].as_str().unwrap()).unwrap();
    let (token, shown) = sealed.content.split_at(sealed.content.len().checked_sub(16).unwrap());
    assert_eq!(shown, &sealed.key(&private()).unwrap()[..16]);
    assert_eq!(decode_unverified(std::str::from_utf8(token).unwrap()).unwrap().1["sub"], "signer");
    let metadata = |engine: Engine| serde_json::to_value(engine.metadata("p", Channel::Untrusted)).unwrap();
    assert_eq!(metadata(sealing())["mqtt_token_encryption_alg_values_supported"], json!(["ECDH-ES"]));
    assert_eq!(metadata(engine_with_assertions())["mqtt_token_encryption_alg_values_supported"], Value::Null);
}

#[test]
fn deny_a_key_that_is_not_under_the_assertion() {
    let other = EncryptionKey::of(&Zeroizing::new([7; 32])).jwk();
    for (bound, expected) in [(None, "request_not_bound"), (Some(other), "wrong_request_binding")] {
        let (answer, reason) = outcome(sealing(), &request(&jwk(), bound));
        assert_eq!(answer["error"], "invalid_client");
        assert_eq!(reason, expected);
    }
}

#[test]
fn deny_keys_that_seal_for_nobody() {
    let zeros = json!({"kty": "OKP", "crv": "X25519", "x": "A".repeat(43)});
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": jwk()["x"]});
    for key in [zeros, ed25519, json!({})] {
        let bound = serde_cbor::value::to_value(&key).unwrap();
        let (answer, reason) = outcome(sealing(), &request(&key, Some(bound)));
        assert_eq!((&answer["error"], reason.as_str()), (&json!("invalid_request"), "invalid_parameter"), "{key}");
        assert!(answer["error_description"].as_str().unwrap().starts_with("jwe_key: "), "{answer}");
    }
    let (answer, _) = outcome(engine_with_assertions(), &request(&jwk(), Some(key().jwk())));
    assert_eq!(answer["error_description"], "jwe_key: answers are not sealed here");
}

#[test]
fn deny_sealing_for_a_secret() {
    let (engine, secret) = engine();
    let (answer, decision) = ask_of((engine.with_sealer(Box::new(Glass)), secret), "one", &json!({"jwe_key": jwk()}));
    assert_eq!(answer["error"], "invalid_request");
    assert!(matches!(decision, Decision::Refused(_)));
}
