//! `credgate status`.

use std::path::Path;

use serde::Serialize;

use super::connect::control_socket;
use super::error::unexpected;
use super::output::Output;
use super::table::fields;
use super::{CliError, Exit, Global};
use crate::admin::{Answer, CallError, Command, DaemonStatus, call};
use crate::mqtt::CountersSnapshot;

/// What is printed if nobody answers.
#[derive(Serialize)]
struct NotRunning<'a> {
    running: bool,
    control_socket: &'a Path,
}

pub(super) fn run(global: &Global, output: &Output) -> Result<Exit, CliError> {
    let socket = control_socket(global)?;
    match call(&socket, &Command::Status) {
        Ok(Answer::Status(status)) => {
            output.print(&status, || text(&status))?;
            Ok(Exit::Ok)
        }
        Ok(other) => Err(unexpected(&other)),
        Err(CallError::NotRunning { .. }) => {
            let document = NotRunning { running: false, control_socket: &socket };
            output.print(&document, || format!("credgate is not running (nobody listens on {})\n", socket.display()))?;
            Ok(Exit::NotRunning)
        }
        Err(error) => Err(error.into()),
    }
}

fn text(status: &DaemonStatus) -> String {
    let since = status.started_at.map(|start| format!(" since {start}")).unwrap_or_default();
    let mut shown = vec![
        ("State", format!("running{since}, version {}, process {}", status.version, status.pid)),
        ("Issuer", status.issuer.clone()),
        ("Registry", format!("{} clients, {} resource servers, {} scopes", status.clients, status.resource_servers, status.scopes)),
    ];
    match &status.broker {
        Some(link) => {
            shown.push(("Broker", format!("{}, {}", link.url, link.state)));
            shown.push(("  Requests", counters(&link.counters)));
        }
        None => shown.push(("Broker", "none configured".to_owned())),
    }
    match &status.embedded_broker {
        Some(listener) => {
            shown.push(("Embedded broker", format!("listens on {}", listener.addresses.join(", "))));
            shown.push(("  Requests", counters(&listener.counters)));
        }
        None => shown.push(("Embedded broker", "off".to_owned())),
    }
    fields(&shown)
}

fn counters(counters: &CountersSnapshot) -> String {
    let CountersSnapshot { accepted, rejected, overloaded, shed, ignored, connections } = counters;
    format!(
        "{accepted} accepted, {rejected} rejected ({overloaded} for overload), {shed} shed, {ignored} ignored; {connections} connections"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{LinkStatus, ListenerStatus};

    #[test]
    fn people_are_told_the_state_of_every_link() {
        let mut status = DaemonStatus { version: "1.2.3".into(), pid: 42, ..DaemonStatus::default() };
        let bare = text(&status);
        assert!(bare.contains("process 42") && bare.contains("none configured") && bare.contains("off\n"), "{bare}");
        let counters = CountersSnapshot { accepted: 7, ..CountersSnapshot::default() };
        status.broker = Some(LinkStatus { url: "mqtts://b".into(), state: "down: refused".into(), counters });
        status.embedded_broker = Some(ListenerStatus { addresses: vec!["[::]:8883".into(), "x".into()], counters });
        let full = text(&status);
        assert!(
            full.contains("mqtts://b, down: refused") && full.contains("[::]:8883, x") && full.matches("7 accepted").count() == 2,
            "{full}"
        );
    }
}
