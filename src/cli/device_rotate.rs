//! `credgate device rotate`: a device takes a new secret or key, and is never without one that serves.
//!
//! The new one is in a file beside the old one, `FILE.new`, before it is used for the first time, and takes the place of the old one after that.
//! Wherever it is interrupted, the same command goes on from there.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::device::device_error;
use super::device_key::{self, KeyAlgorithm};
use super::device_link::{LinkArgs, runtime, secret};
use super::output::Output;
use super::table::fields;
use super::{CliError, Exit, new_file};
use crate::clock::UnixTime;
use crate::device::{ConnectProblem, Credential, DeviceError, NewCredential, Session};

/// Rotates the device's own credential.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The new secret or key is written to FILE.new, used once, and put in the place of FILE. If the command is interrupted, run it again: it goes\n\
    on from there. The old one serves until the new one was used.\n\n\
    Examples:\n  credgate device rotate --broker mqtts://gateway.local --ca-file ca.crt --client-id dev1 --secret-file dev1.secret\n  \
    credgate device rotate --broker mqtts://gateway.local --ca-file ca.crt --client-id dev2 --key-file dev2.pem --issuer https://gateway.local"
)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    link: LinkArgs,
    /// The algorithm of the new key [default: that of the old one].
    #[arg(long, value_enum, value_name = "ALG", requires = "key_file")]
    alg: Option<KeyAlgorithm>,
}

/// What is printed.
#[derive(Serialize)]
struct Rotated<'a> {
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<&'a Path>,
    #[serde(flatten)]
    told: Told,
    /// Whether it is the end of a rotation that an earlier command began.
    resumed: bool,
}

/// What the gateway says of the new credential.
#[derive(Default, Serialize)]
struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_expires_at: Option<u64>,
}

/// The files of the old credential and of the new one.
struct Place<'a> {
    link: &'a LinkArgs,
    alg: Option<KeyAlgorithm>,
    current: PathBuf,
    next: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// [`CliError`]; whatever it is, one of the two files has a credential that serves.
pub(super) fn run(args: &RotateArgs, output: &Output) -> Result<(), CliError> {
    let link = &args.link;
    let named = link.key_file.as_deref().or(link.secret_file.as_deref()).ok_or_else(|| {
        CliError::new(Exit::Usage, "device", "no file to put a new credential in").with_help("name it with --secret-file or --key-file")
    })?;
    // A link stays a link, and the file that it leads to is replaced.
    let current = std::fs::canonicalize(named)
        .map_err(|error| CliError::new(Exit::NoInput, "device", format!("{} cannot be read", named.display())).because(&error))?;
    let mut next = current.clone().into_os_string();
    next.push(".new");
    let place = Place { link, alg: args.alg, current, next: next.into() };
    let (told, resumed) = runtime()?.block_on(place.rotate())?;
    let document = Rotated {
        client_id: link.client_id.as_str(),
        secret_file: link.secret_file.as_deref(),
        key_file: link.key_file.as_deref(),
        told,
        resumed,
    };
    output.print(&document, || {
        let what = if link.key_file.is_some() { "Key file" } else { "Secret file" };
        let mut shown = vec![("Client id", document.client_id.to_owned()), (what, named.display().to_string())];
        shown.extend(document.told.kid.as_ref().map(|kid| ("Key id", kid.clone())));
        let end = document.told.client_secret_expires_at.filter(|end| *end > 0);
        shown.extend(end.map(|end| ("Expires", UnixTime::from_secs(end).to_string())));
        let state = if resumed { "the rotation that was begun before has come to its end" } else { "the new one is in use" };
        shown.push(("State", state.to_owned()));
        fields(&shown)
    })
}

