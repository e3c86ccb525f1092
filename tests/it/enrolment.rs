//! Devices that register themselves, on the embedded broker and through a real Mosquitto.

use std::collections::BTreeMap;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Publish, SubscribeReasonCode};
use serde_cbor::Value as Cbor;
use serde_json::{Value, json};

use crate::device::{Ask, Device, body};
use crate::devices::on_both_links;
use crate::site::{Broker, CREDGATE, Site, wait_for};

on_both_links!(
    a_device_registers_for_a_secret,
    a_device_registers_in_cbor,
    a_device_registers_by_a_mac,
    the_reference_device_registers_and_gets_a_token,
    the_same_key_is_the_same_client_also_after_sigkill,
    a_request_delivered_twice_is_one_registration,
    n_uses_are_n_clients,
    exactly_one_device_wins_the_last_use,
    a_released_device_registers_once_more,
    registrations_survive_sigkill_whole,
    deny_tokens_with_one_answer,
    deny_other_serial_numbers,
    deny_unusable_metadata,
    deny_a_blocked_device,
);

/// A name as devices choose it, and the password of a user of Mosquitto that has it.
const NAME: &str = "unit-4f2a";
const PASSWORD: &str = "factory-password";

struct Enrolment {
    id: String,
    token: String,
    file: String,
}

/// A template for both methods, called `pump`.
fn define_template(site: &Site) {
    site.define_policy();
    let flags = ["--scope", "telemetry:write", "--method", "private_key_jwt", "--method", "client_secret_post"];
    site.credgate(&[&["enrolment", "template", "add", "pump", "--client-id", "pump-{serial}"], &flags[..]].concat());
}

fn enrol(site: &Site, flags: &[&str]) -> Enrolment {
    let number = std::fs::read_dir(site.directory.path()).unwrap().count();
    let file = site.path(&format!("enrolment-{number}.token")).to_str().unwrap().to_owned();
    let add = ["enrolment", "add", "--template", "pump", "--token-file", &file, "--output", "json"];
    let expires: &[&str] = if flags.contains(&"--expires") { &[] } else { &["--expires", "1h"] };
    let made: Value = serde_json::from_str(&site.credgate(&[&add, expires, flags].concat())).unwrap();
    let token = std::fs::read_to_string(&file).unwrap();
    site.keep_secret(&token);
    Enrolment { id: made["id"].as_str().unwrap().to_owned(), token, file }
}

fn enrolment(site: &Site, id: &str) -> Value {
    serde_json::from_str(&site.credgate(&["enrolment", "show", id, "--output", "json"])).unwrap()
}

fn client(site: &Site, id: &str) -> Value {
    serde_json::from_str(&site.credgate(&["client", "show", id, "--output", "json"])).unwrap()
}

/// A device that has nothing but a name and the token of an enrolment, and listens to the answers.
fn device(site: &Site, name: &str, token: &str) -> Device {
    let password = match &site.broker {
        Broker::Mosquitto(mosquitto) => {
            mosquitto.set_password(name, PASSWORD);
            PASSWORD
        }
        Broker::Embedded => token,
    };
    let device = Device::connect(site, name, password);
    let own = format!("oauth2/v1/client/{name}/register/#");
    assert!(matches!(device.subscribe(&own), SubscribeReasonCode::Success(_)));
    device
}

fn ask(name: &str, format: &str, payload: Vec<u8>) -> Ask {
    Ask { topic: format!("oauth2/v1/client/{name}/register/{format}"), ..Ask::raw(name, format, payload) }
}

fn by_token(name: &str, token: &str, members: &Value) -> Ask {
    let mut payload = json!({"initial_access_token": token});
    payload.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    ask(name, "json", payload.to_string().into_bytes())
}

fn answer(device: &Device, ask: &Ask) -> Publish {
    device.send(ask);
    loop {
        let publish = device.next_publish();
        if publish.topic != ask.topic.as_bytes() {
            return publish;
        }
    }
}

fn jwks(seed: u8) -> Value {
    let key = credgate::jose::SigningKey::from_seed(&zeroize::Zeroizing::new([seed; 32]));
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": serde_json::to_value(key.public()).unwrap()["x"]}]})
}

