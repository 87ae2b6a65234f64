//! Reads a journal line by line from a cursor on, while it is written, rotated, compressed and removed.
//!
//! A reader opens files and keeps none but the segment that it reads, so it needs no more than the right to read the folder.
//! Memory is one line and one chunk. What was not synced may be read before a loss of power takes it back: therefore a cursor
//! names the event that it stands behind, and a reader that finds another one there begins the segment anew. That gives
//! duplicates, and never a hole. The same holds where somebody deletes, cuts or replaces a segment while it is read.

mod cursor;
mod seal_index;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use self::cursor::{Cursor, StartAt};
use self::cursor::{line_before, line_id};
use self::seal_index::SealIndex;
use crate::LINE_BYTES_MAX;
use crate::segment::{self, Segment, time_of};

/// How many bytes are read at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// Length of a line where none was read that would tell.
const LINE_BYTES_TYPICAL: u64 = 1_024;
/// At every so many looks that find nothing more, it is asked whether the segment is still that which was read.
const LOOKS_PER_CHECK: u32 = 5;

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct ReadError {
    /// The file or folder.
    pub path: PathBuf,
    /// The error of the system.
    pub source: io::Error,
}

/// What a reader has missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Segments that were gone, or damaged, before they were read.
    pub segments: u64,
    /// The cursor was not where its event is: the reader went back to where it is sure to miss nothing.
    pub went_back: bool,
}

/// What a reader has before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Bytes of plain lines.
    pub bytes: u64,
    /// Lines. Those of the segment that it reads and of the live one are estimated by their bytes.
    pub lines: u64,
    /// Segments after the one that it reads.
    pub segments: u64,
    /// Time of the event that it gave last, as it is written; none before the first.
    pub timestamp: Option<String>,
}

/// A place in a journal.
pub struct JournalReader {
    folder: PathBuf,
    /// The segment, and how many bytes of plain lines of it were given.
    seq: u64,
    offset: u64,
    source: Option<Segment>,
    /// Bytes that were read. The first `start` were given, the first `searched` have no further newline.
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    /// The line that was given last, in the buffer.
    last_line: Option<Range<usize>>,
    last_id: Option<String>,
    last_time: Option<String>,
    /// The segment is closed: what the next read does not find will never come.
    is_last_pass: bool,
    /// The segment cannot be decoded any further.
    is_damaged: bool,
    /// Lines that were given, and their bytes.
    given: (u64, u64),
    /// How often there was nothing more since the last line.
    looks: u32,
    seals: RefCell<SealIndex>,
    lost: Lost,
}

enum Filled {
    Some,
    AtEnd,
}

impl JournalReader {
    /// Opens a journal.
    ///
    /// # Errors
    /// The folder, or the segment to begin with, cannot be read.
    pub fn open(folder: &Path, start: StartAt) -> Result<Self, ReadError> {
        let mut reader = Self {
            folder: folder.to_owned(),
            seq: 0,
            offset: 0,
            source: None,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            last_line: None,
            last_id: None,
            last_time: None,
            is_last_pass: false,
            is_damaged: false,
            given: (0, 0),
            looks: 0,
            seals: RefCell::new(SealIndex::new(folder)),
            lost: Lost::default(),
        };
        let segments = segment::readable(folder).map_err(|source| failed(folder, source))?;
        reader.seals.borrow_mut().refresh().map_err(|source| failed(folder, source))?;
        let oldest = segments.first().copied().unwrap_or_default();
        match start {
            StartAt::Oldest => reader.seq = oldest,
            StartAt::Newest => reader.go_to_end(segments.last().copied().unwrap_or_default())?,
            StartAt::Cursor(cursor) if cursor.seq == 0 => reader.seq = oldest,
            StartAt::Cursor(cursor) => reader.go_to(cursor, &segments)?,
        }
        Ok(reader)
    }

