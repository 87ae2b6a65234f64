//! A worker that a packet can stop, but not for good. A packet that panics the worker is set aside ([`quarantine`]), and the
//! worker starts anew: with an empty flow table, with its counts, and with the packets that follow. Several such packets
//! within a minute end the process, as a defect that the sensor cannot live with.
//!
//! [`quarantine`]: super::quarantine

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::quarantine::FrameSetAside;
use crate::event::Event;
use crate::worker::{Counter, Worker};
use vigie_config::Day;
use vigie_wire::Frame;

/// So many panics of a worker within [`PANICS_WINDOW`] end the process.
const PANICS_MAX: usize = 5;
const PANICS_WINDOW: Duration = Duration::from_secs(60);

/// What stopped the worker.
#[derive(Clone, Debug)]
pub struct WorkerPanic {
    /// What the panic said.
    pub message: String,
    /// The frame, if it is known.
    pub frame: Option<FrameSetAside>,
}

/// A worker, and the panics that it had.
pub struct GuardedWorker {
    worker: Worker,
    /// The counts of the workers before this one.
    earlier_counts: Vec<u64>,
    recent: VecDeque<Instant>,
    panics: Vec<WorkerPanic>,
    /// The last day on which frames are set aside whole.
    whole_until: Option<Day>,
}

/// Where a batch goes on after a panic.
struct Resumption {
    /// Frames before this one are done.
    next: usize,
    /// The frame that panicked, if it is known.
    poisoned: Option<usize>,
}

impl GuardedWorker {
    /// Guards a worker. Until that day, frames are set aside whole.
    pub const fn new(worker: Worker, whole_until: Option<Day>) -> Self {
        Self { worker, earlier_counts: Vec::new(), recent: VecDeque::new(), panics: Vec::new(), whole_until }
    }

    /// The worker that runs now.
    pub const fn worker(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// Processes a batch of frames.
    #[inline]
    pub fn batch(&mut self, frames: &[Frame<'_>], emit: &mut dyn FnMut(Event)) {
        let frames_before = self.worker.counters().get(Counter::Frames);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.worker.batch(frames, emit))) {
            self.resume(frames, frames_before, panic, emit);
        }
    }

    /// The counts of all workers so far.
    pub fn counts(&self) -> Vec<u64> {
        let earlier = self.earlier_counts.iter().copied().chain(std::iter::repeat(0));
        self.worker.all_counts().into_iter().zip(earlier).map(|((.., count), earlier)| count + earlier).collect()
    }

    /// The panics since the last call.
    pub fn take_panics(&mut self) -> Vec<WorkerPanic> {
        std::mem::take(&mut self.panics)
    }

    /// Sets the frame aside that panicked, starts anew, and processes the frames that follow.
    #[cold]
    fn resume(
        &mut self,
        frames: &[Frame<'_>],
        frames_before: u64,
        panic: Box<dyn Any + Send>,
        emit: &mut dyn FnMut(Event),
    ) {
        let message = message_of(panic.as_ref());
        self.count_panic(panic);
        let Resumption { next, poisoned } = self.resumption(frames, frames_before);
        let frame = poisoned.and_then(|place| frames.get(place));
        let is_whole = self.whole_until.is_some_and(|last| OffsetDateTime::now_utc().date() <= last.0);
        let frame = frame.map(|frame| FrameSetAside::of(frame, is_whole));
        self.panics.push(WorkerPanic { message, frame });
        self.earlier_counts = self.counts();
        self.worker.start_anew();
        let poisoned = poisoned.unwrap_or(next.saturating_sub(1));
        for rest in [frames.get(next..poisoned), frames.get(next.max(poisoned + 1)..)] {
            if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                self.batch(rest, emit);
            }
        }
    }

    /// Ends the thread, and so the process, if there were too many panics.
    fn count_panic(&mut self, panic: Box<dyn Any + Send>) {
        let now = Instant::now();
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|first| now.duration_since(*first) > PANICS_WINDOW) {
            self.recent.pop_front();
        }
        if self.recent.len() >= PANICS_MAX {
            resume_unwind(panic);
        }
    }

    /// Where to go on. Counts the frames that were done and are not counted, and the one that panicked.
    fn resumption(&mut self, frames: &[Frame<'_>], frames_before: u64) -> Resumption {
        let counted = (self.worker.counters().get(Counter::Frames) - frames_before) as usize;
        let place_of = |number: u64| frames.iter().position(|frame| frame.number == number);
        let (next, poisoned) = match place_of(self.worker.frame_in_decoding()) {
            // Frames are decoded ahead; those between are not done yet.
            Some(place) => (counted, Some(place)),
            None => match place_of(self.worker.frame_in_handling()).filter(|place| *place >= counted) {
                Some(place) => (place + 1, Some(place)),
                None => (frames.len(), None),
            },
        };
        let done = frames.get(counted..next).unwrap_or_default().iter();
        let decoded = poisoned.filter(|place| *place >= next).and_then(|place| frames.get(place));
        let (mut count, mut bytes) = (0, 0);
        for frame in done.chain(decoded) {
            count += 1;
            bytes += u64::from(frame.wire_length);
        }
        self.worker.count_frames(count, bytes);
        Resumption { next, poisoned }
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}
