//! Shares the blocks of a capture among workers. In turns, each worker takes the next block from the source, parses the
//! headers of its frames, and sends the block to all workers. Each worker then processes, block by block in the order of
//! the capture, the frames whose flows it owns. So the parsing is shared too, all packets of a flow stay with one worker,
//! and the events are the same for any number of workers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::add_interface_names;
use crate::worker::{ParsedFrame, epoch_end_ns, parse_headers};
use vigie_capture::{BATCH_FRAMES_MAX, Block, CaptureError, Position, Source};
use vigie_decode::DecodeLimits;
use vigie_flow::HashKey;

/// Blocks that may be taken ahead of the slowest worker.
const AHEAD_BLOCKS_MAX: u64 = 8;
/// How often a waiting worker checks whether another one failed.
const FAILURE_CHECK_EVERY: Duration = Duration::from_millis(1);

/// A block of the capture, with its frames parsed and assigned to workers.
pub struct ParsedBlock {
    /// Number of the block, from 0.
    number: u64,
    /// The frames.
    pub frames: Block,
    /// For each worker, the frames that it processes: those of its own flows, and those that every worker needs.
    parsed: Vec<Vec<ParsedFrame>>,
    /// How far the source is read.
    pub position: Position,
    /// The names of the interfaces met so far.
    pub interfaces: Arc<[String]>,
    /// Number of the first frame behind the block.
    pub next_frame: u64,
    /// The capture ends with this block.
    pub is_last: bool,
}

impl ParsedBlock {
    fn new(workers: usize) -> Self {
        Self {
            number: 0,
            frames: Block::default(),
            parsed: vec![Vec::new(); workers],
            position: Position::default(),
            interfaces: Arc::new([]),
            next_frame: 0,
            is_last: false,
        }
    }

    /// The frames that a worker processes.
    pub fn frames_of(&self, worker: usize) -> &[ParsedFrame] {
        self.parsed.get(worker).map(Vec::as_slice).unwrap_or_default()
    }

    /// Parses the frames, and assigns them to workers. Every worker needs the frames at `epoch_starts`, for its clock.
    fn parse(&mut self, epoch_starts: &[u32], limits: &DecodeLimits) {
        let mut epoch_starts = epoch_starts.iter().copied();
        let mut epoch_start = epoch_starts.next();
        let workers = self.parsed.len() as u32;
        self.parsed.iter_mut().for_each(Vec::clear);
        let mut batch = [ParsedFrame::EMPTY; BATCH_FRAMES_MAX];
        let mut frames = ArrayVec::<_, BATCH_FRAMES_MAX>::new();
        for (index, frame) in (0..).zip(self.frames.iter()) {
            frames.push(frame);
            if !frames.is_full() && index as usize + 1 < self.frames.len() {
                continue;
            }
            let first = index + 1 - frames.len() as u32;
            parse_headers(&frames, &mut batch, limits, &HashKey::REPLAY);
            for (index, parsed) in (first..=index).zip(&mut batch) {
                parsed.set_index(index);
                let owner = parsed.owner(workers);
                let starts_epoch = epoch_start == Some(index);
                if starts_epoch {
                    epoch_start = epoch_starts.next();
                }
                if starts_epoch || parsed.is_for_every_worker() {
                    for (worker, frames) in (0..).zip(&mut self.parsed) {
                        frames.push(parsed.with_owned(worker == owner));
                    }
                } else if let Some(frames) = self.parsed.get_mut(owner as usize) {
                    frames.push(*parsed);
                }
            }
            frames.clear();
        }
    }
}

/// The blocks of a source, shared by all workers.
pub struct BlockSource<'s> {
    reader: Mutex<Reader<'s>>,
    /// Blocks that all workers have processed, to be filled again.
    spare: (Sender<ParsedBlock>, Receiver<ParsedBlock>),
    /// The number of blocks that each worker has processed.
    done: Vec<AtomicU64>,
    /// A worker ended before the last block.
    has_failed: AtomicBool,
    limits: DecodeLimits,
}

impl<'s> BlockSource<'s> {
    /// For so many workers. Each gets a receiver.
    pub fn new(
        source: &'s mut (dyn Source + Send),
        workers: usize,
        limits: DecodeLimits,
    ) -> (Self, Vec<BlockReceiver>) {
        let reader = Reader {
            source,
            next_number: 0,
            next_frame: 0,
            epoch_ends_ns: 0,
            interfaces: Arc::new([]),
            is_over: false,
            error: None,
        };
        let blocks = Self {
            reader: Mutex::new(reader),
            spare: unbounded(),
            done: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            has_failed: AtomicBool::new(false),
            limits,
        };
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| unbounded()).unzip();
        let receiver = |(worker, receiver)| BlockReceiver {
            worker,
            next: 0,
            senders: senders.clone(),
            receiver,
            early: Vec::new(),
        };
        (blocks, receivers.into_iter().enumerate().map(receiver).collect())
    }

    /// Takes the error that ended the capture early.
    pub fn take_error(&self) -> Option<CaptureError> {
        self.reader().error.take()
    }

    fn reader(&self) -> MutexGuard<'_, Reader<'s>> {
        // A worker that panicked with the lock has set `has_failed`.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_take(&self, reader: &Reader<'_>) -> bool {
        let slowest = self.done.iter().map(|done| done.load(Ordering::Acquire)).min().unwrap_or(u64::MAX);
        !reader.is_over && reader.next_number < slowest.saturating_add(AHEAD_BLOCKS_MAX)
    }

    /// Takes and parses the next block, unless the capture is over or a worker is too far behind.
    fn take(&self) -> Option<ParsedBlock> {
        let mut reader = self.reader();
        if !self.may_take(&reader) {
            return None;
        }
        let mut block = self.spare.1.try_recv().unwrap_or_else(|_| ParsedBlock::new(self.done.len()));
        let epoch_starts = reader.fill(&mut block);
        let ahead = reader.source.read_ahead();
        drop(reader);
        // So that the next worker finds the bytes of its block in memory.
        ahead.inspect(|ahead| ahead.read());
        block.parse(&epoch_starts, &self.limits);
        Some(block)
    }
}

