//! A device's own key: an Ed25519 private key in PKCS#8 PEM (RFC 8410), which OpenSSL reads and writes too.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use zeroize::Zeroizing;

use super::{CliError, Exit};
use crate::config::{PrivateFileError, read_private};
use crate::jose::{Jwk, SigningKey};

/// Makes a key and writes it to a new file of mode 0600; its public half.
pub(super) fn generate(path: &Path) -> Result<Jwk, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::new(Exit::Software, "device", format!("no key can be made: {error}"));
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| failed(&error))?;
    let key = SigningKey::from_seed(&seed);
    // Without the public key it is version 1, which OpenSSL reads; it does not read version 2 everywhere.
    let pair = KeypairBytes { secret_key: *seed, public_key: None };
    let pem = pair.to_pkcs8_pem(LineEnding::LF).map_err(|error| failed(&error))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let told = CliError::new(Exit::CannotCreate, "cannot_create", format!("the key file {} cannot be created", path.display()));
        let exists = error.kind() == io::ErrorKind::AlreadyExists;
        let told = told.because(&error);
        if exists { told.with_help("no key is overwritten: name a new file, or remove the old one first") } else { told }
    })?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a key is of no use.
        let _ = std::fs::remove_file(path);
        CliError::new(Exit::Io, "device", format!("the key file {} cannot be written", path.display())).because(&error)
    })?;
    Ok(key.public().clone())
}

/// Reads a key.
pub(super) fn read(path: &Path) -> Result<Arc<SigningKey>, CliError> {
    let content = read_private(path).map_err(|error| match error {
        PrivateFileError::Read { .. } => CliError::new(Exit::NoInput, "device", format!("key file {error}")),
        _ => CliError::new(Exit::Config, "device", format!("key file {error}")),
    })?;
    let pair = std::str::from_utf8(&content).ok().and_then(|pem| KeypairBytes::from_pkcs8_pem(pem).ok());
    let pair = pair.ok_or_else(|| {
        let told = format!("key file {}: not an Ed25519 private key in PEM (PKCS#8)", path.display());
        CliError::new(Exit::Data, "device", told)
            .with_help("make one by `credgate device keygen`, or by `openssl genpkey -algorithm ed25519`")
    })?;
    Ok(Arc::new(SigningKey::from_seed(&Zeroizing::new(pair.secret_key))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_private_and_new_and_can_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let public = generate(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().public(), &public);
        assert_eq!(generate(&path).unwrap_err().exit(), Exit::CannotCreate);
        assert_eq!(read(&path).unwrap().public(), &public, "not overwritten");
        assert!(!serde_json::to_string(&public).unwrap().contains("\"d\""));
    }

    #[test]
    fn deny_other_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        assert_eq!(read(&path).unwrap_err().exit(), Exit::NoInput);
        generate(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&path).unwrap_err().exit(), Exit::Config);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "no key").unwrap();
        assert_eq!(read(&path).unwrap_err().exit(), Exit::Data);
    }
}
