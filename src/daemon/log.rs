//! Where log lines go, and which.

use std::io::{IsTerminal as _, stderr};
use std::panic::PanicHookInfo;

use tracing::{error, warn};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogSection};

/// The crate's own target.
const OWN: &str = "credgate";

/// Begins to log: to stderr as text or JSON, or to systemd's journal. Lines of the libraries inside, those written with the `log` crate
/// too, are let through from `warn` on only, whatever the level: below it some print passwords. Panics become error lines.
///
/// Only the first call in a process has an effect, and what it returns.
pub fn init(section: &LogSection) -> SetLevel {
    let (layer, fallback) = output(section.format);
    let (filter, handle) = reload::Layer::new(filter(&section.level));
    let set: SetLevel = Box::new(move |level| drop(handle.reload(self::filter(level))));
    if tracing_subscriber::registry().with(layer).with(filter).try_init().is_err() {
        return Box::new(|_| ());
    }
    std::panic::set_hook(Box::new(log_panic));
    if let Some(reason) = fallback {
        warn!(%reason, "systemd's journal cannot be reached; logging JSON to stderr. Set log.format to auto if this host has no journal");
    }
    set
}

/// Sets the level of a log that has begun.
pub type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

type Output = Box<dyn Layer<Registry> + Send + Sync>;

/// What writes lines of that form, and why it is not what was asked for.
fn output(format: LogFormat) -> (Output, Option<std::io::Error>) {
    match format {
        LogFormat::Auto if stderr().is_terminal() => (human(stderr, has_colours()), None),
        LogFormat::Human => (human(stderr, has_colours()), None),
        LogFormat::Auto if !goes_to_journal(std::env::var("JOURNAL_STREAM").ok().as_deref()) => (json(stderr), None),
        LogFormat::Json => (json(stderr), None),
        LogFormat::Auto | LogFormat::Journald => match tracing_journald::layer() {
            Ok(layer) => {
                let priorities = PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
                let layer = layer.with_syslog_identifier(OWN.into()).with_field_prefix(Some("CREDGATE".into()));
                (layer.with_priority_mappings(priorities).boxed(), None)
            }
            Err(error) => (json(stderr), Some(error)),
        },
    }
}

/// Whether stderr is the stream to systemd's journal that `JOURNAL_STREAM` tells of, by device and inode (systemd.exec(5)).
fn goes_to_journal(told: Option<&str>) -> bool {
    let Some((device, inode)) = told.and_then(|told| told.split_once(':')) else { return false };
    rustix::fs::fstat(stderr()).is_ok_and(|found| device == found.st_dev.to_string() && inode == found.st_ino.to_string())
}

/// On a terminal, unless <https://no-color.org> asks for none.
fn has_colours() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn human<W: for<'w> MakeWriter<'w> + Send + Sync + 'static>(writer: W, colours: bool) -> Output {
    tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(writer).boxed()
}

fn json<W: for<'w> MakeWriter<'w> + Send + Sync + 'static>(writer: W) -> Output {
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer).boxed()
}

