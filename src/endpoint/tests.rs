//! The engine whole: payload in, payload out. One `deny_*` for each refusal.

mod credential;
mod explain;
mod grants;
mod limits;
mod metadata;
mod register;
mod revocation;
mod sealed;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Decision, Engine, EnvelopeFault, Reply, Request, Settings};
use crate::clients::{Assertions, AuthMethod, Channel, Client, ClientKey, ClientSecret, ClientStore, Source, Status};
use crate::clock::UnixTime;
use crate::jose::{self, KeyRing, SigningKey, decode_unverified};
use crate::oauth::{self, ClientId, ErrorCode, Format, Reason, Secret};
use crate::policy::{Policy, PolicyStore, ResourceServer, Scope};
use crate::token::{self, Lifetimes};

const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);
const ISSUER: &str = "https://as.example";

struct Store {
    clients: BTreeMap<ClientId, Arc<Client>>,
    policy: Arc<Policy>,
}

impl ClientStore for Store {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.clients.get(id).cloned()
    }
}

impl PolicyStore for Store {
    fn policy(&self) -> Arc<Policy> {
        self.policy.clone()
    }
}

fn resource_server(id: &str, max_token_lifetime: Option<u32>) -> ResourceServer {
    ResourceServer { max_token_lifetime, ..ResourceServer::new(id.parse().unwrap(), format!("https://{id}.example"), NOW) }
}

fn scope(name: &str, resource_server: &str) -> Scope {
    Scope::new(name.parse().unwrap(), resource_server.parse().unwrap(), NOW)
}

