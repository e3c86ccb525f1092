//! `credgate audit`.

mod export;
mod tail;
mod verify;
mod walk;

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::connect::Gateway;
use super::error::unexpected;
use super::output::Output;
use super::table::Table;
use super::times::Past;
use super::{CliError, Global};
use crate::admin::{self, Answer};
use crate::audit::{Filter, Page, Query, Sealed};
use crate::oauth::ClientId;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what happened, the newest last
    List(List),
    /// Show the end of the trail, and with --follow what happens from then on
    Tail(tail::Tail),
    /// Write the whole trail as JSON lines, to be verified elsewhere
    Export {
        /// The new file, of mode 0600 [default: standard output]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Check that nothing in the trail was changed, removed, moved or cut off; exit code 65 if it was
    Verify(verify::Verify),
    /// Sign the trail as it is now and print the checkpoint, to be kept elsewhere for `audit verify --checkpoint`
    Checkpoint,
}

/// Which entries are wanted.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// Only entries noted then or later: a time, or how long ago, such as 24h
    #[arg(long, value_name = "TIME")]
    since: Option<Past>,
    /// Only entries noted before
    #[arg(long, value_name = "TIME")]
    until: Option<Past>,
    /// Only entries of this type, such as operator, credential, refusal or credential.retired
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only entries about this client
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<ClientId>,
    /// Only entries with this reason code
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    wanted: Wanted,
    /// How many entries, the newest; 0 for all
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: usize,
}

impl From<&Wanted> for Filter {
    fn from(wanted: &Wanted) -> Self {
        Self {
            since: wanted.since.map(Past::time),
            until: wanted.until.map(Past::time),
            kind: wanted.kind.clone(),
            client_id: wanted.client.clone(),
            reason: wanted.reason.clone(),
        }
    }
}

#[derive(Serialize)]
struct Entries {
    entries: Vec<Sealed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<u64>,
}

#[derive(Serialize)]
struct Checkpoint {
    checkpoint: String,
}

pub(super) fn run(command: Command, global: Global, output: &Output) -> Result<(), CliError> {
    match command {
        Command::List(list) => self::list(&list, &mut Gateway::new(global), output),
        Command::Tail(tail) => tail::run(&tail, global, output),
        Command::Export { file } => export::run(file.as_deref(), &mut Gateway::new(global), output),
        Command::Verify(args) => verify::run(&args, &mut Gateway::new(global), output),
        Command::Checkpoint => match Gateway::new(global).execute(admin::Command::AuditCheckpoint)? {
            Answer::AuditCheckpoint { statement } => {
                let document = Checkpoint { checkpoint: statement };
                output.print(&document, || format!("{}\n", document.checkpoint))
            }
            other => Err(unexpected(&other)),
        },
    }
}

fn page(gateway: &mut Gateway, query: Query) -> Result<Page, CliError> {
    match gateway.execute(admin::Command::AuditPage(query))? {
        Answer::AuditPage(page) => Ok(*page),
        other => Err(unexpected(&other)),
    }
}

fn list(args: &List, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let Entries { entries, unreadable } = newest(&Filter::from(&args.wanted), args.limit, &mut |query| page(gateway, query))?;
    if !unreadable.is_empty() {
        output.note(&format!("{} entries cannot be read: see `credgate audit verify`", unreadable.len()));
    }
    let document = Entries { entries, unreadable };
    output.list(&document, || table(&document.entries))
}

/// The newest entries that are wanted, in their order.
fn newest(filter: &Filter, limit: usize, page: &mut dyn FnMut(Query) -> Result<Page, CliError>) -> Result<Entries, CliError> {
    let mut found = Entries { entries: Vec::new(), unreadable: Vec::new() };
    let mut query = Query { filter: filter.clone(), newest_first: true, limit, ..Query::default() };
    loop {
        let got = page(query.clone())?;
        found.entries.extend(got.entries);
        found.unreadable.extend(got.unreadable);
        let is_enough = limit > 0 && found.entries.len() >= limit;
        match got.more_from {
            Some(from) if !is_enough => {
                query.before = Some(from);
                query.limit = limit.saturating_sub(found.entries.len());
            }
            _ => break,
        }
    }
    found.entries.reverse();
    Ok(found)
}

fn table(entries: &[Sealed]) -> Table<7> {
    let mut table =
        Table::new(["NUMBER", "TIME", "EVENT", "SUBJECT", "OUTCOME", "BY", "MORE"]).yielding(&["SUBJECT", "OUTCOME", "BY", "MORE"]);
    entries.iter().for_each(|sealed| table.row(cells(sealed)));
    table
}

/// What people are shown of an entry.
fn cells(sealed: &Sealed) -> [String; 7] {
    let entry = &sealed.entry;
    let event = &entry.event;
    let what = match &event.operation {
        Some(operation) => operation.to_string(),
        None => format!("{}.{}", event.kind, event.event),
    };
    let subject = event.subject.clone().or_else(|| event.client_id.as_ref().map(ToString::to_string)).unwrap_or_default();
    let outcome = event.reason.as_ref().or(event.outcome.as_ref()).map(ToString::to_string).unwrap_or_default();
    let by = match (&event.user, event.uid, &event.link) {
        (Some(user), _, _) => user.clone(),
        (None, Some(uid), _) => format!("uid {uid}"),
        (None, None, link) => link.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    let mut more = Vec::new();
    if let Some(count) = event.count.filter(|count| *count > 1) {
        let since = event.first.map(|first| format!(" since {first}")).unwrap_or_default();
        more.push(format!("{count} times{since}"));
    }
    if event.count.is_none()
        && let (Some(first), Some(last)) = (event.first, event.last)
    {
        more.push(format!("from {first} to {last}"));
    }
    more.extend(event.credential.clone());
    more.extend(event.until.map(|until| format!("until {until}")));
    more.extend(event.version.as_ref().map(|version| format!("version {version}")));
    more.extend(event.pid.map(|pid| format!("process {pid}")));
    [entry.seq.to_string(), entry.time.to_string(), what, subject, outcome, by, more.join(", ")]
}