fn accepted(site: &Site, publish: &Publish) -> Value {
    let members = body(publish);
    assert!(publish.topic.ends_with(b"/register/json/accepted"), "{members}");
    if let Some(secret) = members["client_secret"].as_str() {
        site.keep_secret(secret);
    }
    members
}

fn assert_refused(site: &Site, publish: &Publish, error: &str, reason: &str) {
    let members = body(publish);
    assert!(publish.topic.ends_with(b"/register/json/rejected"), "{members}");
    assert_eq!(members["error"], error, "{members}");
    if error == "invalid_token" {
        assert_eq!(members["error_description"], "the enrolment does not let this device register");
    }
    wait_for("a log line of the decision", || {
        site.decisions_on(NAME, "register").pop().filter(|line| line["reason"] == reason && line["outcome"] == "rejected")
    });
}

fn a_device_registers_for_a_secret(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--uses", "1"]);
    let unit = device(site, NAME, &enrolment.token);
    let members = json!({"serial_number": "17", "client_name": "Pump 17", "software_id": "pump", "software_version": "1.2", "state": "s1"});
    let registered = accepted(site, &answer(&unit, &by_token(NAME, &enrolment.token, &members)));
    let secret = registered["client_secret"].as_str().unwrap();
    assert_eq!((&registered["client_id"], secret.len(), &registered["client_secret_expires_at"]), (&json!("pump-17"), 43, &json!(0)));
    assert_eq!(
        (&registered["scope"], &registered["token_endpoint_auth_method"]),
        (&json!("telemetry:write"), &json!("client_secret_post"))
    );
    assert!(registered["client_id_issued_at"].is_u64() && registered["state"] == "s1", "{registered}");
    let shown = client(site, "pump-17");
    assert_eq!((&shown["client_name"], &shown["software_version"]), (&json!("Pump 17"), &json!("1.2")));
    assert_eq!((&shown["enrolment"], &shown["serial_number"]), (&json!(enrolment.id), &json!("17")));
    let known = crate::enrolment::enrolment(site, &enrolment.id);
    assert_eq!((&known["used"], &known["status"]), (&json!(1), &json!("used_up")));
    assert_eq!((&known["devices"][0]["serial"], &known["devices"][0]["client_id"]), (&json!("17"), &json!("pump-17")));
    if let Broker::Mosquitto(mosquitto) = &site.broker {
        mosquitto.set_password("pump-17", secret);
    }
    let token = Device::connect(site, "pump-17", secret).request(&Ask::json("pump-17", secret, &json!({})));
    assert!(body(&token)["access_token"].is_string(), "{token:?}");
    let line = site.decisions_on(NAME, "register").pop().unwrap();
    assert_eq!((&line["outcome"], &line["registered"], &line["enrolment"]), (&json!("accepted"), &json!("pump-17"), &json!(enrolment.id)));
}

fn a_device_registers_in_cbor(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--uses", "2"]);
    let unit = device(site, NAME, &enrolment.token);
    let key = credgate::jose::SigningKey::from_p256_scalar(&zeroize::Zeroizing::new([7; 32])).unwrap();
    for (serial, jwks) in [("17", None), ("18", Some(credgate::jose::cose::cose_key(key.public())))] {
        let mut members =
            BTreeMap::from([(-65_553, Cbor::Bytes(enrolment.token.clone().into_bytes())), (-65_557, Cbor::Text(serial.into()))]);
        members.extend(jwks.clone().map(|key| (-65_556, key)));
        let publish = answer(&unit, &ask(NAME, "cbor", serde_cbor::to_vec(&members).unwrap()));
        assert_eq!(publish.topic, format!("oauth2/v1/client/{NAME}/register/cbor/accepted"), "{publish:?}");
        let answered: BTreeMap<i64, Cbor> = serde_cbor::from_slice(&publish.payload).unwrap();
        assert_eq!(answered[&24], Cbor::Text(format!("pump-{serial}")));
        assert_eq!(answered[&9], Cbor::Text("telemetry:write".into()));
        assert_eq!(answered.contains_key(&25), jwks.is_none());
        if let Some(Cbor::Bytes(secret)) = answered.get(&25) {
            site.keep_secret(std::str::from_utf8(secret).unwrap());
        }
    }
    assert_eq!(client(site, "pump-18")["token_endpoint_auth_method"], "private_key_jwt");
}

