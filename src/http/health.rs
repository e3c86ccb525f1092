//! Whether the gateway lives, and whether it is of use.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::admin::{Administrator, Answer, ClockStatus, Command, exchange};
use crate::clock::UnixTime;

/// A check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);
/// Seconds by which the clock that dated the sources may have been ahead.
const SLACK: u64 = 86_400;

/// Tries whether a device could have a token now, and tells people why not.
pub type Issue = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What is looked at.
pub(super) struct Health {
    issue: Issue,
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
    pub(super) fn new(issue: Issue, administrator: Arc<Administrator>, control_socket: PathBuf, built_at: UnixTime) -> Self {
        Self { issue, administrator, control_socket, built_at, looking: Arc::default() }
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
        let (issue, administrator, built_at, looking) =
            (self.issue.clone(), self.administrator.clone(), self.built_at, self.looking.clone());
        let look = async move {
            let looking = looking.lock_owned().await;
            spawn_blocking(move || {
                let _looking = looking;
                look(&issue, &administrator, built_at)
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

fn look(issue: &Issue, administrator: &Administrator, built_at: UnixTime) -> Vec<Check> {
    let now = UnixTime::from(SystemTime::now());
    let (links, trust) = match administrator.execute(Command::Status) {
        Ok(Answer::Status(status)) => (status.serving().map(drop), status.clock.map_or(Ok(()), trusted)),
        Ok(_) => (Err("the status is not to be had".into()), Ok(())),
        Err(error) => (Err(error.to_string()), Ok(())),
    };
    vec![Check::of("token", issue()), Check::of("links", links), Check::of("clock", clock(now, built_at).and(trust))]
}

fn trusted(clock: ClockStatus) -> Result<(), String> {
    if clock.issues {
        return Ok(());
    }
    Err(format!("the clock is {}, and tokens are refused while it is (`[clock]` in the configuration)", clock.confidence.as_str()))
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

    #[test]
    fn deny_with_a_clock_before_the_program() {
        let built_at = UnixTime::from_secs(1_795_383_984);
        assert_eq!(clock(built_at, built_at), Ok(()));
        assert_eq!(clock(UnixTime::from_secs(1_795_383_984 - SLACK), built_at), Ok(()));
        let problem = clock(UnixTime::from_secs(7), built_at).unwrap_err();
        assert!(problem.contains("1970-01-01") && problem.contains("2026-11-22"), "{problem}");
    }
}