    /// The next whole line, without newline. None: there is nothing more at the moment; call it again later.
    ///
    /// # Errors
    /// A file cannot be read. A later call tries it again.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, ReadError> {
        let line = loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', rest) {
                let end = self.searched + end;
                break self.start..end;
            }
            self.searched = self.buffer.len();
            if let Filled::AtEnd = self.fill().map_err(|source| self.failed(source))?
                && !self.advance().map_err(|source| failed(&self.folder, source))?
            {
                return Ok(None);
            }
        };
        self.offset += line.len() as u64 + 1;
        self.given = (self.given.0 + 1, self.given.1 + line.len() as u64 + 1);
        self.start = line.end + 1;
        self.searched = self.start;
        self.last_line = Some(line.clone());
        Ok(self.buffer.get(line))
    }

    /// Where it stands: after the line that [`next_line`](Self::next_line) gave last.
    pub fn cursor(&self) -> Cursor {
        let event_id = match &self.last_line {
            Some(line) => self.buffer.get(line.clone()).map(line_id),
            None => self.last_id.clone(),
        };
        Cursor { seq: self.seq, offset: self.offset, event_id }
    }

    /// Segment and offset after the line that [`next_line`](Self::next_line) gave last.
    pub const fn place(&self) -> (u64, u64) {
        (self.seq, self.offset)
    }

    /// What it has missed since the last call.
    pub const fn take_lost(&mut self) -> Lost {
        std::mem::replace(&mut self.lost, Lost { segments: 0, went_back: false })
    }

    /// What it has before it. What cannot be read counts as nothing.
    pub fn lag(&self) -> Lag {
        let mut seals = self.seals.borrow_mut();
        let _ = seals.refresh();
        let bytes = |seq: u64| {
            let plain = || segment::plain_path(&self.folder, seq).metadata().ok().map(|metadata| metadata.len());
            seals.bytes(seq).or_else(plain).unwrap_or_default()
        };
        let ahead = segment::readable(&self.folder).unwrap_or_default();
        let ahead: Vec<u64> = ahead.into_iter().filter(|seq| *seq > self.seq).collect();
        let rest = bytes(self.seq).saturating_sub(self.offset);
        let time = self.last_line.as_ref().and_then(|line| self.time_in_buffer(line));
        let line_bytes = self.given.1.checked_div(self.given.0).unwrap_or(LINE_BYTES_TYPICAL);
        let lines = |seq: u64| seals.lines(seq).unwrap_or_else(|| bytes(seq).div_ceil(line_bytes));
        Lag {
            bytes: ahead.iter().map(|seq| bytes(*seq)).sum::<u64>() + rest,
            lines: ahead.iter().map(|seq| lines(*seq)).sum::<u64>() + rest.div_ceil(line_bytes),
            segments: ahead.len() as u64,
            timestamp: time.or_else(|| self.last_time.clone()),
        }
    }

    fn time_in_buffer(&self, line: &Range<usize>) -> Option<String> {
        let time = self.buffer.get(line.clone()).and_then(time_of)?;
        Some(String::from_utf8_lossy(time).into_owned())
    }

    /// Reads on.
    fn fill(&mut self) -> io::Result<Filled> {
        self.forget_given_lines();
        if self.is_damaged {
            return Ok(Filled::AtEnd);
        }
        if self.source.is_none() && !self.open_source()? {
            return Ok(Filled::AtEnd);
        }
        let before = self.buffer.len();
        if before > LINE_BYTES_MAX {
            // No event is so long.
            return Ok(self.give_up_segment());
        }
        self.buffer.resize(before + CHUNK_BYTES, 0);
        let space = self.buffer.get_mut(before..).unwrap_or_default();
        let count = match &mut self.source {
            Some(Segment::Plain(file)) => file.read_at(space, self.offset + before as u64),
            Some(Segment::Compressed(lines)) => lines.read(space),
            None => Ok(0),
        };
        self.buffer.truncate(before + *count.as_ref().unwrap_or(&0));
        match count {
            Ok(0) => {
                // The beginning of a line may be taken back, and another one be written in its place.
                self.buffer.clear();
                self.searched = 0;
                Ok(Filled::AtEnd)
            }
            Ok(_) => Ok(Filled::Some),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Filled::Some),
            Err(_) if matches!(self.source, Some(Segment::Compressed(_))) => Ok(self.give_up_segment()),
            Err(error) => Err(error),
        }
    }

    /// Gives up the rest of a damaged segment.
    fn give_up_segment(&mut self) -> Filled {
        self.buffer.clear();
        self.searched = 0;
        self.is_damaged = true;
        self.lost.segments += 1;
        Filled::AtEnd
    }

    fn forget_given_lines(&mut self) {
        if let Some(line) = self.last_line.take() {
            self.last_id = self.buffer.get(line.clone()).map(line_id);
            self.last_time = self.time_in_buffer(&line).or_else(|| self.last_time.take());
        }
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.searched -= self.start.min(self.searched);
        self.start = 0;
    }

    /// Opens the segment where it was left. False if there is none.
    fn open_source(&mut self) -> io::Result<bool> {
        let mut source = match Segment::open(&self.folder, self.seq) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        if let Segment::Compressed(lines) = &mut source
            && io::copy(&mut lines.take(self.offset), &mut io::sink()).is_err()
        {
            self.give_up_segment();
            return Ok(false);
        }
        self.source = Some(source);
        // It may be new: whether it is closed is to be asked after what is in it now was read.
        self.is_last_pass = false;
        Ok(true)
    }

    /// Goes on to the next segment, if this one is closed. True if there may be more to read.
    fn advance(&mut self) -> io::Result<bool> {
        if !self.is_last_pass {
            self.is_last_pass = self.is_closed()? || self.is_gone()?;
            return Ok(self.is_last_pass);
        }
        let Some(next) = self.next_segment()? else { return self.is_gone() };
        if self.seq > 0 {
            let is_missed = self.source.is_none() && !self.seals.borrow().is_read(self.seq, self.offset);
            self.lost.segments += next - self.seq - 1 + u64::from(is_missed);
        }
        self.begin(next);
        Ok(true)
    }

    /// Whether the segment is not what was read any more, since somebody deleted, cut or replaced it, or segments after it; then
    /// the reader goes back, or on to what follows. True if there may be more to read.
    fn is_gone(&mut self) -> io::Result<bool> {
        self.looks = self.looks.wrapping_add(1);
        if !self.looks.is_multiple_of(LOOKS_PER_CHECK) {
            return Ok(false);
        }
        let segments = segment::readable(&self.folder)?;
        let newest = segments.last().copied().unwrap_or_default();
        if newest > self.seq {
            return Ok(true);
        }
        let is_here = segments.contains(&self.seq);
        let is_read = !is_here && self.seals.borrow().is_read(self.seq, self.offset);
        let is_same = is_read
            || match &self.source {
                Some(Segment::Plain(file)) => is_here && self.is_file_of_segment(file)?,
                Some(Segment::Compressed(_)) => is_here,
                None => is_here || (newest + 1 == self.seq && self.offset == 0),
            };
        if is_same || (segments.is_empty() && self.offset == 0) {
            return Ok(false);
        }
        let follows = is_here || newest + 1 == self.seq || segments.is_empty();
        self.go_back(if follows { self.seq } else { segments.first().copied().unwrap_or_default() });
        Ok(true)
    }

    /// Whether the open file is that of the segment, and has what was read.
    fn is_file_of_segment(&self, file: &File) -> io::Result<bool> {
        let open = file.metadata()?;
        let place = match segment::plain_path(&self.folder, self.seq).metadata() {
            // It was compressed.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            place => place?,
        };
        Ok((open.dev(), open.ino()) == (place.dev(), place.ino()) && place.len() >= self.offset)
    }

    fn begin(&mut self, seq: u64) {
        (self.seq, self.offset, self.source) = (seq, 0, None);
        (self.is_last_pass, self.is_damaged) = (false, false);
        (self.last_line, self.last_id) = (None, None);
        self.buffer.clear();
        (self.start, self.searched) = (0, 0);
    }

    /// Whether nothing will be added to the segment any more.
    fn is_closed(&self) -> io::Result<bool> {
        if !matches!(self.source, Some(Segment::Plain(_))) {
            return Ok(true);
        }
        let mut seals = self.seals.borrow_mut();
        seals.refresh()?;
        Ok(seals.bytes(self.seq).is_some() || self.is_readable(self.seq + 1))
    }

    fn is_readable(&self, seq: u64) -> bool {
        segment::plain_path(&self.folder, seq).exists() || segment::compressed_path(&self.folder, seq).exists()
    }

    fn next_segment(&self) -> io::Result<Option<u64>> {
        if self.is_readable(self.seq + 1) {
            return Ok(Some(self.seq + 1));
        }
        Ok(segment::readable(&self.folder)?.into_iter().find(|seq| *seq > self.seq))
    }

    fn go_to_end(&mut self, seq: u64) -> Result<(), ReadError> {
        self.seq = seq;
        while self.seq == seq && self.next_line()?.is_some() {}
        Ok(())
    }

    fn go_to(&mut self, cursor: Cursor, segments: &[u64]) -> Result<(), ReadError> {
        (self.seq, self.offset) = (cursor.seq, cursor.offset);
        if segments.contains(&cursor.seq) {
            if cursor.offset == 0 || self.stands_behind(&cursor)? {
                self.last_id = cursor.event_id;
            } else {
                self.go_back(cursor.seq);
            }
            return Ok(());
        }
        // Older segments are gone, which `advance` counts. Newer ones may have gone with the power.
        let newest = segments.last().copied().unwrap_or_default();
        if cursor.seq > newest {
            let follows = cursor.seq == newest + 1;
            if cursor.offset > 0 || !follows {
                let oldest = segments.first().copied().unwrap_or_default();
                self.go_back(if follows { cursor.seq } else { oldest });
            }
        }
        Ok(())
    }

    fn go_back(&mut self, seq: u64) {
        self.begin(seq);
        self.lost.went_back = true;
    }

    /// Whether the event of the cursor ends where the cursor stands.
    fn stands_behind(&self, cursor: &Cursor) -> Result<bool, ReadError> {
        let line = line_before(&self.folder, cursor).map_err(|source| self.failed(source))?;
        Ok(line.is_some_and(|line| cursor.event_id.as_ref().is_none_or(|id| *id == line_id(&line))))
    }

    fn failed(&self, source: io::Error) -> ReadError {
        failed(&segment::plain_path(&self.folder, self.seq), source)
    }
}

fn failed(path: &Path, source: io::Error) -> ReadError {
    ReadError { path: path.to_owned(), source }
}
