//! How far the projection is: what pages say of it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use vigie_journal::JournalReader;

/// Pages in a row that cannot read the tables, after which these are made anew, whatever the reason is.
const UNREADABLE_MAX: u32 = 10;
/// Not sooner than so long after they were opened.
const UNREADABLE_TIME: Duration = Duration::from_secs(3);

/// Counts of the projection, since the program started.
#[derive(Debug, Default)]
pub struct Progress {
    /// Lines that were read.
    pub lines: AtomicU64,
    /// Lines that are no events.
    pub lines_unread: AtomicU64,
    /// Segments that were gone before they were read.
    pub segments_lost: AtomicU64,
    /// How often the tables were opened: readers open them anew.
    pub generation: AtomicU64,
    /// A page found the tables damaged.
    is_damaged: AtomicBool,
    /// Pages in a row that could not read the tables.
    unreadable: AtomicU32,
    bytes_left: AtomicU64,
    is_current: AtomicBool,
    last: Mutex<Last>,
}

#[derive(Clone, Debug, Default)]
struct Last {
    event: Option<String>,
    error: Option<String>,
    opened: Option<Instant>,
}

/// How far it is at the moment.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Everything that was written is in the tables.
    pub is_current: bool,
    /// Bytes of the sensor's journal that are not.
    pub bytes_left: u64,
    /// Lines that were read since the start.
    pub lines: u64,
    /// Time of the newest event that was read, as it is written.
    pub last_event: Option<String>,
    /// Why it does not go on.
    pub error: Option<String>,
}

impl Progress {
    /// How far it is.
    pub fn reading(&self) -> Reading {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Reading {
            is_current: self.is_current.load(Relaxed),
            bytes_left: self.bytes_left.load(Relaxed),
            lines: self.lines.load(Relaxed),
            last_event: last.event,
            error: last.error,
        }
    }

    /// Has the tables made anew: a page found them damaged.
    pub fn damaged(&self) {
        self.is_damaged.store(true, Relaxed);
    }

    /// A page could read the tables, or not, though they are not known to be damaged.
    pub fn was_read(&self, is_read: bool) {
        if is_read {
            if self.unreadable.load(Relaxed) != 0 {
                self.unreadable.store(0, Relaxed);
            }
            return;
        }
        let opened = self.last.lock().unwrap_or_else(PoisonError::into_inner).opened;
        let is_open = opened.is_some_and(|opened| opened.elapsed() >= UNREADABLE_TIME);
        if self.unreadable.fetch_add(1, Relaxed) >= UNREADABLE_MAX && is_open {
            self.damaged();
        }
    }

    /// Whether a page found the tables damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Relaxed)
    }

    pub(super) fn opened(&self) {
        self.is_damaged.store(false, Relaxed);
        self.unreadable.store(0, Relaxed);
        self.generation.fetch_add(1, Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (last.error, last.opened) = (None, Some(Instant::now()));
    }

    pub(super) fn at(&self, reader: &JournalReader, is_at_end: bool) {
        if is_at_end && self.is_current.load(Relaxed) && self.bytes_left.load(Relaxed) == 0 {
            // Nothing new: to ask how much is left costs a look at the folder.
            if self.last.lock().unwrap_or_else(PoisonError::into_inner).event.is_some() {
                return;
            }
        }
        let lag = reader.lag();
        self.bytes_left.store(lag.bytes, Relaxed);
        self.is_current.store(is_at_end, Relaxed);
        if lag.timestamp.is_some() {
            self.last.lock().unwrap_or_else(PoisonError::into_inner).event = lag.timestamp;
        }
    }

    pub(super) fn failed(&self, error: &str) {
        self.is_current.store(false, Relaxed);
        self.last.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_no_page_can_read_are_made_anew() {
        let progress = Progress::default();
        let fail = |times| (0..times).for_each(|_| progress.was_read(false));
        let open_before = |age: Duration| {
            progress.opened();
            progress.last.lock().unwrap().opened = Instant::now().checked_sub(age);
        };
        open_before(Duration::ZERO);
        fail(100);
        assert!(!progress.is_damaged(), "they were opened just now");
        open_before(UNREADABLE_TIME);
        fail(UNREADABLE_MAX);
        progress.was_read(true);
        fail(UNREADABLE_MAX);
        assert!(!progress.is_damaged(), "a page read them in between");
        fail(1);
        assert!(progress.is_damaged());
        progress.opened();
        assert!(!progress.is_damaged());
    }
}
