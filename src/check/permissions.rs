//! Who can get at files.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::{Finding, Findings, World};
use crate::admin::group_id_among;
use crate::config::{DEFAULT_CONTROL_GROUP, read_private};

/// Files that are looked at in one directory.
const MAX_FILES: usize = 10_000;

pub(super) fn config_file(world: &World<'_>) -> Findings {
    let Some(path) = world.config_file() else { return Err(Finding::skipped("there is no configuration file")) };
    let shown = path.display();
    let found = metadata(path)?;
    if found.mode() & 0o022 != 0 {
        let what = format!("{shown} has mode {:04o}: others can change whom the gateway trusts", found.mode() & 0o7777);
        return Err(Finding::error(what, format!("chmod go-w {shown}")));
    }
    if found.uid() != 0 && world.owner().is_some_and(|owner| owner != found.uid()) {
        let what = format!("{shown} belongs to the user with id {}, who is neither root nor the gateway", found.uid());
        return Err(Finding::warning(what, format!("chown root {shown}")));
    }
    Ok(vec![Finding::ok(format!("{shown} can be changed by its owner alone"))])
}

pub(super) fn state_directory(world: &World<'_>) -> Findings {
    let config = world.config()?;
    let state = &config.file.state_directory;
    let mut findings = Vec::new();
    for directory in [state.clone(), config.registry_directory(), config.keys_directory(), config.tls_directory()] {
        let shown = directory.display();
        match fs::metadata(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if directory == *state {
                    return Err(Finding::error(format!("{shown} does not exist"), "make it with `credgate init`"));
                }
            }
            Err(error) => findings.push(unreadable(&directory, &error)),
            Ok(found) if !found.is_dir() => findings.push(Finding::error(format!("{shown} is no directory"), "set state-directory to one")),
            Ok(found) if found.mode() & 0o077 != 0 => {
                let what = format!("{shown} has mode {:04o}, which lets others in", found.mode() & 0o7777);
                findings.push(Finding::error(what, format!("chmod 700 {shown}")));
            }
            Ok(_) => {}
        }
    }
    if let Some(owner) = world.owner() {
        let mut foreign = Vec::new();
        collect_foreign(state, owner, 3, &mut foreign);
        if let Some(first) = foreign.first() {
            let others = foreign.len().saturating_sub(1);
            let what = format!(
                "{} and {others} more files do not belong to the user with id {owner}, as whom the gateway runs: it may fail to open them",
                first.display()
            );
            findings.push(Finding::error(what, format!("chown -R {owner} {}", state.display())));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("{} is private", state.display())));
    }
    Ok(findings)
}

/// Files below a directory that belong to somebody else.
fn collect_foreign(path: &Path, owner: u32, depth: u32, foreign: &mut Vec<PathBuf>) {
    let Ok(found) = fs::symlink_metadata(path) else { return };
    if found.uid() != owner {
        foreign.push(path.to_owned());
    }
    if let (true, Some(depth)) = (found.is_dir(), depth.checked_sub(1)) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten().take(MAX_FILES) {
            collect_foreign(&entry.path(), owner, depth, foreign);
        }
    }
}

pub(super) fn secret_files(world: &World<'_>) -> Findings {
    let config = world.config()?;
    let file = &config.file;
    let mut named: Vec<(&str, PathBuf)> = vec![
        ("broker.password-file", file.broker.password_file.clone()),
        ("broker.private-key-file", file.broker.private_key_file.clone()),
        ("keys.master-key-file", file.keys.master_key_file.clone()),
    ];
    if file.embedded_broker.enabled {
        named.push(("embedded-broker.private-key-file", config.broker_private_key()));
    }
    let (mut findings, mut sound) = (Vec::new(), 0_usize);
    for (setting, path) in named.into_iter().filter(|(_, path)| !path.as_os_str().is_empty()) {
        match read_private(&path) {
            Ok(_) => sound = sound.saturating_add(1),
            Err(error) => findings.push(Finding::error(
                format!("{setting}: {error}"),
                format!("give the file to the gateway's user alone (chmod 0600 {}), or correct {setting}", path.display()),
            )),
        }
    }
    let ca_key = config.tls_directory().join("ca.key");
    let keys = [config.keys_directory(), config.keys_directory().join("p256")].into_iter().flat_map(|directory| files_in(&directory));
    for path in std::iter::once(ca_key).chain(keys).filter(|path| path.is_file()) {
        let found = metadata(&path)?;
        if found.mode() & 0o077 == 0 {
            sound = sound.saturating_add(1);
        } else {
            let what = format!("{} has mode {:04o}: others can read or change a secret", path.display(), found.mode() & 0o7777);
            findings.push(Finding::error(what, format!("chmod 600 {}; if others may have read it, replace the key too", path.display())));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("{sound} files are private")));
    }
    Ok(findings)
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().take(MAX_FILES).map(|entry| entry.path()).collect()
}

