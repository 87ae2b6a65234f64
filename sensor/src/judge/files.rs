//! Logs in files or on the standard input: cut into blocks of whole lines, parsed by several threads, and given out in
//! the order in which the lines were logged, over all files together.
//!
//! Lines that cannot be used are counted, each with its place; none of them ends the reading. A flag ends it early.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use vigie_judgement::Recogniser;

use super::line::{self, BadLine, Record};

/// Bytes that are read at once.
const BLOCK_BYTES: usize = 512 << 10;
/// The longest line that is read.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Blocks of a file that are parsed ahead.
const BLOCKS_AHEAD: usize = 4;
/// How long a wait for input lasts before the flag is looked at that ends it, milliseconds.
const WAIT_MS: u8 = 100;
/// Bad lines of which the place is told.
pub const PLACES_MAX: usize = 10;

/// What became of the lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The file, as given.
    pub file: PathBuf,
    /// Lines that are not empty.
    pub lines: u64,
    /// Lines that could not be used.
    pub bad: u64,
    /// The first of them: number and reason.
    pub places: Vec<(u64, String)>,
    /// Why the rest was not read.
    pub error: Option<String>,
}

/// A block of whole lines, but for the last one of a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Block {
    bytes: Vec<u8>,
    /// A line before it was dropped, since it was too long.
    follows_long_line: bool,
}

impl Block {
    /// Drops a last line without its end: after an interrupt nobody knows whether more of it would have come.
    fn drop_cut_line(&mut self) {
        self.bytes.truncate(memchr::memrchr(b'\n', &self.bytes).map_or(0, |last| last + 1));
    }
}

/// The standard input, until the flag is set. A wait for input that does not come would not notice an interrupt.
struct StandardInput<'s> {
    file: File,
    stop: &'s AtomicBool,
}

impl<'s> StandardInput<'s> {
    fn open(stop: &'s AtomicBool) -> io::Result<Self> {
        // Without the buffer of the library, whose bytes no poll would see.
        Ok(Self { file: io::stdin().as_fd().try_clone_to_owned()?.into(), stop })
    }
}

impl Read for StandardInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(0);
            }
            let mut entries = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            // An interrupt ends the wait early; another error shows when it is read.
            match poll(&mut entries, WAIT_MS) {
                Ok(0) | Err(Errno::EINTR) => {}
                _ => break,
            }
        }
        self.file.read(buffer)
    }
}

/// Cuts what it reads into blocks.
struct Blocks<R> {
    reader: R,
    rest: Vec<u8>,
    has_ended: bool,
    /// The rest of a line that is too long is being dropped.
    is_dropping: bool,
}

impl<R: Read> Blocks<R> {
    const fn new(reader: R) -> Self {
        Self { reader, rest: Vec::new(), has_ended: false, is_dropping: false }
    }

    /// The next block; none at the end.
    fn next(&mut self) -> io::Result<Option<Block>> {
        let mut bytes = std::mem::take(&mut self.rest);
        let mut follows_long_line = false;
        while !self.has_ended {
            let start = bytes.len();
            bytes.resize(start + BLOCK_BYTES, 0);
            let read = self.reader.read(bytes.get_mut(start..).unwrap_or_default());
            bytes.truncate(start + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.has_ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if self.is_dropping {
                let Some(end) = memchr::memchr(b'\n', &bytes) else {
                    bytes.clear();
                    continue;
                };
                bytes.drain(..=end);
                self.is_dropping = false;
                follows_long_line = true;
                let Some(last) = memchr::memrchr(b'\n', &bytes) else { continue };
                self.rest = bytes.split_off(last + 1);
                return Ok(Some(Block { bytes, follows_long_line }));
            }
            if let Some(last) = memchr::memrchr(b'\n', bytes.get(start..).unwrap_or_default()) {
                self.rest = bytes.split_off(start + last + 1);
                return Ok(Some(Block { bytes, follows_long_line }));
            }
            if bytes.len() > LINE_BYTES_MAX {
                bytes.clear();
                self.is_dropping = true;
            }
        }
        let follows_long_line = follows_long_line || std::mem::take(&mut self.is_dropping);
        let is_empty = bytes.is_empty() && !follows_long_line;
        Ok((!is_empty).then_some(Block { bytes, follows_long_line }))
    }
}

/// What the lines of a block say.
#[derive(Debug, Default)]
struct Parsed {
    records: Vec<Record>,
    /// Lines, empty ones too.
    lines: u64,
    empty: u64,
    bad: u64,
    /// Number within the block, from 1, and reason.
    places: Vec<(u64, String)>,
}

impl Parsed {
    fn add_bad(&mut self, reason: &BadLine) {
        self.bad += 1;
        if self.places.len() < PLACES_MAX {
            self.places.push((self.lines, reason.to_string()));
        }
    }
}

fn parse(block: &Block, recogniser: &Recogniser) -> Parsed {
    let mut parsed = Parsed::default();
    if block.follows_long_line {
        parsed.lines += 1;
        parsed.add_bad(&BadLine::TooLong(LINE_BYTES_MAX));
    }
    let text = block.bytes.strip_suffix(b"\n").unwrap_or(&block.bytes);
    if text.is_empty() {
        let empty = u64::from(!block.bytes.is_empty());
        return Parsed { lines: parsed.lines + empty, empty, ..parsed };
    }
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (line, next) = match memchr::memchr(b'\n', text) {
            Some(end) => (text.get(..end).unwrap_or_default(), text.get(end + 1..)),
            None => (text, None),
        };
        rest = next;
        parsed.lines += 1;
        let line = line.trim_ascii();
        if line.is_empty() {
            parsed.empty += 1;
        } else if line.len() > LINE_BYTES_MAX {
            parsed.add_bad(&BadLine::TooLong(LINE_BYTES_MAX));
        } else {
            match line::read(line, recogniser) {
                Ok(Some(record)) => parsed.records.push(record),
                Ok(None) => {}
                Err(reason) => parsed.add_bad(&reason),
            }
        }
    }
    parsed
}

