//! Reading ahead: whoever has its turn on a file fills chunks for the next, so that the bytes are there when needed.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::buffer::Buffer;
use super::stream::Stream;
use super::{BUFFER_BYTES, Fill};

/// Bytes left free in front of a chunk, for what the window has not consumed by then: the beginning of a record, which
/// hardly ever is longer.
const HEADROOM_BYTES: usize = 64 << 10;
/// Bytes of memory that a chunk takes.
pub(super) const AHEAD_BYTES: usize = HEADROOM_BYTES + BUFFER_BYTES;
/// How many chunks may wait. With only one, a thread that comes while it is being read has nothing to take, and waits as if
/// nothing were read ahead. With two there is one to take meanwhile.
pub(super) const CHUNKS_AHEAD_MAX: usize = 2;

/// Reads on in a file for the workers that share it.
#[derive(Clone, Debug)]
pub struct ReadAhead {
    file: Arc<SharedFile>,
}

impl ReadAhead {
    pub(super) const fn new(file: Arc<SharedFile>) -> Self {
        Self { file }
    }

    /// Reads the next bytes, unless enough chunks wait already or another thread is reading. The thread that takes a chunk
    /// gets the error, if there was one.
    pub fn read(&self) {
        let mut reader = match self.file.reader.try_lock() {
            Ok(reader) => reader,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Others may take chunks meanwhile; the bound keeps this thread from reading for ever.
        for _ in 0..CHUNKS_AHEAD_MAX {
            if reader.is_over {
                break;
            }
            let Some(memory) = lock(&self.file.ahead).memory() else { break };
            let chunk = reader.read_chunk(memory);
            lock(&self.file.ahead).chunks.push_back(chunk);
        }
    }
}

/// A file that several threads read in turns.
#[derive(Debug)]
pub(super) struct SharedFile {
    /// Held while reading, which takes its time.
    pub(super) reader: Mutex<FileReader>,
    /// Held for a moment only. Chunks are added by a thread that holds `reader` too, so their order is the file's.
    pub(super) ahead: Mutex<ChunkQueue>,
}

impl SharedFile {
    pub(super) fn new(stream: Stream) -> Self {
        Self { reader: Mutex::new(FileReader { stream, is_over: false }), ahead: Mutex::default() }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked here lost the bytes that it was reading. All others are intact.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Chunks that were read ahead, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct ChunkQueue {
    chunks: VecDeque<Chunk>,
    /// Memory for further chunks.
    spare: Vec<Vec<u8>>,
}

impl ChunkQueue {
    pub(super) fn pop(&mut self) -> Option<Chunk> {
        self.chunks.pop_front()
    }

    /// Takes back memory for a later chunk.
    pub(super) fn recycle(&mut self, memory: Vec<u8>) {
        self.spare.push(memory);
    }

    /// Memory for one more chunk, if there may be one.
    fn memory(&mut self) -> Option<Vec<u8>> {
        (self.chunks.len() < CHUNKS_AHEAD_MAX).then(|| self.spare.pop().unwrap_or_default())
    }
}

/// The outcome of one read ahead.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) buffer: Buffer,
    pub(super) outcome: io::Result<Fill>,
    /// Bytes of the file that were read by then.
    pub(super) file_position: u64,
}

/// An open file and whether it has ended.
#[derive(Debug)]
pub(super) struct FileReader {
    stream: Stream,
    /// There was no more, or reading failed.
    is_over: bool,
}

impl FileReader {
    /// How much room a read needs.
    pub(super) fn read_bytes_min(&self) -> usize {
        self.stream.read_bytes_min()
    }

    /// Bytes of the file on disk that were read.
    pub(super) fn position(&self) -> u64 {
        self.stream.position()
    }

    fn read_chunk(&mut self, mut memory: Vec<u8>) -> Chunk {
        if memory.len() < AHEAD_BYTES {
            memory.resize(AHEAD_BYTES, 0);
        }
        let place = memory.get_mut(HEADROOM_BYTES..AHEAD_BYTES).unwrap_or_default();
        let (outcome, count) = match self.read(place) {
            Ok((fill, count)) => (Ok(fill), count),
            Err(error) => (Err(error), 0),
        };
        let buffer = Buffer::with(memory, HEADROOM_BYTES, HEADROOM_BYTES + count);
        Chunk { buffer, outcome, file_position: self.stream.position() }
    }

    /// Reads once. Returns the outcome and the number of bytes.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<(Fill, usize)> {
        let outcome = loop {
            break match self.stream.read(into) {
                Ok(0) => Ok((if self.stream.is_cut() { Fill::Cut } else { Fill::End }, 0)),
                Ok(count) => Ok((Fill::More, count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // An error of the decoder carries no error number of the system.
                Err(error) if error.raw_os_error().is_none() && self.stream.is_compressed() => {
                    Ok((Fill::Broken(error.to_string()), 0))
                }
                Err(error) => Err(error),
            };
        };
        self.is_over = !matches!(outcome, Ok((Fill::More, _)));
        if self.is_over {
            // Of many small files each is read whole at once, and none stays open.
            self.stream.close();
        }
        outcome
    }
}
