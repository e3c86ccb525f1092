//! The operation credential whole: a client rotates its own secret or key.

use std::sync::Mutex;

use super::*;
use crate::clients::{
    CredentialId, CredentialRef, CredentialStore, CredentialWish, NewCredential, Retire, Rotated, RotationFailure, RotationRule,
};
use crate::jose::cose;
use crate::oauth::{Operation, Param, RequestDigest};

const RULE: RotationRule = RotationRule { overlap: 100, retire: Retire::FirstUse };
const TO_THE_END: RotationRule = RotationRule { retire: Retire::End, ..RULE };

/// One client, and how often the disk was asked to keep something of it.
struct OneClient {
    client: Mutex<Arc<Client>>,
    kept: Mutex<u8>,
    is_full: bool,
}

impl ClientStore for OneClient {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        Some(self.client.lock().unwrap().clone()).filter(|client| client.client_id == *id)
    }

    fn used(&self, client: &Client, credential: CredentialRef<'_>, now: UnixTime) {
        if client.awaits_use_of(credential.id()) {
            Arc::make_mut(&mut self.client.lock().unwrap()).confirm(now);
        }
    }
}

impl CredentialStore for OneClient {
    fn rotate(
        &self,
        _: &ClientId,
        by: CredentialId,
        wish: CredentialWish,
        rule: RotationRule,
        now: UnixTime,
    ) -> Result<Rotated, RotationFailure> {
        if self.is_full {
            return Err(RotationFailure::NotKept);
        }
        let mut kept = self.kept.lock().unwrap();
        let (new, secret) = match wish {
            CredentialWish::Key(jwk) => (NewCredential::Key(ClientKey::new(jwk, now)), None),
            CredentialWish::Secret => {
                let (record, secret) = ClientSecret::generate(&Zeroizing::new([100_u8.checked_add(*kept).unwrap(); 32]), now);
                (NewCredential::Secret(record), Some(secret))
            }
        };
        let mut client = self.client.lock().unwrap();
        Arc::make_mut(&mut client).rotate(Some(by), new, rule, now).map_err(RotationFailure::Refused)?;
        *kept = kept.checked_add(1).unwrap();
        Ok(Rotated { client: client.clone(), secret })
    }
}

struct Bench {
    engine: Engine,
    store: Arc<OneClient>,
}

fn signing_key(number: u8) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&Zeroizing::new([number; 32])))
}

fn secret_of(number: u8) -> String {
    let (_, secret) = ClientSecret::generate(&Zeroizing::new([number; 32]), NOW);
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

impl Bench {
    /// A client with these secrets, by number.
    fn with_secrets(numbers: &[u8], rule: RotationRule) -> Self {
        let secrets = numbers.iter().map(|number| ClientSecret::generate(&Zeroizing::new([*number; 32]), NOW).0).collect();
        Self::of(Client { secrets, ..Client::new("dev1".parse().unwrap(), NOW) }, rule, false)
    }

    /// A client with these keys, by number.
    fn with_keys(numbers: &[u8], rule: RotationRule) -> Self {
        let jwks = numbers.iter().map(|number| ClientKey::new(signing_key(*number).public().clone(), NOW)).collect();
        let method = AuthMethod::PrivateKeyJwt;
        Self::of(Client { jwks, token_endpoint_auth_method: method, ..Client::new("dev1".parse().unwrap(), NOW) }, rule, false)
    }

    fn of(client: Client, rule: RotationRule, is_full: bool) -> Self {
        let client = Client { scope: "rs1:read".parse().unwrap(), ..client };
        let store = Arc::new(OneClient { client: Mutex::new(Arc::new(client)), kept: Mutex::new(0), is_full });
        let policies = Arc::new(Store { clients: BTreeMap::new(), policy: Arc::new(policy()) });
        let keys = KeyRing::new(Arc::new(SigningKey::from_seed(&Zeroizing::new([9; 32]))), Vec::new());
        let settings = Settings { issuer: ISSUER.into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 2_048 };
        let assertions = Assertions::new(ISSUER.into(), UnixTime::from_secs(1), 1_024, Zeroizing::new([5; 32]));
        let engine = Engine::new(settings, store.clone(), policies, keys).with_assertions(assertions);
        Self { engine: engine.with_self_service(store.clone(), rule), store }
    }

    fn send(&self, operation: &'static str, payload: &[u8], change: impl FnOnce(&mut Request<'_>)) -> Reply {
        send(&self.engine, "dev1", payload, |request| {
            request.operation = operation;
            change(request);
        })
    }

    fn credential(&self, payload: &Value) -> Reply {
        self.send("credential", payload.to_string().as_bytes(), |_| ())
    }

    /// Whether a token is to be had by that secret.
    fn token_by(&self, secret: &str) -> bool {
        let payload = json!({"grant_type": "client_credentials", "client_secret": secret}).to_string();
        self.send("token", payload.as_bytes(), |_| ()).decision.is_accepted()
    }

    /// Asks with an assertion of one key for another, given as it stands.
    fn by_key(&self, signer: u8, jti: &str, jwk: &Value) -> Reply {
        self.credential(&by_key(signer, jti, jwk))
    }
}

