//! How far something has come that takes more than a moment, for whoever looks at a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What takes less is not told of.
const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(100);
/// Characters of the bar.
const WIDTH: usize = 30;

/// A line at the bottom of the terminal that says what is done and how far it has come. Nothing elsewhere.
pub(super) struct Progress {
    state: Arc<State>,
    drawing: Option<(SyncSender<()>, JoinHandle<()>)>,
}

struct State {
    /// What is done now, and since when; nothing while results are printed.
    phase: Mutex<Option<(&'static str, Instant)>>,
    done: AtomicUsize,
    /// 0 if it is not known.
    total: AtomicUsize,
}

impl Progress {
    /// Shows what follows, if `wanted` and there is a terminal.
    pub(super) fn new(wanted: bool) -> Self {
        let state = Arc::new(State { phase: Mutex::default(), done: AtomicUsize::new(0), total: AtomicUsize::new(0) });
        let drawing = (wanted && io::stderr().is_terminal()).then(|| {
            let (end, ended) = sync_channel(1);
            let drawn = state.clone();
            let thread = std::thread::spawn(move || {
                let begun = Instant::now();
                while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    if begun.elapsed() >= PATIENCE {
                        drawn.draw();
                    }
                }
            });
            (end, thread)
        });
        Self { state, drawing }
    }

    /// Something else is done from now on; `total` is 0 if nobody knows how much it is.
    pub(super) fn phase(&self, what: &'static str, total: usize) {
        self.state.done.store(0, Ordering::Relaxed);
        self.state.total.store(total, Ordering::Relaxed);
        *self.state.phase.lock().unwrap_or_else(PoisonError::into_inner) = Some((what, Instant::now()));
    }

    /// So much of it is done.
    pub(super) fn set(&self, done: usize) {
        self.state.done.store(done, Ordering::Relaxed);
    }

    /// Gives the line back for something else, until the next phase.
    pub(super) fn clear(&self) {
        let mut phase = self.state.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if phase.take().is_some() && self.drawing.is_some() {
            // Nobody is left to be told if stderr is gone.
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
        if let Some((end, thread)) = self.drawing.take() {
            drop(end);
            // It only drew.
            let _ = thread.join();
        }
    }
}

impl State {
    fn draw(&self) {
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((what, since)) = *phase {
            let line = line(what, self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed), since.elapsed().as_secs());
            let _ = io::stderr().write_all(format!("\r\x1b[K{line}").as_bytes());
        }
    }
}

fn line(what: &str, done: usize, total: usize, seconds: u64) -> String {
    match (done, total) {
        (0, 0) => format!("{what} ({seconds} s)"),
        (_, 0) => format!("{what}: {done}"),
        _ => {
            let filled = done.saturating_mul(WIDTH).checked_div(total).unwrap_or(WIDTH).min(WIDTH);
            format!("{what} [{}{}] {done} of {total}", "#".repeat(filled), ".".repeat(WIDTH.saturating_sub(filled)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_as_much_as_is_known() {
        assert_eq!(line("writing", 0, 0, 7), "writing (7 s)");
        assert_eq!(line("reading", 9, 0, 7), "reading: 9");
        assert_eq!(line("sending", 50, 100, 7), format!("sending [{}{}] 50 of 100", "#".repeat(15), ".".repeat(15)));
        assert_eq!(line("sending", 200, 100, 7), format!("sending [{}] 200 of 100", "#".repeat(30)));
    }

    #[test]
    fn nothing_is_drawn_without_a_terminal() {
        let progress = Progress::new(false);
        progress.phase("x", 1);
        assert!(progress.drawing.is_none());
    }
}
