//! When credentials were last used: written now and then, and at a clean stop.

use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use crate::registry::Registry;

/// Writes every `interval` seconds, for ever; never if that is 0.
pub(super) async fn keep(registry: Arc<Registry>, interval: u32) {
    if interval == 0 {
        return;
    }
    loop {
        tokio::time::sleep(Duration::from_secs(interval.into())).await;
        keep_once(registry.clone()).await;
    }
}

/// Writes what has changed. What cannot be written is kept for the next time.
pub(super) async fn keep_once(registry: Arc<Registry>) {
    // It fails only when the runtime ends.
    if let Ok(Err(failure)) = tokio::task::spawn_blocking(move || registry.keep_usage()).await {
        error!(code = failure.code(), error = %failure, "it cannot be written when credentials were last used");
    }
}
