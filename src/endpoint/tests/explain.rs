//! What is told of a request is what comes of it: of any client, under any policy, at any time.

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::{Explanation, Grounds, Rehearsal, explain};
use super::*;
use crate::clients::{CredentialRef, Initiator, Retire, Rotation};
use crate::jose::{Algorithm, KeyType};
use crate::policy::{Dialect, Role, TokenFormat};

const SCOPES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "unknown"];
const SERVERS: [&str; 4] = ["rs0", "rs1", "rs2", "nowhere"];
const ROLES: [&str; 3] = ["r0", "r1", "gone"];
const PERMISSIONS: [&str; 4] = ["pub t/{client_id}/#", "sub {site}/cmd", "pub all", "sub {hall}/{client_id}"];

/// A world of which nothing was checked when it was registered.
#[derive(Debug, Clone)]
struct World {
    policy: Policy,
    client: Client,
    has_p256: bool,
    lifetimes: Lifetimes,
    has_assertions: bool,
    is_known: bool,
}

/// A moment near [`NOW`].
fn moment() -> impl Strategy<Value = UnixTime> {
    (0_u64..600).prop_map(|offset| UnixTime::from_secs(NOW.as_secs().saturating_sub(300).saturating_add(offset)))
}

fn limits() -> impl Strategy<Value = (Option<UnixTime>, Option<UnixTime>)> {
    (option::weighted(0.2, moment()), option::weighted(0.2, moment()))
}

fn scopes(weight: f64) -> impl Strategy<Value = oauth::ScopeSet> {
    let some = btree_set(select(&SCOPES[..]), 1..4).prop_map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
    option::weighted(weight, some).prop_map(Option::unwrap_or_default)
}

fn policy() -> impl Strategy<Value = Policy> {
    let kinds = [
        (TokenFormat::Jwt, Algorithm::EdDsa, Dialect::Oauth),
        (TokenFormat::Cwt, Algorithm::Es256, Dialect::Aif),
        (TokenFormat::Jwt, Algorithm::Es256, Dialect::MosquittoJwt),
        (TokenFormat::Jwt, Algorithm::Ed25519, Dialect::Emqx),
    ];
    let server = (option::of(1_u32..400), select(kinds.to_vec()));
    let scope_of = (0_usize..3, btree_set(select(&PERMISSIONS[..]), 0..3));
    (vec(server, 3), vec(scope_of, 5), vec(scopes(0.9), 2)).prop_map(|(servers, scopes, roles)| {
        let server = |(index, (max_token_lifetime, (token_format, alg, dialect)))| {
            let id = SERVERS[index];
            ResourceServer { token_format, alg, dialect, ..resource_server(id, max_token_lifetime) }
        };
        let defined = |(index, (server, permissions)): (usize, (usize, std::collections::BTreeSet<&str>))| Scope {
            permissions: permissions.iter().map(|text| text.parse().unwrap()).collect(),
            ..scope(SCOPES[index], SERVERS[server])
        };
        let role = |(index, scope): (usize, oauth::ScopeSet)| Role {
            name: ROLES[index].parse().unwrap(),
            description: String::new(),
            scope,
            created_at: NOW,
            updated_at: NOW,
        };
        Policy {
            resource_servers: servers.into_iter().enumerate().map(server).map(|server| (server.id.clone(), Arc::new(server))).collect(),
            scopes: scopes.into_iter().enumerate().map(defined).map(|scope| (scope.name.clone(), Arc::new(scope))).collect(),
            roles: roles.into_iter().enumerate().map(role).map(|role| (role.name.clone(), Arc::new(role))).collect(),
        }
    })
}

fn key(number: u8) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&Zeroizing::new([100_u8.saturating_add(number); 32])))
}

fn secret(number: u8) -> (ClientSecret, String) {
    let (record, secret) = ClientSecret::generate(&Zeroizing::new([50_u8.saturating_add(number); 32]), NOW);
    (record, String::from_utf8(secret.expose().to_vec()).unwrap())
}

