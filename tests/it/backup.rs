//! Export, backup and restore by the real program: what comes back is what was there, and nothing is lost on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use credgate::admin::{self, NewClient, call};
use credgate::registry::Backup;
use serde_json::Value;

use crate::site::{CREDGATE, Site, wait_for};

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The exit code, and the error document that a failing command printed.
fn denied(output: &Output) -> (i32, Value) {
    let error = json_of(&String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), error["error"].clone())
}

/// Another state directory, where no gateway runs.
struct Elsewhere {
    config: PathBuf,
    state: PathBuf,
}

impl Elsewhere {
    fn new(site: &Site, name: &str) -> Self {
        let (config, state) = (site.path(&format!("{name}.toml")), site.path(name));
        fs::write(&config, format!("state-directory = \"{}\"\ncontrol-socket = \"{}.sock\"\n", state.display(), state.display())).unwrap();
        Self { config, state }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(CREDGATE).args(arguments).arg("--config").arg(&self.config).stdin(Stdio::null()).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--output", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        json_of(&String::from_utf8_lossy(&output.stdout))
    }

    fn clients(&self) -> BTreeSet<String> {
        let listed = self.json(&["client", "list"]);
        listed["clients"].as_array().unwrap().iter().map(|client| client["client_id"].as_str().unwrap().to_owned()).collect()
    }
}

