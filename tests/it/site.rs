//! A whole installation in a temporary directory: the real program, its configuration, a broker, its clients.
//!
//! When a site ends, everything its programs printed is searched for every secret and token it knew.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::mosquitto::{GATEWAY, Mosquitto};

/// How long to wait for what must come; only a failure takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub const CREDGATE: &str = env!("CARGO_BIN_EXE_credgate");

/// The program that is the gateway of most tests: another one, such as the gateway alone, if the environment names it.
fn gateway() -> OsString {
    std::env::var_os("GATEWAY_UNDER_TEST").unwrap_or_else(|| CREDGATE.into())
}

pub enum Broker {
    /// The gateway's own, on a port that is known once it runs.
    #[cfg_attr(not(feature = "embedded-broker"), expect(dead_code, reason = "there is none in this build"))]
    Embedded,
    Mosquitto(Mosquitto),
}

pub struct Site {
    pub directory: TempDir,
    pub broker: Broker,
    daemon: Mutex<Option<Child>>,
    secrets: Mutex<Vec<String>>,
    printed: Mutex<Vec<u8>>,
}

/// Waits until `ready` gives a value; says `what` did not come otherwise.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "{what} did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for another second on the clock: until then a client whose tokens were revoked gets no other.
pub fn wait_for_the_next_second() {
    let second = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = second();
    wait_for("the next second", || (second() > now).then_some(()));
}

impl Site {
    /// A gateway with its embedded broker, running.
    #[cfg(feature = "embedded-broker")]
    pub fn embedded() -> Self {
        Self::embedded_with("")
    }

    /// The same with more lines at the top of its configuration.
    #[cfg(feature = "embedded-broker")]
    pub fn embedded_with(settings: &str) -> Self {
        let site = Self::new(Broker::Embedded, settings, "[embedded-broker]\nlisten = [\"127.0.0.1:0\"]\n");
        site.credgate(&["init", "--name", "localhost", "--name", "127.0.0.1"]);
        site.start();
        site
    }

    /// A gateway linked to a real Mosquitto that it trusts, running.
    pub fn mosquitto() -> Self {
        Self::mosquitto_with("", "trusted = true\n")
    }

    /// The same with more lines at the top and in `[broker]`.
    pub fn mosquitto_with(settings: &str, broker_settings: &str) -> Self {
        let login = format!("username = \"{}\"\npassword-file = \"PASSWORD\"\n", GATEWAY.0);
        Self::linked_to(Mosquitto::start(), settings, &(login + broker_settings))
    }

    /// A gateway linked to that Mosquitto, with what it needs to log in among the lines of `[broker]`.
    pub fn linked_to(mosquitto: Mosquitto, settings: &str, broker_settings: &str) -> Self {
        let broker = format!(
            "[embedded-broker]\nenabled = false\n[broker]\nurl = \"mqtts://localhost:{}\"\nca-file = \"{}\"\nreconnect-max = 1\n{broker_settings}",
            mosquitto.port(),
            mosquitto.ca_file().display(),
        );
        let site = Self::new(Broker::Mosquitto(mosquitto), settings, &broker);
        site.keep_secret(GATEWAY.1);
        site.start();
        site
    }

