//! What a client may have: roles, default scopes, audiences, limits of life.

use super::*;
use crate::policy::{Dialect, Role};

/// A request of a client that `change` makes, under the usual policy and the roles `reader` (rs1:read rs2:read) and `writer` (rs1:write).
fn ask_as(change: impl FnOnce(&mut Client), members: &Value) -> (Value, Decision) {
    let (record, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
    let mut client = Client { secrets: vec![record], ..Client::new("dev1".parse().unwrap(), NOW) };
    change(&mut client);
    let mut policy = policy();
    for (server, dialect, permissions) in [
        ("aif", Dialect::Aif, &["pub {site}/{client_id}/#", "sub {site}/{client_id}/#", "sub all"][..]),
        ("emqx", Dialect::Emqx, &["sub cmd/{client_id}", "pub t/{client_id}/#"]),
        ("mq", Dialect::Rabbitmq { prefix: "mq".parse().unwrap(), vhost: "/".into() }, &["pub t/{client_id}/#"]),
    ] {
        let server = ResourceServer { dialect, ..resource_server(server, None) };
        let permissions = permissions.iter().map(|text| text.parse().unwrap()).collect();
        let scope = Scope { permissions, ..scope(&format!("{}:use", server.id), server.id.as_str()) };
        policy.scopes.insert(scope.name.clone(), Arc::new(scope));
        policy.resource_servers.insert(server.id.clone(), Arc::new(server));
    }
    for (name, scope) in [("reader", "rs1:read rs2:read"), ("writer", "rs1:write")] {
        let role = Role {
            name: name.parse().unwrap(),
            description: String::new(),
            scope: scope.parse().unwrap(),
            created_at: NOW,
            updated_at: NOW,
        };
        policy.roles.insert(role.name.clone(), Arc::new(role));
    }
    ask_of(engine_of([(client.client_id.clone(), Arc::new(client))].into(), policy, secret), "dev1", members)
}

fn roles(names: &[&str]) -> impl Fn(&mut Client) {
    move |client| client.roles = names.iter().map(|name| name.parse().unwrap()).collect()
}

fn issued(decision: &Decision) -> (&str, &str, u64) {
    match decision {
        Decision::Issued { audience, scope, lifetime, .. } => (audience, scope, *lifetime),
        other => panic!("{other:?}"),
    }
}

const RS1: &str = "https://rs1.example";
const RS2: &str = "https://rs2.example";

#[test]
fn roles_grant_their_scopes_beside_those_granted_directly() {
    let both = |client: &mut Client| {
        roles(&["reader", "writer"])(client);
        client.scope = "rs1:admin rs1:read".parse().unwrap();
    };
    let (answer, decision) = ask_as(both, &json!({"audience": "rs1"}));
    assert_eq!(issued(&decision), (RS1, "rs1:admin rs1:read rs1:write", 300));
    assert_eq!(answer["scope"], "rs1:admin rs1:read rs1:write");
    let (_, decision) = ask_as(roles(&["reader"]), &json!({"scope": "rs2:read"}));
    assert_eq!(issued(&decision), (RS2, "rs2:read", 60));
}

#[test]
fn deny_scope_outside_the_roles() {
    assert_refused(ask_as(roles(&["reader"]), &json!({"scope": "rs1:write"})), ErrorCode::InvalidScope, Reason::ScopeNotGranted);
    assert_refused(ask_as(roles(&["reader"]), &json!({"scope": "rs1:read rs1:write"})), ErrorCode::InvalidScope, Reason::ScopeNotGranted);
    assert_refused(ask_as(roles(&["gone"]), &json!({"scope": "rs1:read"})), ErrorCode::InvalidScope, Reason::ScopeNotGranted);
}

#[test]
fn a_request_without_scope_gets_the_default_scopes_of_the_audience() {
    let with_default = |default: &'static str| {
        move |client: &mut Client| {
            roles(&["reader", "writer"])(client);
            client.default_scope = default.parse().unwrap();
        }
    };
    // The defaults tell the audience, too.
    assert_eq!(issued(&ask_as(with_default("rs1:read"), &json!({})).1), (RS1, "rs1:read", 300));
    assert_eq!(ask_as(with_default("rs1:read"), &json!({})).0["scope"], "rs1:read");
    assert_eq!(issued(&ask_as(with_default("rs1:read rs2:read"), &json!({"audience": "rs1"})).1), (RS1, "rs1:read", 300));
    // Where there is no default, all that is granted.
    assert_eq!(issued(&ask_as(with_default("rs2:read"), &json!({"audience": "rs1"})).1), (RS1, "rs1:read rs1:write", 300));
    // What is asked for is not narrowed.
    assert_eq!(issued(&ask_as(with_default("rs1:read"), &json!({"scope": "rs1:write"})).1), (RS1, "rs1:write", 300));
}

#[test]
fn deny_audience_that_the_default_scopes_do_not_tell() {
    let change = |client: &mut Client| {
        roles(&["reader"])(client);
        client.default_scope = "rs1:read rs2:read".parse().unwrap();
    };
    assert_refused(ask_as(change, &json!({})), ErrorCode::InvalidTarget, Reason::AmbiguousAudience);
}

#[test]
fn allowed_audiences_narrow_what_is_granted() {
    let only_rs1 = |client: &mut Client| {
        roles(&["reader"])(client);
        client.audiences = ["rs1".parse().unwrap()].into();
    };
    assert_eq!(issued(&ask_as(only_rs1, &json!({})).1), (RS1, "rs1:read", 300));
}

