//! Configuration, certificates and passwords that are taken over without a restart.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::device::{Ask, Device, body};
use crate::mosquitto::{GATEWAY, Mosquitto};
use crate::site::{Broker, Site, wait_for};

fn append(site: &Site, text: &str) {
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), config + text).unwrap();
}

fn reload(site: &Site) -> Value {
    serde_json::from_str(&site.credgate(&["reload", "--output", "json"])).unwrap()
}

/// How long a new token lives.
fn lifetime(device: &Device, client_id: &str, secret: &str) -> Value {
    body(&device.request(&Ask::json(client_id, secret, &json!({}))))["expires_in"].clone()
}

fn is_up(site: &Site) -> Option<Value> {
    site.status().filter(|status| status["broker"]["state"] == "up")
}

/// Without the watch a test has the reload that it asks for, and no other.
const BY_COMMAND: &str = "reload-on-change = false\n";

#[test]
fn settings_are_taken_over_or_wait_for_a_restart() {
    let site = Site::mosquitto_with(BY_COMMAND, "trusted = true\n");
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let device = Device::connect(&site, "dev1", &secret);
    assert_eq!(lifetime(&device, "dev1", &secret), 300);
    assert_eq!(reload(&site), json!({"taken": [], "restart": [], "certificate": false, "link": false}));

    append(&site, "[token]\nlifetime = 60\nreplay-capacity = 2048\n[log]\nlevel = \"trace\"\n[clock]\nfloor = \"issue\"\n");
    let came = reload(&site);
    assert_eq!(
        (&came["taken"], &came["restart"], &came["link"]),
        (&json!(["token.lifetime"]), &json!(["token.replay-capacity"]), &json!(false))
    );
    assert_eq!(lifetime(&device, "dev1", &secret), 60);
    let status = site.status().unwrap();
    assert_eq!(status["configuration"]["restart"], json!(["token.replay-capacity"]));
    let foreseen: Value = serde_json::from_str(&site.credgate(&["explain", "--client", "dev1", "--output", "json"])).unwrap();
    assert_eq!(foreseen["token"]["lifetime"], 60, "{foreseen}");
    let told = site.credgate(&["status"]);
    assert!(told.contains("read anew at ") && told.contains("by command") && told.contains("token.replay-capacity"), "{told}");

    // SIGHUP does the same, and ends nobody.
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), config.replace("lifetime = 60", "lifetime = 90")).unwrap();
    let pid = status["pid"].to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    wait_for("a reload by SIGHUP", || site.status().filter(|status| status["configuration"]["trigger"] == "signal"));
    assert_eq!(lifetime(&device, "dev1", &secret), 90);
    assert_eq!(site.status().unwrap()["pid"].to_string(), pid);
    let trail = site.credgate(&["audit", "list", "--type", "configuration", "--limit", "0", "--output", "json"]);
    assert!(trail.contains("\"signal\"") && trail.contains("\"command\"") && trail.contains("\"done\""), "{trail}");
}

