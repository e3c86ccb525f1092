//! How far the clock is trusted, and what that means for devices.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use credgate::clock::UnixTime;
use credgate::jose::JwkSet;
use credgate::token::{self, OfflineVerifier};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::device::{Ask, Device, body};
use crate::site::{Site, wait_for};

/// A site whose time service is this test: it touches the mark.
fn site(mark: &Path) -> (Site, String) {
    let clock = format!("floor = \"shorten\"\nshort-lifetime = 7\nretry-after = 11\nsynchronised-file = \"{}\"", mark.display());
    let site = Site::mosquitto_with(&format!("[audit]\nflush-interval = 1\n[clock]\n{clock}\n"), "trusted = true\n");
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    (site, secret)
}

fn token(site: &Site, secret: &str) -> Value {
    body(&Device::connect(site, "dev1", secret).request(&Ask::json("dev1", secret, &json!({}))))
}

fn wait_for_confidence(site: &Site, confidence: &str) {
    wait_for(confidence, || (site.status()?["clock"]["confidence"] == confidence).then_some(()));
}

/// Has the newest key tell of a time that the clock has not reached, as if the clock had been ahead when it was made.
fn age_backwards(site: &Site) {
    let files = fs::read_dir(site.path("state/keys")).unwrap().map(|entry| entry.unwrap().path());
    let key = files.filter(|path| path.extension().is_some_and(|end| end == "pem")).last().unwrap();
    let text = fs::read_to_string(&key).unwrap();
    let created = text.lines().find_map(|line| line.strip_prefix("created_at: ")).unwrap();
    fs::write(&key, text.replace(created, "4000000000")).unwrap();
}

#[test]
fn tokens_live_as_long_as_the_clock_is_trusted() {
    let directory = TempDir::with_prefix("credgate-it-").unwrap();
    let mark = directory.path().join("synchronized");
    let (site, secret) = site(&mark);
    assert_eq!(site.status().unwrap()["clock"]["confidence"], "floor");
    assert_eq!(token(&site, &secret)["expires_in"], 7);
    let explained = || -> Value { serde_json::from_str(&site.credgate(&["explain", "--client", "dev1", "--output", "json"])).unwrap() };
    let of_clock = |told: &Value| told["steps"].as_array().unwrap().iter().find(|step| step["check"] == "clock").cloned().unwrap();
    let told = explained();
    assert_eq!((&told["token"]["lifetime"], &of_clock(&told)["outcome"]), (&json!(7), &json!("ok")), "{told}");
    assert!(of_clock(&told)["decided_by"].to_string().contains("clock.floor"), "{told}");

    fs::write(&mark, "").unwrap();
    wait_for_confidence(&site, "synced");
    assert_eq!(token(&site, &secret)["expires_in"], 300);
    for (topic, member) in [("oauth2/v1/as/status", "clock"), ("oauth2/v1/as/metadata", "mqtt_clock")] {
        wait_for("the state in a retained message", || {
            let device = Device::connect(&site, "dev1", &secret);
            device.subscribe(topic);
            (body(&device.next_publish())[member] == "synced").then_some(())
        });
    }
    wait_for("the entry in the audit trail", || {
        let trail = site.credgate(&["audit", "list", "--type", "clock", "--output", "json"]);
        (trail.contains("\"confidence\"") && trail.contains("\"synced\"") && trail.contains("\"floor\"")).then_some(())
    });
    assert!(site.credgate(&["status"]).contains("synced"));
}

#[test]
fn deny_tokens_before_a_time_that_is_certainly_past() {
    let directory = TempDir::with_prefix("credgate-it-").unwrap();
    let mark = directory.path().join("synchronized");
    let (site, secret) = site(&mark);
    assert!(site.stop("TERM").success());
    age_backwards(&site);
    site.start();
    wait_for_confidence(&site, "unset");
    let answer = token(&site, &secret);
    assert_eq!((&answer["error"], &answer["retry_after"]), (&json!("temporarily_unavailable"), &json!(11)), "{answer}");
    assert_eq!(site.decisions("dev1").last().unwrap()["reason"], "clock_not_trusted");
    assert!(site.credgate(&["status"]).contains("TOKENS ARE REFUSED"));

    // A time server knows better than the records, from the next start on.
    fs::write(&mark, "").unwrap();
    assert!(site.stop("TERM").success());
    site.start();
    wait_for_confidence(&site, "synced");
    assert_eq!(token(&site, &secret)["expires_in"], 300);
}

