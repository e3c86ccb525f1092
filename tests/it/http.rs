//! Metrics and health of a real gateway, as a monitoring system sees them.

use std::collections::BTreeMap;
#[cfg(feature = "embedded-broker")]
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
#[cfg(feature = "embedded-broker")]
use std::path::Path;

use serde_json::{Value, json};

use crate::device::{Ask, Device, body};
use crate::site::{Broker, Site, wait_for};

const LISTEN: &str = "[http]\nlisten = [\"127.0.0.1:0\"]\n";

/// One request on a connection, to the end of the answer: status and content.
fn exchange(mut stream: impl Read + Write, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), content.to_owned())
}

fn address(site: &Site) -> String {
    site.status().unwrap()["http"][0].as_str().unwrap().to_owned()
}

fn get(address: &str, path: &str) -> (u16, String) {
    exchange(TcpStream::connect(address).unwrap(), &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

fn report(address: &str, path: &str) -> (u16, Value) {
    let (status, content) = get(address, path);
    (status, serde_json::from_str(&content).unwrap_or_else(|error| panic!("{error}: {content}")))
}

/// Every sample by name and labels, as written.
pub fn scrape(address: &str) -> BTreeMap<String, f64> {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200, "{text}");
    let sample = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// Names of samples in expressions of PromQL.
#[cfg(feature = "embedded-broker")]
fn names(text: &str) -> BTreeSet<String> {
    let word = |rest: &str| rest.chars().take_while(|character| character.is_ascii_alphanumeric() || *character == '_').collect::<String>();
    text.match_indices("credgate_").map(|(at, _)| word(&text[at..])).collect()
}

#[cfg(feature = "embedded-broker")]
fn names_of(samples: &BTreeMap<String, f64>) -> BTreeSet<String> {
    samples.keys().map(|sample| sample.split('{').next().unwrap().to_owned()).collect()
}

/// A token, and a refusal for a wrong secret.
fn ask_twice(site: &Site) {
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let device = Device::connect(site, "dev1", &secret);
    let accepted = body(&device.request(&Ask::json("dev1", &secret, &json!({}))));
    assert!(accepted["access_token"].is_string(), "{accepted}");
    let refused = body(&device.request(&Ask::json("dev1", "wrong", &json!({}))));
    assert_eq!(refused["error"], "invalid_client");
}

fn metrics_tell_what_happened(site: &Site, link: &str) {
    ask_twice(site);
    let address = address(site);
    let samples = scrape(&address);
    let value = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("{name} is missing in {samples:#?}"));
    let of = |name: &str, labels: &str| value(&format!("credgate_{name}{{link=\"{link}\"{labels}}}"));
    assert_eq!(of("requests_total", ",operation=\"token\",outcome=\"accepted\""), 1.0);
    assert_eq!(of("requests_total", ",operation=\"token\",outcome=\"rejected\""), 1.0);
    assert_eq!(of("refusals_total", ",reason=\"wrong_secret\""), 1.0);
    assert_eq!(of("refusals_total", ",reason=\"blocked_client\""), 0.0);
    assert_eq!(of("tokens_issued_total", ""), 1.0);
    assert_eq!(of("token_request_duration_seconds_count", ""), 2.0);
    assert_eq!(of("token_request_duration_seconds_bucket", ",le=\"+Inf\""), 2.0);
    assert!(of("token_request_duration_seconds_sum", "") > 0.0);
    assert_eq!(of("link_up", ""), 1.0);
    assert!(of("link_connections_total", "") >= 1.0);
    for (name, expected) in [("clients", 1.0), ("resource_servers", 2.0), ("scopes", 3.0), ("roles", 0.0), ("ready", 1.0)] {
        assert_eq!(value(&format!("credgate_{name}")), expected, "{name}");
    }
    // Two resource servers, three scopes and a client, one command after the other.
    assert!(value("credgate_registry_writes_total") >= 6.0 && value("credgate_registry_write_failures_total") == 0.0);
    for name in ["resident_memory_bytes", "threads", "open_fds", "max_fds", "written_bytes_total"] {
        assert!(value(&format!("credgate_process_{name}")) > 0.0, "{name}");
    }
    assert_eq!((value("credgate_replay_memory_entries"), value("credgate_replay_memory_capacity")), (0.0, 65_536.0));
    assert!(value("credgate_clock_time_seconds") >= value("credgate_build_time_seconds"));
    assert_eq!(samples.keys().filter(|name| name.starts_with("credgate_signing_key_age_seconds{")).count(), 1);
    assert!(!samples.keys().any(|name| name.contains("dev1")), "no client's id is in a metric");
    // `status` reads the same counters.
    let status = site.status().unwrap();
    let counters = &status[if link == "broker" { "broker" } else { "embedded_broker" }]["counters"];
    assert_eq!((&counters["accepted"], &counters["rejected"], &counters["tokens"]), (&json!(1), &json!(1), &json!(1)));
}

#[test]
#[cfg(feature = "embedded-broker")]
fn metrics_of_the_embedded_broker() {
    let site = Site::embedded_with(LISTEN);
    metrics_tell_what_happened(&site, "embedded-broker");
    assert_eq!(site.status().unwrap()["embedded_broker"]["serving"], true);
    Device::try_connect(&site, "dev1", "dev1", "wrong", None).err().expect("a refused CONNECT");
    let samples = scrape(&address(&site));
    let connects = |outcome: &str| {
        samples[&format!("credgate_requests_total{{link=\"embedded-broker\",operation=\"connect\",outcome=\"{outcome}\"}}")]
    };
    assert_eq!((connects("accepted"), connects("rejected")), (1.0, 1.0));
    assert_eq!(samples["credgate_refusals_total{link=\"embedded-broker\",reason=\"wrong_secret\"}"], 2.0);
}

#[test]
fn metrics_of_a_link() {
    metrics_tell_what_happened(&Site::mosquitto_with(LISTEN, "trusted = true\n"), "broker");
}

#[test]
fn an_independent_parser_reads_the_metrics() {
    let site = Site::mosquitto_with(LISTEN, "trusted = true\n");
    ask_twice(&site);
    let (_, text) = get(&address(&site), "/metrics");
    let program = "import sys, json\nfrom prometheus_client.parser import text_string_to_metric_families as read\n\
                   print(json.dumps({f.name: [f.type, len(f.samples)] for f in read(json.load(sys.stdin))}))";
    let families = crate::verifier::run(program, &json!(text));
    assert_eq!(families["credgate_tokens_issued"], json!(["counter", 1]));
    assert_eq!(families["credgate_clients"], json!(["gauge", 1]));
    assert_eq!(families["credgate_token_request_duration_seconds"][0], "histogram");
    let samples: u64 = families.as_object().unwrap().values().map(|family| family[1].as_u64().unwrap()).sum();
    assert_eq!(samples as usize, text.lines().filter(|line| !line.starts_with('#')).count(), "it understood every line");
}

#[test]
fn ready_only_while_a_token_can_be_had() {
    let mut site = Site::mosquitto_with(LISTEN, "trusted = true\n");
    let address = address(&site);
    let (status, ready) = report(&address, "/readyz");
    assert_eq!((status, &ready["status"]), (200, &json!("ready")), "{ready}");
    assert_eq!(report(&address, "/healthz"), (200, json!({"status": "alive", "checks": [{"check": "control", "ok": true}]})));
    fn mosquitto(site: &mut Site) -> &mut crate::mosquitto::Mosquitto {
        let Broker::Mosquitto(broker) = &mut site.broker else { unreachable!("a Mosquitto site") };
        broker
    }
    mosquitto(&mut site).stop();
    let down = wait_for("the gateway to be of no use", || Some(report(&address, "/readyz")).filter(|(status, _)| *status == 503)).1;
    let [token, links, clock] = down["checks"].as_array().unwrap().as_slice() else { panic!("{down}") };
    assert_eq!((&token["ok"], &links["ok"], &clock["ok"]), (&json!(true), &json!(false), &json!(true)), "{down}");
    assert!(links["problem"].as_str().unwrap().contains("the link to mqtts://localhost"), "{down}");
    assert_eq!(report(&address, "/healthz").0, 200, "it lives all the same");
    let samples = scrape(&address);
    assert_eq!((samples["credgate_ready"], samples["credgate_link_up{link=\"broker\"}"]), (0.0, 0.0));
    assert_eq!(samples["credgate_link_disconnections_total{link=\"broker\"}"], 1.0);
    let status = site.status().unwrap();
    assert_eq!(status["broker"]["state"], "down");
    assert!(status["broker"]["reason"].is_string() && status["broker"]["since"].is_u64(), "{status}");
    mosquitto(&mut site).restart();
    wait_for("the gateway to be of use", || Some(report(&address, "/readyz")).filter(|(status, _)| *status == 200));
    // Nobody can use the client that the gateway asks itself with.
    site.credgate(&["client", "list"]);
    assert!(site.decisions("credgate-probe").is_empty(), "its requests are no requests");
}

#[test]
fn deny_health_when_operators_are_not_heard() {
    let site = Site::mosquitto_with(LISTEN, "trusted = true\n");
    let address = address(&site);
    fs::remove_file(site.path("control.sock")).unwrap();
    let (status, failing) = report(&address, "/healthz");
    assert_eq!((status, &failing["checks"][0]["ok"]), (503, &json!(false)), "{failing}");
    assert_eq!(report(&address, "/readyz").0, 200, "devices have their tokens all the same");
}

#[test]
fn two_listeners_and_a_unix_socket_that_goes_with_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("run/http.sock");
    let listen = format!("[http]\nlisten = [\"[::1]:0\", \"unix:{}\", \"127.0.0.1:0\"]\n", socket.display());
    let site = Site::mosquitto_with(&listen, "");
    let addresses = site.status().unwrap()["http"].clone();
    let tcp = |index: usize| addresses[index].as_str().unwrap();
    assert_eq!((get(tcp(0), "/healthz").0, get(tcp(1), "/healthz").0), (200, 200), "{addresses}");
    assert_eq!(addresses[2], format!("unix:{}", socket.display()));
    let head = "HEAD /metrics HTTP/1.1\r\nHost: credgate\r\n\r\n";
    assert_eq!(exchange(UnixStream::connect(&socket).unwrap(), head), (200, String::new()));
    assert_eq!(exchange(UnixStream::connect(&socket).unwrap(), "GET / HTTP/1.0\r\n\r\n").0, 404);
    // A scrape while somebody holds connections open and says nothing.
    let silent: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(tcp(0)).unwrap()).collect();
    assert_eq!(get(tcp(0), "/healthz").0, 200);
    drop(silent);
    assert!(site.stop("TERM").success());
    assert!(!socket.exists(), "the socket's file is gone");
}

