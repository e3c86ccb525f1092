//! Tokens as CWTs, tokens bound to a key, and assertions in CBOR, on both links; pycose checks them.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::assertions::{self, ISSUER, MQTT_PASSWORD};
use crate::device::{Ask, Device, body};

use crate::devices::on_both_links;
use crate::site::{Broker, Site, restrict};
use crate::verifier;

on_both_links!(tokens_in_cbor_are_verified_by_pycose, a_token_is_bound_to_the_key_of_the_assertion, the_reference_device_signs_in_cbor);

fn resource_server(site: &Site, id: &str, alg: &str, dialect: &str) {
    let audience = format!("urn:{id}");
    let profile = ["--token-format", "cwt", "--alg", alg, "--dialect", dialect];
    site.credgate(&[&["resource-server", "add", id, "--audience", &audience][..], &profile].concat());
    let scope = format!("{id}:use");
    site.credgate(&["scope", "add", &scope, "--resource-server", id, "--permission", "pub t/{client_id}/#", "--permission", "sub all"]);
}

fn jwks(device: &Device) -> Value {
    device.subscribe("oauth2/v1/as/jwks");
    body(&device.next_publish())
}

fn tokens_in_cbor_are_verified_by_pycose(site: &Site) {
    let servers = [("a", "EdDSA", -8, "oauth"), ("b", "Ed25519", -19, "aif"), ("c", "ES256", -7, "oauth")];
    for (id, alg, _, dialect) in servers {
        resource_server(site, id, alg, dialect);
    }
    let secret = site.add_client("dev1", "a:use b:use c:use");
    let device = Device::connect(site, "dev1", &secret);
    let mut answers = Vec::new();
    for (id, _, number, _) in servers {
        let json = body(&device.request(&Ask::json("dev1", &secret, &json!({"audience": id}))));
        assert_eq!(json["token_type"], "Bearer");
        let request = format!("a2056161 1819 582b{}", secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())
            .replace("6161", &format!("61{:02x}", id.as_bytes()[0]));
        let answer = device.request(&Ask::raw("dev1", "cbor", hex(&request)));
        let members = assertions::cbor(&answer.payload);
        let serde_cbor::Value::Bytes(token) = &members[&1] else { panic!("{members:?}") };
        assert_eq!(members[&34], serde_cbor::Value::Integer(1));
        answers.push((id, number, json["access_token"].as_str().unwrap().to_owned()));
        answers.push((id, number, URL_SAFE_NO_PAD.encode(token)));
    }
    let keys = jwks(&device);
    for (id, number, token) in answers {
        let claims = verifier::verify_cwt(&keys, &token, number);
        assert_eq!((&claims["1"], &claims["2"], &claims["3"]), (&json!(ISSUER), &json!("dev1"), &json!(format!("urn:{id}"))));
        assert_eq!(claims["4"].as_u64().unwrap() - claims["6"].as_u64().unwrap(), 300);
        assert_eq!(claims["7"]["bytes"].as_str().unwrap().len(), 32);
        // [["t/dev1/#", ["pub"]], ["all", ["sub"]]]
        let aif = json!({"bytes": "828268742f646576312f23816370756282 63616c6c8163737562".replace(' ', "")});
        assert_eq!(claims["9"], if id == "b" { aif } else { json!(format!("{id}:use")) });
    }
}

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn a_token_is_bound_to_the_key_of_the_assertion(site: &Site) {
    assertions::register(site, &[]);
    let device = assertions::device(site);
    let jwk = serde_json::to_value(assertions::key().public()).unwrap();
    let ask = |req_cnf: &Value| {
        device.request(&assertions::ask(&assertions::assertion(&json!({})), &json!({"req_cnf": req_cnf, "scope": "telemetry:write"})))
    };
    for req_cnf in [json!({"jwk": jwk}), json!({"kid": jwk["kid"]})] {
        let answer = body(&ask(&req_cnf));
        assert_eq!(answer["token_type"], "PoP", "{answer}");
        let (_, claims) = credgate::token::decode_unverified(answer["access_token"].as_str().unwrap()).unwrap();
        assert_eq!(claims["cnf"], json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]}}));
    }
    let other = json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}});
    for (req_cnf, error, reason) in [
        (other, "unsupported_pop_key", "unsupported_pop_key"),
        (json!({"kid": "another"}), "unsupported_pop_key", "unsupported_pop_key"),
        (json!({"jwk": {"kty": "RSA", "n": "AQAB"}}), "unsupported_pop_key", "unsupported_pop_key"),
        (json!({}), "invalid_request", "invalid_parameter"),
        (json!({"jwk": jwk, "kid": "x"}), "invalid_request", "invalid_parameter"),
    ] {
        assertions::assert_refused(site, &ask(&req_cnf), error, reason);
    }
}

fn the_reference_device_signs_in_cbor(site: &Site) {
    resource_server(site, "a", "ES256", "aif");
    for alg in ["EdDSA", "ES256"] {
        let id = format!("dev-{alg}");
        let (pem, jwk, password) = (site.path(&format!("{id}.pem")), site.path(&format!("{id}.jwk")), site.path(&format!("{id}.password")));
        fs::write(&jwk, site.credgate(&["device", "keygen", "--alg", alg, "--key-file", pem.to_str().unwrap()])).unwrap();
        site.credgate(&["client", "add", &id, "--scope", "a:use", "--require-request-binding", "--jwk-file", jwk.to_str().unwrap()]);
        fs::write(&password, MQTT_PASSWORD).unwrap();
        restrict(&password);
        assertions::wait_for_the_second_after_the_start(site);
        let (broker, ca_file) = (format!("mqtts://localhost:{}", site.port()), site.ca_file());
        let mut line = vec!["device", "token", "--broker", &broker, "--ca-file", ca_file.to_str().unwrap(), "--client-id", &id];
        line.extend(["--issuer", ISSUER, "--key-file", pem.to_str().unwrap(), "--verify", "--output", "json"]);
        if let Broker::Mosquitto(mosquitto) = &site.broker {
            mosquitto.set_password(&id, MQTT_PASSWORD);
            line.extend(["--mqtt-password-file", password.to_str().unwrap(), "--no-clock"]);
        }
        for way in [&["--format", "cbor", "--cose", "--pop"][..], &["--format", "json", "--pop"], &["--format", "cbor", "--cose"]] {
            let output = site.run_showing_secrets(&[&line[..], way].concat());
            assert!(output.status.success(), "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            let is_bound = way.contains(&"--pop");
            assert_eq!(answer["token_type"], if is_bound { "PoP" } else { "Bearer" });
            let (header, claims) = credgate::token::decode_unverified(answer["access_token"].as_str().unwrap()).unwrap();
            assert_eq!((&header["alg"], claims.get("cnf").is_some()), (&json!("ES256"), is_bound));
        }
    }
}
