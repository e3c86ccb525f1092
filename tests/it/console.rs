//! The operator's commands as a person sees them: on a terminal, in a pipe, with a slip of the finger.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::site::{CREDGATE, Site};
use crate::terminal::Terminal;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn ids(site: &Site, flags: &[&str]) -> Vec<String> {
    let list = json(&site.credgate(&[&["client", "list", "--output", "json"], flags].concat()));
    list["clients"].as_array().unwrap().iter().map(|client| client["client_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn clients_are_found_among_many() {
    let site = Site::mosquitto();
    site.define_policy();
    site.credgate(&["role", "add", "pump", "--scope", "telemetry:write"]);
    site.add_client_with("a1", &["--attribute", "site=berlin", "--role", "pump", "--name", "Zoe"]);
    site.add_client_with("b2", &["--attribute", "site=paris", "--scope", "config:read", "--expires-at", "2020-01-01T00:00:00Z"]);
    site.add_client_with("c3", &["--attribute", "site=oslo", "--name", "Anna"]);
    site.credgate(&["client", "suspend", "c3"]);
    for (flags, expected) in [
        (&[][..], &["a1", "b2", "c3"][..]),
        (&["--attribute", "site=berlin", "--attribute", "site=oslo"], &["a1", "c3"]),
        (&["--status", "suspended"], &["c3"]),
        (&["--role", "pump"], &["a1"]),
        (&["--scope", "telemetry:write"], &["a1"]),
        (&["--audience", "config"], &["b2"]),
        (&["--never-used"], &["a1", "b2", "c3"]),
        (&["--last-used-before", "1d", "--auth-method", "client_secret_post"], &["a1", "b2", "c3"]),
        (&["--last-used-after", "1d"], &[]),
        (&["--expiring-within", "30d"], &["b2"]),
        (&["--sort", "name"], &["b2", "c3", "a1"]),
        (&["--sort", "id:desc", "--limit", "2"], &["c3", "b2"]),
        (&["--sort", "id:desc", "--after", "b2"], &["a1"]),
    ] {
        assert_eq!(ids(&site, flags), expected, "{flags:?}");
    }
    let cut = json(&site.credgate(&["client", "list", "--limit", "1", "--output", "json"]));
    assert_eq!(cut["next"], "a1");
    let roles = json(&site.credgate(&["role", "list", "--scope", "telemetry:write", "--output", "json"]));
    assert_eq!(roles["roles"].as_array().unwrap().len(), 1);
    for (arguments, code, word) in [
        (&["client", "list", "--role", "pumpe"][..], 65, "pumpe"),
        (&["client", "list", "--sort", "age"], 64, "last-used"),
        (&["client", "list", "--limit", "0"], 64, "0"),
        (&["client", "list", "--last-used-before", "noon"], 64, "30d"),
        (&["scope", "list", "--resource-server", "nowhere"], 65, "nowhere"),
    ] {
        let refused = site.run(arguments);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(code) && told.contains(word), "{arguments:?}: {told}");
    }
}

#[test]
fn a_table_fits_a_terminal_and_is_whole_in_a_pipe() {
    let site = Site::mosquitto();
    site.define_policy();
    let name = "The boiler in the cellar of the northern building, third door on the left";
    site.add_client_with("dev1", &["--name", name, "--scope", "telemetry:write", "--scope", "telemetry:read"]);
    let piped = site.credgate(&["client", "list"]);
    assert!(piped.contains(name) && piped.contains("EXPIRES") && piped.lines().count() == 2, "{piped}");
    let (shown, code) = Terminal::open(&site, 60, &["client", "list"]).end();
    assert_eq!(code, 0, "{shown}");
    let mut lines = shown.lines();
    for line in lines.by_ref().take(2) {
        assert!(line.chars().count() <= 60, "{line}");
    }
    assert!(shown.contains("dev1") && shown.contains("The boile") && !shown.contains(name), "{shown}");
    let note: Vec<&str> = lines.collect();
    assert!(note[0].starts_with("Not shown") && note.join(" ").contains("EXPIRES"), "{shown}");
    let (shown, _) = Terminal::open(&site, 60, &["client", "show", "dev1"]).end();
    assert!(shown.lines().all(|line| line.chars().count() <= 60) && shown.contains("third door"), "{shown}");
    let (wide, _) = Terminal::open(&site, 300, &["client", "list"]).end();
    assert_eq!(wide, piped);
}

#[test]
fn a_question_takes_no_for_an_answer() {
    let site = Site::mosquitto();
    site.define_policy();
    site.add_client("dev1", "telemetry:write");
    for (keys, code) in [("n\n", 64), ("\n", 64), ("\u{4}", 64), ("\u{3}", 130)] {
        let mut terminal = Terminal::open(&site, 80, &["client", "remove", "dev1"]);
        terminal.type_at("[y/N]", keys);
        let (shown, ended) = terminal.end();
        assert_eq!(ended, code, "{keys:?}: {shown}");
        assert!(shown.contains("remove client dev1 for good: its 1 secret"), "{shown}");
        assert_eq!(ids(&site, &[]), ["dev1"], "{keys:?}");
    }
    let mut terminal = Terminal::open(&site, 80, &["client", "remove", "dev1"]);
    terminal.type_at("[y/N]", "y\n");
    let (shown, ended) = terminal.end();
    assert!(ended == 0 && shown.contains("was removed"), "{shown}");
    assert!(ids(&site, &[]).is_empty());
}

#[test]
fn a_removal_by_apply_is_asked_for_and_ctrl_c_says_that_nothing_was_changed() {
    let site = Site::mosquitto();
    site.define_policy();
    site.add_client("dev1", "telemetry:write");
    std::fs::write(site.path("none.csv"), "client_id\n").unwrap();
    let file = site.path("none.csv").display().to_string();
    let line = ["apply", "--prune", "-f", &file];
    for (keys, code) in [("n\n", 64), ("\u{3}", 130)] {
        let mut terminal = Terminal::open(&site, 80, &line);
        terminal.type_at("[y/N]", keys);
        let (shown, ended) = terminal.end();
        assert!(ended == code && shown.contains("- client dev1") && shown.contains("nothing was changed"), "{keys:?} {ended}: {shown}");
        assert_eq!(ids(&site, &[]), ["dev1"], "{keys:?}");
    }
    let mut terminal = Terminal::open(&site, 80, &line);
    terminal.type_at("[y/N]", "y\n");
    let (shown, ended) = terminal.end();
    assert!(ended == 0 && shown.contains("applied: 0 added, 0 changed, 1 removed"), "{shown}");
    assert!(ids(&site, &[]).is_empty());
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_list_quietly() {
    let site = Site::mosquitto();
    site.define_policy();
    site.add_client("dev1", "telemetry:write");
    for format in ["table", "json"] {
        let list = format!("{CREDGATE} client list --output {format} --config {}", site.config().display());
        let script = format!("set -o pipefail; {list} | head -n 1; echo code $?; {list} > /dev/full; echo code $?");
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let codes: Vec<String> =
            String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.strip_prefix("code ").map(str::to_owned)).collect();
        assert_eq!(codes, ["0", "74"], "{told}");
        assert!(told.contains("stdout") && !told.contains("panicked"), "{told}");
    }
}

/// Something of every kind, with names and texts longer than a line of 60 characters.
fn furnish(site: &Site) -> (String, String) {
    let long = "A description that is longer than any terminal of sixty columns has room for";
    site.define_policy();
    site.credgate(&["resource-server", "edit", "telemetry", "--description", long]);
    site.credgate(&["scope", "edit", "telemetry:write", "--description", long]);
    site.credgate(&["role", "add", "pump", "--scope", "telemetry:write", "--scope", "telemetry:read", "--description", long]);
    site.add_client_with("dev1", &["--name", long, "--role", "pump", "--attribute", "site=berlin", "--expires-at", "2099-01-01T00:00:00Z"]);
    let template = ["enrolment", "template", "add", "pump", "--client-id", "pump-{serial}", "--role", "pump", "--description", long];
    site.credgate(&template);
    let file = site.path("enrolment.token");
    let add = ["enrolment", "add", "--template", "pump", "--serial", "17", "--serial", "18", "--expires", "7d", "--description", long];
    let made = json(&site.credgate(&[&add[..], &["--token-file", file.to_str().unwrap(), "--output", "json"]].concat()));
    site.keep_secret(&std::fs::read_to_string(file).unwrap());
    let keys = json(&site.credgate(&["key", "list", "--output", "json"]));
    (made["id"].as_str().unwrap().to_owned(), keys["keys"][0]["kid"].as_str().unwrap().to_owned())
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let site = Site::mosquitto();
    let (enrolment, kid) = furnish(&site);
    for command in [
        "client list",
        "client show dev1",
        "role list",
        "role show pump",
        "scope list",
        "scope show telemetry:write",
        "resource-server list",
        "resource-server show telemetry",
        "enrolment list",
        "enrolment show ENROLMENT",
        "enrolment template list",
        "enrolment template show pump",
        "key list",
        "key show KEY",
        "audit list",
        "audit verify",
        "status",
        "check config clock disk-space control-socket registry master-key",
        "check --list",
        "explain --client dev1 --scope telemetry:write",
        "explain --client dev1 --scope config:read",
        "config check",
    ] {
        let words: Vec<&str> = command
            .split(' ')
            .map(|word| match word {
                "ENROLMENT" => enrolment.as_str(),
                "KEY" => kid.as_str(),
                word => word,
            })
            .collect();
        let (shown, code) = Terminal::open(&site, 60, &words).end();
        assert!(matches!(code, 0 | 1 | 4), "{command}: {code} {shown}");
        for line in shown.lines().filter(|line| line.chars().count() > 60) {
            // A path or a key that must be copied as a whole stands alone, and the terminal breaks it.
            let last = line.trim_start().split("  ").last().unwrap();
            assert!(!last.trim().contains(' ') && last.chars().count() > 20, "{command}: {line:?} in {shown}");
        }
        assert!(!shown.contains('\u{1b}'), "{command} has colours: {shown}");
    }
}

#[test]
fn a_slip_of_the_finger_is_told_with_what_was_meant() {
    let site = Site::mosquitto();
    for (arguments, words) in [
        (&["clinet", "list"][..], &["clinet", "client"][..]),
        (&["client", "lst"], &["lst", "list"]),
        (&["client", "list", "--stauts", "active"], &["--stauts", "--status"]),
        (&["client", "list", "--status", "blokced"], &["blokced", "blocked"]),
        (&["client", "add", "dev1", "--nmae", "Pump"], &["--nmae", "--name"]),
        (&["client", "add", "a/b"], &["a/b", "CLIENT_ID"]),
        (&["client", "block"], &["CLIENT_ID"]),
        (&["--outptu", "json", "status"], &["--outptu", "--output"]),
    ] {
        let refused = site.run(arguments);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(64), "{arguments:?}: {told}");
        assert!(words.iter().all(|word| told.contains(word)) && refused.stdout.is_empty(), "{arguments:?}: {told}");
    }
    let refused = site.run(&["config", "show", "token.liftime"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(65) && told.contains("token.lifetime"), "{told}");
    let refused = site.run(&["client", "lst", "--output", "json"]);
    let told = json(&String::from_utf8_lossy(&refused.stderr));
    assert_eq!((&told["error"]["code"], &told["error"]["exit_code"]), (&"usage".into(), &64.into()));
}

#[test]
fn a_stopped_gateway_is_told() {
    let site = Site::mosquitto();
    site.define_policy();
    assert!(site.stop("TERM").success());
    let (shown, code) = Terminal::open(&site, 80, &["status"]).end();
    assert!(code == 3 && shown.contains("is not running"), "{code} {shown}");
    // The registry is there all the same.
    let scopes = json(&site.credgate(&["scope", "list", "--output", "json"]));
    assert!(!scopes["scopes"].as_array().unwrap().is_empty());
    // What needs the gateway itself says where it was sought.
    let elsewhere = site.run(&["--control-socket", "/nonexistent/control.sock", "status", "--output", "json"]);
    assert_eq!((elsewhere.status.code(), &json(&String::from_utf8_lossy(&elsewhere.stdout))["running"]), (Some(3), &Value::Bool(false)));
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let site = Site::mosquitto();
    assert!(site.stop("TERM").success());
    let serve = |colourless: bool| {
        let mut command = Command::new(CREDGATE);
        command.arg("serve").arg("--config").arg(site.config()).env_remove("NO_COLOR");
        if colourless {
            command.env("NO_COLOR", "1");
        }
        let mut terminal = Terminal::run(80, &command);
        terminal.wait_for("ready");
        terminal.type_at("ready", "\u{3}");
        let (shown, code) = terminal.end();
        assert_eq!(code, 0, "Ctrl-C ends it in order: {shown}");
        shown
    };
    assert!(serve(false).contains("\u{1b}["));
    assert!(!serve(true).contains('\u{1b}'));
    // Help has none anywhere.
    let mut help = Command::new(CREDGATE);
    help.args(["client", "add", "--help"]);
    let (shown, code) = Terminal::run(80, &help).end();
    assert!(code == 0 && !shown.contains('\u{1b}') && shown.contains("--secret-file"), "{shown}");
}

/// What a command says whose results go to a disk that is full.
fn to_a_full_disk(site: &Site, arguments: &[&str]) -> Output {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(CREDGATE);
    command.args(arguments).arg("--config").arg(site.config()).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn a_full_disk_is_an_error_of_every_command() {
    let site = Site::mosquitto();
    let (enrolment, kid) = furnish(&site);
    for arguments in [
        &["client", "show", "dev1"][..],
        &["client", "block", "dev1"],
        &["enrolment", "show", &enrolment],
        &["enrolment", "template", "list"],
        &["key", "show", &kid],
        &["key", "jwks"],
        &["status"],
        &["audit", "list"],
        &["check", "clock"],
        &["explain", "--client", "dev1"],
        &["config", "show", "token.lifetime"],
    ] {
        for format in ["table", "json"] {
            let output = to_a_full_disk(&site, &[arguments, &["--output", format]].concat());
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(74) && told.contains("stdout") && !told.contains("panicked"), "{arguments:?} {told}");
        }
    }
}

#[test]
fn what_destroys_names_what_goes_and_wants_a_yes() {
    let site = Site::mosquitto();
    let (enrolment, kid) = furnish(&site);
    site.add_client("dev2", "telemetry:write");
    for (arguments, words) in [
        (&["client", "remove", "dev1"][..], &["client dev1 (A description", "1 secret", "void"][..]),
        (&["client", "remove", "dev1", "dev2"], &["2 clients: dev1", "dev2", "2 secrets"]),
        (&["role", "remove", "pump"], &["role pump (A description", "2 scopes"]),
        (&["scope", "remove", "telemetry:write"], &["telemetry:write", "telemetry", "topic filter"]),
        (&["resource-server", "remove", "telemetry"], &["resource server telemetry (A description", "https://telemetry.example"]),
        (&["enrolment", "template", "remove", "pump"], &["template pump"]),
        (&["enrolment", "revoke", &enrolment], &["2 devices"]),
        (&["enrolment", "remove", &enrolment], &["0 devices"]),
        (&["enrolment", "release", &enrolment, "serial:17"], &["serial:17", "no client"]),
        (&["key", "revoke", &kid], &["SIGNS NOW", "ALL TOKENS"]),
    ] {
        let refused = site.run(arguments);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(64), "{arguments:?}: {told}");
        assert!(told.contains("--yes") && words.iter().all(|word| told.contains(word)), "{arguments:?}: {told}");
    }
    // What is still in use stays, whoever says yes, and its users are named.
    for (arguments, users) in [
        (&["role", "remove", "pump", "--yes"][..], &["pump", "dev1"][..]),
        (&["scope", "remove", "telemetry:write", "--yes"], &["role pump", "dev2"]),
        (&["resource-server", "remove", "telemetry", "--yes"], &["telemetry:write"]),
        (&["enrolment", "template", "remove", "pump", "--yes"], &[&enrolment]),
    ] {
        let refused = site.run(arguments);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(65) && users.iter().all(|user| told.contains(user)), "{arguments:?}: {told}");
    }
}

