//! Devices that rotate their own credentials, on the embedded broker and through a real Mosquitto.

use std::collections::BTreeMap;
use std::sync::Arc;

use credgate::jose::{self, SigningKey, cose};
use credgate::oauth::{ASSERTION_TYPE, Operation, Param, RequestDigest};
use rumqttc::v5::mqttbytes::v5::Publish;
use serde_cbor::Value as Cbor;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::assertions::{ISSUER, MQTT_PASSWORD, assertion, cbor, device as device_with_key, key, register};
use crate::device::{Ask, Device, body};
use crate::devices::on_both_links;
use crate::site::{Broker, Site, wait_for};

on_both_links!(
    a_secret_is_replaced,
    a_secret_is_replaced_in_cbor,
    a_key_is_replaced,
    a_key_is_replaced_in_cbor,
    a_request_delivered_twice_gets_one_secret,
    a_lost_answer_is_asked_for_again,
    a_new_secret_survives_sigkill_before_its_first_use,
    the_reference_device_rotates_its_secret,
    the_reference_device_rotates_its_key,
    the_reference_device_goes_on_where_it_was_interrupted,
    the_reference_device_keeps_what_serves_if_its_disk_is_full,
    deny_during_the_operators_rotation,
    deny_another_method_and_unusable_keys,
    deny_unbound_requests,
);

fn ask(client_id: &str, format: &str, payload: Vec<u8>) -> Ask {
    Ask { topic: format!("oauth2/v1/client/{client_id}/credential/{format}"), ..Ask::raw(client_id, format, payload) }
}

fn by_secret(secret: &str, state: &str) -> Ask {
    ask("dev1", "json", json!({"client_secret": secret, "state": state}).to_string().into_bytes())
}

/// The key after the one of `register`.
fn next_key() -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&Zeroizing::new([43; 32])))
}

/// What an assertion is bound to that asks for a key, as it stands in the request.
fn bound(jwk: Cbor) -> String {
    RequestDigest::of(Operation::Credential, BTreeMap::from([(Param::Jwk, jwk)])).to_text()
}

