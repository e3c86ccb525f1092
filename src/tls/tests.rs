use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::pki::{DAY, EARLIEST_NOW};
use super::*;
use crate::clock::UnixTime;

const NAMES: [&str; 3] = ["broker.local", "192.0.2.7", "2001:db8::7"];

fn now() -> UnixTime {
    UnixTime::from(std::time::SystemTime::now())
}

fn names() -> Vec<String> {
    NAMES.map(str::to_owned).to_vec()
}

/// A directory with a PKI in its `tls`.
fn pki() -> (tempfile::TempDir, Pki) {
    let directory = tempfile::tempdir().unwrap();
    let pki = create_pki(&directory.path().join("tls"), &names(), now()).unwrap();
    (directory, pki)
}

fn write(directory: &tempfile::TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// Connects over a pair of in-memory sockets and echoes a message; the protocol version and the certificates that the server saw.
async fn connect(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<(rustls::ProtocolVersion, usize), std::io::Error> {
    let (near, far) = tokio::io::duplex(16_384);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let serve = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        let mut message = [0; 4];
        stream.read_exact(&mut message).await?;
        stream.write_all(&message).await?;
        stream.flush().await?;
        Ok::<_, std::io::Error>(stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len))
    };
    let call = async {
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.write_all(b"ping").await?;
        let mut message = [0; 4];
        stream.read_exact(&mut message).await?;
        assert_eq!(&message, b"ping");
        Ok::<_, std::io::Error>(stream.get_ref().1.protocol_version().unwrap())
    };
    let (shown, version) = tokio::join!(serve, call);
    Ok((version?, shown?))
}

#[tokio::test]
async fn serves_every_name_of_the_certificate_and_no_other() {
    let (_directory, pki) = pki();
    let server = server_config(&pki.certificate, &pki.private_key).unwrap();
    let client = client_config(Some(&pki.ca_certificate), None).unwrap();
    for name in NAMES {
        assert_eq!(connect(server.clone(), client.clone(), name).await.unwrap(), (rustls::ProtocolVersion::TLSv1_3, 0));
    }
    for name in ["other.local", "x.broker.local", "192.0.2.8", "credgate"] {
        let error = connect(server.clone(), client.clone(), name).await.unwrap_err().to_string();
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
}

#[tokio::test]
async fn serves_tls_1_2() {
    let (_directory, pki) = pki();
    let server = server_config(&pki.certificate, &pki.private_key).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots_of(&pki.ca_certificate).unwrap())
        .with_no_client_auth();
    assert_eq!(connect(server, Arc::new(client), "broker.local").await.unwrap().0, rustls::ProtocolVersion::TLSv1_2);
}

#[tokio::test]
async fn deny_a_server_of_another_ca() {
    let ((_one, one), (_other, other)) = (pki(), pki());
    let server = server_config(&one.certificate, &one.private_key).unwrap();
    let client = client_config(Some(&other.ca_certificate), None).unwrap();
    let error = connect(server.clone(), client, "broker.local").await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn shows_a_client_certificate() {
    let (directory, pki) = pki();
    // Any end-entity certificate does, so one without an extended key usage that a client's must not have.
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["gateway".to_owned()]).unwrap().self_signed(&key).unwrap();
    let certificate_file = write(&directory, "client.crt", certificate.pem().as_bytes());
    let key_file = write(&directory, "client.key", key.serialize_pem().as_bytes());
    let client = client_config(Some(&pki.ca_certificate), Some((&certificate_file, &key_file))).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots_of(&certificate_file).unwrap()), provider());
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(certificates(&pki.certificate).unwrap(), private_key(&pki.private_key).unwrap())
        .unwrap();
    assert_eq!(connect(Arc::new(server), client, "broker.local").await.unwrap().1, 1);
}

/// Whether a device that trusts the CA takes the broker's certificate when its clock says `time`.
fn is_valid_at(pki: &Pki, time: u64) -> bool {
    let roots = Arc::new(roots_of(&pki.ca_certificate).unwrap());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().unwrap();
    let certificate = certificates(&pki.certificate).unwrap().remove(0);
    let time = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(time));
    verifier.verify_server_cert(&certificate, &[], &ServerName::try_from("broker.local").unwrap(), &[], time).is_ok()
}