#[test]
fn several_clients_take_one_command() {
    let site = Site::mosquitto();
    site.define_policy();
    for id in ["a1", "b2", "c3"] {
        site.add_client(id, "telemetry:write");
    }
    let status = |id: &str| json(&site.credgate(&["client", "show", id, "--output", "json"]))["status"].as_str().unwrap().to_owned();
    // A name that nobody has keeps all of it from beginning.
    let refused = site.run(&["client", "block", "a1", "nobody", "b2"]);
    assert_eq!(refused.status.code(), Some(65));
    assert_eq!(status("a1"), "active");
    let blocked = json(&site.credgate(&["client", "block", "a1", "b2", "a1", "--output", "json"]));
    assert_eq!(blocked["clients"].as_array().unwrap().len(), 2);
    assert_eq!((status("a1"), status("b2"), status("c3")), ("blocked".into(), "blocked".into(), "active".into()));
    let told = site.credgate(&["client", "resume", "a1", "b2"]);
    assert!(told.contains("client a1 is active") && told.contains("client b2 is active"), "{told}");
    let told = site.credgate(&["client", "revoke-tokens", "a1", "c3"]);
    assert_eq!(told.lines().count(), 2, "{told}");
    let mut terminal = Terminal::open(&site, 80, &["client", "remove", "a1", "b2", "c3"]);
    terminal.type_at("[y/N]", "y\n");
    let (shown, code) = terminal.end();
    assert!(code == 0 && shown.contains("3 clients: a1, b2, c3") && shown.contains("client c3 was removed"), "{shown}");
    assert!(ids(&site, &[]).is_empty());
}

