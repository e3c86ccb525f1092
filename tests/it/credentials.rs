//! The rotation of credentials, by the operator and by the device, on both links.

use rumqttc::v5::mqttbytes::v5::Publish;
use serde_json::{Value, json};

use crate::device::{Ask, Device, body};
use crate::devices::on_both_links;
use crate::site::{Site, wait_for};

on_both_links!(
    a_secret_rotated_by_the_operator,
    deny_the_old_secret_from_the_first_use_of_the_new_one,
    deny_the_old_secret_at_the_end_of_the_overlap,
    the_first_use_is_kept_or_done_again_after_sigkill,
    last_uses_survive_a_clean_stop,
);

fn token(device: &Device, client_id: &str, secret: &str) -> Publish {
    device.request(&Ask::json(client_id, secret, &json!({})))
}

fn is_accepted(answer: &Publish) -> bool {
    let accepted = body(answer).get("error").is_none();
    assert_eq!(answer.topic.ends_with(b"/accepted"), accepted);
    accepted
}

fn show(site: &Site, client_id: &str) -> Value {
    serde_json::from_str(&site.credgate(&["client", "show", client_id, "--output", "json"])).unwrap()
}

/// Rotates the client's secret; the new one.
fn rotate(site: &Site, client_id: &str, flags: &[&str]) -> String {
    let file = site.path("new.secret");
    site.credgate(&[&["client", "rotate", client_id, "--secret-file", file.to_str().unwrap()], flags].concat());
    let secret = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    site.keep_secret(&secret);
    secret
}

/// A site with a client that has a device.
fn device(site: &Site) -> (String, Device) {
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let device = Device::connect(site, "dev1", &secret);
    (secret, device)
}

fn a_secret_rotated_by_the_operator(site: &Site) {
    let (old, device) = device(site);
    let new = rotate(site, "dev1", &["--retire", "end"]);
    assert!(is_accepted(&token(&device, "dev1", &old)) && is_accepted(&token(&device, "dev1", &new)));
    assert!(is_accepted(&token(&device, "dev1", &old)), "the old one serves for all of the overlap");
    let shown = show(site, "dev1");
    assert_eq!(shown["rotation"]["started_by"], "operator");
    assert!(shown["secrets"].as_array().unwrap().iter().all(|secret| secret["last_used"].is_u64()), "{shown}");
    site.credgate(&["client", "rotate", "dev1", "--finish"]);
    assert!(!is_accepted(&token(&device, "dev1", &old)) && is_accepted(&token(&device, "dev1", &new)));
}

fn deny_the_old_secret_from_the_first_use_of_the_new_one(site: &Site) {
    let (old, device) = device(site);
    let new = rotate(site, "dev1", &[]);
    assert!(is_accepted(&token(&device, "dev1", &old)));
    assert!(is_accepted(&token(&device, "dev1", &new)));
    let refused = body(&token(&device, "dev1", &old));
    assert_eq!((&refused["error"], &refused["error_description"]), (&json!("invalid_client"), &json!("client authentication failed")));
    let shown = wait_for("the end of the rotation", || Some(show(site, "dev1")).filter(|shown| shown.get("rotation").is_none()));
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 1);
}

fn deny_the_old_secret_at_the_end_of_the_overlap(site: &Site) {
    let (old, device) = device(site);
    let new = rotate(site, "dev1", &["--overlap", "1s"]);
    wait_for("the end of the overlap", || (!is_accepted(&token(&device, "dev1", &old))).then_some(()));
    assert!(is_accepted(&token(&device, "dev1", &new)));
}

fn the_first_use_is_kept_or_done_again_after_sigkill(site: &Site) {
    let (old, device) = device(site);
    let new = rotate(site, "dev1", &[]);
    assert!(is_accepted(&token(&device, "dev1", &new)));
    site.stop("KILL");
    site.start();
    // The broker of the site may be gone with the gateway.
    let device = if site.status().unwrap()["embedded_broker"].is_null() { device } else { Device::connect(site, "dev1", &new) };
    assert!(is_accepted(&token(&device, "dev1", &new)));
    assert!(!is_accepted(&token(&device, "dev1", &old)));
}

fn last_uses_survive_a_clean_stop(site: &Site) {
    let (secret, device) = device(site);
    assert!(is_accepted(&token(&device, "dev1", &secret)));
    let before = show(site, "dev1")["secrets"][0]["last_used"].clone();
    assert!(before.is_u64());
    assert!(site.stop("TERM").success());
    assert_eq!(show(site, "dev1")["secrets"][0]["last_used"], before);
}