fn by_key(members: &Value) -> Ask {
    let rqh = bound(serde_cbor::value::to_value(&members["jwk"]).unwrap());
    let mut payload = json!({"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion(&json!({"rqh": rqh}))});
    payload.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    ask("dev1", "json", payload.to_string().into_bytes())
}

fn assert_refused(site: &Site, answer: &Publish, error: &str, reason: &str) {
    let body = body(answer);
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/credential/json/rejected", "{body}");
    assert_eq!(body["error"], error, "{body}");
    wait_for("a log line of the decision", || {
        site.decisions_on("dev1", "credential").pop().filter(|line| line["reason"] == reason && line["outcome"] == "rejected")
    });
}

/// A site with a client that has a secret, and its device.
fn device(site: &Site) -> (String, Device) {
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let device = Device::connect(site, "dev1", &secret);
    (secret, device)
}

/// The secret of an answer.
fn new_secret(site: &Site, answer: &Publish) -> String {
    let members = body(answer);
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/credential/json/accepted", "{members}");
    let secret = members["client_secret"].as_str().unwrap().to_owned();
    site.keep_secret(&secret);
    secret
}

fn serves(device: &Device, secret: &str) -> bool {
    body(&device.request(&Ask::json("dev1", secret, &json!({})))).get("error").is_none()
}

fn show(site: &Site) -> Value {
    serde_json::from_str(&site.credgate(&["client", "show", "dev1", "--output", "json"])).unwrap()
}

fn a_secret_is_replaced(site: &Site) {
    let (old, device) = device(site);
    let answer = device.request(&by_secret(&old, "s1"));
    let new = new_secret(site, &answer);
    let members = body(&answer);
    assert_eq!((&members["client_id"], &members["client_secret_expires_at"]), (&json!("dev1"), &json!(0)));
    assert_eq!(members["state"], "s1");
    let rotation = show(site)["rotation"].clone();
    assert_eq!((&rotation["started_by"], &rotation["ends_at"]), (&json!("client"), &members["previous_expires_at"]));
    assert!(serves(&device, &old) && serves(&device, &new));
    assert!(!serves(&device, &old), "from the first use of the new one on");
    let shown = wait_for("the end of the rotation", || Some(show(site)).filter(|shown| shown.get("rotation").is_none()));
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 1);
    // And on, by the new one.
    let next = new_secret(site, &device.request(&by_secret(&new, "s2")));
    assert!(serves(&device, &next) && !serves(&device, &new));
}

fn a_secret_is_replaced_in_cbor(site: &Site) {
    let (old, device) = device(site);
    let payload = serde_cbor::to_vec(&BTreeMap::from([(25, Cbor::Bytes(old.clone().into_bytes()))])).unwrap();
    let answer = device.request(&ask("dev1", "cbor", payload));
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/credential/cbor/accepted");
    let members = cbor(&answer.payload);
    assert_eq!(members.keys().copied().collect::<Vec<_>>(), [-65_542, -65_540, 24, 25]);
    let Cbor::Bytes(new) = &members[&25] else { panic!("{members:?}") };
    let new = String::from_utf8(new.clone()).unwrap();
    site.keep_secret(&new);
    assert!(serves(&device, &new) && !serves(&device, &old));
}

/// Whether a token is to be had by an assertion of that key.
fn signs(device: &Device, key: &Arc<SigningKey>) -> bool {
    let (now, jti) = (credgate::clock::UnixTime::from(std::time::SystemTime::now()), jose::decode_unverified(&assertion(&json!({}))));
    let jti = jti.unwrap().1["jti"].clone();
    let claims = json!({"iss": "dev1", "sub": "dev1", "aud": ISSUER, "iat": now, "exp": now.saturating_add(60), "jti": jti});
    let signed = jose::sign("JWT", &claims, key).unwrap();
    body(&device.request(&crate::assertions::ask(&signed, &json!({})))).get("error").is_none()
}

fn a_key_is_replaced(site: &Site) {
    register(site, &[]);
    let device = device_with_key(site);
    let answer = body(&device.request(&by_key(&json!({"jwk": next_key().public()}))));
    assert_eq!((&answer["client_id"], &answer["kid"]), (&json!("dev1"), &json!(next_key().kid())), "{answer}");
    assert!(answer["previous_expires_at"].is_u64() && answer.get("client_secret").is_none());
    assert!(signs(&device, &key()) && signs(&device, &next_key()));
    assert!(!signs(&device, &key()), "from the first use of the new one on");
}

fn a_key_is_replaced_in_cbor(site: &Site) {
    register(site, &[]);
    let device = device_with_key(site);
    let cose_key = cose::cose_key(next_key().public());
    let members = BTreeMap::from([(-65_537, Cbor::Text(assertion(&json!({"rqh": bound(cose_key.clone())})))), (-65_539, cose_key)]);
    let answer = device.request(&ask("dev1", "cbor", serde_cbor::to_vec(&members).unwrap()));
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/credential/cbor/accepted");
    assert_eq!(cbor(&answer.payload)[&-65_541], Cbor::Bytes(next_key().kid().as_bytes().to_vec()));
    assert!(signs(&device, &next_key()) && !signs(&device, &key()));
}

fn a_request_delivered_twice_gets_one_secret(site: &Site) {
    let (old, device) = device(site);
    let twice = by_secret(&old, "s1");
    let first = device.request(&twice);
    // Both before either is answered, as a broker does that lost the acknowledgement of the first.
    let other = Ask { payload: json!({"client_secret": old, "state": "s2"}).to_string().into_bytes(), ..twice.clone() };
    device.send(&other);
    device.send(&other);
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let publish = device.next_publish();
        if publish.topic != other.topic.as_bytes() {
            answers.push(publish.payload);
        }
    }
    assert_eq!(answers[0], answers[1]);
    assert_ne!(answers[0], first.payload, "another request, another secret");
    let new: Value = serde_json::from_slice(&answers[1]).unwrap();
    let new = new["client_secret"].as_str().unwrap();
    site.keep_secret(new);
    assert!(!serves(&device, &new_secret(site, &first)), "nobody used it before the next was asked for");
    assert!(serves(&device, new));
    wait_for("the log line of the second", || {
        site.decisions_on("dev1", "credential").into_iter().find(|line| line["reason"] == "repeated")
    });
}

fn a_lost_answer_is_asked_for_again(site: &Site) {
    let (old, device) = device(site);
    let secrets: Vec<String> = ["a", "b", "c"].map(|state| new_secret(site, &device.request(&by_secret(&old, state)))).into();
    assert!(!serves(&device, &secrets[0]) && !serves(&device, &secrets[1]) && serves(&device, &secrets[2]));
    register_key(site);
    let device = device_with_key(site);
    for _ in 0..2 {
        let answer = body(&device.request(&by_key(&json!({"jwk": next_key().public()}))));
        assert_eq!(answer["kid"], next_key().kid(), "the same key again is no fault: {answer}");
    }
    assert!(signs(&device, &next_key()));
}

