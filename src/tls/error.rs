//! What can be wrong with certificates and keys.

use std::io;
use std::path::PathBuf;

use crate::clock::UnixTime;
use crate::config::PrivateFileError;

/// TLS that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate file cannot be read.
    #[error("{}: the certificate file cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A private key file cannot be read, or others can.
    #[error("private key {0}")]
    PrivateKey(#[from] PrivateFileError),
    /// There is no certificate in a file.
    #[error("{}: no certificate in it; it must hold PEM, beginning with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no private key in a file.
    #[error("{}: no private key in it; it must hold PEM of a PKCS#8, SEC 1 or PKCS#1 key", path.display())]
    NoPrivateKey {
        /// The file.
        path: PathBuf,
    },
    /// A private key needs a passphrase.
    #[error("{}: the private key is encrypted, and nobody is there to type its passphrase; decrypt it with openssl pkey -in {} -out NEW", path.display(), path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A file is not sound PEM.
    #[error("{}: damaged PEM: {reason}", path.display())]
    DamagedPem {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: &'static str,
    },
    /// A certificate of a CA file cannot be trusted.
    #[error("{}: a certificate in it cannot serve as a CA: {error}", path.display())]
    BadAuthority {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// The system has no CAs.
    #[error("no CA certificates on this system{reason}; install the package ca-certificates or name a file with broker.ca-file")]
    NoSystemAuthorities {
        /// The first fault of the search, if there was one.
        reason: String,
    },
    /// A private key is not the one of the certificate.
    #[error("{}: is not the private key of the certificate in {}, whose first certificate must be the server's or client's own", private_key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        private_key: PathBuf,
    },
    /// A certificate or key is of a sort that cannot be used.
    #[error("{} and {}: cannot be used: {error}", certificate.display(), private_key.display())]
    Unusable {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        private_key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// The library refuses its own protocol versions.
    #[error("TLS cannot be set up: {error}")]
    Protocol {
        /// Why.
        error: rustls::Error,
    },
    /// A certificate or key is there already.
    #[error("{}: exists already and is left as it is; a new CA locks every device out that trusts the old one, so remove ca.crt, ca.key, broker.crt and broker.key yourself if you mean it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A certificate needs a name.
    #[error("no name for the broker's certificate; give the DNS names and IP addresses by which devices reach it")]
    NoName,
    /// A name does not fit into a certificate.
    #[error("{name:?} is neither a DNS name nor an IP address")]
    BadName {
        /// The name.
        name: String,
    },
    /// The clock is far off.
    #[error("the clock says {now}, for which no certificate can be made; set it and run this again")]
    Clock {
        /// What it says.
        now: UnixTime,
    },
    /// The operating system gives no random bytes.
    #[error("no random bytes from the operating system: {error}")]
    Random {
        /// Why.
        error: getrandom::Error,
    },
    /// A certificate cannot be made.
    #[error("the certificate cannot be made: {error}")]
    Generate {
        /// Why.
        error: rcgen::Error,
    },
    /// A file or directory cannot be written.
    #[error("{}: cannot be written: {error}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl TlsError {
    /// A word for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "tls_certificate_unreadable",
            Self::PrivateKey(error) => error.code(),
            Self::NoCertificate { .. } => "tls_no_certificate",
            Self::NoPrivateKey { .. } => "tls_no_private_key",
            Self::EncryptedKey { .. } => "tls_key_encrypted",
            Self::DamagedPem { .. } => "tls_damaged_pem",
            Self::BadAuthority { .. } => "tls_bad_authority",
            Self::NoSystemAuthorities { .. } => "tls_no_system_authorities",
            Self::KeyMismatch { .. } => "tls_key_mismatch",
            Self::Unusable { .. } => "tls_unusable",
            Self::Protocol { .. } => "tls_protocol",
            Self::Exists { .. } => "tls_exists",
            Self::NoName => "tls_no_name",
            Self::BadName { .. } => "tls_bad_name",
            Self::Clock { .. } => "tls_clock",
            Self::Random { .. } => "tls_random",
            Self::Generate { .. } => "tls_generate",
            Self::Write { .. } => "tls_unwritable",
        }
    }
}
