//! The audit trail of the real program: what operators did, who was refused, what is signed, and that no meddling goes unseen.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use credgate::admin::{self, NewClient, call};
use serde_json::{Value, json};

use crate::device::{Ask, Device};
use crate::devices::on_both_links;
use crate::site::{CREDGATE, Site, wait_for};
use crate::verifier;

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn list(site: &Site, flags: &[&str]) -> Vec<Value> {
    let text = site.credgate(&[&["audit", "list", "--limit", "0", "--output", "json"], flags].concat());
    json_of(&text)["entries"].as_array().unwrap().clone()
}

fn verify(site: &Site, flags: &[&str]) -> Value {
    json_of(&site.credgate(&[&["audit", "verify", "--output", "json"], flags].concat()))
}

/// The message of a verification that must fail, with its exit code.
fn deny(site: &Site, flags: &[&str]) -> String {
    let output = site.run(&[&["audit", "verify", "--output", "json"], flags].concat());
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    let error = json_of(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(error["error"]["code"], "audit_fault", "{error}");
    error["error"]["message"].as_str().unwrap().to_owned()
}

fn jwks(site: &Site) -> Value {
    let keys = json_of(&site.credgate(&["key", "list", "--output", "json"]));
    assert!(!keys["keys"].as_array().unwrap().is_empty());
    // What devices get on the topic.
    let secret = fs::read_to_string(site.path("dev1.secret")).unwrap();
    let device = Device::connect(site, "dev1", &secret);
    device.subscribe("oauth2/v1/as/jwks");
    json_of(&String::from_utf8_lossy(&device.next_publish().payload))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

on_both_links!(operators_and_credentials_and_the_daemon, refusals_are_counted_together, an_export_verifies_elsewhere);

fn operators_and_credentials_and_the_daemon(site: &Site) {
    site.define_policy();
    site.add_client("dev1", "telemetry:write");
    site.credgate(&["client", "block", "dev1"]);
    let taken = site.run(&["client", "add", "dev1", "--scope", "telemetry:write"]);
    assert_eq!(taken.status.code(), Some(65));
    site.credgate(&["key", "rotate"]);
    let uid = u64::from(rustix::process::geteuid().as_raw());
    let added = &list(site, &["--type", "operator", "--client", "dev1"]);
    let told: Vec<_> = added.iter().map(|entry| (entry["operation"].clone(), entry["outcome"].clone())).collect();
    let expected = [("client add", "done"), ("client block", "done"), ("client add", "already_exists")];
    assert_eq!(told, expected.map(|(operation, outcome)| (json!(operation), json!(outcome))));
    for entry in added {
        assert_eq!((&entry["uid"], &entry["subject"]), (&json!(uid), &json!("dev1")), "{entry}");
        assert!(entry["pid"].as_u64().is_some_and(|pid| pid > 1) && entry["user"].is_string(), "{entry}");
    }
    assert_eq!(list(site, &["--type", "credential.secret_made", "--client", "dev1"]).len(), 1);
    assert_eq!(list(site, &["--type", "signing_key.published"]).len(), 1);
    assert_eq!(list(site, &["--type", "operator", "--since", "1h"]).len(), 9, "{:#?}", list(site, &[]));
    assert!(list(site, &["--since", "2100-01-01T00:00:00Z"]).is_empty());
    let table = site.credgate(&["audit", "list"]);
    assert!(table.starts_with("NUMBER") && table.contains("client block") && table.contains("already_exists"), "{table}");
    // What is done without a daemon is in it too.
    assert!(site.stop("TERM").success());
    site.credgate(&["client", "resume", "dev1"]);
    assert_eq!(list(site, &["--type", "daemon"]).iter().map(|entry| entry["event"].clone()).collect::<Vec<_>>(), ["started", "stopped"]);
    site.start();
    assert_eq!(list(site, &["--type", "operator"]).last().unwrap()["operation"], "client resume");
    let report =
        wait_for("the checkpoint of the start", || Some(verify(site, &[])).filter(|report| report["signed_up_to"].as_u64() > Some(15)));
    assert_eq!((&report["first"], &report["signatures_checked"]), (&json!(1), &json!(true)));
    assert!(report["checkpoints"].as_u64().unwrap() >= 3, "{report}");
}

fn refusals_are_counted_together(site: &Site) {
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), config + "[limits]\nlockout-after = 0\n").unwrap();
    site.credgate(&["reload"]);
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let device = Device::connect(site, "dev1", &secret);
    for _ in 0..20 {
        device.request(&Ask::json("dev1", "wrong", &json!({})));
    }
    let refusals = |flags: &[&str]| list(site, &[&["--type", "refusal.request"], flags].concat());
    let first = refusals(&["--reason", "wrong_secret", "--client", "dev1"]);
    assert!(!first.is_empty(), "told at once");
    for _ in 0..5 {
        device.request(&Ask::json("dev1", "wrong", &json!({})));
    }
    device.request(&Ask::json("dev1", &secret, &json!({"scope": "config:read"})));
    drop(device);
    assert!(site.stop("TERM").success());
    let all = refusals(&["--reason", "wrong_secret", "--client", "dev1"]);
    assert!(all.len() <= 4, "{all:#?}");
    assert_eq!(all.iter().map(|entry| entry["count"].as_u64().unwrap()).sum::<u64>(), 25);
    assert!(all.iter().all(|entry| entry["link"] == first[0]["link"] && entry["first"].as_u64() <= entry["last"].as_u64()), "{all:#?}");
    assert_eq!(refusals(&["--reason", "scope_not_granted"]).len(), 1);
    verify(site, &[]);
}

