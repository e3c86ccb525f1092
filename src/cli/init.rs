//! `credgate init`: everything a gateway needs before its first start.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::connect::check_owner;
use super::output::Output;
use super::{CliError, Exit};
use crate::clock::UnixTime;
use crate::config::Config;
use crate::daemon::{built_at, key_options, registry_options};
use crate::registry::{KeyStore, Registry, finish_restore};
use crate::tls::create_pki;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// DNS name or IP address by which devices reach the embedded broker; may be repeated [default: the host's name]
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Say nothing unless something was made: for systemd, which runs this before each start
    #[arg(long)]
    quiet: bool,
}

/// What `init` prints.
#[derive(Debug, Serialize)]
pub(super) struct Made {
    state_directory: PathBuf,
    registry: PathBuf,
    signing_key: String,
    /// For devices to trust; `None` if the broker's certificate does not come from here.
    ca_certificate: Option<PathBuf>,
    certificate: Option<PathBuf>,
    /// The names in a certificate that was made just now.
    names: Vec<String>,
    /// Whether anything was made.
    #[serde(skip)]
    is_new: bool,
}

pub(super) fn run(args: Args, config: &Config, output: &Output) -> Result<(), CliError> {
    let made = make(args.names, config)?;
    if args.quiet && !made.is_new {
        return Ok(());
    }
    output.show(&made, || shown(&made))?;
    output.note(&next_steps(&made));
    Ok(())
}

/// Makes what is missing and leaves the rest as it is.
fn make(names: Vec<String>, config: &Config) -> Result<Made, CliError> {
    let state_directory = config.file.state_directory.clone();
    check_owner(&state_directory)?;
    make_directory(&state_directory)?;
    finish_restore(&state_directory)?;
    let signing_key = KeyStore::new(key_options(config)).load_or_create()?.active().kid().to_owned();
    let registry = config.registry_directory();
    let is_new = std::fs::symlink_metadata(&registry).is_err();
    if is_new {
        drop(Registry::open(&registry_options(config))?);
    }
    let mut made = Made { state_directory, registry, signing_key, ca_certificate: None, certificate: None, names: Vec::new(), is_new };
    let own_certificate = config.broker_certificate().starts_with(config.tls_directory());
    if config.file.embedded_broker.enabled && own_certificate {
        make_certificate(names, config, &mut made)?;
    } else if !names.is_empty() {
        let what = "--name is for the embedded broker's certificate, which the configuration takes from elsewhere or does not need";
        return Err(CliError::new(Exit::Usage, "usage", what));
    }
    Ok(made)
}

fn make_certificate(names: Vec<String>, config: &Config, made: &mut Made) -> Result<(), CliError> {
    let directory = config.tls_directory();
    let (authority, certificate) = (directory.join("ca.crt"), config.broker_certificate());
    if certificate.exists() && config.broker_private_key().exists() {
        if !names.is_empty() {
            let what = format!("the broker has a certificate already: {}", certificate.display());
            return Err(CliError::new(Exit::CannotCreate, "exists", what)
                .with_help(format!("to make new ones, for which devices need the new ca.crt, move {} away first", directory.display())));
        }
        made.certificate = Some(certificate);
        made.ca_certificate = Some(authority).filter(|path| path.exists());
        return Ok(());
    }
    let names = certificate_names(names);
    let pki = create_pki(&directory, &names, now()).map_err(|error| CliError::caused(Exit::CannotCreate, error.code(), &error))?;
    (made.ca_certificate, made.certificate, made.names, made.is_new) = (Some(pki.ca_certificate), Some(pki.certificate), names, true);
    Ok(())
}

/// The names asked for or the host's own, and those of the loopback interface.
fn certificate_names(asked: Vec<String>) -> Vec<String> {
    let mut names = asked;
    if names.is_empty() {
        // Not from /proc, which a hardened unit hides.
        let host = rustix::system::uname().nodename().to_string_lossy().trim().to_ascii_lowercase();
        if !host.is_empty() && host != "localhost" {
            if !host.contains('.') {
                names.push(format!("{host}.local"));
            }
            names.insert(0, host);
        }
    }
    for name in ["localhost", "127.0.0.1", "::1"] {
        if !names.iter().any(|asked| asked == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Makes the directory for its owner alone; its parents as is usual.
fn make_directory(path: &Path) -> Result<(), CliError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::DirBuilder::new().mode(0o700).create(path));
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        outcome => outcome.map_err(|error| {
            CliError::new(Exit::CannotCreate, "cannot_create", format!("the state directory {} cannot be made", path.display()))
                .because(&error)
                .with_help("run the command as root or as the gateway's own user, or set state-directory in the configuration")
        }),
    }
}

/// A host without a hardware clock may show a time long past at its first start, and a certificate of then would soon be over.
fn now() -> UnixTime {
    UnixTime::from(SystemTime::now()).max(built_at())
}

fn shown(made: &Made) -> Vec<(&'static str, String)> {
    let path = |path: &Option<PathBuf>| path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let mut lines = vec![
        ("State directory", made.state_directory.display().to_string()),
        ("Registry", made.registry.display().to_string()),
        ("Signing key", made.signing_key.clone()),
        ("CA certificate", path(&made.ca_certificate)),
        ("Broker certificate", path(&made.certificate)),
    ];
    if !made.names.is_empty() {
        lines.push(("  for", made.names.join(", ")));
    }
    lines
}

fn next_steps(made: &Made) -> String {
    let mut text = "\nNext:\n  \
        credgate serve                  (or: systemctl enable --now credgate)\n  \
        credgate resource-server add telemetry --audience https://telemetry.example\n  \
        credgate scope add telemetry:write --resource-server telemetry --permission 'pub telemetry/{client_id}/#'\n  \
        credgate client add --name 'my first device' --scope telemetry:write"
        .to_owned();
    if let Some(authority) = &made.ca_certificate {
        text.push_str(&format!("\nDevices know the broker by {}: copy it to each of them.", authority.display()));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    pub(in crate::cli) fn init(config: &Config) -> Made {
        make(Vec::new(), config).unwrap()
    }

    fn config(directory: &Path, more: &str) -> Config {
        let path = directory.join("credgate.toml");
        std::fs::write(&path, format!("state-directory = \"{}/deep/state\"\n{more}", directory.display())).unwrap();
        Config::load(Some(&path), std::iter::empty()).unwrap()
    }

    #[test]
    fn everything_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), "");
        let first = init(&config);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&first.state_directory), 0o700);
        let certificate = std::fs::read(first.certificate.as_ref().unwrap()).unwrap();
        assert!(first.names.contains(&"localhost".to_owned()) && first.registry.is_dir());
        assert!(first.is_new);
        let second = init(&config);
        assert_eq!(second.signing_key, first.signing_key);
        assert!(!second.is_new, "nothing to tell");
        assert_eq!(std::fs::read(second.certificate.unwrap()).unwrap(), certificate);
        assert_eq!(second.ca_certificate, first.ca_certificate);
        let refused = make(vec!["gw.example".into()], &config).unwrap_err();
        assert_eq!(refused.exit(), Exit::CannotCreate);
    }

    #[test]
    fn no_certificate_is_made_for_a_broker_that_does_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), "[embedded-broker]\nenabled = false\n[broker]\nurl = \"mqtts://b.example\"\n");
        let made = init(&config);
        assert!(made.certificate.is_none() && !config.tls_directory().exists());
        assert_eq!(make(vec!["x".into()], &config).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn names_end_with_the_loopback() {
        assert_eq!(certificate_names(vec!["gw".into(), "::1".into()]), ["gw", "::1", "localhost", "127.0.0.1"]);
    }
}