/// What an assertion for a request with that key is bound to.
fn digest(jwk: Option<serde_cbor::Value>) -> String {
    RequestDigest::of(Operation::Credential, jwk.map(|jwk| (Param::Jwk, jwk)).into_iter().collect()).to_text()
}

fn signed(signer: u8, jti: &str, rqh: Option<String>) -> String {
    let rqh = rqh.map_or(Value::Null, Value::String);
    let mut claims =
        json!({"iss": "dev1", "sub": "dev1", "aud": ISSUER, "iat": NOW, "exp": NOW.saturating_add(60), "jti": jti, "rqh": rqh});
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    jose::sign("JWT", &claims, &signing_key(signer)).unwrap()
}

fn by_key(signer: u8, jti: &str, jwk: &Value) -> Value {
    let bound = digest(Some(serde_cbor::value::to_value(jwk).unwrap()).filter(|_| !jwk.is_null()));
    let assertion = signed(signer, jti, Some(bound));
    let mut payload = json!({"client_assertion_type": oauth::ASSERTION_TYPE, "client_assertion": assertion, "jwk": jwk});
    payload.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    payload
}

fn jwk(number: u8) -> Value {
    serde_json::to_value(signing_key(number).public()).unwrap()
}

#[test]
fn a_secret_is_replaced_by_its_first_use() {
    let bench = Bench::with_secrets(&[1], RULE);
    let reply = bench.credential(&json!({"client_secret": secret_of(1), "state": "s"}));
    assert_eq!(reply.decision, Decision::CredentialRotated);
    let expected = json!({
        "client_id": "dev1", "client_secret": secret_of(100), "client_secret_expires_at": 0,
        "previous_expires_at": NOW.as_secs().saturating_add(100), "state": "s",
    });
    assert_eq!(answer(&reply), expected);
    assert!(bench.token_by(&secret_of(1)) && bench.token_by(&secret_of(100)));
    assert!(!bench.token_by(&secret_of(1)) && bench.token_by(&secret_of(100)));
}

#[test]
fn a_key_is_replaced_by_its_first_use() {
    let bench = Bench::with_keys(&[1], RULE);
    let reply = bench.by_key(1, "a", &jwk(2));
    let expected = json!({"client_id": "dev1", "kid": signing_key(2).kid(), "previous_expires_at": NOW.as_secs().saturating_add(100)});
    assert_eq!(answer(&reply), expected);
    // By the new one, for the next; the old one has ended with that.
    assert!(bench.by_key(2, "b", &jwk(3)).decision.is_accepted());
    assert_eq!(refusal(&bench.by_key(1, "c", &jwk(4)).decision), (ErrorCode::InvalidClient, Reason::WrongSignature));
}

#[test]
fn a_key_in_cbor_is_a_cose_key() {
    let bench = Bench::with_keys(&[1], RULE);
    let key = cose::cose_key(signing_key(2).public());
    let assertion = signed(1, "a", Some(digest(Some(key.clone()))));
    let payload = BTreeMap::from([(-65_537, serde_cbor::Value::Text(assertion)), (-65_539, key)]);
    let reply = bench.send("credential", &serde_cbor::to_vec(&payload).unwrap(), |request| request.format = Format::Cbor);
    let members: BTreeMap<i64, serde_cbor::Value> = serde_cbor::from_slice(&reply.payload).unwrap();
    assert_eq!(members.keys().copied().collect::<Vec<_>>(), [-65_542, -65_541, 24]);
    assert_eq!(members[&-65_541], serde_cbor::Value::Bytes(signing_key(2).kid().as_bytes().to_vec()));
}

#[test]
fn a_request_delivered_twice_makes_one_secret() {
    let bench = Bench::with_secrets(&[1], RULE);
    let ask = || bench.credential(&json!({"client_secret": secret_of(1)}));
    let (first, second) = (ask(), ask());
    assert_eq!((&second.payload, second.decision), (&first.payload, Decision::Repeated { accepted: true }));
    assert_eq!(*bench.store.kept.lock().unwrap(), 1);
}

