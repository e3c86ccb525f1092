//! Where the state directory lies.

use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::{Finding, Findings, Host, World};

/// Bytes below which the registry takes no changes: it holds back so much.
const LEAST: u64 = 8 * 1_024 * 1_024;
/// Inodes below which new files are at risk.
const LEAST_INODES: u64 = 1_000;

pub(super) fn space(world: &World<'_>) -> Findings {
    let config = world.config()?;
    let directory = existing(&config.file.state_directory);
    let shown = directory.display();
    let mounts = world.host().read("proc/self/mountinfo").unwrap_or_default();
    let resolved = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    // Where the kernel took writing away after an error, newer ones say so there alone.
    let has_failed = mounted(&mounts, &resolved).is_some_and(|mount| mount.options.split(',').any(|option| option == "emergency_ro"));
    let found = statvfs(directory).map_err(|error| Finding::skipped(format!("{shown}: {}", std::io::Error::from(error))))?;
    if has_failed || found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let what = format!("{shown} is mounted read-only: no change can be written, tokens are issued all the same");
        return Err(Finding::error(what, "see `dmesg` for why; check the storage, then mount it for writing and restart the gateway"));
    }
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let wanted = config.file.check.min_disk_free;
    let told = format!("{} free at {shown}", mebibytes(free));
    let advice = "free space there: old logs, packages and images are the usual suspects";
    let mut findings = vec![if free < LEAST {
        Finding::error(format!("{told}; with less than {} no change can be written", mebibytes(LEAST)), advice)
    } else if free < wanted {
        Finding::warning(format!("{told}; check.min-disk-free wants {}", mebibytes(wanted)), advice)
    } else {
        Finding::ok(told)
    }];
    // Some file systems count no inodes.
    if found.f_files > 0 && found.f_favail < LEAST_INODES {
        let what = format!("{} of {} inodes are free at {shown}", found.f_favail, found.f_files);
        findings.push(Finding::warning(what, "remove small files that nobody needs; `df -i` and `du --inodes` find them"));
    }
    Ok(findings)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1_024 * 1_024))
}

/// The directory, or the nearest above it that is there.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."))
}

pub(super) fn storage(world: &World<'_>) -> Findings {
    let host = world.host();
    let directory = existing(&world.config()?.file.state_directory);
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let shown = directory.display();
    let mounts = host.read("proc/self/mountinfo").ok_or_else(|| Finding::skipped("this host does not tell what is mounted"))?;
    let mount = mounted(&mounts, &directory).ok_or_else(|| Finding::skipped(format!("it is not known what {shown} lies on")))?;
    let Mount { kind, source, .. } = mount;
    let advice = "put the state directory on a local file system of its own kind, such as ext4 or f2fs";
    let mut findings = vec![match kind {
        "tmpfs" | "ramfs" => Finding::warning(format!("{shown} is memory ({kind}): clients and keys are gone at the next restart"), advice),
        "vfat" | "exfat" | "ntfs" | "ntfs3" | "fuseblk" => {
            Finding::error(format!("{shown} is on {kind}, which keeps no file modes: secrets cannot be private there"), advice)
        }
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" => {
            Finding::warning(format!("{shown} is on {kind}: a lock and a sync over a network are only as good as the server"), advice)
        }
        "overlay" | "aufs" => Finding::warning(
            format!("{shown} is in the upper layer of a container or of a read-only root ({kind}): it may go away with that"),
            "mount a volume for the state directory",
        ),
        _ => Finding::ok(format!("{shown} is on {kind} ({source})")),
    }];
    findings.extend(wear(host, source));
    Ok(findings)
}

struct Mount<'a> {
    kind: &'a str,
    source: &'a str,
    /// Those of the file system, not of the mount.
    options: &'a str,
}

/// The mount that a path lies on (proc(5), mountinfo): of those above it the deepest, of these the last.
fn mounted<'a>(mountinfo: &'a str, path: &Path) -> Option<Mount<'a>> {
    let lines = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mount_point = before.split(' ').nth(4)?.replace("\\040", " ");
        let mut after = after.split(' ');
        let mount = Mount { kind: after.next()?, source: after.next()?, options: after.next().unwrap_or_default() };
        path.starts_with(&mount_point).then_some((mount_point.len(), mount))
    });
    lines.max_by_key(|(length, _)| *length).map(|(_, mount)| mount)
}