/// Makes `dev1` a client with the key of `register`.
fn register_key(site: &Site) {
    site.credgate(&["client", "remove", "dev1", "--yes"]);
    let file = site.path("dev1.jwk");
    std::fs::write(&file, serde_json::to_vec(key().public()).unwrap()).unwrap();
    site.credgate(&["client", "add", "dev1", "--scope", "telemetry:write", "--jwk-file", file.to_str().unwrap()]);
    if let Broker::Mosquitto(mosquitto) = &site.broker {
        mosquitto.set_password("dev1", MQTT_PASSWORD);
    }
    crate::assertions::wait_for_the_second_after_the_start(site);
}

fn a_new_secret_survives_sigkill_before_its_first_use(site: &Site) {
    let (old, device) = device(site);
    let new = new_secret(site, &device.request(&by_secret(&old, "s1")));
    site.stop("KILL");
    site.start();
    let device = match &site.broker {
        Broker::Mosquitto(_) => device,
        Broker::Embedded => Device::connect(site, "dev1", &old),
    };
    assert!(serves(&device, &old) && serves(&device, &new) && !serves(&device, &old));
}

/// Where the MQTT password is, once that is another than the secret: a Mosquitto hears nothing of a rotation.
fn mqtt_password_file(site: &Site) -> std::path::PathBuf {
    site.path("first.password")
}

/// The arguments of `device rotate` for a file of `dev1`.
fn rotation(site: &Site, flags: &[&str]) -> Vec<String> {
    let (broker, ca_file, password) = (format!("mqtts://localhost:{}", site.port()), site.ca_file(), mqtt_password_file(site));
    let mut arguments = vec!["device", "rotate", "--broker", &broker, "--ca-file", ca_file.to_str().unwrap(), "--client-id", "dev1"];
    arguments.extend(flags);
    if password.exists() {
        arguments.extend(["--mqtt-password-file", password.to_str().unwrap()]);
    }
    arguments.extend(["--output", "json"]);
    arguments.into_iter().map(str::to_owned).collect()
}

fn rotate(site: &Site, flags: &[&str]) -> Value {
    let arguments = rotation(site, flags);
    let told = site.credgate(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    serde_json::from_str(&told).unwrap()
}

/// The secret in the file of `dev1`, which was rotated.
fn secret_in_file(site: &Site) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let file = site.path("dev1.secret");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!site.path("dev1.secret.new").exists());
    let secret = std::fs::read_to_string(file).unwrap();
    site.keep_secret(&secret);
    secret
}

/// From now on the MQTT password of `dev1` is no longer its secret, on a broker that keeps its own.
fn keep_mqtt_password(site: &Site, first: &str) {
    if matches!(site.broker, Broker::Mosquitto(_)) {
        std::fs::write(mqtt_password_file(site), first).unwrap();
        crate::site::restrict(&mqtt_password_file(site));
    }
}

fn the_reference_device_rotates_its_secret(site: &Site) {
    let (first, device) = device(site);
    let file = site.path("dev1.secret");
    let file = ["--secret-file", file.to_str().unwrap()];
    let mut old = first.clone();
    for form in [["--format", "json", "--mqtt-version", "5"], ["--format", "cbor", "--mqtt-version", "3.1.1"]] {
        let told = rotate(site, &[&file[..], &form].concat());
        assert_eq!((&told["resumed"], &told["client_secret_expires_at"]), (&json!(false), &json!(0)), "{told}");
        assert_eq!(told["secret_file"], file[1]);
        let new = secret_in_file(site);
        assert_ne!(new, old);
        assert!(!serves(&device, &old) && serves(&device, &new));
        keep_mqtt_password(site, &first);
        old = new;
    }
}

