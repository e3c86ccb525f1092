//! What runs out on a small host: descriptors, room for files, memory. Tokens go on, changes fail and change nothing, and all is well again by itself.

use std::fs;
#[cfg(feature = "embedded-broker")]
use std::net::TcpStream;
use std::process::Command;

use rumqttc::v5::mqttbytes::QoS;
use serde_json::json;

use crate::device::{Ask, Device, body};
use crate::site::{Broker, Site, wait_for};

fn pid(site: &Site) -> String {
    site.status().unwrap()["pid"].to_string()
}

/// Sets a soft limit of the gateway, by prlimit(1) of util-linux.
fn limit(pid: &str, resource: &str, value: &str) {
    let set = Command::new("prlimit").args(["--pid", pid, &format!("--{resource}={value}:")]).output().unwrap();
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
}

#[cfg(feature = "embedded-broker")]
fn descriptors(pid: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// KiB that are resident.
fn resident(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

fn assert_token(device: &Device, secret: &str) {
    let answer = body(&device.request(&Ask::json("dev1", secret, &json!({}))));
    assert!(answer["access_token"].is_string(), "{answer}");
}

#[cfg(feature = "embedded-broker")]
#[test]
fn descriptors_that_run_out_stop_no_token() {
    let site = Site::embedded();
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let device = Device::connect(&site, "dev1", &secret);
    assert_token(&device, &secret);
    let pid = pid(&site);
    let open = descriptors(&pid);
    limit(&pid, "nofile", &(open + 2).to_string());
    // All that are left are taken by connections that say nothing.
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", site.port())).unwrap()).collect();
    wait_for("the end of the descriptors", || (descriptors(&pid) >= open + 2).then_some(()));
    for _ in 0..10 {
        assert_token(&device, &secret);
    }
    wait_for("a word of it in the log", || {
        let log = site.log();
        log.lines().any(|line| line.contains("WARN") && line.contains("Too many open files")).then_some(())
    });
    drop(silent);
    // By itself, with the limit as it is: there is room for one.
    wait_for("room again", || {
        Device::try_connect(&site, "dev1.2", "dev1", &secret, None).ok().map(|device| assert_token(&device, &secret))
    });
    site.credgate(&["client", "add", "dev2", "--scope", "telemetry:write"]);
    assert_token(&device, &secret);
}

#[cfg(feature = "embedded-broker")]
#[test]
fn a_storm_of_connections_is_served_one_after_the_other() {
    let site = Site::embedded_with("[limits]\nhandshake-rate = 20\nhandshake-rate-per-address = 20\n");
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    // Whoever says nothing keeps nobody from a turn.
    let _silent: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(("127.0.0.1", site.port())).unwrap()).collect();
    let started = std::time::Instant::now();
    std::thread::scope(|threads| {
        for number in 0..60 {
            let (site, secret) = (&site, &secret);
            threads.spawn(move || {
                let device = Device::try_connect(site, &format!("dev1.{number}"), "dev1", secret, None).unwrap();
                assert_token(&device, secret);
            });
        }
    });
    // No more than 20 began in a second, so the last began in the third at the earliest.
    assert!(started.elapsed() > std::time::Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn files_that_may_not_grow_stop_no_token() {
    let site = Site::mosquitto();
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let device = Device::connect(&site, "dev1", &secret);
    assert_token(&device, &secret);
    // The log of the tests is a file, too, and would not grow either; nobody reads it.
    let pid = pid(&site);
    let log = fs::metadata(site.path("state/registry/db")).unwrap().len();
    limit(&pid, "fsize", "1");
    let mut refused = None;
    // What there is room for in the file as it is still goes.
    let mut added = Vec::new();
    for number in 0..2_000 {
        let id = format!("more-{number}");
        let output = site.run(&["client", "add", &id, "--scope", "telemetry:write"]);
        if output.status.success() {
            added.push(id);
        } else {
            refused = Some((id, String::from_utf8_lossy(&output.stderr).into_owned()));
            break;
        }
    }
    let (id, told) = refused.expect("a change that needs room");
    assert!(told.contains("File too large") || told.contains("too large"), "{told}");
    assert_eq!(fs::metadata(site.path("state/registry/db")).unwrap().len(), log);
    for _ in 0..10 {
        assert_token(&device, &secret);
    }
    // It changed nothing, and what was acknowledged is there.
    assert!(!site.run(&["client", "show", &id]).status.success());
    for id in &added {
        site.credgate(&["client", "show", id]);
    }
    limit(&pid, "fsize", "unlimited");
    site.credgate(&["client", "add", &id, "--scope", "telemetry:write"]);
    assert_token(&device, &secret);
    site.stop("TERM");
    site.start();
    for id in added.iter().chain([&id]) {
        site.credgate(&["client", "show", id]);
    }
}

#[test]
fn unknown_clients_take_no_memory() {
    const UNKNOWN: usize = 100_000;
    let site = Site::mosquitto_with("[limits]\noverall-rate = 0\n", "trusted = true\n");
    // Its log of each refusal is for the other tests.
    site.stop("TERM");
    site.start_with_log("warn", &site.path("quiet.log"));
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let Broker::Mosquitto(mosquitto) = &site.broker else { panic!("it has a broker of its own") };
    mosquitto.set_operator("operator", "of-the-broker");
    let device = Device::connect(&site, "dev1", &secret);
    assert_token(&device, &secret);
    let pid = pid(&site);
    let strangers = Device::connect(&site, "operator", "of-the-broker");
    let answered = || {
        let counters = site.status().unwrap()["broker"]["counters"].clone();
        let count = |name: &str| counters[name].as_u64().unwrap_or_default();
        count("accepted") + count("rejected") + count("overloaded") + count("shed")
    };
    let flood = |from: usize, to: usize| {
        let before = answered();
        for number in from..to {
            let topic = format!("oauth2/v1/client/unknown-{number}/token/json");
            let payload = br#"{"grant_type":"client_credentials","client_secret":"guess"}"#.to_vec();
            strangers.send(&Ask { topic, qos: QoS::AtLeastOnce, ..Ask::raw("unknown", "json", payload) });
            // So that the broker does not drop what it has no room for.
            if number % 200 == 199 {
                let expected = u64::try_from(number + 1 - from).unwrap();
                wait_for("the answers", || (answered() >= before + expected).then_some(()));
            }
        }
    };
    flood(0, 2_000);
    let warm = resident(&pid);
    flood(2_000, UNKNOWN);
    let after = resident(&pid);
    println!("{warm} KiB after 2,000 and {after} KiB after {UNKNOWN}");
    // Of ten bytes for each there would be more.
    assert!(after < warm + 1_024, "{warm} KiB after 2,000 and {after} KiB after {UNKNOWN}");
    assert_token(&device, &secret);
}
