//! What a new user does: the demo, the line it prints, `init` and `serve`, the reference device client.
#![cfg(feature = "embedded-broker")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::site::{CREDGATE, Site};
use crate::verifier;

fn line_of(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| line.starts_with("mosquitto_rr "))
}

#[test]
fn the_demo_ends_after_its_check_with_once() {
    let output = Command::new(CREDGATE).args(["demo", "--once", "--listen", "127.0.0.1:0"]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for word in
        ["oauth2/v1/client/demo-device/token/json", "oauth2/v1/client/demo-device/token/cbor", "at+jwt", "telemetry:write", "verified"]
    {
        assert!(text.contains(word), "{word} is missing in:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours into a pipe");
}

#[test]
fn the_line_that_the_demo_prints_gets_a_token_by_hand() {
    let directory = tempfile::TempDir::with_prefix("credgate-demo-").unwrap();
    let mut demo = Command::new(CREDGATE)
        .args(["demo", "--listen", "127.0.0.1:0", "--state-directory"])
        .arg(directory.path().join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(demo.stdout.take().unwrap());
    let mut printed = String::new();
    while line_of(&printed).is_none() {
        assert_ne!(reader.read_line(&mut printed).unwrap(), 0, "the demo ended early:\n{printed}");
    }
    let line = line_of(&printed).unwrap().to_owned();
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)));
    assert!(answer["access_token"].is_string(), "{answer}");
    // Ctrl-C.
    assert!(Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(demo.wait().unwrap().success(), "{rest}");
}

/// Runs the reference client against a site.
fn device_token(site: &Site, secret: &str, arguments: &[&str]) -> std::process::Output {
    Command::new(CREDGATE)
        .args(["device", "token", "--client-id", "dev1", "--broker", &format!("mqtts://localhost:{}", site.port()), "--ca-file"])
        .arg(site.ca_file())
        .args(arguments)
        .env("CREDGATE_CLIENT_SECRET", secret)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn speak_every_dialect(site: &Site) {
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write telemetry:read config:read");
    for version in ["5", "3.1.1"] {
        for format in ["json", "cbor"] {
            for qos in ["0", "1"] {
                let arguments = ["--mqtt-version", version, "--format", format, "--qos", qos, "--scope", "telemetry:write", "--verify"];
                let output = device_token(site, &secret, &arguments);
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{arguments:?}: {errors}");
                assert!(errors.contains("verified"), "{errors}");
                let token = String::from_utf8(output.stdout).unwrap();
                assert_eq!(token.lines().count(), 1);
                let (_, claims) = credgate::jose::decode_unverified(token.trim()).unwrap();
                assert_eq!((&claims["client_id"], &claims["scope"]), (&"dev1".into(), &"telemetry:write".into()));
            }
        }
    }
    let decoded = device_token(site, &secret, &["--audience", "config", "--decode"]);
    let text = String::from_utf8(decoded.stdout).unwrap();
    assert!(text.contains("\"aud\": \"https://config.example\""), "{text}{}", String::from_utf8_lossy(&decoded.stderr));
    assert!(!text.contains("eyJ"), "claims instead of the token");
    let whole = device_token(site, &secret, &["--audience", "config", "--output", "json"]);
    let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!((&whole["token_type"], &whole["expires_in"], &whole["scope"]), (&"Bearer".into(), &60.into(), &"config:read".into()));
    // A token by the reference client is one for PyJWT too.
    let keys: Value = serde_json::from_slice(&device_jwks(site, &secret)).unwrap();
    verifier::verify(&keys, whole["access_token"].as_str().unwrap(), "https://config.example", "EdDSA");

    let refused = device_token(site, &secret, &["--scope", "nonsense"]);
    assert_eq!(refused.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("invalid_scope"));
    let stranger = device_token(site, "wrong", &[]);
    assert_eq!(stranger.status.code(), Some(77), "{}", String::from_utf8_lossy(&stranger.stderr));
}

fn device_jwks(site: &Site, secret: &str) -> Vec<u8> {
    let output = Command::new("mosquitto_sub")
        .args(["-h", "localhost", "-p", &site.port().to_string(), "-V", "5", "-i", "dev1", "-u", "dev1", "-P", secret])
        .args(["-t", "oauth2/v1/as/jwks", "-C", "1", "-W", "30", "--cafile"])
        .arg(site.ca_file())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_reference_client_on_the_embedded_broker() {
    speak_every_dialect(&Site::embedded());
}

#[test]
fn the_reference_client_through_mosquitto() {
    speak_every_dialect(&Site::mosquitto());
}

#[test]
fn a_secret_is_no_argument() {
    let help = Command::new(CREDGATE).args(["device", "token", "--help"]).output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.contains("--secret-file") && text.contains("CREDGATE_CLIENT_SECRET"), "{text}");
    assert!(!text.contains("--secret ") && !text.contains("--client-secret "), "{text}");
}

#[test]
fn serve_without_a_certificate_says_what_to_do() {
    let directory = tempfile::TempDir::with_prefix("credgate-bare-").unwrap();
    let config = directory.path().join("credgate.toml");
    std::fs::write(&config, "").unwrap();
    let output = Command::new(CREDGATE)
        .args(["serve", "--config", config.to_str().unwrap()])
        .env("CREDGATE_STATE_DIRECTORY", directory.path().join("state"))
        .env("CREDGATE_CONTROL_SOCKET", directory.path().join("control.sock"))
        .env("CREDGATE_EMBEDDED_BROKER__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("credgate init"), "{text}");
}
