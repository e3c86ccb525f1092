//! The operator's commands: over the control socket, directly, and when something is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::site::{Site, wait_for};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &std::process::Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

#[test]
fn the_same_commands_with_and_without_a_daemon() {
    let site = Site::mosquitto();
    site.define_policy();
    site.add_client("online", "telemetry:write");
    assert!(site.stop("TERM").success());
    site.add_client("offline", "telemetry:write config:read");
    let clients = json(&site.credgate(&["client", "list", "--output", "json"]));
    let ids: Vec<&str> = clients["clients"].as_array().unwrap().iter().map(|client| client["client_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["offline", "online"]);
    let status = site.run(&["status", "--output", "json"]);
    assert_eq!((code(&status), json(&String::from_utf8_lossy(&status.stdout))["running"].clone()), (3, Value::Bool(false)));
    site.start();
    let client = json(&site.credgate(&["client", "show", "offline", "--output", "json"]));
    assert_eq!(client["client_id"], "offline");
    assert_eq!(client["scope"], "config:read telemetry:write");
    assert_eq!(client["token_endpoint_auth_method"], "client_secret_post");
    assert_eq!(client["status"], "active");
    assert!(client["client_id_issued_at"].is_u64());
    assert!(client.get("client_secret").is_none() && !client.to_string().contains("digest"), "{client}");
    assert_eq!(json(&site.credgate(&["scope", "list", "--output", "json"]))["scopes"].as_array().unwrap().len(), 3);
    assert_eq!(json(&site.credgate(&["resource-server", "list", "--output", "json"]))["resource_servers"].as_array().unwrap().len(), 2);
}

#[test]
fn a_secret_is_shown_once_or_written_to_a_private_file() {
    let site = Site::mosquitto();
    site.define_policy();
    let shown = site.run_showing_secrets(&["client", "add", "a", "--scope", "telemetry:write", "--output", "json"]);
    let secret = json(&String::from_utf8_lossy(&shown.stdout))["client_secret"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 43);
    site.keep_secret(&secret);
    let table = site.run_showing_secrets(&["client", "add", "b", "--scope", "telemetry:write"]);
    assert!(table.status.success(), "{}", stderr(&table));
    site.add_client("c", "telemetry:write");
    let file = site.path("c.secret");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&file).unwrap().len(), 43);
    // Not overwritten, and the client is not made.
    let again = site.run(&["client", "add", "d", "--scope", "telemetry:write", "--secret-file", file.to_str().unwrap()]);
    assert_eq!(code(&again), 73, "{}", stderr(&again));
    let absent = site.run(&["client", "show", "d"]);
    assert_ne!(code(&absent), 0);
    // A client that cannot be added leaves no file.
    let unused = site.path("unused.secret");
    let refused = site.run(&["client", "add", "c", "--scope", "telemetry:write", "--secret-file", unused.to_str().unwrap()]);
    assert_ne!(code(&refused), 0);
    assert!(stderr(&refused).contains("exists"), "{}", stderr(&refused));
    assert!(!unused.exists());
}

