//! `credgate check`: the doctor.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::connect::{Gateway, config_file, control_socket, load};
use super::output::{Output, Text};
use super::table::Table;
use super::{CliError, Exit, Format, Global};
use crate::admin::{Answer, CallError, Command, DaemonStatus, call};
use crate::check::{CHECKS, Check, Checked, Host, Outcome, World};
use crate::clock::UnixTime;

/// How long nothing is told of what goes on.
const SILENCE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Checks to run, by their ids [default: all]
    #[arg(value_name = "ID", value_parser = known, conflicts_with = "list")]
    ids: Vec<&'static str>,
    /// List the checks instead
    #[arg(long)]
    list: bool,
}

fn known(id: &str) -> Result<&'static str, String> {
    let found = CHECKS.iter().find(|check| check.id == id);
    found.map(|check| check.id).ok_or_else(|| "there is no such check; `credgate check --list` lists them".to_owned())
}

#[derive(Serialize)]
struct CheckList {
    checks: &'static [Check],
}

#[derive(Serialize)]
struct Report {
    /// The worst of all.
    result: Outcome,
    checks: Vec<Checked>,
}

pub(super) fn run(args: Args, global: Global, output: &Output) -> Result<Exit, CliError> {
    if args.list {
        output.list(&CheckList { checks: CHECKS }, || {
            let mut table = Table::new(["ID", "CHECKS THAT"]).wrapping(&["CHECKS THAT"]);
            CHECKS.iter().for_each(|check| table.row([check.id.to_owned(), check.title.to_owned()]));
            table
        })?;
        return Ok(Exit::Ok);
    }
    let checks: Vec<&Check> = CHECKS.iter().filter(|check| args.ids.is_empty() || args.ids.contains(&check.id)).collect();
    let progress = Progress::start(global.output == Format::Table && io::stderr().is_terminal());
    let (config, file) = (load(&global), config_file(&global));
    let daemon = daemon(&global);
    let gateway = RefCell::new(Gateway::new(global));
    let ask = |command| gateway.borrow_mut().execute(command).map_err(|error| told(&error));
    let world = World::new(config, file, daemon, &ask, Host::default(), UnixTime::from(SystemTime::now()));
    let checked: Vec<Checked> = checks
        .into_iter()
        .map(|check| {
            progress.tell(check.title);
            check.run(&world)
        })
        .collect();
    drop(progress);
    // What was skipped is no fault.
    let result = checked.iter().map(|checked| checked.result).filter(|result| *result != Outcome::Skipped).max().unwrap_or(Outcome::Ok);
    let report = Report { result, checks: checked };
    output.compose(&report, |text| tell(&report, text))?;
    Ok(match result {
        Outcome::Ok | Outcome::Skipped => Exit::Ok,
        Outcome::Warning => Exit::Warnings,
        Outcome::Error => Exit::Errors,
    })
}

fn daemon(global: &Global) -> Result<Option<DaemonStatus>, String> {
    // Without a valid configuration it is not known where to ask; the check of that says so.
    let Ok(socket) = control_socket(global) else { return Ok(None) };
    match call(&socket, &Command::Status) {
        Ok(Answer::Status(status)) => Ok(Some(*status)),
        Ok(other) => Err(format!("it gave an answer of the wrong kind: {other:?}")),
        Err(CallError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(told(&error.into())),
    }
}

/// An error on one line.
fn told(error: &CliError) -> String {
    std::iter::once(error.to_string()).chain(error.causes().iter().cloned()).collect::<Vec<_>>().join(": ")
}

fn tell(report: &Report, text: &mut Text) {
    let mut table = Table::new(["CHECK", "RESULT", "FOUND"]).wrapping(&["FOUND"]);
    for Checked { id, findings, .. } in &report.checks {
        for (index, finding) in findings.iter().enumerate() {
            let id = if index == 0 { (*id).to_owned() } else { "\"".to_owned() };
            table.row([id, finding.outcome.as_str().to_owned(), finding.found.clone()]);
        }
    }
    text.table(&table);
    let advised = report.checks.iter().flat_map(|checked| checked.findings.iter().map(move |finding| (checked.id, finding)));
    let advised: Vec<_> = advised.filter_map(|(id, finding)| finding.advice.as_ref().map(|advice| (id, advice))).collect();
    if !advised.is_empty() {
        let mut table = Table::new(["CHECK", "WHAT TO DO"]).wrapping(&["WHAT TO DO"]);
        advised.into_iter().for_each(|(id, advice)| table.row([id.to_owned(), advice.clone()]));
        text.line("");
        text.table(&table);
    }
    let count = |outcome| report.checks.iter().filter(|checked| checked.result == outcome).count();
    let counts =
        [Outcome::Ok, Outcome::Warning, Outcome::Error, Outcome::Skipped].map(|outcome| format!("{} {}", count(outcome), outcome.as_str()));
    text.line("");
    text.line(&format!("{} checks: {}", report.checks.len(), counts.join(", ")));
}

/// Tells a person what goes on if it takes its time. Ends, and clears its line, when dropped.
struct Progress(Option<(Sender<&'static str>, std::thread::JoinHandle<()>)>);

impl Progress {
    fn start(is_wanted: bool) -> Self {
        if !is_wanted {
            return Self(None);
        }
        let (titles, told) = channel();
        let thread = std::thread::spawn(move || {
            let (started, mut title, mut shown) = (Instant::now(), None, false);
            loop {
                match told.recv_timeout(Duration::from_millis(200)) {
                    Ok(next) => title = Some(next),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if let (true, Some(title)) = (started.elapsed() > SILENCE, title) {
                    shown = write!(io::stderr().lock(), "\r\x1b[Kchecking that {title} ...").is_ok();
                }
            }
            if shown {
                let _ = write!(io::stderr().lock(), "\r\x1b[K");
            }
        });
        Self(Some((titles, thread)))
    }

    fn tell(&self, title: &'static str) {
        if let Some((titles, _)) = &self.0 {
            let _ = titles.send(title);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((titles, thread)) = self.0.take() {
            drop(titles);
            let _ = thread.join();
        }
    }
}