/// `both` has scopes at two resource servers, `one` at `rs1` alone, `none` nowhere; `blocked` and `suspended` are what they say.
fn engine() -> (Engine, String) {
    let (record, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
    let client = |id: &str, scopes: &str, status| {
        let client = Client {
            scope: if scopes.is_empty() { Default::default() } else { scopes.parse().unwrap() },
            status,
            secrets: vec![record.clone()],
            ..Client::new(id.parse().unwrap(), NOW)
        };
        (client.client_id.clone(), Arc::new(client))
    };
    let (id, mut signer) = client("signer", "rs1:read", Status::Active);
    let signer = {
        let record = Arc::make_mut(&mut signer);
        record.token_endpoint_auth_method = AuthMethod::PrivateKeyJwt;
        record.secrets.clear();
        record.jwks.push(ClientKey::new(SigningKey::from_seed(&Zeroizing::new([8; 32])).public().clone(), NOW));
        (id, signer)
    };
    let clients = [
        client("both", "rs1:read rs1:write rs2:read", Status::Active),
        client("one", "rs1:read rs1:write", Status::Active),
        client("none", "", Status::Active),
        client("blocked", "rs1:read", Status::Blocked),
        client("suspended", "rs1:read", Status::Suspended),
        signer,
    ];
    engine_of(clients.into(), policy(), secret)
}

fn policy() -> Policy {
    let servers = [resource_server("rs1", None), resource_server("rs2", Some(60))];
    let scopes = [scope("rs1:read", "rs1"), scope("rs1:write", "rs1"), scope("rs1:admin", "rs1"), scope("rs2:read", "rs2")];
    Policy {
        resource_servers: servers.into_iter().map(|server| (server.id.clone(), Arc::new(server))).collect(),
        scopes: scopes.into_iter().map(|scope| (scope.name.clone(), Arc::new(scope))).collect(),
        ..Policy::default()
    }
}

fn engine_of(clients: BTreeMap<ClientId, Arc<Client>>, policy: Policy, secret: Secret) -> (Engine, String) {
    let store = Arc::new(Store { clients, policy: Arc::new(policy) });
    let keys = KeyRing::new(Arc::new(SigningKey::from_seed(&Zeroizing::new([9; 32]))), Vec::new());
    let settings = Settings { issuer: ISSUER.into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 1_024 };
    let secret = String::from_utf8(secret.expose().to_vec()).unwrap();
    (Engine::new(settings, store.clone(), store, keys), secret)
}

fn send(engine: &Engine, client_id: &str, payload: &[u8], change: impl FnOnce(&mut Request<'_>)) -> Reply {
    let client_id = client_id.parse().unwrap();
    let mut request = Request {
        client_id: &client_id,
        operation: "token",
        format: Format::Json,
        payload,
        channel: Channel::Trusted,
        correlation_data: None,
        envelope: Ok(()),
    };
    change(&mut request);
    engine.handle(&request, NOW, [3; 16])
}

/// A request of that client, right but for `members`.
fn ask(client_id: &str, members: &Value) -> (Value, Decision) {
    ask_of(engine(), client_id, members)
}

fn ask_of((engine, secret): (Engine, String), client_id: &str, members: &Value) -> (Value, Decision) {
    let mut payload = json!({"grant_type": "client_credentials", "client_secret": secret});
    payload.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let reply = send(&engine, client_id, payload.to_string().as_bytes(), |_| ());
    (serde_json::from_slice(&reply.payload).unwrap(), reply.decision)
}

fn refusal(decision: &Decision) -> (ErrorCode, Reason) {
    match decision {
        Decision::Refused(refusal) => (refusal.code(), refusal.reason()),
        other => panic!("not refused: {other:?}"),
    }
}

fn assert_refused((answer, decision): (Value, Decision), code: ErrorCode, reason: Reason) {
    assert_eq!(refusal(&decision), (code, reason), "{answer}");
    assert_eq!(answer["error"], code.name());
    assert!(answer.get("access_token").is_none());
}

#[test]
fn issues_an_rfc_9068_token() {
    let (answer, _) = ask("one", &json!({"scope": "rs1:write rs1:read", "state": "s1"}));
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 300);
    assert_eq!(answer["state"], "s1");
    assert!(answer.get("scope").is_none(), "the scope is what was asked for");
    let (header, claims) = decode_unverified(answer["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    let now = NOW.as_secs();
    let expected = json!({
        "iss": ISSUER, "sub": "one", "client_id": "one", "aud": "https://rs1.example",
        "iat": now, "nbf": now, "exp": now.saturating_add(300), "jti": "AwMDAwMDAwMDAwMDAwMDAw", "scope": "rs1:read rs1:write",
    });
    assert_eq!(claims, expected);
    let keys = engine().0.keys().jwk_set();
    let token = answer["access_token"].as_str().unwrap();
    assert!(token::verify(token, ISSUER, Some("https://rs1.example"), &keys, NOW).is_ok());
    assert!(token::verify(token, ISSUER, Some("https://rs2.example"), &keys, NOW).is_err());
    assert!(token::verify(token, ISSUER, None, &keys, NOW.saturating_add(300)).is_err());
}

#[test]
fn names_the_scope_that_was_not_asked_for() {
    let (answer, _) = ask("one", &json!({}));
    assert_eq!(answer["scope"], "rs1:read rs1:write");
    let (answer, _) = ask("both", &json!({"audience": "https://rs1.example"}));
    assert_eq!(answer["scope"], "rs1:read rs1:write");
}

#[test]
fn audience_is_a_value_or_an_id_and_caps_the_lifetime() {
    for audience in ["rs2", "https://rs2.example"] {
        let (answer, decision) = ask("both", &json!({"audience": audience}));
        assert_eq!(answer["expires_in"], 60);
        assert!(matches!(decision, Decision::Issued { audience, .. } if audience == "https://rs2.example"));
    }
    let (_, decision) = ask("both", &json!({"scope": "rs2:read"}));
    assert!(matches!(decision, Decision::Issued { audience, .. } if audience == "https://rs2.example"));
}

#[test]
fn deny_scope_outside_the_grant() {
    for members in [
        json!({"scope": "rs1:read rs1:admin"}),
        json!({"scope": "unknown"}),
        json!({"scope": "rs2:read", "audience": "rs1"}),
        json!({"scope": "rs1:read rs2:read", "audience": "rs1"}),
    ] {
        let client = if members["audience"].is_null() { "one" } else { "both" };
        assert_refused(ask(client, &members), ErrorCode::InvalidScope, Reason::ScopeNotGranted);
    }
}

#[test]
fn deny_audience_unknown_or_without_a_grant() {
    assert_refused(ask("one", &json!({"audience": "nowhere"})), ErrorCode::InvalidTarget, Reason::AudienceNotAllowed);
    assert_refused(ask("one", &json!({"audience": "rs2"})), ErrorCode::InvalidTarget, Reason::AudienceNotAllowed);
}

#[test]
fn deny_audience_that_cannot_be_told() {
    assert_refused(ask("both", &json!({})), ErrorCode::InvalidTarget, Reason::AmbiguousAudience);
    assert_refused(ask("both", &json!({"scope": "rs1:read rs2:read"})), ErrorCode::InvalidTarget, Reason::AmbiguousAudience);
    assert_refused(ask("none", &json!({})), ErrorCode::InvalidTarget, Reason::AmbiguousAudience);
}

#[test]
fn deny_clients_with_one_answer() {
    let cases = [
        (ask("stranger", &json!({})), Reason::UnknownClient),
        (ask("one", &json!({"client_secret": "wrong"})), Reason::WrongSecret),
        (ask("one", &json!({"client_secret": ""})), Reason::WrongSecret),
        (ask("blocked", &json!({})), Reason::BlockedClient),
        (ask("suspended", &json!({})), Reason::SuspendedClient),
    ];
    let texts: Vec<String> = cases.iter().map(|((answer, _), _)| answer.to_string()).collect();
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
    for (case, reason) in cases {
        assert_refused(case, ErrorCode::InvalidClient, reason);
    }
}

#[test]
fn deny_client_id_unlike_the_topics() {
    assert_refused(ask("one", &json!({"client_id": "both"})), ErrorCode::InvalidRequest, Reason::ClientIdMismatch);
    let (answer, _) = ask("one", &json!({"client_id": "one"}));
    assert!(answer.get("access_token").is_some());
}

/// The engine, running for long, whose client `signer` has a key.
fn engine_with_assertions() -> Engine {
    let (engine, _) = engine();
    engine.with_assertions(Assertions::new(ISSUER.into(), UnixTime::from_secs(1), 1_024, Zeroizing::new([5; 32])))
}

fn assertion(claims: &Value) -> String {
    let mut all = json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "iat": NOW, "exp": NOW.saturating_add(60), "jti": "j1"});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    jose::sign("JWT", &all, &Arc::new(SigningKey::from_seed(&Zeroizing::new([8; 32])))).unwrap()
}

fn request_by_assertion(claims: &Value, members: &Value) -> Vec<u8> {
    let mut payload =
        json!({"grant_type": "client_credentials", "client_assertion_type": oauth::ASSERTION_TYPE, "client_assertion": assertion(claims)});
    payload.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    payload.to_string().into_bytes()
}

fn answer(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.payload).unwrap()
}

