//! What systemd is told by sd_notify(3): that the gateway is ready, what it does, that it still works, and that it stops.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

/// A broker that is away keeps the start waiting for so long and no longer: whoever waits for the gateway can then look why.
const READY_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether the links serve, until they do.
const READY_INTERVAL: Duration = Duration::from_millis(50);
/// How often the status is told at least, if it has changed.
const STATUS_INTERVAL: Duration = Duration::from_secs(15);
/// Signs of life in the time after which systemd takes the process for dead.
const SIGNS: u32 = 4;

/// The way to the service manager; nothing is told without one.
#[derive(Debug)]
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
    /// After so long without a sign of life the process is killed.
    watchdog: Option<Duration>,
    /// How long the links may take until the gateway is called ready all the same.
    patience: Duration,
    is_ready: AtomicBool,
}

/// What the service manager is told about.
pub(super) struct Subject {
    /// Whether devices are served, in one line either way.
    pub(super) serving: Box<dyn Fn() -> Result<String, String> + Send + Sync>,
    /// Whether the process does its work. It may block.
    pub(super) works: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Supervisor {
    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say.
    pub(super) fn of_environment() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_meant = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| is_meant).and_then(|micros| micros.parse().ok()).filter(|micros| *micros > 0);
        let socket = variable("NOTIFY_SOCKET").and_then(|path| match connect(&path) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!(path, %error, "the service manager cannot be told anything");
                None
            }
        });
        Self { socket, watchdog: micros.map(Duration::from_micros), patience: READY_PATIENCE, is_ready: AtomicBool::default() }
    }

    /// Tells that the gateway is ready as soon as it serves, and from then on what it does and that it works. Ends at once if nobody listens.
    pub(super) async fn keep(self: Arc<Self>, subject: Subject) {
        if self.socket.is_none() {
            return;
        }
        let begun = Instant::now();
        while (subject.serving)().is_err() && begun.elapsed() < self.patience {
            sleep(READY_INTERVAL).await;
        }
        let mut told = status(&subject);
        self.tell(&format!("READY=1\n{told}"));
        self.is_ready.store(true, Ordering::Relaxed);
        let interval =
            self.watchdog.map_or(STATUS_INTERVAL, |watchdog| STATUS_INTERVAL.min(watchdog.checked_div(SIGNS).unwrap_or(watchdog)));
        loop {
            if self.watchdog.is_some() {
                let works = subject.works.clone();
                // One at a time: while it is stuck there is no sign of life, and no second attempt.
                match tokio::task::spawn_blocking(move || works()).await {
                    Ok(Ok(())) => self.tell("WATCHDOG=1"),
                    Ok(Err(reason)) => error!(reason, "the gateway fails its own test; it is restarted unless it recovers"),
                    // The panic is in the log.
                    Err(_) => {}
                }
            }
            sleep(interval).await;
            let now = status(&subject);
            if now != told {
                self.tell(&now);
                told = now;
            }
        }
    }

    /// Tells that the configuration is read anew, and then [`Self::reloaded`]. Before it is ready there is nothing to take back.
    pub(super) fn reloading(&self) {
        if self.is_ready.load(Ordering::Relaxed) {
            let now = clock_gettime(ClockId::Monotonic);
            let micros = i128::from(now.tv_sec).saturating_mul(1_000_000).saturating_add(i128::from(now.tv_nsec) / 1_000);
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
        }
    }

    /// Tells that it was.
    pub(super) fn reloaded(&self) {
        if self.is_ready.load(Ordering::Relaxed) {
            self.tell("READY=1");
        }
    }

    /// Tells that the gateway stops.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Stopping");
    }

    fn tell(&self, message: &str) {
        // It never blocks; a manager that takes nothing now is told more soon.
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(message.as_bytes())) {
            warn!(%error, "the service manager was not told");
        }
    }
}

