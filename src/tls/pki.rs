//! A CA of the gateway's own and the embedded broker's certificate, for hosts that have no other.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::TlsError;
use crate::clock::UnixTime;

pub(super) const DAY: u64 = 86_400;
/// Days a CA lives.
const CA_DAYS: u64 = 3_653;
/// Days a broker's certificate lives: more than 825 are refused by some TLS clients.
const BROKER_DAYS: u64 = 825;
/// 2026-01-01T00:00:00Z. A clock that says less is wrong, as on a board without a battery that has not reached a time server yet, and
/// certificates by it would have expired when it is right.
pub(super) const EARLIEST_NOW: u64 = 1_767_225_600;

/// The files that were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pki {
    /// The CA's certificate, for devices to trust.
    pub ca_certificate: PathBuf,
    /// The broker's certificate.
    pub certificate: PathBuf,
    /// The broker's private key.
    pub private_key: PathBuf,
}

/// Makes a CA (`ca.crt`, `ca.key`) and a certificate by it for a broker of these DNS names and IP addresses (`broker.crt`, `broker.key`)
/// in `directory`, which is made if need be. Keys are ECDSA P-256, mode 0600. The CA is valid for ten years, the certificate for 825 days,
/// both from a day before `now`, as the clocks of devices differ.
///
/// # Errors
/// If one of the files exists, a name is neither a DNS name nor an IP address, there is none, or a file cannot be written. No file is left
/// half written.
pub fn create_pki(directory: &Path, names: &[String], now: UnixTime) -> Result<Pki, TlsError> {
    if names.is_empty() {
        return Err(TlsError::NoName);
    }
    if let Some(name) = names.iter().find(|name| ServerName::try_from(name.as_str()).is_err()) {
        return Err(TlsError::BadName { name: name.clone() });
    }
    let path = |name: &str| directory.join(name);
    let pki = Pki { ca_certificate: path("ca.crt"), certificate: path("broker.crt"), private_key: path("broker.key") };
    let ca_key_file = path("ca.key");
    for path in [&ca_key_file, &pki.ca_certificate, &pki.private_key, &pki.certificate] {
        // Not `exists`, for which a dangling link or a directory that cannot be searched is nothing.
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => return Err(TlsError::Exists { path: path.clone() }),
            Err(error) => return Err(TlsError::Write { path: path.clone(), error }),
        }
    }

    let generated = |error| TlsError::Generate { error };
    let (ca_params, ca_key) = (ca_params(now)?, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(generated)?);
    let ca = ca_params.self_signed(&ca_key).map_err(generated)?;
    let ca_key_pem = Zeroizing::new(ca_key.serialize_pem());
    let broker_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(generated)?;
    let broker = broker_params(names, now)?.signed_by(&broker_key, &Issuer::new(ca_params, ca_key)).map_err(generated)?;

    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| TlsError::Write { path: directory.into(), error })?;
    // The CA's key first: of two that run at once, one gets it and the other stops there.
    write_new(&ca_key_file, ca_key_pem.as_bytes(), 0o600)?;
    write_new(&pki.ca_certificate, ca.pem().as_bytes(), 0o644)?;
    write_new(&pki.private_key, Zeroizing::new(broker_key.serialize_pem()).as_bytes(), 0o600)?;
    write_new(&pki.certificate, broker.pem().as_bytes(), 0o644)?;
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(|error| TlsError::Write { path: directory.into(), error })?;
    Ok(pki)
}

fn ca_params(now: UnixTime) -> Result<CertificateParams, TlsError> {
    let (serial, id) = serial_number()?;
    let mut params = CertificateParams::default();
    // Told apart from the CA of another gateway, or of this one before.
    params.distinguished_name = common_name(&format!("credgate CA {id}"));
    params.serial_number = Some(serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, CA_DAYS)?;
    Ok(params)
}

fn broker_params(names: &[String], now: UnixTime) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(names).map_err(|error| TlsError::Generate { error })?;
    params.distinguished_name = common_name("credgate broker");
    params.serial_number = Some(serial_number()?.0);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_validity(&mut params, now, BROKER_DAYS)?;
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Validity from a day before `now`.
fn set_validity(params: &mut CertificateParams, now: UnixTime, days: u64) -> Result<(), TlsError> {
    let start = now.as_secs().max(EARLIEST_NOW).saturating_sub(DAY);
    let end = start.saturating_add(days.saturating_mul(DAY));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let date =
        |seconds| Duration::from_secs(seconds).try_into().ok().and_then(|since| epoch.checked_add(since)).ok_or(TlsError::Clock { now });
    (params.not_before, params.not_after) = (date(start)?, date(end)?);
    Ok(())
}

/// A serial number (RFC 5280 section 4.1.2.2: positive, 20 octets at most) of 127 random bits, and its first octets in hexadecimal.
pub(super) fn serial_number() -> Result<(SerialNumber, String), TlsError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| TlsError::Random { error })?;
    if let Some(first) = bytes.first_mut() {
        // Positive, and never the zero that would be left out of the encoding.
        *first = *first & 0x7f | 0x40;
    }
    let id = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Ok((SerialNumber::from_slice(&bytes), id))
}

/// Writes a file that must not exist: it appears under its name complete and on the disk, or not at all.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), TlsError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written =
        write_synced(&temporary, content, mode).map_err(|error| TlsError::Write { path: temporary.clone(), error }).and_then(|()| {
            // A link and not a rename, which would replace a file that another process has made meanwhile.
            fs::hard_link(&temporary, path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => TlsError::Exists { path: path.into() },
                _ => TlsError::Write { path: path.into(), error },
            })
        });
    // Of no use any more; that it cannot be removed is no reason to fail.
    drop(fs::remove_file(&temporary));
    written
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // Whatever the umask says.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}
