//! The responder over streams in memory, and the text that Prometheus reads.

use std::collections::BTreeSet;

use super::*;
use crate::admin::{Administrator, DaemonStatus, KeyDocument, LinkStatus, ListenerStatus, Metrics, ProcessMetrics, ReplayMetrics};
use crate::clock::{Confidence, UnixTime};
use crate::jose::{KeyState, RotationRules};
use crate::mqtt::{Counters, LinkKind};
use crate::registry::{KeyOptions, KeyStore, Registry, RegistryOptions};

/// A gateway without links; what it is about lies in the directory.
fn pages(directory: &Path) -> Arc<Pages> {
    let options = RegistryOptions { directory: directory.join("registry"), cache_capacity: 1 << 20 };
    let registry = Registry::open(&options).unwrap();
    let rules = RotationRules { interval: 0, propagation: 600, max_lifetime: 300, clock_skew: 60 };
    let keys = Arc::new(KeyStore::new(KeyOptions { directory: directory.join("keys"), rules, master_key: Ok(None) }));
    let administrator = Administrator::new(registry, keys, Box::new(DaemonStatus::default), Box::new(|| ()));
    Arc::new(Pages::new(Arc::new(|| Ok(())), Arc::new(administrator), directory.join("control.sock"), UnixTime::from_secs(0)))
}

/// What comes back for the bytes of one connection, whose peer waits for the answer before it closes.
async fn ask_as(audience: Audience, request: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (mut peer, stream) = tokio::io::duplex(1 << 20);
    let pages = pages(directory.path());
    let served = tokio::spawn(serve(stream, pages, audience, Duration::from_millis(300), None));
    peer.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.unwrap();
    drop(peer);
    served.await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn ask(request: &[u8]) -> String {
    ask_as(Audience::Everybody, request).await
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_answer_with_its_length_and_then_the_end() {
    let answer = ask(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", content.len())) && head.contains("Connection: close"), "{head}");
    assert!(!head.contains("Date:") && content.contains("/metrics"), "{answer}");
    let bare = ask(b"HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(bare, format!("{head}\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deny_methods_that_change() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let answer = ask(format!("{method} /metrics HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert_eq!(status(&answer), "405", "{answer}");
        assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deny_content_and_what_is_malformed_or_oversized() {
    for (request, expected) in [
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_vec(), "413"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), "400"),
        (b"GET /metrics HTTP/1.1\r\n\r\n".to_vec(), "400"),
        (b"GET /metrics HTTP/3.0\r\n\r\n".to_vec(), "505"),
        ([b"GET /", vec![b'a'; 100_000].as_slice()].concat(), "414"),
        ([b"GET / HTTP/1.1\r\nHost: a\r\nx: ", vec![b'a'; 100_000].as_slice()].concat(), "431"),
    ] {
        assert_eq!(status(&ask(&request).await), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deny_a_request_that_does_not_come() {
    for begun in [&b""[..], b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: a\r\n"] {
        let answer = ask(begun).await;
        assert_eq!(status(&answer), "408", "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deny_more_than_one_request_on_a_connection() {
    let answer = ask(&b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3_000)).await;
    assert_eq!((status(&answer), answer.matches("HTTP/1.1").count()), ("404", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn deny_a_page_that_had_its_name_point_here() {
    let rebound = b"GET /metrics HTTP/1.1\r\nHost: evil.example:9464\r\n\r\n";
    assert_eq!(status(&ask_as(Audience::ThisHost, rebound).await), "421");
    assert_eq!(status(&ask_as(Audience::Everybody, rebound).await), "200");
    assert_eq!(status(&ask_as(Audience::ThisHost, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9464\r\n\r\n").await), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn deny_health_without_a_control_socket_and_a_link() {
    let dead = ask(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&dead), "503");
    assert!(dead.contains(r#""status":"failing""#) && dead.contains("no gateway listens on"), "{dead}");
    let idle = ask(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&idle), "503");
    let document: serde_json::Value = serde_json::from_str(idle.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let expected = serde_json::json!({"status": "failing", "checks": [
        {"check": "token", "ok": true},
        {"check": "links", "ok": false, "problem": "there is no link to any broker"},
        {"check": "clock", "ok": true},
    ]});
    assert_eq!(document, expected);
}

fn metrics() -> Metrics {
    let counters = Counters::default();
    counters.count_connect(Err(crate::oauth::Reason::WrongSecret));
    let (time, url) = (UnixTime::from_secs(1_000), "mqtts://b".to_owned());
    let key = KeyDocument {
        kid: "k\"1\\".into(),
        alg: "EdDSA".into(),
        state: KeyState::Active,
        created_at: UnixTime::from_secs(400),
        since: UnixTime::from_secs(500),
        until: None,
        path: "p".into(),
    };
    Metrics {
        status: DaemonStatus {
            broker: Some(LinkStatus { url, state: "down".into(), ..LinkStatus::default() }),
            embedded_broker: Some(ListenerStatus { serving: true, open_connections: 2, ..ListenerStatus::default() }),
            keys: vec![key],
            ..DaemonStatus::default()
        },
        links: vec![counters.metrics(LinkKind::EmbeddedBroker), Counters::default().metrics(LinkKind::Broker)],
        replay: Some(ReplayMetrics { entries: 3, capacity: 1_024 }),
        process: ProcessMetrics { resident_bytes: Some(1), cpu_seconds: Some(0.25), ..ProcessMetrics::default() },
        clock: crate::admin::ClockMetrics { now: time, built_at: UnixTime::from_secs(900), confidence: Some(Confidence::Holdover) },
        ..Metrics::default()
    }
}

#[test]
fn samples_have_the_form_that_prometheus_reads() {
    let text = exposition::text(&metrics(), false);
    for line in [
        "# TYPE credgate_requests_total counter",
        r#"credgate_clock_confidence{state="holdover"} 1"#,
        r#"credgate_clock_confidence{state="synced"} 0"#,
        r#"credgate_requests_total{link="embedded-broker",operation="connect",outcome="rejected"} 1"#,
        r#"credgate_requests_total{link="broker",operation="token",outcome="accepted"} 0"#,
        r#"credgate_refusals_total{link="embedded-broker",reason="wrong_secret"} 1"#,
        r#"credgate_link_up{link="embedded-broker"} 1"#,
        r#"credgate_link_up{link="broker"} 0"#,
        "credgate_ready 0",
        "credgate_embedded_broker_connections 2",
        r#"credgate_signing_key_age_seconds{kid="k\"1\\",alg="EdDSA",state="active"} 600"#,
        r#"credgate_signing_key_state_seconds{kid="k\"1\\",alg="EdDSA",state="active"} 500"#,
        r#"credgate_token_request_duration_seconds_bucket{link="broker",le="0.00001"} 0"#,
        r#"credgate_token_request_duration_seconds_bucket{link="broker",le="+Inf"} 0"#,
        "credgate_replay_memory_entries 3",
        "credgate_process_cpu_seconds_total 0.25",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("process_threads"), "what is not known is left out");
    let typed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(typed.iter().collect::<BTreeSet<_>>().len(), typed.len(), "each family once");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).filter(|name| typed.contains(name));
        assert!(typed.contains(&family.unwrap_or(name)), "{line}");
        assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
    }
}