fn days(count: u64) -> u64 {
    count.saturating_mul(DAY)
}

#[test]
fn certificates_are_valid_from_a_day_ago_for_825_days() {
    let (_directory, pki) = pki();
    let now = now().as_secs();
    for offset in [0, days(1) / 2, days(823)] {
        assert!(is_valid_at(&pki, now.saturating_add(offset)), "{offset}");
    }
    assert!(is_valid_at(&pki, now.saturating_sub(days(1) / 2)));
    assert!(!is_valid_at(&pki, now.saturating_sub(days(2))));
    assert!(!is_valid_at(&pki, now.saturating_add(days(825))));
}

#[test]
fn a_clock_at_the_epoch_makes_no_certificate_of_the_past() {
    let directory = tempfile::tempdir().unwrap();
    let pki = create_pki(directory.path(), &names(), UnixTime::from_secs(60)).unwrap();
    assert!(is_valid_at(&pki, EARLIEST_NOW) && is_valid_at(&pki, EARLIEST_NOW.saturating_add(days(823))));
    let error = create_pki(&directory.path().join("x"), &names(), UnixTime::from_secs(u64::MAX)).unwrap_err();
    assert_eq!(error.code(), "tls_clock");
    assert!(!directory.path().join("x").exists());
}

#[test]
fn keys_are_private_and_certificates_are_not() {
    let (_directory, pki) = pki();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let directory = pki.certificate.parent().unwrap();
    assert_eq!(mode(directory), 0o700);
    assert_eq!((mode(&pki.private_key), mode(&directory.join("ca.key"))), (0o600, 0o600));
    assert_eq!((mode(&pki.certificate), mode(&pki.ca_certificate)), (0o644, 0o644));
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["broker.crt", "broker.key", "ca.crt", "ca.key"]);
}

