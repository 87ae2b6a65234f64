//! A stretch of a capture's bytes that a format can look at: all of a mapped file, or the buffer of a stream, which
//! may be compressed. What a file is compressed with is told by its first bytes, not by its name.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::mem;

use flate2::bufread::MultiGzDecoder;

use super::mapping::Mapping;

/// Bytes of a stream's buffer at first. It grows only while a single record needs more than all of it.
const BUFFER_BYTES: usize = 256 << 10;
/// Mapped memory is given back in steps of so many bytes.
const RELEASE_BYTES: usize = 64 << 20;
const COMPRESSED_BUFFER_BYTES: usize = 64 << 10;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes to look at, and how to get more.
#[derive(Debug)]
pub(super) enum Window {
    /// The whole file; there is no more.
    Mapped {
        mapping: Mapping,
        /// Up to here, memory was given back.
        released: usize,
    },
    /// What was read of a stream and not yet consumed.
    Streamed(Box<Streamed>),
}

/// What an attempt to get more bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fill {
    More,
    End,
    /// The compressed stream ends early or is damaged.
    Broken(String),
}

impl Window {
    /// A window on an open file. A plain file of at least `mapped_bytes_min` bytes is mapped.
    pub(super) fn open(mut file: File, mapped_bytes_min: u64) -> io::Result<Self> {
        let start = first_bytes(&mut file)?;
        let metadata = file.metadata()?;
        let compression = Compression::recognise(&start);
        let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        let is_big = metadata.is_file() && metadata.len() >= mapped_bytes_min.max(1);
        // Where mapping fails (a file system without it, too many mappings), reading does not.
        if compression.is_none()
            && is_big
            && let Ok(mapping) = Mapping::new(&file, length)
        {
            return Ok(Self::Mapped { mapping, released: 0 });
        }
        Ok(Self::Streamed(Box::new(Streamed::new(start, file, compression)?)))
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped { mapping, .. } => mapping.bytes(),
            Self::Streamed(streamed) => streamed.bytes.get(..streamed.filled).unwrap_or_default(),
        }
    }

    /// Where the window begins, in the capture's (decompressed) bytes.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Mapped { .. } => 0,
            Self::Streamed(streamed) => streamed.offset,
        }
    }

    /// Bytes of the file as it lies on the disk that are done with, when the window is consumed up to `at`.
    pub(super) fn file_position(&self, at: usize) -> u64 {
        match self {
            Self::Mapped { .. } => at as u64,
            Self::Streamed(streamed) => streamed.stream.position(),
        }
    }

    /// Gets more bytes into the window, which may first move away those before `at`; `at` moves along.
    pub(super) fn fill(&mut self, at: &mut usize) -> io::Result<Fill> {
        match self {
            Self::Mapped { .. } => Ok(Fill::End),
            Self::Streamed(streamed) => streamed.fill(at),
        }
    }

    /// Gives memory back that was consumed. Slices of the window may be gone or not, they stay good.
    pub(super) fn consumed(&mut self, at: usize) {
        if let Self::Mapped { mapping, released } = self
            && at.saturating_sub(*released) >= RELEASE_BYTES
        {
            mapping.release(*released, at);
            *released = at;
        }
    }

    /// How many bytes of a mapped file are good, if not all. `suspect` tells that something looks like zeros: the
    /// length is then looked at even if no page was found missing, for zeros fill the last page.
    #[inline]
    pub(super) fn cut_length(&self, suspect: bool) -> Option<usize> {
        match self {
            Self::Mapped { mapping, .. } if suspect || mapping.is_cut() => {
                Some(mapping.good_length()).filter(|&length| length < mapping.bytes().len())
            }
            _ => None,
        }
    }
}

/// A stream's buffer.
#[derive(Debug)]
pub(super) struct Streamed {
    bytes: Vec<u8>,
    filled: usize,
    offset: u64,
    stream: Stream,
}

impl Streamed {
    fn new(start: Start, file: File, compression: Option<Compression>) -> io::Result<Self> {
        let plain = Counted { file: Cursor::new(start).chain(file), count: 0 };
        let stream = match compression {
            None => Stream::Plain(plain),
            Some(Compression::Gzip) => {
                Stream::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, plain))))
            }
            Some(Compression::Zstd) => Stream::Zstd(Box::new(zstd::Decoder::with_buffer(BufReader::with_capacity(
                COMPRESSED_BUFFER_BYTES,
                plain,
            ))?)),
        };
        Ok(Self { bytes: vec![0; BUFFER_BYTES], filled: 0, offset: 0, stream })
    }

    fn fill(&mut self, at: &mut usize) -> io::Result<Fill> {
        let consumed = mem::take(at);
        self.bytes.copy_within(consumed..self.filled, 0);
        self.filled -= consumed;
        self.offset += consumed as u64;
        if self.filled == self.bytes.len() {
            // Only ever full of bytes that really came, so doubling is not led by what a length field claims.
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let free = self.bytes.get_mut(self.filled..).unwrap_or_default();
        loop {
            return match self.stream.read(free) {
                Ok(0) => Ok(Fill::End),
                Ok(count) => {
                    self.filled += count;
                    Ok(Fill::More)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // What the decoder finds wrong has no number of the system's.
                Err(error) if error.raw_os_error().is_none() && self.stream.is_compressed() => {
                    Ok(Fill::Broken(error.to_string()))
                }
                Err(error) => Err(error),
            };
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    fn recognise(start: &Start) -> Option<Self> {
        if start.starts_with(&GZIP) {
            Some(Self::Gzip)
        } else if start.starts_with(&ZSTD) {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

enum Stream {
    Plain(Counted),
    Gzip(Box<MultiGzDecoder<BufReader<Counted>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Counted>>>),
}

impl Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Gzip(stream) => stream.read(into),
            Self::Zstd(stream) => stream.read(into),
        }
    }

    fn is_compressed(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    fn position(&self) -> u64 {
        match self {
            Self::Plain(stream) => stream.count,
            Self::Gzip(stream) => stream.get_ref().get_ref().count,
            Self::Zstd(stream) => stream.get_ref().get_ref().count,
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Stream")
    }
}

/// A file, its first bytes read once more, that counts what was read.
struct Counted {
    file: io::Chain<Cursor<Start>, File>,
    count: u64,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.count += count as u64;
        Ok(count)
    }
}

type Start = Vec<u8>;

/// Up to four bytes from the start of a file that may be a pipe.
fn first_bytes(file: &mut File) -> io::Result<Start> {
    let mut start = Vec::with_capacity(4);
    file.take(4).read_to_end(&mut start)?;
    Ok(start)
}
