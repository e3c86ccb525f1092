//! Revocation lists: published again when a client has revoked a token, and shortened when revoked tokens have expired.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::error;

use super::Links;
use super::timekeeping::HostClock;
use crate::clock::UnixTime;
use crate::registry::Registry;

/// The least time between two publications: however many tokens clients revoke, brokers and resource servers have rest.
const REST: Duration = Duration::from_millis(500);
/// How often what has expired is forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(3_600);

/// Publishes the lists at most that long after a client has revoked a token, for ever. What operators revoke is published at once.
pub(super) fn publish(registry: Arc<Registry>, links: Arc<Links>, clock: Arc<HostClock>) -> JoinHandle<()> {
    let revoked = Arc::new(Notify::new());
    let notified = revoked.clone();
    registry.on_revocation(Box::new(move || revoked.notify_one()));
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(HOUSEKEEPING);
        loop {
            tokio::select! {
                _ = interval.tick() => forget(registry.clone(), clock.settled()).await,
                () = notified.notified() => {}
            }
            links.announce_lists();
            tokio::time::sleep(REST).await;
        }
    })
}

/// `now` must have come for certain: a clock that is ahead would have what is still void forgotten.
async fn forget(registry: Arc<Registry>, now: UnixTime) {
    // It fails only when the runtime ends.
    if let Ok(Err(failure)) = tokio::task::spawn_blocking(move || registry.forget_revocations(now)).await {
        error!(code = failure.code(), error = %failure, "what was revoked and has expired cannot be forgotten");
    }
}
