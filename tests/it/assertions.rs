//! Client authentication by signed assertion, on the embedded broker and through a real Mosquitto.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use credgate::clock::UnixTime;
use credgate::jose::{self, SigningKey};
use credgate::oauth::{ASSERTION_TYPE, RequestDigest};
use rumqttc::v5::mqttbytes::v5::Publish;
use serde_cbor::Value as Cbor;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::device::{Ask, Device, body};
use crate::devices::on_both_links;
use crate::site::{Broker, Site, restrict, wait_for, wait_for_the_next_second};
use crate::verifier;

on_both_links!(
    token_in_json,
    token_in_cbor,
    token_by_an_assertion_of_pyjwt,
    a_request_delivered_twice_gets_its_answer_twice,
    a_nonce_stands_for_the_clock,
    the_reference_device_signs,
    deny_replay,
    deny_replay_over_a_restart,
    deny_unknown_and_blocked_clients,
    deny_unbound_requests,
);

pub const ISSUER: &str = "https://credgate.local";
pub const MQTT_PASSWORD: &str = "the-password-of-a-broker";

pub fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&Zeroizing::new([42; 32])))
}

/// Waits until assertions can be told from those of before the start: their times are whole seconds.
pub fn wait_for_the_second_after_the_start(site: &Site) {
    let started = site.status().unwrap()["started_at"].as_u64().unwrap();
    wait_for("the second after the start", || {
        (UnixTime::from(std::time::SystemTime::now()).as_secs() > started.saturating_add(1)).then_some(())
    });
}

pub fn cbor(payload: &[u8]) -> BTreeMap<i64, Cbor> {
    serde_cbor::from_slice(payload).unwrap()
}

/// A site with its policy, and the client `dev1` with a key.
pub fn register(site: &Site, options: &[&str]) {
    site.define_policy();
    let file = site.path("dev1.jwk");
    fs::write(&file, serde_json::to_vec(key().public()).unwrap()).unwrap();
    let add = ["client", "add", "dev1", "--scope", "telemetry:write telemetry:read", "--jwk-file", file.to_str().unwrap()];
    site.credgate(&[&add, options].concat());
    match &site.broker {
        Broker::Mosquitto(mosquitto) => mosquitto.set_password("dev1", MQTT_PASSWORD),
        Broker::Embedded => {}
    }
    wait_for_the_second_after_the_start(site);
}

/// What the broker wants to see: the embedded one takes an assertion.
fn mqtt_password(site: &Site) -> String {
    match &site.broker {
        Broker::Mosquitto(_) => MQTT_PASSWORD.to_owned(),
        Broker::Embedded => assertion(&json!({})),
    }
}

pub fn device(site: &Site) -> Device {
    Device::connect(site, "dev1", &mqtt_password(site))
}

/// Right but for `changes`; no two are alike.
pub fn assertion(changes: &Value) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let (now, jti) = (UnixTime::from(std::time::SystemTime::now()), NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
    let mut claims = json!({"iss": "dev1", "sub": "dev1", "aud": ISSUER, "iat": now, "exp": now.saturating_add(60), "jti": jti});
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    jose::sign("JWT", &claims, &key()).unwrap()
}

