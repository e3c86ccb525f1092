//! Introspection and revocation.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_cbor::Value as Cbor;

use super::*;
use crate::clients::{LimitRules, Limits, Rate};
use crate::jose::Algorithm;
use crate::policy::{Dialect, TokenFormat};
use crate::token::{NotKept, RevocationState, RevocationStore, Revocations, RevokedToken};

/// Revocations in memory, on a disk that may refuse.
#[derive(Default)]
struct Revoked {
    clients: Mutex<BTreeMap<ClientId, Arc<Revocations>>>,
    is_full: std::sync::atomic::AtomicBool,
}

impl Revoked {
    fn change(&self, client_id: &ClientId, change: impl FnOnce(&mut Revocations)) {
        let mut clients = self.clients.lock().unwrap();
        let before = clients.get(client_id).map(|found| (**found).clone());
        let mut revocations = before.unwrap_or_else(|| Revocations::none(client_id.clone()));
        change(&mut revocations);
        clients.insert(client_id.clone(), Arc::new(revocations));
    }

    fn count(&self) -> usize {
        self.clients.lock().unwrap().values().map(|found| found.tokens.len()).sum()
    }
}

impl RevocationStore for Revoked {
    fn revocations(&self, client_id: &ClientId) -> Option<Arc<Revocations>> {
        self.clients.lock().unwrap().get(client_id).cloned()
    }

    fn revocation_state(&self) -> RevocationState {
        RevocationState { sequence: 1, clients: self.clients.lock().unwrap().values().cloned().collect(), removed: Vec::new() }
    }

    fn revoke(&self, client_id: &ClientId, token: RevokedToken, now: UnixTime) -> Result<(), NotKept> {
        if self.is_full.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(NotKept);
        }
        self.change(client_id, |revocations| revocations.revoke(token, now));
        Ok(())
    }
}

struct Bench {
    engine: Engine,
    secret: String,
    revoked: Arc<Revoked>,
}

