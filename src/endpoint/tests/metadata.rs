//! What the metadata says, member for member, for each link and each way to set the engine up.

use super::*;
use crate::clients::{CredentialId, CredentialStore, CredentialWish, Rotated, RotationFailure, RotationRule};

fn published(engine: &Engine, channel: Channel) -> Value {
    serde_json::to_value(engine.metadata("oauth2/v1", channel)).unwrap()
}

struct Rotating;

impl CredentialStore for Rotating {
    fn rotate(&self, _: &ClientId, _: CredentialId, _: CredentialWish, _: RotationRule, _: UnixTime) -> Result<Rotated, RotationFailure> {
        Err(RotationFailure::NotKept)
    }
}

/// An engine that is set up so.
fn set_up(assertions: bool, self_service: bool) -> Engine {
    let engine = if assertions { engine_with_assertions() } else { engine().0 };
    if self_service { engine.with_self_service(Arc::new(Rotating), RotationRule::default()) } else { engine }
}

#[test]
fn metadata_is_signed_by_the_active_key() {
    let (engine, _) = engine();
    let mut metadata = published(&engine, Channel::Trusted);
    let signed = metadata.as_object_mut().unwrap().remove("signed_metadata").unwrap();
    let signed = signed.as_str().unwrap();
    let (header, mut claims) = decode_unverified(signed).unwrap();
    assert_eq!(header["kid"], engine.keys().active().kid());
    assert_eq!(claims.as_object_mut().unwrap().remove("iss"), Some(json!(ISSUER)));
    assert_eq!(claims, metadata);
    // It is no access token, whatever else it says.
    assert!(token::verify(signed, ISSUER, None, &engine.keys().jwk_set(), NOW).is_err());
}

#[test]
fn metadata_says_exactly_what_is_enabled() {
    for channel in [Channel::Trusted, Channel::Untrusted] {
        for (assertions, self_service) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut expected = json!({
                "issuer": ISSUER,
                "response_types_supported": [],
                "grant_types_supported": ["client_credentials"],
                "scopes_supported": ["rs1:admin", "rs1:read", "rs1:write", "rs2:read"],
                "mqtt_request_topic": "oauth2/v1/client/{client_id}/{operation}/{format}",
                "mqtt_jwks_topic": "oauth2/v1/as/jwks",
                "mqtt_status_topic": "oauth2/v1/as/status",
                "mqtt_formats_supported": ["json", "cbor"],
                "mqtt_token_types_supported": if assertions { json!(["Bearer", "PoP"]) } else { json!(["Bearer"]) },
                "mqtt_max_payload": 1_024,
            });
            let listed = |all: &[(&str, bool)]| all.iter().filter(|(_, enabled)| *enabled).map(|(name, _)| json!(name)).collect::<Value>();
            expected["token_endpoint_auth_methods_supported"] =
                listed(&[("client_secret_post", channel == Channel::Trusted), ("private_key_jwt", assertions)]);
            if assertions {
                expected["token_endpoint_auth_signing_alg_values_supported"] = json!(["EdDSA", "Ed25519", "ES256"]);
            }
            expected["mqtt_operations_supported"] =
                listed(&[("token", true), ("nonce", assertions), ("credential", self_service), ("introspect", true)]);
            expected["introspection_endpoint_auth_methods_supported"] = expected["token_endpoint_auth_methods_supported"].clone();
            let mut found = published(&set_up(assertions, self_service), channel);
            assert!(found.as_object_mut().unwrap().remove("signed_metadata").is_some());
            assert_eq!(found, expected, "{channel:?}, assertions {assertions}, self-service {self_service}");
        }
    }
}

#[test]
fn what_metadata_does_not_list_is_refused() {
    let payload = json!({"client_secret": engine().1, "grant_type": "client_credentials"}).to_string();
    for (assertions, self_service) in [(false, false), (false, true), (true, false), (true, true)] {
        let engine = set_up(assertions, self_service);
        let listed = engine.metadata("oauth2/v1", Channel::Trusted).mqtt.mqtt_operations_supported;
        for operation in crate::oauth::Operation::ALL {
            let reply = send(&engine, "one", payload.as_bytes(), |request| request.operation = operation.as_str());
            let off = matches!(&reply.decision, Decision::Refused(refusal)
                if matches!(refusal.reason(), Reason::UnknownOperation | Reason::SelfServiceOff));
            assert_eq!(off, !listed.contains(&operation.as_str()), "{} {:?}", operation.as_str(), reply.decision);
        }
    }
}
