//! The gateway's own snapshots, and what it does when its registry is damaged.

use std::fs;

use serde_json::Value;

use crate::site::{Site, wait_for};

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn status(site: &Site) -> Value {
    json_of(&site.credgate(&["status", "--output", "json"]))
}

fn check(site: &Site, id: &str) -> (Value, String) {
    let output = site.run(&["check", id, "--output", "json"]);
    let report = json_of(&String::from_utf8_lossy(&output.stdout));
    (report["result"].clone(), report.to_string())
}

fn wait_for_a_snapshot(site: &Site) {
    wait_for("a snapshot", || (status(site)["snapshots"]["kept"].as_u64() > Some(0)).then_some(()));
}

/// Overwrites the first bytes of sled's log, and removes its snapshots, which would tell what was there.
fn damage(site: &Site) {
    let registry = site.path("state/registry");
    let mut log = fs::read(registry.join("db")).unwrap();
    log[..4_096].fill(0x5a);
    fs::write(registry.join("db"), log).unwrap();
    for entry in fs::read_dir(registry).unwrap().map(Result::unwrap) {
        if entry.file_name().to_str().unwrap().starts_with("snap.") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[test]
fn a_damaged_registry_goes_back_to_a_snapshot_and_says_so() {
    let site = Site::mosquitto();
    site.define_policy();
    site.add_client("dev1", "telemetry:write");
    // The first start made one of an empty registry; the next one is made of what there is now, as that is a day old.
    wait_for_a_snapshot(&site);
    assert!(site.stop("TERM").success());
    fs::remove_dir_all(site.path("state/snapshots")).unwrap();
    site.start();
    wait_for_a_snapshot(&site);
    assert_eq!(check(&site, "snapshots").0, "ok");
    site.add_client("dev2", "telemetry:write");
    assert!(site.stop("KILL").code().is_none());
    damage(&site);
    let refused = site.run(&["client", "list", "--output", "json"]);
    assert_eq!(refused.status.code(), Some(74), "a command does not go back in time: {refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("credgate serve"), "{refused:?}");
    site.start();
    assert!(site.log().contains("THE REGISTRY WAS DAMAGED"));
    let listed = site.credgate(&["client", "list"]);
    assert!(listed.contains("dev1") && !listed.contains("dev2"), "{listed}");
    let restored = status(&site)["restored"].clone();
    assert_eq!(restored["origin"], "fall_back");
    assert!(site.credgate(&["status"]).contains("WAS DAMAGED"));
    assert!(site.credgate(&["audit", "list", "--type", "registry"]).contains("registry.fell_back"));
    site.credgate(&["audit", "verify"]);
    let aside = site.path("state").join(restored["set_aside"].as_str().unwrap());
    assert!(aside.join("registry/db").exists(), "nothing was removed");
    let (result, report) = check(&site, "registry");
    assert!(result == "error" && report.contains("block again who must be"), "{report}");
    // A snapshot of what it is now follows at once, so that it can go back a second time.
    wait_for_a_snapshot(&site);
    fs::remove_dir_all(&aside).unwrap();
    assert_eq!(check(&site, "registry").0, "ok", "whoever has seen to it removes what was set aside");
    site.add_client("dev3", "telemetry:write");
    assert!(site.stop("TERM").success());
    site.start();
    assert!(site.credgate(&["client", "list"]).contains("dev3"));
    assert_eq!(site.log().matches("THE REGISTRY WAS DAMAGED").count(), 1);
}

#[test]
fn without_a_snapshot_a_damaged_registry_keeps_the_gateway_from_starting() {
    let site = Site::mosquitto_with("", "trusted = true\n[snapshots]\ninterval = 0\n");
    site.define_policy();
    assert_eq!(check(&site, "snapshots").0, "warning");
    assert!(site.stop("TERM").success());
    assert!(!site.path("state/snapshots").exists());
    let keys = site.credgate(&["key", "list"]);
    damage(&site);
    let output = site.run(&["serve", "--output", "json"]);
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("credgate restore") && told.contains("is damaged"), "{told}");
    assert!(site.path("state/registry/db").exists() && site.path("state/keys/rotation.json").exists(), "nothing was moved: {keys}");
}
