//! When flows without a name have waited for long enough: once all workers have read their packets up to then, or after
//! `names_wait_ms`, if a worker is that far behind.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::packet_clocks::PacketClocks;
use crate::event::Event;
use crate::settings::Settings;
use crate::worker::Worker;

/// How much later than its time-out the kernel may hand a block over.
const BLOCK_LATENESS: Duration = Duration::from_millis(40);

/// One worker's view of how far all have read.
#[derive(Debug)]
pub struct NamesWait {
    worker: usize,
    clocks: Arc<PacketClocks>,
    wait_max: Duration,
    /// A ring without a frame has handed all frames over that are older than this.
    lateness: Duration,
    /// The time before the wait for frames, if the worker had none the last time.
    before: Option<SystemTime>,
    was_idle: bool,
    /// When `overdue` was set, and the flows that had begun to wait by then.
    marked: Instant,
    mark: u64,
}

impl NamesWait {
    /// For the worker with this number.
    pub fn new(worker: usize, clocks: Arc<PacketClocks>, settings: &Settings) -> Self {
        Self {
            worker,
            clocks,
            wait_max: Duration::from_millis(settings.limits.names_wait_ms as u64),
            lateness: Duration::from_millis(settings.capture.block_timeout_ms.into()) + BLOCK_LATENESS,
            before: None,
            was_idle: false,
            marked: Instant::now(),
            mark: 0,
        }
    }

    /// To be called before the worker asks for frames.
    #[inline]
    pub fn before_batch(&mut self) {
        self.before = self.was_idle.then(SystemTime::now);
    }

    /// To be called after a batch, with the time of its last frame; `None` if there were no frames.
    #[inline]
    pub fn after_batch(&mut self, last_ns: Option<u64>) {
        self.was_idle = last_ns.is_none();
        if let Some(last_ns) = last_ns {
            self.clocks.has_read(self.worker, last_ns);
        } else if let Some(before) = self.before {
            let handed_over = before.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(self.lateness);
            self.clocks.has_read(self.worker, handed_over.as_nanos() as u64);
        }
    }

    /// Looks up the flows that have waited for long enough.
    #[cold]
    pub fn resolve(&mut self, worker: &mut Worker, emit: &mut dyn FnMut(Event)) {
        let mut overdue = 0;
        if self.marked.elapsed() >= self.wait_max {
            overdue = self.mark;
            (self.marked, self.mark) = (Instant::now(), worker.flows_awaited());
        }
        worker.resolve_names(self.clocks.read_by_all_ns(), overdue, emit);
    }

    /// The worker reads no more packets: waits until that is true of all.
    pub fn await_all(&self) {
        self.clocks.has_read_all(self.worker);
        let deadline = Instant::now() + self.wait_max;
        while !self.clocks.have_all_read_all() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
