//! A stretch of a capture's bytes that a format can look at: the buffer of a file that is being read, which may be
//! compressed. What it is compressed with is told by its first bytes, not by its name.
//!
//! Files are read, not mapped into memory: the buffer fits the processor's own cache, so that nobody waits for far memory;
//! on a file in the page cache that takes less time than the faults and misses of a mapping.
//!
//! Where several work through one file in turns, whoever has had its turn reads ahead for the next, by a [`ReadAhead`].

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use flate2::bufread::MultiGzDecoder;

/// Bytes of the buffer at first. It grows only while a single record needs more than all of it.
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes left free before those that are read ahead, for what the window has not consumed by then: the beginning of a record,
/// which hardly ever is longer.
const HEADROOM_BYTES: usize = 64 << 10;
const AHEAD_BYTES: usize = HEADROOM_BYTES + BUFFER_BYTES;
/// How many such chunks may wait. With one only, whoever comes while it is being read has nothing to take and waits as if it were
/// not read ahead; with two there is one to take meanwhile.
const CHUNKS_AHEAD: usize = 2;
const COMPRESSED_BUFFER_BYTES: usize = 64 << 10;
/// Bytes that a decoder is asked for at a time, always as many: how much of a damaged file it gives before it notices depends on
/// that, and is not to depend on the room that there happens to be.
const DECODED_BYTES: usize = 128 << 10;

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
    buffer: Buffer,
    offset: u64,
    /// How much of the file was read for what has been in the window.
    file_position: u64,
    feed: Arc<Feed>,
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
        let feed = Feed { reading: Mutex::new(Reading { stream, is_over: false }), ahead: Mutex::default() };
        let buffer = Buffer { memory: vec![0; BUFFER_BYTES], start: 0, end: 0 };
        Ok(Self { buffer, offset: 0, file_position: 0, feed: Arc::new(feed) })
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// Where the window begins, in the capture's (decompressed) bytes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the file as it lies on the disk that were read for the window; what was read ahead is not among them.
    pub(super) fn file_position(&self) -> u64 {
        self.file_position
    }

    /// By which another can read ahead.
    pub(super) fn read_ahead(&self) -> ReadAhead {
        ReadAhead { feed: Arc::clone(&self.feed) }
    }

    /// Gives the window's bytes away and takes other memory for them; those from `kept` on are still to be read and stay.
    /// Where in the given memory the window began comes back.
    pub(super) fn exchange(&mut self, memory: &mut Vec<u8>, kept: usize) -> usize {
        let rest = self.bytes().get(kept..).unwrap_or_default();
        // As long as what is read ahead needs, which the memory will be used for in its turn.
        if memory.len() < AHEAD_BYTES.max(rest.len()) {
            memory.resize(AHEAD_BYTES.max(rest.len()), 0);
        }
        if let Some(place) = memory.get_mut(..rest.len()) {
            place.copy_from_slice(rest);
        }
        let end = rest.len();
        self.offset += kept as u64;
        mem::swap(&mut self.buffer.memory, memory);
        self.buffer.end = end;
        mem::take(&mut self.buffer.start)
    }

    /// Gets more bytes into the window, which first moves away those before `at`; `at` moves along.
    pub(super) fn fill(&mut self, at: &mut usize) -> io::Result<Fill> {
        let consumed = mem::take(at);
        self.buffer.start += consumed;
        self.offset += consumed as u64;
        if let Some(outcome) = self.take_chunk() {
            return outcome;
        }
        let feed = Arc::clone(&self.feed);
        let mut reading = lock(&feed.reading);
        // Another may just have been reading ahead.
        if let Some(outcome) = self.take_chunk() {
            return outcome;
        }
        let room = self.buffer.room(reading.stream.read_bytes_min());
        let outcome = reading.read(room);
        self.file_position = reading.stream.position();
        let (fill, count) = outcome?;
        self.buffer.end += count;
        Ok(fill)
    }

    /// Takes the first chunk that was read ahead, if there is one.
    fn take_chunk(&mut self) -> Option<io::Result<Fill>> {
        let mut ahead = lock(&self.feed.ahead);
        let chunk = ahead.chunks.pop_front()?;
        self.file_position = chunk.file_position;
        ahead.spare.push(self.buffer.join(chunk.buffer));
        Some(chunk.outcome)
    }
}