#[test]
fn deny_assertion_without_support() {
    let (engine, _) = engine();
    let reply = send(&engine, "signer", &request_by_assertion(&json!({}), &json!({})), |_| ());
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidClient, Reason::UnsupportedAuthMethod));
    let reply = send(&engine, "signer", b"{}", |request| request.operation = "nonce");
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidRequest, Reason::UnknownOperation));
}

#[test]
fn an_assertion_serves_on_every_channel_and_in_both_formats() {
    for channel in [Channel::Trusted, Channel::Untrusted] {
        let reply =
            send(&engine_with_assertions(), "signer", &request_by_assertion(&json!({}), &json!({})), |request| request.channel = channel);
        assert!(reply.decision.is_accepted(), "{:?}", reply.decision);
        let payload = serde_cbor::to_vec(&BTreeMap::from([(-65_537, serde_cbor::Value::Text(assertion(&json!({}))))])).unwrap();
        let reply = send(&engine_with_assertions(), "signer", &payload, |request| {
            request.channel = channel;
            request.format = Format::Cbor;
        });
        assert!(reply.decision.is_accepted(), "{:?}", reply.decision);
    }
}

#[test]
fn a_request_delivered_twice_gets_its_answer_twice() {
    let engine = engine_with_assertions();
    let payload = request_by_assertion(&json!({}), &json!({"state": "1"}));
    let first = send(&engine, "signer", &payload, |_| ());
    let second = send(&engine, "signer", &payload, |_| ());
    assert_eq!(second.decision, Decision::Repeated { accepted: true });
    assert_eq!(first.payload, second.payload);
    // The same assertion with another request around it.
    let other = request_by_assertion(&json!({}), &json!({"state": "2"}));
    assert_eq!(refusal(&send(&engine, "signer", &other, |_| ()).decision), (ErrorCode::InvalidClient, Reason::ReplayedAssertion));
    // A refusal is repeated too.
    let payload = request_by_assertion(&json!({"jti": "j2"}), &json!({"scope": "nonsense"}));
    let first = send(&engine, "signer", &payload, |_| ());
    let second = send(&engine, "signer", &payload, |_| ());
    assert_eq!(refusal(&first.decision), (ErrorCode::InvalidScope, Reason::ScopeNotGranted));
    assert_eq!((&second.payload, second.decision), (&first.payload, Decision::Repeated { accepted: false }));
}

