//! A stretch of a capture's bytes that a format can look at: the buffer of a file that is being read, which may be
//! compressed. What it is compressed with is told by its first bytes, not by its name.
//!
//! Files are read, not mapped into memory: the buffer fits the processor's own cache, so that nobody waits for far memory;
//! on a file in the page cache that takes less time than the faults and misses of a mapping.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::mem;

use flate2::bufread::MultiGzDecoder;

/// Bytes of the buffer at first. It grows only while a single record needs more than all of it.
const BUFFER_BYTES: usize = 256 << 10;
const COMPRESSED_BUFFER_BYTES: usize = 64 << 10;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What an attempt to get more bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fill {
    More,
    End,
    /// The file ends before the length that it had when it was opened.
    Cut,
    /// The compressed stream ends early or is damaged.
    Broken(String),
}

/// What was read of a file and not yet consumed, and how to get more.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Vec<u8>,
    filled: usize,
    offset: u64,
    stream: Stream,
}

impl Window {
    /// A window on an open file.
    pub(super) fn open(mut file: File) -> io::Result<Self> {
        let start = first_bytes(&mut file)?;
        let metadata = file.metadata()?;
        let compression = Compression::recognise(&start);
        // What is appended meanwhile is not read. Some file systems tell no length; and the standard input may be a file of
        // which the beginning was read by another.
        let length = if metadata.is_file() && metadata.len() > 0 { metadata.len() } else { u64::MAX };
        let is_at_start =
            length < u64::MAX && file.stream_position().is_ok_and(|position| position == start.len() as u64);
        let expected = if is_at_start { Some(length) } else { None };
        let plain = Counted { file: Cursor::new(start).chain(file).take(length), count: 0, expected };
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

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Where the window begins, in the capture's (decompressed) bytes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the file as it lies on the disk that were read.
    pub(super) fn file_position(&self) -> u64 {
        self.stream.position()
    }

    /// Gives the window's bytes away and takes other memory for them; those from `kept` on are still to be read and stay.
    pub(super) fn exchange(&mut self, bytes: &mut Vec<u8>, kept: usize) {
        let rest = self.bytes.get(kept..self.filled).unwrap_or_default();
        if bytes.len() < BUFFER_BYTES.max(rest.len()) {
            bytes.resize(BUFFER_BYTES.max(rest.len()), 0);
        }
        if let Some(place) = bytes.get_mut(..rest.len()) {
            place.copy_from_slice(rest);
        }
        self.filled = rest.len();
        self.offset += kept as u64;
        mem::swap(&mut self.bytes, bytes);
    }

    /// Gets more bytes into the window, which first moves away those before `at`; `at` moves along.
    pub(super) fn fill(&mut self, at: &mut usize) -> io::Result<Fill> {
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
                Ok(0) => Ok(if self.stream.is_cut() { Fill::Cut } else { Fill::End }),
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

    /// Whether a file that is not compressed gave less than it had when it was opened.
    fn is_cut(&self) -> bool {
        matches!(self, Self::Plain(plain) if plain.expected.is_some_and(|expected| plain.count < expected))
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
    file: io::Take<io::Chain<Cursor<Start>, File>>,
    count: u64,
    /// The file's length when it was opened, if it has one.
    expected: Option<u64>,
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

#[cfg(test)]
mod tests {
    use super::super::forge::{Forge, Outcome, read_files};
    use super::super::record::ByteOrder;
    use super::super::{CaptureError, Source};
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    /// Frames of many sizes, more than one buffer of them.
    fn capture(frames: u32) -> Vec<u8> {
        let mut file = Forge::classic(ByteOrder::Little, 0xa1b2_c3d4, 1);
        for number in 0..frames {
            file = file.record(number, 0, 9000, &vec![number as u8; (number * 37 % 5000) as usize + 1]);
        }
        file.bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Outcome {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read_files(&[file.path()])
    }

    #[test]
    fn compressed_by_any_means_the_frames_are_the_same() {
        let plain = capture(500);
        let (expected, _) = read(&plain).unwrap();
        assert_eq!(expected.len(), 500);
        let (front, back) = plain.split_at(300_001);
        let members = [gzip(front), gzip(b""), gzip(back)].concat();
        let frames = [zstd::encode_all(front, 1).unwrap(), zstd::encode_all(back, 3).unwrap()].concat();
        for bytes in [gzip(&plain), members, zstd::encode_all(&plain[..], 1).unwrap(), frames] {
            let (frames, statistics) = read(&bytes).unwrap();
            assert_eq!(frames, expected);
            assert_eq!(statistics.warnings, []);
        }
    }

    #[test]
    fn a_damaged_or_cut_compression_gives_what_comes_before() {
        let plain = capture(500);
        let (expected, _) = read(&plain).unwrap();
        for whole in [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap()] {
            let cut = &whole[..whole.len() * 2 / 3];
            let mut damaged = whole.clone();
            damaged[whole.len() * 2 / 3..].fill(0x5a);
            let (frames, statistics) = read(cut).unwrap();
            assert!(frames.len() > 10 && frames.len() < 500, "{}", frames.len());
            let complete = frames.len() - 1;
            assert_eq!(frames[..complete], expected[..complete]);
            assert!(expected[complete].data.starts_with(&frames[complete].data));
            assert_eq!(statistics.warnings.len(), 1);
            assert!(statistics.warnings[0].what.contains("compressed file is damaged"), "{statistics:?}");
            // Damage may be noticed late: some frames of nonsense may come before.
            let (frames, statistics) = read(&damaged).unwrap();
            assert_eq!(frames[..100], expected[..100]);
            assert_eq!(statistics.warnings.len(), 1);
        }
    }

    #[test]
    fn compressed_things_that_are_no_captures() {
        for (bytes, seen) in [
            (gzip(b"no capture"), "begins with the text"),
            (gzip(b""), "it is empty"),
            (gzip(&gzip(b"")), "gzip-compressed twice"),
            (vec![0x1f, 0x8b, 8], "its compression is damaged"),
            (vec![0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3], "its compression is damaged"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(matches!(error, CaptureError::NotACapture { .. }), "{error}");
            assert!(error.to_string().contains(seen), "{error}");
        }
    }

    #[test]
    fn a_pipe_gives_its_frames_as_they_come() {
        let bytes = capture(3);
        let ends = [24 + 17, 24 + 17 + 16 + 38];
        let (reading, mut writing) = io::pipe().unwrap();
        let path = format!("/dev/fd/{}", reading.as_raw_fd());
        writing.write_all(&bytes[..ends[0]]).unwrap();
        let mut files = super::super::Files::open(&[path], &Default::default()).unwrap();
        let mut seen = Vec::new();
        let mut see = |frames: &[super::super::Frame<'_>]| seen.push((frames[0].number, frames.len()));
        assert!(files.next_batch(&mut see).unwrap());
        writing.write_all(&bytes[ends[0]..ends[1]]).unwrap();
        assert!(files.next_batch(&mut see).unwrap());
        writing.write_all(&bytes[ends[1]..]).unwrap();
        drop(writing);
        assert!(files.next_batch(&mut see).unwrap());
        assert!(!files.next_batch(&mut see).unwrap());
        assert_eq!(seen, [(1, 1), (2, 1), (3, 1)]);
        assert_eq!(files.position().bytes_total, None);
        assert_eq!(files.position().bytes_done, bytes.len() as u64);
    }

    #[test]
    fn what_is_appended_while_reading_is_not_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&capture(400)).unwrap();
        let mut files = super::super::Files::open(&[file.path()], &Default::default()).unwrap();
        file.write_all(&capture(400)[24..]).unwrap();
        let (frames, statistics) = super::super::forge::drain(&mut files).unwrap();
        assert_eq!((frames.len(), statistics.warnings.len()), (400, 0));
    }
}