fn run_device(site: &Site, arguments: &[&str]) -> std::process::Output {
    let broker = format!("mqtts://localhost:{}", site.port());
    let ca_file = site.ca_file();
    let own = ["--broker", &broker, "--ca-file", ca_file.to_str().unwrap(), "--output", "json"];
    let output = std::process::Command::new(CREDGATE).arg("device").args(arguments).args(own).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("eyJ"), "no token is printed");
    output
}

fn register(site: &Site, arguments: &[&str]) -> Value {
    let output = run_device(site, &[&["register"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What else the reference device needs on a Mosquitto, where it has a login under its name.
fn login(site: &Site, name: &str) -> Vec<String> {
    let Broker::Mosquitto(mosquitto) = &site.broker else { return Vec::new() };
    mosquitto.set_password(name, PASSWORD);
    let file = site.path("factory.password");
    std::fs::write(&file, PASSWORD).unwrap();
    crate::site::restrict(&file);
    ["--name", name, "--mqtt-password-file", file.to_str().unwrap()].map(str::to_owned).to_vec()
}

fn the_reference_device_registers_and_gets_a_token(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--uses", "4"]);
    let login = login(site, NAME);
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    for (number, wire) in [("1", ["--format", "json", "--mqtt-version", "5"]), ("2", ["--format", "cbor", "--mqtt-version", "3.1.1"])] {
        let (key, secret) = (site.path(&format!("key{number}.pem")), site.path(&format!("secret{number}")));
        let (key, secret) = (key.to_str().unwrap(), secret.to_str().unwrap());
        let common = [&["--token-file", &enrolment.file], &wire[..], &login].concat();
        let (key_serial, secret_serial) = (format!("k{number}"), format!("s{number}"));
        let by_key = [&common[..], &["--key-file", key, "--serial", &key_serial]].concat();
        let registered = register(site, &by_key);
        let client_id = registered["client_id"].as_str().unwrap();
        assert_eq!((client_id, &registered["issuer"]), (format!("pump-k{number}").as_str(), &json!("https://credgate.local")));
        assert_eq!(register(site, &by_key)["client_id"], client_id, "it may be repeated");
        let mqtt = match &site.broker {
            Broker::Mosquitto(mosquitto) => {
                mosquitto.set_password(client_id, PASSWORD);
                vec!["--mqtt-password-file".to_owned(), site.path("factory.password").to_str().unwrap().to_owned()]
            }
            Broker::Embedded => Vec::new(),
        };
        let mqtt: Vec<&str> = mqtt.iter().map(String::as_str).collect();
        let ask = ["token", "--client-id", client_id, "--key-file", key, "--issuer", "https://credgate.local"];
        // An assertion of the second in which the gateway started does not open a session.
        wait_for("a token", || run_device(site, &[&ask, &wire[..], &mqtt].concat()).status.success().then_some(()));
        let for_secret = [&common[..], &["--secret-file", secret, "--serial", &secret_serial]].concat();
        let registered = register(site, &for_secret);
        let client_id = registered["client_id"].as_str().unwrap();
        let kept = std::fs::read_to_string(secret).unwrap();
        site.keep_secret(&kept);
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600);
        if let Broker::Mosquitto(mosquitto) = &site.broker {
            mosquitto.set_password(client_id, &kept);
        }
        let token = run_device(site, &[&["token", "--client-id", client_id, "--secret-file", secret], &wire[..]].concat());
        assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
    }
    assert_eq!(crate::enrolment::enrolment(site, &enrolment.id)["used"], 4);
    let refused = run_device(
        site,
        &[&["register", "--token-file", &enrolment.file, "--key-file", site.path("k").to_str().unwrap()], &login[..]].concat(),
    );
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(77) && told.contains("invalid_token"), "{told}");
}

fn a_device_registers_by_a_mac(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--serial", "17"]);
    let Broker::Mosquitto(_) = &site.broker else {
        // The embedded broker sees the token at CONNECT; the MAC serves there as well.
        let request = credgate::device::RegisterQuery {
            format: credgate::oauth::Format::Json,
            token: credgate::oauth::Secret::new(enrolment.token.clone().into_bytes()),
            by_mac: true,
            key: Some(credgate::jose::SigningKey::from_seed(&zeroize::Zeroizing::new([7; 32])).public().clone()),
            serial_number: "17".parse().ok(),
            client_name: String::new(),
            software_id: String::new(),
            software_version: String::new(),
        };
        let tls = credgate::tls::client_config(Some(&site.ca_file()), None).unwrap();
        let options = credgate::device::DeviceOptions {
            host: "localhost".into(),
            port: site.port(),
            tls,
            version: credgate::device::MqttVersion::V5,
            topics: credgate::mqtt::Topics::new("oauth2/v1").unwrap(),
            client_id: NAME.parse().unwrap(),
            credential: credgate::device::Credential::Secret(credgate::oauth::Secret::new(enrolment.token.clone().into_bytes())),
            mqtt_username: None,
            mqtt_password: None,
            mqtt_client_id: None,
            qos: credgate::mqtt::QoS::AtLeastOnce,
            timeout: crate::site::PATIENCE,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let registered = runtime.block_on(async {
            let mut session = credgate::device::Session::connect(&options).await.unwrap();
            let registered = session.register(&request).await.unwrap();
            session.disconnect().await;
            registered
        });
        assert_eq!(registered.client_id.as_str(), "pump-17");
        return;
    };
    let (login, key) = (login(site, NAME), site.path("key.pem"));
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    let common = ["--token-file", &enrolment.file, "--key-file", key.to_str().unwrap(), "--serial", "17", "--mac"];
    assert_eq!(register(site, &[&common[..], &login].concat())["client_id"], "pump-17");
}

fn the_same_key_is_the_same_client_also_after_sigkill(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--uses", "1"]);
    let ask = |state: &str| by_token(NAME, &enrolment.token, &json!({"serial_number": "17", "jwks": jwks(7), "state": state}));
    let unit = device(site, NAME, &enrolment.token);
    let first = accepted(site, &answer(&unit, &ask("1")));
    let second = accepted(site, &answer(&unit, &ask("2")));
    assert_eq!((&first["client_id"], &first["client_id_issued_at"]), (&second["client_id"], &second["client_id_issued_at"]));
    drop(unit);
    assert!(site.stop("KILL").code().is_none());
    site.start();
    let unit = device(site, NAME, &enrolment.token);
    assert_eq!(accepted(site, &answer(&unit, &ask("3")))["client_id"], first["client_id"]);
    assert_eq!(crate::enrolment::enrolment(site, &enrolment.id)["used"], 1);
}

fn a_request_delivered_twice_is_one_registration(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--uses", "2"]);
    let unit = device(site, NAME, &enrolment.token);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let ask = Ask { qos, ..by_token(NAME, &enrolment.token, &json!({"serial_number": format!("{qos:?}")})) };
        let (first, second) = (answer(&unit, &ask), answer(&unit, &ask));
        accepted(site, &first);
        assert_eq!((&first.payload, &first.topic), (&second.payload, &second.topic));
    }
    assert_eq!(crate::enrolment::enrolment(site, &enrolment.id)["used"], 2);
}

fn n_uses_are_n_clients(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--uses", "3"]);
    let unit = device(site, NAME, &enrolment.token);
    for number in 0..3 {
        accepted(site, &answer(&unit, &by_token(NAME, &enrolment.token, &json!({"serial_number": number.to_string()}))));
    }
    let refused = answer(&unit, &by_token(NAME, &enrolment.token, &json!({"serial_number": "3"})));
    assert_refused(site, &refused, "invalid_token", "enrolment_used_up");
    assert_eq!(crate::enrolment::enrolment(site, &enrolment.id)["used"], 3);
    let listed: Value = serde_json::from_str(&site.credgate(&["client", "list", "--output", "json"])).unwrap();
    assert_eq!(listed["clients"].as_array().unwrap().len(), 3);
}

fn exactly_one_device_wins_the_last_use(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--uses", "1"]);
    let names: Vec<String> = (0..4).map(|number| format!("unit-{number}")).collect();
    let units: Vec<Device> = names.iter().map(|name| device(site, name, &enrolment.token)).collect();
    for (name, unit) in names.iter().zip(&units) {
        unit.send(&by_token(name, &enrolment.token, &json!({"serial_number": name})));
    }
    let won = names.iter().zip(&units).filter(|(name, unit)| {
        let publish = loop {
            let publish = unit.next_publish();
            if publish.topic.ends_with(b"ed") {
                break publish;
            }
        };
        match body(&publish)["client_id"].as_str() {
            Some(id) => {
                site.keep_secret(body(&publish)["client_secret"].as_str().unwrap());
                id == format!("pump-{name}")
            }
            None => {
                assert_eq!(body(&publish)["error"], "invalid_token");
                false
            }
        }
    });
    assert_eq!(won.count(), 1);
    assert_eq!(crate::enrolment::enrolment(site, &enrolment.id)["used"], 1);
}

fn a_released_device_registers_once_more(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--serial", "17"]);
    let unit = device(site, NAME, &enrolment.token);
    let ask = |state: &str| by_token(NAME, &enrolment.token, &json!({"serial_number": "17", "state": state}));
    let first = accepted(site, &answer(&unit, &ask("1")));
    assert_refused(site, &answer(&unit, &ask("2")), "invalid_token", "device_enrolled");
    let unsure = site.run(&["enrolment", "release", &enrolment.id, "serial:17"]);
    assert_eq!(unsure.status.code(), Some(64), "asked for confirmation, and there is nobody to ask");
    let released = site.credgate(&["enrolment", "release", &enrolment.id, "serial:17", "--yes"]);
    assert!(released.contains("client pump-17 was removed"), "{released}");
    let second = accepted(site, &answer(&unit, &ask("3")));
    assert_eq!(second["client_id"], first["client_id"]);
    assert_ne!(second["client_secret"], first["client_secret"]);
    assert_eq!(crate::enrolment::enrolment(site, &enrolment.id)["used"], 1);
}

fn registrations_survive_sigkill_whole(site: &Site) {
    const ROUNDS: usize = 4;
    define_template(site);
    let enrolment = enrol(site, &["--uses", "10000"]);
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let unit = device(site, NAME, &enrolment.token);
        let mut number = 0;
        // More are on their way than were answered when the process dies.
        let mut send = || {
            let serial = format!("r{round}-{number}");
            unit.send(&by_token(NAME, &enrolment.token, &json!({"serial_number": serial, "state": serial, "jwks": jwks(7)})));
            number += 1;
        };
        for _ in 0..8 {
            send();
        }
        for _ in 0..=round * 3 {
            let publish = loop {
                let publish = unit.next_publish();
                if publish.topic.ends_with(b"ed") {
                    break publish;
                }
            };
            acknowledged.push(accepted(site, &publish)["client_id"].as_str().unwrap().to_owned());
            send();
        }
        assert!(site.stop("KILL").code().is_none());
        drop(unit);
        site.start();
        let known = crate::enrolment::enrolment(site, &enrolment.id);
        let devices = known["devices"].as_array().unwrap();
        let listed: Value = serde_json::from_str(&site.credgate(&["client", "list", "--output", "json"])).unwrap();
        let clients: Vec<&str> = listed["clients"].as_array().unwrap().iter().map(|client| client["client_id"].as_str().unwrap()).collect();
        assert_eq!((known["used"].as_u64().unwrap() as usize, devices.len()), (clients.len(), clients.len()), "uses, devices and clients");
        assert!(acknowledged.iter().all(|id| clients.contains(&id.as_str())), "{acknowledged:?} {clients:?}");
    }
}

fn deny_tokens_with_one_answer(site: &Site) {
    define_template(site);
    let (open, expired, revoked) =
        (enrol(site, &["--uses", "1"]), enrol(site, &["--uses", "1", "--expires", "1s"]), enrol(site, &["--uses", "1"]));
    let unit = device(site, NAME, &open.token);
    site.credgate(&["enrolment", "revoke", &revoked.id, "--yes"]);
    wait_for("the end of the enrolment", || (crate::enrolment::enrolment(site, &expired.id)["status"] == "expired").then_some(()));
    let mut forged = open.token.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    let removed = enrol(site, &["--uses", "1"]);
    site.credgate(&["enrolment", "remove", &removed.id, "--yes"]);
    for (token, reason) in [
        (expired.token.as_str(), "enrolment_expired"),
        (&revoked.token, "enrolment_revoked"),
        (&removed.token, "unknown_enrolment"),
        (&forged, "wrong_enrolment_token"),
        ("no token", "unknown_enrolment"),
    ] {
        let refused = answer(&unit, &by_token(NAME, token, &json!({"serial_number": "17"})));
        assert_refused(site, &refused, "invalid_token", reason);
    }
    accepted(site, &answer(&unit, &by_token(NAME, &open.token, &json!({"serial_number": "17"}))));
}

fn deny_other_serial_numbers(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--serial", "17", "--serial", "18"]);
    let unit = device(site, NAME, &enrolment.token);
    for members in [json!({"serial_number": "19"}), json!({}), json!({"jwks": jwks(7)})] {
        assert_refused(site, &answer(&unit, &by_token(NAME, &enrolment.token, &members)), "invalid_token", "serial_not_allowed");
    }
    site.credgate(&["enrolment", "add-serials", &enrolment.id, "--serial", "19"]);
    accepted(site, &answer(&unit, &by_token(NAME, &enrolment.token, &json!({"serial_number": "19"}))));
    site.add_client("pump-18", "telemetry:write");
    let taken = answer(&unit, &by_token(NAME, &enrolment.token, &json!({"serial_number": "18"})));
    assert_refused(site, &taken, "invalid_token", "client_id_taken");
}

fn deny_unusable_metadata(site: &Site) {
    define_template(site);
    site.credgate(&["enrolment", "template", "edit", "pump", "--method", "private_key_jwt"]);
    let enrolment = enrol(site, &["--uses", "1"]);
    let unit = device(site, NAME, &enrolment.token);
    let weak = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]});
    let long = "x".repeat(60);
    for (members, reason) in [
        (json!({"serial_number": "17"}), "wrong_auth_method"),
        (json!({"serial_number": "17", "jwks": weak}), "unusable_key"),
        (json!({"serial_number": "17", "jwks": {"keys": []}}), "unusable_key"),
        (json!({"serial_number": "a/b", "jwks": jwks(7)}), "invalid_parameter"),
        (json!({"serial_number": long, "jwks": jwks(7)}), "invalid_parameter"),
        (json!({"jwks": jwks(7)}), "missing_parameter"),
        (json!({"serial_number": "17", "jwks": jwks(7), "token_endpoint_auth_method": "client_secret_post"}), "unsupported_auth_method"),
    ] {
        assert_refused(site, &answer(&unit, &by_token(NAME, &enrolment.token, &members)), "invalid_client_metadata", reason);
    }
    let refused = answer(&unit, &ask(NAME, "json", b"{}".to_vec()));
    assert_refused(site, &refused, "invalid_request", "missing_parameter");
    assert_eq!(crate::enrolment::enrolment(site, &enrolment.id)["used"], 0);
}

