//! `credgate audit verify`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, stdin};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::connect::Gateway;
use super::super::error::unexpected;
use super::super::output::Output;
use super::super::{CliError, Exit};
use super::export::{Head, VERSION};
use super::walk::Walk;
use crate::admin::{self, Answer};
use crate::audit::{Fault, Report, Sealed, Statement, StatementError, StatementKind, Verifier};
use crate::jose::JwkSet;

/// Bytes of a line of an export, and of a file of keys or checkpoints, at most.
const MAX_LINE: u64 = 65_536;
const MAX_FILE: u64 = 1_048_576;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Verify {
    /// An export to check instead of the gateway's own trail; - for standard input
    #[arg(long, value_name = "EXPORT")]
    file: Option<PathBuf>,
    /// Checkpoints that were kept elsewhere, as `credgate audit checkpoint` prints them, one a line: shows an end that was cut off
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The JWK Set to check signatures by [default: the gateway's own; none for an export]
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    report: Report,
    /// Whether signatures were checked, and not the chain alone.
    signatures_checked: bool,
}

pub(super) fn run(args: &Verify, gateway: &mut Gateway, output: &Output) -> Result<(), CliError> {
    let keys = match (&args.jwks, &args.file) {
        (Some(path), _) => Some(read_keys(path)?),
        (None, Some(_)) => None,
        (None, None) => own_keys(gateway, output),
    };
    let kept = args.checkpoint.as_deref().map(|path| read_checkpoints(path, keys.as_ref(), output)).transpose()?.unwrap_or_default();
    let report = match &args.file {
        Some(path) => verify_export(path, keys.as_ref(), kept)?,
        None => verify_own(gateway, keys.as_ref(), kept)?,
    };
    if keys.is_none() {
        output.note("signatures were not checked, only that the entries belong together: name the gateway's JWK Set with --jwks");
    }
    let verified = Verified { report, signatures_checked: keys.is_some() };
    output.show(&verified, || shown(&verified))
}

fn verify_own(gateway: &mut Gateway, keys: Option<&JwkSet>, kept: Vec<Statement>) -> Result<Report, CliError> {
    let walk = Walk::begin(gateway)?;
    let mut verifier = Verifier::new(&walk.anchor, keys, kept).map_err(broken)?;
    walk.each(gateway, |sealed| match sealed {
        Ok(sealed) => verifier.take(sealed).map_err(broken),
        Err(seq) => Err(broken(Fault::Changed { seq })),
    })?;
    verifier.finish().map_err(broken)
}

fn verify_export(path: &Path, keys: Option<&JwkSet>, kept: Vec<Statement>) -> Result<Report, CliError> {
    let failed =
        |error: std::io::Error| CliError::new(Exit::NoInput, "no_input", format!("{} cannot be read", path.display())).because(&error);
    let mut reader: Box<dyn BufRead> = match path.to_str() {
        Some("-") => Box::new(stdin().lock()),
        _ => Box::new(BufReader::new(File::open(path).map_err(failed)?)),
    };
    let (mut line, mut number) = (String::new(), 0_u64);
    let mut next = |line: &mut String| -> Result<bool, CliError> {
        line.clear();
        number = number.saturating_add(1);
        let length = (&mut reader).take(MAX_LINE).read_line(line).map_err(failed)?;
        if length > 0 && !line.ends_with('\n') {
            return Err(damaged(path, number, "the line is too long, or its end is missing"));
        }
        Ok(length > 0)
    };
    let head: Option<Head> = if next(&mut line)? { serde_json::from_str(&line).ok() } else { None };
    let head = head.ok_or_else(|| damaged(path, 1, "it does not begin as an export of `credgate audit export`"))?;
    if head.credgate_audit != VERSION {
        return Err(damaged(path, 1, &format!("it is of version {}, this program knows version {VERSION}", head.credgate_audit)));
    }
    let mut verifier = Verifier::new(&head.anchor, keys, kept).map_err(broken)?;
    let (mut last, mut at) = (head.anchor.link.seq, 1_u64);
    while next(&mut line)? {
        at = at.saturating_add(1);
        let sealed = Sealed::from_json(line.trim_end()).map_err(|reason| damaged(path, at, &reason))?;
        verifier.take(&sealed).map_err(broken)?;
        last = sealed.entry.seq;
    }
    if last != head.last {
        return Err(broken(Fault::Truncated { last, seq: head.last }));
    }
    verifier.finish().map_err(broken)
}

fn broken(fault: Fault) -> CliError {
    let help = match fault {
        Fault::Unsigned => "`credgate audit checkpoint` signs the trail; of an older export, name the JWK Set of its time with --jwks",
        Fault::BadAnchor { .. } => "of an older export, name the JWK Set of its time with --jwks",
        _ => "compare it with an export or with what was forwarded; docs/operations.md tells what each finding means",
    };
    CliError::new(Exit::Data, "audit_fault", format!("the audit trail is BROKEN: {fault}")).with_help(help)
}

fn damaged(path: &Path, line: u64, reason: &str) -> CliError {
    CliError::new(Exit::Data, "audit_fault", format!("the audit trail is BROKEN: {}, line {line}: {reason}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed =
        |error: std::io::Error| CliError::new(Exit::NoInput, "no_input", format!("{} cannot be read", path.display())).because(&error);
    let mut content = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_FILE).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

fn read_keys(path: &Path) -> Result<JwkSet, CliError> {
    JwkSet::from_json(&read(path)?).map_err(|error| {
        CliError::new(Exit::Data, "jwks", format!("{} is no JWK Set", path.display()))
            .because(&error)
            .with_help("the gateway publishes its own on the topic {topic-prefix}/as/jwks")
    })
}

/// `None` if they cannot be had, as of a gateway that does not run without its master key: the chain can still be checked.
fn own_keys(gateway: &mut Gateway, output: &Output) -> Option<JwkSet> {
    let keys = match gateway.execute(admin::Command::KeySet) {
        Ok(Answer::KeySet { keys }) => Ok(keys),
        Ok(other) => Err(unexpected(&other)),
        Err(error) => Err(error),
    };
    match keys {
        Ok(keys) => Some(JwkSet { keys }).filter(|set| !set.keys.is_empty()),
        Err(error) => {
            output.note(&format!("the JWK Set cannot be had: {error}"));
            None
        }
    }
}

fn read_checkpoints(path: &Path, keys: Option<&JwkSet>, output: &Output) -> Result<Vec<Statement>, CliError> {
    let refused = |error: StatementError| {
        CliError::new(Exit::Data, "checkpoint", format!("{}: a checkpoint is not the gateway's", path.display())).because(&error)
    };
    let content = read(path)?;
    let text = String::from_utf8_lossy(&content);
    let kept = text.split_whitespace().map(|jws| match keys.map(|keys| Statement::verify(StatementKind::Checkpoint, jws, keys)) {
        // Keys come and go; what was kept in a safe place counts for itself.
        Some(Err(StatementError::UnknownKey(kid))) => {
            output.note(&format!(
                "a checkpoint in {} is signed by the key {kid}, which is not on the JWK Set: its signature was not checked",
                path.display()
            ));
            Statement::read(StatementKind::Checkpoint, jws).map_err(refused)
        }
        Some(verified) => verified.map_err(refused),
        None => Statement::read(StatementKind::Checkpoint, jws).map_err(refused),
    });
    let kept: Vec<Statement> = kept.collect::<Result<_, _>>()?;
    if kept.is_empty() {
        return Err(CliError::new(Exit::Data, "checkpoint", format!("there is no checkpoint in {}", path.display())));
    }
    Ok(kept)
}

fn shown(Verified { report, signatures_checked }: &Verified) -> Vec<(&'static str, String)> {
    let range = report.first.map(|first| format!(", {first} to {}", report.last)).unwrap_or_default();
    let mut shown = vec![("Audit trail", "whole".to_owned()), ("Entries", format!("{}{range}", report.entries))];
    if report.dropped > 0 {
        shown.push(("Dropped", format!("{} older ones, by the gateway, to make room", report.dropped)));
    }
    if *signatures_checked {
        let signed = report.signed_up_to.map_or("none".to_owned(), |seq| format!("up to {seq}"));
        shown.push(("Signed", format!("{signed}, {} checkpoints verified", report.checkpoints)));
    }
    if report.unknown_keys > 0 {
        shown.push(("Other keys", format!("{} checkpoints by keys that are not on the JWK Set", report.unknown_keys)));
    }
    if report.compared > 0 || report.too_old > 0 {
        shown.push(("Kept elsewhere", format!("{} checkpoints agree, {} are older than the trail", report.compared, report.too_old)));
    }
    shown
}
