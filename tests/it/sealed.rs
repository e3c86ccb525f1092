//! Tokens sealed for their device, opened by implementations that are not ours, and a broker that reads, keeps and changes everything.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use credgate::jose::{self, EncryptionKey};
use credgate::oauth::{GrantType, Operation, Param, RequestDigest};
use rumqttc::v5::mqttbytes::v5::Publish;
use serde_cbor::Value as Cbor;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::assertions::{ISSUER, MQTT_PASSWORD, ask, assertion, cbor, device, register, wait_for_the_second_after_the_start};
use crate::device::{Ask, Device, body};
use crate::devices::on_both_links;
use crate::site::{Broker, Site, restrict, wait_for};
use crate::verifier;

on_both_links!(
    a_token_is_sealed_as_a_jwe,
    a_token_is_sealed_as_a_cose_encrypt,
    the_reference_device_opens_its_token,
    deny_sealing_without_a_bound_assertion
);

const REQUEST: &str = "oauth2/v1/client/dev1/token/json";

/// A private key of a device, for one request.
struct AnswerKey(Zeroizing<[u8; 32]>);

impl AnswerKey {
    fn new(seed: u8) -> Self {
        Self(Zeroizing::new([seed; 32]))
    }

    fn public(&self) -> Value {
        serde_json::to_value(EncryptionKey::of(&self.0).jwk()).unwrap()
    }

    fn private(&self) -> Value {
        let mut jwk = self.public();
        jwk["d"] = URL_SAFE_NO_PAD.encode(*self.0).into();
        jwk
    }

    /// The members of a request whose token is to be sealed, and its assertion.
    fn members(&self, more: &Value) -> (Value, Value) {
        let mut bound = BTreeMap::from([
            (Param::JweKey, EncryptionKey::of(&self.0).jwk()),
            (Param::GrantType, Cbor::Integer(GrantType::ClientCredentials.number().into())),
        ]);
        bound.extend(more["scope"].as_str().map(|scope| (Param::Scope, Cbor::Text(scope.into()))));
        let mut members = json!({"jwe_key": self.public()});
        members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (members, json!({"rqh": RequestDigest::of(Operation::Token, bound).to_text()}))
    }

    fn ask(&self, more: &Value) -> Ask {
        let (members, bound) = self.members(more);
        ask(&assertion(&bound), &members)
    }

    /// The claims of the token of an answer.
    fn open(&self, answer: &Value) -> Value {
        let opened = verifier::open_jwe(&self.private(), answer["access_token"].as_str().unwrap());
        jose::decode_unverified(opened["token"].as_str().unwrap()).unwrap().1
    }
}

fn a_token_is_sealed_as_a_jwe(site: &Site) {
    register(site, &[]);
    let key = AnswerKey::new(1);
    let answer = body(&device(site).request(&key.ask(&json!({"scope": "telemetry:write"}))));
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(300)), "{answer}");
    let sealed = answer["access_token"].as_str().unwrap();
    let opened = verifier::open_jwe(&key.private(), sealed);
    let header = &opened["header"];
    assert_eq!((&header["alg"], &header["enc"], &header["cty"]), (&json!("ECDH-ES"), &json!("A256GCM"), &json!("JWT")));
    let (_, claims) = jose::decode_unverified(opened["token"].as_str().unwrap()).unwrap();
    assert_eq!((&claims["sub"], &claims["scope"]), (&json!("dev1"), &json!("telemetry:write")));
}

fn a_token_is_sealed_as_a_cose_encrypt(site: &Site) {
    register(site, &[]);
    let key = AnswerKey::new(2);
    let cose_key = EncryptionKey::of(&key.0).cose_key();
    let grant_type = Cbor::Integer(GrantType::ClientCredentials.number().into());
    let bound = RequestDigest::of(Operation::Token, [(Param::JweKey, cose_key.clone()), (Param::GrantType, grant_type)].into());
    let assertion = assertion(&json!({"rqh": bound.to_text()}));
    let members = BTreeMap::from([(-65_537, Cbor::Text(assertion)), (-65_543, cose_key)]);
    let answer = device(site).request(&Ask::raw("dev1", "cbor", serde_cbor::to_vec(&members).unwrap()));
    let members = cbor(&answer.payload);
    let Some(Cbor::Bytes(sealed)) = members.get(&1) else { panic!("{members:?}") };
    let opened = verifier::open_cose(&key.private(), &URL_SAFE_NO_PAD.encode(sealed), "application/jwt");
    let (_, claims) = jose::decode_unverified(opened["token"].as_str().unwrap()).unwrap();
    assert_eq!(claims["sub"], "dev1");
}