/// Memory of which a stretch holds bytes.
#[derive(Debug)]
struct Buffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    fn move_to_front(&mut self) {
        self.memory.copy_within(self.start..self.end, 0);
        self.end -= mem::take(&mut self.start);
    }

    /// Free memory behind the bytes, which it moves to the front; no less than so much.
    fn room(&mut self, bytes_min: usize) -> &mut [u8] {
        self.move_to_front();
        if self.memory.len() - self.end < bytes_min {
            // Only ever full of bytes that really came, so growing is not led by what a length field claims.
            self.memory.resize(self.memory.len() * 2, 0);
        }
        self.memory.get_mut(self.end..).unwrap_or_default()
    }

    /// Adds the bytes that come next. Of the two memories the one that is left over comes back.
    fn join(&mut self, mut next: Self) -> Vec<u8> {
        if next.bytes().is_empty() {
            return next.memory;
        }
        let rest = self.bytes();
        if let Some(start) = next.start.checked_sub(rest.len())
            && let Some(place) = next.memory.get_mut(start..next.start)
        {
            place.copy_from_slice(rest);
            next.start = start;
            return mem::replace(self, next).memory;
        }
        self.move_to_front();
        let end = self.end + next.bytes().len();
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        if let Some(place) = self.memory.get_mut(self.end..end) {
            place.copy_from_slice(next.bytes());
        }
        self.end = end;
        next.memory
    }
}

/// Reads on in a file for those that work through it, so that the bytes are there by the time they are needed.
#[derive(Clone, Debug)]
pub struct ReadAhead {
    feed: Arc<Feed>,
}

impl ReadAhead {
    /// Reads the next bytes, unless enough of them wait already or another reads them just now. What goes wrong is told to the
    /// one that asks for them.
    pub fn read(&self) {
        let mut reading = match self.feed.reading.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // As often as it takes to have them all, even when others take some meanwhile; but not for ever.
        for _ in 0..CHUNKS_AHEAD {
            if reading.is_over {
                break;
            }
            let Some(memory) = lock(&self.feed.ahead).memory() else { break };
            let chunk = reading.read_chunk(memory);
            lock(&self.feed.ahead).chunks.push_back(chunk);
        }
    }
}

/// Where a window's bytes come from.
#[derive(Debug)]
struct Feed {
    /// Whoever reads has this, which takes its time.
    reading: Mutex<Reading>,
    /// Filled by one that has the former too.
    ahead: Mutex<Ahead>,
}

/// What was read ahead.
#[derive(Debug, Default)]
struct Ahead {
    chunks: VecDeque<Chunk>,
    /// Memory for more.
    spare: Vec<Vec<u8>>,
}

/// What one reading ahead came to.
#[derive(Debug)]
struct Chunk {
    buffer: Buffer,
    outcome: io::Result<Fill>,
    /// How much of the file was read by then.
    file_position: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked here lost the bytes it was reading; there are no others to be wrong.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ahead {
    /// Memory for one more chunk, if there may be one.
    fn memory(&mut self) -> Option<Vec<u8>> {
        (self.chunks.len() < CHUNKS_AHEAD).then(|| self.spare.pop().unwrap_or_default())
    }
}

/// A file in reading.
#[derive(Debug)]
struct Reading {
    stream: Stream,
    /// There was no more, or reading failed.
    is_over: bool,
}

impl Reading {
    fn read_chunk(&mut self, mut memory: Vec<u8>) -> Chunk {
        if memory.len() < AHEAD_BYTES {
            memory.resize(AHEAD_BYTES, 0);
        }
        let place = memory.get_mut(HEADROOM_BYTES..AHEAD_BYTES).unwrap_or_default();
        let (outcome, count) = match self.read(place) {
            Ok((fill, count)) => (Ok(fill), count),
            Err(error) => (Err(error), 0),
        };
        let buffer = Buffer { memory, start: HEADROOM_BYTES, end: HEADROOM_BYTES + count };
        Chunk { buffer, outcome, file_position: self.stream.position() }
    }

