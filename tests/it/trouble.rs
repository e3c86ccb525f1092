//! One trouble with the broker after the other: the gateway says what is wrong in its status, in the log and in the check, and comes back by itself.

use serde_json::json;

use crate::device::{Ask, Device, body};
use crate::mosquitto::{GATEWAY, Mosquitto};
use crate::site::{Broker, Site, wait_for};

fn broker(site: &mut Site) -> &mut Mosquitto {
    match &mut site.broker {
        Broker::Mosquitto(mosquitto) => mosquitto,
        Broker::Embedded => panic!("it has a broker of its own"),
    }
}

/// Waits until the status, the log and `check` say that.
fn assert_told(site: &Site, reason: &str, check: &str, found: &str) {
    let mut seen = String::new();
    wait_for(reason, || {
        let status = site.status()?;
        let now = status["broker"].to_string();
        if now != seen {
            // Shown if it does not come.
            println!("{now}");
            seen = now;
        }
        let told = status["broker"]["reason"].as_str().is_some_and(|told| told.contains(reason));
        (told && status["broker"]["state"] != "up").then_some(())
    });
    wait_for("a line in the log", || {
        // What goes on is told in the status, and in the log once.
        let is_told = |line: &str| line.contains("broker link") && line.contains("down") && line.contains(reason);
        site.log().lines().any(is_told).then_some(())
    });
    let checked = site.run(&["check", "daemon", check]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(!checked.status.success() && text.contains(reason) && text.contains(found), "{text}");
}

/// By itself: no command is given.
fn assert_serves_again(site: &Site, secret: &str) {
    wait_for("the link", || (site.status()?["broker"]["state"] == "up").then_some(()));
    let device = Device::connect(site, "dev1", secret);
    let answer = body(&device.request(&Ask::json("dev1", secret, &json!({}))));
    assert!(answer["access_token"].is_string(), "{answer}");
}

#[test]
fn the_gateway_outlives_every_trouble_with_its_broker() {
    let mut site = Site::mosquitto_with("reload-on-change = true\n", "trusted = true\nkeep-alive = 5\n");
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    assert_serves_again(&site, &secret);

    // It is down, and comes back with nothing of what it had.
    broker(&mut site).stop();
    assert_told(&site, "nothing listens there", "broker-connection", "nothing listens there");
    broker(&mut site).restart();
    assert_serves_again(&site, &secret);

    // It does nothing any more, and says nothing.
    broker(&mut site).signal("STOP");
    assert_told(&site, "no answer in time", "broker-connection", "");
    broker(&mut site).signal("CONT");
    assert_serves_again(&site, &secret);

    // It lets the gateway say and hear nothing. Mosquitto takes the subscription all the same, so the link is up; the rest tells.
    broker(&mut site).set_acl("pattern readwrite oauth2/v1/client/%u/#\n");
    broker(&mut site).restart();
    wait_for("a line in the log", || site.log().contains("the broker refused retained messages").then_some(()));
    let checked = site.run(&["check", "broker-acl"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(!checked.status.success() && text.contains("topic readwrite oauth2/v1/#"), "{text}");
    broker(&mut site).set_operator("operator", "of-the-broker");
    assert_serves_again(&site, &secret);

    // Another client has its id, again and again.
    for _ in 0..3 {
        let before = site.status().unwrap()["broker"]["counters"]["closed"].as_u64().unwrap();
        let _ = Device::try_connect(&site, "credgate", GATEWAY.0, GATEWAY.1, None);
        wait_for("the end of the session", || {
            (site.status()?["broker"]["counters"]["closed"].as_u64()? > before && site.status()?["broker"]["state"] == "up").then_some(())
        });
    }
    assert!(site.log().contains("does another client use the same broker.client-id?"));
    assert_serves_again(&site, &secret);

    // Its certificate has expired, and then there is another one of another CA.
    broker(&mut site).renew_certificates(&["localhost"], (2020, 2024));
    assert_told(&site, "expired", "broker-certificate", "expired");
    broker(&mut site).renew_certificates(&["localhost"], (1975, 4096));
    assert_serves_again(&site, &secret);
}