fn deny_a_blocked_device(site: &Site) {
    define_template(site);
    let enrolment = enrol(site, &["--uses", "2"]);
    let unit = device(site, NAME, &enrolment.token);
    let ask = |state: &str| by_token(NAME, &enrolment.token, &json!({"serial_number": "17", "jwks": jwks(7), "state": state}));
    accepted(site, &answer(&unit, &ask("1")));
    site.credgate(&["client", "block", "pump-17"]);
    assert_refused(site, &answer(&unit, &ask("2")), "invalid_token", "blocked_client");
    assert_eq!(client(site, "pump-17")["status"], "blocked");
    let refused = site.run(&["enrolment", "release", &enrolment.id, "serial:17", "--yes"]);
    assert_eq!(refused.status.code(), Some(65));
}

#[test]
fn deny_tokens_through_an_untrusted_mosquitto() {
    let site = &Site::mosquitto_with("", "");
    define_template(site);
    let enrolment = enrol(site, &["--serial", "17"]);
    let unit = device(site, NAME, &enrolment.token);
    let refused = answer(&unit, &by_token(NAME, &enrolment.token, &json!({"serial_number": "17", "jwks": jwks(7)})));
    assert_eq!(body(&refused)["error"], "invalid_token");
    wait_for("a log line of the decision", || {
        site.decisions_on(NAME, "register").pop().filter(|line| line["reason"] == "untrusted_broker")
    });
    let (login, key) = (login(site, NAME), site.path("key.pem"));
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    let by_mac = ["--token-file", &enrolment.file, "--key-file", key.to_str().unwrap(), "--serial", "17", "--mac"];
    for format in ["json", "cbor"] {
        assert_eq!(register(site, &[&by_mac[..], &["--format", format], &login].concat())["client_id"], "pump-17");
    }
}

