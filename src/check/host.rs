//! What the host says of itself in files and by its own tools.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a tool of the system.
const TOOL_TIMEOUT: Duration = Duration::from_secs(10);

/// The host, or a directory that stands for one in a test.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { root: "/".into() }
    }
}

impl Host {
    /// A directory in place of the host's root.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A path without its leading slash, on that host.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The text of a file, without blanks around it.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }

    /// What a tool prints, if the host is this one, has the tool, and it ends well in time.
    pub(super) fn ask(&self, tool: &str, arguments: &[&str]) -> Option<String> {
        if self.root != Path::new("/") {
            return None;
        }
        let mut command = Command::new(tool);
        command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let started = Instant::now();
        // What these tools print fits a pipe, so they end without a reader.
        while child.try_wait().ok()?.is_none() {
            if started.elapsed() > TOOL_TIMEOUT {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = child.wait_with_output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A line `name: value` of `/proc/PID/status`.
    pub(super) fn process_status(&self, pid: u32, name: &str) -> Option<String> {
        let text = self.read(&format!("proc/{pid}/status"))?;
        text.lines().find_map(|line| line.split_once(':').filter(|(found, _)| *found == name)).map(|(_, value)| value.trim().to_owned())
    }

    /// A soft limit of `/proc/PID/limits`; `u64::MAX` for none.
    pub(super) fn process_limit(&self, pid: u32, name: &str) -> Option<u64> {
        let text = self.read(&format!("proc/{pid}/limits"))?;
        let soft = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?;
        if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
    }

    /// The user that a process runs as.
    pub(super) fn process_user(&self, pid: u32) -> Option<u32> {
        self.process_status(pid, "Uid")?.split_whitespace().nth(1)?.parse().ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host whose files are these.
    pub(in crate::check) fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let host = Host::at(directory.path());
        (directory, host)
    }

    #[test]
    fn processes_are_read() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax core file size        0         unlimited   bytes\nMax open files            1024  4096 files\n";
        let (_directory, host) = host(&[("proc/7/status", "Name:\tx\nUid:\t0\t990\t0\t0\nNoNewPrivs:\t1\n"), ("proc/7/limits", limits)]);
        assert_eq!((host.process_user(7), host.process_status(7, "NoNewPrivs").as_deref()), (Some(990), Some("1")));
        assert_eq!((host.process_limit(7, "Max core file size"), host.process_limit(7, "Max open files")), (Some(0), Some(1_024)));
        assert_eq!((host.process_limit(7, "Max x"), host.process_user(8)), (None, None));
    }

    #[test]
    fn tools_are_asked_of_this_host_alone() {
        assert_eq!(Host::default().ask("echo", &["a"]).as_deref(), Some("a"));
        assert_eq!(Host::default().ask("false", &[]), None);
        assert_eq!(Host::default().ask("/nonexistent", &[]), None);
        assert_eq!(host(&[]).1.ask("echo", &["a"]), None);
    }
}
