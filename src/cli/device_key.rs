//! A device's own key: an Ed25519 (RFC 8410) or P-256 (RFC 5915) private key in PKCS#8 PEM, which OpenSSL reads and writes too.

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use zeroize::Zeroizing;

use super::{CliError, Exit, new_file};
use crate::config::{PrivateFileError, read_private};
use crate::jose::{Jwk, KeyType, SigningKey};

/// What a key is to sign by, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum KeyAlgorithm {
    /// Ed25519
    #[value(name = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256
    #[value(name = "ES256")]
    Es256,
}

impl KeyAlgorithm {
    pub(super) fn key_type(self) -> KeyType {
        match self {
            Self::EdDsa => KeyType::Ed25519,
            Self::Es256 => KeyType::P256,
        }
    }
}

/// Makes a key and writes it to a new file of mode 0600; its public half.
pub(super) fn generate(path: &Path, key_type: KeyType) -> Result<Jwk, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::new(Exit::Software, "device", format!("no key can be made: {error}"));
    let mut bytes = Zeroizing::new([0; 32]);
    let key = loop {
        getrandom::fill(bytes.as_mut_slice()).map_err(|error| failed(&error))?;
        // All but one of 2^32 draws are a scalar of P-256.
        if let Some(key) = SigningKey::from_secret_bytes(key_type, &bytes) {
            break key;
        }
    };
    let pem = match key_type {
        // Without the public key it is version 1, which OpenSSL reads; it does not read version 2 everywhere.
        KeyType::Ed25519 => KeypairBytes { secret_key: *bytes, public_key: None }.to_pkcs8_pem(LineEnding::LF),
        KeyType::P256 => {
            let key = p256::SecretKey::from_slice(bytes.as_slice()).map_err(|error| failed(&error))?;
            key.to_pkcs8_pem(LineEnding::LF)
        }
    };
    let pem = pem.map_err(|error| failed(&error))?;
    let spared = "no key is overwritten: name a new file, or remove the old one first";
    new_file::write("the key file", path, pem.as_bytes(), spared)?;
    Ok(key.public().clone())
}

/// Reads a key.
pub(super) fn read(path: &Path) -> Result<Arc<SigningKey>, CliError> {
    let content = read_private(path).map_err(|error| match error {
        PrivateFileError::Read { .. } => CliError::new(Exit::NoInput, "device", format!("key file {error}")),
        _ => CliError::new(Exit::Config, "device", format!("key file {error}")),
    })?;
    let key = std::str::from_utf8(&content).ok().and_then(parse).ok_or_else(|| {
        let told = format!("key file {}: not an Ed25519 or P-256 private key in PEM (PKCS#8)", path.display());
        CliError::new(Exit::Data, "device", told)
            .with_help("make one by `credgate device keygen`, or by `openssl genpkey -algorithm ed25519`")
    })?;
    Ok(Arc::new(key))
}

fn parse(pem: &str) -> Option<SigningKey> {
    if let Ok(pair) = KeypairBytes::from_pkcs8_pem(pem) {
        return Some(SigningKey::from_seed(&Zeroizing::new(pair.secret_key)));
    }
    let key = p256::SecretKey::from_pkcs8_pem(pem).ok()?;
    SigningKey::from_p256_scalar(&Zeroizing::new(key.to_bytes().into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_private_and_new_and_can_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let public = generate(&path, KeyType::Ed25519).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().public(), &public);
        assert_eq!(generate(&path, KeyType::Ed25519).unwrap_err().exit(), Exit::CannotCreate);
        assert_eq!(read(&path).unwrap().public(), &public, "not overwritten");
        assert!(!serde_json::to_string(&public).unwrap().contains("\"d\""));
    }

    #[test]
    fn a_p256_key_is_read_again_and_by_openssl() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let public = generate(&path, KeyType::P256).unwrap();
        assert_eq!((read(&path).unwrap().public(), public.key_type()), (&public, KeyType::P256));
        // As `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` writes it.
        let theirs = "-----BEGIN PRIVATE KEY-----\n\
                      MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgya+p2EW6dRZrXCFX\n\
                      Z7HWk05Qw9s26JsSe4piKxIPZyGhRANCAARg/tS6JVqdMclh63TGNW1owEm4kjth\n\
                      +mzmaWIuYPKftnkD/hAIuLyZpBrp6VYovGTy8bIMLX6fUXejwpTURiKZ\n\
                      -----END PRIVATE KEY-----\n";
        std::fs::write(&path, theirs).unwrap();
        // The key of RFC 6979 appendix A.2.5.
        assert!(read(&path).unwrap().public().x().starts_with(&[0x60, 0xfe, 0xd4, 0xba]));
    }

    #[test]
    fn deny_other_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        assert_eq!(read(&path).unwrap_err().exit(), Exit::NoInput);
        generate(&path, KeyType::Ed25519).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&path).unwrap_err().exit(), Exit::Config);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "no key").unwrap();
        assert_eq!(read(&path).unwrap_err().exit(), Exit::Data);
    }
}
