//! What a certificate says: until when it serves, and for which names.

use rustls::CertificateError;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

use crate::clock::UnixTime;

/// What is read of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The beginning of its validity.
    pub not_before: UnixTime,
    /// The end of its validity.
    pub not_after: UnixTime,
    /// Its subject alternative names.
    pub names: Vec<String>,
}

impl CertificateFacts {
    /// Reads a certificate; nothing if it is none.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (not_before, not_after) = validity(certificate)?;
        // A name that nobody has makes the verifier tell the ones that are there.
        let nobody = ServerName::try_from("credgate.invalid").ok()?;
        let parsed = ParsedCertificate::try_from(certificate).ok()?;
        let names = match verify_server_name(&parsed, &nobody) {
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => {
                presented.iter().map(|name| bare(name)).collect()
            }
            _ => Vec::new(),
        };
        Some(Self { not_before, not_after, names })
    }
}

/// A name as rustls tells it, `DnsName("a.example")`, without what is around it.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    inner.trim_matches('"').to_owned()
}

/// DER tags (X.690 section 8.1.2).
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const VERSION: u8 = 0xa0;
}

/// The `validity` of an X.509 certificate (RFC 5280 section 4.1).
fn validity(certificate: &[u8]) -> Option<(UnixTime, UnixTime)> {
    let (certificate, _) = element(certificate, tag::SEQUENCE)?;
    let (to_be_signed, _) = element(certificate, tag::SEQUENCE)?;
    let rest = element(to_be_signed, tag::VERSION).map_or(to_be_signed, |(_, rest)| rest);
    let (_serial_number, rest) = element(rest, tag::INTEGER)?;
    let (_signature, rest) = element(rest, tag::SEQUENCE)?;
    let (_issuer, rest) = element(rest, tag::SEQUENCE)?;
    let (validity, _) = element(rest, tag::SEQUENCE)?;
    let (not_before, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    Some((not_before, not_after))
}

/// The content of the element at the beginning, if it has that tag, and what follows it.
fn element(bytes: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().try_fold(0_usize, |length, octet| length.checked_mul(256)?.checked_add(usize::from(*octet)))?, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length).filter(|_| found == expected)
}

fn time(bytes: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (century, (content, rest)) = match element(bytes, tag::UTC_TIME) {
        // RFC 5280 section 4.1.2.5.1: 50 to 99 are of the last century.
        Some((content, rest)) => (Some(if content.first()? >= &b'5' { "19" } else { "20" }), (content, rest)),
        None => (None, element(bytes, tag::GENERALIZED_TIME)?),
    };
    let digits = format!("{}{}", century.unwrap_or_default(), std::str::from_utf8(content).ok()?);
    let part = |from: usize, to: usize| digits.get(from..to);
    let (date, hour) = ((part(0, 4)?, part(4, 6)?, part(6, 8)?), (part(8, 10)?, part(10, 12)?, part(12, 14)?));
    let text = format!("{}-{}-{}T{}:{}:{}{}", date.0, date.1, date.2, hour.0, hour.1, hour.2, digits.get(14..)?);
    Some((text.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: i32, to: i32, names: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 2, 28), date_time_ymd(to, 12, 31));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn times_of_both_kinds_and_names_are_read() {
        for (from, to) in [(1975, 2049), (2026, 2050), (2049, 4096)] {
            let facts = CertificateFacts::of(&certificate(from, to, &["a.example", "192.0.2.1"])).unwrap();
            assert_eq!(facts.not_before, format!("{from}-02-28T00:00:00Z").parse().unwrap());
            assert_eq!(facts.not_after, format!("{to}-12-31T00:00:00Z").parse().unwrap());
            assert_eq!(facts.names, ["a.example", "192.0.2.1"]);
        }
        assert_eq!(CertificateFacts::of(&certificate(2026, 2027, &[])).unwrap().names, [""; 0]);
    }

    #[test]
    fn deny_what_is_cut_or_no_certificate() {
        let whole = certificate(2026, 2027, &["a"]);
        for length in 0..whole.len().min(200) {
            assert!(CertificateFacts::of(&CertificateDer::from(&whole[..length])).is_none(), "{length}");
        }
        for bytes in [&b""[..], b"\x30", b"\x30\x80", b"\x30\x85\x01\x01\x01\x01\x01", b"\x30\x84\xff\xff\xff\xff", b"junk"] {
            assert!(CertificateFacts::of(&CertificateDer::from(bytes)).is_none());
        }
    }
}
