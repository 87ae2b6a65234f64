//! The bytes of a file, decompressed where needed. The first bytes tell the compression, not the file's name.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

use crate::live::{PollEntry, poll};

const COMPRESSED_BUFFER_BYTES: usize = 64 << 10;
/// Bytes that a decoder is asked for at a time. The number is fixed because a decoder's output before it notices damage
/// depends on it, and must not depend on the room that happens to be free.
const DECODED_BYTES: usize = 128 << 10;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const LZ4: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// The format of LZ4's early versions and of the Linux kernel.
const LZ4_LEGACY: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// An open file, plain or compressed.
pub(super) enum Stream {
    Plain(CountingReader),
    Gzip(Box<MultiGzDecoder<BufReader<CountingReader>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<CountingReader>>>),
    Lz4(Box<Lz4Decoder>),
    /// At its end the file is closed.
    Closed {
        position: u64,
    },
}

impl Stream {
    /// Recognises the compression of a file, which may be a pipe.
    pub(super) fn open(mut file: File, stop: Option<Arc<AtomicBool>>) -> io::Result<Self> {
        let stop = stop.filter(|_| !file.metadata().is_ok_and(|metadata| metadata.is_file()));
        if let Some(stop) = &stop {
            wait_readable(&file, stop)?;
        }
        let start = first_bytes(&mut file)?;
        let metadata = file.metadata()?;
        // Bytes that are appended meanwhile are not read. Some file systems tell no length.
        let length = if metadata.is_file() && metadata.len() > 0 { metadata.len() } else { u64::MAX };
        // The standard input may be a file whose beginning was read by another program.
        let is_at_start =
            length < u64::MAX && file.stream_position().is_ok_and(|position| position == start.len() as u64);
        let expected = if is_at_start { Some(length) } else { None };
        let (is_gzip, is_zstd) = (start.starts_with(&GZIP), start.starts_with(&ZSTD));
        let is_lz4 = start.starts_with(&LZ4) || start.starts_with(&LZ4_LEGACY);
        let plain = CountingReader { file: Cursor::new(start).chain(file).take(length), count: 0, expected, stop };
        if !is_gzip && !is_zstd && !is_lz4 {
            return Ok(Self::Plain(plain));
        }
        let buffered = BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, plain);
        Ok(match (is_gzip, is_zstd) {
            (true, _) => Self::Gzip(Box::new(MultiGzDecoder::new(buffered))),
            (_, true) => Self::Zstd(Box::new(zstd::Decoder::with_buffer(buffered)?)),
            _ => Self::Lz4(Box::new(Lz4Decoder(Some(FrameDecoder::new(buffered))))),
        })
    }

    /// Closes the file, of which no more is read.
    pub(super) fn close(&mut self) {
        *self = Self::Closed { position: self.position() };
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Closed { .. } => Ok(0),
            Self::Plain(stream) => stream.read(into),
            Self::Gzip(stream) => stream.read(into.get_mut(..DECODED_BYTES).unwrap_or_default()),
            Self::Zstd(stream) => stream.read(into.get_mut(..DECODED_BYTES).unwrap_or_default()),
            Self::Lz4(stream) => stream.read(into.get_mut(..DECODED_BYTES).unwrap_or_default()),
        }
    }

    /// How much room a read needs.
    pub(super) fn read_bytes_min(&self) -> usize {
        if self.is_compressed() { DECODED_BYTES } else { 1 }
    }

    pub(super) fn is_compressed(&self) -> bool {
        !matches!(self, Self::Plain(_) | Self::Closed { .. })
    }

    /// Whether an uncompressed file gave fewer bytes than it had when it was opened.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Plain(plain) if plain.expected.is_some_and(|expected| plain.count < expected))
    }

    /// Bytes of the file on disk that were read.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Closed { position } => *position,
            Self::Plain(stream) => stream.count,
            Self::Gzip(stream) => stream.get_ref().get_ref().count,
            Self::Zstd(stream) => stream.get_ref().get_ref().count,
            Self::Lz4(stream) => stream.position(),
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Stream")
    }
}

/// LZ4 frames, one behind the other, and frames to be skipped among them. Each frame has a decoder of its own.
pub(super) struct Lz4Decoder(Option<FrameDecoder<BufReader<CountingReader>>>);

impl Lz4Decoder {
    fn position(&self) -> u64 {
        self.0.as_ref().map_or(0, |decoder| decoder.get_ref().get_ref().count)
    }
}

impl Read for Lz4Decoder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut is_new = false;
        loop {
            let Some(decoder) = &mut self.0 else { return Ok(0) };
            match decoder.read(into) {
                Ok(0) if !is_new => {
                    self.0 = self.0.take().map(|decoder| FrameDecoder::new(decoder.into_inner()));
                    is_new = true;
                }
                Err(error) => {
                    let length = skippable_bytes(&error).ok_or(error)?;
                    io::copy(&mut decoder.get_mut().take(length), &mut io::sink())?;
                }
                outcome => return outcome,
            }
        }
    }
}

/// How many bytes of a frame are to be skipped.
fn skippable_bytes(error: &io::Error) -> Option<u64> {
    match error.get_ref()?.downcast_ref::<lz4_flex::frame::Error>()? {
        lz4_flex::frame::Error::SkippableFrame(length) => Some(u64::from(*length)),
        _ => None,
    }
}

/// A file that counts the bytes read. Its first bytes, which were read already, are given once more.
pub(super) struct CountingReader {
    file: io::Take<io::Chain<Cursor<Vec<u8>>, File>>,
    count: u64,
    /// The file's length when it was opened, if it has one.
    expected: Option<u64>,
    /// For a pipe: ends the waiting for more.
    stop: Option<Arc<AtomicBool>>,
}

impl Read for CountingReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Some(stop) = &self.stop
            && !wait_readable(self.file.get_ref().get_ref().1, stop)?
        {
            return Ok(0);
        }
        let count = self.file.read(into)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// Waits until there is something to read, or until `stop` is set, when it returns false.
fn wait_readable(file: &File, stop: &AtomicBool) -> io::Result<bool> {
    /// How soon a stop is noticed.
    const WAIT_MS: u32 = 100;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut entry = [PollEntry::readable(Some(file.as_fd()))];
        poll(&mut entry, WAIT_MS)?;
        let [entry] = entry;
        if entry.is_readable() || entry.has_error() {
            return Ok(true);
        }
    }
}

/// Up to four bytes from the start of a file.
fn first_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(4);
    file.take(4).read_to_end(&mut start)?;
    Ok(start)
}