/// What the reference device prints when it asks for a sealed token.
fn reference(site: &Site, more: &[&str]) -> String {
    let pem = site.path("dev1.pem");
    if !pem.exists() {
        site.define_policy();
        let jwk = site.path("dev1.jwk");
        std::fs::write(&jwk, site.credgate(&["device", "keygen", "--key-file", pem.to_str().unwrap()])).unwrap();
        site.credgate(&["client", "add", "dev1", "--scope", "telemetry:write", "--jwk-file", jwk.to_str().unwrap()]);
        std::fs::write(site.path("password"), MQTT_PASSWORD).unwrap();
        restrict(&site.path("password"));
        if let Broker::Mosquitto(mosquitto) = &site.broker {
            mosquitto.set_password("dev1", MQTT_PASSWORD);
        }
    }
    let (broker, ca_file, password) = (format!("mqtts://localhost:{}", site.port()), site.ca_file(), site.path("password"));
    let fixed = ["device", "token", "--sealed", "--client-id", "dev1", "--issuer", ISSUER, "--broker", &broker];
    let files = ["--ca-file", ca_file.to_str().unwrap(), "--key-file", pem.to_str().unwrap()];
    let password = ["--mqtt-password-file", password.to_str().unwrap()];
    let password = if matches!(site.broker, Broker::Mosquitto(_)) { &password[..] } else { &[] };
    let output = site.run_showing_secrets(&[&fixed[..], &files, password, more].concat());
    assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn the_reference_device_opens_its_token(site: &Site) {
    for way in [
        &["--verify"][..],
        &["--verify", "--format", "cbor"],
        &["--verify", "--mqtt-version", "3.1.1", "--pop"],
        &["--verify", "--format", "cbor", "--cose"],
    ] {
        let (_, claims) = jose::decode_unverified(&reference(site, way)).unwrap();
        assert_eq!(claims["sub"], "dev1", "{way:?}");
    }
    site.credgate(&["resource-server", "edit", "telemetry", "--token-format", "cwt"]);
    assert!(reference(site, &["--verify"]).starts_with("2D3S"), "the tags of a CWT in base64url");
    assert!(reference(site, &["--verify", "--format", "cbor"]).starts_with("2D3S"));
}

fn deny_sealing_without_a_bound_assertion(site: &Site) {
    register(site, &[]);
    let (device, key) = (device(site), AnswerKey::new(3));
    let (members, bound) = key.members(&json!({}));
    let unbound = body(&device.request(&ask(&assertion(&json!({})), &members)));
    assert_eq!(unbound["error"], "invalid_client");
    // Of another key, of no key, and of one that is for something else.
    let others = [AnswerKey::new(4).members(&json!({})).0, json!({})];
    for members in others {
        let answer = body(&device.request(&ask(&assertion(&bound), &members)));
        assert_eq!(answer["error"], "invalid_client", "{members}");
    }
    // By a secret.
    let secret = site.add_client("dev2", "telemetry:write");
    let by_secret = Device::connect(site, "dev2", &secret).request(&Ask::json("dev2", &secret, &json!({"jwe_key": key.public()})));
    let answer = body(&by_secret);
    assert_eq!(answer["error"], "invalid_request", "{answer}");
    assert!(answer["error_description"].as_str().unwrap().contains("rqh"), "{answer}");
}

/// The broker's own view of everything, and its hands.
struct Malicious<'a> {
    site: &'a Site,
    device: Device,
    seen: Vec<Publish>,
}

impl<'a> Malicious<'a> {
    fn new(site: &'a Site) -> Self {
        let Broker::Mosquitto(mosquitto) = &site.broker else { panic!("it has a broker of its own") };
        mosquitto.set_operator("operator", "of-the-broker");
        let device = Device::connect(site, "operator", "of-the-broker");
        device.subscribe("#");
        Self { site, device, seen: Vec::new() }
    }

    /// Everything up to the answer to a request, which is the last of it.
    fn watch(&mut self) -> Publish {
        loop {
            let message = self.device.next_publish();
            let is_answer = message.topic.ends_with(b"/accepted") || message.topic.ends_with(b"/rejected") || is_reply(&message);
            self.seen.push(message.clone());
            if is_answer {
                return message;
            }
        }
    }

    /// Delivers a request of its own making in the device's name.
    fn deliver(&mut self, payload: &[u8]) -> Value {
        self.device.send(&Ask { topic: REQUEST.into(), ..Ask::raw("dev1", "json", payload.to_vec()) });
        let answer = self.watch();
        body(&answer)
    }
}