#[test]
fn a_client_whose_answer_was_lost_asks_again() {
    let bench = Bench::with_secrets(&[1], RULE);
    for state in ["a", "b", "c"] {
        assert!(bench.credential(&json!({"client_secret": secret_of(1), "state": state})).decision.is_accepted());
    }
    assert!(!bench.token_by(&secret_of(100)) && !bench.token_by(&secret_of(101)) && bench.token_by(&secret_of(102)));
    let bench = Bench::with_keys(&[1], RULE);
    for (jti, number) in [("a", 2), ("b", 2), ("c", 3)] {
        assert!(bench.by_key(1, jti, &jwk(number)).decision.is_accepted(), "{jti}");
    }
    assert_eq!(bench.store.client.lock().unwrap().jwks.len(), 2);
}

#[test]
fn requests_that_race_make_one_secret_that_serves() {
    let bench = Bench::with_secrets(&[1], RULE);
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let ask = |state: usize| {
            let bench = &bench;
            scope.spawn(move || answer(&bench.credential(&json!({"client_secret": secret_of(1), "state": state.to_string()}))))
        };
        let asked: Vec<_> = (0..8).map(ask).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let secrets: Vec<&str> = answers.iter().filter_map(|answer| answer["client_secret"].as_str()).collect();
    assert_eq!(secrets.len(), 8, "{answers:?}");
    assert_eq!(secrets.iter().filter(|secret| bench.token_by(secret)).count(), 1, "the last one asked for");
}

#[test]
fn deny_a_key_to_a_client_with_a_secret_and_a_secret_to_one_with_a_key() {
    let expected = (ErrorCode::UnauthorizedClient, Reason::OtherAuthMethod);
    let bench = Bench::with_secrets(&[1], RULE);
    assert_eq!(refusal(&bench.credential(&json!({"client_secret": secret_of(1), "jwk": jwk(2)})).decision), expected);
    let bench = Bench::with_keys(&[1], RULE);
    assert_eq!(refusal(&bench.by_key(1, "a", &Value::Null).decision), expected);
}

#[test]
fn deny_a_secret_through_an_untrusted_broker() {
    let bench = Bench::with_keys(&[1], RULE);
    let ask = |jti: &str, jwk: &Value| {
        bench.send("credential", by_key(1, jti, jwk).to_string().as_bytes(), |request| request.channel = Channel::Untrusted)
    };
    assert_eq!(refusal(&ask("a", &Value::Null).decision), (ErrorCode::UnauthorizedClient, Reason::UntrustedBroker));
    assert!(ask("b", &jwk(2)).decision.is_accepted());
    let bench = Bench::with_secrets(&[1], RULE);
    let payload = json!({"client_secret": secret_of(1)}).to_string();
    let reply = bench.send("credential", payload.as_bytes(), |request| request.channel = Channel::Untrusted);
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidClient, Reason::UntrustedBroker));
}

#[test]
fn deny_assertions_that_are_not_bound_to_the_request() {
    let bench = Bench::with_keys(&[1], RULE);
    let with = |jti: &str, rqh: Option<String>| {
        let payload = json!({"client_assertion_type": oauth::ASSERTION_TYPE, "client_assertion": signed(1, jti, rqh), "jwk": jwk(2)});
        refusal(&bench.credential(&payload).decision)
    };
    assert_eq!(with("a", None), (ErrorCode::InvalidClient, Reason::RequestNotBound));
    // Of a key that somebody on the way would rather have there; and of a token request.
    let other = digest(Some(serde_cbor::value::to_value(jwk(3)).unwrap()));
    let token = RequestDigest::of_token_request(None, None, None).to_text();
    for (jti, rqh) in [("b", other), ("c", digest(None)), ("d", token)] {
        assert_eq!(with(jti, Some(rqh)), (ErrorCode::InvalidClient, Reason::WrongRequestBinding), "{jti}");
    }
    assert_eq!(bench.store.client.lock().unwrap().jwks.len(), 1);
}

