//! Who may administer the gateway: real users with real groups, as the system has them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

use crate::site::{CREDGATE, Site};

/// A group that every Debian has, and that the gateway of these tests is not a member of.
const GROUP: (&str, u32) = ("daemon", 1);
const NOBODY: u32 = 65_534;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A gateway for members of the group, in a directory that everybody may enter.
fn site() -> Site {
    let site = Site::mosquitto_with(&format!("control-group = \"{}\"\n", GROUP.0), "trusted = true\n");
    fs::copy(CREDGATE, site.path("credgate")).unwrap();
    for (path, mode) in [(site.directory.path().to_owned(), 0o755), (site.path("credgate"), 0o755), (site.config(), 0o644)] {
        chmod(&path, mode);
    }
    site
}

/// Runs a command as the user nobody, with that group of its own and those beside it.
fn as_nobody(site: &Site, own: u32, beside: &[u32], arguments: &[&str]) -> Output {
    let beside: Vec<String> = beside.iter().map(ToString::to_string).collect();
    let beside = if beside.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={}", beside.join(",")) };
    Command::new("setpriv")
        .args([format!("--reuid={NOBODY}"), format!("--regid={own}"), beside])
        .arg(site.path("credgate"))
        .args(arguments)
        .arg("--config")
        .arg(site.config())
        .output()
        .unwrap()
}

fn told(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Only root can become another user. Elsewhere the tests of `src/admin/socket.rs` stand for these.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn members_of_the_group_administer_the_gateway_and_others_do_not() {
    if !is_root() {
        eprintln!("NOT CHECKED: only root can become another user");
        return;
    }
    let site = site();
    let socket = fs::metadata(site.path("control.sock")).unwrap();
    assert_eq!((socket.gid(), socket.permissions().mode() & 0o777), (GROUP.1, 0o660));

    // The system itself keeps strangers out.
    let (code, words) = told(&as_nobody(&site, NOBODY, &[], &["status"]));
    assert!(code == 77 && words.contains("usermod -aG daemon nobody"), "{code} {words}");

    for (own, beside) in [(GROUP.1, &[][..]), (NOBODY, &[GROUP.1]), (NOBODY, &[2, GROUP.1])] {
        let (code, words) = told(&as_nobody(&site, own, beside, &["role", "list"]));
        assert_eq!(code, 0, "{own} {beside:?}: {words}");
    }
    let added = as_nobody(&site, NOBODY, &[GROUP.1], &["resource-server", "add", "telemetry", "--audience", "urn:telemetry"]);
    assert!(added.status.success(), "{added:?}");
    let trail = site.credgate(&["audit", "list", "--type", "operator", "--output", "json"]);
    assert!(trail.contains(&format!("\"uid\": {NOBODY}")) || trail.contains("nobody"), "{trail}");

    // With a looser file the gateway refuses by itself, whoever cannot be told to be a member.
    chmod(&site.path("control.sock"), 0o666);
    for (own, beside, expected) in [(NOBODY, &[][..], 77), (NOBODY, &[GROUP.1], 77), (GROUP.1, &[], 0)] {
        let (code, words) = told(&as_nobody(&site, own, beside, &["role", "list"]));
        assert_eq!(code, expected, "{own} {beside:?}: {words}");
        if expected == 77 {
            assert!(words.contains("the user nobody may not administer") && words.contains("usermod -aG daemon nobody"), "{words}");
        }
    }
    chmod(&site.path("control.sock"), 0o660);
    assert_eq!(told(&as_nobody(&site, NOBODY, &[GROUP.1], &["role", "list"])).0, 0);
}

#[test]
fn without_a_group_the_socket_is_for_the_owner_alone() {
    let site = Site::mosquitto();
    assert_eq!(fs::metadata(site.path("control.sock")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_doctor_says_whether_the_group_gets_in() {
    if !is_root() {
        eprintln!("NOT CHECKED: only root can give a file to any group");
        return;
    }
    let site = site();
    let found = |site: &Site| {
        let report: serde_json::Value = serde_json::from_slice(&site.run(&["check", "control-socket", "--output", "json"]).stdout).unwrap();
        let finding = &report["checks"][0]["findings"][0];
        (report["result"].as_str().unwrap().to_owned(), finding["found"].as_str().unwrap().to_owned() + &finding["advice"].to_string())
    };
    let (result, words) = found(&site);
    assert!(result == "ok" && words.contains("the group daemon"), "{result} {words}");
    chmod(site.directory.path(), 0o700);
    let (result, words) = found(&site);
    assert!(result == "warning" && words.contains("chgrp daemon"), "{result} {words}");
    chmod(site.directory.path(), 0o755);
    std::os::unix::fs::chown(site.path("control.sock"), None, Some(0)).unwrap();
    let (result, words) = found(&site);
    assert!(result == "warning" && words.contains("SupplementaryGroups=daemon"), "{result} {words}");
}

#[test]
fn a_group_that_is_not_there_keeps_the_gateway_from_starting() {
    let site = Site::mosquitto();
    assert!(site.stop("TERM").success());
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), text.replace("control-group = \"\"", "control-group = \"nosuchgroup\"")).unwrap();
    let (code, words) = told(&site.run(&["serve"]));
    assert!(code == 78 && words.contains("nosuchgroup") && words.contains("groupadd"), "{code} {words}");
}