    /// Reads once. What it came to and the number of bytes come back.
    fn read(&mut self, into: &mut [u8]) -> io::Result<(Fill, usize)> {
        let outcome = loop {
            break match self.stream.read(into) {
                Ok(0) => Ok((if self.stream.is_cut() { Fill::Cut } else { Fill::End }, 0)),
                Ok(count) => Ok((Fill::More, count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // What the decoder finds wrong has no number of the system's.
                Err(error) if error.raw_os_error().is_none() && self.stream.is_compressed() => {
                    Ok((Fill::Broken(error.to_string()), 0))
                }
                Err(error) => Err(error),
            };
        };
        self.is_over = !matches!(outcome, Ok((Fill::More, _)));
        outcome
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
            Self::Gzip(stream) => stream.read(into.get_mut(..DECODED_BYTES).unwrap_or_default()),
            Self::Zstd(stream) => stream.read(into.get_mut(..DECODED_BYTES).unwrap_or_default()),
        }
    }

    /// How much room a read needs.
    fn read_bytes_min(&self) -> usize {
        if self.is_compressed() { DECODED_BYTES } else { 1 }
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
    use super::super::forge::{Forge, Kept, Outcome, Step, assert_same, drain, drain_by, read_files};
    use super::super::record::ByteOrder;
    use super::super::{Block, CaptureError, FRAME_BYTES_MAX, Files, Source};
    use super::*;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use vigie_wire::LinkType;

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
        let mut files = Files::open(&[path], &Default::default()).unwrap();
        let mut seen = Vec::new();
        let mut see = |frames: &[vigie_wire::Frame<'_>]| seen.push((frames[0].number, frames.len()));
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
        let mut files = open_alone(&file);
        file.write_all(&capture(400)[24..]).unwrap();
        let (frames, statistics) = drain(&mut files).unwrap();
        assert_eq!((frames.len(), statistics.warnings.len()), (400, 0));
    }

    fn open_alone(file: &tempfile::NamedTempFile) -> Files {
        Files::open(&[file.path()], &Default::default()).unwrap()
    }

    #[test]
    fn what_was_read_ahead_is_there_when_the_file_is_not_and_no_more() {
        // Frames of one byte, so that the places of frames tell those of bytes.
        const RECORD: usize = 16 + 1;
        let mut forge = Forge::classic(ByteOrder::Little, 0xa1b2_c3d4, 1);
        for number in 1..100_000 {
            forge = forge.record(number, 0, 1, &[1]);
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&forge.bytes).unwrap();
        let mut files = open_alone(&file);
        let mut block = Block::default();
        assert!(files.next_block(&mut block).unwrap());
        assert_eq!(block.len(), (BUFFER_BYTES - 24) / RECORD);
        for _ in 0..3 {
            files.read_ahead().unwrap().read();
        }
        assert_eq!(files.position().bytes_done, BUFFER_BYTES as u64);
        file.as_file().set_len(0).unwrap();
        let mut frames = block.len();
        while files.next_block(&mut block).unwrap() {
            files.read_ahead().inspect(|ahead| ahead.read());
            frames += block.len();
        }
        let (whole, rest) = (((1 + CHUNKS_AHEAD) * BUFFER_BYTES - 24) / RECORD, RECORD - 1);
        assert_eq!(frames, whole + usize::from(((1 + CHUNKS_AHEAD) * BUFFER_BYTES - 24) % RECORD == rest));
        let [warning] = &files.statistics().warnings[..] else { panic!("{:?}", files.statistics()) };
        assert!(warning.what.contains("was cut while it was being read"), "{warning}");
        assert!(files.read_ahead().is_none(), "a file that has ended");
    }

    #[test]
    fn blocks_take_turns_in_the_same_memory() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&capture(4000)).unwrap();
        let mut files = open_alone(&file);
        let mut blocks = [Block::default(), Block::default()];
        let mut places = std::collections::HashSet::new();
        let mut count = 0;
        while files.next_block(&mut blocks[count % 2]).unwrap() {
            let block = &blocks[count % 2];
            assert!(block.bytes.len() <= AHEAD_BYTES);
            count += 1;
            files.read_ahead().inspect(|ahead| ahead.read());
            // The first ones may still move when they are made longer.
            if count > 2 * (blocks.len() + 1 + CHUNKS_AHEAD) {
                places.insert(block.bytes.as_ptr());
            }
        }
        assert!(count > 30 && places.len() <= blocks.len() + 1 + CHUNKS_AHEAD, "{count} {}", places.len());
    }

