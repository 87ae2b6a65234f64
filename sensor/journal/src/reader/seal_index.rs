//! What a reader has to know of the seals: how long each segment was when it was closed, and how long it is now. It reads what
//! was appended since, and only that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::seal;

/// Bytes of a segment.
#[derive(Clone, Copy)]
struct Bytes {
    when_closed: u64,
    now: u64,
}

#[derive(Deserialize)]
struct Line {
    seq: u64,
    bytes: u64,
}

pub(super) struct SealIndex {
    path: PathBuf,
    read_bytes: u64,
    segments: BTreeMap<u64, Bytes>,
}

impl SealIndex {
    pub(super) fn new(folder: &Path) -> Self {
        Self { path: folder.join(seal::FILE), read_bytes: 0, segments: BTreeMap::new() }
    }

    /// Reads the seals that were added.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        let length = match self.path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            found => found?.len(),
        };
        if length == self.read_bytes {
            return Ok(());
        }
        if length < self.read_bytes {
            self.read_bytes = 0;
            self.segments.clear();
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read_bytes))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            self.read_bytes += line.len() as u64;
            if let Ok(Line { seq, bytes }) = serde_json::from_slice(&line) {
                let entry = self.segments.entry(seq).or_insert(Bytes { when_closed: bytes, now: bytes });
                entry.now = bytes;
            }
            line.clear();
        }
        Ok(())
    }

    /// Bytes of a closed segment.
    pub(super) fn bytes(&self, seq: u64) -> Option<u64> {
        self.segments.get(&seq).map(|bytes| bytes.now)
    }

    /// Whether a reader that stood here had read all of a closed segment.
    pub(super) fn is_read(&self, seq: u64, offset: u64) -> bool {
        self.segments.get(&seq).is_some_and(|bytes| offset >= bytes.when_closed)
    }
}