pub fn ask(assertion: &str, members: &Value) -> Ask {
    let mut payload = json!({"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion});
    payload.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    Ask::raw("dev1", "json", payload.to_string().into_bytes())
}

fn nonce_ask(format: &str, payload: &[u8]) -> Ask {
    Ask { topic: format!("oauth2/v1/client/dev1/nonce/{format}"), ..Ask::raw("dev1", format, payload.to_vec()) }
}

fn assert_accepted(answer: &Publish) -> Value {
    let body = body(answer);
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/token/json/accepted", "{body}");
    let (_, claims) = jose::decode_unverified(body["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(claims["sub"], "dev1");
    body
}

pub fn assert_refused(site: &Site, answer: &Publish, error: &str, reason: &str) {
    let body = body(answer);
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/token/json/rejected", "{body}");
    assert_eq!(body["error"], error, "{body}");
    wait_for("a log line of the decision", || site.decisions("dev1").pop().filter(|line| line["reason"] == reason));
}

fn token_in_json(site: &Site) {
    register(site, &[]);
    let assertion = assertion(&json!({}));
    site.keep_secret(&assertion);
    let answer = device(site).request(&ask(&assertion, &json!({"scope": "telemetry:write", "state": "s1"})));
    let body = assert_accepted(&answer);
    assert_eq!((&body["token_type"], &body["state"]), (&json!("Bearer"), &json!("s1")));
}

fn token_in_cbor(site: &Site) {
    register(site, &[]);
    let bound = RequestDigest::of_token_request(None, Some("telemetry:read"), None).to_text();
    let members = BTreeMap::from([(9, Cbor::Text("telemetry:read".into())), (-65_537, Cbor::Text(assertion(&json!({"rqh": bound}))))]);
    let answer = device(site).request(&Ask::raw("dev1", "cbor", serde_cbor::to_vec(&members).unwrap()));
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/token/cbor/accepted");
    let members = cbor(&answer.payload);
    assert!(matches!(members[&1], Cbor::Bytes(_)), "{members:?}");
}

fn token_by_an_assertion_of_pyjwt(site: &Site) {
    register(site, &[]);
    for alg in ["EdDSA", "ES256"] {
        // A second client, whose key is made here and read by PyJWT: PEM is what both know.
        let pem = site.path(&format!("{alg}.pem"));
        let public = site.credgate(&["device", "keygen", "--alg", alg, "--key-file", pem.to_str().unwrap()]);
        let kid = serde_json::from_str::<Value>(&public).unwrap()["kid"].clone();
        let jwk = site.path(&format!("{alg}.jwk"));
        fs::write(&jwk, format!(r#"{{"keys":[{public}]}}"#)).unwrap();
        site.credgate(&["client", "remove", "dev1", "--yes"]);
        wait_for_the_next_second();
        site.credgate(&["client", "add", "dev1", "--scope", "telemetry:write", "--jwk-file", jwk.to_str().unwrap()]);
        let signed = |header: Value, jti: &str| {
            let now = UnixTime::from(std::time::SystemTime::now());
            let jti = format!("{alg} {jti}");
            let claims = json!({"iss": "dev1", "sub": "dev1", "aud": ISSUER, "iat": now, "exp": now.saturating_add(60), "jti": jti});
            verifier::sign(alg, &fs::read_to_string(&pem).unwrap(), &header, &claims)
        };
        let password = match &site.broker {
            Broker::Mosquitto(_) => MQTT_PASSWORD.to_owned(),
            Broker::Embedded => signed(json!({}), "c"),
        };
        let device = Device::connect(site, "dev1", &password);
        for (header, jti) in [(json!({"kid": kid}), "a"), (json!({}), "b")] {
            assert_accepted(&device.request(&ask(&signed(header, jti), &json!({}))));
        }
    }
}

fn a_request_delivered_twice_gets_its_answer_twice(site: &Site) {
    register(site, &[]);
    let device = device(site);
    let twice = ask(&assertion(&json!({})), &json!({"state": "s1"}));
    let first = device.request(&twice);
    assert_accepted(&first);
    let second = device.request(&twice);
    assert_eq!((&first.topic, &first.payload), (&second.topic, &second.payload));
    wait_for("the log line of the second", || site.decisions("dev1").pop().filter(|line| line["reason"] == "repeated"));
}

fn a_nonce_stands_for_the_clock(site: &Site) {
    register(site, &[]);
    let device = device(site);
    let given = device.request(&nonce_ask("json", br#"{"state":"s1"}"#));
    assert_eq!(given.topic, "oauth2/v1/client/dev1/nonce/json/accepted");
    let given = body(&given);
    assert_eq!(given["state"], "s1");
    let timeless = |nonce: &Value| assertion(&json!({"iat": 1, "nbf": 1, "exp": 61, "nonce": nonce}));
    assert_accepted(&device.request(&ask(&timeless(&given["cnonce"]), &json!({}))));
    let answer = device.request(&ask(&timeless(&given["cnonce"]), &json!({})));
    assert_refused(site, &answer, "invalid_client", "replayed_assertion");

    let answer = device.request(&ask(&timeless(&json!("stale")), &json!({})));
    assert_refused(site, &answer, "use_nonce", "stale_nonce");
    let told = body(&answer);
    assert!((30..=60).contains(&told["expires_in"].as_u64().unwrap()), "{told}");
    assert_accepted(&device.request(&ask(&timeless(&told["cnonce"]), &json!({}))));

    let given = device.request(&nonce_ask("cbor", b"\xa0"));
    let members = cbor(&given.payload);
    assert!(matches!(&members[&39], Cbor::Bytes(nonce) if nonce.len() == 24), "{members:?}");
}

fn the_reference_device_signs(site: &Site) {
    site.define_policy();
    let (pem, jwk, password) = (site.path("dev1.pem"), site.path("dev1.jwk"), site.path("mqtt.password"));
    fs::write(&jwk, site.credgate(&["device", "keygen", "--key-file", pem.to_str().unwrap()])).unwrap();
    let add = ["client", "add", "dev1", "--scope", "telemetry:write", "--require-request-binding", "--jwk-file", jwk.to_str().unwrap()];
    site.credgate(&add);
    fs::write(&password, MQTT_PASSWORD).unwrap();
    restrict(&password);
    let ways: &[&[&str]] = match &site.broker {
        Broker::Mosquitto(mosquitto) => {
            mosquitto.set_password("dev1", MQTT_PASSWORD);
            &[&[], &["--no-clock"]]
        }
        Broker::Embedded => {
            // In the second of the start no assertion is taken: the device makes another one then.
            site.stop("TERM");
            wait_for_the_next_second();
            site.start();
            &[&[]]
        }
    };
    let (broker, ca_file) = (format!("mqtts://localhost:{}", site.port()), site.ca_file());
    let common =
        ["device", "token", "--broker", &broker, "--ca-file", ca_file.to_str().unwrap(), "--client-id", "dev1", "--issuer", ISSUER];
    let common = [&common[..], &["--key-file", pem.to_str().unwrap(), "--scope", "telemetry:write", "--verify"]].concat();
    for way in ways {
        for form in [["--format", "json", "--mqtt-version", "5"], ["--format", "cbor", "--mqtt-version", "3.1.1"]] {
            let password = ["--mqtt-password-file", password.to_str().unwrap()];
            let password = if matches!(site.broker, Broker::Mosquitto(_)) { &password[..] } else { &[] };
            let token = site.run_showing_secrets(&[&common[..], way, &form, password].concat());
            assert!(token.status.success(), "{way:?} {form:?}: {}", String::from_utf8_lossy(&token.stderr));
            let (_, claims) = jose::decode_unverified(String::from_utf8(token.stdout).unwrap().trim()).unwrap();
            assert_eq!(claims["scope"], "telemetry:write");
        }
    }
}

fn deny_replay(site: &Site) {
    register(site, &[]);
    let device = device(site);
    let used = assertion(&json!({}));
    assert_accepted(&device.request(&ask(&used, &json!({}))));
    let answer = device.request(&ask(&used, &json!({"scope": "telemetry:write"})));
    assert_refused(site, &answer, "invalid_client", "replayed_assertion");
    let wrong = device.request(&ask(&assertion(&json!({"exp": 1})), &json!({})));
    assert_refused(site, &wrong, "invalid_client", "assertion_expired");
    assert_eq!(answer.payload, wrong.payload);
    #[cfg(feature = "embedded-broker")]
    if matches!(site.broker, Broker::Embedded) {
        // Nor does it open a session, and what opened one asks for no token.
        let refused = Device::try_connect(site, "dev1.2", "dev1", &used, None).map(|_| ());
        assert_eq!(refused, Err(rumqttc::v5::mqttbytes::v5::ConnectReturnCode::BadUserNamePassword));
        let password = mqtt_password(site);
        let device = Device::connect(site, "dev1", &password);
        assert_refused(site, &device.request(&ask(&password, &json!({}))), "invalid_client", "replayed_assertion");
    }
}

fn deny_replay_over_a_restart(site: &Site) {
    register(site, &[]);
    let used = assertion(&json!({}));
    let request = ask(&used, &json!({}));
    assert_accepted(&device(site).request(&request));
    site.stop("KILL");
    site.start();
    wait_for_the_second_after_the_start(site);
    let device = device(site);
    let answer = device.request(&request);
    assert_refused(site, &answer, "use_nonce", "assertion_before_start");
    let renewed = assertion(&json!({"nonce": body(&answer)["cnonce"]}));
    assert_accepted(&device.request(&ask(&renewed, &json!({}))));
}

fn deny_unknown_and_blocked_clients(site: &Site) {
    register(site, &[]);
    let device = device(site);
    site.credgate(&["client", "block", "dev1"]);
    let blocked = device.request(&ask(&assertion(&json!({})), &json!({})));
    assert_refused(site, &blocked, "invalid_client", "blocked_client");
    site.credgate(&["client", "remove", "dev1", "--yes"]);
    let unknown = device.request(&ask(&assertion(&json!({})), &json!({})));
    assert_refused(site, &unknown, "invalid_client", "unknown_client");
    assert_eq!(blocked.payload, unknown.payload);
}

fn deny_unbound_requests(site: &Site) {
    register(site, &["--require-request-binding"]);
    let device = device(site);
    let scope = json!({"scope": "telemetry:read"});
    assert_refused(site, &device.request(&ask(&assertion(&json!({})), &scope)), "invalid_client", "request_not_bound");
    let bound = || assertion(&json!({"rqh": RequestDigest::of_token_request(None, Some("telemetry:read"), None).to_text()}));
    assert_accepted(&device.request(&ask(&bound(), &scope)));
    let other = json!({"scope": "telemetry:read telemetry:write"});
    assert_refused(site, &device.request(&ask(&bound(), &other)), "invalid_client", "wrong_request_binding");
}

#[test]
fn an_untrusted_broker_carries_assertions_and_no_secrets() {
    let site = Site::mosquitto_with("", "");
    register(&site, &[]);
    let device = device(&site);
    let secret = site.add_client("dev2", "telemetry:write");
    let refused = Device::connect(&site, "dev2", &secret).request(&Ask::json("dev2", &secret, &json!({})));
    assert_eq!(body(&refused)["error"], "invalid_client");
    assert_accepted(&device.request(&ask(&assertion(&json!({})), &json!({}))));
    device.subscribe("oauth2/v1/as/metadata");
    let metadata = loop {
        let publish = device.next_publish();
        if publish.topic == "oauth2/v1/as/metadata" {
            break body(&publish);
        }
    };
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["private_key_jwt"]));
    assert_eq!(metadata["token_endpoint_auth_signing_alg_values_supported"], json!(["EdDSA", "Ed25519", "ES256"]));
}
