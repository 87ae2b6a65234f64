//! The way of events from a worker to the writer: a bounded channel, on which the worker never waits. Events for which the
//! channel has no room go to the worker's own bounded queue, and are sent later. When that is full too, events are dropped
//! and counted, alerts last.

use std::collections::VecDeque;
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError};

use crate::event::{Event, Fact};

/// The events that a worker sends to the writer.
#[derive(Debug)]
pub struct Outbox {
    channel: Sender<Event>,
    queue: VecDeque<Event>,
    queue_max: usize,
    alerts_lost: u64,
    records_dropped: u64,
}

impl Outbox {
    /// An outbox whose queue has room for `queue_max` events. Events other than alerts may fill half of it.
    pub const fn new(channel: Sender<Event>, queue_max: usize) -> Self {
        Self { channel, queue: VecDeque::new(), queue_max, alerts_lost: 0, records_dropped: 0 }
    }

    /// Sends an event, now or when there is room. Events stay in order.
    pub fn send(&mut self, event: Event) {
        if !self.queue.is_empty() {
            return self.enqueue(event);
        }
        if let Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) = self.channel.try_send(event) {
            self.enqueue(event);
        }
    }

    /// Sends the queued events for which there is room.
    #[inline]
    pub fn flush(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            if let Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) = self.channel.try_send(event) {
                self.queue.push_front(event);
                return;
            }
        }
    }

    /// Sends the queued events, and waits for room until `deadline`. For a worker without packets.
    pub fn flush_until(&mut self, deadline: Instant) {
        while let Some(event) = self.queue.pop_front() {
            if let Err(error) = self.channel.send_deadline(event, deadline) {
                self.queue.push_front(error.into_inner());
                return;
            }
        }
    }

    /// Sends the queued events until `deadline`. Returns the number of alerts that could not be sent.
    pub fn close(mut self, deadline: Instant) -> u64 {
        self.flush_until(deadline);
        self.queue.iter().filter(|event| is_alert(event)).count() as u64
    }

    /// The number of events in the queue, and in the channel.
    pub fn depths(&self) -> (usize, usize) {
        (self.queue.len(), self.channel.len())
    }

    /// The capacity of the channel.
    pub fn channel_events_max(&self) -> usize {
        self.channel.capacity().unwrap_or(usize::MAX)
    }

    /// The number of alerts dropped since the last call.
    pub fn take_alerts_lost(&mut self) -> u64 {
        std::mem::take(&mut self.alerts_lost)
    }

    /// The number of other events dropped since the last call.
    pub fn take_records_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.records_dropped)
    }

    #[cold]
    fn enqueue(&mut self, event: Event) {
        let room = if is_alert(&event) { self.queue_max } else { self.queue_max / 2 };
        if self.queue.len() < room {
            self.queue.push_back(event);
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
