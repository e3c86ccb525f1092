//! What is written to the disk, as the kernel counts it.

use std::fs;

use serde_json::json;

use crate::device::{Ask, Device, body};
use crate::site::{Site, wait_for};

/// Bytes that the gateway has caused to be written to disks.
fn written(site: &Site) -> u64 {
    let pid = site.status().unwrap()["pid"].as_u64().unwrap();
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("the tests run as root or as the gateway's user");
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

#[test]
fn issuing_tokens_writes_nothing() {
    let site = Site::mosquitto_with("[limits]\nclient-rate = 0\noverall-rate = 0\n[check]\ndaily-writes = 1\n", "trusted = true\n");
    site.define_policy();
    // The tests keep the log in a file, and it tells of every token.
    site.stop("TERM");
    site.start_with_log("warn", &site.path("quiet.log"));
    let secret = site.add_client("dev1", "telemetry:write");
    let device = Device::connect(&site, "dev1", &secret);
    let ask = Ask::json("dev1", &secret, &json!({}));
    body(&device.request(&ask));
    let before = written(&site);
    assert!(before > 0, "changes are written to a disk: these tests need a TMPDIR that is none in memory");
    for _ in 0..2_000 {
        assert!(body(&device.request(&ask))["access_token"].is_string());
    }
    assert_eq!(written(&site), before, "by 2,000 tokens");
    site.credgate(&["client", "block", "dev1"]);
    assert!(body(&device.request(&ask))["error"].is_string());
    assert!(written(&site) > before, "a change is written");
}

#[test]
fn what_wears_out_a_card_is_told() {
    let site = Site::mosquitto_with("[check]\ndaily-writes = 1\n", "trusted = true\n");
    // What was written by the start is of the first look.
    wait_for("the warning", || site.log().contains("check.daily-writes").then_some(()));
    assert!(site.credgate(&["status"]).contains("MORE than check.daily-writes allows"));
    let checked = String::from_utf8(site.run(&["check", "writes"]).stdout).unwrap();
    assert!(checked.contains("warning") && checked.contains("daily-writes"), "{checked}");
}