fn the_reference_device_rotates_its_key(site: &Site) {
    site.define_policy();
    let (pem, jwk, password) = (site.path("dev1.pem"), site.path("dev1.jwk"), site.path("mqtt.password"));
    std::fs::write(&jwk, site.credgate(&["device", "keygen", "--key-file", pem.to_str().unwrap()])).unwrap();
    site.credgate(&["client", "add", "dev1", "--scope", "telemetry:write", "--jwk-file", jwk.to_str().unwrap()]);
    std::fs::write(&password, MQTT_PASSWORD).unwrap();
    crate::site::restrict(&password);
    let mut flags = vec!["--key-file", pem.to_str().unwrap(), "--issuer", ISSUER];
    let mut ways: Vec<&[&str]> =
        vec![&["--format", "json"], &["--format", "cbor", "--mqtt-version", "3.1.1"], &["--format", "cbor", "--cose", "--alg", "ES256"]];
    match &site.broker {
        Broker::Mosquitto(mosquitto) => {
            mosquitto.set_password("dev1", MQTT_PASSWORD);
            flags.extend(["--mqtt-password-file", password.to_str().unwrap()]);
            ways.push(&["--no-clock", "--alg", "EdDSA"]);
        }
        Broker::Embedded => crate::assertions::wait_for_the_second_after_the_start(site),
    }
    let mut kids = std::collections::BTreeSet::new();
    for way in ways {
        let told = rotate(site, &[&flags[..], way].concat());
        let kid = told["kid"].as_str().unwrap().to_owned();
        let shown = wait_for("the end of the rotation", || Some(show(site)).filter(|shown| shown.get("rotation").is_none()));
        assert_eq!(shown["kids"], json!([kid]), "{way:?}");
        assert!(kids.insert(kid) && !site.path("dev1.pem.new").exists());
    }
}

fn the_reference_device_goes_on_where_it_was_interrupted(site: &Site) {
    let (old, device) = device(site);
    let (file, next) = (site.path("dev1.secret"), site.path("dev1.secret.new"));
    let flags = ["--secret-file", file.to_str().unwrap()];
    let leave = |secret: &str| {
        std::fs::write(&next, secret).unwrap();
        crate::site::restrict(&next);
    };
    // Before the first use of the new one, after it, and with one that another request replaced.
    let first = new_secret(site, &device.request(&by_secret(&old, "a")));
    leave(&first);
    assert_eq!(rotate(site, &flags)["resumed"], true);
    assert_eq!(secret_in_file(site), first);
    keep_mqtt_password(site, &old);
    let second = new_secret(site, &device.request(&by_secret(&first, "b")));
    assert!(serves(&device, &second) && !serves(&device, &first));
    leave(&second);
    assert_eq!(rotate(site, &flags)["resumed"], true);
    assert_eq!(secret_in_file(site), second);
    let lost = new_secret(site, &device.request(&by_secret(&second, "c")));
    new_secret(site, &device.request(&by_secret(&second, "d")));
    for left in [lost.as_str(), ""] {
        leave(left);
        assert_eq!(rotate(site, &flags)["resumed"], false, "{left:?}");
        let new = secret_in_file(site);
        assert!(new != left && serves(&device, &new));
    }
}

fn the_reference_device_keeps_what_serves_if_its_disk_is_full(site: &Site) {
    let (old, device) = device(site);
    let file = site.path("dev1.secret");
    let flags = ["--secret-file", file.to_str().unwrap()];
    // No file can grow, and that is an error instead of a signal.
    let output = std::process::Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 0; exec "$0" "$@""#, crate::site::CREDGATE])
        .args(rotation(site, &flags))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{told}");
    assert!(told.contains("the old secret serves"), "{told}");
    assert_eq!(secret_in_file(site), old);
    assert!(serves(&device, &old) && show(site)["rotation"]["started_by"] == "client");
    assert_eq!(rotate(site, &flags)["resumed"], false);
    assert!(serves(&device, &secret_in_file(site)) && !serves(&device, &old));
}

#[cfg(feature = "embedded-broker")]
#[test]
fn deny_what_the_reference_device_cannot_rotate() {
    let site = &Site::embedded();
    let (secret, _) = device(site);
    let (file, wrong) = (site.path("dev1.secret"), site.path("wrong.secret"));
    let run = |flags: &[&str]| {
        let arguments = rotation(site, flags);
        site.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).status.code()
    };
    std::fs::write(&wrong, "wrong").unwrap();
    crate::site::restrict(&wrong);
    assert_eq!(run(&[]), Some(64), "no file is named");
    assert_eq!(run(&["--secret-file", site.path("none").to_str().unwrap()]), Some(66));
    assert_eq!(run(&["--secret-file", wrong.to_str().unwrap()]), Some(77));
    std::fs::create_dir(site.path("dev1.secret.new")).unwrap();
    assert_ne!(run(&["--secret-file", file.to_str().unwrap()]), Some(0), "something is in the way");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
    assert!(show(site).get("rotation").is_none(), "nothing was asked for");
}