#[test]
fn deny_what_an_operator_gets_wrong() {
    let site = Site::mosquitto();
    site.define_policy();
    site.credgate(&["resource-server", "add", "mq", "--audience", "urn:mq", "--dialect", "rabbitmq"]);
    site.credgate(&["scope", "add", "site:write", "--resource-server", "telemetry", "--permission", "pub {site}/#"]);
    for (arguments, expected, word) in [
        (&["client", "add", "a.b", "--scope", "telemetry:write"][..], 64, "client id"),
        (&["client", "add", "a", "--scope", "nonsense"], 65, "nonsense"),
        (&["client", "add", "a", "--role", "nonsense"], 65, "credgate role list"),
        (&["client", "add", "a", "--audience", "nowhere"], 65, "nowhere"),
        (&["client", "add", "a", "--scope", "config:read", "--default-scope", "telemetry:read"], 65, "telemetry:read"),
        (&["client", "add", "a", "--attribute", "site=+"], 64, "attribute"),
        (&["client", "add", "a", "--max-token-lifetime", "0"], 65, "lifetime"),
        (&["client", "edit", "nobody", "--name", "x"], 65, "nobody"),
        (&["client", "edit", "nobody"], 64, "nothing to change"),
        (&["role", "add", "r", "--scope", "nonsense"], 65, "nonsense"),
        (&["client", "add", "a", "--scope", "site:write"], 65, "{site}"),
        (&["scope", "add", "x", "--resource-server", "mq", "--permission", "pub a/+"], 65, "RabbitMQ"),
        (&["resource-server", "add", "y", "--audience", "y", "--dialect", "mosquitto"], 64, "mosquitto-jwt"),
        (&["resource-server", "add", "y", "--audience", "y", "--rabbitmq-vhost", "v"], 64, "rabbitmq"),
        (&["client", "show", "nobody"], 65, "nobody"),
        (&["client", "remove", "nobody", "--yes"], 65, "nobody"),
        (&["client", "remove", "nobody"], 65, "nobody"),
        (&["client", "frobnicate"], 64, "frobnicate"),
        (&["scope", "add", "x", "--resource-server", "nowhere", "--permission", "pub a"], 65, "nowhere"),
        (&["scope", "add", "x", "--resource-server", "telemetry", "--permission", "pub $SYS/a"], 64, "$"),
        (&["scope", "add", "telemetry:write", "--resource-server", "telemetry"], 65, "exists"),
        (&["resource-server", "add", "telemetry", "--audience", "x"], 65, "exists"),
        (&["resource-server", "add", "other", "--audience", "https://telemetry.example"], 65, "audience"),
    ] {
        let output = site.run(arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(word), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_second_daemon_is_refused() {
    let site = Site::mosquitto();
    let second = site.run(&["serve"]);
    assert_ne!(code(&second), 0);
    assert!(stderr(&second).contains("another"), "{}", stderr(&second));
    assert_eq!(site.status().unwrap()["running"], true);
}

#[test]
fn keys_and_state_are_private_files() {
    let site = Site::mosquitto();
    let keys = json(&site.credgate(&["key", "list", "--output", "json"]));
    let path = site.path("state/keys").join(format!("{}.pem", keys["keys"][0]["kid"].as_str().unwrap()));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&site.path("state")), 0o700);
    // The same key after a restart.
    assert!(site.stop("TERM").success());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("-----BEGIN PRIVATE KEY-----"));
    site.start();
    assert_eq!(json(&site.credgate(&["key", "list", "--output", "json"])), keys);
    // A key that others may read is no key.
    assert!(site.stop("TERM").success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = site.run(&["serve"]);
    assert_ne!(code(&refused), 0);
    assert!(stderr(&refused).contains("chmod 600"), "{}", stderr(&refused));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn acknowledged_changes_survive_a_kill() {
    let site = Site::mosquitto();
    site.define_policy();
    let mut expected = Vec::new();
    for round in 0..3 {
        for number in 0..4 {
            let id = format!("r{round}n{number}");
            site.add_client(&id, "telemetry:write");
            expected.push(id);
        }
        let gone = expected.remove(round);
        site.credgate(&["client", "remove", &gone, "--yes"]);
        assert!(!site.stop("KILL").success());
        site.start();
        let clients = json(&site.credgate(&["client", "list", "--output", "json"]));
        let mut ids: Vec<&str> =
            clients["clients"].as_array().unwrap().iter().map(|client| client["client_id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        expected.sort();
        assert_eq!(ids, expected);
    }
}

#[test]
fn commands_at_once_all_succeed_or_say_why() {
    let site = Site::mosquitto();
    site.define_policy();
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..8)
            .map(|number| {
                let site = &site;
                // Four ids, each asked for twice: one of the two must lose.
                scope.spawn(move || site.run_showing_secrets(&["client", "add", &format!("c{}", number % 4), "--scope", "telemetry:write"]))
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap().status.success()).collect()
    });
    assert_eq!(outcomes.iter().filter(|success| **success).count(), 4);
    assert_eq!(json(&site.credgate(&["client", "list", "--output", "json"]))["clients"].as_array().unwrap().len(), 4);
}

#[test]
fn config_is_checked_and_shown() {
    let site = Site::mosquitto();
    let told = site.run(&["config", "check"]);
    assert!(told.status.success() && stderr(&told).contains("warning: signing keys are not sealed"), "{told:?}");
    let checked = |site: &Site| json(&site.credgate(&["config", "check", "--output", "json"]));
    assert_eq!((&checked(&site)["valid"], &checked(&site)["warnings"][0]["code"]), (&Value::Bool(true), &Value::from("keys_not_sealed")));
    let plain = fs::read_to_string(site.config()).unwrap();
    let master_key = site.path("master.key");
    fs::write(site.config(), format!("{plain}[keys]\nmaster-key-file = \"{}\"\n", master_key.display())).unwrap();
    assert_eq!(checked(&site)["warnings"][0]["code"], "private_file_unreadable");
    fs::write(&master_key, [7; 32]).unwrap();
    crate::site::restrict(&master_key);
    assert_eq!(checked(&site)["warnings"], Value::Array(Vec::new()));
    fs::write(site.config(), plain).unwrap();
    let shown = site.credgate(&["config", "show"]);
    assert!(shown.contains("max-lifetime = 3600") && shown.contains("trusted = true"), "{shown}");
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), text.replace("trusted = true", "trustd = true\n[token]\nlifetime = \"long\"")).unwrap();
    let refused = site.run(&["config", "check"]);
    assert_eq!(code(&refused), 78);
    let line = text.lines().position(|line| line == "trusted = true").unwrap() + 1;
    let message = stderr(&refused);
    assert!(message.contains(&format!("credgate.toml:{line}")), "{message}");
    assert!(message.contains("trustd") && message.contains("trusted"), "{message}");
    assert_eq!(code(&site.run(&["serve"])), 78);
    assert_eq!(code(&site.run(&["client", "list"])), 78);
}

