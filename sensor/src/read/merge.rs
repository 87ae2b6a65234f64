//! Puts the events of several workers into one order.

use std::collections::VecDeque;

use crate::event::Event;

/// Events of workers that are not at the same frame.
pub struct Merge {
    lanes: Vec<Lane>,
}

struct Lane {
    events: VecDeque<Event>,
    complete_below: u64,
}

impl Merge {
    /// For so many workers, all at the beginning.
    pub fn new(workers: usize) -> Self {
        Self { lanes: (0..workers).map(|_| Lane { events: VecDeque::new(), complete_below: 0 }).collect() }
    }

    /// The worker that has told the least; `None` when all have told everything.
    pub fn furthest_behind(&self) -> Option<usize> {
        let (worker, lane) = self.lanes.iter().enumerate().min_by_key(|(_, lane)| lane.complete_below)?;
        (lane.complete_below < u64::MAX).then_some(worker)
    }

    /// A worker's next events; it will tell none of frames below `complete_below` any more.
    pub fn add(&mut self, worker: usize, events: Vec<Event>, complete_below: u64) {
        if let Some(lane) = self.lanes.get_mut(worker) {
            lane.events.extend(events);
            lane.complete_below = complete_below;
        }
    }

    /// A worker will tell nothing any more.
    pub fn end(&mut self, worker: usize) {
        self.add(worker, Vec::new(), u64::MAX);
    }

    /// Moves to `events` what nothing can come before any more.
    pub fn take(&mut self, events: &mut Vec<Event>) {
        let complete_below = self.lanes.iter().map(|lane| lane.complete_below).min().unwrap_or(0);
        let is_complete = |event: &&Event| event.order.told_at < complete_below || complete_below == u64::MAX;
        while let Some((_, lane)) = self
            .lanes
            .iter_mut()
            .filter_map(|lane| Some((lane.events.front().filter(is_complete)?.order, lane)))
            .min_by_key(|(order, _)| *order)
        {
            events.extend(lane.events.pop_front());
        }
    }
}
