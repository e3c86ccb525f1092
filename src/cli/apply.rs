//! `credgate apply`: clients and what they may have, as files say.

mod secrets;
mod show;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::confirm::{confirm_unless, count};
use super::connect::Applying;
use super::fleet::{Fault, Fleet, FleetFormat};
use super::interrupt::{Interrupt, interrupted};
use super::output::{Format, Output};
use super::progress::Progress;
use super::{CliError, Exit, Global};
use crate::admin::{
    AdminError, AdminErrorCode, ApplyAnswer, ApplyCommand, ApplyRecord, CallError, ChangeDocument, FrameError, PlanDocument,
};
use crate::oauth::ClientId;
use secrets::{Kept, SecretsArgs};

/// Records in one part.
const PART: usize = 512;
/// Digests in one part.
const DIGESTS: usize = 2_048;
/// Faults that are shown; more are counted.
const MAX_SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File that says how records are to be (.toml, .json or .csv), or - for standard input; may be repeated
    #[arg(long = "file", short = 'f', value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The form of the files [default: by their names]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FleetFormat>,
    /// Show what would be different, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// End with exit code 5 if something would be different
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
    /// Remove what the files do not name, of the kinds that they speak of; not clients that registered themselves by an enrolment
    #[arg(long)]
    prune: bool,
    /// Do not ask before records are removed
    #[arg(long, short)]
    yes: bool,
    /// Change only what a dry run showed with this fingerprint
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "dry_run", allow_hyphen_values = true)]
    expect: Option<String>,
    #[command(flatten)]
    secrets: SecretsArgs,
    /// How many differing records are shown; 0 for all [default: 40, and 1000 as JSON]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

/// What `apply` prints for programs.
#[derive(Serialize)]
struct Applied<'a> {
    /// Whether it is done.
    applied: bool,
    /// Whether something is, or would be, different.
    changed: bool,
    #[serde(flatten)]
    plan: &'a PlanDocument,
    changes: &'a [ChangeDocument],
    /// How many differing records are not among `changes`.
    left_out: usize,
}

/// A change under way, as the person at the terminal sees it.
struct Work<'a> {
    applying: Applying,
    interrupt: &'a Interrupt,
    progress: &'a Progress,
}

pub(super) fn run(args: Args, global: &Global, output: &Output) -> Result<Exit, CliError> {
    let progress = Progress::new(output.format() == Format::Table);
    let reads_stdin = args.files.iter().any(|file| file.as_os_str() == "-");
    // Whoever waits for somebody to type is ended by the system.
    let early = if reads_stdin { None } else { Some(Interrupt::listen()?) };
    progress.phase("reading", 0);
    let mut fleet = read(&args, early.as_ref(), &progress)?;
    let interrupt = early.map_or_else(Interrupt::listen, Ok)?;
    let mut work = Work { applying: Applying::begin(global)?, interrupt: &interrupt, progress: &progress };
    let need_secrets = work.send(std::mem::take(&mut fleet.records))?;
    let plan = work.plan(if args.prune { fleet.kinds.clone() } else { BTreeSet::new() })?;
    if plan.faulty > 0 {
        return Err(refused(&plan, &fleet));
    }
    let total = plan.total();
    let differing = total.added.saturating_add(total.changed).saturating_add(total.removed);
    let limit = args.limit.unwrap_or(if output.format() == Format::Json { 1_000 } else { 40 });
    let limit = if limit == 0 { usize::MAX } else { limit };
    let changes = work.changes(limit)?;
    let left_out = differing.saturating_sub(changes.len());
    progress.clear();
    if output.format() == Format::Table {
        output.stream(|results| results.write_all(show::difference(&plan, &changes, left_out).as_bytes()))?;
    }
    let report = |applied| Applied { applied, changed: differing > 0, plan: &plan, changes: &changes, left_out };
    if args.dry_run || differing == 0 {
        output.print(&report(false), || if args.dry_run { "dry run: nothing was changed\n".to_owned() } else { String::new() })?;
        return Ok(if args.exit_code && differing > 0 { Exit::Changes } else { Exit::Ok });
    }
    if let Some(expected) = args.expect.as_ref().filter(|expected| **expected != plan.fingerprint) {
        let told = format!("the difference is not the one with the fingerprint {expected}; nothing was changed");
        return Err(CliError::new(Exit::Temporary, "conflict", told).with_help("look at it with --dry-run, and give its fingerprint"));
    }
    if total.removed > 0 && !args.yes {
        let what = format!("remove {} and make the other changes", count(total.removed, "record"));
        confirm_unless(&what, "what is removed is gone for good, and every token of a client that goes is void", || interrupt.check())?;
    }
    let kept = if need_secrets.is_empty() { None } else { Some(work.secrets(&args.secrets, &need_secrets)?) };
    work.commit(&plan, kept)?;
    output.print(&report(true), || show::done(&plan, &args.secrets))?;
    Ok(Exit::Ok)
}