#[test]
fn an_enrolment_is_found_and_changed() {
    let site = Site::mosquitto();
    let (enrolment, _) = furnish(&site);
    let list = |flags: &[&str]| {
        let list = json(&site.credgate(&[&["enrolment", "list", "--output", "json"], flags].concat()));
        list["enrolments"].as_array().unwrap().len()
    };
    for (flags, expected) in [
        (&[][..], 1),
        (&["--template", "pump"], 1),
        (&["--status", "open"], 1),
        (&["--status", "revoked", "--status", "expired"], 0),
        (&["--expiring-within", "1d"], 0),
        (&["--expiring-within", "8d"], 1),
        (&["--limit", "1"], 1),
        (&["--after", &enrolment], 0),
    ] {
        assert_eq!(list(flags), expected, "{flags:?}");
    }
    assert_eq!(site.run(&["enrolment", "list", "--template", "pumpe"]).status.code(), Some(65));
    let edited = json(&site.credgate(&[
        "enrolment",
        "edit",
        &enrolment,
        "--uses",
        "1",
        "--expires",
        "2h",
        "--description",
        "x",
        "--output",
        "json",
    ]));
    assert_eq!((&edited["uses"], &edited["description"]), (&1.into(), &"x".into()));
    assert_eq!(list(&["--expiring-within", "1d"]), 1);
    for (flags, code, word) in
        [(&["--expires", "30d"][..], 65, "its token says"), (&["--uses", "0"], 65, "1 to"), (&[], 64, "nothing to change")]
    {
        let refused = site.run(&[&["enrolment", "edit", &enrolment], flags].concat());
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(code) && told.contains(word), "{flags:?}: {told}");
    }
}

