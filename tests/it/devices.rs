//! What a device meets, on the embedded broker and through a real Mosquitto: the same tests, unchanged.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;
use serde_cbor::Value as Cbor;
use serde_json::{Value, json};

use crate::device::{Ask, Device, body};
use crate::site::{Site, wait_for, wait_for_the_next_second};
use crate::verifier;

macro_rules! on_both_links {
    ($($test:ident),+ $(,)?) => {
        #[cfg(feature = "embedded-broker")]
        mod embedded {
            $(#[test]
            fn $test() {
                super::$test(&crate::site::Site::embedded());
            })+
        }

        mod mosquitto {
            $(#[test]
            fn $test() {
                super::$test(&crate::site::Site::mosquitto());
            })+
        }
    };
}

pub(crate) use on_both_links;

on_both_links!(
    token_in_json,
    token_in_cbor,
    token_to_a_response_topic,
    tokens_in_flight_together,
    published_documents,
    deny_unknown_client,
    deny_wrong_secret,
    deny_blocked_client,
    deny_suspended_client,
    tokens_by_role_and_default_scope,
    deny_outside_roles_and_validity,
    permissions_in_the_dialect_of_the_resource_server,
    deny_unknown_scope,
    deny_scope_not_granted,
    deny_unknown_audience,
    deny_malformed_json,
    deny_malformed_cbor,
    deny_duplicate_parameters,
    deny_missing_parameters,
    deny_wrong_types,
    deny_oversized,
    deny_too_deep,
    deny_trailing_bytes,
    deny_retained_request,
    deny_foreign_response_topic,
    deny_client_id_mismatch,
    deny_unsupported_grant_type,
    deny_unknown_operation,
    deny_proof_of_possession,
    deny_several_auth_methods,
);

/// A site with its policy, a client and its device.
fn device(site: &Site) -> (String, Device) {
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write telemetry:read");
    let device = Device::connect(site, "dev1", &secret);
    (secret, device)
}

fn assert_refused(site: &Site, answer: &Publish, error: &str, reason: &str) {
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/token/json/rejected");
    let body = body(answer);
    assert_eq!(body["error"], error, "{body}");
    assert!(body["error_description"].is_string(), "{body}");
    assert!(body.get("access_token").is_none());
    assert_decision(site, "rejected", reason);
}

fn assert_decision(site: &Site, outcome: &str, reason: &str) {
    let line = wait_for("a log line of the decision", || site.decisions("dev1").pop().filter(|line| line["reason"] == reason));
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["outcome"], outcome, "{line}");
    assert!(line["duration_us"].is_u64(), "{line}");
}

fn cbor(payload: &[u8]) -> BTreeMap<i64, Cbor> {
    let members: BTreeMap<i64, Cbor> = serde_cbor::from_slice(payload).unwrap();
    let whole: Cbor = serde_cbor::from_slice(payload).unwrap();
    assert_eq!(serde_cbor::to_vec(&whole).unwrap(), payload, "deterministic CBOR");
    members
}

fn token_in_json(site: &Site) {
    let (secret, device) = device(site);
    for (qos, state) in [(QoS::AtMostOnce, "s0"), (QoS::AtLeastOnce, "s1")] {
        let ask = Ask { qos, ..Ask::json("dev1", &secret, &json!({"scope": "telemetry:write", "state": state})) };
        let answer = device.request(&ask);
        assert_eq!(answer.topic, "oauth2/v1/client/dev1/token/json/accepted");
        assert_eq!(answer.qos, qos);
        assert!(!answer.retain);
        let properties = answer.properties.clone().unwrap();
        assert_eq!(properties.content_type.as_deref(), Some("application/ace+json"));
        assert_eq!(properties.payload_format_indicator, Some(1));
        assert!(properties.message_expiry_interval.is_some_and(|seconds| (1..=60).contains(&seconds)), "{properties:?}");
        let body = body(&answer);
        assert_eq!((&body["token_type"], &body["expires_in"], &body["state"]), (&json!("Bearer"), &json!(300), &json!(state)));
        let token = body["access_token"].as_str().unwrap();
        let claims = verifier::verify(&jwks(&device), token, "https://telemetry.example", "EdDSA");
        assert_eq!(claims["sub"], "dev1");
        assert_eq!(claims["scope"], "telemetry:write");
        assert_decision(site, "accepted", "ok");
    }
}