fn client() -> impl Strategy<Value = Client> {
    let names = |names: &'static [&'static str], most| option::weighted(0.3, btree_set(select(names), 1..most));
    let grants = (scopes(0.8), scopes(0.3), names(&ROLES, 3), names(&SERVERS, 3), btree_set(select(&["site", "hall"][..]), 0..3));
    let state = (
        prop_oneof![8 => Just(Status::Active), 1 => Just(Status::Suspended), 1 => Just(Status::Blocked)],
        limits(),
        option::of(1_u32..400),
        any::<bool>(),
    );
    let credentials = (
        any::<bool>(),
        prop_oneof![1 => vec(limits(), 0), 9 => vec(limits(), 1..3)],
        any::<bool>(),
        option::weighted(0.3, (moment(), any::<bool>(), any::<bool>())),
    );
    (grants, state, credentials).prop_map(|(grants, (status, period, max_token_lifetime, require_request_binding), credentials)| {
        let ((scope, default_scope, roles, audiences, attributes), (has_secret, limits, has_both, rotation)) = (grants, credentials);
        let secrets = limits.iter().zip(0..).map(|((not_before, expires_at), number)| ClientSecret {
            not_before: *not_before,
            expires_at: *expires_at,
            ..secret(number).0
        });
        let jwks: Vec<ClientKey> = limits
            .iter()
            .zip(0..)
            .map(|((not_before, expires_at), number)| ClientKey {
                not_before: *not_before,
                expires_at: *expires_at,
                ..ClientKey::new(key(number).public().clone(), NOW)
            })
            .collect();
        let rotation = rotation.map(|(ends_at, by_operator, used)| Rotation {
            started_at: NOW,
            ends_at,
            retire: Retire::End,
            started_by: if by_operator { Initiator::Operator } else { Initiator::Client },
            replaces: jwks.first().map(|key| key.jwk.kid().to_owned()).into_iter().collect(),
            used_at: used.then_some(NOW),
        });
        Client {
            scope,
            default_scope,
            roles: roles.unwrap_or_default().into_iter().map(|name| name.parse().unwrap()).collect(),
            audiences: audiences.unwrap_or_default().into_iter().map(|name| name.parse().unwrap()).collect(),
            attributes: attributes.into_iter().map(|name| (name.parse().unwrap(), "x".parse().unwrap())).collect(),
            status,
            not_before: period.0,
            expires_at: period.1,
            max_token_lifetime,
            require_request_binding,
            token_endpoint_auth_method: if has_secret { AuthMethod::ClientSecretPost } else { AuthMethod::PrivateKeyJwt },
            secrets: if has_secret || has_both { secrets.collect() } else { Vec::new() },
            jwks: if !has_secret || has_both { jwks } else { Vec::new() },
            rotation,
            ..Client::new("dev1".parse().unwrap(), NOW)
        }
    })
}

fn world() -> impl Strategy<Value = World> {
    let rest = (any::<bool>(), 1_u32..400, 1_u32..400, proptest::bool::weighted(0.9), proptest::bool::weighted(0.95));
    (policy(), client(), rest).prop_map(|(policy, client, (has_p256, default, maximum, has_assertions, is_known))| World {
        policy,
        client,
        has_p256,
        lifetimes: Lifetimes { default, maximum },
        has_assertions,
        is_known,
    })
}