    fn new(broker: Broker, settings: &str, sections: &str) -> Self {
        let directory = TempDir::with_prefix("credgate-it-").unwrap();
        let path = directory.path();
        let password = path.join("broker.password");
        fs::write(&password, format!("{}\n", GATEWAY.1)).unwrap();
        restrict(&password);
        // Whatever groups this host has, a directory of tests is for nobody else.
        let group = if settings.contains("control-group") { "" } else { "control-group = \"\"\n" };
        let config = format!(
            "state-directory = \"{state}\"\ncontrol-socket = \"{socket}\"\n{group}{settings}\n{sections}",
            state = path.join("state").display(),
            socket = path.join("control.sock").display(),
            sections = sections.replace("PASSWORD", password.to_str().unwrap()),
        );
        fs::write(path.join("credgate.toml"), config).unwrap();
        Self { directory, broker, daemon: Mutex::new(None), secrets: Mutex::new(Vec::new()), printed: Mutex::new(Vec::new()) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("credgate.toml")
    }

    /// Starts the daemon and waits until it serves.
    pub fn start(&self) {
        self.start_with_log("trace", &self.path("daemon.log"));
    }

    /// The same with the log of that level in that file, instead of all of it where [`Self::log`] finds it.
    pub fn start_with_log(&self, level: &str, path: &Path) {
        let log = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        let child = Command::new(gateway())
            .arg("serve")
            .arg("--config")
            .arg(self.config())
            .env("CREDGATE_LOG__LEVEL", level)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.daemon.lock().unwrap() = Some(child);
        wait_for("the daemon", || {
            let ended = self.daemon.lock().unwrap().as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended with {ended:?}:\n{}", self.log());
            let status = self.status()?;
            match self.broker {
                Broker::Embedded => (status["running"] == true).then_some(()),
                Broker::Mosquitto(_) => (status["broker"]["state"] == "up").then_some(()),
            }
        });
    }

    /// Ends the daemon by a signal and waits for its end.
    pub fn stop(&self, signal: &str) -> std::process::ExitStatus {
        let mut child = self.daemon.lock().unwrap().take().expect("the daemon runs");
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap();
        assert!(sent.success());
        child.wait().unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// The daemon's log lines (JSON) of decisions on that client's token requests.
    pub fn decisions(&self, client_id: &str) -> Vec<Value> {
        self.decisions_on(client_id, "token")
    }

    /// The same for another operation.
    pub fn decisions_on(&self, client_id: &str, operation: &str) -> Vec<Value> {
        self.log()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["client_id"] == client_id && line["operation"] == operation)
            .collect()
    }

    /// `credgate status`, if a daemon answers.
    pub fn status(&self) -> Option<Value> {
        let output = self.run(&["status", "--output", "json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Runs a command, whatever comes of it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.run_showing_secrets(arguments);
        let mut printed = self.printed.lock().unwrap();
        printed.extend(&output.stdout);
        printed.extend(&output.stderr);
        output
    }

    /// Runs a command whose standard output may show a secret, because that is what it is for.
    pub fn run_showing_secrets(&self, arguments: &[&str]) -> Output {
        let output = Command::new(CREDGATE).args(arguments).arg("--config").arg(self.config()).stdin(Stdio::null()).output().unwrap();
        self.printed.lock().unwrap().extend(&output.stderr);
        output
    }

    /// Runs a command that must succeed; its standard output.
    pub fn credgate(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "credgate {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Remembers a secret to search the output for.
    pub fn keep_secret(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// Two resource servers and three scopes.
    pub fn define_policy(&self) {
        self.credgate(&["resource-server", "add", "telemetry", "--audience", "https://telemetry.example"]);
        self.credgate(&["resource-server", "add", "config", "--audience", "https://config.example", "--max-token-lifetime", "60"]);
        for (name, server, permission) in [
            ("telemetry:write", "telemetry", "pub telemetry/{client_id}/#"),
            ("telemetry:read", "telemetry", "sub telemetry/{client_id}/#"),
            ("config:read", "config", "sub config/{client_id}"),
        ] {
            self.credgate(&["scope", "add", name, "--resource-server", server, "--permission", permission]);
        }
    }

    /// Registers a client and lets the broker know it; its secret.
    pub fn add_client(&self, client_id: &str, scope: &str) -> String {
        self.add_client_with(client_id, &["--scope", scope])
    }

    /// The same with other flags.
    pub fn add_client_with(&self, client_id: &str, flags: &[&str]) -> String {
        let file = self.path(&format!("{client_id}.secret"));
        self.credgate(&[&["client", "add", client_id, "--secret-file", file.to_str().unwrap()], flags].concat());
        let secret = fs::read_to_string(&file).unwrap();
        self.keep_secret(&secret);
        if let Broker::Mosquitto(mosquitto) = &self.broker {
            mosquitto.set_password(client_id, &secret);
        }
        secret
    }

    pub fn port(&self) -> u16 {
        match &self.broker {
            Broker::Mosquitto(mosquitto) => mosquitto.port(),
            Broker::Embedded => {
                let status = self.status().expect("the daemon runs");
                let address = status["embedded_broker"]["addresses"][0].as_str().unwrap();
                address.rsplit(':').next().unwrap().parse().unwrap()
            }
        }
    }

    pub fn ca_file(&self) -> PathBuf {
        match &self.broker {
            Broker::Mosquitto(mosquitto) => mosquitto.ca_file(),
            Broker::Embedded => self.path("state/tls/ca.crt"),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.lock().unwrap().take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = self.log();
        if std::thread::panicking() {
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("the daemon's last lines:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            return;
        }
        let printed = String::from_utf8_lossy(self.printed.get_mut().unwrap()).into_owned();
        for secret in self.secrets.get_mut().unwrap() {
            assert!(!log.contains(secret.as_str()), "the daemon printed a secret");
            assert!(!printed.contains(secret.as_str()), "a command printed a secret");
        }
        // A JWT always begins so; no token is for a log.
        assert!(!log.contains("eyJ0eXAiOiJhdCtqd3Qi"), "the daemon printed a token");
    }
}

/// Mode 0600.
pub fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