impl Place<'_> {
    async fn rotate(&self) -> Result<(Told, bool), CliError> {
        if self.resume().await? {
            return self.settle().map(|()| (Told::default(), true));
        }
        let options = self.link.options(self.credential(&self.current)?)?;
        let mut session = Session::connect(&options).await.map_err(|error| device_error(&error))?;
        let told = self.replace(&mut session).await;
        session.disconnect().await;
        let told = told?;
        self.settle().map(|()| (told, false))
    }

    /// Whether there is a new credential from before that the gateway takes. By it first: the old one may have ended with its first use.
    async fn resume(&self) -> Result<bool, CliError> {
        if !self.has_next()? {
            return Ok(false);
        }
        for file in [&self.next, &self.current] {
            let options = self.link.options(self.credential(file)?)?;
            match Session::connect(&options).await {
                Ok(mut session) => {
                    let accepted = session.accepts(&self.credential(&self.next)?, self.link.wire.format).await;
                    session.disconnect().await;
                    return accepted.map_err(|error| device_error(&error));
                }
                Err(DeviceError::Connect { problem: ConnectProblem::CredentialsRefused, .. }) => {}
                Err(error) => return Err(device_error(&error)),
            }
        }
        Ok(false)
    }

    /// Asks for another credential, writes it and uses it.
    async fn replace(&self, session: &mut Session<'_>) -> Result<Told, CliError> {
        let format = self.link.wire.format;
        let failed = |error: &DeviceError| device_error(error);
        let mut told = Told::default();
        if self.link.key_file.is_some() {
            let key = self.next_key()?;
            let answer = session.request_credential(format, Some(key.public())).await.map_err(|error| failed(&error))?;
            told.previous_expires_at = Some(answer.previous_expires_at);
            told.kid = Some(key.kid().to_owned());
        } else {
            let answer = session.request_credential(format, None).await.map_err(|error| failed(&error))?;
            told.previous_expires_at = Some(answer.previous_expires_at);
            if let NewCredential::Secret { secret, expires_at } = answer.credential {
                told.client_secret_expires_at = Some(expires_at);
                // One from before that the gateway does not take, or none.
                self.discard_next()?;
                new_file::write("the secret file", &self.next, secret.expose(), "another rotation of the same secret is running")
                    .map_err(|error| error.with_help("nothing has changed: the old secret serves; make room and run the command again"))?;
            }
        }
        let accepted = session.accepts(&self.credential(&self.next)?, format).await.map_err(|error| {
            let next = self.next.display();
            failed(&error)
                .with_help(format!("the new credential is in {next} and not yet in use; run the command again, which goes on from there"))
        })?;
        if !accepted {
            let what = format!("the gateway does not take the new credential in {}", self.next.display());
            return Err(CliError::new(Exit::Permission, "rejected", what)
                .with_help("another rotation may have replaced it, or the client may be blocked; the old one is where it was"));
        }
        Ok(told)
    }

    /// Puts the new one in the place of the old one.
    fn settle(&self) -> Result<(), CliError> {
        new_file::replace(&self.current, &self.next).map_err(|error| {
            let (current, next) = (self.current.display(), self.next.display());
            CliError::new(Exit::Io, "io", format!("the new credential is in use, and its file {next} cannot take the place of {current}"))
                .because(&error)
                .with_help(format!("run the command again, or move {next} there"))
        })
    }

    fn credential(&self, file: &Path) -> Result<Credential, CliError> {
        match self.link.key_file {
            Some(_) => Ok(self.link.by_key(device_key::read(file)?)),
            None => secret(Some(file)).map(Credential::Secret),
        }
    }

    /// Whether a command before this one left a new credential. What it did not write to the end was never in use, and is no credential.
    fn has_next(&self) -> Result<bool, CliError> {
        if !self.next.try_exists().map_err(|error| self.unreadable(&error))? {
            return Ok(false);
        }
        match self.credential(&self.next) {
            Ok(_) => Ok(true),
            Err(error) if error.exit() == Exit::Data => self.discard_next().map(|()| false),
            Err(error) => Err(error),
        }
    }

    /// The new key: that of a command before, or one that is made now.
    fn next_key(&self) -> Result<std::sync::Arc<crate::jose::SigningKey>, CliError> {
        if !self.has_next()? {
            let key_type = match self.alg {
                Some(alg) => alg.key_type(),
                None => device_key::read(&self.current)?.key_type(),
            };
            device_key::generate(&self.next, key_type)?;
        }
        device_key::read(&self.next)
    }

    fn discard_next(&self) -> Result<(), CliError> {
        match std::fs::remove_file(&self.next) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(self.unreadable(&error)),
            _ => Ok(()),
        }
    }

    fn unreadable(&self, error: &std::io::Error) -> CliError {
        CliError::new(Exit::Io, "io", format!("{} is in the way", self.next.display())).because(error)
    }
}
