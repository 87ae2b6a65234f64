//! Several capture files as one source, in the order of time.
//!
//! Files are read in the order of their first frames. Where files overlap in time, their frames are merged by time; the
//! frames of one file keep their order. Each file is opened once at the start, to learn when it begins. It is opened again
//! when its first frame is due, and closed at its end, so that of a ring of hundreds of files few are open at a time. A
//! pipe, which cannot be opened twice, stays open.

mod batch;
mod patterns;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::path::{Path, PathBuf};

use arrayvec::ArrayVec;

use self::batch::Batch;
use self::patterns::expand;
use super::filter::Filter;
use super::reader::Reader;
use super::record::Interfaces;
use super::source::copy_block;
use super::{Block, CaptureError, Position, ReadAhead, Source, SourceStatistics};
use vigie_wire::{Frame, LinkType};

/// Options for reading files.
#[derive(Clone, Debug, Default)]
pub struct FilesOptions {
    /// A filter expression (pcap-filter(7)); frames that it rejects are not given.
    pub filter: Option<String>,
}

/// Capture files as a source.
#[derive(Debug)]
pub struct Files {
    /// Files that are not due yet, the next first.
    pending: VecDeque<Pending>,
    /// Files being read. Each keeps its index as long as it is read.
    readers: Vec<Option<Box<Reader>>>,
    /// The next frame of each file being read, the earliest on top. The exhausted file has none.
    heads: BinaryHeap<Reverse<Head>>,
    /// The file whose records were all taken.
    exhausted: Option<usize>,
    filter: Option<Filter>,
    interfaces: Interfaces,
    number: u64,
    statistics: SourceStatistics,
    bytes_closed: u64,
    bytes_total: Option<u64>,
}

/// A file that is not due yet.
#[derive(Debug)]
struct Pending {
    first_timestamp_ns: u64,
    path: PathBuf,
    /// Set for a file that cannot be opened again.
    reader: Option<Box<Reader>>,
}

/// When a file's next frame was captured. Of equal times the file that was opened first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    timestamp_ns: u64,
    reader: usize,
}

impl Files {
    /// Opens captures: paths, patterns with `*`, `?`, `[…]` (a file of exactly that name has precedence), and `-` for the
    /// standard input. A file named twice is read once.
    ///
    /// # Errors
    /// Any of them is missing, unreadable, no capture, or of an unsupported link type; or the filter is wrong.
    pub fn open<P: AsRef<Path>>(patterns: &[P], options: &FilesOptions) -> Result<Self, CaptureError> {
        let mut files = Self {
            pending: VecDeque::new(),
            readers: Vec::new(),
            heads: BinaryHeap::new(),
            exhausted: None,
            filter: options.filter.clone().map(Filter::new),
            interfaces: Interfaces::default(),
            number: 0,
            statistics: SourceStatistics::default(),
            bytes_closed: 0,
            bytes_total: Some(0),
        };
        let paths = expand(patterns)?;
        let alone = paths.len() == 1;
        for path in paths {
            files.probe(path, alone)?;
        }
        files.pending.make_contiguous().sort_by_key(|pending| pending.first_timestamp_ns);
        files.check_filter()?;
        Ok(files)
    }

    /// Learns when a file begins, and whether it can be read.
    fn probe(&mut self, path: PathBuf, alone: bool) -> Result<(), CaptureError> {
        let mut reader = Reader::open(&path, &mut self.interfaces)?;
        self.bytes_total = self.bytes_total.zip(reader.length()).map(|(total, length)| total + length);
        match reader.peek().map(|record| record.timestamp_ns) {
            Some(first_timestamp_ns) => {
                let keep = alone || !reader.can_be_opened_again();
                self.pending.push_back(Pending { first_timestamp_ns, path, reader: keep.then_some(reader) });
            }
            None => {
                reader.move_warnings(&mut self.statistics);
                self.bytes_closed += reader.length().unwrap_or_else(|| reader.position());
            }
        }
        Ok(())
    }

    /// Compiles the filter for the link types known by now, so that a wrong expression is an error at the start.
    fn check_filter(&mut self) -> Result<(), CaptureError> {
        let Some(filter) = &mut self.filter else { return Ok(()) };
        let mut link_types: Vec<LinkType> = self.interfaces.link_types().to_vec();
        link_types.retain(|link_type| link_type.is_supported());
        if link_types.is_empty() {
            link_types.push(LinkType::ETHERNET);
        }
        for link_type in link_types {
            filter.compile(link_type)?;
        }
        Ok(())
    }