#[test]
fn the_broker_may_come_later_and_go_away() {
    let mut site = Site::mosquitto();
    fn mosquitto(site: &mut Site) -> &mut crate::mosquitto::Mosquitto {
        let crate::site::Broker::Mosquitto(broker) = &mut site.broker else { unreachable!("a Mosquitto site") };
        broker
    }
    mosquitto(&mut site).stop();
    wait_for("the link to be down", || site.status().filter(|status| status["broker"]["state"] != "up"));
    mosquitto(&mut site).restart();
    wait_for("the link to be up", || site.status().filter(|status| status["broker"]["state"] == "up"));
    assert!(site.status().unwrap()["broker"]["counters"]["connections"].as_u64().unwrap() >= 2);
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let site = Site::mosquitto();
    let command = format!("{} --config {} config show | true", crate::site::CREDGATE, site.config().display());
    let output = std::process::Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {command}; {} client --help | head -1", crate::site::CREDGATE)])
        .output()
        .unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}

#[test]
fn the_link_logs_in_by_client_certificate() {
    let broker = crate::mosquitto::Mosquitto::start_with("require_certificate true\nuse_identity_as_username true");
    let (certificate, key) = broker.gateway_identity();
    let identity = format!("certificate-file = \"{}\"\nprivate-key-file = \"{}\"\n", certificate.display(), key.display());
    let site = Site::linked_to(broker, "", &identity);
    // Up means that the broker took its subscription and its retained documents, which its ACL allows to that user alone.
    assert_eq!(site.status().unwrap()["broker"]["state"], "up");
    assert!(!site.log().contains("WARN\",\"message\":\"broker link down"), "{}", site.log());
}

#[test]
fn secrets_are_refused_through_an_untrusted_broker() {
    let site = Site::mosquitto_with("", "");
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let device = crate::device::Device::connect(&site, "dev1", &secret);
    let answer = device.request(&crate::device::Ask::json("dev1", &secret, &serde_json::json!({})));
    let body = crate::device::body(&answer);
    assert_eq!(body["error"], "invalid_client", "{body}");
    assert!(site.log().contains("broker.trusted is false"), "the operator is told at the start");
    wait_for("the decision", || site.decisions("dev1").pop().filter(|line| line["reason"] == "untrusted_broker"));
}
