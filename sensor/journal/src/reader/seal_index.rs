//! What a reader has to know of the seals: how long each segment was when it was closed, how long it is now, and its lines. It reads
//! what was appended since, and only that.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::SealReader;

/// Size of a segment.
#[derive(Clone, Copy)]
struct Size {
    bytes_when_closed: u64,
    bytes: u64,
    lines: u64,
}

#[derive(Deserialize)]
struct Line {
    seq: u64,
    bytes: u64,
    #[serde(default)]
    lines: u64,
}

pub(super) struct SealIndex {
    seals: SealReader,
    segments: BTreeMap<u64, Size>,
}

impl SealIndex {
    pub(super) fn new(folder: &Path) -> Self {
        Self { seals: SealReader::new(folder, 0, u64::MAX), segments: BTreeMap::new() }
    }

    /// Reads the seals that were added.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        if self.seals.begin_anew_if_shorter()? {
            self.segments.clear();
        }
        let segments = &mut self.segments;
        self.seals.next(usize::MAX, |line| {
            if let Ok(Line { seq, bytes, lines }) = serde_json::from_slice(line) {
                let entry = segments.entry(seq).or_insert(Size { bytes_when_closed: bytes, bytes, lines });
                (entry.bytes, entry.lines) = (bytes, lines);
            }
            Ok(())
        })
    }

    /// Bytes of a closed segment.
    pub(super) fn bytes(&self, seq: u64) -> Option<u64> {
        self.segments.get(&seq).map(|size| size.bytes)
    }

    /// Lines of a closed segment.
    pub(super) fn lines(&self, seq: u64) -> Option<u64> {
        self.segments.get(&seq).map(|size| size.lines)
    }

    /// Whether a reader that stood here had read all of a closed segment.
    pub(super) fn is_read(&self, seq: u64, offset: u64) -> bool {
        self.segments.get(&seq).is_some_and(|size| offset >= size.bytes_when_closed)
    }
}