#[test]
fn keys_settings_and_tokens_are_shown_one_by_one() {
    let site = Site::mosquitto();
    let (_, kid) = furnish(&site);
    let shown = json(&site.credgate(&["key", "show", &kid, "--output", "json"]));
    assert_eq!((&shown["kid"], &shown["jwk"]["kid"], &shown["jwk"]["kty"]), (&kid.as_str().into(), &kid.as_str().into(), &"OKP".into()));
    let jwks = json(&site.credgate(&["key", "jwks"]));
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 1);
    assert_eq!(site.run(&["key", "show", "nonsense"]).status.code(), Some(65));
    assert_eq!(site.credgate(&["config", "show", "token.lifetime"]), "300\n");
    assert_eq!(json(&site.credgate(&["config", "show", "token", "--output", "json"]))["lifetime"], 300);
    assert!(site.credgate(&["config", "show", "broker"]).contains("trusted = true"));
    let edited = json(&site.credgate(&["client", "edit", "dev1", "--software-id", "fw", "--software-version", "2.1", "--output", "json"]));
    assert_eq!((&edited["software_id"], &edited["software_version"]), (&"fw".into(), &"2.1".into()));
    let refused = site.run(&["client", "edit", "dev1", "--require-request-binding", "yes"]);
    assert!(refused.status.code() == Some(65) && String::from_utf8_lossy(&refused.stderr).contains("key"), "{refused:?}");
    let token = std::fs::read_to_string(site.path("enrolment.token")).unwrap();
    let shown = json(&site.credgate(&["token", "show", site.path("enrolment.token").to_str().unwrap(), "--output", "json"]));
    assert_eq!((&shown["header"]["typ"], token.matches('.').count()), (&"enrolment+jwt".into(), 2));
    let text = site.credgate(&["token", "show", site.path("enrolment.token").to_str().unwrap()]);
    assert!(text.contains("Expires:  20") && text.contains("\"typ\": \"enrolment+jwt\""), "{text}");
}
