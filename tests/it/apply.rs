//! `credgate apply`: files against a gateway that runs and one that does not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::site::{CREDGATE, Site, wait_for};

const POLICY: &str = r#"
[[resource_servers]]
id = "telemetry"
audience = "https://telemetry.example"

[[scopes]]
name = "telemetry:write"
resource_server = "telemetry"
permissions = ["pub telemetry/{site}/{client_id}/#"]

[[roles]]
name = "pump"
scope = ["telemetry:write"]
"#;

fn write(site: &Site, name: &str, text: &str) -> String {
    let path = site.path(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A CSV of so many pumps.
fn pumps(count: usize, site: &str) -> String {
    let lines = (0..count).map(|number| format!("pump-{number:05},pump,{site}\n"));
    std::iter::once("client_id,roles,attribute.site\n".to_owned()).chain(lines).collect()
}

/// Runs `apply` with these arguments: its document, whether it says done or refused, and the exit code.
fn apply(site: &Site, arguments: &[&str]) -> (Value, i32) {
    let output = site.run(&[&["apply", "--output", "json"], arguments].concat());
    let document = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let json = serde_json::from_slice(document).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(document)));
    (json, output.status.code().unwrap())
}

fn applied(site: &Site, arguments: &[&str]) -> Value {
    let (document, code) = apply(site, arguments);
    assert_eq!(code, 0, "{document:#}");
    document
}

fn ids(site: &Site) -> Vec<String> {
    let list: Value = serde_json::from_str(&site.credgate(&["client", "list", "--output", "json"])).unwrap();
    list["clients"].as_array().unwrap().iter().map(|client| client["client_id"].as_str().unwrap().to_owned()).collect()
}

fn client(site: &Site, id: &str) -> Value {
    serde_json::from_str(&site.credgate(&["client", "show", id, "--output", "json"])).unwrap()
}

/// The secrets of a file as `--secrets-file` makes it, by client; the site looks for them in all that is printed.
fn secrets(site: &Site, path: &Path) -> Vec<(String, String)> {
    let lines = fs::read_to_string(path).unwrap();
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |member: &str| line[member].as_str().unwrap().to_owned();
        site.keep_secret(&text("client_secret"));
        (text("client_id"), text("client_secret"))
    };
    lines.lines().map(read).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_fleet_is_made_as_its_files_say_and_the_same_again_changes_nothing() {
    let site = Site::embedded();
    let (policy, fleet) = (write(&site, "policy.toml", POLICY), write(&site, "fleet.csv", &pumps(3, "berlin")));
    let file = site.path("secrets.jsonl");
    let files = ["-f", &policy, "-f", &fleet];
    let dry = applied(&site, &[&files[..], &["--dry-run"]].concat());
    assert_eq!((&dry["applied"], &dry["changed"], &dry["secrets"]), (&false.into(), &true.into(), &3.into()));
    assert!(ids(&site).is_empty(), "a dry run changes something");
    let done = applied(
        &site,
        &[&files[..], &["--secrets-file", file.to_str().unwrap(), "--expect", dry["fingerprint"].as_str().unwrap()]].concat(),
    );
    assert_eq!((&done["applied"], &done["changes"]), (&true.into(), &dry["changes"]));
    assert_eq!(ids(&site), ["pump-00000", "pump-00001", "pump-00002"]);

    // The secrets serve, and lie where nobody else can read them.
    assert_eq!(mode(&file), 0o600);
    let secrets = secrets(&site, &file);
    assert_eq!(secrets.len(), 3);
    let (id, secret) = &secrets[1];
    let single = write(&site, "one.secret", secret);
    crate::site::restrict(Path::new(&single));
    let (broker, ca_file) = (format!("mqtts://localhost:{}", site.port()), site.ca_file());
    let token = Command::new(CREDGATE)
        .args(["device", "token", "--broker", &broker, "--ca-file", ca_file.to_str().unwrap()])
        .args(["--client-id", id, "--secret-file", &single])
        .output()
        .unwrap();
    assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));

    let before = client(&site, id);
    let again = applied(&site, &[&files[..], &["--dry-run", "--exit-code"]].concat());
    assert_eq!((&again["changed"], &again["counts"]["client"]["unchanged"]), (&false.into(), &3.into()));
    applied(&site, &files);
    assert_eq!(client(&site, id)["secrets"][0]["created_at"], before["secrets"][0]["created_at"]);

    // What the gateway prints can be applied as it is.
    let list = write(&site, "list.json", &site.credgate(&["client", "list", "--output", "json"]));
    assert_eq!(applied(&site, &["-f", &list])["changed"], false);

    // A change shows as one; what an operator decided by hand since then stays, unless a file speaks of it.
    site.credgate(&["client", "block", id]);
    let moved = write(&site, "fleet.csv", &pumps(3, "oslo"));
    let (document, code) = apply(&site, &["-f", &moved, "--dry-run", "--exit-code"]);
    assert_eq!(code, 5);
    let member = &document["changes"][0]["members"][0];
    assert_eq!(
        (&member["member"], &member["before"]["site"], &member["after"]["site"]),
        (&"attributes".into(), &"berlin".into(), &"oslo".into())
    );
    let (document, code) = apply(&site, &["-f", &moved, "--expect", dry["fingerprint"].as_str().unwrap()]);
    assert_eq!((code, &document["error"]["code"]), (75, &"conflict".into()));
    applied(&site, &["-f", &moved]);
    let after = client(&site, id);
    assert_eq!((&after["attributes"]["site"], &after["status"]), (&"oslo".into(), &"blocked".into()));
    let trail = site.credgate(&["audit", "list", "--type", "operator"]);
    assert!(trail.lines().filter(|line| line.contains(" apply ")).count() == 2, "{trail}");
}