#[test]
fn deny_unusable_keys() {
    let bench = Bench::with_keys(&[1], RULE);
    let mut private = jwk(2);
    private["d"] = json!("AA");
    let neutral = json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
    let unusable = [private, neutral, json!({}), json!({"kty": "RSA", "n": "AA", "e": "AQAB"}), json!({"kid": 5})];
    for (number, key) in unusable.iter().enumerate() {
        let reply = bench.by_key(1, &number.to_string(), key);
        assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidRequest, Reason::UnusableKey), "{key}");
    }
    let reply = bench.by_key(1, "text", &json!("AA"));
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidRequest, Reason::InvalidParameter));
    let reply = bench.send("credential", br#"{"jwk":{"x":"a","x":"b"}}"#, |_| ());
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidRequest, Reason::RepeatedParameter));
}

#[test]
fn deny_known_and_too_many_keys() {
    let bench = Bench::with_keys(&[1, 2, 3, 4], RULE);
    assert_eq!(refusal(&bench.by_key(1, "a", &jwk(2)).decision), (ErrorCode::InvalidRequest, Reason::KnownKey));
    assert_eq!(refusal(&bench.by_key(1, "b", &jwk(5)).decision), (ErrorCode::UnauthorizedClient, Reason::TooManyKeys));
}

#[test]
fn deny_a_rotation_during_another() {
    // Of the operator, who may have given the new secret to somebody else because the old one has leaked.
    let bench = Bench::with_secrets(&[1], RULE);
    let new = NewCredential::Secret(ClientSecret::generate(&Zeroizing::new([2; 32]), NOW).0);
    Arc::make_mut(&mut bench.store.client.lock().unwrap()).rotate(None, new, RULE, NOW).unwrap();
    let reply = bench.credential(&json!({"client_secret": secret_of(1)}));
    assert_eq!(refusal(&reply.decision), (ErrorCode::TemporarilyUnavailable, Reason::RotationUnderWay));
    assert_eq!(answer(&reply)["retry_after"], 100);
    assert!(bench.token_by(&secret_of(1)));
    // By the new one it is over.
    assert!(bench.credential(&json!({"client_secret": secret_of(2)})).decision.is_accepted());
}

#[test]
fn deny_the_replaced_credential_another() {
    let bench = Bench::with_secrets(&[1], TO_THE_END);
    assert!(bench.credential(&json!({"client_secret": secret_of(1)})).decision.is_accepted());
    assert!(bench.token_by(&secret_of(100)) && bench.token_by(&secret_of(1)));
    let reply = bench.credential(&json!({"client_secret": secret_of(1), "state": "later"}));
    assert_eq!(refusal(&reply.decision), (ErrorCode::UnauthorizedClient, Reason::ReplacedCredential));
    let reply = bench.credential(&json!({"client_secret": secret_of(100)}));
    assert_eq!(refusal(&reply.decision), (ErrorCode::TemporarilyUnavailable, Reason::RotationUnderWay));
}

#[test]
fn deny_what_cannot_be_kept() {
    let secrets = vec![ClientSecret::generate(&Zeroizing::new([1; 32]), NOW).0];
    let bench = Bench::of(Client { secrets, ..Client::new("dev1".parse().unwrap(), NOW) }, RULE, true);
    let reply = bench.credential(&json!({"client_secret": secret_of(1)}));
    assert_eq!(refusal(&reply.decision), (ErrorCode::TemporarilyUnavailable, Reason::NotKept));
    assert_eq!(answer(&reply)["retry_after"], 60);
    assert!(bench.token_by(&secret_of(1)));
}

#[test]
fn deny_where_clients_do_not_rotate() {
    let (engine, secret) = engine();
    let payload = json!({"client_secret": secret}).to_string();
    let reply = send(&engine, "one", payload.as_bytes(), |request| request.operation = "credential");
    assert_eq!(refusal(&reply.decision), (ErrorCode::UnauthorizedClient, Reason::SelfServiceOff));
    // A stranger does not learn even that.
    let reply = send(&engine, "stranger", payload.as_bytes(), |request| request.operation = "credential");
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidClient, Reason::UnknownClient));
}

#[test]
fn deny_wrong_and_missing_credentials() {
    let bench = Bench::with_secrets(&[1], RULE);
    let asked = |payload: &Value| refusal(&bench.credential(payload).decision);
    assert_eq!(asked(&json!({"client_secret": secret_of(2)})), (ErrorCode::InvalidClient, Reason::WrongSecret));
    assert_eq!(asked(&json!({})), (ErrorCode::InvalidRequest, Reason::MissingParameter));
    assert_eq!(asked(&json!({"client_secret": secret_of(1), "client_id": "dev2"})), (ErrorCode::InvalidRequest, Reason::ClientIdMismatch));
    assert_eq!(*bench.store.kept.lock().unwrap(), 0);
}
