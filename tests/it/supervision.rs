//! What the gateway tells the service manager that started it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::site::{CREDGATE, PATIENCE, Site};

/// A service manager's end of sd_notify(3).
fn manager(path: &Path) -> UnixDatagram {
    let manager = UnixDatagram::bind(path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    manager
}

fn next(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4_096];
    let length = manager.recv(&mut buffer).expect("the gateway tells something");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// The gateway of that site, started by a manager who kills it after a second without a sign of life.
fn start(site: &Site, socket: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(site.path("daemon.log")).unwrap();
    let mut command = Command::new(CREDGATE);
    command.arg("serve").arg("--config").arg(site.config()).env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "1000000");
    command.env_remove("WATCHDOG_PID").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn end(site: &Site, mut child: Child, manager: &UnixDatagram) {
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let mut told = next(manager);
    while told == "WATCHDOG=1" {
        told = next(manager);
    }
    assert_eq!(told, "STOPPING=1\nSTATUS=Stopping");
    assert!(child.wait().unwrap().success(), "{}", site.log());
}

#[cfg(feature = "embedded-broker")]
#[test]
fn systemd_is_told_of_readiness_and_life_and_the_end() {
    let site = Site::embedded();
    site.stop("TERM");
    let socket = site.path("notify");
    let manager = manager(&socket);
    let child = start(&site, &socket);
    let ready = next(&manager);
    assert!(ready.starts_with("READY=1\nSTATUS=Serving devices by the embedded broker on 127.0.0.1:"), "{ready}");
    assert_eq!((next(&manager), next(&manager)), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    end(&site, child, &manager);
}

#[test]
fn systemd_is_told_what_keeps_the_gateway_from_serving() {
    let site = Site::mosquitto();
    site.stop("TERM");
    let text = fs::read_to_string(site.config()).unwrap();
    // Nobody listens on port 1.
    fs::write(site.config(), text.replace(&format!("localhost:{}", site.port()), "localhost:1")).unwrap();
    let socket = site.path("notify");
    let manager = manager(&socket);
    let child = start(&site, &socket);
    // It is ready all the same, a while later: a broker that is away is no reason to start again and again.
    let ready = next(&manager);
    assert!(ready.starts_with("READY=1\nSTATUS=Not serving devices: the link to mqtts://localhost:1 is "), "{ready}");
    end(&site, child, &manager);
}