#[test]
fn one_bad_line_and_nothing_is_changed() {
    let site = Site::embedded();
    applied(&site, &["-f", &write(&site, "policy.toml", POLICY)]);
    let toml = "[[clients]]\nclient_id = \"a\"\n[[clients]]\nclient_id = \"b\"\nroles = [\"pumpe\"]\n";
    let json = "{\"clients\": [\n{\"client_id\": \"a\"},\n{\"client_id\": \"b\", \"roles\": [\"pumpe\"]}]}";
    for (name, text, place) in [
        ("bad.csv", pumps(50, "berlin") + "b,pumpe,berlin\n", "bad.csv:52:1: client b: there is no role pumpe"),
        ("bad.toml", toml.to_owned(), "bad.toml:3:1: client b: there is no role pumpe"),
        ("bad.json", json.to_owned(), "bad.json:3:1: client b: there is no role pumpe"),
        ("bad.csv", pumps(2, "berlin") + "b,pump,a/b\n", "bad.csv:4:8: `attributes`: an attribute's value must be"),
        ("bad.toml", toml.replace("roles", "rolles"), "bad.toml:5:1: unknown key `rolles`; did you mean `roles`?"),
        ("bad.json", json.replace("\"b\",", "\"b\""), "bad.json:3:19: expected"),
    ] {
        let file = write(&site, name, &text);
        let (document, code) = apply(&site, &["-f", &file, "--secrets-file", site.path("s").to_str().unwrap()]);
        let causes = document["error"]["causes"].to_string();
        assert!(code == 65 && causes.contains(place), "{place}: {document:#}");
        assert!(ids(&site).is_empty() && !site.path("s").exists(), "{name}");
    }
    let (document, code) = apply(&site, &["-f", "no.toml"]);
    assert_eq!((code, &document["error"]["code"]), (66, &"fleet_file".into()));
}