    #[test]
    fn nothing_is_read_ahead_where_that_could_hinder() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&capture(400)).unwrap();
        let next = |files: &mut Files| {
            assert!(files.next_block(&mut Block::default()).unwrap());
            files.read_ahead().is_some()
        };
        assert!(next(&mut open_alone(&file)));
        let other = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(file.path(), other.path()).unwrap();
        let options = Default::default();
        assert!(!next(&mut Files::open(&[file.path(), other.path()], &options).unwrap()), "files that overlap");
        let filtered = super::super::FilesOptions { filter: Some("not udp".to_owned()) };
        assert!(!next(&mut Files::open(&[file.path()], &filtered).unwrap()), "frames that are copied");
        let (reading, mut writing) = io::pipe().unwrap();
        writing.write_all(&capture(3)).unwrap();
        let mut files = Files::open(&[format!("/dev/fd/{}", reading.as_raw_fd())], &options).unwrap();
        assert!(!next(&mut files), "a pipe, whose writer is not done");
    }

    #[test]
    fn several_take_blocks_in_turns_and_read_ahead_at_once() {
        let plain = capture(3000);
        for bytes in [zstd::encode_all(&plain[..], 1).unwrap(), plain] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&bytes).unwrap();
            let (expected, _) = drain(&mut open_alone(&file)).unwrap();
            let files = Mutex::new(open_alone(&file));
            let taker = || {
                let mut kept = Vec::new();
                let mut block = Block::default();
                loop {
                    let mut files = files.lock().unwrap();
                    let more = files.next_block(&mut block).unwrap();
                    let ahead = files.read_ahead();
                    drop(files);
                    ahead.inspect(|ahead| ahead.read());
                    kept.extend(block.iter().map(|frame| Kept::of(&frame)));
                    if !more {
                        return kept;
                    }
                }
            };
            let mut frames: Vec<Kept> = std::thread::scope(|scope| {
                let takers = [(); 4].map(|()| scope.spawn(taker));
                takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
            });
            frames.sort_by_key(|frame| frame.number);
            assert!(frames == expected, "{} frames of {}", frames.len(), expected.len());
        }
    }

    /// A capture with frames of these lengths from a time on; what is longer than a frame can be is passed over.
    fn forged(lengths: &[usize], is_pcapng: bool, time: u32) -> Vec<u8> {
        let mut file = if is_pcapng {
            Forge::new(ByteOrder::Little).section(ByteOrder::Little).interface(LinkType::ETHERNET, 0, &[])
        } else {
            Forge::classic(ByteOrder::Little, 0xa1b2_c3d4, 1)
        };
        for (&length, number) in lengths.iter().zip(time..) {
            let data = vec![number as u8 | 1; length];
            file = match is_pcapng {
                true if length > FRAME_BYTES_MAX => {
                    file.block(0x0bad, &Forge::new(ByteOrder::Little).raw(&data).padded())
                }
                true => file.enhanced(0, u64::from(number) * 1_000_000, length as u32, &data),
                false => file.record(number, 0, length as u32, &data[..length.min(FRAME_BYTES_MAX)]),
            };
        }
        file.bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whichever way a capture is taken, it is the same.
        #[test]
        fn reading_ahead_changes_nothing(
            lengths in proptest::collection::vec(
                prop_oneof![40 => 1_usize..3000, 4 => 60_000_usize..70_000, 1 => 250_000_usize..=262_144, 1 => 262_145_usize..900_000],
                1..150),
            is_pcapng in any::<bool>(),
            compression in 0..3,
            second_file_begins in prop_oneof![Just(None), (0_u32..200).prop_map(Some)],
            left_of_1000 in prop_oneof![1 => Just(1000), 1 => 100_usize..1000],
            is_cut_while_open in any::<bool>(),
            steps in proptest::collection::vec((any::<bool>(), any::<bool>()), 1..20),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut paths = Vec::new();
            for time in [Some(1), second_file_begins.map(|begins| begins + 1)].into_iter().flatten() {
                let bytes = forged(&lengths, is_pcapng, time);
                let mut bytes = match compression {
                    0 => bytes,
                    1 => gzip(&bytes),
                    _ => zstd::encode_all(&bytes[..], 1).unwrap(),
                };
                if !is_cut_while_open {
                    bytes.truncate(bytes.len() * left_of_1000 / 1000);
                }
                paths.push(folder.path().join(time.to_string()));
                std::fs::write(paths.last().unwrap(), bytes).unwrap();
            }
            let whole = std::fs::read(&paths[0]).unwrap();
            let take = |drain: &mut dyn FnMut(&mut Files) -> Outcome| {
                let mut files = Files::open(&paths, &Default::default())?;
                // Of several files none is in reading yet.
                if is_cut_while_open && paths.len() == 1 {
                    let file = std::fs::OpenOptions::new().write(true).open(&paths[0]).unwrap();
                    file.set_len((whole.len() * left_of_1000 / 1000) as u64).unwrap();
                }
                let outcome = drain(&mut files);
                std::fs::write(&paths[0], &whole).unwrap();
                outcome
            };
            let expected = take(&mut drain);
            let step = |&(is_block, reads_ahead): &(bool, bool)| Step { is_block, reads_ahead };
            for steps in [&steps[..], &[(true, true)], &[(true, false)], &[(false, true)]] {
                assert_same(&expected, &take(&mut |files| drain_by(files, steps.iter().map(step))));
            }
        }
    }
}