/// The source and how far it is read. One worker at a time holds it.
struct Reader<'s> {
    source: &'s mut (dyn Source + Send),
    next_number: u64,
    next_frame: u64,
    epoch_ends_ns: u64,
    interfaces: Arc<[String]>,
    is_over: bool,
    error: Option<CaptureError>,
}

impl Reader<'_> {
    /// Fills in the next block. Returns the indices of the frames that start an epoch.
    fn fill(&mut self, block: &mut ParsedBlock) -> Vec<u32> {
        let has_more = self.source.next_block(&mut block.frames).unwrap_or_else(|error| {
            self.error = Some(error);
            false
        });
        block.is_last = !has_more;
        self.is_over = block.is_last;
        block.number = self.next_number;
        self.next_number += 1;
        let mut epoch_starts = Vec::new();
        for (index, frame) in (0..).zip(block.frames.iter()) {
            if frame.timestamp_ns >= self.epoch_ends_ns {
                self.epoch_ends_ns = epoch_end_ns(frame.timestamp_ns);
                epoch_starts.push(index);
            }
        }
        let last = block.frames.len().checked_sub(1).and_then(|last| block.frames.frame(last));
        self.next_frame = last.map_or(self.next_frame, |frame| frame.number + 1);
        block.next_frame = self.next_frame;
        block.position = self.source.position();
        if self.interfaces.len() < self.source.interfaces() {
            let mut names = self.interfaces.to_vec();
            add_interface_names(&mut names, &*self.source);
            self.interfaces = names.into();
        }
        block.interfaces = Arc::clone(&self.interfaces);
        epoch_starts
    }
}

/// The blocks that one worker receives, in the order of the capture.
pub struct BlockReceiver {
    /// The number of the worker.
    pub worker: usize,
    /// Number of the block to process next.
    next: u64,
    /// To all workers, by their numbers.
    senders: Vec<Sender<Arc<ParsedBlock>>>,
    receiver: Receiver<Arc<ParsedBlock>>,
    /// Blocks that arrived before it was their turn.
    early: Vec<Arc<ParsedBlock>>,
}

impl BlockReceiver {
    /// The next block. `None` if another worker failed.
    pub fn next(&mut self, blocks: &BlockSource<'_>) -> Option<Arc<ParsedBlock>> {
        loop {
            self.early.extend(self.receiver.try_iter());
            if let Some(index) = self.early.iter().position(|block| block.number == self.next) {
                self.next += 1;
                return Some(self.early.swap_remove(index));
            }
            if let Some(block) = blocks.take() {
                self.send_to_all(block);
                continue;
            }
            match self.receiver.recv_timeout(FAILURE_CHECK_EVERY) {
                Ok(block) => self.early.push(block),
                Err(RecvTimeoutError::Timeout) if !blocks.has_failed.load(Ordering::Relaxed) => {}
                Err(_) => return None,
            }
        }
    }

    fn send_to_all(&mut self, block: ParsedBlock) {
        let block = Arc::new(block);
        for (worker, sender) in self.senders.iter().enumerate() {
            if worker != self.worker {
                // A worker that has ended needs no more blocks.
                let _ = sender.send(Arc::clone(&block));
            }
        }
        self.early.push(block);
    }

    /// The worker has processed a block.
    pub fn done(&self, blocks: &BlockSource<'_>, block: Arc<ParsedBlock>) {
        if let Some(done) = blocks.done.get(self.worker) {
            done.store(self.next, Ordering::Release);
        }
        if let Some(block) = Arc::into_inner(block) {
            let _ = blocks.spare.0.send(block);
        }
    }
}

/// Tells the other workers when a worker ends, so that they do not wait for it. A worker ends early if it panics, or if
/// nobody receives its events any more.
pub struct WorkerGuard<'b, 's> {
    blocks: &'b BlockSource<'s>,
    worker: usize,
    /// The worker has processed the last block.
    pub is_finished: bool,
}

impl<'b, 's> WorkerGuard<'b, 's> {
    /// For the worker of this number.
    pub const fn new(blocks: &'b BlockSource<'s>, worker: usize) -> Self {
        Self { blocks, worker, is_finished: false }
    }
}

impl Drop for WorkerGuard<'_, '_> {
    fn drop(&mut self) {
        if let Some(done) = self.blocks.done.get(self.worker) {
            done.store(u64::MAX, Ordering::Release);
        }
        if !self.is_finished {
            self.blocks.has_failed.store(true, Ordering::Relaxed);
        }
    }
}
