//! What the kernel tells of this process.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::admin::ProcessMetrics;
use crate::clock::UnixTime;

/// Clock ticks of a second in `/proc`: `USER_HZ`, the same on every architecture that credgate runs on.
const TICKS: f64 = 100.0;
/// More than any of the files holds.
const LARGEST: usize = 4_096;

/// When the sources of this program were made.
#[must_use]
pub fn built_at() -> UnixTime {
    env!("SOURCE_TIME_OF_CREDGATE").parse().unwrap_or_default()
}

/// The way to the kernel's counts.
#[derive(Debug, Default)]
pub struct Vitals {
    io: Option<File>,
}

impl Vitals {
    /// To be called before the memory of the process is protected: from then on the kernel lets only root open the count of bytes written.
    #[must_use]
    pub fn open() -> Self {
        Self { io: File::open("/proc/self/io").ok() }
    }

    /// Bytes that the process has caused to be written to disks.
    #[must_use]
    pub fn written_bytes(&self) -> Option<u64> {
        number(&self.io.as_ref().and_then(text)?, "write_bytes:")
    }

    /// The counts now.
    #[must_use]
    pub fn read(&self) -> ProcessMetrics {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        ProcessMetrics {
            resident_bytes: number(&status, "VmRSS:").map(|kibibytes| kibibytes.saturating_mul(1_024)),
            threads: number(&status, "Threads:"),
            // The directory is open meanwhile, and counts itself.
            open_fds: std::fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1)),
            max_fds: number(&limits, "Max open files"),
            written_bytes: self.written_bytes(),
            cpu_seconds: std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat)),
        }
    }
}

/// A file of `/proc` that is open, read anew.
fn text(file: &File) -> Option<String> {
    let mut buffer = [0; LARGEST];
    let length = file.read_at(&mut buffer, 0).ok()?;
    String::from_utf8(buffer.get(..length)?.to_vec()).ok()
}

/// The first number on the line that begins so.
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// User and system time, the 14th and 15th field. The second is the program's name in parentheses, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user.saturating_add(system) as f64 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let vitals = Vitals::open();
        let told = vitals.read();
        assert!(told.resident_bytes.unwrap() > 1 << 20 && told.threads.unwrap() >= 1, "{told:?}");
        assert!(told.max_fds.unwrap() >= told.open_fds.unwrap() && told.cpu_seconds.unwrap() >= 0.0, "{told:?}");
        let held: Vec<File> = (0..10).map(|_| File::open("/dev/null").unwrap()).collect();
        // Other tests open and close files meanwhile; ten of our own show all the same unless as many went.
        assert!(vitals.read().open_fds.unwrap() >= held.len() as u64);
        assert!(vitals.read().written_bytes.is_some(), "the file is read anew each time");
    }

    #[test]
    fn fields_are_found_whatever_the_program_is_called() {
        let stat = "17 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 250 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(cpu_seconds("17"), None);
        assert_eq!(number("VmRSS:\t    12 kB\nThreads:\t3\n", "Threads:"), Some(3));
        assert_eq!(number("Max open files            unlimited            1048576  files", "Max open files"), None);
    }

    #[test]
    fn the_sources_are_not_of_1970() {
        assert!(built_at() > UnixTime::from_secs(1_700_000_000) && built_at() < UnixTime::from_secs(1_700_000_000 + 60 * 365 * 86_400));
    }
}
