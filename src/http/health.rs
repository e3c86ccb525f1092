//! Whether the gateway lives, and whether it is of use.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::admin::{Administrator, Answer, Command, DaemonStatus, exchange};
use crate::clock::UnixTime;
use crate::endpoint::Engine;
use crate::token::TokenEntropy;

/// A check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);
/// Seconds by which the clock that dated the sources may have been ahead.
const SLACK: u64 = 86_400;

/// What is looked at.
pub(super) struct Health {
    engine: Arc<Engine>,
    administrator: Arc<Administrator>,
    control_socket: PathBuf,
    built_at: UnixTime,
    /// One look at a time: one that is stuck takes no more than one thread.
    looking: Arc<Mutex<()>>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    status: &'static str,
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Check {
    fn of(check: &'static str, outcome: Result<(), String>) -> Self {
        Self { check, ok: outcome.is_ok(), problem: outcome.err() }
    }
}

impl Report {
    fn of(good: &'static str, checks: Vec<Check>) -> Self {
        let status = if checks.iter().all(|check| check.ok) { good } else { "failing" };
        Self { status, checks }
    }

    pub(super) fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

impl Health {
    pub(super) fn new(engine: Arc<Engine>, administrator: Arc<Administrator>, control_socket: PathBuf, built_at: UnixTime) -> Self {
        Self { engine, administrator, control_socket, built_at, looking: Arc::default() }
    }

    /// Whether the process does its work: an operator's command is answered.
    pub(super) async fn alive(&self) -> Report {
        let asked = timeout(PATIENCE, exchange(&self.control_socket, &Command::Status)).await;
        let outcome = match asked {
            Ok(answer) => answer.map(|_| ()).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer on the control socket within {} seconds", PATIENCE.as_secs())),
        };
        Report::of("alive", vec![Check::of("control", outcome)])
    }

    /// Whether a device can have a token now.
    pub(super) async fn ready(&self) -> Report {
        let (engine, administrator, built_at, looking) =
            (self.engine.clone(), self.administrator.clone(), self.built_at, self.looking.clone());
        let look = async move {
            let looking = looking.lock_owned().await;
            spawn_blocking(move || {
                let _looking = looking;
                look(&engine, &administrator, built_at)
            })
            .await
        };
        match timeout(PATIENCE, look).await {
            Ok(Ok(checks)) => Report::of("ready", checks),
            Ok(Err(_)) => Report::of("ready", vec![Check::of("token", Err("the check failed in an unforeseen way; see the log".into()))]),
            Err(_) => {
                let problem = format!("the engine and the registry did not answer within {} seconds", PATIENCE.as_secs());
                Report::of("ready", vec![Check::of("token", Err(problem))])
            }
        }
    }
}

fn look(engine: &Engine, administrator: &Administrator, built_at: UnixTime) -> Vec<Check> {
    let now = UnixTime::from(SystemTime::now());
    let links = match administrator.execute(Command::Status) {
        Ok(Answer::Status(status)) => serving(&status),
        Ok(_) => Err("the status is not to be had".into()),
        Err(error) => Err(error.to_string()),
    };
    vec![Check::of("token", issue(engine, now)), Check::of("links", links), Check::of("clock", clock(now, built_at))]
}

fn issue(engine: &Engine, now: UnixTime) -> Result<(), String> {
    let (mut secret, mut entropy) = (Zeroizing::new([0; 32]), TokenEntropy::default());
    getrandom::fill(secret.as_mut_slice())
        .and_then(|()| getrandom::fill(&mut entropy))
        .map_err(|error| format!("the system gives no random bytes: {error}"))?;
    engine.probe(&secret, entropy, now).map_err(|fault| match std::error::Error::source(&fault) {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    })
}

/// One way for devices is enough.
fn serving(status: &DaemonStatus) -> Result<(), String> {
    let embedded = status.embedded_broker.as_ref().map(|listener| match listener.serving {
        true => Ok(()),
        false => Err("the embedded broker takes no connections".to_owned()),
    });
    let broker = status.broker.as_ref().map(|link| match (link.state.as_str(), &link.reason) {
        ("up", _) => Ok(()),
        (state, Some(reason)) => Err(format!("the link to {} is {state}: {reason}", link.url)),
        (state, None) => Err(format!("the link to {} is {state}", link.url)),
    });
    let links: Vec<Result<(), String>> = embedded.into_iter().chain(broker).collect();
    if links.iter().any(Result::is_ok) {
        return Ok(());
    }
    let faults: Vec<String> = links.into_iter().filter_map(Result::err).collect();
    Err(if faults.is_empty() { "there is no link to any broker".into() } else { faults.join("; ") })
}

fn clock(now: UnixTime, built_at: UnixTime) -> Result<(), String> {
    if now.saturating_add(SLACK) >= built_at {
        return Ok(());
    }
    Err(format!(
        "the clock shows {now}, but this program was made on {built_at}: everybody with a right clock takes tokens of now for expired"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{LinkStatus, ListenerStatus};

    fn link(state: &str, reason: Option<&str>) -> Option<LinkStatus> {
        Some(LinkStatus { url: "mqtts://b".into(), state: state.into(), reason: reason.map(str::to_owned), ..LinkStatus::default() })
    }

    fn listener(serving: bool) -> Option<ListenerStatus> {
        Some(ListenerStatus { serving, ..ListenerStatus::default() })
    }

    #[test]
    fn one_link_that_serves_is_enough() {
        let of = |broker, embedded_broker| serving(&DaemonStatus { broker, embedded_broker, ..DaemonStatus::default() });
        assert_eq!(of(link("up", None), None), Ok(()));
        assert_eq!(of(None, listener(true)), Ok(()));
        assert_eq!(of(link("down", Some("refused")), listener(true)), Ok(()));
        assert_eq!(of(link("up", None), listener(false)), Ok(()));
    }

    #[test]
    fn deny_without_a_link_that_serves() {
        let of = |broker, embedded_broker| serving(&DaemonStatus { broker, embedded_broker, ..DaemonStatus::default() }).unwrap_err();
        assert_eq!(of(None, None), "there is no link to any broker");
        assert_eq!(of(link("connecting", None), None), "the link to mqtts://b is connecting");
        assert_eq!(
            of(link("down", Some("refused")), listener(false)),
            "the embedded broker takes no connections; the link to mqtts://b is down: refused"
        );
    }

    #[test]
    fn deny_with_a_clock_before_the_program() {
        let built_at = UnixTime::from_secs(1_795_383_984);
        assert_eq!(clock(built_at, built_at), Ok(()));
        assert_eq!(clock(UnixTime::from_secs(1_795_383_984 - SLACK), built_at), Ok(()));
        let problem = clock(UnixTime::from_secs(7), built_at).unwrap_err();
        assert!(problem.contains("1970-01-01") && problem.contains("2026-11-22"), "{problem}");
    }
}
