//! Counts of a journal that metrics show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use AtomicU64 as Count;
const ORDER: Ordering = Ordering::Relaxed;

/// Counts of a journal, written by its threads and read by any.
#[derive(Debug, Default)]
pub struct JournalStatus {
    segments: Count,
    closed_bytes: Count,
    live_bytes: Count,
    seals: Count,
    last_seal_s: Count,
    compressed: Count,
    lines_expired: Count,
    segments_expired: Count,
    segments_over_bytes_max: Count,
    segments_deleted: Count,
    failures: Count,
    failure: Mutex<Option<String>>,
}

impl JournalStatus {
    /// Segments in the folder, the live one included.
    pub fn segments(&self) -> u64 {
        self.segments.load(ORDER)
    }

    /// Bytes of all segments on the disk.
    pub fn bytes(&self) -> u64 {
        self.closed_bytes.load(ORDER) + self.live_bytes.load(ORDER)
    }

    /// Seals in the chain.
    pub fn seals(&self) -> u64 {
        self.seals.load(ORDER)
    }

    /// When the last seal of this run was made, in seconds since the Unix epoch; 0 before.
    pub fn last_seal_s(&self) -> u64 {
        self.last_seal_s.load(ORDER)
    }

    /// Segments that were compressed.
    pub fn compressed(&self) -> u64 {
        self.compressed.load(ORDER)
    }

    /// Lines that were removed since they were older than `alerts_days`.
    pub fn lines_expired(&self) -> u64 {
        self.lines_expired.load(ORDER)
    }

    /// Segments that were removed since they were older than `incidents_days`.
    pub fn segments_expired(&self) -> u64 {
        self.segments_expired.load(ORDER)
    }

    /// Segments that were removed since all together had more than `bytes_max`.
    pub fn segments_over_bytes_max(&self) -> u64 {
        self.segments_over_bytes_max.load(ORDER)
    }

    /// Live segments that somebody else deleted.
    pub fn segments_deleted(&self) -> u64 {
        self.segments_deleted.load(ORDER)
    }

    /// How often a closed segment could not be compressed or removed.
    pub fn failures(&self) -> u64 {
        self.failures.load(ORDER)
    }

    /// The last failure, if there was one since the last call.
    pub fn take_failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn sealed(&self, count: u64) {
        let before = self.seals.swap(count, ORDER);
        if before > 0 || count == 1 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.last_seal_s.store(now.as_secs(), ORDER);
        }
    }

    pub(super) fn live(&self, bytes: u64) {
        self.live_bytes.store(bytes, ORDER);
    }

    pub(super) fn stored(&self, segments: u64, closed_bytes: u64) {
        self.segments.store(segments, ORDER);
        self.closed_bytes.store(closed_bytes, ORDER);
    }

    pub(super) fn compressed_one(&self) {
        self.compressed.fetch_add(1, ORDER);
    }

    pub(super) fn expired_lines(&self, lines: u64) {
        self.lines_expired.fetch_add(lines, ORDER);
    }

    pub(super) fn expired_segment(&self) {
        self.segments_expired.fetch_add(1, ORDER);
    }

    pub(super) fn over_bytes_max(&self) {
        self.segments_over_bytes_max.fetch_add(1, ORDER);
    }

    pub(super) fn deleted(&self) {
        self.segments_deleted.fetch_add(1, ORDER);
    }

    pub(super) fn failed(&self, what: String) {
        self.failures.fetch_add(1, ORDER);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }
}