#[test]
fn deny_the_other_method() {
    let engine = engine_with_assertions();
    let payload = request_by_assertion(&json!({"iss": "one", "sub": "one"}), &json!({}));
    assert_eq!(refusal(&send(&engine, "one", &payload, |_| ()).decision), (ErrorCode::InvalidClient, Reason::WrongAuthMethod));
    let payload = br#"{"grant_type":"client_credentials","client_secret":"s"}"#;
    assert_eq!(refusal(&send(&engine, "signer", payload, |_| ()).decision), (ErrorCode::InvalidClient, Reason::WrongAuthMethod));
}

#[test]
fn a_device_without_a_clock_is_told_to_use_a_nonce() {
    let engine = engine_with_assertions();
    let nonce = |answer: &Value| answer["cnonce"].as_str().unwrap().to_owned();
    let reply = send(&engine, "signer", br#"{"state":"1"}"#, |request| request.operation = "nonce");
    let given = answer(&reply);
    assert_eq!((&given["state"], reply.decision), (&json!("1"), Decision::NonceGiven));
    assert!((30..=60).contains(&given["expires_in"].as_u64().unwrap()));
    let timeless = |jti: &str, nonce: &str| request_by_assertion(&json!({"iat": 1, "exp": 61, "jti": jti, "nonce": nonce}), &json!({}));
    assert!(send(&engine, "signer", &timeless("a", &nonce(&given)), |_| ()).decision.is_accepted());
    // A used nonce in another assertion is a replay; one that was never given brings another.
    let reply = send(&engine, "signer", &timeless("b", &nonce(&given)), |_| ());
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidClient, Reason::ReplayedAssertion));
    let reply = send(&engine, "signer", &timeless("c", "none"), |_| ());
    assert_eq!(refusal(&reply.decision), (ErrorCode::UseNonce, Reason::StaleNonce));
    let told = answer(&reply);
    assert_eq!(told["error"], "use_nonce");
    assert_eq!(told["cnonce"], given["cnonce"], "the tests' entropy is always the same");
    // Whoever asks gets one, client or not.
    let stranger = send(&engine, "stranger", b"{}", |request| request.operation = "nonce");
    assert_eq!(stranger.decision, Decision::NonceGiven);
    let reply = send(&engine, "signer", b"[", |request| request.operation = "nonce");
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidRequest, Reason::Malformed));
}

#[test]
fn deny_nonces_that_were_not_given_or_have_gone_stale() {
    let engine = engine_with_assertions();
    let given = answer(&send(&engine, "signer", b"{}", |request| request.operation = "nonce"));
    let client_id: ClientId = "signer".parse().unwrap();
    let at = |now: UnixTime, jti: &str, nonce: &Value| {
        let payload = request_by_assertion(&json!({"iat": 1, "exp": 61, "jti": jti, "nonce": nonce}), &json!({}));
        let (client_id, payload) = (&client_id, payload.as_slice());
        let channel = Channel::Untrusted;
        let request =
            Request { client_id, operation: "token", format: Format::Json, payload, channel, correlation_data: None, envelope: Ok(()) };
        engine.handle(&request, now, [3; 16]).decision
    };
    let lifetime = given["expires_in"].as_u64().unwrap();
    let stale = at(NOW.saturating_add(lifetime), "a", &given["cnonce"]);
    assert_eq!(refusal(&stale), (ErrorCode::UseNonce, Reason::StaleNonce));
    for (jti, nonce) in [("b", json!("AAAA")), ("c", json!("")), ("d", json!("A".repeat(32)))] {
        assert_eq!(refusal(&at(NOW, jti, &nonce)), (ErrorCode::UseNonce, Reason::StaleNonce), "{nonce}");
    }
    assert!(at(NOW.saturating_add(lifetime.saturating_sub(1)), "e", &given["cnonce"]).is_accepted());
}

#[test]
fn deny_secrets_through_an_untrusted_broker() {
    let (engine, secret) = engine();
    let payload = json!({"grant_type": "client_credentials", "client_secret": secret}).to_string();
    let answers: Vec<Reply> = ["one", "stranger"]
        .iter()
        .map(|id| send(&engine, id, payload.as_bytes(), |request| request.channel = Channel::Untrusted))
        .collect();
    assert_eq!(refusal(&answers[0].decision), (ErrorCode::InvalidClient, Reason::UntrustedBroker));
    assert_eq!(answers[0].payload, answers[1].payload);
}