#[test]
fn deny_addresses_that_other_hosts_reach() {
    let site = Site::mosquitto_with(LISTEN, "");
    let text = fs::read_to_string(site.config()).unwrap();
    let check = |listen: &str| {
        fs::write(site.config(), text.replace(LISTEN, listen)).unwrap();
        let output = site.run(&["config", "check"]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for address in ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464"] {
        let (code, message) = check(&format!("[http]\nlisten = [\"{address}\"]\n"));
        assert!(code == Some(78) && message.contains("allow-remote") && message.contains(address), "{message}");
        assert_eq!(check(&format!("[http]\nlisten = [\"{address}\"]\nallow-remote = true\n")).0, Some(0));
    }
    let (code, message) = check("[http]\nlisten = [\"localhost:9464\"]\n");
    assert!(code == Some(78) && message.contains("127.0.0.1:9464"), "{message}");
    // One that is taken is named at the start.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    assert!(site.stop("TERM").success());
    check(&format!("[http]\nlisten = [\"{address}\"]\n"));
    let refused = site.run(&["serve"]);
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && message.contains(&address.to_string()) && message.contains("http.listen"), "{message}");
}

/// What the documents name of metrics.
#[test]
#[cfg(feature = "embedded-broker")]
fn documents_name_metrics_that_exist() {
    let site = Site::embedded_with(LISTEN);
    // Some are there only after that.
    site.credgate(&["reload"]);
    let samples = scrape(&address(&site));
    let exist = names_of(&samples);
    let labels: BTreeSet<&str> = samples
        .keys()
        .filter_map(|name| name.split('{').nth(1))
        .flat_map(|labels| labels.split('"').step_by(2))
        .map(|part| part.trim_matches([',', '=', '}']))
        .collect();
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();

    let dashboard: Value = serde_json::from_str(&read("docs/grafana/credgate.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = || panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut queries: Vec<String> = targets().map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    assert!(queries.len() >= panels.len() && panels.len() > 15, "{} panels", panels.len());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    queries.extend(variables.iter().filter_map(|variable| variable["definition"].as_str()).map(str::to_owned));

    let operations = read("docs/operations.md");
    let monitoring = operations.split("\n## Monitoring").nth(1).expect("a chapter on monitoring").split("\n## ").next().unwrap();
    let rules: Vec<String> = monitoring.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned).collect();
    assert!(rules.len() >= 8, "{rules:?}");
    queries.extend(rules);

    for query in &queries {
        let named = names(query);
        assert!(!named.is_empty(), "{query}");
        let absent: Vec<_> = named.difference(&exist).collect();
        assert!(absent.is_empty(), "{query}: there is no {absent:?}");
        let grouped = query.split(" by (").skip(1).flat_map(|rest| rest.split(')').next().unwrap().split(", "));
        let matched = query
            .split('{')
            .skip(1)
            .flat_map(|rest| rest.split('}').next().unwrap().split(','))
            .filter_map(|pair| pair.split(['=', '~', '!']).next());
        for label in grouped.chain(matched) {
            assert!(labels.contains(label) || ["instance", "job", "le"].contains(&label), "{query}: there is no label {label}");
        }
    }
    // The table lists all of them, and nothing else. A histogram stands there by its own name.
    let listed: BTreeSet<String> = monitoring
        .lines()
        .filter(|line| line.starts_with("| `credgate_"))
        .flat_map(|line| names(line.split('|').nth(1).unwrap()))
        .collect();
    let expected: BTreeSet<String> = exist
        .iter()
        .map(|name| {
            ["_bucket", "_sum", "_count"].iter().fold(name.as_str(), |name, part| name.strip_suffix(part).unwrap_or(name)).to_owned()
        })
        .collect();
    assert_eq!(listed, expected);
}
