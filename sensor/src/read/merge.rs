//! Merges the events of several workers into one order.

use std::collections::VecDeque;

use crate::event::Event;

/// Events of workers that are not at the same frame.
pub struct EventMerge {
    workers: Vec<WorkerEvents>,
}

struct WorkerEvents {
    events: VecDeque<Event>,
    complete_below: u64,
}

impl EventMerge {
    /// For so many workers, all at the start.
    pub fn new(workers: usize) -> Self {
        let worker = |_| WorkerEvents { events: VecDeque::new(), complete_below: 0 };
        Self { workers: (0..workers).map(worker).collect() }
    }

    /// The worker whose events are complete up to the lowest frame; `None` when all workers have ended.
    pub fn furthest_behind(&self) -> Option<usize> {
        let (index, worker) = self.workers.iter().enumerate().min_by_key(|(_, worker)| worker.complete_below)?;
        (worker.complete_below < u64::MAX).then_some(index)
    }

    /// Adds a worker's next events. It has no more events of frames below `complete_below`.
    pub fn add(&mut self, worker: usize, events: Vec<Event>, complete_below: u64) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.events.extend(events);
            worker.complete_below = complete_below;
        }
    }

    /// A worker has no more events.
    pub fn end(&mut self, worker: usize) {
        self.add(worker, Vec::new(), u64::MAX);
    }

    /// Moves to `events` all that no later event of any worker can precede.
    pub fn take(&mut self, events: &mut Vec<Event>) {
        let complete_below = self.workers.iter().map(|worker| worker.complete_below).min().unwrap_or(0);
        let is_complete = |event: &&Event| event.order.at_frame < complete_below || complete_below == u64::MAX;
        while let Some((_, worker)) = self
            .workers
            .iter_mut()
            .filter_map(|worker| Some((worker.events.front().filter(is_complete)?.order, worker)))
            .min_by_key(|(order, _)| *order)
        {
            events.extend(worker.events.pop_front());
        }
    }
}