fn an_export_verifies_elsewhere(site: &Site) {
    site.define_policy();
    site.add_client("dev1", "telemetry:write");
    let jwks = jwks(site);
    let keys = site.path("jwks.json");
    fs::write(&keys, jwks.to_string()).unwrap();
    let checkpoint = json_of(&site.credgate(&["audit", "checkpoint", "--output", "json"]))["checkpoint"].as_str().unwrap().to_owned();
    let kept = site.path("kept");
    fs::write(&kept, format!("{checkpoint}\n")).unwrap();
    let export = site.path("trail.jsonl");
    site.credgate(&["audit", "export", path(&export)]);
    let again = site.run(&["audit", "export", path(&export)]);
    assert_eq!(again.status.code(), Some(73), "nothing is overwritten");
    let text = fs::read_to_string(&export).unwrap();
    assert_eq!(site.credgate(&["audit", "export"]).lines().nth(1), text.lines().nth(1));
    // By a program that is not ours: the chain, and the signatures.
    let found = verifier::verify_trail(&text, &jwks);
    assert_eq!(found["entries"].as_u64().unwrap(), u64::try_from(text.lines().count() - 1).unwrap());
    assert!(found["checkpoints"].as_u64() >= Some(2), "{found}");

    let with = |text: &str, flags: &[&str]| {
        let copy = site.path("copy.jsonl");
        fs::write(&copy, text).unwrap();
        site.run(&[&["audit", "verify", "--output", "json", "--file", path(&copy), "--jwks", path(&keys)], flags].concat())
    };
    let whole = with(&text, &["--checkpoint", path(&kept)]);
    assert!(whole.status.success(), "{whole:?}");
    assert_eq!(json_of(&String::from_utf8_lossy(&whole.stdout))["compared"], 1);
    let unsigned = verify(site, &["--file", path(&export)]);
    assert_eq!((&unsigned["signatures_checked"], &unsigned["signed_up_to"]), (&json!(false), &Value::Null));

    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let fault = |text: &str, expected: &str| {
        let output = with(text, &[]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(65) && error.contains("BROKEN") && error.contains(expected), "{expected}: {output:?}");
    };
    let at = lines.iter().position(|line| line.contains("\"client add\"")).unwrap();
    let seq = json_of(lines[at])["seq"].as_u64().unwrap();
    let uid = rustix::process::geteuid().as_raw();
    fault(&text.replacen(&format!("\"uid\":{uid}"), "\"uid\":4711", 1), "was changed");
    fault(&text.replace("\"subject\":\"dev1\"", "\"subject\":\"dev2\""), &format!("entry {seq} was changed"));
    fault(&joined(&[&lines[..at], &lines[at + 1..]].concat()), "entries are missing");
    let mut moved = lines.clone();
    moved.swap(at, at + 1);
    fault(&joined(&moved), "entries are missing");
    let mut repeated = lines.clone();
    repeated.insert(at, lines[at]);
    fault(&joined(&repeated), "moved or repeated");
    fault(&joined(&lines[..lines.len() - 1]), "the end is missing");
    fault(&text[..text.len() - 10], "its end is missing");
    let bad_hash = lines[1].replace("\"hash\":\"", "\"hash\":\"!");
    fault(&joined(&[&[lines[0], bad_hash.as_str()], &lines[2..]].concat()), "line 2");
    fault(&text.replacen("{\"credgate_audit\":1", "{\"credgate_audit\":2", 1), "version 2");
    fault(&joined(&lines[1..]), "does not begin");
    fault(&text.replace("\"type\":\"operator\"", "\"x\":1,\"type\":\"operator\""), "does not know");
    // A file that was shortened with its first line: who kept a checkpoint knows.
    let last = json_of(lines[at])["seq"].as_u64().unwrap() - 1;
    let mut head = json_of(lines[0]);
    head["last"] = json!(last);
    let shortened = joined(&[&[head.to_string().as_str()], &lines[1..at]].concat());
    let output = with(&shortened, &["--checkpoint", path(&kept)]);
    assert!(output.status.code() == Some(65) && String::from_utf8_lossy(&output.stderr).contains("kept elsewhere"), "{output:?}");
    // Keys that are others sign nothing of it.
    let other = site.path("other.json");
    fs::write(&other, r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#).unwrap();
    assert!(deny(site, &["--file", path(&export), "--jwks", path(&other)]).contains("no checkpoint"));
}

/// What a thief could do who has the card for an hour: put an older copy of the registry in its place.
#[test]
fn deny_a_trail_that_was_set_back() {
    let site = Site::mosquitto();
    site.define_policy();
    assert!(site.stop("TERM").success());
    let (registry, older) = (site.path("state/registry"), site.path("older"));
    let copy = |from: &Path, to: &Path| assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    copy(&registry, &older);
    site.start();
    site.add_client("dev1", "telemetry:write");
    let kept = site.path("kept");
    fs::write(&kept, site.credgate(&["audit", "checkpoint"])).unwrap();
    assert!(site.stop("TERM").success());
    assert_eq!(verify(&site, &["--checkpoint", path(&kept)])["compared"], 1);
    fs::remove_dir_all(&registry).unwrap();
    copy(&older, &registry);
    verify(&site, &[]);
    assert!(deny(&site, &["--checkpoint", path(&kept)]).contains("the end is missing"));
    // Even when the trail has grown past it again.
    for number in 0..12 {
        site.credgate(&["role", "add", &format!("r{number}"), "--scope", "telemetry:write"]);
    }
    assert!(deny(&site, &["--checkpoint", path(&kept)]).contains("was rewritten"));
}

/// On the stored trail, through the program; the registry's own tests try every kind.
#[test]
fn deny_a_stored_entry_that_was_changed() {
    let site = Site::mosquitto();
    site.define_policy();
    assert!(site.stop("TERM").success());
    let seq = list(&site, &["--type", "operator"])[1]["seq"].as_u64().unwrap();
    {
        let database = sled::Config::new().path(site.path("state/registry")).open().unwrap();
        let tree = database.open_tree("audit").unwrap();
        let mut value = tree.get(seq.to_be_bytes()).unwrap().unwrap().to_vec();
        let at = value.windows(6).position(|window| window == b"config").unwrap();
        value[at] = b'C';
        tree.insert(seq.to_be_bytes(), value).unwrap();
        database.flush().unwrap();
    }
    let message = wait_for("the lock of the registry", || {
        let output = site.run(&["audit", "verify"]);
        (output.status.code() != Some(75)).then_some(output)
    });
    let text = String::from_utf8_lossy(&message.stderr).into_owned();
    assert!(message.status.code() == Some(65) && text.contains(&format!("entry {seq} was changed")), "{text}");
    // The gateway serves all the same, and says so.
    site.start();
    assert!(deny(&site, &[]).contains(&format!("entry {seq} was changed")));
    assert!(site.log().contains("the audit trail is damaged there"));
}

#[test]
fn no_acknowledged_change_is_without_its_entry_after_sigkill() {
    const THREADS: usize = 3;
    let site = Site::mosquitto();
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..6 {
        std::thread::scope(|threads| {
            for thread in 0..THREADS {
                let (site, acknowledged) = (&site, &acknowledged);
                threads.spawn(move || {
                    for number in 0.. {
                        let client_id = format!("r{round}-{thread}-{number}");
                        let new = NewClient { client_id: Some(client_id.parse().unwrap()), ..NewClient::default() };
                        // Not by the program, which would go on without the daemon.
                        if call(&site.path("control.sock"), &admin::Command::ClientAdd(new)).is_err() {
                            return;
                        }
                        acknowledged.lock().unwrap().push(client_id);
                    }
                });
            }
            let before = acknowledged.lock().unwrap().len();
            wait_for("some clients", || (acknowledged.lock().unwrap().len() > before + 3 + 5 * round).then_some(()));
            site.stop("KILL");
        });
        site.start();
        let told = list(&site, &["--type", "operator"]).into_iter().filter(|entry| entry["outcome"] == "done");
        let told: BTreeSet<String> = told.map(|entry| entry["subject"].as_str().unwrap().to_owned()).collect();
        for client_id in acknowledged.lock().unwrap().iter() {
            assert!(told.contains(client_id), "{client_id} was acknowledged and has no entry");
        }
        verify(&site, &[]);
    }
}

fn follow(site: &Site, flags: &[&str]) -> Child {
    let arguments = [&["audit", "tail", "--follow", "--output", "json"], flags].concat();
    Command::new(CREDGATE).args(arguments).arg("--config").arg(site.config()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn tail_follows_and_ends_well() {
    let site = Site::mosquitto();
    site.define_policy();
    let mut child = follow(&site, &["--type", "operator", "-n", "2"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || json_of(&lines.next().unwrap().unwrap());
    assert_eq!((next()["subject"].clone(), next()["subject"].clone()), (json!("telemetry:read"), json!("config:read")));
    site.add_client("dev1", "telemetry:write");
    assert_eq!(next()["operation"], "client add");
    // A gateway that comes back is followed again.
    assert!(site.stop("TERM").success());
    site.start();
    site.credgate(&["client", "block", "dev1"]);
    assert_eq!(next()["operation"], "client block");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success(), "Ctrl-C is how it ends");
    // Nobody reads any more: it ends without waiting for an entry.
    let mut child = follow(&site, &["-n", "0"]);
    drop(child.stdout.take());
    let status = wait_for("the end of tail", || child.try_wait().unwrap());
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(status.success() && told.is_empty(), "{status:?} {told}");
    // Without a daemon there is nothing to follow, and the registry is left alone.
    assert!(site.stop("TERM").success());
    let output = site.run(&["audit", "tail", "-f"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(site.credgate(&["audit", "tail"]).contains("daemon.stopped"));
}

const ACL: &str = "\
user credgate
topic readwrite oauth2/v1/#

user auditor
topic read oauth2/v1/audit

pattern readwrite oauth2/v1/client/%u/#
pattern read oauth2/v1/as/#
";

#[test]
fn entries_are_forwarded_to_whoever_may_read_them() {
    let mosquitto = crate::mosquitto::Mosquitto::start();
    mosquitto.set_password("auditor", "auditor-password");
    mosquitto.set_acl(ACL);
    let login = format!(
        "trusted = true\nusername = \"{}\"\npassword-file = \"PASSWORD\"\n[audit]\nforward-topic = true\n",
        crate::mosquitto::GATEWAY.0
    );
    let mut site = Site::linked_to(mosquitto, "", &login);
    let auditor = Device::connect(&site, "auditor", "auditor-password");
    auditor.subscribe("oauth2/v1/audit");
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    let expected = list(&site, &["--type", "operator"]);
    let mut got: Vec<Value> = Vec::new();
    while got.iter().filter(|entry| entry["type"] == "operator").count() < expected.len() {
        let publish = auditor.next_publish();
        assert!(publish.topic == "oauth2/v1/audit" && !publish.retain);
        got.push(json_of(&String::from_utf8_lossy(&publish.payload)));
    }
    assert_eq!(got.iter().filter(|entry| entry["type"] == "operator").cloned().collect::<Vec<_>>(), expected);
    // No device reads it.
    let device = Device::connect(&site, "dev1", &secret);
    device.subscribe("oauth2/v1/audit");
    device.subscribe("+/+/audit/#");
    site.credgate(&["client", "edit", "dev1", "--max-token-lifetime", "60"]);
    wait_for("the forwarded entry", || {
        let entry = json_of(&String::from_utf8_lossy(&auditor.next_publish().payload));
        (entry["operation"] == "client edit").then_some(())
    });
    let answer = device.request(&Ask::json("dev1", &secret, &json!({})));
    assert!(answer.topic.ends_with(b"/accepted"), "nothing of the audit trail came before the answer: {answer:?}");
    drop(device);
    // What happens while the broker is away arrives when it is back.
    let crate::site::Broker::Mosquitto(mosquitto) = &mut site.broker else { panic!("a Mosquitto") };
    mosquitto.stop();
    site.credgate(&["client", "block", "dev1"]);
    let crate::site::Broker::Mosquitto(mosquitto) = &mut site.broker else { panic!("a Mosquitto") };
    mosquitto.restart();
    // Before the gateway is back, who waits a second at most; a message without a subscriber would be gone.
    let auditor = Device::connect(&site, "auditor", "auditor-password");
    auditor.subscribe("oauth2/v1/audit");
    site.credgate(&["client", "resume", "dev1"]);
    wait_for("what came later", || {
        let entry = json_of(&String::from_utf8_lossy(&auditor.next_publish().payload));
        (entry["operation"] == "client resume").then_some(())
    });
}

/// No client of the embedded broker reads it, so there is nobody to forward to.
#[test]
fn deny_forwarding_without_a_broker_of_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("credgate.toml");
    fs::write(&config, "[audit]\nforward-topic = true\n").unwrap();
    let output = Command::new(CREDGATE).args(["config", "check", "--config", path(&config)]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(78) && told.contains("audit.forward-topic") && told.contains("broker.url"), "{told}");
}
