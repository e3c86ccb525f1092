//! `credgate restore`: a backup takes the place of registry and keys, after all of it was tried.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use zeroize::Zeroizing;

use super::connect::{check_owner, control_socket, load_config};
use super::output::Output;
use super::table::fields;
use super::{CliError, Exit, Global};
use crate::admin::{CallError, Caller, Command, call};
use crate::age::{self, AgeError, Identity, decrypt, identities};
use crate::audit::{Event, What};
use crate::clock::UnixTime;
use crate::config::{Config, read_private};
use crate::daemon::key_options;
use crate::registry::{Backup, KeyOptions, KeyStore, Origin, Staging};

/// Bytes of the largest backup that is read.
const MAX_SIZE: u64 = 1 << 30;
const ARMOUR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The backup, or a snapshot that the gateway made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put it in the place of a registry or keys that are there; these are moved aside, not removed
    #[arg(long)]
    force: bool,
    /// File with the identity that decrypts it, as age-keygen writes it; may be repeated
    #[arg(long = "identity", short = 'i', value_name = "FILE")]
    identities: Vec<PathBuf>,
    /// Verify all of it and put nothing in place
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Whether it was put in place.
    restored: bool,
    file: &'a Path,
    as_of: UnixTime,
    issuer: &'a str,
    /// Records of each kind.
    records: BTreeMap<&'static str, usize>,
    files: Vec<&'a str>,
    /// Whether every signing key was opened; nothing if there are none in it.
    keys_opened: Option<bool>,
    /// Where what was there before is now.
    set_aside: Option<PathBuf>,
    warnings: Vec<String>,
}

pub(super) fn run(args: Args, global: &Global, output: &Output) -> Result<(), CliError> {
    let config = load_config(global)?;
    let state = &config.file.state_directory;
    check_owner(state)?;
    refuse_beside_a_gateway(&control_socket(global)?)?;
    let bytes = read(&args.file, &args.identities)?;
    let backup = Backup::parse(&args.file, &bytes)?;
    drop(bytes);
    let staging = Staging::begin(state, Origin::Restore)?;
    let caller = Caller::this_process();
    let event = Event::of(What::RegistryRestored).by(caller.uid, caller.pid, caller.user_name().as_deref());
    staging.registry(&backup, Origin::Restore, event)?;
    staging.files(&backup)?;
    let keys_opened = try_keys(&config, &staging, &backup)?;
    let occupied = staging.occupied();
    if !occupied.is_empty() && !args.force && !args.dry_run {
        let what = format!("there are already: {} in {}", occupied.join(", "), state.display());
        return Err(CliError::new(Exit::CannotCreate, "exists", what).with_help(
            "the backup is sound; with --force it takes their place, and they are moved aside into a directory of their own beside it",
        ));
    }
    let set_aside = (!occupied.is_empty() && !args.dry_run).then(|| state.join(staging.set_aside()));
    let mut warnings = Vec::new();
    if backup.manifest.issuer != config.file.issuer {
        warnings.push(format!("it is of the issuer {}, and the configuration says {}", backup.manifest.issuer, config.file.issuer));
    }
    if keys_opened == Some(false) {
        warnings.push(
            "the sealed signing keys were not tried: keys.master-key-file is not set, and this command has no credential of systemd's"
                .to_owned(),
        );
    }
    if !args.dry_run {
        staging.put_in_place()?;
        warnings.push(format!(
            "what was changed after {} is undone: clients that were blocked or removed since are served again; compare, and block them again",
            backup.manifest.created_at
        ));
    }
    let report = Report {
        restored: !args.dry_run,
        file: &args.file,
        as_of: backup.manifest.created_at,
        issuer: &backup.manifest.issuer,
        records: backup.counts(),
        files: backup.files.iter().map(|file| file.name.as_str()).collect(),
        keys_opened,
        set_aside,
        warnings,
    };
    output.print(&report, || text(&report))
}

