//! What is known of the live segment: its seal, but for the end.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::json;
use crate::seal::Seal;
use crate::segment::{self, TIME_BYTES, time_of};
use crate::sha256::Sha256;

/// The lines of a segment so far.
pub(super) struct Live {
    seq: u64,
    lines: u64,
    bytes: u64,
    hash: Sha256,
    first: Option<[u8; TIME_BYTES]>,
    last: Option<[u8; TIME_BYTES]>,
    began: Option<Instant>,
}

impl Live {
    /// An empty segment.
    pub(super) fn new(seq: u64) -> Self {
        Self { seq, lines: 0, bytes: 0, hash: Sha256::new(), first: None, last: None, began: None }
    }

    /// A segment of which the plain file is there.
    pub(super) fn read(folder: &Path, seq: u64) -> io::Result<Self> {
        Self::of(seq, File::open(segment::plain_path(folder, seq))?)
    }

    /// A segment with these plain lines.
    pub(super) fn of(seq: u64, lines: impl io::Read) -> io::Result<Self> {
        let mut live = Self::new(seq);
        segment::each_line(lines, |line| {
            live.add(line);
            Ok(())
        })?;
        Ok(live)
    }

    /// Takes in whole lines that were written.
    pub(super) fn add(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        self.began.get_or_insert_with(Instant::now);
        self.bytes += lines.len() as u64;
        self.hash.update(lines);
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            self.lines += 1;
            if let Some(time) = lines.get(begin..end).and_then(time_of) {
                if self.first.is_none_or(|first| *time < first) {
                    self.first = Some(*time);
                }
                if self.last.is_none_or(|last| *time > last) {
                    self.last = Some(*time);
                }
            }
            begin = end + 1;
        }
    }

    /// The seal. Where no line has a time, that of the clock stands for it.
    pub(super) fn seal(&self) -> Seal {
        let text = |time: Option<[u8; TIME_BYTES]>| {
            time.map_or_else(
                || text_of(SystemTime::now(), Duration::ZERO),
                |time| String::from_utf8_lossy(&time).into_owned(),
            )
        };
        Seal {
            seq: self.seq,
            first: text(self.first),
            last: text(self.last),
            lines: self.lines,
            bytes: self.bytes,
            sha256: self.hash.clone().hex(),
            ..Seal::default()
        }
    }

    pub(super) const fn seq(&self) -> u64 {
        self.seq
    }

    pub(super) const fn lines(&self) -> u64 {
        self.lines
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How long ago its first line was written, or found at the start.
    pub(super) fn age(&self) -> Option<Duration> {
        self.began.map(|began| began.elapsed())
    }
}

/// The time so long before `now`, as events have it.
pub(super) fn text_of(now: SystemTime, ago: Duration) -> String {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = Vec::new();
    json::timestamp(&mut text, now.saturating_sub(ago).as_nanos() as u64);
    String::from_utf8(text).unwrap_or_default()
}