/// A block to be parsed, and where the result goes.
struct Job {
    block: Block,
    reply: Sender<Parsed>,
}

/// A file being read.
struct Input<'s> {
    blocks: Blocks<Box<dyn Read + 's>>,
    stop: &'s AtomicBool,
    ahead: VecDeque<Receiver<Parsed>>,
    records: std::vec::IntoIter<Record>,
    next: Option<Record>,
    lines_before: u64,
    report: Report,
}

impl<'s> Input<'s> {
    fn open(path: &Path, stop: &'s AtomicBool) -> io::Result<Self> {
        let reader: Box<dyn Read + 's> =
            if path.as_os_str() == "-" { Box::new(StandardInput::open(stop)?) } else { Box::new(File::open(path)?) };
        Ok(Self {
            blocks: Blocks::new(reader),
            stop,
            ahead: VecDeque::new(),
            records: Vec::new().into_iter(),
            next: None,
            lines_before: 0,
            report: Report { file: path.to_owned(), ..Report::default() },
        })
    }

    /// Makes the next record ready; false at the end.
    fn advance(&mut self, jobs: &Sender<Job>) -> bool {
        loop {
            self.next = self.records.next();
            if self.next.is_some() {
                return true;
            }
            self.read_ahead(jobs);
            let Some(parsed) = self.ahead.pop_front().and_then(|ahead| ahead.recv().ok()) else { return false };
            self.report.lines += parsed.lines - parsed.empty;
            self.report.bad += parsed.bad;
            let room = PLACES_MAX.saturating_sub(self.report.places.len());
            let places = parsed.places.into_iter().take(room);
            self.report.places.extend(places.map(|(line, reason)| (self.lines_before + line, reason)));
            self.lines_before += parsed.lines;
            self.records = parsed.records.into_iter();
        }
    }

    fn read_ahead(&mut self, jobs: &Sender<Job>) {
        while self.ahead.len() < BLOCKS_AHEAD && self.report.error.is_none() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            match self.blocks.next() {
                Ok(Some(mut block)) => {
                    if self.stop.load(Ordering::Relaxed) {
                        block.drop_cut_line();
                    }
                    let (reply, parsed) = bounded(1);
                    if jobs.send(Job { block, reply }).is_err() {
                        return;
                    }
                    self.ahead.push_back(parsed);
                }
                Ok(None) => return,
                Err(error) => self.report.error = Some(error.to_string()),
            }
        }
    }

    fn logged_ns(&self) -> u64 {
        self.next.as_ref().map_or(u64::MAX, |record| record.logged_ns)
    }
}

/// Reads files together, and gives out what their lines say in the order in which they were logged, until `stop` is set.
///
/// # Errors
/// A file cannot be opened: which, and why.
pub fn read(
    paths: &[PathBuf],
    recogniser: &Recogniser,
    stop: &AtomicBool,
    take: &mut dyn FnMut(Record),
) -> Result<Vec<Report>, (PathBuf, io::Error)> {
    let inputs = paths.iter().map(|path| Input::open(path, stop).map_err(|error| (path.clone(), error)));
    let mut inputs: Vec<Input<'_>> = inputs.collect::<Result<_, _>>()?;
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(8);
    thread::scope(|scope| {
        let (jobs, waiting) = bounded::<Job>(threads);
        for _ in 0..threads {
            let waiting = waiting.clone();
            scope.spawn(move || {
                for job in waiting {
                    let _ = job.reply.send(parse(&job.block, recogniser));
                }
            });
        }
        merge(&mut inputs, &jobs, take);
    });
    Ok(inputs.into_iter().map(|input| input.report).collect())
}

/// Gives out the records of all inputs in order.
fn merge(inputs: &mut [Input<'_>], jobs: &Sender<Job>, take: &mut dyn FnMut(Record)) {
    let mut open: Vec<&mut Input<'_>> =
        inputs.iter_mut().filter_map(|input| input.advance(jobs).then_some(input)).collect();
    while let Some(first) = (0..open.len()).min_by_key(|place| open.get(*place).map(|input| input.logged_ns())) {
        let others = open.iter().enumerate().filter(|(place, _)| *place != first).map(|(_, input)| input.logged_ns());
        let until_ns = others.min().unwrap_or(u64::MAX);
        let Some(input) = open.get_mut(first) else { return };
        loop {
            if let Some(record) = input.next.take() {
                take(record);
            }
            if !input.advance(jobs) {
                open.swap_remove(first);
                break;
            }
            if input.logged_ns() > until_ns {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