fn deny_during_the_operators_rotation(site: &Site) {
    let (old, device) = device(site);
    let file = site.path("new.secret");
    site.credgate(&["client", "rotate", "dev1", "--overlap", "1h", "--secret-file", file.to_str().unwrap()]);
    let answer = device.request(&by_secret(&old, "s1"));
    assert_refused(site, &answer, "temporarily_unavailable", "rotation_under_way");
    assert!((3_500..=3_600).contains(&body(&answer)["retry_after"].as_u64().unwrap()));
    let given_out = std::fs::read_to_string(file).unwrap();
    site.keep_secret(&given_out);
    let own = new_secret(site, &device.request(&by_secret(&given_out, "s1")));
    assert!(serves(&device, &own));
}

fn deny_another_method_and_unusable_keys(site: &Site) {
    let (secret, device) = device(site);
    let with = |jwk: &Value| ask("dev1", "json", json!({"client_secret": secret, "jwk": jwk}).to_string().into_bytes());
    let answer = device.request(&with(&serde_json::to_value(next_key().public()).unwrap()));
    assert_refused(site, &answer, "unauthorized_client", "other_auth_method");
    let private = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "AAAA"});
    assert_refused(site, &device.request(&with(&private)), "invalid_request", "unusable_key");
    register_key(site);
    let device = device_with_key(site);
    let known = device.request(&by_key(&json!({"jwk": key().public()})));
    assert_refused(site, &known, "invalid_request", "known_key");
}

fn deny_unbound_requests(site: &Site) {
    register(site, &[]);
    let device = device_with_key(site);
    for (rqh, reason) in [(Value::Null, "request_not_bound"), (json!(bound(Cbor::Map(BTreeMap::new()))), "wrong_request_binding")] {
        let changes = if rqh.is_null() { json!({}) } else { json!({"rqh": rqh}) };
        let members = json!({"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion(&changes), "jwk": next_key().public()});
        let answer = device.request(&ask("dev1", "json", members.to_string().into_bytes()));
        assert_refused(site, &answer, "invalid_client", reason);
    }
    assert_eq!(show(site)["keys"].as_array().unwrap().len(), 1);
}

/// Where an operator does not want it, on that link.
fn deny_where_it_is_switched_off(site: &Site) {
    let (secret, device) = device(site);
    assert_refused(site, &device.request(&by_secret(&secret, "s1")), "unauthorized_client", "self_service_off");
    assert!(!operations(&device).contains(&json!("credential")));
}

fn operations(device: &Device) -> Vec<Value> {
    device.subscribe("oauth2/v1/as/metadata");
    loop {
        let publish = device.next_publish();
        if publish.topic == "oauth2/v1/as/metadata" {
            return body(&publish)["mqtt_operations_supported"].as_array().unwrap().clone();
        }
    }
}

const SWITCHED_OFF: &str = "[credential]\nself-service = false\n";

#[cfg(feature = "embedded-broker")]
#[test]
fn deny_where_it_is_switched_off_on_the_embedded_broker() {
    deny_where_it_is_switched_off(&Site::embedded_with(SWITCHED_OFF));
}

#[test]
fn deny_where_it_is_switched_off_through_mosquitto() {
    deny_where_it_is_switched_off(&Site::mosquitto_with(SWITCHED_OFF, "trusted = true\n"));
}

#[test]
fn deny_secrets_through_an_untrusted_broker() {
    let site = &Site::mosquitto_with("", "");
    let (secret, device) = device(site);
    assert_refused(site, &device.request(&by_secret(&secret, "s1")), "invalid_client", "untrusted_broker");
    register_key(site);
    let device = device_with_key(site);
    assert!(operations(&device).contains(&json!("credential")));
    let unbound = RequestDigest::of(Operation::Credential, BTreeMap::new()).to_text();
    let members = json!({"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion(&json!({"rqh": unbound}))});
    let answer = device.request(&ask("dev1", "json", members.to_string().into_bytes()));
    assert_refused(site, &answer, "unauthorized_client", "untrusted_broker");
    let answer = body(&device.request(&by_key(&json!({"jwk": next_key().public()}))));
    assert_eq!(answer["kid"], next_key().kid(), "{answer}");
}