#[test]
fn deny_audience_that_is_not_allowed() {
    let only_rs1 = |client: &mut Client| {
        roles(&["reader"])(client);
        client.audiences = ["rs1".parse().unwrap()].into();
    };
    for audience in ["rs2", RS2] {
        assert_refused(ask_as(only_rs1, &json!({"audience": audience})), ErrorCode::InvalidTarget, Reason::AudienceNotAllowed);
    }
    assert_refused(ask_as(only_rs1, &json!({"scope": "rs2:read"})), ErrorCode::InvalidScope, Reason::ScopeNotGranted);
}

#[test]
fn the_shortest_limit_decides_the_life_of_a_token() {
    let life = |audience: &str, cap: Option<u32>, ends_in: Option<u64>| {
        let change = |client: &mut Client| {
            roles(&["reader"])(client);
            client.max_token_lifetime = cap;
            client.expires_at = ends_in.map(|seconds| NOW.saturating_add(seconds));
        };
        let (answer, decision) = ask_as(change, &json!({"audience": audience}));
        assert_eq!(answer["expires_in"], issued(&decision).2);
        issued(&decision).2
    };
    assert_eq!([life("rs1", None, None), life("rs1", Some(10), None), life("rs1", Some(900), None)], [300, 10, 300]);
    assert_eq!([life("rs2", None, None), life("rs2", Some(10), None), life("rs2", Some(100), None)], [60, 10, 60]);
    assert_eq!([life("rs2", Some(10), Some(5)), life("rs1", None, Some(1)), life("rs1", None, Some(301))], [5, 1, 300]);
}

#[test]
fn deny_client_outside_its_period_of_validity() {
    let change: [fn(&mut Client); 2] = [|client| client.not_before = Some(NOW.saturating_add(1)), |client| client.expires_at = Some(NOW)];
    let texts = change.map(|change| {
        let refused = ask_as(change, &json!({}));
        let text = refused.0.to_string();
        assert_refused(refused, ErrorCode::InvalidClient, Reason::ClientNotValidNow);
        text
    });
    assert_eq!(texts[0], ask_as(|_| (), &json!({"client_secret": "wrong"})).0.to_string());
    assert_eq!(texts[0], texts[1]);
}

/// The answer's scope and the token's claims, for a client that has an attribute.
fn claims_at(server: &str) -> (Value, Value) {
    let change = |client: &mut Client| {
        client.scope = "aif:use emqx:use mq:use".parse().unwrap();
        client.attributes.insert("site".parse().unwrap(), "berlin".parse().unwrap());
    };
    let (answer, decision) = ask_as(change, &json!({"audience": server}));
    assert_eq!(issued(&decision).1, format!("{server}:use"), "the log names the scopes");
    let (_, claims) = decode_unverified(answer["access_token"].as_str().unwrap()).unwrap();
    (answer["scope"].clone(), claims)
}

#[test]
fn permissions_are_written_in_the_dialect_of_the_resource_server() {
    use base64::Engine as _;
    let (announced, claims) = claims_at("aif");
    let scope = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims["scope"].as_str().unwrap()).unwrap();
    let scope: Value = serde_json::from_slice(&scope).unwrap();
    assert_eq!(scope, json!([["berlin/dev1/#", ["pub", "sub"]], ["all", ["sub"]]]));
    assert_eq!((announced, claims.get("acl")), (json!("aif:use"), None));

    let (announced, claims) = claims_at("emqx");
    let rule = |action: &str, topic: &str| json!({"permission": "allow", "action": action, "topic": topic});
    assert_eq!(claims["acl"], json!([rule("subscribe", "cmd/dev1"), rule("publish", "t/dev1/#")]));
    assert_eq!((announced, &claims["scope"]), (json!("emqx:use"), &json!("emqx:use")));

    let (announced, claims) = claims_at("mq");
    assert_eq!(claims["scope"], "mq.write:%2F/amq.topic/t.dev1 mq.write:%2F/amq.topic/t.dev1.*");
    assert_eq!(announced, "mq:use");
}

#[test]
fn a_token_of_any_dialect_verifies() {
    let change = |client: &mut Client| client.scope = "emqx:use".parse().unwrap();
    let (answer, _) = ask_as(change, &json!({}));
    let keys = engine().0.keys().jwk_set();
    let claims = token::verify(answer["access_token"].as_str().unwrap(), ISSUER, Some("https://emqx.example"), &keys, NOW).unwrap();
    assert_eq!(claims.acl.unwrap().len(), 2);
}

#[test]
fn deny_scope_that_names_a_missing_attribute() {
    let change = |client: &mut Client| client.scope = "aif:use rs1:read".parse().unwrap();
    for members in [json!({"scope": "aif:use"}), json!({"audience": "aif"})] {
        assert_refused(ask_as(change, &members), ErrorCode::InvalidScope, Reason::MissingAttribute);
    }
    assert_eq!(issued(&ask_as(change, &json!({"scope": "rs1:read"})).1).0, RS1);
}

#[test]
fn the_largest_size_is_that_of_the_token_with_all_scopes() {
    let (record, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
    let scope = "rs1:read rs1:write rs1:admin".parse().unwrap();
    let client = Client { secrets: vec![record], scope, ..Client::new("dev1".parse().unwrap(), NOW) };
    let policy = policy();
    let server = policy.resource_servers.values().next().unwrap().clone();
    let expected = token::largest_size(ISSUER, &client, &server, &policy).unwrap();
    let other = policy.resource_servers.values().next_back().unwrap();
    assert_eq!(token::largest_size(ISSUER, &client, other, &policy), None);
    let (answer, _) = ask_of(engine_of([(client.client_id.clone(), Arc::new(client))].into(), policy, secret), "dev1", &json!({}));
    assert_eq!(answer["access_token"].as_str().unwrap().len(), expected);
}