/// What an SD card or eMMC says of its own age (JEDEC eMMC 5.0: EXT_CSD 267 to 269).
fn wear(host: &Host, source: &str) -> Option<Finding> {
    let device = source.strip_prefix("/dev/")?;
    // The disk of a partition: mmcblk0p2 is of mmcblk0.
    let disk = match device.rsplit_once('p') {
        Some((disk, number)) if device.starts_with("mmcblk") && number.bytes().all(|byte| byte.is_ascii_digit()) => disk,
        _ => device,
    };
    let value = |text: &str| u8::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let life = host.read(&format!("sys/block/{disk}/device/life_time"))?;
    let used = life.split_whitespace().filter_map(value).max()?;
    let spare = host.read(&format!("sys/block/{disk}/device/pre_eol_info")).and_then(|text| value(&text)).unwrap_or_default();
    let advice = "back the state directory up now and replace the card";
    let told = format!("{disk} has used up to {} % of its life", u32::from(used).saturating_mul(10).min(100));
    Some(match (used, spare) {
        (11.., _) | (_, 3) => Finding::error(format!("{told}, which is over its end"), advice),
        (9.., _) | (_, 2) => Finding::warning(told, advice),
        _ => Finding::ok(told),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::super::host::tests::host;
    use super::super::world::tests::world;
    use super::*;

    /// A host where everything is on that device.
    fn on(kind: &str, life: &str, spare: &str) -> Vec<Outcome> {
        let mountinfo = format!("21 1 179:2 / / rw,noatime shared:1 - {kind} /dev/mmcblk0p2 rw\n22 21 0:5 / /proc rw - proc proc rw\n");
        let (_directory, host) = host(&[
            ("proc/self/mountinfo", &mountinfo),
            ("sys/block/mmcblk0/device/life_time", life),
            ("sys/block/mmcblk0/device/pre_eol_info", spare),
        ]);
        storage(&world(&host)).unwrap().iter().map(|finding| finding.outcome).collect()
    }

    #[test]
    fn worn_cards_are_told() {
        for (life, spare, expected) in [
            ("0x01 0x02", "0x01", Outcome::Ok),
            ("0x01 0x09", "0x01", Outcome::Warning),
            ("0x01 0x01", "0x02", Outcome::Warning),
            ("0x0b 0x01", "0x01", Outcome::Error),
            ("0x01 0x01", "0x03", Outcome::Error),
        ] {
            assert_eq!(on("ext4", life, spare), [Outcome::Ok, expected], "{life} {spare}");
        }
        assert_eq!(on("ext4", "", ""), [Outcome::Ok], "a card that says nothing");
    }

    #[test]
    fn kinds_of_file_systems_are_told() {
        for (kind, expected) in [
            ("ext4", Outcome::Ok),
            ("vfat", Outcome::Error),
            ("nfs4", Outcome::Warning),
            ("overlay", Outcome::Warning),
            ("tmpfs", Outcome::Warning),
        ] {
            assert_eq!(on(kind, "", ""), [expected], "{kind}");
        }
    }

    #[test]
    fn a_file_system_that_failed_is_told() {
        let of = |options: &str| {
            let (_directory, host) = host(&[("proc/self/mountinfo", &format!("1 0 8:1 / / rw - ext4 /dev/sda1 {options}\n"))]);
            space(&world(&host)).map_or_else(|finding| finding.found, |findings| findings[0].found.clone())
        };
        assert!(of("rw,emergency_ro,errors=remount-ro").contains("mounted read-only"));
        assert!(!of("rw,errors=remount-ro").contains("mounted read-only"));
    }

    #[test]
    fn the_deepest_mount_counts() {
        let text =
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /var rw - xfs /dev/sda2 rw\n3 1 0:1 / /var/lib\\040x rw - tmpfs tmpfs rw\n";
        let kind = |path: &str| mounted(text, Path::new(path)).unwrap().kind;
        assert_eq!((kind("/var/lib"), kind("/var/lib x/y"), kind("/variable")), ("xfs", "tmpfs", "ext4"));
    }
}
