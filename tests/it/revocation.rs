//! Introspection, revocation and the lists of what was revoked, on both links; PyJWT and pycose check the lists.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use credgate::clock::UnixTime;
use credgate::jose::JwkSet;
use credgate::token::{OfflineError, OfflineVerifier};
use rumqttc::v5::mqttbytes::v5::{Publish, SubscribeReasonCode};
use serde_json::{Value, json};

use crate::device::{Ask, Device, body};
use crate::devices::on_both_links;
use crate::site::{Broker, Site, wait_for};
use crate::verifier;

on_both_links!(
    a_client_revokes_its_token_and_everybody_learns_of_it,
    lists_follow_commands,
    lists_of_cwt_servers_are_cwts,
    deny_introspection_and_revocation_by_others,
    lists_of_removed_servers_are_taken_away,
    sequence_numbers_only_grow,
);

const TELEMETRY: &str = "https://telemetry.example";
const ISSUER: &str = "https://credgate.local";

/// The policy, the client `dev1`, and `checker`, which is registered for `telemetry`.
struct Field<'a> {
    site: &'a Site,
    secret: String,
    device: Device,
    checker_secret: String,
    checker: Device,
}

impl<'a> Field<'a> {
    fn new(site: &'a Site) -> Self {
        site.define_policy();
        let secret = site.add_client("dev1", "telemetry:write config:read");
        let checker_secret = site.add_client_with("checker", &["--introspect", "telemetry"]);
        let device = Device::connect(site, "dev1", &secret);
        let checker = Device::connect(site, "checker", &checker_secret);
        Self { site, secret, device, checker_secret, checker }
    }

    /// A token for `telemetry`. While one would be void, the device is told to come again.
    fn token(&self) -> String {
        wait_for("a token", || {
            let answer = body(&self.device.request(&Ask::json("dev1", &self.secret, &json!({"audience": "telemetry"}))));
            let is_early = answer["error"] == "temporarily_unavailable" && answer["retry_after"].is_u64();
            assert!(is_early || answer.get("access_token").is_some(), "{answer}");
            answer["access_token"].as_str().map(str::to_owned)
        })
    }

    fn introspect(&self, token: &str) -> Value {
        body(&self.checker.request(&ask("checker", "introspect", &self.checker_secret, &json!({"token": token}))))
    }

