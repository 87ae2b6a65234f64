//! The part of a capture's bytes that a format can look at: a buffer on a file that is being read and may be compressed.
//!
//! Files are read, not mapped into memory. The buffer fits the processor's cache; for a file in the page cache that takes
//! less time than the page faults and cache misses of a mapping.
//!
//! When several workers take turns on one file, the worker that had its turn reads ahead for the next with a
//! [`ReadAhead`].

mod buffer;
mod read_ahead;
mod stream;

use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use self::buffer::Buffer;
use self::read_ahead::{AHEAD_BYTES, SharedFile, lock};
use self::stream::Stream;

pub use self::read_ahead::ReadAhead;

/// Bytes of the buffer at first. The buffer grows only while a single record needs more than all of it.
const BUFFER_BYTES: usize = 256 << 10;

/// The outcome of an attempt to get more bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    More,
    End,
    /// The file ends before the length that it had when it was opened.
    Cut,
    /// The compressed stream ends early or is damaged.
    Broken(String),
}

/// The bytes of a file that were read and not yet consumed, and the way to get more.
#[derive(Debug)]
pub(super) struct Window {
    buffer: Buffer,
    offset: u64,
    /// Bytes of the file that were read for this window.
    file_position: u64,
    file: Arc<SharedFile>,
    /// The outcome behind the last byte.
    ended: Option<Fill>,
}

impl Window {
    /// A window on an open file. Waiting for a pipe ends once `stop` is set.
    pub(super) fn open(file: File, stop: Option<Arc<AtomicBool>>) -> io::Result<Self> {
        let file = Arc::new(SharedFile::new(Stream::open(file, stop)?));
        Ok(Self { buffer: Buffer::new(BUFFER_BYTES), offset: 0, file_position: 0, file, ended: None })
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// Where the window begins, in the capture's (decompressed) bytes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the file on disk that were read for the window. Bytes that were only read ahead do not count.
    pub(super) fn file_position(&self) -> u64 {
        self.file_position
    }

    /// A handle with which another thread can read ahead.
    pub(super) fn read_ahead(&self) -> ReadAhead {
        ReadAhead::new(Arc::clone(&self.file))
    }

    /// Gives the window's bytes away in exchange for other memory. The bytes from `kept` on are still to be read and stay.
    /// Returns where the window began in the memory given away.
    pub(super) fn exchange(&mut self, memory: &mut Vec<u8>, kept: usize) -> usize {
        self.offset += kept as u64;
        // The memory is later used for reading ahead, so it is as long as that needs.
        self.buffer.exchange(memory, kept, AHEAD_BYTES)
    }

    /// Gets more bytes into the window. The bytes before `at` are dropped first; `at` moves along.
    pub(super) fn fill(&mut self, at: &mut usize) -> io::Result<Fill> {
        let consumed = mem::take(at);
        self.buffer.consume(consumed);
        self.offset += consumed as u64;
        if let Some(ended) = &self.ended {
            return Ok(ended.clone());
        }
        if let Some(outcome) = self.take_chunk() {
            return outcome;
        }
        let file = Arc::clone(&self.file);
        let mut reader = lock(&file.reader);
        // Another thread may just have read ahead.
        if let Some(outcome) = self.take_chunk() {
            return outcome;
        }
        let room = self.buffer.room(reader.read_bytes_min());
        let outcome = reader.read(room);
        self.file_position = reader.position();
        let (fill, count) = outcome?;
        self.buffer.extend(count);
        if fill != Fill::More {
            self.ended = Some(fill.clone());
        }
        Ok(fill)
    }

    /// Takes the first chunk that was read ahead, if there is one.
    fn take_chunk(&mut self) -> Option<io::Result<Fill>> {
        let mut queue = lock(&self.file.ahead);
        let chunk = queue.pop()?;
        self.file_position = chunk.file_position;
        queue.recycle(self.buffer.join(chunk.buffer));
        Some(chunk.outcome)
    }
}

#[cfg(test)]
mod tests;