#[test]
fn what_is_not_named_goes_only_if_that_is_meant() {
    let site = Site::embedded();
    let (policy, fleet) = (write(&site, "policy.toml", POLICY), write(&site, "fleet.csv", &pumps(3, "berlin")));
    applied(&site, &["-f", &policy, "-f", &fleet, "--secrets-file", site.path("s1").to_str().unwrap()]);
    secrets(&site, &site.path("s1"));
    let fewer = write(&site, "fewer.csv", &pumps(1, "berlin"));
    assert_eq!(applied(&site, &["-f", &fewer])["changed"], false);
    let (document, code) = apply(&site, &["-f", &fewer, "--prune"]);
    assert_eq!((code, &document["error"]["code"]), (64, &"not_confirmed".into()));
    assert_eq!(ids(&site).len(), 3);
    let done = applied(&site, &["-f", &fewer, "--prune", "--yes"]);
    assert_eq!((&done["counts"]["client"]["removed"], &done["changes"][0]["name"]), (&2.into(), &"pump-00001".into()));
    assert_eq!(ids(&site), ["pump-00000"]);
    assert!(site.credgate(&["role", "list"]).contains("pump"), "no file spoke of roles");
    // What is still used does not go, and the rule is told of the user.
    let (document, code) = apply(&site, &["-f", &write(&site, "none.json", "{\"roles\": []}"), "--prune", "--yes"]);
    assert!(
        code == 65 && document["error"]["causes"][0] == "client pump-00000, which no file names: there is no role pump",
        "{document:#}"
    );
    let none = write(&site, "none.json", "{\"clients\": [], \"roles\": [], \"scopes\": [], \"resource_servers\": []}");
    applied(&site, &["-f", &none, "--prune", "--yes"]);
    assert!(ids(&site).is_empty() && !site.credgate(&["role", "list"]).contains("pump"));
}

#[test]
fn secrets_go_nowhere_but_where_they_are_told_to() {
    let site = Site::embedded();
    let fleet = write(&site, "fleet.csv", "client_id\na\nb\n");
    let (document, code) = apply(&site, &["-f", &fleet]);
    assert_eq!((code, &document["error"]["code"]), (64, &"no_secrets_file".into()));
    let directory = site.path("secrets");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)).unwrap();
    let (document, code) = apply(&site, &["-f", &fleet, "--secrets-directory", directory.to_str().unwrap()]);
    assert_eq!((code, &document["error"]["code"]), (73, &"cannot_create".into()));
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(directory.join("b.secret"), "precious").unwrap();
    let (document, code) = apply(&site, &["-f", &fleet, "--secrets-directory", directory.to_str().unwrap()]);
    assert_eq!((code, &document["error"]["code"]), (73, &"cannot_create".into()));
    assert!(ids(&site).is_empty() && !directory.join("a.secret").exists());
    assert_eq!(fs::read_to_string(directory.join("b.secret")).unwrap(), "precious");
    fs::remove_file(directory.join("b.secret")).unwrap();
    applied(&site, &["-f", &fleet, "--secrets-directory", directory.to_str().unwrap()]);
    for name in ["a", "b"] {
        let path = directory.join(format!("{name}.secret"));
        let secret = fs::read_to_string(&path).unwrap();
        assert_eq!((mode(&path), secret.len()), (0o600, 43));
        site.keep_secret(&secret);
    }
    assert_eq!(ids(&site), ["a", "b"]);
}

#[test]
fn a_gateway_that_does_not_run_is_changed_likewise() {
    let site = Site::embedded();
    site.stop("TERM");
    let (policy, fleet) = (write(&site, "policy.toml", POLICY), write(&site, "fleet.csv", &pumps(5_000, "berlin")));
    let csv = site.path("s.csv");
    let done = applied(&site, &["-f", &policy, "-f", &fleet, "--secrets-file", csv.to_str().unwrap()]);
    assert_eq!((&done["counts"]["client"]["added"], &done["left_out"]), (&5_000.into(), &4_003.into()));
    assert_eq!((mode(&csv), fs::read_to_string(&csv).unwrap().lines().count()), (0o600, 5_001));
    assert_eq!(applied(&site, &["-f", &fleet])["changed"], false);
    site.start();
    assert_eq!(applied(&site, &["-f", &fleet, "--dry-run"])["counts"]["client"]["unchanged"], 5_000);
    let verified = site.credgate(&["audit", "verify"]);
    assert!(!verified.is_empty());
}