fn read(args: &Args, interrupt: Option<&Interrupt>, progress: &Progress) -> Result<Fleet, CliError> {
    let mut fleet = Fleet::default();
    for file in &args.files {
        fleet.read(file, args.format, &mut |count| {
            progress.set(count);
            interrupt.map_or(Ok(()), Interrupt::check)
        })?;
    }
    if fleet.faulty > 0 {
        return Err(faults(fleet.faults.iter().map(ToString::to_string), fleet.faulty));
    }
    Ok(fleet)
}

/// All that is wrong at once, as far as a person can take it in.
fn faults(told: impl Iterator<Item = String>, count: usize) -> CliError {
    let shown: Vec<String> = told.take(MAX_SHOWN).collect();
    let more = count.saturating_sub(shown.len());
    let told = format!("{} in what is to be applied; nothing was changed", super::confirm::count(count, "fault"));
    let error = CliError::new(Exit::Data, "fleet_file", told);
    let more = (more > 0).then(|| format!("and {more} more"));
    error.with_causes(shown.into_iter().chain(more))
}

/// What the gateway found wrong, with the places that only the files know.
fn refused(plan: &PlanDocument, fleet: &Fleet) -> CliError {
    let told = plan.faults.iter().map(|fault| {
        let place = fleet.place(fault.kind, &fault.name);
        // One that no file names breaks a rule by what becomes of others.
        let unnamed = if place.is_none() { ", which no file names" } else { "" };
        Fault { place, message: format!("{} {}{unnamed}: {}", fault.kind.as_str(), fault.name, fault.message) }.to_string()
    });
    faults(told, plan.faulty)
}