/// Our lines from `level` on; those of libraries too, but from `warn` on at most.
fn filter(level: &str) -> Targets {
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    // mqtt5 warns of every message that a device may not send, in words the device chose; rumqttc of every refused PUBACK. Our own lines say it.
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("mqtt5", level.min(LevelFilter::ERROR))
        .with_target("rumqttc", level.min(LevelFilter::ERROR))
        .with_target(OWN, level)
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    // A literal says what its author wrote. A formatted message may hold anything, a secret among it.
    let reason = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("formatted message withheld");
    let thread = std::thread::current();
    error!(location, thread = thread.name().unwrap_or("unnamed"), reason, "panic: this is a defect of credgate, please report it");
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::sync::{Arc, Mutex};

    use tracing::{debug, info, subscriber, trace};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn events() {
        error!("own error");
        warn!("own warn");
        info!(client_id = "dev1", "own info");
        debug!("own debug");
        trace!("own trace");
        error!(target: "rumqttc::v5", "library error");
        warn!(target: "rustls", "library warn");
        warn!(target: "mqtt5::broker", "of a device");
        info!(target: "sled", "library info");
        trace!(target: "rumqttc::v5", "library trace");
    }

    fn json_lines(text: &str) -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    #[test]
    fn levels_hold_for_us_and_warn_is_the_least_for_libraries() {
        for (level, expected) in [
            ("error", &["own error", "library error"][..]),
            ("warn", &["own error", "own warn", "library error", "library warn"]),
            ("info", &["own error", "own warn", "own info", "library error", "library warn"]),
            ("trace", &["own error", "own warn", "own info", "own debug", "own trace", "library error", "library warn"]),
        ] {
            let lines = Lines::default();
            let writer = lines.clone();
            let logged = tracing_subscriber::registry().with(json(move || writer.clone())).with(filter(level));
            subscriber::with_default(logged, events);
            let lines = json_lines(&lines.text());
            let messages: Vec<&str> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
            assert_eq!(messages, expected, "{level}");
            if level == "info" {
                assert_eq!((&lines[2]["client_id"], &lines[2]["level"]), (&"dev1".into(), &"INFO".into()));
            }
        }
    }

    #[test]
    fn the_journal_is_known_by_its_stream() {
        let found = rustix::fs::fstat(stderr()).unwrap();
        assert!(goes_to_journal(Some(&format!("{}:{}", found.st_dev, found.st_ino))));
        for other in [None, Some(""), Some("1:2"), Some(&*format!("{}:{}", found.st_dev, found.st_ino.wrapping_add(1)))] {
            assert!(!goes_to_journal(other), "{other:?}");
        }
    }

    #[test]
    fn text_has_colours_only_if_asked_for() {
        for colours in [true, false] {
            let lines = Lines::default();
            let writer = lines.clone();
            let logged = tracing_subscriber::registry().with(human(move || writer.clone(), colours)).with(filter("info"));
            subscriber::with_default(logged, events);
            assert!(lines.text().contains("own info"));
            assert_eq!(lines.text().contains('\u{1b}'), colours);
        }
    }

    /// Not a test but the process that the tests below start: what is global can be tried once in a process.
    #[test]
    #[ignore = "started by other tests in a process of its own"]
    fn process() {
        let format = serde_json::from_value(std::env::var("FORMAT").unwrap().into()).unwrap();
        let _ = init(&LogSection { level: "info".into(), format });
        // Has no effect.
        let _ = init(&LogSection { level: "trace".into(), format });
        events();
        log::warn!("by the log crate");
        log::info!("detail by the log crate");
        let secret = std::hint::black_box("hunter2");
        std::thread::Builder::new().name("one".into()).spawn(move || panic!("formatted {secret}")).unwrap().join().unwrap_err();
        std::thread::Builder::new().name("two".into()).spawn(|| panic!("literal")).unwrap().join().unwrap_err();
    }

    fn start(format: &str, stderr: Stdio) -> std::process::Output {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "daemon::log::tests::process", "--ignored", "--nocapture", "--test-threads=1"])
            .env("FORMAT", format)
            .stdin(Stdio::null())
            .stderr(stderr)
            .output()
            .unwrap()
    }

    fn logged(format: &str) -> String {
        let output = start(format, Stdio::piped());
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn auto_is_json_without_a_terminal_and_takes_panics_and_the_log_crate_in() {
        let text = logged("auto");
        let lines = json_lines(&text);
        let messages: Vec<&str> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages[..6], ["own error", "own warn", "own info", "library error", "library warn", "by the log crate"]);
        assert_eq!(lines[5]["target"], "credgate::daemon::log::tests");
        // The target is ours, so that line is of our level.
        assert_eq!(messages[6], "detail by the log crate");
        let panics = &lines[7..];
        assert_eq!(panics.len(), 2, "{text}");
        for (line, (thread, reason)) in panics.iter().zip([("one", "formatted message withheld"), ("two", "literal")]) {
            assert_eq!((&line["level"], &line["thread"], &line["reason"]), (&"ERROR".into(), &thread.into(), &reason.into()));
            assert!(line["location"].as_str().unwrap().starts_with("src/daemon/log.rs:"), "{line}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn human_has_no_colours_without_a_terminal() {
        let text = logged("human");
        assert!(text.contains("own info") && !text.contains('\u{1b}') && !text.contains('{'), "{text}");
    }

    #[test]
    fn journald_falls_back_to_json_and_says_so() {
        if tracing_journald::layer().is_ok() {
            // On a host with a journal the lines are in it.
            assert_eq!(logged("journald"), "");
        } else {
            let lines = json_lines(&logged("journald"));
            assert_eq!(lines[0]["level"], "WARN");
            assert!(lines[0]["message"].as_str().unwrap().contains("journal"), "{}", lines[0]);
            assert_eq!(lines[1]["message"], "own error");
        }
    }

    #[test]
    fn a_full_disk_below_stderr_stops_nothing() {
        for format in ["human", "json"] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let output = start(format, full.into());
            assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        }
    }
}
