//! Looking at a server's certificate, whether it is accepted or not.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime as VerificationTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::{TlsError, certificates, identified, provider, roots};
use crate::clock::UnixTime;

/// The usual verifier, which also keeps what it was shown.
#[derive(Debug)]
pub struct Inspector {
    usual: Arc<WebPkiServerVerifier>,
    shown: Mutex<Option<Shown>>,
}

/// A certificate that a server showed.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The server's own.
    pub certificate: CertificateDer<'static>,
    /// Whether it was accepted.
    pub is_accepted: bool,
}

impl Inspector {
    /// A TLS client like that of [`client_config`](super::client_config), and what it will have been shown.
    ///
    /// # Errors
    /// As there.
    pub fn client(ca_file: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<(Arc<ClientConfig>, Arc<Self>), TlsError> {
        let usual = verifier(Arc::new(roots(ca_file)?))?;
        let inspector = Arc::new(Self { usual, shown: Mutex::new(None) });
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Protocol { error })?
            .dangerous()
            .with_custom_certificate_verifier(inspector.clone());
        Ok((Arc::new(identified(builder, identity)?), inspector))
    }

    /// What the server showed, if it came to that.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether the certificate of a file, the first in it, is accepted for one of its own names by who trusts the CAs of `ca_file`.
///
/// # Errors
/// If a file cannot be read, or what a client would say.
pub fn verify_file(certificate_file: &Path, ca_file: &Path, name: &str, now: UnixTime) -> Result<(), TlsError> {
    let chain = certificates(certificate_file)?;
    let Some((own, intermediates)) = chain.split_first() else { return Err(TlsError::NoCertificate { path: certificate_file.into() }) };
    let name = ServerName::try_from(name).map_err(|_| TlsError::BadName { name: name.to_owned() })?;
    let now = VerificationTime::since_unix_epoch(Duration::from_secs(now.as_secs()));
    let verified = verifier(Arc::new(roots(Some(ca_file))?))?.verify_server_cert(own, intermediates, &name, &[], now);
    verified.map(drop).map_err(|error| TlsError::Protocol { error })
}

/// The first certificate of a file.
///
/// # Errors
/// If the file cannot be read or has none.
pub fn first_certificate(path: &Path) -> Result<CertificateDer<'static>, TlsError> {
    certificates(path)?.into_iter().next().ok_or_else(|| TlsError::NoCertificate { path: path.into() })
}

fn verifier(roots: Arc<rustls::RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let built = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
    built.map_err(|error| TlsError::Protocol { error: rustls::Error::General(error.to_string()) })
}

impl ServerCertVerifier for Inspector {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: VerificationTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let shown = Shown { certificate: end_entity.clone().into_owned(), is_accepted: verdict.is_ok() };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