fn text(report: &Report<'_>) -> String {
    let done = if report.restored { "restored" } else { "sound; nothing was put in place" };
    let records: Vec<String> = report.records.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let mut lines = vec![
        ("Backup", format!("{}, {done}", report.file.display())),
        ("As of", report.as_of.to_string()),
        ("Issuer", report.issuer.to_owned()),
        ("Records", records.join(", ")),
        ("Files", if report.files.is_empty() { "none".to_owned() } else { report.files.join(", ") }),
    ];
    lines.extend(report.set_aside.iter().map(|path| ("Set aside", path.display().to_string())));
    lines.extend(report.warnings.iter().map(|warning| ("Warning", warning.clone())));
    fields(&lines)
}

fn refuse_beside_a_gateway(socket: &Path) -> Result<(), CliError> {
    match call(socket, &Command::Status) {
        Err(CallError::NotRunning { .. }) => Ok(()),
        _ => Err(CliError::new(Exit::Temporary, "running", format!("a gateway runs and listens on {}", socket.display()))
            .with_help("stop it first: systemctl stop credgate")),
    }
}

/// The content of a backup, decrypted if need be.
fn read(path: &Path, identity_files: &[PathBuf]) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let unreadable = |error: io::Error| {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NoInput } else { Exit::Io };
        CliError::new(exit, "io", format!("the backup {} cannot be read", path.display())).because(&error)
    };
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > MAX_SIZE {
        return Err(CliError::new(
            Exit::Data,
            "bad_backup",
            format!("{} has {length} bytes: that is no backup of credgate", path.display()),
        ));
    }
    // Room for all of it at once: a vector that grows leaves copies of keys behind.
    let room = || Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(1)));
    let mut bytes = room();
    file.take(MAX_SIZE).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.starts_with(ARMOUR) {
        return Err(CliError::new(Exit::Data, "bad_backup", format!("{} is encrypted and armoured", path.display()))
            .with_help("decrypt it with `age --decrypt`, then restore what comes out"));
    }
    if !bytes.starts_with(age::MAGIC) {
        return Ok(bytes);
    }
    let mut keys: Vec<Identity> = Vec::new();
    for path in identity_files {
        let text = read_private(path).map_err(|error| CliError::caused(Exit::NoInput, "identity_file", &error))?;
        let text =
            std::str::from_utf8(&text).map_err(|_| CliError::new(Exit::Data, "identity_file", format!("{} is no text", path.display())))?;
        keys.extend(identities(text).map_err(|error| CliError::new(Exit::Data, "identity_file", format!("{}: {error}", path.display())))?);
    }
    if keys.is_empty() {
        return Err(CliError::new(Exit::Usage, "encrypted", format!("{} is encrypted", path.display()))
            .with_help("name the file of the private key, as age-keygen wrote it, with --identity"));
    }
    let refused = |error: AgeError| CliError::caused(Exit::Data, "not_decrypted", &error);
    let mut content = room();
    decrypt(&keys, bytes.as_slice()).map_err(refused)?.read_to_end(&mut content).map_err(|error| refused(error.into()))?;
    Ok(content)
}

/// Opens every signing key of a backup. False if they are sealed and there is no master key here to open them.
fn try_keys(config: &Config, staging: &Staging, backup: &Backup) -> Result<Option<bool>, CliError> {
    if !backup.files.iter().any(|file| file.name.starts_with("keys/")) {
        return Ok(None);
    }
    let options = KeyOptions { directory: staging.directory().join("keys"), ..key_options(config) };
    let is_closed = matches!(options.master_key, Ok(None)) && backup.files.iter().any(|file| file.name.ends_with(".sealed"));
    let keys = KeyStore::new(options);
    if is_closed {
        keys.list()?;
        return Ok(Some(false));
    }
    keys.load_or_create()?;
    Ok(Some(true))
}