    /// Another connection of the checker, which reads a list.
    fn reader(&self, filter: &str) -> Device {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let identifier = format!("checker.{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let reader = Device::try_connect(self.site, &identifier, "checker", &self.checker_secret, None).unwrap();
        let granted = reader.subscribe(filter);
        assert!(matches!(granted, SubscribeReasonCode::Success(_)), "{granted:?}");
        reader
    }

    fn jwks(&self) -> Value {
        let reader = Device::try_connect(self.site, "checker.keys", "checker", &self.checker_secret, None).unwrap();
        reader.subscribe("oauth2/v1/as/jwks");
        body(&reader.next_publish())
    }

    /// The claims of the next list, verified by PyJWT.
    fn list(&self, reader: &Device) -> Value {
        claims_of(&self.jwks(), &reader.next_publish())
    }

    /// The first list that is as it should be.
    fn list_with(&self, reader: &Device, is_it: impl Fn(&Value) -> bool) -> Value {
        let jwks = self.jwks();
        loop {
            let claims = claims_of(&jwks, &reader.next_publish());
            if is_it(&claims) {
                return claims;
            }
        }
    }
}

fn claims_of(jwks: &Value, publish: &Publish) -> Value {
    let properties = publish.properties.clone().unwrap();
    assert_eq!((properties.content_type.as_deref(), properties.payload_format_indicator), (Some("application/trl+jwt"), Some(1)));
    let text = String::from_utf8(publish.payload.to_vec()).unwrap();
    verifier::verify_list(jwks, &text, TELEMETRY, "EdDSA")
}

fn ask(client_id: &str, operation: &str, secret: &str, members: &Value) -> Ask {
    let ask = Ask::json(client_id, secret, members);
    Ask { topic: ask.topic.replace("/token/", &format!("/{operation}/")), ..ask }
}

fn jti(token: &str) -> Value {
    credgate::token::decode_unverified(token).unwrap().1["jti"].clone()
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

fn a_client_revokes_its_token_and_everybody_learns_of_it(site: &Site) {
    let field = Field::new(site);
    let reader = field.reader("oauth2/v1/rs/telemetry/trl");
    let first = field.list(&reader);
    assert_eq!((&first["clients"], &first["tokens"]), (&json!([]), &json!([])));
    let (kept, revoked) = (field.token(), field.token());
    let told = field.introspect(&revoked);
    assert_eq!((&told["active"], &told["client_id"], &told["jti"]), (&json!(true), &json!("dev1"), &jti(&revoked)));
    let answer = field.device.request(&ask("dev1", "revoke", &field.secret, &json!({"token": revoked, "state": "s"})));
    assert_eq!(answer.topic, "oauth2/v1/client/dev1/revoke/json/accepted");
    assert_eq!(body(&answer), json!({"state": "s"}));
    assert_eq!(field.introspect(&revoked), json!({"active": false}));
    assert_eq!(field.introspect(&kept)["active"], true);
    let list = field.list_with(&reader, |list| list["tokens"].as_array().unwrap().iter().any(|token| token["jti"] == jti(&revoked)));
    assert_eq!(list["tokens"].as_array().unwrap().len(), 1);
    assert!(list["seq"].as_u64() > first["seq"].as_u64());
    // Acknowledged is on the disk.
    assert!(site.stop("KILL").code().is_none());
    site.start();
    let checker = Device::connect(site, "checker", &field.checker_secret);
    let again = body(&checker.request(&ask("checker", "introspect", &field.checker_secret, &json!({"token": revoked}))));
    assert_eq!(again, json!({"active": false}));
    for (operation, client_id) in [("introspect", "checker"), ("revoke", "dev1")] {
        let log = site.log();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let found =
            lines.iter().any(|line| line["operation"] == operation && line["client_id"] == client_id && line["jti"] == jti(&revoked));
        assert!(found, "no line of {operation}");
    }
}

fn lists_follow_commands(site: &Site) {
    let field = Field::new(site);
    let reader = field.reader("oauth2/v1/rs/telemetry/trl");
    let mut seq = field.list(&reader)["seq"].as_u64().unwrap();
    let mut next = |is_it: &dyn Fn(&Value) -> bool| {
        let list = field.list_with(&reader, is_it);
        assert!(list["seq"].as_u64().unwrap() > seq);
        seq = list["seq"].as_u64().unwrap();
        list
    };
    // A single token, by the operator; from standard input nothing comes.
    let token = field.token();
    let file = site.path("token");
    fs::write(&file, &token).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(site.run(&["token", "revoke"]).status.code(), Some(65));
    let told: Value = serde_json::from_str(&site.credgate(&["token", "revoke", file, "--output", "json"])).unwrap();
    assert_eq!((&told["client_id"], &told["resource_server"], &told["jti"]), (&json!("dev1"), &json!("telemetry"), &jti(&token)));
    let list = next(&|list| list["tokens"][0]["jti"] == jti(&token));
    assert_eq!(list["tokens"][0]["hash"], told["hash"]);
    assert_eq!(field.introspect(&token), json!({"active": false}));
    // All tokens of a client, by each command that makes them void.
    for command in ["revoke-tokens", "suspend", "block"] {
        let token = field.token();
        assert_eq!(field.introspect(&token)["active"], true, "{command}");
        site.credgate(&["client", command, "dev1"]);
        assert_eq!(field.introspect(&token), json!({"active": false}), "{command}");
        let iat = credgate::token::decode_unverified(&token).unwrap().1["iat"].as_u64().unwrap();
        let is_cut_off = |list: &Value| list["clients"][0]["issued_before"].as_u64().is_some_and(|bound| bound > iat);
        let list = next(&is_cut_off);
        assert_eq!(list["clients"][0]["client_id"], "dev1");
        if command != "revoke-tokens" {
            site.credgate(&["client", "resume", "dev1"]);
        }
    }
    let token = field.token();
    assert_eq!(field.introspect(&token)["active"], true, "issued after all that");
    site.credgate(&["client", "remove", "dev1", "--yes"]);
    assert_eq!(field.introspect(&token), json!({"active": false}));
    next(&|list| list["clients"][0]["issued_before"].as_u64().is_some());
    let unknown = site.run(&["client", "revoke-tokens", "nobody"]);
    assert_eq!(unknown.status.code(), Some(65));
    let to_come = site.run(&["client", "revoke-tokens", "checker", "--before", "2100-01-01T00:00:00Z"]);
    assert_eq!(to_come.status.code(), Some(65));
    assert_eq!(site.run(&["token", "revoke", site.path("nothing").to_str().unwrap()]).status.code(), Some(66));
    judged_offline(&field, &reader);
}

/// What the operator's command and the library say of tokens that were and were not revoked.
fn judged_offline(field: &Field<'_>, reader: &Device) {
    let site = field.site;
    let secret = site.add_client("dev2", "telemetry:write");
    let device = Device::connect(site, "dev2", &secret);
    let answer = body(&device.request(&Ask::json("dev2", &secret, &json!({}))));
    let token = answer["access_token"].as_str().unwrap();
    let jwks = field.jwks();
    let (token_file, jwks_file, trl_file) = (site.path("token"), site.path("jwks"), site.path("trl"));
    fs::write(&token_file, token).unwrap();
    fs::write(&jwks_file, jwks.to_string()).unwrap();
    let mut verifier = OfflineVerifier::new(ISSUER.into(), TELEMETRY.into(), JwkSet::from_json(jwks.to_string().as_bytes()).unwrap());
    let fresh = field.reader("oauth2/v1/rs/telemetry/trl");
    let old = fresh.next_publish().payload;
    let (token_file, jwks_file) = (token_file.to_str().unwrap(), jwks_file.to_str().unwrap());
    let check = |list: &[u8], more: &[&str]| {
        fs::write(&trl_file, list).unwrap();
        let line = ["token", "verify", token_file, "--jwks", jwks_file, "--trl", trl_file.to_str().unwrap(), "--output", "json"];
        let output = site.run(&[&line[..], more].concat());
        let printed = if output.status.success() { &output.stdout } else { &output.stderr };
        (output.status.code(), serde_json::from_slice::<Value>(printed).unwrap())
    };
    let (code, said) = check(&old, &["--issuer", ISSUER, "--audience", TELEMETRY]);
    assert_eq!((code, &said["valid"], &said["claims"]["client_id"]), (Some(0), &json!(true), &json!("dev2")), "{said}");
    let seen = verifier.take_list(&old).unwrap();
    assert_eq!(said["trl_sequence"], seen);
    assert!(verifier.verify(token, now()).is_ok());
    site.credgate(&["client", "revoke-tokens", "dev2"]);
    let new = loop {
        let publish = reader.next_publish();
        let claims = claims_of(&jwks, &publish);
        if claims["clients"].as_array().unwrap().iter().any(|client| client["client_id"] == "dev2") {
            break publish.payload;
        }
    };
    let (code, said) = check(&new, &[]);
    assert_eq!((code, &said["error"]["code"]), (Some(65), &json!("token_revoked")));
    let seen = verifier.take_list(&new).unwrap();
    assert_eq!(verifier.verify(token, now()), Err(OfflineError::Revoked));
    let (code, said) = check(&old, &["--seen-sequence", &seen.to_string()]);
    assert_eq!((code, &said["error"]["code"]), (Some(65), &json!("list_too_old")));
    let (code, said) = check(&new, &["--audience", "https://other.example"]);
    assert_eq!((code, &said["error"]["code"]), (Some(65), &json!("list_not_valid")));
}

fn lists_of_cwt_servers_are_cwts(site: &Site) {
    for (id, alg) in [("a", "EdDSA"), ("b", "Ed25519"), ("c", "ES256")] {
        let audience = format!("urn:{id}");
        site.credgate(&["resource-server", "add", id, "--audience", &audience, "--token-format", "cwt", "--alg", alg]);
        site.credgate(&["scope", "add", &format!("{id}:use"), "--resource-server", id]);
    }
    let secret = site.add_client("dev1", "a:use b:use c:use");
    let checker_secret = site.add_client_with("checker", &["--introspect", "a", "--introspect", "b", "--introspect", "c"]);
    let (device, checker) = (Device::connect(site, "dev1", &secret), Device::connect(site, "checker", &checker_secret));
    let mut jwks = Value::Null;
    for (id, number) in [("a", -8), ("b", -19), ("c", -7)] {
        let answer = body(&device.request(&Ask::json("dev1", &secret, &json!({"audience": id}))));
        let token = answer["access_token"].as_str().unwrap();
        let told = body(&checker.request(&ask("checker", "introspect", &checker_secret, &json!({"token": token}))));
        assert_eq!((&told["active"], &told["aud"]), (&json!(true), &json!(format!("urn:{id}"))));
        let done = body(&device.request(&ask("dev1", "revoke", &secret, &json!({"token": token}))));
        assert_eq!(done, json!({}));
        let reader = Device::try_connect(site, "checker.reader", "checker", &checker_secret, None).unwrap();
        if jwks.is_null() {
            reader.subscribe("oauth2/v1/as/jwks");
            jwks = body(&reader.next_publish());
        }
        reader.subscribe(&format!("oauth2/v1/rs/{id}/trl"));
        let cti = json!({"bytes": URL_SAFE_NO_PAD.decode(jti(token).as_str().unwrap()).unwrap().iter().map(|byte| format!("{byte:02x}")).collect::<String>()});
        loop {
            let publish = reader.next_publish();
            let properties = publish.properties.clone().unwrap();
            assert_eq!((properties.content_type.as_deref(), properties.payload_format_indicator), (Some("application/trl+cwt"), None));
            let claims = verifier::verify_cwt_list(&jwks, &URL_SAFE_NO_PAD.encode(&publish.payload), number);
            assert_eq!((&claims["1"], &claims["3"]), (&json!(ISSUER), &json!(format!("urn:{id}"))));
            if claims["-65541"][0][1] == cti {
                break;
            }
        }
    }
}

fn deny_introspection_and_revocation_by_others(site: &Site) {
    let field = Field::new(site);
    let token = field.token();
    for (operation, device, client_id, secret) in
        [("introspect", &field.device, "dev1", &field.secret), ("revoke", &field.checker, "checker", &field.checker_secret)]
    {
        let answer = device.request(&ask(client_id, operation, secret, &json!({"token": token})));
        assert_eq!(answer.topic, format!("oauth2/v1/client/{client_id}/{operation}/json/rejected"));
        assert_eq!(body(&answer)["error"], "unauthorized_client");
    }
    assert_eq!(field.introspect(&token)["active"], true);
    // A token for another resource server than the checker's.
    let answer = body(&field.device.request(&Ask::json("dev1", &field.secret, &json!({"audience": "config"}))));
    assert_eq!(field.introspect(answer["access_token"].as_str().unwrap()), json!({"active": false}));
    if matches!(site.broker, Broker::Embedded) {
        for (device, filter) in [
            (&field.device, "oauth2/v1/rs/telemetry/trl"),
            (&field.device, "oauth2/v1/rs/#"),
            (&field.checker, "oauth2/v1/rs/config/trl"),
            (&field.checker, "oauth2/v1/rs/+/trl"),
            (&field.checker, "oauth2/v1/rs/telemetryx/trl"),
        ] {
            assert!(!matches!(device.subscribe(filter), SubscribeReasonCode::Success(_)), "{filter}");
        }
        assert!(matches!(field.checker.subscribe("oauth2/v1/rs/telemetry/#"), SubscribeReasonCode::Success(_)));
    }
}

fn lists_of_removed_servers_are_taken_away(site: &Site) {
    let field = Field::new(site);
    for id in ["gone", "offline"] {
        site.credgate(&["resource-server", "add", id, "--audience", &format!("urn:{id}")]);
    }
    site.credgate(&["client", "edit", "checker", "--introspect", "telemetry", "--introspect", "gone", "--introspect", "offline"]);
    let reader = field.reader("oauth2/v1/rs/gone/trl");
    assert!(!reader.next_publish().payload.is_empty());
    site.credgate(&["client", "edit", "checker", "--introspect", "telemetry", "--introspect", "offline"]);
    site.credgate(&["resource-server", "remove", "gone", "--yes"]);
    assert!(reader.next_publish().payload.is_empty());
    if matches!(site.broker, Broker::Embedded) {
        return;
    }
    // Removed while the gateway does not run, but the broker does.
    reader.subscribe("oauth2/v1/rs/offline/trl");
    assert!(!reader.next_publish().payload.is_empty());
    site.stop("TERM");
    site.credgate(&["client", "edit", "checker", "--introspect", "telemetry"]);
    site.credgate(&["resource-server", "remove", "offline", "--yes"]);
    site.start();
    loop {
        let publish = reader.next_publish();
        if publish.topic == "oauth2/v1/rs/offline/trl" && publish.payload.is_empty() {
            break;
        }
    }
}

fn sequence_numbers_only_grow(site: &Site) {
    let field = Field::new(site);
    let mut seq = field.list(&field.reader("oauth2/v1/rs/telemetry/trl"))["seq"].as_u64().unwrap();
    for (round, signal) in ["KILL", "TERM", "KILL", "KILL"].iter().enumerate() {
        site.add_client(&format!("dev-{round}"), "telemetry:write");
        site.credgate(&["client", "block", &format!("dev-{round}")]);
        site.stop(signal);
        site.start();
        let reader = field.reader("oauth2/v1/rs/telemetry/trl");
        let list = field.list_with(&reader, |list| list["clients"].as_array().unwrap().len() == round + 1);
        let found = list["seq"].as_u64().unwrap();
        assert!(found > seq, "{found} after {seq}");
        seq = found;
    }
}

#[test]
fn lists_are_there_again_after_the_broker_was_restarted() {
    let mut site = Site::mosquitto();
    let field = Field::new(&site);
    let token = field.token();
    site.credgate(&["client", "block", "dev1"]);
    let before = field.list_with(&field.reader("oauth2/v1/rs/telemetry/trl"), |list| list["clients"][0]["client_id"] == "dev1");
    let Field { checker_secret, .. } = field;
    let Broker::Mosquitto(mosquitto) = &mut site.broker else { panic!("no mosquitto") };
    mosquitto.restart();
    let checker = wait_for("a connection", || Device::try_connect(&site, "checker", "checker", &checker_secret, None).ok());
    checker.subscribe("oauth2/v1/rs/telemetry/trl");
    let publish = checker.next_publish();
    checker.subscribe("oauth2/v1/as/jwks");
    let after = claims_of(&body(&checker.next_publish()), &publish);
    assert_eq!((&after["seq"], &after["clients"]), (&before["seq"], &before["clients"]));
    assert!(!token.is_empty());
}