/// A key pair of Debian's `age`: the file of the identity, and the recipient.
fn age_key(site: &Site, name: &str) -> (PathBuf, String) {
    let file = site.path(name);
    assert!(Command::new("age-keygen").arg("-o").arg(&file).stderr(Stdio::null()).status().unwrap().success());
    let output = Command::new("age-keygen").arg("-y").arg(&file).output().unwrap();
    (file, String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[cfg(feature = "embedded-broker")]
fn sequence(export: &str) -> u64 {
    let line = export.lines().map(json_of).find(|line| line["kind"] == "revocation_sequence").unwrap();
    line["sequence"].as_u64().unwrap()
}

#[test]
fn a_backup_under_load_is_of_one_moment() {
    let site = Site::mosquitto();
    site.define_policy();
    let (identity, recipient) = age_key(&site, "key.txt");
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for thread in 0..2 {
            let (site, done) = (&site, &done);
            threads.spawn(move || {
                for number in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                    let client_id = Some(format!("load-{thread}-{number}").parse().unwrap());
                    let command = admin::Command::ClientAdd(NewClient { client_id, ..NewClient::default() });
                    call(&site.path("control.sock"), &command).unwrap();
                }
            });
        }
        for number in 0..3 {
            let file = site.path(&format!("hot-{number}"));
            let made = json_of(&site.credgate(&["backup", text(&file), "--recipient", &recipient, "--output", "json"]));
            assert_eq!((&made["encrypted"], made["bytes"].as_u64()), (&Value::Bool(true), Some(fs::metadata(&file).unwrap().len())));
            // Every client comes with an entry of the audit trail in the same change: of one moment, there are as many of the one as of the other.
            let elsewhere = Elsewhere::new(&site, &format!("elsewhere-{number}"));
            let report = elsewhere.json(&["restore", text(&file), "--identity", text(&identity)]);
            assert_eq!((&report["restored"], &report["keys_opened"]), (&Value::Bool(true), &Value::Bool(true)));
            let made = elsewhere.json(&["audit", "list", "--limit", "0", "--type", "credential.secret_made"]);
            let made: BTreeSet<String> =
                made["entries"].as_array().unwrap().iter().map(|entry| entry["client_id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(elsewhere.clients(), made);
            assert!(!made.is_empty());
            elsewhere.json(&["audit", "verify"]);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn age_reads_a_backup_and_only_the_right_identity_restores_it() {
    let site = Site::mosquitto();
    site.define_policy();
    site.add_client("dev1", "telemetry:write");
    let ((identity, recipient), (other, _)) = (age_key(&site, "key.txt"), age_key(&site, "other.txt"));
    let recipients = site.path("recipients");
    fs::write(&recipients, format!("# mine\n{recipient}\n")).unwrap();
    let file = site.path("b.age");
    site.credgate(&["backup", text(&file), "--recipients-file", text(&recipients)]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let plain = Command::new("age").args(["-d", "-i", text(&identity), text(&file)]).output().unwrap();
    assert!(plain.status.success());
    let backup = Backup::parse(&file, &plain.stdout).unwrap();
    assert!(
        backup.files.iter().any(|file| file.name == "keys/rotation.json") && backup.files.iter().any(|file| file.name.ends_with(".pem"))
    );

    let elsewhere = Elsewhere::new(&site, "elsewhere");
    let restore = |file: &Path, flags: &[&str]| elsewhere.run(&[&["restore", text(file), "--output", "json"], flags].concat());
    let (exit, error) = denied(&restore(&file, &[]));
    assert_eq!((exit, &error["code"]), (64, &"encrypted".into()));
    let (exit, error) = denied(&restore(&file, &["--identity", text(&other)]));
    assert_eq!((exit, &error["code"]), (65, &"not_decrypted".into()));
    let whole = fs::read(&file).unwrap();
    let damaged = site.path("damaged");
    for at in [0, 30, 100, 250, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&damaged, &bytes).unwrap();
        assert_eq!(denied(&restore(&damaged, &["--identity", text(&identity)])).0, 65, "byte {at}");
        fs::write(&damaged, &whole[..at]).unwrap();
        assert_eq!(denied(&restore(&damaged, &["--identity", text(&identity)])).0, 65, "cut to {at}");
    }
    assert!(!elsewhere.state.join("registry").exists(), "nothing was touched");
    let report = elsewhere.json(&["restore", text(&file), "--identity", text(&identity), "--dry-run"]);
    assert_eq!((&report["restored"], &report["records"]["clients"]), (&Value::Bool(false), &1.into()));
    assert!(!elsewhere.state.join("registry").exists(), "a dry run touches nothing");
    // What age decrypted is restored as well.
    let opened = site.path("opened");
    fs::write(&opened, &plain.stdout).unwrap();
    assert!(restore(&opened, &[]).status.success());
    assert_eq!(elsewhere.clients(), ["dev1".to_owned()].into());
}

#[test]
fn private_keys_are_in_no_backup_by_accident() {
    let site = Site::mosquitto();
    let file = site.path("b");
    let (exit, error) = denied(&site.run(&["backup", text(&file), "--output", "json"]));
    assert_eq!(exit, 65);
    assert!(error["message"].as_str().unwrap().contains(".pem") && error["help"].as_str().unwrap().contains("--recipient"), "{error}");
    assert!(!file.exists() && !site.path("b.tmp").exists());
    let files = |flag: &str| {
        let file = site.path(&format!("b{flag}"));
        site.credgate(&["backup", text(&file), flag]);
        Backup::parse(&file, &fs::read(&file).unwrap()).unwrap().files.len()
    };
    assert_eq!(files("--without-keys"), 0);
    assert_eq!(files("--plain-keys"), 2);
    // Sealed ones say nothing to whoever has no master key.
    assert!(site.stop("TERM").success());
    let master = site.path("master.key");
    fs::write(&master, [7; 32]).unwrap();
    crate::site::restrict(&master);
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("{config}\n[keys]\nmaster-key-file = \"{}\"\n", master.display())).unwrap();
    site.start();
    site.credgate(&["backup", text(&file)]);
    let backup = Backup::parse(&file, &fs::read(&file).unwrap()).unwrap();
    assert!(backup.files.iter().any(|file| file.name.ends_with(".sealed")) && !backup.files.iter().any(|file| file.name.ends_with(".pem")));
    let again = denied(&site.run(&["backup", text(&file), "--output", "json"]));
    assert_eq!((again.0, &again.1["code"]), (73, &"cannot_create".into()), "nothing is overwritten");
    // Without the master key they are not tried, which is told; with another they do not open.
    let elsewhere = Elsewhere::new(&site, "elsewhere");
    let report = elsewhere.json(&["restore", text(&file), "--dry-run"]);
    assert_eq!(report["keys_opened"], false);
    assert!(report["warnings"].to_string().contains("were not tried"), "{report}");
    fs::write(&master, [8; 32]).unwrap();
    let config = fs::read_to_string(&elsewhere.config).unwrap();
    fs::write(&elsewhere.config, format!("{config}\n[keys]\nmaster-key-file = \"{}\"\n", master.display())).unwrap();
    let refused = denied(&elsewhere.run(&["restore", text(&file), "--output", "json"]));
    assert!(refused.1["message"].as_str().unwrap().contains("cannot be opened with the master key"), "{refused:?}");
    assert!(!elsewhere.state.join("registry").exists() && !elsewhere.state.join("keys").exists());
}

#[cfg(feature = "embedded-broker")]
#[test]
fn what_was_there_is_moved_aside_and_devices_go_on() {
    use crate::device::{Ask, Device};
    let site = Site::embedded();
    site.define_policy();
    let secret = site.add_client("dev1", "telemetry:write");
    site.add_client("dev2", "telemetry:write");
    site.credgate(&["client", "block", "dev2"]);
    let jwks = |site: &Site| {
        let device = Device::connect(site, "dev1", &secret);
        device.subscribe("oauth2/v1/as/jwks");
        json_of(&String::from_utf8_lossy(&device.next_publish().payload))
    };
    let (keys, file) = (jwks(&site), site.path("b"));
    site.credgate(&["backup", text(&file), "--plain-keys"]);
    site.add_client("dev3", "telemetry:write");
    let before = sequence(&site.credgate(&["export", "--without-credentials"]));
    let restore = |flags: &[&str]| site.run(&[&["restore", text(&file), "--output", "json"], flags].concat());
    assert_eq!(denied(&restore(&["--force"])).0, 75, "while the gateway runs");
    assert!(site.stop("TERM").success());
    let (exit, error) = denied(&restore(&[]));
    assert_eq!((exit, &error["code"]), (73, &"exists".into()));
    assert!(site.credgate(&["client", "list"]).contains("dev3"), "nothing was touched");
    fs::remove_dir_all(site.path("state/tls")).unwrap();
    let output = restore(&["--force"]);
    assert!(output.status.success(), "{output:?}");
    let report = json_of(&String::from_utf8_lossy(&output.stdout));
    let aside = PathBuf::from(report["set_aside"].as_str().unwrap());
    assert!(aside.join("registry/db").exists() && aside.join("keys/rotation.json").exists());
    assert!(report["warnings"].to_string().contains("blocked or removed since"), "{report}");
    site.start();
    assert_eq!(jwks(&site), keys, "with its certificate, too");
    let listed = site.credgate(&["client", "list"]);
    assert!(listed.contains("dev1") && !listed.contains("dev3"), "{listed}");
    let device = Device::connect(&site, "dev1", &secret);
    let answer = device.request(&Ask::json("dev1", &secret, &serde_json::json!({})));
    assert!(String::from_utf8_lossy(&answer.payload).contains("access_token"));
    let after = sequence(&site.credgate(&["export", "--without-credentials"]));
    assert!(after > before, "a list that seems older than the last one is refused: {before} {after}");
    assert!(site.credgate(&["audit", "list", "--type", "registry"]).contains("registry.restored"));
    site.credgate(&["audit", "verify"]);
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_or_the_new() {
    let site = Site::mosquitto();
    for number in 0..200 {
        let client_id = Some(format!("new-{number}").parse().unwrap());
        call(&site.path("control.sock"), &admin::Command::ClientAdd(NewClient { client_id, ..NewClient::default() })).unwrap();
    }
    let file = site.path("b");
    site.credgate(&["backup", text(&file), "--plain-keys"]);
    let new: BTreeSet<String> = (0..200).map(|number| format!("new-{number}")).collect();
    let old: BTreeSet<String> = ["old".to_owned()].into();
    let mut seen = BTreeMap::<&str, usize>::new();
    for round in 0..12 {
        let elsewhere = Elsewhere::new(&site, &format!("round-{round}"));
        let made = elsewhere.run(&["init", "--name", "localhost"]);
        assert!(made.status.success(), "{made:?}");
        assert!(elsewhere.run(&["client", "add", "old"]).status.success());
        let mut child = Command::new(CREDGATE)
            .args(["restore", text(&file), "--force", "--config", text(&elsewhere.config)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // At a moment that differs from round to round: while the new is made, when it is whole, and while it is put in place.
        let watched = [".restoring/registry/db", ".restoring/keys/rotation.json", "restore.json", "keys/rotation.json"][round % 4];
        let is_there = || elsewhere.state.join(watched).exists();
        wait_for("the moment", || {
            if round % 4 != 3 && is_there() {
                return Some(());
            }
            let is_moving = round % 4 == 3 && !elsewhere.state.join("registry").exists();
            (is_moving || child.try_wait().unwrap().is_some()).then_some(())
        });
        // It may have ended.
        let _ = child.kill();
        child.wait().unwrap();
        let found = elsewhere.clients();
        assert!(found == old || found == new, "round {round}: {found:?}");
        assert_eq!(elsewhere.json(&["key", "list"])["keys"].as_array().unwrap().len(), 1);
        elsewhere.json(&["audit", "checkpoint"]);
        elsewhere.json(&["audit", "verify"]);
        *seen.entry(if found == old { "old" } else { "new" }).or_default() += 1;
        // And it can be done again.
        let again = elsewhere.run(&["restore", text(&file), "--force"]);
        assert!(again.status.success(), "{again:?}");
        assert_eq!(elsewhere.clients(), new);
        assert!(!elsewhere.state.join(".restoring").exists() && !elsewhere.state.join("restore.json").exists());
    }
    println!("{seen:?}");
    assert!(seen.contains_key("old"), "{seen:?}");
}

#[test]
fn an_export_is_as_it_is_documented() {
    let site = Site::mosquitto();
    site.define_policy();
    site.credgate(&["role", "add", "pump", "--scope", "telemetry:write"]);
    let secret = site.add_client("dev1", "telemetry:write");
    site.add_client("dev2", "telemetry:write");
    site.credgate(&["client", "block", "dev2"]);
    site.credgate(&["enrolment", "template", "add", "pump", "--client-id", "pump-{serial}", "--role", "pump"]);
    let token = site.path("token");
    site.credgate(&["enrolment", "add", "--template", "pump", "--serial", "17", "--expires", "7d", "--token-file", text(&token)]);
    site.keep_secret(&fs::read_to_string(&token).unwrap());
    let device = crate::device::Device::connect(&site, "dev1", &secret);
    device.request(&crate::device::Ask::json("dev1", &secret, &serde_json::json!({})));
    // A clean stop writes the last use.
    drop(device);
    assert!(site.stop("TERM").success());
    let file = site.path("all.jsonl");
    site.credgate(&["export", text(&file)]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let export = fs::read_to_string(&file).unwrap();
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for line in export.lines().map(json_of) {
        let kind = line["kind"].as_str().unwrap_or("(first line)").to_owned();
        let members = line.as_object().unwrap().keys().filter(|name| *name != "kind").cloned();
        found.entry(kind).or_default().extend(members);
    }
    let documents = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let table = documents.split("| line | members |").nth(1).unwrap().split("\n\n").next().unwrap();
    let words = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let documented: BTreeMap<String, BTreeSet<String>> = table
        .lines()
        .skip(2)
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
            let kind = words(cells[0]).pop().unwrap_or_else(|| "(first line)".to_owned());
            (kind, words(cells[1]).into_iter().collect())
        })
        .collect();
    assert_eq!(found, documented);
    // The same from a running gateway, without what proves something.
    site.start();
    let public = site.credgate(&["export", "--without-credentials"]);
    let counts = |text: &str| json_of(text.lines().next().unwrap())["counts"].clone();
    assert_eq!(counts(&public), counts(&export));
    assert!(export.contains("sha256") && !public.contains("sha256"));
}