#[test]
fn deny_a_configuration_that_is_wrong() {
    let site = Site::mosquitto_with(BY_COMMAND, "trusted = true\n");
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let device = Device::connect(&site, "dev1", &secret);
    let good = fs::read_to_string(site.config()).unwrap();
    let socket = site.path("control.sock").to_str().unwrap().to_owned();
    let by_socket = |arguments: &[&str]| site.credgate(&[arguments, &["--control-socket", &socket]].concat());
    for (bad, words) in [
        ("[token]\nlifetime = 60\nlifetine = 3\n", &["did you mean `lifetime`", "credgate.toml"][..]),
        ("[token]\nlifetime = 60\n[clock]\nfloor = \"sometimes\"\n", &["floor"]),
        ("[token\n", &["credgate.toml"]),
        // What it names must be there, too.
        ("[token]\nlifetime = 60\n", &["no.such.ca"]),
    ] {
        let text = if words == ["no.such.ca"] { good.replacen("ca-file = \"", "ca-file = \"/no.such.ca", 1) } else { good.clone() };
        fs::write(site.config(), text + bad).unwrap();
        // Without a named socket the command itself needs the configuration, to find the gateway.
        let own = site.run(&["reload"]);
        let told = String::from_utf8_lossy(&own.stderr).into_owned();
        let needs_it = words != ["no.such.ca"];
        assert_eq!((own.status.code(), needs_it && !told.contains("a gateway that runs goes on with")), (Some(78), false), "{bad}: {told}");
        let output = site.run(&["reload", "--control-socket", &socket]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{bad}: {told}");
        assert!(told.contains("the old one stays in force") && words.iter().all(|word| told.contains(word)), "{bad}: {told}");
        assert_eq!(lifetime(&device, "dev1", &secret), 300, "{bad}");
        let status: Value = serde_json::from_str(&by_socket(&["status", "--output", "json"])).unwrap();
        assert!(
            status["configuration"]["problem"].as_str().is_some_and(|problem| words.iter().all(|word| problem.contains(word))),
            "{status}"
        );
    }
    assert!(by_socket(&["status"]).contains("REFUSED at "));
    fs::write(site.config(), good).unwrap();
    assert_eq!(reload(&site)["taken"], json!([]));
    assert_eq!(site.status().unwrap()["configuration"]["problem"], Value::Null);
}

#[cfg(feature = "embedded-broker")]
#[test]
fn a_renewed_certificate_is_shown_and_nobody_is_cut_off() {
    let site = Site::embedded_with(BY_COMMAND);
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let device = Device::connect(&site, "dev1", &secret);
    let now = credgate::clock::UnixTime::from(std::time::SystemTime::now());
    let made = credgate::tls::create_pki(&site.path("renewed"), &["localhost".to_owned()], now).unwrap();
    let place = site.path("state/tls");
    // Half of it is not taken.
    fs::copy(&made.certificate, place.join("broker.crt")).unwrap();
    let refused = site.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(78), "{}", String::from_utf8_lossy(&refused.stderr));
    drop(Device::try_connect(&site, "dev1.a", "dev1", &secret, None).expect("the old certificate is shown"));
    fs::copy(&made.private_key, place.join("broker.key")).unwrap();
    let came = reload(&site);
    assert_eq!((&came["certificate"], &came["taken"]), (&json!(true), &json!([])));
    fs::copy(&made.ca_certificate, place.join("ca.crt")).unwrap();
    let newcomer = Device::try_connect(&site, "dev1.b", "dev1", &secret, None).expect("the new CA vouches for the new certificate");
    assert_eq!(lifetime(&newcomer, "dev1", &secret), 300);
    assert_eq!(lifetime(&device, "dev1", &secret), 300, "a connection from before");
    assert_eq!(reload(&site)["certificate"], false, "it is the same");
}

#[test]
fn a_password_that_changes_is_taken_over_by_itself() {
    let mut site = Site::mosquitto();
    site.keep_secret("the-next-password");
    let Broker::Mosquitto(mosquitto) = &mut site.broker else { unreachable!() };
    mosquitto.set_password(GATEWAY.0, "the-next-password");
    mosquitto.restart();
    wait_for("the broker to refuse the old password", || site.status().filter(|status| status["broker"]["state"] == "down"));
    fs::write(site.path("broker.password"), "the-next-password\n").unwrap();
    let status = wait_for("the link with the new password", || is_up(&site));
    assert_eq!((&status["configuration"]["trigger"], &status["configuration"]["problem"]), (&json!("file"), &Value::Null));
}

#[test]
fn the_link_moves_to_another_broker() {
    let mut site = Site::mosquitto_with(BY_COMMAND, "trusted = true\n");
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let other = Mosquitto::start();
    other.set_password("dev1", &secret);
    let Broker::Mosquitto(first) = &site.broker else { unreachable!() };
    let text = fs::read_to_string(site.config()).unwrap();
    let moved = text
        .replace(&format!("localhost:{}", first.port()), &format!("localhost:{}", other.port()))
        .replace(first.ca_file().to_str().unwrap(), other.ca_file().to_str().unwrap());
    fs::write(site.config(), moved).unwrap();
    let came = reload(&site);
    assert_eq!((&came["link"], &came["restart"]), (&json!(true), &json!([])));
    let url = format!("mqtts://localhost:{}", other.port());
    wait_for("the link to the other broker", || is_up(&site).filter(|status| status["broker"]["url"] == url.as_str()));
    first.wait_for_log("Client credgate disconnected");
    site.broker = Broker::Mosquitto(other);
    let device = Device::connect(&site, "dev1", &secret);
    assert_eq!(lifetime(&device, "dev1", &secret), 300);
    // A link that was not there at the start, or was, is for the next one.
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), text.replace(&format!("url = \"{url}\""), "url = \"\"").replace("enabled = false", "enabled = true")).unwrap();
    let came = reload(&site);
    assert!(came["restart"].as_array().unwrap().contains(&json!("broker.url")), "{came}");
    assert_eq!((&came["taken"], &came["link"]), (&json!([]), &json!(false)));
    assert_eq!(lifetime(&device, "dev1", &secret), 300);
}

#[test]
fn without_a_gateway_there_is_nothing_to_reload() {
    let site = Site::mosquitto();
    site.stop("TERM");
    let output = site.run(&["reload"]);
    assert_eq!(output.status.code(), Some(69), "{}", String::from_utf8_lossy(&output.stderr));
}
