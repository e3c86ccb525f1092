//! A real Mosquitto on a free loopback port: TLS, passwords, and an ACL file as an operator would write it.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::site::restrict;

/// The user that credgate connects as, and its password.
pub const GATEWAY: (&str, &str) = ("credgate", "gateway-password");

/// No step of the harness takes near as long.
const PATIENCE: Duration = Duration::from_secs(30);

const ACL: &str = "\
user credgate
topic readwrite oauth2/v1/#

# of every user
pattern readwrite oauth2/v1/client/%u/#
pattern read oauth2/v1/as/#

# a resource server
user checker
topic read oauth2/v1/rs/#
";

/// A running broker; killed when dropped.
pub struct Mosquitto {
    directory: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts a broker that [`GATEWAY`] may use.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same with more lines in its configuration.
    pub fn start_with(settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_certificates(directory.path(), &["localhost", "127.0.0.1"], (1975, 4096));
        fs::write(directory.path().join("acl"), ACL).unwrap();
        fs::write(directory.path().join("passwords"), "").unwrap();
        let mut broker = Self { directory, port: 0, child: None };
        broker.write_password(GATEWAY.0, GATEWAY.1);
        // Somebody else may take the port before the broker does.
        for _ in 0..10 {
            broker.port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            broker.write_configuration(settings);
            if broker.launch() {
                return broker;
            }
        }
        panic!("mosquitto does not start:\n{}", broker.log());
    }

    /// The port of the TLS listener on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the CA that signed the broker's certificate, which is for `localhost` and 127.0.0.1.
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// A client certificate and its key, for a broker that takes the user name from it.
    pub fn gateway_identity(&self) -> (PathBuf, PathBuf) {
        (self.path("gateway.crt"), self.path("gateway.key"))
    }

    /// What a client needs to trust this broker and no other.
    pub fn client_config(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca_file()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// Adds a user or changes its password, and waits until the broker knows.
    pub fn set_password(&self, user: &str, password: &str) {
        self.write_password(user, password);
        self.reload();
    }

    /// Replaces the ACL file, and waits until the broker knows.
    pub fn set_acl(&self, acl: &str) {
        fs::write(self.path("acl"), acl).unwrap();
        self.reload();
    }

    /// Lets a user do everything, as whoever runs the broker can.
    pub fn set_operator(&self, user: &str, password: &str) {
        self.write_password(user, password);
        self.set_acl(&format!("{ACL}\nuser {user}\ntopic readwrite #\n"));
    }

    /// Kills the broker and starts it again on the same port, with nothing of what it had in memory.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.launch(), "mosquitto does not start again:\n{}", self.log());
    }

    /// Gives it a certificate for these names and years, of a CA made anew, and starts it again.
    pub fn renew_certificates(&mut self, names: &[&str], years: (i32, i32)) {
        write_certificates(self.directory.path(), names, years);
        self.restart();
    }

    /// Sends the broker a signal by its name.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").arg(format!("-{signal}")).arg(pid).status().unwrap().success());
    }

    /// Kills the broker.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The broker's log so far, all starts together.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits for a line in the broker's log.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(|| self.log().contains(text), || format!("no {text:?} in the log of mosquitto:\n{}", self.log()));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_configuration(&self, settings: &str) {
        let at = self.directory.path().display();
        let configuration = format!(
            "user root\nper_listener_settings false\nlistener {} 127.0.0.1\ncafile {at}/ca.crt\ncertfile {at}/broker.crt\nkeyfile {at}/broker.key\n\
             allow_anonymous false\npassword_file {at}/passwords\nacl_file {at}/acl\nset_tcp_nodelay true\npersistence false\n\
             log_dest file {at}/log\nlog_type all\n{settings}\n",
            self.port
        );
        fs::write(self.path("mosquitto.conf"), configuration).unwrap();
    }

    /// Starts the process; false if it ends before it serves.
    fn launch(&mut self) -> bool {
        let mut command = Command::new("/usr/sbin/mosquitto");
        command.arg("-c").arg(self.path("mosquitto.conf")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let mut ended = false;
        wait_until(
            || {
                ended = self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some());
                ended || self.is_at_work()
            },
            || "mosquitto neither serves nor ends".into(),
        );
        !ended
    }

    fn write_password(&self, user: &str, password: &str) {
        let mut command = Command::new("/usr/bin/mosquitto_passwd");
        let status = command.arg("-b").arg(self.path("passwords")).args([user, password]).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "mosquitto_passwd: {status}");
    }

    /// The broker reads its files anew between two looks at its sockets, and forgets a signal that comes meanwhile: it is done when a
    /// connection made after the line in its log gets an answer, even if that is the end of the connection.
    fn reload(&self) {
        let reloads = || self.log().matches("Reloading config.").count();
        let before = reloads();
        let pid = self.child.as_ref().expect("the broker runs").id();
        assert!(Command::new("/bin/kill").args(["-HUP", &pid.to_string()]).status().unwrap().success());
        wait_until(|| reloads() > before, || "mosquitto does not reload".into());
        assert!(self.is_at_work(), "mosquitto does not come back from reloading");
    }

    /// Whether the broker does something about a connection, if only to end it. It listens some time before it minds its signals.
    fn is_at_work(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else { return false };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"this is no TLS handshake").unwrap();
        stream.read_to_end(&mut Vec::new()).map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait_until(mut condition: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{}", complaint());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `ca.crt`, and signed by it for these names and years `broker.crt` with `broker.key`, and `gateway.crt` with `gateway.key` for the user of [`GATEWAY`].
fn write_certificates(directory: &Path, names: &[&str], (from, to): (i32, i32)) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "credgate test CA");
    fs::write(directory.join("ca.crt"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();

    let broker_key = KeyPair::generate().unwrap();
    let mut broker = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    broker.distinguished_name.push(DnType::CommonName, "localhost");
    broker.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (broker.not_before, broker.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
    let issuer = Issuer::new(ca, ca_key);
    let certificate = broker.signed_by(&broker_key, &issuer).unwrap();
    fs::write(directory.join("broker.crt"), certificate.pem()).unwrap();
    fs::write(directory.join("broker.key"), broker_key.serialize_pem()).unwrap();

    let gateway_key = KeyPair::generate().unwrap();
    let mut gateway = CertificateParams::default();
    gateway.distinguished_name.push(DnType::CommonName, GATEWAY.0);
    gateway.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    fs::write(directory.join("gateway.crt"), gateway.signed_by(&gateway_key, &issuer).unwrap().pem()).unwrap();
    fs::write(directory.join("gateway.key"), gateway_key.serialize_pem()).unwrap();
    restrict(&directory.join("gateway.key"));
}
