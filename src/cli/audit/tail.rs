//! `credgate audit tail`.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::connect::{Gateway, control_socket};
use super::super::output::Output;
use super::super::{CliError, Exit, Global};
use super::{Wanted, cells, newest, page};
use crate::admin::{Answer, CallError, Command, call};
use crate::audit::{Filter, Page, Query, Sealed};
use crate::daemon::Signals;

/// How often it is asked for more. The gateway itself writes refusals every audit.flush-interval only.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Tail {
    #[command(flatten)]
    wanted: Wanted,
    /// How many entries to begin with
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 10)]
    lines: usize,
    /// Go on with what happens, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

pub(super) fn run(tail: &Tail, global: Global, output: &Output) -> Result<(), CliError> {
    let filter = Filter::from(&tail.wanted);
    if !tail.follow {
        let mut gateway = Gateway::new(global);
        let found = begin(tail, &filter, &mut |query| page(&mut gateway, query))?;
        return show(output, &found.0).map(|_| ());
    }
    // Not on the registry itself: as long as this process held it, the gateway could not start.
    let socket = control_socket(&global)?;
    let mut ask = |query| match call(&socket, &Command::AuditPage(query)) {
        Ok(Answer::AuditPage(page)) => Ok(*page),
        Ok(other) => Err(super::unexpected(&other)),
        Err(error @ CallError::NotRunning { .. }) => {
            Err(CliError::from(error).with_help("start the gateway, or leave --follow out to look at the trail of one that does not run"))
        }
        Err(error) => Err(error.into()),
    };
    let (entries, mut after) = begin(tail, &filter, &mut ask)?;
    if !show(output, &entries)? {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::new(Exit::Software, "runtime", "signals cannot be awaited").because(&error))?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::new().map_err(|error| CliError::new(Exit::Software, "runtime", "signals cannot be awaited").because(&error))?
    };
    let mut is_lost = false;
    loop {
        let ended = runtime.block_on(async { tokio::time::timeout(INTERVAL, signals.recv()).await.is_ok() });
        if ended || is_reader_gone() {
            return Ok(());
        }
        match call_page(&socket, Query { filter: filter.clone(), after, ..Query::default() }) {
            Ok(Some(page)) => {
                is_lost = false;
                if !show(output, &page.entries)? {
                    return Ok(());
                }
                // What is not wanted was looked at all the same.
                after = page.more_from.unwrap_or(page.head.max(after));
            }
            Ok(None) => {
                if !std::mem::replace(&mut is_lost, true) {
                    output.note("the gateway does not answer; waiting for it");
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// `None` if no gateway answers: it may be starting again.
fn call_page(socket: &Path, query: Query) -> Result<Option<Page>, CliError> {
    match call(socket, &Command::AuditPage(query)) {
        Ok(Answer::AuditPage(page)) => Ok(Some(*page)),
        Ok(other) => Err(super::unexpected(&other)),
        Err(CallError::NotRunning { .. } | CallError::NoAnswer { .. } | CallError::TimedOut { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The entries to begin with, and the number of the last entry that there is.
fn begin(tail: &Tail, filter: &Filter, page: &mut dyn FnMut(Query) -> Result<Page, CliError>) -> Result<(Vec<Sealed>, u64), CliError> {
    let mut head = 0;
    let mut ask = |query| {
        page(query).inspect(|page| {
            // What is written while pages are read is found by following.
            if head == 0 {
                head = page.head;
            }
        })
    };
    let mut entries = match tail.lines {
        0 => {
            ask(Query { newest_first: true, limit: 1, ..Query::default() })?;
            Vec::new()
        }
        lines => newest(filter, lines, &mut ask)?.entries,
    };
    entries.retain(|sealed| sealed.entry.seq <= head);
    Ok((entries, head))
}

/// Prints a line for each entry; `false` if nobody reads them any more.
fn show(output: &Output, entries: &[Sealed]) -> Result<bool, CliError> {
    for sealed in entries {
        match output.line(sealed, || text(sealed)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(CliError::new(Exit::Io, "io", "the result cannot be written to stdout").because(&error)),
        }
    }
    Ok(true)
}

fn text(sealed: &Sealed) -> String {
    let cells = cells(sealed).map(|cell| if cell.is_empty() { "-".to_owned() } else { cell.chars().filter(|c| !c.is_control()).collect() });
    format!("{}\n", cells.join("  "))
}

/// Whether standard output is a pipe that nobody reads: one would notice only at the next entry, which may be days away.
fn is_reader_gone() -> bool {
    let stdout = std::io::stdout();
    let mut watched = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
    let polled = poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && watched.iter().any(|watched| watched.revents().intersects(PollFlags::ERR | PollFlags::NVAL))
}
