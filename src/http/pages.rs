//! What there is to see.

use std::path::PathBuf;
use std::sync::Arc;

use super::exposition;
use super::health::{Health, Issue, Report};
use super::response::{Response, Status};
use crate::admin::{Administrator, Answer, Command};
use crate::clock::UnixTime;

/// The pages of one gateway.
pub struct Pages {
    administrator: Arc<Administrator>,
    health: Health,
}

impl Pages {
    /// Pages about these. `issue` tries whether a device could have a token; `built_at` is a time that is certainly past.
    #[must_use]
    pub fn new(issue: Issue, administrator: Arc<Administrator>, control_socket: PathBuf, built_at: UnixTime) -> Self {
        Self { administrator: administrator.clone(), health: Health::new(issue, administrator, control_socket, built_at) }
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        match path {
            "/metrics" => self.metrics().await,
            "/healthz" => of(&self.health.alive().await),
            "/readyz" => of(&self.health.ready().await),
            _ => Response::text(Status::NotFound, "there is /metrics, /healthz and /readyz"),
        }
    }

    async fn metrics(&self) -> Response {
        let ready = self.health.ready().await.is_good();
        let administrator = self.administrator.clone();
        match tokio::task::spawn_blocking(move || administrator.execute(Command::Metrics { recent: 0 })).await {
            Ok(Ok(Answer::Metrics(metrics))) => Response::metrics(exposition::text(&metrics, ready)),
            Ok(Err(error)) => Response::text(Status::ServiceUnavailable, error.to_string()),
            _ => Response::text(Status::InternalServerError, "the metrics are not to be had; see the log"),
        }
    }
}

fn of(report: &Report) -> Response {
    Response::json(if report.is_good() { Status::Ok } else { Status::ServiceUnavailable }, report)
}