fn token_in_cbor(site: &Site) {
    let (secret, device) = device(site);
    let answer = device.request(&Ask::cbor("dev1", &secret, "telemetry:read"));
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/token/cbor/accepted");
    let properties = answer.properties.clone().unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("application/ace+cbor"));
    assert!(properties.payload_format_indicator.is_none_or(|indicator| indicator == 0));
    let members = cbor(&answer.payload);
    assert_eq!(members.keys().copied().collect::<Vec<_>>(), [1, 2, 34]);
    assert_eq!((&members[&2], &members[&34]), (&Cbor::Integer(300), &Cbor::Integer(1)));
    let Cbor::Bytes(token) = &members[&1] else { panic!("{members:?}") };
    let claims = verifier::verify(&jwks(&device), std::str::from_utf8(token).unwrap(), "https://telemetry.example", "EdDSA");
    assert_eq!(claims["scope"], "telemetry:read");
}

fn token_to_a_response_topic(site: &Site) {
    let (secret, device) = device(site);
    let ask = Ask {
        response_topic: Some("oauth2/v1/client/dev1/reply/here".into()),
        correlation_data: Some(b"\x00\xffcorrelation".to_vec()),
        ..Ask::json("dev1", &secret, &json!({}))
    };
    let answer = device.request(&ask);
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/reply/here");
    assert_eq!(answer.properties.clone().unwrap().correlation_data.as_deref(), Some(&b"\x00\xffcorrelation"[..]));
    assert_eq!(body(&answer)["scope"], "telemetry:read telemetry:write", "named, as it was not asked for");
    let refused = device.request(&Ask { payload: b"{".to_vec(), ..ask });
    assert_eq!(refused.topic, "oauth2/v1/client/dev1/reply/here");
    assert_eq!(refused.properties.clone().unwrap().correlation_data.as_deref(), Some(&b"\x00\xffcorrelation"[..]));
    assert_eq!(body(&refused)["error"], "invalid_request");
}

fn tokens_in_flight_together(site: &Site) {
    let (secret, device) = device(site);
    let first = Ask {
        correlation_data: Some(vec![0]),
        response_topic: Some("oauth2/v1/client/dev1/r".into()),
        ..Ask::json("dev1", &secret, &json!({}))
    };
    let mut jtis = std::collections::BTreeSet::new();
    let mut keep = |answer: &Publish| {
        let token = body(answer)["access_token"].as_str().expect("a token").to_owned();
        let (_, claims) = credgate::jose::decode_unverified(&token).unwrap();
        assert!(jtis.insert(claims["jti"].as_str().unwrap().to_owned()), "a jti came twice");
    };
    keep(&device.request(&first));
    for number in 1..=50_u8 {
        device.send(&Ask { correlation_data: Some(vec![number]), ..first.clone() });
    }
    let mut open: std::collections::BTreeSet<u8> = (1..=50).collect();
    while !open.is_empty() {
        let publish = device.next_publish();
        if publish.topic == "oauth2/v1/client/dev1/r" {
            keep(&publish);
            assert!(open.remove(&publish.properties.unwrap().correlation_data.unwrap()[0]));
        }
    }
}

fn retained(device: &Device, topic: &str) -> Value {
    device.subscribe(topic);
    loop {
        let publish = device.next_publish();
        if publish.topic == topic.as_bytes() && publish.retain {
            return body(&publish);
        }
    }
}

fn jwks(device: &Device) -> Value {
    retained(device, "oauth2/v1/as/jwks")
}

fn published_documents(site: &Site) {
    let (_, device) = device(site);
    // Published anew after each change of the policy, soon but not at once.
    let scopes = json!(["config:read", "telemetry:read", "telemetry:write"]);
    let metadata = wait_for("metadata with all scopes", || {
        Some(retained(&device, "oauth2/v1/as/metadata")).filter(|metadata| metadata["scopes_supported"] == scopes)
    });
    assert_eq!(metadata["issuer"], "https://credgate.local");
    assert_eq!(metadata["grant_types_supported"], json!(["client_credentials"]));
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["client_secret_post", "private_key_jwt"]));
    let signed = credgate::jose::decode_unverified(metadata["signed_metadata"].as_str().unwrap()).unwrap().1;
    assert_eq!((&signed["iss"], &signed["scopes_supported"]), (&metadata["issuer"], &scopes));
    let keys = jwks(&device)["keys"].clone();
    let listed: Value = serde_json::from_str(&site.credgate(&["key", "list", "--output", "json"])).unwrap();
    assert_eq!(keys.as_array().unwrap().len(), 1);
    assert_eq!(keys[0]["kid"], listed["keys"][0]["kid"]);
    assert!(keys[0].get("d").is_none(), "the public half alone");
    assert_eq!(retained(&device, "oauth2/v1/as/status")["state"], "online");
}

