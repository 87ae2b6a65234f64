//! Several workers read one capture: in turns each takes a block of it, looks at its frames and says whose flow each is of; then
//! each worker works on its own frames of all blocks, in the order of the capture. So looking is shared as following is, all
//! packets of a flow stay with one worker, and the same events come out for any number of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::name_interfaces;
use crate::worker::{Look, epoch_end_ns, look_at_all};
use vigie_capture::{BATCH_FRAMES_MAX, Block, CaptureError, Position, Source};
use vigie_decode::DecodeLimits;
use vigie_flow::HashKey;

/// How many blocks may be taken that the slowest worker has not worked on yet.
const AHEAD_BLOCKS_MAX: u64 = 8;
/// After so long a worker that waits looks whether it waits in vain.
const PATIENCE: Duration = Duration::from_millis(1);

/// A block of the capture, and whose its frames are.
pub struct Pack {
    /// Place among all blocks, from 0.
    number: u64,
    /// The frames.
    pub block: Block,
    /// For each worker what a first look told of the frames of flows that it follows, and of those that all want to know of.
    looks: Vec<Vec<Look>>,
    /// How far the reading is.
    pub position: Position,
    /// Names of the interfaces met until now.
    pub interfaces: Arc<[String]>,
    /// Number of the frame behind the last.
    pub next_frame: u64,
    /// No frames come after these.
    pub is_last: bool,
}

impl Pack {
    fn new(workers: usize) -> Self {
        Self {
            number: 0,
            block: Block::default(),
            looks: vec![Vec::new(); workers],
            position: Position::default(),
            interfaces: Arc::new([]),
            next_frame: 0,
            is_last: false,
        }
    }

    /// What a first look told of the frames that a worker has to see.
    pub fn looks_for(&self, worker: usize) -> &[Look] {
        self.looks.get(worker).map(Vec::as_slice).unwrap_or_default()
    }

    /// Says whose each frame is. Those at `beginnings` begin an epoch, which all workers have to know.
    fn share_out(&mut self, beginnings: &[u32], limits: &DecodeLimits) {
        let mut beginnings = beginnings.iter().copied();
        let mut beginning = beginnings.next();
        let workers = self.looks.len() as u32;
        self.looks.iter_mut().for_each(Vec::clear);
        let mut looks = [Look::NOTHING; BATCH_FRAMES_MAX];
        let mut frames = ArrayVec::<_, BATCH_FRAMES_MAX>::new();
        for (place, frame) in (0..).zip(self.block.iter()) {
            frames.push(frame);
            if !frames.is_full() && place as usize + 1 < self.block.len() {
                continue;
            }
            let first = place + 1 - frames.len() as u32;
            look_at_all(&frames, &mut looks, limits, &HashKey::REPLAY);
            for (place, look) in (first..=place).zip(&mut looks) {
                look.set_place(place);
                let owner = look.owner(workers);
                let begins_an_epoch = beginning == Some(place);
                if begins_an_epoch {
                    beginning = beginnings.next();
                }
                if begins_an_epoch || look.is_for_all() {
                    for (worker, others) in (0..).zip(&mut self.looks) {
                        others.push(look.of(worker == owner));
                    }
                } else if let Some(its) = self.looks.get_mut(owner as usize) {
                    its.push(*look);
                }
            }
            frames.clear();
        }
    }
}

/// What one worker at a time has before it.
struct Desk<'s> {
    source: &'s mut (dyn Source + Send),
    next_number: u64,
    next_frame: u64,
    epoch_ends_ns: u64,
    interfaces: Arc<[String]>,
    is_over: bool,
    error: Option<CaptureError>,
}

/// What the workers share.
pub struct Relay<'s> {
    desk: Mutex<Desk<'s>>,
    /// Packs that were worked on by all, to be filled anew.
    spare: (Sender<Pack>, Receiver<Pack>),
    /// How many blocks each worker has worked on.
    done: Vec<AtomicU64>,
    /// A worker is gone before the end.
    is_broken: AtomicBool,
    limits: DecodeLimits,
}

