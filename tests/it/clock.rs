//! How far the clock is trusted, and what that means for devices.

use std::fs;
use std::path::Path;

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
