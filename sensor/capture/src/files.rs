//! Capture files as one source: several files, in the order of time.
//!
//! Files are taken up in the order of their first frames. Where files overlap in time, their frames are merged by
//! time; frames of one file keep their order. A file is opened when its first frame is due and closed at its end, so
//! that of a ring of hundreds of files few are open at a time. To learn when a file begins, each is opened once
//! before; a pipe, which cannot be opened twice, stays open.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use arrayvec::ArrayVec;

use super::filter::Filter;
use super::reader::Reader;
use super::record::Interfaces;
use super::{BATCH_FRAMES_MAX, Block, CaptureError, Position, ReadAhead, Source, SourceStatistics};
use vigie_wire::{Frame, LinkType};

/// How files are read.
#[derive(Clone, Debug, Default)]
pub struct FilesOptions {
    /// Only frames that this expression (as of `tcpdump`) lets pass are given.
    pub filter: Option<String>,
}

/// Capture files as a source.
#[derive(Debug)]
pub struct Files {
    /// Files whose time has not come, the next first.
    pending: VecDeque<Pending>,
    /// Files in reading, each at its place as long as it is read. One whose records are used up is not among the
    /// heads.
    readers: Vec<Option<Box<Reader>>>,
    /// The next frame of each file in reading, the earliest on top.
    heads: BinaryHeap<Reverse<Head>>,
    /// A file whose records are used up.
    used_up: Option<usize>,
    filter: Option<Filter>,
    interfaces: Interfaces,
    number: u64,
    statistics: SourceStatistics,
    bytes_closed: u64,
    bytes_total: Option<u64>,
}

/// A file that is yet to be read.
#[derive(Debug)]
struct Pending {
    first_timestamp_ns: u64,
    path: PathBuf,
    /// Set for what cannot be opened again.
    reader: Option<Box<Reader>>,
}

/// When a file's next frame was captured. Of equal times the file taken up first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    timestamp_ns: u64,
    reader: usize,
}

impl Files {
    /// Opens captures: paths, patterns with `*`, `?`, `[…]` (a file of exactly that name goes before), and `-` for the
    /// standard input. A file named twice is read once.
    ///
    /// # Errors
    /// Any of them is missing, unreadable, no capture, or of an unsupported link type; or the filter is wrong.
    pub fn open<P: AsRef<Path>>(patterns: &[P], options: &FilesOptions) -> Result<Self, CaptureError> {
        let mut files = Self {
            pending: VecDeque::new(),
            readers: Vec::new(),
            heads: BinaryHeap::new(),
            used_up: None,
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
            files.look_at(path, alone)?;
        }
        files.pending.make_contiguous().sort_by_key(|pending| pending.first_timestamp_ns);
        files.check_filter()?;
        Ok(files)
    }