fn connect(path: &str) -> std::io::Result<UnixDatagram> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(Path::new(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The line for `systemctl status`. A reason may hold words of a broker: none of them becomes a line of its own.
fn status(subject: &Subject) -> String {
    let text = match (subject.serving)() {
        Ok(way) => format!("Serving devices by {way}"),
        Err(reason) => format!("Not serving devices: {reason}"),
    };
    let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    format!("STATUS={text}")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const FOR_EVER: Duration = Duration::from_secs(86_400);

    /// A manager that listens at a socket without a file, and a supervisor that tells it.
    fn managed(name: &str, watchdog: Option<Duration>, patience: Duration) -> (UnixDatagram, Arc<Supervisor>) {
        let name = format!("credgate-test-{name}-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        manager.set_nonblocking(true).unwrap();
        let socket = connect(&format!("@{name}")).unwrap();
        (manager, Arc::new(Supervisor { socket: Some(socket), watchdog, patience, is_ready: AtomicBool::default() }))
    }

    /// The next message, once there is one.
    async fn next(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        loop {
            match manager.recv(&mut buffer) {
                Ok(length) => return String::from_utf8(buffer[..length].to_vec()).unwrap(),
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    }

    fn is_silent(manager: &UnixDatagram) -> bool {
        manager.recv(&mut [0; 512]).is_err()
    }

    /// What a gateway says of itself.
    struct Gateway {
        serving: Mutex<Result<String, String>>,
        works: Mutex<Result<(), String>>,
        asked: AtomicUsize,
        tested: AtomicUsize,
    }

    impl Gateway {
        fn new(serving: Result<&str, &str>) -> Arc<Self> {
            let serving = Mutex::new(serving.map(str::to_owned).map_err(str::to_owned));
            Arc::new(Self { serving, works: Mutex::new(Ok(())), asked: AtomicUsize::new(0), tested: AtomicUsize::new(0) })
        }

        fn subject(self: &Arc<Self>) -> Subject {
            let (asked, tested) = (self.clone(), self.clone());
            let serving = move || {
                asked.asked.fetch_add(1, Ordering::Relaxed);
                asked.serving.lock().unwrap().clone()
            };
            let works = move || {
                tested.tested.fetch_add(1, Ordering::Relaxed);
                tested.works.lock().unwrap().clone()
            };
            Subject { serving: Box::new(serving), works: Arc::new(works) }
        }

        /// Waits until it was looked at a few times more.
        async fn looked_at(count: &AtomicUsize) {
            let before = count.load(Ordering::Relaxed);
            while count.load(Ordering::Relaxed) < before.saturating_add(3) {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn it_is_ready_once_it_serves_and_says_so() {
        let (manager, supervisor) = managed("ready", Some(Duration::from_millis(8)), FOR_EVER);
        let gateway = Gateway::new(Err("connecting"));
        let keeping = tokio::spawn(supervisor.clone().keep(gateway.subject()));
        Gateway::looked_at(&gateway.asked).await;
        assert!(is_silent(&manager), "not ready yet");
        *gateway.serving.lock().unwrap() = Ok("x".to_owned());
        assert_eq!(next(&manager).await, "READY=1\nSTATUS=Serving devices by x");
        *gateway.serving.lock().unwrap() = Err("the link is down:\nREADY=1".to_owned());
        let mut told = next(&manager).await;
        while told == "WATCHDOG=1" {
            told = next(&manager).await;
        }
        assert_eq!(told, "STATUS=Not serving devices: the link is down: READY=1");
        keeping.abort();
        assert!(keeping.await.unwrap_err().is_cancelled());
        while !is_silent(&manager) {}
        supervisor.stopping();
        assert_eq!(next(&manager).await, "STOPPING=1\nSTATUS=Stopping");
    }

    #[tokio::test]
    async fn a_broker_that_is_away_does_not_fail_the_start() {
        let (manager, supervisor) = managed("away", None, Duration::ZERO);
        let keeping = tokio::spawn(supervisor.keep(Gateway::new(Err("nobody answers")).subject()));
        assert_eq!(next(&manager).await, "READY=1\nSTATUS=Not serving devices: nobody answers");
        keeping.abort();
    }

    #[tokio::test]
    async fn deny_a_sign_of_life_while_the_test_fails() {
        let (manager, supervisor) = managed("watchdog", Some(Duration::from_millis(8)), FOR_EVER);
        let gateway = Gateway::new(Ok("x"));
        let keeping = tokio::spawn(supervisor.keep(gateway.subject()));
        assert!(next(&manager).await.starts_with("READY=1"));
        assert_eq!((next(&manager).await, next(&manager).await), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
        *gateway.works.lock().unwrap() = Err("no token".to_owned());
        // One may be on its way.
        Gateway::looked_at(&gateway.tested).await;
        while !is_silent(&manager) {}
        Gateway::looked_at(&gateway.tested).await;
        assert!(is_silent(&manager), "a sign of life of a process that does not work");
        *gateway.works.lock().unwrap() = Ok(());
        assert_eq!(next(&manager).await, "WATCHDOG=1");
        keeping.abort();
    }

    #[tokio::test]
    async fn without_a_manager_there_is_nothing_to_do() {
        let supervisor =
            Arc::new(Supervisor { socket: None, watchdog: Some(FOR_EVER), patience: FOR_EVER, is_ready: AtomicBool::default() });
        supervisor.clone().keep(Gateway::new(Err("connecting")).subject()).await;
        supervisor.stopping();
    }
}