/// A process that applies a fleet, and the file that its secrets go to.
fn spawn(site: &Site, fleet: &str, secrets: &Path) -> std::process::Child {
    Command::new(CREDGATE)
        .args(["apply", "-f", fleet, "--secrets-file", secrets.to_str().unwrap(), "--config", site.config().to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &std::process::Child, signal: &str) {
    assert!(Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap().success());
}

#[test]
fn an_interrupted_command_has_done_all_or_nothing_and_says_which() {
    const COUNT: usize = 6_000;
    let site = Site::embedded();
    applied(&site, &["-f", &write(&site, "policy.toml", POLICY)]);
    let fleet = write(&site, "fleet.csv", &pumps(COUNT, "berlin"));
    let file = site.path("secrets");
    // The file of the secrets is there from shortly before the end on.
    let child = spawn(&site, &fleet, &file);
    wait_for("the file of the secrets", || file.exists().then_some(()));
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(130) => {
            assert!(told.contains("nothing was changed"), "{told}");
            assert!(ids(&site).is_empty() && !file.exists());
        }
        Some(0) => assert_eq!((ids(&site).len(), fs::read_to_string(&file).unwrap().lines().count()), (COUNT, COUNT)),
        other => panic!("{other:?}: {told}"),
    }
}

#[test]
fn a_command_that_is_killed_leaves_all_or_nothing_and_the_next_one_is_taken() {
    const COUNT: usize = 6_000;
    let site = Site::embedded();
    applied(&site, &["-f", &write(&site, "policy.toml", POLICY)]);
    let fleet = write(&site, "fleet.csv", &pumps(COUNT, "berlin"));
    for round in 0..3 {
        let file: PathBuf = site.path(&format!("secrets-{round}"));
        let mut child = spawn(&site, &fleet, &file);
        wait_for("the file of the secrets", || file.exists().then_some(()));
        signal(&child, "KILL");
        child.wait().unwrap();
        // The gateway may be at it still, and then the next one waits its turn.
        let count = wait_for("the end of the change", || {
            let (document, code) = apply(&site, &["-f", &fleet, "--dry-run", "--limit", "1"]);
            (code != 75).then(|| document["counts"]["client"]["unchanged"].as_u64().unwrap())
        });
        assert!(count == 0 || count == COUNT as u64, "{count} clients of a change of {COUNT}");
        assert_eq!(ids(&site).len() as u64, count);
        if count > 0 {
            return;
        }
    }
}

#[test]
fn a_gateway_that_is_killed_in_the_middle_has_done_all_or_nothing() {
    const COUNT: usize = 9_000;
    let site = Site::embedded();
    applied(&site, &["-f", &write(&site, "policy.toml", POLICY)]);
    let fleet = write(&site, "fleet.csv", &pumps(COUNT, "berlin"));
    let (file, undo) = (site.path("secrets"), site.path("state/registry/undo"));
    let mut child = spawn(&site, &fleet, &file);
    wait_for("the writing of the change, or its end", || (undo.exists() || child.try_wait().unwrap().is_some()).then_some(()));
    site.stop("KILL");
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    site.start();
    assert!(!undo.exists());
    let count = ids(&site).len();
    match output.status.code() {
        Some(0) => assert_eq!(count, COUNT),
        Some(69) => {
            assert!(told.contains("--dry-run tells"), "{told}");
            assert!(count == 0 || count == COUNT, "{count} clients of a change of {COUNT}");
            assert!(file.exists(), "secrets that may serve are gone");
        }
        other => panic!("{other:?}: {told}"),
    }
    site.credgate(&["audit", "verify"]);
}

#[test]
fn two_at_once_do_not_get_in_each_others_way() {
    let site = Site::embedded();
    let names = ["a", "b", "c", "d"];
    let files: Vec<String> = names.iter().map(|name| write(&site, &format!("{name}.csv"), &format!("client_id\n{name}\n"))).collect();
    std::thread::scope(|threads| {
        for (name, file) in names.iter().zip(&files) {
            let site = &site;
            threads.spawn(move || {
                let secrets = site.path(&format!("{name}.secrets"));
                wait_for("a turn", || {
                    let (document, code) = apply(site, &["-f", file, "--secrets-file", secrets.to_str().unwrap()]);
                    assert!(code == 0 || (code == 75 && document["error"]["code"] == "busy"), "{document:#}");
                    (code == 0).then_some(())
                });
            });
        }
    });
    assert_eq!(ids(&site), names);
}
