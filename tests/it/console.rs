//! The operator's commands as a person sees them: on a terminal, in a pipe, with a slip of the finger.

use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::site::{CREDGATE, Site};

/// A command on a terminal of its own, of that many columns.
struct Terminal {
    child: Child,
    screen: ChildStdout,
    shown: String,
}

impl Terminal {
    fn open(site: &Site, columns: u16, arguments: &str) -> Self {
        // A shell that outlives an interrupt tells how the command ended: script itself may not.
        let command = format!("{CREDGATE} {arguments} --config {}", site.config().display());
        let line = format!("trap : INT; stty cols {columns} rows 24; {command}; echo ended $?");
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--command", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let screen = child.stdout.take().unwrap();
        Self { child, screen, shown: String::new() }
    }

    /// Types something once the screen shows `prompt`.
    fn type_at(&mut self, prompt: &str, keys: &str) {
        let mut byte = [0];
        while !self.shown.contains(prompt) {
            assert_eq!(self.screen.read(&mut byte).unwrap(), 1, "no {prompt:?} in {}", self.shown);
            self.shown.push(byte[0].into());
        }
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// What was shown in all, and the exit code.
    fn end(mut self) -> (String, i32) {
        let mut rest = Vec::new();
        self.screen.read_to_end(&mut rest).unwrap();
        self.child.wait().unwrap();
        self.shown.push_str(&String::from_utf8_lossy(&rest));
        let shown = self.shown.replace('\r', "");
        let (shown, code) = shown.rsplit_once("ended ").unwrap_or((&shown, "-1"));
        (shown.to_owned(), code.trim().parse().unwrap_or(-1))
    }
}

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
    let (shown, code) = Terminal::open(&site, 60, "client list").end();
    assert_eq!(code, 0, "{shown}");
    let mut lines = shown.lines();
    for line in lines.by_ref().take(2) {
        assert!(line.chars().count() <= 60, "{line}");
    }
    assert!(shown.contains("dev1") && shown.contains("The boile") && !shown.contains(name), "{shown}");
    assert!(lines.any(|line| line.starts_with("Not shown") && line.contains("EXPIRES")), "{shown}");
    let (shown, _) = Terminal::open(&site, 60, "client show dev1").end();
    assert!(shown.lines().all(|line| line.chars().count() <= 60) && shown.contains("third door"), "{shown}");
    let (wide, _) = Terminal::open(&site, 300, "client list").end();
    assert_eq!(wide, piped);
}

#[test]
fn a_question_takes_no_for_an_answer() {
    let site = Site::mosquitto();
    site.define_policy();
    site.add_client("dev1", "telemetry:write");
    for (keys, code) in [("n\n", 64), ("\n", 64), ("\u{4}", 64), ("\u{3}", 130)] {
        let mut terminal = Terminal::open(&site, 80, "client remove dev1");
        terminal.type_at("[y/N]", keys);
        let (shown, ended) = terminal.end();
        assert_eq!(ended, code, "{keys:?}: {shown}");
        assert_eq!(ids(&site, &[]), ["dev1"], "{keys:?}");
    }
    let mut terminal = Terminal::open(&site, 80, "client remove dev1");
    terminal.type_at("[y/N]", "y\n");
    let (shown, ended) = terminal.end();
    assert!(ended == 0 && shown.contains("was removed"), "{shown}");
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
