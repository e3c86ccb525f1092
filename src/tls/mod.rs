//! TLS: certificates from files, a CA made on the spot, rustls configurations. TLS 1.3 and 1.2, ring for the arithmetic.

mod certificate;
mod error;
mod inspect;
mod pki;

use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, InconsistentKeys, RootCertStore, ServerConfig};

use crate::config::read_private;

pub use certificate::CertificateFacts;
pub use error::TlsError;
pub use inspect::{Inspector, Shown, first_certificate, verify_file};
pub use pki::{Pki, create_pki};

/// A TLS client that trusts the CAs of `ca_file`, or the system's if there is none, and shows `identity`, the PEM files of a certificate
/// chain and its private key, to a server that asks for it.
///
/// # Errors
/// If a file cannot be read or does not hold what it should, the key is not the certificate's, others can get at the key, or the system has
/// no CAs.
pub fn client_config(ca_file: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Protocol { error })?
        .with_root_certificates(roots(ca_file)?);
    Ok(Arc::new(identified(builder, identity)?))
}

/// The client that shows `identity`, if there is one.
fn identified(builder: ConfigBuilder<ClientConfig, WantsClientCert>, identity: Option<(&Path, &Path)>) -> Result<ClientConfig, TlsError> {
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?).map_err(|error| rejected(certificate, key, error))
        }
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    ca_file.map_or_else(system_roots, roots_of)
}

/// A TLS server that shows the certificate chain of a PEM file and asks clients for none.
///
/// # Errors
/// If a file cannot be read or does not hold what it should, the key is not the certificate's, or others can get at the key.
pub fn server_config(certificate_file: &Path, private_key_file: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Protocol { error })?
        .with_no_client_auth()
        .with_single_cert(certificates(certificate_file)?, private_key(private_key_file)?)
        .map(Arc::new)
        .map_err(|error| rejected(certificate_file, private_key_file, error))
}

/// Named, as a process-wide default could be set by any library.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = std::fs::read(path).map_err(|error| TlsError::Read { path: path.into(), error })?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::DamagedPem { path: path.into(), reason: fault(&error) })?;
    if chain.is_empty() { Err(TlsError::NoCertificate { path: path.into() }) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read_private(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if text.windows(9).any(|window| window == b"ENCRYPTED") => TlsError::EncryptedKey { path: path.into() },
        pem::Error::NoItemsFound => TlsError::NoPrivateKey { path: path.into() },
        error => TlsError::DamagedPem { path: path.into(), reason: fault(&error) },
    })
}

fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::BadAuthority { path: path.into(), error })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(TlsError::NoSystemAuthorities { reason: found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default() });
    }
    Ok(roots)
}

/// What is wrong with a PEM file, without a line of it.
fn fault(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be decoded",
    }
}

fn rejected(certificate: &Path, private_key: &Path, error: rustls::Error) -> TlsError {
    let (certificate, private_key) = (certificate.into(), private_key.into());
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch { certificate, private_key },
        error => TlsError::Unusable { certificate, private_key, error },
    }
}

#[cfg(test)]
mod tests;