/// Clients `one` and `two` have scopes at `rs1` and `meter`; `checker` is registered for both, `rs2` for `rs2` alone; `blocked` is blocked.
fn bench() -> Bench {
    let (record, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
    let client = |id: &str, introspects: &[&str]| Client {
        scope: "rs1:read meter:use".parse().unwrap(),
        secrets: vec![record.clone()],
        introspects: introspects.iter().map(|id| id.parse().unwrap()).collect(),
        ..Client::new(id.parse().unwrap(), NOW)
    };
    let mut clients = vec![client("one", &[]), client("two", &[]), client("checker", &["rs1", "meter"]), client("rs2", &["rs2"])];
    clients.push(Client { status: Status::Blocked, ..client("blocked", &[]) });
    let mut policy = policy();
    let meter =
        ResourceServer { token_format: TokenFormat::Cwt, alg: Algorithm::Ed25519, dialect: Dialect::Aif, ..resource_server("meter", None) };
    let permissions = vec!["pub m/{client_id}".parse().unwrap()];
    let meter_use = Scope { permissions, ..scope("meter:use", "meter") };
    policy.resource_servers.insert(meter.id.clone(), Arc::new(meter));
    policy.scopes.insert(meter_use.name.clone(), Arc::new(meter_use));
    let clients = clients.into_iter().map(|client| (client.client_id.clone(), Arc::new(client))).collect();
    let (engine, secret) = engine_of(clients, policy, secret);
    let revoked = Arc::new(Revoked::default());
    Bench { engine: engine.with_revocations(revoked.clone()), secret, revoked }
}

impl Bench {
    fn at(&self, now: UnixTime, client_id: &str, operation: &str, members: &Value) -> (Value, Decision) {
        let mut payload = json!({"grant_type": "client_credentials", "client_secret": self.secret});
        payload.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let (client_id, payload) = (client_id.parse().unwrap(), payload.to_string());
        let request = Request {
            client_id: &client_id,
            operation,
            format: Format::Json,
            payload: payload.as_bytes(),
            channel: Channel::Trusted,
            correlation_data: None,
            envelope: Ok(()),
        };
        let entropy: [u8; 16] =
            std::array::from_fn(|index| u8::try_from(now.as_secs().wrapping_shr(u32::try_from(index % 8).unwrap()) & 0xff).unwrap());
        let reply = self.engine.handle(&request, now, entropy);
        (serde_json::from_slice(&reply.payload).unwrap(), reply.decision)
    }

    fn token(&self, client_id: &str, audience: &str) -> String {
        let (answer, _) = self.at(NOW, client_id, "token", &json!({"audience": audience}));
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn introspect(&self, client_id: &str, token: &str) -> (Value, Decision) {
        self.at(NOW, client_id, "introspect", &json!({"token": token}))
    }

    fn revoke(&self, client_id: &str, token: &str) -> (Value, Decision) {
        self.at(NOW, client_id, "revoke", &json!({"token": token}))
    }

    fn is_active(&self, token: &str) -> bool {
        self.introspect("checker", token).0["active"] == true
    }

    fn cbor(&self, client_id: &str, operation: &str, members: Vec<(i64, Cbor)>) -> (BTreeMap<i64, Cbor>, Decision) {
        let mut all: BTreeMap<i64, Cbor> = members.into_iter().collect();
        all.insert(25, Cbor::Bytes(self.secret.clone().into_bytes()));
        let payload = serde_cbor::to_vec(&all).unwrap();
        let (client_id, format) = (client_id.parse().unwrap(), Format::Cbor);
        let request = Request {
            client_id: &client_id,
            operation,
            format,
            payload: &payload,
            channel: Channel::Trusted,
            correlation_data: None,
            envelope: Ok(()),
        };
        let reply = self.engine.handle(&request, NOW, [3; 16]);
        let whole: Cbor = serde_cbor::from_slice(&reply.payload).unwrap();
        assert_eq!(serde_cbor::to_vec(&whole).unwrap(), reply.payload, "deterministic");
        (serde_cbor::from_slice(&reply.payload).unwrap(), reply.decision)
    }
}

#[test]
fn a_live_token_is_told_by_the_names_of_rfc_7662() {
    let bench = bench();
    let token = bench.token("one", "rs1");
    let (_, claims) = decode_unverified(&token).unwrap();
    let (answer, decision) =
        bench.at(NOW, "checker", "introspect", &json!({"token": token, "token_type_hint": "refresh_token", "state": "7"}));
    let now = NOW.as_secs();
    assert_eq!(
        answer,
        json!({
            "active": true, "scope": "rs1:read", "client_id": "one", "token_type": "Bearer", "exp": now + 300, "iat": now, "nbf": now,
            "sub": "one", "aud": "https://rs1.example", "iss": ISSUER, "jti": claims["jti"], "state": "7",
        })
    );
    assert_eq!(decision, Decision::Introspected { jti: claims["jti"].as_str().map(str::to_owned) });
}

#[test]
fn a_live_token_is_told_in_cbor() {
    let bench = bench();
    let cwt = bench.token("one", "meter");
    let bytes = URL_SAFE_NO_PAD.decode(&cwt).unwrap();
    let (members, _) = bench.cbor("checker", "introspect", vec![(11, Cbor::Bytes(bytes)), (33, Cbor::Text("access_token".into()))]);
    assert_eq!(members[&10], Cbor::Bool(true));
    assert_eq!((&members[&1], &members[&2]), (&Cbor::Text(ISSUER.into()), &Cbor::Text("one".into())));
    assert_eq!((&members[&3], &members[&24]), (&Cbor::Text("https://meter.example".into()), &Cbor::Text("one".into())));
    assert_eq!(members[&4], Cbor::Integer(i128::from(NOW.as_secs()) + 300));
    assert!(matches!(&members[&7], Cbor::Bytes(cti) if cti.len() == 16));
    // [["m/one", ["pub"]]]
    assert_eq!(members[&9], Cbor::Bytes(b"\x81\x82\x65m/one\x81\x63pub".to_vec()));
    assert_eq!(members[&34], Cbor::Integer(1));
    assert_eq!(members.len(), 11);
    // A JWT comes as its characters, and its scope is text; the CWT in JSON is base64url, as is its scope.
    let jwt = bench.token("one", "rs1");
    let (members, _) = bench.cbor("checker", "introspect", vec![(11, Cbor::Bytes(jwt.into_bytes()))]);
    assert_eq!((&members[&10], &members[&9]), (&Cbor::Bool(true), &Cbor::Text("rs1:read".into())));
    assert_eq!(bench.introspect("checker", &cwt).0["scope"], URL_SAFE_NO_PAD.encode(b"\x81\x82\x65m/one\x81\x63pub"));
}

#[test]
fn a_key_that_a_token_is_bound_to_is_told() {
    let bench = bench();
    let jwk = SigningKey::from_seed(&Zeroizing::new([8; 32])).public().clone();
    let now = NOW.as_secs();
    let claims = json!({
        "iss": ISSUER, "sub": "one", "client_id": "one", "aud": "https://rs1.example", "iat": now, "nbf": now, "exp": now + 9,
        "jti": "AwMDAwMDAwMDAwMDAwMDAw", "scope": "rs1:read", "cnf": {"jwk": jwk},
    });
    let token = jose::sign("at+jwt", &claims, &bench.engine.keys().active().clone()).unwrap();
    let (answer, _) = bench.introspect("checker", &token);
    assert_eq!((&answer["token_type"], &answer["cnf"]["jwk"]["x"]), (&json!("PoP"), &serde_json::to_value(&jwk).unwrap()["x"]));
    let (members, _) = bench.cbor("checker", "introspect", vec![(11, Cbor::Bytes(token.into_bytes()))]);
    let Cbor::Map(methods) = &members[&8] else { panic!("{members:?}") };
    assert_eq!(crate::jose::cose::jwk(&methods[&Cbor::Integer(1)]).unwrap().thumbprint(), jwk.thumbprint());
}

#[test]
fn whatever_is_no_live_token_looks_the_same() {
    let bench = bench();
    let token = bench.token("one", "rs1");
    let other =
        jose::sign("at+jwt", &decode_unverified(&token).unwrap().1, &Arc::new(SigningKey::from_seed(&Zeroizing::new([1; 32])))).unwrap();
    let of_blocked = {
        let mut claims = decode_unverified(&token).unwrap().1;
        claims["client_id"] = json!("blocked");
        claims["sub"] = json!("blocked");
        jose::sign("at+jwt", &claims, &bench.engine.keys().active().clone()).unwrap()
    };
    let no_token = jose::sign("JWT", &decode_unverified(&token).unwrap().1, &bench.engine.keys().active().clone()).unwrap();
    let inactive = json!({"active": false});
    for text in ["", "x", "a.b.c", &token[..token.len() - 4], &other, &of_blocked, &no_token, "2D3ShA"] {
        assert_eq!(bench.introspect("checker", text), (inactive.clone(), Decision::Introspected { jti: None }), "{text}");
    }
    assert_eq!(bench.introspect("rs2", &token).0, inactive, "for another resource server");
    assert_eq!(bench.at(NOW.saturating_add(300), "checker", "introspect", &json!({"token": token})).0, inactive, "expired");
    bench.revoked.change(&"one".parse().unwrap(), |revocations| revocations.cut_off(NOW));
    assert!(bench.is_active(&token), "of the second from which on tokens are good");
    bench.revoked.change(&"one".parse().unwrap(), |revocations| revocations.cut_off(NOW.saturating_add(1)));
    assert!(!bench.is_active(&token), "cut off");
    let (members, _) = bench.cbor("checker", "introspect", vec![(11, Cbor::Bytes(vec![0xd8, 0x3d]))]);
    assert_eq!(members, BTreeMap::from([(10, Cbor::Bool(false))]));
}

#[test]
fn deny_introspection_by_who_is_no_resource_server() {
    let bench = bench();
    let token = bench.token("one", "rs1");
    assert_refused(bench.introspect("one", &token), ErrorCode::UnauthorizedClient, Reason::NotAResourceServer);
    assert_refused(bench.introspect("stranger", &token), ErrorCode::InvalidClient, Reason::UnknownClient);
}

#[test]
fn deny_requests_without_a_token_or_with_one_of_the_wrong_type() {
    let bench = bench();
    for operation in ["introspect", "revoke"] {
        let missing = bench.at(NOW, "checker", operation, &json!({}));
        assert_refused(missing, ErrorCode::InvalidRequest, Reason::MissingParameter);
        for members in [json!({"token": 7}), json!({"token": "x", "token_type_hint": 7})] {
            assert_refused(bench.at(NOW, "checker", operation, &members), ErrorCode::InvalidRequest, Reason::InvalidParameter);
        }
        let (_, decision) = bench.cbor("checker", operation, vec![(11, Cbor::Text("x".into()))]);
        assert_eq!(refusal(&decision), (ErrorCode::InvalidRequest, Reason::InvalidParameter));
    }
}

#[test]
fn a_client_revokes_its_own_token() {
    let bench = bench();
    for audience in ["rs1", "meter"] {
        let token = bench.token("one", audience);
        let (_, claims) = token::decode_unverified(&token).unwrap();
        assert!(bench.is_active(&token));
        let (answer, decision) = bench.at(NOW, "one", "revoke", &json!({"token": token, "token_type_hint": "access_token", "state": "7"}));
        assert_eq!(answer, json!({"state": "7"}));
        assert_eq!(decision, Decision::Revoked { jti: claims["jti"].as_str().map(str::to_owned) });
        assert!(!bench.is_active(&token));
        bench.revoked.clients.lock().unwrap().clear();
    }
    let cwt = URL_SAFE_NO_PAD.decode(bench.token("one", "meter")).unwrap();
    let (members, _) = bench.cbor("one", "revoke", vec![(11, Cbor::Bytes(cwt))]);
    assert!(members.is_empty());
    assert_eq!(bench.revoked.count(), 1);
}

#[test]
fn what_is_no_live_token_is_revoked_without_a_trace() {
    let bench = bench();
    let token = bench.token("one", "rs1");
    let done = (json!({}), Decision::Revoked { jti: None });
    for text in ["", "x", "a.b.c", &token[..token.len() - 4]] {
        assert_eq!(bench.revoke("one", text), done, "{text}");
    }
    assert_eq!(bench.at(NOW.saturating_add(300), "one", "revoke", &json!({"token": token, "token_type_hint": "nonsense"})), done);
    assert_eq!(bench.revoked.count(), 0);
    bench.revoke("one", &token);
    let other_request = bench.at(NOW, "one", "revoke", &json!({"token": token, "state": "again"}));
    assert_eq!(other_request.1, Decision::Revoked { jti: None });
    assert_eq!(bench.revoke("two", &token), done, "a void token is nobody's");
}

#[test]
fn deny_revocation_of_another_clients_token() {
    let bench = bench();
    let token = bench.token("one", "rs1");
    assert_refused(bench.revoke("two", &token), ErrorCode::UnauthorizedClient, Reason::ForeignToken);
    assert!(bench.is_active(&token));
}

#[test]
fn deny_revocation_of_refresh_tokens() {
    let bench = bench();
    let members = json!({"token": "x", "token_type_hint": "refresh_token"});
    assert_refused(bench.at(NOW, "one", "revoke", &members), ErrorCode::UnsupportedTokenType, Reason::UnsupportedTokenType);
    let (members, _) = bench.cbor("one", "revoke", vec![(11, Cbor::Bytes(vec![1])), (33, Cbor::Text("refresh_token".into()))]);
    assert_eq!(members[&30], Cbor::Integer(-65_540));
}

#[test]
fn a_revocation_that_was_not_kept_is_an_error_and_may_be_tried_again() {
    let bench = bench();
    let token = bench.token("one", "rs1");
    bench.revoked.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_refused(bench.revoke("one", &token), ErrorCode::TemporarilyUnavailable, Reason::NotKept);
    assert!(bench.is_active(&token));
    bench.revoked.is_full.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(bench.revoke("one", &token).0, json!({}));
    assert!(!bench.is_active(&token));
}

#[test]
fn deny_a_token_that_would_be_void() {
    let bench = bench();
    bench.revoked.change(&"one".parse().unwrap(), |revocations| revocations.cut_off(NOW.saturating_add(3)));
    let refused = bench.at(NOW, "one", "token", &json!({"audience": "rs1"}));
    assert_eq!(refused.0["retry_after"], 3);
    assert_refused(refused, ErrorCode::TemporarilyUnavailable, Reason::TokensRevoked);
    let (answer, _) = bench.at(NOW.saturating_add(3), "one", "token", &json!({"audience": "rs1"}));
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(bench.at(NOW.saturating_add(3), "checker", "introspect", &json!({"token": token})).0["active"], true);
}

#[test]
fn what_is_explained_of_revoked_tokens_is_what_happens() {
    let bench = bench();
    let one = "one".parse().unwrap();
    let explained = |now| {
        let rehearsal = crate::endpoint::Rehearsal {
            client_id: &one,
            audience: Some("rs1"),
            scope: None,
            method: None,
            channel: Channel::Trusted,
            now,
        };
        let clients = Store { clients: [(one.clone(), bench.engine.clients().client(&one).unwrap())].into(), policy: Arc::new(policy()) };
        let grounds = crate::endpoint::Grounds {
            settings: bench.engine.settings(),
            clients: &clients,
            policies: &clients,
            revocations: Some(bench.revoked.as_ref()),
            has_assertions: false,
            clock: None,
            active_key: &|_| Some("k".into()),
        };
        let explanation = crate::endpoint::explain(&rehearsal, &grounds);
        (explanation.granted, explanation.reason.into_owned(), explanation.steps.iter().any(|step| step.check.as_str() == "revocation"))
    };
    assert_eq!(explained(NOW), (true, "ok".into(), false));
    bench.revoked.change(&one, |revocations| revocations.cut_off(NOW.saturating_add(3)));
    assert_eq!(explained(NOW), (false, "tokens_revoked".into(), true));
    assert_eq!(explained(NOW.saturating_add(3)), (true, "ok".into(), true));
}

#[test]
fn revocation_is_served_and_announced_where_it_is_kept() {
    let (plain, secret) = engine();
    let metadata = |engine: &Engine| serde_json::to_value(engine.metadata("p", Channel::Trusted)).unwrap();
    let said = metadata(&bench().engine);
    assert_eq!(said["mqtt_operations_supported"], json!(["token", "introspect", "revoke"]));
    assert_eq!(said["mqtt_trl_topic"], "p/rs/{rs_id}/trl");
    for member in ["introspection_endpoint_auth_methods_supported", "revocation_endpoint_auth_methods_supported"] {
        assert_eq!(said[member], json!(["client_secret_post"]));
    }
    let said = metadata(&plain);
    assert_eq!(said["mqtt_operations_supported"], json!(["token", "introspect"]));
    assert!(said.get("mqtt_trl_topic").is_none() && said.get("revocation_endpoint_auth_methods_supported").is_none());
    let payload = json!({"client_secret": secret, "token": "x"}).to_string();
    let reply = send(&plain, "one", payload.as_bytes(), |request| request.operation = "revoke");
    assert_eq!(refusal(&reply.decision), (ErrorCode::InvalidRequest, Reason::UnknownOperation));
}

#[test]
fn lists_tell_what_is_void_at_each_resource_server() {
    let bench = bench();
    let token = bench.token("one", "rs1");
    bench.revoke("one", &token);
    let (lists, removed) = bench.engine.revocation_lists(NOW, 65_536);
    let counts: Vec<_> = lists.iter().map(|(server, list)| (server.id.as_str(), list.tokens.len())).collect();
    assert_eq!((counts, removed), (vec![("meter", 0), ("rs1", 1), ("rs2", 0)], Vec::new()));
    let (_, claims) = decode_unverified(&token).unwrap();
    assert_eq!(lists[1].1.tokens[0].jti, claims["jti"]);
    assert!(engine().0.revocation_lists(NOW, 65_536).0.is_empty());
}

#[test]
fn deny_more_changes_than_a_client_may_have_written() {
    let Bench { engine, secret, revoked } = bench();
    let rules = LimitRules { writes: Rate::per_hour(2), ..LimitRules::default() };
    let bench = Bench { engine: engine.with_limits(Arc::new(Limits::new(rules, NOW))), secret, revoked };
    let token = bench.token("one", "rs1");
    // Not the very same request, which would be answered as before.
    let revoke = |now, number: u32| bench.at(now, "one", "revoke", &json!({"token": token, "state": number.to_string()}));
    assert!(revoke(NOW, 0).1.is_accepted() && revoke(NOW, 1).1.is_accepted());
    let (answer, decision) = revoke(NOW, 2);
    assert!(answer["retry_after"].as_u64().is_some_and(|wait| wait >= 3_600), "{answer}");
    assert_refused((answer, decision), ErrorCode::TemporarilyUnavailable, Reason::WriteLimit);
    assert!(bench.revoke("two", &bench.token("two", "rs1")).1.is_accepted(), "another client");
    assert!(revoke(NOW.saturating_add(3_600), 3).1.is_accepted());
}
