//! What reads bytes from outside, one function for each kind, as fuzz targets (`fuzz/`) and the tests below call it.
//!
//! Besides not panicking each holds what it reads to something that must be so whatever the bytes are.
#![expect(clippy::unwrap_used, reason = "a broken promise fails the target, and what is unwrapped is written here")]

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::clients::{Assertions, AuthMethod, Channel, Client, ClientKey, ClientSecret, ClientStore, SecretDigest};
use crate::clock::UnixTime;
use crate::endpoint::{Decision, Engine, Request, Settings};
use crate::jose::cose::Sign1;
use crate::jose::{CompactJws, JwkSet, KeyRing, SigningKey};
use crate::mqtt::{Gateway, Inbound, LinkKind, QoS, Topics};
use crate::oauth::{self, ClientId, CredentialAsk, Format, IntrospectAsk, Operation, Reason, RevokeAsk, Secret, TokenAsk};
use crate::policy::{Policy, PolicyStore, ResourceServer, Scope};
use crate::token::{self, Lifetimes, OfflineVerifier, RevocationList};

/// Reads bytes, and panics if a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its file in `fuzz/fuzz_targets` and of its directory in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 8] = [
    ("json", json),
    ("cbor", cbor),
    ("topic", topic),
    ("assertion", assertion),
    ("token", token),
    ("frame", frame),
    ("record", record),
    ("config", config),
];

/// The world is that of the examples in docs/protocol.md, so that their bytes go all the way.
const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);
const ISSUER: &str = "https://as.example";
const AUDIENCE: &str = "https://telemetry.example";
const SECRET: &[u8] = b"s3cr3t";
const SCOPE: &str = "telemetry:write";
/// RFC 8037 appendix A.1: the gateway's key.
const GATEWAY_SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
/// RFC 8032 section 7.1, TEST 2: the key of `dev2`.
const DEVICE_SEED: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";

struct World;

impl ClientStore for World {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        let client = Client { scope: SCOPE.parse().unwrap(), ..Client::new(id.clone(), NOW) };
        match id.as_str() {
            "dev1" => {
                let digest = SecretDigest::of(&Secret::new(SECRET.to_vec()));
                let secrets = vec![ClientSecret { digest, created_at: NOW, not_before: None, expires_at: None }];
                Some(Arc::new(Client { secrets, ..client }))
            }
            "dev2" => {
                let jwks = vec![ClientKey::new(key(DEVICE_SEED).public().clone(), NOW)];
                Some(Arc::new(Client { jwks, token_endpoint_auth_method: AuthMethod::PrivateKeyJwt, ..client }))
            }
            _ => None,
        }
    }
}

impl PolicyStore for World {
    fn policy(&self) -> Arc<Policy> {
        let server = ResourceServer::new("telemetry".parse().unwrap(), AUDIENCE.into(), NOW);
        let scope = Scope::new(SCOPE.parse().unwrap(), server.id.clone(), NOW);
        let mut policy = Policy::default();
        policy.scopes.insert(scope.name.clone(), Arc::new(scope));
        policy.resource_servers.insert(server.id.clone(), Arc::new(server));
        Arc::new(policy)
    }
}

fn key(seed: &str) -> Arc<SigningKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = seed.get(at.saturating_mul(2)..).and_then(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok()).unwrap();
    }
    Arc::new(SigningKey::from_seed(&bytes))
}

fn jwk_set() -> JwkSet {
    JwkSet { keys: vec![key(GATEWAY_SEED).public().clone()] }
}

fn assertions() -> Assertions {
    Assertions::new(ISSUER.into(), UnixTime::from_secs(1), 16, Zeroizing::new([1; 32]))
}

fn engine() -> Engine {
    let settings = Settings { issuer: ISSUER.into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 8_192 };
    let keys = KeyRing::new(key(GATEWAY_SEED), Vec::new());
    Engine::new(settings, Arc::new(World), Arc::new(World), keys).with_assertions(assertions())
}

/// A request in JSON, for every operation.
pub fn json(bytes: &[u8]) {
    request(Format::Json, bytes);
}

/// A request in CBOR, for every operation.
pub fn cbor(bytes: &[u8]) {
    request(Format::Cbor, bytes);
}