fn is_reply(message: &Publish) -> bool {
    std::str::from_utf8(&message.topic).unwrap().contains("/reply/")
}

#[test]
fn a_malicious_broker_holds_nothing_usable() {
    let site = Site::mosquitto_with("", "trusted = false\n");
    let mut broker = Malicious::new(&site);

    // It records. What it has of a device that says who it is by a key and wants its answer sealed is no token and no secret.
    wait_for_the_second_after_the_start(&site);
    let token = reference(&site, &[]);
    broker.watch();
    let recorded = std::mem::take(&mut broker.seen);
    assert!(recorded.iter().any(|message| message.topic == REQUEST) && recorded.iter().any(is_reply), "{recorded:?}");
    for message in &recorded {
        let text = String::from_utf8_lossy(&message.payload);
        assert!(!text.contains(&token), "{text}");
        let answered = serde_json::from_str::<Value>(&text).ok().and_then(|answer| Some(answer["access_token"].as_str()?.to_owned()));
        // Five parts, and not the three of a token that is only signed.
        assert!(answered.is_none_or(|sealed| sealed.split('.').count() == 5 && jose::decode_unverified(&sealed).is_err()), "{text}");
    }

    // It replays: the same answer again, sealed for the same device, or none.
    let request = recorded.iter().find(|message| message.topic == REQUEST).unwrap();
    let first: Value = serde_json::from_slice(&recorded.iter().find(|message| is_reply(message)).unwrap().payload).unwrap();
    assert_eq!(broker.deliver(&request.payload), first);

    // It swaps: a key of its own, in a request that it withholds, or no key at all.
    broker.site.credgate(&["client", "remove", "dev1", "--yes"]);
    crate::site::wait_for_the_next_second();
    std::fs::write(site.path("own.jwk"), serde_json::to_vec(crate::assertions::key().public()).unwrap()).unwrap();
    let own = site.path("own.jwk");
    site.credgate(&["client", "add", "dev1", "--scope", "telemetry:write telemetry:read", "--jwk-file", own.to_str().unwrap()]);
    let key = AnswerKey::new(5);
    let withheld = || -> Value { serde_json::from_slice(&key.ask(&json!({})).payload).unwrap() };
    let mut swapped = withheld();
    swapped["jwe_key"] = AnswerKey::new(6).public();
    assert_eq!(broker.deliver(swapped.to_string().as_bytes())["error"], "invalid_client");
    let mut stripped = withheld();
    stripped.as_object_mut().unwrap().remove("jwe_key");
    assert_eq!(broker.deliver(stripped.to_string().as_bytes())["error"], "invalid_client");
    // More than was asked for is no better.
    let mut widened = withheld();
    widened["scope"] = "telemetry:read".into();
    assert_eq!(broker.deliver(widened.to_string().as_bytes())["error"], "invalid_client");

    // It withholds, and delivers when the assertion has expired.
    let (members, mut claims) = key.members(&json!({}));
    let now = credgate::clock::UnixTime::from(std::time::SystemTime::now());
    claims["exp"] = json!(now.saturating_add(1));
    let late = ask(&assertion(&claims), &members);
    wait_for("the end of the assertion", || {
        (credgate::clock::UnixTime::from(std::time::SystemTime::now()) > now.saturating_add(1)).then_some(())
    });
    assert_eq!(broker.deliver(&late.payload)["error"], "invalid_client");

    // It reorders, and gives each answer to the other request: each opens by the key of its own request alone.
    let (first, second) = (AnswerKey::new(7), AnswerKey::new(8));
    let requests = [first.ask(&json!({"scope": "telemetry:write"})), second.ask(&json!({"scope": "telemetry:read"}))];
    let of_second = broker.deliver(&requests[1].payload);
    let of_first = broker.deliver(&requests[0].payload);
    assert_eq!(
        (first.open(&of_first)["scope"].clone(), second.open(&of_second)["scope"].clone()),
        ("telemetry:write".into(), "telemetry:read".into())
    );
    for (key, answer) in [(&first, &of_second), (&second, &of_first)] {
        let foreign = std::panic::catch_unwind(|| verifier::open_jwe(&key.private(), answer["access_token"].as_str().unwrap()));
        assert!(foreign.is_err(), "an answer to another request was opened");
    }

    // It changes an answer: nothing of it opens.
    let sealed = of_first["access_token"].as_str().unwrap();
    let mut changed = sealed.to_owned().into_bytes();
    let at = changed.len() - 30;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let opened = std::panic::catch_unwind(|| verifier::open_jwe(&first.private(), std::str::from_utf8(&changed).unwrap()));
    assert!(opened.is_err(), "a changed answer was opened");
}
