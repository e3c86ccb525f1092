//! The doctor: each check made to fail for real, and the advice it then gives.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::mosquitto::{GATEWAY, Mosquitto};
use crate::site::{Broker, Site, wait_for};

/// Runs the checks of these ids, or all: the exit code and what was found.
fn check(site: &Site, ids: &[&str]) -> (i32, Value) {
    let output = site.run(&[&["check", "--output", "json"], ids].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().unwrap(), report)
}

/// Asserts that a check has that result, found these words and gives advice with those.
#[track_caller]
fn assert_check(site: &Site, id: &str, result: &str, found: &str, advice: &str) {
    let (exit, report) = check(site, &[id]);
    let checked = &report["checks"][0];
    assert_eq!((&checked["id"], &checked["result"]), (&id.into(), &result.into()), "{report}");
    assert_eq!(exit, ["ok", "warning", "error"].iter().position(|word| *word == result).unwrap_or(0) as i32, "{report}");
    let findings = checked["findings"].as_array().unwrap();
    let is_told = |finding: &Value| {
        finding["outcome"] == result
            && finding["found"].as_str().unwrap().contains(found)
            && (advice.is_empty() || finding["advice"].as_str().unwrap_or_default().contains(advice))
    };
    assert!(findings.iter().any(is_told), "{found:?} and {advice:?} in {report}");
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Adds to a section of the configuration.
fn configure(site: &Site, section: &str, lines: &str) {
    let text = fs::read_to_string(site.config()).unwrap();
    let heading = format!("[{section}]\n");
    let text = if text.contains(&heading) {
        text.replacen(&heading, &format!("{heading}{lines}\n"), 1)
    } else {
        format!("{text}\n{heading}{lines}\n")
    };
    fs::write(site.config(), text).unwrap();
}

#[test]
fn the_documented_checks_are_those_there_are() {
    let site = Site::mosquitto();
    let listed: Value = serde_json::from_str(&site.credgate(&["check", "--list", "--output", "json"])).unwrap();
    let listed: Vec<(&str, &str)> = listed["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| (check["id"].as_str().unwrap(), check["title"].as_str().unwrap()))
        .collect();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let chapter = text.split("## The doctor").nth(1).expect("docs/operations.md has a chapter The doctor").split("\n## ").next().unwrap();
    let documented: Vec<(&str, &str)> = chapter
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [id, title, _] = cells.as_slice() else { return None };
            Some((id.strip_prefix('`')?.strip_suffix('`')?, *title))
        })
        .collect();
    assert_eq!(documented, listed);
    let refused = site.run(&["check", "nonsense"]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--list"), "{refused:?}");
}

#[test]
fn a_sound_installation_has_no_errors() {
    let site = Site::mosquitto();
    site.define_policy();
    site.add_client("dev1", "telemetry:write");
    for is_running in [true, false] {
        let (exit, report) = check(&site, &[]);
        assert_ne!(exit, 2, "{report:#}");
        let result = |id: &str| report["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap()["result"].clone();
        for id in [
            "config",
            "config-file",
            "state-directory",
            "secret-files",
            "registry",
            "signing-keys",
            "broker-connection",
            "broker-certificate",
            "broker-acl",
            "broker-strangers",
        ] {
            assert_eq!(result(id), "ok", "{id}: {report:#}");
        }
        for id in ["control-socket", "configuration-in-force", "version", "writes", "core-dumps", "open-files", "broker-session"] {
            assert_eq!(result(id), if is_running { "ok" } else { "skipped" }, "{id}: {report:#}");
        }
        assert_eq!(result("daemon"), if is_running { "ok" } else { "warning" });
        if is_running {
            // The probes leave nothing behind, and nobody's session ends.
            let status = site.status().unwrap();
            assert_eq!((&status["broker"]["state"], &status["broker"]["counters"]["connections"]), (&"up".into(), &1.into()));
            assert!(site.stop("TERM").success());
        }
    }
    let table = site.run(&["check"]);
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(text.contains("WHAT TO DO") && text.contains("credgate serve") && text.contains("26 checks: "), "{text}");
    assert!(table.stderr.is_empty(), "progress is for terminals: {table:?}");
}

#[test]
fn deny_an_invalid_configuration() {
    let site = Site::mosquitto();
    configure(&site, "broker", "frobnicate = 1");
    let (exit, report) = check(&site, &["config", "broker-acl", "disk-space"]);
    let results: Vec<&str> = report["checks"].as_array().unwrap().iter().map(|check| check["result"].as_str().unwrap()).collect();
    assert_eq!((exit, results), (2, vec!["error", "skipped", "skipped"]));
    let finding = &report["checks"][0]["findings"][0];
    assert!(finding["found"].as_str().unwrap().contains("frobnicate") && finding["advice"].as_str().unwrap().contains("credgate.toml"));
}

#[test]
fn deny_files_that_others_can_get_at() {
    let site = Site::mosquitto();
    let key = fs::read_dir(site.path("state/keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "pem"));
    let key = key.unwrap();
    assert_check(&site, "master-key", "warning", "plain files", "master key");
    for (id, path, mode, found, advice) in [
        ("config-file", site.config(), 0o666, "0666", "chmod go-w"),
        ("state-directory", site.path("state"), 0o755, "0755", "chmod 700"),
        ("secret-files", site.path("broker.password"), 0o644, "broker.password-file", "chmod 0600"),
        ("secret-files", key, 0o640, "0640", "chmod 600"),
        ("control-socket", site.path("control.sock"), 0o666, "0666", "chmod 660"),
        ("control-socket", site.directory.path().to_owned(), 0o777, "anybody can put a socket", "control-socket"),
    ] {
        let before = fs::metadata(&path).unwrap().permissions().mode();
        chmod(&path, mode);
        assert_check(&site, id, "error", found, advice);
        chmod(&path, before);
        assert_eq!(check(&site, &[id]).1["result"], "ok", "{id}");
    }
    let master = site.path("master.key");
    fs::write(&master, [7; 32]).unwrap();
    chmod(&master, 0o644);
    configure(&site, "keys", &format!("master-key-file = \"{}\"", master.display()));
    assert_check(&site, "master-key", "error", "0644", "keys.master-key-file");
    // Only root can give a file away.
    if Command::new("chown").arg("12345").arg(site.path("state/registry/db")).status().unwrap().success() {
        assert_check(&site, "state-directory", "error", "do not belong", "chown -R");
    }
}

#[test]
fn deny_a_registry_that_cannot_be_read() {
    let site = Site::mosquitto();
    site.define_policy();
    assert_check(&site, "registry", "ok", "records were read", "");
    assert!(site.stop("TERM").success());
    assert_check(&site, "registry", "ok", "records were read", "");
    let snapshot = || {
        let files = fs::read_dir(site.path("state/registry")).unwrap().map(|entry| entry.unwrap().path());
        files.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snap."))
    };
    let damaged = snapshot().expect("the registry has a snapshot");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[0] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    assert_check(&site, "registry", "warning", "damaged snapshot", "backup");
    let log = site.path("state/registry/db");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    assert_check(&site, "registry", "error", "state/registry", "backup");
}

#[test]
fn a_gateway_that_does_not_serve_is_told() {
    let mut site = Site::mosquitto();
    let Broker::Mosquitto(mosquitto) = &mut site.broker else { panic!("no Mosquitto") };
    mosquitto.stop();
    wait_for("the link's end", || (site.status()?["broker"]["state"] != "up").then_some(()));
    assert_check(&site, "daemon", "error", "down", "broker-connection");
    assert_check(&site, "broker-connection", "error", "nothing listens there", "[broker]");
    for id in ["broker-certificate", "broker-acl", "broker-strangers"] {
        assert_check(&site, id, "skipped", "broker-connection", "");
    }
    assert!(site.stop("TERM").success());
    assert_check(&site, "daemon", "warning", "no gateway runs", "credgate serve");
}

#[test]
fn a_certificate_that_does_not_serve_is_told() {
    const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
    let mut site = Site::mosquitto();
    configure(&site, "check", "certificate-warning = 315360000");
    let renew = |site: &mut Site, names: &[&str], years| match &mut site.broker {
        Broker::Mosquitto(mosquitto) => mosquitto.renew_certificates(names, years),
        Broker::Embedded => panic!("no Mosquitto"),
    };
    renew(&mut site, &NAMES, (2020, 2030));
    assert_check(&site, "broker-certificate", "warning", "2030-01-01T00:00:00Z", "renew");
    renew(&mut site, &NAMES, (2020, 2024));
    assert_check(&site, "broker-certificate", "error", "has expired at 2024-01-01T00:00:00Z", "renew");
    assert_check(&site, "broker-connection", "error", "expired", "[broker]");
    renew(&mut site, &NAMES, (2095, 2099));
    assert_check(&site, "broker-certificate", "error", "valid from 2095", "clock");
    renew(&mut site, &["elsewhere.example"], (2020, 2090));
    assert_check(&site, "broker-certificate", "error", "is for another name", "broker.url");
    renew(&mut site, &NAMES, (2020, 2090));
    assert_check(&site, "broker-certificate", "ok", "localhost, 127.0.0.1", "");
}

#[test]
fn an_acl_that_stops_the_gateway_is_told() {
    let site = Site::mosquitto();
    let Broker::Mosquitto(mosquitto) = &site.broker else { panic!("no Mosquitto") };
    for (acl, found) in [
        ("user credgate\ntopic write oauth2/v1/#\n", "delivers none"),
        ("user credgate\ntopic read oauth2/v1/#\n", "refused a message below oauth2/v1/client/"),
        ("user credgate\ntopic readwrite oauth2/v1/client/#\n", "refused a retained message below oauth2/v1/as/"),
    ] {
        mosquitto.set_acl(acl);
        assert_check(&site, "broker-acl", "error", found, "topic readwrite oauth2/v1/#");
    }
    // A password that is not the gateway's.
    mosquitto.set_password(GATEWAY.0, "another");
    assert_check(&site, "broker-connection", "error", "refused the connection", "broker");
    assert_check(&site, "broker-acl", "skipped", "broker-connection", "");
    assert_check(&site, "broker-strangers", "ok", "nobody is let in without credentials", "");
}

#[test]
fn deny_strangers_at_the_broker() {
    let login = format!("username = \"{}\"\npassword-file = \"PASSWORD\"\ntrusted = true\n", GATEWAY.0);
    let site = Site::linked_to(Mosquitto::start_with("allow_anonymous true"), "", &login);
    assert_check(&site, "broker-strangers", "warning", "anybody is let in without credentials", "allow_anonymous false");
    let Broker::Mosquitto(mosquitto) = &site.broker else { panic!("no Mosquitto") };
    mosquitto.set_acl("topic readwrite #\nuser credgate\ntopic readwrite oauth2/v1/#\n");
    assert_check(&site, "broker-strangers", "error", "reads what devices send", "allow_anonymous false");
    mosquitto.set_acl("topic write oauth2/v1/as/#\nuser credgate\ntopic readwrite oauth2/v1/#\n");
    assert_check(&site, "broker-strangers", "error", "replace the keys", "nobody but the gateway");
}

#[test]
fn a_session_that_is_taken_over_is_told() {
    let site = Site::mosquitto();
    assert_check(&site, "broker-session", "ok", "0 connections", "");
    for times in 1..=3_u64 {
        let (port, ca) = (site.port().to_string(), site.ca_file());
        let taken = Command::new("mosquitto_pub")
            .args(["-h", "localhost", "-p", &port, "--cafile", ca.to_str().unwrap(), "-V", "5", "-i", "credgate", "-q", "1"])
            .args(["-u", GATEWAY.0, "-P", GATEWAY.1, "-t", "oauth2/v1/as/~other", "-m", "x"])
            .status()
            .unwrap();
        assert!(taken.success());
        wait_for("another connection", || {
            let status = site.status()?;
            let link = &status["broker"];
            (link["state"] == "up" && link["counters"]["closed"].as_u64()? >= times).then_some(())
        });
    }
    assert_check(&site, "broker-session", "warning", "as if another client used that id", "broker.client-id");
}

#[test]
fn clock_and_keys_are_compared() {
    let site = Site::mosquitto();
    assert!(site.stop("TERM").success());
    assert_check(&site, "signing-keys", "ok", "is active since", "");
    let rotation = site.path("state/keys/rotation.json");
    let original = fs::read_to_string(&rotation).unwrap();
    let since = serde_json::from_str::<Value>(&original).unwrap()["rotation"]["active"]["since"].to_string();
    fs::write(&rotation, original.replace(&format!("\"since\": {since}"), "\"since\": 1735689600")).unwrap();
    assert_check(&site, "signing-keys", "warning", "should have been replaced after 90 days", "key rotate");
    configure(&site, "keys", "rotation-interval = 0");
    assert_check(&site, "signing-keys", "warning", "keys.rotation-interval is 0", "key rotate");
    fs::write(&rotation, &original).unwrap();

    let key = fs::read_dir(site.path("state/keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "pem"));
    let key = key.unwrap();
    let text = fs::read_to_string(&key).unwrap();
    let created = text.lines().find_map(|line| line.strip_prefix("created_at: ")).unwrap();
    fs::write(&key, text.replace(created, "4000000000")).unwrap();
    assert_check(&site, "clock", "error", "it has gone back", "set the clock");
}

#[test]
fn disks_are_measured() {
    let site = Site::mosquitto();
    assert_eq!(check(&site, &["disk-space"]).1["checks"][0]["id"], "disk-space");
    configure(&site, "check", "min-disk-free = 1125899906842624");
    assert_check(&site, "disk-space", "warning", "check.min-disk-free wants", "free space");
    let is_memory =
        fs::read_to_string("/proc/self/mountinfo").unwrap().lines().any(|line| line.contains(" /dev/shm ") && line.contains(" - tmpfs "));
    if is_memory && let Ok(memory) = tempfile::TempDir::new_in("/dev/shm") {
        let text = fs::read_to_string(site.config()).unwrap();
        let state = site.path("state").display().to_string();
        fs::write(site.config(), text.replace(&state, memory.path().to_str().unwrap())).unwrap();
        assert_check(&site, "storage", "warning", "is memory (tmpfs)", "ext4");
    }
}

#[test]
fn the_process_is_examined() {
    let site = Site::mosquitto();
    assert_check(&site, "hardening", "warning", "runs under no systemd unit", "systemd unit");
    assert_check(&site, "open-files", "ok", "files may be open", "");
    let pid = site.status().unwrap()["pid"].to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, "--nofile=32:"]).status().unwrap();
    assert!(limited.success());
    assert_check(&site, "open-files", "warning", "may open 32 files", "LimitNOFILE=64");
}

#[cfg(feature = "embedded-broker")]
mod embedded {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_embedded_broker_is_examined() {
        let site = Site::embedded();
        assert_check(&site, "listeners", "warning", "no device but this host", "[::]:8883");
        assert_check(&site, "embedded-certificate", "ok", "localhost, 127.0.0.1", "");
        for id in ["broker-connection", "broker-session"] {
            assert_check(&site, id, "skipped", "no broker of your own", "");
        }
        configure(&site, "embedded-broker", "max-connections = 1000000");
        let pid = site.status().unwrap()["pid"].to_string();
        assert!(Command::new("prlimit").args(["--pid", &pid, "--nofile=1024:"]).status().unwrap().success());
        assert_check(&site, "open-files", "warning", "1000000 connections", "embedded-broker.max-connections");

        let (certificate, key) = (site.path("own.crt"), site.path("own.key"));
        let files = format!("certificate-file = \"{}\"\nprivate-key-file = \"{}\"", certificate.display(), key.display());
        configure(&site, "embedded-broker", &files);
        assert_check(&site, "embedded-certificate", "error", "own.crt", "credgate init");
        let write = |names: &[&str], until: i32| {
            let pair = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
            fs::write(&certificate, params.self_signed(&pair).unwrap().pem()).unwrap();
            fs::write(&key, pair.serialize_pem()).unwrap();
            chmod(&key, 0o600);
        };
        write(&["a.example"], 2024);
        assert_check(&site, "embedded-certificate", "error", "has expired at 2024-01-01", "docs/operations.md");
        write(&[], 2090);
        assert_check(&site, "embedded-certificate", "error", "holds no name", "docs/operations.md");
        let other = fs::read(&key).unwrap();
        write(&["a.example"], 2090);
        assert_check(&site, "embedded-certificate", "ok", "a.example", "");
        configure(&site, "check", "certificate-warning = 315360000");
        write(&["a.example"], 2031);
        assert_check(&site, "embedded-certificate", "warning", "2031-01-01", "docs/operations.md");
        fs::write(&key, other).unwrap();
        assert_check(&site, "embedded-certificate", "error", "is not the private key", "private-key-file");
    }

    #[cfg(feature = "http")]
    #[test]
    fn metrics_for_other_hosts_are_told() {
        let site = Site::embedded();
        configure(&site, "http", "listen = [\"0.0.0.0:9464\"]\nallow-remote = true");
        assert_check(&site, "listeners", "warning", "served on 0.0.0.0:9464 to other hosts", "http.listen");
    }

    #[test]
    fn deny_a_certificate_of_another_ca() {
        let site = Site::embedded();
        // The CA that devices trust is another than the one that signed.
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        fs::write(site.path("state/tls/ca.crt"), params.self_signed(&pair).unwrap().pem()).unwrap();
        assert_check(&site, "embedded-certificate", "error", "do not accept it", "docs/operations.md");
    }
}