#[test]
fn without_a_clock_tokens_live_from_when_they_are_first_seen() {
    let settings = "[audit]\nflush-interval = 1\n[clock]\nfloor = \"exi\"\nshort-lifetime = 90\nsynchronised-file = \"\"\n";
    let site = Site::mosquitto_with(settings, "trusted = true\n");
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write telemetry:read");
    let checker = site.add_client_with("checker", &["--introspect", "telemetry"]);
    if let crate::site::Broker::Mosquitto(mosquitto) = &site.broker {
        mosquitto.set_password("checker", &checker);
    }
    let keys = verifier_keys(&site, &secret);
    let mut verifier = OfflineVerifier::new("https://credgate.local".into(), "https://telemetry.example".into(), keys);
    let mut last = 0;
    for format in ["jwt", "cwt"] {
        site.credgate(&["resource-server", "edit", "telemetry", "--token-format", format]);
        for _ in 0..3 {
            let answer = token(&site, &secret);
            assert_eq!(answer["expires_in"], 90);
            let text = answer["access_token"].as_str().unwrap();
            let (_, claims) = token::decode_unverified(text).unwrap();
            assert_eq!((&claims["exi"], &claims["exp"], &claims["nbf"]), (&json!(90), &Value::Null, &Value::Null), "{claims}");
            // The resource server's id and a number that only grows.
            let jti = URL_SAFE_NO_PAD.decode(claims["jti"].as_str().unwrap()).unwrap();
            let (id, number) = jti.split_at(jti.len() - 8);
            let number = u64::from_be_bytes(number.try_into().unwrap());
            assert!(id == b"telemetry" && number > last, "{jti:?}");
            last = number;
            // Whatever the resource server's clock shows, as long as it goes on.
            let first = UnixTime::from_secs(last % 1_000);
            assert!(verifier.verify(text, first).is_ok() && verifier.verify(text, first.saturating_add(89)).is_ok());
            assert!(verifier.verify(text, first.saturating_add(90)).is_err() && verifier.verify(text, first).is_err(), "it has expired");
            assert_eq!(verifier.expired_sequence(), last);
            // Who knows of nothing but exp takes none.
            let (issuer, now) = ("https://credgate.local", UnixTime::from(std::time::SystemTime::now()));
            assert!(token::verify(text, issuer, None, &verifier_keys(&site, &secret), now).is_err());
            // The gateway knows it, and can void it.
            let known = introspect(&site, &checker, text);
            assert_eq!((&known["active"], &known["exp"], &known["sub"]), (&json!(true), &Value::Null, &json!("dev1")), "{known}");
        }
    }
    let answer = token(&site, &secret);
    let text = answer["access_token"].as_str().unwrap();
    fs::write(site.path("token"), text).unwrap();
    site.credgate(&["token", "revoke", site.path("token").to_str().unwrap()]);
    assert_eq!(introspect(&site, &checker, text), json!({"active": false}));
    // After a kill none comes twice.
    site.stop("KILL");
    site.start();
    let (_, claims) = token::decode_unverified(token(&site, &secret)["access_token"].as_str().unwrap()).unwrap();
    let jti = URL_SAFE_NO_PAD.decode(claims["jti"].as_str().unwrap()).unwrap();
    assert!(u64::from_be_bytes(jti[jti.len() - 8..].try_into().unwrap()) > last + 1);
    verifier = verifier.having_expired(u64::MAX);
    assert!(verifier.verify(text, UnixTime::from_secs(1)).is_err());
    let explained: Value =
        serde_json::from_str(&site.credgate(&["explain", "--client", "dev1", "--scope", "telemetry:write", "--output", "json"])).unwrap();
    assert_eq!(explained["token"]["claims"]["exi"], 90, "{explained}");
}

fn verifier_keys(site: &Site, secret: &str) -> JwkSet {
    let device = Device::connect(site, "dev1", secret);
    device.subscribe("oauth2/v1/as/jwks");
    JwkSet::from_json(&device.next_publish().payload).unwrap()
}

fn introspect(site: &Site, secret: &str, token: &str) -> Value {
    let payload = json!({"client_secret": secret, "token": token}).to_string().into_bytes();
    let ask = Ask { topic: "oauth2/v1/client/checker/introspect/json".into(), ..Ask::raw("checker", "json", payload) };
    body(&Device::connect(site, "checker", secret).request(&ask))
}