#[test]
fn deny_to_overwrite() {
    for existing in ["ca.crt", "ca.key", "broker.crt", "broker.key"] {
        let directory = tempfile::tempdir().unwrap();
        let path = write(&directory, existing, b"mine");
        let error = create_pki(directory.path(), &names(), now()).unwrap_err();
        assert!(matches!(&error, TlsError::Exists { path: told } if *told == path), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

#[test]
fn deny_names_that_no_certificate_can_have() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["", "a b", "ä.example", "*.example", "https://a", "a:8883", "[::1]"] {
        let error = create_pki(directory.path(), &[name.to_owned()], now()).unwrap_err();
        assert_eq!(error.code(), "tls_bad_name", "{name}");
    }
    assert_eq!(create_pki(directory.path(), &[], now()).unwrap_err().code(), "tls_no_name");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn every_certificate_has_its_own_serial_number() {
    let ((serial, id), (other, other_id)) = (pki::serial_number().unwrap(), pki::serial_number().unwrap());
    assert_ne!(serial.to_bytes(), other.to_bytes());
    assert_ne!(id, other_id);
    assert_eq!(serial.len(), 16);
    assert!(serial.to_bytes()[0] < 0x80);
}

#[test]
fn faults_name_the_file_and_what_is_wrong() {
    let (directory, pki) = pki();
    let (_directory, other) = super::tests::pki();
    let key_text = fs::read(&pki.private_key).unwrap();
    let certificate_text = fs::read(&pki.certificate).unwrap();
    let empty = write(&directory, "empty", b"");
    let truncated = write(&directory, "truncated", &certificate_text[..100]);
    let truncated_key = write(&directory, "truncated.key", &key_text[..100]);
    let encrypted = write(&directory, "encrypted", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let not_der = write(&directory, "not-der", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let missing = directory.path().join("missing");
    let (certificate, key) = (pki.certificate.as_path(), pki.private_key.as_path());
    for (certificate, key, code, told) in [
        (missing.as_path(), key, "tls_certificate_unreadable", &missing),
        (certificate, missing.as_path(), "private_file_unreadable", &missing),
        (certificate, directory.path(), "private_file_unreadable", &directory.path().to_owned()),
        (&empty, key, "tls_no_certificate", &empty),
        (key, key, "tls_no_certificate", &pki.private_key),
        (&truncated, key, "tls_damaged_pem", &truncated),
        (&not_der, key, "tls_unusable", &not_der),
        (certificate, &empty, "tls_no_private_key", &empty),
        (certificate, &truncated_key, "tls_damaged_pem", &truncated_key),
        (certificate, &encrypted, "tls_key_encrypted", &encrypted),
        (certificate, other.private_key.as_path(), "tls_key_mismatch", &other.private_key),
        (pki.ca_certificate.as_path(), key, "tls_key_mismatch", &pki.ca_certificate),
    ] {
        let server = server_config(certificate, key).unwrap_err();
        let client = client_config(Some(&pki.ca_certificate), Some((certificate, key))).unwrap_err();
        assert_eq!((server.code(), client.code()), (code, code), "{server}");
        assert!(server.to_string().contains(told.to_str().unwrap()), "{server}");
        let secret = String::from_utf8_lossy(&key_text[40..60]).into_owned();
        assert!(!format!("{server} {server:?}").contains(&secret), "{server:?}");
    }
    for (file, code) in [(&missing, "tls_certificate_unreadable"), (&empty, "tls_no_certificate"), (&not_der, "tls_bad_authority")] {
        let error = client_config(Some(file), None).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(file.to_str().unwrap()));
    }
}

#[test]
fn deny_a_private_key_that_others_can_get_at() {
    let (_directory, pki) = pki();
    for (mode, allowed) in [(0o400, true), (0o440, true), (0o640, true), (0o644, false), (0o620, false), (0o602, false)] {
        fs::set_permissions(&pki.private_key, Permissions::from_mode(mode)).unwrap();
        let result = server_config(&pki.certificate, &pki.private_key);
        assert_eq!(result.is_ok(), allowed, "{mode:o}");
        assert!(result.err().is_none_or(|error| error.to_string().contains("chmod 0600")));
    }
}

#[test]
fn system_roots_are_found_or_their_lack_is_told() {
    match client_config(None, None) {
        Ok(_) => assert!(!rustls_native_certs::load_native_certs().certs.is_empty()),
        Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
    }
}

/// A ClientHello that offers `version` at most, in a record, with a cipher suite and a curve of that time.
fn client_hello(version: [u8; 2]) -> Vec<u8> {
    // No session, TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, no compression; supported_groups: secp256r1; signature_algorithms: its ECDSA.
    let rest = [&[0, 0, 2, 0xc0, 0x09, 1, 0, 0, 16][..], &[0, 10, 0, 4, 0, 2, 0, 23], &[0, 13, 0, 4, 0, 2, 4, 3]].concat();
    let body = [&version[..], &[7; 32], &rest].concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length.checked_add(4).unwrap(), 1, 0, 0, length][..], &body].concat()
}

#[test]
fn deny_versions_before_tls_1_2_and_no_tls_at_all() {
    const PROTOCOL_VERSION: u8 = 70;
    let (_directory, pki) = pki();
    let server = server_config(&pki.certificate, &pki.private_key).unwrap();
    // What the server says to the first bytes: whether it goes on, and the alert that it sends.
    let said = |bytes: &[u8]| {
        let mut connection = rustls::ServerConnection::new(server.clone()).unwrap();
        connection.read_tls(&mut &*bytes).unwrap();
        let goes_on = connection.process_new_packets().is_ok();
        let mut sent = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut sent).unwrap();
        }
        (goes_on, (sent.first() == Some(&21)).then(|| sent[6]))
    };
    for old in [[3, 0], [3, 1], [3, 2]] {
        assert_eq!(said(&client_hello(old)), (false, Some(PROTOCOL_VERSION)), "{old:?}");
    }
    // The same of TLS 1.2 fails by its cipher suite alone: the version is read.
    let (goes_on, alert) = said(&client_hello([3, 3]));
    assert!(!goes_on && alert.is_some_and(|alert| alert != PROTOCOL_VERSION), "{alert:?}");
    // MQTT's CONNECT.
    assert!(!said(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03dev").0);
}
