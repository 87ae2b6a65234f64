//! What stands between a worker and the thread that writes: a bounded channel that never makes the worker wait, and
//! behind it the worker's own queue, which offers again what the channel had no room for. Alerts give way last.

use std::collections::VecDeque;
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError};

use crate::event::{Event, Fact};

/// A worker's way out.
#[derive(Debug)]
pub struct Outbox {
    channel: Sender<Event>,
    waiting: VecDeque<Event>,
    waiting_max: usize,
    alerts_lost: u64,
    records_dropped: u64,
}

impl Outbox {
    /// An outbox in which at most `waiting_max` events wait while `channel` is full; other events than alerts may take up
    /// half of that.
    pub const fn new(channel: Sender<Event>, waiting_max: usize) -> Self {
        Self { channel, waiting: VecDeque::new(), waiting_max, alerts_lost: 0, records_dropped: 0 }
    }

    /// Sends an event, now or when there is room; in order.
    pub fn offer(&mut self, event: Event) {
        if !self.waiting.is_empty() {
            return self.keep(event);
        }
        if let Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) = self.channel.try_send(event) {
            self.keep(event);
        }
    }

    /// Offers again what waits.
    #[inline]
    pub fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) = self.channel.try_send(event) {
                self.waiting.push_front(event);
                return;
            }
        }
    }

    /// As [`flush`](Self::flush), but waits for room until `deadline`: for a worker that has nothing else to do.
    pub fn flush_until(&mut self, deadline: Instant) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(error) = self.channel.send_deadline(event, deadline) {
                self.waiting.push_front(error.into_inner());
                return;
            }
        }
    }

    /// Sends all that waits, waiting for room until `deadline`. How many alerts were left over comes back.
    pub fn close(mut self, deadline: Instant) -> u64 {
        self.flush_until(deadline);
        self.waiting.iter().filter(|event| is_alert(event)).count() as u64
    }

    /// Events that wait here, and those in the channel.
    pub fn depths(&self) -> (usize, usize) {
        (self.waiting.len(), self.channel.len())
    }

    /// Events for which the channel has room.
    pub fn channel_events_max(&self) -> usize {
        self.channel.capacity().unwrap_or(usize::MAX)
    }

    /// Alerts that found no room at all, since the last call.
    pub fn take_alerts_lost(&mut self) -> u64 {
        std::mem::take(&mut self.alerts_lost)
    }

    /// Other events that found no room, since the last call.
    pub fn take_records_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.records_dropped)
    }

    #[cold]
    fn keep(&mut self, event: Event) {
        let room = if is_alert(&event) { self.waiting_max } else { self.waiting_max / 2 };
        if self.waiting.len() < room {
            self.waiting.push_back(event);
        } else if is_alert(&event) {
            self.alerts_lost += 1;
        } else {
            self.records_dropped += 1;
        }
    }
}

const fn is_alert(event: &Event) -> bool {
    matches!(event.fact, Fact::Alert(_))
}