    /// Adds a file to those being read if it has a frame, else closes it.
    fn activate(&mut self, mut reader: Box<Reader>, place: usize) {
        reader.move_warnings(&mut self.statistics);
        match (reader.peek(), self.readers.get_mut(place)) {
            (Some(record), Some(slot)) => {
                self.heads.push(Reverse(Head { timestamp_ns: record.timestamp_ns, reader: place }));
                *slot = Some(reader);
            }
            _ => self.bytes_closed += reader.length().unwrap_or_else(|| reader.position()),
        }
    }

    /// Finds the next records of the exhausted file.
    fn refill(&mut self) -> Result<(), CaptureError> {
        let Some(place) = self.exhausted.take() else { return Ok(()) };
        let Some(mut reader) = self.readers.get_mut(place).and_then(Option::take) else { return Ok(()) };
        let outcome = reader.refill(&mut self.interfaces).and_then(|_| reader.check_supported());
        self.activate(reader, place);
        outcome
    }

    /// Opens the files that begin no later than the next frame of those being read.
    fn open_due(&mut self) -> Result<(), CaptureError> {
        while let Some(pending) = self.pending.front() {
            let due = self.heads.peek().is_none_or(|Reverse(head)| pending.first_timestamp_ns <= head.timestamp_ns);
            if !due {
                break;
            }
            let Some(pending) = self.pending.pop_front() else { break };
            let reader = match pending.reader {
                Some(reader) => reader,
                None => Reader::open(&pending.path, &mut self.interfaces)?,
            };
            // Indexes are never used again: their order is the order in which files were opened.
            self.readers.push(None);
            self.activate(reader, self.readers.len() - 1);
        }
        Ok(())
    }
}

impl Source for Files {
    fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> Result<bool, CaptureError> {
        loop {
            self.refill()?;
            self.open_due()?;
            if self.heads.is_empty() {
                return Ok(false);
            }
            let mut batch = Batch {
                frames: ArrayVec::new(),
                readers: &self.readers,
                heads: &mut self.heads,
                exhausted: &mut self.exhausted,
                filter: self.filter.as_mut(),
                next_file_ns: self.pending.front().map(|pending| pending.first_timestamp_ns),
                number: &mut self.number,
                statistics: &mut self.statistics,
            };
            batch.collect()?;
            if !batch.frames.is_empty() {
                visit(&batch.frames);
                return Ok(true);
            }
        }
    }

    fn next_block(&mut self, block: &mut Block) -> Result<bool, CaptureError> {
        block.clear();
        self.refill()?;
        self.open_due()?;
        let is_alone = self.heads.len() == 1 && self.filter.is_none();
        let Some(place) = self.heads.peek().filter(|_| is_alone).map(|Reverse(head)| head.reader) else {
            return copy_block(self, block);
        };
        let Some(mut reader) = self.readers.get_mut(place).and_then(Option::take) else { return Ok(true) };
        self.heads.clear();
        let due_ns = self.pending.front().map(|pending| pending.first_timestamp_ns);
        self.statistics.frames_unsupported += reader.take_block(due_ns, &mut self.interfaces, &mut self.number, block);
        self.statistics.count(block.frames.iter().map(|entry| (entry.timestamp_ns, u64::from(entry.length))));
        match reader.peek() {
            Some(record) => self.heads.push(Reverse(Head { timestamp_ns: record.timestamp_ns, reader: place })),
            None => self.exhausted = Some(place),
        }
        if let Some(slot) = self.readers.get_mut(place) {
            *slot = Some(reader);
        }
        Ok(true)
    }

    fn read_ahead(&self) -> Option<ReadAhead> {
        // Reading ahead helps only while one file is read alone and its frames are not copied.
        let place = match (self.exhausted, self.heads.peek()) {
            _ if self.filter.is_some() => None,
            (Some(place), None) => Some(place),
            (None, Some(Reverse(head))) if self.heads.len() == 1 => Some(head.reader),
            _ => None,
        };
        self.readers.get(place?)?.as_ref()?.read_ahead()
    }

    fn statistics(&self) -> SourceStatistics {
        self.statistics.clone()
    }

    fn position(&self) -> Position {
        let open: u64 = self.readers.iter().flatten().map(|reader| reader.position()).sum();
        Position { bytes_done: self.bytes_closed + open, bytes_total: self.bytes_total }
    }

    fn interfaces(&self) -> usize {
        self.interfaces.count()
    }

    fn interface_name(&self, interface: u16) -> Option<&str> {
        self.interfaces.name(interface)
    }
}

#[cfg(test)]
mod tests;
