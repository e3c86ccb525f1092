//! `credgate explain` tells what the gateway then does.

use serde_json::Value;

use crate::site::Site;

fn explain(site: &Site, arguments: &[&str]) -> (i32, Value) {
    let output = site.run(&[&["explain", "--output", "json"], arguments].concat());
    let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().unwrap(), told)
}

/// A real request of the reference device: whether it got a token.
fn ask(site: &Site, client_id: &str, flags: &[&str]) -> bool {
    let (url, ca) = (format!("mqtts://localhost:{}", site.port()), site.ca_file());
    let secret = site.path(&format!("{client_id}.secret"));
    let fixed = [
        "device",
        "token",
        "--broker",
        &url,
        "--ca-file",
        ca.to_str().unwrap(),
        "--client-id",
        client_id,
        "--secret-file",
        secret.to_str().unwrap(),
    ];
    site.run_showing_secrets(&[&fixed, flags].concat()).status.success()
}

#[test]
fn the_reason_is_that_of_the_log_with_and_without_a_daemon() {
    let site = Site::mosquitto();
    site.define_policy();
    site.add_client("dev1", "telemetry:write config:read");
    site.add_client("dev2", "telemetry:write");
    site.credgate(&["client", "suspend", "dev2"]);
    let questions: [(&str, &[&str], &str); 5] = [
        ("dev1", &["--scope", "telemetry:write"], "ok"),
        ("dev1", &["--audience", "config"], "ok"),
        ("dev1", &[], "ambiguous_audience"),
        ("dev1", &["--scope", "telemetry:read"], "scope_not_granted"),
        ("dev2", &["--scope", "telemetry:write"], "suspended_client"),
    ];
    let mut told = Vec::new();
    for (client_id, flags, reason) in questions {
        let (exit, explained) = explain(&site, &[&["--client", client_id], flags].concat());
        assert_eq!((exit, &explained["reason"]), (if reason == "ok" { 0 } else { 4 }, &reason.into()), "{explained}");
        assert_eq!(ask(&site, client_id, flags), reason == "ok", "{client_id} {flags:?}");
        assert_eq!(site.decisions(client_id).last().unwrap()["reason"], reason);
        told.push(explained);
    }
    assert_eq!((&told[1]["token"]["lifetime"], &told[1]["token"]["claims"]["aud"]), (&60.into(), &"https://config.example".into()));
    // A look notes no use of a credential.
    site.add_client("dev3", "telemetry:write");
    assert_eq!(explain(&site, &["--client", "dev3"]).0, 0);
    let shown: Value = serde_json::from_str(&site.credgate(&["client", "show", "dev3", "--output", "json"])).unwrap();
    assert!(shown["secrets"][0].get("last_used").is_none(), "{shown}");

    assert!(site.stop("TERM").success());
    for ((client_id, flags, _), online) in questions.iter().zip(&mut told) {
        let at = online["at"].to_string();
        let (_, mut offline) = explain(&site, &[&["--client", *client_id, "--at", &at], *flags].concat());
        assert_eq!(&mut offline, online);
    }
    // In another time, through another link.
    let (exit, explained) = explain(&site, &["--client", "dev1", "--link", "broker", "--method", "private_key_jwt"]);
    assert_eq!((exit, &explained["reason"]), (4, &"wrong_auth_method".into()));
    let refused = site.run(&["explain", "--client", "dev1", "--link", "embedded-broker"]);
    assert_eq!(refused.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("it has broker"), "{refused:?}");
}