#[test]
fn deny_envelope_faults_before_the_payload_is_read() {
    let (engine, _) = engine();
    for (fault, code, reason) in [
        (EnvelopeFault::Retained, ErrorCode::InvalidRequest, Reason::Retained),
        (EnvelopeFault::ForeignResponseTopic, ErrorCode::InvalidRequest, Reason::ForeignResponseTopic),
        (EnvelopeFault::Overloaded { retry_after: 5 }, ErrorCode::TemporarilyUnavailable, Reason::Overloaded),
        (EnvelopeFault::NoRandomness, ErrorCode::ServerError, Reason::Internal),
    ] {
        let reply = send(&engine, "one", b"not even json", |request| request.envelope = Err(fault));
        assert_eq!(refusal(&reply.decision), (code, reason));
    }
}

#[test]
fn deny_oversized_without_parsing() {
    let (engine, secret) = engine();
    let payload = |size: usize| {
        let text = json!({"grant_type": "client_credentials", "client_secret": secret, "pad": ""}).to_string();
        text.replace(r#""pad":"""#, &format!(r#""pad":"{}""#, "x".repeat(size.saturating_sub(text.len()))))
    };
    assert_eq!(payload(1_024).len(), 1_024);
    assert!(send(&engine, "one", payload(1_024).as_bytes(), |_| ()).decision.is_accepted());
    let reply = send(&engine, "one", payload(1_025).as_bytes(), |_| ());
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidRequest, Reason::Oversized));
}

#[test]
fn deny_unknown_operation() {
    let (engine, _) = engine();
    for operation in ["", "tokens", "TOKEN", "introspection"] {
        let reply = send(&engine, "one", b"{}", |request| request.operation = operation);
        assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidRequest, Reason::UnknownOperation));
    }
}

#[test]
fn every_answer_is_in_the_format_of_the_request() {
    let (engine, secret) = engine();
    let payload = serde_cbor::to_vec(&BTreeMap::from([(25, serde_cbor::Value::Bytes(secret.into_bytes()))])).unwrap();
    for (payload, key) in [(payload.as_slice(), 1), (b"\xa0".as_slice(), 30), (b"", 30)] {
        let reply = send(&engine, "one", payload, |request| request.format = Format::Cbor);
        let members: BTreeMap<i64, serde_cbor::Value> = serde_cbor::from_slice(&reply.payload).unwrap();
        assert!(members.contains_key(&key), "{members:?}");
        assert_eq!(members.contains_key(&34), key == 1, "a Bearer token is marked");
    }
}

#[test]
fn hostile_bytes_never_panic_and_never_pass() {
    let (engine, secret) = engine();
    let json = json!({"grant_type": "client_credentials", "client_secret": secret, "scope": "rs1:read"}).to_string().into_bytes();
    let cbor = serde_cbor::to_vec(&BTreeMap::from([(25, serde_cbor::Value::Bytes(secret.into_bytes()))])).unwrap();
    for (format, valid) in [(Format::Json, json), (Format::Cbor, cbor)] {
        for at in 0..valid.len() {
            let cut = send(&engine, "one", &valid[..at], |request| request.format = format);
            assert!(!cut.decision.is_accepted(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = valid.clone();
                flipped[at] ^= 1 << bit;
                let _ = send(&engine, "one", &flipped, |request| request.format = format);
            }
        }
    }
}

#[test]
fn a_password_is_a_secret_or_an_assertion() {
    let engine = engine_with_assertions();
    let (_, secret) = self::engine();
    let connect = |client_id: &str, password: &str| {
        let password = Secret::new(password.as_bytes().to_vec());
        engine
            .authenticate_session(&client_id.parse().unwrap(), &password, Source::Request, NOW)
            .map(|_| ())
            .map_err(|refusal| refusal.reason())
    };
    assert_eq!(connect("one", &secret), Ok(()));
    assert_eq!(connect("signer", &assertion(&json!({}))), Ok(()));
    assert_eq!(connect("signer", &assertion(&json!({}))), Err(Reason::ReplayedAssertion));
    assert_eq!(connect("signer", &assertion(&json!({"jti": "j2", "rqh": "AA"}))), Err(Reason::WrongRequestBinding));
    assert_eq!(connect("signer", &assertion(&json!({"jti": "j3", "nonce": "AA"}))), Err(Reason::StaleNonce));
    assert_eq!(connect("signer", &secret), Err(Reason::WrongAuthMethod));
    assert_eq!(connect("one", "."), Err(Reason::MalformedAssertion));
    // What opened a session asks for no token.
    let used = request_by_assertion(&json!({}), &json!({}));
    assert_eq!(refusal(&send(&engine, "signer", &used, |_| ()).decision), (ErrorCode::InvalidClient, Reason::ReplayedAssertion));
}