    /// Learns when a file begins, and whether it can be read.
    fn look_at(&mut self, path: PathBuf, alone: bool) -> Result<(), CaptureError> {
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

    /// Compiles the filter for the link types known by now, so that a wrong expression is told before all work.
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

    /// Puts a file among those in reading if it has a frame, else closes it.
    fn take_up(&mut self, mut reader: Box<Reader>, place: usize) {
        reader.move_warnings(&mut self.statistics);
        match (reader.peek(), self.readers.get_mut(place)) {
            (Some(record), Some(slot)) => {
                self.heads.push(Reverse(Head { timestamp_ns: record.timestamp_ns, reader: place }));
                *slot = Some(reader);
            }
            _ => self.bytes_closed += reader.length().unwrap_or_else(|| reader.position()),
        }
    }

    /// Gets the next records of the file whose records are used up.
    fn refill(&mut self) -> Result<(), CaptureError> {
        let Some(place) = self.used_up.take() else { return Ok(()) };
        let Some(mut reader) = self.readers.get_mut(place).and_then(Option::take) else { return Ok(()) };
        let outcome = reader.refill(&mut self.interfaces);
        self.take_up(reader, place);
        outcome.map(|_| ())
    }

    /// Opens the files that begin no later than the next frame of those in reading.
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
            // Places are never used again: the order of places is the order in which files were taken up.
            self.readers.push(None);
            self.take_up(reader, self.readers.len() - 1);
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
                used_up: &mut self.used_up,
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
            return super::copy_block(self, block);
        };
        let Some(mut reader) = self.readers.get_mut(place).and_then(Option::take) else { return Ok(true) };
        self.heads.clear();
        let due_ns = self.pending.front().map(|pending| pending.first_timestamp_ns);
        self.statistics.frames_unsupported += reader.take_block(due_ns, &mut self.interfaces, &mut self.number, block);
        self.statistics.count(block.frames.iter().map(|placed| (placed.timestamp_ns, u64::from(placed.length))));
        match reader.peek() {
            Some(record) => self.heads.push(Reverse(Head { timestamp_ns: record.timestamp_ns, reader: place })),
            None => self.used_up = Some(place),
        }
        if let Some(slot) = self.readers.get_mut(place) {
            *slot = Some(reader);
        }
        Ok(true)
    }

    fn read_ahead(&self) -> Option<ReadAhead> {
        // What is read of one file of several, or of one whose frames are copied anyway, is read when it is needed.
        let place = match (self.used_up, self.heads.peek()) {
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

/// A batch in the making. It ends when it is full, when a file's records are used up (to find more would move the
/// bytes that the batch borrows), or when the next file is due.
struct Batch<'a> {
    frames: ArrayVec<Frame<'a>, BATCH_FRAMES_MAX>,
    readers: &'a [Option<Box<Reader>>],
    heads: &'a mut BinaryHeap<Reverse<Head>>,
    used_up: &'a mut Option<usize>,
    filter: Option<&'a mut Filter>,
    next_file_ns: Option<u64>,
    number: &'a mut u64,
    statistics: &'a mut SourceStatistics,
}

impl<'a> Batch<'a> {
    fn collect(&mut self) -> Result<(), CaptureError> {
        while !self.frames.is_full() {
            let Some(Reverse(head)) = self.heads.peek().copied() else { break };
            if self.is_next_file_due(head.timestamp_ns) {
                break;
            }
            self.heads.pop();
            let Some(reader) = self.readers.get(head.reader).and_then(Option::as_deref) else { continue };
            // This file's turn lasts until another one's head comes before its own.
            let limit = self.heads.peek().map(|Reverse(other)| *other);
            self.run(reader, head.reader, limit)?;
            match reader.peek() {
                Some(record) => {
                    self.heads.push(Reverse(Head { timestamp_ns: record.timestamp_ns, reader: head.reader }));
                }
                None => {
                    *self.used_up = Some(head.reader);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Adds frames of one file, as long as none of another is to come before.
    fn run(&mut self, reader: &'a Reader, place: usize, limit: Option<Head>) -> Result<(), CaptureError> {
        if limit.is_none() && self.next_file_ns.is_none() && self.filter.is_none() {
            self.run_alone(reader);
            return Ok(());
        }
        while let Some(record) = reader.peek() {
            if self.frames.is_full() {
                break;
            }
            let head = Head { timestamp_ns: record.timestamp_ns, reader: place };
            if limit.is_some_and(|limit| head > limit) || self.is_next_file_due(record.timestamp_ns) {
                break;
            }
            reader.advance(1);
            *self.number += 1;
            if !record.supported {
                self.statistics.frames_unsupported += 1;
                continue;
            }
            let frame = record.frame(*self.number, reader.bytes());
            if let Some(filter) = &mut self.filter
                && !filter.passes(frame.link_type, frame.data)?
            {
                self.statistics.frames_filtered += 1;
                continue;
            }
            self.statistics.count(std::iter::once((frame.timestamp_ns, frame.data.len() as u64)));
            self.frames.push(frame);
        }
        Ok(())
    }

    /// Adds frames of the one file that there is: what [`run`](Self::run) does when nothing is to be asked of a frame.
    fn run_alone(&mut self, reader: &'a Reader) {
        let records = reader.found();
        let records = records.get(..records.len().min(self.frames.remaining_capacity())).unwrap_or(records);
        let window = reader.bytes();
        let mut number = *self.number;
        let before = self.frames.len();
        for record in records {
            number += 1;
            if !record.supported {
                continue;
            }
            self.frames.push(record.frame(number, window));
        }
        let given = self.frames.len() - before;
        self.statistics.frames_unsupported += (records.len() - given) as u64;
        reader.advance(records.len());
        reader.find_frames(&mut number, &mut self.frames);
        let added = self.frames.get(before..).unwrap_or_default();
        self.statistics.count(added.iter().map(|frame| (frame.timestamp_ns, frame.data.len() as u64)));
        *self.number = number;
    }

    fn is_next_file_due(&self, timestamp_ns: u64) -> bool {
        self.next_file_ns.is_some_and(|due| due <= timestamp_ns)
    }
}

/// The files that patterns mean, each once.
fn expand<P: AsRef<Path>>(patterns: &[P]) -> Result<Vec<PathBuf>, CaptureError> {
    let mut paths = Vec::new();
    for pattern in patterns {
        let path = pattern.as_ref();
        match path.to_str().filter(|text| text.contains(['*', '?', '['])) {
            Some(text) if path.symlink_metadata().is_err() => expand_pattern(text, &mut paths)?,
            _ => paths.push(path.to_owned()),
        }
    }
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    Ok(paths)
}

fn expand_pattern(pattern: &str, paths: &mut Vec<PathBuf>) -> Result<(), CaptureError> {
    let wrong = |reason: String| CaptureError::Pattern { pattern: pattern.to_owned(), reason };
    let count = paths.len();
    for found in glob::glob(pattern).map_err(|error| wrong(error.to_string()))? {
        match found {
            Ok(path) if path.is_dir() => {}
            Ok(path) => paths.push(path),
            Err(error) => return Err(CaptureError::Io { file: error.path().to_owned(), source: error.into() }),
        }
    }
    if paths.len() == count { Err(wrong("no file has such a name".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::forge::{Forge, Kept, drain, read_files};
    use super::super::record::ByteOrder;
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const NANOSECONDS: u32 = 0xa1b2_3c4d;

    /// A file with frames at these times, each telling its file and place.
    fn file(folder: &Path, name: &str, mark: u8, times: &[u32]) -> PathBuf {
        let mut forge = Forge::classic(ByteOrder::Little, NANOSECONDS, 1);
        for (place, time) in times.iter().enumerate() {
            forge = forge.record(1, *time, 60, &[mark, place as u8, (place >> 8) as u8]);
        }
        let path = folder.join(name);
        fs::write(&path, forge.bytes).unwrap();
        path
    }

    fn marks(frames: &[Kept]) -> Vec<(u64, u8)> {
        frames.iter().map(|frame| (frame.timestamp_ns - 1_000_000_000, frame.data[0])).collect()
    }

    #[test]
    fn files_follow_each_other_by_their_first_frames_and_merge_where_they_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [
            file(folder.path(), "c", b'c', &[50, 60]),
            file(folder.path(), "empty", b'e', &[]),
            file(folder.path(), "a", b'a', &[1, 5, 9, 20]),
            file(folder.path(), "b", b'b', &[5, 6, 30]),
        ];
        let (frames, statistics) = read_files(&paths).unwrap();
        let expected =
            [(1, b'a'), (5, b'a'), (5, b'b'), (6, b'b'), (9, b'a'), (20, b'a'), (30, b'b'), (50, b'c'), (60, b'c')];
        assert_eq!(marks(&frames), expected);
        let numbers: Vec<_> = frames.iter().map(|frame| frame.number).collect();
        assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
        assert!(frames.iter().all(|frame| frame.interface == 0), "a ring of files has one interface");
        assert_eq!(statistics.warnings, []);
    }

    #[test]
    fn of_a_ring_of_files_few_are_open() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..300_u32 {
            let start = number * 100;
            file(folder.path(), &format!("{:03}.pcap", 299 - number), 0, &[start, start + 50, start + 99, start + 101]);
        }
        let options = FilesOptions::default();
        let mut files = Files::open(&[folder.path().join("*.pcap")], &options).unwrap();
        let (mut last, mut count, mut open_max, mut done) = (0, 0, 0, 0);
        while files
            .next_batch(&mut |frames| {
                for frame in frames {
                    assert!(frame.timestamp_ns >= last && frame.number == count + 1);
                    (last, count) = (frame.timestamp_ns, count + 1);
                }
            })
            .unwrap()
        {
            open_max = open_max.max(files.readers.iter().flatten().count());
            let position = files.position();
            assert!(position.bytes_done >= done);
            done = position.bytes_done;
        }
        assert_eq!(count, 1200);
        assert!(open_max <= 2, "{open_max}");
        assert_eq!(files.position().bytes_total, Some(300 * (24 + 4 * 19)));
        assert_eq!(Some(files.position().bytes_done), files.position().bytes_total);
    }

    #[test]
    fn patterns_names_and_what_is_wrong_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let here = |name: &str| folder.path().join(name);
        file(folder.path(), "a1.pcap", 1, &[1]);
        file(folder.path(), "a2.pcap", 2, &[2]);
        file(folder.path(), "odd[name].pcap", 3, &[3]);
        fs::create_dir(here("a3.pcap")).unwrap();
        let read = |names: &[&str]| {
            let paths: Vec<PathBuf> = names.iter().map(|name| here(name)).collect();
            read_files(&paths).map(|(frames, _)| frames.iter().map(|frame| frame.data[0]).collect::<Vec<_>>())
        };
        assert_eq!(read(&["a*.pcap"]).unwrap(), [1, 2]);
        assert_eq!(read(&["a2.pcap", "a?.pcap", "a2.pcap"]).unwrap(), [1, 2]);
        assert_eq!(read(&["odd[name].pcap"]).unwrap(), [3]);
        assert_eq!(read(&[]).unwrap(), [0_u8; 0]);
        assert!(matches!(read(&["b*.pcap"]), Err(CaptureError::Pattern { .. })));
        assert!(matches!(read(&["***"]), Err(CaptureError::Pattern { .. })));
        for (name, text) in [("b1.pcap", "b1.pcap: No such file"), ("a3.pcap", "a3.pcap: Is a directory")] {
            let error = read(&["a1.pcap", name]).unwrap_err();
            assert!(matches!(error, CaptureError::Io { .. }) && error.to_string().contains(text), "{error}");
        }
        fs::write(here("a4.pcap"), b"notes on the captures").unwrap();
        assert!(matches!(read(&["a[1-9].pcap"]), Err(CaptureError::Io { .. } | CaptureError::NotACapture { .. })));
    }

    #[test]
    fn a_file_that_vanishes_before_its_time_is_an_error_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [file(folder.path(), "a", 1, &[1]), file(folder.path(), "b", 2, &[2])];
        let mut files = Files::open(&paths, &FilesOptions::default()).unwrap();
        fs::remove_file(&paths[1]).unwrap();
        let mut seen = 0;
        assert!(files.next_batch(&mut |frames| seen += frames.len()).unwrap());
        assert!(matches!(files.next_batch(&mut |_| {}), Err(CaptureError::Io { file, .. }) if file == paths[1]));
        assert!(!files.next_batch(&mut |_| {}).unwrap());
        assert_eq!(seen, 1);
    }

    #[test]
    fn warnings_of_all_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [file(folder.path(), "a", 1, &[1, 2]), file(folder.path(), "b", 2, &[3]), folder.path().join("c")];
        for path in &paths[..2] {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }
        fs::write(&paths[2], &fs::read(&paths[0]).unwrap()[..30]).unwrap();
        let (frames, statistics) = read_files(&paths).unwrap();
        assert_eq!(frames.len(), 3);
        let warnings: Vec<_> =
            statistics.warnings.iter().map(|warning| (warning.file.clone(), warning.offset)).collect();
        assert_eq!(warnings, [(paths[2].clone(), 24), (paths[0].clone(), 43), (paths[1].clone(), 24)]);
    }

    #[test]
    fn the_filter_leaves_out_frames_and_keeps_their_numbers() {
        let packet = |port: u8| {
            let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
            bytes.extend([0x30, 0x39, 0, port, 0, 8, 0, 0]);
            bytes
        };
        let mut forge = Forge::classic(ByteOrder::Big, NANOSECONDS, 101);
        for number in 1..=1000 {
            forge = forge.record(1, number, 28, &packet(if number % 100 == 7 { 53 } else { 54 }));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), forge.bytes).unwrap();
        let open = |expression: &str| {
            let options = FilesOptions { filter: Some(expression.to_owned()) };
            Files::open(&[file.path()], &options)
        };
        let (frames, statistics) = drain(&mut open("udp port 53").unwrap()).unwrap();
        let numbers: Vec<_> = frames.iter().map(|frame| frame.number).collect();
        assert_eq!(numbers, (0..10).map(|hundred| hundred * 100 + 7).collect::<Vec<_>>());
        assert_eq!((statistics.frames, statistics.frames_filtered), (10, 990));
        let (frames, statistics) = drain(&mut open("tcp").unwrap()).unwrap();
        assert_eq!((frames.len(), statistics.frames_filtered), (0, 1000));
        let error = open("udp prot 53").unwrap_err();
        assert!(matches!(error, CaptureError::Filter { .. }), "{error}");
    }

    #[test]
    fn a_wrong_filter_is_told_even_where_there_is_nothing_to_filter() {
        let options = FilesOptions { filter: Some("port port".to_owned()) };
        assert!(matches!(Files::open::<&str>(&[], &options), Err(CaptureError::Filter { .. })));
    }

    #[test]
    fn sources_go_to_other_threads() {
        fn goes<T: Send>() {}
        goes::<Files>();
    }

    /// The frame order that is meant: of the files whose first frames are not later than any other's next frame,
    /// the one with the earliest next frame gives it.
    fn merged(times: &[Vec<u32>]) -> Vec<(u64, u8)> {
        let mut order: Vec<usize> = (0..times.len()).filter(|&file| !times[file].is_empty()).collect();
        order.sort_by_key(|&file| times[file][0]);
        let mut next = vec![0; times.len()];
        let mut out = Vec::new();
        while let Some(&file) =
            order.iter().filter(|&&file| next[file] < times[file].len()).min_by_key(|&&file| times[file][next[file]])
        {
            out.push((u64::from(times[file][next[file]]), file as u8));
            next[file] += 1;
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_files_merge_by_time(
            times in proptest::collection::vec(proptest::collection::vec(0_u32..500, 0..200), 0..6),
            sorted in proptest::collection::vec(any::<bool>(), 6),
        ) {
            let mut times = times;
            for (times, sorted) in times.iter_mut().zip(sorted) {
                if sorted {
                    times.sort_unstable();
                }
            }
            let folder = tempfile::tempdir().unwrap();
            let paths: Vec<PathBuf> =
                times.iter().enumerate().map(|(n, times)| file(folder.path(), &n.to_string(), n as u8, times)).collect();
            let (frames, _) = read_files(&paths).unwrap();
            prop_assert_eq!(marks(&frames), merged(&times));
            prop_assert!(frames.iter().zip(1..).all(|(frame, number)| frame.number == number));
        }
    }
}