impl Work<'_> {
    /// Has one part taken, unless Ctrl-C comes first.
    fn take(&mut self, command: ApplyCommand) -> Result<ApplyAnswer, CallError> {
        let interrupt = self.interrupt;
        if interrupt.count() > 0 {
            return Err(interruption().into());
        }
        self.applying.take(command, || interrupt.count() > 0)?.ok_or_else(|| interruption().into())
    }

    fn told(error: CallError) -> CliError {
        match error {
            CallError::Refused(error) if error == interruption() => interrupted(),
            error @ (CallError::NoAnswer { .. } | CallError::TimedOut { .. }) => {
                CliError::from(error).with_help("nothing was changed; see the gateway's log (journalctl -u credgate)")
            }
            error => error.into(),
        }
    }

    /// Sends all records; the clients among them that need a new secret.
    fn send(&mut self, records: Vec<ApplyRecord>) -> Result<Vec<ClientId>, CliError> {
        self.progress.phase("sending", records.len());
        let (mut need_secrets, mut sent) = (Vec::new(), 0_usize);
        let mut records = records.into_iter();
        loop {
            let part: Vec<ApplyRecord> = records.by_ref().take(PART).collect();
            if part.is_empty() {
                return Ok(need_secrets);
            }
            sent = sent.saturating_add(part.len());
            self.send_part(part, &mut need_secrets)?;
            self.progress.set(sent);
        }
    }

    fn send_part(&mut self, part: Vec<ApplyRecord>, need_secrets: &mut Vec<ClientId>) -> Result<(), CliError> {
        let is_one = part.len() <= 1;
        // Large records are rare; only then a part is there twice.
        let halves = if part.iter().any(is_large) && !is_one { Some(part.clone()) } else { None };
        match self.take(ApplyCommand::Records(part)) {
            Ok(ApplyAnswer::Taken { need_secrets: found }) => {
                need_secrets.extend(found);
                Ok(())
            }
            Ok(other) => Err(out_of_order(&other)),
            Err(CallError::NoAnswer { source: FrameError::TooLarge { .. }, .. }) if halves.is_some() => {
                let mut first = halves.unwrap_or_default();
                let second = first.split_off(first.len() / 2);
                self.send_part(first, need_secrets)?;
                self.send_part(second, need_secrets)
            }
            Err(error) => Err(Self::told(error)),
        }
    }

    fn plan(&mut self, prune: BTreeSet<crate::registry::Kind>) -> Result<PlanDocument, CliError> {
        self.progress.phase("comparing", 0);
        match self.take(ApplyCommand::Plan { prune }).map_err(Self::told)? {
            ApplyAnswer::Planned(plan) => Ok(plan),
            other => Err(out_of_order(&other)),
        }
    }

    /// The first of the differing records.
    fn changes(&mut self, limit: usize) -> Result<Vec<ChangeDocument>, CliError> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            match self.take(ApplyCommand::Changes { from }).map_err(Self::told)? {
                ApplyAnswer::Changes { changes, next } => {
                    all.extend(changes);
                    match next.filter(|_| all.len() < limit) {
                        Some(next) => from = next,
                        None => {
                            all.truncate(limit);
                            return Ok(all);
                        }
                    }
                }
                other => return Err(out_of_order(&other)),
            }
        }
    }

    /// Makes the secrets, to the disk, before anybody is registered by them.
    fn secrets(&mut self, args: &SecretsArgs, clients: &[ClientId]) -> Result<Kept, CliError> {
        self.progress.phase("making secrets", clients.len());
        let mut kept = args.create(clients.len())?;
        let mut digests = Vec::new();
        for (index, client_id) in clients.iter().enumerate() {
            digests.push((client_id.clone(), kept.make(client_id)?));
            if digests.len() >= DIGESTS || index.saturating_add(1) == clients.len() {
                self.progress.set(index);
                match self.take(ApplyCommand::Secrets(std::mem::take(&mut digests))).map_err(Self::told)? {
                    ApplyAnswer::SecretsTaken => {}
                    other => return Err(out_of_order(&other)),
                }
            }
        }
        kept.sync()?;
        Ok(kept)
    }

    /// Does it. From here on Ctrl-C does not leave the outcome open, unless it is pressed twice.
    fn commit(&mut self, plan: &PlanDocument, kept: Option<Kept>) -> Result<(), CliError> {
        self.interrupt.check()?;
        self.progress.phase("writing", 0);
        let (interrupt, progress, mut is_told) = (self.interrupt, self.progress, false);
        let given_up = || {
            if interrupt.count() == 1 && !is_told {
                is_told = true;
                progress.clear();
                eprintln!("credgate: the change is being written; waiting for what comes of it (Ctrl-C again to wait no longer)");
            }
            interrupt.count() > 1
        };
        let outcome = self.applying.take(ApplyCommand::Commit { fingerprint: plan.fingerprint.clone() }, given_up);
        self.progress.clear();
        let unknown = |kept: Option<Kept>| {
            keep(kept);
            "whether the change was made is not known: the same command with --dry-run tells; generated secrets were kept where they are"
        };
        match outcome {
            Ok(Some(ApplyAnswer::Committed)) => {
                keep(kept);
                Ok(())
            }
            Ok(Some(other)) => Err(out_of_order(&other)),
            Ok(None) => {
                let help = unknown(kept);
                Err(CliError::new(Exit::Interrupted, "outcome_unknown", "interrupted while the change was being written").with_help(help))
            }
            Err(error @ (CallError::NoAnswer { .. } | CallError::TimedOut { .. })) => {
                let help = unknown(kept);
                Err(CliError::from(error).with_help(help))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn keep(kept: Option<Kept>) {
    if let Some(kept) = kept {
        kept.keep();
    }
}

fn is_large(record: &ApplyRecord) -> bool {
    serde_json::to_vec(record).is_ok_and(|json| json.len() > 1_024)
}

fn interruption() -> AdminError {
    AdminError::new(AdminErrorCode::Conflict, "interrupted")
}

fn out_of_order(answer: &ApplyAnswer) -> CliError {
    CliError::new(Exit::Software, "unexpected_answer", format!("the gateway gave an answer of the wrong kind: {answer:?}"))
        .with_help("use the credgate program that the gateway itself was started from; restart the gateway after an upgrade")
}
