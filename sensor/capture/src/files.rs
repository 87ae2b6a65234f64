//! Several capture files as one source, in the order of time.
//!
//! Files are read in the order of their first frames. Where files overlap in time, their frames are merged by time; the
//! frames of one file keep their order. Each file is opened once at the start, to learn when it begins. It is opened again
//! when its first frame is due, and closed at its end, so that of a ring of hundreds of files few are open at a time. A
//! pipe, which cannot be opened twice, stays open. When the system lets no more files be opened, a file waits until another
//! one ends.
//!
//! A single file that cannot be read is an error. One of several is skipped, and told as a failure.

mod batch;
mod patterns;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;

use self::batch::Batch;
use self::patterns::{Found, expand};
use super::filter::Filter;
use super::reader::Reader;
use super::record::Interfaces;
use super::source::copy_block;
use super::{Block, CaptureError, FileFailure, Position, ReadAhead, Source, SourceStatistics, WARNINGS_MAX, Warning};
use vigie_wire::{Frame, LinkType};

/// Options for reading files.
#[derive(Clone, Debug, Default)]
pub struct FilesOptions {
    /// A filter expression (pcap-filter(7)); frames that it rejects are not given.
    pub filter: Option<String>,
    /// Once this is set the source ends, also while it waits for a pipe.
    pub stop: Option<Arc<AtomicBool>>,
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
    stop: Option<Arc<AtomicBool>>,
    /// There is one file only, whose failure is an error.
    is_single: bool,
    /// The system lets no more files be opened until one is closed.
    is_short_of_descriptors: bool,
    warned_of_late_file: bool,
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
    /// Opens captures: paths, folders, patterns with `*`, `?`, `[…]` (a file of exactly that name has precedence), and `-` for
    /// the standard input. A file named twice is read once.
    ///
    /// # Errors
    /// A name or pattern means no file; none of the files is a capture that can be read; or the filter is wrong.
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
            stop: options.stop.clone(),
            is_single: false,
            is_short_of_descriptors: false,
            warned_of_late_file: false,
        };
        let (found, skipped) = expand(patterns)?;
        files.is_single = found.len() == 1;
        files.statistics.files = found.len() as u64;
        for path in skipped {
            files.statistics.warn(Warning {
                file: path,
                offset: 0,
                message: "not a regular file; it is skipped".into(),
            });
        }
        files.probe_all(found)?;
        files.pending.make_contiguous().sort_by_key(|pending| pending.first_timestamp_ns);
        files.check_filter()?;
        Ok(files)
    }

    /// Learns when the files begin, and which can be read.
    fn probe_all(&mut self, found: Vec<Found>) -> Result<(), CaptureError> {
        let (count, mut failed, mut first_error) = (found.len(), 0, None);
        for Found { path, is_from_folder } in found {
            let Err(error) = self.probe(path.clone()) else { continue };
            match &error {
                CaptureError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound && !is_from_folder => {
                    return Err(error);
                }
                CaptureError::NotACapture { seen, .. } if is_from_folder && !is_named_like_a_capture(&path) => {
                    let message = format!("not a pcap or pcapng capture: {seen}; it is skipped");
                    self.statistics.warn(Warning { file: path, offset: 0, message: message.into() });
                }
                other => self.statistics.fail(failure(&path, other)),
            }
            failed += 1;
            first_error.get_or_insert(error);
        }
        first_error.filter(|_| failed == count).map_or(Ok(()), Err)
    }

    /// Learns when a file begins, and whether it can be read.
    fn probe(&mut self, path: PathBuf) -> Result<(), CaptureError> {
        let mut reader = Reader::open(&path, self.stop.as_ref(), &mut self.interfaces)?;
        self.bytes_total = self.bytes_total.zip(reader.length()).map(|(total, length)| total + length);
        match reader.peek().map(|record| record.timestamp_ns) {
            Some(first_timestamp_ns) => {
                let keep = self.is_single || !reader.can_be_opened_again();
                self.pending.push_back(Pending { first_timestamp_ns, path, reader: keep.then_some(reader) });
            }
            None => {
                reader.move_warnings(&mut self.statistics);
                if reader.is_damaged() {
                    self.statistics.files_damaged.push(path);
                }
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
        if reader.peek().is_none() {
            reader.warn_of_time_order();
        }
        reader.move_warnings(&mut self.statistics);
        match (reader.peek(), self.readers.get_mut(place)) {
            (Some(record), Some(slot)) => {
                self.heads.push(Reverse(Head { timestamp_ns: record.timestamp_ns, reader: place }));
                *slot = Some(reader);
            }
            _ => {
                self.bytes_closed += reader.length().unwrap_or_else(|| reader.position());
                self.is_short_of_descriptors = false;
                if reader.is_damaged() && self.statistics.files_damaged.len() < WARNINGS_MAX {
                    self.statistics.files_damaged.push(reader.path().to_owned());
                }
            }
        }
    }

    /// An error of a file: the caller's if it is the only one, else a failure.
    fn fail(&mut self, path: &Path, error: CaptureError) -> Result<(), CaptureError> {
        if self.is_single {
            return Err(error);
        }
        self.statistics.fail(failure(path, &error));
        Ok(())
    }

    /// When the next file is due, unless it must wait.
    fn next_file_ns(&self) -> Option<u64> {
        self.pending.front().filter(|_| !self.is_short_of_descriptors).map(|pending| pending.first_timestamp_ns)
    }

    /// Whether the reading is to stop here.
    fn is_stopped(&mut self) -> bool {
        self.statistics.is_stopped |= self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed));
        self.statistics.is_stopped
    }

    /// Finds the next records of the exhausted file.
    fn refill(&mut self) -> Result<(), CaptureError> {
        let Some(place) = self.exhausted.take() else { return Ok(()) };
        let Some(mut reader) = self.readers.get_mut(place).and_then(Option::take) else { return Ok(()) };
        let outcome = reader.refill(&mut self.interfaces).and_then(|_| reader.check_supported());
        let failure = outcome.map_err(|error| (reader.path().to_owned(), error));
        self.activate(reader, place);
        failure.or_else(|(path, error)| self.fail(&path, error))
    }

    /// Opens the files that begin no later than the next frame of those being read.
    fn open_due(&mut self) -> Result<(), CaptureError> {
        while let Some(next_ns) = self.next_file_ns() {
            let due = self.heads.peek().is_none_or(|Reverse(head)| next_ns <= head.timestamp_ns);
            if !due {
                break;
            }
            let Some(pending) = self.pending.pop_front() else { break };
            let reader = match pending.reader {
                Some(reader) => reader,
                None => match Reader::open(&pending.path, self.stop.as_ref(), &mut self.interfaces) {
                    Ok(reader) => reader,
                    Err(error) if is_short_of_descriptors(&error) && self.readers.iter().any(Option::is_some) => {
                        self.wait_for_descriptor(pending);
                        break;
                    }
                    Err(error) => {
                        self.fail(&pending.path, error)?;
                        continue;
                    }
                },
            };
            // Indexes are never used again: their order is the order in which files were opened.
            self.readers.push(None);
            self.activate(reader, self.readers.len() - 1);
        }
        Ok(())
    }
}