impl<'s> Relay<'s> {
    /// A relay for so many workers, and each one's end of it.
    pub fn new(source: &'s mut (dyn Source + Send), workers: usize, limits: DecodeLimits) -> (Self, Vec<Lane>) {
        let desk = Desk {
            source,
            next_number: 0,
            next_frame: 0,
            epoch_ends_ns: 0,
            interfaces: Arc::new([]),
            is_over: false,
            error: None,
        };
        let relay = Self {
            desk: Mutex::new(desk),
            spare: unbounded(),
            done: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            is_broken: AtomicBool::new(false),
            limits,
        };
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| unbounded()).unzip();
        let lane = |(index, receiver)| Lane { index, next: 0, others: senders.clone(), receiver, waiting: Vec::new() };
        (relay, receivers.into_iter().enumerate().map(lane).collect())
    }

    /// What kept the capture from being read to its end, once.
    pub fn take_error(&self) -> Option<CaptureError> {
        self.desk().error.take()
    }

    fn desk(&self) -> std::sync::MutexGuard<'_, Desk<'s>> {
        // A worker that panicked here has broken the relay anyway.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_take(&self, desk: &Desk<'_>) -> bool {
        let slowest = self.done.iter().map(|done| done.load(Ordering::Acquire)).min().unwrap_or(u64::MAX);
        !desk.is_over && desk.next_number < slowest.saturating_add(AHEAD_BLOCKS_MAX)
    }

    /// Takes the next block, if there is one and no worker is too far behind.
    fn take(&self) -> Option<Pack> {
        let mut desk = self.desk();
        if !self.may_take(&desk) {
            return None;
        }
        let mut pack = self.spare.1.try_recv().unwrap_or_else(|_| Pack::new(self.done.len()));
        let beginnings = desk.fill(&mut pack);
        let ahead = desk.source.read_ahead();
        drop(desk);
        // The next in turn shall find the bytes of its block there.
        ahead.inspect(|ahead| ahead.read());
        pack.share_out(&beginnings, &self.limits);
        Some(pack)
    }
}

impl Desk<'_> {
    /// Fills a pack with the next block. Where its frames begin an epoch comes back.
    fn fill(&mut self, pack: &mut Pack) -> Vec<u32> {
        let more = self.source.next_block(&mut pack.block).unwrap_or_else(|error| {
            self.error = Some(error);
            false
        });
        pack.is_last = !more;
        self.is_over = pack.is_last;
        pack.number = self.next_number;
        self.next_number += 1;
        let mut beginnings = Vec::new();
        for (place, frame) in (0..).zip(pack.block.iter()) {
            if frame.timestamp_ns >= self.epoch_ends_ns {
                self.epoch_ends_ns = epoch_end_ns(frame.timestamp_ns);
                beginnings.push(place);
            }
        }
        let last = pack.block.len().checked_sub(1).and_then(|last| pack.block.frame(last));
        self.next_frame = last.map_or(self.next_frame, |frame| frame.number + 1);
        pack.next_frame = self.next_frame;
        pack.position = self.source.position();
        if self.interfaces.len() < self.source.interfaces() {
            let mut names = self.interfaces.to_vec();
            name_interfaces(&mut names, &*self.source);
            self.interfaces = names.into();
        }
        pack.interfaces = Arc::clone(&self.interfaces);
        beginnings
    }
}

/// One worker's end of the relay.
pub struct Lane {
    /// The worker's number.
    pub index: usize,
    /// Number of the block to be worked on next.
    next: u64,
    /// To all workers, by their numbers.
    others: Vec<Sender<Arc<Pack>>>,
    receiver: Receiver<Arc<Pack>>,
    /// Blocks that came before their turn.
    waiting: Vec<Arc<Pack>>,
}

impl Lane {
    /// The next block. `None` when another worker broke down.
    pub fn next(&mut self, relay: &Relay<'_>) -> Option<Arc<Pack>> {
        loop {
            self.waiting.extend(self.receiver.try_iter());
            if let Some(place) = self.waiting.iter().position(|pack| pack.number == self.next) {
                self.next += 1;
                return Some(self.waiting.swap_remove(place));
            }
            if let Some(pack) = relay.take() {
                self.hand_round(pack);
                continue;
            }
            match self.receiver.recv_timeout(PATIENCE) {
                Ok(pack) => self.waiting.push(pack),
                Err(RecvTimeoutError::Timeout) if !relay.is_broken.load(Ordering::Relaxed) => {}
                Err(_) => return None,
            }
        }
    }

    fn hand_round(&mut self, pack: Pack) {
        let pack = Arc::new(pack);
        for (index, other) in self.others.iter().enumerate() {
            if index != self.index {
                // One that is gone needs it no more.
                let _ = other.send(Arc::clone(&pack));
            }
        }
        self.waiting.push(pack);
    }

    /// A block was worked on.
    pub fn done(&self, relay: &Relay<'_>, pack: Arc<Pack>) {
        if let Some(done) = relay.done.get(self.index) {
            done.store(self.next, Ordering::Release);
        }
        if let Some(pack) = Arc::into_inner(pack) {
            let _ = relay.spare.0.send(pack);
        }
    }
}

/// A worker's presence; when it ends before the last block was worked on, by a panic or because nobody listens any more, the
/// other workers do not wait for this one.
pub struct Presence<'r, 's> {
    relay: &'r Relay<'s>,
    index: usize,
    /// The last block was worked on.
    pub is_at_the_end: bool,
}

impl<'r, 's> Presence<'r, 's> {
    /// Of a worker by its number.
    pub const fn new(relay: &'r Relay<'s>, index: usize) -> Self {
        Self { relay, index, is_at_the_end: false }
    }
}

impl Drop for Presence<'_, '_> {
    fn drop(&mut self) {
        if let Some(done) = self.relay.done.get(self.index) {
            done.store(u64::MAX, Ordering::Release);
        }
        if !self.is_at_the_end {
            self.relay.is_broken.store(true, Ordering::Relaxed);
        }
    }
}