/// Every answer can be read, a token is for what was granted, and nothing is a request in both formats.
fn request(format: Format, payload: &[u8]) {
    let reads = |format| {
        [
            oauth::decode_client_request::<TokenAsk>(format, payload).is_ok(),
            oauth::decode_client_request::<CredentialAsk>(format, payload).is_ok(),
            oauth::decode_client_request::<IntrospectAsk>(format, payload).is_ok(),
            oauth::decode_client_request::<RevokeAsk>(format, payload).is_ok(),
            oauth::decode_register_request(format, payload).is_ok(),
            oauth::decode_nonce_request(format, payload).is_ok(),
        ]
        .contains(&true)
    };
    assert!(!(reads(Format::Json) && reads(Format::Cbor)), "one payload is a request in both formats");
    let engine = engine();
    for client_id in ["dev1", "dev2"] {
        let client_id = client_id.parse().unwrap();
        for operation in Operation::ALL {
            let operation = operation.as_str();
            let request = Request {
                client_id: &client_id,
                operation,
                format,
                payload,
                channel: Channel::Trusted,
                correlation_data: None,
                envelope: Ok(()),
            };
            let reply = engine.handle(&request, NOW, [3; 16]);
            let token = match format {
                Format::Json => {
                    let answer: serde_json::Value = serde_json::from_slice(&reply.payload).unwrap();
                    answer.get(oauth::Param::AccessToken.name()).and_then(|token| token.as_str()).map(str::to_owned)
                }
                Format::Cbor => {
                    let answer: crate::jose::cose::Labels = serde_cbor::from_slice(&reply.payload).unwrap();
                    match answer.get(1) {
                        Some(serde_cbor::Value::Bytes(token)) if operation == Operation::Token.as_str() => {
                            token::in_json(token).map(|token| token.into_owned())
                        }
                        _ => None,
                    }
                }
            };
            let is_issued = matches!(reply.decision, Decision::Issued { .. });
            assert!(token.is_some() || !is_issued, "a token is told of that is not given");
            if let Some(token) = token {
                assert!(is_issued || matches!(reply.decision, Decision::Repeated { accepted: true }), "a token is given and not told of");
                let claims = token::verify(&token, ISSUER, Some(AUDIENCE), &jwk_set(), NOW).unwrap();
                assert_eq!((claims.client_id.as_str(), claims.scope.as_str()), (client_id.as_str(), SCOPE));
            }
        }
    }
}

/// The topic of a message and, after a line break, its Response Topic: an answer stays below the topics of the request's client, and is no request.
pub fn topic(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (topic, response_topic) = text.split_once('\n').map_or((text, None), |(topic, response)| (topic, Some(response)));
    let topics = Topics::new("oauth2/v1").unwrap();
    let gateway = Gateway::new(Arc::new(engine()), topics.clone(), Channel::Trusted, LinkKind::Broker, Arc::new(|| NOW));
    let inbound = Inbound { topic, payload: b"{}", retain: false, qos: QoS::AtLeastOnce, response_topic, correlation_data: Some(bytes) };
    let Some(answer) = gateway.answer(&inbound) else {
        assert!(topics.parse_request(topic).is_none(), "a request without an answer");
        return;
    };
    let client_id = topics.parse_request(topic).unwrap().client_id;
    let own = answer.topic.strip_prefix(&topics.client_root(&client_id)).unwrap();
    assert!(!own.is_empty() && !own.contains(['+', '#', '\0']) && topics.parse_request(&answer.topic).is_none(), "{}", answer.topic);
}

/// A client's assertion, as JWS or COSE_Sign1: it serves once at most.
pub fn assertion(bytes: &[u8]) {
    let _ = std::str::from_utf8(bytes).ok().and_then(|text| CompactJws::parse(text).ok());
    if let Ok(signed) = Sign1::parse(bytes) {
        assert!(Sign1::is_begun_by(bytes));
        let _ = signed.verify(key(DEVICE_SEED).public());
    }
    let (assertions, id) = (assertions(), "dev2".parse().unwrap());
    let authenticate = || assertions.authenticate_session(&id, &Secret::new(bytes.to_vec()), &World, NOW);
    if authenticate().is_ok() {
        assert_eq!(authenticate().map(|_| ()).unwrap_err().reason(), Reason::ReplayedAssertion);
    }
}

/// A token or a revocation list, as whoever checks it reads it: what verifies is of this issuer, and no token is a list.
pub fn token(bytes: &[u8]) {
    let keys = jwk_set();
    let text = token::in_json(bytes).map(|text| text.into_owned());
    let claims = text.as_deref().and_then(|text| token::verify(text, ISSUER, None, &keys, NOW).ok());
    if let Some(claims) = &claims {
        assert!(claims.iss == ISSUER && claims.exp > NOW && claims.nbf <= NOW);
    }
    let list = RevocationList::verify(bytes, ISSUER, AUDIENCE, &keys);
    assert!(claims.is_none() || list.is_err(), "one message is a token and a list");
    let mut verifier = OfflineVerifier::new(ISSUER.into(), AUDIENCE.into(), keys);
    assert_eq!(verifier.take_list(bytes).is_ok(), list.is_ok());
    if let Some(text) = text {
        let _ = token::decode_unverified(&text);
        let _ = token::claims_unverified(&text);
        let _ = crate::enrolment::id_of(text.as_bytes());
        let _ = verifier.verify(&text, NOW);
    }
}

/// What comes over the control socket: a command that is read is written and read as the same.
pub fn frame(bytes: &[u8]) {
    crate::admin::reread_frame(bytes);
}

/// The bytes of a record in the registry, of every kind, or of an entry of the trail: what is read is written and read as the same.
pub fn record(bytes: &[u8]) {
    crate::registry::reread_record(bytes);
    if let Some(entry) = crate::audit::Entry::from_cbor(bytes) {
        assert_eq!(entry.to_cbor(), bytes);
    }
}

/// A configuration file: one that is valid is shown so that it is read as the same.
pub fn config(bytes: &[u8]) {
    use crate::config::Config;
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = |text: &str| Config::parse(Some(("credgate.toml".as_ref(), text)), std::iter::empty());
    match read(text) {
        Ok(config) => assert_eq!(read(&config.to_toml()).unwrap().file, config.file),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests;