pub(super) fn control_socket(world: &World<'_>) -> Findings {
    let socket = &world.config()?.file.control_socket;
    let shown = socket.display();
    if let Some(parent) = socket.parent().filter(|parent| !parent.as_os_str().is_empty())
        && let Ok(found) = fs::metadata(parent)
        && found.mode() & 0o1002 == 0o002
    {
        let what =
            format!("{} has mode {:04o}: anybody can put a socket of their own in its place", parent.display(), found.mode() & 0o7777);
        return Err(Finding::error(what, "set control-socket to a path in a directory that only the gateway's user may write to"));
    }
    match fs::symlink_metadata(socket) {
        Err(error) if error.kind() == ErrorKind::NotFound => match world.running() {
            Ok(_) => Err(Finding::error(format!("{shown} is gone, though the gateway runs"), "restart the gateway")),
            Err(_) => Err(Finding::skipped("no gateway runs, so there is none")),
        },
        Err(error) => Err(unreadable(socket, &error)),
        Ok(found) if !found.file_type().is_socket() => {
            Err(Finding::error(format!("{shown} is no socket, and the gateway will not replace it"), "move it away, or set control-socket"))
        }
        Ok(found) if found.mode() & 0o007 != 0 => {
            let what = format!("{shown} has mode {:04o}: every user may knock", found.mode() & 0o7777);
            Err(Finding::error(what, format!("chmod 660 {shown}")))
        }
        Ok(found) => group_access(world, socket, &found),
    }
}

/// Whether the group that the configuration names can use the socket.
fn group_access(world: &World<'_>, socket: &Path, found: &Metadata) -> Findings {
    let (shown, name) = (socket.display(), &world.config()?.file.control_group);
    let mode = found.mode() & 0o7777;
    let alone = || Ok(vec![Finding::ok(format!("{shown} has mode {mode:04o}: it is for root and the gateway's own user"))]);
    let Some(group) = group_id_among(&world.host().read("etc/group").unwrap_or_default(), name) else {
        return match name.as_str() {
            "" | DEFAULT_CONTROL_GROUP => alone(),
            _ => Err(Finding::error(
                format!("this host has no group {name}, which control-group names: the gateway will not start"),
                format!("groupadd --system {name}; or correct control-group"),
            )),
        };
    };
    if found.gid() != group || mode & 0o060 != 0o060 {
        let what =
            format!("members of the group {name} cannot use the commands: {shown} has mode {mode:04o} and the group {}", found.gid());
        let advice =
            format!("run the gateway as a member of {name} (SupplementaryGroups={name} in its unit) and restart it; or set control-group");
        return Err(Finding::warning(what, advice));
    }
    if let Some(parent) = socket.parent().filter(|parent| !parent.as_os_str().is_empty())
        && let Ok(directory) = fs::metadata(parent)
        && directory.mode() & (if directory.gid() == group { 0o010 } else { 0o001 }) == 0
    {
        let parent = parent.display();
        let what = format!("members of the group {name} cannot use the commands: {parent} has mode {:04o}", directory.mode() & 0o7777);
        return Err(Finding::warning(what, format!("chgrp {name} {parent}; chmod g+x {parent}")));
    }
    Ok(vec![Finding::ok(format!("{shown} has mode {mode:04o}: it is for root, the gateway's own user and the group {name}"))])
}

fn metadata(path: &Path) -> Result<Metadata, Finding> {
    fs::metadata(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Finding {
    let what = format!("{}: {error}", path.display());
    if error.kind() == ErrorKind::PermissionDenied {
        return Finding { advice: Some("run the check as root or as the gateway's user".into()), ..Finding::skipped(what) };
    }
    Finding::error(what, "correct the path in the configuration, or restore the file")
}