/// An operator gives a role and takes it away; each takes effect on the next request.
fn tokens_by_role_and_default_scope(site: &Site) {
    site.define_policy();
    site.credgate(&["role", "add", "pump", "--scope", "telemetry:read telemetry:write", "--scope", "config:read"]);
    let secret = site.add_client("dev1", "telemetry:read");
    let device = Device::connect(site, "dev1", &secret);
    let (telemetry, config) = ("https://telemetry.example", "https://config.example");
    let ask = |members: &Value| body(&device.request(&Ask::json("dev1", &secret, members)));
    let mut answers = vec![(ask(&json!({})), telemetry, "telemetry:read", 300)];
    site.credgate(&["client", "edit", "dev1", "--role", "pump", "--max-token-lifetime", "90"]);
    answers.push((ask(&json!({"audience": telemetry})), telemetry, "telemetry:read telemetry:write", 90));
    answers.push((ask(&json!({"audience": "config"})), config, "config:read", 60));
    site.credgate(&["client", "edit", "dev1", "--default-scope", "telemetry:write", "--clear", "max-token-lifetime"]);
    answers.push((ask(&json!({})), telemetry, "telemetry:write", 300));
    answers.push((ask(&json!({"scope": "config:read"})), config, "config:read", 60));
    // Last, as from here on the device hears of every change.
    let keys = jwks(&device);
    for (answer, audience, scope, lifetime) in answers {
        let claims = verifier::verify(&keys, answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")), audience, "EdDSA");
        assert_eq!((&claims["scope"], &answer["expires_in"]), (&json!(scope), &json!(lifetime)));
    }
}

fn deny_outside_roles_and_validity(site: &Site) {
    site.define_policy();
    site.credgate(&["role", "add", "pump", "--scope", "telemetry:write config:read"]);
    let secret = site.add_client("dev1", "telemetry:read");
    let device = Device::connect(site, "dev1", &secret);
    let ask = |members: &Value| device.request(&Ask::json("dev1", &secret, members));
    assert_refused(site, &ask(&json!({"scope": "telemetry:write"})), "invalid_scope", "scope_not_granted");
    site.credgate(&["client", "edit", "dev1", "--role", "pump", "--audience", "telemetry"]);
    assert!(body(&ask(&json!({"scope": "telemetry:write"}))).get("access_token").is_some());
    assert_refused(site, &ask(&json!({"audience": "config"})), "invalid_target", "audience_not_allowed");
    site.credgate(&["client", "edit", "dev1", "--expires-at", "2020-01-01T00:00:00Z"]);
    assert_refused(site, &ask(&json!({})), "invalid_client", "client_not_valid_now");
    site.credgate(&["client", "edit", "dev1", "--clear", "expires-at", "--not-before", "2999-01-01T00:00:00Z"]);
    assert_refused(site, &ask(&json!({})), "invalid_client", "client_not_valid_now");
    site.credgate(&["client", "edit", "dev1", "--clear", "not-before", "--clear", "role", "--clear", "audience"]);
    assert_refused(site, &ask(&json!({"scope": "telemetry:write"})), "invalid_scope", "scope_not_granted");
    assert!(body(&ask(&json!({}))).get("access_token").is_some());
}

fn permissions_in_the_dialect_of_the_resource_server(site: &Site) {
    let servers = [("ace", "aif", "Ed25519"), ("emqx", "emqx", "ES256"), ("mq", "rabbitmq", "EdDSA"), ("plugin", "mosquitto-jwt", "ES256")];
    for (server, dialect, alg) in servers {
        site.credgate(&["resource-server", "add", server, "--audience", &format!("urn:{server}"), "--dialect", dialect, "--alg", alg]);
        let scope = format!("{server}:use");
        let permissions =
            ["--permission", "pub {site}/{client_id}/#", "--permission", "sub {site}/{client_id}/#", "--permission", "sub all"];
        site.credgate(&[&["scope", "add", &scope, "--resource-server", server][..], &permissions].concat());
    }
    let secret = site.add_client_with("dev1", &["--scope", "ace:use emqx:use mq:use plugin:use", "--attribute", "site=berlin"]);
    let device = Device::connect(site, "dev1", &secret);
    let answers = servers.map(|(server, _, alg)| {
        let answer = body(&device.request(&Ask::json("dev1", &secret, &json!({"audience": server}))));
        assert_eq!(answer["scope"], format!("{server}:use"), "{answer}");
        (server, alg, answer["access_token"].as_str().unwrap().to_owned())
    });
    let keys = jwks(&device);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2, "one of each kind: {keys}");
    let [ace, emqx, rabbitmq, plugin] = answers.map(|(server, alg, token)| verifier::verify(&keys, &token, &format!("urn:{server}"), alg));
    assert_eq!((&plugin["publ"], &plugin["subs"]), (&json!(["berlin/dev1/#"]), &json!(["berlin/dev1/#", "all"])));
    let scope = URL_SAFE_NO_PAD.decode(ace["scope"].as_str().unwrap()).unwrap();
    assert_eq!(String::from_utf8(scope).unwrap(), r#"[["berlin/dev1/#",["pub","sub"]],["all",["sub"]]]"#);
    let rule = |action: &str, topic: &str| json!({"permission": "allow", "action": action, "topic": topic});
    assert_eq!(emqx["acl"], json!([rule("publish", "berlin/dev1/#"), rule("subscribe", "berlin/dev1/#"), rule("subscribe", "all")]));
    assert_eq!(emqx["scope"], "emqx:use");
    let scopes: Vec<&str> = rabbitmq["scope"].as_str().unwrap().split(' ').collect();
    for expected in
        ["urn:mq.write:%2F/amq.topic/berlin.dev1.*", "urn:mq.read:%2F/amq.topic/all", "urn:mq.configure:%2F/mqtt-subscription-dev1qos1"]
    {
        assert!(scopes.contains(&expected), "{scopes:?}");
    }
}

/// A connected device whose client is gone by the time it asks.
fn deny_unknown_client(site: &Site) {
    let (secret, device) = device(site);
    site.credgate(&["client", "remove", "dev1", "--yes"]);
    let unknown = device.request(&Ask::json("dev1", &secret, &json!({})));
    assert_refused(site, &unknown, "invalid_client", "unknown_client");
    // Told in the very same bytes as a wrong secret.
    let wrong = deny_wrong_secret_of(site, "dev2");
    assert_eq!(unknown.payload, wrong.payload);
}

fn deny_wrong_secret_of(site: &Site, client_id: &str) -> Publish {
    let secret = site.add_client(client_id, "telemetry:write");
    let answer = Device::connect(site, client_id, &secret).request(&Ask::json(client_id, "wrong", &json!({})));
    assert_eq!(answer.topic, format!("oauth2/v1/client/{client_id}/token/json/rejected"));
    answer
}

fn deny_wrong_secret(site: &Site) {
    let (_, device) = device(site);
    let answer = device.request(&Ask::json("dev1", "wrong", &json!({})));
    assert_refused(site, &answer, "invalid_client", "wrong_secret");
}

fn deny_blocked_client(site: &Site) {
    let (secret, device) = device(site);
    assert!(body(&device.request(&Ask::json("dev1", &secret, &json!({}))))["access_token"].is_string());
    site.credgate(&["client", "block", "dev1"]);
    assert_refused(site, &device.request(&Ask::json("dev1", &secret, &json!({}))), "invalid_client", "blocked_client");
    site.credgate(&["client", "resume", "dev1"]);
    wait_for_the_next_second();
    assert!(body(&device.request(&Ask::json("dev1", &secret, &json!({}))))["access_token"].is_string());
}

fn deny_suspended_client(site: &Site) {
    let (secret, device) = device(site);
    site.credgate(&["client", "suspend", "dev1"]);
    assert_refused(site, &device.request(&Ask::json("dev1", &secret, &json!({}))), "invalid_client", "suspended_client");
}

fn deny_unknown_scope(site: &Site) {
    let (secret, device) = device(site);
    let ask = Ask::json("dev1", &secret, &json!({"scope": "telemetry:write nonsense"}));
    assert_refused(site, &device.request(&ask), "invalid_scope", "scope_not_granted");
}

fn deny_scope_not_granted(site: &Site) {
    let (secret, device) = device(site);
    let ask = Ask::json("dev1", &secret, &json!({"scope": "config:read"}));
    assert_refused(site, &device.request(&ask), "invalid_scope", "scope_not_granted");
}

fn deny_unknown_audience(site: &Site) {
    let (secret, device) = device(site);
    let ask = Ask::json("dev1", &secret, &json!({"audience": "https://nowhere.example"}));
    assert_refused(site, &device.request(&ask), "invalid_target", "audience_not_allowed");
}

fn deny_malformed_json(site: &Site) {
    let (_, device) = device(site);
    for payload in ["", "{", "[]", "null", r#"{"grant_type":}"#, "\u{0}"] {
        let answer = device.request(&Ask::raw("dev1", "json", payload.into()));
        assert_refused(site, &answer, "invalid_request", "malformed");
    }
}

fn assert_refused_in_cbor(site: &Site, device: &Device, payload: &[u8], error: i128, reason: &str) {
    let answer = device.request(&Ask::raw("dev1", "cbor", payload.to_vec()));
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/token/cbor/rejected");
    let members = cbor(&answer.payload);
    assert_eq!(members[&30], Cbor::Integer(error), "{members:?}");
    assert!(matches!(members[&31], Cbor::Text(_)));
    assert_decision(site, "rejected", reason);
}

fn deny_malformed_cbor(site: &Site) {
    let (_, device) = device(site);
    for payload in
        [&b""[..], b"\xa1", b"\x80", b"\xff", b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xa1\x18\x19\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"]
    {
        assert_refused_in_cbor(site, &device, payload, 1, "malformed");
    }
}

fn deny_duplicate_parameters(site: &Site) {
    let (_, device) = device(site);
    for payload in [r#"{"scope":"a","scope":"a"}"#, r#"{"unknown":1,"unknown":2}"#, r#"{"scope":"a","sc\u006fpe":"a"}"#] {
        assert_refused(site, &device.request(&Ask::raw("dev1", "json", payload.into())), "invalid_request", "repeated_parameter");
    }
    assert_refused_in_cbor(site, &device, b"\xa2\x09\x61a\x09\x61a", 1, "repeated_parameter");
    assert_refused_in_cbor(site, &device, b"\xa2\x09\x61a\x18\x09\x61a", 1, "repeated_parameter");
}

fn deny_missing_parameters(site: &Site) {
    let (secret, device) = device(site);
    for payload in [json!({}), json!({"grant_type": "client_credentials"}), json!({"client_secret": secret})] {
        let answer = device.request(&Ask::raw("dev1", "json", payload.to_string().into_bytes()));
        assert_refused(site, &answer, "invalid_request", "missing_parameter");
    }
    assert_refused_in_cbor(site, &device, b"\xa0", 1, "missing_parameter");
}

fn deny_wrong_types(site: &Site) {
    let (secret, device) = device(site);
    for members in [
        json!({"client_id": 1}),
        json!({"client_secret": ["x"]}),
        json!({"grant_type": 2}),
        json!({"scope": ["telemetry:write"]}),
        json!({"audience": null}),
        json!({"state": {}}),
    ] {
        assert_refused(site, &device.request(&Ask::json("dev1", &secret, &members)), "invalid_request", "invalid_parameter");
    }
    let answer = device.request(&Ask::json("dev1", &secret, &json!({"scope": "two  spaces"})));
    assert_refused(site, &answer, "invalid_scope", "invalid_parameter");
    // client_secret as text, scope as bytes
    assert_refused_in_cbor(site, &device, b"\xa1\x18\x19\x61x", 1, "invalid_parameter");
    assert_refused_in_cbor(site, &device, b"\xa2\x18\x19\x41x\x09\x41a", 1, "invalid_parameter");
}

fn deny_oversized(site: &Site) {
    let (secret, device) = device(site);
    let ask = Ask::json("dev1", &secret, &json!({"padding": "x".repeat(8_192)}));
    assert_refused(site, &device.request(&ask), "invalid_request", "oversized");
}

fn deny_too_deep(site: &Site) {
    let (secret, device) = device(site);
    let deep =
        format!(r#"{{"grant_type":"client_credentials","client_secret":"{secret}","x":{}{}}}"#, "[".repeat(2_000), "]".repeat(2_000));
    assert_refused(site, &device.request(&Ask::raw("dev1", "json", deep.into())), "invalid_request", "too_complex");
    let mut deep = vec![0xa1, 0x0a];
    deep.extend([0x81; 2_000]);
    assert_refused_in_cbor(site, &device, &deep, 1, "too_complex");
}

fn deny_trailing_bytes(site: &Site) {
    let (secret, device) = device(site);
    let mut ask = Ask::json("dev1", &secret, &json!({}));
    ask.payload.extend(b"{}");
    assert_refused(site, &device.request(&ask), "invalid_request", "malformed");
    let mut ask = Ask::cbor("dev1", &secret, "telemetry:write");
    ask.payload.push(0);
    assert_refused_in_cbor(site, &device, &ask.payload, 1, "malformed");
}

fn deny_retained_request(site: &Site) {
    let (secret, device) = device(site);
    let ask = Ask { retain: true, ..Ask::json("dev1", &secret, &json!({})) };
    assert_refused(site, &device.request(&ask), "invalid_request", "retained");
}

fn deny_foreign_response_topic(site: &Site) {
    let (secret, device) = device(site);
    for foreign in
        ["oauth2/v1/client/dev2/x", "oauth2/v1/client/dev1", "oauth2/v1/as/jwks", "elsewhere", "oauth2/v1/client/dev1/token/json"]
    {
        let ask = Ask { response_topic: Some(foreign.into()), ..Ask::json("dev1", &secret, &json!({})) };
        assert_refused(site, &device.request(&ask), "invalid_request", "foreign_response_topic");
    }
}

fn deny_client_id_mismatch(site: &Site) {
    let (secret, device) = device(site);
    let ask = Ask::json("dev1", &secret, &json!({"client_id": "dev2"}));
    assert_refused(site, &device.request(&ask), "invalid_request", "client_id_mismatch");
}

fn deny_unsupported_grant_type(site: &Site) {
    let (secret, device) = device(site);
    for grant_type in ["password", "authorization_code", "refresh_token", "nonsense"] {
        let ask = Ask::json("dev1", &secret, &json!({"grant_type": grant_type}));
        assert_refused(site, &device.request(&ask), "unsupported_grant_type", "unsupported_grant_type");
    }
    assert_refused_in_cbor(site, &device, b"\xa2\x18\x19\x41x\x18\x21\x00", 5, "unsupported_grant_type");
}

fn deny_unknown_operation(site: &Site) {
    let (secret, device) = device(site);
    let ask = Ask { topic: "oauth2/v1/client/dev1/nonsense/json".into(), ..Ask::json("dev1", &secret, &json!({})) };
    let answer = device.request(&ask);
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/nonsense/json/rejected");
    assert_eq!(body(&answer)["error"], "invalid_request");
}

fn deny_proof_of_possession(site: &Site) {
    let (secret, device) = device(site);
    // A secret shows possession of no key.
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let ask = Ask::json("dev1", &secret, &json!({"req_cnf": {"jwk": jwk}}));
    assert_refused(site, &device.request(&ask), "unsupported_pop_key", "unsupported_pop_key");
}

fn deny_several_auth_methods(site: &Site) {
    let (secret, device) = device(site);
    let ask = Ask::json("dev1", &secret, &json!({"client_assertion": "a.b.c"}));
    assert_refused(site, &device.request(&ask), "invalid_request", "several_auth_methods");
    let ask = Ask::raw("dev1", "json", br#"{"grant_type":"client_credentials","client_assertion":"a.b.c"}"#.to_vec());
    assert_refused(site, &device.request(&ask), "invalid_request", "missing_parameter");
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    let payload = json!({"grant_type": "client_credentials", "client_assertion": "a", "client_assertion_type": saml});
    let ask = Ask::raw("dev1", "json", payload.to_string().into_bytes());
    assert_refused(site, &device.request(&ask), "invalid_client", "unsupported_auth_method");
}
