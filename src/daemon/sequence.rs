//! The sequence numbers of tokens that live from when they are first seen (RFC 9200 section 5.10.3): reserved on the disk in batches, so that none comes
//! twice whatever happens, and none is written for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::error;

use crate::clock::UnixTime;
use crate::registry::write_private;
use crate::token::SequenceSource;

/// Numbers in a batch; those that are left when the gateway ends are never used.
const BATCH: u64 = 1_000;
/// The file in the state directory.
const FILE: &str = "exi-sequence";

/// What is left of the numbers that were reserved.
pub(super) struct Reserved {
    directory: PathBuf,
    state: Mutex<State>,
}

struct State {
    next: u64,
    /// Those below are reserved.
    end: u64,
    /// Somebody is reserving more.
    is_reserving: bool,
}

impl Reserved {
    /// Reserves the first batch. A directory without the file, as after a restore, begins with the time, of which there is more than of tokens.
    ///
    /// # Errors
    /// If the file cannot be read, is none, or cannot be written.
    pub(super) fn open(state_directory: &Path, now: UnixTime) -> io::Result<Arc<Self>> {
        let next = match fs::read_to_string(state_directory.join(FILE)) {
            Ok(text) => text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it holds no number"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => now.as_secs(),
            Err(error) => return Err(error),
        };
        let end = next.saturating_add(BATCH);
        reserve(state_directory, end)?;
        Ok(Arc::new(Self { directory: state_directory.to_owned(), state: Mutex::new(State { next, end, is_reserving: false }) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve_more(&self, end: u64) {
        match reserve(&self.directory, end) {
            Ok(()) => self.state().end = end,
            Err(error) => {
                error!(path = %self.directory.join(FILE).display(), %error, "no more sequence numbers can be reserved: tokens that live from their first sight end")
            }
        }
        self.state().is_reserving = false;
    }
}

/// The way of the engine to them.
pub(super) struct Numbers(pub(super) Arc<Reserved>);

impl SequenceSource for Numbers {
    fn next(&self) -> Option<u64> {
        let mut state = self.0.state();
        let left = state.end.saturating_sub(state.next);
        if left < BATCH / 2 && !state.is_reserving {
            state.is_reserving = true;
            let (reserved, end) = (self.0.clone(), state.end.saturating_add(BATCH));
            // Not by whoever asks for a token; it ends at once. Without a thread it is tried again for the next token.
            let spawned = std::thread::Builder::new().name("sequence".to_owned()).spawn(move || reserved.reserve_more(end));
            state.is_reserving = spawned.is_ok();
        }
        let number = state.next;
        (left > 0).then(|| {
            state.next = number.saturating_add(1);
            number
        })
    }
}

/// Durably: the new number whole, or the one before.
fn reserve(state_directory: &Path, end: u64) -> io::Result<()> {
    write_private(state_directory, FILE, format!("{end}\n").as_bytes()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);

    #[test]
    fn no_number_comes_twice_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let mut last = 0;
        for _ in 0..3 {
            let numbers = Numbers(Reserved::open(directory.path(), NOW).unwrap());
            for _ in 0..10_000 {
                // The thread that reserves may need a moment.
                let number = std::iter::repeat_with(|| numbers.next()).inspect(|_| std::thread::yield_now()).flatten().next().unwrap();
                assert!(number > last, "{number} after {last}");
                last = number;
            }
        }
        assert!(last >= NOW.as_secs() + 30_000);
        fs::write(directory.path().join(FILE), "rubbish").unwrap();
        assert_eq!(Reserved::open(directory.path(), NOW).map(drop).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn without_a_disk_the_numbers_end() {
        let directory = tempfile::tempdir().unwrap();
        let numbers = Numbers(Reserved::open(directory.path(), NOW).unwrap());
        drop(directory);
        let count = std::iter::repeat_with(|| numbers.next()).take(5_000).flatten().count();
        assert_eq!(count, 1_000);
    }
}