#[test]
fn devices_with_a_login_of_the_factory_register_under_random_names() {
    let site = &Site::mosquitto();
    define_template(site);
    let enrolment = enrol(site, &["--serial", "17"]);
    let Broker::Mosquitto(mosquitto) = &site.broker else { panic!("a Mosquitto") };
    // As docs/operations.md has it, beside the lines of the README.
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let line = "pattern readwrite oauth2/v1/client/%c/register/#\n";
    assert!(text.contains(line));
    mosquitto.set_acl(&format!("user credgate\ntopic readwrite oauth2/v1/#\npattern readwrite oauth2/v1/client/%u/#\n{line}"));
    let login = login(site, "factory");
    let (key, password) = (site.path("key.pem"), login.last().unwrap());
    let login = ["--mqtt-username", "factory", "--mqtt-password-file", password];
    let by_key = ["--token-file", &enrolment.file, "--key-file", key.to_str().unwrap(), "--serial", "17"];
    assert_eq!(register(site, &[&by_key[..], &login].concat())["client_id"], "pump-17");
}

#[cfg(feature = "embedded-broker")]
#[test]
fn deny_a_session_by_an_enrolment_token_all_but_its_registration() {
    let site = &Site::embedded();
    define_template(site);
    let secret = site.add_client("dev1", "telemetry:write");
    let enrolment = enrol(site, &["--uses", "1"]);
    // The id of a client gives no way to its topics.
    let refusal = Device::try_connect(site, "dev1", "dev1", &enrolment.token, None).err().unwrap();
    assert_eq!(refusal, rumqttc::v5::mqttbytes::v5::ConnectReturnCode::BadUserNamePassword);
    let unit = device(site, NAME, &enrolment.token);
    for filter in
        ["oauth2/v1/client/unit-4f2a/#", "oauth2/v1/as/#", "oauth2/v1/client/dev1/register/#", "oauth2/v1/client/+/register/#", "#"]
    {
        assert_eq!(unit.subscribe(filter), SubscribeReasonCode::NotAuthorized, "{filter}");
    }
    // A token request under its name is not even heard; an answer elsewhere is not given.
    unit.send(&Ask::json(NAME, &secret, &json!({})));
    let elsewhere = Ask {
        response_topic: Some(format!("oauth2/v1/client/{NAME}/token/json/accepted")),
        ..by_token(NAME, &enrolment.token, &json!({"serial_number": "17"}))
    };
    assert_refused(site, &answer(&unit, &elsewhere), "invalid_request", "foreign_response_topic");
    assert!(site.decisions(NAME).is_empty());
    site.credgate(&["enrolment", "revoke", &enrolment.id, "--yes"]);
    assert!(Device::try_connect(site, "unit-2", "unit-2", &enrolment.token, None).is_err());
    assert!(Device::try_connect(site, "unit-2", "unit-2", &secret, None).is_err());
    // A client of the gateway is a client as ever.
    let token = Device::connect(site, "dev1", &secret).request(&Ask::json("dev1", &secret, &json!({})));
    assert!(body(&token)["access_token"].is_string());
}