impl Files {
    /// Leaves a file for later, when another one was closed.
    fn wait_for_descriptor(&mut self, pending: Pending) {
        self.is_short_of_descriptors = true;
        if !std::mem::replace(&mut self.warned_of_late_file, true) {
            let message = "too many files are open at once; frames of this and of further files come later than their \
                           time; raise the limit ('ulimit -n')";
            self.statistics.warn(Warning { file: pending.path.clone(), offset: 0, message: message.into() });
        }
        self.pending.push_front(pending);
    }
}

fn failure(path: &Path, error: &CaptureError) -> FileFailure {
    let is_unavailable = matches!(error, CaptureError::Io { .. });
    FileFailure { file: path.to_owned(), message: error.to_string(), is_unavailable }
}

/// The name has a capture's ending, perhaps before that of a compression.
fn is_named_like_a_capture(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.split('.').skip(1).any(|part| ["pcap", "pcapng", "cap"].contains(&part))
}

fn is_short_of_descriptors(error: &CaptureError) -> bool {
    let CaptureError::Io { source, .. } = error else { return false };
    matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

impl Source for Files {
    fn next_batch(&mut self, visit: &mut dyn FnMut(&[Frame<'_>])) -> Result<bool, CaptureError> {
        loop {
            self.refill()?;
            if self.is_stopped() {
                return Ok(false);
            }
            self.open_due()?;
            if self.heads.is_empty() {
                return Ok(false);
            }
            let next_file_ns = self.next_file_ns();
            let mut batch = Batch {
                frames: ArrayVec::new(),
                readers: &self.readers,
                heads: &mut self.heads,
                exhausted: &mut self.exhausted,
                filter: self.filter.as_mut(),
                next_file_ns,
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
        if self.is_stopped() {
            return Ok(false);
        }
        self.open_due()?;
        let is_alone = self.heads.len() == 1 && self.filter.is_none();
        let Some(place) = self.heads.peek().filter(|_| is_alone).map(|Reverse(head)| head.reader) else {
            return copy_block(self, block);
        };
        let Some(mut reader) = self.readers.get_mut(place).and_then(Option::take) else { return Ok(true) };
        self.heads.clear();
        let due_ns = self.next_file_ns();
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
