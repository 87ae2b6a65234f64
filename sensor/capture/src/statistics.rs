//! What a source reports about its reading.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use super::WARNINGS_MAX;

/// How far the reading is, in bytes of the files on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Bytes read.
    pub bytes_done: u64,
    /// Bytes to read in all; `None` if one of the files is a pipe.
    pub bytes_total: Option<u64>,
}

/// What a source gave and what it had to leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatistics {
    /// Frames given.
    pub frames: u64,
    /// Captured bytes of the frames given.
    pub bytes: u64,
    /// Times of the earliest and the latest frame of capture files, nanoseconds since the Unix epoch.
    pub seen_ns: Option<(u64, u64)>,
    /// Frames that the filter rejected.
    pub frames_filtered: u64,
    /// Frames skipped because the link type of their interface is unsupported, or the interface unknown.
    pub frames_unsupported: u64,
    /// Files that were not read, or not to their end, in the order in which they were met; at most [`WARNINGS_MAX`].
    pub failures: Vec<FileFailure>,
    /// Failures beyond that limit.
    pub failures_left_out: u64,
    /// Files whose reading ended at damaged bytes; at most [`WARNINGS_MAX`]. A warning tells more of each.
    pub files_damaged: Vec<PathBuf>,
    /// Files given.
    pub files: u64,
    /// The reading was stopped before its end.
    pub is_stopped: bool,
    /// What was odd, in the order in which it was met; at most [`WARNINGS_MAX`].
    pub warnings: Vec<Warning>,
    /// Warnings beyond that limit.
    pub warnings_left_out: u64,
}

impl SourceStatistics {
    /// Counts frames given: the time of each, and its captured bytes.
    #[inline]
    pub(super) fn count(&mut self, frames: impl Iterator<Item = (u64, u64)>) {
        let (mut first_ns, mut last_ns) = self.seen_ns.unwrap_or((u64::MAX, 0));
        let (mut count, mut total) = (0, 0);
        for (timestamp_ns, bytes) in frames {
            first_ns = first_ns.min(timestamp_ns);
            last_ns = last_ns.max(timestamp_ns);
            total += bytes;
            count += 1;
        }
        if count > 0 {
            self.seen_ns = Some((first_ns, last_ns));
            self.frames += count;
            self.bytes += total;
        }
    }

    pub(super) fn fail(&mut self, failure: FileFailure) {
        if self.failures.len() < WARNINGS_MAX {
            self.failures.push(failure);
        } else {
            self.failures_left_out += 1;
        }
    }

    pub(super) fn warn(&mut self, warning: Warning) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning);
        } else {
            self.warnings_left_out += 1;
        }
    }
}

/// Why one of several files was not read, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFailure {
    /// Which file.
    pub file: PathBuf,
    /// What is wrong, with the file's name.
    pub message: String,
    /// The system did not give the file; otherwise its contents are wrong.
    pub is_unavailable: bool,
}

/// Something odd in a capture that did not keep the rest from being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// In which file.
    pub file: PathBuf,
    /// Where in the file, in bytes; for a compressed file in bytes of its contents.
    pub offset: u64,
    /// What was odd and what was done about it.
    pub message: Cow<'static, str>,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: at byte {}: {}", self.file.display(), self.offset, self.message)
    }
}
