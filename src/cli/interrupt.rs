//! Ctrl-C where it must not end the process in the middle of something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{CliError, Exit};
use crate::daemon::Signals;

/// Counts SIGINT and SIGTERM, which end the process no more.
pub(super) struct Interrupt(Arc<AtomicU32>);

impl Interrupt {
    /// Takes the signals from now on.
    pub(super) fn listen() -> Result<Self, CliError> {
        let failed = |error: std::io::Error| CliError::new(Exit::Software, "runtime", "signals cannot be awaited").because(&error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let mut signals = {
            let _entered = runtime.enter();
            Signals::new().map_err(failed)?
        };
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    signals.recv().await;
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            });
        });
        Ok(Self(count))
    }

    /// How often it was asked to end.
    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Refuses to go on once it was asked to end.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if self.count() == 0 { Ok(()) } else { Err(interrupted()) }
    }
}

/// It was asked to end before anything was different.
pub(super) fn interrupted() -> CliError {
    CliError::new(Exit::Interrupted, "interrupted", "interrupted; nothing was changed")
}