/// What a device asks for: scopes, audience, the method it uses, and whether its broker is trusted.
type Wish = (Option<oauth::ScopeSet>, Option<&'static str>, AuthMethod, bool);

/// A world and a wish of its client, which mostly knows its own method.
fn case() -> impl Strategy<Value = (World, Wish)> {
    let audience = prop_oneof![8 => select(&["rs0", "https://rs1.example", "rs2"][..]), 1 => Just("nowhere"), 1 => Just("")];
    let scope = scopes(0.5).prop_map(|scope| (!scope.is_empty()).then_some(scope));
    let weighted = proptest::bool::weighted;
    (world(), scope, option::weighted(0.5, audience), weighted(0.9), weighted(0.9)).prop_map(|(world, scope, audience, knows, trusted)| {
        let method = match (world.client.token_endpoint_auth_method, knows) {
            (AuthMethod::ClientSecretPost, true) | (AuthMethod::PrivateKeyJwt, false) => AuthMethod::ClientSecretPost,
            _ => AuthMethod::PrivateKeyJwt,
        };
        (world, (scope, audience, method, trusted))
    })
}

/// The engine of a world, running since long before [`NOW`].
fn engine_in(world: &World) -> (Engine, Arc<Store>) {
    let client = Arc::new(world.client.clone());
    let clients = world.is_known.then(|| (client.client_id.clone(), client)).into_iter().collect();
    let store = Arc::new(Store { clients, policy: Arc::new(world.policy.clone()) });
    let mut keys = KeyRing::new(key(20), Vec::new());
    if world.has_p256 {
        let p256 = SigningKey::from_p256_scalar(&Zeroizing::new([9; 32])).unwrap();
        keys = keys.with(KeyRing::new(Arc::new(p256), Vec::new()));
    }
    let settings = Settings { issuer: ISSUER.into(), lifetimes: world.lifetimes, max_payload: 8_192 };
    let engine = Engine::new(settings, store.clone(), store.clone(), keys);
    if !world.has_assertions {
        return (engine, store);
    }
    let assertions = Assertions::new(ISSUER.into(), UnixTime::from_secs(1), 1_024, Zeroizing::new([5; 32]));
    (engine.with_assertions(assertions), store)
}

fn explained(engine: &Engine, store: &Store, world: &World, wish: &Wish) -> Explanation {
    let (scope, audience, method, trusted) = wish;
    let active_key = |key_type: KeyType| engine.keys().active_for(key_type).map(|key| key.kid().to_owned());
    let grounds = Grounds {
        settings: engine.settings(),
        clients: store,
        policies: store,
        revocations: None,
        has_assertions: world.has_assertions,
        clock: engine.clock(),
        active_key: &active_key,
    };
    let rehearsal = Rehearsal {
        client_id: &world.client.client_id,
        audience: *audience,
        scope: scope.as_ref(),
        method: Some(*method),
        channel: if *trusted { Channel::Trusted } else { Channel::Untrusted },
        now: NOW,
    };
    explain(&rehearsal, &grounds)
}

/// The payload of a request that shows the credential of that number; one past the last is nobody's.
fn payload((scope, audience, method, _): &Wish, number: u8) -> Vec<u8> {
    let mut members = json!({"grant_type": "client_credentials"});
    let mut bound = vec![(oauth::Param::GrantType, serde_cbor::Value::Integer(2))];
    for (param, name, text) in [
        (oauth::Param::Scope, "scope", scope.as_ref().map(ToString::to_string)),
        (oauth::Param::Audience, "audience", audience.map(str::to_owned)),
    ] {
        if let Some(text) = text {
            members[name] = json!(text);
            bound.push((param, serde_cbor::Value::Text(text)));
        }
    }
    match method {
        AuthMethod::ClientSecretPost => members["client_secret"] = json!(secret(number).1),
        AuthMethod::PrivateKeyJwt => {
            let rqh = oauth::RequestDigest::of(oauth::Operation::Token, bound.into_iter().collect()).to_text();
            let claims = json!({
                "iss": "dev1", "sub": "dev1", "aud": ISSUER, "iat": NOW, "exp": NOW.saturating_add(60), "jti": format!("j{number}"), "rqh": rqh,
            });
            members["client_assertion_type"] = json!(oauth::ASSERTION_TYPE);
            members["client_assertion"] = json!(jose::sign("JWT", &claims, &key(number)).unwrap());
        }
    }
    members.to_string().into_bytes()
}

/// The best of a client's credentials of a method: the newest that is live, the newest, or one that is nobody's.
fn best(world: &World, method: AuthMethod) -> u8 {
    let client = &world.client;
    let credentials: Vec<CredentialRef<'_>> = match method {
        AuthMethod::ClientSecretPost => client.secrets.iter().map(CredentialRef::Secret).collect(),
        AuthMethod::PrivateKeyJwt => client.jwks.iter().map(CredentialRef::Key).collect(),
    };
    let live = credentials.iter().rposition(|credential| client.is_live(*credential, NOW));
    live.or(credentials.len().checked_sub(1)).map_or(9, |number| u8::try_from(number).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn explained_as_decided((world, wish) in case()) {
        let (engine, store) = engine_in(&world);
        let told = explained(&engine, &store, &world, &wish);
        prop_assert_eq!(&told, &explained(&engine, &store, &world, &wish), "nothing is used up");
        let (_, _, method, trusted) = &wish;
        let send = |number| send(&engine, "dev1", &payload(&wish, number), |request| {
            request.channel = if *trusted { Channel::Trusted } else { Channel::Untrusted };
        });
        let reply = send(best(&world, *method));
        let last = told.steps.last().unwrap();
        prop_assert!(told.steps.iter().rev().skip(1).all(|step| step.is_passed()), "{:?}", told.steps);
        match &reply.decision {
            Decision::Issued { audience, scope, lifetime, .. } => {
                let token = told.token.as_ref().unwrap();
                prop_assert_eq!((told.granted, told.reason.as_ref(), last.is_passed()), (true, "ok", true));
                prop_assert_eq!((&token.claims["aud"], &token.scope.to_string(), token.lifetime), (&json!(audience), scope, *lifetime));
                let text = answer(&reply)["access_token"].as_str().unwrap().to_owned();
                let (header, mut claims) = token::decode_unverified(&text).unwrap();
                prop_assert!(claims.as_object_mut().unwrap().remove("jti").is_some());
                prop_assert_eq!((&header["kid"], &header["alg"]), (&json!(token.kid), &json!(token.alg.name())));
                prop_assert_eq!(&claims, &token.claims);
            }
            Decision::Refused(refusal) => {
                prop_assert_eq!((told.granted, told.reason.as_ref()), (false, refusal.reason().name()), "{:?}", told.steps);
                prop_assert_eq!(last.outcome.as_ref(), refusal.reason().name());
                let device = told.error.as_ref().unwrap();
                prop_assert_eq!((device.error.as_ref(), device.error_description.as_str()), (refusal.code().name(), refusal.description()));
                prop_assert!(told.token.is_none());
                // Where no credential serves, none does.
                if ["secret_not_valid_now", "key_not_valid_now"].contains(&told.reason.as_ref()) {
                    for number in 0..2 {
                        prop_assert!(!send(number).decision.is_accepted());
                    }
                }
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn the_worlds_are_of_every_kind() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::<String, usize>::new();
    for _ in 0..3_000 {
        let (world, wish) = case().new_tree(&mut runner).unwrap().current();
        let (engine, store) = engine_in(&world);
        *seen.entry(explained(&engine, &store, &world, &wish).reason.to_string()).or_default() += 1;
    }
    for reason in [
        "ok",
        "invalid_parameter",
        "untrusted_broker",
        "unsupported_auth_method",
        "unknown_client",
        "wrong_auth_method",
        "wrong_secret",
        "wrong_signature",
        "secret_not_valid_now",
        "key_not_valid_now",
        "suspended_client",
        "blocked_client",
        "client_not_valid_now",
        "scope_not_granted",
        "missing_attribute",
        "audience_not_allowed",
        "ambiguous_audience",
        "internal",
    ] {
        assert!(seen.contains_key(reason), "{reason} never happens: {seen:?}");
    }
    assert!(seen["ok"] >= 80, "{seen:?}");
}

#[test]
fn steps_name_the_records_that_decide() {
    let ask = |change: &dyn Fn(&mut World), wish: Wish| {
        let policy = super::policy();
        let (record, _) = secret(0);
        let client =
            Client { secrets: vec![record], scope: "rs1:read rs2:read".parse().unwrap(), ..Client::new("dev1".parse().unwrap(), NOW) };
        let lifetimes = Lifetimes { default: 300, maximum: 3_600 };
        let mut world = World { policy, client, has_p256: false, lifetimes, has_assertions: true, is_known: true };
        change(&mut world);
        let (engine, store) = engine_in(&world);
        explained(&engine, &store, &world, &wish)
    };
    let step = |told: &Explanation, check: &str| {
        let step = told.steps.iter().find(|step| step.check.as_str() == check).unwrap_or_else(|| panic!("no {check} in {:?}", told.steps));
        let records: Vec<String> = step.decided_by.iter().map(ToString::to_string).collect();
        (step.outcome.to_string(), records.join(", "))
    };
    let wish = |scope: &str, audience: Option<&'static str>| -> Wish {
        ((!scope.is_empty()).then(|| scope.parse().unwrap()), audience, AuthMethod::ClientSecretPost, true)
    };
    let plain = |_: &mut World| ();
    let pair = |outcome: &str, records: &str| (outcome.to_owned(), records.to_owned());

    let granted = ask(&plain, wish("rs2:read", None));
    assert_eq!(step(&granted, "lifetime"), pair("ok", "resource server rs2: max_token_lifetime"));
    assert_eq!(step(&granted, "scope"), pair("ok", "client dev1: scope"));
    assert_eq!(step(&granted, "audience"), pair("ok", "resource server rs2, request scope"));
    assert_eq!(step(&ask(&plain, wish("", Some("rs1"))), "lifetime"), pair("ok", "setting token.lifetime"));
    let short = |world: &mut World| world.client.expires_at = Some(NOW.saturating_add(5));
    let told = ask(&short, wish("", Some("rs1")));
    assert_eq!((step(&told, "lifetime"), told.token.unwrap().lifetime), (pair("ok", "client dev1: expires_at"), 5));

    let not = |scope| step(&ask(&plain, wish(scope, None)), "scope");
    assert_eq!(not("rs1:admin"), pair("scope_not_granted", "client dev1: scope"));
    assert_eq!(not("nonsense"), pair("scope_not_granted", "request scope"));
    assert_eq!(step(&ask(&plain, wish("rs1:read", Some("rs2"))), "grant"), pair("scope_not_granted", "scope rs1:read: resource_server"));
    let limited = |world: &mut World| world.client.audiences = ["rs2".parse().unwrap()].into();
    let elsewhere = pair("scope_not_granted", "client dev1: audiences, scope rs1:read: resource_server");
    assert_eq!(step(&ask(&limited, wish("rs1:read", None)), "scope"), elsewhere);
    assert_eq!(step(&ask(&limited, wish("", Some("rs1"))), "grant"), pair("audience_not_allowed", "client dev1: audiences"));
    let blocked = |world: &mut World| world.client.status = Status::Blocked;
    assert_eq!(step(&ask(&blocked, wish("", None)), "status"), pair("blocked_client", "client dev1: status"));
    let expired = |world: &mut World| world.client.secrets[0].expires_at = Some(NOW);
    assert_eq!(step(&ask(&expired, wish("", None)), "credential"), pair("secret_not_valid_now", "client dev1: secrets"));
    let untrusted = ask(&plain, (None, None, AuthMethod::ClientSecretPost, false));
    assert_eq!(step(&untrusted, "link"), pair("untrusted_broker", "setting broker.trusted"));
}
